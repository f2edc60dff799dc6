/* test_api.c: the functions of a copy of SQLite: from the table that it hands to extensions, and by
 * their names; and refusing a copy that will not do.
 *
 * The Makefile links this program with --wrap for dlopen and dlsym, so that a test can say which
 * libraries there are: the real ones, none, or one made up here.
 */
#include "sqlite/api.h"

#include "check.h"

#include <dlfcn.h>

static struct dc_sqlite_api api;
static dc_error error;

/* ---- Made-up libraries ---------------------------------------------------------------------- */

static enum { REAL_LIBRARIES, NO_LIBRARY, MADE_UP_LIBRARY } libraries;

static struct {
    int version;
    int threadsafe;
    const char *missing[2]; /* names of functions that it lacks, or NULL */
} made_up;

/* Where functions were found since the last look_up(). */
static void *found_in;
static int found_in_several;

void *__real_dlopen(const char *path, int flags);
void *__real_dlsym(void *library, const char *name);
void *__wrap_dlopen(const char *path, int flags);
void *__wrap_dlsym(void *library, const char *name);

static int made_up_version(void)
{
    return made_up.version;
}

static const char *made_up_version_text(void)
{
    return "3.x of the test";
}

static int made_up_threadsafe(void)
{
    return made_up.threadsafe;
}

static void made_up_other(void)
{
    CHECK(!"called");
}

static dc_function made_up_function(const char *name)
{
    for (size_t i = 0; i < sizeof made_up.missing / sizeof *made_up.missing; i++) {
        if (made_up.missing[i] != NULL && strcmp(made_up.missing[i], name) == 0) {
            return NULL;
        }
    }
    if (strcmp(name, "sqlite3_libversion_number") == 0) {
        return (dc_function)made_up_version;
    }
    if (strcmp(name, "sqlite3_libversion") == 0) {
        return (dc_function)made_up_version_text;
    }
    return strcmp(name, "sqlite3_threadsafe") == 0 ? (dc_function)made_up_threadsafe
                                                   : made_up_other;
}

void *__wrap_dlopen(const char *path, int flags)
{
    switch (libraries) {
    case NO_LIBRARY:
        return NULL;
    case MADE_UP_LIBRARY:
        return &made_up;
    default:
        return __real_dlopen(path, flags);
    }
}

void *__wrap_dlsym(void *library, const char *name)
{
    dc_function function;
    void *found;

    if (library == &made_up) {
        function = made_up_function(name);
        memcpy(&found, &function, sizeof found);
    } else {
        found = __real_dlsym(library, name);
    }
    if (found != NULL) {
        found_in_several |= found_in != NULL && found_in != library;
        found_in = library;
    }
    return found;
}

static dc_status look_up(dc_sqlite_place place, dc_function code)
{
    dc_error_clear(&error);
    memset(&api, 0, sizeof api);
    found_in = NULL;
    found_in_several = 0;
    return dc_sqlite_from_place(&api, place, code, &error);
}

static void make_up(int version, int threadsafe, const char *missing, const char *also_missing)
{
    made_up.version = version;
    made_up.threadsafe = threadsafe;
    made_up.missing[0] = missing;
    made_up.missing[1] = also_missing;
}

static dc_status look_up_made_up(void)
{
    dc_status status;

    libraries = MADE_UP_LIBRARY;
    status = look_up(DC_SQLITE_GLOBAL, NULL);
    libraries = REAL_LIBRARIES;
    return status;
}

/* The same as a table, of which nothing behind the version is there if that is too old. */
static dc_status take_from_made_up_table(void)
{
    static dc_function table[DC_SQLITE_ROUTINES];

    dc_error_clear(&error);
    memset(table, 0, sizeof table);
#define PUT(name, place) table[place] = made_up_function("sqlite3_" #name);
    DC_SQLITE_PLACES(PUT)
#undef PUT
    return dc_sqlite_from_routines(&api, table, &error);
}

/* ---- The platform's library ----------------------------------------------------------------- */

/* Not in the global scope; NULL skips the test. */
static void *platform_library(void)
{
    const char *path = getenv("DC_TEST_SQLITE");
    void *library = __real_dlopen(path != NULL ? path : "libsqlite3.so.0", RTLD_NOW | RTLD_LOCAL);

    if (library == NULL) {
        check_skip("this platform has no SQLite library that will do");
    }
    return library;
}

static dc_function function_in(void *library, const char *name)
{
    void *object = __real_dlsym(library, name);
    dc_function function;

    memcpy(&function, &object, sizeof function);
    return function;
}

