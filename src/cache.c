/* cache.c: the Cache type: its attributes, its sessions, and the life of an operation (cache.h). */
#include "cache.h"

#include <math.h>
#include <string.h>

#include "convert.h"

/* Pages in the log from which it is copied into the database: SQLite's own default. */
#define CHECKPOINT_PAGES 1000
/* If readers keep the log from being emptied, the next attempt comes after this many more. */
#define CHECKPOINT_AGAIN_PAGES 250
/* How long a checkpoint may wait for the write lock, where it must have it (db.h). */
#define CHECKPOINT_WAIT_SECONDS 0.05

/* --- readiness -------------------------------------------------------------------------------- */

static int require(PyObject *value, const char *name)
{
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "Cache has no attribute '%s': was __init__ called?",
                     name);
        return -1;
    }
    return 0;
}

/* The parent's open transaction is none of the child's: its files stay, its session is abandoned. */
static void forget_parents_work(Cache *self)
{
    WriteTransaction *transaction = &self->transaction;

    transaction->depth = 0;
    transaction->session = NULL;
    Py_CLEAR(transaction->task);
    dc_namelist_clear(&transaction->added);
    dc_namelist_clear(&transaction->removed);
    session_after_fork(self->state, &self->pool);
}

static inline void notice_fork(Cache *self)
{
    if (self->pool.generation != session_generation()) {
        forget_parents_work(self);
    }
}

int cache_ready_to_open(Cache *self)
{
    notice_fork(self);
    return require(self->directory, "_directory");
}

int cache_ready(Cache *self)
{
    return cache_ready_to_open(self) < 0 || require(self->disk, "_disk") < 0 ? -1 : 0;
}

double cache_timeout(Cache *self)
{
    double seconds = 0.0;

    if (require(self->timeout, "_timeout") < 0 ||
        convert_seconds(self->timeout, "timeout", &seconds) < 0) {
        return -1.0;
    }
    return seconds > 0.0 ? seconds : 0.0;
}

/* --- sessions --------------------------------------------------------------------------------- */

#define DATABASE_NAME "cache.db"

static Session *open_session(Cache *self)
{
    Session *session = NULL;
    double timeout = cache_timeout(self);
    PyObject *path = NULL;

    if (timeout >= 0.0) {
        path = PyObject_CallFunction(self->state->join, "Os", self->directory, DATABASE_NAME);
    }
    if (path != NULL) {
        session = session_open(self->state, &self->pool, path, timeout);
        Py_DECREF(path);
    }
    return session;
}

/* A session that this thread may use now: pinned to it or idle, but never one that is in use, by
 * another asyncio task of the thread or by an operation that a callback of the user's interrupts. */
static Session *find_session(Cache *self)
{
    Session *session = session_pinned(&self->pool);

    if (session == NULL || session->uses > 0) {
        session = session_idle(&self->pool);
    }
    return session != NULL ? session : open_session(self);
}

static Session *take_session(Cache *self)
{
    Session *session;

    if (cache_hooks(self) & CACHE_HOOK__con) {
        PyObject *connection = PyObject_GetAttr((PyObject *)self, self->state->name._con);

        session = connection != NULL ? session_adopt(self->state, &self->pool, connection) : NULL;
        Py_XDECREF(connection);
    } else {
        session = find_session(self);
    }
    if (session != NULL) {
        session_use(session);
        if (session->pinned) {
            dc_db_busy_timeout(&session->db, 0.0); /* waiting is ours while the operation lasts */
        }
    }
    return session;
}

static void return_session(Cache *self, Session *session)
{
    if (session->pinned && session->db.handle != NULL) {
        compat_exception current = compat_exception_take();

        dc_db_busy_timeout(&session->db, cache_timeout(self)); /* a bad timeout waits for nothing */
        PyErr_Clear();
        compat_exception_put(current);
    }
    session_release(&self->pool, session);
    if (session->uses == 0 && session->db.handle != NULL &&
        (session->spoilt || (!session->pinned && session->epoch != self->pool.epoch))) {
        session_discard(self->state, &self->pool, session);
    }
}

