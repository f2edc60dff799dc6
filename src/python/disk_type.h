/* disk_type.h: the type of the Disk object, with its attributes and methods. */
#ifndef DC_PYTHON_DISK_TYPE_H
#define DC_PYTHON_DISK_TYPE_H

#include "python/compat.h"

#include <stdint.h>

extern PyType_Spec disk_type_spec;

/* The hash of a key, as `method` returns it: 1, or 0 if that is not the method `hash` of a Disk, as it is here, or -1
 * with an exception. */
int disk_hash_natively(PyObject *method, PyObject *key, uint32_t *hash);

#endif
