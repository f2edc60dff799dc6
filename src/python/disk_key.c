/* disk_key.c: see disk_key.h. */
#include "python/disk_key.h"

#include <math.h>

#include "python/blame.h"
#include "python/convert.h"
#include "python/key_pickle.h"
#include "python/log.h"

void disk_key_clear(disk_key *key)
{
    Py_CLEAR(key->owner);
}

int disk_put_raw(PyObject *key, dc_key *out)
{
    int overflow = 0;

    out->raw = 1;
    if (PyUnicode_CheckExact(key)) {
        return convert_text(key, &out->datum) < 0 ? -1 : 1;
    }
    if (PyLong_CheckExact(key)) {
        out->datum.type = DC_INTEGER;
        out->datum.as.integer = PyLong_AsLongLongAndOverflow(key, &overflow);
        return overflow == 0;
    }
    if (PyBytes_CheckExact(key)) {
        convert_bytes(key, &out->datum);
        return 1;
    }
    if (PyFloat_CheckExact(key)) {
        out->datum.type = DC_REAL;
        out->datum.as.real = PyFloat_AS_DOUBLE(key);
        if (isnan(out->datum.as.real)) {
            PyErr_SetString(PyExc_ValueError, "key must not be NaN, which equals nothing");
            return -1;
        }
        return 1;
    }
    return 0;
}

/* Whether key_pickle.c does what this Python's pickle and pickletools do; found out once for each protocol that it
 * knows. 1, 0, or -1 with an exception. */
static int pickles_natively(Disk *self)
{
    int protocol = self->key_pickle_protocol;
    atomic_schar *known = &self->state->key_pickling[protocol];
    int same;

    if (protocol == 0) {
        return 0;
    }
    if (*known == 0) {
        same = key_pickle_check(self->state->dumps, self->state->optimize, protocol);
        if (same < 0 && PyErr_ExceptionMatches(PyExc_ImportError)) {
            /* The program has changed its root, or its user, and cannot read pickletools any more. All versions of
             * Python that this is built for have been compared by the tests. */
            PyErr_Clear();
            same = 1;
        }
        if (same < 0) {
            return -1;
        }
        *known = same ? 1 : -1;
        if (!same) {
            log_warning(
                "mechanism",
                "Python %s pickles keys otherwise than the versions that are known, so diskcache "
                "leaves that to pickle and pickletools, which takes longer",
                Py_GetVersion());
        }
    }
    return *known > 0;
}

static PyObject *pickle_key(Disk *self, PyObject *key)
{
    int natively = pickles_natively(self);
    PyObject *optimized = natively > 0 ? key_pickle_dumps(key, self->key_pickle_protocol) : NULL;
    PyObject *pickled;

    if (optimized != NULL || natively < 0) {
        return optimized;
    }
    pickled = disk_pickle(self, key);
    if (pickled != NULL) {
        optimized = natively ? key_pickle_optimize(pickled, self->state->optimize)
                             : PyObject_CallOneArg(self->state->optimize, pickled);
        Py_DECREF(pickled);
    }
    return optimized;
}

int disk_put_native(Disk *self, PyObject *key, disk_key *out)
{
    int raw = disk_put_raw(key, &out->key);

    if (raw != 0) {
        out->owner = raw > 0 ? Py_NewRef(key) : NULL;
        return raw > 0 ? 0 : -1;
    }
    out->owner = pickle_key(self, key);
    if (out->owner == NULL) {
        return -1;
    }
    convert_bytes(out->owner, &out->key.datum);
    out->key.raw = 0;
    return 0;
}

int disk_is_stored_key(module_state *state, PyObject *key)
{
    return Py_TYPE(key) == state->stored_key_type;
}

static int encode(module_state *state, PyObject *disk, PyObject *key, disk_key *out)
{
    int is_stored = disk_is_stored_key(state, key);
    PyObject *pair = NULL;
    int raw;
    int result = -1;

    if (!is_stored && !(disk_hooks(state, disk) & DISK_HOOK_put)) {
        result = disk_put_native((Disk *)disk, key, out);
        goto done;
    }
    pair = is_stored ? Py_NewRef(key) : PyObject_CallMethodOneArg(disk, state->name.put, key);
    if (pair == NULL) {
        goto done;
    }
    if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2) {
        PyErr_SetString(PyExc_TypeError, "Disk.put must return a pair (database key, raw)");
        goto done;
    }
    raw = PyObject_IsTrue(PyTuple_GET_ITEM(pair, 1));
    if (raw < 0 ||
        convert_to_datum(PyTuple_GET_ITEM(pair, 0), "key", &out->key.datum, &out->owner) < 0) {
        goto done;
    }
    if (out->key.datum.type == DC_NULL) {
        PyErr_SetString(PyExc_TypeError, "Disk.put must not return None as the database key");
        goto done;
    }
    out->key.raw = raw;
    result = 0;
