/* iterator.h: iteration over keys.
 */
#ifndef DC_CACHE_ITERATOR_H
#define DC_CACHE_ITERATOR_H

#include "cache/object.h"
#include "engine/scan.h"

extern PyType_Spec iterator_type_spec;

PyObject *iterator_new(Cache *cache, dc_order order, int stored);

#endif
