/* version_table.h: a table of versions that all of our processes share, so that a row which is in memory
 * outlives commits to other rows.
 *
 * The header of the wal-index (wal_header.h) says that nothing has been committed. Where something has, it
 * does not say what. That is in a file of its own beside the database, which every process has mapped:
 *
 *     slots   counters. Each key has one, by a hash of the key as it is stored. It is raised by each
 *             commit that writes the key. The first one is raised by each commit that writes any row.
 *     epoch   a counter that is raised when it is not known which rows have changed.
 *     chain   the header of the wal-index up to which every commit has been made by writers that keep
 *             this table. A chain that is torn equals no header: both have checksums.
 *
 * The version of a row is the sum of its slot and the epoch. Both only grow, so it is the same as long as
 * neither has changed.
 *
 * Who writes has SQLite's write lock, and does this:
 *   - After BEGIN IMMEDIATE compare the header with the chain. If they differ, somebody has written who does
 *     not keep the table: the original, or SQL of a user's.
 *   - In COMMIT, when the header is published and the write lock still held (commit_stamp.h): raise the
 *     epoch, if they differed or not every row is known; raise the slots; a fence; store the header as the
 *     chain.
 * Who is killed in between leaves a chain that is not the header: the next writer raises the epoch.
 *
 * Who reads a row takes the header, sees that it is the chain, takes the row's version, reads, and sees that
 * the header is the same. Such a row is current at a later header if that is the chain, its version is the
 * same, and the header still stands after both have been looked at.
 *
 * A row that was read at any other header is never confirmed. The next writer that keeps the table raises the
 * epoch, so nothing is lost. But the chain may be of a state that is yet to come: where power has failed, or a
 * backup been put back, the table may know of commits that the log has lost. If somebody who does not keep it
 * then does the same once more, byte by byte, the header becomes the chain.
 *
 * Every interleaving of these steps with kills and with writers that know no table is walked through by
 * tests/support/model_versions.py, which also finds each of the wrong orders that were thought of.
 *
 * The header of a log that is recovered empty is always the same one, whatever the database has: it never
 * becomes the chain. Two files of the name (a directory that is removed and made again) are safe: each is
 * foreign to who uses the other.
 *
 * The file is made under another name, with its blocks allocated, and never changes its size: a hole or a
 * shorter file would end the processes that have it mapped (SIGBUS). It is not used unless it is a regular
 * file of the owner of the database, or of this process, of the right size, and others can write it only if they can
 * write the database. Off on Windows, and where the processor does not change 64 bits at once: what a library does
 * there under a lock of the process, no other process sees.
 *
 * A table belongs to one handle, and is used by the thread that uses the handle. Only what is marked so may
 * be called by others.
 */
#ifndef DC_SQLITE_VERSION_TABLE_H
#define DC_SQLITE_VERSION_TABLE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/record.h"
#include "sqlite/wal_header.h"

#if ATOMIC_LLONG_LOCK_FREE == 2
typedef _Atomic uint64_t dc_counter;
#else /* none is ever mapped; so the code compiles, and calls no library */
typedef _Atomic uint32_t dc_counter;
#endif

/* In the file. All numbers have the byte order of the machine. */
typedef struct dc_shared_versions {
    uint64_t magic, slot_count;
    dc_counter epoch;
    dc_counter chain[6];
    uint64_t reserved[7];
    dc_counter slots[];
} dc_shared_versions;

/* The slot of every row. */
#define DC_SLOT_OF_ANY 0

/* Of a row that the table cannot say anything of: no version comes to be this one. */
#define DC_NO_VERSION UINT64_MAX

/* A key that a transaction has written, by its slot, and the version that its commit has given it. */
typedef struct dc_noted_slot {
    uint32_t slot;
    uint64_t version;
} dc_noted_slot;

typedef struct dc_version_table {
    dc_shared_versions *shared; /* owned: mapped; NULL: there is none */
    size_t size;
    uint32_t slot_mask;     /* by the size of the file: its slot_count may be damaged later */
    uint64_t device, inode; /* of the file; zeros: there is none */
    /* Of the transaction under way. */
    int compared; /* the header has been compared with the chain */
    int broken;   /* they differed */
    int unknown;  /* it has written keys that are not noted */
    size_t count, capacity;
    dc_noted_slot *noted; /* owned */
} dc_version_table;

/* Map the table of a database, and make it if there is none, unless it is only to be read. What cannot be had is off. */
void dc_version_table_open(dc_version_table *table, const char *database, int read_only);
/* Safe on one that is zeroed. */
void dc_version_table_close(dc_version_table *table);

/* Whether two handles use the same table, or both none. */
static inline int dc_version_table_same(const dc_version_table *one, const dc_version_table *other)
{
    return one->inode == other->inode && one->device == other->device;
}

/* The slot of a key. */
uint32_t dc_version_table_slot(const dc_version_table *table, const dc_datum *key);

/* --- any thread, as long as the table is open --- */

static inline uint64_t dc_version_table_version(const dc_version_table *table, uint32_t slot)
{
    return atomic_load_explicit(&table->shared->epoch, memory_order_acquire) +
           atomic_load_explicit(&table->shared->slots[slot], memory_order_acquire);
}

/* Whether every commit up to `stamp` was made by writers that keep the table. Once that is so it stays so. */
int dc_version_table_covers(const dc_version_table *table, const dc_stamp *stamp);

/* Whether a row that once had this version is current now, and the header is `stamp`, which the table covers. */
static inline int dc_version_table_confirms(const dc_version_table *table, dc_wal_header header,
                                            const dc_stamp *stamp, uint32_t slot, uint64_t version)
{
    int is_same = dc_version_table_version(table, slot) == version;

    atomic_thread_fence(memory_order_acquire);
    return is_same && dc_stamp_holds(header, stamp);
}

/* --- a transaction, which has the write lock --- */

/* BEGIN IMMEDIATE has succeeded. `header`: NULL if it is not known. */
void dc_version_table_begin(dc_version_table *table, dc_wal_header header);
/* A key is written. The place of its slot in `noted`, or -1 where the table is off or has no memory. */
int dc_version_table_note(dc_version_table *table, const dc_datum *key);
/* In COMMIT, before the write lock is given back. `changed`: rows have been written. */
void dc_version_table_commit(dc_version_table *table, const dc_stamp *stamp, int changed);

#endif
