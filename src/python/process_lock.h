/* process_lock.h: the mutex of what belongs to the process, and not to one interpreter.
 *
 * Interpreters may each have a GIL of their own, or none. So no GIL guards what all of them share: the list of caches
 * (cache/registry.h), that of exposed sessions (session.h), and who opens, closes or forks (connection_lock.h).
 *
 * It is the last that a thread takes, and is held for a few instructions: whoever has it calls nothing of Python, which
 * may wait for a GIL or for another thread's, and nothing of SQLite. A thread that forks has it around the fork, so that
 * the child finds everything whole.
 */
#ifndef DC_PYTHON_PROCESS_LOCK_H
#define DC_PYTHON_PROCESS_LOCK_H

void process_lock_acquire(void);
void process_lock_release(void);

#endif
