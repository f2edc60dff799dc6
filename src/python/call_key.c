/* call_key.c: see call_key.h. */
#include "python/call_key.h"

#include <string.h>

#include "python/call_table.h"
#include "python/guard.h"
#include "python/key_pickle.h"

/* Up to so many keyword arguments, and arguments in all, fit on the stack. */
#define FEW_KEYWORDS  16
#define FEW_ARGUMENTS 64

/* The arguments of one call, borrowed from whoever keeps them alive: comparing and hashing names runs
 * Python code, which may empty the dict that they came from. */
typedef struct call {
    PyObject *const *positional;
    Py_ssize_t positional_count;
    PyObject **names; /* of keyword arguments, sorted with their values */
    PyObject **values;
    Py_ssize_t keyword_count;
} call;

/* Whether an argument counts; -1 with an exception. `name` is NULL for a positional one. */
static int counts(PyObject *ignore, Py_ssize_t index, PyObject *name)
{
    PyObject *position;
    int ignored;

    if (ignore == NULL) {
        return 1;
    }
    if (name != NULL) {
        ignored = PySet_Contains(ignore, name);
    } else {
        position = PyLong_FromSsize_t(index);
        ignored = position != NULL ? PySet_Contains(ignore, position) : -1;
        Py_XDECREF(position);
    }
    return ignored < 0 ? -1 : !ignored;
}

/* By insertion: there are few, and mostly in order already. */
static int sort_keywords(call *call)
{
    int less = 0;

    for (Py_ssize_t i = 1; i < call->keyword_count && less >= 0; i++) {
        PyObject *name = call->names[i];
        PyObject *value = call->values[i];
        Py_ssize_t place = i;

        while (place > 0) {
            less = PyObject_RichCompareBool(name, call->names[place - 1], Py_LT);
            if (less <= 0) {
                break;
            }
            call->names[place] = call->names[place - 1];
            call->values[place] = call->values[place - 1];
            place--;
        }
        call->names[place] = name; /* after a failure too, so that each is there once */
        call->values[place] = value;
    }
    return less < 0 ? -1 : 0;
}

static void append(PyObject *key, Py_ssize_t *size, PyObject *part)
{
    PyTuple_SET_ITEM(key, *size, Py_NewRef(part));
    (*size)++;
}

/* Which arguments count, positional ones first: into `counted`. -1 with an exception. */
static int find_counted(const call *call, PyObject *ignore, signed char *counted)
{
    for (Py_ssize_t i = 0; i < call->positional_count; i++) {
        *counted = (signed char)counts(ignore, i, NULL);
        if (*counted++ < 0) {
            return -1;
        }
    }
    for (Py_ssize_t i = 0; i < call->keyword_count; i++) {
        *counted = (signed char)counts(ignore, 0, call->names[i]);
        if (*counted++ < 0) {
            return -1;
        }
    }
    return 0;
}

/* The tuple, when nothing is left that runs Python code: nobody gets to see it half filled. */
static PyObject *fill_key(PyObject *base, const call *call, int typed, const signed char *counted)
{
    const signed char *keyword_counted = counted + call->positional_count;
    Py_ssize_t room = PyTuple_GET_SIZE(base) + 1;
    Py_ssize_t size = 0;
    PyObject *key;

    for (Py_ssize_t i = 0; i < call->positional_count; i++) {
        room += counted[i] * (1 + typed);
    }
    for (Py_ssize_t i = 0; i < call->keyword_count; i++) {
        room += keyword_counted[i] * (2 + typed);
    }
    key = PyTuple_New(room);
    if (key == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(base); i++) {
        append(key, &size, PyTuple_GET_ITEM(base, i));
    }
    for (int pass = 0; pass <= typed; pass++) { /* the arguments, then their types */
        for (Py_ssize_t i = 0; i < call->positional_count; i++) {
            PyObject *argument = call->positional[i];

            if (counted[i]) {
                append(key, &size, pass == 0 ? argument : (PyObject *)Py_TYPE(argument));
            }
        }
        if (pass == 0) {
            append(key, &size, Py_None);
        }
        for (Py_ssize_t i = 0; i < call->keyword_count; i++) {
            if (keyword_counted[i] && pass == 0) {
                append(key, &size, call->names[i]);
                append(key, &size, call->values[i]);
            } else if (keyword_counted[i]) {
                append(key, &size, (PyObject *)Py_TYPE(call->values[i]));
            }
        }
    }
    return key;
}

