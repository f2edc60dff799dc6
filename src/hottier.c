/* hottier.c: see hottier.h. */
#include "hottier.h"

#include <math.h>
#include <string.h>

#include "convert.h"

#define FIRST_BUCKETS 64
/* No entry may take more than this part of the tier, or a few would push all others out. */
#define LARGEST_PART 4
/* Keys that a transaction notes one by one; more are "unknown". */
#define CHANGES_MAX 4096

/* --- keys ------------------------------------------------------------------------------------- */

static void key_of_integer(int64_t integer, hot_key *key)
{
    uint64_t mixed = (uint64_t)integer * 0x9E3779B97F4A7C15u;

    key->kind = HOT_INTEGER;
    key->as.integer = integer;
    key->object = NULL;
    key->hash = (Py_hash_t)(mixed ^ mixed >> 32);
}

/* A whole number is the integer's key: SQLite compares them by value. */
static int key_of_real(double real, hot_key *key)
{
    uint64_t bits;

    if (real >= -9223372036854775808.0 && real < 9223372036854775808.0 && real == floor(real)) {
        key_of_integer((int64_t)real, key);
        return 1;
    }
    memcpy(&bits, &real, sizeof bits);
    key_of_integer((int64_t)bits, key);
    key->kind = HOT_REAL;
    key->as.real = real;
    return !isnan(real);
}

int hot_key_of_object(PyObject *object, hot_key *key)
{
    int overflow = 0;

    key->raw = 1;
    if (PyUnicode_CheckExact(object) || PyBytes_CheckExact(object)) {
        key->kind = PyUnicode_CheckExact(object) ? HOT_TEXT : HOT_BYTES;
        key->object = object;
        key->hash = PyObject_Hash(object); /* which both types keep, and which does not fail */
        return 1;
    }
    if (PyLong_CheckExact(object)) {
        key_of_integer(PyLong_AsLongLongAndOverflow(object, &overflow), key);
        return !overflow;
    }
    return PyFloat_CheckExact(object) && key_of_real(PyFloat_AS_DOUBLE(object), key);
}

int hot_key_of_put(const disk_key *put, hot_key *key)
{
    const dc_datum *datum = &put->key.datum;
    int known = 0;

    switch (datum->type) {
    case DC_INTEGER:
        key_of_integer(datum->as.integer, key);
        known = 1;
        break;
    case DC_REAL:
        known = key_of_real(datum->as.real, key);
        break;
    case DC_TEXT:
    case DC_BLOB:
        known = put->owner != NULL &&
                (datum->type == DC_TEXT ? PyUnicode_CheckExact(put->owner)
                                        : PyBytes_CheckExact(put->owner)) &&
                hot_key_of_object(put->owner, key);
        break;
    default:
        break;
    }
    key->raw = put->key.raw != 0;
    return known;
}

static int same_key(const hot_key *left, const hot_key *right)
{
    if (left->hash != right->hash || left->kind != right->kind || left->raw != right->raw) {
        return 0;
    }
    switch (left->kind) {
    case HOT_TEXT:
        return left->object == right->object || PyUnicode_Compare(left->object, right->object) == 0;
    case HOT_BYTES:
        return left->object == right->object ||
               (PyBytes_GET_SIZE(left->object) == PyBytes_GET_SIZE(right->object) &&
                memcmp(PyBytes_AS_STRING(left->object), PyBytes_AS_STRING(right->object),
                       (size_t)PyBytes_GET_SIZE(left->object)) == 0);
    case HOT_INTEGER:
        return left->as.integer == right->as.integer;
    default:
        return left->as.real == right->as.real;
    }
}

/* --- the table -------------------------------------------------------------------------------- */

static HotEntry **bucket_of(const HotTier *tier, Py_hash_t hash)
{
    return &tier->buckets[(size_t)hash & (tier->bucket_count - 1)];
}

static HotEntry *find(const HotTier *tier, const hot_key *key)
{
    HotEntry *entry = tier->count > 0 ? *bucket_of(tier, key->hash) : NULL;

    while (entry != NULL && !same_key(&entry->key, key)) {
        entry = entry->chain;
    }
    return entry;
}

static void free_entry(HotEntry *entry)
{
    Py_XDECREF(entry->key.object);
    Py_XDECREF(entry->value);
    Py_XDECREF(entry->column);
    Py_XDECREF(entry->filename);
    Py_XDECREF(entry->tag);
    PyMem_Free(entry);
}

static void drop(HotTier *tier, HotEntry *entry)
{
    HotEntry **link = bucket_of(tier, entry->key.hash);

    while (*link != entry) {
        link = &(*link)->chain;
    }
    *link = entry->chain;
    if (tier->hand == entry) {
        tier->hand = entry->newer;
    }
    *(entry->older != NULL ? &entry->older->newer : &tier->oldest) = entry->newer;
    *(entry->newer != NULL ? &entry->newer->older : &tier->newest) = entry->older;
    tier->bytes -= entry->bytes;
    tier->count--;
    free_entry(entry);
}

