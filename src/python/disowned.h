/* disowned.h: the files of connections that were ours, and that their users still have.
 *
 * SQLite keeps the locks of a process per file, and a forked child inherits its parent's as if they were its own
 * (pool.h). So a child must make SQLite forget those of these files, too.
 */
#ifndef DC_PYTHON_DISOWNED_H
#define DC_PYTHON_DISOWNED_H

#include "engine/db.h"

/* Remember the file of a connection until SQLite closes that. Without memory it is not remembered. */
void disowned_remember(const dc_db *db);
/* In a forked child: it does not hold the locks of the files. */
void disowned_forget_locks(void);

/* Around a fork, so that the child finds the list whole. */
void disowned_lock(void);
void disowned_unlock(void);

#endif
