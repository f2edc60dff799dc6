/* failing_unlock.c: fcntl() that gives a lock back and fails all the same, for LD_PRELOAD.
 *
 * As long as the file named by FAILING_UNLOCK_WHILE exists. SQLite's COMMIT then fails after it has been done,
 * where the journal is not a log.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

typedef int (*fcntl_function)(int, int, ...);

/* Whether it gives back the two bytes that a writer has locked ("File Locking And Concurrency"). */
static int is_end_of_write(const struct flock *lock)
{
    return lock->l_type == F_UNLCK && lock->l_len == 2;
}

static int fcntl_unless_it_fails(const char *name, int descriptor, int command, void *argument)
{
    fcntl_function next = (fcntl_function)dlsym(RTLD_NEXT, name);
    const char *condition = getenv("FAILING_UNLOCK_WHILE");
    int result = next(descriptor, command, argument);

    if (command == F_SETLK && condition != NULL && is_end_of_write(argument) &&
        access(condition, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return result;
}

#define FCNTL_FUNCTION(name)                                                                       \
    int name(int descriptor, int command, ...)                                                     \
    {                                                                                              \
        va_list arguments;                                                                         \
        void *argument;                                                                            \
                                                                                                   \
        va_start(arguments, command);                                                              \
        argument = va_arg(arguments, void *);                                                      \
        va_end(arguments);                                                                         \
        return fcntl_unless_it_fails(#name, descriptor, command, argument);                        \
    }

FCNTL_FUNCTION(fcntl)
FCNTL_FUNCTION(fcntl64)
