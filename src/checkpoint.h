/* checkpoint.h: copying the log into the database while others go on committing.
 *
 * SQLite 3.7.0 to 3.51.2 (but for 3.44.6 and 3.50.7) has the WAL-reset race: a checkpoint that finds
 * everything copied already may be overtaken, between its first look and its second, by a commit that
 * begins the log anew; it then takes the new log's frames for copied, and they are lost when the log
 * begins anew once more. Once SQLite has looked twice and begins to copy that cannot happen any more,
 * because there is something left to copy until it has done so. So on these versions dc_checkpoint has
 * the write lock, one of those in the wal-index that SQLite's documentation lists, until SQLite begins to
 * copy, which it does by syncing the log.
 *
 * That keeps commits out for microseconds, and nobody waits for the disk. But SQLite begins the log anew
 * only with a commit that finds all of it copied and nobody reading it; under constant load that would
 * never be. dc_checkpoint_alone has the write lock for as long as that needs.
 */
#ifndef DC_CHECKPOINT_H
#define DC_CHECKPOINT_H

#include <stdatomic.h>

#include "db.h"

typedef enum dc_checkpoint_result {
    DC_CHECKPOINT_DONE,
    DC_CHECKPOINT_BUSY,   /* somebody else is at it, or reads what would be overwritten */
    DC_CHECKPOINT_NO_LOG, /* or one of which we cannot tell who uses it */
    DC_CHECKPOINT_FAILED  /* db->error has it */
} dc_checkpoint_result;

/* Copy what others' reads allow, with a handle that has read before and has no transaction open; waits
 * `seconds` at most for the write lock. Takes milliseconds: it syncs. *keeps_out is true while it has the
 * write lock, or is just trying to take it. */
dc_checkpoint_result dc_checkpoint(dc_db *db, double seconds, atomic_int *keeps_out);

/* The same with commits kept out all the time, waiting as long for others' reads, too; for others that
 * copy, up to a second. Then the next commit begins the log anew. Where nothing can be told of others
 * (locking is exclusive, or the VFS not SQLite's own) it is SQLite's checkpoint and no more. */
dc_checkpoint_result dc_checkpoint_alone(dc_db *db, double seconds);

/* dc_checkpoint_alone in two halves, for two threads: keep commits out, if that can be done at once; then
 * copy and let them in again, or only let them in. *keeping is for the second half. */
int dc_checkpoint_keep_out(dc_db *db, int *keeping);
dc_checkpoint_result dc_checkpoint_kept_out(dc_db *db, double seconds, int keeping);
void dc_checkpoint_let_in(dc_db *db, int keeping);

#endif
