/* state.c: see state.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* dladdr */
#endif

#include "python/state.h"

#ifndef _WIN32
#include <dlfcn.h>
#endif

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

/* pickletools.optimize(pickled). The module is imported when it is needed: that takes long, and most programs have keys
 * that key_pickle.c can do alone, once it has been compared. */
static PyObject *optimize(PyObject *Py_UNUSED(self), PyObject *pickled)
{
    PyObject *function = import_attribute("pickletools", "optimize");
    PyObject *result = function != NULL ? PyObject_CallOneArg(function, pickled) : NULL;

    Py_XDECREF(function);
    return result;
}

static PyMethodDef optimize_definition = {"optimize", optimize, METH_O, NULL};

static int is_own_sqlite3(PyObject *module)
{
    const char *name = PyModule_Check(module) ? PyModule_GetName(module) : NULL;

    PyErr_Clear();
    return name != NULL && strcmp(name, "sqlite3") == 0;
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
        state->has_own_sqlite3 = is_own_sqlite3(module);
        state->connect = PyObject_GetAttrString(module, "connect");
        state->cursor_class = PyObject_GetAttrString(module, "Cursor");
        state->sqlite_constants = PyModule_GetDict(module);
        Py_XINCREF(state->sqlite_constants);
        failed = state->connect == NULL || state->cursor_class == NULL ||
                 state->sqlite_constants == NULL;
    }
    for (int i = 0; i < SQLITE_ERROR_COUNT && !failed; i++) {
        state->sqlite_errors[i] = PyObject_GetAttrString(module, error_names[i]);
        failed = state->sqlite_errors[i] == NULL;
    }
    Py_XDECREF(module);
    return failed ? -1 : 0;
}

#ifdef _WIN32

static PyCFunction code_of_time(PyObject *Py_UNUSED(time_module))
{
    return NULL; /* each version of Python reads another clock */
}

#else

/* The code of time.time, if it is where Python's is. */
static PyCFunction code_of_time(PyObject *time_module)
{
    PyObject *function = PyObject_GetAttrString(time_module, "time");
    PyCFunction code = function != NULL && PyCFunction_CheckExact(function)
                           ? PyCFunction_GET_FUNCTION(function)
                           : NULL;
    Dl_info its, pythons;
    int is_pythons = code != NULL && dladdr((void *)(uintptr_t)code, &its) != 0 &&
                     dladdr((void *)(uintptr_t)PyFloat_Type.tp_hash, &pythons) != 0 &&
                     its.dli_fbase == pythons.dli_fbase;

    Py_XDECREF(function);
    return is_pythons ? code : NULL;
}

#endif

static int import_python_functions(module_state *state)
{
    const struct {
        const char *module, *name;
        PyObject **function;
    } functions[] = {
        {"pickle", "dumps", &state->dumps}, {"pickle", "loads", &state->loads},
        {"pickle", "dump", &state->dump},   {"pickle", "load", &state->load},
        {"io", "open", &state->open},       {"os.path", "join", &state->join},
        {"os", "getpid", &state->getpid},   {"os", "getcwd", &state->getcwd},
    };

    size_t count = 0;

    state->optimize = PyCFunction_New(&optimize_definition, NULL);
    state->time_module = state->optimize != NULL ? PyImport_ImportModule("time") : NULL;
    state->threading = state->time_module != NULL ? PyImport_ImportModule("threading") : NULL;
    while (!PyErr_Occurred() && count < sizeof functions / sizeof *functions) {
        *functions[count].function =
            import_attribute(functions[count].module, functions[count].name);
        count++;
    }
    state->code_of_time = !PyErr_Occurred() ? code_of_time(state->time_module) : NULL;
    return PyErr_Occurred() ? -1 : 0;
}

int state_fill(module_state *state)
{
    return intern_names(state) < 0 || import_sqlite3(state) < 0 ||
                   import_python_functions(state) < 0
               ? -1
               : 0;
}

/* Visit or clear every reference of the state: one list for both. */
/* clang-format off */
#define STATE_REFERENCES(X)                                                                        \
    X(disk_type) X(cache_type) X(transaction_type) X(iterator_type) X(pin_type)                    \
    X(call_key_type) X(heard_type) X(transaction_class) X(stored_key_type) X(Timeout) X(connect)                 \
    X(cursor_class) X(sqlite_constants) X(time_module) X(threading) X(dumps) X(loads)              \
    X(dump) X(load) X(pickle_sink_type) X(pickle_source_type) X(mapping_type)                      \
    X(optimize) X(open) X(join)                                                                    \
    X(getpid) X(unknown) X(enoval) X(find_policy) X(getcwd) X(refused)
/* clang-format on */

int state_traverse(module_state *state, visitproc visit, void *arg)
{
    int visited;

#define VISIT_REFERENCE(member) Py_VISIT(state->member);
    STATE_REFERENCES(VISIT_REFERENCE)
#undef VISIT_REFERENCE
    for (int i = 0; i < SQLITE_ERROR_COUNT; i++) {
        Py_VISIT(state->sqlite_errors[i]);
    }
    visited = hooks_traverse(&state->disk_hooks, visit, arg);
    return visited != 0 ? visited : hooks_traverse(&state->cache_hooks, visit, arg);
}

void state_clear(module_state *state)
{
#define CLEAR_REFERENCE(member) Py_CLEAR(state->member);
    STATE_REFERENCES(CLEAR_REFERENCE)
#undef CLEAR_REFERENCE
    for (int i = 0; i < SQLITE_ERROR_COUNT; i++) {
        Py_CLEAR(state->sqlite_errors[i]);
    }
    hooks_clear(&state->disk_hooks);
    hooks_clear(&state->cache_hooks);
}

/* The names last: what the state refers to may use them while it goes. */
void state_free(module_state *state)
{
    state_clear(state);
    hooks_free(&state->disk_hooks);
    hooks_free(&state->cache_hooks);
#define CLEAR_NAME(name_) Py_CLEAR(state->name.name_);
    STATE_NAMES(CLEAR_NAME)
#undef CLEAR_NAME
}

PyObject *state_absolute(module_state *state, PyObject *directory)
{
    PyObject *current = PyObject_CallNoArgs(state->getcwd);
    PyObject *path = NULL;

    if (current != NULL) {
        path = PyObject_CallFunctionObjArgs(state->join, current, directory, NULL);
    }
    Py_XDECREF(current);
    if (path == NULL && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_Clear();
        path = Py_NewRef(directory);
    }
    return path;
}
