/* limits.h: the limits that C and Python share (python/exports.c): what is done in C for most, and in
 * Python for a subclass or over several shards, has the same ones.
 */
#ifndef DC_BASE_LIMITS_H
#define DC_BASE_LIMITS_H

/* Bytes that a cache may keep in memory unless it is told otherwise. */
#define DC_MEMORY_LIMIT (8 * 1024 * 1024)

/* What one transaction stores of many items: so many, or so many bytes of keys and values in the
 * database. 1,000 rows of 100 bytes are some 3 ms under the lock. */
#define DC_BATCH_ITEMS 1024
#define DC_BATCH_BYTES (4 * 1024 * 1024)

/* How often a value file is tried to be created. Each failed attempt means that somebody removed a
 * directory between its mkdir and the open in it. That is rare but for processes that do nothing else.
 * Against two of them in a tight loop up to 500 attempts in a row failed in 320,000 files: a waiting
 * rmdir gets the lock that mkdir releases. */
#define DC_CREATE_ATTEMPTS 1000

/* Bytes of a file-like object that are read at a time. */
#define DC_READ_BLOCK (4 * 1024 * 1024)

#endif
