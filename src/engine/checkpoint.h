/* checkpoint.h: copying the log into the database while others go on committing.
 *
 * A checkpoint copies pages from the log into the database, between two syncs: of the log before, so that
 * no page comes into the database that a power loss can take out of the log, and of the database after, so
 * that the log may be overwritten. Both take milliseconds, on a slow disk hundreds of them. So nothing here
 * holds the write lock over a sync, and nobody's commit waits for one.
 *
 * Nearly nothing holds it at all. SQLite 3.7.0 to 3.51.2 (but for 3.44.6 and 3.50.7) has the WAL-reset
 * race: a checkpoint that finds everything copied already may be overtaken, between its first look and its
 * second, by a commit that begins the log anew; it then takes the new log's frames for copied, and they are
 * lost when the log begins anew once more. Once SQLite has looked twice and begins to copy that cannot
 * happen any more, because there is something left to copy until it has done so. So on these versions the
 * write lock, one of those in the wal-index that SQLite's documentation lists, is held until SQLite begins
 * to copy, which it does by syncing the log.
 */
#ifndef DC_ENGINE_CHECKPOINT_H
#define DC_ENGINE_CHECKPOINT_H

#include <stdatomic.h>

#include "engine/db.h"

/* Bytes of pages in the log from which it is copied: SQLite's own default, 1000 pages of 4096. */
#define DC_CHECKPOINT_BYTES INT64_C(4096000)

typedef enum dc_checkpoint_result {
    DC_CHECKPOINT_DONE,
    DC_CHECKPOINT_BUSY,   /* somebody else is at it, or has the write lock */
    DC_CHECKPOINT_NO_LOG, /* or one of which we cannot tell who uses it */
    DC_CHECKPOINT_FAILED  /* db->error has it */
} dc_checkpoint_result;

typedef struct dc_checkpoint {
    double patience; /* seconds to wait for the write lock */
    atomic_uint
        *turns; /* counted when it is just about to be taken, and when it is given back; or NULL */
    double sync_seconds; /* receives what the longest sync has taken */
} dc_checkpoint;

/* Copy what others' reads allow, with a handle that has read before and has no transaction open. */
dc_checkpoint_result dc_checkpoint_copy(dc_db *db, dc_checkpoint *checkpoint);

/* The same at once, with SQLite's checkpoint where nothing can be told of others. */
dc_checkpoint_result dc_checkpoint_in_any_case(dc_db *db, dc_checkpoint *checkpoint);

/* Copy the log after a commit that has been made with the handle by somebody else, if it is long: a user who
 * works with the Connection. SQLite's own automatic checkpoint, which the handle has not got, does the
 * same. */
void dc_checkpoint_after_foreign_commits(dc_db *db);

/* The log at one moment. */
typedef struct dc_log {
    uint64_t salts; /* change when it begins anew */
    int64_t page_size;
    int64_t frames;
    int64_t left; /* frames that are not in the database */
} dc_log;

/* Look at the log; 0 if that cannot be done. */
int dc_log_look(dc_db *db, dc_log *log);

#endif
