/* test_store.c: the operations of a cache on a real database.
 *
 * The Makefile links this program with --wrap for malloc and realloc, which lets a test make one of
 * the engine's calls fail; steps of SQLite are made to fail through its table of functions.
 */

#include "database.h"

#include <math.h>

#include "engine/batch_delete.h"
#include "engine/db.h"
#include "engine/evict.h"
#include "engine/queue.h"
#include "engine/rows.h"
#include "engine/rules.h"
#include "engine/scan.h"
#include "engine/settings.h"
#include "engine/sql.h"
#include "engine/volume.h"
#include "engine/write.h"

/* A write, its parts one by one. */
static dc_status write_set(dc_db *db, const dc_key *key, const dc_columns *columns, double now,
                           int only_if_absent, const dc_rules *rules, dc_namelist *removed,
                           int *written)
{
    dc_write write = {key, columns, now, only_if_absent, rules, removed, 0};
    dc_status status = dc_write_set(db, &write);

    *written = write.written;
    return status;
}

static dc_status write_increment(dc_db *db, const dc_key *key, const dc_datum *delta,
                                 const dc_columns *initial, double now, const dc_rules *rules,
                                 dc_namelist *removed, dc_datum *sum, int *created)
{
    dc_write write = {key, initial, now, 0, rules, removed, 0};
    dc_status status = dc_write_increment(db, &write, delta, sum);

    *created = write.written;
    return status;
}

static dc_status queue_push(dc_db *db, const dc_queue *queue, dc_side side,
                            const dc_columns *columns, double now, const dc_rules *rules,
                            dc_namelist *removed, dc_row *row, int *written)
{
    dc_write write = {NULL, columns, now, 0, rules, removed, 0};
    dc_status status = dc_queue_push(db, queue, side, &write, row);

    *written = write.written;
    return status;
}

#define NOW 1000.0

static dc_db db;
static dc_namelist removed;
static int written;

/* What most writes go by: no limit near. */
static const dc_rules roomy = {
    .policy = DC_POLICY_LEAST_RECENTLY_STORED, .size_limit = 1 << 30, .cull_limit = 10};

/* What leaves alone that which has expired. */
static const dc_rules without_culling = {
    .policy = DC_POLICY_LEAST_RECENTLY_STORED, .size_limit = 1 << 30, .cull_limit = 0};

/* ---- Injected faults ------------------------------------------------------------------------ */

static int allocation_countdown; /* the allocation that brings it to 0 fails; 0: none does */

void *__real_malloc(size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *memory, size_t size);

static int allocation_fails(void)
{
    return allocation_countdown != 0 && --allocation_countdown == 0;
}

void *__wrap_malloc(size_t size)
{
    return allocation_fails() ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return allocation_fails() ? NULL : __real_realloc(memory, size);
}

/* ---- What the tests share ------------------------------------------------------------------- */

static void open_store(void)
{
    database_create(&db);
    for (int policy = 0; policy < DC_POLICY_COUNT; policy++) {
        if (dc_policies[policy].create_index != NULL) {
            database_execute(&db, dc_policies[policy].create_index);
        }
    }
}

static void close_store(void)
{
    dc_namelist_clear(&removed);
    database_close(&db);
}

static dc_key raw_key(dc_datum datum)
{
    return (dc_key){.datum = datum, .raw = 1};
}

static dc_columns inline_value(dc_datum value)
{
    return (dc_columns){.mode = DC_MODE_RAW, .value = value};
}

static dc_columns file_value(const char *name, int64_t size)
{
    return (dc_columns){.mode = DC_MODE_BINARY, .filename = name, .size = size};
}

static dc_columns expiring(dc_columns columns, double expire_time)
{
    columns.has_expire_time = 1;
    columns.expire_time = expire_time;
    return columns;
}

static dc_columns tagged(dc_columns columns, dc_datum tag)
{
    columns.tag = tag;
    return columns;
}

static dc_status set_by(const dc_rules *rules, dc_datum key, dc_columns columns, double now)
{
    const dc_key raw = raw_key(key);

    return write_set(&db, &raw, &columns, now, 0, rules, &removed, &written);
}

static void set(dc_datum key, dc_columns columns)
{
    CHECK_INT(DC_OK, set_by(&roomy, key, columns, NOW));
    CHECK(written);
}

static dc_status get(dc_datum key, unsigned int details, dc_row *row)
{
    const dc_key raw = raw_key(key);

    return dc_row_get(&db, &raw, details, row);
}

static int has(dc_datum key)
{
    dc_row row;
    dc_status status;

    dc_row_init(&row);
    status = get(key, DC_DETAIL_NONE, &row);
    dc_row_clear(&row);
    return status == DC_OK;
}

static int value_is_integer(dc_datum key, int64_t expected)
{
    dc_row row;
    int same;

    dc_row_init(&row);
    same = get(key, DC_DETAIL_NONE, &row) == DC_OK && is_integer(expected, row.columns.value);
    dc_row_clear(&row);
    return same;
}

static int64_t setting(const char *name)
{
    int64_t value = INT64_MIN;

    CHECK_INT(DC_OK, dc_setting_get_integer(&db, name, &value));
    return value;
}

static int64_t row_count(void)
{
    return setting("count");
}

