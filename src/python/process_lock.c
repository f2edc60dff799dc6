/* process_lock.c: see process_lock.h. */
#include "python/process_lock.h"

#include "base/mutex.h"

static dc_mutex mutex = DC_MUTEX_INIT;

void process_lock_acquire(void)
{
    dc_mutex_lock(&mutex);
}

void process_lock_release(void)
{
    dc_mutex_unlock(&mutex);
}
