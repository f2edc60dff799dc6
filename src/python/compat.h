/* compat.h: the differences between the supported CPython versions (3.10 to 3.15), and nothing else.
 * PY_VERSION_HEX is looked at here alone.
 */
#ifndef DC_PYTHON_COMPAT_H
#define DC_PYTHON_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <stdatomic.h>

/* Whether a sqlite3.Connection has a list of its cursors. */
#define COMPAT_CONNECTION_LISTS_CURSORS (PY_VERSION_HEX < 0x030F0000)

/* Visit each object that this interpreter's garbage collector knows, until the visitor returns 0. In earlier versions
 * nobody needs to. */
static inline void compat_visit_objects(int (*visitor)(PyObject *, void *), void *context)
{
#if PY_VERSION_HEX < 0x030C0000
    (void)visitor;
    (void)context;
#else
    PyUnstable_GC_VisitObjects(visitor, context);
#endif
}

/* A slot of a module that any interpreter may load, also one with a GIL of its own. */
/* clang-format off */
#if PY_VERSION_HEX < 0x030C0000
#define COMPAT_SLOT_INTERPRETERS
#else
#define COMPAT_SLOT_INTERPRETERS                                                                   \
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
/* clang-format on */

/* A slot of a module that needs no GIL. */
/* clang-format off */
#if PY_VERSION_HEX < 0x030D0000
#define COMPAT_SLOT_GIL
#else
#define COMPAT_SLOT_GIL {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
/* clang-format on */

/* The number that changes whenever a class or one of its bases is changed, or 0 if it has none now.
 * Any attribute lookup on the class gives it one again. */
static inline unsigned int compat_type_version(const PyTypeObject *type)
{
#if PY_VERSION_HEX < 0x030C0000
    if (!(type->tp_flags & Py_TPFLAGS_VALID_VERSION_TAG)) {
        return 0;
    }
#endif
#ifdef Py_GIL_DISABLED
    return atomic_load_explicit((const _Atomic unsigned int *)&type->tp_version_tag,
                                memory_order_relaxed);
#else
    return type->tp_version_tag;
#endif
}

/* Set the current exception aside, and bring it back (dropping one raised meanwhile). */
typedef struct compat_exception {
#if PY_VERSION_HEX < 0x030C0000
    PyObject *type, *value, *traceback;
#else
    PyObject *value;
#endif
} compat_exception;

static inline compat_exception compat_exception_take(void)
{
    compat_exception taken;

#if PY_VERSION_HEX < 0x030C0000
    PyErr_Fetch(&taken.type, &taken.value, &taken.traceback);
#else
    taken.value = PyErr_GetRaisedException();
#endif
    return taken;
}

static inline int compat_exception_is_none(const compat_exception *taken)
{
#if PY_VERSION_HEX < 0x030C0000
    return taken->type == NULL;
#else
    return taken->value == NULL;
#endif
}

/* The exception itself; borrowed, NULL if there is none. */
static inline PyObject *compat_exception_value(compat_exception *taken)
{
#if PY_VERSION_HEX < 0x030C0000
    PyErr_NormalizeException(&taken->type, &taken->value, &taken->traceback);
    if (taken->value != NULL && taken->traceback != NULL) {
        PyException_SetTraceback(taken->value, taken->traceback);
    }
#endif
    return taken->value;
}

static inline void compat_exception_put(compat_exception taken)
{
#if PY_VERSION_HEX < 0x030C0000
    PyErr_Restore(taken.type, taken.value, taken.traceback);
#else
    PyErr_SetRaisedException(taken.value);
#endif
}

/* Forget one that was set aside. */
static inline void compat_exception_drop(compat_exception taken)
{
#if PY_VERSION_HEX < 0x030C0000
    Py_XDECREF(taken.type);
    Py_XDECREF(taken.traceback);
#endif
    Py_XDECREF(taken.value);
}

/* Whether one thread at a time runs in an interpreter: not in a build for free threading, whatever PYTHON_GIL says.
 * There an object that another thread has used last may be freed late, too. */
#ifdef Py_GIL_DISABLED
#define COMPAT_HAS_GIL 0
#else
#define COMPAT_HAS_GIL 1
#endif

/* Whether Python is ending: no other thread gets to run Python any more. */
static inline int compat_is_finalizing(void)
{
#if PY_VERSION_HEX < 0x030D0000
    return _Py_IsFinalizing();
#else
    return Py_IsFinalizing();
#endif
}

/* A new reference to what a dict has, or NULL: it has not, or with an exception. */
static inline PyObject *compat_dict_get(PyObject *dict, PyObject *key)
{
#if PY_VERSION_HEX < 0x030D0000
    return Py_XNewRef(PyDict_GetItemWithError(dict, key));
#else
    PyObject *value;

    PyDict_GetItemRef(dict, key, &value);
    return value;
#endif
}

/* A new reference to what a weak reference points to, or NULL if it is gone (no exception). */
static inline PyObject *compat_weakref_get(PyObject *reference)
{
#if PY_VERSION_HEX < 0x030D0000
    PyObject *object = PyWeakref_GetObject(reference);

    return object == Py_None || object == NULL ? NULL : Py_NewRef(object);
#else
    PyObject *object = NULL;

    if (PyWeakref_GetRef(reference, &object) < 0) {
        PyErr_Clear();
    }
    return object;
#endif
}

#endif
