/* test_sql.c: every SQL string of the engine, against the schema.
 *
 * The tables below say again, independently of sql.h, what each statement takes and gives: a
 * parameter that the engine forgets to bind would keep its value from the time before.
 */
#include "engine/sql.h"

#include "database.h"
#include "engine/db.h"
#include "engine/survey.h"
#include "engine/write.h"

#define SQLITE_DBCONFIG_DQS_DDL 1014

typedef struct statement_shape {
    dc_sql sql;
    int parameters;
    int columns;
} statement_shape;

static const statement_shape shapes[] = {
    {DC_SQL_BEGIN, 0, 0},
    {DC_SQL_BEGIN_READ, 0, 0},
    {DC_SQL_COMMIT, 0, 0},
    {DC_SQL_ROLLBACK, 0, 0},
    {DC_SQL_GET, 2, 8},
    {DC_SQL_GET_RAW_KEY, 1, 5},
    {DC_SQL_GET_PICKLED_KEY, 1, 5},
    {DC_SQL_LOCATE, 2, 3},
    {DC_SQL_INSERT, 9, 0},
    {DC_SQL_INSERT_ABSENT, 9, 0},
    {DC_SQL_PUT, 9, 0},
    {DC_SQL_PUT_PLAIN, 9, 0},
    {DC_SQL_PUT_LATER, 9, 0},
    {DC_SQL_UPDATE, 8, 0},
    {DC_SQL_UPDATE_VALUE, 3, 0},
    {DC_SQL_INCREMENT, 6, 0},
    {DC_SQL_UPDATE_EXPIRE_TIME, 2, 0},
    {DC_SQL_UPDATE_ACCESS_TIME, 2, 0},
    {DC_SQL_UPDATE_ACCESS_COUNT, 2, 0},
    {DC_SQL_FILENAMES, 0, 1},
    {DC_SQL_DELETE, 1, 0},
    {DC_SQL_DELETE_INLINE, 3, 0},
    {DC_SQL_INTEGERS_FRONT, 2, 10},
    {DC_SQL_INTEGERS_BACK, 2, 10},
    {DC_SQL_TEXT_FRONT, 3, 10},
    {DC_SQL_TEXT_BACK, 3, 10},
    {DC_SQL_FIRST, 0, 10},
    {DC_SQL_LAST, 0, 10},
    {DC_SQL_FIRST_ABOVE, 1, 10},
    {DC_SQL_LAST_BELOW, 1, 10},
    {DC_SQL_NTH_LOWEST, 1, 10},
    {DC_SQL_NTH_HIGHEST, 1, 10},
    {DC_SQL_MAX_ROWID, 0, 1},
    {DC_SQL_KEYS_FORWARD, 3, 3},
    {DC_SQL_KEYS_BACKWARD, 3, 3},
    {DC_SQL_KEYS_LOWEST, 1, 3},
    {DC_SQL_KEYS_ABOVE, 3, 3},
    {DC_SQL_KEYS_HIGHEST, 1, 3},
    {DC_SQL_KEYS_BELOW, 3, 3},
    {DC_SQL_EARLIEST_EXPIRY, 0, 1},
    {DC_SQL_VICTIM_EXPIRED, 3, 3},
#define VICTIM(id, ...) {DC_SQL_VICTIM_##id, 3, 3},
    DC_POLICIES(VICTIM, )
#undef VICTIM
        {DC_SQL_VALUE_BYTES, 1, 1},
    {DC_SQL_BATCH_ALL, 3, 3},
    {DC_SQL_BATCH_TAGGED, 3, 3},
    {DC_SQL_BATCH_EXPIRED, 3, 3},
    {DC_SQL_NEXT_ALL, 3, 3},
    {DC_SQL_NEXT_TAGGED, 3, 3},
    {DC_SQL_NEXT_EXPIRED, 3, 3},
    {DC_SQL_FILES, 0, 3},
    {DC_SQL_COUNT_ROWS, 0, 1},
    {DC_SQL_DELETE_ALL, 0, 0},
    {DC_SQL_TRIGGERS, 0, 2},
    {DC_SQL_SAVEPOINT, 0, 0},
    {DC_SQL_ROLLBACK_TO_SAVEPOINT, 0, 0},
    {DC_SQL_RELEASE_SAVEPOINT, 0, 0},
    {DC_SQL_SURVEY, 1, 1},
    {DC_SQL_SETTING_GET, 1, 1},
    {DC_SQL_SETTING_UPDATE, 2, 0},
    {DC_SQL_SETTING_REPLACE, 2, 0},
    {DC_SQL_SETTING_DEFAULT, 2, 0},
    {DC_SQL_SETTING_INCREMENT, 2, 0},
    {DC_SQL_PAGE_SIZE, 0, 1},
    {DC_SQL_PAGE_COUNT, 0, 1},
    {DC_SQL_FREELIST_COUNT, 0, 1},
};

