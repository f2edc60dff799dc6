/* cache_get.c: looking keys up: get, read, [], in.
 *
 * A lookup takes no lock and writes nothing: what policy or statistics want to know is noted for the
 * next transaction. It reads the clock only if the row has an expiry. It is answered by the hot tier
 * (hottier.h) if possible, else by SQLite, and then remembered there.
 */
#include "cache_hot.h"
#include "cache_methods.h"

#include <string.h>

#include "args.h"
#include "convert.h"

static int notes_access(Cache *self)
{
    return dc_policies[self->rules.policy].note_access != DC_NO_SQL || self->own_policy_notes;
}

/* --- through the hot tier ----------------------------------------------------------------------- */

/* A key that needs neither pickling nor a hook. */
static int is_plain_key(Cache *self, PyObject *key, hot_key *hot)
{
    return hot_key_of_object(key, hot) && !(disk_hooks(self->state, self->disk) & DISK_HOOK_put);
}

/* Find the value of a key and fill found->row: 1, 0 if there is none, -1 with an exception. A value
 * file that is missing means that another process has just rewritten the value: the row is read again,
 * until it stays the same. */
static int find_value(Cache *self, found *found, PyObject *key, const hot_key *hot, int read,
                      int retry, PyObject **value)
{
    stamped stamped = {.call = find_row, .context = found};
    int known = HOT_VALUE | (found->selection->details & DC_DETAIL_TAG ? HOT_TAG : 0) |
                (found->selection->details & DC_DETAIL_IDENTITY ? HOT_IDENTITY : 0);
    dc_row previous;
    int again = 0;
    int alive;
    int missing;
    int result = -1;
    dc_status status;

    dc_row_init(&previous);
    for (;;) {
        status = read_stamped(self, &stamped, retry);
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
        stamped.stable = 0;
        if (!missing) {
            if (PyErr_ExceptionMatches(PyExc_OSError)) { /* a miss, as the original has it */
                PyErr_Clear();
                result = 0;
            } else {
                blame_row(self, key, NULL, found->row.columns.filename);
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
    if (hot != NULL && stamped.stable && result >= 0) {
        int hooked = (disk_hooks(self->state, self->disk) & DISK_HOOK_fetch) != 0;

        hot_remember(&self->hot, hot, stamped.attachment, &stamped.stamp,
                     status == DC_OK ? &found->row : NULL, known, hooked ? NULL : *value);
    }
    dc_row_clear(&previous);
    return result;
}

typedef struct get_options {
    int read, expire_time, tag, retry;
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

/* Answer get() from the hot tier: 1 with *result (NULL: an exception), 0 if SQLite must be asked. */
static int get_hot(Cache *self, const hot_key *hot, PyObject *key, PyObject *otherwise,
                   const get_options *options, PyObject **result)
{
    HotEntry *entry = hot_find(&self->hot, hot);
    int needed = HOT_VALUE | (options->tag ? HOT_TAG : 0) | (notes_access(self) ? HOT_IDENTITY : 0);
    remembered copy;
    PyObject *value = NULL;
    int64_t rowid;
    int found;

    if (entry == NULL || !hot_knows(entry, needed)) {
        return 0;
    }
    self->hot.hits++;
    rowid = entry->rowid;
    if (entry->known & HOT_ABSENT) {
        *result = cache_note_lookup(self, 0, 0) < 0 ? NULL : absent(self, key, otherwise, options);
        return 1;
    }
    if (entry->value != NULL && !entry->has_expire_time && !options->expire_time && !options->tag &&
        !(disk_hooks(self->state, self->disk) & DISK_HOOK_fetch)) {
        *result = Py_NewRef(entry->value);
        if (cache_note_lookup(self, 1, rowid) < 0) {
            Py_CLEAR(*result);
        }
        return 1;
    }
    found = remembered_take(&copy, entry) < 0
                ? -1
                : remembered_value(self, &copy, SELECT_KEY, key, options->read, &value);
    *result = NULL;
    if (found == 2) {
        self->hot.hits--;
    } else if (found < 0 || cache_note_lookup(self, found, rowid) < 0) {
        Py_XDECREF(value);
    } else {
        *result = found ? with_details(self->state, value, &copy.columns, options->expire_time,
                                       options->tag)
                        : absent(self, key, otherwise, options);
    }
    remembered_clear(&copy);
    return found != 2;
}

/* The whole of get(); a default of NULL makes an absent key a KeyError. */
static PyObject *get_value(Cache *self, PyObject *key, PyObject *otherwise,
                           const get_options *options)
{
    disk_key put = {.owner = NULL};
    selection selection = {.kind = SELECT_KEY, .key = &put.key};
    hot_key hot;
    found found;
    PyObject *value = NULL;
    PyObject *result = NULL;
    int looked = 0;
    int known;
    int hit;

    if (cache_ready(self) < 0) {
        return NULL;
    }
    if (self->hot.header != NULL && may_be_hot(self) && is_plain_key(self, key, &hot)) {
        if (get_hot(self, &hot, key, otherwise, options, &result)) {
            return result;
        }
        looked = 1;
    }
    if (disk_put(self->state, self->disk, key, &put) < 0) {
        return NULL;
    }
    known = hot_key_of_put(&put, &hot);
    if (known && !looked && self->hot.header != NULL && may_be_hot(self) &&
        get_hot(self, &hot, key, otherwise, options, &result)) {
        disk_key_clear(&put);
        return result;
    }
    self->hot.misses += self->hot.limit > 0;
    selection.details = (options->tag ? DC_DETAIL_TAG : 0) |
                        (notes_access(self) ? DC_DETAIL_IDENTITY : 0);
    found.selection = &selection;
    dc_row_init(&found.row);
    hit = find_value(self, &found, key, known ? &hot : NULL, options->read, options->retry, &value);
    if (hit < 0 || cache_note_lookup(self, hit, hit ? found.row.rowid : 0) < 0) {
        Py_XDECREF(value);
    } else {
        result = hit ? with_details(self->state, value, &found.row.columns, options->expire_time,
                                    options->tag)
                     : absent(self, key, otherwise, options);
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
":param bool read: return an open file, in binary mode, for bytes that are kept in one: what set() got\n"
"    with read=True, and bytes of at least disk_min_file_size. Any other value is returned itself\n"
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
":return: a file opened for reading in binary mode, to be closed by the caller. The value itself, bytes\n"
"    for instance, if it is kept in the database, as one below disk_min_file_size is that set() did not\n"
"    get with read=True, or is not bytes\n"
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

/* Answer `in` from the hot tier: 1, 0, -1 with an exception, 2 if SQLite must be asked. */
static int contains_hot(Cache *self, const hot_key *hot)
{
    HotEntry *entry = hot_find(&self->hot, hot);
    dc_columns columns = {.has_expire_time = 0};

    if (entry == NULL) {
        return 2;
    }
    self->hot.hits++;
    columns.has_expire_time = entry->has_expire_time;
    columns.expire_time = entry->expire_time;
    return entry->known & HOT_ABSENT ? 0 : is_alive(self, SELECT_KEY, &columns);
}

int cache_contains(Cache *self, PyObject *key)
{
    disk_key put = {.owner = NULL};
    location location;
    stamped stamped = {.call = locate_row, .context = &location};
    hot_key hot;
    dc_status status;
    int known;
    int looked = 0;
    int result;

    if (cache_ready(self) < 0) {
        return -1;
    }
    if (self->hot.header != NULL && may_be_hot(self) && is_plain_key(self, key, &hot)) {
        result = contains_hot(self, &hot);
        if (result != 2) {
            return result;
        }
        looked = 1;
    }
    if (disk_put(self->state, self->disk, key, &put) < 0) {
        return -1;
    }
    known = hot_key_of_put(&put, &hot);
    if (known && !looked && self->hot.header != NULL && may_be_hot(self)) {
        result = contains_hot(self, &hot);
        if (result != 2) {
            disk_key_clear(&put);
            return result;
        }
    }
    self->hot.misses += self->hot.limit > 0;
    location.key = &put.key;
    dc_row_init(&location.row);
    status = read_stamped(self, &stamped, 0);
    result = status == DC_OK          ? is_alive(self, SELECT_KEY, &location.row.columns)
             : status == DC_NOT_FOUND ? 0
                                      : -1;
    if (result >= 0 && known && stamped.stable) {
        hot_remember(&self->hot, &hot, stamped.attachment, &stamped.stamp,
                     status == DC_OK ? &location.row : NULL, HOT_IDENTITY, NULL);
    }
    dc_row_clear(&location.row);
    disk_key_clear(&put);
    return result;
}

/* --- many keys ---------------------------------------------------------------------------------- */

typedef struct lookup {
    disk_key put;
    hot_key hot;
    int has_hot_key;
    int there;
    dc_row row;      /* read from SQLite */
    remembered copy; /* or known to the hot tier */
    int64_t rowid;
} lookup;

typedef struct lookups {
    lookup *each;
    Py_ssize_t count;
    unsigned int details;
} lookups;

static dc_status read_many(dc_db *db, void *context)
{
    lookups *lookups = context;
    int own = !dc_db_in_transaction(db);
    dc_status status = own ? dc_db_begin_read(db) : DC_OK;

    for (Py_ssize_t i = 0; i < lookups->count && status == DC_OK; i++) {
        lookup *lookup = &lookups->each[i];

        status = dc_store_get(db, &lookup->put.key, lookups->details, &lookup->row);
        lookup->there = status == DC_OK;
        lookup->rowid = lookup->row.rowid;
        if (status == DC_NOT_FOUND) {
            status = DC_OK;
        }
    }
    if (own) {
        dc_db_end_read(db);
    }
    return status;
}

static int put_keys(Cache *self, PyObject *keys, lookups *lookups)
{
    for (Py_ssize_t i = 0; i < lookups->count; i++) {
        lookup *lookup = &lookups->each[i];

        if (disk_put(self->state, self->disk, PyTuple_GET_ITEM(keys, i), &lookup->put) < 0) {
            return -1;
        }
        lookup->has_hot_key = hot_key_of_put(&lookup->put, &lookup->hot);
    }
    return 0;
}

/* Take all of them from the hot tier, if it has all: 1; 0; -1 with an exception. No Python code runs
 * in between, so they are of one moment. */
static int take_many_hot(Cache *self, lookups *lookups)
{
    int needed = HOT_VALUE | (lookups->details & DC_DETAIL_IDENTITY ? HOT_IDENTITY : 0);
    int result = self->hot.header != NULL && may_be_hot(self);

    for (Py_ssize_t i = 0; i < lookups->count && result > 0; i++) {
        lookup *lookup = &lookups->each[i];
        HotEntry *entry = lookup->has_hot_key ? hot_find(&self->hot, &lookup->hot) : NULL;

        if (entry == NULL || !hot_knows(entry, needed)) {
            result = 0;
        } else {
            lookup->there = !(entry->known & HOT_ABSENT);
            lookup->rowid = entry->rowid;
            result = remembered_take(&lookup->copy, entry) < 0 ? -1 : 1;
        }
    }
    *(result > 0 ? &self->hot.hits : &self->hot.misses) += (uint64_t)lookups->count;
    return result;
}

/* The value of a key looked up, as find_value gives it; 2: it must be looked up by itself. */
static int value_of_row(Cache *self, PyObject *key, const lookup *lookup, PyObject **value)
{
    const dc_columns *columns = &lookup->row.columns;
    int alive = lookup->there ? is_alive(self, SELECT_KEY, columns) : 0;
    int missing;

    if (alive <= 0) {
        return alive;
    }
    *value = disk_fetch(self->state, self->disk, columns, 0, &missing);
    if (*value != NULL) {
        return 1;
    }
    if (missing) { /* just rewritten, perhaps */
        return 2;
    }
    if (!PyErr_ExceptionMatches(PyExc_OSError)) {
        blame_row(self, key, NULL, columns->filename);
        return -1;
    }
    PyErr_Clear();
    return 0;
}

/* The value of a key, ENOVAL if there is none; `stamped` is how the rows were read. */
static PyObject *value_of_lookup(Cache *self, PyObject *key, const lookup *lookup, int is_hot,
                                 const stamped *stamped, int retry)
{
    const get_options options = {.retry = retry};
    PyObject *value = NULL;
    int found;

    if (is_hot) {
        found = lookup->there ? remembered_value(self, &lookup->copy, SELECT_KEY, key, 0, &value)
                              : 0;
    } else {
        found = value_of_row(self, key, lookup, &value);
    }
    if (found == 2) {
        return get_value(self, key, self->state->enoval, &options);
    }
    if (stamped->stable && found >= 0 && lookup->has_hot_key) {
        int hooked = (disk_hooks(self->state, self->disk) & DISK_HOOK_fetch) != 0;

        hot_remember(&self->hot, &lookup->hot, stamped->attachment, &stamped->stamp,
                     lookup->there ? &lookup->row : NULL,
                     HOT_VALUE | (notes_access(self) ? HOT_IDENTITY : 0), hooked ? NULL : value);
    }
    if (found < 0 || cache_note_lookup(self, found, lookup->rowid) < 0) {
        Py_XDECREF(value);
        return NULL;
    }
    return value != NULL ? value : Py_NewRef(self->state->enoval);
}

/* A list of the values of keys in a tuple, whose lookups have been prepared. */
static PyObject *look_up(Cache *self, PyObject *keys, lookups *lookups, int retry)
{
    stamped stamped = {.call = read_many, .context = lookups};
    PyObject *values = PyList_New(lookups->count);
    dc_status status = DC_CALLBACK;
    int hot;

    if (values == NULL || put_keys(self, keys, lookups) < 0) {
        goto done;
    }
    hot = take_many_hot(self, lookups);
    status = hot > 0 ? DC_OK : hot < 0 ? DC_CALLBACK : read_stamped(self, &stamped, retry);
    for (Py_ssize_t i = 0; i < lookups->count && status == DC_OK; i++) {
        PyObject *value = value_of_lookup(self, PyTuple_GET_ITEM(keys, i), &lookups->each[i],
                                          hot > 0, &stamped, retry);

        if (value == NULL) {
            status = DC_CALLBACK;
        } else {
            PyList_SET_ITEM(values, i, value);
        }
    }
done:
    if (status != DC_OK) {
        Py_CLEAR(values);
    }
    return values;
}

PyObject *cache_get_values(Cache *self, PyObject *keys, int retry)
{
    lookups lookups = {.each = NULL};
    PyObject *result = NULL;

    lookups.each = PyMem_Calloc((size_t)PyTuple_GET_SIZE(keys) + 1, sizeof *lookups.each);
    if (lookups.each == NULL) {
        return PyErr_NoMemory();
    }
    lookups.count = PyTuple_GET_SIZE(keys);
    lookups.details = notes_access(self) ? DC_DETAIL_IDENTITY : 0;
    for (Py_ssize_t i = 0; i < lookups.count; i++) {
        dc_row_init(&lookups.each[i].row);
    }
    result = look_up(self, keys, &lookups, retry);
    for (Py_ssize_t i = 0; i < lookups.count; i++) {
        remembered_clear(&lookups.each[i].copy);
        dc_row_clear(&lookups.each[i].row);
        disk_key_clear(&lookups.each[i].put);
    }
    PyMem_Free(lookups.each);
    return result;
}

METHOD_DOC(get_values,
"_get_values($self, /, keys, retry=False)\n--\n\n"
"Look keys up, all in one read transaction: the values are of one moment, and one lock is taken.\n"
"\n"
":param keys: iterable of keys\n"
":param bool retry: wait for a lock as long as it takes\n"
":return: list of the values in the order of the keys, with ENOVAL for what is absent or has expired\n"
":raises Timeout: if a lock cannot be had within the cache's timeout and retry is False\n");

PyObject *Cache_get_values(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"_get_values", 1, 2, {"keys", "retry"}};
    PyObject *values[2];
    PyObject *keys = NULL;
    PyObject *result = NULL;
    int retry;

    if (args_parse(&table, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    retry = args_flag(values[1], 0);
    keys = retry >= 0 ? PySequence_Tuple(values[0]) : NULL;
    if (keys != NULL && cache_ready(self) == 0) {
        result = cache_get_values(self, keys, retry);
    }
    Py_XDECREF(keys);
    return result;
}
