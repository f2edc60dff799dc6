/* log.h: messages to logging.getLogger('diskcache'). */
#ifndef DC_LOG_H
#define DC_LOG_H

#include "compat.h"

/* Log a warning; the format is PyUnicode_FromFormat's. Python code runs, so no lock may be held. The
 * exception that is set stays; one that logging raises is reported as unraisable. */
void log_warning(const char *format, ...);

#endif
