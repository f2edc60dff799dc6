/* checkpoint.c: see checkpoint.h. */
#define _POSIX_C_SOURCE 200809L /* clock_gettime, nanosleep */

#include "checkpoint.h"

#include <time.h>

/* Words of the wal-index behind the two copies of the header, and in the first: "WAL-Index File Format". */
enum { WORD_FRAMES = 4, WORD_COPIED = 24 };
/* Of the eight locks there: of who writes, of who copies, and of reads that use the log. */
enum { WRITER_LOCK = 0, CHECKPOINTER_LOCK = 1, FIRST_READERS_LOCK = 4, READERS_LOCKS = 4 };

#define POLL_NANOSECONDS 20000
#define COPYING_SECONDS  1.0

static uint32_t frames_not_copied(dc_wal_header header)
{
    const volatile uint32_t *words = (const volatile uint32_t *)header;
    uint32_t frames = words[WORD_FRAMES];
    uint32_t copied = words[WORD_COPIED];

    return frames > copied ? frames - copied : 0;
}

static int try_lock(dc_db *db, int first, int count)
{
    return db->file->methods->shm_lock(db->file, first, count,
                                       DC_SQLITE_SHM_LOCK | DC_SQLITE_SHM_EXCLUSIVE) ==
           DC_SQLITE_OK;
}

/* Give a lock back, if we have it still: SQLite gives back, too, what it believes to have taken, and then
 * somebody else may have it. What we can take is ours or nobody's. */
static void unlock(dc_db *db, int first, int count)
{
    if (try_lock(db, first, count)) {
        db->file->methods->shm_lock(db->file, first, count,
                                    DC_SQLITE_SHM_UNLOCK | DC_SQLITE_SHM_EXCLUSIVE);
    }
}

static dc_checkpoint_result result_of(dc_status status)
{
    return status == DC_OK     ? DC_CHECKPOINT_DONE
           : status == DC_BUSY ? DC_CHECKPOINT_BUSY
                               : DC_CHECKPOINT_FAILED;
}

/* Whether the locks of the wal-index can be used with this handle; its header, or NULL. */
static dc_wal_header lockable(dc_db *db)
{
    dc_wal_header header = dc_wal_header_of(db);

    return header != NULL && db->file->methods->shm_lock != NULL ? header : NULL;
}

dc_checkpoint_result dc_checkpoint(dc_db *db, int *left)
{
    dc_checkpoint_result result;
    dc_wal_header header;

    *left = 0;
    if (!dc_sqlite_has_wal_reset_race()) {
        return result_of(dc_db_checkpoint(db, left));
    }
    header = lockable(db);
    if (header == NULL) {
        return DC_CHECKPOINT_UNSAFE;
    }
    if (!try_lock(db, CHECKPOINTER_LOCK, 1)) {
        return DC_CHECKPOINT_BUSY;
    }
    if (frames_not_copied(header) == 0) {
        result = DC_CHECKPOINT_DONE;
    } else {
        result = result_of(dc_db_checkpoint(db, left));
        if (result == DC_CHECKPOINT_DONE) {
            return result; /* the lock has been given back */
        }
    }
    unlock(db, CHECKPOINTER_LOCK, 1);
    /* Busy with what it has itself: this VFS does not let a handle take a lock twice. */
    return result == DC_CHECKPOINT_BUSY ? DC_CHECKPOINT_UNSAFE : result;
}

/* --- with commits kept out ---------------------------------------------------------------------- */

static double clock_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Wait a moment, unless the time is over. */
static int wait_more(double deadline)
{
    const struct timespec moment = {.tv_nsec = POLL_NANOSECONDS};

    nanosleep(&moment, NULL);
    return clock_seconds() < deadline;
}

dc_checkpoint_result dc_checkpoint_alone(dc_db *db, double seconds)
{
    dc_checkpoint_result result = DC_CHECKPOINT_BUSY;
    double deadline = clock_seconds() + seconds;
    int left = 0;

    if (lockable(db) == NULL) {
        return DC_CHECKPOINT_UNSAFE;
    }
    while (!try_lock(db, WRITER_LOCK, 1)) {
        if (!wait_more(deadline)) {
            return DC_CHECKPOINT_BUSY;
        }
    }
    /* Who copies now is waited for longer: it is a matter of the disk, and comes to an end. */
    deadline = clock_seconds() + COPYING_SECONDS;
    do {
        result = result_of(dc_db_checkpoint(db, &left));
    } while (result == DC_CHECKPOINT_BUSY && wait_more(deadline));
    deadline = clock_seconds() + seconds;
    while (result == DC_CHECKPOINT_DONE && left > 0 && wait_more(deadline)) {
        result = result_of(dc_db_checkpoint(db, &left));
    }
    if (result == DC_CHECKPOINT_DONE && left > 0) {
        result = DC_CHECKPOINT_BUSY;
    }
    /* Reads that begin now do not need the log: all of it is copied. */
    while (result == DC_CHECKPOINT_DONE && !try_lock(db, FIRST_READERS_LOCK, READERS_LOCKS)) {
        if (!wait_more(deadline)) {
            result = DC_CHECKPOINT_BUSY;
        }
    }
    if (result == DC_CHECKPOINT_DONE) {
        unlock(db, FIRST_READERS_LOCK, READERS_LOCKS);
    }
    unlock(db, WRITER_LOCK, 1);
    return result;
}