/* The key; `call` has been sorted. */
static PyObject *make_key(PyObject *base, const call *call, int typed, PyObject *ignore)
{
    signed char few[FEW_ARGUMENTS];
    signed char *counted = few;
    PyObject *key = NULL;
    Py_ssize_t count = call->positional_count + call->keyword_count;

    if (count > FEW_ARGUMENTS) {
        counted = PyMem_Malloc((size_t)count);
        if (counted == NULL) {
            return PyErr_NoMemory();
        }
    }
    if (find_counted(call, ignore, counted) == 0) {
        key = fill_key(base, call, typed, counted);
    }
    if (counted != few) {
        PyMem_Free(counted);
    }
    return key;
}

/* A frozenset of what is ignored; NULL if that is nothing. -1 with an exception. */
static int take_ignore(PyObject *iterable, PyObject **ignore)
{
    *ignore = PyFrozenSet_New(iterable);
    if (*ignore != NULL && PySet_GET_SIZE(*ignore) == 0) {
        Py_CLEAR(*ignore);
    }
    return PyErr_Occurred() ? -1 : 0;
}

/* A dict with what is in a mapping, or in None. New reference. */
static PyObject *take_keywords(PyObject *mapping)
{
    PyObject *keywords;

    if (PyDict_Check(mapping)) {
        return Py_NewRef(mapping);
    }
    keywords = PyDict_New();
    if (keywords != NULL && mapping != Py_None && PyDict_Update(keywords, mapping) < 0) {
        Py_CLEAR(keywords);
        if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_SetString(PyExc_TypeError, "kwargs must be a mapping");
        }
    }
    return keywords;
}

/* Take what is in a dict, which another thread may be changing; strong, in memory that the caller frees. -1 with
 * MemoryError. */
static int copy_keywords(PyObject *keywords, call *call)
{
    PyObject *name, *value;
    Py_ssize_t position = 0;

    GUARD_BEGIN(keywords)
    call->names = PyMem_Calloc(2 * (size_t)PyDict_GET_SIZE(keywords) + 1, sizeof *call->names);
    if (call->names != NULL) {
        call->values = call->names + PyDict_GET_SIZE(keywords);
        while (PyDict_Next(keywords, &position, &name, &value)) {
            call->names[call->keyword_count] = Py_NewRef(name);
            call->values[call->keyword_count++] = Py_NewRef(value);
        }
    }
    GUARD_END()
    if (call->names == NULL) {
        PyErr_NoMemory();
    }
    return call->names != NULL ? 0 : -1;
}

PyObject *call_key_of_arguments(PyObject *base, PyObject *args, PyObject *kwargs, int typed,
                                PyObject *ignored)
{
    PyObject *positional = NULL;
    PyObject *keywords = NULL;
    PyObject *ignore = NULL;
    PyObject *key = NULL;
    call call = {.keyword_count = 0};

    if (!PyTuple_Check(base)) {
        PyErr_SetString(PyExc_TypeError, "base must be a tuple");
        return NULL;
    }
    if (take_ignore(ignored, &ignore) < 0 || (positional = PySequence_Tuple(args)) == NULL ||
        (keywords = take_keywords(kwargs)) == NULL) {
        goto done;
    }
    call.positional = &PyTuple_GET_ITEM(positional, 0);
    call.positional_count = PyTuple_GET_SIZE(positional);
    if (copy_keywords(keywords, &call) < 0) {
        goto done;
    }
    if (sort_keywords(&call) == 0) {
        key = make_key(base, &call, typed, ignore);
    }
    for (Py_ssize_t i = 0; i < call.keyword_count; i++) {
        Py_DECREF(call.names[i]);
        Py_DECREF(call.values[i]);
    }
done:
    PyMem_Free(call.names);
    Py_XDECREF(positional);
    Py_XDECREF(keywords);
    Py_XDECREF(ignore);
    return key;
}

