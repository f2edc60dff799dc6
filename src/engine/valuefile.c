/* valuefile.c: the files that hold the values too large for the database.
 *
 * Format. A file's name, relative to the cache directory, is "ab/cd/" + 28 random hexadecimal
 * digits + ".val": a name the original could have drawn (docs/format.rst). On Windows "\\" separates: the
 * original's check(fix=True) compares names, letter by letter, with what the system lists, and would
 * remove the file of a name with "/" there. Either kind of name is read on either platform. A file
 * holds the value's bytes and nothing else; that it is whole is known from the `size` column of its
 * row.
 *
 * Invariants.
 *   1. A file that has its final name is complete. It is written as "....cache.db-tmp" in the same
 *      directory and then renamed. A crash leaves a temporary file, never half a value. Only
 *      dc_valuefile_create makes one that is not: with an overridden filename() or _write() Python fills it.
 *   2. No file is ever replaced. The temporary file is created with O_EXCL, so it is also the lock
 *      on its final name: whoever holds it looks whether the final name is taken, and nobody else
 *      can take it until the rename. Names from dc_valuefile_name never meet; names from a Disk
 *      whose filename() was overridden may, and replacing would destroy a value whose row is still
 *      committed.
 *   3. A row is written after its file has its final name, and a file is removed after its row is
 *      gone for good. That is the caller's part (rows.h): it makes invariant 1 enough.
 *   4. No link is followed beneath the cache directory, and only regular files are read: a name in a
 *      database that somebody else has written leads nowhere else, and nothing else is removed. So
 *      each directory of a path is opened in the one before it (enter). The cache directory itself
 *      may be a link.
 *   5. What is made in a cache directory is as open to others as the directory (sys_likeness).
 *   6. A directory between the cache directory and a file is removed when it is empty, by anybody,
 *      at any moment. So a creation that finds its directory missing makes it and tries again; the
 *      cache directory, too, which an administrator may have removed under a running process. Once
 *      the temporary file exists its directory cannot be empty, so the rename has no such race.
 *
 * Syncing. A file is synced where the commit of its row is: with PRAGMA synchronous at FULL. That is the
 * caller's part too, by dc_valuefile_sync. Otherwise nothing is, as in the original: what a loss of power
 * leaves of a file then has not the size that its row records, which is noticed on reading
 * (docs/decisions/0034-loss-of-power.rst).
 *
 * Why directories are filled. The original draws all 32 digits anew for each file, so nearly every
 * file makes, and later removes, two directories. Here a process gives FILES_PER_DIRECTORY names in
 * a row the same "ab/cd". Microseconds per 100 KB value, ext4, mean of 2000 files, best of 15 runs:
 *
 *     names per directory    one Cache         8 shards in turn
 *                            write  remove     write  remove
 *                       1       72      84       781     112
 *                       8       46      30       179     109
 *                      64       46      22       102      34
 *                     256       50      21       101      24
 *
 * On tmpfs, where a directory is cheap, it is 54 against 48 for the write. The counter belongs to
 * the process and not to a cache directory, so the shards of a FanoutCache share it and each
 * directory gets a shard's part of the names: 8 names would do for one Cache, 64 do for 8 shards.
 * More gain little, and a directory is to empty, and go, when its files do.
 *
 * Threads and fork. The counter is one word changed by compare-and-swap: no lock that a fork could
 * leave held. A fork copies it, so parent and child may fill the same directory; that is harmless,
 * as the other 28 digits come from the system for each name and no pool of randomness is kept that
 * a fork would duplicate.
 *
 * The platform is met in the functions sys_*, below; everything after them is the same everywhere.
 */
#ifdef _WIN32
#define _CRT_RAND_S
#else
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* O_PATH, and getentropy and POSIX.1-2008 under -std=c11 */
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#endif

#include "engine/valuefile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/format.h"
#include "base/limits.h"

/* Names a process draws in one directory before it goes to the next. */
#ifndef FILES_PER_DIRECTORY
#define FILES_PER_DIRECTORY 64
#endif
/* Bytes given to one read or write: macOS and Windows refuse more than INT_MAX. */
#define CHUNK_SIZE ((size_t)1 << 30)

/* ---- The platform ------------------------------------------------------------------------------
 *
 * POSIX semantics throughout: -1 and errno on failure; of what asks whether something is there, too, where
 * it cannot be found out. sys_rename_in may or may not replace: it is only called where there is nothing to
 * replace. What is no regular file has no size, ENOENT. A directory that is open is a sys_directory, and
 * names in it are single components, of which a link is not followed.
 */

typedef intptr_t sys_directory;

#define NO_DIRECTORY ((sys_directory)-1)

#ifdef _WIN32

#include <direct.h>
#include <io.h>

#include "base/windows_api.h"

/* The counter of next_directory. */
static volatile LONG directory_word;

static uint32_t sys_load_word(void)
{
    return (uint32_t)directory_word;
}

static int sys_replace_word(uint32_t seen, uint32_t next)
{
    return InterlockedCompareExchange(&directory_word, (LONG)next, (LONG)seen) == (LONG)seen;
}

#define SYS_SEPARATOR '\\'

static int sys_is_separator(char c)
{
    return c == '/' || c == '\\';
}

static int sys_has_drive(const char *name)
{
    return strchr(name, ':') != NULL; /* or names a stream */
}

