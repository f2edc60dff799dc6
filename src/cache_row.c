/* cache_row.c: see cache_row.h. */
#include "cache_row.h"

#include <string.h>

#include "args.h"
#include "convert.h"

int read_flags(PyObject *const *values, int count, const int *defaults, int *flags)
{
    for (int i = 0; i < count; i++) {
        flags[i] = args_flag(values[i], defaults[i]);
        if (flags[i] < 0) {
            return -1;
        }
    }
    return 0;
}

PyObject *with_details(module_state *state, PyObject *value, const dc_columns *columns,
                       int expire_time, int tag)
{
    const dc_datum null = {.type = DC_NULL};
    PyObject *expire_object = NULL;
    PyObject *tag_object = NULL;
    PyObject *result = NULL;

    if (value == NULL || (!expire_time && !tag)) {
        return value;
    }
    expire_object = columns != NULL && columns->has_expire_time
                        ? PyFloat_FromDouble(columns->expire_time)
                        : Py_NewRef(Py_None);
    tag_object = convert_from_column(state, columns != NULL ? &columns->tag : &null, "tag");
    if (expire_object != NULL && tag_object != NULL) {
        result = expire_time && tag ? PyTuple_Pack(3, value, expire_object, tag_object)
                 : expire_time      ? PyTuple_Pack(2, value, expire_object)
                                    : PyTuple_Pack(2, value, tag_object);
    }
    Py_XDECREF(tag_object);
    Py_XDECREF(expire_object);
    Py_DECREF(value);
    return result;
}

void raise_key_error(PyObject *key)
{
    PyObject *arguments = PyTuple_Pack(1, key);

    if (arguments != NULL) {
        PyErr_SetObject(PyExc_KeyError, arguments);
        Py_DECREF(arguments);
    }
}

/* Add a note to an exception, as add_note() of Python 3.11 does. */
static int add_note(PyObject *exception, PyObject *note)
{
    PyObject *notes = PyObject_GetAttrString(exception, "__notes__");
    int result = -1;

    if (notes == NULL) {
        PyErr_Clear();
        notes = PyList_New(0);
        if (notes == NULL || PyObject_SetAttrString(exception, "__notes__", notes) < 0) {
            goto done;
        }
    }
    result = PyList_Check(notes) ? PyList_Append(notes, note) : 0;
done:
    Py_XDECREF(notes);
    return result;
}

/* The note of blame_row. New reference, or NULL with an exception. */
static PyObject *describe_row(Cache *self, PyObject *key, const dc_key *stored,
                              const char *filename)
{
    PyObject *shown = key != NULL ? Py_NewRef(key) : disk_get(self->state, self->disk, stored);
    PyObject *note = NULL;

    if (shown == NULL) {
        PyErr_Clear();
        shown = convert_from_datum(&stored->datum);
    }
    if (shown != NULL) {
        note = filename != NULL
                   ? PyUnicode_FromFormat("diskcache: reading the value of key %R, file '%s' in %R",
                                          shown, filename, self->directory)
                   : PyUnicode_FromFormat("diskcache: reading the value of key %R in %R", shown,
                                          self->directory);
        Py_DECREF(shown);
    }
    return note;
}

/* Add the note that `describe` makes to the exception that is set, if it is one that programs handle. */
static void blame(Cache *self, PyObject *(*describe)(Cache *, const void *), const void *context)
{
    compat_exception taken = compat_exception_take();
    PyObject *exception = compat_exception_value(&taken);
    PyObject *note = NULL;

    if (exception != NULL && PyObject_TypeCheck(exception, (PyTypeObject *)PyExc_Exception) &&
        self->path != NULL) {
        note = describe(self, context);
        if (note != NULL) {
            add_note(exception, note);
            Py_DECREF(note);
        }
        PyErr_Clear(); /* what is noted is no reason to fail otherwise */
    }
    compat_exception_put(taken);
}

typedef struct row_to_blame {
    PyObject *key;
    const dc_key *stored;
    const char *filename;
} row_to_blame;

static PyObject *describe_blamed_row(Cache *self, const void *context)
{
    const row_to_blame *row = context;

    return self->disk != NULL ? describe_row(self, row->key, row->stored, row->filename) : NULL;
}

void blame_row(Cache *self, PyObject *key, const dc_key *stored, const char *filename)
{
    const row_to_blame row = {key, stored, filename};

    blame(self, describe_blamed_row, &row);
}

static PyObject *describe_key(Cache *self, const void *key)
{
    if (key == NULL) { /* push() has not made it yet */
        return PyUnicode_FromFormat("diskcache: storing a value in %R", self->path);
    }
    return PyUnicode_FromFormat("diskcache: storing the value of key %R in %R", key, self->path);
}

