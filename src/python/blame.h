/* blame.h: notes that say which key, and which directory, an exception is about. */
#ifndef DC_PYTHON_BLAME_H
#define DC_PYTHON_BLAME_H

#include "python/compat.h" /* first: it includes Python.h */

/* How a note begins on an exception of loading a key or a value, and no other; unloadable.py looks for it. */
#define BLAME_READING "diskcache: reading the "

/* Add a note to the exception that is set, as add_note() of Python 3.11 does, if it is one that programs
 * handle. `describe` returns it as a new str, or NULL for none: what it raises is dropped. No lock may be
 * held, because showing a key runs Python code. */
void blame(PyObject *(*describe)(void *subject, const void *context), void *subject,
           const void *context);

/* What a note shows of a key: its repr, and of a long one the beginning. New reference, or NULL with an
 * exception. */
PyObject *blame_shown(PyObject *key);

/* What a note says of a Disk: its class, or nothing of the usual one. New reference, or NULL with an
 * exception. */
PyObject *blame_disk(PyObject *disk);

#endif
