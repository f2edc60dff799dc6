/* test_wal_append.c: what a commit appends to the log is written at once, and is what SQLite wrote. */
#include "sqlite/wal_append.h"

#include "database.h"
#include "engine/db.h"

/* ---- A log whose writes are counted and fail on demand --------------------------------------- */

static dc_io_methods watching;
static const dc_io_methods *watched;
static int writes;
static int writes_until_failure; /* 0: none fails */

static int watched_write(sqlite3_file *file, const void *data, int amount, dc_int64 offset)
{
    writes++;
    if (writes_until_failure > 0 && --writes_until_failure == 0) {
        return DATABASE_IO_ERROR;
    }
    return watched->write(file, data, amount, offset);
}

static sqlite3_file *log_of(dc_db *db)
{
    sqlite3_file *file = NULL;

    sqlite.file_control(db->handle, "main", DC_SQLITE_FCNTL_JOURNAL_POINTER, &file);
    return file;
}

static void watch(dc_db *db)
{
    sqlite3_file *file = log_of(db);

    watched = file->methods;
    watching = *watched;
    watching.write = watched_write;
    file->methods = &watching;
    writes = writes_until_failure = 0;
}

/* ---- Databases --------------------------------------------------------------------------------- */

static void open_table(dc_db *db)
{
    database_connect(db);
    database_execute(db, "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, content)");
}

/* Insert rows of about a page each, and commit. */
static dc_status commit_rows(dc_db *db, int count)
{
    char sql[200];

    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
             " INSERT INTO t (content) SELECT randomblob(3000) FROM n",
             count);
    CHECK_INT(DC_OK, dc_db_begin(db));
    database_execute(db, sql);
    return dc_db_commit(db);
}

static int64_t rows(dc_db *db)
{
    return database_integer(db, "SELECT count(*) FROM t");
}

/* What somebody finds who has only the files: after the log has been recovered from its frames. */
static void check_recovery(dc_db *db)
{
    int64_t expected = rows(db);
    dc_db copy;

    database_copy("cache.db", "copy.db");
    database_copy("cache.db-wal", "copy.db-wal");
    CHECK_INT(DC_OK, database_open(&copy, database_path("copy.db")));
    CHECK_INT(expected, rows(&copy));
    CHECK(dc_db_pragma_is(&copy, "PRAGMA integrity_check", "ok"));
    CHECK_INT(0, database_integer(&copy, "SELECT count(*) FROM t WHERE length(content) <> 3000"));
    database_close(&copy);
}

/* ---- Tests ------------------------------------------------------------------------------------- */

static void a_commit_is_one_write(void)
{
    dc_db db;

    open_table(&db);
    watch(&db);
    CHECK_INT(DC_OK, commit_rows(&db, 3));
    CHECK_INT(1, writes);
    CHECK(log_of(&db)->methods == &watching);
    check_recovery(&db);
    database_close(&db);
}

static void the_first_frame_of_a_log_follows_its_header(void)
{
    dc_db db;
    int left;

    open_table(&db);
    CHECK_INT(DC_OK, database_checkpoint(&db, &left));
    CHECK_INT(0, left);
    watch(&db);
    CHECK_INT(DC_OK, commit_rows(&db, 1));
    CHECK_INT(2, writes);
    check_recovery(&db);
    database_close(&db);
}

static void others_see_what_is_committed(void)
{
    dc_db db;
    dc_db other;

    open_table(&db);
    open_table(&other);
    CHECK_INT(0, rows(&other));
    CHECK_INT(DC_OK, commit_rows(&db, 2));
    CHECK_INT(2, rows(&other));
    CHECK_INT(DC_OK, commit_rows(&other, 5));
    CHECK_INT(7, rows(&db));
    check_recovery(&db);
    database_close(&other);
    database_close(&db);
}

static void a_commit_of_many_frames_takes_a_few_writes(void)
{
    dc_db db;

    open_table(&db);
    watch(&db);
    CHECK_INT(DC_OK, commit_rows(&db, 200));
    CHECK(writes > 1 && writes < 20);
    check_recovery(&db);
    database_close(&db);
}

