/* mutex.h: a mutex that needs no initialization, beyond DC_MUTEX_INIT. */
#ifndef DC_BASE_MUTEX_H
#define DC_BASE_MUTEX_H

#ifdef _WIN32

#include "base/windows_api.h"

typedef SRWLOCK dc_mutex;
#define DC_MUTEX_INIT SRWLOCK_INIT

static inline void dc_mutex_lock(dc_mutex *mutex)
{
    AcquireSRWLockExclusive(mutex);
}

static inline void dc_mutex_unlock(dc_mutex *mutex)
{
    ReleaseSRWLockExclusive(mutex);
}

#else

#include <pthread.h>

typedef pthread_mutex_t dc_mutex;
#define DC_MUTEX_INIT PTHREAD_MUTEX_INITIALIZER

static inline void dc_mutex_lock(dc_mutex *mutex)
{
    pthread_mutex_lock(mutex);
}

static inline void dc_mutex_unlock(dc_mutex *mutex)
{
    pthread_mutex_unlock(mutex);
}

#endif
#endif
