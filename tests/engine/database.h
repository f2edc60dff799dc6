/* database.h: what the engine's tests of SQLite share: binding, a database with the schema, data.
 *
 * A program lists its tests as check.h says and hands them to database_main. Where no SQLite is to
 * be found every test is skipped, with the reason. DC_TEST_SQLITE may name a library to bind to in
 * place of the platform's.
 *
 * The engine itself opens no file and closes no handle: that is done here, as Python's sqlite3 does it for
 * the engine.
 */
#ifndef DC_DATABASE_H
#define DC_DATABASE_H

#include "check.h"
#include "engine/checkpoint.h"
#include "engine/db.h"

#include <dlfcn.h>

#define DATABASE_UNUSED __attribute__((unused))

/* ---- Binding -------------------------------------------------------------------------------- */

static dc_error database_binding_error;

/* What Python's sqlite3 calls; NULL before database_bind. */
static int (*database_sqlite_open)(const char *, sqlite3 **, int, const char *) DATABASE_UNUSED;
static int (*database_sqlite_close)(sqlite3 *) DATABASE_UNUSED;

enum { DATABASE_READWRITE = 0x2, DATABASE_OR_CREATE = 0x4 };

static inline int database_bind(void)
{
    const char *name = getenv("DC_TEST_SQLITE");
    void *library = dlopen(name != NULL ? name : "libsqlite3.so.0", RTLD_NOW | RTLD_GLOBAL);

    if (library == NULL) {
        dc_error_set(&database_binding_error, DC_SQLITE, "%s", dlerror());
        return 0;
    }
    *(void **)&database_sqlite_open = dlsym(library, "sqlite3_open_v2");
    *(void **)&database_sqlite_close = dlsym(library, "sqlite3_close_v2");
    return dc_sqlite_from_place(&sqlite, DC_SQLITE_OF_MODULE, (dc_function)database_sqlite_open,
                                &database_binding_error) == DC_OK;
}

static inline void database_skip(void)
{
    check_skip(database_binding_error.message);
}

static inline int database_main(int argc, char **argv, check_test *tests, size_t count)
{
    if (!database_bind()) {
        for (size_t i = 0; i < count; i++) {
            tests[i].run = database_skip;
        }
    }
    return check_main(argc, argv, tests, count);
}

/* ---- Data ----------------------------------------------------------------------------------- */

static const dc_datum null_datum DATABASE_UNUSED = {.type = DC_NULL};

static inline dc_datum integer(int64_t value)
{
    return (dc_datum){.type = DC_INTEGER, .as.integer = value};
}

static inline dc_datum real(double value)
{
    return (dc_datum){.type = DC_REAL, .as.real = value};
}

static inline dc_datum bytes(dc_type type, const char *data, size_t size)
{
    return (dc_datum){.type = type, .as.bytes = {data, size}};
}

static inline dc_datum text(const char *value)
{
    return bytes(DC_TEXT, value, strlen(value));
}

static inline int is_integer(int64_t expected, dc_datum datum)
{
    return datum.type == DC_INTEGER && datum.as.integer == expected;
}

static inline int is_real(double expected, dc_datum datum)
{
    return datum.type == DC_REAL && datum.as.real == expected;
}

static inline int is_bytes(dc_type type, const char *data, size_t size, dc_datum datum)
{
    return datum.type == type && datum.as.bytes.size == size &&
           (size == 0 || memcmp(datum.as.bytes.data, data, size) == 0);
}

static inline int is_text(const char *expected, dc_datum datum)
{
    return is_bytes(DC_TEXT, expected, strlen(expected), datum);
}

/* ---- Databases ------------------------------------------------------------------------------ */

/* The path of a file in the test's directory, until the next call. */
static inline const char *database_path(const char *name)
{
    static char path[sizeof check_scratch + 64];

    snprintf(path, sizeof path, "%s/%s", check_directory(), name);
    return path;
}

/* Copy a file of the test's directory to another. */
static inline void database_copy(const char *from, const char *to)
{
    FILE *source = fopen(database_path(from), "rb");
    FILE *target = fopen(database_path(to), "wb");
    char bytes[4096];
    size_t size;

    if (source == NULL || target == NULL)
        check_fatal(database_path(from));
    while ((size = fread(bytes, 1, sizeof bytes, source)) > 0)
        CHECK_INT(size, fwrite(bytes, 1, size, target));
    CHECK_INT(0, ferror(source));
    fclose(source);
    CHECK_INT(0, fclose(target));
}

