/* args.h: the arguments of methods: one source for a signature, and one parser.
 *
 * The methods of a type stand in a file of their own, methods.def for Cache, a block for each method:
 *
 *     METHOD(touch, REQUIRED(key) OR_NONE(expire) FLAG(retry, False),
 *         "Give an item another expiry.\n")
 *
 * The body takes what the arguments were parsed to, by name, and NULL is an exception, as everywhere:
 *
 *     PyObject *Cache_touch(Cache *self, const Cache_touch_args *args)
 *     {
 *         ... args->key, args->expire, args->retry ...
 *
 * Two headers make the rest of such a file: methods_declare.h the structs and the declarations, for the
 * bodies; methods_define.h what CPython calls, with the tables for the parser, the text signatures and
 * the table of the type's methods. A signature stands nowhere else in C; stubtest compares _core.pyi with it.
 *
 * A parameter is one of these:
 *
 *     REQUIRED(name)                PyObject *name
 *     REQUIRED_FLAG(name)           int name: its truth
 *     OBJECT(name, default)         PyObject *name, NULL if it was not given; the body does what the default says
 *     OR_NONE(name)                 PyObject *name, Py_None if it was not given
 *     OTHERWISE(default)            the parameter `default`, which is a keyword in C: PyObject *otherwise, as OBJECT
 *     FLAG(name, False)             int name: its truth, or the default's
 *     KEYWORD_FLAG(name, False)     the same, given by keyword only; the last one
 *
 * Required ones come first. References are borrowed. All can be given by position or by keyword, but for the
 * last kind. The messages are Python's own.
 */
#ifndef DC_PYTHON_ARGS_H
#define DC_PYTHON_ARGS_H

#include "python/compat.h"

/* The most parameters that a method has. */
#define ARGS_MAX 8

typedef struct args_parameter {
    const char *name;
    int is_flag;
} args_parameter;

typedef struct args_table {
    const char *function;
    int required;   /* so many of the first must be given */
    int positional; /* so many of the first can be given by position */
    int count;
    args_parameter parameters[ARGS_MAX];
} args_table;

/* Fill a struct of args_table.count fields, which has the defaults already. 0, or -1 with an exception. */
int args_parse(const args_table *table, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
               void *fields);

/* The truth of an optional flag; `otherwise` if it was not given. -1 with an exception. */
static inline int args_flag(PyObject *value, int otherwise)
{
    return value == NULL ? otherwise : PyObject_IsTrue(value);
}

/* --- what a parameter is, for methods_declare.h and methods_define.h --- */

#define REQUIRED(name)              PARAMETER(REQUIRED, name, name, )
#define REQUIRED_FLAG(name)         PARAMETER(REQUIRED_FLAG, name, name, )
#define OBJECT(name, default)       PARAMETER(OBJECT, name, name, default)
#define OR_NONE(name)               PARAMETER(OR_NONE, name, name, None)
#define OTHERWISE(value)            PARAMETER(OBJECT, default, otherwise, value)
#define FLAG(name, default)         PARAMETER(FLAG, name, name, default)
#define KEYWORD_FLAG(name, default) PARAMETER(KEYWORD_FLAG, name, name, default)

/* A field of the struct. Each has the room of a pointer, so that the parser knows where it is. */
#define ARGS_FIELD_REQUIRED(name)      PyObject *name;
#define ARGS_FIELD_REQUIRED_FLAG(name) _Alignas(PyObject *) int name;
#define ARGS_FIELD_OBJECT(name)        PyObject *name;
#define ARGS_FIELD_OR_NONE(name)       PyObject *name;
#define ARGS_FIELD_FLAG(name)          _Alignas(PyObject *) int name;
#define ARGS_FIELD_KEYWORD_FLAG(name)  _Alignas(PyObject *) int name;

/* What the field is before arguments are parsed. */
#define ARGS_START_REQUIRED(default)      NULL
#define ARGS_START_REQUIRED_FLAG(default) 0
#define ARGS_START_OBJECT(default)        NULL
#define ARGS_START_OR_NONE(default)       Py_None
#define ARGS_START_FLAG(default)          ARGS_TRUTH_##default
#define ARGS_START_KEYWORD_FLAG(default)  ARGS_TRUTH_##default
#define ARGS_TRUTH_False                  0
#define ARGS_TRUTH_True                   1

#define ARGS_IS_FLAG_REQUIRED      0
#define ARGS_IS_FLAG_REQUIRED_FLAG 1
#define ARGS_IS_FLAG_OBJECT        0
#define ARGS_IS_FLAG_OR_NONE       0
#define ARGS_IS_FLAG_FLAG          1
#define ARGS_IS_FLAG_KEYWORD_FLAG  1

/* One if it can be given by position; 16 more if it must be given. */
#define ARGS_COUNT_REQUIRED      17
#define ARGS_COUNT_REQUIRED_FLAG 17
#define ARGS_COUNT_OBJECT        1
#define ARGS_COUNT_OR_NONE       1
#define ARGS_COUNT_FLAG          1
#define ARGS_COUNT_KEYWORD_FLAG  0

/* Its part of the text signature. */
#define ARGS_TEXT_REQUIRED(name, default)      ", " #name
#define ARGS_TEXT_REQUIRED_FLAG(name, default) ", " #name
#define ARGS_TEXT_OBJECT(name, default)        ", " #name "=" #default
#define ARGS_TEXT_OR_NONE(name, default)       ", " #name "=" #default
#define ARGS_TEXT_FLAG(name, default)          ", " #name "=" #default
#define ARGS_TEXT_KEYWORD_FLAG(name, default)  ", *, " #name "=" #default

#endif
