/* mending.c: see mending.h. */
#include "cache/mending.h"

#include "base/clock.h"
#include "cache/checkpointer.h"
#include "cache/errors.h"
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

/* Make anew what has been removed. `unopened`: the file could not be opened. 1, or 0 if that is not because it
 * has been removed; -1 with an exception. */
static int mend(Cache *self, PyObject *unopened)
{
    PyObject *result;
    int mended = -1;

    self->mender = PyThread_get_thread_ident();
    checkpoint_finish(self);
    cache_forget_file(self);
    dc_access_log_clear(&self->access_log); /* of rows that are gone */
    pool_discard_idle(self->state, &self->pool, 0);
    result = PyObject_CallMethodOneArg((PyObject *)self, self->state->name._mend, unopened);
    self->mender = 0;
    self->looked_at = 0.0;
    if (result != NULL) {
        mended = PyObject_IsTrue(result);
        Py_DECREF(result);
    }
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

/* Wait while another thread mends. -1 with an exception. */
static int wait_for_mender(Cache *self)
{
    lock_wait wait;
    double timeout;
    int again = 1;

    if (self->mender == 0) {
        return 0;
    }
    timeout = cache_timeout(self);
    if (timeout < 0.0) {
        return -1;
    }
    wait_start(&wait, timeout, 0);
    while (self->mender != 0 && self->mender != PyThread_get_thread_ident() && again > 0) {
        again = wait_more(&wait);
    }
    if (again == 0) {
        cache_raise_timeout(self);
    }
    return again > 0 ? 0 : -1;
}

Session *cache_find_session(Cache *self)
{
    Session *session = wait_for_mender(self) == 0 ? cache_open_or_idle_session(self) : NULL;

    if (session == NULL && mend_unopened(self) > 0) {
        session = cache_open_or_idle_session(self);
    }
    /* Whoever removes the files may be at it again. */
    for (int i = 0; i < MENDING_ATTEMPTS && session != NULL && is_gone(self, session); i++) {
        session = mend(self, Py_False) >= 0 ? cache_open_or_idle_session(self) : NULL;
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
