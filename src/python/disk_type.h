/* disk_type.h: the type of the Disk object, with its attributes and methods. */
#ifndef DC_PYTHON_DISK_TYPE_H
#define DC_PYTHON_DISK_TYPE_H

#include "python/compat.h"

extern PyType_Spec disk_type_spec;

#endif
