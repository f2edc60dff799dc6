/* crash.c: kills this process at a step of its own, or records what it does with files, for LD_PRELOAD.
 *
 * Steps. What a process leaves behind when it is killed are the files as its system calls have made them,
 * and memory that others have mapped too. So a step is each call that changes a file, a directory or a
 * lock; each mutex that SQLite takes, of which one stands between the two copies of the wal-index header;
 * and each point that a debug build names itself (DC_PAUSE in src/base/debug.h).
 *
 *     crash_list(to);             from now on write the name of each step to the descriptor `to`, a line each
 *     crash_arm(3, 0, 1, to);     kill this process just before the third step from now, and write its name
 *     crash_arm(3, 1, 1, to);     the same, with half of it done, if it is a write: a signal can cut one short
 *     crash_disarm();
 *
 * The third argument says whether mutexes are steps. All threads count.
 *
 * The record. From crash_record(path, root) on, whatever is done to files below `root` is appended to the
 * file `path`, in the order in which it has happened, for which one call waits for the other; and what
 * crash_mark(text) says in between. Power can be lost after each entry: power_loss.py makes the states in
 * which a disk can be then. The wal-index is left out: SQLite makes it anew after a loss of power.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define NEXT(type, name) ((type)dlsym(RTLD_NEXT, name))

/* --- steps ---------------------------------------------------------------------------------------- */

static atomic_int armed; /* 0: not; 1: a step is chosen; 2: all are to be listed */
static atomic_long passed;
static long chosen;
static int torn, with_mutexes, told_to;

static void start_counting(long number, int tear, int mutexes, int to, int how)
{
    atomic_store(&armed, 0);
    atomic_store(&passed, 0);
    chosen = number;
    torn = tear;
    with_mutexes = mutexes;
    told_to = to;
    atomic_store(&armed, how);
}

void crash_arm(long number, int tear, int mutexes, int to)
{
    start_counting(number, tear, mutexes, to, 1);
}

void crash_list(int mutexes, int to)
{
    start_counting(0, 0, mutexes, to, 2);
}

void crash_disarm(void)
{
    atomic_store(&armed, 0);
}

static void tell(const char *name)
{
    char line[80];
    int size = snprintf(line, sizeof line, "%s\n", name);

    syscall(SYS_write, told_to, line, (long)size);
}

static void die(const char *name)
{
    tell(name);
    syscall(SYS_kill, getpid(), SIGKILL);
}

/* Count a step. Whether it is the chosen one, at which the caller first does a part of it. */
static int step(const char *name, int can_be_torn)
{
    int how = atomic_load(&armed);

    if (how == 2) {
        tell(name);
    } else if (how == 1 && atomic_fetch_add(&passed, 1) + 1 == chosen) {
        if (torn && can_be_torn) {
            return 1;
        }
        die(name);
    }
    return 0;
}

/* Half of a write; where it has pages, whole ones. */
static size_t half_of(size_t size)
{
    return size > 4096 ? size / 2 / 4096 * 4096 : size / 2;
}

void dc_pause(const char *name)
{
    step(name, 0);
}

/* --- the record ----------------------------------------------------------------------------------- */

/* An entry is this and its two texts. */
struct entry {
    char kind;
    char padding[3];
    uint32_t first_size, second_size;
    uint32_t more_padding;
    uint64_t inode;
    int64_t offset;
};

enum kind {
    CREATED = 'c',
    WRITTEN = 'w',
    CUT = 't',
    SYNCED = 's',
    MADE = 'm',
    LINKED = 'l',
    RENAMED = 'r',
    REMOVED = 'u',
    MARKED = '!'
};

static int record = -1;
static char root[4096];
static pthread_mutex_t in_order = PTHREAD_MUTEX_INITIALIZER;

static int lock(pthread_mutex_t *mutex)
{
    static int (*next)(pthread_mutex_t *);

    next = next != NULL ? next : NEXT(int (*)(pthread_mutex_t *), "pthread_mutex_lock");
    return next(mutex);
}

static void begin_call(void)
{
    if (record >= 0) {
        lock(&in_order);
    }
}

static void end_call(void)
{
    if (record >= 0) {
        pthread_mutex_unlock(&in_order);
    }
}

static void append(enum kind kind, uint64_t inode, int64_t offset, const void *first,
                   size_t first_size, const char *second)
{
    struct entry entry = {.kind = (char)kind,
                          .first_size = (uint32_t)first_size,
                          .second_size = second != NULL ? (uint32_t)strlen(second) : 0,
                          .inode = inode,
                          .offset = offset};

    syscall(SYS_write, record, &entry, sizeof entry);
    if (first_size > 0) {
        syscall(SYS_write, record, first, first_size);
    }
    if (entry.second_size > 0) {
        syscall(SYS_write, record, second, (size_t)entry.second_size);
    }
}

