/* readmark.c: see readmark.h. */
#include "readmark.h"

#include <stddef.h>

/* Of the eight locks of the wal-index those of the read marks that can be raised. */
enum { FIRST_MARK_LOCK = 4, MARKS = 4 };

/* One BEGIN in so many raises a mark: what is copied of the log falls behind by so many commits. */
#define RAISE_EVERY 16

static int lock_without_raising(sqlite3_file *file, int first, int count, int flags)
{
    dc_readmark *mark = (dc_readmark *)((char *)file->methods - offsetof(dc_readmark, methods));

    /* When all four have been refused and SQLite tries again, no mark can be used as it stands. */
    if (first >= FIRST_MARK_LOCK && flags == (DC_SQLITE_SHM_LOCK | DC_SQLITE_SHM_EXCLUSIVE) &&
        mark->refused < MARKS) {
        mark->refused++;
        return DC_SQLITE_BUSY;
    }
    return mark->original->shm_lock(file, first, count, flags);
}

void dc_readmark_keep(dc_readmark *mark, sqlite3_file *file)
{
    if (mark->begins++ % RAISE_EVERY == 0 || file == NULL || file->methods == NULL ||
        file->methods->version < 2 || file->methods->shm_lock == NULL) {
        return;
    }
    if (mark->original != file->methods) {
        mark->original = file->methods;
        mark->methods = *file->methods;
        mark->methods.shm_lock = lock_without_raising;
    }
    mark->refused = 0;
    mark->file = file;
    file->methods = &mark->methods;
}

void dc_readmark_release(dc_readmark *mark)
{
    if (mark->file != NULL) {
        mark->file->methods = mark->original;
        mark->file = NULL;
    }
}

void dc_readmark_raise(dc_readmark *mark)
{
    mark->begins = 0;
}
