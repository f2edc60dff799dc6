/* test_version_table.c: which rows a commit has changed, as all who keep the table tell each other. */
#include "sqlite/version_table.h"

#include <stdint.h>
#include <string.h>

#include "database.h"
#include "engine/db.h"
#include "engine/write.h"

/* Rows need no table Cache here: it is the update hook that counts them, so the table has its name. */
#define MAKE_TABLE "CREATE TABLE IF NOT EXISTS Cache (key UNIQUE, value)"

typedef struct handle {
    dc_db db;
    dc_wal_header header;
} handle;

/* A handle that keeps the table, or one like the original's. */
static void open_handle(handle *handle, int keeps)
{
    database_connect(&handle->db);
    database_execute(&handle->db, MAKE_TABLE);
    handle->header = dc_db_wal_header(&handle->db);
    CHECK(handle->header != NULL);
    if (keeps) {
        dc_db_watch_header(&handle->db, handle->header);
        dc_version_table_open(&handle->db.versions, database_path("cache.db"), 0);
        CHECK(handle->db.versions.shared != NULL);
    }
}

static void close_handle(handle *handle)
{
    database_close(&handle->db);
}

static uint32_t slot_of(const handle *handle, dc_datum key)
{
    return dc_version_table_slot(&handle->db.versions, &key);
}

/* What a reader remembers of a row. */
typedef struct remembered {
    uint32_t slot;
    uint64_t version;
} remembered;

static remembered remember(const handle *handle, const char *key)
{
    uint32_t slot = slot_of(handle, text(key));

    return (remembered){slot, dc_version_table_version(&handle->db.versions, slot)};
}

static int is_confirmed(const handle *handle, remembered row)
{
    dc_stamp stamp;

    return dc_stamp_read(handle->header, &stamp) &&
           dc_version_table_covers(&handle->db.versions, &stamp) &&
           dc_version_table_confirms(&handle->db.versions, handle->header, &stamp, row.slot,
                                     row.version);
}

/* Write a row through the engine's own way, as far as counting goes. */
static void write_row(handle *handle, const char *key, int named)
{
    dc_db *db = &handle->db;
    dc_datum datum = text(key);
    char sql[100];

    CHECK_INT(DC_OK, dc_db_begin(db));
    snprintf(sql, sizeof sql, "INSERT OR IGNORE INTO Cache VALUES ('%s', 0)", key);
    database_execute(db, sql);
    snprintf(sql, sizeof sql, "UPDATE Cache SET value = value + 1 WHERE key = '%s'", key);
    database_execute(db, sql);
    db->changes.own = db->changes.all; /* of statements of ours */
    for (uint64_t i = 0; named && i < db->changes.all; i++) {
        CHECK(dc_version_table_note(&db->versions, &datum) >= 0);
    }
    CHECK_INT(DC_OK, dc_db_commit(db));
}

/* A handle that keeps the table, and what it remembers of the row "a". */
static remembered open_with_row(handle *handle)
{
    open_handle(handle, 1);
    write_row(handle, "a", 1);
    return remember(handle, "a");
}

static void a_row_outlives_commits_to_others(void)
{
    handle one;
    handle two;
    remembered row;
    remembered any;

    open_handle(&one, 1);
    open_handle(&two, 1);
    CHECK(dc_version_table_same(&one.db.versions, &two.db.versions));
    write_row(&two, "a", 1);
    row = remember(&one, "a");
    any = (remembered){DC_SLOT_OF_ANY, dc_version_table_version(&one.db.versions, DC_SLOT_OF_ANY)};
    CHECK(is_confirmed(&one, row));
    CHECK(is_confirmed(&one, any));
    write_row(&two, "b", 1);
    CHECK(is_confirmed(&one, row));
    CHECK(!is_confirmed(&one, any));
    write_row(&two, "a", 1);
    CHECK(!is_confirmed(&one, row));
    CHECK_INT(two.db.versions.noted[0].version, remember(&one, "a").version);
    close_handle(&one);
    close_handle(&two);
}

static void a_commit_that_does_not_name_its_keys_changes_all(void)
{
    handle one;
    remembered row = open_with_row(&one);

    write_row(&one, "b", 0);
    CHECK(!is_confirmed(&one, row));
    row = remember(&one, "a");
    CHECK(is_confirmed(&one, row));
    close_handle(&one);
}

static void rows_of_somebody_elses_statements_change_all(void)
{
    handle one;
    remembered row = open_with_row(&one);

    CHECK_INT(DC_OK, dc_db_begin(&one.db));
    database_execute(&one.db, "UPDATE Cache SET value = 5");
    CHECK_INT(DC_OK, dc_db_commit(&one.db));
    CHECK(!is_confirmed(&one, row));
    close_handle(&one);
}

static void more_keys_than_are_listed_change_all(void)
{
    handle one;
    remembered row = open_with_row(&one);
    int noted = 0;

    CHECK_INT(DC_OK, dc_db_begin(&one.db));
    for (int64_t i = 0; noted >= 0; i++) {
        dc_datum key = integer(i);

        noted = dc_version_table_note(&one.db.versions, &key);
        CHECK(i < 100000);
    }
    CHECK(one.db.versions.unknown);
    CHECK_INT(DC_OK, dc_db_commit(&one.db));
    CHECK(!is_confirmed(&one, row));
    close_handle(&one);
}

