/* disk_stream.c: see disk_stream.h.
 *
 * While a value is pickled nothing is written, and the GIL is kept as by pickle.dumps: other threads see to it that
 * what is stored is of one moment, as far as it is built into Python, and what cannot be pickled leaves no file. While
 * it is loaded any Python code may run, with the file open, and no lock held.
 */
#include "python/disk_stream.h"

#include <string.h>

#include "python/convert.h"
#include "python/file_section.h"

/* --- writing ---------------------------------------------------------------------------------- */

typedef struct PickleSink {
    PyObject_HEAD
    PyObject *first; /* bytes, strong, or NULL: most pickles have one part */
    PyObject *rest;  /* list, strong, or NULL: bytes, and memoryviews of what is not copied */
} PickleSink;

/* A part as it can be kept until all is written: new reference. Only who hands out a PickleBuffer has asked not to
 * have it copied; a bytearray that is looked at could not be resized meanwhile. */
static PyObject *keep(PyObject *data)
{
    if (PyBytes_CheckExact(data)) {
        return Py_NewRef(data);
    }
    return PyPickleBuffer_Check(data) ? PyMemoryView_FromObject(data) : PyBytes_FromObject(data);
}

/* What pickle calls: with bytes, or with what it was given for an object, which is never the first. */
static PyObject *PickleSink_write(PickleSink *self, PyObject *data)
{
    PyObject *part;
    int result = -1;

    if (self->first == NULL) {
        self->first = PyBytes_FromObject(data);
        return self->first != NULL ? Py_NewRef(Py_None) : NULL;
    }
    part = keep(data);
    if (part != NULL && self->rest == NULL) {
        self->rest = PyList_New(0);
    }
    if (part != NULL && self->rest != NULL) {
        result = PyList_Append(self->rest, part);
    }
    Py_XDECREF(part);
    return result == 0 ? Py_NewRef(Py_None) : NULL;
}

static void PickleSink_dealloc(PickleSink *self)
{
    PyTypeObject *type = Py_TYPE(self);

    Py_XDECREF(self->first);
    Py_XDECREF(self->rest);
    type->tp_free(self);
    Py_DECREF(type);
}

static dc_piece piece_of(PyObject *part)
{
    if (PyBytes_Check(part)) {
        return (dc_piece){PyBytes_AS_STRING(part), (size_t)PyBytes_GET_SIZE(part)};
    }
    return (dc_piece){PyMemoryView_GET_BUFFER(part)->buf,
                      (size_t)PyMemoryView_GET_BUFFER(part)->len};
}

