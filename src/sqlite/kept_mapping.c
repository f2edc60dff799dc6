/* kept_mapping.c: see kept_mapping.h. */
#include "sqlite/kept_mapping.h"

#include <stddef.h>

#ifdef __linux__

static const char tag;

/* Whether more is mapped than the file has: SQLite then has the byte behind the end of the file. If nothing is mapped
 * it maps the file now. */
static int reaches_beyond(const dc_io_methods *original, sqlite3_file *file, dc_int64 size)
{
    void *byte = NULL;
    int reaches = original->fetch(file, size, 1, &byte) != DC_SQLITE_OK || byte != NULL;

    if (byte != NULL) {
        original->unfetch(file, size, byte);
    }
    return reaches;
}

/* Without a page this removes the whole mapping. */
static int remove_or_keep(sqlite3_file *file, dc_int64 offset, void *page)
{
    dc_kept_mapping *mapping = (dc_kept_mapping *)dc_io_override_tagged(file, &tag);
    const dc_io_methods *original = mapping->io.original;
    dc_int64 size;

    if (page == NULL && original->file_size(file, &size) == DC_SQLITE_OK) {
        if (size == mapping->size && !reaches_beyond(original, file, size)) {
            return DC_SQLITE_OK;
        }
        mapping->size = size;
    }
    return original->unfetch(file, offset, page);
}

void dc_kept_mapping_attach(dc_kept_mapping *mapping, sqlite3_file *file)
{
    dc_io_methods *methods = dc_io_override_begin(&mapping->io, file);

    if (methods != NULL) {
        methods->unfetch = remove_or_keep;
        mapping->io.tag = &tag;
        mapping->size = -1;
    }
}

#else

void dc_kept_mapping_attach(dc_kept_mapping *mapping, sqlite3_file *file)
{
    (void)file;
    mapping->io.file = NULL;
}

#endif

void dc_kept_mapping_detach(dc_kept_mapping *mapping)
{
    dc_io_override_end(&mapping->io);
}
