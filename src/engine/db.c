/* db.c: a SQLite handle and what the engine keeps with it; see db.h.
 *
 * Waiting. Nothing here ever waits for a lock: the busy timeout of a session's handle is 0, and a
 * lock held by someone else is DC_BUSY at once. How to wait (without the GIL, with back-off, looking
 * at signals) is the binding's business. Only BUSY, LOCKED and SCHEMA are DC_BUSY; every other failure
 * is DC_SQLITE and final.
 *
 * The log. SQLite's automatic checkpoint runs inside COMMIT and syncs to disk there. It is replaced
 * by a hook that only notes the log's length; a background thread of the binding checkpoints.
 *
 * Fork. A child inherits handles whose in-memory state says "I hold locks", but POSIX locks are not
 * inherited. An idle handle can be closed (without the checkpoint that a last close does, since the
 * parent may well be at work). Closing a handle that is in the middle of a transaction would roll it back in the
 * shared memory that the parent still writes to. dc_db_abandon() therefore never lets SQLite run:
 * it calls the unlock methods of the handle's file, which clear the in-process state (the parent's
 * locks are its own and stay), unmaps the shared memory, and leaks the rest.
 */
#include "engine/db.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/selfcheck.h"

#define DEFAULT_AUTOCHECKPOINT 1000 /* pages; SQLite's */

/* Whether others are in the way for the moment. SQLite prepares a statement anew when the schema has changed,
 * but gives up where that happens again and again. */
static int is_passing(const dc_db *db, int code)
{
    /* A reader that may not write the wal-index has to wait until who has just opened the database has made it. */
    return (db->read_only && code == DC_SQLITE_READONLY) || code == DC_SQLITE_BUSY ||
           code == DC_SQLITE_LOCKED || code == DC_SQLITE_SCHEMA;
}

static dc_status fail(dc_db *db, int result)
{
    int primary = result & 0xff;
    int detailed = db->handle != NULL ? sqlite.extended_errcode(db->handle) : result;

    /* A failure that the handle does not know of (a bind, say) has only its code. */
    int known = db->handle != NULL && (detailed & 0xff) == primary;

    dc_error_set(&db->error, DC_SQLITE, "%s",
                 known ? sqlite.errmsg(db->handle) : sqlite.errstr(result));
    db->error.sqlite_code = known ? detailed : result;
    return is_passing(db, primary) ? DC_BUSY : DC_SQLITE;
}

/* The statement `sql`, prepared; NULL and the result code if that fails. */
static sqlite3_stmt *statement_of(dc_db *db, dc_sql sql, int *result)
{
    sqlite3_stmt *statement = db->statements[sql];

    *result = DC_SQLITE_OK;
    if (statement == NULL) {
        *result = sqlite.prepare_v3(db->handle, dc_sql_text[sql], -1, DC_SQLITE_PREPARE_PERSISTENT,
                                    &statement, NULL);
        db->statements[sql] = statement;
    }
    return statement;
}

void dc_db_note_pages(dc_db *db, const char *schema, int pages)
{
    if (strcmp(schema, "main") == 0) { /* a user may have attached another database */
        db->wal_pages = db->hooked_pages = pages;
    }
}

static int note_pages(void *context, sqlite3 *handle, const char *schema, int pages)
{
    (void)handle;
    dc_db_note_pages(context, schema, pages);
    return DC_SQLITE_OK;
}

static void note_changed_row(void *context, int operation, const char *schema, const char *table,
                             dc_int64 rowid)
{
    dc_db *db = context;

    (void)operation;
    (void)rowid;
    db->changes.all += strcmp(table, "Cache") == 0 && strcmp(schema, "main") == 0;
}

static int changes_rows(const char *sql)
{
    return strncmp(sql, "INSERT INTO Cache", 17) == 0 || strncmp(sql, "UPDATE Cache", 12) == 0 ||
           strncmp(sql, "DELETE FROM Cache", 17) == 0;
}

