/* test_failures.c: whatever call fails, nothing is lost, nothing is left locked, and the next try works.
 *
 * Each operation is done as a session does it, with the first, the second, the third … call of a kind failing
 * (faults.h), until it needs no more calls. Either it fails, and the table is as it was; or it succeeds, and
 * the table is as it is without a fault. In both cases each row has its file, nobody has a lock or a descriptor
 * too many, and the operation works when it is done again, with the same handle.
 *
 * DC_FAULTS=all tries each call with each error, once and for good: some minutes. Without it an error is chosen by
 * turns.
 */
#include "store.h"

#include "faults.h"

#include "base/selfcheck.h"
#include "engine/access_log.h"
#include "engine/scan.h"
#include "engine/valuefile.h"

static dc_db other;      /* somebody else's handle */
static int64_t reported; /* calls that have failed */
static int64_t rounds;

/* ---- What an operation has returned ---------------------------------------------------------- */

static uint64_t answer;

static void add_to(uint64_t *digest, const void *data, size_t size)
{
    const unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++) {
        *digest = (*digest ^ bytes[i]) * UINT64_C(1099511628211);
    }
    *digest = (*digest ^ size) * UINT64_C(1099511628211);
}

static void answer_integer(int64_t value)
{
    add_to(&answer, &value, sizeof value);
}

static void answer_datum(const dc_datum *datum)
{
    answer_integer(datum->type);
    if (datum->type == DC_TEXT || datum->type == DC_BLOB) {
        add_to(&answer, datum->as.bytes.data, datum->as.bytes.size);
    } else if (datum->type == DC_INTEGER) {
        answer_integer(datum->as.integer);
    } else if (datum->type == DC_REAL) {
        add_to(&answer, &datum->as.real, sizeof datum->as.real);
    }
}

static void answer_row(const dc_row *row, int with_key)
{
    answer_datum(&row->columns.value);
    answer_datum(&row->columns.tag);
    answer_integer(row->columns.size);
    answer_integer(row->columns.mode);
    answer_integer(row->columns.filename != NULL);
    answer_integer(row->columns.has_expire_time);
    if (with_key) {
        answer_datum(&row->key.datum);
    }
}

/* ---- The table before -------------------------------------------------------------------------- */

#define FILE_SIZE 3000

static const char *const files[] = {"aa/00/0000000000000000000000000001.val",
                                    "aa/00/0000000000000000000000000002.val",
                                    "bb/00/0000000000000000000000000003.val"};

enum { FILES = sizeof files / sizeof *files };

static void put_file(const char *name, char content)
{
    char directory[8];
    FILE *file;

    snprintf(directory, sizeof directory, "%.*s", 2, name);
    mkdir(database_path(directory), 0777);
    snprintf(directory, sizeof directory, "%.*s", 5, name);
    mkdir(database_path(directory), 0777);
    file = fopen(database_path(name), "wb");
    if (file == NULL) {
        check_fatal(name);
    }
    for (int i = 0; i < FILE_SIZE; i++) {
        fputc(content, file);
    }
    fclose(file);
}

static int remove_value_file(const char *path, const struct stat *facts, int type,
                             struct FTW *place)
{
    const char *name = path + place->base;

    (void)facts;
    if (type == FTW_F && (strstr(name, ".val") != NULL || strstr(name, "-tmp") != NULL)) {
        unlink(path);
    }
    return 0;
}

#define ROWS                                                                                       \
    "INSERT INTO Cache (key, raw, store_time, expire_time, access_time, access_count, tag, size,"  \
    " mode, filename, value) VALUES "

static const char *const content[] = {
    "BEGIN",
    "DELETE FROM Cache",
    "DELETE FROM Settings",
    "INSERT INTO Settings VALUES ('count', 0), ('size', 0), ('hits', 0), ('misses', 0),"
    " ('sqlite_cache_size', 500), ('sqlite_mmap_size', 0)",
    ROWS "('text', 1, 1.0, NULL, 1.0, 0, 'tag', 0, 1, NULL, 'value')",
    ROWS "(7, 1, 2.0, NULL, 2.0, 0, NULL, 0, 1, NULL, 5)",
    ROWS "('real', 1, 3.0, NULL, 3.0, 0, NULL, 0, 1, NULL, 1.5)",
    ROWS "(x'8004', 0, 4.0, 9000.0, 4.0, 0, 'tag', 0, 4, NULL, zeroblob(2000))",
    ROWS "('expired', 1, 5.0, 500.0, 5.0, 0, NULL, 0, 1, NULL, 'old')",
    ROWS "('q-500000000000000', 1, 6.0, NULL, 6.0, 0, NULL, 0, 1, NULL, 'first')",
    ROWS "('q-500000000000001', 1, 6.0, NULL, 6.0, 0, NULL, 0, 1, NULL, 'second')",
    ROWS "(500000000000000, 1, 7.0, NULL, 7.0, 0, NULL, 0, 1, NULL, 'pushed')",
    ROWS "('file', 1, 8.0, NULL, 8.0, 0, NULL, 3000, 2,"
         " 'aa/00/0000000000000000000000000001.val', NULL)",
    ROWS "('expired file', 1, 9.0, 600.0, 9.0, 0, 'tag', 3000, 2,"
         " 'aa/00/0000000000000000000000000002.val', NULL)",
    ROWS "('third file', 1, 10.0, NULL, 10.0, 0, NULL, 3000, 2,"
         " 'bb/00/0000000000000000000000000003.val', NULL)",
    "COMMIT",
};

/* Enough rows for a deletion that does without triggers. */
static const char *const many_rows =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)"
    " INSERT INTO Cache (key, raw, store_time, expire_time, access_time, access_count, tag, size,"
    " mode, filename, value) SELECT 1000 + i, 1, 20.0, 700.0, 20.0, 0, 'tag', 0, 1, NULL, i FROM n";

