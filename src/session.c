/* session.c: see session.h.
 *
 * Closing. POSIX drops all locks of a process on a file when it closes any descriptor of that file, so
 * SQLite keeps a descriptor open while another connection of the process holds a lock. But its
 * unixClose() looks for such locks before it closes, with nothing held in between (3.40 to 3.51 at
 * least): a connection of another thread that takes its first lock just then loses it. In WAL mode
 * that lock is all that keeps the last connection of another process from deleting the log, and
 * commits with it. Connections take it with their first read and keep it until they are closed
 * (in other journal modes: take it anew in each transaction). So opening a connection, up to its
 * first read, and closing one exclude each other, and closing excludes visits without a log.
 *
 * Waiting. A lock is held for microseconds, but for the original's processes, checkpoints and users'
 * transactions. Sleeps begin at 20 us, grow by half, and stay at 1 ms; each is jittered so that
 * waiters do not march in step.
 */
#include "session.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

#ifdef _WIN32
#include "windows_api.h"
#else
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#endif

#include "connection.h"
#include "clock.h"
#include "convert.h"

/* Above this mean the GIL is released around an operation: a switch of threads costs some 10 us when
 * nobody computes, and up to 5 ms when somebody does. */
#define SLOW_SECONDS 100e-6
#define MEAN_WEIGHT  0.25
/* A visit counts as no longer than this. A single one that the system has interrupted then does not make
 * the GIL be released, which costs 75 ms where sixteen threads compute; three in succession do. */
#define LONGEST_SECONDS 200e-6
/* Above this mean every visit is timed, to know soon. */
#define SUSPICIOUS_SECONDS 25e-6
/* Only one visit in so many is timed, while visits are short: reading the clock costs 50 ns. */
#define TIMED_VISITS 8

/* A thread that waits for a fork, or a fork for a thread, may hold what the other waits for: neither
 * waits for ever. */
#define FORK_WAIT_SECONDS 0.1
#define PAUSE_SECONDS     50e-6

/* Closing the last connection copies the log into the database, and syncs. */
#define CONNECTING_WAIT_SECONDS 10.0

/* Whoever has the lock has it for 10 us mostly, and runs on another processor; who sleeps waits for a
 * processor afterwards, milliseconds where all are busy. */
#define BURST_SECONDS 40e-6

/* How long to wait with the GIL: half of the interval after which a thread that computes must give it up. */
#define COPYING_SECONDS 2.5e-3

#define FIRST_DELAY  20e-6
#define DELAY_GROWTH 1.5
#define LAST_DELAY   1e-3

static unsigned long generation; /* written only while the process has one thread */

/* --- clocks and waiting ----------------------------------------------------------------------- */

double session_clock(void)
{
    return dc_clock();
}

void session_wait_start(session_wait *wait, double timeout, int forever)
{
    wait->began = session_clock();
    wait->burst = wait->began;
    wait->deadline = wait->began + timeout;
    wait->delay = FIRST_DELAY;
    wait->forever = forever;
}

/* A factor between 1/2 and 1; linear congruential, one sequence per thread. */
static double jitter(void)
{
    static DC_THREAD_LOCAL uint32_t sequence;

    if (sequence == 0) {
        sequence = (uint32_t)PyThread_get_thread_ident() ^ (uint32_t)(session_clock() * 1e9);
    }
    sequence = sequence * 1664525u + 1013904223u;
    return 0.5 + (double)(sequence >> 8) / (double)(1u << 25);
}

void session_sleep(double seconds)
{
#ifdef _WIN32
    Sleep((DWORD)ceil(seconds * 1000.0));
#else
    struct timespec duration;

    duration.tv_sec = (time_t)seconds;
    duration.tv_nsec = (long)((seconds - floor(seconds)) * 1e9);
    nanosleep(&duration, NULL); /* a signal may cut it short: the caller looks at signals next */
#endif
}

static void sleep_without_gil(double seconds)
{
    PyThreadState *released = PyEval_SaveThread();

    session_sleep(seconds);
    PyEval_RestoreThread(released);
}

