/* fork_gate.h: a fork never copies a thread that is inside SQLite.
 *
 * A thread holds the gate, which all share, exactly while it is inside SQLite and does not touch Python. Whoever
 * forks closes the gate first, and waits until nobody is inside. It does so for a short time only: a thread inside may
 * wait for what the forking one has, in a trace callback that needs the GIL.
 *
 * Around a fork the forking thread holds, in this order: the gate; the process lock; the connections that others may be
 * inside SQLite with (`fork_gate_hooks`, since only their owner knows of them); the read leases, which it ends; the
 * mutexes that all connections share, because Python's sqlite3 may be inside SQLite with any connection for longer than
 * a fork can wait, and in the child nobody would release what it has taken; and the list of disowned connections.
 */
#ifndef DC_PYTHON_FORK_GATE_H
#define DC_PYTHON_FORK_GATE_H

#include "python/compat.h"

/* What the owner of connections does around an os.fork(), in the forking thread, with the GIL but without calling
 * Python. A fork that is not Python's does without them, since its thread may not have the GIL. */
typedef struct fork_gate_hooks {
    void (*before)(double deadline); /* on dc_clock() */
    void (*after_in_parent)(void);
    void (*after_in_child)(void); /* the generation is still the parent's */
} fork_gate_hooks;

/* Register the handlers of fork(), once per process. -1 with an exception. */
int fork_gate_init(const fork_gate_hooks *of_connections);

/* To be called before and after each os.fork(), in both processes. */
void fork_gate_before_fork(void);
void fork_gate_after_fork(void);

/* Between the two a thread is inside SQLite. Returns the generation, for fork_gate_leave: if a callback has forked
 * inside, it is the parent that holds the gate, and not the child. */
unsigned long fork_gate_enter(void);
void fork_gate_leave(unsigned long generation);

/* The same without the GIL. */
typedef struct fork_gate_section {
    PyThreadState *released;
    unsigned long generation;
} fork_gate_section;

fork_gate_section fork_gate_enter_releasing_gil(void);
void fork_gate_leave_taking_gil(fork_gate_section section);

/* The same for a thread that Python does not know. */
void fork_gate_enter_native_thread(void);
void fork_gate_leave_native_thread(void);

#endif
