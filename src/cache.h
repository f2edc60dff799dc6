/* cache.h: the Cache object, and how its operations get a session, a lock and an end.
 *
 * Every operation follows one pattern:
 *
 *     convert the arguments              Python may run, no lock is held
 *     operation_begin_read / _write      a session; for a write the write lock
 *     session_enter ... session_leave    the engine, no Python
 *     operation_end / operation_commit   the lock and the session are given back
 *     convert the result                 Python may run, no lock is held
 *
 * At most one write transaction of a Cache is open at a time, since SQLite has one writer: it stands
 * in cache->transaction, filled after BEGIN has succeeded and emptied before COMMIT or ROLLBACK, so
 * threads never see each other's. A write of the thread (and task) that owns it joins it. The
 * files it wrote are in `added` and go if it is rolled back; those it made superfluous are in
 * `removed` and go once it is committed, never before.
 */
#ifndef DC_CACHE_H
#define DC_CACHE_H

#include "state.h" /* first: it includes Python.h */

#include "checkpointer.h"
#include "disk.h"
#include "hottier.h"
#include "notes.h"
#include "session.h"
#include "store.h"

typedef struct WriteTransaction {
    int depth;   /* of nested use: blocks of transact() and operations; 0: none is open */
    int working; /* of them operations, which are at work in it just now */
    int doomed;  /* to be rolled back as soon as none is */
    unsigned long thread;
    PyObject *owner;  /* strong: what of the thread owns it, see running_task(); NULL: whatever runs in it */
    Session *session; /* in use */
    unsigned long serial; /* its number in the cache */
    unsigned int version; /* of the data before it, if a user has had the Connection since */
    dc_namelist added;
    dc_namelist removed;
    HotChanges changes;
    dc_notes notes; /* written in it, and noted again if it is rolled back */
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

struct Cache {
    PyObject_HEAD
    module_state *state;
    PyObject *weak_references;
    PyObject *directory; /* `_directory` and so on, as assigned; NULL if never */
    PyObject *path; /* the directory's, absolute since it was assigned; NULL like it */
    PyObject *timeout;
    PyObject *local;
    PyObject *disk;
    PyObject *page_size;
    PyObject *txn_id;                  /* as assigned; normally None */
    PyObject *metadata[METADATA_NUMBER];
    int size_is_due; /* a write that may evict has been done since `size` was read */
    PyObject *former_disks;         /* list of what `_disk` was before, the latest last; or NULL */
    PyObject *former_memory_limits; /* likewise */
    PyObject *settings[SETTING_COUNT]; /* as assigned */
    dc_rules rules;                    /* their C values; hooks is NULL */
    PyObject *own_policy;              /* dict of a policy of the user's; NULL: it is a native one */
    int own_policy_notes;              /* which a lookup that finds its key writes something for */
    int statistics;
    hook_cache hooks;
    SessionPool pool;
    WriteTransaction transaction;
    HotTier hot;
    dc_notes notes;
    unsigned long flushed; /* by which call of cache_flush_all_notes */
    double noted_since;    /* on the monotonic clock: when they are to be flushed at the latest */
    unsigned long transaction_serial; /* of the transaction begun last */
    int has_told_of_size; /* that a value is larger than size_limit */
    int opening;        /* __init__ is at it: what is missing in the directory has not been removed */
    unsigned long mender; /* the thread that makes what has been removed anew, or 0 */
    double looked_at;     /* on the monotonic clock: whether the file is still there */
    Checkpointer checkpointer;
    Turn turn;
    struct Cache *next, *previous; /* in the list of all caches of the process */
};

extern PyType_Spec cache_type_spec;
extern PyType_Spec transaction_type_spec;
extern PyType_Spec iterator_type_spec;
extern PyType_Spec pin_type_spec;

static inline unsigned int cache_hooks(Cache *self)
{
    return hooks_of(&self->state->cache_hooks, &self->hooks, (PyObject *)self) |
           (self->own_policy != NULL ? CACHE_HOOK__cull : 0);
}

/* --- cache_settings.c --- */

/* Read what is stored as the size, if it is due, and keep it. -1 with an exception. */
int cache_renew_size(Cache *self);

/* --- operation.c --- */

/* The file in the directory. */
#define DATABASE_NAME "cache.db"

/* An operation under way. Zero-initialize. */
typedef struct Operation {
    Cache *cache;
    Session *session;
    int block;      /* a block of transact(), not an operation */
    int joined;     /* inside a transaction open already: the session stays with it */
    int retry;      /* a read: wait for as long as it takes until a session can be opened */
    int tells_keys; /* says with operation_changes which keys it writes */
    int lengthy;    /* its writes are known to take long: they release the GIL */
    unsigned long generation; /* of the process that began it */
} Operation;

/* AttributeError if __init__ has not run; also notices a fork. Call first in every method. The second
 * form does without a disk, which __init__ makes only after it has read the settings. */
int cache_ready(Cache *self);
int cache_ready_to_open(Cache *self);

int operation_begin_read(Operation *operation, Cache *cache);
void operation_end_read(Operation *operation);

/* Begin or join the write transaction; waits for the lock. -1 with Timeout or another exception. */
int operation_begin_write(Operation *operation, Cache *cache, int retry);
/* End one level. The outermost commits and removes files; -1 with an exception, and then everything
 * has been rolled back. */
int operation_commit(Operation *operation);
/* End one level after a failure whose exception is set, which stays. The outermost rolls back. */
void operation_rollback(Operation *operation);
/* Raise Timeout: its attribute `message` says where, for how long, and if this thread is in its own way. */
void cache_raise_timeout(Cache *self);
/* Raise for a status, roll back one level, return -1. */
int operation_fail(Operation *operation, dc_status status);

/* Roll the open transaction back, whose blocks nobody is going to leave any more: now, or as soon as no
 * operation is at work in it. */
void cache_abandon_transaction(Cache *self);

/* Say that a file has been written for a row of this transaction; call before the row is. If that fails
 * the file is gone. */
int operation_add_file(Operation *operation, const char *filename);

/* Whether this thread and task own the open transaction. *other_task is set if another task of this
 * thread does. */
int cache_owns_transaction(Cache *self, int *other_task);
/* Make the running task the owner of the transaction just begun. */
void cache_claim_for_task(Cache *self);

/* Say which key a write with `tells_keys` writes; without it all that is in the hot tier is dropped. */
void operation_changes(Operation *operation, const disk_key *put);
/* The same for a key that has been set to a value; `tag` keeps the bytes of its tag, or is NULL. */
void operation_sets(Operation *operation, const disk_key *put, const disk_value *stored,
                    PyObject *tag);
void operation_changes_row(Operation *operation, const dc_key *key);

/* What an operation asks of the engine, inside SQLite and without Python. */
typedef dc_status (*operation_call)(dc_db *db, void *context);
/* Run the call, waiting while it is DC_BUSY: reads meet a lock only rarely (recovery, journals other
 * than WAL). DC_OK, DC_NOT_FOUND, or DC_CALLBACK with an exception. */
dc_status operation_read(Operation *operation, operation_call call, void *context, int retry);
/* Run the call once; any failure is for operation_fail. */
dc_status operation_write(Operation *operation, operation_call call, void *context);

/* Count a lookup and note the access, where settings ask for it, for the next transaction to write. */
int cache_note_lookup(Cache *self, int hit, int64_t rowid);
/* Write, now, what a policy of the user's wants of a row that was found. */
int cache_note_by_policy(Cache *self, int64_t rowid);
/* Write what is noted, waiting for the lock so many seconds, or the cache's timeout if that is less.
 * What cannot be written stays noted. -1 with an exception only if one came out of a signal handler. */
int cache_flush_notes(Cache *self, double seconds);
/* Seconds for which closing waits to write what is noted. */
#define NOTES_CLOSE_SECONDS 1.0
/* The same for all caches of an interpreter, without waiting: those of another one belong to its threads. */
void cache_flush_all_notes(module_state *state);

/* Remove a file now; an exception that is set stays. */
void cache_discard_file(Cache *self, const char *filename);
/* The same for the file of an operation that has not written its row, or has failed: then the row may be
 * there, written by a hook before it raised, and the file stays with it. An outermost operation that has
 * failed has seen to that, and if the process has forked since it began the file is the parent's. */
void operation_discard_file(Operation *operation, const char *filename, int failed);

/* AttributeError if an attribute was never assigned. */
int cache_require(PyObject *value, const char *name);
/* Drop what was inherited, if the process has forked. */
void cache_notice_fork(Cache *self);
/* Keep the list of all caches, which the first connection that a forked child opens goes through. */
void cache_enlist(Cache *self);
void cache_delist(Cache *self);
double cache_timeout(Cache *self); /* seconds; -1.0 with an exception */

/* A session that this thread may use now: pinned to it or idle, but never one that is in use, by
 * another task of the thread or by an operation that a callback of the user's interrupts.
 * Opened if there is none, and what has been removed of the directory is made anew first; NULL with an
 * exception. session_use it, then give it to cache_return_session. */
Session *cache_find_session(Cache *self);
/* The same, for long, and never a pinned one: where the only idle one would be taken another is opened. */
Session *cache_spare_session(Cache *self);
/* The directory is another one, or the file in it: what was read and opened is not used any more. */
void cache_forget_file(Cache *self);
/* The end of what nobody asked for, a checkpoint or a flush: it may fail, and is tried again. But an
 * exception that is not about the database comes from a signal handler, and must not be lost. `current`
 * is what was set before, and wins. -1 if an exception is set now. */
int cache_end_housekeeping(module_state *state, compat_exception current);
void cache_return_session(Cache *self, Session *session);
/* The same for one that was not pinned and did no operation: those that did come first in the pool, with
 * their pages and prepared statements. */
void cache_put_back_session(Cache *self, Session *session);
void cache_clear_transaction(WriteTransaction *transaction);

/* --- cache.c --- */

/* A user gets hold of the session's Connection: nothing that we know of the database holds any more. */
void cache_expose(Cache *self, Session *session);

/* The Connection of this thread's session, pinned to it: `_con`. New reference. */
PyObject *cache_connection(Cache *self);

/* Roll the open transaction back if this thread ends before; -1 with an exception. */
int cache_watch_thread(Cache *self);

/* --- transaction.c ---
 *
 * cache.transact() and cache._transact(); `filename` is removed if it does not come about. */
PyObject *transaction_new(Cache *cache, int retry, int with_cursor, PyObject *filename);

/* --- cache_iter.c --- */

PyObject *iterator_new(Cache *cache, dc_order order, int stored);

/* What the type is made of; the methods are declared in cache_methods.h. */
extern PyMethodDef cache_methods[];
PyObject *cache_subscript(Cache *self, PyObject *key);
int cache_assign_subscript(Cache *self, PyObject *key, PyObject *value);
int cache_contains(Cache *self, PyObject *key);
Py_ssize_t cache_length(Cache *self);
PyObject *cache_iterate(Cache *self);

#endif