/* The same, and look at what has happened meanwhile. 1, or -1 with an exception. */
static int sleep_watchfully(double seconds)
{
    unsigned long before = generation;

    sleep_without_gil(seconds);
    if (PyErr_CheckSignals() < 0) {
        return -1;
    }
    if (generation != before) {
        PyErr_SetString(PyExc_RuntimeError,
                        "a signal handler forked while this operation waited: it is the parent's");
        return -1;
    }
    return 1;
}

int session_wait_more(session_wait *wait)
{
    double now = session_clock();
    double left = wait->forever ? LAST_DELAY : wait->deadline - now;
    int result;

    if (left <= 0.0) {
        return 0;
    }
    if (now - wait->burst < BURST_SECONDS) {
        return 1;
    }
    result = sleep_watchfully(fmin(wait->delay * jitter(), left));
    wait->delay = fmin(wait->delay * DELAY_GROWTH, LAST_DELAY);
    wait->burst = session_clock();
    return result;
}

int session_wait_for_copying(session_wait *wait)
{
    double now = session_clock();

    if (!wait->forever && now >= wait->deadline) {
        return 0;
    }
    if (now - wait->began < COPYING_SECONDS) {
        session_sleep(FIRST_DELAY);
        return 1;
    }
    return sleep_watchfully(PAUSE_SECONDS);
}

/* --- the fork gate ---------------------------------------------------------------------------- */

/* Guarded by the GIL. One thread at a time opens or closes connections: `connecting` counts how often
 * it has begun to, since a finalizer may close one while another is being opened. */
static int connecting;
static unsigned long connecting_thread;
static int connecting_pending; /* threads that wait for their turn */
static int relocking;          /* threads inside SQLite that may be taking a first lock */
static int fork_pending;

#ifndef _WIN32

/* Threads inside SQLite, and whether one is about to fork. Entering and leaving cost one atomic
 * operation each. Spinning is short: nobody stays inside for long, and a fork is as quick. */
static atomic_int inside;
static atomic_int inside_natively; /* of them those that Python knows nothing of */
static atomic_int gate_closed;

static void gate_enter(void)
{
    atomic_fetch_add(&inside, 1);
    while (atomic_load(&gate_closed)) {
        atomic_fetch_sub(&inside, 1);
        while (atomic_load(&gate_closed)) {
            sched_yield();
        }
        atomic_fetch_add(&inside, 1);
    }
}

static void gate_leave(void)
{
    atomic_fetch_sub(&inside, 1);
}

static pthread_mutex_t forking = PTHREAD_MUTEX_INITIALIZER;

static void before_fork(void)
{
    double deadline = session_clock() + FORK_WAIT_SECONDS;

    pthread_mutex_lock(&forking); /* threads that fork at the same time take turns */
    atomic_store(&gate_closed, 1);
    /* Not for ever: a trace callback of the user's may be waiting for the GIL inside. */
    while (atomic_load(&inside) > 0 && session_clock() < deadline) {
        sched_yield();
    }
}

static void after_fork_in_parent(void)
{
    atomic_store(&gate_closed, 0);
    pthread_mutex_unlock(&forking);
}

static void after_fork_in_child(void)
{
    atomic_store(&inside, 0);
    atomic_store(&inside_natively, 0);
    connecting = connecting_pending = relocking = 0; /* only the forking thread goes on */
    fork_pending = 0;
    generation++;
    after_fork_in_parent();
}

#else

static void gate_enter(void)
{
}
static void gate_leave(void)
{
}

#endif

void session_pause(void)
{
    sleep_without_gil(PAUSE_SECONDS);
}

void session_yield_processor(void)
{
#ifdef _WIN32
    SwitchToThread();
#else
    sched_yield();
#endif
}

void session_before_fork(void)
{
    unsigned long thread = PyThread_get_thread_ident();
    double deadline = session_clock() + CONNECTING_WAIT_SECONDS;

    fork_pending = 1;
    /* Who forks while it opens a connection (an audit hook, a finalizer) would wait for itself. */
    while (connecting > 0 && connecting_thread != thread && session_clock() < deadline) {
        sleep_without_gil(PAUSE_SECONDS);
    }
#ifndef _WIN32
    /* Python warns of a fork beside threads, and should not for ours, which is at work for milliseconds. */
    deadline = session_clock() + FORK_WAIT_SECONDS;
    while (atomic_load(&inside_natively) > 0 && session_clock() < deadline) {
        sleep_without_gil(PAUSE_SECONDS);
    }
#endif
}

