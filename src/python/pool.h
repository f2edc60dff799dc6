/* pool.h: the sessions of one Cache.
 *
 * An operation takes an idle session and puts it back. So a cache needs as many sessions as operations overlap: under
 * the GIL one or two, however many threads there are. A session is idle; in use, by an operation or an open
 * transaction; or pinned to the thread that has touched `_con`, whose operations then use it. An exposed session that
 * is out of use (session.h) is idle again when the library alone has its Connection.
 *
 * The GIL guards the pool.
 *
 * Fork. A session stands in its pool from before a fork can copy its connection until after that is closed, so a child
 * knows of every connection that it has inherited. Before the child opens its first one, all pools of the process
 * let go of what they hold (cache/registry.h): idle sessions are closed without a checkpoint. The others are abandoned
 * (dc_db_abandon), and their connections never closed, since that would roll the parent's work back in memory that both
 * share. So are exposed ones, since another thread may have been inside SQLite with them. Excepted are external ones,
 * those whose Connection only the library has, and those of the thread that forked with nothing under way.
 */
#ifndef DC_PYTHON_POOL_H
#define DC_PYTHON_POOL_H

#include "python/guard.h"
#include "python/session.h"

typedef struct SessionPool {
    Session *sessions;                     /* all of them, most recently used first */
    GUARD_PEEKED int pinned;               /* how many of them are */
    unsigned long serial;                  /* of the session opened last */
    GUARD_PEEKED unsigned long generation; /* of the process that filled it */
    unsigned long epoch; /* changes with the directory: sessions of another one are not used */
    int syncs_commits;   /* as of the session that was examined last: synchronous is FULL or more */
    int warned;          /* that the journal is not the stored one */
} SessionPool;

/* --- finding one; NULL without an exception --- */

/* An idle session. */
Session *pool_find_idle(SessionPool *pool);
/* An idle session that is not the only one. */
Session *pool_find_spare(SessionPool *pool);
/* The session pinned to this thread. */
Session *pool_find_pinned(SessionPool *pool);
Session *pool_find_serial(const SessionPool *pool, unsigned long serial);

/* --- adding one; NULL with Timeout or another exception --- */

/* Open a session on the file `path`, waiting up to `timeout` seconds for locks. `query`: how to open it for reading
 * only, as parameters of SQLite's URIs; NULL: not so. `epoch`: the pool's when the path was looked up. */
Session *pool_open(module_state *state, SessionPool *pool, PyObject *path, const char *query,
                   double timeout, unsigned long epoch);
/* The session around the Connection that an overridden `_con` returned, pinned to the thread that adopted it first; it
 * waits as pool_open does. RuntimeError if the Connection is on another copy of SQLite. */
Session *pool_adopt(module_state *state, SessionPool *pool, PyObject *connection, double timeout);

/* --- using one --- */

/* Find out what the pragmas of a session are now. */
void pool_examine(SessionPool *pool, Session *session);

/* End what session_use has begun: the session becomes the first that is taken. (session_put_back leaves it where it
 * is.) */
void pool_put_first(SessionPool *pool, Session *session);
void pool_pin(SessionPool *pool, Session *session);
void pool_unpin(SessionPool *pool, Session *session);
/* Whether this thread blocks itself, by a Connection that it has kept: that has the write lock. `commits`: or a
 * statement that reads, which blocks a COMMIT to a rollback journal. */
int pool_blocks_own_thread(SessionPool *pool, int commits);

/* --- removing --- */

/* End a session that is not in use: close it, or disown its Connection if others have that. */
void pool_discard(module_state *state, SessionPool *pool, Session *session);
/* Discard the idle sessions and, with `pinned_too`, close the one pinned to this thread: it is disowned only if it is
 * external, or at work further up the stack. Those pinned to other threads and those in use stay. */
void pool_discard_idle(module_state *state, SessionPool *pool, int pinned_too);
/* Discard every session: the cache is going away and no operation is under way. */
void pool_discard_all(module_state *state, SessionPool *pool);
/* In a forked child: let go of what was inherited. Afterwards the pool is empty. */
void pool_after_fork(module_state *state, SessionPool *pool);

#endif
