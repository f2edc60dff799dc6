/* test_triggers.c: triggers of a user's that keep rows from being written or removed. */
#include "store.h"

static void keep_from(const char *event, const char *condition)
{
    char sql[200];

    snprintf(sql, sizeof sql,
             "CREATE TRIGGER keep_%s BEFORE %s ON Cache WHEN %s BEGIN SELECT RAISE(IGNORE); END",
             event, event, condition);
    database_execute(&db, sql);
}

static void what_a_trigger_keeps_from_being_inserted_is_not_written(void)
{
    const dc_rules exact = {DC_POLICY_NONE, 0, 0, NULL};
    const dc_key key = raw_key(text("key"));
    const dc_columns number = inline_value(integer(1));
    const dc_queue queue = {.prefix = NULL};
    const dc_columns file = file_value("12/34/new.val", 5);
    const dc_datum one = integer(1);
    dc_datum sum = null_datum;
    int64_t rowid = 0;
    int created = 0;
    dc_row row;

    open_store();
    dc_row_init(&row);
    keep_from("insert", "1");
    for (int only_if_absent = 0; only_if_absent < 2; only_if_absent++) {
        CHECK_INT(DC_OK,
                  write_set(&db, &key, &number, NOW, only_if_absent, &roomy, &removed, &written));
        CHECK(!written);
        CHECK_INT(DC_OK,
                  write_set(&db, &key, &file, NOW, only_if_absent, &exact, &removed, &written));
        CHECK(!written);
    }
    CHECK_INT(DC_NOT_FOUND, dc_row_insert(&db, &key, &number, NOW, &rowid));
    CHECK_INT(DC_OK,
              queue_push(&db, &queue, DC_BACK, &number, NOW, &roomy, &removed, &row, &written));
    CHECK(!written);
    CHECK_INT(DC_SQLITE,
              write_increment(&db, &key, &one, &number, NOW, &roomy, &removed, &sum, &created));
    CHECK_CONTAINS("trigger", db.error.message);
    CHECK_INT(19, db.error.sqlite_code & 0xff);
    CHECK_INT(0, row_count());
    CHECK_INT(0, removed.count);
    dc_row_clear(&row);
    close_store();
}

static void what_a_trigger_keeps_from_being_updated_stays_with_its_file(void)
{
    const dc_key key = raw_key(text("key"));
    const dc_key counter = raw_key(text("counter"));
    const dc_columns new_file = file_value("12/34/new.val", 7);
    const dc_columns expire = expiring((dc_columns){0}, 9000.0);
    const dc_datum one = integer(1);
    dc_datum sum = null_datum;
    int created = 0;
    dc_row row;

    open_store();
    dc_row_init(&row);
    set(text("key"), file_value("12/34/old.val", 5));
    set(text("counter"), inline_value(integer(5)));
    keep_from("update", "1");
    CHECK_INT(DC_OK, set_by(&roomy, text("key"), new_file, NOW + 1));
    CHECK(!written);
    CHECK_INT(DC_OK, set_by(&roomy, text("counter"), inline_value(integer(6)), NOW + 1));
    CHECK(!written);
    CHECK_INT(DC_NOT_FOUND, dc_row_touch(&db, &key, &expire, NOW));
    CHECK_INT(DC_SQLITE,
              write_increment(&db, &counter, &one, NULL, NOW, &roomy, &removed, &sum, &created));
    CHECK_INT(0, removed.count);
    CHECK_INT(DC_OK, get(text("key"), DC_DETAIL_ALL, &row));
    CHECK_TEXT("12/34/old.val", row.columns.filename);
    CHECK(value_is_integer(text("counter"), 5));
    dc_row_clear(&row);
    close_store();
}