void session_fork_is_over(void)
{
    fork_pending = 0;
}

/* Neither of the two waits for ever: who waits may be called from inside what it waits for (an SQL
 * function or a trace callback of the user's that uses a cache). */
static void connecting_enter(void)
{
    unsigned long thread = PyThread_get_thread_ident();
    double started = 0.0;

    if (connecting > 0 && connecting_thread == thread) {
        connecting++;
        return;
    }
    connecting_pending++;
    while (connecting > 0 || relocking > 0 || fork_pending) {
        double now = session_clock();

        if (started == 0.0) {
            started = now;
        } else if (now - started > (connecting > 0 ? CONNECTING_WAIT_SECONDS : FORK_WAIT_SECONDS)) {
            break;
        }
        sleep_without_gil(PAUSE_SECONDS);
    }
    connecting_pending--;
    connecting_thread = thread;
    connecting++;
}

static void connecting_leave(void)
{
    connecting -= connecting > 0; /* 0: in a child, forked by an audit hook of ours */
}

static void relocking_enter(void)
{
    unsigned long thread = PyThread_get_thread_ident();
    double deadline = 0.0;

    while ((connecting > 0 && connecting_thread != thread) || connecting_pending > 0) {
        double now = session_clock();

        deadline = deadline == 0.0 ? now + FORK_WAIT_SECONDS : deadline;
        if (now >= deadline) {
            break;
        }
        sleep_without_gil(PAUSE_SECONDS);
    }
    relocking++;
}

unsigned long session_generation(void)
{
    return generation;
}

session_visit session_enter_slowly(void)
{
    session_visit visit = {.released = PyEval_SaveThread()};

    gate_enter();
    return visit;
}

void session_leave_slowly(session_visit visit)
{
    gate_leave();
    PyEval_RestoreThread(visit.released);
}

void session_enter_natively(void)
{
#ifndef _WIN32
    atomic_fetch_add(&inside_natively, 1);
#endif
    gate_enter();
}

void session_leave_natively(void)
{
    gate_leave();
#ifndef _WIN32
    atomic_fetch_sub(&inside_natively, 1);
#endif
}

session_visit session_enter(Session *session)
{
    session_visit visit = {.relocks = session->relocks};

    if (visit.relocks) {
        relocking_enter();
    }
    /* A foreign connection may be shared by threads, which only the GIL then keeps apart. */
    if (!session->foreign && (session->releases_gil || session->mean_seconds > SLOW_SECONDS)) {
        visit.released = PyEval_SaveThread();
    }
    gate_enter();
    if (session->visits++ % TIMED_VISITS == 0 || session->mean_seconds > SUSPICIOUS_SECONDS) {
        visit.entered = session_clock();
    }
    return visit;
}

session_visit session_enter_lengthy(Session *session)
{
    session_visit visit = {.relocks = session->relocks};

    if (visit.relocks) {
        relocking_enter();
    }
    if (!session->foreign) {
        visit.released = PyEval_SaveThread();
    }
    gate_enter();
    return visit;
}

void session_leave(Session *session, session_visit visit)
{
    gate_leave();
    if (visit.entered != 0.0) {
        double seconds = session_clock() - visit.entered;

        session->mean_seconds += MEAN_WEIGHT *
                                 (fmin(seconds, LONGEST_SECONDS) - session->mean_seconds);
    }
    if (visit.released != NULL) {
        PyEval_RestoreThread(visit.released);
    }
    relocking -= visit.relocks &&
                 relocking > 0; /* 0: in a child, forked by a callback of SQLite's */
}

int session_module_init(void)
{
#ifndef _WIN32
    static int registered;

    if (!registered &&
        pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) != 0) {
        PyErr_NoMemory();
        return -1;
    }
    registered = 1;
#endif
    return 0;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* The pragmas that a session sets: the stored settings named sqlite_*. */
