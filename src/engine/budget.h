/* budget.h: how much can still be written before anything is to be culled.
 *
 * Most writes have nothing to cull, and finding that out anew costs more than the write: the pragmas
 * for the page count are compiled each time they run. So the handle remembers (dc_budget) how much
 * can be written before the volume can reach the limit, and when the first row expires. Each write
 * draws its own share from that; anybody else's commit, a rollback, and a Connection in a user's hands
 * void it. It errs on one side only: slack is never more than there is, expiry never later.
 */
#ifndef DC_ENGINE_BUDGET_H
#define DC_ENGINE_BUDGET_H

#include "base/record.h"
#include "engine/db.h"
#include "engine/rules.h"

int dc_budget_holds(dc_db *db, const dc_rules *rules);
/* Whether the budget says that there is nothing to cull. */
int dc_budget_suffices(dc_db *db, double now, const dc_rules *rules);
/* Every statement that can make the database grow draws what it can grow by. Bytes on overflow pages
 * come with links, and with auto_vacuum each page has an entry in a pointer map: 2 % of the smallest
 * pages, so a part in 32 is enough. */
void dc_budget_debit(dc_db *db, int64_t bytes);
void dc_budget_debit_row(dc_db *db, const dc_key *key, const dc_columns *columns);

#endif