/* --- the callable ----------------------------------------------------------------------------- */

typedef struct CacheKey {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *base;   /* tuple */
    PyObject *ignore; /* frozenset, or NULL */
    int typed;
    uint64_t ignored_positions; /* bits: of the first CALL_POSITIONS_MAX */
    int ignores_odd;            /* what is neither a name nor a position: it may compare as one */
    int protocol;               /* by which the keys in the table are pickled */
    call_table table;
} CacheKey;

/* The key of arguments that are held by `arguments`; NULL with an exception. */
static PyObject *make_simple_key(CacheKey *self, PyObject *args, PyObject *kwargs)
{
    PyObject *names[CALL_OBJECTS_MAX];
    PyObject *values[CALL_OBJECTS_MAX];
    call call = {.positional = &PyTuple_GET_ITEM(args, 0),
                 .positional_count = PyTuple_GET_SIZE(args),
                 .names = names,
                 .values = values};
    Py_ssize_t position = 0;
    PyObject *name, *value;

    while (call.keyword_count < CALL_OBJECTS_MAX && PyDict_Next(kwargs, &position, &name, &value)) {
        names[call.keyword_count] = name;
        values[call.keyword_count++] = value;
    }
    return sort_keywords(&call) == 0 ? make_key(self->base, &call, 0, self->ignore) : NULL;
}

/* Pickle the key and remember it. */
static PyObject *add_to_table(CacheKey *self, PyObject *args, PyObject *kwargs, int protocol,
                              const call_arguments *arguments)
{
    PyObject *pickled = NULL;
    PyObject *key;

    /* To see what is ignored may run Python code. */
    for (int i = 0; i < arguments->count; i++) {
        Py_INCREF(arguments->objects[i]);
    }
    key = make_simple_key(self, args, kwargs);
    if (key != NULL) {
        pickled = key_pickle_dumps(key, protocol);
        Py_DECREF(key);
    } else {
        PyErr_Clear(); /* making the key raises it again */
    }
    if (pickled != NULL) {
        GUARD_BEGIN(self)
        if (self->protocol == protocol) {
            call_table_add(&self->table, arguments, self->base, pickled);
        }
        GUARD_END()
    }
    for (int i = 0; i < arguments->count; i++) {
        Py_DECREF(arguments->objects[i]);
    }
    return pickled;
}

PyObject *call_key_pickled(const module_state *state, PyObject *cache_key, PyObject *args,
                           PyObject *kwargs, int protocol)
{
    CacheKey *self = (CacheKey *)cache_key;
    call_arguments arguments;
    PyObject *pickled;

    if (Py_TYPE(cache_key) != state->call_key_type || self->typed ||
        state->key_pickling[protocol] <= 0 || (self->ignores_odd && PyDict_GET_SIZE(kwargs) > 0) ||
        !call_arguments_take(args, kwargs, self->ignored_positions, self->ignore, &arguments)) {
        return NULL;
    }
    GUARD_BEGIN(self)
    if (self->protocol != protocol) {
        self->protocol = protocol;
        call_table_clear(&self->table);
    }
    pickled = Py_XNewRef(call_table_find(&self->table, &arguments, self->base));
    GUARD_END()
    return pickled != NULL ? pickled : add_to_table(self, args, kwargs, protocol, &arguments);
}