typedef struct stored_pragma {
    char name[64];
    char text[64]; /* backs a value of type TEXT */
    dc_datum value;
} stored_pragma;

#define PRAGMAS_MAX 32

typedef struct stored_pragmas {
    size_t count;
    stored_pragma items[PRAGMAS_MAX];
} stored_pragmas;

static const size_t prefix_size = sizeof "sqlite_" - 1;

static dc_status collect_pragma(void *context, const dc_datum *key, const dc_datum *value)
{
    stored_pragmas *pragmas = context;
    stored_pragma *pragma = &pragmas->items[pragmas->count];
    size_t size = key->as.bytes.size - prefix_size;

    if (pragmas->count == PRAGMAS_MAX || size >= sizeof pragma->name || value->type == DC_BLOB ||
        (value->type == DC_TEXT && value->as.bytes.size >= sizeof pragma->text)) {
        return DC_OK; /* nothing that dc_db_set_pragma would take */
    }
    memcpy(pragma->name, key->as.bytes.data + prefix_size, size);
    pragma->name[size] = '\0';
    pragma->value = *value;
    if (value->type == DC_TEXT) {
        memcpy(pragma->text, value->as.bytes.data, value->as.bytes.size);
        pragma->value.as.bytes.data = pragma->text;
    }
    pragmas->count++;
    return DC_OK;
}

/* Set the stored pragmas. A file without settings is a new one: that is no failure. Nor is a value that no
 * pragma can have: it is damaged, and opening the cache has said so (core.py). */
static dc_status set_stored_pragmas(dc_db *db)
{
    stored_pragmas pragmas;
    dc_status status;

    pragmas.count = 0;
    status = dc_db_query(db, DC_SELECT_PRAGMA_SETTINGS, collect_pragma, &pragmas);
    if (status == DC_SQLITE && (db->error.sqlite_code & 0xff) == DC_SQLITE_ERROR) {
        return DC_OK;
    }
    for (size_t i = 0; i < pragmas.count && status == DC_OK; i++) {
        status = dc_db_set_pragma(db, pragmas.items[i].name, &pragmas.items[i].value);
        status = status == DC_TYPE ? DC_OK : status;
    }
    return status;
}

void session_examine(Session *session)
{
    int is_wal;
    int synchronous;

    session_withdraw_header(session); /* the journal may be another one now */
    dc_db_examine(&session->db, &is_wal, &synchronous);
    session->releases_gil = !is_wal || synchronous > 1;
    session->relocks = !is_wal;
}

dc_wal_header session_header(Session *session)
{
    if (!session->header_known && !session->foreign && !session->pinned &&
        !session->db.forecast.exposed) {
        session->header_known = 1;
        session->header = dc_wal_header_of(&session->db);
        dc_db_watch_header(&session->db, session->header);
    }
    return session->header;
}

void session_withdraw_header(Session *session)
{
    if (session->lent != NULL) {
        *session->lent = NULL;
    }
    session->lent = NULL;
    session->header = NULL;
    dc_db_watch_header(&session->db, NULL);
    session->header_known = 0;
}

/* Make a session around a Connection. `handle`: the one behind it, or NULL to ask the Connection. Its pragmas
 * are not set yet. 1; 0 if a lock was in the way and it may be tried again; -1 with an exception. */
