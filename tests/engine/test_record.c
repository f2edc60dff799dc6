/* test_record.c: the memory of rows and name lists.
 *
 * The Makefile links this program with --wrap for malloc and realloc, so that a test can make one
 * of the engine's calls fail. Reading or writing out of bounds is AddressSanitizer's to notice.
 */
#include "base/record.h"

#include "check.h"

/* ---- Injected faults ------------------------------------------------------------------------ */

static int no_memory;

void *__real_malloc(size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *memory, size_t size);

void *__wrap_malloc(size_t size)
{
    return no_memory ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return no_memory ? NULL : __real_realloc(memory, size);
}

/* ---- Rows ----------------------------------------------------------------------------------- */

static int is_inline(const dc_row *row)
{
    return row->memory == row->inline_memory;
}

static dc_datum keep(dc_row *row, dc_type type, const char *data, size_t size)
{
    dc_datum datum = {.type = type};

    datum.as.bytes.data = dc_row_keep(row, data, size);
    datum.as.bytes.size = size;
    return datum;
}

static int holds(const char *expected, size_t size, const dc_datum *datum)
{
    return datum->as.bytes.size == size && memcmp(expected, datum->as.bytes.data, size) == 0 &&
           datum->as.bytes.data[size] == '\0';
}

static void a_new_row_has_its_inline_memory(void)
{
    dc_row row;

    dc_row_init(&row);
    CHECK(is_inline(&row));
    CHECK_INT(DC_ROW_INLINE_SIZE, row.capacity);
    CHECK_INT(0, row.used);
    dc_row_clear(&row);
}

static void what_fits_stays_inline(void)
{
    char data[DC_ROW_INLINE_SIZE - 1];
    dc_datum datum;
    dc_row row;

    memset(data, 'i', sizeof data);
    dc_row_init(&row);
    CHECK(dc_row_reserve(&row, DC_ROW_INLINE_SIZE));
    CHECK(is_inline(&row));
    datum = keep(&row, DC_BLOB, data, sizeof data);
    CHECK(holds(data, sizeof data, &datum));
    CHECK_INT(DC_ROW_INLINE_SIZE, row.used);
    dc_row_clear(&row);
}

static void one_byte_more_goes_to_the_heap(void)
{
    char data[DC_ROW_INLINE_SIZE];
    dc_datum datum;
    dc_row row;

    memset(data, 'h', sizeof data);
    dc_row_init(&row);
    CHECK(dc_row_reserve(&row, DC_ROW_INLINE_SIZE + 1));
    CHECK(!is_inline(&row));
    datum = keep(&row, DC_BLOB, data, sizeof data);
    CHECK(holds(data, sizeof data, &datum));
    dc_row_clear(&row);
    CHECK(is_inline(&row));
    CHECK_INT(DC_ROW_INLINE_SIZE, row.capacity);
}

static void kept_bytes_stand_one_behind_the_other(void)
{
    dc_datum first;
    dc_datum second;
    dc_datum third;
    dc_row row;

    dc_row_init(&row);
    CHECK(dc_row_reserve(&row, 16));
    first = keep(&row, DC_TEXT, "one", 3);
    second = keep(&row, DC_BLOB, "\0\1\0", 3);
    third = keep(&row, DC_TEXT, "three", 5);
    CHECK(holds("one", 3, &first));
    CHECK(holds("\0\1\0", 3, &second));
    CHECK(holds("three", 5, &third));
    CHECK_INT(4 + 4 + 6, row.used);
    dc_row_clear(&row);
}

/* SQLite gives no address for an empty text or blob. */
static void nothing_can_be_kept_from_nowhere(void)
{
    dc_row row;

    dc_row_init(&row);
    CHECK(dc_row_reserve(&row, 1));
    CHECK_TEXT("", dc_row_keep(&row, NULL, 0));
    CHECK_INT(1, row.used);
    dc_row_clear(&row);
}

static void reserving_drops_what_the_row_held(void)
{
    dc_row row;

    dc_row_init(&row);
    CHECK(dc_row_reserve(&row, 8));
    dc_row_keep(&row, "before", 6);
    CHECK(dc_row_reserve(&row, 8));
    CHECK_INT(0, row.used);
    dc_row_clear(&row);
}

