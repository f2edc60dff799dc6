/* rows.c: see rows.h.
 *
 * Every function runs its statements to the end before it returns: no statement is left stepped.
 * The bytes that SQLite hands out are copied into a dc_row first, because they are gone with the
 * next step of the same statement.
 */
#include "engine/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/budget.h"

/* A statement has done nothing, because a trigger of a user's has said so. */
#define CONSTRAINT_TRIGGER (19 | 7 << 8) /* SQLITE_CONSTRAINT_TRIGGER */

dc_status dc_row_kept_by_trigger(dc_db *db)
{
    dc_error_set(&db->error, DC_SQLITE, "a trigger has kept a row from being written");
    db->error.sqlite_code = CONSTRAINT_TRIGGER;
    return DC_SQLITE;
}

dc_status dc_row_found_if_changed(dc_db *db, dc_status status)
{
    return status == DC_OK && sqlite.changes(db->handle) == 0 ? DC_NOT_FOUND : status;
}

int dc_columns_alive(const dc_columns *columns, double now)
{
    return !columns->has_expire_time || columns->expire_time > now;
}

int dc_columns_expired(const dc_columns *columns, double now)
{
    return columns->has_expire_time && columns->expire_time < now;
}

int64_t dc_columns_value_bytes(const dc_columns *columns)
{
    size_t room = dc_datum_room(&columns->value);

    return columns->size > 0 ? columns->size : (int64_t)room - (room > 0);
}

/* --- reading --------------------------------------------------------------------------------- */

static void set_expire_time(dc_columns *columns, const dc_datum *datum)
{
    columns->has_expire_time = datum->type == DC_REAL || datum->type == DC_INTEGER;
    columns->expire_time = datum->type == DC_INTEGER ? (double)datum->as.integer
                           : datum->type == DC_REAL  ? datum->as.real
                                                     : 0.0;
}

/* The name that a column holds, whose bytes the row has; NULL if it is none: not text, or cut short by a NUL. */
static const char *filename_of(const dc_datum *datum)
{
    return datum->type == DC_TEXT && strlen(datum->as.bytes.data) == datum->as.bytes.size &&
                   dc_text_is_utf8(datum->as.bytes.data, datum->as.bytes.size)
               ? datum->as.bytes.data
               : NULL;
}

/* DC_ROW_COLUMNS, then what the statements with a key add. */
enum row_column {
    COLUMN_EXPIRE_TIME,
    COLUMN_SIZE,
    COLUMN_MODE,
    COLUMN_FILENAME,
    COLUMN_VALUE,
    COLUMN_ROWID,
    COLUMN_STORE_TIME,
    COLUMN_TAG,
    COLUMN_KEY,
    COLUMN_RAW
};

/* Copy the current row. Reading a column takes SQLite's mutex, so none is read without need. */
static dc_status read_row(dc_query *query, unsigned int details, int with_key, dc_row *row)
{
    dc_datum expire_time = dc_query_column(query, COLUMN_EXPIRE_TIME);
    dc_datum value = dc_query_column(query, COLUMN_VALUE);
    dc_datum tag = {.type = DC_NULL};
    dc_datum filename = {.type = DC_NULL};
    dc_datum key = {.type = DC_NULL};
    int64_t mode = dc_query_integer(query, COLUMN_MODE);
    int in_file = value.type == DC_NULL || (mode & DC_MODE_SIGNED);

    if (details & DC_DETAIL_TAG) {
        tag = dc_query_column(query, COLUMN_TAG);
    }
    if (in_file) {
        filename = dc_query_column(query, COLUMN_FILENAME);
    }
    if (with_key) {
        key = dc_query_column(query, COLUMN_KEY);
    }
    if (!dc_row_reserve(row, dc_datum_room(&tag) + dc_datum_room(&filename) +
                                 dc_datum_room(&value) + dc_datum_room(&key))) {
        return dc_db_out_of_memory(query->db);
    }
    dc_row_keep_datum(row, &tag);
    dc_row_keep_datum(row, &filename);
    dc_row_keep_datum(row, &value);
    dc_row_keep_datum(row, &key);
    row->rowid = details & DC_DETAIL_IDENTITY ? dc_query_integer(query, COLUMN_ROWID) : 0;
    row->store_time = details & DC_DETAIL_IDENTITY ? dc_query_real(query, COLUMN_STORE_TIME) : 0.0;
    set_expire_time(&row->columns, &expire_time);
    row->columns.tag = tag;
    row->columns.size = in_file ? dc_query_integer(query, COLUMN_SIZE) : 0;
    row->columns.mode = mode;
    row->columns.filename = filename_of(&filename);
    row->columns.value = value;
    row->key.datum = key;
    row->key.raw = with_key && dc_query_integer(query, COLUMN_RAW) != 0;
    return DC_OK;
}

