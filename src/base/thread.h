/* thread.h: a thread of the system that knows nothing of Python.
 *
 * It gets no signals: those are for threads that know what to do with them.
 */
#ifndef DC_BASE_THREAD_H
#define DC_BASE_THREAD_H

#ifndef _WIN32
#include <pthread.h>

/* Start one; 0 if the system does not give one. `thread`: to be joined; NULL: it is detached. */
int dc_thread_start(pthread_t *thread, void *(*run)(void *), void *context);

#endif
#endif
