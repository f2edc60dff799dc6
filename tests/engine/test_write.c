/* test_write.c: set, add, touch and increment. */
#include "engine/write.h"

#include "store.h"

#include <math.h>

/* ---- Get, locate, set ----------------------------------------------------------------------- */

static void setting_again_replaces_every_column(void)
{
    dc_row row;

    open_store();
    set(integer(1), tagged(expiring(file_value("old", 100), 5000.0), text("tag")));
    database_execute(&db, "UPDATE Cache SET access_count = 9");
    CHECK_INT(DC_OK, set_by(&roomy, integer(1), inline_value(text("new")), NOW + 1));
    CHECK(written);
    CHECK(removed_only("old"));
    dc_row_init(&row);
    CHECK_INT(DC_OK, get(integer(1), DC_DETAIL_ALL, &row));
    CHECK_INT(1, row.rowid);
    CHECK(row.store_time == NOW + 1);
    CHECK(is_text("new", row.columns.value));
    CHECK(!row.columns.has_expire_time);
    CHECK_INT(DC_NULL, row.columns.tag.type);
    CHECK_INT(0, database_integer(&db, "SELECT access_count FROM Cache"));
    CHECK_INT(1, database_integer(&db, "SELECT access_time = 1001 FROM Cache"));
    CHECK_INT(0, setting("size"));
    CHECK_INT(1, row_count());
    dc_row_clear(&row);
    close_store();
}

/* An update knows a shorter way for rows that have neither tag nor expiry, and must not take it. */
static void every_change_of_tag_and_expiry_is_written(void)
{
    const dc_columns plain = inline_value(integer(1));
    const dc_columns variants[] = {plain, tagged(plain, text("t")), expiring(plain, 9000.0),
                                   tagged(expiring(plain, 9500.0), integer(3))};
    dc_row row;

    open_store();
    dc_row_init(&row);
    for (size_t from = 0; from < sizeof variants / sizeof *variants; from++) {
        for (size_t to = 0; to < sizeof variants / sizeof *variants; to++) {
            set(text("k"), variants[from]);
            set(text("k"), variants[to]);
            CHECK_INT(DC_OK, get(text("k"), DC_DETAIL_ALL, &row));
            CHECK_INT(variants[to].tag.type, row.columns.tag.type);
            CHECK_INT(variants[to].has_expire_time, row.columns.has_expire_time);
            CHECK(row.columns.expire_time == variants[to].expire_time);
        }
    }
    dc_row_clear(&row);
    close_store();
}

static void insert_and_update_are_a_sets_steps(void)
{
    const dc_key key = raw_key(text("k"));
    const dc_columns first = inline_value(integer(1));
    const dc_columns second = tagged(inline_value(integer(2)), text("t"));
    int64_t rowid = 0;

    open_store();
    CHECK_INT(DC_OK, dc_row_insert(&db, &key, &first, NOW, &rowid));
    CHECK_INT(1, rowid);
    CHECK_INT(DC_SQLITE, dc_row_insert(&db, &key, &first, NOW, &rowid));
    CHECK_CONTAINS("UNIQUE constraint failed", db.error.message);
    CHECK_INT(DC_OK, dc_row_update(&db, rowid, &second, NOW));
    CHECK(value_is_integer(text("k"), 2));
    CHECK_INT(1, database_integer(&db, "SELECT count(*) FROM Cache WHERE tag = 't'"));
    CHECK_INT(DC_NOT_FOUND, dc_row_update(&db, 99, &second, NOW)); /* no such row */
    CHECK_INT(1, row_count());
    close_store();
}

static dc_status add(dc_datum key, dc_columns columns, double now)
{
    const dc_key raw = raw_key(key);

    return write_set(&db, &raw, &columns, now, 1, &roomy, &removed, &written);
}

