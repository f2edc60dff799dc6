/* iterator.c: iteration over keys, in the order of insertion or of the keys themselves.
 *
 * Keys are read a page at a time, each page in a session of its own, so no lock is held and no
 * statement is left open between two keys. Pages begin small, for those who only want the first keys,
 * and grow, because beginning to read costs as much as 20 keys. In the order of insertion the end is
 * fixed when the iterator is made: keys inserted meanwhile are not seen, as in the original.
 *
 * A key that cannot be converted is an exception, after which the iterator goes on with the next one.
 */
#include "cache/iterator.h"

#include <string.h>

#include "cache/errors.h"
#include "cache/mending.h"
#include "cache/operation.h"
#include "python/convert.h"

#define FIRST_PAGE   64   /* keys */
#define LARGEST_PAGE 1024 /* keys; of long ones a page has fewer (DC_KEY_PAGE_BYTES) */

typedef struct KeyIterator {
    PyObject_HEAD
    Cache *cache; /* strong; NULL when exhausted */
    dc_order order;
    key_form form;
    int64_t low, high; /* rowids between which the rest is */
    size_t limit;      /* keys of the next page */
    int started;
    int loading;       /* a page is being read, in this thread further up the stack or in another */
    disk_key previous; /* by key: the last one handed out */
    size_t position;   /* in the page */
    dc_key_page page;
} KeyIterator;

PyObject *iterator_new(Cache *cache, dc_order order, key_form form)
{
    PyTypeObject *type = cache->state->iterator_type;
    Operation operation = {.cache = NULL};
    int64_t maximum = 0;
    dc_status status = DC_OK;
    KeyIterator *self;

    if (cache_ready(cache) < 0) {
        return NULL;
    }
    if (order == DC_BY_ROWID || order == DC_BY_ROWID_DOWN) {
        if (operation_begin_read(&operation, cache) < 0) {
            return NULL;
        }
        do {
            status = dc_scan_max_rowid(operation_enter(&operation), &maximum);
        } while (operation_leave_read(&operation, &status));
        operation_end_read(&operation);
        if (status == DC_CALLBACK) {
            return NULL;
        }
    }
    self = (KeyIterator *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->cache = (Cache *)Py_NewRef(cache);
        self->order = order;
        self->form = form;
        self->low = 0;
        self->limit = FIRST_PAGE;
        self->high = maximum + (maximum < INT64_MAX);
    }
    return (PyObject *)self;
}

/* Remember where the page ends. By key its bytes must be kept, as the page's memory is used again. */
static int note_end(KeyIterator *self)
{
    const dc_key_page *page = &self->page;
    size_t last = page->count - 1;

    if (self->order == DC_BY_ROWID) {
        self->low = page->last;
        return 0;
    }
    if (self->order == DC_BY_ROWID_DOWN) {
        self->high = page->last;
        return 0;
    }
    disk_key_clear(&self->previous);
    self->previous.key = page->keys[last];
    if (self->previous.key.datum.type == DC_TEXT || self->previous.key.datum.type == DC_BLOB) {
        dc_datum *datum = &self->previous.key.datum;

        self->previous.owner =
            PyBytes_FromStringAndSize(datum->as.bytes.data, (Py_ssize_t)datum->as.bytes.size);
        if (self->previous.owner == NULL) {
            return -1;
        }
        datum->as.bytes.data = PyBytes_AS_STRING(self->previous.owner);
    }
    return 0;
}

/* Whether there is no other page: the end by rowid is fixed; by key there may be more by now. */
static int is_at_end(const KeyIterator *self)
{
    return self->page.complete && (self->order == DC_BY_ROWID || self->order == DC_BY_ROWID_DOWN);
}

