/* store.h: what the tests of the operations on the table share: a table, rules, keys and columns, and the
 * operations with their parameters one by one.
 *
 * One file per program, as check.h says. `db`, `removed` and `written` are of the test that runs.
 */
#ifndef DC_STORE_H
#define DC_STORE_H

#include "database.h"

#include "engine/batch_delete.h"
#include "engine/db.h"
#include "engine/evict.h"
#include "engine/queue.h"
#include "engine/rows.h"
#include "engine/rules.h"
#include "engine/settings.h"
#include "engine/sql.h"
#include "engine/volume.h"
#include "engine/write.h"

/* A write, its parts one by one. */
static inline dc_status write_set(dc_db *db, const dc_key *key, const dc_columns *columns,
                                  double now, int only_if_absent, const dc_rules *rules,
                                  dc_namelist *removed, int *written)
{
    dc_write write = {.key = key,
                      .columns = columns,
                      .now = now,
                      .only_if_absent = only_if_absent,
                      .rules = rules,
                      .removed = removed};
    dc_status status = dc_write_set(db, &write);

    *written = write.written;
    return status;
}

static inline dc_status write_increment(dc_db *db, const dc_key *key, const dc_datum *delta,
                                        const dc_columns *initial, double now,
                                        const dc_rules *rules, dc_namelist *removed, dc_datum *sum,
                                        int *created)
{
    dc_write write = {
        .key = key, .columns = initial, .now = now, .rules = rules, .removed = removed};
    dc_status status = dc_write_increment(db, &write, delta, sum);

    *created = write.written;
    return status;
}

static inline dc_status queue_push(dc_db *db, const dc_queue *queue, dc_side side,
                                   const dc_columns *columns, double now, const dc_rules *rules,
                                   dc_namelist *removed, dc_row *row, int *written)
{
    dc_write write = {.columns = columns, .now = now, .rules = rules, .removed = removed};
    dc_status status = dc_queue_push(db, queue, side, &write, row);

    *written = write.written;
    return status;
}

#define NOW 1000.0

static dc_db db DATABASE_UNUSED;
static dc_namelist removed DATABASE_UNUSED;
static int written DATABASE_UNUSED;

/* What most writes go by: no limit near. */
static const dc_rules roomy DATABASE_UNUSED = {
    .policy = DC_POLICY_LEAST_RECENTLY_STORED, .size_limit = 1 << 30, .cull_limit = 10};

/* What leaves alone that which has expired. */
static const dc_rules without_culling DATABASE_UNUSED = {
    .policy = DC_POLICY_LEAST_RECENTLY_STORED, .size_limit = 1 << 30, .cull_limit = 0};

static inline void open_store(void)
{
    database_create(&db);
    for (int policy = 0; policy < DC_POLICY_COUNT; policy++) {
        if (dc_policies[policy].create_index != NULL) {
            database_execute(&db, dc_policies[policy].create_index);
        }
    }
}

static inline void close_store(void)
{
    dc_namelist_clear(&removed);
    database_close(&db);
}

static inline dc_key raw_key(dc_datum datum)
{
    return (dc_key){.datum = datum, .raw = 1};
}

static inline dc_columns inline_value(dc_datum value)
{
    return (dc_columns){.mode = DC_MODE_RAW, .value = value};
}

static inline dc_columns file_value(const char *name, int64_t size)
{
    return (dc_columns){.mode = DC_MODE_BINARY, .filename = name, .size = size};
}

static inline dc_columns expiring(dc_columns columns, double expire_time)
{
    columns.has_expire_time = 1;
    columns.expire_time = expire_time;
    return columns;
}

static inline dc_columns tagged(dc_columns columns, dc_datum tag)
{
    columns.tag = tag;
    return columns;
}

static inline dc_status set_by(const dc_rules *rules, dc_datum key, dc_columns columns, double now)
{
    const dc_key raw = raw_key(key);

    return write_set(&db, &raw, &columns, now, 0, rules, &removed, &written);
}

static inline void set(dc_datum key, dc_columns columns)
{
    CHECK_INT(DC_OK, set_by(&roomy, key, columns, NOW));
    CHECK(written);
}

static inline dc_status get(dc_datum key, unsigned int details, dc_row *row)
{
    const dc_key raw = raw_key(key);

    return dc_row_get(&db, &raw, details, row);
}

static inline int has(dc_datum key)
{
    dc_row row;
    dc_status status;

    dc_row_init(&row);
    status = get(key, DC_DETAIL_NONE, &row);
    dc_row_clear(&row);
    return status == DC_OK;
}

static inline int value_is_integer(dc_datum key, int64_t expected)
{
    dc_row row;
    int same;

    dc_row_init(&row);
    same = get(key, DC_DETAIL_NONE, &row) == DC_OK && is_integer(expected, row.columns.value);
    dc_row_clear(&row);
    return same;
}

static inline int64_t setting(const char *name)
{
    int64_t value = INT64_MIN;

    CHECK_INT(DC_OK, dc_setting_get_integer(&db, name, &value));
    return value;
}

static inline int64_t row_count(void)
{
    return setting("count");
}

static inline int64_t volume_without_free_pages(void)
{
    int64_t volume = -1;

    CHECK_INT(DC_OK, dc_volume(&db, 0, &volume));
    return volume;
}

/* Whether exactly this name was noted since the last look. */
static inline int removed_only(const char *name)
{
    const char *first = dc_namelist_next(&removed, NULL);
    int only = removed.count == 1 && strcmp(first, name) == 0;

    dc_namelist_clear(&removed);
    return only;
}

static inline dc_status touch(dc_datum key, dc_columns expire, double now)
{
    const dc_key raw = raw_key(key);

    return dc_row_touch(&db, &raw, &expire, now);
}

static dc_datum sum DATABASE_UNUSED;
static int created DATABASE_UNUSED;

static const dc_queue integers DATABASE_UNUSED = {.prefix = NULL};

static inline dc_queue prefixed(const char *prefix)
{
    return (dc_queue){.prefix = prefix, .prefix_size = strlen(prefix)};
}

/* Rows 0 to count - 1 of 4000 bytes each, stored and accessed one second after the other. */
static inline void fill(int count)
{
    static char block[4000];

    CHECK_INT(DC_OK, dc_db_begin(&db));
    for (int i = 0; i < count; i++) {
        CHECK_INT(DC_OK,
                  set_by(&roomy, integer(i), inline_value(bytes(DC_BLOB, block, 4000)), NOW + i));
    }
    CHECK_INT(DC_OK, dc_db_commit(&db));
}

/* Cull by a policy down to a size, at most `limit` rows and never the row `keep`. */
static inline dc_status cull(dc_policy policy, int64_t size_limit, double now, int64_t limit,
                             int64_t keep, int64_t *count)
{
    const dc_rules rules = {policy, size_limit, 10, NULL};

    return dc_evict(&db, now, limit, 0, &rules, keep, &removed, count);
}

/* Delete in batches until it is done; how many rows. */
static inline int64_t sweep(dc_batch_delete sweep)
{
    int64_t count = 0;
    int done = 0;

    dc_namelist_rewind(&removed, 0, 0);
    CHECK_INT(DC_OK, dc_batch_delete_run(&db, &sweep, 1000.0, &removed, &count, &done));
    CHECK(done);
    return count;
}

enum { PAGE_SIZE = 100 }; /* keys at a time, of a scan */

#endif
