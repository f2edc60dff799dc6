/* disk.c: the Disk type, and the native path that needs no method call.
 *
 * Invariants: a file is complete before its name is handed out; a store that fails leaves no file; no
 * GIL is held while much is read or written (LARGE_FILE), or where files take long (SLOW_SECONDS).
 *
 * Attributes of a Disk are as in the original (`_directory`, `min_file_size`, `pickle_protocol`), and
 * assignable; the struct keeps their C values beside them.
 */
#include "python/disk.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/clock.h"
#include "python/args.h"
#include "python/blame.h"
#include "python/convert.h"
#include "python/key_pickle.h"
#include "python/log.h"

/* Bytes from which reading or writing a file releases the GIL: some 50 us of copying. Below that the
 * file is done sooner than another thread could start. Releasing it for every file would cost much where
 * other threads compute: the mean of getting 100 KB beside one (four) of them went from 61 to 253 us
 * (100 to 611), the 99th percentile from 0.06 to 8 (16) ms. */
#define LARGE_FILE (256 * 1024)

/* But a disk may be slow, or far away: smaller files release it as well while their running mean is above
 * this. A visit counts as no longer than LONGEST_SECONDS, so that one that the system has interrupted
 * decides nothing. */
#define SLOW_SECONDS    250e-6
#define LONGEST_SECONDS 500e-6
#define MEAN_WEIGHT     0.25

/* How much of a file-like object is read at a time. */
#define READ_BLOCK (4 * 1024 * 1024)

typedef struct Disk {
    PyObject_HEAD
    module_state *state;
    PyObject *directory;       /* as assigned; NULL if never */
    PyObject *absolute;        /* the same as an absolute path */
    PyObject *directory_path;  /* and that as bytes in the file system's encoding */
    PyObject *min_file_size;   /* as assigned */
    PyObject *pickle_protocol; /* as assigned */
    Py_ssize_t min_file_size_number;
    int key_pickle_protocol; /* pickle_protocol, or 0 for one that keypickle_dumps does not know */
    hook_cache hooks;
    double reading; /* how long a visit to small files takes, a running mean; seconds */
    double writing; /* the same for writing and removing them */
} Disk;

/* A visit to value files, perhaps without the GIL. */
typedef struct visit {
    PyThreadState *released;
    double began;
} visit;

static visit visit_begin(double mean, int large)
{
    visit visit = {.began = dc_clock()};

    visit.released = large || mean > SLOW_SECONDS ? PyEval_SaveThread() : NULL;
    return visit;
}

/* Returns how long it took; seconds. */
static double visit_end(visit visit)
{
    double seconds = dc_clock() - visit.began;

    if (visit.released != NULL) {
        PyEval_RestoreThread(visit.released);
    }
    return seconds;
}

static void keep_mean(double *mean, double seconds)
{
    seconds = seconds < LONGEST_SECONDS ? seconds : LONGEST_SECONDS;
    *mean += MEAN_WEIGHT * (seconds - *mean);
}

static inline Disk *native_disk(module_state *state, PyObject *disk)
{
    return PyObject_TypeCheck(disk, state->disk_type) ? (Disk *)disk : NULL;
}

unsigned int disk_hooks(module_state *state, PyObject *disk)
{
    Disk *self = native_disk(state, disk);

    return self != NULL ? hooks_of(&state->disk_hooks, &self->hooks, disk) : DISK_HOOK_ALL;
}

static int require_attribute(PyObject *value, const char *name)
{
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "Disk has no attribute '%s': was __init__ called?",
                     name);
        return -1;
    }
    return 0;
}

/* The directory's path as bytes. A new reference, since the attribute may be assigned to while the
 * GIL is released. */
static PyObject *directory_of(Disk *self)
{
    return require_attribute(self->directory_path, "_directory") < 0
               ? NULL
               : Py_NewRef(self->directory_path);
}

