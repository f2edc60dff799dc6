/* failing_open.c: open() that fails for want of a descriptor, for LD_PRELOAD.
 *
 * As long as the file named by FAILING_OPEN_WHILE exists, files whose names end with FAILING_OPEN_SUFFIX
 * cannot be opened for writing. SQLite then opens them for reading only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int (*open_function)(const char *, int, ...);

static int fails(const char *path, int flags)
{
    const char *suffix = getenv("FAILING_OPEN_SUFFIX");
    const char *condition = getenv("FAILING_OPEN_WHILE");
    size_t size = strlen(path);

    return suffix != NULL && condition != NULL && (flags & O_ACCMODE) != O_RDONLY &&
           size >= strlen(suffix) && strcmp(path + size - strlen(suffix), suffix) == 0 &&
           access(condition, F_OK) == 0;
}

static int open_unless_it_fails(const char *name, const char *path, int flags, int mode)
{
    open_function next = (open_function)dlsym(RTLD_NEXT, name);

    if (fails(path, flags)) {
        errno = EMFILE;
        return -1;
    }
    return next(path, flags, mode);
}

#define OPEN_FUNCTION(name)                                                                        \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list arguments;                                                                         \
        int mode = 0;                                                                              \
                                                                                                   \
        va_start(arguments, flags);                                                                \
        if (flags & O_CREAT) {                                                                     \
            mode = va_arg(arguments, int);                                                         \
        }                                                                                          \
        va_end(arguments);                                                                         \
        return open_unless_it_fails(#name, path, flags, mode);                                     \
    }

OPEN_FUNCTION(open)
OPEN_FUNCTION(open64)
