/* format.h: the names and numbers of a cache directory that more than one file needs, and Python too
 * (python/exports.c). docs/format.rst says what they mean.
 */
#ifndef DC_BASE_FORMAT_H
#define DC_BASE_FORMAT_H

#include <stdint.h>

/* The database. SQLite puts "-wal" and "-shm" behind its name. */
#define DC_DATABASE_NAME "cache.db"
/* Behind its name: the table of versions (sqlite/version_table.h). */
#define DC_VERSION_TABLE_SUFFIX "-hot"

/* A value file: so many hexadecimal digits, of which the first two and the next two name directories, and
 * a suffix. While it is written it has the other one, which contains the name of the database: the
 * original's check() leaves such files alone. */
#define DC_VALUEFILE_DIGITS           32
#define DC_VALUEFILE_SUFFIX           ".val"
#define DC_VALUEFILE_TEMPORARY_SUFFIX "." DC_DATABASE_NAME "-tmp"

/* Keys that push() makes: numbers between the two, exclusive, from the origin on. The range begins at
 * 10^14, so that a user's own small integer keys are no part of the queue. */
#define DC_QUEUE_LOWEST  INT64_C(99999999999999)
#define DC_QUEUE_HIGHEST INT64_C(999999999999999)
#define DC_QUEUE_ORIGIN  INT64_C(500000000000000)
#define DC_QUEUE_DIGITS  15

#endif
