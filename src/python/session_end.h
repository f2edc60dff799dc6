/* session_end.h: the end of a session: its Connection is closed, or disowned where others have it.
 */
#ifndef DC_PYTHON_SESSION_END_H
#define DC_PYTHON_SESSION_END_H

#include "python/session.h"

/* -1 with sqlite3.ProgrammingError if the user of an exposed Connection has closed it. */
int session_check_open(module_state *state, const Session *session);
/* The same, without the exception. */
int session_is_open(module_state *state, const Session *session);

/* Whether others have the Connection, and have not closed it. */
int session_is_shared(module_state *state, const Session *session);
/* Whether Python's sqlite3 is in the middle of a call on the Connection, up this thread's stack or in another thread:
 * then it does not survive being closed. If not, its cursors are closed. */
int session_is_at_work(module_state *state, Session *session);

/* Close what a session holds, but no external Connection. Exceptions are reported as unraisable. With the connection
 * lock. */
void session_close(module_state *state, Session *session);
/* Leave the Connection to those who have it. 0 if somebody is inside SQLite with it for too long: then our statements
 * stay in it, and the session's memory must, too. */
int session_disown(module_state *state, Session *session);

#endif