dc_status dc_row_read_one(dc_query *query, unsigned int details, int with_key, dc_row *row)
{
    dc_status status = dc_query_step(query);

    if (status == DC_OK) {
        status = read_row(query, details, with_key, row);
    }
    return dc_query_end_read(query, status);
}

void dc_row_start_query(dc_query *query, dc_db *db, dc_sql sql, const dc_key *key)
{
    dc_query_start(query, db, sql);
    dc_query_bind(query, &key->datum);
    dc_query_bind_integer(query, key->raw);
}

dc_status dc_row_get(dc_db *db, const dc_key *key, unsigned int details, dc_row *row)
{
    dc_query query;

    if (details == DC_DETAIL_NONE) {
        dc_query_start(&query, db, key->raw ? DC_SQL_GET_RAW_KEY : DC_SQL_GET_PICKLED_KEY);
        dc_query_bind(&query, &key->datum);
    } else {
        dc_row_start_query(&query, db, DC_SQL_GET, key);
    }
    return dc_row_read_one(&query, details, 0, row);
}

dc_status dc_row_keep_filename(dc_query *query, int column, dc_row *row)
{
    dc_datum filename = dc_query_column(query, column);

    row->columns.filename = NULL;
    if (filename.type == DC_TEXT) {
        if (!dc_row_reserve(row, dc_datum_room(&filename))) {
            return dc_db_out_of_memory(query->db);
        }
        dc_row_keep_datum(row, &filename);
        row->columns.filename = filename_of(&filename);
    }
    return DC_OK;
}

dc_status dc_row_locate(dc_db *db, const dc_key *key, dc_row *row)
{
    dc_query query;
    dc_datum expire_time;
    dc_status status;

    dc_row_start_query(&query, db, DC_SQL_LOCATE, key);
    status = dc_query_step(&query);
    if (status == DC_OK) {
        row->rowid = dc_query_integer(&query, 0);
        expire_time = dc_query_column(&query, 1);
        set_expire_time(&row->columns, &expire_time);
        status = dc_row_keep_filename(&query, 2, row);
    }
    return dc_query_end_read(&query, status);
}

static int same_datum(const dc_datum *left, const dc_datum *right)
{
    if (left->type != right->type) {
        return 0;
    }
    switch (left->type) {
    case DC_INTEGER:
        return left->as.integer == right->as.integer;
    case DC_REAL:
        return left->as.real == right->as.real;
    case DC_TEXT:
    case DC_BLOB:
        return left->as.bytes.size == right->as.bytes.size &&
               memcmp(left->as.bytes.data, right->as.bytes.data, left->as.bytes.size) == 0;
    default:
        return 1;
    }
}

int dc_row_same(const dc_row *left, const dc_row *right)
{
    const char *left_name = left->columns.filename;
    const char *right_name = right->columns.filename;

    if (left->rowid != right->rowid || left->store_time != right->store_time ||
        left->columns.mode != right->columns.mode || left->columns.size != right->columns.size ||
        (left_name == NULL) != (right_name == NULL)) {
        return 0;
    }
    return (left_name == NULL || strcmp(left_name, right_name) == 0) &&
           same_datum(&left->columns.value, &right->columns.value);
}

/* --- writing --------------------------------------------------------------------------------- */

static void bind_expire_time(dc_query *query, const dc_columns *columns)
{
    const dc_datum null = {.type = DC_NULL};

    if (columns->has_expire_time) {
        dc_query_bind_real(query, columns->expire_time);
    } else {
        dc_query_bind(query, &null);
    }
}

/* size, mode, filename and value, in the order of INSERT and UPDATE. */
static void bind_content(dc_query *query, const dc_columns *columns)
{
    dc_query_bind_integer(query, columns->size);
    dc_query_bind_integer(query, columns->mode);
    dc_query_bind_text(query, columns->filename);
    dc_query_bind(query, &columns->value);
}

