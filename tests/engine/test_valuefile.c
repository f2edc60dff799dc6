/* test_valuefile.c: names, writing, reading, removing and pruning of value files.
 *
 * Failures are real ones wherever the system can be made to fail (limits, files in the way, a tiny
 * file system in a mount namespace). The rest is injected: the Makefile links this program with
 * --wrap for malloc, write, close, fsync, getentropy and syscall, which lets the functions below stand in for
 * the engine's and this file's calls of them.
 */
#include "engine/valuefile.h"

#include "check.h"

#include <ctype.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#ifdef __linux__
#include <sched.h>
#include <sys/mount.h>
#endif

#define ROOT_MODE 0700

#define DIGITS    "0123456789abcdef0123456789ab"
#define NAME      "12/34/" DIGITS ".val"
#define TEMPORARY "12/34/" DIGITS ".cache.db-tmp"

static dc_error error;

/* ---- Injected faults ------------------------------------------------------------------------ */

typedef struct fault {
    int countdown; /* the call that brings it to 0 fails; 0: no fault */
    int error;
} fault;

static fault malloc_fault;
static fault write_fault;
static fault close_fault;
static fault fsync_fault;
static fault getentropy_fault;
static fault syscall_fault; /* openat2, the one that is called by its number */
static size_t longest_write = SIZE_MAX;

void *__real_malloc(size_t size);
ssize_t __real_write(int descriptor, const void *data, size_t size);
int __real_close(int descriptor);
int __real_fsync(int descriptor);
int __real_getentropy(void *buffer, size_t size);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
void *__wrap_malloc(size_t size);
ssize_t __wrap_write(int descriptor, const void *data, size_t size);
int __wrap_close(int descriptor);
int __wrap_fsync(int descriptor);
int __wrap_getentropy(void *buffer, size_t size);

static int fails(fault *injected)
{
    if (injected->countdown == 0 || --injected->countdown != 0)
        return 0;
    errno = injected->error;
    return 1;
}

void *__wrap_malloc(size_t size)
{
    return fails(&malloc_fault) ? NULL : __real_malloc(size);
}

ssize_t __wrap_write(int descriptor, const void *data, size_t size)
{
    return fails(&write_fault)
               ? -1
               : __real_write(descriptor, data, size < longest_write ? size : longest_write);
}

int __wrap_close(int descriptor)
{
    int result = __real_close(descriptor);

    return fails(&close_fault) ? -1 : result;
}

/* The inodes that have been synced, in order. */
static ino_t synced[16];
static int synced_count;

int __wrap_fsync(int descriptor)
{
    struct stat facts;

    if (fails(&fsync_fault))
        return -1;
    if (fstat(descriptor, &facts) == 0 && synced_count < (int)(sizeof synced / sizeof *synced))
        synced[synced_count++] = facts.st_ino;
    return __real_fsync(descriptor);
}

long __wrap_syscall(long number, ...)
{
    va_list arguments;
    long values[4];

    va_start(arguments, number);
    for (int i = 0; i < 4; i++)
        values[i] = va_arg(arguments, long);
    va_end(arguments);
    return fails(&syscall_fault)
               ? -1
               : __real_syscall(number, values[0], values[1], values[2], values[3]);
}

int __wrap_getentropy(void *buffer, size_t size)
{
    return fails(&getentropy_fault) ? -1 : __real_getentropy(buffer, size);
}

/* ---- What the tests share ------------------------------------------------------------------- */

/* The path of a name in the test's directory, until the next call. */
static const char *path_of(const char *name)
{
    static char path[sizeof check_scratch + 256];

    snprintf(path, sizeof path, "%s/%s", check_directory(), name);
    return path;
}

static int exists(const char *name)
{
    struct stat facts;

    return lstat(path_of(name), &facts) == 0;
}

static void make_directory(const char *name)
{
    if (mkdir(path_of(name), 0777) != 0)
        check_fatal(name);
}

static void make_file(const char *name)
{
    int descriptor = open(path_of(name), O_WRONLY | O_CREAT, 0666);

    if (descriptor == -1)
        check_fatal(name);
    close(descriptor);
}

static int entries(void)
{
    return check_entries(check_directory());
}

static dc_status write_value(const char *name, const void *data, size_t size)
{
    return dc_valuefile_write(check_directory(), ROOT_MODE, name, data, size, &error);
}

/* Bytes that differ from place to place, so that a piece out of order is noticed. Owned. */
static unsigned char *make_value(size_t size)
{
    unsigned char *value = malloc(size + 1);
    uint32_t state = 12345;

    if (value == NULL)
        check_fatal("malloc");
    for (size_t i = 0; i < size; i++) {
        state = state * 1664525U + 1013904223U;
        value[i] = (unsigned char)(state >> 24);
    }
    return value;
}

/* Whether the file holds exactly these bytes. */
static int holds(const char *name, const unsigned char *expected, size_t expected_size)
{
    int descriptor;
    int64_t size;
    unsigned char *read_back;
    int same;

    if (!CHECK_INT(DC_OK, dc_valuefile_open(check_directory(), name, &descriptor, &size, &error)))
        return 0;
    read_back = malloc((size_t)size + 1);
    if (read_back == NULL)
        check_fatal("malloc");
    same = CHECK_INT(expected_size, size) &&
           CHECK_INT(DC_OK, dc_valuefile_read(descriptor, read_back, (size_t)size, &error)) &&
           CHECK(memcmp(expected, read_back, expected_size) == 0);
    dc_valuefile_close(descriptor);
    free(read_back);
    return same;
}

/* The lowest free descriptor: the same before and after means that none was leaked. */
static int next_descriptor(void)
{
    int descriptor = open("/", O_RDONLY);

    close(descriptor);
    return descriptor;
}

static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit = {bytes, RLIM_INFINITY};

    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        check_fatal("setrlimit");
}

/* ---- Names ---------------------------------------------------------------------------------- */

typedef char name_buffer[DC_VALUEFILE_NAME_SIZE];

static int compare_names(const void *left, const void *right)
{
    return strcmp(left, right);
}

/* Sort the names; how many pairs are equal in their first `length` characters. */
static size_t count_equal(name_buffer *names, size_t count, size_t length)
{
    size_t equal = 0;

    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 1; i < count; i++)
        equal += strncmp(names[i - 1], names[i], length) == 0;
    return equal;
}

static name_buffer *allocate_names(size_t count)
{
    name_buffer *names = calloc(count, sizeof *names);

    if (names == NULL)
        check_fatal("calloc");
    return names;
}

static void draw_names(name_buffer *names, size_t count)
{
    dc_error own_error;

    for (size_t i = 0; i < count; i++)
        CHECK_INT(DC_OK, dc_valuefile_name(names[i], &own_error));
}

