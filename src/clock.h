/* clock.h: seconds on a clock that nobody sets, for measuring how long something takes. */
#ifndef DC_CLOCK_H
#define DC_CLOCK_H

#include <time.h>

static inline double dc_clock(void)
{
    struct timespec now;

#ifdef _WIN32
    timespec_get(&now, TIME_UTC);
#else
    clock_gettime(CLOCK_MONOTONIC, &now);
#endif
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
