/* operation.c: the life of an operation: its session, its lock, its end, and the checkpoint that may be
 * due after it. cache.h has the pattern that all operations follow, and the invariants.
 *
 * Waiting for the write lock holds no session. The transaction that stands in the cache is taken out
 * before COMMIT or ROLLBACK, because the GIL may be released there and the lock be another thread's
 * before this one is back. Files go after that: those that the transaction made superfluous, or, if
 * it was rolled back, those of its own that no row names.
 */
#include "cache.h"

#include <string.h>

#include "cache_row.h"
#include "convert.h"
#include "log.h"
#include "selfcheck.h"

/* --- housekeeping ------------------------------------------------------------------------------- */

int cache_end_housekeeping(module_state *state, compat_exception current)
{
    if (PyErr_Occurred() &&
        (PyErr_ExceptionMatches(state->Timeout) || PyErr_ExceptionMatches(PyExc_OSError) ||
         PyErr_ExceptionMatches(PyExc_MemoryError) ||
         PyErr_ExceptionMatches(state->sqlite_errors[SQLITE_ERROR_DatabaseError]) ||
         PyErr_ExceptionMatches(state->sqlite_errors[SQLITE_ERROR_InterfaceError]))) {
        PyErr_Clear();
    }
    if (!compat_exception_is_none(&current)) {
        PyErr_Clear();
        compat_exception_put(current);
    }
    return PyErr_Occurred() ? -1 : 0;
}

/* Say once what has been turned off (selfcheck.h). Both belong to the process; the GIL guards them. */
static void report_selfchecks(void)
{
    static int reported;
    static int told[DC_MECHANISM_COUNT];

    while (reported != atomic_load(&dc_selfcheck_count)) {
        reported = atomic_load(&dc_selfcheck_count);
        for (int i = 0; i < DC_MECHANISM_COUNT; i++) {
            const char *reason = atomic_load(&dc_selfcheck_failures[i]);

            if (reason != NULL && !told[i]) {
                told[i] = 1;
                log_warning("%s; SQLite %s works otherwise than those that are known, so diskcache goes "
                            "on without relying on it, more slowly",
                            reason, sqlite.libversion());
            }
        }
    }
}

/* --- readiness -------------------------------------------------------------------------------- */

int cache_require(PyObject *value, const char *name)
{
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "Cache has no attribute '%s': was __init__ called?",
                     name);
        return -1;
    }
    return 0;
}

/* The parent's open transaction is none of the child's: its files stay, its session is abandoned. */
static void forget_parents_work(Cache *self)
{
    WriteTransaction *transaction = &self->transaction;

    transaction->depth = transaction->working = transaction->doomed = 0;
    transaction->session = NULL;
    Py_CLEAR(transaction->owner);
    dc_namelist_clear(&transaction->added);
    dc_namelist_clear(&transaction->removed);
    hot_changes_clear(&transaction->changes);
    dc_notes_clear(&transaction->notes);
    self->mender = 0;
    checkpoint_forget(self);
    dc_notes_clear(&self->notes); /* the parent's, which writes them */
    session_after_fork(self->state, &self->pool);
    hot_clear(&self->hot);
}

void cache_notice_fork(Cache *self)
{
    if (self->pool.generation != session_generation()) {
        session_connecting_enter(); /* until it is done other threads open nothing */
        if (self->pool.generation != session_generation()) {
            forget_parents_work(self);
        }
        session_connecting_leave();
    }
}

/* SQLite keeps the locks of a process per file, and a forked child inherits its parent's as if they
 * were its own: as long as one inherited connection to a file is left, a new one would believe to have
 * locks that it has not. So before a child opens its first connection, every cache lets go of what it
 * inherited, and not only the one that is used. The list belongs to the process; the GIL guards it. */
static Cache *all_caches;
static unsigned long flush_serial;
static unsigned long noticed_generation;

void cache_enlist(Cache *self)
{
    self->next = all_caches;
    if (all_caches != NULL) {
        all_caches->previous = self;
    }
    all_caches = self;
}

void cache_delist(Cache *self)
{
    if (self->previous != NULL) {
        self->previous->next = self->next;
    } else if (all_caches == self) {
        all_caches = self->next;
    }
    if (self->next != NULL) {
        self->next->previous = self->previous;
    }
    self->next = self->previous = NULL;
}

/* Closing runs Python, which may change the list: begin again each time. */
static void notice_fork_everywhere(module_state *state)
{
    Cache *cache = all_caches;

    if (noticed_generation == session_generation()) {
        return;
    }
    noticed_generation = session_generation();
    session_connecting_enter(); /* until then other threads open nothing */
    session_forget_disowned();
    while (cache != NULL) {
        if (cache->state == state && cache->pool.generation != session_generation()) {
            Py_INCREF(cache);
            cache_notice_fork(cache);
            Py_DECREF(cache);
            cache = all_caches;
        } else {
            cache = cache->next;
        }
    }
    session_connecting_leave();
}

int cache_ready_to_open(Cache *self)
{
    cache_notice_fork(self);
    return cache_require(self->directory, "_directory");
}