static void a_name_is_two_directories_and_28_hexadecimal_digits(void)
{
    name_buffer name;

    for (int i = 0; i < 1000; i++) {
        int wrong = 0;

        CHECK_INT(DC_OK, dc_valuefile_name(name, &error));
        CHECK_INT(sizeof name - 1, strlen(name));
        CHECK_TEXT(".val", name + 34);
        for (int place = 0; place < 34; place++) {
            if (place == 2 || place == 5)
                wrong += name[place] != '/';
            else
                wrong += !isxdigit((unsigned char)name[place]) ||
                         isupper((unsigned char)name[place]);
        }
        if (!CHECK_INT(0, wrong))
            return;
    }
}

static void a_directory_gets_64_names_in_a_row(void)
{
    enum { COUNT = 64 * 20 };
    name_buffer *names = allocate_names(COUNT);
    size_t changes = 0;

    draw_names(names, COUNT);
    for (size_t i = 1; i < COUNT; i++)
        changes += strncmp(names[i - 1], names[i], 6) != 0;
    CHECK(changes == 19 || changes == 20); /* the first directory may have been in use already */
    CHECK_INT(0, count_equal(names, COUNT, sizeof *names));
    free(names);
}

#define THREADS          8
#define NAMES_PER_THREAD 2048

static void *draw_names_in_thread(void *names)
{
    draw_names(names, NAMES_PER_THREAD);
    return NULL;
}

static void names_of_many_threads_are_unique_and_fill_directories(void)
{
    enum { COUNT = THREADS * NAMES_PER_THREAD };
    name_buffer *names = allocate_names(COUNT);
    pthread_t threads[THREADS];

    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, draw_names_in_thread, names + i * NAMES_PER_THREAD) !=
            0)
            check_fatal("pthread_create");
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(0, count_equal(names, COUNT, sizeof *names));
    CHECK(COUNT - count_equal(names, COUNT, 6) <= COUNT / 64 + 1); /* directories used */
    free(names);
}

#define NAMES_AFTER_FORK ((size_t)1000)

static void draw_names_into_pipe(void *descriptor)
{
    name_buffer *names = allocate_names(NAMES_AFTER_FORK);
    FILE *stream = fdopen(*(int *)descriptor, "w");

    draw_names(names, NAMES_AFTER_FORK);
    CHECK_INT(NAMES_AFTER_FORK, fwrite(names, sizeof *names, NAMES_AFTER_FORK, stream));
    fclose(stream);
    free(names);
}

static void names_drawn_on_both_sides_of_a_fork_are_unique(void)
{
    name_buffer *names = allocate_names(2 * NAMES_AFTER_FORK);
    int ends[2];
    FILE *stream;
    pid_t child;

    draw_names(names, 1); /* so that a directory is in use when the fork happens */
    if (pipe(ends) != 0)
        check_fatal("pipe");
    child = check_fork(draw_names_into_pipe, &ends[1]);
    close(ends[1]);
    stream = fdopen(ends[0], "r");
    CHECK_INT(NAMES_AFTER_FORK, fread(names, sizeof *names, NAMES_AFTER_FORK, stream));
    fclose(stream);
    CHECK_INT(0, check_wait(child));
    draw_names(names + NAMES_AFTER_FORK, NAMES_AFTER_FORK);
    CHECK_INT(0, count_equal(names, 2 * NAMES_AFTER_FORK, sizeof *names));
    free(names);
}

static void without_getentropy_the_device_gives_the_randomness(void)
{
    name_buffer names[3];

    for (size_t i = 0; i < 3; i++) {
        getentropy_fault = (fault){1, ENOSYS};
        CHECK_INT(DC_OK, dc_valuefile_name(names[i], &error));
    }
    CHECK_INT(0, count_equal(names, 3, sizeof names[0]));
}

static void without_any_randomness_there_is_no_name(void)
{
    struct rlimit saved;
    struct rlimit none;
    name_buffer name;

    getrlimit(RLIMIT_NOFILE, &saved);
    none = (struct rlimit){0, saved.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    getentropy_fault = (fault){1, ENOSYS};
    CHECK_INT(DC_SYSTEM, dc_valuefile_name(name, &error));
    setrlimit(RLIMIT_NOFILE, &saved);
    CHECK_INT(EMFILE, error.system_errno);
    CHECK_TEXT("/dev/urandom", error.message);
}

/* ---- Writing and reading -------------------------------------------------------------------- */

static void what_is_written_is_read_back(void)
{
    static const size_t sizes[] = {0, 1, 32768, 10485760};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *value = make_value(sizes[i]);
        name_buffer name;

        CHECK_INT(DC_OK, dc_valuefile_name(name, &error));
        CHECK_INT(DC_OK, write_value(name, value, sizes[i]));
        holds(name, value, sizes[i]);
        free(value);
    }
}

static void a_value_may_be_written_in_pieces(void)
{
    dc_valuewriter writer = {0};
    unsigned char *value = make_value(1000);

    CHECK_INT(DC_OK, dc_valuewriter_open(&writer, check_directory(), ROOT_MODE, NAME, &error));
    for (size_t i = 0; i < 1000; i += 100)
        CHECK_INT(DC_OK, dc_valuewriter_write(&writer, value + i, 100, &error));
    CHECK_INT(1000, writer.size);
    CHECK_INT(DC_OK, dc_valuewriter_commit(&writer, &error));
    holds(NAME, value, 1000);
    free(value);
}

static void short_and_interrupted_writes_are_continued(void)
{
    unsigned char *value = make_value(1000);

    longest_write = 7;
    write_fault = (fault){50, EINTR};
    CHECK_INT(DC_OK, write_value(NAME, value, 1000));
    longest_write = SIZE_MAX;
    CHECK_INT(0, write_fault.countdown);
    holds(NAME, value, 1000);
    free(value);
}

static void until_the_commit_only_the_temporary_name_is_there(void)
{
    dc_valuewriter writer;

    CHECK_INT(DC_OK, dc_valuewriter_open(&writer, check_directory(), ROOT_MODE, NAME, &error));
    CHECK_INT(DC_OK, dc_valuewriter_write(&writer, "half", 4, &error));
    CHECK(!exists(NAME));
    CHECK(exists(TEMPORARY));
    CHECK_CONTAINS("cache.db", TEMPORARY); /* what the original's check() leaves alone */
    CHECK_INT(DC_OK, dc_valuewriter_commit(&writer, &error));
    CHECK(exists(NAME));
    CHECK(!exists(TEMPORARY));
}

static void has_mode(const char *name, mode_t mode)
{
    struct stat facts;

    CHECK_INT(0, lstat(path_of(name), &facts));
    if (!CHECK_INT((long)mode, facts.st_mode & 07777))
        printf("# of %s\n", name);
}

