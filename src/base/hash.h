/* hash.h: a hash that is the same in every process, and on each machine of one byte order.
 *
 * The table of versions (sqlite/version_table.h) has its slots by it: another hash would be another format
 * of that file.
 */
#ifndef DC_BASE_HASH_H
#define DC_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Every bit of the word has to come to the low ones: of a real number most of those are 0. */
static inline uint64_t dc_hash_mix(uint64_t hash, uint64_t word)
{
    hash ^= word;
    hash = (hash ^ hash >> 32) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 32;
}

static inline uint64_t dc_hash_bytes(const char *data, size_t size)
{
    uint64_t hash = dc_hash_mix(0, size);
    uint64_t word;

    for (; size >= sizeof word; size -= sizeof word, data += sizeof word) {
        memcpy(&word, data, sizeof word);
        hash = dc_hash_mix(hash, word);
    }
    word = 0;
    if (size > 0) {
        memcpy(&word, data, size);
    }
    return dc_hash_mix(hash, word);
}

#endif
