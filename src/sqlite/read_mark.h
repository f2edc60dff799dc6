/* read_mark.h: BEGIN with two locks instead of three.
 *
 * A transaction of SQLite begins by taking a lock on a read mark ("WAL-Index File Format"): a number of
 * frames that nobody may copy beyond while the transaction reads. If the log has grown since the marks
 * were set, which it has after every commit, SQLite first raises one, for which it locks that mark
 * alone and unlocks it again: two of the six fcntl calls of a write. A lower mark does as well, it only
 * holds up who copies the log a little earlier; SQLite takes one whenever it cannot raise any. So while
 * most of our BEGINs run, the methods of the database's file refuse that lock (io_override.h). Every few
 * times they do not, so that our marks never fall far behind.
 *
 * Refusing a lock is what another process does all the time, so nothing but time can be lost by it. If a
 * BEGIN should fail all the same that goes without it, this is turned off (selfcheck.h).
 *
 * A dc_read_mark belongs to one handle and is used by the thread that begins with it.
 */
#ifndef DC_SQLITE_READ_MARK_H
#define DC_SQLITE_READ_MARK_H

#include "sqlite/io_override.h"

typedef struct dc_read_mark {
    dc_io_override io;   /* first: of the database's file */
    int refused;         /* marks that this BEGIN was not allowed to raise */
    unsigned int begins; /* so far */
} dc_read_mark;

/* Let what begins now use a mark as it stands, if it is the turn for that. */
void dc_read_mark_keep(dc_read_mark *mark, sqlite3_file *file);
void dc_read_mark_release(dc_read_mark *mark);
/* Let the next BEGIN raise a mark. */
void dc_read_mark_raise(dc_read_mark *mark);

#endif
