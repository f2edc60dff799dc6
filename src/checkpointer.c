/* checkpointer.c: see checkpointer.h. */
#include "cache.h"

#include <signal.h>
#include <string.h>

#include "checkpoint.h"

/* New bytes for which the thread is started again: each round has less to copy than the one before. */
#define NEXT_BYTES (CHECKPOINT_BYTES * 3 / 10)
/* Bytes from which the rest is copied while commits are kept out; a last round should be over by then. */
#define CATCH_UP_BYTES (CHECKPOINT_BYTES * 16 / 10)
/* If others' reads or checkpoints were in the way of that, it is tried again after so many more. */
#define AGAIN_BYTES (CHECKPOINT_BYTES / 10)
/* How long that may wait for the write lock, and then for others that read. As long as a read lasts that
 * is in the way nobody can commit, so the next attempts wait for less. */
#define CATCH_UP_SECONDS       0.02
#define CATCH_UP_SECONDS_LEAST 0.0001
/* How long the thread may wait for the write lock, which it needs to begin. */
#define LOCK_SECONDS 0.02

/* --- the thread --------------------------------------------------------------------------------- */

#ifndef _WIN32

static void *copy_log(void *context)
{
    Checkpointer *checkpointer = context;

    session_enter_natively();
    dc_checkpoint(&checkpointer->session->db, LOCK_SECONDS); /* if it fails, the next one may not */
    session_leave_natively();
    atomic_store(&checkpointer->done, 1); /* the last that it has to do with the Checkpointer */
    return NULL;
}

static int start_thread(Checkpointer *checkpointer)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all;
    sigset_t former;
    int started = 0;

    if (pthread_attr_init(&attributes) != 0) {
        return 0;
    }
    atomic_store(&checkpointer->done, 0);
    /* Signals are for threads that know what to do with them. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &former);
    started = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
              pthread_create(&thread, &attributes, copy_log, checkpointer) == 0;
    pthread_sigmask(SIG_SETMASK, &former, NULL);
    pthread_attr_destroy(&attributes);
    return started;
}

static int is_running(const Checkpointer *checkpointer)
{
    return checkpointer->session != NULL && !atomic_load(&checkpointer->done);
}

#else

static int start_thread(Checkpointer *checkpointer)
{
    (void)checkpointer;
    return 0;
}

static int is_running(const Checkpointer *checkpointer)
{
    (void)checkpointer;
    return 0;
}

#endif

/* Put the session of a thread that has ended back into the pool. */
static void give_session_back(Cache *self)
{
    Session *session = self->checkpointer.session;

    if (session != NULL && !is_running(&self->checkpointer)) {
        self->checkpointer.session = NULL;
        cache_return_session(self, session);
    }
}

void checkpoint_finish(Cache *self)
{
    unsigned long generation = session_generation();

    while (is_running(&self->checkpointer) && self->pool.generation == generation) {
        session_pause();
    }
    if (self->pool.generation == generation) {
        give_session_back(self);
    }
}

void checkpoint_forget(Cache *self)
{
    Session *session = self->checkpointer.session;

    if (session != NULL && !is_running(&self->checkpointer)) {
        session_release(&self->pool,
                        session); /* it was over before the fork: the session is idle */
    }
    self->checkpointer.session = NULL;
}

/* Let the thread copy what there is; 0 if it cannot. */
static int copy_in_background(Cache *self)
{
    Checkpointer *checkpointer = &self->checkpointer;
    Session *session = cache_idle_session(self);

    if (session == NULL || session_header(session) == NULL) {
        return 0; /* with exclusive locking, say, no other session could work meanwhile */
    }
    if (checkpointer->session != NULL) {
        return 1; /* while this thread opened a session another one has started a copy */
    }
    session_use(session);
    checkpointer->session = session;
    if (!start_thread(checkpointer)) {
        checkpointer->session = NULL;
        cache_return_session(self, session);
        return 0;
    }
    return 1;
}

/* Copy what is left while commits are kept out, so that the next one begins the log anew. */
static void catch_up(Cache *self)
{
    Checkpointer *checkpointer = &self->checkpointer;
    Session *session = cache_idle_session(self);
    dc_checkpoint_result result;
    session_visit visit;

    if (session != NULL) {
        session_use(session);
        visit = session_enter_slowly();
        result = dc_checkpoint_alone(&session->db, checkpointer->patience);
        session_leave_slowly(visit);
        checkpointer->patience = result != DC_CHECKPOINT_BUSY ? CATCH_UP_SECONDS
                                 : checkpointer->patience > CATCH_UP_SECONDS_LEAST
                                     ? checkpointer->patience / 4.0
                                     : CATCH_UP_SECONDS_LEAST;
        cache_return_session(self, session);
    }
}

int checkpoint_if_due(Cache *self, int64_t wal_bytes)
{
    Checkpointer *checkpointer = &self->checkpointer;
    compat_exception current;

    if (wal_bytes < CHECKPOINT_BYTES) {
        checkpointer->next_at = CHECKPOINT_BYTES;
        checkpointer->catch_up_at = CATCH_UP_BYTES;
        checkpointer->patience = CATCH_UP_SECONDS;
        return 0;
    }
    if (checkpointer->catch_up_at == 0) { /* others have left a log that is long already */
        checkpointer->catch_up_at = wal_bytes + NEXT_BYTES + NEXT_BYTES;
        if (checkpointer->catch_up_at < CATCH_UP_BYTES) {
            checkpointer->catch_up_at = CATCH_UP_BYTES;
        }
        checkpointer->patience = CATCH_UP_SECONDS;
    }
    if (wal_bytes < checkpointer->next_at || (cache_hooks(self) & CACHE_HOOK__con)) {
        return 0;
    }
    if (wal_bytes < checkpointer->catch_up_at && is_running(checkpointer)) {
        return 0;
    }
    current = compat_exception_take();
    give_session_back(self);
    if (wal_bytes < checkpointer->catch_up_at && copy_in_background(self)) {
        checkpointer->next_at = wal_bytes + NEXT_BYTES;
        if (checkpointer->next_at > checkpointer->catch_up_at - NEXT_BYTES) {
            checkpointer->next_at = checkpointer->catch_up_at;
        }
    } else {
        catch_up(self); /* the thread may be at it still: others must not commit meanwhile */
        checkpointer->next_at = checkpointer->catch_up_at = wal_bytes + AGAIN_BYTES;
    }
    return cache_end_housekeeping(self->state, current);
}
