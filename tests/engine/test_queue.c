/* test_queue.c: the queues among the rows. */
#include "engine/queue.h"

#include "store.h"

/* ---- Queues --------------------------------------------------------------------------------- */

/* Push an integer; the key is in `row`. */
static void push(const dc_queue *queue, dc_side side, int64_t value, dc_row *row)
{
    const dc_columns columns = inline_value(integer(value));

    CHECK_INT(DC_OK, queue_push(&db, queue, side, &columns, NOW, &roomy, &removed, row, &written));
    CHECK(written);
    CHECK_INT(1, row->key.raw);
}

/* Whether the value at that side is `expected`; the row stays filled. */
static int end_is(const dc_queue *queue, dc_side side, int64_t expected, dc_row *row)
{
    return CHECK_INT(DC_OK, dc_queue_end(&db, queue, side, row)) &&
           is_integer(expected, row->columns.value) && row->key.raw == 1;
}

static void an_empty_queue_has_no_ends(void)
{
    const dc_queue queue = prefixed("a");
    dc_row row;

    open_store();
    dc_row_init(&row);
    CHECK_INT(DC_NOT_FOUND, dc_queue_end(&db, &integers, DC_FRONT, &row));
    CHECK_INT(DC_NOT_FOUND, dc_queue_end(&db, &integers, DC_BACK, &row));
    CHECK_INT(DC_NOT_FOUND, dc_queue_end(&db, &queue, DC_FRONT, &row));
    CHECK_INT(DC_NOT_FOUND, dc_queue_end(&db, &queue, DC_BACK, &row));
    dc_row_clear(&row);
    close_store();
}

static void a_queue_of_integers_grows_at_both_sides(void)
{
    dc_row row;

    open_store();
    dc_row_init(&row);
    push(&integers, DC_BACK, 1, &row);
    CHECK(is_integer(500000000000000, row.key.datum));
    push(&integers, DC_BACK, 2, &row);
    CHECK(is_integer(500000000000001, row.key.datum));
    push(&integers, DC_FRONT, 0, &row);
    CHECK(is_integer(499999999999999, row.key.datum));
    CHECK(end_is(&integers, DC_FRONT, 0, &row));
    CHECK(is_integer(499999999999999, row.key.datum));
    CHECK(end_is(&integers, DC_BACK, 2, &row));
    CHECK_INT(DC_OK, dc_row_delete(&db, row.rowid, NULL, &removed));
    CHECK(end_is(&integers, DC_BACK, 1, &row));
    push(&integers, DC_BACK, 3, &row);
    CHECK(is_integer(500000000000001, row.key.datum));
    dc_row_clear(&row);
    close_store();
}

static void a_queue_with_a_prefix_grows_at_both_sides(void)
{
    const dc_queue queue = prefixed("a");
    dc_row row;

    open_store();
    dc_row_init(&row);
    push(&queue, DC_FRONT, 1, &row);
    CHECK(is_text("a-500000000000000", row.key.datum));
    push(&queue, DC_FRONT, 0, &row);
    CHECK(is_text("a-499999999999999", row.key.datum));
    push(&queue, DC_BACK, 2, &row);
    CHECK(is_text("a-500000000000001", row.key.datum));
    CHECK(end_is(&queue, DC_FRONT, 0, &row));
    CHECK(end_is(&queue, DC_BACK, 2, &row));
    CHECK(is_text("a-500000000000001", row.key.datum));
    dc_row_clear(&row);
    close_store();
}

static void users_own_integers_are_no_part_of_the_queue(void)
{
    static const int64_t own[] = {INT64_MIN,        -1,       0, 5, 99999999999999, 999999999999999,
                                  1000000000000000, INT64_MAX};
    const dc_key pickled = {.datum = integer(500000000000009), .raw = 0};
    const dc_columns value = inline_value(integer(-9));
    dc_row row;

    open_store();
    dc_row_init(&row);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        set(integer(own[i]), inline_value(integer(-1)));
    }
    set(real(500000000000000.5), inline_value(integer(-2)));
    set(real(499999999999000.0), inline_value(integer(-3)));
    set(text("500000000000001"), inline_value(integer(-4)));
    CHECK_INT(DC_OK, write_set(&db, &pickled, &value, NOW, 0, &roomy, &removed, &written));
    CHECK_INT(DC_NOT_FOUND, dc_queue_end(&db, &integers, DC_FRONT, &row));
    CHECK_INT(DC_NOT_FOUND, dc_queue_end(&db, &integers, DC_BACK, &row));
    push(&integers, DC_BACK, 1, &row);
    push(&integers, DC_BACK, 2, &row);
    CHECK(end_is(&integers, DC_FRONT, 1, &row));
    CHECK(end_is(&integers, DC_BACK, 2, &row));
    dc_row_clear(&row);
    close_store();
}

