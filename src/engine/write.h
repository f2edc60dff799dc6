/* write.h: setting a key to a value, then culling; and adding to a number.
 */
#ifndef DC_ENGINE_WRITE_H
#define DC_ENGINE_WRITE_H

#include "base/record.h"
#include "engine/db.h"
#include "engine/rules.h"

/* The first bytes of a tag that say which of two writes is the later one. */
#define DC_LATER_BYTES 8

/* A write of one item. */
typedef struct dc_write {
    const dc_key *key;         /* dc_queue_push makes its own */
    const dc_columns *columns; /* NULL: an increment without a default */
    double now;
    int only_if_absent; /* a row that is alive stays */
    int only_if_later; /* a row stays if these bytes of its tag are not less; the new tag has them */
    const dc_rules *rules;
    dc_namelist *removed; /* receives the names of files that no row has any more */
    int written;          /* result: the columns, and so their file, are now in the table */
} dc_write;

/* Insert or update, then cull. An item larger than size_limit is not kept, nor its predecessor, if there is a policy
 * and cull_limit is above 0. */
dc_status dc_write_set(dc_db *db, dc_write *write);

/* Whether a write of these columns would be refused: see dc_write_set. */
int dc_columns_exceed(const dc_columns *columns, const dc_rules *rules);

/* Add `delta` (DC_INTEGER or DC_REAL) to a value. An absent or expired one is set to the columns, unless
 * there are none (DC_NOT_FOUND). *sum receives the result where the row was there. DC_TYPE if the value is no
 * number, DC_OVERFLOW: in both cases nothing changes. DC_SQLITE if a trigger keeps the value as it is. */
dc_status dc_write_increment(dc_db *db, dc_write *write, const dc_datum *delta, dc_datum *sum);

/* Define the SQL function that DC_SQL_INCREMENT calls, unless the handle has it. */
void dc_write_define_sum(dc_db *db);

/* left + right, integers or reals; DC_OVERFLOW, DC_TYPE. */
dc_status dc_datum_add(const dc_datum *left, const dc_datum *right, dc_datum *sum);

/* --- for queue.c --- */

/* Insert, or have the hook of a subclass insert; then cull, likewise. `keep` is the row just written. */
dc_status dc_write_insert(dc_db *db, const dc_write *write, const dc_key *key, int64_t *rowid);
dc_status dc_write_cull(dc_db *db, const dc_write *write, int64_t keep);

#endif
