/* call_table.h: the pickles of the keys of memoized calls, by the calls' arguments.
 *
 * To make the key of a call and to pickle it takes longer than all else of a hit in memory. A table remembers, for
 * arguments of which the key is made of nothing else, what it is stored as.
 *
 * Only arguments whose exact types are str, bytes, int, float, bool, None and tuples of these are in a table: they
 * never change, and to compare them runs no Python code. They are the same if their types are the same and their
 * values, floats bit by bit: 1, 1.0 and True are three, and so are 0.0 and -0.0.
 *
 * A pickle also tells whether two parts of a key are one object (key_pickle.h), so that a call with one object twice
 * has another key than one with two equal ones. The keys in a table have no object twice; calls that have one are not
 * looked up. So what is found is what pickling would give.
 *
 * Its owner keeps other threads out (guard.h). Nothing here runs Python code. Fork and garbage collection have nothing
 * to do: there are only bytes in memory, and objects that cannot be in a cycle.
 */
#ifndef DC_PYTHON_CALL_TABLE_H
#define DC_PYTHON_CALL_TABLE_H

#include <stdint.h>

#include "python/compat.h"

/* More arguments, with the names of keyword arguments, or more that a pickle could refer to: not in a table. */
#define CALL_OBJECTS_MAX 16
/* Positional ones, with those that do not count: for each there is a bit. */
#define CALL_POSITIONS_MAX 64

/* Of one call: borrowed from who has its arguments. */
typedef struct call_arguments {
    int count;
    PyObject *objects[CALL_OBJECTS_MAX]; /* positional ones; names and values */
    Py_ssize_t positional_count;
    int part_count;
    PyObject *parts[CALL_OBJECTS_MAX]; /* what a pickle could refer to: str, bytes, tuples */
    Py_uhash_t hash;
} call_arguments;

typedef struct call_entry call_entry;

/* Zero-initialize. */
typedef struct call_table {
    call_entry **buckets; /* owned; NULL until the first entry */
    size_t bucket_count;  /* a power of two */
    size_t count;
    size_t bytes; /* what it holds and keeps alive, about */
} call_table;

/* Take the arguments of a call, a tuple, and a dict or NULL, without those that do not count: bits of `ignored` are
 * positions, and `ignored_names` is a frozenset of exact types, or NULL. A table would keep them alive, however large
 * they are. 0 if they are not such as a table has. */
int call_arguments_take(PyObject *args, PyObject *kwargs, uint64_t ignored, PyObject *ignored_names,
                        call_arguments *out);

/* The pickle of their key, borrowed until the table changes; NULL if it is not known. `base` is what keys begin with. */
PyObject *call_table_find(const call_table *table, const call_arguments *arguments, PyObject *base);
/* Remember it; a full table begins empty. Without memory it is not remembered. */
void call_table_add(call_table *table, const call_arguments *arguments, PyObject *base,
                    PyObject *pickled);
void call_table_clear(call_table *table);

#endif
