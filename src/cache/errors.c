/* errors.c: see errors.h. */
#include "cache/errors.h"

#include "cache/registry.h"
#include "python/blame.h"
#include "python/convert.h"

/* --- what every method asks first --------------------------------------------------------------- */

int cache_require(PyObject *value, const char *name)
{
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "Cache has no attribute '%s': was __init__ called?",
                     name);
        return -1;
    }
    return 0;
}

int cache_ready_to_open(Cache *self)
{
    cache_notice_fork(self);
    return cache_require(self->directory, "_directory");
}

int cache_ready(Cache *self)
{
    return cache_ready_to_open(self) < 0 || cache_require(self->disk, "_disk") < 0 ? -1 : 0;
}

double cache_timeout(Cache *self)
{
    PyObject *timeout = Py_XNewRef(self->timeout); /* converting it may run Python */
    double seconds = -1.0;

    if (cache_require(timeout, "_timeout") == 0 &&
        convert_seconds(timeout, "timeout", &seconds) == 0) {
        seconds = seconds > 0.0 ? seconds : 0.0;
    } else {
        seconds = -1.0;
    }
    Py_XDECREF(timeout);
    return seconds;
}

/* --- exceptions --------------------------------------------------------------------------------- */

int cache_refuse_write(Cache *self)
{
    dc_error error = {.sqlite_code = DC_SQLITE_READONLY};
    const char *path = NULL;

    if (!self->read_only) {
        return 0;
    }
    if (self->path != NULL) {
        path = PyUnicode_AsUTF8(self->path);
    }
    if (path == NULL) {
        PyErr_Clear(); /* one that is not UTF-8 is in the note */
    }
    dc_error_set(&error, DC_SQLITE, "attempt to write a readonly database: %s is opened read-only",
                 path != NULL ? path : "the cache");
    error.sqlite_code = DC_SQLITE_READONLY;
    convert_raise(self->state, DC_SQLITE, &error);
    if (self->read_only == READ_ONLY_UNWRITABLE) {
        blame_database(self);
    }
    return -1;
}

void raise_key_error(PyObject *key)
{
    PyObject *arguments = PyTuple_Pack(1, key);

    if (arguments != NULL) {
        PyErr_SetObject(PyExc_KeyError, arguments);
        Py_DECREF(arguments);
    }
}

/* Whether this thread has a transaction open on the directory through another Cache. */
static int thread_blocks_itself(Cache *self)
{
    PyObject *path = Py_NewRef(self->path);
    cache_list list;
    int blocks = 0;

    if (cache_list_take(&list, self->state) < 0) {
        PyErr_Clear();
    }
    for (size_t i = 0; i < list.count && !blocks; i++) {
        Cache *cache = (Cache *)list.references[i];

        GUARD_BEGIN(cache)
        blocks = cache != self && cache->transaction.depth > 0 &&
                 cache->transaction.thread == PyThread_get_thread_ident() && cache->path != NULL &&
                 PyUnicode_CheckExact(cache->path) && PyUnicode_CheckExact(path) &&
                 PyUnicode_Compare(cache->path, path) == 0;
        GUARD_END()
    }
    cache_list_clear(&list);
    Py_DECREF(path);
    return blocks;
}

void cache_raise_timeout(Cache *self)
{
    PyObject *error = PyObject_CallNoArgs(self->state->Timeout);
    PyObject *message = NULL;
    /* First: where there is no GIL it lets others in, who may delete the attributes. */
    int blocks = error != NULL && self->path != NULL && thread_blocks_itself(self);

    if (error != NULL && self->path != NULL && self->timeout != NULL) {
        message = PyUnicode_FromFormat(
            "%S: the lock could not be had within %S seconds%s", self->path, self->timeout,
            blocks ? ": this very thread has it, in a transaction of another object" : "");
        if (message != NULL && PyObject_SetAttrString(error, "message", message) == 0) {
            PyErr_SetObject(self->state->Timeout, error);
        }
        Py_XDECREF(message);
    } else if (error != NULL) {
        PyErr_SetObject(self->state->Timeout, error);
    }
    Py_XDECREF(error);
}

void raise_timeout_after(int64_t count)
{
    compat_exception taken = compat_exception_take();
    PyObject *error = compat_exception_value(&taken);
    PyObject *arguments = error != NULL ? Py_BuildValue("(L)", (long long)count) : NULL;

    if (arguments != NULL) {
        PyObject_SetAttrString(error, "args", arguments);
        Py_DECREF(arguments);
    }
    PyErr_Clear();
    compat_exception_put(taken);
}

int cache_end_housekeeping(module_state *state, compat_exception current)
{
    if (PyErr_Occurred() &&
        (PyErr_ExceptionMatches(state->Timeout) || PyErr_ExceptionMatches(PyExc_OSError) ||
         PyErr_ExceptionMatches(PyExc_MemoryError) ||
         PyErr_ExceptionMatches(state->sqlite_errors[SQLITE_ERROR_DatabaseError]) ||
         PyErr_ExceptionMatches(state->sqlite_errors[SQLITE_ERROR_InterfaceError]))) {
        PyErr_Clear();
    }
    if (!compat_exception_is_none(&current)) {
        PyErr_Clear();
        compat_exception_put(current);
    }
    return PyErr_Occurred() ? -1 : 0;
}

