/* disk_type.h: the type of the Disk object, with its attributes and methods. */
#ifndef DC_PYTHON_DISK_TYPE_H
#define DC_PYTHON_DISK_TYPE_H

#include "python/state.h" /* first: it includes Python.h */

#include <stdint.h>

extern PyType_Spec disk_type_spec;

/* The hash of a key, as `method` returns it: 1, or 0 if that is not the method `hash` of a Disk, as it is here, or -1
 * with an exception. */
int disk_hash_natively(PyObject *method, PyObject *key, uint32_t *hash);

/* The same in two halves, the second of which runs no Python code and waits for nothing. The hash of a key that a Disk
 * stores as itself, unless a subclass decides that: 1, or 0 if it is another key. */
int disk_hash_raw(PyObject *key, uint32_t *hash);
/* Whether `method` is known to return that. */
int disk_hashes_raw(module_state *state, PyObject *method);

#endif
