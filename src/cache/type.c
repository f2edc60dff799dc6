/* type.c: the Cache type: its attributes, its birth and death. */
#include "cache/type.h"

#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "cache/access.h"
#include "cache/checkpointer.h"
#include "cache/errors.h"
#include "cache/methods.h"
#include "cache/operation.h"
#include "cache/registry.h"
#include "cache/sessions.h"
#include "python/fork_generation.h"

/* --- attributes --------------------------------------------------------------------------------- */

#define OBJECT_GETTER(field, public_name)                                                          \
    static PyObject *Cache_get_##field(Cache *self, void *Py_UNUSED(closure))                      \
    {                                                                                              \
        return cache_require(self->field, public_name) < 0 ? NULL : Py_NewRef(self->field);        \
    }

#define OBJECT_ATTRIBUTE(field, public_name)                                                       \
    OBJECT_GETTER(field, public_name)                                                              \
    static int Cache_set_##field(Cache *self, PyObject *value, void *Py_UNUSED(closure))           \
    {                                                                                              \
        Py_XSETREF(self->field, Py_XNewRef(value));                                                \
        return 0;                                                                                  \
    }

OBJECT_ATTRIBUTE(directory, "_directory")
OBJECT_ATTRIBUTE(timeout, "_timeout")
OBJECT_ATTRIBUTE(local, "_local")
OBJECT_ATTRIBUTE(page_size, "_page_size")
OBJECT_GETTER(disk, "_disk")

/* Sessions on the former directory are not used again. */
static int Cache_assign_directory(Cache *self, PyObject *value, void *closure)
{
    PyObject *path = value != NULL ? state_absolute(self->state, value) : NULL;

    if (value != NULL && path == NULL) {
        return -1;
    }
    cache_forget_file(self);
    Py_XSETREF(self->path, path);
    Py_CLEAR(self->former_disks); /* which were for the former directory */
    return Cache_set_directory(self, value, closure);
}

/* What is deleted without having been set before stays, and that is an error: operations of other threads
 * may be using it. Otherwise deleting sets what was there before; so does unittest.mock by deleting. */
#define FORMER_MOST 8

static int remember_former(PyObject **formers, PyObject *value)
{
    if (value == NULL) {
        return 0;
    }
    if (*formers == NULL) {
        *formers = PyList_New(0);
    }
    if (*formers == NULL || PyList_Append(*formers, value) < 0) {
        return -1;
    }
    return PyList_GET_SIZE(*formers) > FORMER_MOST ? PyList_SetSlice(*formers, 0, 1, NULL) : 0;
}

/* The value before, which is forgotten; NULL with AttributeError. New reference. */
static PyObject *take_former(PyObject *formers, const char *name)
{
    Py_ssize_t count = formers != NULL ? PyList_GET_SIZE(formers) : 0;
    PyObject *value = NULL;

    if (count == 0) {
        PyErr_Format(PyExc_AttributeError, "%s cannot be deleted", name);
        return NULL;
    }
    value = Py_NewRef(PyList_GET_ITEM(formers, count - 1));
    if (PyList_SetSlice(formers, count - 1, count, NULL) < 0) {
        Py_CLEAR(value);
    }
    return value;
}

static int Cache_assign_disk(Cache *self, PyObject *value, void *Py_UNUSED(closure))
{
    PyObject *disk = value != NULL ? Py_NewRef(value) : take_former(self->former_disks, "_disk");
    PyObject *former;

    if (disk == NULL || (value != NULL && remember_former(&self->former_disks, self->disk) < 0)) {
        Py_XDECREF(disk);
        return -1;
    }
    readers_exclude(&self->hot.readers); /* who look at it (lookup_at_once) */
    former = self->disk;
    self->disk = disk;
    readers_admit(&self->hot.readers);
    hot_empty(&self->hot);  /* which has what the former disk made of it, */
    self->hot.attachment++; /* as have lookups that are under way */
    Py_XDECREF(former);
    self->seals = (disk_hooks(self->state, disk) & DISK_HOOK__seal) != 0;
    return 0;
}

