/* sqlite_mutex.c: see sqlite_mutex.h. */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */

#include "python/sqlite_mutex.h"

#include <stdatomic.h>
#include <stddef.h>

#include "base/clock.h"
#include "python/wait.h"

#define TRY_AGAIN_SECONDS 50e-6

static atomic_int works; /* set once, before any other thread needs it */

void sqlite_mutex_probe(sqlite3 *handle)
{
    if (!works && sqlite.mutex_try(sqlite.db_mutex(handle)) == DC_SQLITE_OK) {
        works = 1;
        sqlite_mutex_leave(handle);
    }
}

int sqlite_mutex_works(void)
{
    return works;
}

int sqlite_mutex_try(sqlite3 *handle)
{
    return works && sqlite.mutex_try(sqlite.db_mutex(handle)) == DC_SQLITE_OK;
}

int sqlite_mutex_take(sqlite3 *handle, double seconds)
{
    double deadline = dc_clock() + seconds;

    while (works && !sqlite_mutex_try(handle)) {
        if (dc_clock() >= deadline) {
            return 0;
        }
        wait_pause();
    }
    return works;
}

int sqlite_mutex_take_without_gil(sqlite3 *handle)
{
    while (works && !sqlite_mutex_try(handle)) {
        wait_sleep(TRY_AGAIN_SECONDS);
    }
    return works;
}

static int spin(sqlite3_mutex *mutex, double deadline)
{
    int taken;

    while (!(taken = works && sqlite.mutex_try(mutex) == DC_SQLITE_OK) && dc_clock() < deadline) {
        wait_yield_processor();
    }
    return taken;
}

int sqlite_mutex_spin(sqlite3 *handle, double deadline)
{
    return spin(sqlite.db_mutex(handle), deadline);
}

void sqlite_mutex_leave(sqlite3 *handle)
{
    sqlite.mutex_leave(sqlite.db_mutex(handle));
}

/* In an order in which no holder of one asks for an earlier one. */
static const int shared_mutexes[] = {
    DC_SQLITE_MUTEX_STATIC_OPEN, DC_SQLITE_MUTEX_STATIC_MAIN, DC_SQLITE_MUTEX_STATIC_VFS1,
    DC_SQLITE_MUTEX_STATIC_VFS2, DC_SQLITE_MUTEX_STATIC_VFS3, DC_SQLITE_MUTEX_STATIC_LRU,
    DC_SQLITE_MUTEX_STATIC_PMEM, DC_SQLITE_MUTEX_STATIC_PRNG, DC_SQLITE_MUTEX_STATIC_MEM};
enum { SHARED_MUTEXES = sizeof shared_mutexes / sizeof *shared_mutexes };
static sqlite3_mutex *taken_mutexes[SHARED_MUTEXES];

void sqlite_mutex_take_shared(double deadline)
{
    for (int i = 0; i < SHARED_MUTEXES && works; i++) {
        sqlite3_mutex *mutex = sqlite.mutex_alloc(shared_mutexes[i]);

        taken_mutexes[i] = spin(mutex, deadline) ? mutex : NULL;
    }
}

void sqlite_mutex_leave_shared(void)
{
    for (int i = SHARED_MUTEXES; i-- > 0;) {
        if (taken_mutexes[i] != NULL) {
            sqlite.mutex_leave(taken_mutexes[i]);
        }
        taken_mutexes[i] = NULL;
    }
}
