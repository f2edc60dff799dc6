/* evict.h: deleting rows by policy, and those that have expired.
 */
#ifndef DC_ENGINE_EVICT_H
#define DC_ENGINE_EVICT_H

#include "base/record.h"
#include "engine/db.h"
#include "engine/rules.h"

/* Delete up to `limit` rows: those that have expired, then while the volume is not below size_limit
 * others by policy; never row `keep`. Where small rows make room for a large one, more of them go until
 * their values have `written` bytes together, so that no write makes a full cache grow (0: `limit` is
 * final). *count is increased by the rows deleted. */
dc_status dc_evict(dc_db *db, double now, int64_t limit, int64_t written, const dc_rules *rules,
                   int64_t keep, dc_namelist *removed, int64_t *count);

/* Delete by policy (its DC_SQL_VICTIM_*) until the volume is at most this (*done = 1, also if nothing is
 * left), or `seconds` have passed. *kept, 0 at first, is how many rows a trigger has kept so far. */
dc_status dc_evict_to_volume(dc_db *db, dc_sql victim, int64_t volume, double seconds,
                             dc_namelist *removed, int64_t *kept, int64_t *count, int *done);

/* Find the row that `sql` names with its parameters; DC_NOT_FOUND if there is none. */
dc_status dc_evict_find(dc_db *db, dc_sql sql, int64_t rowid, const dc_datum *parameter,
                        int64_t passed, dc_row *row);

#endif