static void fill_table(int many)
{
    nftw(check_directory(), remove_value_file, 16, FTW_PHYS);
    for (size_t i = 0; i < FILES; i++) {
        put_file(files[i], (char)('a' + i));
    }
    for (size_t i = 0; i < sizeof content / sizeof *content; i++) {
        database_execute(&other, content[i]);
    }
    if (many) {
        database_execute(&other, many_rows);
    }
}

/* ---- The table after ---------------------------------------------------------------------------- */

typedef struct table_state {
    uint64_t digest;
    int rows_without_file;
    int files;
} table_state;

static dc_status add_row(void *context, const dc_datum *text, const dc_datum *filename)
{
    table_state *state = context;
    char data[2 * FILE_SIZE];
    size_t size = 0;
    FILE *file = NULL;

    add_to(&state->digest, text->as.bytes.data, text->as.bytes.size);
    if (filename->type == DC_TEXT) {
        char name[DC_VALUEFILE_NAME_SIZE];

        snprintf(name, sizeof name, "%.*s", (int)filename->as.bytes.size, filename->as.bytes.data);
        file = fopen(database_path(name), "rb");
        state->rows_without_file += file == NULL;
        if (file != NULL) {
            size = fread(data, 1, sizeof data, file);
            fclose(file);
            state->files++;
        }
        add_to(&state->digest, data, size);
    }
    return DC_OK;
}

static table_state state_of_table(void)
{
    table_state state = {0};

    CHECK_INT(DC_OK,
              dc_db_query(&other,
                          "SELECT quote(key) || quote(raw) || quote(store_time) ||"
                          " quote(expire_time) || quote(access_time) || quote(access_count) ||"
                          " quote(tag) || quote(size) || quote(mode) || quote(value), filename"
                          " FROM Cache ORDER BY key, raw",
                          add_row, &state));
    CHECK_INT(DC_OK, dc_db_query(&other,
                                 "SELECT quote(key) || quote(value), NULL FROM Settings"
                                 " ORDER BY key",
                                 add_row, &state));
    return state;
}

static int value_files;

static int count_value_file(const char *path, const struct stat *facts, int type, struct FTW *place)
{
    (void)facts;
    value_files += type == FTW_F && strncmp(path + place->base, "cache.db", 8) != 0;
    return 0;
}

static int files_on_disk(void)
{
    value_files = 0;
    nftw(check_directory(), count_value_file, 16, FTW_PHYS);
    return value_files;
}

/* The lowest free descriptor. */
static int next_descriptor(void)
{
    int descriptor = dup(0);

    close(descriptor);
    return descriptor;
}

/* ---- A session ------------------------------------------------------------------------------------ */

static const char *encoding;
static const char *journal;

static dc_status open_session(void)
{
    dc_status status = database_open(&db, database_path("cache.db"));
    int is_wal;
    int synchronous;
    int kept = 0;
    int lacks_settings = 0;

    if (status == DC_OK) {
        status = dc_settings_apply_pragmas(&db, &kept, &lacks_settings);
    }
    if (status == DC_OK) {
        dc_db_examine(&db, &is_wal, &synchronous);
        dc_db_watch_header(&db, dc_db_wal_header(&db));
        if (is_wal) {
            dc_version_table_open(&db.versions, database_path("cache.db"), 0);
        }
        db.mark.begins = 1; /* the first of all is as anybody's */
    }
    return status;
}

/* A value file of the operation at hand. */
static char added[DC_VALUEFILE_NAME_SIZE];

static dc_status write_in_pieces(const char *data, size_t size)
{
    const dc_piece pieces[] = {{data, 1}, {data + 1, size - 2}, {data, 0}, {data, 1}};

    return dc_valuefile_write_pieces(check_directory(), 0700, added, pieces,
                                     sizeof pieces / sizeof *pieces, &db.error);
}

static int in_pieces;

static dc_status write_file(void)
{
    static char data[FILE_SIZE];
    dc_status status = dc_valuefile_name(added, &db.error);
    int written_whole = 0;

    if (status == DC_OK) {
        status = in_pieces ? write_in_pieces(data, sizeof data)
                           : dc_valuefile_write(check_directory(), 0700, added, data, sizeof data,
                                                &db.error);
        written_whole = status == DC_OK;
    }
    if (status == DC_OK) {
        status = dc_valuefile_sync(check_directory(), added, "", &db.error);
    }
    if (status != DC_OK) {
        if (written_whole) {
            dc_valuefile_remove(check_directory(), added);
        }
        added[0] = '\0';
    }
    return status;
}

static void remove_files(void)
{
    for (const char *name = dc_namelist_next(&removed, NULL); name != NULL;
         name = dc_namelist_next(&removed, name)) {
        dc_valuefile_remove(check_directory(), name);
    }
    dc_namelist_clear(&removed);
}

/* Remove the new file, unless a COMMIT that has failed has done all the same what it was to do. */
static void remove_unnamed_file(void)
{
    dc_namelist names = {0};

    if (added[0] != '\0' && dc_namelist_add(&names, added)) {
        dc_scan_unnamed_files(&db, &names, &removed);
    }
    remove_files();
    dc_namelist_clear(&names);
}

static dc_status roll_back(dc_status status, int committing)
{
    dc_error error = db.error;

    committing = committing && db.may_be_committed;
    dc_db_rollback(&db);
    dc_namelist_clear(&removed);
    if (committing) {
        remove_unnamed_file();
    } else if (added[0] != '\0') {
        dc_valuefile_remove(check_directory(), added);
    }
    db.error = error;
    return status;
}

