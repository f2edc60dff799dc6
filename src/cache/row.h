/* row.h: what the operations on rows share: which row an operation is about, reading it, deleting
 * it if it is still the same, and the shape of results.
 */
#ifndef DC_CACHE_ROW_H
#define DC_CACHE_ROW_H

#include "cache/operation.h"
#include "engine/queue.h"

/* --- results --- */

/* (value, expire_time, tag) with the parts asked for; `value` is stolen, `columns` NULL for a default,
 * whose parts are None. NULL for a NULL value. */
PyObject *with_details(module_state *state, PyObject *value, const dc_columns *columns,
                       int expire_time, int tag);

/* A new reference to the object, or to None. */
PyObject *or_none(PyObject *object);

/* --- which row --- */

/* SELECT_COUNT is no row: its `rowid` is the number of rows. */
typedef enum { SELECT_KEY, SELECT_QUEUE, SELECT_END, SELECT_NTH, SELECT_COUNT } selection_kind;

typedef struct selection {
    selection_kind kind;
    const dc_key *key;    /* SELECT_KEY */
    unsigned int details; /* SELECT_KEY: enum dc_detail */
    int is_locating;      /* SELECT_KEY: only rowid, expire_time and filename are wanted */
    dc_queue queue;       /* SELECT_QUEUE */
    dc_side side;         /* SELECT_QUEUE, SELECT_NTH */
    int last;             /* SELECT_END */
    int64_t before;       /* SELECT_NTH: rows between the side and the one */
    int with_tag;         /* taking: the tag is asked for */
    int passes;           /* SELECT_END: over the row `passed`, and those beyond it */
    int64_t passed;
} selection;

/* A selection and the row that it yields. Set the selection and dc_row_init the row; zeroing all of it would
 * cost more than the rest. */
typedef struct found {
    selection *selection;
    dc_row row;
} found;

/* Fill found->row: DC_OK, DC_NOT_FOUND. Inside SQLite. */
dc_status find_row(dc_db *db, found *found);
/* Select the row beside this one: it, and what is beyond it, is passed over. 0 where there is nothing to go on
 * with: of a key, and of a place. */
int select_beside(selection *selection, int64_t rowid, const dc_key *key);
/* The key of a row that has been found, as it stands in the database. */
const dc_key *found_key(const found *found);

/* 1 if the row is alive now, 0 if it has expired, -1 with an exception. The clock is read only if it
 * matters. At the very moment of its expiry an item is gone for its key, and still in its queue. */
int is_alive(Cache *self, selection_kind kind, const dc_columns *columns);

/* Delete a row in the transaction under way. -1 with an exception, rolled back: also if a trigger of a
 * user's keeps the row, because whoever takes an item out must not get it twice. */
int delete_row(Operation *operation, const found *found);

/* The same, but DC_NOT_FOUND if it is kept; any other failure is for operation_fail. */
dc_status delete_if_there(Operation *operation, const found *found);

/* Delete the row, unless it has changed since it was read: 1 deleted, 0 changed, -1 exception. */
int delete_if_same(Cache *self, const found *known, int retry);

/* The side of a queue; ValueError naming `side`. */
int parse_side(PyObject *side, dc_side otherwise, dc_side *out);
/* The queue of a prefix, whose bytes are the prefix's own; TypeError naming `prefix`. */
int parse_queue(PyObject *prefix, dc_queue *queue);

#endif