/* ---- Statements ----------------------------------------------------------------------------- */

static int parameters_of(sqlite3_stmt *statement)
{
    int count = 0;

    while (sqlite.bind_null(statement, count + 1) == DC_SQLITE_OK) {
        count++;
    }
    return count;
}

static void every_statement_is_in_the_table_above(void)
{
    CHECK_INT(DC_SQL_COUNT, sizeof shapes / sizeof *shapes);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        CHECK_INT(i, shapes[i].sql);
    }
}

static void every_statement_compiles_with_its_parameters_and_columns(void)
{
    dc_db db;

    database_create(&db);
    dc_write_define_sum(&db);
    dc_survey_define(&db);
    for (int sql = 0; sql < DC_SQL_COUNT; sql++) {
        sqlite3_stmt *statement = NULL;
        const char *rest = NULL;
        int result = sqlite.prepare_v3(db.handle, dc_sql_text[sql], -1, 0, &statement, &rest);

        if (!CHECK_INT(DC_SQLITE_OK, result)) {
            printf("# %s: %s\n", dc_sql_text[sql], sqlite.errmsg(db.handle));
            continue;
        }
        if (!CHECK_INT(shapes[sql].parameters, parameters_of(statement)) ||
            !CHECK_INT(shapes[sql].columns, sqlite.column_count(statement)) ||
            !CHECK_TEXT("", rest)) {
            printf("# %s\n", dc_sql_text[sql]);
        }
        sqlite.finalize(statement);
    }
    database_close(&db);
}

/* Whether some step of the plan for `sql` reads `part`. */
static int plan_contains(dc_db *db, const char *sql, const char *part)
{
    char explain[1024];
    sqlite3_stmt *statement = NULL;
    int found = 0;

    snprintf(explain, sizeof explain, "EXPLAIN QUERY PLAN %s", sql);
    CHECK_INT(DC_SQLITE_OK, sqlite.prepare_v3(db->handle, explain, -1, 0, &statement, NULL));
    while (sqlite.step(statement) == DC_SQLITE_ROW) {
        found |= strstr((const char *)sqlite.column_text(statement, 3), part) != NULL;
    }
    sqlite.finalize(statement);
    return found;
}

static void no_statement_sorts(void)
{
    dc_db db;

    database_create(&db);
    dc_write_define_sum(&db);
    dc_survey_define(&db);
    for (int policy = 0; policy < DC_POLICY_COUNT; policy++) {
        if (dc_policies[policy].create_index != NULL) {
            database_execute(&db, dc_policies[policy].create_index);
        }
    }
    database_execute(&db, DC_TAG_INDEX_CREATE);
    for (int sql = DC_SQL_GET; sql < DC_SQL_PAGE_SIZE; sql++) {
        if (!CHECK(!plan_contains(&db, dc_sql_text[sql], "TEMP B-TREE"))) {
            printf("# %s\n", dc_sql_text[sql]);
        }
    }
    database_close(&db);
}

