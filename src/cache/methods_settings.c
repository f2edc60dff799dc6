/* methods_settings.c: reading and changing the stored settings and counters, and what __init__ and check()
 * need to know of a directory. Thin: the rules for settings are in settings.py, what is wrong says check.py.
 */
#include "cache/methods.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/access.h"
#include "cache/checkpointer.h"
#include "cache/errors.h"
#include "cache/lookup.h"
#include "cache/mending.h"
#include "cache/operation.h"
#include "engine/compare.h"
#include "engine/settings.h"
#include "engine/survey.h"
#include "engine/volume.h"
#include "python/convert.h"
#include "python/wait.h"

static int keep_counter(Cache *self, enum cache_metadata name, int64_t counter)
{
    PyObject *metadata = PyLong_FromLongLong(counter);

    if (metadata == NULL) {
        return -1;
    }
    Py_XSETREF(self->metadata[name], metadata);
    return 0;
}

/* Read the size, and keep it as an attribute; the volume too, unless that is NULL. -1 with an exception. */
static int read_size(Cache *self, int64_t *volume)
{
    Operation operation = {.cache = NULL};
    int64_t size = 0;
    dc_status status;

    if (cache_ready(self) < 0 || operation_begin_read(&operation, self) < 0) {
        return -1;
    }
    do {
        dc_db *db = operation_enter(&operation);

        status = dc_setting_get_integer(db, "size", &size);
        if (volume != NULL && (status == DC_OK || status == DC_NOT_FOUND)) {
            status = dc_volume(db, 1, volume);
        }
    } while (operation_leave_read(&operation, &status));
    operation_end_read(&operation);
    if (status == DC_CALLBACK || keep_counter(self, METADATA_SIZE, size) < 0) {
        return -1;
    }
    self->size_is_due = 0;
    return 0;
}

int cache_renew_size(Cache *self)
{
    return self->size_is_due ? read_size(self, NULL) : 0;
}

Py_ssize_t cache_length(Cache *self)
{
    int64_t count = 0;
    int failures = 0;
    int result;

    do {
        result = cache_ready(self) < 0 || lookup_count(self, &count) < 0 ||
                         keep_counter(self, METADATA_COUNT, count) < 0
                     ? -1
                     : 0;
    } while (result < 0 && cache_has_healed(self, NULL, NULL, &failures));
    return result < 0 ? -1 : (Py_ssize_t)(count > 0 ? count : 0);
}

PyObject *Cache_volume(Cache *self)
{
    int64_t volume = 0;

    return read_size(self, &volume) < 0 ? NULL : PyLong_FromLongLong(volume);
}

PyObject *Cache__setting(Cache *self, const Cache__setting_args *args)
{
    Operation operation = {.cache = NULL};
    const char *text = PyUnicode_AsUTF8(args->name);
    dc_row row;
    PyObject *value = NULL;
    dc_status status;

    if (text == NULL || cache_ready_to_open(self) < 0 ||
        cache_flush_access_log(self, DBL_MAX) < 0) {
        return NULL;
    }
    if (operation_begin_read(&operation, self) < 0) {
        return NULL;
    }
    dc_row_init(&row);
    do {
        status = dc_setting_get(operation_enter(&operation), text, &row);
    } while (operation_leave_read(&operation, &status));
    operation_end_read(&operation);
    if (status == DC_OK) {
        value = convert_from_column(self->state, &row.columns.value, "setting");
    } else if (status == DC_NOT_FOUND) {
        raise_key_error(args->name);
    }
    dc_row_clear(&row);
    return value;
}

typedef struct applying {
    PyObject *statements; /* tuple of str */
    PyObject *settings;   /* dict of str to what SQLite stores */
    PyObject *defaults;
} applying;

/* Store a dict of settings. Its values were made for the purpose, so converting them runs no code. */
static dc_status store_settings(dc_db *db, dc_sql sql, PyObject *settings)
{
    PyObject *name, *value;
    Py_ssize_t position = 0;
    dc_status status = DC_OK;

    while (status == DC_OK && PyDict_Next(settings, &position, &name, &value)) {
        const char *text = PyUnicode_AsUTF8(name);
        PyObject *owner = NULL;
        dc_datum datum;

        if (text == NULL || convert_to_datum(value, text, &datum, &owner) < 0) {
            return DC_CALLBACK;
        }
        status = dc_setting_set(db, sql, text, &datum);
        Py_XDECREF(owner);
    }
    return status;
}

