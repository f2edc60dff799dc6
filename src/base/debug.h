/* debug.h: invariants that are checked while the library is at work, in a build with DISKCACHE_DEBUG=1.
 *
 * A check may cost as much as what it checks. Functions that check are there in such a build only, and are
 * called through DC_CHECK, which is nothing otherwise.
 *
 * DC_PAUSE names an instant between two stores into memory that others have mapped, where no call of the
 * system is. A test that preloads tests/support/crash.c has the process killed there; without that library
 * it is nothing either.
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

__attribute__((weak, visibility("default"))) void dc_pause(const char *name);

#define DC_PAUSE(name)                                                                             \
    do {                                                                                           \
        if (dc_pause != NULL) {                                                                    \
            dc_pause(name);                                                                        \
        }                                                                                          \
    } while (0)

#else

#define DC_CHECK(call) ((void)0)
#define DC_PAUSE(name) ((void)0)

#endif

#endif
