/* test_threads.c: several threads, each with a handle of its own, and one that copies the log.
 *
 * The engine has no lock of its own. What threads share is the table of SQLite's functions, methods of SQLite's files
 * that are replaced for the time of a call, what self-checks have found, the counter of value-file names, and `turns`
 * of a checkpoint. `make tsan` runs this under the thread sanitizer.
 */
#include <pthread.h>
#include <sched.h>

#include "engine/valuefile.h"
#include "store.h"

enum { WRITERS = 4, ROUNDS = 150 };

typedef struct worker {
    int number;
    dc_db own;
    pthread_t thread;
} worker;

static atomic_int at_work;
static atomic_uint turns;

/* Count up a number that all count up, and write a value, inline or in a file. */
static dc_status write_once(dc_db *of, int64_t thread, int64_t round, dc_namelist *gone)
{
    const dc_key count = raw_key(text("count"));
    const dc_key own = raw_key(integer(thread * ROUNDS + round % 10));
    const dc_datum one = integer(1);
    const dc_columns first = inline_value(integer(1));
    char name[DC_VALUEFILE_NAME_SIZE];
    dc_columns value = inline_value(integer(round));
    dc_datum total;
    int changed;
    dc_status status = DC_OK;

    if (round % 3 == 0) {
        status = dc_valuefile_name(name, &of->error);
        if (status == DC_OK) {
            status = dc_valuefile_write(check_directory(), 0700, name, "value", 5, &of->error);
        }
        value = file_value(name, 5);
    }
    while (status == DC_OK && (status = dc_db_begin(of)) == DC_BUSY) {
        status = DC_OK;
        sched_yield();
    }
    if (status != DC_OK) {
        return status;
    }
    status = write_increment(of, &count, &one, &first, NOW, &roomy, gone, &total, &changed);
    if (status == DC_OK) {
        status = write_set(of, &own, &value, NOW, 0, &roomy, gone, &changed);
    }
    if (status == DC_OK) {
        return dc_db_commit(of);
    }
    dc_db_rollback(of);
    return status;
}

static dc_status read_once(dc_db *of, int64_t number)
{
    const dc_key key = raw_key(integer(number));
    dc_row row;
    dc_status status;

    dc_row_init(&row);
    status = dc_row_get(of, &key, DC_DETAIL_ALL, &row);
    dc_row_clear(&row);
    return status == DC_NOT_FOUND || status == DC_BUSY ? DC_OK : status;
}

static void *write_and_read(void *argument)
{
    worker *self = argument;
    const int64_t thread = self->number;
    dc_namelist gone = {.count = 0};

    dc_db_watch_header(&self->own, dc_db_wal_header(&self->own));
    for (int64_t round = 0; round < ROUNDS; round++) {
        if (!CHECK_INT(DC_OK, write_once(&self->own, thread, round, &gone)) ||
            !CHECK_INT(DC_OK,
                       read_once(&self->own, (thread + 1) % WRITERS * ROUNDS + round % 10))) {
            printf("# %s\n", self->own.error.message);
            break;
        }
        for (const char *name = NULL; (name = dc_namelist_next(&gone, name)) != NULL;) {
            dc_valuefile_remove(check_directory(), name);
        }
        dc_namelist_clear(&gone);
    }
    dc_namelist_clear(&gone);
    atomic_fetch_sub(&at_work, 1);
    return NULL;
}

static void *copy_the_log(void *argument)
{
    worker *self = argument;

    while (atomic_load(&at_work) > 0) {
        dc_checkpoint checkpoint = {.patience = 0.001, .turns = &turns};
        dc_log log;

        CHECK(dc_checkpoint_copy(&self->own, &checkpoint) != DC_CHECKPOINT_FAILED);
        dc_log_look(&self->own, &log);
        sched_yield();
    }
    return NULL;
}

/* The last of them copies the log. */
static void run_threads(void)
{
    static worker workers[WRITERS + 1];

    atomic_store(&at_work, WRITERS);
    for (int i = 0; i <= WRITERS; i++) {
        workers[i].number = i;
        database_connect(&workers[i].own);
        CHECK_INT(0, database_integer(&workers[i].own, "SELECT count(*) FROM Cache"));
    }
    for (int i = 0; i <= WRITERS; i++) {
        if (pthread_create(&workers[i].thread, NULL, i < WRITERS ? write_and_read : copy_the_log,
                           &workers[i]) != 0) {
            check_fatal("pthread_create");
        }
    }
    for (int i = 0; i <= WRITERS; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    for (int i = 0; i <= WRITERS; i++) {
        database_close(&workers[i].own);
    }
}

static void threads_with_handles_of_their_own_lose_nothing(void)
{
    open_store();
    run_threads();
    CHECK(value_is_integer(text("count"), (int64_t)WRITERS * ROUNDS));
    CHECK_INT(WRITERS * 10 + 1, row_count());
    CHECK_INT(1,
              database_integer(&db, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"));
    CHECK_INT(0, atomic_load(&turns) % 2);
    close_store();
}

int main(int argc, char **argv)
{
    check_test tests[] = {CHECK_TEST(threads_with_handles_of_their_own_lose_nothing)};

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
