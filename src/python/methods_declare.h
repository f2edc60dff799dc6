/* methods_declare.h: declares the methods of a type from their file (args.h says what is in it), the bodies and
 * what they take:
 *
 *     #define METHODS            "cache/methods.def"
 *     #define METHOD_OF(name)    Cache_##name
 *     #define METHOD_SELF        Cache
 *     #include "python/methods_declare.h"
 *
 * These definitions stay, for methods_define.h. It has no guard, since each type includes it.
 */
#include "python/args.h"

/* clang-format off */
#define PARAMETER(kind, name, field, default) ARGS_FIELD_##kind(field)
#define METHOD(name, parameters, docstring)                                                        \
    typedef struct METHOD_OF(name##_args) { parameters } METHOD_OF(name##_args);                   \
    PyObject *METHOD_OF(name)(METHOD_SELF *self, const METHOD_OF(name##_args) *args);
#define METHOD_AS(name, other, parameters, docstring)                                              \
    typedef METHOD_OF(other##_args) METHOD_OF(name##_args);                                        \
    PyObject *METHOD_OF(name)(METHOD_SELF *self, const METHOD_OF(other##_args) *args);
#define NO_ARGUMENTS(name, docstring) PyObject *METHOD_OF(name)(METHOD_SELF *self);
#define OTHER(name, flags, signature, docstring)
#include METHODS
#undef OTHER
#undef NO_ARGUMENTS
#undef METHOD_AS
#undef METHOD
#undef PARAMETER
/* clang-format on */
