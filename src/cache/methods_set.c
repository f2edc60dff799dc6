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
#include "cache/mending.h"
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
    item *item;
    int only_if_absent, only_if_later;
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
                      .only_if_later = writing->only_if_later,
                      .rules = &rules,
                      .removed = &self->transaction.removed};
    dc_db *db;
    dc_status status;

    if (writing->key == NULL && self->seals) {
        seal_when_inserted(self, &rules, &hooks);
        operation->seals = 1;
    }
    db = operation_enter(operation);
    status = writing->key != NULL
                 ? dc_write_set(db, &write)
                 : dc_queue_push(db, writing->queue, writing->side, &write, &writing->row);

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
    if (item_seal_anew(self, writing->item, writing->key) < 0 ||
        operation_add_file(&operation, filename) < 0) {
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

/* The flag `read`, or -1 with an exception. */
static int parse_read(PyObject *read)
{
    if (read != NULL && PyUnicode_Check(read) &&
        log_caution("read is a text: is it meant to be the tag?") < 0) {
        return -1;
    }
    return args_flag(read, 0);
}

/* A value that is not kept is no error; but who does not look at what set() returns wonders. */
static void tell_of_size(Cache *self, const writing *writing, PyObject *key)
{
    if (!writing->written && !self->has_told_of_size &&
        dc_columns_exceed(&writing->item->stored.columns, &self->rules)) {
        self->has_told_of_size = 1;
        log_warning("eviction", "%S: the value of %R is larger than size_limit, and so is not kept",
                    self->path, key);
    }
}

/* set(), and those that store a value under a condition. */
static PyObject *store_value(Cache *self, const Cache_set_args *args, int only_if_absent,
                             int only_if_later)
{
    disk_key encoded = {.owner = NULL};
    item item;
    writing writing = {.key = &encoded,
                       .item = &item,
                       .only_if_absent = only_if_absent,
                       .only_if_later = only_if_later};
    PyObject *result = NULL;
    int read = parse_read(args->read);

    if (read < 0 || cache_ready(self) < 0 ||
        disk_put(self->state, self->disk, args->key, &encoded) < 0) {
        return NULL;
    }
    if (item_prepare(self, &item, args->value, args->key, &encoded, args->expire, read,
                     args->tag) == 0) {
        if (write_and_commit(self, &writing, args->retry) == 0) {
            tell_of_size(self, &writing, args->key);
            result = PyBool_FromLong(writing.written);
        }
        item_clear(&item);
    }
    disk_key_clear(&encoded);
    return result;
}

PyObject *Cache_set(Cache *self, const Cache_set_args *args)
{
    return store_value(self, args, 0, 0);
}

PyObject *Cache_add(Cache *self, const Cache_add_args *args)
{
    return store_value(self, args, 1, 0);
}

PyObject *Cache__set_later(Cache *self, const Cache__set_later_args *args)
{
    if (!PyBytes_Check(args->tag) || PyBytes_GET_SIZE(args->tag) < DC_LATER_BYTES) {
        PyErr_Format(PyExc_TypeError, "tag must be bytes, %d at least", DC_LATER_BYTES);
        return NULL;
    }
    return store_value(self, args, 0, 1);
}

static int assign_subscript(Cache *self, PyObject *key, PyObject *value)
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
        const Cache_set_args args = {
            .key = key, .value = value, .expire = Py_None, .tag = Py_None, .retry = 1};

        result = store_value(self, &args, 0, 0);
    }
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

int cache_assign_subscript(Cache *self, PyObject *key, PyObject *value)
{
    int failures = 0;
    int result;

    do {
        result = assign_subscript(self, key, value);
    } while (result < 0 && cache_has_healed(self, NULL, NULL, &failures));
    return result;
}

PyObject *Cache_push(Cache *self, const Cache_push_args *args)
{
    dc_queue queue;
    item item;
    writing writing = {.queue = &queue, .item = &item};
    PyObject *result = NULL;
    int read;

    if (parse_queue(args->prefix, &queue) < 0 ||
        parse_side(args->side, DC_BACK, &writing.side) < 0 || (read = parse_read(args->read)) < 0 ||
        cache_ready(self) < 0 ||
        item_prepare(self, &item, args->value, NULL, NULL, args->expire, read, args->tag) < 0) {
        return NULL;
    }
    dc_row_init(&writing.row);
    if (write_and_commit(self, &writing, args->retry) == 0) {
        result = writing.written ? convert_from_datum(&writing.row.key.datum) : Py_NewRef(Py_None);
    }
    dc_row_clear(&writing.row);
    item_clear(&item);
    return result;
}

