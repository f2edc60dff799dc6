/* test_db.c: handles, transactions, pragmas, the log, queries.
 *
 * Two connections of one process stand for two processes: SQLite keeps their locks apart as well.
 * Where it must be another process (fork) it is one.
 */
#include "engine/db.h"

#include "database.h"

#include <math.h>

enum {
    SQLITE_CONSTRAINT_FOREIGNKEY = 787,
    SQLITE_TOOBIG = 18,
    SQLITE_MISUSE = 21,
    SQLITE_RANGE = 25,
    SQLITE_NOTADB = 26
};

static int64_t file_size(const char *name)
{
    struct stat facts;

    return stat(database_path(name), &facts) == 0 ? (int64_t)facts.st_size : -1;
}

static int is_zeroed(const dc_db *db)
{
    static const dc_db zeroed;

    return memcmp(db->statements, zeroed.statements, sizeof db->statements) == 0 &&
           db->handle == NULL && !db->is_utf8 && db->page_size == 0;
}

/* ---- Attaching and detaching ---------------------------------------------------------------- */

/* A handle as a sqlite3.Connection would have opened it. */
static sqlite3 *open_handle(void)
{
    sqlite3 *handle = NULL;

    CHECK_INT(DC_SQLITE_OK, database_sqlite_open(database_path("cache.db"), &handle,
                                                 DATABASE_READWRITE | DATABASE_OR_CREATE, NULL));
    return handle;
}

static void a_borrowed_handle_stays_open(void)
{
    sqlite3 *handle = open_handle();
    sqlite3_stmt *statement = NULL;
    dc_db db;

    CHECK_INT(DC_OK, dc_db_attach(&db, handle));
    database_execute(&db, "CREATE TABLE t (c)");
    dc_db_detach(&db);
    CHECK(is_zeroed(&db));
    CHECK_INT(DC_SQLITE_OK,
              sqlite.prepare_v3(handle, "INSERT INTO t VALUES (1)", -1, 0, &statement, NULL));
    CHECK_INT(DC_SQLITE_DONE, sqlite.step(statement));
    sqlite.finalize(statement);
    CHECK_INT(DC_SQLITE_OK, database_sqlite_close(handle));
}

static void an_open_transaction_on_a_borrowed_handle_is_left_to_its_owner(void)
{
    sqlite3 *handle = open_handle();
    dc_db db;

    CHECK_INT(DC_OK, dc_db_attach(&db, handle));
    CHECK_INT(DC_OK, dc_db_begin(&db));
    dc_db_detach(&db);
    CHECK(!sqlite.get_autocommit(handle));
    database_sqlite_close(handle);
}

static void a_handle_closed_behind_our_back_is_still_memory(void)
{
    sqlite3 *handle = open_handle();
    dc_db db;

    CHECK_INT(DC_OK, dc_db_attach(&db, handle));
    CHECK_INT(DC_SQLITE_OK, database_sqlite_close(handle));
    CHECK(!dc_db_in_transaction(&db));
    dc_db_detach(&db);
}

