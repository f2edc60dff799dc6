/* disk_key.h: keys become database keys, and back. */
#ifndef DC_PYTHON_DISK_KEY_H
#define DC_PYTHON_DISK_KEY_H

#include "python/disk.h"

/* An encoded key, ready for the engine. Zero-initialize; disk_key_clear drops what keeps its bytes alive. */
typedef struct disk_key {
    dc_key key;
    PyObject *owner; /* strong, or NULL */
} disk_key;

void disk_key_clear(disk_key *key);

/* A stored key (disk.py's StoredKey) is a database key already, and taken as it is. */
int disk_put(module_state *state, PyObject *disk, PyObject *key, disk_key *out);
/* The same for its hash: an exception does not name the directory, which would be that of a shard that is perhaps not
 * the key's. */
int disk_put_for_hash(module_state *state, PyObject *disk, PyObject *key, disk_key *out);
int disk_put_native(Disk *self, PyObject *key, disk_key *out);
/* The same for a key that is stored as itself: 1; 0 for any other; -1 with an exception. Its bytes are the key's. */
int disk_put_raw(PyObject *key, dc_key *out);
PyObject *disk_get(module_state *state, PyObject *disk, const dc_key *key);
/* Whether this is its own key to the Disk: putting it, and getting it, change nothing. */
int disk_takes_as_stored(module_state *state, PyObject *disk, const dc_key *key);
/* Whether disk_get of this key runs no Python code. */
int disk_get_is_quick(module_state *state, PyObject *disk, const dc_key *key);

/* A new stored key: no method of a Disk is called. */
PyObject *disk_stored_key(module_state *state, const dc_key *key);
int disk_is_stored_key(module_state *state, PyObject *key);

#endif
