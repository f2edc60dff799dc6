/* registry.c: see registry.h. */
#include "cache/registry.h"

#include "python/connection_lock.h"
#include "python/disowned.h"
#include "python/process_lock.h"

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
    self->writer = 0;
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

/* --- the list ----------------------------------------------------------------------------------- */

static Cache *all_caches; /* linked by `next`; guarded by the process lock */

void cache_enlist(Cache *self)
{
    process_lock_acquire();
    self->next = all_caches;
    if (all_caches != NULL) {
        all_caches->previous = self;
    }
    all_caches = self;
    process_lock_release();
}

void cache_delist(Cache *self)
{
    process_lock_acquire();
    if (self->previous != NULL) {
        self->previous->next = self->next;
    } else if (all_caches == self) {
        all_caches = self->next;
    }
    if (self->next != NULL) {
        self->next->previous = self->previous;
    }
    self->next = self->previous = NULL;
    process_lock_release();
}

/* Whether there is a reference to be had. One that is just ending stays in the list until its attributes and callbacks
 * have been dealt with, which may run Python. Without a GIL a weak reference tells, but for one that this very thread
 * ends: Python 3.13 gives a reference to what has had its finalizer called. */
static int is_to_be_had(const Cache *cache)
{
    return Py_REFCNT(cache) > 0;
}

/* Refer to those of an interpreter's caches that there is room for; how many there are. Without a GIL weak references
 * are taken. Nothing of Python is called. */
static size_t refer(const module_state *state, PyObject **references, size_t room)
{
    size_t count = 0;

    process_lock_acquire();
    for (Cache *cache = all_caches; cache != NULL; cache = cache->next) {
        if (cache->state == state && is_to_be_had(cache) && count++ < room) {
            references[count - 1] = Py_NewRef(COMPAT_HAS_GIL ? (PyObject *)cache : cache->weak);
        }
    }
    process_lock_release();
    return count;
}

static void release(PyObject **references, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        Py_DECREF(references[i]);
    }
}

/* Put strong references in the place of weak ones, as far as they are to be had. How many there are then. */
static size_t strengthen(PyObject **references, size_t count)
{
    size_t living = 0;

    for (size_t i = 0; i < count; i++) {
        PyObject *weak = references[i];
        PyObject *cache = compat_weakref_get(weak);

        Py_DECREF(weak);
        if (cache != NULL) {
            references[living++] = cache;
        }
    }
    return living;
}

int cache_list_take(cache_list *list, const module_state *state)
{
    size_t room = 0;
    size_t count;

    list->references = NULL;
    list->count = 0;
    while ((count = refer(state, list->references, room)) >
           room) { /* at first; or others have been made */
        release(list->references, room);
        PyMem_Free(list->references);
        room = count;
        list->references = PyMem_Malloc(room * sizeof *list->references);
        if (list->references == NULL) {
            PyErr_NoMemory();
            return -1;
        }
    }
    list->count = COMPAT_HAS_GIL ? count : strengthen(list->references, count);
    return 0;
}

void cache_list_clear(cache_list *list)
{
    release(list->references, list->count);
    PyMem_Free(list->references);
}

/* --- a fork ------------------------------------------------------------------------------------- */

/* The generation of who has announced a fork last. Guarded by the process lock. */
static unsigned long announced;

void cache_before_fork(void)
{
    process_lock_acquire();
    announced = fork_generation();
    process_lock_release();
}

void cache_after_fork(void)
{
    process_lock_acquire();
    if (!COMPAT_HAS_GIL && announced != fork_generation() && guard_depth == 0) { /* in the child */
        announced = fork_generation();
        for (Cache *cache = all_caches; cache != NULL; cache = cache->next) {
            guard_forget((PyObject *)cache);
            if (cache->disk != NULL) {
                guard_forget(cache->disk);
            }
        }
    }
    process_lock_release();
}

int cache_notice_fork_everywhere(module_state *state)
{
    cache_list list;

    if (atomic_load(&state->noticed) == fork_generation()) {
        return 0;
    }
    if (cache_list_take(&list, state) < 0) {
        return -1;
    }
    connection_lock_acquire(); /* until it is done other threads open nothing */
    if (atomic_exchange(&state->noticed, fork_generation()) != fork_generation()) {
        disowned_forget_locks();
        for (size_t i = 0; i < list.count; i++) {
            Cache *cache = (Cache *)list.references[i];

            GUARD_BEGIN(cache)
            cache_notice_fork(cache);
            GUARD_END()
        }
    }
    connection_lock_release();
    cache_list_clear(&list);
    return 0;
}
