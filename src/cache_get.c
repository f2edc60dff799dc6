/* cache_get.c: looking keys up: get, read, [], in.
 *
 * A lookup takes no lock, and writes nothing unless the policy or the statistics ask for it. It reads
 * the clock only if the row has an expiry.
 */
#include "cache_methods.h"
#include "cache_row.h"

#include <string.h>

#include "args.h"
#include "convert.h"

typedef struct lookup_note {
    int hit;
    int64_t rowid;
    double now;
    int statistics;
    dc_policy policy;
} lookup_note;

static dc_status write_note(dc_db *db, void *context)
{
    const lookup_note *note = context;
    dc_status status = DC_OK;

    if (note->statistics) {
        status = dc_store_count_lookup(db, note->hit);
    }
    if (status == DC_OK && note->hit) {
        status = dc_store_note_access(db, note->policy, note->rowid, note->now);
    }
    return status;
}

static int notes_access(Cache *self)
{
    return dc_policies[self->rules.policy].note_access != DC_NO_SQL;
}

/* Count the lookup and note the access, where settings ask for it. A lock that cannot be had is no
 * reason to withhold the value: then this lookup is not noted. */
static int note_lookup(Cache *self, int hit, int64_t rowid, int retry)
{
    lookup_note note = {hit, rowid, 0.0, self->statistics, self->rules.policy};
    Operation operation = {.cache = NULL};
    dc_status status;

    if (!self->statistics && !(hit && notes_access(self))) {
        return 0;
    }
    if (convert_now(self->state, &note.now) < 0) {
        return -1;
    }
    if (operation_begin_write(&operation, self, retry) < 0) {
        if (PyErr_ExceptionMatches(self->state->Timeout) ||
            PyErr_ExceptionMatches(PyExc_RuntimeError)) {
            PyErr_Clear();
            return 0;
        }
        return -1;
    }
    status = operation_write(&operation, write_note, &note);
    return status == DC_OK ? operation_commit(&operation) : operation_fail(&operation, status);
}

/* Find the value of a key and fill found->row: 1, 0 if there is none, -1 with an exception. A value
 * file that is missing means that another process has just rewritten the value: the row is read again,
 * until it stays the same. */
static int find_value(Cache *self, found *found, int read, int retry, PyObject **value)
{
    dc_row previous;
    int again = 0;
    int alive;
    int missing;
    int result = -1;
    dc_status status;

    dc_row_init(&previous);
    for (;;) {
        status = read_found(self, found, retry);
        if (status != DC_OK) {
            result = status == DC_NOT_FOUND ? 0 : -1;
            break;
        }
        alive = is_alive(self, found->selection->kind, &found->row.columns);
        if (alive <= 0) {
            result = alive;
            break;
        }
        *value = disk_fetch(self->state, self->disk, &found->row.columns, read, &missing);
        if (*value != NULL) {
            result = 1;
            break;
        }
        if (!missing) {
            if (PyErr_ExceptionMatches(PyExc_OSError)) { /* a miss, as the original has it */
                PyErr_Clear();
                result = 0;
            }
            break;
        }
        if (again && dc_row_same(&previous, &found->row)) {
            result = 0;
            break;
        }
        again = 1;
        if (!dc_row_copy(&previous, &found->row)) {
            PyErr_NoMemory();
            break;
        }
    }
    dc_row_clear(&previous);
    return result;
}

typedef struct get_options {
    int read, expire_time, tag, retry;
} get_options;

/* The whole of get(); a default of NULL makes an absent key a KeyError. */
static PyObject *get_value(Cache *self, PyObject *key, PyObject *otherwise,
                           const get_options *options)
{
    disk_key put = {.owner = NULL};
    selection selection = {.kind = SELECT_KEY, .key = &put.key};
    found found;
    PyObject *value = NULL;
    PyObject *result = NULL;
    int hit;

    selection.details = (options->tag ? DC_DETAIL_TAG : 0) |
                        (notes_access(self) ? DC_DETAIL_IDENTITY : 0);

    if (cache_ready(self) < 0 || disk_put(self->state, self->disk, key, &put) < 0) {
        return NULL;
    }
    found.selection = &selection;
    dc_row_init(&found.row);
    hit = find_value(self, &found, options->read, options->retry, &value);
    if (hit < 0 || note_lookup(self, hit, hit ? found.row.rowid : 0, options->retry) < 0) {
        Py_XDECREF(value);
    } else if (hit) {
        result = with_details(value, &found.row.columns, options->expire_time, options->tag);
    } else if (otherwise != NULL) {
        result = with_details(Py_NewRef(otherwise), NULL, options->expire_time, options->tag);
    } else {
        raise_key_error(key);
    }
    dc_row_clear(&found.row);
    disk_key_clear(&put);
    return result;
}

