/* scan.h: rows in an order: the ends, the n-th, pages of keys; and files that no row names.
 */
#ifndef DC_ENGINE_SCAN_H
#define DC_ENGINE_SCAN_H

#include "base/record.h"
#include "engine/db.h"
#include "engine/queue.h"

/* Fill the row, key included, that was inserted first (or last); DC_NOT_FOUND. `passed`, unless it is NULL: the
 * number of a row; those from it to that end are passed over. */
dc_status dc_scan_end(dc_db *db, int last, const int64_t *passed, dc_row *row);
/* Fill the row, key included, that has `before` others before it in the order of the keys, seen from
 * that side; DC_NOT_FOUND. */
dc_status dc_scan_nth(dc_db *db, dc_side side, int64_t before, dc_row *row);

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
dc_status dc_scan_keys(dc_db *db, dc_order order, int64_t low, int64_t high, const dc_key *previous,
                       size_t limit, dc_key_page *page);
dc_status dc_scan_max_rowid(dc_db *db, int64_t *rowid); /* DC_NOT_FOUND if empty */

/* Append those of the names to `unnamed` that no row has. Reads the whole table, once. */
dc_status dc_scan_unnamed_files(dc_db *db, const dc_namelist *names, dc_namelist *unnamed);

#endif
