/* test_evict.c: which rows go, and when they stop going. */
#include "engine/evict.h"

#include "store.h"

static void the_expired_go_first_and_whatever_the_volume(void)
{
    int64_t count = 0;

    open_store();
    fill(5);
    for (int i = 10; i < 15; i++) {
        CHECK_INT(DC_OK,
                  set_by(&without_culling, integer(i), expiring(file_value("f", 1), i), NOW));
    }
    CHECK_INT(DC_OK, cull(DC_POLICY_NONE, 0, 12.0, 10, 0, &count));
    CHECK_INT(2, count); /* 10 and 11: a row has not expired in its last moment */
    CHECK_INT(2, removed.count);
    CHECK(!has(integer(10)) && !has(integer(11)) && has(integer(12)));
    CHECK_INT(DC_OK, cull(DC_POLICY_LEAST_RECENTLY_STORED, 0, 100.0, 4, 0, &count));
    CHECK_INT(6, count);
    CHECK(!has(integer(14)) && !has(integer(0)) && has(integer(1)));
    close_store();
}

static void the_limit_of_rows_is_honoured(void)
{
    int64_t count = 100;

    open_store();
    fill(20);
    CHECK_INT(DC_OK, cull(DC_POLICY_LEAST_RECENTLY_STORED, 0, NOW, 7, 0, &count));
    CHECK_INT(107, count);
    CHECK_INT(13, row_count());
    CHECK_INT(DC_OK, cull(DC_POLICY_LEAST_RECENTLY_STORED, 0, NOW, 0, 0, &count));
    CHECK_INT(DC_OK, cull(DC_POLICY_LEAST_RECENTLY_STORED, 0, NOW, -5, 0, &count));
    CHECK_INT(107, count);
    CHECK_INT(DC_OK, cull(DC_POLICY_NONE, 0, NOW, 7, 0, &count));
    CHECK_INT(107, count);
    CHECK_INT(13, row_count());
    close_store();
}

/* Rows 0 to 9 with `value`, of 40 bytes if it has any, then two of 1000 bytes in files. */
static void fill_with_small_values(dc_datum value)
{
    CHECK_INT(DC_OK, dc_db_begin(&db));
    for (int i = 0; i < 12; i++) {
        CHECK_INT(DC_OK, set_by(&roomy, integer(i),
                                i < 10 ? inline_value(value) : file_value("f", 1000), NOW + i));
    }
    CHECK_INT(DC_OK, dc_db_commit(&db));
}

static void small_values_go_beyond_the_limit_until_there_is_room_for_a_large_one(void)
{
    static const struct {
        int64_t written;
        int64_t limit;
        int64_t count;
    } cases[] = {{0, 2, 2}, {80, 2, 2}, {81, 2, 3}, {160, 2, 4}, {401, 2, 11}, {5000, 2, 12}};
    const dc_datum values[] = {
        text("forty bytes, which is not a large number"),
        bytes(DC_BLOB, "forty bytes, which is not a large number", 40),
        text("\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
             "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"),
    };
    const dc_rules rules = {DC_POLICY_LEAST_RECENTLY_STORED, 0, 10, NULL};
    const dc_rules none = {DC_POLICY_NONE, 0, 10, NULL};

    for (size_t value = 0; value < sizeof values / sizeof *values; value++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            int64_t count = 0;

            check_remove_directory();
            open_store();
            fill_with_small_values(values[value]);
            CHECK_INT(DC_OK, dc_evict(&db, NOW, cases[i].limit, cases[i].written, &none, -1,
                                      &removed, &count));
            CHECK_INT(0, count);
            CHECK_INT(DC_OK, dc_evict(&db, NOW, cases[i].limit, cases[i].written, &rules, -1,
                                      &removed, &count));
            CHECK_INT(cases[i].count, count);
            close_store();
        }
    }
}

static void numbers_count_for_nothing_when_there_is_to_be_room(void)
{
    const dc_rules rules = {DC_POLICY_LEAST_RECENTLY_STORED, 0, 10, NULL};
    int64_t count = 0;

    open_store();
    fill_with_small_values(integer(1234567));
    CHECK_INT(DC_OK, dc_evict(&db, NOW, 1, 1, &rules, -1, &removed, &count));
    CHECK_INT(11, count); /* ten numbers and a file */
    close_store();
}

static void no_more_go_beyond_the_limit_than_volume_demands(void)
{
    dc_rules rules = {DC_POLICY_LEAST_RECENTLY_STORED, 0, 10, NULL};
    int64_t count = 0;

    open_store();
    fill(50);
    rules.size_limit = volume_without_free_pages() - 3 * 4000;
    CHECK_INT(DC_OK, dc_evict(&db, NOW, 1, 1 << 20, &rules, -1, &removed, &count));
    CHECK(count >= 3 && count <= 8);
    CHECK(volume_without_free_pages() < rules.size_limit);
    close_store();
}