METHOD_DOC(get,
"get($self, /, key, default=None, read=False, expire_time=False, tag=False, retry=False)\n--\n\n"
"Look a key up.\n"
"\n"
":param key: any picklable object\n"
":param default: what to return if the key is absent or has expired\n"
":param bool read: return an open binary file for a value that is kept in one\n"
":param bool expire_time: return the expire time too (seconds since the epoch, or None)\n"
":param bool tag: return the tag too\n"
":param bool retry: wait for a lock as long as it takes\n"
":return: the value, or the default; a tuple with expire time and tag, in this order, if asked for\n"
":raises Timeout: if a lock cannot be had within the cache's timeout and retry is False\n"
":raises ValueError: if the key is NaN\n"
":raises sqlite3.Error: if the database fails\n");

PyObject *Cache_get(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {
        "get", 1, 6, {"key", "default", "read", "expire_time", "tag", "retry"}};
    static const int defaults[4] = {0, 0, 0, 0};
    PyObject *values[6];
    get_options options;
    int flags[4];

    if (args_parse(&table, args, nargs, kwnames, values) < 0 ||
        read_flags(values + 2, 4, defaults, flags) < 0) {
        return NULL;
    }
    options = (get_options){flags[0], flags[1], flags[2], flags[3]};
    return get_value(self, values[0], values[1] != NULL ? values[1] : Py_None, &options);
}

/* Call an overridden get(key, default=ENOVAL, [read=True,] retry=retry); KeyError for ENOVAL. */
static PyObject *get_by_hook(Cache *self, PyObject *key, int read, int retry)
{
    module_state *state = self->state;
    PyObject *method = PyObject_GetAttr((PyObject *)self, state->name.get);
    PyObject *keywords = NULL;
    PyObject *positional = NULL;
    PyObject *value = NULL;

    if (method == NULL) {
        return NULL;
    }
    positional = PyTuple_Pack(1, key);
    keywords =
        Py_BuildValue("{s:O,s:O}", "default", state->enoval, "retry", retry ? Py_True : Py_False);
    if (positional != NULL && keywords != NULL &&
        (!read || PyDict_SetItem(keywords, state->name.read, Py_True) == 0)) {
        value = PyObject_Call(method, positional, keywords);
    }
    if (value != NULL && value == state->enoval) {
        Py_CLEAR(value);
        raise_key_error(key);
    }
    Py_XDECREF(keywords);
    Py_XDECREF(positional);
    Py_DECREF(method);
    return value;
}

PyObject *cache_subscript(Cache *self, PyObject *key)
{
    static const get_options options = {.retry = 1};

    return cache_hooks(self) & CACHE_HOOK_get ? get_by_hook(self, key, 0, 1)
                                              : get_value(self, key, NULL, &options);
}

METHOD_DOC(read,
"read($self, /, key, retry=False)\n--\n\n"
"Open the value of a key as a file.\n"
"\n"
":param key: any picklable object\n"
":param bool retry: wait for a lock as long as it takes\n"
":return: a file opened for reading in binary mode, to be closed by the caller; the value itself if\n"
"    it is not kept in a binary file\n"
":raises KeyError: if the key is absent or has expired\n"
":raises Timeout: if a lock cannot be had within the cache's timeout and retry is False\n");

