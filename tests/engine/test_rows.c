/* test_rows.c: rows that are found, copied and deleted. */
#include "engine/rows.h"

#include "store.h"

#include <math.h>

#include "engine/scan.h"

/* ---- Expiry --------------------------------------------------------------------------------- */

static void a_row_is_alive_before_its_expire_time_and_expired_after(void)
{
    dc_columns columns = inline_value(integer(1));

    CHECK(dc_columns_alive(&columns, 1e18) && !dc_columns_expired(&columns, 1e18));
    columns = expiring(columns, 100.0);
    CHECK(dc_columns_alive(&columns, 99.9) && !dc_columns_expired(&columns, 99.9));
    CHECK(!dc_columns_alive(&columns, 100.0) && !dc_columns_expired(&columns, 100.0));
    CHECK(!dc_columns_alive(&columns, 100.1) && dc_columns_expired(&columns, 100.1));
}

/* ---- Get, locate, set ----------------------------------------------------------------------- */

static void what_is_not_there_is_not_found(void)
{
    const dc_key key = raw_key(integer(1));
    dc_row row;

    open_store();
    dc_row_init(&row);
    CHECK_INT(DC_NOT_FOUND, dc_row_get(&db, &key, DC_DETAIL_NONE, &row));
    CHECK_INT(DC_NOT_FOUND, dc_row_get(&db, &key, DC_DETAIL_ALL, &row));
    CHECK_INT(DC_NOT_FOUND, dc_row_locate(&db, &key, &row));
    dc_row_clear(&row);
    close_store();
}

static void get_reads_as_many_details_as_asked_for(void)
{
    dc_row row;

    open_store();
    set(text("k"), tagged(expiring(inline_value(text("value")), 2000.0), text("tag")));
    dc_row_init(&row);
    for (unsigned int details = DC_DETAIL_NONE; details <= DC_DETAIL_ALL; details++) {
        if (!CHECK_INT(DC_OK, get(text("k"), details, &row))) {
            continue;
        }
        CHECK(is_text("value", row.columns.value));
        CHECK_INT(DC_MODE_RAW, row.columns.mode);
        CHECK(row.columns.has_expire_time && row.columns.expire_time == 2000.0);
        CHECK(row.columns.filename == NULL);
        CHECK_INT(0, row.columns.size);
        CHECK_INT(DC_NULL, row.key.datum.type);
        if (details & DC_DETAIL_TAG) {
            CHECK(is_text("tag", row.columns.tag));
        } else {
            CHECK_INT(DC_NULL, row.columns.tag.type);
        }
        CHECK_INT(details & DC_DETAIL_IDENTITY ? 1 : 0, row.rowid);
        CHECK(row.store_time == (details & DC_DETAIL_IDENTITY ? NOW : 0.0));
    }
    dc_row_clear(&row);
    close_store();
}

static void the_row_of_a_file_has_its_name_and_size(void)
{
    dc_row row;

    open_store();
    set(integer(1), file_value("12/34/name.val", 40000));
    dc_row_init(&row);
    for (unsigned int details = DC_DETAIL_NONE; details <= DC_DETAIL_ALL; details++) {
        CHECK_INT(DC_OK, get(integer(1), details, &row));
        CHECK_INT(DC_NULL, row.columns.value.type);
        CHECK_TEXT("12/34/name.val", row.columns.filename);
        CHECK_INT(40000, row.columns.size);
        CHECK_INT(DC_MODE_BINARY, row.columns.mode);
        CHECK(!row.columns.has_expire_time);
    }
    dc_row_clear(&row);
    close_store();
}

static void values_tags_and_keys_of_every_type_come_back(void)
{
    static char large[100000];
    const dc_datum data[] = {integer(INT64_MIN),
                             integer(0),
                             real(-0.5),
                             real(INFINITY),
                             text(""),
                             text("t"),
                             bytes(DC_TEXT, "\0", 1),
                             bytes(DC_TEXT, "a\0b", 3),
                             bytes(DC_BLOB, NULL, 0),
                             bytes(DC_BLOB, "\0\1", 2),
                             text("\xc3\xa9"),
                             bytes(DC_BLOB, large, sizeof large),
                             bytes(DC_TEXT, large, sizeof large)};
    enum { COUNT = sizeof data / sizeof *data };
    dc_row row;

    memset(large, 'l', sizeof large);
    open_store();
    dc_row_init(&row);
    for (size_t i = 0; i < COUNT; i++) {
        set(data[i], tagged(inline_value(data[(i + 1) % COUNT]), data[(i + 2) % COUNT]));
    }
    CHECK_INT(COUNT, row_count());
    for (size_t i = 0; i < COUNT; i++) {
        const dc_datum *expected[] = {&data[(i + 1) % COUNT], &data[(i + 2) % COUNT]};
        const dc_datum *found[] = {&row.columns.value, &row.columns.tag};

        CHECK_INT(DC_OK, get(data[i], DC_DETAIL_ALL, &row));
        for (int each = 0; each < 2; each++) {
            if (!CHECK_INT(expected[each]->type, found[each]->type)) {
                continue;
            }
            CHECK(expected[each]->type == DC_INTEGER
                      ? is_integer(expected[each]->as.integer, *found[each])
                  : expected[each]->type == DC_REAL
                      ? is_real(expected[each]->as.real, *found[each])
                      : is_bytes(expected[each]->type, expected[each]->as.bytes.data,
                                 expected[each]->as.bytes.size, *found[each]));
        }
    }
    dc_row_clear(&row);
    close_store();
}

