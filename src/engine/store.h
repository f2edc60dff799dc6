/* store.h: the operations of a cache, in terms of keys, columns and rows.
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
#ifndef DC_ENGINE_STORE_H
#define DC_ENGINE_STORE_H

#include "base/record.h"
#include "engine/db.h"

/* Steps of a write that a subclass of Cache has taken over; a NULL member is not. They are called
 * between statements, and return DC_CALLBACK if they failed and know why themselves. */
typedef struct dc_row_hooks {
    void *context;
    dc_status (*insert)(void *context, const dc_key *key, const dc_columns *columns, double now,
                        int64_t *rowid);
    dc_status (*update)(void *context, int64_t rowid, const dc_columns *columns, double now);
    dc_status (*cull)(void *context, double now);
} dc_row_hooks;

/* How a write behaves: a copy of the cache's settings at the time of the operation. */
typedef struct dc_rules {
    dc_policy policy;
    int64_t size_limit;        /* bytes */
    int64_t cull_limit;        /* rows that one write may cull, see dc_store_cull; 0: none */
    const dc_row_hooks *hooks; /* or NULL */
} dc_rules;

typedef enum dc_side { DC_FRONT = 0, DC_BACK } dc_side;

/* A queue: the keys that push() makes under one prefix. */
typedef struct dc_queue {
    const char *prefix; /* UTF-8, or NULL for the queue of integer keys */
    size_t prefix_size; /* bytes */
} dc_queue;

int dc_columns_alive(const dc_columns *columns, double now);
int dc_columns_expired(const dc_columns *columns, double now);

/* --- one key --- */

/* What else of a row to read besides value, mode, expire_time and file; each column read costs. */
enum dc_detail {
    DC_DETAIL_NONE = 0,
    DC_DETAIL_TAG = 1,
    DC_DETAIL_IDENTITY = 2, /* rowid and store_time; 0 if not asked for */
    DC_DETAIL_ALL = 3
};

/* Fill the row (without its key) whatever its expiry; DC_NOT_FOUND. */
dc_status dc_store_get(dc_db *db, const dc_key *key, unsigned int details, dc_row *row);

/* The same, but only rowid, expire_time and filename; DC_NOT_FOUND. */
dc_status dc_store_locate(dc_db *db, const dc_key *key, dc_row *row);

/* Insert a row; *rowid receives its number. Update one. DC_NOT_FOUND if nothing was written. */
dc_status dc_store_insert(dc_db *db, const dc_key *key, const dc_columns *columns, double now,
                          int64_t *rowid);
dc_status dc_store_update(dc_db *db, int64_t rowid, const dc_columns *columns, double now);

/* Insert or update, then cull. An item larger than size_limit is not kept (nor its predecessor) while
 * culling is on. With `only_if_absent` a row that is alive stays. *written tells whether the new
 * columns, and so their file, are now in the table. */
dc_status dc_store_set(dc_db *db, const dc_key *key, const dc_columns *columns, double now,
                       int only_if_absent, const dc_rules *rules, dc_namelist *removed,
                       int *written);

/* Whether a write of these columns would be refused: see dc_store_set. */
int dc_columns_exceed(const dc_columns *columns, const dc_rules *rules);

/* Give a living row another expire_time; DC_NOT_FOUND. */
dc_status dc_store_touch(dc_db *db, const dc_key *key, const dc_columns *expire, double now);

/* Add `delta` (DC_INTEGER or DC_REAL) to a value; an absent or expired one becomes `initial`, unless
 * that is NULL (DC_NOT_FOUND). *sum receives the result where the row was there; *created tells that
 * `initial` was used. DC_TYPE if the value is no number, DC_OVERFLOW: in both cases nothing changes.
 * DC_SQLITE if a trigger keeps the value as it is. */
dc_status dc_store_increment(dc_db *db, const dc_key *key, const dc_datum *delta,
                             const dc_columns *initial, double now, const dc_rules *rules,
                             dc_namelist *removed, dc_datum *sum, int *created);

/* Define the SQL function that DC_SQL_INCREMENT calls, unless the handle has it. */
void dc_store_define_sum(dc_db *db);

/* left + right, integers or reals; DC_OVERFLOW, DC_TYPE. */
dc_status dc_datum_add(const dc_datum *left, const dc_datum *right, dc_datum *sum);

/* Delete a row and note its file; `filename` may be NULL. DC_NOT_FOUND if it is still there, or was not. */
dc_status dc_store_delete(dc_db *db, int64_t rowid, const char *filename, dc_namelist *removed);

/* Delete a living row by its key, and note its file; DC_NOT_FOUND. */
dc_status dc_store_remove(dc_db *db, const dc_key *key, double now, dc_namelist *removed);

/* Whether two rows, read with the same details at different times, are one and the same unchanged
 * row, as far as those details tell. */
int dc_row_same(const dc_row *left, const dc_row *right);

/* Append those of the names to `unnamed` that no row has. Reads the whole table, once. */
dc_status dc_store_unnamed_files(dc_db *db, const dc_namelist *names, dc_namelist *unnamed);

