/* test_batch_delete.c: the removal of many rows in a series of transactions. */
#include "engine/batch_delete.h"

#include "store.h"

#include "engine/scan.h"

/* ---- Sweeps --------------------------------------------------------------------------------- */

/* Sweep without time, so in the smallest portions; the number of portions. */
static int sweep_in_portions(dc_batch_delete sweep, int64_t *count)
{
    int portions = 0;
    int done = 0;

    *count = 0;
    while (!done && portions < 1000) {
        int64_t before = *count;

        portions++;
        if (!CHECK_INT(DC_OK, dc_batch_delete_run(&db, &sweep, 0.0, &removed, count, &done)) ||
            !CHECK(done || *count > before)) {
            break;
        }
    }
    return portions;
}

static void all_rows_are_swept_in_portions(void)
{
    const dc_batch_delete sweep = {.sql = DC_SQL_BATCH_ALL, .after = INT64_MIN};
    int64_t count;

    open_store();
    for (int i = 0; i < 100; i++) {
        set(integer(i), i % 2 ? inline_value(integer(i)) : file_value("name", 1));
    }
    CHECK(sweep_in_portions(sweep, &count) > 5);
    CHECK_INT(100, count);
    CHECK_INT(50, removed.count);
    CHECK_INT(0, row_count());
    CHECK_INT(1, sweep_in_portions(sweep, &count));
    CHECK_INT(0, count);
    close_store();
}

static void with_time_enough_one_portion_will_do(void)
{
    dc_batch_delete sweep = {.sql = DC_SQL_BATCH_ALL, .after = INT64_MIN};
    int64_t count = 5;
    int done = 0;

    open_store();
    for (int i = 0; i < 100; i++) {
        set(integer(i), inline_value(integer(i)));
    }
    CHECK_INT(DC_OK, dc_batch_delete_run(&db, &sweep, 1000.0, &removed, &count, &done));
    CHECK(done);
    CHECK_INT(105, count);
    close_store();
}

/* As clear() must not remove for ever what others go on writing. */
static void rows_behind_a_sweep_in_ascending_order_stay(void)
{
    dc_batch_delete sweep = {.sql = DC_SQL_BATCH_ALL, .after = 50};
    int64_t count;

    open_store();
    for (int i = 1; i <= 100; i++) {
        set(integer(i), inline_value(integer(i)));
    }
    sweep_in_portions(sweep, &count);
    CHECK_INT(50, count);
    CHECK(has(integer(50)) && !has(integer(51)));
    close_store();
}

static void a_tag_is_swept_and_no_other(void)
{
    const dc_datum tags[] = {text("a"),  text("ab"), bytes(DC_BLOB, "a", 1),
                             integer(1), real(1.5),  null_datum};
    enum { COUNT = sizeof tags / sizeof *tags };
    int64_t count;

    for (int indexed = 0; indexed < 2; indexed++) {
        check_remove_directory();
        open_store();
        if (indexed) {
            database_execute(&db, DC_TAG_INDEX_CREATE);
        }
        for (int i = 0; i < 20 * COUNT; i++) {
            set(integer(i), tagged(inline_value(integer(i)), tags[i % COUNT]));
        }
        for (int i = 0; i < COUNT - 1; i++) {
            const dc_batch_delete sweep = {
                .sql = DC_SQL_BATCH_TAGGED, .after = INT64_MIN, .parameter = tags[i]};

            CHECK(sweep_in_portions(sweep, &count) > 1);
            CHECK_INT(20, count);
            CHECK_INT(20 * (COUNT - 1 - i), row_count());
        }
        CHECK_INT(20, database_integer(&db, "SELECT count(*) FROM Cache WHERE tag IS NULL"));
        close_store();
    }
}

static void the_expired_are_swept_however_many_share_a_moment(void)
{
    const dc_batch_delete sweep = {.sql = DC_SQL_BATCH_EXPIRED,
                                   .after = INT64_MIN,
                                   .parameter = {.type = DC_REAL, .as.real = NOW}};
    int64_t count;

    open_store();
    for (int i = 0; i < 252; i++) {
        dc_columns columns = inline_value(integer(i));

        if (i < 251) {
            columns = expiring(columns, i < 250 ? NOW - 1 : NOW);
        }
        CHECK_INT(DC_OK, set_by(&without_culling, integer(i), columns, NOW));
    }
    CHECK_INT(252, row_count());
    CHECK(sweep_in_portions(sweep, &count) > 20);
    CHECK_INT(250, count);
    CHECK(has(integer(250)) && has(integer(251)));
    close_store();
}

