/* disk.h: how keys and values become database keys, columns and value files, and back.
 *
 * A Disk is meant to be subclassed. These functions take any object as a disk: where its hook is the
 * base class's own they do the work natively, else they call the method (DESIGN 10).
 */
#ifndef DC_PYTHON_DISK_H
#define DC_PYTHON_DISK_H

#include "python/state.h" /* first: it includes Python.h */

#include "base/record.h"
#include "engine/valuefile.h"

extern PyType_Spec disk_type_spec;

/* A key ready for the engine. Zero-initialize; disk_key_clear drops what keeps its bytes alive. */
typedef struct disk_key {
    dc_key key;
    PyObject *owner; /* strong, or NULL */
} disk_key;

/* A value ready for the engine. Zero-initialize; columns.tag and expire_time are the caller's. If
 * columns.filename is not NULL the file has been written, and is an orphan until a row names it.
 * columns.filename may point into the struct: do not copy it. */
typedef struct disk_value {
    dc_columns columns;
    PyObject *owner;          /* strong, or NULL: keeps columns.value's bytes alive */
    PyObject *filename_owner; /* strong, or NULL: keeps columns.filename alive */
    char name[DC_VALUEFILE_NAME_SIZE];
} disk_value;

/* Bits of enum disk_hook that are overridden; all of them for an object that is no Disk. */
unsigned int disk_hooks(module_state *state, PyObject *disk);

/* A stored key (core.py's StoredKey) is a database key already, and taken as it is. */
int disk_put(module_state *state, PyObject *disk, PyObject *key, disk_key *out);
void disk_key_clear(disk_key *key);
PyObject *disk_get(module_state *state, PyObject *disk, const dc_key *key);
/* Whether disk_get of this key runs no Python code. */
int disk_get_is_quick(module_state *state, PyObject *disk, const dc_key *key);
/* A new stored key: no method of a Disk is called. */
PyObject *disk_stored_key(module_state *state, const dc_key *key);

/* `key` may be NULL (as UNKNOWN). */
int disk_store(module_state *state, PyObject *disk, PyObject *value, int read, PyObject *key,
               disk_value *out);
void disk_value_clear(disk_value *value);

/* The value; or NULL and *missing = 1 without an exception if its file is not there, or is not of the
 * size that the row says; or NULL with an exception, an OSError among them: a file that cannot be
 * opened now (too many open ones, say) is not one that is gone. */
PyObject *disk_fetch(module_state *state, PyObject *disk, const dc_columns *columns, int read,
                     int *missing);

/* Whether disk_fetch of this row neither runs Python code nor reads a file, so that it may be called under
 * a lock. */
int disk_fetch_is_quick(module_state *state, PyObject *disk, const dc_columns *columns);

/* Remove the files, all of them whatever happens (none if `disk` is NULL). -1 with the first exception that a hook raised. */
int disk_remove_all(module_state *state, PyObject *disk, const dc_namelist *names);

#endif
