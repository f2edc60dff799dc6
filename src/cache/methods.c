/* methods.c: transactions, iteration and closing, and the table of all methods of Cache. */
#include "cache/methods.h"

#include <string.h>

#include "cache/access.h"
#include "cache/checkpointer.h"
#include "cache/errors.h"
#include "cache/iterator.h"
#include "cache/pin.h"
#include "cache/transaction.h"
#include "python/args.h"

METHOD_DOC(connection,
"_connection($self, /)\n--\n\n"
"Return the sqlite3.Connection of this thread: what the property _con is.\n"
"\n"
":raises RuntimeError: if sqlite3 has been replaced by one with another copy of SQLite\n");

PyObject *Cache_connection(Cache *self, PyObject *Py_UNUSED(unused))
{
    return cache_connection(self);
}

METHOD_DOC(close,
"close($self, /)\n--\n\n"
"Close the connections that are not in use.\n"
"\n"
"The cache can be used again afterwards: the next operation opens what it needs. Open transactions\n"
"and the connections of other threads that use `_con` stay.\n");

PyObject *Cache_close(Cache *self, PyObject *Py_UNUSED(unused))
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

static PyObject *Cache_raise_timeout(Cache *self, PyObject *Py_UNUSED(unused))
{
    cache_raise_timeout(self);
    return NULL;
}

METHOD_DOC(transact,
"transact($self, /, retry=False)\n--\n\n"
"Return a context manager for a transaction.\n"
"\n"
"All operations of this thread inside the block happen together or, if the block raises, not at all.\n"
"Where tasks of asyncio or trio run, or greenlets, they are those of this one. Others cannot write\n"
"meanwhile. Blocks may nest; the outermost one commits.\n"
"\n"
":param bool retry: wait for the lock as long as it takes\n"
":return: context manager, whose __enter__ raises Timeout if the lock cannot be had within the\n"
"    cache's timeout and retry is False, and RuntimeError if another task of this thread has a\n"
"    transaction open and cannot go on meanwhile (a greenlet can, where time.sleep is patched)\n");

PyObject *Cache_transact(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"transact", 0, 1, {"retry"}};
    PyObject *value;
    int retry;

    if (args_parse(&table, args, nargs, kwnames, &value) < 0) {
        return NULL;
    }
    retry = args_flag(value, 0);
    if (retry < 0 || cache_ready(self) < 0) {
        return NULL;
    }
    return cache_hooks(self) & CACHE_HOOK__transact
               ? PyObject_CallMethodOneArg((PyObject *)self, self->state->name._transact,
                                           retry ? Py_True : Py_False)
               : transaction_new(self, retry, 0, NULL);
}

METHOD_DOC(transact_step,
"_transact($self, /, retry=False, filename=None)\n--\n\n"
"Return a context manager for a transaction, giving (sql, cleanup).\n"
"\n"
"`sql` executes a statement in the transaction; `cleanup` names a value file to be removed once it\n"
"has been committed.\n"
"\n"
":param bool retry: wait for the lock as long as it takes\n"
":param str filename: value file to be removed if the transaction does not come about\n");

PyObject *Cache_transact_step(Cache *self, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    static const args_table table = {"_transact", 0, 2, {"retry", "filename"}};
    PyObject *values[2];
    int retry;

    if (args_parse(&table, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    retry = args_flag(values[0], 0);
    return retry < 0 || cache_ready_to_open(self) < 0 ? NULL
                                                      : transaction_new(self, retry, 1, values[1]);
}

METHOD_DOC(iterkeys,
"iterkeys($self, /, reverse=False)\n--\n\n"
"Return an iterator over the keys in the order of the database's sorting.\n"
"\n"
":param bool reverse: from the last to the first\n"
":return: iterator; items that have expired are included\n");

PyObject *Cache_iterkeys(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"iterkeys", 0, 1, {"reverse"}};
    PyObject *value;
    int reverse;

    if (args_parse(&table, args, nargs, kwnames, &value) < 0) {
        return NULL;
    }
    reverse = args_flag(value, 0);
    return reverse < 0 ? NULL : iterator_new(self, reverse ? DC_BY_KEY_DOWN : DC_BY_KEY, 0);
}

METHOD_DOC(stored_keys,
"_stored_keys($self, /, reverse=False, inserted=False)\n--\n\n"
"The same as iterkeys, but yield StoredKey objects, which are keys without the Disk.\n"
"\n"
":param bool reverse: from the last to the first\n"
":param bool inserted: in the order of insertion\n");

PyObject *Cache_stored_keys(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"_stored_keys", 0, 2, {"reverse", "inserted"}};
    PyObject *values[2];
    int reverse;
    int inserted;

    if (args_parse(&table, args, nargs, kwnames, values) < 0 ||
        (reverse = args_flag(values[0], 0)) < 0 || (inserted = args_flag(values[1], 0)) < 0) {
        return NULL;
    }
    if (inserted) {
        return iterator_new(self, reverse ? DC_BY_ROWID_DOWN : DC_BY_ROWID, 1);
    }
    return iterator_new(self, reverse ? DC_BY_KEY_DOWN : DC_BY_KEY, 1);
}

