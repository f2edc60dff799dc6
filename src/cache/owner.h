/* owner.h: who owns the open transaction: a thread, and in it a task of asyncio or trio, or a greenlet.
 */
#ifndef DC_CACHE_OWNER_H
#define DC_CACHE_OWNER_H

#include "cache/object.h"

/* Whether this thread and task own the open transaction. *other_task is set if another task of this
 * thread does. */
int cache_owns_transaction(Cache *self, int *other_task);
/* Make the running task the owner of the transaction just begun. */
void cache_claim_for_task(Cache *self);

/* Wait for another task of this thread to end its transaction, if it can go on meanwhile: greenlets do where
 * time.sleep() is patched. -1 with an exception. */
int cache_wait_for_other_task(Cache *self, double timeout, int retry);

#endif
