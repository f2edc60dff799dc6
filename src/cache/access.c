/* access.c: see access.h. */
#include "cache/access.h"

#include "base/clock.h"
#include "cache/checkpointer.h"
#include "cache/errors.h"
#include "cache/operation.h"
#include "cache/registry.h"
#include "python/convert.h"
#include "python/fork_generation.h"

int cache_log_by_policy(Cache *self, int64_t rowid)
{
    PyObject *result = PyObject_CallMethod((PyObject *)self, "_note_access", "L", (long long)rowid);

    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

int cache_log_access(Cache *self, int hit, int64_t rowid)
{
    dc_access access = hit ? dc_policies[self->rules.policy].access : DC_ACCESS_NONE;
    double now = 0.0;
    double clock;

    if (self->read_only) {
        return 0;
    }
    if (hit && self->own_policy_counts && cache_log_by_policy(self, rowid) < 0) {
        return -1;
    }
    if (!self->statistics && access == DC_ACCESS_NONE) {
        return 0;
    }
    if (access == DC_ACCESS_TIME && convert_now(self->state, &now) < 0) {
        return -1;
    }
    clock = dc_clock();
    if (!dc_access_log_any(&self->access_log)) {
        self->access_logged_since = clock;
    }
    if (access != DC_ACCESS_NONE && dc_access_log_add(&self->access_log, rowid, 1, now) != DC_OK) {
        if (cache_flush_access_log(self, 0.0) < 0) {
            return -1;
        }
        dc_access_log_add(&self->access_log, rowid, 1,
                          now); /* forgotten, if there are still too many */
    }
    if (self->statistics) {
        *(hit ? &self->access_log.hits : &self->access_log.misses) += 1;
    }
    if (clock - self->access_logged_since > DC_ACCESS_LOG_SECONDS) {
        return cache_flush_access_log(self, 0.0);
    }
    return 0;
}

int cache_flush_access_log(Cache *self, double seconds)
{
    Operation operation = {.cache = NULL};
    compat_exception current;
    double timeout;

    if (!dc_access_log_any(&self->access_log) || self->pool.generation != fork_generation() ||
        self->directory == NULL) {
        return 0;
    }
    current = compat_exception_take();
    timeout = seconds > 0.0 ? cache_timeout(self) : 0.0;
    /* Beginning writes them, unless the transaction is open already. */
    if (timeout >= 0.0 &&
        (seconds > 0.0 || (!checkpoint_pauses(self) && checkpoint_lock_turns(self) % 2 == 0)) &&
        operation_begin_write_within(&operation, self, timeout < seconds ? timeout : seconds, 0) ==
            0 &&
        operation_flush_access_log(&operation) == 0) {
        operation_commit(&operation);
    }
    if (dc_access_log_any(&self->access_log)) {
        self->access_logged_since = dc_clock() - DC_ACCESS_LOG_SECONDS + ACCESS_LOG_AGAIN_SECONDS;
    }
    return cache_end_housekeeping(self->state, current);
}

void cache_flush_all_access_logs(module_state *state)
{
    cache_list list;

    if (cache_list_take(&list, state) < 0) {
        PyErr_WriteUnraisable(NULL);
        return;
    }
    for (size_t i = 0; i < list.count; i++) {
        Cache *cache = (Cache *)list.references[i];

        GUARD_BEGIN(cache)
        if (cache_flush_access_log(cache, 0.0) < 0) {
            PyErr_WriteUnraisable((PyObject *)cache);
        }
        GUARD_END()
    }
    cache_list_clear(&list);
}