PyObject *Cache_read(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"read", 1, 2, {"key", "retry"}};
    PyObject *values[2];
    get_options options = {.read = 1};

    if (args_parse(&table, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    options.retry = args_flag(values[1], 0);
    if (options.retry < 0) {
        return NULL;
    }
    return cache_hooks(self) & CACHE_HOOK_get ? get_by_hook(self, values[0], 1, options.retry)
                                              : get_value(self, values[0], NULL, &options);
}

int cache_contains(Cache *self, PyObject *key)
{
    Operation operation = {.cache = NULL};
    disk_key put = {.owner = NULL};
    location location;
    dc_status status;
    int result = -1;

    if (cache_ready(self) < 0 || disk_put(self->state, self->disk, key, &put) < 0) {
        return -1;
    }
    location.key = &put.key;
    dc_row_init(&location.row);
    if (operation_begin_read(&operation, self) == 0) {
        status = operation_read(&operation, locate_row, &location, 0);
        operation_end_read(&operation);
        result = status == DC_OK          ? is_alive(self, SELECT_KEY, &location.row.columns)
                 : status == DC_NOT_FOUND ? 0
                                          : -1;
    }
    dc_row_clear(&location.row);
    disk_key_clear(&put);
    return result;
}

/* --- many keys ---------------------------------------------------------------------------------- */

typedef struct lookup {
    disk_key put;
    dc_row row;
    int there;
} lookup;

typedef struct lookups {
    lookup *each;
    Py_ssize_t count;
    unsigned int details;
    int joined; /* a transaction is open already */
} lookups;

static dc_status read_many(dc_db *db, void *context)
{
    lookups *lookups = context;
    int own = !lookups->joined && !dc_db_in_transaction(db);
    dc_status status = own ? dc_db_begin_read(db) : DC_OK;

    for (Py_ssize_t i = 0; i < lookups->count && status == DC_OK; i++) {
        lookup *lookup = &lookups->each[i];

        status = dc_store_get(db, &lookup->put.key, lookups->details, &lookup->row);
        lookup->there = status == DC_OK;
        if (status == DC_NOT_FOUND) {
            status = DC_OK;
        }
    }
    if (own) {
        dc_db_end_read(db);
    }
    return status;
}

/* The value of a row read, ENOVAL if there is none. */
static PyObject *value_of_lookup(Cache *self, PyObject *key, const lookup *lookup, int retry)
{
    const get_options options = {.retry = retry};
    const dc_columns *columns = &lookup->row.columns;
    PyObject *value = NULL;
    int alive = lookup->there ? is_alive(self, SELECT_KEY, columns) : 0;
    int missing;

    if (alive > 0) {
        value = disk_fetch(self->state, self->disk, columns, 0, &missing);
        if (value == NULL && missing) { /* just rewritten, perhaps: by itself, then */
            return get_value(self, key, self->state->enoval, &options);
        }
        if (value == NULL && PyErr_ExceptionMatches(PyExc_OSError)) {
            PyErr_Clear();
            alive = 0;
        }
    }
    if (alive < 0 || PyErr_Occurred() ||
        note_lookup(self, alive, alive ? lookup->row.rowid : 0, retry) < 0) {
        Py_XDECREF(value);
        return NULL;
    }
    return value != NULL ? value : Py_NewRef(self->state->enoval);
}

static int put_keys(Cache *self, PyObject *keys, lookups *lookups)
{
    for (Py_ssize_t i = 0; i < lookups->count; i++) {
        if (disk_put(self->state, self->disk, PyTuple_GET_ITEM(keys, i), &lookups->each[i].put) <
            0) {
            return -1;
        }
    }
    return 0;
}

/* A list of the values of keys in a tuple. */
static PyObject *get_values(Cache *self, PyObject *keys, lookups *lookups, int retry)
{
    Operation operation = {.cache = NULL};
    PyObject *values = PyList_New(lookups->count);
    dc_status status = DC_CALLBACK;

    if (values != NULL && put_keys(self, keys, lookups) == 0 &&
        operation_begin_read(&operation, self) == 0) {
        lookups->joined = operation.joined;
        status = operation_read(&operation, read_many, lookups, retry);
        operation_end_read(&operation);
    }
    for (Py_ssize_t i = 0; i < lookups->count && status == DC_OK; i++) {
        PyObject *value =
            value_of_lookup(self, PyTuple_GET_ITEM(keys, i), &lookups->each[i], retry);

        if (value == NULL) {
            status = DC_CALLBACK;
        } else {
            PyList_SET_ITEM(values, i, value);
        }
    }
    if (status != DC_OK) {
        Py_CLEAR(values);
    }
    return values;
}

METHOD_DOC(get_many,
"_get_many($self, /, keys, retry=False)\n--\n\n"
"Look keys up, all in one read transaction: the values are of one moment, and one lock is taken.\n"
"\n"
":param keys: iterable of keys\n"
":param bool retry: wait for a lock as long as it takes\n"
":return: list of the values in the order of the keys, with ENOVAL for what is absent or has expired\n"
":raises Timeout: if a lock cannot be had within the cache's timeout and retry is False\n");

PyObject *Cache_get_many(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"_get_many", 1, 2, {"keys", "retry"}};
    lookups lookups = {.each = NULL};
    PyObject *values[2];
    PyObject *keys = NULL;
    PyObject *result = NULL;
    int retry;

    if (args_parse(&table, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    retry = args_flag(values[1], 0);
    keys = retry >= 0 ? PySequence_Tuple(values[0]) : NULL;
    if (keys == NULL || cache_ready(self) < 0) {
        goto done;
    }
    lookups.each = PyMem_Calloc((size_t)PyTuple_GET_SIZE(keys) + 1, sizeof *lookups.each);
    if (lookups.each == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    lookups.count = PyTuple_GET_SIZE(keys);
    lookups.details = notes_access(self) ? DC_DETAIL_IDENTITY : 0;
    for (Py_ssize_t i = 0; i < lookups.count; i++) {
        dc_row_init(&lookups.each[i].row);
    }
    result = get_values(self, keys, &lookups, retry);
done:
    for (Py_ssize_t i = 0; i < lookups.count; i++) {
        dc_row_clear(&lookups.each[i].row);
        disk_key_clear(&lookups.each[i].put);
    }
    PyMem_Free(lookups.each);
    Py_XDECREF(keys);
    return result;
}
