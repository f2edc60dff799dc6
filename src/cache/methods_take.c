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
#include "python/args.h"
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

METHOD_DOC(delete,
"delete($self, /, key, retry=False)\n--\n\n"
"Delete a key, if it is there.\n"
"\n"
":param key: any picklable object\n"
":param bool retry: wait for the lock as long as it takes\n"
":return: True if the key was there and had not expired\n"
":raises Timeout: if the lock cannot be had within the cache's timeout and retry is False\n");

PyObject *Cache_delete(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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

METHOD_DOC(delitem,
"__delitem__($self, /, key, retry=True)\n--\n\n"
"Delete a key.\n"
"\n"
":param key: any picklable object\n"
":param bool retry: wait for the lock as long as it takes\n"
":return: True\n"
":raises KeyError: if the key is absent or has expired\n"
":raises Timeout: if the lock cannot be had within the cache's timeout and retry is False\n");

PyObject *Cache_delitem(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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
 * NULL if its file was missing. LOOKUP_UNKNOWN: look again. */
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
        return LOOKUP_FAILED;
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

METHOD_DOC(pop,
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

PyObject *Cache_pop(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {
        "pop", 1, 5, {"key", "default", "expire_time", "tag", "retry"}};
    static const int defaults[3] = {0, 0, 0};
    PyObject *values[5];
    int flags[3]; /* expire_time, tag, retry */
    disk_key encoded = {.owner = NULL};
    selection selection = {.kind = SELECT_KEY, .key = &encoded.key, .details = DC_DETAIL_ALL};
    found found;
    PyObject *value = NULL;
    PyObject *result = NULL;
    lookup_outcome outcome;

    if (args_parse(&table, args, nargs, kwnames, values) < 0 ||
        read_flags(values + 2, 3, defaults, flags) < 0 || cache_ready(self) < 0 ||
        disk_put(self->state, self->disk, values[0], &encoded) < 0) {
        return NULL;
    }
    selection.with_tag = flags[1];
    found.selection = &selection;
    dc_row_init(&found.row);
    outcome = take_value(self, &found, flags[2], &value);
    if (outcome == LOOKUP_FOUND) {
        result = with_details(self->state, value, &found.row.columns, flags[0], flags[1]);
    } else if (outcome == LOOKUP_ABSENT) {
        result = with_details(self->state, or_none(values[1]), NULL, flags[0], flags[1]);
    }
    dc_row_clear(&found.row);
    disk_key_clear(&encoded);
    return result;
}

/* ((key, value), ...) from a row with its key; `value` is stolen. */
static PyObject *pair_with_details(module_state *state, PyObject *key, PyObject *value,
                                   const dc_columns *columns, const int *flags)
{
    PyObject *pair = key != NULL && value != NULL ? PyTuple_Pack(2, key, value) : NULL;

    Py_XDECREF(key);
    Py_XDECREF(value);
    return with_details(state, pair, columns, flags[0], flags[1]);
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
static PyObject *queue_method(Cache *self, const args_table *table, int takes,
                              PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const int defaults[3] = {0, 0, 0};
    PyObject *values[6];
    int flags[3]; /* expire_time, tag, retry */
    Lookup lookup;
    hot_kind kind;
    PyObject *prefix;
    PyObject *otherwise;
    PyObject *result = NULL;
    lookup_outcome outcome;

    if (args_parse(table, args, nargs, kwnames, values) < 0 ||
        read_flags(values + 3, 3, defaults, flags) < 0 || cache_ready(self) < 0) {
        return NULL;
    }
    lookup_init_end(&lookup, self, SELECT_QUEUE, flags[2]);
    lookup.selection.with_tag = flags[1];
    if (parse_queue(values[0], &lookup.selection.queue) < 0 ||
        parse_side(values[2], DC_FRONT, &lookup.selection.side) < 0) {
        goto done;
    }
    prefix = values[0] == Py_None ? NULL : values[0];
    kind = prefix != NULL && !PyUnicode_CheckExact(prefix) ? HOT_NO_END
           : lookup.selection.side == DC_FRONT             ? HOT_QUEUE_FRONT
                                                           : HOT_QUEUE_BACK;
    outcome = obtain_end(&lookup, kind, prefix, takes);
    if (outcome == LOOKUP_FOUND) {
        result = pair_with_details(self->state,
                                   convert_from_column(self->state, &lookup.row_key->datum, "key"),
                                   Py_NewRef(lookup.value), lookup.columns, flags);
    } else if (outcome == LOOKUP_ABSENT) {
        otherwise = values[1] != NULL ? Py_NewRef(values[1]) : PyTuple_Pack(2, Py_None, Py_None);
        result = with_details(self->state, otherwise, NULL, flags[0], flags[1]);
    }
done:
    lookup_clear(&lookup);
    return result;
}

/* clang-format off */
#define QUEUE_PARAMETERS {"prefix", "default", "side", "expire_time", "tag", "retry"}
/* clang-format on */
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

METHOD_DOC(pull,
"pull($self, /, prefix=None, default=(None, None), side='front', expire_time=False, tag=False, "
"retry=False)\n--\n\n"
"Take the next item out of a queue, atomically.\n"
"\n"
"Items that have expired are dropped on the way. If the value cannot be unpickled the error is raised\n"
"and the item stays.\n"
"\n" QUEUE_DOC);

PyObject *Cache_pull(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"pull", 0, 6, QUEUE_PARAMETERS};

    return queue_method(self, &table, 1, args, nargs, kwnames);
}

METHOD_DOC(peek,
"peek($self, /, prefix=None, default=(None, None), side='front', expire_time=False, tag=False, "
"retry=False)\n--\n\n"
"Look at the next item of a queue.\n"
"\n"
"Items that have expired are dropped on the way.\n"
"\n" QUEUE_DOC);

PyObject *Cache_peek(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"peek", 0, 6, QUEUE_PARAMETERS};

    return queue_method(self, &table, 0, args, nargs, kwnames);
}

METHOD_DOC(peekitem,
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

PyObject *Cache_peekitem(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"peekitem", 0, 4, {"last", "expire_time", "tag", "retry"}};
    static const int defaults[4] = {1, 0, 0, 0};
    PyObject *values[4];
    int flags[4]; /* last, expire_time, tag, retry */
    Lookup lookup;
    PyObject *result = NULL;
    lookup_outcome outcome;

    if (args_parse(&table, args, nargs, kwnames, values) < 0 ||
        read_flags(values, 4, defaults, flags) < 0 || cache_ready(self) < 0) {
        return NULL;
    }
    lookup_init_end(&lookup, self, SELECT_END, flags[3]);
    lookup.selection.last = flags[0];
    outcome = lookup_of_end(&lookup, flags[0] ? HOT_LAST : HOT_FIRST, NULL);
    if (outcome == LOOKUP_FOUND) {
        result = pair_with_details(self->state, disk_get(self->state, self->disk, lookup.row_key),
                                   Py_NewRef(lookup.value), lookup.columns, flags + 1);
    } else if (outcome == LOOKUP_ABSENT) {
        PyErr_SetString(PyExc_KeyError, "dictionary is empty");
    }
    lookup_clear(&lookup);
    return result;
}

METHOD_DOC(peek_nth,
"_peek_nth($self, /, index)\n--\n\n"
"Look at one item by its place in the order of the keys.\n"
"\n"
"Items on that place that have expired are dropped.\n"
"\n"
":param int index: 0 is the first, -1 the last\n"
":return: the value, or ENOVAL if there is no such place\n"
":raises Timeout: if a lock cannot be had within the cache's timeout\n");

PyObject *Cache_peek_nth(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"_peek_nth", 1, 1, {"index"}};
    PyObject *index;
    int64_t before;
    int overflow = 0;
    Lookup lookup;
    lookup_outcome outcome;
    PyObject *value = NULL;

    if (args_parse(&table, args, nargs, kwnames, &index) < 0 || cache_ready(self) < 0) {
        return NULL;
    }
    before = PyLong_AsLongLongAndOverflow(index, &overflow);
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
    if (outcome != LOOKUP_FAILED) {
        value = Py_NewRef(outcome == LOOKUP_FOUND ? lookup.value : self->state->enoval);
    }
    lookup_clear(&lookup);
    return value;
}

METHOD_DOC(drop_end,
"_drop_end($self, /, side)\n--\n\n"
"Delete the item at one end of the queue without a prefix, unread.\n"
"\n"
":param str side: 'front' or 'back' of the queue\n"
":return: True; False if the queue is empty, or a trigger keeps the item\n"
":raises ValueError: if side is none of the two\n");

PyObject *Cache_drop_end(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"_drop_end", 1, 1, {"side"}};
    Operation operation = {.cache = NULL};
    selection selection = {.kind = SELECT_QUEUE};
    found found = {.selection = &selection};
    PyObject *side;
    PyObject *result = NULL;
    dc_status status;

    if (args_parse(&table, args, nargs, kwnames, &side) < 0 ||
        parse_side(side, DC_FRONT, &selection.side) < 0 || cache_ready(self) < 0 ||
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

METHOD_DOC(popitem,
"_popitem($self, /, last=True)\n--\n\n"
"Take the item out that was inserted last, or first, waiting for the lock as long as it takes.\n"
"\n"
":param bool last: the last one, or the first\n"
":return: (key, value)\n"
":raises KeyError: if the cache is empty\n");

PyObject *Cache_popitem(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"_popitem", 0, 1, {"last"}};
    selection selection = {.kind = SELECT_END};
    found found = {.selection = &selection};
    PyObject *last;
    PyObject *result = NULL;
    taken taken;
    lookup_outcome outcome;

    if (args_parse(&table, args, nargs, kwnames, &last) < 0 || cache_ready(self) < 0) {
        return NULL;
    }
    selection.last = args_flag(last, 1);
    if (selection.last < 0) {
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
