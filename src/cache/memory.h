/* memory.h: the memory tier, the values read or written last, while they are certain to be current.
 *
 * A tier belongs to one Cache. Each entry is a key's row at one state of the database. `stamp` stands for a state
 * (wal_header.h), and the entries of the tier's generation are current at it. A lookup compares the stamp with the
 * header in shared memory: so a hit is what SQLite would return, for the price of comparing 48 bytes.
 *
 * If anybody has committed since, the tier takes the new header and begins a new generation. An entry of an earlier one
 * has the version that its row had then, and joins the new generation when the table of versions (version_table.h)
 * confirms that its row has not changed. Where there is no such table, all entries are dropped.
 *
 * An entry may say that there is no such row. It holds objects that cannot change (str, bytes, int, float, None,
 * bool), which it hands out themselves. Of any other value it holds the pickle, and each hit unpickles it. Of a value
 * in a file it holds the row, not the content.
 *
 * An entry may be about an end: the front of a queue, or the key inserted last. It says which row is there. Every
 * write may change that, so an end is read again after each own commit that wrote a row.
 *
 * Keys are database keys, not Python's equality: True is a pickle; 1 and 1.0 are one key, because they are one to
 * SQLite.
 *
 * Own commits. A transaction lists the keys that it writes, and the values it sets them to. If the tier was current
 * under the write lock, entries of other keys still hold after the commit. Entries of its keys are replaced, or
 * dropped if their new value is not known, and the tier takes the header that the commit has left (commit_stamp.h).
 * If the tier was not current, what was set gets the version that the commit has given it, to be confirmed later.
 * The tier is emptied if that header is not known, or if rows have changed that the transaction does not know of
 * (dc_db_has_foreign_changes).
 *
 * When the limit is reached, SIEVE decides what goes (Zhang and others, "SIEVE is Simpler than LRU", NSDI 2024).
 * Entries are in the order of their arrival. A hand moves from the oldest to the newest. It spares an entry that was
 * hit since it passed last, and drops the first that was not. A hit only sets a bit.
 *
 * Its owner keeps other threads out (guard.h); nothing here calls Python code. The header is borrowed from a session,
 * which takes it back before it closes. When the last connection to a database is closed, its log starts over and the
 * same header may occur again: so a tier that has lost its header begins empty.
 *
 * Readers. Where there is no GIL, threads look at the tier beside its owner (hot_peek), as readers of the lock
 * `readers`, with something that keeps the Cache alive. These rules make that safe:
 *
 * - The owner excludes readers while he changes what they look at: header, stamp, generation, table, entries. What he
 *   excludes them for leaves the tier whole, so a reader sees it as it was before or as it is after. The owner himself
 *   looks without the lock, since nobody else changes these. Taking the header back excludes readers, too: none looks
 *   at memory that is unmapped.
 * - Readers change two things: an entry's `visited`, which is atomic, and the count of hits in their part of the lock.
 * - An entry's generation is atomic. The owner sets it to the tier's when the entry has been confirmed, which is true
 *   for a reader too, whichever of the two values he finds: the stamp is the same.
 * - A reader takes its references before it leaves. An entry gives its own back after readers were excluded to take it
 *   out of the table. So no reader finds an object that is gone.
 * - A reader who finds the header as the stamp says has found the state that the entries are current at, as the owner
 *   has. Anything else it leaves to the owner.
 */
#ifndef DC_CACHE_MEMORY_H
#define DC_CACHE_MEMORY_H

#include "python/state.h" /* first: it includes Python.h */

#include "base/record.h"
#include "engine/db.h"
#include "python/disk_key.h"
#include "python/disk_value.h"
#include "python/guard.h"
#include "python/readers.h"
#include "sqlite/wal_header.h"

/* What is known of a row. */
enum {
    HOT_ABSENT = 1,   /* there is none */
    HOT_VALUE = 2,    /* its value, or where its file is */
    HOT_TAG = 4,      /* its tag */
    HOT_IDENTITY = 8, /* its rowid */
};

