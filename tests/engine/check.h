/* check.h: what the engine's unit tests are written with.
 *
 * A test is a `static void name_that_says_the_behaviour(void)`. CHECK and its kin record a failure
 * and go on; each is an expression that is true when it held, for `if (!CHECK(...)) return;`. They
 * may be used from several threads. A program lists its tests and hands them to check_main:
 *
 *     int main(int argc, char **argv)
 *     {
 *         static const check_test tests[] = {CHECK_TEST(first), CHECK_TEST(second)};
 *         return check_main(argc, argv, tests, sizeof tests / sizeof *tests);
 *     }
 *
 * One line is printed per test, "ok - name" or "not ok - name", and at the end "N passed, N failed"
 * (a skipped test is neither). An argument runs only the tests whose name contains it. POSIX only,
 * one .c file per program, with _GNU_SOURCE defined.
 */
#ifndef DC_CHECK_H
#define DC_CHECK_H

#include <errno.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct check_test {
    const char *name;
    void (*run)(void);
} check_test;

#define CHECK_TEST(function)                                                                       \
    {                                                                                              \
#function, function                                                                        \
    }

#define CHECK(condition) check_that(!!(condition), #condition, __FILE__, __LINE__)
#define CHECK_INT(expected, actual)                                                                \
    check_int((long long)(expected), (long long)(actual), #actual, __FILE__, __LINE__)
#define CHECK_TEXT(expected, actual) check_text(expected, actual, #actual, __FILE__, __LINE__)
#define CHECK_CONTAINS(part, actual) check_contains(part, actual, #actual, __FILE__, __LINE__)

/* ---- State of the running test -------------------------------------------------------------- */

static atomic_int check_failures;
static const char *check_skip_reason;
static char check_scratch[4096];

/* ---- Conditions ----------------------------------------------------------------------------- */

static inline int check_that(int held, const char *text, const char *file, int line)
{
    if (!held) {
        atomic_fetch_add(&check_failures, 1);
        printf("# %s:%d: not so: %s\n", file, line, text);
    }
    return held;
}

static inline int check_int(long long expected, long long actual, const char *text,
                            const char *file, int line)
{
    if (expected != actual) {
        atomic_fetch_add(&check_failures, 1);
        printf("# %s:%d: %s is %lld, not %lld\n", file, line, text, actual, expected);
    }
    return expected == actual;
}

static inline int check_text(const char *expected, const char *actual, const char *text,
                             const char *file, int line)
{
    int held = actual != NULL && strcmp(expected, actual) == 0;

    if (!held) {
        atomic_fetch_add(&check_failures, 1);
        printf("# %s:%d: %s is \"%s\", not \"%s\"\n", file, line, text,
               actual != NULL ? actual : "(null)", expected);
    }
    return held;
}

static inline int check_contains(const char *part, const char *actual, const char *text,
                                 const char *file, int line)
{
    int held = actual != NULL && strstr(actual, part) != NULL;

    if (!held) {
        atomic_fetch_add(&check_failures, 1);
        printf("# %s:%d: %s is \"%s\", without \"%s\"\n", file, line, text,
               actual != NULL ? actual : "(null)", part);
    }
    return held;
}

/* The running test cannot be run here. Return from it after this. */
static inline void check_skip(const char *reason)
{
    check_skip_reason = reason;
}

/* ---- A directory of the test's own ---------------------------------------------------------- */

static inline void check_fatal(const char *what)
{
    perror(what);
    exit(2);
}

/* An empty directory that is removed, with all that is in it, after the test. */
static inline const char *check_directory(void)
{
    if (check_scratch[0] == '\0') {
        const char *base = getenv("TMPDIR");

        snprintf(check_scratch, sizeof check_scratch, "%s/dc-engine-XXXXXX",
                 base != NULL && base[0] != '\0' ? base : "/tmp");
        if (mkdtemp(check_scratch) == NULL)
            check_fatal(check_scratch);
    }
    return check_scratch;
}

static int check_entry_count;

static inline int check_count_entry(const char *path, const struct stat *facts, int type,
                                    struct FTW *place)
{
    (void)path, (void)facts, (void)type;
    check_entry_count += place->level > 0;
    return 0;
}

static inline int check_remove_entry(const char *path, const struct stat *facts, int type,
                                     struct FTW *place)
{
    (void)facts, (void)place;
    return type == FTW_DP ? rmdir(path) : remove(path);
}

/* How many files and directories there are below a directory. */
static inline int check_entries(const char *directory)
{
    check_entry_count = 0;
    if (nftw(directory, check_count_entry, 16, FTW_PHYS) != 0)
        check_fatal(directory);
    return check_entry_count;
}

static inline void check_remove_directory(void)
{
    if (check_scratch[0] != '\0' &&
        nftw(check_scratch, check_remove_entry, 16, FTW_PHYS | FTW_DEPTH) != 0)
        check_fatal(check_scratch);
    check_scratch[0] = '\0';
}

/* ---- Processes ------------------------------------------------------------------------------ */

#define CHECK_CHILD_SKIPPED 77

/* Run `body` in a child. The child's failures make its exit status 1. */
static inline pid_t check_fork(void (*body)(void *), void *argument)
{
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child == -1)
        check_fatal("fork");
    if (child == 0) {
        atomic_store(&check_failures, 0);
        check_skip_reason = NULL;
        body(argument);
        fflush(stdout);
        _exit(atomic_load(&check_failures) != 0 ? 1
              : check_skip_reason != NULL       ? CHECK_CHILD_SKIPPED
                                                : 0);
    }
    return child;
}

/* The exit status of a child, or 128 + the signal that ended it. */
static inline int check_wait(pid_t child)
{
    int status;

    while (waitpid(child, &status, 0) == -1)
        if (errno != EINTR)
            check_fatal("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- The run -------------------------------------------------------------------------------- */

static inline int check_main(int argc, char **argv, const check_test *tests, size_t count)
{
    int passed = 0;
    int failed = 0;

    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    for (size_t i = 0; i < count; i++) {
        if (argc > 1 && strstr(tests[i].name, argv[1]) == NULL)
            continue;
        atomic_store(&check_failures, 0);
        check_skip_reason = NULL;
        tests[i].run();
        check_remove_directory();
        if (atomic_load(&check_failures) != 0) {
            failed++;
            printf("not ok - %s\n", tests[i].name);
        } else if (check_skip_reason != NULL) {
            printf("ok - %s # SKIP %s\n", tests[i].name, check_skip_reason);
        } else {
            passed++;
            printf("ok - %s\n", tests[i].name);
        }
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}

#endif