static dc_status apply(dc_db *db, const applying *applying)
{
    dc_status status = DC_OK;

    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(applying->statements) && status == DC_OK; i++) {
        const char *sql = PyUnicode_AsUTF8(PyTuple_GET_ITEM(applying->statements, i));

        status = sql != NULL ? dc_db_execute(db, sql) : DC_CALLBACK;
    }
    if (status == DC_OK) {
        status = store_settings(db, DC_SQL_SETTING_REPLACE, applying->settings);
    }
    return status == DC_OK ? store_settings(db, DC_SQL_SETTING_DEFAULT, applying->defaults)
                           : status;
}

PyObject *Cache__apply(Cache *self, const Cache__apply_args *args)
{
    Operation operation = {.cache = NULL};
    applying applying = {.statements = NULL};
    PyObject *result = NULL;
    dc_status status;

    if (!PyDict_CheckExact(args->settings) || !PyDict_CheckExact(args->defaults)) {
        PyErr_SetString(PyExc_TypeError, "_apply() takes statements and two dicts");
        return NULL;
    }
    applying.statements = PySequence_Tuple(args->statements);
    applying.settings = args->settings;
    applying.defaults = args->defaults;
    if (applying.statements != NULL && cache_ready_to_open(self) == 0 &&
        operation_begin_write(&operation, self, 0) == 0) {
        /* With the GIL, since it reads Python objects. */
        status = apply(&operation.session->db, &applying);
        if (status != DC_OK) {
            operation_fail(&operation, status);
        } else if (operation_commit(&operation) == 0) {
            result = Py_NewRef(Py_None);
        }
    }
    Py_XDECREF(applying.statements);
    return result;
}

/* How long a change of a setting waits for the lock, whatever the timeout: as long as the original's. */
#define SETTING_SECONDS 60.0

/* One of the settings is the number of rows, which memory may know. */
static Written written_setting(const char *name)
{
    return (Written){.kind = strcmp(name, "count") == 0 ? WRITTEN_ALL : WRITTEN_NOTHING};
}

PyObject *Cache__update_setting(Cache *self, const Cache__update_setting_args *args)
{
    Operation operation = {.cache = NULL};
    const char *name = PyUnicode_AsUTF8(args->name);
    dc_datum value;
    PyObject *owner = NULL;
    PyObject *result = NULL;
    dc_status status;

    if (name != NULL && cache_ready_to_open(self) == 0 &&
        convert_to_datum(args->value, name, &value, &owner) == 0 &&
        operation_begin_write_within(&operation, self, SETTING_SECONDS, 0) == 0) {
        status = dc_setting_set(operation_enter(&operation), DC_SQL_SETTING_UPDATE, name, &value);
        operation_leave_write(&operation, written_setting(name));
        if (status != DC_OK) {
            operation_fail(&operation, status);
        } else if (operation_commit(&operation) == 0) {
            result = Py_NewRef(Py_None);
        }
    }
    Py_XDECREF(owner);
    return result;
}

PyObject *Cache__set_pragma(Cache *self, const Cache__set_pragma_args *args)
{
    Operation operation = {.cache = NULL};
    const char *name = PyUnicode_AsUTF8(args->name);
    dc_datum value;
    PyObject *owner = NULL;
    PyObject *result = NULL;
    dc_status status = DC_CALLBACK;

    if (name == NULL || cache_ready_to_open(self) < 0 ||
        convert_to_datum(args->value, name, &value, &owner) < 0) {
        goto done;
    }
    checkpoint_finish(self);
    if (operation_begin_read(&operation, self) < 0) {
        goto done;
    }
    session_withdraw_header(operation.session); /* another journal would unmap it */
    do {
        status = dc_db_set_pragma(operation_enter(&operation), name, &value);
    } while (operation_leave_read(&operation, &status));
    if (status == DC_OK) {
        pool_examine(&self->pool, operation.session);
    }
    pool_discard_idle(self->state, &self->pool, 0);
    operation_end_read(&operation);
    if (status == DC_OK) {
        result = Py_NewRef(Py_None);
    } else if (PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Format(PyExc_ValueError, "sqlite_%U: %R cannot be set as a pragma", args->name,
                     args->value);
    }
done:
    Py_XDECREF(owner);
    return result;
}

