/* test_checkpoint.c: copying the log into the database beside commits. */
#include "engine/checkpoint.h"

#include "database.h"

/* ---- A checkpoint with something in between ---------------------------------------------------- */

static int (*checkpoint_of_sqlite)(sqlite3 *, const char *, int, int *, int *);
static int checkpoints;
static atomic_uint turns;
static int failure; /* instead of the checkpoint, if it is not 0 */
static void (*meanwhile)(void);

static int watched_checkpoint(sqlite3 *handle, const char *schema, int mode, int *pages,
                              int *copied)
{
    checkpoints++;
    if (meanwhile != NULL) {
        meanwhile();
    }
    return failure != 0 ? failure : checkpoint_of_sqlite(handle, schema, mode, pages, copied);
}

static void watch_checkpoints(void (*callback)(void), int result)
{
    checkpoint_of_sqlite = sqlite.wal_checkpoint_v2;
    sqlite.wal_checkpoint_v2 = watched_checkpoint;
    checkpoints = 0;
    failure = result;
    meanwhile = callback;
}

static void unwatch_checkpoints(void)
{
    sqlite.wal_checkpoint_v2 = checkpoint_of_sqlite;
}

/* ---- A log whose syncs are seen ----------------------------------------------------------------- */

static dc_io_methods watching;
static const dc_io_methods *watched;
static int syncs;

static sqlite3_file *log_of(dc_db *of)
{
    sqlite3_file *file = NULL;

    sqlite.file_control(of->handle, "main", DC_SQLITE_FCNTL_JOURNAL_POINTER, &file);
    return file;
}

static int watched_sync(sqlite3_file *file, int flags)
{
    syncs++;
    if (meanwhile != NULL) {
        meanwhile();
    }
    return watched->sync(file, flags);
}

static void watch_syncs(dc_db *of, void (*callback)(void))
{
    sqlite3_file *file = log_of(of);

    watched = file->methods;
    watching = *watched;
    watching.sync = watched_sync;
    file->methods = &watching;
    syncs = 0;
    meanwhile = callback;
}

static void unwatch_syncs(dc_db *of)
{
    CHECK(log_of(of)->methods == &watching); /* it was put back */
    log_of(of)->methods = watched;
}

/* ---- A handle that sees which locks it takes ---------------------------------------------------- */

static dc_io_methods counting;
static const dc_io_methods *counted;
static int own_locks;    /* exclusive ones that it has, a bit for each */
static int wrong_locks;  /* taken though it had them, or given back though it had not */
static int locked_syncs; /* syncs while it had the write lock */

static int count_lock(sqlite3_file *file, int offset, int count, int flags)
{
    int mask = ((1 << count) - 1) << offset;
    int exclusive = (flags & DC_SQLITE_SHM_EXCLUSIVE) != 0;
    int takes = (flags & DC_SQLITE_SHM_LOCK) != 0;
    int result;

    wrong_locks += exclusive && (takes ? (own_locks & mask) != 0 : (own_locks & mask) != mask);
    result = counted->shm_lock(file, offset, count, flags);
    if (result == DC_SQLITE_OK && exclusive) {
        own_locks = takes ? own_locks | mask : own_locks & ~mask;
    }
    return result;
}

static int count_sync(sqlite3_file *file, int flags)
{
    locked_syncs += (own_locks & 1) != 0;
    return counted->sync(file, flags);
}

static void count_locks(dc_db *of)
{
    counted = of->file->methods;
    counting = *counted;
    counting.shm_lock = count_lock;
    counting.sync = count_sync;
    of->file->methods = &counting;
    own_locks = wrong_locks = locked_syncs = 0;
}

static void stop_counting(dc_db *of)
{
    CHECK(of->file->methods == &counting); /* it was put back */
    of->file->methods = counted;
}

/* ---- Databases --------------------------------------------------------------------------------- */

static dc_db db;
static dc_db other;

static void open_both(void)
{
    database_connect(&db);
    database_execute(&db, "CREATE TABLE t (number)");
    database_connect(&other);
    CHECK_INT(0, database_integer(&other, "SELECT count(*) FROM t"));
}

static void close_both(void)
{
    database_close(&other);
    database_close(&db);
}

static dc_status insert(dc_db *into)
{
    dc_status status = dc_db_begin(into);

    if (status == DC_OK) {
        database_execute(into, "INSERT INTO t VALUES (1)");
        status = dc_db_commit(into);
    }
    return status;
}