static int shrink_in_portions(int64_t volume, int64_t *count)
{
    int64_t kept = 0;
    int portions = 0;
    int done = 0;

    *count = 0;
    while (!done && portions < 1000) {
        int64_t before = *count;

        portions++;
        if (!CHECK_INT(DC_OK, dc_evict_to_volume(&db, DC_SQL_VICTIM_LEAST_RECENTLY_STORED, volume,
                                                 0.0, &removed, &kept, count, &done)) ||
            !CHECK(done || *count > before)) {
            break;
        }
    }
    return portions;
}

static void a_volume_is_shrunk_to_and_no_further(void)
{
    int64_t volume;
    int64_t count;

    open_store();
    fill(100);
    volume = volume_without_free_pages();
    CHECK_INT(1, shrink_in_portions(volume, &count));
    CHECK_INT(0, count);
    volume -= 30 * 4000;
    CHECK(shrink_in_portions(volume, &count) > 2);
    CHECK(count >= 29 && count <= 45);
    CHECK(volume_without_free_pages() <= volume);
    CHECK(!has(integer((int64_t)count - 1)) && has(integer(count)));
    shrink_in_portions(0, &count); /* which cannot be reached */
    CHECK_INT(0, row_count());
    close_store();
}

/* To find out the volume takes three statements, as long as a row takes to go. */
static void the_volume_is_not_found_out_for_each_row(void)
{
    int (*stmt_status)(sqlite3_stmt *, int, int);
    enum { RUN = 6, ROWS = 2000 };
    int64_t volume;
    int64_t count;
    int looks;

    *(void **)&stmt_status = dlsym(RTLD_DEFAULT, "sqlite3_stmt_status");
    open_store();
    fill(ROWS);
    volume = volume_without_free_pages();
    stmt_status(db.statements[DC_SQL_FREELIST_COUNT], RUN, 1);
    shrink_in_portions(volume / 2, &count);
    looks = stmt_status(db.statements[DC_SQL_FREELIST_COUNT], RUN, 0);
    CHECK(count >= ROWS / 2 - 20 && count <= ROWS / 2 + 20);
    CHECK(volume_without_free_pages() <= volume / 2);
    CHECK(volume_without_free_pages() > volume / 2 - 5 * 4096);
    CHECK(looks < count);
    close_store();
}

enum { MANY = 1000 }; /* rows: enough for a sweep to do without the triggers */

/* Sweep the rows with a tag, or all. */
static int64_t sweep_all(const char *tag)
{
    dc_batch_delete deletion = {.sql = DC_SQL_BATCH_ALL, .after = INT64_MIN};

    if (tag != NULL) {
        deletion.sql = DC_SQL_BATCH_TAGGED;
        deletion.parameter = text(tag);
    }
    return sweep(deletion);
}

/* Rows of which each second has a file of one byte, and each third a tag. */
static void fill_with_many(void)
{
    char name[32];

    database_execute(&db, "BEGIN");
    for (int i = 0; i < MANY; i++) {
        dc_columns columns = inline_value(integer(i));

        snprintf(name, sizeof name, "name %d", i);
        if (i % 2 != 0) {
            columns = file_value(name, 1);
        }
        set(integer(i), i % 3 == 0 ? tagged(columns, text("tag")) : columns);
    }
    database_execute(&db, "COMMIT");
}

static void check_sums(void)
{
    CHECK_INT(database_integer(&db, "SELECT count(*) FROM Cache"), row_count());
    CHECK_INT(database_integer(&db, "SELECT ifnull(sum(size), 0) FROM Cache"), setting("size"));
    CHECK(dc_db_has_triggers_enabled(&db));
}

