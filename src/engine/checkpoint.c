/* checkpoint.c: see checkpoint.h. */
#define _POSIX_C_SOURCE 200809L /* clock_gettime, nanosleep */

#include "engine/checkpoint.h"

#include <time.h>

#include "base/clock.h"

/* Of the eight locks of the wal-index ("WAL-Index File Format"): of who writes. */
enum { WRITE_LOCK = 0 };

#define POLL_NANOSECONDS 20000

static int lock(dc_db *db)
{
    return db->file->methods->shm_lock(db->file, WRITE_LOCK, 1,
                                       DC_SQLITE_SHM_LOCK | DC_SQLITE_SHM_EXCLUSIVE) ==
           DC_SQLITE_OK;
}

static void unlock(dc_db *db)
{
    db->file->methods->shm_lock(db->file, WRITE_LOCK, 1,
                                DC_SQLITE_SHM_UNLOCK | DC_SQLITE_SHM_EXCLUSIVE);
}

/* Wait a moment, unless the time is over. */
static int wait_more(double deadline)
{
    const struct timespec moment = {.tv_nsec = POLL_NANOSECONDS};

    nanosleep(&moment, NULL);
    return dc_clock() < deadline;
}

/* --- one checkpoint ----------------------------------------------------------------------------- */

typedef struct copying copying;

/* One of the two files that are synced. */
typedef struct synced_file {
    dc_io_override io; /* first */
    copying *copying;
} synced_file;

struct copying {
    dc_db *db;
    dc_checkpoint *checkpoint;
    synced_file log;
    synced_file database;
    int locked;
};

static void note_holding(const copying *copying, int holding)
{
    atomic_uint *turns = copying->checkpoint->turns;

    if (turns != NULL && (atomic_load(turns) & 1) != (unsigned int)holding) {
        atomic_fetch_add(turns, 1);
    }
}

static void let_commits_in(copying *copying)
{
    if (copying->locked) {
        unlock(copying->db);
        copying->locked = 0;
        note_holding(copying, 0);
    }
}

static int sync_beside_commits(sqlite3_file *file, int flags)
{
    synced_file *synced = (synced_file *)dc_io_override_of(file);
    copying *copying = synced->copying;
    double began;
    double seconds;
    int result;

    let_commits_in(copying);
    began = dc_clock();
    result = synced->io.original->sync(file, flags);
    seconds = dc_clock() - began;
    if (seconds > copying->checkpoint->sync_seconds) {
        copying->checkpoint->sync_seconds = seconds;
    }
    return result;
}

static int watch_syncs(copying *copying, synced_file *synced, sqlite3_file *file)
{
    dc_io_methods *methods = dc_io_override_begin(&synced->io, file);

    synced->copying = copying;
    if (methods != NULL) {
        methods->sync = sync_beside_commits;
    }
    return methods != NULL;
}

/* Get the write lock within so many seconds. The handle that checkpoints has it then, behind SQLite's back:
 * SQLite takes it in a checkpoint only to repair the header, and while it is held and the header is good,
 * the header stays so. */
static int keep_commits_out(copying *copying, dc_wal_header header)
{
    double deadline = dc_clock() + copying->checkpoint->patience;
    dc_stamp stamp;

    for (;;) {
        note_holding(copying, 1);
        copying->locked = lock(copying->db);
        if (copying->locked && dc_stamp_read(header, &stamp)) {
            return 1;
        }
        let_commits_in(copying);
        note_holding(copying, 0);
        if (!wait_more(deadline)) {
            return 0;
        }
    }
}

/* `header`: NULL if there is none. */
static dc_checkpoint_result checkpoint_now(dc_db *db, dc_wal_header header,
                                           dc_checkpoint_sums *sums)
{
    uint32_t before = header != NULL ? dc_wal_frames_copied(header) : 0;
    double began = dc_clock();
    dc_status status = dc_db_checkpoint(db);

    if (status == DC_OK) {
        uint32_t after = header != NULL ? dc_wal_frames_copied(header) : 0;

        sums->count++;
        sums->seconds += dc_clock() - began;
        sums->frames += after > before ? after - before : 0; /* less: a commit has reset the log */
    }
    return status == DC_OK     ? DC_CHECKPOINT_DONE
           : status == DC_BUSY ? DC_CHECKPOINT_BUSY
                               : DC_CHECKPOINT_FAILED;
}

/* The header, looked for with all care unless that has been done. */
static dc_wal_header header_of(dc_db *db)
{
    return db->commit.header != NULL ? db->commit.header : dc_db_wal_header(db);
}

dc_checkpoint_result dc_checkpoint_copy(dc_db *db, dc_checkpoint *checkpoint)
{
    copying copying = {.db = db, .checkpoint = checkpoint};
    dc_wal_header header = header_of(db);
    dc_checkpoint_result result = DC_CHECKPOINT_NO_LOG;
    sqlite3_file *log = NULL;

    checkpoint->sync_seconds = 0.0;
    sqlite.file_control(db->handle, "main", DC_SQLITE_FCNTL_JOURNAL_POINTER, &log);
    if (header != NULL && watch_syncs(&copying, &copying.log, log) &&
        watch_syncs(&copying, &copying.database, db->file)) {
        if (!dc_sqlite_has_wal_reset_race() || keep_commits_out(&copying, header)) {
            result = checkpoint_now(db, header, &checkpoint->sums);
            let_commits_in(&copying);
        } else {
            result = DC_CHECKPOINT_BUSY;
        }
    }
    dc_io_override_end(&copying.database.io);
    dc_io_override_end(&copying.log.io);
    return result;
}

dc_checkpoint_result dc_checkpoint_in_any_case(dc_db *db, dc_checkpoint *checkpoint)
{
    dc_checkpoint_result result = dc_checkpoint_copy(db, checkpoint);

    return result == DC_CHECKPOINT_NO_LOG ? checkpoint_now(db, NULL, &checkpoint->sums) : result;
}

static int copy_long_log(void *context, sqlite3 *handle, const char *schema, int pages)
{
    dc_checkpoint checkpoint = {.patience = 0.0};
    dc_db *db = context;

    (void)handle;
    dc_db_note_pages(db, schema, pages);
    if (!db->committing && dc_db_wal_bytes(db) >= DC_CHECKPOINT_BYTES) {
        dc_checkpoint_in_any_case(db, &checkpoint); /* if it fails the next commit tries again */
    }
    return DC_SQLITE_OK;
}

void dc_checkpoint_after_foreign_commits(dc_db *db)
{
    sqlite.wal_hook(db->handle, copy_long_log, db);
}

/* --- the log ------------------------------------------------------------------------------------ */

/* A commit writes 96 bytes. */
#define HEADER_ATTEMPTS 100

int dc_log_look(dc_db *db, dc_log *log)
{
    dc_wal_header header = header_of(db);
    int attempts = header != NULL ? HEADER_ATTEMPTS : 0;
    dc_stamp stamp;

    while (attempts > 0 && !dc_stamp_read(header, &stamp)) { /* somebody is just committing */
        attempts--;
    }
    if (attempts > 0) {
        log->salts = dc_stamp_log(&stamp);
        log->page_size = dc_stamp_page_size(&stamp);
        log->frames = dc_stamp_frames(&stamp);
        log->left = log->frames - dc_wal_frames_copied(header);
    }
    return attempts > 0;
}
