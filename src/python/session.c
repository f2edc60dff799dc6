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
#include "python/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef _WIN32
#include "base/windows_api.h"
#else
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>
#endif

#include "base/clock.h"
#include "engine/checkpoint.h"
#include "python/connection.h"
#include "python/convert.h"
#include "python/log.h"

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

/* For whoever is inside SQLite with a Connection that is being disowned. */
#define DISOWNING_WAIT_SECONDS 1.0

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
 * threads have begun to, and `connecting_depth` how often this one has, since a finalizer may close one
 * while another is being opened. */
static int connecting;
static DC_THREAD_LOCAL int connecting_depth;
static int connecting_pending; /* threads that wait for their turn */
static int relocking;          /* threads inside SQLite that may be taking a first lock */
static int fork_pending;
static unsigned long fork_thread; /* that is going to fork */

static Session *exposed_sessions; /* guarded by the GIL */
static int can_claim;             /* whether sqlite3_mutex_try() works here: it may always fail */

/* Whether nobody else has the Connection: it is referred to no more often than when it was opened, by the
 * session and by what belongs to the Connection itself. */
static int is_ours_alone(const Session *session)
{
    return !session->foreign && Py_REFCNT(session->connection) <= session->references;
}

/* Take the mutex that whoever is inside SQLite with the session has; 0 if another thread is. */
static int try_claim(const Session *session)
{
    return can_claim && sqlite.mutex_try(sqlite.db_mutex(session->db.handle)) == DC_SQLITE_OK;
}

static void unclaim(const Session *session)
{
    sqlite.mutex_leave(sqlite.db_mutex(session->db.handle));
}

/* Take it, waiting without the GIL; 0 if it cannot be had so, or not within the time. */
static int claim(const Session *session, double seconds)
{
    double deadline = session_clock() + seconds;

    while (can_claim && !try_claim(session)) {
        if (session_clock() >= deadline) {
            return 0;
        }
        sleep_without_gil(PAUSE_SECONDS);
    }
    return can_claim;
}

/* The same for a thread that has given the GIL up, and waits for as long as it takes. */
static int claim_without_gil(const Session *session)
{
    while (can_claim && !try_claim(session)) {
        session_sleep(PAUSE_SECONDS);
    }
    return can_claim;
}

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
static pthread_mutex_t disowning = PTHREAD_MUTEX_INITIALIZER;
static int has_looked; /* before the fork that is under way, at the exposed sessions */

/* Python's sqlite3 may be inside SQLite with an exposed Connection without our knowing, and hold any of
 * SQLite's mutexes there, for which a child would wait for ever. So wait until nobody is. This thread has the
 * GIL, so that nobody begins anew in its own sessions. Of those of others a thread may be about to, without
 * the GIL: their mutexes are held until the fork is over. The child cannot use such a mutex any more, and
 * abandons the session. */
static void look_at_exposed(double deadline)
{
    unsigned long thread = PyThread_get_thread_ident();

    for (Session *session = exposed_sessions; session != NULL; session = session->next_exposed) {
        if (session->generation != generation) {
            continue; /* inherited, and looked at when that happened */
        }
        while (!(session->held = try_claim(session)) && session_clock() < deadline) {
            sched_yield();
        }
        if (session->held && (session->foreign || is_ours_alone(session) ||
                              (session->pinned && session->thread == thread))) {
            session->quiet = 1;
            session->midway = dc_db_has_open_statement(&session->db);
            session->held = 0;
            unclaim(session);
        }
    }
}

/* A visitor of a Connection's references: it keeps lists of weak ones to its cursors and blobs. */
static int keep_for_ever(PyObject *object, void *context)
{
    (void)context;
    for (Py_ssize_t i = 0; PyList_CheckExact(object) && i < PyList_GET_SIZE(object); i++) {
        PyObject *reference = PyList_GET_ITEM(object, i);

        if (PyWeakref_CheckRef(reference)) {
            (void)compat_weakref_get(reference); /* a reference that is never given back */
        }
    }
    return 0;
}

/* In the child, before Python does anything there: what other threads had goes when Python forgets them, and
 * ending a cursor takes the connection's mutex, for which the child would wait for ever. */