static PyObject *Cache_get_txn_id(Cache *self, void *Py_UNUSED(closure))
{
    if (self->transaction.depth > 0 && self->pool.generation == fork_generation()) {
        return PyLong_FromUnsignedLong(self->transaction.thread);
    }
    return cache_require(self->txn_id, "_txn_id") < 0 ? NULL : Py_NewRef(self->txn_id);
}

static int Cache_set_txn_id(Cache *self, PyObject *value, void *Py_UNUSED(closure))
{
    Py_XSETREF(self->txn_id, Py_XNewRef(value));
    return 0;
}

static const char *const setting_names[SETTING_COUNT] = {
    [SETTING_EVICTION_POLICY] = "eviction_policy",
    [SETTING_SIZE_LIMIT] = "size_limit",
    [SETTING_CULL_LIMIT] = "cull_limit",
    [SETTING_STATISTICS] = "statistics",
};

static void raise_policy(PyObject *value)
{
    PyObject *names = PyUnicode_FromString("");

    for (int i = 0; i < DC_POLICY_COUNT && names != NULL; i++) {
        const char *before = i == 0 ? "" : i < DC_POLICY_COUNT - 1 ? ", " : " or ";

        Py_SETREF(names, PyUnicode_FromFormat("%U%s'%s'", names, before, dc_policies[i].name));
    }
    if (names != NULL) {
        PyErr_Format(PyExc_ValueError, "eviction_policy must be %U, not %R", names, value);
        Py_DECREF(names);
    }
}

/* Take a native policy, or one of the user's, whose steps Python does: policies.py says which it is. */
static int set_policy(Cache *self, PyObject *value)
{
    const char *name = PyUnicode_Check(value) ? PyUnicode_AsUTF8(value) : "";
    int policy = name != NULL ? dc_policy_find(name) : -1;
    PyObject *own = NULL;
    PyObject *get = NULL;

    PyErr_Clear();
    if (PyUnicode_Check(value) && self->state->find_policy != NULL) {
        own = PyObject_CallOneArg(self->state->find_policy, value);
        get = own != NULL && own != Py_None ? PyMapping_GetItemString(own, "get") : NULL;
        if (own == NULL || (own != Py_None && get == NULL)) {
            Py_XDECREF(own);
            return -1;
        }
    }
    if (policy < 0 && get == NULL) {
        raise_policy(value);
        Py_XDECREF(own);
        return -1;
    }
    self->rules.policy = get == NULL ? (dc_policy)policy : DC_POLICY_NONE;
    self->own_policy_counts = get != NULL && get != Py_None;
    Py_XSETREF(self->own_policy, get != NULL ? Py_NewRef(own) : NULL);
    Py_XDECREF(get);
    Py_XDECREF(own);
    return 0;
}

