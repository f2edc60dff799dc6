/* test_failures.c: no memory, errors of SQLite, locks: nothing is lost.
 *
 * The Makefile links this program with --wrap for malloc and realloc, which lets a test make one of
 * the engine's calls fail; steps of SQLite are made to fail through its table of functions.
 */
#include "store.h"

#include "engine/scan.h"

/* ---- Injected faults ------------------------------------------------------------------------ */

static int allocation_countdown; /* the allocation that brings it to 0 fails; 0: none does */

void *__real_malloc(size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *memory, size_t size);

static int allocation_fails(void)
{
    return allocation_countdown != 0 && --allocation_countdown == 0;
}

void *__wrap_malloc(size_t size)
{
    return allocation_fails() ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return allocation_fails() ? NULL : __real_realloc(memory, size);
}

/* ---- Failures ------------------------------------------------------------------------------- */

/* Every operation that allocates or takes several statements; DC_OK or why not. */
static dc_status do_everything(void)
{
    static char block[3000];
    const dc_datum tag = bytes(DC_BLOB, block, 600);
    const dc_rules tight = {DC_POLICY_LEAST_RECENTLY_STORED, 3000, 2, NULL};
    const dc_key file_key = raw_key(text("file"));
    const dc_key key = raw_key(bytes(DC_BLOB, block, 2000));
    const dc_columns value = tagged(inline_value(bytes(DC_BLOB, block, 3000)), tag);
    const dc_columns number = inline_value(integer(1));
    const dc_columns expire = expiring((dc_columns){0}, 9000.0);
    const dc_datum one = integer(1);
    const dc_queue queue = prefixed("queue");
    dc_batch_delete sweep = {DC_SQL_BATCH_ALL, INT64_MIN, {.type = DC_NULL}, 0};
    dc_key_page page = {0};
    int64_t count = 0;
    int done;
    dc_row row;
    dc_status status = DC_OK;

    dc_row_init(&row);
#define DO(call)                                                                                   \
    if (status == DC_OK) {                                                                         \
        status = (call);                                                                           \
    }
    DO(write_set(&db, &key, &value, NOW, 0, &roomy, &removed, &written))
    DO(dc_row_get(&db, &key, DC_DETAIL_NONE, &row))
    DO(dc_row_get(&db, &key, DC_DETAIL_ALL, &row))
    DO(dc_scan_keys(&db, DC_BY_KEY, 0, 0, NULL, PAGE_SIZE, &page))
    DO(dc_row_touch(&db, &key, &expire, NOW))
    DO(dc_setting_set(&db, DC_SQL_SETTING_REPLACE, "large", &value.value))
    DO(dc_setting_get(&db, "large", &row))
    DO(queue_push(&db, &queue, DC_BACK, &number, NOW, &roomy, &removed, &row, &written))
    DO(queue_push(&db, &queue, DC_BACK, &number, NOW, &roomy, &removed, &row, &written))
    DO(queue_push(&db, &integers, DC_BACK, &number, NOW, &roomy, &removed, &row, &written))
    DO(dc_queue_end(&db, &queue, DC_FRONT, &row))
    DO(write_increment(&db, &row.key, &one, NULL, NOW, &roomy, &removed, &sum, &created))
    DO(write_set(&db, &file_key, &number, NOW, 0, &roomy, &removed, &written))
    DO(write_set(&db, &key, &number, NOW + 1, 0, &tight, &removed, &written))
    DO(dc_scan_end(&db, 1, &row))
    DO(dc_scan_nth(&db, DC_BACK, 0, &row))
    DO(dc_scan_max_rowid(&db, &count))
    DO(dc_setting_count_lookups(&db, 1, 1))
    DO(dc_batch_delete_run(&db, &sweep, 1000.0, &removed, &count, &done))
#undef DO
    dc_key_page_clear(&page);
    dc_row_clear(&row);
    return status;
}

/* Rows whose file names are too long for a row's own memory, so that reading them allocates. */
static void fill_with_files(void)
{
    char name[1000];

    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    set(text("file"), file_value(name, 10));
    set(text("another"), file_value(name, 10));
}

/* A transaction in which something failed can be rolled back, and then all is as it was. */
static void check_rolled_back(void)
{
    dc_db_rollback(&db);
    dc_namelist_clear(&removed);
    CHECK(!dc_db_in_transaction(&db));
    CHECK_INT(2, row_count());
    CHECK_INT(20, setting("size"));
    CHECK_INT(0, setting("hits"));
}

static void without_memory_nothing_is_lost(void)
{
    dc_status status = DC_NO_MEMORY;
    int failures = 0;

    open_store();
    fill_with_files();
    for (int countdown = 1; status != DC_OK && countdown < 1000; countdown++) {
        CHECK_INT(DC_OK, dc_db_begin(&db));
        allocation_countdown = countdown;
        status = do_everything();
        allocation_countdown = 0;
        if (status != DC_OK) {
            failures++;
            CHECK_INT(DC_NO_MEMORY, status);
            CHECK_TEXT("out of memory", db.error.message);
        }
        check_rolled_back();
    }
    CHECK_INT(DC_OK, status);
    CHECK(failures > 10);
    close_store();
}

static void when_sqlite_fails_nothing_is_lost(void)
{
    dc_status status = DC_SQLITE;
    int failures = 0;

    open_store();
    fill_with_files();
    for (int countdown = 1; status != DC_OK && countdown < 1000; countdown++) {
        CHECK_INT(DC_OK, dc_db_begin(&db));
        database_watch_steps(countdown);
        status = do_everything();
        database_unwatch_steps();
        if (status != DC_OK) {
            failures++;
            CHECK_INT(DC_SQLITE, status);
            CHECK_INT(DATABASE_IO_ERROR, db.error.sqlite_code);
        }
        check_rolled_back();
    }
    CHECK_INT(DC_OK, status);
    CHECK(failures > 50);
    close_store();
}

/* A name is noted before its row goes, and the row stays if it cannot be noted. */
static void a_row_whose_file_cannot_be_noted_stays(void)
{
    open_store();
    set(text("k"), file_value("name", 10));
    dc_namelist_clear(&removed);
    allocation_countdown = 1;
    CHECK_INT(DC_NO_MEMORY, dc_row_delete(&db, 1, "name", &removed));
    allocation_countdown = 1;
    CHECK_INT(DC_NO_MEMORY, set_by(&roomy, text("k"), inline_value(integer(1)), NOW));
    allocation_countdown = 0;
    CHECK(!written);
    CHECK_INT(0, removed.count);
    CHECK_INT(1, database_integer(&db, "SELECT count(*) FROM Cache WHERE filename = 'name'"));
    close_store();
}

static void a_lock_held_by_another_is_busy(void)
{
    dc_db other;

    open_store();
    database_connect(&other);
    CHECK_INT(DC_OK, dc_db_begin(&other));
    CHECK_INT(DC_BUSY, set_by(&roomy, text("k"), inline_value(integer(1)), NOW));
    CHECK(!written);
    dc_db_rollback(&other);
    set(text("k"), inline_value(integer(1)));
    database_close(&other);
    close_store();
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(without_memory_nothing_is_lost),
        CHECK_TEST(when_sqlite_fails_nothing_is_lost),
        CHECK_TEST(a_row_whose_file_cannot_be_noted_stays),
        CHECK_TEST(a_lock_held_by_another_is_busy),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
