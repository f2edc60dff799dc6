/* session_end.c: see session_end.h. */
#include "python/session_end.h"

#include "python/connection.h"
#include "python/connection_lock.h"
#include "python/cursors.h"
#include "python/disowned.h"
#include "python/fork_gate.h"
#include "python/sqlite_mutex.h"

/* For whoever is inside SQLite with a Connection that is being disowned. */
#define DISOWNING_SECONDS 1.0

/* By an attribute of which sqlite3 says that the Connection is closed. in_transaction asks SQLite too, from 3.53 on
 * under the connection's mutex: there a thread would wait with the GIL for one that wants it, in a callback. */
int session_check_open(module_state *state, const Session *session)
{
    PyObject *answer = NULL;

    if (!session->exposed || session->connection == NULL) {
        return 0;
    }
    answer = PyObject_GetAttr(session->connection, state->has_own_sqlite3 && !session->external
                                                       ? state->name.isolation_level
                                                       : state->name.in_transaction);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

int session_is_open(module_state *state, const Session *session)
{
    int open = session_check_open(state, session) == 0;

    if (!open) {
        PyErr_Clear();
    }
    return open;
}

int session_is_shared(module_state *state, const Session *session)
{
    return session->external ||
           (session->exposed && !session_is_private(session) && session_is_open(state, session));
}

typedef struct collection {
    PyObject *connection;
    PyObject *cursors; /* a list, of blobs too */
} collection;

static int is_wanted(PyObject *connection, void *context)
{
    const collection *collection = context;

    return connection == collection->connection;
}

static void collect(PyObject *cursor, void *context)
{
    const collection *collection = context;

    if (PyList_Append(collection->cursors, cursor) < 0) {
        PyErr_Clear(); /* it is not closed, then, and its statement is found */
    }
}

/* Close the cursors of a Connection, as closing that would. 0 if one is in the middle of a call. */
static int close_cursors(module_state *state, PyObject *connection)
{
    PyObject *cursors = PyList_New(0);
    collection collection = {connection, cursors};
    cursors_search search = {is_wanted, collect, &collection};
    int closed = cursors != NULL;

    if (closed) {
        cursors_visit_listed(connection, &search);
        cursors_visit_unlisted(state->cursor_class, &search);
    }
    for (Py_ssize_t i = 0; closed && i < PyList_GET_SIZE(cursors); i++) {
        PyObject *cursor = PyList_GET_ITEM(cursors, i);

        if (PyObject_TypeCheck(cursor, (PyTypeObject *)state->cursor_class)) {
            PyObject *result = PyObject_CallMethod(state->cursor_class, "close", "O", cursor);

            closed = result != NULL;
            Py_XDECREF(result);
        }
    }
    PyErr_Clear();
    Py_XDECREF(cursors);
    return closed;
}

int session_is_at_work(module_state *state, Session *session)
{
    int taken = sqlite_mutex_try(session->db.handle);

    if (taken) {
        sqlite_mutex_leave(session->db.handle);
    }
    return (!taken && sqlite_mutex_works()) || !close_cursors(state, session->connection) ||
           dc_db_has_open_statement(&session->db);
}

void session_close(module_state *state, Session *session)
{
    PyObject *connection = session->connection;

    session->connection = NULL;
    session_withdraw_header(session);
    if (!session->external) {
        dc_db_rollback(&session->db);
    }
    dc_db_detach(&session->db);
    if (!session->external) {
        connection_close(state, connection);
    }
    Py_XDECREF(connection);
}

int session_disown(module_state *state, Session *session)
{
    PyObject *connection = session->connection;
    int taken = sqlite_mutex_take(session->db.handle, DISOWNING_SECONDS);
    int is_free = taken || !sqlite_mutex_works();
    fork_gate_section section;

    session_withdraw_header(session);
    if (taken) {
        sqlite_mutex_leave(session->db.handle);
    }
    if (is_free) {
        section = fork_gate_enter_releasing_gil(); /* somebody may have gone inside again */
        if (!session->external) {
            disowned_remember(&session->db);
        }
        dc_db_detach(&session->db);
        fork_gate_leave_taking_gil(section);
    }
    if (session_is_private(session)) { /* its users have dropped it meanwhile */
        connection_lock_acquire();
        connection_close(state, connection);
        connection_lock_release();
    }
    session->connection = NULL;
    Py_DECREF(connection);
    return is_free;
}