void dc_db_take_back(dc_db *db)
{
    sqlite.busy_timeout(db->handle, 0);
    sqlite.wal_hook(db->handle, note_pages, db);
    sqlite.update_hook(db->handle, note_changed_row, db);
    db->budget.known = 0;
}

dc_status dc_db_attach(dc_db *db, sqlite3 *handle)
{
    const dc_sql always[] = {DC_SQL_BEGIN, DC_SQL_COMMIT, DC_SQL_ROLLBACK};
    dc_status status = DC_OK;
    int result;

    memset(db, 0, sizeof *db);
    db->handle = handle;
    sqlite.file_control(handle, "main", DC_SQLITE_FCNTL_FILE_POINTER, &db->file);
    db->methods = db->file != NULL ? db->file->methods : NULL;
    dc_db_take_back(db);
    /* Old directories have triggers with "double-quoted" strings; where SQLite is built to reject
     * them this turns them back on for the handle, elsewhere it changes nothing. */
    sqlite.db_config(handle, DC_SQLITE_DBCONFIG_DQS_DML, 1, NULL);
    for (size_t i = 0; i < sizeof always / sizeof always[0] && status == DC_OK; i++) {
        if (statement_of(db, always[i], &result) == NULL) {
            status = fail(db, result);
        }
    }
    if (status != DC_OK) {
        dc_error error = db->error;

        dc_db_detach(db);
        db->error = error;
    }
    return status;
}

/* Take our hook off, which stands in the place of the automatic checkpoint. If it has been turned on again
 * since, its hook's context is its number of pages. */
static void give_autocheckpoint_back(dc_db *db)
{
    void *context = sqlite.wal_hook(db->handle, NULL, NULL);
    intptr_t pages = context == db ? DEFAULT_AUTOCHECKPOINT : (intptr_t)context;

    if (pages > 0 && pages <= INT_MAX) {
        sqlite.wal_autocheckpoint(db->handle, (int)pages);
    }
}

/* The methods of the file are SQLite's own again. */
static void give_methods_back(dc_db *db)
{
    dc_read_lease_detach(&db->lease);
    dc_kept_mapping_detach(&db->mapping);
}

void dc_db_detach(dc_db *db)
{
    if (db->handle == NULL) {
        return;
    }
    give_methods_back(db);
    give_autocheckpoint_back(db);
    sqlite.update_hook(db->handle, NULL, NULL);
    for (int sql = 0; sql < DC_SQL_COUNT; sql++) {
        sqlite.finalize(db->statements[sql]);
    }
    dc_wal_append_clear(&db->frames);
    dc_version_table_close(&db->versions);
    dc_frozen_clear(&db->frozen);
    memset(db, 0, sizeof *db);
}

/* Of the eight locks of the wal-index those of read marks: of them alone a handle has shared ones for more
 * than a moment. */
#define FIRST_MARK_LOCK 3

/* From here on SQLite's unlock must name the mode in which the lock is held (debug builds abort), and asking
 * for a shared lock beside an exclusive one of the same handle is refused; before, it is the other way
 * round. */
#define UNLOCK_NAMES_MODE 3044000

static int has_shared_memory(const sqlite3_file *file)
{
    return file->methods != NULL && file->methods->version >= 2 && file->methods->shm_lock != NULL;
}

/* Release a lock of the wal-index in whichever mode the handle has it, or has it not. */
static void release_shm_lock(sqlite3_file *file, int slot)
{
    int mode = DC_SQLITE_SHM_EXCLUSIVE;

    if (slot >= FIRST_MARK_LOCK && sqlite.libversion_number() >= UNLOCK_NAMES_MODE &&
        file->methods->shm_lock(file, slot, 1, DC_SQLITE_SHM_LOCK | DC_SQLITE_SHM_SHARED) ==
            DC_SQLITE_OK) {
        mode = DC_SQLITE_SHM_SHARED; /* it has, or has now, a shared one */
    }
    file->methods->shm_lock(file, slot, 1, DC_SQLITE_SHM_UNLOCK | mode);
}

