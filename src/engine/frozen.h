/* frozen.h: a database that is read without locks and without a wal-index, since this process can make none.
 *
 * SQLite reads a file so that it is told never changes (immutable=1). Here somebody else may have the right to
 * change it. So after each read the file must be what it was when it was opened, and still have no log:
 * then nobody has written meanwhile, and what has been read is whole, and the latest. Otherwise the read is
 * void, and done again on a new handle.
 *
 * A time stamp tells a change only from one tick of the system's clock to the next. So a file that has just
 * been changed is not taken before a tick is over.
 *
 * Off on Windows: there a database that cannot be written is not opened.
 */
#ifndef DC_ENGINE_FROZEN_H
#define DC_ENGINE_FROZEN_H

#include <stdint.h>

typedef struct dc_frozen {
    char *database; /* owned: its path; NULL: it is none of this kind */
    char *log;      /* owned */
    uint64_t device, file, size;
    int64_t seconds, nanoseconds; /* of its latest change */
} dc_frozen;

/* Look at a database that is about to be opened, perhaps after some 20 ms. 0 if there is no memory, or no such
 * file; otherwise clear it later. */
int dc_frozen_look(dc_frozen *frozen, const char *database);
/* Whether all that has been read since is sound. Costs two calls of the system. */
int dc_frozen_holds(const dc_frozen *frozen);
void dc_frozen_clear(dc_frozen *frozen);

#endif