static void pages_larger_than_the_buffer_are_written(void)
{
    dc_db db;

    int is_wal;
    int synchronous;

    CHECK_INT(DC_OK, database_open(&db, database_path("cache.db")));
    database_execute(&db, "PRAGMA page_size = 65536");
    database_execute(&db, "PRAGMA journal_mode = wal");
    database_execute(&db, "CREATE TABLE t (id INTEGER PRIMARY KEY, content)");
    dc_db_examine(&db, &is_wal, &synchronous);
    CHECK_INT(65536, database_integer(&db, "PRAGMA page_size"));
    CHECK_INT(DC_OK, commit_rows(&db, 100));
    check_recovery(&db);
    database_close(&db);
}

/* Pages that do not fit into memory are in the log before the commit, and are read and written there
 * once more; then the checksums of all later frames are made anew. */
static void frames_written_before_the_commit_are_rewritten(void)
{
    dc_db db;

    open_table(&db);
    CHECK_INT(DC_OK, commit_rows(&db, 100));
    database_execute(&db, "PRAGMA cache_size = 5");
    CHECK_INT(DC_OK, dc_db_begin(&db));
    for (int i = 0; i < 3; i++) {
        database_execute(&db, "UPDATE t SET content = randomblob(3000)");
    }
    CHECK_INT(DC_OK, dc_db_commit(&db));
    check_recovery(&db);
    CHECK_INT(DC_OK, commit_rows(&db, 2));
    check_recovery(&db);
    database_close(&db);
}

static void each_commit_is_synchronous_where_it_is_to_be(void)
{
    dc_db db;

    open_table(&db);
    database_execute(&db, "PRAGMA synchronous = full");
    for (int i = 0; i < 5; i++) {
        CHECK_INT(DC_OK, commit_rows(&db, 1));
        check_recovery(&db);
    }
    database_close(&db);
}

static void a_commit_fails_if_its_frames_cannot_be_written(void)
{
    dc_db db;
    dc_db other;

    open_table(&db);
    open_table(&other);
    CHECK_INT(DC_OK, commit_rows(&db, 1));
    for (int failing = 1; failing <= 3; failing++) {
        watch(&db);
        writes_until_failure = failing;
        CHECK_INT(DC_SQLITE, commit_rows(&db, 40)); /* three writes */
        log_of(&db)->methods = watched;
        CHECK(!dc_db_in_transaction(&db));
        CHECK_INT(failing, rows(&db));
        CHECK_INT(failing, rows(&other));
        check_recovery(&db);
        CHECK_INT(DC_OK, commit_rows(&db, 1));
        check_recovery(&db);
    }
    database_close(&other);
    database_close(&db);
}

static void a_journal_that_is_no_log_is_left_alone(void)
{
    dc_db db;
    int is_wal;
    int synchronous;

    open_table(&db);
    CHECK(db.has_known_log);
    database_execute(&db, "PRAGMA journal_mode = delete");
    dc_db_examine(&db, &is_wal, &synchronous);
    CHECK(!db.has_known_log);
    CHECK_INT(DC_OK, commit_rows(&db, 3));
    CHECK_INT(3, rows(&db));
    database_close(&db);
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(a_commit_is_one_write),
        CHECK_TEST(the_first_frame_of_a_log_follows_its_header),
        CHECK_TEST(others_see_what_is_committed),
        CHECK_TEST(a_commit_of_many_frames_takes_a_few_writes),
        CHECK_TEST(pages_larger_than_the_buffer_are_written),
        CHECK_TEST(frames_written_before_the_commit_are_rewritten),
        CHECK_TEST(each_commit_is_synchronous_where_it_is_to_be),
        CHECK_TEST(a_commit_fails_if_its_frames_cannot_be_written),
        CHECK_TEST(a_journal_that_is_no_log_is_left_alone),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
