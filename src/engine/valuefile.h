/* valuefile.h: the files that hold the values too large for the database.
 *
 * A value file's name is relative to the cache directory: "ab/cd/" and 28 more random hexadecimal
 * digits and ".val" (docs/format.rst). A file is written under a temporary name beside its final one and
 * renamed when it is complete, so no reader and no `check()` ever sees half a value; the temporary
 * name contains "cache.db", which the original's check() leaves alone.
 *
 * Nothing here holds the GIL, touches Python, or keeps a descriptor longer than a call, except a
 * dc_valuewriter between open and commit/abort.
 *
 * Paths are the platform's bytes on POSIX and UTF-8 on Windows. `directory` has no trailing slash.
 */
#ifndef DC_ENGINE_VALUEFILE_H
#define DC_ENGINE_VALUEFILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/format.h"
#include "base/status.h"

/* "ab/cd/", the other digits, the suffix and NUL */
#define DC_VALUEFILE_NAME_SIZE (DC_VALUEFILE_DIGITS + 2 + sizeof DC_VALUEFILE_SUFFIX)

/* Write a fresh random relative name, its components separated as the platform does. Fails with DC_SYSTEM if the
 * system has no randomness. */
dc_status dc_valuefile_name(char name[DC_VALUEFILE_NAME_SIZE], dc_error *error);

/* Whether a name of `size` bytes, as a row has it, is that of a file inside the cache directory, so that
 * it may be read or removed: it is relative, without NUL, no component of it is ".." or that of a
 * database, and the last is a proper one. "\\" separates components everywhere, because the original on
 * Windows writes it, and what begins with a drive, "C:\", is relative nowhere. What a name leads to may
 * still be a link: the functions below follow none beneath the cache directory. */
int dc_valuefile_is_inside(const char *name, size_t size);

/* The name that the file of a row has here: owned, or NULL without memory. A directory that was
 * written on Windows has "\\" between the components of its names, where this system may want "/".
 * That is so if there is a file of that name, inside the directory, and none of the very name of the
 * row: a Disk may name files, or what it keeps elsewhere, as it likes. Reading and removing, below, do
 * this by themselves; who opens the file in another way asks. */
char *dc_valuefile_local_name(const char *directory, const char *name);

/* A file being written. Every field is the writer's own, except that `size` may be read. It is open
 * exactly while `path` is not NULL, so a zero-initialized one is not open and may be aborted. */
typedef struct dc_valuewriter {
    int descriptor;     /* meaningful only while open */
    intptr_t directory; /* that the file is in, as the platform has it open; likewise */
    int64_t size;       /* bytes written so far */
    size_t root_size;   /* length of the cache directory at the start of both paths */
    char *path;         /* owned: the final path */
    char *temporary;    /* owned: the path that is being written */
    const char *name;   /* its last component, in it */
} dc_valuewriter;

/* Open a writer for directory/name, making the sub-directories in `name` if they are missing
 * (again, if another process prunes them meanwhile), and `directory`, of the mode `root_mode`, if somebody
 * has removed it. They and the file are as open to others as `directory` is. A link in place of a
 * sub-directory is ENOTDIR. A file of that name that is there or being written already is never replaced:
 * DC_SYSTEM with EEXIST. On failure nothing is left behind and nothing is owned. */
dc_status dc_valuewriter_open(dc_valuewriter *writer, const char *directory, int root_mode,
                              const char *name, dc_error *error);
/* Append all `size` bytes; retries short writes and EINTR. After a failure the writer is still
 * open: abort it. */
dc_status dc_valuewriter_write(dc_valuewriter *writer, const void *data, size_t size,
                               dc_error *error);
/* Close and rename to the final name. On failure the temporary file is removed. Either way the
 * writer is not open any more. */
dc_status dc_valuewriter_commit(dc_valuewriter *writer, dc_error *error);
/* Close and remove the temporary file and the directories left empty. Safe on a writer that is not
 * open. */
void dc_valuewriter_abort(dc_valuewriter *writer);

/* Open, write everything, commit; on failure nothing is left behind. */
dc_status dc_valuefile_write(const char *directory, int root_mode, const char *name,
                             const void *data, size_t size, dc_error *error);
/* The same of several pieces, one behind the other. */
typedef struct dc_piece {
    const void *data;
    size_t size;
} dc_piece;

dc_status dc_valuefile_write_pieces(const char *directory, int root_mode, const char *name,
                                    const dc_piece *pieces, size_t count, dc_error *error);

/* Create directory/name under its final name at once, as dc_valuewriter_open does the temporary one, for who
 * writes it by other means; the caller closes *descriptor, which is -1 on failure. */
dc_status dc_valuefile_create(const char *directory, int root_mode, const char *name,
                              int *descriptor, dc_error *error);

/* Have the disk keep a complete file, and the directories up to and including `directory` that lead to it,
 * even if power is lost; DC_SYSTEM if it cannot. `synced`: the name of a file for which that has succeeded
 * before, or "". If it is in the same directory and still there, the directories above need no sync. A file
 * that is not there is no failure: somebody has removed it, or a Disk keeps its values elsewhere. */
dc_status dc_valuefile_sync(const char *directory, const char *name, const char *synced,
                            dc_error *error);

/* Open directory/name for reading into *descriptor (the caller closes it with
 * dc_valuefile_close) and its size into *size. DC_NOT_FOUND if there is no such file: also if the name
 * is not inside of the directory, if a part of it is a link, and if it is that of a directory, a pipe or a
 * device, which are never waited for; the error is filled then, too. On failure *descriptor is -1. */
dc_status dc_valuefile_open(const char *directory, const char *name, int *descriptor, int64_t *size,
                            dc_error *error);
/* Read exactly `size` bytes; DC_CORRUPT if the file ends before. */
dc_status dc_valuefile_read(int descriptor, void *buffer, size_t size, dc_error *error);
/* Map the `size` bytes, one at least, of an open file into memory, to be read. The mapping lasts until
 * dc_valuefile_unmap, whatever becomes of the descriptor and of the file's name. DC_SYSTEM where the platform or the
 * file system cannot do it: read the file then. What the disk cannot read, and what somebody cuts off the file, is
 * SIGBUS for who touches it: no value file is ever written to again, here or by the original. */
dc_status dc_valuefile_map(int descriptor, size_t size, void **data, dc_error *error);
void dc_valuefile_unmap(void *data, size_t size);
void dc_valuefile_close(int descriptor);
/* For who hands it on: opening it did not wait, reading it may. -1 and errno on failure. */
int dc_valuefile_set_blocking(int descriptor);

/* Remove directory/name and then the directories above it that are empty, up to and not including
 * `directory`. Failures are ignored: a file that cannot be removed (already gone, or open on
 * Windows, or no descriptor is left) is an orphan that check() reports. A name that is not inside of the
 * directory, or leads through a link, is ignored; a link of that name itself goes, not what it leads to. */
void dc_valuefile_remove(const char *directory, const char *name);

#endif
