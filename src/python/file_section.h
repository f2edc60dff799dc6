/* file_section.h: working with files, without the GIL where that takes long.
 *
 * Between file_section_enter and file_section_leave a thread works with files and does not touch Python.
 */
#ifndef DC_PYTHON_FILE_SECTION_H
#define DC_PYTHON_FILE_SECTION_H

#include "python/compat.h" /* first: it includes Python.h */

#include "base/clock.h"
#include "python/slow_mean.h"

/* Bytes from which reading or writing a file releases the GIL: some 50 us of copying. A smaller file is done sooner
 * than another thread could start. Where other threads compute, releasing it for every file would cost much more than
 * it gives; microseconds for getting 100 KB:
 *
 *     threads that compute   with the GIL    without it     99th percentile with / without
 *     1                      61              253            60 / 8,000
 *     4                      100             611            60 / 16,000
 */
#define LARGE_FILE (256 * 1024)

/* But a disk may be slow, or far away: small files release it as well while their mean is above this. */
#define SLOW_SECONDS 250e-6

typedef struct file_section {
    PyThreadState *released; /* NULL: the thread keeps the GIL */
    double entered;
} file_section;

/* `mean` is what small files of the kind have taken, in seconds. */
static inline file_section file_section_enter(double mean, int large)
{
    file_section section = {.entered = dc_clock()};

    section.released = large || mean > SLOW_SECONDS ? PyEval_SaveThread() : NULL;
    return section;
}

/* Returns how long it took; seconds. */
static inline double file_section_leave(file_section section)
{
    double seconds = dc_clock() - section.entered;

    if (section.released != NULL) {
        PyEval_RestoreThread(section.released);
    }
    return seconds;
}

/* The same, and count it for the mean if it was small. */
static inline void file_section_count(file_section section, slow_mean *mean, int large)
{
    double seconds = file_section_leave(section);

    if (!large) {
        slow_mean_add(mean, seconds, SLOW_SECONDS);
    }
}

#endif
