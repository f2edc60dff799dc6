/* checkpointer.c: see checkpointer.h. */
#include "cache/checkpointer.h"

#include <math.h>

#include "base/clock.h"
#include "base/thread.h"
#include "cache/errors.h"
#include "cache/sessions.h"
#include "python/fork_gate.h"
#include "python/fork_generation.h"
#include "python/wait.h"

/* New bytes for which the thread is started again. */
#define NEXT_BYTES (DC_CHECKPOINT_BYTES * 3 / 10)
/* Bytes from which writes pause; where a sync takes so many seconds, or more, only from more on. */
#define PAUSE_BYTES       (DC_CHECKPOINT_BYTES * 14 / 10)
#define SLOW_PAUSE_BYTES  (DC_CHECKPOINT_BYTES * 8)
#define SLOW_SYNC_SECONDS 12e-3
#define SYNC_WEIGHT       0.3
/* After a pause in vain the next comes after so many more, then after twice as many, and so on. */
#define FIRST_PAUSE_STEP (DC_CHECKPOINT_BYTES / 10)
#define LAST_PAUSE_STEP  (DC_CHECKPOINT_BYTES * 8)

/* Where all was copied, and only a read was in the way of the commit that was to begin the log anew, others
 * pause still, and wait for this process. */
#define SOON_BYTES (DC_CHECKPOINT_BYTES / 160)

/* How long a copy may wait for the write lock, which it needs to begin. */
#define LOCK_SECONDS 0.02
/* Copies in one pause, and how long it waits after each for another process's, besides what four syncs
 * take. */
#define PAUSE_COPIES       2
#define PAUSE_SECONDS      0.02
#define PAUSE_POLL_SECONDS 1e-4
#define LONGEST_PAUSE      1.0

/* --- the thread --------------------------------------------------------------------------------- */

#ifndef _WIN32

/* Whether there is nothing left to copy, or was not for a moment: then the log has begun anew. `salts` are
 * those of the one that the pause is for. */
static int is_copied(dc_db *db, uint64_t salts)
{
    dc_log log;

    return dc_log_look(db, &log) && (log.left == 0 || log.salts != salts);
}

static void wait_for_others(dc_db *db, uint64_t salts, double seconds)
{
    double deadline = dc_clock() + seconds;

    while (!is_copied(db, salts) && dc_clock() < deadline) {
        wait_sleep(PAUSE_POLL_SECONDS);
    }
}

/* Copy while this cache's writes pause, until nothing is left: then the next commit begins the log anew. Where
 * others copy just now, that will do. And after one's own copy what others have committed meanwhile is left,
 * but then it is their turn: a process of this library pauses and copies, too, and one of the original
 * copies after its commit. */
static void copy_in_pause(Checkpointer *checkpointer)
{
    dc_db *db = &checkpointer->session->db;
    dc_checkpoint *run = &checkpointer->run;
    double longest_sync = 0.0;
    double waited = 0.0;
    int copies = 0;
    dc_log log;

    checkpointer->copied = 0;
    if (!dc_log_look(db, &log) || log.frames * log.page_size < DC_CHECKPOINT_BYTES) {
        return; /* it has begun anew since it was found to be long */
    }
    while (!is_copied(db, log.salts) && copies < PAUSE_COPIES) {
        dc_checkpoint_result result = dc_checkpoint_copy(db, run);
        double patience;

        longest_sync = fmax(longest_sync, run->sync_seconds);
        patience = fmin(PAUSE_SECONDS + 4.0 * longest_sync, LONGEST_PAUSE);
        if (result == DC_CHECKPOINT_DONE) {
            copies++;
            wait_for_others(db, log.salts, patience);
        } else if (result == DC_CHECKPOINT_BUSY && waited < patience) {
            wait_sleep(PAUSE_POLL_SECONDS);
            waited += PAUSE_POLL_SECONDS;
        } else {
            break;
        }
    }
    checkpointer->copied = is_copied(db, log.salts);
    run->sync_seconds = longest_sync;
}

static void copy(Checkpointer *checkpointer)
{
    int copying = CHECKPOINTER_COPYING;

    checkpointer->run =
        (dc_checkpoint){.patience = LOCK_SECONDS, .turns = &checkpointer->lock_turns};
    if (atomic_load(&checkpointer->state) == CHECKPOINTER_COPYING) {
        dc_checkpoint_copy(&checkpointer->session->db, &checkpointer->run);
    }
    /* The last that it has to do with the Checkpointer, unless a pause has begun meanwhile. */
    if (!atomic_compare_exchange_strong(&checkpointer->state, &copying, CHECKPOINTER_IDLE)) {
        copy_in_pause(checkpointer);
        atomic_store(&checkpointer->state, CHECKPOINTER_IDLE);
    }
}