/* A transaction, as the binding does it. */
static dc_status transact(dc_status (*body)(void))
{
    dc_status status = dc_db_begin(&db);
    int committing = 0;

    if (status == DC_OK) {
        status = body();
        committing = status == DC_OK || status == DC_NOT_FOUND;
    }
    if (committing) {
        status = dc_db_commit(&db);
    }
    if (status != DC_OK) {
        return roll_back(status, committing);
    }
    remove_files();
    return status;
}

static dc_status transact_with_file(dc_status (*body)(void))
{
    dc_status status;

    added[0] = '\0';
    status = write_file();
    if (status == DC_OK) {
        status = transact(body);
    }
    added[0] = '\0';
    return status;
}

/* ---- What somebody else remembers ----------------------------------------------------------------- */

/* Some rows of `other`, in memory before the operation. */
static struct {
    const char *condition;
    dc_datum key;
    uint32_t slot;
    uint64_t version, digest;
} memories[] = {
    {.condition = "'text'"},         {.condition = "7"},      {.condition = "'real'"},
    {.condition = "'expired file'"}, {.condition = "'file'"}, {.condition = "'third file'"},
    {.condition = "'new'"},          {.condition = "1005"},
};

enum { MEMORIES = sizeof memories / sizeof *memories };

static int64_t held; /* rows that have been confirmed, and that were not */
static int64_t lost;

static dc_status take_key(void *context, const dc_datum *text, const dc_datum *filename)
{
    (void)filename;
    add_to(context, text->as.bytes.data, text->as.bytes.size);
    return DC_OK;
}

static uint64_t digest_of(const char *condition)
{
    char sql[200];
    uint64_t digest = 0;

    snprintf(sql, sizeof sql,
             "SELECT quote(expire_time) || quote(tag) || quote(mode) || quote(filename) ||"
             " quote(value), NULL FROM Cache WHERE key = %s",
             condition);
    CHECK_INT(DC_OK, dc_db_query(&other, sql, take_key, &digest));
    return digest;
}

static dc_datum key_of(const char *condition)
{
    return condition[0] == '\'' ? bytes(DC_TEXT, condition + 1, strlen(condition) - 2)
                                : integer(atoi(condition));
}

/* Read the rows, after a commit that keeps the table. */
static void remember_rows(void)
{
    if (other.versions.shared == NULL) {
        return;
    }
    CHECK_INT(DC_OK, dc_db_begin(&other));
    CHECK_INT(DC_OK, dc_db_commit(&other));
    for (size_t i = 0; i < MEMORIES; i++) {
        const dc_datum key = key_of(memories[i].condition);

        memories[i].slot = dc_version_table_slot(&other.versions, &key);
        memories[i].version = dc_version_table_version(&other.versions, memories[i].slot);
        memories[i].digest = digest_of(memories[i].condition);
    }
}

/* None of them is held to be current, and is not. */
static void check_memories(void)
{
    dc_stamp stamp;

    if (other.versions.shared == NULL || !dc_stamp_read(other.commit.header, &stamp) ||
        !dc_version_table_covers(&other.versions, &stamp)) {
        lost += MEMORIES;
        return;
    }
    for (size_t i = 0; i < MEMORIES; i++) {
        int holds = dc_version_table_confirms(&other.versions, other.commit.header, &stamp,
                                              memories[i].slot, memories[i].version);

        held += holds;
        lost += !holds;
        CHECK(!holds || digest_of(memories[i].condition) == memories[i].digest);
    }
}

/* What the binding does for each key that an operation names. */
static void note(dc_datum key)
{
    dc_version_table_note(&db.versions, &key);
}

/* ---- Operations ----------------------------------------------------------------------------------- */

static dc_status get_rows(unsigned int details)
{
    static const char pickled[] = "\x80\x04";
    const dc_key keys[] = {raw_key(text("text")),
                           raw_key(integer(7)),
                           {.datum = bytes(DC_BLOB, pickled, 2), .raw = 0},
                           raw_key(text("third file")),
                           raw_key(text("absent"))};
    dc_status status = DC_OK;
    dc_row row;

    dc_row_init(&row);
    for (size_t i = 0; i < sizeof keys / sizeof *keys && status == DC_OK; i++) {
        status = dc_row_get(&db, &keys[i], details, &row);
        answer_integer(status);
        if (status == DC_OK) {
            answer_row(&row, 0);
        }
        status = status == DC_NOT_FOUND ? DC_OK : status;
    }
    dc_row_clear(&row);
    return status;
}

static dc_status get_values(void)
{
    return get_rows(DC_DETAIL_NONE);
}

static dc_status get_all_details(void)
{
    return get_rows(DC_DETAIL_ALL);
}

static dc_status get_in_a_transaction(void)
{
    dc_status status = dc_db_begin_read(&db);

    if (status == DC_OK) {
        status = get_rows(DC_DETAIL_TAG);
        if (status == DC_OK) {
            status = get_rows(DC_DETAIL_IDENTITY);
        }
        dc_db_end_read(&db);
    }
    return status;
}

/* Its bytes, read, or as a reader does who would rather map it. */
static dc_status get_file_by(int mapped)
{
    const dc_key key = raw_key(text("file"));
    char data[FILE_SIZE];
    void *mapping = NULL;
    int descriptor = -1;
    int64_t size = 0;
    dc_row row;
    dc_status status;

    dc_row_init(&row);
    status = dc_row_get(&db, &key, DC_DETAIL_NONE, &row);
    if (status == DC_OK) {
        status = dc_valuefile_open(check_directory(), row.columns.filename, &descriptor, &size,
                                   &db.error);
    }
    if (status == DC_OK) {
        if (CHECK_INT(FILE_SIZE, size) &&
            (!mapped || dc_valuefile_map(descriptor, sizeof data, &mapping, &db.error) != DC_OK)) {
            status = dc_valuefile_read(descriptor, data, sizeof data, &db.error);
        }
        dc_valuefile_close(descriptor);
        if (mapping != NULL) {
            memcpy(data, mapping, sizeof data);
            dc_valuefile_unmap(mapping, sizeof data);
        }
    }
    if (status == DC_OK) {
        add_to(&answer, data, sizeof data);
    }
    dc_row_clear(&row);
    return status;
}

