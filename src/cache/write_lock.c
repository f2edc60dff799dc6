/* write_lock.c: see write_lock.h. */
#include "cache/write_lock.h"

#include "base/clock.h"
#include "cache/checkpointer.h"
#include "cache/errors.h"
#include "cache/mending.h"
#include "cache/sessions.h"
#include "python/convert.h"
#include "python/wait.h"

/* --- waiting ------------------------------------------------------------------------------------ */

static dc_status begin_once(Cache *self, Session *session)
{
    engine_section section = session_enter(session);
    dc_status status = dc_db_begin(&session->db);

    if (status == DC_OK && self->transaction.depth == 0 && session->exposed) {
        self->transaction.version = dc_db_data_version(&session->db);
    }
    session_leave(session, section);
    return status;
}

/* Whoever puts another database in the place of a malformed one keeps the former one locked for
 * removal.REMOVAL_SECONDS: who waits for the lock sees then that it has moved. A thread that was held up between its
 * look and BEGIN for as long has not seen it. */
#define LONG_AGO_SECONDS 0.05

/* With the write lock, `looked` being when the session was taken. */
static int has_moved_meanwhile(Cache *self, Session *session, double looked)
{
    return dc_clock() - looked > LONG_AGO_SECONDS && !(cache_hooks(self) & CACHE_HOOK__con) &&
           cache_session_has_moved(self, session);
}

/* Wait a little, unless the timeout is over. `turns`: checkpoint_lock_turns before the attempt. If only our own
 * checkpoint held the lock, do not raise Timeout. 1, or 0 or -1 with an exception. */
static int wait_for_lock(Cache *self, lock_wait *wait, unsigned int turns)
{
    int had_lock = turns % 2 != 0 || checkpoint_lock_turns(self) != turns;
    int again = checkpoint_pauses(self) ? wait_for_checkpoint(wait) : wait_more(wait);

    if (again == 0 && had_lock && dc_clock() - wait->began < CHECKPOINT_GRACE_SECONDS) {
        wait_pause();
        again = 1;
    }
    if (again == 0) {
        cache_raise_timeout(self);
    }
    return again;
}

void write_lock_set_own_obstacle(dc_error *error)
{
    dc_error_set(
        error, DC_SQLITE,
        "the sql of an earlier _transact() of this thread has a transaction or a cursor open: "
        "end it to write");
}

/* Whether a session that could not get the write lock never will, because of what this thread has under
 * way: then the error says so. */
static int is_stuck(Cache *self, Session *session)
{
    dc_error *error = &session->db.error;
    int code = error->sqlite_code;
    int stuck = 0;

    if (code == DC_SQLITE_BUSY_SNAPSHOT && session->exposed &&
        session_has_open_statement(session)) {
        stuck = 1;
        dc_error_set(
            error, DC_SQLITE,
            "a cursor of this thread's connection (_con) has not been read to its end, and "
            "the database has changed since: read it to its end, or close it, to write");
    } else if (pool_blocks_own_thread(&self->pool, 0)) {
        stuck = 1;
        write_lock_set_own_obstacle(error);
    }
    error->sqlite_code = code;
    return stuck;
}

typedef enum begin_outcome { BEGIN_FAILED = -1, BEGIN_BUSY, BEGIN_DONE, BEGIN_AGAIN } begin_outcome;

/* One attempt to get the write lock, with a session that is given back if it fails. BEGIN_AGAIN: another
 * session, now, may do better. */