/* --- who owns the transaction ----------------------------------------------------------------- */

/* The running asyncio task, or NULL without an exception. New reference. */
static PyObject *running_task(module_state *state)
{
    PyObject *asyncio = PyImport_GetModule(state->name.asyncio);
    PyObject *loop = NULL;
    PyObject *task = NULL;

    if (asyncio != NULL) {
        loop = PyObject_CallMethodNoArgs(asyncio, state->name._get_running_loop);
    }
    if (loop != NULL && loop != Py_None) {
        task = PyObject_CallMethodOneArg(asyncio, state->name.current_task, loop);
    }
    if (task == Py_None) {
        Py_CLEAR(task);
    }
    PyErr_Clear(); /* an asyncio that is only half imported has no task */
    Py_XDECREF(loop);
    Py_XDECREF(asyncio);
    return task;
}

int cache_owns_transaction(Cache *self, int *other_task)
{
    WriteTransaction *transaction = &self->transaction;
    PyObject *task;

    *other_task = 0;
    if (transaction->depth == 0 || transaction->thread != PyThread_get_thread_ident()) {
        return 0;
    }
    if (transaction->task == NULL) {
        return 1;
    }
    task = running_task(self->state);
    *other_task = task != transaction->task;
    Py_XDECREF(task);
    return !*other_task;
}

int cache_claim_for_task(Cache *self)
{
    if (self->transaction.depth == 1) {
        Py_XSETREF(self->transaction.task, running_task(self->state));
    }
    return 0;
}

/* --- reads ------------------------------------------------------------------------------------ */

int operation_begin_read(Operation *operation, Cache *cache)
{
    int other_task;

    operation->cache = cache;
    operation->joined = cache_owns_transaction(cache, &other_task);
    operation->session = operation->joined ? cache->transaction.session : take_session(cache);
    return operation->session != NULL ? 0 : -1;
}

void operation_end_read(Operation *operation)
{
    if (!operation->joined) {
        return_session(operation->cache, operation->session);
    }
}

static void raise_timeout(Cache *self)
{
    PyErr_SetNone(self->state->Timeout);
}

dc_status operation_read(Operation *operation, operation_call call, void *context, int retry)
{
    Session *session = operation->session;
    session_wait wait = {.delay = 0.0};
    dc_status status;
    int again;

    for (;;) {
        session_visit visit = session_enter(session);

        status = call(&session->db, context);
        session_leave(session, visit);
        if (status != DC_BUSY) {
            break;
        }
        if (wait.delay == 0.0) {
            double timeout = cache_timeout(operation->cache);

            if (timeout < 0.0) {
                return DC_CALLBACK;
            }
            session_wait_start(&wait, timeout, retry);
        }
        again = session_wait_more(&wait);
        if (again <= 0) {
            if (again == 0) {
                raise_timeout(operation->cache);
            }
            return DC_CALLBACK;
        }
    }
    if (status != DC_OK && status != DC_NOT_FOUND) {
        convert_raise(operation->cache->state, status, &session->db.error);
        return DC_CALLBACK;
    }
    return status;
}

/* --- writes ----------------------------------------------------------------------------------- */

static dc_status begin_once(Session *session)
{
    session_visit visit = session_enter(session);
    dc_status status = dc_db_begin(&session->db);

    session_leave(session, visit);
    return status;
}

/* Wait for the write lock; the session is not held meanwhile. NULL with an exception. */
static Session *begin_waiting(Cache *self, double timeout, int retry)
{
    session_wait wait;
    dc_status status;
    int again;

    session_wait_start(&wait, timeout, retry);
    for (;;) {
        Session *session = take_session(self);

        if (session == NULL && retry && PyErr_ExceptionMatches(self->state->Timeout)) {
            PyErr_Clear(); /* nor could the file be opened: go on trying that */
            continue;
        }
        if (session == NULL) {
            return NULL;
        }
        status = begin_once(session);
        if (status == DC_OK && self->transaction.depth > 0) {
            /* Only with an overridden `_con` that gives threads different files. */
            dc_db_rollback(&session->db);
            status = DC_BUSY;
        }
        if (status == DC_OK) {
            return session;
        }
        if (status != DC_BUSY) {
            convert_raise(self->state, status, &session->db.error);
            return_session(self, session);
            return NULL;
        }
        return_session(self, session);
        again = session_wait_more(&wait);
        if (again == 0) {
            raise_timeout(self);
        }
        if (again <= 0) {
            return NULL;
        }
    }
}