static void adding_needs_an_absent_or_expired_key(void)
{
    open_store();
    CHECK_INT(DC_OK, add(text("k"), expiring(file_value("first", 5), NOW + 10), NOW));
    CHECK(written);
    CHECK_INT(DC_OK, add(text("k"), inline_value(integer(2)), NOW + 9));
    CHECK(!written);
    CHECK_INT(0, removed.count);
    CHECK_INT(DC_OK, add(text("k"), inline_value(integer(3)), NOW + 10)); /* no longer alive */
    CHECK(written);
    CHECK(removed_only("first"));
    CHECK_INT(DC_OK, add(text("k"), inline_value(integer(4)), 1e18)); /* it never expires */
    CHECK(!written);
    CHECK(value_is_integer(text("k"), 3));
    close_store();
}

/* ---- Items that are too large --------------------------------------------------------------- */

static void what_exceeds_the_limit_is_told_by_size_of_value_or_file(void)
{
    const dc_rules rules = {DC_POLICY_LEAST_RECENTLY_STORED, 10, 1, NULL};
    dc_rules other = rules;
    const dc_columns fits = inline_value(text("0123456789"));
    const dc_columns exceeds = inline_value(text("0123456789a"));
    const dc_columns file_fits = file_value("f", 10);
    const dc_columns file_exceeds = file_value("f", 11);
    const dc_columns number = inline_value(integer(1));

    CHECK(!dc_columns_exceed(&fits, &rules));
    CHECK(dc_columns_exceed(&exceeds, &rules));
    CHECK(!dc_columns_exceed(&file_fits, &rules));
    CHECK(dc_columns_exceed(&file_exceeds, &rules));
    CHECK(!dc_columns_exceed(&number, &rules));
    other.cull_limit = 0;
    CHECK(!dc_columns_exceed(&exceeds, &other));
    other = rules;
    other.policy = DC_POLICY_NONE;
    CHECK(!dc_columns_exceed(&exceeds, &other));
}

static void an_item_too_large_is_not_kept_nor_its_predecessor(void)
{
    dc_rules rules = {DC_POLICY_LEAST_RECENTLY_STORED, 1 << 20, 10, NULL};

    open_store();
    CHECK_INT(DC_OK, set_by(&rules, text("new"), file_value("huge", 2 << 20), NOW));
    CHECK(!written);
    CHECK(!has(text("new")));
    set(text("old"), file_value("small", 10));
    set(text("other"), inline_value(integer(1)));
    CHECK_INT(DC_OK, set_by(&rules, text("old"), file_value("huge", 2 << 20), NOW));
    CHECK(!written);
    CHECK(removed_only("small"));
    CHECK(!has(text("old")));
    CHECK(has(text("other")));
    CHECK_INT(0, setting("size"));
    rules.cull_limit = 0;
    CHECK_INT(DC_OK, set_by(&rules, text("old"), file_value("huge", 2 << 20), NOW));
    CHECK(written);
    close_store();
}

static void an_item_too_large_does_not_push_out_one_alive_when_adding(void)
{
    const dc_rules rules = {DC_POLICY_LEAST_RECENTLY_STORED, 1 << 20, 10, NULL};
    const dc_key key = raw_key(text("k"));
    const dc_columns huge = file_value("huge", 2 << 20);

    open_store();
    set(text("k"), inline_value(integer(1)));
    CHECK_INT(DC_OK, write_set(&db, &key, &huge, NOW, 1, &rules, &removed, &written));
    CHECK(!written);
    CHECK(value_is_integer(text("k"), 1));
    close_store();
}

/* ---- Hooks ---------------------------------------------------------------------------------- */

struct hook_calls {
    int inserts;
    int updates;
    int culls;
    dc_status result;
};

static dc_status hook_insert(void *context, const dc_key *key, const dc_columns *columns,
                             double now, int64_t *rowid)
{
    struct hook_calls *calls = context;

    calls->inserts++;
    return calls->result != DC_OK ? calls->result : dc_row_insert(&db, key, columns, now, rowid);
}

