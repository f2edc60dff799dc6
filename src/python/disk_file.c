/* disk_file.c: see disk_file.h. */
#include "python/disk_file.h"

#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "python/convert.h"
#include "python/slow_mean.h"

/* Bytes from which reading or writing a file releases the GIL: some 50 us of copying. A smaller file is done sooner
 * than another thread could start. Where other threads compute, releasing it for every file would cost much more than
 * it gives; microseconds for getting 100 KB:
 *
 *     threads that compute   with the GIL    without it     99th percentile with / without
 *     1                      61              253            60 / 8,000
 *     4                      100             611            60 / 16,000
 */
#define LARGE_FILE (256 * 1024)

/* But a disk may be slow, or far away: small files release it as well while their mean is above this. */
#define SLOW_SECONDS 250e-6

/* Files from which removing them releases the GIL. */
#define MANY_FILES 4

/* --- releasing the GIL ------------------------------------------------------------------------ */

/* Between the two a thread works with files and does not touch Python, perhaps without the GIL. */
typedef struct file_section {
    PyThreadState *released;
    double entered;
} file_section;

static file_section enter(double mean, int large)
{
    file_section section = {.entered = dc_clock()};

    section.released = large || mean > SLOW_SECONDS ? PyEval_SaveThread() : NULL;
    return section;
}

/* Returns how long it took; seconds. */
static double leave(file_section section)
{
    double seconds = dc_clock() - section.entered;

    if (section.released != NULL) {
        PyEval_RestoreThread(section.released);
    }
    return seconds;
}

/* --- writing ---------------------------------------------------------------------------------- */

int disk_file_write(Disk *self, const dc_datum *content, char name[DC_VALUEFILE_NAME_SIZE])
{
    PyObject *directory = disk_directory(self);
    size_t size = content->as.bytes.size;
    dc_error error;
    dc_status status;
    file_section section;
    double seconds;

    if (directory == NULL) {
        return -1;
    }
    dc_error_clear(&error);
    section = enter(self->writing, size >= LARGE_FILE);
    status = dc_valuefile_name(name, &error);
    if (status == DC_OK) {
        status = dc_valuefile_write(PyBytes_AS_STRING(directory), self->root_mode, name,
                                    content->as.bytes.data, size, &error);
    }
    seconds = leave(section);
    if (size < LARGE_FILE) {
        slow_mean_add(&self->writing, seconds, SLOW_SECONDS);
    }
    Py_DECREF(directory);
    if (status != DC_OK) {
        convert_raise(self->state, status, &error);
        return -1;
    }
    return 0;
}

/* One block of a file-like object: 1, 0 at its end, -1 with an exception. */
static int copy_block(module_state *state, PyObject *reader, PyObject *block_size,
                      dc_valuewriter *writer)
{
    PyObject *block = PyObject_CallMethodOneArg(reader, state->name.read, block_size);
    Py_buffer buffer;
    PyThreadState *released;
    dc_error error;
    dc_status status;
    int result = -1;

    if (block == NULL) {
        return -1;
    }
    if (PyObject_GetBuffer(block, &buffer, PyBUF_SIMPLE) < 0) {
        PyErr_Format(PyExc_TypeError, "value.read() must return bytes, not '%.200s'",
                     Py_TYPE(block)->tp_name);
        goto done;
    }
    if (buffer.len == 0) {
        result = 0;
    } else {
        released = PyEval_SaveThread();
        status = dc_valuewriter_write(writer, buffer.buf, (size_t)buffer.len, &error);
        PyEval_RestoreThread(released);
        if (status == DC_OK) {
            result = 1;
        } else {
            convert_raise(state, status, &error);
        }
    }
    PyBuffer_Release(&buffer);
done:
    Py_DECREF(block);
    return result;
}

