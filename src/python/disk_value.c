/* disk_value.c: see disk_value.h. */
#include "python/disk_value.h"

#include <math.h>
#include <string.h>

#include "python/convert.h"
#include "python/disk_key.h"
#include "python/disk_map.h"
#include "python/disk_stream.h"

/* --- storing ---------------------------------------------------------------------------------- */

void disk_value_clear(disk_value *value)
{
    Py_CLEAR(value->owner);
    Py_CLEAR(value->filename_owner);
}

/* What encode_plain returns for a value that has no form but a pickle. */
#define NEEDS_PICKLE 2

/* disk_encode, or NEEDS_PICKLE. */
static int encode_plain(Disk *self, PyObject *value, disk_value *out)
{
    Py_ssize_t limit = self->min_file_size_number;
    dc_columns *columns = &out->columns;
    int in_file;
    int overflow = 0;

    columns->mode = DC_MODE_RAW;
    if (PyUnicode_CheckExact(value)) {
        in_file = PyUnicode_GET_LENGTH(value) >= limit;
        columns->mode = in_file ? DC_MODE_TEXT : DC_MODE_RAW;
        out->owner = Py_NewRef(value);
        return convert_text(value, &columns->value) < 0 ? -1 : in_file;
    }
    if (PyBytes_CheckExact(value)) {
        in_file = PyBytes_GET_SIZE(value) >= limit;
        columns->mode = in_file ? DC_MODE_BINARY : DC_MODE_RAW;
        out->owner = Py_NewRef(value);
        convert_bytes(value, &columns->value);
        return in_file;
    }
    if (PyLong_CheckExact(value)) {
        columns->value.type = DC_INTEGER;
        columns->value.as.integer = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow == 0) {
            return 0;
        }
    } else if (PyFloat_CheckExact(value) && !isnan(PyFloat_AS_DOUBLE(value))) {
        /* SQLite would turn NaN into NULL; as a pickle both libraries read it. */
        columns->value.type = DC_REAL;
        columns->value.as.real = PyFloat_AS_DOUBLE(value);
        return 0;
    }
    columns->mode = DC_MODE_PICKLE;
    return NEEDS_PICKLE;
}

/* The pickle in out->owner: as disk_encode. */
static int encode_pickle(const Disk *self, disk_value *out)
{
    convert_bytes(out->owner, &out->columns.value);
    return PyBytes_GET_SIZE(out->owner) >= self->min_file_size_number;
}

int disk_encode(Disk *self, PyObject *value, disk_value *out)
{
    int in_file = encode_plain(self, value, out);

    if (in_file != NEEDS_PICKLE) {
        return in_file;
    }
    out->owner = disk_pickle(self, value);
    return out->owner != NULL ? encode_pickle(self, out) : -1;
}

static int is_stored_raw(PyObject *value)
{
    return PyUnicode_CheckExact(value) || PyBytes_CheckExact(value) || PyLong_CheckExact(value) ||
           PyFloat_CheckExact(value);
}

/* The value is in a file, out->name, and not in the row. */
static void set_file(disk_value *out, int64_t size)
{
    out->columns.size = size;
    out->columns.filename = out->name;
    out->columns.value.type = DC_NULL;
}

static int store_reader(Disk *self, PyObject *reader, disk_value *out)
{
    int64_t size;

    if (!PyObject_HasAttr(reader, self->state->name.read)) {
        PyErr_Format(PyExc_TypeError,
                     "value must be a file opened for reading in binary mode if read is true, "
                     "not '%.200s'",
                     Py_TYPE(reader)->tp_name);
        return -1;
    }
    if (disk_file_copy(self, reader, out->name, &size) < 0) {
        return -1;
    }
    out->columns.mode = DC_MODE_BINARY;
    set_file(out, size);
    return 0;
}

