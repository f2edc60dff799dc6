/* operation.c: the life of an operation: its session, its lock, its end, and the checkpoint that may be
 * due after it. operation.h has the pattern that all operations follow; object.h the invariants.
 *
 * Waiting for the write lock holds no session. The transaction that stands in the cache is taken out
 * before COMMIT or ROLLBACK, because the GIL may be released there and the lock be another thread's
 * before this one is back. Files go after that: those that the transaction made superfluous, or, if
 * it was rolled back, those of its own that no row names.
 */
#include "cache/operation.h"

#include <string.h>

#include "base/clock.h"
#include "base/debug.h"
#include "base/selfcheck.h"
#include "cache/checkpointer.h"
#include "cache/errors.h"
#include "cache/invariants.h"
#include "cache/mending.h"
#include "cache/owner.h"
#include "cache/sessions.h"
#include "cache/write_lock.h"
#include "engine/scan.h"
#include "python/convert.h"
#include "python/disk_file.h"
#include "python/fork_generation.h"
#include "python/log.h"
#include "python/session_end.h"

/* Say once what has been turned off (selfcheck.h), in the process. */
static void report_selfchecks(void)
{
    static atomic_int reported;
    static atomic_int told[DC_MECHANISM_COUNT];

    while (reported != atomic_load(&dc_selfcheck_count)) {
        reported = atomic_load(&dc_selfcheck_count);
        for (int i = 0; i < DC_MECHANISM_COUNT; i++) {
            const char *reason = atomic_load(&dc_selfcheck_failures[i]);

            if (reason != NULL && !atomic_exchange(&told[i], 1)) {
                log_warning(
                    "mechanism",
                    "%s; SQLite %s works otherwise than those that are known, so diskcache goes "
                    "on without relying on it, more slowly",
                    reason, sqlite.libversion());
            }
        }
    }
}

/* --- the levels of a transaction ---------------------------------------------------------------- */

/* Whether the process has forked since the operation began, in Python code that it ran. */
static int is_parents(const Operation *operation)
{
    return operation->generation != fork_generation();
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

/* --- reads -------------------------------------------------------------------------------------- */

/* A session for a read, waiting if the file is locked against being opened. */
static Session *take_session_for_read(const Operation *operation)
{
    Cache *self = operation->cache;
    Session *session = cache_take_session(self);
    lock_wait wait = {.delay = 0.0};

    while (session == NULL && operation->retry && PyErr_ExceptionMatches(self->state->Timeout)) {
        PyErr_Clear();
        if (wait.delay == 0.0) {
            wait_start(&wait, 0.0, 1);
        }
        session = wait_more(&wait) > 0 ? cache_take_session(self) : NULL;
    }
    return session;
}

int operation_begin_read(Operation *operation, Cache *cache)
{
    int other_task;

    operation->cache = cache;
    operation->generation = fork_generation();
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
        DC_CHECK(cache_check_invariants(operation->cache));
    } else if (!is_parents(operation) && !leave_inner_level(operation, 0)) {
        operation_rollback(operation); /* it was given up meanwhile */
    }
}

dc_db *operation_enter(Operation *operation)
{
    Session *session = operation->session;

    operation->hooked = operation->seals || (operation->writes && (cache_hooks(operation->cache) &
                                                                   CACHE_HOOK_WRITES) != 0);
    operation->victims = session->db.victims;
    if (!operation->hooked) {
        operation->section = operation->release_gil ? session_enter_releasing_gil(session)
                                                    : session_enter(session);
    }
    return &session->db;
}

void operation_leave(Operation *operation)
{
    if (!operation->hooked) {
        session_leave(operation->session, operation->section);
    }
}

/* Wait a little for a lock. As wait_more. */
static int wait_to_read(Operation *operation)
{
    Cache *self = operation->cache;
    int again;

    if (operation->wait.delay == 0.0) {
        double timeout = cache_timeout(self);

        if (timeout < 0.0) {
            return -1;
        }
        wait_start(&operation->wait, timeout, operation->retry);
    }
    again = wait_more(&operation->wait);
    if (again == 0) {
        cache_raise_timeout(self);
    }
    return again;
}

/* Of a file that is read without locks: begin the read again, since somebody has written meanwhile. 1, or -1 with
 * an exception. */
