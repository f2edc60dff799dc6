/* test_survey.c: what a check learns from one pass over rows and indexes. */
#include "engine/survey.h"

#include "engine/compare.h"
#include "store.h"

/* ---- Rows ----------------------------------------------------------------------------------- */

static int kinds_of_all(void)
{
    dc_survey survey;

    CHECK_INT(DC_OK, dc_survey_rows(&db, INT64_MIN, INT64_MAX, &survey));
    CHECK_INT(database_integer(&db, "SELECT count(*) FROM Cache"), survey.rows);
    return survey.kinds;
}

static void plain_rows_need_no_other_look(void)
{
    const dc_datum data[] = {text("a"),  text(""), text("\xc3\xa9"), bytes(DC_BLOB, "\xff", 1),
                             integer(1), real(1.5)};

    open_store();
    for (size_t i = 0; i < sizeof data / sizeof *data; i++) {
        set(data[i], expiring(tagged(inline_value(data[i]), data[i]), NOW + 1));
    }
    CHECK_INT(0, kinds_of_all());
    close_store();
}

static void what_is_in_rows_is_told(void)
{
    static const struct {
        const char *change; /* of a plain row */
        int kinds;
    } cases[] = {
        {"key = x'2e', raw = 0", DC_SURVEY_PICKLED_KEYS},
        {"mode = 4, value = x'4e2e'", DC_SURVEY_PICKLES},
        {"mode = 4, value = NULL, filename = 'a', size = 1", DC_SURVEY_FILES},
        {"mode = 2, value = NULL, filename = 'a', size = 1", DC_SURVEY_FILES},
        {"key = NULL", DC_SURVEY_ODD},
        {"key = CAST(x'ff' AS TEXT)", DC_SURVEY_ODD},
        {"key = x'00', raw = 0", DC_SURVEY_ODD},
        {"key = x'', raw = 0", DC_SURVEY_ODD},
        {"key = '.', raw = 0", DC_SURVEY_ODD},
        {"raw = 2", DC_SURVEY_ODD},
        {"raw = NULL", DC_SURVEY_ODD},
        {"raw = 'x'", DC_SURVEY_ODD},
        {"tag = CAST(x'ff' AS TEXT)", DC_SURVEY_ODD},
        {"value = CAST(x'ff' AS TEXT)", DC_SURVEY_ODD},
        {"mode = 4", DC_SURVEY_ODD},
        {"mode = 4, value = NULL", DC_SURVEY_ODD},
        {"mode = 4, value = x'00'", DC_SURVEY_ODD},
        {"mode = 2", DC_SURVEY_ODD},
        {"mode = 0", DC_SURVEY_ODD},
        {"mode = 5", DC_SURVEY_ODD},
        {"mode = 17", DC_SURVEY_ODD},
        {"mode = NULL", DC_SURVEY_ODD},
        {"mode = 'x'", DC_SURVEY_ODD},
        {"size = 1", DC_SURVEY_ODD},
        {"size = NULL", DC_SURVEY_ODD},
        {"size = 'x'", DC_SURVEY_ODD},
        {"filename = x'61', value = NULL, mode = 2", DC_SURVEY_ODD},
        {"filename = CAST(x'ff' AS TEXT), value = NULL, mode = 2", DC_SURVEY_ODD},
        {"filename = 'a', mode = 2", DC_SURVEY_ODD},
        {"filename = 'a', mode = 1, value = NULL", DC_SURVEY_ODD},
        {"filename = 'a', mode = 2, value = NULL, size = 'x'", DC_SURVEY_ODD},
        {"store_time = 'x'", DC_SURVEY_ODD},
        {"expire_time = x'00'", DC_SURVEY_ODD},
        {"access_time = 'x'", DC_SURVEY_ODD},
        {"access_count = 'x'", DC_SURVEY_ODD},
    };
    char change[200];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_remove_directory();
        open_store();
        for (int key = 0; key < 3; key++) {
            set(integer(key), inline_value(text("value")));
        }
        snprintf(change, sizeof change, "UPDATE Cache SET %s WHERE key = 1", cases[i].change);
        database_execute(&db, change);
        if (!CHECK_INT(cases[i].kinds, kinds_of_all())) {
            printf("# %s\n", cases[i].change);
        }
        close_store();
    }
}