static dc_status hook_update(void *context, int64_t rowid, const dc_columns *columns, double now)
{
    struct hook_calls *calls = context;

    calls->updates++;
    return calls->result != DC_OK ? calls->result : dc_row_update(&db, rowid, columns, now);
}

static dc_status hook_cull(void *context, double now)
{
    struct hook_calls *calls = context;

    calls->culls += now == NOW;
    return calls->result;
}

static void hooks_take_the_place_of_steps(void)
{
    struct hook_calls calls = {.result = DC_OK};
    const dc_row_hooks hooks = {&calls, hook_insert, hook_update, hook_cull};
    const dc_row_hooks none = {&calls, NULL, NULL, NULL};
    dc_rules rules = {DC_POLICY_LEAST_RECENTLY_STORED, 1 << 30, 10, &hooks};

    open_store();
    CHECK_INT(DC_OK, set_by(&rules, text("k"), inline_value(integer(1)), NOW));
    CHECK_INT(DC_OK, set_by(&rules, text("k"), inline_value(integer(2)), NOW));
    CHECK_INT(1, calls.inserts);
    CHECK_INT(1, calls.updates);
    CHECK_INT(2, calls.culls);
    CHECK(value_is_integer(text("k"), 2));
    rules.hooks = &none;
    CHECK_INT(DC_OK, set_by(&rules, text("k"), inline_value(integer(3)), NOW));
    CHECK_INT(2, calls.culls);
    CHECK(value_is_integer(text("k"), 3));
    close_store();
}

static void a_hook_that_fails_ends_the_write(void)
{
    struct hook_calls calls = {.result = DC_CALLBACK};
    const dc_row_hooks hooks = {&calls, hook_insert, hook_update, NULL};
    const dc_row_hooks cull_only = {&calls, NULL, NULL, hook_cull};
    dc_rules rules = {DC_POLICY_LEAST_RECENTLY_STORED, 1 << 30, 10, &hooks};

    open_store();
    CHECK_INT(DC_CALLBACK, set_by(&rules, text("k"), inline_value(integer(1)), NOW));
    CHECK(!written);
    set(text("k"), inline_value(integer(1)));
    CHECK_INT(DC_CALLBACK, set_by(&rules, text("k"), inline_value(integer(2)), NOW));
    CHECK(!written);
    rules.hooks = &cull_only;
    CHECK_INT(DC_CALLBACK, set_by(&rules, text("k"), inline_value(integer(3)), NOW));
    CHECK(written); /* the row, and so a file of its, is in the table */
    close_store();
}

/* ---- Touch ---------------------------------------------------------------------------------- */

static void touching_gives_a_living_row_another_expire_time(void)
{
    const dc_columns never = {0};
    dc_row row;

    open_store();
    dc_row_init(&row);
    set(text("k"), expiring(tagged(inline_value(integer(1)), text("t")), NOW + 10));
    CHECK_INT(DC_OK, touch(text("k"), expiring(never, NOW + 20), NOW + 9));
    CHECK_INT(DC_OK, get(text("k"), DC_DETAIL_ALL, &row));
    CHECK(row.columns.has_expire_time && row.columns.expire_time == NOW + 20);
    CHECK(is_integer(1, row.columns.value));
    CHECK(is_text("t", row.columns.tag));
    CHECK(row.store_time == NOW);
    CHECK_INT(DC_OK, touch(text("k"), never, NOW + 19));
    CHECK_INT(DC_OK, get(text("k"), DC_DETAIL_NONE, &row));
    CHECK(!row.columns.has_expire_time);
    dc_row_clear(&row);
    close_store();
}