static void keep_cursors_of_parent(void)
{
    for (Session *session = exposed_sessions; session != NULL; session = session->next_exposed) {
        if (session->generation == generation && !session->quiet && session->connection != NULL &&
            Py_TYPE(session->connection)->tp_traverse != NULL) {
            Py_TYPE(session->connection)->tp_traverse(session->connection, keep_for_ever, NULL);
        }
    }
}

static void release_exposed(void)
{
    for (Session *session = exposed_sessions; session != NULL; session = session->next_exposed) {
        if (session->held) {
            unclaim(session);
        }
        session->held = session->quiet = 0;
    }
}

/* The mutexes that all connections of the process share, in an order in which none is asked for by who has a
 * later one. Python's sqlite3 may be inside SQLite with any connection, for longer than a fork can wait: in
 * the child nobody would give back what it has taken. So the forking thread has them across the fork. */
static const int static_mutexes[] = {
    DC_SQLITE_MUTEX_STATIC_OPEN, DC_SQLITE_MUTEX_STATIC_MAIN, DC_SQLITE_MUTEX_STATIC_VFS1,
    DC_SQLITE_MUTEX_STATIC_VFS2, DC_SQLITE_MUTEX_STATIC_VFS3, DC_SQLITE_MUTEX_STATIC_LRU,
    DC_SQLITE_MUTEX_STATIC_PMEM, DC_SQLITE_MUTEX_STATIC_PRNG, DC_SQLITE_MUTEX_STATIC_MEM};
enum { STATIC_MUTEXES = sizeof static_mutexes / sizeof *static_mutexes };
static sqlite3_mutex *taken_mutexes[STATIC_MUTEXES];

static void take_static_mutexes(double deadline)
{
    for (int i = 0; i < STATIC_MUTEXES && can_claim; i++) {
        sqlite3_mutex *mutex = sqlite.mutex_alloc(static_mutexes[i]);
        int taken;

        while (!(taken = sqlite.mutex_try(mutex) == DC_SQLITE_OK) && session_clock() < deadline) {
            sched_yield();
        }
        taken_mutexes[i] = taken ? mutex : NULL;
    }
}

static void give_static_mutexes_back(void)
{
    for (int i = STATIC_MUTEXES; i-- > 0;) {
        if (taken_mutexes[i] != NULL) {
            sqlite.mutex_leave(taken_mutexes[i]);
        }
        taken_mutexes[i] = NULL;
    }
}

static void before_fork(void)
{
    double deadline = session_clock() + FORK_WAIT_SECONDS;

    pthread_mutex_lock(&forking); /* threads that fork at the same time take turns */
    atomic_store(&gate_closed, 1);
    /* Not for ever: a trace callback of the user's may be waiting for the GIL inside. */
    while (atomic_load(&inside) > 0 && session_clock() < deadline) {
        sched_yield();
    }
    /* Else it is not Python that forks, and we may not have the GIL. */
    has_looked = fork_pending && fork_thread == PyThread_get_thread_ident();
    if (has_looked) {
        look_at_exposed(deadline);
    }
    take_static_mutexes(session_clock() + FORK_WAIT_SECONDS);
    pthread_mutex_lock(&disowning);
}

static void open_gate(void)
{
    pthread_mutex_unlock(&disowning);
    give_static_mutexes_back();
    atomic_store(&gate_closed, 0);
    pthread_mutex_unlock(&forking);
}

static void after_fork_in_parent(void)
{
    if (has_looked) {
        release_exposed();
    }
    open_gate();
}