static int join_transaction(Operation *operation)
{
    WriteTransaction *transaction = &operation->cache->transaction;

    operation->session = transaction->session;
    if (!dc_db_in_transaction(&operation->session->db)) {
        PyErr_SetString(operation->cache->state->sqlite_errors[SQLITE_ERROR_OperationalError],
                        "the transaction has been rolled back");
        return -1;
    }
    transaction->depth++;
    return 0;
}

int operation_begin_write(Operation *operation, Cache *cache, int retry)
{
    WriteTransaction *transaction = &cache->transaction;
    double timeout;
    int other_task;
    int owner = cache_owns_transaction(cache, &other_task);

    operation->cache = cache;
    operation->generation = session_generation();
    operation->joined = owner;
    if (owner) {
        return join_transaction(operation);
    }
    if (other_task) {
        PyErr_SetString(PyExc_RuntimeError,
                        "another asyncio task of this thread has a transaction open on this cache: "
                        "waiting for it here would block both for ever");
        return -1;
    }
    timeout = cache_timeout(cache);
    if (timeout < 0.0) {
        return -1;
    }
    operation->session = begin_waiting(cache, timeout, retry);
    if (operation->session == NULL) {
        return -1;
    }
    transaction->depth = 1;
    transaction->thread = PyThread_get_thread_ident();
    transaction->session = operation->session;
    transaction->serial = ++cache->transaction_serial;
    return 0;
}

