/* at_each_step.c: another process acts between two system calls of this one, for LD_PRELOAD.
 *
 * What a process does with files that it shares it does with system calls, and between any two of them
 * others may do something. Each call has two steps, just before it and just after it, since the process
 * itself may look at mapped memory in between. Here one thread says at which of its steps that happens:
 *
 *     step_arm(3, to, from);    at the third step from now, write "!\n" to the descriptor `to`, and
 *                               wait for a byte, the answer, from `from`
 *     ...
 *     passed = step_disarm();   the number of steps since; the answer is step_answer()
 *
 * Only calls about files count, and only those of the thread that has armed. An answer that does not
 * come soon is waited for in step_disarm(): while this process stands still with one of the locks that
 * SQLite has for an instant only, the other's SQLite waits for it, for up to ten seconds.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static _Thread_local long passed;
static _Thread_local long chosen; /* 0: not armed */
static _Thread_local int to_other, from_other;
static _Thread_local char answer;

#define SOON_MILLISECONDS 50

void step_arm(long number, int to, int from)
{
    passed = 0;
    chosen = number;
    to_other = to;
    from_other = from;
    answer = 0;
}

static void read_answer(void)
{
    while (syscall(SYS_read, from_other, &answer, 1L) < 0) {
    }
}

long step_disarm(void)
{
    if (chosen > 0 && passed >= chosen && answer == 0) {
        read_answer();
    }
    chosen = 0;
    return passed;
}

int step_answer(void)
{
    return answer;
}

static void step(void)
{
    struct pollfd reading = {.fd = from_other, .events = POLLIN};

    if (chosen > 0 && ++passed == chosen) {
        syscall(SYS_write, to_other, "!\n", 2L);
        if (poll(&reading, 1, SOON_MILLISECONDS) > 0) {
            read_answer();
        }
    }
}

#define NEXT(type, name) ((type)dlsym(RTLD_NEXT, name))

/* errno stays what the call has made it. */
static void step_after(void)
{
    int error = errno;

    step();
    errno = error;
}

#define STEP(name, result, parameters, arguments)                                                  \
    result name parameters                                                                         \
    {                                                                                              \
        static result(*next) parameters;                                                           \
        result returned;                                                                           \
                                                                                                   \
        next = next != NULL ? next : NEXT(result(*) parameters, #name);                            \
        step();                                                                                    \
        returned = next arguments;                                                                 \
        step_after();                                                                              \
        return returned;                                                                           \
    }

STEP(read, ssize_t, (int fd, void *data, size_t size), (fd, data, size))
STEP(write, ssize_t, (int fd, const void *data, size_t size), (fd, data, size))
STEP(pread, ssize_t, (int fd, void *data, size_t size, off_t offset), (fd, data, size, offset))
STEP(pread64, ssize_t, (int fd, void *data, size_t size, off64_t offset), (fd, data, size, offset))
STEP(pwrite, ssize_t, (int fd, const void *data, size_t size, off_t offset), (fd, data, size, offset))
STEP(pwrite64, ssize_t, (int fd, const void *data, size_t size, off64_t offset),
     (fd, data, size, offset))
STEP(fsync, int, (int fd), (fd))
STEP(fdatasync, int, (int fd), (fd))
STEP(ftruncate, int, (int fd, off_t size), (fd, size))
STEP(ftruncate64, int, (int fd, off64_t size), (fd, size))
STEP(close, int, (int fd), (fd))
STEP(unlink, int, (const char *path), (path))
STEP(mkdir, int, (const char *path, mode_t mode), (path, mode))
STEP(rmdir, int, (const char *path), (path))
STEP(rename, int, (const char *from, const char *to), (from, to))

#define STEP_FCNTL(name)                                                                           \
    int name(int fd, int command, ...)                                                             \
    {                                                                                              \
        static int (*next)(int, int, ...);                                                         \
        va_list arguments;                                                                         \
        void *argument;                                                                            \
        int returned;                                                                              \
                                                                                                   \
        next = next != NULL ? next : NEXT(int (*)(int, int, ...), #name);                          \
        va_start(arguments, command);                                                              \
        argument = va_arg(arguments, void *);                                                      \
        va_end(arguments);                                                                         \
        step();                                                                                    \
        returned = next(fd, command, argument);                                                    \
        step_after();                                                                              \
        return returned;                                                                           \
    }

STEP_FCNTL(fcntl)
STEP_FCNTL(fcntl64)

#define STEP_OPEN(name)                                                                            \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        static int (*next)(const char *, int, ...);                                                \
        va_list arguments;                                                                         \
        mode_t mode;                                                                               \
        int returned;                                                                              \
                                                                                                   \
        next = next != NULL ? next : NEXT(int (*)(const char *, int, ...), #name);                 \
        va_start(arguments, flags);                                                                \
        mode = va_arg(arguments, mode_t);                                                          \
        va_end(arguments);                                                                         \
        step();                                                                                    \
        returned = next(path, flags, mode);                                                        \
        step_after();                                                                              \
        return returned;                                                                           \
    }

STEP_OPEN(open)
STEP_OPEN(open64)
