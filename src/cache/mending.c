/* mending.c: see mending.h. */
#include "cache/mending.h"

#include <string.h>

#include "base/clock.h"
#include "cache/checkpointer.h"
#include "cache/errors.h"
#include "cache/owner.h"
#include "cache/sessions.h"
#include "python/wait.h"

/* An administrator or a deployment empties the directory beneath a live cache. SQLite goes on with a file that
 * has no name any more, which others do not see. Asking costs a system call, so it is not done in quick
 * succession. */
#define MENDING_ATTEMPTS 10
#define LOOK_SECONDS     20e-6

static int is_gone(Cache *self, Session *session)
{
    double now = dc_clock();
    int lacks_settings = session->lacks_settings;

    session->lacks_settings = 0;
    if (self->opening || self->disk == NULL || self->mender != 0) {
        return 0;
    }
    if (!lacks_settings && !self->hot.moved && now - self->looked_at < LOOK_SECONDS) {
        return 0;
    }
    self->looked_at = now;
    return lacks_settings || dc_db_has_moved(&session->db);
}

int cache_session_has_moved(Cache *self, Session *session)
{
    int moved;

    self->looked_at = 0.0;
    moved = is_gone(self, session);
    self->looked_at = 0.0; /* whoever takes a session next has to see it, too */
    return moved;
}

/* Call a method of opening.py that makes the database anew, without sessions on the former one. Its truth, or -1
 * with an exception. */
static int mend_by(Cache *self, PyObject *method, PyObject *arguments)
{
    PyObject *result = NULL;
    PyObject *body;
    int mended = -1;

    self->mender = PyThread_get_thread_ident();
    self->mendings++;
    checkpoint_finish(self);
    cache_forget_file(self);
    dc_access_log_clear(&self->access_log); /* of rows that are gone */
    pool_discard_idle(self->state, &self->pool, 0);
    body = arguments != NULL ? PyObject_GetAttr((PyObject *)self, method) : NULL;
    if (body != NULL) {
        result = PyObject_CallObject(body, arguments);
        Py_DECREF(body);
    }
    self->mender = 0;
    self->looked_at = 0.0;
    if (result != NULL) {
        mended = PyObject_IsTrue(result);
        Py_DECREF(result);
    }
    return mended;
}

/* Make anew what has been removed. `unopened`: the file could not be opened. 1, or 0 if that is not because it
 * has been removed; -1 with an exception. */
static int mend(Cache *self, PyObject *unopened)
{
    PyObject *arguments = PyTuple_Pack(1, unopened);
    int mended = mend_by(self, self->state->name._mend, arguments);

    Py_XDECREF(arguments);
    return mended;
}

/* After a session could not be opened, with an exception: mend if that is because the file has been removed.
 * 1, or 0 with the exception that was set, or -1 with another. */
static int mend_unopened(Cache *self)
{
    PyObject *error = self->state->sqlite_errors[SQLITE_ERROR_OperationalError];
    compat_exception raised;
    compat_exception other;
    int mended;

    if (self->opening || self->disk == NULL || self->mender != 0 ||
        !PyErr_ExceptionMatches(error)) {
        return 0;
    }
    raised = compat_exception_take();
    mended = mend(self, Py_True);
    other = compat_exception_take();
    compat_exception_put(raised);
    if (mended != 0) {
        PyErr_Clear();
        compat_exception_put(other);
    }
    return mended;
}

static int is_mended_by_another(const Cache *self)
{
    return self->mender != 0 && self->mender != PyThread_get_thread_ident();
}

/* Wait while another thread mends. -1 with an exception. */
static int wait_for_mender(Cache *self)
{
    lock_wait wait;
    double timeout;
    int again = 1;

    if (!is_mended_by_another(self)) {
        return 0;
    }
    timeout = cache_timeout(self);
    if (timeout < 0.0) {
        return -1;
    }
    wait_start(&wait, timeout, 0);
    while (is_mended_by_another(self) && again > 0) {
        again = wait_more(&wait);
    }
    if (again == 0) {
        cache_raise_timeout(self);
    }
    return again > 0 ? 0 : -1;
}

/* A file that has just been opened may be another than before: this cache had none open, since it was closed or its
 * process has forked. Then what the Disk signs is another id. -1 with an exception. */
