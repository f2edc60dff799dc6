/* volume.c: see volume.h. */
#include "engine/volume.h"

#include <math.h>

#include "base/debug.h"
#include "engine/budget.h"
#include "engine/settings.h"

dc_status dc_volume(dc_db *db, int free_pages, int64_t *volume)
{
    int64_t pages = 0;
    int64_t unused = 0;
    int64_t files = 0;
    dc_status status = dc_query_single_integer(db, DC_SQL_PAGE_COUNT, &pages);

    /* Asked for before each cull (dc_write_cull), so not again for each row; and after the count, which is
     * what makes SQLite look at the file. */
    if (status == DC_OK && (db->page_size == 0 || free_pages)) {
        status = dc_query_single_integer(db, DC_SQL_PAGE_SIZE, &db->page_size);
    }
    if (status == DC_OK && !free_pages) {
        status = dc_query_single_integer(db, DC_SQL_FREELIST_COUNT, &unused);
    }
    if (status == DC_OK) {
        status = dc_setting_get_integer(db, "size", &files);
        status = status == DC_NOT_FOUND ? DC_OK : status;
    }
    /* What is stored of the files may be anything, or nothing. */
    *volume = dc_saturated_sum(db->page_size * (pages > unused ? pages - unused : 0),
                               files > 0 ? files : 0);
    return status;
}

dc_status dc_budget_renew(dc_db *db, const dc_rules *rules)
{
    dc_budget *budget = &db->budget;
    dc_query query;
    dc_datum earliest;
    int64_t volume = 0;
    dc_status status = dc_volume(db, 0, &volume);

    budget->known = 0;
    if (status != DC_OK) {
        return status;
    }
    dc_query_start(&query, db, DC_SQL_EARLIEST_EXPIRY);
    status = dc_query_step(&query);
    if (status == DC_OK) {
        earliest = dc_query_column(&query, 0);
        budget->earliest_expiry = earliest.type == DC_REAL      ? earliest.as.real
                                  : earliest.type == DC_INTEGER ? (double)earliest.as.integer
                                                                : HUGE_VAL;
        budget->slack = dc_saturated_sum(rules->size_limit, -volume);
        budget->size_limit = rules->size_limit;
        budget->version = dc_db_data_version(db);
        budget->known = 1;
    }
    dc_query_end(&query);
    return status;
}

#ifdef DISKCACHE_DEBUG

void dc_budget_check(dc_db *db, const dc_rules *rules)
{
    dc_error error = db->error;
    int64_t volume = 0;

    if (dc_budget_holds(db, rules) && dc_volume(db, 0, &volume) == DC_OK) {
        DC_ASSERT(db->budget.slack <= dc_saturated_sum(rules->size_limit, -volume));
    }
    db->error = error;
}

#endif
