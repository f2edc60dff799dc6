/* row.c: see row.h. */
#include "cache/row.h"

#include <string.h>

#include "cache/errors.h"
#include "engine/queue.h"
#include "engine/rows.h"
#include "engine/scan.h"
#include "engine/settings.h"
#include "python/convert.h"

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

PyObject *or_none(PyObject *object)
{
    return Py_NewRef(object != NULL ? object : Py_None);
}

/* Memory keeps what stands there as it keeps the row at an end. */
static dc_status find_count(dc_db *db, dc_row *row)
{
    memset(&row->key, 0, sizeof row->key);
    memset(&row->columns, 0, sizeof row->columns);
    return dc_setting_get_integer(db, "count", &row->rowid);
}

dc_status find_row(dc_db *db, found *found)
{
    const selection *selection = found->selection;

    switch (selection->kind) {
    case SELECT_QUEUE:
        return dc_queue_end(db, &selection->queue, selection->side, &found->row);
    case SELECT_END:
        return dc_scan_end(db, selection->last, selection->passes ? &selection->passed : NULL,
                           &found->row);
    case SELECT_NTH:
        return dc_scan_nth(db, selection->side, selection->before, &found->row);
    case SELECT_COUNT:
        return find_count(db, &found->row);
    default:
        return selection->is_locating
                   ? dc_row_locate(db, selection->key, &found->row)
                   : dc_row_get(db, selection->key, selection->details, &found->row);
    }
}

int select_beside(selection *selection, int64_t rowid, const dc_key *key)
{
    if (selection->kind == SELECT_QUEUE) {
        selection->queue.passed = dc_queue_number(&key->datum);
        return 1;
    }
    if (selection->kind == SELECT_END) {
        selection->passes = 1;
        selection->passed = rowid;
        return 1;
    }
    return 0;
}

const dc_key *found_key(const found *found)
{
    return found->selection->kind == SELECT_KEY ? found->selection->key : &found->row.key;
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

dc_status delete_if_there(Operation *operation, const found *found)
{
    const dc_row *row = &found->row;
    dc_status status = dc_row_delete(operation_enter(operation), row->rowid, row->columns.filename,
                                     &operation->cache->transaction.removed);

    operation_leave_write(operation, (Written){.kind = WRITTEN_ROW, .row_key = found_key(found)});
    return status;
}

int delete_row(Operation *operation, const found *found)
{
    dc_status status = delete_if_there(operation, found);

    if (status == DC_NOT_FOUND) {
        operation_rollback(operation);
        PyErr_SetString(operation->cache->state->sqlite_errors[SQLITE_ERROR_IntegrityError],
                        "a trigger has kept a row from being deleted");
        return -1;
    }
    return status == DC_OK ? 0 : operation_fail(operation, status);
}

int delete_if_same(Cache *self, const found *known, int retry)
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
    status = find_row(operation_enter(&operation), &now);
    operation_leave(&operation);
    if (status != DC_OK && status != DC_NOT_FOUND) {
        operation_fail(&operation, status);
        goto done;
    }
    same = status == DC_OK && dc_row_same(&known->row, &now.row);
    if (same && delete_row(&operation, &now) < 0) {
        goto done;
    }
    result = operation_commit(&operation) < 0 ? -1 : same;
done:
    dc_row_clear(&now.row);
    return result;
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
