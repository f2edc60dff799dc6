/* sqlite/api.h: the functions of the one SQLite that this process uses, bound at import.
 *
 * Two copies of SQLite in one process that open the same file lose data: POSIX locks belong to the
 * process, so a descriptor closed by either copy drops the other's locks. Therefore nothing here is
 * linked or bundled. The engine calls SQLite through the table `sqlite`, which holds the functions of
 * the very copy that Python's `sqlite3.connect` uses:
 *
 *     sqlite.step(statement)        stands for        sqlite3_step(statement)
 *
 * DC_SQLITE_FUNCTIONS declares the table once: return type, name without the "sqlite3_", parameters.
 * DC_SQLITE_PLACES says of each where it stands in the table that SQLite itself hands to extensions.
 * Where SQLite's headers happen to be installed at build time, sqlite/api.c checks every line of both
 * against them.
 *
 * The table belongs to the process, as SQLite itself does; it is written once, under the import lock,
 * and only read afterwards. This file fills candidates for it; which is the right one, and that it is,
 * is the binding's to find out (connection.c).
 */
#ifndef DC_SQLITE_API_H
#define DC_SQLITE_API_H

#include <stdint.h>

#include "base/status.h"

#if defined(_MSC_VER)
#define DC_THREAD_LOCAL __declspec(thread)
#else
#define DC_THREAD_LOCAL _Thread_local
#endif

typedef struct sqlite3 sqlite3;
typedef struct sqlite3_stmt sqlite3_stmt;
typedef struct sqlite3_context sqlite3_context;
typedef struct sqlite3_value sqlite3_value;
typedef struct sqlite3_file sqlite3_file;
typedef struct sqlite3_mutex sqlite3_mutex;

typedef long long int dc_int64;           /* sqlite3_int64 */
typedef unsigned long long int dc_uint64; /* sqlite3_uint64 */

/* What sqlite3_bind_text and sqlite3_bind_blob take: NULL means "stays valid until reset". */
typedef void (*dc_destructor)(void *);

/* clang-format off */
#define DC_SQLITE_FUNCTIONS(X)                                                                     \
    X(void *,         aggregate_context,    (sqlite3_context *, int))                              \
    X(int,            auto_extension,       (void (*)(void)))                                      \
    X(int,            bind_blob64,          (sqlite3_stmt *, int, const void *, dc_uint64,       \
                                             dc_destructor))                                       \
    X(int,            bind_double,          (sqlite3_stmt *, int, double))                         \
    X(int,            bind_int64,           (sqlite3_stmt *, int, dc_int64))                     \
    X(int,            bind_null,            (sqlite3_stmt *, int))                                 \
    X(int,            bind_text64,          (sqlite3_stmt *, int, const char *, dc_uint64,       \
                                             dc_destructor, unsigned char))                        \
    X(int,            busy_timeout,         (sqlite3 *, int))                                      \
    X(int,            cancel_auto_extension, (void (*)(void)))                                     \
    X(int,            changes,              (sqlite3 *))                                           \
    X(const void *,   column_blob,          (sqlite3_stmt *, int))                                 \
    X(int,            column_bytes,         (sqlite3_stmt *, int))                                 \
    X(int,            column_count,         (sqlite3_stmt *))                                      \
    X(double,         column_double,        (sqlite3_stmt *, int))                                 \
    X(dc_int64,     column_int64,         (sqlite3_stmt *, int))                                 \
    X(const unsigned char *, column_text,   (sqlite3_stmt *, int))                                 \
    X(int,            column_type,          (sqlite3_stmt *, int))                                 \
    X(sqlite3 *,      context_db_handle,    (sqlite3_context *))                                   \
    X(int,            create_function_v2,   (sqlite3 *, const char *, int, int, void *,            \
                                             void (*)(sqlite3_context *, int, sqlite3_value **),   \
                                             void (*)(sqlite3_context *, int, sqlite3_value **),   \
                                             void (*)(sqlite3_context *), void (*)(void *)))       \
    X(int,            db_config,            (sqlite3 *, int, ...))                                 \
    X(sqlite3_mutex *, db_mutex,            (sqlite3 *))                                           \
    X(int,            db_readonly,          (sqlite3 *, const char *))                             \
    X(const char *,   errmsg,               (sqlite3 *))                                           \
    X(const char *,   errstr,               (int))                                                 \
    X(int,            extended_errcode,     (sqlite3 *))                                           \
    X(int,            file_control,         (sqlite3 *, const char *, int, void *))                \
    X(int,            finalize,             (sqlite3_stmt *))                                      \
    X(int,            get_autocommit,       (sqlite3 *))                                           \
    X(dc_int64,     last_insert_rowid,    (sqlite3 *))                                           \
    X(const char *,   libversion,           (void))                                                \
    X(int,            libversion_number,    (void))                                                \
    X(sqlite3_mutex *, mutex_alloc,         (int))                                                 \
    X(void,           mutex_leave,          (sqlite3_mutex *))                                     \
    X(int,            mutex_try,            (sqlite3_mutex *))                                     \
    X(sqlite3_stmt *, next_stmt,            (sqlite3 *, sqlite3_stmt *))                           \
    X(int,            prepare_v3,           (sqlite3 *, const char *, int, unsigned int,           \
                                             sqlite3_stmt **, const char **))                      \
    X(int,            reset,                (sqlite3_stmt *))                                      \
    X(void,           result_int,           (sqlite3_context *, int))                              \
    X(void,           result_int64,         (sqlite3_context *, dc_int64))                         \
    X(int,            step,                 (sqlite3_stmt *))                                      \
    X(int,            stmt_busy,            (sqlite3_stmt *))                                      \
    X(int,            threadsafe,           (void))                                                \
    X(int,            txn_state,            (sqlite3 *, const char *))                             \
    X(void *,         update_hook,          (sqlite3 *, void (*)(void *, int, const char *,        \
                                             const char *, dc_int64), void *))                     \
    X(const void *,   value_blob,           (sqlite3_value *))                                     \
    X(int,            value_bytes,          (sqlite3_value *))                                     \
    X(double,         value_double,         (sqlite3_value *))                                     \
    X(dc_int64,       value_int64,          (sqlite3_value *))                                     \
    X(int,            value_type,           (sqlite3_value *))                                     \
    X(int,            wal_autocheckpoint,   (sqlite3 *, int))                                      \
    X(int,            wal_checkpoint_v2,    (sqlite3 *, const char *, int, int *, int *))          \
    X(void *,         wal_hook,             (sqlite3 *, int (*)(void *, sqlite3 *, const char *,   \
                                             int), void *))