static void memory_once_large_is_used_again(void)
{
    const char *memory;
    dc_row row;

    dc_row_init(&row);
    CHECK(dc_row_reserve(&row, 10000));
    memory = row.memory;
    CHECK(dc_row_reserve(&row, 9000));
    CHECK(row.memory == memory);
    CHECK(dc_row_reserve(&row, 20000));
    CHECK_INT(20000, row.capacity);
    dc_row_clear(&row);
}

static void clearing_twice_is_clearing(void)
{
    dc_row row;

    dc_row_init(&row);
    CHECK(dc_row_reserve(&row, 10000));
    dc_row_clear(&row);
    dc_row_clear(&row);
    CHECK(is_inline(&row));
}

static void without_memory_a_row_can_still_be_used(void)
{
    dc_row row;

    dc_row_init(&row);
    no_memory = 1;
    CHECK(!dc_row_reserve(&row, DC_ROW_INLINE_SIZE + 1));
    CHECK(dc_row_reserve(&row, DC_ROW_INLINE_SIZE));
    no_memory = 0;
    CHECK(is_inline(&row));
    CHECK(dc_row_reserve(&row, 1000));
    no_memory = 1;
    CHECK(!dc_row_reserve(&row, 1001));
    no_memory = 0;
    CHECK_INT(1000, row.capacity);
    CHECK_INT(0, row.used);
    dc_row_clear(&row);
}

/* ---- Copies --------------------------------------------------------------------------------- */

#define VALUE_SIZE (DC_ROW_INLINE_SIZE * 2)

static char value_bytes[VALUE_SIZE];

/* A row with bytes in key, tag, value and filename, of which the value has `value_size`. */
static void fill(dc_row *row, size_t value_size)
{
    const dc_columns none = {0};

    memset(value_bytes, 'v', sizeof value_bytes);
    dc_row_init(row);
    CHECK(dc_row_reserve(row, 8 + 4 + value_size + 1 + 9));
    row->rowid = 7;
    row->store_time = 1.5;
    row->columns = none;
    row->columns.has_expire_time = 1;
    row->columns.expire_time = 2.5;
    row->columns.size = 100;
    row->columns.mode = DC_MODE_BINARY;
    row->key.raw = 1;
    row->key.datum = keep(row, DC_TEXT, "the key", 7);
    row->columns.tag = keep(row, DC_BLOB, "t\0g", 3);
    row->columns.value = keep(row, DC_BLOB, value_bytes, value_size);
    row->columns.filename = dc_row_keep(row, "a/b/name", 8);
}

static void check_copy(size_t value_size)
{
    dc_row row;
    dc_row copy;

    fill(&row, value_size);
    dc_row_init(&copy);
    CHECK(dc_row_copy(&copy, &row));
    CHECK_INT(row.used, copy.used);
    memset(row.memory, 'x', row.used); /* the copy has bytes of its own */
    dc_row_clear(&row);
    CHECK_INT(7, copy.rowid);
    CHECK(copy.store_time == 1.5);
    CHECK_INT(1, copy.key.raw);
    CHECK_INT(DC_TEXT, copy.key.datum.type);
    CHECK(holds("the key", 7, &copy.key.datum));
    CHECK(copy.columns.has_expire_time && copy.columns.expire_time == 2.5);
    CHECK_INT(100, copy.columns.size);
    CHECK_INT(DC_MODE_BINARY, copy.columns.mode);
    CHECK_INT(DC_BLOB, copy.columns.tag.type);
    CHECK(holds("t\0g", 3, &copy.columns.tag));
    CHECK_INT(DC_BLOB, copy.columns.value.type);
    CHECK(holds(value_bytes, value_size, &copy.columns.value));
    CHECK_TEXT("a/b/name", copy.columns.filename);
    dc_row_clear(&copy);
}

static void a_copy_has_bytes_of_its_own(void)
{
    check_copy(10);
    check_copy(0);
}

