/* disk_map.c: see disk_map.h.
 *
 * A mapping lives as long as memoryviews of it do, longer than its cache perhaps. The file may be removed meanwhile,
 * and is, when its item is overwritten; nobody writes to it (valuefile.c, invariant 2).
 */
#include "python/disk_map.h"

typedef struct Mapping {
    PyObject_HEAD
    void *data;
    Py_ssize_t size;
} Mapping;

static int Mapping_getbuffer(Mapping *self, Py_buffer *view, int flags)
{
    return PyBuffer_FillInfo(view, (PyObject *)self, self->data, self->size, 1, flags);
}

static void Mapping_dealloc(Mapping *self)
{
    PyTypeObject *type = Py_TYPE(self);

    if (self->data != NULL) {
        dc_valuefile_unmap(self->data, (size_t)self->size);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot Mapping_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("A value file as memory.")},
    {Py_tp_dealloc, Mapping_dealloc},
    {Py_bf_getbuffer, Mapping_getbuffer},
    {0, NULL},
};

PyType_Spec mapping_spec = {
    .name = "diskcache._core.Mapping",
    .basicsize = sizeof(Mapping),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = Mapping_slots,
};

/* NULL without an exception if the file cannot be mapped. */
static PyObject *map_opened(module_state *state, const disk_opened *file)
{
    Mapping *mapping = (Mapping *)state->mapping_type->tp_alloc(state->mapping_type, 0);
    dc_error error;

    if (mapping != NULL) {
        mapping->size = (Py_ssize_t)file->size;
        if (dc_valuefile_map(file->descriptor, (size_t)file->size, &mapping->data, &error) !=
            DC_OK) {
            Py_CLEAR(mapping);
        }
    }
    return (PyObject *)mapping;
}

PyObject *disk_map_file(Disk *self, const char *name, disk_file_size size, int *missing)
{
    disk_opened file;
    PyObject *content = NULL;
    PyObject *view = NULL;

    if (disk_file_enter(self, name, size, &file, missing) < 0) {
        return NULL;
    }
    if (self->may_map && file.size > 0) {
        content = map_opened(self->state, &file);
    }
    if (content != NULL || PyErr_Occurred()) {
        dc_valuefile_close(file.descriptor);
    } else {
        content = disk_file_read_opened(self, &file, missing);
    }
    if (content != NULL) {
        view = PyMemoryView_FromObject(content);
        Py_DECREF(content);
    }
    return view;
}