/* A number of bytes or rows: int or float, bounded to 64 bits. */
static int set_number(PyObject *value, const char *name, int64_t *number)
{
    double approximate;

    if (!PyLong_Check(value) && !PyFloat_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s must be a number, not '%.200s'", name,
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    approximate = PyFloat_AsDouble(value);
    if (approximate == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (isnan(approximate)) {
        PyErr_Format(PyExc_ValueError, "%s must not be NaN", name);
        return -1;
    }
    *number = approximate >= 9.2e18    ? INT64_MAX
              : approximate <= -9.2e18 ? INT64_MIN
                                       : (int64_t)approximate;
    return 0;
}

static PyObject *Cache_get_setting(Cache *self, void *closure)
{
    enum cache_setting setting = (enum cache_setting)(intptr_t)closure;
    PyObject *value = self->settings[setting];

    return cache_require(value, setting_names[setting]) < 0 ? NULL : Py_NewRef(value);
}

static int Cache_set_setting(Cache *self, PyObject *value, void *closure)
{
    enum cache_setting setting = (enum cache_setting)(intptr_t)closure;
    int result = 0;

    if (value != NULL) {
        switch (setting) {
        case SETTING_EVICTION_POLICY:
            result = set_policy(self, value);
            break;
        case SETTING_SIZE_LIMIT:
            result = set_number(value, "size_limit", &self->rules.size_limit);
            break;
        case SETTING_CULL_LIMIT:
            result = set_number(value, "cull_limit", &self->rules.cull_limit);
            break;
        case SETTING_STATISTICS:
            result = self->statistics = PyObject_IsTrue(value);
            break;
        default: /* a new setting needs a case of its own */
            PyErr_BadInternalCall();
            return -1;
        }
    }
    self->logs_lookups = self->statistics != 0 || cache_counts_access(self);
    if (result < 0) {
        return -1;
    }
    Py_XSETREF(self->settings[setting], Py_XNewRef(value));
    return 0;
}

static PyObject *Cache_get_memory_limit(Cache *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSize_t(self->hot.limit);
}

static int set_memory_limit(Cache *self, PyObject *value)
{
    int64_t limit;

    if (set_number(value, "memory_limit", &limit) < 0) {
        return -1;
    }
    if (limit < 0) {
        PyErr_Format(PyExc_ValueError, "memory_limit must not be negative, not %R", value);
        return -1;
    }
    hot_set_limit(&self->hot, (size_t)limit);
    return 0;
}

static int Cache_set_memory_limit(Cache *self, PyObject *value, void *Py_UNUSED(closure))
{
    PyObject *other = value == NULL ? take_former(self->former_memory_limits, "memory_limit")
                                    : Cache_get_memory_limit(self, NULL);
    int result = -1;

    if (other != NULL && value == NULL) {
        result = set_memory_limit(self, other);
    } else if (other != NULL && set_memory_limit(self, value) == 0) {
        result = remember_former(&self->former_memory_limits, other);
    }
    Py_XDECREF(other);
    return result;
}

/* In the order of enum on_error. */
static const char *const on_error_names[] = {"raise", NULL, "miss", "reset"};

static PyObject *Cache_get_on_error(Cache *self, void *Py_UNUSED(closure))
{
    const char *name = on_error_names[self->on_error];

    return name != NULL ? PyUnicode_FromString(name) : Py_NewRef(Py_None);
}

static int Cache_set_on_error(Cache *self, PyObject *value, void *Py_UNUSED(closure))
{
    int chosen = value == Py_None ? ON_ERROR_GET : -1;

    for (int i = 0; i <= ON_ERROR_RESET && value != NULL && PyUnicode_Check(value); i++) {
        if (on_error_names[i] != NULL &&
            PyUnicode_CompareWithASCIIString(value, on_error_names[i]) == 0) {
            chosen = i;
        }
    }
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "on_error cannot be deleted");
        return -1;
    }
    if (chosen < 0) {
        PyErr_Format(PyExc_ValueError, "on_error must be 'raise', 'miss', 'reset' or None, not %R",
                     value);
        return -1;
    }
    if (chosen == ON_ERROR_RESET && self->on_error != ON_ERROR_RESET) {
        cache_forget_file(self); /* of which file the sessions are is not known */
    }
    self->on_error = (enum on_error)chosen;
    return 0;
}

/* The original's writes look at the volume before they evict, and keep the size. To read it costs more than a
 * write should take: it is read when somebody asks. What cannot be read stays what it was. */
static PyObject *Cache_get_size(Cache *self, void *Py_UNUSED(closure))
{
    PyObject *size;

    if (cache_renew_size(self) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_Exception)) {
            return NULL;
        }
        PyErr_Clear();
    }
    size = Py_XNewRef(self->metadata[METADATA_SIZE]);
    if (size == NULL) {
        PyErr_SetString(PyExc_AttributeError, "size");
    }
    return size;
}

static int Cache_set_size(Cache *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL && self->metadata[METADATA_SIZE] == NULL) {
        PyErr_SetString(PyExc_AttributeError, "size");
        return -1;
    }
    self->size_is_due = 0;
    Py_XSETREF(self->metadata[METADATA_SIZE], Py_XNewRef(value));
    return 0;
}

static PyObject *Cache_get_opening(Cache *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->opening);
}

static int Cache_set_opening(Cache *self, PyObject *value, void *Py_UNUSED(closure))
{
    self->opening = value == Py_True;
    return 0;
}