done:
    Py_XDECREF(pair);
    return result;
}

static PyObject *decode(module_state *state, PyObject *disk, const dc_key *key)
{
    int hooked = (disk_hooks(state, disk) & DISK_HOOK_get) != 0;
    PyObject *database_key;
    PyObject *object = NULL;

    if (!hooked && !key->raw) {
        return disk_unpickle_datum(state, disk, &key->datum);
    }
    database_key = convert_from_column(state, &key->datum, "key");
    if (!hooked) {
        object = Py_XNewRef(database_key);
    } else if (database_key != NULL) {
        object = PyObject_CallMethodObjArgs(disk, state->name.get, database_key,
                                            key->raw ? Py_True : Py_False, NULL);
    }
    Py_XDECREF(database_key);
    return object;
}

/* --- what operations call: an exception is told which key it is about, and the caller's disk is an attribute that
 * Python code, which these may run, can assign to: each holds it while it works --- */

/* A key that could not be converted: what its exception is to say. */
typedef struct key_to_blame {
    const char *doing;
    PyObject *key;
    int with_directory;
} key_to_blame;

static PyObject *describe_key(void *disk, const void *context)
{
    const key_to_blame *blamed = context;
    PyObject *shown = blame_shown(blamed->key);
    PyObject *name = shown != NULL ? blame_disk(disk) : NULL;
    PyObject *directory = NULL;
    PyObject *note = NULL;

    if (name == NULL) {
        goto done;
    }
    if (blamed->with_directory) {
        directory = PyObject_GetAttrString(disk, "_directory");
        PyErr_Clear(); /* a Disk of a user's own may have none */
    }
    note = directory != NULL
               ? PyUnicode_FromFormat("%skey %U in %R%U", blamed->doing, shown, directory, name)
               : PyUnicode_FromFormat("%skey %U%U", blamed->doing, shown, name);
done:
    Py_XDECREF(directory);
    Py_XDECREF(name);
    Py_XDECREF(shown);
    return note;
}

static int encode_or_blame(module_state *state, PyObject *disk, PyObject *key, int with_directory,
                           disk_key *out)
{
    const key_to_blame blamed = {"diskcache: converting the ", key, with_directory};
    int result;

    Py_INCREF(disk);
    result = encode(state, disk, key, out);
    if (result < 0) {
        blame(describe_key, disk, &blamed);
    }
    Py_DECREF(disk);
    return result;
}

int disk_put(module_state *state, PyObject *disk, PyObject *key, disk_key *out)
{
    return encode_or_blame(state, disk, key, 1, out);
}

int disk_put_for_hash(module_state *state, PyObject *disk, PyObject *key, disk_key *out)
{
    return encode_or_blame(state, disk, key, 0, out);
}

PyObject *disk_get(module_state *state, PyObject *disk, const dc_key *key)
{
    key_to_blame blamed = {BLAME_READING, NULL, 1};
    compat_exception raised;
    PyObject *result;

    Py_INCREF(disk);
    result = decode(state, disk, key);
    if (result == NULL) {
        raised = compat_exception_take();
        blamed.key = convert_from_datum(&key->datum);
        PyErr_Clear();
        compat_exception_put(raised);
        if (blamed.key != NULL) {
            blame(describe_key, disk, &blamed);
            Py_DECREF(blamed.key);
        }
    }
    Py_DECREF(disk);
    return result;
}

int disk_takes_as_stored(module_state *state, PyObject *disk, const dc_key *key)
{
    return key->raw && !(disk_hooks(state, disk) & (DISK_HOOK_get | DISK_HOOK_put));
}

int disk_get_is_quick(module_state *state, PyObject *disk, const dc_key *key)
{
    return key->raw && !(disk_hooks(state, disk) & DISK_HOOK_get);
}

PyObject *disk_stored_key(module_state *state, const dc_key *key)
{
    PyObject *database_key = convert_from_column(state, &key->datum, "key");
    PyObject *pair = NULL;
    PyObject *stored = NULL;

    if (database_key != NULL) {
        pair = PyTuple_Pack(2, database_key, key->raw ? Py_True : Py_False);
    }
    if (pair != NULL) {
        stored = PyObject_CallOneArg((PyObject *)state->stored_key_type, pair);
    }
    Py_XDECREF(pair);
    Py_XDECREF(database_key);
    return stored;
}
