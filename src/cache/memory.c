/* memory.c: see memory.h. */
#include "cache/memory.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/debug.h"
#include "python/convert.h"

#define FIRST_BUCKETS 64
/* No entry may take more than this part of the tier, or a few would push all others out. */
#define LARGEST_PART 4
/* Keys that a transaction lists one by one; more are "unknown". */
#define CHANGES_MAX 4096

/* --- keys ------------------------------------------------------------------------------------- */

static void key_of_integer(int64_t integer, hot_key *key)
{
    uint64_t mixed = (uint64_t)integer * 0x9E3779B97F4A7C15u;

    key->kind = HOT_INTEGER;
    key->as.integer = integer;
    key->object = NULL;
    key->hash = (uint32_t)(mixed ^ mixed >> 32);
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
        key->hash = (uint32_t)PyObject_Hash(object); /* which both keep, and which does not fail */
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

void hot_key_of_end(const HotTier *tier, hot_kind kind, PyObject *prefix, hot_key *key)
{
    key->kind = (unsigned char)kind;
    key->raw = 0;
    key->object = prefix;
    key->hash = (uint32_t)(prefix != NULL ? PyObject_Hash(prefix) : 0) ^ (uint32_t)kind;
    key->as.commits = tier->commits;
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
    case HOT_REAL:
        return left->as.real == right->as.real;
    default: /* an end */
        return left->object == right->object ||
               (left->object != NULL && right->object != NULL &&
                PyUnicode_Compare(left->object, right->object) == 0);
    }
}

/* --- the table -------------------------------------------------------------------------------- */

static HotEntry **bucket_of(const HotTier *tier, uint32_t hash)
{
    return &tier->buckets[hash & (tier->bucket_count - 1)];
}

static HotEntry *find(const HotTier *tier, const hot_key *key)
{
    HotEntry *entry = tier->count > 0 ? *bucket_of(tier, key->hash) : NULL;

    while (entry != NULL && !same_key(&entry->key, key)) {
        entry = entry->chain;
    }
    return entry;
}

/* Entries are made in blocks, each aligned to a line of the processor's cache. */
#define LINE_SIZE     64
#define BLOCK_ENTRIES 63

_Static_assert(sizeof(HotEntry) % LINE_SIZE == 0 || sizeof(void *) != 8, "two lines");

typedef struct HotBlock {
    struct HotBlock *next;
    unsigned char memory[LINE_SIZE - 1 + BLOCK_ENTRIES * sizeof(HotEntry)];
} HotBlock;

static int make_block(HotTier *tier)
{
    HotBlock *block = PyMem_Malloc(sizeof *block);
    uintptr_t first;

    if (block == NULL) {
        return 0;
    }
    block->next = tier->blocks;
    tier->blocks = block;
    first = ((uintptr_t)block->memory + LINE_SIZE - 1) / LINE_SIZE * LINE_SIZE;
    for (int i = 0; i < BLOCK_ENTRIES; i++) {
        HotEntry *entry = (HotEntry *)first + i;

        entry->chain = tier->free;
        tier->free = entry;
    }
    return 1;
}

/* A zeroed entry, or NULL (without an exception). */
static HotEntry *make_entry(HotTier *tier)
{
    HotEntry *entry = NULL;

    if (tier->free != NULL || make_block(tier)) {
        entry = tier->free;
        tier->free = entry->chain;
        memset(entry, 0, sizeof *entry);
    }
    return entry;
}

void hot_row_clear(hot_row *row)
{
    Py_XDECREF(row->value);
    Py_XDECREF(row->column);
    Py_XDECREF(row->filename);
    Py_XDECREF(row->tag);
    Py_XDECREF(row->key);
}

static void release_entry(HotTier *tier, HotEntry *entry)
{
    Py_XDECREF(entry->key.object);
    hot_row_clear(&entry->row);
    entry->chain = tier->free;
    tier->free = entry;
}

/* An entry is not in the table any more. Where there is no GIL, to give a reference back may let other threads in
 * (guard.h): that is put off until the tier is whole. */
static void free_entry(HotTier *tier, HotEntry *entry)
{
    if (COMPAT_HAS_GIL) {
        release_entry(tier, entry);
    } else {
        entry->chain = tier->dropped;
        tier->dropped = entry;
    }
}