/* Every function is there, and they work. */
static void check_api(void)
{
#define CHECK_FUNCTION(return_type, name, parameters) CHECK(api.name != NULL);
    DC_SQLITE_FUNCTIONS(CHECK_FUNCTION)
#undef CHECK_FUNCTION
    CHECK(api.libversion_number() >= DC_SQLITE_MINIMUM_VERSION);
    CHECK(api.threadsafe() != 0);
    CHECK_TEXT("not an error", api.errstr(0));
}

/* ---- From the table for extensions ---------------------------------------------------------- */

static const void *received_routines;

static int receive(sqlite3 *handle, char **message, const void *routines)
{
    (void)handle, (void)message;
    received_routines = routines;
    return DC_SQLITE_OK;
}

/* sqlite3_auto_extension() hands the same table to its callback as sqlite3_load_extension() does. */
static void the_table_for_extensions_has_every_function(void)
{
    void *library = platform_library();
    int (*open)(const char *, sqlite3 **);
    int (*close)(sqlite3 *);
    sqlite3 *handle = NULL;

    if (library == NULL) {
        return;
    }
    open = (int (*)(const char *, sqlite3 **))function_in(library, "sqlite3_open");
    close = (int (*)(sqlite3 *))function_in(library, "sqlite3_close");
    CHECK_INT(DC_OK, look_up(DC_SQLITE_OF_MODULE, (dc_function)open));
    api.auto_extension((dc_function)receive);
    CHECK_INT(DC_SQLITE_OK, open(":memory:", &handle));
    api.cancel_auto_extension((dc_function)receive);
    if (CHECK(received_routines != NULL)) {
        struct dc_sqlite_api by_name = api;

        CHECK_INT(DC_OK, dc_sqlite_from_routines(&api, received_routines, &error));
        check_api();
        CHECK(memcmp(&api, &by_name, sizeof api) == 0);
        CHECK(api.get_autocommit(handle));
    }
    CHECK_INT(DC_SQLITE_OK, close(handle));
}

static void a_table_of_an_old_version_is_not_read_further(void)
{
    make_up(DC_SQLITE_MINIMUM_VERSION - 1, 1, NULL, NULL);
    CHECK_INT(DC_SQLITE, take_from_made_up_table());
    CHECK_TEXT("diskcache needs SQLite 3.35 or newer, and Python's sqlite3 uses 3.x of the test",
               error.message);
}

static void a_gap_in_the_table_is_named(void)
{
    make_up(DC_SQLITE_MINIMUM_VERSION, 1, "sqlite3_wal_hook", "sqlite3_create_function_v2");
    CHECK_INT(DC_SQLITE, take_from_made_up_table());
    CHECK_TEXT("diskcache needs the function sqlite3_create_function_v2, which Python's SQLite "
               "lacks",
               error.message);
}

static void a_table_of_a_single_threaded_sqlite_is_refused(void)
{
    make_up(3040001, 0, NULL, NULL);
    CHECK_INT(DC_SQLITE, take_from_made_up_table());
    CHECK_CONTAINS("needs a threadsafe SQLite", error.message);
    made_up.threadsafe = 1;
    CHECK_INT(DC_OK, take_from_made_up_table());
}

/* ---- By name -------------------------------------------------------------------------------- */

static void the_library_of_a_modules_code_is_found(void)
{
    void *library = platform_library();

    if (library != NULL) {
        CHECK_INT(DC_OK, look_up(DC_SQLITE_OF_MODULE, function_in(library, "sqlite3_open")));
        CHECK(!found_in_several);
        check_api();
    }
}

/* A library that is not in use already cannot be the right one, and a second SQLite in the process is what must
 * not be. */
static void no_library_is_loaded_for_it(void)
{
    CHECK_INT(DC_NOT_FOUND, look_up(DC_SQLITE_PLATFORM, NULL));
    CHECK_INT(DC_NOT_FOUND, look_up(DC_SQLITE_GLOBAL, NULL));
    CHECK(__real_dlopen("libsqlite3.so.0", RTLD_NOW | RTLD_NOLOAD) == NULL);
}

static void a_platforms_library_that_is_loaded_is_found(void)
{
    if (__real_dlopen("libsqlite3.so.0", RTLD_NOW | RTLD_LOCAL) == NULL) {
        check_skip("this platform has no libsqlite3.so.0");
        return;
    }
    CHECK_INT(DC_OK, look_up(DC_SQLITE_PLATFORM, NULL));
    check_api();
}

