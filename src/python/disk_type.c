/* disk_type.c: see disk_type.h.
 *
 * Attributes of a Disk are as in the original (`_directory`, `min_file_size`, `pickle_protocol`), and assignable; the
 * struct keeps their C values beside them.
 */
#include "python/disk_type.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "engine/valuefile.h"
#include "python/args.h"
#include "python/convert.h"
#include "python/disk.h"
#include "python/disk_key.h"
#include "python/disk_value.h"

static PyObject *Disk_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
                          PyObject *Py_UNUSED(kwargs))
{
    module_state *state = state_of_type(type);
    Disk *self = state != NULL ? (Disk *)type->tp_alloc(type, 0) : NULL;

    if (self != NULL) {
        self->state = state;
    }
    return (PyObject *)self;
}

static int Disk_traverse(Disk *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->directory);
    Py_VISIT(self->absolute);
    Py_VISIT(self->directory_path);
    Py_VISIT(self->min_file_size);
    Py_VISIT(self->pickle_protocol);
    return 0;
}

static int Disk_clear(Disk *self)
{
    Py_CLEAR(self->directory);
    Py_CLEAR(self->absolute);
    Py_CLEAR(self->directory_path);
    Py_CLEAR(self->min_file_size);
    Py_CLEAR(self->pickle_protocol);
    return 0;
}

