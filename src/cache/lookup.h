/* lookup.h: what lookups through the hot tier (memory.h) share: whether memory may answer, a read that
 * tells which state of the database its row is of, and a copy of what an entry says.
 */
#ifndef DC_CACHE_LOOKUP_H
#define DC_CACHE_LOOKUP_H

#include "cache/row.h"

/* Whether lookups by this thread may be answered from memory: not inside its own transaction, nor while
 * it has a Connection in hands and may be in a transaction there. */
static inline int may_be_hot(Cache *self)
{
    return self->hot.limit > 0 && self->pool.pinned == 0 &&
           (self->transaction.depth == 0 ||
            self->transaction.thread != PyThread_get_thread_ident());
}

/* A row being read, and the header of the wal-index around it. */
typedef struct stamped {
    operation_call call;
    void *context;
    dc_wal_header header;
    dc_stamp stamp;
    int stable; /* the row is that of the stamp */
    unsigned long attachment;
} stamped;

/* Read without a lock; DC_OK, DC_NOT_FOUND, or DC_CALLBACK with an exception. */
dc_status read_stamped(Cache *self, stamped *stamped, int retry);

/* A copy of what an entry says: Python code may run while it is used, and drop the entry. */
typedef struct remembered {
    dc_columns columns; /* their bytes belong to the objects below */
    dc_key key;         /* of an end's row; so do its */
    PyObject *value, *column, *filename, *tag, *row_key;
    PyObject *column_owner, *tag_owner, *key_owner;
} remembered;

/* -1 with an exception; remembered_clear it in any case. */
int remembered_take(remembered *copy, const HotEntry *entry);
void remembered_clear(remembered *copy);

/* The value that a copied entry stands for: 1, 0 if it has expired, -1 with an exception; 2: SQLite must
 * be asked. `key` is NULL for an end. */
int remembered_value(Cache *self, const remembered *copy, selection_kind kind, PyObject *key,
                     int read, PyObject **value);

#endif
