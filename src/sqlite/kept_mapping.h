/* kept_mapping.h: the mapping of the database's file, kept when another process has committed.
 *
 * SQLite reads pages of the database through a mapping of its file (PRAGMA mmap_size). When a transaction begins after
 * another connection's commit it removes the mapping and makes it anew with the first page that it needs. That takes two
 * system calls, and a page fault for what each lookup touches from then on: a third of the time of a process that
 * reads where another writes once in a while.
 *
 * SQLite does so since the file may have been cut and have grown again meanwhile, and a system may then show something
 * else in the mapping than in the file. Linux does not: a shared mapping shows the pages that the file has. SQLite
 * itself relies on that, as a checkpoint writes to the file without anybody's mapping being removed. So the mapping is
 * left as it is if the file has the size that it had. If it has another one the mapping is removed: beyond the end of
 * the file there is a SIGBUS, and what is behind the end of the mapping would be read, which takes longer.
 *
 * SQLite maps the file later than it removes the mapping, with the first page or before a checkpoint. The file may have
 * been longer by then, and have been cut to the size that it had before. So SQLite is asked, too, whether its mapping
 * ends with the file.
 */
#ifndef DC_SQLITE_KEPT_MAPPING_H
#define DC_SQLITE_KEPT_MAPPING_H

#include "sqlite/io_override.h"

typedef struct dc_kept_mapping {
    dc_io_override io; /* first: of the database's file, from attach to detach */
    dc_int64 size;     /* of the file when the mapping was last removed */
} dc_kept_mapping;

/* From now on it is kept; nothing happens on systems of which the above is not known. */
void dc_kept_mapping_attach(dc_kept_mapping *mapping, sqlite3_file *file);
/* From now on SQLite removes it again. Nothing happens if it is not attached. What has been attached to the file later
 * has to be detached before. */
void dc_kept_mapping_detach(dc_kept_mapping *mapping);

#endif