/* Drop what SIEVE says until so many bytes are free. */
static void make_room(HotTier *tier, size_t bytes)
{
    while (tier->count > 0 && tier->bytes + bytes > tier->limit) {
        HotEntry *hand = tier->hand != NULL ? tier->hand : tier->oldest;

        while (hand->visited) {
            hand->visited = 0;
            hand = hand->newer != NULL ? hand->newer : tier->oldest;
        }
        tier->hand = hand;
        drop(tier, hand);
    }
}

static int grow(HotTier *tier)
{
    size_t count = tier->bucket_count == 0 ? FIRST_BUCKETS : 2 * tier->bucket_count;
    HotEntry **buckets;

    if (tier->count < tier->bucket_count) {
        return 1;
    }
    buckets = PyMem_Calloc(count, sizeof *buckets);
    if (buckets == NULL) {
        return tier->bucket_count > 0;
    }
    tier->bytes += (count - tier->bucket_count) * sizeof *buckets;
    PyMem_Free(tier->buckets);
    tier->buckets = buckets;
    tier->bucket_count = count;
    for (HotEntry *entry = tier->oldest; entry != NULL; entry = entry->newer) {
        HotEntry **bucket = bucket_of(tier, entry->key.hash);

        entry->chain = *bucket;
        *bucket = entry;
    }
    return 1;
}

static void insert(HotTier *tier, HotEntry *entry)
{
    HotEntry **bucket = bucket_of(tier, entry->key.hash);

    entry->chain = *bucket;
    *bucket = entry;
    entry->older = tier->newest;
    entry->newer = NULL;
    *(tier->newest != NULL ? &tier->newest->newer : &tier->oldest) = entry;
    tier->newest = entry;
    tier->bytes += entry->bytes;
    tier->count++;
}

void hot_empty(HotTier *tier)
{
    HotEntry *entry = tier->oldest;

    tier->stamped = 0;
    tier->state++;
    if (tier->count == 0) {
        return;
    }
    memset(tier->buckets, 0, tier->bucket_count * sizeof *tier->buckets);
    tier->oldest = tier->newest = tier->hand = NULL;
    tier->bytes = tier->bucket_count * sizeof *tier->buckets;
    tier->count = 0;
    while (entry != NULL) {
        HotEntry *next = entry->newer;

        free_entry(entry);
        entry = next;
    }
}

void hot_clear(HotTier *tier)
{
    hot_empty(tier);
    PyMem_Free(tier->buckets);
    tier->buckets = NULL;
    tier->bucket_count = 0;
    tier->bytes = 0;
}

void hot_set_limit(HotTier *tier, size_t bytes)
{
    tier->limit = bytes;
    if (bytes == 0) {
        hot_clear(tier);
    } else {
        make_room(tier, 0);
    }
}

/* --- lookups ---------------------------------------------------------------------------------- */

void hot_attach(HotTier *tier, dc_wal_header header)
{
    hot_empty(tier);
    tier->header = header;
    tier->attachment++;
}

int hot_is_current(HotTier *tier)
{
    if (!tier->stamped || tier->header == NULL) {
        return 0;
    }
    if (dc_stamp_holds(tier->header, &tier->stamp)) {
        return 1;
    }
    tier->invalidations += tier->count > 0;
    hot_empty(tier);
    return 0;
}

HotEntry *hot_find(HotTier *tier, const hot_key *key)
{
    HotEntry *entry = hot_is_current(tier) ? find(tier, key) : NULL;

    if (entry != NULL) {
        entry->visited = 1;
    }
    return entry;
}

static size_t size_of(PyObject *object)
{
    size_t size = 0;

    if (object != NULL && PyUnicode_Check(object)) {
        size = sizeof(PyASCIIObject) +
               (size_t)PyUnicode_GET_LENGTH(object) * (size_t)PyUnicode_KIND(object);
    } else if (object != NULL && PyBytes_Check(object)) {
        size = sizeof(PyBytesObject) + (size_t)PyBytes_GET_SIZE(object);
    } else if (object != NULL && object != Py_None && !PyBool_Check(object)) {
        size = sizeof(PyFloatObject) + sizeof(double);
    }
    return size;
}

