/* test_scan.c: keys in pages, in every order. */
#include "engine/scan.h"

#include "store.h"

enum { MIXED_COUNT = 2 * PAGE_SIZE + 50 };

/* An integer, real, text or blob, so that the keys of 0 to n - 1 are all different. */
static dc_datum mixed_key(int number, char text_of[32])
{
    snprintf(text_of, 32, "key %05d%*s", number, number % 7, "");
    switch (number % 4) {
    case 0:
        return integer(number);
    case 1:
        return real(number + 0.5);
    case 2:
        return text(text_of);
    default:
        return bytes(DC_BLOB, text_of, strlen(text_of));
    }
}

/* Numbers of the mixed keys by rowid, which is their number + 1, in the order `sql` gives. */
static dc_status collect_rowids(void *context, const dc_datum *rowid, const dc_datum *unused)
{
    int64_t **next = context;

    (void)unused;
    *(*next)++ = rowid->as.integer;
    return DC_OK;
}

/* Whether the key of a page is that of its row. */
static int is_key_of_row(const dc_key *key, int64_t rowid)
{
    char text_of[32];
    const dc_datum expected = mixed_key((int)rowid - 1, text_of);

    switch (expected.type) {
    case DC_INTEGER:
        return is_integer(expected.as.integer, key->datum) && key->raw == 1;
    case DC_REAL:
        return is_real(expected.as.real, key->datum) && key->raw == 1;
    default:
        return is_bytes(expected.type, expected.as.bytes.data, expected.as.bytes.size,
                        key->datum) &&
               key->raw == (rowid % 8 != 0);
    }
}

static void fill_with_mixed_keys(void)
{
    const dc_columns columns = inline_value(integer(1));
    int64_t rowid;

    CHECK_INT(DC_OK, dc_db_begin(&db));
    for (int i = 0; i < MIXED_COUNT; i++) {
        char text_of[32];
        const dc_key key = {.datum = mixed_key(i, text_of), .raw = (i + 1) % 8 != 0};

        CHECK_INT(DC_OK, dc_row_insert(&db, &key, &columns, NOW, &rowid));
        CHECK_INT(i + 1, rowid);
    }
    CHECK_INT(DC_OK, dc_db_commit(&db));
}

/* Walk through all pages of an order and compare with what SQLite says. */
static void check_walk(dc_order order, const char *sql)
{
    int64_t expected[MIXED_COUNT];
    int64_t *next = expected;
    int64_t low = 0;
    int64_t high = INT64_MAX;
    dc_key_page pages[2] = {{0}}; /* the bytes of the key before must outlive the reading */
    const dc_key *previous = NULL;
    int seen = 0;
    int count = 0;

    CHECK_INT(DC_OK, dc_db_query(&db, sql, collect_rowids, &next));
    for (;;) {
        dc_key_page *page = &pages[count++ % 2];

        if (!CHECK_INT(DC_OK, dc_scan_keys(&db, order, low, high, previous, PAGE_SIZE, page)) ||
            page->count == 0) {
            break;
        }
        for (size_t i = 0; i < page->count && CHECK(seen < MIXED_COUNT); i++) {
            CHECK(is_key_of_row(&page->keys[i], expected[seen]));
            seen++;
        }
        CHECK(page->complete == (seen == MIXED_COUNT));
        CHECK(page->complete || page->last == expected[seen - 1]);
        previous = &page->keys[page->count - 1];
        if (order == DC_BY_ROWID) {
            low = expected[seen - 1];
        } else {
            high = expected[seen - 1];
        }
    }
    CHECK_INT(MIXED_COUNT, seen);
    CHECK_INT(4, count); /* two full pages, the rest, and the empty one */
    dc_key_page_clear(&pages[0]);
    dc_key_page_clear(&pages[1]);
}

static void keys_come_in_pages_in_every_order(void)
{
    open_store();
    fill_with_mixed_keys();
    check_walk(DC_BY_ROWID, "SELECT rowid FROM Cache ORDER BY rowid");
    check_walk(DC_BY_ROWID_DOWN, "SELECT rowid FROM Cache ORDER BY rowid DESC");
    check_walk(DC_BY_KEY, "SELECT rowid FROM Cache ORDER BY key, raw");
    check_walk(DC_BY_KEY_DOWN, "SELECT rowid FROM Cache ORDER BY key DESC, raw DESC");
    close_store();
}

static void by_rowid_both_ends_are_left_out(void)
{
    dc_key_page page = {0};

    open_store();
    fill_with_mixed_keys();
    CHECK_INT(DC_OK, dc_scan_keys(&db, DC_BY_ROWID, 10, 14, NULL, PAGE_SIZE, &page));
    CHECK_INT(3, page.count);
    CHECK(is_key_of_row(&page.keys[0], 11));
    CHECK_INT(DC_OK, dc_scan_keys(&db, DC_BY_ROWID_DOWN, 10, 14, NULL, PAGE_SIZE, &page));
    CHECK_INT(3, page.count);
    CHECK(is_key_of_row(&page.keys[0], 13));
    CHECK_INT(DC_OK, dc_scan_keys(&db, DC_BY_ROWID, 10, 11, NULL, PAGE_SIZE, &page));
    CHECK_INT(0, page.count);
    dc_key_page_clear(&page);
    close_store();
}