PyDoc_STRVAR(decode_key_doc,
"_decode_key($self, stored, /)\n--\n\n"
"Return the key that a StoredKey stands for. What its Disk raises is told which key it is.\n");

static PyObject *Cache_decode_key(Cache *self, PyObject *stored)
{
    disk_key encoded = {.owner = NULL};
    PyObject *key = NULL;

    if (cache_ready(self) == 0 && disk_put(self->state, self->disk, stored, &encoded) == 0) {
        key = disk_get(self->state, self->disk, &encoded.key);
    }
    disk_key_clear(&encoded);
    return key;
}

PyObject *cache_iterate(Cache *self)
{
    return iterator_new(self, DC_BY_ROWID, 0);
}

static PyObject *Cache_reversed(Cache *self, PyObject *Py_UNUSED(unused))
{
    return iterator_new(self, DC_BY_ROWID_DOWN, 0);
}

PyDoc_STRVAR(memory_stats_doc,
"memory_stats($self, /)\n--\n\n"
"Return what this object's memory has been good for; every process and object has its own.\n"
"\n"
":return: dict of hits and misses (lookups answered from memory, and not), bytes (in use now) and\n"
"    invalidations (times that all was dropped because somebody had written)\n");

static PyObject *Cache_memory_stats(Cache *self, PyObject *Py_UNUSED(unused))
{
    const HotTier *hot = &self->hot;

    return Py_BuildValue("{s:K,s:K,s:n,s:K}", "hits", (unsigned long long)hot->hits, "misses",
                         (unsigned long long)hot->misses, "bytes", (Py_ssize_t)hot->bytes,
                         "invalidations", (unsigned long long)hot->invalidations);
}

static PyObject *Cache_enter(Cache *self, PyObject *Py_UNUSED(unused))
{
    return cache_ready(self) < 0 ? NULL : Py_NewRef((PyObject *)self);
}

static PyObject *Cache_setattr(Cache *self, PyObject *const *args, Py_ssize_t nargs)
{
    return hooks_setattr(&self->state->cache_hooks, &self->hooks, (PyObject *)self, args, nargs);
}

static PyObject *Cache_delattr(Cache *self, PyObject *name)
{
    return hooks_delattr(&self->state->cache_hooks, &self->hooks, (PyObject *)self, name);
}

PyMethodDef cache_methods[] = {
#define METHOD_ENTRY(python_name, name)                                                            \
    {#python_name, ARGS_METHOD(Cache_##name), Cache_##name##_doc},
    CACHE_METHODS(METHOD_ENTRY)
#undef METHOD_ENTRY
    /* METH_COEXIST: it takes `retry`, which the slot's own wrapper would not. */
    {"__delitem__", (PyCFunction)(void (*)(void))Cache_delitem,
     METH_FASTCALL | METH_KEYWORDS | METH_COEXIST, Cache_delitem_doc},
    {"_decode_key", (PyCFunction)Cache_decode_key, METH_O, decode_key_doc},
    {"__reversed__", (PyCFunction)Cache_reversed, METH_NOARGS,
     PyDoc_STR("__reversed__($self, /)\n--\n\n"
               "Return an iterator over the keys, the one inserted last first.\n")},
    {"volume", (PyCFunction)Cache_volume, METH_NOARGS, Cache_volume_doc},
    {"close", (PyCFunction)Cache_close, METH_NOARGS, Cache_close_doc},
    {"__enter__", (PyCFunction)Cache_enter, METH_NOARGS,
     PyDoc_STR("__enter__($self, /)\n--\n\nReturn the cache.\n")},
    {"__setattr__", (PyCFunction)(void (*)(void))Cache_setattr, METH_FASTCALL,
     PyDoc_STR("__setattr__($self, name, value, /)\n--\n\nSet an attribute.\n")},
    {"__delattr__", (PyCFunction)Cache_delattr, METH_O,
     PyDoc_STR("__delattr__($self, name, /)\n--\n\nDelete an attribute.\n")},
    {"memory_stats", (PyCFunction)Cache_memory_stats, METH_NOARGS, memory_stats_doc},
    {"_connection", (PyCFunction)Cache_connection, METH_NOARGS, Cache_connection_doc},
    {"_raise_timeout", (PyCFunction)Cache_raise_timeout, METH_NOARGS,
     PyDoc_STR(
         "_raise_timeout($self, /)\n--\n\nRaise Timeout, as where a lock cannot be had in time.\n")},
    {"_inspect", (PyCFunction)Cache_inspect, METH_NOARGS, Cache_inspect_doc},
    {"_apply", (PyCFunction)(void (*)(void))Cache_apply, METH_FASTCALL, Cache_apply_doc},
    {"_damaged_texts", (PyCFunction)Cache_damaged_texts, METH_O, Cache_damaged_texts_doc},
    {"_setting", (PyCFunction)Cache_setting, METH_O, Cache_setting_doc},
    {"_update_setting", (PyCFunction)(void (*)(void))Cache_update_setting, METH_FASTCALL,
     Cache_update_setting_doc},
    {"_set_pragma", (PyCFunction)(void (*)(void))Cache_set_pragma, METH_FASTCALL,
     Cache_set_pragma_doc},
    {NULL, NULL, 0, NULL},
};
