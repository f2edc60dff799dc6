/* guard.h: what keeps other threads out of an object where there is no GIL to do so.
 *
 * Between GUARD_BEGIN(object) and GUARD_END() no other thread is there with the same object. It is a critical section
 * of Python's: whenever the thread waits, or would give up the GIL, it lets others in until it goes on. So within it
 * holds what holds with a GIL: others may come in where Python code is called, and nowhere else. (They may also where
 * a lock of Python's own happens to be taken, that of a dict, a list or a type for instance. Such a call counts as
 * Python code.) Only the innermost one is certain to hold.
 *
 * Builds with a GIL do nothing here.
 */
#ifndef DC_PYTHON_GUARD_H
#define DC_PYTHON_GUARD_H

#include "python/compat.h"

/* clang-format off */
#if COMPAT_HAS_GIL
#define GUARD_BEGIN(object) { (void)(object);
#define GUARD_END() }
#else
#define GUARD_BEGIN(object) Py_BEGIN_CRITICAL_SECTION(object);
#define GUARD_END() Py_END_CRITICAL_SECTION();
#endif
/* clang-format on */

/* Define the function `name`, which calls `inner` with the object guarded. */
#define GUARDED(type, name, object, inner, parameters, arguments)                                  \
    type name parameters                                                                           \
    {                                                                                              \
        type guarded_result;                                                                       \
                                                                                                   \
        GUARD_BEGIN(object)                                                                        \
        guarded_result = inner arguments;                                                          \
        GUARD_END()                                                                                \
        return guarded_result;                                                                     \
    }

#endif
