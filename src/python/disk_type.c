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
#include "python/convert.h"
#include "python/disk.h"
#include "python/disk_file.h"
#include "python/disk_key.h"
#include "python/disk_value.h"
#include "python/guard.h"

#define METHODS         "python/disk_methods.def"
#define METHOD_OF(name) Disk_##name
#define METHOD_SELF     Disk
#include "python/methods_declare.h"

static PyObject *Disk_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
                          PyObject *Py_UNUSED(kwargs))
{
    module_state *state = state_of_type(type);
    Disk *self = state != NULL ? (Disk *)type->tp_alloc(type, 0) : NULL;

    if (self != NULL) {
        self->state = state;
        self->root_mode = 0700;
        self->may_map = 1;
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

static PyObject *Disk___setattr__(Disk *self, PyObject *const *args, Py_ssize_t nargs)
{
    return hooks_setattr(&self->state->disk_hooks, &self->hooks, (PyObject *)self, args, nargs);
}

static PyObject *Disk___delattr__(Disk *self, PyObject *name)
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

#define GUARDED_ATTRIBUTE(name)                                                                    \
    GUARDED(PyObject *, guarded_get_##name, self, Disk_get_##name, (Disk * self, void *closure),   \
            (self, closure))                                                                       \
    GUARDED(int, guarded_set_##name, self, Disk_set_##name,                                        \
            (Disk * self, PyObject * value, void *closure), (self, value, closure))

GUARDED_ATTRIBUTE(directory)
GUARDED_ATTRIBUTE(min_file_size)
GUARDED_ATTRIBUTE(pickle_protocol)

static PyMemberDef Disk_members[] = {
    {"_may_map", T_BOOL, offsetof(Disk, may_map), 0,
     PyDoc_STR("whether files may be mapped: not where another machine can remove them")},
    {"_directory_mode", T_INT, offsetof(Disk, root_mode), 0,
     PyDoc_STR("mode of the directory, should it have to be made again")},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef Disk_getset[] = {
    {"_directory", (getter)guarded_get_directory, (setter)guarded_set_directory,
     PyDoc_STR("directory of the cache, as given"), NULL},
    {"min_file_size", (getter)guarded_get_min_file_size, (setter)guarded_set_min_file_size,
     PyDoc_STR("values of at least this size (characters of a str, bytes of everything else) are "
               "kept in files"),
     NULL},
    {"pickle_protocol", (getter)guarded_get_pickle_protocol, (setter)guarded_set_pickle_protocol,
     PyDoc_STR("protocol for pickling keys and values"), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* Inside our own methods the hooks are the ones above this class: call the native code directly. */

/* What sqlite3.Binary(data) is: the original hands blobs out in this form. */
static PyObject *binary(PyObject *bytes)
{
    return PyMemoryView_FromObject(bytes);
}

PyObject *Disk_put(Disk *self, const Disk_put_args *args)
{
    disk_key encoded = {.owner = NULL};
    PyObject *database_key;
    PyObject *result = NULL;

    if (disk_put_native(self, args->key, &encoded) < 0) {
        return NULL;
    }
    database_key = encoded.key.datum.type == DC_BLOB ? binary(encoded.owner) : Py_NewRef(args->key);
    if (database_key != NULL) {
        result = PyTuple_Pack(2, database_key, encoded.key.raw ? Py_True : Py_False);
        Py_DECREF(database_key);
    }
    disk_key_clear(&encoded);
    return result;
}

PyObject *Disk_get(Disk *self, const Disk_get_args *args)
{
    if (!args->raw) {
        return disk_unpickle(self->state, (PyObject *)self, args->key);
    }
    return PyMemoryView_Check(args->key) ? PyBytes_FromObject(args->key) : Py_NewRef(args->key);
}

PyObject *Disk_store(Disk *self, const Disk_store_args *args)
{
    disk_value stored;
    PyObject *inline_value = NULL;
    PyObject *result = NULL;

    memset(&stored, 0, sizeof stored);
    if (disk_store_native(self, args->value, args->read, &stored) < 0) {
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

PyObject *Disk__encode(Disk *self, const Disk__encode_args *args)
{
    disk_value stored;
    PyObject *content;
    PyObject *result = NULL;
    int in_file;

    memset(&stored, 0, sizeof stored);
    if (disk_require(self->min_file_size, "min_file_size") < 0) {
        return NULL;
    }
    in_file = disk_encode(self, args->value, &stored);
    content = in_file >= 0 ? convert_from_datum(&stored.columns.value) : NULL;
    if (content != NULL) {
        result =
            Py_BuildValue("iNO", (int)stored.columns.mode, content, in_file ? Py_True : Py_False);
    }
    disk_value_clear(&stored);
    return result;
}

PyObject *Disk_fetch(Disk *self, const Disk_fetch_args *args)
{
    dc_columns columns;
    PyObject *owner = NULL;
    PyObject *result = NULL;

    memset(&columns, 0, sizeof columns);
    columns.mode = PyLong_AsLongLong(args->mode);
    if (columns.mode == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (args->filename != Py_None) {
        columns.filename = convert_filename(args->filename, "filename");
        if (columns.filename == NULL) {
            return NULL;
        }
    }
    if (convert_to_datum(args->value, "value", &columns.value, &owner) < 0) {
        return NULL;
    }
    result = disk_fetch_native(self, &columns, args->read ? DISK_READ_FILE : DISK_READ_VALUE,
                               DISK_FILE_ANY_SIZE, NULL);
    Py_XDECREF(owner);
    return result;
}

PyObject *Disk__to_pickle(Disk *self, const Disk__to_pickle_args *args)
{
    return disk_pickle_native(self, args->object);
}

PyObject *Disk__from_pickle(Disk *self, const Disk__from_pickle_args *args)
{
    return PyObject_CallOneArg(self->state->loads, args->pickled);
}

PyObject *Disk_filename(Disk *self, const Disk_filename_args *Py_UNUSED(args))
{
    char name[DC_VALUEFILE_NAME_SIZE];
    PyObject *relative;
    PyObject *path;
    PyObject *result = NULL;
    dc_error error;
    dc_status status;

    if (disk_require(self->directory, "_directory") < 0) {
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

PyObject *Disk_remove(Disk *self, const Disk_remove_args *args)
{
    PyObject *directory = disk_directory(self);
    const char *name = convert_filename(args->file_path, "file_path");

    if (directory == NULL || name == NULL) {
        Py_XDECREF(directory);
        return NULL;
    }
    dc_valuefile_remove(PyBytes_AS_STRING(directory), name);
    Py_DECREF(directory);
    Py_RETURN_NONE;
}

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

static int hash_key(Disk *self, PyObject *key, uint32_t *hash)
{
    disk_key encoded = {.owner = NULL};

    if (disk_put_for_hash(self->state, (PyObject *)self, key, &encoded) < 0) {
        return -1;
    }
    *hash = hash_datum(&encoded.key.datum);
    disk_key_clear(&encoded);
    return 0;
}

PyObject *Disk_hash(Disk *self, const Disk_hash_args *args)
{
    uint32_t hash;

    return hash_key(self, args->key, &hash) < 0 ? NULL : PyLong_FromUnsignedLong(hash);
}

PyObject *Disk__create_file(Disk *self, const Disk__create_file_args *args)
{
    const char *name = convert_filename(args->filename, "filename");
    PyObject *directory = name != NULL ? disk_directory(self) : NULL;
    dc_error error;
    dc_status status;
    int descriptor;

    if (directory == NULL) {
        return NULL;
    }
    dc_error_clear(&error);
    status = dc_valuefile_create(PyBytes_AS_STRING(directory), self->root_mode, name, &descriptor,
                                 &error);
    Py_DECREF(directory);
    if (status != DC_OK) {
        convert_raise(self->state, status, &error);
        return NULL;
    }
    return PyLong_FromLong(descriptor);
}

PyObject *Disk__open_file(Disk *self, const Disk__open_file_args *args)
{
    const char *name = convert_filename(args->filename, "filename");
    PyObject *file = NULL;
    int missing = 0;

    if (name != NULL) {
        file = disk_file_open(self, name, DISK_FILE_ANY_SIZE, &missing);
    }
    return missing ? Py_NewRef(Py_None) : file;
}

PyObject *Disk__hooked(Disk *self)
{
    return PyBool_FromLong((disk_hooks(self->state, (PyObject *)self) & DISK_HOOK_FILES) != 0);
}

static PyObject *Disk__is_inside(PyObject *Py_UNUSED(unused), PyObject *filename)
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

PyObject *Disk__local_name(Disk *self, const Disk__local_name_args *args)
{
    const char *name = convert_filename(args->filename, "filename");

    return name != NULL ? disk_local_name(self->state, (PyObject *)self, name) : NULL;
}

#include "python/methods_define.h"

/* The Disk whose own method `hash` this is, or NULL. Borrowed. */
static Disk *disk_of_hash(PyObject *method)
{
    int is_native = PyCFunction_CheckExact(method) &&
                    PyCFunction_GET_FUNCTION(method) == (PyCFunction)(void (*)(void))Disk_hash_call;

    return is_native ? (Disk *)PyCFunction_GET_SELF(method) : NULL;
}

int disk_hash_natively(PyObject *method, PyObject *key, uint32_t *hash)
{
    Disk *self = disk_of_hash(method);

    return self == NULL ? 0 : hash_key(self, key, hash) < 0 ? -1 : 1;
}

int disk_hash_raw(PyObject *key, uint32_t *hash)
{
    dc_key encoded;
    int raw = disk_put_raw(key, &encoded);

    if (raw > 0) {
        *hash = hash_datum(&encoded.datum);
    } else {
        PyErr_Clear(); /* who asks the Disk gets it */
    }
    return raw > 0;
}

int disk_hashes_raw(module_state *state, PyObject *method)
{
    Disk *self = disk_of_hash(method);

    return self != NULL && !(disk_hooks_if_known(state, (PyObject *)self) & DISK_HOOK_put);
}

static PyType_Slot Disk_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("The native part of diskcache.Disk.")},
    {Py_tp_new, Disk_new},
    {Py_tp_dealloc, Disk_dealloc},
    {Py_tp_traverse, Disk_traverse},
    {Py_tp_clear, Disk_clear},
    {Py_tp_getset, Disk_getset},
    {Py_tp_members, Disk_members},
    {Py_tp_methods, Disk_methods},
    {0, NULL},
};

PyType_Spec disk_type_spec = {
    .name = "diskcache._core.Disk",
    .basicsize = sizeof(Disk),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = Disk_slots,
};
