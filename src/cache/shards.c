/* shards.c: see shards.h.
 *
 * In Python a lookup would take as long again as all that the shard does. Shards are asked as anybody would ask them:
 * what a subclass, a patch or a Disk has taken over is called.
 *
 * Shards has no guard (guard.h): the lock `readers` is for what it consists of, which is replaced as a whole, the tuple
 * of shards too. Who only reads it does not wait for others who do. Where there is no GIL, most lookups are done with
 * it (look_at_once): what Shards refers to stays meanwhile, so that they need no references, the counts of which all
 * threads would write to.
 */
#include "cache/shards.h"

#include "cache/errors.h"
#include "cache/lookup.h"
#include "cache/type.h"
#include "python/disk_type.h"

typedef struct Shards {
    PyObject_HEAD
    module_state *state; /* NULL until there are shards: with a tp_new that sets it, copyreg would
                            not pickle a FanoutCache by protocols 0 and 1 */
    PyObject *shards;    /* a tuple, or NULL; of tests, anything */
    PyObject
        *hash; /* of a key, an int: by how many shards there are, its remainder is the number */
} Shards;

#define METHODS         "cache/shards.def"
#define METHOD_OF(name) Shards_##name
#define METHOD_SELF     Shards
#include "python/methods_declare.h"

/* Of all of them: they change when they are made, and when a shard is opened. */
static readers_lock readers = READERS_INIT;

/* A new reference to what a field is now, or NULL. */
static PyObject *take(PyObject *const *field)
{
    readers_part *part = readers_enter(&readers);
    PyObject *object = Py_XNewRef(*field);

    readers_leave(part);
    return object;
}

/* The shard whose number any object is, by the hash that a Disk of a user's has returned. */
static PyObject *shard_of_object(Shards *self, PyObject *shards, PyObject *hash)
{
    PyObject *divisor = PyObject_GetAttrString((PyObject *)self, "_count");
    PyObject *number = divisor != NULL ? PyNumber_Remainder(hash, divisor) : NULL;
    PyObject *shard = number != NULL ? PyObject_GetItem(shards, number) : NULL;

    Py_XDECREF(number);
    Py_XDECREF(divisor);
    return shard;
}

static int are_shards(PyObject *object)
{
    return object != NULL && PyTuple_CheckExact(object) && PyTuple_GET_SIZE(object) > 0;
}

/* The number of the shard whose hash is a number. */
static Py_ssize_t number_of(PyObject *shards, uint32_t hash)
{
    return (Py_ssize_t)(hash % (size_t)PyTuple_GET_SIZE(shards));
}

/* The shard that a key belongs to; NULL with an exception. */
static PyObject *shard_of(Shards *self, PyObject *key)
{
    PyObject *shards = take(&self->shards);
    PyObject *hash_of = take(&self->hash);
    PyObject *hash;
    PyObject *shard = NULL;
    uint32_t number;
    int is_native;

    if (shards == NULL || hash_of == NULL) {
        PyErr_Format(PyExc_AttributeError, "'%.200s' object has no shards", Py_TYPE(self)->tp_name);
        goto done;
    }
    is_native = are_shards(shards) ? disk_hash_natively(hash_of, key, &number) : 0;
    if (is_native > 0) {
        shard = Py_NewRef(PyTuple_GET_ITEM(shards, number_of(shards, number)));
    } else if (is_native == 0) {
        hash = PyObject_CallOneArg(hash_of, key);
        shard = hash != NULL ? shard_of_object(self, shards, hash) : NULL;
        Py_XDECREF(hash);
    }
done:
    Py_XDECREF(hash_of);
    Py_XDECREF(shards);
    return shard;
}

/* --- lookups ---------------------------------------------------------------------------------- */

#if COMPAT_HAS_GIL

static lookup_outcome look_at_once(Shards *self, PyObject *key, int needed, PyObject **value)
{
    (void)self;
    (void)key;
    (void)needed;
    (void)value;
    return LOOKUP_UNKNOWN;
}

#else

/* The shard of a key with that hash, if it may be asked at once, or NULL. As a reader: borrowed until that ends. */
static Cache *shard_at_once(const Shards *self, uint32_t hash)
{
    PyObject *shard = NULL;

    if (are_shards(self->shards) && self->hash != NULL &&
        disk_hashes_raw(self->state, self->hash)) {
        shard = PyTuple_GET_ITEM(self->shards, number_of(self->shards, hash));
    }
    return shard != NULL && cache_looks_up_itself(self->state, shard) ? (Cache *)shard : NULL;
}

/* What lookup_at_once does, of the shard of a key. */
static lookup_outcome look_at_once(Shards *self, PyObject *key, int needed, PyObject **value)
{
    lookup_peeked peeked = {.outcome = LOOKUP_UNKNOWN};
    module_state *state;
    readers_part *part;
    hot_key hot;
    uint32_t hash;
    Cache *shard;

    if (!hot_key_of_object(key, &hot) || !disk_hash_raw(key, &hash)) {
        return LOOKUP_UNKNOWN;
    }
    part = readers_enter(&readers);
    state = self->state;
    shard = shard_at_once(self, hash);
    if (shard != NULL) {
        lookup_peek(shard, &hot, needed, &peeked);
    }
    readers_leave(part);
    return lookup_end_peek(state, &peeked, value);
}

#endif

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

