/* module.c: the extension module diskcache._core: multi-phase initialization and module state.
 *
 * What belongs to the process rather than to an interpreter: the binding to a copy of SQLite
 * (connection.h) and the fork handlers (fork_gate.h). Everything else is in the module state (state.h).
 */
#include "python/state.h"

#include <string.h>

#include "cache/access.h"
#include "cache/iterator.h"
#include "cache/pin.h"
#include "cache/transaction.h"
#include "cache/type.h"
#include "python/args.h"
#include "python/call_key.h"
#include "python/connection.h"
#include "python/disk_type.h"
#include "python/exports.h"
#include "python/fork_gate.h"
#include "python/key_pickle.h"
#include "python/session.h"
#include "sqlite/api.h"

static struct PyModuleDef core_module;

static module_state *state_of(PyObject *module)
{
    return PyModule_GetState(module);
}

module_state *state_of_type(PyTypeObject *type)
{
    PyObject *mro = type->tp_mro;

    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);

        if (PyType_HasFeature(base, Py_TPFLAGS_HEAPTYPE)) {
            PyObject *module = ((PyHeapTypeObject *)base)->ht_module;

            if (module != NULL && PyModule_Check(module) &&
                PyModule_GetDef(module) == &core_module) {
                return state_of(module);
            }
        }
    }
    /* A metaclass with an mro() of its own can hide the base. */
    PyErr_Format(PyExc_TypeError, "'%.200s' does not show its base class of diskcache._core",
                 type->tp_name);
    return NULL;
}

/* --- functions -------------------------------------------------------------------------------- */

PyDoc_STRVAR(core_register_doc,
"_register($module, /, disk, cache, transaction, stored_key, enoval, unknown, "
"find_policy)\n--\n\n"
"Tell the module the public classes and constants, which Python defines.\n"
"\n"
"Methods of `disk` and `cache` as they are now count as their own: replaced ones are called.\n");

