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

static int set_hook_base(hook_base *base, PyObject *const *names, int count, PyObject *type)
{
    base->count = count;
    for (int i = 0; i < count; i++) {
        PyObject *original = PyObject_GetAttr(type, names[i]);

        if (original == NULL) {
            return -1;
        }
        base->names[i] = names[i];
        Py_XSETREF(base->originals[i], original);
    }
    return 0;
}

#define HOOK_NAME(hook, index) [index] = state->name.hook,

static int set_hook_bases(module_state *state, PyObject *disk, PyObject *cache)
{
    PyObject *const disk_names[DISK_HOOK_COUNT] = {DISK_HOOKS(HOOK_NAME)};
    PyObject *const cache_names[CACHE_HOOK_COUNT] = {CACHE_HOOKS(HOOK_NAME)};

    return set_hook_base(&state->disk_hooks, disk_names, DISK_HOOK_COUNT, disk) < 0 ||
                   set_hook_base(&state->cache_hooks, cache_names, CACHE_HOOK_COUNT, cache) < 0
               ? -1
               : 0;
}

PyDoc_STRVAR(core_register_doc,
"_register($module, /, disk, cache, transaction, stored_key, enoval, unknown, "
"find_policy)\n--\n\n"
"Tell the module the public classes and constants, which core.py defines.\n"
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
    if (set_hook_bases(state, values[0], values[1]) < 0) {
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
    return keypickle_optimize(pickled, state_of(module)->optimize);
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
    pickled = keypickle_dumps(values[0], protocol == (int)protocol ? (int)protocol : -1);
    return pickled != NULL ? pickled : Py_NewRef(Py_None);
}

static PyObject *core_before_fork(PyObject *module, PyObject *Py_UNUSED(unused))
{
    cache_flush_all_notes(state_of(module));
    fork_gate_before_fork();
    Py_RETURN_NONE;
}

static PyObject *core_flush_notes(PyObject *module, PyObject *Py_UNUSED(unused))
{
    cache_flush_all_notes(state_of(module));
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
    {"args_to_key", ARGS_METHOD(cachekey_from_call), cachekey_from_call_doc},
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

static int intern_names(module_state *state)
{
#define INTERN_NAME(name_)                                                                         \
    state->name.name_ = PyUnicode_InternFromString(#name_);                                        \
    if (state->name.name_ == NULL) {                                                               \
        return -1;                                                                                 \
    }
    STATE_NAMES(INTERN_NAME)
#undef INTERN_NAME
    return 0;
}

static PyObject *import_attribute(const char *module_name, const char *attribute)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *value = module != NULL ? PyObject_GetAttrString(module, attribute) : NULL;

    Py_XDECREF(module);
    return value;
}

/* What is in use of the module sqlite3 as it is now, which programs replace: all of it from the same. */
static int import_sqlite3(module_state *state)
{
    static const char *const error_names[SQLITE_ERROR_COUNT] = {
#define ERROR_NAME(name) [SQLITE_ERROR_##name] = #name,
        STATE_SQLITE_ERRORS(ERROR_NAME)
#undef ERROR_NAME
    };
    PyObject *module = PyImport_ImportModule("sqlite3");
    int failed = module == NULL;

    if (!failed) {
        state->connect = PyObject_GetAttrString(module, "connect");
        state->cursor_class = PyObject_GetAttrString(module, "Cursor");
        failed = state->connect == NULL || state->cursor_class == NULL;
    }
    for (int i = 0; i < SQLITE_ERROR_COUNT && !failed; i++) {
        state->sqlite_errors[i] = PyObject_GetAttrString(module, error_names[i]);
        failed = state->sqlite_errors[i] == NULL;
    }
    Py_XDECREF(module);
    return failed ? -1 : 0;
}

static int import_python_functions(module_state *state)
{
    state->time_module = PyImport_ImportModule("time");
    state->threading = PyImport_ImportModule("threading");
    state->dumps = import_attribute("pickle", "dumps");
    state->loads = import_attribute("pickle", "loads");
    state->optimize = import_attribute("pickletools", "optimize");
    state->open = import_attribute("io", "open");
    state->join = import_attribute("os.path", "join");
    state->getpid = import_attribute("os", "getpid");
    state->getcwd = import_attribute("os", "getcwd");
    return PyErr_Occurred() ? -1 : 0;
}

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
        add_type(module, &cachekey_type_spec, &state->cachekey_type) < 0) {
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

/* The statements that make a directory, for core.py: (name, statement) in order, and by policy. */
static int add_schema(PyObject *module)
{
    PyObject *schema = PyTuple_New(DC_SCHEMA_COUNT);
    PyObject *policies = PyDict_New();
    int result = -1;

    for (int i = 0; i < DC_SCHEMA_COUNT && schema != NULL; i++) {
        PyObject *object = Py_BuildValue("ss", dc_schema[i].name, dc_schema[i].create);

        if (object == NULL) {
            goto done;
        }
        PyTuple_SET_ITEM(schema, i, object);
    }
    for (int i = 0; i < DC_POLICY_COUNT && policies != NULL; i++) {
        PyObject *index = Py_BuildValue("zz", dc_policies[i].index, dc_policies[i].create_index);
        int failed = index == NULL ||
                     PyDict_SetItemString(policies, dc_policies[i].name, index) < 0;

        Py_XDECREF(index);
        if (failed) {
            goto done;
        }
    }
    if (schema != NULL && policies != NULL &&
        PyModule_AddObjectRef(module, "SCHEMA", schema) == 0 &&
        PyModule_AddObjectRef(module, "POLICY_INDEXES", policies) == 0 &&
        PyModule_AddStringConstant(module, "TAG_INDEX_NAME", DC_TAG_INDEX_NAME) == 0 &&
        PyModule_AddStringConstant(module, "TAG_INDEX_CREATE", DC_TAG_INDEX_CREATE) == 0 &&
        PyModule_AddStringConstant(module, "TAG_INDEX_DROP", DC_TAG_INDEX_DROP) == 0) {
        result = 0;
    }
done:
    Py_XDECREF(policies);
    Py_XDECREF(schema);
    return result;
}

static int core_exec(PyObject *module)
{
    module_state *state = state_of(module);

    if (intern_names(state) < 0 || import_sqlite3(state) < 0 ||
        connection_bind(state, module) < 0 || session_init() < 0 ||
        import_python_functions(state) < 0 || add_types(module, state) < 0 ||
        add_schema(module) < 0) {
        return -1;
    }
    state->transaction_class = (PyTypeObject *)Py_NewRef(state->transaction_type);
    state->enoval = Py_NewRef(Py_None);
    state->unknown = Py_NewRef(Py_None);
    return PyModule_AddStringConstant(module, "sqlite_version", sqlite.libversion());
}

/* Visit or clear every reference of the state: one list for both. */
/* clang-format off */
#define STATE_REFERENCES(X)                                                                        \
    X(disk_type) X(cache_type) X(transaction_type) X(iterator_type) X(pin_type)                    \
    X(cachekey_type) X(transaction_class) X(stored_key_type) X(Timeout) X(connect)                 \
    X(cursor_class) X(time_module) X(threading) X(dumps) X(loads) X(optimize) X(open) X(join)      \
    X(getpid) X(unknown) X(enoval) X(find_policy) X(getcwd)
/* clang-format on */

static int core_traverse(PyObject *module, visitproc visit, void *arg)
{
    module_state *state = state_of(module);

#define VISIT_REFERENCE(member) Py_VISIT(state->member);
    STATE_REFERENCES(VISIT_REFERENCE)
#undef VISIT_REFERENCE
    for (int i = 0; i < SQLITE_ERROR_COUNT; i++) {
        Py_VISIT(state->sqlite_errors[i]);
    }
    for (int i = 0; i < HOOK_COUNT_MAX; i++) {
        Py_VISIT(state->disk_hooks.originals[i]);
        Py_VISIT(state->cache_hooks.originals[i]);
    }
    return 0;
}

static int core_clear(PyObject *module)
{
    module_state *state = state_of(module);

#define CLEAR_REFERENCE(member) Py_CLEAR(state->member);
    STATE_REFERENCES(CLEAR_REFERENCE)
#undef CLEAR_REFERENCE
    for (int i = 0; i < SQLITE_ERROR_COUNT; i++) {
        Py_CLEAR(state->sqlite_errors[i]);
    }
    for (int i = 0; i < HOOK_COUNT_MAX; i++) {
        Py_CLEAR(state->disk_hooks.originals[i]);
        Py_CLEAR(state->cache_hooks.originals[i]);
    }
    return 0;
}

static void core_free(void *module)
{
    module_state *state = state_of(module);

    core_clear(module);
#define CLEAR_NAME(name_) Py_CLEAR(state->name.name_);
    STATE_NAMES(CLEAR_NAME)
#undef CLEAR_NAME
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