static void a_large_row_is_copied_to_the_heap(void)
{
    check_copy(VALUE_SIZE);
}

static void a_row_of_exactly_the_inline_size_is_copied_inline(void)
{
    check_copy(DC_ROW_INLINE_SIZE - 8 - 4 - 1 - 9);
}

static void a_row_without_bytes_is_copied(void)
{
    dc_row row;
    dc_row copy;

    dc_row_init(&row);
    row.rowid = 1;
    row.store_time = 0.0;
    row.key = (dc_key){.datum = {.type = DC_INTEGER, .as.integer = -3}, .raw = 1};
    row.columns = (dc_columns){.value = {.type = DC_REAL, .as.real = 0.25}, .mode = DC_MODE_RAW};
    dc_row_init(&copy);
    CHECK(dc_row_copy(&copy, &row));
    CHECK_INT(-3, copy.key.datum.as.integer);
    CHECK(copy.columns.value.type == DC_REAL && copy.columns.value.as.real == 0.25);
    CHECK_INT(DC_NULL, copy.columns.tag.type);
    CHECK(copy.columns.filename == NULL);
    dc_row_clear(&copy);
    dc_row_clear(&row);
}

static void a_copy_replaces_what_was_there(void)
{
    dc_row row;
    dc_row copy;

    fill(&copy, VALUE_SIZE);
    fill(&row, 3);
    CHECK(dc_row_copy(&copy, &row));
    CHECK(holds("vvv", 3, &copy.columns.value));
    dc_row_clear(&row);
    dc_row_clear(&copy);
}

static void without_memory_there_is_no_copy(void)
{
    dc_row row;
    dc_row copy;

    fill(&row, VALUE_SIZE);
    dc_row_init(&copy);
    no_memory = 1;
    CHECK(!dc_row_copy(&copy, &row));
    no_memory = 0;
    CHECK(is_inline(&copy));
    CHECK(dc_row_copy(&copy, &row));
    dc_row_clear(&copy);
    dc_row_clear(&row);
}

/* ---- Name lists ----------------------------------------------------------------------------- */

static void an_empty_list_has_no_names(void)
{
    dc_namelist list = {0};

    CHECK(dc_namelist_next(&list, NULL) == NULL);
    CHECK_INT(0, list.count);
    dc_namelist_clear(&list);
}

static void names_come_back_in_order(void)
{
    dc_namelist list = {0};
    const char *name;

    CHECK(dc_namelist_add(&list, "first"));
    CHECK(dc_namelist_add(&list, ""));
    CHECK(dc_namelist_add(&list, "third"));
    CHECK_INT(3, list.count);
    name = dc_namelist_next(&list, NULL);
    CHECK_TEXT("first", name);
    name = dc_namelist_next(&list, name);
    CHECK_TEXT("", name);
    name = dc_namelist_next(&list, name);
    CHECK_TEXT("third", name);
    CHECK(dc_namelist_next(&list, name) == NULL);
    dc_namelist_clear(&list);
}

static void a_list_grows_as_needed(void)
{
    enum { COUNT = 1000 };
    dc_namelist list = {0};
    const char *name = NULL;
    char expected[32];

    for (int i = 0; i < COUNT; i++) {
        snprintf(expected, sizeof expected, "12/34/name number %d", i);
        CHECK(dc_namelist_add(&list, expected));
    }
    CHECK_INT(COUNT, list.count);
    for (int i = 0; i < COUNT; i++) {
        name = dc_namelist_next(&list, name);
        snprintf(expected, sizeof expected, "12/34/name number %d", i);
        if (!CHECK_TEXT(expected, name)) {
            break;
        }
    }
    dc_namelist_clear(&list);
}

static void a_name_is_copied(void)
{
    dc_namelist list = {0};
    char name[] = "name";

    CHECK(dc_namelist_add(&list, name));
    name[0] = 'X';
    CHECK_TEXT("name", dc_namelist_next(&list, NULL));
    dc_namelist_clear(&list);
}

