/* commit_stamp.h: the header of the wal-index as our own COMMIT leaves it.
 *
 * Whoever keeps rows in memory must know which header stands for the state that its own commit has made.
 * After COMMIT has returned it is too late to look: another process may have committed by then. Nor can
 * it be told from the header before: a COMMIT that wrote nothing leaves it as it was, one that wrote moves
 * it, and so does another's.
 *
 * But SQLite publishes the header before it gives the write lock back, and gives it back inside of COMMIT,
 * with the method xShmLock of the database's file, for lock 0 ("WAL-Index File Format"). So while COMMIT
 * runs, that method looks at the header first. Nobody else can move it then: it is exactly our own
 * commit's, and the one from before BEGIN IMMEDIATE if nothing was written.
 *
 * The lock is also given back by recovery, by checkpoints that restart or truncate the log, and by
 * ROLLBACK. None of these happens in the COMMIT of a transaction that has begun with BEGIN IMMEDIATE.
 * Checked as it goes (selfcheck.h): the lock is given back once, the header's two copies are equal then,
 * and it counts as many frames as SQLite tells its own wal_hook.
 */
#ifndef DC_SQLITE_COMMIT_STAMP_H
#define DC_SQLITE_COMMIT_STAMP_H

#include "sqlite/io_override.h"
#include "sqlite/version_table.h"
#include "sqlite/wal_append.h"
#include "sqlite/wal_header.h"

typedef struct dc_commit_stamp {
    dc_io_override io;          /* first: of the database's file */
    dc_wal_header header;       /* of the handle; NULL: nothing is looked at */
    dc_wal_append *frames;      /* borrowed: of the same commit */
    dc_version_table *versions; /* borrowed: of the same commit; or NULL */
    int changed;                /* it has written rows */
    int unlocks;                /* of the write lock, in the COMMIT at hand */
    int valid;                  /* `stamp` is what the last COMMIT has left */
    dc_stamp stamp;
} dc_commit_stamp;

/* Around COMMIT. `frames` is checked, and `versions` is told of the header, when the lock is given back. */
void dc_commit_stamp_begin(dc_commit_stamp *commit, sqlite3_file *file, dc_wal_append *frames);
/* `frames`: in the log, as wal_hook has it; -1 if it was not called, because nothing was written. */
void dc_commit_stamp_end(dc_commit_stamp *commit, int committed, int frames);

#endif