static void a_key_and_its_pickle_are_two(void)
{
    const dc_key pickled = {.datum = bytes(DC_BLOB, "x", 1), .raw = 0};
    const dc_columns value = inline_value(integer(2));
    dc_row row;

    open_store();
    set(bytes(DC_BLOB, "x", 1), inline_value(integer(1)));
    CHECK_INT(DC_OK, write_set(&db, &pickled, &value, NOW, 0, &roomy, &removed, &written));
    CHECK_INT(2, row_count());
    dc_row_init(&row);
    CHECK_INT(DC_OK, dc_row_get(&db, &pickled, DC_DETAIL_NONE, &row));
    CHECK(is_integer(2, row.columns.value));
    CHECK(value_is_integer(bytes(DC_BLOB, "x", 1), 1));
    dc_row_clear(&row);
    close_store();
}

static void locate_tells_of_file_and_expiry(void)
{
    const dc_key plain = raw_key(integer(1));
    const dc_key full = raw_key(integer(2));
    dc_row row;

    open_store();
    set(plain.datum, inline_value(text("value")));
    set(full.datum, tagged(expiring(file_value("a/b/c", 9), 5.0), integer(7)));
    dc_row_init(&row);
    CHECK_INT(DC_OK, dc_row_locate(&db, &full, &row));
    CHECK_INT(2, row.rowid);
    CHECK_TEXT("a/b/c", row.columns.filename);
    CHECK(row.columns.has_expire_time && row.columns.expire_time == 5.0);
    CHECK_INT(DC_OK, dc_row_locate(&db, &plain, &row));
    CHECK_INT(1, row.rowid);
    CHECK(row.columns.filename == NULL);
    CHECK(!row.columns.has_expire_time);
    dc_row_clear(&row);
    close_store();
}

/* ---- Delete and sameness -------------------------------------------------------------------- */

static void deleting_notes_the_file(void)
{
    open_store();
    set(integer(1), file_value("one", 10));
    set(integer(2), inline_value(integer(1)));
    CHECK_INT(DC_OK, dc_row_delete(&db, 1, "one", &removed));
    CHECK(removed_only("one"));
    CHECK_INT(DC_OK, dc_row_delete(&db, 2, NULL, &removed));
    CHECK_INT(0, removed.count);
    CHECK_INT(0, row_count());
    CHECK_INT(0, setting("size"));
    CHECK_INT(DC_NOT_FOUND, dc_row_delete(&db, 2, NULL, &removed)); /* gone already */
    close_store();
}

/* Read the row of "k" twice, with `change` in between, and compare. */
static int same_after(const char *change, unsigned int details)
{
    dc_row before;
    dc_row after;
    int same;

    dc_row_init(&before);
    dc_row_init(&after);
    CHECK_INT(DC_OK, get(text("k"), details, &before));
    database_execute(&db, change);
    CHECK_INT(DC_OK, get(text("k"), details, &after));
    same = dc_row_same(&before, &after);
    CHECK_INT(same, dc_row_same(&after, &before));
    dc_row_clear(&before);
    dc_row_clear(&after);
    return same;
}