int operation_add_file(Operation *operation, const char *filename)
{
    if (filename != NULL && !dc_namelist_add(&operation->cache->transaction.added, filename)) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

dc_status operation_write(Operation *operation, operation_call call, void *context)
{
    Session *session = operation->session;
    /* Hooks run Python between the statements: the GIL stays then. */
    int hooked = (cache_hooks(operation->cache) & CACHE_HOOK_WRITES) != 0;
    session_visit visit;
    dc_status status;

    if (hooked) {
        return call(&session->db, context);
    }
    visit = session_enter(session);
    status = call(&session->db, context);
    session_leave(session, visit);
    return status;
}

/* Take the outermost transaction out of the cache, so that it is nobody's while it ends. */
static WriteTransaction take_transaction(Cache *self)
{
    WriteTransaction taken = self->transaction;

    memset(&self->transaction, 0, sizeof self->transaction);
    return taken;
}

/* Whoever wrote through the Connection has done so by now, unless it is pinned. */
static void end_exposure(Session *session)
{
    dc_forecast *forecast = &session->db.forecast;

    if (forecast->exposed) {
        forecast->known = 0;
        /* A cursor not read to its end keeps a snapshot open: nobody else may get to see that. */
        session->spoilt = !session->pinned && dc_db_has_open_statement(&session->db);
    }
    forecast->exposed = session->pinned;
}

static void clear_transaction(WriteTransaction *transaction)
{
    dc_namelist_clear(&transaction->added);
    dc_namelist_clear(&transaction->removed);
    Py_CLEAR(transaction->task);
}

/* COMMIT, waiting where a reader can be in the way. On failure everything is rolled back. */
static dc_status commit_waiting(Cache *self, Session *session)
{
    session_wait wait = {.delay = 0.0};
    dc_status status;
    int again = 1;

    for (;;) {
        session_visit visit = session_enter(session);

        status = dc_db_commit(&session->db);
        session_leave(session, visit);
        if (status != DC_BUSY) {
            break;
        }
        if (wait.delay == 0.0) {
            double timeout = cache_timeout(self);

            session_wait_start(&wait, timeout, 0);
        }
        again = PyErr_Occurred() ? -1 : session_wait_more(&wait);
        if (again <= 0) {
            dc_db_rollback(&session->db);
            if (again == 0) {
                raise_timeout(self);
            }
            return DC_CALLBACK;
        }
    }
    if (status != DC_OK) {
        convert_raise(self->state, status, &session->db.error);
    }
    return status;
}

static void checkpoint_if_due(Cache *self, int wal_pages);

/* Remove files while an exception may be set, which stays; what goes wrong is reported, not raised. */
static void remove_files_quietly(Cache *self, const dc_namelist *names)
{
    compat_exception current = compat_exception_take();

    if (disk_remove_all(self->state, self->disk, names) < 0) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    compat_exception_put(current);
}

/* Remove the files of rows that are not there after all. */
static void discard_added(Cache *self, Session *session, const dc_namelist *added)
{
    dc_namelist gone = {.memory = NULL};

    for (const char *name = dc_namelist_next(added, NULL); name != NULL;
         name = dc_namelist_next(added, name)) {
        /* A user may have ended the transaction with SQL of his own. What cannot be found out now is
         * left to check(). */
        if (dc_store_names_file(&session->db, name) == DC_NOT_FOUND) {
            dc_namelist_add(&gone, name);
        }
    }
    remove_files_quietly(self, &gone);
    dc_namelist_clear(&gone);
}

/* Whether the process has forked since the operation began, in Python code that it ran. */
static int is_parents(const Operation *operation)
{
    return operation->generation != session_generation();
}

int operation_commit(Operation *operation)
{
    Cache *self = operation->cache;
    WriteTransaction transaction;
    dc_status status;
    int wal_pages;
    int result = 0;

    if (is_parents(operation)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this operation was begun before the process forked: it is the parent's");
        return -1;
    }
    if (self->transaction.depth > 1) {
        self->transaction.depth--;
        return 0;
    }
    transaction = take_transaction(self);
    status = commit_waiting(self, transaction.session);
    wal_pages = transaction.session->db.wal_pages;
    if (status != DC_OK) {
        discard_added(self, transaction.session, &transaction.added);
    }
    end_exposure(transaction.session);
    return_session(self, transaction.session);
    if (status == DC_OK) {
        result = disk_remove_all(self->state, self->disk, &transaction.removed);
        checkpoint_if_due(self, wal_pages);
    } else {
        result = -1;
    }
    clear_transaction(&transaction);
    return result;
}

void operation_rollback(Operation *operation)
{
    Cache *self = operation->cache;
    WriteTransaction transaction;
    session_visit visit;

    if (is_parents(operation)) {
        return;
    }
    if (self->transaction.depth > 1) {
        self->transaction.depth--;
        return;
    }
    transaction = take_transaction(self);
    visit = session_enter(transaction.session);
    dc_db_rollback(&transaction.session->db);
    session_leave(transaction.session, visit);
    discard_added(self, transaction.session, &transaction.added);
    end_exposure(transaction.session);
    return_session(self, transaction.session);
    clear_transaction(&transaction);
}

int operation_fail(Operation *operation, dc_status status)
{
    dc_error error = operation->session->db.error;

    /* First: raising can run a finalizer, which must not join a transaction that is given up. */
    operation_rollback(operation);
    convert_raise(operation->cache->state, status, &error);
    return -1;
}

void cache_discard_file(Cache *self, const char *filename)
{
    dc_namelist one = {.memory = NULL};

    if (dc_namelist_add(&one, filename)) {
        remove_files_quietly(self, &one);
    }
    dc_namelist_clear(&one);
}

/* --- checkpoints ------------------------------------------------------------------------------ */

/* Keep commits out, where this SQLite needs it: with the write lock on a second session. */
static Session *guard_checkpoint(Cache *self)
{
    session_wait wait;
    Session *guard = take_session(self);

    if (guard == NULL) {
        return NULL;
    }
    session_wait_start(&wait, CHECKPOINT_WAIT_SECONDS, 0);
    while (begin_once(guard) != DC_OK) {
        if (session_wait_more(&wait) <= 0) {
            return_session(self, guard);
            return NULL;
        }
    }
    return guard;
}

/* Copy the log into the database, outside of every transaction and without the GIL. It is only
 * housekeeping: what goes wrong here is tried again after a later commit. A pinned or foreign session
 * has the automatic checkpoint off as well, so this serves it too. */
static void checkpoint_if_due(Cache *self, int wal_pages)
{
    compat_exception current;
    Session *session = NULL;
    Session *guard = NULL;
    session_visit visit;
    dc_status status;
    int guarded = dc_sqlite_has_wal_reset_race();
    int left = 0;

    if (wal_pages < CHECKPOINT_PAGES) {
        self->checkpoint_at = CHECKPOINT_PAGES;
        return;
    }
    if (wal_pages < self->checkpoint_at || (cache_hooks(self) & CACHE_HOOK__con)) {
        return;
    }
    current = compat_exception_take();
    guard = guarded ? guard_checkpoint(self) : NULL;
    /* The guard is in use, so this is another one even if the guard is pinned. */
    session = session_idle(&self->pool);
    if (session == NULL && (guard != NULL || !guarded)) {
        session = open_session(self);
    }
    if (session != NULL && (guard != NULL || !guarded)) {
        session_use(session);
        visit = session_enter_slowly();
        status = dc_db_checkpoint(&session->db, &left);
        if (guard != NULL) {
            dc_db_rollback(&guard->db);
        }
        session_leave_slowly(visit);
        session_release(&self->pool, session);
        if (status == DC_OK) {
            self->checkpoint_at = wal_pages + CHECKPOINT_AGAIN_PAGES;
        }
    }
    if (guard != NULL) {
        dc_db_rollback(&guard->db);
        return_session(self, guard);
    }
    PyErr_Clear();
    compat_exception_put(current);
}

/* --- the Connection of a thread ----------------------------------------------------------------- */

/* What `_local` keeps for a session that the thread has pinned, and for a transaction that it has
 * begun: it notices that the thread ends. */
typedef struct Pin {
    PyObject_HEAD
    PyObject *cache;           /* weak reference */
    unsigned long session;     /* serial number, or 0 */
    unsigned long transaction; /* serial number, or 0 */
    unsigned long generation;
} Pin;

static void roll_back_for_ended_thread(Cache *self)
{
    Operation operation = {.cache = self, .session = self->transaction.session};

    operation.generation = session_generation();
    self->transaction.depth = 1;
    operation_rollback(&operation);
}

static void thread_ended(Cache *self, const Pin *pin)
{
    Session *session = self->pool.sessions;

    if (self->transaction.depth > 0 && self->transaction.serial == pin->transaction) {
        roll_back_for_ended_thread(self);
    }
    while (session != NULL && session->serial != pin->session) {
        session = session->next;
    }
    if (session != NULL && session->pinned && session->uses == 0) {
        /* Not into the pool: it may have cursors and pragmas of the thread's own. */
        session_discard(self->state, &self->pool, session);
    }
}

static void Pin_dealloc(Pin *self)
{
    PyTypeObject *type = Py_TYPE(self);
    compat_exception current = compat_exception_take();
    PyObject *cache = self->cache != NULL ? compat_weakref_get(self->cache) : NULL;

    if (cache != NULL && self->generation == session_generation()) {
        thread_ended((Cache *)cache, self);
    }
    Py_XDECREF(cache);
    Py_XDECREF(self->cache);
    compat_exception_put(current);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot Pin_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Gives a session back when the thread that used `_con` ends.")},
    {Py_tp_dealloc, Pin_dealloc},
    {0, NULL},
};

PyType_Spec pin_type_spec = {
    .name = "diskcache._core.Pin",
    .basicsize = sizeof(Pin),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = Pin_slots,
};

static int keep_pin(Cache *self, PyObject *name, unsigned long session, unsigned long transaction)
{
    PyTypeObject *type = self->state->pin_type;
    Pin *pin = (Pin *)type->tp_alloc(type, 0);
    int result = -1;

    if (pin == NULL) {
        return -1;
    }
    pin->session = session;
    pin->transaction = transaction;
    pin->generation = session_generation();
    pin->cache = PyWeakref_NewRef((PyObject *)self, NULL);
    if (pin->cache != NULL) {
        result = PyObject_SetAttr(self->local, name, (PyObject *)pin);
    }
    Py_DECREF(pin);
    return result;
}

int cache_watch_thread(Cache *self)
{
    return self->local == NULL
               ? 0
               : keep_pin(self, self->state->name._transaction, 0, self->transaction.serial);
}

/* Note the pinned session in `_local`, where the original keeps its connection. */
static int publish_connection(Cache *self, Session *session)
{
    module_state *state = self->state;
    PyObject *pid = PyObject_CallNoArgs(state->getpid);
    int result = -1;

    if (pid != NULL && PyObject_SetAttr(self->local, state->name.pid, pid) == 0 &&
        PyObject_SetAttr(self->local, state->name.con, session->connection) == 0) {
        result = keep_pin(self, state->name._pin, session->serial, 0);
    }
    Py_XDECREF(pid);
    return result;
}

PyObject *cache_connection(Cache *self)
{
    Session *session;
    PyObject *connection = NULL;
    int other_task;
    int owner;

    notice_fork(self);
    if (require(self->directory, "_directory") < 0 || require(self->local, "_local") < 0) {
        return NULL;
    }
    owner = cache_owns_transaction(self, &other_task);
    session = owner ? self->transaction.session : find_session(self);
    if (session == NULL) {
        return NULL;
    }
    session_use(session);
    session->db.forecast.exposed = 1;
    if (session->connection == NULL) {
        PyErr_SetString(
            PyExc_RuntimeError,
            "this cache has no sqlite3.Connection: Python's sqlite3 has been replaced by "
            "one with another copy of SQLite");
    } else if (session->pinned || publish_connection(self, session) == 0) {
        session_pin(&self->pool, session);
        connection = Py_NewRef(session->connection);
    }
    return_session(self, session);
    return connection;
}

/* --- attributes ------------------------------------------------------------------------------- */

#define OBJECT_ATTRIBUTE(field, public_name)                                                       \
    static PyObject *Cache_get_##field(Cache *self, void *Py_UNUSED(closure))                      \
    {                                                                                              \
        return require(self->field, public_name) < 0 ? NULL : Py_NewRef(self->field);              \
    }                                                                                              \
    static int Cache_set_##field(Cache *self, PyObject *value, void *Py_UNUSED(closure))           \
    {                                                                                              \
        Py_XSETREF(self->field, Py_XNewRef(value));                                                \
        return 0;                                                                                  \
    }

OBJECT_ATTRIBUTE(directory, "_directory")
OBJECT_ATTRIBUTE(timeout, "_timeout")
OBJECT_ATTRIBUTE(local, "_local")
OBJECT_ATTRIBUTE(disk, "_disk")
OBJECT_ATTRIBUTE(page_size, "_page_size")

/* Sessions on the former directory are not used again. */
static int Cache_assign_directory(Cache *self, PyObject *value, void *closure)
{
    self->pool.epoch++;
    return Cache_set_directory(self, value, closure);
}

static int Cache_assign_disk(Cache *self, PyObject *value, void *closure)
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "_disk cannot be deleted");
        return -1;
    }
    return Cache_set_disk(self, value, closure);
}