static int64_t rows(dc_db *from)
{
    return database_integer(from, "SELECT count(*) FROM t");
}

/* What checkpoints have come to. */
static dc_checkpoint_sums sums;

static dc_checkpoint_result copy(dc_db *of)
{
    dc_checkpoint checkpoint = {.patience = 0.001, .turns = &turns, .sums = sums};
    dc_checkpoint_result result = dc_checkpoint_copy(of, &checkpoint);

    CHECK_INT(0, atomic_load(&turns) % 2);
    sums = checkpoint.sums;
    return result;
}

/* Rows in the database without its log. */
static int64_t copied_rows(void)
{
    int64_t count;
    dc_db copy;

    database_copy("cache.db", "copy.db");
    CHECK_INT(DC_OK, database_open(&copy, database_path("copy.db")));
    count = rows(&copy);
    database_close(&copy);
    return count;
}

/* ---- Tests ------------------------------------------------------------------------------------- */

static void what_is_committed_is_copied(void)
{
    open_both();
    CHECK_INT(DC_OK, insert(&other));
    CHECK_INT(DC_CHECKPOINT_DONE, copy(&db));
    CHECK_INT(1, copied_rows());
    close_both();
}

static void checkpoints_that_are_done_are_counted_with_what_they_copy(void)
{
    open_both();
    sums = (dc_checkpoint_sums){.count = 0};
    CHECK_INT(DC_OK, insert(&other));
    CHECK_INT(DC_CHECKPOINT_DONE, copy(&db));
    CHECK_INT(1, (int)sums.count);
    CHECK(sums.frames > 0 && sums.seconds > 0.0);
    sums.frames = 0;
    CHECK_INT(DC_CHECKPOINT_DONE, copy(&db)); /* nothing is left */
    CHECK_INT(2, (int)sums.count);
    CHECK_INT(0, (int)sums.frames);
    if (dc_sqlite_has_wal_reset_race()) { /* else a writer is in nobody's way */
        CHECK_INT(DC_OK, dc_db_begin(&other));
        CHECK_INT(DC_CHECKPOINT_BUSY, copy(&db));
        CHECK_INT(2, (int)sums.count);
        dc_db_rollback(&other);
    }
    close_both();
}

static void all_is_copied_already(void)
{
    int left;

    open_both();
    CHECK_INT(DC_OK, insert(&other));
    for (int i = 0; i < 2; i++) {
        CHECK_INT(DC_CHECKPOINT_DONE, copy(&db));
        CHECK_INT(DC_OK, database_checkpoint(&other, &left)); /* the locks have been given back */
        CHECK_INT(DC_OK, insert(&other));
    }
    close_both();
}

static void fail_to_commit(void)
{
    CHECK_INT(DC_BUSY, insert(&other));
}

/* Until SQLite has looked whether there is something to copy. */
static void nobody_commits_before_it_begins(void)
{
    if (!dc_sqlite_has_wal_reset_race()) {
        check_skip("this SQLite has no such race");
        return;
    }
    open_both();
    CHECK_INT(DC_OK, insert(&db));
    watch_checkpoints(fail_to_commit, 0);
    CHECK_INT(DC_CHECKPOINT_DONE, copy(&db));
    unwatch_checkpoints();
    CHECK_INT(1, checkpoints);
    CHECK_INT(DC_OK, insert(&other));
    close_both();
}

static void commit_and_copy(void)
{
    int left;

    CHECK_INT(DC_OK, insert(&other));
    CHECK_INT(DC_BUSY, database_checkpoint(&other, &left));
    CHECK_INT(DC_CHECKPOINT_BUSY, copy(&other));
}

static void others_commit_but_do_not_copy_while_it_syncs(void)
{
    int left;

    open_both();
    database_execute(&db, "PRAGMA synchronous = normal");
    CHECK_INT(DC_OK, insert(&db));
    watch_syncs(&db, commit_and_copy);
    CHECK_INT(DC_CHECKPOINT_DONE, copy(&db));
    unwatch_syncs(&db);
    CHECK_INT(1, syncs);
    CHECK_INT(2, rows(&db));
    CHECK_INT(DC_OK, database_checkpoint(&other, &left));
    CHECK_INT(2, copied_rows());
    close_both();
}