static PyObject *CacheKey_vectorcall(PyObject *callable, PyObject *const *args, size_t nargsf,
                                     PyObject *kwnames)
{
    CacheKey *self = (CacheKey *)callable;
    PyObject *few[2 * FEW_KEYWORDS];
    PyObject *key = NULL;
    call call = {.positional = args, .positional_count = PyVectorcall_NARGS(nargsf)};
    Py_ssize_t count = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;

    call.names = few;
    if (count > FEW_KEYWORDS) {
        call.names = PyMem_Calloc(2 * (size_t)count, sizeof *call.names);
        if (call.names == NULL) {
            return PyErr_NoMemory();
        }
    }
    call.values = call.names + count;
    call.keyword_count = count;
    for (Py_ssize_t i = 0; i < count; i++) {
        call.names[i] = PyTuple_GET_ITEM(kwnames, i);
        call.values[i] = args[call.positional_count + i];
    }
    if (sort_keywords(&call) == 0) {
        key = make_key(self->base, &call, self->typed, self->ignore);
    }
    if (call.names != few) {
        PyMem_Free(call.names);
    }
    return key;
}

/* Find out what is ignored without running Python code at each call. -1 with an exception. */
static int sort_ignored(CacheKey *self)
{
    PyObject *members = self->ignore != NULL ? PySequence_Tuple(self->ignore) : PyTuple_New(0);
    int counted = members != NULL ? 1 : -1;

    for (Py_ssize_t i = 0; members != NULL && i < PyTuple_GET_SIZE(members); i++) {
        PyObject *member = PyTuple_GET_ITEM(members, i);

        self->ignores_odd |= !PyUnicode_CheckExact(member) && !PyLong_CheckExact(member);
    }
    Py_XDECREF(members);
    for (int i = 0; i < CALL_POSITIONS_MAX && self->ignore != NULL && counted >= 0; i++) {
        counted = counts(self->ignore, i, NULL);
        self->ignored_positions |= (uint64_t)(counted == 0) << i;
    }
    return counted < 0 ? -1 : 0;
}

static PyObject *CacheKey_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"base", "typed", "ignore", NULL};
    PyObject *base, *ignore;
    CacheKey *self;
    int typed;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!pO:CacheKey", names, &PyTuple_Type, &base,
                                     &typed, &ignore)) {
        return NULL;
    }
    self = (CacheKey *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->vectorcall = CacheKey_vectorcall;
    self->base = Py_NewRef(base);
    self->typed = typed;
    if (take_ignore(ignore, &self->ignore) < 0 || sort_ignored(self) < 0) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static int CacheKey_traverse(CacheKey *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->base);
    Py_VISIT(self->ignore);
    return 0;
}

/* What is in the table cannot be in a cycle, and is not visited. There is no tp_clear, as a tuple has none: a finalizer
 * that clearing runs could call the object afterwards. Its references never change, so any cycle that it is in goes
 * through something else, which can be cleared. */
static void CacheKey_dealloc(CacheKey *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    call_table_clear(&self->table);
    Py_CLEAR(self->base);
    Py_CLEAR(self->ignore);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *CacheKey_reduce(CacheKey *self, PyObject *Py_UNUSED(unused))
{
    PyObject *ignore = self->ignore != NULL ? Py_NewRef(self->ignore) : PyFrozenSet_New(NULL);

    return ignore == NULL ? NULL
                          : Py_BuildValue("O(OiN)", Py_TYPE(self), self->base, self->typed, ignore);
}

static PyMethodDef CacheKey_methods[] = {
    {"__reduce__", (PyCFunction)CacheKey_reduce, METH_NOARGS,
     PyDoc_STR("__reduce__($self, /)\n--\n\nPickle as a call of the class.\n")},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef CacheKey_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(CacheKey, vectorcall), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot CacheKey_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("CacheKey(base, typed, ignore)\n--\n\n"
                                  "Makes the cache key of the arguments it is called with.\n")},
    {Py_tp_new, CacheKey_new},
    {Py_tp_dealloc, CacheKey_dealloc},
    {Py_tp_traverse, CacheKey_traverse},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, CacheKey_members},
    {Py_tp_methods, CacheKey_methods},
    {0, NULL},
};

PyType_Spec call_key_type_spec = {
    .name = "diskcache._core.CacheKey",
    .basicsize = sizeof(CacheKey),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = CacheKey_slots,
};