/* The tier is whole. */
static void release_dropped(HotTier *tier)
{
    while (tier->dropped != NULL) {
        HotEntry *entry = tier->dropped;

        tier->dropped = entry->chain;
        tier->releasing++;
        release_entry(tier, entry);
        tier->releasing--;
    }
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

/* What an entry counts for. Its objects do not change. */
static size_t bytes_of(const HotEntry *entry)
{
    const hot_row *row = &entry->row;

    return sizeof *entry + size_of(entry->key.object) + size_of(row->column) +
           size_of(row->filename) + size_of(row->tag) + size_of(row->key) +
           (row->value != row->column ? size_of(row->value) : 0);
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
    tier->bytes -= bytes_of(entry);
    tier->count--;
    free_entry(tier, entry);
}

/* Drop what SIEVE says until so many bytes are free. */
static void make_room(HotTier *tier, size_t bytes)
{
    while (tier->count > 0 && tier->bytes + bytes > tier->limit) {
        HotEntry *hand = tier->hand != NULL ? tier->hand : tier->oldest;

        while (hand->row.visited) {
            hand->row.visited = 0;
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
    tier->bytes += bytes_of(entry);
    tier->count++;
}

static void empty(HotTier *tier)
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

        free_entry(tier, entry);
        entry = next;
    }
}

void hot_init(HotTier *tier, size_t limit)
{
    readers_init(&tier->readers);
    tier->limit = limit;
}

void hot_empty(HotTier *tier)
{
    readers_exclude(&tier->readers);
    empty(tier);
    readers_admit(&tier->readers);
    release_dropped(tier);
}

void hot_clear(HotTier *tier)
{
    hot_empty(tier);
    if (tier->count > 0 || tier->releasing > 0) {
        return; /* another thread has filled it meanwhile, or gives references of its entries back */
    }
    while (tier->blocks != NULL) {
        HotBlock *block = tier->blocks;

        tier->blocks = block->next;
        PyMem_Free(block);
    }
    tier->free = NULL;
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
        readers_exclude(&tier->readers);
        make_room(tier, 0);
        readers_admit(&tier->readers);
        release_dropped(tier);
    }
}

#ifdef DISKCACHE_DEBUG

void hot_check(const HotTier *tier)
{
    const HotEntry *older = NULL;
    size_t bytes = tier->bucket_count * sizeof *tier->buckets;
    size_t count = 0;
    int has_hand = tier->hand == NULL;

    for (HotEntry *entry = tier->oldest; entry != NULL; entry = entry->newer) {
        DC_ASSERT(entry->older == older);
        DC_ASSERT(find(tier, &entry->key) == entry);
        has_hand |= entry == tier->hand;
        bytes += bytes_of(entry);
        count++;
        older = entry;
    }
    DC_ASSERT(tier->newest == older);
    DC_ASSERT(tier->count == count);
    DC_ASSERT(tier->bytes == bytes);
    DC_ASSERT(has_hand);
    DC_ASSERT(tier->stamped || tier->count == 0);
}

#endif

/* --- lookups ---------------------------------------------------------------------------------- */

void hot_attach(HotTier *tier, dc_wal_header header, const dc_db *db)
{
    readers_exclude(&tier->readers);
    empty(tier);
    tier->header = header;
    tier->moved = 0;
    readers_admit(&tier->readers);
    tier->db = db;
    tier->attachment++;
    release_dropped(tier);
}

void hot_detach(HotTier *tier)
{
    readers_exclude(&tier->readers);
    empty(tier);
    tier->header = NULL;
    tier->moved = 0;
    readers_admit(&tier->readers);
    release_dropped(tier);
}

/* Begin a generation: no entry is of it. */
static void next_generation(HotTier *tier)
{
    int stamped = tier->stamped;

    if (++tier->generation == 0) {
        empty(tier); /* of which some might have it by chance */
        tier->stamped = stamped;
        tier->generation = 1;
    }
}

static void take_stamp(HotTier *tier, const dc_stamp *stamp)
{
    tier->stamp = *stamp;
    tier->stamped = 1;
    tier->covered = 0;
}

/* Have the tier take the present header, or be emptied; 0: it has none. */
static int take_present_header(HotTier *tier)
{
    dc_stamp stamp;
    int is_kept = tier->db->versions.shared != NULL;

    if (is_kept && !dc_stamp_read(tier->header, &stamp)) {
        return 0; /* it is just being written */
    }
    readers_exclude(&tier->readers);
    if (is_kept) {
        take_stamp(tier, &stamp);
        next_generation(tier);
    } else {
        tier->invalidations += tier->count > 0;
        empty(tier);
    }
    readers_admit(&tier->readers);
    return is_kept;
}

static int is_current(HotTier *tier)
{
    return tier->stamped && tier->header != NULL &&
           (dc_stamp_holds(tier->header, &tier->stamp) || take_present_header(tier));
}