static int64_t volume_without_free_pages(void)
{
    int64_t volume = -1;

    CHECK_INT(DC_OK, dc_volume(&db, 0, &volume));
    return volume;
}

/* Whether exactly this name was noted since the last look. */
static int removed_only(const char *name)
{
    const char *first = dc_namelist_next(&removed, NULL);
    int only = removed.count == 1 && strcmp(first, name) == 0;

    dc_namelist_clear(&removed);
    return only;
}

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

static dc_status touch(dc_datum key, dc_columns expire, double now)
{
    const dc_key raw = raw_key(key);

    return dc_row_touch(&db, &raw, &expire, now);
}

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

static dc_datum sum;
static int created;

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
    CHECK_INT(DC_OK,
              write_increment(&db, &key, &one, NULL, NOW, &rules, &removed, &sum, &created));
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

static const dc_queue integers = {.prefix = NULL};

static dc_queue prefixed(const char *prefix)
{
    return (dc_queue){prefix, strlen(prefix)};
}

/* Push an integer; the key is in `row`. */
static void push(const dc_queue *queue, dc_side side, int64_t value, dc_row *row)
{
    const dc_columns columns = inline_value(integer(value));

    CHECK_INT(DC_OK,
              queue_push(&db, queue, side, &columns, NOW, &roomy, &removed, row, &written));
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

static void the_first_and_the_last_are_by_insertion(void)
{
    dc_row row;

    open_store();
    dc_row_init(&row);
    CHECK_INT(DC_NOT_FOUND, dc_scan_end(&db, 0, &row));
    CHECK_INT(DC_NOT_FOUND, dc_scan_end(&db, 1, &row));
    set(text("z"), inline_value(integer(1)));
    set(bytes(DC_BLOB, "m", 1), inline_value(integer(2)));
    set(real(0.5), tagged(inline_value(text("x")), integer(4)));
    CHECK_INT(DC_OK, set_by(&roomy, text("z"), inline_value(integer(3)), NOW + 9));
    CHECK_INT(DC_OK, dc_scan_end(&db, 0, &row));
    CHECK(is_text("z", row.key.datum));
    CHECK(is_integer(3, row.columns.value));
    CHECK_INT(DC_OK, dc_scan_end(&db, 1, &row));
    CHECK(is_real(0.5, row.key.datum));
    CHECK_INT(1, row.key.raw);
    CHECK_INT(3, row.rowid);
    CHECK(is_integer(4, row.columns.tag));
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

/* ---- Cull ----------------------------------------------------------------------------------- */

/* Rows 0 to count - 1 of 4000 bytes each, stored and accessed one second after the other. */
static void fill(int count)
{
    static char block[4000];

    CHECK_INT(DC_OK, dc_db_begin(&db));
    for (int i = 0; i < count; i++) {
        CHECK_INT(DC_OK,
                  set_by(&roomy, integer(i), inline_value(bytes(DC_BLOB, block, 4000)), NOW + i));
    }
    CHECK_INT(DC_OK, dc_db_commit(&db));
}

static dc_status cull(dc_policy policy, int64_t size_limit, double now, int64_t limit, int64_t keep,
                      int64_t *count)
{
    const dc_rules rules = {policy, size_limit, 10, NULL};

    return dc_evict(&db, now, limit, 0, &rules, keep, &removed, count);
}

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

/* ---- One statement where one is enough ------------------------------------------------------- */

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

/* ---- Forecast ------------------------------------------------------------------------------- */

/* How many steps of SQLite one write takes. */
static int steps_of_set(const dc_rules *rules, double now)
{
    int steps;

    database_watch_steps(0);
    CHECK_INT(DC_OK, set_by(rules, text("k"), inline_value(integer(1)), now));
    steps = step_count;
    database_unwatch_steps();
    return steps;
}

enum { STEPS_OF_PLAIN_SET = 1 };

/* Make a forecast: a first write finds out what there is to know. */
static void start_forecast(const dc_rules *rules)
{
    CHECK_INT(DC_OK, set_by(rules, text("k"), inline_value(integer(1)), NOW));
    CHECK(db.budget.known);
}

static void a_forecast_spares_the_next_write_the_questions(void)
{
    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    start_forecast(&roomy);
    CHECK_INT(STEPS_OF_PLAIN_SET, steps_of_set(&roomy, NOW));
    CHECK_INT(DC_OK, dc_db_commit(&db));
    close_store();
}

static void a_forecast_outlives_the_commits_of_its_handle(void)
{
    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    start_forecast(&roomy);
    CHECK_INT(DC_OK, dc_db_commit(&db));
    for (int i = 0; i < 3; i++) {
        CHECK_INT(DC_OK, dc_db_begin(&db));
        CHECK_INT(STEPS_OF_PLAIN_SET, steps_of_set(&roomy, NOW));
        CHECK_INT(DC_OK, dc_db_commit(&db));
    }
    close_store();
}

static void another_connections_write_voids_the_forecast(void)
{
    dc_db other;

    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    start_forecast(&roomy);
    CHECK_INT(DC_OK, dc_db_commit(&db));
    database_connect(&other);
    database_execute(&other, "INSERT INTO Cache (key, raw, expire_time) VALUES ('x', 1, 5)");
    CHECK_INT(DC_OK, dc_db_begin(&db));
    CHECK(steps_of_set(&roomy, NOW) > STEPS_OF_PLAIN_SET);
    CHECK_INT(DC_OK, dc_db_commit(&db));
    CHECK(!has(text("x"))); /* it was seen, and culled */
    database_close(&other);
    close_store();
}

static void a_rollback_voids_the_forecast(void)
{
    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    start_forecast(&roomy);
    dc_db_rollback(&db);
    CHECK_INT(DC_OK, dc_db_begin(&db));
    CHECK(steps_of_set(&roomy, NOW) > STEPS_OF_PLAIN_SET);
    CHECK_INT(DC_OK, dc_db_commit(&db));
    close_store();
}

static void a_new_index_voids_the_forecast(void)
{
    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    start_forecast(&roomy);
    CHECK_INT(DC_OK, dc_db_execute(&db, DC_TAG_INDEX_CREATE));
    CHECK(steps_of_set(&roomy, NOW) > STEPS_OF_PLAIN_SET);
    CHECK_INT(DC_OK, dc_db_commit(&db));
    close_store();
}

static void another_limit_of_size_voids_the_forecast(void)
{
    dc_rules other = roomy;

    other.size_limit++;
    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    start_forecast(&roomy);
    CHECK(steps_of_set(&other, NOW) > STEPS_OF_PLAIN_SET);
    CHECK_INT(STEPS_OF_PLAIN_SET, steps_of_set(&other, NOW));
    CHECK_INT(DC_OK, dc_db_commit(&db));
    close_store();
}

static void with_the_connection_in_a_users_hands_nothing_is_forecast(void)
{
    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    start_forecast(&roomy);
    db.budget.exposed = 1;
    CHECK(steps_of_set(&roomy, NOW) > STEPS_OF_PLAIN_SET);
    CHECK(steps_of_set(&roomy, NOW) > STEPS_OF_PLAIN_SET);
    CHECK_INT(DC_OK, dc_db_commit(&db));
    close_store();
}

static void the_earliest_expiry_ends_the_forecast(void)
{
    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    set(text("x"), expiring(inline_value(integer(1)), NOW + 10)); /* found by the forecast */
    start_forecast(&roomy);
    CHECK(db.budget.earliest_expiry == NOW + 10);
    set(text("y"), expiring(inline_value(integer(1)), NOW + 5)); /* noted by it */
    CHECK(db.budget.earliest_expiry == NOW + 5);
    CHECK_INT(STEPS_OF_PLAIN_SET, steps_of_set(&roomy, NOW + 5));
    CHECK(has(text("y")));
    CHECK(steps_of_set(&roomy, NOW + 5.5) > STEPS_OF_PLAIN_SET);
    CHECK(!has(text("y")) && has(text("x")));
    CHECK(db.budget.earliest_expiry == NOW + 10);
    CHECK_INT(DC_OK, touch(text("x"), expiring((dc_columns){0}, NOW + 6), NOW));
    CHECK(steps_of_set(&roomy, NOW + 6.5) > STEPS_OF_PLAIN_SET);
    CHECK(!has(text("x")));
    CHECK(db.budget.earliest_expiry == HUGE_VAL);
    CHECK_INT(DC_OK, dc_db_commit(&db));
    close_store();
}

static void a_limit_once_reached_is_not_forecast_away(void)
{
    const dc_rules rules = {DC_POLICY_LEAST_RECENTLY_STORED, 1, 1, NULL};

    open_store();
    fill(5);
    CHECK_INT(DC_OK, dc_db_begin(&db));
    for (int i = 0; i < 4; i++) {
        CHECK(steps_of_set(&rules, NOW + 100) > STEPS_OF_PLAIN_SET);
    }
    CHECK_INT(2, row_count()); /* one for each write */
    CHECK_INT(DC_OK, dc_db_commit(&db));
    close_store();
}

/* A generator of its own, so that the same numbers come on every platform. */
static uint32_t random_state;

static uint32_t draw(uint32_t below)
{
    random_state = random_state * 1664525U + 1013904223U;
    return (random_state >> 8) % below;
}

#define LARGEST_ITEM 40000
#define RANDOM_LIMIT 1500000

/* A random value: inline or in a file, with or without tag and expiry. */
static dc_columns random_columns(double now)
{
    static char block[LARGEST_ITEM];
    const uint32_t size = draw(8) == 0 ? draw(LARGEST_ITEM) : draw(3000);
    dc_columns columns = draw(3) == 0 ? file_value("f", 1 + size)
                                      : inline_value(bytes(DC_BLOB, block, size));

    if (draw(4) == 0) {
        columns = expiring(columns, now + draw(500));
    }
    if (draw(4) == 0) {
        columns = tagged(columns, bytes(DC_BLOB, block, draw(200)));
    }
    return columns;
}

static dc_status keep_real(void *context, const dc_datum *value, const dc_datum *unused)
{
    (void)unused;
    *(double *)context = value->type == DC_REAL ? value->as.real : HUGE_VAL;
    return DC_OK;
}

/* The forecast may take the room to be less than it is and the expiry to be earlier, never the
 * other way round. */
static int forecast_is_cautious(int64_t volume)
{
    const dc_budget *budget = &db.budget;
    double earliest = 0.0;

    if (!budget->known || budget->version != dc_db_data_version(&db)) {
        return 1;
    }
    CHECK_INT(DC_OK, dc_db_query(&db, "SELECT min(expire_time) FROM Cache", keep_real, &earliest));
    return budget->slack <= RANDOM_LIMIT - volume && budget->earliest_expiry <= earliest;
}

static void write_at_random(dc_policy policy)
{
    const dc_rules rules = {policy, RANDOM_LIMIT, 1000, NULL};
    dc_db other;
    dc_row row;

    random_state = 42 + (uint32_t)policy;
    database_connect(&other);
    dc_row_init(&row);
    for (int i = 0; i < 1500; i++) {
        const double now = NOW + i;
        const dc_columns columns = random_columns(now);
        const int writes = draw(5) == 0 ? 10 : 1;
        int64_t volume;

        if (draw(20) == 0) { /* by someone else, who does not cull */
            database_execute(&other, "INSERT OR IGNORE INTO Cache (key, raw, size, value,"
                                     " store_time, access_time) VALUES (random() % 50, 1, 0,"
                                     " zeroblob(30000), 0, 0)");
        }
        CHECK_INT(DC_OK, dc_db_begin(&db));
        for (int n = 0; n < writes; n++) {
            if (draw(4) == 0) {
                CHECK_INT(DC_OK, queue_push(&db, &integers, draw(2) ? DC_BACK : DC_FRONT,
                                               &columns, now, &rules, &removed, &row, &written));
            } else {
                CHECK_INT(DC_OK, set_by(&rules, integer(draw(1000)), columns, now));
            }
            CHECK(written);
        }
        volume = volume_without_free_pages();
        CHECK(forecast_is_cautious(volume));
        if (policy != DC_POLICY_NONE && !CHECK(volume < RANDOM_LIMIT + LARGEST_ITEM)) {
            printf("# %s: volume %lld at %d\n", dc_policies[policy].name, (long long)volume, i);
            break;
        }
        CHECK_INT(0, database_integer(&db, "SELECT count(*) FROM Cache WHERE expire_time <"
                                           " (SELECT max(store_time) FROM Cache)"));
        if (draw(15) == 0) {
            dc_db_rollback(&db);
        } else {
            CHECK_INT(DC_OK, dc_db_commit(&db));
        }
        dc_namelist_clear(&removed);
    }
    CHECK(row_count() > 100); /* and it was not emptied either */
    CHECK_INT(row_count(), database_integer(&db, "SELECT count(*) FROM Cache"));
    CHECK_INT(setting("size"), database_integer(&db, "SELECT sum(size) FROM Cache"));
    dc_row_clear(&row);
    database_close(&other);
}

static void whatever_is_written_the_volume_keeps_to_the_limit(void)
{
    for (int policy = 0; policy < DC_POLICY_COUNT; policy++) {
        check_remove_directory();
        open_store();
        database_execute(&db, DC_TAG_INDEX_CREATE);
        database_execute(&db, "PRAGMA auto_vacuum = full"); /* as caches have it by default */
        database_execute(&db, "VACUUM");
        write_at_random((dc_policy)policy);
        close_store();
    }
}

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
    const dc_batch_delete sweep = {DC_SQL_BATCH_ALL, INT64_MIN, {.type = DC_NULL}, 0};
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
    dc_batch_delete sweep = {DC_SQL_BATCH_ALL, INT64_MIN, {.type = DC_NULL}, 0};
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
    dc_batch_delete sweep = {DC_SQL_BATCH_ALL, 50, {.type = DC_NULL}, 0};
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
            const dc_batch_delete sweep = {DC_SQL_BATCH_TAGGED, INT64_MIN, tags[i], 0};

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
    const dc_batch_delete sweep = {
        DC_SQL_BATCH_EXPIRED, INT64_MIN, {.type = DC_REAL, .as.real = NOW}, 0};
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
        if (!CHECK_INT(DC_OK, dc_evict_to_volume(&db, DC_SQL_VICTIM_LEAST_RECENTLY_STORED, volume, 0.0, &removed,
                                                 &kept, count, &done)) ||
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

enum { MANY = 1000 }; /* rows: enough for a sweep to do without the triggers */

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

static int64_t sweep(dc_batch_delete sweep)
{
    int64_t count = 0;
    int done = 0;

    dc_namelist_rewind(&removed, 0, 0);
    CHECK_INT(DC_OK, dc_batch_delete_run(&db, &sweep, 1000.0, &removed, &count, &done));
    CHECK(done);
    return count;
}

static void many_rows_are_swept_with_exact_sums(void)
{
    open_store();
    fill_with_many();
    CHECK_INT(334, sweep((dc_batch_delete){DC_SQL_BATCH_TAGGED, INT64_MIN, text("tag"), 0}));
    CHECK_INT(167, removed.count);
    CHECK_INT(MANY - 334, row_count());
    check_sums();
    CHECK_INT(MANY - 334, sweep((dc_batch_delete){DC_SQL_BATCH_ALL, INT64_MIN, null_datum, 0}));
    CHECK_INT(333, removed.count);
    CHECK_INT(0, row_count());
    check_sums();
    set(integer(1), inline_value(integer(1))); /* the triggers run again */
    CHECK_INT(1, row_count());
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
    CHECK_INT(400, sweep((dc_batch_delete){DC_SQL_BATCH_ALL, INT64_MIN, null_datum, 0}));
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
        CHECK_INT(334, sweep((dc_batch_delete){DC_SQL_BATCH_TAGGED, INT64_MIN, text("tag"), 0}));
        CHECK_INT(MANY - 334, sweep((dc_batch_delete){DC_SQL_BATCH_ALL, INT64_MIN, null_datum, 0}));
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
    CHECK_INT(MANY, sweep((dc_batch_delete){DC_SQL_BATCH_ALL, INT64_MIN, null_datum, 0}));
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
    CHECK_INT(MANY, sweep((dc_batch_delete){DC_SQL_BATCH_ALL, INT64_MIN, null_datum, 0}));
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

    for (int kind = 0; kind < 2; kind++) {
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
            dc_batch_delete sweep = {kinds[kind], INT64_MIN, text("tag"), 0};
            int64_t count = 0;
            int done = 0;

            dc_namelist_rewind(&removed, 0, 0);
            database_execute(&db, "BEGIN");
            database_watch_steps(countdown);
            status = dc_batch_delete_run(&db, &sweep, 1000.0, &removed, &count, &done);
            database_unwatch_steps();
            failures += status != DC_OK;
            CHECK(done == (status == DC_OK));
            CHECK(removed_are_unnamed());
            check_sums(); /* of what would be committed */
            database_execute(&db, "ROLLBACK");
        }
        CHECK_INT(DC_OK, status);
        CHECK(failures > 50);
        close_store();
    }
}

/* ---- Iteration ------------------------------------------------------------------------------ */

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

enum { PAGE_SIZE = 100, MIXED_COUNT = 2 * PAGE_SIZE + 50 };

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

/* ---- Settings, statistics, sizes ------------------------------------------------------------ */

static void settings_of_every_type_come_back(void)
{
    const dc_datum data[] = {integer(5), real(0.5),  text("wal"),
                             text(""),   null_datum, bytes(DC_BLOB, "\0", 1)};
    dc_row row;

    open_store();
    dc_row_init(&row);
    CHECK_INT(DC_NOT_FOUND, dc_setting_get(&db, "name", &row));
    for (size_t i = 0; i < sizeof data / sizeof *data; i++) {
        CHECK_INT(DC_OK, dc_setting_set(&db, DC_SQL_SETTING_REPLACE, "name", &data[i]));
        CHECK_INT(DC_OK, dc_setting_get(&db, "name", &row));
        CHECK_INT(data[i].type, row.columns.value.type);
    }
    CHECK(is_bytes(DC_BLOB, "\0", 1, row.columns.value));
    dc_row_clear(&row);
    close_store();
}

static void defaults_do_not_replace_and_updates_do_not_insert(void)
{
    const dc_datum one = integer(1);
    const dc_datum two = integer(2);
    int64_t value;

    open_store();
    CHECK_INT(DC_OK, dc_setting_set(&db, DC_SQL_SETTING_UPDATE, "name", &one));
    CHECK_INT(DC_NOT_FOUND, dc_setting_get_integer(&db, "name", &value));
    CHECK_INT(DC_OK, dc_setting_set(&db, DC_SQL_SETTING_DEFAULT, "name", &one));
    CHECK_INT(1, setting("name"));
    CHECK_INT(DC_OK, dc_setting_set(&db, DC_SQL_SETTING_DEFAULT, "name", &two));
    CHECK_INT(1, setting("name"));
    CHECK_INT(DC_OK, dc_setting_set(&db, DC_SQL_SETTING_UPDATE, "name", &two));
    CHECK_INT(2, setting("name"));
    close_store();
}

static void a_setting_that_is_no_integer_is_made_one(void)
{
    const dc_datum half = real(7.5);
    const dc_datum word = text("7");

    open_store();
    CHECK_INT(DC_OK, dc_setting_set(&db, DC_SQL_SETTING_REPLACE, "name", &half));
    CHECK_INT(7, setting("name"));
    CHECK_INT(DC_OK, dc_setting_set(&db, DC_SQL_SETTING_REPLACE, "name", &word));
    CHECK_INT(0, setting("name"));
    close_store();
}

static void lookups_are_counted(void)
{
    open_store();
    for (int i = 0; i < 5; i++) {
        CHECK_INT(DC_OK, dc_setting_count_lookups(&db, i < 2, 1));
    }
    CHECK_INT(2, setting("hits"));
    CHECK_INT(3, setting("misses"));
    close_store();
}

static void an_access_is_noted_as_the_policy_needs(void)
{
    open_store();
    set(integer(1), inline_value(integer(1)));
    set(integer(2), inline_value(integer(1)));
    CHECK_INT(DC_OK, dc_row_count_access(&db, DC_POLICY_NONE, 1, 5000.0, 1));
    CHECK_INT(DC_OK, dc_row_count_access(&db, DC_POLICY_LEAST_RECENTLY_STORED, 1, 5000.0, 1));
    CHECK_INT(2, database_integer(&db, "SELECT count(*) FROM Cache WHERE access_time = 1000 AND"
                                       " access_count = 0"));
    CHECK_INT(DC_OK, dc_row_count_access(&db, DC_POLICY_LEAST_RECENTLY_USED, 1, 5000.0, 1));
    CHECK_INT(1, database_integer(&db, "SELECT rowid FROM Cache WHERE access_time = 5000"));
    CHECK_INT(DC_OK, dc_row_count_access(&db, DC_POLICY_LEAST_FREQUENTLY_USED, 2, 5000.0, 2));
    CHECK_INT(2, database_integer(&db, "SELECT rowid FROM Cache WHERE access_count = 2"));
    CHECK_INT(1, database_integer(&db, "SELECT count(*) FROM Cache WHERE access_time = 5000"));
    close_store();
}

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

/* ---- Triggers that keep rows ---------------------------------------------------------------- */

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
    const dc_queue queue = {NULL, 0};
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
        CHECK_INT(DC_OK, write_set(&db, &key, &number, NOW, only_if_absent, &roomy, &removed,
                                      &written));
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
                {DC_SQL_BATCH_ALL, INT64_MIN, null_datum, 0},
                {DC_SQL_BATCH_TAGGED, INT64_MIN, text("tag"), 0},
                {DC_SQL_BATCH_EXPIRED, INT64_MIN, real(NOW), 0},
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
                    CHECK_INT(DC_OK, dc_evict_to_volume(&db, DC_SQL_VICTIM_LEAST_RECENTLY_STORED, 0, 0.0, &removed,
                                                        &passed, &count, &done));
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
        sweep((dc_batch_delete){DC_SQL_BATCH_ALL, INT64_MIN, null_datum, 0});
        CHECK_INT(0, row_count());
        CHECK(volume_without_free_pages() > 0);
        database_execute(&db, "DELETE FROM Settings WHERE key = 'size'");
        CHECK(volume_without_free_pages() > 0);
        CHECK_INT(DC_OK, set_by(&tight, integer(1), inline_value(integer(1)), NOW));
        close_store();
    }
}

