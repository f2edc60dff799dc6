/* test_volume.c: the size of a cache on disk. */
#include "engine/volume.h"

#include "store.h"

/* ---- Pages and files ------------------------------------------------------------------------ */

static void the_volume_is_pages_and_files_with_or_without_free_pages(void)
{
    int64_t page_size;
    int64_t all = 0;

    open_store();
    page_size = database_integer(&db, "PRAGMA page_size");
    CHECK_INT(page_size * database_integer(&db, "PRAGMA page_count"), volume_without_free_pages());
    fill(50);
    set(text("file"), file_value("f", 12345));
    all = page_size * database_integer(&db, "PRAGMA page_count") + 12345;
    CHECK_INT(all, volume_without_free_pages());
    database_execute(&db, "DELETE FROM Cache WHERE filename IS NULL");
    CHECK_INT(all - page_size * database_integer(&db, "PRAGMA freelist_count"),
              volume_without_free_pages());
    CHECK(volume_without_free_pages() < all - 40 * page_size);
    CHECK_INT(DC_OK, dc_volume(&db, 1, &page_size));
    CHECK_INT(all, page_size);
    close_store();
}

/* ---- Sizes at the end of the range ---------------------------------------------------------- */

static void sums_of_sizes_end_where_the_range_does(void)
{
    CHECK_INT(5, dc_saturated_sum(2, 3));
    CHECK_INT(-1, dc_saturated_sum(2, -3));
    CHECK_INT(INT64_MAX, dc_saturated_sum(INT64_MAX, 0));
    CHECK_INT(INT64_MAX, dc_saturated_sum(INT64_MAX, 1));
    CHECK_INT(INT64_MAX, dc_saturated_sum(INT64_MAX, INT64_MAX));
    CHECK_INT(-INT64_MAX, dc_saturated_sum(-INT64_MAX, -1));
    CHECK_INT(-INT64_MAX, dc_saturated_sum(INT64_MIN, INT64_MIN));
    CHECK_INT(-INT64_MAX, dc_saturated_sum(-1, INT64_MIN));
    CHECK_INT(-1, dc_saturated_sum(INT64_MAX, INT64_MIN));
    CHECK_INT(0, dc_saturated_sum(INT64_MAX, -INT64_MAX));
}

/* What a database says of sizes is no reason for a volume that cannot be. (The sanitizer sees the rest.) */
static void whatever_sizes_are_stored_the_volume_is_a_number_of_bytes(void)
{
    static const char *const sizes[] = {
        "9223372036854775807", "-9223372036854775807 - 1", "9.3e18", "-9.3e18", "'many'", "NULL"};
    const dc_rules tight = {DC_POLICY_LEAST_RECENTLY_STORED, 100000, 10, NULL};
    const dc_rules least = {DC_POLICY_LEAST_RECENTLY_STORED, INT64_MIN, 10, NULL};
    const dc_rules most = {DC_POLICY_LEAST_RECENTLY_STORED, INT64_MAX, 10, NULL};
    char sql[200];

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const dc_columns file = file_value("12/34/x.val", i % 2 == 0 ? INT64_MAX : INT64_MIN);
        int64_t all = 0;
        int64_t count = 0;

        check_remove_directory();
        open_store();
        fill(20);
        snprintf(sql, sizeof sql, "UPDATE Settings SET value = %s WHERE key = 'size'", sizes[i]);
        database_execute(&db, sql);
        CHECK(volume_without_free_pages() > 0);
        CHECK_INT(DC_OK, dc_volume(&db, 1, &all));
        CHECK(all > 0);
        CHECK_INT(DC_OK, set_by(&tight, integer(1000), inline_value(integer(1)), NOW));
        CHECK_INT(DC_OK, set_by(&least, integer(1001), inline_value(integer(1)), NOW));
        CHECK_INT(DC_OK, set_by(&most, integer(1002), file, NOW));
        CHECK_INT(DC_OK, set_by(&most, integer(1003), file, NOW));
        CHECK_INT(DC_OK, set_by(&tight, integer(1004), inline_value(integer(1)), NOW));
        snprintf(sql, sizeof sql, "UPDATE Cache SET size = %s", sizes[i]);
        database_execute(&db, sql);
        CHECK_INT(DC_OK, cull(DC_POLICY_LEAST_RECENTLY_STORED, 0, NOW, 2, INT64_MAX, &count));
        CHECK(volume_without_free_pages() > 0);
        sweep((dc_batch_delete){.sql = DC_SQL_BATCH_ALL, .after = INT64_MIN});
        CHECK_INT(0, row_count());
        CHECK(volume_without_free_pages() > 0);
        database_execute(&db, "DELETE FROM Settings WHERE key = 'size'");
        CHECK(volume_without_free_pages() > 0);
        CHECK_INT(DC_OK, set_by(&tight, integer(1), inline_value(integer(1)), NOW));
        close_store();
    }
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(the_volume_is_pages_and_files_with_or_without_free_pages),
        CHECK_TEST(sums_of_sizes_end_where_the_range_does),
        CHECK_TEST(whatever_sizes_are_stored_the_volume_is_a_number_of_bytes),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
