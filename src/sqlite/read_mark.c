/* read_mark.c: see read_mark.h. */
#include "sqlite/read_mark.h"

#include "base/selfcheck.h"

/* Of the eight locks of the wal-index those of the read marks that can be raised. */
enum { FIRST_MARK_LOCK = 4, MARKS = 4 };

/* One BEGIN in so many raises a mark: what is copied of the log falls behind by so many commits. */
#define RAISE_EVERY 16

static int lock_without_raising(sqlite3_file *file, int first, int count, int flags)
{
    dc_read_mark *mark = (dc_read_mark *)dc_io_override_of(file);

    /* When all four have been refused and SQLite tries again, no mark can be used as it stands. */
    if (first >= FIRST_MARK_LOCK && flags == (DC_SQLITE_SHM_LOCK | DC_SQLITE_SHM_EXCLUSIVE) &&
        mark->refused < MARKS) {
        mark->refused++;
        return DC_SQLITE_BUSY;
    }
    return mark->io.original->shm_lock(file, first, count, flags);
}

void dc_read_mark_keep(dc_read_mark *mark, sqlite3_file *file)
{
    dc_io_methods *methods = NULL;

    mark->refused = 0;
    if (mark->begins++ % RAISE_EVERY != 0 && dc_selfcheck_holds(DC_READ_MARK)) {
        methods = dc_io_override_begin(&mark->io, file);
    }
    if (methods != NULL) {
        methods->shm_lock = lock_without_raising;
    }
}

void dc_read_mark_release(dc_read_mark *mark)
{
    dc_io_override_end(&mark->io);
}

void dc_read_mark_raise(dc_read_mark *mark)
{
    mark->begins = 0;
}
