/* batch_delete.c: see batch_delete.h.
 *
 * One DELETE takes many rows, and tells with RETURNING which files they had: so what is deleted and what
 * is noted cannot differ. Batches begin small and double, because rows differ in size, and the lock must
 * not be kept for long. Those of the next portion begin with a quarter of what was reached.
 *
 * A deletion of more than a few hundred rows turns the triggers off, which cost as much as deleting the
 * rows does, and does their sums itself. That is only done where they are the library's own; in a
 * transaction of the user's a savepoint makes rows and sums one. And where all rows go and the table is
 * small, SQLite can drop it page by page instead of row by row: 10,000 rows take 0.2 µs each instead of 1.4.
 */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */

#include "engine/batch_delete.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/evict.h"
#include "engine/rows.h"

#define BATCH_FIRST   8    /* rows in the first batch of a portion */
#define BATCH_LARGEST 512  /* rows in a batch */
#define BATCH_MANY    128  /* rows in a batch from which on to do without triggers */
#define BATCH_PAGES   1024 /* pages of a database that can be emptied at once, within milliseconds */

typedef struct batch_tally {
    int64_t rows;
    int64_t bytes; /* in value files */
} batch_tally;

/* Note the files of the rows (rowid, size, filename) of a statement; the last rowid is *last. */
static dc_status note_files(dc_query *query, dc_namelist *removed, batch_tally *tally,
                            int64_t *last)
{
    dc_row row;
    dc_status status = dc_query_step(query);

    dc_row_init(&row);
    while (status == DC_OK) {
        int64_t rowid = dc_query_integer(query, 0);

        tally->rows++;
        tally->bytes = dc_saturated_sum(tally->bytes, dc_query_integer(query, 1));
        *last = rowid > *last ? rowid : *last;
        status = dc_row_keep_filename(query, 2, &row);
        if (status == DC_OK) {
            status = dc_row_note_file(query->db, row.columns.filename, removed);
        }
        if (status == DC_OK) {
            status = dc_query_step(query);
        }
    }
    dc_query_end(query);
    dc_row_clear(&row);
    return status == DC_NOT_FOUND ? DC_OK : status;
}

/* Delete batches, until nothing is left (*done), `until` has passed, or a batch of `largest` is next. */
static dc_status delete_batches(dc_db *db, dc_batch_delete *deletion, int64_t *batch,
                                int64_t largest, double until, dc_namelist *removed,
                                batch_tally *tally, int *done)
{
    dc_status status = DC_OK;
    double began = dc_clock();
    double now = began;

    while (status == DC_OK && !*done && *batch < largest) {
        int64_t before = tally->rows;
        size_t used = removed->used;
        size_t noted = removed->count;
        dc_query query;

        dc_query_start(&query, db, deletion->sql);
        dc_query_bind_integer(&query, deletion->after);
        dc_query_bind(&query, &deletion->parameter);
        dc_query_bind_integer(&query, *batch);
        status = note_files(&query, removed, tally, &deletion->after);
        if (status != DC_OK) {
            dc_namelist_rewind(removed, used, noted); /* SQLite may have undone all of the batch */
        }
        *done = status == DC_OK && tally->rows - before < *batch;
        began = now;
        now = dc_clock();
        if (now > until) {
            break;
        }
        if (*batch < BATCH_LARGEST && now + 2.0 * (now - began) < until) {
            *batch *= 2;
        }
    }
    return status;
}

/* How many of the library's triggers on deletion there are, and how many of somebody else's at all. */
static dc_status count_triggers(dc_db *db, int64_t *own, int64_t *foreign)
{
    dc_query query;
    dc_status status;

    dc_query_start(&query, db, DC_SQL_TRIGGERS);
    status = dc_query_step(&query);
    if (status == DC_OK) {
        *own = dc_query_integer(&query, 0);
        *foreign = dc_query_integer(&query, 1);
    }
    dc_query_end(&query);
    return status;
}

/* Whether the triggers do nothing but what a deletion can do itself, and no statement of a user's is under
 * way, which turning them off would end. DC_OK, or DC_NOT_FOUND if not. */