static void attaching_lets_old_triggers_quote_strings_with_double_quotes(void)
{
    sqlite3 *handle;
    dc_db db;

    database_create(&db);
    database_execute(&db, "DROP TRIGGER Settings_count_insert");
    database_execute(&db, "CREATE TRIGGER Settings_count_insert AFTER INSERT ON Cache BEGIN"
                          " UPDATE Settings SET value = value + 1 WHERE key = \"count\"; END");
    database_close(&db);
    handle = open_handle();
    sqlite.db_config(handle, DC_SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    CHECK_INT(DC_OK, dc_db_attach(&db, handle));
    CHECK_INT(DC_OK, dc_db_execute(&db, "INSERT INTO Cache (key, raw) VALUES (1, 1)"));
    CHECK_INT(1, database_integer(&db, "SELECT value FROM Settings WHERE key = 'count'"));
    dc_db_detach(&db);
    database_sqlite_close(handle);
}

static int prepare_nothing(sqlite3 *handle, const char *sql, int size, unsigned int flags,
                           sqlite3_stmt **statement, const char **rest)
{
    (void)handle, (void)sql, (void)size, (void)flags, (void)rest;
    *statement = NULL;
    return DATABASE_IO_ERROR;
}

static void an_attach_that_fails_lets_go_of_the_handle(void)
{
    int (*prepare_v3)(sqlite3 *, const char *, int, unsigned int, sqlite3_stmt **, const char **) =
        sqlite.prepare_v3;
    sqlite3 *handle = open_handle();
    dc_db db;

    sqlite.prepare_v3 = prepare_nothing;
    CHECK_INT(DC_SQLITE, dc_db_attach(&db, handle));
    CHECK_INT(DATABASE_IO_ERROR, db.error.sqlite_code);
    CHECK(is_zeroed(&db));
    sqlite.prepare_v3 = prepare_v3;
    CHECK_INT(DC_OK, dc_db_attach(&db, handle));
    dc_db_detach(&db);
    database_sqlite_close(handle);
}

static void a_file_that_is_no_database_is_an_error(void)
{
    FILE *file = fopen(database_path("cache.db"), "w");
    dc_db db;

    if (file == NULL) {
        check_fatal("fopen");
    }
    for (int i = 0; i < 1000; i++) {
        fputs("this is no database ", file);
    }
    fclose(file);
    CHECK_INT(DC_OK, database_open(&db, database_path("cache.db")));
    CHECK_INT(DC_SQLITE, dc_db_begin(&db));
    CHECK_INT(SQLITE_NOTADB, db.error.sqlite_code);
    CHECK_TEXT("file is not a database", db.error.message);
    database_close(&db);
}

static void detaching_twice_or_what_was_never_attached_does_nothing(void)
{
    dc_db db = {0};

    dc_db_detach(&db);
    dc_db_detach_inherited(&db);
    dc_db_abandon(&db);
    CHECK(!dc_db_in_transaction(&db));
    dc_db_rollback(&db);
    database_create(&db);
    database_close(&db);
    database_close(&db);
    CHECK(is_zeroed(&db));
}

/* ---- Fork ----------------------------------------------------------------------------------- */

static void closing_checkpoints_the_log(void)
{
    dc_db db;

    database_create(&db);
    CHECK(file_size("cache.db-wal") > 0);
    database_close(&db);
    CHECK_INT(-1, file_size("cache.db-wal"));
}

static void closing_an_inherited_handle_leaves_the_log(void)
{
    int64_t size;
    dc_db db;

    database_create(&db);
    size = file_size("cache.db-wal");
    database_close_inherited(&db);
    CHECK(is_zeroed(&db));
    CHECK_INT(size, file_size("cache.db-wal"));
    database_connect(&db);
    CHECK_INT(4, database_integer(&db, "SELECT count(*) FROM Settings"));
    database_close(&db);
}

#ifndef _WIN32 /* which has no fork, so that no handle is abandoned */

static void use_the_cache_in_the_child(void *context)
{
    dc_db *inherited = context;
    dc_db own;

    dc_db_abandon(inherited);
    CHECK(is_zeroed(inherited));
    database_connect(&own);
    CHECK_INT(0, database_integer(&own, "SELECT count(*) FROM Settings WHERE key = 'parent'"));
    CHECK_INT(DC_BUSY, dc_db_begin(&own)); /* the parent is still at it */
    database_close(&own);
}

static void a_transaction_abandoned_in_the_child_goes_on_in_the_parent(void)
{
    dc_db db;

    database_create(&db);
    CHECK_INT(DC_OK, dc_db_begin(&db));
    database_execute(&db, "INSERT INTO Settings VALUES ('parent', 1)");
    CHECK_INT(0, check_wait(check_fork(use_the_cache_in_the_child, &db)));
    CHECK(dc_db_in_transaction(&db));
    CHECK_INT(DC_OK, dc_db_commit(&db));
    CHECK_INT(1, database_integer(&db, "SELECT count(*) FROM Settings WHERE key = 'parent'"));
    database_close(&db);
    database_connect(&db);
    CHECK_INT(1, database_integer(&db, "SELECT count(*) FROM Settings WHERE key = 'parent'"));
    database_close(&db);
}

static void write_in_the_child(void *context)
{
    dc_db *inherited = context;
    dc_db own;

    database_close_inherited(inherited);
    database_connect(&own);
    CHECK_INT(DC_OK, dc_db_begin(&own));
    database_execute(&own, "INSERT INTO Settings VALUES ('child', 1)");
    CHECK_INT(DC_OK, dc_db_commit(&own));
    database_close(&own);
}

static void a_child_that_let_go_of_an_idle_handle_can_write(void)
{
    dc_db db;

    database_create(&db);
    CHECK_INT(0, check_wait(check_fork(write_in_the_child, &db)));
    CHECK_INT(1, database_integer(&db, "SELECT count(*) FROM Settings WHERE key = 'child'"));
    CHECK_INT(DC_OK, dc_db_begin(&db));
    database_execute(&db, "INSERT INTO Settings VALUES ('parent', 1)");
    CHECK_INT(DC_OK, dc_db_commit(&db));
    database_close(&db);
}

static int lock_exclusively(dc_db *db, int slot)
{
    return db->file->methods->shm_lock(db->file, slot, 1,
                                       DC_SQLITE_SHM_LOCK | DC_SQLITE_SHM_EXCLUSIVE);
}

/* In whichever mode it has them: those of a writer, of a checkpoint, and of a read. */
static void the_locks_of_an_abandoned_handle_are_free(void)
{
    static sqlite3 *handle; /* never to be closed, and still referred to */
    dc_db db;
    dc_db other;

    database_create(&db);
    database_execute(&db, "INSERT INTO Settings VALUES ('key', 1)");
    CHECK_INT(DC_OK, dc_db_begin_read(&db));
    CHECK_INT(5, database_integer(&db, "SELECT count(*) FROM Settings"));
    for (int slot = 0; slot <= 3; slot++) { /* a read of what the log has uses another than 3 */
        CHECK_INT(DC_SQLITE_OK, lock_exclusively(&db, slot));
    }
    handle = db.handle;
    for (int sql = 0; sql < DC_SQL_COUNT; sql++) { /* which would be leaked */
        sqlite.finalize(db.statements[sql]);
    }
    dc_db_abandon(&db);
    CHECK(is_zeroed(&db));
    CHECK(handle != NULL);
    database_connect(&other);
    for (int slot = 0; slot < DC_SQLITE_SHM_NLOCK; slot++) {
        CHECK_INT(0, database_integer(&other, "SELECT count(*) FROM Cache"));
        CHECK_INT(DC_SQLITE_OK, lock_exclusively(&other, slot));
        other.file->methods->shm_lock(other.file, slot, 1,
                                      DC_SQLITE_SHM_UNLOCK | DC_SQLITE_SHM_EXCLUSIVE);
    }
    CHECK_INT(DC_OK, dc_db_begin(&other));
    CHECK_INT(DC_OK, dc_db_commit(&other));
    CHECK_INT(0, database_integer(&other, "PRAGMA wal_checkpoint(TRUNCATE)"));
    database_close(&other);
}

static void a_handle_without_shared_memory_can_be_abandoned(void)
{
    sqlite3 *handle = open_handle();
    dc_db db;
    dc_db other;

    CHECK_INT(DC_OK, dc_db_attach(&db, handle));
    database_execute(&db, "CREATE TABLE t (c)");
    CHECK_INT(DC_OK, dc_db_begin(&db));
    for (int sql = 0; sql < DC_SQL_COUNT; sql++) { /* which would be leaked */
        sqlite.finalize(db.statements[sql]);
        db.statements[sql] = NULL;
    }
    dc_db_abandon(&db);
    CHECK(is_zeroed(&db));
    CHECK_INT(DC_OK, database_open(&other, database_path("cache.db")));
    CHECK_INT(DC_OK, dc_db_begin(&other)); /* no lock is left */
    dc_db_rollback(&other);
    database_close(&other);
    database_sqlite_close(handle);
}

#endif

/* ---- Transactions --------------------------------------------------------------------------- */

static void what_is_committed_is_seen_by_others(void)
{
    const char *query = "SELECT count(*) FROM Settings WHERE key = 'new'";
    dc_db db;
    dc_db other;

    database_create(&db);
    database_connect(&other);
    CHECK(!dc_db_in_transaction(&db));
    CHECK_INT(DC_OK, dc_db_begin(&db));
    CHECK(dc_db_in_transaction(&db));
    database_execute(&db, "INSERT INTO Settings VALUES ('new', 1)");
    CHECK_INT(0, database_integer(&other, query));
    CHECK_INT(DC_OK, dc_db_commit(&db));
    CHECK(!dc_db_in_transaction(&db));
    CHECK_INT(1, database_integer(&other, query));
    database_close(&other);
    database_close(&db);
}

static void what_is_rolled_back_is_gone(void)
{
    dc_db db;

    database_create(&db);
    CHECK_INT(DC_OK, dc_db_begin(&db));
    database_execute(&db, "DELETE FROM Settings");
    dc_db_rollback(&db);
    CHECK(!dc_db_in_transaction(&db));
    CHECK_INT(4, database_integer(&db, "SELECT count(*) FROM Settings"));
    dc_db_rollback(&db); /* without a transaction: nothing to do */
    database_close(&db);
}

static void begin_is_busy_while_another_writes(void)
{
    dc_db db;
    dc_db other;

    database_create(&db);
    database_connect(&other);
    CHECK_INT(DC_OK, dc_db_begin(&other));
    CHECK_INT(DC_BUSY, dc_db_begin(&db));
    CHECK_INT(DC_SQLITE_BUSY, db.error.sqlite_code & 0xff);
    CHECK_TEXT("database is locked", db.error.message);
    CHECK(!dc_db_in_transaction(&db));
    dc_db_rollback(&other);
    CHECK_INT(DC_OK, dc_db_begin(&db));
    dc_db_rollback(&db);
    database_close(&other);
    database_close(&db);
}

static void transactions_do_not_nest(void)
{
    dc_db db;

    database_create(&db);
    CHECK_INT(DC_SQLITE, dc_db_commit(&db));
    CHECK_CONTAINS("no transaction is active", db.error.message);
    CHECK_INT(DC_OK, dc_db_begin(&db));
    CHECK_INT(DC_SQLITE, dc_db_begin(&db));
    CHECK_CONTAINS("within a transaction", db.error.message);
    CHECK(dc_db_in_transaction(&db));
    CHECK_INT(DC_OK, dc_db_commit(&db));
    database_close(&db);
}

static void a_commit_that_fails_is_rolled_back(void)
{
    dc_db db;

    database_create(&db);
    database_execute(&db, "PRAGMA foreign_keys = on");
    database_execute(&db, "CREATE TABLE parent (id INTEGER PRIMARY KEY)");
    database_execute(&db, "CREATE TABLE child (id REFERENCES parent DEFERRABLE"
                          " INITIALLY DEFERRED)");
    CHECK_INT(DC_OK, dc_db_begin(&db));
    database_execute(&db, "INSERT INTO child VALUES (1)");
    CHECK_INT(DC_SQLITE, dc_db_commit(&db));
    CHECK_INT(SQLITE_CONSTRAINT_FOREIGNKEY, db.error.sqlite_code);
    CHECK_TEXT("FOREIGN KEY constraint failed", db.error.message);
    CHECK(!dc_db_in_transaction(&db));
    CHECK_INT(0, database_integer(&db, "SELECT count(*) FROM child"));
    CHECK_INT(DC_OK, dc_db_begin(&db));
    CHECK_INT(DC_OK, dc_db_commit(&db));
    database_close(&db);
}

static void a_reader_in_the_way_keeps_the_transaction_open(void)
{
    dc_db db;
    dc_db reader;

    database_create(&db);
    database_execute(&db, "PRAGMA journal_mode = delete");
    CHECK_INT(DC_OK, database_open(&reader, database_path("cache.db")));
    database_execute(&reader, "BEGIN");
    CHECK_INT(4, database_integer(&reader, "SELECT count(*) FROM Settings"));
    CHECK_INT(DC_OK, dc_db_begin(&db));
    database_execute(&db, "INSERT INTO Settings VALUES ('new', 1)");
    CHECK_INT(DC_BUSY, dc_db_commit(&db));
    CHECK(dc_db_in_transaction(&db));
    CHECK_INT(DC_BUSY, dc_db_commit(&db));
    dc_db_rollback(&reader);
    CHECK_INT(DC_OK, dc_db_commit(&db));
    CHECK_INT(5, database_integer(&reader, "SELECT count(*) FROM Settings"));
    database_close(&reader);
    database_close(&db);
}

static void rolling_back_voids_the_forecast(void)
{
    dc_db db;

    database_create(&db);
    db.budget.known = 1;
    dc_db_rollback(&db);
    CHECK(!db.budget.known);
    database_close(&db);
}

static void the_data_version_tells_of_another_connections_commits(void)
{
    unsigned int version;
    dc_db db;
    dc_db other;

    database_create(&db);
    database_connect(&other);
    database_integer(&db, "SELECT count(*) FROM Settings");
    version = dc_db_data_version(&db);
    database_integer(&db, "SELECT count(*) FROM Settings");
    CHECK_INT(version, dc_db_data_version(&db));
    database_execute(&other, "INSERT INTO Settings VALUES ('new', 1)");
    CHECK_INT(DC_OK, dc_db_begin(&db));
    CHECK(version != dc_db_data_version(&db));
    dc_db_rollback(&db);
    database_close(&other);
    database_close(&db);
}

/* ---- Pragmas -------------------------------------------------------------------------------- */

static void the_busy_timeout_is_zero_unless_set(void)
{
    static const struct {
        double seconds;
        int64_t milliseconds;
    } cases[] = {{0.5, 500}, {0.0001, 1},         {60.0, 60000}, {0.0, 0},
                 {-1.0, 0},  {1e300, 2000000000}, {NAN, 0},      {INFINITY, 2000000000}};
    dc_db db;

    database_create(&db);
    CHECK_INT(0, database_integer(&db, "PRAGMA busy_timeout"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dc_db_busy_timeout(&db, cases[i].seconds);
        CHECK_INT(cases[i].milliseconds, database_integer(&db, "PRAGMA busy_timeout"));
    }
    database_close(&db);
}

static dc_status set_pragma(dc_db *db, const char *name, dc_datum value)
{
    dc_error_clear(&db->error);
    return dc_db_set_pragma(db, name, &value);
}

static void pragmas_take_integers_reals_and_words(void)
{
    dc_db db;

    database_create(&db);
    CHECK_INT(DC_OK, set_pragma(&db, "cache_size", integer(1234)));
    CHECK_INT(1234, database_integer(&db, "PRAGMA cache_size"));
    CHECK_INT(DC_OK, set_pragma(&db, "cache_size", integer(-99)));
    CHECK_INT(-99, database_integer(&db, "PRAGMA cache_size"));
    CHECK_INT(DC_OK, set_pragma(&db, "cache_size", real(77.0)));
    CHECK_INT(77, database_integer(&db, "PRAGMA cache_size"));
    CHECK_INT(DC_OK, set_pragma(&db, "synchronous", text("NORMAL")));
    CHECK_INT(1, database_integer(&db, "PRAGMA synchronous"));
    CHECK_INT(DC_OK, set_pragma(&db, "no_such_pragma", integer(1))); /* as SQLite has it */
    database_close(&db);
}

/* Setting the journal mode anew would need the write lock. */
static void a_pragma_that_has_the_value_is_not_set_again(void)
{
    dc_db db;
    dc_db other;

    database_create(&db);
    database_connect(&other);
    CHECK_INT(DC_OK, dc_db_begin(&other));
    database_watch_steps(0);
    CHECK_INT(DC_OK, set_pragma(&db, "journal_mode", text("WAL")));
    CHECK_INT(2, step_count); /* the row and the end of one query */
    step_count = 0;
    CHECK_INT(DC_OK, set_pragma(&db, "synchronous", integer(0)));
    CHECK_INT(2, step_count);
    step_count = 0;
    CHECK_INT(DC_OK, set_pragma(&db, "synchronous", integer(1)));
    CHECK(step_count > 2);
    database_unwatch_steps();
    CHECK_INT(DC_BUSY, set_pragma(&db, "journal_mode", text("delete")));
    dc_db_rollback(&other);
    database_close(&other);
    database_close(&db);
}

static void names_and_values_that_could_be_more_are_refused(void)
{
    static const char *const names[] = {
        "", "a b", "x;y", "cache_size = 1", "x2", "na\xc3\xafve", "main.cache_size"};
    static const char *const values[] = {"",    "a b",     "1; DROP TABLE Cache", "'wal'", "wal-2",
                                         "(1)", "\xc3\xa9"};
    char longest[64];
    dc_db db;

    database_create(&db);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        CHECK_INT(DC_TYPE, set_pragma(&db, names[i], integer(1)));
        CHECK_CONTAINS("not a valid pragma or value", db.error.message);
    }
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        CHECK_INT(DC_TYPE, set_pragma(&db, "journal_mode", text(values[i])));
    }
    CHECK_TEXT("sqlite_journal_mode: not a valid pragma or value", db.error.message);
    CHECK_INT(DC_TYPE, set_pragma(&db, "cache_size", null_datum));
    CHECK_INT(DC_TYPE, set_pragma(&db, "cache_size", bytes(DC_BLOB, "1", 1)));
    CHECK_INT(DC_TYPE, set_pragma(&db, "cache_size", bytes(DC_TEXT, "w\0l", 3)));
    CHECK_INT(DC_TYPE, set_pragma(&db, "cache_size", real(NAN)));
    CHECK_INT(DC_TYPE, set_pragma(&db, "cache_size", real(INFINITY)));
    memset(longest, 'x', sizeof longest);
    CHECK_INT(DC_TYPE, set_pragma(&db, "cache_size", bytes(DC_TEXT, longest, sizeof longest)));
    CHECK_INT(DC_OK, set_pragma(&db, "no_such", bytes(DC_TEXT, longest, sizeof longest - 1)));
    longest[sizeof longest - 1] = '\0';
    CHECK_INT(DC_OK, set_pragma(&db, longest, integer(INT64_MIN)));
    database_close(&db);
}