static void *copy_in_thread(void *context)
{
    fork_gate_enter_native_thread();
    copy(context);
    fork_gate_leave_native_thread();
    return NULL;
}

static int start_thread(Checkpointer *checkpointer)
{
    return dc_thread_start(NULL, copy_in_thread, checkpointer);
}

static int is_running(const Checkpointer *checkpointer)
{
    return checkpointer->session != NULL && atomic_load(&checkpointer->state) != CHECKPOINTER_IDLE;
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

int checkpoint_pauses(const Cache *self)
{
    const Checkpointer *checkpointer = &self->checkpointer;

    return (checkpointer->session != NULL || checkpointer->opening) &&
           atomic_load(&checkpointer->state) == CHECKPOINTER_PAUSING;
}

unsigned int checkpoint_lock_turns(const Cache *self)
{
    return atomic_load(&self->checkpointer.lock_turns);
}

/* --- its session -------------------------------------------------------------------------------- */

static int64_t first_pause(const Checkpointer *checkpointer)
{
    return checkpointer->sync_seconds < SLOW_SYNC_SECONDS ? PAUSE_BYTES : SLOW_PAUSE_BYTES;
}

static void add_sums(dc_checkpoint_sums *sums, const dc_checkpoint_sums *more)
{
    sums->count += more->count;
    sums->frames += more->frames;
    sums->seconds += more->seconds;
}

dc_checkpoint_sums checkpoint_sums(const Cache *self)
{
    const Checkpointer *checkpointer = &self->checkpointer;
    dc_checkpoint_sums sums = checkpointer->sums;

    if (checkpointer->session != NULL && !is_running(checkpointer)) {
        add_sums(&sums, &checkpointer->run.sums); /* its session has not been given back yet */
    }
    return sums;
}

/* After a copy: what it has come to. */
static void note_copy(Checkpointer *checkpointer)
{
    add_sums(&checkpointer->sums, &checkpointer->run.sums);
    if (checkpointer->run.sync_seconds > 0.0) {
        checkpointer->sync_seconds += SYNC_WEIGHT *
                                      (checkpointer->run.sync_seconds - checkpointer->sync_seconds);
    }
    if (checkpointer->pause_at < first_pause(checkpointer)) {
        checkpointer->pause_at = first_pause(checkpointer);
    }
}

/* Put the session of a thread that has ended back into the pool. */
static void give_session_back(Cache *self)
{
    Checkpointer *checkpointer = &self->checkpointer;
    Session *session = checkpointer->session;

    if (session != NULL && !is_running(checkpointer)) {
        checkpointer->session = NULL;
        note_copy(checkpointer);
        cache_put_back_session(self, session);
    }
}

void checkpoint_finish(Cache *self)
{
    unsigned long generation = fork_generation();

    while (is_running(&self->checkpointer) && self->pool.generation == generation) {
        wait_pause();
    }
    if (self->pool.generation == generation) {
        give_session_back(self);
    }
}

/* Whether another session could work beside the one that has just committed: with exclusive locking none
 * can, and opening one would wait for ever. */
static int can_share_file(Cache *self)
{
    Session *session = pool_find_idle(&self->pool);
    int can_share = 0;

    if (session != NULL) {
        return session_header(session) != NULL;
    }
    session = pool_find_pinned(&self->pool);
    if (session != NULL) {
        session_use(session); /* a callback of its user's may close the cache */
        can_share = dc_db_pragma_is(&session->db, "PRAGMA locking_mode", "normal");
        cache_put_back_session(self, session);
    }
    return can_share;
}

/* A session for the thread, in use; or NULL, with an exception only if a signal handler raised one. Opening
 * one gives up the GIL, so other threads must not begin the same; where they go on writing meanwhile it
 * takes long to get the GIL again, and they may have to pause. */
static Session *session_for_thread(Cache *self)
{
    compat_exception none = compat_exception_take(); /* there is none: see checkpoint_if_due */
    unsigned long generation = fork_generation();
    Session *session = NULL;

    if (can_share_file(self)) {
        self->checkpointer.opening = 1;
        session = cache_spare_session(self);
        self->checkpointer.opening = 0;
    }
    cache_end_housekeeping(self->state, none); /* no descriptor may be left, for instance */
    if (session == NULL || session_header(session) == NULL || fork_generation() != generation) {
        return NULL;
    }
    session_use(session);
    return session;
}

/* --- beginning ---------------------------------------------------------------------------------- */

/* Let the thread copy; 0 if that cannot be. */
static int copy_beside(Cache *self, enum checkpointer_state state)
{
    Checkpointer *checkpointer = &self->checkpointer;
    Session *session = session_for_thread(self);

    if (session == NULL) {
        atomic_store(&checkpointer->state, CHECKPOINTER_IDLE);
        return 0;
    }
    checkpointer->session = session;
    if (atomic_load(&checkpointer->state) == CHECKPOINTER_IDLE) {
        atomic_store(&checkpointer->state, state);
    }
    if (!start_thread(checkpointer)) {
        atomic_store(&checkpointer->state, CHECKPOINTER_IDLE);
        checkpointer->session = NULL;
        cache_put_back_session(self, session);
        return 0;
    }
    return 1;
}

/* The same in this thread, with a session that is there. */
static void copy_here(Cache *self)
{
    Checkpointer *checkpointer = &self->checkpointer;
    Session *session = pool_find_idle(&self->pool);
    fork_gate_section section;

    if (session == NULL) {
        session = pool_find_pinned(&self->pool);
    }
    if (session != NULL && session->uses == 0) {
        checkpointer->run = (dc_checkpoint){.patience = LOCK_SECONDS};
        session_use(session);
        section = fork_gate_enter_releasing_gil();
        dc_checkpoint_in_any_case(&session->db, &checkpointer->run);
        fork_gate_leave_taking_gil(section);
        note_copy(checkpointer);
        cache_put_back_session(self, session);
    }
}

/* The write that has found the log so long pauses too. A signal handler may raise an exception. */
static void wait_for_pause(Cache *self)
{
    unsigned long generation = fork_generation();
    lock_wait wait;
    int again = 1;

    wait_start(&wait, 0.0, 1); /* the thread comes to an end by itself */
    while (again > 0 && checkpoint_pauses(self) && fork_generation() == generation) {
        again = wait_for_checkpoint(&wait);
    }
}

/* Let the thread that copies, or that is about to begin, go on in a pause; 0 if there is none. */
static int begin_pause(Checkpointer *checkpointer)
{
    int copying = CHECKPOINTER_COPYING;

    if (checkpointer->opening) {
        atomic_store(&checkpointer->state, CHECKPOINTER_PAUSING);
        return 1;
    }
    return checkpointer->session != NULL &&
           atomic_compare_exchange_strong(&checkpointer->state, &copying, CHECKPOINTER_PAUSING);
}

static void checkpoint(Cache *self, int64_t wal_bytes)
{
    Checkpointer *checkpointer = &self->checkpointer;
    int pausing = wal_bytes >= checkpointer->pause_at;

    checkpointer->copy_at = wal_bytes + NEXT_BYTES;
    if (pausing) {
        checkpointer->pause_at = wal_bytes + checkpointer->pause_step;
        checkpointer->pause_step *= checkpointer->pause_step < LAST_PAUSE_STEP ? 2 : 1;
    }
    if (!pausing || !begin_pause(checkpointer)) {
        give_session_back(self);
        if (!copy_beside(self, pausing ? CHECKPOINTER_PAUSING : CHECKPOINTER_COPYING)) {
            if (!PyErr_Occurred()) {
                copy_here(self);
            }
            return;
        }
    }
    if (pausing && !PyErr_Occurred()) {
        wait_for_pause(self);
        if (!is_running(checkpointer) && checkpointer->copied) {
            checkpointer->pause_at = wal_bytes + SOON_BYTES;
            checkpointer->pause_step = FIRST_PAUSE_STEP;
        }
    }
}

int checkpoint_if_due(Cache *self, int64_t wal_bytes)
{
    Checkpointer *checkpointer = &self->checkpointer;
    compat_exception current;

    if (wal_bytes < DC_CHECKPOINT_BYTES) {
        checkpointer->copy_at = DC_CHECKPOINT_BYTES;
        checkpointer->pause_at = first_pause(checkpointer);
        checkpointer->pause_step = FIRST_PAUSE_STEP;
        return 0;
    }
    if (checkpointer->pause_at == 0) { /* others have left a log that is long already */
        checkpointer->pause_at = wal_bytes + first_pause(checkpointer);
        checkpointer->pause_step = FIRST_PAUSE_STEP;
    }
    if (checkpoint_pauses(self) || (wal_bytes < checkpointer->pause_at &&
                                    (wal_bytes < checkpointer->copy_at ||
                                     is_running(checkpointer) || checkpointer->opening))) {
        return 0;
    }
    current = compat_exception_take();
    checkpoint(self, wal_bytes);
    return cache_end_housekeeping(self->state, current);
}