static dc_status get_file(void)
{
    return get_file_by(0);
}

static dc_status map_file(void)
{
    return get_file_by(1);
}

static dc_status put(const char *key, dc_columns columns)
{
    dc_status status;

    note(text(key));
    status = set_by(&roomy, text(key), columns, NOW);

    answer_integer(written);
    return status;
}

static dc_status put_new(void)
{
    return put("new", expiring(tagged(inline_value(text("value")), text("other")), 9000.0));
}

static dc_status put_over_a_value(void)
{
    static const char block[3000] = "block";

    return put("text", inline_value(bytes(DC_BLOB, block, sizeof block)));
}

static dc_status put_over_a_file(void)
{
    return put("file", inline_value(integer(1)));
}

static dc_status put_new_file(void)
{
    return put("new", file_value(added, FILE_SIZE));
}

static dc_status put_file_over_a_file(void)
{
    return put("file", file_value(added, FILE_SIZE));
}

static dc_status add_as_absent(const char *key)
{
    const dc_key raw = raw_key(text(key));
    const dc_columns columns = inline_value(integer(1));
    dc_status status = write_set(&db, &raw, &columns, NOW, 1, &roomy, &removed, &written);

    answer_integer(written);
    return status;
}

static dc_status add_what_is_there(void)
{
    return add_as_absent("text");
}

static dc_status add_over_an_expired_file(void)
{
    return add_as_absent("expired file");
}

static dc_status remove_row(const char *key)
{
    const dc_key raw = raw_key(text(key));
    dc_status status;

    note(raw.datum);
    status = dc_row_remove(&db, &raw, NOW, &removed);
    answer_integer(status);
    return status;
}

static dc_status delete_value(void)
{
    return remove_row("text");
}

static dc_status delete_file(void)
{
    return remove_row("file");
}

static dc_status increment(dc_datum key, dc_datum delta)
{
    const dc_key raw = raw_key(key);
    const dc_columns initial = inline_value(delta);
    dc_status status;

    note(key);
    status = write_increment(&db, &raw, &delta, &initial, NOW, &roomy, &removed, &sum, &created);
    answer_integer(created);
    if (status == DC_OK && !created) {
        answer_datum(&sum);
    }
    return status;
}

static dc_status increment_integer(void)
{
    return increment(integer(7), integer(3));
}

static dc_status increment_real(void)
{
    return increment(text("real"), real(0.25));
}

static dc_status increment_absent(void)
{
    return increment(text("new"), integer(3));
}

static dc_status touch_row(void)
{
    return touch(text("text"), expiring((dc_columns){0}, 9000.0), NOW);
}

static dc_status push_to(const dc_queue *queue, dc_side side)
{
    const dc_columns columns = inline_value(text("pushed"));
    dc_row row;
    dc_status status;

    dc_row_init(&row);
    status = queue_push(&db, queue, side, &columns, NOW, &roomy, &removed, &row, &written);
    if (status == DC_OK) {
        answer_datum(&row.key.datum);
    }
    dc_row_clear(&row);
    return status;
}

static dc_status push_back(void)
{
    return push_to(&integers, DC_BACK);
}

static dc_status push_front_of_a_long_prefix(void)
{
    static char prefix[700];
    const dc_queue queue = {.prefix = prefix, .prefix_size = sizeof prefix};

    memset(prefix, 'p', sizeof prefix);
    return push_to(&queue, DC_FRONT);
}

static dc_status pull(void)
{
    const dc_queue queue = prefixed("q");
    dc_row row;
    dc_status status;

    dc_row_init(&row);
    status = dc_queue_end(&db, &queue, DC_FRONT, &row);
    if (status == DC_OK) {
        answer_row(&row, 1);
        status = dc_row_delete(&db, row.rowid, row.columns.filename, &removed);
    }
    dc_row_clear(&row);
    return status;
}

static dc_status put_into_a_full_cache(void)
{
    const dc_rules tight = {DC_POLICY_LEAST_RECENTLY_STORED, 3000, 3, NULL};
    dc_status status = set_by(&tight, text("new"), inline_value(text("value")), NOW);

    answer_integer(written);
    return status;
}

static dc_status evict_to_nothing(void)
{
    int64_t kept = 0;
    int64_t count = 0;
    int done = 0;
    dc_status status = dc_evict_to_volume(&db, DC_SQL_VICTIM_LEAST_RECENTLY_USED, 0, 1000.0,
                                          &removed, &kept, &count, &done);

    if (status == DC_OK) {
        answer_integer(count);
        answer_integer(done);
    }
    return status;
}

static dc_status delete_by(dc_sql sql, dc_datum parameter)
{
    dc_batch_delete deletion = {.sql = sql, .after = INT64_MIN, .parameter = parameter};
    int64_t count = 0;
    int done = 0;
    dc_status status = dc_batch_delete_run(&db, &deletion, 1000.0, &removed, &count, &done);

    if (status == DC_OK) {
        answer_integer(count);
        answer_integer(done);
    }
    return status;
}

static dc_status clear(void)
{
    return delete_by(DC_SQL_BATCH_ALL, null_datum);
}

