/* settings.c: see settings.h. */
#include "engine/settings.h"

#include <stdlib.h>
#include <string.h>

#include "engine/budget.h"

dc_status dc_setting_get(dc_db *db, const char *name, dc_row *row)
{
    dc_query query;
    dc_status status;

    dc_query_start(&query, db, DC_SQL_SETTING_GET);
    dc_query_bind_text(&query, name);
    status = dc_query_step(&query);
    if (status == DC_OK) {
        dc_datum value = dc_query_column(&query, 0);

        if (!dc_row_reserve(row, dc_datum_room(&value))) {
            status = dc_db_out_of_memory(db);
        } else {
            dc_row_keep_datum(row, &value);
            row->columns.value = value;
        }
    }
    return dc_query_end_read(&query, status);
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

dc_status dc_setting_get_integer(dc_db *db, const char *name, int64_t *value)
{
    dc_row row;
    dc_status status;

    dc_row_init(&row);
    status = dc_setting_get(db, name, &row);
    if (status == DC_OK) {
        *value = whole_number(&row.columns.value);
    }
    dc_row_clear(&row);
    return status;
}

dc_status dc_setting_set(dc_db *db, dc_sql sql, const char *name, const dc_datum *value)
{
    dc_query query;

    dc_query_start(&query, db, sql);
    dc_query_bind_text(&query, name);
    dc_query_bind(&query, value);
    dc_budget_debit(db, (int64_t)(strlen(name) + dc_datum_room(value)));
    return dc_query_run(&query);
}

dc_status dc_setting_count_lookups(dc_db *db, int hits, int64_t times)
{
    dc_query query;

    dc_query_start(&query, db, DC_SQL_SETTING_INCREMENT);
    dc_query_bind_text(&query, hits ? "hits" : "misses");
    dc_query_bind_integer(&query, times);
    return dc_query_run(&query);
}

/* --- pragmas ---------------------------------------------------------------------------------- */

/* The stored settings named sqlite_*. */
typedef struct stored_pragma {
    char name[64];
    char text[64]; /* backs a value of type TEXT */
    dc_datum value;
} stored_pragma;

#define PRAGMAS_MAX 32

typedef struct stored_pragmas {
    size_t count;
    stored_pragma items[PRAGMAS_MAX];
} stored_pragmas;

static const size_t prefix_size = sizeof "sqlite_" - 1;

static dc_status collect_pragma(void *context, const dc_datum *key, const dc_datum *value)
{
    stored_pragmas *pragmas = context;
    stored_pragma *pragma = &pragmas->items[pragmas->count];
    size_t size = key->as.bytes.size - prefix_size;

    if (pragmas->count == PRAGMAS_MAX || size >= sizeof pragma->name || value->type == DC_BLOB ||
        (value->type == DC_TEXT && value->as.bytes.size >= sizeof pragma->text)) {
        return DC_OK; /* nothing that dc_db_set_pragma would take */
    }
    memcpy(pragma->name, key->as.bytes.data + prefix_size, size);
    pragma->name[size] = '\0';
    pragma->value = *value;
    if (value->type == DC_TEXT) {
        memcpy(pragma->text, value->as.bytes.data, value->as.bytes.size);
        pragma->value.as.bytes.data = pragma->text;
    }
    pragmas->count++;
    return DC_OK;
}

#define JOURNAL_MODE "journal_mode"

/* Whether a pragma of the handle's makes sense where it is opened read-only, and does not write. A frozen file must
 * not be mapped: whoever makes it shorter would end this process. */
static int is_for_readers(const dc_db *db, const char *name)
{
    return strcmp(name, "cache_size") == 0 ||
           (strcmp(name, "mmap_size") == 0 && db->frozen.database == NULL);
}

dc_status dc_settings_apply_pragmas(dc_db *db, int *kept, int *lacks_settings)
{
    stored_pragmas pragmas;
    dc_status status;

    pragmas.count = 0;
    status = dc_db_query(db, DC_SELECT_PRAGMA_SETTINGS, collect_pragma, &pragmas);
    *lacks_settings = status == DC_SQLITE && (db->error.sqlite_code & 0xff) == DC_SQLITE_ERROR;
    if (*lacks_settings) {
        return DC_OK;
    }
    for (size_t i = 0; i < pragmas.count && status == DC_OK; i++) {
        if (db->read_only && !is_for_readers(db, pragmas.items[i].name)) {
            continue;
        }
        status = dc_db_set_pragma(db, pragmas.items[i].name, &pragmas.items[i].value);
        status = status == DC_TYPE ? DC_OK : status;
        if (status == DC_BUSY && strcmp(pragmas.items[i].name, JOURNAL_MODE) == 0) {
            status = dc_db_query(db, "PRAGMA " JOURNAL_MODE, NULL, NULL);
            *kept = status == DC_OK;
        }
    }
    return status;
}