static void what_is_absent_or_not_alive_cannot_be_touched(void)
{
    const dc_columns never = {0};

    open_store();
    CHECK_INT(DC_NOT_FOUND, touch(text("k"), never, NOW));
    set(text("k"), expiring(inline_value(integer(1)), NOW + 10));
    CHECK_INT(DC_NOT_FOUND, touch(text("k"), never, NOW + 10));
    CHECK_INT(DC_NOT_FOUND, touch(text("k"), never, NOW + 11));
    CHECK_INT(1, database_integer(&db, "SELECT count(*) FROM Cache WHERE expire_time = 1010"));
    close_store();
}

/* ---- Increment ------------------------------------------------------------------------------ */

static dc_status increment(dc_datum key, dc_datum delta, const dc_columns *initial, double now)
{
    const dc_key raw = raw_key(key);

    sum = null_datum;
    return write_increment(&db, &raw, &delta, initial, now, &roomy, &removed, &sum, &created);
}

static void sums_of_integers_stay_in_64_bits(void)
{
    static const struct {
        int64_t left, right, sum;
        dc_status status;
    } cases[] = {
        {1, 2, 3, DC_OK},
        {INT64_MAX, 0, INT64_MAX, DC_OK},
        {INT64_MAX - 1, 1, INT64_MAX, DC_OK},
        {INT64_MAX, 1, 0, DC_OVERFLOW},
        {1, INT64_MAX, 0, DC_OVERFLOW},
        {INT64_MIN, -1, 0, DC_OVERFLOW},
        {-1, INT64_MIN, 0, DC_OVERFLOW},
        {INT64_MIN, INT64_MIN, 0, DC_OVERFLOW},
        {INT64_MIN + 1, -1, INT64_MIN, DC_OK},
        {INT64_MIN, INT64_MAX, -1, DC_OK},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const dc_datum left = integer(cases[i].left);
        const dc_datum right = integer(cases[i].right);
        dc_datum result = null_datum;

        CHECK_INT(cases[i].status, dc_datum_add(&left, &right, &result));
        CHECK(cases[i].status == DC_OK ? is_integer(cases[i].sum, result) : result.type == DC_NULL);
    }
}

static void a_real_makes_the_sum_real(void)
{
    const dc_datum one = integer(1);
    const dc_datum half = real(0.5);
    const dc_datum infinite = real(INFINITY);
    const dc_datum minus_infinite = real(-INFINITY);
    const dc_datum not_a_number = real(NAN);
    const dc_datum largest = integer(INT64_MAX);
    dc_datum result;

    CHECK_INT(DC_OK, dc_datum_add(&one, &half, &result));
    CHECK(is_real(1.5, result));
    CHECK_INT(DC_OK, dc_datum_add(&half, &one, &result));
    CHECK(is_real(1.5, result));
    CHECK_INT(DC_OK, dc_datum_add(&half, &half, &result));
    CHECK(is_real(1.0, result));
    CHECK_INT(DC_OK, dc_datum_add(&infinite, &largest, &result));
    CHECK(is_real(INFINITY, result));
    CHECK_INT(DC_OVERFLOW, dc_datum_add(&infinite, &minus_infinite, &result));
    CHECK_INT(DC_OVERFLOW, dc_datum_add(&one, &not_a_number, &result));
}

static void only_numbers_have_sums(void)
{
    const dc_datum one = integer(1);
    const dc_datum others[] = {null_datum, text("1"), bytes(DC_BLOB, "1", 1)};
    dc_datum result;

    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        CHECK_INT(DC_TYPE, dc_datum_add(&one, &others[i], &result));
        CHECK_INT(DC_TYPE, dc_datum_add(&others[i], &one, &result));
    }
}

