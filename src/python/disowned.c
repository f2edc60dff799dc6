/* disowned.c: see disowned.h.
 *
 * SQLite tells when a connection is closed, in whichever thread that happens, by the destructor of a function that
 * is registered on the connection. The mutex of the list is the last that a thread takes.
 */
#include "python/disowned.h"

#ifndef _WIN32

#include <pthread.h>
#include <stdlib.h>

typedef struct Disowned {
    sqlite3_file *file;
    struct Disowned *next;
} Disowned;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static Disowned *files; /* guarded by it */

void disowned_lock(void)
{
    pthread_mutex_lock(&mutex);
}

void disowned_unlock(void)
{
    pthread_mutex_unlock(&mutex);
}

static void forget(void *context)
{
    Disowned *disowned = context;
    Disowned **link = &files;

    disowned_lock();
    while (*link != disowned) {
        link = &(*link)->next;
    }
    *link = disowned->next;
    disowned_unlock();
    free(disowned);
}

static void do_nothing(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)context;
    (void)count;
    (void)values;
}

void disowned_remember(const dc_db *db)
{
    Disowned *disowned = malloc(sizeof *disowned);

    if (disowned == NULL) {
        return;
    }
    disowned->file = db->file;
    disowned_lock();
    disowned->next = files;
    files = disowned;
    disowned_unlock();
    /* If that fails SQLite calls the destructor. */
    sqlite.create_function_v2(db->handle, "diskcache_disowned", 0, DC_SQLITE_UTF8, disowned,
                              do_nothing, NULL, NULL, forget);
}

void disowned_forget_locks(void)
{
    disowned_lock();
    for (Disowned *each = files; each != NULL; each = each->next) {
        dc_file_forget_locks(each->file);
    }
    disowned_unlock();
}

#else

void disowned_remember(const dc_db *db)
{
    (void)db;
}

void disowned_forget_locks(void)
{
}

#endif
