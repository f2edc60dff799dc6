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

    transaction->depth = 0;
    transaction->session = NULL;
    Py_CLEAR(transaction->task);
    dc_namelist_clear(&transaction->added);
    dc_namelist_clear(&transaction->removed);
    hot_changes_clear(&transaction->changes);
    dc_notes_clear(&transaction->notes);
    checkpoint_forget(self);
    dc_notes_clear(&self->notes); /* the parent's, which writes them */
    session_after_fork(self->state, &self->pool);
    hot_clear(&self->hot);
}

void cache_notice_fork(Cache *self)
{
    if (self->pool.generation != session_generation()) {
        forget_parents_work(self);
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
    Cache *cache = noticed_generation != session_generation() ? all_caches : NULL;

    noticed_generation = session_generation();
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
    double seconds = 0.0;

    if (cache_require(self->timeout, "_timeout") < 0 ||
        convert_seconds(self->timeout, "timeout", &seconds) < 0) {
        return -1.0;
    }
    return seconds > 0.0 ? seconds : 0.0;
}

/* --- sessions --------------------------------------------------------------------------------- */

#define DATABASE_NAME "cache.db"

static Session *open_session(Cache *self)
{
    Session *session = NULL;
    double timeout = cache_timeout(self);
    PyObject *path = NULL;

    notice_fork_everywhere(self->state);
    if (timeout >= 0.0) {
        path = PyObject_CallFunction(self->state->join, "Os", self->path, DATABASE_NAME);
    }
    if (path != NULL) {
        session = session_open(self->state, &self->pool, path, timeout);
        Py_DECREF(path);
    }
    return session;
}

Session *cache_spare_session(Cache *self)
{
    Session *session = session_spare(&self->pool);

    return session != NULL ? session : open_session(self);
}

Session *cache_find_session(Cache *self)
{
    Session *session = session_pinned(&self->pool);

    if (session == NULL || session->uses > 0) {
        session = session_idle(&self->pool);
    }
    return session != NULL ? session : open_session(self);
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
        if (session->pinned) {
            dc_db_busy_timeout(&session->db, 0.0); /* waiting is ours while the operation lasts */
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
    if (session->pinned && session->db.handle != NULL) {
        compat_exception current = compat_exception_take();

        dc_db_busy_timeout(&session->db, cache_timeout(self)); /* a bad timeout waits for nothing */
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

/* The running asyncio task, or NULL without an exception. New reference. */
static PyObject *running_task(module_state *state)
{
    PyObject *asyncio = PyImport_GetModule(state->name.asyncio);
    PyObject *loop = NULL;
    PyObject *task = NULL;

    if (asyncio != NULL) {
        loop = PyObject_CallMethodNoArgs(asyncio, state->name._get_running_loop);
    }
    if (loop != NULL && loop != Py_None) {
        task = PyObject_CallMethodOneArg(asyncio, state->name.current_task, loop);
    }
    if (task == Py_None) {
        Py_CLEAR(task);
    }
    PyErr_Clear(); /* an asyncio that is only half imported has no task */
    Py_XDECREF(loop);
    Py_XDECREF(asyncio);
    return task;
}

int cache_owns_transaction(Cache *self, int *other_task)
{
    WriteTransaction *transaction = &self->transaction;
    PyObject *task;

    *other_task = 0;
    if (transaction->depth == 0 || transaction->thread != PyThread_get_thread_ident()) {
        return 0;
    }
    if (transaction->task == NULL) {
        return 1;
    }
    task = running_task(self->state);
    *other_task = task != transaction->task;
    Py_XDECREF(task);
    return !*other_task;
}

void cache_claim_for_task(Cache *self)
{
    if (self->transaction.depth == 1) {
        Py_XSETREF(self->transaction.task, running_task(self->state));
    }
}

/* --- reads ------------------------------------------------------------------------------------ */

int operation_begin_read(Operation *operation, Cache *cache)
{
    int other_task;

    operation->cache = cache;
    operation->joined = cache_owns_transaction(cache, &other_task);
    operation->session = operation->joined ? cache->transaction.session : take_session(cache);
    return operation->session != NULL ? 0 : -1;
}

void operation_end_read(Operation *operation)
{
    if (!operation->joined) {
        cache_return_session(operation->cache, operation->session);
    }
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
        convert_raise(operation->cache->state, status, &session->db.error);
        return DC_CALLBACK;
    }
    return status;
}

/* --- writes ----------------------------------------------------------------------------------- */

static dc_status begin_once(Session *session)
{
    session_visit visit = session_enter(session);
    dc_status status = dc_db_begin(&session->db);

    session_leave(session, visit);
    return status;
}

/* Wait a little, unless the timeout is over. `held`: this process's own copying of the log had the lock,
 * for an instant: that alone is no reason for a Timeout. 1, or 0 or -1 with an exception. */
static int wait_for_lock(Cache *self, session_wait *wait, int held)
{
    int again = checkpoint_pauses(self) ? session_wait_for_copying(wait) : session_wait_more(wait);

    if (again == 0 && (held || checkpoint_holds_lock(self)) &&
        session_clock() - wait->began < CHECKPOINT_GRACE_SECONDS) {
        session_pause();
        again = 1;
    }
    if (again == 0) {
        cache_raise_timeout(self);
    }
    return again;
}

/* Wait for the write lock; the session is not held meanwhile. NULL with an exception. */
static Session *begin_waiting(Cache *self, double timeout, int retry)
{
    session_wait wait;
    dc_status status;
    int again;

    session_wait_start(&wait, timeout, retry);
    for (;;) {
        int held = checkpoint_holds_lock(self);
        Session *session;

        if (checkpoint_pauses(self)) {
            again = wait_for_lock(self, &wait, 0);
            if (again <= 0) {
                return NULL;
            }
            continue;
        }
        session = take_session(self);

        if (session == NULL && retry && PyErr_ExceptionMatches(self->state->Timeout)) {
            PyErr_Clear(); /* nor could the file be opened: go on trying that */
            continue;
        }
        if (session == NULL) {
            return NULL;
        }
        status = begin_once(session);
        if (status == DC_OK && self->transaction.depth > 0) {
            /* Only with an overridden `_con` that gives threads different files. */
            dc_db_rollback(&session->db);
            status = DC_BUSY;
        }
        if (status == DC_OK) {
            return session;
        }
        if (status != DC_BUSY) {
            convert_raise(self->state, status, &session->db.error);
            cache_return_session(self, session);
            return NULL;
        }
        cache_return_session(self, session);
        again = wait_for_lock(self, &wait, held);
        if (again <= 0) {
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

static int join_transaction(Operation *operation)
{
    WriteTransaction *transaction = &operation->cache->transaction;

    operation->session = transaction->session;
    if (!dc_db_in_transaction(&operation->session->db)) {
        PyErr_SetString(operation->cache->state->sqlite_errors[SQLITE_ERROR_OperationalError],
                        "the transaction has been rolled back");
        return -1;
    }
    transaction->depth++;
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
    dc_notes_merge(&self->transaction.notes, &notes);
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
    if (timeout >= 0.0 && (seconds > 0.0 || (!checkpoint_pauses(self) && !checkpoint_holds_lock(self))) &&
        begin_write(&operation, self, timeout < seconds ? timeout : seconds, 0) == 0 &&
        flush_notes_into(&operation) == 0) {
        operation_commit(&operation);
    }
    if (dc_notes_any(&self->notes)) {
        self->noted_since = session_clock() - DC_NOTES_SECONDS + NOTES_AGAIN_SECONDS;
    }
    return cache_end_housekeeping(self->state, current);
}

void cache_flush_all_notes(void)
{
    /* Committing can run Python, which may change the list: begin again after each. */
    unsigned long serial = ++flush_serial;
    Cache *cache = all_caches;

    while (cache != NULL) {
        if (cache->flushed != serial && dc_notes_any(&cache->notes)) {
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
    if (other_task) {
        PyErr_SetString(PyExc_RuntimeError,
                        "another asyncio task of this thread has a transaction open on this cache: "
                        "waiting for it here would block both for ever");
        return -1;
    }
    operation->session = begin_waiting(cache, timeout, retry);
    if (operation->session == NULL) {
        return -1;
    }
    transaction->depth = 1;
    transaction->thread = PyThread_get_thread_ident();
    transaction->session = operation->session;
    transaction->serial = ++cache->transaction_serial;
    look_for_others(cache, session_header(operation->session));
    hot_begin(&cache->hot, &transaction->changes,
              cache->hot.header != NULL ? session_header(operation->session) : NULL);
    return flush_notes_into(operation);
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

    if (operation->cache->transaction.changes.header != NULL) {
        put.owner = convert_from_datum(&key->datum); /* without memory: PyErr_Clear below */
        operation_changes(operation, &put);
        PyErr_Clear();
        disk_key_clear(&put);
    }
}

int operation_add_file(Operation *operation, const char *filename)
{
    WriteTransaction *transaction = &operation->cache->transaction;

    if (filename == NULL) {
        return 0;
    }
    if (transaction->added.count == 0) {
        transaction->version = dc_db_data_version(&operation->session->db);
    }
    if (!dc_namelist_add(&transaction->added, filename)) {
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

/* Whoever wrote through the Connection has done so by now, unless it is pinned. */
static void end_exposure(Session *session)
{
    dc_forecast *forecast = &session->db.forecast;

    if (forecast->exposed) {
        forecast->known = 0;
        /* A cursor not read to its end keeps a snapshot open: nobody else may get to see that. */
        session->spoilt = !session->pinned && dc_db_has_open_statement(&session->db);
    }
    forecast->exposed = session->pinned;
}

void cache_clear_transaction(WriteTransaction *transaction)
{
    dc_namelist_clear(&transaction->added);
    dc_namelist_clear(&transaction->removed);
    hot_changes_clear(&transaction->changes);
    dc_notes_clear(&transaction->notes);
    Py_CLEAR(transaction->task);
}

/* COMMIT, waiting where a reader can be in the way. On failure everything is rolled back. */
static dc_status commit_waiting(Cache *self, Session *session)
{
    session_wait wait = {.delay = 0.0};
    dc_status status;
    int again = 1;

    for (;;) {
        /* SQLite syncs, for once, where it begins the log anew. */
        session_visit visit = dc_db_is_log_copied(&session->db) ? session_enter_lengthy(session)
                                                                : session_enter(session);

        status = dc_db_commit(&session->db);
        session_leave(session, visit);
        if (status != DC_BUSY) {
            break;
        }
        if (wait.delay == 0.0) {
            double timeout = cache_timeout(self);

            session_wait_start(&wait, timeout, 0);
        }
        again = PyErr_Occurred() ? -1 : session_wait_more(&wait);
        if (again <= 0) {
            dc_db_rollback(&session->db);
            if (again == 0) {
                cache_raise_timeout(self);
            }
            return DC_CALLBACK;
        }
    }
    if (status != DC_OK) {
        convert_raise(self->state, status, &session->db.error);
    }
    return status;
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

/* Remove the files of rows that are not there after all. */
static void discard_added(Cache *self, const WriteTransaction *transaction)
{
    Session *session = transaction->session;
    dc_namelist gone = {.memory = NULL};
    session_visit visit;

    if (transaction->added.count == 0) {
        return;
    }
    /* The data version changes with a commit of this handle, and under the write lock there was no other:
     * as it was, no row can name one of the files. */
    if (dc_db_data_version(&session->db) == transaction->version) {
        remove_files_quietly(self, &transaction->added);
        return;
    }
    /* Else a user has ended the transaction with SQL of his own, perhaps, and the rows are there. What
     * cannot be found out now is left to check(). */
    visit = session_enter_lengthy(session);
    dc_store_unnamed_files(&session->db, &transaction->added, &gone);
    session_leave(session, visit);
    remove_files_quietly(self, &gone);
    dc_namelist_clear(&gone);
}

/* Whether the process has forked since the operation began, in Python code that it ran. */
static int is_parents(const Operation *operation)
{
    return operation->generation != session_generation();
}

int operation_commit(Operation *operation)
{
    Cache *self = operation->cache;
    WriteTransaction transaction;
    dc_status status;
    int64_t wal_bytes;
    int result = 0;

    if (is_parents(operation)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this operation was begun before the process forked: it is the parent's");
        return -1;
    }
    if (self->transaction.depth > 1) {
        self->transaction.depth--;
        return 0;
    }
    if (flush_notes_into(operation) < 0) { /* of lookups inside the transaction */
        return -1;
    }
    transaction = take_transaction(self);
    status = commit_waiting(self, transaction.session);
    /* The log of a connection that an overridden `_con` returned is copied by SQLite. */
    wal_bytes = transaction.session->foreign ? 0 : dc_db_wal_bytes(&transaction.session->db);
    if (status == DC_OK) {
        const dc_stamp *stamp = dc_db_commit_stamp(&transaction.session->db);

        transaction.changes.unknown |= dc_db_has_foreign_changes(&transaction.session->db);
        self->turn.stamped = stamp != NULL;
        self->turn.stamp = stamp != NULL ? *stamp : self->turn.stamp;
        hot_commit(&self->hot, &transaction.changes, stamp);
    } else {
        discard_added(self, &transaction);
        keep_notes(self, &transaction.notes);
    }
    end_exposure(transaction.session);
    cache_return_session(self, transaction.session);
    if (status == DC_OK) {
        result = disk_remove_all(self->state, self->disk, &transaction.removed);
        if (checkpoint_if_due(self, wal_bytes) < 0) {
            result = -1;
        }
        give_way(self);
        report_selfchecks();
    } else {
        result = -1;
    }
    cache_clear_transaction(&transaction);
    return result;
}

void operation_rollback(Operation *operation)
{
    Cache *self = operation->cache;
    WriteTransaction transaction;
    session_visit visit;

    if (is_parents(operation)) {
        return;
    }
    if (self->transaction.depth > 1) {
        self->transaction.depth--;
        return;
    }
    transaction = take_transaction(self);
    visit = session_enter(transaction.session);
    dc_db_rollback(&transaction.session->db);
    session_leave(transaction.session, visit);
    discard_added(self, &transaction);
    keep_notes(self, &transaction.notes);
    end_exposure(transaction.session);
    cache_return_session(self, transaction.session);
    cache_clear_transaction(&transaction);
}

int operation_fail(Operation *operation, dc_status status)
{
    dc_error error = operation->session->db.error;

    /* First: raising can run a finalizer, which must not join a transaction that is given up. */
    operation_rollback(operation);
    convert_raise(operation->cache->state, status, &error);
    return -1;
}

void operation_discard_file(Operation *operation, const char *filename)
{
    if (!is_parents(operation)) {
        cache_discard_file(operation->cache, filename);
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
