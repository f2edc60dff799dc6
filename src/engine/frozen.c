/* frozen.c: see frozen.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* st_mtim, nanosleep */
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif

#include "engine/frozen.h"

#include <string.h>

#ifdef _WIN32

/* Nothing is known of a file: connection.c does not tell SQLite either that it never changes. */

int dc_frozen_look(dc_frozen *frozen, const char *database)
{
    (void)database;
    memset(frozen, 0, sizeof *frozen);
    return 0;
}

int dc_frozen_holds(const dc_frozen *frozen)
{
    (void)frozen;
    return 0;
}

void dc_frozen_clear(dc_frozen *frozen)
{
    memset(frozen, 0, sizeof *frozen);
}

#else

#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#ifdef __APPLE__
#define st_mtim st_mtimespec
#endif

/* The longest tick of clocks that file systems take their time from is 10 ms. */
#define TICK_NANOSECONDS 20000000

static char *path_of_log(const char *database)
{
    static const char suffix[] = "-wal";
    size_t size = strlen(database);
    char *path = malloc(size + sizeof suffix);

    if (path != NULL) {
        memcpy(path, database, size);
        memcpy(path + size, suffix, sizeof suffix);
    }
    return path;
}

static int look(dc_frozen *frozen)
{
    struct stat facts;

    if (stat(frozen->database, &facts) != 0) {
        return 0;
    }
    frozen->device = (uint64_t)facts.st_dev;
    frozen->file = (uint64_t)facts.st_ino;
    frozen->size = (uint64_t)facts.st_size;
    frozen->seconds = (int64_t)facts.st_mtim.tv_sec;
    frozen->nanoseconds = (int64_t)facts.st_mtim.tv_nsec;
    return 1;
}

static int has_just_changed(const dc_frozen *frozen)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    /* A file may have any time: too much for 64 bits of nanoseconds. */
    return ((double)now.tv_sec - (double)frozen->seconds) * 1e9 +
               (double)(now.tv_nsec - frozen->nanoseconds) <
           TICK_NANOSECONDS;
}

int dc_frozen_look(dc_frozen *frozen, const char *database)
{
    const struct timespec tick = {.tv_nsec = TICK_NANOSECONDS};
    int known = 0;

    memset(frozen, 0, sizeof *frozen);
    frozen->database = strdup(database);
    frozen->log = path_of_log(database);
    if (frozen->database != NULL && frozen->log != NULL) {
        known = look(frozen);
    }
    if (known && has_just_changed(frozen)) {
        nanosleep(&tick, NULL);
        known = look(frozen);
    }
    if (!known) {
        dc_frozen_clear(frozen);
    }
    return known;
}

/* First the log: who removes it has copied it into the database before. */
int dc_frozen_holds(const dc_frozen *frozen)
{
    dc_frozen now = *frozen;
    struct stat facts;

    if (stat(frozen->log, &facts) == 0 && facts.st_size > 0) {
        return 0;
    }
    return look(&now) && now.device == frozen->device && now.file == frozen->file &&
           now.size == frozen->size && now.seconds == frozen->seconds &&
           now.nanoseconds == frozen->nanoseconds;
}

void dc_frozen_clear(dc_frozen *frozen)
{
    free(frozen->database);
    free(frozen->log);
    memset(frozen, 0, sizeof *frozen);
}

#endif