static void rows_are_looked_at_in_pages(void)
{
    dc_survey survey;

    open_store();
    for (int i = 1; i <= 25; i++) {
        set(integer(i), inline_value(integer(i)));
    }
    database_execute(&db, "UPDATE Cache SET size = 1 WHERE rowid > 12");
    CHECK_INT(DC_OK, dc_survey_rows(&db, 11, 10, &survey));
    CHECK_INT(10, survey.rows);
    CHECK_INT(20, survey.last);
    CHECK(!survey.is_last);
    CHECK_INT(DC_OK, dc_survey_rows(&db, 21, 10, &survey));
    CHECK_INT(5, survey.rows);
    CHECK(survey.is_last);
    CHECK_INT(DC_OK, dc_survey_rows(&db, 26, 10, &survey));
    CHECK_INT(0, survey.rows);
    CHECK(survey.is_last);
    close_store();
}

static void more_rows_are_looked_at_while_all_are_plain(void)
{
    dc_survey survey;

    open_store();
    for (int i = 1; i <= 2 * DC_SURVEY_PLAIN + 1; i++) {
        set(integer(i), inline_value(integer(i)));
    }
    CHECK_INT(DC_OK, dc_survey_rows(&db, INT64_MIN, 2, &survey));
    CHECK_INT(2 * DC_SURVEY_PLAIN, survey.last);
    CHECK(!survey.is_last && !survey.counted);
    database_execute(&db, "UPDATE Cache SET size = 1 WHERE rowid = 7");
    CHECK_INT(DC_OK, dc_survey_rows(&db, INT64_MIN, 2, &survey));
    CHECK_INT(7, survey.last);
    CHECK_INT(DC_SURVEY_ODD, survey.kinds);
    close_store();
}

static void the_counters_of_all_rows_are_compared(void)
{
    static const struct {
        const char *change;
        int counted;
    } cases[] = {
        {"UPDATE Settings SET value = value WHERE key = 'count'", 1},
        {"UPDATE Settings SET value = value + 1 WHERE key = 'count'", 0},
        {"UPDATE Settings SET value = value - 1 WHERE key = 'size'", 0},
        {"UPDATE Settings SET value = CAST(value AS REAL) WHERE key = 'count'", 0},
        {"UPDATE Settings SET value = CAST(value AS TEXT) WHERE key = 'size'", 0},
        {"DELETE FROM Settings WHERE key = 'size'", 0},
        {"UPDATE Cache SET raw = 2 WHERE rowid = 2", 0},
    };
    dc_survey survey;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_remove_directory();
        open_store();
        for (int key = 0; key < 3; key++) {
            set(integer(key), inline_value(text("value")));
        }
        database_execute(&db, "UPDATE Cache SET size = 5, filename = 'a', value = NULL, mode = 2");
        database_execute(&db, cases[i].change);
        CHECK_INT(DC_OK, dc_survey_rows(&db, INT64_MIN, 1000, &survey));
        CHECK_INT(cases[i].counted, survey.counted);
        if (cases[i].counted) {
            CHECK_INT(15, survey.bytes);
            CHECK_INT(DC_OK,
                      dc_survey_rows(&db, 1, 1000, &survey)); /* there may be others before */
            CHECK(!survey.counted);
        }
        close_store();
    }
}

static void a_sum_of_sizes_that_does_not_fit_is_odd(void)
{
    dc_survey survey;

    open_store();
    for (int key = 0; key < 3; key++) {
        set(integer(key), inline_value(text("value")));
    }
    database_execute(
        &db, "UPDATE Cache SET size = 9223372036854775807, filename = 'a', value = NULL, mode = 2");
    CHECK_INT(DC_OK, dc_survey_rows(&db, INT64_MIN, 1000, &survey));
    CHECK_INT(DC_SURVEY_ODD | DC_SURVEY_FILES, survey.kinds);
    close_store();
}

/* SQLite takes that function in no schema, but in any query. */
static void a_query_of_the_users_changes_no_survey(void)
{
    open_store();
    set(integer(1), inline_value(integer(1)));
    CHECK_INT(0, kinds_of_all());
    CHECK_INT(0,
              database_integer(&db, "SELECT diskcache_survey(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)"));
    close_store();
}

/* ---- Indexes -------------------------------------------------------------------------------- */

static int64_t compare(const char *select)
{
    int64_t result = -1;

    CHECK_INT(DC_OK, dc_compare(&db, select, &result));
    return result;
}

