/* pool.c: see pool.h. */
#include "python/pool.h"

#include <string.h>

#ifndef _WIN32
#include <fcntl.h>
#include <unistd.h>
#endif

#include "engine/file_system.h"
#include "engine/settings.h"
#include "python/connection.h"
#include "python/connection_lock.h"
#include "python/convert.h"
#include "python/fork_gate.h"
#include "python/fork_generation.h"
#include "python/log.h"
#include "python/session_end.h"
#include "python/sqlite_mutex.h"
#include "python/wait.h"

/* --- finding ------------------------------------------------------------------------------------- */

static int is_idle(const SessionPool *pool, const Session *session)
{
    return session->uses == 0 && !session->pinned && session->epoch == pool->epoch;
}

static int is_own(const SessionPool *pool, const Session *session)
{
    return session->pinned && session->thread == PyThread_get_thread_ident() &&
           session->epoch == pool->epoch;
}

void pool_examine(SessionPool *pool, Session *session)
{
    session_examine(session);
    pool->syncs_commits = session->syncs_commits;
}

/* Whether an idle session can be used. An exposed one can when the library alone has its Connection, with
 * nothing under way there: then it is no longer exposed. */
static int is_usable(SessionPool *pool, Session *session)
{
    if (session->exposed && session_is_private(session) && !session->must_close) {
        session->uses++; /* what is asked may call back, and that close the cache */
        session->must_close = dc_db_in_transaction(&session->db) ||
                              dc_db_has_open_statement(&session->db);
        if (!session->must_close) {
            session_unexpose(session);
            session->db.budget.exposed = 0;
            dc_db_take_back(&session->db);
            pool_examine(pool, session); /* its pragmas may be others now */
        }
        session->uses--;
    }
    return !session->exposed && !session->must_close;
}

Session *pool_find_idle(SessionPool *pool)
{
    Session *session = pool->sessions;

    while (session != NULL && !(is_idle(pool, session) && is_usable(pool, session))) {
        session = session->next;
    }
    return session;
}

Session *pool_find_spare(SessionPool *pool)
{
    Session *first = pool_find_idle(pool);
    Session *spare = NULL;

    for (Session *each = first; each != NULL; each = each->next) {
        spare = each != first && is_idle(pool, each) && is_usable(pool, each) ? each : spare;
    }
    return spare;
}

Session *pool_find_pinned(SessionPool *pool)
{
    Session *session = pool->pinned > 0 ? pool->sessions : NULL;

    while (session != NULL && !is_own(pool, session)) {
        session = session->next;
    }
    return session;
}

Session *pool_find_serial(const SessionPool *pool, unsigned long serial)
{
    Session *session = pool->sessions;

    while (session != NULL && session->serial != serial) {
        session = session->next;
    }
    return session;
}

static Session *find_adopted(SessionPool *pool, PyObject *connection)
{
    Session *session = pool->sessions;

    while (session != NULL && (session->connection != connection || session->closing)) {
        session = session->next;
    }
    return session;
}

/* --- removing ------------------------------------------------------------------------------------ */

static void pool_insert(SessionPool *pool, Session *session)
{
    if (session->serial == 0) {
        session->serial = ++pool->serial;
    }
    session->next = pool->sessions;
    pool->sessions = session;
}

static void pool_remove(SessionPool *pool, Session *session)
{
    Session **link = &pool->sessions;

    while (*link != NULL && *link != session) {
        link = &(*link)->next;
    }
    if (*link != NULL) {
        *link = session->next;
    }
}

/* End a session that is not in use; `shared_too`: close its Connection even if others have it. */
static void discard(module_state *state, SessionPool *pool, Session *session, int shared_too)
{
    compat_exception current;
    int gone = 1;
    int closes;

    if (session->db.handle == NULL || session->closing) {
        return; /* abandoned in a forked child, or already on its way */
    }
    /* It stays in the pool, in use, until it is closed: a child forked meanwhile must know of it. */
    session->closing = 1;
    session->uses++;
    current = compat_exception_take();
    connection_lock_acquire();
    closes = !session_is_shared(state, session) ||
             (shared_too && !session->external && !session_is_at_work(state, session));
    session_unexpose(session);
    if (closes) {
        session_close(state, session);
    }
    connection_lock_release();
    if (!closes) {
        gone = session_disown(state, session);
    }
    pool_remove(pool, session);
    pool->pinned -= session->pinned;
    if (gone) {
        PyMem_Free(session);
    }
    compat_exception_put(current);
}

