/* call_table.c: see call_table.h. */
#include "python/call_table.h"

#include <math.h>
#include <string.h>

#define FIRST_BUCKETS 16
/* A table's limit, and that of an entry, so that a few do not push all others out. */
#define TABLE_BYTES_MAX ((size_t)256 << 10)
#define ENTRY_BYTES_MAX (TABLE_BYTES_MAX / 2)
#define DEPTH_MAX       4

struct call_entry {
    call_entry *chain; /* of the same bucket */
    Py_uhash_t hash;
    PyObject *pickled; /* strong */
    Py_ssize_t positional_count;
    int count;
    PyObject *objects[]; /* strong */
};

/* --- arguments -------------------------------------------------------------------------------- */

static void mix(Py_uhash_t *hash, Py_hash_t more)
{
    *hash = (*hash ^ (Py_uhash_t)more) * 0x9E3779B97F4A7C15u;
    *hash ^= *hash >> 29;
}

static int take_object(PyObject *object, int depth, call_arguments *out)
{
    if (object == Py_None || PyBool_Check(object) || PyLong_CheckExact(object)) {
        mix(&out->hash, PyObject_Hash(object));
        return 1;
    }
    if (PyFloat_CheckExact(object)) {
        /* That of a NaN may be its address. */
        mix(&out->hash, isnan(PyFloat_AS_DOUBLE(object)) ? 0 : PyObject_Hash(object));
        return 1;
    }
    if (out->part_count == CALL_OBJECTS_MAX) {
        return 0;
    }
    out->parts[out->part_count++] = object;
    if (PyUnicode_CheckExact(object) || PyBytes_CheckExact(object)) {
        mix(&out->hash, PyObject_Hash(object)); /* which both types keep */
        return 1;
    }
    if (!PyTuple_CheckExact(object) || depth == DEPTH_MAX) {
        return 0;
    }
    mix(&out->hash, PyTuple_GET_SIZE(object));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(object); i++) {
        if (!take_object(PyTuple_GET_ITEM(object, i), depth + 1, out)) {
            return 0;
        }
    }
    return 1;
}

static int take(PyObject *object, call_arguments *out)
{
    if (out->count == CALL_OBJECTS_MAX || !take_object(object, 0, out)) {
        return 0;
    }
    out->objects[out->count++] = object;
    return 1;
}

int call_arguments_take(PyObject *args, PyObject *kwargs, uint64_t ignored, PyObject *ignored_names,
                        call_arguments *out)
{
    Py_ssize_t position = 0;
    PyObject *name, *value;

    out->count = 0;
    out->part_count = 0;
    out->hash = 0;
    if (PyTuple_GET_SIZE(args) > CALL_POSITIONS_MAX ||
        (kwargs != NULL && PyDict_GET_SIZE(kwargs) > CALL_OBJECTS_MAX)) {
        return 0;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++) {
        if (!(ignored >> i & 1) && !take(PyTuple_GET_ITEM(args, i), out)) {
            return 0;
        }
    }
    out->positional_count = out->count;
    while (kwargs != NULL && PyDict_Next(kwargs, &position, &name, &value)) {
        if (!PyUnicode_CheckExact(name)) {
            return 0;
        }
        if (ignored_names != NULL && PySet_Contains(ignored_names, name) == 1) {
            continue;
        }
        if (!take(name, out) || !take(value, out)) {
            return 0;
        }
    }
    return 1;
}

static uint64_t bits_of(double real)
{
    uint64_t bits;

    memcpy(&bits, &real, sizeof bits);
    return bits;
}

static int same(PyObject *one, PyObject *other)
{
    if (one == other) {
        return 1;
    }
    if (Py_TYPE(one) != Py_TYPE(other)) {
        return 0;
    }
    if (PyFloat_CheckExact(one)) {
        return bits_of(PyFloat_AS_DOUBLE(one)) == bits_of(PyFloat_AS_DOUBLE(other));
    }
    if (!PyTuple_CheckExact(one)) { /* bool and None are one object for each value */
        return PyObject_RichCompareBool(one, other, Py_EQ) == 1;
    }
    if (PyTuple_GET_SIZE(one) != PyTuple_GET_SIZE(other)) {
        return 0;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(one); i++) {
        if (!same(PyTuple_GET_ITEM(one, i), PyTuple_GET_ITEM(other, i))) {
            return 0;
        }
    }
    return 1;
}