static dc_status evict_tag(void)
{
    return delete_by(DC_SQL_BATCH_TAGGED, text("tag"));
}

static dc_status expire(void)
{
    return delete_by(DC_SQL_BATCH_EXPIRED, real(NOW));
}

static dc_status put_many(void)
{
    dc_status status = DC_OK;

    for (int i = 0; i < 20 && status == DC_OK; i++) {
        status = set_by(&roomy, integer(100 + i), inline_value(integer(i)), NOW);
    }
    if (status == DC_OK) {
        status = put_file_over_a_file();
    }
    return status;
}

static dc_status change_settings(void)
{
    const dc_datum value = integer(5);
    dc_status status = dc_setting_set(&db, DC_SQL_SETTING_REPLACE, "new", &value);

    if (status == DC_OK) {
        status = dc_setting_set(&db, DC_SQL_SETTING_UPDATE, "new", &value);
    }
    return status == DC_OK ? dc_setting_count_lookups(&db, 1, 5) : status;
}

static dc_access_log accesses;

static dc_status flush_accesses(void)
{
    return dc_access_log_flush(&accesses, &db, DC_POLICY_LEAST_FREQUENTLY_USED);
}

/* What is not logged is only forgotten, so it is logged again. */
static dc_status log_accesses(void)
{
    dc_access_log more = {0};
    dc_status status = DC_OK;

    for (int rowid = 1; rowid <= 40 && status == DC_OK; rowid++) {
        status = dc_access_log_add(&more, rowid, 2, 0.0);
    }
    if (status == DC_OK) {
        dc_access_log_clear(&accesses);
        accesses = more;
        accesses.hits = 3;
        status = transact(flush_accesses);
    } else {
        dc_access_log_clear(&more);
        dc_db_out_of_memory(&db);
    }
    dc_access_log_clear(&accesses);
    return status;
}

static dc_status scan_by(dc_order order)
{
    dc_key_page page = {0};
    dc_status status = dc_scan_keys(&db, order, 0, INT64_MAX, NULL, 4, &page);

    for (size_t i = 0; i < page.count && status == DC_OK; i++) {
        answer_datum(&page.keys[i].datum);
    }
    if (status == DC_OK && page.count > 0) {
        dc_key_page next = {0};

        status = dc_scan_keys(&db, order, order == DC_BY_ROWID ? page.last : 0,
                              order == DC_BY_ROWID_DOWN ? page.last : INT64_MAX,
                              &page.keys[page.count - 1], 1000, &next);
        for (size_t i = 0; i < next.count && status == DC_OK; i++) {
            answer_datum(&next.keys[i].datum);
        }
        dc_key_page_clear(&next);
    }
    dc_key_page_clear(&page);
    return status;
}

static dc_status scan(void)
{
    dc_status status = DC_OK;

    for (dc_order order = DC_BY_ROWID; order <= DC_BY_KEY_DOWN && status == DC_OK; order++) {
        status = scan_by(order);
    }
    return status;
}

static dc_status look_around(void)
{
    dc_namelist names = {0};
    dc_namelist unnamed = {0};
    int64_t number = 0;
    dc_row row;
    dc_status status;

    dc_row_init(&row);
    status = dc_scan_end(&db, 0, NULL, &row);
    if (status == DC_OK) {
        answer_row(&row, 1);
        status = dc_scan_nth(&db, DC_BACK, 2, &row);
    }
    if (status == DC_OK) {
        answer_row(&row, 1);
        status = dc_scan_max_rowid(&db, &number);
    }
    if (status == DC_OK) {
        status = dc_setting_get(&db, "count", &row);
    }
    if (status == DC_OK) {
        answer_datum(&row.columns.value);
        status = dc_volume(&db, 1, &number);
    }
    if (status == DC_OK) {
        status = dc_namelist_add(&names, files[1]) && dc_namelist_add(&names, "no file")
                     ? dc_scan_unnamed_files(&db, &names, &unnamed)
                     : dc_db_out_of_memory(&db);
    }
    if (status == DC_OK) {
        answer_integer((int64_t)unnamed.count);
    }
    dc_namelist_clear(&unnamed);
    dc_namelist_clear(&names);
    dc_row_clear(&row);
    return status;
}

static dc_status checkpoint_by(dc_checkpoint_result (*copy)(dc_db *, dc_checkpoint *))
{
    dc_checkpoint checkpoint = {.patience = 0.0};
    dc_checkpoint_result result = copy(&db, &checkpoint);

    return result == DC_CHECKPOINT_FAILED ? DC_SQLITE
           : result == DC_CHECKPOINT_BUSY ? DC_BUSY
                                          : DC_OK;
}

static dc_status checkpoint(void)
{
    return checkpoint_by(dc_checkpoint_copy);
}

static dc_status checkpoint_in_any_case(void)
{
    return checkpoint_by(dc_checkpoint_in_any_case);
}

/* A session of its own, which reads and writes. */
static dc_status open_and_put(void)
{
    dc_db kept;
    dc_status status;
    dc_error error;

    dc_db_watch_header(&db, NULL); /* so that it can be moved */
    kept = db;
    status = open_session();
    if (status == DC_OK) {
        status = transact(put_new);
    }
    error = db.error;
    database_close(&db);
    db = kept;
    dc_db_watch_header(&db, dc_db_wal_header(&db));
    db.error = error;
    return status;
}

/* The table of versions is made anew, or is not there. Nothing is left in its place. */
static dc_status make_table(void)
{
    struct stat facts;
    int is_made;

    dc_version_table_close(&db.versions);
    __real_unlink(database_path("cache.db-hot"));
    dc_version_table_open(&db.versions, database_path("cache.db"), 0);
    is_made = __real_lstat64(database_path("cache.db-hot"), &facts) == 0;
    CHECK(is_made || db.versions.shared == NULL);
    CHECK(!is_made || facts.st_size == (off_t)(sizeof(dc_shared_versions) + 8 * (1 << 14)));
    return DC_OK;
}