void pool_discard(module_state *state, SessionPool *pool, Session *session)
{
    discard(state, pool, session, 0);
}

/* The next four are for closing: sessions of an earlier epoch go first. */
static int is_closable(const Session *session)
{
    return session->uses == 0 && !session->pinned;
}

static int is_closable_own(const Session *session)
{
    return session->uses == 0 && session->pinned && session->thread == PyThread_get_thread_ident();
}

static int is_to_close(const Session *session)
{
    return session->must_close && is_closable(session);
}

static int is_any(const Session *session)
{
    return !session->closing;
}

static Session *find(SessionPool *pool, int (*chosen)(const Session *))
{
    Session *session = pool->sessions;

    while (session != NULL && !chosen(session)) {
        session = session->next;
    }
    return session;
}

/* Discard the sessions that `chosen` picks. That calls Python, which may come back to this pool, so the
 * search starts afresh each time. */
static void discard_chosen(module_state *state, SessionPool *pool, int (*chosen)(const Session *))
{
    Session *session;

    while ((session = find(pool, chosen)) != NULL) {
        discard(state, pool, session, chosen == is_closable_own);
    }
}

void pool_discard_idle(module_state *state, SessionPool *pool, int pinned_too)
{
    discard_chosen(state, pool, is_closable);
    if (pinned_too) {
        discard_chosen(state, pool, is_closable_own);
    }
}

void pool_discard_all(module_state *state, SessionPool *pool)
{
    discard_chosen(state, pool, is_any);
}

/* --- opening ------------------------------------------------------------------------------------- */

/* 1, or -1 with an exception, Timeout among them. */
static int wait_or_time_out(module_state *state, lock_wait *wait)
{
    int again = wait_more(wait);

    if (again == 0) {
        PyErr_SetNone(state->Timeout);
    }
    return again > 0 ? 1 : -1;
}

/* SQLite opens a file read-only where it cannot be opened for writing. If that was for a moment only, for want of a
 * descriptor say, the session could never write. */
static dc_status refuse_wrongly_readonly(Session *session, PyObject *path)
{
    dc_status status = DC_OK;

#ifdef _WIN32
    (void)session;
    (void)path;
#else
    PyObject *bytes;

    if (session->db.read_only || sqlite.db_readonly(session->db.handle, "main") != 1) {
        return DC_OK;
    }
    if (!PyUnicode_FSConverter(path, &bytes)) {
        return DC_CALLBACK;
    }
    if (faccessat(AT_FDCWD, PyBytes_AS_STRING(bytes), W_OK, AT_EACCESS) == 0) {
        status = dc_error_set(&session->db.error, DC_SQLITE,
                              "unable to open database file for writing, although it can be "
                              "written: %s",
                              PyBytes_AS_STRING(bytes));
        session->db.error.sqlite_code = DC_SQLITE_CANTOPEN;
    }
    Py_DECREF(bytes);
#endif
    return status;
}

static dc_status prepare_session(Session *session, PyObject *path, int *kept)
{
    dc_db *db = &session->db;
    PyObject *bytes = NULL;
    dc_status status = refuse_wrongly_readonly(session, path);
    fork_gate_section section;

    if (status != DC_OK) {
        return status;
    }
    if (!PyUnicode_FSConverter(path, &bytes)) {
        return DC_CALLBACK;
    }
    connection_lock_acquire();
    section = fork_gate_enter_releasing_gil();
    db->maps_what_is_written = dc_file_system_maps_what_is_written(PyBytes_AS_STRING(bytes));
    status = dc_settings_apply_pragmas(db, kept, &session->lacks_settings);
    if (status == DC_OK && db->frozen.database == NULL && dc_db_says_wal(db)) {
        dc_version_table_close(&db->versions); /* of an attempt before */
        dc_version_table_open(&db->versions, PyBytes_AS_STRING(bytes), db->read_only);
    }
    fork_gate_leave_taking_gil(section);
    connection_lock_release();
    Py_DECREF(bytes);
    return status;
}

