/* methods_get.c: looking keys up: get, read, [], in.
 *
 * A lookup does not take the write lock. Accesses go to the access log, which a lookup writes at most once a second, if
 * the lock is free. lookup.h has the way of a lookup.
 */
#include "cache/lookup.h"

#include <string.h>

#include "cache/access.h"
#include "cache/errors.h"
#include "cache/mending.h"
#include "cache/methods.h"
#include "cache/row.h"
#include "engine/rows.h"
#include "python/call_key.h"
#include "python/convert.h"

/* What a Disk decides about a value that memory has only a pickle or a file of. */
#define LOADING_HOOKS (DISK_HOOK_fetch | DISK_HOOK__fetch_row | DISK_HOOK__from_pickle)

typedef struct get_options {
    disk_read read;
    int expire_time, tag, retry;
} get_options;

/* What get() returns for a key that is not there; a default of NULL makes that a KeyError. */
static PyObject *absent(Cache *self, PyObject *key, PyObject *otherwise, const get_options *options)
{
    if (otherwise == NULL) {
        raise_key_error(key);
        return NULL;
    }
    return with_details(self->state, Py_NewRef(otherwise), NULL, options->expire_time,
                        options->tag);
}

/* What it returns for a key that is. */
static PyObject *found_value(Lookup *lookup, const get_options *options)
{
    PyObject *value = lookup->value;

    lookup->value = NULL;
    return lookup->with_columns ? with_details(lookup->cache->state, value, lookup->columns,
                                               options->expire_time, options->tag)
                                : value;
}

/* What get() needs of a row. */
static int needed_to_get(const Cache *self, int tag)
{
    return HOT_VALUE | (tag || self->seals ? HOT_TAG : 0) |
           (cache_counts_access(self) ? HOT_IDENTITY : 0);
}

/* A lookup has failed, with an exception: what it comes to if that is answered as a miss. */
static lookup_outcome answer_failure(Cache *self, lookup_outcome outcome, enum on_error level)
{
    int misses = outcome == LOOKUP_BROKEN ? cache_passes_over(self, level)
                                          : cache_misses_malformed(self, level);

    return misses ? LOOKUP_ABSENT : LOOKUP_FAILED;
}

/* The whole of get(); a default of NULL makes an absent key a KeyError. */
static PyObject *get_value(Cache *self, PyObject *key, PyObject *otherwise,
                           const get_options *options)
{
    Lookup lookup;
    lookup_outcome outcome;
    PyObject *result = NULL;

    if (cache_ready(self) < 0) {
        return NULL;
    }
    lookup_init(&lookup, self, needed_to_get(self, options->tag), options->retry);
    lookup.with_columns = options->expire_time || options->tag;
    lookup.read = options->read;
    outcome = lookup_of_key(&lookup, key);
    if (outcome < LOOKUP_ABSENT) {
        outcome = answer_failure(self, outcome, otherwise != NULL ? ON_ERROR_GET : ON_ERROR_MISS);
    }
    if (outcome != LOOKUP_FAILED &&
        cache_log_access(self, outcome == LOOKUP_FOUND, lookup.rowid) == 0) {
        result = outcome == LOOKUP_FOUND ? found_value(&lookup, options)
                                         : absent(self, key, otherwise, options);
    }
    lookup_clear(&lookup);
    return result;
}

PyObject *Cache_get(Cache *self, const Cache_get_args *args)
{
    const get_options options = {args->read ? DISK_READ_FILE : DISK_READ_VALUE, args->expire_time,
                                 args->tag, args->retry};

    return get_value(self, args->key, args->otherwise != NULL ? args->otherwise : Py_None,
                     &options);
}

/* From memory, without the guard: 1; 0 if that is not to be had. A default of NULL makes an absent key a KeyError. */
static int get_at_once(Cache *self, PyObject *key, PyObject *otherwise, PyObject **value)
{
    lookup_outcome outcome = lookup_at_once(self, key, HOT_VALUE, value);

    if (outcome == LOOKUP_ABSENT) {
        *value = Py_XNewRef(otherwise);
        if (otherwise == NULL) {
            raise_key_error(key);
        }
    }
    return outcome != LOOKUP_UNKNOWN;
}

int Cache_get_at_once(Cache *self, const Cache_get_args *args, PyObject **result)
{
    return !args->expire_time && !args->tag &&
           get_at_once(self, args->key, args->otherwise != NULL ? args->otherwise : Py_None,
                       result);
}