static void incrementing_changes_value_and_store_time_alone(void)
{
    dc_row row;

    open_store();
    dc_row_init(&row);
    set(text("k"), tagged(expiring(inline_value(integer(40)), NOW + 10), text("t")));
    CHECK_INT(DC_OK, increment(text("k"), integer(2), NULL, NOW + 1));
    CHECK(!created);
    CHECK(is_integer(42, sum));
    CHECK_INT(DC_OK, increment(text("k"), real(-0.5), NULL, NOW + 2));
    CHECK(is_real(41.5, sum));
    CHECK_INT(DC_OK, get(text("k"), DC_DETAIL_ALL, &row));
    CHECK(is_real(41.5, row.columns.value));
    CHECK(row.store_time == NOW + 2);
    CHECK(row.columns.has_expire_time && row.columns.expire_time == NOW + 10);
    CHECK(is_text("t", row.columns.tag));
    CHECK_INT(1, database_integer(&db, "SELECT access_time = 1000 FROM Cache"));
    dc_row_clear(&row);
    close_store();
}

static void incrementing_counts_as_an_access(void)
{
    const dc_key key = raw_key(text("k"));
    const dc_datum one = integer(1);
    dc_rules rules = roomy;

    open_store();
    set(text("k"), inline_value(integer(1)));
    rules.policy = DC_POLICY_LEAST_FREQUENTLY_USED;
    CHECK_INT(DC_OK, write_increment(&db, &key, &one, NULL, NOW, &rules, &removed, &sum, &created));
    CHECK_INT(1, database_integer(&db, "SELECT access_count FROM Cache"));
    rules.policy = DC_POLICY_LEAST_RECENTLY_USED;
    CHECK_INT(DC_OK,
              write_increment(&db, &key, &one, NULL, NOW + 5, &rules, &removed, &sum, &created));
    CHECK_INT(1, database_integer(&db, "SELECT access_time = 1005 FROM Cache"));
    close_store();
}

static void a_sum_that_does_not_fit_changes_nothing(void)
{
    open_store();
    set(text("k"), inline_value(integer(INT64_MAX)));
    CHECK_INT(DC_OVERFLOW, increment(text("k"), integer(1), NULL, NOW + 1));
    CHECK(value_is_integer(text("k"), INT64_MAX));
    set(text("inf"), inline_value(real(INFINITY)));
    CHECK_INT(DC_OVERFLOW, increment(text("inf"), real(-INFINITY), NULL, NOW + 1));
    CHECK_INT(DC_OVERFLOW, increment(text("inf"), real(NAN), NULL, NOW + 1));
    CHECK_INT(DC_OK, increment(text("inf"), integer(1), NULL, NOW));
    CHECK(is_real(INFINITY, sum));
    CHECK_INT(2, database_integer(&db, "SELECT count(*) FROM Cache WHERE store_time = 1000"));
    close_store();
}

static void what_is_no_number_cannot_be_incremented(void)
{
    dc_columns pickled = inline_value(integer(1));

    open_store();
    pickled.mode = DC_MODE_PICKLE;
    set(text("text"), inline_value(text("1")));
    set(text("blob"), inline_value(bytes(DC_BLOB, "1", 1)));
    set(text("file"), file_value("f", 3));
    set(text("pickle"), pickled);
    CHECK_INT(DC_TYPE, increment(text("text"), integer(1), NULL, NOW));
    CHECK_INT(DC_TYPE, increment(text("blob"), integer(1), NULL, NOW));
    CHECK_INT(DC_TYPE, increment(text("file"), integer(1), NULL, NOW));
    CHECK_INT(DC_TYPE, increment(text("pickle"), integer(1), NULL, NOW));
    CHECK_INT(0, removed.count);
    close_store();
}

static void an_absent_or_expired_value_begins_with_the_initial_one(void)
{
    const dc_columns initial = inline_value(integer(7));

    open_store();
    CHECK_INT(DC_NOT_FOUND, increment(text("k"), integer(1), NULL, NOW));
    CHECK(!created);
    CHECK_INT(DC_OK, increment(text("k"), integer(1), &initial, NOW));
    CHECK(created);
    CHECK(value_is_integer(text("k"), 7));
    CHECK_INT(DC_OK, increment(text("k"), integer(1), &initial, NOW));
    CHECK(!created);
    CHECK(is_integer(8, sum));
    set(text("x"), expiring(file_value("f", 3), NOW + 10)); /* expired, it need be no number */
    CHECK_INT(DC_NOT_FOUND, increment(text("x"), integer(1), NULL, NOW + 11));
    CHECK_INT(DC_OK, increment(text("x"), integer(1), &initial, NOW + 11));
    CHECK(created);
    CHECK(removed_only("f"));
    CHECK(value_is_integer(text("x"), 7));
    close_store();
}

