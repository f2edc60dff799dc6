/* methods_set.c: writing single items: set, add, push, touch, incr, decr, []=, and the private steps
 * that programs call or override.
 *
 * Arguments are converted, and a value file is written, before the lock is taken; if no row comes to
 * name the file it is removed, whatever went wrong.
 */
#include "cache/item.h"

#include <string.h>

#include "cache/access.h"
#include "cache/errors.h"
#include "cache/methods.h"
#include "cache/operation.h"
#include "cache/row.h"
#include "engine/rows.h"
#include "engine/write.h"
#include "python/args.h"
#include "python/convert.h"
#include "python/fork_generation.h"
#include "python/log.h"

/* --- set, add, push ----------------------------------------------------------------------------- */

/* An item on its way into the table. */
typedef struct writing {
    const disk_key *key;   /* or NULL: push */
    const dc_queue *queue; /* push: the next two */
    dc_side side;
    const item *item;
    int only_if_absent;
    dc_row row;  /* push: receives the key */
    int written; /* result */
} writing;

/* What has been written, for the memory. */
static Written written_by(const writing *writing)
{
    const disk_value *stored = &writing->item->stored;

    if (writing->key == NULL) {
        return writing->written ? (Written){.kind = WRITTEN_ROW, .row_key = &writing->row.key}
                                : (Written){.kind = WRITTEN_NOTHING};
    }
    return writing->written ? (Written){.kind = WRITTEN_VALUE,
                                        .key = writing->key,
                                        .stored = stored,
                                        .tag = writing->item->tag_owner}
                            : (Written){.kind = WRITTEN_KEY, .key = writing->key};
}

/* Write inside SQLite. */
static dc_status write_item(Operation *operation, writing *writing)
{
    Cache *self = operation->cache;
    dc_row_hooks hooks;
    dc_rules rules = current_rules(self, &hooks);
    dc_write write = {.key = writing->key != NULL ? &writing->key->key : NULL,
                      .columns = &writing->item->stored.columns,
                      .now = writing->item->now,
                      .only_if_absent = writing->only_if_absent,
                      .rules = &rules,
                      .removed = &self->transaction.removed};
    dc_db *db = operation_enter(operation);
    dc_status status = writing->key != NULL ? dc_write_set(db, &write)
                                            : dc_queue_push(db, writing->queue, writing->side,
                                                            &write, &writing->row);

    writing->written = write.written;
    operation_leave_write(operation, written_by(writing));
    return status;
}

/* Begin, write, commit. On any failure, and if the item was not kept, its file goes. */
static int write_and_commit(Cache *self, writing *writing, int retry)
{
    const char *filename = writing->item->stored.columns.filename;
    Operation operation = {.cache = self, .generation = fork_generation()};
    dc_status status;
    int result = -1;

    writing->written = 0;
    if (operation_begin_write(&operation, self, retry) < 0) {
        goto done;
    }
    if (operation_add_file(&operation, filename) < 0) {
        operation_rollback(&operation);
        goto done;
    }
    status = write_item(&operation, writing);
    result = status == DC_OK ? operation_commit(&operation) : operation_fail(&operation, status);
done:
    if (filename != NULL && !writing->written) {
        operation_discard_file(&operation, filename, result < 0);
    }
    return result;
}

static int warn_of_tag(PyObject *read)
{
    return read != NULL && PyUnicode_Check(read)
               ? log_caution("read is a text: is it meant to be the tag?")
               : 0;
}

/* A value that is not kept is no error; but who does not look at what set() returns wonders. */
static void tell_of_size(Cache *self, const writing *writing, PyObject *key)
{
    if (!writing->written && !self->has_told_of_size &&
        dc_columns_exceed(&writing->item->stored.columns, &self->rules)) {
        self->has_told_of_size = 1;
        log_warning("%S: the value of %R is larger than size_limit, and so is not kept", self->path,
                    key);
    }
}

/* set() and add(). */
static PyObject *store_value(Cache *self, PyObject *const *values, int only_if_absent)
{
    static const int defaults[1] = {0};
    disk_key encoded = {.owner = NULL};
    item item;
    writing writing;
    PyObject *result = NULL;
    int read, retry;

    if (warn_of_tag(values[3]) < 0 || read_flags(values + 3, 1, defaults, &read) < 0 ||
        read_flags(values + 5, 1, defaults, &retry) < 0 || cache_ready(self) < 0 ||
        disk_put(self->state, self->disk, values[0], &encoded) < 0) {
        return NULL;
    }
    writing.key = &encoded;
    writing.item = &item;
    writing.only_if_absent = only_if_absent;
    if (item_prepare(self, &item, values[1], values[0], values[2], read, values[4]) == 0) {
        if (write_and_commit(self, &writing, retry) == 0) {
            tell_of_size(self, &writing, values[0]);
            result = PyBool_FromLong(writing.written);
        }
        item_clear(&item);
    }
    disk_key_clear(&encoded);
    return result;
}

