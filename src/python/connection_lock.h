/* connection_lock.h: the lock under which connections are opened and closed.
 *
 * POSIX drops all locks of a process on a file when the process closes any descriptor of that file. So SQLite
 * keeps a descriptor open while another connection of the process holds a lock on its file. But its unixClose()
 * looks for such locks before it closes, and holds nothing in between (3.40 to 3.51 at least): a connection of
 * another thread that takes its first lock just then loses it. In WAL mode that lock is all that keeps the last
 * connection of another process from deleting the log, and commits with it.
 *
 * A connection takes its first lock in WAL mode with its first read, and keeps it until it is closed. With a
 * rollback journal it takes it anew in each transaction. So one thread at a time opens a connection, up to its
 * first read, or closes one; and transactions with a rollback journal, which share the lock, keep that thread out.
 *
 * Opening and closing go through Python's sqlite3, which releases the GIL inside SQLite. The fork gate cannot be
 * held there, because a forking thread waits for it with the GIL. So os.fork() waits for this lock instead.
 *
 * The lock is a count that the process lock guards. Nobody waits for it for ever: a thread may hold what the holder waits
 * for, or be called from inside of what the holder does (an SQL function or a trace callback that uses a cache, an
 * audit hook, a finalizer). For the same reason a thread may acquire it again.
 */
#ifndef DC_PYTHON_CONNECTION_LOCK_H
#define DC_PYTHON_CONNECTION_LOCK_H

/* How long a thread waits for a fork, or a fork for a thread. */
#define FORK_WAIT_SECONDS 0.1

/* Acquire it, after a long time in any case; for what cannot fail. */
void connection_lock_acquire(void);
/* Acquire it within so many seconds, at least those that closing the last connection takes. 1, or with an exception
 * -1 if a signal handler raised; 0 if the time is over. */
int connection_lock_acquire_within(double seconds);
void connection_lock_release(void);

/* For a transaction that takes its first lock; it waits no longer than FORK_WAIT_SECONDS. */
void connection_lock_acquire_shared(void);
void connection_lock_release_shared(void);

/* In the thread that is going to call fork(): wait until nobody else has the lock, and let nobody acquire it until
 * the fork is over. */
void connection_lock_before_fork(void);
void connection_lock_after_fork(void);
/* Around a fork, with the process lock. Whether this thread has called connection_lock_before_fork: then it has the
 * GIL. */
int connection_lock_is_kept_for_fork(void);
/* The same in the child, which has only this thread. */
void connection_lock_after_fork_in_child(void);

#endif
