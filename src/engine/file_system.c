/* file_system.c: see file_system.h. */
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
