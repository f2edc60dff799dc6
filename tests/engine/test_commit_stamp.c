/* test_commit_stamp.c: the header that a commit has left is known, or said not to be; and what leans on
 * SQLite's order of things turns itself off where the order is another. */
#include "sqlite/commit_stamp.h"

#include <stdint.h>
#include <string.h>

#include "base/selfcheck.h"
#include "database.h"
#include "engine/db.h"

/* ---- A database's file that does something else ------------------------------------------------- */

static dc_io_methods watching;
static const dc_io_methods *watched;
static int unlocks_to_swallow;
static int marks_that_fail;
static dc_db *commits_after_unlock;

static void commit_row(dc_db *db)
{
    CHECK_INT(DC_OK, dc_db_begin(db));
    database_execute(db, "INSERT INTO t (content) VALUES ('x')");
    CHECK_INT(DC_OK, dc_db_commit(db));
}

static int watched_shm_lock(sqlite3_file *file, int first, int count, int flags)
{
    int unlocks = first == 0 && flags == (DC_SQLITE_SHM_UNLOCK | DC_SQLITE_SHM_EXCLUSIVE);
    dc_db *other = commits_after_unlock;
    int result;

    if (unlocks && unlocks_to_swallow > 0) {
        unlocks_to_swallow--;
        return DC_SQLITE_OK;
    }
    if (first > 3 && flags == (DC_SQLITE_SHM_LOCK | DC_SQLITE_SHM_SHARED) && marks_that_fail > 0) {
        marks_that_fail--;
        return DATABASE_IO_ERROR;
    }
    result = watched->shm_lock(file, first, count, flags);
    if (unlocks && other != NULL) {
        commits_after_unlock = NULL;
        commit_row(other);
    }
    return result;
}

/* Without leases, which look for themselves at the top of what lies above SQLite's methods. */
static void watch(dc_db *db)
{
    dc_read_lease_detach(&db->lease);
    watched = db->file->methods;
    watching = *watched;
    watching.shm_lock = watched_shm_lock;
    db->file->methods = &watching;
    unlocks_to_swallow = marks_that_fail = 0;
    commits_after_unlock = NULL;
}

static sqlite3_file *log_of(dc_db *db)
{
    sqlite3_file *file = NULL;

    sqlite.file_control(db->handle, "main", DC_SQLITE_FCNTL_JOURNAL_POINTER, &file);
    return file;
}

/* ---- Databases ---------------------------------------------------------------------------------- */

static void forget_failures(void)
{
    for (int i = 0; i < DC_MECHANISM_COUNT; i++) {
        atomic_store(&dc_selfcheck_failures[i], NULL);
    }
}

static dc_wal_header open_watched(dc_db *db)
{
    dc_wal_header header;

    forget_failures();
    database_connect(db);
    database_execute(db, "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, content)");
    header = dc_db_wal_header(db);
    CHECK(header != NULL);
    dc_db_watch_header(db, header);
    return header;
}

static int is_now(dc_wal_header header, const dc_stamp *stamp)
{
    return stamp != NULL && dc_stamp_holds(header, stamp);
}

/* ---- What is known after a commit ---------------------------------------------------------------- */

static void a_commit_leaves_the_header_that_stands(void)
{
    dc_db db;
    dc_wal_header header = open_watched(&db);

    for (int i = 0; i < 20; i++) {
        commit_row(&db);
        CHECK(is_now(header, dc_db_commit_stamp(&db)));
        CHECK_INT(db.wal_pages, dc_stamp_frames(dc_db_commit_stamp(&db)));
    }
    database_close(&db);
}

static void a_commit_that_wrote_nothing_leaves_the_header_that_was(void)
{
    dc_db db;
    dc_wal_header header = open_watched(&db);
    dc_stamp before;

    commit_row(&db);
    CHECK(dc_stamp_read(header, &before));
    CHECK_INT(DC_OK, dc_db_begin(&db));
    CHECK_INT(DC_OK, dc_db_commit(&db));
    CHECK(dc_db_commit_stamp(&db) != NULL);
    CHECK(memcmp(&before, dc_db_commit_stamp(&db), sizeof before) == 0);
    database_close(&db);
}

