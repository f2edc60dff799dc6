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

#else

uint64_t dc_file_system(const char *path)
{
    (void)path;
    return 0;
}

#endif
