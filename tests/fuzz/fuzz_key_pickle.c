/* fuzz_key_pickle.c: the pickles of keys that C makes are those of pickle and pickletools, byte for byte.
 *
 * For libFuzzer. The first byte says what the others are: a pickle to be optimized, after a header or as it is; or
 * objects to be made a key of. What C does not follow it leaves to pickletools, and then nothing is compared.
 */
#define PY_SSIZE_T_CLEAN
#include "python/key_pickle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "input.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static PyObject *dumps, *optimize, *decline;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    PyObject *pickle, *pickletools;

    (void)argc;
    (void)argv;
    setenv("PYTHONMALLOC", "malloc", 1); /* so that the sanitizer knows where objects end */
    Py_Initialize();
    pickle = PyImport_ImportModule("pickle");
    pickletools = PyImport_ImportModule("pickletools");
    if (pickle == NULL || pickletools == NULL) {
        abort();
    }
    dumps = PyObject_GetAttrString(pickle, "dumps");
    optimize = PyObject_GetAttrString(pickletools, "optimize");
    decline = (PyObject *)&PyBytes_Type; /* returns what it is given */
    return 0;
}

static void insist_equal(PyObject *actual, PyObject *expected)
{
    if (PyObject_RichCompareBool(actual, expected, Py_EQ) != 1) {
        PyObject_Print(actual, stdout, 0);
        printf(" is not\n");
        PyObject_Print(expected, stdout, 0);
        printf("\n");
        abort();
    }
}

/* Only text that is not UTF-8 is more than C looks at: no pickler writes it. */
static void optimize_alike(const unsigned char *data, size_t size, int headed)
{
    PyObject *pickled = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(size + (headed ? 2 : 0)));
    PyObject *actual;
    PyObject *expected;

    memcpy(PyBytes_AS_STRING(pickled), "\x80\x04", headed ? 2 : 0);
    memcpy(PyBytes_AS_STRING(pickled) + (headed ? 2 : 0), data, size);
    actual = key_pickle_optimize(pickled, decline);
    expected = PyObject_CallOneArg(optimize, pickled);
    if (actual == NULL) {
        abort();
    }
    if (expected == NULL && !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError) &&
        actual != pickled) {
        PyErr_Print();
        abort();
    }
    PyErr_Clear();
    if (expected != NULL && actual != pickled) {
        insist_equal(actual, expected);
    }
    Py_XDECREF(expected);
    Py_DECREF(actual);
    Py_DECREF(pickled);
}

/* --- objects --- */

enum { OBJECTS_MAX = 60 };

/* Put objects onto a list, later ones of earlier ones; the last is the key. */
static PyObject *make_key(input *in)
{
    PyObject *objects[OBJECTS_MAX] = {NULL};
    PyObject *key;
    int count = 0;

    while (in->left > 0 && count < OBJECTS_MAX) {
        unsigned kind = take(in) % 10;
        PyObject *made = NULL;

        if (kind <= 1 && count > 0) {
            unsigned size = take(in) % 6;

            made = PyTuple_New(size);
            for (unsigned i = 0; i < size; i++) {
                PyObject *item = objects[take(in) % count];

                PyTuple_SET_ITEM(made, i, Py_NewRef(item));
            }
        } else if (kind <= 3) {
            size_t size = take(in) * (take(in) % 3 + 1);
            const char *bytes = take_bytes(in, &size);

            made = kind == 2 ? PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size)
                             : PyUnicode_DecodeUTF8(bytes, (Py_ssize_t)size, "surrogateescape");
        } else if (kind <= 6) {
            unsigned char bytes[10];
            size_t size = kind == 4 ? 2 : kind == 5 ? 5 : 10;

            for (size_t i = 0; i < size; i++) {
                bytes[i] = (unsigned char)take(in);
            }
            made = _PyLong_FromByteArray(bytes, size, 1, 1);
        } else if (kind == 7) {
            double value = 0;

            for (size_t i = 0; i < sizeof value; i++) {
                ((unsigned char *)&value)[i] = (unsigned char)take(in);
            }
            made = PyFloat_FromDouble(value);
        } else {
            PyObject *const constants[] = {Py_None, Py_True, Py_False, Py_Ellipsis};

            made = Py_NewRef(constants[take(in) % 4]);
        }
        if (made == NULL) {
            PyErr_Clear();
            made = Py_NewRef(Py_None);
        }
        objects[count++] = made;
    }
    key = Py_NewRef(count > 0 ? objects[count - 1] : Py_None);
    for (int i = 0; i < count; i++) {
        Py_DECREF(objects[i]);
    }
    return key;
}

static void dump_alike(input *in, int protocol)
{
    PyObject *key = make_key(in);
    PyObject *actual = key_pickle_dumps(key, protocol);
    PyObject *pickled;
    PyObject *expected;

    if (actual != NULL) {
        pickled = PyObject_CallFunction(dumps, "Oi", key, protocol);
        expected = pickled != NULL ? PyObject_CallOneArg(optimize, pickled) : NULL;
        if (expected == NULL) {
            PyErr_Print();
            abort();
        }
        insist_equal(actual, expected);
        Py_DECREF(expected);
        Py_DECREF(pickled);
    }
    if (PyErr_Occurred()) {
        PyErr_Print();
        abort();
    }
    Py_XDECREF(actual);
    Py_DECREF(key);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    input in = {data, size};
    unsigned kind = take(&in) % 4;

    if (kind < 2) {
        optimize_alike(in.data, in.left, kind == 0);
    } else {
        dump_alike(&in, kind == 2 ? 4 : 5);
    }
    return 0;
}