/* The str under which the file of a row is here, see valuefile.h; for what opens it in Python. */
static PyObject *local_name(module_state *state, PyObject *disk, const char *filename)
{
    Disk *self = native_disk(state, disk);
    char *local = NULL;
    PyObject *name;

    if (strchr(filename, '\\') == NULL || self == NULL || self->directory_path == NULL) {
        return PyUnicode_FromString(filename);
    }
    local = dc_valuefile_local_name(PyBytes_AS_STRING(self->directory_path), filename);
    if (local == NULL) {
        return PyErr_NoMemory();
    }
    name = PyUnicode_FromString(local);
    free(local);
    return name;
}

/* --- keys ------------------------------------------------------------------------------------- */

void disk_key_clear(disk_key *key)
{
    Py_CLEAR(key->owner);
}

/* 1 if the key is stored as itself, 0 if it must be pickled. */
static int put_raw(PyObject *key, dc_key *out)
{
    int overflow = 0;

    out->raw = 1;
    if (PyUnicode_CheckExact(key)) {
        return convert_text(key, &out->datum) < 0 ? -1 : 1;
    }
    if (PyLong_CheckExact(key)) {
        out->datum.type = DC_INTEGER;
        out->datum.as.integer = PyLong_AsLongLongAndOverflow(key, &overflow);
        return overflow == 0;
    }
    if (PyBytes_CheckExact(key)) {
        convert_bytes(key, &out->datum);
        return 1;
    }
    if (PyFloat_CheckExact(key)) {
        out->datum.type = DC_REAL;
        out->datum.as.real = PyFloat_AS_DOUBLE(key);
        if (isnan(out->datum.as.real)) {
            PyErr_SetString(PyExc_ValueError, "key must not be NaN, which equals nothing");
            return -1;
        }
        return 1;
    }
    return 0;
}

static PyObject *pickle_with(module_state *state, Disk *self, PyObject *object)
{
    if (require_attribute(self->pickle_protocol, "pickle_protocol") < 0) {
        return NULL;
    }
    return PyObject_CallFunctionObjArgs(state->dumps, object, self->pickle_protocol, NULL);
}

/* Whether keypickle does what this Python's pickle and pickletools do; looked at once for each protocol.
 * 1, 0, or -1 with an exception. */
static int pickles_natively(module_state *state, Disk *self)
{
    signed char *known = &state->key_pickling[self->key_pickle_protocol];
    int same;

    if (*known == 0 && require_attribute(self->pickle_protocol, "pickle_protocol") < 0) {
        return -1;
    }
    if (*known == 0) {
        same = keypickle_check(state->dumps, state->optimize, self->pickle_protocol);
        if (same < 0) {
            return -1;
        }
        *known = same ? 1 : -1;
        if (!same) {
            log_warning(
                "Python %s pickles keys otherwise than the versions that are known, so diskcache "
                "leaves that to pickle and pickletools, which takes longer",
                Py_GetVersion());
        }
    }
    return *known > 0;
}

static PyObject *pickle_key(module_state *state, Disk *self, PyObject *key)
{
    int natively = pickles_natively(state, self);
    PyObject *optimized = natively > 0 ? keypickle_dumps(key, self->key_pickle_protocol) : NULL;
    PyObject *pickled;

    if (optimized != NULL || natively < 0) {
        return optimized;
    }
    pickled = pickle_with(state, self, key);
    if (pickled != NULL) {
        optimized = natively ? keypickle_optimize(pickled, state->optimize)
                             : PyObject_CallOneArg(state->optimize, pickled);
        Py_DECREF(pickled);
    }
    return optimized;
}

static int put_native(module_state *state, Disk *self, PyObject *key, disk_key *out)
{
    int raw = put_raw(key, &out->key);

    if (raw != 0) {
        out->owner = raw > 0 ? Py_NewRef(key) : NULL;
        return raw > 0 ? 0 : -1;
    }
    out->owner = pickle_key(state, self, key);
    if (out->owner == NULL) {
        return -1;
    }
    convert_bytes(out->owner, &out->key.datum);
    out->key.raw = 0;
    return 0;
}