int disk_file_copy(Disk *self, PyObject *reader, char name[DC_VALUEFILE_NAME_SIZE], int64_t *size)
{
    PyObject *directory = disk_directory(self);
    PyObject *block_size = PyLong_FromLong(DC_READ_BLOCK);
    dc_valuewriter writer = {.descriptor = -1};
    dc_error error;
    dc_status status = DC_CALLBACK; /* with an exception */
    int more = 1;

    dc_error_clear(&error);
    if (directory == NULL || block_size == NULL) {
        goto done;
    }
    status = dc_valuefile_name(name, &error);
    if (status == DC_OK) {
        status = dc_valuewriter_open(&writer, PyBytes_AS_STRING(directory), self->root_mode, name,
                                     &error);
    }
    if (status != DC_OK) {
        goto done;
    }
    while (more > 0) {
        more = copy_block(self->state, reader, block_size, &writer);
    }
    *size = writer.size;
    status = more < 0 ? DC_CALLBACK : dc_valuewriter_commit(&writer, &error);
done:
    if (status != DC_OK) {
        dc_valuewriter_abort(&writer);
        convert_raise(self->state, status, &error);
    }
    Py_XDECREF(block_size);
    Py_XDECREF(directory);
    return status == DC_OK ? 0 : -1;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* A value file is missing, where the caller wants to know that, or there is an exception. */
static void note_failure(Disk *self, dc_status status, const dc_error *error, int *missing)
{
    if (missing != NULL && (status == DC_NOT_FOUND || status == DC_CORRUPT)) {
        *missing = 1;
    } else {
        convert_raise(self->state, status, error);
    }
}

/* *descriptor is -1 on failure. */
static dc_status open_descriptor(Disk *self, const char *name, disk_file_size size, int *descriptor,
                                 int64_t *actual, double *seconds, dc_error *error)
{
    PyObject *directory = disk_directory(self);
    file_section section;
    dc_status status;

    *descriptor = -1;
    dc_error_clear(error);
    if (directory == NULL) {
        return DC_CALLBACK;
    }
    section = enter(self->reading, 0);
    status = dc_valuefile_open(PyBytes_AS_STRING(directory), name, descriptor, actual, error);
    *seconds = leave(section);
    Py_DECREF(directory);
    if (status == DC_OK && (*actual < size.least || *actual > size.most)) {
        dc_valuefile_close(*descriptor);
        *descriptor = -1;
        status = dc_error_set(error, DC_CORRUPT, "%s: wrong size", name);
    }
    return status;
}

PyObject *disk_file_read(Disk *self, const char *name, disk_file_size size, int *missing)
{
    PyObject *content = NULL;
    file_section section;
    double seconds = 0.0;
    int descriptor;
    int64_t actual = 0;
    dc_error error;
    dc_status status = open_descriptor(self, name, size, &descriptor, &actual, &seconds, &error);

    if (status == DC_OK) {
        content = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)actual);
        status = content == NULL ? DC_CALLBACK : DC_OK;
    }
    if (status == DC_OK) {
        section = enter(self->reading, actual >= LARGE_FILE);
        status = dc_valuefile_read(descriptor, PyBytes_AS_STRING(content), (size_t)actual, &error);
        seconds += leave(section);
    }
    if (actual < LARGE_FILE) {
        slow_mean_add(&self->reading, seconds, SLOW_SECONDS);
    }
    if (descriptor >= 0) {
        dc_valuefile_close(descriptor);
    }
    if (status != DC_OK) {
        Py_CLEAR(content);
        note_failure(self, status, &error, missing);
    }
    return content;
}

/* What io.open() calls for a descriptor: it takes the one in the list that is its self. */
static PyObject *take_descriptor(PyObject *list, PyObject *Py_UNUSED(args))
{
    PyObject *descriptor = PyList_GET_SIZE(list) == 1 ? Py_NewRef(PyList_GET_ITEM(list, 0)) : NULL;

    if (descriptor == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the file has been opened already");
    } else {
        PyList_SetSlice(list, 0, 1, NULL);
    }
    return descriptor;
}

static PyMethodDef taking = {"opener", take_descriptor, METH_VARARGS, NULL};

/* A Python file of a descriptor, which it gets, with the path as its name: opening that again could lead to another
 * file. NULL with an exception, and the descriptor closed. */