/* What an entry is about: the row of a key, or the one that stands at an end. */
typedef enum hot_kind {
    HOT_TEXT,
    HOT_BYTES,
    HOT_INTEGER,
    HOT_REAL,
    HOT_QUEUE_FRONT, /* of the queue of a prefix */
    HOT_QUEUE_BACK,
    HOT_LOWEST, /* of all keys */
    HOT_HIGHEST,
    HOT_FIRST, /* in the order of insertion */
    HOT_LAST,
    HOT_COUNT, /* no row: the number of rows, as a rowid */
    HOT_NO_END /* nothing that memory knows of */
} hot_kind;

/* A database key, or an end, to look up; the object is borrowed. */
typedef struct hot_key {
    unsigned char kind; /* hot_kind */
    unsigned char raw;
    uint16_t slot; /* of an entry: in the table of versions, if there is one */
    uint32_t hash;
    PyObject *object; /* str or bytes; NULL for numbers; of a queue the prefix, or NULL */
    union {
        int64_t integer;
        double real;
        uint64_t commits; /* of an end: own commits before */
    } as;
} hot_key;

/* A row as it is kept in memory, whole or in part. The first half of it is all that a hit looks at. */
typedef struct hot_row {
    PyObject *value; /* strong: what a hit returns; NULL if it must be made of the column */
    double expire_time;
    GUARD_PEEKED uint32_t
        generation; /* of an entry: the tier's, at which it was seen to be current */
    unsigned char mode;
    unsigned char known;                /* HOT_* */
    GUARD_PEEKED unsigned char visited; /* of an entry: hit since the hand passed */
    unsigned char has_expire_time : 1;
    unsigned char key_is_raw : 1;

    int64_t rowid, size;
    PyObject *column;   /* strong: the column `value`; NULL for SQL's NULL */
    PyObject *filename; /* strong str, or NULL */
    PyObject *tag;      /* strong, or NULL for SQL's NULL */
    PyObject *key;      /* strong: of an end, the key of the row that stands there */
} hot_row;

void hot_row_clear(hot_row *row);

/* Two lines of the processor's cache. */
typedef struct HotEntry {
    struct HotEntry *chain; /* of the same bucket, or of free entries */
    hot_key key;            /* its object is strong */
    uint64_t version;       /* of its slot, when it was read or written */
    hot_row row;
    struct HotEntry *older, *newer; /* by arrival */
} HotEntry;

typedef struct HotTier {
    dc_wal_header header; /* NULL: off */
    int stamped;          /* 0: there is no stamp and no entry */
    const dc_db *db;      /* whose header it is, and table of versions */
    int64_t second;       /* in which the file was seen to be where it was */
    int moved;            /* it was not */
    dc_stamp stamp;
    int covered;              /* 1: the table of versions is known to cover the stamp */
    uint32_t generation;      /* changes when the stamp does, but for own commits; never 0 */
    unsigned long state;      /* changes whenever all entries are dropped */
    unsigned long attachment; /* changes with every hot_attach */
    HotEntry **buckets;       /* owned; NULL until the first entry */
    size_t bucket_count;      /* a power of two */
    size_t count;
    HotEntry *oldest, *newest, *hand;
    struct HotBlock *blocks; /* owned: the memory of all entries, given back by hot_clear */
    HotEntry *free;          /* entries there that are not used */
    HotEntry *dropped;       /* and such as have references yet */
    int releasing;           /* threads that are giving these back */
    size_t bytes;
    size_t limit;                         /* bytes; 0: off */
    uint64_t commits;                     /* own ones that changed rows */
    uint64_t hits, misses, invalidations; /* hits: without those of readers */
    readers_lock readers;
} HotTier;

void hot_init(HotTier *tier, size_t limit);

/* Key of an object that a Disk with its own `put` would store as it is; 0 for any other. */
int hot_key_of_object(PyObject *object, hot_key *key);
/* Key of what a Disk has put; 0 if it is of an unusual type. */
int hot_key_of_put(const disk_key *put, hot_key *key);