static void statements_use_the_index_made_for_them(void)
{
    static const struct {
        dc_sql sql;
        const char *index;
    } uses[] = {
        {DC_SQL_GET, "Cache_key_raw"},
        {DC_SQL_GET_RAW_KEY, "Cache_key_raw"},
        {DC_SQL_GET_PICKLED_KEY, "Cache_key_raw"},
        {DC_SQL_LOCATE, "Cache_key_raw"},
        {DC_SQL_INTEGERS_FRONT, "Cache_key_raw"},
        {DC_SQL_INTEGERS_BACK, "Cache_key_raw"},
        {DC_SQL_TEXT_FRONT, "Cache_key_raw"},
        {DC_SQL_TEXT_BACK, "Cache_key_raw"},
        {DC_SQL_NTH_LOWEST, "Cache_key_raw"},
        {DC_SQL_NTH_HIGHEST, "Cache_key_raw"},
        {DC_SQL_KEYS_LOWEST, "Cache_key_raw"},
        {DC_SQL_KEYS_ABOVE, "Cache_key_raw"},
        {DC_SQL_KEYS_HIGHEST, "Cache_key_raw"},
        {DC_SQL_KEYS_BELOW, "Cache_key_raw"},
        {DC_SQL_EARLIEST_EXPIRY, "Cache_expire_time"},
        {DC_SQL_VICTIM_EXPIRED, "Cache_expire_time"},
        {DC_SQL_BATCH_TAGGED, DC_TAG_INDEX_NAME},
        {DC_SQL_BATCH_EXPIRED, "Cache_expire_time"},
        {DC_SQL_NEXT_TAGGED, DC_TAG_INDEX_NAME},
    };
    dc_db db;

    database_create(&db);
    database_execute(&db, DC_TAG_INDEX_CREATE);
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        if (!CHECK(plan_contains(&db, dc_sql_text[uses[i].sql], uses[i].index))) {
            printf("# %s\n", dc_sql_text[uses[i].sql]);
        }
    }
    database_close(&db);
}

static void no_string_needs_double_quotes(void)
{
    for (int sql = 0; sql < DC_SQL_COUNT; sql++) {
        CHECK(strchr(dc_sql_text[sql], '"') == NULL);
    }
    for (size_t i = 0; i < DC_SCHEMA_COUNT; i++) {
        CHECK(strchr(dc_schema[i].create, '"') == NULL);
    }
    for (int policy = 0; policy < DC_POLICY_COUNT; policy++) {
        const char *create = dc_policies[policy].create_index;

        CHECK(create == NULL || strchr(create, '"') == NULL);
    }
    CHECK(strchr(DC_TAG_INDEX_CREATE DC_TAG_INDEX_DROP DC_SELECT_SETTINGS DC_SELECT_SCHEMA
                     DC_SELECT_PRAGMA_SETTINGS,
                 '"') == NULL);
}

/* ---- Schema --------------------------------------------------------------------------------- */

static void the_schema_makes_what_it_names(void)
{
    char query[256];
    dc_db db;

    database_create(&db);
    for (size_t i = 0; i < DC_SCHEMA_COUNT; i++) {
        snprintf(query, sizeof query, "SELECT count(*) FROM sqlite_master WHERE name = '%s'",
                 dc_schema[i].name);
        CHECK_INT(1, database_integer(&db, query));
    }
    CHECK_INT(DC_SCHEMA_COUNT, database_integer(&db, "SELECT count(*) FROM sqlite_master"
                                                     " WHERE name NOT LIKE 'sqlite_autoindex%'"));
    database_close(&db);
}