static PyObject *Cache_get_checking(Cache *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->checks > 0);
}

static int Cache_set_checking(Cache *self, PyObject *value, void *Py_UNUSED(closure))
{
    self->checks += value == Py_True ? 1 : -1;
    return 0;
}

#define GUARDED_ATTRIBUTE(name, setter)                                                            \
    GUARDED(PyObject *, guarded_get_##name, self, Cache_get_##name, (Cache * self, void *closure), \
            (self, closure))                                                                       \
    GUARDED(int, guarded_set_##name, self, setter,                                                 \
            (Cache * self, PyObject * value, void *closure), (self, value, closure))

GUARDED_ATTRIBUTE(directory, Cache_assign_directory)
GUARDED_ATTRIBUTE(timeout, Cache_set_timeout)
GUARDED_ATTRIBUTE(local, Cache_set_local)
GUARDED_ATTRIBUTE(disk, Cache_assign_disk)
GUARDED_ATTRIBUTE(size, Cache_set_size)
GUARDED_ATTRIBUTE(opening, Cache_set_opening)
GUARDED_ATTRIBUTE(checking, Cache_set_checking)
GUARDED_ATTRIBUTE(page_size, Cache_set_page_size)
GUARDED_ATTRIBUTE(memory_limit, Cache_set_memory_limit)
GUARDED_ATTRIBUTE(on_error, Cache_set_on_error)
GUARDED_ATTRIBUTE(txn_id, Cache_set_txn_id)
GUARDED_ATTRIBUTE(setting, Cache_set_setting)

/* clang-format off */
#define SETTING_ATTRIBUTE(name, setting, doc)                                                      \
    {name, (getter)guarded_get_setting, (setter)guarded_set_setting, PyDoc_STR(doc),                   \
     (void *)(intptr_t)(setting)}
/* clang-format on */

static PyGetSetDef Cache_getset[] = {
    {"_directory", (getter)guarded_get_directory, (setter)guarded_set_directory,
     PyDoc_STR("directory of the cache"), NULL},
    {"_timeout", (getter)guarded_get_timeout, (setter)guarded_set_timeout,
     PyDoc_STR("seconds to wait for a lock"), NULL},
    {"_local", (getter)guarded_get_local, (setter)guarded_set_local,
     PyDoc_STR("threading.local with the thread's connection, once it has asked for it"), NULL},
    {"_disk", (getter)guarded_get_disk, (setter)guarded_set_disk,
     PyDoc_STR("the Disk that converts keys and values"), NULL},
    {"size", (getter)guarded_get_size, (setter)guarded_set_size,
     PyDoc_STR(
         "bytes of the value files, when it was last read, also to see what is to be evicted"),
     NULL},
    {"_opening", (getter)guarded_get_opening, (setter)guarded_set_opening,
     PyDoc_STR("whether __init__ is under way"), NULL},
    {"_checking", (getter)guarded_get_checking, (setter)guarded_set_checking,
     PyDoc_STR("whether a check is under way; each sets it to True, and to False when it ends"),
     NULL},
    {"_page_size", (getter)guarded_get_page_size, (setter)guarded_set_page_size,
     PyDoc_STR("bytes in a page of the database"), NULL},
    {"memory_limit", (getter)guarded_get_memory_limit, (setter)guarded_set_memory_limit,
     PyDoc_STR("bytes that this object may keep in memory of what it has read; 0: nothing"), NULL},
    {"on_error", (getter)guarded_get_on_error, (setter)guarded_set_on_error,
     PyDoc_STR(
         "what is done about a value that cannot be loaded, and a malformed database: 'raise', "
         "'miss', 'reset', or None: get() alone answers with the default"),
     NULL},
    {"_txn_id", (getter)guarded_get_txn_id, (setter)guarded_set_txn_id,
     PyDoc_STR("identifier of the thread that has a transaction open, or None"), NULL},
    SETTING_ATTRIBUTE("eviction_policy", SETTING_EVICTION_POLICY,
                      "which rows a cull removes first"),
    SETTING_ATTRIBUTE("size_limit", SETTING_SIZE_LIMIT, "bytes above which writes cull"),
    SETTING_ATTRIBUTE("cull_limit", SETTING_CULL_LIMIT,
                      "rows that one write removes at most; 0: writes do not cull"),
    SETTING_ATTRIBUTE("statistics", SETTING_STATISTICS, "whether hits and misses are counted"),
    {NULL, NULL, NULL, NULL, NULL},
};

