/* record.c: the memory behind rows and name lists; see record.h for who owns what. */
#include "base/record.h"

#include <stdlib.h>
#include <string.h>

#include "base/debug.h"

void dc_row_init(dc_row *row)
{
    row->memory = row->inline_memory;
    row->capacity = sizeof row->inline_memory;
    row->used = 0;
}

void dc_row_clear(dc_row *row)
{
    if (row->memory != row->inline_memory) {
        free(row->memory);
    }
    dc_row_init(row);
}

int dc_row_reserve(dc_row *row, size_t size)
{
    char *memory;

    row->used = 0;
    if (size <= row->capacity) {
        return 1;
    }
    memory = malloc(size);
    if (memory == NULL) {
        return 0;
    }
    dc_row_clear(row);
    row->memory = memory;
    row->capacity = size;
    return 1;
}

const char *dc_row_keep(dc_row *row, const char *data, size_t size)
{
    char *copy = row->memory + row->used;

    if (size > 0) {
        memcpy(copy, data, size);
    }
    copy[size] = '\0';
    row->used += size + 1;
    return copy;
}

/* The size of the character at the text's beginning, or 0 if there is none. */
static size_t character_size(const unsigned char *text, size_t size)
{
    unsigned char first = text[0];
    size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

    if (length == 0 || length > size || first > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((first == 0xe0 && text[1] < 0xa0) || (first == 0xed && text[1] > 0x9f) ||
        (first == 0xf0 && text[1] < 0x90) || (first == 0xf4 && text[1] > 0x8f)) {
        return 0;
    }
    return length;
}

int dc_text_is_utf8(const char *text, size_t size)
{
    size_t i = 0;

    while (i < size) {
        uint64_t eight = UINT64_MAX;
        size_t length;

        if (size - i >= sizeof eight) {
            memcpy(&eight, text + i, sizeof eight);
        }
        length = (eight & UINT64_C(0x8080808080808080)) == 0 /* all of them ASCII */
                     ? sizeof eight
                     : character_size((const unsigned char *)text + i, size - i);
        if (length == 0) {
            return 0;
        }
        i += length;
    }
    return 1;
}

void dc_row_keep_datum(dc_row *row, dc_datum *datum)
{
    if (dc_datum_room(datum) > 0) {
        datum->as.bytes.data = dc_row_keep(row, datum->as.bytes.data, datum->as.bytes.size);
    }
}

int dc_row_copy(dc_row *copy, const dc_row *row)
{
    const dc_columns *columns = &row->columns;
    size_t name_size = columns->filename != NULL ? strlen(columns->filename) : 0;

    /* Not row->used: a row's bytes need not all lie in its own memory. */
    if (!dc_row_reserve(copy, dc_datum_room(&row->key.datum) + dc_datum_room(&columns->tag) +
                                  dc_datum_room(&columns->value) + name_size + 1)) {
        return 0;
    }
    copy->rowid = row->rowid;
    copy->store_time = row->store_time;
    copy->key.raw = row->key.raw;
    copy->columns = *columns;
    copy->key.datum = row->key.datum;
    dc_row_keep_datum(copy, &copy->key.datum);
    dc_row_keep_datum(copy, &copy->columns.tag);
    dc_row_keep_datum(copy, &copy->columns.value);
    if (columns->filename != NULL) {
        copy->columns.filename = dc_row_keep(copy, columns->filename, name_size);
    }
    return 1;
}

int dc_namelist_add(dc_namelist *list, const char *name)
{
    size_t size = strlen(name) + 1;

    if (list->capacity - list->used < size) {
        size_t capacity = 2 * list->capacity + size + 256;
        char *memory = realloc(list->memory, capacity);

        if (memory == NULL) {
            return 0;
        }
        list->memory = memory;
        list->capacity = capacity;
    }
    memcpy(list->memory + list->used, name, size);
    list->used += size;
    list->count++;
    return 1;
}

void dc_namelist_rewind(dc_namelist *list, size_t used, size_t count)
{
    if (used <= list->used) { /* it may have been cleared meanwhile */
        list->used = used;
        list->count = count;
    }
}

const char *dc_namelist_next(const dc_namelist *list, const char *name)
{
    const char *next = name == NULL ? list->memory : name + strlen(name) + 1;

    return list->memory != NULL && next < list->memory + list->used ? next : NULL;
}

void dc_namelist_clear(dc_namelist *list)
{
    free(list->memory);
    memset(list, 0, sizeof *list);
}

#ifdef DISKCACHE_DEBUG

void dc_namelist_check(const dc_namelist *list)
{
    size_t count = 0;

    DC_ASSERT(list->used <= list->capacity);
    for (const char *name = dc_namelist_next(list, NULL); name != NULL;
         name = dc_namelist_next(list, name)) {
        count++;
    }
    DC_ASSERT(count == list->count);
}

#endif
