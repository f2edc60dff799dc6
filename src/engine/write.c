/* write.c: see write.h. */
#include "engine/write.h"

#include <math.h>
#include <string.h>

#include "base/debug.h"
#include "engine/budget.h"
#include "engine/evict.h"
#include "engine/rows.h"
#include "engine/volume.h"

/* The steps of a write, or what has taken their place. */
dc_status dc_write_insert(dc_db *db, const dc_write *write, const dc_key *key, int64_t *rowid)
{
    const dc_row_hooks *hooks = write->rules->hooks;

    return hooks != NULL && hooks->insert != NULL
               ? hooks->insert(hooks->context, key, write->columns, write->now, rowid)
               : dc_row_insert(db, key, write->columns, write->now, rowid);
}

static dc_status update_step(dc_db *db, const dc_write *write, int64_t rowid)
{
    const dc_row_hooks *hooks = write->rules->hooks;

    return hooks != NULL && hooks->update != NULL
               ? hooks->update(hooks->context, rowid, write->columns, write->now)
               : dc_row_update(db, rowid, write->columns, write->now);
}

dc_status dc_write_cull(dc_db *db, const dc_write *write, int64_t keep)
{
    const dc_rules *rules = write->rules;
    const dc_row_hooks *hooks = rules->hooks;
    int64_t count = 0;
    dc_status status;

    if (hooks != NULL && hooks->cull != NULL) {
        return hooks->cull(hooks->context, write->now);
    }
    DC_CHECK(dc_budget_check(db, rules));
    if (rules->cull_limit <= 0 || dc_budget_suffices(db, write->now, rules)) {
        return DC_OK;
    }
    if (db->budget.version != dc_db_data_version(db)) {
        db->page_size = 0; /* another's VACUUM may have changed it */
    }
    status = dc_evict(db, write->now, rules->cull_limit, dc_columns_value_bytes(write->columns),
                      rules, keep, write->removed, &count);
    return status == DC_OK ? dc_budget_renew(db, rules) : status;
}

int dc_columns_exceed(const dc_columns *columns, const dc_rules *rules)
{
    return rules->policy != DC_POLICY_NONE && rules->cull_limit > 0 &&
           dc_columns_value_bytes(columns) > rules->size_limit;
}

/* Whether the row that was found stays, whatever is to be set. */
static int stays(const dc_row *old, const dc_write *write)
{
    const dc_datum *tag = &old->columns.tag;

    if (write->only_if_later) {
        return tag->type == DC_BLOB && tag->as.bytes.size >= DC_LATER_BYTES &&
               memcmp(tag->as.bytes.data, write->columns->tag.as.bytes.data, DC_LATER_BYTES) >= 0;
    }
    return write->only_if_absent && dc_columns_alive(&old->columns, write->now);
}

/* dc_write_set() by the steps that may be overridden, or with a value file to remove. */
static dc_status set_by_steps(dc_db *db, dc_write *write)
{
    dc_namelist *removed = write->removed;
    size_t used = removed->used;
    size_t noted = removed->count;
    dc_row old;
    int64_t rowid = 0;
    dc_status status;

    dc_row_init(&old);
    status = write->only_if_later ? dc_row_get(db, write->key, DC_DETAIL_ALL, &old)
                                  : dc_row_locate(db, write->key, &old);
    if ((status != DC_OK && status != DC_NOT_FOUND) || (status == DC_OK && stays(&old, write))) {
        goto done;
    }
    if (dc_columns_exceed(write->columns, write->rules)) {
        status = status == DC_OK ? dc_row_delete(db, old.rowid, old.columns.filename, removed)
                                 : status;
        goto done;
    }
    if (status == DC_NOT_FOUND) {
        status = dc_write_insert(db, write, write->key, &rowid);
    } else {
        rowid = old.rowid;
        status = dc_row_note_file(db, old.columns.filename, removed);
        if (status == DC_OK) {
            status = update_step(db, write, rowid);
        }
        if (status != DC_OK) {
            dc_namelist_rewind(removed, used, noted);
        }
    }
    if (status == DC_OK) {
        write->written = 1;
        status = dc_write_cull(db, write, rowid);
    }
done:
    dc_row_clear(&old);
    return status == DC_NOT_FOUND ? DC_OK
                                  : status; /* nothing was to be done, or a trigger kept it */
}

/* Statements of a trigger resolve conflicts as the one that fires it does: an update by ON CONFLICT aborts
 * where INSERT OR REPLACE of a user's trigger would replace. Then the steps do it; nothing is changed yet. */
static int is_conflict_of_trigger(dc_db *db, dc_status status)
{
    return status == DC_SQLITE && (db->error.sqlite_code & 0xff) == DC_SQLITE_CONSTRAINT &&
           dc_db_in_transaction(db);
}

/* What one statement can do of dc_write_set(): insert an item, or put it over one that has no value
 * file. DC_NOT_FOUND: it was something else, and nothing is changed. */
static dc_status put_at_once(dc_db *db, const dc_write *write)
{
    int plain = write->columns->tag.type == DC_NULL && !write->columns->has_expire_time;
    dc_sql sql = write->only_if_absent  ? DC_SQL_INSERT_ABSENT
                 : write->only_if_later ? DC_SQL_PUT_LATER
                 : plain                ? DC_SQL_PUT_PLAIN
                                        : DC_SQL_PUT;

    return dc_row_found_if_changed(
        db, dc_row_insert_by(db, sql, write->key, write->columns, write->now));
}