/* The owned UTF-16 form of a UTF-8 path, or NULL. */
static wchar_t *wide_path(const char *path)
{
    wchar_t *wide = NULL;
    int length = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, NULL, 0);

    if (length == 0) {
        errno = EILSEQ;
        return NULL;
    }
    wide = malloc((size_t)length * sizeof *wide);
    if (wide == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, wide, length);
    return wide;
}

/* Free the path, keeping the errno of the call that used it. */
static void free_wide_path(wchar_t *wide)
{
    int system_errno = errno;

    free(wide);
    errno = system_errno;
}

static int sys_open(const char *path, int flags)
{
    wchar_t *wide = wide_path(path);
    int descriptor = -1;

    if (wide != NULL)
        descriptor = _wopen(wide, flags | _O_BINARY | _O_NOINHERIT, _S_IREAD | _S_IWRITE);
    free_wide_path(wide);
    return descriptor;
}

static int64_t sys_read(int descriptor, void *buffer, size_t size)
{
    return _read(descriptor, buffer, (unsigned)size);
}

static int64_t sys_write(int descriptor, const void *data, size_t size)
{
    return _write(descriptor, data, (unsigned)size);
}

static int sys_close(int descriptor)
{
    return _close(descriptor);
}

static int sys_sync(int descriptor)
{
    return _commit(descriptor);
}

static int sys_sync_directory(const char *path)
{
    (void)path; /* there is no such call; NTFS keeps a journal of its own */
    return 0;
}

static int sys_file_size(int descriptor, int64_t *size)
{
    struct _stat64 facts;

    if (_fstat64(descriptor, &facts) != 0)
        return -1;
    if ((facts.st_mode & _S_IFMT) != _S_IFREG) {
        errno = ENOENT;
        return -1;
    }
    *size = facts.st_size;
    return 0;
}

static int sys_set_blocking(int descriptor)
{
    (void)descriptor;
    return 0;
}

/* A file that is mapped cannot be removed. */
static int sys_map(int descriptor, size_t size, void **data)
{
    (void)descriptor;
    (void)size;
    *data = NULL;
    errno = ENOSYS;
    return -1;
}

static void sys_unmap(void *data, size_t size)
{
    (void)data;
    (void)size;
}

static int sys_call_with_path(int (*call)(const wchar_t *), const char *path)
{
    wchar_t *wide = wide_path(path);
    int result = wide != NULL ? call(wide) : -1;

    free_wide_path(wide);
    return result;
}

static DWORD attributes_of(const char *path)
{
    wchar_t *wide = wide_path(path);
    DWORD attributes = wide != NULL ? GetFileAttributesW(wide) : INVALID_FILE_ATTRIBUTES;

    free_wide_path(wide);
    return attributes;
}

/* -1 and errno if the path cannot be one. */
static int sys_exists(const char *path)
{
    wchar_t *wide = wide_path(path);
    int exists = wide == NULL ? -1 : GetFileAttributesW(wide) != INVALID_FILE_ATTRIBUTES;

    free_wide_path(wide);
    return exists;
}

static int sys_make_directory(const char *path)
{
    return sys_call_with_path(_wmkdir, path);
}

static int sys_make_root(const char *path, int mode)
{
    (void)mode;
    return sys_make_directory(path);
}

/* A directory is its path here, owned. */

typedef struct sys_likeness {
    int unused; /* what is made inherits the access rights of its directory by itself */
} sys_likeness;

static char *join_path(const char *directory, const char *name);

static char *path_in(sys_directory directory, const char *name)
{
    char *path = join_path((const char *)directory, name);

    if (path == NULL)
        errno = ENOMEM;
    return path;
}

static sys_directory directory_of(char *path, DWORD refused)
{
    DWORD attributes = path != NULL ? attributes_of(path) : INVALID_FILE_ATTRIBUTES;

    if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) &&
        !(attributes & refused))
        return (sys_directory)path;
    free(path);
    errno = attributes == INVALID_FILE_ATTRIBUTES ? ENOENT : ENOTDIR;
    return NO_DIRECTORY;
}

static sys_directory sys_open_directory(const char *path)
{
    return directory_of(_strdup(path), 0);
}

static sys_directory sys_enter(sys_directory directory, const char *name)
{
    return directory_of(path_in(directory, name), FILE_ATTRIBUTE_REPARSE_POINT);
}

static void sys_leave(sys_directory directory)
{
    int system_errno = errno;

    free((char *)directory);
    errno = system_errno;
}

static void sys_look(sys_directory directory, sys_likeness *likeness)
{
    (void)directory;
    likeness->unused = 0;
}

static int open_in(sys_directory directory, const char *name, int flags)
{
    char *path = path_in(directory, name);
    int descriptor = path != NULL ? sys_open(path, flags) : -1;

    free_wide_path((wchar_t *)path);
    return descriptor;
}

static int sys_create_in(sys_directory directory, const char *name, const sys_likeness *likeness)
{
    (void)likeness;
    return open_in(directory, name, _O_WRONLY | _O_CREAT | _O_EXCL);
}

static int sys_open_read_in(sys_directory directory, const char *name)
{
    return open_in(directory, name, _O_RDONLY);
}

static int sys_open_read_unlinked(sys_directory directory, const char *name)
{
    (void)directory;
    (void)name;
    errno = ENOSYS;
    return -1;
}

static int sys_open_sync_in(sys_directory directory, const char *name)
{
    return open_in(directory, name, _O_RDWR); /* who may not write may not flush */
}

static int sys_exists_in(sys_directory directory, const char *name)
{
    char *path = path_in(directory, name);
    int exists = path == NULL ? -1 : sys_exists(path);

    free_wide_path((wchar_t *)path);
    return exists;
}

