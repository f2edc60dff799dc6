/* methods_take.c: taking items out, or looking at the ends: delete, pop, pull, popitem, peek, peekitem.
 *
 * No Python code runs under a lock, and no value file is read, which may be of any size and on a slow
 * disk. So where a value must be unpickled, or read from its file, before its row may be deleted, the row
 * is read, the lock given back, the value read, and the row deleted only if it is still the same one; else
 * everything begins again. Deleting first would lose the value if reading it then failed. Inside a user's
 * transaction the lock is the user's, and there is nothing to give back.
 *
 * Looking at an end is a read: memory answers it, and remembers which row stands there (lookup.h).
 */
#include "cache/lookup.h"

#include <string.h>

#include "cache/errors.h"
#include "cache/methods.h"
#include "cache/operation.h"
#include "cache/row.h"
#include "engine/rows.h"
#include "python/convert.h"

/* --- delete ------------------------------------------------------------------------------------- */

/* Delete a key: 1, 0 if it was absent or had expired, -1 with an exception. */
static int delete_key(Cache *self, PyObject *key, int retry)
{
    Operation operation = {.cache = NULL};
    disk_key encoded = {.owner = NULL};
    double now;
    dc_status status;
    int result = -1;

    if (cache_ready(self) < 0 || disk_put(self->state, self->disk, key, &encoded) < 0) {
        return -1;
    }
    if (convert_now(self->state, &now) == 0 &&
        operation_begin_write(&operation, self, retry) == 0) {
        status = dc_row_remove(operation_enter(&operation), &encoded.key, now,
                               &self->transaction.removed);
        operation_leave_write(&operation, (Written){.kind = WRITTEN_KEY, .key = &encoded});
        if (status != DC_OK && status != DC_NOT_FOUND) {
            operation_fail(&operation, status);
        } else if (operation_commit(&operation) == 0) {
            result = status == DC_OK;
        }
    }
    disk_key_clear(&encoded);
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

PyObject *Cache_delete(Cache *self, const Cache_delete_args *args)
{
    int deleted;

    if (cache_hooks(self) & CACHE_HOOK___delitem__) {
        return delete_by_hook(self, args->key, args->retry);
    }
    deleted = delete_key(self, args->key, args->retry);
    return deleted < 0 ? NULL : PyBool_FromLong(deleted);
}

PyObject *Cache___delitem__(Cache *self, const Cache___delitem___args *args)
{
    int deleted = delete_key(self, args->key, args->retry);

    if (deleted == 0) {
        raise_key_error(args->key);
    }
    return deleted > 0 ? Py_NewRef(Py_True) : NULL;
}

/* --- pop, pull, peek, peekitem ------------------------------------------------------------------ */

/* What an item taken out was. */
typedef struct taken {
    PyObject *value; /* strong, or NULL */
    PyObject *key;   /* strong: of SELECT_END */
} taken;

static void taken_clear(taken *taken)
{
    Py_CLEAR(taken->value);
    Py_CLEAR(taken->key);
}

/* Whether reading the row before it is deleted neither runs Python code nor reads a file. */
static int is_quick_to_take(Cache *self, const found *found)
{
    int has_quick_key = found->selection->kind != SELECT_END ||
                        disk_get_is_quick(self->state, self->disk, &found->row.key);

    return has_quick_key && disk_fetch_is_quick(self->state, self->disk, &found->row.columns);
}

/* Read a living row that is to be deleted: 0 (the value is NULL if its file is missing), -1 with an
 * exception. All that will be asked for must be readable. */
static int read_to_take(Cache *self, const found *found, taken *taken)
{
    const dc_columns *columns = &found->row.columns;
    PyObject *tag = NULL;
    int missing = 0;

    if (found->selection->with_tag) {
        tag = convert_from_column(self->state, &columns->tag, "tag");
        if (tag == NULL) {
            return -1;
        }
        Py_DECREF(tag);
    }
    if (found->selection->kind == SELECT_END) {
        taken->key = disk_get(self->state, self->disk, &found->row.key);
        if (taken->key == NULL) {
            return -1;
        }
    }
    taken->value = disk_fetch(self->state, self->disk, columns, 0, &missing);
    return taken->value != NULL || missing ? 0 : -1;
}

/* One attempt at taking the selected row out, after it has been read. LOOKUP_FOUND: it is taken; the value is
 * NULL if its file was missing. LOOKUP_BROKEN: it cannot be read, and stays. LOOKUP_UNKNOWN: look again. */
static lookup_outcome try_take(Cache *self, found *found, int retry, taken *taken)
{
    Operation operation = {.cache = NULL};
    int by_key = found->selection->kind == SELECT_KEY;
    dc_status status;
    int readable;
    int alive;
    int locked;
    int deleted;

    if (operation_begin_write(&operation, self, retry) < 0) {
        return LOOKUP_FAILED;
    }
    status = find_row(operation_enter(&operation), found);
    operation_leave(&operation);
    if (status == DC_NOT_FOUND) {
        return operation_commit(&operation) < 0 ? LOOKUP_FAILED : LOOKUP_ABSENT;
    }
    if (status != DC_OK) {
        operation_fail(&operation, status);
        return LOOKUP_FAILED;
    }
    alive = is_alive(self, found->selection->kind, &found->row.columns);
    if (alive == 0 && by_key) {
        return operation_commit(&operation) < 0 ? LOOKUP_FAILED : LOOKUP_ABSENT;
    }
    locked = self->transaction.depth > 1 || is_quick_to_take(self, found);
    if (alive > 0 && !locked) {
        operation_rollback(&operation);
    }
    readable = alive > 0 ? read_to_take(self, found, taken) : alive;
    if (readable < 0) {
        if (alive < 0 || locked) {
            operation_rollback(&operation);
        }
        if (alive > 0) {
            blame_row(self, NULL, found_key(found), found->row.columns.filename);
        }
        return alive > 0 ? LOOKUP_BROKEN : LOOKUP_FAILED;
    }
    if (alive > 0 && !locked) {
        deleted = delete_if_same(self, found, retry);
        return deleted < 0 ? LOOKUP_FAILED : deleted ? LOOKUP_FOUND : LOOKUP_UNKNOWN;
    }
    if (delete_row(&operation, found) < 0 || operation_commit(&operation) < 0) {
        return LOOKUP_FAILED;
    }
    return alive ? LOOKUP_FOUND : LOOKUP_UNKNOWN;
}

/* A row could not be read, and stays: of an end the next one is selected, if on_error says so. */
static lookup_outcome pass_over(Cache *self, const found *found)
{
    if (!cache_passes_over(self, ON_ERROR_MISS)) {
        return LOOKUP_FAILED;
    }
    return select_beside(found->selection, found->row.rowid, found_key(found)) ? LOOKUP_UNKNOWN
                                                                               : LOOKUP_ABSENT;
}

/* Take the selected row out of the table: LOOKUP_FOUND with what it was. */
static lookup_outcome take_item(Cache *self, found *found, int retry, taken *taken)
{
    lookup_outcome outcome;

    for (;;) {
        memset(taken, 0, sizeof *taken);
        outcome = try_take(self, found, retry, taken);
        if (outcome == LOOKUP_FOUND && taken->value != NULL) {
            return outcome;
        }
        taken_clear(taken);
        if (outcome == LOOKUP_BROKEN) {
            outcome = pass_over(self, found);
        }
        if (outcome == LOOKUP_FOUND && found->selection->kind == SELECT_KEY) {
            return LOOKUP_ABSENT;
        }
        if (outcome == LOOKUP_ABSENT || outcome == LOOKUP_FAILED) {
            return outcome;
        }
    }
}

/* The same where only the value is wanted. */
static lookup_outcome take_value(Cache *self, found *found, int retry, PyObject **value)
{
    taken taken;
    lookup_outcome outcome = take_item(self, found, retry, &taken);

    *value = taken.value;
    return outcome;
}

PyObject *Cache_pop(Cache *self, const Cache_pop_args *args)
{
    disk_key encoded = {.owner = NULL};
    selection selection = {
        .kind = SELECT_KEY, .key = &encoded.key, .details = DC_DETAIL_ALL, .with_tag = args->tag};
    found found;
    PyObject *value = NULL;
    PyObject *result = NULL;
    lookup_outcome outcome;

    if (cache_ready(self) < 0 || disk_put(self->state, self->disk, args->key, &encoded) < 0) {
        return NULL;
    }
    found.selection = &selection;
    dc_row_init(&found.row);
    outcome = take_value(self, &found, args->retry, &value);
    if (outcome == LOOKUP_FOUND) {
        result = with_details(self->state, value, &found.row.columns, args->expire_time, args->tag);
    } else if (outcome == LOOKUP_ABSENT) {
        result =
            with_details(self->state, or_none(args->otherwise), NULL, args->expire_time, args->tag);
    }
    dc_row_clear(&found.row);
    disk_key_clear(&encoded);
    return result;
}

/* ((key, value), ...) from a row with its key; `value` is stolen. */
static PyObject *pair_with_details(module_state *state, PyObject *key, PyObject *value,
                                   const dc_columns *columns, int expire_time, int tag)
{
    PyObject *pair = key != NULL && value != NULL ? PyTuple_Pack(2, key, value) : NULL;

    Py_XDECREF(key);
    Py_XDECREF(value);
    return with_details(state, pair, columns, expire_time, tag);
}

/* Look at the row at an end, and take it out where `takes` says so. */
static lookup_outcome obtain_end(Lookup *lookup, hot_kind kind, PyObject *prefix, int takes)
{
    lookup_outcome outcome;

    if (!takes) {
        return lookup_of_end(lookup, kind, prefix);
    }
    outcome = take_value(lookup->cache, &lookup->found, lookup->retry, &lookup->value);
    lookup->columns = &lookup->found.row.columns;
    lookup->row_key = &lookup->found.row.key;
    return outcome;
}

/* pull() and peek(). */
static PyObject *queue_method(Cache *self, const Cache_pull_args *args, int takes)
{
    Lookup lookup;
    hot_kind kind;
    PyObject *prefix = args->prefix == Py_None ? NULL : args->prefix;
    PyObject *otherwise;
    PyObject *result = NULL;
    lookup_outcome outcome;

    if (cache_ready(self) < 0) {
        return NULL;
    }
    lookup_init_end(&lookup, self, SELECT_QUEUE, args->retry);
    lookup.selection.with_tag = args->tag;
    if (parse_queue(args->prefix, &lookup.selection.queue) < 0 ||
        parse_side(args->side, DC_FRONT, &lookup.selection.side) < 0) {
        goto done;
    }
    kind = prefix != NULL && !PyUnicode_CheckExact(prefix) ? HOT_NO_END
           : lookup.selection.side == DC_FRONT             ? HOT_QUEUE_FRONT
                                                           : HOT_QUEUE_BACK;
    outcome = obtain_end(&lookup, kind, prefix, takes);
    if (outcome == LOOKUP_FOUND) {
        result = pair_with_details(
            self->state, convert_from_column(self->state, &lookup.row_key->datum, "key"),
            Py_NewRef(lookup.value), lookup.columns, args->expire_time, args->tag);
    } else if (outcome == LOOKUP_ABSENT) {
        otherwise = args->otherwise != NULL ? Py_NewRef(args->otherwise)
                                            : PyTuple_Pack(2, Py_None, Py_None);
        result = with_details(self->state, otherwise, NULL, args->expire_time, args->tag);
    }
done:
    lookup_clear(&lookup);
    return result;
}

PyObject *Cache_pull(Cache *self, const Cache_pull_args *args)
{
    return queue_method(self, args, 1);
}

PyObject *Cache_peek(Cache *self, const Cache_peek_args *args)
{
    return queue_method(self, args, 0);
}

PyObject *Cache_peekitem(Cache *self, const Cache_peekitem_args *args)
{
    Lookup lookup;
    PyObject *key;
    PyObject *result = NULL;
    lookup_outcome outcome;

    if (cache_ready(self) < 0) {
        return NULL;
    }
    lookup_init_end(&lookup, self, SELECT_END, args->retry);
    lookup.selection.last = args->last;
    do {
        outcome = lookup_of_end(&lookup, args->last ? HOT_LAST : HOT_FIRST, NULL);
        key = outcome == LOOKUP_FOUND ? disk_get(self->state, self->disk, lookup.row_key) : NULL;
    } while (outcome == LOOKUP_FOUND && key == NULL && lookup_passes_end(&lookup));
    if (outcome == LOOKUP_FOUND) {
        result = pair_with_details(self->state, key, Py_XNewRef(lookup.value), lookup.columns,
                                   args->expire_time, args->tag);
    } else if (outcome == LOOKUP_ABSENT) {
        PyErr_SetString(PyExc_KeyError, "dictionary is empty");
    }
    lookup_clear(&lookup);
    return result;
}

PyObject *Cache__peek_nth(Cache *self, const Cache__peek_nth_args *args)
{
    int64_t before;
    int overflow = 0;
    Lookup lookup;
    lookup_outcome outcome;
    PyObject *value = NULL;

    if (cache_ready(self) < 0) {
        return NULL;
    }
    before = PyLong_AsLongLongAndOverflow(args->index, &overflow);
    if (overflow) {
        return Py_NewRef(self->state->enoval);
    }
    if (before == -1 && PyErr_Occurred()) {
        return NULL;
    }
    lookup_init_end(&lookup, self, SELECT_NTH, 1);
    lookup.selection.side = before < 0 ? DC_BACK : DC_FRONT;
    lookup.selection.before = before < 0 ? -(before + 1) : before;
    outcome = lookup_of_end(&lookup,
                            lookup.selection.before > 0 ? HOT_NO_END
                            : before < 0                ? HOT_HIGHEST
                                                        : HOT_LOWEST,
                            NULL);
    if (outcome >= LOOKUP_ABSENT) {
        value = Py_NewRef(outcome == LOOKUP_FOUND ? lookup.value : self->state->enoval);
    }
    lookup_clear(&lookup);
    return value;
}

PyObject *Cache__drop_end(Cache *self, const Cache__drop_end_args *args)
{
    Operation operation = {.cache = NULL};
    selection selection = {.kind = SELECT_QUEUE};
    found found = {.selection = &selection};
    PyObject *result = NULL;
    dc_status status;

    if (parse_side(args->side, DC_FRONT, &selection.side) < 0 || cache_ready(self) < 0 ||
        operation_begin_write(&operation, self, 1) < 0) {
        return NULL;
    }
    dc_row_init(&found.row);
    status = find_row(operation_enter(&operation), &found);
    operation_leave(&operation);
    if (status == DC_OK) {
        status = delete_if_there(&operation, &found);
    }
    if (status != DC_OK && status != DC_NOT_FOUND) {
        operation_fail(&operation, status);
    } else if (operation_commit(&operation) == 0) {
        result = PyBool_FromLong(status == DC_OK);
    }
    dc_row_clear(&found.row);
    return result;
}

PyObject *Cache__popitem(Cache *self, const Cache__popitem_args *args)
{
    selection selection = {.kind = SELECT_END, .last = args->last};
    found found = {.selection = &selection};
    PyObject *result = NULL;
    taken taken;
    lookup_outcome outcome;

    if (cache_ready(self) < 0) {
        return NULL;
    }
    dc_row_init(&found.row);
    outcome = take_item(self, &found, 1, &taken);
    if (outcome == LOOKUP_FOUND) {
        result = PyTuple_Pack(2, taken.key, taken.value);
        taken_clear(&taken);
    } else if (outcome == LOOKUP_ABSENT) {
        PyErr_SetString(PyExc_KeyError, "dictionary is empty");
    }
    dc_row_clear(&found.row);
    return result;
}