static void a_cleared_list_can_be_filled_again(void)
{
    dc_namelist list = {0};

    CHECK(dc_namelist_add(&list, "before"));
    dc_namelist_clear(&list);
    CHECK_INT(0, list.count);
    CHECK(dc_namelist_next(&list, NULL) == NULL);
    CHECK(dc_namelist_add(&list, "after"));
    CHECK_TEXT("after", dc_namelist_next(&list, NULL));
    dc_namelist_clear(&list);
    dc_namelist_clear(&list);
}

static void without_memory_a_list_stays_as_it_was(void)
{
    dc_namelist list = {0};
    char longer[1000];

    memset(longer, 'n', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    no_memory = 1;
    CHECK(!dc_namelist_add(&list, "name"));
    no_memory = 0;
    CHECK_INT(0, list.count);
    CHECK(dc_namelist_add(&list, "name"));
    no_memory = 1;
    CHECK(!dc_namelist_add(&list, longer));
    no_memory = 0;
    CHECK_INT(1, list.count);
    CHECK_TEXT("name", dc_namelist_next(&list, NULL));
    CHECK(dc_namelist_next(&list, dc_namelist_next(&list, NULL)) == NULL);
    dc_namelist_clear(&list);
}

static void every_character_is_utf8(void)
{
    char text[4];

    for (unsigned c = 0; c < 0x110000; c++) {
        size_t size = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        unsigned rest = c;

        for (size_t i = size; i-- > 1; rest >>= 6) {
            text[i] = (char)(0x80 | (rest & 0x3f));
        }
        text[0] = (char)(size == 1 ? rest : (0xf00u >> size & 0xff & ~(0xffu >> size)) | rest);
        if (dc_text_is_utf8(text, size) != (c < 0xd800 || c > 0xdfff) ||
            (size > 1 && dc_text_is_utf8(text, size - 1))) {
            CHECK_INT(-1, c);
            return;
        }
    }
}

static void what_is_no_character_is_no_utf8(void)
{
    static const char *const texts[] = {
        "\x80",
        "\xbf",
        "a\xff",
        "\xfe",
        "\xc0\x80",
        "\xc1\xbf",
        "\xe0\x80\x80",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xf0\x80\x80\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xc3(",
        "\xe2\x82(",
        "\xf0\x9f\x98(",
        "\xc3\xa9\xc3",
    };

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        CHECK_INT(0, dc_text_is_utf8(texts[i], strlen(texts[i])));
    }
    CHECK(dc_text_is_utf8("", 0));
    CHECK(dc_text_is_utf8("a\0b", 3));
    CHECK(dc_text_is_utf8("\xc3\xa9\xff", 2));
}

int main(int argc, char **argv)
{
    static const check_test tests[] = {
        CHECK_TEST(a_new_row_has_its_inline_memory),
        CHECK_TEST(what_fits_stays_inline),
        CHECK_TEST(one_byte_more_goes_to_the_heap),
        CHECK_TEST(kept_bytes_stand_one_behind_the_other),
        CHECK_TEST(nothing_can_be_kept_from_nowhere),
        CHECK_TEST(reserving_drops_what_the_row_held),
        CHECK_TEST(memory_once_large_is_used_again),
        CHECK_TEST(clearing_twice_is_clearing),
        CHECK_TEST(without_memory_a_row_can_still_be_used),
        CHECK_TEST(a_copy_has_bytes_of_its_own),
        CHECK_TEST(a_large_row_is_copied_to_the_heap),
        CHECK_TEST(a_row_of_exactly_the_inline_size_is_copied_inline),
        CHECK_TEST(a_row_without_bytes_is_copied),
        CHECK_TEST(a_copy_replaces_what_was_there),
        CHECK_TEST(without_memory_there_is_no_copy),
        CHECK_TEST(an_empty_list_has_no_names),
        CHECK_TEST(names_come_back_in_order),
        CHECK_TEST(a_list_grows_as_needed),
        CHECK_TEST(a_name_is_copied),
        CHECK_TEST(a_cleared_list_can_be_filled_again),
        CHECK_TEST(without_memory_a_list_stays_as_it_was),
        CHECK_TEST(every_character_is_utf8),
        CHECK_TEST(what_is_no_character_is_no_utf8),
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
