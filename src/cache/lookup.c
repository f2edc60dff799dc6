/* lookup.c: see lookup.h. */
#include "cache/lookup.h"

#include <string.h>

#include "cache/errors.h"
#include "cache/operation.h"
#include "engine/rows.h"
#include "python/convert.h"
#include "python/fork_generation.h"

/* What is remembered of a row of which only its presence was asked for. */
#define KNOWN_OF_LOCATED HOT_IDENTITY

static void make_row(Lookup *lookup)
{
    if (!lookup->has_row) {
        lookup->has_row = 1;
        lookup->found.selection = &lookup->selection;
        dc_row_init(&lookup->found.row);
    }
}

/* A hit in memory costs as much as a few dozen assignments: only what it looks at is set. */
void lookup_init(Lookup *lookup, Cache *cache, int needed, int retry)
{
    lookup->cache = cache;
    lookup->selection.kind = SELECT_KEY;
    lookup->needed = needed;
    lookup->with_columns = 0;
    lookup->read = 0;
    lookup->retry = retry;
    lookup->encoded.owner = NULL;
    lookup->has_hot_key = 0;
    lookup->value = NULL;
    lookup->columns = NULL;
    lookup->rowid = 0;
    lookup->is_recalled = 0;
    lookup->has_row = 0;
}

void lookup_init_end(Lookup *lookup, Cache *cache, selection_kind kind, int retry)
{
    lookup_init(lookup, cache, HOT_VALUE | HOT_TAG | HOT_IDENTITY, retry);
    lookup->selection = (selection){.kind = kind};
    lookup->with_columns = 1;
    lookup->key = NULL;
    make_row(lookup);
}

static void forget_recalled(Lookup *lookup)
{
    if (lookup->is_recalled) {
        hot_row_clear(&lookup->recalled);
        for (size_t i = 0; i < sizeof lookup->owners / sizeof *lookup->owners; i++) {
            Py_XDECREF(lookup->owners[i]);
        }
        lookup->is_recalled = 0;
    }
}

void lookup_clear(Lookup *lookup)
{
    forget_recalled(lookup);
    if (lookup->has_row) {
        dc_row_clear(&lookup->found.row);
    }
    Py_XDECREF(lookup->value);
    Py_XDECREF(lookup->encoded.owner);
}

static int is_end(const Lookup *lookup)
{
    return lookup->selection.kind != SELECT_KEY;
}

static unsigned int hooks_of_disk(const Cache *self)
{
    return disk_hooks(self->state, self->disk);
}

static int has_fetch_hook(const Cache *self)
{
    return (hooks_of_disk(self) & DISK_HOOK_fetch) != 0;
}

/* --- memory ------------------------------------------------------------------------------------- */

/* Copy an entry's row, with its bytes as columns. -1 with an exception. */
static int copy_row(Lookup *lookup, const hot_row *row)
{
    dc_columns *columns = &lookup->recalled_columns;
    hot_row *copy = &lookup->recalled;

    copy->value = Py_XNewRef(row->value);
    copy->column = Py_XNewRef(row->column);
    copy->filename = Py_XNewRef(row->filename);
    copy->tag = Py_XNewRef(row->tag);
    copy->key = Py_XNewRef(row->key);
    memset(lookup->owners, 0, sizeof lookup->owners);
    memset(columns, 0, sizeof *columns);
    memset(&lookup->recalled_key, 0, sizeof lookup->recalled_key);
    lookup->is_recalled = 1;
    lookup->columns = columns;
    lookup->row_key = &lookup->recalled_key;
    columns->has_expire_time = row->has_expire_time;
    columns->expire_time = row->expire_time;
    columns->mode = row->mode;
    columns->size = row->size;
    lookup->recalled_key.raw = row->key_is_raw;
    if (copy->filename != NULL) {
        columns->filename = PyUnicode_AsUTF8(copy->filename);
    }
    if ((copy->filename != NULL && columns->filename == NULL) ||
        (copy->column != NULL &&
         convert_to_datum(copy->column, "value", &columns->value, &lookup->owners[0]) < 0) ||
        (copy->tag != NULL &&
         convert_to_datum(copy->tag, "tag", &columns->tag, &lookup->owners[1]) < 0) ||
        (copy->key != NULL &&
         convert_to_datum(copy->key, "key", &lookup->recalled_key.datum, &lookup->owners[2]) < 0)) {
        return -1;
    }
    return 0;
}

