/* version_table.c: see version_table.h. */
#ifndef _WIN32
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* O_CLOEXEC, posix_fallocate */
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif
#endif

#include "sqlite/version_table.h"

#include <stdlib.h>
#include <string.h>

#include "base/debug.h"
#include "base/format.h"
#include "base/hash.h"

/* --- slots -------------------------------------------------------------------------------------- */

/* Whether SQLite takes a real number for the same key as an integer: it compares them by value. */
static int is_whole(double real, int64_t *integer)
{
    if (!(real >= -9223372036854775808.0 && real < 9223372036854775808.0)) {
        return 0;
    }
    *integer = (int64_t)real;
    return (double)*integer == real;
}

static uint64_t hash_of(const dc_datum *key)
{
    int64_t integer = 0;
    uint64_t word;

    switch (key->type) {
    case DC_INTEGER:
        return dc_hash_mix(0, (uint64_t)key->as.integer);
    case DC_REAL:
        if (is_whole(key->as.real, &integer)) {
            return dc_hash_mix(0, (uint64_t)integer);
        }
        memcpy(&word, &key->as.real, sizeof word);
        return dc_hash_mix(1, word);
    case DC_TEXT:
    case DC_BLOB:
        return dc_hash_bytes(key->as.bytes.data, key->as.bytes.size);
    default:
        return 0;
    }
}

uint32_t dc_version_table_slot(const dc_version_table *table, const dc_datum *key)
{
    uint64_t slot = hash_of(key) & table->slot_mask;

    return slot != DC_SLOT_OF_ANY ? (uint32_t)slot : 1;
}

/* --- reading ------------------------------------------------------------------------------------ */

static int is_chain(const dc_shared_versions *shared, const dc_stamp *stamp)
{
    uint64_t difference = 0;

    for (int i = 0; i < 6; i++) {
        difference |= atomic_load_explicit(&shared->chain[i], memory_order_relaxed) ^
                      stamp->words[i];
    }
    return difference == 0;
}

int dc_version_table_covers(const dc_version_table *table, const dc_stamp *stamp)
{
    int covers = is_chain(table->shared, stamp);

    atomic_thread_fence(memory_order_acquire);
    return covers;
}

/* --- writing ------------------------------------------------------------------------------------ */

void dc_version_table_begin(dc_version_table *table, dc_wal_header header)
{
    dc_stamp stamp;

    table->compared = table->shared != NULL && header != NULL;
    table->broken = table->compared &&
                    (!dc_stamp_read(header, &stamp) || !is_chain(table->shared, &stamp));
    table->unknown = 0;
    table->count = 0;
}

/* More keys are as good as unknown: to raise them one by one costs others more than a new epoch does. */
#define NOTED_MAX 4096

int dc_version_table_note(dc_version_table *table, const dc_datum *key)
{
    if (!table->compared || table->unknown) {
        return -1;
    }
    if (table->count == table->capacity) {
        size_t capacity = table->capacity == 0 ? 8 : 2 * table->capacity;
        dc_noted_slot *noted =
            capacity <= NOTED_MAX ? realloc(table->noted, capacity * sizeof *noted) : NULL;

        if (noted == NULL) {
            table->unknown = 1;
            return -1;
        }
        table->noted = noted;
        table->capacity = capacity;
    }
    table->noted[table->count].slot = dc_version_table_slot(table, key);
    return (int)table->count++;
}

/* Whether a header is that of a log which has been recovered empty, as many different ones are. */
static int is_of_empty_log(const dc_stamp *stamp)
{
    return dc_stamp_frames(stamp) == 0 || dc_stamp_log(stamp) == 0;
}

static void raise_counter(dc_counter *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_release);
}

static void raise_slots(dc_version_table *table)
{
    dc_shared_versions *shared = table->shared;

    raise_counter(&shared->slots[DC_SLOT_OF_ANY]);
    for (size_t i = 0; i < table->count; i++) {
        raise_counter(&shared->slots[table->noted[i].slot]);
    }
}

void dc_version_table_commit(dc_version_table *table, const dc_stamp *stamp, int changed)
{
    dc_shared_versions *shared = table->shared;

    if (!table->compared) {
        return;
    }
    table->compared = 0;
    if (table->broken || table->unknown) {
        raise_counter(&shared->epoch);
        DC_PAUSE("the epoch of the version table is raised");
    }
    if (changed) {
        raise_slots(table);
        DC_PAUSE("the slots of the version table are raised");
    }
    for (size_t i = 0; i < table->count; i++) {
        table->noted[i].version = dc_version_table_version(table, table->noted[i].slot);
    }
    atomic_thread_fence(memory_order_release);
    if (!is_of_empty_log(stamp)) {
        for (int i = 0; i < 6; i++) {
            atomic_store_explicit(&shared->chain[i], stamp->words[i], memory_order_relaxed);
        }
        DC_PAUSE("the chain of the version table is stored");
    }
}

/* --- the file ----------------------------------------------------------------------------------- */

#if defined(_WIN32) || ATOMIC_LLONG_LOCK_FREE != 2

void dc_version_table_open(dc_version_table *table, const char *database, int read_only)
{
    (void)database;
    (void)read_only;
    memset(table, 0, sizeof *table);
}

