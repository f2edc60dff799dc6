/* access_log.h: the deferred access log, what lookups would have written.
 *
 * Under the policies least-recently-used and least-frequently-used every lookup changes its row, and with
 * statistics a counter. A write costs more than ten times what the lookup does. So accesses are logged here in
 * memory, and the next transaction writes them.
 *
 * Others see a time or a count late, never a value. A process that is killed loses the accesses since its last
 * write, those of about a second (DC_ACCESS_LOG_SECONDS). A row may be deleted, and another row get its number,
 * before its access is written: then that row counts as used.
 *
 * A table with open addressing, keyed by rowid; owned by the dc_access_log.
 */
#ifndef DC_ENGINE_ACCESS_LOG_H
#define DC_ENGINE_ACCESS_LOG_H

#include "engine/db.h"

/* The caller flushes after so many seconds, even if nothing else is written. */
#define DC_ACCESS_LOG_SECONDS 1.0

typedef struct dc_logged_access {
    int64_t rowid; /* 0: free */
    int64_t times;
    double last; /* seconds since the epoch; 0.0: not needed */
} dc_logged_access;

/* Zero-initialize. */
typedef struct dc_access_log {
    dc_logged_access *table;
    size_t size; /* a power of two, or 0 */
    size_t count;
    int64_t hits, misses;
} dc_access_log;

static inline int dc_access_log_any(const dc_access_log *log)
{
    return log->count > 0 || log->hits > 0 || log->misses > 0;
}

/* Log that a row was looked up `times` times. DC_NO_MEMORY also if there are too many: flush. */
dc_status dc_access_log_add(dc_access_log *log, int64_t rowid, int64_t times, double last);

/* Write it. It stays as it is until dc_access_log_clear, as the transaction may be rolled back. */
dc_status dc_access_log_flush(const dc_access_log *log, dc_db *db, dc_policy policy);

/* Add all of `others`; what there is no memory for is forgotten. */
void dc_access_log_merge(dc_access_log *log, const dc_access_log *others);
void dc_access_log_clear(dc_access_log *log);

#endif
