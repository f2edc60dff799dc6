/* object.h: the Cache object, and the structs that it consists of. Only the files of this folder look into it.
 *
 * At most one write transaction of a Cache is open at a time, since SQLite has one writer: it stands
 * in cache->transaction, filled after BEGIN has succeeded and emptied before COMMIT or ROLLBACK, so
 * threads never see each other's. A write of the thread (and task) that owns it joins it. The
 * files it wrote are in `added` and go if it is rolled back; those it made superfluous are in
 * `removed` and go once it is committed, never before.
 */
#ifndef DC_CACHE_OBJECT_H
#define DC_CACHE_OBJECT_H

#include "python/state.h" /* first: it includes Python.h */

#include <stdatomic.h>

#include "base/format.h"
#include "cache/memory.h"
#include "engine/access_log.h"
#include "engine/checkpoint.h"
#include "engine/rules.h"
#include "engine/valuefile.h"
#include "python/disk_key.h"
#include "python/disk_value.h"
#include "python/guard.h"
#include "python/pool.h"

typedef struct WriteTransaction {
    int depth;   /* of nested use: blocks of transact() and operations; 0: none is open */
    int working; /* of them operations, which are at work in it just now */
    int doomed;  /* to be rolled back as soon as none is */
    unsigned long thread;
    PyObject *
        owner; /* strong: what of the thread owns it, see running_task(); NULL: whatever runs in it */
    Session *session;     /* in use */
    unsigned long serial; /* its number in the cache */
    unsigned int version; /* of the data before it, if a user has had the Connection since */
    dc_namelist added;
    dc_namelist removed;
    HotChanges changes;
    dc_access_log access_log; /* written in it; logged again if it is rolled back */
} WriteTransaction;

/* How this process shares the write lock with others, which cannot be seen to wait. Seconds, on the
 * monotonic clock. */
typedef struct Turn {
    double contended_until; /* somebody else has written lately; 0: not */
    double began;           /* the turn */
    double last;            /* commit */
    int had_gap;            /* between two commits of the turn */
    int stamped;
    dc_stamp stamp; /* after it */
} Turn;

/* Settings that C looks at; each an attribute of the Cache. */
enum cache_setting {
    SETTING_EVICTION_POLICY,
    SETTING_SIZE_LIMIT,
    SETTING_CULL_LIMIT,
    SETTING_STATISTICS,
    SETTING_COUNT
};

/* What Settings keeps of the contents, as it was when it was last read; each an attribute of the Cache. */
enum cache_metadata {
    METADATA_COUNT,
    METADATA_SIZE,
    METADATA_HITS,
    METADATA_MISSES,
    METADATA_NUMBER
};

/* What the thread does. Only it leaves CHECKPOINTER_PAUSING, and only the GIL's holder goes there. */
enum checkpointer_state { CHECKPOINTER_IDLE, CHECKPOINTER_COPYING, CHECKPOINTER_PAUSING };

typedef struct Checkpointer {
    int64_t copy_at;     /* bytes in the log from which to copy next */
    int64_t pause_at;    /* and from which this cache's writes pause meanwhile; 0: not known yet */
    int64_t pause_step;  /* by which the next pause is put off */
    double sync_seconds; /* what the longest sync of a copy takes, a running mean */

    /* The thread. */
    Session *session; /* that it uses, or has used; NULL: there was none since */
    int opening;      /* one is being opened */
    int copied;       /* nothing was left to copy at the end of its latest pause */
    dc_checkpoint run;
    dc_checkpoint_sums sums; /* of the runs before, whose session has been given back */
    atomic_int state;        /* enum checkpointer_state */
    atomic_uint lock_turns;  /* odd while it has the write lock, for an instant */
} Checkpointer;

/* What memory_stats tells beside the tier's own counts: what this object has done, since it was made. */
typedef struct CacheCounts {
    uint64_t evictions;  /* rows that a policy has chosen */
    uint64_t lock_waits; /* for the write lock, Timeouts included */
    double lock_wait_seconds;
} CacheCounts;

/* What on_error says: what is answered as a miss, each one more than those before it. */
enum on_error {
    ON_ERROR_RAISE,
    ON_ERROR_GET,  /* None: a get() that fails */
    ON_ERROR_MISS, /* any lookup */
    ON_ERROR_RESET /* the same, and a malformed database is begun anew */
};

typedef struct Cache {
    PyObject_HEAD
    module_state *state;
    PyObject *weak_references;
    PyObject *directory; /* `_directory` and so on, as assigned; NULL if never */
    PyObject *path;      /* the directory's, absolute since it was assigned; NULL like it */
    PyObject *timeout;
    PyObject *local;
    PyObject *disk;
    PyObject *page_size;
    PyObject *txn_id; /* as assigned; normally None */
    PyObject *metadata[METADATA_NUMBER];
    char synced_file[DC_VALUEFILE_NAME_SIZE]; /* a value file of which the disk is certain, or "" */
    int size_is_due;                /* a write that may evict has been done since `size` was read */
    int seals;                      /* it signs what is written, and checks what is read */
    PyObject *former_disks;         /* list of what `_disk` was before, the latest last; or NULL */
    PyObject *former_memory_limits; /* likewise */
    PyObject *settings[SETTING_COUNT]; /* as assigned */
    dc_rules rules;                    /* their C values; hooks is NULL */
    PyObject *own_policy;  /* dict of a policy of the user's; NULL: it is a native one */
    int own_policy_counts; /* which a lookup that finds its key writes something for */
    int statistics;
    GUARD_PEEKED int logs_lookups; /* a lookup may have something to count or to note (access.h) */
    hook_cache hooks;
    SessionPool pool;
    WriteTransaction transaction;
    GUARD_PEEKED unsigned long writer; /* the thread that has one open, or 0 */
    HotTier hot;
    dc_access_log access_log;
    double
        access_logged_since; /* on the monotonic clock: when they are to be flushed at the latest */
    unsigned long transaction_serial; /* of the transaction begun last */
    int has_told_of_size;             /* that a value is larger than size_limit */
    enum { WRITABLE, READ_ONLY_ASKED, READ_ONLY_UNWRITABLE } read_only;
    int opening; /* __init__ is at it: what is missing in the directory has not been removed */
    unsigned long mender;   /* the thread that makes what has been removed anew, or 0 */
    unsigned long mendings; /* how often it has been made: a Disk may sign another id since */
    int has_new_session; /* the Disk signs, and the id that it signs has not been read from there */
    double looked_at;    /* on the monotonic clock: whether the file is still there */
    enum on_error on_error;
    int checks; /* that are under way: no database is begun anew meanwhile */
    file_identity
        malformed; /* a database of this path that was found to be malformed, the latest */
    Checkpointer checkpointer;
    CacheCounts counts;
    Turn turn;
    struct Cache *next, *previous; /* in the list of all caches of the process */
    PyObject *weak; /* a weak reference to itself, where there is no GIL; else NULL */
} Cache;

static inline int cache_resets(const Cache *self)
{
    return self->on_error == ON_ERROR_RESET && self->checks == 0;
}

/* What the class or the object has taken over. */
static inline unsigned int own_hooks(Cache *self)
{
    return hooks_of(&self->state->cache_hooks, &self->hooks, (PyObject *)self);
}

/* And what the native code may not do itself, for another reason. */
static inline unsigned int cache_hooks(Cache *self)
{
    return own_hooks(self) | (self->own_policy != NULL ? CACHE_HOOK__cull : 0);
}

#endif
