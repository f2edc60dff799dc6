/* test_sqlite_api.c: finding SQLite, and refusing one that will not do.
 *
 * The Makefile links this program with --wrap for dlopen and dlsym, so that a test can say which
 * libraries there are: the real ones, none, or one made up here.
 */
#include "sqlite_api.h"

#include "check.h"

#include <dlfcn.h>

static dc_error error;

/* ---- Made-up libraries ---------------------------------------------------------------------- */

static enum { REAL_LIBRARIES, NO_LIBRARY, ONLY_THE_PROGRAM, MADE_UP_LIBRARY } libraries;

static struct {
    int version;
    int threadsafe;
    const char *missing[2]; /* names of functions that it lacks, or NULL */
} made_up;

/* Where functions were found since the last bind(). */
static void *found_in;
static int found_in_several;

void *__real_dlopen(const char *path, int flags);
void *__real_dlsym(void *library, const char *name);
void *__wrap_dlopen(const char *path, int flags);
void *__wrap_dlsym(void *library, const char *name);

typedef void (*function)(void);

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

static void *made_up_function(const char *name)
{
    function found = made_up_other;
    void *object;

    for (size_t i = 0; i < sizeof made_up.missing / sizeof *made_up.missing; i++) {
        if (made_up.missing[i] != NULL && strcmp(made_up.missing[i], name) == 0) {
            return NULL;
        }
    }
    if (strcmp(name, "sqlite3_libversion_number") == 0) {
        found = (function)made_up_version;
    } else if (strcmp(name, "sqlite3_libversion") == 0) {
        found = (function)made_up_version_text;
    } else if (strcmp(name, "sqlite3_threadsafe") == 0) {
        found = (function)made_up_threadsafe;
    }
    memcpy(&object, &found, sizeof object);
    return object;
}

void *__wrap_dlopen(const char *path, int flags)
{
    switch (libraries) {
    case NO_LIBRARY:
        return NULL;
    case ONLY_THE_PROGRAM:
        return path == NULL ? __real_dlopen(path, flags) : NULL;
    case MADE_UP_LIBRARY:
        return &made_up;
    default:
        return __real_dlopen(path, flags);
    }
}

void *__wrap_dlsym(void *library, const char *name)
{
    void *found = library == &made_up ? made_up_function(name) : __real_dlsym(library, name);

    if (found != NULL) {
        found_in_several |= found_in != NULL && found_in != library;
        found_in = library;
    }
    return found;
}

static dc_status bind(const char *path)
{
    dc_error_clear(&error);
    memset(&sqlite, 0, sizeof sqlite);
    found_in = NULL;
    found_in_several = 0;
    return dc_sqlite_bind(path, &error);
}

static dc_status bind_made_up(int version, int threadsafe, const char *missing,
                              const char *also_missing)
{
    dc_status status;

    libraries = MADE_UP_LIBRARY;
    made_up.version = version;
    made_up.threadsafe = threadsafe;
    made_up.missing[0] = missing;
    made_up.missing[1] = also_missing;
    status = bind(NULL);
    libraries = REAL_LIBRARIES;
    return status;
}

/* Skip the test if the platform has no SQLite. */
static int platform_has_sqlite(void)
{
    if (bind(NULL) != DC_OK) {
        check_skip("this platform has no SQLite library that will do");
        return 0;
    }
    return 1;
}

/* Every function of the table is there, all from one library, and it works. */
static void check_bound(void)
{
    sqlite3 *handle = NULL;

#define CHECK_FUNCTION(return_type, name, parameters) CHECK(sqlite.name != NULL);
    DC_SQLITE_FUNCTIONS(CHECK_FUNCTION)
#undef CHECK_FUNCTION
    CHECK(!found_in_several);
    CHECK(sqlite.libversion_number() >= DC_SQLITE_MINIMUM_VERSION);
    CHECK(sqlite.threadsafe() != 0);
    CHECK_INT(DC_SQLITE_OK, sqlite.open_v2(":memory:", &handle, DC_SQLITE_OPEN_READWRITE, NULL));
    CHECK(sqlite.get_autocommit(handle));
    CHECK_INT(DC_SQLITE_OK, sqlite.close_v2(handle));
}

/* ---- Finding -------------------------------------------------------------------------------- */

static void without_a_module_the_platforms_library_is_found(void)
{
    if (platform_has_sqlite()) {
        check_bound();
    }
}

static void the_modules_own_library_comes_first(void)
{
    const char *path = getenv("DC_TEST_SQLITE");
    void *library;

    if (!platform_has_sqlite()) {
        return;
    }
    path = path != NULL ? path : "libsqlite3.so.0";
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        check_skip("no library to name; DC_TEST_SQLITE may give one");
        return;
    }
    CHECK_INT(DC_OK, bind(path));
    CHECK(found_in == library);
    check_bound();
    dlclose(library);
}

static void a_module_without_sqlite_is_passed_over(void)
{
    if (platform_has_sqlite()) {
        CHECK_INT(DC_OK, bind("libc.so.6"));
        check_bound();
    }
}

