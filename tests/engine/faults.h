/* faults.h: calls that fail, one after the other.
 *
 * There are five kinds of calls: the engine's to SQLite, to the C library and for memory, and SQLite's own to
 * its files and for memory. faults_arm says which call of a kind fails, and how; everything else goes
 * on as usual. faults_disarm ends it.
 *
 *     engine -> SQLite      the functions of the table `sqlite`, replaced
 *     engine -> C library   the Makefile links the program with --wrap for each function
 *     engine -> memory      the same
 *     SQLite -> files       a VFS in the place of SQLite's own, with its name
 *     SQLite -> memory      sqlite3_config
 *
 * A program calls faults_install before anything else calls SQLite. One thread only.
 */
#ifndef DC_FAULTS_H
#define DC_FAULTS_H

#include "database.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>

typedef enum fault_kind {
    FAULT_SQLITE,
    FAULT_LIBC,
    FAULT_MEMORY,
    FAULT_SQLITE_FILES,
    FAULT_SQLITE_MEMORY,
    FAULT_KINDS
} fault_kind;

static const char *const fault_kinds[FAULT_KINDS] DATABASE_UNUSED = {
    "SQLite", "the C library", "memory", "SQLite's files", "SQLite's memory"};

static struct {
    int armed;
    fault_kind kind;
    int at;      /* which call of the kind fails, from 1 */
    int lasting; /* those behind it, too */
    int variant; /* with which error; those with less begin again */
    int errors;  /* how many those that have failed could choose from: one for memory */
    int calls;   /* of the kind, so far */
    int failed;
    const char *name; /* of the first that has failed */
} fault;

static inline void faults_arm(fault_kind kind, int at, int lasting, int variant)
{
    memset(&fault, 0, sizeof fault);
    fault.kind = kind;
    fault.at = at;
    fault.lasting = lasting;
    fault.variant = variant;
    fault.errors = 1;
    fault.armed = 1;
}

static inline void faults_disarm(void)
{
    fault.armed = 0;
}

/* Whether this call is to fail. */
static inline int fault_strikes(fault_kind kind, const char *name)
{
    if (!fault.armed || fault.kind != kind) {
        return 0;
    }
    fault.calls++;
    if (fault.calls < fault.at || (fault.calls > fault.at && !fault.lasting)) {
        return 0;
    }
    if (fault.failed++ == 0) {
        fault.name = name;
    }
    return 1;
}

static inline int fault_choose(const int *errors, int count)
{
    if (fault.errors < count) {
        fault.errors = count;
    }
    return errors[fault.variant % count];
}

/* The error with which a call fails that can fail with these. */
#define FAULT_ERROR(...)                                                                           \
    fault_choose((const int[]){__VA_ARGS__},                                                       \
                 (int)(sizeof((const int[]){__VA_ARGS__}) / sizeof(int)))

/* ---- The engine's memory -------------------------------------------------------------------- */

void *__real_malloc(size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *memory, size_t size);

void *__wrap_malloc(size_t size)
{
    return fault_strikes(FAULT_MEMORY, "malloc") ? NULL : __real_malloc(size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fault_strikes(FAULT_MEMORY, "realloc") ? NULL : __real_realloc(memory, size);
}

/* ---- The C library -------------------------------------------------------------------------- */

/* An interrupted call comes only once: who tries again does so until it is not. */
#define FAULT_LIBC_ERROR(...) (errno = fault.lasting ? EIO : FAULT_ERROR(__VA_ARGS__), -1)

/* Declare a function to be wrapped, and define what takes its place. */
#define FAULT_WRAP(type, name, parameters, arguments, ...)                                         \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fault_strikes(FAULT_LIBC, #name) ? FAULT_LIBC_ERROR(__VA_ARGS__)                    \
                                                : __real_##name arguments;                         \
    }

