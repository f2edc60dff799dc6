/* methods_many.c: many items at once: set_many, add_many, touch_many, delete_many, get_many.
 *
 * What makes a single write expensive is its transaction. So items are taken in batches, and each
 * batch is one transaction:
 *
 *     take items from the iterator, convert them, write their files     no lock is held
 *     begin, write all rows, commit                                     no Python code runs
 *     remove the files of rows that were replaced; look at signals
 *
 * Batches have limits because the items may come from a generator that never ends, because a batch
 * is in memory (and its files on disk beside those they replace) until it is committed, and because
 * others cannot write meanwhile. What has been committed stays, whatever happens later; a batch that
 * fails leaves nothing. Inside a user's transaction all of it is the user's.
 *
 * The iterator is the user's code and may do anything with the cache: when it runs, nothing of ours
 * is begun.
 *
 * Where a subclass has overridden the method for one item, that is called for each item. It is
 * Python code and runs inside the batch's transaction, as it would in a loop of the user's.
 */
#include "cache/item.h"

#include <string.h>

#include "base/limits.h"
#include "cache/errors.h"
#include "cache/methods.h"
#include "cache/operation.h"
#include "cache/row.h"
#include "engine/rows.h"
#include "engine/write.h"
#include "python/convert.h"
#include "python/fork_generation.h"

/* The limits of a batch, beside those of limits.h. */
#define BLOCK_ITEMS      64
#define BLOCKS           (DC_BATCH_ITEMS / BLOCK_ITEMS)
#define BATCH_FILE_BYTES (64 * 1024 * 1024) /* of values in files */

/* The same where a method is called for each item: what it makes of the values is not known. */
#define BATCH_CALLS 100

/* From so many items on, writing them (some 100 us) releases the GIL. */
#define RELEASE_GIL_ITEMS 32

/* An item, or only a key, of a batch. It stays where it is: its columns may point into it. */
typedef struct entry {
    disk_key key;
    item item;
    int done; /* written, touched or deleted */
} entry;

/* One call of one of the methods. */
typedef struct many {
    Cache *cache;
    const char *method;     /* for a single item */
    int by_method;          /* it is overridden */
    int pairs;              /* items, else keys */
    int touches;            /* of keys: else they are deleted */
    PyObject *expire, *tag; /* borrowed, or NULL */
    int only_if_absent;
    int retry;
    PyObject *iterator; /* strong */
    Py_ssize_t taken;   /* items, from the iterator */
    int64_t done;  /* items written, touched or deleted, in transactions that have been committed */
    int timed_out; /* the lock was not to be had: that is the exception which is set */
    PyObject *refused; /* list of the positions of all others, strong; or NULL */

    /* The batch. */
    entry *blocks[BLOCKS];    /* owned; NULL until needed */
    int count;                /* entries */
    Py_ssize_t first;         /* position of the first of them */
    size_t inline_bytes;      /* of all of them */
    int64_t file_bytes;       /* of all of them */
    unsigned long generation; /* of the process that takes it */
} many;

/* --- the batch -------------------------------------------------------------------------------- */

static entry *entry_at(const many *many, int i)
{
    return &many->blocks[i / BLOCK_ITEMS][i % BLOCK_ITEMS];
}