METHOD_DOC(set,
"set($self, /, key, value, expire=None, read=False, tag=None, retry=False)\n--\n\n"
"Store a value under a key.\n"
"\n"
":param key: any picklable object\n"
":param value: any picklable object, or a file if read is true\n"
":param float expire: seconds until the item expires (None: never)\n"
":param bool read: value is a file opened for reading in binary mode; its bytes are stored\n"
":param tag: int, float, str or bytes to evict() by, or None\n"
":param bool retry: wait for the lock as long as it takes\n"
":return: True; False if the item is larger than size_limit and so is not kept, or a trigger of a\n"
"    user's on the table keeps it from being stored\n"
":raises Timeout: if the lock cannot be had within the cache's timeout and retry is False\n"
":raises TypeError: if expire or tag is of the wrong type\n"
":raises ValueError: if the key is NaN\n"
":raises sqlite3.Error: if the database fails\n"
":raises OSError: if the value file cannot be written\n");

PyObject *Cache_set(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {
        "set", 2, 6, {"key", "value", "expire", "read", "tag", "retry"}};
    PyObject *values[6];

    return args_parse(&table, args, nargs, kwnames, values) < 0 ? NULL
                                                                : store_value(self, values, 0);
}

METHOD_DOC(add,
"add($self, /, key, value, expire=None, read=False, tag=None, retry=False)\n--\n\n"
"Store a value under a key that is absent or has expired.\n"
"\n"
"Of several threads and processes that add one key at the same time exactly one succeeds.\n"
"Parameters and errors are those of set().\n"
"\n"
":return: True if the value was stored\n");

