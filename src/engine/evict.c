/* evict.c: see evict.h. */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */

#include "engine/evict.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/rows.h"
#include "engine/volume.h"

dc_status dc_evict_find(dc_db *db, dc_sql sql, int64_t rowid, const dc_datum *parameter,
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
        dc_datum key = dc_query_column(&query, 2);

        /* Before the filename, which makes SQLite convert what it has read. */
        dc_version_table_note(&db->versions, &key);
        row->rowid = dc_query_integer(&query, 0);
        status = dc_row_keep_filename(&query, 1, row);
    }
    return dc_query_end_read(&query, status);
}

static dc_status delete_victim(dc_db *db, const dc_row *row, dc_namelist *removed)
{
    db->victims++;
    return dc_row_delete(db, row->rowid, row->columns.filename, removed);
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

dc_status dc_evict(dc_db *db, double now, int64_t limit, int64_t written, const dc_rules *rules,
                   int64_t keep, dc_namelist *removed, int64_t *count)
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
            status = dc_volume(db, 0, &volume);
            if (status != DC_OK || volume < rules->size_limit) {
                break;
            }
        }
        status = dc_evict_find(db, victim, keep, &time, passed, &row);
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
            db->evictions += victim == by_policy;
        } else if (status == DC_NOT_FOUND && left > 0) {
            left--;
            passed++;
            status = DC_OK;
        }
    }
    dc_row_clear(&row);
    return status == DC_NOT_FOUND ? DC_OK : status;
}

#define SHRINK_CLOCK_INTERVAL 8 /* rows between two looks at the clock */

/* What is left to free after a row has gone, at least: to find out what there is takes as long as the row does. */
static int64_t left_after(const dc_db *db, int64_t left, int64_t bytes)
{
    return left - db->page_size > bytes ? left - db->page_size - bytes : 0;
}

dc_status dc_evict_to_volume(dc_db *db, dc_sql victim, int64_t volume, double seconds,
                             dc_namelist *removed, int64_t *kept, int64_t *count, int *done)
{
    const dc_datum null = {.type = DC_NULL};
    double until = dc_clock() + seconds;
    int64_t now = 0;
    int64_t left = 0; /* bytes to free, at least; 0: not known */
    dc_status status = DC_OK;
    dc_row row;

    *done = 0;
    db->page_size = 0; /* another's VACUUM may have changed it */
    dc_row_init(&row);
    for (int i = 1; status == DC_OK; i++) {
        int64_t bytes = 0;

        if (left == 0) {
            status = dc_volume(db, 0, &now);
            if (status != DC_OK || now <= volume) {
                *done = status == DC_OK;
                break;
            }
            left = now - volume;
        }
        status = dc_evict_find(db, victim, INT64_MIN, &null, *kept, &row);
        if (status == DC_NOT_FOUND) {
            break;
        }
        if (status == DC_OK) {
            status = read_value_bytes(db, row.rowid, &bytes);
        }
        if (status == DC_OK) {
            status = delete_victim(db, &row, removed);
        }
        if (status == DC_OK) {
            *count += 1;
            db->evictions++;
            left = left_after(db, left, bytes);
        }
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
