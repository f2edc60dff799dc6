/* registry.c: see registry.h. */
#include "cache/registry.h"

#include "python/connection_lock.h"
#include "python/disowned.h"

/* The thread that copies is the parent's. */
static void forget_checkpointer(Cache *self)
{
    Checkpointer *checkpointer = &self->checkpointer;

    if (checkpointer->session != NULL && atomic_load(&checkpointer->state) == CHECKPOINTER_IDLE) {
        session_put_back(
            checkpointer->session); /* it was over before the fork: the session is idle */
    }
    checkpointer->session = NULL;
    checkpointer->opening = 0;
    atomic_store(&checkpointer->lock_turns, 0);
    atomic_store(&checkpointer->state, CHECKPOINTER_IDLE);
}

/* The parent's open transaction is none of the child's: its files stay, its session is abandoned. */
static void forget_parents_work(Cache *self)
{
    WriteTransaction *transaction = &self->transaction;

    transaction->depth = transaction->working = transaction->doomed = 0;
    transaction->session = NULL;
    Py_CLEAR(transaction->owner);
    dc_namelist_clear(&transaction->added);
    dc_namelist_clear(&transaction->removed);
    hot_changes_clear(&transaction->changes);
    dc_access_log_clear(&transaction->access_log);
    self->mender = 0;
    forget_checkpointer(self);
    dc_access_log_clear(&self->access_log); /* the parent's, which writes them */
    pool_after_fork(self->state, &self->pool);
    hot_clear(&self->hot);
}

void cache_forget_inherited(Cache *self)
{
    connection_lock_acquire(); /* until it is done other threads open nothing */
    if (self->pool.generation != fork_generation()) {
        forget_parents_work(self);
    }
    connection_lock_release();
}

/* SQLite keeps the locks of a process per file, and a forked child inherits its parent's as if they
 * were its own: as long as one inherited connection to a file is left, a new one would believe to have
 * locks that it has not. So before a child opens its first connection, every cache lets go of what it
 * inherited, and not only the one that is used. The list belongs to the process; the GIL guards it. */
Cache *all_caches;
static unsigned long noticed_generation;

void cache_enlist(Cache *self)
{
    self->next = all_caches;
    if (all_caches != NULL) {
        all_caches->previous = self;
    }
    all_caches = self;
}

void cache_delist(Cache *self)
{
    if (self->previous != NULL) {
        self->previous->next = self->next;
    } else if (all_caches == self) {
        all_caches = self->next;
    }
    if (self->next != NULL) {
        self->next->previous = self->previous;
    }
    self->next = self->previous = NULL;
}

/* Closing runs Python, which may change the list: begin again each time. */
void cache_notice_fork_everywhere(module_state *state)
{
    Cache *cache = all_caches;

    if (noticed_generation == fork_generation()) {
        return;
    }
    noticed_generation = fork_generation();
    connection_lock_acquire(); /* until then other threads open nothing */
    disowned_forget_locks();
    while (cache != NULL) {
        if (cache->state == state && cache->pool.generation != fork_generation()) {
            Py_INCREF(cache);
            cache_notice_fork(cache);
            Py_DECREF(cache);
            cache = all_caches;
        } else {
            cache = cache->next;
        }
    }
    connection_lock_release();
}
