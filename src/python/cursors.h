/* cursors.h: whose statements end with them: the cursors and blobs of a sqlite3.Connection.
 *
 * A Connection has lists of weak references to them. From Python 3.15 on it has none of its cursors: only the garbage
 * collector knows those, and has to look at all objects.
 */
#ifndef DC_PYTHON_CURSORS_H
#define DC_PYTHON_CURSORS_H

#include "python/compat.h"

/* `found` is called with a borrowed reference, and does not run Python. */
typedef struct cursors_search {
    int (*is_wanted)(PyObject *connection,
                     void *context); /* only asked by cursors_visit_unlisted */
    void (*found)(PyObject *cursor, void *context);
    void *context;
} cursors_search;

/* Visit what a Connection has in its lists. */
void cursors_visit_listed(PyObject *connection, const cursors_search *search);
/* Where cursors are in no list: visit those of this interpreter whose Connections are wanted. `cursor_class`:
 * sqlite3.Cursor. */
void cursors_visit_unlisted(PyObject *cursor_class, const cursors_search *search);

#endif
