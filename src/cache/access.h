/* access.h: counting lookups, and noting accesses for the eviction policies.
 */
#ifndef DC_CACHE_ACCESS_H
#define DC_CACHE_ACCESS_H

#include "cache/object.h"

/* Whether the eviction policy wants to know of rows that lookups find. */
static inline int cache_counts_access(const Cache *self)
{
    return dc_policies[self->rules.policy].access != DC_ACCESS_NONE || self->own_policy_counts;
}

/* Count a lookup and note the access, where settings ask for it, for the next transaction to write. */
int cache_log_access(Cache *self, int hit, int64_t rowid);
/* Write, now, what a policy of the user's wants of a row that was found. */
int cache_log_by_policy(Cache *self, int64_t rowid);
/* Write the access log, waiting for the lock so many seconds, or the cache's timeout if that is less.
 * What cannot be written stays in it. -1 with an exception only if one came out of a signal handler. */
int cache_flush_access_log(Cache *self, double seconds);
/* Seconds for which closing waits to write it. */
#define ACCESS_LOG_CLOSE_SECONDS 1.0
/* The same for all caches of an interpreter, without waiting: those of another one belong to its threads. */
void cache_flush_all_access_logs(module_state *state);

#endif