static void the_schema_can_be_made_again(void)
{
    dc_db db;

    database_create(&db);
    for (size_t i = 0; i < DC_SCHEMA_COUNT; i++) {
        CHECK_INT(DC_OK, dc_db_execute(&db, dc_schema[i].create));
    }
    CHECK_INT(DC_OK, dc_db_execute(&db, DC_TAG_INDEX_DROP));
    CHECK_INT(DC_OK, dc_db_execute(&db, DC_TAG_INDEX_CREATE));
    CHECK_INT(DC_OK, dc_db_execute(&db, DC_TAG_INDEX_CREATE));
    CHECK_INT(DC_OK, dc_db_execute(&db, DC_TAG_INDEX_DROP));
    CHECK_INT(DC_OK, dc_db_execute(&db, DC_TAG_INDEX_DROP));
    database_close(&db);
}

/* As on a SQLite that was built without the misfeature. */
static void the_schema_does_without_double_quoted_strings(void)
{
    dc_db db;

    CHECK_INT(DC_OK, database_open(&db, database_path("strict.db")));
    CHECK_INT(DC_SQLITE_OK, sqlite.db_config(db.handle, SQLITE_DBCONFIG_DQS_DDL, 0, NULL));
    CHECK_INT(DC_SQLITE_OK, sqlite.db_config(db.handle, DC_SQLITE_DBCONFIG_DQS_DML, 0, NULL));
    for (size_t i = 0; i < DC_SCHEMA_COUNT; i++) {
        CHECK_INT(DC_OK, dc_db_execute(&db, dc_schema[i].create));
    }
    CHECK_INT(DC_OK, dc_db_execute(&db, "INSERT INTO Cache (key, raw, size) VALUES (1, 1, 1)"));
    CHECK_INT(DC_OK, dc_db_execute(&db, "UPDATE Cache SET size = 2"));
    CHECK_INT(DC_OK, dc_db_execute(&db, "DELETE FROM Cache"));
    database_close(&db);
}

static void triggers_keep_count_and_size(void)
{
    const char *count = "SELECT value FROM Settings WHERE key = 'count'";
    const char *size = "SELECT value FROM Settings WHERE key = 'size'";
    dc_db db;

    database_create(&db);
    database_execute(&db, "INSERT INTO Cache (key, raw, size) VALUES (1, 1, 100), (2, 1, 0)");
    CHECK_INT(2, database_integer(&db, count));
    CHECK_INT(100, database_integer(&db, size));
    database_execute(&db, "UPDATE Cache SET size = 30 WHERE key = 1");
    CHECK_INT(30, database_integer(&db, size));
    database_execute(&db, "UPDATE Cache SET size = 5 WHERE key = 2");
    CHECK_INT(35, database_integer(&db, size));
    database_execute(&db, "UPDATE Cache SET size = 0 WHERE key = 1");
    CHECK_INT(5, database_integer(&db, size));
    database_execute(&db, "DELETE FROM Cache WHERE key = 1");
    CHECK_INT(1, database_integer(&db, count));
    CHECK_INT(5, database_integer(&db, size));
    database_execute(&db, "DELETE FROM Cache");
    CHECK_INT(0, database_integer(&db, count));
    CHECK_INT(0, database_integer(&db, size));
    database_close(&db);
}

static void a_key_is_unique_together_with_raw(void)
{
    dc_db db;

    database_create(&db);
    CHECK_INT(DC_OK, dc_db_execute(&db, "INSERT INTO Cache (key, raw) VALUES (x'31', 1)"));
    CHECK_INT(DC_OK, dc_db_execute(&db, "INSERT INTO Cache (key, raw) VALUES (x'31', 0)"));
    CHECK_INT(DC_OK, dc_db_execute(&db, "INSERT INTO Cache (key, raw) VALUES ('1', 1)"));
    CHECK_INT(DC_OK, dc_db_execute(&db, "INSERT INTO Cache (key, raw) VALUES (1, 1)"));
    CHECK_INT(DC_SQLITE, dc_db_execute(&db, "INSERT INTO Cache (key, raw) VALUES (1.0, 1)"));
    CHECK_CONTAINS("UNIQUE constraint failed", db.error.message);
    database_close(&db);
}

static dc_status collect_names(void *context, const dc_datum *name, const dc_datum *value)
{
    char *names = context;

    (void)value;
    strncat(names, name->as.bytes.data, name->as.bytes.size);
    strcat(names, " ");
    return DC_OK;
}