/* The entry after the last one, or NULL with an exception. */
static entry *next_entry(many *many)
{
    entry **block = &many->blocks[many->count / BLOCK_ITEMS];
    entry *entry;

    if (*block == NULL) {
        *block = PyMem_Malloc(BLOCK_ITEMS * sizeof **block);
        if (*block == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
    }
    entry = entry_at(many, many->count);
    memset(entry, 0, sizeof *entry);
    return entry;
}

static int batch_is_full(const many *many)
{
    return many->count == DC_BATCH_ITEMS || many->inline_bytes >= DC_BATCH_BYTES ||
           many->file_bytes >= BATCH_FILE_BYTES;
}

/* Forget the batch; the files of items that have not been written go. */
static void clear_batch(many *many)
{
    int is_own = many->generation == fork_generation(); /* else the files are the parent's */

    for (int i = 0; i < many->count; i++) {
        entry *entry = entry_at(many, i);
        const char *filename = entry->item.stored.columns.filename;

        if (filename != NULL && !entry->done && is_own) {
            cache_discard_file(many->cache, filename);
        }
        item_clear(&entry->item);
        disk_key_clear(&entry->key);
    }
    many->count = 0;
    many->inline_bytes = 0;
    many->file_bytes = 0;
}

/* Note which items of the batch have been refused, and count the others. */
static int count_done(many *many, Py_ssize_t position, int done)
{
    PyObject *number;
    int result;

    many->done += done != 0;
    if (done || many->refused == NULL) {
        return 0;
    }
    number = PyLong_FromSsize_t(position);
    result = number != NULL ? PyList_Append(many->refused, number) : -1;
    Py_XDECREF(number);
    return result;
}

/* --- taking items ----------------------------------------------------------------------------- */

/* A new (key, value) from what the iterator gave, which may be any sequence of two. */
static PyObject *pair_of(PyObject *given, Py_ssize_t position)
{
    PyObject *pair;

    if (PyTuple_CheckExact(given) && PyTuple_GET_SIZE(given) == 2) {
        return Py_NewRef(given);
    }
    if (Py_TYPE(given)->tp_iter == NULL && !PySequence_Check(given)) {
        PyErr_Format(PyExc_TypeError, "items[%zd] must be a pair (key, value), not '%.200s'",
                     position, Py_TYPE(given)->tp_name);
        return NULL;
    }
    pair = PySequence_Tuple(given);
    if (pair != NULL && PyTuple_GET_SIZE(pair) != 2) {
        PyErr_Format(PyExc_ValueError, "items[%zd] must be a pair (key, value): its length is %zd",
                     position, PyTuple_GET_SIZE(pair));
        Py_CLEAR(pair);
    }
    return pair;
}

/* The next key in a tuple of its own, or pair: 1, 0 at the end, -1 with an exception. */
static int take_next(many *many, PyObject **taken)
{
    PyObject *given = PyIter_Next(many->iterator);

    if (given == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    *taken = many->pairs ? pair_of(given, many->taken) : PyTuple_Pack(1, given);
    Py_DECREF(given);
    many->taken++;
    return *taken != NULL ? 1 : -1;
}

/* Convert a key, or a pair, and add it to the batch. */
static int add_entry(many *many, PyObject *taken)
{
    Cache *self = many->cache;
    PyObject *key = PyTuple_GET_ITEM(taken, 0);
    entry *entry = next_entry(many);
    const dc_columns *columns;

    if (entry == NULL || disk_put(self->state, self->disk, key, &entry->key) < 0) {
        return -1;
    }
    if (many->pairs && item_prepare(self, &entry->item, PyTuple_GET_ITEM(taken, 1), key,
                                    &entry->key, many->expire, 0, many->tag) < 0) {
        disk_key_clear(&entry->key);
        return -1;
    }
    columns = &entry->item.stored.columns;
    many->inline_bytes += dc_datum_room(&entry->key.key.datum) + dc_datum_room(&columns->value);
    /* A hook may say anything of the size. */
    many->file_bytes = dc_saturated_sum(many->file_bytes, columns->size > 0 ? columns->size : 0);
    many->count++;
    return 0;
}

/* Fill the batch: 1, 0 if that was the end, -1 with an exception. */
static int fill_batch(many *many)
{
    PyObject *taken;
    int result = 1;

    while (result > 0 && !batch_is_full(many)) {
        result = take_next(many, &taken);
        if (result > 0) {
            result = add_entry(many, taken) < 0 ? -1 : 1;
            Py_DECREF(taken);
        }
    }
    return result;
}

/* --- writing a batch -------------------------------------------------------------------------- */

static dc_status set_entries(dc_db *db, many *many)
{
    Cache *self = many->cache;
    dc_row_hooks hooks;
    const dc_rules rules = current_rules(self, &hooks);
    dc_status status = DC_OK;

    for (int i = 0; i < many->count && status == DC_OK; i++) {
        entry *entry = entry_at(many, i);
        dc_write write = {.key = &entry->key.key,
                          .columns = &entry->item.stored.columns,
                          .now = entry->item.now,
                          .only_if_absent = many->only_if_absent,
                          .rules = &rules,
                          .removed = &self->transaction.removed};

        status = dc_write_set(db, &write);
        entry->done = write.written;
    }
    return status;
}

/* Delete, or touch. What has expired at `now` counts as absent. */
static dc_status change_entries(dc_db *db, many *many, const dc_columns *expire, double now)
{
    dc_status status = DC_OK;

    for (int i = 0; i < many->count && (status == DC_OK || status == DC_NOT_FOUND); i++) {
        entry *entry = entry_at(many, i);

        status = many->touches
                     ? dc_row_touch(db, &entry->key.key, expire, now)
                     : dc_row_remove(db, &entry->key.key, now, &many->cache->transaction.removed);
        entry->done = status == DC_OK;
    }
    return status == DC_NOT_FOUND ? DC_OK : status;
}

static Written written_at(const void *context, int i)
{
    const many *many = context;
    const entry *entry = entry_at(many, i);

    return many->pairs && entry->done ? (Written){.kind = WRITTEN_VALUE,
                                                  .key = &entry->key,
                                                  .stored = &entry->item.stored,
                                                  .tag = entry->item.tag_owner}
                                      : (Written){.kind = WRITTEN_KEY, .key = &entry->key};
}

/* The batch has failed. Files are the transaction's, but those of which no row has come about go. */
static int give_files_up(many *many, Operation *operation)
{
    for (int i = 0; i < many->count; i++) {
        entry *entry = entry_at(many, i);

        if (many->pairs && !entry->done && entry->item.stored.columns.filename != NULL) {
            operation_discard_file(operation, entry->item.stored.columns.filename, 1);
        }
        entry->done = 1;
    }
    return -1;
}

/* Begin, write, commit. If that fails the rows are rolled back and the files of those written go;
 * as long as nothing has been written the files are clear_batch's. */
static int write_batch(many *many)
{
    Cache *self = many->cache;
    Operation operation = {.cache = self};
    dc_columns expire = {.has_expire_time = 0};
    double now;
    dc_db *db;
    dc_status status;

    if (many->generation != fork_generation()) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the process has forked while items were taken: they are the parent's");
        return -1;
    }
    if (convert_now(self->state, &now) < 0 ||
        (many->touches && convert_expire(many->expire, now, &expire) < 0) ||
        operation_begin_write(&operation, self, many->retry) < 0) {
        return -1;
    }
    operation.release_gil = many->count >= RELEASE_GIL_ITEMS;
    for (int i = 0; i < many->count; i++) {
        entry *entry = entry_at(many, i);

        if (item_seal_anew(self, &entry->item, &entry->key) < 0 ||
            operation_add_file(&operation, entry->item.stored.columns.filename) < 0) {
            operation_rollback(&operation);
            return -1;
        }
    }
    db = operation_enter(&operation);
    status = many->pairs ? set_entries(db, many) : change_entries(db, many, &expire, now);
    operation_leave_write(
        &operation,
        (Written){.kind = WRITTEN_EACH, .count = many->count, .at = written_at, .context = many});
    if ((status == DC_OK ? operation_commit(&operation) : operation_fail(&operation, status)) < 0) {
        return give_files_up(many, &operation);
    }
    for (int i = 0; i < many->count; i++) {
        if (count_done(many, many->first + i, entry_at(many, i)->done) < 0) {
            return -1;
        }
    }
    return 0;
}

/* A batch could not be written. A Timeout tells how many items the batches before have written. */
static int fail_batch(many *many)
{
    many->timed_out = PyErr_ExceptionMatches(many->cache->state->Timeout);
    if (many->timed_out) {
        raise_timeout_after(many->done);
    }
    return -1;
}

/* Take a batch and write it: 1, 0 if it was the last one, -1 with an exception. */
static int do_batch(many *many)
{
    int result = fill_batch(many);

    if (result >= 0 && many->count > 0 && write_batch(many) < 0) {
        result = fail_batch(many);
    }
    clear_batch(many);
    return result;
}

/* --- a batch by an overridden method ---------------------------------------------------------- */

/* The keywords of its calls besides `retry`: those that were given. */
static PyObject *call_keywords(const many *many)
{
    PyObject *keywords = PyDict_New();

    if (keywords != NULL && ((many->expire != NULL && many->expire != Py_None &&
                              PyDict_SetItemString(keywords, "expire", many->expire) < 0) ||
                             (many->tag != NULL && many->tag != Py_None &&
                              PyDict_SetItemString(keywords, "tag", many->tag) < 0))) {
        Py_CLEAR(keywords);
    }
    return keywords;
}

/* Let cache.py's Cache call the method for each, in a transaction. */
static int call_each(many *many, PyObject *calls)
{
    PyObject *keywords = call_keywords(many);
    PyObject *results = NULL;
    int result = -1;

    if (keywords != NULL) {
        results = PyObject_CallMethod((PyObject *)many->cache, "_call_each", "sOOO", many->method,
                                      calls, keywords, many->retry ? Py_True : Py_False);
        Py_DECREF(keywords);
    }
    if (results != NULL && PyList_Check(results)) {
        result = 0;
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(results) && result == 0; i++) {
            result = count_done(many, many->first + i, PyList_GET_ITEM(results, i) == Py_True);
        }
    } else if (results != NULL) {
        PyErr_SetString(PyExc_TypeError, "_call_each must return a list");
    }
    Py_XDECREF(results);
    return result;
}