static void an_empty_commit_and_a_rollback_change_nothing(void)
{
    handle one;
    remembered row = open_with_row(&one);

    CHECK_INT(DC_OK, dc_db_begin(&one.db));
    CHECK_INT(DC_OK, dc_db_commit(&one.db));
    CHECK(is_confirmed(&one, row));
    CHECK_INT(DC_OK, dc_db_begin(&one.db));
    database_execute(&one.db, "UPDATE Cache SET value = 5");
    dc_db_rollback(&one.db);
    CHECK(is_confirmed(&one, row));
    close_handle(&one);
}

static void whoever_does_not_know_the_table_breaks_the_chain(void)
{
    handle one;
    handle other;
    remembered row;
    remembered foreign;

    open_handle(&one, 1);
    open_handle(&other, 0);
    write_row(&one, "a", 1);
    row = remember(&one, "a");
    foreign = remember(&one, "b");
    CHECK(is_confirmed(&one, foreign));
    write_row(&other, "b", 0);
    CHECK(!is_confirmed(&one, row));
    CHECK(!is_confirmed(&one, foreign));
    write_row(&one, "c", 1);
    CHECK(!is_confirmed(&one, row));
    CHECK(!is_confirmed(&one, foreign));
    row = remember(&one, "a");
    write_row(&one, "c", 1);
    CHECK(is_confirmed(&one, row));
    close_handle(&one);
    close_handle(&other);
}

static void the_header_of_an_empty_log_is_no_chain(void)
{
    handle one;
    remembered row = open_with_row(&one);

    close_handle(&one); /* the last one: the log is gone */
    open_handle(&one, 1);
    CHECK(!is_confirmed(&one, row));
    CHECK_INT(DC_OK, dc_db_begin(&one.db));
    CHECK_INT(DC_OK, dc_db_commit(&one.db));
    CHECK(!is_confirmed(&one, remember(&one, "a")));
    write_row(&one, "b", 1);
    CHECK(!is_confirmed(&one, row));
    CHECK(is_confirmed(&one, remember(&one, "a")));
    close_handle(&one);
}

static void a_key_has_one_slot_however_it_is_written(void)
{
    handle one;
    uint32_t slots[3];
    uint64_t slot_count;
    char long_key[1000];

    open_handle(&one, 1);
    CHECK_INT(slot_of(&one, integer(1)), slot_of(&one, real(1.0)));
    CHECK_INT(slot_of(&one, integer(0)), slot_of(&one, real(-0.0)));
    CHECK_INT(slot_of(&one, integer(INT64_MIN)), slot_of(&one, real(-9223372036854775808.0)));
    CHECK(slot_of(&one, integer(1)) != slot_of(&one, real(1.5)));
    CHECK(slot_of(&one, text("a")) != slot_of(&one, text("b")));
    CHECK(slot_of(&one, text("")) != slot_of(&one, bytes(DC_BLOB, "\0", 1)));
    memset(long_key, 'x', sizeof long_key);
    for (int i = 0; i < 3; i++) {
        slots[i] = slot_of(&one, bytes(DC_TEXT, long_key, sizeof long_key - (size_t)i));
    }
    CHECK(slots[0] != slots[1] && slots[1] != slots[2]);
    slot_count = one.db.versions.shared->slot_count;
    one.db.versions.shared->slot_count = UINT64_MAX; /* damaged: nobody looks at it again */
    for (int64_t i = 0; i < 100000; i++) {
        uint32_t slot = slot_of(&one, integer(i));

        CHECK(slot != DC_SLOT_OF_ANY && slot < slot_count);
    }
    one.db.versions.shared->slot_count = slot_count;
    close_handle(&one);
}

static void what_is_only_read_makes_no_table(void)
{
    dc_version_table table;
    handle one;

    open_handle(&one, 0);
    dc_version_table_open(&table, database_path("cache.db"), 1);
    CHECK(table.shared == NULL);
    dc_version_table_close(&table);
    dc_version_table_open(&table, database_path("nothing.db"), 0);
    CHECK(table.shared == NULL);
    dc_version_table_close(&table);
    close_handle(&one);
}

/* Where they are not, the C library would keep them under a lock that other processes do not see. On Windows a file
 * that is mapped could not be removed. */
#ifdef _WIN32
enum { IS_THERE = 0 };
#else
enum { IS_THERE = ATOMIC_LLONG_LOCK_FREE == 2 };
#endif

static void it_is_there_just_where_64_bits_are_atomic(void)
{
    dc_version_table table;
    handle handle;

    open_handle(&handle, 0);
    dc_version_table_open(&table, database_path("cache.db"), 0);
    CHECK_INT(IS_THERE, table.shared != NULL);
    CHECK_INT(IS_THERE, access(database_path("cache.db-hot"), F_OK) == 0);
    dc_version_table_close(&table);
    close_handle(&handle);
}

static void skip(void)
{
    check_skip("there is no table on this platform");
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(it_is_there_just_where_64_bits_are_atomic),
        CHECK_TEST(a_row_outlives_commits_to_others),
        CHECK_TEST(a_commit_that_does_not_name_its_keys_changes_all),
        CHECK_TEST(rows_of_somebody_elses_statements_change_all),
        CHECK_TEST(more_keys_than_are_listed_change_all),
        CHECK_TEST(an_empty_commit_and_a_rollback_change_nothing),
        CHECK_TEST(whoever_does_not_know_the_table_breaks_the_chain),
        CHECK_TEST(the_header_of_an_empty_log_is_no_chain),
        CHECK_TEST(a_key_has_one_slot_however_it_is_written),
        CHECK_TEST(what_is_only_read_makes_no_table),
    };

    for (size_t i = 1; !IS_THERE && i < sizeof tests / sizeof *tests; i++) {
        tests[i].run = skip;
    }
    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
