/* slow_mean.h: a running mean of how long something takes, by which a thread decides whether to release the GIL.
 *
 * A single time that the system has interrupted decides nothing: no time counts as longer than twice what is slow, so
 * that it takes three in succession. Without a GIL several threads may add to one; then a time may go uncounted.
 */
#ifndef DC_PYTHON_SLOW_MEAN_H
#define DC_PYTHON_SLOW_MEAN_H

#include "python/guard.h"

typedef GUARD_PEEKED double slow_mean;

/* All in seconds; `slow` is the mean from which the GIL is released. */
static inline void slow_mean_add(slow_mean *mean, double seconds, double slow)
{
    double counted = seconds < 2.0 * slow ? seconds : 2.0 * slow;
    double former = *mean;

    *mean = former + 0.25 * (counted - former);
}

#endif
