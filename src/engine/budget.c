/* budget.c: see budget.h. */
#include "engine/budget.h"

int dc_budget_holds(dc_db *db, const dc_rules *rules)
{
    const dc_budget *budget = &db->budget;

    return budget->known && !budget->exposed && budget->size_limit == rules->size_limit &&
           budget->version == dc_db_data_version(db);
}

/* Pages that one row can add beyond its own bytes: a split on each of four levels, of the table and of
 * four indexes. */
#define PAGES_PER_WRITE 20

void dc_budget_debit(dc_db *db, int64_t bytes)
{
    int64_t debit = bytes > 0 ? bytes : 0; /* a row may say anything of its file */

    debit = dc_saturated_sum(debit, debit / 32 + PAGES_PER_WRITE * db->page_size);
    db->budget.slack = dc_saturated_sum(db->budget.slack, -debit);
}

void dc_budget_debit_row(dc_db *db, const dc_key *key, const dc_columns *columns)
{
    dc_budget *budget = &db->budget;
    /* Tags and keys are in the table and in an index. */
    size_t size = dc_datum_room(&columns->value) + 2 * dc_datum_room(&columns->tag);

    if (key != NULL) {
        size += 2 * dc_datum_room(&key->datum);
    }
    dc_budget_debit(db, dc_saturated_sum(columns->size, (int64_t)size));
    if (columns->has_expire_time && columns->expire_time < budget->earliest_expiry) {
        budget->earliest_expiry = columns->expire_time;
    }
}

int dc_budget_suffices(dc_db *db, double now, const dc_rules *rules)
{
    return dc_budget_holds(db, rules) && now <= db->budget.earliest_expiry &&
           (rules->policy == DC_POLICY_NONE || db->budget.slack > 0);
}
