/* slow_sync.c: a disk that syncs slowly, for LD_PRELOAD.
 *
 *     SLOW_SYNC_MILLISECONDS    how much longer each sync of a cache's database or log takes
 *     SLOW_SYNC_LOG             a file that receives a line for each of them: its kind, and the seconds
 *                               on the monotonic clock at which it began and ended
 *
 * The kinds:
 *
 *     reset     SQLite itself syncs the log's header, in the first commit after the log has begun anew, with
 *               the write lock
 *     locked    any other sync from whose begin to whose end this process has the write lock
 *     free      all others
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* The first lock of the wal-index, of who writes ("WAL-Index File Format"): a byte of the -shm file. */
#define WRITE_LOCK_BYTE 120

static atomic_long lock_taken; /* times; odd while this process has the write lock */
static atomic_int resetting;   /* threads in a sync of the first kind: they have the lock by right */
static _Thread_local int log_begun; /* the descriptor whose first bytes this thread has just written */

static int is_of_cache(int fd, const char *suffix)
{
    char link[64];
    char path[4096];
    size_t length = strlen(suffix);
    ssize_t size;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof path - 1);
    if (size < (ssize_t)length) {
        return 0;
    }
    path[size] = '\0';
    return strcmp(path + size - length, suffix) == 0;
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void slow_down(void)
{
    const char *text = getenv("SLOW_SYNC_MILLISECONDS");
    long milliseconds = text != NULL ? atol(text) : 0;
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};

    while (nanosleep(&time, &time) < 0 && errno == EINTR) {
    }
}

static int sync_slowly(int (*sync)(int), int fd)
{
    const char *path = getenv("SLOW_SYNC_LOG");
    int is_log = is_of_cache(fd, "/cache.db-wal");
    int resets = is_log && log_begun == fd + 1;
    long taken = atomic_load(&lock_taken);
    int locked = taken % 2 == 1 && !atomic_load(&resetting);
    double began = now();
    char line[128];
    int result;
    int out;

    if (!is_log && !is_of_cache(fd, "/cache.db")) {
        return sync(fd);
    }
    log_begun = 0;
    atomic_fetch_add(&resetting, resets);
    slow_down();
    result = sync(fd);
    locked = locked && atomic_load(&lock_taken) == taken && !atomic_load(&resetting);
    atomic_fetch_sub(&resetting, resets);
    out = path != NULL ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (out >= 0) {
        int size = snprintf(line, sizeof line, "%s %.6f %.6f\n",
                            resets   ? "reset"
                            : locked ? "locked"
                                     : "free",
                            began, now());

        if (write(out, line, (size_t)size) < 0) {
            abort();
        }
        close(out);
    }
    return result;
}

#define NEXT(type, name) ((type)dlsym(RTLD_NEXT, name))

int fsync(int fd)
{
    return sync_slowly(NEXT(int (*)(int), "fsync"), fd);
}

int fdatasync(int fd)
{
    return sync_slowly(NEXT(int (*)(int), "fdatasync"), fd);
}

static void note_write(int fd, off64_t offset)
{
    if (offset == 0) {
        log_begun = fd + 1;
    }
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    note_write(fd, offset);
    return NEXT(ssize_t(*)(int, const void *, size_t, off_t), "pwrite")(fd, data, size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    note_write(fd, offset);
    return NEXT(ssize_t(*)(int, const void *, size_t, off64_t), "pwrite64")(fd, data, size, offset);
}

static void note_lock(int fd, int command, const struct flock *lock)
{
    if (command == F_SETLK && lock->l_start <= WRITE_LOCK_BYTE &&
        lock->l_start + lock->l_len > WRITE_LOCK_BYTE && is_of_cache(fd, "/cache.db-shm")) {
        long taken = atomic_load(&lock_taken);

        if ((lock->l_type == F_WRLCK) != (taken % 2 == 1)) {
            atomic_store(&lock_taken, taken + 1);
        }
    }
}

#define FCNTL(name)                                                                                \
    int name(int fd, int command, ...)                                                             \
    {                                                                                              \
        va_list arguments;                                                                         \
        void *argument;                                                                            \
        int result;                                                                                \
                                                                                                   \
        va_start(arguments, command);                                                              \
        argument = va_arg(arguments, void *);                                                      \
        va_end(arguments);                                                                         \
        result = NEXT(int (*)(int, int, ...), #name)(fd, command, argument);                       \
        if (result == 0 && command == F_SETLK) {                                                   \
            note_lock(fd, command, argument);                                                      \
        }                                                                                          \
        return result;                                                                             \
    }

FCNTL(fcntl)
FCNTL(fcntl64)