/* --- touch, incr, decr -------------------------------------------------------------------------- */

PyObject *Cache_touch(Cache *self, const Cache_touch_args *args)
{
    Operation operation = {.cache = NULL};
    disk_key encoded = {.owner = NULL};
    dc_columns expire;
    double now;
    PyObject *result = NULL;
    dc_status status;

    memset(&expire, 0, sizeof expire);
    if (cache_ready(self) < 0 || convert_now(self->state, &now) < 0 ||
        convert_expire(args->expire, now, &expire) < 0) {
        return NULL;
    }
    if (self->seals) {
        return PyObject_CallMethodObjArgs((PyObject *)self, self->state->name._touch_signed,
                                          args->key, args->expire, args->retry ? Py_True : Py_False,
                                          NULL);
    }
    if (disk_put(self->state, self->disk, args->key, &encoded) < 0) {
        return NULL;
    }
    if (operation_begin_write(&operation, self, args->retry) == 0) {
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
    if (*initial == NULL || item_prepare(self, item, *initial, key, NULL, NULL, 0, NULL) < 0) {
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

/* The same in Python, where values are signed: SQL cannot check and renew a signature. */
static PyObject *increment_signed(Cache *self, PyObject *key, const dc_datum *delta,
                                  PyObject *otherwise, int retry)
{
    dc_datum start;
    PyObject *number = convert_from_datum(delta);
    PyObject *result = NULL;

    if (number != NULL && cache_ready(self) == 0 &&
        (otherwise == Py_None || convert_number(otherwise, "default", &start) == 0)) {
        result = PyObject_CallMethodObjArgs((PyObject *)self, self->state->name._increment_signed,
                                            key, number, otherwise, retry ? Py_True : Py_False,
                                            NULL);
    }
    Py_XDECREF(number);
    return result;
}

/* incr(), and decr() as incr() of the opposite. */
static PyObject *increment_method(Cache *self, const Cache_incr_args *args, int negate)
{
    PyObject *otherwise = args->otherwise != NULL ? Py_NewRef(args->otherwise) : PyLong_FromLong(0);
    PyObject *delta_object = args->delta != NULL ? Py_NewRef(args->delta) : PyLong_FromLong(1);
    PyObject *result = NULL;
    dc_datum delta;

    if (otherwise == NULL || delta_object == NULL) {
        goto done;
    }
    if (negate && (PyFloat_Check(delta_object) || PyIndex_Check(delta_object))) {
        Py_SETREF(delta_object, PyNumber_Negative(delta_object));
    }
    if (delta_object == NULL || convert_number(delta_object, "delta", &delta) < 0) {
        goto done;
    }
    if (negate && (cache_hooks(self) & CACHE_HOOK_incr)) {
        result = PyObject_CallMethodObjArgs((PyObject *)self, self->state->name.incr, args->key,
                                            delta_object, otherwise,
                                            args->retry ? Py_True : Py_False, NULL);
    } else if (self->seals) {
        result = increment_signed(self, args->key, &delta, otherwise, args->retry);
    } else {
        result = increment(self, args->key, &delta, otherwise, args->retry);
    }
done:
    Py_XDECREF(delta_object);
    Py_XDECREF(otherwise);
    return result;
}

PyObject *Cache_incr(Cache *self, const Cache_incr_args *args)
{
    return increment_method(self, args, 0);
}

PyObject *Cache_decr(Cache *self, const Cache_decr_args *args)
{
    return increment_method(self, args, 1);
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

PyObject *Cache__row_insert(Cache *self, const Cache__row_insert_args *args)
{
    PyObject *owner = NULL;
    PyObject *result = NULL;
    dc_key key;
    row_writing writing = {.key = &key};

    key.raw = args->raw;
    if (convert_to_datum(args->key, "key", &key.datum, &owner) == 0 &&
        convert_seconds(args->now, "now", &writing.now) == 0) {
        result = row_method(self, &writing, args->columns);
    }
    Py_XDECREF(owner);
    return result;
}

PyObject *Cache__row_update(Cache *self, const Cache__row_update_args *args)
{
    row_writing writing = {.key = NULL};

    writing.rowid = PyLong_AsLongLong(args->rowid);
    if ((writing.rowid == -1 && PyErr_Occurred()) ||
        convert_seconds(args->now, "now", &writing.now) < 0) {
        return NULL;
    }
    return row_method(self, &writing, args->columns);
}
