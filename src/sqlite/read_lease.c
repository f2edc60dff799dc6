/* read_lease.c: see read_lease.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* clock_gettime, pthread_condattr_setclock */
#endif

#include "sqlite/read_lease.h"

#ifndef _WIN32

#include <stddef.h>
#include <time.h>

#include "base/debug.h"
#include "base/thread.h"

/* Of the eight locks of the wal-index those of the read marks, and the one of those who need no log. */
enum { FIRST_MARK_LOCK = 3, MARK_LOCK_OF_DATABASE = FIRST_MARK_LOCK };

/* A lease ends in the second tick after it began. */
#define TICK_NANOSECONDS 2500000L
/* After so many ticks without a lease the thread ends. */
#define IDLE_TICKS 20
/* A lease is worth its thread for who reads so often. */
#define TRANSACTIONS_BEFORE 8

/* Guards what follows, and is held by who ends a lease of another thread's. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static dc_read_lease *leases;
static pthread_t ticker;
static pthread_cond_t suspended; /* tells it so; made when it first begins */
static int has_condition;
static int is_ticker_to_join;
static int suspensions;
static atomic_int ticks; /* whether the thread runs, and will look at all leases once more */

static const char tag;

static dc_read_lease *lease_of(sqlite3_file *file)
{
    return (dc_read_lease *)dc_io_override_tagged(file, &tag);
}

static int lock_of(unsigned int state)
{
    return (int)(state >> DC_LEASE_LOCK_SHIFT);
}

static unsigned int state_of(unsigned int phase, int lock)
{
    return phase | (unsigned int)lock << DC_LEASE_LOCK_SHIFT;
}

static int unlock(dc_read_lease *lease, int lock)
{
    return lease->io.original->shm_lock(lease->io.file, lock, 1,
                                        DC_SQLITE_SHM_UNLOCK | DC_SQLITE_SHM_SHARED);
}

/* End a lease that is in this state, unless it is another's by now. */
static int end_kept(dc_read_lease *lease, unsigned int state)
{
    if (!atomic_compare_exchange_strong(&lease->state, &state, DC_LEASE_ENDING)) {
        return 0;
    }
    DC_PAUSE("a lease is about to end");
    unlock(lease, lock_of(state));
    atomic_store(&lease->state, DC_LEASE_NONE);
    return 1;
}

/* By the handle's thread: afterwards nothing is kept. */
static void give_back(dc_read_lease *lease)
{
    unsigned int state;

    while ((state = atomic_load(&lease->state)) == DC_LEASE_ENDING || (state & DC_LEASE_KEPT)) {
        if (state == DC_LEASE_ENDING) {
            pthread_mutex_lock(&mutex); /* who ends it has the mutex */
            pthread_mutex_unlock(&mutex);
        } else {
            end_kept(lease, state);
        }
    }
}

/* --- the thread --------------------------------------------------------------------------------- */

/* With the mutex. End the leases that have been there for a tick, or all; whether there are others. */
static int end_leases(int all)
{
    int others = 0;

    for (dc_read_lease *lease = leases; lease != NULL; lease = lease->next) {
        unsigned int state = atomic_load(&lease->state);

        if ((state & DC_LEASE_KEPT) && (all || (state & DC_LEASE_AGED))) {
            if (end_kept(lease, state)) {
                atomic_store(&lease->transactions, 0);
            }
        } else if (state & (DC_LEASE_KEPT | DC_LEASE_IN_USE)) {
            atomic_compare_exchange_strong(&lease->state, &state, state | DC_LEASE_AGED);
        }
        others |= atomic_load(&lease->state) != DC_LEASE_NONE;
    }
    return others;
}

/* With the mutex. Who keeps a lock looks at `ticks` after that: either it is seen here, or the thread is started. For
 * the same reason the thread goes on while there is a lock in use, which is kept next. */
static int stops(int idle_ticks)
{
    if (suspensions == 0 && idle_ticks < IDLE_TICKS) {
        return 0;
    }
    atomic_store(&ticks, 0);
    if (end_leases(suspensions > 0) && suspensions == 0) {
        atomic_store(&ticks, 1);
    }
    return !atomic_load(&ticks);
}