/* ---- Failures ------------------------------------------------------------------------------- */

/* Every operation that allocates or takes several statements; DC_OK or why not. */
static dc_status do_everything(void)
{
    static char block[3000];
    const dc_datum tag = bytes(DC_BLOB, block, 600);
    const dc_rules tight = {DC_POLICY_LEAST_RECENTLY_STORED, 3000, 2, NULL};
    const dc_key file_key = raw_key(text("file"));
    const dc_key key = raw_key(bytes(DC_BLOB, block, 2000));
    const dc_columns value = tagged(inline_value(bytes(DC_BLOB, block, 3000)), tag);
    const dc_columns number = inline_value(integer(1));
    const dc_columns expire = expiring((dc_columns){0}, 9000.0);
    const dc_datum one = integer(1);
    const dc_queue queue = prefixed("queue");
    dc_batch_delete sweep = {DC_SQL_BATCH_ALL, INT64_MIN, {.type = DC_NULL}, 0};
    dc_key_page page = {0};
    int64_t count = 0;
    int done;
    dc_row row;
    dc_status status = DC_OK;

    dc_row_init(&row);
#define DO(call)                                                                                   \
    if (status == DC_OK) {                                                                         \
        status = (call);                                                                           \
    }
    DO(write_set(&db, &key, &value, NOW, 0, &roomy, &removed, &written))
    DO(dc_row_get(&db, &key, DC_DETAIL_NONE, &row))
    DO(dc_row_get(&db, &key, DC_DETAIL_ALL, &row))
    DO(dc_scan_keys(&db, DC_BY_KEY, 0, 0, NULL, PAGE_SIZE, &page))
    DO(dc_row_touch(&db, &key, &expire, NOW))
    DO(dc_setting_set(&db, DC_SQL_SETTING_REPLACE, "large", &value.value))
    DO(dc_setting_get(&db, "large", &row))
    DO(queue_push(&db, &queue, DC_BACK, &number, NOW, &roomy, &removed, &row, &written))
    DO(queue_push(&db, &queue, DC_BACK, &number, NOW, &roomy, &removed, &row, &written))
    DO(queue_push(&db, &integers, DC_BACK, &number, NOW, &roomy, &removed, &row, &written))
    DO(dc_queue_end(&db, &queue, DC_FRONT, &row))
    DO(write_increment(&db, &row.key, &one, NULL, NOW, &roomy, &removed, &sum, &created))
    DO(write_set(&db, &file_key, &number, NOW, 0, &roomy, &removed, &written))
    DO(write_set(&db, &key, &number, NOW + 1, 0, &tight, &removed, &written))
    DO(dc_scan_end(&db, 1, &row))
    DO(dc_scan_nth(&db, DC_BACK, 0, &row))
    DO(dc_scan_max_rowid(&db, &count))
    DO(dc_setting_count_lookups(&db, 1, 1))
    DO(dc_batch_delete_run(&db, &sweep, 1000.0, &removed, &count, &done))
#undef DO
    dc_key_page_clear(&page);
    dc_row_clear(&row);
    return status;
}

