/* record.h: a key, a value and a row, as the engine sees them.
 *
 * Ownership. A dc_datum never owns its bytes: they belong to whoever made it, and that is either
 *   - the caller of an engine function (arguments: the bytes live at least as long as the call), or
 *   - the dc_row it stands in (results: the bytes live until that row is cleared or filled again).
 * A dc_row copies what SQLite hands out, because SQLite's memory is gone with the next step, and the
 * row is converted to Python objects only after the statement has been reset.
 */
#ifndef DC_BASE_RECORD_H
#define DC_BASE_RECORD_H

#include <stddef.h>
#include <stdint.h>

/* The storage classes of SQLite. */
typedef enum dc_type { DC_NULL = 0, DC_INTEGER, DC_REAL, DC_TEXT, DC_BLOB } dc_type;

typedef struct dc_datum {
    dc_type type;
    union {
        int64_t integer;
        double real;
        struct {
            const char *data; /* UTF-8 for DC_TEXT; not NUL-terminated; may contain NUL */
            size_t size;      /* bytes */
        } bytes;
    } as;
} dc_datum;

/* Where and how a value is stored: the `mode` column (docs/format.rst). */
typedef enum dc_mode {
    DC_MODE_NONE = 0,
    DC_MODE_RAW = 1,
    DC_MODE_BINARY = 2,
    DC_MODE_TEXT = 3,
    DC_MODE_PICKLE = 4,
    DC_MODE_SIGNED =
        16 /* a bit beside one of them: `value` has a signature, also for a value in a file */
} dc_mode;

/* A database key: unique together with `raw`. */
typedef struct dc_key {
    dc_datum datum;
    int raw; /* 1: the key itself; 0: its pickle */
} dc_key;

/* The columns a write sets. All times are seconds since the epoch. */
typedef struct dc_columns {
    int has_expire_time;
    double expire_time;
    dc_datum tag;
    int64_t size; /* bytes in the value file, 0 if inline */
    int64_t mode;
    const char *filename; /* NUL-terminated UTF-8, relative to the cache directory, or NULL */
    dc_datum value;       /* DC_NULL if in a file */
} dc_columns;

#define DC_ROW_INLINE_SIZE 480

/* A row read. Give it to dc_row_init before its first use and to dc_row_clear after its last. */
typedef struct dc_row {
    int64_t rowid;
    dc_key key; /* only where the operation says so */
    double store_time;
    dc_columns columns;
    /* What follows backs the pointers above. */
    char *memory; /* `inline_memory`, or owned if larger */
    size_t used;
    size_t capacity;
    char inline_memory[DC_ROW_INLINE_SIZE];
} dc_row;

void dc_row_init(dc_row *row);
void dc_row_clear(dc_row *row);
/* Make room for `size` bytes in all, dropping what the row held; 0 if there is no memory. */
int dc_row_reserve(dc_row *row, size_t size);
/* Copy bytes into room reserved before, with a NUL behind them; returns the copy. */
const char *dc_row_keep(dc_row *row, const char *data, size_t size);

/* The sum of two numbers of bytes, or the largest (smallest) number there is: sizes come out of a database
 * that anybody may have written. The result can be negated. */
static inline int64_t dc_saturated_sum(int64_t left, int64_t right)
{
    if (right > 0 && left > INT64_MAX - right) {
        return INT64_MAX;
    }
    return right < 0 && left < -INT64_MAX - right ? -INT64_MAX : left + right;
}

/* The room that a datum's bytes take, with the NUL behind them; 0 for numbers and NULL. */
static inline size_t dc_datum_room(const dc_datum *datum)
{
    return datum->type == DC_TEXT || datum->type == DC_BLOB ? datum->as.bytes.size + 1 : 0;
}

/* Whether the bytes are UTF-8, as Python decodes it: nothing too long, no surrogates. SQLite keeps text as
 * it was given, and does not look. */
int dc_text_is_utf8(const char *text, size_t size);

/* Make the datum's bytes the row's own. */
void dc_row_keep_datum(dc_row *row, dc_datum *datum);

/* Make `copy`, which has been initialized, equal to `row`, bytes included; 0 if there is no memory. */
int dc_row_copy(dc_row *copy, const dc_row *row);

/* Names of value files, one after the other, each NUL-terminated: what a transaction still has to
 * remove. Zero-initialize; dc_namelist_clear frees. */
typedef struct dc_namelist {
    char *memory; /* owned */
    size_t used;
    size_t capacity;
    size_t count;
} dc_namelist;

/* Append a copy of the name; 0 if there is no memory, and then the list is as it was. */
int dc_namelist_add(dc_namelist *list, const char *name);
/* Forget what was appended since the list had this much. */
void dc_namelist_rewind(dc_namelist *list, size_t used, size_t count);
/* The name after `name` (the first for NULL), or NULL. */
const char *dc_namelist_next(const dc_namelist *list, const char *name);
void dc_namelist_clear(dc_namelist *list);
/* That the count is that of the names (base/debug.h). */
void dc_namelist_check(const dc_namelist *list);

#endif
