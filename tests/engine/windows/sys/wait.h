/* sys/wait.h: what check.h has of POSIX, for Windows, which has no fork. A test that forks fails. */
#ifndef DC_WINDOWS_WAIT_H
#define DC_WINDOWS_WAIT_H

#include <errno.h>
#include <sys/types.h>

#define WIFEXITED(status)   ((status) >= 0)
#define WEXITSTATUS(status) (status)
#define WTERMSIG(status)    (status)

static inline pid_t fork(void)
{
    errno = ENOSYS;
    return -1;
}

static inline pid_t waitpid(pid_t child, int *status, int options)
{
    (void)child, (void)status, (void)options;
    errno = ENOSYS;
    return -1;
}

#endif
