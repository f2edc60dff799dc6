/* disk_file.c: see disk_file.h. */
#include "python/disk_file.h"

#include <string.h>

#include "base/limits.h"
#include "python/convert.h"
#include "python/file_section.h"

/* Files from which removing them releases the GIL. */
#define MANY_FILES 4

/* --- writing ---------------------------------------------------------------------------------- */

int disk_file_write_pieces(Disk *self, const dc_piece *pieces, size_t count, size_t size,
                           char name[DC_VALUEFILE_NAME_SIZE])
{
    PyObject *directory = disk_directory(self);
    dc_error error;
    dc_status status;
    file_section section;
    double seconds;

    if (directory == NULL) {
        return -1;
    }
    dc_error_clear(&error);
    section = file_section_enter(self->writing, size >= LARGE_FILE);
    status = dc_valuefile_name(name, &error);
    if (status == DC_OK) {
        status = dc_valuefile_write_pieces(PyBytes_AS_STRING(directory), self->root_mode, name,
                                           pieces, count, &error);
    }
    seconds = file_section_leave(section);
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

int disk_file_write(Disk *self, const dc_datum *content, char name[DC_VALUEFILE_NAME_SIZE])
{
    const dc_piece piece = {content->as.bytes.data, content->as.bytes.size};

    return disk_file_write_pieces(self, &piece, 1, piece.size, name);
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

/* file->descriptor is -1 on failure. */
static dc_status open_file(Disk *self, const char *name, disk_file_size size, disk_opened *file,
                           dc_error *error)
{
    PyObject *directory = disk_directory(self);
    file_section section;
    dc_status status;

    *file = (disk_opened){.descriptor = -1};
    dc_error_clear(error);
    if (directory == NULL) {
        return DC_CALLBACK;
    }
    section = file_section_enter(self->reading, 0);
    status = dc_valuefile_open(PyBytes_AS_STRING(directory), name, &file->descriptor, &file->size,
                               error);
    file->seconds = file_section_leave(section);
    Py_DECREF(directory);
    if (status == DC_OK && (file->size < size.least || file->size > size.most)) {
        dc_valuefile_close(file->descriptor);
        file->descriptor = -1;
        status = dc_error_set(error, DC_CORRUPT, "%s: wrong size", name);
    }
    return status;
}

int disk_file_enter(Disk *self, const char *name, disk_file_size size, disk_opened *file,
                    int *missing)
{
    dc_error error;
    dc_status status = open_file(self, name, size, file, &error);

    if (status != DC_OK) {
        note_failure(self, status, &error, missing);
    }
    return status == DC_OK ? 0 : -1;
}

/* Read the whole file to `data`, or close it only if that is NULL, with an exception. -1 as disk_file_enter. */
static int read_and_close(Disk *self, const disk_opened *file, char *data, int *missing)
{
    int large = file->size >= LARGE_FILE;
    dc_status status = DC_CALLBACK;
    double seconds = file->seconds;
    file_section section;
    dc_error error;

    dc_error_clear(&error);
    if (data != NULL) {
        section = file_section_enter(self->reading, large);
        status = dc_valuefile_read(file->descriptor, data, (size_t)file->size, &error);
        seconds += file_section_leave(section);
    }
    if (!large) {
        slow_mean_add(&self->reading, seconds, SLOW_SECONDS);
    }
    dc_valuefile_close(file->descriptor);
    if (status != DC_OK) {
        note_failure(self, status, &error, missing);
    }
    return status == DC_OK ? 0 : -1;
}

PyObject *disk_file_read_opened(Disk *self, const disk_opened *file, int *missing)
{
    PyObject *content = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)file->size);
    char *data = content != NULL ? PyBytes_AS_STRING(content) : NULL;

    if (read_and_close(self, file, data, missing) < 0) {
        Py_CLEAR(content);
    }
    return content;
}

PyObject *disk_file_read(Disk *self, const char *name, disk_file_size size, int *missing)
{
    disk_opened file;

    return disk_file_enter(self, name, size, &file, missing) == 0
               ? disk_file_read_opened(self, &file, missing)
               : NULL;
}

static int is_ascii(const char *data, size_t size)
{
    uint64_t bits = 0;
    uint64_t word;

    while (size >= sizeof word) {
        memcpy(&word, data, sizeof word);
        bits |= word;
        data += sizeof word;
        size -= sizeof word;
    }
    while (size > 0) {
        bits |= (unsigned char)data[--size];
    }
    return (bits & 0x8080808080808080) == 0;
}

/* ASCII is read to where a str has it. Other text is decoded from there. */
PyObject *disk_file_read_text(Disk *self, const char *name, disk_file_size size, int *missing)
{
    disk_opened file;
    PyObject *text;
    char *data;

    if (disk_file_enter(self, name, size, &file, missing) < 0) {
        return NULL;
    }
    text = PyUnicode_New((Py_ssize_t)file.size, 0x7f);
    data = text != NULL ? (char *)PyUnicode_1BYTE_DATA(text) : NULL;
    if (read_and_close(self, &file, data, missing) < 0) {
        Py_CLEAR(text);
    } else if (!is_ascii(data, (size_t)file.size)) {
        Py_SETREF(text, PyUnicode_DecodeUTF8(data, (Py_ssize_t)file.size, NULL));
    }
    return text;
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
    PyObject *directory = NULL;
    PyObject *path = NULL;
    PyObject *python_file = NULL;
    disk_opened file;
    int failed = disk_file_enter(self, name, size, &file, missing) < 0;

    slow_mean_add(&self->reading, file.seconds, SLOW_SECONDS);
    if (failed) {
        return NULL;
    }
    local = disk_local_name(self->state, (PyObject *)self, name);
    if (local != NULL) {
        directory = disk_attribute(self, &self->absolute);
    }
    if (local != NULL && disk_require(directory, "_directory") == 0) {
        path = PyObject_CallFunctionObjArgs(self->state->join, directory, local, NULL);
    }
    if (path != NULL) {
        python_file = file_of(self->state, path, file.descriptor);
    } else {
        dc_valuefile_close(file.descriptor);
    }
    Py_XDECREF(path);
    Py_XDECREF(directory);
    Py_XDECREF(local);
    return python_file;
}

int disk_file_differs(Disk *self, const char *name, disk_file_size size)
{
    compat_exception current = compat_exception_take();
    disk_opened file;
    dc_error error;
    dc_status status = open_file(self, name, size, &file, &error);

    if (file.descriptor >= 0) {
        dc_valuefile_close(file.descriptor);
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
    section = file_section_enter(self->writing, names->count >= MANY_FILES);
    for (const char *name = dc_namelist_next(names, NULL); name != NULL;
         name = dc_namelist_next(names, name)) {
        dc_valuefile_remove(PyBytes_AS_STRING(directory), name);
    }
    seconds = file_section_leave(section);
    if (names->count < MANY_FILES) {
        slow_mean_add(&self->writing, seconds, SLOW_SECONDS);
    }
    Py_DECREF(directory);
    result = 0;
done:
    Py_DECREF(disk);
    return result;
}
