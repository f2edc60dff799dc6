/* checkpoint.c: see checkpoint.h. */
#define _POSIX_C_SOURCE 200809L /* clock_gettime, nanosleep */

#include "checkpoint.h"

#include <time.h>

/* Of the eight locks of the wal-index ("WAL-Index File Format"): of who writes, and of reads that use
 * the log. */
enum { WRITER_LOCK = 0, FIRST_READERS_LOCK = 4, READERS_LOCKS = 4 };

#define POLL_NANOSECONDS 20000
#define COPYING_SECONDS  1.0

static int try_lock(dc_db *db, int first, int count)
{
    return db->file->methods->shm_lock(db->file, first, count,
                                       DC_SQLITE_SHM_LOCK | DC_SQLITE_SHM_EXCLUSIVE) ==
           DC_SQLITE_OK;
}

/* Take a lock. *twice receives whether the handle could take it once more: SQLite's VFS for Unix lets it in
 * some versions (3.36 to 3.43 at least), but not in 3.46 and 3.51, and the one for Windows does not. */
static int lock(dc_db *db, int first, int count, int *twice)
{
    int taken = try_lock(db, first, count);

    *twice = taken && try_lock(db, first, count);
    return taken;
}

/* Give a lock back, if we have it still. Where a handle can take it twice SQLite may have done so, and
 * have given it back, and then somebody else may have it: what we can take is ours or nobody's. Where it
 * cannot, SQLite has not had it either, and it is ours. */
static void unlock(dc_db *db, int first, int count, int twice)
{
    if (!twice || try_lock(db, first, count)) {
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

/* Whether the locks of the wal-index can be used with this handle. */
static int is_lockable(dc_db *db)
{
    return dc_wal_header_of(db) != NULL && db->file->methods->shm_lock != NULL;
}

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

/* Get the write lock within so many seconds. *keeps_out is true from just before each attempt, and stays so
 * after the one that has it. */
static int lock_commits(dc_db *db, double seconds, int *twice, atomic_int *keeps_out)
{
    double deadline = clock_seconds() + seconds;

    for (;;) {
        atomic_store(keeps_out, 1);
        if (lock(db, WRITER_LOCK, 1, twice)) {
            return 1;
        }
        atomic_store(keeps_out, 0);
        if (!wait_more(deadline)) {
            return 0;
        }
    }
}

/* --- beside commits ----------------------------------------------------------------------------- */

/* The write lock, until SQLite syncs the log. */
typedef struct beginning {
    dc_io_override io; /* first: of the log's file */
    dc_db *db;
    int locked;
    int twice;
    atomic_int *keeps_out;
} beginning;

static void let_commits_in(beginning *beginning)
{
    if (beginning->locked) {
        unlock(beginning->db, WRITER_LOCK, 1, beginning->twice);
        beginning->locked = 0;
        atomic_store(beginning->keeps_out, 0);
    }
}

static int sync_beside_commits(sqlite3_file *file, int flags)
{
    beginning *beginning = (struct beginning *)dc_io_override_of(file);

    let_commits_in(beginning);
    return beginning->io.original->sync(file, flags);
}

dc_checkpoint_result dc_checkpoint(dc_db *db, double seconds, atomic_int *keeps_out)
{
    beginning beginning = {.db = db, .keeps_out = keeps_out};
    dc_checkpoint_result result;
    dc_io_methods *methods;
    sqlite3_file *file = NULL;
    int left;

    if (!dc_sqlite_has_wal_reset_race()) {
        return result_of(dc_db_checkpoint(db, &left));
    }
    if (!is_lockable(db)) {
        return DC_CHECKPOINT_NO_LOG;
    }
    sqlite.file_control(db->handle, "main", DC_SQLITE_FCNTL_JOURNAL_POINTER, &file);
    methods = dc_io_override_begin(&beginning.io, file);
    if (methods == NULL) {
        return DC_CHECKPOINT_NO_LOG;
    }
    beginning.locked = lock_commits(db, seconds, &beginning.twice, keeps_out);
    if (beginning.locked) {
        methods->sync = sync_beside_commits;
        result = result_of(dc_db_checkpoint(db, &left));
        let_commits_in(&beginning);
    } else {
        result = DC_CHECKPOINT_BUSY;
    }
    dc_io_override_end(&beginning.io);
    return result;
}

/* --- with commits kept out ---------------------------------------------------------------------- */

int dc_checkpoint_keep_out(dc_db *db, int *keeping)
{
    return is_lockable(db) && lock(db, WRITER_LOCK, 1, keeping);
}

void dc_checkpoint_let_in(dc_db *db, int keeping)
{
    unlock(db, WRITER_LOCK, 1, keeping);
}

dc_checkpoint_result dc_checkpoint_kept_out(dc_db *db, double seconds, int keeping)
{
    dc_checkpoint_result result = DC_CHECKPOINT_BUSY;
    double deadline;
    int left = 0;
    int readers_twice = 0;

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
    while (result == DC_CHECKPOINT_DONE &&
           !lock(db, FIRST_READERS_LOCK, READERS_LOCKS, &readers_twice)) {
        if (!wait_more(deadline)) {
            result = DC_CHECKPOINT_BUSY;
        }
    }
    if (result == DC_CHECKPOINT_DONE) {
        unlock(db, FIRST_READERS_LOCK, READERS_LOCKS, readers_twice);
    }
    dc_checkpoint_let_in(db, keeping);
    return result;
}

dc_checkpoint_result dc_checkpoint_alone(dc_db *db, double seconds)
{
    int left = 0;
    int keeping = 0;
    atomic_int keeps_out = 0;

    if (!is_lockable(db)) {
        return result_of(dc_db_checkpoint(db, &left)); /* as SQLite would by itself */
    }
    return lock_commits(db, seconds, &keeping, &keeps_out)
               ? dc_checkpoint_kept_out(db, seconds, keeping)
               : DC_CHECKPOINT_BUSY;
}
