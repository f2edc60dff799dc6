/* registry.h: the list of all caches of the process, and what a forked child does with what it has inherited.
 *
 * SQLite keeps the locks of a process per file, and a forked child inherits its parent's as if they
 * were its own: as long as one inherited connection to a file is left, a new one would believe to have
 * locks that it has not. So before a child opens its first connection, every cache lets go of what it
 * inherited, and not only the one that is used. The list belongs to the process; the process lock guards it.
 */
#ifndef DC_CACHE_REGISTRY_H
#define DC_CACHE_REGISTRY_H

#include "cache/object.h"
#include "python/fork_generation.h"

void cache_enlist(Cache *self);
void cache_delist(Cache *self);

/* The caches of an interpreter at one moment. What is done with one may run Python, which makes and ends others. */
typedef struct cache_list {
    PyObject **references; /* owned, strong */
    size_t count;
} cache_list;

/* -1 with MemoryError. */
int cache_list_take(cache_list *list, const module_state *state);
void cache_list_clear(cache_list *list);

/* Before and after each os.fork(), in both processes: in the child nobody has the guard of a cache. */
void cache_before_fork(void);
void cache_after_fork(void);

void cache_forget_inherited(Cache *self);
/* Drop what was inherited, if the process has forked: for one cache, and for all of an interpreter; -1 with
 * MemoryError. */
static inline void cache_notice_fork(Cache *self)
{
    if (self->pool.generation != fork_generation()) {
        cache_forget_inherited(self);
    }
}
int cache_notice_fork_everywhere(module_state *state);

#endif