int disk_store_native(Disk *self, PyObject *value, int read, disk_value *out)
{
    int64_t size;
    int in_file;

    if (disk_require(self->min_file_size, "min_file_size") < 0) {
        return -1;
    }
    if (read && !is_stored_raw(value)) {
        return store_reader(self, value, out);
    }
    in_file = encode_plain(self, value, out);
    if (in_file == NEEDS_PICKLE) {
        int is_written = disk_stream_pickle(self, value, &out->owner, out->name, &size);

        if (is_written > 0) {
            set_file(out, size);
            return 0;
        }
        in_file = is_written == 0 ? encode_pickle(self, out) : -1;
    }
    if (in_file <= 0) {
        return in_file;
    }
    if (disk_file_write(self, &out->columns.value, out->name) < 0) {
        return -1;
    }
    set_file(out, (int64_t)out->columns.value.as.bytes.size);
    return 0;
}

/* Take the tuple (size, mode, filename, value) of an overridden store. `fetches`: fetch is overridden, too; else a
 * file outside of the directory could never be read again. */
static int take_stored(PyObject *stored, int fetches, disk_value *out)
{
    PyObject *filename;
    dc_columns *columns = &out->columns;

    if (!PyTuple_Check(stored) || PyTuple_GET_SIZE(stored) != 4) {
        PyErr_SetString(PyExc_TypeError,
                        "Disk.store must return a tuple (size, mode, filename, value)");
        return -1;
    }
    /* First: whoever calls removes the file, whatever else is wrong. */
    filename = PyTuple_GET_ITEM(stored, 2);
    if (filename != Py_None) {
        columns->filename = convert_filename(filename, "the filename that Disk.store returned");
        if (columns->filename == NULL) {
            return -1;
        }
        out->filename_owner = Py_NewRef(filename);
        if (!fetches && !dc_valuefile_is_inside(columns->filename, strlen(columns->filename))) {
            PyErr_Format(PyExc_ValueError,
                         "Disk.store must name a file in the cache directory, not %R", filename);
            return -1;
        }
    }
    columns->size = PyLong_AsLongLong(PyTuple_GET_ITEM(stored, 0));
    if (columns->size == -1 && PyErr_Occurred()) {
        return -1;
    }
    columns->mode = PyLong_AsLongLong(PyTuple_GET_ITEM(stored, 1));
    if (columns->mode == -1 && PyErr_Occurred()) {
        return -1;
    }
    return convert_to_datum(PyTuple_GET_ITEM(stored, 3), "value", &columns->value, &out->owner);
}

static int store_by_hook(module_state *state, PyObject *disk, PyObject *value, int read,
                         PyObject *key, disk_value *out)
{
    PyObject *names = PyTuple_Pack(1, state->name.key);
    PyObject *arguments[] = {disk, value, read ? Py_True : Py_False,
                             key != NULL ? key : state->unknown};
    PyObject *stored = NULL;
    int result = -1;

    if (names != NULL) {
        /* The original passes no key for push(), whose key is not known yet. */
        stored =
            PyObject_VectorcallMethod(state->name.store, arguments, 3, key != NULL ? names : NULL);
    }
    if (stored != NULL) {
        result = take_stored(stored, (disk_hooks(state, disk) & DISK_HOOK_fetch) != 0, out);
    }
    Py_XDECREF(stored);
    Py_XDECREF(names);
    return result;
}

int disk_store(module_state *state, PyObject *disk, PyObject *value, int read, PyObject *key,
               disk_value *out)
{
    int result;

    Py_INCREF(disk);
    memset(&out->columns, 0, sizeof out->columns);
    if (!(disk_hooks(state, disk) & (DISK_HOOK_store | DISK_HOOK_FILES))) {
        result = disk_store_native((Disk *)disk, value, read, out);
    } else {
        if (key != NULL && disk_is_stored_key(state, key) && PyTuple_GET_SIZE(key) == 2) {
            key = PyTuple_GET_ITEM(key, 0); /* hooks see the key itself */
        }
        result = store_by_hook(state, disk, value, read, key, out);
    }
    Py_DECREF(disk);
    return result;
}