/* All of a sink; *size receives their bytes. Owned: for PyMem_Free. NULL with an exception. */
static dc_piece *collect_pieces(const PickleSink *sink, size_t *count, size_t *size)
{
    Py_ssize_t more = PyList_GET_SIZE(sink->rest);
    dc_piece *pieces = PyMem_New(dc_piece, (size_t)more + 1);

    if (pieces == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    *count = (size_t)more + 1;
    *pieces = piece_of(sink->first);
    *size = pieces->size;
    for (Py_ssize_t i = 0; i < more; i++) {
        pieces[i + 1] = piece_of(PyList_GET_ITEM(sink->rest, i));
        *size += pieces[i + 1].size;
    }
    return pieces;
}

static PyObject *join_pieces(const dc_piece *pieces, size_t count, size_t size)
{
    PyObject *joined = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    char *end = joined != NULL ? PyBytes_AS_STRING(joined) : NULL;

    for (size_t i = 0; i < count && joined != NULL; i++) {
        memcpy(end, pieces[i].data, pieces[i].size);
        end += pieces[i].size;
    }
    return joined;
}

/* The pickle of several parts goes into a file, or back as bytes: as disk_stream_pickle. */
static int place_parts(Disk *self, const PickleSink *sink, PyObject **pickled,
                       char name[DC_VALUEFILE_NAME_SIZE], int64_t *size)
{
    size_t count;
    size_t total;
    dc_piece *pieces = collect_pieces(sink, &count, &total);
    int result = -1;

    if (pieces == NULL) {
        return -1;
    }
    if (total < (size_t)self->min_file_size_number) {
        *pickled = join_pieces(pieces, count, total);
        result = *pickled != NULL ? 0 : -1;
    } else if (disk_file_write_pieces(self, pieces, count, total, name) == 0) {
        *size = (int64_t)total;
        result = 1;
    }
    PyMem_Free(pieces);
    return result;
}

int disk_stream_pickle(Disk *self, PyObject *object, PyObject **pickled,
                       char name[DC_VALUEFILE_NAME_SIZE], int64_t *size)
{
    module_state *state = self->state;
    PyObject *arguments[3];
    PickleSink *sink;
    PyObject *done;
    int result = -1;

    *pickled = NULL;
    arguments[2] =
        disk_attribute(self, &self->pickle_protocol); /* which Python code may assign to */
    if (arguments[2] == NULL || (disk_hooks(state, (PyObject *)self) & DISK_HOOK__to_pickle)) {
        Py_XDECREF(arguments[2]);
        *pickled = disk_pickle(self, object);
        return *pickled != NULL ? 0 : -1;
    }
    sink = (PickleSink *)state->pickle_sink_type->tp_alloc(state->pickle_sink_type, 0);
    if (sink == NULL) {
        Py_DECREF(arguments[2]);
        return -1;
    }
    arguments[0] = object;
    arguments[1] = (PyObject *)sink;
    done = PyObject_Vectorcall(state->dump, arguments, 3, NULL);
    Py_DECREF(arguments[2]);
    if (done != NULL && sink->rest == NULL) {
        *pickled = Py_XNewRef(sink->first);
        result = 0;
    } else if (done != NULL) {
        result = place_parts(self, sink, pickled, name, size);
    }
    Py_XDECREF(done);
    Py_DECREF(sink);
    return result;
}

static PyMethodDef PickleSink_methods[] = {
    {"write", (PyCFunction)PickleSink_write, METH_O, PyDoc_STR("Take a part of the pickle.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot PickleSink_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("What a value is pickled to.")},
    {Py_tp_dealloc, PickleSink_dealloc},
    {Py_tp_methods, PickleSink_methods},
    {0, NULL},
};

PyType_Spec pickle_sink_spec = {
    .name = "diskcache._core.PickleSink",
    .basicsize = sizeof(PickleSink),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = PickleSink_slots,
};

/* --- reading ---------------------------------------------------------------------------------- */

/* Opcodes, and the heads of frames. */
#define SMALL_READ 4096

typedef struct PickleSource {
    PyObject_HEAD
    Disk *disk; /* strong */
    int descriptor;
    int is_cut_short;
    int64_t rest;      /* bytes of the file that have not been read */
    size_t begin, end; /* of those in the buffer that have not been given */
    char buffer[SMALL_READ];
} PickleSource;

/* `size` is not more than the rest. -1 with an exception. */
static int read_block(PickleSource *self, char *data, size_t size)
{
    Disk *disk = self->disk;
    int large = size >= LARGE_FILE;
    dc_error error;
    dc_status status;
    file_section section;

    dc_error_clear(&error);
    section = file_section_enter(disk->reading, large);
    status = dc_valuefile_read(self->descriptor, data, size, &error);
    file_section_count(section, &disk->reading, large);
    if (status != DC_OK) {
        self->is_cut_short = status == DC_CORRUPT;
        convert_raise(disk->state, status, &error);
        return -1;
    }
    self->rest -= (int64_t)size;
    return 0;
}

/* Read what opcodes and small objects are taken from. */
static int fill_buffer(PickleSource *self)
{
    size_t size = self->rest < SMALL_READ ? (size_t)self->rest : SMALL_READ;

    if (read_block(self, self->buffer, size) < 0) {
        return -1;
    }
    self->begin = 0;
    self->end = size;
    return 0;
}

static size_t count_left(const PickleSource *self)
{
    return self->end - self->begin + (size_t)self->rest;
}

/* The next bytes, of which there are so many. */
static int take(PickleSource *self, char *data, size_t size)
{
    while (size > 0) {
        size_t count = self->end - self->begin;

        if (count == 0 && size < SMALL_READ) {
            if (fill_buffer(self) < 0) {
                return -1;
            }
            continue;
        }
        if (count > size) {
            count = size;
        }
        if (count > 0) {
            memcpy(data, self->buffer + self->begin, count);
            self->begin += count;
        } else {
            count = size;
            if (read_block(self, data, count) < 0) {
                return -1;
            }
        }
        data += count;
        size -= count;
    }
    return 0;
}

static PyObject *take_bytes(PickleSource *self, size_t size)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);

    if (bytes != NULL && take(self, PyBytes_AS_STRING(bytes), size) < 0) {
        Py_CLEAR(bytes);
    }
    return bytes;
}

static PyObject *PickleSource_read(PickleSource *self, PyObject *number)
{
    Py_ssize_t size = PyLong_AsSsize_t(number);

    if (size < 0) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "size must not be negative");
        }
        return NULL;
    }
    return take_bytes(self, (size_t)size < count_left(self) ? (size_t)size : count_left(self));
}