static dc_status can_do_without_triggers(dc_db *db)
{
    int64_t own = 0;
    int64_t foreign = 0;
    dc_status status;

    if (!dc_db_has_triggers_enabled(db) || dc_db_has_open_statement(db)) {
        return DC_NOT_FOUND;
    }
    status = count_triggers(db, &own, &foreign);
    return status == DC_OK && (own != 2 || foreign != 0) ? DC_NOT_FOUND : status;
}

/* Empty the table with one statement, if it is small; triggers are off. */
static dc_status delete_all_at_once(dc_db *db, dc_namelist *removed, batch_tally *tally, int *done)
{
    int64_t pages = 0;
    int64_t unused = 0;
    int64_t last = 0;
    batch_tally files = {0, 0};
    dc_query query;
    dc_status status = dc_query_single_integer(db, DC_SQL_PAGE_COUNT, &pages);

    if (status == DC_OK) {
        status = dc_query_single_integer(db, DC_SQL_FREELIST_COUNT, &unused);
    }
    if (status != DC_OK || pages - unused > BATCH_PAGES) {
        return status;
    }
    status = dc_query_single_integer(db, DC_SQL_COUNT_ROWS, &tally->rows);
    if (status == DC_OK) {
        dc_query_start(&query, db, DC_SQL_FILES);
        status = note_files(&query, removed, &files, &last);
        tally->bytes = files.bytes;
    }
    if (status == DC_OK) {
        dc_query_start(&query, db, DC_SQL_DELETE_ALL);
        status = dc_query_run(&query);
    }
    *done = status == DC_OK;
    return status;
}

static dc_status run(dc_db *db, dc_sql sql)
{
    dc_query query;

    dc_query_start(&query, db, sql);
    return dc_query_run(&query);
}

static dc_status add_to_setting(dc_db *db, const char *name, int64_t number)
{
    dc_query query;

    dc_query_start(&query, db, DC_SQL_SETTING_INCREMENT);
    dc_query_bind_text(&query, name);
    dc_query_bind_integer(&query, number);
    return dc_query_run(&query);
}

/* Go on with a deletion with the triggers off. If that fails nothing of it has happened, or will have when the
 * transaction is rolled back. A savepoint costs a copy of each page that is changed, into a temporary file. */
static dc_status delete_without_triggers(dc_db *db, dc_batch_delete *deletion, int64_t *batch,
                                         double until, dc_namelist *removed, int64_t *count,
                                         int *done)
{
    size_t used = removed->used;
    size_t noted = removed->count;
    int64_t after = deletion->after;
    batch_tally tally = {0, 0};
    dc_error error;
    dc_status status = deletion->alone ? DC_OK : run(db, DC_SQL_SAVEPOINT);

    if (status != DC_OK) {
        return status;
    }
    dc_db_enable_triggers(db, 0);
    if (deletion->sql == DC_SQL_BATCH_ALL) {
        status = delete_all_at_once(db, removed, &tally, done);
    }
    if (status == DC_OK) {
        status = delete_batches(db, deletion, batch, INT64_MAX, until, removed, &tally, done);
    }
    dc_db_enable_triggers(db, 1);
    if (status == DC_OK) {
        status = add_to_setting(db, "count", -tally.rows);
    }
    if (status == DC_OK && tally.bytes != 0) {
        status = add_to_setting(db, "size", -tally.bytes);
    }
    if (status == DC_OK && !deletion->alone) {
        status = run(db, DC_SQL_RELEASE_SAVEPOINT);
    }
    if (status == DC_OK) {
        *count += tally.rows;
    } else {
        error = db->error;
        if (!deletion->alone &&
            dc_db_in_transaction(db)) { /* else SQLite itself has rolled back everything */
            run(db, DC_SQL_ROLLBACK_TO_SAVEPOINT);
            run(db, DC_SQL_RELEASE_SAVEPOINT);
        }
        db->error = error;
        dc_namelist_rewind(removed, used, noted);
        deletion->after = after;
        *done = 0;
    }
    return status;
}

/* A batch with less rows than there may be is the last one, unless a trigger keeps rows: *kept, if there
 * is one left, or, where finding that out could take a look at each row, if there is such a trigger. */
