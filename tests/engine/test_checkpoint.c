/* test_checkpoint.c: copying the log into the database beside commits. */
#include "checkpoint.h"

#include "database.h"

#include <pthread.h>

/* ---- A checkpoint with something in between ---------------------------------------------------- */

static int (*checkpoint_of_sqlite)(sqlite3 *, const char *, int, int *, int *);
static int checkpoints;
static atomic_int keeps_out;
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

/* ---- A handle that cannot take a lock twice ----------------------------------------------------- */

static dc_io_methods refusing;
static const dc_io_methods *allowing;
static int own_locks; /* a bit for each */

static int refuse_lock(sqlite3_file *file, int offset, int count, int flags)
{
    int mask = ((1 << count) - 1) << offset;
    int result;

    if ((flags & (DC_SQLITE_SHM_LOCK | DC_SQLITE_SHM_EXCLUSIVE)) ==
            (DC_SQLITE_SHM_LOCK | DC_SQLITE_SHM_EXCLUSIVE) &&
        (own_locks & mask)) {
        return DC_SQLITE_BUSY;
    }
    result = allowing->shm_lock(file, offset, count, flags);
    if (result == DC_SQLITE_OK && (flags & DC_SQLITE_SHM_EXCLUSIVE)) {
        own_locks = flags & DC_SQLITE_SHM_LOCK ? own_locks | mask : own_locks & ~mask;
    }
    return result;
}

static void refuse_own_locks(dc_db *of)
{
    allowing = of->file->methods;
    refusing = *allowing;
    refusing.shm_lock = refuse_lock;
    of->file->methods = &refusing;
    own_locks = 0;
}

static void allow_own_locks(dc_db *of)
{
    of->file->methods = allowing;
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
    dc_db_detach(&other);
    dc_db_detach(&db);
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

/* Rows in the database without its log. */
static int64_t copied_rows(void)
{
    char command[3 * sizeof check_scratch];
    int64_t count;
    dc_db copy;

    snprintf(command, sizeof command, "cp '%s/cache.db' '%s/copy.db'", check_directory(),
             check_directory());
    CHECK_INT(0, system(command));
    CHECK_INT(DC_OK, dc_db_open(&copy, database_path("copy.db")));
    count = rows(&copy);
    dc_db_detach(&copy);
    return count;
}

/* ---- Tests ------------------------------------------------------------------------------------- */

static void what_is_committed_is_copied(void)
{
    open_both();
    CHECK_INT(DC_OK, insert(&other));
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint(&db, 0.001, &keeps_out));
    CHECK_INT(1, copied_rows());
    close_both();
}

static void all_is_copied_already(void)
{
    int left;

    open_both();
    CHECK_INT(DC_OK, insert(&other));
    for (int i = 0; i < 2; i++) {
        CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint(&db, 0.001, &keeps_out));
        CHECK_INT(DC_OK, dc_db_checkpoint(&other, &left)); /* the locks have been given back */
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
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint(&db, 0.001, &keeps_out));
    unwatch_checkpoints();
    CHECK_INT(1, checkpoints);
    CHECK_INT(DC_OK, insert(&other));
    close_both();
}

static void commit_and_copy(void)
{
    int left;

    CHECK_INT(DC_OK, insert(&other));
    CHECK_INT(DC_BUSY, dc_db_checkpoint(&other, &left));
    CHECK_INT(DC_CHECKPOINT_BUSY, dc_checkpoint(&other, 0.001, &keeps_out));
}

static void others_commit_but_do_not_copy_while_it_syncs(void)
{
    int left;

    open_both();
    database_execute(&db, "PRAGMA synchronous = normal");
    CHECK_INT(DC_OK, insert(&db));
    watch_syncs(&db, commit_and_copy);
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint(&db, 0.001, &keeps_out));
    unwatch_syncs(&db);
    CHECK_INT(1, syncs);
    CHECK_INT(2, rows(&db));
    CHECK_INT(DC_OK, dc_db_checkpoint(&other, &left));
    CHECK_INT(2, copied_rows());
    close_both();
}

