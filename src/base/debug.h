/* debug.h: invariants that are checked while the library is at work, in a build with DISKCACHE_DEBUG=1.
 *
 * A check may cost as much as what it checks. Functions that check are there in such a build only, and are
 * called through DC_CHECK, which is nothing otherwise.
 */
#ifndef DC_BASE_DEBUG_H
#define DC_BASE_DEBUG_H

#ifdef DISKCACHE_DEBUG

#include <stdio.h>
#include <stdlib.h>

/* End the process if the condition does not hold. */
#define DC_ASSERT(condition)                                                                       \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: does not hold: %s\n", __FILE__, __LINE__, __func__,        \
                    #condition);                                                                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define DC_CHECK(call) call

#else

#define DC_CHECK(call) ((void)0)

#endif

#endif
