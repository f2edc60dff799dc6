/* access_log.c: see access_log.h. */
#include "engine/access_log.h"

#include <stdlib.h>
#include <string.h>

#include "engine/rows.h"
#include "engine/settings.h"

#define FIRST_SIZE 64
/* Rows at most: flushing them takes some 10 ms. */
#define LARGEST_SIZE 16384

/* The place of a row in the table, or the free place where it would be. */
static dc_logged_access *place_of(dc_logged_access *table, size_t size, int64_t rowid)
{
    size_t place = (size_t)((uint64_t)rowid * 0x9E3779B97F4A7C15u >> 32) & (size - 1);

    while (table[place].rowid != 0 && table[place].rowid != rowid) {
        place = (place + 1) & (size - 1);
    }
    return &table[place];
}

/* Keep a quarter of the table free. */
static dc_status grow(dc_access_log *log)
{
    size_t size = log->size == 0 ? FIRST_SIZE : 2 * log->size;
    dc_logged_access *table;

    if (4 * (log->count + 1) <= 3 * log->size) {
        return DC_OK;
    }
    table = size <= LARGEST_SIZE ? calloc(size, sizeof *table) : NULL;
    if (table == NULL) {
        return DC_NO_MEMORY;
    }
    for (size_t i = 0; i < log->size; i++) {
        if (log->table[i].rowid != 0) {
            *place_of(table, size, log->table[i].rowid) = log->table[i];
        }
    }
    free(log->table);
    log->table = table;
    log->size = size;
    return DC_OK;
}

dc_status dc_access_log_add(dc_access_log *log, int64_t rowid, int64_t times, double last)
{
    dc_logged_access *access = log->size > 0 ? place_of(log->table, log->size, rowid) : NULL;

    if (access == NULL || access->rowid == 0) {
        if (grow(log) != DC_OK) {
            return DC_NO_MEMORY;
        }
        access = place_of(log->table, log->size, rowid);
        access->rowid = rowid;
        log->count++;
    }
    access->times += times;
    if (last > access->last) {
        access->last = last;
    }
    return DC_OK;
}

dc_status dc_access_log_flush(const dc_access_log *log, dc_db *db, dc_policy policy)
{
    uint64_t changed = db->changes.all;
    dc_status status = DC_OK;

    for (size_t i = 0; i < log->size && status == DC_OK; i++) {
        const dc_logged_access *access = &log->table[i];

        if (access->rowid != 0) {
            status = dc_row_count_access(db, policy, access->rowid, access->last, access->times);
        }
    }
    db->changes.accesses += db->changes.all - changed;
    if (status == DC_OK && log->hits > 0) {
        status = dc_setting_count_lookups(db, 1, log->hits);
    }
    if (status == DC_OK && log->misses > 0) {
        status = dc_setting_count_lookups(db, 0, log->misses);
    }
    return status;
}

void dc_access_log_merge(dc_access_log *log, const dc_access_log *others)
{
    for (size_t i = 0; i < others->size; i++) {
        const dc_logged_access *access = &others->table[i];

        if (access->rowid != 0) {
            dc_access_log_add(log, access->rowid, access->times, access->last);
        }
    }
    log->hits += others->hits;
    log->misses += others->misses;
}

void dc_access_log_clear(dc_access_log *log)
{
    free(log->table);
    memset(log, 0, sizeof *log);
}