/* `writes`: whether the first of the two writes at all. */
static void another_commit_is_not_taken_for_ones_own(int writes)
{
    dc_db db;
    dc_db other;
    dc_wal_header header = open_watched(&db);
    dc_stamp before;

    open_watched(&other);
    commit_row(&db);
    CHECK(dc_stamp_read(header, &before));
    watch(&db);
    CHECK_INT(DC_OK, dc_db_begin(&db));
    if (writes) {
        database_execute(&db, "INSERT INTO t (content) VALUES ('x')");
    }
    commits_after_unlock = &other;
    CHECK_INT(DC_OK, dc_db_commit(&db));
    CHECK(commits_after_unlock == NULL);
    CHECK(dc_db_commit_stamp(&db) != NULL);
    CHECK(!is_now(header, dc_db_commit_stamp(&db)));
    CHECK(is_now(header, dc_db_commit_stamp(&other)));
    CHECK_INT(!writes, memcmp(&before, dc_db_commit_stamp(&db), sizeof before) == 0);
    CHECK_INT(dc_stamp_frames(&before) + (writes ? 1 : 0),
              dc_stamp_frames(dc_db_commit_stamp(&db)));
    db.file->methods = watched;
    database_close(&other);
    database_close(&db);
}

static void the_commit_of_another_right_after_ones_own_is_told_apart(void)
{
    another_commit_is_not_taken_for_ones_own(1);
}

static void the_commit_of_another_right_after_an_empty_one_is_told_apart(void)
{
    another_commit_is_not_taken_for_ones_own(0);
}

static void a_commit_that_begins_the_log_anew_is_known(void)
{
    dc_db db;
    dc_wal_header header = open_watched(&db);
    int left;

    for (int i = 0; i < 10; i++) {
        commit_row(&db);
        CHECK_INT(DC_OK, database_checkpoint(&db, &left));
        CHECK_INT(0, left);
    }
    CHECK(is_now(header, dc_db_commit_stamp(&db)));
    CHECK(dc_stamp_frames(dc_db_commit_stamp(&db)) < 5);
    database_close(&db);
}

static void a_rollback_and_a_commit_that_fails_leave_nothing(void)
{
    dc_db db;

    open_watched(&db);
    commit_row(&db);
    CHECK_INT(DC_OK, dc_db_begin(&db));
    database_execute(&db, "INSERT INTO t (content) VALUES ('x')");
    database_watch_steps(1);
    CHECK_INT(DC_SQLITE, dc_db_commit(&db));
    database_unwatch_steps();
    CHECK(dc_db_commit_stamp(&db) == NULL);
    commit_row(&db);
    CHECK(dc_db_commit_stamp(&db) != NULL);
    CHECK(dc_selfcheck_holds(DC_COMMIT_STAMP));
    database_close(&db);
}

static void nothing_is_known_without_a_header(void)
{
    dc_db db;

    open_watched(&db);
    dc_db_watch_header(&db, NULL);
    commit_row(&db);
    CHECK(dc_db_commit_stamp(&db) == NULL);
    CHECK(dc_selfcheck_holds(DC_COMMIT_STAMP));
    database_close(&db);
}

/* ---- Another SQLite ------------------------------------------------------------------------------ */

static void methods_of_a_later_version_are_left_alone(void)
{
    dc_db db;

    open_watched(&db);
    watch(&db);
    watching.version = DC_IO_VERSION + 1;
    commit_row(&db);
    CHECK(db.file->methods == &watching);
    CHECK(dc_db_commit_stamp(&db) == NULL);
    commit_row(&db);
    CHECK_INT(2, database_integer(&db, "SELECT count(*) FROM t"));
    db.file->methods = watched;
    database_close(&db);
}

/* Give the lock back once more, somewhere in COMMIT: while the log is written. */
static int write_and_unlock(sqlite3_file *file, const void *data, int amount, dc_int64 offset);
static dc_io_methods log_watching;
static const dc_io_methods *log_watched;
static dc_db *unlocked;

static int write_and_unlock(sqlite3_file *file, const void *data, int amount, dc_int64 offset)
{
    if (unlocked != NULL) {
        dc_db *db = unlocked;

        unlocked = NULL;
        unlocks_to_swallow = 1;
        db->file->methods->shm_lock(db->file, 0, 1, DC_SQLITE_SHM_UNLOCK | DC_SQLITE_SHM_EXCLUSIVE);
    }
    return log_watched->write(file, data, amount, offset);
}

static void a_lock_given_back_too_early_turns_it_off(void)
{
    dc_db db;

    open_watched(&db);
    commit_row(&db);
    watch(&db);
    log_watched = log_of(&db)->methods;
    log_watching = *log_watched;
    log_watching.write = write_and_unlock;
    log_of(&db)->methods = &log_watching;
    unlocked = &db;
    commit_row(&db);
    CHECK(unlocked == NULL);
    CHECK(dc_db_commit_stamp(&db) == NULL);
    CHECK(!dc_selfcheck_holds(DC_COMMIT_STAMP));
    CHECK(dc_selfcheck_holds(DC_WAL_APPEND));
    commit_row(&db);
    CHECK(dc_db_commit_stamp(&db) == NULL);
    log_of(&db)->methods = log_watched;
    db.file->methods = watched;
    database_close(&db);
    forget_failures();
}

