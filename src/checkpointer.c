/* checkpointer.c: see checkpointer.h. */
#include "cache.h"

#include <signal.h>

/* New bytes for which the thread is started again: each round has less to copy than the one before. */
#define NEXT_BYTES (CHECKPOINT_BYTES * 3 / 10)
/* Bytes from which the rest is copied while commits are kept out; a last round should be over by then. */
#define CATCH_UP_BYTES (CHECKPOINT_BYTES * 16 / 10)
/* If others' reads or checkpoints were in the way of that, it is tried again after so many more. */
#define AGAIN_BYTES (CHECKPOINT_BYTES / 10)
/* If the write lock cannot be had at once, it is tried again after so many. */
#define SOON_BYTES (CHECKPOINT_BYTES / 100)
/* And then, after so many, an operation waits for it. */
#define PATIENCE_BYTES (CHECKPOINT_BYTES * 2 / 10)
/* How long that may take, and then the waiting for others that read. As long as a read lasts that is in
 * the way nobody can commit, so the next attempts wait for less. */
#define CATCH_UP_SECONDS       0.02
#define CATCH_UP_SECONDS_LEAST 0.0001
/* How long a thread beside commits may wait for the write lock, which it needs to begin. */
#define LOCK_SECONDS 0.02

/* --- the thread --------------------------------------------------------------------------------- */

#ifndef _WIN32

static void *copy_log(void *context)
{
    Copying *copying = context;
    dc_db *db = &copying->session->db;

    session_enter_natively();
    copying->result = copying->alone
                          ? dc_checkpoint_kept_out(db, copying->patience, copying->keeping)
                          : dc_checkpoint(db, copying->patience, &copying->keeps_out);
    session_leave_natively();
    atomic_store(&copying->done, 1); /* the last that it has to do with the Copying */
    return NULL;
}

static int start_thread(Copying *copying)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all;
    sigset_t former;
    int started = 0;

    if (pthread_attr_init(&attributes) != 0) {
        return 0;
    }
    atomic_store(&copying->done, 0);
    /* Signals are for threads that know what to do with them. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &former);
    started = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
              pthread_create(&thread, &attributes, copy_log, copying) == 0;
    pthread_sigmask(SIG_SETMASK, &former, NULL);
    pthread_attr_destroy(&attributes);
    return started;
}

static int is_running(const Copying *copying)
{
    return copying->session != NULL && !atomic_load(&copying->done);
}

#else

static int start_thread(Copying *copying)
{
    (void)copying;
    return 0;
}

static int is_running(const Copying *copying)
{
    (void)copying;
    return 0;
}

#endif

int checkpoint_keeps_out(const Cache *self)
{
    const Checkpointer *checkpointer = &self->checkpointer;

    return is_running(&checkpointer->alone) ||
           (is_running(&checkpointer->beside) && atomic_load(&checkpointer->beside.keeps_out));
}

/* After an attempt to catch up. */
static void note_result(Checkpointer *checkpointer, dc_checkpoint_result result)
{
    checkpointer->patience = result != DC_CHECKPOINT_BUSY ? CATCH_UP_SECONDS
                             : checkpointer->patience > CATCH_UP_SECONDS_LEAST
                                 ? checkpointer->patience / 4.0
                                 : CATCH_UP_SECONDS_LEAST;
}

/* Put the session of a thread that has ended back into the pool. */
static void give_session_back(Cache *self, Copying *copying)
{
    Session *session = copying->session;

    if (session != NULL && !is_running(copying)) {
        copying->session = NULL;
        if (copying->alone) {
            note_result(&self->checkpointer, copying->result);
        }
        cache_put_back_session(self, session);
    }
}

static void give_sessions_back(Cache *self)
{
    give_session_back(self, &self->checkpointer.beside);
    give_session_back(self, &self->checkpointer.alone);
}

void checkpoint_finish(Cache *self)
{
    const Checkpointer *checkpointer = &self->checkpointer;
    unsigned long generation = session_generation();

    while ((is_running(&checkpointer->beside) || is_running(&checkpointer->alone)) &&
           self->pool.generation == generation) {
        session_pause();
    }
    if (self->pool.generation == generation) {
        give_sessions_back(self);
    }
}

static void forget(Copying *copying)
{
    Session *session = copying->session;

    if (session != NULL && !is_running(copying)) {
        session_put_back(session); /* it was over before the fork: the session is idle */
    }
    copying->session = NULL;
    copying->opening = 0;
}

void checkpoint_forget(Cache *self)
{
    forget(&self->checkpointer.beside);
    forget(&self->checkpointer.alone);
}

/* Whether another session could work beside the one that has just committed: with exclusive locking none
 * can, and opening one would wait for ever. */
