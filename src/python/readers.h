/* readers.h: a reader-writer lock whose readers do not get into each other's way, where there is no GIL.
 *
 * It has several mutexes. A reader takes the one that its thread has been given, so that threads which read at the same
 * time write to different lines of the processor's cache; a writer takes all, in their order. So reading costs as much
 * as a mutex that nobody else wants, however many threads read, and writing many times that.
 *
 * It is held for a few instructions, and never over a call that may wait, or let other threads in (guard.h): its holder
 * never stops for the garbage collector or a fork, which stop all threads of Python's. So a thread may wait for it
 * without telling Python, keeps its guards meanwhile, and nobody has it in a forked child. Nobody takes another lock
 * while he has it, except that who reads the shards of a FanoutCache (cache/shards.c) becomes a reader of one's memory.
 *
 * Builds with a GIL have nothing of this.
 */
#ifndef DC_PYTHON_READERS_H
#define DC_PYTHON_READERS_H

#include "python/compat.h"

#include <stdint.h>

#include "base/mutex.h"
#include "sqlite/api.h"

#if COMPAT_HAS_GIL

typedef char readers_lock, readers_part;

#define READERS_INIT 0

static inline void readers_init(readers_lock *lock)
{
    (void)lock;
}

static inline readers_part *readers_enter(readers_lock *lock)
{
    return lock;
}

static inline void readers_leave(readers_part *part)
{
    (void)part;
}

static inline void readers_exclude(readers_lock *lock)
{
    (void)lock;
}

static inline void readers_admit(readers_lock *lock)
{
    (void)lock;
}

#else

enum { READERS_PARTS = 16 };

/* Two of them have nothing that is used in the same 64 bytes. */
typedef struct readers_part {
    dc_mutex mutex;
    uint64_t count; /* of whatever its holder counts */
    char gap[64];
} readers_part;

typedef struct readers_lock {
    readers_part parts[READERS_PARTS];
} readers_lock;

/* Of one that is static; another one needs readers_init. */
/* clang-format off */
#define READERS_PART_INIT  {.mutex = DC_MUTEX_INIT}
#define READERS_FOUR_INITS READERS_PART_INIT, READERS_PART_INIT, READERS_PART_INIT, READERS_PART_INIT
#define READERS_INIT       {{READERS_FOUR_INITS, READERS_FOUR_INITS, READERS_FOUR_INITS, READERS_FOUR_INITS}}
/* clang-format on */
_Static_assert(READERS_PARTS == 16, "READERS_INIT has one for each part");

/* The number of the thread's part and one; 0: it has none yet. */
extern DC_THREAD_LOCAL unsigned int readers_place;
unsigned int readers_take_place(void);

static inline void readers_init(readers_lock *lock)
{
    for (int i = 0; i < READERS_PARTS; i++) {
        lock->parts[i].mutex = (dc_mutex)DC_MUTEX_INIT;
    }
}

/* Begin to read: no writer is there until readers_leave. */
static inline readers_part *readers_enter(readers_lock *lock)
{
    unsigned int place = readers_place != 0 ? readers_place : readers_take_place();
    readers_part *part = &lock->parts[place - 1];

    dc_mutex_lock(&part->mutex);
    return part;
}

static inline void readers_leave(readers_part *part)
{
    dc_mutex_unlock(&part->mutex);
}

/* Begin to write: no reader is there, nor another writer, until readers_admit. */
static inline void readers_exclude(readers_lock *lock)
{
    for (int i = 0; i < READERS_PARTS; i++) {
        dc_mutex_lock(&lock->parts[i].mutex);
    }
}

static inline void readers_admit(readers_lock *lock)
{
    for (int i = 0; i < READERS_PARTS; i++) {
        dc_mutex_unlock(&lock->parts[i].mutex);
    }
}

/* What all holders have counted, by who excludes the other writers. */
static inline uint64_t readers_count(readers_lock *lock)
{
    uint64_t count = 0;

    for (int i = 0; i < READERS_PARTS; i++) {
        dc_mutex_lock(&lock->parts[i].mutex);
        count += lock->parts[i].count;
        dc_mutex_unlock(&lock->parts[i].mutex);
    }
    return count;
}

#endif
#endif
