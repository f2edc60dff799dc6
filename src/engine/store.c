/* store.c: the operations on the table; see store.h for the contract.
 *
 * Every function runs its statements to the end before it returns: no statement is left stepped.
 * The bytes that SQLite hands out are copied into a dc_row first, because they are gone with the
 * next step of the same statement.
 */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */

#include "engine/store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* FORMAT.md, "Queues". The integer range begins at 10^14, so that a user's own small integer keys are
 * no part of the queue. */
#define QUEUE_LOWEST  INT64_C(99999999999999)
#define QUEUE_HIGHEST INT64_C(999999999999999)
#define QUEUE_ORIGIN  INT64_C(500000000000000)
#define QUEUE_DIGITS  15

static dc_status out_of_memory(dc_db *db)
{
    return dc_error_set(&db->error, DC_NO_MEMORY, "out of memory");
}

/* A statement has done nothing, because a trigger of a user's has said so. */
#define CONSTRAINT_TRIGGER (19 | 7 << 8) /* SQLITE_CONSTRAINT_TRIGGER */

static dc_status kept_by_trigger(dc_db *db)
{
    dc_error_set(&db->error, DC_SQLITE, "a trigger has kept a row from being written");
    db->error.sqlite_code = CONSTRAINT_TRIGGER;
    return DC_SQLITE;
}

static dc_status found_if_changed(dc_db *db, dc_status status)
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

/* The single integer that a statement without parameters answers with. */
static dc_status single_integer(dc_db *db, dc_sql sql, int64_t *value)
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

/* --- reading rows ----------------------------------------------------------------------------- */

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
    COLUMN_ROWID,
    COLUMN_STORE_TIME,
    COLUMN_EXPIRE_TIME,
    COLUMN_TAG,
    COLUMN_SIZE,
    COLUMN_MODE,
    COLUMN_FILENAME,
    COLUMN_VALUE,
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
    int in_file = value.type == DC_NULL;

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
        return out_of_memory(query->db);
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
    row->columns.mode = dc_query_integer(query, COLUMN_MODE);
    row->columns.filename = filename_of(&filename);
    row->columns.value = value;
    row->key.datum = key;
    row->key.raw = with_key && dc_query_integer(query, COLUMN_RAW) != 0;
    return DC_OK;
}

/* Step once, copy the row if there is one, and end the query. */
static dc_status read_one_row(dc_query *query, unsigned int details, int with_key, dc_row *row)
{
    dc_status status = dc_query_step(query);

    if (status == DC_OK) {
        status = read_row(query, details, with_key, row);
    }
    dc_query_end(query);
    return status;
}

static void start_with_key(dc_query *query, dc_db *db, dc_sql sql, const dc_key *key)
{
    dc_query_start(query, db, sql);
    dc_query_bind(query, &key->datum);
    dc_query_bind_integer(query, key->raw);
}

/* A row without tag and identity: the quick way. */
static dc_status get_value(dc_db *db, const dc_key *key, dc_row *row)
{
    const dc_datum null = {.type = DC_NULL};
    dc_datum value;
    dc_datum expire_time;
    dc_datum filename = null;
    dc_query query;
    dc_status status;

    dc_query_start(&query, db, key->raw ? DC_SQL_GET_RAW_KEY : DC_SQL_GET_PICKLED_KEY);
    dc_query_bind(&query, &key->datum);
    status = dc_query_step(&query);
    if (status != DC_OK) {
        goto done;
    }
    value = dc_query_column(&query, 0);
    expire_time = dc_query_column(&query, 2);
    if (value.type == DC_NULL) {
        filename = dc_query_column(&query, 3);
    }
    if (!dc_row_reserve(row, dc_datum_room(&value) + dc_datum_room(&filename))) {
        status = out_of_memory(db);
        goto done;
    }
    dc_row_keep_datum(row, &value);
    dc_row_keep_datum(row, &filename);
    row->rowid = 0;
    row->store_time = 0.0;
    row->key.datum = null;
    set_expire_time(&row->columns, &expire_time);
    row->columns.tag = null;
    row->columns.size = value.type == DC_NULL ? dc_query_integer(&query, 4) : 0;
    row->columns.mode = dc_query_integer(&query, 1);
    row->columns.filename = filename_of(&filename);
    row->columns.value = value;
done:
    dc_query_end(&query);
    return status;
}

dc_status dc_store_get(dc_db *db, const dc_key *key, unsigned int details, dc_row *row)
{
    dc_query query;

    if (details == DC_DETAIL_NONE) {
        return get_value(db, key, row);
    }
    start_with_key(&query, db, DC_SQL_GET, key);
    return read_one_row(&query, details, 0, row);
}

/* Keep a text column of the current row as `filename`. */
static dc_status keep_filename(dc_query *query, int column, dc_row *row)
{
    dc_datum filename = dc_query_column(query, column);

    row->columns.filename = NULL;
    if (filename.type == DC_TEXT) {
        if (!dc_row_reserve(row, dc_datum_room(&filename))) {
            return out_of_memory(query->db);
        }
        dc_row_keep_datum(row, &filename);
        row->columns.filename = filename_of(&filename);
    }
    return DC_OK;
}

