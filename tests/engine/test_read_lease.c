/* test_read_lease.c: a lock that is kept costs no call, is in nobody's way for long, and is one. */
#include "sqlite/read_lease.h"

#include "database.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- The locks that SQLite's own methods have, beneath those of the lease ------------------------------ */

enum { FIRST_MARK_LOCK = 3, LOCKS = 8 };

static dc_io_methods watching;
static const dc_io_methods *watched;
static atomic_int calls;
static atomic_int held[LOCKS];
static atomic_int
    wrong; /* a lock that is had already, or given back without being had; a second mark */

/* The lock of a read mark that a handle has; 0: none. */
static int mark_lock(void)
{
    for (int lock = FIRST_MARK_LOCK; lock < LOCKS; lock++) {
        if (atomic_load(&held[lock])) {
            return lock;
        }
    }
    return 0;
}

static int watched_shm_lock(sqlite3_file *file, int first, int count, int flags)
{
    int had = mark_lock();
    int result = watched->shm_lock(file, first, count, flags);

    if (flags == (DC_SQLITE_SHM_LOCK | DC_SQLITE_SHM_SHARED) && first >= FIRST_MARK_LOCK) {
        atomic_fetch_add(&wrong, had != 0);
    }
    atomic_fetch_add(&calls, 1);
    for (int lock = first; lock < first + count && result == DC_SQLITE_OK; lock++) {
        int wanted = (flags & DC_SQLITE_SHM_LOCK) != 0;

        atomic_fetch_add(&wrong, atomic_exchange(&held[lock], wanted) == wanted);
    }
    return result;
}

/* ---- Databases --------------------------------------------------------------------------------- */

enum { ENOUGH = 10 }; /* transactions after which a lock is kept */

static void open_table(dc_db *db)
{
    database_connect(db);
    database_execute(db, "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, content)");
    database_integer(db, "SELECT count(*) FROM t");
}

static void insert(dc_db *db)
{
    database_execute(db, "INSERT INTO t (content) VALUES ('x')");
}

/* As a lookup: it may begin with a lease. */
static int64_t rows(dc_db *db)
{
    int64_t count;

    dc_read_lease_allow(&db->lease);
    count = database_integer(db, "SELECT count(*) FROM t");
    dc_read_lease_forbid(&db->lease);
    return count;
}

/* A handle whose locks are watched, and kept. */
static void open_leasing(dc_db *db)
{
    open_table(db);
    watched = db->file->methods;
    watching = *watched;
    watching.shm_lock = watched_shm_lock;
    db->file->methods = &watching;
    atomic_store(&wrong, 0);
    for (int lock = 0; lock < LOCKS; lock++) {
        atomic_store(&held[lock], 0);
    }
    dc_db_watch_header(db, dc_db_wal_header(db));
    CHECK(db->lease.io.file == db->file);
}

static void read_often(dc_db *db)
{
    for (int i = 0; i < ENOUGH; i++) {
        rows(db);
    }
}

static void pause_milliseconds(long milliseconds)
{
    const struct timespec pause = {0, milliseconds * 1000000};

    nanosleep(&pause, NULL);
}

static void close_leasing(dc_db *db)
{
    dc_db_watch_header(db, NULL);
    CHECK_INT(0, mark_lock());
    CHECK_INT(0, atomic_load(&wrong));
    CHECK(db->file->methods == &watching);
    db->file->methods = watched;
    database_close(db);
}

/* ---- Tests ------------------------------------------------------------------------------------- */

static void reads_in_succession_take_no_lock(void)
{
    dc_db db;
    int most = 0;

    open_leasing(&db);
    insert(&db);
    read_often(&db);
    for (int i = 0; i < 1000; i++) {
        int before = atomic_load(&calls);

        CHECK_INT(1, rows(&db));
        most += atomic_load(&calls) == before;
    }
    CHECK(most > 0); /* it ends, and begins anew, every few milliseconds */
    close_leasing(&db);
}

