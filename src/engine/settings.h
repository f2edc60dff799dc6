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

#endif
