/* cursors.c: see cursors.h. */
#include "python/cursors.h"

/* A visitor of a Connection's references. */
static int visit_list(PyObject *object, void *context)
{
    const cursors_search *search = context;

    for (Py_ssize_t i = 0; PyList_CheckExact(object) && i < PyList_GET_SIZE(object); i++) {
        PyObject *reference = PyList_GET_ITEM(object, i);
        PyObject *cursor = PyWeakref_CheckRef(reference) ? compat_weakref_get(reference) : NULL;

        if (cursor != NULL) {
            search->found(cursor, search->context);
            Py_DECREF(cursor);
        }
    }
    return 0;
}

void cursors_visit_listed(PyObject *connection, const cursors_search *search)
{
    if (Py_TYPE(connection)->tp_traverse != NULL) {
        Py_TYPE(connection)->tp_traverse(connection, visit_list, (void *)search);
    }
}

typedef struct unlisted_search {
    const cursors_search *search;
    PyTypeObject *cursor_class;
} unlisted_search;

/* A visitor of a cursor's references, of which one is its Connection. */
static int is_wanted(PyObject *object, void *context)
{
    const cursors_search *search = context;

    return search->is_wanted(object, search->context);
}

static int visit_object(PyObject *object, void *context)
{
    const unlisted_search *unlisted = context;
    const cursors_search *search = unlisted->search;

    if (PyObject_TypeCheck(object, unlisted->cursor_class) &&
        Py_TYPE(object)->tp_traverse(object, is_wanted, (void *)search)) {
        search->found(object, search->context);
    }
    return 1;
}

void cursors_visit_unlisted(PyObject *cursor_class, const cursors_search *search)
{
    unlisted_search unlisted = {search, (PyTypeObject *)cursor_class};

    if (!COMPAT_CONNECTION_LISTS_CURSORS) {
        compat_visit_objects(visit_object, &unlisted);
    }
}
