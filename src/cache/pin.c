/* pin.c: see pin.h. */
#include "cache/pin.h"

#include "cache/access.h"
#include "cache/errors.h"
#include "cache/mending.h"
#include "cache/operation.h"
#include "cache/owner.h"
#include "cache/registry.h"
#include "cache/sessions.h"
#include "python/fork_generation.h"

/* What `_local` keeps for a session that the thread has pinned, and for a transaction that it has
 * begun: it notices that the thread ends. */
typedef struct Pin {
    PyObject_HEAD
    PyObject *cache;           /* weak reference */
    unsigned long session;     /* serial number, or 0 */
    unsigned long transaction; /* serial number, or 0 */
    unsigned long generation;
} Pin;

static void thread_ended(Cache *self, const Pin *pin)
{
    Session *session;

    if (self->transaction.depth > 0 && self->transaction.serial == pin->transaction) {
        cache_abandon_transaction(self);
    }
    session = pool_find_serial(&self->pool, pin->session);
    if (session != NULL && session->pinned) {
        /* Not into the pool: it may have cursors and pragmas of the thread's own. */
        session->must_close = 1;
        pool_unpin(&self->pool, session);
        if (session->uses == 0) {
            pool_discard(self->state, &self->pool, session);
        }
    }
}

static void Pin_dealloc(Pin *self)
{
    PyTypeObject *type = Py_TYPE(self);
    compat_exception current = compat_exception_take();
    PyObject *cache = self->cache != NULL ? compat_weakref_get(self->cache) : NULL;

    if (cache != NULL && self->generation == fork_generation()) {
        GUARD_BEGIN(cache)
        thread_ended((Cache *)cache, self);
        GUARD_END()
    }
    Py_XDECREF(cache);
    Py_XDECREF(self->cache);
    compat_exception_put(current);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot Pin_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Gives a session back when the thread that used `_con` ends.")},
    {Py_tp_dealloc, Pin_dealloc},
    {0, NULL},
};

PyType_Spec pin_type_spec = {
    .name = "diskcache._core.Pin",
    .basicsize = sizeof(Pin),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = Pin_slots,
};

static int keep_pin(Cache *self, PyObject *name, unsigned long session, unsigned long transaction)
{
    PyTypeObject *type = self->state->pin_type;
    Pin *pin = (Pin *)type->tp_alloc(type, 0);
    PyObject *local = Py_XNewRef(self->local); /* setting an attribute may run Python */
    int result = -1;

    if (pin == NULL || cache_require(local, "_local") < 0) {
        goto done;
    }
    pin->session = session;
    pin->transaction = transaction;
    pin->generation = fork_generation();
    pin->cache = PyWeakref_NewRef((PyObject *)self, NULL);
    if (pin->cache != NULL) {
        result = PyObject_SetAttr(local, name, (PyObject *)pin);
    }
done:
    Py_XDECREF(local);
    Py_XDECREF(pin);
    return result;
}

int cache_watch_thread(Cache *self)
{
    return self->local == NULL
               ? 0
               : keep_pin(self, self->state->name._transaction, 0, self->transaction.serial);
}

static int remove_attribute(PyObject *object, PyObject *name)
{
    if (PyObject_DelAttr(object, name) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear();
    }
    return 0;
}

/* Note the pinned session in `_local`, where the original keeps its connection. The Pin comes last: when the
 * thread ends `con` is gone before it, and no longer counts among those who have the Connection. */
static int publish_connection(Cache *self, Session *session)
{
    module_state *state = self->state;
    PyObject *pid = PyObject_CallNoArgs(state->getpid);
    PyObject *local = Py_XNewRef(self->local);
    int result = -1;

    if (pid != NULL && cache_require(local, "_local") == 0 &&
        remove_attribute(local, state->name._pin) == 0 &&
        PyObject_SetAttr(local, state->name.pid, pid) == 0 &&
        PyObject_SetAttr(local, state->name.con, session->connection) == 0) {
        result = keep_pin(self, state->name._pin, session->serial, 0);
    }
    Py_XDECREF(local);
    Py_XDECREF(pid);
    return result;
}

void cache_expose(Cache *self, Session *session)
{
    if (self->transaction.session == session) {
        self->transaction.changes.header = NULL;
        if (!session->exposed) {
            self->transaction.version = dc_db_data_version(&session->db);
        }
    }
    session_expose(session);
}

PyObject *cache_connection(Cache *self)
{
    Session *session;
    PyObject *connection = NULL;
    int other_task;
    int owner;

    cache_notice_fork(self);
    if (cache_require(self->directory, "_directory") < 0 ||
        cache_require(self->local, "_local") < 0) {
        return NULL;
    }
    if (cache_flush_access_log(self, ACCESS_LOG_CLOSE_SECONDS) < 0) {
        return NULL;
    }
    owner = cache_owns_transaction(self, &other_task);
    session = owner ? self->transaction.session : cache_find_session(self);
    if (session == NULL) {
        return NULL;
    }
    session_use(session);
    cache_expose(self, session);
    if (session->pinned || publish_connection(self, session) == 0) {
        pool_pin(&self->pool, session);
        connection = Py_NewRef(session->connection);
    }
    cache_return_session(self, session);
    return connection;
}