static void Disk_dealloc(Disk *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    Disk_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *Disk_setattr(Disk *self, PyObject *const *args, Py_ssize_t nargs)
{
    return hooks_setattr(&self->state->disk_hooks, &self->hooks, (PyObject *)self, args, nargs);
}

static PyObject *Disk_delattr(Disk *self, PyObject *name)
{
    return hooks_delattr(&self->state->disk_hooks, &self->hooks, (PyObject *)self, name);
}

static PyObject *get_object(PyObject *value, const char *name)
{
    return disk_require(value, name) < 0 ? NULL : Py_NewRef(value);
}

static PyObject *Disk_get_directory(Disk *self, void *Py_UNUSED(closure))
{
    return get_object(self->directory, "_directory");
}

static int Disk_set_directory(Disk *self, PyObject *value, void *Py_UNUSED(closure))
{
    PyObject *path = NULL;
    PyObject *absolute = value != NULL ? state_absolute(self->state, value) : NULL;

    if (value != NULL && (absolute == NULL || !PyUnicode_FSConverter(absolute, &path))) {
        Py_XDECREF(absolute);
        return -1;
    }
    Py_XSETREF(self->directory, Py_XNewRef(value));
    Py_XSETREF(self->absolute, absolute);
    Py_XSETREF(self->directory_path, path);
    return 0;
}

static PyObject *Disk_get_min_file_size(Disk *self, void *Py_UNUSED(closure))
{
    return get_object(self->min_file_size, "min_file_size");
}

static int Disk_set_min_file_size(Disk *self, PyObject *value, void *Py_UNUSED(closure))
{
    double number = 0.0;

    if (value != NULL) {
        if (!PyLong_Check(value) && !PyFloat_Check(value)) {
            PyErr_Format(PyExc_TypeError, "min_file_size must be a number of bytes, not '%.200s'",
                         Py_TYPE(value)->tp_name);
            return -1;
        }
        number = PyFloat_AsDouble(value);
        if (number == -1.0 && PyErr_Occurred()) {
            return -1;
        }
    }
    self->min_file_size_number = number >= (double)PY_SSIZE_T_MAX ? PY_SSIZE_T_MAX
                                 : number > 0.0                   ? (Py_ssize_t)ceil(number)
                                                                  : 0;
    Py_XSETREF(self->min_file_size, Py_XNewRef(value));
    return 0;
}

static PyObject *Disk_get_pickle_protocol(Disk *self, void *Py_UNUSED(closure))
{
    return get_object(self->pickle_protocol, "pickle_protocol");
}

static int Disk_set_pickle_protocol(Disk *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value != NULL && !PyLong_Check(value) && value != Py_None) {
        PyErr_Format(PyExc_TypeError, "pickle_protocol must be an int or None, not '%.200s'",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    self->key_pickle_protocol = 0;
    if (value != NULL && PyLong_CheckExact(value)) {
        int overflow;
        long protocol = PyLong_AsLongAndOverflow(value, &overflow);

        self->key_pickle_protocol = protocol == 4 || protocol == 5 ? (int)protocol : 0;
    }
    Py_XSETREF(self->pickle_protocol, Py_XNewRef(value));
    return 0;
}

static PyGetSetDef Disk_getset[] = {
    {"_directory", (getter)Disk_get_directory, (setter)Disk_set_directory,
     PyDoc_STR("directory of the cache, as given"), NULL},
    {"min_file_size", (getter)Disk_get_min_file_size, (setter)Disk_set_min_file_size,
     PyDoc_STR("values of at least this size (characters of a str, bytes of everything else) are "
               "kept in files"),
     NULL},
    {"pickle_protocol", (getter)Disk_get_pickle_protocol, (setter)Disk_set_pickle_protocol,
     PyDoc_STR("protocol for pickling keys and values"), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* Inside our own methods the hooks are the ones above this class: call the native code directly. */

/* What sqlite3.Binary(data) is: the original hands blobs out in this form. */
static PyObject *binary(PyObject *bytes)
{
    return PyMemoryView_FromObject(bytes);
}

PyDoc_STRVAR(Disk_put_doc,
"put($self, /, key)\n--\n\n"
"Convert a key to the form it has in the database.\n"
"\n"
":param key: any picklable object; str, bytes, float and int of 64 bits are kept as they are\n"
":return: (database key, raw): raw is False if the key was pickled\n"
":raises ValueError: for NaN, and a str that UTF-8 cannot encode\n"
":raises pickle.PicklingError: and whatever else pickling the key raises\n");

static PyObject *Disk_put(Disk *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"put", 1, 1, {"key"}};
    PyObject *key;
    disk_key encoded = {.owner = NULL};
    PyObject *database_key;
    PyObject *result = NULL;

    if (args_parse(&table, args, nargs, kwnames, &key) < 0 ||
        disk_put_native(self, key, &encoded) < 0) {
        return NULL;
    }
    database_key = encoded.key.datum.type == DC_BLOB ? binary(encoded.owner) : Py_NewRef(key);
    if (database_key != NULL) {
        result = PyTuple_Pack(2, database_key, encoded.key.raw ? Py_True : Py_False);
        Py_DECREF(database_key);
    }
    disk_key_clear(&encoded);
    return result;
}

PyDoc_STRVAR(Disk_get_doc,
"get($self, /, key, raw)\n--\n\n"
"Convert a database key back.\n"
"\n"
":param key: as put() returned it, or as the database did\n"
":param bool raw: False if the key is a pickle\n"
":return: the key\n"
":raises pickle.UnpicklingError: and whatever else unpickling raises\n");

static PyObject *Disk_get(Disk *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"get", 2, 2, {"key", "raw"}};
    PyObject *values[2];
    int raw;

    if (args_parse(&table, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    raw = PyObject_IsTrue(values[1]);
    if (raw < 0) {
        return NULL;
    }
    if (!raw) {
        return PyObject_CallOneArg(self->state->loads, values[0]);
    }
    return PyMemoryView_Check(values[0]) ? PyBytes_FromObject(values[0]) : Py_NewRef(values[0]);
}

PyDoc_STRVAR(Disk_store_doc,
"store($self, /, value, read, key=None)\n--\n\n"
"Convert a value to the columns that keep it, writing its file if it is large.\n");

static PyObject *Disk_store(Disk *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"store", 2, 3, {"value", "read", "key"}};
    PyObject *values[3];
    disk_value stored;
    PyObject *inline_value = NULL;
    PyObject *result = NULL;
    int read;

    memset(&stored, 0, sizeof stored);
    if (args_parse(&table, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    read = PyObject_IsTrue(values[1]);
    if (read < 0 || disk_store_native(self, values[0], read, &stored) < 0) {
        goto done;
    }
    inline_value = stored.columns.value.type == DC_BLOB ? binary(stored.owner)
                                                        : convert_from_datum(&stored.columns.value);
    if (inline_value != NULL) {
        result = Py_BuildValue("LLzO", (long long)stored.columns.size,
                               (long long)stored.columns.mode, stored.columns.filename,
                               inline_value);
    }
done:
    Py_XDECREF(inline_value);
    disk_value_clear(&stored);
    return result;
}

PyDoc_STRVAR(Disk_encode_doc,
"_encode($self, value, /)\n--\n\n"
"Convert a value to (mode, content, in_file) without writing anything.\n");

static PyObject *Disk_encode(Disk *self, PyObject *value)
{
    disk_value stored;
    PyObject *content;
    PyObject *result = NULL;
    int in_file;

    memset(&stored, 0, sizeof stored);
    if (disk_require(self->min_file_size, "min_file_size") < 0) {
        return NULL;
    }
    in_file = disk_encode(self, value, &stored);
    content = in_file >= 0 ? convert_from_datum(&stored.columns.value) : NULL;
    if (content != NULL) {
        result =
            Py_BuildValue("iNO", (int)stored.columns.mode, content, in_file ? Py_True : Py_False);
    }
    disk_value_clear(&stored);
    return result;
}

PyDoc_STRVAR(Disk_fetch_doc,
"fetch($self, /, mode, filename, value, read)\n--\n\n"
"Convert the columns of a row back to the value.\n"
"\n"
":param int mode: how the value is stored (the MODE_* constants)\n"
":param str filename: of the value file, relative to the directory, or None\n"
":param value: inline value, or None\n"
":param bool read: return an open file, in binary mode, for a value kept in a binary file\n"
":return: the value\n"
":raises OSError: if the file cannot be read\n"
":raises pickle.UnpicklingError: and whatever else unpickling raises\n");

static PyObject *Disk_fetch(Disk *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"fetch", 4, 4, {"mode", "filename", "value", "read"}};
    PyObject *values[4];
    dc_columns columns;
    PyObject *owner = NULL;
    PyObject *result = NULL;
    int read;

    memset(&columns, 0, sizeof columns);
    if (args_parse(&table, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    columns.mode = PyLong_AsLongLong(values[0]);
    if (columns.mode == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (values[1] != Py_None) {
        columns.filename = convert_filename(values[1], "filename");
        if (columns.filename == NULL) {
            return NULL;
        }
    }
    read = PyObject_IsTrue(values[3]);
    if (read < 0 || convert_to_datum(values[2], "value", &columns.value, &owner) < 0) {
        return NULL;
    }
    result = disk_fetch_native(self, &columns, read, -1, NULL);
    Py_XDECREF(owner);
    return result;
}

PyDoc_STRVAR(Disk_filename_doc,
"filename($self, /, key=None, value=None)\n--\n\n"
"Return a new random name for a value file.\n");

static PyObject *Disk_filename(Disk *self, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames)
{
    static const args_table table = {"filename", 0, 2, {"key", "value"}};
    PyObject *values[2];
    char name[DC_VALUEFILE_NAME_SIZE];
    PyObject *relative;
    PyObject *path;
    PyObject *result = NULL;
    dc_error error;
    dc_status status;

    if (args_parse(&table, args, nargs, kwnames, values) < 0 ||
        disk_require(self->directory, "_directory") < 0) {
        return NULL;
    }
    status = dc_valuefile_name(name, &error);
    if (status != DC_OK) {
        convert_raise(self->state, status, &error);
        return NULL;
    }
    relative = PyUnicode_FromString(name);
    if (relative == NULL) {
        return NULL;
    }
    path = PyObject_CallFunctionObjArgs(self->state->join, self->absolute, relative, NULL);
    if (path != NULL) {
        result = PyTuple_Pack(2, relative, path);
        Py_DECREF(path);
    }
    Py_DECREF(relative);
    return result;
}

PyDoc_STRVAR(Disk_remove_doc,
"remove($self, /, file_path)\n--\n\n"
"Remove a value file, and the directories that are empty without it.\n"
"\n"
"A file that cannot be removed is left to check(); no error is raised.\n"
"\n"
":param str file_path: relative to the directory\n");

static PyObject *Disk_remove(Disk *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"remove", 1, 1, {"file_path"}};
    PyObject *file_path;
    PyObject *directory;
    const char *name;

    if (args_parse(&table, args, nargs, kwnames, &file_path) < 0) {
        return NULL;
    }
    directory = disk_directory(self);
    name = convert_filename(file_path, "file_path");
    if (directory == NULL || name == NULL) {
        Py_XDECREF(directory);
        return NULL;
    }
    dc_valuefile_remove(PyBytes_AS_STRING(directory), name);
    Py_DECREF(directory);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Disk_hash_doc,
"hash($self, /, key)\n--\n\n"
"Compute a hash of a key that is the same in every process.\n"
"\n"
":param key: any key\n"
":return: int below 2**32: Adler-32 of the database key, or an int modulo 2**32 - 1\n"
":raises ValueError: and what else put() raises\n");

/* The checksum of RFC 1950, as zlib.adler32 computes it. */
static uint32_t adler32(const unsigned char *data, size_t size)
{
    const size_t run = 5552; /* bytes until the sums could overflow 32 bits */
    uint32_t low = 1;
    uint32_t high = 0;

    while (size > 0) {
        size_t count = size < run ? size : run;

        size -= count;
        while (count-- > 0) {
            low += *data++;
            high += low;
        }
        low %= 65521;
        high %= 65521;
    }
    return high << 16 | low;
}

static uint32_t hash_datum(const dc_datum *datum)
{
    const int64_t mask = 0xFFFFFFFF;
    unsigned char big_endian[8];
    uint64_t bits;

    if (datum->type == DC_INTEGER) {
        int64_t remainder = datum->as.integer % mask;

        return (uint32_t)(remainder < 0 ? remainder + mask : remainder);
    }
    if (datum->type == DC_REAL) {
        memcpy(&bits, &datum->as.real, sizeof bits);
        for (int i = 0; i < 8; i++) {
            big_endian[i] = (unsigned char)(bits >> (56 - 8 * i));
        }
        return adler32(big_endian, sizeof big_endian);
    }
    return adler32((const unsigned char *)datum->as.bytes.data, datum->as.bytes.size);
}

static PyObject *Disk_hash(Disk *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"hash", 1, 1, {"key"}};
    PyObject *key;
    disk_key encoded = {.owner = NULL};
    PyObject *result;

    if (args_parse(&table, args, nargs, kwnames, &key) < 0 ||
        disk_put_for_hash(self->state, (PyObject *)self, key, &encoded) < 0) {
        return NULL;
    }
    result = PyLong_FromUnsignedLong(hash_datum(&encoded.key.datum));
    disk_key_clear(&encoded);
    return result;
}

PyDoc_STRVAR(Disk_hooked_doc,
"_hooked($self, /)\n--\n\n"
"Whether `filename` or `_write` is not this class's own.\n");

static PyObject *Disk_hooked(Disk *self, PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong((disk_hooks(self->state, (PyObject *)self) & DISK_HOOK_FILES) != 0);
}

PyDoc_STRVAR(Disk_is_inside_doc,
"_is_inside(filename, /)\n--\n\n"
"Whether a name is that of a file inside of the directory.\n");

static PyObject *Disk_is_inside(PyObject *Py_UNUSED(unused), PyObject *filename)
{
    Py_ssize_t size;
    const char *name;

    if (!PyUnicode_Check(filename)) {
        PyErr_Format(PyExc_TypeError, "filename must be str, not '%.200s'",
                     Py_TYPE(filename)->tp_name);
        return NULL;
    }
    name = PyUnicode_AsUTF8AndSize(filename, &size);
    return name != NULL ? PyBool_FromLong(dc_valuefile_is_inside(name, (size_t)size)) : NULL;
}

PyDoc_STRVAR(Disk_local_name_doc,
"_local_name($self, filename, /)\n--\n\n"
"The name that the file of a row has here: a row that was written on Windows has backslashes.\n");

static PyObject *Disk_local_name(Disk *self, PyObject *filename)
{
    const char *name = convert_filename(filename, "filename");

    return name != NULL ? disk_local_name(self->state, (PyObject *)self, name) : NULL;
}

static PyMethodDef Disk_methods[] = {
    {"put", ARGS_METHOD(Disk_put), Disk_put_doc},
    {"get", ARGS_METHOD(Disk_get), Disk_get_doc},
    {"store", ARGS_METHOD(Disk_store), Disk_store_doc},
    {"fetch", ARGS_METHOD(Disk_fetch), Disk_fetch_doc},
    {"filename", ARGS_METHOD(Disk_filename), Disk_filename_doc},
    {"remove", ARGS_METHOD(Disk_remove), Disk_remove_doc},
    {"hash", ARGS_METHOD(Disk_hash), Disk_hash_doc},
    {"__setattr__", (PyCFunction)(void (*)(void))Disk_setattr, METH_FASTCALL,
     PyDoc_STR("__setattr__($self, name, value, /)\n--\n\nSet an attribute.\n")},
    {"__delattr__", (PyCFunction)Disk_delattr, METH_O,
     PyDoc_STR("__delattr__($self, name, /)\n--\n\nDelete an attribute.\n")},
    {"_encode", (PyCFunction)Disk_encode, METH_O, Disk_encode_doc},
    {"_is_inside", Disk_is_inside, METH_O | METH_STATIC, Disk_is_inside_doc},
    {"_local_name", (PyCFunction)Disk_local_name, METH_O, Disk_local_name_doc},
    {"_hooked", (PyCFunction)Disk_hooked, METH_NOARGS, Disk_hooked_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot Disk_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("The native part of diskcache.Disk.")},
    {Py_tp_new, Disk_new},
    {Py_tp_dealloc, Disk_dealloc},
    {Py_tp_traverse, Disk_traverse},
    {Py_tp_clear, Disk_clear},
    {Py_tp_getset, Disk_getset},
    {Py_tp_methods, Disk_methods},
    {0, NULL},
};

PyType_Spec disk_type_spec = {
    .name = "diskcache._core.Disk",
    .basicsize = sizeof(Disk),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = Disk_slots,
};