/* Run one of the statements that begin with DC_INSERT. */
dc_status dc_row_insert_by(dc_db *db, dc_sql sql, const dc_key *key, const dc_columns *columns,
                           double now)
{
    dc_query query;
    dc_status status;

    dc_row_start_query(&query, db, sql, key);
    dc_query_bind_real(&query, now);
    bind_content(&query, columns);
    dc_query_bind(&query, &columns->tag);
    bind_expire_time(&query, columns);
    status = dc_query_run(&query);
    if (status == DC_OK) {
        dc_budget_debit_row(db, key, columns);
    }
    return status;
}

dc_status dc_row_insert(dc_db *db, const dc_key *key, const dc_columns *columns, double now,
                        int64_t *rowid)
{
    dc_status status =
        dc_row_found_if_changed(db, dc_row_insert_by(db, DC_SQL_INSERT, key, columns, now));

    if (status == DC_OK) {
        *rowid = sqlite.last_insert_rowid(db->handle);
    }
    return status;
}

dc_status dc_row_update(dc_db *db, int64_t rowid, const dc_columns *columns, double now)
{
    dc_query query;

    dc_query_start(&query, db, DC_SQL_UPDATE);
    dc_query_bind_integer(&query, rowid);
    dc_query_bind_real(&query, now);
    bind_content(&query, columns);
    dc_query_bind(&query, &columns->tag);
    bind_expire_time(&query, columns);
    dc_budget_debit_row(db, NULL, columns);
    return dc_row_found_if_changed(db, dc_query_run(&query));
}

dc_status dc_row_note_file(dc_db *db, const char *filename, dc_namelist *removed)
{
    if (filename != NULL && !dc_namelist_add(removed, filename)) {
        return dc_db_out_of_memory(db);
    }
    return DC_OK;
}

dc_status dc_row_delete(dc_db *db, int64_t rowid, const char *filename, dc_namelist *removed)
{
    size_t used = removed->used;
    size_t count = removed->count;
    dc_query query;
    dc_status status = dc_row_note_file(db, filename, removed);

    if (status == DC_OK) {
        dc_query_start(&query, db, DC_SQL_DELETE);
        dc_query_bind_integer(&query, rowid);
        status = dc_row_found_if_changed(db, dc_query_run(&query));
    }
    if (status != DC_OK) {
        dc_namelist_rewind(removed, used, count); /* the row is still there, and needs its file */
    }
    return status;
}

dc_status dc_row_remove(dc_db *db, const dc_key *key, double now, dc_namelist *removed)
{
    dc_query query;
    dc_row row;
    dc_status status;

    /* Most items have no value file, and go with one statement. */
    dc_row_start_query(&query, db, DC_SQL_DELETE_INLINE, key);
    dc_query_bind_real(&query, now);
    status = dc_query_run(&query);
    if (status != DC_OK || sqlite.changes(db->handle) > 0) {
        return status;
    }
    dc_row_init(&row);
    status = dc_row_locate(db, key, &row);
    if (status == DC_OK) {
        status = dc_columns_alive(&row.columns, now)
                     ? dc_row_delete(db, row.rowid, row.columns.filename, removed)
                     : DC_NOT_FOUND;
    }
    dc_row_clear(&row);
    return status;
}

dc_status dc_row_touch(dc_db *db, const dc_key *key, const dc_columns *expire, double now)
{
    dc_query query;
    dc_row row;
    dc_status status;

    dc_row_init(&row);
    status = dc_row_locate(db, key, &row);
    if (status == DC_OK && !dc_columns_alive(&row.columns, now)) {
        status = DC_NOT_FOUND;
    }
    if (status == DC_OK) {
        dc_query_start(&query, db, DC_SQL_UPDATE_EXPIRE_TIME);
        dc_query_bind_integer(&query, row.rowid);
        bind_expire_time(&query, expire);
        dc_budget_debit_row(db, NULL, expire);
        status = dc_row_found_if_changed(db, dc_query_run(&query));
    }
    dc_row_clear(&row);
    return status;
}

dc_status dc_row_count_access(dc_db *db, dc_policy policy, int64_t rowid, double now, int64_t times)
{
    const dc_policy_sql *counting = &dc_policies[policy];
    dc_query query;

    if (counting->access == DC_ACCESS_NONE) {
        return DC_OK;
    }
    dc_query_start(&query, db, counting->count_access);
    dc_query_bind_integer(&query, rowid);
    if (counting->access == DC_ACCESS_TIME) {
        dc_query_bind_real(&query, now);
    } else {
        dc_query_bind_integer(&query, times);
    }
    dc_budget_debit(db, sizeof now);
    return dc_query_run(&query);
}