/* Whether the table of versions says that an entry is current, in a tier that is. */
static int confirm(HotTier *tier, HotEntry *entry)
{
    const dc_version_table *versions = &tier->db->versions;

    tier->covered = tier->covered ||
                    (versions->shared != NULL && dc_version_table_covers(versions, &tier->stamp));
    if (!tier->covered || !dc_version_table_confirms(versions, tier->header, &tier->stamp,
                                                     entry->key.slot, entry->version)) {
        tier->invalidations++;
        return 0;
    }
    entry->row.generation = tier->generation;
    return 1;
}

/* Whether the file still is where it was, as is asked once a second. If not the tier has been emptied. */
static int is_there(HotTier *tier)
{
    int64_t second = dc_clock_second();

    if (tier->second != second) {
        int moved = dc_db_has_moved(tier->db);

        readers_exclude(&tier->readers);
        tier->second = second;
        tier->moved = moved;
        if (moved) {
            empty(tier);
        }
        readers_admit(&tier->readers);
    }
    return !tier->moved;
}

/* A line of the processor's cache that many threads read is written to only once. */
static void visit(HotEntry *entry)
{
    if (!entry->row.visited) {
        entry->row.visited = 1;
    }
}

HotEntry *hot_find(HotTier *tier, const hot_key *key)
{
    HotEntry *entry = is_current(tier) && is_there(tier) ? find(tier, key) : NULL;

    if (entry == NULL || (entry->row.generation != tier->generation && !confirm(tier, entry))) {
        return NULL;
    }
    visit(entry);
    return entry;
}

#if !COMPAT_HAS_GIL

HotEntry *hot_peek(HotTier *tier, const hot_key *key)
{
    HotEntry *entry = NULL;

    if (tier->stamped && tier->header != NULL && dc_stamp_holds(tier->header, &tier->stamp) &&
        tier->second == dc_clock_second() && !tier->moved) {
        entry = find(tier, key);
    }
    if (entry == NULL || entry->row.generation != tier->generation) {
        return NULL;
    }
    visit(entry);
    return entry;
}

uint64_t hot_hits(HotTier *tier)
{
    return tier->hits + readers_count(&tier->readers);
}

#else

uint64_t hot_hits(HotTier *tier)
{
    return tier->hits;
}

#endif

HotEntry *hot_find_end(HotTier *tier, const hot_key *key)
{
    HotEntry *entry = hot_find(tier, key);

    return entry != NULL && entry->key.as.commits == tier->commits ? entry : NULL;
}

/* Fill the objects of a row in memory from one that was read; 0 if there is no memory (without an exception). */
static int fill(hot_row *filled, const dc_row *row, int known, int with_key, PyObject *value)
{
    const dc_columns *columns = &row->columns;
    int ok = 1;

    if (known & HOT_VALUE) {
        filled->mode = (unsigned char)columns->mode;
        ok = filled->mode == columns->mode; /* a hook's may be any number */
        filled->size = columns->size;
        if (columns->filename != NULL) {
            filled->filename = PyUnicode_FromString(columns->filename);
            ok = ok && filled->filename != NULL;
        }
        if (value != NULL && columns->mode == DC_MODE_RAW) {
            filled->column = Py_NewRef(value); /* one and the same */
        } else if (columns->value.type != DC_NULL) {
            filled->column = convert_from_datum(&columns->value);
            ok = ok && filled->column != NULL;
        }
        filled->value = Py_XNewRef(value);
    }
    if (ok && (known & HOT_TAG) && columns->tag.type != DC_NULL) {
        filled->tag = convert_from_datum(&columns->tag);
        ok = filled->tag != NULL;
    }
    if (ok && with_key) {
        filled->key = convert_from_datum(&row->key.datum);
        filled->key_is_raw = row->key.raw != 0;
        ok = filled->key != NULL;
    }
    if (!ok) {
        PyErr_Clear();
    }
    return ok;
}

/* Whether an object can be handed out again and again. */
static int is_immutable(PyObject *value)
{
    return value == Py_None || PyBool_Check(value) || PyUnicode_CheckExact(value) ||
           PyBytes_CheckExact(value) || PyLong_CheckExact(value) || PyFloat_CheckExact(value);
}