/* Whatever the umask is: it is of the process, and the directory of those who share it. */
static void what_is_made_is_as_open_to_others_as_the_directory(void)
{
    static const struct {
        mode_t root, file, directory;
    } modes[] = {
        {0700, 0600, 0700},   {0750, 0640, 0750}, {0755, 0644, 0755},  {0770, 0660, 0770},
        {02770, 0660, 02770}, {0777, 0666, 0777}, {01777, 0644, 0755},
    };
    static const mode_t masks[] = {0, 022, 077};

    for (size_t i = 0; i < 3 * (sizeof modes / sizeof *modes); i++) {
        mode_t saved = umask(masks[i % 3]);

        CHECK_INT(0, chmod(check_directory(), modes[i / 3].root));
        CHECK_INT(DC_OK, write_value(NAME, "x", 1));
        umask(saved);
        has_mode(NAME, modes[i / 3].file);
        has_mode("12/34", modes[i / 3].directory);
        has_mode("12", modes[i / 3].directory);
        dc_valuefile_remove(check_directory(), NAME);
        CHECK_INT(0, entries());
    }
    CHECK_INT(0, chmod(check_directory(), 0700));
}

/* As SQLite leaves its log: else the owner could not read, or remove, what root has written. */
static void what_root_makes_belongs_to_the_owner_of_the_directory(void)
{
    struct stat facts;

    if (geteuid() != 0) {
        check_skip("only root can give files away");
        return;
    }
    CHECK_INT(0, chown(check_directory(), 65534, 65533));
    CHECK_INT(DC_OK, write_value(NAME, "x", 1));
    for (int i = 0; i < 3; i++) {
        CHECK_INT(0, lstat(path_of(i == 0 ? NAME : i == 1 ? "12/34" : "12"), &facts));
        CHECK_INT(65534, facts.st_uid);
        CHECK_INT(65533, facts.st_gid);
    }
}

static void the_descriptor_is_not_inherited_by_other_programs(void)
{
    dc_valuewriter writer;

    CHECK_INT(DC_OK, dc_valuewriter_open(&writer, check_directory(), ROOT_MODE, NAME, &error));
    CHECK(fcntl(writer.descriptor, F_GETFD) & FD_CLOEXEC);
    dc_valuewriter_abort(&writer);
}

static void names_of_other_forms_work_too(void)
{
    static const char *const names[] = {"plain", "a/b/c/d/e.val", ".val", "ab.val/x", "a/..val"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        CHECK_INT(DC_OK, write_value(names[i], "value", 5));
        holds(names[i], (const unsigned char *)"value", 5);
        dc_valuefile_remove(check_directory(), names[i]);
        CHECK_INT(0, entries());
    }
}

static void a_missing_file_is_not_found(void)
{
    int descriptor = 7;
    int64_t size;

    CHECK_INT(DC_NOT_FOUND, dc_valuefile_open(check_directory(), NAME, &descriptor, &size, &error));
    CHECK_INT(-1, descriptor);
    CHECK_INT(ENOENT, error.system_errno);
    CHECK_TEXT(path_of(NAME), error.message);
}

static void is_not_found(const char *directory, const char *name)
{
    int before = next_descriptor();
    int descriptor = 7;
    int64_t size;

    if (!CHECK_INT(DC_NOT_FOUND, dc_valuefile_open(directory, name, &descriptor, &size, &error)))
        printf("# the name: %s\n", name);
    CHECK_INT(-1, descriptor);
    CHECK_INT(ENOENT, error.system_errno);
    CHECK_INT(before, next_descriptor());
}

static void what_is_no_regular_file_is_not_found(void)
{
    make_directory("directory");
    make_file("file");
    CHECK_INT(0, mkfifo(path_of("pipe"), 0666));
    CHECK_INT(0, mknod(path_of("socket"), S_IFSOCK | 0666, 0));
    CHECK_INT(0, symlink("/dev/zero", path_of("device")));
    CHECK_INT(0, symlink("loop", path_of("loop")));
    is_not_found(check_directory(), "directory");
    is_not_found(check_directory(), "file/x.val");
    is_not_found(check_directory(), "pipe");
    is_not_found(check_directory(), "socket");
    is_not_found(check_directory(), "device");
    is_not_found(check_directory(), "loop");
}

/* A hostile directory: its database names files, and its links lead elsewhere. */
static void make_links(void)
{
    make_directory("outside");
    make_directory("inside");
    CHECK_INT(DC_OK,
              dc_valuefile_write(path_of("outside"), ROOT_MODE, "ab/x.val", "value", 5, &error));
    CHECK_INT(0, symlink("../outside", path_of("inside/all")));
    CHECK_INT(0, symlink("../outside/ab", path_of("inside/ab")));
    CHECK_INT(0, symlink("../outside/ab/x.val", path_of("inside/x.val")));
    CHECK_INT(0, symlink("nowhere", path_of("inside/nothing")));
}

static const char *inside(void)
{
    static char directory[sizeof check_scratch + 32];

    snprintf(directory, sizeof directory, "%s", path_of("inside"));
    return directory;
}

static void no_link_in_the_directory_is_followed(void)
{
    static const char *const names[] = {"all/ab/x.val", "ab/x.val", "./ab/x.val",
                                        "ab//x.val",    "x.val",    "nothing"};

    make_links();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        is_not_found(inside(), names[i]);
}

/* Where the system opens no path without links in one call, or forbids that call. */
static void a_path_is_followed_a_step_at_a_time_without_openat2(void)
{
    static const int errors[] = {ENOSYS, EPERM, EINTR};

    no_link_in_the_directory_is_followed();
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        dc_error error;
        int descriptor;
        int64_t size;

        syscall_fault = (fault){1, errors[i]};
        is_not_found(inside(), "ab/x.val");
        syscall_fault = (fault){1, errors[i]};
        CHECK_INT(DC_OK,
                  dc_valuefile_open(path_of("outside"), "ab/x.val", &descriptor, &size, &error));
        CHECK_INT(0, syscall_fault.countdown);
        dc_valuefile_close(descriptor);
    }
}

static void nothing_is_written_through_a_link(void)
{
    static const char *const names[] = {"all/new.val", "all/new/new.val", "ab/new.val",
                                        "nothing/new.val"};

    make_links();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        CHECK_INT(DC_SYSTEM, dc_valuefile_write(inside(), ROOT_MODE, names[i], "x", 1, &error));
        CHECK_INT(ENOTDIR, error.system_errno);
    }
    CHECK_INT(DC_SYSTEM, dc_valuefile_write(inside(), ROOT_MODE, "x.val", "x", 1, &error));
    CHECK_INT(EEXIST, error.system_errno);
    CHECK_INT(8, entries());
}

static void nothing_is_removed_through_a_link(void)
{
    make_links();
    make_directory("outside/empty");
    dc_valuefile_remove(inside(), "all/ab/x.val");
    dc_valuefile_remove(inside(), "ab/x.val");
    dc_valuefile_remove(inside(), "all/empty/x.val"); /* nor the directories of its name */
    CHECK(exists("outside/ab/x.val"));
    CHECK(exists("outside/empty"));
    dc_valuefile_remove(inside(), "x.val");
    CHECK(!exists("inside/x.val"));
    CHECK(exists("outside/ab/x.val"));
}

