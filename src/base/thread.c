/* thread.c: see thread.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_sigmask */
#endif

#include "base/thread.h"

#include <stddef.h> /* also where nothing else is: an empty file is no C */

#ifndef _WIN32

#include <signal.h>

int dc_thread_start(pthread_t *thread, void *(*run)(void *), void *context)
{
    pthread_t detached;
    sigset_t all;
    sigset_t former;
    int started;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &former);
    started = pthread_create(thread != NULL ? thread : &detached, NULL, run, context) == 0;
    pthread_sigmask(SIG_SETMASK, &former, NULL);
    if (started && thread == NULL) {
        pthread_detach(detached);
    }
    return started;
}

#endif
