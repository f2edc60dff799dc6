/* limits.c: what SQLite itself takes for an operation, without Python and without a cache around it.
 *
 * limits.py compiles this and calls it with ctypes. A run executes one statement `count` times, each
 * with the next key, as the caller's loop would; the clock is read here, so that no call from Python
 * counts. Of SQLite only what is declared below is needed, so there need be no header of it.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

typedef struct sqlite3 sqlite3;
typedef struct sqlite3_stmt sqlite3_stmt;

int sqlite3_open(const char *path, sqlite3 **db);
int sqlite3_close(sqlite3 *db);
int sqlite3_exec(sqlite3 *db, const char *sql, void *callback, void *context, char **error);
int sqlite3_prepare_v3(sqlite3 *db, const char *sql, int size, unsigned int flags,
                       sqlite3_stmt **statement, const char **rest);
int sqlite3_step(sqlite3_stmt *statement);
int sqlite3_reset(sqlite3_stmt *statement);
int sqlite3_finalize(sqlite3_stmt *statement);
int sqlite3_bind_parameter_count(sqlite3_stmt *statement);
int sqlite3_bind_text(sqlite3_stmt *statement, int index, const char *text, int size, void *free);
int sqlite3_bind_blob(sqlite3_stmt *statement, int index, const void *data, int size, void *free);

enum { OK = 0, ROW = 100, DONE = 101, PERSISTENT = 1, KEY = 1, VALUE = 2 };

static int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int execute(sqlite3_stmt *statement)
{
    int result;

    while ((result = sqlite3_step(statement)) == ROW) {
    }
    sqlite3_reset(statement);
    return result;
}

static int execute_with(sqlite3_stmt *statement, const char *key, int key_size, const void *value,
                        int value_size)
{
    int parameters = sqlite3_bind_parameter_count(statement);

    if (parameters >= KEY) {
        sqlite3_bind_text(statement, KEY, key, key_size, NULL);
    }
    if (parameters >= VALUE) {
        sqlite3_bind_blob(statement, VALUE, value, value_size, NULL);
    }
    return execute(statement);
}

/* Execute a statement for the keys `prefix` 0, 1, …, beginning again after `keys` of them. With
 * `each`, each is a transaction that writes; without it all of them are one. `sql` has at most the
 * parameters ?1, the key, and ?2, the value. The nanoseconds that took, or -1. */
int64_t limit_run(sqlite3 *db, const char *sql, int each, const char *prefix, int keys, int count,
                  const void *value, int value_size)
{
    static const char *const around[] = {"BEGIN IMMEDIATE", "COMMIT"};
    sqlite3_stmt *statements[2] = {NULL, NULL};
    sqlite3_stmt *statement = NULL;
    int64_t elapsed = -1;
    int64_t started;
    int result = sqlite3_prepare_v3(db, sql, -1, PERSISTENT, &statement, NULL);

    for (int i = 0; i < 2 && result == OK; i++) {
        result = sqlite3_prepare_v3(db, around[i], -1, PERSISTENT, &statements[i], NULL);
    }
    if (result == OK && !each) {
        result = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
    }
    started = now();
    for (int i = 0; i < count && (result == OK || result == DONE); i++) {
        char key[64];
        int size = snprintf(key, sizeof key, "%s%d", prefix, i % keys);

        if (each) {
            execute(statements[0]);
        }
        result = execute_with(statement, key, size, value, value_size);
        if (each && result == DONE) {
            result = execute(statements[1]);
        }
    }
    if (!each && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) != OK) {
        result = -1;
    }
    if (result == OK || result == DONE) {
        elapsed = now() - started;
    }
    for (int i = 0; i < 2; i++) {
        sqlite3_finalize(statements[i]);
    }
    sqlite3_finalize(statement);
    return elapsed;
}

/* Open a database, ask for something, close it, so many times. */
int64_t limit_open(const char *path, const char *sql, int count)
{
    int64_t started = now();

    for (int i = 0; i < count; i++) {
        sqlite3 *db = NULL;
        int result = sqlite3_open(path, &db);

        if (result == OK) {
            result = sqlite3_exec(db, sql, NULL, NULL, NULL);
        }
        sqlite3_close(db);
        if (result != OK) {
            return -1;
        }
    }
    return now() - started;
}
