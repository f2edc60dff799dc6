/* test_read_mark.c: a transaction begins on a read mark as it stands, and nobody notices. */
#include "sqlite/read_mark.h"

#include "database.h"
#include "engine/db.h"

#include <stdint.h>
#include <string.h>

/* ---- Locks that are counted -------------------------------------------------------------------- */

static dc_io_methods watching;
static const dc_io_methods *watched;
static int locks;

static int watched_shm_lock(sqlite3_file *file, int first, int count, int flags)
{
    locks += (flags & DC_SQLITE_SHM_LOCK) != 0;
    return watched->shm_lock(file, first, count, flags);
}

static void watch(dc_db *db)
{
    watched = db->file->methods;
    watching = *watched;
    watching.shm_lock = watched_shm_lock;
    db->file->methods = &watching;
    locks = 0;
}

/* ---- Read marks ("WAL-Index File Format": after the two headers and the count of copied frames) ------- */

enum { MARKS_AT = 100, MARKS = 5, COPIED_AT = 96, FRAMES_AT = 16 };

static volatile uint32_t *word_at(dc_db *db, size_t offset)
{
    volatile void *mapped = NULL;

    CHECK_INT(DC_SQLITE_OK, db->file->methods->shm_map(db->file, 0, 32768, 0, &mapped));
    return (volatile uint32_t *)((volatile char *)mapped + offset);
}

static int64_t highest_mark(dc_db *db)
{
    volatile uint32_t *marks = word_at(db, MARKS_AT);
    int64_t highest = 0;

    for (int i = 1; i < MARKS; i++) {
        if (marks[i] != UINT32_MAX && marks[i] > highest) {
            highest = marks[i];
        }
    }
    return highest;
}

/* ---- Databases --------------------------------------------------------------------------------- */

static void open_table(dc_db *db)
{
    int is_wal;
    int synchronous;

    database_connect(db);
    database_execute(db, "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, content)");
    dc_db_examine(db, &is_wal, &synchronous);
    CHECK(is_wal);
}

static void commit_row(dc_db *db)
{
    CHECK_INT(DC_OK, dc_db_begin(db));
    database_execute(db, "INSERT INTO t (content) VALUES ('x')");
    CHECK_INT(DC_OK, dc_db_commit(db));
}

static int64_t rows(dc_db *db)
{
    return database_integer(db, "SELECT count(*) FROM t");
}

/* ---- Tests ------------------------------------------------------------------------------------- */

static void most_begins_take_two_locks(void)
{
    dc_db db;
    int most = 0;

    open_table(&db);
    watch(&db);
    for (int i = 0; i < 32; i++) {
        locks = 0;
        CHECK_INT(DC_OK, dc_db_begin(&db));
        most += locks == 2; /* a read mark, shared, and the one for writing */
        CHECK(db.file->methods == &watching);
        database_execute(&db, "INSERT INTO t (content) VALUES ('x')");
        CHECK_INT(DC_OK, dc_db_commit(&db));
    }
    CHECK_INT(30, most);
    database_close(&db);
}

static void marks_stay_behind_by_some_commits_only(void)
{
    dc_db db;
    int64_t frames;

    open_table(&db);
    for (int i = 0; i < 100; i++) {
        commit_row(&db);
        frames = *word_at(&db, FRAMES_AT);
        CHECK(frames - highest_mark(&db) <= 2 * 17);
    }
    database_close(&db);
}

static void a_reader_keeps_what_it_sees(void)
{
    dc_db db;
    dc_db reader;
    int left;

    open_table(&db);
    open_table(&reader);
    for (int i = 0; i < 20; i++) {
        commit_row(&db);
    }
    CHECK_INT(DC_OK, dc_db_begin_read(&reader));
    CHECK_INT(20, rows(&reader));
    for (int i = 0; i < 20; i++) {
        commit_row(&db);
        CHECK_INT(DC_OK, database_checkpoint(&db, &left));
        CHECK(left > 0);
        CHECK_INT(20, rows(&reader));
    }
    dc_db_end_read(&reader);
    CHECK_INT(40, rows(&reader));
    CHECK_INT(DC_OK, database_checkpoint(&db, &left));
    CHECK_INT(0, left);
    database_close(&reader);
    database_close(&db);
}

