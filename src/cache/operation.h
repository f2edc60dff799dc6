/* operation.h: the life of an operation: its session, its lock, its end.
 *
 * Every operation follows one pattern:
 *
 *     convert the arguments              Python may run, no lock is held
 *     operation_begin_read / _write      a session; for a write the write lock
 *     session_enter ... session_leave    the engine, no Python
 *     operation_end / operation_commit   the lock and the session are given back
 *     convert the result                 Python may run, no lock is held
 */
#ifndef DC_CACHE_OPERATION_H
#define DC_CACHE_OPERATION_H

#include "cache/object.h"

/* An operation under way. Zero-initialize. */
typedef struct Operation {
    Cache *cache;
    Session *session;
    int block;        /* a block of transact(), not an operation */
    int joined;       /* inside a transaction open already: the session stays with it */
    int retry;        /* a read: wait for as long as it takes until a session can be opened */
    int tells_keys;   /* says with operation_changes which keys it writes */
    int releases_gil; /* its writes are known to take long: they release the GIL */
    unsigned long generation; /* of the process that began it */
} Operation;

int operation_begin_read(Operation *operation, Cache *cache);
void operation_end_read(Operation *operation);

/* Begin or join the write transaction; waits for the lock. -1 with Timeout or another exception. */
int operation_begin_write(Operation *operation, Cache *cache, int retry);
/* The same within so many seconds. */
int operation_begin_write_within(Operation *operation, Cache *cache, double timeout, int retry);
/* Write what is noted in the transaction under way; -1 with an exception, and then it is rolled back. */
int operation_flush_notes(Operation *operation);
/* End one level. The outermost commits and removes files; -1 with an exception, and then everything
 * has been rolled back. */
int operation_commit(Operation *operation);
/* End one level after a failure whose exception is set, which stays. The outermost rolls back. */
void operation_rollback(Operation *operation);
/* Raise for a status, roll back one level, return -1. */
int operation_fail(Operation *operation, dc_status status);

/* Roll the open transaction back, whose blocks nobody is going to leave any more: now, or as soon as no
 * operation is at work in it. */
void cache_abandon_transaction(Cache *self);

/* Say that a file has been written for a row of this transaction; call before the row is. If that fails
 * the file is gone. */
int operation_add_file(Operation *operation, const char *filename);

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

/* Remove a file now; an exception that is set stays. */
void cache_discard_file(Cache *self, const char *filename);
/* The same for the file of an operation that has not written its row, or has failed: then the row may be
 * there, written by a hook before it raised, and the file stays with it. An outermost operation that has
 * failed has seen to that, and if the process has forked since it began the file is the parent's. */
void operation_discard_file(Operation *operation, const char *filename, int failed);

void cache_clear_transaction(WriteTransaction *transaction);

#endif
