/* hooks.c: see hooks.h. */
#include "python/hooks.h"

#include "python/process_lock.h"

#define HOOK_NAME(type, name) #name,
static const char *const disk_names[] = {DISK_HOOKS(HOOK_NAME)};
static const char *const cache_names[] = {CACHE_HOOKS(HOOK_NAME)};
#undef HOOK_NAME

_Static_assert((int)DISK_HOOK_COUNT <= (int)HOOK_COUNT_MAX, "a hook_base has room for all hooks");

static int set_base(hook_base *base, const char *const *names, int count, PyObject *type)
{
    for (int i = 0; i < count; i++) {
        Py_XSETREF(base->names[i], PyUnicode_InternFromString(names[i]));
        if (base->names[i] == NULL) {
            return -1;
        }
        Py_XSETREF(base->originals[i], PyObject_GetAttr(type, base->names[i]));
        if (base->originals[i] == NULL) {
            return -1;
        }
    }
    base->count = count;
    return 0;
}

int hooks_set_disk_base(hook_base *base, PyObject *type)
{
    return set_base(base, disk_names, DISK_HOOK_COUNT, type);
}

int hooks_set_cache_base(hook_base *base, PyObject *type)
{
    return set_base(base, cache_names, CACHE_HOOK_COUNT, type);
}

int hooks_traverse(const hook_base *base, visitproc visit, void *arg)
{
    for (int i = 0; i < HOOK_COUNT_MAX; i++) {
        Py_VISIT(base->originals[i]);
    }
    return 0;
}

void hooks_clear(hook_base *base)
{
    for (int i = 0; i < HOOK_COUNT_MAX; i++) {
        Py_CLEAR(base->originals[i]);
    }
}

void hooks_free(hook_base *base)
{
    hooks_clear(base);
    for (int i = 0; i < HOOK_COUNT_MAX; i++) {
        Py_CLEAR(base->names[i]);
    }
}

/* What a class has changed of the base, as bits. */
static unsigned int look_at_class(const hook_base *base, PyTypeObject *type)
{
    unsigned int changed = 0;

    for (int i = 0; i < base->count; i++) {
        PyObject *found = PyObject_GetAttr((PyObject *)type, base->names[i]);

        if (found == NULL) {
            PyErr_Clear();
        }
        if (found != base->originals[i]) {
            changed |= 1u << i;
        }
        Py_XDECREF(found);
    }
    return changed;
}

void hooks_refresh(const hook_base *base, hook_cache *cache, PyTypeObject *type)
{
    compat_exception current = compat_exception_take();
    unsigned int version = compat_type_version(type);
    unsigned int changed = look_at_class(base, type);

    compat_exception_put(current);
    process_lock_acquire();
    atomic_store(&cache->version, 0);
    atomic_store(&cache->changed, changed);
    /* If the class has changed meanwhile, or had no version before, the next one who asks looks again. */
    atomic_store(&cache->version, version == compat_type_version(type) ? version : 0);
    process_lock_release();
}

/* Set the attribute, and note it if it is a hook. */
static int set_attribute(const hook_base *base, hook_cache *cache, PyObject *self, PyObject *name,
                         PyObject *value)
{
    if (PyObject_GenericSetAttr(self, name, value) < 0) {
        return -1;
    }
    for (int i = 0; i < base->count; i++) {
        if (PyUnicode_Compare(base->names[i], name) == 0) {
            if (value != NULL) {
                atomic_fetch_or(&cache->patched, 1u << i);
            } else {
                atomic_fetch_and(&cache->patched, ~(1u << i));
            }
        }
    }
    return PyErr_Occurred() ? -1 : 0;
}

PyObject *hooks_setattr(const hook_base *base, hook_cache *cache, PyObject *self,
                        PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2) {
        PyErr_Format(PyExc_TypeError, "expected 2 arguments, got %zd", nargs);
        return NULL;
    }
    return set_attribute(base, cache, self, args[0], args[1]) < 0 ? NULL : Py_NewRef(Py_None);
}

PyObject *hooks_delattr(const hook_base *base, hook_cache *cache, PyObject *self, PyObject *name)
{
    return set_attribute(base, cache, self, name, NULL) < 0 ? NULL : Py_NewRef(Py_None);
}
