/* db.h: one SQLite handle: its prepared statements, transactions, pragmas and write-ahead log.
 *
 * A dc_db is used by one thread at a time; the binding's sessions see to that. It is not moved while its header is
 * watched. Functions that return a status leave the details of a failure in db->error. Ownership: the handle is
 * borrowed from a sqlite3.Connection, the prepared statements are ours.
 *
 * Because BEGIN and COMMIT are prepared when a handle is attached and kept until it is detached, the
 * handle's memory outlives even a close() of the Connection behind our back: SQLite frees a handle
 * only with its last statement.
 */
#ifndef DC_ENGINE_DB_H
#define DC_ENGINE_DB_H

#include <stddef.h>
#include <stdint.h>

#include "base/record.h"
#include "base/status.h"
#include "engine/frozen.h"
#include "engine/sql.h"
#include "sqlite/api.h"
#include "sqlite/commit_stamp.h"
#include "sqlite/kept_mapping.h"
#include "sqlite/read_lease.h"
#include "sqlite/read_mark.h"
#include "sqlite/version_table.h"
#include "sqlite/wal_append.h"

/* The size budget (budget.h). It holds while nobody else has changed the database, which SQLite tells by its data
 * version. */
typedef struct dc_budget {
    int known;              /* 0: nothing is known */
    int exposed;            /* someone may be writing through the Connection: never rely on it */
    unsigned int version;   /* data version for which it holds */
    int64_t size_limit;     /* for which `slack` was computed */
    int64_t slack;          /* bytes that can be written before the volume can reach size_limit */
    double earliest_expiry; /* no row expires before; infinite if none does */
} dc_budget;

/* Rows of the table Cache that have been changed since BEGIN: all of them, which SQLite's update hook
 * tells, and those that statements of ours account for. Where the numbers differ, a trigger or SQL of
 * somebody else's has changed rows of which nobody knows the keys. */
typedef struct dc_row_changes {
    uint64_t all;
    uint64_t own;
    uint64_t accesses; /* of the deferred access log: only when and how often a row was read */
} dc_row_changes;

typedef struct dc_db {
    sqlite3 *handle;              /* NULL unless attached */
    sqlite3_file *file;           /* SQLite's, of the database; valid as long as the handle */
    const dc_io_methods *methods; /* of the file, its own (io_override.h); NULL: it has none */
    int is_utf8;                  /* the database's text is UTF-8, as far as is known */
    int wal_pages;                /* pages in the log, as of this handle's last commit */
    int hooked_pages; /* the same as SQLite's wal_hook told in the commit at hand; -1: it has not */
    int committing;   /* in dc_db_commit */
    int may_be_committed;    /* the last commit has failed, perhaps after it was done */
    int64_t page_size;       /* bytes; 0: not read yet */
    unsigned long victims;   /* rows deleted by culls and batch deletes so far */
    unsigned long evictions; /* of them rows that a policy has chosen; its user may set it to 0 */
    int read_only;           /* opened so: a transaction only reads */
    dc_frozen frozen;
    int has_known_log;        /* the journal is a log, and the VFS SQLite's own */
    int maps_what_is_written; /* the file system is known to (file_system.h) */
    int notes_sums;           /* the function that DC_SQL_INCREMENT calls is defined */
    int compares;             /* the functions of dc_compare are defined */
    int surveys;              /* the function of dc_survey_rows is defined */
    dc_kept_mapping mapping;  /* of the file; attached before the lease, and detached after it */
    dc_read_lease lease;
    dc_read_mark mark;
    dc_wal_append frames;
    dc_commit_stamp commit;
    dc_version_table versions;
    dc_row_changes changes;
    dc_budget budget;
    sqlite3_stmt *statements[DC_SQL_COUNT]; /* prepared on first use */
    dc_error error;                         /* of the last function that failed */
} dc_db;

/* Take `handle`: turn its automatic checkpoint and its busy wait off and prepare what must exist. */
dc_status dc_db_attach(dc_db *db, sqlite3 *handle);
/* After a user has had the handle: turn both off again. */
void dc_db_take_back(dc_db *db);
/* Finalize every statement and let go of the handle, giving back its automatic checkpoint. An open transaction
 * is left to its owner. Safe on a zeroed dc_db. */
void dc_db_detach(dc_db *db);
/* The same in a forked child, for a handle that was idle when the parent forked: closing it then
 * does not checkpoint the log, which is the parent's. */
void dc_db_detach_inherited(dc_db *db);
/* In a forked child, for a handle that was in a transaction: release the locks that this process believes the
 * inherited handle has, without touching the files, and forget the handle. What it was doing goes on in the parent
 * only. */
void dc_db_abandon(dc_db *db);
/* Of that only the locks, for a file that others may go on with. */
void dc_file_forget_locks(sqlite3_file *file);

/* One attempt; DC_BUSY if another connection has the write lock. What is opened read-only has no such lock: its
 * transaction reads one and the same state of the database. */
dc_status dc_db_begin(dc_db *db);
/* On DC_BUSY (a reader in the way, only without a write-ahead log) the transaction is still open: try
 * again or roll back. On any other failure it has been rolled back; or it has been committed, and SQLite could not
 * give its locks back after that: then may_be_committed is set. */
dc_status dc_db_commit(dc_db *db);
/* The header that the last commit has left, or NULL if that is not known. */
const dc_stamp *dc_db_commit_stamp(const dc_db *db);
/* Where the header is to be looked at from now on, after a commit and for a read lease; NULL: nowhere. */
void dc_db_watch_header(dc_db *db, dc_wal_header header);
void dc_db_rollback(dc_db *db);
/* Whether rows have been changed since BEGIN that no statement of ours accounts for. */
int dc_db_has_foreign_changes(const dc_db *db);
/* Between these two, reads see one and the same state of the database. Nothing may be written, and
 * no transaction be open before. */