static begin_outcome begin_attempt(Cache *self, int retry, int *reopened, Session **begun)
{
    double looked = dc_clock();
    Session *session = *begun = cache_take_session(self);
    begin_outcome outcome = BEGIN_FAILED;
    dc_status status;

    if (session == NULL) {
        if (retry && PyErr_ExceptionMatches(self->state->Timeout)) {
            PyErr_Clear(); /* the file is locked against being opened: go on trying that */
            outcome = BEGIN_BUSY;
        }
        return outcome;
    }
    if (session->db.frozen.database != NULL && !dc_frozen_holds(&session->db.frozen)) {
        session->must_close = 1;
        cache_return_session(self, session);
        return BEGIN_AGAIN;
    }
    status = begin_once(self, session);
    if (status == DC_OK && self->transaction.depth > 0) {
        /* Only with an overridden `_con` that gives threads different files. */
        dc_db_rollback(&session->db);
        status = DC_BUSY;
    }
    if (status == DC_OK && !has_moved_meanwhile(self, session, looked)) {
        return BEGIN_DONE;
    }
    if (status == DC_OK) {
        dc_db_rollback(&session->db);
        outcome = BEGIN_AGAIN;
    } else if (status == DC_BUSY && !is_stuck(self, session)) {
        outcome = BEGIN_BUSY;
    } else if (cache_session_is_readonly(session) && !*reopened) {
        *reopened = 1;
        outcome = BEGIN_AGAIN;
    } else {
        convert_raise(self->state, status == DC_BUSY ? DC_SQLITE : status, &session->db.error);
        blame_database(self);
    }
    cache_note_session_failure(self, session);
    cache_return_session(self, session);
    return outcome;
}

/* Wait for the write lock; the session is not held meanwhile. NULL with an exception. */
Session *write_lock_take(Cache *self, double timeout, int retry)
{
    Session *session = NULL;
    lock_wait wait;
    begin_outcome outcome;
    int reopened = 0;
    int waits = 0;

    wait_start(&wait, timeout, retry);
    do {
        unsigned int turns = checkpoint_lock_turns(self);

        outcome = checkpoint_pauses(self) ? BEGIN_BUSY
                                          : begin_attempt(self, retry, &reopened, &session);
        if (outcome == BEGIN_BUSY) {
            waits = 1;
            if (wait_for_lock(self, &wait, turns) <= 0) {
                outcome = BEGIN_FAILED;
            }
        }
    } while (outcome == BEGIN_BUSY || outcome == BEGIN_AGAIN);
    if (waits) {
        self->counts.lock_waits++;
        self->counts.lock_wait_seconds += dc_clock() - wait.began;
    }
    return outcome == BEGIN_DONE ? session : NULL;
}

/* --- fairness ----------------------------------------------------------------------------------- */

/* SQLite has no queue for its write lock: whoever waits looks now and then whether it is free. A process
 * that writes without a pause leaves it free for a microsecond between two commits, and the others
 * starve, those of the original above all, which look ever more rarely. And where more processes are at
 * work than there are processors, one that has lost its processor while it had the lock makes all of them
 * wait. So where somebody else has written lately, a process that has been at it for a while gives way in
 * a moment when it has no lock: with a pause, if it has left no room for others, else with no more than
 * its processor. */
#define CONTENDED_SECONDS 10.0
#define TURN_SECONDS      200e-6
#define GAP_SECONDS       30e-6 /* between commits that leaves room enough */

static void note_others(Cache *self)
{
    self->turn.contended_until = dc_clock() + CONTENDED_SECONDS;
}

/* With the write lock: whether this is not the state that our last commit left. */
void write_lock_look_for_others(Cache *self, dc_wal_header header)
{
    Turn *turn = &self->turn;

    if (header != NULL && turn->stamped && !dc_stamp_holds(header, &turn->stamp)) {
        note_others(self);
    }
    turn->stamped = 0;
}

/* After a commit. */
void write_lock_give_way(Cache *self)
{
    Turn *turn = &self->turn;
    double now;

    if (turn->contended_until == 0.0) {
        return;
    }
    now = dc_clock();
    if (now > turn->contended_until) {
        turn->contended_until = 0.0;
    }
    turn->had_gap |= now - turn->last > GAP_SECONDS;
    if (now - turn->last > TURN_SECONDS) {
        turn->began = now; /* it has done something else, or waited */
        turn->had_gap = 0;
    } else if (now - turn->began > TURN_SECONDS) {
        if (turn->had_gap) {
            wait_yield_processor();
        } else {
            wait_pause();
        }
        turn->began = now = dc_clock();
        turn->had_gap = 0;
    }
    turn->last = now;
}
