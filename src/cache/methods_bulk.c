/* methods_bulk.c: removing many items: clear, evict, expire, cull.
 *
 * A bulk removal is a row of transactions, each as long as PORTION_SECONDS, so that others can write in
 * between, and so that an interruption or a timeout leaves what has been done so far done.
 */
#include "cache/methods.h"

#include <string.h>

#include "cache/errors.h"
#include "cache/operation.h"
#include "engine/batch_delete.h"
#include "engine/evict.h"
#include "python/convert.h"

/* Seconds that one transaction of a bulk removal may take. */
#define PORTION_SECONDS 0.01

/* A bulk removal under way: a batch delete, or the culling down to a volume. */
typedef struct removal {
    dc_batch_delete batch;
    int culls;      /* the next three are of this */
    dc_sql victim;  /* what finds a row to remove */
    int64_t volume; /* bytes */
    int64_t kept;   /* rows that a trigger keeps */
    int64_t count;
    int done;
} removal;

static dc_status remove_portion(dc_db *db, removal *removal, dc_namelist *removed)
{
    return removal->culls
               ? dc_evict_to_volume(db, removal->victim, removal->volume, PORTION_SECONDS, removed,
                                    &removal->kept, &removal->count, &removal->done)
               : dc_batch_delete_run(db, &removal->batch, PORTION_SECONDS, removed, &removal->count,
                                     &removal->done);
}

/* Delete in portions, each a transaction; removal->count grows. -1 with an exception; a Timeout
 * carries the number of rows deleted, as the original's does. */
static int remove_rows(Cache *self, removal *removal, int retry)
{
    dc_status status;
    int64_t committed = removal->count;

    while (!removal->done) {
        Operation operation = {.cache = NULL};

        if (operation_begin_write(&operation, self, retry) < 0) {
            if (PyErr_ExceptionMatches(self->state->Timeout)) {
                raise_timeout_after(committed);
            }
            return -1;
        }
        removal->batch.alone = self->transaction.depth == 1;
        status = remove_portion(operation_enter(&operation), removal, &self->transaction.removed);
        operation_leave_write(&operation, (Written){.kind = WRITTEN_ALL});
        if (status != DC_OK) {
            return operation_fail(&operation, status);
        }
        if (operation_commit(&operation) < 0 || PyErr_CheckSignals() < 0) {
            return -1;
        }
        committed = removal->count;
    }
    return 0;
}

/* One removal as a method's result. */
static PyObject *removal_method(Cache *self, removal *removal, int retry)
{
    if (cache_ready(self) < 0 || remove_rows(self, removal, retry) < 0) {
        return NULL;
    }
    return PyLong_FromLongLong(removal->count);
}

PyObject *Cache_clear(Cache *self, const Cache_clear_args *args)
{
    removal removal = {.batch = {.sql = DC_SQL_BATCH_ALL, .after = INT64_MIN}};

    return removal_method(self, &removal, args->retry);
}

PyObject *Cache_evict(Cache *self, const Cache_evict_args *args)
{
    removal removal = {.batch = {.sql = DC_SQL_BATCH_TAGGED, .after = INT64_MIN}};
    PyObject *owner = NULL;
    PyObject *result = NULL;

    if (convert_to_datum(args->tag, "tag", &removal.batch.parameter, &owner) < 0) {
        Py_XDECREF(owner);
        return NULL;
    }
    removal.done = args->tag == Py_None; /* NULL equals nothing */
    result = removal_method(self, &removal, args->retry);
    Py_XDECREF(owner);
    return result;
}

/* The batch delete of what had expired at `now` (None: the present). */
static int prepare_expiry(Cache *self, PyObject *now, removal *removal)
{
    dc_datum *time = &removal->batch.parameter;

    memset(removal, 0, sizeof *removal);
    removal->batch.sql = DC_SQL_BATCH_EXPIRED;
    removal->batch.after = INT64_MIN;
    time->type = DC_REAL;
    if (now != Py_None) {
        if (convert_seconds(now, "now", &time->as.real) < 0) {
            return -1;
        }
        if (time->as.real != 0.0) { /* the original takes 0 for None */
            return 0;
        }
    }
    return convert_now(self->state, &time->as.real);
}

PyObject *Cache_expire(Cache *self, const Cache_expire_args *args)
{
    removal removal;

    if (prepare_expiry(self, args->now, &removal) < 0) {
        return NULL;
    }
    return removal_method(self, &removal, args->retry);
}

PyObject *Cache_cull(Cache *self, const Cache_cull_args *args)
{
    dc_sql victim = dc_policies[self->rules.policy].victim;
    removal removal;

    if (cache_ready(self) < 0 || prepare_expiry(self, Py_None, &removal) < 0 ||
        remove_rows(self, &removal, args->retry) < 0) {
        return NULL;
    }
    if (victim != DC_NO_SQL) {
        removal.culls = 1;
        removal.victim = victim;
        removal.volume = self->rules.size_limit > 0 ? self->rules.size_limit : 0;
        removal.done = 0;
        if (remove_rows(self, &removal, args->retry) < 0) {
            return NULL;
        }
    }
    return PyLong_FromLongLong(removal.count);
}

PyObject *Cache__cull(Cache *self, const Cache__cull_args *args)
{
    Operation operation = {.cache = NULL};
    int64_t limit = self->rules.cull_limit;
    int64_t count = 0;
    double now;
    dc_db *db;
    dc_status status;

    if (cache_ready(self) < 0 || convert_seconds(args->now, "now", &now) < 0) {
        return NULL;
    }
    if (args->limit != Py_None) {
        limit = PyLong_AsLongLong(args->limit);
        if (limit == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    if (operation_begin_write(&operation, self, 1) < 0) {
        return NULL;
    }
    db = operation_enter(&operation);
    status = dc_evict(db, now, limit, 0, &self->rules, sqlite.last_insert_rowid(db->handle),
                      &self->transaction.removed, &count);
    operation_leave_write(&operation, (Written){.kind = WRITTEN_ALL});
    if (status != DC_OK) {
        operation_fail(&operation, status);
        return NULL;
    }
    if (operation_commit(&operation) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}