static void culling_stops_below_the_limit_of_size(void)
{
    int64_t limit;
    int64_t count = 0;

    open_store();
    fill(100);
    limit = volume_without_free_pages() - 10 * 4000;
    CHECK_INT(DC_OK, cull(DC_POLICY_LEAST_RECENTLY_STORED, limit, NOW, 1000, 0, &count));
    CHECK(volume_without_free_pages() < limit);
    CHECK(count >= 10 && count <= 20);
    count = 0;
    CHECK_INT(DC_OK, cull(DC_POLICY_LEAST_RECENTLY_STORED, limit, NOW, 1000, 0, &count));
    CHECK_INT(0, count);
    limit = volume_without_free_pages(); /* at the limit is not below it */
    CHECK_INT(DC_OK, cull(DC_POLICY_LEAST_RECENTLY_STORED, limit, NOW, 1000, 0, &count));
    CHECK(count > 0);
    close_store();
}

static void each_policy_has_its_own_order(void)
{
    static const struct {
        dc_policy policy;
        int victims[3];
    } cases[] = {{DC_POLICY_LEAST_RECENTLY_STORED, {0, 1, 2}},
                 {DC_POLICY_LEAST_RECENTLY_USED, {3, 1, 0}},
                 {DC_POLICY_LEAST_FREQUENTLY_USED, {2, 3, 1}}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_remove_directory();
        open_store();
        fill(4);
        database_execute(&db, "UPDATE Cache SET access_time = 50 WHERE key = 3");
        database_execute(&db, "UPDATE Cache SET access_time = 51 WHERE key = 1");
        database_execute(&db, "UPDATE Cache SET access_time = 52 WHERE key = 0");
        database_execute(&db, "UPDATE Cache SET access_count = 3 WHERE key = 0");
        database_execute(&db, "UPDATE Cache SET access_count = 2 WHERE key = 1");
        database_execute(&db, "UPDATE Cache SET access_count = 1 WHERE key = 3");
        for (int n = 0; n < 3; n++) {
            int64_t count = 0;

            CHECK(has(integer(cases[i].victims[n])));
            CHECK_INT(DC_OK, cull(cases[i].policy, 0, NOW, 1, 0, &count));
            CHECK_INT(1, count);
            CHECK(!has(integer(cases[i].victims[n])));
        }
        close_store();
    }
}

static void the_row_to_keep_is_kept_by_every_policy(void)
{
    for (int policy = 0; policy < DC_POLICY_COUNT; policy++) {
        int64_t count = 0;

        check_remove_directory();
        open_store();
        fill(5);
        set(integer(7), expiring(inline_value(integer(7)), 1.0));
        database_execute(&db, "UPDATE Cache SET store_time = 0, access_time = 0,"
                              " access_count = -1 WHERE key = 7");
        CHECK_INT(DC_OK, cull((dc_policy)policy, 0, NOW, 100, 6, &count));
        CHECK(has(integer(7)));
        CHECK_INT(policy == DC_POLICY_NONE ? 6 : 1, row_count());
        close_store();
    }
}

static void a_write_culls_up_to_its_limit_and_never_itself(void)
{
    static char block[4000];

    for (int policy = 0; policy < DC_POLICY_COUNT; policy++) {
        const dc_rules rules = {(dc_policy)policy, 20000, 3, NULL};

        check_remove_directory();
        open_store();
        fill(20);
        database_execute(&db, "UPDATE Cache SET access_count = 5");
        CHECK_INT(DC_OK,
                  set_by(&rules, text("new"), inline_value(bytes(DC_BLOB, block, 4000)), 0.0));
        CHECK(written);
        CHECK(has(text("new")));
        CHECK_INT(policy == DC_POLICY_NONE ? 21 : 18, row_count());
        close_store();
    }
}

static void with_a_cull_limit_of_zero_writes_never_cull(void)
{
    const dc_rules rules = {DC_POLICY_LEAST_RECENTLY_STORED, 1, 0, NULL};

    open_store();
    fill(5);
    set(integer(10), expiring(inline_value(integer(1)), 5.0));
    CHECK_INT(DC_OK, set_by(&rules, text("new"), inline_value(integer(1)), NOW));
    CHECK_INT(7, row_count());
    close_store();
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(the_expired_go_first_and_whatever_the_volume),
        CHECK_TEST(the_limit_of_rows_is_honoured),
        CHECK_TEST(small_values_go_beyond_the_limit_until_there_is_room_for_a_large_one),
        CHECK_TEST(numbers_count_for_nothing_when_there_is_to_be_room),
        CHECK_TEST(no_more_go_beyond_the_limit_than_volume_demands),
        CHECK_TEST(culling_stops_below_the_limit_of_size),
        CHECK_TEST(each_policy_has_its_own_order),
        CHECK_TEST(the_row_to_keep_is_kept_by_every_policy),
        CHECK_TEST(a_write_culls_up_to_its_limit_and_never_itself),
        CHECK_TEST(with_a_cull_limit_of_zero_writes_never_cull),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