dc_status dc_store_locate(dc_db *db, const dc_key *key, dc_row *row)
{
    dc_query query;
    dc_datum expire_time;
    dc_status status;

    start_with_key(&query, db, DC_SQL_LOCATE, key);
    status = dc_query_step(&query);
    if (status == DC_OK) {
        row->rowid = dc_query_integer(&query, 0);
        expire_time = dc_query_column(&query, 1);
        set_expire_time(&row->columns, &expire_time);
        status = keep_filename(&query, 2, row);
    }
    dc_query_end(&query);
    return status;
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

/* --- forecast --------------------------------------------------------------------------------
 *
 * Most writes have nothing to cull, and finding that out anew costs more than the write: the pragmas
 * for the page count are compiled each time they run. So the handle remembers (dc_forecast) how much
 * can be written before the volume can reach the limit, and when the first row expires. Each write
 * draws its own share from that; anybody else's commit, a rollback, and a Connection in a user's hands
 * void it. It errs on one side only: slack is never more than there is, expiry never later. */

static int forecast_holds(dc_db *db, const dc_rules *rules)
{
    const dc_forecast *forecast = &db->forecast;

    return forecast->known && !forecast->exposed && forecast->size_limit == rules->size_limit &&
           forecast->version == dc_db_data_version(db);
}

/* Pages that one row can add beyond its own bytes: a split on each of four levels, of the table and of
 * four indexes. */
#define PAGES_PER_WRITE 20

/* Every statement that can make the database grow draws what it can grow by. Bytes on overflow pages
 * come with links, and with auto_vacuum each page has an entry in a pointer map: 2 % of the smallest
 * pages, so a part in 32 is enough. */
static void forecast_draw(dc_db *db, int64_t bytes)
{
    int64_t drawn = bytes > 0 ? bytes : 0; /* a row may say anything of its file */

    drawn = dc_saturated_sum(drawn, drawn / 32 + PAGES_PER_WRITE * db->page_size);
    db->forecast.slack = dc_saturated_sum(db->forecast.slack, -drawn);
}

static void forecast_write(dc_db *db, const dc_key *key, const dc_columns *columns)
{
    dc_forecast *forecast = &db->forecast;
    /* Tags and keys are in the table and in an index. */
    size_t size = dc_datum_room(&columns->value) + 2 * dc_datum_room(&columns->tag);

    if (key != NULL) {
        size += 2 * dc_datum_room(&key->datum);
    }
    forecast_draw(db, dc_saturated_sum(columns->size, (int64_t)size));
    if (columns->has_expire_time && columns->expire_time < forecast->earliest_expiry) {
        forecast->earliest_expiry = columns->expire_time;
    }
}

static dc_status forecast_make(dc_db *db, const dc_rules *rules)
{
    dc_forecast *forecast = &db->forecast;
    dc_query query;
    dc_datum earliest;
    int64_t volume = 0;
    dc_status status = dc_store_volume(db, 0, &volume);

    forecast->known = 0;
    if (status != DC_OK) {
        return status;
    }
    dc_query_start(&query, db, DC_SQL_EARLIEST_EXPIRY);
    status = dc_query_step(&query);
    if (status == DC_OK) {
        earliest = dc_query_column(&query, 0);
        forecast->earliest_expiry = earliest.type == DC_REAL      ? earliest.as.real
                                    : earliest.type == DC_INTEGER ? (double)earliest.as.integer
                                                                  : HUGE_VAL;
        forecast->slack = dc_saturated_sum(rules->size_limit, -volume);
        forecast->size_limit = rules->size_limit;
        forecast->version = dc_db_data_version(db);
        forecast->known = 1;
    }
    dc_query_end(&query);
    return status;
}

/* Whether the forecast says that there is nothing to cull. */
static int nothing_to_cull(dc_db *db, double now, const dc_rules *rules)
{
    return forecast_holds(db, rules) && now <= db->forecast.earliest_expiry &&
           (rules->policy == DC_POLICY_NONE || db->forecast.slack > 0);
}

/* --- writing one row -------------------------------------------------------------------------- */

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
static dc_status run_insert(dc_db *db, dc_sql sql, const dc_key *key, const dc_columns *columns,
                            double now)
{
    dc_query query;
    dc_status status;

    start_with_key(&query, db, sql, key);
    dc_query_bind_real(&query, now);
    bind_content(&query, columns);
    dc_query_bind(&query, &columns->tag);
    bind_expire_time(&query, columns);
    status = dc_query_run(&query);
    if (status == DC_OK) {
        forecast_write(db, key, columns);
    }
    return status;
}

dc_status dc_store_insert(dc_db *db, const dc_key *key, const dc_columns *columns, double now,
                          int64_t *rowid)
{
    dc_status status = found_if_changed(db, run_insert(db, DC_SQL_INSERT, key, columns, now));

    if (status == DC_OK) {
        *rowid = sqlite.last_insert_rowid(db->handle);
    }
    return status;
}

/* What one statement can do of dc_store_set(): insert an item, or put it over one that has no value
 * file. DC_NOT_FOUND: it was something else, and nothing is changed. */
static dc_status put_at_once(dc_db *db, const dc_key *key, const dc_columns *columns, double now,
                             int only_if_absent)
{
    int plain = columns->tag.type == DC_NULL && !columns->has_expire_time;
    dc_sql sql = only_if_absent ? DC_SQL_INSERT_ABSENT : plain ? DC_SQL_PUT_PLAIN : DC_SQL_PUT;

    return found_if_changed(db, run_insert(db, sql, key, columns, now));
}

dc_status dc_store_update(dc_db *db, int64_t rowid, const dc_columns *columns, double now)
{
    dc_query query;

    dc_query_start(&query, db, DC_SQL_UPDATE);
    dc_query_bind_integer(&query, rowid);
    dc_query_bind_real(&query, now);
    bind_content(&query, columns);
    dc_query_bind(&query, &columns->tag);
    bind_expire_time(&query, columns);
    forecast_write(db, NULL, columns);
    return found_if_changed(db, dc_query_run(&query));
}

/* The steps of a write, or what has taken their place. */
static dc_status insert_step(dc_db *db, const dc_key *key, const dc_columns *columns, double now,
                             const dc_rules *rules, int64_t *rowid)
{
    const dc_row_hooks *hooks = rules->hooks;

    return hooks != NULL && hooks->insert != NULL
               ? hooks->insert(hooks->context, key, columns, now, rowid)
               : dc_store_insert(db, key, columns, now, rowid);
}

static dc_status update_step(dc_db *db, int64_t rowid, const dc_columns *columns, double now,
                             const dc_rules *rules)
{
    const dc_row_hooks *hooks = rules->hooks;

    return hooks != NULL && hooks->update != NULL
               ? hooks->update(hooks->context, rowid, columns, now)
               : dc_store_update(db, rowid, columns, now);
}

/* Bytes of the value, in its file or inline; a number has none. */
static int64_t value_bytes(const dc_columns *columns)
{
    size_t room = dc_datum_room(&columns->value);

    return columns->size > 0 ? columns->size : (int64_t)room - (room > 0);
}

static dc_status cull_step(dc_db *db, double now, const dc_rules *rules, const dc_columns *written,
                           int64_t keep, dc_namelist *removed)
{
    const dc_row_hooks *hooks = rules->hooks;
    int64_t count = 0;
    dc_status status;

    if (hooks != NULL && hooks->cull != NULL) {
        return hooks->cull(hooks->context, now);
    }
    if (rules->cull_limit <= 0 || nothing_to_cull(db, now, rules)) {
        return DC_OK;
    }
    if (db->forecast.version != dc_db_data_version(db)) {
        db->page_size = 0; /* another's VACUUM may have changed it */
    }
    status = dc_store_cull(db, now, rules->cull_limit, value_bytes(written), rules, keep, removed,
                           &count);
    return status == DC_OK ? forecast_make(db, rules) : status;
}

static dc_status note_removed(dc_db *db, const char *filename, dc_namelist *removed)
{
    if (filename != NULL && !dc_namelist_add(removed, filename)) {
        return out_of_memory(db);
    }
    return DC_OK;
}

dc_status dc_store_delete(dc_db *db, int64_t rowid, const char *filename, dc_namelist *removed)
{
    size_t used = removed->used;
    size_t count = removed->count;
    dc_query query;
    dc_status status = note_removed(db, filename, removed);

    if (status == DC_OK) {
        dc_query_start(&query, db, DC_SQL_DELETE);
        dc_query_bind_integer(&query, rowid);
        status = found_if_changed(db, dc_query_run(&query));
    }
    if (status != DC_OK) {
        dc_namelist_rewind(removed, used, count); /* the row is still there, and needs its file */
    }
    return status;
}

dc_status dc_store_remove(dc_db *db, const dc_key *key, double now, dc_namelist *removed)
{
    dc_query query;
    dc_row row;
    dc_status status;

    /* Most items have no value file, and go with one statement. */
    start_with_key(&query, db, DC_SQL_DELETE_INLINE, key);
    dc_query_bind_real(&query, now);
    status = dc_query_run(&query);
    if (status != DC_OK || sqlite.changes(db->handle) > 0) {
        return status;
    }
    dc_row_init(&row);
    status = dc_store_locate(db, key, &row);
    if (status == DC_OK) {
        status = dc_columns_alive(&row.columns, now)
                     ? dc_store_delete(db, row.rowid, row.columns.filename, removed)
                     : DC_NOT_FOUND;
    }
    dc_row_clear(&row);
    return status;
}

/* A name looked for among those of the rows. */
typedef struct sought_name {
    const char *name;
    int named;
} sought_name;

static int compare_sought(const void *left, const void *right)
{
    return strcmp(((const sought_name *)left)->name, ((const sought_name *)right)->name);
}

/* Mark those of the sorted names that rows have. */
static dc_status mark_named(dc_db *db, sought_name *sought, size_t count)
{
    dc_query query;
    dc_datum datum;
    sought_name key = {.name = NULL};
    sought_name *found;
    dc_row row;
    dc_status status;

    dc_row_init(&row);
    dc_query_start(&query, db, DC_SQL_FILENAMES);
    status = dc_query_step(&query);
    while (status == DC_OK) {
        datum = dc_query_column(&query, 0);
        if (datum.type == DC_TEXT) {
            if (!dc_row_reserve(&row, dc_datum_room(&datum))) {
                status = out_of_memory(db);
                break;
            }
            dc_row_keep_datum(&row, &datum); /* with a NUL at its end */
            key.name = datum.as.bytes.data;
            found = bsearch(&key, sought, count, sizeof *sought, compare_sought);
            if (found != NULL) {
                found->named = 1;
            }
        }
        status = dc_query_step(&query);
    }
    dc_query_end(&query);
    dc_row_clear(&row);
    return status == DC_NOT_FOUND ? DC_OK : status;
}

dc_status dc_store_unnamed_files(dc_db *db, const dc_namelist *names, dc_namelist *unnamed)
{
    sought_name *sought;
    size_t count = 0;
    dc_status status;

    if (names->count == 0) {
        return DC_OK;
    }
    sought = malloc(names->count * sizeof *sought);
    if (sought == NULL) {
        return out_of_memory(db);
    }
    for (const char *name = dc_namelist_next(names, NULL); name != NULL;
         name = dc_namelist_next(names, name)) {
        sought[count++] = (sought_name){.name = name};
    }
    qsort(sought, count, sizeof *sought, compare_sought);
    status = mark_named(db, sought, count);
    for (size_t i = 0; i < count && status == DC_OK; i++) {
        if (!sought[i].named && !dc_namelist_add(unnamed, sought[i].name)) {
            status = out_of_memory(db);
        }
    }
    free(sought);
    return status;
}

int dc_columns_exceed(const dc_columns *columns, const dc_rules *rules)
{
    return rules->policy != DC_POLICY_NONE && rules->cull_limit > 0 &&
           value_bytes(columns) > rules->size_limit;
}

/* dc_store_set() by the steps that may be overridden, or with a value file to remove. */
static dc_status set_by_steps(dc_db *db, const dc_key *key, const dc_columns *columns, double now,
                              int only_if_absent, const dc_rules *rules, dc_namelist *removed,
                              int *written)
{
    size_t used = removed->used;
    size_t noted = removed->count;
    dc_row old;
    int64_t rowid = 0;
    dc_status status;

    dc_row_init(&old);
    status = dc_store_locate(db, key, &old);
    if (status != DC_OK && status != DC_NOT_FOUND) {
        goto done;
    }
    if (status == DC_OK && only_if_absent && dc_columns_alive(&old.columns, now)) {
        goto done;
    }
    if (dc_columns_exceed(columns, rules)) {
        status = status == DC_OK ? dc_store_delete(db, old.rowid, old.columns.filename, removed)
                                 : status;
        goto done;
    }
    if (status == DC_NOT_FOUND) {
        status = insert_step(db, key, columns, now, rules, &rowid);
    } else {
        rowid = old.rowid;
        status = note_removed(db, old.columns.filename, removed);
        if (status == DC_OK) {
            status = update_step(db, rowid, columns, now, rules);
        }
        if (status != DC_OK) {
            dc_namelist_rewind(removed, used, noted);
        }
    }
    if (status == DC_OK) {
        *written = 1;
        status = cull_step(db, now, rules, columns, rowid, removed);
    }
done:
    dc_row_clear(&old);
    return status == DC_NOT_FOUND ? DC_OK
                                  : status; /* nothing was to be done, or a trigger kept it */
}

/* Statements of a trigger resolve conflicts as the one that fires it does: an update by ON CONFLICT aborts
 * where INSERT OR REPLACE of a user's trigger would replace. Then the steps do it; nothing is changed yet. */
static int is_conflict_of_trigger(dc_db *db, dc_status status)
{
    return status == DC_SQLITE && (db->error.sqlite_code & 0xff) == DC_SQLITE_CONSTRAINT &&
           dc_db_in_transaction(db);
}

dc_status dc_store_set(dc_db *db, const dc_key *key, const dc_columns *columns, double now,
                       int only_if_absent, const dc_rules *rules, dc_namelist *removed,
                       int *written)
{
    dc_status status = DC_NOT_FOUND;
    dc_row row;

    *written = 0;
    if (rules->hooks == NULL && !dc_columns_exceed(columns, rules)) {
        status = put_at_once(db, key, columns, now, only_if_absent);
    }
    if (status == DC_NOT_FOUND || is_conflict_of_trigger(db, status)) {
        return set_by_steps(db, key, columns, now, only_if_absent, rules, removed, written);
    }
    *written = status == DC_OK;
    if (status != DC_OK || rules->cull_limit <= 0 || nothing_to_cull(db, now, rules)) {
        return status;
    }
    dc_row_init(&row);
    status = dc_store_locate(db, key, &row);
    if (status == DC_OK || status == DC_NOT_FOUND) { /* a user's trigger may have deleted it */
        status = cull_step(db, now, rules, columns, status == DC_OK ? row.rowid : 0, removed);
    }
    dc_row_clear(&row);
    return status;
}

dc_status dc_store_touch(dc_db *db, const dc_key *key, const dc_columns *expire, double now)
{
    dc_query query;
    dc_row row;
    dc_status status;

    dc_row_init(&row);
    status = dc_store_locate(db, key, &row);
    if (status == DC_OK && !dc_columns_alive(&row.columns, now)) {
        status = DC_NOT_FOUND;
    }
    if (status == DC_OK) {
        dc_query_start(&query, db, DC_SQL_UPDATE_EXPIRE_TIME);
        dc_query_bind_integer(&query, row.rowid);
        bind_expire_time(&query, expire);
        forecast_write(db, NULL, expire);
        status = found_if_changed(db, dc_query_run(&query));
    }
    dc_row_clear(&row);
    return status;
}

dc_status dc_datum_add(const dc_datum *left, const dc_datum *right, dc_datum *sum)
{
    int integers = left->type == DC_INTEGER && right->type == DC_INTEGER;

    if ((left->type != DC_INTEGER && left->type != DC_REAL) ||
        (right->type != DC_INTEGER && right->type != DC_REAL)) {
        return DC_TYPE;
    }
    if (integers) {
        int64_t a = left->as.integer;
        int64_t b = right->as.integer;

        if ((b > 0 && a > INT64_MAX - b) || (b < 0 && a < INT64_MIN - b)) {
            return DC_OVERFLOW;
        }
        sum->type = DC_INTEGER;
        sum->as.integer = a + b;
    } else {
        double a = left->type == DC_REAL ? left->as.real : (double)left->as.integer;
        double b = right->type == DC_REAL ? right->as.real : (double)right->as.integer;

        sum->type = DC_REAL;
        sum->as.real = a + b;
        if (sum->as.real != sum->as.real) { /* NaN: SQLite would store NULL */
            return DC_OVERFLOW;
        }
    }
    return DC_OK;
}

dc_status dc_store_note_access(dc_db *db, dc_policy policy, int64_t rowid, double now,
                               int64_t times)
{
    dc_sql sql = dc_policies[policy].note_access;
    dc_query query;

    if (sql == DC_NO_SQL) {
        return DC_OK;
    }
    dc_query_start(&query, db, sql);
    dc_query_bind_integer(&query, rowid);
    if (sql == DC_SQL_UPDATE_ACCESS_TIME) {
        dc_query_bind_real(&query, now);
    } else {
        dc_query_bind_integer(&query, times);
    }
    forecast_draw(db, sizeof now);
    return dc_query_run(&query);
}

static DC_THREAD_LOCAL int64_t noted_sum;

static void note_sum(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    (void)count;
    noted_sum = sqlite.value_int64(arguments[0]);
    sqlite.result_int64(context, noted_sum);
}

void dc_store_define_sum(dc_db *db)
{
    if (!db->notes_sums) {
        db->notes_sums = sqlite.create_function_v2(db->handle, DC_FUNCTION_SUM, 1,
                                                   DC_SQLITE_UTF8 | DC_SQLITE_DIRECTONLY, NULL,
                                                   note_sum, NULL, NULL, NULL) == DC_SQLITE_OK;
    }
}

/* What one statement can do of dc_store_increment(): add integers, where the row is there and the sum
 * fits. DC_NOT_FOUND: it was something else, and nothing is changed. */
static dc_status add_at_once(dc_db *db, const dc_key *key, int64_t delta, double now, dc_datum *sum)
{
    dc_query query;
    dc_status status;

    dc_store_define_sum(db);
    if (!db->notes_sums) {
        return DC_NOT_FOUND;
    }
    start_with_key(&query, db, DC_SQL_INCREMENT, key);
    dc_query_bind_real(&query, now);
    dc_query_bind_integer(&query, delta);
    dc_query_bind_integer(&query, delta < 0 ? INT64_MIN - delta : INT64_MIN);
    dc_query_bind_integer(&query, delta > 0 ? INT64_MAX - delta : INT64_MAX);
    forecast_draw(db, sizeof delta);
    status = found_if_changed(db, dc_query_run(&query));
    if (status == DC_NOT_FOUND) {
        return status;
    }
    sum->type = DC_INTEGER;
    sum->as.integer = noted_sum;
    return status;
}

dc_status dc_store_increment(dc_db *db, const dc_key *key, const dc_datum *delta,
                             const dc_columns *initial, double now, const dc_rules *rules,
                             dc_namelist *removed, dc_datum *sum, int *created)
{
    dc_query query;
    dc_row row;
    dc_status status;

    *created = 0;
    if (delta->type == DC_INTEGER && dc_policies[rules->policy].note_access == DC_NO_SQL) {
        status = add_at_once(db, key, delta->as.integer, now, sum);
        if (status != DC_NOT_FOUND) {
            return status;
        }
    }
    dc_row_init(&row);
    status = dc_store_get(db, key, DC_DETAIL_IDENTITY, &row);
    if (status == DC_NOT_FOUND || (status == DC_OK && dc_columns_expired(&row.columns, now))) {
        if (initial == NULL) {
            status = DC_NOT_FOUND;
            goto done;
        }
        status = dc_store_set(db, key, initial, now, 0, rules, removed, created);
        if (status == DC_OK && !*created && !dc_columns_exceed(initial, rules)) {
            status = kept_by_trigger(db);
        }
        goto done;
    }
    if (status != DC_OK) {
        goto done;
    }
    status = row.columns.mode == DC_MODE_RAW && row.columns.filename == NULL
                 ? dc_datum_add(&row.columns.value, delta, sum)
                 : DC_TYPE;
    if (status == DC_OK) {
        dc_query_start(&query, db, DC_SQL_UPDATE_VALUE);
        dc_query_bind_integer(&query, row.rowid);
        dc_query_bind_real(&query, now);
        dc_query_bind(&query, sum);
        forecast_draw(db, sizeof sum->as);
        status = found_if_changed(db, dc_query_run(&query));
        if (status == DC_NOT_FOUND) {
            status = kept_by_trigger(db);
        }
    }
    if (status == DC_OK) {
        status = dc_store_note_access(db, rules->policy, row.rowid, now, 1);
    }
done:
    dc_row_clear(&row);
    return status;
}

/* --- queues and ends -------------------------------------------------------------------------- */

/* Write prefix + '-' + `number` with 15 digits into memory of prefix_size + 32 bytes. */
static size_t format_queue_key(char *text, const dc_queue *queue, int64_t number)
{
    memcpy(text, queue->prefix, queue->prefix_size);
    return queue->prefix_size +
           (size_t)snprintf(text + queue->prefix_size, 32, "-%015lld", (long long)number);
}

static dc_datum text_datum(const char *data, size_t size)
{
    dc_datum datum = {.type = DC_TEXT};

    datum.as.bytes.data = data;
    datum.as.bytes.size = size;
    return datum;
}

dc_status dc_store_queue_end(dc_db *db, const dc_queue *queue, dc_side side, dc_row *row)
{
    dc_query query;
    dc_datum low_text;
    dc_datum high_text;
    char *low = NULL;
    char *high;
    dc_status status;

    if (queue->prefix == NULL) {
        dc_query_start(&query, db, side == DC_FRONT ? DC_SQL_INTEGERS_FRONT : DC_SQL_INTEGERS_BACK);
        dc_query_bind_integer(&query, QUEUE_LOWEST);
        dc_query_bind_integer(&query, QUEUE_HIGHEST);
        return read_one_row(&query, DC_DETAIL_ALL, 1, row);
    }
    low = malloc(2 * (queue->prefix_size + 32));
    if (low == NULL) {
        return out_of_memory(db);
    }
    high = low + queue->prefix_size + 32;
    low_text = text_datum(low, format_queue_key(low, queue, 0));
    high_text = text_datum(high, format_queue_key(high, queue, QUEUE_HIGHEST));
    dc_query_start(&query, db, side == DC_FRONT ? DC_SQL_TEXT_FRONT : DC_SQL_TEXT_BACK);
    dc_query_bind(&query, &low_text);
    dc_query_bind(&query, &high_text);
    dc_query_bind_integer(&query, (int64_t)queue->prefix_size + 1 + QUEUE_DIGITS);
    status = read_one_row(&query, DC_DETAIL_ALL, 1, row);
    free(low);
    return status;
}

dc_status dc_queue_next_key(const dc_queue *queue, dc_side side, int empty, dc_row *row,
                            dc_error *error)
{
    const dc_datum *last = &row->key.datum;
    int64_t number = QUEUE_ORIGIN;

    if (!empty) {
        number = last->type == DC_INTEGER
                     ? last->as.integer
                     : strtoll(last->as.bytes.data + last->as.bytes.size - QUEUE_DIGITS, NULL, 10);
        number += side == DC_BACK ? 1 : -1;
    }
    if (number >= QUEUE_HIGHEST || number <= (queue->prefix == NULL ? QUEUE_LOWEST : 0)) {
        return dc_error_set(error, DC_OVERFLOW, "no key is left at this side of the queue");
    }
    row->key.raw = 1;
    if (queue->prefix == NULL) {
        row->key.datum.type = DC_INTEGER;
        row->key.datum.as.integer = number;
        return DC_OK;
    }
    if (!dc_row_reserve(row, queue->prefix_size + 32)) {
        return dc_error_set(error, DC_NO_MEMORY, "out of memory");
    }
    row->key.datum = text_datum(row->memory, format_queue_key(row->memory, queue, number));
    return DC_OK;
}

dc_status dc_store_push(dc_db *db, const dc_queue *queue, dc_side side, const dc_columns *columns,
                        double now, const dc_rules *rules, dc_namelist *removed, dc_row *row,
                        int *written)
{
    int64_t rowid = 0;
    dc_status status;

    *written = 0;
    if (dc_columns_exceed(columns, rules)) {
        return DC_OK;
    }
    status = dc_store_queue_end(db, queue, side, row);
    if (status == DC_OK || status == DC_NOT_FOUND) {
        status = dc_queue_next_key(queue, side, status == DC_NOT_FOUND, row, &db->error);
    }
    if (status == DC_OK) {
        status = insert_step(db, &row->key, columns, now, rules, &rowid);
    }
    if (status == DC_OK) {
        *written = 1;
        status = cull_step(db, now, rules, columns, rowid, removed);
    }
    return status == DC_NOT_FOUND ? DC_OK : status; /* a trigger kept it from being inserted */
}

dc_status dc_store_end(dc_db *db, int last, dc_row *row)
{
    dc_query query;

    dc_query_start(&query, db, last ? DC_SQL_LAST : DC_SQL_FIRST);
    return read_one_row(&query, DC_DETAIL_ALL, 1, row);
}

dc_status dc_store_nth(dc_db *db, dc_side side, int64_t before, dc_row *row)
{
    dc_query query;

    dc_query_start(&query, db, side == DC_FRONT ? DC_SQL_NTH_LOWEST : DC_SQL_NTH_HIGHEST);
    dc_query_bind_integer(&query, before);
    return read_one_row(&query, DC_DETAIL_ALL, 1, row);
}

/* --- many rows -------------------------------------------------------------------------------- */

/* Find the row that `sql` names with its parameters; DC_NOT_FOUND if there is none. */
static dc_status find_victim(dc_db *db, dc_sql sql, int64_t rowid, const dc_datum *parameter,
                             int64_t passed, dc_row *row)
{
    dc_query query;
    dc_status status;

    dc_query_start(&query, db, sql);
    dc_query_bind_integer(&query, rowid);
    dc_query_bind(&query, parameter);
    dc_query_bind_integer(&query, passed);
    status = dc_query_step(&query);
    if (status == DC_OK) {
        row->rowid = dc_query_integer(&query, 0);
        status = keep_filename(&query, 1, row);
    }
    dc_query_end(&query);
    return status;
}

static dc_status delete_victim(dc_db *db, const dc_row *row, dc_namelist *removed)
{
    db->victims++;
    return dc_store_delete(db, row->rowid, row->columns.filename, removed);
}

/* The bytes of a row's value, as value_bytes counts them. */
static dc_status read_value_bytes(dc_db *db, int64_t rowid, int64_t *bytes)
{
    dc_query query;
    dc_status status;

    dc_query_start(&query, db, DC_SQL_VALUE_BYTES);
    dc_query_bind_integer(&query, rowid);
    status = dc_query_step(&query);
    if (status == DC_OK) {
        *bytes = dc_query_integer(&query, 0);
    }
    dc_query_end(&query);
    return status;
}

dc_status dc_store_cull(dc_db *db, double now, int64_t limit, int64_t written,
                        const dc_rules *rules, int64_t keep, dc_namelist *removed, int64_t *count)
{
    const dc_datum time = {.type = DC_REAL, .as.real = now};
    dc_sql by_policy = dc_policies[rules->policy].victim;
    dc_sql victim = DC_SQL_VICTIM_EXPIRED;
    int64_t left = limit;
    int64_t freed = 0;  /* bytes of the values removed */
    int64_t passed = 0; /* rows that a trigger keeps: each counts as one that went */
    int64_t volume = 0;
    dc_row row;
    dc_status status = DC_OK;

    dc_row_init(&row);
    while (status == DC_OK) {
        int64_t bytes = 0;

        if (left <= 0 && (freed >= written || by_policy == DC_NO_SQL)) {
            break;
        }
        if (left <= 0 || victim == by_policy) {
            status = dc_store_volume(db, 0, &volume);
            if (status != DC_OK || volume < rules->size_limit) {
                break;
            }
        }
        status = find_victim(db, victim, keep, &time, passed, &row);
        if (status == DC_NOT_FOUND && victim != by_policy && by_policy != DC_NO_SQL) {
            victim = by_policy;
            passed = 0;
            status = DC_OK;
            continue;
        }
        if (status == DC_NOT_FOUND) {
            break;
        }
        if (status == DC_OK && freed < written) {
            status = read_value_bytes(db, row.rowid, &bytes);
        }
        if (status == DC_OK) {
            status = delete_victim(db, &row, removed);
        }
        if (status == DC_OK) {
            left--;
            freed = dc_saturated_sum(freed, bytes);
            *count += 1;
        } else if (status == DC_NOT_FOUND && left > 0) {
            left--;
            passed++;
            status = DC_OK;
        }
    }
    dc_row_clear(&row);
    return status == DC_NOT_FOUND ? DC_OK : status;
}

/* --- sweeps ------------------------------------------------------------------------------------
 *
 * One DELETE takes many rows, and tells with RETURNING which files they had: so what is deleted and what
 * is noted cannot differ. Batches begin small and double, because rows differ in size, and the lock must
 * not be kept for long.
 *
 * A sweep of more than a few hundred rows turns the triggers off, which cost as much as deleting the
 * rows does, and does their sums itself. That is only done where they are the library's own; a savepoint
 * makes rows and sums one. And where all rows go and the table is small, SQLite can drop it page by page
 * instead of row by row: 10,000 rows take 0.2 µs each instead of 1.4. */

#define SWEEP_FIRST   8    /* rows in the first batch of a portion */
#define SWEEP_LARGEST 512  /* rows in a batch */
#define SWEEP_MANY    128  /* rows in a batch from which on to do without triggers */
#define SWEEP_PAGES   1024 /* pages of a database that can be emptied at once, within milliseconds */

typedef struct sweep_tally {
    int64_t rows;
    int64_t bytes; /* in value files */
} sweep_tally;

/* Note the files of the rows (rowid, size, filename) of a statement; the last rowid is *last. */
static dc_status note_files(dc_query *query, dc_namelist *removed, sweep_tally *tally,
                            int64_t *last)
{
    dc_row row;
    dc_status status = dc_query_step(query);

    dc_row_init(&row);
    while (status == DC_OK) {
        int64_t rowid = dc_query_integer(query, 0);

        tally->rows++;
        tally->bytes = dc_saturated_sum(tally->bytes, dc_query_integer(query, 1));
        *last = rowid > *last ? rowid : *last;
        status = keep_filename(query, 2, &row);
        if (status == DC_OK) {
            status = note_removed(query->db, row.columns.filename, removed);
        }
        if (status == DC_OK) {
            status = dc_query_step(query);
        }
    }
    dc_query_end(query);
    dc_row_clear(&row);
    return status == DC_NOT_FOUND ? DC_OK : status;
}

/* Delete batches, until nothing is left (*done), `until` has passed, or a batch of `largest` is next. */
static dc_status sweep_batches(dc_db *db, dc_sweep *sweep, int64_t *batch, int64_t largest,
                               double until, dc_namelist *removed, sweep_tally *tally, int *done)
{
    dc_status status = DC_OK;
    double began = dc_clock();
    double now = began;

    while (status == DC_OK && !*done && *batch < largest) {
        int64_t before = tally->rows;
        size_t used = removed->used;
        size_t noted = removed->count;
        dc_query query;

        dc_query_start(&query, db, sweep->sql);
        dc_query_bind_integer(&query, sweep->after);
        dc_query_bind(&query, &sweep->parameter);
        dc_query_bind_integer(&query, *batch);
        status = note_files(&query, removed, tally, &sweep->after);
        if (status != DC_OK) {
            dc_namelist_rewind(removed, used, noted); /* SQLite may have undone all of the batch */
        }
        *done = status == DC_OK && tally->rows - before < *batch;
        began = now;
        now = dc_clock();
        if (now > until) {
            break;
        }
        if (*batch < SWEEP_LARGEST && now + 2.0 * (now - began) < until) {
            *batch *= 2;
        }
    }
    return status;
}

/* How many of the library's triggers on deletion there are, and how many of somebody else's at all. */
static dc_status count_triggers(dc_db *db, int64_t *own, int64_t *foreign)
{
    dc_query query;
    dc_status status;

    dc_query_start(&query, db, DC_SQL_TRIGGERS);
    status = dc_query_step(&query);
    if (status == DC_OK) {
        *own = dc_query_integer(&query, 0);
        *foreign = dc_query_integer(&query, 1);
    }
    dc_query_end(&query);
    return status;
}

/* Whether the triggers do nothing but what a sweep can do itself, and no statement of a user's is under
 * way, which turning them off would end. DC_OK, or DC_NOT_FOUND if not. */
static dc_status can_do_without_triggers(dc_db *db)
{
    int64_t own = 0;
    int64_t foreign = 0;
    dc_status status;

    if (!dc_db_has_triggers_enabled(db) || dc_db_has_open_statement(db)) {
        return DC_NOT_FOUND;
    }
    status = count_triggers(db, &own, &foreign);
    return status == DC_OK && (own != 2 || foreign != 0) ? DC_NOT_FOUND : status;
}

/* Empty the table with one statement, if it is small; triggers are off. */
static dc_status sweep_all_at_once(dc_db *db, dc_namelist *removed, sweep_tally *tally, int *done)
{
    int64_t pages = 0;
    int64_t unused = 0;
    int64_t last = 0;
    sweep_tally files = {0, 0};
    dc_query query;
    dc_status status = single_integer(db, DC_SQL_PAGE_COUNT, &pages);

    if (status == DC_OK) {
        status = single_integer(db, DC_SQL_FREELIST_COUNT, &unused);
    }
    if (status != DC_OK || pages - unused > SWEEP_PAGES) {
        return status;
    }
    status = single_integer(db, DC_SQL_COUNT_ROWS, &tally->rows);
    if (status == DC_OK) {
        dc_query_start(&query, db, DC_SQL_FILES);
        status = note_files(&query, removed, &files, &last);
        tally->bytes = files.bytes;
    }
    if (status == DC_OK) {
        dc_query_start(&query, db, DC_SQL_DELETE_ALL);
        status = dc_query_run(&query);
    }
    *done = status == DC_OK;
    return status;
}

static dc_status run(dc_db *db, dc_sql sql)
{
    dc_query query;

    dc_query_start(&query, db, sql);
    return dc_query_run(&query);
}

static dc_status add_to_setting(dc_db *db, const char *name, int64_t number)
{
    dc_query query;

    dc_query_start(&query, db, DC_SQL_SETTING_INCREMENT);
    dc_query_bind_text(&query, name);
    dc_query_bind_integer(&query, number);
    return dc_query_run(&query);
}

/* Go on with a sweep with the triggers off. If that fails nothing of it has happened. */
static dc_status sweep_without_triggers(dc_db *db, dc_sweep *sweep, int64_t *batch, double until,
                                        dc_namelist *removed, int64_t *count, int *done)
{
    size_t used = removed->used;
    size_t noted = removed->count;
    int64_t after = sweep->after;
    sweep_tally tally = {0, 0};
    dc_error error;
    dc_status status = run(db, DC_SQL_SAVEPOINT);

    if (status != DC_OK) {
        return status;
    }
    dc_db_enable_triggers(db, 0);
    if (sweep->sql == DC_SQL_SWEEP_ALL) {
        status = sweep_all_at_once(db, removed, &tally, done);
    }
    if (status == DC_OK) {
        status = sweep_batches(db, sweep, batch, INT64_MAX, until, removed, &tally, done);
    }
    dc_db_enable_triggers(db, 1);
    if (status == DC_OK) {
        status = add_to_setting(db, "count", -tally.rows);
    }
    if (status == DC_OK && tally.bytes != 0) {
        status = add_to_setting(db, "size", -tally.bytes);
    }
    if (status == DC_OK) {
        status = run(db, DC_SQL_RELEASE_SAVEPOINT);
    }
    if (status == DC_OK) {
        *count += tally.rows;
    } else {
        error = db->error;
        if (dc_db_in_transaction(db)) { /* else SQLite itself has rolled back everything */
            run(db, DC_SQL_ROLLBACK_TO_SAVEPOINT);
            run(db, DC_SQL_RELEASE_SAVEPOINT);
        }
        db->error = error;
        dc_namelist_rewind(removed, used, noted);
        sweep->after = after;
        *done = 0;
    }
    return status;
}

/* A batch with less rows than there may be is the last one, unless a trigger keeps rows: *kept, if there
 * is one left, or, where finding that out could take a look at each row, if there is such a trigger. */
static dc_status may_be_kept(dc_db *db, const dc_sweep *sweep, int *kept)
{
    dc_sql sql = sweep->sql == DC_SQL_SWEEP_ALL ? DC_SQL_NEXT_ALL : DC_SQL_VICTIM_EXPIRED;
    int64_t own = 0;
    int64_t foreign = 0;
    dc_row row;
    dc_status status;

    if (sweep->sql == DC_SQL_SWEEP_TAGGED) {
        status = count_triggers(db, &own, &foreign);
        *kept = foreign > 0;
        return status;
    }
    dc_row_init(&row);
    status = find_victim(db, sql, sweep->after, &sweep->parameter, 0, &row);
    *kept = status == DC_OK;
    dc_row_clear(&row);
    return status == DC_NOT_FOUND ? DC_OK : status;
}

/* Go on with a sweep row by row, passing over those that a trigger keeps: of a batch it could not be told
 * which are still there. */
static dc_status sweep_one_by_one(dc_db *db, dc_sweep *sweep, double until, dc_namelist *removed,
                                  int64_t *count, int *done)
{
    dc_sql next = sweep->sql == DC_SQL_SWEEP_ALL      ? DC_SQL_NEXT_ALL
                  : sweep->sql == DC_SQL_SWEEP_TAGGED ? DC_SQL_NEXT_TAGGED
                                                      : DC_SQL_NEXT_EXPIRED;
    dc_status status = DC_OK;
    dc_row row;

    dc_row_init(&row);
    while (status == DC_OK && !*done) {
        status = find_victim(db, next, sweep->after, &sweep->parameter, 0, &row);
        if (status == DC_NOT_FOUND) {
            *done = 1;
            break;
        }
        if (status == DC_OK) {
            status = dc_store_delete(db, row.rowid, row.columns.filename, removed);
        }
        *count += status == DC_OK;
        if (status == DC_OK || status == DC_NOT_FOUND) {
            sweep->after = row.rowid;
            status = DC_OK;
        }
        if (dc_clock() > until) {
            break;
        }
    }
    dc_row_clear(&row);
    return status == DC_NOT_FOUND ? DC_OK : status;
}

static dc_status sweep_in_batches(dc_db *db, dc_sweep *sweep, double until, dc_namelist *removed,
                                  int64_t *count, int *done)
{
    int64_t batch = SWEEP_FIRST;
    sweep_tally tally = {0, 0};
    dc_status status;

    status = sweep_batches(db, sweep, &batch, SWEEP_MANY, until, removed, &tally, done);
    *count += tally.rows;
    if (status == DC_OK && !*done && batch >= SWEEP_MANY) {
        status = can_do_without_triggers(db);
        if (status == DC_OK) {
            status = sweep_without_triggers(db, sweep, &batch, until, removed, count, done);
        } else if (status == DC_NOT_FOUND) {
            tally.rows = 0;
            status = sweep_batches(db, sweep, &batch, INT64_MAX, until, removed, &tally, done);
            *count += tally.rows;
        }
    }
    return status;
}

dc_status dc_store_sweep(dc_db *db, dc_sweep *sweep, double seconds, dc_namelist *removed,
                         int64_t *count, int *done)
{
    double until = dc_clock() + seconds;
    int64_t before = *count;
    dc_status status = DC_OK;

    *done = 0;
    if (!sweep->one_by_one) {
        status = sweep_in_batches(db, sweep, until, removed, count, done);
        if (status == DC_OK && *done) {
            status = may_be_kept(db, sweep, &sweep->one_by_one);
            sweep->after = sweep->sql == DC_SQL_SWEEP_EXPIRED ? INT64_MIN : sweep->after;
            *done = status == DC_OK && !sweep->one_by_one;
        }
    }
    if (status == DC_OK && sweep->one_by_one) {
        status = sweep_one_by_one(db, sweep, until, removed, count, done);
    }
    db->victims += (unsigned long)(*count - before);
    return status;
}

#define SHRINK_CLOCK_INTERVAL 8 /* rows between two looks at the clock */

dc_status dc_store_shrink(dc_db *db, dc_sql victim, int64_t volume, double seconds,
                          dc_namelist *removed, int64_t *kept, int64_t *count, int *done)
{
    const dc_datum null = {.type = DC_NULL};
    double until = dc_clock() + seconds;
    int64_t now = 0;
    dc_status status = DC_OK;
    dc_row row;

    *done = 0;
    db->page_size = 0; /* another's VACUUM may have changed it */
    dc_row_init(&row);
    for (int i = 1; status == DC_OK; i++) {
        status = dc_store_volume(db, 0, &now);
        if (status != DC_OK || now <= volume) {
            *done = status == DC_OK;
            break;
        }
        status = find_victim(db, victim, INT64_MIN, &null, *kept, &row);
        if (status == DC_NOT_FOUND) {
            break;
        }
        if (status == DC_OK) {
            status = delete_victim(db, &row, removed);
        }
        *count += status == DC_OK;
        if (status == DC_NOT_FOUND) {
            *kept += 1;
            status = DC_OK;
        }
        if (i % SHRINK_CLOCK_INTERVAL == 0 && dc_clock() > until) {
            break;
        }
    }
    if (status == DC_NOT_FOUND) {
        *done = 1;
        status = DC_OK;
    }
    dc_row_clear(&row);
    return status;
}

/* --- iteration -------------------------------------------------------------------------------- */

void dc_key_page_clear(dc_key_page *page)
{
    free(page->keys);
    free(page->memory);
    memset(page, 0, sizeof *page);
}

/* Make room for another `size` bytes; the keys before move along. */
static int page_reserve(dc_key_page *page, size_t size)
{
    size_t capacity = 2 * page->capacity + size + 1024;
    char *memory;

    if (page->capacity - page->used >= size) {
        return 1;
    }
    memory = malloc(capacity);
    if (memory == NULL) {
        return 0;
    }
    for (size_t i = 0; i < page->count; i++) {
        dc_datum *key = &page->keys[i].datum;

        if (key->type == DC_TEXT || key->type == DC_BLOB) {
            key->as.bytes.data = memory + (key->as.bytes.data - page->memory);
        }
    }
    if (page->used > 0) {
        memcpy(memory, page->memory, page->used);
    }
    free(page->memory);
    page->memory = memory;
    page->capacity = capacity;
    return 1;
}

/* Copy a key into the page, which has room for it. */
static int page_add(dc_key_page *page, dc_datum key, int raw)
{
    size_t size = dc_datum_room(&key);

    if (!page_reserve(page, size)) {
        return 0;
    }
    if (size > 0) {
        if (size > 1) {
            memcpy(page->memory + page->used, key.as.bytes.data, size - 1);
        }
        key.as.bytes.data = page->memory + page->used;
        page->used += size;
    }
    page->keys[page->count].datum = key;
    page->keys[page->count].raw = raw;
    page->count++;
    return 1;
}

static int page_begin(dc_key_page *page, size_t limit)
{
    dc_key *keys;

    page->count = 0;
    page->used = 0;
    page->complete = 0;
    if (page->room < limit) {
        keys = realloc(page->keys, limit * sizeof *keys);
        if (keys == NULL) {
            return 0;
        }
        page->keys = keys;
        page->room = limit;
    }
    return 1;
}

dc_status dc_store_keys(dc_db *db, dc_order order, int64_t low, int64_t high,
                        const dc_key *previous, size_t limit, dc_key_page *page)
{
    const dc_sql by_rowid[] = {DC_SQL_KEYS_FORWARD, DC_SQL_KEYS_BACKWARD};
    const dc_sql first[] = {DC_SQL_KEYS_LOWEST, DC_SQL_KEYS_HIGHEST};
    const dc_sql next[] = {DC_SQL_KEYS_ABOVE, DC_SQL_KEYS_BELOW};
    dc_query query;
    dc_status status;

    if (!page_begin(page, limit)) {
        return out_of_memory(db);
    }
    if (order == DC_BY_ROWID || order == DC_BY_ROWID_DOWN) {
        dc_query_start(&query, db, by_rowid[order == DC_BY_ROWID_DOWN]);
        dc_query_bind_integer(&query, low);
        dc_query_bind_integer(&query, high);
    } else if (previous == NULL) {
        dc_query_start(&query, db, first[order == DC_BY_KEY_DOWN]);
    } else {
        start_with_key(&query, db, next[order == DC_BY_KEY_DOWN], previous);
    }
    dc_query_bind_integer(&query, (int64_t)limit);
    status = dc_query_step(&query);
    while (status == DC_OK) {
        if (!page_add(page, dc_query_column(&query, 1), dc_query_integer(&query, 2) != 0)) {
            status = out_of_memory(db);
        } else if (page->count == limit || page->used >= DC_KEY_PAGE_BYTES) {
            page->last = dc_query_integer(&query, 0); /* of each row it would take time */
            break;
        } else {
            status = dc_query_step(&query);
        }
    }
    dc_query_end(&query);
    page->complete = status == DC_NOT_FOUND;
    return status == DC_NOT_FOUND ? DC_OK : status;
}

dc_status dc_store_max_rowid(dc_db *db, int64_t *rowid)
{
    dc_query query;
    dc_datum maximum;
    dc_status status;

    dc_query_start(&query, db, DC_SQL_MAX_ROWID);
    status = dc_query_step(&query);
    if (status == DC_OK) {
        maximum = dc_query_column(&query, 0);
        *rowid = maximum.as.integer;
        status = maximum.type == DC_INTEGER ? DC_OK : DC_NOT_FOUND;
    }
    dc_query_end(&query);
    return status;
}

/* --- settings, statistics, sizes -------------------------------------------------------------- */

dc_status dc_store_setting(dc_db *db, const char *name, dc_row *row)
{
    dc_query query;
    dc_status status;

    dc_query_start(&query, db, DC_SQL_SETTING_GET);
    dc_query_bind_text(&query, name);
    status = dc_query_step(&query);
    if (status == DC_OK) {
        dc_datum value = dc_query_column(&query, 0);

        if (!dc_row_reserve(row, dc_datum_room(&value))) {
            status = out_of_memory(db);
        } else {
            dc_row_keep_datum(row, &value);
            row->columns.value = value;
        }
    }
    dc_query_end(&query);
    return status;
}

/* A number that something else may have written, as far as 64 bits go. */
static int64_t whole_number(const dc_datum *datum)
{
    if (datum->type == DC_REAL) {
        return datum->as.real >= 9.2e18    ? INT64_MAX
               : datum->as.real <= -9.2e18 ? INT64_MIN
                                           : (int64_t)datum->as.real;
    }
    return datum->type == DC_INTEGER ? datum->as.integer : 0;
}

dc_status dc_store_setting_integer(dc_db *db, const char *name, int64_t *value)
{
    dc_row row;
    dc_status status;

    dc_row_init(&row);
    status = dc_store_setting(db, name, &row);
    if (status == DC_OK) {
        *value = whole_number(&row.columns.value);
    }
    dc_row_clear(&row);
    return status;
}

dc_status dc_store_set_setting(dc_db *db, dc_sql sql, const char *name, const dc_datum *value)
{
    dc_query query;

    dc_query_start(&query, db, sql);
    dc_query_bind_text(&query, name);
    dc_query_bind(&query, value);
    forecast_draw(db, (int64_t)(strlen(name) + dc_datum_room(value)));
    return dc_query_run(&query);
}

dc_status dc_store_count_lookups(dc_db *db, int hits, int64_t times)
{
    dc_query query;

    dc_query_start(&query, db, DC_SQL_SETTING_INCREMENT);
    dc_query_bind_text(&query, hits ? "hits" : "misses");
    dc_query_bind_integer(&query, times);
    return dc_query_run(&query);
}

dc_status dc_store_volume(dc_db *db, int free_pages, int64_t *volume)
{
    int64_t pages = 0;
    int64_t unused = 0;
    int64_t files = 0;
    dc_status status = single_integer(db, DC_SQL_PAGE_COUNT, &pages);

    /* Asked for before each cull (cull_step), so not again for each row; and after the count, which is
     * what makes SQLite look at the file. */
    if (status == DC_OK && (db->page_size == 0 || free_pages)) {
        status = single_integer(db, DC_SQL_PAGE_SIZE, &db->page_size);
    }
    if (status == DC_OK && !free_pages) {
        status = single_integer(db, DC_SQL_FREELIST_COUNT, &unused);
    }
    if (status == DC_OK) {
        status = dc_store_setting_integer(db, "size", &files);
        status = status == DC_NOT_FOUND ? DC_OK : status;
    }
    /* What is stored of the files may be anything, or nothing. */
    *volume = dc_saturated_sum(db->page_size * (pages > unused ? pages - unused : 0),
                               files > 0 ? files : 0);
    return status;
}