static int sys_rename_in(sys_directory directory, const char *from, const char *to)
{
    char *path_from = path_in(directory, from);
    char *path_to = path_in(directory, to);
    wchar_t *wide_from = path_from != NULL ? wide_path(path_from) : NULL;
    wchar_t *wide_to = path_to != NULL ? wide_path(path_to) : NULL;
    int result = -1;

    if (wide_from != NULL && wide_to != NULL)
        result = _wrename(wide_from, wide_to); /* MoveFileExW, with its error turned into errno */
    free_wide_path(wide_from);
    free_wide_path(wide_to);
    free_wide_path((wchar_t *)path_from);
    free_wide_path((wchar_t *)path_to);
    return result;
}

static int call_in(int (*call)(const wchar_t *), sys_directory directory, const char *name)
{
    char *path = path_in(directory, name);
    int result = path != NULL ? sys_call_with_path(call, path) : -1;

    free_wide_path((wchar_t *)path);
    return result;
}

static int sys_remove_in(sys_directory directory, const char *name)
{
    return call_in(_wunlink, directory, name);
}

static int sys_make_directory_in(sys_directory directory, const char *name,
                                 const sys_likeness *likeness)
{
    (void)likeness;
    return call_in(_wmkdir, directory, name);
}

static int sys_remove_directory_in(sys_directory directory, const char *name)
{
    return call_in(_wrmdir, directory, name);
}

static int sys_random(unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned int drawn;

        if (rand_s(&drawn) != 0) {
            errno = EIO;
            return -1;
        }
        bytes[i] = (unsigned char)drawn;
    }
    return 0;
}

#else /* POSIX */

#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

#if defined(__has_include)
#if __has_include(<sys/random.h>)
#include <sys/random.h>
#define HAVE_GETENTROPY 1
#endif
#endif

/* The counter of next_directory. Nothing else is published through it: relaxed order will do. */
static _Atomic uint32_t directory_word;

static uint32_t sys_load_word(void)
{
    return atomic_load_explicit(&directory_word, memory_order_relaxed);
}

static int sys_replace_word(uint32_t seen, uint32_t next)
{
    return atomic_compare_exchange_weak_explicit(&directory_word, &seen, next, memory_order_relaxed,
                                                 memory_order_relaxed);
}

#define SYS_SEPARATOR '/'

static int sys_is_separator(char c)
{
    return c == '/';
}

/* ":" is a letter as any other, and a Disk may use it; but a path of Windows is never relative. */
static int sys_has_drive(const char *name)
{
    return ((name[0] >= 'A' && name[0] <= 'Z') || (name[0] >= 'a' && name[0] <= 'z')) &&
           name[1] == ':' && name[2] == '\\';
}

static int sys_open_in(sys_directory directory, const char *name, int flags, int mode)
{
    int descriptor;

    do
        descriptor = openat((int)directory, name, flags | O_CLOEXEC, mode);
    while (descriptor == -1 && errno == EINTR);
    return descriptor;
}

static int64_t sys_read(int descriptor, void *buffer, size_t size)
{
    return read(descriptor, buffer, size);
}

static int64_t sys_write(int descriptor, const void *data, size_t size)
{
    return write(descriptor, data, size);
}

/* After EINTR the descriptor is gone on Linux and may be another's already: never close twice. */
static int sys_close(int descriptor)
{
    return close(descriptor) == 0 || errno == EINTR ? 0 : -1;
}

/* What cannot be synced (a pipe; directories of some file systems) is as safe as it gets. */
static int sys_sync(int descriptor)
{
    int result;

    do
        result = fsync(descriptor);
    while (result == -1 && errno == EINTR);
    return result == 0 || errno == EINVAL || errno == ENOTSUP ? 0 : -1;
}

