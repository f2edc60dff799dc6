/* session.h: sessions, the pool they live in, and what a fork does to them.
 *
 * A Session is a sqlite3.Connection, the handle behind it and the handle's prepared statements
 * (db.h). A pool belongs to one Cache. An operation takes an idle session and puts it back, so a
 * cache needs as many sessions as operations overlap, which under the GIL is one or two, however many
 * threads there are.
 *
 * A session is idle, in use (by an operation or an open transaction), or pinned: then it belongs to
 * one thread, because that thread has touched `_con`, and its operations use it.
 *
 * A session is exposed as long as somebody else may have its Connection: it is pinned, or was used in a
 * block of `_transact()`. Such a Connection is never closed behind the back of who has it, but disowned:
 * our statements and hooks are taken off, and it lives on as one of sqlite3.connect(). Only close() closes
 * the one pinned to its own thread, as the original does. Out of use, an exposed session is idle again
 * when the library alone has its Connection.
 *
 * Locks, in the order in which they are taken: the GIL, then SQLite's mutex of an exposed session, then
 * the fork gate. The GIL guards the pool: importing this module turns it on in a free-threaded interpreter.
 * The fork gate is held (shared) exactly while a thread is inside SQLite, so that a fork never copies a
 * half-done operation. Who has an exposed Connection may be inside SQLite with it without the GIL, and
 * need the GIL there for a callback: so nobody waits for that mutex with the GIL.
 *
 * Opening and closing go through Python's sqlite3, which releases the GIL inside SQLite; the gate
 * cannot be held there, because whoever forks waits for it with the GIL. Those visits are counted
 * instead, and a handler that os.fork() runs before it forks waits until there are none
 * (session_before_fork). One thread at a time does so; session.c, "Closing", has the reason.
 *
 * Fork. A session stands in its pool from before its connection can be seen by a fork until after it is
 * closed, so a child knows of every connection that it has inherited. Before it opens its first one,
 * all pools of the process notice the new generation (operation.c): idle sessions are closed without
 * a checkpoint, all others are abandoned (dc_db_abandon) and their connections never closed, since
 * that would roll the parent's work back in memory that both share. Exposed ones too are abandoned, since
 * another thread may have been inside SQLite with them, unless they belong to the thread that forked and
 * nothing was under way there.
 */
#ifndef DC_PYTHON_SESSION_H
#define DC_PYTHON_SESSION_H

#include "python/state.h" /* first: it includes Python.h */

#include "engine/db.h"

typedef struct Session {
    dc_db db;
    PyObject *connection;     /* strong; NULL only while it is being closed */
    Py_ssize_t references;    /* to the Connection when it was opened */
    unsigned long serial;     /* its number in the pool, never used again */
    unsigned long epoch;      /* of the pool when it was opened */
    unsigned long generation; /* of the process that opened it */
    int uses;                 /* operations and transactions that are using it */
    int bare;                 /* it was opened on a file without settings, and nobody has looked */
    int pinned;
    unsigned long thread; /* to which it is pinned, or exposed */
    int spoilt;           /* to be closed rather than used again */
    int closing;          /* being closed */
    int exposed;          /* others may have the Connection */
    int foreign;      /* the connection was made by an overridden `_con`; closing is its affair */
    int releases_gil; /* may wait for the disk: not WAL, or synchronous is FULL or more */
    int relocks;      /* each transaction takes its first lock anew: not WAL */
    unsigned int visits;  /* times a thread was inside SQLite with it */
    double mean_seconds;  /* running estimate of how long that takes */
    dc_wal_header header; /* of its handle (wal_header.h), or NULL */
    int header_known;     /* whether the header has been looked for */
    dc_wal_header *lent;  /* where the hot tier keeps the header, or NULL */
    struct Session *next; /* in the pool */
    struct Session *next_exposed, *previous_exposed; /* of all pools */
    int held;                                        /* at a fork: its mutex is */
    int quiet;  /* at the latest fork: nobody was inside SQLite with it */
    int midway; /* and a statement was under way */
} Session;

typedef struct SessionPool {
    Session *sessions;        /* all of them, most recently used first */
    int pinned;               /* how many of them are */
    unsigned long serial;     /* of the session opened last */
    unsigned long generation; /* of the process that filled it */
    unsigned long epoch;      /* changes with the directory: sessions of another one are not used */
    int warned;               /* that the journal is not the stored one */
} SessionPool;

/* An idle session, or NULL (without an exception). */
Session *session_idle(SessionPool *pool);
/* One that can be taken for long: another idle session is left. Or NULL. */
Session *session_spare(SessionPool *pool);
/* The session pinned to this thread, or NULL. */
Session *session_pinned(SessionPool *pool);
/* Open a session on the file `path`, waiting up to `timeout` seconds for locks. NULL with Timeout or
 * another exception. `epoch`: the pool's when the path was looked up. */
Session *session_open(module_state *state, SessionPool *pool, PyObject *path, double timeout,
                      unsigned long epoch);
