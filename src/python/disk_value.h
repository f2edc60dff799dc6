/* disk_value.h: values become columns, and a value file if they are large, and back.
 *
 * A file is complete before a column names it, and a store that fails leaves none.
 */
#ifndef DC_PYTHON_DISK_VALUE_H
#define DC_PYTHON_DISK_VALUE_H

#include "python/disk.h"

#include "python/disk_file.h"

/* A value ready for the engine. Zero-initialize; columns.tag and expire_time are the caller's. If columns.filename
 * is not NULL the file has been written, and is an orphan until a row names it. columns.filename may point into the
 * struct: do not copy it. */
typedef struct disk_value {
    dc_columns columns;
    PyObject *owner;          /* strong, or NULL: keeps columns.value's bytes alive */
    PyObject *filename_owner; /* strong, or NULL: keeps columns.filename alive */
    char name[DC_VALUEFILE_NAME_SIZE];
} disk_value;

/* What to make of bytes that are in a file. */
typedef enum disk_read {
    DISK_READ_VALUE, /* bytes */
    DISK_READ_FILE, /* the open file: what read=True asks for, and what a hook is asked for in both cases */
    DISK_READ_MAP /* a memoryview of the file */
} disk_read;

void disk_value_clear(disk_value *value);

/* `read`: the value is a file-like object. `key` may be NULL (as UNKNOWN). */
int disk_store(module_state *state, PyObject *disk, PyObject *value, int read, PyObject *key,
               disk_value *out);
int disk_store_native(Disk *self, PyObject *value, int read, disk_value *out);
/* Encode the value into out->columns.value and .mode, without writing anything; its bytes belong to out->owner.
 * 1 if they are to go into a file, 0 if not, -1 with an exception. */
int disk_encode(Disk *self, PyObject *value, disk_value *out);

/* Sign what is stored under a key, where the Disk does that: the signature goes into out->columns.value. The columns
 * are complete. -1 with an exception. */
int disk_seal(module_state *state, PyObject *disk, const dc_key *key, disk_value *out);

/* `key` is that of the row, of which the tag and the expiry are known where the Disk signs them.
 * The value; or NULL and *missing = 1 without an exception if its file is not there, or is not of the size that the
 * row says (of a hook's: is shorter, and the hook has failed or is only one that stores); or NULL with an exception, an
 * OSError among them: a file that cannot be opened now (too many open ones, say) is not one that is gone. */
PyObject *disk_fetch(module_state *state, PyObject *disk, const dc_key *key,
                     const dc_columns *columns, disk_read read, int *missing);
/* `missing` may be NULL: then that is an exception. */
PyObject *disk_fetch_native(Disk *self, const dc_columns *columns, disk_read read,
                            disk_file_size size, int *missing);
/* Whether disk_fetch of this row neither runs Python code nor reads a file, so that it may be called under a lock. */
int disk_fetch_is_quick(module_state *state, PyObject *disk, const dc_columns *columns);

#endif