/* Read the next page. What is called may run Python, or give the GIL up: nobody else may come in. */
static int read_next_page(KeyIterator *self)
{
    Operation operation = {.cache = NULL};
    dc_status status;

    if (PyErr_CheckSignals() < 0 || cache_ready(self->cache) < 0 ||
        operation_begin_read(&operation, self->cache) < 0) {
        return -1;
    }
    do {
        status = dc_scan_keys(operation_enter(&operation), self->order, self->low, self->high,
                              self->started ? &self->previous.key : NULL, self->limit, &self->page);
    } while (operation_leave_read(&operation, &status));
    operation_end_read(&operation);
    self->position = 0;
    if (status != DC_OK) {
        self->page.count = 0; /* the next call reads the page again */
        self->page.complete = 0;
        return -1;
    }
    self->started = 1;
    self->limit = self->limit < LARGEST_PAGE ? 4 * self->limit : self->limit;
    return self->page.count > 0 ? note_end(self) : 0;
}

static int load_page(KeyIterator *self)
{
    int result;

    if (is_at_end(self)) {
        self->page.count = self->position = 0;
        return 0;
    }
    self->loading = 1;
    result = read_next_page(self);
    self->loading = 0;
    return result;
}

/* The key as it is handed out. */
static PyObject *convert_key(const KeyIterator *self, const dc_key *key)
{
    const Cache *cache = self->cache;
    int stored =
        self->form == KEY_STORED ||
        (self->form == KEY_NAMING && !disk_takes_as_stored(cache->state, cache->disk, key));

    return stored ? disk_stored_key(cache->state, key) : disk_get(cache->state, cache->disk, key);
}

/* Whether a key that could not be loaded is passed over; then that is logged. */
static int passes_over(Cache *cache)
{
    if (PyErr_ExceptionMatches(cache->state->refused)) {
        return cache_note_refusal(cache, Py_None, NULL) == 0;
    }
    return cache_passes_over(cache, ON_ERROR_MISS);
}

/* The next key. *passes: it could not be loaded, and is passed over. */
static PyObject *next_key(KeyIterator *self, Cache *cache, int *passes)
{
    PyObject *key = NULL;

    *passes = 0;
    if (self->cache == NULL) {
        return NULL;
    }
    if (self->loading) {
        PyErr_SetString(PyExc_ValueError, "this iterator is in use already");
        return NULL;
    }
    if (self->position < self->page.count || load_page(self) == 0) {
        if (self->page.count == 0) {
            GUARD_BEGIN(self)
            Py_CLEAR(self->cache);
            GUARD_END()
        } else if (cache_ready(cache) == 0) {
            key = convert_key(self, &self->page.keys[self->position++]);
            *passes = key == NULL && passes_over(cache);
        }
    }
    return key;
}

/* The next key that is not passed over. */
static PyObject *next_loaded(KeyIterator *self, Cache *cache)
{
    PyObject *key;
    int passes;
    int failures = 0;

    do {
        key = next_key(self, cache, &passes);
    } while (passes || (key == NULL && self->cache != NULL && PyErr_Occurred() &&
                        cache_has_healed(cache, NULL, NULL, &failures)));
    return key;
}

/* The guard of the iterator is for its reference to the cache, that of the cache for everything else. */
static PyObject *KeyIterator_next(KeyIterator *self)
{
    PyObject *key = NULL;
    Cache *cache;

    GUARD_BEGIN(self)
    cache = (Cache *)Py_XNewRef(self->cache); /* what runs below may end the iterator */
    GUARD_END()
    if (cache != NULL) {
        GUARD_BEGIN(cache)
        key = next_loaded(self, cache);
        GUARD_END()
        Py_DECREF(cache);
    }
    return key;
}

static int KeyIterator_traverse(KeyIterator *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->cache);
    return 0;
}

static int KeyIterator_clear(KeyIterator *self)
{
    Py_CLEAR(self->cache);
    return 0;
}

static void KeyIterator_dealloc(KeyIterator *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    KeyIterator_clear(self);
    disk_key_clear(&self->previous);
    dc_key_page_clear(&self->page);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot KeyIterator_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Iterator over the keys of a Cache.")},
    {Py_tp_dealloc, KeyIterator_dealloc},
    {Py_tp_traverse, KeyIterator_traverse},
    {Py_tp_clear, KeyIterator_clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, KeyIterator_next},
    {0, NULL},
};

PyType_Spec iterator_type_spec = {
    .name = "diskcache._core.KeyIterator",
    .basicsize = sizeof(KeyIterator),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = KeyIterator_slots,
};
