/* sql.h: every SQL string of the engine.
 *
 * DC_SQL_STATEMENTS gives each statement a name and its text: the names become `enum dc_sql`, which
 * indexes a handle's prepared statements (db.h); the texts are in dc_sql_text[]. Values are always
 * bound, never formatted in. The schema is that of docs/format.rst; string literals have single quotes, so that a
 * SQLite without the double-quoted-string misfeature takes it.
 */
#ifndef DC_ENGINE_SQL_H
#define DC_ENGINE_SQL_H

#include <inttypes.h>

/* The columns that rows.c reads into a dc_row, in the order of its enum row_column: those that every lookup
 * needs, and those that some do. */
#define DC_VALUE_COLUMNS "expire_time, size, mode, filename, value"
#define DC_ROW_COLUMNS   DC_VALUE_COLUMNS ", rowid, store_time, tag"

/* Returns its argument, an integer, and notes it (write.c). */
#define DC_FUNCTION_SUM "diskcache_sum"

/* Looks at the columns of a row, and adds what it is to a survey (survey.c). */
#define DC_FUNCTION_SURVEY "diskcache_survey"

#define DC_INSERT                                                                                  \
    "INSERT INTO Cache(key, raw, store_time, access_time, access_count,"                           \
    " size, mode, filename, value, tag, expire_time)"                                              \
    " VALUES (?1, ?2, ?3, ?3, 0, ?4, ?5, ?6, ?7, ?8, ?9)"

/* Over a row whose value is not in a file, which would have to be removed. */
#define DC_OR_UPDATE                                                                               \
    " ON CONFLICT (key, raw) DO UPDATE SET store_time = ?3, access_time = ?3, access_count = 0,"   \
    " size = ?4, mode = ?5, filename = ?6, value = ?7"

/* Rows that a key can name. Others are damaged: they can only be deleted by their number, which check()
 * does. The plus keeps SQLite from looking `raw` up in an index. */
#define DC_NAMED "key IS NOT NULL AND +raw IN (0, 1)"

/* The keys that push() makes, and no others (docs/format.rst, "Queues"): ?1 and ?2 bound the range, and are as
 * long as each key in it; ?3 is minus the size of 15 digits in the database's encoding. (As text, SQLite's
 * length() and substr() would stop at a NUL.) */
#define DC_QUEUE_OF_INTEGERS                                                                       \
    " FROM Cache WHERE ?1 < key AND key < ?2 AND raw = 1 AND typeof(key) = 'integer' "
#define DC_QUEUE_OF_TEXT                                                                           \
    " FROM Cache WHERE ?1 < key AND key < ?2 AND raw = 1 AND typeof(key) = 'text'"                 \
    " AND length(CAST(key AS BLOB)) = length(CAST(?1 AS BLOB))"                                    \
    " AND CAST(substr(CAST(key AS BLOB), ?3) AS TEXT) NOT GLOB '*[^0-9]*' "

/* The eviction policies besides 'none': the name of each, the column in whose order rows go, and what a lookup
 * changes of its row (enum dc_access). No other code names a policy: its index, its statements, the message that
 * lists all, and EVICTION_POLICY in Python are made from this. */
/* clang-format off */
#define DC_POLICIES(X, ...)                                                                        \
    X(LEAST_RECENTLY_STORED, "least-recently-stored", store_time, NONE, __VA_ARGS__)               \
    X(LEAST_RECENTLY_USED, "least-recently-used", access_time, TIME, __VA_ARGS__)                  \
    X(LEAST_FREQUENTLY_USED, "least-frequently-used", access_count, COUNT, __VA_ARGS__)

