/* convert.c: see convert.h. */
#include "python/convert.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "base/clock.h"
#include "python/guard.h"
#include "sqlite/api.h"

PyObject *convert_from_datum(const dc_datum *datum)
{
    switch (datum->type) {
    case DC_INTEGER:
        return PyLong_FromLongLong(datum->as.integer);
    case DC_REAL:
        return PyFloat_FromDouble(datum->as.real);
    case DC_TEXT:
        return PyUnicode_DecodeUTF8(datum->as.bytes.data, (Py_ssize_t)datum->as.bytes.size, NULL);
    case DC_BLOB:
        return PyBytes_FromStringAndSize(datum->as.bytes.data, (Py_ssize_t)datum->as.bytes.size);
    default:
        Py_RETURN_NONE;
    }
}

#define SHOWN_BYTES 60 /* of what cannot be decoded */

PyObject *convert_from_column(module_state *state, const dc_datum *datum, const char *column)
{
    PyObject *object = convert_from_datum(datum);
    Py_ssize_t shown;
    PyObject *bytes;

    if (object != NULL || datum->type != DC_TEXT ||
        !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        return object;
    }
    PyErr_Clear();
    shown = datum->as.bytes.size < SHOWN_BYTES ? (Py_ssize_t)datum->as.bytes.size : SHOWN_BYTES;
    bytes = PyBytes_FromStringAndSize(datum->as.bytes.data, shown);
    if (bytes != NULL) {
        PyErr_Format(state->sqlite_errors[SQLITE_ERROR_OperationalError],
                     "the text of a %s is not UTF-8: %R", column, bytes);
        Py_DECREF(bytes);
    }
    return NULL;
}

void convert_raise_damaged(module_state *state, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    PyErr_FormatV(state->sqlite_errors[SQLITE_ERROR_DatabaseError], format, arguments);
    va_end(arguments);
}

int convert_text(PyObject *text, dc_datum *datum)
{
    Py_ssize_t size;
    const char *data = PyUnicode_AsUTF8AndSize(text, &size);

    if (data == NULL) {
        return -1;
    }
    datum->type = DC_TEXT;
    datum->as.bytes.data = data;
    datum->as.bytes.size = (size_t)size;
    return 0;
}

void convert_bytes(PyObject *bytes, dc_datum *datum)
{
    datum->type = DC_BLOB;
    datum->as.bytes.data = PyBytes_AS_STRING(bytes);
    datum->as.bytes.size = (size_t)PyBytes_GET_SIZE(bytes);
}

static int convert_integer(PyObject *object, const char *argument, dc_datum *datum)
{
    int overflow;
    long long integer = PyLong_AsLongLongAndOverflow(object, &overflow);

    if (overflow != 0) {
        PyErr_Format(PyExc_OverflowError, "%s does not fit into 64 bits", argument);
        return -1;
    }
    if (integer == -1 && PyErr_Occurred()) {
        return -1;
    }
    datum->type = DC_INTEGER;
    datum->as.integer = integer;
    return 0;
}

static int convert_real(double real, const char *argument, dc_datum *datum)
{
    if (isnan(real)) {
        PyErr_Format(PyExc_ValueError, "%s must not be NaN", argument);
        return -1;
    }
    datum->type = DC_REAL;
    datum->as.real = real;
    return 0;
}

int convert_to_datum(PyObject *object, const char *argument, dc_datum *datum, PyObject **owner)
{
    *owner = NULL;
    if (object == Py_None) {
        datum->type = DC_NULL;
        return 0;
    }
    if (PyLong_Check(object)) {
        return convert_integer(object, argument, datum);
    }
    if (PyFloat_Check(object)) {
        return convert_real(PyFloat_AS_DOUBLE(object), argument, datum);
    }
    if (PyUnicode_Check(object)) {
        if (convert_text(object, datum) < 0) {
            return -1;
        }
        *owner = Py_NewRef(object);
        return 0;
    }
    if (PyObject_CheckBuffer(object)) {
        *owner = PyBytes_CheckExact(object) ? Py_NewRef(object) : PyBytes_FromObject(object);
        if (*owner == NULL) {
            return -1;
        }
        convert_bytes(*owner, datum);
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s must be None, int, float, str or bytes, not '%.200s'",
                 argument, Py_TYPE(object)->tp_name);
    return -1;
}

const char *convert_filename(PyObject *object, const char *argument)
{
    Py_ssize_t size;
    const char *name;

    if (!PyUnicode_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s must be str, not '%.200s'", argument,
                     Py_TYPE(object)->tp_name);
        return NULL;
    }
    name = PyUnicode_AsUTF8AndSize(object, &size);
    if (name != NULL && strlen(name) != (size_t)size) {
        PyErr_Format(PyExc_ValueError, "%s must not contain NUL", argument);
        return NULL;
    }
    return name;
}

