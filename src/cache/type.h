/* type.h: the Cache type.
 */
#ifndef DC_CACHE_TYPE_H
#define DC_CACHE_TYPE_H

#include "cache/object.h"

extern PyType_Spec cache_type_spec;

/* Whether an object is a Cache that no class has taken lookups over from, nor the object itself; as far as that is known
 * without looking at its class, which would run Python code. */
int cache_looks_up_itself(module_state *state, PyObject *object);

#endif