static PyObject *Cache_get_txn_id(Cache *self, void *Py_UNUSED(closure))
{
    if (self->transaction.depth > 0 && self->pool.generation == session_generation()) {
        return PyLong_FromUnsignedLong(self->transaction.thread);
    }
    return Py_NewRef(self->txn_id != NULL ? self->txn_id : Py_None);
}

static int Cache_set_txn_id(Cache *self, PyObject *value, void *Py_UNUSED(closure))
{
    Py_XSETREF(self->txn_id, Py_XNewRef(value));
    return 0;
}

static const char *const setting_names[SETTING_COUNT] = {
    [SETTING_EVICTION_POLICY] = "eviction_policy",
    [SETTING_SIZE_LIMIT] = "size_limit",
    [SETTING_CULL_LIMIT] = "cull_limit",
    [SETTING_STATISTICS] = "statistics",
};

static int set_policy(Cache *self, PyObject *value)
{
    const char *name = PyUnicode_Check(value) ? PyUnicode_AsUTF8(value) : "";
    int policy = name != NULL ? dc_policy_find(name) : -1;

    if (policy < 0) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError,
                     "eviction_policy must be 'none', 'least-recently-stored', "
                     "'least-recently-used' or 'least-frequently-used', not %R",
                     value);
        return -1;
    }
    self->rules.policy = (dc_policy)policy;
    return 0;
}

