/* batch_delete.h: deleting many rows, in a series of transactions.
 */
#ifndef DC_ENGINE_BATCH_DELETE_H
#define DC_ENGINE_BATCH_DELETE_H

#include "base/record.h"
#include "engine/db.h"

/* What a bulk deletion goes through, in portions. */
typedef struct dc_batch_delete {
    dc_sql sql;         /* one of DC_SQL_BATCH_* */
    int64_t after;      /* rowid of the last row deleted; begin with INT64_MIN */
    dc_datum parameter; /* the tag of DC_SQL_BATCH_TAGGED, the time of DC_SQL_BATCH_EXPIRED */
    int one_by_one;     /* a trigger may keep rows; begin with 0 */
    int64_t batch;      /* rows in the batch that would have come next; begin with 0 */
    int alone; /* the transaction has nothing else in it, and is rolled back if this fails */
} dc_batch_delete;

/* Delete until nothing is left to (*done = 1) or `seconds` have passed. What others insert meanwhile is
 * deleted too, unless its rowid is behind: so it ends. */
dc_status dc_batch_delete_run(dc_db *db, dc_batch_delete *deletion, double seconds,
                              dc_namelist *removed, int64_t *count, int *done);

#endif