static inline int is_stored_key(module_state *state, PyObject *key)
{
    return Py_TYPE(key) == state->stored_key_type;
}

static int disk_put_held(module_state *state, PyObject *disk, PyObject *key, disk_key *out)
{
    PyObject *pair;
    int raw;
    int result = -1;

    if (is_stored_key(state, key)) {
        pair = Py_NewRef(key);
    } else if (!(disk_hooks(state, disk) & DISK_HOOK_put)) {
        return put_native(state, (Disk *)disk, key, out);
    } else {
        pair = PyObject_CallMethodOneArg(disk, state->name.put, key);
    }
    if (pair == NULL) {
        return -1;
    }
    if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2) {
        PyErr_SetString(PyExc_TypeError, "Disk.put must return a pair (database key, raw)");
        goto done;
    }
    raw = PyObject_IsTrue(PyTuple_GET_ITEM(pair, 1));
    if (raw < 0 ||
        convert_to_datum(PyTuple_GET_ITEM(pair, 0), "key", &out->key.datum, &out->owner) < 0) {
        goto done;
    }
    if (out->key.datum.type == DC_NULL) {
        PyErr_SetString(PyExc_TypeError, "Disk.put must not return None as the database key");
        goto done;
    }
    out->key.raw = raw;
    result = 0;
done:
    Py_DECREF(pair);
    return result;
}

static PyObject *unpickle(module_state *state, const dc_datum *datum)
{
    PyObject *bytes;
    PyObject *object = NULL;

    if (datum->type != DC_BLOB) {
        convert_raise_damaged(state, "what should be a pickle is none: it is no blob");
        return NULL;
    }
    bytes = convert_from_datum(datum);
    if (bytes != NULL) {
        object = PyObject_CallOneArg(state->loads, bytes);
        Py_DECREF(bytes);
    }
    return object;
}

static PyObject *disk_get_held(module_state *state, PyObject *disk, const dc_key *key)
{
    PyObject *database_key;
    PyObject *object;

    if (!(disk_hooks(state, disk) & DISK_HOOK_get)) {
        return key->raw ? convert_from_column(state, &key->datum, "key")
                        : unpickle(state, &key->datum);
    }
    database_key = convert_from_column(state, &key->datum, "key");
    if (database_key == NULL) {
        return NULL;
    }
    object = PyObject_CallMethodObjArgs(disk, state->name.get, database_key,
                                        key->raw ? Py_True : Py_False, NULL);
    Py_DECREF(database_key);
    return object;
}

int disk_get_is_quick(module_state *state, PyObject *disk, const dc_key *key)
{
    return key->raw && !(disk_hooks(state, disk) & DISK_HOOK_get);
}

PyObject *disk_stored_key(module_state *state, const dc_key *key)
{
    PyObject *database_key = convert_from_column(state, &key->datum, "key");
    PyObject *pair = NULL;
    PyObject *stored = NULL;

    if (database_key != NULL) {
        pair = PyTuple_Pack(2, database_key, key->raw ? Py_True : Py_False);
    }
    if (pair != NULL) {
        stored = PyObject_CallOneArg((PyObject *)state->stored_key_type, pair);
    }
    Py_XDECREF(pair);
    Py_XDECREF(database_key);
    return stored;
}

/* --- storing values --------------------------------------------------------------------------- */

void disk_value_clear(disk_value *value)
{
    Py_CLEAR(value->owner);
    Py_CLEAR(value->filename_owner);
}