/* --- queues and ends --- */

/* Fill the row, key included, at that side of the queue; DC_NOT_FOUND. */
dc_status dc_store_queue_end(dc_db *db, const dc_queue *queue, dc_side side, dc_row *row);
/* Insert beyond that side, then cull; `row->key` receives the new key. *written as in dc_store_set. */
dc_status dc_store_push(dc_db *db, const dc_queue *queue, dc_side side, const dc_columns *columns,
                        double now, const dc_rules *rules, dc_namelist *removed, dc_row *row,
                        int *written);
/* The key before or behind the one in `row` (as dc_store_queue_end left it), or a queue's first.
 * DC_OVERFLOW if that side of the range is used up. */
dc_status dc_queue_next_key(const dc_queue *queue, dc_side side, int empty, dc_row *row,
                            dc_error *error);
/* Fill the row, key included, that was inserted first (or last); DC_NOT_FOUND. */
dc_status dc_store_end(dc_db *db, int last, dc_row *row);
/* Fill the row, key included, that has `before` others before it in the order of the keys, seen from
 * that side; DC_NOT_FOUND. */
dc_status dc_store_nth(dc_db *db, dc_side side, int64_t before, dc_row *row);

/* --- many rows --- */

/* Delete up to `limit` rows: those that have expired, then while the volume is not below size_limit
 * others by policy; never row `keep`. Where small rows make room for a large one, more of them go until
 * their values have `written` bytes together, so that no write makes a full cache grow (0: `limit` is
 * final). *count is increased by the rows deleted. */
dc_status dc_store_cull(dc_db *db, double now, int64_t limit, int64_t written,
                        const dc_rules *rules, int64_t keep, dc_namelist *removed, int64_t *count);

/* What a bulk deletion goes through, in portions. */
typedef struct dc_sweep {
    dc_sql sql;         /* one of DC_SQL_SWEEP_* */
    int64_t after;      /* rowid of the last row deleted; begin with INT64_MIN */
    dc_datum parameter; /* the tag of SWEEP_TAGGED, the time of SWEEP_EXPIRED */
    int one_by_one;     /* a trigger may keep rows; begin with 0 */
} dc_sweep;

/* Delete until nothing is left to (*done = 1) or `seconds` have passed. What others insert meanwhile is
 * deleted too, unless its rowid is behind: so a sweep ends. */
dc_status dc_store_sweep(dc_db *db, dc_sweep *sweep, double seconds, dc_namelist *removed,
                         int64_t *count, int *done);

/* Delete by policy (its DC_SQL_VICTIM_*) until the volume is at most this (*done = 1, also if nothing is
 * left), or `seconds` have passed. *kept, 0 at first, is how many rows a trigger has kept so far. */
dc_status dc_store_shrink(dc_db *db, dc_sql victim, int64_t volume, double seconds,
                          dc_namelist *removed, int64_t *kept, int64_t *count, int *done);

/* --- iteration --- */

/* A portion of keys. Zero-initialize. */
typedef struct dc_key_page {
    size_t count;
    dc_key *keys;          /* owned; their bytes are in `memory` */
    int64_t last;          /* rowid of the last of them, unless `complete` */
    int complete;          /* there were no more when it was read */
    char *memory;          /* owned */
    size_t room;           /* keys that there is memory for */
    size_t used, capacity; /* bytes of `memory` */
} dc_key_page;

/* A page ends, too, with the key that makes it so many bytes large. */
#define DC_KEY_PAGE_BYTES (64 * 1024)

void dc_key_page_clear(dc_key_page *page);

typedef enum dc_order { DC_BY_ROWID, DC_BY_ROWID_DOWN, DC_BY_KEY, DC_BY_KEY_DOWN } dc_order;

/* The next `limit` keys in order, or fewer: behind `low` and before `high` by rowid, behind `previous` by
 * key (the first ones if that is NULL). An empty page is the end. */
dc_status dc_store_keys(dc_db *db, dc_order order, int64_t low, int64_t high,
                        const dc_key *previous, size_t limit, dc_key_page *page);
dc_status dc_store_max_rowid(dc_db *db, int64_t *rowid); /* DC_NOT_FOUND if empty */

/* --- settings, statistics, sizes --- */

dc_status dc_store_setting(dc_db *db, const char *name, dc_row *row); /* into row->columns.value */
dc_status dc_store_setting_integer(dc_db *db, const char *name, int64_t *value);
dc_status dc_store_set_setting(dc_db *db, dc_sql sql, const char *name, const dc_datum *value);
dc_status dc_store_note_access(dc_db *db, dc_policy policy, int64_t rowid, double now,
                               int64_t times);
dc_status dc_store_count_lookups(dc_db *db, int hits, int64_t times);

/* Bytes used: the database's pages and the value files; `free_pages` says whether pages on the free
 * list count too. */
dc_status dc_store_volume(dc_db *db, int free_pages, int64_t *volume);

#endif
