/* checkpoint.h: copying the log into the database while others go on committing.
 *
 * SQLite 3.7.0 to 3.51.2 (but for 3.44.6 and 3.50.7) has the WAL-reset race: a checkpoint that finds
 * everything copied already may be overtaken, between its first look and its second, by a commit that
 * begins the log anew; it then takes the new log's frames for copied, and they are lost when the log
 * begins anew once more. So on these versions a checkpoint must not begin unless there is something
 * to copy, and there must still be when SQLite looks. That holds as long as nobody else copies it:
 * we take the lock of checkpointers, one of those in the wal-index that SQLite's documentation
 * lists, look, and only then let SQLite do its work, on the same handle, which has the lock already.
 *
 * That keeps no commit out, so nobody waits for the disk. But SQLite begins the log anew only with a
 * commit that finds all of it copied and nobody reading it; under constant load that would never be.
 * dc_checkpoint_alone takes the write lock for as long as that needs. It is also what remains where a
 * handle cannot take a lock twice.
 */
#ifndef DC_CHECKPOINT_H
#define DC_CHECKPOINT_H

#include "walindex.h"

typedef enum dc_checkpoint_result {
    DC_CHECKPOINT_DONE,
    DC_CHECKPOINT_BUSY,   /* somebody else is at it, or reads what would be overwritten */
    DC_CHECKPOINT_UNSAFE, /* nothing was done, and never can be beside commits */
    DC_CHECKPOINT_FAILED  /* db->error has it */
} dc_checkpoint_result;

/* Copy what others' reads allow, with a handle that has read before and has no transaction open.
 * *left receives the pages in the log that are not copied yet. Takes milliseconds: it syncs. */
dc_checkpoint_result dc_checkpoint(dc_db *db, int *left);

/* The same with commits kept out, waiting `seconds` at most for the write lock, and as long for others'
 * reads; for others that copy, up to a second. Then the next commit begins the log anew. */
dc_checkpoint_result dc_checkpoint_alone(dc_db *db, double seconds);

#endif