/* The value of a key that is pickled so, from memory alone; NULL, with an exception or without. */
static PyObject *recall_pickled(Cache *self, PyObject *pickled, unsigned int hooks)
{
    Lookup lookup;
    PyObject *result = NULL;

    lookup_init(&lookup, self, needed_to_get(self, 0), 1);
    lookup.key = pickled;
    lookup.encoded.owner = Py_NewRef(pickled);
    lookup.encoded.key.raw = 0;
    convert_bytes(pickled, &lookup.encoded.key.datum);
    lookup.has_hot_key = hot_key_of_put(&lookup.encoded, &lookup.hot);
    if (!(hooks & DISK_HOOK_fetch)) {
        result = lookup_recall_value(&lookup);
    }
    if (result == NULL && !(hooks & LOADING_HOOKS) && lookup_recall(&lookup) == LOOKUP_FOUND &&
        lookup_value(&lookup) == LOOKUP_FOUND) {
        result = Py_NewRef(lookup.value);
    }
    if (result != NULL) {
        self->hot.hits++;
        if (cache_log_access(self, 1, lookup.rowid) < 0) {
            Py_CLEAR(result);
        }
    }
    lookup_clear(&lookup);
    return result;
}

/* What the key of a call is stored as, by this Disk and if that is known; NULL, with an exception or without. */
static PyObject *pickled_call(Cache *self, PyObject *disk, PyObject *const *args)
{
    PyObject *function = args[0];
    PyObject *attributes = NULL;
    PyObject *cache_key = NULL;
    PyObject *pickled = NULL;

    if (!PyFunction_Check(function) || !PyTuple_CheckExact(args[1]) ||
        !PyDict_CheckExact(args[2])) {
        return NULL;
    }
    GUARD_BEGIN(function) /* a program may set both of these */
    attributes = Py_XNewRef(((PyFunctionObject *)function)->func_dict);
    GUARD_END()
    if (attributes != NULL) {
        cache_key = compat_dict_get(attributes, self->state->name.__cache_key__);
        Py_DECREF(attributes);
    }
    if (cache_key != NULL) {
        pickled = call_key_pickled(self->state, cache_key, args[1], args[2],
                                   ((Disk *)disk)->key_pickle_protocol);
        Py_DECREF(cache_key);
    }
    return pickled;
}

/* What answers most calls of a memoized function. Whatever is not simply there is ENOVAL, and then looked up by get(),
 * which says what is wrong; so nothing is counted or logged here but a hit. */
static PyObject *recall(Cache *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *pickled = NULL;
    PyObject *result = NULL;
    PyObject *disk;
    unsigned int hooks;

    if (nargs != 3) {
        return PyErr_Format(PyExc_TypeError, "_recall expected 3 arguments, got %zd", nargs);
    }
    if (cache_ready(self) < 0) {
        return NULL;
    }
    if (!may_be_hot(self) || (cache_hooks(self) & CACHE_HOOK_get)) {
        return Py_NewRef(self->state->enoval);
    }
    disk = Py_NewRef(self->disk);
    hooks = disk_hooks(self->state, disk);
    if (!(hooks & (DISK_HOOK_put | DISK_HOOK__seal))) {
        pickled = pickled_call(self, disk, args);
    }
    if (pickled != NULL) { /* Python code may have run meanwhile */
        result = may_be_hot(self) && disk == self->disk ? recall_pickled(self, pickled, hooks)
                                                        : NULL;
        Py_DECREF(pickled);
    }
    Py_DECREF(disk);
    if (result == NULL && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_Clear();
    }
    return result != NULL || PyErr_Occurred() ? result : Py_NewRef(self->state->enoval);
}

