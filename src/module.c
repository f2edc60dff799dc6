/* module.c: the extension module diskcache._core: multi-phase initialization and module state.
 *
 * What belongs to the process rather than to an interpreter: the binding to a copy of SQLite
 * (connection.h), the fork handlers (fork_gate.h), and what process_lock.h guards. Everything else is in the module
 * state (state.h), so that interpreters with a GIL each can use it at the same time.
 */
#include "python/state.h"

#include <string.h>

#include "cache/access.h"
#include "cache/iterator.h"
#include "cache/pin.h"
#include "cache/registry.h"
#include "cache/shards.h"
#include "cache/transaction.h"
#include "cache/type.h"
#include "engine/file_system.h"
#include "python/call_key.h"
#include "python/connection.h"
#include "python/disk_map.h"
#include "python/disk_stream.h"
#include "python/disk_type.h"
#include "python/exports.h"
#include "python/fork_gate.h"
#include "python/heard.h"
#include "python/key_pickle.h"
#include "python/session.h"
#include "sqlite/api.h"

/* That of the Python files which it belongs to: __init__.py looks whether it is. */
#define VERSION "5.7.0"

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

#define METHODS         "module.def"
#define METHOD_OF(name) core_##name
#define METHOD_SELF     PyObject
#define METHOD_RECEIVER "$module"
#include "python/methods_declare.h"

PyObject *core__register(PyObject *module, const core__register_args *args)
{
    module_state *state = state_of(module);

    if (!PyType_Check(args->stored_key) ||
        !PyType_IsSubtype((PyTypeObject *)args->stored_key, &PyTuple_Type)) {
        PyErr_SetString(PyExc_TypeError, "stored_key must be a subclass of tuple");
        return NULL;
    }
    if (!PyType_Check(args->transaction) ||
        !PyType_IsSubtype((PyTypeObject *)args->transaction, state->transaction_type)) {
        PyErr_SetString(PyExc_TypeError, "transaction must be a subclass of _core.Transaction");
        return NULL;
    }
    if (hooks_set_disk_base(&state->disk_hooks, args->disk) < 0 ||
        hooks_set_cache_base(&state->cache_hooks, args->cache) < 0) {
        return NULL;
    }
    Py_XSETREF(state->transaction_class, (PyTypeObject *)Py_NewRef(args->transaction));
    Py_XSETREF(state->stored_key_type, (PyTypeObject *)Py_NewRef(args->stored_key));
    Py_XSETREF(state->enoval, Py_NewRef(args->enoval));
    Py_XSETREF(state->unknown, Py_NewRef(args->unknown));
    Py_XSETREF(state->find_policy, Py_NewRef(args->find_policy));
    Py_XSETREF(state->refused, Py_NewRef(args->refused));
    Py_RETURN_NONE;
}

PyObject *core_args_to_key(PyObject *Py_UNUSED(module), const core_args_to_key_args *args)
{
    return call_key_of_arguments(args->base, args->args, args->kwargs, args->typed, args->ignore);
}

PyObject *core__optimize_pickle(PyObject *module, const core__optimize_pickle_args *args)
{
    if (!PyBytes_Check(args->pickled)) {
        PyErr_Format(PyExc_TypeError, "pickled must be bytes, not '%.200s'",
                     Py_TYPE(args->pickled)->tp_name);
        return NULL;
    }
    return key_pickle_optimize(args->pickled, state_of(module)->optimize);
}

PyObject *core__pickle_key(PyObject *Py_UNUSED(module), const core__pickle_key_args *args)
{
    PyObject *pickled;
    int overflow;
    long protocol = PyLong_AsLongAndOverflow(args->protocol, &overflow);

    if (protocol == -1 && PyErr_Occurred()) {
        return NULL;
    }
    pickled = key_pickle_dumps(args->object, protocol == (int)protocol ? (int)protocol : -1);
    return pickled != NULL ? pickled : Py_NewRef(Py_None);
}

PyObject *core__file_system(PyObject *Py_UNUSED(module), const core__file_system_args *args)
{
    PyObject *path;
    PyObject *number;

    if (!PyUnicode_FSConverter(args->path, &path)) {
        return NULL;
    }
    number = PyLong_FromUnsignedLongLong(dc_file_system(PyBytes_AS_STRING(path)));
    Py_DECREF(path);
    return number;
}

PyObject *core__flush_notes(PyObject *module)
{
    cache_flush_all_access_logs(state_of(module));
    Py_RETURN_NONE;
}

PyObject *core__before_fork(PyObject *module)
{
    cache_flush_all_access_logs(state_of(module));
    cache_before_fork();
    fork_gate_before_fork();
    Py_RETURN_NONE;
}

PyObject *core__after_fork(PyObject *Py_UNUSED(module))
{
    cache_after_fork();
    fork_gate_after_fork();
    Py_RETURN_NONE;
}

#include "python/methods_define.h"

/* --- initialization --------------------------------------------------------------------------- */

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **type)
{
    *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *type == NULL ? -1 : PyModule_AddType(module, *type);
}

/* One that nobody here asks for. */
static int add_base(PyObject *module, PyType_Spec *spec)
{
    PyTypeObject *type;
    int result = add_type(module, spec, &type);

    Py_XDECREF(type);
    return result;
}

/* One that nobody but us makes objects of. */
static int make_type(PyObject *module, PyType_Spec *spec, PyTypeObject **type)
{
    *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *type == NULL ? -1 : 0;
}

static int add_types(PyObject *module, module_state *state)
{
    if (add_type(module, &disk_type_spec, &state->disk_type) < 0 ||
        add_type(module, &cache_type_spec, &state->cache_type) < 0 ||
        add_type(module, &transaction_type_spec, &state->transaction_type) < 0 ||
        add_type(module, &iterator_type_spec, &state->iterator_type) < 0 ||
        add_type(module, &pin_type_spec, &state->pin_type) < 0 ||
        add_type(module, &call_key_type_spec, &state->call_key_type) < 0 ||
        add_type(module, &heard_type_spec, &state->heard_type) < 0 ||
        add_base(module, &shards_type_spec) < 0 ||
        make_type(module, &pickle_sink_spec, &state->pickle_sink_type) < 0 ||
        make_type(module, &pickle_source_spec, &state->pickle_source_type) < 0 ||
        make_type(module, &mapping_spec, &state->mapping_type) < 0) {
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
        add_types(module, state) < 0 || exports_add(module) < 0 ||
        PyModule_AddStringConstant(module, "version", VERSION) < 0) {
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

/* clang-format off */
static PyModuleDef_Slot core_slots[] = {
    {Py_mod_exec, core_exec},
    COMPAT_SLOT_INTERPRETERS
    COMPAT_SLOT_GIL
    {0, NULL},
};
/* clang-format on */

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