PyObject *Cache_add(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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
        result = PyObject_CallMethodOneArg((PyObject *)self, self->state->name.__delitem__, key);
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

METHOD_DOC(push,
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

PyObject *Cache_push(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {
        "push", 1, 7, {"value", "prefix", "side", "expire", "read", "tag", "retry"}};
    static const int defaults[1] = {0};
    PyObject *values[7];
    dc_queue queue;
    item item;
    writing writing;
    PyObject *result = NULL;
    int read, retry;

    if (args_parse(&table, args, nargs, kwnames, values) < 0 ||
        parse_queue(values[1], &queue) < 0 || parse_side(values[2], DC_BACK, &writing.side) < 0 ||
        read_flags(values + 4, 1, defaults, &read) < 0 || warn_of_tag(values[4]) < 0 ||
        read_flags(values + 6, 1, defaults, &retry) < 0 || cache_ready(self) < 0 ||
        item_prepare(self, &item, values[0], NULL, values[3], read, values[5]) < 0) {
        return NULL;
    }
    writing.key = NULL;
    writing.queue = &queue;
    writing.item = &item;
    writing.only_if_absent = 0;
    dc_row_init(&writing.row);
    if (write_and_commit(self, &writing, retry) == 0) {
        result = writing.written ? convert_from_datum(&writing.row.key.datum) : Py_NewRef(Py_None);
    }
    dc_row_clear(&writing.row);
    item_clear(&item);
    return result;
}

/* --- touch, incr, decr -------------------------------------------------------------------------- */

METHOD_DOC(touch,
"touch($self, /, key, expire=None, retry=False)\n--\n\n"
"Give an item another expiry.\n"
"\n"
":param key: any picklable object\n"
":param float expire: seconds from now until the item expires (None: never)\n"
":param bool retry: wait for the lock as long as it takes\n"
":return: True if the key was there and had not expired\n"
":raises Timeout: if the lock cannot be had within the cache's timeout and retry is False\n"
":raises TypeError: if expire is not a number\n");

PyObject *Cache_touch(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"touch", 1, 3, {"key", "expire", "retry"}};
    PyObject *values[3];
    Operation operation = {.cache = NULL};
    disk_key encoded = {.owner = NULL};
    dc_columns expire;
    double now;
    PyObject *result = NULL;
    dc_status status;
    int retry;

    if (args_parse(&table, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    memset(&expire, 0, sizeof expire);
    retry = args_flag(values[2], 0);
    if (retry < 0 || cache_ready(self) < 0 || convert_now(self->state, &now) < 0 ||
        convert_expire(values[1], now, &expire) < 0 ||
        disk_put(self->state, self->disk, values[0], &encoded) < 0) {
        return NULL;
    }
    if (operation_begin_write(&operation, self, retry) == 0) {
        status = dc_row_touch(operation_enter(&operation), &encoded.key, &expire, now);
        operation_leave_write(&operation, (Written){.kind = WRITTEN_KEY, .key = &encoded});
        if (status != DC_OK && status != DC_NOT_FOUND) {
            operation_fail(&operation, status);
        } else if (operation_commit(&operation) == 0) {
            result = PyBool_FromLong(status == DC_OK);
        }
    }
    disk_key_clear(&encoded);
    return result;
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

/* What a policy of the user's wants of a row that was found; -1 with an exception, rolled back. */
static int note_increment(Operation *operation, const dc_key *key)
{
    dc_row row;
    dc_status status;
    int64_t rowid;

    dc_row_init(&row);
    status = dc_row_locate(operation_enter(operation), key, &row);
    operation_leave(operation);
    rowid = row.rowid;
    dc_row_clear(&row);
    if (status != DC_OK) {
        return operation_fail(operation, status);
    }
    if (cache_log_by_policy(operation->cache, rowid) < 0) {
        operation_rollback(operation);
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
        PyErr_Format(PyExc_OverflowError,
                     "the value of key %R plus delta does not fit into 64 bits", key);
    }
}

static PyObject *increment(Cache *self, PyObject *key, const dc_datum *delta, PyObject *otherwise,
                           int retry)
{
    Operation operation = {.cache = self, .generation = fork_generation()};
    disk_key encoded = {.owner = NULL};
    dc_row_hooks hooks;
    dc_rules rules;
    dc_write write = {.key = &encoded.key, .rules = &rules, .removed = &self->transaction.removed};
    dc_datum sum = {.type = DC_NULL};
    item item;
    const char *filename = NULL;
    PyObject *initial = NULL;
    PyObject *result = NULL;
    dc_status status;

    memset(&item, 0, sizeof item);
    if (cache_ready(self) < 0 || disk_put(self->state, self->disk, key, &encoded) < 0) {
        return NULL;
    }
    if (otherwise != Py_None) {
        if (prepare_initial(self, &item, key, otherwise, delta, &initial) < 0) {
            goto done;
        }
        write.columns = &item.stored.columns;
        filename = item.stored.columns.filename;
    }
    if (convert_now(self->state, &write.now) < 0 ||
        operation_begin_write(&operation, self, retry) < 0) {
        goto done;
    }
    if (operation_add_file(&operation, filename) < 0) {
        operation_rollback(&operation);
        goto done;
    }
    rules = current_rules(self, &hooks);
    status = dc_write_increment(operation_enter(&operation), &write, delta, &sum);
    operation_leave_write(&operation, (Written){.kind = WRITTEN_KEY, .key = &encoded});
    if (status == DC_NOT_FOUND || status == DC_TYPE || status == DC_OVERFLOW) {
        operation_rollback(&operation); /* nothing was written */
        raise_increment(key, status);
    } else if (status != DC_OK) {
        operation_fail(&operation, status);
    } else if ((!self->own_policy_counts || write.written ||
                note_increment(&operation, &encoded.key) == 0) &&
               operation_commit(&operation) == 0) {
        result = sum.type != DC_NULL ? convert_from_datum(&sum) : or_none(initial);
    }
done:
    if (filename != NULL && !write.written) {
        operation_discard_file(&operation, filename, result == NULL);
    }
    Py_XDECREF(initial);
    item_clear(&item);
    disk_key_clear(&encoded);
    return result;
}

METHOD_DOC(incr,
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

METHOD_DOC(decr,
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

PyObject *Cache_incr(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"incr", 1, 4, {"key", "delta", "default", "retry"}};

    return increment_method(self, &table, 0, args, nargs, kwnames);
}

PyObject *Cache_decr(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"decr", 1, 4, {"key", "delta", "default", "retry"}};

    return increment_method(self, &table, 1, args, nargs, kwnames);
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
        dc_db *db = operation_enter(&operation);

        status =
            writing->key != NULL
                ? dc_row_insert(db, writing->key, &writing->columns, writing->now, &writing->rowid)
                : dc_row_update(db, writing->rowid, &writing->columns, writing->now);
        operation_leave_write(&operation, (Written){.kind = WRITTEN_ALL});
        if (status != DC_OK && status != DC_NOT_FOUND) {
            operation_fail(&operation, status);
        } else if (operation_commit(&operation) == 0) {
            result = Py_NewRef(Py_None);
        }
    }
    Py_XDECREF(value_owner);
    Py_XDECREF(tag_owner);
    return result;
}

METHOD_DOC(row_insert,
"_row_insert($self, /, key, raw, now, columns)\n--\n\n"
"Insert a row, in the thread's open transaction.\n");

PyObject *Cache_row_insert(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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

METHOD_DOC(row_update,
"_row_update($self, /, rowid, now, columns)\n--\n\n"
"Update a row, in the thread's open transaction.\n");

PyObject *Cache_row_update(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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