/* No function of SQLite's that takes the handle's mutex: whoever held it does not exist here. */
void dc_file_forget_locks(sqlite3_file *file)
{
    if (file == NULL || file->methods == NULL) {
        return;
    }
    for (int slot = 0; has_shared_memory(file) && slot < DC_SQLITE_SHM_NLOCK; slot++) {
        release_shm_lock(file, slot);
    }
    file->methods->unlock(file, DC_SQLITE_LOCK_NONE);
}

void dc_db_abandon(dc_db *db)
{
    give_methods_back(db);
    dc_file_forget_locks(db->file);
    if (db->file != NULL && has_shared_memory(db->file)) {
        db->file->methods->shm_unmap(db->file, 0);
    }
    dc_version_table_close(&db->versions);
    memset(db, 0, sizeof *db);
}

void dc_db_detach_inherited(dc_db *db)
{
    if (db->handle != NULL) {
        sqlite.db_config(db->handle, DC_SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    }
    dc_db_detach(db);
}

static dc_status run(dc_db *db, dc_sql sql)
{
    dc_query query;

    dc_query_start(&query, db, sql);
    return dc_query_run(&query);
}

/* BEGIN IMMEDIATE, without raising a read mark where that can be avoided. */
static dc_status begin_immediate(dc_db *db)
{
    dc_status status;
    int leased;

    if (!db->has_known_log) {
        return run(db, DC_SQL_BEGIN);
    }
    dc_read_mark_keep(&db->mark, db->file);
    dc_read_lease_allow(&db->lease);
    status = run(db, DC_SQL_BEGIN);
    leased = dc_read_lease_forbid(&db->lease);
    dc_read_mark_release(&db->mark);
    if (leased && status != DC_OK && status != DC_BUSY) {
        status = run(db, DC_SQL_BEGIN); /* what it has read may have been overwritten */
    }
    if (status == DC_BUSY) {
        dc_read_mark_raise(&db->mark); /* who has the lock may be copying the log */
    } else if (status != DC_OK && db->mark.refused > 0) {
        status = run(db, DC_SQL_BEGIN);
        if (status == DC_OK) {
            dc_selfcheck_fail(DC_READ_MARK, "BEGIN failed where it could not raise a read mark");
        }
    }
    return status;
}

dc_status dc_db_begin(dc_db *db)
{
    dc_status status;

    db->changes = (dc_row_changes){.all = 0};
    db->may_be_committed = 0;
    if (db->read_only) {
        return dc_db_begin_read(db);
    }
    status = begin_immediate(db);
    if (status == DC_OK) {
        dc_version_table_begin(&db->versions, db->commit.header);
    }
    return status;
}

int dc_db_has_foreign_changes(const dc_db *db)
{
    return db->changes.all != db->changes.own;
}

/* Whether rows have been changed since BEGIN of which the table of versions has not been told. */
static int has_unnoted_changes(const dc_db *db)
{
    return db->budget.exposed || dc_db_has_foreign_changes(db) ||
           db->changes.all > db->changes.accesses + db->versions.count;
}

dc_status dc_db_begin_read(dc_db *db)
{
    return run(db, DC_SQL_BEGIN_READ);
}

void dc_db_end_read(dc_db *db)
{
    dc_error error = db->error; /* of a read in between */

    if (run(db, DC_SQL_COMMIT) != DC_OK) { /* after a failure SQLite may have ended it by itself */
        run(db, DC_SQL_ROLLBACK);
    }
    db->error = error;
}

/* COMMIT, with the methods of both files replaced. */
static dc_status commit_watched(dc_db *db)
{
    dc_status status;
    int result;

    db->hooked_pages = -1;
    db->committing = 1;
    db->versions.unknown |= has_unnoted_changes(db);
    db->commit.versions = &db->versions;
    db->commit.changed = db->versions.unknown || db->changes.all > 0;
    dc_commit_stamp_begin(&db->commit, db->file, &db->frames);
    /* Through an exposed Connection a user may have changed the journal. */
    if (db->has_known_log && !db->budget.exposed) {
        dc_wal_append_begin(&db->frames, db->handle);
    }
    status = run(db, DC_SQL_COMMIT);
    db->committing = 0;
    dc_commit_stamp_end(&db->commit, status == DC_OK, db->hooked_pages);
    result = dc_wal_append_end(&db->frames, status == DC_OK);
    if (result != DC_SQLITE_OK) {
        status = fail(db, result);
    }
    if (db->commit.valid) {
        db->wal_pages = (int)dc_stamp_frames(&db->commit.stamp);
    }
    return status;
}

const dc_stamp *dc_db_commit_stamp(const dc_db *db)
{
    return db->commit.valid ? &db->commit.stamp : NULL;
}

void dc_db_watch_header(dc_db *db, dc_wal_header header)
{
    db->commit.header = header;
    db->commit.valid = 0;
    give_methods_back(db);
    if (header != NULL) {
        if (db->maps_what_is_written) {
            dc_kept_mapping_attach(&db->mapping, db->file);
        }
        dc_read_lease_attach(&db->lease, db->file, header);
    }
}

dc_status dc_db_commit(dc_db *db)
{
    unsigned int version;
    dc_status status;

    if (db->read_only) {
        dc_db_end_read(db);
        return DC_OK;
    }
    version = dc_db_data_version(db);
    status = commit_watched(db);

    if (status == DC_OK && db->budget.version == version) {
        /* The data version counts this handle's commits too, and under the write lock there was no
         * other: the budget still holds. */
        db->budget.version = dc_db_data_version(db);
    }
    if (status != DC_OK && status != DC_BUSY) {
        dc_error error = db->error;

        db->may_be_committed = dc_db_data_version(db) != version;
        dc_db_rollback(db);
        db->error = error;
    }
    return status;
}

void dc_db_rollback(dc_db *db)
{
    db->budget.known = 0;
    if (dc_db_in_transaction(db)) {
        run(db, DC_SQL_ROLLBACK); /* fails only if SQLite has rolled back by itself */
    }
}

/* Asked of the file and not of the handle, whose mutex a user may have; and by its own methods, since another thread may
 * just be replacing them, for a commit or a checkpoint with this handle. */
int dc_db_has_moved(const dc_db *db)
{
    int moved = 0;

    if (db->methods == NULL ||
        db->methods->file_control(db->file, DC_SQLITE_FCNTL_HAS_MOVED, &moved) != DC_SQLITE_OK) {
        return 0;
    }
    return moved;
}

/* "Database Header": the version that is needed to read the file. */
#define READ_VERSION_OFFSET 19
#define READ_VERSION_WAL    2

int dc_db_says_wal(const dc_db *db)
{
    unsigned char version = READ_VERSION_WAL;

    if (db->file != NULL && db->file->methods != NULL &&
        db->file->methods->read(db->file, &version, 1, READ_VERSION_OFFSET) != DC_SQLITE_OK) {
        return 1;
    }
    return version == READ_VERSION_WAL;
}

int dc_db_in_transaction(const dc_db *db)
{
    return db->handle != NULL && !sqlite.get_autocommit(db->handle);
}

int dc_db_has_write_lock(const dc_db *db)
{
    return sqlite.txn_state(db->handle, "main") == DC_SQLITE_TXN_WRITE;
}

int dc_db_has_open_statement(dc_db *db)
{
    sqlite3_stmt *statement = sqlite.next_stmt(db->handle, NULL);

    while (statement != NULL && !sqlite.stmt_busy(statement)) {
        statement = sqlite.next_stmt(db->handle, statement);
    }
    return statement != NULL;
}

void dc_db_enable_triggers(dc_db *db, int enable)
{
    sqlite.db_config(db->handle, DC_SQLITE_DBCONFIG_ENABLE_TRIGGER, enable, NULL);
}

int dc_db_has_triggers_enabled(dc_db *db)
{
    int enabled = 0;

    sqlite.db_config(db->handle, DC_SQLITE_DBCONFIG_ENABLE_TRIGGER, -1, &enabled);
    return enabled;
}

unsigned int dc_db_data_version(dc_db *db)
{
    unsigned int version = 0;

    sqlite.file_control(db->handle, "main", DC_SQLITE_FCNTL_DATA_VERSION, &version);
    return version;
}

void dc_db_busy_timeout(dc_db *db, double seconds)
{
    double milliseconds = ceil(seconds * 1000.0);

    if (!(milliseconds > 0.0)) {
        milliseconds = 0.0;
    }
    sqlite.busy_timeout(db->handle, milliseconds < 2e9 ? (int)milliseconds : 2000000000);
}

/* --- statements that are not kept ------------------------------------------------------------- */

/* `is_utf8`: text can be taken as it lies in SQLite's memory; column_text() would copy it, to put a NUL
 * behind it. The size is asked for after the bytes, which may have to be converted first. For that SQLite may have
 * no memory: then the text is empty, and *result says so. */
static dc_datum column_of(sqlite3_stmt *statement, int column, int is_utf8, int *result)
{
    dc_datum datum = {.type = DC_NULL};

    switch (sqlite.column_type(statement, column)) {
    case DC_SQLITE_INTEGER:
        datum.type = DC_INTEGER;
        datum.as.integer = sqlite.column_int64(statement, column);
        break;
    case DC_SQLITE_FLOAT:
        datum.type = DC_REAL;
        datum.as.real = sqlite.column_double(statement, column);
        break;
    case DC_SQLITE_TEXT:
        datum.type = DC_TEXT;
        datum.as.bytes.data = is_utf8 ? sqlite.column_blob(statement, column)
                                      : (const char *)sqlite.column_text(statement, column);
        if (datum.as.bytes.data == NULL && !is_utf8) {
            *result = DC_SQLITE_NOMEM;
        }
        datum.as.bytes.size =
            datum.as.bytes.data != NULL ? (size_t)sqlite.column_bytes(statement, column) : 0;
        break;
    case DC_SQLITE_BLOB:
        datum.type = DC_BLOB;
        datum.as.bytes.data = sqlite.column_blob(statement, column);
        datum.as.bytes.size = (size_t)sqlite.column_bytes(statement, column);
        break;
    default:
        break;
    }
    return datum;
}

dc_status dc_db_query(dc_db *db, const char *sql, dc_db_row_callback callback, void *context)
{
    sqlite3_stmt *statement = NULL;
    dc_status status = DC_OK;
    int result = sqlite.prepare_v3(db->handle, sql, -1, 0, &statement, NULL);

    while (result == DC_SQLITE_OK || result == DC_SQLITE_ROW) {
        result = sqlite.step(statement);
        if (result == DC_SQLITE_ROW && callback != NULL) {
            dc_datum first = column_of(statement, 0, db->is_utf8, &result);
            dc_datum second = {.type = DC_NULL};

            if (sqlite.column_count(statement) > 1) {
                second = column_of(statement, 1, db->is_utf8, &result);
            }
            if (result != DC_SQLITE_ROW) {
                break;
            }
            status = callback(context, &first, &second);
            if (status != DC_OK) {
                goto done;
            }
        }
    }
    if (result != DC_SQLITE_DONE) {
        status = fail(db, result);
    }
done:
    sqlite.finalize(statement);
    return status;
}

dc_status dc_db_execute(dc_db *db, const char *sql)
{
    db->budget.known = 0; /* a new index, for instance, takes up room */
    return dc_db_query(db, sql, NULL, NULL);
}

static int is_word(const char *text, size_t size, int digits)
{
    size_t i;

    for (i = 0; i < size; i++) {
        char c = text[i];
        int letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

        if (!letter && !(digits && c >= '0' && c <= '9')) {
            return 0;
        }
    }
    return size > 0;
}

#define DC_PRAGMA_VALUE_SIZE 64

/* The value as it stands behind `PRAGMA name =`; SQL has no parameters there. */
static int format_pragma_value(char text[DC_PRAGMA_VALUE_SIZE], const dc_datum *value)
{
    switch (value->type) {
    case DC_INTEGER:
        return snprintf(text, DC_PRAGMA_VALUE_SIZE, "%lld", (long long)value->as.integer) > 0;
    case DC_REAL:
        /* Whole numbers only: a locale may put a comma for the decimal point. */
        return fabs(value->as.real) < 1e15 && value->as.real == floor(value->as.real) &&
               snprintf(text, DC_PRAGMA_VALUE_SIZE, "%.0f", value->as.real) > 0;
    case DC_TEXT:
        return value->as.bytes.size < DC_PRAGMA_VALUE_SIZE &&
               is_word(value->as.bytes.data, value->as.bytes.size, 1) &&
               snprintf(text, DC_PRAGMA_VALUE_SIZE, "%.*s", (int)value->as.bytes.size,
                        value->as.bytes.data) > 0;
    default:
        return 0;
    }
}

struct pragma_comparison {
    const dc_datum *wanted;
    int equal;
};

static int ascii_lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

static dc_status compare_pragma(void *context, const dc_datum *current, const dc_datum *unused)
{
    struct pragma_comparison *comparison = context;
    const dc_datum *wanted = comparison->wanted;

    (void)unused;
    if (current->type != wanted->type) {
        return DC_OK;
    }
    if (current->type == DC_INTEGER) {
        comparison->equal = current->as.integer == wanted->as.integer;
    } else if (current->type == DC_TEXT && current->as.bytes.size == wanted->as.bytes.size) {
        comparison->equal = 1;
        for (size_t i = 0; i < current->as.bytes.size; i++) {
            if (ascii_lower(current->as.bytes.data[i]) != ascii_lower(wanted->as.bytes.data[i])) {
                comparison->equal = 0;
            }
        }
    }
    return DC_OK;
}

dc_status dc_db_set_pragma(dc_db *db, const char *name, const dc_datum *value)
{
    struct pragma_comparison comparison = {.wanted = value, .equal = 0};
    char text[DC_PRAGMA_VALUE_SIZE];
    char sql[2 * DC_PRAGMA_VALUE_SIZE + 16];
    dc_status status;

    if (strlen(name) >= DC_PRAGMA_VALUE_SIZE || !is_word(name, strlen(name), 0) ||
        !format_pragma_value(text, value)) {
        return dc_error_set(&db->error, DC_TYPE, "sqlite_%s: not a valid pragma or value", name);
    }
    snprintf(sql, sizeof sql, "PRAGMA %s", name);
    status = dc_db_query(db, sql, compare_pragma, &comparison);
    if (status == DC_OK && !comparison.equal) {
        snprintf(sql, sizeof sql, "PRAGMA %s = %s", name, text);
        status = dc_db_execute(db, sql);
    }
    return status;
}

static dc_status keep_text(void *context, const dc_datum *value, const dc_datum *unused)
{
    char *text = context;
    size_t size = value->type == DC_TEXT ? value->as.bytes.size : 0;

    (void)unused;
    size = size < DC_PRAGMA_VALUE_SIZE ? size : DC_PRAGMA_VALUE_SIZE - 1;
    if (size > 0) {
        memcpy(text, value->as.bytes.data, size);
    }
    text[size] = '\0';
    return DC_OK;
}

static dc_status keep_integer(void *context, const dc_datum *value, const dc_datum *unused)
{
    int *integer = context;

    (void)unused;
    if (value->type == DC_INTEGER) {
        *integer = (int)value->as.integer;
    }
    return DC_OK;
}

/* The names of the VFS that do what SQLite's documentation says of files and of the wal-index; others
 * may do it otherwise, or not. */
static int has_known_vfs(dc_db *db)
{
    const dc_sqlite_vfs *vfs = NULL;

    sqlite.file_control(db->handle, "main", DC_SQLITE_FCNTL_VFS_POINTER, &vfs);
    return vfs != NULL && vfs->name != NULL &&
           (strcmp(vfs->name, "unix") == 0 || strcmp(vfs->name, "win32") == 0);
}

int dc_db_pragma_is(dc_db *db, const char *pragma, const char *text)
{
    char value[DC_PRAGMA_VALUE_SIZE] = "";

    return dc_db_query(db, pragma, keep_text, value) == DC_OK && strcmp(value, text) == 0;
}

void dc_db_examine(dc_db *db, int *is_wal, int *synchronous)
{
    char journal[DC_PRAGMA_VALUE_SIZE] = "";
    char encoding[DC_PRAGMA_VALUE_SIZE] = "";

    *synchronous = DC_SYNCHRONOUS_FULL;
    dc_db_query(db, "PRAGMA journal_mode", keep_text, journal);
    dc_db_query(db, "PRAGMA synchronous", keep_integer, synchronous);
    dc_db_query(db, "PRAGMA encoding", keep_text, encoding);
    *is_wal = strcmp(journal, "wal") == 0;
    db->has_known_log = *is_wal && has_known_vfs(db);
    db->is_utf8 = strcmp(encoding, "UTF-8") == 0;
}

/* --- the log ---------------------------------------------------------------------------------- */

dc_wal_header dc_db_wal_header(dc_db *db)
{
    if (!has_known_vfs(db) || !dc_db_pragma_is(db, "PRAGMA journal_mode", "wal") ||
        !dc_db_pragma_is(db, "PRAGMA locking_mode", "normal")) {
        return NULL;
    }
    return dc_wal_header_of(db->file);
}

#define DEFAULT_PAGE_SIZE 4096

int64_t dc_db_wal_bytes(const dc_db *db)
{
    return db->wal_pages * (db->page_size > 0 ? db->page_size : DEFAULT_PAGE_SIZE);
}

dc_status dc_db_checkpoint(dc_db *db)
{
    int result =
        sqlite.wal_checkpoint_v2(db->handle, "main", DC_SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);

    return result == DC_SQLITE_OK ? DC_OK : fail(db, result);
}

int dc_db_is_log_copied(const dc_db *db)
{
    dc_wal_header header = db->commit.header;
    dc_stamp stamp;

    return header != NULL && dc_stamp_read(header, &stamp) &&
           dc_wal_frames_copied(header) == dc_stamp_frames(&stamp);
}

int dc_sqlite_has_wal_reset_race(void)
{
    int version = sqlite.libversion_number();

    if (version >= 3051003) {
        return 0;
    }
    return !(version >= 3050007 && version < 3051000) && !(version >= 3044006 && version < 3045000);
}

/* --- queries ---------------------------------------------------------------------------------- */

void dc_query_start(dc_query *query, dc_db *db, dc_sql sql)
{
    query->db = db;
    query->parameter = 0;
    query->changes_rows = changes_rows(dc_sql_text[sql]);
    query->statement = statement_of(db, sql, &query->result);
    if (query->statement != NULL && sqlite.stmt_busy(query->statement)) {
        /* A callback of the user's, from inside this very statement, has come back here. */
        query->statement = NULL;
        query->result = DC_SQLITE_MISUSE;
    }
}

static void note_result(dc_query *query, int result)
{
    if (query->result == DC_SQLITE_OK) {
        query->result = result;
    }
}

void dc_query_bind_integer(dc_query *query, int64_t value)
{
    query->parameter++;
    if (query->statement != NULL) {
        note_result(query, sqlite.bind_int64(query->statement, query->parameter, value));
    }
}

void dc_query_bind_real(dc_query *query, double value)
{
    query->parameter++;
    if (query->statement != NULL) {
        note_result(query, sqlite.bind_double(query->statement, query->parameter, value));
    }
}

void dc_query_bind_text(dc_query *query, const char *text)
{
    dc_datum datum = {.type = DC_NULL};

    if (text != NULL) {
        datum.type = DC_TEXT;
        datum.as.bytes.data = text;
        datum.as.bytes.size = strlen(text);
    }
    dc_query_bind(query, &datum);
}

void dc_query_bind(dc_query *query, const dc_datum *value)
{
    const char *data = "";
    int result = DC_SQLITE_OK;

    if (value->type == DC_INTEGER) {
        dc_query_bind_integer(query, value->as.integer);
        return;
    }
    if (value->type == DC_REAL) {
        dc_query_bind_real(query, value->as.real);
        return;
    }
    query->parameter++;
    if (query->statement == NULL) {
        return;
    }
    if (value->type != DC_NULL && value->as.bytes.data != NULL) {
        data = value->as.bytes.data; /* NULL would bind NULL rather than an empty string or blob */
    }
    if (value->type == DC_TEXT) {
        result = sqlite.bind_text64(query->statement, query->parameter, data, value->as.bytes.size,
                                    NULL, DC_SQLITE_UTF8);
    } else if (value->type == DC_BLOB) {
        result = sqlite.bind_blob64(query->statement, query->parameter, data, value->as.bytes.size,
                                    NULL);
    } else {
        result = sqlite.bind_null(query->statement, query->parameter);
    }
    note_result(query, result);
}

dc_status dc_query_step(dc_query *query)
{
    if (query->result == DC_SQLITE_OK || query->result == DC_SQLITE_ROW) {
        query->result = sqlite.step(query->statement);
    }
    if (query->result == DC_SQLITE_ROW) {
        return DC_OK;
    }
    if (query->result == DC_SQLITE_DONE) {
        if (query->changes_rows) {
            query->db->changes.own += (uint64_t)sqlite.changes(query->db->handle);
        }
        return DC_NOT_FOUND;
    }
    return fail(query->db, query->result);
}

dc_datum dc_query_column(dc_query *query, int column)
{
    return column_of(query->statement, column, query->db->is_utf8, &query->result);
}

int64_t dc_query_integer(dc_query *query, int column)
{
    return sqlite.column_int64(query->statement, column);
}

double dc_query_real(dc_query *query, int column)
{
    return sqlite.column_double(query->statement, column);
}

void dc_query_end(dc_query *query)
{
    if (query->statement != NULL) {
        sqlite.reset(query->statement); /* repeats the failure of the step, which is known */
    }
}

dc_status dc_query_end_read(dc_query *query, dc_status status)
{
    if (status == DC_OK && query->result != DC_SQLITE_ROW) {
        status = fail(query->db, query->result);
    }
    dc_query_end(query);
    return status;
}

dc_status dc_query_run(dc_query *query)
{
    dc_status status = dc_query_step(query);

    dc_query_end(query);
    return status == DC_NOT_FOUND ? DC_OK : status;
}

dc_status dc_query_single_integer(dc_db *db, dc_sql sql, int64_t *value)
{
    dc_query query;
    dc_status status;

    dc_query_start(&query, db, sql);
    status = dc_query_step(&query);
    if (status == DC_OK) {
        *value = dc_query_integer(&query, 0);
    }
    dc_query_end(&query);
    return status;
}

dc_status dc_db_out_of_memory(dc_db *db)
{
    return dc_error_set(&db->error, DC_NO_MEMORY, "out of memory");
}