static void many_rows_are_swept_with_exact_sums(void)
{
    open_store();
    fill_with_many();
    CHECK_INT(334, sweep_all("tag"));
    CHECK_INT(167, removed.count);
    CHECK_INT(MANY - 334, row_count());
    check_sums();
    CHECK_INT(MANY - 334, sweep_all(NULL));
    CHECK_INT(333, removed.count);
    CHECK_INT(0, row_count());
    check_sums();
    set(integer(1), inline_value(integer(1))); /* the triggers run again */
    CHECK_INT(1, row_count());
    close_store();
}

/* A savepoint would copy each page that is changed into a temporary file. */
static void a_sweep_alone_in_its_transaction_needs_no_savepoint(void)
{
    for (int alone = 0; alone < 2; alone++) {
        check_remove_directory();
        open_store();
        fill_with_many();
        CHECK_INT(334, sweep((dc_batch_delete){.sql = DC_SQL_BATCH_TAGGED,
                                               .after = INT64_MIN,
                                               .parameter = text("tag"),
                                               .alone = alone}));
        CHECK((db.statements[DC_SQL_SAVEPOINT] == NULL) == alone);
        check_sums();
        close_store();
    }
}

/* Each portion need not find out anew how large a batch may be. */
static void a_portion_begins_with_a_quarter_of_the_last_batch(void)
{
    dc_batch_delete sweep = {.sql = DC_SQL_BATCH_ALL, .after = INT64_MIN, .batch = 512};
    int64_t count = 0;
    int done = 0;

    open_store();
    fill_with_many();
    database_execute(&db,
                     "INSERT INTO Cache(key, raw, value) VALUES ('large', 1, zeroblob(5000000))");
    CHECK_INT(DC_OK, dc_batch_delete_run(&db, &sweep, 0.0, &removed, &count, &done));
    CHECK_INT(128, count);
    CHECK_INT(128, sweep.batch);
    check_sums();
    close_store();
}

static void a_table_too_large_to_be_emptied_at_once_is_swept_all_the_same(void)
{
    static char block[20000];

    open_store();
    database_execute(&db, "BEGIN");
    for (int i = 0; i < 400; i++) {
        set(integer(i), inline_value(bytes(DC_BLOB, block, sizeof block)));
    }
    database_execute(&db, "COMMIT");
    CHECK_INT(400, sweep_all(NULL));
    CHECK_INT(0, row_count());
    check_sums();
    close_store();
}

static void triggers_of_a_user_run_for_each_row_of_a_sweep(void)
{
    static const char *const scopes[] = {"", "TEMP"};
    char create[200];

    for (int i = 0; i < 2; i++) {
        check_remove_directory();
        open_store();
        fill_with_many();
        database_execute(&db, "CREATE TABLE seen (key)");
        snprintf(create, sizeof create,
                 "CREATE %s TRIGGER mine AFTER DELETE ON Cache"
                 " BEGIN INSERT INTO seen VALUES (OLD.key); END",
                 scopes[i]);
        database_execute(&db, create);
        CHECK_INT(334, sweep_all("tag"));
        CHECK_INT(MANY - 334, sweep_all(NULL));
        CHECK_INT(MANY, database_integer(&db, "SELECT count(DISTINCT key) FROM seen"));
        check_sums();
        close_store();
    }
}

/* Somebody keeps his own accounts. */
static void sums_are_not_touched_where_the_triggers_are_gone(void)
{
    open_store();
    fill_with_many();
    database_execute(&db, "DROP TRIGGER Settings_count_delete");
    CHECK_INT(MANY, sweep_all(NULL));
    CHECK_INT(MANY, row_count());
    CHECK_INT(0, setting("size"));
    close_store();
}

static void a_sweep_does_not_end_a_query_of_the_users(void)
{
    sqlite3_stmt *statement = NULL;

    open_store();
    fill_with_many();
    database_execute(&db, "CREATE TABLE other AS SELECT 1 AS a UNION SELECT 2");
    CHECK_INT(DC_SQLITE_OK,
              sqlite.prepare_v3(db.handle, "SELECT 0 UNION ALL SELECT a FROM other", -1, 0,
                                &statement, NULL)); /* which opens the table with its second step */
    CHECK_INT(DC_SQLITE_ROW, sqlite.step(statement));
    CHECK_INT(MANY, sweep_all(NULL));
    check_sums();
    CHECK_INT(DC_SQLITE_ROW, sqlite.step(statement));
    CHECK_INT(1, sqlite.column_int64(statement, 0));
    sqlite.finalize(statement);
    close_store();
}