static void a_word_that_is_no_sql_is_sqlites_error(void)
{
    dc_db db;

    database_create(&db);
    CHECK_INT(DC_SQLITE, set_pragma(&db, "cache_size", text("2abc")));
    CHECK_CONTAINS("unrecognized token", db.error.message);
    CHECK_INT(DC_SQLITE, set_pragma(&db, "select", integer(1)));
    CHECK_CONTAINS("syntax error", db.error.message);
    database_close(&db);
}

static void what_decides_the_speed_of_a_handle_is_found_out(void)
{
    int is_wal;
    int synchronous;
    dc_db db;

    CHECK_INT(DC_OK, database_open(&db, database_path("cache.db")));
    database_execute(&db, "CREATE TABLE t (c)");
    dc_db_examine(&db, &is_wal, &synchronous);
    CHECK(!is_wal);
    CHECK_INT(2, synchronous);
    CHECK(db.is_utf8);
    database_execute(&db, "PRAGMA journal_mode = wal");
    database_execute(&db, "PRAGMA synchronous = normal");
    dc_db_examine(&db, &is_wal, &synchronous);
    CHECK(is_wal);
    CHECK_INT(1, synchronous);
    database_close(&db);
}

static void what_cannot_be_found_out_counts_as_slow(void)
{
    int is_wal;
    int synchronous;
    dc_db db;

    database_create(&db);
    database_execute(&db, "PRAGMA synchronous = normal");
    database_watch_steps(1);
    dc_db_examine(&db, &is_wal, &synchronous);
    CHECK(!is_wal);
    CHECK_INT(1, synchronous);
    step_countdown = 3; /* the first two are journal_mode's */
    dc_db_examine(&db, &is_wal, &synchronous);
    CHECK(is_wal);
    CHECK_INT(2, synchronous);
    step_countdown = 5;
    dc_db_examine(&db, &is_wal, &synchronous);
    CHECK(!db.is_utf8);
    database_unwatch_steps();
    database_close(&db);
}