static void a_module_that_cannot_be_loaded_is_passed_over(void)
{
    if (platform_has_sqlite()) {
        CHECK_INT(DC_OK, bind("/there/is/no/_sqlite3.so"));
        check_bound();
    }
}

static void bind_in_the_global_scope(void *unused)
{
    (void)unused;
    if (dlopen("libsqlite3.so.0", RTLD_NOW | RTLD_GLOBAL) == NULL) {
        check_skip("no library to load");
        return;
    }
    libraries = ONLY_THE_PROGRAM;
    CHECK_INT(DC_OK, bind("/there/is/no/_sqlite3.so"));
    check_bound();
}

/* In a child, because a library cannot be taken out of the global scope again. */
static void an_interpreter_that_carries_sqlite_inside_is_enough(void)
{
    int status = check_wait(check_fork(bind_in_the_global_scope, NULL));

    if (status == CHECK_CHILD_SKIPPED) {
        check_skip("this platform has no libsqlite3.so.0");
    } else {
        CHECK_INT(0, status);
    }
}

static void a_second_binding_gives_the_same(void)
{
    struct dc_sqlite_api first;

    if (platform_has_sqlite()) {
        first = sqlite;
        CHECK_INT(DC_OK, bind(NULL));
        CHECK(memcmp(&first, &sqlite, sizeof first) == 0);
    }
}

/* ---- Refusing ------------------------------------------------------------------------------- */

static void without_any_library_one_sentence_says_so(void)
{
    libraries = NO_LIBRARY;
    CHECK_INT(DC_SQLITE, bind("/there/is/no/_sqlite3.so"));
    CHECK_TEXT("diskcache cannot find the SQLite library that Python's sqlite3 uses",
               error.message);
    CHECK_INT(DC_SQLITE, bind(NULL));
    libraries = REAL_LIBRARIES;
}

static void a_program_without_sqlite_is_no_library(void)
{
    libraries = ONLY_THE_PROGRAM;
    CHECK_INT(DC_SQLITE, bind("libc.so.6"));
    CHECK_CONTAINS("cannot find the SQLite library", error.message);
    libraries = REAL_LIBRARIES;
}

static void the_minimum_version_will_do(void)
{
    CHECK_INT(DC_OK, bind_made_up(DC_SQLITE_MINIMUM_VERSION, 1, NULL, NULL));
    CHECK_TEXT("", error.message);
}

static void an_older_version_is_refused_by_name(void)
{
    CHECK_INT(DC_SQLITE, bind_made_up(DC_SQLITE_MINIMUM_VERSION - 1, 1, NULL, NULL));
    CHECK_TEXT("diskcache needs SQLite 3.35 or newer, and Python's sqlite3 uses 3.x of the test",
               error.message);
}

/* A function that is missing because SQLite is old is not the news. */
static void an_older_version_is_refused_before_its_missing_functions(void)
{
    CHECK_INT(DC_SQLITE, bind_made_up(3006000, 1, "sqlite3_close_v2", "sqlite3_libversion"));
    CHECK_TEXT("diskcache needs SQLite 3.35 or newer, and Python's sqlite3 uses an older one",
               error.message);
}

static void a_missing_function_is_named(void)
{
    CHECK_INT(DC_SQLITE, bind_made_up(3040001, 1, "sqlite3_wal_checkpoint_v2", NULL));
    CHECK_TEXT("diskcache needs the function sqlite3_wal_checkpoint_v2, which Python's SQLite "
               "lacks",
               error.message);
}

static void of_several_missing_functions_the_first_is_named(void)
{
    CHECK_INT(DC_SQLITE, bind_made_up(3040001, 1, "sqlite3_wal_hook", "sqlite3_bind_null"));
    CHECK_CONTAINS("the function sqlite3_bind_null,", error.message);
}

static void a_single_threaded_sqlite_is_refused(void)
{
    CHECK_INT(DC_SQLITE, bind_made_up(3040001, 0, NULL, NULL));
    CHECK_TEXT("diskcache needs a threadsafe SQLite, and Python's sqlite3 uses one built with "
               "SQLITE_THREADSAFE=0",
               error.message);
}

int main(int argc, char **argv)
{
    static const check_test tests[] = {
        CHECK_TEST(without_a_module_the_platforms_library_is_found),
        CHECK_TEST(the_modules_own_library_comes_first),
        CHECK_TEST(a_module_without_sqlite_is_passed_over),
        CHECK_TEST(a_module_that_cannot_be_loaded_is_passed_over),
        CHECK_TEST(an_interpreter_that_carries_sqlite_inside_is_enough),
        CHECK_TEST(a_second_binding_gives_the_same),
        CHECK_TEST(without_any_library_one_sentence_says_so),
        CHECK_TEST(a_program_without_sqlite_is_no_library),
        CHECK_TEST(the_minimum_version_will_do),
        CHECK_TEST(an_older_version_is_refused_by_name),
        CHECK_TEST(an_older_version_is_refused_before_its_missing_functions),
        CHECK_TEST(a_missing_function_is_named),
        CHECK_TEST(of_several_missing_functions_the_first_is_named),
        CHECK_TEST(a_single_threaded_sqlite_is_refused),
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