/* Fill the objects of an entry from a row; 0 if there is no memory (without an exception). */
static int fill(HotEntry *entry, const dc_columns *columns, int known, PyObject *value)
{
    int filled = 1;

    if (known & HOT_VALUE) {
        entry->mode = columns->mode;
        entry->size = columns->size;
        if (columns->filename != NULL) {
            entry->filename = PyUnicode_FromString(columns->filename);
            filled = entry->filename != NULL;
        } else if (value != NULL && columns->mode == DC_MODE_RAW) {
            entry->column = Py_NewRef(value); /* one and the same */
        } else if (columns->value.type != DC_NULL) {
            entry->column = convert_from_datum(&columns->value);
            filled = entry->column != NULL;
        }
        entry->value = Py_XNewRef(value);
    }
    if (filled && (known & HOT_TAG) && columns->tag.type != DC_NULL) {
        entry->tag = convert_from_datum(&columns->tag);
        filled = entry->tag != NULL;
    }
    if (!filled) {
        PyErr_Clear();
    }
    return filled;
}

/* Whether an object can be handed out again and again. */
static int is_immutable(PyObject *value)
{
    return value == Py_None || PyBool_Check(value) || PyUnicode_CheckExact(value) ||
           PyBytes_CheckExact(value) || PyLong_CheckExact(value) || PyFloat_CheckExact(value);
}

void hot_remember(HotTier *tier, const hot_key *key, unsigned long attachment,
                  const dc_stamp *stamp, const dc_row *row, int known, PyObject *value)
{
    HotEntry *entry;
    HotEntry *former;

    if (tier->limit == 0 || tier->header == NULL || tier->attachment != attachment) {
        return;
    }
    if (!tier->stamped || memcmp(&tier->stamp, stamp, sizeof *stamp) != 0) {
        tier->invalidations += tier->count > 0;
        hot_empty(tier);
        tier->stamp = *stamp;
        tier->stamped = 1;
    }
    entry = PyMem_Calloc(1, sizeof *entry);
    if (entry == NULL) {
        return;
    }
    if (value != NULL && (!is_immutable(value) || row == NULL || row->columns.filename != NULL)) {
        value = NULL;
    }
    entry->key = *key;
    Py_XINCREF(entry->key.object);
    entry->known = (unsigned char)(row != NULL ? known : HOT_ABSENT);
    if (row != NULL) {
        entry->rowid = row->rowid;
        entry->has_expire_time = row->columns.has_expire_time != 0;
        entry->expire_time = row->columns.expire_time;
    }
    if (row != NULL && !fill(entry, &row->columns, known, value)) {
        free_entry(entry);
        return;
    }
    entry->bytes = sizeof *entry + size_of(key->object) + size_of(entry->column) +
                   size_of(entry->filename) + size_of(entry->tag) +
                   (entry->value != entry->column ? size_of(entry->value) : 0);
    former = find(tier, key);
    if (former != NULL) {
        entry->visited = former->visited;
        drop(tier, former);
    }
    if (entry->bytes > tier->limit / LARGEST_PART || !grow(tier)) {
        free_entry(entry);
        return;
    }
    make_room(tier, entry->bytes);
    insert(tier, entry);
}

void hot_forget(HotTier *tier, const hot_key *key)
{
    HotEntry *entry = find(tier, key);

    if (entry != NULL) {
        drop(tier, entry);
    }
}

/* --- own commits ------------------------------------------------------------------------------ */

void hot_begin(HotTier *tier, HotChanges *changes, dc_wal_header header)
{
    changes->header = NULL;
    changes->unknown = 0;
    if (header != NULL && hot_is_current(tier)) {
        changes->header = header;
        changes->stamp = tier->stamp;
        changes->state = tier->state;
    }
}

void hot_change(HotChanges *changes, const hot_key *key)
{
    size_t capacity = changes->capacity == 0 ? 4 : 2 * changes->capacity;
    hot_key *keys;

    if (changes->header == NULL || changes->unknown) {
        return;
    }
    if (changes->count == changes->capacity) {
        keys = capacity <= CHANGES_MAX ? PyMem_Realloc(changes->keys, capacity * sizeof *keys)
                                       : NULL;
        if (keys == NULL) {
            changes->unknown = 1;
            return;
        }
        changes->keys = keys;
        changes->capacity = capacity;
    }
    changes->keys[changes->count] = *key;
    Py_XINCREF(key->object);
    changes->count++;
}

void hot_commit(HotTier *tier, HotChanges *changes)
{
    dc_stamp now;

    if (changes->header == NULL || tier->state != changes->state || !tier->stamped ||
        tier->header == NULL) {
        return; /* emptied meanwhile: what is in it now was read later */
    }
    if (changes->unknown || !dc_stamp_read(changes->header, &now) ||
        !dc_stamp_follows(&changes->stamp, &now)) {
        tier->invalidations += tier->count > 0;
        hot_empty(tier);
        return;
    }
    for (size_t i = 0; i < changes->count; i++) {
        hot_forget(tier, &changes->keys[i]);
    }
    tier->stamp = now;
}

void hot_changes_clear(HotChanges *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        Py_XDECREF(changes->keys[i].object);
    }
    PyMem_Free(changes->keys);
    memset(changes, 0, sizeof *changes);
}