static void what_a_trigger_keeps_from_being_deleted_stays_with_its_file(void)
{
    const dc_rules tight = {DC_POLICY_LEAST_RECENTLY_STORED, 3, 1, NULL};
    const dc_key key = raw_key(text("key"));
    const dc_key number = raw_key(text("number"));

    open_store();
    set(text("key"), file_value("12/34/old.val", 5));
    set(text("number"), inline_value(integer(5)));
    keep_from("delete", "1");
    CHECK_INT(DC_NOT_FOUND, dc_row_remove(&db, &key, NOW, &removed));
    CHECK_INT(DC_NOT_FOUND, dc_row_remove(&db, &number, NOW, &removed));
    CHECK_INT(DC_NOT_FOUND, dc_row_delete(&db, 1, "12/34/old.val", &removed));
    CHECK_INT(DC_OK, set_by(&tight, text("key"), inline_value(text("too large")), NOW));
    CHECK(!written);
    CHECK_INT(2, row_count());
    CHECK_INT(0, removed.count);
    close_store();
}

static void a_removal_of_many_passes_over_the_rows_that_a_trigger_keeps(void)
{
    static const char *const conditions[] = {"1", "OLD.key < 9", "OLD.key = 0", "OLD.key % 3 = 0",
                                             "OLD.key > 90"};
    static const char *const kept[] = {"1", "key < 9", "key = 0", "key % 3 = 0", "key > 90"};

    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++) {
        for (int kind = 0; kind < 4; kind++) {
            const dc_batch_delete sweeps[] = {
                {.sql = DC_SQL_BATCH_ALL, .after = INT64_MIN},
                {.sql = DC_SQL_BATCH_TAGGED, .after = INT64_MIN, .parameter = text("tag")},
                {.sql = DC_SQL_BATCH_EXPIRED, .after = INT64_MIN, .parameter = real(NOW)},
            };
            char sql[100];
            int64_t expected;
            int64_t count;

            check_remove_directory();
            open_store();
            fill(100);
            database_execute(&db, "UPDATE Cache SET tag = 'tag', expire_time = 100 + key % 7");
            keep_from("delete", conditions[i]);
            snprintf(sql, sizeof sql, "SELECT count(*) FROM Cache WHERE %s", kept[i]);
            expected = database_integer(&db, sql);
            if (kind < 3) {
                dc_batch_delete sweep = sweeps[kind];
                int done = 0;

                count = 0;
                for (int portions = 0; !done && CHECK(portions < 1000); portions++) {
                    CHECK_INT(DC_OK,
                              dc_batch_delete_run(&db, &sweep, 0.0, &removed, &count, &done));
                }
            } else {
                int64_t passed = 0;
                int done = 0;

                count = 0;
                for (int portions = 0; !done && CHECK(portions < 1000); portions++) {
                    CHECK_INT(DC_OK, dc_evict_to_volume(&db, DC_SQL_VICTIM_LEAST_RECENTLY_STORED, 0,
                                                        0.0, &removed, &passed, &count, &done));
                }
            }
            CHECK_INT(expected, row_count());
            CHECK_INT(100 - expected, count);
            close_store();
        }
    }
}

static void culling_passes_over_the_rows_that_a_trigger_keeps(void)
{
    int64_t count = 0;

    open_store();
    fill(20);
    set(integer(20), expiring(inline_value(integer(7)), 1.0));
    keep_from("delete", "OLD.key < 4 OR OLD.key = 20");
    CHECK_INT(DC_OK, cull(DC_POLICY_LEAST_RECENTLY_STORED, 0, NOW, 10, 0, &count));
    CHECK_INT(4, count); /* of ten, five were kept, one of them for two reasons */
    CHECK(has(integer(0)) && has(integer(3)) && !has(integer(4)) && has(integer(20)));
    count = 0;
    CHECK_INT(DC_OK, cull(DC_POLICY_LEAST_RECENTLY_STORED, 0, NOW, 1000, 0, &count));
    CHECK_INT(5, row_count());
    CHECK_INT(DC_OK, cull(DC_POLICY_LEAST_RECENTLY_STORED, 0, NOW, 1000, 0, &count));
    CHECK_INT(5, row_count());
    close_store();
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(what_a_trigger_keeps_from_being_inserted_is_not_written),
        CHECK_TEST(what_a_trigger_keeps_from_being_updated_stays_with_its_file),
        CHECK_TEST(what_a_trigger_keeps_from_being_deleted_stays_with_its_file),
        CHECK_TEST(a_removal_of_many_passes_over_the_rows_that_a_trigger_keeps),
        CHECK_TEST(culling_passes_over_the_rows_that_a_trigger_keeps),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
