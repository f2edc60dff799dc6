/* checkpointer.h: when the log of a cache is copied into the database, and by whom.
 *
 * A checkpoint syncs to disk, which takes a thousand times as long as a commit. So when the log has grown
 * to DC_CHECKPOINT_BYTES, a thread that knows nothing of Python copies it, while this and other processes go
 * on reading and committing.
 *
 * SQLite begins the log anew only with a commit that finds all of it copied. Where commits come without a
 * pause there are new frames whenever a copy is finished, so the log would grow as long as that lasts. So
 * from some size on the writes of this cache pause for the time of one copy: the one that finds the log so
 * long waits at its end, the others at their beginning, as for any lock, for as long as their timeout.
 * Other processes of this library do the same when they see how long the log is; one of the original copies
 * after its own commit, without committing meanwhile. So the log begins anew soon, and nobody has kept
 * anybody from writing but himself.
 *
 * If somebody goes on writing nevertheless, or reads for long, that fails, and is tried again later, each
 * time when the log has grown by twice as much; but soon where all was copied, and somebody just read. On a slow disk it begins later.
 *
 * A Checkpointer belongs to one Cache, and the GIL guards it. The thread uses one session of the pool, which
 * is in use meanwhile. When it has set `state` to CHECKPOINTER_IDLE it has nothing more to do with the
 * Checkpointer nor with the session, and the GIL's holder puts that back. In a forked child there is no such
 * thread, and its session is one in use: it is abandoned.
 */
#ifndef DC_CACHE_CHECKPOINTER_H
#define DC_CACHE_CHECKPOINTER_H

#include "cache/object.h"

/* Seconds for which a write may wait for its own process to begin copying, whatever its timeout: that takes
 * microseconds, unless the system takes the processor away meanwhile. */
#define CHECKPOINT_GRACE_SECONDS 0.1

/* After a commit that left so many bytes in the log, without the frames' headers. It is only housekeeping:
 * what goes wrong is tried again after a later commit. -1 with an exception only if one came out of a signal
 * handler. */
int checkpoint_if_due(Cache *self, int64_t wal_bytes);
/* Whether writes of this cache are to wait for its own copying. */
int checkpoint_pauses(const Cache *self);
/* How often this cache's own copying has taken the write lock and given it back: odd while it has it. */
unsigned int checkpoint_lock_turns(const Cache *self);
/* Wait for the thread, if there is one, and give its session back. */
void checkpoint_finish(Cache *self);

#endif