#define DC_POLICY_VICTIM(id, name, column, access, X)                                              \
    X(VICTIM_##id, "SELECT rowid, filename, key FROM Cache WHERE rowid <> ?1"                      \
        " ORDER BY " #column " LIMIT 1 OFFSET ?3")

#define DC_SQL_STATEMENTS(X)                                                                       \
    /* transactions */                                                                             \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                    \
    X(BEGIN_READ, "BEGIN DEFERRED")                                                                \
    X(COMMIT, "COMMIT")                                                                            \
    X(ROLLBACK, "ROLLBACK")                                                                        \
    /* one key */                                                                                  \
    X(GET, "SELECT " DC_ROW_COLUMNS " FROM Cache WHERE key = ?1 AND raw = ?2")                     \
    X(GET_RAW_KEY, "SELECT " DC_VALUE_COLUMNS " FROM Cache WHERE key = ?1 AND raw = 1")            \
    X(GET_PICKLED_KEY, "SELECT " DC_VALUE_COLUMNS " FROM Cache WHERE key = ?1 AND raw = 0")        \
    X(LOCATE, "SELECT rowid, expire_time, filename FROM Cache"                                     \
        " WHERE key = ?1 AND raw = ?2")                                                            \
    X(INSERT, DC_INSERT)                                                                           \
    X(INSERT_ABSENT, DC_INSERT " ON CONFLICT (key, raw) DO NOTHING")                               \
    X(PUT, DC_INSERT DC_OR_UPDATE ", tag = ?8, expire_time = ?9 WHERE filename IS NULL")           \
    /* the same for an item without tag and expiry over a row without them: a column named in SET  \
     * has its indexes written, changed or not */                                                  \
    X(PUT_PLAIN, DC_INSERT DC_OR_UPDATE                                                            \
        " WHERE filename IS NULL AND tag IS NULL AND expire_time IS NULL")                         \
    X(PUT_LATER, DC_INSERT DC_OR_UPDATE ", tag = ?8, expire_time = ?9 WHERE filename IS NULL"      \
        " AND (substr(tag, 1, 8) >= substr(?8, 1, 8)) IS NOT TRUE")                                \
    X(UPDATE, "UPDATE Cache SET store_time = ?2, access_time = ?2, access_count = 0, size = ?3,"   \
        " mode = ?4, filename = ?5, value = ?6, tag = ?7, expire_time = ?8 WHERE rowid = ?1")      \
    X(UPDATE_VALUE, "UPDATE Cache SET store_time = ?2, value = ?3 WHERE rowid = ?1")               \
    /* an integer; DC_FUNCTION_SUM tells what it becomes, for less than RETURNING costs */         \
    X(INCREMENT, "UPDATE Cache SET store_time = ?3, value = " DC_FUNCTION_SUM "(value + ?4)"       \
        " WHERE key = ?1 AND raw = ?2 AND typeof(value) = 'integer' AND mode = 1"                  \
        " AND value BETWEEN ?5 AND ?6 AND (expire_time IS NULL OR expire_time >= ?3)")             \
    X(UPDATE_EXPIRE_TIME, "UPDATE Cache SET expire_time = ?2 WHERE rowid = ?1")                    \
    X(UPDATE_ACCESS_TIME, "UPDATE Cache SET access_time = max(access_time, ?2)"                    \
        " WHERE rowid = ?1")                                                                       \
    X(UPDATE_ACCESS_COUNT, "UPDATE Cache SET access_count = access_count + ?2 WHERE rowid = ?1")    \
    X(FILENAMES, "SELECT filename FROM Cache WHERE filename IS NOT NULL")                          \
    X(DELETE, "DELETE FROM Cache WHERE rowid = ?1")                                                \
    X(DELETE_INLINE, "DELETE FROM Cache WHERE key = ?1 AND raw = ?2 AND filename IS NULL"          \
        " AND (expire_time IS NULL OR expire_time > ?3)")                                          \
    /* queues and ends */                                                                          \
    X(INTEGERS_FRONT, "SELECT " DC_ROW_COLUMNS ", key, raw" DC_QUEUE_OF_INTEGERS                   \
        "ORDER BY key LIMIT 1")                                                                    \
    X(INTEGERS_BACK, "SELECT " DC_ROW_COLUMNS ", key, raw" DC_QUEUE_OF_INTEGERS                    \
        "ORDER BY key DESC LIMIT 1")                                                               \
    X(TEXT_FRONT, "SELECT " DC_ROW_COLUMNS ", key, raw" DC_QUEUE_OF_TEXT "ORDER BY key LIMIT 1")   \
    X(TEXT_BACK, "SELECT " DC_ROW_COLUMNS ", key, raw" DC_QUEUE_OF_TEXT                            \
        "ORDER BY key DESC LIMIT 1")                                                               \
    X(FIRST, "SELECT " DC_ROW_COLUMNS ", key, raw FROM Cache WHERE " DC_NAMED                      \
        " ORDER BY rowid LIMIT 1")                                                                 \
    X(LAST, "SELECT " DC_ROW_COLUMNS ", key, raw FROM Cache WHERE " DC_NAMED                       \
        " ORDER BY rowid DESC LIMIT 1")                                                            \
    X(FIRST_ABOVE, "SELECT " DC_ROW_COLUMNS ", key, raw FROM Cache WHERE rowid > ?1 AND " DC_NAMED \
        " ORDER BY rowid LIMIT 1")                                                                 \
    X(LAST_BELOW, "SELECT " DC_ROW_COLUMNS ", key, raw FROM Cache WHERE rowid < ?1 AND " DC_NAMED  \
        " ORDER BY rowid DESC LIMIT 1")                                                            \
    /* of `raw` only the order: each row that is passed over would be asked */                     \
    X(NTH_LOWEST, "SELECT " DC_ROW_COLUMNS ", key, raw FROM Cache WHERE key IS NOT NULL"           \
        " ORDER BY key, raw LIMIT 1 OFFSET ?1")                                                    \
    X(NTH_HIGHEST, "SELECT " DC_ROW_COLUMNS ", key, raw FROM Cache WHERE key IS NOT NULL"          \
        " ORDER BY key DESC, raw DESC LIMIT 1 OFFSET ?1")                                          \
    /* iteration */                                                                                \
    X(MAX_ROWID, "SELECT MAX(rowid) FROM Cache")                                                   \
    X(KEYS_FORWARD, "SELECT rowid, key, raw FROM Cache"                                            \
        " WHERE ?1 < rowid AND rowid < ?2 AND " DC_NAMED " ORDER BY rowid LIMIT ?3")               \
    X(KEYS_BACKWARD, "SELECT rowid, key, raw FROM Cache"                                           \
        " WHERE ?1 < rowid AND rowid < ?2 AND " DC_NAMED " ORDER BY rowid DESC LIMIT ?3")          \
    X(KEYS_LOWEST, "SELECT rowid, key, raw FROM Cache WHERE " DC_NAMED                             \
        " ORDER BY key, raw LIMIT ?1")                                                             \
    X(KEYS_ABOVE, "SELECT rowid, key, raw FROM Cache WHERE (key, raw) > (?1, ?2) AND " DC_NAMED    \
        " ORDER BY key, raw LIMIT ?3")                                                             \
    X(KEYS_HIGHEST, "SELECT rowid, key, raw FROM Cache WHERE " DC_NAMED                            \
        " ORDER BY key DESC, raw DESC LIMIT ?1")                                                   \
    X(KEYS_BELOW, "SELECT rowid, key, raw FROM Cache WHERE (key, raw) < (?1, ?2) AND " DC_NAMED    \
        " ORDER BY key DESC, raw DESC LIMIT ?3")                                                   \
    /* victims: rowid, filename and key of the next row to go, but for ?3 of them; never row ?1 */ \
    X(EARLIEST_EXPIRY, "SELECT MIN(expire_time) FROM Cache WHERE expire_time IS NOT NULL")         \
    X(VICTIM_EXPIRED, "SELECT rowid, filename, key FROM Cache"                                     \
        " WHERE expire_time < ?2 AND rowid <> ?1 ORDER BY expire_time LIMIT 1 OFFSET ?3")          \
    DC_POLICIES(DC_POLICY_VICTIM, X)                                                               \
    X(VALUE_BYTES, "SELECT CASE WHEN size > 0 THEN size"                                           \
        " WHEN typeof(value) IN ('text', 'blob') THEN length(CAST(value AS BLOB)) ELSE 0 END"      \
        " FROM Cache WHERE rowid = ?1")                                                            \
    /* batch deletes: up to ?3 rows go, behind ?1 in the order of rowids (but for the expired) */          \
    X(BATCH_ALL, "DELETE FROM Cache WHERE rowid IN (SELECT rowid FROM Cache"                       \
        " WHERE rowid > ?1 ORDER BY rowid LIMIT ?3) RETURNING rowid, size, filename")              \
    X(BATCH_TAGGED, "DELETE FROM Cache WHERE rowid IN (SELECT rowid FROM Cache"                    \
        " WHERE tag = ?2 AND rowid > ?1 ORDER BY rowid LIMIT ?3) RETURNING rowid, size, filename") \
    X(BATCH_EXPIRED, "DELETE FROM Cache WHERE rowid IN (SELECT rowid FROM Cache"                   \
        " WHERE expire_time < ?2 ORDER BY expire_time LIMIT ?3) RETURNING rowid, size, filename")  \
    /* the same one by one: the next row behind ?1, but for ?3 of them */                          \
    X(NEXT_ALL, "SELECT rowid, filename, key FROM Cache WHERE rowid > ?1"                          \
        " ORDER BY rowid LIMIT 1 OFFSET ?3")                                                       \
    X(NEXT_TAGGED, "SELECT rowid, filename, key FROM Cache WHERE tag = ?2 AND rowid > ?1"          \
        " ORDER BY rowid LIMIT 1 OFFSET ?3")                                                       \
    X(NEXT_EXPIRED, "SELECT rowid, filename, key FROM Cache"                                       \
        " WHERE +expire_time < ?2 AND rowid > ?1"                                                  \
        " ORDER BY rowid LIMIT 1 OFFSET ?3")                                                       \
    X(FILES, "SELECT rowid, size, filename FROM Cache WHERE size <> 0 OR filename IS NOT NULL")    \
    X(COUNT_ROWS, "SELECT COUNT(*) FROM Cache")                                                    \
    X(DELETE_ALL, "DELETE FROM Cache")                                                             \
    X(TRIGGERS, "SELECT COUNT(*) FILTER (WHERE name IN"                                            \
        " ('Settings_count_delete', 'Settings_size_delete')), COUNT(*) FILTER (WHERE name NOT IN"  \
        " ('Settings_count_insert', 'Settings_count_delete', 'Settings_size_insert',"              \
        " 'Settings_size_update', 'Settings_size_delete')) FROM sqlite_master"                     \
        " WHERE type = 'trigger'")                                                                 \
    X(SAVEPOINT, "SAVEPOINT diskcache_batch")                                                      \
    X(ROLLBACK_TO_SAVEPOINT, "ROLLBACK TO diskcache_batch")                                        \
    X(RELEASE_SAVEPOINT, "RELEASE diskcache_batch")                                                \
    /* what a check looks at: DC_FUNCTION_SURVEY says of the last of a number of rows that it is one */ \
    X(SURVEY, "SELECT rowid FROM Cache WHERE rowid >= ?1 AND " DC_FUNCTION_SURVEY                  \
        "(key, raw, tag, size, mode, filename, value, store_time, expire_time, access_time,"       \
        " access_count) ORDER BY rowid LIMIT 1")                                                   \
    /* settings and sizes */                                                                       \
    X(SETTING_GET, "SELECT value FROM Settings WHERE key = ?1")                                    \
    X(SETTING_UPDATE, "UPDATE Settings SET value = ?2 WHERE key = ?1")                             \
    X(SETTING_REPLACE, "INSERT OR REPLACE INTO Settings VALUES (?1, ?2)")                          \
    X(SETTING_DEFAULT, "INSERT OR IGNORE INTO Settings VALUES (?1, ?2)")                           \
    X(SETTING_INCREMENT, "UPDATE Settings SET value = value + ?2 WHERE key = ?1")                   \
    X(PAGE_SIZE, "PRAGMA page_size")                                                               \
    X(PAGE_COUNT, "PRAGMA page_count")                                                             \
    X(FREELIST_COUNT, "PRAGMA freelist_count")
/* clang-format on */

typedef enum dc_sql {
#define DC_SQL_NAME(name, text) DC_SQL_##name,
    DC_SQL_STATEMENTS(DC_SQL_NAME)
#undef DC_SQL_NAME
        DC_SQL_COUNT
} dc_sql;

extern const char *const dc_sql_text[DC_SQL_COUNT];

typedef enum dc_policy {
    DC_POLICY_NONE = 0,
#define DC_POLICY_ID(id, name, column, access, ...) DC_POLICY_##id,
    DC_POLICIES(DC_POLICY_ID, )
#undef DC_POLICY_ID
        DC_POLICY_COUNT
} dc_policy;

#define DC_NO_SQL DC_SQL_COUNT

/* What a lookup changes of its row. */
typedef enum dc_access { DC_ACCESS_NONE = 0, DC_ACCESS_TIME, DC_ACCESS_COUNT } dc_access;

typedef struct dc_policy_sql {
    const char *name;         /* the setting's value */
    const char *index;        /* name of the index it needs, or NULL */
    const char *create_index; /* statement that makes it, or NULL */
    dc_sql victim;            /* next row to cull, or DC_NO_SQL */
    dc_access access;         /* how it counts one */
    dc_sql count_access;      /* statement that does, or DC_NO_SQL */
    const char *get, *cull;   /* what Python's EVICTION_POLICY says under these names, or NULL */
} dc_policy_sql;

extern const dc_policy_sql dc_policies[DC_POLICY_COUNT];

/* The policy called `name`, or -1. */
int dc_policy_find(const char *name);

/* The objects that every cache directory has, in the order of their creation. */
typedef struct dc_schema_object {
    const char *name;
    const char *create;
} dc_schema_object;

#define DC_SCHEMA_COUNT 9
extern const dc_schema_object dc_schema[DC_SCHEMA_COUNT];

#define DC_TAG_INDEX_NAME "Cache_tag_rowid"
#define DC_TAG_INDEX_CREATE                                                                        \
    "CREATE INDEX IF NOT EXISTS Cache_tag_rowid ON Cache (tag, rowid) WHERE tag IS NOT NULL"
#define DC_TAG_INDEX_DROP "DROP INDEX IF EXISTS Cache_tag_rowid"

/* Used once in the life of a handle or a cache, so not kept prepared. */
#define DC_SELECT_SETTINGS "SELECT key, value FROM Settings"
#define DC_SELECT_PRAGMA_SETTINGS                                                                  \
    "SELECT key, value FROM Settings WHERE key >= 'sqlite_' AND key < 'sqlite`' ORDER BY key"
#define DC_SELECT_SCHEMA "SELECT name, sql FROM sqlite_master"
/* With the first and the last rowid: numbers, which dc_db_query cannot bind. */
#define DC_SELECT_TEXTS(column)                                                                    \
    "SELECT rowid, " column " FROM Cache WHERE rowid BETWEEN %" PRId64 " AND %" PRId64             \
    " AND typeof(" column ") = 'text'"

#endif
