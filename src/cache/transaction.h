/* transaction.h: the context manager that transact() and _transact() return.
 */
#ifndef DC_CACHE_TRANSACTION_H
#define DC_CACHE_TRANSACTION_H

#include "cache/object.h"

extern PyType_Spec transaction_type_spec;

/* `filename` is removed if it does not come about. */
PyObject *transaction_new(Cache *cache, int retry, int with_cursor, PyObject *filename);

#endif
