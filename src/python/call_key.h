/* call_key.h: the keys of memoized calls, as the original makes them:
 *
 *     base, the positional arguments, None, the keyword arguments in the order of their names (name and
 *     value each), and if they are typed the types of all arguments
 *
 * without the arguments that are to be ignored, by position or by name. Stored results are found by
 * them, so their form cannot change. Two different calls can have the same key, f(None, 'b') and
 * f(b=None) for instance: memoize(signature=True) is for that.
 */
#ifndef DC_PYTHON_CALL_KEY_H
#define DC_PYTHON_CALL_KEY_H

#include "python/state.h"

#include "python/call_table.h"

/* CacheKey(base, typed, ignore): what `__cache_key__` of a memoized function is, a callable that makes
 * the key of its arguments. */
extern PyType_Spec call_key_type_spec;

/* What the key of a call is stored as, by a Disk that pickles keys natively and with this protocol. `cache_key` is any
 * object, `args` an exact tuple, `kwargs` an exact dict. New reference to bytes; NULL without an exception if that is
 * not known, which is so for most arguments that are not simple (call_table.h). */
PyObject *call_key_pickled(const module_state *state, PyObject *cache_key, PyObject *args,
                           PyObject *kwargs, int protocol);

/* The key of one call: what args_to_key() returns. `kwargs` is a mapping or None. */
PyObject *call_key_of_arguments(PyObject *base, PyObject *args, PyObject *kwargs, int typed,
                                PyObject *ignored);

#endif
