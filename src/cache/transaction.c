/* transaction.c: the context manager that cache.transact() and cache._transact() return.
 *
 * It holds no state of the transaction: that stands in the Cache (object.h), because transactions nest
 * and the operations inside must find it. So one manager can be entered again and again, also inside
 * itself, and works as a decorator (cache.py adds ContextDecorator).
 *
 * A fork inside the block copies the manager into the child, whose copy of the transaction is void:
 * leaving the block there without an exception would pretend that it has been committed, and is a
 * RuntimeError.
 */
#include "cache/transaction.h"

#include <string.h>

#include "cache/errors.h"
#include "cache/mending.h"
#include "cache/operation.h"
#include "cache/owner.h"
#include "cache/pin.h"
#include "python/convert.h"
#include "python/fork_generation.h"

typedef struct Transaction {
    PyObject_HEAD
    Cache *cache; /* strong */
    int retry;
    int with_cursor;          /* __enter__ returns (execute, cleanup) */
    PyObject *filename;       /* strong, or NULL: of a new value file, removed on failure */
    int entered;              /* blocks under way */
    int outermost;            /* the first of them began the transaction */
    unsigned long serial;     /* of the transaction that the outermost one is in */
    unsigned long generation; /* of the process that entered it */
} Transaction;

PyObject *transaction_new(Cache *cache, int retry, int with_cursor, PyObject *filename)
{
    PyTypeObject *type = cache->state->transaction_class;
    Transaction *self;

    if (filename == Py_None) {
        filename = NULL;
    }
    if (filename != NULL && convert_filename(filename, "filename") == NULL) {
        return NULL;
    }
    self = (Transaction *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->cache = (Cache *)Py_NewRef(cache);
        self->retry = retry;
        self->with_cursor = with_cursor;
        self->filename = Py_XNewRef(filename);
    }
    return (PyObject *)self;
}

/* (execute, cleanup) for the block. */
static PyObject *make_cursor(Transaction *self, Session *session)
{
    module_state *state = self->cache->state;
    PyObject *execute = NULL;
    PyObject *cleanup = NULL;
    PyObject *pair = NULL;

    cache_expose(self->cache, session);
    execute = PyObject_GetAttr(session->connection, state->name.execute);
    cleanup = PyObject_GetAttr((PyObject *)self, state->name._cleanup);
    if (execute != NULL && cleanup != NULL) {
        pair = PyTuple_Pack(2, execute, cleanup);
    }
    Py_XDECREF(cleanup);
    Py_XDECREF(execute);
    return pair;
}

static int require_cache(Transaction *self)
{
    if (self->cache == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "a transaction is made by Cache.transact()");
        return -1;
    }
    return 0;
}

static PyObject *Transaction_enter(Transaction *self, PyObject *Py_UNUSED(unused))
{
    Operation operation = {.block = 1};
    const char *filename;
    PyObject *result = NULL;
    int failures = 0;
    int begun;

    if (require_cache(self) < 0) {
        return NULL;
    }
    filename = self->filename != NULL ? PyUnicode_AsUTF8(self->filename) : NULL;
    if (cache_ready_to_open(self->cache) < 0 || (self->filename != NULL && filename == NULL)) {
        return NULL;
    }
    do {
        begun = operation_begin_write(&operation, self->cache, self->retry);
    } while (begun < 0 && cache_has_healed(self->cache, NULL, NULL, &failures));
    if (begun < 0) {
        if (filename != NULL) {
            cache_discard_file(self->cache, filename);
        }
        return NULL;
    }
    if (self->entered == 0 || self->serial != self->cache->transaction.serial) {
        self->entered = 0; /* the transaction of earlier blocks is over */
        self->generation = fork_generation();
        self->serial = self->cache->transaction.serial;
        self->outermost = !operation.joined;
    }
    cache_claim_for_task(self->cache);
    if (operation_add_file(&operation, filename) == 0 &&
        (operation.joined || cache_watch_thread(self->cache) == 0)) {
        result = self->with_cursor ? make_cursor(self, operation.session) : Py_NewRef(Py_None);
    }
    if (result == NULL) {
        operation_rollback(&operation);
    } else {
        self->entered++;
    }
    return result;
}