/* Where each stands in the table that SQLite hands to an extension (struct sqlite3_api_routines, which
 * only ever grows at its end). Version 3.35, the oldest that will do, has DC_SQLITE_ROUTINES of them. */
#define DC_SQLITE_PLACES(P)                                                                        \
    P(aggregate_context, 0) P(auto_extension, 192) P(bind_blob64, 193) P(bind_double, 3)           \
    P(bind_int64, 5) P(bind_null, 6) P(bind_text64, 194) P(busy_timeout, 14)                       \
    P(cancel_auto_extension, 195) P(changes, 15) P(column_blob, 19) P(column_bytes, 20)            \
    P(column_count, 22) P(column_double, 27) P(column_int64, 29) P(column_text, 36)                \
    P(column_type, 38) P(context_db_handle, 149) P(create_function_v2, 162) P(db_config, 163)      \
    P(db_mutex, 164) P(db_readonly, 181) P(errmsg, 53) P(errstr, 183) P(extended_errcode, 166)     \
    P(file_control, 127) P(finalize, 57) P(get_autocommit, 60) P(last_insert_rowid, 65)            \
    P(libversion, 66) P(libversion_number, 67) P(mutex_alloc, 130) P(mutex_leave, 133)             \
    P(mutex_try, 134) P(next_stmt, 152) P(prepare_v3, 217) P(reset, 77) P(result_int, 82)          \
    P(result_int64, 83) P(step, 94) P(stmt_busy, 184) P(threadsafe, 144) P(txn_state, 252)         \
    P(update_hook, 100) P(value_blob, 102) P(value_bytes, 103) P(value_double, 105)                \
    P(value_int64, 107) P(value_type, 113) P(wal_autocheckpoint, 173) P(wal_checkpoint_v2, 191)    \
    P(wal_hook, 175)
/* clang-format on */

struct dc_sqlite_api {
#define DC_DECLARE(return_type, name, parameters) return_type(*name) parameters;
    DC_SQLITE_FUNCTIONS(DC_DECLARE)
#undef DC_DECLARE
};

extern struct dc_sqlite_api sqlite;

/* Result codes, flags and operations used here; their values are fixed by SQLite's file-format and
 * interface promises. */
