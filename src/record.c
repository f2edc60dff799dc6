/* record.c: the memory behind rows and name lists; see record.h for who owns what. */
#include "record.h"

#include <stdlib.h>
#include <string.h>

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

static size_t room_of(const dc_datum *datum)
{
    return datum->type == DC_TEXT || datum->type == DC_BLOB ? datum->as.bytes.size + 1 : 0;
}

static void copy_datum(dc_row *copy, const dc_datum *from, dc_datum *to)
{
    *to = *from;
    if (room_of(from) > 0) {
        to->as.bytes.data = dc_row_keep(copy, from->as.bytes.data, from->as.bytes.size);
    }
}

int dc_row_copy(dc_row *copy, const dc_row *row)
{
    const dc_columns *columns = &row->columns;
    size_t name_size = columns->filename != NULL ? strlen(columns->filename) : 0;

    /* Not row->used: a row's bytes need not all lie in its own memory. */
    if (!dc_row_reserve(copy, room_of(&row->key.datum) + room_of(&columns->tag) +
                                  room_of(&columns->value) + name_size + 1)) {
        return 0;
    }
    copy->rowid = row->rowid;
    copy->store_time = row->store_time;
    copy->key.raw = row->key.raw;
    copy->columns = *columns;
    copy_datum(copy, &row->key.datum, &copy->key.datum);
    copy_datum(copy, &columns->tag, &copy->columns.tag);
    copy_datum(copy, &columns->value, &copy->columns.value);
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