static PyObject *Transaction_exit(Transaction *self, PyObject *const *args, Py_ssize_t nargs)
{
    Operation operation = {.cache = self->cache, .block = 1};
    int failed = nargs > 0 && args[0] != Py_None;
    const WriteTransaction *transaction;
    int other_task;
    int owner;
    int same;

    if (require_cache(self) < 0) {
        return NULL;
    }
    if (self->entered == 0) {
        PyErr_SetString(PyExc_RuntimeError, "the transaction has not been entered");
        return NULL;
    }
    if (self->generation != fork_generation()) {
        self->entered--;
        if (failed) {
            Py_RETURN_FALSE;
        }
        PyErr_SetString(PyExc_RuntimeError,
                        "this transaction was begun before the process forked: it is the parent's");
        return NULL;
    }
    /* A generator is resumed and closed by whichever thread or task happens to. The transaction is
     * still this block's, as long as its thread is not just doing something inside. */
    owner = cache_owns_transaction(self->cache, &other_task);
    transaction = &self->cache->transaction;
    same = transaction->serial == self->serial;
    owner = same && (owner || transaction->depth == 1);
    self->entered -= owner || !same;
    if (!owner && failed) {
        Py_RETURN_FALSE;
    }
    if (!owner) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this transaction is over, or another thread is at work in it");
        return NULL;
    }
    operation.session = transaction->session;
    operation.generation = fork_generation();
    if (failed) {
        operation_rollback(&operation);
    } else if (operation_commit(&operation) < 0) {
        return NULL;
    }
    Py_RETURN_FALSE;
}

PyDoc_STRVAR(Transaction_cleanup_doc,
"_cleanup($self, filename, /)\n--\n\n"
"Remove a value file once the transaction has been committed.\n"
"\n"
":param str filename: relative to the cache directory; None is ignored\n");

static PyObject *Transaction_cleanup(Transaction *self, PyObject *filename)
{
    const char *name;
    int other_task;

    if (require_cache(self) < 0) {
        return NULL;
    }
    if (filename == Py_None) {
        Py_RETURN_NONE;
    }
    name = convert_filename(filename, "filename");
    if (name == NULL) {
        return NULL;
    }
    if (!cache_owns_transaction(self->cache, &other_task)) {
        PyErr_SetString(PyExc_RuntimeError, "cleanup belongs inside its transaction");
        return NULL;
    }
    if (!dc_namelist_add(&self->cache->transaction.removed, name)) {
        return PyErr_NoMemory();
    }
    Py_RETURN_NONE;
}

/* Dropped inside its block: a signal handler has raised between __enter__ and the block, say. What it
 * has begun ends as if the block had raised. */
static void Transaction_finalize(Transaction *self)
{
    Operation operation = {.cache = self->cache, .block = 1, .generation = self->generation};
    compat_exception current;

    if (self->cache == NULL || self->generation != fork_generation()) {
        return;
    }
    current = compat_exception_take();
    GUARD_BEGIN(self->cache)
    for (; self->entered > 0 && self->cache->transaction.depth > 0 &&
           self->cache->transaction.serial == self->serial;
         self->entered--) {
        if (self->outermost) {
            cache_abandon_transaction(self->cache);
        } else {
            operation_rollback(&operation);
        }
    }
    GUARD_END()
    compat_exception_put(current);
}

static int Transaction_traverse(Transaction *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->cache);
    return 0;
}

static int Transaction_clear(Transaction *self)
{
    Py_CLEAR(self->cache);
    return 0;
}

static void Transaction_dealloc(Transaction *self)
{
    PyTypeObject *type = Py_TYPE(self);

    if (PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return;
    }
    PyObject_GC_UnTrack(self);
    Transaction_clear(self);
    Py_CLEAR(self->filename);
    type->tp_free(self);
    Py_DECREF(type);
}

/* What is guarded: what a transaction is of, and with it the transaction. */
static PyObject *guarded_object(Transaction *self)
{
    return self->cache != NULL ? (PyObject *)self->cache : (PyObject *)self;
}

GUARDED(PyObject *, guarded_enter, guarded_object(self), Transaction_enter,
        (Transaction * self, PyObject *unused), (self, unused))
GUARDED(PyObject *, guarded_exit, guarded_object(self), Transaction_exit,
        (Transaction * self, PyObject *const *args, Py_ssize_t nargs), (self, args, nargs))
GUARDED(PyObject *, guarded_cleanup, guarded_object(self), Transaction_cleanup,
        (Transaction * self, PyObject *filename), (self, filename))

static PyMethodDef Transaction_methods[] = {
    {"__enter__", (PyCFunction)guarded_enter, METH_NOARGS,
     PyDoc_STR("Begin, or join the thread's open transaction.")},
    {"__exit__", (PyCFunction)(void (*)(void))guarded_exit, METH_FASTCALL,
     PyDoc_STR("Commit; roll back if the block raised.")},
    {"_cleanup", (PyCFunction)guarded_cleanup, METH_O, Transaction_cleanup_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot Transaction_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("The native part of what Cache.transact() returns.")},
    {Py_tp_dealloc, Transaction_dealloc},
    {Py_tp_finalize, Transaction_finalize},
    {Py_tp_traverse, Transaction_traverse},
    {Py_tp_clear, Transaction_clear},
    {Py_tp_methods, Transaction_methods},
    {0, NULL},
};

PyType_Spec transaction_type_spec = {
    .name = "diskcache._core.Transaction",
    .basicsize = sizeof(Transaction),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = Transaction_slots,
};
