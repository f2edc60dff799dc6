/* wal_append.h: the frames that a commit appends to the log, in one system call.
 *
 * SQLite writes each changed page with two calls: the 24 bytes of the frame's header, then the page.
 * They lie one after the other in the file, all frames of a commit do, and a call costs about as much
 * as copying a page. So while a COMMIT runs, the methods of the log's file are replaced (io_override.h) by
 * ones that gather these writes in a buffer.
 *
 * The last frame of a commit says so in its header, and its write is where the buffer is written: a
 * failure comes back from there, before SQLite has told anybody about the frames, and the commit fails
 * as it would without this. All other methods, and all writes but the appended frames, write first what
 * is in the buffer.
 *
 * That the last frame ends the commit, and that frames lie where they are expected, is checked
 * (selfcheck.h): nothing may be left in the buffer when COMMIT gives the write lock back, and in the first
 * commit of a handle the file must be as long then as the wal-index says.
 *
 * A dc_wal_append belongs to one handle and is used by the thread that commits with it.
 */
#ifndef DC_SQLITE_WAL_APPEND_H
#define DC_SQLITE_WAL_APPEND_H

#include <stddef.h>

#include "sqlite/io_override.h"
#include "sqlite/wal_header.h"

typedef struct dc_wal_append {
    dc_io_override io;  /* first: of the log's file */
    char *buffer;       /* owned; NULL until it is needed */
    size_t size;        /* bytes in the buffer */
    dc_int64 offset;    /* in the file, of the first of them */
    int header_pending; /* the last write was a frame's header */
    int commits;        /* and that of the last frame */
    int passing;        /* SQLite has read: it is not appending now */
    int checked;        /* the file's length, in a commit */
    int failure;        /* what writing frames that were left behind has come to */
} dc_wal_append;

/* Gather what is appended to the log of `handle`. Where that cannot be, nothing happens. */
void dc_wal_append_begin(dc_wal_append *frames, sqlite3 *handle);
/* To be called with the write lock, when the commit is in the wal-index: check that it is in the log. */
void dc_wal_append_check(dc_wal_append *frames, const dc_stamp *stamp);
/* After COMMIT. Returns an error if frames of a commit that has succeeded could not be written. */
int dc_wal_append_end(dc_wal_append *frames, int committed);
/* Give the memory back. */
void dc_wal_append_clear(dc_wal_append *frames);

#endif
