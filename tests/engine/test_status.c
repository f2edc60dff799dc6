/* test_status.c: the error record. */
#include "base/status.h"

#include "check.h"

static void clear_empties_every_field(void)
{
    dc_error error;

    memset(&error, 0x55, sizeof error);
    dc_error_clear(&error);
    CHECK_INT(0, error.sqlite_code);
    CHECK_INT(0, error.system_errno);
    CHECK_TEXT("", error.message);
}

static void set_formats_the_message_and_returns_the_status(void)
{
    dc_error error;

    CHECK_INT(DC_CORRUPT, dc_error_set(&error, DC_CORRUPT, "%d of %s", 3, "four"));
    CHECK_TEXT("3 of four", error.message);
}

static void set_clears_what_an_earlier_error_left(void)
{
    dc_error error = {.sqlite_code = 5, .system_errno = ENOSPC, .message = "an old, long message"};

    dc_error_set(&error, DC_TYPE, "new");
    CHECK_INT(0, error.sqlite_code);
    CHECK_INT(0, error.system_errno);
    CHECK_TEXT("new", error.message);
}

static void a_message_that_does_not_fit_is_cut_and_terminated(void)
{
    dc_error error;
    char longer[DC_MESSAGE_SIZE + 100];

    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    dc_error_set(&error, DC_SQLITE, "%s", longer);
    CHECK_INT(DC_MESSAGE_SIZE - 1, strlen(error.message));
}

static void a_message_of_exactly_the_size_fits(void)
{
    dc_error error;
    char message[DC_MESSAGE_SIZE];

    memset(message, 'y', sizeof message);
    message[sizeof message - 1] = '\0';
    dc_error_set(&error, DC_SQLITE, "%s", message);
    CHECK_TEXT(message, error.message);
}

/* Characters of two, three and four bytes, cut at each of their bytes. */
static void a_message_is_cut_between_two_characters(void)
{
    static const char *const characters[] = {"\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x8D\x80"};

    for (size_t i = 0; i < sizeof characters / sizeof *characters; i++) {
        size_t size = strlen(characters[i]);

        for (size_t before = 0; before < size; before++) {
            char longer[2 * DC_MESSAGE_SIZE] = "xxxx";
            dc_error error;

            longer[before] = '\0';
            while (strlen(longer) < DC_MESSAGE_SIZE) {
                strcat(longer, characters[i]);
            }
            dc_error_set(&error, DC_SQLITE, "%s", longer);
            CHECK_INT(0, (strlen(error.message) - before) % size);
            CHECK_INT(1, strlen(error.message) + size >= DC_MESSAGE_SIZE);
            CHECK_INT(0, strncmp(longer, error.message, strlen(error.message)));
        }
    }
}

static void bytes_that_are_no_characters_are_cut_anywhere(void)
{
    dc_error error;
    char longer[DC_MESSAGE_SIZE + 100];

    memset(longer, 0x80, sizeof longer);
    longer[sizeof longer - 1] = '\0';
    dc_error_set(&error, DC_SQLITE, "%s", longer);
    CHECK_INT(DC_MESSAGE_SIZE - 1, strlen(error.message));
}

static void system_records_errno_and_path(void)
{
    dc_error error;

    CHECK_INT(DC_SYSTEM, dc_error_system(&error, ENOENT, "/a/b"));
    CHECK_INT(ENOENT, error.system_errno);
    CHECK_INT(0, error.sqlite_code);
    CHECK_TEXT("/a/b", error.message);
}

static void a_path_is_never_taken_for_a_format(void)
{
    dc_error error;

    dc_error_system(&error, EIO, "/100%s/%n");
    CHECK_TEXT("/100%s/%n", error.message);
}

int main(int argc, char **argv)
{
    static const check_test tests[] = {
        CHECK_TEST(clear_empties_every_field),
        CHECK_TEST(set_formats_the_message_and_returns_the_status),
        CHECK_TEST(set_clears_what_an_earlier_error_left),
        CHECK_TEST(a_message_that_does_not_fit_is_cut_and_terminated),
        CHECK_TEST(a_message_of_exactly_the_size_fits),
        CHECK_TEST(a_message_is_cut_between_two_characters),
        CHECK_TEST(bytes_that_are_no_characters_are_cut_anywhere),
        CHECK_TEST(system_records_errno_and_path),
        CHECK_TEST(a_path_is_never_taken_for_a_format),
    };

    return check_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
