/* walframes.h: the frames that a commit appends to the log, in one system call.
 *
 * SQLite writes each changed page with two calls: the 24 bytes of the frame's header, then the page.
 * They lie one after the other in the file, all frames of a commit do, and a call costs about as much
 * as copying a page. So while a COMMIT runs, the methods of the log's file (the public interface
 * between SQLite and its VFS) are replaced by ones that gather these writes in a buffer.
 *
 * The last frame of a commit says so in its header, and its write is where the buffer is written: a
 * failure comes back from there, before SQLite has told anybody about the frames, and the commit fails
 * as it would without this. All other methods, and all writes but the appended frames, write first what
 * is in the buffer.
 *
 * A dc_walframes belongs to one handle and is used by the thread that commits with it. Outside of
 * dc_walframes_begin and _end nothing of SQLite's points here.
 */
#ifndef DC_WALFRAMES_H
#define DC_WALFRAMES_H

#include <stddef.h>

#include "sqlite_api.h"

typedef struct dc_walframes {
    dc_io_methods methods; /* of the file while a commit runs; finds this structure again */
    const dc_io_methods *original;
    sqlite3_file *file; /* of the log, while a commit runs; else NULL */
    char *buffer;       /* owned; NULL until it is needed */
    size_t size;        /* bytes in the buffer */
    dc_int64 offset;    /* in the file, of the first of them */
    int header_pending; /* the last write was a frame's header */
    int commits;        /* and that of the last frame */
    int passing;        /* SQLite has read: it is not appending now */
} dc_walframes;

/* Gather what is appended to the log of `handle`. Where that cannot be, nothing happens. */
void dc_walframes_begin(dc_walframes *frames, sqlite3 *handle);
void dc_walframes_end(dc_walframes *frames);
/* Give the memory back. */
void dc_walframes_clear(dc_walframes *frames);

#endif
