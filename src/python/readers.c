/* readers.c: see readers.h. */
#include "python/readers.h"

#if !COMPAT_HAS_GIL

#include <stdatomic.h>

DC_THREAD_LOCAL unsigned int readers_place;

unsigned int readers_take_place(void)
{
    static atomic_uint threads;

    readers_place = atomic_fetch_add(&threads, 1) % READERS_PARTS + 1;
    return readers_place;
}

#endif
