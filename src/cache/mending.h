/* mending.h: files that have been removed beneath a live cache.
 *
 * An administrator or a deployment empties the directory. SQLite goes on with a file that has no name any more,
 * which others do not see. So whoever takes a session looks whether the path still leads to the file, and has
 * `_mend` of opening.py make anew what has been removed.
 *
 * With on_error='reset' a database that SQLite calls malformed is renamed by `_reset_malformed`, and then made anew in
 * the same way.
 */
#ifndef DC_CACHE_MENDING_H
#define DC_CACHE_MENDING_H

#include "cache/object.h"
#include "python/args.h"

/* As cache_open_or_idle_session; what has been removed of the directory is made anew first. */
Session *cache_find_session(Cache *self);
/* The same, in use, for an operation: also that of a Connection that an overridden `_con` returns. */
Session *cache_take_session(Cache *self);

/* Whether a session's file has another path by now, or none: asked anew. */
int cache_session_has_moved(Cache *self, Session *session);

/* After a call has failed, with an exception: if a malformed database is why, and has been begun anew, or if others
 * have done so. 1: the exception is cleared, and the call is to be repeated. 0: with the exception, also where the
 * arguments cannot be used twice. `*failures` is counted up, and zero at first. */
int cache_heal(Cache *self, const args_table *table, const void *parsed, int *failures);

static inline int cache_has_healed(Cache *self, const args_table *table, const void *parsed,
                                   int *failures)
{
    return cache_resets(self) && cache_heal(self, table, parsed, failures);
}

#endif