/* Write the value's bytes to a file: the columns then name it. */
static int store_file(module_state *state, Disk *self, const dc_datum *content, dc_mode mode,
                      disk_value *out)
{
    PyObject *directory = directory_of(self);
    size_t size = content->as.bytes.size;
    dc_error error;
    dc_status status;
    visit visit;
    double seconds;

    if (directory == NULL) {
        return -1;
    }
    dc_error_clear(&error);
    visit = visit_begin(self->writing, size >= LARGE_FILE);
    status = dc_valuefile_name(out->name, &error);
    if (status == DC_OK) {
        status = dc_valuefile_write(PyBytes_AS_STRING(directory), out->name, content->as.bytes.data,
                                    size, &error);
    }
    seconds = visit_end(visit);
    if (size < LARGE_FILE) {
        keep_mean(&self->writing, seconds);
    }
    Py_DECREF(directory);
    if (status != DC_OK) {
        convert_raise(state, status, &error);
        return -1;
    }
    out->columns.size = (int64_t)size;
    out->columns.mode = mode;
    out->columns.filename = out->name;
    out->columns.value.type = DC_NULL;
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

/* Copy a file-like object into a value file. */
static int store_stream(module_state *state, Disk *self, PyObject *reader, disk_value *out)
{
    PyObject *directory = directory_of(self);
    PyObject *block_size = NULL;
    dc_valuewriter writer = {.descriptor = -1};
    dc_error error;
    dc_status status;
    int result = -1;
    int more = 1;

    if (directory == NULL) {
        return -1;
    }
    dc_error_clear(&error);
    status = dc_valuefile_name(out->name, &error);
    if (status == DC_OK) {
        status = dc_valuewriter_open(&writer, PyBytes_AS_STRING(directory), out->name, &error);
    }
    Py_DECREF(directory);
    if (status != DC_OK) {
        convert_raise(state, status, &error);
        return -1;
    }
    block_size = PyLong_FromLong(READ_BLOCK);
    if (block_size == NULL) {
        goto done;
    }
    while (more > 0) {
        more = copy_block(state, reader, block_size, &writer);
    }
    if (more < 0) {
        goto done;
    }
    out->columns.size = writer.size;
    status = dc_valuewriter_commit(&writer, &error);
    if (status != DC_OK) {
        convert_raise(state, status, &error);
        goto done;
    }
    out->columns.mode = DC_MODE_BINARY;
    out->columns.filename = out->name;
    out->columns.value.type = DC_NULL;
    result = 0;
done:
    Py_XDECREF(block_size);
    if (result < 0) {
        dc_valuewriter_abort(&writer);
    }
    return result;
}

/* What a value is stored as, before it is known whether inline or in a file. */
typedef struct classified {
    dc_mode mode; /* if inline */
    dc_mode file_mode;
    int in_file;
} classified;

/* Turn the value into out->columns.value; its bytes belong to out->owner. */
static int classify(module_state *state, Disk *self, PyObject *value, disk_value *out,
                    classified *how)
{
    Py_ssize_t limit = self->min_file_size_number;
    dc_datum *datum = &out->columns.value;
    int overflow = 0;

    how->mode = DC_MODE_RAW;
    how->in_file = 0;
    if (PyUnicode_CheckExact(value)) {
        how->file_mode = DC_MODE_TEXT;
        how->in_file = PyUnicode_GET_LENGTH(value) >= limit;
        out->owner = Py_NewRef(value);
        return convert_text(value, datum);
    }
    if (PyLong_CheckExact(value)) {
        datum->type = DC_INTEGER;
        datum->as.integer = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow == 0) {
            return 0;
        }
    } else if (PyFloat_CheckExact(value) && !isnan(PyFloat_AS_DOUBLE(value))) {
        /* SQLite would turn NaN into NULL; as a pickle both libraries read it. */
        datum->type = DC_REAL;
        datum->as.real = PyFloat_AS_DOUBLE(value);
        return 0;
    } else if (PyBytes_CheckExact(value)) {
        how->file_mode = DC_MODE_BINARY;
        how->in_file = PyBytes_GET_SIZE(value) >= limit;
        out->owner = Py_NewRef(value);
        convert_bytes(value, datum);
        return 0;
    }
    out->owner = pickle_with(state, self, value);
    if (out->owner == NULL) {
        return -1;
    }
    how->mode = DC_MODE_PICKLE;
    how->file_mode = DC_MODE_PICKLE;
    how->in_file = PyBytes_GET_SIZE(out->owner) >= limit;
    convert_bytes(out->owner, datum);
    return 0;
}

