/* hooks.h: which methods of an object are not its base class's own.
 *
 * A subclass, a patch or a replaced Disk may take over these methods of a Disk and of a Cache. Where one is taken over
 * the native code calls it; where not it does the work itself. So each use of such an object asks, and the answer is a
 * mask with a bit for each method.
 *
 * A class is looked at once per version: CPython gives a class a new version whenever an attribute of it or of a base
 * is set. __setattr__ notes what is set on the object itself.
 */
#ifndef DC_PYTHON_HOOKS_H
#define DC_PYTHON_HOOKS_H

#include "python/compat.h"

#include <stdatomic.h>

/* clang-format off */
#define DISK_HOOKS(X)                                                                              \
    X(DISK, put) X(DISK, get) X(DISK, store) X(DISK, fetch) X(DISK, filename) X(DISK, _write)      \
    X(DISK, remove) X(DISK, _to_pickle) X(DISK, _from_pickle) X(DISK, _seal) X(DISK, _fetch_row)
#define CACHE_HOOKS(X)                                                                             \
    X(CACHE, get) X(CACHE, set) X(CACHE, incr) X(CACHE, _con) X(CACHE, _row_insert)                \
    X(CACHE, _row_update) X(CACHE, _cull) X(CACHE, __delitem__) X(CACHE, _transact) X(CACHE, add)  \
    X(CACHE, touch) X(CACHE, delete)

#define HOOK_INDEX(type, name) type##_HOOK_INDEX_##name,
enum disk_hook_index { DISK_HOOKS(HOOK_INDEX) DISK_HOOK_COUNT };
enum cache_hook_index { CACHE_HOOKS(HOOK_INDEX) CACHE_HOOK_COUNT };
#undef HOOK_INDEX

#define HOOK_BIT(type, name) type##_HOOK_##name = 1u << type##_HOOK_INDEX_##name,
enum disk_hook {
    DISK_HOOKS(HOOK_BIT)
    DISK_HOOK_FILES = DISK_HOOK_filename | DISK_HOOK__write,
    /* Those that an object which is no Disk has: the original's. */
    DISK_HOOK_FOREIGN = (1u << DISK_HOOK_INDEX__to_pickle) - 1
};
enum cache_hook {
    CACHE_HOOKS(HOOK_BIT)
    CACHE_HOOK_WRITES = CACHE_HOOK__row_insert | CACHE_HOOK__row_update | CACHE_HOOK__cull
};
#undef HOOK_BIT
/* clang-format on */

enum { HOOK_COUNT_MAX = CACHE_HOOK_COUNT };

/* What a class has under the names while nobody has changed it. All references are strong. */
typedef struct hook_base {
    int count;
    PyObject *names[HOOK_COUNT_MAX];
    PyObject *originals[HOOK_COUNT_MAX];
} hook_base;

/* What an object keeps of its hooks. Valid while its class has `version`, which is the last to be written and the first
 * to be read. */
typedef struct hook_cache {
    atomic_uint version; /* of the class, or 0 */
    atomic_uint changed; /* bits: on the class */
    atomic_uint patched; /* bits: on the object itself */
} hook_cache;

/* Take what a class has under the names now for its own. -1 with an exception. */
int hooks_set_disk_base(hook_base *base, PyObject *type);
int hooks_set_cache_base(hook_base *base, PyObject *type);
/* For the garbage collector; objects whose methods ask may outlive this. */
int hooks_traverse(const hook_base *base, visitproc visit, void *arg);
void hooks_clear(hook_base *base);
void hooks_free(hook_base *base);

/* Look at the class anew; sets cache->changed. An exception that is set stays. */
void hooks_refresh(const hook_base *base, hook_cache *cache, PyTypeObject *type);

/* The mask for an object. It costs two comparisons unless its class has changed since the last call. */
static inline unsigned int hooks_of(const hook_base *base, hook_cache *cache, PyObject *object)
{
    unsigned int version = compat_type_version(Py_TYPE(object));

    if (version == 0 || version != atomic_load_explicit(&cache->version, memory_order_acquire)) {
        hooks_refresh(base, cache, Py_TYPE(object));
    }
    return atomic_load_explicit(&cache->changed, memory_order_relaxed) |
           atomic_load_explicit(&cache->patched, memory_order_relaxed);
}

/* The same, if that is known without looking at the class; else every bit. */
static inline unsigned int hooks_if_known(hook_cache *cache, PyObject *object)
{
    unsigned int version = compat_type_version(Py_TYPE(object));

    if (version == 0 || version != atomic_load_explicit(&cache->version, memory_order_acquire)) {
        return ~0u;
    }
    return atomic_load_explicit(&cache->changed, memory_order_relaxed) |
           atomic_load_explicit(&cache->patched, memory_order_relaxed);
}

/* The methods __setattr__ and __delattr__: set the attribute, and note it if it is a hook. They are methods, not
 * tp_setattro, beside which Python lets nobody call object.__setattr__. */
PyObject *hooks_setattr(const hook_base *base, hook_cache *cache, PyObject *self,
                        PyObject *const *args, Py_ssize_t nargs);
PyObject *hooks_delattr(const hook_base *base, hook_cache *cache, PyObject *self, PyObject *name);

#endif