static void a_header_that_is_not_final_turns_it_off(void)
{
    dc_db db;
    dc_wal_header header = open_watched(&db);
    static uint64_t copy[12];

    commit_row(&db);
    for (int i = 0; i < 12; i++) {
        copy[i] = header[i];
    }
    dc_db_watch_header(&db, copy); /* where nothing is published */
    commit_row(&db);
    CHECK(dc_db_commit_stamp(&db) == NULL);
    CHECK(!dc_selfcheck_holds(DC_COMMIT_STAMP));
    database_close(&db);
    forget_failures();
}

static void a_header_that_is_being_written_turns_it_off(void)
{
    dc_db db;
    static uint64_t zeros[12];

    open_watched(&db);
    dc_db_watch_header(&db, zeros);
    commit_row(&db);
    CHECK(dc_db_commit_stamp(&db) == NULL);
    CHECK(!dc_selfcheck_holds(DC_COMMIT_STAMP));
    database_close(&db);
    forget_failures();
}

static void frames_left_behind_by_a_commit_are_written_and_turn_gathering_off(void)
{
    dc_db db;
    char frame[24] = {0};
    char seen[24] = {1};
    sqlite3_file *log;
    dc_int64 end;

    open_watched(&db);
    commit_row(&db);
    log = log_of(&db);
    CHECK_INT(DC_SQLITE_OK, log->methods->file_size(log, &end));
    dc_wal_append_begin(&db.frames, db.handle);
    CHECK_INT(DC_SQLITE_OK, log->methods->write(log, frame, sizeof frame, end));
    CHECK_INT(DC_SQLITE_OK, dc_wal_append_end(&db.frames, 1));
    CHECK_INT(DC_SQLITE_OK, log->methods->read(log, seen, sizeof seen, end));
    CHECK(memcmp(frame, seen, sizeof frame) == 0);
    CHECK(!dc_selfcheck_holds(DC_WAL_APPEND));
    commit_row(&db);
    CHECK_INT(2, database_integer(&db, "SELECT count(*) FROM t"));
    database_close(&db);
    forget_failures();
}

static void a_log_that_is_too_short_turns_gathering_off(void)
{
    dc_db db;
    dc_stamp stamp;
    uint32_t frames = 1000000;

    open_watched(&db);
    commit_row(&db);
    stamp = *dc_db_commit_stamp(&db);
    memcpy((char *)stamp.words + 16, &frames, sizeof frames);
    db.frames.checked = 0;
    dc_wal_append_begin(&db.frames, db.handle);
    dc_wal_append_check(&db.frames, &stamp);
    CHECK_INT(DC_SQLITE_OK, dc_wal_append_end(&db.frames, 1));
    CHECK(!dc_selfcheck_holds(DC_WAL_APPEND));
    database_close(&db);
    forget_failures();
}

static void a_begin_that_fails_on_a_low_mark_is_done_again_without(void)
{
    dc_db db;

    open_watched(&db);
    commit_row(&db);
    commit_row(&db);
    watch(&db);
    marks_that_fail = 1;
    CHECK_INT(DC_OK, dc_db_begin(&db));
    CHECK_INT(0, marks_that_fail);
    CHECK(!dc_selfcheck_holds(DC_READ_MARK));
    CHECK_INT(DC_OK, dc_db_commit(&db));
    db.file->methods = watched;
    database_close(&db);
    forget_failures();
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(a_commit_leaves_the_header_that_stands),
        CHECK_TEST(a_commit_that_wrote_nothing_leaves_the_header_that_was),
        CHECK_TEST(the_commit_of_another_right_after_ones_own_is_told_apart),
        CHECK_TEST(the_commit_of_another_right_after_an_empty_one_is_told_apart),
        CHECK_TEST(a_commit_that_begins_the_log_anew_is_known),
        CHECK_TEST(a_rollback_and_a_commit_that_fails_leave_nothing),
        CHECK_TEST(nothing_is_known_without_a_header),
        CHECK_TEST(methods_of_a_later_version_are_left_alone),
        CHECK_TEST(a_lock_given_back_too_early_turns_it_off),
        CHECK_TEST(a_header_that_is_not_final_turns_it_off),
        CHECK_TEST(a_header_that_is_being_written_turns_it_off),
        CHECK_TEST(frames_left_behind_by_a_commit_are_written_and_turn_gathering_off),
        CHECK_TEST(a_log_that_is_too_short_turns_gathering_off),
        CHECK_TEST(a_begin_that_fails_on_a_low_mark_is_done_again_without),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