dc_status dc_write_set(dc_db *db, dc_write *write)
{
    const dc_rules *rules = write->rules;
    dc_status status = DC_NOT_FOUND;
    dc_row row;

    write->written = 0;
    if (rules->hooks == NULL && !dc_columns_exceed(write->columns, rules)) {
        status = put_at_once(db, write);
    }
    if (status == DC_NOT_FOUND || is_conflict_of_trigger(db, status)) {
        return set_by_steps(db, write);
    }
    write->written = status == DC_OK;
    DC_CHECK(dc_budget_check(db, rules));
    if (status != DC_OK || rules->cull_limit <= 0 || dc_budget_suffices(db, write->now, rules)) {
        return status;
    }
    dc_row_init(&row);
    status = dc_row_locate(db, write->key, &row);
    if (status == DC_OK || status == DC_NOT_FOUND) { /* a user's trigger may have deleted it */
        status = dc_write_cull(db, write, status == DC_OK ? row.rowid : 0);
    }
    dc_row_clear(&row);
    return status;
}

dc_status dc_datum_add(const dc_datum *left, const dc_datum *right, dc_datum *sum)
{
    int integers = left->type == DC_INTEGER && right->type == DC_INTEGER;

    if ((left->type != DC_INTEGER && left->type != DC_REAL) ||
        (right->type != DC_INTEGER && right->type != DC_REAL)) {
        return DC_TYPE;
    }
    if (integers) {
        int64_t a = left->as.integer;
        int64_t b = right->as.integer;

        if ((b > 0 && a > INT64_MAX - b) || (b < 0 && a < INT64_MIN - b)) {
            return DC_OVERFLOW;
        }
        sum->type = DC_INTEGER;
        sum->as.integer = a + b;
    } else {
        double a = left->type == DC_REAL ? left->as.real : (double)left->as.integer;
        double b = right->type == DC_REAL ? right->as.real : (double)right->as.integer;

        sum->type = DC_REAL;
        sum->as.real = a + b;
        if (sum->as.real != sum->as.real) { /* NaN: SQLite would store NULL */
            return DC_OVERFLOW;
        }
    }
    return DC_OK;
}

static DC_THREAD_LOCAL int64_t noted_sum;

static void note_sum(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    (void)count;
    noted_sum = sqlite.value_int64(arguments[0]);
    sqlite.result_int64(context, noted_sum);
}

void dc_write_define_sum(dc_db *db)
{
    if (!db->notes_sums) {
        db->notes_sums = sqlite.create_function_v2(db->handle, DC_FUNCTION_SUM, 1,
                                                   DC_SQLITE_UTF8 | DC_SQLITE_DIRECTONLY, NULL,
                                                   note_sum, NULL, NULL, NULL) == DC_SQLITE_OK;
    }
}

/* What one statement can do of dc_write_increment(): add integers, where the row is there and the sum
 * fits. DC_NOT_FOUND: it was something else, and nothing is changed. */
static dc_status add_at_once(dc_db *db, const dc_key *key, int64_t delta, double now, dc_datum *sum)
{
    dc_query query;
    dc_status status;

    dc_write_define_sum(db);
    if (!db->notes_sums) {
        return DC_NOT_FOUND;
    }
    dc_row_start_query(&query, db, DC_SQL_INCREMENT, key);
    dc_query_bind_real(&query, now);
    dc_query_bind_integer(&query, delta);
    dc_query_bind_integer(&query, delta < 0 ? INT64_MIN - delta : INT64_MIN);
    dc_query_bind_integer(&query, delta > 0 ? INT64_MAX - delta : INT64_MAX);
    dc_budget_debit(db, sizeof delta);
    status = dc_row_found_if_changed(db, dc_query_run(&query));
    if (status == DC_NOT_FOUND) {
        return status;
    }
    sum->type = DC_INTEGER;
    sum->as.integer = noted_sum;
    return status;
}

dc_status dc_write_increment(dc_db *db, dc_write *write, const dc_datum *delta, dc_datum *sum)
{
    const dc_key *key = write->key;
    const dc_policy policy = write->rules->policy;
    double now = write->now;
    dc_query query;
    dc_row row;
    dc_status status;

    write->written = 0;
    if (delta->type == DC_INTEGER && dc_policies[policy].access == DC_ACCESS_NONE) {
        status = add_at_once(db, key, delta->as.integer, now, sum);
        if (status != DC_NOT_FOUND) {
            return status;
        }
    }
    dc_row_init(&row);
    status = dc_row_get(db, key, DC_DETAIL_IDENTITY, &row);
    if (status == DC_NOT_FOUND || (status == DC_OK && dc_columns_expired(&row.columns, now))) {
        if (write->columns == NULL) {
            status = DC_NOT_FOUND;
            goto done;
        }
        status = dc_write_set(db, write);
        if (status == DC_OK && !write->written &&
            !dc_columns_exceed(write->columns, write->rules)) {
            status = dc_row_kept_by_trigger(db);
        }
        goto done;
    }
    if (status != DC_OK) {
        goto done;
    }
    status = row.columns.mode == DC_MODE_RAW && row.columns.filename == NULL
                 ? dc_datum_add(&row.columns.value, delta, sum)
                 : DC_TYPE;
    if (status == DC_OK) {
        dc_query_start(&query, db, DC_SQL_UPDATE_VALUE);
        dc_query_bind_integer(&query, row.rowid);
        dc_query_bind_real(&query, now);
        dc_query_bind(&query, sum);
        dc_budget_debit(db, sizeof sum->as);
        status = dc_row_found_if_changed(db, dc_query_run(&query));
        if (status == DC_NOT_FOUND) {
            status = dc_row_kept_by_trigger(db);
        }
    }
    if (status == DC_OK) {
        status = dc_row_count_access(db, policy, row.rowid, now, 1);
    }
done:
    dc_row_clear(&row);
    return status;
}
