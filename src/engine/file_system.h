/* file_system.h: what kind of file system a directory is on.
 */
#ifndef DC_ENGINE_FILE_SYSTEM_H
#define DC_ENGINE_FILE_SYSTEM_H

#include <stdint.h>

/* The number by which statfs() tells the kind; 0 where that is not known. */
uint64_t dc_file_system(const char *path);

/* Whether a mapping of a file shows what other processes write to it, however old the mapping is. Known of local file
 * systems of Linux that keep a file's pages once, for both. Others may look for changes only when a file is mapped
 * (SMB, NFS, FUSE with direct_io). */
int dc_file_system_maps_what_is_written(const char *path);

#endif
