/* disk_file.h: the value files of a Disk: written, read and removed, without the GIL where that takes long.
 */
#ifndef DC_PYTHON_DISK_FILE_H
#define DC_PYTHON_DISK_FILE_H

#include "python/disk.h"

#include "engine/valuefile.h"

/* Write the bytes of a datum to a new file, whose name is put into `name`. 0, or -1 with an exception: there is no
 * file then. */
int disk_file_write(Disk *self, const dc_datum *content, char name[DC_VALUEFILE_NAME_SIZE]);
/* The same with pieces, which are of `size` bytes together. */
int disk_file_write_pieces(Disk *self, const dc_piece *pieces, size_t count, size_t size,
                           char name[DC_VALUEFILE_NAME_SIZE]);
/* The same with what a file-like object has; *size receives how much that is. */
int disk_file_copy(Disk *self, PyObject *reader, char name[DC_VALUEFILE_NAME_SIZE], int64_t *size);

/* How many bytes a file must have. */
typedef struct disk_file_size {
    int64_t least, most;
} disk_file_size;

#define DISK_FILE_ANY_SIZE ((disk_file_size){0, INT64_MAX})

/* The bytes of a file; or a Python file object. NULL with an exception; or with *missing = 1, unless that is NULL,
 * where the file is not there or has not the size. */
PyObject *disk_file_read(Disk *self, const char *name, disk_file_size size, int *missing);
PyObject *disk_file_open(Disk *self, const char *name, disk_file_size size, int *missing);
/* The str that is in a file as UTF-8. */
PyObject *disk_file_read_text(Disk *self, const char *name, disk_file_size size, int *missing);
/* A file that has been opened. */
typedef struct disk_opened {
    int descriptor;
    int64_t size;
    double seconds; /* that opening it took */
} disk_opened;

/* For who reads it in another way, and closes it. -1 as NULL above. */
int disk_file_enter(Disk *self, const char *name, disk_file_size size, disk_opened *file,
                    int *missing);
/* disk_file_read of it: it is closed. */
PyObject *disk_file_read_opened(Disk *self, const disk_opened *file, int *missing);
/* Whether a file is there and has not the size. An exception that is set stays. */
int disk_file_differs(Disk *self, const char *name, disk_file_size size);

/* Remove the files, all of them whatever happens (none if `disk` is NULL), or have the hook do it. -1 with the first
 * exception that it raised. */
int disk_remove_all(module_state *state, PyObject *disk, const dc_namelist *names);

#endif