static void a_write_begins_with_the_lock_that_is_there(void)
{
    dc_db db;
    int before;

    open_leasing(&db);
    do { /* until the lease has not just ended meanwhile */
        read_often(&db);
        insert(&db); /* the mark is raised */
        rows(&db);
        before = atomic_load(&calls);
        CHECK_INT(DC_OK, dc_db_begin(&db));
        CHECK(mark_lock() != 0);
        insert(&db);
        CHECK_INT(DC_OK, dc_db_commit(&db));
    } while (atomic_load(&calls) - before != 2);
    close_leasing(&db);
}

/* Whoever cannot do without the lock, since it does not look whether it may have been lost. */
static void who_does_not_say_so_takes_a_lock(void)
{
    dc_db db;
    int before;

    open_leasing(&db);
    insert(&db);
    do {
        read_often(&db);
        before = atomic_load(&calls);
    } while (mark_lock() == 0);
    CHECK_INT(DC_OK, dc_db_begin_read(&db));
    CHECK_INT(1, database_integer(&db, "SELECT count(*) FROM t"));
    CHECK(atomic_load(&calls) - before >= 2);
    CHECK(mark_lock() != 0);
    dc_db_end_read(&db);
    close_leasing(&db);
}

static void it_is_told_whether_a_lease_was_used(void)
{
    dc_db db;

    open_leasing(&db);
    insert(&db);
    dc_read_lease_allow(&db.lease);
    database_integer(&db, "SELECT count(*) FROM t");
    CHECK(!dc_read_lease_forbid(&db.lease));
    for (int used = 0; !used;) {
        rows(&db);
        dc_read_lease_allow(&db.lease);
        database_integer(&db, "SELECT count(*) FROM t");
        used = dc_read_lease_forbid(&db.lease);
    }
    close_leasing(&db);
}

/* Pages of 64 KB: the log is as long with a sixteenth of the frames. */
static void large_pages_count_as_such(void)
{
    dc_db db;

    CHECK_INT(DC_OK, database_open(&db, database_path("cache.db")));
    database_execute(&db, "PRAGMA page_size = 65536");
    database_close(&db);
    CHECK_INT(DC_OK, database_open(&db, database_path("cache.db")));
    database_execute(&db, "PRAGMA page_size = 65536");
    database_execute(&db, "CREATE TABLE t (id INTEGER PRIMARY KEY, content)");
    database_close(&db);
    open_leasing(&db);
    for (int i = 0; i < 40; i++) {
        insert(&db);
    }
    CHECK(dc_wal_bytes(db.commit.header) > DC_LEASE_BYTES);
    for (int i = 0; i < 2 * ENOUGH; i++) {
        rows(&db);
        CHECK_INT(0, mark_lock());
    }
    close_leasing(&db);
}

static void a_lease_ends_by_itself(void)
{
    dc_db db;

    open_leasing(&db);
    insert(&db);
    read_often(&db);
    while (mark_lock() != 0) { /* for a test that hangs there is a limit */
        pause_milliseconds(1);
    }
    CHECK_INT(1, rows(&db));
    close_leasing(&db);
}

/* Whoever reads without a pause gives the lock back all the same, at the end of a transaction. */
static void a_lease_that_is_used_ends_too(void)
{
    dc_db db;

    open_leasing(&db);
    insert(&db);
    for (int i = 0; i < 5; i++) {
        while (!(atomic_load(&db.lease.state) & DC_LEASE_AGED)) {
            rows(&db);
        }
        rows(&db);
        CHECK_INT(0, mark_lock());
    }
    close_leasing(&db);
}

static void who_reads_once_in_a_while_keeps_no_lock(void)
{
    dc_db db;

    open_leasing(&db);
    insert(&db);
    while (atomic_load(&db.lease.transactions) > 0) { /* until a lease has ended unused */
        read_often(&db);
        pause_milliseconds(20);
    }
    for (int i = 0; i < 5; i++) {
        rows(&db);
        CHECK_INT(0, mark_lock());
    }
    close_leasing(&db);
}

static void what_others_commit_is_seen_at_once(void)
{
    dc_db db;
    dc_db other;

    open_leasing(&db);
    open_table(&other);
    for (int i = 1; i <= 2000; i++) {
        insert(&other);
        CHECK_INT(i, rows(&db));
        CHECK_INT(i, rows(&db));
    }
    database_close(&other);
    close_leasing(&db);
}

