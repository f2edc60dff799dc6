/* connection.c: see connection.h.
 *
 * The handle. sqlite3_auto_extension(), a public function, calls us for every handle that is opened in our
 * copy of SQLite. There we note it for the thread that opens it, so that our own `connect` yields the handle
 * behind its Connection, and register the SQL function diskcache_handle(), which notes the handle that it
 * runs on. Executing that through any Connection, whoever opened it, yields its handle; and if there is no
 * such function, the Connection belongs to another copy.
 *
 * The functions. A connection's load_extension() loads a shared library and calls its entry point with the
 * table of all public functions of its own copy of SQLite: so this module lets itself be loaded by the
 * Connection on :memory:, and takes the table. That works whatever names the copy hides, and cannot find a
 * wrong one. Python's sqlite3 may be built without load_extension (which is the default); then the functions
 * are looked up by name where they can be (sqlite/api.c), which may well find another copy.
 *
 * The proof. Either way, before the table is used, the copy to which it belongs must call us when another
 * Connection is opened on :memory:, and run a function of ours for it. Nothing of a candidate that fails stays.
 */
#include "python/connection.h"

#include <stdio.h>
#include <string.h>

#include "python/convert.h"
#include "python/process_lock.h"

/* --- what SQLite calls ------------------------------------------------------------------------ */

/* The function of a candidate has a name of its own and does nothing later, since a candidate that fails may leave it
 * on a handle that an audit hook has opened and kept. */
#define HANDLE_FUNCTION    "diskcache_handle"
#define CANDIDATE_FUNCTION "diskcache_candidate"
#define NO_SUCH_FUNCTION   "no such function: diskcache_"

#ifdef _WIN32
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

/* Handles that this thread has opened in our copy so far, the latest, and the one of the latest call of the
 * SQL function. */
static DC_THREAD_LOCAL unsigned long opened_count;
static DC_THREAD_LOCAL sqlite3 *opened_last;
static DC_THREAD_LOCAL sqlite3 *noted_handle;

/* The candidate that this thread is just trying; and where it wants a table of routines. */
static DC_THREAD_LOCAL const struct dc_sqlite_api *candidate;
static DC_THREAD_LOCAL const void **wanted_routines;

static int bound; /* `sqlite` is filled, for good. Guarded by `binding` */

static void note_handle(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    noted_handle = sqlite.context_db_handle(context);
    sqlite.result_int(context, 1);
}

static void note_handle_of_candidate(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    (void)values;
    if (candidate != NULL) {
        noted_handle = candidate->context_db_handle(context);
    }
}

/* A handle is opened in our copy. A failure here does not make that fail. */
static int note_opening(sqlite3 *handle, char **message, const void *routines)
{
    (void)message;
    (void)routines;
    opened_count++;
    opened_last = handle;
    sqlite.create_function_v2(handle, HANDLE_FUNCTION, 0, DC_SQLITE_UTF8 | DC_SQLITE_DIRECTONLY,
                              NULL, note_handle, NULL, NULL, NULL);
    return DC_SQLITE_OK;
}

/* A handle is opened in the copy that is being tried, perhaps by another thread. */
static int try_opening(sqlite3 *handle, char **message, const void *routines)
{
    (void)message;
    (void)routines;
    if (candidate != NULL) {
        candidate->create_function_v2(handle, CANDIDATE_FUNCTION, 0,
                                      DC_SQLITE_UTF8 | DC_SQLITE_DIRECTONLY, NULL,
                                      note_handle_of_candidate, NULL, NULL, NULL);
    }
    return DC_SQLITE_OK;
}

/* The entry point of this module as an extension of SQLite's; SQLite makes the name from the file's. (The usual
 * name would be found in the place of other extensions' own: SQLite adds what it loads to the global scope.) It
 * is called in the middle of Python code. */
EXPORTED int sqlite3_core_init(sqlite3 *handle, char **message, const void *routines);

int sqlite3_core_init(sqlite3 *handle, char **message, const void *routines)
{
    (void)handle;
    (void)message;
    if (wanted_routines != NULL) {
        *wanted_routines = routines;
    }
    return DC_SQLITE_OK;
}