#ifdef __APPLE__

static int make_condition(void)
{
    return pthread_cond_init(&suspended, NULL) == 0;
}

static void wait_for_tick(void)
{
    const struct timespec pause = {0, TICK_NANOSECONDS};

    pthread_cond_timedwait_relative_np(&suspended, &mutex, &pause);
}

#else

/* On a clock that nobody sets. */
static int make_condition(void)
{
    pthread_condattr_t attributes;
    int made = 0;

    if (pthread_condattr_init(&attributes) == 0) {
        made = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
               pthread_cond_init(&suspended, &attributes) == 0;
        pthread_condattr_destroy(&attributes);
    }
    return made;
}

static void wait_for_tick(void)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TICK_NANOSECONDS;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&suspended, &mutex, &until);
}

#endif

static void *tick(void *unused)
{
    int idle_ticks = 0;

    (void)unused;
    pthread_mutex_lock(&mutex);
    do {
        if (suspensions == 0) {
            wait_for_tick();
        }
        idle_ticks = end_leases(0) ? 0 : idle_ticks + 1;
    } while (!stops(idle_ticks));
    if (suspensions == 0) {
        is_ticker_to_join = 0;
        pthread_detach(pthread_self());
    }
    pthread_mutex_unlock(&mutex);
    return NULL;
}

/* Whether there is a thread to end what has just been kept. */
static int has_ticker(void)
{
    if (atomic_load(&ticks)) {
        return 1;
    }
    pthread_mutex_lock(&mutex);
    has_condition = has_condition || make_condition();
    if (!atomic_load(&ticks) && suspensions == 0 && has_condition &&
        dc_thread_start(&ticker, tick, NULL)) {
        is_ticker_to_join = 1;
        atomic_store(&ticks, 1);
    }
    pthread_mutex_unlock(&mutex);
    return atomic_load(&ticks);
}

void dc_read_leases_suspend(void)
{
    pthread_t stopped;
    int is_to_join;

    pthread_mutex_lock(&mutex);
    suspensions++;
    end_leases(1);
    stopped = ticker;
    is_to_join = is_ticker_to_join;
    is_ticker_to_join = 0;
    if (has_condition) {
        pthread_cond_signal(&suspended);
    }
    pthread_mutex_unlock(&mutex);
    if (is_to_join) {
        pthread_join(stopped, NULL);
    }
}

void dc_read_leases_resume(void)
{
    pthread_mutex_lock(&mutex);
    suspensions--;
    pthread_mutex_unlock(&mutex);
}

void dc_read_leases_before_fork(void)
{
    pthread_mutex_lock(&mutex);
    end_leases(1);
}

/* The threads that the parent had are not there: the one that ticks, which may have been waiting, and others that have
 * announced a fork. */
void dc_read_leases_after_fork(int in_child, int is_announced)
{
    if (in_child) {
        atomic_store(&ticks, 0);
        is_ticker_to_join = 0;
        suspensions = is_announced != 0;
        has_condition = 0;
        for (dc_read_lease *lease = leases; lease != NULL; lease = lease->next) {
            /* The lock is the parent's; if it was in use the handle is abandoned, and that forgets it. */
            atomic_store(&lease->state, DC_LEASE_NONE);
        }
    }
    pthread_mutex_unlock(&mutex);
}

/* --- the locks ---------------------------------------------------------------------------------- */

static int begin_reading(dc_read_lease *lease, sqlite3_file *file, int lock)
{
    unsigned int state = atomic_load(&lease->state);
    int result;

    if (lease->allowed && (state & DC_LEASE_KEPT) && lock_of(state) == lock &&
        atomic_compare_exchange_strong(&lease->state, &state,
                                       (state & ~(unsigned int)DC_LEASE_KEPT) | DC_LEASE_IN_USE)) {
        lease->used = 1;
        return DC_SQLITE_OK;
    }
    give_back(lease);
    result = lease->io.original->shm_lock(file, lock, 1, DC_SQLITE_SHM_LOCK | DC_SQLITE_SHM_SHARED);
    if (result == DC_SQLITE_OK && atomic_load(&lease->state) == DC_LEASE_NONE) {
        atomic_store(&lease->state, state_of(DC_LEASE_IN_USE, lock));
    }
    return result;
}