static void code_without_sqlite_behind_it_finds_nothing(void)
{
    CHECK_INT(DC_NOT_FOUND, look_up(DC_SQLITE_OF_MODULE, (dc_function)getpid));
    CHECK_INT(DC_NOT_FOUND, look_up(DC_SQLITE_OF_MODULE, made_up_other));
    CHECK_INT(DC_NOT_FOUND, look_up(DC_SQLITE_OF_MODULE, NULL));
    libraries = NO_LIBRARY;
    for (int place = 0; place < DC_SQLITE_PLACES_COUNT; place++) {
        CHECK_INT(DC_NOT_FOUND, look_up((dc_sqlite_place)place, (dc_function)getpid));
    }
    libraries = REAL_LIBRARIES;
    CHECK_TEXT("", error.message);
}

static void look_up_in_the_global_scope(void *unused)
{
    (void)unused;
    if (__real_dlopen("libsqlite3.so.0", RTLD_NOW | RTLD_GLOBAL) == NULL) {
        check_skip("no library to load");
        return;
    }
    CHECK_INT(DC_OK, look_up(DC_SQLITE_GLOBAL, NULL));
    check_api();
}

/* In a child, because a library cannot be taken out of the global scope again. */
static void an_interpreter_that_carries_sqlite_inside_is_enough(void)
{
    int status = check_wait(check_fork(look_up_in_the_global_scope, NULL));

    if (status == CHECK_CHILD_SKIPPED) {
        check_skip("this platform has no libsqlite3.so.0");
    } else {
        CHECK_INT(0, status);
    }
}

static void the_minimum_version_will_do(void)
{
    make_up(DC_SQLITE_MINIMUM_VERSION, 1, NULL, NULL);
    CHECK_INT(DC_OK, look_up_made_up());
    CHECK_TEXT("", error.message);
}

static void an_older_version_is_refused_by_name(void)
{
    make_up(DC_SQLITE_MINIMUM_VERSION - 1, 1, NULL, NULL);
    CHECK_INT(DC_SQLITE, look_up_made_up());
    CHECK_TEXT("diskcache needs SQLite 3.35 or newer, and Python's sqlite3 uses 3.x of the test",
               error.message);
}

/* A function that is missing because SQLite is old is not the news. */
static void an_older_version_is_refused_before_its_missing_functions(void)
{
    make_up(3006000, 1, "sqlite3_create_function_v2", "sqlite3_libversion");
    CHECK_INT(DC_SQLITE, look_up_made_up());
    CHECK_TEXT("diskcache needs SQLite 3.35 or newer, and Python's sqlite3 uses an older one",
               error.message);
}

static void a_missing_function_is_named(void)
{
    make_up(3040001, 1, "sqlite3_wal_checkpoint_v2", NULL);
    CHECK_INT(DC_SQLITE, look_up_made_up());
    CHECK_TEXT("diskcache needs the function sqlite3_wal_checkpoint_v2, which Python's SQLite "
               "lacks",
               error.message);
}

static void of_several_missing_functions_the_first_is_named(void)
{
    make_up(3040001, 1, "sqlite3_wal_hook", "sqlite3_bind_null");
    CHECK_INT(DC_SQLITE, look_up_made_up());
    CHECK_CONTAINS("the function sqlite3_bind_null,", error.message);
}

static void a_single_threaded_sqlite_is_refused(void)
{
    make_up(3040001, 0, NULL, NULL);
    CHECK_INT(DC_SQLITE, look_up_made_up());
    CHECK_TEXT("diskcache needs a threadsafe SQLite, and Python's sqlite3 uses one built with "
               "SQLITE_THREADSAFE=0",
               error.message);
}

int main(int argc, char **argv)
{
    static const check_test tests[] = {
        CHECK_TEST(no_library_is_loaded_for_it),
        CHECK_TEST(the_table_for_extensions_has_every_function),
        CHECK_TEST(a_table_of_an_old_version_is_not_read_further),
        CHECK_TEST(a_gap_in_the_table_is_named),
        CHECK_TEST(a_table_of_a_single_threaded_sqlite_is_refused),
        CHECK_TEST(the_library_of_a_modules_code_is_found),
        CHECK_TEST(a_platforms_library_that_is_loaded_is_found),
        CHECK_TEST(code_without_sqlite_behind_it_finds_nothing),
        CHECK_TEST(an_interpreter_that_carries_sqlite_inside_is_enough),
        CHECK_TEST(the_minimum_version_will_do),
        CHECK_TEST(an_older_version_is_refused_by_name),
        CHECK_TEST(an_older_version_is_refused_before_its_missing_functions),
        CHECK_TEST(a_missing_function_is_named),
        CHECK_TEST(of_several_missing_functions_the_first_is_named),
        CHECK_TEST(a_single_threaded_sqlite_is_refused),
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
