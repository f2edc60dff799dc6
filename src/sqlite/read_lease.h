/* read_lease.h: the lock of a read mark, kept from one transaction to the next.
 *
 * A transaction of SQLite has a shared lock on a read mark ("WAL-Index File Format"): nobody may copy more frames
 * of the log than that mark says, or begin the log anew, while it reads. Taking the lock and giving it back are two
 * calls of fcntl, a third of what a lookup costs. So the methods of the database's file (io_override.h) do not give
 * the lock back at once, and where the next transaction takes the same mark it is there already.
 *
 * SQLite knows nothing of that, and its transactions begin and end as ever: each looks at the header of the
 * wal-index and chooses its mark. All that differs is that a handle has a lock for longer than it needs it. That can
 * hold up who copies the log or begins it anew, so a lease has bounds:
 *
 * - It ends 5 ms after it began, or when the thread that does so gets a processor. It runs while there are any.
 * - None is kept while the log has more than DC_LEASE_BYTES, so that it can begin anew; but for the mark of those that
 *   read the database alone, which is not in the way of that. (It is in the way of a copy, which then comes later.)
 * - None is kept for a handle that reads once in a while.
 * - It ends before the handle takes any other lock but one of writing; before a fork; and with detach.
 *
 * A process that is stopped (SIGSTOP) keeps its leases until it goes on.
 *
 * A lock that is kept may be gone: the system takes all locks of a process on a file as soon as the process closes any
 * descriptor of it, when it copies the directory, say. So a transaction begins with a lease only between
 * dc_read_lease_allow and dc_read_lease_forbid, of whoever can do without the lock:
 *
 * - A lookup looks at the header before and after. Nothing that it may have read is overwritten before the header
 *   changes: who copies the log copies what it says, and who begins it anew changes it first. So if the header is the
 *   same the lookup is right, and if not it is done again, with a lock.
 * - A BEGIN IMMEDIATE succeeds only if the header is, under the write lock, what it was when it began to read. From
 *   then on nobody else can change it.
 *
 * A dc_read_lease belongs to one handle and is used by the thread that uses the handle. With the thread that ends leases
 * it shares `state`, `transactions`, the list, and SQLite's own record of the locks of the handle: which one touches
 * that only in the state DC_LEASE_ENDING, the other only in DC_LEASE_NONE and DC_LEASE_IN_USE.
 */
#ifndef DC_SQLITE_READ_LEASE_H
#define DC_SQLITE_READ_LEASE_H

#include <stdatomic.h>

#include "sqlite/io_override.h"
#include "sqlite/wal_header.h"

/* Half of what the log has when it is copied (checkpoint.h), and a little less. */
#define DC_LEASE_BYTES (500 * 4096)

/* What `state` is: one of these, and but for the first two the lock. */
enum {
    DC_LEASE_NONE = 0,
    DC_LEASE_ENDING = 1, /* a thread is giving the lock back */
    DC_LEASE_IN_USE = 2, /* a transaction has the lock: only its thread leaves this state */
    DC_LEASE_KEPT =
        4, /* the lock is kept: whoever replaces this state by another may go on with it */
    DC_LEASE_AGED = 8, /* beside the two before: it is to end soon */
    DC_LEASE_LOCK_SHIFT = 4
};

typedef struct dc_read_lease {
    dc_io_override io;    /* first: of the database's file, from attach to detach */
    dc_wal_header header; /* of the handle */
    atomic_uint state;
    atomic_uint transactions; /* since the latest lease that nobody has used again */
    int allowed;              /* a transaction may begin with a lease */
    int used;                 /* and one has */
    struct dc_read_lease *next, *previous;
} dc_read_lease;

/* From now on locks are kept, for a file whose header is known. */
void dc_read_lease_attach(dc_read_lease *lease, sqlite3_file *file, dc_wal_header header);
/* Give back what is kept, and keep no more. Nothing happens if it is not attached. */
void dc_read_lease_detach(dc_read_lease *lease);

/* What begins between the two may do so with a lease. The second tells whether anything has. */
static inline void dc_read_lease_allow(dc_read_lease *lease)
{
    lease->allowed = 1;
    lease->used = 0;
}
static inline int dc_read_lease_forbid(dc_read_lease *lease)
{
    lease->allowed = 0;
    return lease->used;
}

/* Between the two no handle of the process keeps a lock, and the thread does not run. */
void dc_read_leases_suspend(void);
void dc_read_leases_resume(void);

/* Around each fork: nobody attaches, detaches, or ends a lease between the two. `is_announced`: by
 * dc_read_leases_suspend, in the thread that forks. */
void dc_read_leases_before_fork(void);
void dc_read_leases_after_fork(int in_child, int is_announced);

#endif