static void nothing_is_copied_that_a_transaction_on_a_low_mark_may_need(void)
{
    dc_db db;
    dc_db copier;
    int left;

    open_table(&db);
    open_table(&copier);
    for (int i = 0; i < 5; i++) { /* all but the first of them on the mark of the first */
        commit_row(&db);
    }
    CHECK_INT(DC_OK, dc_db_begin(&db));
    CHECK_INT(DC_OK, database_checkpoint(&copier, &left));
    CHECK(left > 0);
    CHECK((int64_t)*word_at(&db, COPIED_AT) <= highest_mark(&db));
    CHECK_INT(5, rows(&db));
    CHECK_INT(DC_OK, dc_db_commit(&db));
    CHECK_INT(DC_OK, database_checkpoint(&copier, &left));
    CHECK_INT(0, left);
    database_close(&copier);
    database_close(&db);
}

static void after_an_attempt_in_vain_a_mark_is_raised(void)
{
    dc_db db;
    dc_db other;

    open_table(&db);
    open_table(&other);
    for (int i = 0; i < 5; i++) {
        commit_row(&other);
    }
    commit_row(&db);
    CHECK_INT(DC_OK, dc_db_begin(&other));
    database_execute(&other, "INSERT INTO t (content) VALUES ('x')");
    CHECK_INT(DC_BUSY, dc_db_begin(&db));
    CHECK(highest_mark(&db) < *word_at(&db, FRAMES_AT));
    CHECK_INT(DC_BUSY, dc_db_begin(&db));
    CHECK_INT(*word_at(&db, FRAMES_AT), highest_mark(&db));
    CHECK_INT(DC_OK, dc_db_commit(&other));
    database_close(&other);
    database_close(&db);
}

static void a_log_begun_anew_is_used_from_its_first_mark(void)
{
    dc_db db;
    int left;

    open_table(&db);
    for (int i = 0; i < 50; i++) {
        commit_row(&db);
        if (i % 3 == 0) {
            CHECK_INT(DC_OK, database_checkpoint(&db, &left));
            CHECK_INT(0, left);
        }
    }
    CHECK_INT(50, rows(&db));
    CHECK(dc_db_pragma_is(&db, "PRAGMA integrity_check", "ok"));
    database_close(&db);
}

static void where_no_mark_can_be_used_as_it_stands_one_is_raised(void)
{
    dc_db db;
    volatile uint32_t *marks;

    open_table(&db);
    commit_row(&db);
    commit_row(&db);
    marks = word_at(&db, MARKS_AT);
    for (int i = 1; i < MARKS; i++) {
        marks[i] = UINT32_MAX; /* not used */
    }
    commit_row(&db);
    CHECK(highest_mark(&db) > 0);
    CHECK_INT(3, rows(&db));
    database_close(&db);
}

static void without_a_log_there_are_no_marks(void)
{
    dc_db db;

    open_table(&db);
    commit_row(&db);
    commit_row(&db);
    database_execute(&db, "PRAGMA journal_mode = delete"); /* behind the back of dc_db_examine */
    commit_row(&db);
    commit_row(&db);
    CHECK_INT(4, rows(&db));
    database_close(&db);
}

static void a_file_without_shared_memory_is_left_alone(void)
{
    dc_io_methods old = {.version = 1};
    struct sqlite3_file file = {.methods = &old};
    dc_read_mark mark = {.begins = 1};

    dc_read_mark_keep(&mark, &file);
    CHECK(file.methods == &old);
    dc_read_mark_release(&mark);
    CHECK(file.methods == &old);
    dc_read_mark_keep(&mark, NULL);
    dc_read_mark_release(&mark);
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(most_begins_take_two_locks),
        CHECK_TEST(marks_stay_behind_by_some_commits_only),
        CHECK_TEST(a_reader_keeps_what_it_sees),
        CHECK_TEST(nothing_is_copied_that_a_transaction_on_a_low_mark_may_need),
        CHECK_TEST(after_an_attempt_in_vain_a_mark_is_raised),
        CHECK_TEST(a_log_begun_anew_is_used_from_its_first_mark),
        CHECK_TEST(where_no_mark_can_be_used_as_it_stands_one_is_raised),
        CHECK_TEST(without_a_log_there_are_no_marks),
        CHECK_TEST(a_file_without_shared_memory_is_left_alone),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