static int is_stored_raw(PyObject *value)
{
    return PyUnicode_CheckExact(value) || PyBytes_CheckExact(value) || PyLong_CheckExact(value) ||
           PyFloat_CheckExact(value);
}

static int store_native(module_state *state, Disk *self, PyObject *value, int read, disk_value *out)
{
    classified how;
    dc_datum content;

    if (require_attribute(self->min_file_size, "min_file_size") < 0) {
        return -1;
    }
    if (read && !is_stored_raw(value)) {
        if (!PyObject_HasAttr(value, state->name.read)) {
            PyErr_Format(PyExc_TypeError,
                         "value must be a file opened for reading in binary mode if read is true, "
                         "not '%.200s'",
                         Py_TYPE(value)->tp_name);
            return -1;
        }
        return store_stream(state, self, value, out);
    }
    if (classify(state, self, value, out, &how) < 0) {
        return -1;
    }
    out->columns.size = 0;
    out->columns.mode = how.mode;
    out->columns.filename = NULL;
    if (!how.in_file) {
        return 0;
    }
    content = out->columns.value;
    return store_file(state, self, &content, how.file_mode, out);
}

/* Take the tuple (size, mode, filename, value) of an overridden store. A Disk that does not fetch by
 * itself could never read a file outside of the directory again. */
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

#define HOOKS_OF_STORE (DISK_HOOK_filename | DISK_HOOK__write)

static int disk_store_held(module_state *state, PyObject *disk, PyObject *value, int read,
                           PyObject *key, disk_value *out)
{
    unsigned int hooks = disk_hooks(state, disk);

    memset(&out->columns, 0, sizeof out->columns);
    if (!(hooks & (DISK_HOOK_store | HOOKS_OF_STORE))) {
        return store_native(state, (Disk *)disk, value, read, out);
    }
    return store_by_hook(state, disk, value, read, key, out);
}

/* --- fetching values -------------------------------------------------------------------------- */

/* What has gone wrong with a value file: it is missing, where the caller wants to know that, or an exception. */
static void note_failure(module_state *state, dc_status status, const dc_error *error, int *missing)
{
    if (missing != NULL && (status == DC_NOT_FOUND || status == DC_CORRUPT)) {
        *missing = 1;
    } else {
        convert_raise(state, status, error);
    }
}

/* Read a whole value file; `size` is what it must be, or -1 for whatever it is. */
static PyObject *read_file(module_state *state, Disk *self, const char *filename, int64_t size,
                           int *missing)
{
    PyObject *directory = directory_of(self);
    PyObject *content = NULL;
    visit visit;
    double seconds;
    int descriptor = -1;
    int64_t actual = 0;
    dc_error error;
    dc_status status;

    if (directory == NULL) {
        return NULL;
    }
    dc_error_clear(&error);
    visit = visit_begin(self->reading, 0);
    status =
        dc_valuefile_open(PyBytes_AS_STRING(directory), filename, &descriptor, &actual, &error);
    seconds = visit_end(visit);
    Py_DECREF(directory);
    if (status != DC_OK) {
        goto done;
    }
    if (size >= 0 && actual != size) {
        status = dc_error_set(&error, DC_CORRUPT, "%s: wrong size", filename);
        goto done;
    }
    content = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)actual);
    if (content == NULL) {
        goto done;
    }
    visit = visit_begin(self->reading, actual >= LARGE_FILE);
    status = dc_valuefile_read(descriptor, PyBytes_AS_STRING(content), (size_t)actual, &error);
    seconds += visit_end(visit);
done:
    if (actual < LARGE_FILE) {
        keep_mean(&self->reading, seconds);
    }
    if (descriptor >= 0) {
        dc_valuefile_close(descriptor);
    }
    if (status != DC_OK) {
        Py_CLEAR(content);
        note_failure(state, status, &error, missing);
    }
    return content;
}

