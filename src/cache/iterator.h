/* iterator.h: iteration over keys.
 */
#ifndef DC_CACHE_ITERATOR_H
#define DC_CACHE_ITERATOR_H

#include "cache/object.h"
#include "engine/scan.h"

/* What an iterator yields. */
typedef enum key_form {
    KEY_DECODED,
    KEY_STORED, /* a StoredKey, as which the row can be looked up without the Disk */
    KEY_NAMING, /* the key where the Disk takes it as it stands in the database, else a StoredKey */
} key_form;

extern PyType_Spec iterator_type_spec;

PyObject *iterator_new(Cache *cache, dc_order order, key_form form);

#endif
