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