/* Put an entry that is filled into the tier, in place of the one that its key has had. */
static void place(HotTier *tier, HotEntry *entry)
{
    size_t bytes = bytes_of(entry);
    HotEntry *former = find(tier, &entry->key);

    if (former != NULL) {
        entry->row.visited = former->row.visited;
        drop(tier, former);
    }
    if (bytes > tier->limit / LARGEST_PART || !grow(tier)) {
        free_entry(tier, entry);
        return;
    }
    make_room(tier, bytes);
    insert(tier, entry);
}

/* Have the tier take the header of a read; the generation of what was read then. */
static uint32_t take_stamp_of(HotTier *tier, const dc_stamp *stamp)
{
    if (tier->stamped && memcmp(&tier->stamp, stamp, sizeof *stamp) == 0) {
        return tier->generation;
    }
    if (tier->stamped && tier->db->versions.shared != NULL) {
        return 0; /* to be confirmed: whichever header is the later one, the next lookup takes it */
    }
    tier->invalidations += tier->count > 0;
    readers_exclude(&tier->readers);
    empty(tier);
    take_stamp(tier, stamp);
    next_generation(tier);
    readers_admit(&tier->readers);
    return tier->generation;
}

void hot_remember(HotTier *tier, const hot_key *key, unsigned long attachment,
                  const dc_stamp *stamp, uint64_t version, const dc_row *row, int known,
                  PyObject *value)
{
    HotEntry *entry;
    uint32_t generation;

    if (tier->limit == 0 || tier->header == NULL || tier->attachment != attachment) {
        return;
    }
    generation = take_stamp_of(tier, stamp);
    entry = make_entry(tier);
    if (entry == NULL) {
        return;
    }
    entry->version = version;
    entry->row.generation = generation;
    if (value != NULL && (!is_immutable(value) || row == NULL || row->columns.filename != NULL)) {
        value = NULL;
    }
    entry->key = *key;
    Py_XINCREF(entry->key.object);
    entry->row.known = (unsigned char)(row != NULL ? known : HOT_ABSENT);
    if (row != NULL) {
        entry->row.rowid = row->rowid;
        entry->row.has_expire_time = row->columns.has_expire_time != 0;
        entry->row.expire_time = row->columns.expire_time;
        if (!fill(&entry->row, row, known, key->kind >= HOT_QUEUE_FRONT, value)) {
            free_entry(tier, entry);
            release_dropped(tier);
            return;
        }
    }
    readers_exclude(&tier->readers);
    place(tier, entry);
    readers_admit(&tier->readers);
    release_dropped(tier);
}

/* --- own commits ------------------------------------------------------------------------------ */

void hot_begin(HotTier *tier, HotChanges *changes, dc_wal_header header,
               const dc_version_table *versions)
{
    int current = header != NULL && is_current(tier);

    changes->header = NULL;
    changes->unknown = 0;
    changes->has_victims = 0;
    if (current || (header != NULL && versions->compared)) {
        changes->header = header;
        changes->state = tier->state;
        changes->generation = current ? tier->generation : 0;
        changes->limit = tier->limit;
    }
}

/* A new change of a key, or NULL if nothing is listed. */
static HotChange *add_change(HotChanges *changes, const hot_key *key, int noted)
{
    size_t capacity = changes->capacity == 0 ? 4 : 2 * changes->capacity;
    HotChange *change;

    if (changes->header == NULL || changes->unknown) {
        return NULL;
    }
    if (changes->count == changes->capacity) {
        HotChange *each =
            capacity <= CHANGES_MAX ? PyMem_Realloc(changes->each, capacity * sizeof *each) : NULL;

        if (each == NULL) {
            changes->unknown = 1;
            return NULL;
        }
        changes->each = each;
        changes->capacity = capacity;
    }
    change = &changes->each[changes->count++];
    memset(change, 0, sizeof *change);
    change->key = *key;
    change->noted = noted;
    Py_XINCREF(key->object);
    return change;
}

void hot_change(HotChanges *changes, const hot_key *key, int noted)
{
    add_change(changes, key, noted);
}

/* The object that `owner` keeps the bytes of, if it is just these; else a new one. */
static PyObject *column_object(const dc_datum *datum, PyObject *owner)
{
    if (owner != NULL && datum->type == DC_TEXT && PyUnicode_CheckExact(owner)) {
        return Py_NewRef(owner);
    }
    if (owner != NULL && datum->type == DC_BLOB && PyBytes_CheckExact(owner) &&
        PyBytes_AS_STRING(owner) == datum->as.bytes.data &&
        (size_t)PyBytes_GET_SIZE(owner) == datum->as.bytes.size) {
        return Py_NewRef(owner);
    }
    return convert_from_datum(datum);
}

