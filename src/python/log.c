/* log.c: see log.h. */
#include "python/log.h"

#include <stdarg.h>

void log_warning(const char *subject, const char *format, ...)
{
    compat_exception current = compat_exception_take();
    PyObject *logging = PyImport_ImportModule("logging");
    PyObject *logger = NULL;
    PyObject *message = NULL;
    PyObject *result = NULL;
    va_list arguments;

    va_start(arguments, format);
    message = PyUnicode_FromFormatV(format, arguments);
    va_end(arguments);
    if (logging != NULL && message != NULL) {
        logger = PyObject_CallMethod(logging, "getLogger", "N",
                                     PyUnicode_FromFormat("diskcache.%s", subject));
    }
    if (logger != NULL) {
        result = PyObject_CallMethod(logger, "warning", "sO", "%s", message);
    }
    if (result == NULL) {
        PyErr_WriteUnraisable(logger);
    }
    Py_XDECREF(result);
    Py_XDECREF(logger);
    Py_XDECREF(message);
    Py_XDECREF(logging);
    compat_exception_put(current);
}

int log_caution(const char *text)
{
    PyObject *cautions = PyImport_ImportModule("diskcache.cautions");
    PyObject *result = NULL;

    if (cautions != NULL) {
        result = PyObject_CallMethod(cautions, "warn", "s", text);
    }
    Py_XDECREF(cautions);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}