/* Whether the key of a call has no object twice. */
static int has_none_twice(const call_arguments *arguments, PyObject *base)
{
    for (int i = 0; i < arguments->part_count; i++) {
        PyObject *part = arguments->parts[i];

        for (int j = 0; j < i; j++) {
            if (part == arguments->parts[j]) {
                return 0;
            }
        }
        for (Py_ssize_t j = 0; j < PyTuple_GET_SIZE(base); j++) {
            if (part == PyTuple_GET_ITEM(base, j)) {
                return 0;
            }
        }
    }
    return 1;
}

static int is_of(const call_entry *entry, const call_arguments *arguments)
{
    if (entry->hash != arguments->hash || entry->count != arguments->count ||
        entry->positional_count != arguments->positional_count) {
        return 0;
    }
    for (int i = 0; i < entry->count; i++) {
        if (!same(entry->objects[i], arguments->objects[i])) {
            return 0;
        }
    }
    return 1;
}

/* --- the table -------------------------------------------------------------------------------- */

static call_entry **bucket_of(const call_table *table, Py_uhash_t hash)
{
    return &table->buckets[hash & (table->bucket_count - 1)];
}

PyObject *call_table_find(const call_table *table, const call_arguments *arguments, PyObject *base)
{
    call_entry *entry = table->count > 0 ? *bucket_of(table, arguments->hash) : NULL;

    while (entry != NULL && !is_of(entry, arguments)) {
        entry = entry->chain;
    }
    return entry != NULL && has_none_twice(arguments, base) ? entry->pickled : NULL;
}

static void free_entry(call_entry *entry)
{
    for (int i = 0; i < entry->count; i++) {
        Py_DECREF(entry->objects[i]);
    }
    Py_DECREF(entry->pickled);
    PyMem_Free(entry);
}

void call_table_clear(call_table *table)
{
    call_table taken = *table; /* first: see guard.h */

    memset(table, 0, sizeof *table);
    for (size_t i = 0; i < taken.bucket_count; i++) {
        while (taken.buckets[i] != NULL) {
            call_entry *entry = taken.buckets[i];

            taken.buckets[i] = entry->chain;
            free_entry(entry);
        }
    }
    PyMem_Free(taken.buckets);
}

/* Make room for one more. 0 without memory. */
static int grow(call_table *table)
{
    size_t count = table->bucket_count == 0 ? FIRST_BUCKETS : 2 * table->bucket_count;
    call_table larger = {.bucket_count = count, .count = table->count, .bytes = table->bytes};

    if (table->count < table->bucket_count) {
        return 1;
    }
    larger.buckets = PyMem_Calloc(count, sizeof *larger.buckets);
    if (larger.buckets == NULL) {
        return table->bucket_count > 0;
    }
    for (size_t i = 0; i < table->bucket_count; i++) {
        while (table->buckets[i] != NULL) {
            call_entry *entry = table->buckets[i];
            call_entry **bucket = bucket_of(&larger, entry->hash);

            table->buckets[i] = entry->chain;
            entry->chain = *bucket;
            *bucket = entry;
        }
    }
    PyMem_Free(table->buckets);
    *table = larger;
    return 1;
}

void call_table_add(call_table *table, const call_arguments *arguments, PyObject *base,
                    PyObject *pickled)
{
    /* The arguments take about as much as their pickle. */
    size_t objects = (size_t)arguments->count * sizeof(PyObject *);
    size_t bytes = sizeof(call_entry) + 2 * (size_t)PyBytes_GET_SIZE(pickled) + 4 * objects;
    call_entry **bucket;
    call_entry *entry;

    if (bytes > ENTRY_BYTES_MAX || !has_none_twice(arguments, base)) {
        return;
    }
    if (table->bytes + bytes > TABLE_BYTES_MAX) {
        call_table_clear(table);
    }
    entry = grow(table) ? PyMem_Malloc(sizeof *entry + objects) : NULL;
    if (entry == NULL) {
        return;
    }
    *entry = (call_entry){.hash = arguments->hash,
                          .pickled = Py_NewRef(pickled),
                          .positional_count = arguments->positional_count,
                          .count = arguments->count};
    for (int i = 0; i < arguments->count; i++) {
        entry->objects[i] = Py_NewRef(arguments->objects[i]);
    }
    bucket = bucket_of(table, entry->hash);
    entry->chain = *bucket;
    *bucket = entry;
    table->count++;
    table->bytes += bytes;
}
