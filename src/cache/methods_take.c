/* methods_take.c: taking items out, or looking at the ends: delete, pop, pull, popitem, peek, peekitem.
 *
 * No Python code runs under a lock, and no value file is read, which may be of any size and on a slow
 * disk. So where a value must be unpickled, or read from its file, before its row may be deleted, the row
 * is read, the lock given back, the value read, and the row deleted only if it is still the same one; else
 * everything begins again. Deleting first would lose the value if reading it then failed. Inside a user's
 * transaction the lock is the user's, and there is nothing to give back.
 *
 * Looking at an end is a read: the hot tier answers it, and remembers which row stands there.
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

typedef struct removal {
    const dc_key *key;
    double now;
    dc_namelist *removed;
} removal;

static dc_status remove_row(dc_db *db, void *context)
{
    const removal *removal = context;

    return dc_row_remove(db, removal->key, removal->now, removal->removed);
}

/* Delete a key: 1, 0 if it was absent or had expired, -1 with an exception. */
static int delete_key(Cache *self, PyObject *key, int retry)
{
    Operation operation = {.cache = NULL};
    disk_key put = {.owner = NULL};
    removal removal = {.key = &put.key, .removed = &self->transaction.removed};
    dc_status status;
    int result = -1;

    if (cache_ready(self) < 0 || disk_put(self->state, self->disk, key, &put) < 0) {
        return -1;
    }
    if (convert_now(self->state, &removal.now) == 0 &&
        operation_begin_write(&operation, self, retry) == 0) {
        operation.tells_keys = 1;
        operation_changes(&operation, &put);
        status = operation_write(&operation, remove_row, &removal);
        if (status != DC_OK && status != DC_NOT_FOUND) {
            operation_fail(&operation, status);
        } else if (operation_commit(&operation) == 0) {
            result = status == DC_OK;
        }
    }
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

/* A look at the row at an end: in memory, or in SQLite. */
typedef struct peeking {
    found found;
    hot_key hot; /* of the end, if it has one */
    int has_hot_key;
    int is_hot; /* it was in memory: `copy` has the row, else `found` */
    remembered copy;
} peeking;

static void peeking_init(peeking *peeking, const selection *selection)
{
    peeking->found.selection = selection;
    dc_row_init(&peeking->found.row);
    peeking->has_hot_key = 0;
    peeking->is_hot = 0;
}

static void peeking_clear(peeking *peeking)
{
    dc_row_clear(&peeking->found.row);
    if (peeking->is_hot) {
        remembered_clear(&peeking->copy);
    }
}

static const dc_columns *peeked_columns(const peeking *peeking)
{
    return peeking->is_hot ? &peeking->copy.columns : &peeking->found.row.columns;
}

static const dc_key *peeked_key(const peeking *peeking)
{
    return peeking->is_hot ? &peeking->copy.key : &peeking->found.row.key;
}

/* Let memory answer for the end, and remember it. */
static void peeking_end(Cache *self, peeking *peeking, hot_kind kind, PyObject *prefix)
{
    hot_key_of_end(&self->hot, kind, prefix, &peeking->hot);
    peeking->has_hot_key = 1;
}

/* As peek_value; 2: SQLite must be asked. */
static int peek_hot(Cache *self, peeking *peeking, PyObject **value)
{
    HotEntry *entry = hot_find_end(&self->hot, &peeking->hot);
    int result;

    if (entry == NULL) {
        return 2;
    }
    self->hot.hits++;
    if (entry->known & HOT_ABSENT) {
        return 0;
    }
    peeking->is_hot = 1;
    result = remembered_take(&peeking->copy, entry) < 0
                 ? -1
                 : remembered_value(self, &peeking->copy, peeking->found.selection->kind, NULL, 0,
                                    value);
    if (result == 0 || result == 2) { /* it must be deleted, or looked at again */
        remembered_clear(&peeking->copy);
        peeking->is_hot = 0;
        self->hot.hits--;
        result = 2;
    }
    return result;
}

/* What has been read is what stands at the end; `value` is its value, `row` NULL if nothing does. */
static void remember_end(Cache *self, const peeking *peeking, const stamped *stamped,
                         const dc_row *row, PyObject *value)
{
    int hooked = (disk_hooks(self->state, self->disk) & DISK_HOOK_fetch) != 0;

    if (peeking->has_hot_key && stamped->stable) {
        hot_remember(&self->hot, &peeking->hot, stamped->attachment, &stamped->stamp, row,
                     HOT_VALUE | HOT_TAG | HOT_IDENTITY, hooked ? NULL : value);
    }
}

/* Look at the selected row, dropping those that have expired or whose file is gone: 1 with the value,
 * 0 if there is none, -1 with an exception. */
static int peek_value(Cache *self, peeking *peeking, int retry, PyObject **value)
{
    found *found = &peeking->found;
    stamped stamped = {.call = find_row, .context = found};
    dc_status status;
    int result = 2;
    int missing;
    int alive;

    if (peeking->has_hot_key && self->hot.header != NULL && may_be_hot(self)) {
        result = peek_hot(self, peeking, value);
        if (result != 2) {
            return result;
        }
    }
    self->hot.misses += self->hot.limit > 0;
    for (;;) {
        status = read_stamped(self, &stamped, retry);
        if (status != DC_OK) {
            if (status == DC_NOT_FOUND) {
                remember_end(self, peeking, &stamped, NULL, NULL);
            }
            return status == DC_NOT_FOUND ? 0 : -1;
        }
        alive = is_alive(self, found->selection->kind, &found->row.columns);
        if (alive < 0) {
            return -1;
        }
        if (alive) {
            *value = disk_fetch(self->state, self->disk, &found->row.columns, 0, &missing);
            if (*value != NULL) {
                remember_end(self, peeking, &stamped, &found->row, *value);
            }
            if (*value != NULL || !missing) {
                if (*value == NULL) {
                    blame_row(self, NULL, &found->row.key, found->row.columns.filename);
                }
                return *value != NULL ? 1 : -1;
            }
        }
        if (delete_if_same(self, found, retry) < 0) {
            return -1;
        }
        if (peeking->has_hot_key) {
            peeking->hot.as.commits = self->hot.commits; /* of what is read next */
        }
    }
}

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

/* One attempt at taking the selected row out, after it has been read. 1 taken, the value may still be NULL:
 * then its file was missing; 0 there is none; 2 look again; -1 with an exception. */
static int try_take(Cache *self, found *found, int retry, taken *taken)
{
    Operation operation = {.cache = NULL};
    int by_key = found->selection->kind == SELECT_KEY;
    dc_status status;
    int readable;
    int alive;
    int locked;
    int deleted;

    if (operation_begin_write(&operation, self, retry) < 0) {
        return -1;
    }
    operation.tells_keys = 1;
    status = operation_write(&operation, find_row, found);
    if (status == DC_OK) {
        operation_changes_row(&operation, by_key ? found->selection->key : &found->row.key);
    }
    if (status == DC_NOT_FOUND) {
        return operation_commit(&operation) < 0 ? -1 : 0;
    }
    if (status != DC_OK) {
        return operation_fail(&operation, status);
    }
    alive = is_alive(self, found->selection->kind, &found->row.columns);
    if (alive == 0 && by_key) {
        return operation_commit(&operation) < 0 ? -1 : 0;
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
            blame_row(self, NULL, by_key ? found->selection->key : &found->row.key,
                      found->row.columns.filename);
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

/* Take the selected row out of the table: 1 with what it was, 0, -1. */
static int take_item(Cache *self, found *found, int retry, taken *taken)
{
    int result;

    for (;;) {
        memset(taken, 0, sizeof *taken);
        result = try_take(self, found, retry, taken);
        if (result == 1 && taken->value != NULL) {
            return 1;
        }
        taken_clear(taken);
        if (result == 1 && found->selection->kind == SELECT_KEY) {
            return 0;
        }
        if (result <= 0) {
            return result;
        }
    }
}

/* The same where only the value is wanted. */
static int take_value(Cache *self, found *found, int retry, PyObject **value)
{
    taken taken;
    int result = take_item(self, found, retry, &taken);

    *value = taken.value;
    return result;
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
    disk_key put = {.owner = NULL};
    selection selection = {.kind = SELECT_KEY, .key = &put.key, .details = DC_DETAIL_ALL};
    found found;
    PyObject *value = NULL;
    PyObject *result = NULL;
    int taken;

    if (args_parse(&table, args, nargs, kwnames, values) < 0 ||
        read_flags(values + 2, 3, defaults, flags) < 0 || cache_ready(self) < 0 ||
        disk_put(self->state, self->disk, values[0], &put) < 0) {
        return NULL;
    }
    selection.with_tag = flags[1];
    found.selection = &selection;
    dc_row_init(&found.row);
    taken = take_value(self, &found, flags[2], &value);
    if (taken > 0) {
        result = with_details(self->state, value, &found.row.columns, flags[0], flags[1]);
    } else if (taken == 0) {
        result = with_details(self->state, or_none(values[1]), NULL, flags[0], flags[1]);
    }
    dc_row_clear(&found.row);
    disk_key_clear(&put);
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

/* Take the row out that peek_value would look at. */
static int take_peeked(Cache *self, peeking *peeking, int retry, PyObject **value)
{
    return take_value(self, &peeking->found, retry, value);
}

/* pull() and peek(). */
static PyObject *queue_method(Cache *self, const args_table *table,
                              int (*obtain)(Cache *, peeking *, int, PyObject **),
                              PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const int defaults[3] = {0, 0, 0};
    PyObject *values[6];
    int flags[3]; /* expire_time, tag, retry */
    selection selection = {.kind = SELECT_QUEUE};
    peeking peeking;
    PyObject *prefix;
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
    selection.with_tag = flags[1];
    peeking_init(&peeking, &selection);
    prefix = values[0] == Py_None ? NULL : values[0];
    if (prefix == NULL || PyUnicode_CheckExact(prefix)) {
        peeking_end(self, &peeking, selection.side == DC_FRONT ? HOT_QUEUE_FRONT : HOT_QUEUE_BACK,
                    prefix);
    }
    obtained = obtain(self, &peeking, flags[2], &value);
    if (obtained > 0) {
        result = pair_with_details(
            self->state, convert_from_column(self->state, &peeked_key(&peeking)->datum, "key"),
            value, peeked_columns(&peeking), flags);
    } else if (obtained == 0) {
        otherwise = values[1] != NULL ? Py_NewRef(values[1]) : PyTuple_Pack(2, Py_None, Py_None);
        result = with_details(self->state, otherwise, NULL, flags[0], flags[1]);
    }
    peeking_clear(&peeking);
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

    return queue_method(self, &table, take_peeked, args, nargs, kwnames);
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

    return queue_method(self, &table, peek_value, args, nargs, kwnames);
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
    selection selection = {.kind = SELECT_END};
    peeking peeking;
    PyObject *value = NULL;
    PyObject *result = NULL;
    int obtained;

    if (args_parse(&table, args, nargs, kwnames, values) < 0 ||
        read_flags(values, 4, defaults, flags) < 0 || cache_ready(self) < 0) {
        return NULL;
    }
    selection.last = flags[0];
    peeking_init(&peeking, &selection);
    peeking_end(self, &peeking, selection.last ? HOT_LAST : HOT_FIRST, NULL);
    obtained = peek_value(self, &peeking, flags[3], &value);
    if (obtained > 0) {
        result = pair_with_details(self->state,
                                   disk_get(self->state, self->disk, peeked_key(&peeking)), value,
                                   peeked_columns(&peeking), flags + 1);
    } else if (obtained == 0) {
        PyErr_SetString(PyExc_KeyError, "dictionary is empty");
    }
    peeking_clear(&peeking);
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
    int overflow = 0;
    selection selection = {.kind = SELECT_NTH, .side = DC_FRONT};
    peeking peeking;
    PyObject *value = NULL;

    if (args_parse(&table, args, nargs, kwnames, &index) < 0 || cache_ready(self) < 0) {
        return NULL;
    }
    selection.before = PyLong_AsLongLongAndOverflow(index, &overflow);
    if (overflow) {
        return Py_NewRef(self->state->enoval);
    }
    if (selection.before == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (selection.before < 0) {
        selection.side = DC_BACK;
        selection.before = -(selection.before + 1);
    }
    peeking_init(&peeking, &selection);
    if (selection.before == 0) {
        peeking_end(self, &peeking, selection.side == DC_FRONT ? HOT_LOWEST : HOT_HIGHEST, NULL);
    }
    if (peek_value(self, &peeking, 1, &value) == 0) {
        value = Py_NewRef(self->state->enoval);
    }
    peeking_clear(&peeking);
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
    operation.tells_keys = 1;
    status = operation_write(&operation, find_row, &found);
    if (status == DC_OK) {
        operation_changes_row(&operation, &found.row.key);
        status = delete_if_there(&operation, &found.row);
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
    int obtained;

    if (args_parse(&table, args, nargs, kwnames, &last) < 0 || cache_ready(self) < 0) {
        return NULL;
    }
    selection.last = args_flag(last, 1);
    if (selection.last < 0) {
        return NULL;
    }
    dc_row_init(&found.row);
    obtained = take_item(self, &found, 1, &taken);
    if (obtained > 0) {
        result = PyTuple_Pack(2, taken.key, taken.value);
        taken_clear(&taken);
    } else if (obtained == 0) {
        PyErr_SetString(PyExc_KeyError, "dictionary is empty");
    }
    dc_row_clear(&found.row);
    return result;
}
