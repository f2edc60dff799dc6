/* wait.h: waiting for a lock of SQLite, or for another thread, without a busy loop.
 *
 * Most locks are held for microseconds; those of the original's processes, of checkpoints and of users'
 * transactions for longer. So a wait is a burst of attempts, then sleeps without the GIL. They begin at 20 us,
 * grow by half, and stay at 1 ms. Each is jittered, so that waiters do not march in step.
 */
#ifndef DC_PYTHON_WAIT_H
#define DC_PYTHON_WAIT_H

/* One wait. Times are seconds, on dc_clock(). */
typedef struct lock_wait {
    double began;
    double burst; /* when the latest burst began */
    double deadline;
    double delay; /* the next sleep */
    int forever;  /* retry=True */
} lock_wait;

void wait_start(lock_wait *wait, double timeout, int forever);
/* Sleep, unless the burst goes on. 1: try again; 0: the time is over; -1 with an exception: a signal handler
 * raised, or forked. */
int wait_more(lock_wait *wait);
/* The same while this cache's writes pause for a checkpoint. It keeps the GIL at first: all threads that write
 * would lose it otherwise, and queue for it again. */
int wait_for_checkpoint(lock_wait *wait);

/* Sleep for a moment without the GIL. */
void wait_pause(void);
/* The same, then handle signals. 1, or -1 with an exception as wait_more. */
int wait_pause_and_check(void);
/* Sleep. Neither Python nor the GIL is touched. */
void wait_sleep(double seconds);
/* Let another thread or process have this processor, if one waits for it. */
void wait_yield_processor(void);

#endif