static int is_below_root(const char *path)
{
    size_t size = strlen(path);

    return record >= 0 && strncmp(path, root, strlen(root)) == 0 &&
           !(size >= 4 && strcmp(path + size - 4, "-shm") == 0);
}

/* The inode of an open file below the root, or 0. */
static uint64_t inode_of(int fd)
{
    char link[64];
    char path[4096];
    ssize_t size;
    struct stat facts;

    if (record < 0 || fd == record) {
        return 0;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof path - 1);
    if (size <= 0) {
        return 0;
    }
    path[size] = '\0';
    return is_below_root(path) && fstat(fd, &facts) == 0 ? facts.st_ino : 0;
}

static uint64_t inode_at(const char *path)
{
    struct stat facts;

    return stat(path, &facts) == 0 ? facts.st_ino : 0;
}

int crash_record(const char *path, const char *below)
{
    snprintf(root, sizeof root, "%s", below);
    record = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return record;
}

void crash_mark(const char *text)
{
    begin_call();
    append(MARKED, 0, 0, text, strlen(text), NULL);
    end_call();
}

static void note_write(int fd, off64_t offset, const void *data, ssize_t size)
{
    uint64_t inode = size > 0 ? inode_of(fd) : 0;

    if (inode != 0) {
        append(WRITTEN, inode, offset, data, (size_t)size, NULL);
    }
}

static void note_cut(int fd, off64_t size)
{
    uint64_t inode = inode_of(fd);

    if (inode != 0) {
        append(CUT, inode, size, NULL, 0, NULL);
    }
}

static void note_sync(int fd)
{
    uint64_t inode = inode_of(fd);

    if (inode != 0) {
        append(SYNCED, inode, 0, NULL, 0, NULL);
    }
}

static void note_path(enum kind kind, const char *path, const char *second)
{
    if (is_below_root(path)) {
        append(kind, kind == MADE ? inode_at(path) : 0, 0, path, strlen(path), second);
    }
}

