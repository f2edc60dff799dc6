/* item.c: what becomes of a value before it is written, and the rules by which it is.
 *
 * Where commits are synced, a value file is too, before its row is written. Under the write lock it would make
 * others wait.
 *
 * A subclass of Cache may override the steps that insert, update and cull rows: then the engine calls
 * back here, between two statements, and the method is called with what the original gives it.
 */
#include "cache/item.h"

#include <string.h>

#include "cache/errors.h"
#include "cache/operation.h"
#include "cache/pin.h"
#include "cache/transaction.h"
#include "engine/rows.h"
#include "engine/valuefile.h"
#include "python/convert.h"
#include "python/fork_generation.h"

/* --- steps that a subclass has taken over ----------------------------------------------------- */

/* The columns of a row as the tuple that _row_insert and _row_update take. */
static PyObject *columns_to_tuple(const dc_columns *columns)
{
    PyObject *expire_time = columns->has_expire_time ? PyFloat_FromDouble(columns->expire_time)
                                                     : Py_NewRef(Py_None);
    PyObject *tag = convert_from_datum(&columns->tag);
    PyObject *value = convert_from_datum(&columns->value);
    PyObject *tuple = NULL;

    if (expire_time != NULL && tag != NULL && value != NULL) {
        tuple = Py_BuildValue("OOLLzO", expire_time, tag, (long long)columns->size,
                              (long long)columns->mode, columns->filename, value);
    }
    Py_XDECREF(value);
    Py_XDECREF(tag);
    Py_XDECREF(expire_time);
    return tuple;
}

/* Whether a hook has left the transaction of its operation as it was. It may have forked, or ended it with
 * SQL: then there is nothing left to write to. */
static int goes_on(const Cache *self)
{
    const WriteTransaction *transaction = &self->transaction;

    return self->pool.generation == fork_generation() && transaction->depth > 0 &&
           !transaction->doomed && session_in_transaction(transaction->session);
}

/* What a hook's result means. */
static dc_status status_of(Cache *self, PyObject *result)
{
    Py_XDECREF(result);
    if (result != NULL && !goes_on(self)) {
        PyErr_SetString(PyExc_RuntimeError, "a hook of this operation has ended its transaction");
        return DC_CALLBACK;
    }
    return result != NULL ? DC_OK : DC_CALLBACK;
}

static dc_status insert_by_hook(void *context, const dc_key *key, const dc_columns *columns,
                                double now, int64_t *rowid)
{
    Cache *self = context;
    PyObject *database_key = convert_from_datum(&key->datum);
    PyObject *tuple = columns_to_tuple(columns);
    dc_status status = DC_CALLBACK;

    if (database_key != NULL && tuple != NULL) {
        status = status_of(self, PyObject_CallMethod((PyObject *)self, "_row_insert", "OOdO",
                                                     database_key, key->raw ? Py_True : Py_False,
                                                     now, tuple));
        if (status == DC_OK) {
            *rowid = sqlite.last_insert_rowid(self->transaction.session->db.handle);
        }
    }
    Py_XDECREF(tuple);
    Py_XDECREF(database_key);
    return status;
}

static dc_status update_by_hook(void *context, int64_t rowid, const dc_columns *columns, double now)
{
    Cache *self = context;
    PyObject *tuple = columns_to_tuple(columns);
    dc_status status = DC_CALLBACK;

    if (tuple != NULL) {
        status = status_of(self, PyObject_CallMethod((PyObject *)self, "_row_update", "LdO",
                                                     (long long)rowid, now, tuple));
        Py_DECREF(tuple);
    }
    return status;
}

static dc_status cull_by_hook(void *context, double now)
{
    Cache *self = context;
    PyObject *transaction = transaction_new(self, 0, 1, NULL);
    PyObject *cleanup = NULL;
    PyObject *execute = NULL;
    dc_status status = DC_CALLBACK;

    if (transaction != NULL) {
        cleanup = PyObject_GetAttr(transaction, self->state->name._cleanup);
        cache_expose(self, self->transaction.session);
        execute =
            PyObject_GetAttr(self->transaction.session->connection, self->state->name.execute);
        if (cleanup != NULL && execute != NULL) {
            status = status_of(
                self, PyObject_CallMethod((PyObject *)self, "_cull", "dOO", now, execute, cleanup));
        }
    }
    Py_XDECREF(execute);
    Py_XDECREF(cleanup);
    Py_XDECREF(transaction);
    return status;
}

dc_rules current_rules(Cache *self, dc_row_hooks *hooks)
{
    dc_rules rules = self->rules;
    unsigned int overridden = cache_hooks(self);

    if (overridden & CACHE_HOOK_WRITES) {
        hooks->context = self;
        hooks->insert = overridden & CACHE_HOOK__row_insert ? insert_by_hook : NULL;
        hooks->update = overridden & CACHE_HOOK__row_update ? update_by_hook : NULL;
        hooks->cull = overridden & CACHE_HOOK__cull ? cull_by_hook : NULL;
        rules.hooks = hooks;
    }
    return rules;
}