PyObject *Cache__require_writable(Cache *self)
{
    return cache_refuse_write(self) < 0 ? NULL : Py_NewRef(Py_None);
}

/* An object for a datum; bytes for a text that is not UTF-8, which nobody has stored as a setting. */
static PyObject *collect_datum(const dc_datum *datum)
{
    dc_datum bytes = *datum;

    if (datum->type == DC_TEXT && !dc_text_is_utf8(datum->as.bytes.data, datum->as.bytes.size)) {
        bytes.type = DC_BLOB;
    }
    return convert_from_datum(&bytes);
}

/* Put one row into a dict, first column to second. Neither runs Python code: keys are str or bytes, and
 * nothing that the garbage collector tracks is made. */
static dc_status collect_row(void *context, const dc_datum *first, const dc_datum *second)
{
    PyObject *key = collect_datum(first);
    PyObject *value = collect_datum(second);
    dc_status status = DC_CALLBACK;

    if (key != NULL && value != NULL && PyDict_SetItem(context, key, value) == 0) {
        status = DC_OK;
    }
    Py_XDECREF(value);
    Py_XDECREF(key);
    return status;
}

/* The rows of a query as a dict, empty if a table is missing. The GIL stays. */
static PyObject *collect_rows(Cache *self, Operation *operation, const char *sql)
{
    dc_db *db = &operation->session->db;
    double timeout = cache_timeout(self);
    PyObject *rows = timeout < 0.0 ? NULL : PyDict_New();
    lock_wait wait;
    dc_status status;
    int again = 1;

    if (rows == NULL) {
        return NULL;
    }
    wait_start(&wait, timeout, 0);
    do {
        PyDict_Clear(rows);
        status = dc_db_query(db, sql, collect_row, rows);
    } while (status == DC_BUSY && (again = wait_more(&wait)) > 0);
    if (status == DC_SQLITE && (db->error.sqlite_code & 0xff) == DC_SQLITE_ERROR) {
        status = DC_OK; /* no such table */
    }
    if (status == DC_BUSY && again == 0) {
        cache_raise_timeout(self);
    } else if (status != DC_OK && again > 0) {
        convert_raise(self->state, status, &db->error);
        blame_database(self);
    }
    if (status != DC_OK) {
        Py_CLEAR(rows);
    }
    return rows;
}

PyObject *Cache__inspect(Cache *self)
{
    Operation operation = {.cache = NULL};
    PyObject *settings = NULL;
    PyObject *schema = NULL;
    PyObject *page_size = NULL;
    PyObject *result = NULL;

    if (cache_ready_to_open(self) < 0 || operation_begin_read(&operation, self) < 0) {
        return NULL;
    }
    settings = collect_rows(self, &operation, DC_SELECT_SETTINGS);
    if (settings != NULL) {
        schema = collect_rows(self, &operation, DC_SELECT_SCHEMA);
    }
    if (schema != NULL) {
        page_size = collect_rows(self, &operation, dc_sql_text[DC_SQL_PAGE_SIZE]);
    }
    operation_end_read(&operation);
    if (page_size != NULL) {
        PyObject *size = NULL;
        Py_ssize_t position = 0;

        if (PyDict_Next(page_size, &position, &size, NULL)) {
            result = PyTuple_Pack(3, settings, schema, size);
        }
    }
    Py_XDECREF(page_size);
    Py_XDECREF(schema);
    Py_XDECREF(settings);
    return result;
}

/* --- check ------------------------------------------------------------------------------------- */

/* Rows of which a column has a text that is not UTF-8: the context of an engine call. */
typedef struct damaged_texts {
    int64_t *rowids; /* owned */
    size_t count, room;
} damaged_texts;

static dc_status note_damaged(void *context, const dc_datum *rowid, const dc_datum *text)
{
    damaged_texts *damaged = context;

    if (dc_text_is_utf8(text->as.bytes.data, text->as.bytes.size)) {
        return DC_OK;
    }
    if (damaged->count == damaged->room) {
        size_t room = 2 * damaged->room + 16;
        int64_t *rowids = realloc(damaged->rowids, room * sizeof *rowids);

        if (rowids == NULL) {
            return DC_NO_MEMORY;
        }
        damaged->rowids = rowids;
        damaged->room = room;
    }
    damaged->rowids[damaged->count++] = rowid->as.integer;
    return DC_OK;
}