/* --- Connections ------------------------------------------------------------------------------ */

/* Have us called for each handle. Again before each Connection: a program may have emptied SQLite's list. */
static int watch_openings(void)
{
    return sqlite.auto_extension((void (*)(void))note_opening);
}

/* Of a Connection; what sqlite3.connect() does by default. */
#define CACHED_STATEMENTS 128

#ifdef _WIN32

#define NAME_IS_URI Py_False

static PyObject *private_name(PyObject *path, const char *query)
{
    (void)query;
    return Py_NewRef(path);
}

#else

#define NAME_IS_URI Py_True

/* The name by which SQLite opens the file without its shared cache, whatever else the process has told it
 * (sqlite3.enable_shared_cache): two sessions would have one sqlite3_file, and each other's locks. */
static PyObject *private_name(PyObject *path, const char *query)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
    static const char end[] = "?cache=private";
    PyObject *bytes;
    PyObject *name = NULL;
    const char *from;
    char *begin, *to;

    if (!PyUnicode_FSConverter(path, &bytes)) {
        return NULL;
    }
    from = PyBytes_AS_STRING(bytes);
    begin = to = PyMem_Malloc(sizeof "file://" + 3 * strlen(from) + sizeof end + 1 + strlen(query));
    if (to == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    to += sprintf(to, *from == '/' ? "file://" : "file:");
    for (; *from != '\0'; from++) {
        to += strchr(plain, *from) != NULL ? sprintf(to, "%c", *from)
                                           : sprintf(to, "%%%02X", (unsigned char)*from);
    }
    sprintf(to, "%s%s%s", end, *query != '\0' ? "&" : "", query);
    name = PyUnicode_FromString(begin);
done:
    PyMem_Free(begin);
    Py_DECREF(bytes);
    return name;
}

#endif

PyObject *connection_open(module_state *state, PyObject *path, const char *query, sqlite3 **handle)
{
    PyObject *keywords = PyTuple_Pack(5, state->name.timeout, state->name.isolation_level,
                                      state->name.check_same_thread, state->name.uri,
                                      state->name.cached_statements);
    PyObject *zero = PyFloat_FromDouble(0.0);
    /* A statement that is kept, and freed late, keeps the connection open beyond its end: until some moment
     * when another thread takes a lock. Without keeping any, a short one takes two or three times as long. */
    PyObject *statements = PyLong_FromLong(COMPAT_HAS_GIL ? CACHED_STATEMENTS : 0);
    PyObject *name = private_name(path, query != NULL ? query : "");
    PyObject *connection = NULL;
    unsigned long before;

    watch_openings();
    before = opened_count;
    if (keywords != NULL && zero != NULL && statements != NULL && name != NULL) {
        PyObject *arguments[] = {name, zero, Py_None, Py_False, NAME_IS_URI, statements};

        connection = PyObject_Vectorcall(state->connect, arguments, 1, keywords);
    }
    /* An audit hook or a finalizer may have opened another one meanwhile; and only of sqlite3's own `connect`
     * is it known that it opens what it returns. */
    *handle = connection != NULL && opened_count - before == 1 && PyCFunction_Check(state->connect)
                  ? opened_last
                  : NULL;
    Py_XDECREF(name);
    Py_XDECREF(statements);
    Py_XDECREF(zero);
    Py_XDECREF(keywords);
    return connection;
}

void connection_close(module_state *state, PyObject *connection)
{
    compat_exception current = compat_exception_take();
    PyObject *result = PyObject_CallMethodNoArgs(connection, state->name.close);

    if (result == NULL) {
        PyErr_WriteUnraisable(connection);
    }
    Py_XDECREF(result);
    compat_exception_put(current);
}