/* ---- The log -------------------------------------------------------------------------------- */

static void fill(dc_db *db)
{
    database_execute(db, "INSERT INTO Settings WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL"
                         " SELECT i + 1 FROM n WHERE i < 2000)"
                         " SELECT 'k' || i, zeroblob(4000) FROM n");
}

static void nobody_checkpoints_unless_asked(void)
{
    int left = -1;
    int64_t size;
    dc_db db;

    database_create(&db);
    size = file_size("cache.db");
    fill(&db);
    CHECK(db.wal_pages > 2000); /* SQLite's own limit is 1000 */
    CHECK_INT(size, file_size("cache.db"));
    CHECK_INT(DC_OK, database_checkpoint(&db, &left));
    CHECK_INT(0, left);
    CHECK(file_size("cache.db") > 2000 * 4000);
    database_execute(&db, "INSERT INTO Settings VALUES ('new', 1)");
    CHECK(db.wal_pages < 10); /* the log begins anew */
    database_close(&db);
}

static void pages_that_a_reader_needs_remain_in_the_log(void)
{
    int left = -1;
    dc_db db;
    dc_db reader;

    database_create(&db);
    database_connect(&reader);
    database_execute(&reader, "BEGIN");
    database_integer(&reader, "SELECT count(*) FROM Settings");
    fill(&db);
    CHECK_INT(DC_OK, database_checkpoint(&db, &left));
    CHECK(left > 2000 && left <= db.wal_pages);
    dc_db_rollback(&reader);
    CHECK_INT(DC_OK, database_checkpoint(&db, &left));
    CHECK_INT(0, left);
    database_close(&reader);
    database_close(&db);
}