/* Whether no row has one of the files that are to be removed. */
static int removed_are_unnamed(void)
{
    dc_namelist unnamed = {0};
    int result = dc_scan_unnamed_files(&db, &removed, &unnamed) == DC_OK &&
                 unnamed.count == removed.count;

    dc_namelist_clear(&unnamed);
    return result;
}

static void a_sweep_that_fails_loses_no_file_and_keeps_the_sums(void)
{
    const dc_sql kinds[] = {DC_SQL_BATCH_ALL, DC_SQL_BATCH_TAGGED};
    char name[32];

    for (int kind = 0; kind < 4; kind++) {
        int alone = kind / 2;
        dc_status status = DC_SQLITE;
        int failures = 0;

        check_remove_directory();
        open_store();
        database_execute(&db, "BEGIN");
        for (int i = 0; i < 200; i++) {
            snprintf(name, sizeof name, "name %d", i);
            set(integer(i), tagged(file_value(name, 1), text("tag")));
        }
        database_execute(&db, "COMMIT");
        for (int countdown = 1; status != DC_OK && countdown < 1000; countdown++) {
            dc_batch_delete sweep = {.sql = kinds[kind % 2],
                                     .after = INT64_MIN,
                                     .parameter = text("tag"),
                                     .alone = alone};
            int64_t count = 0;
            int done = 0;

            dc_namelist_rewind(&removed, 0, 0);
            database_execute(&db, "BEGIN");
            database_watch_steps(countdown);
            status = dc_batch_delete_run(&db, &sweep, 1000.0, &removed, &count, &done);
            database_unwatch_steps();
            failures += status != DC_OK;
            CHECK(done == (status == DC_OK));
            if (!alone) {
                CHECK(removed_are_unnamed());
                check_sums(); /* of what would be committed */
            }
            database_execute(&db, "ROLLBACK");
            check_sums();
        }
        CHECK_INT(DC_OK, status);
        CHECK(failures > 50);
        close_store();
    }
}

/* ---- What once went wrong ------------------------------------------------------------------- */

static void a_sweep_without_a_tag_does_not_use_the_last_one(void)
{
    dc_batch_delete sweep = {.sql = DC_SQL_BATCH_TAGGED, .after = INT64_MIN};
    int64_t count = 0;
    int done;

    open_store();
    set(integer(1), tagged(inline_value(integer(1)), text("tag")));
    sweep.parameter = text("other");
    CHECK_INT(DC_OK, dc_batch_delete_run(&db, &sweep, 1.0, &removed, &count, &done));
    sweep.parameter = null_datum;
    CHECK_INT(DC_OK, dc_batch_delete_run(&db, &sweep, 1.0, &removed, &count, &done));
    CHECK_INT(0, count);
    close_store();
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(all_rows_are_swept_in_portions),
        CHECK_TEST(with_time_enough_one_portion_will_do),
        CHECK_TEST(rows_behind_a_sweep_in_ascending_order_stay),
        CHECK_TEST(a_tag_is_swept_and_no_other),
        CHECK_TEST(the_expired_are_swept_however_many_share_a_moment),
        CHECK_TEST(a_volume_is_shrunk_to_and_no_further),
        CHECK_TEST(the_volume_is_not_found_out_for_each_row),
        CHECK_TEST(many_rows_are_swept_with_exact_sums),
        CHECK_TEST(a_sweep_alone_in_its_transaction_needs_no_savepoint),
        CHECK_TEST(a_portion_begins_with_a_quarter_of_the_last_batch),
        CHECK_TEST(a_table_too_large_to_be_emptied_at_once_is_swept_all_the_same),
        CHECK_TEST(triggers_of_a_user_run_for_each_row_of_a_sweep),
        CHECK_TEST(sums_are_not_touched_where_the_triggers_are_gone),
        CHECK_TEST(a_sweep_does_not_end_a_query_of_the_users),
        CHECK_TEST(a_sweep_that_fails_loses_no_file_and_keeps_the_sums),
        CHECK_TEST(a_sweep_without_a_tag_does_not_use_the_last_one),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
