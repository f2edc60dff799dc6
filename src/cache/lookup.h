/* lookup.h: finding one row, in memory or in SQLite, and its value.
 *
 * All lookups go the same way:
 *
 *     lookup_init, and what is looked for
 *     lookup_of_key, or lookup_of_end     memory first; else SQLite, and memory learns of it
 *     ... value, columns, row_key ...     what was found
 *     lookup_clear
 *
 * To read many keys in one snapshot, call the steps separately: lookup_encode each, lookup_recall each; if memory does
 * not know all of them lookup_read_many reads all; lookup_value each.
 *
 * A read is remembered if the header of the wal-index was the same before and after: then the
 * row is that of one known state of the database (memory.h).
 */
#ifndef DC_CACHE_LOOKUP_H
#define DC_CACHE_LOOKUP_H

#include "cache/row.h"

/* What a lookup has come to. */
typedef enum lookup_outcome {
    LOOKUP_BROKEN = -2, /* the key or the value of the row cannot be loaded: with an exception */
    LOOKUP_FAILED,      /* with an exception */
    LOOKUP_ABSENT,      /* there is no such row, or it has expired */
    LOOKUP_FOUND,
    LOOKUP_UNKNOWN /* memory does not know, or the value's file is not there: SQLite is to be asked */
} lookup_outcome;

/* A read between two looks at the header. */
typedef struct stamped_read {
    dc_wal_header header;
    dc_stamp stamp;
    int stable;  /* what was read is of the state that the stamp stands for */
    int covered; /* by the table of versions, which can confirm what was read */
    unsigned long attachment;
} stamped_read;

typedef struct Lookup {
    /* What for. */
    Cache *cache;
    selection selection;
    int needed;       /* of the row: HOT_VALUE, ...; 0: only whether it is there */
    int with_columns; /* `columns` are looked at */
    disk_read read;   /* what to make of bytes in a file */
    int retry;

    /* Its key. */
    PyObject *key; /* borrowed, for messages; NULL: an end */
    disk_key encoded;
    hot_key hot;
    int has_hot_key;
    uint64_t version; /* in the table of versions, before the row was read */

    /* The answer. */
    PyObject *value;           /* strong, or NULL */
    const dc_columns *columns; /* of the row found, if they are wanted */
    const dc_key *row_key;     /* of the row at an end */
    int64_t rowid;

    /* Where its bytes are: in a row that was read, or in a copy of one in memory, since Python code may run
     * while it is used, and drop the entry. */
    int is_recalled;
    int has_row; /* `found` is initialized */
    found found;
    hot_row recalled;
    dc_columns recalled_columns;
    dc_key recalled_key;
    PyObject *owners[3];
} Lookup;

/* For the row of a key. `needed` is HOT_VALUE | ..., or 0. */
void lookup_init(Lookup *lookup, Cache *cache, int needed, int retry);
/* For the row at an end, of which all is needed; the rest of the selection is the caller's. */
void lookup_init_end(Lookup *lookup, Cache *cache, selection_kind kind, int retry);
void lookup_clear(Lookup *lookup);

/* The row of a key. LOOKUP_FOUND with `value`, unless nothing of it is needed. A value file that cannot be read
 * is an absent key, as in the original. */
lookup_outcome lookup_of_key(Lookup *lookup, PyObject *key);

/* The same for a thread that has not the guard of the Cache: LOOKUP_FOUND or LOOKUP_ABSENT if memory knows it and
 * nothing else is to be done about it; LOOKUP_FAILED; or LOOKUP_UNKNOWN, and it is to be asked for with the guard.
 * `value` is set, if it is found and `needed` is HOT_VALUE, not 0. So threads that read do not wait for each other. */
#if COMPAT_HAS_GIL
static inline lookup_outcome lookup_at_once(Cache *self, PyObject *key, int needed,
                                            PyObject **value)
{
    (void)self;
    (void)key;
    (void)needed;
    (void)value;
    return LOOKUP_UNKNOWN;
}
#else
lookup_outcome lookup_at_once(Cache *self, PyObject *key, int needed, PyObject **value);

/* What memory has said at once. */
typedef struct lookup_peeked {
    lookup_outcome outcome;
    PyObject *value; /* strong, or NULL */
    int expires;     /* found, but perhaps expired: at `expire_time` */
    double expire_time;
} lookup_peeked;

/* The two halves of it, for who has no reference to the Cache: with what keeps it alive, memory is asked, where nothing
 * is waited for, but readers, and no Python code runs; without it, the clock. */
void lookup_peek(Cache *self, const hot_key *key, int needed, lookup_peeked *peeked);
lookup_outcome lookup_end_peek(module_state *state, lookup_peeked *peeked, PyObject **value);
#endif

/* The row at an end, as the selection says; those that have expired, or whose file is gone, are deleted on the
 * way, or passed over where nothing may be written. What cannot be loaded is passed over, if on_error says so.
 * Memory knows of it under `kind`, unless that is HOT_NO_END. `prefix`: of a queue, or NULL. */
lookup_outcome lookup_of_end(Lookup *lookup, hot_kind kind, PyObject *prefix);
/* The same for the row beside the one found, of which `key` could not be loaded, with an exception: 1 if that is
 * cleared, and the next call of lookup_of_end finds another; else 0. */
int lookup_passes_end(Lookup *lookup);

/* The number of rows, memory first; -1 with an exception. */
int lookup_count(Cache *self, int64_t *count);

/* --- the steps --- */

/* Encode the key; -1 with an exception. */
int lookup_encode(Lookup *lookup, PyObject *key);
/* Copy what memory knows: LOOKUP_FOUND has no value yet. No Python code runs. */
lookup_outcome lookup_recall(Lookup *lookup);
/* The value, if memory has it as an object, of a row that does not expire; NULL without an exception. No hook of the
 * Disk is called, and nothing is counted. New reference. No Python code runs. */
PyObject *lookup_recall_value(Lookup *lookup);
/* Read many rows in one transaction, whatever has been recalled, read or loaded of them; outcomes[i] is LOOKUP_FOUND
 * or LOOKUP_ABSENT. -1 with an exception. */
int lookup_read_many(Lookup *lookups, Py_ssize_t count, lookup_outcome *outcomes,
                     stamped_read *stamped);
/* The value of the row that was recalled or read. LOOKUP_UNKNOWN if its file is missing. */
lookup_outcome lookup_value(Lookup *lookup);
/* Let memory learn of it. */
void lookup_remember(const Lookup *lookup, const stamped_read *stamped, lookup_outcome outcome);

/* Whether lookups by this thread may be answered from memory: not inside its own transaction, nor while any thread has
 * a pinned session, on whose Connection it may be in a transaction. */
static inline int may_be_hot(const Cache *self)
{
    return self->hot.header != NULL && self->hot.limit > 0 && self->pool.pinned == 0 &&
           (self->transaction.depth == 0 ||
            self->transaction.thread != PyThread_get_thread_ident());
}

#endif