/* Say once for each cache that its journal is not the one that is stored. */
static void warn_of_journal(SessionPool *pool, PyObject *path)
{
    if (!pool->warned) {
        pool->warned = 1;
        log_warning(
            "directory",
            "%U: the stored sqlite_journal_mode cannot be set while others have the file open: "
            "it keeps the mode that it has",
            path);
    }
}

/* Look at a file that is to be read without locks. -1 with an exception. */
static int look_if_frozen(module_state *state, PyObject *path, const char *query, dc_frozen *frozen)
{
    PyThreadState *released;
    PyObject *bytes;
    int known;

    if (query == NULL || strstr(query, "immutable") == NULL) {
        return 0;
    }
    if (!PyUnicode_FSConverter(path, &bytes)) {
        return -1;
    }
    released = PyEval_SaveThread();
    known = dc_frozen_look(frozen, PyBytes_AS_STRING(bytes));
    PyEval_RestoreThread(released);
    Py_DECREF(bytes);
    if (!known) {
        PyErr_Format(state->sqlite_errors[SQLITE_ERROR_OperationalError],
                     "unable to open database file: %S", path);
    }
    return known ? 0 : -1;
}

/* Open a Connection, and put a session around it into the pool, in use; as session_attach. A child forked from
 * here on must find the connection in the pool. */
static int open_attempt(module_state *state, SessionPool *pool, PyObject *path, const char *query,
                        double timeout, Session **session)
{
    dc_frozen frozen = {.database = NULL};
    PyObject *connection;
    sqlite3 *handle;
    int made = -1;
    int acquired = connection_lock_acquire_within(timeout);

    if (acquired == 0) {
        PyErr_SetNone(state->Timeout);
    }
    if (acquired <= 0) {
        return -1;
    }
    connection = look_if_frozen(state, path, query, &frozen) < 0
                     ? NULL
                     : connection_open(state, path, query, &handle);
    if (connection != NULL) {
        made = session_attach(state, connection, handle, session);
        if (made == 1) {
            (*session)->uses = 1;
            (*session)->db.read_only = query != NULL;
            (*session)->db.frozen = frozen;
            frozen = (dc_frozen){.database = NULL};
            pool_insert(pool, *session);
            sqlite_mutex_probe((*session)->db.handle);
        } else {
            connection_close(state, connection);
        }
        Py_DECREF(connection);
        if (made == 1) {
            (*session)->references = Py_REFCNT(connection);
        }
    }
    dc_frozen_clear(&frozen);
    connection_lock_release();
    return made;
}

Session *pool_open(module_state *state, SessionPool *pool, PyObject *path, const char *query,
                   double timeout, unsigned long epoch)
{
    Session *session = NULL;
    lock_wait wait;
    dc_status status;
    int again = 1;
    int kept = 0;
    int made;

    discard_chosen(state, pool, is_to_close);
    wait_start(&wait, timeout, 0);
    while ((made = open_attempt(state, pool, path, query, timeout, &session)) == 0 &&
           wait_or_time_out(state, &wait) > 0) {
    }
    if (made != 1) {
        return NULL;
    }
    session->epoch = epoch;
    do {
        status = prepare_session(session, path, &kept);
    } while (status == DC_BUSY && (again = wait_or_time_out(state, &wait)) > 0);
    if (status != DC_OK && again > 0) {
        convert_raise(state, status, &session->db.error);
    }
    if (status == DC_OK) {
        pool_examine(pool, session);
        if (kept) {
            warn_of_journal(pool, path);
        }
    }
    session->uses = 0;
    if (status != DC_OK) {
        pool_discard(state, pool, session);
        session = NULL;
    }
    return session;
}

/* --- adopting ------------------------------------------------------------------------------------ */

/* Make a session around somebody's Connection, unless another thread has just done it; as session_attach. */
static int adopt_attempt(module_state *state, SessionPool *pool, PyObject *connection,
                         Session **session)
{
    int made = 1;

    connection_lock_acquire();
    *session = find_adopted(pool, connection);
    if (*session == NULL) {
        made = session_attach(state, connection, NULL, session);
        if (made == 1) {
            (*session)->external = 1;
            (*session)->epoch = pool->epoch;
            pool_insert(pool, *session);
            session_expose(*session);
        }
    }
    connection_lock_release();
    return made;
}