/* The entry that says all that is needed, or NULL. Borrowed: until anything else happens. */
static const HotEntry *find_entry(const Lookup *lookup)
{
    HotTier *tier = &lookup->cache->hot;
    const HotEntry *entry = is_end(lookup) ? hot_find_end(tier, &lookup->hot)
                                           : hot_find(tier, &lookup->hot);

    return entry != NULL && hot_knows(entry, lookup->needed) ? entry : NULL;
}

lookup_outcome lookup_recall(Lookup *lookup)
{
    const HotEntry *entry = lookup->has_hot_key ? find_entry(lookup) : NULL;

    if (entry == NULL) {
        return LOOKUP_UNKNOWN;
    }
    lookup->rowid = entry->row.rowid;
    if (entry->row.known & HOT_ABSENT) {
        return LOOKUP_ABSENT;
    }
    return copy_row(lookup, &entry->row) < 0 ? LOOKUP_FAILED : LOOKUP_FOUND;
}

PyObject *lookup_recall_value(Lookup *lookup)
{
    const HotEntry *entry = lookup->has_hot_key ? find_entry(lookup) : NULL;

    if (entry == NULL || (entry->row.known & HOT_ABSENT) || entry->row.has_expire_time) {
        return NULL;
    }
    lookup->rowid = entry->row.rowid;
    return Py_XNewRef(entry->row.value);
}

/* Answer without a copy where nothing can happen meanwhile: 1. */
static int recall_at_once(Lookup *lookup, const HotEntry *entry, unsigned int hooks,
                          lookup_outcome *outcome)
{
    const hot_row *row = &entry->row;

    lookup->rowid = row->rowid;
    if (row->known & HOT_ABSENT) {
        *outcome = LOOKUP_ABSENT;
        return 1;
    }
    if (row->has_expire_time || lookup->with_columns) {
        return 0;
    }
    if (lookup->needed != 0) {
        if (row->value == NULL || (hooks & DISK_HOOK_fetch)) {
            return 0;
        }
        lookup->value = Py_NewRef(row->value);
    }
    *outcome = LOOKUP_FOUND;
    return 1;
}

/* Ask memory alone. `hooks`: of the disk, now. */
static lookup_outcome look_in_memory(Lookup *lookup, unsigned int hooks)
{
    Cache *self = lookup->cache;
    const HotEntry *entry = find_entry(lookup);
    lookup_outcome outcome;

    if (entry == NULL) {
        return LOOKUP_UNKNOWN;
    }
    if (!recall_at_once(lookup, entry, hooks, &outcome)) {
        outcome = copy_row(lookup, &entry->row) < 0 ? LOOKUP_FAILED : lookup_value(lookup);
        if (outcome == LOOKUP_ABSENT && is_end(lookup)) {
            outcome = LOOKUP_UNKNOWN; /* it has expired, and is to be deleted */
        }
        if (outcome == LOOKUP_UNKNOWN) {
            forget_recalled(lookup);
        }
    }
    self->hot.hits += outcome != LOOKUP_UNKNOWN;
    return outcome;
}

void lookup_remember(const Lookup *lookup, const stamped_read *stamped, lookup_outcome outcome)
{
    Cache *self = lookup->cache;
    const dc_row *row = lookup->columns == &lookup->found.row.columns ? &lookup->found.row : NULL;
    PyObject *value = outcome == LOOKUP_FOUND && !has_fetch_hook(self) ? lookup->value : NULL;

    if (outcome >= LOOKUP_ABSENT && lookup->has_hot_key && stamped->stable) {
        hot_remember(&self->hot, &lookup->hot, stamped->attachment, &stamped->stamp,
                     lookup->version, row, lookup->needed != 0 ? lookup->needed : KNOWN_OF_LOCATED,
                     value);
    }
}

/* --- SQLite ------------------------------------------------------------------------------------- */