static void users_own_texts_are_no_part_of_the_queue(void)
{
    static const char *const own[] = {"a",
                                      "a-",
                                      "a-5x",
                                      "a-5",
                                      "a-50000000000000",
                                      "a-5000000000000000",
                                      "a-50000000000000x",
                                      "a-5000-000000000",
                                      "a- 00000000000000",
                                      "a-000000000000000",
                                      "a-999999999999999",
                                      "a-5-500000000000000",
                                      "a--00000000000001",
                                      "b-500000000000000",
                                      "A-500000000000000",
                                      "a-\xc3\xa9_0000000000000"};
    const dc_queue queue = prefixed("a");
    dc_row row;

    open_store();
    dc_row_init(&row);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        set(text(own[i]), inline_value(integer(-1)));
    }
    set(bytes(DC_BLOB, "a-500000000000005", 17), inline_value(integer(-2)));
    CHECK_INT(DC_NOT_FOUND, dc_queue_end(&db, &queue, DC_FRONT, &row));
    CHECK_INT(DC_NOT_FOUND, dc_queue_end(&db, &queue, DC_BACK, &row));
    push(&queue, DC_FRONT, 1, &row);
    push(&queue, DC_BACK, 2, &row);
    CHECK(end_is(&queue, DC_FRONT, 1, &row));
    CHECK(end_is(&queue, DC_BACK, 2, &row));
    dc_row_clear(&row);
    close_store();
}

static void a_users_key_of_the_queues_form_is_part_of_it(void)
{
    const dc_queue queue = prefixed("a");
    dc_row row;

    open_store();
    dc_row_init(&row);
    set(text("a-000000000000001"), inline_value(integer(1)));
    set(text("a-000000000000041"), inline_value(integer(41)));
    CHECK(end_is(&queue, DC_FRONT, 1, &row));
    push(&queue, DC_BACK, 42, &row);
    CHECK(is_text("a-000000000000042", row.key.datum));
    dc_row_clear(&row);
    close_store();
}