/* As do_batch. */
static int call_batch(many *many)
{
    PyObject *calls = PyList_New(0);
    PyObject *taken;
    int result = calls != NULL ? 1 : -1;

    while (result > 0 && PyList_GET_SIZE(calls) < BATCH_CALLS) {
        result = take_next(many, &taken);
        if (result > 0) {
            result = PyList_Append(calls, taken) < 0 ? -1 : 1;
            Py_DECREF(taken);
        }
    }
    if (result >= 0 && PyList_GET_SIZE(calls) > 0 && call_each(many, calls) < 0) {
        result = fail_batch(many);
    }
    Py_XDECREF(calls);
    return result;
}

/* --- the methods that write ------------------------------------------------------------------- */

/* An iterator over the argument `name`; what has keys and items is a mapping. */
static PyObject *iterate(module_state *state, PyObject *argument, const char *name, int pairs)
{
    PyObject *iterable = Py_NewRef(argument);
    PyObject *iterator;

    if (pairs && PyObject_HasAttr(argument, state->name.keys) &&
        PyObject_HasAttr(argument, state->name.items)) {
        Py_SETREF(iterable, PyObject_CallMethodNoArgs(argument, state->name.items));
    } else if (PyUnicode_Check(argument) || PyBytes_Check(argument) ||
               (Py_TYPE(argument)->tp_iter == NULL && !PySequence_Check(argument))) {
        PyErr_Format(PyExc_TypeError, "%s must be %s, not '%.200s'", name,
                     pairs ? "a mapping or an iterable of pairs" : "an iterable of keys",
                     Py_TYPE(argument)->tp_name);
        Py_CLEAR(iterable);
    }
    iterator = iterable != NULL ? PyObject_GetIter(iterable) : NULL;
    Py_XDECREF(iterable);
    return iterator;
}

