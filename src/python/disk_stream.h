/* disk_stream.h: pickles go straight into value files, and straight out of them.
 *
 * pickle hands what is large, the bytes of an array say, to a file as it is, and has a file put them where they belong.
 * So they are not copied into a pickle first, and not out of one. What is on disk is the same.
 */
#ifndef DC_PYTHON_DISK_STREAM_H
#define DC_PYTHON_DISK_STREAM_H

#include "python/disk.h"

#include "python/disk_file.h"

/* The types of what pickle takes for a file. */
extern PyType_Spec pickle_sink_spec;
extern PyType_Spec pickle_source_spec;

/* Pickle an object by the protocol of the Disk. 0: *pickled has the pickle; 1: it is in a new file, of *size bytes,
 * whose name is put into `name`; -1 with an exception, and there is no file. */
int disk_stream_pickle(Disk *self, PyObject *object, PyObject **pickled,
                       char name[DC_VALUEFILE_NAME_SIZE], int64_t *size);

/* Load the pickle in a file. NULL with an exception; or with *missing = 1, as disk_file_read. */
PyObject *disk_stream_unpickle(Disk *self, const char *name, disk_file_size size, int *missing);

#endif