/* Attach to the file as the engine attaches to a Connection. */
static inline dc_status database_open(dc_db *db, const char *path)
{
    sqlite3 *handle = NULL;
    int result = database_sqlite_open(path, &handle, DATABASE_READWRITE | DATABASE_OR_CREATE, NULL);
    dc_status status;

    memset(db, 0, sizeof *db);
    status = result == DC_SQLITE_OK ? dc_db_attach(db, handle)
                                    : dc_error_set(&db->error, DC_SQLITE, "cannot be opened");
    if (status != DC_OK) {
        database_sqlite_close(handle);
    }
    return status;
}

static inline void database_close(dc_db *db)
{
    sqlite3 *handle = db->handle;

    dc_db_detach(db);
    database_sqlite_close(handle); /* NULL will do */
}

static inline void database_close_inherited(dc_db *db)
{
    sqlite3 *handle = db->handle;

    dc_db_detach_inherited(db);
    database_sqlite_close(handle);
}

/* Run a statement that the test relies on. */
static inline void database_execute(dc_db *db, const char *sql)
{
    if (dc_db_execute(db, sql) != DC_OK) {
        printf("# %s: %s\n", sql, db->error.message);
        exit(2);
    }
}

static inline dc_status database_keep_integer(void *context, const dc_datum *first,
                                              const dc_datum *second)
{
    (void)second;
    *(int64_t *)context = first->type == DC_INTEGER ? first->as.integer : INT64_MIN;
    return DC_OK;
}

/* The integer that a query answers with; INT64_MIN if there is none. */
static inline int64_t database_integer(dc_db *db, const char *sql)
{
    int64_t value = INT64_MIN;

    CHECK_INT(DC_OK, dc_db_query(db, sql, database_keep_integer, &value));
    return value;
}

/* Open the test's database as a session would. */
static inline void database_connect(dc_db *db)
{
    int is_wal;
    int synchronous;

    if (database_open(db, database_path("cache.db")) != DC_OK) {
        printf("# cannot open the database: %s\n", db->error.message);
        exit(2);
    }
    database_execute(db, "PRAGMA journal_mode = wal");
    database_execute(db, "PRAGMA synchronous = off");
    dc_db_examine(db, &is_wal, &synchronous);
}

/* The same, and make what every cache directory has. */
static inline void database_create(dc_db *db)
{
    database_connect(db);
    for (size_t i = 0; i < DC_SCHEMA_COUNT; i++) {
        database_execute(db, dc_schema[i].create);
    }
    database_execute(db, "INSERT INTO Settings VALUES ('count', 0), ('size', 0), ('hits', 0),"
                         " ('misses', 0)");
}

/* Copy the log; *left receives the frames that remain in it. */
static inline dc_status database_checkpoint(dc_db *db, int *left)
{
    dc_status status = dc_db_checkpoint(db);

    if (status == DC_OK) {
        dc_log log = {.left = 0};

        dc_log_look(db, &log);
        *left = log.left > 0 ? (int)log.left : 0;
    }
    return status;
}

/* ---- Statements that fail ------------------------------------------------------------------- */

#define DATABASE_IO_ERROR 10

/* The step that brings it to 0 fails with DATABASE_IO_ERROR, without running; 0: none does. */
static int step_countdown;
static int step_count; /* steps since it was last set to 0 */
static int (*step_of_sqlite)(sqlite3_stmt *);

static inline int database_step(sqlite3_stmt *statement)
{
    step_count++;
    if (step_countdown > 0 && --step_countdown == 0) {
        return DATABASE_IO_ERROR;
    }
    return step_of_sqlite(statement);
}

/* Stand between the engine and sqlite3_step: count, and fail at the `countdown`th. */
static inline void database_watch_steps(int countdown)
{
    step_of_sqlite = sqlite.step;
    step_countdown = countdown;
    step_count = 0;
    sqlite.step = database_step;
}

static inline void database_unwatch_steps(void)
{
    sqlite.step = step_of_sqlite;
    step_countdown = 0;
}

#endif