static void pragma_settings_are_those_with_the_prefix(void)
{
    char names[256] = "";
    dc_db db;

    database_create(&db);
    database_execute(&db, "INSERT INTO Settings VALUES ('sqlite_synchronous', 1), ('sqlitex', 1),"
                          " ('sqlite', 1), ('sqlite`', 1), ('disk_x', 1), ('sqlite_cache', 1)");
    CHECK_INT(DC_OK, dc_db_query(&db, DC_SELECT_PRAGMA_SETTINGS, collect_names, names));
    CHECK_TEXT("sqlite_cache sqlite_synchronous ", names);
    names[0] = '\0';
    CHECK_INT(DC_OK, dc_db_query(&db, DC_SELECT_SETTINGS, collect_names, names));
    CHECK_CONTAINS("hits ", names);
    names[0] = '\0';
    CHECK_INT(DC_OK, dc_db_query(&db, DC_SELECT_SCHEMA, collect_names, names));
    CHECK_CONTAINS("Cache_key_raw ", names);
    database_close(&db);
}

/* ---- Policies ------------------------------------------------------------------------------- */

static void policies_are_found_by_name(void)
{
    CHECK_INT(DC_POLICY_NONE, dc_policy_find("none"));
    CHECK_INT(DC_POLICY_LEAST_RECENTLY_STORED, dc_policy_find("least-recently-stored"));
    CHECK_INT(DC_POLICY_LEAST_RECENTLY_USED, dc_policy_find("least-recently-used"));
    CHECK_INT(DC_POLICY_LEAST_FREQUENTLY_USED, dc_policy_find("least-frequently-used"));
    for (int policy = 0; policy < DC_POLICY_COUNT; policy++) {
        CHECK_INT(policy, dc_policy_find(dc_policies[policy].name));
    }
}

static void other_names_are_no_policies(void)
{
    CHECK_INT(-1, dc_policy_find(""));
    CHECK_INT(-1, dc_policy_find("None"));
    CHECK_INT(-1, dc_policy_find("least-recently"));
    CHECK_INT(-1, dc_policy_find("least-recently-used "));
}

static void a_policy_makes_the_index_that_its_victims_need(void)
{
    dc_db db;

    database_create(&db);
    for (int policy = 0; policy < DC_POLICY_COUNT; policy++) {
        const dc_policy_sql *each = &dc_policies[policy];

        if (each->index == NULL) {
            CHECK(each->create_index == NULL);
            CHECK_INT(DC_NO_SQL, each->victim);
            CHECK_INT(DC_NO_SQL, each->count_access);
            continue;
        }
        CHECK_INT(DC_OK, dc_db_execute(&db, each->create_index));
        CHECK(plan_contains(&db, dc_sql_text[each->victim], each->index));
    }
    database_close(&db);
}

int main(int argc, char **argv)
{
    static check_test tests[] = {
        CHECK_TEST(every_statement_is_in_the_table_above),
        CHECK_TEST(every_statement_compiles_with_its_parameters_and_columns),
        CHECK_TEST(no_statement_sorts),
        CHECK_TEST(statements_use_the_index_made_for_them),
        CHECK_TEST(no_string_needs_double_quotes),
        CHECK_TEST(the_schema_makes_what_it_names),
        CHECK_TEST(the_schema_can_be_made_again),
        CHECK_TEST(the_schema_does_without_double_quoted_strings),
        CHECK_TEST(triggers_keep_count_and_size),
        CHECK_TEST(a_key_is_unique_together_with_raw),
        CHECK_TEST(pragma_settings_are_those_with_the_prefix),
        CHECK_TEST(policies_are_found_by_name),
        CHECK_TEST(other_names_are_no_policies),
        CHECK_TEST(a_policy_makes_the_index_that_its_victims_need),
    };

    return database_main(argc, argv, tests, sizeof tests / sizeof *tests);
}