/* A number of bytes or rows: int or float, bounded to 64 bits. */
static int set_number(PyObject *value, const char *name, int64_t *number)
{
    double approximate;

    if (!PyLong_Check(value) && !PyFloat_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s must be a number, not '%.200s'", name,
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    approximate = PyFloat_AsDouble(value);
    if (approximate == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (isnan(approximate)) {
        PyErr_Format(PyExc_ValueError, "%s must not be NaN", name);
        return -1;
    }
    *number = approximate >= 9.2e18    ? INT64_MAX
              : approximate <= -9.2e18 ? INT64_MIN
                                       : (int64_t)approximate;
    return 0;
}

static PyObject *Cache_get_setting(Cache *self, void *closure)
{
    enum cache_setting setting = (enum cache_setting)(intptr_t)closure;
    PyObject *value = self->settings[setting];

    return require(value, setting_names[setting]) < 0 ? NULL : Py_NewRef(value);
}

static int Cache_set_setting(Cache *self, PyObject *value, void *closure)
{
    enum cache_setting setting = (enum cache_setting)(intptr_t)closure;
    int result = 0;

    if (value != NULL) {
        switch (setting) {
        case SETTING_EVICTION_POLICY:
            result = set_policy(self, value);
            break;
        case SETTING_SIZE_LIMIT:
            result = set_number(value, "size_limit", &self->rules.size_limit);
            break;
        case SETTING_CULL_LIMIT:
            result = set_number(value, "cull_limit", &self->rules.cull_limit);
            break;
        default:
            result = self->statistics = PyObject_IsTrue(value);
            break;
        }
    }
    if (result < 0) {
        return -1;
    }
    Py_XSETREF(self->settings[setting], Py_XNewRef(value));
    return 0;
}

/* clang-format off */
#define SETTING_ATTRIBUTE(name, setting, doc)                                                      \
    {name, (getter)Cache_get_setting, (setter)Cache_set_setting, PyDoc_STR(doc),                   \
     (void *)(intptr_t)(setting)}
/* clang-format on */

static PyGetSetDef Cache_getset[] = {
    {"_directory", (getter)Cache_get_directory, (setter)Cache_assign_directory,
     PyDoc_STR("directory of the cache"), NULL},
    {"_timeout", (getter)Cache_get_timeout, (setter)Cache_set_timeout,
     PyDoc_STR("seconds to wait for a lock"), NULL},
    {"_local", (getter)Cache_get_local, (setter)Cache_set_local,
     PyDoc_STR("threading.local with the thread's connection, once it has asked for it"), NULL},
    {"_disk", (getter)Cache_get_disk, (setter)Cache_assign_disk,
     PyDoc_STR("the Disk that converts keys and values"), NULL},
    {"_page_size", (getter)Cache_get_page_size, (setter)Cache_set_page_size,
     PyDoc_STR("bytes in a page of the database"), NULL},
    {"_txn_id", (getter)Cache_get_txn_id, (setter)Cache_set_txn_id,
     PyDoc_STR("identifier of the thread that has a transaction open, or None"), NULL},
    SETTING_ATTRIBUTE("eviction_policy", SETTING_EVICTION_POLICY,
                      "which rows a cull removes first"),
    SETTING_ATTRIBUTE("size_limit", SETTING_SIZE_LIMIT, "bytes above which writes cull"),
    SETTING_ATTRIBUTE("cull_limit", SETTING_CULL_LIMIT,
                      "rows that one write removes at most; 0: writes do not cull"),
    SETTING_ATTRIBUTE("statistics", SETTING_STATISTICS, "whether hits and misses are counted"),
    {NULL, NULL, NULL, NULL, NULL},
};

/* --- the type --------------------------------------------------------------------------------- */

static PyObject *Cache_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
                           PyObject *Py_UNUSED(kwargs))
{
    module_state *state = state_of_type(type);
    Cache *self = state != NULL ? (Cache *)type->tp_alloc(type, 0) : NULL;

    if (self != NULL) {
        self->state = state;
        self->pool.generation = session_generation();
        self->rules.policy = DC_POLICY_LEAST_RECENTLY_STORED;
        self->rules.size_limit = INT64_MAX;
        self->checkpoint_at = CHECKPOINT_PAGES;
    }
    return (PyObject *)self;
}

static int Cache_traverse(Cache *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->directory);
    Py_VISIT(self->timeout);
    Py_VISIT(self->local);
    Py_VISIT(self->disk);
    Py_VISIT(self->page_size);
    Py_VISIT(self->txn_id);
    Py_VISIT(self->transaction.task);
    for (int i = 0; i < SETTING_COUNT; i++) {
        Py_VISIT(self->settings[i]);
    }
    for (Session *session = self->pool.sessions; session != NULL; session = session->next) {
        Py_VISIT(session->connection);
    }
    return 0;
}