typedef struct operation {
    const char *name;
    dc_status (*run)(void);
    dc_status (*transaction)(void); /* or what is done in one */
    dc_status (*with_file)(void);   /* or in one, after a file has been written */
    int in_pieces;                  /* is the file written */
    int many;                       /* rows in the table */
    int no_error;                   /* what fails leaves an answer, and no text */
} operation;

static const operation operations[] = {
    {.name = "get", .run = get_values},
    {.name = "get all details", .run = get_all_details},
    {.name = "get in a transaction", .run = get_in_a_transaction},
    {.name = "get a file", .run = get_file},
    {.name = "map a file", .run = map_file},
    {.name = "set a new key", .transaction = put_new},
    {.name = "set over a value", .transaction = put_over_a_value},
    {.name = "set over a file", .transaction = put_over_a_file},
    {.name = "set a new file", .with_file = put_new_file},
    {.name = "set a new file in pieces", .with_file = put_new_file, .in_pieces = 1},
    {.name = "set a file over a file", .with_file = put_file_over_a_file},
    {.name = "add what is there", .transaction = add_what_is_there},
    {.name = "add over an expired file", .transaction = add_over_an_expired_file},
    {.name = "delete", .transaction = delete_value},
    {.name = "delete a file", .transaction = delete_file},
    {.name = "increment an integer", .transaction = increment_integer},
    {.name = "increment a real", .transaction = increment_real},
    {.name = "increment what is absent", .transaction = increment_absent},
    {.name = "touch", .transaction = touch_row},
    {.name = "push", .transaction = push_back},
    {.name = "push to a prefix", .transaction = push_front_of_a_long_prefix},
    {.name = "pull", .transaction = pull},
    {.name = "set, and cull", .transaction = put_into_a_full_cache},
    {.name = "evict to a volume", .transaction = evict_to_nothing},
    {.name = "clear", .transaction = clear},
    {.name = "clear many", .transaction = clear, .many = 1},
    {.name = "evict a tag", .transaction = evict_tag},
    {.name = "evict many of a tag", .transaction = evict_tag, .many = 1},
    {.name = "expire", .transaction = expire},
    {.name = "expire many", .transaction = expire, .many = 1},
    {.name = "set many", .with_file = put_many},
    {.name = "settings", .transaction = change_settings},
    {.name = "access log", .run = log_accesses},
    {.name = "scan", .run = scan},
    {.name = "scan many", .run = scan, .many = 1},
    {.name = "look around", .run = look_around},
    {.name = "checkpoint", .run = checkpoint, .no_error = 1},
    {.name = "checkpoint in any case", .run = checkpoint_in_any_case, .no_error = 1},
    {.name = "open", .run = open_and_put},
    {.name = "make the table of versions", .run = make_table},
};

enum { OPERATIONS = sizeof operations / sizeof *operations };

static dc_status run_operation(const operation *each)
{
    answer = 0;
    in_pieces = each->in_pieces;
    written = created = 0;
    return each->run != NULL           ? each->run()
           : each->transaction != NULL ? transact(each->transaction)
                                       : transact_with_file(each->with_file);
}

/* ---- One failure ----------------------------------------------------------------------------------- */

typedef struct outcome {
    dc_status status;
    uint64_t answer;
    table_state before, after;
} outcome;

static void say_where(const operation *each)
{
    printf("#   %s, %s: call %d, %s, error %d%s\n", each->name, fault_kinds[fault.kind], fault.at,
           fault.name, fault.variant, fault.lasting ? ", and all behind it" : "");
}

/* That nobody has a lock: somebody else can write at once. Where not even ROLLBACK works the session is closed,
 * which needs nothing. */
static void check_unlocked(void)
{
    if (dc_db_in_transaction(&db)) {
        CHECK(fault.lasting);
        database_close(&db);
        CHECK_INT(DC_OK, open_session());
    }
    if (CHECK_INT(DC_OK, dc_db_begin(&other))) {
        dc_db_rollback(&other);
    }
}

/* An error is one that the caller knows what to do with, and says what it is. */
static void check_error(const operation *each, dc_status status)
{
    CHECK(status == DC_BUSY || status == DC_NO_MEMORY || status == DC_SYSTEM ||
          status == DC_SQLITE);
    CHECK(each->no_error || db.error.message[0] != '\0');
    CHECK(fault.lasting || fault.kind != FAULT_MEMORY || status == DC_NO_MEMORY);
}

/* A file that could not be removed is left, for check(); but no other. */
static int may_leave_files(void)
{
    return fault.lasting || fault.kind == FAULT_MEMORY || strstr(fault.name, "unlink") != NULL ||
           strstr(fault.name, "stat") != NULL || strstr(fault.name, "open") != NULL ||
           strcmp(fault.name, "xUnlock") == 0;
}

static void check_outcome(const operation *each, dc_status status, const outcome *expected)
{
    table_state state = state_of_table();
    int is_new = state.digest == expected->after.digest;
    int left = files_on_disk() - state.files;

    CHECK_INT(0, state.rows_without_file);
    CHECK(is_new || state.digest == expected->before.digest);
    CHECK(left >= 0);
    CHECK(left == 0 || may_leave_files());
    if (status == expected->status) {
        CHECK(is_new);
        CHECK(answer == expected->answer);
    } else {
        check_error(each, status);
    }
    if (state.digest == expected->before.digest) {
        CHECK_INT(expected->status, run_operation(each));
        CHECK(answer == expected->answer);
        state = state_of_table();
        CHECK(state.digest == expected->after.digest);
    } else {
        CHECK_INT(DC_OK, transact(put_new));
    }
}

