/* shards.h: the type Shards, a base of FanoutCache: lookups, each done by the Cache that a key belongs to.
 */
#ifndef DC_CACHE_SHARDS_H
#define DC_CACHE_SHARDS_H

#include "python/compat.h"

extern PyType_Spec shards_type_spec;

#endif
