/* heard.c: see heard.h.
 *
 * Times are seconds, of a clock that is given, none of them below 0. They are kept as the bits of a double, whose order
 * is that of the numbers. In the bytes that a kept value carries they are big-endian, so that the order of the bytes is
 * the same, too.
 */
#include "python/heard.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "python/guard.h"

#define BUCKETS (1 << 17)

/* The bits of the latest time; those of NaN and of what is below 0 are more. */
#define INFINITE_BITS 0x7FF0000000000000u

/* What a kept value carries: the time before its read, and that of its expiry. */
#define TIMES_BYTES 16

typedef _Atomic uint64_t moment;

typedef struct Heard {
    PyObject_HEAD
    module_state *state;
    PyObject *clock; /* strong, and never another; NULL before __init__ */
    moment *buckets; /* owned: of keys by their hash, when one of them was heard of */
    moment all;      /* when it was heard that all is gone */
    moment floor;    /* what was read until then does not hold */
    moment lease;    /* nor does anything from then on */
    moment drained;  /* all until then has been heard */
    moment pause;    /* seconds after which the feed is read again */
} Heard;

/* --- times ------------------------------------------------------------------------------------ */

static uint64_t bits_of(double seconds)
{
    uint64_t bits;

    memcpy(&bits, &seconds, sizeof bits);
    return bits;
}

static double seconds_of(uint64_t bits)
{
    double seconds;

    memcpy(&seconds, &bits, sizeof seconds);
    return seconds;
}

static uint64_t bits_at(const char *bytes)
{
    uint64_t bits = 0;

    for (int i = 0; i < 8; i++) {
        bits = bits << 8 | (unsigned char)bytes[i];
    }
    return bits;
}

/* An object as a time; -1 with an exception. */
static int take_time(PyObject *object, uint64_t *bits)
{
    double seconds = PyFloat_AsDouble(object);

    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (!(seconds >= 0.0)) {
        PyErr_SetString(PyExc_ValueError, "a time must not be below 0");
        return -1;
    }
    *bits = bits_of(seconds + 0.0); /* which makes of -0.0 0.0 */
    return 0;
}

/* What the clock says; -1 with an exception. */
static int take_now(Heard *self, uint64_t *now)
{
    PyObject *clock = Py_XNewRef(self->clock);
    PyObject *seconds;
    int result;

    if (clock == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "Heard has no clock");
        return -1;
    }
    seconds = PyObject_CallNoArgs(clock);
    result = seconds != NULL ? take_time(seconds, now) : -1;
    Py_XDECREF(seconds);
    Py_DECREF(clock);
    return result;
}

/* Note a time, unless a later one is noted: another thread may have read the clock after this one, and noted before. */
static void raise_to(moment *noted, uint64_t now)
{
    uint64_t before = atomic_load(noted);

    while (before < now && !atomic_compare_exchange_weak(noted, &before, now)) {
    }
}

/* --- methods ---------------------------------------------------------------------------------- */

static moment *bucket_of(Heard *self, PyObject *name)
{
    Py_hash_t hash = PyObject_Hash(name);

    return hash == -1 ? NULL : &self->buckets[(size_t)hash % BUCKETS];
}

static PyObject *Heard_hear(Heard *self, PyObject *name)
{
    moment *bucket = bucket_of(self, name);
    uint64_t now;

    if (bucket == NULL || take_now(self, &now) < 0) {
        return NULL;
    }
    raise_to(bucket, now);
    Py_RETURN_NONE;
}

static PyObject *Heard_hear_all(Heard *self, PyObject *Py_UNUSED(unused))
{
    uint64_t now;

    if (take_now(self, &now) < 0) {
        return NULL;
    }
    raise_to(&self->all, now);
    Py_RETURN_NONE;
}

/* Hear what has arrived, if it is time to; whether that is known then. -1 with an exception. */
static int is_drained(Heard *self, uint64_t now)
{
    PyObject *drained;
    int result;

    if (seconds_of(now) - seconds_of(atomic_load(&self->drained)) <
        seconds_of(atomic_load(&self->pause))) {
        return 1;
    }
    drained = PyObject_CallMethodOneArg((PyObject *)self, self->state->name.drain, Py_False);
    result = drained != NULL ? PyObject_IsTrue(drained) : -1;
    Py_XDECREF(drained);
    return result;
}

/* The order counts where threads hear meanwhile: a lease is renewed after what it covers has been noted, and so is
 * given a floor. */
static int holds(Heard *self, const moment *bucket, uint64_t t0, uint64_t now)
{
    return now < atomic_load(&self->lease) && t0 > atomic_load(&self->floor) &&
           t0 > atomic_load(&self->all) && t0 > atomic_load(bucket);
}

static PyObject *Heard_left(Heard *self, PyObject *const *args, Py_ssize_t nargs)
{
    double left = 0.0;
    const moment *bucket;
    uint64_t now, t0, until;
    int drained;

    if (nargs != 2) {
        return PyErr_Format(PyExc_TypeError, "left expected 2 arguments, got %zd", nargs);
    }
    if (!PyBytes_CheckExact(args[1]) || PyBytes_GET_SIZE(args[1]) != TIMES_BYTES) {
        return PyFloat_FromDouble(0.0);
    }
    t0 = bits_at(PyBytes_AS_STRING(args[1]));
    until = bits_at(PyBytes_AS_STRING(args[1]) + TIMES_BYTES / 2);
    if (t0 > INFINITE_BITS || until > INFINITE_BITS) {
        return PyFloat_FromDouble(0.0);
    }
    bucket = bucket_of(self, args[0]);
    if (bucket == NULL || take_now(self, &now) < 0 || (drained = is_drained(self, now)) < 0) {
        return NULL;
    }
    if (drained && now < until && holds(self, bucket, t0, now)) {
        left = seconds_of(until) - seconds_of(now);
    }
    return PyFloat_FromDouble(left);
}