/* A debug build of SQLite ends the process where a handle takes a lock that it has. */
static void no_lock_is_taken_twice(void)
{
    int left;

    open_both();
    database_execute(&db, "PRAGMA synchronous = normal");
    count_locks(&db);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(DC_OK, insert(&other));
        CHECK_INT(DC_CHECKPOINT_DONE, copy(&db));
        CHECK_INT(0, own_locks);
        CHECK_INT(DC_OK, database_checkpoint(&other, &left));
    }
    CHECK_INT(0, wrong_locks);
    CHECK_INT(0, locked_syncs);
    stop_counting(&db);
    CHECK_INT(3, copied_rows());
    close_both();
}

/* The header is bad where a process was killed while it wrote it; then SQLite takes the write lock itself. */
static void a_bad_header_is_left_to_sqlite(void)
{
    volatile void *mapped = NULL;

    open_both();
    CHECK_INT(DC_OK, insert(&other));
    CHECK_INT(DC_SQLITE_OK, db.file->methods->shm_map(db.file, 0, 32768, 0, &mapped));
    ((volatile char *)mapped)[8] ^= 1;
    count_locks(&db);
    CHECK(copy(&db) != DC_CHECKPOINT_FAILED);
    CHECK_INT(0, wrong_locks);
    CHECK_INT(0, own_locks);
    stop_counting(&db);
    CHECK_INT(1, rows(&db)); /* recovered */
    CHECK_INT(DC_OK, insert(&other));
    CHECK_INT(DC_CHECKPOINT_DONE, copy(&db));
    CHECK_INT(2, copied_rows());
    close_both();
}

/* A commit writes the header in two steps, and may be interrupted between them for long. */
static void nothing_is_told_while_the_header_is_written(void)
{
    volatile void *mapped = NULL;
    dc_log log;

    open_both();
    CHECK_INT(DC_OK, insert(&other));
    dc_db_watch_header(&db, dc_db_wal_header(&db));
    CHECK_INT(DC_SQLITE_OK, db.file->methods->shm_map(db.file, 0, 32768, 0, &mapped));
    ((volatile char *)mapped)[32] ^= 1;
    CHECK(!dc_log_look(&db, &log));
    ((volatile char *)mapped)[32] ^= 1;
    CHECK(dc_log_look(&db, &log));
    CHECK(log.left > 0);
    close_both();
}

static void after_a_failure_others_can_copy(void)
{
    const int results[] = {DATABASE_IO_ERROR, DC_SQLITE_BUSY, DC_SQLITE_LOCKED};

    open_both();
    for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
        int left;

        CHECK_INT(DC_OK, insert(&db));
        watch_checkpoints(NULL, results[i]);
        CHECK(copy(&db) != DC_CHECKPOINT_DONE);
        unwatch_checkpoints();
        CHECK_INT(DC_OK, database_checkpoint(&other, &left));
    }
    close_both();
}

static void a_reader_keeps_later_pages_in_the_log(void)
{
    open_both();
    CHECK_INT(DC_OK, insert(&db));
    CHECK_INT(DC_OK, dc_db_begin_read(&other));
    CHECK_INT(1, rows(&other));
    CHECK_INT(DC_OK, insert(&db));
    CHECK_INT(DC_CHECKPOINT_DONE, copy(&db));
    CHECK_INT(1, rows(&other));
    dc_db_end_read(&other);
    CHECK_INT(DC_CHECKPOINT_DONE, copy(&db));
    CHECK_INT(2, copied_rows());
    close_both();
}

static dc_log look(dc_db *from)
{
    dc_log log = {.frames = -1};

    CHECK(dc_log_look(from, &log));
    return log;
}

static void when_all_is_copied_the_log_begins_anew(void)
{
    dc_log before;
    dc_log after;

    open_both();
    CHECK_INT(DC_OK, insert(&other));
    before = look(&db);
    CHECK(before.left > 0);
    CHECK_INT(4096, before.page_size);
    CHECK_INT(DC_CHECKPOINT_DONE, copy(&db));
    after = look(&db);
    CHECK_INT(0, after.left);
    CHECK_INT(before.frames, after.frames);
    CHECK(after.salts == before.salts);
    CHECK_INT(1, copied_rows());
    CHECK_INT(DC_OK, insert(&other));
    after = look(&db);
    CHECK(after.salts != before.salts);
    CHECK_INT(after.frames, after.left);
    CHECK_INT(2, rows(&db));
    close_both();
}

