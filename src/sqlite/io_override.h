/* io_override.h: the methods of one of SQLite's files, replaced for a time.
 *
 * Between SQLite and each of its open files stands a table of methods, the public interface of a VFS. To
 * see or to change what a COMMIT, a BEGIN or a checkpoint does with a file, its table is replaced by a
 * copy with some methods of our own, and put back before the call returns. But for read_lease.h and
 * kept_mapping.h, nothing of SQLite's points here outside of that.
 *
 * SQLite may add methods to the table, and say so with its version. A copy has only those that are known
 * here, so it is never made of a later version: then everything goes on as without us.
 *
 * A structure that a replaced method needs begins with a dc_io_override, and is found through the file. One that
 * stays for longer than a call has others above it meanwhile.
 * It belongs to one handle, and is used by the thread that uses the handle.
 */
#ifndef DC_SQLITE_IO_OVERRIDE_H
#define DC_SQLITE_IO_OVERRIDE_H

#include "sqlite/api.h"

/* The version of the methods that are known: it has the shared memory of the wal-index, and more. */
#define DC_IO_VERSION 3

typedef struct dc_io_override {
    dc_io_methods methods; /* first: where the file points to meanwhile */
    const dc_io_methods *original;
    sqlite3_file *file; /* while its methods are replaced, else NULL */
    const void *tag;    /* tells one that others may lie above; or NULL */
} dc_io_override;

/* Replace the methods of a file by a copy, which is returned to be changed. NULL where the file has none,
 * or some that are not known: then nothing is replaced. */
dc_io_methods *dc_io_override_begin(dc_io_override *override, sqlite3_file *file);
/* Put them back; nothing happens if they are not replaced. A file that has been closed meanwhile has no
 * methods any more, and gets none. */
void dc_io_override_end(dc_io_override *override);

/* From a method that has been called: the override that has put it there. */
static inline dc_io_override *dc_io_override_of(sqlite3_file *file)
{
    return (dc_io_override *)(uintptr_t)file->methods;
}

/* The same where others may lie above it. */
static inline dc_io_override *dc_io_override_tagged(sqlite3_file *file, const void *tag)
{
    dc_io_override *override = dc_io_override_of(file);

    while (override->tag != tag) {
        override = (dc_io_override *)(uintptr_t) override->original;
    }
    return override;
}

#endif