static PyMethodDef Heard_methods[] = {
    {"hear", (PyCFunction)Heard_hear, METH_O,
     PyDoc_STR("hear($self, name, /)\n--\n\n"
               "Note that a key has been written.\n")},
    {"hear_all", (PyCFunction)Heard_hear_all, METH_NOARGS,
     PyDoc_STR("hear_all($self, /)\n--\n\n"
               "Note that any key may have been written.\n")},
    {"left", (PyCFunction)(void (*)(void))Heard_left, METH_FASTCALL,
     PyDoc_STR(
         "left($self, name, times, /)\n--\n\n"
         "Return for how long what was read may be used, if it may be now.\n"
         "\n"
         "If the feed has not been read for the pause, self.drain(False) does that first, and tells\n"
         "whether all that has arrived is known.\n"
         "\n"
         ":param bytes name: of the key\n"
         ":param times: t0, the time just before the read was sent, and the time of the expiry\n"
         "    (infinite: none), as two big-endian doubles; anything else does not hold\n"
         ":return: seconds until it expires; 0.0 if it does not hold\n")},
    {NULL, NULL, 0, NULL},
};

/* --- attributes ------------------------------------------------------------------------------- */

static moment *moment_at(Heard *self, void *offset)
{
    return (moment *)((char *)self + (size_t)(uintptr_t)offset);
}

static PyObject *get_time(Heard *self, void *offset)
{
    return PyFloat_FromDouble(seconds_of(atomic_load(moment_at(self, offset))));
}

static int set_time(Heard *self, PyObject *seconds, void *offset)
{
    uint64_t bits;

    if (seconds == NULL) {
        PyErr_SetString(PyExc_AttributeError, "a time cannot be deleted");
        return -1;
    }
    if (take_time(seconds, &bits) < 0) {
        return -1;
    }
    atomic_store(moment_at(self, offset), bits);
    return 0;
}

#define TIME(name, docstring)                                                                      \
    {                                                                                              \
#name, (getter)get_time, (setter)set_time, PyDoc_STR(docstring),                           \
            (void *)(uintptr_t)offsetof(Heard, name)                                               \
    }

static PyGetSetDef Heard_getset[] = {
    TIME(floor, "What was read until then does not hold, seconds."),
    TIME(lease, "Nothing holds from then on, seconds."),
    TIME(drained, "All until then has been heard, seconds."),
    TIME(pause, "The feed is read again after so many seconds."),
    {NULL, NULL, NULL, NULL, NULL},
};

/* --- the type --------------------------------------------------------------------------------- */

static PyObject *Heard_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
                           PyObject *Py_UNUSED(kwargs))
{
    module_state *state = state_of_type(type);
    Heard *self = state != NULL ? (Heard *)type->tp_alloc(type, 0) : NULL;

    if (self == NULL) {
        return NULL;
    }
    self->state = state;
    self->buckets = PyMem_Calloc(BUCKETS, sizeof *self->buckets);
    if (self->buckets == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static int Heard_init(Heard *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"clock", "pause", NULL};
    PyObject *clock, *pause;
    int is_first;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO:Heard", names, &clock, &pause)) {
        return -1;
    }
    GUARD_BEGIN(self)
    is_first = self->clock == NULL;
    if (is_first) {
        self->clock = Py_NewRef(clock);
    }
    GUARD_END()
    if (!is_first) { /* other threads may be using it */
        PyErr_SetString(PyExc_RuntimeError, "Heard has a clock already");
        return -1;
    }
    return set_time(self, pause, (void *)(uintptr_t)offsetof(Heard, pause));
}

static int Heard_traverse(Heard *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->clock);
    return 0;
}

static int Heard_clear(Heard *self)
{
    Py_CLEAR(self->clock);
    return 0;
}

static void Heard_dealloc(Heard *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    Heard_clear(self);
    PyMem_Free(self->buckets);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot Heard_slots[] = {
    {Py_tp_doc,
     (void *)PyDoc_STR(
         "Heard(clock, pause)\n--\n\n"
         "What a process has heard of writes elsewhere. Keys are bytes, in 131,072 buckets by their\n"
         "hashes, each with the time when one of them was heard of.\n"
         "\n"
         ":param clock: returns the time in seconds; it never goes back\n"
         ":param float pause: the feed is read again after so many seconds\n")},
    {Py_tp_new, Heard_new},
    {Py_tp_init, Heard_init},
    {Py_tp_dealloc, Heard_dealloc},
    {Py_tp_traverse, Heard_traverse},
    {Py_tp_clear, Heard_clear},
    {Py_tp_methods, Heard_methods},
    {Py_tp_getset, Heard_getset},
    {0, NULL},
};

PyType_Spec heard_type_spec = {
    .name = "diskcache._core.Heard",
    .basicsize = sizeof(Heard),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = Heard_slots,
};