/* A directory that is gone needs no sync. */
static int sys_sync_directory(const char *path)
{
    int descriptor = sys_open_in(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
    int result;
    int system_errno;

    if (descriptor == -1)
        return errno == ENOENT ? 0 : -1;
    result = sys_sync(descriptor);
    system_errno = errno;
    sys_close(descriptor);
    errno = system_errno;
    return result;
}

static int sys_file_size(int descriptor, int64_t *size)
{
    struct stat facts;

    if (fstat(descriptor, &facts) != 0)
        return -1;
    if (!S_ISREG(facts.st_mode)) {
        errno = ENOENT;
        return -1;
    }
    *size = facts.st_size;
    return 0;
}

static int sys_set_blocking(int descriptor)
{
    return fcntl(descriptor, F_SETFL, 0);
}

/* Private: some file systems can map nothing else. Nobody writes to it. */
static int sys_map(int descriptor, size_t size, void **data)
{
    *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (*data != MAP_FAILED)
        return 0;
    *data = NULL;
    return -1;
}

static void sys_unmap(void *data, size_t size)
{
    munmap(data, size);
}

static int sys_exists(const char *path)
{
    struct stat facts;

    if (lstat(path, &facts) == 0)
        return 1; /* a dangling link is taken, too */
    return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
}

static int sys_make_directory(const char *path)
{
    return mkdir(path, 0777);
}

/* The same with this very mode. */
static int sys_make_root(const char *path, int mode)
{
    return mkdir(path, 0700) != 0 || (mode != 0700 && chmod(path, (mode_t)mode) != 0) ? -1 : 0;
}

/* A directory is a descriptor, with which nothing can be done but going on from there. */

#ifdef O_PATH
#define TO_ENTER O_PATH
#elif defined(O_SEARCH)
#define TO_ENTER O_SEARCH
#else
#define TO_ENTER O_RDONLY
#endif

static sys_directory sys_open_directory(const char *path)
{
    return sys_open_in(AT_FDCWD, path, TO_ENTER | O_DIRECTORY, 0);
}

static sys_directory sys_enter(sys_directory directory, const char *name)
{
    return sys_open_in(directory, name, TO_ENTER | O_DIRECTORY | O_NOFOLLOW, 0);
}

static void sys_leave(sys_directory directory)
{
    int system_errno = errno;

    close((int)directory);
    errno = system_errno;
}

/* What a cache directory is like: who may do what in it, and whose it is. The umask has no say in what
 * is made in it: somebody has made the directory as it is. */
typedef struct sys_likeness {
    mode_t mode;
    uid_t owner; /* to whom root, who may, leaves what it makes: as SQLite does with its log */
    gid_t group;
    int has_owner;
} sys_likeness;

#define OWNER_ONLY     0700
#define OF_OTHERS      (S_IWGRP | S_IWOTH)
#define OF_FILES       0666
#define OF_DIRECTORIES (S_ISGID | 0777)

static void sys_look(sys_directory directory, sys_likeness *likeness)
{
    struct stat facts;

    *likeness = (sys_likeness){.mode = OWNER_ONLY};
    if (fstat((int)directory, &facts) != 0)
        return;
    /* In a directory such as /tmp others may make files, but not change ours. */
    likeness->mode = facts.st_mode & ~(mode_t)(facts.st_mode & S_ISVTX ? OF_OTHERS : 0);
    likeness->owner = facts.st_uid;
    likeness->group = facts.st_gid;
    likeness->has_owner = geteuid() == 0 && (facts.st_uid != 0 || facts.st_gid != getegid());
}

/* Make something new alike. Where the file system knows no such thing it stays as it is. */
static void liken(int descriptor, const sys_likeness *likeness, mode_t mode)
{
    if (likeness->has_owner && fchown(descriptor, likeness->owner, likeness->group) != 0)
        errno = 0;
    if ((mode & ~(mode_t)OWNER_ONLY) != 0 && fchmod(descriptor, mode) != 0)
        errno = 0;
}

static int sys_create_in(sys_directory directory, const char *name, const sys_likeness *likeness)
{
    mode_t mode = likeness->mode & OF_FILES;
    int descriptor =
        sys_open_in(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, (int)mode);

    if (descriptor != -1)
        liken(descriptor, likeness, mode);
    return descriptor;
}

/* A pipe is opened without waiting for who writes into it: it is no value file, which its type tells. */
#define TO_READ        (O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY)

static int sys_open_read_in(sys_directory directory, const char *name)
{
    return sys_open_in(directory, name, TO_READ, 0);
}

/* Open a file to read by a path from a directory, or from here (NO_DIRECTORY), no component of which may be a link:
 * ELOOP if one is. ENOSYS where the system cannot do that in one call. */
static int sys_open_read_unlinked(sys_directory directory, const char *path)
{
#if defined(__linux__) && defined(SYS_openat2)
    enum { NO_SYMLINKS = 0x04 }; /* RESOLVE_NO_SYMLINKS of linux/openat2.h, which may be older */
    const struct {
        uint64_t flags, mode, resolve;
    } how = {TO_READ | O_CLOEXEC, 0, NO_SYMLINKS};
    long at = directory == NO_DIRECTORY ? AT_FDCWD : (long)directory;
    long descriptor;

    do
        descriptor = syscall(SYS_openat2, at, path, &how, sizeof how);
    while (descriptor == -1 && errno == EINTR);
    if (descriptor == -1 && (errno == EPERM || errno == EINVAL))
        errno = ENOSYS; /* not allowed in a container, or unknown flags */
    return (int)descriptor;
#else
    (void)directory;
    (void)path;
    errno = ENOSYS;
    return -1;
#endif
}

static int sys_open_sync_in(sys_directory directory, const char *name)
{
    return sys_open_read_in(directory, name);
}

static int sys_exists_in(sys_directory directory, const char *name)
{
    struct stat facts;

    if (fstatat((int)directory, name, &facts, AT_SYMLINK_NOFOLLOW) == 0)
        return 1; /* a dangling link is taken, too */
    return errno == ENOENT ? 0 : -1;
}

static int sys_rename_in(sys_directory directory, const char *from, const char *to)
{
    return renameat((int)directory, from, (int)directory, to);
}

static int sys_remove_in(sys_directory directory, const char *name)
{
    return unlinkat((int)directory, name, 0);
}

static int sys_make_directory_in(sys_directory directory, const char *name,
                                 const sys_likeness *likeness)
{
    mode_t mode = likeness->mode & OF_DIRECTORIES;
    int result = mkdirat((int)directory, name, mode & 0777);
    int made = -1;

    if (result == 0 && (likeness->has_owner || (mode & ~(mode_t)OWNER_ONLY) != 0))
        made = sys_open_in(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (made != -1) {
        liken(made, likeness, mode);
        sys_close(made);
    }
    return result;
}

static int sys_remove_directory_in(sys_directory directory, const char *name)
{
    return unlinkat((int)directory, name, AT_REMOVEDIR);
}

static int random_from_device(unsigned char *bytes, size_t size)
{
    int descriptor = sys_open_in(AT_FDCWD, "/dev/urandom", O_RDONLY, 0);
    size_t done = 0;
    int system_errno = 0;

    if (descriptor == -1)
        return -1;
    while (done < size && system_errno == 0) {
        ssize_t count = read(descriptor, bytes + done, size - done);

        if (count > 0)
            done += (size_t)count;
        else if (count == 0)
            system_errno = EIO;
        else if (errno != EINTR)
            system_errno = errno;
    }
    sys_close(descriptor);
    errno = system_errno;
    return system_errno == 0 ? 0 : -1;
}

static int sys_random(unsigned char *bytes, size_t size)
{
#ifdef HAVE_GETENTROPY
    if (getentropy(bytes, size) == 0)
        return 0;
#endif
    return random_from_device(bytes, size); /* an old kernel, or a sandbox without the call */
}

#endif

/* ---- Names -------------------------------------------------------------------------------------
 */

/* The directory, as 16 bits, of the next name: the one in use, or `drawn` if that has had its
 * share. The word holds the directory in its upper half and, in its lower half, how many more names
 * are to get it. */
static unsigned next_directory(unsigned drawn)
{
    uint32_t seen;
    uint32_t next;

    do {
        seen = sys_load_word();
        if ((seen & 0xFFFF) != 0)
            next = seen - 1;
        else
            next = (uint32_t)drawn << 16 | (FILES_PER_DIRECTORY - 1);
    } while (!sys_replace_word(seen, next));
    return next >> 16;
}

dc_status dc_valuefile_name(char name[DC_VALUEFILE_NAME_SIZE], dc_error *error)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[DC_VALUEFILE_DIGITS / 2];
    unsigned directory;
    char *end = name;

    if (sys_random(bytes, sizeof bytes) != 0)
        return dc_error_system(error, errno, "/dev/urandom");

    directory = next_directory((unsigned)bytes[0] << 8 | bytes[1]);
    bytes[0] = (unsigned char)(directory >> 8);
    bytes[1] = (unsigned char)directory;
    for (size_t i = 0; i < sizeof bytes; i++) {
        *end++ = digits[bytes[i] >> 4];
        *end++ = digits[bytes[i] & 15];
        if (i < 2)
            *end++ = SYS_SEPARATOR;
    }
    memcpy(end, DC_VALUEFILE_SUFFIX, sizeof DC_VALUEFILE_SUFFIX);
    return DC_OK;
}

/* "\\" too, wherever this runs: a directory written on Windows has it in its names. */
static int separates(char c)
{
    return c == '/' || c == '\\';
}

/* Whether a component is that of a database, or of a file beside one. As any file system takes them: upper case
 * may be lower case, and Windows leaves out dots and blanks at the end. */
static int is_of_database(const char *name, size_t size)
{
    static const char database[] = DC_DATABASE_NAME;
    size_t length = sizeof database - 1;

    if (size < length || (size > length && strchr("-. ", name[length]) == NULL))
        return 0;
    for (size_t i = 0; i < length; i++) {
        char c = name[i];

        if ((c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) != database[i])
            return 0;
    }
    return 1;
}

int dc_valuefile_is_inside(const char *name, size_t size)
{
    size_t start = 0; /* of the component */

    if (size == 0 || memchr(name, '\0', size) != NULL || separates(name[0]) || sys_has_drive(name))
        return 0;
    for (size_t i = 0; i <= size; i++) {
        if (i < size && !separates(name[i]))
            continue;
        if ((i - start == 2 && name[start] == '.' && name[start + 1] == '.') ||
            is_of_database(name + start, i - start))
            return 0;
        if (i < size)
            start = i + 1;
    }
    return start < size && !(size - start == 1 && name[start] == '.');
}

/* ---- Paths -------------------------------------------------------------------------------------
 *
 * Owned, or NULL if there is no memory. `root_size` is the length of the cache directory at the
 * start of a path: no function below touches that part.
 */

static char *join_path(const char *directory, const char *name)
{
    size_t directory_size = strlen(directory);
    size_t name_size = strlen(name);
    char *path = malloc(directory_size + 1 + name_size + 1);

    if (path != NULL) {
        memcpy(path, directory, directory_size);
        path[directory_size] = '/';
        memcpy(path + directory_size + 1, name, name_size + 1);
    }
    return path;
}

/* The path of the file of a row. See dc_valuefile_local_name. */
static char *local_path(const char *directory, const char *name)
{
    char *path = join_path(directory, name);
    char *own = path != NULL ? path + strlen(directory) + 1 : NULL;

    if (path == NULL || sys_is_separator('\\') || strchr(name, '\\') == NULL ||
        !dc_valuefile_is_inside(name, strlen(name)) || sys_exists(path) != 0)
        return path;
    for (char *c = own; *c != '\0'; c++) {
        if (*c == '\\')
            *c = '/';
    }
    if (sys_exists(path) == 0)
        memcpy(own, name, strlen(name));
    return path;
}

char *dc_valuefile_local_name(const char *directory, const char *name)
{
    char *path = local_path(directory, name);

    if (path != NULL)
        memmove(path, path + strlen(directory) + 1, strlen(name) + 1);
    return path;
}

static char *temporary_path(const char *path)
{
    const size_t suffix_size = sizeof DC_VALUEFILE_SUFFIX - 1;
    size_t stem_size = strlen(path);
    char *temporary;

    if (stem_size >= suffix_size &&
        strcmp(path + stem_size - suffix_size, DC_VALUEFILE_SUFFIX) == 0)
        stem_size -= suffix_size;
    temporary = malloc(stem_size + sizeof DC_VALUEFILE_TEMPORARY_SUFFIX);
    if (temporary != NULL) {
        memcpy(temporary, path, stem_size);
        memcpy(temporary + stem_size, DC_VALUEFILE_TEMPORARY_SUFFIX,
               sizeof DC_VALUEFILE_TEMPORARY_SUFFIX);
    }
    return temporary;
}

/* Make the root and what is missing above it. -1 and errno if there is no root after that. */
static int make_root(char *path, size_t root_size, int mode)
{
    int result = -1;

    for (size_t i = 1; i <= root_size; i++) {
        char separator = path[i];

        if (i < root_size && !sys_is_separator(separator))
            continue;
        path[i] = '\0';
        result = i == root_size ? sys_make_root(path, mode) : sys_make_directory(path);
        path[i] = separator;
    }
    return result == 0 || errno == EEXIST ? 0 : -1;
}

static sys_directory open_root(char *path, size_t root_size)
{
    char separator = path[root_size];
    sys_directory root;

    path[root_size] = '\0';
    root = sys_open_directory(path);
    path[root_size] = separator;
    return root;
}

static sys_directory enter_or_make(sys_directory directory, const char *name,
                                   const sys_likeness *likeness)
{
    sys_directory inner = sys_enter(directory, name);

    if (inner == NO_DIRECTORY && errno == ENOENT && likeness != NULL &&
        (sys_make_directory_in(directory, name, likeness) == 0 || errno == EEXIST))
        inner = sys_enter(directory, name);
    return inner;
}

/* Open the directory that a file is in, following no link beneath the root; NO_DIRECTORY and errno on
 * failure. `likeness`: make what is missing, the root excepted, and tell what it is like; it may be
 * pruned before the next is made in it, which is ENOENT. *name: where the last component begins. */
static sys_directory enter(char *path, size_t root_size, sys_likeness *likeness, const char **name)
{
    sys_directory directory = open_root(path, root_size);
    char *start = path + root_size + 1;

    if (directory != NO_DIRECTORY && likeness != NULL)
        sys_look(directory, likeness);
    for (char *c = start; directory != NO_DIRECTORY && *c != '\0'; c++) {
        char separator = *c;

        if (!sys_is_separator(separator))
            continue;
        *c = '\0';
        if (c > start) {
            sys_directory outer = directory;

            directory = enter_or_make(outer, start, likeness);
            sys_leave(outer);
        }
        *c = separator;
        start = c + 1;
    }
    *name = start;
    return directory;
}

/* Remove the file, if it is to go too, and then the directories of its path, innermost first, until one
 * is not empty. `name` is relative to `directory`. -1 if something has to stay. */
static int remove_in(sys_directory directory, char *name, int with_file)
{
    char *end = name;
    char separator;
    sys_directory inner;
    int result;

    while (*end != '\0' && !sys_is_separator(*end))
        end++;
    if (*end == '\0')
        return !with_file || sys_remove_in(directory, name) == 0 || errno == ENOENT ? 0 : -1;
    if (end == name)
        return remove_in(directory, end + 1, with_file);

    separator = *end;
    *end = '\0';
    inner = sys_enter(directory, name);
    result = inner == NO_DIRECTORY && errno != ENOENT ? -1 : 0;
    if (inner != NO_DIRECTORY) {
        result = remove_in(inner, end + 1, with_file);
        sys_leave(inner);
    }
    if (result == 0 && sys_remove_directory_in(directory, name) != 0 && errno != ENOENT)
        result = -1;
    *end = separator;
    return result;
}

/* More than any system takes for a path: it bounds the recursion. */
#define LONGEST_NAME 4096

static void remove_path(char *path, size_t root_size, int with_file)
{
    sys_directory root = NO_DIRECTORY;

    if (strlen(path) - root_size <= LONGEST_NAME)
        root = open_root(path, root_size);
    if (root != NO_DIRECTORY) {
        remove_in(root, path + root_size + 1, with_file);
        sys_leave(root);
    }
}

/* ---- Writing -----------------------------------------------------------------------------------
 */

static void forget_writer(dc_valuewriter *writer)
{
    if (writer->path != NULL && writer->directory != NO_DIRECTORY)
        sys_leave(writer->directory);
    free(writer->path);
    free(writer->temporary);
    *writer = (dc_valuewriter){.descriptor = -1, .directory = NO_DIRECTORY};
}

/* The last component of the final name. */
static const char *final_name(const dc_valuewriter *writer)
{
    return writer->path + (writer->name - writer->temporary);
}

/* Create a file, its directories if they are missing, and the root. Its descriptor, or -1 and errno; the
 * directory that it is in, open, and its name there. */
static int create(char *path, size_t root_size, int root_mode, sys_directory *directory,
                  const char **name)
{
    sys_likeness likeness;

    for (int attempt = 1;; attempt++) {
        *directory = enter(path, root_size, &likeness, name);
        if (*directory != NO_DIRECTORY) {
            int descriptor = sys_create_in(*directory, *name, &likeness);

            if (descriptor != -1)
                return descriptor;
            sys_leave(*directory);
            *directory = NO_DIRECTORY;
        }
        if (errno != ENOENT || attempt == DC_CREATE_ATTEMPTS ||
            make_root(path, root_size, root_mode) != 0)
            return -1;
    }
}

dc_status dc_valuewriter_open(dc_valuewriter *writer, const char *directory, int root_mode,
                              const char *name, dc_error *error)
{
    dc_status status = DC_OK;
    int taken;

    *writer = (dc_valuewriter){
        .descriptor = -1, .directory = NO_DIRECTORY, .root_size = strlen(directory)};
    writer->path = join_path(directory, name);
    if (writer->path != NULL)
        writer->temporary = temporary_path(writer->path);
    if (writer->temporary == NULL) {
        status = dc_error_set(error, DC_NO_MEMORY, "no memory for the path of a value file");
        goto done;
    }
    writer->descriptor =
        create(writer->temporary, writer->root_size, root_mode, &writer->directory, &writer->name);
    if (writer->descriptor == -1) {
        status = dc_error_system(error, errno, writer->temporary);
        goto done;
    }
    taken = sys_exists_in(writer->directory, final_name(writer));
    if (taken != 0)
        status = dc_error_system(error, taken > 0 ? EEXIST : errno, writer->path);

done:
    if (status != DC_OK)
        dc_valuewriter_abort(writer);
    return status;
}

dc_status dc_valuewriter_write(dc_valuewriter *writer, const void *data, size_t size,
                               dc_error *error)
{
    const char *rest = data;

    if (writer->path == NULL)
        return dc_error_system(error, EBADF, "value file not open");
    while (size > 0) {
        int64_t count = sys_write(writer->descriptor, rest, size < CHUNK_SIZE ? size : CHUNK_SIZE);

        if (count >= 0) {
            rest += count;
            size -= (size_t)count;
            writer->size += count;
        } else if (errno != EINTR) {
            return dc_error_system(error, errno, writer->temporary);
        }
    }
    return DC_OK;
}

/* Remove the temporary file, if this writer has created it, and the directories left empty: those only if
 * descriptors are left for it. */
static void discard_temporary(dc_valuewriter *writer, int created)
{
    if (created && writer->name != NULL) /* the second for clang-tidy */
        sys_remove_in(writer->directory, writer->name);
    remove_path(writer->temporary, writer->root_size, 0);
}

dc_status dc_valuewriter_commit(dc_valuewriter *writer, dc_error *error)
{
    dc_status status = DC_OK;

    if (writer->path == NULL)
        return dc_error_system(error, EBADF, "value file not open");
    /* A network file system reports at close what it could not write before. */
    if (sys_close(writer->descriptor) != 0)
        status = dc_error_system(error, errno, writer->temporary);
    /* If it is gone, somebody is removing the whole directory: the file is, as if a moment later. */
    else if (sys_rename_in(writer->directory, writer->name, final_name(writer)) != 0 &&
             errno != ENOENT)
        status = dc_error_system(error, errno, writer->path);

    if (status != DC_OK)
        discard_temporary(writer, 1);
    forget_writer(writer);
    return status;
}

void dc_valuewriter_abort(dc_valuewriter *writer)
{
    if (writer->temporary != NULL) {
        /* Without a descriptor the temporary file, if there is one, is another writer's. */
        int created = writer->descriptor != -1;

        if (created)
            sys_close(writer->descriptor);
        discard_temporary(writer, created);
    }
    forget_writer(writer);
}

dc_status dc_valuefile_write_pieces(const char *directory, int root_mode, const char *name,
                                    const dc_piece *pieces, size_t count, dc_error *error)
{
    dc_valuewriter writer;
    dc_status status = dc_valuewriter_open(&writer, directory, root_mode, name, error);

    if (status != DC_OK)
        return status;
    for (size_t i = 0; i < count && status == DC_OK; i++)
        status = dc_valuewriter_write(&writer, pieces[i].data, pieces[i].size, error);
    if (status == DC_OK)
        status = dc_valuewriter_commit(&writer, error);
    else
        dc_valuewriter_abort(&writer);
    return status;
}

dc_status dc_valuefile_write(const char *directory, int root_mode, const char *name,
                             const void *data, size_t size, dc_error *error)
{
    const dc_piece piece = {data, size};

    return dc_valuefile_write_pieces(directory, root_mode, name, &piece, 1, error);
}

dc_status dc_valuefile_create(const char *directory, int root_mode, const char *name,
                              int *descriptor, dc_error *error)
{
    dc_status status = DC_OK;
    sys_directory made;
    const char *last;
    char *path = join_path(directory, name);

    *descriptor = -1;
    if (path == NULL)
        return dc_error_set(error, DC_NO_MEMORY, "no memory for the path of a value file");
    *descriptor = create(path, strlen(directory), root_mode, &made, &last);
    if (*descriptor == -1)
        status = dc_error_system(error, errno, path);
    else
        sys_leave(made);
    free(path);
    return status;
}

/* Whether opening failed because there is no file of that name, and not because of the moment, or of where
 * the cache directory is (ENAMETOOLONG): the row of a missing file may be deleted. */
static int tells_of_no_file(int system_errno)
{
    static const int codes[] = {ENOENT, ENOTDIR, ELOOP, ENXIO, ENODEV};

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (codes[i] == system_errno)
            return 1;
    }
    return 0;
}

