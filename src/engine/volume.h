/* volume.h: bytes used by a cache, and a new budget from them.
 */
#ifndef DC_ENGINE_VOLUME_H
#define DC_ENGINE_VOLUME_H

#include "engine/db.h"
#include "engine/rules.h"

/* Bytes used: the database's pages and the value files; `free_pages` says whether pages on the free
 * list count too. */
dc_status dc_volume(dc_db *db, int free_pages, int64_t *volume);

/* Find out how much can be written, and when the first row expires. */
dc_status dc_budget_renew(dc_db *db, const dc_rules *rules);

/* That a budget which holds promises no more than there is (base/debug.h). */
void dc_budget_check(dc_db *db, const dc_rules *rules);

#endif
