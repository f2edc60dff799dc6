/* budget.h: the size budget, how much can be written before anything is to be evicted.
 *
 * Most writes evict nothing, and finding that out costs more than the write: SQLite compiles the pragmas for the
 * number of pages each time. So the handle remembers (dc_budget) how much can be written before the volume can reach
 * the limit, and when the first row expires. Each write debits its share. A commit of others, a rollback, and a
 * Connection in a user's hands make the budget void. It errs on one side only: the slack is never more than there is,
 * the earliest expiry never later.
 */
#ifndef DC_ENGINE_BUDGET_H
#define DC_ENGINE_BUDGET_H

#include "base/record.h"
#include "engine/db.h"
#include "engine/rules.h"

int dc_budget_holds(dc_db *db, const dc_rules *rules);
/* Whether the budget says that there is nothing to cull. */
int dc_budget_suffices(dc_db *db, double now, const dc_rules *rules);
/* Debit what a statement can make the database grow by: every one that can make it grow does. Bytes on overflow pages
 * come with links, and with auto_vacuum each page has an entry in a pointer map: 2 % of the smallest pages, so a part
 * in 32 is enough. */
void dc_budget_debit(dc_db *db, int64_t bytes);
void dc_budget_debit_row(dc_db *db, const dc_key *key, const dc_columns *columns);

#endif