static void a_reader_keeps_the_log_from_beginning_anew(void)
{
    open_both();
    CHECK_INT(DC_OK, insert(&db));
    CHECK_INT(DC_OK, dc_db_begin_read(&other));
    CHECK_INT(1, rows(&other));
    CHECK_INT(DC_CHECKPOINT_DONE, copy(&db));
    CHECK_INT(DC_OK, insert(&db));
    CHECK_INT(1, rows(&other));
    CHECK_INT(DC_CHECKPOINT_DONE, copy(&db));
    CHECK(look(&db).left > 0);
    dc_db_end_read(&other);
    CHECK_INT(DC_CHECKPOINT_DONE, copy(&db));
    close_both();
}

static void a_writer_is_not_waited_for_long(void)
{
    if (!dc_sqlite_has_wal_reset_race()) {
        check_skip("this SQLite needs no lock");
        return;
    }
    open_both();
    CHECK_INT(DC_OK, insert(&db));
    CHECK_INT(DC_OK, dc_db_begin(&other));
    CHECK_INT(DC_CHECKPOINT_BUSY, copy(&db));
    database_execute(&other, "INSERT INTO t VALUES (2)");
    CHECK_INT(DC_OK, dc_db_commit(&other));
    CHECK_INT(2, rows(&db));
    close_both();
}

static void what_a_sync_takes_is_told(void)
{
    dc_checkpoint checkpoint = {.patience = 0.001};

    open_both();
    CHECK_INT(DC_OK, insert(&db));
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint_copy(&db, &checkpoint));
    CHECK(checkpoint.sync_seconds == 0.0); /* synchronous is off */
    database_execute(&db, "PRAGMA synchronous = normal");
    CHECK_INT(DC_OK, insert(&db));
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint_copy(&db, &checkpoint));
    CHECK(checkpoint.sync_seconds > 0.0);
    close_both();
}

static void without_a_log_nothing_is_done(void)
{
    dc_checkpoint checkpoint = {.patience = 0.001};
    dc_log log;

    CHECK_INT(DC_OK, database_open(&db, database_path("cache.db")));
    database_execute(&db, "PRAGMA journal_mode = delete");
    database_execute(&db, "CREATE TABLE t (number)");
    CHECK_INT(DC_CHECKPOINT_NO_LOG, copy(&db));
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint_in_any_case(&db, &checkpoint));
    CHECK(!dc_log_look(&db, &log));
    database_close(&db);
}

/* A handle with which somebody else commits, without our statements. */
static void the_log_is_copied_after_foreign_commits(void)
{
    int64_t longest = 0;

    open_both();
    dc_checkpoint_after_foreign_commits(&db);
    for (int i = 0; i < 3000; i++) {
        database_execute(&db, "INSERT INTO t VALUES (zeroblob(3000))");
        longest = db.wal_pages > longest ? db.wal_pages : longest;
    }
    CHECK(longest > 1000);
    CHECK(longest < 1100);
    CHECK_INT(3000, rows(&other));
    close_both();
}

static void after_own_commits_it_is_not(void)
{
    open_both();
    dc_checkpoint_after_foreign_commits(&db);
    for (int i = 0; i < 1500; i++) {
        CHECK_INT(DC_OK, insert(&db));
    }
    CHECK(db.wal_pages >= 1500);
    CHECK(look(&db).left >= 1500);
    close_both();
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(what_is_committed_is_copied),
        CHECK_TEST(checkpoints_that_are_done_are_counted_with_what_they_copy),
        CHECK_TEST(all_is_copied_already),
        CHECK_TEST(nobody_commits_before_it_begins),
        CHECK_TEST(others_commit_but_do_not_copy_while_it_syncs),
        CHECK_TEST(no_lock_is_taken_twice),
        CHECK_TEST(a_bad_header_is_left_to_sqlite),
        CHECK_TEST(nothing_is_told_while_the_header_is_written),
        CHECK_TEST(after_a_failure_others_can_copy),
        CHECK_TEST(a_reader_keeps_later_pages_in_the_log),
        CHECK_TEST(when_all_is_copied_the_log_begins_anew),
        CHECK_TEST(a_reader_keeps_the_log_from_beginning_anew),
        CHECK_TEST(a_writer_is_not_waited_for_long),
        CHECK_TEST(what_a_sync_takes_is_told),
        CHECK_TEST(without_a_log_nothing_is_done),
        CHECK_TEST(the_log_is_copied_after_foreign_commits),
        CHECK_TEST(after_own_commits_it_is_not),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
