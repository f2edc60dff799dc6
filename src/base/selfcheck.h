/* selfcheck.h: what leans on undocumented behaviour of SQLite's, and whether that has been seen to hold.
 *
 * Some mechanisms are right only as long as SQLite does things in the order in which the known versions
 * do them. Each of them looks, while it works, whether that is so. Where it is not, the mechanism is
 * turned off for the rest of the process, which goes on more slowly, and the binding says so once.
 */
#ifndef DC_BASE_SELFCHECK_H
#define DC_BASE_SELFCHECK_H

#include <stdatomic.h>
#include <stddef.h>

typedef enum dc_mechanism {
    DC_COMMIT_STAMP, /* commit_stamp.h: the header is final when COMMIT gives the write lock back */
    DC_WAL_APPEND, /* wal_append.h: a commit's frames are appended in order, the last one says so */
    DC_READ_MARK,  /* read_mark.h: a BEGIN that may not raise a read mark uses a lower one */
    DC_MECHANISM_COUNT
} dc_mechanism;

/* Why each has been turned off; NULL: it has not. */
extern _Atomic(const char *) dc_selfcheck_failures[DC_MECHANISM_COUNT];
/* Changes with each failure. */
extern atomic_int dc_selfcheck_count;

static inline int dc_selfcheck_holds(dc_mechanism mechanism)
{
    return atomic_load_explicit(&dc_selfcheck_failures[mechanism], memory_order_relaxed) == NULL;
}

/* Turn a mechanism off; `reason` is a sentence that stays valid. */
void dc_selfcheck_fail(dc_mechanism mechanism, const char *reason);

#endif