/* ---- Syncing -----------------------------------------------------------------------------------
 */

/* Bytes of the directory in a name, with its last separator. */
static size_t directory_size(const char *name)
{
    size_t size = 0;

    for (size_t i = 0; name[i] != '\0'; i++)
        size = sys_is_separator(name[i]) ? i + 1 : size;
    return size;
}

/* Whether two names are of files in the same directory. */
static int are_neighbours(const char *name, const char *other)
{
    size_t size = directory_size(name);

    return size == directory_size(other) && memcmp(name, other, size) == 0;
}

/* Whether `synced` is in the directory of `name`, and still there: then the directory has never been
 * removed since, as it was not empty, and its own name is as certain as it was. */
static int has_synced_neighbour(const char *directory, const char *name, const char *synced)
{
    char *path = synced[0] != '\0' && are_neighbours(name, synced) ? join_path(directory, synced)
                                                                   : NULL;
    int is_there = path != NULL && sys_exists(path) > 0;

    free(path);
    return is_there;
}

/* Sync the directories from that of the file up to the root, or only the first. The path is cut short
 * on the way. -1 and errno. */
static int sync_directories(char *path, size_t root_size, int only_first)
{
    for (size_t i = strlen(path); i-- > root_size;) {
        if (!sys_is_separator(path[i]))
            continue;
        path[i] = '\0';
        if (sys_sync_directory(path) != 0)
            return -1;
        if (only_first)
            break;
    }
    return 0;
}