/* --- the type ----------------------------------------------------------------------------------- */

static PyObject *Cache_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
                           PyObject *Py_UNUSED(kwargs))
{
    module_state *state = state_of_type(type);
    Cache *self = state != NULL ? (Cache *)type->tp_alloc(type, 0) : NULL;

    if (self != NULL) {
        self->state = state;
        self->pool.generation = fork_generation();
        self->rules.policy = DC_POLICY_LEAST_RECENTLY_STORED;
        self->rules.size_limit = INT64_MAX;
        self->checkpointer.copy_at = DC_CHECKPOINT_BYTES;
        hot_init(&self->hot, DC_MEMORY_LIMIT);
        if (!COMPAT_HAS_GIL) {
            self->weak = PyWeakref_NewRef((PyObject *)self, NULL);
        }
        if (COMPAT_HAS_GIL || self->weak != NULL) {
            cache_enlist(self);
        } else {
            Py_CLEAR(self);
        }
    }
    return (PyObject *)self;
}

static int Cache_traverse(Cache *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->directory);
    Py_VISIT(self->path);
    Py_VISIT(self->timeout);
    Py_VISIT(self->local);
    Py_VISIT(self->disk);
    Py_VISIT(self->former_disks);
    Py_VISIT(self->page_size);
    Py_VISIT(self->txn_id);
    Py_VISIT(self->transaction.owner);
    Py_VISIT(self->own_policy);
    for (int i = 0; i < SETTING_COUNT; i++) {
        Py_VISIT(self->settings[i]);
    }
    for (int i = 0; i < METADATA_NUMBER; i++) {
        Py_VISIT(self->metadata[i]);
    }
    /* One that only the session has is in no cycle. The collector would close it before our finalizer is called. */
    for (Session *session = self->pool.sessions; session != NULL; session = session->next) {
        if (session->exposed) {
            Py_VISIT(session->connection);
        }
    }
    return 0;
}

static int Cache_clear_references(Cache *self)
{
    Py_CLEAR(self->directory);
    Py_CLEAR(self->path);
    Py_CLEAR(self->timeout);
    Py_CLEAR(self->local);
    Py_CLEAR(self->disk);
    Py_CLEAR(self->former_disks);
    Py_CLEAR(self->former_memory_limits);
    Py_CLEAR(self->page_size);
    Py_CLEAR(self->txn_id);
    Py_CLEAR(self->transaction.owner);
    Py_CLEAR(self->own_policy);
    for (int i = 0; i < SETTING_COUNT; i++) {
        Py_CLEAR(self->settings[i]);
    }
    for (int i = 0; i < METADATA_NUMBER; i++) {
        Py_CLEAR(self->metadata[i]);
    }
    return 0;
}

/* Let the pins of all threads go, with the references that `_local` has to their Connections, so that those
 * are closed which nobody else has. In a cycle the cache may be used again: it gets another `_local`. */
static void end_pins(Cache *self)
{
    PyObject *local = self->local;

    if (self->pool.pinned > 0 && local != NULL) {
        self->local = PyObject_CallNoArgs((PyObject *)Py_TYPE(local));
        PyErr_Clear();
        Py_DECREF(local);
    }
}

/* Roll back what is open and close everything, while Python may still be called. */
static void Cache_finalize(Cache *self)
{
    compat_exception current = compat_exception_take();

    GUARD_BEGIN(self)
    cache_notice_fork(self);
    if (self->transaction.depth > 0 && self->disk != NULL) {
        cache_abandon_transaction(self);
    }
    if (cache_flush_access_log(self, 0.0) < 0) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    checkpoint_finish(self);
    end_pins(self);
    pool_discard_all(self->state, &self->pool);
    hot_clear(&self->hot);
    GUARD_END()
    compat_exception_put(current);
}

