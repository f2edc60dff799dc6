/* clock.h: seconds on a clock that nobody sets, for measuring how long something takes. */
#ifndef DC_CLOCK_H
#define DC_CLOCK_H

#include <time.h>

#ifdef _WIN32
#include "windows_api.h"
#endif

static inline double dc_clock(void)
{
#ifdef _WIN32
    LARGE_INTEGER count, frequency;

    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&count);
    return (double)count.QuadPart / (double)frequency.QuadPart;
#else
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
#endif
}

#endif