/* Begin a read that memory may learn from. */
static int begin_stamped(Operation *operation, Cache *self, stamped_read *stamped)
{
    stamped->stable = 0;
    stamped->header = NULL;
    if (operation_begin_read(operation, self) < 0) {
        return -1;
    }
    if (self->pool.pinned == 0 && !operation->joined) {
        dc_wal_header header = session_header(operation->session); /* with it, a read lease */

        stamped->header = self->hot.limit > 0 ? header : NULL;
    }
    return 0;
}

/* Inside SQLite, before and after the read. */
static void take_stamp(const dc_db *db, stamped_read *stamped)
{
    stamped->stable = stamped->header != NULL && !dc_db_in_transaction(db) &&
                      dc_stamp_read(stamped->header, &stamped->stamp);
    stamped->covered = stamped->stable && db->versions.shared != NULL &&
                       dc_version_table_covers(&db->versions, &stamped->stamp);
}

/* Between take_stamp and the read: the version of the row that is about to be read. */
static void take_version(const dc_db *db, const stamped_read *stamped, Lookup *lookup)
{
    lookup->version = DC_NO_VERSION;
    lookup->hot.slot = DC_SLOT_OF_ANY;
    if (stamped->covered) {
        if (!is_end(lookup)) {
            lookup->hot.slot =
                (uint16_t)dc_version_table_slot(&db->versions, &lookup->encoded.key.datum);
        }
        lookup->version = dc_version_table_version(&db->versions, lookup->hot.slot);
    }
}

static void check_stamp(stamped_read *stamped)
{
    stamped->stable = stamped->stable && dc_stamp_holds(stamped->header, &stamped->stamp);
}

/* End the read; the memory gets the session's header, if it has none. */
static void end_stamped(Operation *operation, stamped_read *stamped)
{
    Cache *self = operation->cache;
    Session *session = operation->session;

    if (stamped->header != session->header) {
        stamped->stable = 0; /* taken back meanwhile */
    } else if (stamped->stable && self->hot.header == NULL) {
        session->lent = &self->hot.header;
        session->readers = &self->hot.readers;
        hot_attach(&self->hot, session->header, &session->db);
    }
    if (stamped->stable && !dc_version_table_same(&session->db.versions, &self->hot.db->versions)) {
        stamped->stable = 0; /* the other table may have been removed, and made again */
    }
    stamped->attachment = self->hot.attachment;
    operation_end_read(operation);
}

/* Find the selected row, without taking a lock where a lease is there (read_lease.h). */
static dc_status find_with_lease(dc_db *db, found *found)
{
    dc_stamp before;
    dc_status status;

    if (db->commit.header == NULL || !dc_stamp_read(db->commit.header, &before)) {
        return find_row(db, found);
    }
    dc_read_lease_allow(&db->lease);
    status = find_row(db, found);
    if (dc_read_lease_forbid(&db->lease) && !dc_stamp_holds(db->commit.header, &before)) {
        status = find_row(db, found);
    }
    return status;
}

/* Read the selected row: LOOKUP_FOUND, whatever its expiry; LOOKUP_ABSENT, LOOKUP_FAILED. */
static lookup_outcome read_row(Lookup *lookup, stamped_read *stamped)
{
    Operation operation = {.retry = lookup->retry};
    found *found = &lookup->found;
    dc_status status;

    lookup->columns = NULL;
    if (begin_stamped(&operation, lookup->cache, stamped) < 0) {
        return LOOKUP_FAILED;
    }
    do {
        dc_db *db = operation_enter(&operation);

        take_stamp(db, stamped);
        take_version(db, stamped, lookup);
        status = find_with_lease(db, found);
        check_stamp(stamped);
    } while (operation_leave_read(&operation, &status));
    end_stamped(&operation, stamped);
    if (status != DC_OK) {
        return status == DC_NOT_FOUND ? LOOKUP_ABSENT : LOOKUP_FAILED;
    }
    lookup->columns = &found->row.columns;
    lookup->row_key = &found->row.key;
    lookup->rowid = found->row.rowid;
    return LOOKUP_FOUND;
}

