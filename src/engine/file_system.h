/* file_system.h: what kind of file system a directory is on.
 */
#ifndef DC_ENGINE_FILE_SYSTEM_H
#define DC_ENGINE_FILE_SYSTEM_H

#include <stdint.h>

/* The number by which statfs() tells the kind; 0 where that is not known. */
uint64_t dc_file_system(const char *path);

#endif
