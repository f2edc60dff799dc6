/* survey.c: see survey.h.
 *
 * The columns of a row are given to a function of SQL: to ask for each of them from outside, SQLite's mutex would be taken
 * twenty times, which took four times as long.
 */
#include "engine/survey.h"

#include "engine/settings.h"

#define PICKLE_STOP '.' /* the last byte of each pickle */

/* The arguments of DC_FUNCTION_SURVEY; the last four are numbers. */
enum { KEY, RAW, TAG, SIZE, MODE, FILENAME, VALUE, FIRST_NUMBER, ARGUMENTS = FIRST_NUMBER + 4 };

static DC_THREAD_LOCAL dc_survey *current;

/* Whether it is no text, or one that is UTF-8. */
static int can_be_read(sqlite3_value *value)
{
    return sqlite.value_type(value) != DC_SQLITE_TEXT ||
           dc_text_is_utf8(sqlite.value_blob(value), (size_t)sqlite.value_bytes(value));
}

static int ends_as_pickle(sqlite3_value *value)
{
    int size = sqlite.value_type(value) == DC_SQLITE_BLOB ? sqlite.value_bytes(value) : 0;

    return size > 0 && ((const char *)sqlite.value_blob(value))[size - 1] == PICKLE_STOP;
}

/* The value of an integer, or -1. */
static int64_t integer_of(sqlite3_value *value)
{
    return sqlite.value_type(value) == DC_SQLITE_INTEGER ? sqlite.value_int64(value) : -1;
}

static int kind_of_key(sqlite3_value **row)
{
    int64_t raw = integer_of(row[RAW]);

    if (raw == 0) {
        return ends_as_pickle(row[KEY]) ? DC_SURVEY_PICKLED_KEYS : DC_SURVEY_ODD;
    }
    return raw == 1 && sqlite.value_type(row[KEY]) != DC_SQLITE_NULL && can_be_read(row[KEY])
               ? 0
               : DC_SURVEY_ODD;
}

static int kind_of_value(sqlite3_value **row)
{
    int64_t mode = integer_of(row[MODE]);

    if (sqlite.value_type(row[FILENAME]) == DC_SQLITE_TEXT) {
        return mode >= DC_MODE_BINARY && mode <= DC_MODE_PICKLE && integer_of(row[SIZE]) >= 0 &&
                       can_be_read(row[FILENAME]) && sqlite.value_type(row[VALUE]) == DC_SQLITE_NULL
                   ? DC_SURVEY_FILES
                   : DC_SURVEY_ODD;
    }
    if (sqlite.value_type(row[FILENAME]) != DC_SQLITE_NULL || integer_of(row[SIZE]) != 0) {
        return DC_SURVEY_ODD;
    }
    if (mode == DC_MODE_PICKLE) {
        return ends_as_pickle(row[VALUE]) ? DC_SURVEY_PICKLES : DC_SURVEY_ODD;
    }
    return mode == DC_MODE_RAW && can_be_read(row[VALUE]) ? 0 : DC_SURVEY_ODD;
}

static int kinds_of_row(sqlite3_value **row)
{
    int kinds = kind_of_key(row) | kind_of_value(row);

    for (int column = FIRST_NUMBER; column < ARGUMENTS; column++) {
        int type = sqlite.value_type(row[column]);

        kinds |= type == DC_SQLITE_TEXT || type == DC_SQLITE_BLOB ? DC_SURVEY_ODD : 0;
    }
    return can_be_read(row[TAG]) ? kinds : DC_SURVEY_ODD;
}

/* Add the size of a row that is not odd; a sum that is too large is odd. */
static int add_size(int64_t size)
{
    int fits = size <= INT64_MAX - current->bytes;

    current->bytes += fits && size > 0 ? size : 0;
    return fits ? 0 : DC_SURVEY_ODD;
}

/* Whether the row is the last one to look at. */
static void survey_row(sqlite3_context *context, int count, sqlite3_value **row)
{
    (void)count;
    if (current == NULL) { /* it is in a query of a user's */
        sqlite.result_int(context, 0);
        return;
    }
    if (!(current->kinds & DC_SURVEY_ODD)) { /* then all are looked at more closely */
        current->kinds |= kinds_of_row(row);
        current->kinds |= add_size(integer_of(row[SIZE]));
    }
    current->rows++;
    sqlite.result_int(context, current->rows / (current->kinds != 0 ? 1 : DC_SURVEY_PLAIN) >=
                                   current->limit);
}

void dc_survey_define(dc_db *db)
{
    if (!db->surveys) {
        db->surveys = sqlite.create_function_v2(db->handle, DC_FUNCTION_SURVEY, ARGUMENTS,
                                                DC_SQLITE_UTF8 | DC_SQLITE_DIRECTONLY, NULL,
                                                survey_row, NULL, NULL, NULL) == DC_SQLITE_OK;
    }
}

static int is_setting(dc_db *db, const char *name, int64_t expected)
{
    dc_row row;
    int is;

    dc_row_init(&row);
    is = dc_setting_get(db, name, &row) == DC_OK && row.columns.value.type == DC_INTEGER &&
         row.columns.value.as.integer == expected;
    dc_row_clear(&row);
    return is;
}

static dc_status look_at_rows(dc_db *db, int64_t low, dc_survey *survey)
{
    dc_query query;
    dc_status status;

    dc_query_start(&query, db, DC_SQL_SURVEY);
    dc_query_bind_integer(&query, low);
    current = survey;
    status = dc_query_step(&query);
    current = NULL;
    if (status == DC_OK) {
        survey->last = dc_query_integer(&query, 0);
    }
    dc_query_end(&query);
    survey->is_last = status == DC_NOT_FOUND;
    return survey->is_last ? DC_OK : status;
}

dc_status dc_survey_rows(dc_db *db, int64_t low, int64_t limit, dc_survey *survey)
{
    int own = !dc_db_in_transaction(db);
    dc_status status = own ? dc_db_begin_read(db) : DC_OK;

    *survey = (dc_survey){.limit = limit, .kinds = db->is_utf8 ? 0 : DC_SURVEY_ODD};
    dc_survey_define(db);
    if (status == DC_OK) {
        status = look_at_rows(db, low, survey);
        survey->counted = status == DC_OK && low == INT64_MIN && survey->is_last &&
                          !(survey->kinds & DC_SURVEY_ODD) &&
                          is_setting(db, "count", survey->rows) &&
                          is_setting(db, "size", survey->bytes);
    }
    if (own) {
        dc_db_end_read(db);
    }
    return status;
}