/* The path of a name that is relative to an open directory. */
static const char *path_at(int directory, const char *name, char path[8192])
{
    char link[64];
    ssize_t size;

    if (record < 0 || directory == AT_FDCWD || name[0] == '/') {
        return name;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    size = readlink(link, path, 4096);
    size = size > 0 ? size : 0;
    snprintf(path + size, 8192 - (size_t)size, "/%s", name);
    return path;
}

static void note_path_at(enum kind kind, int directory, const char *name, const char *second)
{
    char first_path[8192];
    char second_path[8192];

    note_path(kind, path_at(directory, name, first_path),
              second != NULL ? path_at(directory, second, second_path) : NULL);
}

/* --- the calls ------------------------------------------------------------------------------------ */

/* A call by number or path: count it, do it, record it if it has succeeded. errno stays the call's. */
#define CALL(result, name, parameters, arguments, note)                                            \
    result name parameters                                                                         \
    {                                                                                              \
        static result(*next) parameters;                                                           \
        result returned;                                                                           \
        int error;                                                                                 \
                                                                                                   \
        next = next != NULL ? next : NEXT(result(*) parameters, #name);                            \
        if (step(#name, 0)) {                                                                      \
            die(#name);                                                                            \
        }                                                                                          \
        begin_call();                                                                              \
        returned = next arguments;                                                                 \
        error = errno;                                                                             \
        if (returned == 0) {                                                                       \
            note;                                                                                  \
        }                                                                                          \
        end_call();                                                                                \
        errno = error;                                                                             \
        return returned;                                                                           \
    }

CALL(int, fsync, (int fd), (fd), note_sync(fd))
CALL(int, fdatasync, (int fd), (fd), note_sync(fd))
CALL(int, ftruncate, (int fd, off_t size), (fd, size), note_cut(fd, size))
CALL(int, ftruncate64, (int fd, off64_t size), (fd, size), note_cut(fd, size))
CALL(int, unlink, (const char *path), (path), note_path(REMOVED, path, NULL))
CALL(int, rmdir, (const char *path), (path), note_path(REMOVED, path, NULL))
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), note_path(MADE, path, NULL))
CALL(int, rename, (const char *from, const char *to), (from, to), note_path(RENAMED, from, to))
CALL(int, link, (const char *from, const char *to), (from, to), note_path(LINKED, from, to))
CALL(int, unlinkat, (int at, const char *name, int flags), (at, name, flags),
     note_path_at(REMOVED, at, name, NULL))
CALL(int, mkdirat, (int at, const char *name, mode_t mode), (at, name, mode),
     note_path_at(MADE, at, name, NULL))
CALL(int, renameat, (int at, const char *from, int to_at, const char *to), (at, from, to_at, to),
     note_path_at(RENAMED, at, from, to))

#define WRITE(name, parameters, arguments, half_arguments, position)                               \
    ssize_t name parameters                                                                        \
    {                                                                                              \
        static ssize_t(*next) parameters;                                                          \
        off64_t at = 0;                                                                            \
        ssize_t returned;                                                                          \
        int error;                                                                                 \
                                                                                                   \
        next = next != NULL ? next : NEXT(ssize_t(*) parameters, #name);                           \
        if (step(#name, size > 1)) {                                                               \
            next half_arguments;                                                                   \
            die(#name ", half of it");                                                             \
        }                                                                                          \
        begin_call();                                                                              \
        at = position;                                                                             \
        returned = next arguments;                                                                 \
        error = errno;                                                                             \
        note_write(fd, at, data, returned);                                                        \
        end_call();                                                                                \
        errno = error;                                                                             \
        return returned;                                                                           \
    }

WRITE(write, (int fd, const void *data, size_t size), (fd, data, size), (fd, data, half_of(size)),
      record >= 0 ? lseek64(fd, 0, SEEK_CUR) : 0)
WRITE(pwrite, (int fd, const void *data, size_t size, off_t offset), (fd, data, size, offset),
      (fd, data, half_of(size), offset), offset)
WRITE(pwrite64, (int fd, const void *data, size_t size, off64_t offset), (fd, data, size, offset),
      (fd, data, half_of(size), offset), offset)

static int open_and_note(int (*next)(int, const char *, int, ...), const char *call, int at,
                         const char *name, int flags, mode_t mode)
{
    char memory[8192];
    const char *path;
    int is_new;
    int returned;
    int error;

    if (!(flags & (O_CREAT | O_TRUNC))) {
        return next(at, name, flags, mode);
    }
    step(call, 0);
    begin_call();
    path = path_at(at, name, memory);
    is_new = is_below_root(path) && access(path, F_OK) != 0;
    returned = next(at, name, flags, mode);
    error = errno;
    if (returned >= 0 && is_new) {
        append(CREATED, inode_of(returned), 0, path, strlen(path), NULL);
    } else if (returned >= 0 && (flags & O_TRUNC)) {
        note_cut(returned, 0);
    }
    end_call();
    errno = error;
    return returned;
}

/* All of them by openat, which opens what open does. */
#define OPEN(name, at, ...)                                                                        \
    int name(__VA_ARGS__ const char *path, int flags, ...)                                         \
    {                                                                                              \
        static int (*next)(int, const char *, int, ...);                                           \
        va_list arguments;                                                                         \
        mode_t mode;                                                                               \
                                                                                                   \
        next = next != NULL ? next : NEXT(int (*)(int, const char *, int, ...), "openat");         \
        va_start(arguments, flags);                                                                \
        mode = va_arg(arguments, mode_t);                                                          \
        va_end(arguments);                                                                         \
        return open_and_note(next, #name, at, path, flags, mode);                                  \
    }

#define DIRECTORY int directory,

OPEN(open, AT_FDCWD, )
OPEN(open64, AT_FDCWD, )
OPEN(openat, directory, DIRECTORY)
OPEN(openat64, directory, DIRECTORY)

/* Locks: what the kernel gives back when the process is killed. */
#define FCNTL(name)                                                                                \
    int name(int fd, int command, ...)                                                             \
    {                                                                                              \
        static int (*next)(int, int, ...);                                                         \
        va_list arguments;                                                                         \
        void *argument;                                                                            \
                                                                                                   \
        next = next != NULL ? next : NEXT(int (*)(int, int, ...), #name);                          \
        va_start(arguments, command);                                                              \
        argument = va_arg(arguments, void *);                                                      \
        va_end(arguments);                                                                         \
        if (command == F_SETLK) {                                                                  \
            step("lock", 0);                                                                       \
        }                                                                                          \
        return next(fd, command, argument);                                                        \
    }

FCNTL(fcntl)
FCNTL(fcntl64)

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (with_mutexes && atomic_load(&armed)) {
        step("mutex", 0);
    }
    return lock(mutex);
}
