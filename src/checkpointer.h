/* checkpointer.h: when the log of a cache is copied into the database, and by whom.
 *
 * A checkpoint syncs to disk, which takes a thousand times as long as a commit. So when the log has
 * grown to CHECKPOINT_BYTES, a thread that knows nothing of Python copies it, while this and other
 * processes go on reading and committing. SQLite begins the log anew when all of it is copied at the
 * moment of a commit; under constant load that moment would never come, because there are new frames
 * whenever a copy is finished. So before the log reaches twice its limit the operation that finds that
 * takes the write lock, and copies the rest, which is little by then.
 *
 * A Checkpointer belongs to one Cache, and the GIL guards it. The thread uses one session of the pool,
 * which is in use meanwhile; when it has written `done` it has nothing more to do with either, and
 * then the GIL's holder puts the session back. In a forked child there is no such thread, and the session is one in use: it is
 * abandoned.
 */
#ifndef DC_CHECKPOINTER_H
#define DC_CHECKPOINTER_H

#include "state.h" /* first: it includes Python.h */

#include "session.h"

#ifndef _WIN32
#include <stdatomic.h>
#endif

/* Bytes of pages in the log from which it is copied: SQLite's own default, 1000 pages of 4096. */
#define CHECKPOINT_BYTES INT64_C(4096000)

typedef struct Checkpointer {
    int64_t next_at;     /* bytes in the log from which to copy next */
    int64_t catch_up_at; /* and from which commits are kept out meanwhile */
    Session *session;    /* that the thread uses, or has used; NULL: there was none since */
#ifndef _WIN32
    atomic_int done;
#endif
    double patience; /* seconds that keeping commits out may take */
} Checkpointer;

typedef struct Cache Cache;

/* After a commit that left so many bytes in the log, without the frames' headers. It is only housekeeping: what goes wrong is tried
 * again after a later commit. -1 with an exception only if one came out of a signal handler. */
int checkpoint_if_due(Cache *self, int64_t wal_bytes);
/* Wait for the thread, if there is one, and give its session back. */
void checkpoint_finish(Cache *self);
/* In a forked child: the thread is the parent's. */
void checkpoint_forget(Cache *self);

#endif