static void forget_selfchecks(void)
{
    for (int i = 0; i < DC_MECHANISM_COUNT; i++) {
        const char *reason = atomic_exchange(&dc_selfcheck_failures[i], NULL);

        if (reason != NULL) {
            CHECK(!"a mechanism was turned off");
            printf("#   %s\n", reason);
        }
    }
}

/* Do the operation with one call failing; 0 if it is done before that. */
static int fail_at(const operation *each, fault_kind kind, int at, int lasting, int variant,
                   const outcome *expected)
{
    int failures = atomic_load(&check_failures);
    int descriptor;
    dc_error error;
    dc_status status;

    fill_table(each->many);
    if (!CHECK_INT(DC_OK, open_session())) {
        return 0;
    }
    /* So the session has to read anew, and to raise its read mark. */
    database_execute(&other, "UPDATE Settings SET value = value WHERE key = 'hits'");
    descriptor = next_descriptor();
    remember_rows();
    faults_arm(kind, at, lasting, variant);
    status = run_operation(each);
    faults_disarm();
    check_memories();
    CHECK_INT(descriptor, next_descriptor());
    error = db.error;
    check_unlocked();
    db.error = error;
    check_outcome(each, status, expected);
    forget_selfchecks();
    if (atomic_load(&check_failures) != failures) {
        say_where(each);
    }
    database_close(&db);
    reported += fault.failed;
    rounds++;
    return fault.failed > 0;
}

static outcome without_a_fault(const operation *each)
{
    outcome expected;

    fill_table(each->many);
    CHECK_INT(DC_OK, open_session());
    expected.before = state_of_table();
    expected.status = run_operation(each);
    expected.answer = answer;
    expected.after = state_of_table();
    CHECK_INT(DC_OK, expected.status);
    CHECK_INT(expected.after.files, files_on_disk());
    database_close(&db);
    return expected;
}

/* ---- All of them ------------------------------------------------------------------------------------ */

static void open_other(void)
{
    int is_wal;
    int synchronous;

    CHECK_INT(DC_OK, database_open(&other, database_path("cache.db")));
    if (encoding != NULL) {
        database_execute(&other, encoding);
    }
    database_execute(&other, journal);
    dc_db_examine(&other, &is_wal, &synchronous);
    for (size_t i = 0; i < DC_SCHEMA_COUNT; i++) {
        database_execute(&other, dc_schema[i].create);
    }
    for (int policy = 0; policy < DC_POLICY_COUNT; policy++) {
        if (dc_policies[policy].create_index != NULL) {
            database_execute(&other, dc_policies[policy].create_index);
        }
    }
    if (is_wal) {
        dc_db_watch_header(&other, dc_db_wal_header(&other));
        dc_version_table_open(&other.versions, database_path("cache.db"), 0);
        CHECK_INT(ATOMIC_LLONG_LOCK_FREE == 2, other.versions.shared != NULL);
    }
}

/* The call to fail after this one. All are many, so further on they come more and more seldom; and SQLite asks
 * for memory most often. */
static int next_call(fault_kind kind, int at, int all)
{
    return all ? at + 1 : at + 1 + at / (kind == FAULT_SQLITE_MEMORY ? 1 : 3);
}

/* Do the operation with this call failing with each error it can have, once and for good; 0 if it is done before. */
static int fail_with_each_error(const operation *each, fault_kind kind, int at,
                                const outcome *expected)
{
    int errors = 1;

    for (int variant = 0; variant < errors; variant++) {
        for (int lasting = 0; lasting < 2; lasting++) {
            if (!fail_at(each, kind, at, lasting, variant, expected)) {
                return 0;
            }
            errors = fault.errors > errors ? fault.errors : errors;
        }
    }
    return 1;
}

#define WITH_A_LOG "PRAGMA journal_mode = wal"

static void fail_each_call(fault_kind kind, const char *journal_mode, const char *text_encoding)
{
    const char *only = getenv("DC_FAULTS_OF");
    const char *how = getenv("DC_FAULTS");
    int all = how != NULL && strcmp(how, "all") == 0;
    int64_t before = reported;
    int64_t rounds_before = rounds;
    int64_t held_before = held;
    int64_t lost_before = lost;
    int is_log = strcmp(journal_mode, WITH_A_LOG) == 0;

    journal = journal_mode;
    encoding = text_encoding;
    open_other();
    for (size_t i = 0; i < OPERATIONS; i++) {
        const operation *each = &operations[i];
        outcome expected;

        if (only != NULL && strcmp(only, each->name) != 0) {
            continue;
        }
        expected = without_a_fault(each);
        for (int at = 1, reached = 1; reached; at = next_call(kind, at, all)) {
            int turn = at + (int)i;

            /* The other connection stays open, so closing a session does not shorten the log. */
            database_execute(&other, "PRAGMA wal_checkpoint(TRUNCATE)");
            reached = all ? fail_with_each_error(each, kind, at, &expected)
                          : fail_at(each, kind, at, turn % 2, turn / 2, &expected);
        }
    }
    database_close(&other);
    CHECK(only != NULL || reported > before);
    CHECK(only != NULL || !is_log || ATOMIC_LLONG_LOCK_FREE != 2 ||
          (held > held_before && lost > lost_before));
    printf("#   %s: %lld calls failed in %lld rounds\n", fault_kinds[kind],
           (long long)(reported - before), (long long)(rounds - rounds_before));
}

static void each_call_of_sqlite_may_fail(void)
{
    fail_each_call(FAULT_SQLITE, WITH_A_LOG, NULL);
}

