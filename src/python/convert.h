/* convert.h: between Python objects and the engine's records, and from a status to an exception.
 *
 * This is the one place where an engine failure becomes an exception. Bytes in a dc_datum made here
 * are borrowed from a Python object, which the caller keeps alive as long as the datum is used.
 */
#ifndef DC_PYTHON_CONVERT_H
#define DC_PYTHON_CONVERT_H

#include "python/state.h" /* first: it includes Python.h */

#include "base/record.h"
#include "base/status.h"

/* A new object: None, int, float, str or bytes. */
PyObject *convert_from_datum(const dc_datum *datum);

/* The same of a column that another program may have written: text that is not UTF-8 is an
 * sqlite3.OperationalError, which names the column. */
PyObject *convert_from_column(module_state *state, const dc_datum *datum, const char *column);

/* Raise sqlite3.DatabaseError: a row is not as anybody writes it. */
void convert_raise_damaged(module_state *state, const char *format, ...);

/* What SQLite can store as it is: None, int, float, str, bytes or another buffer (subclasses too).
 * *owner receives a new reference to the object that holds the bytes, or NULL. `argument` names it in the
 * TypeError, OverflowError (int beyond 64 bits) or ValueError (NaN, which SQLite turns into NULL). */
int convert_to_datum(PyObject *object, const char *argument, dc_datum *datum, PyObject **owner);

/* A str as a file name, NUL-terminated UTF-8 that belongs to it; NULL with TypeError, or ValueError if
 * it contains NUL. `argument` names it. */
const char *convert_filename(PyObject *object, const char *argument);

/* A str or exact bytes as TEXT or BLOB; the bytes are the object's own. */
int convert_text(PyObject *text, dc_datum *datum);
void convert_bytes(PyObject *bytes, dc_datum *datum);

/* A finite or infinite number of seconds. TypeError or ValueError naming `argument`. */
int convert_seconds(PyObject *object, const char *argument, double *seconds);

/* Set columns->expire_time to `expire` (None or NULL: never; else seconds) from `now`. */
int convert_expire(PyObject *expire, double now, dc_columns *columns);

/* An int or a float for incr(). TypeError, OverflowError naming `argument`. */
int convert_number(PyObject *object, const char *argument, dc_datum *datum);

/* time.time(), through the module, because tests patch it there. */
int convert_now(module_state *state, double *now);

/* Raise the exception for a status other than DC_OK: sqlite3's classes for DC_SQLITE and DC_BUSY,
 * OSError with errno and path for DC_SYSTEM, MemoryError, TypeError, OverflowError. */
void convert_raise(module_state *state, dc_status status, const dc_error *error);
/* SQLite's primary result code behind an exception, or -1: Python's sqlite3 tells it from 3.11 on, and
 * convert_raise always. */
int convert_sqlite_code(module_state *state, PyObject *exception);

#endif
