/* session.c: see session.h. */
#include "python/session.h"

#include <math.h>

#include "base/clock.h"
#include "engine/checkpoint.h"
#include "python/connection.h"
#include "python/connection_lock.h"
#include "python/convert.h"
#include "python/cursors.h"
#include "python/fork_gate.h"
#include "python/fork_generation.h"
#include "python/process_lock.h"
#include "python/sqlite_mutex.h"

/* The mean from which the GIL is released around a section: a switch of threads costs some 10 us when nobody
 * computes, and up to 5 ms when somebody does. Releasing it for one section that the system has interrupted would cost
 * 75 ms where sixteen threads compute. */
#define SLOW_SECONDS 100e-6
/* The mean from which every section is timed, to know soon. */
#define SUSPICIOUS_SECONDS 25e-6
/* Only one section in so many is timed, while sections are short: reading the clock costs 50 ns. */
#define TIMED_SECTIONS 8

/* --- around a Connection ---------------------------------------------------------------------- */

int session_attach(module_state *state, PyObject *connection, sqlite3 *handle, Session **session)
{
    connection_answer answer = CONNECTION_FOUND;
    dc_status status;

    if (handle == NULL) {
        answer = connection_find_handle(state, connection, &handle);
    }
    if (answer == CONNECTION_OTHER) {
        PyErr_SetString(
            PyExc_RuntimeError,
            "this Connection is on another copy of SQLite than diskcache, or was opened "
            "before diskcache was imported: open it after the import, with the "
            "sqlite3.connect that was in use at the import");
    }
    if (answer != CONNECTION_FOUND) {
        return answer == CONNECTION_LOCKED ? 0 : -1;
    }
    *session = PyMem_Calloc(1, sizeof **session);
    if (*session == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    status = dc_db_attach(&(*session)->db, handle);
    if (status == DC_OK) {
        (*session)->connection = Py_NewRef(connection);
        (*session)->generation = fork_generation();
        (*session)->interpreter = PyInterpreterState_Get();
        (*session)->cursor_class = state->cursor_class;
        return 1;
    }
    if (status != DC_BUSY) {
        convert_raise(state, status, &(*session)->db.error);
    }
    PyMem_Free(*session);
    return status == DC_BUSY ? 0 : -1;
}

void session_use(Session *session)
{
    session->uses++;
}

void session_put_back(Session *session)
{
    session->uses--;
}

void session_examine(Session *session)
{
    int is_wal;
    int synchronous;

    session_withdraw_header(session); /* the journal may be another one now */
    dc_db_examine(&session->db, &is_wal, &synchronous);
    session->syncs_commits = synchronous >= DC_SYNCHRONOUS_FULL;
    session->releases_gil = !is_wal || session->syncs_commits;
    session->rollback_journal = !is_wal;
    if (session->external) {
        session->db.has_known_log = 0; /* its file may be another connection's too (shared cache) */
    }
}

dc_wal_header session_header(Session *session)
{
    if (!session->header_known && !session->exposed) {
        session->header_known = 1;
        session->header = dc_db_wal_header(&session->db);
        dc_db_watch_header(&session->db, session->header);
    }
    return session->header;
}

void session_withdraw_header(Session *session)
{
    if (session->lent != NULL) {
        readers_exclude(session->readers);
        *session->lent = NULL;
        readers_admit(session->readers);
    }
    session->lent = NULL;
    session->header = NULL;
    dc_db_watch_header(&session->db, NULL);
    session->header_known = 0;
}

/* --- inside SQLite ---------------------------------------------------------------------------- */

int session_take_mutex(Session *session)
{
    return session->exposed && sqlite_mutex_take(session->db.handle, HUGE_VAL);
}

void session_leave_mutex(Session *session, int has_mutex)
{
    if (has_mutex) {
        sqlite_mutex_leave(session->db.handle);
    }
}

static engine_section enter(Session *session, int releases_gil)
{
    engine_section section = {.rollback_journal = session->rollback_journal};

    if (section.rollback_journal) {
        connection_lock_acquire_shared();
    }
    /* Threads may share an external connection: only the GIL keeps them apart then. */
    if (releases_gil && !session->external) {
        section.released = PyEval_SaveThread();
        section.generation = fork_gate_enter();
        section.has_mutex = session->exposed && sqlite_mutex_take_without_gil(session->db.handle);
    } else {
        section.has_mutex = session_take_mutex(session);
        section.generation = fork_gate_enter();
    }
    return section;
}

engine_section session_enter(Session *session)
{
    engine_section section =
        enter(session, session->releases_gil || session->mean_seconds > SLOW_SECONDS);

    if (session->sections++ % TIMED_SECTIONS == 0 || session->mean_seconds > SUSPICIOUS_SECONDS) {
        section.entered = dc_clock();
    }
    return section;
}

engine_section session_enter_releasing_gil(Session *session)
{
    return enter(session, 1);
}

void session_leave(Session *session, engine_section section)
{
    fork_gate_leave(section.generation);
    if (section.entered != 0.0) {
        slow_mean_add(&session->mean_seconds, dc_clock() - section.entered, SLOW_SECONDS);
    }
    if (session->db.handle != NULL) { /* else abandoned, in a child that was forked inside */
        session_leave_mutex(session, section.has_mutex);
    }
    if (section.released != NULL) {
        PyEval_RestoreThread(section.released);
    }
    if (section.rollback_journal && section.generation == fork_generation()) {
        connection_lock_release_shared();
    }
}

void session_busy_timeout(Session *session, double seconds)
{
    int has_mutex = session_take_mutex(session);

    dc_db_busy_timeout(&session->db, seconds);
    session_leave_mutex(session, has_mutex);
}

int session_has_open_statement(Session *session)
{
    int has_mutex = session_take_mutex(session);
    int open = dc_db_has_open_statement(&session->db);

    session_leave_mutex(session, has_mutex);
    return open;
}

int session_in_transaction(Session *session)
{
    int has_mutex = session_take_mutex(session);
    int open = dc_db_in_transaction(&session->db);

    session_leave_mutex(session, has_mutex);
    return open;
}

/* --- exposed sessions, and a fork ------------------------------------------------------------- */

static Session *exposed_sessions; /* guarded by the process lock */

void session_expose(Session *session)
{
    session_withdraw_header(session);
    session->thread = PyThread_get_thread_ident();
    session->db.budget.exposed = 1;
    if (!session->exposed) {
        if (!session->external) {
            dc_checkpoint_after_foreign_commits(&session->db);
        }
        process_lock_acquire();
        session->exposed = 1;
        session->next_exposed = exposed_sessions;
        exposed_sessions = session;
        process_lock_release();
    }
}

void session_unexpose(Session *session)
{
    Session **link = &exposed_sessions;

    if (session->exposed) {
        process_lock_acquire();
        session->exposed = 0;
        while (*link != session) {
            link = &(*link)->next_exposed;
        }
        *link = session->next_exposed;
        process_lock_release();
    }
}

/* It is referred to no more often than when it was opened, by the session and by what belongs to the Connection. */
int session_is_private(const Session *session)
{
    return !session->external && Py_REFCNT(session->connection) <= session->references;
}

/* Python's sqlite3 may be inside SQLite with an exposed Connection without our knowing, and hold any of SQLite's
 * mutexes there, for which a child would wait for ever. So wait until nobody is. This thread has the GIL, so that
 * nobody begins anew in its own sessions. In those of others, and of other interpreters, a thread may be about to,
 * without the GIL: their mutexes are held until the fork is over. The child cannot use such a mutex any more, and
 * abandons the session. */
static void look_at_exposed(double deadline)
{
    const PyInterpreterState *interpreter = PyInterpreterState_Get();
    unsigned long thread = PyThread_get_thread_ident();

    for (Session *session = exposed_sessions; session != NULL; session = session->next_exposed) {
        if (session->generation != fork_generation()) {
            continue; /* inherited, and looked at when that happened */
        }
        session->held = sqlite_mutex_spin(session->db.handle, deadline);
        if (session->held && session->interpreter == interpreter &&
            (session->external || session_is_private(session) ||
             (session->pinned && session->thread == thread))) {
            session->quiet = 1;
            session->open_statement = dc_db_has_open_statement(&session->db);
            session->held = 0;
            sqlite_mutex_leave(session->db.handle);
        }
    }
}

static void release_exposed(void)
{
    for (Session *session = exposed_sessions; session != NULL; session = session->next_exposed) {
        if (session->held) {
            sqlite_mutex_leave(session->db.handle);
        }
        session->held = session->quiet = 0;
    }
}

/* Whether somebody may have been inside SQLite with it when this process forked. */
static int was_at_work(const Session *session)
{
    return session->generation == fork_generation() && !session->quiet &&
           session->connection != NULL;
}

static int is_of_parent(PyObject *connection, void *Py_UNUSED(context))
{
    Session *session = exposed_sessions;

    while (session != NULL && !(session->connection == connection && was_at_work(session))) {
        session = session->next_exposed;
    }
    return session != NULL;
}

static void keep_for_ever(PyObject *cursor, void *Py_UNUSED(context))
{
    Py_INCREF(cursor);
}

/* In the child, before Python does anything there. When Python forgets the parent's other threads, what they had goes;
 * and ending a cursor takes the connection's mutex, for which the child would wait for ever. */
static void keep_cursors_of_parent(void)
{
    static const cursors_search search = {is_of_parent, keep_for_ever, NULL};
    const PyInterpreterState *interpreter = PyInterpreterState_Get();
    PyObject *cursor_class = NULL;

    for (Session *session = exposed_sessions; session != NULL; session = session->next_exposed) {
        if (was_at_work(session)) {
            cursors_visit_listed(session->connection, &search);
            cursor_class = session->interpreter == interpreter ? session->cursor_class
                                                               : cursor_class;
        }
    }
    /* Without a GIL, Python holds all threads for the fork, and would do so again to visit objects: it would wait for
     * itself. */
    if (cursor_class != NULL && COMPAT_HAS_GIL) {
        cursors_visit_unlisted(cursor_class, &search);
    }
}

int session_init(void)
{
    static const fork_gate_hooks hooks = {look_at_exposed, release_exposed, keep_cursors_of_parent};

    return fork_gate_init(&hooks);
}