/* Do all batches of what the argument gives. -1 with an exception. */
static int do_all(many *many, PyObject *argument, const char *name)
{
    int more = 1;

    many->iterator = iterate(many->cache->state, argument, name, many->pairs);
    if (many->iterator == NULL) {
        return -1;
    }
    while (more > 0) {
        many->first = many->taken;
        many->generation = fork_generation();
        more = many->by_method ? call_batch(many) : do_batch(many);
        if (more > 0 && PyErr_CheckSignals() < 0) {
            more = -1;
        }
    }
    for (int i = 0; i < BLOCKS; i++) {
        PyMem_Free(many->blocks[i]);
    }
    Py_CLEAR(many->iterator);
    return more;
}

/* Expire and tag are looked at before anything is taken. */
static int check_details(PyObject *expire, PyObject *tag)
{
    dc_columns columns;
    PyObject *owner = NULL;
    int result;

    memset(&columns, 0, sizeof columns);
    result = convert_expire(expire, 0.0, &columns) < 0 ||
                     convert_to_datum(tag != NULL ? tag : Py_None, "tag", &columns.tag, &owner) < 0
                 ? -1
                 : 0;
    Py_XDECREF(owner);
    return result;
}

/* set_many() and add_many(), and the form of both that reports positions. */
static int store_many(many *many, PyObject *items)
{
    Cache *self = many->cache;
    unsigned int hook = many->only_if_absent ? CACHE_HOOK_add : CACHE_HOOK_set;

    if (cache_ready(self) < 0 || check_details(many->expire, many->tag) < 0) {
        return -1;
    }
    many->method = many->only_if_absent ? "add" : "set";
    many->by_method = (cache_hooks(self) & hook) != 0;
    many->pairs = 1;
    return do_all(many, items, "items");
}