/* Key of an end, now; `prefix` is a queue's, an exact str or NULL. */
void hot_key_of_end(const HotTier *tier, hot_kind kind, PyObject *prefix, hot_key *key);

/* Begin to use the header of a database, which its owner takes back by setting tier->header to NULL. */
void hot_attach(HotTier *tier, dc_wal_header header, const dc_db *db);
/* Do without one again, empty. */
void hot_detach(HotTier *tier);

/* The entry of a key if it is there and current, or NULL. Borrowed: until anything else happens. */
HotEntry *hot_find(HotTier *tier, const hot_key *key);
/* The same of an end. */
HotEntry *hot_find_end(HotTier *tier, const hot_key *key);

#if !COMPAT_HAS_GIL
/* The entry of a key for a thread that has not the guard but is a reader: if it is known to be current without changing
 * anything. Else NULL, which says nothing. Borrowed: until it is no reader any more. */
HotEntry *hot_peek(HotTier *tier, const hot_key *key);
#endif
/* Lookups that it has answered. */
uint64_t hot_hits(HotTier *tier);

/* Whether an entry says all that is needed (HOT_*). */
static inline int hot_knows(const HotEntry *entry, int needed)
{
    return (entry->row.known & HOT_ABSENT) || (entry->row.known & needed) == needed;
}

/* Remember a row that was read while the header was `stamp`, before and after, in this attachment: in
 * another one the same header may mean another state. `row` is NULL for a key that has none, and has its
 * key for an end. `value` is what the row's value was converted to, or NULL. Failing for want of memory
 * is no failure. */
void hot_remember(HotTier *tier, const hot_key *key, unsigned long attachment,
                  const dc_stamp *stamp, uint64_t version, const dc_row *row, int known,
                  PyObject *value);
void hot_empty(HotTier *tier);
/* Empty it and give its memory back. */
void hot_clear(HotTier *tier);
void hot_set_limit(HotTier *tier, size_t bytes);
/* That the table, the list and the sums say the same (base/debug.h). */
void hot_check(const HotTier *tier);

/* --- own commits --- */

/* A key that a transaction has written, and its row since; nothing is `known` of that if it is not known. */
typedef struct HotChange {
    hot_key key; /* its object is strong */
    int noted;   /* its place in the table of versions' list, or -1 */
    hot_row row;
} HotChange;

/* All of them. Zero-initialize. */
typedef struct HotChanges {
    dc_wal_header header; /* of the transaction's session; NULL: nothing can be kept */
    unsigned long state;  /* the tier's, under the write lock, before anything was written */
    uint32_t generation;  /* the same; 0: it was not current */
    int unknown;          /* more was written than the keys tell */
    int has_victims;      /* and some of it only the table of versions knows of */
    size_t count, capacity;
    size_t bytes, limit; /* of the objects; beyond the limit keys are listed without their rows */
    HotChange *each;     /* owned */
} HotChanges;

/* The write lock has been got: note what the tier knows. `versions`: the session's table. */
void hot_begin(HotTier *tier, HotChanges *changes, dc_wal_header header,
               const dc_version_table *versions);
/* A key has been written; `noted`: what dc_version_table_note has said of it. */
void hot_change(HotChanges *changes, const hot_key *key, int noted);
/* The key has been set: `stored` is the value, `tag` what keeps the bytes of its tag, or NULL. */
void hot_change_to(HotChanges *changes, const hot_key *key, int noted, const disk_value *stored,
                   PyObject *tag);
/* Rows have been evicted whose keys only the table of versions knows, perhaps some that are listed; not the last one,
 * with `spares_last`. */
void hot_change_victims(HotChanges *changes, int spares_last);
/* It has been committed, and has left that header, if it is known. */
void hot_commit(HotTier *tier, HotChanges *changes, const dc_stamp *stamp,
                const dc_version_table *versions);
void hot_changes_clear(HotChanges *changes);

#endif
