/* file_system.c: see file_system.h. */
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64 /* a large file system has more blocks than 32 bits count */
#endif

#include "engine/file_system.h"

#ifdef __linux__

#include <sys/vfs.h>

uint64_t dc_file_system(const char *path)
{
    struct statfs facts;

    return statfs(path, &facts) == 0 ? (uint64_t)facts.f_type & 0xffffffff : 0;
}

int dc_file_system_maps_what_is_written(const char *path)
{
    switch (dc_file_system(path)) {
    case 0xef53:     /* ext2, ext3, ext4 */
    case 0x58465342: /* XFS */
    case 0x9123683e: /* Btrfs */
    case 0x01021994: /* tmpfs */
    case 0x794c7630: /* overlayfs, whose files are those of another */
        return 1;
    default:
        return 0;
    }
}

#else

int dc_file_system_maps_what_is_written(const char *path)
{
    (void)path;
    return 0;
}

uint64_t dc_file_system(const char *path)
{
    (void)path;
    return 0;
}

#endif
