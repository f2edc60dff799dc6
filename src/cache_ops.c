/* cache_ops.c: the operations of a Cache: what its methods do, on the pattern of cache.h.
 *
 * Two rules hold throughout. Arguments are converted before a session is taken, so a bad one leaves
 * nothing behind; a value file written for an operation is removed if no row comes to name it. And no
 * Python code runs under a lock: where a value must be unpickled before its row may be deleted (pop,
 * pull), the row is read, the lock given back, the value unpickled, and the row deleted only if it is
 * still the same one; else everything begins again. (Inside a user's transaction the lock is the
 * user's, and there is nothing to give back.)
 */
#include "cache.h"

#include <string.h>

#include "args.h"
#include "convert.h"

/* Seconds that one transaction of a bulk deletion may take: others can write in between. */
#define SWEEP_SECONDS 0.01

/* --- results ---------------------------------------------------------------------------------- */

static int read_flags(PyObject *const *values, int count, const int *defaults, int *flags)
{
    for (int i = 0; i < count; i++) {
        flags[i] = args_flag(values[i], defaults[i]);
        if (flags[i] < 0) {
            return -1;
        }
    }
    return 0;
}

/* (value, expire_time, tag) with the parts asked for; `value` is stolen, `columns` NULL for a default,
 * whose parts are None. */
static PyObject *with_details(PyObject *value, const dc_columns *columns, int expire_time, int tag)
{
    const dc_datum null = {.type = DC_NULL};
    PyObject *expire_object = NULL;
    PyObject *tag_object = NULL;
    PyObject *result = NULL;

    if (value == NULL || (!expire_time && !tag)) {
        return value;
    }
    expire_object = columns != NULL && columns->has_expire_time
                        ? PyFloat_FromDouble(columns->expire_time)
                        : Py_NewRef(Py_None);
    tag_object = convert_from_datum(columns != NULL ? &columns->tag : &null);
    if (expire_object != NULL && tag_object != NULL) {
        result = expire_time && tag ? PyTuple_Pack(3, value, expire_object, tag_object)
                 : expire_time      ? PyTuple_Pack(2, value, expire_object)
                                    : PyTuple_Pack(2, value, tag_object);
    }
    Py_XDECREF(tag_object);
    Py_XDECREF(expire_object);
    Py_DECREF(value);
    return result;
}

/* KeyError(key); a key that is a tuple would otherwise become the exception's arguments. */
static void raise_key_error(PyObject *key)
{
    PyObject *arguments = PyTuple_Pack(1, key);

    if (arguments != NULL) {
        PyErr_SetObject(PyExc_KeyError, arguments);
        Py_DECREF(arguments);
    }
}

static PyObject *or_none(PyObject *object)
{
    return Py_NewRef(object != NULL ? object : Py_None);
}

/* --- which row an operation is about ---------------------------------------------------------- */

typedef enum { SELECT_KEY, SELECT_QUEUE, SELECT_END } selection_kind;

typedef struct selection {
    selection_kind kind;
    const dc_key *key; /* SELECT_KEY */
    unsigned int details; /* SELECT_KEY: enum dc_detail */
    dc_queue queue;    /* SELECT_QUEUE */
    dc_side side;
    int last; /* SELECT_END */
} selection;

/* A selection and the row that it yields: the context of an engine call. */
typedef struct found {
    const selection *selection;
    dc_row row;
} found;

static dc_status find_row(dc_db *db, void *context)
{
    found *found = context;
    const selection *selection = found->selection;

    switch (selection->kind) {
    case SELECT_QUEUE:
        return dc_store_queue_end(db, &selection->queue, selection->side, &found->row);
    case SELECT_END:
        return dc_store_end(db, selection->last, &found->row);
    default:
        return dc_store_get(db, selection->key, selection->details, &found->row);
    }
}

/* Read the row without a lock; DC_OK, DC_NOT_FOUND, or DC_CALLBACK with an exception. */
static dc_status read_found(Cache *self, found *found, int retry)
{
    Operation operation = {.cache = NULL};
    dc_status status;

    if (operation_begin_read(&operation, self) < 0) {
        return DC_CALLBACK;
    }
    status = operation_read(&operation, find_row, found, retry);
    operation_end_read(&operation);
    return status;
}

/* 1 if the row is alive now, 0 if it has expired, -1 with an exception. The clock is read only if it
 * matters. At the very moment of its expiry an item is gone for its key, and still in its queue. */
static int is_alive(Cache *self, const selection *selection, const dc_columns *columns)
{
    double now;

    if (!columns->has_expire_time) {
        return 1;
    }
    if (convert_now(self->state, &now) < 0) {
        return -1;
    }
    return selection->kind == SELECT_KEY ? dc_columns_alive(columns, now)
                                         : !dc_columns_expired(columns, now);
}

typedef struct deletion {
    const dc_row *row;
    dc_namelist *removed;
} deletion;

static dc_status delete_found(dc_db *db, void *context)
{
    const deletion *deletion = context;

    return dc_store_delete(db, deletion->row->rowid, deletion->row->columns.filename,
                           deletion->removed);
}

/* Delete a row in the transaction under way. -1 with an exception, rolled back. */
static int delete_row(Operation *operation, dc_row *row)
{
    deletion deletion = {row, &operation->cache->transaction.removed};
    dc_status status = operation_write(operation, delete_found, &deletion);

    return status == DC_OK ? 0 : operation_fail(operation, status);
}

/* Delete the row, unless it has changed since it was read: 1 deleted, 0 changed, -1 exception. */
static int delete_if_same(Cache *self, found *known, int retry)
{
    Operation operation = {.cache = NULL};
    found now = {.selection = known->selection};
    dc_status status;
    int same = 0;
    int result = -1;

    dc_row_init(&now.row);
    if (operation_begin_write(&operation, self, retry) < 0) {
        goto done;
    }
    status = operation_write(&operation, find_row, &now);
    if (status != DC_OK && status != DC_NOT_FOUND) {
        operation_fail(&operation, status);
        goto done;
    }
    same = status == DC_OK && dc_row_same(&known->row, &now.row);
    if (same && delete_row(&operation, &now.row) < 0) {
        goto done;
    }
    result = operation_commit(&operation) < 0 ? -1 : same;
done:
    dc_row_clear(&now.row);
    return result;
}