dc_status dc_valuefile_sync(const char *directory, const char *name, const char *synced,
                            dc_error *error)
{
    size_t root_size = strlen(directory);
    dc_status status = DC_OK;
    sys_directory opened;
    const char *last;
    char *path;
    int descriptor = -1;

    if (!dc_valuefile_is_inside(name, strlen(name)))
        return DC_OK;
    path = local_path(directory, name);
    if (path == NULL)
        return dc_error_set(error, DC_NO_MEMORY, "no memory for the path of a value file");
    opened = enter(path, root_size, NULL, &last);
    if (opened != NO_DIRECTORY) {
        descriptor = sys_open_sync_in(opened, last);
        sys_leave(opened);
    }
    if (descriptor == -1) {
        if (!tells_of_no_file(errno))
            status = dc_error_system(error, errno, path);
        goto done; /* if there is none, it has been removed, or a Disk keeps its values elsewhere */
    }
    if (sys_sync(descriptor) != 0)
        status = dc_error_system(error, errno, path);
    sys_close(descriptor);
    if (status == DC_OK &&
        sync_directories(path, root_size, has_synced_neighbour(directory, name, synced)) != 0)
        status = dc_error_system(error, errno, path); /* that of the directory */
done:
    free(path);
    return status;
}

/* ---- Reading and removing ----------------------------------------------------------------------
 */

