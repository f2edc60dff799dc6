/* clock.h: seconds on a clock that nobody sets, for measuring how long something takes; and the time of day. */
#ifndef DC_BASE_CLOCK_H
#define DC_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#ifdef _WIN32
#include "base/windows_api.h"
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

#ifndef _WIN32
/* The time of day in seconds, exactly as Python's time.time() has it. */
static inline double dc_clock_time(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (double)((int64_t)now.tv_sec * 1000000000 + now.tv_nsec) / 1e9;
}
#endif

/* The current second, on some clock; the cheapest that there is. */
static inline int64_t dc_clock_second(void)
{
#ifdef _WIN32
    return (int64_t)(GetTickCount64() / 1000);
#else
    struct timespec now;

#ifdef CLOCK_MONOTONIC_COARSE
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
#else
    clock_gettime(CLOCK_MONOTONIC, &now);
#endif
    return (int64_t)now.tv_sec;
#endif
}

#endif
