/* sql.c: the texts that sql.h names, the schema and the policies. */
#include "engine/sql.h"

#include <stddef.h>
#include <string.h>

const char *const dc_sql_text[DC_SQL_COUNT] = {
#define DC_SQL_TEXT(name, text) [DC_SQL_##name] = (text),
    DC_SQL_STATEMENTS(DC_SQL_TEXT)
#undef DC_SQL_TEXT
};

/* The statement by which an access is counted, and what it sets as a program's own policy would say it. */
#define COUNT_ACCESS_NONE  DC_NO_SQL
#define COUNT_ACCESS_TIME  DC_SQL_UPDATE_ACCESS_TIME
#define COUNT_ACCESS_COUNT DC_SQL_UPDATE_ACCESS_COUNT
#define SETS_NONE          NULL
#define SETS_TIME          "access_time = {now}"
#define SETS_COUNT         "access_count = access_count + 1"

/* clang-format off */
#define POLICY(id, name, column, access, ...)                                                      \
    [DC_POLICY_##id] = {                                                                           \
        name, "Cache_" #column,                                                                    \
        "CREATE INDEX IF NOT EXISTS Cache_" #column " ON Cache (" #column ")", DC_SQL_VICTIM_##id, \
        DC_ACCESS_##access, COUNT_ACCESS_##access, SETS_##access,                                  \
        "SELECT {fields} FROM Cache ORDER BY " #column " LIMIT ?"},
/* clang-format on */

const dc_policy_sql dc_policies[DC_POLICY_COUNT] = {
    [DC_POLICY_NONE] = {"none", NULL, NULL, DC_NO_SQL, DC_ACCESS_NONE, DC_NO_SQL, NULL, NULL},
    DC_POLICIES(POLICY, )};

int dc_policy_find(const char *name)
{
    for (int policy = 0; policy < DC_POLICY_COUNT; policy++) {
        if (strcmp(dc_policies[policy].name, name) == 0) {
            return policy;
        }
    }
    return -1;
}

/* The size triggers run only when a size changes: most values are inline, with size 0, and a write
 * then leaves the page of Settings alone. */
#define DC_TRIGGER(name, event, condition, change, setting)                                        \
    {                                                                                              \
        name, "CREATE TRIGGER IF NOT EXISTS " name " AFTER " event                                 \
              " ON Cache FOR EACH ROW" condition                                                   \
              " BEGIN UPDATE Settings SET value = value " change " WHERE key = '" setting "'; END" \
    }

const dc_schema_object dc_schema[DC_SCHEMA_COUNT] = {
    {"Settings", "CREATE TABLE IF NOT EXISTS Settings (key TEXT NOT NULL UNIQUE, value)"},
    {"Cache",
     "CREATE TABLE IF NOT EXISTS Cache ("
     "rowid INTEGER PRIMARY KEY, key BLOB, raw INTEGER, store_time REAL, expire_time REAL, "
     "access_time REAL, access_count INTEGER DEFAULT 0, tag BLOB, size INTEGER DEFAULT 0, "
     "mode INTEGER DEFAULT 0, filename TEXT, value BLOB)"},
    {"Cache_key_raw", "CREATE UNIQUE INDEX IF NOT EXISTS Cache_key_raw ON Cache (key, raw)"},
    /* Partial, so that items without expiry, most of them, cost nothing here. */
    {"Cache_expire_time", "CREATE INDEX IF NOT EXISTS Cache_expire_time ON Cache (expire_time)"
                          " WHERE expire_time IS NOT NULL"},
    DC_TRIGGER("Settings_count_insert", "INSERT", "", "+ 1", "count"),
    DC_TRIGGER("Settings_count_delete", "DELETE", "", "- 1", "count"),
    DC_TRIGGER("Settings_size_insert", "INSERT", " WHEN NEW.size <> 0", "+ NEW.size", "size"),
    DC_TRIGGER("Settings_size_update", "UPDATE", " WHEN NEW.size <> OLD.size",
               "+ NEW.size - OLD.size", "size"),
    DC_TRIGGER("Settings_size_delete", "DELETE", " WHEN OLD.size <> 0", "- OLD.size", "size"),
};
