/* scan.c: see scan.h. */
#include "engine/scan.h"

#include <stdlib.h>
#include <string.h>

#include "engine/rows.h"

dc_status dc_scan_end(dc_db *db, int last, const int64_t *passed, dc_row *row)
{
    const dc_sql ends[] = {DC_SQL_FIRST, DC_SQL_LAST};
    const dc_sql beside[] = {DC_SQL_FIRST_ABOVE, DC_SQL_LAST_BELOW};
    dc_query query;

    dc_query_start(&query, db, (passed != NULL ? beside : ends)[last != 0]);
    if (passed != NULL) {
        dc_query_bind_integer(&query, *passed);
    }
    return dc_row_read_one(&query, DC_DETAIL_ALL, 1, row);
}

dc_status dc_scan_nth(dc_db *db, dc_side side, int64_t before, dc_row *row)
{
    dc_query query;

    dc_query_start(&query, db, side == DC_FRONT ? DC_SQL_NTH_LOWEST : DC_SQL_NTH_HIGHEST);
    dc_query_bind_integer(&query, before);
    return dc_row_read_one(&query, DC_DETAIL_ALL, 1, row);
}

/* A name looked for among those of the rows. */
typedef struct sought_name {
    const char *name;
    int named;
} sought_name;

static int compare_sought(const void *left, const void *right)
{
    return strcmp(((const sought_name *)left)->name, ((const sought_name *)right)->name);
}

/* Mark those of the sorted names that rows have. */
static dc_status mark_named(dc_db *db, sought_name *sought, size_t count)
{
    dc_query query;
    dc_datum datum;
    sought_name key = {.name = NULL};
    sought_name *found;
    dc_row row;
    dc_status status;

    dc_row_init(&row);
    dc_query_start(&query, db, DC_SQL_FILENAMES);
    status = dc_query_step(&query);
    while (status == DC_OK) {
        datum = dc_query_column(&query, 0);
        if (datum.type == DC_TEXT) {
            if (!dc_row_reserve(&row, dc_datum_room(&datum))) {
                status = dc_db_out_of_memory(db);
                break;
            }
            dc_row_keep_datum(&row, &datum); /* with a NUL at its end */
            key.name = datum.as.bytes.data;
            found = bsearch(&key, sought, count, sizeof *sought, compare_sought);
            if (found != NULL) {
                found->named = 1;
            }
        }
        status = dc_query_step(&query);
    }
    dc_query_end(&query);
    dc_row_clear(&row);
    return status == DC_NOT_FOUND ? DC_OK : status;
}

dc_status dc_scan_unnamed_files(dc_db *db, const dc_namelist *names, dc_namelist *unnamed)
{
    sought_name *sought;
    size_t count = 0;
    dc_status status;

    if (names->count == 0) {
        return DC_OK;
    }
    sought = malloc(names->count * sizeof *sought);
    if (sought == NULL) {
        return dc_db_out_of_memory(db);
    }
    for (const char *name = dc_namelist_next(names, NULL); name != NULL;
         name = dc_namelist_next(names, name)) {
        sought[count++] = (sought_name){.name = name};
    }
    qsort(sought, count, sizeof *sought, compare_sought);
    status = mark_named(db, sought, count);
    for (size_t i = 0; i < count && status == DC_OK; i++) {
        if (!sought[i].named && !dc_namelist_add(unnamed, sought[i].name)) {
            status = dc_db_out_of_memory(db);
        }
    }
    free(sought);
    return status;
}

void dc_key_page_clear(dc_key_page *page)
{
    free(page->keys);
    free(page->memory);
    memset(page, 0, sizeof *page);
}