/* --- fetching --------------------------------------------------------------------------------- */

/* A row that should name a file names none. */
static PyObject *no_file(int *missing)
{
    if (missing != NULL) {
        *missing = 1;
    } else {
        PyErr_SetString(PyExc_FileNotFoundError,
                        "a value of this mode is in a file, and has no name of one");
    }
    return NULL;
}

/* None, as in the original; but what a SignedDisk has stored is something, and is not to be taken for None. */
static PyObject *no_known_mode(module_state *state, int64_t mode)
{
    if (mode >= DC_MODE_SIGNED && mode <= DC_MODE_SIGNED + DC_MODE_PICKLE) {
        PyErr_SetString(state->refused, "the item is signed: only a SignedDisk can load it");
        return NULL;
    }
    Py_RETURN_NONE;
}

PyObject *disk_fetch_native(Disk *self, const dc_columns *columns, disk_read read,
                            disk_file_size size, int *missing)
{
    if (columns->mode == DC_MODE_RAW) {
        return convert_from_column(self->state, &columns->value, "value");
    }
    if (columns->mode == DC_MODE_PICKLE && columns->value.type != DC_NULL) {
        return disk_unpickle_datum(self->state, (PyObject *)self, &columns->value);
    }
    if (columns->mode != DC_MODE_BINARY && columns->mode != DC_MODE_TEXT &&
        columns->mode != DC_MODE_PICKLE) {
        return no_known_mode(self->state, columns->mode);
    }
    if (columns->filename == NULL) {
        return no_file(missing);
    }
    if (columns->mode == DC_MODE_PICKLE) {
        return disk_stream_unpickle(self, columns->filename, size, missing);
    }
    if (columns->mode == DC_MODE_TEXT) {
        return disk_file_read_text(self, columns->filename, size, missing);
    }
    switch (read) {
    case DISK_READ_MAP:
        return disk_map_file(self, columns->filename, size, missing);
    case DISK_READ_FILE:
        return disk_file_open(self, columns->filename, size, missing);
    default:
        return disk_file_read(self, columns->filename, size, missing);
    }
}

/* What a row says of its file. Only one that was written natively is known to be just as long: a `store` of a
 * program's own may count otherwise. But a file is what is cut short by a loss of power. */
static disk_file_size size_of_file(const dc_columns *columns, int is_native)
{
    disk_file_size size = {columns->size, INT64_MAX};

    if (is_native && columns->size >= 0) {
        size.most = columns->size;
    }
    return size;
}

/* Whether what a hook has raised comes of a file that is shorter than its row says. */
static int is_cut_short(module_state *state, PyObject *disk, const dc_columns *columns)
{
    return columns->filename != NULL && PyErr_ExceptionMatches(PyExc_Exception) &&
           !PyErr_ExceptionMatches(state->refused) && PyObject_TypeCheck(disk, state->disk_type) &&
           disk_file_differs((Disk *)disk, columns->filename, size_of_file(columns, 0));
}

/* A row in the form in which hooks are given it; strong. */
typedef struct row_objects {
    PyObject *key, *raw, *tag, *expire_time, *mode, *value;
} row_objects;

static void clear_row_objects(row_objects *row)
{
    Py_XDECREF(row->key);
    Py_XDECREF(row->raw);
    Py_XDECREF(row->tag);
    Py_XDECREF(row->expire_time);
    Py_XDECREF(row->mode);
    Py_XDECREF(row->value);
}

/* -1 with an exception. */
static int make_row_objects(module_state *state, const dc_key *key, const dc_columns *columns,
                            row_objects *row)
{
    row->key = convert_from_column(state, &key->datum, "key");
    row->raw = PyBool_FromLong(key->raw);
    row->tag = row->key != NULL ? convert_from_column(state, &columns->tag, "tag") : NULL;
    row->expire_time = columns->has_expire_time ? PyFloat_FromDouble(columns->expire_time)
                                                : Py_NewRef(Py_None);
    row->mode = row->tag != NULL ? PyLong_FromLongLong(columns->mode) : NULL;
    row->value = row->mode != NULL ? convert_from_column(state, &columns->value, "value") : NULL;
    return row->value != NULL && row->expire_time != NULL ? 0 : -1;
}