static void rows_have_the_same_checksum_in_any_order_and_no_others(void)
{
    static const char *const others[] = {
        "(1, 'a'), (2, 'b')",    "(1, 'b'), (2, 'a')",     "(1, 'a'), (1, 'a')",
        "(1, 'a'), (2.0, 'b')",  "(1, 'a'), (2, x'62')",   "(1, 'a'), (2, NULL)",
        "(1, 'a'), (NULL, 'b')", "(1, 'a'), (2, 'b\x01')", "(1, 'a'), (2, 'bcdefghi')",
        "(1, 'a'), (2, '')",     "(1, 'a'), (2, x'')",     "(1, 'a'), (2, 'bcdefghj')",
    };
    enum { COUNT = sizeof others / sizeof *others };
    char select[400];

    open_store();
    CHECK_INT(1,
              compare("SELECT (SELECT diskcache_checksum(column1, column2) FROM (VALUES (1, 'a'),"
                      " (2, 'b'))) = (SELECT diskcache_checksum(column1, column2) FROM (VALUES"
                      " (2, 'b'), (1, 'a')))"));
    for (int i = 0; i < COUNT; i++) {
        for (int j = 0; j < COUNT; j++) {
            snprintf(select, sizeof select,
                     "SELECT (SELECT diskcache_checksum(column1, column2) FROM (VALUES %s))"
                     " = (SELECT diskcache_checksum(column1, column2) FROM (VALUES %s))",
                     others[i], others[j]);
            CHECK_INT(i == j, compare(select));
        }
    }
    CHECK_INT(1, compare("SELECT diskcache_checksum(rowid) = 0 FROM Cache"));
    close_store();
}

static void rows_that_do_not_ascend_are_told(void)
{
    static const struct {
        const char *rows;
        int unique;
        int ascend;
    } cases[] = {
        {"(1, 1), (2, 1), (2, 2)", 0, 1},
        {"(1, 1), (2, 1), (2, 2)", 1, 0},
        {"(NULL, 1), (NULL, 2), (1, 1)", 1, 1},
        {"(2, 1), (1, 1)", 0, 0},
        {"(1, 2), (1, 1)", 0, 0},
        {"(1, 1), (1, 1)", 0, 0},
        {"(NULL, 1), (-1, 1), (-0.5, 1), (0, 1), ('', 1), ('a', 1), ('ab', 1), (x'', 1), (x'00', 1)",
         0, 1},
        {"('ab', 1), ('a', 1)", 0, 0},
        {"(x'00', 1), ('b', 1)", 0, 0},
        {"('a', 1), (1, 1)", 0, 0},
        {"(1, 1), (NULL, 1)", 0, 0},
        {"(9007199254740992.0, 1), (9007199254740993, 1)", 0, 1},
        {"(9007199254740993, 1), (9007199254740992.0, 1)", 0, 0},
        {"(-1, 1), (-0.5, 1), (0, 1), (0.5, 1), (1, 1), (1.5, 1), (2, 1)", 1, 1},
        {"(0.5, 1), (0, 1)", 0, 0},
        {"(0, 1), (-0.5, 1)", 0, 0},
        {"(-1e300, 1), (-9223372036854775808, 1), (9223372036854775807, 1), (1e300, 1)", 1, 1},
        {"(9223372036854775808.0, 1), (9223372036854775807, 1)", 0, 0},
        {"('a', 1), ('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 1), ('b', 1)", 0, 1},
    };
    char select[400];

    open_store();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(select, sizeof select,
                 "SELECT diskcache_ascends(%d, column1, column2) FROM (VALUES %s)", cases[i].unique,
                 cases[i].rows);
        if (!CHECK_INT(cases[i].ascend, compare(select))) {
            printf("# %s\n", cases[i].rows);
        }
    }
    CHECK_INT(1, compare("SELECT diskcache_ascends(0, rowid) FROM Cache"));
    close_store();
}

static void what_cannot_be_compared_does_not_agree(void)
{
    int64_t result = 1;

    open_store();
    CHECK_INT(0, compare("SELECT diskcache_ascends(0)"));
    CHECK_INT(0, compare("SELECT diskcache_ascends(0, 1, 2, 3, 4, 5)"));
    CHECK_INT(0, compare("SELECT NULL"));
    CHECK_INT(DC_SQLITE, dc_compare(&db, "SELECT nothing", &result));
    db.is_utf8 = 0;
    CHECK_INT(0, compare("SELECT 1"));
    close_store();
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(plain_rows_need_no_other_look),
        CHECK_TEST(what_is_in_rows_is_told),
        CHECK_TEST(rows_are_looked_at_in_pages),
        CHECK_TEST(more_rows_are_looked_at_while_all_are_plain),
        CHECK_TEST(the_counters_of_all_rows_are_compared),
        CHECK_TEST(a_sum_of_sizes_that_does_not_fit_is_odd),
        CHECK_TEST(a_query_of_the_users_changes_no_survey),
        CHECK_TEST(rows_have_the_same_checksum_in_any_order_and_no_others),
        CHECK_TEST(rows_that_do_not_ascend_are_told),
        CHECK_TEST(what_cannot_be_compared_does_not_agree),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