static void clear_change(HotChange *change)
{
    hot_row_clear(&change->row);
    memset(&change->row, 0, sizeof change->row);
}

void hot_change_to(HotChanges *changes, const hot_key *key, int noted, const disk_value *stored,
                   PyObject *tag)
{
    const dc_columns *columns = &stored->columns;
    const dc_datum *datum = &columns->value;
    HotChange *change = add_change(changes, key, noted);
    hot_row *row;
    /* SQLite makes NULL of NaN, and may lose the sign of zero. */
    int is_odd = datum->type == DC_REAL && (isnan(datum->as.real) || datum->as.real == 0.0);
    size_t room = dc_datum_room(datum) + dc_datum_room(&columns->tag);

    if (change == NULL || is_odd || columns->mode != (unsigned char)columns->mode ||
        room > changes->limit - changes->bytes) {
        return;
    }
    changes->bytes += room;
    row = &change->row;
    row->known = HOT_VALUE | HOT_TAG;
    row->has_expire_time = columns->has_expire_time != 0;
    row->expire_time = columns->expire_time;
    row->size = columns->size;
    row->mode = (unsigned char)columns->mode;
    if (columns->tag.type != DC_NULL) {
        row->tag = column_object(&columns->tag, tag);
    }
    if (columns->filename != NULL) {
        row->filename = PyUnicode_FromString(columns->filename);
    }
    if (datum->type != DC_NULL) {
        row->column = column_object(datum, stored->owner);
        if (row->column != NULL && columns->mode == DC_MODE_RAW) {
            row->value = Py_NewRef(row->column);
        }
    }
    if (PyErr_Occurred()) { /* without memory, or a name that is no text */
        PyErr_Clear();
        clear_change(change);
    }
}

void hot_change_victims(HotChanges *changes, int spares_last)
{
    size_t spared = spares_last && changes->count > 0;

    changes->has_victims = 1;
    for (size_t i = 0; i + spared < changes->count; i++) {
        clear_change(&changes->each[i]);
    }
}

static void forget(HotTier *tier, const hot_key *key)
{
    HotEntry *entry = find(tier, key);

    if (entry != NULL) {
        drop(tier, entry);
    }
}

/* Bring the tier to what a change has made of its key. `versions`: NULL if it is not the tier's table. */
static void apply(HotTier *tier, HotChange *change, uint32_t generation,
                  const dc_version_table *versions)
{
    HotEntry *entry = change->row.known ? make_entry(tier) : NULL;
    int noted = versions != NULL ? change->noted : -1;

    if (entry == NULL) {
        forget(tier, &change->key);
        return;
    }
    entry->key = change->key;
    Py_XINCREF(entry->key.object);
    entry->row = change->row;
    memset(&change->row, 0, sizeof change->row); /* the entry has its references now */
    entry->row.generation = generation;
    entry->key.slot = noted >= 0 ? (uint16_t)versions->noted[noted].slot : 0;
    entry->version = noted >= 0 ? versions->noted[noted].version : DC_NO_VERSION;
    place(tier, entry);
}

void hot_commit(HotTier *tier, HotChanges *changes, const dc_stamp *stamp,
                const dc_version_table *versions)
{
    int is_as_before = changes->generation != 0 && changes->generation == tier->generation &&
                       changes->state == tier->state;
    int shares = versions->shared != NULL && tier->header != NULL &&
                 dc_version_table_same(versions, &tier->db->versions);
    uint32_t generation = 0; /* another thread may know of later commits: to be confirmed */

    if (changes->header == NULL || tier->header == NULL || !(is_as_before || shares)) {
        return; /* emptied meanwhile: what is in it now was read later */
    }
    if (changes->unknown || stamp == NULL || (changes->has_victims && !shares)) {
        tier->invalidations += tier->count > 0;
        hot_empty(tier);
        return;
    }
    tier->commits += changes->count > 0 || changes->has_victims;
    readers_exclude(&tier->readers);
    if (is_as_before || !tier->stamped) {
        take_stamp(tier, stamp);
        if (!is_as_before || changes->has_victims) {
            next_generation(tier);
        }
        generation = tier->generation;
    }
    for (size_t i = 0; i < changes->count; i++) {
        apply(tier, &changes->each[i], generation, shares ? versions : NULL);
    }
    readers_admit(&tier->readers);
    release_dropped(tier);
}

void hot_changes_clear(HotChanges *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        Py_XDECREF(changes->each[i].key.object);
        clear_change(&changes->each[i]);
    }
    PyMem_Free(changes->each);
    memset(changes, 0, sizeof *changes);
}
