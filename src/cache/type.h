/* type.h: the Cache type.
 */
#ifndef DC_CACHE_TYPE_H
#define DC_CACHE_TYPE_H

#include "cache/object.h"

extern PyType_Spec cache_type_spec;

#endif
