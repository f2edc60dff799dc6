/* methods.h: the methods of Cache, one file for each kind of them:
 *
 *     methods_get.c        looking keys up
 *     methods_set.c        writing single items
 *     methods_take.c       taking items out, and looking at the ends
 *     methods_bulk.c       removing many items
 *     methods_many.c       many items at once
 *     methods_settings.c   settings, and what a directory holds
 *     methods.c            transactions, iteration, and the rest
 *
 * Their parameters and docstrings are in methods.def; python/args.h says how that is read.
 */
#ifndef DC_CACHE_METHODS_H
#define DC_CACHE_METHODS_H

#include "cache/object.h"

#define METHODS         "cache/methods.def"
#define METHOD_OF(name) Cache_##name
#define METHOD_SELF     Cache
#include "python/methods_declare.h"

/* What the type is made of. */
extern PyMethodDef Cache_methods[];
PyObject *cache_subscript(Cache *self, PyObject *key);
int cache_assign_subscript(Cache *self, PyObject *key, PyObject *value);
int cache_contains(Cache *self, PyObject *key);
Py_ssize_t cache_length(Cache *self);
PyObject *cache_iterate(Cache *self);
PyObject *Cache__recall(Cache *self, PyObject *const *args, Py_ssize_t nargs);

/* Answer before the guard is taken: 1, with the result, which is NULL with an exception; or 0. */
int Cache_get_at_once(Cache *self, const Cache_get_args *args, PyObject **result);

/* The values of keys in a tuple, of one moment: a list, with ENOVAL for what is absent. */
PyObject *cache_get_values(Cache *self, PyObject *keys, int retry);

/* Read what is stored as the size, if it is due, and keep it. -1 with an exception. */
int cache_renew_size(Cache *self);

#endif
