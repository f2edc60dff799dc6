/* checkpointer.h: when the log of a cache is copied into the database, and by whom.
 *
 * A checkpoint syncs to disk, which takes a thousand times as long as a commit. So when the log has
 * grown to CHECKPOINT_BYTES, a thread that knows nothing of Python copies it, while this and other
 * processes go on reading and committing. SQLite begins the log anew when all of it is copied at the
 * moment of a commit; under constant load that moment would never come, because there are new frames
 * whenever a copy is finished. So before the log reaches twice its limit the operation that finds that
 * takes the write lock, and another thread copies the rest, which is little by then, and gives the lock
 * back. What this process writes meanwhile waits, for a moment without giving up the GIL: as all of its
 * threads would have to wait, and each of them for the GIL once more.
 *
 * A Checkpointer belongs to one Cache, and the GIL guards it. A thread uses one session of the pool,
 * which is in use meanwhile; when it has written `done` it has nothing more to do with either, and then
 * the GIL's holder puts the session back. In a forked child there are no such threads, and their sessions
 * are ones in use: they are abandoned.
 */
#ifndef DC_CHECKPOINTER_H
#define DC_CHECKPOINTER_H

#include "state.h" /* first: it includes Python.h */

#include "checkpoint.h"
#include "session.h"

#include <stdatomic.h>

/* Bytes of pages in the log from which it is copied: SQLite's own default, 1000 pages of 4096. */
#define CHECKPOINT_BYTES INT64_C(4096000)

/* A thread that copies. */
typedef struct Copying {
    Session *session; /* that it uses, or has used; NULL: there was none since */
    int opening;      /* one is being opened */
    int alone;        /* it has the write lock */
    int keeping;      /* for dc_checkpoint_kept_out */
    double patience;  /* seconds for which it waits: for the lock; for reads, if it has the lock */
    dc_checkpoint_result result;
    atomic_int keeps_out; /* beside commits: as dc_checkpoint has it */
    atomic_int done;
} Copying;

typedef struct Checkpointer {
    int64_t next_at;     /* bytes in the log from which to copy next */
    int64_t catch_up_at; /* and from which commits are kept out meanwhile */
    double patience;     /* seconds that keeping commits out may take */
    Copying beside;      /* commits */
    Copying alone;
} Checkpointer;

typedef struct Cache Cache;

/* After a commit that left so many bytes in the log, without the frames' headers. It is only housekeeping: what goes wrong is tried
 * again after a later commit. -1 with an exception only if one came out of a signal handler. */
int checkpoint_if_due(Cache *self, int64_t wal_bytes);
/* Whether this process keeps commits out, in order to copy. */
int checkpoint_keeps_out(const Cache *self);
/* Wait for the threads, if there are any, and give their sessions back. */
void checkpoint_finish(Cache *self);
/* In a forked child: the threads are the parent's. */
void checkpoint_forget(Cache *self);

#endif
