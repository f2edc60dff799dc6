/* checkpointer.h: when the log of a cache is checkpointed, and in which thread.
 *
 * A checkpoint syncs, which takes a thousand times as long as a commit. So when the log has grown to
 * DC_CHECKPOINT_BYTES, a thread that knows nothing of Python does it, while this and other processes read and commit.
 *
 * SQLite resets the log only in a commit that finds all of it copied. Where commits follow each other without a pause,
 * each checkpoint ends with new frames, and the log would grow for as long as that lasts. So from some size on, writes
 * of this cache pause for one checkpoint. The write that found the log so long waits at its end; others wait at their
 * beginning, as for any lock, within their timeout. Other processes of this library do the same. A process of the
 * original checkpoints after its own commit, and does not commit meanwhile. So the log is reset soon, and each process
 * has delayed only itself.
 *
 * This fails if somebody goes on writing nevertheless, or reads for long. The next pauses come 0.4, 0.8, 1.6 MB later
 * and so on, or soon if all was copied and only a read was in the way. On a slow disk it begins later.
 *
 * A Checkpointer belongs to one Cache, and the GIL guards it. The thread uses one session of the pool, which is in use
 * meanwhile. Once the thread has set `state` to CHECKPOINTER_IDLE it does not touch the Checkpointer or the session
 * any more, and the holder of the GIL puts the session back. A forked child has no such thread; the session is in use
 * there, and is abandoned.
 */
#ifndef DC_CACHE_CHECKPOINTER_H
#define DC_CACHE_CHECKPOINTER_H

#include "cache/object.h"

/* A checkpoint normally holds the write lock for microseconds. A write waits so many seconds for that of its own
 * process, even beyond its timeout. */
#define CHECKPOINT_GRACE_SECONDS 0.1

/* Call after a commit. `wal_bytes`: bytes of pages in the log. What goes wrong is tried again after a later commit. -1
 * with an exception only if one came out of a signal handler. */
int checkpoint_if_due(Cache *self, int64_t wal_bytes);
/* Whether writes of this cache are to wait for its own checkpoint. */
int checkpoint_pauses(const Cache *self);
/* How often a checkpoint of this cache has taken the write lock, plus how often it has released it: odd while it has
 * it. */
unsigned int checkpoint_lock_turns(const Cache *self);
/* What checkpoints of this cache have come to, but for one that is under way. */
dc_checkpoint_sums checkpoint_sums(const Cache *self);
/* Wait for the thread, if there is one, and give its session back. */
void checkpoint_finish(Cache *self);

#endif