static void the_directory_itself_may_be_a_link(void)
{
    int descriptor;
    int64_t size;

    make_directory("disk");
    CHECK_INT(0, symlink("disk", path_of("inside")));
    CHECK_INT(DC_OK, dc_valuefile_write(inside(), ROOT_MODE, NAME, "value", 5, &error));
    holds("disk/" NAME, (const unsigned char *)"value", 5);
    CHECK_INT(DC_OK, dc_valuefile_open(inside(), NAME, &descriptor, &size, &error));
    CHECK_INT(5, size);
    dc_valuefile_close(descriptor);
    dc_valuefile_remove(inside(), NAME);
    CHECK(!exists("disk/12"));
}

/* Each directory is one more descriptor while a file in it is removed. */
static void a_name_of_any_depth_is_removed_or_ignored(void)
{
    char name[10000];

    for (size_t i = 0; i + 2 < sizeof name; i += 2)
        memcpy(name + i, "a/", 3);
    dc_valuefile_remove(check_directory(), name);
    name[2 * 100] = 'x';
    name[2 * 100 + 1] = '\0';
    CHECK_INT(DC_OK, write_value(name, "x", 1));
    dc_valuefile_remove(check_directory(), name);
    CHECK_INT(0, entries());
}

static void a_truncated_file_is_corrupt(void)
{
    char buffer[100];
    int descriptor;
    int64_t size;

    CHECK_INT(DC_OK, write_value(NAME, "0123456789", 10));
    CHECK_INT(DC_OK, dc_valuefile_open(check_directory(), NAME, &descriptor, &size, &error));
    CHECK_INT(0, truncate(path_of(NAME), 4));
    CHECK_INT(DC_CORRUPT, dc_valuefile_read(descriptor, buffer, 10, &error));
    CHECK_CONTAINS("6 bytes early", error.message);
    dc_valuefile_close(descriptor);
}

static void an_unreadable_descriptor_is_a_system_error(void)
{
    char byte;

    CHECK_INT(DC_SYSTEM, dc_valuefile_read(-1, &byte, 1, &error));
    CHECK_INT(EBADF, error.system_errno);
}

static void a_mapping_outlives_the_descriptor_and_the_file(void)
{
    const size_t size = 100000;
    unsigned char *value = make_value(size);
    int before = next_descriptor();
    int descriptor;
    int64_t actual;
    void *data;

    CHECK_INT(DC_OK, write_value(NAME, (const char *)value, size));
    CHECK_INT(DC_OK, dc_valuefile_open(check_directory(), NAME, &descriptor, &actual, &error));
    if (CHECK_INT(DC_OK, dc_valuefile_map(descriptor, size, &data, &error))) {
        dc_valuefile_close(descriptor);
        CHECK_INT(before, next_descriptor());
        dc_valuefile_remove(check_directory(), NAME);
        CHECK_INT(DC_OK, write_value(NAME, "another", 7));
        CHECK(memcmp(value, data, size) == 0);
        dc_valuefile_unmap(data, size);
    }
    free(value);
}

static void what_cannot_be_mapped_is_a_system_error(void)
{
    void *data;

    CHECK_INT(DC_SYSTEM, dc_valuefile_map(-1, 1, &data, &error));
    CHECK_INT(EBADF, error.system_errno);
    CHECK(data == NULL);
}

/* ---- Failing to write ----------------------------------------------------------------------- */

static void abort_leaves_nothing(void)
{
    int before = next_descriptor();
    dc_valuewriter writer;

    CHECK_INT(DC_OK, dc_valuewriter_open(&writer, check_directory(), ROOT_MODE, NAME, &error));
    CHECK_INT(DC_OK, dc_valuewriter_write(&writer, "half", 4, &error));
    dc_valuewriter_abort(&writer);
    CHECK_INT(0, entries());
    CHECK_INT(before, next_descriptor());
}

static void abort_keeps_directories_that_others_use(void)
{
    dc_valuewriter writer;

    CHECK_INT(DC_OK, write_value("12/34/other.val", "x", 1));
    CHECK_INT(DC_OK, dc_valuewriter_open(&writer, check_directory(), ROOT_MODE, NAME, &error));
    dc_valuewriter_abort(&writer);
    CHECK(exists("12/34/other.val"));
    CHECK_INT(3, entries());
}

/* Descriptor 0 stands in a zeroed writer: it must be neither written to nor closed. */
static void a_writer_that_is_not_open_does_nothing(void)
{
    dc_valuewriter writer = {0};
    struct stat facts;
    int saved = dup(0);
    int standin = open(path_of("stdin"), O_RDWR | O_CREAT, 0666);

    dup2(standin, 0);
    dc_valuewriter_abort(&writer);
    dc_valuewriter_abort(&writer);
    writer = (dc_valuewriter){0};
    CHECK_INT(DC_SYSTEM, dc_valuewriter_write(&writer, "x", 1, &error));
    CHECK_INT(EBADF, error.system_errno);
    CHECK_INT(DC_SYSTEM, dc_valuewriter_commit(&writer, &error));
    CHECK_INT(EBADF, error.system_errno);
    CHECK_INT(0, fstat(0, &facts));
    CHECK_INT(0, facts.st_size);
    if (saved != -1) {
        dup2(saved, 0);
        close(saved);
    }
    close(standin);
}

static void abort_after_a_commit_keeps_the_file(void)
{
    dc_valuewriter writer;

    CHECK_INT(DC_OK, dc_valuewriter_open(&writer, check_directory(), ROOT_MODE, NAME, &error));
    CHECK_INT(DC_OK, dc_valuewriter_commit(&writer, &error));
    dc_valuewriter_abort(&writer);
    CHECK(exists(NAME));
}

static void a_file_is_never_replaced(void)
{
    CHECK_INT(DC_OK, write_value(NAME, "first", 5));
    CHECK_INT(DC_SYSTEM, write_value(NAME, "second", 6));
    CHECK_INT(EEXIST, error.system_errno);
    CHECK_TEXT(path_of(NAME), error.message);
    holds(NAME, (const unsigned char *)"first", 5);
    CHECK_INT(3, entries());
}

static void a_name_being_written_is_taken(void)
{
    dc_valuewriter first;
    dc_valuewriter second;

    CHECK_INT(DC_OK, dc_valuewriter_open(&first, check_directory(), ROOT_MODE, NAME, &error));
    CHECK_INT(DC_SYSTEM, dc_valuewriter_open(&second, check_directory(), ROOT_MODE, NAME, &error));
    CHECK_INT(EEXIST, error.system_errno);
    CHECK(second.path == NULL && second.temporary == NULL);
    CHECK_INT(DC_OK, dc_valuewriter_write(&first, "first", 5, &error));
    CHECK_INT(DC_OK, dc_valuewriter_commit(&first, &error));
    holds(NAME, (const unsigned char *)"first", 5);
}

