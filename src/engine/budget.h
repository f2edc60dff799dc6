/* budget.h: the size budget, how much can be written before anything is to be evicted.
 *
 * Most writes evict nothing, and finding that out costs more than the write: SQLite compiles the pragmas for the
 * number of pages each time. So the handle remembers (dc_budget) how much can be written before the volume can reach
 * the limit (the slack), and when the first row expires. Each write debits its share. The budget is void after a commit
 * by others, a rollback, a change of the schema, and while a user has the Connection. The slack may
 * be too small, never too large, and no row expires earlier than remembered.
 */
#ifndef DC_ENGINE_BUDGET_H
#define DC_ENGINE_BUDGET_H

#include "base/record.h"
#include "engine/db.h"
#include "engine/rules.h"

/* Whether the budget is known and not void, for these rules. */
int dc_budget_holds(dc_db *db, const dc_rules *rules);
/* Whether the budget holds and says that there is nothing to cull. */
int dc_budget_suffices(dc_db *db, double now, const dc_rules *rules);
/* Debit the most that a statement can make the database grow by. Every statement that can make it grow calls this.
 * Overflow pages have links, and auto_vacuum keeps a pointer-map entry for each page. Together they take 2 % of the
 * smallest pages; 1/32 of the bytes is added for them, and the pages that splits can take. */
void dc_budget_debit(dc_db *db, int64_t bytes);
void dc_budget_debit_row(dc_db *db, const dc_key *key, const dc_columns *columns);

#endif
