/* guard.h: what keeps other threads out of an object where there is no GIL to do so.
 *
 * Between GUARD_BEGIN(object) and GUARD_END() no other thread is there with the same object. It is a critical section
 * of Python's: whenever the thread waits, or would give up the GIL, it lets others in until it goes on. So within it
 * holds what holds with a GIL: others may come in where Python code is called, and nowhere else. (They may also where
 * a lock of Python's own happens to be taken, that of a dict, a list or a type for instance. Such a call counts as
 * Python code.) Only the innermost one is certain to hold.
 *
 * In a forked child the guard may be that of a thread which is not there: a lock of Python's that a thread has waited
 * for is handed to it before it runs, and the fork may come first. guard_forget is for objects that have been inherited.
 * So may the end of Python come first, after which only one thread runs: that forgets all guards.
 *
 * A field that is GUARD_PEEKED may be looked at without the guard; it is set by who has the guard, unless something
 * else is said.
 *
 * Builds with a GIL do nothing here.
 */
#ifndef DC_PYTHON_GUARD_H
#define DC_PYTHON_GUARD_H

#include "python/compat.h"
#include "sqlite/api.h"

/* How many guards this thread has, or would have if it had not let others in. */
extern DC_THREAD_LOCAL int guard_depth;

/* Nobody is there any more who has the guard of the object, and this thread has not. */
static inline void guard_forget(PyObject *object)
{
#if COMPAT_HAS_GIL
    (void)object;
#else
    object->ob_mutex = (PyMutex){0};
#endif
}

#if !COMPAT_HAS_GIL
static inline void guard_forget_at_exit(PyObject *object)
{
    if (guard_depth == 0 && compat_is_finalizing()) {
        guard_forget(object);
    }
}
#endif

/* clang-format off */
#if COMPAT_HAS_GIL
#define GUARD_BEGIN(object) { (void)(object);
#define GUARD_END() }
#define GUARD_PEEKED
#else
#define GUARD_BEGIN(object) guard_forget_at_exit((PyObject *)(object)); Py_BEGIN_CRITICAL_SECTION(object); guard_depth++;
#define GUARD_END() guard_depth--; Py_END_CRITICAL_SECTION();
#define GUARD_PEEKED _Atomic
#endif
/* clang-format on */

/* Define the static function `name`, which calls `inner` with the object guarded. */
#define GUARDED(type, name, object, inner, parameters, arguments)                                  \
    static type name parameters                                                                    \
    {                                                                                              \
        type guarded_result;                                                                       \
                                                                                                   \
        GUARD_BEGIN(object)                                                                        \
        guarded_result = inner arguments;                                                          \
        GUARD_END()                                                                                \
        return guarded_result;                                                                     \
    }

#endif