/* Ask the shard of a key. */
static PyObject *get_of_shard(Shards *self, const Shards_get_args *args, PyObject *otherwise)
{
    PyObject *call[] = {NULL, args->key, otherwise, NULL, NULL, NULL, NULL};
    int all = args->read || args->expire_time || args->tag || args->retry;
    PyObject *result;

    call[0] = shard_of(self, args->key);
    if (call[0] == NULL) {
        return NULL;
    }
    call[3] = args->read ? Py_True : Py_False;
    call[4] = args->expire_time ? Py_True : Py_False;
    call[5] = args->tag ? Py_True : Py_False;
    call[6] = args->retry ? Py_True : Py_False;
    result = PyObject_VectorcallMethod(self->state->name.get, call,
                                       (all ? 7 : 3) | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    if (result == NULL) {
        result = lookup_failed(self, args, otherwise);
    }
    Py_DECREF(call[0]);
    return result;
}

PyObject *Shards_get(Shards *self, const Shards_get_args *args)
{
    PyObject *otherwise = args->otherwise != NULL ? args->otherwise : Py_None;
    lookup_outcome outcome = LOOKUP_UNKNOWN;
    PyObject *result = NULL;

    if (!args->expire_time && !args->tag) {
        outcome = look_at_once(self, args->key, HOT_VALUE, &result);
    }
    if (outcome == LOOKUP_UNKNOWN) {
        result = get_of_shard(self, args, otherwise);
    } else if (outcome == LOOKUP_ABSENT) {
        result = Py_NewRef(otherwise);
    }
    return result;
}

static PyObject *Shards_subscript(Shards *self, PyObject *key)
{
    PyObject *shard;
    PyObject *result = NULL;
    lookup_outcome outcome = look_at_once(self, key, HOT_VALUE, &result);

    if (outcome == LOOKUP_ABSENT) {
        raise_key_error(key);
    } else if (outcome == LOOKUP_UNKNOWN) {
        shard = shard_of(self, key);
        result = shard != NULL ? PyObject_GetItem(shard, key) : NULL;
        Py_XDECREF(shard);
    }
    return result;
}

/* Ask the shard of a key, as long as it takes to get its lock. */
static int shard_contains(Shards *self, PyObject *key)
{
    PyObject *shard = shard_of(self, key);
    PyObject *patient;
    int result = shard != NULL ? PySequence_Contains(shard, key) : -1;

    if (shard != NULL && result < 0 && PyErr_ExceptionMatches(self->state->Timeout)) {
        PyErr_Clear();
        patient = PyObject_CallMethod((PyObject *)self, "_contains_patiently", "OO", shard, key);
        result = patient != NULL ? PyObject_IsTrue(patient) : -1;
        Py_XDECREF(patient);
    }
    Py_XDECREF(shard);
    return result;
}

static int Shards_contains(Shards *self, PyObject *key)
{
    PyObject *value;
    lookup_outcome outcome = look_at_once(self, key, 0, &value);

    return outcome == LOOKUP_UNKNOWN ? shard_contains(self, key)
                                     : outcome; /* -1, 0, 1 as they are: no value is loaded */
}

/* --- what it consists of ---------------------------------------------------------------------- */

static PyObject *attribute(PyObject *const *field, const char *name)
{
    PyObject *value = take(field);

    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "it has no attribute '%s': was __init__ called?", name);
    }
    return value;
}

static PyObject *Shards_get_shards(Shards *self, void *Py_UNUSED(closure))
{
    return attribute(&self->shards, "_shards");
}

static PyObject *Shards_get_hash(Shards *self, void *Py_UNUSED(closure))
{
    return attribute(&self->hash, "_hash");
}

/* Let a field be another object, or NULL: 1; 0 if it is not `former`, unless that is NULL. */
static int replace(PyObject **field, PyObject *former, PyObject *value)
{
    PyObject *current;
    int replaced;

    Py_XINCREF(value);
    readers_exclude(&readers);
    current = *field;
    replaced = former == NULL || current == former;
    if (replaced) {
        *field = value;
    }
    readers_admit(&readers);
    Py_XDECREF(replaced ? current : value);
    return replaced;
}

static int replace_shards(Shards *self, PyObject *former, PyObject *shards)
{
    module_state *state = state_of_type(Py_TYPE(self));

    if (state == NULL) {
        return -1;
    }
    readers_exclude(&readers);
    if (self->state == NULL) {
        self->state = state; /* which stays: who has seen a shard need not ask for it as a reader */
    }
    readers_admit(&readers);
    return replace(&self->shards, former, shards);
}

static int Shards_set_shards(Shards *self, PyObject *value, void *Py_UNUSED(closure))
{
    return replace_shards(self, NULL, value) < 0 ? -1 : 0;
}

static int Shards_set_hash(Shards *self, PyObject *value, void *Py_UNUSED(closure))
{
    replace(&self->hash, NULL, value);
    return 0;
}

PyObject *Shards__replace_shards(Shards *self, const Shards__replace_shards_args *args)
{
    int replaced = replace_shards(self, args->former, args->shards);

    return replaced < 0 ? NULL : PyBool_FromLong(replaced);
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

#define ATTRIBUTE(name, doc)                                                                       \
    {                                                                                              \
        "_" #name, (getter)Shards_get_##name, (setter)Shards_set_##name, PyDoc_STR(doc), NULL      \
    }

static PyGetSetDef Shards_getset[] = {
    ATTRIBUTE(shards, "the shards by number, and what stands for those that nothing has been "
                      "asked of: a tuple"),
    ATTRIBUTE(hash, "returns the hash of a key"),
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot Shards_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("The native part of FanoutCache: lookups.\n")},
    {Py_tp_traverse, Shards_traverse},
    {Py_tp_clear, Shards_clear},
    {Py_tp_dealloc, Shards_dealloc},
    {Py_tp_methods, Shards_methods},
    {Py_tp_getset, Shards_getset},
    {Py_mp_subscript, Shards_subscript},
    {Py_sq_contains, Shards_contains},
    {0, NULL},
};

PyType_Spec shards_type_spec = {
    .name = "diskcache._core.Shards",
    .basicsize = sizeof(Shards),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = Shards_slots,
};