static PyObject *core_register(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames)
{
    static const args_table table = {
        "_register",
        7,
        7,
        {"disk", "cache", "transaction", "stored_key", "enoval", "unknown", "find_policy"}};
    module_state *state = state_of(module);
    PyObject *values[7];

    if (args_parse(&table, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    if (!PyType_Check(values[3]) || !PyType_IsSubtype((PyTypeObject *)values[3], &PyTuple_Type)) {
        PyErr_SetString(PyExc_TypeError, "stored_key must be a subclass of tuple");
        return NULL;
    }
    if (!PyType_Check(values[2]) ||
        !PyType_IsSubtype((PyTypeObject *)values[2], state->transaction_type)) {
        PyErr_SetString(PyExc_TypeError, "transaction must be a subclass of _core.Transaction");
        return NULL;
    }
    if (hooks_set_disk_base(&state->disk_hooks, values[0]) < 0 ||
        hooks_set_cache_base(&state->cache_hooks, values[1]) < 0) {
        return NULL;
    }
    Py_XSETREF(state->transaction_class, (PyTypeObject *)Py_NewRef(values[2]));
    Py_XSETREF(state->stored_key_type, (PyTypeObject *)Py_NewRef(values[3]));
    Py_XSETREF(state->enoval, Py_NewRef(values[4]));
    Py_XSETREF(state->unknown, Py_NewRef(values[5]));
    Py_XSETREF(state->find_policy, Py_NewRef(values[6]));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(core_optimize_doc,
"_optimize_pickle($module, pickled, /)\n--\n\n"
"Return what pickletools.optimize(pickled) returns.\n"
"\n"
":param bytes pickled: a pickle\n"
":raises ValueError: and what else pickletools raises for what is no pickle\n");

static PyObject *core_optimize(PyObject *module, PyObject *pickled)
{
    if (!PyBytes_Check(pickled)) {
        PyErr_Format(PyExc_TypeError, "pickled must be bytes, not '%.200s'",
                     Py_TYPE(pickled)->tp_name);
        return NULL;
    }
    return key_pickle_optimize(pickled, state_of(module)->optimize);
}

PyDoc_STRVAR(core_pickle_key_doc,
"_pickle_key($module, /, object, protocol)\n--\n\n"
"Return the optimized pickle of a simple key, or None if only the pickler can make it.\n");

static PyObject *core_pickle_key(PyObject *Py_UNUSED(module), PyObject *const *args,
                                 Py_ssize_t nargs, PyObject *kwnames)
{
    static const args_table table = {"_pickle_key", 2, 2, {"object", "protocol"}};
    PyObject *values[2];
    PyObject *pickled;
    int overflow;
    long protocol;

    if (args_parse(&table, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    protocol = PyLong_AsLongAndOverflow(values[1], &overflow);
    if (protocol == -1 && PyErr_Occurred()) {
        return NULL;
    }
    pickled = key_pickle_dumps(values[0], protocol == (int)protocol ? (int)protocol : -1);
    return pickled != NULL ? pickled : Py_NewRef(Py_None);
}

static PyObject *core_before_fork(PyObject *module, PyObject *Py_UNUSED(unused))
{
    cache_flush_all_access_logs(state_of(module));
    fork_gate_before_fork();
    Py_RETURN_NONE;
}

static PyObject *core_flush_notes(PyObject *module, PyObject *Py_UNUSED(unused))
{
    cache_flush_all_access_logs(state_of(module));
    Py_RETURN_NONE;
}

static PyObject *core_after_fork(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    fork_gate_after_fork();
    Py_RETURN_NONE;
}

static PyMethodDef core_methods[] = {
    {"_register", ARGS_METHOD(core_register), core_register_doc},
    {"_optimize_pickle", core_optimize, METH_O, core_optimize_doc},
    {"args_to_key", ARGS_METHOD(call_key_of_arguments), call_key_of_arguments_doc},
    {"_pickle_key", ARGS_METHOD(core_pickle_key), core_pickle_key_doc},
    {"_flush_notes", core_flush_notes, METH_NOARGS,
     PyDoc_STR("_flush_notes($module, /)\n--\n\nWrite what lookups have noted in all caches.\n")},
    {"_before_fork", core_before_fork, METH_NOARGS,
     PyDoc_STR(
         "_before_fork($module, /)\n--\n\nWait until no connection is being opened or closed.\n")},
    {"_after_fork", core_after_fork, METH_NOARGS,
     PyDoc_STR(
         "_after_fork($module, /)\n--\n\nThe fork is over, in the parent and in the child.\n")},
    {NULL, NULL, 0, NULL},
};

/* --- initialization --------------------------------------------------------------------------- */

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **type)
{
    *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *type == NULL ? -1 : PyModule_AddType(module, *type);
}

static int add_types(PyObject *module, module_state *state)
{
    if (add_type(module, &disk_type_spec, &state->disk_type) < 0 ||
        add_type(module, &cache_type_spec, &state->cache_type) < 0 ||
        add_type(module, &transaction_type_spec, &state->transaction_type) < 0 ||
        add_type(module, &iterator_type_spec, &state->iterator_type) < 0 ||
        add_type(module, &pin_type_spec, &state->pin_type) < 0 ||
        add_type(module, &call_key_type_spec, &state->call_key_type) < 0) {
        return -1;
    }
    state->Timeout = PyErr_NewExceptionWithDoc(
        "diskcache.core.Timeout",
        "A lock could not be had within the cache's timeout.\n"
        "\n"
        "Raised by bulk deletions it carries the number of items removed until then.",
        NULL, NULL);
    return state->Timeout == NULL ? -1 : PyModule_AddObjectRef(module, "Timeout", state->Timeout);
}

static int core_exec(PyObject *module)
{
    module_state *state = state_of(module);

    if (state_fill(state) < 0 || connection_bind(state, module) < 0 || session_init() < 0 ||
        add_types(module, state) < 0 || exports_add(module) < 0) {
        return -1;
    }
    state->transaction_class = (PyTypeObject *)Py_NewRef(state->transaction_type);
    state->enoval = Py_NewRef(Py_None);
    state->unknown = Py_NewRef(Py_None);
    return PyModule_AddStringConstant(module, "sqlite_version", sqlite.libversion());
}

static int core_traverse(PyObject *module, visitproc visit, void *arg)
{
    return state_traverse(state_of(module), visit, arg);
}

static int core_clear(PyObject *module)
{
    state_clear(state_of(module));
    return 0;
}

static void core_free(void *module)
{
    state_free(state_of(module));
}

static PyModuleDef_Slot core_slots[] = {
    {Py_mod_exec, core_exec},
    {0, NULL},
};

PyDoc_STRVAR(core_doc, "The native core of diskcache: Disk, Cache and transactions over SQLite.");

static struct PyModuleDef core_module = {
    PyModuleDef_HEAD_INIT,          .m_name = "diskcache._core", .m_doc = core_doc,
    .m_size = sizeof(module_state), .m_methods = core_methods,   .m_slots = core_slots,
    .m_traverse = core_traverse,    .m_clear = core_clear,       .m_free = core_free,
};

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&core_module);
}