FAULT_WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode), ENOSPC, EACCES, EIO, EROFS)
FAULT_WRAP(int, getentropy, (void *buffer, size_t size), (buffer, size), EIO, ENOSYS)
FAULT_WRAP(int, fstat64, (int descriptor, struct stat *facts), (descriptor, facts), EIO, ENOMEM)
FAULT_WRAP(int, lstat64, (const char *path, struct stat *facts), (path, facts), EIO, EACCES, ENOMEM)
FAULT_WRAP(int, fsync, (int descriptor), (descriptor), EINTR, EIO, ENOSPC)
FAULT_WRAP(int, fstatat64, (int at, const char *path, struct stat *facts, int flags),
           (at, path, facts, flags), EIO, EACCES, ENOMEM)
FAULT_WRAP(int, mkdirat, (int at, const char *path, mode_t mode), (at, path, mode), ENOSPC, EACCES,
           EIO, EROFS)
FAULT_WRAP(int, unlinkat, (int at, const char *path, int flags), (at, path, flags), EIO, EACCES,
           EROFS)
FAULT_WRAP(int, renameat, (int at, const char *from, int there, const char *to),
           (at, from, there, to), ENOSPC, EIO, EACCES)

void *__real_mmap64(void *at, size_t size, int protection, int flags, int descriptor, off_t offset);
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int descriptor, off_t offset);

void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int descriptor, off_t offset)
{
    if (fault_strikes(FAULT_LIBC, "mmap")) {
        errno = FAULT_ERROR(ENODEV, ENOMEM, EACCES, EAGAIN);
        return MAP_FAILED;
    }
    return __real_mmap64(at, size, protection, flags, descriptor, offset);
}

FAULT_WRAP(int, fchmod, (int descriptor, mode_t mode), (descriptor, mode), EPERM, EROFS, EIO)
FAULT_WRAP(int, fchown, (int descriptor, uid_t owner, gid_t group), (descriptor, owner, group),
           EPERM, EROFS, EIO)

int __real_openat64(int at, const char *path, int flags, ...);
int __wrap_openat64(int at, const char *path, int flags, ...);

int __wrap_openat64(int at, const char *path, int flags, ...)
{
    va_list arguments;
    int mode = 0;

    va_start(arguments, flags);
    if (flags & O_CREAT) {
        mode = va_arg(arguments, int);
    }
    va_end(arguments);
    return fault_strikes(FAULT_LIBC, "open")
               ? FAULT_LIBC_ERROR(EINTR, EMFILE, ENOSPC, EIO, EACCES, ENOMEM)
               : __real_openat64(at, path, flags, mode);
}

FAULT_WRAP(int, open64, (const char *path, int flags, mode_t mode), (path, flags, mode), EINTR,
           EMFILE, ENOSPC, EIO, EACCES, ENOMEM)
FAULT_WRAP(int, stat64, (const char *path, struct stat *facts), (path, facts), EIO, EACCES, ENOMEM)
FAULT_WRAP(int, link, (const char *from, const char *to), (from, to), ENOSPC, EPERM, EIO, EEXIST)
FAULT_WRAP(int, unlink, (const char *path), (path), EIO, EACCES, EROFS)
FAULT_WRAP(ssize_t, pwrite64, (int descriptor, const void *data, size_t size, off_t offset),
           (descriptor, data, size, offset), EINTR, ENOSPC, EIO)

int __real_posix_fallocate64(int descriptor, off_t offset, off_t size);
int __wrap_posix_fallocate64(int descriptor, off_t offset, off_t size);

