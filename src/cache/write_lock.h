/* write_lock.h: getting the write lock, and leaving room for others.
 */
#ifndef DC_CACHE_WRITE_LOCK_H
#define DC_CACHE_WRITE_LOCK_H

#include "cache/object.h"

/* Wait for the write lock; no session is held meanwhile. A session in a transaction, in use; NULL with an
 * exception. */
Session *write_lock_take(Cache *self, double timeout, int retry);

/* With the write lock: whether this is not the state that our last commit left. After a commit: give way, where
 * others have written lately. */
void write_lock_look_for_others(Cache *self, dc_wal_header header);
void write_lock_give_way(Cache *self);

/* Say in the error that this thread's own cursor or transaction is in the way. */
void write_lock_set_own_obstacle(dc_error *error);

#endif
