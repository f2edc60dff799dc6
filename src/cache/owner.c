/* owner.c: see owner.h. */
#include "cache/owner.h"

#include "base/clock.h"
#include "cache/errors.h"
#include "python/wait.h"

/* The running task of asyncio; NULL, perhaps with an exception, if there is none. New reference. */
static PyObject *running_asyncio_task(module_state *state, PyObject *asyncio)
{
    PyObject *loop = PyObject_CallMethodNoArgs(asyncio, state->name._get_running_loop);
    PyObject *task = NULL;

    if (loop != NULL && loop != Py_None) {
        task = PyObject_CallMethodOneArg(asyncio, state->name.current_task, loop);
    }
    Py_XDECREF(loop);
    return task;
}

static PyObject *running_trio_task(module_state *state, PyObject *trio)
{
    PyObject *lowlevel = PyObject_GetAttr(trio, state->name.lowlevel);
    PyObject *task = NULL;

    if (lowlevel != NULL) {
        task = PyObject_CallMethodNoArgs(lowlevel, state->name.current_task);
    }
    Py_XDECREF(lowlevel);
    return task;
}

/* Whether the function, as it is found in its module now, is Python's own and not a patch of gevent's, say. */
static int is_pythons_own(PyObject *module, PyObject *name)
{
    PyObject *function = PyObject_GetAttr(module, name);
    int own = function == NULL || PyCFunction_CheckExact(function);

    PyErr_Clear();
    Py_XDECREF(function);
    return own;
}

/* What runs in this thread and takes turns there with others of its kind: a task of asyncio or trio, or a
 * greenlet, as the number that a patched threading.get_ident() gives it. NULL without an exception if there is
 * none. New reference. */
static PyObject *running_task(module_state *state)
{
    typedef PyObject *(*finder)(module_state *, PyObject *);
    PyObject *const libraries[] = {state->name.asyncio, state->name.trio};
    static const finder finders[] = {running_asyncio_task, running_trio_task};
    PyObject *task = NULL;

    for (size_t i = 0; i < sizeof finders / sizeof *finders && task == NULL; i++) {
        PyObject *library = PyImport_GetModule(libraries[i]);

        task = library != NULL ? finders[i](state, library) : NULL;
        if (task == Py_None) {
            Py_CLEAR(task);
        }
        PyErr_Clear(); /* outside of trio, or with a library that is only half imported, there is none */
        Py_XDECREF(library);
    }
    if (task == NULL && !is_pythons_own(state->threading, state->name.get_ident)) {
        task = PyObject_CallMethodNoArgs(state->threading, state->name.get_ident);
        PyErr_Clear();
    }
    return task;
}

static int is_same_task(PyObject *task, PyObject *owner)
{
    return task == owner || (task != NULL && PyLong_CheckExact(task) && PyLong_CheckExact(owner) &&
                             PyObject_RichCompareBool(task, owner, Py_EQ) == 1);
}

int cache_owns_transaction(Cache *self, int *other_task)
{
    WriteTransaction *transaction = &self->transaction;
    PyObject *task;

    *other_task = 0;
    if (transaction->depth == 0 || transaction->thread != PyThread_get_thread_ident()) {
        return 0;
    }
    if (transaction->owner == NULL) {
        return 1;
    }
    task = running_task(self->state);
    *other_task = transaction->depth > 0 && !is_same_task(task, transaction->owner);
    Py_XDECREF(task);
    return !*other_task && transaction->depth > 0;
}

void cache_claim_for_task(Cache *self)
{
    if (self->transaction.depth == 1) {
        Py_XSETREF(self->transaction.owner, running_task(self->state));
    }
}

#define OTHER_TASK_SECONDS 1e-3

/* Wait for another task of this thread to end its transaction, if it can go on meanwhile: greenlets do where
 * time.sleep() is patched. -1 with an exception. */
int cache_wait_for_other_task(Cache *self, double timeout, int retry)
{
    lock_wait wait;
    int other_task = 1;

    if (is_pythons_own(self->state->time_module, self->state->name.sleep)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "another task of this thread has a transaction open on this cache: "
                        "waiting for it here would block both for ever");
        return -1;
    }
    wait_start(&wait, timeout, retry);
    while (other_task) {
        PyObject *result;

        if (!retry && dc_clock() >= wait.deadline) {
            cache_raise_timeout(self);
            return -1;
        }
        result = PyObject_CallMethod(self->state->time_module, "sleep", "d", OTHER_TASK_SECONDS);
        if (result == NULL) {
            return -1;
        }
        Py_DECREF(result);
        cache_owns_transaction(self, &other_task);
    }
    return 0;
}