static void without_a_log_nothing_is_left(void)
{
    int left = -1;
    dc_db db;

    CHECK_INT(DC_OK, database_open(&db, database_path("cache.db")));
    database_execute(&db, "CREATE TABLE t (c)");
    CHECK_INT(DC_OK, database_checkpoint(&db, &left));
    CHECK_INT(0, left);
    database_close(&db);
}

static void inside_a_transaction_a_checkpoint_is_busy(void)
{
    int left = 17;
    dc_db db;

    database_create(&db);
    CHECK_INT(DC_OK, dc_db_begin(&db));
    database_execute(&db, "INSERT INTO Settings VALUES ('new', 1)");
    CHECK_INT(DC_BUSY, database_checkpoint(&db, &left));
    CHECK_INT(DC_SQLITE_LOCKED, db.error.sqlite_code & 0xff);
    CHECK_INT(17, left);
    CHECK_INT(DC_OK, dc_db_commit(&db));
    CHECK_INT(DC_OK, database_checkpoint(&db, &left));
    database_close(&db);
}

static int version_of_the_test;

static int pretend_version(void)
{
    return version_of_the_test;
}

static void versions_with_the_wal_reset_race_are_known(void)
{
    static const struct {
        int version;
        int race;
    } cases[] = {{3007000, 1}, {3035000, 1}, {3040001, 1}, {3044005, 1}, {3044006, 0}, {3044007, 0},
                 {3044999, 0}, {3045000, 1}, {3050006, 1}, {3050007, 0}, {3050999, 0}, {3051000, 1},
                 {3051002, 1}, {3051003, 0}, {3052000, 0}, {4000000, 0}};
    int (*libversion_number)(void) = sqlite.libversion_number;

    sqlite.libversion_number = pretend_version;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        version_of_the_test = cases[i].version;
        if (!CHECK_INT(cases[i].race, dc_sqlite_has_wal_reset_race())) {
            printf("# version %d\n", cases[i].version);
        }
    }
    sqlite.libversion_number = libversion_number;
}

