/* commit_stamp.c: see commit_stamp.h. */
#include "sqlite/commit_stamp.h"

#include <stddef.h>

#include "base/debug.h"
#include "base/selfcheck.h"

enum { WRITE_LOCK = 0 };

static int look_before_unlock(sqlite3_file *file, int first, int count, int flags)
{
    dc_commit_stamp *commit = (dc_commit_stamp *)dc_io_override_of(file);

    if (first == WRITE_LOCK && flags == (DC_SQLITE_SHM_UNLOCK | DC_SQLITE_SHM_EXCLUSIVE)) {
        commit->unlocks++;
        commit->valid = dc_stamp_read(commit->header, &commit->stamp);
        if (commit->valid) {
            dc_wal_append_check(commit->frames, &commit->stamp);
            dc_version_table_commit(commit->versions, &commit->stamp, commit->changed);
        }
        DC_PAUSE("the wal-index header is complete, the write lock held");
    }
    return commit->io.original->shm_lock(file, first, count, flags);
}

#ifdef DISKCACHE_DEBUG
/* SQLite has a barrier between the two copies of the header. */
static void pause_at_barrier(sqlite3_file *file)
{
    dc_io_override_of(file)->original->shm_barrier(file);
    DC_PAUSE("one copy of the wal-index header is written");
}
#endif

void dc_commit_stamp_begin(dc_commit_stamp *commit, sqlite3_file *file, dc_wal_append *frames)
{
    dc_io_methods *methods = NULL;

    commit->valid = 0;
    commit->unlocks = 0;
    commit->frames = frames;
    if (commit->header != NULL && dc_selfcheck_holds(DC_COMMIT_STAMP)) {
        methods = dc_io_override_begin(&commit->io, file);
    }
    if (methods != NULL) {
        methods->shm_lock = look_before_unlock;
#ifdef DISKCACHE_DEBUG
        methods->shm_barrier = pause_at_barrier;
#endif
    }
}

void dc_commit_stamp_end(dc_commit_stamp *commit, int committed, int frames)
{
    int watched = commit->io.file != NULL;

    dc_io_override_end(&commit->io);
    if (!watched || !committed) {
        commit->valid = 0;
    } else if (commit->unlocks != 1) {
        commit->valid = 0;
        dc_selfcheck_fail(DC_COMMIT_STAMP, "COMMIT did not give the write lock back just once");
    } else if (!commit->valid) {
        dc_selfcheck_fail(DC_COMMIT_STAMP,
                          "COMMIT gave the write lock back before the wal-index was complete");
    } else if (frames >= 0 && dc_stamp_frames(&commit->stamp) != (uint32_t)frames) {
        commit->valid = 0;
        dc_selfcheck_fail(DC_COMMIT_STAMP, "the wal-index was not final when COMMIT gave the write "
                                           "lock back");
    }
}