/* ---- One statement where one is enough ------------------------------------------------------ */

/* The steps of SQLite that the last of these took. */
#define STEPS(call) (database_watch_steps(0), (call), database_unwatch_steps(), step_count)

static void an_item_without_a_file_is_set_in_one_step(void)
{
    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    set(text("first"), inline_value(integer(0))); /* and makes a forecast */
    CHECK_INT(1, STEPS(set(text("k"), inline_value(integer(1)))));
    CHECK_INT(1, STEPS(set(text("k"), inline_value(integer(2)))));
    CHECK_INT(1, STEPS(set(text("t"), tagged(inline_value(integer(3)), text("red")))));
    CHECK_INT(1, STEPS(set(text("t"), tagged(inline_value(integer(4)), text("blue")))));
    CHECK(value_is_integer(text("k"), 2));
    CHECK(value_is_integer(text("t"), 4));
    CHECK_INT(3, row_count());
    CHECK_INT(3, setting("count"));
    CHECK_INT(DC_OK, dc_db_commit(&db));
    close_store();
}

static void a_plain_item_takes_tag_expiry_and_file_of_its_predecessor_away(void)
{
    const dc_key key = raw_key(text("k"));
    const dc_columns before[] = {
        tagged(inline_value(integer(1)), text("red")),
        expiring(inline_value(integer(1)), NOW + 5),
        file_value("a/b/c", 9),
        tagged(expiring(file_value("a/b/d", 9), NOW + 5), integer(7)),
    };
    dc_row row;

    open_store();
    dc_row_init(&row);
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        size_t noted = removed.count;

        set(key.datum, before[i]);
        set(key.datum, inline_value(integer(2)));
        CHECK_INT(DC_OK, dc_row_get(&db, &key, DC_DETAIL_ALL, &row));
        CHECK(is_integer(2, row.columns.value));
        CHECK_INT(DC_NULL, row.columns.tag.type);
        CHECK(!row.columns.has_expire_time && row.columns.filename == NULL);
        CHECK_INT(noted + (before[i].filename != NULL), removed.count);
        CHECK_INT(0, setting("size"));
    }
    dc_row_clear(&row);
    close_store();
}

static int remove_key(dc_datum key, double now)
{
    const dc_key raw = raw_key(key);
    dc_status status = dc_row_remove(&db, &raw, now, &removed);

    CHECK(status == DC_OK || status == DC_NOT_FOUND);
    return status == DC_OK;
}

static void an_item_without_a_file_is_removed_in_one_step(void)
{
    int there = 0;

    open_store();
    set(text("k"), expiring(inline_value(integer(1)), NOW + 5));
    CHECK_INT(1, STEPS(there = remove_key(text("k"), NOW)));
    CHECK(there);
    CHECK_INT(0, row_count());
    CHECK_INT(0, setting("count"));
    CHECK(!remove_key(text("k"), NOW));
    close_store();
}

static void what_has_expired_is_not_there_to_be_removed(void)
{
    open_store();
    set(text("k"), expiring(inline_value(integer(1)), NOW + 5));
    CHECK(!remove_key(text("k"), NOW + 5));
    set(text("f"), expiring(file_value("a/b/c", 9), NOW + 5));
    CHECK(!remove_key(text("f"), NOW + 5));
    CHECK_INT(2, row_count());
    CHECK_INT(0, removed.count);
    CHECK(remove_key(text("f"), NOW));
    CHECK_INT(1, removed.count);
    CHECK_INT(0, setting("size"));
    close_store();
}

