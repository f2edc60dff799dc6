/* args.c: see args.h. Keywords are compared as strings, by which no state per interpreter is needed; with at most
 * seven parameters that is as fast as a table of interned names.
 */
#include "python/args.h"

#include <string.h>

static int find_parameter(const args_table *table, PyObject *name)
{
    for (int i = 0; i < table->count; i++) {
        if (PyUnicode_CompareWithASCIIString(name, table->parameters[i].name) == 0) {
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
        has_expire |= strcmp(table->parameters[i].name, "expire") == 0;
    }
    return has_expire && PyUnicode_CompareWithASCIIString(name, "ttl") == 0;
}

static void raise_too_many(const args_table *table, Py_ssize_t nargs, Py_ssize_t keywords)
{
    if (table->positional < table->count) {
        /* Its first parameter is an iterable: several arguments are easily taken for what it yields. */
        PyErr_Format(PyExc_TypeError,
                     "%s() takes %d positional argument%s, an iterable of %s, but %zd were given",
                     table->function, table->positional, table->positional == 1 ? "" : "s",
                     table->parameters[0].name, nargs);
    } else {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d argument%s (%zd given)",
                     table->function, table->count, table->count == 1 ? "" : "s", nargs + keywords);
    }
}

/* Put the arguments in the order of the parameters. `given` is all NULL. -1 with a TypeError. */
static int sort_arguments(const args_table *table, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames, PyObject **given)
{
    Py_ssize_t keywords = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;

    if (nargs > table->positional) {
        raise_too_many(table, nargs, keywords);
        return -1;
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        given[i] = args[i];
    }
    for (Py_ssize_t k = 0; k < keywords; k++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, k);
        int i = find_parameter(table, name);

        if (i < 0) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R%s",
                         table->function, name, is_expire(table, name) ? EXPIRE_IS_MEANT : "");
            return -1;
        }
        if (given[i] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument %R",
                         table->function, name);
            return -1;
        }
        given[i] = args[nargs + k];
    }
    for (int i = 0; i < table->required; i++) {
        if (given[i] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() missing 1 required positional argument: '%s'",
                         table->function, table->parameters[i].name);
            return -1;
        }
    }
    return 0;
}

/* Fill the fields of what was given: objects as they are, flags by their truth. */
static int fill(const args_table *table, PyObject *const *given, Py_ssize_t count, char *fields)
{
    for (Py_ssize_t i = 0; i < count; i++, fields += sizeof(PyObject *)) {
        if (given[i] != NULL && !table->parameters[i].is_flag) {
            *(PyObject **)fields = given[i];
        } else if (given[i] != NULL) {
            int truth = PyObject_IsTrue(given[i]);

            if (truth < 0) {
                return -1;
            }
            *(int *)fields = truth;
        }
    }
    return 0;
}

static int parse_any(const args_table *table, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames, char *fields)
{
    PyObject *given[ARGS_MAX] = {NULL};

    return sort_arguments(table, args, nargs, kwnames, given) < 0
               ? -1
               : fill(table, given, table->count, fields);
}

int args_parse(const args_table *table, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
               void *fields)
{
    /* Most calls have no keywords: their arguments are in order. */
    return kwnames == NULL && nargs >= table->required && nargs <= table->positional
               ? fill(table, args, nargs, fields)
               : parse_any(table, args, nargs, kwnames, fields);
}