static void a_missing_cache_directory_is_made_again(void)
{
    char directory[sizeof check_scratch + 32];
    struct stat facts;

    snprintf(directory, sizeof directory, "%s", path_of("above/missing"));
    umask(022);
    CHECK_INT(DC_OK, dc_valuefile_write(directory, ROOT_MODE, NAME, "value", 5, &error));
    holds("above/missing/" NAME, (const unsigned char *)"value", 5);
    CHECK_INT(0, stat(directory, &facts));
    CHECK_INT(0700, facts.st_mode & 0777);
    CHECK_INT(0, stat(path_of("above"), &facts));
    CHECK_INT(0755, facts.st_mode & 0777);
    CHECK_INT(DC_OK, dc_valuefile_write(path_of("beside"), 02770, "plain", "value", 5, &error));
    holds("beside/plain", (const unsigned char *)"value", 5);
    has_mode("beside", 02770);
    has_mode("beside/plain", 0660);
}

static void a_cache_directory_that_cannot_be_made_is_an_error(void)
{
    char directory[sizeof check_scratch + 32];

    make_file("file");
    snprintf(directory, sizeof directory, "%s", path_of("file/missing"));
    CHECK_INT(DC_SYSTEM, dc_valuefile_write(directory, ROOT_MODE, NAME, "x", 1, &error));
    CHECK_INT(ENOTDIR, error.system_errno);
    CHECK_INT(0, symlink("nowhere/at/all", path_of("link")));
    snprintf(directory, sizeof directory, "%s", path_of("link"));
    CHECK_INT(DC_SYSTEM, dc_valuefile_write(directory, ROOT_MODE, NAME, "x", 1, &error));
    CHECK_INT(ENOENT, error.system_errno);
    CHECK_CONTAINS("link/" TEMPORARY, error.message);
    CHECK_INT(2, entries());
}

static void a_file_in_place_of_a_directory_is_an_error(void)
{
    make_file("12");
    CHECK_INT(DC_SYSTEM, write_value(NAME, "x", 1));
    CHECK_INT(ENOTDIR, error.system_errno);
    CHECK_TEXT(path_of(TEMPORARY), error.message);
    CHECK_INT(1, entries());
    CHECK(exists("12"));
}

static void a_file_in_place_of_the_inner_directory_is_an_error(void)
{
    make_directory("12");
    make_file("12/34");
    CHECK_INT(DC_SYSTEM, write_value(NAME, "x", 1));
    CHECK_INT(ENOTDIR, error.system_errno);
    CHECK_INT(2, entries());
}

static void a_name_too_long_is_an_error(void)
{
    char name[400] = "12/";

    memset(name + 3, 'x', sizeof name - 4);
    name[sizeof name - 1] = '\0';
    CHECK_INT(DC_SYSTEM, write_value(name, "x", 1));
    CHECK_INT(ENAMETOOLONG, error.system_errno);
    CHECK_INT(0, entries());
}

