/* sqlite/api.c: the functions of a copy of SQLite, from the table that it hands to extensions or by their
 * names; see sqlite/api.h for the why.
 *
 * By name there are three places, of which the caller takes the first with the right copy:
 *   1. the global scope, for an interpreter that carries SQLite inside, and for LD_PRELOAD;
 *   2. the library that has the code of the interpreter's own `_sqlite3`: dlsym() on it also searches the
 *      libraries it was linked with, so this finds the shared libsqlite3 as well as a copy linked
 *      statically into `_sqlite3`;
 *   3. the platform's shared library by name.
 */
#define _GNU_SOURCE /* dladdr, RTLD_NOLOAD */

#include "sqlite/api.h"

#include <stddef.h>
#include <string.h>

#ifdef _WIN32
#include "base/windows_api.h"
#else
#include <dlfcn.h>
#endif

#if defined(__has_include) && !defined(DC_WITHOUT_SQLITE_HEADER)
#if __has_include(<sqlite3.h>) && __has_include(<sqlite3ext.h>)
#define DC_CHECK_AGAINST_HEADER 1
#endif
#endif

struct dc_sqlite_api sqlite;

enum {
#define DC_PLACE(name, place) PLACE_##name = (place),
    DC_SQLITE_PLACES(DC_PLACE)
#undef DC_PLACE
};

#define DC_CHECK(return_type, name, parameters)                                                    \
    _Static_assert(PLACE_##name < DC_SQLITE_ROUTINES, #name " is newer than the oldest SQLite");
DC_SQLITE_FUNCTIONS(DC_CHECK)
#undef DC_CHECK

#ifdef DC_CHECK_AGAINST_HEADER
/* The header declares the same opaque structures, so a wrong line in the table does not compile.
 * Its struct sqlite3_file clashes with ours by content only, hence the other name. */
#define sqlite3_file dc_header_sqlite3_file
#define SQLITE_CORE  1 /* no macros in the place of functions */
#include <sqlite3ext.h>
#undef sqlite3_file
#define DC_CHECK(return_type, name, parameters)                                                    \
    _Static_assert(_Generic(&sqlite3_##name, return_type(*) parameters : 1, default : 0),          \
                   "the declaration of " #name " differs from sqlite3.h");
DC_SQLITE_FUNCTIONS(DC_CHECK)
#undef DC_CHECK
#define threadsafe xthreadsafe /* the only member with another name */
#define DC_CHECK(name, place)                                                                      \
    _Static_assert(offsetof(struct sqlite3_api_routines, name) == (place) * sizeof(dc_function),   \
                   "the place of " #name " differs from sqlite3ext.h");
DC_SQLITE_PLACES(DC_CHECK)
#undef DC_CHECK
#undef threadsafe
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

/* Whether functions that are all there will do. */
static dc_status check_build(const struct dc_sqlite_api *api, dc_error *error)
{
    return api->threadsafe()
               ? DC_OK
               : dc_error_set(error, DC_SQLITE,
                              "diskcache needs a threadsafe SQLite, and Python's sqlite3 uses one "
                              "built with SQLITE_THREADSAFE=0");
}

static dc_status too_old(const char *version, dc_error *error)
{
    return dc_error_set(error, DC_SQLITE,
                        "diskcache needs SQLite 3.35 or newer, and Python's sqlite3 uses %s",
                        version != NULL ? version : "an older one");
}

static dc_status lacks(const char *name, dc_error *error)
{
    return dc_error_set(error, DC_SQLITE,
                        "diskcache needs the function %s, which Python's SQLite lacks", name);
}

/* Take every function from where `FIND(name)` has it; `missing` becomes the name of the first that is not
 * there. */
#define TAKE(return_type, name, parameters)                                                        \
    api->name = (return_type(*) parameters)FIND(name);                                             \
    if (api->name == NULL && missing == NULL) {                                                    \
        missing = "sqlite3_" #name;                                                                \
    }

dc_status dc_sqlite_from_routines(struct dc_sqlite_api *api, const void *routines, dc_error *error)
{
    const dc_function *table = routines;
    const char *missing = NULL;

    /* Before anything that a table of an older version may not have. */
    api->libversion_number = (int (*)(void))table[PLACE_libversion_number];
    if (api->libversion_number() < DC_SQLITE_MINIMUM_VERSION) {
        return too_old(((const char *(*)(void))table[PLACE_libversion])(), error);
    }
#define FIND(name) table[PLACE_##name]
    DC_SQLITE_FUNCTIONS(TAKE)
#undef FIND
    return missing == NULL ? check_build(api, error) : lacks(missing, error);
}

/* --- by name ---------------------------------------------------------------------------------- */

#ifdef _WIN32

typedef HMODULE dc_library;

/* A module does not export what it imports: that is in the DLL that `_sqlite3.pyd` has loaded. */
static dc_library find_library(dc_sqlite_place place, dc_function code)
{
    HMODULE library = NULL;

    if (place == DC_SQLITE_OF_MODULE) {
        GetModuleHandleExA(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS |
                               GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                           (LPCSTR)code, &library);
        return library;
    }
    return GetModuleHandleA(place == DC_SQLITE_PLATFORM ? "sqlite3.dll" : NULL);
}

static dc_function find_function(dc_library library, const char *name)
{
    return (dc_function)GetProcAddress(library, name);
}

#else

#ifdef __APPLE__
#define PLATFORM_LIBRARY "libsqlite3.dylib"
#else
#define PLATFORM_LIBRARY "libsqlite3.so.0"
#endif

typedef void *dc_library;

/* POSIX promises that the two have one representation; ISO C lacks the cast. */
typedef union symbol {
    void *object;
    dc_function function;
} symbol;

/* The handle stays open for the life of the process, as the functions do. */
static dc_library find_library(dc_sqlite_place place, dc_function code)
{
    const symbol address = {.function = code};
    Dl_info information;

    if (place == DC_SQLITE_GLOBAL) {
        return dlopen(NULL, RTLD_NOW | RTLD_LOCAL);
    }
    if (place == DC_SQLITE_PLATFORM) {
        return dlopen(PLATFORM_LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    }
    return dladdr(address.object, &information) != 0 && information.dli_fname != NULL
               ? dlopen(information.dli_fname, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD)
               : NULL;
}

static dc_function find_function(dc_library library, const char *name)
{
    symbol found;

    found.object = dlsym(library, name);
    return found.function;
}

#endif

dc_status dc_sqlite_from_place(struct dc_sqlite_api *api, dc_sqlite_place place, dc_function code,
                               dc_error *error)
{
    dc_library library = find_library(place, code);
    const char *missing = NULL;

    if (library == NULL || find_function(library, "sqlite3_libversion_number") == NULL) {
        return DC_NOT_FOUND;
    }
#define FIND(name) find_function(library, "sqlite3_" #name)
    DC_SQLITE_FUNCTIONS(TAKE)
#undef FIND
    if (api->libversion_number() < DC_SQLITE_MINIMUM_VERSION) {
        return too_old(api->libversion != NULL ? api->libversion() : NULL, error);
    }
    return missing == NULL ? check_build(api, error) : lacks(missing, error);
}