/* What the exception of a failed statement means. CONNECTION_FAILED: it stays; any other answer clears it. */
static connection_answer judge_failure(module_state *state)
{
    connection_answer answer = CONNECTION_FAILED;
    compat_exception raised;
    PyObject *text;
    const char *message;
    int code;

    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return answer;
    }
    raised = compat_exception_take();
    code = convert_sqlite_code(state, compat_exception_value(&raised));
    text = PyObject_Str(compat_exception_value(&raised));
    message = text != NULL ? PyUnicode_AsUTF8(text) : NULL;
    PyErr_Clear();
    if (code == DC_SQLITE_BUSY || code == DC_SQLITE_LOCKED || code == DC_SQLITE_SCHEMA ||
        (code < 0 && message != NULL &&
         (strstr(message, " is locked") != NULL ||
          strstr(message, "schema has changed") != NULL))) {
        answer = CONNECTION_LOCKED;
    } else if (message != NULL && strstr(message, NO_SUCH_FUNCTION) != NULL) {
        answer = CONNECTION_OTHER;
    }
    Py_XDECREF(text);
    compat_exception_put(raised);
    if (answer != CONNECTION_FAILED) {
        PyErr_Clear();
    }
    return answer;
}

connection_answer connection_find_handle(module_state *state, PyObject *connection,
                                         sqlite3 **handle)
{
    const char *sql = candidate != NULL ? "SELECT " CANDIDATE_FUNCTION "()"
                                        : "SELECT " HANDLE_FUNCTION "()";
    sqlite3 *outer = noted_handle;
    PyObject *cursor;
    PyObject *rows = NULL;

    noted_handle = NULL;
    cursor = PyObject_CallMethod(connection, "execute", "s", sql);
    if (cursor != NULL) {
        rows = PyObject_CallMethodNoArgs(cursor, state->name.fetchall);
    }
    *handle = noted_handle;
    noted_handle = outer; /* a finalizer may call this in the middle of another call */
    Py_XDECREF(cursor);
    if (rows == NULL) {
        return judge_failure(state);
    }
    Py_DECREF(rows);
    return *handle != NULL ? CONNECTION_FOUND : CONNECTION_OTHER;
}

/* --- binding ---------------------------------------------------------------------------------- */

/* Interpreters of one process may import at the same time. Not for ever: after a fork the thread that binds may be
 * the parent's. */
#define BINDING_WAIT_MICROSECONDS 10000000

static PyThread_type_lock binding; /* made under the process lock */

static int enter_binding(void)
{
    PyLockStatus status = PY_LOCK_FAILURE;
    PyThreadState *released;

    process_lock_acquire();
    if (binding == NULL) {
        binding = PyThread_allocate_lock();
    }
    process_lock_release();
    if (binding != NULL) {
        released = PyEval_SaveThread();
        status = PyThread_acquire_lock_timed(binding, BINDING_WAIT_MICROSECONDS, 0);
        PyEval_RestoreThread(released);
    }
    return status == PY_LOCK_ACQUIRED;
}

static void leave_binding(int entered)
{
    if (entered) {
        PyThread_release_lock(binding);
    }
}