/* Rows whose file names are too long for a row's own memory, so that reading them allocates. */
static void fill_with_files(void)
{
    char name[1000];

    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    set(text("file"), file_value(name, 10));
    set(text("another"), file_value(name, 10));
}

/* A transaction in which something failed can be rolled back, and then all is as it was. */
static void check_rolled_back(void)
{
    dc_db_rollback(&db);
    dc_namelist_clear(&removed);
    CHECK(!dc_db_in_transaction(&db));
    CHECK_INT(2, row_count());
    CHECK_INT(20, setting("size"));
    CHECK_INT(0, setting("hits"));
}

static void without_memory_nothing_is_lost(void)
{
    dc_status status = DC_NO_MEMORY;
    int failures = 0;

    open_store();
    fill_with_files();
    for (int countdown = 1; status != DC_OK && countdown < 1000; countdown++) {
        CHECK_INT(DC_OK, dc_db_begin(&db));
        allocation_countdown = countdown;
        status = do_everything();
        allocation_countdown = 0;
        if (status != DC_OK) {
            failures++;
            CHECK_INT(DC_NO_MEMORY, status);
            CHECK_TEXT("out of memory", db.error.message);
        }
        check_rolled_back();
    }
    CHECK_INT(DC_OK, status);
    CHECK(failures > 10);
    close_store();
}