/* The session, pinned to this thread, around a Connection that an overridden `_con` returned, waiting as
 * session_open does. NULL with an exception: RuntimeError if it is on another copy of SQLite. */
Session *session_adopt(module_state *state, SessionPool *pool, PyObject *connection,
                       double timeout);

/* Between these two nobody else takes it, and nothing closes it. */
void session_use(Session *session);
/* From now on it is the first in the pool that is taken; or it stays where it is. */
void session_release(SessionPool *pool, Session *session);
void session_put_back(Session *session);

void session_pin(SessionPool *pool, Session *session);
void session_unpin(SessionPool *pool, Session *session);
/* From now on others may have its Connection. */
void session_expose(Session *session);
/* End one that is not in use: close it, or disown its Connection if others have that. */
void session_discard(module_state *state, SessionPool *pool, Session *session);
/* -1 with sqlite3.ProgrammingError if whoever has the Connection of a session has closed it. */
int session_check_open(module_state *state, const Session *session);
/* The same, without the exception. */
int session_is_open(module_state *state, const Session *session);

/* How long SQLite itself waits for locks. */
void session_busy_timeout(Session *session, double seconds);
/* Whether a statement, of anyone's, has been stepped and not reset. */
int session_is_midway(Session *session);
/* Whether this thread itself has what it waits for, through a Connection that it has kept: the write lock, or
 * for a COMMIT without a log a statement that reads. */
int session_blocks_own_thread(SessionPool *pool, int commits);

/* Read again what decides about the GIL; after a pragma was set. */
void session_examine(Session *session);

/* Discard the idle sessions and, with `pinned_too`, close the one pinned to this thread: it is disowned only
 * if it is at work further up the stack. Those pinned to other threads and those in use stay. */
void session_close_idle(module_state *state, SessionPool *pool, int pinned_too);
/* Discard every session: the cache is going away and no operation is under way. */
void session_discard_all(module_state *state, SessionPool *pool);

/* The number of forks between this process and the first one. */
unsigned long session_generation(void);
/* In a forked child: drop what was inherited. Afterwards the pool is empty. */
void session_after_fork(module_state *state, SessionPool *pool);
/* The same for connections that have been disowned: this process does not hold their locks. */
void session_forget_disowned(void);

/* The header of the wal-index, for a session that has read; NULL where it will not do, and for a
 * session whose Connection a user has in hands: a PRAGMA of his could unmap it. */
dc_wal_header session_header(Session *session);
/* Take the header back from whoever has it: the handle is going away, or into a user's hands. */
void session_withdraw_header(Session *session);

/* --- inside SQLite --- */

/* Between session_enter and session_leave a thread is inside SQLite, and does not touch Python. The
 * GIL is released if the session's operations are slow; returns what session_leave needs. */
typedef struct session_visit {
    PyThreadState *released;
    double entered; /* 0 if the visit is not timed */
    int relocks;
    int claimed; /* the session's mutex is taken */
    unsigned long generation;
} session_visit;

session_visit session_enter(Session *session);
void session_leave(Session *session, session_visit visit);
/* The same for what is known to take long, whatever operations of the session take else: the GIL is
 * released, unless the session is foreign. To be ended with session_leave. */
session_visit session_enter_lengthy(Session *session);
/* The same without a session's say, for a checkpoint. */
session_visit session_enter_slowly(void);
void session_leave_slowly(session_visit visit);

/* The same for a thread that Python knows nothing of. */
void session_enter_natively(void);
void session_leave_natively(void);

/* --- waiting --- */

/* Sleep a moment with the GIL released. */
void session_pause(void);
/* Let another thread or process have this processor, if one waits for it. */
void session_yield_processor(void);

/* Waiting for a lock: bursts of attempts, and between them short growing sleeps with the GIL released. */
typedef struct session_wait {
    double began;
    double burst;    /* when the latest one began */
    double deadline; /* on the monotonic clock */
    double delay;    /* of the next sleep, seconds */
    int forever;     /* retry=True */
} session_wait;

void session_wait_start(session_wait *wait, double timeout, int forever);
/* Sleep a little, unless the burst goes on. 1: try again; 0: the time is over; -1: a signal handler
 * raised. */
int session_wait_more(session_wait *wait);
/* The same while this cache's writes pause for the copying of the log. At first with the GIL: otherwise all
 * threads that write would lose it, and have to wait for it again. */
int session_wait_for_copying(session_wait *wait);

double session_clock(void);         /* monotonic, seconds */
void session_sleep(double seconds); /* with the GIL, if the thread has it */

/* Between these two no other thread opens or closes a connection. */
void session_connecting_enter(void);
void session_connecting_leave(void);

/* To be called before and after each os.fork(), in both processes: no thread is opening or closing a
 * connection meanwhile. */
void session_before_fork(void);
void session_fork_is_over(void);

/* Register the fork handlers, once per process. -1 with an exception. */
int session_module_init(void);

#endif
