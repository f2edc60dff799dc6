/* args.c: see args.h. Keywords are compared as strings, by which no state per interpreter is needed;
 * with at most seven parameters that is as fast as a table of interned names. */
#include "python/args.h"

#include <string.h>

static int find_parameter(const args_table *table, PyObject *name)
{
    for (int i = 0; i < table->count; i++) {
        if (PyUnicode_CompareWithASCIIString(name, table->names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

/* Other caches call `expire` ttl. */
#define EXPIRE_IS_MEANT ": is 'expire' meant?"

static int is_expire(const args_table *table, PyObject *name)
{
    int has_expire = 0;

    for (int i = 0; i < table->count; i++) {
        has_expire |= strcmp(table->names[i], "expire") == 0;
    }
    return has_expire && PyUnicode_CompareWithASCIIString(name, "ttl") == 0;
}

int args_parse(const args_table *table, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
               PyObject **values)
{
    Py_ssize_t keywords = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;

    if (nargs > table->count) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d argument%s (%zd given)",
                     table->function, table->count, table->count == 1 ? "" : "s", nargs + keywords);
        return -1;
    }
    for (int i = 0; i < table->count; i++) {
        values[i] = i < nargs ? args[i] : NULL;
    }
    for (Py_ssize_t k = 0; k < keywords; k++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, k);
        int i = find_parameter(table, name);

        if (i < 0) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R%s",
                         table->function, name, is_expire(table, name) ? EXPIRE_IS_MEANT : "");
            return -1;
        }
        if (values[i] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument %R",
                         table->function, name);
            return -1;
        }
        values[i] = args[nargs + k];
    }
    for (int i = 0; i < table->required; i++) {
        if (values[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() missing 1 required positional argument: '%s'",
                         table->function, table->names[i]);
            return -1;
        }
    }
    return 0;
}