/* A key deleted between two pages does not matter: what is behind it is asked for. */
static void the_key_before_need_not_be_there(void)
{
    const dc_key before = raw_key(text("m"));
    dc_key_page page = {0};

    open_store();
    set(text("a"), inline_value(integer(1)));
    set(text("z"), inline_value(integer(1)));
    CHECK_INT(DC_OK, dc_scan_keys(&db, DC_BY_KEY, 0, 0, &before, PAGE_SIZE, &page));
    CHECK_INT(1, page.count);
    CHECK(is_text("z", page.keys[0].datum));
    CHECK_INT(DC_OK, dc_scan_keys(&db, DC_BY_KEY_DOWN, 0, 0, &before, PAGE_SIZE, &page));
    CHECK_INT(1, page.count);
    CHECK(is_text("a", page.keys[0].datum));
    dc_key_page_clear(&page);
    close_store();
}

static void pickles_follow_the_same_bytes_kept_raw_in_order(void)
{
    const dc_key pickled = {.datum = bytes(DC_BLOB, "same", 4), .raw = 0};
    const dc_key raw = {.datum = bytes(DC_BLOB, "same", 4), .raw = 1};
    const dc_columns columns = inline_value(integer(1));
    dc_key_page page = {0};
    int64_t rowid;

    open_store();
    CHECK_INT(DC_OK, dc_row_insert(&db, &raw, &columns, NOW, &rowid));
    CHECK_INT(DC_OK, dc_row_insert(&db, &pickled, &columns, NOW, &rowid));
    CHECK_INT(DC_OK, dc_scan_keys(&db, DC_BY_KEY, 0, 0, NULL, PAGE_SIZE, &page));
    CHECK_INT(2, page.count);
    CHECK_INT(0, page.keys[0].raw);
    CHECK_INT(DC_OK, dc_scan_keys(&db, DC_BY_KEY, 0, 0, &pickled, PAGE_SIZE, &page));
    CHECK_INT(1, page.count);
    CHECK_INT(1, page.keys[0].raw);
    CHECK_INT(DC_OK, dc_scan_keys(&db, DC_BY_KEY_DOWN, 0, 0, &raw, PAGE_SIZE, &page));
    CHECK_INT(1, page.count);
    CHECK_INT(0, page.keys[0].raw);
    CHECK_INT(DC_OK, dc_scan_keys(&db, DC_BY_KEY, 0, 0, &raw, PAGE_SIZE, &page));
    CHECK_INT(0, page.count);
    dc_key_page_clear(&page);
    close_store();
}

static void empty_and_large_keys_fit_a_page(void)
{
    static char large[50000];
    dc_key_page page = {0};

    memset(large, 'k', sizeof large);
    open_store();
    set(text(""), inline_value(integer(1)));
    set(bytes(DC_BLOB, NULL, 0), inline_value(integer(1)));
    set(bytes(DC_TEXT, large, sizeof large), inline_value(integer(1)));
    set(bytes(DC_TEXT, "a\0b", 3), inline_value(integer(1)));
    CHECK_INT(DC_OK, dc_scan_keys(&db, DC_BY_ROWID, 0, INT64_MAX, NULL, PAGE_SIZE, &page));
    if (CHECK_INT(4, page.count)) {
        CHECK(is_text("", page.keys[0].datum));
        CHECK(is_bytes(DC_BLOB, "", 0, page.keys[1].datum));
        CHECK(is_bytes(DC_TEXT, large, sizeof large, page.keys[2].datum));
        CHECK(is_bytes(DC_TEXT, "a\0b", 3, page.keys[3].datum));
    }
    dc_key_page_clear(&page);
    CHECK_INT(0, page.count);
    dc_key_page_clear(&page);
    close_store();
}

static void a_page_ends_with_the_key_that_makes_it_large(void)
{
    static char large[DC_KEY_PAGE_BYTES];
    dc_key_page page = {0};

    open_store();
    for (int i = 1; i <= 4; i++) {
        large[0] = (char)i;
        set(bytes(DC_BLOB, large, sizeof large / 2), inline_value(integer(i)));
    }
    CHECK_INT(DC_OK, dc_scan_keys(&db, DC_BY_ROWID, 0, INT64_MAX, NULL, PAGE_SIZE, &page));
    CHECK_INT(2, page.count);
    CHECK_INT(2, page.last);
    CHECK(!page.complete);
    CHECK_INT(1, page.keys[0].datum.as.bytes.data[0]);
    CHECK_INT(2, page.keys[1].datum.as.bytes.data[0]);
    dc_key_page_clear(&page);
    close_store();
}

static void the_largest_rowid_is_that_of_the_last_row(void)
{
    int64_t rowid = 0;

    open_store();
    CHECK_INT(DC_NOT_FOUND, dc_scan_max_rowid(&db, &rowid));
    set(integer(1), inline_value(integer(1)));
    set(integer(2), inline_value(integer(1)));
    CHECK_INT(DC_OK, dc_scan_max_rowid(&db, &rowid));
    CHECK_INT(2, rowid);
    database_execute(&db, "UPDATE Cache SET rowid = 9223372036854775807 WHERE rowid = 1");
    CHECK_INT(DC_OK, dc_scan_max_rowid(&db, &rowid));
    CHECK_INT(INT64_MAX, rowid);
    close_store();
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(keys_come_in_pages_in_every_order),
        CHECK_TEST(by_rowid_both_ends_are_left_out),
        CHECK_TEST(the_key_before_need_not_be_there),
        CHECK_TEST(pickles_follow_the_same_bytes_kept_raw_in_order),
        CHECK_TEST(empty_and_large_keys_fit_a_page),
        CHECK_TEST(a_page_ends_with_the_key_that_makes_it_large),
        CHECK_TEST(the_largest_rowid_is_that_of_the_last_row),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
