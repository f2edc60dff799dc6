/* sqlite_api.c: finding the process's SQLite; see sqlite_api.h for the why.
 *
 * Three places are tried, and the first that knows sqlite3_libversion_number must know all the rest:
 *   1. the handle of the interpreter's own `_sqlite3` extension: dlsym() on it also searches the
 *      libraries it was linked with, so this finds the shared libsqlite3 as well as a copy linked
 *      statically into `_sqlite3`;
 *   2. the global scope, for an interpreter that carries SQLite inside;
 *   3. the platform's shared library by name.
 */
#include "sqlite_api.h"

#include <stddef.h>

#ifdef _WIN32
#include "windows_api.h"
#else
#include <dlfcn.h>
#endif

#if defined(__has_include) && !defined(DC_WITHOUT_SQLITE_HEADER)
#if __has_include(<sqlite3.h>)
#define DC_CHECK_AGAINST_HEADER 1
#endif
#endif

struct dc_sqlite_api sqlite;

#ifdef DC_CHECK_AGAINST_HEADER
/* The header declares the same opaque structures, so a wrong line in the table does not compile.
 * Its struct sqlite3_file clashes with ours by content only, hence the other name. */
#define sqlite3_file dc_header_sqlite3_file
#include <sqlite3.h>
#undef sqlite3_file
#define DC_CHECK(return_type, name, parameters)                                                    \
    _Static_assert(_Generic(&sqlite3_##name, return_type(*) parameters : 1, default : 0),          \
                   "the declaration of " #name " differs from sqlite3.h");
DC_SQLITE_FUNCTIONS(DC_CHECK)
_Static_assert(SQLITE_DBCONFIG_DQS_DML == DC_SQLITE_DBCONFIG_DQS_DML, "sqlite3.h");
_Static_assert(SQLITE_FCNTL_FILE_POINTER == DC_SQLITE_FCNTL_FILE_POINTER, "sqlite3.h");
_Static_assert(SQLITE_FCNTL_DATA_VERSION == DC_SQLITE_FCNTL_DATA_VERSION, "sqlite3.h");
_Static_assert(offsetof(sqlite3_io_methods, xUnlock) == offsetof(dc_io_methods, unlock),
               "sqlite3.h");
_Static_assert(offsetof(sqlite3_io_methods, xShmLock) == offsetof(dc_io_methods, shm_lock),
               "sqlite3.h");
_Static_assert(offsetof(sqlite3_io_methods, xShmUnmap) == offsetof(dc_io_methods, shm_unmap),
               "sqlite3.h");
#endif

typedef void (*dc_function)(void);

#ifdef _WIN32

#define DC_PLATFORM_LIBRARY "sqlite3.dll"

typedef HMODULE dc_library;

static dc_library library_open(const char *path)
{
    return path != NULL ? LoadLibraryExA(path, NULL, LOAD_WITH_ALTERED_SEARCH_PATH)
                        : GetModuleHandleA(NULL);
}

static dc_function library_find(dc_library library, const char *name)
{
    return (dc_function)GetProcAddress(library, name);
}

/* On Windows a module does not export what it imports: ask the DLL that `_sqlite3.pyd` loaded. */
static dc_library library_of_module(const char *path)
{
    (void)path;
    return GetModuleHandleA(DC_PLATFORM_LIBRARY);
}

#else

#ifdef __APPLE__
#define DC_PLATFORM_LIBRARY "libsqlite3.dylib"
#else
#define DC_PLATFORM_LIBRARY "libsqlite3.so.0"
#endif

typedef void *dc_library;

/* The handle stays open for the life of the process, as the functions do. */
static dc_library library_open(const char *path)
{
    return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

static dc_function library_find(dc_library library, const char *name)
{
    union {
        void *object;
        dc_function function;
    } symbol; /* POSIX promises that the two have one representation; ISO C lacks the cast */

    symbol.object = dlsym(library, name);
    return symbol.function;
}

static dc_library library_of_module(const char *path)
{
    return path != NULL ? library_open(path) : NULL;
}

#endif

/* Look every function up in `library`; return the name of the first that is missing, or NULL. */
static const char *bind_all(dc_library library)
{
#define DC_BIND(return_type, name, parameters)                                                     \
    sqlite.name = (return_type(*) parameters)library_find(library, "sqlite3_" #name);              \
    if (sqlite.name == NULL) {                                                                     \
        missing = missing != NULL ? missing : "sqlite3_" #name;                                    \
    }
    const char *missing = NULL;

    DC_SQLITE_FUNCTIONS(DC_BIND)
    return missing;
#undef DC_BIND
}

dc_status dc_sqlite_bind(const char *module_path, dc_error *error)
{
    dc_library candidates[] = {library_of_module(module_path), library_open(NULL),
                               library_open(DC_PLATFORM_LIBRARY)};
    const char *missing;
    size_t i;

    for (i = 0; i < sizeof candidates / sizeof candidates[0]; i++) {
        if (candidates[i] != NULL &&
            library_find(candidates[i], "sqlite3_libversion_number") != NULL) {
            break;
        }
    }
    if (i == sizeof candidates / sizeof candidates[0]) {
        return dc_error_set(error, DC_SQLITE,
                            "diskcache cannot find the SQLite library that Python's sqlite3 uses");
    }
    missing = bind_all(candidates[i]);
    if (sqlite.libversion_number() < DC_SQLITE_MINIMUM_VERSION) {
        return dc_error_set(error, DC_SQLITE,
                            "diskcache needs SQLite 3.35 or newer, and Python's sqlite3 uses %s",
                            sqlite.libversion != NULL ? sqlite.libversion() : "an older one");
    }
    if (missing != NULL) {
        return dc_error_set(error, DC_SQLITE,
                            "diskcache needs the function %s, which Python's SQLite lacks",
                            missing);
    }
    if (!sqlite.threadsafe()) {
        return dc_error_set(error, DC_SQLITE,
                            "diskcache needs a threadsafe SQLite, and Python's sqlite3 uses one "
                            "built with SQLITE_THREADSAFE=0");
    }
    return DC_OK;
}