int convert_seconds(PyObject *object, const char *argument, double *seconds)
{
    if (!PyFloat_Check(object) && !PyIndex_Check(object) &&
        (Py_TYPE(object)->tp_as_number == NULL ||
         Py_TYPE(object)->tp_as_number->nb_float == NULL)) {
        PyErr_Format(PyExc_TypeError, "%s must be a number of seconds, not '%.200s'", argument,
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    *seconds = PyFloat_AsDouble(object);
    if (*seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (isnan(*seconds)) {
        PyErr_Format(PyExc_ValueError, "%s must not be NaN", argument);
        return -1;
    }
    return 0;
}

int convert_expire(PyObject *expire, double now, dc_columns *columns)
{
    double seconds;

    columns->has_expire_time = 0;
    columns->expire_time = 0.0;
    if (expire == NULL || expire == Py_None) {
        return 0;
    }
    if (convert_seconds(expire, "expire", &seconds) < 0) {
        return -1;
    }
    columns->has_expire_time = 1;
    columns->expire_time = now + seconds;
    return 0;
}

int convert_number(PyObject *object, const char *argument, dc_datum *datum)
{
    PyObject *index;
    int result;

    if (PyFloat_Check(object)) {
        return convert_real(PyFloat_AS_DOUBLE(object), argument, datum);
    }
    if (!PyIndex_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s must be an int or a float, not '%.200s'", argument,
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    index = PyNumber_Index(object);
    if (index == NULL) {
        return -1;
    }
    result = convert_integer(index, argument, datum);
    Py_DECREF(index);
    return result;
}

/* What a function returns if it is time.time, and nothing that has taken its place: a patch of a test's, or freezegun's,
 * or the code that time-machine puts into the same object. */
static int read_pythons_time(const module_state *state, PyObject *function, double *now)
{
#ifdef _WIN32
    (void)state, (void)function, (void)now;
    return 0;
#else
    int is_own = state->code_of_time != NULL && PyCFunction_CheckExact(function) &&
                 PyCFunction_GET_FUNCTION(function) == state->code_of_time;

    if (is_own) {
        *now = dc_clock_time();
    }
    return is_own;
#endif
}

static int call_time(PyObject *function, double *now)
{
    PyObject *time = PyObject_CallNoArgs(function);

    if (time == NULL) {
        return -1;
    }
    *now = PyFloat_AsDouble(time);
    Py_DECREF(time);
    return *now == -1.0 && PyErr_Occurred() ? -1 : 0;
}

int convert_now(module_state *state, double *now)
{
    PyObject *function = PyObject_GetAttr(state->time_module, state->name.time);
    int result;

    if (function == NULL) {
        return -1;
    }
    result = read_pythons_time(state, function, now) ? 0 : call_time(function, now);
    Py_DECREF(function);
    return result;
}

/* The class that Python's sqlite3 raises for each primary result code from 1 on, and the code's name. */
static const struct {
    enum sqlite_error type;
    const char *name;
} error_of_code[] = {
    [1] = {SQLITE_ERROR_OperationalError, "SQLITE_ERROR"},
    [2] = {SQLITE_ERROR_InternalError, "SQLITE_INTERNAL"},
    [3] = {SQLITE_ERROR_OperationalError, "SQLITE_PERM"},
    [4] = {SQLITE_ERROR_OperationalError, "SQLITE_ABORT"},
    [5] = {SQLITE_ERROR_OperationalError, "SQLITE_BUSY"},
    [6] = {SQLITE_ERROR_OperationalError, "SQLITE_LOCKED"},
    [8] = {SQLITE_ERROR_OperationalError, "SQLITE_READONLY"},
    [9] = {SQLITE_ERROR_OperationalError, "SQLITE_INTERRUPT"},
    [10] = {SQLITE_ERROR_OperationalError, "SQLITE_IOERR"},
    [11] = {SQLITE_ERROR_DatabaseError, "SQLITE_CORRUPT"},
    [12] = {SQLITE_ERROR_InternalError, "SQLITE_NOTFOUND"},
    [13] = {SQLITE_ERROR_OperationalError, "SQLITE_FULL"},
    [14] = {SQLITE_ERROR_OperationalError, "SQLITE_CANTOPEN"},
    [15] = {SQLITE_ERROR_OperationalError, "SQLITE_PROTOCOL"},
    [16] = {SQLITE_ERROR_OperationalError, "SQLITE_EMPTY"},
    [17] = {SQLITE_ERROR_OperationalError, "SQLITE_SCHEMA"},
    [18] = {SQLITE_ERROR_DataError, "SQLITE_TOOBIG"},
    [19] = {SQLITE_ERROR_IntegrityError, "SQLITE_CONSTRAINT"},
    [20] = {SQLITE_ERROR_IntegrityError, "SQLITE_MISMATCH"},
    [21] = {SQLITE_ERROR_InterfaceError, "SQLITE_MISUSE"},
    [25] = {SQLITE_ERROR_InterfaceError, "SQLITE_RANGE"},
    [26] = {SQLITE_ERROR_DatabaseError, "SQLITE_NOTADB"},
};

#define CODE_NO_MEMORY 7

/* A message as a str. SQLite quotes names and texts of the database, which may be in any encoding. */
static PyObject *message_text(const dc_error *error)
{
    return PyUnicode_DecodeUTF8(error->message, (Py_ssize_t)strlen(error->message), "replace");
}

static void raise_message(PyObject *type, const dc_error *error)
{
    PyObject *message = message_text(error);

    if (message != NULL) {
        PyErr_SetObject(type, message);
        Py_DECREF(message);
    }
}

/* The name of a result code. Those of extended codes are constants of sqlite3 from Python 3.11 on; without
 * them, the name of the primary code. */
static PyObject *code_name(module_state *state, PyObject *code, const char *primary)
{
    PyObject *prefix = PyUnicode_FromString(primary);
    PyObject *name = NULL;
    PyObject *constant;
    PyObject *value;
    Py_ssize_t at = 0;

    GUARD_BEGIN(state->sqlite_constants)
    while (prefix != NULL && name == NULL &&
           PyDict_Next(state->sqlite_constants, &at, &constant, &value)) {
        /* Only ints of the very type, whose comparison runs no code of others. */
        if (PyLong_CheckExact(value) && PyUnicode_Check(constant) &&
            PyUnicode_Tailmatch(constant, prefix, 0, PY_SSIZE_T_MAX, -1) == 1 &&
            PyObject_RichCompareBool(value, code, Py_EQ) == 1) {
            name = Py_NewRef(constant);
        }
    }
    GUARD_END()
    if (name != NULL) {
        Py_SETREF(prefix, name);
    }
    return prefix;
}

/* Set on an exception which code it is about, as sqlite3 does from Python 3.11 on. -1 with an exception. */
static int set_code(module_state *state, PyObject *exception, int sqlite_code, const char *primary)
{
    PyObject *code = PyLong_FromLong(sqlite_code);
    PyObject *name = code != NULL ? code_name(state, code, primary) : NULL;
    int failed = name == NULL ||
                 PyObject_SetAttr(exception, state->name.sqlite_errorcode, code) < 0 ||
                 PyObject_SetAttr(exception, state->name.sqlite_errorname, name) < 0;

    Py_XDECREF(name);
    Py_XDECREF(code);
    return failed ? -1 : 0;
}

static void raise_sqlite(module_state *state, const dc_error *error)
{
    unsigned int primary = (unsigned int)error->sqlite_code & 0xff;
    PyObject *type = state->sqlite_errors[SQLITE_ERROR_DatabaseError];
    const char *name = NULL;
    PyObject *message;
    PyObject *exception;

    if (primary == CODE_NO_MEMORY) {
        PyErr_NoMemory();
        return;
    }
    if (primary < Py_ARRAY_LENGTH(error_of_code)) {
        type = state->sqlite_errors[error_of_code[primary].type];
        name = error_of_code[primary].name;
    }
    message = message_text(error);
    exception = message != NULL ? PyObject_CallOneArg(type, message) : NULL;
    if (exception != NULL &&
        set_code(state, exception, error->sqlite_code, name != NULL ? name : "unknown") == 0) {
        PyErr_SetObject(type, exception);
    }
    Py_XDECREF(exception);
    Py_XDECREF(message);
}

void convert_raise(module_state *state, dc_status status, const dc_error *error)
{
    switch (status) {
    case DC_CALLBACK: /* has raised its own */
        break;
    case DC_NO_MEMORY:
        PyErr_NoMemory();
        break;
    case DC_SYSTEM:
    case DC_NOT_FOUND:
        errno = error->system_errno != 0 ? error->system_errno : ENOENT;
        PyErr_SetFromErrnoWithFilename(PyExc_OSError, error->message);
        break;
    case DC_TYPE:
        raise_message(PyExc_TypeError, error);
        break;
    case DC_OVERFLOW:
        raise_message(PyExc_OverflowError, error);
        break;
    case DC_CORRUPT:
        raise_message(PyExc_OSError, error);
        break;
    default:
        raise_sqlite(state, error);
        break;
    }
}

int convert_sqlite_code(module_state *state, PyObject *exception)
{
    PyObject *code = PyObject_GetAttr(exception, state->name.sqlite_errorcode);
    long number = code != NULL && PyLong_Check(code) ? PyLong_AsLong(code) : -1;

    Py_XDECREF(code);
    PyErr_Clear();
    return number >= 0 ? (int)(number & 0xff) : -1;
}
