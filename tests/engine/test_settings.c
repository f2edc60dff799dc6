/* test_settings.c: the Settings table: settings, sums and statistics. */
#include "engine/settings.h"

#include "store.h"

/* ---- Settings, statistics, sizes ------------------------------------------------------------ */

static void settings_of_every_type_come_back(void)
{
    const dc_datum data[] = {integer(5), real(0.5),  text("wal"),
                             text(""),   null_datum, bytes(DC_BLOB, "\0", 1)};
    dc_row row;

    open_store();
    dc_row_init(&row);
    CHECK_INT(DC_NOT_FOUND, dc_setting_get(&db, "name", &row));
    for (size_t i = 0; i < sizeof data / sizeof *data; i++) {
        CHECK_INT(DC_OK, dc_setting_set(&db, DC_SQL_SETTING_REPLACE, "name", &data[i]));
        CHECK_INT(DC_OK, dc_setting_get(&db, "name", &row));
        CHECK_INT(data[i].type, row.columns.value.type);
    }
    CHECK(is_bytes(DC_BLOB, "\0", 1, row.columns.value));
    dc_row_clear(&row);
    close_store();
}

static void defaults_do_not_replace_and_updates_do_not_insert(void)
{
    const dc_datum one = integer(1);
    const dc_datum two = integer(2);
    int64_t value;

    open_store();
    CHECK_INT(DC_OK, dc_setting_set(&db, DC_SQL_SETTING_UPDATE, "name", &one));
    CHECK_INT(DC_NOT_FOUND, dc_setting_get_integer(&db, "name", &value));
    CHECK_INT(DC_OK, dc_setting_set(&db, DC_SQL_SETTING_DEFAULT, "name", &one));
    CHECK_INT(1, setting("name"));
    CHECK_INT(DC_OK, dc_setting_set(&db, DC_SQL_SETTING_DEFAULT, "name", &two));
    CHECK_INT(1, setting("name"));
    CHECK_INT(DC_OK, dc_setting_set(&db, DC_SQL_SETTING_UPDATE, "name", &two));
    CHECK_INT(2, setting("name"));
    close_store();
}

static void a_setting_that_is_no_integer_is_made_one(void)
{
    const dc_datum half = real(7.5);
    const dc_datum word = text("7");

    open_store();
    CHECK_INT(DC_OK, dc_setting_set(&db, DC_SQL_SETTING_REPLACE, "name", &half));
    CHECK_INT(7, setting("name"));
    CHECK_INT(DC_OK, dc_setting_set(&db, DC_SQL_SETTING_REPLACE, "name", &word));
    CHECK_INT(0, setting("name"));
    close_store();
}

static void lookups_are_counted(void)
{
    open_store();
    for (int i = 0; i < 5; i++) {
        CHECK_INT(DC_OK, dc_setting_count_lookups(&db, i < 2, 1));
    }
    CHECK_INT(2, setting("hits"));
    CHECK_INT(3, setting("misses"));
    close_store();
}

static void an_access_is_noted_as_the_policy_needs(void)
{
    open_store();
    set(integer(1), inline_value(integer(1)));
    set(integer(2), inline_value(integer(1)));
    CHECK_INT(DC_OK, dc_row_count_access(&db, DC_POLICY_NONE, 1, 5000.0, 1));
    CHECK_INT(DC_OK, dc_row_count_access(&db, DC_POLICY_LEAST_RECENTLY_STORED, 1, 5000.0, 1));
    CHECK_INT(2, database_integer(&db, "SELECT count(*) FROM Cache WHERE access_time = 1000 AND"
                                       " access_count = 0"));
    CHECK_INT(DC_OK, dc_row_count_access(&db, DC_POLICY_LEAST_RECENTLY_USED, 1, 5000.0, 1));
    CHECK_INT(1, database_integer(&db, "SELECT rowid FROM Cache WHERE access_time = 5000"));
    CHECK_INT(DC_OK, dc_row_count_access(&db, DC_POLICY_LEAST_FREQUENTLY_USED, 2, 5000.0, 2));
    CHECK_INT(2, database_integer(&db, "SELECT rowid FROM Cache WHERE access_count = 2"));
    CHECK_INT(1, database_integer(&db, "SELECT count(*) FROM Cache WHERE access_time = 5000"));
    close_store();
}

/* ---- What once went wrong ------------------------------------------------------------------- */

static void a_setting_beyond_64_bits_is_clamped(void)
{
    const dc_datum huge = real(1e300);

    open_store();
    CHECK_INT(DC_OK, dc_setting_set(&db, DC_SQL_SETTING_REPLACE, "name", &huge));
    CHECK_INT(INT64_MAX, setting("name"));
    close_store();
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(settings_of_every_type_come_back),
        CHECK_TEST(defaults_do_not_replace_and_updates_do_not_insert),
        CHECK_TEST(a_setting_that_is_no_integer_is_made_one),
        CHECK_TEST(lookups_are_counted),
        CHECK_TEST(an_access_is_noted_as_the_policy_needs),
        CHECK_TEST(a_setting_beyond_64_bits_is_clamped),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
