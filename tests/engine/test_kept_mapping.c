/* test_kept_mapping.c: another connection's commit costs no mapping, and what is mapped is what the file has. */
#include "sqlite/kept_mapping.h"

#include "database.h"
#include "engine/file_system.h"

#include <string.h>
#include <unistd.h>

/* ---- What SQLite's own method is called for, beneath that of the mapping --------------------------- */

static dc_io_methods watching;
static const dc_io_methods *watched;
static int removals;

static int watched_unfetch(sqlite3_file *file, dc_int64 offset, void *page)
{
    removals += page == NULL;
    return watched->unfetch(file, offset, page);
}

static void watch(dc_db *db)
{
    watched = db->file->methods;
    watching = *watched;
    watching.unfetch = watched_unfetch;
    db->file->methods = &watching;
    removals = 0;
}

/* ---- Two connections ------------------------------------------------------------------------------ */

static dc_db reader, writer;

static void open_both(void)
{
    database_connect(&writer);
    database_execute(&writer, "PRAGMA auto_vacuum = 2");
    database_execute(&writer, "VACUUM");
    database_execute(&writer, "CREATE TABLE t (id INTEGER PRIMARY KEY, content)");
    database_execute(&writer, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                              " WHERE i < 400) INSERT INTO t SELECT i, zeroblob(1000) FROM n");
    database_execute(&writer, "PRAGMA wal_checkpoint(TRUNCATE)");
    database_connect(&reader);
    database_execute(&reader, "PRAGMA mmap_size = 67108864");
    watch(&reader);
}

static void close_both(void)
{
    dc_kept_mapping_detach(&reader.mapping);
    CHECK(reader.file->methods == &watching);
    reader.file->methods = watched;
    database_close(&reader);
    database_close(&writer);
}

/* Of each row; all pages are read. */
static int64_t sum_of_lengths(void)
{
    return database_integer(&reader, "SELECT sum(length(content) + (content > x'01')) FROM t");
}

static void commit_and_copy(const char *change)
{
    database_execute(&writer, change);
    database_execute(&writer, "PRAGMA wal_checkpoint(RESTART)");
}

static void a_commit_leaves_the_mapping_of_a_file_that_keeps_its_size(void)
{
    open_both();
    sum_of_lengths();
    dc_kept_mapping_attach(&reader.mapping, reader.file);
    commit_and_copy("UPDATE t SET content = CAST(printf('%1000s', 'c') AS BLOB) WHERE id = 7");
    CHECK_INT(400001, sum_of_lengths());
    CHECK_INT(1, removals); /* of which nothing was known */
    for (int i = 0; i < 5; i++) {
        commit_and_copy(
            "UPDATE t SET content = CAST(printf('%1000s', 'c') AS BLOB) WHERE id < 100");
        CHECK_INT(400099, sum_of_lengths());
        commit_and_copy("UPDATE t SET content = zeroblob(1000) WHERE id < 100");
        CHECK_INT(400000, sum_of_lengths());
    }
    CHECK_INT(1, removals);
    close_both();
}

static void it_is_made_anew_when_the_file_grows_or_shrinks(void)
{
    open_both();
    dc_kept_mapping_attach(&reader.mapping, reader.file);
    CHECK_INT(400000, sum_of_lengths());
    for (int i = 0; i < 5; i++) {
        int before = removals;

        database_execute(&writer, "DELETE FROM t WHERE id > 50");
        commit_and_copy("PRAGMA incremental_vacuum");
        CHECK_INT(50000, sum_of_lengths());
        CHECK_INT(before + 1, removals);
        commit_and_copy("WITH RECURSIVE n(i) AS (SELECT 51 UNION ALL SELECT i + 1 FROM n"
                        " WHERE i < 400) INSERT INTO t SELECT i, zeroblob(1000) FROM n");
        CHECK_INT(400000, sum_of_lengths());
        CHECK_INT(before + 2, removals);
    }
    close_both();
}

