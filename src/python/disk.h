/* disk.h: the Disk object, and what all that works with one needs.
 *
 * A Disk turns keys and values into database keys, columns and value files, and back (disk_key.h, disk_value.h,
 * disk_file.h). It is meant to be subclassed. Those functions take any object as a disk: where a method is the base
 * class's own they do its work natively, else they call it (hooks.h). Native functions take a Disk.
 *
 * The caller's disk is an attribute that Python code can assign to: a function that may run any holds the disk
 * meanwhile.
 */
#ifndef DC_PYTHON_DISK_H
#define DC_PYTHON_DISK_H

#include "python/state.h" /* first: it includes Python.h */

#include "base/record.h"
#include "python/slow_mean.h"

/* Only the files of the Disk look into it. */
typedef struct Disk {
    PyObject_HEAD
    module_state *state;
    PyObject *directory;       /* as assigned; NULL if never */
    PyObject *absolute;        /* the same as an absolute path */
    PyObject *directory_path;  /* and that as bytes in the file system's encoding */
    int root_mode;             /* of the directory, should it have to be made again */
    char may_map;              /* value files */
    PyObject *min_file_size;   /* as assigned */
    PyObject *pickle_protocol; /* as assigned */
    Py_ssize_t min_file_size_number;
    int key_pickle_protocol; /* pickle_protocol, or 0 for one that key_pickle.c does not know */
    hook_cache hooks;
    slow_mean reading; /* seconds for reading a small file; see slow_mean.h */
    slow_mean writing; /* the same for writing or removing one */
} Disk;

/* Bits of enum disk_hook that are overridden; DISK_HOOK_FOREIGN for an object that is no Disk. */
unsigned int disk_hooks(module_state *state, PyObject *disk);
/* The same, if that is known without looking at the class; else every bit. */
unsigned int disk_hooks_if_known(module_state *state, PyObject *disk);

/* -1 with AttributeError if `value`, an attribute, has not been assigned. */
int disk_require(PyObject *value, const char *name);
/* A new reference to what an attribute is now, or NULL. */
PyObject *disk_attribute(Disk *self, PyObject *const *field);

/* The directory's path as bytes. A new reference, since the attribute may be assigned to while the GIL is released. */
PyObject *disk_directory(Disk *self);
/* The str under which the file of a row is here (valuefile.h), for what opens it in Python. */
PyObject *disk_local_name(module_state *state, PyObject *disk, const char *filename);

/* By the protocol of the Disk; the first two by its hooks, which may refuse an object or a pickle. Nothing else may
 * unpickle what is in a directory. */
PyObject *disk_pickle(Disk *self, PyObject *object);
PyObject *disk_unpickle(module_state *state, PyObject *disk, PyObject *pickled);
PyObject *disk_pickle_native(Disk *self, PyObject *object);
/* The same of a column, or of a key. */
PyObject *disk_unpickle_datum(module_state *state, PyObject *disk, const dc_datum *datum);

#endif