Session *pool_adopt(module_state *state, SessionPool *pool, PyObject *connection, double timeout)
{
    Session *session = find_adopted(pool, connection);
    Session *former;
    lock_wait wait;
    int has_mutex;
    int made;

    if (session != NULL && (session->uses > 0 || session_is_open(state, session))) {
        return session;
    }
    if (session != NULL) {
        pool_discard(state, pool, session);
    }
    wait_start(&wait, timeout, 0);
    while ((made = adopt_attempt(state, pool, connection, &session)) == 0 &&
           wait_or_time_out(state, &wait) > 0) {
    }
    if (made != 1) {
        return NULL;
    }
    session->uses++;
    former = pool_find_pinned(pool);
    if (former != NULL && former->external && former->uses == 0) {
        pool_discard(state, pool, former);
    }
    /* We do not checkpoint its log (cache/checkpointer.c), so it gets SQLite's automatic checkpoint back, which
     * attaching has switched off. What fails here fails again in the first operation. */
    has_mutex = session_take_mutex(session);
    dc_db_execute(&session->db, "PRAGMA wal_autocheckpoint = 1000");
    pool_examine(pool, session);
    session_leave_mutex(session, has_mutex);
    pool_pin(pool, session);
    session->uses--;
    return session;
}

/* --- using --------------------------------------------------------------------------------------- */

void pool_put_first(SessionPool *pool, Session *session)
{
    session_put_back(session);
    if (session->db.handle == NULL) {
        return; /* abandoned in a forked child, and in no pool */
    }
    if (pool->sessions != session) {
        pool_remove(pool, session);
        pool_insert(pool, session);
    }
}

void pool_pin(SessionPool *pool, Session *session)
{
    session_withdraw_header(session);
    pool->pinned += !session->pinned;
    session->pinned = 1;
    session->thread = PyThread_get_thread_ident();
}

void pool_unpin(SessionPool *pool, Session *session)
{
    pool->pinned -= session->pinned;
    session->pinned = 0;
}

int pool_blocks_own_thread(SessionPool *pool, int commits)
{
    unsigned long thread = PyThread_get_thread_ident();
    int blocks = 0;

    for (Session *each = pool->sessions; each != NULL && !blocks; each = each->next) {
        if (each->exposed && !each->pinned && each->uses == 0 && each->thread == thread &&
            sqlite_mutex_try(each->db.handle)) {
            blocks = dc_db_has_write_lock(&each->db) ||
                     (commits && each->rollback_journal && dc_db_has_open_statement(&each->db));
            sqlite_mutex_leave(each->db.handle);
        }
    }
    return blocks;
}

/* --- a fork -------------------------------------------------------------------------------------- */

/* In a forked child: whether nobody was inside SQLite with a session, so that its mutex can be taken. The last
 * question takes it, with SQLite 3.53. */
static int was_quiet(const Session *session)
{
    return session->uses == 0 &&
           (!session->exposed ||
            (session->quiet && (session->external || !session->open_statement))) &&
           !dc_db_in_transaction(&session->db);
}

void pool_after_fork(module_state *state, SessionPool *pool)
{
    Session *session = pool->sessions;

    pool->sessions = NULL;
    pool->pinned = 0;
    pool->generation = fork_generation();
    /* First what cannot be closed, so that nothing that is closed then finds its locks. */
    for (Session *each = session; each != NULL; each = each->next) {
        session_withdraw_header(each);
        if (!was_quiet(each)) {
            dc_db_abandon(&each->db);
        }
        session_unexpose(each);
    }
    while (session != NULL) {
        Session *next = session->next;

        if (session->db.handle != NULL) {
            dc_db_detach_inherited(&session->db);
            session_close(state, session);
            PyMem_Free(session);
        } else if (session->uses == 0) {
            /* Abandoned: the Connection must never be closed, so its reference is leaked. One that is
             * in use (a signal handler forked while an operation waited) is leaked whole. */
            PyMem_Free(session);
        }
        session = next;
    }
}
