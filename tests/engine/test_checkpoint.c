/* test_checkpoint.c: copying the log into the database beside commits. */
#include "checkpoint.h"

#include "database.h"

/* ---- A checkpoint with something in between ---------------------------------------------------- */

static int (*checkpoint_of_sqlite)(sqlite3 *, const char *, int, int *, int *);
static int checkpoints;
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
    int left = -1;

    open_both();
    CHECK_INT(DC_OK, insert(&other));
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint(&db, &left));
    CHECK_INT(0, left);
    CHECK_INT(1, copied_rows());
    close_both();
}

static void where_all_is_copied_sqlite_is_not_asked(void)
{
    int left;

    if (!dc_sqlite_has_wal_reset_race()) {
        check_skip("this SQLite has no such race");
        return;
    }
    open_both();
    CHECK_INT(DC_OK, insert(&other));
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint(&db, &left));
    watch_checkpoints(NULL, 0);
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint(&db, &left));
    unwatch_checkpoints();
    CHECK_INT(0, checkpoints);
    CHECK_INT(DC_OK, dc_db_checkpoint(&other, &left)); /* the lock has been given back */
    close_both();
}

static void commit_meanwhile(void)
{
    CHECK_INT(DC_OK, insert(&other));
}

static void others_commit_meanwhile(void)
{
    int left;

    open_both();
    CHECK_INT(DC_OK, insert(&db));
    watch_checkpoints(commit_meanwhile, 0);
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint(&db, &left));
    unwatch_checkpoints();
    CHECK_INT(1, checkpoints);
    CHECK_INT(2, rows(&db));
    CHECK_INT(2, copied_rows());
    close_both();
}

static void copy_meanwhile(void)
{
    int left;

    sqlite.wal_checkpoint_v2 = checkpoint_of_sqlite;
    CHECK_INT(DC_BUSY, dc_db_checkpoint(&other, &left));
    CHECK_INT(DC_CHECKPOINT_BUSY, dc_checkpoint(&other, &left));
}

static void nobody_else_copies_meanwhile(void)
{
    int left;

    if (!dc_sqlite_has_wal_reset_race()) {
        check_skip("this SQLite has no such race");
        return;
    }
    open_both();
    CHECK_INT(DC_OK, insert(&db));
    watch_checkpoints(copy_meanwhile, 0);
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint(&db, &left));
    CHECK_INT(1, checkpoints);
    CHECK_INT(DC_OK, dc_db_checkpoint(&other, &left));
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
        CHECK(dc_checkpoint(&db, &left) != DC_CHECKPOINT_DONE);
        unwatch_checkpoints();
        CHECK_INT(DC_OK, dc_db_checkpoint(&other, &left));
    }
    close_both();
}

static void a_reader_keeps_later_pages_in_the_log(void)
{
    int left = 0;

    open_both();
    CHECK_INT(DC_OK, insert(&db));
    CHECK_INT(DC_OK, dc_db_begin_read(&other));
    CHECK_INT(1, rows(&other));
    CHECK_INT(DC_OK, insert(&db));
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint(&db, &left));
    CHECK(left > 0);
    CHECK_INT(1, rows(&other));
    dc_db_end_read(&other);
    CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint(&db, &left));
    CHECK_INT(0, left);
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

static void do_not_commit_meanwhile(void)
{
    CHECK_INT(DC_BUSY, insert(&other));
}

static void alone_it_keeps_commits_out(void)
{
    open_both();
    CHECK_INT(DC_OK, insert(&db));
    watch_checkpoints(do_not_commit_meanwhile, 0);
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
    int left;

    CHECK_INT(DC_OK, dc_db_open(&db, database_path("cache.db")));
    database_execute(&db, "PRAGMA journal_mode = delete");
    database_execute(&db, "CREATE TABLE t (number)");
    if (dc_sqlite_has_wal_reset_race()) {
        CHECK_INT(DC_CHECKPOINT_UNSAFE, dc_checkpoint(&db, &left));
    } else {
        CHECK_INT(DC_CHECKPOINT_DONE, dc_checkpoint(&db, &left));
    }
    CHECK_INT(DC_CHECKPOINT_UNSAFE, dc_checkpoint_alone(&db, 0.001));
    dc_db_detach(&db);
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(what_is_committed_is_copied),
        CHECK_TEST(where_all_is_copied_sqlite_is_not_asked),
        CHECK_TEST(others_commit_meanwhile),
        CHECK_TEST(nobody_else_copies_meanwhile),
        CHECK_TEST(after_a_failure_others_can_copy),
        CHECK_TEST(a_reader_keeps_later_pages_in_the_log),
        CHECK_TEST(alone_it_lets_the_log_begin_anew),
        CHECK_TEST(alone_it_keeps_commits_out),
        CHECK_TEST(alone_it_does_not_wait_long_for_readers),
        CHECK_TEST(alone_it_does_not_wait_long_for_a_writer),
        CHECK_TEST(after_a_failure_alone_others_can_go_on),
        CHECK_TEST(without_a_log_nothing_is_done),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
