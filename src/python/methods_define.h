/* methods_define.h: defines, from the file of a type's methods (args.h), what CPython calls, NAME_call for each, and
 * the table METHOD_OF(methods) of all. Include it once for a type, after methods_declare.h and what the file calls
 * OTHER.
 *
 * A type can have a call repeated that has failed, with an exception: METHOD_FAILED(self, table, parsed) is an
 * expression, and METHOD_FAILURES declares what it keeps of one call. If it is true it has cleared the exception.
 * Without arguments `table` is NULL.
 *
 * And it can answer some calls before the guard is taken: METHOD_AT_ONCE(self, parsed, result) is an expression. If
 * it is true, that is the result.
 */
#include "python/args.h"

#ifndef METHOD_RECEIVER
#define METHOD_RECEIVER "$self" /* "$module" of a module's functions */
#endif

#ifndef METHOD_GUARD_BEGIN /* what stands around the body of each, see guard.h */
#define METHOD_GUARD_BEGIN(self) {
#define METHOD_GUARD_END()       }
#endif

#ifndef METHOD_AT_ONCE
#define METHOD_AT_ONCE(self, parsed, result) 0
#endif

#ifndef METHOD_FAILED
#define METHOD_FAILED(self, table, parsed) 0
#define METHOD_FAILURES
#endif

/* clang-format off */

/* The parameters come last, as they become a list with commas. */
#define METHOD(name, parameters, docstring)           WITH_ARGUMENTS(name, docstring, parameters)
#define METHOD_AS(name, other, parameters, docstring) WITH_ARGUMENTS(name, docstring, parameters)

/* How many parameters there are, of which kinds. */
#define PARAMETER(kind, name, field, default) + ARGS_COUNT_##kind
#define WITH_ARGUMENTS(name, docstring, ...)                                                       \
    enum { METHOD_OF(name##_required) = (0 __VA_ARGS__) / 16,                                      \
           METHOD_OF(name##_positional) = (0 __VA_ARGS__) % 16 };
#define NO_ARGUMENTS(name, docstring)
#define OTHER(name, flags, signature, docstring)
#include METHODS
#undef WITH_ARGUMENTS
#undef PARAMETER

/* The tables for the parser. */
#define PARAMETER(kind, name, field, default) {#name, ARGS_IS_FLAG_##kind},
#define WITH_ARGUMENTS(name, docstring, ...)                                                       \
    static const args_table METHOD_OF(name##_table) = {                                            \
        #name, METHOD_OF(name##_required), METHOD_OF(name##_positional),                           \
        sizeof(METHOD_OF(name##_args)) / sizeof(PyObject *), {__VA_ARGS__}};
#include METHODS
#undef NO_ARGUMENTS
#undef WITH_ARGUMENTS
#undef PARAMETER

/* What CPython calls: it parses the arguments, and calls the body. */
#define PARAMETER(kind, name, field, default) .field = ARGS_START_##kind(default),
#define WITH_ARGUMENTS(name, docstring, ...)                                                       \
    static PyObject *METHOD_OF(name##_call)(METHOD_SELF *self, PyObject *const *args,              \
                                            Py_ssize_t nargs, PyObject *kwnames)                   \
    {                                                                                              \
        METHOD_OF(name##_args) parsed = {__VA_ARGS__};                                             \
        PyObject *result;                                                                          \
        METHOD_FAILURES                                                                            \
                                                                                                   \
        if (args_parse(&METHOD_OF(name##_table), args, nargs, kwnames, &parsed) < 0) {             \
            return NULL;                                                                           \
        }                                                                                          \
        if (METHOD_AT_ONCE(self, &parsed, &result)) {                                              \
            return result;                                                                         \
        }                                                                                          \
        METHOD_GUARD_BEGIN(self)                                                                   \
        do {                                                                                       \
            result = METHOD_OF(name)(self, &parsed);                                               \
        } while (result == NULL && METHOD_FAILED(self, &METHOD_OF(name##_table), &parsed));        \
        METHOD_GUARD_END()                                                                         \
        return result;                                                                             \
    }
#define NO_ARGUMENTS(name, docstring)                                                              \
    static PyObject *METHOD_OF(name##_call)(METHOD_SELF *self, PyObject *Py_UNUSED(unused))        \
    {                                                                                              \
        PyObject *result;                                                                          \
        METHOD_FAILURES                                                                            \
                                                                                                   \
        METHOD_GUARD_BEGIN(self)                                                                   \
        do {                                                                                       \
            result = METHOD_OF(name)(self);                                                        \
        } while (result == NULL && METHOD_FAILED(self, NULL, NULL));                               \
        METHOD_GUARD_END()                                                                         \
        return result;                                                                             \
    }
#include METHODS
#undef OTHER
#undef NO_ARGUMENTS
#undef WITH_ARGUMENTS
#undef PARAMETER

/* The table of the methods. METH_COEXIST: a method stays beside the slot of its name (__delitem__). */
#define FUNCTION(name) (PyCFunction)(void (*)(void))METHOD_OF(name)
#define PARAMETER(kind, name, field, default) ARGS_TEXT_##kind(name, default)
#define WITH_ARGUMENTS(name, docstring, ...)                                                       \
    {#name, FUNCTION(name##_call), METH_FASTCALL | METH_KEYWORDS | METH_COEXIST,                   \
     PyDoc_STR(#name "(" METHOD_RECEIVER ", /" __VA_ARGS__ ")\n--\n\n" docstring)},
#define NO_ARGUMENTS(name, docstring)                                                              \
    {#name, FUNCTION(name##_call), METH_NOARGS,                                                    \
     PyDoc_STR(#name "(" METHOD_RECEIVER ", /)\n--\n\n" docstring)},
#define OTHER(name, flags, signature, docstring)                                                   \
    {#name, FUNCTION(name), flags, PyDoc_STR(#name signature "\n--\n\n" docstring)},
PyMethodDef METHOD_OF(methods)[] = {
#include METHODS
    {NULL, NULL, 0, NULL},
};
#undef OTHER
#undef NO_ARGUMENTS
#undef WITH_ARGUMENTS
#undef PARAMETER
#undef FUNCTION
#undef METHOD_AS
#undef METHOD
/* clang-format on */
