/* state.h: the state of the module `diskcache._core` in one interpreter.
 *
 * Every object of ours keeps a borrowed pointer to it: the object's type holds the module, and the
 * module the state, so it lives as long as the object. Filled by module.c; cleared with the module.
 */
#ifndef DC_PYTHON_STATE_H
#define DC_PYTHON_STATE_H

#include "python/compat.h"

/* Attribute names used from C, interned once. */
/* clang-format off */
#define STATE_NAMES(X)                                                                             \
    X(__delitem__) X(_cleanup) X(_con) X(_cull) X(_get_running_loop) X(_mend) X(_pin)             \
    X(_row_insert) X(_row_update) X(_transact) X(_transaction) X(_write) X(asyncio) X(cached_statements) X(check_same_thread) X(close)  \
    X(add) X(con) X(current_task) X(delete) X(execute) X(fetch) X(fetchall) X(filename) X(get) X(get_ident) X(lowlevel)     \
    X(in_transaction) X(incr) X(isolation_level) X(items) X(key) X(keys) X(pid) X(put) X(read) X(remove) X(retry) X(set) X(sleep) X(sqlite_errorcode)  \
    X(store) X(threading) X(time) X(timeout) X(trio) X(uri)
/* clang-format on */

/* The classes of sqlite3's exceptions, in the order of `enum sqlite_error`. */
/* clang-format off */
#define STATE_SQLITE_ERRORS(X)                                                                     \
    X(DatabaseError) X(DataError) X(IntegrityError) X(InterfaceError) X(InternalError)             \
    X(OperationalError) X(ProgrammingError)
/* clang-format on */

enum sqlite_error {
#define STATE_ERROR_ENUM(name) SQLITE_ERROR_##name,
    STATE_SQLITE_ERRORS(STATE_ERROR_ENUM)
#undef STATE_ERROR_ENUM
        SQLITE_ERROR_COUNT
};

/* Methods that a subclass, a patch or a replaced Disk may take over (DESIGN 10). Each is a bit in a
 * mask of those that are not the base class's own. */
/* clang-format off */
#define DISK_HOOKS(X)                                                                              \
    X(put, 0) X(get, 1) X(store, 2) X(fetch, 3) X(filename, 4) X(_write, 5) X(remove, 6)
#define CACHE_HOOKS(X)                                                                             \
    X(get, 0) X(set, 1) X(incr, 2) X(_con, 3) X(_row_insert, 4) X(_row_update, 5) X(_cull, 6)      \
    X(__delitem__, 7) X(_transact, 8) X(add, 9) X(delete, 10)
/* clang-format on */

enum { DISK_HOOK_COUNT = 7, CACHE_HOOK_COUNT = 11, HOOK_COUNT_MAX = 11 };

enum disk_hook {
#define DISK_HOOK_BIT(name, index) DISK_HOOK_##name = 1u << (index),
    DISK_HOOKS(DISK_HOOK_BIT)
#undef DISK_HOOK_BIT
        DISK_HOOK_FILES = DISK_HOOK_filename | DISK_HOOK__write,
    DISK_HOOK_ALL = (1u << DISK_HOOK_COUNT) - 1
};
enum cache_hook {
#define CACHE_HOOK_BIT(name, index) CACHE_HOOK_##name = 1u << (index),
    CACHE_HOOKS(CACHE_HOOK_BIT)
#undef CACHE_HOOK_BIT
        CACHE_HOOK_WRITES = CACHE_HOOK__row_insert | CACHE_HOOK__row_update | CACHE_HOOK__cull
};

/* What a class's hooks look like when nobody has changed them. */
typedef struct hook_base {
    int count;
    PyObject *names[HOOK_COUNT_MAX];     /* borrowed from state.name */
    PyObject *originals[HOOK_COUNT_MAX]; /* what the base class has under each name */
} hook_base;

/* Which hooks of one object are changed; part of the object. Valid while its class has `version`. */
typedef struct hook_cache {
    unsigned int version; /* of the class, or 0 */
    unsigned int changed; /* bits: changed on the class */
    unsigned int patched; /* bits: set on the object itself */
} hook_cache;

typedef struct module_state {
    PyTypeObject *disk_type;
    PyTypeObject *cache_type;
    PyTypeObject *transaction_type;
    PyTypeObject *iterator_type;
    PyTypeObject *pin_type;
    PyTypeObject *cachekey_type;

    PyObject *Timeout;
    PyObject *sqlite_errors[SQLITE_ERROR_COUNT];

    PyObject *connect;          /* sqlite3.connect */
    PyObject *cursor_class;     /* sqlite3.Cursor */
    PyObject *time_module;      /* what is used of it is looked up each time: programs patch it */
    PyObject *threading;        /* the module, likewise */
    PyObject *dumps, *loads;    /* of pickle */
    PyObject *optimize;         /* of pickletools: for opcodes that keypickle does not know */
    PyObject *open;             /* of io */
    PyObject *join;             /* of os.path */
    PyObject *getpid, *getcwd;  /* of os */
    PyObject *unknown, *enoval; /* the constants of core.py, registered by it */
    PyObject *find_policy;      /* of core.py: the eviction policy of a user's own, or None */
    PyTypeObject *transaction_class; /* what transact() makes: core.py's subclass */
    PyTypeObject *stored_key_type;   /* of tuples that disk_put takes as (database key, raw) */

    hook_base disk_hooks;
    hook_base cache_hooks;
    signed char
        key_pickling[6]; /* by protocol: 1 native, -1 by pickle, 0 not checked (key_pickle.h) */

    struct {
#define STATE_NAME_MEMBER(name) PyObject *name;
        STATE_NAMES(STATE_NAME_MEMBER)
#undef STATE_NAME_MEMBER
    } name;
} module_state;

/* The state of the module that defined `type` or a base of it (module.c); NULL with TypeError. */
module_state *state_of_type(PyTypeObject *type);

/* The mask of the hooks of `object` that are not the base class's. Costs two comparisons unless the
 * class has changed since the last call. */
unsigned int hooks_refresh(const hook_base *base, hook_cache *cache, PyTypeObject *type);

static inline unsigned int hooks_of(const hook_base *base, hook_cache *cache, PyObject *object)
{
    unsigned int version = compat_type_version(Py_TYPE(object));

    if (version == 0 || version != cache->version) {
        hooks_refresh(base, cache, Py_TYPE(object));
    }
    return cache->changed | cache->patched;
}

/* A directory as an absolute path, by the current directory: whoever keeps it stays where he is. As it is
 * if that cannot be told, or if it is no str or PathLike. New reference, or NULL with an exception. */
PyObject *state_absolute(module_state *state, PyObject *directory);

/* For tp_setattro: set the attribute, and note it if it is a hook. */
int hooks_setattro(const hook_base *base, hook_cache *cache, PyObject *self, PyObject *name,
                   PyObject *value);

#endif