/* It returns its error. */
int __wrap_posix_fallocate64(int descriptor, off_t offset, off_t size)
{
    if (fault_strikes(FAULT_LIBC, "posix_fallocate")) {
        return FAULT_ERROR(EINTR, ENOSPC, EOPNOTSUPP);
    }
    return __real_posix_fallocate64(descriptor, offset, size);
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

/* Of those that are called by their number: openat2. */
long __wrap_syscall(long number, ...)
{
    va_list arguments;
    long values[4];

    va_start(arguments, number);
    for (int i = 0; i < 4; i++) {
        values[i] = va_arg(arguments, long);
    }
    va_end(arguments);
    return fault_strikes(FAULT_LIBC, "openat2")
               ? FAULT_LIBC_ERROR(EINTR, ENOSYS, EPERM, EMFILE, EIO, EACCES, ENOMEM)
               : __real_syscall(number, values[0], values[1], values[2], values[3]);
}

int __real_close(int descriptor);
int __wrap_close(int descriptor);
ssize_t __real_read(int descriptor, void *buffer, size_t size);
ssize_t __wrap_read(int descriptor, void *buffer, size_t size);
ssize_t __real_write(int descriptor, const void *data, size_t size);
ssize_t __wrap_write(int descriptor, const void *data, size_t size);

int __wrap_close(int descriptor)
{
    int result = __real_close(descriptor);

    return fault_strikes(FAULT_LIBC, "close") ? FAULT_LIBC_ERROR(EINTR, EIO, ENOSPC) : result;
}

/* -2: the call does a part of what it is to do. */
#define FAULT_SHORT (-2)

ssize_t __wrap_read(int descriptor, void *buffer, size_t size)
{
    if (fault_strikes(FAULT_LIBC, "read")) {
        if (FAULT_ERROR(EINTR, EIO, FAULT_SHORT) == FAULT_SHORT && !fault.lasting) {
            return __real_read(descriptor, buffer, size / 2);
        }
        return FAULT_LIBC_ERROR(EINTR, EIO);
    }
    return __real_read(descriptor, buffer, size);
}

ssize_t __wrap_write(int descriptor, const void *data, size_t size)
{
    if (fault_strikes(FAULT_LIBC, "write")) {
        if (FAULT_ERROR(EINTR, ENOSPC, EIO, FAULT_SHORT) == FAULT_SHORT && !fault.lasting) {
            return __real_write(descriptor, data, size / 2);
        }
        return FAULT_LIBC_ERROR(EINTR, ENOSPC, EIO);
    }
    return __real_write(descriptor, data, size);
}

/* ---- SQLite --------------------------------------------------------------------------------- */

/* Result codes that the engine does not name itself. */
enum {
    FAULT_INTERRUPT = 9,
    FAULT_IOERR = 10,
    FAULT_CORRUPT = 11,
    FAULT_NOT_FOUND = 12,
    FAULT_FULL = 13,
    FAULT_TOOBIG = 18
};

static struct dc_sqlite_api fault_real_sqlite;

#define FAULT_REPLACE(name, parameters, arguments, ...)                                            \
    static int fault_##name parameters                                                             \
    {                                                                                              \
        return fault_strikes(FAULT_SQLITE, #name) ? FAULT_ERROR(__VA_ARGS__)                       \
                                                  : fault_real_sqlite.name arguments;              \
    }

FAULT_REPLACE(bind_double, (sqlite3_stmt * s, int i, double v), (s, i, v), DC_SQLITE_NOMEM)
FAULT_REPLACE(bind_int64, (sqlite3_stmt * s, int i, dc_int64 v), (s, i, v), DC_SQLITE_NOMEM)
FAULT_REPLACE(bind_null, (sqlite3_stmt * s, int i), (s, i), DC_SQLITE_NOMEM)
FAULT_REPLACE(bind_blob64, (sqlite3_stmt * s, int i, const void *d, dc_uint64 n, dc_destructor f),
              (s, i, d, n, f), DC_SQLITE_NOMEM, FAULT_TOOBIG)
FAULT_REPLACE(bind_text64,
              (sqlite3_stmt * s, int i, const char *d, dc_uint64 n, dc_destructor f,
               unsigned char e),
              (s, i, d, n, f, e), DC_SQLITE_NOMEM, FAULT_TOOBIG)
FAULT_REPLACE(create_function_v2,
              (sqlite3 * db, const char *name, int count, int encoding, void *data,
               void (*function)(sqlite3_context *, int, sqlite3_value **),
               void (*step)(sqlite3_context *, int, sqlite3_value **),
               void (*final)(sqlite3_context *), void (*destroy)(void *)),
              (db, name, count, encoding, data, function, step, final, destroy), DC_SQLITE_NOMEM,
              DC_SQLITE_BUSY)
FAULT_REPLACE(file_control, (sqlite3 * db, const char *schema, int operation, void *argument),
              (db, schema, operation, argument), FAULT_NOT_FOUND, DC_SQLITE_ERROR)
FAULT_REPLACE(prepare_v3,
              (sqlite3 * db, const char *sql, int size, unsigned int flags, sqlite3_stmt **made,
               const char **rest),
              (db, sql, size, flags, made, rest), DC_SQLITE_NOMEM, FAULT_CORRUPT, DC_SQLITE_BUSY,
              FAULT_IOERR, DC_SQLITE_SCHEMA)
FAULT_REPLACE(step, (sqlite3_stmt * s), (s), FAULT_IOERR, FAULT_FULL, DC_SQLITE_BUSY, FAULT_CORRUPT,
              DC_SQLITE_NOMEM, FAULT_INTERRUPT)
FAULT_REPLACE(wal_checkpoint_v2, (sqlite3 * db, const char *schema, int mode, int *log, int *done),
              (db, schema, mode, log, done), DC_SQLITE_BUSY, FAULT_IOERR, DC_SQLITE_NOMEM,
              DC_SQLITE_LOCKED, FAULT_FULL)

static inline void fault_replace_sqlite(void)
{
    fault_real_sqlite = sqlite;
    sqlite.bind_double = fault_bind_double;
    sqlite.bind_int64 = fault_bind_int64;
    sqlite.bind_null = fault_bind_null;
    sqlite.bind_blob64 = fault_bind_blob64;
    sqlite.bind_text64 = fault_bind_text64;
    sqlite.create_function_v2 = fault_create_function_v2;
    sqlite.file_control = fault_file_control;
    sqlite.prepare_v3 = fault_prepare_v3;
    sqlite.step = fault_step;
    sqlite.wal_checkpoint_v2 = fault_wal_checkpoint_v2;
}

/* ---- SQLite's files ------------------------------------------------------------------------- */

enum {
    FAULT_IOERR_READ = 10 | 1 << 8,
    FAULT_IOERR_WRITE = 10 | 3 << 8,
    FAULT_IOERR_FSYNC = 10 | 4 << 8,
    FAULT_IOERR_TRUNCATE = 10 | 6 << 8,
    FAULT_IOERR_FSTAT = 10 | 7 << 8,
    FAULT_IOERR_UNLOCK = 10 | 8 << 8,
    FAULT_IOERR_DELETE = 10 | 10 << 8,
    FAULT_IOERR_ACCESS = 10 | 13 << 8,
    FAULT_IOERR_LOCK = 10 | 15 << 8,
    FAULT_IOERR_SHMLOCK = 10 | 20 << 8,
    FAULT_IOERR_SHMMAP = 10 | 21 << 8,
    FAULT_WRITES_HALF = -1
};

/* A VFS as SQLite documents it, the functions that are not replaced as plain pointers. */
typedef struct fault_vfs fault_vfs;
struct fault_vfs {
    int version, file_size, path_size;
    fault_vfs *next;
    const char *name;
    void *data;
    int (*open)(fault_vfs *, const char *, sqlite3_file *, int flags, int *given);
    int (*delete)(fault_vfs *, const char *, int sync);
    int (*access)(fault_vfs *, const char *, int flags, int *result);
    void *full_path, *load[4], *randomness;
    int (*sleep)(fault_vfs *, int microseconds);
    void *others[6];
};

static fault_vfs fault_files;
static const fault_vfs *fault_real_files;
static dc_io_methods fault_methods;
static const dc_io_methods
    *fault_real_methods; /* the same for all files that are not for a moment */
static int (*fault_real_lock)(sqlite3_file *, int);

static int fault_file_read(sqlite3_file *file, void *data, int amount, dc_int64 offset)
{
    return fault_strikes(FAULT_SQLITE_FILES, "xRead")
               ? FAULT_ERROR(FAULT_IOERR_READ, DC_SQLITE_NOMEM)
               : fault_real_methods->read(file, data, amount, offset);
}

static int fault_file_write(sqlite3_file *file, const void *data, int amount, dc_int64 offset)
{
    if (fault_strikes(FAULT_SQLITE_FILES, "xWrite")) {
        int error = FAULT_ERROR(FAULT_FULL, FAULT_IOERR_WRITE, FAULT_WRITES_HALF);

        if (error == FAULT_WRITES_HALF) {
            fault_real_methods->write(file, data, amount / 2, offset);
            error = FAULT_FULL;
        }
        return error;
    }
    return fault_real_methods->write(file, data, amount, offset);
}

static int fault_file_truncate(sqlite3_file *file, dc_int64 size)
{
    return fault_strikes(FAULT_SQLITE_FILES, "xTruncate")
               ? FAULT_IOERR_TRUNCATE
               : fault_real_methods->truncate(file, size);
}

/* Of a disk nothing is tested here, so none is waited for. */
static int fault_file_sync(sqlite3_file *file, int flags)
{
    (void)file;
    (void)flags;
    return fault_strikes(FAULT_SQLITE_FILES, "xSync") ? FAULT_IOERR_FSYNC : DC_SQLITE_OK;
}

static int fault_file_size(sqlite3_file *file, dc_int64 *size)
{
    return fault_strikes(FAULT_SQLITE_FILES, "xFileSize")
               ? FAULT_IOERR_FSTAT
               : fault_real_methods->file_size(file, size);
}

static int fault_file_lock(sqlite3_file *file, int lock)
{
    return fault_strikes(FAULT_SQLITE_FILES, "xLock")
               ? FAULT_ERROR(DC_SQLITE_BUSY, FAULT_IOERR_LOCK)
               : fault_real_lock(file, lock);
}

/* A lock that is not given back would be SQLite's business for good. */
static int fault_file_unlock(sqlite3_file *file, int lock)
{
    int result = fault_real_methods->unlock(file, lock);

    return fault_strikes(FAULT_SQLITE_FILES, "xUnlock") ? FAULT_IOERR_UNLOCK : result;
}

static int fault_file_shm_map(sqlite3_file *file, int region, int size, int extend,
                              void volatile **mapped)
{
    if (fault_strikes(FAULT_SQLITE_FILES, "xShmMap")) {
        *mapped = NULL;
        return FAULT_ERROR(FAULT_IOERR_SHMMAP, DC_SQLITE_NOMEM, DC_SQLITE_CANTOPEN);
    }
    return fault_real_methods->shm_map(file, region, size, extend, mapped);
}

static int fault_file_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return (flags & DC_SQLITE_SHM_LOCK) != 0 && fault_strikes(FAULT_SQLITE_FILES, "xShmLock")
               ? FAULT_ERROR(DC_SQLITE_BUSY, FAULT_IOERR_SHMLOCK)
               : fault_real_methods->shm_lock(file, offset, count, flags);
}

static void fault_replace_methods(const dc_io_methods *methods)
{
    fault_real_methods = methods;
    fault_methods = *methods;
    fault_methods.read = fault_file_read;
    fault_methods.write = fault_file_write;
    fault_methods.truncate = fault_file_truncate;
    fault_methods.sync = fault_file_sync;
    fault_methods.file_size = fault_file_size;
    fault_real_lock = (int (*)(sqlite3_file *, int))(uintptr_t)methods->lock;
    fault_methods.lock = (void *)(uintptr_t)fault_file_lock;
    fault_methods.unlock = fault_file_unlock;
    fault_methods.shm_map = fault_file_shm_map;
    fault_methods.shm_lock = fault_file_shm_lock;
}

static int fault_open(fault_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *given)
{
    int result;

    file->methods = NULL;
    if (fault_strikes(FAULT_SQLITE_FILES, "xOpen")) {
        return FAULT_ERROR(DC_SQLITE_CANTOPEN, DC_SQLITE_NOMEM);
    }
    result = fault_real_files->open(vfs, path, file, flags, given);
    if (file->methods != NULL && file->methods->version == DC_IO_VERSION) {
        if (fault_real_methods == NULL) {
            fault_replace_methods(file->methods);
        }
        if (file->methods == fault_real_methods) {
            file->methods = &fault_methods;
        }
    }
    return result;
}

static int fault_delete(fault_vfs *vfs, const char *path, int sync)
{
    return fault_strikes(FAULT_SQLITE_FILES, "xDelete")
               ? FAULT_IOERR_DELETE
               : fault_real_files->delete (vfs, path, sync);
}

static int fault_access(fault_vfs *vfs, const char *path, int flags, int *result)
{
    return fault_strikes(FAULT_SQLITE_FILES, "xAccess")
               ? FAULT_IOERR_ACCESS
               : fault_real_files->access(vfs, path, flags, result);
}

/* SQLite tries again after a pause what others seem to be in the way of. */
static int fault_sleep(fault_vfs *vfs, int microseconds)
{
    (void)vfs;
    return microseconds;
}

/* ---- SQLite's memory ------------------------------------------------------------------------ */

typedef struct fault_mem_methods {
    void *(*malloc)(int);
    void (*free)(void *);
    void *(*realloc)(void *, int);
    int (*size)(void *);
    int (*roundup)(int);
    int (*init)(void *);
    void (*shutdown)(void *);
    void *data;
} fault_mem_methods;

static fault_mem_methods fault_real_memory;

static void *fault_sqlite_malloc(int size)
{
    return fault_strikes(FAULT_SQLITE_MEMORY, "xMalloc") ? NULL : fault_real_memory.malloc(size);
}

static void *fault_sqlite_realloc(void *memory, int size)
{
    return fault_strikes(FAULT_SQLITE_MEMORY, "xRealloc") ? NULL
                                                          : fault_real_memory.realloc(memory, size);
}

/* ---- All of it ------------------------------------------------------------------------------ */

enum { FAULT_CONFIG_MALLOC = 4, FAULT_CONFIG_GETMALLOC = 5, FAULT_CONFIG_LOOKASIDE = 13 };

/* Replace what is to fail; 0 if there is no SQLite. Nobody may have called SQLite before. */
static inline int faults_install(void)
{
    int (*configure)(int, ...);
    fault_vfs *(*find)(const char *);
    int (*enlist)(fault_vfs *, int);
    fault_mem_methods memory;

    if (!database_bind()) {
        return 0;
    }
    *(void **)&configure = dlsym(RTLD_DEFAULT, "sqlite3_config");
    *(void **)&find = dlsym(RTLD_DEFAULT, "sqlite3_vfs_find");
    *(void **)&enlist = dlsym(RTLD_DEFAULT, "sqlite3_vfs_register");
    configure(FAULT_CONFIG_GETMALLOC, &fault_real_memory);
    memory = fault_real_memory;
    memory.malloc = fault_sqlite_malloc;
    memory.realloc = fault_sqlite_realloc;
    configure(FAULT_CONFIG_MALLOC, &memory);
    configure(FAULT_CONFIG_LOOKASIDE, 0, 0); /* memory of its own for what is small */
    fault_real_files = find("unix");
    fault_files = *fault_real_files;
    fault_files.open = fault_open;
    fault_files.delete = fault_delete;
    fault_files.access = fault_access;
    fault_files.sleep = fault_sleep;
    enlist(&fault_files, 1);
    fault_replace_sqlite();
    return 1;
}

#endif
