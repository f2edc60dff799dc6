/* heard.h: the type Heard: what a process has heard of writes elsewhere, and whether what it keeps still holds.
 *
 * It is what diskcache/remote/feed.py goes by, where the rule stands. It has no lock: each time is one atomic word, and
 * those that are noted only rise. So a signal handler, a thread and a forked child find it whole.
 */
#ifndef DC_PYTHON_HEARD_H
#define DC_PYTHON_HEARD_H

#include "python/state.h"

extern PyType_Spec heard_type_spec;

#endif
