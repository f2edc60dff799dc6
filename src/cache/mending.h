/* mending.h: files that have been removed beneath a live cache.
 *
 * An administrator or a deployment empties the directory. SQLite goes on with a file that has no name any more,
 * which others do not see. So whoever takes a session looks whether the path still leads to the file, and has
 * `_mend` of opening.py make anew what has been removed.
 */
#ifndef DC_CACHE_MENDING_H
#define DC_CACHE_MENDING_H

#include "cache/object.h"

/* As cache_open_or_idle_session; what has been removed of the directory is made anew first. */
Session *cache_find_session(Cache *self);
/* The same, in use, for an operation: also that of a Connection that an overridden `_con` returns. */
Session *cache_take_session(Cache *self);

#endif