static void Cache_dealloc(Cache *self)
{
    PyTypeObject *type = Py_TYPE(self);

    if (PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return;
    }
    PyObject_GC_UnTrack(self);
    cache_delist(self);
    Py_CLEAR(self->weak);
    if (self->pool.sessions != NULL) { /* used again by a finalizer in the same cycle */
        compat_exception current = compat_exception_take();

        for (Session *session = self->pool.sessions; session != NULL; session = session->next) {
            session->external |=
                session->exposed; /* the collector may have cleared its Connection */
        }
        checkpoint_finish(self);
        pool_discard_all(self->state, &self->pool);
        compat_exception_put(current);
    }
    if (self->weak_references != NULL) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    Cache_clear_references(self);
    hot_clear(&self->hot);
    dc_access_log_clear(&self->access_log);
    cache_clear_transaction(&self->transaction);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Stale: as of when it was last read, by __init__, reset() and what else reads it. */
/* clang-format off */
#define METADATA_ATTRIBUTE(name, index, doc)                                                       \
    {#name, T_OBJECT_EX, offsetof(Cache, metadata) + sizeof(PyObject *) * (index), 0,              \
     PyDoc_STR(doc ", when it was last read")}
/* clang-format on */

static PyMemberDef Cache_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Cache, weak_references), READONLY, NULL},
    {"_path", T_OBJECT_EX, offsetof(Cache, path), READONLY,
     PyDoc_STR("the directory as an absolute path")},
    {"_own_policy", T_OBJECT, offsetof(Cache, own_policy), READONLY,
     PyDoc_STR("the eviction policy if it is none of the native ones, or None")},
    {"_read_only", T_INT, offsetof(Cache, read_only), 0,
     PyDoc_STR("whether nothing is written: 1, as asked for; 2, as it cannot be done")},
    METADATA_ATTRIBUTE(count, METADATA_COUNT, "number of items"),
    METADATA_ATTRIBUTE(hits, METADATA_HITS, "number of lookups that found their key"),
    METADATA_ATTRIBUTE(misses, METADATA_MISSES, "number of lookups that did not"),
    {NULL, 0, 0, 0, NULL},
};

GUARDED(PyObject *, guarded_iterate, self, cache_iterate, (Cache * self), (self))
GUARDED(int, guarded_assign_subscript, self, cache_assign_subscript,
        (Cache * self, PyObject *key, PyObject *value), (self, key, value))
GUARDED(Py_ssize_t, guarded_length, self, cache_length, (Cache * self), (self))

static PyType_Slot Cache_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("The native part of diskcache.Cache.")},
    {Py_tp_new, Cache_new},
    {Py_tp_finalize, Cache_finalize},
    {Py_tp_dealloc, Cache_dealloc},
    {Py_tp_traverse, Cache_traverse},
    {Py_tp_clear, Cache_clear_references},
    {Py_tp_getset, Cache_getset},
    {Py_tp_members, Cache_members},
    {Py_tp_methods, Cache_methods},
    {Py_tp_iter, guarded_iterate},
    {Py_mp_subscript, cache_subscript},
    {Py_mp_ass_subscript, guarded_assign_subscript},
    {Py_mp_length, guarded_length},
    {Py_sq_contains, cache_contains},
    {0, NULL},
};

int cache_looks_up_itself(module_state *state, PyObject *object)
{
    const PyTypeObject *type = Py_TYPE(object);

    return PyObject_TypeCheck(object, state->cache_type) &&
           type->tp_as_mapping->mp_subscript == (binaryfunc)cache_subscript &&
           type->tp_as_sequence->sq_contains == (objobjproc)cache_contains &&
           !(hooks_if_known(&((Cache *)object)->hooks, object) & CACHE_HOOK_get);
}

PyType_Spec cache_type_spec = {
    .name = "diskcache._core.Cache",
    .basicsize = sizeof(Cache),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = Cache_slots,
};
