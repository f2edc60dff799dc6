/* fuzz_store.c: databases that somebody has written or damaged; the engine comes to an end with each.
 *
 * For libFuzzer, or with replay.c. The first byte says what the others are: rows of any types, or changes to the
 * bytes of a database, of a log or of both. Then each operation of the engine is done. It may fail. It may
 * not crash, leave a lock or a descriptor, or touch a file outside of the directory.
 */
#include "store.h"

#include "input.h"

#include "engine/access_log.h"
#include "engine/scan.h"
#include "engine/valuefile.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void insist(int held, const char *what)
{
    if (!held) {
        printf("not so: %s\n", what);
        abort();
    }
}

/* ---- The input -------------------------------------------------------------------------------- */

static uint64_t take_number(input *in, int width)
{
    uint64_t value = 0;

    for (int i = 0; i < width; i++) {
        value = value << 8 | take(in);
    }
    return value;
}

/* A value of any type, which may be a usual one. */
static dc_datum take_datum(input *in, dc_datum usual)
{
    unsigned kind = take(in) % 8;
    dc_datum datum = {.type = DC_NULL};

    if (kind == 0) {
        return usual;
    }
    if (kind == 2) {
        return integer((int64_t)take_number(in, 1) - 3);
    }
    if (kind == 3) {
        return integer((int64_t)take_number(in, 8));
    }
    if (kind == 4) {
        datum.type = DC_REAL;
        datum.as.integer = (int64_t)take_number(in, 8); /* the same bytes */
    }
    if (kind >= 5) {
        size_t size = take(in);
        const char *data = take_bytes(in, &size);

        datum = bytes(kind == 5 ? DC_BLOB : DC_TEXT, data, size);
    }
    return datum;
}

/* ---- Directories -------------------------------------------------------------------------------- */

#define FILE_NAME "ab/cd/0123456789abcdef0123456789ab.val"

static char outside[sizeof check_scratch + 16];
static char *images[2]; /* a database and a log, as they are to be */
static size_t sizes[2];
static const char *const names[2] = {"cache.db", "cache.db-wal"};

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");

    if (file == NULL || fwrite(data, 1, size, file) != size) {
        check_fatal(path);
    }
    fclose(file);
}

static size_t file_size(const char *path)
{
    struct stat facts;

    return stat(path, &facts) == 0 ? (size_t)facts.st_size : 0;
}

static char *read_file(const char *path, size_t *size)
{
    char *data;
    FILE *file = fopen(path, "rb");

    *size = file_size(path);
    data = malloc(*size + 1);
    if (file == NULL || data == NULL || fread(data, 1, *size, file) != *size) {
        check_fatal(path);
    }
    fclose(file);
    return data;
}

static void begin_directory(void)
{
    mkdir(database_path("ab"), 0777);
    mkdir(database_path("ab/cd"), 0777);
    write_file(database_path(FILE_NAME), "0123456789", 10);
}

static void remove_database(void)
{
    unlink(database_path("cache.db"));
    unlink(database_path("cache.db-wal"));
    unlink(database_path("cache.db-shm"));
    unlink(database_path("cache.db-journal"));
}

