/* disk.c: see disk.h. */
#include "python/disk.h"

#include <stdlib.h>
#include <string.h>

#include "engine/valuefile.h"
#include "python/convert.h"
#include "python/guard.h"

/* The disk if it is a Disk, else NULL. */
static Disk *as_native(module_state *state, PyObject *disk)
{
    return PyObject_TypeCheck(disk, state->disk_type) ? (Disk *)disk : NULL;
}

unsigned int disk_hooks(module_state *state, PyObject *disk)
{
    Disk *self = as_native(state, disk);

    return self != NULL ? hooks_of(&state->disk_hooks, &self->hooks, disk) : DISK_HOOK_FOREIGN;
}

unsigned int disk_hooks_if_known(module_state *state, PyObject *disk)
{
    Disk *self = as_native(state, disk);

    return self != NULL ? hooks_if_known(&self->hooks, disk) : DISK_HOOK_FOREIGN;
}

int disk_require(PyObject *value, const char *name)
{
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "Disk has no attribute '%s': was __init__ called?",
                     name);
        return -1;
    }
    return 0;
}

PyObject *disk_attribute(Disk *self, PyObject *const *field)
{
    PyObject *value;

    GUARD_BEGIN(self)
    value = Py_XNewRef(*field);
    GUARD_END()
    return value;
}

PyObject *disk_directory(Disk *self)
{
    PyObject *path = disk_attribute(self, &self->directory_path);

    disk_require(path, "_directory");
    return path;
}

PyObject *disk_local_name(module_state *state, PyObject *disk, const char *filename)
{
    Disk *self = as_native(state, disk);
    char *local = NULL;
    PyObject *path = NULL;
    PyObject *name;

    if (strchr(filename, '\\') != NULL && self != NULL) {
        path = disk_attribute(self, &self->directory_path);
    }
    if (path == NULL) {
        return PyUnicode_FromString(filename);
    }
    local = dc_valuefile_local_name(PyBytes_AS_STRING(path), filename);
    Py_DECREF(path);
    if (local == NULL) {
        return PyErr_NoMemory();
    }
    name = PyUnicode_FromString(local);
    free(local);
    return name;
}

PyObject *disk_pickle_native(Disk *self, PyObject *object)
{
    PyObject *protocol = disk_attribute(self, &self->pickle_protocol);
    PyObject *pickled = NULL;

    if (disk_require(protocol, "pickle_protocol") == 0) {
        pickled = PyObject_CallFunctionObjArgs(self->state->dumps, object, protocol, NULL);
        Py_DECREF(protocol);
    }
    return pickled;
}

PyObject *disk_pickle(Disk *self, PyObject *object)
{
    PyObject *pickled;

    if (!(disk_hooks(self->state, (PyObject *)self) & DISK_HOOK__to_pickle)) {
        return disk_pickle_native(self, object);
    }
    pickled = PyObject_CallMethodOneArg((PyObject *)self, self->state->name._to_pickle, object);
    if (pickled != NULL && !PyBytes_CheckExact(pickled)) {
        PyErr_Format(PyExc_TypeError, "Disk._to_pickle must return bytes, not '%.200s'",
                     Py_TYPE(pickled)->tp_name);
        Py_CLEAR(pickled);
    }
    return pickled;
}

PyObject *disk_unpickle(module_state *state, PyObject *disk, PyObject *pickled)
{
    return disk_hooks(state, disk) & DISK_HOOK__from_pickle
               ? PyObject_CallMethodOneArg(disk, state->name._from_pickle, pickled)
               : PyObject_CallOneArg(state->loads, pickled);
}

PyObject *disk_unpickle_datum(module_state *state, PyObject *disk, const dc_datum *datum)
{
    PyObject *bytes;
    PyObject *object = NULL;

    if (datum->type != DC_BLOB) {
        convert_raise_damaged(state, "what should be a pickle is none: it is no blob");
        return NULL;
    }
    bytes = convert_from_datum(datum);
    if (bytes != NULL) {
        object = disk_unpickle(state, disk, bytes);
        Py_DECREF(bytes);
    }
    return object;
}
