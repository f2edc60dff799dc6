/* lookup.c: see lookup.h. */
#include "cache/lookup.h"

#include <string.h>

#include "cache/errors.h"
#include "python/convert.h"

static dc_status call_stamped(dc_db *db, void *context)
{
    stamped *stamped = context;
    dc_status status;

    stamped->stable = stamped->header != NULL && !dc_db_in_transaction(db) &&
                      dc_stamp_read(stamped->header, &stamped->stamp);
    status = stamped->call(db, stamped->context);
    stamped->stable = stamped->stable && dc_stamp_holds(stamped->header, &stamped->stamp);
    return status;
}

dc_status read_stamped(Cache *self, stamped *stamped, int retry)
{
    Operation operation = {.retry = retry};
    Session *session;
    dc_status status;

    if (operation_begin_read(&operation, self) < 0) {
        return DC_CALLBACK;
    }
    session = operation.session;
    stamped->header = may_be_hot(self) && !operation.joined ? session_header(session) : NULL;
    status = operation_read(&operation, call_stamped, stamped, retry);
    if (stamped->header != session->header) {
        stamped->stable = 0; /* taken back meanwhile */
    } else if (stamped->stable && self->hot.header == NULL) {
        hot_attach(&self->hot, session->header, &session->db);
        session->lent = &self->hot.header;
    }
    stamped->attachment = self->hot.attachment;
    operation_end_read(&operation);
    return status;
}

int remembered_take(remembered *copy, const HotEntry *entry)
{
    memset(copy, 0, sizeof *copy);
    copy->columns.has_expire_time = entry->has_expire_time;
    copy->columns.expire_time = entry->expire_time;
    copy->columns.mode = entry->mode;
    copy->columns.size = entry->size;
    copy->value = Py_XNewRef(entry->value);
    copy->column = Py_XNewRef(entry->column);
    copy->filename = Py_XNewRef(entry->filename);
    copy->tag = Py_XNewRef(entry->tag);
    copy->row_key = Py_XNewRef(entry->row_key);
    copy->key.raw = entry->row_key_is_raw;
    if (copy->filename != NULL) {
        copy->columns.filename = PyUnicode_AsUTF8(copy->filename);
    }
    if ((copy->filename != NULL && copy->columns.filename == NULL) ||
        (copy->column != NULL &&
         convert_to_datum(copy->column, "value", &copy->columns.value, &copy->column_owner) < 0) ||
        (copy->tag != NULL &&
         convert_to_datum(copy->tag, "tag", &copy->columns.tag, &copy->tag_owner) < 0) ||
        (copy->row_key != NULL &&
         convert_to_datum(copy->row_key, "key", &copy->key.datum, &copy->key_owner) < 0)) {
        return -1;
    }
    return 0;
}

void remembered_clear(remembered *copy)
{
    Py_XDECREF(copy->value);
    Py_XDECREF(copy->column);
    Py_XDECREF(copy->filename);
    Py_XDECREF(copy->tag);
    Py_XDECREF(copy->row_key);
    Py_XDECREF(copy->column_owner);
    Py_XDECREF(copy->tag_owner);
    Py_XDECREF(copy->key_owner);
}

int remembered_value(Cache *self, const remembered *copy, selection_kind kind, PyObject *key,
                     int read, PyObject **value)
{
    int hooked = (disk_hooks(self->state, self->disk) & DISK_HOOK_fetch) != 0;
    int alive = is_alive(self, kind, &copy->columns);
    int missing;

    if (alive <= 0) {
        return alive;
    }
    if (copy->value != NULL && !hooked) {
        *value = Py_NewRef(copy->value);
        return 1;
    }
    *value = disk_fetch(self->state, self->disk, &copy->columns, read, &missing);
    if (*value != NULL) {
        return 1;
    }
    if (!missing && !PyErr_ExceptionMatches(PyExc_OSError)) {
        blame_row(self, key, &copy->key, copy->columns.filename);
        return -1;
    }
    PyErr_Clear();
    return 2;
}