void dc_version_table_close(dc_version_table *table)
{
    memset(table, 0, sizeof *table);
}

#else

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* "dcVersn1" as a number of this machine's: another byte order or format has another one. */
#define MAGIC          UINT64_C(0x6463566572736e31)
#define SLOT_COUNT     (UINT64_C(1) << 14)
#define SLOT_COUNT_MIN 2
#define SLOT_COUNT_MAX (UINT64_C(1) << 16)

static size_t size_for(uint64_t slot_count)
{
    return sizeof(dc_shared_versions) + (size_t)slot_count * sizeof(uint64_t);
}

static int is_power_of_two(uint64_t count)
{
    return count != 0 && (count & (count - 1)) == 0;
}

/* A file of the owner of the database, or of this process, that is no more open to others than the database: who can
 * write it can write the database. */
static int is_trusted(const struct stat *facts, const struct stat *database)
{
    return S_ISREG(facts->st_mode) &&
           (facts->st_uid == database->st_uid || facts->st_uid == geteuid()) &&
           (facts->st_mode & ~database->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* Map an open file; 0 if it is none of ours. */
static int map(dc_version_table *table, int descriptor, const struct stat *database, int read_only)
{
    struct stat facts;
    dc_shared_versions *shared;
    uint64_t slot_count;
    size_t size;

    if (fstat(descriptor, &facts) != 0 || !is_trusted(&facts, database) ||
        facts.st_size < (off_t)size_for(SLOT_COUNT_MIN) ||
        facts.st_size > (off_t)size_for(SLOT_COUNT_MAX)) {
        return 0;
    }
    size = (size_t)facts.st_size;
    slot_count = (size - size_for(0)) / sizeof(uint64_t);
    shared =
        mmap(NULL, size, read_only ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (shared == MAP_FAILED) {
        return 0;
    }
    if (shared->magic != MAGIC || shared->slot_count != slot_count ||
        !is_power_of_two(slot_count) || size_for(slot_count) != size) {
        munmap(shared, size);
        return 0;
    }
    table->shared = shared;
    table->size = size;
    table->slot_mask = (uint32_t)(slot_count - 1);
    table->device = facts.st_dev;
    table->inode = facts.st_ino;
    return 1;
}

/* Give a new file its size, and the blocks for it: 0 if there are not enough. */
#if defined(__APPLE__) || defined(__OpenBSD__)

static int allocate(int descriptor, off_t size)
{
    static const char zeros[4096];
    off_t written = 0;

    while (written < size) {
        size_t left = (size_t)(size - written);
        ssize_t count =
            pwrite(descriptor, zeros, left < sizeof zeros ? left : sizeof zeros, written);

        if (count <= 0) {
            return 0;
        }
        written += count;
    }
    return 1;
}

#else

static int allocate(int descriptor, off_t size)
{
    return posix_fallocate(descriptor, 0, size) == 0;
}

#endif

/* Give a new file the mode, and where this process is root's the owner, of the database, and all its blocks. */
static int fill(int descriptor, const struct stat *database)
{
    const uint64_t head[2] = {MAGIC, SLOT_COUNT};

    return (geteuid() != 0 || fchown(descriptor, database->st_uid, database->st_gid) == 0) &&
           fchmod(descriptor, database->st_mode & 0666) == 0 &&
           allocate(descriptor, (off_t)size_for(SLOT_COUNT)) &&
           pwrite(descriptor, head, sizeof head, 0) == (ssize_t)sizeof head;
}

/* Make the file, unless another process just has. Nobody sees it half made. */
static void make(const char *path, const char *new, const struct stat *database)
{
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
    int descriptor = open(new, flags, 0600);

    if (descriptor == -1 && errno == EEXIST && unlink(new) == 0) {
        descriptor = open(new, flags, 0600); /* a process that had our number was killed */
    }
    if (descriptor == -1) {
        return;
    }
    if (fill(descriptor, database)) {
        (void)!link(new, path);
    }
    unlink(new);
    close(descriptor);
}

static int open_file(const char *path, int read_only)
{
    return open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

void dc_version_table_open(dc_version_table *table, const char *database, int read_only)
{
    static atomic_uint made;
    size_t size = strlen(database) + sizeof DC_VERSION_TABLE_SUFFIX + 40;
    char *path = malloc(size);
    char *new = malloc(size);
    struct stat facts;
    int descriptor;

    memset(table, 0, sizeof *table);
    if (path == NULL || new == NULL || stat(database, &facts) != 0) {
        goto done;
    }
    snprintf(path, size, "%s" DC_VERSION_TABLE_SUFFIX, database);
    descriptor = open_file(path, read_only);
    if (descriptor == -1 && errno == ENOENT && !read_only) {
        snprintf(new, size, "%s-%ld-%u-new", database, (long)getpid(), atomic_fetch_add(&made, 1));
        make(path, new, &facts);
        descriptor = open_file(path, read_only);
    }
    if (descriptor != -1) {
        map(table, descriptor, &facts, read_only);
        close(descriptor);
    }
done:
    free(path);
    free(new);
}

void dc_version_table_close(dc_version_table *table)
{
    if (table->shared != NULL) {
        munmap(table->shared, table->size);
    }
    free(table->noted);
    memset(table, 0, sizeof *table);
}

#endif
