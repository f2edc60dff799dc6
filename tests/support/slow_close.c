/* slow_close.c: close() that takes its time over databases, for LD_PRELOAD.
 *
 * SQLite decides whether it may close a descriptor, which drops the locks of the whole process on
 * the file, a moment before it does. Here the moment is long, so that whatever does not keep other
 * threads from taking a lock meanwhile loses that lock, and soon a commit (src/python/connection_lock.h).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int close(int descriptor)
{
    static int (*next)(int);
    const struct timespec moment = {.tv_nsec = 300 * 1000};
    const char suffix[] = ".db";
    char link[64];
    char path[4096];
    ssize_t size;

    if (next == NULL) {
        next = (int (*)(int))dlsym(RTLD_NEXT, "close");
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    size = readlink(link, path, sizeof path - 1);
    if (size >= (ssize_t)sizeof suffix - 1) {
        path[size] = '\0';
        if (strcmp(path + size - (sizeof suffix - 1), suffix) == 0) {
            nanosleep(&moment, NULL);
        }
    }
    return next(descriptor);
}
