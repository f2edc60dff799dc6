/* sessions.c: see sessions.h. */
#include "cache/sessions.h"

#include "cache/errors.h"
#include "cache/registry.h"
#include "python/session_end.h"

#define OPEN_ATTEMPTS 100

#define READ_ONLY_ATTEMPTS 3
#define WITH_LOCKS         "mode=ro"

/* One attempt at opening a file for reading only; if it has no log it need not be read without locks. *again: how it
 * is to be opened has perhaps changed meanwhile, since somebody is writing, and the exception comes of that. */
static Session *try_read_only(Cache *self, PyObject *path, double timeout, unsigned long epoch,
                              int *again)
{
    PyObject *query = PyObject_CallMethod((PyObject *)self, "_read_only_query", NULL);
    const char *text = query != NULL ? PyUnicode_AsUTF8(query) : NULL;
    Session *session = NULL;

    *again = 0;
    if (text != NULL) {
        session = pool_open(self->state, &self->pool, path, text, timeout, epoch);
        *again = session == NULL &&
                 PyErr_ExceptionMatches(self->state->sqlite_errors[SQLITE_ERROR_OperationalError]);
    }
    Py_XDECREF(query);
    if (session != NULL && session->db.frozen.database != NULL && !dc_db_says_wal(&session->db)) {
        pool_discard(self->state, &self->pool, session);
        session = pool_open(self->state, &self->pool, path, WITH_LOCKS, timeout, epoch);
    }
    return session;
}

static Session *open_read_only(Cache *self, PyObject *path, double timeout, unsigned long epoch)
{
    int left = READ_ONLY_ATTEMPTS;
    int again;
    Session *session;

    do {
        PyErr_Clear();
        session = try_read_only(self, path, timeout, epoch, &again);
    } while (again && --left > 0);
    return session;
}

/* What file the path leads to, as far as on_error needs to know it; zeros if that cannot be found out. An exception
 * that is set stays. -1 with one that came out of a signal handler, in its place. */
static int identify(Cache *self, file_identity *file)
{
    const compat_exception none = {.value = NULL};
    compat_exception current;
    PyObject *found;

    *file = (file_identity){0, 0};
    if (self->on_error != ON_ERROR_RESET) {
        return 0;
    }
    current = compat_exception_take();
    found = PyObject_CallMethod((PyObject *)self, "_identify", NULL);
    if (found != NULL && PyTuple_Check(found)) {
        PyArg_ParseTuple(found, "KK", &file->device, &file->inode);
    }
    Py_XDECREF(found);
    if (cache_end_housekeeping(self->state, none) < 0) {
        compat_exception_drop(current);
        return -1;
    }
    compat_exception_put(current);
    return 0;
}

static int is_same_file(file_identity one, file_identity other)
{
    return one.inode == other.inode && one.device == other.device;
}

static Session *open_session(Cache *self)
{
    file_identity before;
    file_identity after;
    Session *session = NULL;
    PyObject *directory = NULL;
    PyObject *path = NULL;
    unsigned long epoch = 0;
    int attempts = OPEN_ATTEMPTS;
    double timeout;

    timeout = cache_notice_fork_everywhere(self->state) == 0 ? cache_timeout(self) : -1.0;
    if (timeout >= 0.0 && cache_require(self->path, "_directory") == 0) {
        directory = Py_NewRef(self->path); /* another thread may assign or delete it */
        epoch = self->pool.epoch;
        path = PyObject_CallFunction(self->state->join, "Os", directory, DC_DATABASE_NAME);
    }
    while (path != NULL && session == NULL && attempts-- > 0) {
        if (identify(self, &before) < 0) {
            break;
        }
        session = self->read_only ? open_read_only(self, path, timeout, epoch)
                                  : pool_open(self->state, &self->pool, path, NULL, timeout, epoch);
        if (session == NULL) {
            if (is_malformed(self) && identify(self, &after) == 0 && is_same_file(before, after)) {
                self->malformed = before;
            }
            if (PyErr_ExceptionMatches(self->state->Timeout)) {
                PyErr_Clear();
                cache_raise_timeout(self);
            }
            blame_database(self);
            break;
        }
        if (dc_db_has_moved(&session->db)) {
            /* Removed in the middle of it: its log may be that of the next file of the name. */
            pool_discard(self->state, &self->pool, session);
            session = NULL;
        } else if (identify(self, &after) < 0) {
            pool_discard(self->state, &self->pool, session);
            session = NULL;
            break;
        } else if (is_same_file(before, after)) {
            session->file = before;
        }
        self->has_new_session |= session != NULL && self->seals;
    }
    if (attempts < 0) {
        PyErr_Format(self->state->sqlite_errors[SQLITE_ERROR_OperationalError],
                     "%U is removed again and again while it is being opened", path);
    }
    Py_XDECREF(path);
    Py_XDECREF(directory);
    return session;
}

Session *cache_spare_session(Cache *self)
{
    Session *session = pool_find_spare(&self->pool);

    return session != NULL ? session : open_session(self);
}

Session *cache_open_or_idle_session(Cache *self)
{
    Session *session = pool_find_pinned(&self->pool);

    if (session != NULL && session->uses == 0 && !session_is_open(self->state, session)) {
        pool_discard(self->state, &self->pool, session); /* its user has closed it */
        session = NULL;
    }
    if (session == NULL || session->uses > 0) {
        session = pool_find_idle(&self->pool);
    }
    return session != NULL ? session : open_session(self);
}

/* Sessions on what the directory was before are not used again. The tier comes last: while it gives references back,
 * another thread may lend it a header. */
void cache_forget_file(Cache *self)
{
    self->pool.epoch++;
    for (Session *session = self->pool.sessions; session != NULL; session = session->next) {
        session->lent = NULL;
    }
    hot_detach(&self->hot);
}

/* ROLLBACK may fail, without memory for one. Closing needs none, and gives the lock back. A user's transaction is
 * the user's. */
static int is_stuck(const Session *session)
{
    return !session->exposed && dc_db_in_transaction(&session->db);
}

static void discard_if_useless(Cache *self, Session *session)
{
    if (session->uses == 0 && session->db.handle != NULL &&
        (session->must_close || (!session->pinned && session->epoch != self->pool.epoch) ||
         is_stuck(session))) {
        pool_discard(self->state, &self->pool, session);
    }
}

void cache_return_session(Cache *self, Session *session)
{
    if (session->exposed && session->db.handle != NULL) {
        compat_exception current = compat_exception_take();

        session_busy_timeout(session, cache_timeout(self)); /* a bad timeout waits for nothing */
        PyErr_Clear();
        compat_exception_put(current);
    }
    pool_put_first(&self->pool, session);
    discard_if_useless(self, session);
}

void cache_put_back_session(Cache *self, Session *session)
{
    session_put_back(session);
    discard_if_useless(self, session);
}

/* Where SQLite could open the log or the wal-index only for reading, for want of a descriptor say, nobody
 * could write with the session ever: the next operation opens another. */
int cache_session_is_readonly(const Session *session)
{
    return !session->exposed && (session->db.error.sqlite_code & 0xff) == DC_SQLITE_READONLY;
}

void cache_note_session_failure(Cache *self, Session *session)
{
    if (says_malformed(session->db.error.sqlite_code & 0xff) && session->file.inode != 0) {
        self->malformed = session->file;
    }
    session->must_close |= cache_session_is_readonly(session);
}