static void running_out_of_descriptors_is_an_error(void)
{
    struct rlimit saved;
    struct rlimit none;

    check_directory();
    getrlimit(RLIMIT_NOFILE, &saved);
    none = (struct rlimit){0, saved.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    CHECK_INT(DC_SYSTEM, write_value(NAME, "x", 1));
    setrlimit(RLIMIT_NOFILE, &saved);
    CHECK_INT(EMFILE, error.system_errno);
    CHECK_INT(0, entries());
}

static void write_past_the_size_limit(void *unused)
{
    unsigned char *value = make_value(100000);
    int before = next_descriptor();

    (void)unused;
    limit_file_size(50000); /* the first write is cut short there, the next one fails */
    CHECK_INT(DC_SYSTEM, write_value(NAME, value, 100000));
    limit_file_size(RLIM_INFINITY);
    CHECK_INT(EFBIG, error.system_errno);
    CHECK_TEXT(path_of(TEMPORARY), error.message);
    CHECK_INT(0, entries());
    CHECK_INT(before, next_descriptor());
    free(value);
}

static void a_failing_write_leaves_nothing(void)
{
    check_directory();
    CHECK_INT(0, check_wait(check_fork(write_past_the_size_limit, NULL)));
}

static void a_failing_close_leaves_nothing(void)
{
    dc_valuewriter writer;

    CHECK_INT(DC_OK, dc_valuewriter_open(&writer, check_directory(), ROOT_MODE, NAME, &error));
    close_fault = (fault){1, EDQUOT};
    CHECK_INT(DC_SYSTEM, dc_valuewriter_commit(&writer, &error));
    CHECK_INT(EDQUOT, error.system_errno);
    CHECK_TEXT(path_of(TEMPORARY), error.message);
    CHECK_INT(0, entries());
}

static void an_interrupted_close_is_a_close(void)
{
    dc_valuewriter writer;

    CHECK_INT(DC_OK, dc_valuewriter_open(&writer, check_directory(), ROOT_MODE, NAME, &error));
    close_fault = (fault){1, EINTR};
    CHECK_INT(DC_OK, dc_valuewriter_commit(&writer, &error));
    CHECK(exists(NAME));
}

static void a_failing_rename_leaves_nothing(void)
{
    int before = next_descriptor();
    dc_valuewriter writer;

    CHECK_INT(DC_OK, dc_valuewriter_open(&writer, check_directory(), ROOT_MODE, NAME, &error));
    make_directory(NAME);
    CHECK_INT(DC_SYSTEM, dc_valuewriter_commit(&writer, &error));
    CHECK_INT(EISDIR, error.system_errno);
    CHECK_TEXT(path_of(NAME), error.message);
    CHECK(!exists(TEMPORARY));
    CHECK(writer.path == NULL);
    CHECK_INT(before, next_descriptor());
}

static void without_memory_there_is_no_file(void)
{
    dc_valuewriter writer;
    int descriptor;
    int64_t size;

    for (int call = 1; call <= 2; call++) {
        malloc_fault = (fault){call, ENOMEM};
        CHECK_INT(DC_NO_MEMORY,
                  dc_valuewriter_open(&writer, check_directory(), ROOT_MODE, NAME, &error));
        CHECK(writer.path == NULL && writer.temporary == NULL);
    }
    malloc_fault = (fault){1, ENOMEM};
    CHECK_INT(DC_NO_MEMORY, dc_valuefile_open(check_directory(), NAME, &descriptor, &size, &error));
    CHECK_INT(-1, descriptor);
    CHECK_INT(0, entries());

    CHECK_INT(DC_OK, write_value(NAME, "x", 1));
    malloc_fault = (fault){1, ENOMEM};
    dc_valuefile_remove(check_directory(), NAME);
    CHECK(exists(NAME)); /* an orphan, not a crash */
}

#ifdef __linux__

/* Mount a tmpfs of the test's own on its directory, seen by this process alone. */
static int mount_tmpfs(const char *options)
{
    uid_t uid = getuid();

    if (unshare(CLONE_NEWNS) != 0) {
        FILE *map;

        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
            return 0;
        map = fopen("/proc/self/uid_map", "w");
        if (map == NULL)
            return 0;
        fprintf(map, "0 %u 1\n", (unsigned)uid);
        if (fclose(map) != 0)
            return 0;
    }
    return mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", check_directory(), "tmpfs", 0, options) == 0;
}

static void write_on_full_disk(void *unused)
{
    unsigned char *value = make_value(1 << 20);

    (void)unused;
    if (mount_tmpfs("size=64k")) {
        CHECK_INT(DC_SYSTEM, write_value(NAME, value, 1 << 20));
        CHECK_INT(ENOSPC, error.system_errno);
        CHECK_TEXT(path_of(TEMPORARY), error.message);
        CHECK_INT(0, entries());
        CHECK_INT(DC_OK, write_value(NAME, value, 1 << 10)); /* the space came back */
    } else {
        check_skip("cannot mount");
    }
    free(value);
}

/* Room for the root, and then for one and for both of the directories, but not for the file. */
static void write_without_inodes(void *options)
{
    if (!mount_tmpfs(options)) {
        check_skip("cannot mount");
        return;
    }
    CHECK_INT(DC_SYSTEM, write_value(NAME, "x", 1));
    CHECK_INT(ENOSPC, error.system_errno);
    CHECK_INT(0, entries());
}

static void write_on_read_only_disk(void *unused)
{
    (void)unused;
    if (!mount_tmpfs("") ||
        mount("none", check_directory(), "none", MS_REMOUNT | MS_RDONLY, NULL) != 0) {
        check_skip("cannot mount");
        return;
    }
    CHECK_INT(DC_SYSTEM, write_value(NAME, "x", 1));
    CHECK_INT(EROFS, error.system_errno);
    CHECK_TEXT(path_of(TEMPORARY), error.message);
    CHECK_INT(0, entries());
}

static void check_in_child(void (*body)(void *), void *argument)
{
    int exit_status;

    check_directory();
    exit_status = check_wait(check_fork(body, argument));
    if (exit_status == CHECK_CHILD_SKIPPED)
        check_skip("no mount namespaces here");
    else
        CHECK_INT(0, exit_status);
}

static void a_full_disk_is_an_error_and_leaves_nothing(void)
{
    check_in_child(write_on_full_disk, NULL);
}

static void a_disk_without_inodes_is_an_error_and_leaves_nothing(void)
{
    char options[][16] = {"nr_inodes=1", "nr_inodes=2", "nr_inodes=3"};

    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        check_in_child(write_without_inodes, options[i]);
}

static void a_read_only_disk_is_an_error(void)
{
    check_in_child(write_on_read_only_disk, NULL);
}

#endif

/* ---- Removing ------------------------------------------------------------------------------- */

static void remove_takes_the_empty_directories_along(void)
{
    CHECK_INT(DC_OK, write_value(NAME, "x", 1));
    dc_valuefile_remove(check_directory(), NAME);
    CHECK_INT(0, entries());
    CHECK(exists("."));
}

static void remove_keeps_directories_that_are_not_empty(void)
{
    CHECK_INT(DC_OK, write_value(NAME, "x", 1));
    CHECK_INT(DC_OK, write_value("12/34/other.val", "x", 1));
    CHECK_INT(DC_OK, write_value("12/35/other.val", "x", 1));
    dc_valuefile_remove(check_directory(), NAME);
    CHECK(exists("12/34/other.val"));
    dc_valuefile_remove(check_directory(), "12/34/other.val");
    CHECK(!exists("12/34"));
    CHECK(exists("12/35/other.val"));
}

static void remove_never_takes_the_cache_directory(void)
{
    CHECK_INT(DC_OK, write_value("plain.val", "x", 1));
    dc_valuefile_remove(check_directory(), "plain.val");
    dc_valuefile_remove(check_directory(), "plain.val");
    dc_valuefile_remove(check_directory(), "");
    dc_valuefile_remove(check_directory(), ".");
    dc_valuefile_remove(check_directory(), "./");
    dc_valuefile_remove(check_directory(), "./x");
    dc_valuefile_remove(check_directory(), "/");
    dc_valuefile_remove(check_directory(), "x/..");
    CHECK(exists("."));
}

static void remove_of_a_file_already_gone_still_prunes(void)
{
    make_directory("12");
    make_directory("12/34");
    dc_valuefile_remove(check_directory(), NAME);
    CHECK_INT(0, entries());
}

static void remove_goes_on_where_another_process_pruned(void)
{
    make_directory("12");
    dc_valuefile_remove(check_directory(), NAME);
    CHECK_INT(0, entries());
}

static void names_that_lead_outside_are_neither_read_nor_removed(void)
{
    static const char *const names[] = {
        "../x",
        "in/../../x",
        "./../x",
        "in//../../x",
        "../root/../x",
        "in/../../root/in/y",
        "..",
        "in/..",
        "..\\x",
        "in\\..\\..\\x",
        "\\x",
        "/x",
        "",
        ".",
        "in/",
        "in/.",
        "in\\",
        "/",
        "C:\\x",
        "c:\\in\\y",
        "in\\..\\../x",
        "..\\root\\in\\y",
        "cache.db",
        "./cache.db-wal",
        "in/Cache.DB",
        "in\\cache.db-shm",
        "cache.db./x",
    };
    char directory[sizeof check_scratch + 16];
    char absolute[sizeof check_scratch + 16];

    snprintf(directory, sizeof directory, "%s/root", check_directory());
    snprintf(absolute, sizeof absolute, "%s/x", check_directory());
    make_directory("root");
    make_directory("root/in");
    make_file("x");
    make_file("root/in/y");
    make_file("root/..\\x");
    make_directory("root/C:");
    make_file("root/C:/x");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        is_not_found(directory, names[i]);
        dc_valuefile_remove(directory, names[i]);
    }
    is_not_found(directory, absolute);
    dc_valuefile_remove(directory, absolute);
    is_not_found("", absolute);
    dc_valuefile_remove("", absolute);
    CHECK(exists("x"));
    CHECK(exists("root/in/y"));
    CHECK(exists("root/..\\x"));
    CHECK(exists("root/C:/x"));
    CHECK(!dc_valuefile_is_inside("a\0b", 3));
    CHECK(!dc_valuefile_is_inside("a\0", 2));
    CHECK(!dc_valuefile_is_inside("\0", 1));
    CHECK(dc_valuefile_is_inside("x/..", 3) == 0);
    CHECK(dc_valuefile_is_inside("x/..", 1));
}

static void names_with_empty_components_are_inside(void)
{
    static const char *const names[] = {"a//x", "./x", "a/./x",     "a///b/.//x", "a\\b\\x",
                                        "...",  ". ",  "cache.dbx", "cache.d"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        CHECK(dc_valuefile_is_inside(names[i], strlen(names[i])));
        CHECK_INT(DC_OK, write_value(names[i], "value", 5));
        holds(names[i], (const unsigned char *)"value", 5);
        dc_valuefile_remove(check_directory(), names[i]);
        CHECK(!exists(names[i]));
    }
    CHECK(exists(""));
}