/* SQLite 3.46 and others do not give a handle a lock that it has. */
static void locks_that_cannot_be_taken_twice_are_given_back(void)
{
    int left;

    open_both();
    refuse_own_locks(&db);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(DC_OK, insert(&other));
        CHECK_INT(DC_CHECKPOINT_DONE,
                  i % 2 == 0 ? dc_checkpoint(&db, 0.001, &keeps_out) : dc_checkpoint_alone(&db, 0.001));
        CHECK_INT(0, own_locks);
        CHECK_INT(DC_OK, dc_db_checkpoint(&other, &left));
    }
    CHECK_INT(3, copied_rows());
    allow_own_locks(&db);
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
        CHECK(dc_checkpoint(&db, 0.001, &keeps_out) != DC_CHECKPOINT_DONE);
        unwatch_checkpoints();
        CHECK_INT(DC_OK, dc_db_checkpoint(&other, &left));
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
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint(&db, 0.001, &keeps_out));
    CHECK_INT(1, rows(&other));
    dc_db_end_read(&other);
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint(&db, 0.001, &keeps_out));
    CHECK_INT(2, copied_rows());
    close_both();
}

/* Salts of the log: it has others when it has begun anew. */
static uint64_t salts(dc_db *from)
{
    dc_stamp stamp;

    CHECK(dc_stamp_read(dc_wal_header_of(from), &stamp));
    return stamp.words[4];
}

static void alone_it_lets_the_log_begin_anew(void)
{
    uint64_t before;

    open_both();
    CHECK_INT(DC_OK, insert(&other));
    before = salts(&db);
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint_alone(&db, 0.01));
    CHECK_INT(1, copied_rows());
    CHECK_INT(DC_OK, insert(&other));
    CHECK(salts(&db) != before);
    CHECK_INT(2, rows(&db));
    close_both();
}

static void alone_it_keeps_commits_out(void)
{
    open_both();
    CHECK_INT(DC_OK, insert(&db));
    watch_checkpoints(fail_to_commit, 0);
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint_alone(&db, 0.01));
    unwatch_checkpoints();
    CHECK_INT(1, checkpoints);
    CHECK_INT(DC_OK, insert(&other));
    CHECK_INT(DC_OK, insert(&db));
    close_both();
}

static void alone_it_does_not_wait_long_for_readers(void)
{
    uint64_t before;

    open_both();
    CHECK_INT(DC_OK, insert(&db));
    before = salts(&db);
    CHECK_INT(DC_OK, dc_db_begin_read(&other));
    CHECK_INT(1, rows(&other));
    CHECK_INT(DC_CHECKPOINT_BUSY, dc_checkpoint_alone(&db, 0.001));
    CHECK_INT(DC_OK, insert(&db));
    CHECK(salts(&db) == before);
    CHECK_INT(1, rows(&other));
    CHECK_INT(DC_CHECKPOINT_BUSY, dc_checkpoint_alone(&db, 0.001));
    dc_db_end_read(&other);
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint_alone(&db, 0.001));
    close_both();
}

static void alone_it_does_not_wait_long_for_a_writer(void)
{
    open_both();
    CHECK_INT(DC_OK, insert(&db));
    CHECK_INT(DC_OK, dc_db_begin(&other));
    CHECK_INT(DC_CHECKPOINT_BUSY, dc_checkpoint_alone(&db, 0.001));
    database_execute(&other, "INSERT INTO t VALUES (2)");
    CHECK_INT(DC_OK, dc_db_commit(&other));
    CHECK_INT(2, rows(&db));
    close_both();
}

