/* rules.h: the rules of a write: a copy of the settings of the cache, and the steps that a subclass has taken over.
 */
#ifndef DC_ENGINE_RULES_H
#define DC_ENGINE_RULES_H

#include "base/record.h"
#include "engine/sql.h"

/* Steps of a write that a subclass of Cache has taken over; a NULL member is not. They are called
 * between statements, and return DC_CALLBACK if they failed and know why themselves. */
typedef struct dc_row_hooks {
    void *context;
    dc_status (*insert)(void *context, const dc_key *key, const dc_columns *columns, double now,
                        int64_t *rowid);
    dc_status (*update)(void *context, int64_t rowid, const dc_columns *columns, double now);
    dc_status (*cull)(void *context, double now);
} dc_row_hooks;

/* How a write behaves: a copy of the cache's settings at the time of the operation. */
typedef struct dc_rules {
    dc_policy policy;
    int64_t size_limit;        /* bytes */
    int64_t cull_limit;        /* rows that one write may cull, see dc_evict; 0: none */
    const dc_row_hooks *hooks; /* or NULL */
} dc_rules;

#endif