static PyObject *PickleSource_readinto(PickleSource *self, PyObject *object)
{
    Py_buffer buffer;
    size_t size;
    int result;

    if (PyObject_GetBuffer(object, &buffer, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    size = (size_t)buffer.len < count_left(self) ? (size_t)buffer.len : count_left(self);
    result = take(self, buffer.buf, size);
    PyBuffer_Release(&buffer);
    return result == 0 ? PyLong_FromSize_t(size) : NULL;
}

/* Of the opcodes of old protocols, which a pickle of a new one may contain. */
static PyObject *PickleSource_readline(PickleSource *self, PyObject *Py_UNUSED(unused))
{
    PyObject *line = PyBytes_FromStringAndSize(NULL, 0);
    int ends = 0;

    while (line != NULL && !ends && count_left(self) > 0) {
        const char *newline;
        size_t count;

        if (self->begin == self->end && fill_buffer(self) < 0) {
            Py_CLEAR(line);
            break;
        }
        newline = memchr(self->buffer + self->begin, '\n', self->end - self->begin);
        count = newline != NULL ? (size_t)(newline - self->buffer) + 1 - self->begin
                                : self->end - self->begin;
        ends = newline != NULL;
        PyBytes_ConcatAndDel(&line, take_bytes(self, count));
    }
    return line;
}

static void PickleSource_dealloc(PickleSource *self)
{
    PyTypeObject *type = Py_TYPE(self);

    if (self->descriptor >= 0) {
        dc_valuefile_close(self->descriptor);
    }
    Py_XDECREF(self->disk);
    type->tp_free(self);
    Py_DECREF(type);
}

/* A source of an open file, which it closes; NULL with an exception, and the file is closed. */
static PickleSource *open_source(Disk *self, int descriptor, int64_t size)
{
    PyTypeObject *type = self->state->pickle_source_type;
    PickleSource *source = (PickleSource *)type->tp_alloc(type, 0);

    if (source == NULL) {
        dc_valuefile_close(descriptor);
        return NULL;
    }
    source->disk = (Disk *)Py_NewRef((PyObject *)self);
    source->descriptor = descriptor;
    source->rest = size;
    return source;
}

/* Whether the pickle is in frames, which are read as a whole. Each opcode of others would be a call. */
static int is_in_frames(const PickleSource *source)
{
    return source->end >= 2 && (unsigned char)source->buffer[0] == 0x80 && source->buffer[1] >= 4;
}

static PyObject *unpickle_source(module_state *state, PickleSource *source)
{
    PyObject *pickled;
    PyObject *value;

    if (fill_buffer(source) < 0) {
        return NULL;
    }
    if (is_in_frames(source)) {
        return PyObject_CallOneArg(state->load, (PyObject *)source);
    }
    pickled = take_bytes(source, count_left(source));
    if (pickled == NULL) {
        return NULL;
    }
    value = PyObject_CallOneArg(state->loads, pickled);
    Py_DECREF(pickled);
    return value;
}

PyObject *disk_stream_unpickle(Disk *self, const char *name, disk_file_size size, int *missing)
{
    disk_opened file;
    PickleSource *source;
    PyObject *pickled;
    PyObject *value;

    if (disk_file_enter(self, name, size, &file, missing) < 0) {
        return NULL;
    }
    if (file.size < LARGE_FILE ||
        (disk_hooks(self->state, (PyObject *)self) & DISK_HOOK__from_pickle)) {
        pickled = disk_file_read_opened(self, &file, missing);
        value = pickled != NULL ? disk_unpickle(self->state, (PyObject *)self, pickled) : NULL;
        Py_XDECREF(pickled);
        return value;
    }
    source = open_source(self, file.descriptor, file.size);
    if (source == NULL) {
        return NULL;
    }
    value = unpickle_source(self->state, source);
    if (value == NULL && source->is_cut_short && missing != NULL) {
        PyErr_Clear();
        *missing = 1;
    }
    Py_DECREF(source);
    return value;
}

static PyMethodDef PickleSource_methods[] = {
    {"read", (PyCFunction)PickleSource_read, METH_O, PyDoc_STR("Return the next bytes.")},
    {"readinto", (PyCFunction)PickleSource_readinto, METH_O,
     PyDoc_STR("Put the next bytes into a buffer; return how many.")},
    {"readline", (PyCFunction)PickleSource_readline, METH_NOARGS,
     PyDoc_STR("Return the next bytes up to a newline.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot PickleSource_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("What a value is loaded from.")},
    {Py_tp_dealloc, PickleSource_dealloc},
    {Py_tp_methods, PickleSource_methods},
    {0, NULL},
};

PyType_Spec pickle_source_spec = {
    .name = "diskcache._core.PickleSource",
    .basicsize = sizeof(PickleSource),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = PickleSource_slots,
};