/* In between the reader does not look: it has a mapping of pages that were gone for a while. */
static void what_was_cut_and_has_grown_again_is_read_as_it_is(void)
{
    open_both();
    dc_kept_mapping_attach(&reader.mapping, reader.file);
    commit_and_copy("UPDATE t SET content = zeroblob(1000) WHERE id = 1");
    CHECK_INT(400000, sum_of_lengths());
    for (int i = 0; i < 5; i++) {
        int before = removals;

        database_execute(&writer, "DELETE FROM t WHERE id > 50");
        commit_and_copy("PRAGMA incremental_vacuum");
        commit_and_copy(
            "WITH RECURSIVE n(i) AS (SELECT 51 UNION ALL SELECT i + 1 FROM n WHERE"
            " i < 400) INSERT INTO t SELECT i, CAST(printf('%1000s', 'c') AS BLOB) FROM n");
        CHECK_INT(400350, sum_of_lengths());
        CHECK_INT(before + (i == 0), removals); /* the first time it is a page longer than before */
    }
    close_both();
}

/* The size is noted when the mapping is removed, and the file is mapped later: it has grown in between. Then it is
 * damaged, and as long as it was again. */
static void a_mapping_that_is_longer_than_the_file_is_removed(void)
{
    dc_int64 size;
    int64_t sum;

    open_both();
    CHECK_INT(400000, sum_of_lengths());
    dc_kept_mapping_attach(&reader.mapping, reader.file);
    database_execute(&writer, "INSERT INTO t SELECT id + 400, content FROM t");
    CHECK_INT(0, database_integer(&reader, "PRAGMA user_version"));
    CHECK_INT(DC_SQLITE_OK, watched->file_size(reader.file, &size));
    database_execute(&writer, "PRAGMA wal_checkpoint");
    CHECK_INT(800000, sum_of_lengths());
    CHECK_INT(0, truncate(database_path("cache.db"), size));
    database_execute(&writer, "UPDATE t SET content = x'' WHERE id = 1");
    /* What is mapped beyond the end of the file would end the process. */
    CHECK_INT(DC_SQLITE, dc_db_query(&reader, "SELECT sum(length(content)) FROM t",
                                     database_keep_integer, &sum));
    CHECK_INT(DC_SQLITE_CORRUPT, reader.error.sqlite_code & 0xff);
    close_both();
}

static void it_is_removed_where_it_is_not_known_to_show_what_is_written(void)
{
    int (*unfetch)(sqlite3_file *, dc_int64, void *);

    open_both();
    unfetch = reader.file->methods->unfetch;
    dc_db_watch_header(&reader, dc_db_wal_header(&reader));
    CHECK(reader.file->methods->unfetch == unfetch);
    reader.maps_what_is_written = 1;
    dc_db_watch_header(&reader, dc_db_wal_header(&reader));
    CHECK(reader.file->methods->unfetch != unfetch);
    dc_db_watch_header(&reader, NULL);
    CHECK(reader.file->methods->unfetch == unfetch);
    close_both();
    CHECK_INT(0, dc_file_system_maps_what_is_written("/proc"));
}

static void without_it_the_methods_are_those_of_before(void)
{
    open_both();
    for (int i = 0; i < 2; i++) {
        dc_kept_mapping_attach(&reader.mapping, reader.file);
        CHECK(reader.file->methods != &watching);
        dc_kept_mapping_detach(&reader.mapping);
        CHECK(reader.file->methods == &watching);
        dc_kept_mapping_detach(&reader.mapping);
        CHECK(reader.file->methods == &watching);
    }
    close_both();
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(a_commit_leaves_the_mapping_of_a_file_that_keeps_its_size),
        CHECK_TEST(it_is_made_anew_when_the_file_grows_or_shrinks),
        CHECK_TEST(what_was_cut_and_has_grown_again_is_read_as_it_is),
        CHECK_TEST(a_mapping_that_is_longer_than_the_file_is_removed),
        CHECK_TEST(it_is_removed_where_it_is_not_known_to_show_what_is_written),
        CHECK_TEST(without_it_the_methods_are_those_of_before),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
