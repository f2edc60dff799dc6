/* slow_mean.h: a running mean of how long something takes, by which a thread decides whether to release the GIL.
 *
 * A single time that the system has interrupted decides nothing: no time counts as longer than twice what is slow, so
 * that it takes three in succession.
 */
#ifndef DC_PYTHON_SLOW_MEAN_H
#define DC_PYTHON_SLOW_MEAN_H

/* All in seconds; `slow` is the mean from which the GIL is released. */
static inline void slow_mean_add(double *mean, double seconds, double slow)
{
    double counted = seconds < 2.0 * slow ? seconds : 2.0 * slow;

    *mean += 0.25 * (counted - *mean);
}

#endif