static dc_status read_each(dc_db *db, const stamped_read *stamped, Lookup *lookups,
                           Py_ssize_t count, lookup_outcome *outcomes)
{
    int own = !dc_db_in_transaction(db);
    dc_status status = own ? dc_db_begin_read(db) : DC_OK;

    for (Py_ssize_t i = 0; i < count && status == DC_OK; i++) {
        Lookup *lookup = &lookups[i];

        take_version(db, stamped, lookup);
        status = find_row(db, &lookup->found);
        outcomes[i] = status == DC_OK ? LOOKUP_FOUND : LOOKUP_ABSENT;
        lookup->columns = status == DC_OK ? &lookup->found.row.columns : NULL;
        lookup->rowid = status == DC_OK ? lookup->found.row.rowid : 0;
        if (status == DC_NOT_FOUND) {
            status = DC_OK;
        }
    }
    if (own) {
        dc_db_end_read(db);
    }
    return status;
}

int lookup_read_many(Lookup *lookups, Py_ssize_t count, lookup_outcome *outcomes,
                     stamped_read *stamped)
{
    Operation operation = {.retry = count > 0 && lookups->retry};
    dc_status status;

    if (count == 0) {
        stamped->stable = 0;
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        forget_recalled(&lookups[i]); /* of another moment than what is read now */
        Py_CLEAR(lookups[i].value);
    }
    if (begin_stamped(&operation, lookups->cache, stamped) < 0) {
        return -1;
    }
    do {
        dc_db *db = operation_enter(&operation);

        take_stamp(db, stamped);
        status = read_each(db, stamped, lookups, count, outcomes);
        check_stamp(stamped);
    } while (operation_leave_read(&operation, &status));
    end_stamped(&operation, stamped);
    return status == DC_CALLBACK ? -1 : 0;
}

/* --- values ------------------------------------------------------------------------------------- */

lookup_outcome lookup_value(Lookup *lookup)
{
    Cache *self = lookup->cache;
    const dc_columns *columns = lookup->columns;
    const dc_key *key = is_end(lookup) ? lookup->row_key : &lookup->encoded.key;
    int alive = is_alive(self, lookup->selection.kind, columns);
    int missing;

    if (alive <= 0 || lookup->needed == 0) {
        return (lookup_outcome)alive;
    }
    if (lookup->is_recalled && lookup->recalled.value != NULL && !has_fetch_hook(self)) {
        lookup->value = Py_NewRef(lookup->recalled.value);
        return LOOKUP_FOUND;
    }
    lookup->value = disk_fetch(self->state, self->disk, key, columns, lookup->read, &missing);
    if (lookup->value != NULL) {
        return LOOKUP_FOUND;
    }
    if (missing) {
        return LOOKUP_UNKNOWN;
    }
    if (!is_end(lookup) && PyErr_ExceptionMatches(self->state->refused)) {
        return cache_note_refusal(self, lookup->key, key) < 0 ? LOOKUP_FAILED : LOOKUP_ABSENT;
    }
    if (!is_end(lookup) && PyErr_ExceptionMatches(PyExc_OSError)) {
        PyErr_Clear();
        return LOOKUP_ABSENT;
    }
    blame_row(self, lookup->key, is_end(lookup) ? lookup->row_key : NULL, columns->filename);
    return LOOKUP_BROKEN;
}

/* --- a key -------------------------------------------------------------------------------------- */

int lookup_encode(Lookup *lookup, PyObject *key)
{
    Cache *self = lookup->cache;

    lookup->key = key;
    if (disk_put(self->state, self->disk, key, &lookup->encoded) < 0) {
        return -1;
    }
    lookup->has_hot_key = hot_key_of_put(&lookup->encoded, &lookup->hot);
    lookup->selection.key = &lookup->encoded.key;
    lookup->selection.details = (lookup->needed & HOT_TAG ? DC_DETAIL_TAG : 0) |
                                (lookup->needed & HOT_IDENTITY ? DC_DETAIL_IDENTITY : 0);
    lookup->selection.is_locating = lookup->needed == 0;
    make_row(lookup);
    return 0;
}

/* Read the row and its value. A value file that is missing means that another process has just rewritten the
 * value: the row is read again, until it stays the same. */