static void names_written_on_windows_are_those_of_files_here(void)
{
    char *name;

    CHECK_INT(DC_OK, write_value("12/34/x.val", "value", 5));
    holds("12\\34\\x.val", (const unsigned char *)"value", 5);
    name = dc_valuefile_local_name(check_directory(), "12\\34\\x.val");
    CHECK_TEXT("12/34/x.val", name);
    free(name);
    dc_valuefile_remove(check_directory(), "12\\34\\x.val");
    CHECK_INT(0, entries());
}

static void a_file_that_has_a_backslash_in_its_name_comes_first(void)
{
    char *name;

    CHECK_INT(DC_OK, write_value("a/b", "nested", 6));
    CHECK_INT(DC_OK, write_value("a\\b", "flat", 4));
    holds("a\\b", (const unsigned char *)"flat", 4);
    name = dc_valuefile_local_name(check_directory(), "a\\b");
    CHECK_TEXT("a\\b", name);
    free(name);
    dc_valuefile_remove(check_directory(), "a\\b");
    CHECK(!exists("a\\b"));
    CHECK(exists("a/b"));
}

static void remove_takes_names_that_only_look_like_parents(void)
{
    CHECK_INT(DC_OK, write_value("..a/...", "x", 1));
    dc_valuefile_remove(check_directory(), "..a/...");
    CHECK_INT(0, entries());
}

static void remove_does_not_follow_a_link_in_place_of_a_directory(void)
{
    make_directory("elsewhere");
    CHECK_INT(0, symlink("elsewhere", path_of("12")));
    dc_valuefile_remove(check_directory(), "12/x.val");
    CHECK(exists("12"));
    CHECK(exists("elsewhere"));
}

/* ---- Several processes ---------------------------------------------------------------------- */

#define WRITERS          4
#define FILES_PER_WRITER 400
#define VALUE_SIZE       3000

static void name_of_writer(char name[64], int writer, int file)
{
    snprintf(name, 64, "12/34/%d-%d.val", writer, file);
}

/* Write files into one directory and keep only the last, so that it is empty time and again. */
static void write_and_remove(void *number)
{
    const int writer = *(int *)number;
    unsigned char *value = make_value(VALUE_SIZE);
    char name[64];

    for (int i = 0; i < FILES_PER_WRITER; i++) {
        name_of_writer(name, writer, i);
        if (!CHECK_INT(DC_OK, write_value(name, value, VALUE_SIZE))) {
            printf("# %s: %s\n", strerror(error.system_errno), error.message);
            break;
        }
        holds(name, value, VALUE_SIZE);
        if (i < FILES_PER_WRITER - 1)
            dc_valuefile_remove(check_directory(), name);
    }
    free(value);
}

static void prune_for_ever(void *unused)
{
    (void)unused;
    for (;;)
        dc_valuefile_remove(check_directory(), "12/34/none.val");
}

static void concurrent_writers_and_pruners_lose_nothing(void)
{
    unsigned char *value = make_value(VALUE_SIZE);
    int numbers[WRITERS];
    pid_t writers[WRITERS];
    pid_t pruners[2];
    char name[64];

    check_directory();
    for (int i = 0; i < 2; i++)
        pruners[i] = check_fork(prune_for_ever, NULL);
    for (int i = 0; i < WRITERS; i++) {
        numbers[i] = i;
        writers[i] = check_fork(write_and_remove, &numbers[i]);
    }
    for (int i = 0; i < WRITERS; i++)
        CHECK_INT(0, check_wait(writers[i]));
    for (int i = 0; i < 2; i++) {
        kill(pruners[i], SIGKILL);
        CHECK_INT(128 + SIGKILL, check_wait(pruners[i]));
    }
    for (int i = 0; i < WRITERS; i++) {
        name_of_writer(name, i, FILES_PER_WRITER - 1);
        holds(name, value, VALUE_SIZE);
    }
    CHECK_INT(WRITERS + 2, entries());
    free(value);
}

static void *write_files_in_thread(void *unused)
{
    dc_error own_error;
    name_buffer name;
    char directory[sizeof check_scratch];

    (void)unused;
    snprintf(directory, sizeof directory, "%s", check_scratch);
    for (int i = 0; i < 200; i++) {
        CHECK_INT(DC_OK, dc_valuefile_name(name, &own_error));
        CHECK_INT(DC_OK, dc_valuefile_write(directory, ROOT_MODE, name, "value", 5, &own_error));
        if (i % 2 == 0)
            dc_valuefile_remove(directory, name);
    }
    return NULL;
}

static void concurrent_threads_lose_nothing(void)
{
    pthread_t threads[THREADS];
    int files = 0;

    check_directory();
    for (size_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, write_files_in_thread, NULL) != 0)
            check_fatal("pthread_create");
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    files = entries();
    CHECK(files > THREADS * 100 && files <= THREADS * 100 + 2 * (THREADS * 200 / 64 + 2));
}

/* ---- Syncing -------------------------------------------------------------------------------- */

#define NEIGHBOUR "12/34/" DIGITS "-2.val"

static ino_t inode_of(const char *name)
{
    struct stat facts;

    if (stat(path_of(name), &facts) != 0)
        check_fatal(name);
    return facts.st_ino;
}

static dc_status sync_value(const char *name, const char *known)
{
    synced_count = 0;
    return dc_valuefile_sync(check_directory(), name, known, &error);
}

static void a_sync_is_of_the_file_and_of_all_its_directories(void)
{
    const char *chain[] = {NAME, "12/34", "12", "."};

    CHECK_INT(DC_OK, write_value(NAME, "value", 5));
    CHECK_INT(0, synced_count); /* writing alone syncs nothing */
    CHECK_INT(DC_OK, sync_value(NAME, ""));
    CHECK_INT(4, synced_count);
    for (int i = 0; i < 4; i++)
        CHECK_INT(inode_of(chain[i]), synced[i]);
}

static void beside_a_synced_file_only_the_innermost_directory_is_synced(void)
{
    CHECK_INT(DC_OK, write_value(NAME, "value", 5));
    CHECK_INT(DC_OK, write_value(NEIGHBOUR, "value", 5));
    CHECK_INT(DC_OK, sync_value(NEIGHBOUR, NAME));
    CHECK_INT(2, synced_count);
    CHECK_INT(inode_of(NEIGHBOUR), synced[0]);
    CHECK_INT(inode_of("12/34"), synced[1]);
}

/* The directory may have been removed with it, and be a new one. */
static void beside_a_file_that_is_gone_or_elsewhere_all_is_synced(void)
{
    const char *known[] = {NAME, "12/35/" DIGITS ".val", "12/" DIGITS ".val", DIGITS};

    CHECK_INT(DC_OK, write_value(NEIGHBOUR, "value", 5));
    for (int i = 0; i < 4; i++) {
        if (i > 0)
            CHECK_INT(DC_OK, write_value(known[i], "value", 5));
        CHECK_INT(DC_OK, sync_value(NEIGHBOUR, known[i]));
        CHECK_INT(4, synced_count);
    }
}