void blame_key(Cache *self, PyObject *key)
{
    blame(self, describe_key, key);
}

static PyObject *describe_database(Cache *self, const void *is_readonly)
{
    return PyUnicode_FromFormat("diskcache: the database is %S/" DATABASE_NAME "%s", self->path,
                                *(const int *)is_readonly ? ", which this process may not write"
                                                          : "");
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
        blame(self, describe_database, &is_readonly);
    }
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

PyObject *or_none(PyObject *object)
{
    return Py_NewRef(object != NULL ? object : Py_None);
}

dc_status find_row(dc_db *db, void *context)
{
    found *found = context;
    const selection *selection = found->selection;

    switch (selection->kind) {
    case SELECT_QUEUE:
        return dc_store_queue_end(db, &selection->queue, selection->side, &found->row);
    case SELECT_END:
        return dc_store_end(db, selection->last, &found->row);
    case SELECT_NTH:
        return dc_store_nth(db, selection->side, selection->before, &found->row);
    default:
        return dc_store_get(db, selection->key, selection->details, &found->row);
    }
}

int is_alive(Cache *self, selection_kind kind, const dc_columns *columns)
{
    double now;

    if (!columns->has_expire_time) {
        return 1;
    }
    if (convert_now(self->state, &now) < 0) {
        return -1;
    }
    return kind == SELECT_KEY ? dc_columns_alive(columns, now) : !dc_columns_expired(columns, now);
}

typedef struct deletion {
    const dc_row *row;
    dc_namelist *removed;
} deletion;

static dc_status delete_found(dc_db *db, void *context)
{
    const deletion *deletion = context;

    return dc_store_delete(db, deletion->row->rowid, deletion->row->columns.filename,
                           deletion->removed);
}

dc_status delete_if_there(Operation *operation, const dc_row *row)
{
    deletion deletion = {row, &operation->cache->transaction.removed};

    return operation_write(operation, delete_found, &deletion);
}

int delete_row(Operation *operation, dc_row *row)
{
    dc_status status = delete_if_there(operation, row);

    if (status == DC_NOT_FOUND) {
        operation_rollback(operation);
        PyErr_SetString(operation->cache->state->sqlite_errors[SQLITE_ERROR_IntegrityError],
                        "a trigger has kept a row from being deleted");
        return -1;
    }
    return status == DC_OK ? 0 : operation_fail(operation, status);
}

int delete_if_same(Cache *self, found *known, int retry)
{
    Operation operation = {.cache = NULL};
    found now;
    dc_status status;
    int same = 0;
    int result = -1;

    now.selection = known->selection;
    dc_row_init(&now.row);
    if (operation_begin_write(&operation, self, retry) < 0) {
        goto done;
    }
    operation.tells_keys = 1;
    operation_changes_row(&operation, known->selection->kind == SELECT_KEY ? known->selection->key
                                                                           : &known->row.key);
    status = operation_write(&operation, find_row, &now);
    if (status != DC_OK && status != DC_NOT_FOUND) {
        operation_fail(&operation, status);
        goto done;
    }
    same = status == DC_OK && dc_row_same(&known->row, &now.row);
    if (same && delete_row(&operation, &now.row) < 0) {
        goto done;
    }
    result = operation_commit(&operation) < 0 ? -1 : same;
done:
    dc_row_clear(&now.row);
    return result;
}

dc_status locate_row(dc_db *db, void *context)
{
    location *location = context;

    return dc_store_locate(db, location->key, &location->row);
}

int parse_side(PyObject *side, dc_side otherwise, dc_side *out)
{
    *out = otherwise;
    if (side == NULL) {
        return 0;
    }
    if (PyUnicode_Check(side) && PyUnicode_CompareWithASCIIString(side, "front") == 0) {
        *out = DC_FRONT;
        return 0;
    }
    if (PyUnicode_Check(side) && PyUnicode_CompareWithASCIIString(side, "back") == 0) {
        *out = DC_BACK;
        return 0;
    }
    PyErr_Format(PyExc_ValueError, "side must be 'front' or 'back', not %R", side);
    return -1;
}

int parse_queue(PyObject *prefix, dc_queue *queue)
{
    Py_ssize_t size;

    memset(queue, 0, sizeof *queue);
    if (prefix == NULL || prefix == Py_None) {
        return 0;
    }
    if (!PyUnicode_Check(prefix)) {
        PyErr_Format(PyExc_TypeError, "prefix must be str or None, not '%.200s'",
                     Py_TYPE(prefix)->tp_name);
        return -1;
    }
    queue->prefix = PyUnicode_AsUTF8AndSize(prefix, &size);
    if (queue->prefix == NULL) {
        return -1;
    }
    queue->prefix_size = (size_t)size;
    return 0;
}
