/* shards.c: see shards.h.
 *
 * In Python a lookup would take as long again as all that the shard does. Shards are asked as anybody would ask them:
 * what a subclass, a patch or a Disk has taken over is called.
 */
#include "cache/shards.h"

#include "python/disk_type.h"
#include "python/guard.h"
#include "python/state.h"

typedef struct Shards {
    PyObject_HEAD
    module_state *state;
    PyObject *shards; /* a list */
    PyObject *
        hash; /* of a key, an int: the shard's number is what is left of it by how many there are */
    Py_ssize_t count;
} Shards;

#define METHODS         "cache/shards.def"
#define METHOD_OF(name) Shards_##name
#define METHOD_SELF     Shards
#include "python/methods_declare.h"

/* The shard whose number any object is, by the hash that a Disk of a user's has returned. */
static PyObject *shard_of_object(PyObject *shards, PyObject *hash, Py_ssize_t count)
{
    PyObject *divisor = PyLong_FromSsize_t(count);
    PyObject *number = divisor != NULL ? PyNumber_Remainder(hash, divisor) : NULL;
    PyObject *shard = number != NULL ? PyObject_GetItem(shards, number) : NULL;

    Py_XDECREF(divisor);
    Py_XDECREF(number);
    return shard;
}

/* The shard that a key belongs to; NULL with an exception. */
static PyObject *shard_of(Shards *self, PyObject *key)
{
    PyObject *shards;
    PyObject *hash_of;
    PyObject *hash;
    PyObject *shard = NULL;
    Py_ssize_t count;
    uint32_t number;
    int is_native;

    GUARD_BEGIN(self)
    shards = Py_XNewRef(self->shards);
    hash_of = Py_XNewRef(self->hash);
    count = self->count;
    GUARD_END()
    if (shards == NULL || hash_of == NULL || count < 1) {
        PyErr_Format(PyExc_AttributeError, "'%.200s' object has no shards", Py_TYPE(self)->tp_name);
        goto done;
    }
    is_native = disk_hash_natively(hash_of, key, &number);
    if (is_native > 0) {
        shard = PySequence_GetItem(shards, (Py_ssize_t)(number % (size_t)count));
    } else if (is_native == 0) {
        hash = PyObject_CallOneArg(hash_of, key);
        shard = hash != NULL ? shard_of_object(shards, hash, count) : NULL;
        Py_XDECREF(hash);
    }
done:
    Py_XDECREF(hash_of);
    Py_XDECREF(shards);
    return shard;
}

static module_state *state_of_shards(Shards *self)
{
    if (self->state == NULL) {
        self->state = state_of_type(Py_TYPE(self));
    }
    return self->state;
}

/* --- lookups ---------------------------------------------------------------------------------- */

/* What get returns after an exception; NULL with an exception if it is none that counts as a miss. */
static PyObject *lookup_failed(Shards *self, const Shards_get_args *args, PyObject *otherwise)
{
    compat_exception taken;
    PyObject *result = NULL;

    if (PyErr_ExceptionMatches(self->state->Timeout) ||
        PyErr_ExceptionMatches(self->state->sqlite_errors[SQLITE_ERROR_DatabaseError])) {
        taken = compat_exception_take();
        result = PyObject_CallMethod((PyObject *)self, "_lookup_failed", "OOii",
                                     compat_exception_value(&taken), otherwise, args->expire_time,
                                     args->tag);
        compat_exception_drop(taken);
    }
    return result;
}

PyObject *Shards_get(Shards *self, const Shards_get_args *args)
{
    module_state *state = state_of_shards(self);
    PyObject *otherwise = args->otherwise != NULL ? args->otherwise : Py_None;
    PyObject *call[] = {NULL, args->key, otherwise, NULL, NULL, NULL, NULL};
    int all = args->read || args->expire_time || args->tag || args->retry;
    PyObject *result = NULL;

    call[0] = state != NULL ? shard_of(self, args->key) : NULL;
    if (call[0] == NULL) {
        return NULL;
    }
    call[3] = args->read ? Py_True : Py_False;
    call[4] = args->expire_time ? Py_True : Py_False;
    call[5] = args->tag ? Py_True : Py_False;
    call[6] = args->retry ? Py_True : Py_False;
    result = PyObject_VectorcallMethod(state->name.get, call,
                                       (all ? 7 : 3) | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    if (result == NULL) {
        result = lookup_failed(self, args, otherwise);
    }
    Py_DECREF(call[0]);
    return result;
}

static PyObject *Shards_subscript(Shards *self, PyObject *key)
{
    PyObject *shard = shard_of(self, key);
    PyObject *result = shard != NULL ? PyObject_GetItem(shard, key) : NULL;

    Py_XDECREF(shard);
    return result;
}

/* --- the type --------------------------------------------------------------------------------- */

#include "python/methods_define.h"

static int Shards_traverse(Shards *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->shards);
    Py_VISIT(self->hash);
    return 0;
}

static int Shards_clear(Shards *self)
{
    Py_CLEAR(self->shards);
    Py_CLEAR(self->hash);
    return 0;
}

static void Shards_dealloc(Shards *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    Shards_clear(self);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyMemberDef Shards_members[] = {
    {"_shards", T_OBJECT_EX, offsetof(Shards, shards), 0,
     PyDoc_STR("the shards by number, and what stands for those that nothing has been asked of")},
    {"_hash", T_OBJECT_EX, offsetof(Shards, hash), 0, PyDoc_STR("returns the hash of a key")},
    {"_count", T_PYSSIZET, offsetof(Shards, count), 0, PyDoc_STR("how many shards there are")},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot Shards_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("The native part of FanoutCache: lookups.\n")},
    {Py_tp_traverse, Shards_traverse},
    {Py_tp_clear, Shards_clear},
    {Py_tp_dealloc, Shards_dealloc},
    {Py_tp_methods, Shards_methods},
    {Py_tp_members, Shards_members},
    {Py_mp_subscript, Shards_subscript},
    {0, NULL},
};

PyType_Spec shards_type_spec = {
    .name = "diskcache._core.Shards",
    .basicsize = sizeof(Shards),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = Shards_slots,
};
