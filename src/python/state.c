/* state.c: which hooks of an object are not its base class's own; see state.h.
 *
 * A class is looked at once per version: CPython gives a class a new version whenever an attribute of
 * it or of a base is set. Attributes set on the object itself are caught by __setattr__.
 */
#include "python/state.h"

unsigned int hooks_refresh(const hook_base *base, hook_cache *cache, PyTypeObject *type)
{
    unsigned int changed = 0;
    compat_exception current = compat_exception_take();

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
    compat_exception_put(current);
    cache->changed = changed;
    cache->version = compat_type_version(type);
    return changed;
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
            cache->patched = value != NULL ? cache->patched | 1u << i : cache->patched & ~(1u << i);
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

PyObject *state_absolute(module_state *state, PyObject *directory)
{
    PyObject *current = PyObject_CallNoArgs(state->getcwd);
    PyObject *path = NULL;

    if (current != NULL) {
        path = PyObject_CallFunctionObjArgs(state->join, current, directory, NULL);
    }
    Py_XDECREF(current);
    if (path == NULL && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_Clear();
        path = Py_NewRef(directory);
    }
    return path;
}
