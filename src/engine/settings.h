/* settings.h: the table Settings.
 */
#ifndef DC_ENGINE_SETTINGS_H
#define DC_ENGINE_SETTINGS_H

#include "base/record.h"
#include "engine/db.h"

dc_status dc_setting_get(dc_db *db, const char *name, dc_row *row); /* into row->columns.value */
dc_status dc_setting_get_integer(dc_db *db, const char *name, int64_t *value);
dc_status dc_setting_set(dc_db *db, dc_sql sql, const char *name, const dc_datum *value);
dc_status dc_setting_count_lookups(dc_db *db, int hits, int64_t times);

/* Set the pragmas that are stored as settings named sqlite_*, for a new connection. These are no failures:
 *   - a file without settings, which is a new one: *lacks_settings is set;
 *   - a value that no pragma can have: it is damaged, and opening the cache has said so (opening.py);
 *   - a journal mode that cannot be set because others have the file open: the file keeps its own, and *kept is
 *     set. Two connections that waited to set it would wait for each other.
 * What is opened read-only gets those that are for readers. */
dc_status dc_settings_apply_pragmas(dc_db *db, int *kept, int *lacks_settings);

#endif