static void when_sqlite_fails_nothing_is_lost(void)
{
    dc_status status = DC_SQLITE;
    int failures = 0;

    open_store();
    fill_with_files();
    for (int countdown = 1; status != DC_OK && countdown < 1000; countdown++) {
        CHECK_INT(DC_OK, dc_db_begin(&db));
        database_watch_steps(countdown);
        status = do_everything();
        database_unwatch_steps();
        if (status != DC_OK) {
            failures++;
            CHECK_INT(DC_SQLITE, status);
            CHECK_INT(DATABASE_IO_ERROR, db.error.sqlite_code);
        }
        check_rolled_back();
    }
    CHECK_INT(DC_OK, status);
    CHECK(failures > 50);
    close_store();
}

/* A name is noted before its row goes, and the row stays if it cannot be noted. */
static void a_row_whose_file_cannot_be_noted_stays(void)
{
    open_store();
    set(text("k"), file_value("name", 10));
    dc_namelist_clear(&removed);
    allocation_countdown = 1;
    CHECK_INT(DC_NO_MEMORY, dc_row_delete(&db, 1, "name", &removed));
    allocation_countdown = 1;
    CHECK_INT(DC_NO_MEMORY, set_by(&roomy, text("k"), inline_value(integer(1)), NOW));
    allocation_countdown = 0;
    CHECK(!written);
    CHECK_INT(0, removed.count);
    CHECK_INT(1, database_integer(&db, "SELECT count(*) FROM Cache WHERE filename = 'name'"));
    close_store();
}

