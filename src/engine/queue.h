/* queue.h: queues: the keys that push() makes under one prefix.
 */
#ifndef DC_ENGINE_QUEUE_H
#define DC_ENGINE_QUEUE_H

#include "base/record.h"
#include "engine/db.h"
#include "engine/write.h"

typedef enum dc_side { DC_FRONT = 0, DC_BACK } dc_side;

/* A queue: the keys that push() makes under one prefix. */
typedef struct dc_queue {
    const char *prefix; /* UTF-8, or NULL for the queue of integer keys */
    size_t prefix_size; /* bytes */
    int64_t passed; /* the number of an item; those from it to the side are passed over; 0: none */
} dc_queue;

/* The number of an item, of its key. */
int64_t dc_queue_number(const dc_datum *key);
/* Fill the row, key included, at that side of the queue; DC_NOT_FOUND. */
dc_status dc_queue_end(dc_db *db, const dc_queue *queue, dc_side side, dc_row *row);
/* Insert beyond that side, then cull; `row->key` receives the new key. */
dc_status dc_queue_push(dc_db *db, const dc_queue *queue, dc_side side, dc_write *write,
                        dc_row *row);

#endif