/* Only the forking thread goes on. If a callback has forked inside SQLite, that visit was the parent's. */
static void after_fork_in_child(void)
{
    atomic_store(&inside, 0);
    atomic_store(&inside_natively, 0);
    connecting = connecting_depth;
    connecting_pending = relocking = 0;
    fork_pending = 0;
    if (has_looked) {
        keep_cursors_of_parent();
    }
    generation++;
    open_gate();
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
    double deadline = session_clock() + CONNECTING_WAIT_SECONDS;

    fork_pending = 1;
    fork_thread = PyThread_get_thread_ident();
    /* Who forks while it opens a connection (an audit hook, a finalizer) does not wait for itself. */
    while (connecting > connecting_depth && session_clock() < deadline) {
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

/* Wait for one's turn to open or close a connection: 1; 0 if the time is over, -1 if a signal handler raised,
 * to which only the watchful listen. Nobody waits for ever: who waits may be called from inside what it
 * waits for (an SQL function or a trace callback of the user's that uses a cache). */
static int wait_for_turn(double seconds, int watchful)
{
    unsigned long before = generation;
    double began = session_clock();
    int result = 1;

    connecting_pending++;
    while (result > 0 && (connecting > 0 || relocking > 0 || fork_pending)) {
        double waited = session_clock() - began;

        if (connecting == 0 && waited > FORK_WAIT_SECONDS) {
            break;
        }
        if (waited > seconds) {
            result = 0;
        } else if (watchful) {
            result = sleep_watchfully(PAUSE_SECONDS);
        } else {
            sleep_without_gil(PAUSE_SECONDS);
        }
    }
    connecting_pending -= generation == before; /* in a child nobody waits */
    return result;
}

/* The same, and take it. Closing takes it in any case. */
static int take_turn(double seconds, int watchful)
{
    int result = connecting_depth > 0 ? 1 : wait_for_turn(seconds, watchful);

    if (result > 0 || !watchful) {
        connecting++;
        connecting_depth++;
    }
    return result;
}

void session_connecting_enter(void)
{
    take_turn(CONNECTING_WAIT_SECONDS, 0);
}

void session_connecting_leave(void)
{
    connecting--;
    connecting_depth--;
}

static void relocking_enter(void)
{
    double deadline = 0.0;

    while (connecting > connecting_depth || connecting_pending > 0) {
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
    session_visit visit = {.released = PyEval_SaveThread(), .generation = generation};

    gate_enter();
    return visit;
}

/* In a child that was forked by a callback inside, the parent is at the gate, and not the child. */
static void leave_gate(const session_visit *visit)
{
    if (visit->generation == generation) {
        gate_leave();
    }
}

void session_leave_slowly(session_visit visit)
{
    leave_gate(&visit);
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

static session_visit enter(Session *session, int releases_gil)
{
    session_visit visit = {.relocks = session->relocks, .generation = generation};

    if (visit.relocks) {
        relocking_enter();
    }
    /* A foreign connection may be shared by threads, which only the GIL then keeps apart. */
    if (releases_gil && !session->foreign) {
        visit.released = PyEval_SaveThread();
        gate_enter();
        visit.claimed = session->exposed && claim_without_gil(session);
    } else {
        visit.claimed = session->exposed && claim(session, HUGE_VAL);
        gate_enter();
    }
    return visit;
}

session_visit session_enter(Session *session)
{
    session_visit visit =
        enter(session, session->releases_gil || session->mean_seconds > SLOW_SECONDS);

    if (session->visits++ % TIMED_VISITS == 0 || session->mean_seconds > SUSPICIOUS_SECONDS) {
        visit.entered = session_clock();
    }
    return visit;
}

session_visit session_enter_lengthy(Session *session)
{
    return enter(session, 1);
}

void session_leave(Session *session, session_visit visit)
{
    leave_gate(&visit);
    if (visit.entered != 0.0) {
        double seconds = session_clock() - visit.entered;

        session->mean_seconds += MEAN_WEIGHT *
                                 (fmin(seconds, LONGEST_SECONDS) - session->mean_seconds);
    }
    if (visit.claimed &&
        session->db.handle != NULL) { /* else abandoned, in a child forked inside */
        unclaim(session);
    }
    if (visit.released != NULL) {
        PyEval_RestoreThread(visit.released);
    }
    relocking -= visit.relocks && visit.generation == generation;
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

#define JOURNAL_MODE "journal_mode"

/* Set the stored pragmas. A file without settings is a new one: that is no failure. Nor is a value that no
 * pragma can have: it is damaged, and opening the cache has said so (core.py). Nor is a journal mode that
 * cannot be set because others have the file open: the file keeps its own, and *kept is set. To wait for that
 * would be in vain, and two sessions that do would be waiting for each other. */
static dc_status set_stored_pragmas(dc_db *db, int *kept, int *bare)
{
    stored_pragmas pragmas;
    dc_status status;

    pragmas.count = 0;
    status = dc_db_query(db, DC_SELECT_PRAGMA_SETTINGS, collect_pragma, &pragmas);
    *bare = status == DC_SQLITE && (db->error.sqlite_code & 0xff) == DC_SQLITE_ERROR;
    if (*bare) {
        return DC_OK;
    }
    for (size_t i = 0; i < pragmas.count && status == DC_OK; i++) {
        status = dc_db_set_pragma(db, pragmas.items[i].name, &pragmas.items[i].value);
        status = status == DC_TYPE ? DC_OK : status;
        if (status == DC_BUSY && strcmp(pragmas.items[i].name, JOURNAL_MODE) == 0) {
            status = dc_db_query(db, "PRAGMA " JOURNAL_MODE, NULL, NULL);
            *kept = status == DC_OK;
        }
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
    if (session->foreign) {
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
        return 1;
    }
    if (status != DC_BUSY) {
        convert_raise(state, status, &(*session)->db.error);
    }
    PyMem_Free(*session);
    return status == DC_BUSY ? 0 : -1;
}

/* --- the end of a session --------------------------------------------------------------------- */

int session_check_open(module_state *state, const Session *session)
{
    PyObject *answer = NULL;

    if (!session->exposed || session->connection == NULL) {
        return 0;
    }
    answer = PyObject_GetAttr(session->connection, state->name.in_transaction);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

int session_is_open(module_state *state, const Session *session)
{
    int open = session_check_open(state, session) == 0;

    if (!open) {
        PyErr_Clear();
    }
    return open;
}

/* A visitor of a Connection's references: it keeps a list of weak ones to its cursors. */
static int collect_cursors(PyObject *object, void *context)
{
    PyObject *cursors = context;

    for (Py_ssize_t i = 0; PyList_CheckExact(object) && i < PyList_GET_SIZE(object); i++) {
        PyObject *reference = PyList_GET_ITEM(object, i);
        PyObject *cursor = PyWeakref_CheckRef(reference) ? compat_weakref_get(reference) : NULL;

        if (cursor != NULL && PyList_Append(cursors, cursor) < 0) {
            PyErr_Clear(); /* it is not closed, then, and its statement is found */
        }
        Py_XDECREF(cursor);
    }
    return 0;
}

/* Close the cursors of a Connection, as closing that would. 0 if one is in the middle of a call. */
static int close_cursors(module_state *state, PyObject *connection)
{
    PyObject *cursors = PyList_New(0);
    int closed = cursors != NULL;

    if (closed && Py_TYPE(connection)->tp_traverse != NULL) {
        Py_TYPE(connection)->tp_traverse(connection, collect_cursors, cursors);
    }
    for (Py_ssize_t i = 0; closed && i < PyList_GET_SIZE(cursors); i++) {
        PyObject *cursor = PyList_GET_ITEM(cursors, i);

        if (PyObject_IsInstance(cursor, state->cursor_class) == 1) {
            PyObject *result = PyObject_CallMethod(state->cursor_class, "close", "O", cursor);

            closed = result != NULL;
            Py_XDECREF(result);
        }
    }
    PyErr_Clear();
    Py_XDECREF(cursors);
    return closed;
}

/* Whether Python's sqlite3 is in the middle of a call on the Connection, up this thread's stack or in
 * another thread: it does not stand being closed then. */
static int is_at_work(module_state *state, Session *session)
{
    int at_work = can_claim && !try_claim(session);

    if (!at_work) {
        if (can_claim) {
            unclaim(session);
        }
        at_work = !close_cursors(state, session->connection) ||
                  dc_db_has_open_statement(&session->db);
    }
    return at_work;
}

/* Close what a session holds, but a foreign Connection. Exceptions are reported as unraisable. */
static void close_session(module_state *state, Session *session)
{
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
    Py_XDECREF(connection);
}

#ifndef _WIN32

/* The files of disowned connections, which a forked child inherits as well. SQLite tells when one is closed, in
 * whichever thread that happens, by the destructor of a function that is registered on the connection. */
typedef struct Disowned {
    sqlite3_file *file;
    struct Disowned *next, *previous;
} Disowned;

static Disowned *disowned_files; /* guarded by `disowning` */

static void forget_disowned(void *context)
{
    Disowned *disowned = context;

    pthread_mutex_lock(&disowning);
    if (disowned->next != NULL) {
        disowned->next->previous = disowned->previous;
    }
    if (disowned->previous != NULL) {
        disowned->previous->next = disowned->next;
    } else {
        disowned_files = disowned->next;
    }
    pthread_mutex_unlock(&disowning);
    free(disowned);
}

static void do_nothing(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)context;
    (void)count;
    (void)values;
}

/* If there is no memory it is not remembered. */
static void remember_disowned(const dc_db *db)
{
    Disowned *disowned = malloc(sizeof *disowned);

    if (disowned == NULL) {
        return;
    }
    disowned->file = db->file;
    disowned->previous = NULL;
    pthread_mutex_lock(&disowning);
    disowned->next = disowned_files;
    if (disowned_files != NULL) {
        disowned_files->previous = disowned;
    }
    disowned_files = disowned;
    pthread_mutex_unlock(&disowning);
    /* If that fails SQLite calls the destructor. */
    sqlite.create_function_v2(db->handle, "diskcache_disowned", 0, DC_SQLITE_UTF8, disowned,
                              do_nothing, NULL, NULL, forget_disowned);
}

void session_forget_disowned(void)
{
    Disowned *disowned;

    pthread_mutex_lock(&disowning);
    for (disowned = disowned_files; disowned != NULL; disowned = disowned->next) {
        dc_file_forget_locks(disowned->file);
    }
    pthread_mutex_unlock(&disowning);
}

#else

static void remember_disowned(const dc_db *db)
{
    (void)db;
}

void session_forget_disowned(void)
{
}

#endif

/* Leave a Connection to those who have it. Where somebody is inside SQLite with it for too long our
 * statements stay in it, and the session's memory must: 0. */
static int disown(module_state *state, Session *session)
{
    PyObject *connection = session->connection;
    int free = !can_claim || claim(session, DISOWNING_WAIT_SECONDS);
    session_visit visit;

    session_withdraw_header(session);
    if (free) {
        if (can_claim) {
            unclaim(session);
        }
        visit = session_enter_slowly(); /* somebody may have gone inside again */
        if (!session->foreign) {
            remember_disowned(&session->db);
        }
        dc_db_detach(&session->db);
        session_leave_slowly(visit);
    }
    if (is_ours_alone(session)) { /* it has been given up meanwhile */
        session_connecting_enter();
        connection_close(state, connection);
        session_connecting_leave();
    }
    session->connection = NULL;
    Py_DECREF(connection);
    return free;
}

/* --- the pool --------------------------------------------------------------------------------- */

static void pool_insert(SessionPool *pool, Session *session)
{
    if (session->serial == 0) {
        session->serial = ++pool->serial;
        session->generation = generation;
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

void session_expose(Session *session)
{
    session_withdraw_header(session);
    session->thread = PyThread_get_thread_ident();
    session->db.budget.exposed = 1;
    if (!session->exposed) {
        if (!session->foreign) {
            dc_checkpoint_after_foreign_commits(&session->db);
        }
        session->exposed = 1;
        session->previous_exposed = NULL;
        session->next_exposed = exposed_sessions;
        if (exposed_sessions != NULL) {
            exposed_sessions->previous_exposed = session;
        }
        exposed_sessions = session;
    }
}

static void unlink_exposed(Session *session)
{
    if (session->exposed) {
        session->exposed = 0;
        if (session->next_exposed != NULL) {
            session->next_exposed->previous_exposed = session->previous_exposed;
        }
        if (session->previous_exposed != NULL) {
            session->previous_exposed->next_exposed = session->next_exposed;
        } else {
            exposed_sessions = session->next_exposed;
        }
    }
}

/* Whether others have the Connection, and have not closed it. */
static int is_shared(module_state *state, const Session *session)
{
    return session->foreign ||
           (session->exposed && !is_ours_alone(session) && session_is_open(state, session));
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
    session_connecting_enter();
    closes = !is_shared(state, session) ||
             (shared_too && !session->foreign && !is_at_work(state, session));
    unlink_exposed(session);
    if (closes) {
        close_session(state, session);
    }
    session_connecting_leave();
    if (!closes) {
        gone = disown(state, session);
    }
    pool_remove(pool, session);
    pool->pinned -= session->pinned;
    if (gone) {
        PyMem_Free(session);
    }
    compat_exception_put(current);
}

void session_discard(module_state *state, SessionPool *pool, Session *session)
{
    discard(state, pool, session, 0);
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

static int is_closable_own(const SessionPool *pool, const Session *session)
{
    (void)pool;
    return session->uses == 0 && session->pinned && session->thread == PyThread_get_thread_ident();
}

static int is_spoilt(const SessionPool *pool, const Session *session)
{
    return session->spoilt && is_closable(pool, session);
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

/* Whether an idle session can be used. An exposed one can when the library alone has its Connection, with
 * nothing under way there: then it is no longer exposed. */
static int is_usable(Session *session)
{
    if (session->exposed && is_ours_alone(session) && !session->spoilt) {
        session->uses++; /* what is asked may call back, and that close the cache */
        session->spoilt = dc_db_in_transaction(&session->db) ||
                          dc_db_has_open_statement(&session->db);
        if (!session->spoilt) {
            unlink_exposed(session);
            session->db.budget.exposed = 0;
            dc_db_take_back(&session->db);
            session_examine(session); /* its pragmas may be others now */
        }
        session->uses--;
    }
    return !session->exposed && !session->spoilt;
}

Session *session_idle(SessionPool *pool)
{
    Session *session = pool->sessions;

    while (session != NULL && !(is_idle(pool, session) && is_usable(session))) {
        session = session->next;
    }
    return session;
}

Session *session_spare(SessionPool *pool)
{
    Session *first = session_idle(pool);
    Session *spare = NULL;

    for (Session *each = first; each != NULL; each = each->next) {
        spare = each != first && is_idle(pool, each) && is_usable(each) ? each : spare;
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

    while (session != NULL && (session->connection != connection || session->closing)) {
        session = session->next;
    }
    return session;
}

/* Make a session around somebody's Connection, unless another thread has just done it; as session_around. */
static int adopt_attempt(module_state *state, SessionPool *pool, PyObject *connection,
                         Session **session)
{
    int made = 1;

    session_connecting_enter();
    *session = find_adopted(pool, connection);
    if (*session == NULL) {
        made = session_around(state, connection, NULL, session);
        if (made == 1) {
            (*session)->foreign = 1;
            (*session)->epoch = pool->epoch;
            pool_insert(pool, *session);
            session_expose(*session);
        }
    }
    session_connecting_leave();
    return made;
}

Session *session_adopt(module_state *state, SessionPool *pool, PyObject *connection, double timeout)
{
    Session *session = find_adopted(pool, connection);
    Session *former;
    session_wait wait;
    int again = 1;
    int claimed;
    int made;

    if (session != NULL && (session->uses > 0 || session_is_open(state, session))) {
        return session;
    }
    if (session != NULL) {
        session_discard(state, pool, session);
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
    /* Its log is not copied by us (checkpointer.c): give SQLite's automatic checkpoint back, which
     * attaching has taken. What goes wrong comes back from the first operation. */
    claimed = claim(session, HUGE_VAL);
    dc_db_execute(&session->db, "PRAGMA wal_autocheckpoint = 1000");
    session_examine(session);
    if (claimed) {
        unclaim(session);
    }
    session_pin(pool, session);
    session->uses--;
    return session;
}

void session_busy_timeout(Session *session, double seconds)
{
    int claimed = session->exposed && claim(session, HUGE_VAL);

    dc_db_busy_timeout(&session->db, seconds);
    if (claimed) {
        unclaim(session);
    }
}

int session_is_midway(Session *session)
{
    int claimed = session->exposed && claim(session, HUGE_VAL);
    int midway = dc_db_has_open_statement(&session->db);

    if (claimed) {
        unclaim(session);
    }
    return midway;
}

int session_blocks_own_thread(SessionPool *pool, int commits)
{
    unsigned long thread = PyThread_get_thread_ident();
    int blocks = 0;

    for (Session *each = pool->sessions; each != NULL && !blocks; each = each->next) {
        if (each->exposed && !each->pinned && each->uses == 0 && each->thread == thread &&
            try_claim(each)) {
            blocks = dc_db_has_write_lock(&each->db) ||
                     (commits && each->relocks && dc_db_has_open_statement(&each->db));
            unclaim(each);
        }
    }
    return blocks;
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

void session_unpin(SessionPool *pool, Session *session)
{
    pool->pinned -= session->pinned;
    session->pinned = 0;
}

/* Discard the sessions that `chosen` picks. That calls Python, which may come back to this pool, so the
 * search starts afresh each time. */
static void discard_chosen(module_state *state, SessionPool *pool,
                           int (*chosen)(const SessionPool *, const Session *))
{
    Session *session;

    while ((session = find(pool, chosen)) != NULL) {
        discard(state, pool, session, chosen == is_closable_own);
    }
}

/* SQLite opens a file read-only where it cannot be opened for writing. If that was for a moment only, for
 * want of a descriptor say, nobody could write with the session ever. */
static dc_status refuse_wrongly_readonly(Session *session, PyObject *path)
{
    dc_status status = DC_OK;

#ifdef _WIN32
    (void)session;
    (void)path;
#else
    PyObject *bytes;

    if (sqlite.db_readonly(session->db.handle, "main") != 1) {
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
    dc_status status = refuse_wrongly_readonly(session, path);
    session_visit visit;

    if (status != DC_OK) {
        return status;
    }
    session_connecting_enter();
    visit = session_enter_slowly();
    status = set_stored_pragmas(&session->db, kept, &session->bare);
    session_leave_slowly(visit);
    session_connecting_leave();
    return status;
}

/* Say once for each cache that its journal is not the one that is stored. */
static void warn_of_journal(SessionPool *pool, PyObject *path)
{
    if (!pool->warned) {
        pool->warned = 1;
        log_warning(
            "%U: the stored sqlite_journal_mode cannot be set while others have the file open: "
            "it keeps the mode that it has",
            path);
    }
}

static void find_out_whether_mutexes_can_be_tried(Session *session)
{
    if (!can_claim && sqlite.mutex_try(sqlite.db_mutex(session->db.handle)) == DC_SQLITE_OK) {
        can_claim = 1;
        unclaim(session);
    }
}

/* Open a Connection, and put a session around it into the pool, in use; as session_around. A child forked from
 * here on must find the connection in the pool. */
static int open_attempt(module_state *state, SessionPool *pool, PyObject *path, double timeout,
                        Session **session)
{
    PyObject *connection;
    sqlite3 *handle;
    int made = -1;
    int turn = take_turn(fmax(timeout, CONNECTING_WAIT_SECONDS), 1);

    if (turn == 0) {
        PyErr_SetNone(state->Timeout);
    }
    if (turn <= 0) {
        return -1;
    }
    connection = connection_open(state, path, &handle);
    if (connection != NULL) {
        made = session_around(state, connection, handle, session);
        if (made == 1) {
            (*session)->uses = 1;
            pool_insert(pool, *session);
            find_out_whether_mutexes_can_be_tried(*session);
        } else {
            connection_close(state, connection);
        }
        Py_DECREF(connection);
        if (made == 1) {
            (*session)->references = Py_REFCNT(connection);
        }
    }
    session_connecting_leave();
    return made;
}

Session *session_open(module_state *state, SessionPool *pool, PyObject *path, double timeout,
                      unsigned long epoch)
{
    Session *session = NULL;
    session_wait wait;
    dc_status status;
    int again = 1;
    int kept = 0;
    int made;

    discard_chosen(state, pool, is_spoilt);
    session_wait_start(&wait, timeout, 0);
    while ((made = open_attempt(state, pool, path, timeout, &session)) == 0 &&
           (again = session_wait_more(&wait)) > 0) {
    }
    if (made == 0 && again == 0) {
        PyErr_SetNone(state->Timeout);
    }
    if (made != 1) {
        return NULL;
    }
    session->epoch = epoch;
    do {
        status = prepare_session(session, path, &kept);
    } while (status == DC_BUSY && (again = session_wait_more(&wait)) > 0);
    if (status == DC_BUSY && again == 0) {
        PyErr_SetNone(state->Timeout);
    } else if (status != DC_OK && again > 0) {
        convert_raise(state, status, &session->db.error);
    }
    if (status == DC_OK) {
        session_examine(session);
    }
    if (status == DC_OK && kept) {
        warn_of_journal(pool, path);
    }
    session->uses = 0;
    if (status != DC_OK) {
        session_discard(state, pool, session);
        return NULL;
    }
    return session;
}

void session_close_idle(module_state *state, SessionPool *pool, int pinned_too)
{
    discard_chosen(state, pool, is_closable);
    if (pinned_too) {
        discard_chosen(state, pool, is_closable_own);
    }
}

void session_discard_all(module_state *state, SessionPool *pool)
{
    discard_chosen(state, pool, is_any);
}

/* In a forked child: whether nobody was inside SQLite with a session, so that its mutex can be taken. */
static int was_quiet(const Session *session)
{
    return session->uses == 0 && !dc_db_in_transaction(&session->db) &&
           (!session->exposed || (session->quiet && (session->foreign || !session->midway)));
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
        if (!was_quiet(each)) {
            dc_db_abandon(&each->db);
        }
        unlink_exposed(each);
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