PyObject *Cache__recall(Cache *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *result;

    GUARD_BEGIN(self)
    result = recall(self, args, nargs);
    GUARD_END()
    return result;
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

/* The same with the guard. */
static PyObject *subscript(Cache *self, PyObject *key)
{
    static const get_options options = {.retry = 1};
    PyObject *value;
    int failures = 0;

    do {
        value = cache_hooks(self) & CACHE_HOOK_get ? get_by_hook(self, key, 0, 1)
                                                   : get_value(self, key, NULL, &options);
    } while (value == NULL && cache_has_healed(self, NULL, NULL, &failures));
    return value;
}

PyObject *cache_subscript(Cache *self, PyObject *key)
{
    PyObject *value;

    if (!COMPAT_HAS_GIL && !(own_hooks(self) & CACHE_HOOK_get) &&
        get_at_once(self, key, NULL, &value)) {
        return value;
    }
    GUARD_BEGIN(self)
    value = subscript(self, key);
    GUARD_END()
    return value;
}

/* What is in a file that a hook has opened, which need not be the value file; it is closed. NULL with an exception. */
static PyObject *read_whole(module_state *state, PyObject *file)
{
    PyObject *content = PyObject_CallMethodNoArgs(file, state->name.read);
    compat_exception current = compat_exception_take();
    PyObject *closed = PyObject_CallMethodNoArgs(file, state->name.close);

    if (closed == NULL && compat_exception_is_none(&current)) {
        Py_CLEAR(content);
        return NULL;
    }
    Py_XDECREF(closed);
    compat_exception_put(current);
    return content;
}

/* What read() has found, which is taken, as a memoryview. `hooked`: it may be a file that a hook has opened. NULL
 * with an exception. */
static PyObject *view_of(module_state *state, PyObject *value, PyObject *key, int hooked)
{
    PyObject *view = NULL;

    if (hooked && PyObject_HasAttr(value, state->name.read)) {
        Py_SETREF(value, read_whole(state, value));
        if (value == NULL) {
            return NULL;
        }
    }
    if (PyMemoryView_Check(value)) {
        view = PyObject_CallMethod(value, "toreadonly", NULL);
    } else if (PyBytes_Check(value)) {
        view = PyMemoryView_FromObject(value);
    } else {
        PyErr_Format(PyExc_TypeError,
                     "mmap=True is for bytes, and the value of key %R is of type '%.200s'", key,
                     Py_TYPE(value)->tp_name);
    }
    Py_DECREF(value);
    return view;
}

PyObject *Cache_read(Cache *self, const Cache_read_args *args)
{
    const get_options options = {.read = args->mmap ? DISK_READ_MAP : DISK_READ_FILE,
                                 .retry = args->retry};
    unsigned int hooked = cache_hooks(self) & CACHE_HOOK_get;
    PyObject *value = hooked ? get_by_hook(self, args->key, 1, args->retry)
                             : get_value(self, args->key, NULL, &options);

    if (value == NULL || !args->mmap) {
        return value;
    }
    hooked |= disk_hooks(self->state, self->disk) & DISK_HOOK_fetch;
    return view_of(self->state, value, args->key, hooked != 0);
}

static int contains(Cache *self, PyObject *key)
{
    Lookup lookup;
    lookup_outcome outcome;

    if (cache_ready(self) < 0) {
        return -1;
    }
    lookup_init(&lookup, self, 0, 0);
    outcome = lookup_of_key(&lookup, key);
    if (outcome == LOOKUP_FAILED) {
        outcome = answer_failure(self, outcome, ON_ERROR_MISS);
    }
    lookup_clear(&lookup);
    return outcome; /* -1, 0, 1 as they are: no value is loaded */
}

int cache_contains(Cache *self, PyObject *key)
{
    PyObject *value;
    lookup_outcome outcome = lookup_at_once(self, key, 0, &value);
    int result = outcome;
    int failures = 0;

    if (outcome == LOOKUP_UNKNOWN) {
        GUARD_BEGIN(self)
        do {
            result = contains(self, key);
        } while (result < 0 && cache_has_healed(self, NULL, NULL, &failures));
        GUARD_END()
    }
    return result;
}

/* --- many keys ---------------------------------------------------------------------------------- */

/* Recall all of them, if memory knows all at one moment: 1; 0; -1 with an exception. */
static int recall_all(Cache *self, Lookup *lookups, Py_ssize_t count, lookup_outcome *outcomes)
{
    const HotTier *tier = &self->hot;
    uint32_t generation = 0;
    uint64_t commits = tier->commits;
    int result = may_be_hot(self);

    for (Py_ssize_t i = 0; i < count && result > 0; i++) {
        outcomes[i] = lookup_recall(&lookups[i]);
        generation = i == 0 ? tier->generation : generation;
        result = outcomes[i] == LOOKUP_FAILED ? -1 : outcomes[i] != LOOKUP_UNKNOWN;
    }
    if (result > 0 && count > 0 && (tier->generation != generation || tier->commits != commits)) {
        result = 0;
    }
    *(result > 0 ? &self->hot.hits : &self->hot.misses) += (uint64_t)count;
    return result;
}

/* How often at most rows are read again, since files have gone meanwhile. */
#define MOMENT_ATTEMPTS 10

/* Note the name of a file that is missing. 1; 0 if it was missing before, or is not known; -1 with an exception. */
static int note_missing(PyObject **missing, const char *filename)
{
    PyObject *name = filename != NULL ? PyBytes_FromString(filename) : NULL;
    int result = filename != NULL ? -1 : 0;

    if (name != NULL && *missing == NULL) {
        *missing = PySet_New(NULL);
    }
    if (name != NULL && *missing != NULL) {
        int known = PySet_Contains(*missing, name);

        result = known == 0 && PySet_Add(*missing, name) == 0 ? 1 : known > 0 ? 0 : -1;
    }
    Py_XDECREF(name);
    return result;
}

/* Load the values of rows. `stamped` is how they were read, or NULL if they were recalled. 1; 0 if all rows are to be
 * read again: the file of one has gone, which has just been rewritten, perhaps; -1 with an exception. */
static int load_values(Lookup *lookups, Py_ssize_t count, lookup_outcome *outcomes,
                       const stamped_read *stamped, PyObject **missing)
{
    int result = 1;

    for (Py_ssize_t i = 0; i < count && result >= 0; i++) {
        Lookup *lookup = &lookups[i];
        lookup_outcome outcome = outcomes[i];
        int noted = 0;

        if (outcome == LOOKUP_FOUND) {
            outcome = lookup_value(lookup);
        }
        if (outcome == LOOKUP_UNKNOWN) {
            noted = note_missing(missing, lookup->columns->filename);
        } else if (stamped != NULL) {
            lookup_remember(lookup, stamped, outcome);
        }
        if (outcome < LOOKUP_ABSENT) {
            outcome = answer_failure(lookup->cache, outcome, ON_ERROR_GET);
        }
        if (noted < 0 || outcome == LOOKUP_FAILED) {
            result = -1;
        } else if (noted > 0) {
            result = 0;
        }
        outcomes[i] = outcome;
    }
    return result;
}

/* The value of a key, ENOVAL if there is none. */
static PyObject *value_of_many(Lookup *lookup, lookup_outcome outcome)
{
    Cache *self = lookup->cache;
    const get_options options = {.retry = lookup->retry};

    if (outcome == LOOKUP_UNKNOWN) { /* its file is lost, or rewritten again and again */
        return get_value(self, lookup->key, self->state->enoval, &options);
    }
    if (cache_log_access(self, outcome == LOOKUP_FOUND, lookup->rowid) < 0) {
        return NULL;
    }
    return Py_NewRef(outcome == LOOKUP_FOUND ? lookup->value : self->state->enoval);
}

/* As many as there are keys: each is missing. */
static PyObject *all_absent(Cache *self, Py_ssize_t count)
{
    PyObject *values = PyList_New(count);

    for (Py_ssize_t i = 0; i < count && values != NULL; i++) {
        PyList_SET_ITEM(values, i, Py_NewRef(self->state->enoval));
    }
    return values;
}

/* A list of the values of keys in a tuple. */
static PyObject *look_up_many(Cache *self, PyObject *keys, Lookup *lookups,
                              lookup_outcome *outcomes)
{
    Py_ssize_t count = PyTuple_GET_SIZE(keys);
    PyObject *values = NULL;
    PyObject *missing = NULL;
    stamped_read stamped;
    int loaded;

    for (Py_ssize_t i = 0; i < count; i++) {
        if (lookup_encode(&lookups[i], PyTuple_GET_ITEM(keys, i)) < 0) {
            return NULL;
        }
    }
    loaded = recall_all(self, lookups, count, outcomes);
    if (loaded > 0) {
        loaded = load_values(lookups, count, outcomes, NULL, &missing);
    }
    for (int i = 0; i < MOMENT_ATTEMPTS && loaded == 0; i++) {
        loaded = lookup_read_many(lookups, count, outcomes, &stamped);
        if (loaded == 0) {
            loaded = load_values(lookups, count, outcomes, &stamped, &missing);
        }
    }
    Py_XDECREF(missing);
    if (loaded >= 0) {
        values = PyList_New(count);
    }
    for (Py_ssize_t i = 0; i < count && values != NULL; i++) {
        PyObject *value = value_of_many(&lookups[i], outcomes[i]);

        if (value == NULL) {
            Py_CLEAR(values);
        } else {
            PyList_SET_ITEM(values, i, value);
        }
    }
    return values;
}

PyObject *cache_get_values(Cache *self, PyObject *keys, int retry)
{
    Py_ssize_t count = PyTuple_GET_SIZE(keys);
    Lookup *lookups = PyMem_New(Lookup, (size_t)count + 1);
    lookup_outcome *outcomes = PyMem_New(lookup_outcome, (size_t)count + 1);
    int needed = needed_to_get(self, 0);
    PyObject *result = NULL;

    if (lookups == NULL || outcomes == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        lookup_init(&lookups[i], self, needed, retry);
    }
    result = look_up_many(self, keys, lookups, outcomes);
    if (result == NULL && cache_misses_malformed(self, ON_ERROR_GET)) {
        result = all_absent(self, count);
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        lookup_clear(&lookups[i]);
    }
done:
    PyMem_Free(outcomes);
    PyMem_Free(lookups);
    return result;
}

PyObject *Cache__get_values(Cache *self, const Cache__get_values_args *args)
{
    PyObject *keys = PySequence_Tuple(args->keys);
    PyObject *result = NULL;

    if (keys != NULL && cache_ready(self) == 0) {
        result = cache_get_values(self, keys, args->retry);
    }
    Py_XDECREF(keys);
    return result;
}
