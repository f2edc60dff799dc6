/* io_override.c: see io_override.h. */
#include "sqlite/io_override.h"

#include <stddef.h>

dc_io_methods *dc_io_override_begin(dc_io_override *override, sqlite3_file *file)
{
    override->file = NULL;
    override->tag = NULL;
    if (file == NULL || file->methods == NULL || file->methods->version != DC_IO_VERSION) {
        return NULL;
    }
    override->file = file;
    override->original = file->methods;
    override->methods = *file->methods;
    file->methods = &override->methods;
    return &override->methods;
}

void dc_io_override_end(dc_io_override *override)
{
    if (override->file != NULL && override->file->methods == &override->methods) {
        override->file->methods = override->original;
    }
    override->file = NULL;
}
