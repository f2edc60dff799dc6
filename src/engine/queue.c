/* queue.c: see queue.h. */
#include "engine/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "engine/rows.h"
#include "engine/write.h"

/* Write prefix + '-' + `number` with 15 digits into memory of prefix_size + 32 bytes. */
static size_t format_queue_key(char *text, const dc_queue *queue, int64_t number)
{
    memcpy(text, queue->prefix, queue->prefix_size);
    return queue->prefix_size +
           (size_t)snprintf(text + queue->prefix_size, 32, "-%015lld", (long long)number);
}

static dc_datum text_datum(const char *data, size_t size)
{
    dc_datum datum = {.type = DC_TEXT};

    datum.as.bytes.data = data;
    datum.as.bytes.size = size;
    return datum;
}

int64_t dc_queue_number(const dc_datum *key)
{
    return key->type == DC_INTEGER
               ? key->as.integer
               : strtoll(key->as.bytes.data + key->as.bytes.size - DC_QUEUE_DIGITS, NULL, 10);
}

dc_status dc_queue_end(dc_db *db, const dc_queue *queue, dc_side side, dc_row *row)
{
    int64_t lowest = queue->prefix == NULL ? DC_QUEUE_LOWEST : 0;
    int64_t above = side == DC_FRONT && queue->passed != 0 ? queue->passed : lowest;
    int64_t below = side == DC_BACK && queue->passed != 0 ? queue->passed : DC_QUEUE_HIGHEST;
    dc_query query;
    dc_datum low_text;
    dc_datum high_text;
    char *low = NULL;
    char *high;
    dc_status status;

    if (queue->prefix == NULL) {
        dc_query_start(&query, db, side == DC_FRONT ? DC_SQL_INTEGERS_FRONT : DC_SQL_INTEGERS_BACK);
        dc_query_bind_integer(&query, above);
        dc_query_bind_integer(&query, below);
        return dc_row_read_one(&query, DC_DETAIL_ALL, 1, row);
    }
    low = malloc(2 * (queue->prefix_size + 32));
    if (low == NULL) {
        return dc_db_out_of_memory(db);
    }
    high = low + queue->prefix_size + 32;
    low_text = text_datum(low, format_queue_key(low, queue, above));
    high_text = text_datum(high, format_queue_key(high, queue, below));
    dc_query_start(&query, db, side == DC_FRONT ? DC_SQL_TEXT_FRONT : DC_SQL_TEXT_BACK);
    dc_query_bind(&query, &low_text);
    dc_query_bind(&query, &high_text);
    dc_query_bind_integer(&query, db->is_utf8 ? -DC_QUEUE_DIGITS : -2 * DC_QUEUE_DIGITS);
    status = dc_row_read_one(&query, DC_DETAIL_ALL, 1, row);
    free(low);
    return status;
}

/* The key before or behind the one in `row` (as dc_queue_end left it), or a queue's first.
 * DC_OVERFLOW if that side of the range is used up. */
static dc_status next_key(const dc_queue *queue, dc_side side, int empty, dc_row *row,
                          dc_error *error)
{
    int64_t number = DC_QUEUE_ORIGIN;

    if (!empty) {
        number = dc_queue_number(&row->key.datum) + (side == DC_BACK ? 1 : -1);
    }
    if (number >= DC_QUEUE_HIGHEST || number <= (queue->prefix == NULL ? DC_QUEUE_LOWEST : 0)) {
        return dc_error_set(error, DC_OVERFLOW, "no key is left at this side of the queue");
    }
    row->key.raw = 1;
    if (queue->prefix == NULL) {
        row->key.datum.type = DC_INTEGER;
        row->key.datum.as.integer = number;
        return DC_OK;
    }
    if (!dc_row_reserve(row, queue->prefix_size + 32)) {
        return dc_error_set(error, DC_NO_MEMORY, "out of memory");
    }
    row->key.datum = text_datum(row->memory, format_queue_key(row->memory, queue, number));
    return DC_OK;
}

dc_status dc_queue_push(dc_db *db, const dc_queue *queue, dc_side side, dc_write *write,
                        dc_row *row)
{
    int64_t rowid = 0;
    dc_status status;

    write->written = 0;
    if (dc_columns_exceed(write->columns, write->rules)) {
        return DC_OK;
    }
    status = dc_queue_end(db, queue, side, row);
    if (status == DC_OK || status == DC_NOT_FOUND) {
        status = next_key(queue, side, status == DC_NOT_FOUND, row, &db->error);
    }
    if (status == DC_OK) {
        status = dc_write_insert(db, write, &row->key, &rowid);
    }
    if (status == DC_OK) {
        write->written = 1;
        status = dc_write_cull(db, write, rowid);
    }
    return status == DC_NOT_FOUND ? DC_OK : status; /* a trigger kept it from being inserted */
}
