/* failing_sync.c: fsync() that fails as on a disk that is broken, for LD_PRELOAD.
 *
 * As long as the file named by FAILING_SYNC_WHILE exists, files and directories cannot be synced whose
 * path has FAILING_SYNC_PART in it. SQLite syncs with fdatasync(), which goes on.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int fsync(int descriptor)
{
    static int (*next)(int);
    const char *part = getenv("FAILING_SYNC_PART");
    const char *condition = getenv("FAILING_SYNC_WHILE");
    char link[64];
    char path[4096];
    ssize_t size;

    if (next == NULL) {
        next = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    size = readlink(link, path, sizeof path - 1);
    path[size > 0 ? size : 0] = '\0';
    if (part != NULL && condition != NULL && strstr(path, part) != NULL &&
        access(condition, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return next(descriptor);
}