static void queues_of_any_prefix_are_apart(void)
{
    static const struct {
        const char *prefix;
        size_t length;
    } cases[] = {{"", 0},         {"-", 1},
                 {"a", 1},        {"a-", 2},
                 {"a-5", 3},      {"a-500000000000000", 17},
                 {"\xc3\xa9", 1}, {"\xe2\x82\xac-\xf0\x9f\x98\x80", 3},
                 {"%_*?[x]'", 8}};
    enum { COUNT = sizeof cases / sizeof *cases };
    char longest[1000];
    dc_queue queues[COUNT + 1];
    dc_row row;

    memset(longest, 'p', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    queues[COUNT] = prefixed(longest);
    open_store();
    dc_row_init(&row);
    for (int64_t i = 0; i <= COUNT; i++) {
        if (i < COUNT) {
            queues[i] = prefixed(cases[i].prefix);
        }
        push(&queues[i], DC_BACK, 10 * i, &row);
        push(&queues[i], DC_BACK, 10 * i + 1, &row);
        push(&queues[i], DC_FRONT, 10 * i - 1, &row);
    }
    for (int64_t i = 0; i <= COUNT; i++) {
        CHECK(end_is(&queues[i], DC_FRONT, 10 * i - 1, &row));
        CHECK(end_is(&queues[i], DC_BACK, 10 * i + 1, &row));
    }
    dc_row_clear(&row);
    close_store();
}

static void an_end_comes_with_all_that_its_row_holds(void)
{
    const dc_queue queue = prefixed("q");
    const dc_columns columns = tagged(expiring(file_value("f", 10), NOW - 1), text("t"));
    dc_row row;

    open_store();
    dc_row_init(&row);
    CHECK_INT(DC_OK,
              queue_push(&db, &queue, DC_BACK, &columns, NOW, &roomy, &removed, &row, &written));
    CHECK_INT(DC_OK, dc_queue_end(&db, &queue, DC_BACK, &row)); /* expired or not */
    CHECK(is_text("q-500000000000000", row.key.datum));
    CHECK_INT(1, row.rowid);
    CHECK(row.store_time == NOW);
    CHECK(is_text("t", row.columns.tag));
    CHECK_TEXT("f", row.columns.filename);
    CHECK_INT(10, row.columns.size);
    CHECK(row.columns.has_expire_time && row.columns.expire_time == NOW - 1);
    dc_row_clear(&row);
    close_store();
}

static void an_item_too_large_is_not_pushed(void)
{
    const dc_rules rules = {DC_POLICY_LEAST_RECENTLY_STORED, 1000, 10, NULL};
    const dc_columns huge = file_value("f", 1001);
    dc_row row;

    open_store();
    dc_row_init(&row);
    CHECK_INT(DC_OK,
              queue_push(&db, &integers, DC_BACK, &huge, NOW, &rules, &removed, &row, &written));
    CHECK(!written);
    CHECK_INT(0, row_count());
    dc_row_clear(&row);
    close_store();
}

/* ---- What once went wrong ------------------------------------------------------------------- */

static void a_prefix_may_contain_nul(void)
{
    const dc_queue queue = {.prefix = "a\0b", .prefix_size = 3};
    dc_row row;

    open_store();
    dc_row_init(&row);
    push(&queue, DC_BACK, 1, &row);
    push(&queue, DC_BACK, 2, &row);
    CHECK_INT(DC_OK, dc_queue_end(&db, &queue, DC_BACK, &row));
    CHECK(is_integer(2, row.columns.value));
    dc_row_clear(&row);
    close_store();
}

static void a_push_beyond_the_last_key_is_an_overflow(void)
{
    const dc_columns columns = inline_value(integer(2));
    dc_row row;

    open_store();
    dc_row_init(&row);
    set(integer(999999999999998), inline_value(integer(1)));
    CHECK_INT(DC_OVERFLOW,
              queue_push(&db, &integers, DC_BACK, &columns, NOW, &roomy, &removed, &row, &written));
    CHECK_INT(1, row_count());
    dc_row_clear(&row);
    close_store();
}

static void a_pushed_row_can_be_copied(void)
{
    char prefix[600];
    dc_row row, copy;
    dc_queue queue;

    memset(prefix, 'p', 599);
    prefix[599] = '\0';
    queue = prefixed(prefix);
    open_store();
    dc_row_init(&row);
    dc_row_init(&copy);
    memset(&row.columns, 0, sizeof row.columns);
    push(&queue, DC_BACK, 1, &row);
    CHECK(dc_row_copy(&copy, &row));
    dc_row_clear(&row);
    dc_row_clear(&copy);
    close_store();
}

/* From each side those up to an item are left out, and those of the other side stay. */
static void items_can_be_passed_over(void)
{
    dc_queue queues[] = {integers, prefixed("a")};
    dc_row row;

    open_store();
    dc_row_init(&row);
    for (int i = 0; i < 2; i++) {
        dc_queue *queue = &queues[i];

        for (int64_t value = 0; value < 3; value++) {
            push(queue, DC_BACK, value, &row);
        }
        for (int side = DC_FRONT; side <= DC_BACK; side++) {
            queue->passed = 0;
            for (int64_t left = 3; left > 0; left--) {
                CHECK(end_is(queue, (dc_side)side, side == DC_FRONT ? 3 - left : left - 1, &row));
                queue->passed = dc_queue_number(&row.key.datum);
            }
            CHECK_INT(DC_NOT_FOUND, dc_queue_end(&db, queue, (dc_side)side, &row));
        }
    }
    dc_row_clear(&row);
    close_store();
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(an_empty_queue_has_no_ends),
        CHECK_TEST(a_queue_of_integers_grows_at_both_sides),
        CHECK_TEST(a_queue_with_a_prefix_grows_at_both_sides),
        CHECK_TEST(users_own_integers_are_no_part_of_the_queue),
        CHECK_TEST(users_own_texts_are_no_part_of_the_queue),
        CHECK_TEST(a_users_key_of_the_queues_form_is_part_of_it),
        CHECK_TEST(queues_of_any_prefix_are_apart),
        CHECK_TEST(an_end_comes_with_all_that_its_row_holds),
        CHECK_TEST(an_item_too_large_is_not_pushed),
        CHECK_TEST(a_prefix_may_contain_nul),
        CHECK_TEST(a_push_beyond_the_last_key_is_an_overflow),
        CHECK_TEST(a_pushed_row_can_be_copied),
        CHECK_TEST(items_can_be_passed_over),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
