/* log.h: messages to the loggers of diskcache/log.py, which has the table of their subjects. */
#ifndef DC_PYTHON_LOG_H
#define DC_PYTHON_LOG_H

#include "python/compat.h"

/* Log a warning by the logger of a subject; the format is PyUnicode_FromFormat's. Python code runs, so no lock may be
 * held. The exception that is set stays; one that logging raises is reported as unraisable. */
void log_warning(const char *subject, const char *format, ...);

/* Warn about the line of the user's code that led here (cautions.py). -1 with an exception, which a warnings filter
 * may have made of it. */
int log_caution(const char *text);

#endif
