/* write.h: setting a key to a value, and adding to a number; then culling.
 */
#ifndef DC_ENGINE_WRITE_H
#define DC_ENGINE_WRITE_H

#include "base/record.h"
#include "engine/db.h"
#include "engine/rules.h"

/* Insert or update, then cull. An item larger than size_limit is not kept (nor its predecessor) while
 * culling is on. With `only_if_absent` a row that is alive stays. *written tells whether the new
 * columns, and so their file, are now in the table. */
dc_status dc_write_set(dc_db *db, const dc_key *key, const dc_columns *columns, double now,
                       int only_if_absent, const dc_rules *rules, dc_namelist *removed,
                       int *written);

/* Whether a write of these columns would be refused: see dc_write_set. */
int dc_columns_exceed(const dc_columns *columns, const dc_rules *rules);

/* Add `delta` (DC_INTEGER or DC_REAL) to a value; an absent or expired one becomes `initial`, unless
 * that is NULL (DC_NOT_FOUND). *sum receives the result where the row was there; *created tells that
 * `initial` was used. DC_TYPE if the value is no number, DC_OVERFLOW: in both cases nothing changes.
 * DC_SQLITE if a trigger keeps the value as it is. */
dc_status dc_write_increment(dc_db *db, const dc_key *key, const dc_datum *delta,
                             const dc_columns *initial, double now, const dc_rules *rules,
                             dc_namelist *removed, dc_datum *sum, int *created);

/* Define the SQL function that DC_SQL_INCREMENT calls, unless the handle has it. */
void dc_write_define_sum(dc_db *db);

/* left + right, integers or reals; DC_OVERFLOW, DC_TYPE. */
dc_status dc_datum_add(const dc_datum *left, const dc_datum *right, dc_datum *sum);

/* --- for queue.c --- */

/* Insert, or have the hook of a subclass insert; then cull, likewise. `keep` is the row just written. */
dc_status dc_write_insert(dc_db *db, const dc_key *key, const dc_columns *columns, double now,
                          const dc_rules *rules, int64_t *rowid);
dc_status dc_write_cull(dc_db *db, double now, const dc_rules *rules, const dc_columns *written,
                        int64_t keep, dc_namelist *removed);

#endif
