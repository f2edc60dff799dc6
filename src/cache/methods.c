/* methods.c: transactions, iteration and closing, and the table of all methods. */
#include "cache/methods.h"

#include <string.h>

#include "cache/access.h"
#include "cache/checkpointer.h"
#include "cache/errors.h"
#include "cache/iterator.h"
#include "cache/mending.h"
#include "cache/pin.h"
#include "cache/transaction.h"

PyObject *Cache__connection(Cache *self)
{
    return cache_connection(self);
}

PyObject *Cache_close(Cache *self)
{
    module_state *state = self->state;
    PyObject *connection = NULL;
    PyObject *local;

    if (cache_ready_to_open(self) < 0) {
        return NULL;
    }
    if (cache_flush_access_log(self, ACCESS_LOG_CLOSE_SECONDS) < 0) {
        return NULL;
    }
    checkpoint_finish(self);
    pool_discard_idle(state, &self->pool, 1);
    if (self->local == NULL || pool_find_pinned(&self->pool) != NULL) {
        Py_RETURN_NONE;
    }
    local = Py_NewRef(self->local); /* its attributes may run Python */
    connection = PyObject_GetAttr(local, state->name.con);
    if (connection != NULL && (cache_hooks(self) & CACHE_HOOK__con)) {
        Py_XDECREF(PyObject_CallMethodNoArgs(connection, state->name.close));
    }
    if (connection != NULL && !PyErr_Occurred()) {
        PyObject_SetAttr(local, state->name.con, NULL);
    }
    Py_XDECREF(connection);
    Py_DECREF(local);
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return NULL;
    }
    PyErr_Clear();
    Py_RETURN_NONE;
}

PyObject *Cache__raise_timeout(Cache *self)
{
    cache_raise_timeout(self);
    return NULL;
}

PyObject *Cache_transact(Cache *self, const Cache_transact_args *args)
{
    if (cache_ready(self) < 0) {
        return NULL;
    }
    return cache_hooks(self) & CACHE_HOOK__transact
               ? PyObject_CallMethodOneArg((PyObject *)self, self->state->name._transact,
                                           args->retry ? Py_True : Py_False)
               : transaction_new(self, args->retry, 0, NULL);
}

PyObject *Cache__transact(Cache *self, const Cache__transact_args *args)
{
    return cache_ready_to_open(self) < 0 ? NULL
                                         : transaction_new(self, args->retry, 1, args->filename);
}

PyObject *Cache_iterkeys(Cache *self, const Cache_iterkeys_args *args)
{
    return iterator_new(self, args->reverse ? DC_BY_KEY_DOWN : DC_BY_KEY, KEY_DECODED);
}

PyObject *Cache__stored_keys(Cache *self, const Cache__stored_keys_args *args)
{
    return iterator_new(self, args->reverse ? DC_BY_KEY_DOWN : DC_BY_KEY, KEY_STORED);
}

PyObject *Cache__naming_keys(Cache *self, const Cache__naming_keys_args *args)
{
    return iterator_new(self, args->reverse ? DC_BY_ROWID_DOWN : DC_BY_ROWID, KEY_NAMING);
}

PyObject *Cache__decode_key(Cache *self, const Cache__decode_key_args *args)
{
    disk_key encoded = {.owner = NULL};
    PyObject *key = NULL;

    if (cache_ready(self) == 0 && disk_put(self->state, self->disk, args->stored, &encoded) == 0) {
        key = disk_get(self->state, self->disk, &encoded.key);
        if (key == NULL && cache_passes_over(self, ON_ERROR_GET)) {
            key = Py_NewRef(self->state->enoval);
        }
    }
    disk_key_clear(&encoded);
    return key;
}

PyObject *cache_iterate(Cache *self)
{
    PyObject *iterator;
    int failures = 0;

    do {
        iterator = iterator_new(self, DC_BY_ROWID, KEY_DECODED);
    } while (iterator == NULL && cache_has_healed(self, NULL, NULL, &failures));
    return iterator;
}

PyObject *Cache___reversed__(Cache *self)
{
    return iterator_new(self, DC_BY_ROWID_DOWN, KEY_DECODED);
}

PyObject *Cache_memory_stats(Cache *self)
{
    HotTier *hot = &self->hot;
    const CacheCounts *counts = &self->counts;
    dc_checkpoint_sums checkpoints = checkpoint_sums(self);

    return Py_BuildValue(
        "{s:K,s:K,s:n,s:K,s:K,s:K,s:d,s:K,s:d,s:K}", "hits", (unsigned long long)hot_hits(hot),
        "misses", (unsigned long long)hot->misses, "bytes", (Py_ssize_t)hot->bytes, "invalidations",
        (unsigned long long)hot->invalidations, "evictions", (unsigned long long)counts->evictions,
        "lock_waits", (unsigned long long)counts->lock_waits, "lock_wait_seconds",
        counts->lock_wait_seconds, "checkpoints", (unsigned long long)checkpoints.count,
        "checkpoint_seconds", checkpoints.seconds, "checkpoint_frames",
        (unsigned long long)checkpoints.frames);
}

static PyObject *enter(Cache *self)
{
    return cache_ready(self) < 0 ? NULL : Py_NewRef((PyObject *)self);
}

/* Nothing that fails here can be mended, and so it is not repeated. A loop until the result, which is self, is not NULL
 * makes gcc 12 warn on Python without a GIL: it compiles a copy of the loop for a self that is NULL. */
GUARDED(PyObject *, Cache___enter__, self, enter, (Cache * self, PyObject *Py_UNUSED(unused)),
        (self))

static PyObject *Cache___class_getitem__(PyObject *type, PyObject *types)
{
    return Py_GenericAlias(type, types);
}

static PyObject *Cache___setattr__(Cache *self, PyObject *const *args, Py_ssize_t nargs)
{
    return hooks_setattr(&self->state->cache_hooks, &self->hooks, (PyObject *)self, args, nargs);
}

static PyObject *Cache___delattr__(Cache *self, PyObject *name)
{
    return hooks_delattr(&self->state->cache_hooks, &self->hooks, (PyObject *)self, name);
}

#define METHOD_GUARD_BEGIN GUARD_BEGIN
#define METHOD_GUARD_END   GUARD_END
#if !COMPAT_HAS_GIL
static int nothing_at_once(Cache *self, const void *args, PyObject **result)
{
    (void)self;
    (void)args;
    (void)result;
    return 0;
}
#define METHOD_AT_ONCE(self, parsed, result)                                                       \
    _Generic((parsed), Cache_get_args *                                                            \
             : Cache_get_at_once, default                                                          \
             : nothing_at_once)(self, parsed, result)
#endif
#define METHOD_FAILURES                    int failures = 0;
#define METHOD_FAILED(self, table, parsed) cache_has_healed(self, table, parsed, &failures)
#include "python/methods_define.h"