int cache_ready(Cache *self)
{
    return cache_ready_to_open(self) < 0 || cache_require(self->disk, "_disk") < 0 ? -1 : 0;
}

double cache_timeout(Cache *self)
{
    PyObject *timeout = Py_XNewRef(self->timeout); /* converting it may run Python */
    double seconds = -1.0;

    if (cache_require(timeout, "_timeout") == 0 &&
        convert_seconds(timeout, "timeout", &seconds) == 0) {
        seconds = seconds > 0.0 ? seconds : 0.0;
    } else {
        seconds = -1.0;
    }
    Py_XDECREF(timeout);
    return seconds;
}

/* --- sessions --------------------------------------------------------------------------------- */

#define OPEN_ATTEMPTS 100

static Session *open_session(Cache *self)
{
    Session *session = NULL;
    PyObject *directory = NULL;
    PyObject *path = NULL;
    unsigned long epoch = 0;
    int attempts = OPEN_ATTEMPTS;
    double timeout;

    notice_fork_everywhere(self->state);
    timeout = cache_timeout(self);
    if (timeout >= 0.0 && cache_require(self->path, "_directory") == 0) {
        directory = Py_NewRef(self->path); /* another thread may assign or delete it */
        epoch = self->pool.epoch;
        path = PyObject_CallFunction(self->state->join, "Os", directory, DATABASE_NAME);
    }
    while (path != NULL && session == NULL && attempts-- > 0) {
        session = session_open(self->state, &self->pool, path, timeout, epoch);
        if (session == NULL) {
            if (PyErr_ExceptionMatches(self->state->Timeout)) {
                PyErr_Clear();
                cache_raise_timeout(self);
            }
            blame_database(self);
            break;
        }
        if (dc_db_has_moved(&session->db)) {
            /* Removed in the middle of it: its log may be that of the next file of the name. */
            session_discard(self->state, &self->pool, session);
            session = NULL;
        }
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
    Session *session = session_spare(&self->pool);

    return session != NULL ? session : open_session(self);
}

static Session *find_session(Cache *self)
{
    Session *session = session_pinned(&self->pool);

    if (session != NULL && session->uses == 0 && !session_is_open(self->state, session)) {
        session_discard(self->state, &self->pool, session); /* its user has closed it */
        session = NULL;
    }
    if (session == NULL || session->uses > 0) {
        session = session_idle(&self->pool);
    }
    return session != NULL ? session : open_session(self);
}

/* --- files that have been removed --------------------------------------------------------------- */

/* An administrator or a deployment empties the directory beneath a live cache. SQLite goes on with a file that
 * has no name any more, which others do not see. Asking costs a system call, so it is not done in quick
 * succession. */
#define MENDING_ATTEMPTS 10
#define LOOK_SECONDS 20e-6

static int is_gone(Cache *self, Session *session)
{
    double now = session_clock();
    int bare = session->bare;

    session->bare = 0;
    if (self->opening || self->disk == NULL || self->mender != 0) {
        return 0;
    }
    if (!bare && !self->hot.moved && now - self->looked_at < LOOK_SECONDS) {
        return 0;
    }
    self->looked_at = now;
    return bare || dc_db_has_moved(&session->db);
}

/* Sessions on what the directory was before are not used again. */
void cache_forget_file(Cache *self)
{
    self->pool.epoch++;
    hot_empty(&self->hot);
    self->hot.header = NULL;
    self->hot.moved = 0;
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
    dc_notes_clear(&self->notes); /* of rows that are gone */
    session_close_idle(self->state, &self->pool, 0);
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

    if (self->opening || self->disk == NULL || self->mender != 0 || !PyErr_ExceptionMatches(error)) {
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
    session_wait wait;
    double timeout;
    int again = 1;

    if (self->mender == 0) {
        return 0;
    }
    timeout = cache_timeout(self);
    if (timeout < 0.0) {
        return -1;
    }
    session_wait_start(&wait, timeout, 0);
    while (self->mender != 0 && self->mender != PyThread_get_thread_ident() && again > 0) {
        again = session_wait_more(&wait);
    }
    if (again == 0) {
        cache_raise_timeout(self);
    }
    return again > 0 ? 0 : -1;
}

Session *cache_find_session(Cache *self)
{
    Session *session = wait_for_mender(self) == 0 ? find_session(self) : NULL;

    if (session == NULL && mend_unopened(self) > 0) {
        session = find_session(self);
    }
    /* Whoever removes the files may be at it again. */
    for (int i = 0; i < MENDING_ATTEMPTS && session != NULL && is_gone(self, session); i++) {
        session = mend(self, Py_False) >= 0 ? find_session(self) : NULL;
    }
    return session;
}

static Session *take_session(Cache *self)
{
    Session *session;

    if (cache_hooks(self) & CACHE_HOOK__con) {
        PyObject *connection = PyObject_GetAttr((PyObject *)self, self->state->name._con);
        double timeout = connection != NULL ? cache_timeout(self) : -1.0;

        session = timeout >= 0.0
                      ? session_adopt(self->state, &self->pool, connection, timeout)
                      : NULL;
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

static void discard_if_spoilt(Cache *self, Session *session)
{
    if (session->uses == 0 && session->db.handle != NULL &&
        (session->spoilt || (!session->pinned && session->epoch != self->pool.epoch))) {
        session_discard(self->state, &self->pool, session);
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
    session_release(&self->pool, session);
    discard_if_spoilt(self, session);
}

void cache_put_back_session(Cache *self, Session *session)
{
    session_put_back(session);
    discard_if_spoilt(self, session);
}

/* --- who owns the transaction ----------------------------------------------------------------- */

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

/* --- the levels of a transaction -------------------------------------------------------------- */

/* Whether the process has forked since the operation began, in Python code that it ran. */
static int is_parents(const Operation *operation)
{
    return operation->generation != session_generation();
}

static void enter_level(const Operation *operation)
{
    WriteTransaction *transaction = &operation->cache->transaction;

    transaction->depth++;
    transaction->working += !operation->block;
}

/* Leave a level, unless the transaction ends with it: then 0, and nothing has changed. */
static int leave_inner_level(const Operation *operation, int failed)
{
    WriteTransaction *transaction = &operation->cache->transaction;
    int working = transaction->working - !operation->block;

    if (transaction->depth == 1 || (transaction->doomed && working == 0)) {
        return 0;
    }
    transaction->depth--;
    transaction->working = working;
    /* The outermost block has failed inside of an operation, by a hook that has left it. */
    transaction->doomed |= failed && operation->block && transaction->depth == working;
    return 1;
}

/* --- reads ------------------------------------------------------------------------------------ */

/* A session for a read, waiting if the file is locked against being opened. */
static Session *take_session_for_read(const Operation *operation)
{
    Cache *self = operation->cache;
    Session *session = take_session(self);
    session_wait wait = {.delay = 0.0};

    while (session == NULL && operation->retry && PyErr_ExceptionMatches(self->state->Timeout)) {
        PyErr_Clear();
        if (wait.delay == 0.0) {
            session_wait_start(&wait, 0.0, 1);
        }
        session = session_wait_more(&wait) > 0 ? take_session(self) : NULL;
    }
    return session;
}

int operation_begin_read(Operation *operation, Cache *cache)
{
    int other_task;

    operation->cache = cache;
    operation->generation = session_generation();
    operation->joined = cache_owns_transaction(cache, &other_task);
    if (operation->joined) {
        operation->session = cache->transaction.session;
        if (session_check_open(cache->state, operation->session) < 0) {
            return -1;
        }
        enter_level(operation);
    } else {
        operation->session = take_session_for_read(operation);
    }
    return operation->session != NULL ? 0 : -1;
}

void operation_end_read(Operation *operation)
{
    if (!operation->joined) {
        cache_return_session(operation->cache, operation->session);
    } else if (!is_parents(operation) && !leave_inner_level(operation, 0)) {
        operation_rollback(operation); /* it was given up meanwhile */
    }
}

/* Where SQLite could open the log or the wal-index only for reading, for want of a descriptor say, nobody
 * could write with the session ever: the next operation opens another. */
static int is_readonly(const Session *session)
{
    return !session->exposed && (session->db.error.sqlite_code & 0xff) == DC_SQLITE_READONLY;
}

static void note_failure(Session *session)
{
    session->spoilt |= is_readonly(session);
}

/* Whether this thread has a transaction open on the directory through another Cache. */
static int thread_blocks_itself(Cache *self)
{
    int blocks = 0;

    for (Cache *cache = all_caches; cache != NULL && !blocks; cache = cache->next) {
        blocks = cache != self && cache->transaction.depth > 0 &&
                 cache->transaction.thread == PyThread_get_thread_ident() && cache->path != NULL &&
                 PyUnicode_CheckExact(cache->path) && PyUnicode_CheckExact(self->path) &&
                 PyUnicode_Compare(cache->path, self->path) == 0;
    }
    return blocks;
}

void cache_raise_timeout(Cache *self)
{
    PyObject *error = PyObject_CallNoArgs(self->state->Timeout);
    PyObject *message = NULL;

    if (error != NULL && self->path != NULL && self->timeout != NULL) {
        message = PyUnicode_FromFormat(
            "%S: the lock could not be had within %S seconds%s", self->path, self->timeout,
            thread_blocks_itself(self)
                ? ": this very thread has it, in a transaction of another object"
                : "");
        if (message != NULL && PyObject_SetAttrString(error, "message", message) == 0) {
            PyErr_SetObject(self->state->Timeout, error);
        }
        Py_XDECREF(message);
    } else if (error != NULL) {
        PyErr_SetObject(self->state->Timeout, error);
    }
    Py_XDECREF(error);
}

dc_status operation_read(Operation *operation, operation_call call, void *context, int retry)
{
    Session *session = operation->session;
    session_wait wait = {.delay = 0.0};
    dc_status status;
    int again;

    for (;;) {
        session_visit visit = session_enter(session);

        status = call(&session->db, context);
        session_leave(session, visit);
        if (status != DC_BUSY) {
            break;
        }
        if (wait.delay == 0.0) {
            double timeout = cache_timeout(operation->cache);

            if (timeout < 0.0) {
                return DC_CALLBACK;
            }
            session_wait_start(&wait, timeout, retry);
        }
        again = session_wait_more(&wait);
        if (again <= 0) {
            if (again == 0) {
                cache_raise_timeout(operation->cache);
            }
            return DC_CALLBACK;
        }
    }
    if (status != DC_OK && status != DC_NOT_FOUND) {
        note_failure(session);
        convert_raise(operation->cache->state, status, &session->db.error);
        blame_database(operation->cache);
        return DC_CALLBACK;
    }
    return status;
}

/* --- writes ----------------------------------------------------------------------------------- */

static dc_status begin_once(Cache *self, Session *session)
{
    session_visit visit = session_enter(session);
    dc_status status = dc_db_begin(&session->db);

    if (status == DC_OK && self->transaction.depth == 0 && session->exposed) {
        self->transaction.version = dc_db_data_version(&session->db);
    }
    session_leave(session, visit);
    return status;
}

/* Wait a little, unless the timeout is over. `turns`: checkpoint_lock_turns before the attempt. That this
 * process's own copying of the log had the lock, for an instant, is no reason for a Timeout. 1, or 0 or -1 with
 * an exception. */
static int wait_for_lock(Cache *self, session_wait *wait, unsigned int turns)
{
    int had_lock = turns % 2 != 0 || checkpoint_lock_turns(self) != turns;
    int again = checkpoint_pauses(self) ? session_wait_for_copying(wait) : session_wait_more(wait);

    if (again == 0 && had_lock &&
        session_clock() - wait->began < CHECKPOINT_GRACE_SECONDS) {
        session_pause();
        again = 1;
    }
    if (again == 0) {
        cache_raise_timeout(self);
    }
    return again;
}

static void set_own_obstacle(dc_error *error)
{
    dc_error_set(
        error, DC_SQLITE,
        "the sql of an earlier _transact() of this thread has a transaction or a cursor open: "
        "end it to write");
}

/* Whether a session that could not get the write lock never will, because of what this thread has under
 * way: then the error says so. */
static int is_stuck(Cache *self, Session *session)
{
    dc_error *error = &session->db.error;
    int code = error->sqlite_code;
    int stuck = 0;

    if (code == DC_SQLITE_BUSY_SNAPSHOT && session->exposed && session_is_midway(session)) {
        stuck = 1;
        dc_error_set(
            error, DC_SQLITE,
            "a cursor of this thread's connection (_con) has not been read to its end, and "
            "the database has changed since: read it to its end, or close it, to write");
    } else if (session_blocks_own_thread(&self->pool, 0)) {
        stuck = 1;
        set_own_obstacle(error);
    }
    error->sqlite_code = code;
    return stuck;
}

typedef enum begin_outcome { BEGIN_FAILED = -1, BEGIN_BUSY, BEGIN_DONE, BEGIN_AGAIN } begin_outcome;

/* One attempt to get the write lock, with a session that is given back if it fails. BEGIN_AGAIN: another
 * session, now, may do better. */
static begin_outcome begin_attempt(Cache *self, int retry, int *reopened, Session **begun)
{
    Session *session = *begun = take_session(self);
    begin_outcome outcome = BEGIN_FAILED;
    dc_status status;

    if (session == NULL) {
        if (retry && PyErr_ExceptionMatches(self->state->Timeout)) {
            PyErr_Clear(); /* the file is locked against being opened: go on trying that */
            outcome = BEGIN_BUSY;
        }
        return outcome;
    }
    status = begin_once(self, session);
    if (status == DC_OK && self->transaction.depth > 0) {
        /* Only with an overridden `_con` that gives threads different files. */
        dc_db_rollback(&session->db);
        status = DC_BUSY;
    }
    if (status == DC_OK) {
        return BEGIN_DONE;
    }
    if (status == DC_BUSY && !is_stuck(self, session)) {
        outcome = BEGIN_BUSY;
    } else if (is_readonly(session) && !*reopened) {
        *reopened = 1;
        outcome = BEGIN_AGAIN;
    } else {
        convert_raise(self->state, status == DC_BUSY ? DC_SQLITE : status, &session->db.error);
        blame_database(self);
    }
    note_failure(session);
    cache_return_session(self, session);
    return outcome;
}

/* Wait for the write lock; the session is not held meanwhile. NULL with an exception. */
static Session *begin_waiting(Cache *self, double timeout, int retry)
{
    Session *session;
    session_wait wait;
    begin_outcome outcome;
    int reopened = 0;

    session_wait_start(&wait, timeout, retry);
    for (;;) {
        unsigned int turns = checkpoint_lock_turns(self);

        outcome = checkpoint_pauses(self) ? BEGIN_BUSY
                                          : begin_attempt(self, retry, &reopened, &session);
        if (outcome == BEGIN_DONE || outcome == BEGIN_FAILED) {
            return outcome == BEGIN_DONE ? session : NULL;
        }
        if (outcome == BEGIN_BUSY && wait_for_lock(self, &wait, turns) <= 0) {
            return NULL;
        }
    }
}

/* --- taking turns ----------------------------------------------------------------------------- */

/* SQLite has no queue for its write lock: whoever waits looks now and then whether it is free. A process
 * that writes without a pause leaves it free for a microsecond between two commits, and the others
 * starve, those of the original above all, which look ever more rarely. And where more processes are at
 * work than there are processors, one that has lost its processor while it had the lock makes all of them
 * wait. So where somebody else has written lately, a process that has been at it for a while gives way in
 * a moment when it has no lock: with a pause, if it has left no room for others, else with no more than
 * its processor. */
#define CONTENDED_SECONDS 10.0
#define TURN_SECONDS      200e-6
#define GAP_SECONDS       30e-6 /* between commits that leaves room enough */

static void note_others(Cache *self)
{
    self->turn.contended_until = session_clock() + CONTENDED_SECONDS;
}

/* With the write lock: whether this is not the state that our last commit left. */
static void look_for_others(Cache *self, dc_wal_header header)
{
    Turn *turn = &self->turn;

    if (header != NULL && turn->stamped && !dc_stamp_holds(header, &turn->stamp)) {
        note_others(self);
    }
    turn->stamped = 0;
}

/* After a commit. */
static void give_way(Cache *self)
{
    Turn *turn = &self->turn;
    double now;

    if (turn->contended_until == 0.0) {
        return;
    }
    now = session_clock();
    if (now > turn->contended_until) {
        turn->contended_until = 0.0;
    }
    turn->had_gap |= now - turn->last > GAP_SECONDS;
    if (now - turn->last > TURN_SECONDS) {
        turn->began = now; /* it has done something else, or waited */
        turn->had_gap = 0;
    } else if (now - turn->began > TURN_SECONDS) {
        if (turn->had_gap) {
            session_yield_processor();
        } else {
            session_pause();
        }
        turn->began = now = session_clock();
        turn->had_gap = 0;
    }
    turn->last = now;
}

static void raise_closed(module_state *state)
{
    PyErr_SetString(state->sqlite_errors[SQLITE_ERROR_ProgrammingError],
                    "Cannot operate on a closed database: the transaction has been rolled back");
}

static void raise_rolled_back(Cache *self)
{
    PyErr_SetString(self->state->sqlite_errors[SQLITE_ERROR_OperationalError],
                    "the transaction has been rolled back");
}

static int join_transaction(Operation *operation)
{
    Cache *self = operation->cache;
    const WriteTransaction *transaction = &self->transaction;

    if (session_check_open(self->state, transaction->session) < 0) {
        return -1;
    }
    if (transaction->doomed || !dc_db_in_transaction(&transaction->session->db)) {
        raise_rolled_back(self);
        return -1;
    }
    operation->session = transaction->session;
    enter_level(operation);
    return 0;
}

/* --- notes ------------------------------------------------------------------------------------ */

/* After notes could not be written, the next attempt comes so many seconds later. */
#define NOTES_AGAIN_SECONDS 0.1

/* Write what is noted in the transaction under way; -1 with an exception, and then it is rolled back. */
static int flush_notes_into(Operation *operation)
{
    Cache *self = operation->cache;
    Session *session = operation->session;
    dc_notes notes = self->notes;
    session_visit visit;
    dc_status status;

    if (!dc_notes_any(&notes)) {
        return 0;
    }
    memset(&self->notes, 0, sizeof self->notes);
    visit = session_enter(session);
    status = dc_notes_flush(&notes, &session->db, self->rules.policy);
    session_leave(session, visit);
    /* What the database refuses is forgotten: kept, it would make each write fail. */
    if (status == DC_OK || status == DC_BUSY || status == DC_NO_MEMORY) {
        dc_notes_merge(&self->transaction.notes, &notes);
    }
    dc_notes_clear(&notes);
    return status == DC_OK ? 0 : operation_fail(operation, status);
}

static void keep_notes(Cache *self, const dc_notes *notes)
{
    if (dc_notes_any(notes)) {
        dc_notes_merge(&self->notes, notes);
        self->noted_since = session_clock() - DC_NOTES_SECONDS + NOTES_AGAIN_SECONDS;
    }
}

int cache_note_by_policy(Cache *self, int64_t rowid)
{
    PyObject *result =
        PyObject_CallMethod((PyObject *)self, "_note_access", "L", (long long)rowid);

    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

int cache_note_lookup(Cache *self, int hit, int64_t rowid)
{
    dc_sql access = hit ? dc_policies[self->rules.policy].note_access : DC_NO_SQL;
    double now = 0.0;
    double clock;

    if (hit && self->own_policy_notes && cache_note_by_policy(self, rowid) < 0) {
        return -1;
    }
    if (!self->statistics && access == DC_NO_SQL) {
        return 0;
    }
    if (access == DC_SQL_UPDATE_ACCESS_TIME && convert_now(self->state, &now) < 0) {
        return -1;
    }
    clock = session_clock();
    if (!dc_notes_any(&self->notes)) {
        self->noted_since = clock;
    }
    if (access != DC_NO_SQL && dc_notes_access(&self->notes, rowid, 1, now) != DC_OK) {
        if (cache_flush_notes(self, 0.0) < 0) {
            return -1;
        }
        dc_notes_access(&self->notes, rowid, 1, now); /* forgotten, if there are still too many */
    }
    if (self->statistics) {
        *(hit ? &self->notes.hits : &self->notes.misses) += 1;
    }
    if (clock - self->noted_since > DC_NOTES_SECONDS) {
        return cache_flush_notes(self, 0.0);
    }
    return 0;
}

static int begin_write(Operation *operation, Cache *cache, double timeout, int retry);

int cache_flush_notes(Cache *self, double seconds)
{
    Operation operation = {.cache = NULL};
    compat_exception current;
    double timeout;

    if (!dc_notes_any(&self->notes) || self->pool.generation != session_generation() ||
        self->directory == NULL) {
        return 0;
    }
    current = compat_exception_take();
    timeout = seconds > 0.0 ? cache_timeout(self) : 0.0;
    /* Beginning writes them, unless the transaction is open already. */
    if (timeout >= 0.0 && (seconds > 0.0 || (!checkpoint_pauses(self) && checkpoint_lock_turns(self) % 2 == 0)) &&
        begin_write(&operation, self, timeout < seconds ? timeout : seconds, 0) == 0 &&
        flush_notes_into(&operation) == 0) {
        operation_commit(&operation);
    }
    if (dc_notes_any(&self->notes)) {
        self->noted_since = session_clock() - DC_NOTES_SECONDS + NOTES_AGAIN_SECONDS;
    }
    return cache_end_housekeeping(self->state, current);
}

void cache_flush_all_notes(module_state *state)
{
    /* Committing can run Python, which may change the list: begin again after each. */
    unsigned long serial = ++flush_serial;
    Cache *cache = all_caches;

    while (cache != NULL) {
        if (cache->state == state && cache->flushed != serial && dc_notes_any(&cache->notes)) {
            cache->flushed = serial;
            Py_INCREF(cache);
            if (cache_flush_notes(cache, 0.0) < 0) {
                PyErr_WriteUnraisable((PyObject *)cache);
            }
            Py_DECREF(cache);
            cache = all_caches;
        } else {
            cache = cache->next;
        }
    }
}

int operation_begin_write(Operation *operation, Cache *cache, int retry)
{
    double timeout = cache_timeout(cache);

    return timeout < 0.0 ? -1 : begin_write(operation, cache, timeout, retry);
}

#define OTHER_TASK_SECONDS 1e-3

/* Wait for another task of this thread to end its transaction, if it can go on meanwhile: greenlets do where
 * time.sleep() is patched. -1 with an exception. */
static int wait_for_other_task(Cache *self, double timeout, int retry)
{
    session_wait wait;
    int other_task = 1;

    if (is_pythons_own(self->state->time_module, self->state->name.sleep)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "another task of this thread has a transaction open on this cache: "
                        "waiting for it here would block both for ever");
        return -1;
    }
    session_wait_start(&wait, timeout, retry);
    while (other_task) {
        PyObject *result;

        if (!retry && session_clock() >= wait.deadline) {
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

static int begin_write(Operation *operation, Cache *cache, double timeout, int retry)
{
    WriteTransaction *transaction = &cache->transaction;
    int other_task;
    int owner = cache_owns_transaction(cache, &other_task);

    operation->cache = cache;
    operation->generation = session_generation();
    operation->joined = owner;
    if (owner) {
        return join_transaction(operation);
    }
    if (other_task && wait_for_other_task(cache, timeout, retry) < 0) {
        return -1;
    }
    operation->session = begin_waiting(cache, timeout, retry);
    if (operation->session == NULL) {
        return -1;
    }
    enter_level(operation);
    transaction->thread = PyThread_get_thread_ident();
    transaction->session = operation->session;
    transaction->serial = ++cache->transaction_serial;
    look_for_others(cache, session_header(operation->session));
    hot_begin(&cache->hot, &transaction->changes,
              cache->hot.header != NULL ? session_header(operation->session) : NULL);
    if (flush_notes_into(operation) < 0) {
        operation->session = NULL; /* it has not begun: what has been written for it has no owner yet */
        return -1;
    }
    return 0;
}

void operation_changes(Operation *operation, const disk_key *put)
{
    HotChanges *changes = &operation->cache->transaction.changes;
    hot_key key;

    if (hot_key_of_put(put, &key)) {
        hot_change(changes, &key);
    } else {
        changes->unknown = 1;
    }
}

void operation_sets(Operation *operation, const disk_key *put, const disk_value *stored,
                    PyObject *tag)
{
    HotChanges *changes = &operation->cache->transaction.changes;
    hot_key key;

    if (changes->header == NULL) {
        return;
    }
    if (hot_key_of_put(put, &key)) {
        hot_change_to(changes, &key, stored, tag);
    } else {
        changes->unknown = 1;
    }
}

void operation_changes_row(Operation *operation, const dc_key *key)
{
    disk_key put = {.key = *key, .owner = NULL};
    compat_exception current;

    if (operation->cache->transaction.changes.header != NULL) {
        current = compat_exception_take(); /* of a hook */
        put.owner = convert_from_datum(&key->datum);
        operation_changes(operation, &put);
        disk_key_clear(&put);
        compat_exception_put(current); /* if there was no memory, that is no failure */
    }
}

int operation_add_file(Operation *operation, const char *filename)
{
    if (filename != NULL && !dc_namelist_add(&operation->cache->transaction.added, filename)) {
        cache_discard_file(operation->cache, filename);
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

dc_status operation_write(Operation *operation, operation_call call, void *context)
{
    Session *session = operation->session;
    /* Hooks run Python between the statements: the GIL stays then. */
    int hooked = (cache_hooks(operation->cache) & CACHE_HOOK_WRITES) != 0;
    unsigned long victims = session->db.victims;
    session_visit visit;
    dc_status status;

    if (operation->cache->rules.policy != DC_POLICY_NONE && operation->cache->rules.cull_limit > 0) {
        operation->cache->size_is_due = 1;
    }
    if (hooked) {
        status = call(&session->db, context);
    } else {
        visit = operation->lengthy ? session_enter_lengthy(session) : session_enter(session);
        status = call(&session->db, context);
        session_leave(session, visit);
    }
    if (hooked || !operation->tells_keys || session->db.victims != victims) {
        operation->cache->transaction.changes.unknown = 1;
    }
    return status;
}

/* Take the outermost transaction out of the cache, so that it is nobody's while it ends. */
static WriteTransaction take_transaction(Cache *self)
{
    WriteTransaction taken = self->transaction;

    memset(&self->transaction, 0, sizeof self->transaction);
    return taken;
}

void cache_clear_transaction(WriteTransaction *transaction)
{
    dc_namelist_clear(&transaction->added);
    dc_namelist_clear(&transaction->removed);
    hot_changes_clear(&transaction->changes);
    dc_notes_clear(&transaction->notes);
    Py_CLEAR(transaction->owner);
}

static dc_status commit_once(Session *session)
{
    /* SQLite syncs, for once, where it begins the log anew. */
    session_visit visit = dc_db_is_log_copied(&session->db) ? session_enter_lengthy(session)
                                                            : session_enter(session);
    dc_status status = dc_db_commit(&session->db);

    session_leave(session, visit);
    return status;
}

/* Roll back. Whether it is certain that no row of the transaction is there now: a user who has the
 * Connection may have committed it, and begun another. */
static int rollback_all(const WriteTransaction *transaction)
{
    dc_db *db = &transaction->session->db;
    session_visit visit = session_enter(transaction->session);
    int certain = !transaction->session->exposed ||
                  (dc_db_in_transaction(db) && dc_db_data_version(db) == transaction->version);

    dc_db_rollback(db);
    session_leave(transaction->session, visit);
    return certain;
}

/* COMMIT, waiting where a reader can be in the way. DC_BUSY if that takes too long, or DC_CALLBACK with an
 * exception: then the transaction is still open. */
static dc_status commit_waiting(Cache *self, Session *session)
{
    session_wait wait = {.delay = 0.0};
    dc_status status;
    int again = 1;

    while ((status = commit_once(session)) == DC_BUSY && again > 0) {
        if (wait.delay == 0.0) {
            double timeout = cache_timeout(self);

            if (timeout < 0.0) {
                return DC_CALLBACK;
            }
            if (session_blocks_own_thread(&self->pool, 1)) {
                int code = session->db.error.sqlite_code;

                set_own_obstacle(&session->db.error);
                session->db.error.sqlite_code = code;
                return DC_SQLITE;
            }
            session_wait_start(&wait, timeout, 0);
        }
        again = session_wait_more(&wait);
    }
    return again < 0 ? DC_CALLBACK : status;
}

/* Remove files while an exception may be set, which stays; what goes wrong is reported, not raised. */
static void remove_files_quietly(Cache *self, const dc_namelist *names)
{
    compat_exception current = compat_exception_take();

    if (disk_remove_all(self->state, self->disk, names) < 0) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    compat_exception_put(current);
}

/* Remove those of the files that no row names. */
static void discard_unnamed(Cache *self, Session *session, const dc_namelist *added)
{
    dc_namelist gone = {.memory = NULL};
    session_visit visit;

    if (added->count == 0) {
        return;
    }
    /* What cannot be found out now is left to check(). */
    visit = session_enter_lengthy(session);
    dc_store_unnamed_files(&session->db, added, &gone);
    session_leave(session, visit);
    remove_files_quietly(self, &gone);
    dc_namelist_clear(&gone);
}

/* Roll back what has been taken out of the cache, with everything that belongs to it. No exception is set:
 * SQLite may call Python, a trace callback for instance. */
static void undo_transaction(Cache *self, WriteTransaction *transaction)
{
    if (rollback_all(transaction)) {
        remove_files_quietly(self, &transaction->added);
    } else {
        discard_unnamed(self, transaction->session, &transaction->added);
    }
    keep_notes(self, &transaction->notes);
    transaction->session->spoilt |= !session_is_open(self->state, transaction->session);
    cache_return_session(self, transaction->session);
    cache_clear_transaction(transaction);
}

/* Undo a transaction whose COMMIT has failed, and then raise. */
static void raise_failed_commit(Cache *self, WriteTransaction *transaction, dc_status status)
{
    dc_error error = transaction->session->db.error;
    compat_exception interruption = compat_exception_take(); /* of a signal handler */

    note_failure(transaction->session);
    undo_transaction(self, transaction);
    compat_exception_put(interruption);
    if (status == DC_BUSY) {
        cache_raise_timeout(self);
    } else {
        convert_raise(self->state, status, &error);
        blame_database(self);
    }
}

int operation_commit(Operation *operation)
{
    Cache *self = operation->cache;
    WriteTransaction transaction;
    const dc_stamp *stamp;
    dc_status status;
    int64_t wal_bytes;
    int result;

    if (is_parents(operation)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this operation was begun before the process forked: it is the parent's");
        return -1;
    }
    if (leave_inner_level(operation, 0)) {
        return 0;
    }
    if (self->transaction.doomed) {
        operation_rollback(operation);
        raise_rolled_back(self);
        return -1;
    }
    if (session_check_open(self->state, self->transaction.session) < 0) {
        operation_rollback(operation);
        return -1;
    }
    if (flush_notes_into(operation) < 0) { /* of lookups inside the transaction */
        return -1;
    }
    transaction = take_transaction(self);
    status = commit_waiting(self, transaction.session);
    if (status != DC_OK) {
        raise_failed_commit(self, &transaction, status);
        return -1;
    }
    /* The log of a connection that an overridden `_con` returned is copied by SQLite. */
    wal_bytes = transaction.session->foreign ? 0 : dc_db_wal_bytes(&transaction.session->db);
    stamp = dc_db_commit_stamp(&transaction.session->db);
    transaction.changes.unknown |= dc_db_has_foreign_changes(&transaction.session->db);
    /* Unless another thread of ours, while the GIL was released, has begun and perhaps committed. */
    if (stamp != NULL && transaction.serial == self->transaction_serial) {
        self->turn.stamped = 1;
        self->turn.stamp = *stamp;
    }
    hot_commit(&self->hot, &transaction.changes, stamp);
    cache_return_session(self, transaction.session);
    result = disk_remove_all(self->state, self->disk, &transaction.removed);
    if (checkpoint_if_due(self, wal_bytes) < 0) {
        result = -1;
    }
    give_way(self);
    report_selfchecks();
    cache_clear_transaction(&transaction);
    return result;
}

void operation_rollback(Operation *operation)
{
    Cache *self = operation->cache;
    WriteTransaction transaction;
    compat_exception current;

    if (is_parents(operation) || leave_inner_level(operation, 1)) {
        return;
    }
    current = compat_exception_take();
    transaction = take_transaction(self);
    undo_transaction(self, &transaction);
    compat_exception_put(current);
}

void cache_abandon_transaction(Cache *self)
{
    Operation operation = {.cache = self, .block = 1, .generation = session_generation()};
    WriteTransaction *transaction = &self->transaction;

    if (transaction->working > 0) {
        transaction->doomed = 1;
    } else if (transaction->depth > 0) {
        transaction->depth = 1;
        operation_rollback(&operation);
    }
}

int operation_fail(Operation *operation, dc_status status)
{
    module_state *state = operation->cache->state;
    Session *session = operation->session;
    dc_error error = session->db.error;
    int is_open = status == DC_CALLBACK || session_is_open(state, session);

    note_failure(session);
    /* First: raising can run a finalizer, which must not join a transaction that is given up. */
    operation_rollback(operation);
    if (is_open) {
        convert_raise(state, status, &error);
        blame_database(operation->cache);
    } else {
        raise_closed(state);
    }
    return -1;
}

/* Remove a file, unless a row of the open transaction names it. */
static void discard_unless_named(Cache *self, const char *filename)
{
    dc_namelist one = {.memory = NULL};

    if (dc_namelist_add(&one, filename)) {
        discard_unnamed(self, self->transaction.session, &one);
    }
    dc_namelist_clear(&one);
}

void operation_discard_file(Operation *operation, const char *filename, int failed)
{
    Cache *self = operation->cache;

    if (is_parents(operation)) {
        return;
    }
    if (!failed || operation->session == NULL) {
        cache_discard_file(self, filename);
    } else if (operation->joined && self->transaction.depth > 0) {
        discard_unless_named(self, filename);
    }
}

void cache_discard_file(Cache *self, const char *filename)
{
    dc_namelist one = {.memory = NULL};

    if (dc_namelist_add(&one, filename)) {
        remove_files_quietly(self, &one);
    }
    dc_namelist_clear(&one);
}