/* Write the query for the texts of a column in a range of rows; -1 with an exception. */
static int select_texts(const Cache__damaged_texts_args *args, char *select, size_t size)
{
    static const struct {
        const char *name;
        const char *sql;
    } columns[] = {{"key", DC_SELECT_TEXTS("key")},
                   {"value", DC_SELECT_TEXTS("value")},
                   {"tag", DC_SELECT_TEXTS("tag")}};
    int64_t low = PyLong_AsLongLong(args->low);
    int64_t high = PyErr_Occurred() == NULL ? PyLong_AsLongLong(args->high) : 0;

    if (PyErr_Occurred() != NULL) {
        return -1;
    }
    for (size_t i = 0; PyUnicode_Check(args->column) && i < sizeof columns / sizeof *columns; i++) {
        if (PyUnicode_CompareWithASCIIString(args->column, columns[i].name) == 0) {
            snprintf(select, size, columns[i].sql, low, high);
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError, "column must be key, value or tag, not %R", args->column);
    return -1;
}

PyObject *Cache__damaged_texts(Cache *self, const Cache__damaged_texts_args *args)
{
    damaged_texts damaged = {.rowids = NULL};
    Operation operation = {.cache = NULL};
    char select[sizeof DC_SELECT_TEXTS("value") + 2 * 20];
    PyObject *rowids = NULL;
    dc_status status;

    if (select_texts(args, select, sizeof select) < 0 || cache_ready(self) < 0 ||
        operation_begin_read(&operation, self) < 0) {
        return NULL;
    }
    operation.release_gil = 1;
    do {
        damaged.count = 0;
        status = dc_db_query(operation_enter(&operation), select, note_damaged, &damaged);
    } while (operation_leave_read(&operation, &status));
    operation_end_read(&operation);
    rowids = status == DC_OK ? PyList_New((Py_ssize_t)damaged.count) : NULL;
    for (size_t i = 0; rowids != NULL && i < damaged.count; i++) {
        PyObject *rowid = PyLong_FromLongLong(damaged.rowids[i]);

        if (rowid == NULL) {
            Py_CLEAR(rowids);
        } else {
            PyList_SET_ITEM(rowids, (Py_ssize_t)i, rowid);
        }
    }
    free(damaged.rowids);
    return rowids;
}

PyObject *Cache__survey(Cache *self, const Cache__survey_args *args)
{
    Operation operation = {.cache = NULL};
    dc_survey survey = {.rows = 0};
    int64_t low = PyLong_AsLongLong(args->low);
    int64_t limit = PyErr_Occurred() == NULL ? PyLong_AsLongLong(args->limit) : 0;
    dc_status status;

    if (PyErr_Occurred() != NULL || cache_ready(self) < 0 ||
        operation_begin_read(&operation, self) < 0) {
        return NULL;
    }
    operation.release_gil = 1;
    do {
        status = dc_survey_rows(operation_enter(&operation), low, limit, &survey);
    } while (operation_leave_read(&operation, &status));
    operation_end_read(&operation);
    if (status != DC_OK) {
        return NULL;
    }
    return Py_BuildValue("LLNiN", (long long)survey.last, (long long)survey.rows,
                         PyBool_FromLong(survey.is_last), survey.kinds,
                         PyBool_FromLong(survey.counted));
}

PyObject *Cache__compare(Cache *self, const Cache__compare_args *args)
{
    Operation operation = {.cache = NULL};
    const char *select = PyUnicode_AsUTF8(args->select);
    int64_t result = 0;
    dc_status status;

    if (select == NULL || cache_ready(self) < 0 || operation_begin_read(&operation, self) < 0) {
        return NULL;
    }
    operation.release_gil = 1;
    do {
        status = dc_compare(operation_enter(&operation), select, &result);
    } while (operation_leave_read(&operation, &status));
    operation_end_read(&operation);
    return status == DC_OK ? PyBool_FromLong(result != 0) : NULL;
}
