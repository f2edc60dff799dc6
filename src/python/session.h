/* session.h: a session is a sqlite3.Connection, the handle behind it, and the handle's prepared statements (db.h).
 *
 * A session joins its pool (pool.h) before a fork could copy its connection, and leaves it after the connection is
 * closed.
 *
 * A session is exposed as long as somebody else may have its Connection: it is pinned to a thread that has used
 * `_con`, or was used in a block of `_transact()`. While its user has the Connection it is not closed, but
 * disowned: our statements and hooks are removed, and it becomes an ordinary Connection. Only close() closes
 * the one that is pinned to its own thread, as the original does.
 *
 * A session is external if `_con` is overridden: that made the Connection and closes it, not this library.
 *
 * Locks. The GIL, or the guard of the Cache (guard.h), guards every field here, but for mean_seconds, which is of the
 * thread that uses the session. Below it are the fork gate and, for an exposed session, SQLite's mutex. A thread that
 * has released the GIL takes the gate, then the mutex. A thread that holds the GIL takes the mutex first and never
 * blocks in it (sqlite_mutex.h): its owner may be inside SQLite without the GIL, and need the GIL there for a callback.
 */
#ifndef DC_PYTHON_SESSION_H
#define DC_PYTHON_SESSION_H

#include "python/state.h" /* first: it includes Python.h */

#include "engine/db.h"
#include "python/readers.h"
#include "python/slow_mean.h"

/* What tells a file from others that have had its name; zeros: it is not known. */
typedef struct file_identity {
    unsigned long long device, inode;
} file_identity;

typedef struct Session {
    dc_db db;
    PyObject *connection;     /* strong; NULL only while it is being closed */
    Py_ssize_t references;    /* to the Connection when it was opened */
    unsigned long serial;     /* its number in the pool, never used again */
    unsigned long epoch;      /* of the pool when it was opened */
    unsigned long generation; /* of the process that opened it */
    const PyInterpreterState *interpreter;
    PyObject *cursor_class; /* of that interpreter's sqlite3; borrowed */
    int uses;               /* operations and transactions that are using it */
    file_identity file;     /* that it was opened on, if whoever opened it has asked */
    int lacks_settings; /* the file had no table of settings when it was opened; not checked since */
    int pinned;
    unsigned long thread; /* to which it is pinned, or exposed */
    int must_close;       /* it is not to be used again */
    int closing;          /* being closed */
    int exposed;
    int external;
    int syncs_commits;      /* synchronous is FULL or more */
    int releases_gil;       /* may wait for the disk: not WAL, or synchronous is FULL or more */
    int rollback_journal;   /* each transaction takes its first lock anew: not WAL */
    unsigned int sections;  /* entered so far */
    slow_mean mean_seconds; /* of a section; see slow_mean.h */
    dc_wal_header header;   /* of its handle (wal_header.h), or NULL */
    int header_known;       /* whether the header has been looked for */
    dc_wal_header *lent;    /* where the memory tier keeps the header, or NULL */
    readers_lock *readers;  /* of that */
    struct Session *next;   /* in the pool */
    struct Session *next_exposed; /* of all pools */
    int held;                     /* by the thread that forks: its mutex */
    int quiet;                    /* at the latest fork: nobody was inside SQLite with it */
    int open_statement;           /* and a statement was under way */
} Session;

/* Register what a fork does with exposed sessions, once per process. -1 with an exception. */
int session_init(void);

/* Make a session around a Connection. `handle`: the one behind it, or NULL to ask the Connection. Its pragmas are
 * not set yet. 1; 0 if a lock was in the way and it may be tried again; -1 with an exception: RuntimeError if it is
 * on another copy of SQLite. */
int session_attach(module_state *state, PyObject *connection, sqlite3 *handle, Session **session);

/* Between these two calls no other operation uses the session, unless it is external, and it is not closed. */
void session_use(Session *session);
void session_put_back(Session *session);

/* Look again at the pragmas that decide whether the GIL is released. Call after a pragma was set. */
void session_examine(Session *session);

/* Mark that a user may have its Connection; or that no user can any more. */
void session_expose(Session *session);
void session_unexpose(Session *session);
/* Whether the library alone has the Connection. */
int session_is_private(const Session *session);

/* The header of the wal-index, for a session that has read. NULL where it cannot be used, and for an exposed
 * session: a PRAGMA of its user could unmap it. */
dc_wal_header session_header(Session *session);
/* Take the header back from the memory tier: the handle is about to be closed, or given to a user. */
void session_withdraw_header(Session *session);

/* --- inside SQLite --- */

/* Between session_enter and session_leave a thread is inside SQLite, and does not touch Python. The GIL is released
 * if the session's sections are slow. */
typedef struct engine_section {
    PyThreadState *released;
    double entered; /* 0: it is not timed */
    int rollback_journal;
    int has_mutex; /* the session's mutex is taken */
    unsigned long generation;
} engine_section;

engine_section session_enter(Session *session);
/* The same for what is known to take long: the GIL is released, unless the session is external. */
engine_section session_enter_releasing_gil(Session *session);
void session_leave(Session *session, engine_section section);

/* Take SQLite's mutex, if the session is exposed: its user then is not inside SQLite with it. What it returns is for
 * session_leave_mutex. */
int session_take_mutex(Session *session);
void session_leave_mutex(Session *session, int has_mutex);

/* How long SQLite itself waits for locks. */
void session_busy_timeout(Session *session, double seconds);
/* Whether a statement, of anyone's, has been stepped and not reset; whether a transaction is open. Neither waits in
 * SQLite's mutex with the GIL: an open transaction is asked for under it from SQLite 3.53 on. */
int session_has_open_statement(Session *session);
int session_in_transaction(Session *session);

#endif