/* Ask a method of unloadable.py's kind, with the exception that is set, whether it counts: then it is cleared. */
static int is_passed_over(Cache *self, PyObject *method)
{
    compat_exception raised = compat_exception_take();
    PyObject *answer =
        PyObject_CallMethodOneArg((PyObject *)self, method, compat_exception_value(&raised));
    int passed = answer != NULL ? PyObject_IsTrue(answer) : -1;

    Py_XDECREF(answer);
    if (passed == 0) {
        compat_exception_put(raised);
    } else {
        compat_exception_drop(raised);
    }
    return passed > 0;
}

int cache_passes_over(Cache *self, enum on_error level)
{
    return self->on_error >= level && PyErr_ExceptionMatches(PyExc_Exception) &&
           is_passed_over(self, self->state->name._pass_over);
}

int is_malformed(Cache *self)
{
    compat_exception raised;
    int code = -1;

    if (PyErr_ExceptionMatches(self->state->sqlite_errors[SQLITE_ERROR_DatabaseError])) {
        raised = compat_exception_take();
        code = convert_sqlite_code(self->state, compat_exception_value(&raised));
        compat_exception_put(raised);
    }
    return says_malformed(code);
}

int cache_misses_malformed(Cache *self, enum on_error level)
{
    return self->on_error >= level && !cache_resets(self) && is_malformed(self) &&
           is_passed_over(self, self->state->name._log_failure);
}

/* --- notes that say where ----------------------------------------------------------------------- */

/* A key as a note shows it: `key` itself, or what is stored of it. New reference, or NULL with an exception. */
static PyObject *show_key(Cache *self, PyObject *key, const dc_key *stored)
{
    disk_key encoded = {.owner = NULL};
    PyObject *object = NULL;
    PyObject *shown;

    if (key != NULL && Py_TYPE(key) != self->state->stored_key_type) {
        return blame_shown(key);
    }
    if (key != NULL) {
        if (disk_put(self->state, self->disk, key, &encoded) < 0) {
            return NULL;
        }
        stored = &encoded.key;
    }
    object = disk_get(self->state, self->disk, stored);
    if (object == NULL) {
        PyErr_Clear();
        object = convert_from_datum(&stored->datum);
    }
    shown = object != NULL ? blame_shown(object) : NULL;
    Py_XDECREF(object);
    disk_key_clear(&encoded);
    return shown;
}

int cache_note_refusal(Cache *self, PyObject *key, const dc_key *stored)
{
    compat_exception taken = compat_exception_take();
    PyObject *error = Py_XNewRef(compat_exception_value(&taken));
    PyObject *named = key != NULL ? Py_NewRef(key) : convert_from_datum(&stored->datum);
    PyObject *result = NULL;

    compat_exception_put(taken);
    PyErr_Clear();
    if (error != NULL && named != NULL) {
        result = PyObject_CallMethodObjArgs((PyObject *)self, self->state->name._note_refusal,
                                            named, error, NULL);
    }
    Py_XDECREF(result);
    Py_XDECREF(named);
    Py_XDECREF(error);
    return result != NULL ? 0 : -1;
}

typedef struct row_to_blame {
    PyObject *key;
    const dc_key *stored;
    const char *filename;
} row_to_blame;

static PyObject *describe_row(void *subject, const void *context)
{
    Cache *self = subject;
    const row_to_blame *row = context;
    PyObject *shown = NULL;
    PyObject *disk = NULL;
    PyObject *note = NULL;

    if (self->path != NULL && self->disk != NULL) {
        shown = show_key(self, row->key, row->stored);
        disk = shown != NULL ? blame_disk(self->disk) : NULL;
    }
    if (disk != NULL) {
        note = row->filename != NULL
                   ? PyUnicode_FromFormat(BLAME_READING "value of key %U, file '%s' in %R%U", shown,
                                          row->filename, self->directory, disk)
                   : PyUnicode_FromFormat(BLAME_READING "value of key %U in %R%U", shown,
                                          self->directory, disk);
    }
    Py_XDECREF(disk);
    Py_XDECREF(shown);
    return note;
}

void blame_row(Cache *self, PyObject *key, const dc_key *stored, const char *filename)
{
    const row_to_blame row = {key, stored, filename};

    blame(describe_row, self, &row);
}

static PyObject *describe_key(void *subject, const void *key)
{
    Cache *self = subject;
    PyObject *shown = NULL;
    PyObject *note = NULL;

    if (self->path == NULL || self->disk == NULL) {
        return NULL;
    }
    if (key == NULL) {
        return PyUnicode_FromFormat("diskcache: storing a value in %R", self->path);
    }
    shown = show_key(self, (PyObject *)key, NULL);
    if (shown != NULL) {
        note =
            PyUnicode_FromFormat("diskcache: storing the value of key %U in %R", shown, self->path);
        Py_DECREF(shown);
    }
    return note;
}

void blame_key(Cache *self, PyObject *key)
{
    blame(describe_key, self, key);
}

static PyObject *describe_database(void *subject, const void *is_readonly)
{
    Cache *self = subject;

    return self->path == NULL
               ? NULL
               : PyUnicode_FromFormat(
                     "diskcache: the database is %S/" DC_DATABASE_NAME "%s", self->path,
                     *(const int *)is_readonly ? ", which this process may not write" : "");
}

void blame_database(Cache *self)
{
    PyObject *errors = self->state->sqlite_errors[SQLITE_ERROR_DatabaseError];
    compat_exception raised;
    int is_readonly;

    if (PyErr_Occurred() && PyErr_ExceptionMatches(errors)) {
        raised = compat_exception_take();
        is_readonly = convert_sqlite_code(self->state, compat_exception_value(&raised)) ==
                      DC_SQLITE_READONLY;
        compat_exception_put(raised);
        blame(describe_database, self, &is_readonly);
    }
}
