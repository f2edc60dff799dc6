/* compare.h: whether an index has in it what its table has, in order.
 *
 * SQLite's integrity_check looks each row up in each index, and with many rows each of these is a page in no order. Here
 * table and index are read once, each in its own order, and what is read is added up.
 */
#ifndef DC_ENGINE_COMPARE_H
#define DC_ENGINE_COMPARE_H

#include "engine/db.h"

/* Aggregates: the sum of a hash of each row; and whether rows come in ascending order, none twice. Of the latter the first
 * argument says how many of the others are unique, unless one of these is NULL; 0: all together. */
#define DC_FUNCTION_CHECKSUM "diskcache_checksum"
#define DC_FUNCTION_ASCENDS  "diskcache_ascends"

/* Run a query that uses them, and gives one integer. */
dc_status dc_compare(dc_db *db, const char *select, int64_t *result);

#endif