static dc_status insert_sealed(void *context, const dc_key *key, const dc_columns *columns,
                               double now, int64_t *rowid)
{
    Cache *self = context;
    disk_value sealed = {.columns = *columns};
    dc_status status;

    if (disk_seal(self->state, self->disk, key, &sealed) < 0) {
        status = DC_CALLBACK;
    } else if (cache_hooks(self) & CACHE_HOOK__row_insert) {
        status = insert_by_hook(context, key, &sealed.columns, now, rowid);
    } else {
        status = status_of(self, Py_NewRef(Py_None));
        if (status == DC_OK) {
            status =
                dc_row_insert(&self->transaction.session->db, key, &sealed.columns, now, rowid);
        }
    }
    disk_value_clear(&sealed);
    return status;
}

void seal_when_inserted(Cache *self, dc_rules *rules, dc_row_hooks *hooks)
{
    if (rules->hooks == NULL) {
        *hooks = (dc_row_hooks){.context = self};
        rules->hooks = hooks;
    }
    hooks->insert = insert_sealed;
}

/* --- items ------------------------------------------------------------------------------------ */

void item_clear(item *item)
{
    Py_CLEAR(item->tag_owner);
    Py_CLEAR(item->unsealed);
    disk_value_clear(&item->stored);
}

/* Have the disk keep a value file, if there is one and commits are synced; -1 with an exception. */
static int sync_file(Cache *self, const char *filename)
{
    char synced[DC_VALUEFILE_NAME_SIZE];
    size_t size;
    PyObject *directory = NULL;
    PyThreadState *released;
    dc_error error;
    dc_status status;

    if (filename == NULL || !self->pool.syncs_commits) {
        return 0;
    }
    if (cache_require(self->path, "_directory") < 0 ||
        !PyUnicode_FSConverter(self->path, &directory)) {
        return -1;
    }
    memcpy(synced, self->synced_file, sizeof synced); /* another thread may change it */
    dc_error_clear(&error);
    released = PyEval_SaveThread();
    status = dc_valuefile_sync(PyBytes_AS_STRING(directory), filename, synced, &error);
    PyEval_RestoreThread(released);
    Py_DECREF(directory);
    if (status != DC_OK) {
        convert_raise(self->state, status, &error);
        return -1;
    }
    /* A name that a hook has made may be used again, for a file in a new directory. */
    size = strlen(filename);
    if (size < sizeof self->synced_file &&
        !(disk_hooks(self->state, self->disk) & (DISK_HOOK_store | DISK_HOOK_FILES))) {
        memcpy(self->synced_file, filename, size + 1);
    }
    return 0;
}

/* Convert the value, and sign it with all that its row will have. */
static int store_sealed(Cache *self, item *item, PyObject *value, PyObject *key,
                        const disk_key *encoded, const dc_columns *columns, int read)
{
    dc_columns *stored = &item->stored.columns;

    if (disk_store(self->state, self->disk, value, read, key, &item->stored) < 0) {
        return -1;
    }
    stored->has_expire_time = columns->has_expire_time;
    stored->expire_time = columns->expire_time;
    stored->tag = columns->tag;
    if (encoded == NULL || !self->seals) {
        return 0;
    }
    item->mendings = self->mendings;
    item->unsealed = convert_from_datum(&stored->value);
    return item->unsealed != NULL ? disk_seal(self->state, self->disk, &encoded->key, &item->stored)
                                  : -1;
}

int item_seal_anew(Cache *self, item *item, const disk_key *encoded)
{
    disk_value *stored = &item->stored;

    if (item->unsealed == NULL || item->mendings == self->mendings) {
        return 0;
    }
    item->mendings = self->mendings;
    Py_CLEAR(stored->owner);
    return convert_to_datum(item->unsealed, "value", &stored->columns.value, &stored->owner) == 0
               ? disk_seal(self->state, self->disk, &encoded->key, stored)
               : -1;
}

int item_prepare(Cache *self, item *item, PyObject *value, PyObject *key, const disk_key *encoded,
                 PyObject *expire, int read, PyObject *tag)
{
    dc_columns columns;
    int failed;

    memset(item, 0, sizeof *item);
    memset(&columns, 0, sizeof columns);
    if (cache_refuse_write(self) < 0) { /* before its file is written */
        return -1;
    }
    failed = convert_now(self->state, &item->now) < 0 ||
             convert_expire(expire, item->now, &columns) < 0 ||
             convert_to_datum(tag != NULL ? tag : Py_None, "tag", &columns.tag, &item->tag_owner) <
                 0;
    if (!failed && (store_sealed(self, item, value, key, encoded, &columns, read) < 0 ||
                    sync_file(self, item->stored.columns.filename) < 0)) {
        blame_key(self, key);
        failed = 1;
    }
    if (failed) {
        if (item->stored.columns.filename != NULL) {
            /* Of a store hook that has failed, or one that could not be signed or synced. */
            cache_discard_file(self, item->stored.columns.filename);
        }
        item_clear(item);
        return -1;
    }
    return 0;
}