/* Open a value file to read: in one call if there is no link in the whole path, else from the root, else step by
 * step. */
static int open_to_read(char *path, size_t root_size)
{
    int descriptor = sys_open_read_unlinked(NO_DIRECTORY, path);
    sys_directory directory;
    const char *last;

    if (descriptor == -1 && errno == ELOOP) {
        directory = open_root(path, root_size);
        if (directory == NO_DIRECTORY)
            return -1;
        descriptor = sys_open_read_unlinked(directory, path + root_size + 1);
        sys_leave(directory);
    }
    if (descriptor == -1 && errno == ENOSYS) {
        directory = enter(path, root_size, NULL, &last);
        if (directory == NO_DIRECTORY)
            return -1;
        descriptor = sys_open_read_in(directory, last);
        sys_leave(directory);
    }
    return descriptor;
}

dc_status dc_valuefile_open(const char *directory, const char *name, int *descriptor, int64_t *size,
                            dc_error *error)
{
    dc_status status = DC_OK;
    char *path;

    *descriptor = -1;
    *size = 0;
    if (!dc_valuefile_is_inside(name, strlen(name))) {
        dc_error_system(error, ENOENT, name);
        return DC_NOT_FOUND;
    }
    path = local_path(directory, name);
    if (path == NULL)
        return dc_error_set(error, DC_NO_MEMORY, "no memory for the path of a value file");

    *descriptor = open_to_read(path, strlen(directory));
    if (*descriptor == -1 || sys_file_size(*descriptor, size) != 0) {
        int absent = tells_of_no_file(errno);

        status = dc_error_system(error, absent ? ENOENT : errno, path);
        if (absent)
            status = DC_NOT_FOUND;
    }

    if (status != DC_OK && *descriptor != -1) {
        dc_valuefile_close(*descriptor);
        *descriptor = -1;
    }
    free(path);
    return status;
}

