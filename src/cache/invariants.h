/* invariants.h: what holds of a Cache whenever no operation of it is under way in this thread. Only in a build
 * with DISKCACHE_DEBUG=1 (base/debug.h).
 */
#ifndef DC_CACHE_INVARIANTS_H
#define DC_CACHE_INVARIANTS_H

#include "cache/object.h"

/* End the process if one does not hold. */
void cache_check_invariants(Cache *self);

#endif