enum {
    DC_SQLITE_OK = 0,
    DC_SQLITE_ERROR = 1,
    DC_SQLITE_BUSY = 5,
    DC_SQLITE_LOCKED = 6,
    DC_SQLITE_NOMEM = 7,
    DC_SQLITE_READONLY = 8,
    DC_SQLITE_CORRUPT = 11,
    DC_SQLITE_CANTOPEN = 14,
    DC_SQLITE_CONSTRAINT = 19,
    DC_SQLITE_SCHEMA = 17,
    DC_SQLITE_MISUSE = 21,
    DC_SQLITE_NOTADB = 26,
    DC_SQLITE_ROW = 100,
    DC_SQLITE_DONE = 101,
    DC_SQLITE_BUSY_SNAPSHOT = 5 | 2 << 8,
    DC_SQLITE_INTEGER = 1,
    DC_SQLITE_FLOAT = 2,
    DC_SQLITE_TEXT = 3,
    DC_SQLITE_BLOB = 4,
    DC_SQLITE_NULL = 5,
    DC_SQLITE_UTF8 = 1,
    DC_SQLITE_DIRECTONLY = 0x80000,
    DC_SQLITE_PREPARE_PERSISTENT = 0x1,
    DC_SQLITE_CHECKPOINT_PASSIVE = 0,
    DC_SQLITE_DBCONFIG_ENABLE_TRIGGER = 1003,
    DC_SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE = 1006,
    DC_SQLITE_DBCONFIG_DQS_DML = 1013,
    DC_SQLITE_FCNTL_FILE_POINTER = 7,
    DC_SQLITE_FCNTL_HAS_MOVED = 20,
    DC_SQLITE_FCNTL_VFS_POINTER = 27,
    DC_SQLITE_FCNTL_JOURNAL_POINTER = 28,
    DC_SQLITE_FCNTL_DATA_VERSION = 35,
    DC_SQLITE_TXN_WRITE = 2,
    DC_SQLITE_MUTEX_STATIC_MAIN = 2,
    DC_SQLITE_MUTEX_STATIC_MEM = 3,
    DC_SQLITE_MUTEX_STATIC_OPEN = 4,
    DC_SQLITE_MUTEX_STATIC_PRNG = 5,
    DC_SQLITE_MUTEX_STATIC_LRU = 6,
    DC_SQLITE_MUTEX_STATIC_PMEM = 7,
    DC_SQLITE_MUTEX_STATIC_VFS1 = 11,
    DC_SQLITE_MUTEX_STATIC_VFS2 = 12,
    DC_SQLITE_MUTEX_STATIC_VFS3 = 13,
    DC_SQLITE_LOCK_NONE = 0,
    DC_SQLITE_SHM_UNLOCK = 1,
    DC_SQLITE_SHM_LOCK = 2,
    DC_SQLITE_SHM_SHARED = 4,
    DC_SQLITE_SHM_EXCLUSIVE = 8,
    DC_SQLITE_SHM_NLOCK = 8
};

/* An open file of SQLite and its methods: the public interface between SQLite and its VFS, as far as
 * it is used here. Members not used keep their place as plain pointers. */
typedef struct dc_io_methods {
    int version;
    void *close;
    int (*read)(sqlite3_file *, void *, int amount, dc_int64 offset);
    int (*write)(sqlite3_file *, const void *, int amount, dc_int64 offset);
    int (*truncate)(sqlite3_file *, dc_int64 size);
    int (*sync)(sqlite3_file *, int flags);
    int (*file_size)(sqlite3_file *, dc_int64 *size);
    void *lock;
    int (*unlock)(sqlite3_file *, int lock);
    void *check_reserved_lock;
    int (*file_control)(sqlite3_file *, int operation, void *argument);
    void *sector_size, *device_characteristics;
    /* from version 2 on */
    int (*shm_map)(sqlite3_file *, int region, int size, int extend, void volatile **);
    int (*shm_lock)(sqlite3_file *, int offset, int count, int flags);
    void (*shm_barrier)(sqlite3_file *);
    int (*shm_unmap)(sqlite3_file *, int delete_it);
    /* from version 3 on */
    int (*fetch)(sqlite3_file *, dc_int64 offset, int amount, void **page);
    int (*unfetch)(sqlite3_file *, dc_int64 offset, void *page);
} dc_io_methods;

struct sqlite3_file {
    const dc_io_methods *methods;
};

/* A VFS, as far as it is used here. */
typedef struct dc_sqlite_vfs {
    int version, file_size, path_size;
    struct dc_sqlite_vfs *next;
    const char *name;
} dc_sqlite_vfs;

#define DC_SQLITE_MINIMUM_VERSION 3035000
#define DC_SQLITE_ROUTINES        253

/* Each of these fills `api` with the functions of one copy of SQLite. DC_SQLITE, with one clear sentence,
 * if a function is missing, SQLite is older than 3.35, or it is not threadsafe; then `api` is of no
 * use. */

/* From the table that SQLite hands to an extension. */
dc_status dc_sqlite_from_routines(struct dc_sqlite_api *api, const void *routines, dc_error *error);

/* Where functions can be looked up by name. Nothing is loaded for it: a copy in use is there already.
 * The global scope is first, as for the dynamic linker: a copy that is preloaded takes calls of the one
 * behind it, which it calls itself, and which then crashes for want of being initialized. */
typedef enum dc_sqlite_place {
    DC_SQLITE_GLOBAL, /* the global scope: an interpreter that carries SQLite inside, LD_PRELOAD */
    DC_SQLITE_OF_MODULE, /* the library that has a given function, and what that is linked with */
    DC_SQLITE_PLATFORM,  /* the platform's own library */
    DC_SQLITE_PLACES_COUNT
} dc_sqlite_place;

typedef void (*dc_function)(void);

/* All functions come from one and the same place. `code`: for DC_SQLITE_OF_MODULE, any function of the
 * module. DC_NOT_FOUND if there is no SQLite. */
dc_status dc_sqlite_from_place(struct dc_sqlite_api *api, dc_sqlite_place place, dc_function code,
                               dc_error *error);

#endif
