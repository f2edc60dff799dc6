/* compare.c: see compare.h. */
#include "engine/compare.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

/* --- checksums -------------------------------------------------------------------------------- */

static uint64_t mix_value(uint64_t hash, sqlite3_value *value)
{
    int type = sqlite.value_type(value);
    double real;
    uint64_t word;

    hash = dc_hash_mix(hash, (uint64_t)type);
    switch (type) {
    case DC_SQLITE_INTEGER:
        return dc_hash_mix(hash, (uint64_t)sqlite.value_int64(value));
    case DC_SQLITE_FLOAT:
        real = sqlite.value_double(value);
        memcpy(&word, &real, sizeof word);
        return dc_hash_mix(hash, word);
    case DC_SQLITE_TEXT:
    case DC_SQLITE_BLOB:
        return dc_hash_mix(
            hash, dc_hash_bytes(sqlite.value_blob(value), (size_t)sqlite.value_bytes(value)));
    default:
        return hash;
    }
}

static void add_to_checksum(sqlite3_context *context, int count, sqlite3_value **values)
{
    uint64_t *sum = sqlite.aggregate_context(context, sizeof *sum);
    uint64_t hash = 0;

    for (int i = 0; i < count; i++) {
        hash = mix_value(hash, values[i]);
    }
    if (sum != NULL) { /* else SQLite says that there is no memory */
        *sum += dc_hash_mix(hash, hash >> 32);
    }
}

static void return_checksum(sqlite3_context *context)
{
    uint64_t *sum = sqlite.aggregate_context(context, 0);

    sqlite.result_int64(context, sum != NULL ? (int64_t)*sum : 0);
}

/* --- order ------------------------------------------------------------------------------------ */

enum { COLUMNS = 4 }; /* at most, with the rowid */

typedef struct kept_value {
    int type;
    int64_t integer;
    double real;
    char *bytes; /* owned */
    size_t size, room;
} kept_value;

typedef struct ascent {
    kept_value last[COLUMNS];
    int64_t rows;
    int fails;
} ascent;

static int rank(int type)
{
    return type == DC_SQLITE_NULL ? 0 : type == DC_SQLITE_TEXT ? 2 : type == DC_SQLITE_BLOB ? 3 : 1;
}

static int compare_bytes(const kept_value *left, const char *data, size_t size)
{
    size_t common = left->size < size ? left->size : size;
    int order = common > 0 ? memcmp(left->bytes, data, common) : 0;

    return order != 0 ? order : (left->size > size) - (left->size < size);
}

/* As SQLite does it, exactly: a double does not hold each integer, and each integer below 2^63 is one of 64 bits. */
static int compare_integer(int64_t integer, double real)
{
    int64_t whole;
    double rest;

    if (real >= 9223372036854775808.0) {
        return -1;
    }
    if (real < -9223372036854775808.0) {
        return 1;
    }
    whole = (int64_t)real;
    rest = real - (double)whole;
    if (integer != whole) {
        return integer < whole ? -1 : 1;
    }
    return (rest < 0.0) - (rest > 0.0);
}

/* As an index without a collation is sorted. */
static int compare(const kept_value *left, sqlite3_value *right)
{
    int type = sqlite.value_type(right);

    if (rank(left->type) != rank(type)) {
        return rank(left->type) - rank(type);
    }
    if (type == DC_SQLITE_NULL) {
        return 0;
    }
    if (rank(type) != 1) {
        return compare_bytes(left, sqlite.value_blob(right), (size_t)sqlite.value_bytes(right));
    }
    if (type == DC_SQLITE_INTEGER) {
        int64_t integer = sqlite.value_int64(right);

        return left->type == DC_SQLITE_INTEGER
                   ? (left->integer > integer) - (left->integer < integer)
                   : -compare_integer(integer, left->real);
    } else {
        double real = sqlite.value_double(right);

        return left->type == DC_SQLITE_INTEGER ? compare_integer(left->integer, real)
                                               : (left->real > real) - (left->real < real);
    }
}

/* 0: there is no memory. */
static int keep(kept_value *kept, sqlite3_value *value)
{
    kept->type = sqlite.value_type(value);
    kept->integer = kept->type == DC_SQLITE_INTEGER ? sqlite.value_int64(value) : 0;
    kept->real = kept->type == DC_SQLITE_FLOAT ? sqlite.value_double(value) : 0.0;
    kept->size = 0;
    if (rank(kept->type) > 1) {
        const char *data = sqlite.value_blob(value);
        size_t size = (size_t)sqlite.value_bytes(value);

        if (size > kept->room) {
            char *bytes = realloc(kept->bytes, 2 * size);

            if (bytes == NULL) {
                return 0;
            }
            kept->bytes = bytes;
            kept->room = 2 * size;
        }
        if (size > 0) {
            memcpy(kept->bytes, data, size);
        }
        kept->size = size;
    }
    return 1;
}

/* Whether a row comes behind the last one, of which the first `unique` columns are not the same. */
static int is_behind(const ascent *ascent, int64_t unique, int count, sqlite3_value **columns)
{
    int has_null = 0;

    for (int i = 0; i < count; i++) {
        int order = compare(&ascent->last[i], columns[i]);

        if (order != 0) {
            return order < 0;
        }
        has_null |= sqlite.value_type(columns[i]) == DC_SQLITE_NULL;
        if (i + 1 == unique && !has_null) {
            return 0;
        }
    }
    return 0;
}

static void look_at_order(sqlite3_context *context, int count, sqlite3_value **values)
{
    ascent *ascent = sqlite.aggregate_context(context, sizeof *ascent);
    int columns = count - 1;

    if (ascent == NULL || ascent->fails) {
        return;
    }
    ascent->fails = columns < 1 || columns > COLUMNS ||
                    (ascent->rows > 0 &&
                     !is_behind(ascent, sqlite.value_int64(values[0]), columns, values + 1));
    for (int i = 0; i < columns && !ascent->fails; i++) {
        ascent->fails = !keep(&ascent->last[i], values[i + 1]);
    }
    ascent->rows++;
}

static void return_order(sqlite3_context *context)
{
    ascent *ascent = sqlite.aggregate_context(context, 0);

    for (int i = 0; ascent != NULL && i < COLUMNS; i++) {
        free(ascent->last[i].bytes);
        ascent->last[i].bytes = NULL;
    }
    sqlite.result_int(context, ascent == NULL || !ascent->fails);
}

/* --- the query -------------------------------------------------------------------------------- */

static int define(dc_db *db, const char *name,
                  void (*step)(sqlite3_context *, int, sqlite3_value **),
                  void (*last)(sqlite3_context *))
{
    return sqlite.create_function_v2(db->handle, name, -1, DC_SQLITE_UTF8 | DC_SQLITE_DIRECTONLY,
                                     NULL, NULL, step, last, NULL) == DC_SQLITE_OK;
}

static dc_status take_integer(void *context, const dc_datum *value, const dc_datum *unused)
{
    (void)unused;
    *(int64_t *)context = value->type == DC_INTEGER ? value->as.integer : 0;
    return DC_OK;
}

dc_status dc_compare(dc_db *db, const char *select, int64_t *result)
{
    *result = 0;
    if (!db->is_utf8) { /* texts are sorted otherwise */
        return DC_OK;
    }
    db->compares = db->compares ||
                   (define(db, DC_FUNCTION_CHECKSUM, add_to_checksum, return_checksum) &&
                    define(db, DC_FUNCTION_ASCENDS, look_at_order, return_order));
    return dc_db_query(db, select, take_integer, result);
}