static void a_row_is_the_same_until_it_is_written(void)
{
    open_store();
    set(text("k"), file_value("one", 10));
    CHECK(same_after("UPDATE Cache SET access_time = 5, access_count = 5", DC_DETAIL_ALL));
    CHECK(!same_after("UPDATE Cache SET rowid = 7", DC_DETAIL_IDENTITY));
    CHECK(!same_after("UPDATE Cache SET store_time = 7", DC_DETAIL_ALL));
    CHECK(same_after("UPDATE Cache SET store_time = 8", DC_DETAIL_NONE));
    CHECK(!same_after("UPDATE Cache SET filename = 'two'", DC_DETAIL_NONE));
    CHECK(!same_after("UPDATE Cache SET size = 11", DC_DETAIL_NONE));
    CHECK(!same_after("UPDATE Cache SET mode = 4", DC_DETAIL_NONE));
    CHECK(!same_after("UPDATE Cache SET filename = NULL, size = 0", DC_DETAIL_NONE));
    CHECK(!same_after("UPDATE Cache SET value = 1", DC_DETAIL_NONE));
    CHECK(same_after("UPDATE Cache SET value = 1", DC_DETAIL_NONE));
    CHECK(!same_after("UPDATE Cache SET value = 2", DC_DETAIL_NONE));
    CHECK(!same_after("UPDATE Cache SET value = 2.5", DC_DETAIL_NONE));
    CHECK(!same_after("UPDATE Cache SET value = 3.5", DC_DETAIL_NONE));
    CHECK(!same_after("UPDATE Cache SET value = 'abc'", DC_DETAIL_NONE));
    CHECK(same_after("UPDATE Cache SET value = 'abc'", DC_DETAIL_NONE));
    CHECK(!same_after("UPDATE Cache SET value = 'abd'", DC_DETAIL_NONE));
    CHECK(!same_after("UPDATE Cache SET value = 'abde'", DC_DETAIL_NONE));
    CHECK(!same_after("UPDATE Cache SET value = x'61626465'", DC_DETAIL_NONE));
    CHECK(!same_after("UPDATE Cache SET value = ''", DC_DETAIL_NONE));
    CHECK(same_after("UPDATE Cache SET value = ''", DC_DETAIL_NONE));
    CHECK(!same_after("UPDATE Cache SET value = x''", DC_DETAIL_NONE));
    close_store();
}

/* ---- Queues --------------------------------------------------------------------------------- */

static void the_first_and_the_last_are_by_insertion(void)
{
    dc_row row;

    open_store();
    dc_row_init(&row);
    CHECK_INT(DC_NOT_FOUND, dc_scan_end(&db, 0, NULL, &row));
    CHECK_INT(DC_NOT_FOUND, dc_scan_end(&db, 1, NULL, &row));
    set(text("z"), inline_value(integer(1)));
    set(bytes(DC_BLOB, "m", 1), inline_value(integer(2)));
    set(real(0.5), tagged(inline_value(text("x")), integer(4)));
    CHECK_INT(DC_OK, set_by(&roomy, text("z"), inline_value(integer(3)), NOW + 9));
    CHECK_INT(DC_OK, dc_scan_end(&db, 0, NULL, &row));
    CHECK(is_text("z", row.key.datum));
    CHECK(is_integer(3, row.columns.value));
    CHECK_INT(DC_OK, dc_scan_end(&db, 1, NULL, &row));
    CHECK(is_real(0.5, row.key.datum));
    CHECK_INT(1, row.key.raw);
    CHECK_INT(3, row.rowid);
    CHECK(is_integer(4, row.columns.tag));
    CHECK_INT(DC_OK, dc_scan_end(&db, 1, &row.rowid, &row));
    CHECK_INT(2, row.rowid);
    CHECK_INT(DC_OK, dc_scan_end(&db, 0, &row.rowid, &row));
    CHECK_INT(3, row.rowid);
    CHECK_INT(DC_NOT_FOUND, dc_scan_end(&db, 0, &row.rowid, &row));
    dc_row_clear(&row);
    close_store();
}

static void a_row_is_found_by_its_place_among_the_keys(void)
{
    dc_row row;

    open_store();
    dc_row_init(&row);
    CHECK_INT(DC_NOT_FOUND, dc_scan_nth(&db, DC_FRONT, 0, &row));
    set(text("z"), inline_value(integer(1)));
    set(integer(7), inline_value(integer(2)));
    set(integer(5), inline_value(integer(3)));
    CHECK_INT(DC_OK, dc_scan_nth(&db, DC_FRONT, 1, &row));
    CHECK(is_integer(7, row.key.datum));
    CHECK(is_integer(2, row.columns.value));
    CHECK_INT(DC_OK, dc_scan_nth(&db, DC_BACK, 0, &row));
    CHECK(is_text("z", row.key.datum));
    CHECK_INT(DC_OK, dc_scan_nth(&db, DC_BACK, 2, &row));
    CHECK(is_integer(5, row.key.datum));
    CHECK_INT(DC_NOT_FOUND, dc_scan_nth(&db, DC_FRONT, 3, &row));
    CHECK_INT(DC_NOT_FOUND, dc_scan_nth(&db, DC_BACK, 3, &row));
    dc_row_clear(&row);
    close_store();
}

/* ---- What once went wrong ------------------------------------------------------------------- */

