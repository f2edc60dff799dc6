/* sqlite_mutex.h: taking SQLite's own mutexes without blocking in them.
 *
 * Python's sqlite3 takes the mutex of a connection while it is inside SQLite with it. It may be there without the
 * GIL, and need the GIL for a callback before it leaves: a thread that blocked in the mutex with the GIL would
 * wait for ever. So a mutex is tried, with pauses.
 *
 * sqlite3_mutex_try() may always fail (in a build without mutexes, or on an old Windows). Then no mutex is ever
 * taken here, and each function says so.
 */
#ifndef DC_PYTHON_SQLITE_MUTEX_H
#define DC_PYTHON_SQLITE_MUTEX_H

#include "sqlite/api.h"

/* Find out with a connection that nobody else uses whether mutexes can be tried. Until then they cannot. */
void sqlite_mutex_probe(sqlite3 *handle);
int sqlite_mutex_works(void);

/* Take the mutex of a connection: at once; within so many seconds, pausing without the GIL; in a thread that has
 * released the GIL, for as long as it takes; until a moment on dc_clock(), without touching Python. 1, or 0 if it
 * is not taken. */
int sqlite_mutex_try(sqlite3 *handle);
int sqlite_mutex_take(sqlite3 *handle, double seconds);
int sqlite_mutex_take_without_gil(sqlite3 *handle);
int sqlite_mutex_spin(sqlite3 *handle, double deadline);
void sqlite_mutex_leave(sqlite3 *handle);

/* Take the mutexes that all connections of the process share, as far as they are free until `deadline`; for a
 * fork, by one thread at a time. */
void sqlite_mutex_take_shared(double deadline);
void sqlite_mutex_leave_shared(void);

#endif
