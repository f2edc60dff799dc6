/* sessions.h: the sessions of a cache: opening them, and giving them back.
 */
#ifndef DC_CACHE_SESSIONS_H
#define DC_CACHE_SESSIONS_H

#include "cache/object.h"

/* A session that this thread may use now: pinned to it or idle, but never one that is in use, by another task of
 * the thread or by an operation that a callback of the user's interrupts. Opened if there is none; NULL with an
 * exception. session_use it, then give it to cache_return_session. */
Session *cache_open_or_idle_session(Cache *self);
/* The same, for long, and never a pinned one: where the only idle one would be taken another is opened. */
Session *cache_spare_session(Cache *self);

void cache_return_session(Cache *self, Session *session);
/* The same for one that was not pinned and did no operation: those that did come first in the pool, with
 * their pages and prepared statements. */
void cache_put_back_session(Cache *self, Session *session);

/* The directory is another one, or the file in it: what was read and opened is not used any more. */
void cache_forget_file(Cache *self);

/* Where SQLite could open the log or the wal-index only for reading, for want of a descriptor say, nobody
 * could write with the session ever. The second has the next operation open another then. */
int cache_session_is_readonly(const Session *session);
void cache_note_session_failure(Cache *self, Session *session);

#endif