static int take_directory_id(Cache *self)
{
    PyObject *is_other;

    self->has_new_session = 0;
    if (self->opening || self->disk == NULL || self->mender != 0) {
        return 0;
    }
    self->mender = PyThread_get_thread_ident();
    is_other = PyObject_CallMethodNoArgs((PyObject *)self, self->state->name._take_directory_id);
    self->mender = 0;
    self->mendings += is_other == Py_True;
    Py_XDECREF(is_other);
    return is_other != NULL ? 0 : -1;
}

/* A session when no other thread mends: one that was opened meanwhile may be on a file that has no tables yet. */
static Session *find_mended(Cache *self)
{
    Session *session;

    do {
        session = wait_for_mender(self) == 0 ? cache_open_or_idle_session(self) : NULL;
    } while (session != NULL && is_mended_by_another(self));
    return session;
}

Session *cache_find_session(Cache *self)
{
    Session *session = find_mended(self);

    if (session == NULL && mend_unopened(self) > 0) {
        session = find_mended(self);
    }
    if (session != NULL && self->has_new_session) {
        session = take_directory_id(self) == 0 ? find_mended(self) : NULL;
    }
    /* Whoever removes the files may be at it again. */
    for (int i = 0; i < MENDING_ATTEMPTS && session != NULL && is_gone(self, session); i++) {
        session = mend(self, Py_False) >= 0 ? find_mended(self) : NULL;
    }
    return session;
}

Session *cache_take_session(Cache *self)
{
    Session *session;

    if (cache_hooks(self) & CACHE_HOOK__con) {
        PyObject *connection = PyObject_GetAttr((PyObject *)self, self->state->name._con);
        double timeout = connection != NULL ? cache_timeout(self) : -1.0;

        session = timeout >= 0.0 ? pool_adopt(self->state, &self->pool, connection, timeout) : NULL;
        Py_XDECREF(connection);
    } else {
        session = cache_find_session(self);
    }
    if (session != NULL) {
        session_use(session);
        if (session->exposed) {
            session_busy_timeout(session, 0.0); /* waiting is ours while the operation lasts */
        }
    }
    return session;
}

/* --- a malformed database ----------------------------------------------------------------------- */

#define HEALING_ATTEMPTS 3

static int is_one_of(const char *name, const char *const *names)
{
    while (*names != NULL && strcmp(name, *names) != 0) {
        names++;
    }
    return *names != NULL;
}

/* Whether a call can be made again: a file that has been read, or an iterator, is used up. */
static int can_repeat(const args_table *table, const void *parsed)
{
    static const char *const iterables[] = {"items", "keys", "pairs", NULL};
    PyObject *const *fields = parsed;

    for (int i = 0; table != NULL && i < table->count; i++) {
        const args_parameter *parameter = &table->parameters[i];

        if (parameter->is_flag || fields[i] == NULL) {
            continue;
        }
        if ((strcmp(parameter->name, "read") == 0 && fields[i] != Py_False) ||
            (is_one_of(parameter->name, iterables) && !PyList_Check(fields[i]) &&
             !PyTuple_Check(fields[i]) && !PyDict_Check(fields[i]))) {
            return 0;
        }
    }
    return 1;
}

int cache_heal(Cache *self, const args_table *table, const void *parsed, int *failures)
{
    compat_exception raised;
    PyObject *arguments;
    int other_task;
    int healed;

    if (self->opening || self->disk == NULL || self->mender != 0 || self->malformed.inode == 0 ||
        (*failures)++ == HEALING_ATTEMPTS || !is_malformed(self) ||
        cache_owns_transaction(self, &other_task)) {
        return 0;
    }
    raised = compat_exception_take();
    arguments = Py_BuildValue("KKO", self->malformed.device, self->malformed.inode,
                              compat_exception_value(&raised));
    healed = mend_by(self, self->state->name._reset_malformed, arguments);
    Py_XDECREF(arguments);
    if (healed < 0 && !PyErr_ExceptionMatches(PyExc_Exception)) { /* of a signal handler */
        compat_exception_drop(raised);
        return 0;
    }
    PyErr_Clear();
    if (healed > 0 && can_repeat(table, parsed)) {
        compat_exception_drop(raised);
        return 1;
    }
    compat_exception_put(raised);
    return 0;
}
