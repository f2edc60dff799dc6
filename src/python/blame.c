/* blame.c: see blame.h. */
#include "python/blame.h"

#include <string.h>

#define SHOWN_CHARACTERS 200

static int add_note(PyObject *exception, PyObject *note)
{
    PyObject *notes = PyObject_GetAttrString(exception, "__notes__");
    int result = -1;

    if (notes == NULL) {
        PyErr_Clear();
        notes = PyList_New(0);
        if (notes == NULL || PyObject_SetAttrString(exception, "__notes__", notes) < 0) {
            goto done;
        }
    }
    result = PyList_Check(notes) ? PyList_Append(notes, note) : 0;
done:
    Py_XDECREF(notes);
    return result;
}

void blame(PyObject *(*describe)(void *, const void *), void *subject, const void *context)
{
    compat_exception taken = compat_exception_take();
    PyObject *exception = compat_exception_value(&taken);
    PyObject *note = NULL;

    if (exception != NULL && PyObject_TypeCheck(exception, (PyTypeObject *)PyExc_Exception)) {
        note = describe(subject, context);
        if (note != NULL) {
            add_note(exception, note);
            Py_DECREF(note);
        }
        PyErr_Clear(); /* what is noted is no reason to fail otherwise */
    }
    compat_exception_put(taken);
}

PyObject *blame_shown(PyObject *key)
{
    PyObject *shown = PyObject_Repr(key);

    if (shown == NULL && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_Clear(); /* a key that has no repr is an object of its type still */
        shown = PyUnicode_FromFormat("<%.200s object>", Py_TYPE(key)->tp_name);
    }
    if (shown != NULL && PyUnicode_GET_LENGTH(shown) > SHOWN_CHARACTERS) {
        Py_SETREF(shown, PyUnicode_Substring(shown, 0, SHOWN_CHARACTERS));
        if (shown != NULL) {
            Py_SETREF(shown, PyUnicode_FromFormat("%U...", shown));
        }
    }
    return shown;
}

PyObject *blame_disk(PyObject *disk)
{
    const char *name = Py_TYPE(disk)->tp_name;

    return strcmp(name, "Disk") == 0 ? PyUnicode_FromString("")
                                     : PyUnicode_FromFormat(", with %.200s", name);
}
