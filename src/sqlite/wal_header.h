/* wal_header.h: the header of SQLite's wal-index, by which one sees that nothing has been committed.
 *
 * A database in WAL mode has a file in shared memory, the wal-index, that says where in the log the
 * pages are. It begins with two copies of a header of 48 bytes:
 *
 *     0  version (3007000)      4  unused              8  change counter
 *    12  initialized, one byte  13 byte order, page size
 *    16  frames in the log     20  pages in the database
 *    24  checksum of the frames (8 bytes)    32  salts of the log (8 bytes)
 *    40  checksum of the 40 bytes before (8 bytes)
 *
 * The layout is part of SQLite's file-format documentation ("WAL-Index File Format"). Every commit, by
 * whichever process, writes both copies, the second one first. SQLite itself compares the header with
 * its own copy to know whether its page cache still holds; so what a read has returned is still what
 * the next one would return exactly as long as the header has not changed. Comparing 48 bytes in
 * mapped memory costs nanoseconds, a read with its two locks microseconds.
 *
 * A header never comes back with another meaning: the checksum of the frames goes over the whole log,
 * and a new log has new salts. A checkpoint changes neither the header nor what a read returns.
 *
 * The pointer is borrowed from a handle's mapping, and valid as long as that handle is open and its
 * journal mode is not changed. We never open the wal-index or the database file ourselves: closing a
 * descriptor would drop the process's locks on it.
 */
#ifndef DC_SQLITE_WAL_HEADER_H
#define DC_SQLITE_WAL_HEADER_H

#include <stdatomic.h>
#include <stdint.h>

typedef struct sqlite3_file sqlite3_file;

/* The header at one moment. */
typedef struct dc_stamp {
    uint64_t words[6];
} dc_stamp;

/* The header in mapped memory: two copies, one after the other. */
typedef const volatile uint64_t *dc_wal_header;

/* The header of a file whose handle has read before, in WAL mode and without exclusive locking, and whose VFS
 * is SQLite's own; NULL unless what is there is a header of the known layout, with a right checksum. */
dc_wal_header dc_wal_header_of(sqlite3_file *file);

/* Copy the header; 0 if it is just being written, or is not valid. */
int dc_stamp_read(dc_wal_header header, dc_stamp *stamp);

/* Whether the header is still what it was. What was committed before the call is seen; and what has been read before
 * the call was there before that. */
static inline int dc_stamp_holds(dc_wal_header header, const dc_stamp *stamp)
{
    uint64_t difference = 0;

    atomic_thread_fence(memory_order_acquire);
    for (int i = 0; i < 6; i++) {
        difference |= header[i] ^ stamp->words[i];
    }
    atomic_thread_fence(memory_order_acquire);
    return difference == 0;
}

/* Frames in the log, bytes of a page, and the salts of the log, which change with a reset. */
uint32_t dc_stamp_frames(const dc_stamp *stamp);
uint32_t dc_stamp_page_size(const dc_stamp *stamp);
static inline uint64_t dc_stamp_log(const dc_stamp *stamp)
{
    return stamp->words[4];
}
/* Bytes of the pages in the log, of a header that is not known to be complete: a guess. */
int64_t dc_wal_bytes(dc_wal_header header);
/* Frames that have been copied into the database: the number behind the two headers. */
static inline uint32_t dc_wal_frames_copied(dc_wal_header header)
{
    return *(const volatile uint32_t *)(header + 12);
}

#endif
