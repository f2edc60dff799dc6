/* connection_lock.c: see connection_lock.h. */
#include "python/connection_lock.h"

#include "python/compat.h"

#include <math.h>

#include "base/clock.h"
#include "python/fork_generation.h"
#include "python/wait.h"
#include "sqlite/api.h"

/* For a fork that has been announced: until it happens its thread may wait for a processor, or for the GIL. */
#define FORK_BEGUN_SECONDS 5.0

/* Closing the last connection copies the log into the database, and syncs. */
#define CLOSING_SECONDS 10.0

/* Guarded by the GIL. */
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

/* 1; 0 if the time is over, -1 with an exception: only a thread that may fail `checks` for signals. */
static int wait_until_free(double seconds, int checks)
{
    unsigned long before = fork_generation();
    double began = dc_clock();
    int result = 1;

    waiting++;
    while (result > 0 && (held > 0 || shared > 0 || another_forks())) {
        double waited = dc_clock() - began;

        if (held == 0 && waited > (another_forks() ? FORK_BEGUN_SECONDS : FORK_WAIT_SECONDS)) {
            break;
        }
        if (waited > seconds) {
            result = 0;
        } else if (checks) {
            result = wait_pause_and_check();
        } else {
            wait_pause();
        }
    }
    waiting -= fork_generation() == before; /* in a child nobody waits */
    return result;
}

static void acquire(void)
{
    held++;
    held_here++;
}

void connection_lock_acquire(void)
{
    if (held_here == 0) {
        wait_until_free(CLOSING_SECONDS, 0);
    }
    acquire();
}

int connection_lock_acquire_within(double seconds)
{
    int result = held_here > 0 ? 1 : wait_until_free(fmax(seconds, CLOSING_SECONDS), 1);

    if (result > 0) {
        acquire();
    }
    return result;
}

void connection_lock_release(void)
{
    held--;
    held_here--;
}

void connection_lock_acquire_shared(void)
{
    double deadline = 0.0;

    while (held > held_here || waiting > 0) {
        double now = dc_clock();

        deadline = deadline == 0.0 ? now + FORK_WAIT_SECONDS : deadline;
        if (now >= deadline) {
            break;
        }
        wait_pause();
    }
    shared++;
}

void connection_lock_release_shared(void)
{
    shared--;
}

void connection_lock_before_fork(void)
{
    double deadline = dc_clock() + CLOSING_SECONDS;

    forking = 1;
    forking_thread = PyThread_get_thread_ident();
    while (held > held_here && dc_clock() < deadline) {
        wait_pause();
    }
}

void connection_lock_after_fork(void)
{
    forking = 0;
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