/* Others may use the directory, and it is another user's if that can be: what is made there is made alike. */
static void share_directory(void)
{
    CHECK_INT(0, chmod(check_directory(), 0770));
    CHECK(geteuid() != 0 || chown(check_directory(), 1, 1) == 0);
}

static void each_call_of_the_c_library_may_fail(void)
{
    share_directory();
    fail_each_call(FAULT_LIBC, WITH_A_LOG, NULL);
}

static void there_may_be_no_memory(void)
{
    fail_each_call(FAULT_MEMORY, WITH_A_LOG, NULL);
}

static void each_call_that_sqlite_makes_for_a_file_may_fail(void)
{
    fail_each_call(FAULT_SQLITE_FILES, WITH_A_LOG, NULL);
}

static void each_call_for_a_file_may_fail_without_a_log(void)
{
    fail_each_call(FAULT_SQLITE_FILES, "PRAGMA journal_mode = delete", NULL);
}

static void sqlite_may_have_no_memory(void)
{
    fail_each_call(FAULT_SQLITE_MEMORY, WITH_A_LOG, NULL);
}

/* SQLite converts each text that is read, for which it needs memory. */
static void sqlite_may_have_no_memory_for_text_of_utf16(void)
{
    fail_each_call(FAULT_SQLITE_MEMORY, WITH_A_LOG, "PRAGMA encoding = 'UTF-16'");
}

/* A file of that name is somebody's value, whatever cannot be found out about it. */
static void a_file_is_never_replaced(void)
{
    char content_of_file = '\0';
    int reached = 1;
    int errors = 1;

    for (int variant = 0; variant < errors; variant++) {
        for (int at = 1; at == 1 || reached; at++) {
            FILE *file;

            put_file(files[0], 'a');
            faults_arm(FAULT_LIBC, at, 0, variant);
            CHECK(dc_valuefile_write(check_directory(), 0700, files[0], "x", 1, &db.error) !=
                  DC_OK);
            faults_disarm();
            reached = fault.failed > 0;
            errors = fault.errors > errors ? fault.errors : errors;
            file = fopen(database_path(files[0]), "rb");
            CHECK(file != NULL && fread(&content_of_file, 1, 1, file) == 1);
            CHECK_INT('a', content_of_file);
            fclose(file);
        }
    }
}

/* A file system may know no owners and modes. */
static void a_file_that_cannot_be_made_alike_is_written(void)
{
    int chmods = 0;
    int chowns = 0;

    share_directory();
    for (int at = 1, reached = 1; reached; at++) {
        dc_status status;

        faults_arm(FAULT_LIBC, at, 0, at);
        status = write_file();
        faults_disarm();
        reached = fault.failed > 0;
        if (reached && strcmp(fault.name, "fchmod") == 0) {
            chmods += CHECK_INT(DC_OK, status);
        } else if (reached && strcmp(fault.name, "fchown") == 0) {
            chowns += CHECK_INT(DC_OK, status);
        }
    }
    CHECK(chmods > 0);
    CHECK(chowns > 0 || geteuid() != 0);
}

/* ---- One at a time ---------------------------------------------------------------------------------- */

/* A name is noted before its row goes, and the row stays if it cannot be noted. */
static void a_row_whose_file_cannot_be_noted_stays(void)
{
    open_store();
    set(text("k"), file_value("name", 10));
    dc_namelist_clear(&removed);
    faults_arm(FAULT_MEMORY, 1, 0, 0);
    CHECK_INT(DC_NO_MEMORY, dc_row_delete(&db, 1, "name", &removed));
    faults_arm(FAULT_MEMORY, 1, 0, 0);
    CHECK_INT(DC_NO_MEMORY, set_by(&roomy, text("k"), inline_value(integer(1)), NOW));
    faults_disarm();
    CHECK(!written);
    CHECK_INT(0, removed.count);
    CHECK_INT(1, database_integer(&db, "SELECT count(*) FROM Cache WHERE filename = 'name'"));
    close_store();
}

static void a_lock_held_by_another_is_busy(void)
{
    dc_db another;

    open_store();
    database_connect(&another);
    CHECK_INT(DC_OK, dc_db_begin(&another));
    CHECK_INT(DC_BUSY, set_by(&roomy, text("k"), inline_value(integer(1)), NOW));
    CHECK(!written);
    dc_db_rollback(&another);
    set(text("k"), inline_value(integer(1)));
    database_close(&another);
    close_store();
}

/* What is freed is kept for less long than usual: SQLite's memory is not checked, and slow. */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "quarantine_size_mb=4:malloc_context_size=8";
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(each_call_of_sqlite_may_fail),
        CHECK_TEST(each_call_of_the_c_library_may_fail),
        CHECK_TEST(there_may_be_no_memory),
        CHECK_TEST(each_call_that_sqlite_makes_for_a_file_may_fail),
        CHECK_TEST(each_call_for_a_file_may_fail_without_a_log),
        CHECK_TEST(sqlite_may_have_no_memory),
        CHECK_TEST(sqlite_may_have_no_memory_for_text_of_utf16),
        CHECK_TEST(a_file_is_never_replaced),
        CHECK_TEST(a_file_that_cannot_be_made_alike_is_written),
        CHECK_TEST(a_row_whose_file_cannot_be_noted_stays),
        CHECK_TEST(a_lock_held_by_another_is_busy),
    };

    if (access("/dev/shm", W_OK) == 0) {
        setenv("TMPDIR", "/dev/shm", 0);
    }
    dc_read_leases_suspend(); /* a thread ends them, whose calls nobody could count */
    return faults_install() ? check_main(argc, argv, tests, sizeof tests / sizeof *tests)
                            : database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