/* Open a value file as a Python file object, once it is known to be one, and to have the right size. */
static PyObject *open_file(module_state *state, Disk *self, const char *filename, int64_t size,
                           int *missing)
{
    PyObject *directory = directory_of(self);
    PyObject *name = NULL;
    PyObject *path = NULL;
    PyObject *file = NULL;
    int descriptor;
    int64_t actual;
    dc_error error;
    dc_status status;
    visit visit;

    if (directory == NULL || require_attribute(self->directory, "_directory") < 0) {
        goto done;
    }
    visit = visit_begin(self->reading, 0);
    status =
        dc_valuefile_open(PyBytes_AS_STRING(directory), filename, &descriptor, &actual, &error);
    if (status == DC_OK) {
        dc_valuefile_close(descriptor);
    }
    keep_mean(&self->reading, visit_end(visit));
    if (status == DC_OK && size >= 0 && actual != size) {
        status = dc_error_set(&error, DC_CORRUPT, "%s: wrong size", filename);
    }
    if (status != DC_OK) {
        note_failure(state, status, &error, missing);
        goto done;
    }
    name = local_name(state, (PyObject *)self, filename);
    if (name != NULL) {
        path = PyObject_CallFunctionObjArgs(state->join, self->absolute, name, NULL);
    }
    if (path != NULL) {
        file = PyObject_CallFunction(state->open, "Os", path, "rb");
    }
    if (file == NULL && missing != NULL && PyErr_ExceptionMatches(PyExc_FileNotFoundError)) {
        PyErr_Clear();
        *missing = 1;
    }
done:
    Py_XDECREF(path);
    Py_XDECREF(name);
    Py_XDECREF(directory);
    return file;
}

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

/* `size` and `missing` as in read_file. */
static PyObject *fetch_native(module_state *state, Disk *self, const dc_columns *columns, int read,
                              int64_t size, int *missing)
{
    PyObject *content;
    PyObject *value;

    if (columns->mode == DC_MODE_RAW) {
        return convert_from_column(state, &columns->value, "value");
    }
    if (columns->mode == DC_MODE_PICKLE && columns->value.type != DC_NULL) {
        return unpickle(state, &columns->value);
    }
    if (columns->mode != DC_MODE_BINARY && columns->mode != DC_MODE_TEXT &&
        columns->mode != DC_MODE_PICKLE) {
        Py_RETURN_NONE;
    }
    if (columns->filename == NULL) {
        return no_file(missing);
    }
    if (columns->mode == DC_MODE_BINARY && read) {
        return open_file(state, self, columns->filename, size, missing);
    }
    content = read_file(state, self, columns->filename, size, missing);
    if (content == NULL || columns->mode == DC_MODE_BINARY) {
        return content;
    }
    if (columns->mode == DC_MODE_TEXT) {
        value = PyUnicode_DecodeUTF8(PyBytes_AS_STRING(content), PyBytes_GET_SIZE(content), NULL);
    } else {
        value = PyObject_CallOneArg(state->loads, content);
    }
    Py_DECREF(content);
    return value;
}

static PyObject *fetch_by_hook(module_state *state, PyObject *disk, const dc_columns *columns,
                               int read, int *missing)
{
    PyObject *value = convert_from_column(state, &columns->value, "value");
    PyObject *result = NULL;

    if (value != NULL) {
        PyObject *filename = columns->filename != NULL ? local_name(state, disk, columns->filename)
                                                       : Py_NewRef(Py_None);
        PyObject *mode = PyLong_FromLongLong(columns->mode);

        if (filename != NULL && mode != NULL) {
            result = PyObject_CallMethodObjArgs(disk, state->name.fetch, mode, filename, value,
                                                read ? Py_True : Py_False, NULL);
        }
        Py_XDECREF(mode);
        Py_XDECREF(filename);
        Py_DECREF(value);
    }
    if (result == NULL && PyErr_ExceptionMatches(PyExc_FileNotFoundError)) {
        PyErr_Clear();
        *missing = 1;
    }
    return result;
}

