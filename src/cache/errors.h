/* errors.h: what every method asks first, and the exceptions that it raises.
 *
 * SQLite's errors become Python's in python/convert.h; here they learn which directory and key they are about.
 */
#ifndef DC_CACHE_ERRORS_H
#define DC_CACHE_ERRORS_H

#include "cache/object.h"

/* AttributeError if __init__ has not run; also notices a fork. Call first in every method. The second
 * form does without a disk, which __init__ makes only after it has read the settings. */
int cache_ready(Cache *self);
int cache_ready_to_open(Cache *self);

/* AttributeError if an attribute was never assigned. */
int cache_require(PyObject *value, const char *name);
double cache_timeout(Cache *self); /* seconds; -1.0 with an exception */

/* Raise Timeout: its attribute `message` says where, for how long, and if this thread is in its own way. */
void cache_raise_timeout(Cache *self);

/* The end of what nobody asked for, a checkpoint or a flush: it may fail, and is tried again. But an
 * exception that is not about the database comes from a signal handler, and must not be lost. `current`
 * is what was set before, and wins. -1 if an exception is set now. */
int cache_end_housekeeping(module_state *state, compat_exception current);

/* -1 with SQLite's error for a write to what is opened read-only; 0 if it is not. */
int cache_refuse_write(Cache *self);

/* KeyError(key); a key that is a tuple would otherwise become the exception's arguments. */
void raise_key_error(PyObject *key);

/* A Disk has refused what stands in a row, and the key counts as absent: log the exception that is set, and clear it.
 * `key` or, if that is NULL, `stored` is that of the row; Py_None: the key itself is refused. -1 with another
 * exception. */
int cache_note_refusal(Cache *self, PyObject *key, const dc_key *stored);

/* A value could not be read: say in a note to the exception of which key, and in which file, so that the
 * item can be found and deleted. `key` is the key itself, or else `stored` what the row has. No lock may
 * be held. */
void blame_row(Cache *self, PyObject *key, const dc_key *stored, const char *filename);

/* Note in the exception that is set, if it is one of SQLite's, which database it is about. */
void blame_database(Cache *self);

/* A key or a value could not be loaded, and the exception says why. If on_error says at least so much, and the
 * exception is one that is about what was loaded (unloadable.py), log it and clear it: 1. Else 0, with it or with
 * another. No lock may be held. */
int cache_passes_over(Cache *self, enum on_error level);

/* Whether SQLite's primary result code says that a database is malformed, or that a file is none. */
static inline int says_malformed(int code)
{
    return code == DC_SQLITE_CORRUPT || code == DC_SQLITE_NOTADB;
}

/* Whether the exception that is set says so. */
int is_malformed(Cache *self);
/* The same, and on_error has it answered as a miss: it is logged and cleared, 1. Else 0. */
int cache_misses_malformed(Cache *self, enum on_error level);

/* Note in the exception that is set which key's value could not be stored; NULL: the key was to be made. */
void blame_key(Cache *self, PyObject *key);

/* Make the Timeout that is set one whose argument is the number of items done before, as the
 * original's is. */
void raise_timeout_after(int64_t count);

#endif
