/* access_log.c: see access_log.h. */
#include "engine/access_log.h"

#include <stdlib.h>
#include <string.h>

#include "engine/rows.h"
#include "engine/settings.h"

#define FIRST_SIZE 64
/* Rows noted at most: flushing them takes some 10 ms. */
#define LARGEST_SIZE 16384

/* The place of a row in the table, or the free place where it would be. */
static dc_note *place_of(dc_note *table, size_t size, int64_t rowid)
{
    size_t place = (size_t)((uint64_t)rowid * 0x9E3779B97F4A7C15u >> 32) & (size - 1);

    while (table[place].rowid != 0 && table[place].rowid != rowid) {
        place = (place + 1) & (size - 1);
    }
    return &table[place];
}

/* Keep a quarter of the table free. */
static dc_status grow(dc_notes *notes)
{
    size_t size = notes->size == 0 ? FIRST_SIZE : 2 * notes->size;
    dc_note *table;

    if (4 * (notes->count + 1) <= 3 * notes->size) {
        return DC_OK;
    }
    table = size <= LARGEST_SIZE ? calloc(size, sizeof *table) : NULL;
    if (table == NULL) {
        return DC_NO_MEMORY;
    }
    for (size_t i = 0; i < notes->size; i++) {
        if (notes->table[i].rowid != 0) {
            *place_of(table, size, notes->table[i].rowid) = notes->table[i];
        }
    }
    free(notes->table);
    notes->table = table;
    notes->size = size;
    return DC_OK;
}

dc_status dc_notes_access(dc_notes *notes, int64_t rowid, int64_t times, double last)
{
    dc_note *note = notes->size > 0 ? place_of(notes->table, notes->size, rowid) : NULL;

    if (note == NULL || note->rowid == 0) {
        if (grow(notes) != DC_OK) {
            return DC_NO_MEMORY;
        }
        note = place_of(notes->table, notes->size, rowid);
        note->rowid = rowid;
        notes->count++;
    }
    note->times += times;
    if (last > note->last) {
        note->last = last;
    }
    return DC_OK;
}

dc_status dc_notes_flush(const dc_notes *notes, dc_db *db, dc_policy policy)
{
    dc_status status = DC_OK;

    for (size_t i = 0; i < notes->size && status == DC_OK; i++) {
        const dc_note *note = &notes->table[i];

        if (note->rowid != 0) {
            status = dc_row_count_access(db, policy, note->rowid, note->last, note->times);
        }
    }
    if (status == DC_OK && notes->hits > 0) {
        status = dc_setting_count_lookups(db, 1, notes->hits);
    }
    if (status == DC_OK && notes->misses > 0) {
        status = dc_setting_count_lookups(db, 0, notes->misses);
    }
    return status;
}

void dc_notes_merge(dc_notes *notes, const dc_notes *others)
{
    for (size_t i = 0; i < others->size; i++) {
        const dc_note *note = &others->table[i];

        if (note->rowid != 0) {
            dc_notes_access(notes, note->rowid, note->times, note->last);
        }
    }
    notes->hits += others->hits;
    notes->misses += others->misses;
}

void dc_notes_clear(dc_notes *notes)
{
    free(notes->table);
    memset(notes, 0, sizeof *notes);
}