static int read_again(Operation *operation)
{
    Cache *self = operation->cache;
    Session *session = operation->session;

    session->must_close = 1;
    if (operation->joined) {
        PyErr_Format(self->state->sqlite_errors[SQLITE_ERROR_OperationalError],
                     "%U has been written to by another process while this transaction was reading "
                     "it: begin it again",
                     self->path);
        return -1;
    }
    if (wait_to_read(operation) <= 0) {
        return -1;
    }
    session = take_session_for_read(operation);
    if (session == NULL) {
        return -1;
    }
    cache_return_session(self, operation->session);
    operation->session = session;
    return 1;
}

int operation_leave_read(Operation *operation, dc_status *status)
{
    Session *session = operation->session;

    operation_leave(operation);
    if (session->db.frozen.database != NULL && !dc_frozen_holds(&session->db.frozen)) {
        if (read_again(operation) > 0) {
            return 1;
        }
        *status = DC_CALLBACK;
        return 0;
    }
    if (*status == DC_OK || *status == DC_NOT_FOUND) {
        return 0;
    }
    if (*status == DC_BUSY) {
        if (wait_to_read(operation) > 0) {
            return 1;
        }
    } else {
        cache_note_session_failure(operation->cache, session);
        convert_raise(operation->cache->state, *status, &session->db.error);
        blame_database(operation->cache);
    }
    *status = DC_CALLBACK;
    return 0;
}

/* --- writes ------------------------------------------------------------------------------------- */

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
    if (transaction->doomed || !session_in_transaction(transaction->session)) {
        raise_rolled_back(self);
        return -1;
    }
    operation->session = transaction->session;
    enter_level(operation);
    return 0;
}

/* Write the access log in the transaction under way; -1 with an exception, and then it is rolled back. */
int operation_flush_access_log(Operation *operation)
{
    Cache *self = operation->cache;
    Session *session = operation->session;
    dc_access_log access_log = self->access_log;
    engine_section section;
    dc_status status;

    if (!dc_access_log_any(&access_log)) {
        return 0;
    }
    memset(&self->access_log, 0, sizeof self->access_log);
    section = session_enter(session);
    status = dc_access_log_flush(&access_log, &session->db, self->rules.policy);
    session_leave(session, section);
    /* An entry that SQLite rejects is dropped. Otherwise each later write would fail on it. */
    if (status == DC_OK || status == DC_BUSY || status == DC_NO_MEMORY) {
        dc_access_log_merge(&self->transaction.access_log, &access_log);
    }
    dc_access_log_clear(&access_log);
    return status == DC_OK ? 0 : operation_fail(operation, status);
}

static void keep_access_log(Cache *self, const dc_access_log *access_log)
{
    if (dc_access_log_any(access_log)) {
        dc_access_log_merge(&self->access_log, access_log);
        self->access_logged_since = dc_clock() - DC_ACCESS_LOG_SECONDS + ACCESS_LOG_AGAIN_SECONDS;
    }
}

int operation_begin_write_within(Operation *operation, Cache *cache, double timeout, int retry)
{
    WriteTransaction *transaction = &cache->transaction;
    dc_version_table *versions;
    dc_wal_header header;
    int other_task;
    int owner = cache_owns_transaction(cache, &other_task);

    operation->cache = cache;
    operation->generation = fork_generation();
    operation->joined = owner;
    operation->writes = 1;
    if (!operation->block && cache_refuse_write(cache) < 0) {
        return -1;
    }
    if (owner) {
        return join_transaction(operation);
    }
    if (other_task && cache_wait_for_other_task(cache, timeout, retry) < 0) {
        return -1;
    }
    operation->session = write_lock_take(cache, timeout, retry);
    if (operation->session == NULL) {
        return -1;
    }
    enter_level(operation);
    transaction->thread = PyThread_get_thread_ident();
    cache->writer = transaction->thread;
    transaction->session = operation->session;
    transaction->serial = ++cache->transaction_serial;
    header = session_header(operation->session);
    write_lock_look_for_others(cache, header);
    versions = &operation->session->db.versions;
    if (!versions->compared) { /* the first BEGIN of a handle finds no header */
        dc_version_table_begin(versions, header);
    }
    hot_begin(&cache->hot, &transaction->changes, cache->hot.header != NULL ? header : NULL,
              versions);
    if (operation_flush_access_log(operation) < 0) {
        operation->session =
            NULL; /* it has not begun: what has been written for it has no owner yet */
        return -1;
    }
    return 0;
}