static void a_lock_held_by_another_is_busy(void)
{
    dc_db other;

    open_store();
    database_connect(&other);
    CHECK_INT(DC_OK, dc_db_begin(&other));
    CHECK_INT(DC_BUSY, set_by(&roomy, text("k"), inline_value(integer(1)), NOW));
    CHECK(!written);
    dc_db_rollback(&other);
    set(text("k"), inline_value(integer(1)));
    database_close(&other);
    close_store();
}

/* ---- What once went wrong -------------------------------------------------------------------- */

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

static void a_prefix_may_contain_nul(void)
{
    const dc_queue queue = {"a\0b", 3};
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
    CHECK_INT(DC_OVERFLOW, queue_push(&db, &integers, DC_BACK, &columns, NOW, &roomy, &removed,
                                         &row, &written));
    CHECK_INT(1, row_count());
    dc_row_clear(&row);
    close_store();
}

static void the_forecast_draws_what_increments_add(void)
{
    const dc_datum big = integer(INT64_C(1) << 60);
    const dc_key key = raw_key(integer(1));
    dc_datum sum;
    int64_t slack;
    int created;

    open_store();
    set(integer(1), inline_value(integer(0)));
    set(integer(2), inline_value(integer(0)));
    slack = db.budget.slack;
    CHECK_INT(DC_OK,
              write_increment(&db, &key, &big, NULL, NOW, &roomy, &removed, &sum, &created));
    CHECK(db.budget.slack < slack);
    close_store();
}

