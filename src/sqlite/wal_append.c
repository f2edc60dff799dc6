/* wal_append.c: see wal_append.h. */
#include "sqlite/wal_append.h"

#include <stdlib.h>
#include <string.h>

#include "base/selfcheck.h"

#define LOG_HEADER_SIZE   32
#define FRAME_HEADER_SIZE 24
/* Most commits are of one to eight frames; a larger one takes several writes. */
#define BUFFER_SIZE ((size_t)16 * (FRAME_HEADER_SIZE + 4096))

static dc_wal_append *frames_of(sqlite3_file *file)
{
    return (dc_wal_append *)dc_io_override_of(file);
}

static int flush(dc_wal_append *frames)
{
    size_t size = frames->size;

    frames->size = 0;
    frames->header_pending = 0;
    return size > 0 ? frames->io.original->write(frames->io.file, frames->buffer, (int)size,
                                                 frames->offset)
                    : DC_SQLITE_OK;
}

/* The header's second word: the size of the database after a commit, 0 in all frames but its last. */
static int is_last_of_commit(const char *header)
{
    return (header[4] | header[5] | header[6] | header[7]) != 0;
}

static int write_gathering(sqlite3_file *file, const void *data, int amount, dc_int64 offset)
{
    dc_wal_append *frames = frames_of(file);
    int is_header = amount == FRAME_HEADER_SIZE && !frames->header_pending;
    int appends = frames->size == 0 || offset == frames->offset + (dc_int64)frames->size;
    int result = DC_SQLITE_OK;

    if (frames->passing || !appends || (!is_header && !frames->header_pending) ||
        (size_t)amount > BUFFER_SIZE - FRAME_HEADER_SIZE) {
        result = flush(frames);
        return result == DC_SQLITE_OK ? frames->io.original->write(file, data, amount, offset)
                                      : result;
    }
    if (frames->size + (size_t)amount > BUFFER_SIZE) {
        result = flush(frames); /* a header may go without its page, which then is the first */
        if (result != DC_SQLITE_OK) {
            return result;
        }
    }
    if (frames->size == 0) {
        frames->offset = offset;
    }
    memcpy(frames->buffer + frames->size, data, (size_t)amount);
    frames->size += (size_t)amount;
    if (is_header) {
        frames->header_pending = 1;
        frames->commits = is_last_of_commit(data);
        return DC_SQLITE_OK;
    }
    frames->header_pending = 0;
    return frames->commits ? flush(frames) : DC_SQLITE_OK;
}

static int read_after_flush(sqlite3_file *file, void *data, int amount, dc_int64 offset)
{
    dc_wal_append *frames = frames_of(file);
    int result = flush(frames);

    frames->passing = 1;
    return result == DC_SQLITE_OK ? frames->io.original->read(file, data, amount, offset) : result;
}

static int truncate_after_flush(sqlite3_file *file, dc_int64 size)
{
    int result = flush(frames_of(file));

    return result == DC_SQLITE_OK ? frames_of(file)->io.original->truncate(file, size) : result;
}

static int sync_after_flush(sqlite3_file *file, int flags)
{
    dc_wal_append *frames = frames_of(file);
    int result = flush(frames);

    /* What follows may be the rest of a frame that SQLite has cut in two at the end of a sector. */
    frames->passing = 1;
    return result == DC_SQLITE_OK ? frames->io.original->sync(file, flags) : result;
}

static int file_size_after_flush(sqlite3_file *file, dc_int64 *size)
{
    int result = flush(frames_of(file));

    return result == DC_SQLITE_OK ? frames_of(file)->io.original->file_size(file, size) : result;
}

void dc_wal_append_begin(dc_wal_append *frames, sqlite3 *handle)
{
    sqlite3_file *file = NULL;
    dc_io_methods *methods = NULL;

    if (frames->buffer == NULL) {
        frames->buffer = malloc(BUFFER_SIZE);
    }
    if (frames->buffer != NULL && dc_selfcheck_holds(DC_WAL_APPEND) &&
        sqlite.file_control(handle, "main", DC_SQLITE_FCNTL_JOURNAL_POINTER, &file) ==
            DC_SQLITE_OK) {
        methods = dc_io_override_begin(&frames->io, file);
    }
    if (methods != NULL) {
        methods->write = write_gathering;
        methods->read = read_after_flush;
        methods->truncate = truncate_after_flush;
        methods->sync = sync_after_flush;
        methods->file_size = file_size_after_flush;
        frames->size = 0;
        frames->header_pending = frames->passing = 0;
    }
}

/* Whether the file is as long as the frames are that the header counts. */
static int is_long_enough(const dc_wal_append *frames, const dc_stamp *stamp)
{
    dc_int64 size = 0;
    dc_int64 frame = FRAME_HEADER_SIZE + (dc_int64)dc_stamp_page_size(stamp);

    return dc_stamp_frames(stamp) == 0 ||
           (frames->io.original->file_size(frames->io.file, &size) == DC_SQLITE_OK &&
            size >= LOG_HEADER_SIZE + frame * dc_stamp_frames(stamp));
}

static void flush_left(dc_wal_append *frames)
{
    if (frames->size > 0) {
        dc_selfcheck_fail(DC_WAL_APPEND, "COMMIT went on after a frame that was not its last");
        frames->failure = flush(frames);
    }
}

void dc_wal_append_check(dc_wal_append *frames, const dc_stamp *stamp)
{
    if (frames->io.file != NULL) {
        flush_left(frames);
        if (!frames->checked && !is_long_enough(frames, stamp)) {
            dc_selfcheck_fail(DC_WAL_APPEND, "the log is shorter than the wal-index says");
        }
        frames->checked = 1;
    }
}

int dc_wal_append_end(dc_wal_append *frames, int committed)
{
    int failure;

    /* What is left of a commit that has failed nobody will read. A file that has been closed, which a
     * rollback journal is with each commit, has no methods any more. */
    if (committed && frames->io.file != NULL && frames->io.file->methods == &frames->io.methods) {
        flush_left(frames);
    }
    dc_io_override_end(&frames->io);
    failure = committed ? frames->failure : DC_SQLITE_OK;
    frames->failure = DC_SQLITE_OK;
    return failure;
}

void dc_wal_append_clear(dc_wal_append *frames)
{
    free(frames->buffer);
    memset(frames, 0, sizeof *frames);
}
