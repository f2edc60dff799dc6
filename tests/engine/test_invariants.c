/* test_invariants.c: a build with DISKCACHE_DEBUG=1 ends the process when an invariant does not hold.
 *
 * The Makefile builds the engine for this program with DISKCACHE_DEBUG. What is broken is broken in
 * memory, as a bug of the engine would break it, and in a child, which is to die of it.
 */
#define DISKCACHE_DEBUG

#include "base/debug.h"

#include "store.h"

#include <fcntl.h>
#include <signal.h>

#include "engine/budget.h"

typedef struct scenario {
    void (*body)(void);
    const char *output; /* the file that takes the child's stderr */
} scenario;

static void run_scenario(void *argument)
{
    const scenario *scenario = argument;
    int output = open(scenario->output, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    if (output == -1 || dup2(output, STDERR_FILENO) == -1) {
        check_fatal(scenario->output);
    }
    scenario->body();
}

/* Run `body` in a child; its end as check_wait has it, and what it wrote to stderr. */
static int end_of(void (*body)(void), char message[1000])
{
    char path[4200];
    scenario scenario = {body, path};
    FILE *output;
    size_t size;
    int end;

    snprintf(path, sizeof path, "%s/stderr", check_directory());
    end = check_wait(check_fork(run_scenario, &scenario));
    output = fopen(path, "r");
    if (output == NULL) {
        check_fatal(path);
    }
    size = fread(message, 1, 999, output);
    message[size] = '\0';
    fclose(output);
    check_remove_directory(); /* the next child begins with an empty one */
    return end;
}

static void check_a_list(void)
{
    dc_namelist list = {0};

    CHECK(dc_namelist_add(&list, "a"));
    CHECK(dc_namelist_add(&list, "b"));
    dc_namelist_check(&list);
    dc_namelist_clear(&list);
}

static void check_a_list_that_has_lost_a_name(void)
{
    dc_namelist list = {0};

    CHECK(dc_namelist_add(&list, "a"));
    CHECK(dc_namelist_add(&list, "b"));
    list.count = 1;
    dc_namelist_check(&list);
    dc_namelist_clear(&list);
}

static void a_list_of_files_that_miscounts_ends_the_process(void)
{
    char message[1000];

    CHECK_INT(0, end_of(check_a_list, message));
    CHECK_TEXT("", message);
    CHECK_INT(128 + SIGABRT, end_of(check_a_list_that_has_lost_a_name, message));
    CHECK_CONTAINS("dc_namelist_check: does not hold: count == list->count", message);
}

static void set_twice(void)
{
    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    set(text("first"), inline_value(integer(1))); /* which finds out the budget */
    CHECK(dc_budget_holds(&db, &roomy));
    set(text("second"), inline_value(integer(2)));
    CHECK_INT(DC_OK, dc_db_commit(&db));
    close_store();
}

static void set_with_a_budget_beyond_the_limit(void)
{
    open_store();
    CHECK_INT(DC_OK, dc_db_begin(&db));
    set(text("first"), inline_value(integer(1)));
    db.budget.slack = 2 * roomy.size_limit;
    set(text("second"), inline_value(integer(2)));
    CHECK_INT(DC_OK, dc_db_commit(&db));
    close_store();
}

static void a_budget_beyond_what_is_left_ends_the_process(void)
{
    char message[1000];

    CHECK_INT(0, end_of(set_twice, message));
    CHECK_TEXT("", message);
    CHECK_INT(128 + SIGABRT, end_of(set_with_a_budget_beyond_the_limit, message));
    CHECK_CONTAINS("dc_budget_check: does not hold: db->budget.slack", message);
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(a_list_of_files_that_miscounts_ends_the_process),
        CHECK_TEST(a_budget_beyond_what_is_left_ends_the_process),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
