/* state.h: the state of the module `diskcache._core` in one interpreter.
 *
 * Every object of ours keeps a borrowed pointer to it: the object's type holds the module, and the
 * module the state, so it lives as long as the object. Filled by module.c; cleared with the module.
 */
#ifndef DC_PYTHON_STATE_H
#define DC_PYTHON_STATE_H

#include "python/hooks.h" /* first: it includes Python.h */

#include <stdatomic.h>

/* Attribute names used from C, interned once. */
/* clang-format off */
#define STATE_NAMES(X)                                                                             \
    X(__cache_key__) X(__delitem__) X(_cleanup) X(_con) X(_fetch_row) X(_from_pickle) X(_get_running_loop)          \
    X(_increment_signed) X(_log_failure) X(_mend) X(_note_refusal) X(_pass_over) X(_pin)           \
    X(_reset_malformed) X(_seal) X(_take_directory_id) X(_to_pickle) X(_touch_signed)              \
    X(_transact) X(_transaction) X(asyncio) X(cached_statements) X(check_same_thread) X(close)     \
    X(con)                                                                                         \
    X(current_task) X(drain) X(execute) X(fetch) X(fetchall) X(get) X(get_ident) X(in_transaction) X(incr)  \
    X(isolation_level) X(items) X(key) X(keys) X(lowlevel) X(pid) X(put) X(read) X(remove)         \
    X(retry) X(set) X(sleep) X(sqlite_errorcode) X(sqlite_errorname) X(store) X(time) X(timeout)   \
    X(trio) X(uri)
/* clang-format on */

/* The classes of sqlite3's exceptions, in the order of `enum sqlite_error`. */
/* clang-format off */
#define STATE_SQLITE_ERRORS(X)                                                                     \
    X(DatabaseError) X(DataError) X(IntegrityError) X(InterfaceError) X(InternalError)             \
    X(OperationalError) X(ProgrammingError)

enum sqlite_error {
#define STATE_ERROR_ENUM(name) SQLITE_ERROR_##name,
    STATE_SQLITE_ERRORS(STATE_ERROR_ENUM)
#undef STATE_ERROR_ENUM
    SQLITE_ERROR_COUNT
};
/* clang-format on */

typedef struct module_state {
    PyTypeObject *disk_type;
    PyTypeObject *cache_type;
    PyTypeObject *transaction_type;
    PyTypeObject *iterator_type;
    PyTypeObject *pin_type;
    PyTypeObject *call_key_type;
    PyTypeObject *heard_type;
    PyTypeObject *pickle_sink_type, *pickle_source_type, *mapping_type;

    PyObject *Timeout;
    PyObject *refused; /* of refusal.py: what a Disk raises that does not trust what it has read */
    PyObject *sqlite_errors[SQLITE_ERROR_COUNT];

    PyObject *connect;          /* sqlite3.connect */
    PyObject *cursor_class;     /* sqlite3.Cursor */
    PyObject *sqlite_constants; /* the names of sqlite3, those of result codes among them */
    int has_own_sqlite3;        /* that is Python's; a pysqlite3 in its place has older habits */
    PyObject *time_module;      /* its functions are looked up each time: programs patch them */
    PyCFunction code_of_time;   /* that of Python's own time.time, or NULL */
    PyObject *threading;        /* the module, likewise */
    PyObject *dumps, *loads;    /* of pickle */
    PyObject *dump, *load;      /* the same with files */
    PyObject *optimize;         /* does what that of pickletools does, where key_pickle.c cannot */
    PyObject *open;             /* of io */
    PyObject *join;             /* of os.path */
    PyObject *getpid, *getcwd;  /* of os */
    PyObject *unknown, *enoval; /* of constants.py, registered by cache.py */
    PyObject *find_policy;      /* of policies.py: the eviction policy of a user's own, or None */
    PyTypeObject *transaction_class; /* what transact() makes: cache.py's subclass */
    PyTypeObject *stored_key_type;   /* of tuples that disk_put takes as (database key, raw) */

    hook_base disk_hooks;
    hook_base cache_hooks;
    atomic_schar key_pickling[6]; /* by protocol: 1 native, -1 by pickle, 0 not known */
    atomic_ulong
        noticed; /* the fork generation in which all caches have let go of what they inherited */

    struct {
#define STATE_NAME_MEMBER(name) PyObject *name;
        STATE_NAMES(STATE_NAME_MEMBER)
#undef STATE_NAME_MEMBER
    } name;
} module_state;

/* The state of the module that defined `type` or a base of it (module.c); NULL with TypeError. */
module_state *state_of_type(PyTypeObject *type);

/* Fill what the state takes from elsewhere: names, and what is used of other modules. -1 with an exception. */
int state_fill(module_state *state);
/* For the garbage collector, and the end of the module. */
int state_traverse(module_state *state, visitproc visit, void *arg);
void state_clear(module_state *state);
void state_free(module_state *state);

/* A directory as an absolute path by the current directory, so that it stays the same when that changes. Returned as
 * it is if there is no current directory, or if it is no str or PathLike. New reference, or NULL with an exception. */
PyObject *state_absolute(module_state *state, PyObject *directory);

#endif
