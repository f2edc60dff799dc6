/* methods.h: the methods of Cache, one file for each kind of them:
 *
 *     methods_get.c        get, read, [], in
 *     methods_set.c        set, add, push, touch, incr, decr, []=, and the private steps
 *     methods_take.c       delete, pop, pull, popitem, peek, peekitem
 *     methods_bulk.c       clear, evict, expire, cull
 *     methods_many.c       set_many, add_many, delete_many, get_many
 *     methods_settings.c   volume, len, settings, a look at all texts
 *     methods.c    the rest, and the table
 *
 * Each method is a function Cache_NAME with a docstring Cache_NAME_doc.
 */
#ifndef DC_CACHE_METHODS_H
#define DC_CACHE_METHODS_H

#include "cache/object.h"

/* Methods with keywords: the name in Python, and NAME. */
/* clang-format off */
#define CACHE_METHODS(X)                                                                           \
    X(get, get) X(_get_values, get_values) X(read, read)                                           \
    X(set, set) X(add, add) X(push, push) X(touch, touch) X(incr, incr) X(decr, decr)              \
    X(delete, delete) X(pop, pop) X(pull, pull) X(peek, peek) X(peekitem, peekitem)                \
    X(clear, clear) X(evict, evict) X(expire, expire) X(cull, cull)                                \
    X(set_many, set_many) X(add_many, add_many) X(_store_many, store_many)                         \
    X(delete_many, delete_many) X(get_many, get_many)                                              \
    X(iterkeys, iterkeys) X(_stored_keys, stored_keys) X(_peek_nth, peek_nth)                      \
    X(_drop_end, drop_end) X(_popitem, popitem)                                                    \
    X(transact, transact) X(_transact, transact_step)                                              \
    X(_row_insert, row_insert) X(_row_update, row_update) X(_cull, cull_step)
/* clang-format on */

#define DECLARE_METHOD(python_name, name)                                                          \
    PyObject *Cache_##name(Cache *self, PyObject *const *args, Py_ssize_t nargs,                   \
                           PyObject *kwnames);                                                     \
    extern const char Cache_##name##_doc[];
CACHE_METHODS(DECLARE_METHOD)
#undef DECLARE_METHOD

/* The values of keys in a tuple, of one moment: a list, with ENOVAL for what is absent. */
PyObject *cache_get_values(Cache *self, PyObject *keys, int retry);

/* Read what is stored as the size, if it is due, and keep it. -1 with an exception. */
int cache_renew_size(Cache *self);

/* Methods with other calling conventions. */
PyObject *Cache_delitem(Cache *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *Cache_volume(Cache *self, PyObject *unused);
PyObject *Cache_close(Cache *self, PyObject *unused);
PyObject *Cache_connection(Cache *self, PyObject *unused);
PyObject *Cache_inspect(Cache *self, PyObject *unused);
PyObject *Cache_apply(Cache *self, PyObject *const *args, Py_ssize_t nargs);
PyObject *Cache_damaged_texts(Cache *self, PyObject *column);
PyObject *Cache_setting(Cache *self, PyObject *name);
PyObject *Cache_update_setting(Cache *self, PyObject *const *args, Py_ssize_t nargs);
PyObject *Cache_set_pragma(Cache *self, PyObject *const *args, Py_ssize_t nargs);
extern const char Cache_delitem_doc[], Cache_volume_doc[], Cache_close_doc[],
    Cache_connection_doc[], Cache_inspect_doc[], Cache_apply_doc[], Cache_damaged_texts_doc[],
    Cache_setting_doc[], Cache_update_setting_doc[], Cache_set_pragma_doc[];

/* What the type is made of. */
extern PyMethodDef cache_methods[];
PyObject *cache_subscript(Cache *self, PyObject *key);
int cache_assign_subscript(Cache *self, PyObject *key, PyObject *value);
int cache_contains(Cache *self, PyObject *key);
Py_ssize_t cache_length(Cache *self);
PyObject *cache_iterate(Cache *self);

#define METHOD_DOC(name, text) const char Cache_##name##_doc[] = PyDoc_STR(text)

#endif
