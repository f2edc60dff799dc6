/* connection_lock.c: see connection_lock.h. */
#include "python/connection_lock.h"

#include "python/compat.h"

#include <math.h>

#include "base/clock.h"
#include "python/fork_generation.h"
#include "python/process_lock.h"
#include "python/wait.h"
#include "sqlite/api.h"

/* For a fork that has been announced: until it happens its thread may wait for a processor, or for the GIL. */
#define FORK_BEGUN_SECONDS 5.0

/* Closing the last connection copies the log into the database, and syncs. */
#define CLOSING_SECONDS 10.0

/* Guarded by the process lock. */
static int held;                      /* how often threads have acquired it */
static DC_THREAD_LOCAL int held_here; /* and how often this one has */
static int waiting;                   /* threads that want to acquire it */
static int shared;                    /* transactions that have it */
static int forking;                   /* a thread is going to fork */
static unsigned long forking_thread;

static int another_forks(void)
{
    return forking && forking_thread != PyThread_get_thread_ident();
}

/* Whether a thread may acquire it that has waited for so many seconds. */
static int is_free(double waited)
{
    double patience = another_forks() ? FORK_BEGUN_SECONDS : FORK_WAIT_SECONDS;

    return held == 0 && ((shared == 0 && !another_forks()) || waited > patience);
}

static void acquire(void)
{
    held++;
    held_here++;
}

/* With the process lock, which is released while the thread sleeps. When Python is ending nobody is waited for longer
 * than what a thread may still do inside SQLite takes. 1; 0 if the time is over, -1 with an exception:
 * only a thread that may fail `checks` for signals. */
static int wait_until_free(double seconds, int checks)
{
    unsigned long before = fork_generation();
    double began = dc_clock();
    double waited = 0.0;
    int is_last = compat_is_finalizing();
    int again = 1;

    waiting++;
    while (again > 0 && !is_free(waited)) {
        process_lock_release();
        if (waited > (is_last ? FORK_WAIT_SECONDS : seconds)) {
            again = 0;
        } else if (checks) {
            again = wait_pause_and_check();
        } else {
            wait_pause();
        }
        process_lock_acquire();
        waited = dc_clock() - began;
    }
    waiting -= fork_generation() == before; /* in a child nobody waits */
    if (again == 0 && is_last) {            /* who has it never comes to release it */
        held = held_here;
    }
    return again;
}

void connection_lock_acquire(void)
{
    process_lock_acquire();
    if (held_here == 0) {
        wait_until_free(CLOSING_SECONDS, 0);
    }
    acquire();
    process_lock_release();
}

int connection_lock_acquire_within(double seconds)
{
    int result = 1;

    process_lock_acquire();
    if (held_here == 0) {
        result = wait_until_free(fmax(seconds, CLOSING_SECONDS), 1);
    }
    if (result > 0) {
        acquire();
    }
    process_lock_release();
    return result;
}

void connection_lock_release(void)
{
    process_lock_acquire();
    held--;
    held_here--;
    process_lock_release();
}

/* With the process lock, which is released meanwhile. */
static void sleep_a_little(void)
{
    process_lock_release();
    wait_pause();
    process_lock_acquire();
}

void connection_lock_acquire_shared(void)
{
    double deadline = 0.0;

    process_lock_acquire();
    while (held > held_here || waiting > 0) {
        double now = dc_clock();

        deadline = deadline == 0.0 ? now + FORK_WAIT_SECONDS : deadline;
        if (now >= deadline) {
            break;
        }
        sleep_a_little();
    }
    shared++;
    process_lock_release();
}

void connection_lock_release_shared(void)
{
    process_lock_acquire();
    shared--;
    process_lock_release();
}

void connection_lock_before_fork(void)
{
    double began = dc_clock();

    process_lock_acquire();
    while (another_forks() && dc_clock() < began + FORK_BEGUN_SECONDS) {
        sleep_a_little();
    }
    forking = 1;
    forking_thread = PyThread_get_thread_ident();
    while (held > held_here && dc_clock() < began + CLOSING_SECONDS) {
        sleep_a_little();
    }
    process_lock_release();
}

void connection_lock_after_fork(void)
{
    process_lock_acquire();
    forking = forking && another_forks();
    process_lock_release();
}

int connection_lock_is_kept_for_fork(void)
{
    return forking && forking_thread == PyThread_get_thread_ident();
}

void connection_lock_after_fork_in_child(void)
{
    held = held_here;
    waiting = shared = forking = 0;
}