static void a_sync_of_a_file_without_directories_is_of_the_root_too(void)
{
    CHECK_INT(DC_OK, write_value("plain", "value", 5));
    CHECK_INT(DC_OK, sync_value("plain", ""));
    CHECK_INT(2, synced_count);
    CHECK_INT(inode_of("."), synced[1]);
}

static void a_failing_sync_is_an_error(void)
{
    const char *failing[] = {NAME, "12/34", "12", ""};

    CHECK_INT(DC_OK, write_value(NAME, "value", 5));
    for (int i = 0; i < 4; i++) {
        fsync_fault = (fault){i + 1, EIO};
        CHECK_INT(DC_SYSTEM, sync_value(NAME, ""));
        CHECK_INT(EIO, error.system_errno);
        CHECK(strstr(error.message, failing[i]) != NULL);
        CHECK_INT(i, synced_count);
    }
    CHECK_INT(DC_OK, sync_value(NAME, ""));
}

static void what_cannot_be_synced_is_no_error(void)
{
    CHECK_INT(DC_OK, write_value(NAME, "value", 5));
    fsync_fault = (fault){2, EINVAL};
    CHECK_INT(DC_OK, sync_value(NAME, ""));
    CHECK_INT(3, synced_count);
    fsync_fault = (fault){1, EINTR};
    CHECK_INT(DC_OK, sync_value(NAME, ""));
    CHECK_INT(4, synced_count);
}

static void a_file_that_is_not_there_needs_no_sync(void)
{
    CHECK_INT(DC_OK, sync_value(NAME, ""));
    CHECK_INT(DC_OK, sync_value("../outside", ""));
    CHECK_INT(0, synced_count);
}

int main(int argc, char **argv)
{
    static const check_test tests[] = {
        CHECK_TEST(a_name_is_two_directories_and_28_hexadecimal_digits),
        CHECK_TEST(a_directory_gets_64_names_in_a_row),
        CHECK_TEST(names_of_many_threads_are_unique_and_fill_directories),
        CHECK_TEST(names_drawn_on_both_sides_of_a_fork_are_unique),
        CHECK_TEST(without_getentropy_the_device_gives_the_randomness),
        CHECK_TEST(without_any_randomness_there_is_no_name),
        CHECK_TEST(what_is_written_is_read_back),
        CHECK_TEST(a_value_may_be_written_in_pieces),
        CHECK_TEST(short_and_interrupted_writes_are_continued),
        CHECK_TEST(until_the_commit_only_the_temporary_name_is_there),
        CHECK_TEST(what_is_made_is_as_open_to_others_as_the_directory),
        CHECK_TEST(what_root_makes_belongs_to_the_owner_of_the_directory),
        CHECK_TEST(the_descriptor_is_not_inherited_by_other_programs),
        CHECK_TEST(names_of_other_forms_work_too),
        CHECK_TEST(a_missing_file_is_not_found),
        CHECK_TEST(what_is_no_regular_file_is_not_found),
        CHECK_TEST(no_link_in_the_directory_is_followed),
        CHECK_TEST(a_path_is_followed_a_step_at_a_time_without_openat2),
        CHECK_TEST(nothing_is_written_through_a_link),
        CHECK_TEST(nothing_is_removed_through_a_link),
        CHECK_TEST(the_directory_itself_may_be_a_link),
        CHECK_TEST(a_name_of_any_depth_is_removed_or_ignored),
        CHECK_TEST(a_truncated_file_is_corrupt),
        CHECK_TEST(an_unreadable_descriptor_is_a_system_error),
        CHECK_TEST(a_mapping_outlives_the_descriptor_and_the_file),
        CHECK_TEST(what_cannot_be_mapped_is_a_system_error),
        CHECK_TEST(abort_leaves_nothing),
        CHECK_TEST(abort_keeps_directories_that_others_use),
        CHECK_TEST(a_writer_that_is_not_open_does_nothing),
        CHECK_TEST(abort_after_a_commit_keeps_the_file),
        CHECK_TEST(a_file_is_never_replaced),
        CHECK_TEST(a_name_being_written_is_taken),
        CHECK_TEST(a_missing_cache_directory_is_made_again),
        CHECK_TEST(a_cache_directory_that_cannot_be_made_is_an_error),
        CHECK_TEST(a_file_in_place_of_a_directory_is_an_error),
        CHECK_TEST(a_file_in_place_of_the_inner_directory_is_an_error),
        CHECK_TEST(a_name_too_long_is_an_error),
        CHECK_TEST(running_out_of_descriptors_is_an_error),
        CHECK_TEST(a_failing_write_leaves_nothing),
        CHECK_TEST(a_failing_close_leaves_nothing),
        CHECK_TEST(an_interrupted_close_is_a_close),
        CHECK_TEST(a_failing_rename_leaves_nothing),
        CHECK_TEST(without_memory_there_is_no_file),
#ifdef __linux__
        CHECK_TEST(a_full_disk_is_an_error_and_leaves_nothing),
        CHECK_TEST(a_disk_without_inodes_is_an_error_and_leaves_nothing),
        CHECK_TEST(a_read_only_disk_is_an_error),
#endif
        CHECK_TEST(remove_takes_the_empty_directories_along),
        CHECK_TEST(remove_keeps_directories_that_are_not_empty),
        CHECK_TEST(remove_never_takes_the_cache_directory),
        CHECK_TEST(remove_of_a_file_already_gone_still_prunes),
        CHECK_TEST(remove_goes_on_where_another_process_pruned),
        CHECK_TEST(a_sync_is_of_the_file_and_of_all_its_directories),
        CHECK_TEST(beside_a_synced_file_only_the_innermost_directory_is_synced),
        CHECK_TEST(beside_a_file_that_is_gone_or_elsewhere_all_is_synced),
        CHECK_TEST(a_sync_of_a_file_without_directories_is_of_the_root_too),
        CHECK_TEST(a_failing_sync_is_an_error),
        CHECK_TEST(what_cannot_be_synced_is_no_error),
        CHECK_TEST(a_file_that_is_not_there_needs_no_sync),
        CHECK_TEST(names_that_lead_outside_are_neither_read_nor_removed),
        CHECK_TEST(names_with_empty_components_are_inside),
        CHECK_TEST(names_written_on_windows_are_those_of_files_here),
        CHECK_TEST(a_file_that_has_a_backslash_in_its_name_comes_first),
        CHECK_TEST(remove_takes_names_that_only_look_like_parents),
        CHECK_TEST(remove_does_not_follow_a_link_in_place_of_a_directory),
        CHECK_TEST(concurrent_writers_and_pruners_lose_nothing),
        CHECK_TEST(concurrent_threads_lose_nothing),
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