static PyObject *file_of(module_state *state, PyObject *path, int descriptor)
{
    PyObject *list = Py_BuildValue("[i]", descriptor);
    PyObject *opener = list != NULL ? PyCFunction_New(&taking, list) : NULL;
    PyObject *file = NULL;

    if (opener != NULL && dc_valuefile_set_blocking(descriptor) == 0) {
        file = PyObject_CallFunction(state->open, "OsiOOOOO", path, "rb", -1, Py_None, Py_None,
                                     Py_None, Py_True, opener);
    } else if (opener != NULL) {
        PyErr_SetFromErrno(PyExc_OSError);
    }
    if (list == NULL || PyList_GET_SIZE(list) > 0) {
        dc_valuefile_close(descriptor);
    }
    Py_XDECREF(opener);
    Py_XDECREF(list);
    return file;
}

PyObject *disk_file_open(Disk *self, const char *name, disk_file_size size, int *missing)
{
    PyObject *local = NULL;
    PyObject *path = NULL;
    PyObject *file = NULL;
    double seconds = 0.0;
    int descriptor;
    int64_t actual;
    dc_error error;
    dc_status status = open_descriptor(self, name, size, &descriptor, &actual, &seconds, &error);

    slow_mean_add(&self->reading, seconds, SLOW_SECONDS);
    if (status != DC_OK) {
        note_failure(self, status, &error, missing);
        return NULL;
    }
    local = disk_local_name(self->state, (PyObject *)self, name);
    if (local != NULL && disk_require(self->absolute, "_directory") == 0) {
        path = PyObject_CallFunctionObjArgs(self->state->join, self->absolute, local, NULL);
    }
    if (path != NULL) {
        file = file_of(self->state, path, descriptor);
    } else {
        dc_valuefile_close(descriptor);
    }
    Py_XDECREF(path);
    Py_XDECREF(local);
    return file;
}

int disk_file_differs(Disk *self, const char *name, disk_file_size size)
{
    compat_exception current = compat_exception_take();
    double seconds = 0.0;
    int descriptor;
    int64_t actual;
    dc_error error;
    dc_status status = open_descriptor(self, name, size, &descriptor, &actual, &seconds, &error);

    if (descriptor >= 0) {
        dc_valuefile_close(descriptor);
    }
    PyErr_Clear(); /* if the Disk has lost its directory */
    compat_exception_put(current);
    return status == DC_CORRUPT;
}

/* --- removing --------------------------------------------------------------------------------- */

static int remove_by_hook(module_state *state, PyObject *disk, const dc_namelist *names)
{
    compat_exception first;
    int failed = 0;

    memset(&first, 0, sizeof first);
    for (const char *name = dc_namelist_next(names, NULL); name != NULL;
         name = dc_namelist_next(names, name)) {
        PyObject *filename = disk_local_name(state, disk, name);
        PyObject *result = NULL;

        if (filename != NULL) {
            result = PyObject_CallMethodOneArg(disk, state->name.remove, filename);
            Py_DECREF(filename);
        }
        if (result != NULL) {
            Py_DECREF(result);
        } else if (failed) {
            PyErr_WriteUnraisable(disk);
        } else {
            first = compat_exception_take();
            failed = 1;
        }
    }
    if (failed) {
        compat_exception_put(first);
    }
    return failed ? -1 : 0;
}

int disk_remove_all(module_state *state, PyObject *disk, const dc_namelist *names)
{
    Disk *self = (Disk *)disk;
    PyObject *directory;
    file_section section;
    double seconds;
    int result = -1;

    if (names->count == 0 || disk == NULL) {
        return 0;
    }
    Py_INCREF(disk);
    if (disk_hooks(state, disk) & DISK_HOOK_remove) {
        result = remove_by_hook(state, disk, names);
        goto done;
    }
    directory = disk_directory(self);
    if (directory == NULL) {
        goto done;
    }
    section = enter(self->writing, names->count >= MANY_FILES);
    for (const char *name = dc_namelist_next(names, NULL); name != NULL;
         name = dc_namelist_next(names, name)) {
        dc_valuefile_remove(PyBytes_AS_STRING(directory), name);
    }
    seconds = leave(section);
    if (names->count < MANY_FILES) {
        slow_mean_add(&self->writing, seconds, SLOW_SECONDS);
    }
    Py_DECREF(directory);
    result = 0;
done:
    Py_DECREF(disk);
    return result;
}