static int session_around(module_state *state, PyObject *connection, sqlite3 *handle,
                          Session **session)
{
    connection_answer answer = CONNECTION_FOUND;
    dc_status status;

    if (handle == NULL) {
        answer = connection_find_handle(state, connection, &handle);
    }
    if (answer == CONNECTION_OTHER) {
        PyErr_SetString(PyExc_RuntimeError,
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
        return 1;
    }
    if (status != DC_BUSY) {
        convert_raise(state, status, &(*session)->db.error);
    }
    PyMem_Free(*session);
    return status == DC_BUSY ? 0 : -1;
}

/* Close what a session holds. Exceptions are reported as unraisable; the caller's stays. */
static void close_session(module_state *state, Session *session)
{
    compat_exception current = compat_exception_take();
    PyObject *connection = session->connection;

    session->connection = NULL;
    session_withdraw_header(session);
    if (!session->foreign) {
        dc_db_rollback(&session->db);
    }
    dc_db_detach(&session->db);
    if (!session->foreign) {
        connection_close(state, connection);
    }
    Py_DECREF(connection);
    compat_exception_put(current);
}

/* --- the pool --------------------------------------------------------------------------------- */

static void pool_insert(SessionPool *pool, Session *session)
{
    if (session->serial == 0) {
        session->serial = ++pool->serial;
        session->epoch = pool->epoch;
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

void session_discard(module_state *state, SessionPool *pool, Session *session)
{
    if (session->db.handle == NULL || session->closing) {
        return; /* abandoned in a forked child, or already on its way */
    }
    /* It stays in the pool, in use, until it is closed: a child forked meanwhile must know of it. */
    session->closing = 1;
    session->uses++;
    connecting_enter();
    close_session(state, session);
    pool_remove(pool, session);
    pool->pinned -= session->pinned;
    connecting_leave();
    PyMem_Free(session);
}

/* Open a Connection and make a session around it; as session_around. A child forked from here on must find
 * the connection in the pool. */
static int open_attempt(module_state *state, SessionPool *pool, PyObject *path, Session **session)
{
    PyObject *connection;
    sqlite3 *handle;
    int made = -1;

    connecting_enter();
    connection = connection_open(state, path, &handle);
    if (connection != NULL) {
        made = session_around(state, connection, handle, session);
        if (made == 1) {
            (*session)->uses = 1;
            pool_insert(pool, *session);
        } else {
            connection_close(state, connection);
        }
        Py_DECREF(connection);
    }
    connecting_leave();
    return made;
}

Session *session_open(module_state *state, SessionPool *pool, PyObject *path, double timeout)
{
    Session *session = NULL;
    session_wait wait;
    session_visit visit;
    dc_status status;
    int again = 1;
    int made;

    session_wait_start(&wait, timeout, 0);
    while ((made = open_attempt(state, pool, path, &session)) == 0 &&
           (again = session_wait_more(&wait)) > 0) {
    }
    if (made == 0 && again == 0) {
        PyErr_SetNone(state->Timeout);
    }
    if (made != 1) {
        return NULL;
    }
    do {
        connecting_enter();
        visit = session_enter_slowly();
        status = set_stored_pragmas(&session->db);
        session_leave_slowly(visit);
        connecting_leave();
    } while (status == DC_BUSY && (again = session_wait_more(&wait)) > 0);
    if (status == DC_BUSY && again == 0) {
        PyErr_SetNone(state->Timeout);
    } else if (status != DC_OK && again > 0) {
        convert_raise(state, status, &session->db.error);
    }
    session->uses = 0;
    if (status != DC_OK) {
        session_discard(state, pool, session);
        return NULL;
    }
    session_examine(session);
    return session;
}

static int is_idle(const SessionPool *pool, const Session *session)
{
    return session->uses == 0 && !session->pinned && session->epoch == pool->epoch;
}

static int is_own(const SessionPool *pool, const Session *session)
{
    return session->pinned && session->thread == PyThread_get_thread_ident() &&
           session->epoch == pool->epoch;
}

/* The rest is for closing: sessions of an earlier epoch go first. */
static int is_closable(const SessionPool *pool, const Session *session)
{
    (void)pool;
    return session->uses == 0 && !session->pinned;
}

static int is_closable_or_own(const SessionPool *pool, const Session *session)
{
    (void)pool;
    return session->uses == 0 &&
           (!session->pinned || session->thread == PyThread_get_thread_ident());
}

static int is_any(const SessionPool *pool, const Session *session)
{
    (void)pool;
    return !session->closing;
}

static Session *find(SessionPool *pool, int (*chosen)(const SessionPool *, const Session *))
{
    Session *session = pool->sessions;

    while (session != NULL && !chosen(pool, session)) {
        session = session->next;
    }
    return session;
}

Session *session_idle(SessionPool *pool)
{
    return find(pool, is_idle);
}

Session *session_spare(SessionPool *pool)
{
    Session *first = session_idle(pool);
    Session *spare = NULL;

    for (Session *each = first; each != NULL; each = each->next) {
        spare = each != first && is_idle(pool, each) ? each : spare;
    }
    return spare;
}

Session *session_pinned(SessionPool *pool)
{
    return pool->pinned > 0 ? find(pool, is_own) : NULL;
}

static Session *find_adopted(SessionPool *pool, PyObject *connection)
{
    Session *session = pool->sessions;

    while (session != NULL && session->connection != connection) {
        session = session->next;
    }
    return session;
}

/* Make a session around somebody's Connection, unless another thread has just done it; as session_around. */
static int adopt_attempt(module_state *state, SessionPool *pool, PyObject *connection,
                         Session **session)
{
    int made = 1;

    connecting_enter();
    *session = find_adopted(pool, connection);
    if (*session == NULL) {
        made = session_around(state, connection, NULL, session);
        if (made == 1) {
            (*session)->foreign = 1;
            pool_insert(pool, *session);
        }
    }
    connecting_leave();
    return made;
}

Session *session_adopt(module_state *state, SessionPool *pool, PyObject *connection, double timeout)
{
    Session *session = find_adopted(pool, connection);
    Session *former;
    session_wait wait;
    int again = 1;
    int made;

    if (session != NULL) {
        return session;
    }
    session_wait_start(&wait, timeout, 0);
    while ((made = adopt_attempt(state, pool, connection, &session)) == 0 &&
           (again = session_wait_more(&wait)) > 0) {
    }
    if (made == 0 && again == 0) {
        PyErr_SetNone(state->Timeout);
    }
    if (made != 1) {
        return NULL;
    }
    session->uses++;
    former = session_pinned(pool);
    if (former != NULL && former->foreign && former->uses == 0) {
        session_discard(state, pool, former);
    }
    session->db.forecast.exposed = 1;
    /* Its log is not copied by us (checkpointer.c): give SQLite's automatic checkpoint back, which
     * attaching has taken. What goes wrong comes back from the first operation. */
    dc_db_execute(&session->db, "PRAGMA wal_autocheckpoint = 1000");
    session_examine(session);
    session_pin(pool, session);
    session->uses--;
    return session;
}

void session_use(Session *session)
{
    session->uses++;
}

void session_put_back(Session *session)
{
    session->uses--;
}

void session_release(SessionPool *pool, Session *session)
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

void session_pin(SessionPool *pool, Session *session)
{
    session_withdraw_header(session);
    pool->pinned += !session->pinned;
    session->pinned = 1;
    session->thread = PyThread_get_thread_ident();
}

/* Close the sessions that `chosen` picks. Closing calls Python, which may come back to this pool, so
 * the search starts afresh each time. */
static void close_chosen(module_state *state, SessionPool *pool,
                         int (*chosen)(const SessionPool *, const Session *))
{
    Session *session;

    while ((session = find(pool, chosen)) != NULL) {
        session_discard(state, pool, session);
    }
}

void session_close_idle(module_state *state, SessionPool *pool, int pinned_too)
{
    close_chosen(state, pool, pinned_too ? is_closable_or_own : is_closable);
}

void session_close_all(module_state *state, SessionPool *pool)
{
    close_chosen(state, pool, is_any);
}

void session_after_fork(module_state *state, SessionPool *pool)
{
    Session *session = pool->sessions;

    pool->sessions = NULL;
    pool->pinned = 0;
    pool->generation = generation;
    /* First what cannot be closed, so that nothing that is closed then finds its locks. */
    for (Session *each = session; each != NULL; each = each->next) {
        session_withdraw_header(each);
        if (each->uses > 0 || dc_db_in_transaction(&each->db)) {
            dc_db_abandon(&each->db);
        }
    }
    while (session != NULL) {
        Session *next = session->next;

        if (session->db.handle != NULL) {
            dc_db_detach_inherited(&session->db);
            close_session(state, session);
            PyMem_Free(session);
        } else if (session->uses == 0) {
            /* Abandoned: the Connection must never be closed, so its reference is leaked. One that is
             * in use (a signal handler forked while an operation waited) is leaked whole. */
            PyMem_Free(session);
        }
        session = next;
    }
}