static void after_a_failure_alone_others_can_go_on(void)
{
    int left;

    open_both();
    CHECK_INT(DC_OK, insert(&db));
    watch_checkpoints(NULL, DATABASE_IO_ERROR);
    CHECK_INT(DC_CHECKPOINT_FAILED, dc_checkpoint_alone(&db, 0.001));
    unwatch_checkpoints();
    CHECK_INT(DC_OK, insert(&other));
    CHECK_INT(DC_OK, dc_db_checkpoint(&other, &left));
    close_both();
}

static void without_a_log_nothing_is_done(void)
{
    CHECK_INT(DC_OK, dc_db_open(&db, database_path("cache.db")));
    database_execute(&db, "PRAGMA journal_mode = delete");
    database_execute(&db, "CREATE TABLE t (number)");
    CHECK_INT(dc_sqlite_has_wal_reset_race() ? DC_CHECKPOINT_NO_LOG : DC_CHECKPOINT_DONE,
              dc_checkpoint(&db, 0.001, &keeps_out));
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint_alone(&db, 0.001));
    dc_db_detach(&db);
}

static dc_checkpoint_result result_of_thread;
static int keeping;

static void *copy_in_thread(void *unused)
{
    (void)unused;
    result_of_thread = dc_checkpoint_kept_out(&db, 0.01, keeping);
    return NULL;
}

static void what_one_thread_has_begun_another_ends(void)
{
    pthread_t thread;
    uint64_t before;

    open_both();
    CHECK_INT(DC_OK, insert(&other));
    before = salts(&db);
    CHECK(dc_checkpoint_keep_out(&db, &keeping));
    CHECK_INT(DC_BUSY, insert(&other));
    CHECK_INT(1, rows(&other));
    CHECK_INT(0, pthread_create(&thread, NULL, copy_in_thread, NULL));
    pthread_join(thread, NULL);
    CHECK_INT(DC_CHECKPOINT_DONE, result_of_thread);
    CHECK_INT(1, copied_rows());
    CHECK_INT(DC_OK, insert(&other));
    CHECK(salts(&db) != before);
    close_both();
}

static void commits_are_let_in_again_without_a_copy(void)
{
    open_both();
    CHECK_INT(DC_OK, insert(&other));
    CHECK(dc_checkpoint_keep_out(&db, &keeping));
    dc_checkpoint_let_in(&db, keeping);
    CHECK_INT(DC_OK, insert(&other));
    CHECK_INT(DC_OK, insert(&db));
    close_both();
}

static void a_writer_cannot_be_kept_out(void)
{
    open_both();
    CHECK_INT(DC_OK, insert(&db));
    CHECK_INT(DC_OK, dc_db_begin(&other));
    CHECK(!dc_checkpoint_keep_out(&db, &keeping));
    CHECK_INT(DC_OK, dc_db_commit(&other));
    CHECK_INT(DC_OK, insert(&other));
    close_both();
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(what_is_committed_is_copied),
        CHECK_TEST(all_is_copied_already),
        CHECK_TEST(nobody_commits_before_it_begins),
        CHECK_TEST(others_commit_but_do_not_copy_while_it_syncs),
        CHECK_TEST(locks_that_cannot_be_taken_twice_are_given_back),
        CHECK_TEST(after_a_failure_others_can_copy),
        CHECK_TEST(a_reader_keeps_later_pages_in_the_log),
        CHECK_TEST(alone_it_lets_the_log_begin_anew),
        CHECK_TEST(alone_it_keeps_commits_out),
        CHECK_TEST(alone_it_does_not_wait_long_for_readers),
        CHECK_TEST(alone_it_does_not_wait_long_for_a_writer),
        CHECK_TEST(after_a_failure_alone_others_can_go_on),
        CHECK_TEST(what_one_thread_has_begun_another_ends),
        CHECK_TEST(commits_are_let_in_again_without_a_copy),
        CHECK_TEST(a_writer_cannot_be_kept_out),
        CHECK_TEST(without_a_log_nothing_is_done),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