/* While the lock is kept nobody overwrites what the mark covers; and a checkpoint of the handle itself, which takes
 * that lock for itself, gives it back first. */
static void the_lock_that_is_kept_is_one(void)
{
    dc_db db;
    dc_db other;
    int kept;
    int left;

    open_leasing(&db);
    open_table(&other);
    do {
        insert(&other);
        read_often(&db);
        insert(&other);
        kept = mark_lock() > FIRST_MARK_LOCK;
        CHECK_INT(DC_OK, database_checkpoint(&other, &left));
    } while (!kept || mark_lock() == 0); /* the lease has ended meanwhile */
    CHECK(left > 0);
    CHECK_INT(DC_OK, database_checkpoint(&db, &left));
    CHECK_INT(0, left);
    database_close(&other);
    close_leasing(&db);
}

static void nothing_is_kept_beside_a_long_log(void)
{
    dc_db db;
    int kept = 0;
    int left;

    open_leasing(&db);
    while (dc_wal_bytes(db.commit.header) <= DC_LEASE_BYTES) {
        insert(&db);
    }
    for (int i = 0; i < 2 * ENOUGH; i++) {
        rows(&db);
        CHECK_INT(0, mark_lock());
    }
    CHECK_INT(DC_OK, database_checkpoint(&db, &left)); /* then none is needed of it */
    for (int i = 0; i < 1000 && !kept; i++) {
        rows(&db);
        kept = mark_lock() == FIRST_MARK_LOCK;
    }
    CHECK(kept);
    insert(&db); /* it begins the log anew */
    CHECK(dc_wal_bytes(db.commit.header) < 10 * 4096);
    close_leasing(&db);
}

static void a_log_begins_anew_beside_readers_that_never_stop(void)
{
    dc_db db;
    dc_db other;
    int64_t longest = 0;
    int left;

    open_leasing(&db);
    open_table(&other);
    for (int i = 1; i <= 5000; i++) {
        int64_t frames;

        insert(&other);
        CHECK_INT(i, rows(&db));
        frames = dc_wal_bytes(db.commit.header) / 4096;
        longest = frames > longest ? frames : longest;
        if (frames >= 1000) {
            CHECK_INT(DC_OK, database_checkpoint(&other, &left));
        }
    }
    CHECK(longest < 1200);
    database_close(&other);
    close_leasing(&db);
}

static void nothing_is_kept_while_leases_are_suspended(void)
{
    dc_db db;

    open_leasing(&db);
    insert(&db);
    read_often(&db);
    dc_read_leases_suspend();
    CHECK_INT(0, mark_lock());
    for (int i = 0; i < 2 * ENOUGH; i++) {
        rows(&db);
        CHECK_INT(0, mark_lock());
    }
    dc_read_leases_resume();
    read_often(&db);
    do {
        rows(&db);
    } while (mark_lock() == 0);
    close_leasing(&db);
}

static void transaction_of_child(dc_db *inherited)
{
    dc_db own;

    int before = atomic_load(&calls);

    alarm(20);
    dc_db_watch_header(inherited, NULL);
    if (atomic_load(&calls) != before) {
        _exit(1); /* a thread that does not exist here may have what that takes */
    }
    dc_db_abandon(inherited);
    open_table(&own);
    dc_db_watch_header(&own, dc_db_wal_header(&own));
    for (int i = 0; i < 100; i++) {
        insert(&own);
        read_often(&own);
    }
    while (atomic_load(&own.lease.state) != 0) {
        pause_milliseconds(1);
    }
    database_close(&own);
    dc_read_leases_suspend();
    _exit(0);
}

static void *read_in_thread(void *db)
{
    read_often(db);
    return NULL;
}