static int is_worth_keeping(dc_read_lease *lease, int lock)
{
    unsigned int transactions = atomic_load_explicit(&lease->transactions, memory_order_relaxed);

    if (transactions < TRANSACTIONS_BEFORE) {
        atomic_store_explicit(&lease->transactions, transactions + 1, memory_order_relaxed);
        return 0;
    }
    return lock == MARK_LOCK_OF_DATABASE || dc_wal_bytes(lease->header) <= DC_LEASE_BYTES;
}

static int end_reading(dc_read_lease *lease, int lock)
{
    unsigned int state = atomic_load(&lease->state);

    if (!(state & DC_LEASE_IN_USE) || lock_of(state) != lock) {
        return unlock(lease, lock);
    }
    if (!(state & DC_LEASE_AGED) && is_worth_keeping(lease, lock) &&
        atomic_compare_exchange_strong(&lease->state, &state, state_of(DC_LEASE_KEPT, lock))) {
        if (!has_ticker()) { /* nor will there be one soon */
            give_back(lease);
            atomic_store(&lease->transactions, 0);
        }
        return DC_SQLITE_OK;
    }
    atomic_store(&lease->state, DC_LEASE_NONE);
    return unlock(lease, lock);
}

static int lock_lazily(sqlite3_file *file, int first, int count, int flags)
{
    dc_read_lease *lease = lease_of(file);

    if (first + count > FIRST_MARK_LOCK) {
        if (flags == (DC_SQLITE_SHM_LOCK | DC_SQLITE_SHM_SHARED)) {
            return begin_reading(lease, file, first);
        }
        if (flags == (DC_SQLITE_SHM_UNLOCK | DC_SQLITE_SHM_SHARED)) {
            return end_reading(lease, first);
        }
    }
    give_back(lease); /* SQLite's record of the handle's locks is touched by one thread at a time */
    return lease->io.original->shm_lock(file, first, count, flags);
}

/* Where the journal ceases to be a log. */
static int unmap_without_lease(sqlite3_file *file, int removes)
{
    dc_read_lease *lease = lease_of(file);

    give_back(lease);
    return lease->io.original->shm_unmap(file, removes);
}

/* --- attaching ---------------------------------------------------------------------------------- */

void dc_read_lease_attach(dc_read_lease *lease, sqlite3_file *file, dc_wal_header header)
{
    dc_io_methods *methods = dc_io_override_begin(&lease->io, file);

    if (methods == NULL) {
        return;
    }
    methods->shm_lock = lock_lazily;
    methods->shm_unmap = unmap_without_lease;
    lease->io.tag = &tag;
    lease->header = header;
    atomic_store(&lease->state, DC_LEASE_NONE);
    atomic_store(&lease->transactions, 0);
    pthread_mutex_lock(&mutex);
    lease->previous = NULL;
    lease->next = leases;
    if (leases != NULL) {
        leases->previous = lease;
    }
    leases = lease;
    pthread_mutex_unlock(&mutex);
}

void dc_read_lease_detach(dc_read_lease *lease)
{
    if (lease->io.file == NULL) {
        return;
    }
    give_back(lease);
    pthread_mutex_lock(&mutex);
    *(lease->previous != NULL ? &lease->previous->next : &leases) = lease->next;
    if (lease->next != NULL) {
        lease->next->previous = lease->previous;
    }
    pthread_mutex_unlock(&mutex);
    dc_io_override_end(&lease->io);
}

#else /* a lease needs a thread and locks that a fork knows; there is neither */

void dc_read_lease_attach(dc_read_lease *lease, sqlite3_file *file, dc_wal_header header)
{
    (void)lease;
    (void)file;
    (void)header;
}

void dc_read_lease_detach(dc_read_lease *lease)
{
    (void)lease;
}

void dc_read_leases_resume(void)
{
}

#endif