/* Rows of each kind, half of them in the log only. */
static void fill_usual_rows(void)
{
    char text_of_row[20];

    for (int i = 0; i < 40; i++) {
        snprintf(text_of_row, sizeof text_of_row, "q-%015d", 500 + i);
        set(i % 3 == 0 ? integer(i) : text(text_of_row),
            i % 5 == 0 ? file_value(FILE_NAME, 10) : inline_value(text(text_of_row)));
        if (i == 20) {
            dc_db_checkpoint(&db);
        }
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    setenv("TMPDIR", "/dev/shm", access("/dev/shm", W_OK) != 0);
    insist(database_bind(), "there is an SQLite");
    snprintf(outside, sizeof outside, "%s-outside", check_directory());
    write_file(outside, "untouched", 9);
    atexit(check_remove_directory);
    open_store();
    fill_usual_rows();
    for (int i = 0; i < 2; i++) {
        images[i] = read_file(database_path(names[i]), &sizes[i]);
    }
    close_store();
    remove_database();
    unlink(outside);
    return 0;
}

/* ---- Damage ----------------------------------------------------------------------------------------- */

static void insert_row(input *in)
{
    const dc_datum usual[] = {text("key"), integer(1), real(NOW),    null_datum,
                              real(NOW),   integer(0), null_datum,   integer(0),
                              integer(1),  null_datum, text("value")};
    sqlite3_stmt *statement = NULL;
    dc_query query = {.db = &db, .result = DC_SQLITE_OK};

    sqlite.prepare_v3(
        db.handle,
        "INSERT OR REPLACE INTO Cache (key, raw, store_time, expire_time, access_time,"
        " access_count, tag, size, mode, filename, value)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        -1, 0, &statement, NULL);
    query.statement = statement;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        const dc_datum value = take_datum(in, usual[i]);

        dc_query_bind(&query, &value);
    }
    if (statement != NULL && query.result == DC_SQLITE_OK) {
        sqlite.step(statement);
    }
    sqlite.finalize(statement);
}

static void insert_setting(input *in)
{
    static const char *const known[] = {"count",
                                        "size",
                                        "hits",
                                        "sqlite_cache_size",
                                        "sqlite_journal_mode",
                                        "sqlite_synchronous",
                                        "sqlite_mmap_size",
                                        "sqlite_page_size"};
    char name[40] = "sqlite_";
    unsigned which = take(in);
    dc_datum value;

    if (which % 2 == 0) {
        snprintf(name, sizeof name, "%s", known[which / 2 % (sizeof known / sizeof *known)]);
    } else {
        for (size_t i = 7; i < 20; i++) {
            name[i] = (char)take(in);
        }
    }
    value = take_datum(in, integer(1));
    if (value.type == DC_TEXT && value.as.bytes.size < 12 &&
        strncmp(name, "sqlite_temp", 11) == 0) {
        return; /* a directory for files of SQLite's */
    }
    dc_setting_set(&db, DC_SQL_SETTING_REPLACE, name, &value);
}

static void write_rows(input *in)
{
    if (take(in) % 2 == 1) {
        int is_wal;
        int synchronous;

        insist(database_open(&db, database_path("cache.db")) == DC_OK, "it can be opened");
        database_execute(&db, "PRAGMA encoding = 'UTF-16'");
        database_execute(&db, "PRAGMA journal_mode = wal");
        database_execute(&db, "PRAGMA synchronous = off");
        dc_db_examine(&db, &is_wal, &synchronous);
        for (size_t i = 0; i < DC_SCHEMA_COUNT; i++) {
            database_execute(&db, dc_schema[i].create);
        }
        database_execute(&db, "INSERT INTO Settings VALUES ('count', 0), ('size', 0)");
    } else {
        database_create(&db);
    }
    if (dc_db_begin(&db) == DC_OK) {
        for (int i = 0; i < 20 && in->left > 0; i++) {
            if (take(in) % 4 == 0) {
                insert_setting(in);
            } else {
                insert_row(in);
            }
        }
        dc_db_commit(&db);
    }
    database_close(&db);
}

/* Change bytes at places, then cut the files. */
static void write_images(input *in, int which)
{
    unsigned cuts = take(in);

    for (int i = 0; i < 2; i++) {
        size_t size = sizes[i];
        char *image = malloc(size + 1);

        insist(image != NULL, "there is memory");
        memcpy(image, images[i], size);
        while ((which & (1 << i)) != 0 && in->left > 0) {
            size_t at = (size_t)take_number(in, 2);
            unsigned page = take(in);

            if (page == 255) {
                break;
            }
            at = page % 2 == 0 ? at % 4096 : at + (size_t)page * 512;
            if (at < size) {
                image[at] ^= (char)take(in);
            }
        }
        if ((cuts >> i & 1) != 0) {
            size = size * (cuts >> 2) / 64;
        }
        write_file(database_path(names[i]), image, size);
        free(image);
    }
}

/* ---- Operations --------------------------------------------------------------------------------- */

static void read_file_of(const dc_row *row)
{
    char data[64];
    int descriptor;
    int64_t size;

    if (row->columns.filename == NULL ||
        dc_valuefile_open(check_directory(), row->columns.filename, &descriptor, &size,
                          &db.error) != DC_OK) {
        return;
    }
    dc_valuefile_read(descriptor, data, sizeof data, &db.error);
    dc_valuefile_close(descriptor);
}

static void read_all(void)
{
    dc_key_page page = {0};
    int64_t number = 0;
    dc_row row;

    dc_row_init(&row);
    for (dc_order order = DC_BY_ROWID; order <= DC_BY_KEY_DOWN; order++) {
        if (dc_scan_keys(&db, order, INT64_MIN, INT64_MAX, NULL, 50, &page) == DC_OK) {
            for (size_t i = 0; i < page.count; i++) {
                if (dc_row_get(&db, &page.keys[i], DC_DETAIL_ALL, &row) == DC_OK) {
                    read_file_of(&row);
                }
                dc_row_get(&db, &page.keys[i], DC_DETAIL_NONE, &row);
            }
            if (page.count > 0) {
                dc_key_page next = {0};

                dc_scan_keys(&db, order, INT64_MIN, INT64_MAX, &page.keys[page.count - 1], 5,
                             &next);
                dc_key_page_clear(&next);
            }
        }
        dc_key_page_clear(&page);
    }
    dc_scan_end(&db, 0, NULL, &row);
    dc_scan_end(&db, 1, NULL, &row);
    dc_scan_nth(&db, DC_FRONT, 1, &row);
    dc_scan_max_rowid(&db, &number);
    dc_setting_get(&db, "size", &row);
    dc_volume(&db, 1, &number);
    dc_row_clear(&row);
}

static void write_all(void)
{
    const dc_rules tight = {DC_POLICY_LEAST_RECENTLY_USED, 20000, 5, NULL};
    const dc_queue queue = prefixed("q");
    const dc_key key = raw_key(text("key"));
    const dc_columns value = inline_value(text("value"));
    const dc_datum one = integer(1);
    dc_access_log accesses = {0};
    dc_batch_delete deletion = {
        .sql = DC_SQL_BATCH_EXPIRED, .after = INT64_MIN, .parameter = real(NOW)};
    int64_t kept = 0;
    int64_t count = 0;
    int done;
    dc_row row;

    dc_row_init(&row);
    set_by(&roomy, text("key"), value, NOW);
    set_by(&tight, integer(3), value, NOW);
    set_by(&roomy, text("new"), file_value(FILE_NAME, 10), NOW);
    write_increment(&db, &key, &one, &value, NOW, &roomy, &removed, &sum, &created);
    touch(text("key"), expiring((dc_columns){0}, 9000.0), NOW);
    queue_push(&db, &integers, DC_BACK, &value, NOW, &roomy, &removed, &row, &written);
    queue_push(&db, &queue, DC_FRONT, &value, NOW, &roomy, &removed, &row, &written);
    if (dc_queue_end(&db, &queue, DC_FRONT, &row) == DC_OK) {
        dc_row_delete(&db, row.rowid, row.columns.filename, &removed);
    }
    dc_row_remove(&db, &key, NOW, &removed);
    dc_access_log_add(&accesses, 3, 1, NOW);
    dc_access_log_flush(&accesses, &db, DC_POLICY_LEAST_RECENTLY_USED);
    dc_access_log_clear(&accesses);
    dc_batch_delete_run(&db, &deletion, 0.05, &removed, &count, &done);
    dc_evict_to_volume(&db, DC_SQL_VICTIM_LEAST_RECENTLY_STORED, 30000, 0.05, &removed, &kept,
                       &count, &done);
    dc_row_clear(&row);
}

static void delete_all(void)
{
    dc_batch_delete deletion = {.sql = DC_SQL_BATCH_ALL, .after = INT64_MIN};
    int64_t count = 0;
    int done;

    dc_batch_delete_run(&db, &deletion, 0.05, &removed, &count, &done);
}

static void transact(void (*body)(void))
{
    if (dc_db_begin(&db) == DC_OK) {
        body();
        if (dc_db_commit(&db) == DC_OK) {
            for (const char *name = dc_namelist_next(&removed, NULL); name != NULL;
                 name = dc_namelist_next(&removed, name)) {
                dc_valuefile_remove(check_directory(), name);
            }
        }
    }
    dc_db_rollback(&db);
    dc_namelist_clear(&removed);
}

static void use(void)
{
    dc_checkpoint checkpoint = {.patience = 0.0};
    int is_wal;
    int synchronous;
    int kept = 0;
    int lacks = 0;

    if (database_open(&db, database_path("cache.db")) != DC_OK) {
        return;
    }
    dc_settings_apply_pragmas(&db, &kept, &lacks);
    dc_db_execute(&db, "PRAGMA synchronous = off");
    dc_db_examine(&db, &is_wal, &synchronous);
    dc_db_watch_header(&db, dc_db_wal_header(&db));
    read_all();
    transact(write_all);
    read_all();
    dc_checkpoint_in_any_case(&db, &checkpoint);
    transact(delete_all);
    insist(!dc_db_in_transaction(&db), "no transaction is left open");
    database_close(&db);
}

/* Somebody else is not kept out. */
static void check_unlocked(void)
{
    sqlite3 *handle = NULL;
    sqlite3_stmt *statement = NULL;

    if (database_sqlite_open(database_path("cache.db"), &handle, DATABASE_READWRITE, NULL) == 0 &&
        sqlite.prepare_v3(handle, "BEGIN IMMEDIATE", -1, 0, &statement, NULL) == 0) {
        insist(sqlite.step(statement) != DC_SQLITE_BUSY, "nothing is locked");
    }
    sqlite.finalize(statement);
    database_sqlite_close(handle);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    input in = {data, size};
    unsigned kind = take(&in) % 4;
    int descriptor = dup(0);

    close(descriptor);
    begin_directory();
    write_file(outside, "untouched", 9);
    if (kind == 0) {
        write_rows(&in);
    } else {
        write_images(&in, (int)kind);
    }
    use();
    check_unlocked();
    insist(file_size(outside) == 9, "what is outside is as it was");
    remove_database();
    unlink(outside);
    insist(dup(0) == descriptor, "all descriptors are closed");
    close(descriptor);
    return 0;
}
