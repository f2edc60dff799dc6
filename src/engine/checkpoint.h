/* checkpoint.h: a checkpoint during which others can commit.
 *
 * A checkpoint copies pages from the log into the database, between two syncs. It syncs the log first, so that the
 * database has no page that a power loss can take out of the log; and the database last, so that the log may be
 * overwritten. Both take milliseconds, on a slow disk hundreds of them. So no sync is done under the write lock, and
 * no commit waits for one.
 *
 * Why the write lock is taken at all: SQLite 3.7.0 to 3.51.2 (but not 3.44.6 and 3.50.7) has the WAL-reset race. A
 * checkpoint that finds nothing left to copy can be overtaken, between its first look and its second, by a commit that
 * resets the log. It then takes the frames of the new log for copied, and the next reset loses them. Once SQLite has
 * looked twice and begins to copy, that cannot happen: something is left to copy until it has done so. On these
 * versions the write lock, one of the locks of the wal-index that SQLite documents, is held until SQLite begins to
 * copy, which it does by syncing the log: for microseconds.
 */
#ifndef DC_ENGINE_CHECKPOINT_H
#define DC_ENGINE_CHECKPOINT_H

#include <stdatomic.h>

#include "engine/db.h"

/* Bytes of pages in the log from which a checkpoint is due: SQLite's own default, 1000 pages of 4096. */
#define DC_CHECKPOINT_BYTES INT64_C(4096000)

typedef enum dc_checkpoint_result {
    DC_CHECKPOINT_DONE,
    DC_CHECKPOINT_BUSY,   /* somebody else is at it, or has the write lock */
    DC_CHECKPOINT_NO_LOG, /* or one of which we cannot tell who uses it */
    DC_CHECKPOINT_FAILED  /* db->error has it */
} dc_checkpoint_result;

/* What checkpoints have come to. */
typedef struct dc_checkpoint_sums {
    uint64_t count;  /* that were done */
    uint64_t frames; /* that were copied */
    double seconds;  /* that they took, syncs included */
} dc_checkpoint_sums;

typedef struct dc_checkpoint {
    double patience; /* seconds to wait for the write lock */
    atomic_uint
        *turns; /* counted when it is just about to be taken, and when it is given back; or NULL */
    double sync_seconds;     /* receives what the longest sync has taken */
    dc_checkpoint_sums sums; /* is increased */
} dc_checkpoint;

/* Checkpoint as far as the reads of others allow. The handle has read before and has no transaction open. */
dc_checkpoint_result dc_checkpoint_copy(dc_db *db, dc_checkpoint *checkpoint);

/* The same; with SQLite's own checkpoint where nothing is known of others. */
dc_checkpoint_result dc_checkpoint_in_any_case(dc_db *db, dc_checkpoint *checkpoint);

/* From now on checkpoint after commits that a user makes with the Connection, if the log is long. It stands in for
 * SQLite's automatic checkpoint, which is off for the handle. */
void dc_checkpoint_after_foreign_commits(dc_db *db);

/* The log at one moment. */
typedef struct dc_log {
    uint64_t salts; /* change with a reset */
    int64_t page_size;
    int64_t frames;
    int64_t left; /* frames that are not in the database */
} dc_log;

/* Look at the log; 0 if that cannot be done. */
int dc_log_look(dc_db *db, dc_log *log);

#endif
