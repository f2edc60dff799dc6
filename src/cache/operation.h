/* operation.h: the life of an operation: its session, its lock, its end.
 *
 * Every operation follows one pattern:
 *
 *     convert the arguments              Python may run, no lock is held
 *     operation_begin_read / _write      a session; for a write the write lock
 *     operation_enter ... _leave...      the engine, no Python
 *     operation_end_read / _commit       the lock and the session are given back
 *     convert the result                 Python may run, no lock is held
 */
#ifndef DC_CACHE_OPERATION_H
#define DC_CACHE_OPERATION_H

#include "cache/object.h"
#include "python/wait.h"

/* An operation under way. Zero-initialize. */
typedef struct Operation {
    Cache *cache;
    Session *session;
    int block;                /* 1: a block of transact(); 0: an operation */
    int joined;               /* it joined an open transaction, which owns the session */
    int retry;                /* a read: wait for a lock as long as it takes */
    int writes;               /* it has the write lock */
    int release_gil;          /* it is known to take long */
    int seals;                /* the Disk signs what it inserts, in Python */
    unsigned long generation; /* of the process that began it */

    /* Inside SQLite. */
    engine_section section;
    lock_wait wait;        /* of a read, once it was busy */
    unsigned long victims; /* rows evicted before */
    int hooked; /* hooks run Python between the statements: no engine section, the GIL is kept */
} Operation;

/* Which keys a write has changed. Each caller of operation_leave_write says so. */
typedef struct Written {
    enum {
        WRITTEN_ALL = 0, /* it is not known which */
        WRITTEN_NOTHING,
        WRITTEN_KEY,
        WRITTEN_ROW,
        WRITTEN_VALUE,
        WRITTEN_EACH
    } kind;
    const disk_key *key;      /* WRITTEN_KEY; WRITTEN_VALUE */
    const dc_key *row_key;    /* WRITTEN_ROW: as it stands in the database */
    const disk_value *stored; /* WRITTEN_VALUE: what the key has been set to */
    PyObject *tag;            /* WRITTEN_VALUE: keeps the bytes of its tag, or NULL */
    int count;                /* WRITTEN_EACH: so many, told by `at` */
    struct Written (*at)(const void *context, int index);
    const void *context;
} Written;

int operation_begin_read(Operation *operation, Cache *cache);
void operation_end_read(Operation *operation);

/* Begin or join the write transaction; waits for the lock. -1 with Timeout or another exception. */
int operation_begin_write(Operation *operation, Cache *cache, int retry);
/* The same within so many seconds. */
int operation_begin_write_within(Operation *operation, Cache *cache, double timeout, int retry);
/* After the access log could not be written, the next attempt comes so many seconds later. */
#define ACCESS_LOG_AGAIN_SECONDS 0.1
/* Write the access log in the transaction under way; -1 with an exception, and then it is rolled back. */
int operation_flush_access_log(Operation *operation);
/* End one level. The outermost commits and removes files. -1 with an exception: of the COMMIT, and then everything
 * has been rolled back; or, after it, of removing files or of a signal handler, and then the data stays. */
int operation_commit(Operation *operation);
/* End one level after a failure whose exception is set, which stays. The outermost rolls back. */
void operation_rollback(Operation *operation);
/* Raise for a status, roll back one level, return -1. */
int operation_fail(Operation *operation, dc_status status);

/* Roll back the open transaction: nobody will leave its blocks any more. If an operation is at work in it, the
 * last one to end rolls back. */
void cache_abandon_transaction(Cache *self);

/* Register a file with this transaction, so that a rollback removes it. Call this before the row is written. -1: no
 * memory, and the file has been removed. */
int operation_add_file(Operation *operation, const char *filename);

/* Between these two calls a thread is inside SQLite, without Python. operation_leave_read returns 1 if the read was
 * busy and is to be tried again. That is rare: recovery, and journals other than WAL.
 *
 *     do {
 *         status = dc_row_get(operation_enter(&operation), ...);
 *     } while (operation_leave_read(&operation, &status));
 *
 * At the end the status is DC_OK, DC_NOT_FOUND, or DC_CALLBACK with an exception. */
dc_db *operation_enter(Operation *operation);
int operation_leave_read(Operation *operation, dc_status *status);
/* The same for a write. It notes for the memory tier which keys were written: after the commit the tier drops them, or
 * takes their new values. Pass a failure to operation_fail. */
void operation_leave_write(Operation *operation, Written written);
/* End the section after a read inside a write operation. */
void operation_leave(Operation *operation);

/* Remove a file now; an exception that is set stays. */
void cache_discard_file(Cache *self, const char *filename);
/* Remove the file of an operation that has written no row, or has failed. Nothing is removed if
 * - a hook has written the row before it raised, inside a transaction that is still open;
 * - an outermost operation has failed: its rollback has done that already;
 * - the process has forked since the operation began: the file is the parent's. */
void operation_discard_file(Operation *operation, const char *filename, int failed);

void cache_clear_transaction(WriteTransaction *transaction);

#endif