dc_status dc_db_begin_read(dc_db *db);
void dc_db_end_read(dc_db *db);
/* Whether the path no longer leads to the file: it has been removed, or replaced. Costs a stat(). */
int dc_db_has_moved(const dc_db *db);
/* Whether a transaction is open. SQLite itself ends one on some errors (full disk, I/O). */
int dc_db_in_transaction(const dc_db *db);

/* Whether it has the write lock. */
int dc_db_has_write_lock(const dc_db *db);
/* Whether a statement, of anyone's, has been stepped and not reset. */
int dc_db_has_open_statement(dc_db *db);

/* Turn the triggers of the database on or off, for this handle only; those that a user has made TEMP stay
 * on. Every prepared statement is compiled anew by its next use. The second tells whether they are on. */
void dc_db_enable_triggers(dc_db *db, int enable);
int dc_db_has_triggers_enabled(dc_db *db);

/* Whether the file says that its journal is a log; of a file whose header cannot be read, too. */
int dc_db_says_wal(const dc_db *db);

/* A number that changes when the database has been changed, by this handle or by another. */
unsigned int dc_db_data_version(dc_db *db);

/* How long SQLite itself waits for a lock; 0 unless a user works on the Connection directly. */
void dc_db_busy_timeout(dc_db *db, double seconds);

/* Run one statement that is not kept prepared, to its end. */
dc_status dc_db_execute(dc_db *db, const char *sql);

/* Called with each row of dc_db_query: two columns at most (the second DC_NULL if there is but one),
 * valid during the call. Anything but DC_OK ends the query and is its result. */
typedef dc_status (*dc_db_row_callback)(void *context, const dc_datum *first,
                                        const dc_datum *second);
dc_status dc_db_query(dc_db *db, const char *sql, dc_db_row_callback callback, void *context);

/* Set a pragma, unless it has the value already. `name` must be letters and underscores, a text
 * value letters, digits and underscores, a real one whole: they cannot be bound. DC_TYPE if not. */
dc_status dc_db_set_pragma(dc_db *db, const char *name, const dc_datum *value);

/* SQLite's level from which on a commit waits for the disk. */
#define DC_SYNCHRONOUS_FULL 2

/* Find out about the file what decides how fast a handle works: *is_wal, *synchronous (SQLite's level)
 * and the encoding. What cannot be found out counts as slow. */
void dc_db_examine(dc_db *db, int *is_wal, int *synchronous);
/* Whether a PRAGMA answers with this text. */
int dc_db_pragma_is(dc_db *db, const char *pragma, const char *text);

/* The header of the wal-index, of a handle that has read before; NULL unless everything holds that it takes: the
 * journal is a log, locks are not exclusive (then there is no mapping), the VFS is SQLite's own, and the header
 * is one of the known layout. */
dc_wal_header dc_db_wal_header(dc_db *db);

/* What a wal_hook has been told: the pages in the log. */
void dc_db_note_pages(dc_db *db, const char *schema, int pages);
/* Bytes of pages in the log, as of this handle's last commit; a page whose size has not been asked for
 * counts as one of SQLite's default size. */
int64_t dc_db_wal_bytes(const dc_db *db);

/* Copy as much of the log as possible into the database; waits for nobody, and says so with
 * DC_BUSY if someone else is at it. */
dc_status dc_db_checkpoint(dc_db *db);
/* Whether the next commit is likely to reset the log: then SQLite syncs the header of the new log in it. */
int dc_db_is_log_copied(const dc_db *db);
/* Whether this SQLite can lose data when checkpoints and a commit coincide, so that the caller must
 * keep commits out during a checkpoint (3.7.0 to 3.51.2, but for 3.44.6 and 3.50.7). */
int dc_sqlite_has_wal_reset_race(void);

/* A prepared statement in use: start, bind in order, step, read columns, end. A failed bind is kept
 * and comes back from the next step, so a chain of binds needs no checks. Bound bytes must live
 * until the end. */
typedef struct dc_query {
    dc_db *db;
    sqlite3_stmt *statement;
    int result;       /* SQLite's code of the first failure */
    int parameter;    /* number of the parameter bound last */
    int changes_rows; /* of the table Cache */
} dc_query;

void dc_query_start(dc_query *query, dc_db *db, dc_sql sql);
void dc_query_bind_integer(dc_query *query, int64_t value);
void dc_query_bind_real(dc_query *query, double value);
void dc_query_bind_text(dc_query *query, const char *text); /* NULL binds NULL */
void dc_query_bind(dc_query *query, const dc_datum *value);
/* DC_OK: there is a row; DC_NOT_FOUND: the statement is done. */
dc_status dc_query_step(dc_query *query);
/* Valid until the next step, which fails if there was no memory for it: see dc_query_end_read. */
dc_datum dc_query_column(dc_query *query, int column);
int64_t dc_query_integer(dc_query *query, int column);
double dc_query_real(dc_query *query, int column);
void dc_query_end(dc_query *query);
/* End in the middle, after columns of a row have been read if `status` is DC_OK: `status`, or why one could not be
 * read. */
dc_status dc_query_end_read(dc_query *query, dc_status status);
/* Step to the end and end; for statements without rows. */
dc_status dc_query_run(dc_query *query);
/* The single integer that a statement without parameters answers with. */
dc_status dc_query_single_integer(dc_db *db, dc_sql sql, int64_t *value);

/* DC_NO_MEMORY, with its text. */
dc_status dc_db_out_of_memory(dc_db *db);

#endif
