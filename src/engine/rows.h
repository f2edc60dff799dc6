/* rows.h: the rows of the table Cache: reading, writing and deleting one.
 *
 * Each function is one step inside a transaction that the caller has begun (reads also work outside
 * one), and never waits. Writes take the same shape as the original's, so that both can work on one
 * directory at the same time. Nothing here touches value files: names of files that are no longer
 * referred to are appended to `removed`, and the caller removes them once the outermost transaction
 * has been committed. A function that fails appends nothing for the row that it failed on.
 *
 * Triggers. A user's may keep a statement from doing anything (RAISE(IGNORE)), and SQLite reports success.
 * So what has been written or deleted is what sqlite3_changes() says, never what was asked for; and whoever
 * deletes until nothing is left passes over the rows that stay.
 *
 * Expiry: a row with an expire_time is alive while expire_time > now, and has expired once
 * expire_time < now. For the moment between, each operation sides as the original's does.
 */
#ifndef DC_ENGINE_ROWS_H
#define DC_ENGINE_ROWS_H

#include "base/record.h"
#include "engine/db.h"
#include "engine/sql.h"

int dc_columns_alive(const dc_columns *columns, double now);
int dc_columns_expired(const dc_columns *columns, double now);
/* Bytes of the value, in its file or inline; a number has none. */
int64_t dc_columns_value_bytes(const dc_columns *columns);

/* --- reading --- */

/* What else of a row to read besides value, mode, expire_time and file; each column read costs. */
enum dc_detail {
    DC_DETAIL_NONE = 0,
    DC_DETAIL_TAG = 1,
    DC_DETAIL_IDENTITY = 2, /* rowid and store_time; 0 if not asked for */
    DC_DETAIL_ALL = 3
};

/* Fill the row (without its key) whatever its expiry; DC_NOT_FOUND. */
dc_status dc_row_get(dc_db *db, const dc_key *key, unsigned int details, dc_row *row);

/* The same, but only rowid, expire_time and filename; DC_NOT_FOUND. */
dc_status dc_row_locate(dc_db *db, const dc_key *key, dc_row *row);

/* Whether two rows, read with the same details at different times, are one and the same unchanged
 * row, as far as those details tell. */
int dc_row_same(const dc_row *left, const dc_row *right);

/* --- writing --- */

/* Insert a row; *rowid receives its number. Update one. DC_NOT_FOUND if nothing was written. */
dc_status dc_row_insert(dc_db *db, const dc_key *key, const dc_columns *columns, double now,
                        int64_t *rowid);
dc_status dc_row_update(dc_db *db, int64_t rowid, const dc_columns *columns, double now);
/* Insert by one of the statements DC_SQL_INSERT*, DC_SQL_PUT*. */
dc_status dc_row_insert_by(dc_db *db, dc_sql sql, const dc_key *key, const dc_columns *columns,
                           double now);

/* Delete a row and note its file; `filename` may be NULL. DC_NOT_FOUND if it is still there, or was not. */
dc_status dc_row_delete(dc_db *db, int64_t rowid, const char *filename, dc_namelist *removed);

/* Delete a living row by its key, and note its file; DC_NOT_FOUND. */
dc_status dc_row_remove(dc_db *db, const dc_key *key, double now, dc_namelist *removed);

/* Give a living row another expire_time; DC_NOT_FOUND. */
dc_status dc_row_touch(dc_db *db, const dc_key *key, const dc_columns *expire, double now);

/* Count an access by the policy's statement. */
dc_status dc_row_count_access(dc_db *db, dc_policy policy, int64_t rowid, double now,
                              int64_t times);

/* --- for the other files of this folder --- */

/* A statement has done nothing, because a trigger of a user's has said so: DC_SQLITE. */
dc_status dc_row_kept_by_trigger(dc_db *db);
/* DC_NOT_FOUND where a statement was to change a row, and has not. */
dc_status dc_row_found_if_changed(dc_db *db, dc_status status);
/* Append a name to those of files that no row has any more; NULL is none. */
dc_status dc_row_note_file(dc_db *db, const char *filename, dc_namelist *removed);
void dc_row_start_query(dc_query *query, dc_db *db, dc_sql sql, const dc_key *key);
/* Step once, copy the row if there is one, and end the query. */
dc_status dc_row_read_one(dc_query *query, unsigned int details, int with_key, dc_row *row);
/* Keep a text column of the current row as `filename`. */
dc_status dc_row_keep_filename(dc_query *query, int column, dc_row *row);

#endif
