/* wait.c: see wait.h. */
#include "python/wait.h"

#include "python/compat.h"

#include <math.h>
#include <stdint.h>
#include <time.h>

#ifdef _WIN32
#include "base/windows_api.h"
#else
#include <sched.h>
#endif

#include "base/clock.h"
#include "python/fork_generation.h"
#include "sqlite/api.h"

/* The holder mostly keeps a lock for 10 us, on another processor. A waiter that sleeps must then wait for a
 * processor: milliseconds where all are busy. */
#define BURST_SECONDS 40e-6

/* How long to wait with the GIL: half of the interval after which a thread that computes must release it. */
#define WITH_GIL_SECONDS 2.5e-3

#define FIRST_DELAY   20e-6
#define DELAY_GROWTH  1.5
#define LAST_DELAY    1e-3
#define PAUSE_SECONDS 50e-6

void wait_start(lock_wait *wait, double timeout, int forever)
{
    wait->began = dc_clock();
    wait->burst = wait->began;
    wait->deadline = wait->began + timeout;
    wait->delay = FIRST_DELAY;
    wait->forever = forever;
}

/* A factor between 1/2 and 1; linear congruential. */
static double jitter(void)
{
    static DC_THREAD_LOCAL uint32_t sequence;

    if (sequence == 0) {
        sequence = (uint32_t)(dc_clock() * 1e9);
    }
    sequence = sequence * 1664525u + 1013904223u;
    return 0.5 + (double)(sequence >> 8) / (double)(1u << 25);
}

void wait_sleep(double seconds)
{
#ifdef _WIN32
    Sleep((DWORD)ceil(seconds * 1000.0));
#else
    struct timespec duration;

    duration.tv_sec = (time_t)seconds;
    duration.tv_nsec = (long)((seconds - floor(seconds)) * 1e9);
    nanosleep(&duration, NULL); /* a signal may cut it short: the caller checks for signals next */
#endif
}

static void sleep_without_gil(double seconds)
{
    PyThreadState *released = PyEval_SaveThread();

    wait_sleep(seconds);
    PyEval_RestoreThread(released);
}

static int sleep_and_check(double seconds)
{
    unsigned long before = fork_generation();

    sleep_without_gil(seconds);
    if (PyErr_CheckSignals() < 0) {
        return -1;
    }
    if (fork_generation() != before) {
        PyErr_SetString(PyExc_RuntimeError,
                        "a signal handler forked while this operation waited: it is the parent's");
        return -1;
    }
    return 1;
}

int wait_more(lock_wait *wait)
{
    double now = dc_clock();
    double left = wait->forever ? LAST_DELAY : wait->deadline - now;
    int result;

    if (left <= 0.0) {
        return 0;
    }
    if (now - wait->burst < BURST_SECONDS) {
        return 1;
    }
    result = sleep_and_check(fmin(wait->delay * jitter(), left));
    wait->delay = fmin(wait->delay * DELAY_GROWTH, LAST_DELAY);
    wait->burst = dc_clock();
    return result;
}

int wait_for_checkpoint(lock_wait *wait)
{
    double now = dc_clock();

    if (!wait->forever && now >= wait->deadline) {
        return 0;
    }
    if (now - wait->began < WITH_GIL_SECONDS) {
        wait_sleep(FIRST_DELAY);
        return 1;
    }
    return wait_pause_and_check();
}

void wait_pause(void)
{
    sleep_without_gil(PAUSE_SECONDS);
}

int wait_pause_and_check(void)
{
    return sleep_and_check(PAUSE_SECONDS);
}

void wait_yield_processor(void)
{
#ifdef _WIN32
    SwitchToThread();
#else
    sched_yield();
#endif
}