int operation_begin_write(Operation *operation, Cache *cache, int retry)
{
    double timeout = cache_timeout(cache);

    return timeout < 0.0 ? -1 : operation_begin_write_within(operation, cache, timeout, retry);
}

/* --- what has been written ----------------------------------------------------------------------- */

/* Note a key that has been written: for the table of versions, and for memory with what it has been set to, if that
 * is known. */
static void note_key(const Operation *operation, const disk_key *key, const disk_value *stored,
                     PyObject *tag)
{
    HotChanges *changes = &operation->cache->transaction.changes;
    int noted = dc_version_table_note(&operation->session->db.versions, &key->key.datum);
    hot_key hot;

    if (changes->header == NULL) {
        return;
    }
    if (!hot_key_of_put(key, &hot)) {
        changes->unknown = 1;
    } else if (stored != NULL) {
        hot_change_to(changes, &hot, noted, stored, tag);
    } else {
        hot_change(changes, &hot, noted);
    }
}

static void note_row(const Operation *operation, const dc_key *row_key)
{
    disk_key key = {.key = *row_key, .owner = NULL};
    compat_exception current = compat_exception_take(); /* of a hook */

    key.owner = convert_from_datum(&row_key->datum);
    note_key(operation, &key, NULL, NULL);
    disk_key_clear(&key);
    compat_exception_put(current); /* if there was no memory, that is no failure */
}

static void note_unknown(const Operation *operation)
{
    operation->cache->transaction.changes.unknown = 1;
    operation->session->db.versions.unknown = 1;
}

static void note_written(const Operation *operation, const Written *written)
{
    switch (written->kind) {
    case WRITTEN_NOTHING:
        break;
    case WRITTEN_KEY:
        note_key(operation, written->key, NULL, NULL);
        break;
    case WRITTEN_ROW:
        note_row(operation, written->row_key);
        break;
    case WRITTEN_VALUE:
        note_key(operation, written->key, written->stored, written->tag);
        break;
    case WRITTEN_EACH:
        for (int i = 0; i < written->count; i++) {
            const Written each = written->at(written->context, i);

            note_written(operation, &each);
        }
        break;
    default:
        note_unknown(operation);
        break;
    }
}

void operation_leave_write(Operation *operation, Written written)
{
    Cache *self = operation->cache;
    dc_db *db = &operation->session->db;

    operation_leave(operation);
    self->counts.evictions += db->evictions;
    db->evictions = 0;
    if (self->rules.policy != DC_POLICY_NONE && self->rules.cull_limit > 0) {
        self->size_is_due = 1;
    }
    if (operation->hooked) {
        note_unknown(operation);
        return;
    }
    if (self->transaction.changes.header != NULL || db->versions.compared) {
        note_written(operation, &written);
    }
    if (db->victims != operation->victims) {
        /* A set does not evict its own row; one of many may have evicted another's. */
        hot_change_victims(&self->transaction.changes, written.kind == WRITTEN_VALUE);
    }
}

/* --- files ---------------------------------------------------------------------------------------- */