static lookup_outcome read_key(Lookup *lookup)
{
    stamped_read stamped;
    dc_row previous;
    lookup_outcome outcome;
    int again = 0;

    dc_row_init(&previous);
    while ((outcome = read_row(lookup, &stamped)) == LOOKUP_FOUND &&
           (outcome = lookup_value(lookup)) == LOOKUP_UNKNOWN) {
        if (again && dc_row_same(&previous, &lookup->found.row)) {
            outcome = LOOKUP_ABSENT;
            break;
        }
        again = 1;
        if (!dc_row_copy(&previous, &lookup->found.row)) {
            PyErr_NoMemory();
            outcome = LOOKUP_FAILED;
            break;
        }
    }
    lookup_remember(lookup, &stamped, outcome);
    dc_row_clear(&previous);
    return outcome;
}

lookup_outcome lookup_of_key(Lookup *lookup, PyObject *key)
{
    Cache *self = lookup->cache;
    lookup_outcome outcome = LOOKUP_UNKNOWN;
    int is_asked = 0;

    lookup->key = key;
    /* A key that needs neither pickling nor a hook is known to memory as it is. */
    if (may_be_hot(self) && hot_key_of_object(key, &lookup->hot)) {
        unsigned int hooks = hooks_of_disk(self);

        is_asked = !(hooks & (DISK_HOOK_put | DISK_HOOK__seal)); /* which is checked by the key */
        outcome = is_asked ? look_in_memory(lookup, hooks) : LOOKUP_UNKNOWN;
    }
    if (outcome != LOOKUP_UNKNOWN) {
        return outcome;
    }
    if (lookup_encode(lookup, key) < 0) {
        return LOOKUP_FAILED;
    }
    if (!is_asked && lookup->has_hot_key && may_be_hot(self)) {
        outcome = look_in_memory(lookup, hooks_of_disk(self));
    }
    if (outcome != LOOKUP_UNKNOWN) {
        return outcome;
    }
    self->hot.misses += self->hot.limit > 0;
    return read_key(lookup);
}

#if !COMPAT_HAS_GIL

/* Whether memory alone may answer this thread, and what it answers is not counted or noted anywhere else. */
static int may_be_at_once(const Cache *self)
{
    return !self->logs_lookups && self->pool.pinned == 0 &&
           self->pool.generation == fork_generation() &&
           self->writer != PyThread_get_thread_ident();
}

/* As a reader. */
static void peek(Cache *self, const hot_key *key, int needed, lookup_peeked *peeked)
{
    unsigned int hooks = self->disk != NULL ? disk_hooks_if_known(self->state, self->disk)
                                            : DISK_HOOK_put;
    const HotEntry *entry = hooks & (DISK_HOOK_put | DISK_HOOK__seal | DISK_HOOK_fetch)
                                ? NULL
                                : hot_peek(&self->hot, key);

    if (entry == NULL || !hot_knows(entry, needed)) {
        return;
    }
    if (entry->row.known & HOT_ABSENT) {
        peeked->outcome = LOOKUP_ABSENT;
    } else if (needed == 0 || entry->row.value != NULL) {
        peeked->outcome = LOOKUP_FOUND;
        peeked->value = needed != 0 ? Py_NewRef(entry->row.value) : NULL;
        peeked->expires = entry->row.has_expire_time;
        peeked->expire_time = entry->row.expire_time;
    }
}

void lookup_peek(Cache *self, const hot_key *key, int needed, lookup_peeked *peeked)
{
    readers_part *part;

    *peeked = (lookup_peeked){.outcome = LOOKUP_UNKNOWN};
    if (may_be_at_once(self)) {
        part = readers_enter(&self->hot.readers);
        peek(self, key, needed, peeked);
        part->count += peeked->outcome != LOOKUP_UNKNOWN;
        readers_leave(part);
    }
}

lookup_outcome lookup_end_peek(module_state *state, lookup_peeked *peeked, PyObject **value)
{
    double now;

    if (peeked->expires) {
        peeked->outcome = convert_now(state, &now) < 0 ? LOOKUP_FAILED
                          : now < peeked->expire_time  ? LOOKUP_FOUND
                                                       : LOOKUP_ABSENT;
        if (peeked->outcome != LOOKUP_FOUND) {
            Py_CLEAR(peeked->value);
        }
    }
    *value = peeked->value;
    return peeked->outcome;
}

