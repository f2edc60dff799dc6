/* wal_header.c: see wal_header.h. */
#include "sqlite/wal_header.h"

#include <string.h>

#include "sqlite/api.h"

#define WAL_INDEX_VERSION 3007000u
/* The size of a mapped part of the wal-index, part of its format. */
#define WAL_INDEX_REGION 32768

/* A commit writes 96 bytes. */
#define HEADER_ATTEMPTS 100

/* The header's fields, as far as they are looked at. */
enum { WORD_VERSION = 0, WORD_FRAMES = 4, WORD_CHECKSUM = 10, WORD_COUNT = 12 };
enum { BYTE_INITIALIZED = 12, BYTE_PAGE_SIZE = 14 };

static void split(const dc_stamp *stamp, uint32_t words[WORD_COUNT])
{
    memcpy(words, stamp->words, sizeof stamp->words);
}

/* The checksum that SQLite keeps of the header's first 40 bytes, in the machine's byte order. */
static int has_right_checksum(const uint32_t words[WORD_COUNT])
{
    uint32_t first = 0;
    uint32_t second = 0;

    for (int i = 0; i < WORD_CHECKSUM; i += 2) {
        first += words[i] + second;
        second += words[i + 1] + first;
    }
    return first == words[WORD_CHECKSUM] && second == words[WORD_CHECKSUM + 1];
}

int dc_stamp_read(dc_wal_header header, dc_stamp *stamp)
{
    uint32_t words[WORD_COUNT];
    unsigned char bytes[sizeof stamp->words];

    for (int i = 0; i < 6; i++) {
        stamp->words[i] = header[i];
    }
    /* The second copy is written first: where both are equal, no write lies between. */
    atomic_thread_fence(memory_order_acquire);
    for (int i = 0; i < 6; i++) {
        if (header[6 + i] != stamp->words[i]) {
            return 0;
        }
    }
    split(stamp, words);
    memcpy(bytes, stamp->words, sizeof bytes);
    return words[WORD_VERSION] == WAL_INDEX_VERSION && bytes[BYTE_INITIALIZED] == 1;
}

uint32_t dc_stamp_frames(const dc_stamp *stamp)
{
    uint32_t words[WORD_COUNT];

    split(stamp, words);
    return words[WORD_FRAMES];
}

/* 65,536 does not fit into the two bytes: there it is 1. */
static uint32_t page_size_of(uint16_t bytes)
{
    return (bytes & 0xfe00u) + ((bytes & 1u) << 16);
}

uint32_t dc_stamp_page_size(const dc_stamp *stamp)
{
    uint16_t size;

    memcpy(&size, (const char *)stamp->words + BYTE_PAGE_SIZE, sizeof size);
    return page_size_of(size);
}

int64_t dc_wal_bytes(dc_wal_header header)
{
    const volatile uint32_t *words = (const volatile uint32_t *)header;
    const volatile uint16_t *halves = (const volatile uint16_t *)header;

    return (int64_t)words[WORD_FRAMES] * page_size_of(halves[BYTE_PAGE_SIZE / 2]);
}

dc_wal_header dc_wal_header_of(sqlite3_file *file)
{
    const dc_io_methods *methods = file != NULL ? file->methods : NULL;
    volatile void *mapped = NULL;
    uint32_t words[WORD_COUNT];
    dc_stamp stamp;
    int attempts = HEADER_ATTEMPTS;

    if (methods == NULL || methods->version < 2 || methods->shm_map == NULL ||
        methods->shm_map(file, 0, WAL_INDEX_REGION, 0, &mapped) != DC_SQLITE_OK || mapped == NULL) {
        return NULL;
    }
    while (!dc_stamp_read(mapped, &stamp)) { /* somebody may be committing just now */
        if (--attempts == 0) {
            return NULL;
        }
    }
    split(&stamp, words);
    return has_right_checksum(words) ? (dc_wal_header)mapped : NULL;
}