static PyObject *disk_fetch_held(module_state *state, PyObject *disk, const dc_columns *columns,
                                 int read, int *missing)
{
    unsigned int hooks = disk_hooks(state, disk);
    int64_t size;

    *missing = 0;
    if (hooks & DISK_HOOK_fetch) {
        return fetch_by_hook(state, disk, columns, read, missing);
    }
    /* Only a file that was written natively is known to be as long as its row says. */
    size = hooks & (DISK_HOOK_store | HOOKS_OF_STORE) ? -1 : columns->size;
    return fetch_native(state, (Disk *)disk, columns, read, size, missing);
}

int disk_fetch_is_quick(module_state *state, PyObject *disk, const dc_columns *columns)
{
    return columns->mode != DC_MODE_PICKLE && columns->filename == NULL &&
           !(disk_hooks(state, disk) & DISK_HOOK_fetch);
}

/* --- removing files --------------------------------------------------------------------------- */

#define MANY_FILES 4 /* from here on removing them releases the GIL */

static int remove_by_hook(module_state *state, PyObject *disk, const dc_namelist *names)
{
    compat_exception first;
    int failed = 0;

    memset(&first, 0, sizeof first);
    for (const char *name = dc_namelist_next(names, NULL); name != NULL;
         name = dc_namelist_next(names, name)) {
        PyObject *filename = local_name(state, disk, name);
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
    visit visit;
    double seconds;

    if (names->count == 0 || disk == NULL) {
        return 0;
    }
    if (disk_hooks(state, disk) & DISK_HOOK_remove) {
        int result;

        Py_INCREF(disk);
        result = remove_by_hook(state, disk, names);
        Py_DECREF(disk);
        return result;
    }
    directory = directory_of(self);
    if (directory == NULL) {
        return -1;
    }
    Py_INCREF(disk);
    visit = visit_begin(self->writing, names->count >= MANY_FILES);
    for (const char *name = dc_namelist_next(names, NULL); name != NULL;
         name = dc_namelist_next(names, name)) {
        dc_valuefile_remove(PyBytes_AS_STRING(directory), name);
    }
    seconds = visit_end(visit);
    if (names->count < MANY_FILES) {
        keep_mean(&self->writing, seconds);
    }
    Py_DECREF(disk);
    Py_DECREF(directory);
    return 0;
}

/* --- the functions of disk.h ------------------------------------------------------------------
 *
 * The caller's disk is an attribute that Python code, which these may run, can assign to: each holds
 * it while it works. */

/* A key that could not be converted: what its exception is to say. */
typedef struct key_to_blame {
    const char *doing;
    PyObject *key;
    int with_directory;
} key_to_blame;

static PyObject *describe_key(void *disk, const void *context)
{
    const key_to_blame *blamed = context;
    PyObject *shown = blame_shown(blamed->key);
    PyObject *name = shown != NULL ? blame_disk(disk) : NULL;
    PyObject *directory = NULL;
    PyObject *note = NULL;

    if (name == NULL) {
        goto done;
    }
    if (blamed->with_directory) {
        directory = PyObject_GetAttrString(disk, "_directory");
        PyErr_Clear(); /* a Disk of a user's own may have none */
    }
    note = directory != NULL
               ? PyUnicode_FromFormat("diskcache: %s key %U in %R%U", blamed->doing, shown,
                                      directory, name)
               : PyUnicode_FromFormat("diskcache: %s key %U%U", blamed->doing, shown, name);
done:
    Py_XDECREF(directory);
    Py_XDECREF(name);
    Py_XDECREF(shown);
    return note;
}

static int put_or_blame(module_state *state, PyObject *disk, PyObject *key, int with_directory,
                        disk_key *out)
{
    const key_to_blame blamed = {"converting the", key, with_directory};
    int result;

    Py_INCREF(disk);
    result = disk_put_held(state, disk, key, out);
    if (result < 0) {
        blame(describe_key, disk, &blamed);
    }
    Py_DECREF(disk);
    return result;
}

int disk_put(module_state *state, PyObject *disk, PyObject *key, disk_key *out)
{
    return put_or_blame(state, disk, key, 1, out);
}

PyObject *disk_get(module_state *state, PyObject *disk, const dc_key *key)
{
    key_to_blame blamed = {"reading the", NULL, 1};
    compat_exception raised;
    PyObject *result;

    Py_INCREF(disk);
    result = disk_get_held(state, disk, key);
    if (result == NULL) {
        raised = compat_exception_take();
        blamed.key = convert_from_datum(&key->datum);
        PyErr_Clear();
        compat_exception_put(raised);
        if (blamed.key != NULL) {
            blame(describe_key, disk, &blamed);
            Py_DECREF(blamed.key);
        }
    }
    Py_DECREF(disk);
    return result;
}

int disk_store(module_state *state, PyObject *disk, PyObject *value, int read, PyObject *key,
               disk_value *out)
{
    int result;

    Py_INCREF(disk);
    if (key != NULL && is_stored_key(state, key) && PyTuple_GET_SIZE(key) == 2) {
        key = PyTuple_GET_ITEM(key, 0); /* hooks see the key itself */
    }
    result = disk_store_held(state, disk, value, read, key, out);
    Py_DECREF(disk);
    return result;
}

PyObject *disk_fetch(module_state *state, PyObject *disk, const dc_columns *columns, int read,
                     int *missing)
{
    PyObject *result;

    Py_INCREF(disk);
    result = disk_fetch_held(state, disk, columns, read, missing);
    Py_DECREF(disk);
    return result;
}

/* --- the type --------------------------------------------------------------------------------- */

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
    return require_attribute(value, name) < 0 ? NULL : Py_NewRef(value);
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
    disk_key put = {.owner = NULL};
    PyObject *database_key;
    PyObject *result = NULL;

    if (args_parse(&table, args, nargs, kwnames, &key) < 0 ||
        put_native(self->state, self, key, &put) < 0) {
        return NULL;
    }
    database_key = put.key.datum.type == DC_BLOB ? binary(put.owner) : Py_NewRef(key);
    if (database_key != NULL) {
        result = PyTuple_Pack(2, database_key, put.key.raw ? Py_True : Py_False);
        Py_DECREF(database_key);
    }
    disk_key_clear(&put);
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
    if (read < 0 || store_native(self->state, self, values[0], read, &stored) < 0) {
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
    classified how;
    PyObject *content;
    PyObject *result = NULL;

    memset(&stored, 0, sizeof stored);
    if (require_attribute(self->min_file_size, "min_file_size") == 0 &&
        classify(self->state, self, value, &stored, &how) == 0) {
        content = convert_from_datum(&stored.columns.value);
        if (content != NULL) {
            result = Py_BuildValue("iNO", how.in_file ? (int)how.file_mode : (int)how.mode, content,
                                   how.in_file ? Py_True : Py_False);
        }
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
    result = fetch_native(self->state, self, &columns, read, -1, NULL);
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
        require_attribute(self->directory, "_directory") < 0) {
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
    directory = directory_of(self);
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
    disk_key put = {.owner = NULL};
    PyObject *result;

    /* The directory would be that of a shard which is perhaps not the key's. */
    if (args_parse(&table, args, nargs, kwnames, &key) < 0 ||
        put_or_blame(self->state, (PyObject *)self, key, 0, &put) < 0) {
        return NULL;
    }
    result = PyLong_FromUnsignedLong(hash_datum(&put.key.datum));
    disk_key_clear(&put);
    return result;
}

PyDoc_STRVAR(Disk_hooked_doc,
"_hooked($self, /)\n--\n\n"
"Whether `filename` or `_write` is not this class's own.\n");

static PyObject *Disk_hooked(Disk *self, PyObject *Py_UNUSED(unused))
{
    return PyBool_FromLong((disk_hooks(self->state, (PyObject *)self) & HOOKS_OF_STORE) != 0);
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

    return name != NULL ? local_name(self->state, (PyObject *)self, name) : NULL;
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