lookup_outcome lookup_at_once(Cache *self, PyObject *key, int needed, PyObject **value)
{
    hot_key hot;
    lookup_peeked peeked;

    *value = NULL;
    if (!hot_key_of_object(key, &hot)) {
        return LOOKUP_UNKNOWN;
    }
    lookup_peek(self, &hot, needed, &peeked);
    return lookup_end_peek(self->state, &peeked, value);
}

#endif

/* --- an end ------------------------------------------------------------------------------------- */

int lookup_passes_end(Lookup *lookup)
{
    /* First the selection: where nothing is beside, the exception stays. */
    int passes = select_beside(&lookup->selection, lookup->rowid, lookup->row_key) &&
                 cache_passes_over(lookup->cache, ON_ERROR_MISS);

    forget_recalled(lookup);
    Py_CLEAR(lookup->value);
    return passes;
}

/* Whether the row to be found is beside one that has been passed over. */
static int is_beside(const Lookup *lookup)
{
    return lookup->selection.passes || lookup->selection.queue.passed != 0;
}

/* The row has expired, or its file is gone: the next one is to be found. Nothing is deleted where nothing may be
 * written; and memory does not learn of an end that another process may have moved between two reads. */
static int leave_behind(Lookup *lookup)
{
    selection *selection = &lookup->selection;

    if (!lookup->cache->read_only) {
        return delete_if_same(lookup->cache, &lookup->found, lookup->retry);
    }
    lookup->has_hot_key = 0;
    if (!select_beside(selection, lookup->rowid, lookup->row_key)) {
        selection->before++; /* as if what stands there were gone */
    }
    return 0;
}

static lookup_outcome find_end(Lookup *lookup, hot_kind kind, PyObject *prefix)
{
    Cache *self = lookup->cache;
    lookup_outcome outcome = LOOKUP_UNKNOWN;
    stamped_read stamped;

    lookup->has_hot_key = kind != HOT_NO_END && !is_beside(lookup);
    if (lookup->has_hot_key) {
        hot_key_of_end(&self->hot, kind, prefix, &lookup->hot);
    }
    if (lookup->has_hot_key && may_be_hot(self)) {
        outcome = look_in_memory(lookup, hooks_of_disk(self));
    }
    if (outcome != LOOKUP_UNKNOWN) {
        return outcome;
    }
    self->hot.misses += self->hot.limit > 0;
    while ((outcome = read_row(lookup, &stamped)) == LOOKUP_FOUND) {
        outcome = lookup_value(lookup);
        if (outcome == LOOKUP_FOUND || outcome < LOOKUP_ABSENT) {
            break;
        }
        if (leave_behind(lookup) < 0) {
            return LOOKUP_FAILED;
        }
        lookup->hot.as.commits = self->hot.commits; /* of what is read next */
    }
    lookup_remember(lookup, &stamped, outcome);
    return outcome;
}

lookup_outcome lookup_of_end(Lookup *lookup, hot_kind kind, PyObject *prefix)
{
    lookup_outcome outcome = find_end(lookup, kind, prefix);

    while (outcome == LOOKUP_BROKEN && lookup_passes_end(lookup)) {
        outcome = find_end(lookup, kind, prefix);
    }
    return outcome;
}

/* --- the number of rows ------------------------------------------------------------------------- */

int lookup_count(Cache *self, int64_t *count)
{
    Lookup lookup;
    stamped_read stamped;
    const HotEntry *entry = NULL;
    lookup_outcome outcome = LOOKUP_FOUND;

    lookup_init(&lookup, self, HOT_IDENTITY, 0);
    lookup.selection.kind = SELECT_COUNT;
    lookup.has_hot_key = 1;
    hot_key_of_end(&self->hot, HOT_COUNT, NULL, &lookup.hot);
    if (may_be_hot(self)) {
        entry = find_entry(&lookup);
    }
    if (entry != NULL) {
        lookup.rowid = entry->row.rowid;
    } else {
        make_row(&lookup);
        outcome = read_row(&lookup, &stamped);
        lookup_remember(&lookup, &stamped, outcome);
    }
    *count = lookup.rowid;
    lookup_clear(&lookup);
    return outcome == LOOKUP_FAILED ? -1 : 0;
}