/* --- get -------------------------------------------------------------------------------------- */

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
        alive = is_alive(self, found->selection, &found->row.columns);
        if (alive <= 0) {
            result = alive;
            break;
        }
        *value = disk_fetch(self->state, self->disk, &found->row.columns, read, &missing);
        if (*value != NULL || !missing) {
            result = *value != NULL ? 1 : -1;
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
static PyObject *get_value(Cache *self, PyObject *key, PyObject *otherwise, const get_options *options)
{
    disk_key put = {.owner = NULL};
    selection selection = {.kind = SELECT_KEY, .key = &put.key};
    found found = {.selection = &selection};
    PyObject *value = NULL;
    PyObject *result = NULL;
    int hit;

    selection.details = (options->tag ? DC_DETAIL_TAG : 0) |
                        (notes_access(self) ? DC_DETAIL_IDENTITY : 0);

    if (cache_ready(self) < 0 || disk_put(self->state, self->disk, key, &put) < 0) {
        return NULL;
    }
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

PyDoc_STRVAR(Cache_get_doc,
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

static PyObject *Cache_get(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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
    keywords = Py_BuildValue("{s:O,s:O}", "default", state->enoval, "retry",
                             retry ? Py_True : Py_False);
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

PyDoc_STRVAR(Cache_read_doc,
"read($self, /, key, retry=False)\n--\n\n"
"Open the value of a key as a file.\n"
"\n"
":param key: any picklable object\n"
":param bool retry: wait for a lock as long as it takes\n"
":return: a file opened for reading in binary mode, to be closed by the caller; the value itself if\n"
"    it is not kept in a binary file\n"
":raises KeyError: if the key is absent or has expired\n"
":raises Timeout: if a lock cannot be had within the cache's timeout and retry is False\n");

static PyObject *Cache_read(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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

typedef struct location {
    const dc_key *key;
    dc_row row;
} location;

static dc_status locate(dc_db *db, void *context)
{
    location *location = context;

    return dc_store_locate(db, location->key, &location->row);
}

int cache_contains(Cache *self, PyObject *key)
{
    static const selection by_key = {.kind = SELECT_KEY};
    Operation operation = {.cache = NULL};
    disk_key put = {.owner = NULL};
    location location = {.key = &put.key};
    dc_status status;
    int result = -1;

    if (cache_ready(self) < 0 || disk_put(self->state, self->disk, key, &put) < 0) {
        return -1;
    }
    dc_row_init(&location.row);
    if (operation_begin_read(&operation, self) == 0) {
        status = operation_read(&operation, locate, &location, 0);
        operation_end_read(&operation);
        result = status == DC_OK          ? is_alive(self, &by_key, &location.row.columns)
                 : status == DC_NOT_FOUND ? 0
                                          : -1;
    }
    dc_row_clear(&location.row);
    disk_key_clear(&put);
    return result;
}

/* --- set, add, push --------------------------------------------------------------------------- */

/* The columns of a row as the tuple that _row_insert and _row_update take. */
static PyObject *columns_to_tuple(const dc_columns *columns)
{
    PyObject *expire_time = columns->has_expire_time ? PyFloat_FromDouble(columns->expire_time)
                                                     : Py_NewRef(Py_None);
    PyObject *tag = convert_from_datum(&columns->tag);
    PyObject *value = convert_from_datum(&columns->value);
    PyObject *tuple = NULL;

    if (expire_time != NULL && tag != NULL && value != NULL) {
        tuple = Py_BuildValue("OOLLzO", expire_time, tag, (long long)columns->size,
                              (long long)columns->mode, columns->filename, value);
    }
    Py_XDECREF(value);
    Py_XDECREF(tag);
    Py_XDECREF(expire_time);
    return tuple;
}

static dc_status status_of(PyObject *result)
{
    Py_XDECREF(result);
    return result != NULL ? DC_OK : DC_CALLBACK;
}

static dc_status insert_by_hook(void *context, const dc_key *key, const dc_columns *columns,
                                double now, int64_t *rowid)
{
    Cache *self = context;
    PyObject *database_key = convert_from_datum(&key->datum);
    PyObject *tuple = columns_to_tuple(columns);
    dc_status status = DC_CALLBACK;

    if (database_key != NULL && tuple != NULL) {
        status = status_of(PyObject_CallMethod((PyObject *)self, "_row_insert", "OOdO", database_key,
                                               key->raw ? Py_True : Py_False, now, tuple));
        *rowid = sqlite.last_insert_rowid(self->transaction.session->db.handle);
    }
    Py_XDECREF(tuple);
    Py_XDECREF(database_key);
    return status;
}

static dc_status update_by_hook(void *context, int64_t rowid, const dc_columns *columns, double now)
{
    Cache *self = context;
    PyObject *tuple = columns_to_tuple(columns);
    dc_status status = DC_CALLBACK;

    if (tuple != NULL) {
        status = status_of(PyObject_CallMethod((PyObject *)self, "_row_update", "LdO",
                                               (long long)rowid, now, tuple));
        Py_DECREF(tuple);
    }
    return status;
}

static dc_status cull_by_hook(void *context, double now)
{
    Cache *self = context;
    PyObject *transaction = transaction_new(self, 0, 1, NULL);
    PyObject *cleanup = NULL;
    PyObject *execute = NULL;
    dc_status status = DC_CALLBACK;

    if (transaction != NULL) {
        cleanup = PyObject_GetAttr(transaction, self->state->name._cleanup);
        self->transaction.session->db.forecast.exposed = 1;
        execute = PyObject_GetAttr(self->transaction.session->connection,
                                   self->state->name.execute);
        if (cleanup != NULL && execute != NULL) {
            status = status_of(
                PyObject_CallMethod((PyObject *)self, "_cull", "dOO", now, execute, cleanup));
        }
    }
    Py_XDECREF(execute);
    Py_XDECREF(cleanup);
    Py_XDECREF(transaction);
    return status;
}

/* The rules of a write now; `hooks` backs rules.hooks. */
static dc_rules current_rules(Cache *self, dc_row_hooks *hooks)
{
    dc_rules rules = self->rules;
    unsigned int overridden = cache_hooks(self);

    if (overridden & CACHE_HOOK_WRITES) {
        hooks->context = self;
        hooks->insert = overridden & CACHE_HOOK__row_insert ? insert_by_hook : NULL;
        hooks->update = overridden & CACHE_HOOK__row_update ? update_by_hook : NULL;
        hooks->cull = overridden & CACHE_HOOK__cull ? cull_by_hook : NULL;
        rules.hooks = hooks;
    }
    return rules;
}

/* One item to be written. */
typedef struct item {
    disk_value stored; /* its columns complete with tag and expire_time */
    PyObject *tag_owner;
    double now;
} item;

static void item_clear(item *item)
{
    Py_CLEAR(item->tag_owner);
    disk_value_clear(&item->stored);
}

/* Convert the value, writing its file. Tag and expire are looked at first: nothing to clean up if
 * they are bad. */
static int item_prepare(Cache *self, item *item, PyObject *value, PyObject *key, PyObject *expire,
                        int read, PyObject *tag)
{
    dc_columns columns;

    memset(item, 0, sizeof *item);
    memset(&columns, 0, sizeof columns);
    if (read && !PyObject_HasAttr(value, self->state->name.read)) {
        PyErr_Format(PyExc_TypeError, "value must be a file opened for reading in binary mode, not "
                     "'%.200s', if read is true", Py_TYPE(value)->tp_name);
        return -1;
    }
    if (convert_now(self->state, &item->now) < 0 || convert_expire(expire, item->now, &columns) < 0 ||
        convert_to_datum(tag != NULL ? tag : Py_None, "tag", &columns.tag, &item->tag_owner) < 0 ||
        disk_store(self->state, self->disk, value, read, key, &item->stored) < 0) {
        item_clear(item);
        return -1;
    }
    item->stored.columns.has_expire_time = columns.has_expire_time;
    item->stored.columns.expire_time = columns.expire_time;
    item->stored.columns.tag = columns.tag;
    return 0;
}

/* An item on its way into the table: the context of an engine call. */
typedef struct writing {
    const dc_key *key; /* or NULL: push */
    const dc_queue *queue;
    dc_side side;
    const item *item;
    int only_if_absent;
    dc_rules rules;
    dc_row_hooks hooks; /* backs rules.hooks */
    dc_namelist *removed;
    dc_row row; /* push: receives the key */
    int written;
} writing;

static dc_status write_item(dc_db *db, void *context)
{
    writing *writing = context;
    const dc_columns *columns = &writing->item->stored.columns;

    if (writing->key == NULL) {
        return dc_store_push(db, writing->queue, writing->side, columns, writing->item->now,
                             &writing->rules, writing->removed, &writing->row, &writing->written);
    }
    return dc_store_set(db, writing->key, columns, writing->item->now, writing->only_if_absent,
                        &writing->rules, writing->removed, &writing->written);
}

/* Begin, write, commit. On any failure, and if the item was not kept, its file goes. */
static int write_and_commit(Cache *self, writing *writing, int retry)
{
    const char *filename = writing->item->stored.columns.filename;
    Operation operation = {.cache = NULL};
    dc_status status;
    int result = -1;

    writing->written = 0;
    writing->rules = current_rules(self, &writing->hooks);
    writing->removed = &self->transaction.removed;
    if (operation_begin_write(&operation, self, retry) < 0) {
        goto done;
    }
    if (operation_add_file(&operation, filename) < 0) {
        operation_rollback(&operation);
        goto done;
    }
    status = operation_write(&operation, write_item, writing);
    result = status == DC_OK ? operation_commit(&operation) : operation_fail(&operation, status);
done:
    if (filename != NULL && !writing->written) {
        cache_discard_file(self, filename);
    }
    return result;
}

/* set() and add(). */
static PyObject *store_value(Cache *self, PyObject *const *values, int only_if_absent)
{
    static const int defaults[1] = {0};
    disk_key put = {.owner = NULL};
    item item;
    writing writing = {.key = &put.key, .item = &item, .only_if_absent = only_if_absent};
    PyObject *result = NULL;
    int read, retry;

    if (read_flags(values + 3, 1, defaults, &read) < 0 ||
        read_flags(values + 5, 1, defaults, &retry) < 0 || cache_ready(self) < 0 ||
        disk_put(self->state, self->disk, values[0], &put) < 0) {
        return NULL;
    }
    if (item_prepare(self, &item, values[1], values[0], values[2], read, values[4]) == 0) {
        if (write_and_commit(self, &writing, retry) == 0) {
            result = PyBool_FromLong(writing.written);
        }
        item_clear(&item);
    }
    disk_key_clear(&put);
    return result;
}

PyDoc_STRVAR(Cache_set_doc,
"set($self, /, key, value, expire=None, read=False, tag=None, retry=False)\n--\n\n"
"Store a value under a key.\n"
"\n"
":param key: any picklable object\n"
":param value: any picklable object, or a file if read is true\n"
":param float expire: seconds until the item expires (None: never)\n"
":param bool read: value is a file opened for reading in binary mode; its bytes are stored\n"
":param tag: int, float, str or bytes to evict() by, or None\n"
":param bool retry: wait for the lock as long as it takes\n"
":return: True; False if the item is larger than size_limit and so is not kept\n"
":raises Timeout: if the lock cannot be had within the cache's timeout and retry is False\n"
":raises TypeError: if expire or tag is of the wrong type\n"
":raises ValueError: if the key is NaN\n"
":raises sqlite3.Error: if the database fails\n"
":raises OSError: if the value file cannot be written\n");

static PyObject *Cache_set(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {
        "set", 2, 6, {"key", "value", "expire", "read", "tag", "retry"}};
    PyObject *values[6];

    return args_parse(&table, args, nargs, kwnames, values) < 0 ? NULL
                                                                : store_value(self, values, 0);
}

PyDoc_STRVAR(Cache_add_doc,
"add($self, /, key, value, expire=None, read=False, tag=None, retry=False)\n--\n\n"
"Store a value under a key that is absent or has expired.\n"
"\n"
"Of several threads and processes that add one key at the same time exactly one succeeds.\n"
"Parameters and errors are those of set().\n"
"\n"
":return: True if the value was stored\n");

static PyObject *Cache_add(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {
        "add", 2, 6, {"key", "value", "expire", "read", "tag", "retry"}};
    PyObject *values[6];

    return args_parse(&table, args, nargs, kwnames, values) < 0 ? NULL
                                                                : store_value(self, values, 1);
}

int cache_assign_subscript(Cache *self, PyObject *key, PyObject *value)
{
    PyObject *result;

    if (value == NULL) {
        result = PyObject_CallMethod((PyObject *)self, "__delitem__", "O", key);
    } else if (cache_hooks(self) & CACHE_HOOK_set) {
        PyObject *names = PyTuple_Pack(1, self->state->name.retry);
        PyObject *arguments[] = {(PyObject *)self, key, value, Py_True};

        result = names != NULL
                     ? PyObject_VectorcallMethod(self->state->name.set, arguments, 3, names)
                     : NULL;
        Py_XDECREF(names);
    } else {
        PyObject *values[6] = {key, value, NULL, NULL, NULL, Py_True};

        result = store_value(self, values, 0);
    }
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

static int parse_side(PyObject *side, dc_side otherwise, dc_side *out)
{
    *out = otherwise;
    if (side == NULL) {
        return 0;
    }
    if (PyUnicode_Check(side) && PyUnicode_CompareWithASCIIString(side, "front") == 0) {
        *out = DC_FRONT;
        return 0;
    }
    if (PyUnicode_Check(side) && PyUnicode_CompareWithASCIIString(side, "back") == 0) {
        *out = DC_BACK;
        return 0;
    }
    PyErr_Format(PyExc_ValueError, "side must be 'front' or 'back', not %R", side);
    return -1;
}

/* The queue's bytes are the prefix's own. */
static int parse_queue(PyObject *prefix, dc_queue *queue)
{
    Py_ssize_t size;

    memset(queue, 0, sizeof *queue);
    if (prefix == NULL || prefix == Py_None) {
        return 0;
    }
    if (!PyUnicode_Check(prefix)) {
        PyErr_Format(PyExc_TypeError, "prefix must be str or None, not '%.200s'",
                     Py_TYPE(prefix)->tp_name);
        return -1;
    }
    queue->prefix = PyUnicode_AsUTF8AndSize(prefix, &size);
    if (queue->prefix == NULL) {
        return -1;
    }
    queue->prefix_size = (size_t)size;
    queue->prefix_length = (size_t)PyUnicode_GET_LENGTH(prefix);
    return 0;
}

PyDoc_STRVAR(Cache_push_doc,
"push($self, /, value, prefix=None, side='back', expire=None, read=False, tag=None, retry=False)\n"
"--\n\n"
"Append a value to a queue, under a key made for it.\n"
"\n"
":param value: any picklable object, or a file if read is true\n"
":param str prefix: names the queue; its keys are 'prefix-' and 15 digits. None: its keys are ints\n"
"    around 500000000000000\n"
":param str side: 'back' or 'front' of the queue\n"
":param float expire: seconds until the item expires (None: never)\n"
":param bool read: value is a file opened for reading in binary mode; its bytes are stored\n"
":param tag: int, float, str or bytes to evict() by, or None\n"
":param bool retry: wait for the lock as long as it takes\n"
":return: the key; None if the item is larger than size_limit and so is not kept\n"
":raises Timeout: if the lock cannot be had within the cache's timeout and retry is False\n"
":raises TypeError: if prefix, expire or tag is of the wrong type\n"
":raises ValueError: if side is none of the two\n");

static PyObject *Cache_push(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {
        "push", 1, 7, {"value", "prefix", "side", "expire", "read", "tag", "retry"}};
    static const int defaults[1] = {0};
    PyObject *values[7];
    dc_queue queue;
    item item;
    writing writing = {.queue = &queue, .item = &item};
    PyObject *result = NULL;
    int read, retry;

    if (args_parse(&table, args, nargs, kwnames, values) < 0 ||
        parse_queue(values[1], &queue) < 0 || parse_side(values[2], DC_BACK, &writing.side) < 0 ||
        read_flags(values + 4, 1, defaults, &read) < 0 ||
        read_flags(values + 6, 1, defaults, &retry) < 0 || cache_ready(self) < 0 ||
        item_prepare(self, &item, values[0], NULL, values[3], read, values[5]) < 0) {
        return NULL;
    }
    dc_row_init(&writing.row);
    if (write_and_commit(self, &writing, retry) == 0) {
        result = writing.written ? convert_from_datum(&writing.row.key.datum) : Py_NewRef(Py_None);
    }
    dc_row_clear(&writing.row);
    item_clear(&item);
    return result;
}

/* --- touch, incr, delete ---------------------------------------------------------------------- */

typedef struct touching {
    const dc_key *key;
    dc_columns expire;
    double now;
} touching;

static dc_status touch_row(dc_db *db, void *context)
{
    const touching *touching = context;

    return dc_store_touch(db, touching->key, &touching->expire, touching->now);
}

PyDoc_STRVAR(Cache_touch_doc,
"touch($self, /, key, expire=None, retry=False)\n--\n\n"
"Give an item another expiry.\n"
"\n"
":param key: any picklable object\n"
":param float expire: seconds from now until the item expires (None: never)\n"
":param bool retry: wait for the lock as long as it takes\n"
":return: True if the key was there and had not expired\n"
":raises Timeout: if the lock cannot be had within the cache's timeout and retry is False\n"
":raises TypeError: if expire is not a number\n");

static PyObject *Cache_touch(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"touch", 1, 3, {"key", "expire", "retry"}};
    PyObject *values[3];
    Operation operation = {.cache = NULL};
    disk_key put = {.owner = NULL};
    touching touching = {.key = &put.key};
    PyObject *result = NULL;
    dc_status status;
    int retry;

    if (args_parse(&table, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    retry = args_flag(values[2], 0);
    if (retry < 0 || cache_ready(self) < 0 || convert_now(self->state, &touching.now) < 0 ||
        convert_expire(values[1], touching.now, &touching.expire) < 0 ||
        disk_put(self->state, self->disk, values[0], &put) < 0) {
        return NULL;
    }
    if (operation_begin_write(&operation, self, retry) == 0) {
        status = operation_write(&operation, touch_row, &touching);
        if (status != DC_OK && status != DC_NOT_FOUND) {
            operation_fail(&operation, status);
        } else if (operation_commit(&operation) == 0) {
            result = PyBool_FromLong(status == DC_OK);
        }
    }
    disk_key_clear(&put);
    return result;
}

typedef struct incrementing {
    const dc_key *key;
    dc_datum delta;
    const dc_columns *initial; /* or NULL */
    double now;
    const dc_rules *rules;
    dc_namelist *removed;
    dc_datum sum;
    int created;
} incrementing;

static dc_status increment_row(dc_db *db, void *context)
{
    incrementing *incrementing = context;

    return dc_store_increment(db, incrementing->key, &incrementing->delta, incrementing->initial,
                              incrementing->now, incrementing->rules, incrementing->removed,
                              &incrementing->sum, &incrementing->created);
}

/* default + delta, as the item that an absent key becomes; *initial is the number as an object. */
static int prepare_initial(Cache *self, item *item, PyObject *key, PyObject *otherwise,
                           const dc_datum *delta, PyObject **initial)
{
    dc_datum start;
    dc_datum sum;

    if (convert_number(otherwise, "default", &start) < 0) {
        return -1;
    }
    if (dc_datum_add(&start, delta, &sum) != DC_OK) {
        PyErr_SetString(PyExc_OverflowError, "default + delta does not fit into 64 bits");
        return -1;
    }
    *initial = convert_from_datum(&sum);
    if (*initial == NULL || item_prepare(self, item, *initial, key, NULL, 0, NULL) < 0) {
        Py_CLEAR(*initial);
        return -1;
    }
    return 0;
}

static void raise_increment(PyObject *key, dc_status status)
{
    if (status == DC_NOT_FOUND) {
        raise_key_error(key);
    } else if (status == DC_TYPE) {
        PyErr_Format(PyExc_TypeError, "the value of key %R is not an int or a float", key);
    } else {
        PyErr_Format(PyExc_OverflowError, "the value of key %R plus delta does not fit into 64 bits",
                     key);
    }
}

static PyObject *increment(Cache *self, PyObject *key, const dc_datum *delta, PyObject *otherwise,
                           int retry)
{
    Operation operation = {.cache = NULL};
    disk_key put = {.owner = NULL};
    incrementing incrementing = {.key = &put.key, .delta = *delta};
    dc_row_hooks hooks = {.context = NULL};
    dc_rules rules;
    item item;
    const char *filename = NULL;
    PyObject *initial = NULL;
    PyObject *result = NULL;
    dc_status status;

    memset(&item, 0, sizeof item);
    if (cache_ready(self) < 0 || disk_put(self->state, self->disk, key, &put) < 0) {
        return NULL;
    }
    if (otherwise != Py_None) {
        if (prepare_initial(self, &item, key, otherwise, delta, &initial) < 0) {
            goto done;
        }
        incrementing.initial = &item.stored.columns;
        filename = item.stored.columns.filename;
    }
    if (convert_now(self->state, &incrementing.now) < 0 ||
        operation_begin_write(&operation, self, retry) < 0) {
        goto done;
    }
    if (operation_add_file(&operation, filename) < 0) {
        operation_rollback(&operation);
        goto done;
    }
    rules = current_rules(self, &hooks);
    incrementing.rules = &rules;
    incrementing.removed = &self->transaction.removed;
    status = operation_write(&operation, increment_row, &incrementing);
    if (status == DC_NOT_FOUND || status == DC_TYPE || status == DC_OVERFLOW) {
        operation_rollback(&operation); /* nothing was written */
        raise_increment(key, status);
    } else if (status != DC_OK) {
        operation_fail(&operation, status);
    } else if (operation_commit(&operation) == 0) {
        result = incrementing.sum.type != DC_NULL ? convert_from_datum(&incrementing.sum)
                                                  : or_none(initial);
    }
done:
    if (filename != NULL && !incrementing.created) {
        cache_discard_file(self, filename);
    }
    Py_XDECREF(initial);
    item_clear(&item);
    disk_key_clear(&put);
    return result;
}

PyDoc_STRVAR(Cache_incr_doc,
"incr($self, /, key, delta=1, default=0, retry=False)\n--\n\n"
"Add to a number, atomically.\n"
"\n"
":param key: any picklable object\n"
":param delta: int or float to add\n"
":param default: number to begin with if the key is absent or has expired; None: KeyError\n"
":param bool retry: wait for the lock as long as it takes\n"
":return: the new value\n"
":raises KeyError: if the key is absent and default is None\n"
":raises TypeError: if delta, default or the stored value is not a number\n"
":raises OverflowError: if the sum leaves the signed 64-bit range; the value stays as it was\n"
":raises Timeout: if the lock cannot be had within the cache's timeout and retry is False\n");

PyDoc_STRVAR(Cache_decr_doc,
"decr($self, /, key, delta=1, default=0, retry=False)\n--\n\n"
"Subtract from a number, atomically.\n"
"\n"
"Parameters, result and errors are those of incr(), with the opposite sign of delta.\n");

/* incr(), and decr() as incr() of the opposite. */
static PyObject *increment_method(Cache *self, const args_table *table, int negate,
                                  PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *values[4];
    PyObject *otherwise = NULL;
    PyObject *delta_object = NULL;
    PyObject *result = NULL;
    dc_datum delta;
    int retry;

    if (args_parse(table, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    retry = args_flag(values[3], 0);
    otherwise = values[2] != NULL ? Py_NewRef(values[2]) : PyLong_FromLong(0);
    delta_object = values[1] != NULL ? Py_NewRef(values[1]) : PyLong_FromLong(1);
    if (retry < 0 || otherwise == NULL || delta_object == NULL) {
        goto done;
    }
    if (negate && (PyFloat_Check(delta_object) || PyIndex_Check(delta_object))) {
        Py_SETREF(delta_object, PyNumber_Negative(delta_object));
    }
    if (delta_object == NULL || convert_number(delta_object, "delta", &delta) < 0) {
        goto done;
    }
    if (negate && (cache_hooks(self) & CACHE_HOOK_incr)) {
        result = PyObject_CallMethodObjArgs((PyObject *)self, self->state->name.incr, values[0],
                                            delta_object, otherwise, retry ? Py_True : Py_False,
                                            NULL);
    } else {
        result = increment(self, values[0], &delta, otherwise, retry);
    }
done:
    Py_XDECREF(delta_object);
    Py_XDECREF(otherwise);
    return result;
}

static PyObject *Cache_incr(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"incr", 1, 4, {"key", "delta", "default", "retry"}};

    return increment_method(self, &table, 0, args, nargs, kwnames);
}

static PyObject *Cache_decr(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"decr", 1, 4, {"key", "delta", "default", "retry"}};

    return increment_method(self, &table, 1, args, nargs, kwnames);
}

/* Delete a key: 1, 0 if it was absent or had expired, -1 with an exception. */
static int delete_key(Cache *self, PyObject *key, int retry)
{
    Operation operation = {.cache = NULL};
    disk_key put = {.owner = NULL};
    location location = {.key = &put.key};
    dc_status status;
    double now;
    int there = 0;
    int result = -1;

    if (cache_ready(self) < 0 || disk_put(self->state, self->disk, key, &put) < 0) {
        return -1;
    }
    dc_row_init(&location.row);
    if (convert_now(self->state, &now) < 0 || operation_begin_write(&operation, self, retry) < 0) {
        goto done;
    }
    status = operation_write(&operation, locate, &location);
    if (status != DC_OK && status != DC_NOT_FOUND) {
        operation_fail(&operation, status);
        goto done;
    }
    there = status == DC_OK && dc_columns_alive(&location.row.columns, now);
    if (there && delete_row(&operation, &location.row) < 0) {
        goto done;
    }
    result = operation_commit(&operation) < 0 ? -1 : there;
done:
    dc_row_clear(&location.row);
    disk_key_clear(&put);
    return result;
}

/* Call an overridden __delitem__(key, retry=retry); False for its KeyError. */
static PyObject *delete_by_hook(Cache *self, PyObject *key, int retry)
{
    module_state *state = self->state;
    PyObject *names = PyTuple_Pack(1, state->name.retry);
    PyObject *arguments[] = {(PyObject *)self, key, retry ? Py_True : Py_False};
    PyObject *result = NULL;

    if (names != NULL) {
        result = PyObject_VectorcallMethod(state->name.__delitem__, arguments, 2, names);
        Py_DECREF(names);
    }
    if (result == NULL && PyErr_ExceptionMatches(PyExc_KeyError)) {
        PyErr_Clear();
        result = Py_NewRef(Py_False);
    }
    return result;
}

PyDoc_STRVAR(Cache_delete_doc,
"delete($self, /, key, retry=False)\n--\n\n"
"Delete a key, if it is there.\n"
"\n"
":param key: any picklable object\n"
":param bool retry: wait for the lock as long as it takes\n"
":return: True if the key was there and had not expired\n"
":raises Timeout: if the lock cannot be had within the cache's timeout and retry is False\n");

static PyObject *Cache_delete(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"delete", 1, 2, {"key", "retry"}};
    PyObject *values[2];
    int retry;
    int deleted;

    if (args_parse(&table, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    retry = args_flag(values[1], 0);
    if (retry >= 0 && (cache_hooks(self) & CACHE_HOOK___delitem__)) {
        return delete_by_hook(self, values[0], retry);
    }
    deleted = retry < 0 ? -1 : delete_key(self, values[0], retry);
    return deleted < 0 ? NULL : PyBool_FromLong(deleted);
}

PyDoc_STRVAR(Cache_delitem_doc,
"__delitem__($self, /, key, retry=True)\n--\n\n"
"Delete a key.\n"
"\n"
":param key: any picklable object\n"
":param bool retry: wait for the lock as long as it takes\n"
":return: True\n"
":raises KeyError: if the key is absent or has expired\n"
":raises Timeout: if the lock cannot be had within the cache's timeout and retry is False\n");

static PyObject *Cache_delitem(Cache *self, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames)
{
    static const args_table table = {"__delitem__", 1, 2, {"key", "retry"}};
    PyObject *values[2];
    int retry;
    int deleted;

    if (args_parse(&table, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    retry = args_flag(values[1], 1);
    deleted = retry < 0 ? -1 : delete_key(self, values[0], retry);
    if (deleted == 0) {
        raise_key_error(values[0]);
    }
    return deleted > 0 ? Py_NewRef(Py_True) : NULL;
}

/* --- pop, pull, peek, peekitem ---------------------------------------------------------------- */

/* Look at the selected row, dropping those that have expired or whose file is gone: 1 with the value,
 * 0 if there is none, -1 with an exception. */
static int peek_value(Cache *self, found *found, int retry, PyObject **value)
{
    dc_status status;
    int missing;
    int alive;

    for (;;) {
        status = read_found(self, found, retry);
        if (status != DC_OK) {
            return status == DC_NOT_FOUND ? 0 : -1;
        }
        alive = is_alive(self, found->selection, &found->row.columns);
        if (alive < 0) {
            return -1;
        }
        if (alive) {
            *value = disk_fetch(self->state, self->disk, &found->row.columns, 0, &missing);
            if (*value != NULL || !missing) {
                return *value != NULL ? 1 : -1;
            }
        }
        if (delete_if_same(self, found, retry) < 0) {
            return -1;
        }
    }
}

/* One attempt at taking the selected row out, its value first. 1 taken, *value may still be NULL: then
 * its file was missing; 0 there is none; 2 look again; -1 with an exception. */
static int try_take(Cache *self, found *found, int retry, PyObject **value)
{
    Operation operation = {.cache = NULL};
    int by_key = found->selection->kind == SELECT_KEY;
    dc_status status;
    int missing = 0;
    int alive;
    int locked;
    int deleted;

    if (operation_begin_write(&operation, self, retry) < 0) {
        return -1;
    }
    status = operation_write(&operation, find_row, found);
    if (status == DC_NOT_FOUND) {
        return operation_commit(&operation) < 0 ? -1 : 0;
    }
    if (status != DC_OK) {
        return operation_fail(&operation, status);
    }
    alive = is_alive(self, found->selection, &found->row.columns);
    if (alive == 0 && by_key) {
        return operation_commit(&operation) < 0 ? -1 : 0;
    }
    locked = self->transaction.depth > 1 ||
             disk_fetch_is_native(self->state, self->disk, &found->row.columns);
    if (alive > 0 && !locked) {
        operation_rollback(&operation); /* unpickling runs Python: not under the lock */
    }
    if (alive > 0) {
        *value = disk_fetch(self->state, self->disk, &found->row.columns, 0, &missing);
    }
    if (alive < 0 || (alive > 0 && *value == NULL && !missing)) {
        if (alive < 0 || locked) {
            operation_rollback(&operation);
        }
        return -1;
    }
    if (alive > 0 && !locked) {
        deleted = delete_if_same(self, found, retry);
        return deleted == 0 ? 2 : deleted;
    }
    if (delete_row(&operation, &found->row) < 0 || operation_commit(&operation) < 0) {
        return -1;
    }
    return alive ? 1 : 2;
}

/* Take the selected row out of the table: 1 with its value, 0, -1. */
static int take_value(Cache *self, found *found, int retry, PyObject **value)
{
    int taken;

    for (;;) {
        *value = NULL;
        taken = try_take(self, found, retry, value);
        if (taken == 1 && *value != NULL) {
            return 1;
        }
        if (taken == 1 && found->selection->kind == SELECT_KEY) {
            return 0;
        }
        if (taken <= 0) {
            Py_CLEAR(*value);
            return taken;
        }
        Py_CLEAR(*value);
    }
}

PyDoc_STRVAR(Cache_pop_doc,
"pop($self, /, key, default=None, expire_time=False, tag=False, retry=False)\n--\n\n"
"Delete a key and return its value, atomically.\n"
"\n"
"If the value cannot be unpickled the error is raised and the item stays.\n"
"\n"
":param key: any picklable object\n"
":param default: what to return if the key is absent or has expired\n"
":param bool expire_time: return the expire time too (seconds since the epoch, or None)\n"
":param bool tag: return the tag too\n"
":param bool retry: wait for the lock as long as it takes\n"
":return: the value, or the default; a tuple with expire time and tag, in this order, if asked for\n"
":raises Timeout: if the lock cannot be had within the cache's timeout and retry is False\n");

static PyObject *Cache_pop(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"pop", 1, 5, {"key", "default", "expire_time", "tag", "retry"}};
    static const int defaults[3] = {0, 0, 0};
    PyObject *values[5];
    int flags[3]; /* expire_time, tag, retry */
    disk_key put = {.owner = NULL};
    selection selection = {.kind = SELECT_KEY, .key = &put.key, .details = DC_DETAIL_ALL};
    found found = {.selection = &selection};
    PyObject *value = NULL;
    PyObject *result = NULL;
    int taken;

    if (args_parse(&table, args, nargs, kwnames, values) < 0 ||
        read_flags(values + 2, 3, defaults, flags) < 0 || cache_ready(self) < 0 ||
        disk_put(self->state, self->disk, values[0], &put) < 0) {
        return NULL;
    }
    dc_row_init(&found.row);
    taken = take_value(self, &found, flags[2], &value);
    if (taken > 0) {
        result = with_details(value, &found.row.columns, flags[0], flags[1]);
    } else if (taken == 0) {
        result = with_details(or_none(values[1]), NULL, flags[0], flags[1]);
    }
    dc_row_clear(&found.row);
    disk_key_clear(&put);
    return result;
}

/* ((key, value), ...) from a row with its key; `value` is stolen. */
static PyObject *pair_with_details(PyObject *key, PyObject *value, const dc_columns *columns,
                                   const int *flags)
{
    PyObject *pair = key != NULL && value != NULL ? PyTuple_Pack(2, key, value) : NULL;

    Py_XDECREF(key);
    Py_XDECREF(value);
    return with_details(pair, columns, flags[0], flags[1]);
}

/* pull() and peek(). */
static PyObject *queue_method(Cache *self, const args_table *table,
                              int (*obtain)(Cache *, found *, int, PyObject **),
                              PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const int defaults[3] = {0, 0, 0};
    PyObject *values[6];
    int flags[3]; /* expire_time, tag, retry */
    selection selection = {.kind = SELECT_QUEUE};
    found found = {.selection = &selection};
    PyObject *value = NULL;
    PyObject *otherwise;
    PyObject *result = NULL;
    int obtained;

    if (args_parse(table, args, nargs, kwnames, values) < 0 ||
        parse_queue(values[0], &selection.queue) < 0 ||
        parse_side(values[2], DC_FRONT, &selection.side) < 0 ||
        read_flags(values + 3, 3, defaults, flags) < 0 || cache_ready(self) < 0) {
        return NULL;
    }
    dc_row_init(&found.row);
    obtained = obtain(self, &found, flags[2], &value);
    if (obtained > 0) {
        result = pair_with_details(convert_from_datum(&found.row.key.datum), value,
                                   &found.row.columns, flags);
    } else if (obtained == 0) {
        otherwise = values[1] != NULL ? Py_NewRef(values[1]) : PyTuple_Pack(2, Py_None, Py_None);
        result = with_details(otherwise, NULL, flags[0], flags[1]);
    }
    dc_row_clear(&found.row);
    return result;
}

#define QUEUE_PARAMETERS {"prefix", "default", "side", "expire_time", "tag", "retry"}
#define QUEUE_DOC                                                                                  \
    ":param str prefix: names the queue, as for push()\n"                                          \
    ":param default: what to return if the queue is empty\n"                                       \
    ":param str side: 'front' or 'back' of the queue\n"                                            \
    ":param bool expire_time: return the expire time too (seconds since the epoch, or None)\n"     \
    ":param bool tag: return the tag too\n"                                                        \
    ":param bool retry: wait for a lock as long as it takes\n"                                     \
    ":return: (key, value), or the default; a tuple of it with expire time and tag, in this\n"     \
    "    order, if asked for\n"                                                                    \
    ":raises Timeout: if the lock cannot be had within the cache's timeout and retry is False\n"   \
    ":raises TypeError: if prefix is of the wrong type\n"                                          \
    ":raises ValueError: if side is none of the two\n"

PyDoc_STRVAR(Cache_pull_doc,
"pull($self, /, prefix=None, default=(None, None), side='front', expire_time=False, tag=False, "
"retry=False)\n--\n\n"
"Take the next item out of a queue, atomically.\n"
"\n"
"Items that have expired are dropped on the way. If the value cannot be unpickled the error is raised\n"
"and the item stays.\n"
"\n" QUEUE_DOC);

static PyObject *Cache_pull(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"pull", 0, 6, QUEUE_PARAMETERS};

    return queue_method(self, &table, take_value, args, nargs, kwnames);
}

PyDoc_STRVAR(Cache_peek_doc,
"peek($self, /, prefix=None, default=(None, None), side='front', expire_time=False, tag=False, "
"retry=False)\n--\n\n"
"Look at the next item of a queue.\n"
"\n"
"Items that have expired are dropped on the way.\n"
"\n" QUEUE_DOC);

static PyObject *Cache_peek(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"peek", 0, 6, QUEUE_PARAMETERS};

    return queue_method(self, &table, peek_value, args, nargs, kwnames);
}

PyDoc_STRVAR(Cache_peekitem_doc,
"peekitem($self, /, last=True, expire_time=False, tag=False, retry=False)\n--\n\n"
"Look at the item inserted last, or first.\n"
"\n"
"Items that have expired are dropped on the way.\n"
"\n"
":param bool last: the last one, or the first\n"
":param bool expire_time: return the expire time too (seconds since the epoch, or None)\n"
":param bool tag: return the tag too\n"
":param bool retry: wait for a lock as long as it takes\n"
":return: (key, value); a tuple of it with expire time and tag, in this order, if asked for\n"
":raises KeyError: if the cache is empty\n"
":raises Timeout: if the lock cannot be had within the cache's timeout and retry is False\n");

static PyObject *Cache_peekitem(Cache *self, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    static const args_table table = {"peekitem", 0, 4, {"last", "expire_time", "tag", "retry"}};
    static const int defaults[4] = {1, 0, 0, 0};
    PyObject *values[4];
    int flags[4]; /* last, expire_time, tag, retry */
    selection selection = {.kind = SELECT_END};
    found found = {.selection = &selection};
    PyObject *value = NULL;
    PyObject *result = NULL;
    int obtained;

    if (args_parse(&table, args, nargs, kwnames, values) < 0 ||
        read_flags(values, 4, defaults, flags) < 0 || cache_ready(self) < 0) {
        return NULL;
    }
    selection.last = flags[0];
    dc_row_init(&found.row);
    obtained = peek_value(self, &found, flags[3], &value);
    if (obtained > 0) {
        result = pair_with_details(disk_get(self->state, self->disk, &found.row.key), value,
                                   &found.row.columns, flags + 1);
    } else if (obtained == 0) {
        PyErr_SetString(PyExc_KeyError, "dictionary is empty");
    }
    dc_row_clear(&found.row);
    return result;
}

/* --- many rows -------------------------------------------------------------------------------- */

typedef struct sweeping {
    dc_sweep sweep;
    dc_namelist *removed;
    int64_t count;
    int done;
} sweeping;

static dc_status sweep_portion(dc_db *db, void *context)
{
    sweeping *sweeping = context;

    return dc_store_sweep(db, &sweeping->sweep, SWEEP_SECONDS, sweeping->removed, &sweeping->count,
                          &sweeping->done);
}

/* Delete in portions, each a transaction; sweeping->count grows. -1 with an exception; a Timeout
 * carries the number of rows deleted, as the original's does. */
static int sweep_rows(Cache *self, sweeping *sweeping, int retry)
{
    dc_status status;
    int64_t committed = sweeping->count;

    sweeping->removed = &self->transaction.removed;
    while (!sweeping->done) {
        Operation operation = {.cache = NULL};

        if (operation_begin_write(&operation, self, retry) < 0) {
            if (PyErr_ExceptionMatches(self->state->Timeout)) {
                PyObject *count = PyLong_FromLongLong(committed);

                PyErr_Clear();
                if (count != NULL) {
                    PyErr_SetObject(self->state->Timeout, count);
                    Py_DECREF(count);
                }
            }
            return -1;
        }
        status = operation_write(&operation, sweep_portion, sweeping);
        if (status != DC_OK) {
            return operation_fail(&operation, status);
        }
        if (operation_commit(&operation) < 0 || PyErr_CheckSignals() < 0) {
            return -1;
        }
        committed = sweeping->count;
    }
    return 0;
}

/* One sweep as a method's result. */
static PyObject *sweep_method(Cache *self, sweeping *sweeping, int retry)
{
    if (retry < 0 || cache_ready(self) < 0 || sweep_rows(self, sweeping, retry) < 0) {
        return NULL;
    }
    return PyLong_FromLongLong(sweeping->count);
}

#define SWEEP_DOC                                                                                  \
    ":param bool retry: wait for the lock as long as it takes\n"                                   \
    ":return: number of items removed\n"                                                           \
    ":raises Timeout: if the lock cannot be had within the cache's timeout and retry is False;\n"  \
    "    its argument is the number of items removed until then\n"

PyDoc_STRVAR(Cache_clear_doc,
"clear($self, /, retry=False)\n--\n\n"
"Remove all items.\n"
"\n" SWEEP_DOC);

static PyObject *Cache_clear(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"clear", 0, 1, {"retry"}};
    sweeping sweeping = {.sweep = {DC_SQL_VICTIM_ANY, 1, INT64_MIN, {.type = DC_NULL}, -1}};
    PyObject *retry;

    return args_parse(&table, args, nargs, kwnames, &retry) < 0
               ? NULL
               : sweep_method(self, &sweeping, args_flag(retry, 0));
}

PyDoc_STRVAR(Cache_evict_doc,
"evict($self, /, tag, retry=False)\n--\n\n"
"Remove the items with a tag.\n"
"\n"
":param tag: int, float, str or bytes, as given to set()\n" SWEEP_DOC
":raises TypeError: if the tag is of the wrong type\n");

static PyObject *Cache_evict(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"evict", 1, 2, {"tag", "retry"}};
    sweeping sweeping = {.sweep = {DC_SQL_VICTIM_TAGGED, 1, INT64_MIN, {.type = DC_NULL}, -1}};
    PyObject *values[2];
    PyObject *owner = NULL;
    PyObject *result = NULL;

    if (args_parse(&table, args, nargs, kwnames, values) < 0 ||
        convert_to_datum(values[0], "tag", &sweeping.sweep.parameter, &owner) < 0) {
        Py_XDECREF(owner);
        return NULL;
    }
    sweeping.done = values[0] == Py_None; /* NULL equals nothing */
    result = sweep_method(self, &sweeping, args_flag(values[1], 0));
    Py_XDECREF(owner);
    return result;
}

/* The sweep over what had expired at `now` (None: the present). */
static int prepare_expiry(Cache *self, PyObject *now, sweeping *sweeping)
{
    dc_datum *time = &sweeping->sweep.parameter;

    memset(sweeping, 0, sizeof *sweeping);
    sweeping->sweep.victim = DC_SQL_VICTIM_EXPIRED;
    sweeping->sweep.after = INT64_MIN;
    sweeping->sweep.stop_volume = -1;
    time->type = DC_REAL;
    if (now != NULL && now != Py_None) {
        if (convert_seconds(now, "now", &time->as.real) < 0) {
            return -1;
        }
        if (time->as.real != 0.0) { /* the original takes 0 for None */
            return 0;
        }
    }
    return convert_now(self->state, &time->as.real);
}

PyDoc_STRVAR(Cache_expire_doc,
"expire($self, /, now=None, retry=False)\n--\n\n"
"Remove the items that have expired.\n"
"\n"
":param float now: the time to go by, in seconds since the epoch (None: the present)\n" SWEEP_DOC
":raises TypeError: if now is not a number\n");

static PyObject *Cache_expire(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"expire", 0, 2, {"now", "retry"}};
    sweeping sweeping;
    PyObject *values[2];

    if (args_parse(&table, args, nargs, kwnames, values) < 0 ||
        prepare_expiry(self, values[0], &sweeping) < 0) {
        return NULL;
    }
    return sweep_method(self, &sweeping, args_flag(values[1], 0));
}

PyDoc_STRVAR(Cache_cull_doc,
"cull($self, /, retry=False)\n--\n\n"
"Remove the items that have expired, then others, in the order of the eviction policy, until the\n"
"volume is within size_limit.\n"
"\n" SWEEP_DOC);

static PyObject *Cache_cull(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"cull", 0, 1, {"retry"}};
    dc_sql victim = dc_policies[self->rules.policy].victim;
    sweeping sweeping;
    PyObject *value;
    int retry;

    if (args_parse(&table, args, nargs, kwnames, &value) < 0 || cache_ready(self) < 0) {
        return NULL;
    }
    retry = args_flag(value, 0);
    if (retry < 0 || prepare_expiry(self, NULL, &sweeping) < 0 ||
        sweep_rows(self, &sweeping, retry) < 0) {
        return NULL;
    }
    if (victim != DC_NO_SQL) {
        sweeping.sweep = (dc_sweep){victim, 0, INT64_MIN, {.type = DC_NULL}, 0};
        sweeping.sweep.stop_volume = self->rules.size_limit > 0 ? self->rules.size_limit : 0;
        sweeping.done = 0;
        if (sweep_rows(self, &sweeping, retry) < 0) {
            return NULL;
        }
    }
    return PyLong_FromLongLong(sweeping.count);
}

/* --- private steps that programs call or override ----------------------------------------------- */

/* Take the tuple (expire_time, tag, size, mode, filename, value). */
static int columns_from_tuple(PyObject *tuple, dc_columns *columns, PyObject **tag_owner,
                              PyObject **value_owner)
{
    PyObject *expire_time, *tag, *value;
    long long size, mode;

    memset(columns, 0, sizeof *columns);
    if (!PyTuple_Check(tuple)) {
        PyErr_SetString(PyExc_TypeError, "columns must be a tuple "
                                         "(expire_time, tag, size, mode, filename, value)");
        return -1;
    }
    if (!PyArg_ParseTuple(tuple, "OOLLzO:columns", &expire_time, &tag, &size, &mode,
                          &columns->filename, &value)) {
        return -1;
    }
    columns->size = size;
    columns->mode = mode;
    if (convert_expire(expire_time, 0.0, columns) < 0 ||
        convert_to_datum(tag, "tag", &columns->tag, tag_owner) < 0) {
        return -1;
    }
    return convert_to_datum(value, "value", &columns->value, value_owner);
}

/* One row to insert (key) or update (rowid). */
typedef struct row_writing {
    const dc_key *key; /* or NULL: update */
    int64_t rowid;
    double now;
    dc_columns columns;
} row_writing;

static dc_status write_row(dc_db *db, void *context)
{
    row_writing *writing = context;

    return writing->key != NULL
               ? dc_store_insert(db, writing->key, &writing->columns, writing->now, &writing->rowid)
               : dc_store_update(db, writing->rowid, 0, &writing->columns, writing->now);
}

static PyObject *row_method(Cache *self, row_writing *writing, PyObject *tuple)
{
    Operation operation = {.cache = NULL};
    PyObject *tag_owner = NULL;
    PyObject *value_owner = NULL;
    PyObject *result = NULL;
    dc_status status;

    if (cache_ready(self) == 0 &&
        columns_from_tuple(tuple, &writing->columns, &tag_owner, &value_owner) == 0 &&
        operation_begin_write(&operation, self, 1) == 0) {
        status = operation_write(&operation, write_row, writing);
        if (status != DC_OK) {
            operation_fail(&operation, status);
        } else if (operation_commit(&operation) == 0) {
            result = Py_NewRef(Py_None);
        }
    }
    Py_XDECREF(value_owner);
    Py_XDECREF(tag_owner);
    return result;
}

PyDoc_STRVAR(Cache_row_insert_doc,
"_row_insert($self, /, key, raw, now, columns)\n--\n\n"
"Insert a row, in the thread's open transaction.\n");

static PyObject *Cache_row_insert(Cache *self, PyObject *const *args, Py_ssize_t nargs,
                                  PyObject *kwnames)
{
    static const args_table table = {"_row_insert", 4, 4, {"key", "raw", "now", "columns"}};
    PyObject *values[4];
    PyObject *owner = NULL;
    PyObject *result = NULL;
    dc_key key;
    row_writing writing = {.key = &key};

    if (args_parse(&table, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    key.raw = PyObject_IsTrue(values[1]);
    if (key.raw >= 0 && convert_to_datum(values[0], "key", &key.datum, &owner) == 0 &&
        convert_seconds(values[2], "now", &writing.now) == 0) {
        result = row_method(self, &writing, values[3]);
    }
    Py_XDECREF(owner);
    return result;
}

PyDoc_STRVAR(Cache_row_update_doc,
"_row_update($self, /, rowid, now, columns)\n--\n\n"
"Update a row, in the thread's open transaction.\n");

static PyObject *Cache_row_update(Cache *self, PyObject *const *args, Py_ssize_t nargs,
                                  PyObject *kwnames)
{
    static const args_table table = {"_row_update", 3, 3, {"rowid", "now", "columns"}};
    PyObject *values[3];
    row_writing writing = {.key = NULL};

    if (args_parse(&table, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    writing.rowid = PyLong_AsLongLong(values[0]);
    if ((writing.rowid == -1 && PyErr_Occurred()) ||
        convert_seconds(values[1], "now", &writing.now) < 0) {
        return NULL;
    }
    return row_method(self, &writing, values[2]);
}

typedef struct culling {
    double now;
    int64_t limit;
    const dc_rules *rules;
    dc_namelist *removed;
    int64_t keep;
    int64_t count;
} culling;

static dc_status cull_rows(dc_db *db, void *context)
{
    culling *culling = context;

    return dc_store_cull(db, culling->now, culling->limit, culling->rules, culling->keep,
                         culling->removed, &culling->count);
}

PyDoc_STRVAR(Cache_cull_step_doc,
"_cull($self, /, now, sql, cleanup, limit=None)\n--\n\n"
"Remove expired items and, above size_limit, others, as every write does at its end.\n"
"\n"
"The row written last in this transaction stays.\n"
"\n"
":param float now: seconds since the epoch\n"
":param sql: not used; the thread's open transaction is\n"
":param cleanup: not used\n"
":param int limit: number of items to remove at most (None: cull_limit)\n");

static PyObject *Cache_cull_step(Cache *self, PyObject *const *args, Py_ssize_t nargs,
                                 PyObject *kwnames)
{
    static const args_table table = {"_cull", 3, 4, {"now", "sql", "cleanup", "limit"}};
    PyObject *values[4];
    Operation operation = {.cache = NULL};
    dc_row_hooks hooks = {.context = NULL};
    dc_rules rules = current_rules(self, &hooks);
    culling culling = {.limit = rules.cull_limit, .rules = &rules};
    dc_status status;

    if (args_parse(&table, args, nargs, kwnames, values) < 0 || cache_ready(self) < 0 ||
        convert_seconds(values[0], "now", &culling.now) < 0) {
        return NULL;
    }
    if (values[3] != NULL && values[3] != Py_None) {
        culling.limit = PyLong_AsLongLong(values[3]);
        if (culling.limit == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    if (operation_begin_write(&operation, self, 1) < 0) {
        return NULL;
    }
    culling.removed = &self->transaction.removed;
    culling.keep = sqlite.last_insert_rowid(operation.session->db.handle);
    status = operation_write(&operation, cull_rows, &culling);
    if (status != DC_OK) {
        operation_fail(&operation, status);
        return NULL;
    }
    if (operation_commit(&operation) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* --- sizes and settings ----------------------------------------------------------------------- */

static dc_status read_volume(dc_db *db, void *context)
{
    return dc_store_volume(db, 1, context);
}

static dc_status read_count(dc_db *db, void *context)
{
    return dc_store_setting_integer(db, "count", context);
}

/* Read one number; -1 with an exception. */
static int read_number(Cache *self, operation_call call, int64_t *number)
{
    Operation operation = {.cache = NULL};
    dc_status status;

    if (cache_ready(self) < 0 || operation_begin_read(&operation, self) < 0) {
        return -1;
    }
    status = operation_read(&operation, call, number, 0);
    operation_end_read(&operation);
    return status == DC_CALLBACK ? -1 : 0;
}

Py_ssize_t cache_length(Cache *self)
{
    int64_t count = 0;

    return read_number(self, read_count, &count) < 0 ? -1 : (Py_ssize_t)(count > 0 ? count : 0);
}

PyDoc_STRVAR(Cache_volume_doc,
"volume($self, /)\n--\n\n"
"Return the size of the cache on disk: the database's pages and the value files.\n"
"\n"
":return: bytes\n");

static PyObject *Cache_volume(Cache *self, PyObject *Py_UNUSED(unused))
{
    int64_t volume = 0;

    return read_number(self, read_volume, &volume) < 0 ? NULL : PyLong_FromLongLong(volume);
}

typedef struct setting_reading {
    const char *name;
    dc_row row;
} setting_reading;

static dc_status read_setting(dc_db *db, void *context)
{
    setting_reading *reading = context;

    return dc_store_setting(db, reading->name, &reading->row);
}

PyDoc_STRVAR(Cache_setting_doc,
"_setting($self, name, /)\n--\n\n"
"Return a stored setting.\n"
"\n"
":raises KeyError: if there is none of this name\n");

static PyObject *Cache_setting(Cache *self, PyObject *name)
{
    Operation operation = {.cache = NULL};
    setting_reading reading = {.name = PyUnicode_AsUTF8(name)};
    PyObject *value = NULL;
    dc_status status;

    if (reading.name == NULL || cache_ready(self) < 0 ||
        operation_begin_read(&operation, self) < 0) {
        return NULL;
    }
    dc_row_init(&reading.row);
    status = operation_read(&operation, read_setting, &reading, 0);
    operation_end_read(&operation);
    if (status == DC_OK) {
        value = convert_from_datum(&reading.row.columns.value);
    } else if (status == DC_NOT_FOUND) {
        raise_key_error(name);
    }
    dc_row_clear(&reading.row);
    return value;
}

typedef struct setting_writing {
    const char *name;
    dc_datum value;
} setting_writing;

static dc_status write_setting(dc_db *db, void *context)
{
    const setting_writing *writing = context;

    return dc_store_set_setting(db, DC_SQL_SETTING_UPDATE, writing->name, &writing->value);
}

PyDoc_STRVAR(Cache_update_setting_doc,
"_update_setting($self, name, value, /)\n--\n\n"
"Change a stored setting; one that is not stored stays so.\n");

static PyObject *Cache_update_setting(Cache *self, PyObject *const *args, Py_ssize_t nargs)
{
    Operation operation = {.cache = NULL};
    setting_writing writing;
    PyObject *owner = NULL;
    PyObject *result = NULL;
    dc_status status;

    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "_update_setting() takes a name and a value");
        return NULL;
    }
    writing.name = PyUnicode_AsUTF8(args[0]);
    if (writing.name != NULL && cache_ready(self) == 0 &&
        convert_to_datum(args[1], writing.name, &writing.value, &owner) == 0 &&
        operation_begin_write(&operation, self, 1) == 0) {
        status = operation_write(&operation, write_setting, &writing);
        if (status != DC_OK) {
            operation_fail(&operation, status);
        } else if (operation_commit(&operation) == 0) {
            result = Py_NewRef(Py_None);
        }
    }
    Py_XDECREF(owner);
    return result;
}

static dc_status set_pragma(dc_db *db, void *context)
{
    const setting_writing *writing = context;

    return dc_db_set_pragma(db, writing->name, &writing->value);
}

PyDoc_STRVAR(Cache_set_pragma_doc,
"_set_pragma($self, name, value, /)\n--\n\n"
"Set a pragma of SQLite: on one session now, on the others when they are opened again.\n"
"\n"
":param str name: of the pragma, letters and underscores\n"
":param value: int, float or one word\n"
":raises ValueError: if name or value could not be part of a PRAGMA statement\n");

static PyObject *Cache_set_pragma(Cache *self, PyObject *const *args, Py_ssize_t nargs)
{
    Operation operation = {.cache = NULL};
    setting_writing writing;
    PyObject *owner = NULL;
    PyObject *result = NULL;
    dc_status status = DC_CALLBACK;

    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "_set_pragma() takes a name and a value");
        return NULL;
    }
    writing.name = PyUnicode_AsUTF8(args[0]);
    if (writing.name == NULL || cache_ready_to_open(self) < 0 ||
        convert_to_datum(args[1], writing.name, &writing.value, &owner) < 0 ||
        operation_begin_read(&operation, self) < 0) {
        goto done;
    }
    status = operation_read(&operation, set_pragma, &writing, 0);
    if (status == DC_OK) {
        session_examine(operation.session);
    }
    session_close_idle(self->state, &self->pool, 0);
    operation_end_read(&operation);
    if (status == DC_OK) {
        result = Py_NewRef(Py_None);
    } else if (PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Format(PyExc_ValueError, "sqlite_%U: %R cannot be set as a pragma", args[0], args[1]);
    }
done:
    Py_XDECREF(owner);
    return result;
}

/* Put one row into a dict, first column to second. Neither runs Python code: keys are str, and nothing
 * that the garbage collector tracks is made. */
static dc_status collect_row(void *context, const dc_datum *first, const dc_datum *second)
{
    PyObject *key = convert_from_datum(first);
    PyObject *value = convert_from_datum(second);
    dc_status status = DC_CALLBACK;

    if (key != NULL && value != NULL && PyDict_SetItem(context, key, value) == 0) {
        status = DC_OK;
    }
    Py_XDECREF(value);
    Py_XDECREF(key);
    return status;
}

/* The rows of a query as a dict, empty if a table is missing. The GIL stays. */
static PyObject *collect_rows(Cache *self, Operation *operation, const char *sql)
{
    dc_db *db = &operation->session->db;
    PyObject *rows = PyDict_New();
    session_wait wait;
    dc_status status;
    int again = 1;

    if (rows == NULL) {
        return NULL;
    }
    session_wait_start(&wait, 0.0, 1);
    do {
        PyDict_Clear(rows);
        status = dc_db_query(db, sql, collect_row, rows);
    } while (status == DC_BUSY && (again = session_wait_more(&wait)) > 0);
    if (status == DC_SQLITE && (db->error.sqlite_code & 0xff) == DC_SQLITE_ERROR) {
        status = DC_OK; /* no such table */
    }
    if (status != DC_OK) {
        if (again > 0) {
            convert_raise(self->state, status, &db->error);
        }
        Py_CLEAR(rows);
    }
    return rows;
}

PyDoc_STRVAR(Cache_inspect_doc,
"_inspect($self, /)\n--\n\n"
"Read what a directory holds, without changing it.\n"
"\n"
":return: (stored settings by name, names of the tables, indexes and triggers as keys, page size)\n");

static PyObject *Cache_inspect(Cache *self, PyObject *Py_UNUSED(unused))
{
    Operation operation = {.cache = NULL};
    PyObject *settings = NULL;
    PyObject *schema = NULL;
    PyObject *page_size = NULL;
    PyObject *result = NULL;

    if (cache_ready_to_open(self) < 0 || operation_begin_read(&operation, self) < 0) {
        return NULL;
    }
    settings = collect_rows(self, &operation, DC_SELECT_SETTINGS);
    if (settings != NULL) {
        schema = collect_rows(self, &operation, DC_SELECT_SCHEMA);
    }
    if (schema != NULL) {
        page_size = collect_rows(self, &operation, dc_sql_text[DC_SQL_PAGE_SIZE]);
    }
    operation_end_read(&operation);
    if (page_size != NULL) {
        PyObject *size = NULL;
        Py_ssize_t position = 0;

        if (PyDict_Next(page_size, &position, &size, NULL)) {
            result = PyTuple_Pack(3, settings, schema, size);
        }
    }
    Py_XDECREF(page_size);
    Py_XDECREF(schema);
    Py_XDECREF(settings);
    return result;
}

/* --- the rest --------------------------------------------------------------------------------- */

PyDoc_STRVAR(Cache_connection_doc,
"_connection($self, /)\n--\n\n"
"Return the sqlite3.Connection of this thread: what the property _con is.\n"
"\n"
":raises RuntimeError: if sqlite3 has been replaced by one with another copy of SQLite\n");

static PyObject *Cache_connection(Cache *self, PyObject *Py_UNUSED(unused))
{
    return cache_connection(self);
}

PyDoc_STRVAR(Cache_close_doc,
"close($self, /)\n--\n\n"
"Close the connections that are not in use.\n"
"\n"
"The cache can be used again afterwards: the next operation opens what it needs. Open transactions\n"
"and the connections of other threads that use `_con` stay.\n");

static PyObject *Cache_close(Cache *self, PyObject *Py_UNUSED(unused))
{
    module_state *state = self->state;
    PyObject *connection = NULL;

    if (cache_ready_to_open(self) < 0) {
        return NULL;
    }
    session_close_idle(state, &self->pool, 1);
    if (self->local == NULL || session_pinned(&self->pool) != NULL) {
        Py_RETURN_NONE;
    }
    connection = PyObject_GetAttr(self->local, state->name.con);
    if (connection != NULL && (cache_hooks(self) & CACHE_HOOK__con)) {
        Py_XDECREF(PyObject_CallMethodNoArgs(connection, state->name.close));
    }
    if (connection != NULL && !PyErr_Occurred()) {
        PyObject_SetAttr(self->local, state->name.con, NULL);
    }
    Py_XDECREF(connection);
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return NULL;
    }
    PyErr_Clear();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Cache_transact_doc,
"transact($self, /, retry=False)\n--\n\n"
"Return a context manager for a transaction.\n"
"\n"
"All operations of this thread (and asyncio task) inside the block happen together or, if the block\n"
"raises, not at all. Others cannot write meanwhile. Blocks may nest; the outermost one commits.\n"
"\n"
":param bool retry: wait for the lock as long as it takes\n"
":return: context manager, whose __enter__ raises Timeout if the lock cannot be had within the\n"
"    cache's timeout and retry is False, and RuntimeError if another asyncio task of this thread\n"
"    has a transaction open\n");

static PyObject *Cache_transact(Cache *self, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    static const args_table table = {"transact", 0, 1, {"retry"}};
    PyObject *value;
    int retry;

    if (args_parse(&table, args, nargs, kwnames, &value) < 0) {
        return NULL;
    }
    retry = args_flag(value, 0);
    return retry < 0 || cache_ready(self) < 0 ? NULL : transaction_new(self, retry, 0, NULL);
}

PyDoc_STRVAR(Cache_transact_step_doc,
"_transact($self, /, retry=False, filename=None)\n--\n\n"
"Return a context manager for a transaction, giving (sql, cleanup).\n"
"\n"
"`sql` executes a statement in the transaction; `cleanup` names a value file to be removed once it\n"
"has been committed.\n"
"\n"
":param bool retry: wait for the lock as long as it takes\n"
":param str filename: value file to be removed if the transaction does not come about\n");

static PyObject *Cache_transact_step(Cache *self, PyObject *const *args, Py_ssize_t nargs,
                                     PyObject *kwnames)
{
    static const args_table table = {"_transact", 0, 2, {"retry", "filename"}};
    PyObject *values[2];
    int retry;

    if (args_parse(&table, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    retry = args_flag(values[0], 0);
    return retry < 0 || cache_ready_to_open(self) < 0 ? NULL
                                                      : transaction_new(self, retry, 1, values[1]);
}

PyDoc_STRVAR(Cache_iterkeys_doc,
"iterkeys($self, /, reverse=False)\n--\n\n"
"Return an iterator over the keys in the order of the database's sorting.\n"
"\n"
":param bool reverse: from the last to the first\n"
":return: iterator; items that have expired are included\n");

static PyObject *Cache_iterkeys(Cache *self, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    static const args_table table = {"iterkeys", 0, 1, {"reverse"}};
    PyObject *value;
    int reverse;

    if (args_parse(&table, args, nargs, kwnames, &value) < 0) {
        return NULL;
    }
    reverse = args_flag(value, 0);
    return reverse < 0 ? NULL : iterator_new(self, reverse ? DC_BY_KEY_DOWN : DC_BY_KEY);
}

PyObject *cache_iterate(Cache *self)
{
    return iterator_new(self, DC_BY_ROWID);
}

static PyObject *Cache_reversed(Cache *self, PyObject *Py_UNUSED(unused))
{
    return iterator_new(self, DC_BY_ROWID_DOWN);
}

static PyObject *Cache_enter(Cache *self, PyObject *Py_UNUSED(unused))
{
    return cache_ready(self) < 0 ? NULL : Py_NewRef((PyObject *)self);
}

PyMethodDef cache_operation_methods[] = {
    {"get", ARGS_METHOD(Cache_get), Cache_get_doc},
    {"read", ARGS_METHOD(Cache_read), Cache_read_doc},
    {"set", ARGS_METHOD(Cache_set), Cache_set_doc},
    {"add", ARGS_METHOD(Cache_add), Cache_add_doc},
    {"touch", ARGS_METHOD(Cache_touch), Cache_touch_doc},
    {"incr", ARGS_METHOD(Cache_incr), Cache_incr_doc},
    {"decr", ARGS_METHOD(Cache_decr), Cache_decr_doc},
    {"delete", ARGS_METHOD(Cache_delete), Cache_delete_doc},
    /* METH_COEXIST: it takes `retry`, which the slot's own wrapper would not. */
    {"__delitem__", (PyCFunction)(void (*)(void))Cache_delitem,
     METH_FASTCALL | METH_KEYWORDS | METH_COEXIST, Cache_delitem_doc},
    {"pop", ARGS_METHOD(Cache_pop), Cache_pop_doc},
    {"push", ARGS_METHOD(Cache_push), Cache_push_doc},
    {"pull", ARGS_METHOD(Cache_pull), Cache_pull_doc},
    {"peek", ARGS_METHOD(Cache_peek), Cache_peek_doc},
    {"peekitem", ARGS_METHOD(Cache_peekitem), Cache_peekitem_doc},
    {"clear", ARGS_METHOD(Cache_clear), Cache_clear_doc},
    {"evict", ARGS_METHOD(Cache_evict), Cache_evict_doc},
    {"expire", ARGS_METHOD(Cache_expire), Cache_expire_doc},
    {"cull", ARGS_METHOD(Cache_cull), Cache_cull_doc},
    {"iterkeys", ARGS_METHOD(Cache_iterkeys), Cache_iterkeys_doc},
    {"__reversed__", (PyCFunction)Cache_reversed, METH_NOARGS,
     PyDoc_STR("__reversed__($self, /)\n--\n\n"
               "Return an iterator over the keys, the one inserted last first.\n")},
    {"volume", (PyCFunction)Cache_volume, METH_NOARGS, Cache_volume_doc},
    {"close", (PyCFunction)Cache_close, METH_NOARGS, Cache_close_doc},
    {"transact", ARGS_METHOD(Cache_transact), Cache_transact_doc},
    {"__enter__", (PyCFunction)Cache_enter, METH_NOARGS,
     PyDoc_STR("__enter__($self, /)\n--\n\nReturn the cache.\n")},
    {"_transact", ARGS_METHOD(Cache_transact_step), Cache_transact_step_doc},
    {"_row_insert", ARGS_METHOD(Cache_row_insert), Cache_row_insert_doc},
    {"_row_update", ARGS_METHOD(Cache_row_update), Cache_row_update_doc},
    {"_cull", ARGS_METHOD(Cache_cull_step), Cache_cull_step_doc},
    {"_connection", (PyCFunction)Cache_connection, METH_NOARGS, Cache_connection_doc},
    {"_inspect", (PyCFunction)Cache_inspect, METH_NOARGS, Cache_inspect_doc},
    {"_setting", (PyCFunction)Cache_setting, METH_O, Cache_setting_doc},
    {"_update_setting", (PyCFunction)(void (*)(void))Cache_update_setting, METH_FASTCALL,
     Cache_update_setting_doc},
    {"_set_pragma", (PyCFunction)(void (*)(void))Cache_set_pragma, METH_FASTCALL,
     Cache_set_pragma_doc},
    {NULL, NULL, 0, NULL},
};
