/* connection.h: Connections of Python's sqlite3, and the copy of SQLite that they belong to.
 *
 * A process can have several copies of SQLite, and only one of them may open a database file
 * (sqlite/api.h). Ours is the copy behind the `sqlite3.connect` that is there at import: a Connection on
 * :memory: is opened with it, and the table `sqlite` is filled with the functions of the copy behind that
 * Connection, before any file is opened. `sqlite3` may have been replaced by then (pysqlite3), and SQLite may
 * be linked into the interpreter with its names hidden; connection.c says how the copy is found, and how it is
 * known that it is the right one.
 *
 * The binding is the process's and for good. An interpreter that imports the module later, or again, has the
 * same copy behind its sqlite3.connect, or an ImportError.
 */
#ifndef DC_PYTHON_CONNECTION_H
#define DC_PYTHON_CONNECTION_H

#include "python/state.h" /* first: it includes Python.h */

#include "sqlite/api.h"

/* Fill `sqlite` with the functions of the copy behind state->connect; or, if an import before has filled it,
 * see that it is that copy. `module`: diskcache._core, of which the file becomes an extension of SQLite's for
 * a moment. -1 with ImportError (or what a signal handler raised); the table then is as it was. */
int connection_bind(module_state *state, PyObject *module);

/* A new Connection on the file `path`, without a busy wait or implicit transactions, for all threads. `query`: more
 * parameters of SQLite's URI, or NULL; they are ignored on Windows, where the name is none.
 * *handle receives the handle behind it; NULL if connection_find_handle must be asked. */
PyObject *connection_open(module_state *state, PyObject *path, const char *query, sqlite3 **handle);
/* What closing raises is reported as unraisable; an exception that is set stays. */
void connection_close(module_state *state, PyObject *connection);

typedef enum connection_answer {
    CONNECTION_FOUND,
    CONNECTION_LOCKED, /* somebody's lock was in the way: ask again. No exception is set */
    CONNECTION_OTHER, /* it belongs to another copy, or is older than the binding. No exception is set */
    CONNECTION_FAILED /* with an exception */
} connection_answer;

/* The handle behind any Connection, whoever has opened it, by executing SQL on it. */
connection_answer connection_find_handle(module_state *state, PyObject *connection,
                                         sqlite3 **handle);

#endif
