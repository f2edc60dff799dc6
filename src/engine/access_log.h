/* access_log.h: what lookups would have written, kept until something is written anyway.
 *
 * Under the policies least-recently-used and least-frequently-used every lookup changes its row, and
 * with statistics a counter. As writes of their own these would cost more than ten times what the
 * lookup does. So they are noted here and flushed by the next transaction, which writes in any case.
 *
 * What others see late is a time or a count, never a value; a process that is killed loses what it has
 * noted since it last wrote, at most of the last second or so (the caller flushes after NOTES_SECONDS).
 * A row may be deleted, and its number be another row's, before the note is flushed: then that one
 * counts as used.
 *
 * A table with open addressing, keyed by rowid; owned by the dc_notes.
 */
#ifndef DC_ENGINE_ACCESS_LOG_H
#define DC_ENGINE_ACCESS_LOG_H

#include "engine/db.h"

/* Seconds after which notes are to be flushed, even if nothing else is written. */
#define DC_NOTES_SECONDS 1.0

typedef struct dc_note {
    int64_t rowid; /* 0: free */
    int64_t times;
    double last; /* seconds since the epoch; 0.0: not needed */
} dc_note;

/* Zero-initialize. */
typedef struct dc_notes {
    dc_note *table;
    size_t size; /* a power of two, or 0 */
    size_t count;
    int64_t hits, misses;
} dc_notes;

static inline int dc_notes_any(const dc_notes *notes)
{
    return notes->count > 0 || notes->hits > 0 || notes->misses > 0;
}

/* Note that a row was looked up `times` times. DC_NO_MEMORY also when there are too many: flush. */
dc_status dc_notes_access(dc_notes *notes, int64_t rowid, int64_t times, double last);

/* Write them; they stay noted until dc_notes_clear, as the transaction may be rolled back. */
dc_status dc_notes_flush(const dc_notes *notes, dc_db *db, dc_policy policy);

/* Note in `notes` all that is noted in `others`; what there is no memory for is forgotten. */
void dc_notes_merge(dc_notes *notes, const dc_notes *others);
void dc_notes_clear(dc_notes *notes);

#endif
