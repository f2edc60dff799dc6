/* test_frozen.c: whether a database that is read without locks is still what it was. */
#include "engine/frozen.h"

#include "check.h"

#include <fcntl.h>
#include <time.h>

static const char *path_of(const char *name)
{
    static char path[sizeof check_scratch + 64];

    snprintf(path, sizeof path, "%s/%s", check_directory(), name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    int descriptor = open(path_of(name), O_WRONLY | O_CREAT, 0666);

    if (descriptor == -1 || write(descriptor, text, strlen(text)) == -1)
        check_fatal(name);
    close(descriptor);
}

static void rename_away(const char *name)
{
    char kept[sizeof check_scratch + 64];

    snprintf(kept, sizeof kept, "%s/kept", check_directory());
    CHECK_INT(0, rename(path_of(name), kept));
}

static dc_frozen look(void)
{
    dc_frozen frozen;

    write_file("cache.db", "pages");
    CHECK_INT(1, dc_frozen_look(&frozen, path_of("cache.db")));
    CHECK_INT(1, dc_frozen_holds(&frozen));
    return frozen;
}

static void a_file_that_nobody_touches_holds(void)
{
    dc_frozen frozen = look();

    CHECK_INT(1, dc_frozen_holds(&frozen));
    dc_frozen_clear(&frozen);
    dc_frozen_clear(&frozen);
}

/* Also at once, and to what it was: the time of the change is another one. */
static void a_file_that_is_written_does_not_hold(void)
{
    dc_frozen frozen = look();

    write_file("cache.db", "pages");
    CHECK_INT(0, dc_frozen_holds(&frozen));
    dc_frozen_clear(&frozen);
}

static void a_file_that_is_shorter_removed_or_replaced_does_not_hold(void)
{
    dc_frozen frozen = look();
    struct timespec times[2];

    CHECK_INT(0, truncate(path_of("cache.db"), 2));
    times[0].tv_sec = times[1].tv_sec = (time_t)frozen.seconds;
    times[0].tv_nsec = times[1].tv_nsec = (long)frozen.nanoseconds;
    CHECK_INT(0, utimensat(AT_FDCWD, path_of("cache.db"), times, 0));
    CHECK_INT(0, dc_frozen_holds(&frozen));
    rename_away("cache.db"); /* and kept, so that the next has another number */
    CHECK_INT(0, dc_frozen_holds(&frozen));
    write_file("cache.db", "pages");
    CHECK_INT(0, utimensat(AT_FDCWD, path_of("cache.db"), times, 0));
    CHECK_INT(0, dc_frozen_holds(&frozen));
    dc_frozen_clear(&frozen);
}

static void commits_in_a_log_are_not_in_the_file(void)
{
    dc_frozen frozen = look();

    write_file("cache.db-wal", "");
    CHECK_INT(1, dc_frozen_holds(&frozen));
    write_file("cache.db-wal", "frames");
    CHECK_INT(0, dc_frozen_holds(&frozen));
    dc_frozen_clear(&frozen);
}

/* Or a change within the same tick of the clock would have the same time. */
static void a_file_that_has_just_changed_is_taken_after_a_tick(void)
{
    for (int i = 0; i < 20; i++) {
        dc_frozen frozen = look();
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        CHECK((now.tv_sec - frozen.seconds) * 1000000000 + now.tv_nsec - frozen.nanoseconds >=
              10000000);
        dc_frozen_clear(&frozen);
    }
}

/* That of an image, say, or of a broken clock. */
static void a_file_may_be_of_any_time(void)
{
    static const int64_t seconds[] = {-2000000000, 0, INT64_C(15000000000)};
    dc_frozen frozen;

    write_file("cache.db", "pages");
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        struct timespec times[2] = {{.tv_sec = (time_t)seconds[i]}, {.tv_sec = (time_t)seconds[i]}};

        CHECK_INT(0, utimensat(AT_FDCWD, path_of("cache.db"), times, 0));
        CHECK_INT(1, dc_frozen_look(&frozen, path_of("cache.db")));
        CHECK_INT(1, dc_frozen_holds(&frozen));
        dc_frozen_clear(&frozen);
    }
}

static void a_file_that_is_not_there_is_not_taken(void)
{
    dc_frozen frozen;

    CHECK_INT(0, dc_frozen_look(&frozen, path_of("missing")));
    CHECK(frozen.database == NULL && frozen.log == NULL);
}

int main(int argc, char **argv)
{
    static const check_test tests[] = {
        CHECK_TEST(a_file_that_nobody_touches_holds),
        CHECK_TEST(a_file_that_is_written_does_not_hold),
        CHECK_TEST(a_file_that_is_shorter_removed_or_replaced_does_not_hold),
        CHECK_TEST(commits_in_a_log_are_not_in_the_file),
        CHECK_TEST(a_file_that_has_just_changed_is_taken_after_a_tick),
        CHECK_TEST(a_file_may_be_of_any_time),
        CHECK_TEST(a_file_that_is_not_there_is_not_taken),
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