static void a_sweep_without_a_tag_does_not_use_the_last_one(void)
{
    dc_batch_delete sweep = {DC_SQL_BATCH_TAGGED, INT64_MIN, {.type = DC_NULL}, 0};
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

static void a_setting_beyond_64_bits_is_clamped(void)
{
    const dc_datum huge = real(1e300);

    open_store();
    CHECK_INT(DC_OK, dc_setting_set(&db, DC_SQL_SETTING_REPLACE, "name", &huge));
    CHECK_INT(INT64_MAX, setting("name"));
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
        CHECK_TEST(deleting_notes_the_file),
        CHECK_TEST(a_row_is_the_same_until_it_is_written),
        CHECK_TEST(an_empty_queue_has_no_ends),
        CHECK_TEST(a_queue_of_integers_grows_at_both_sides),
        CHECK_TEST(a_queue_with_a_prefix_grows_at_both_sides),
        CHECK_TEST(users_own_integers_are_no_part_of_the_queue),
        CHECK_TEST(users_own_texts_are_no_part_of_the_queue),
        CHECK_TEST(a_users_key_of_the_queues_form_is_part_of_it),
        CHECK_TEST(queues_of_any_prefix_are_apart),
        CHECK_TEST(an_end_comes_with_all_that_its_row_holds),
        CHECK_TEST(an_item_too_large_is_not_pushed),
        CHECK_TEST(the_first_and_the_last_are_by_insertion),
        CHECK_TEST(a_row_is_found_by_its_place_among_the_keys),
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
        CHECK_TEST(an_item_without_a_file_is_set_in_one_step),
        CHECK_TEST(a_plain_item_takes_tag_expiry_and_file_of_its_predecessor_away),
        CHECK_TEST(an_item_without_a_file_is_removed_in_one_step),
        CHECK_TEST(what_has_expired_is_not_there_to_be_removed),
        CHECK_TEST(integers_are_added_in_one_step),
        CHECK_TEST(a_forecast_spares_the_next_write_the_questions),
        CHECK_TEST(a_forecast_outlives_the_commits_of_its_handle),
        CHECK_TEST(another_connections_write_voids_the_forecast),
        CHECK_TEST(a_rollback_voids_the_forecast),
        CHECK_TEST(another_limit_of_size_voids_the_forecast),
        CHECK_TEST(a_new_index_voids_the_forecast),
        CHECK_TEST(with_the_connection_in_a_users_hands_nothing_is_forecast),
        CHECK_TEST(the_earliest_expiry_ends_the_forecast),
        CHECK_TEST(a_limit_once_reached_is_not_forecast_away),
        CHECK_TEST(whatever_is_written_the_volume_keeps_to_the_limit),
        CHECK_TEST(all_rows_are_swept_in_portions),
        CHECK_TEST(with_time_enough_one_portion_will_do),
        CHECK_TEST(rows_behind_a_sweep_in_ascending_order_stay),
        CHECK_TEST(a_tag_is_swept_and_no_other),
        CHECK_TEST(the_expired_are_swept_however_many_share_a_moment),
        CHECK_TEST(a_volume_is_shrunk_to_and_no_further),
        CHECK_TEST(many_rows_are_swept_with_exact_sums),
        CHECK_TEST(a_table_too_large_to_be_emptied_at_once_is_swept_all_the_same),
        CHECK_TEST(triggers_of_a_user_run_for_each_row_of_a_sweep),
        CHECK_TEST(sums_are_not_touched_where_the_triggers_are_gone),
        CHECK_TEST(a_sweep_does_not_end_a_query_of_the_users),
        CHECK_TEST(a_sweep_that_fails_loses_no_file_and_keeps_the_sums),
        CHECK_TEST(keys_come_in_pages_in_every_order),
        CHECK_TEST(by_rowid_both_ends_are_left_out),
        CHECK_TEST(the_key_before_need_not_be_there),
        CHECK_TEST(pickles_follow_the_same_bytes_kept_raw_in_order),
        CHECK_TEST(empty_and_large_keys_fit_a_page),
        CHECK_TEST(a_page_ends_with_the_key_that_makes_it_large),
        CHECK_TEST(the_largest_rowid_is_that_of_the_last_row),
        CHECK_TEST(settings_of_every_type_come_back),
        CHECK_TEST(defaults_do_not_replace_and_updates_do_not_insert),
        CHECK_TEST(a_setting_that_is_no_integer_is_made_one),
        CHECK_TEST(lookups_are_counted),
        CHECK_TEST(an_access_is_noted_as_the_policy_needs),
        CHECK_TEST(the_volume_is_pages_and_files_with_or_without_free_pages),
        CHECK_TEST(what_a_trigger_keeps_from_being_inserted_is_not_written),
        CHECK_TEST(what_a_trigger_keeps_from_being_updated_stays_with_its_file),
        CHECK_TEST(what_a_trigger_keeps_from_being_deleted_stays_with_its_file),
        CHECK_TEST(a_removal_of_many_passes_over_the_rows_that_a_trigger_keeps),
        CHECK_TEST(culling_passes_over_the_rows_that_a_trigger_keeps),
        CHECK_TEST(sums_of_sizes_end_where_the_range_does),
        CHECK_TEST(whatever_sizes_are_stored_the_volume_is_a_number_of_bytes),
        CHECK_TEST(without_memory_nothing_is_lost),
        CHECK_TEST(when_sqlite_fails_nothing_is_lost),
        CHECK_TEST(a_row_whose_file_cannot_be_noted_stays),
        CHECK_TEST(a_lock_held_by_another_is_busy),
        CHECK_TEST(a_failed_update_does_not_note_the_file_still_referred_to),
        CHECK_TEST(a_failed_delete_does_not_note_the_file_still_referred_to),
        CHECK_TEST(a_prefix_may_contain_nul),
        CHECK_TEST(a_push_beyond_the_last_key_is_an_overflow),
        CHECK_TEST(the_forecast_draws_what_increments_add),
        CHECK_TEST(a_sweep_without_a_tag_does_not_use_the_last_one),
        CHECK_TEST(a_setting_beyond_64_bits_is_clamped),
        CHECK_TEST(a_located_row_can_be_copied),
        CHECK_TEST(a_pushed_row_can_be_copied),
        CHECK_TEST(a_file_name_that_is_none_is_no_name),
        CHECK_TEST(files_without_a_row_are_told_from_those_with_one),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