dc_status dc_valuefile_read(int descriptor, void *buffer, size_t size, dc_error *error)
{
    char *rest = buffer;

    while (size > 0) {
        int64_t count = sys_read(descriptor, rest, size < CHUNK_SIZE ? size : CHUNK_SIZE);

        if (count > 0) {
            rest += count;
            size -= (size_t)count;
        } else if (count == 0) {
            return dc_error_set(error, DC_CORRUPT, "value file ends %" PRIu64 " bytes early",
                                (uint64_t)size);
        } else if (errno != EINTR) {
            return dc_error_system(error, errno, "value file");
        }
    }
    return DC_OK;
}

dc_status dc_valuefile_map(int descriptor, size_t size, void **data, dc_error *error)
{
    return sys_map(descriptor, size, data) == 0 ? DC_OK
                                                : dc_error_system(error, errno, "value file");
}

void dc_valuefile_unmap(void *data, size_t size)
{
    sys_unmap(data, size);
}

int dc_valuefile_set_blocking(int descriptor)
{
    return sys_set_blocking(descriptor);
}

void dc_valuefile_close(int descriptor)
{
    sys_close(descriptor); /* nothing was written: a failure has nothing to tell */
}

void dc_valuefile_remove(const char *directory, const char *name)
{
    char *path;

    if (!dc_valuefile_is_inside(name, strlen(name)))
        return;
    path = local_path(directory, name);
    if (path == NULL)
        return;
    remove_path(path, strlen(directory), 1);
    free(path);
}