/* Make room for another `size` bytes; the keys before move along. */
static int page_reserve(dc_key_page *page, size_t size)
{
    size_t capacity = 2 * page->capacity + size + 1024;
    char *memory;

    if (page->capacity - page->used >= size) {
        return 1;
    }
    memory = malloc(capacity);
    if (memory == NULL) {
        return 0;
    }
    for (size_t i = 0; i < page->count; i++) {
        dc_datum *key = &page->keys[i].datum;

        if (key->type == DC_TEXT || key->type == DC_BLOB) {
            key->as.bytes.data = memory + (key->as.bytes.data - page->memory);
        }
    }
    if (page->used > 0) {
        memcpy(memory, page->memory, page->used);
    }
    free(page->memory);
    page->memory = memory;
    page->capacity = capacity;
    return 1;
}

/* Copy a key into the page, which has room for it. */
static int page_add(dc_key_page *page, dc_datum key, int raw)
{
    size_t size = dc_datum_room(&key);

    if (!page_reserve(page, size)) {
        return 0;
    }
    if (size > 0) {
        if (size > 1) {
            memcpy(page->memory + page->used, key.as.bytes.data, size - 1);
        }
        key.as.bytes.data = page->memory + page->used;
        page->used += size;
    }
    page->keys[page->count].datum = key;
    page->keys[page->count].raw = raw;
    page->count++;
    return 1;
}

static int page_begin(dc_key_page *page, size_t limit)
{
    dc_key *keys;

    page->count = 0;
    page->used = 0;
    page->complete = 0;
    if (page->room < limit) {
        keys = realloc(page->keys, limit * sizeof *keys);
        if (keys == NULL) {
            return 0;
        }
        page->keys = keys;
        page->room = limit;
    }
    return 1;
}

dc_status dc_scan_keys(dc_db *db, dc_order order, int64_t low, int64_t high, const dc_key *previous,
                       size_t limit, dc_key_page *page)
{
    const dc_sql by_rowid[] = {DC_SQL_KEYS_FORWARD, DC_SQL_KEYS_BACKWARD};
    const dc_sql first[] = {DC_SQL_KEYS_LOWEST, DC_SQL_KEYS_HIGHEST};
    const dc_sql next[] = {DC_SQL_KEYS_ABOVE, DC_SQL_KEYS_BELOW};
    dc_query query;
    dc_status status;

    if (!page_begin(page, limit)) {
        return dc_db_out_of_memory(db);
    }
    if (order == DC_BY_ROWID || order == DC_BY_ROWID_DOWN) {
        dc_query_start(&query, db, by_rowid[order == DC_BY_ROWID_DOWN]);
        dc_query_bind_integer(&query, low);
        dc_query_bind_integer(&query, high);
    } else if (previous == NULL) {
        dc_query_start(&query, db, first[order == DC_BY_KEY_DOWN]);
    } else {
        dc_row_start_query(&query, db, next[order == DC_BY_KEY_DOWN], previous);
    }
    dc_query_bind_integer(&query, (int64_t)limit);
    status = dc_query_step(&query);
    while (status == DC_OK) {
        if (!page_add(page, dc_query_column(&query, 1), dc_query_integer(&query, 2) != 0)) {
            status = dc_db_out_of_memory(db);
        } else if (page->count == limit || page->used >= DC_KEY_PAGE_BYTES) {
            page->last = dc_query_integer(&query, 0); /* of each row it would take time */
            break;
        } else {
            status = dc_query_step(&query);
        }
    }
    status = dc_query_end_read(&query, status);
    page->complete = status == DC_NOT_FOUND;
    return status == DC_NOT_FOUND ? DC_OK : status;
}

dc_status dc_scan_max_rowid(dc_db *db, int64_t *rowid)
{
    dc_query query;
    dc_datum maximum;
    dc_status status;

    dc_query_start(&query, db, DC_SQL_MAX_ROWID);
    status = dc_query_step(&query);
    if (status == DC_OK) {
        maximum = dc_query_column(&query, 0);
        *rowid = maximum.as.integer;
        status = maximum.type == DC_INTEGER ? DC_OK : DC_NOT_FOUND;
    }
    dc_query_end(&query);
    return status;
}
