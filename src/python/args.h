/* args.h: one parser for the arguments of every METH_FASTCALL | METH_KEYWORDS method.
 *
 * A method names its parameters in a table; all can be given by position or by keyword, and the first
 * `required` must be given. The parser fills an array of borrowed references, NULL for what was not
 * given. Its messages are Python's own.
 */
#ifndef DC_PYTHON_ARGS_H
#define DC_PYTHON_ARGS_H

#include "python/compat.h"

#define ARGS_MAX 7

/* The function and flags of a PyMethodDef for such a method. */
#define ARGS_METHOD(method) (PyCFunction)(void (*)(void))(method), METH_FASTCALL | METH_KEYWORDS

typedef struct args_table {
    const char *function;
    int required;
    int count;
    const char *names[ARGS_MAX];
} args_table;

/* 0, or -1 with a TypeError. `values` has room for table->count. */
int args_parse(const args_table *table, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
               PyObject **values);

/* The truth of an optional flag; `otherwise` if it was not given. -1 with an exception. */
static inline int args_flag(PyObject *value, int otherwise)
{
    return value == NULL ? otherwise : PyObject_IsTrue(value);
}

#endif