/* ---- Queries that are not kept -------------------------------------------------------------- */

struct rows {
    int count;
    int stop_at;
    dc_type first;
    dc_type second;
    int64_t sum;
};

static dc_status count_row(void *context, const dc_datum *first, const dc_datum *second)
{
    struct rows *rows = context;

    rows->count++;
    rows->first = first->type;
    rows->second = second->type;
    rows->sum += first->type == DC_INTEGER ? first->as.integer : 0;
    return rows->count == rows->stop_at ? DC_CALLBACK : DC_OK;
}

static void a_query_hands_out_two_columns_of_each_row(void)
{
    struct rows rows = {0};
    dc_db db;

    database_create(&db);
    CHECK_INT(DC_OK, dc_db_query(&db, "VALUES (1, 'a', 'x'), (2, x'00', 'x')", count_row, &rows));
    CHECK_INT(2, rows.count);
    CHECK_INT(3, rows.sum);
    CHECK_INT(DC_BLOB, rows.second);
    CHECK_INT(DC_OK, dc_db_query(&db, "SELECT 0.5", count_row, &rows));
    CHECK_INT(DC_REAL, rows.first);
    CHECK_INT(DC_NULL, rows.second);
    rows.count = 0;
    CHECK_INT(DC_OK, dc_db_query(&db, "SELECT 1 WHERE 0", count_row, &rows));
    CHECK_INT(0, rows.count);
    CHECK_INT(DC_OK, dc_db_query(&db, "VALUES (1), (2)", NULL, NULL));
    database_close(&db);
}

static void what_the_callback_returns_ends_the_query(void)
{
    struct rows rows = {.stop_at = 2};
    dc_db db;

    database_create(&db);
    CHECK_INT(DC_CALLBACK, dc_db_query(&db, "VALUES (1), (2), (3)", count_row, &rows));
    CHECK_INT(2, rows.count);
    database_execute(&db, "DROP TABLE Settings"); /* no statement is left in its way */
    database_close(&db);
}

static void sql_that_is_wrong_is_an_error(void)
{
    dc_db db;

    database_create(&db);
    CHECK_INT(DC_SQLITE, dc_db_execute(&db, "no SQL at all"));
    CHECK_INT(DC_SQLITE_ERROR, db.error.sqlite_code);
    CHECK_CONTAINS("syntax error", db.error.message);
    CHECK_INT(DC_SQLITE, dc_db_execute(&db, "SELECT * FROM nowhere"));
    CHECK_TEXT("no such table: nowhere", db.error.message);
    CHECK_INT(DC_SQLITE, dc_db_execute(&db, "INSERT INTO Settings VALUES ('count', 1)"));
    CHECK_INT(2067, db.error.sqlite_code); /* SQLITE_CONSTRAINT_UNIQUE */
    CHECK_INT(DC_SQLITE, dc_db_execute(&db, ""));
    CHECK_INT(SQLITE_MISUSE, db.error.sqlite_code);
    database_close(&db);
}

/* ---- Prepared statements -------------------------------------------------------------------- */

static dc_status store(dc_db *db, dc_datum value)
{
    dc_query query;

    dc_query_start(&query, db, DC_SQL_SETTING_REPLACE);
    dc_query_bind_text(&query, "name");
    dc_query_bind(&query, &value);
    return dc_query_run(&query);
}

/* Start reading the value back. Whoever calls this ends the query. */
static dc_datum start_reading(dc_query *query, dc_db *db)
{
    dc_query_start(query, db, DC_SQL_SETTING_GET);
    dc_query_bind_text(query, "name");
    if (!CHECK_INT(DC_OK, dc_query_step(query))) {
        return null_datum;
    }
    return dc_query_column(query, 0);
}

static void check_round_trip(dc_db *db, dc_datum value)
{
    dc_datum found;
    dc_query query;

    if (!CHECK_INT(DC_OK, store(db, value))) {
        return;
    }
    found = start_reading(&query, db);
    CHECK_INT(value.type, found.type);
    if (value.type == DC_INTEGER) {
        CHECK(is_integer(value.as.integer, found));
        CHECK_INT(value.as.integer, dc_query_integer(&query, 0));
    } else if (value.type == DC_REAL) {
        CHECK(is_real(value.as.real, found));
        CHECK(dc_query_real(&query, 0) == value.as.real);
    } else if (value.type != DC_NULL) {
        CHECK(is_bytes(value.type, value.as.bytes.data, value.as.bytes.size, found));
    }
    CHECK_INT(DC_NOT_FOUND, dc_query_step(&query));
    dc_query_end(&query);
}