static void integers_are_added_in_one_step(void)
{
    dc_status status = DC_OK;

    open_store();
    set(text("k"), inline_value(integer(40)));
    CHECK_INT(1, STEPS(status = increment(text("k"), integer(2), NULL, NOW)));
    CHECK_INT(DC_OK, status);
    CHECK(is_integer(42, sum));
    CHECK(value_is_integer(text("k"), 42));
    CHECK_INT(1, STEPS(status = increment(text("k"), integer(INT64_MIN), NULL, NOW)));
    CHECK_INT(DC_OK, status);
    CHECK(value_is_integer(text("k"), INT64_MIN + 42));
    CHECK_INT(DC_OVERFLOW, increment(text("k"), integer(-43), NULL, NOW));
    CHECK_INT(DC_OK, increment(text("k"), integer(-42), NULL, NOW));
    CHECK(value_is_integer(text("k"), INT64_MIN));
    set(text("k"), inline_value(integer(INT64_MAX - 1)));
    CHECK_INT(DC_OVERFLOW, increment(text("k"), integer(2), NULL, NOW));
    CHECK_INT(DC_OK, increment(text("k"), integer(1), NULL, NOW));
    CHECK(value_is_integer(text("k"), INT64_MAX));
    close_store();
}

/* ---- What once went wrong ------------------------------------------------------------------- */

static void a_failed_update_does_not_note_the_file_still_referred_to(void)
{
    open_store();
    set(text("k"), file_value("name", 10));
    CHECK_INT(DC_OK, dc_db_begin(&db));
    database_watch_steps(2); /* the first one locates the row, the second updates it */
    CHECK_INT(DC_SQLITE, set_by(&roomy, text("k"), inline_value(integer(1)), NOW));
    database_unwatch_steps();
    CHECK_INT(DC_OK, dc_db_commit(&db));
    CHECK_INT(1, database_integer(&db, "SELECT count(*) FROM Cache WHERE filename = 'name'"));
    CHECK_INT(0, removed.count);
    close_store();
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(setting_again_replaces_every_column),
        CHECK_TEST(every_change_of_tag_and_expiry_is_written),
        CHECK_TEST(insert_and_update_are_a_sets_steps),
        CHECK_TEST(adding_needs_an_absent_or_expired_key),
        CHECK_TEST(what_exceeds_the_limit_is_told_by_size_of_value_or_file),
        CHECK_TEST(an_item_too_large_is_not_kept_nor_its_predecessor),
        CHECK_TEST(an_item_too_large_does_not_push_out_one_alive_when_adding),
        CHECK_TEST(hooks_take_the_place_of_steps),
        CHECK_TEST(a_hook_that_fails_ends_the_write),
        CHECK_TEST(touching_gives_a_living_row_another_expire_time),
        CHECK_TEST(what_is_absent_or_not_alive_cannot_be_touched),
        CHECK_TEST(sums_of_integers_stay_in_64_bits),
        CHECK_TEST(a_real_makes_the_sum_real),
        CHECK_TEST(only_numbers_have_sums),
        CHECK_TEST(incrementing_changes_value_and_store_time_alone),
        CHECK_TEST(incrementing_counts_as_an_access),
        CHECK_TEST(a_sum_that_does_not_fit_changes_nothing),
        CHECK_TEST(what_is_no_number_cannot_be_incremented),
        CHECK_TEST(an_absent_or_expired_value_begins_with_the_initial_one),
        CHECK_TEST(an_item_without_a_file_is_set_in_one_step),
        CHECK_TEST(a_plain_item_takes_tag_expiry_and_file_of_its_predecessor_away),
        CHECK_TEST(an_item_without_a_file_is_removed_in_one_step),
        CHECK_TEST(what_has_expired_is_not_there_to_be_removed),
        CHECK_TEST(integers_are_added_in_one_step),
        CHECK_TEST(a_failed_update_does_not_note_the_file_still_referred_to),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