int disk_seal(module_state *state, PyObject *disk, const dc_key *key, disk_value *out)
{
    row_objects row;
    PyObject *sealed = NULL;
    int result = -1;

    if (!(disk_hooks(state, disk) & DISK_HOOK__seal)) {
        return 0;
    }
    memset(&row, 0, sizeof row);
    Py_INCREF(disk);
    if (make_row_objects(state, key, &out->columns, &row) == 0) {
        sealed = PyObject_CallMethodObjArgs(disk, state->name._seal, row.key, row.raw, row.tag,
                                            row.expire_time, row.mode, row.value, NULL);
    }
    if (sealed != NULL) {
        Py_CLEAR(out->owner);
        result = convert_to_datum(sealed, "value", &out->columns.value, &out->owner);
        Py_DECREF(sealed);
    }
    clear_row_objects(&row);
    Py_DECREF(disk);
    return result;
}

/* fetch(mode, filename, value, read), or what also looks at the signature. */
static PyObject *call_fetch(module_state *state, PyObject *disk, const dc_key *key,
                            const dc_columns *columns, PyObject *filename, PyObject *read)
{
    row_objects row;
    PyObject *result = NULL;

    memset(&row, 0, sizeof row);
    if (disk_hooks(state, disk) & DISK_HOOK__fetch_row) {
        if (make_row_objects(state, key, columns, &row) == 0) {
            result = PyObject_CallMethodObjArgs(disk, state->name._fetch_row, row.key, row.raw,
                                                row.tag, row.expire_time, row.mode, filename,
                                                row.value, read, NULL);
        }
    } else {
        row.value = convert_from_column(state, &columns->value, "value");
        row.mode = row.value != NULL ? PyLong_FromLongLong(columns->mode) : NULL;
        if (row.mode != NULL) {
            result = PyObject_CallMethodObjArgs(disk, state->name.fetch, row.mode, filename,
                                                row.value, read, NULL);
        }
    }
    clear_row_objects(&row);
    return result;
}

static PyObject *fetch_by_hook(module_state *state, PyObject *disk, const dc_key *key,
                               const dc_columns *columns, disk_read read, int *missing)
{
    PyObject *filename = columns->filename != NULL ? disk_local_name(state, disk, columns->filename)
                                                   : Py_NewRef(Py_None);
    PyObject *result = NULL;

    if (filename != NULL) {
        result = call_fetch(state, disk, key, columns, filename,
                            read != DISK_READ_VALUE ? Py_True : Py_False);
        Py_DECREF(filename);
    }
    if (result == NULL &&
        (PyErr_ExceptionMatches(PyExc_FileNotFoundError) || is_cut_short(state, disk, columns))) {
        PyErr_Clear();
        *missing = 1;
    }
    return result;
}

PyObject *disk_fetch(module_state *state, PyObject *disk, const dc_key *key,
                     const dc_columns *columns, disk_read read, int *missing)
{
    unsigned int hooks = disk_hooks(state, disk);
    PyObject *result;

    *missing = 0;
    Py_INCREF(disk);
    if (hooks & DISK_HOOK_fetch) {
        result = fetch_by_hook(state, disk, key, columns, read, missing);
    } else {
        int is_native = !(hooks & (DISK_HOOK_store | DISK_HOOK_FILES));

        result = disk_fetch_native((Disk *)disk, columns, read, size_of_file(columns, is_native),
                                   missing);
    }
    Py_DECREF(disk);
    return result;
}

int disk_fetch_is_quick(module_state *state, PyObject *disk, const dc_columns *columns)
{
    return columns->mode != DC_MODE_PICKLE && columns->filename == NULL &&
           !(disk_hooks(state, disk) & DISK_HOOK_fetch);
}
