/* disk_map.h: value files as memory.
 */
#ifndef DC_PYTHON_DISK_MAP_H
#define DC_PYTHON_DISK_MAP_H

#include "python/disk.h"

#include "python/disk_file.h"

/* The type of what a memoryview of a file is of. */
extern PyType_Spec mapping_spec;

/* A read-only memoryview of a file, which stays as it is when the file is removed, and for which no descriptor is open.
 * Where a file cannot be mapped it is read. NULL as disk_file_read. */
PyObject *disk_map_file(Disk *self, const char *name, disk_file_size size, int *missing);

#endif