static void check_all_round_trips(dc_db *db)
{
    enum { LARGE = 5 * 1000 * 1000 };
    char *large = malloc(LARGE);

    if (large == NULL) {
        check_fatal("malloc");
    }
    memset(large, 'x', LARGE);
    check_round_trip(db, null_datum);
    check_round_trip(db, integer(0));
    check_round_trip(db, integer(INT64_MIN));
    check_round_trip(db, integer(INT64_MAX));
    check_round_trip(db, real(0.1));
    check_round_trip(db, real(-1e308));
    check_round_trip(db, real(INFINITY));
    check_round_trip(db, text("text"));
    check_round_trip(db, text("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
    check_round_trip(db, text(""));
    check_round_trip(db, bytes(DC_TEXT, NULL, 0));
    check_round_trip(db, bytes(DC_TEXT, "a\0b\0", 4));
    check_round_trip(db, bytes(DC_TEXT, "\0", 1));
    check_round_trip(db, bytes(DC_BLOB, "\0\xff\0", 3));
    check_round_trip(db, bytes(DC_BLOB, "", 0));
    check_round_trip(db, bytes(DC_BLOB, NULL, 0));
    check_round_trip(db, bytes(DC_TEXT, large, LARGE));
    check_round_trip(db, bytes(DC_BLOB, large, LARGE));
    free(large);
}

static void values_of_every_type_come_back(void)
{
    dc_db db;

    database_create(&db);
    CHECK(db.is_utf8);
    check_all_round_trips(&db);
    db.is_utf8 = 0; /* as long as the encoding is not known, by another way */
    check_all_round_trips(&db);
    database_close(&db);
}

static void a_database_in_utf_16_gives_utf_8(void)
{
    int is_wal;
    int synchronous;
    dc_db db;

    CHECK_INT(DC_OK, database_open(&db, database_path("cache.db")));
    database_execute(&db, "PRAGMA encoding = 'UTF-16'");
    for (size_t i = 0; i < DC_SCHEMA_COUNT; i++) {
        database_execute(&db, dc_schema[i].create);
    }
    dc_db_examine(&db, &is_wal, &synchronous);
    CHECK(!db.is_utf8);
    check_all_round_trips(&db);
    database_close(&db);
}

static void binding_no_text_binds_null(void)
{
    dc_datum found;
    dc_query query;
    dc_db db;

    database_create(&db);
    dc_query_start(&query, &db, DC_SQL_SETTING_REPLACE);
    dc_query_bind_text(&query, "name");
    dc_query_bind_text(&query, NULL);
    CHECK_INT(DC_OK, dc_query_run(&query));
    found = start_reading(&query, &db);
    CHECK_INT(DC_NULL, found.type);
    dc_query_end(&query);
    database_close(&db);
}

static void a_failed_bind_comes_back_from_the_step(void)
{
    dc_query query;
    dc_db db;

    database_create(&db);
    dc_query_start(&query, &db, DC_SQL_SETTING_GET);
    dc_query_bind_text(&query, "count");
    dc_query_bind_integer(&query, 1); /* there is no second parameter */
    dc_query_bind_real(&query, 1.0);
    CHECK_INT(DC_SQLITE, dc_query_step(&query));
    CHECK_INT(SQLITE_RANGE, db.error.sqlite_code);
    dc_query_end(&query);
    CHECK_INT(DC_SQLITE, dc_query_run(&query));
    dc_query_start(&query, &db, DC_SQL_SETTING_GET); /* the statement is as good as new */
    dc_query_bind_text(&query, "count");
    CHECK_INT(DC_OK, dc_query_step(&query));
    dc_query_end(&query);
    database_close(&db);
}

static void a_value_too_large_for_sqlite_is_an_error(void)
{
    dc_db db;

    database_create(&db);
    /* SQLite looks at the size before it looks at the bytes. */
    CHECK_INT(DC_SQLITE, store(&db, bytes(DC_BLOB, "x", (size_t)3 << 30)));
    CHECK_INT(SQLITE_TOOBIG, db.error.sqlite_code);
    CHECK_INT(DC_SQLITE, store(&db, bytes(DC_TEXT, "x", (size_t)3 << 30)));
    CHECK_INT(SQLITE_TOOBIG, db.error.sqlite_code);
    CHECK_INT(DC_OK, store(&db, integer(1)));
    database_close(&db);
}

static void a_statement_that_cannot_be_prepared_is_tried_again(void)
{
    const dc_datum key = text("name");
    dc_query query;
    dc_db db;

    CHECK_INT(DC_OK, database_open(&db, database_path("cache.db")));
    dc_query_start(&query, &db, DC_SQL_SETTING_REPLACE);
    dc_query_bind_text(&query, "name");
    dc_query_bind(&query, &key);
    dc_query_bind_integer(&query, 1);
    dc_query_bind_real(&query, 1.0);
    CHECK_INT(DC_SQLITE, dc_query_step(&query));
    CHECK_TEXT("no such table: Settings", db.error.message);
    dc_query_end(&query);
    database_execute(&db, dc_schema[0].create);
    CHECK_INT(DC_OK, store(&db, integer(1)));
    database_close(&db);
}

static void a_statement_is_prepared_once(void)
{
    sqlite3_stmt *statement;
    dc_db db;

    database_create(&db);
    CHECK(db.statements[DC_SQL_SETTING_REPLACE] == NULL);
    CHECK_INT(DC_OK, store(&db, integer(1)));
    statement = db.statements[DC_SQL_SETTING_REPLACE];
    CHECK(statement != NULL);
    CHECK_INT(DC_OK, store(&db, integer(2)));
    CHECK(db.statements[DC_SQL_SETTING_REPLACE] == statement);
    database_close(&db);
}

static void a_statement_survives_a_change_of_the_schema(void)
{
    dc_datum found;
    dc_query query;
    dc_db db;
    dc_db other;

    database_create(&db);
    CHECK_INT(DC_OK, store(&db, integer(1)));
    found = start_reading(&query, &db);
    CHECK(is_integer(1, found));
    dc_query_end(&query);
    database_connect(&other);
    database_execute(&other, "CREATE TABLE another (c)");
    database_close(&other);
    CHECK_INT(DC_OK, store(&db, integer(2)));
    found = start_reading(&query, &db);
    CHECK(is_integer(2, found));
    dc_query_end(&query);
    database_close(&db);
}

static void an_error_while_stepping_is_told_and_leaves_nothing_open(void)
{
    dc_query query;
    dc_db db;

    database_create(&db);
    database_watch_steps(1);
    CHECK_INT(DC_SQLITE, store(&db, integer(1)));
    database_unwatch_steps();
    CHECK_INT(DATABASE_IO_ERROR, db.error.sqlite_code);
    CHECK_INT(DC_OK, store(&db, integer(2)));
    start_reading(&query, &db);
    dc_query_end(&query);
    database_execute(&db, "DROP TABLE Cache");
    database_close(&db);
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(a_borrowed_handle_stays_open),
        CHECK_TEST(an_open_transaction_on_a_borrowed_handle_is_left_to_its_owner),
        CHECK_TEST(a_handle_closed_behind_our_back_is_still_memory),
        CHECK_TEST(attaching_lets_old_triggers_quote_strings_with_double_quotes),
        CHECK_TEST(an_attach_that_fails_lets_go_of_the_handle),
        CHECK_TEST(a_file_that_is_no_database_is_an_error),
        CHECK_TEST(detaching_twice_or_what_was_never_attached_does_nothing),
        CHECK_TEST(closing_checkpoints_the_log),
        CHECK_TEST(closing_an_inherited_handle_leaves_the_log),
#ifndef _WIN32
        CHECK_TEST(a_transaction_abandoned_in_the_child_goes_on_in_the_parent),
        CHECK_TEST(a_child_that_let_go_of_an_idle_handle_can_write),
        CHECK_TEST(the_locks_of_an_abandoned_handle_are_free),
        CHECK_TEST(a_handle_without_shared_memory_can_be_abandoned),
#endif
        CHECK_TEST(what_is_committed_is_seen_by_others),
        CHECK_TEST(what_is_rolled_back_is_gone),
        CHECK_TEST(begin_is_busy_while_another_writes),
        CHECK_TEST(transactions_do_not_nest),
        CHECK_TEST(a_commit_that_fails_is_rolled_back),
        CHECK_TEST(a_reader_in_the_way_keeps_the_transaction_open),
        CHECK_TEST(rolling_back_voids_the_forecast),
        CHECK_TEST(the_data_version_tells_of_another_connections_commits),
        CHECK_TEST(the_busy_timeout_is_zero_unless_set),
        CHECK_TEST(pragmas_take_integers_reals_and_words),
        CHECK_TEST(a_pragma_that_has_the_value_is_not_set_again),
        CHECK_TEST(names_and_values_that_could_be_more_are_refused),
        CHECK_TEST(a_word_that_is_no_sql_is_sqlites_error),
        CHECK_TEST(what_decides_the_speed_of_a_handle_is_found_out),
        CHECK_TEST(what_cannot_be_found_out_counts_as_slow),
        CHECK_TEST(nobody_checkpoints_unless_asked),
        CHECK_TEST(pages_that_a_reader_needs_remain_in_the_log),
        CHECK_TEST(without_a_log_nothing_is_left),
        CHECK_TEST(inside_a_transaction_a_checkpoint_is_busy),
        CHECK_TEST(versions_with_the_wal_reset_race_are_known),
        CHECK_TEST(a_query_hands_out_two_columns_of_each_row),
        CHECK_TEST(what_the_callback_returns_ends_the_query),
        CHECK_TEST(sql_that_is_wrong_is_an_error),
        CHECK_TEST(values_of_every_type_come_back),
        CHECK_TEST(a_database_in_utf_16_gives_utf_8),
        CHECK_TEST(binding_no_text_binds_null),
        CHECK_TEST(a_failed_bind_comes_back_from_the_step),
        CHECK_TEST(a_value_too_large_for_sqlite_is_an_error),
        CHECK_TEST(a_statement_that_cannot_be_prepared_is_tried_again),
        CHECK_TEST(a_statement_is_prepared_once),
        CHECK_TEST(a_statement_survives_a_change_of_the_schema),
        CHECK_TEST(an_error_while_stepping_is_told_and_leaves_nothing_open),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