static void a_failed_delete_does_not_note_the_file_still_referred_to(void)
{
    open_store();
    set(text("k"), file_value("name", 10));
    database_watch_steps(1);
    CHECK_INT(DC_SQLITE, dc_row_delete(&db, 1, "name", &removed));
    database_unwatch_steps();
    CHECK_INT(0, removed.count);
    close_store();
}

static void a_located_row_can_be_copied(void)
{
    char name[481];
    dc_row row, copy;
    const dc_key key = raw_key(text("k"));

    memset(name, 'n', 479);
    name[479] = '\0';
    open_store();
    set(text("k"), tagged(file_value(name, 5), integer(1)));
    dc_row_init(&row);
    dc_row_init(&copy);
    memset(&row.key, 0, sizeof row.key);
    memset(&row.columns, 0, sizeof row.columns);
    CHECK_INT(DC_OK, dc_row_locate(&db, &key, &row));
    CHECK(dc_row_copy(&copy, &row));
    CHECK_TEXT(name, copy.columns.filename);
    dc_row_clear(&row);
    dc_row_clear(&copy);
    close_store();
}

static void a_file_name_that_is_none_is_no_name(void)
{
    static const char *const odd[] = {"x'78797a'", "CAST(x'782f0079' AS TEXT)",
                                      "CAST(x'7800' AS TEXT)", "CAST(x'ff80' AS TEXT)", "NULL"};
    char sql[200];
    dc_row row;

    open_store();
    dc_row_init(&row);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        const dc_key key = raw_key(integer((int64_t)i));

        set(integer((int64_t)i), file_value("12/34/x.val", 5));
        snprintf(sql, sizeof sql, "UPDATE Cache SET filename = %s WHERE key = %zu", odd[i], i);
        database_execute(&db, sql);
        CHECK_INT(DC_OK, get(integer((int64_t)i), DC_DETAIL_NONE, &row));
        CHECK(row.columns.filename == NULL);
        CHECK_INT(DC_OK, get(integer((int64_t)i), DC_DETAIL_ALL, &row));
        CHECK(row.columns.filename == NULL);
        CHECK_INT(DC_OK, dc_row_locate(&db, &key, &row));
        CHECK(row.columns.filename == NULL);
        CHECK_INT(DC_OK, dc_row_remove(&db, &key, NOW, &removed));
    }
    CHECK_INT(0, removed.count);
    dc_row_clear(&row);
    close_store();
}

static void files_without_a_row_are_told_from_those_with_one(void)
{
    dc_namelist names = {.memory = NULL};
    dc_namelist unnamed = {.memory = NULL};
    const char *name;

    open_store();
    set(text("a"), file_value("ab/1.val", 5));
    set(text("b"), inline_value(integer(1)));
    set(text("c"), file_value("ab/3.val", 5));
    CHECK_INT(DC_OK, dc_scan_unnamed_files(&db, &names, &unnamed));
    CHECK_INT(0, unnamed.count);
    CHECK(dc_namelist_add(&names, "cd/3.val"));
    CHECK(dc_namelist_add(&names, "ab/3.val"));
    CHECK(dc_namelist_add(&names, "ab/1.va"));
    CHECK(dc_namelist_add(&names, "ab/1.val"));
    CHECK_INT(DC_OK, dc_scan_unnamed_files(&db, &names, &unnamed));
    CHECK_INT(2, unnamed.count);
    name = dc_namelist_next(&unnamed, NULL);
    CHECK_TEXT("ab/1.va", name);
    CHECK_TEXT("cd/3.val", dc_namelist_next(&unnamed, name));
    dc_namelist_clear(&names);
    dc_namelist_clear(&unnamed);
    close_store();
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(a_row_is_alive_before_its_expire_time_and_expired_after),
        CHECK_TEST(what_is_not_there_is_not_found),
        CHECK_TEST(get_reads_as_many_details_as_asked_for),
        CHECK_TEST(the_row_of_a_file_has_its_name_and_size),
        CHECK_TEST(values_tags_and_keys_of_every_type_come_back),
        CHECK_TEST(a_key_and_its_pickle_are_two),
        CHECK_TEST(locate_tells_of_file_and_expiry),
        CHECK_TEST(deleting_notes_the_file),
        CHECK_TEST(a_row_is_the_same_until_it_is_written),
        CHECK_TEST(the_first_and_the_last_are_by_insertion),
        CHECK_TEST(a_row_is_found_by_its_place_among_the_keys),
        CHECK_TEST(a_failed_delete_does_not_note_the_file_still_referred_to),
        CHECK_TEST(a_located_row_can_be_copied),
        CHECK_TEST(a_file_name_that_is_none_is_no_name),
        CHECK_TEST(files_without_a_row_are_told_from_those_with_one),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