static int Cache_clear_references(Cache *self)
{
    Py_CLEAR(self->directory);
    Py_CLEAR(self->timeout);
    Py_CLEAR(self->local);
    Py_CLEAR(self->disk);
    Py_CLEAR(self->page_size);
    Py_CLEAR(self->txn_id);
    Py_CLEAR(self->transaction.task);
    for (int i = 0; i < SETTING_COUNT; i++) {
        Py_CLEAR(self->settings[i]);
    }
    return 0;
}

/* Roll back what is open and close everything, while Python may still be called. */
static void Cache_finalize(Cache *self)
{
    compat_exception current = compat_exception_take();

    notice_fork(self);
    if (self->transaction.depth > 0 && self->disk != NULL) {
        roll_back_for_ended_thread(self);
    }
    session_close_all(self->state, &self->pool);
    compat_exception_put(current);
}

static void Cache_dealloc(Cache *self)
{
    PyTypeObject *type = Py_TYPE(self);

    if (PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return;
    }
    PyObject_GC_UnTrack(self);
    if (self->pool.sessions != NULL) { /* used again by a finalizer in the same cycle */
        compat_exception current = compat_exception_take();

        session_close_all(self->state, &self->pool);
        compat_exception_put(current);
    }
    if (self->weak_references != NULL) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    Cache_clear_references(self);
    clear_transaction(&self->transaction);
    type->tp_free(self);
    Py_DECREF(type);
}

static int Cache_setattro(Cache *self, PyObject *name, PyObject *value)
{
    return hooks_setattro(&self->state->cache_hooks, &self->hooks, (PyObject *)self, name, value);
}

static PyMemberDef Cache_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Cache, weak_references), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot Cache_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("The native part of diskcache.Cache.")},
    {Py_tp_new, Cache_new},
    {Py_tp_finalize, Cache_finalize},
    {Py_tp_dealloc, Cache_dealloc},
    {Py_tp_traverse, Cache_traverse},
    {Py_tp_clear, Cache_clear_references},
    {Py_tp_setattro, Cache_setattro},
    {Py_tp_getset, Cache_getset},
    {Py_tp_members, Cache_members},
    {Py_tp_methods, cache_methods},
    {Py_tp_iter, cache_iterate},
    {Py_mp_subscript, cache_subscript},
    {Py_mp_ass_subscript, cache_assign_subscript},
    {Py_mp_length, cache_length},
    {Py_sq_contains, cache_contains},
    {0, NULL},
};

PyType_Spec cache_type_spec = {
    .name = "diskcache._core.Cache",
    .basicsize = sizeof(Cache),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = Cache_slots,
};
