/* fork_gate.c: see fork_gate.h. */
#include "python/fork_gate.h"

#ifndef _WIN32
#include <pthread.h>
#include <stdatomic.h>
#endif

#include "base/clock.h"
#include "python/connection_lock.h"
#include "python/disowned.h"
#include "python/fork_generation.h"
#include "python/process_lock.h"
#include "python/sqlite_mutex.h"
#include "python/wait.h"
#include "sqlite/read_lease.h"

#ifndef _WIN32

/* Entering and leaving cost one atomic operation each. Spinning is short: nobody stays inside for long, and a fork
 * is as quick. */
static atomic_int inside;
static atomic_int native_inside; /* of them threads that Python does not know */
static atomic_int closed;

static pthread_mutex_t forking = PTHREAD_MUTEX_INITIALIZER;
static const fork_gate_hooks *hooks;
static int is_by_python; /* the fork that is under way */

static void enter(void)
{
    atomic_fetch_add(&inside, 1);
    while (atomic_load(&closed)) {
        atomic_fetch_sub(&inside, 1);
        while (atomic_load(&closed)) {
            wait_yield_processor();
        }
        atomic_fetch_add(&inside, 1);
    }
}

static void leave(void)
{
    atomic_fetch_sub(&inside, 1);
}

static void close_gate(void)
{
    double deadline = dc_clock() + FORK_WAIT_SECONDS;

    pthread_mutex_lock(&forking); /* threads that fork at the same time do so one by one */
    atomic_store(&closed, 1);
    while (atomic_load(&inside) > 0 && dc_clock() < deadline) {
        wait_yield_processor();
    }
    process_lock_acquire();
    is_by_python = connection_lock_is_kept_for_fork();
    if (is_by_python) {
        hooks->before(deadline);
    }
    dc_read_leases_before_fork(); /* before the mutexes that whoever ends a lease may wait for */
    sqlite_mutex_take_shared(dc_clock() + FORK_WAIT_SECONDS);
    disowned_lock();
}

static void open_gate(int in_child)
{
    disowned_unlock();
    sqlite_mutex_leave_shared();
    dc_read_leases_after_fork(in_child, is_by_python);
    process_lock_release();
    atomic_store(&closed, 0);
    pthread_mutex_unlock(&forking);
}

static void open_gate_in_parent(void)
{
    if (is_by_python) {
        hooks->after_in_parent();
    }
    open_gate(0);
}

static void open_gate_in_child(void)
{
    atomic_store(&inside, 0);
    atomic_store(&native_inside, 0);
    connection_lock_after_fork_in_child();
    if (is_by_python) {
        hooks->after_in_child();
    }
    fork_generation_number++;
    open_gate(1);
}

int fork_gate_init(const fork_gate_hooks *of_connections)
{
    static atomic_int registered;

    hooks = of_connections;
    if (!atomic_exchange(&registered, 1) &&
        pthread_atfork(close_gate, open_gate_in_parent, open_gate_in_child) != 0) {
        atomic_store(&registered, 0);
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

void fork_gate_before_fork(void)
{
    double deadline;

    connection_lock_before_fork();
    /* Python warns of a fork beside threads, and should not for ours, which work for milliseconds. */
    dc_read_leases_suspend();
    deadline = dc_clock() + FORK_WAIT_SECONDS;
    while (atomic_load(&native_inside) > 0 && dc_clock() < deadline) {
        wait_pause();
    }
}

void fork_gate_enter_native_thread(void)
{
    atomic_fetch_add(&native_inside, 1);
    enter();
}

void fork_gate_leave_native_thread(void)
{
    leave();
    atomic_fetch_sub(&native_inside, 1);
}

#else

static void enter(void)
{
}

static void leave(void)
{
}

int fork_gate_init(const fork_gate_hooks *of_connections)
{
    (void)of_connections;
    return 0;
}

void fork_gate_before_fork(void)
{
}

#endif

void fork_gate_after_fork(void)
{
    dc_read_leases_resume();
    connection_lock_after_fork();
}

unsigned long fork_gate_enter(void)
{
    enter();
    return fork_generation();
}

void fork_gate_leave(unsigned long generation)
{
    if (generation == fork_generation()) {
        leave();
    }
}

fork_gate_section fork_gate_enter_releasing_gil(void)
{
    fork_gate_section section = {.released = PyEval_SaveThread()};

    section.generation = fork_gate_enter();
    return section;
}

void fork_gate_leave_taking_gil(fork_gate_section section)
{
    fork_gate_leave(section.generation);
    PyEval_RestoreThread(section.released);
}