static dc_status may_be_kept(dc_db *db, const dc_batch_delete *deletion, int *kept)
{
    dc_sql sql = deletion->sql == DC_SQL_BATCH_ALL ? DC_SQL_NEXT_ALL : DC_SQL_VICTIM_EXPIRED;
    int64_t own = 0;
    int64_t foreign = 0;
    dc_row row;
    dc_status status;

    if (deletion->sql == DC_SQL_BATCH_TAGGED) {
        status = count_triggers(db, &own, &foreign);
        *kept = foreign > 0;
        return status;
    }
    dc_row_init(&row);
    status = dc_evict_find(db, sql, deletion->after, &deletion->parameter, 0, &row);
    *kept = status == DC_OK;
    dc_row_clear(&row);
    return status == DC_NOT_FOUND ? DC_OK : status;
}

/* Go on with a deletion row by row, passing over those that a trigger keeps: of a batch it could not be told
 * which are still there. */
static dc_status delete_one_by_one(dc_db *db, dc_batch_delete *deletion, double until,
                                   dc_namelist *removed, int64_t *count, int *done)
{
    dc_sql next = deletion->sql == DC_SQL_BATCH_ALL      ? DC_SQL_NEXT_ALL
                  : deletion->sql == DC_SQL_BATCH_TAGGED ? DC_SQL_NEXT_TAGGED
                                                         : DC_SQL_NEXT_EXPIRED;
    dc_status status = DC_OK;
    dc_row row;

    dc_row_init(&row);
    while (status == DC_OK && !*done) {
        status = dc_evict_find(db, next, deletion->after, &deletion->parameter, 0, &row);
        if (status == DC_NOT_FOUND) {
            *done = 1;
            break;
        }
        if (status == DC_OK) {
            status = dc_row_delete(db, row.rowid, row.columns.filename, removed);
        }
        *count += status == DC_OK;
        if (status == DC_OK || status == DC_NOT_FOUND) {
            deletion->after = row.rowid;
            status = DC_OK;
        }
        if (dc_clock() > until) {
            break;
        }
    }
    dc_row_clear(&row);
    return status == DC_NOT_FOUND ? DC_OK : status;
}

static dc_status delete_in_batches(dc_db *db, dc_batch_delete *deletion, double until,
                                   dc_namelist *removed, int64_t *count, int *done)
{
    int64_t batch = deletion->batch / 4 > BATCH_FIRST ? deletion->batch / 4 : BATCH_FIRST;
    batch_tally tally = {0, 0};
    dc_status status;

    status = delete_batches(db, deletion, &batch, BATCH_MANY, until, removed, &tally, done);
    *count += tally.rows;
    if (status == DC_OK && !*done && batch >= BATCH_MANY) {
        status = can_do_without_triggers(db);
        if (status == DC_OK) {
            status = delete_without_triggers(db, deletion, &batch, until, removed, count, done);
        } else if (status == DC_NOT_FOUND) {
            tally.rows = 0;
            status = delete_batches(db, deletion, &batch, INT64_MAX, until, removed, &tally, done);
            *count += tally.rows;
        }
    }
    deletion->batch = batch;
    return status;
}

dc_status dc_batch_delete_run(dc_db *db, dc_batch_delete *deletion, double seconds,
                              dc_namelist *removed, int64_t *count, int *done)
{
    double until = dc_clock() + seconds;
    int64_t before = *count;
    dc_status status = DC_OK;

    *done = 0;
    db->versions.unknown = 1; /* what is dropped page by page is not even counted */
    if (!deletion->one_by_one) {
        status = delete_in_batches(db, deletion, until, removed, count, done);
        if (status == DC_OK && *done) {
            status = may_be_kept(db, deletion, &deletion->one_by_one);
            deletion->after = deletion->sql == DC_SQL_BATCH_EXPIRED ? INT64_MIN : deletion->after;
            *done = status == DC_OK && !deletion->one_by_one;
        }
    }
    if (status == DC_OK && deletion->one_by_one) {
        status = delete_one_by_one(db, deletion, until, removed, count, done);
    }
    db->victims += (unsigned long)(*count - before);
    return status;
}