int operation_add_file(Operation *operation, const char *filename)
{
    if (filename != NULL && !dc_namelist_add(&operation->cache->transaction.added, filename)) {
        cache_discard_file(operation->cache, filename);
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* --- the end of a transaction ------------------------------------------------------------------- */

/* Take the outermost transaction out of the cache, so that it is nobody's while it ends. */
static WriteTransaction take_transaction(Cache *self)
{
    WriteTransaction taken = self->transaction;

    memset(&self->transaction, 0, sizeof self->transaction);
    self->writer = 0;
    return taken;
}

void cache_clear_transaction(WriteTransaction *transaction)
{
    dc_namelist_clear(&transaction->added);
    dc_namelist_clear(&transaction->removed);
    hot_changes_clear(&transaction->changes);
    dc_access_log_clear(&transaction->access_log);
    Py_CLEAR(transaction->owner);
}

static dc_status commit_once(Session *session)
{
    /* A reset of the log syncs, which no other commit does. */
    engine_section section = dc_db_is_log_copied(&session->db)
                                 ? session_enter_releasing_gil(session)
                                 : session_enter(session);
    dc_status status = dc_db_commit(&session->db);

    session_leave(session, section);
    return status;
}

/* Roll back. Whether it is certain that no row of the transaction is there now: a COMMIT may have failed after it was
 * done; a user who has the Connection may have committed it, and begun another. */
static int rollback_all(const WriteTransaction *transaction)
{
    dc_db *db = &transaction->session->db;
    engine_section section = session_enter(transaction->session);
    int certain = !db->may_be_committed &&
                  (!transaction->session->exposed ||
                   (dc_db_in_transaction(db) && dc_db_data_version(db) == transaction->version));

    dc_db_rollback(db);
    session_leave(transaction->session, section);
    return certain;
}

/* COMMIT, waiting where a reader can be in the way. DC_BUSY if that takes too long, or DC_CALLBACK with an
 * exception: then the transaction is still open. */
static dc_status commit_waiting(Cache *self, Session *session)
{
    lock_wait wait = {.delay = 0.0};
    dc_status status;
    int again = 1;

    while ((status = commit_once(session)) == DC_BUSY && again > 0) {
        if (wait.delay == 0.0) {
            double timeout = cache_timeout(self);

            if (timeout < 0.0) {
                return DC_CALLBACK;
            }
            if (pool_blocks_own_thread(&self->pool, 1)) {
                int code = session->db.error.sqlite_code;

                write_lock_set_own_obstacle(&session->db.error);
                session->db.error.sqlite_code = code;
                return DC_SQLITE;
            }
            wait_start(&wait, timeout, 0);
        }
        again = wait_more(&wait);
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
    engine_section section;

    if (added->count == 0) {
        return;
    }
    /* What cannot be found out now is left to check(). */
    section = session_enter_releasing_gil(session);
    dc_scan_unnamed_files(&session->db, added, &gone);
    session_leave(session, section);
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
    keep_access_log(self, &transaction->access_log);
    transaction->session->must_close |= !session_is_open(self->state, transaction->session);
    cache_return_session(self, transaction->session);
    cache_clear_transaction(transaction);
}

/* Undo a transaction whose COMMIT has failed, and then raise. */
static void raise_failed_commit(Cache *self, WriteTransaction *transaction, dc_status status)
{
    dc_error error = transaction->session->db.error;
    compat_exception interruption = compat_exception_take(); /* of a signal handler */

    cache_note_session_failure(self, transaction->session);
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
    if (operation_flush_access_log(operation) < 0) { /* of lookups inside the transaction */
        return -1;
    }
    transaction = take_transaction(self);
    transaction.changes.unknown |= dc_db_has_foreign_changes(&transaction.session->db);
    transaction.session->db.versions.unknown |= transaction.changes.unknown;
    status = commit_waiting(self, transaction.session);
    if (status != DC_OK) {
        raise_failed_commit(self, &transaction, status);
        return -1;
    }
    /* SQLite checkpoints the log of a connection that an overridden `_con` returned. */
    wal_bytes = transaction.session->external ? 0 : dc_db_wal_bytes(&transaction.session->db);
    stamp = dc_db_commit_stamp(&transaction.session->db);
    /* Unless another thread of ours, while the GIL was released, has begun and perhaps committed. */
    if (stamp != NULL && transaction.serial == self->transaction_serial) {
        self->turn.stamped = 1;
        self->turn.stamp = *stamp;
    }
    hot_commit(&self->hot, &transaction.changes, stamp, &transaction.session->db.versions);
    cache_return_session(self, transaction.session);
    result = disk_remove_all(self->state, self->disk, &transaction.removed);
    if (checkpoint_if_due(self, wal_bytes) < 0) {
        result = -1;
    }
    write_lock_give_way(self);
    report_selfchecks();
    cache_clear_transaction(&transaction);
    DC_CHECK(cache_check_invariants(self));
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
    DC_CHECK(cache_check_invariants(self));
    compat_exception_put(current);
}

void cache_abandon_transaction(Cache *self)
{
    Operation operation = {.cache = self, .block = 1, .generation = fork_generation()};
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

    cache_note_session_failure(operation->cache, session);
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