static PyObject *store_method(Cache *self, const Cache_set_many_args *args, int only_if_absent)
{
    many many = {.cache = self,
                 .only_if_absent = only_if_absent,
                 .expire = args->expire,
                 .tag = args->tag,
                 .retry = args->retry};

    return store_many(&many, args->items) < 0 ? NULL : PyLong_FromLongLong(many.done);
}

PyObject *Cache_set_many(Cache *self, const Cache_set_many_args *args)
{
    return store_method(self, args, 0);
}

PyObject *Cache_add_many(Cache *self, const Cache_add_many_args *args)
{
    return store_method(self, args, 1);
}

/* The positions from `first` on, up to the `end`. */
static int refuse_rest(PyObject *refused, Py_ssize_t first, Py_ssize_t end)
{
    for (Py_ssize_t i = first; i < end; i++) {
        PyObject *number = PyLong_FromSsize_t(i);
        int result = number != NULL ? PyList_Append(refused, number) : -1;

        Py_XDECREF(number);
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

/* Do all of what is given, and return the positions of what was not done; for a lock that was not to be had also, for
 * which no Timeout is raised. */
static PyObject *report_refused(many *many, PyObject *given,
                                int (*do_many)(struct many *, PyObject *))
{
    PyObject *list = PySequence_List(given);
    int result;

    many->refused = list != NULL ? PyList_New(0) : NULL;
    if (many->refused == NULL) {
        Py_XDECREF(list);
        return NULL;
    }
    result = do_many(many, list);
    if (result < 0 && many->timed_out) {
        PyErr_Clear();
        result = refuse_rest(many->refused, many->first, PyList_GET_SIZE(list));
    }
    Py_DECREF(list);
    if (result < 0) {
        Py_CLEAR(many->refused);
    }
    return many->refused;
}

PyObject *Cache__store_many(Cache *self, const Cache__store_many_args *args)
{
    many many = {.cache = self,
                 .expire = args->expire,
                 .tag = args->tag,
                 .retry = args->retry,
                 .only_if_absent = args->add};

    return report_refused(&many, args->pairs, store_many);
}

static int touch_many(many *many, PyObject *keys)
{
    Cache *self = many->cache;

    if (cache_ready(self) < 0 || check_details(many->expire, NULL) < 0) {
        return -1;
    }
    many->method = "touch";
    many->by_method = (cache_hooks(self) & CACHE_HOOK_touch) != 0 || self->seals;
    many->touches = 1;
    return do_all(many, keys, "keys");
}

PyObject *Cache_touch_many(Cache *self, const Cache_touch_many_args *args)
{
    many many = {.cache = self, .expire = args->expire, .retry = args->retry};

    return touch_many(&many, args->keys) < 0 ? NULL : PyLong_FromLongLong(many.done);
}

PyObject *Cache__touch_many(Cache *self, const Cache__touch_many_args *args)
{
    many many = {.cache = self, .expire = args->expire, .retry = args->retry};

    return report_refused(&many, args->keys, touch_many);
}

PyObject *Cache_delete_many(Cache *self, const Cache_delete_many_args *args)
{
    many many = {.cache = self, .method = "delete", .retry = args->retry};

    if (cache_ready(self) < 0) {
        return NULL;
    }
    many.by_method = (cache_hooks(self) & (CACHE_HOOK_delete | CACHE_HOOK___delitem__)) != 0;
    return do_all(&many, args->keys, "keys") < 0 ? NULL : PyLong_FromLongLong(many.done);
}

/* --- get_many --------------------------------------------------------------------------------- */

/* The next keys of an iterator, up to a batch of them, in a tuple. */
static PyObject *take_keys(PyObject *iterator, Py_ssize_t position)
{
    PyObject *keys = PyList_New(0);
    PyObject *tuple = NULL;
    PyObject *key;

    while (keys != NULL && PyList_GET_SIZE(keys) < DC_BATCH_ITEMS &&
           (key = PyIter_Next(iterator)) != NULL) {
        if (PyObject_Hash(key) == -1) {
            if (PyErr_ExceptionMatches(PyExc_TypeError)) {
                PyErr_Format(PyExc_TypeError,
                             "keys[%zd], of type '%.200s', cannot be hashed, which a key of the "
                             "returned dict must be",
                             position + PyList_GET_SIZE(keys), Py_TYPE(key)->tp_name);
            }
            Py_CLEAR(keys);
        } else if (PyList_Append(keys, key) < 0) {
            Py_CLEAR(keys);
        }
        Py_DECREF(key);
    }
    if (keys != NULL && !PyErr_Occurred()) {
        tuple = PyList_AsTuple(keys);
    }
    Py_XDECREF(keys);
    return tuple;
}

/* What an overridden get returns for each of the keys, ENOVAL for what is absent. */
static PyObject *get_each(Cache *self, PyObject *keys, int retry)
{
    PyObject *names = Py_BuildValue("(ss)", "default", "retry");
    PyObject *values = names != NULL ? PyList_New(PyTuple_GET_SIZE(keys)) : NULL;

    for (Py_ssize_t i = 0; values != NULL && i < PyTuple_GET_SIZE(keys); i++) {
        PyObject *arguments[] = {(PyObject *)self, PyTuple_GET_ITEM(keys, i), self->state->enoval,
                                 retry ? Py_True : Py_False};
        PyObject *value = PyObject_VectorcallMethod(self->state->name.get, arguments, 2, names);

        if (value == NULL) {
            Py_CLEAR(values);
        } else {
            PyList_SET_ITEM(values, i, value);
        }
    }
    Py_XDECREF(names);
    return values;
}

/* Look a batch of keys up and put what is there into the result. */
static int get_batch(Cache *self, PyObject *keys, int retry, PyObject *result)
{
    int by_method = (cache_hooks(self) & CACHE_HOOK_get) != 0;
    PyObject *values = by_method ? get_each(self, keys, retry)
                                 : cache_get_values(self, keys, retry);
    int status = values != NULL ? 0 : -1;

    for (Py_ssize_t i = 0; status == 0 && i < PyTuple_GET_SIZE(keys); i++) {
        PyObject *value = PyList_GET_ITEM(values, i);

        if (value != self->state->enoval) {
            status = PyDict_SetItem(result, PyTuple_GET_ITEM(keys, i), value);
        }
    }
    Py_XDECREF(values);
    return status;
}

PyObject *Cache_get_many(Cache *self, const Cache_get_many_args *args)
{
    PyObject *iterator;
    PyObject *result = NULL;
    PyObject *keys;
    Py_ssize_t taken = 0;
    int more = -1;

    if (cache_ready(self) < 0) {
        return NULL;
    }
    iterator = iterate(self->state, args->keys, "keys", 0);
    if (iterator != NULL) {
        result = PyDict_New();
        more = result != NULL ? 1 : -1;
    }
    while (more > 0) {
        keys = take_keys(iterator, taken);
        more = keys != NULL ? PyTuple_GET_SIZE(keys) == DC_BATCH_ITEMS : -1;
        if (keys != NULL) {
            taken += PyTuple_GET_SIZE(keys);
            if ((PyTuple_GET_SIZE(keys) > 0 && get_batch(self, keys, args->retry, result) < 0) ||
                PyErr_CheckSignals() < 0) {
                more = -1;
            }
            Py_DECREF(keys);
        }
    }
    Py_XDECREF(iterator);
    if (more < 0) {
        Py_CLEAR(result);
    }
    return result;
}