/* Drop the exception, if a way that did not work raised it: then there may be another. -1 if not. */
static int drop_exception(void)
{
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

/* The table of routines of the copy behind `connection`; *routines stays NULL if it cannot be had. */
static int ask_for_routines(PyObject *connection, PyObject *module, const void **routines)
{
    PyObject *file = PyModule_GetFilenameObject(module);
    PyObject *enabled = NULL;
    PyObject *loaded = NULL;

    if (file != NULL) {
        enabled = PyObject_CallMethod(connection, "enable_load_extension", "O", Py_True);
    }
    if (enabled != NULL) {
        wanted_routines = routines;
        loaded = PyObject_CallMethod(connection, "load_extension", "O", file);
        wanted_routines = NULL;
    }
    Py_XDECREF(loaded);
    Py_XDECREF(enabled);
    Py_XDECREF(file);
    return drop_exception();
}

static PyObject *open_in_memory(module_state *state)
{
    return PyObject_CallFunction(state->connect, "s", ":memory:");
}

/* Whose a Connection is that `connect` opens now. */
static connection_answer ask_new_connection(module_state *state)
{
    connection_answer answer = CONNECTION_FAILED;
    PyObject *connection = open_in_memory(state);
    sqlite3 *handle;

    if (connection != NULL) {
        answer = connection_find_handle(state, connection, &handle);
        connection_close(state, connection);
        Py_DECREF(connection);
    }
    return answer;
}

/* Whether Connections that `connect` opens belong to the copy in `api`. 1, 0, or -1 with an exception. */
static int is_behind_connect(module_state *state, const struct dc_sqlite_api *api)
{
    connection_answer answer;

    if (api->auto_extension((void (*)(void))try_opening) != DC_SQLITE_OK) {
        return 0;
    }
    candidate = api;
    answer = ask_new_connection(state);
    candidate = NULL;
    api->cancel_auto_extension((void (*)(void))try_opening);
    return drop_exception() < 0 ? -1 : answer == CONNECTION_FOUND;
}

/* A function of the module in which the class of `connection` is written. */
static dc_function code_of(PyObject *connection)
{
    PyTypeObject *type = Py_TYPE(connection);

    while (type->tp_base != NULL && type->tp_base != &PyBaseObject_Type) {
        type = type->tp_base;
    }
    return (dc_function)type->tp_dealloc;
}

/* Find the functions of the copy behind `connection`. 1, or 0 and why not, or -1 with an exception. */
static int find_functions(module_state *state, PyObject *connection, PyObject *module,
                          struct dc_sqlite_api *api, dc_error *error)
{
    const void *routines = NULL;
    int found = 0;

    dc_error_clear(error);
    if (ask_for_routines(connection, module, &routines) < 0) {
        return -1;
    }
    if (routines != NULL) {
        return dc_sqlite_from_routines(api, routines, error) == DC_OK
                   ? is_behind_connect(state, api)
                   : 0;
    }
    for (int place = 0; place < DC_SQLITE_PLACES_COUNT && found == 0; place++) {
        dc_error reason;

        switch (dc_sqlite_from_place(api, (dc_sqlite_place)place, code_of(connection), &reason)) {
        case DC_OK:
            found = is_behind_connect(state, api);
            break;
        case DC_NOT_FOUND:
            break;
        default: /* of another place it is not known whether it is the right copy at all */
            if (place == DC_SQLITE_OF_MODULE) {
                *error = reason;
            }
            break;
        }
    }
    return found;
}

#define UNREACHABLE                                                                                \
    "diskcache must use the very copy of SQLite that sqlite3.connect uses, and cannot reach it: "  \
    "this Python hides the functions of its SQLite, and its sqlite3 module cannot load "           \
    "extensions, from which they could be had. Use a Python that was built with "                  \
    "--enable-loadable-sqlite-extensions, or install pysqlite3-binary and put it in the place of " \
    "sqlite3 before anything imports that: "                                                       \
    "import sys, pysqlite3; sys.modules['sqlite3'] = pysqlite3"

static int bind_first(module_state *state, PyObject *connection, PyObject *module)
{
    struct dc_sqlite_api api;
    dc_error error;
    int found = find_functions(state, connection, module, &api, &error);

    if (found == 0) {
        PyErr_SetString(PyExc_ImportError, error.message[0] != '\0' ? error.message : UNREACHABLE);
    }
    if (found == 1 && !bound) {
        sqlite = api;
        bound = 1;
    }
    return found == 1 ? 0 : -1;
}

/* See that new Connections of this interpreter belong to the copy that is bound. */
static int verify(module_state *state)
{
    connection_answer answer;

    if (watch_openings() != DC_SQLITE_OK) {
        PyErr_NoMemory();
        return -1;
    }
    answer = ask_new_connection(state);
    if (answer != CONNECTION_FOUND && !PyErr_Occurred()) {
        PyErr_Format(
            PyExc_ImportError,
            "diskcache has been imported in this process before, and uses SQLite %s; "
            "sqlite3.connect now uses another copy of SQLite, and two copies that open the "
            "same file would lose data",
            sqlite.libversion());
    }
    return answer == CONNECTION_FOUND ? 0 : -1;
}

int connection_bind(module_state *state, PyObject *module)
{
    int entered = enter_binding();
    PyObject *connection = NULL;
    int result = -1;

    if (bound) {
        result = 0;
    } else {
        connection = open_in_memory(state);
    }
    if (connection != NULL) {
        result = bind_first(state, connection, module);
        connection_close(state, connection);
        Py_DECREF(connection);
    }
    if (result == 0) {
        result = verify(state);
    }
    leave_binding(entered);
    return result;
}
