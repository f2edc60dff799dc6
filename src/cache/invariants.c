/* invariants.c: see invariants.h. */
#include "cache/invariants.h"

#include "base/debug.h"
#include "python/fork_generation.h"

#ifdef DISKCACHE_DEBUG

/* How often a tier is gone through: not at each operation, since that takes as long as it is large. */
#define TIER_CHECK_INTERVAL 64

/* A session that nobody uses has no statement under way and no transaction open, unless its Connection is in a
 * user's hands; the tier has the header of one that can be closed, and is told before that happens. */
static void check_sessions(const Cache *self)
{
    int pinned = 0;
    int lent = 0;

    for (Session *session = self->pool.sessions; session != NULL; session = session->next) {
        pinned += session->pinned != 0;
        lent += session->lent != NULL;
        DC_ASSERT(session->uses >= 0);
        DC_ASSERT(session->generation == self->pool.generation);
        DC_ASSERT(!session->exposed || session->header == NULL);
        DC_ASSERT(session->lent == NULL || session->lent == &self->hot.header);
        if (session->uses == 0 && !session->exposed && session->db.handle != NULL) {
            DC_ASSERT(!dc_db_in_transaction(&session->db));
            DC_ASSERT(!dc_db_has_open_statement(&session->db));
        }
    }
    DC_ASSERT(pinned == self->pool.pinned);
    DC_ASSERT(lent <= 1);
    DC_ASSERT(lent == 1 || self->hot.header == NULL);
}

static void check_transaction(const WriteTransaction *transaction)
{
    DC_ASSERT(transaction->working >= 0);
    DC_ASSERT(transaction->working <= transaction->depth);
    dc_namelist_check(&transaction->added);
    dc_namelist_check(&transaction->removed);
    if (transaction->depth > 0) {
        DC_ASSERT(transaction->session != NULL);
        DC_ASSERT(transaction->session->uses > 0);
    } else {
        DC_ASSERT(transaction->session == NULL);
        DC_ASSERT(transaction->owner == NULL);
        DC_ASSERT(transaction->added.count == 0);
        DC_ASSERT(transaction->removed.count == 0);
        DC_ASSERT(transaction->changes.count == 0);
    }
}

void cache_check_invariants(Cache *self)
{
    static atomic_uint calls;

    if (self->pool.generation != fork_generation()) {
        return; /* inherited, and not noticed yet */
    }
    check_sessions(self);
    check_transaction(&self->transaction);
    if (calls++ % TIER_CHECK_INTERVAL == 0) {
        hot_check(&self->hot);
    }
}

#endif
