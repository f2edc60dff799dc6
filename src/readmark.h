/* readmark.h: BEGIN with two locks instead of three.
 *
 * A transaction of SQLite begins by taking a lock on a read mark ("WAL-Index File Format"): a number of
 * frames that nobody may copy beyond while the transaction reads. If the log has grown since the marks
 * were set, which it has after every commit, SQLite first raises one, for which it locks that mark
 * alone and unlocks it again: two of the six fcntl calls of a write. A lower mark does as well, it only
 * holds up who copies the log a little earlier; SQLite takes one whenever it cannot raise any. So while
 * most of our BEGINs run, the methods of the database's file (the public interface between SQLite and
 * its VFS) refuse that lock. Every few times they do not, so that our marks never fall far behind.
 *
 * A dc_readmark belongs to one handle and is used by the thread that begins with it. Outside of
 * dc_readmark_keep and _release nothing of SQLite's points here.
 */
#ifndef DC_READMARK_H
#define DC_READMARK_H

#include "sqlite_api.h"

typedef struct dc_readmark {
    dc_io_methods methods; /* of the file while a BEGIN runs; finds this structure again */
    const dc_io_methods *original;
    sqlite3_file *file;  /* of the database, while a BEGIN runs; else NULL */
    int refused;         /* marks that this BEGIN was not allowed to raise */
    unsigned int begins; /* so far */
} dc_readmark;

/* Let what begins now use a mark as it stands, if it is the turn for that. */
void dc_readmark_keep(dc_readmark *mark, sqlite3_file *file);
void dc_readmark_release(dc_readmark *mark);
/* Let the next BEGIN raise a mark. */
void dc_readmark_raise(dc_readmark *mark);

#endif