static int can_share_file(Cache *self)
{
    Session *session = session_idle(&self->pool);
    int can_share = 0;

    if (session != NULL) {
        return session_header(session) != NULL;
    }
    session = session_pinned(&self->pool);
    if (session != NULL) {
        session_use(session); /* a callback of its user's may close the cache */
        can_share = dc_db_pragma_is(&session->db, "PRAGMA locking_mode", "normal");
        cache_put_back_session(self, session);
    }
    return can_share;
}

/* A session for a thread, in use; or NULL, with an exception only if a signal handler raised one. Opening
 * one gives up the GIL, and other threads must not begin the same. */
static Session *session_for(Cache *self, Copying *copying)
{
    compat_exception none = compat_exception_take(); /* there is none: see checkpoint_if_due */
    unsigned long generation = session_generation();
    Session *session = NULL;

    if (can_share_file(self)) {
        copying->opening = 1;
        session = cache_spare_session(self);
        copying->opening = 0;
    }
    cache_end_housekeeping(self->state, none); /* no descriptor may be left, for instance */
    if (session == NULL || session_header(session) == NULL || session_generation() != generation) {
        return NULL;
    }
    session_use(session);
    return session;
}

static int start_copying(Copying *copying, Session *session)
{
    copying->session = session;
    if (!start_thread(copying)) {
        copying->session = NULL;
    }
    return copying->session != NULL;
}

/* Let a thread copy what there is; 0 if it cannot. */
static int copy_beside_commits(Cache *self)
{
    Copying *copying = &self->checkpointer.beside;
    Session *session;

    if (copying->session != NULL || copying->opening) {
        return 1;
    }
    session = session_for(self, copying);
    if (session == NULL) {
        return 0;
    }
    copying->patience = LOCK_SECONDS;
    if (!start_copying(copying, session)) {
        cache_put_back_session(self, session);
        return 0;
    }
    return 1;
}

/* Keep commits out and let a thread copy what is left, so that the next one begins the log anew; 0 if it
 * cannot, or if the write lock is not free. */
static int copy_alone(Cache *self)
{
    Copying *copying = &self->checkpointer.alone;
    Session *session;

    if (copying->session != NULL || copying->opening) {
        return copying->session != NULL;
    }
    session = session_for(self, copying);
    if (session == NULL) {
        return 0;
    }
    copying->alone = 1;
    copying->patience = self->checkpointer.patience;
    if (dc_checkpoint_keep_out(&session->db, &copying->keeping)) {
        if (start_copying(copying, session)) {
            return 1;
        }
        dc_checkpoint_let_in(&session->db, copying->keeping);
    }
    cache_put_back_session(self, session);
    return 0;
}

/* The same in this thread, with a session that is there. Our other threads cannot commit as long as this
 * one has the GIL, so the write lock is taken before that is released; for others it is waited. */
static void catch_up(Cache *self)
{
    Session *session = session_idle(&self->pool);
    double patience = self->checkpointer.patience;
    dc_checkpoint_result result;
    session_visit visit;
    int keeping = 0;
    int kept_out;

    if (session == NULL) {
        session = session_pinned(&self->pool);
    }
    if (session != NULL && session->uses == 0) {
        session_use(session);
        kept_out = dc_checkpoint_keep_out(&session->db, &keeping);
        visit = session_enter_slowly();
        result = kept_out ? dc_checkpoint_kept_out(&session->db, patience, keeping)
                          : dc_checkpoint_alone(&session->db, patience);
        session_leave_slowly(visit);
        note_result(&self->checkpointer, result);
        cache_put_back_session(self, session);
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
    if (wal_bytes < checkpointer->next_at) {
        return 0;
    }
    if (wal_bytes < checkpointer->catch_up_at &&
        (checkpointer->beside.opening || is_running(&checkpointer->beside))) {
        return 0;
    }
    current = compat_exception_take();
    give_sessions_back(self);
    if (wal_bytes < checkpointer->catch_up_at && copy_beside_commits(self)) {
        checkpointer->next_at = wal_bytes + NEXT_BYTES;
        if (checkpointer->next_at > checkpointer->catch_up_at - NEXT_BYTES) {
            checkpointer->next_at = checkpointer->catch_up_at;
        }
    } else if (!PyErr_Occurred() && copy_alone(self)) {
        checkpointer->next_at = checkpointer->catch_up_at = wal_bytes + AGAIN_BYTES;
    } else if (!PyErr_Occurred() && wal_bytes >= checkpointer->catch_up_at + PATIENCE_BYTES) {
        catch_up(self);
        checkpointer->next_at = checkpointer->catch_up_at = wal_bytes + AGAIN_BYTES;
    } else {
        checkpointer->next_at = wal_bytes + SOON_BYTES;
    }
    return cache_end_housekeeping(self->state, current);
}