/* The thread sanitizer ends a child that starts a thread, unless it is told not to. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}

static void a_forked_child_begins_without(void)
{
    dc_db db;
    pthread_t thread;
    int status;

    open_leasing(&db);
    insert(&db);
    for (int i = 0; i < 5; i++) {
        pid_t child;

        read_often(&db);
        pause_milliseconds(
            30); /* a thread that is just beginning would have the sanitizer's own locks */
        read_often(&db);
        dc_read_leases_before_fork();
        CHECK_INT(0, mark_lock());
        if (i % 2 == 1) { /* a fork may wait for a thread in vain */
            CHECK_INT(0, pthread_create(&thread, NULL, read_in_thread, &db));
            CHECK_INT(0, pthread_join(thread, NULL));
        }
        child = fork();
        dc_read_leases_after_fork(child == 0, 0);
        if (child == 0) {
            transaction_of_child(&db);
        }
        read_often(&db);
        CHECK(waitpid(child, &status, 0) == child);
        CHECK_INT(0, status);
    }
    CHECK_INT(501, rows(&db));
    close_leasing(&db);
}

/* A process that is killed has no locks: the kernel sees to that. */
static void a_killed_process_is_in_nobodys_way(void)
{
    dc_db db;
    pid_t child = fork();
    int status;
    int left;

    if (child == 0) {
        alarm(20);
        open_table(&db);
        dc_db_watch_header(&db, dc_db_wal_header(&db));
        insert(&db);
        for (;;) {
            read_often(&db);
        }
    }
    pause_milliseconds(50);
    kill(child, SIGKILL);
    CHECK(waitpid(child, &status, 0) == child);
    open_leasing(&db);
    insert(&db);
    CHECK_INT(DC_OK, database_checkpoint(&db, &left));
    CHECK_INT(0, left);
    close_leasing(&db);
}

static void a_journal_that_is_no_log_has_no_leases(void)
{
    dc_db db;

    open_leasing(&db);
    insert(&db);
    read_often(&db);
    database_execute(&db, "PRAGMA journal_mode = delete"); /* behind the back of the lease */
    CHECK_INT(0, mark_lock());
    insert(&db);
    CHECK_INT(2, rows(&db));
    database_execute(&db, "PRAGMA journal_mode = wal");
    read_often(&db);
    close_leasing(&db);
}

static void a_detached_handle_is_as_it_was(void)
{
    dc_db db;

    open_leasing(&db);
    insert(&db);
    read_often(&db);
    dc_db_watch_header(&db, NULL);
    CHECK(db.file->methods == &watching);
    CHECK_INT(0, mark_lock());
    CHECK_INT(1, rows(&db));
    CHECK_INT(0, mark_lock());
    dc_db_watch_header(&db, dc_db_wal_header(&db));
    CHECK(db.file->methods != &watching);
    CHECK_INT(1, rows(&db));
    close_leasing(&db);
}

static void a_handle_is_detached_in_the_middle_of_a_read(void)
{
    dc_db db;

    open_leasing(&db);
    insert(&db);
    read_often(&db);
    CHECK_INT(DC_OK, dc_db_begin_read(&db));
    CHECK_INT(1, rows(&db));
    dc_db_watch_header(&db, NULL);
    CHECK(mark_lock() != 0);
    dc_db_end_read(&db);
    close_leasing(&db);
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(reads_in_succession_take_no_lock),
        CHECK_TEST(a_write_begins_with_the_lock_that_is_there),
        CHECK_TEST(who_does_not_say_so_takes_a_lock),
        CHECK_TEST(it_is_told_whether_a_lease_was_used),
        CHECK_TEST(large_pages_count_as_such),
        CHECK_TEST(a_lease_ends_by_itself),
        CHECK_TEST(a_lease_that_is_used_ends_too),
        CHECK_TEST(who_reads_once_in_a_while_keeps_no_lock),
        CHECK_TEST(what_others_commit_is_seen_at_once),
        CHECK_TEST(the_lock_that_is_kept_is_one),
        CHECK_TEST(nothing_is_kept_beside_a_long_log),
        CHECK_TEST(a_log_begins_anew_beside_readers_that_never_stop),
        CHECK_TEST(nothing_is_kept_while_leases_are_suspended),
        CHECK_TEST(a_forked_child_begins_without),
        CHECK_TEST(a_killed_process_is_in_nobodys_way),
        CHECK_TEST(a_journal_that_is_no_log_has_no_leases),
        CHECK_TEST(a_detached_handle_is_as_it_was),
        CHECK_TEST(a_handle_is_detached_in_the_middle_of_a_read),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
