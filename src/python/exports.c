/* exports.c: see exports.h. */
#include "python/exports.h"

#include "base/format.h"
#include "base/limits.h"
#include "base/record.h"
#include "engine/sql.h"
#include "engine/survey.h"
#include "python/blame.h"

static const struct {
    const char *name;
    int64_t value;
} numbers[] = {
    {"MODE_NONE", DC_MODE_NONE},           {"MODE_RAW", DC_MODE_RAW},
    {"MODE_BINARY", DC_MODE_BINARY},       {"MODE_TEXT", DC_MODE_TEXT},
    {"MODE_PICKLE", DC_MODE_PICKLE},       {"VALUE_FILE_DIGITS", DC_VALUEFILE_DIGITS},
    {"QUEUE_LOWEST", DC_QUEUE_LOWEST},     {"QUEUE_HIGHEST", DC_QUEUE_HIGHEST},
    {"QUEUE_ORIGIN", DC_QUEUE_ORIGIN},     {"QUEUE_DIGITS", DC_QUEUE_DIGITS},
    {"MEMORY_LIMIT", DC_MEMORY_LIMIT},     {"BATCH_ITEMS", DC_BATCH_ITEMS},
    {"BATCH_BYTES", DC_BATCH_BYTES},       {"CREATE_ATTEMPTS", DC_CREATE_ATTEMPTS},
    {"READ_BLOCK", DC_READ_BLOCK},         {"MODE_SIGNED", DC_MODE_SIGNED},
    {"SURVEY_ODD", DC_SURVEY_ODD},         {"SURVEY_PICKLED_KEYS", DC_SURVEY_PICKLED_KEYS},
    {"SURVEY_PICKLES", DC_SURVEY_PICKLES}, {"SURVEY_FILES", DC_SURVEY_FILES},
};

static const struct {
    const char *name;
    const char *value;
} texts[] = {
    {"DATABASE_NAME", DC_DATABASE_NAME},
    {"VALUE_FILE_SUFFIX", DC_VALUEFILE_SUFFIX},
    {"TEMPORARY_FILE_SUFFIX", DC_VALUEFILE_TEMPORARY_SUFFIX},
    {"READING_NOTE", BLAME_READING},
    {"TAG_INDEX_NAME", DC_TAG_INDEX_NAME},
    {"TAG_INDEX_CREATE", DC_TAG_INDEX_CREATE},
    {"TAG_INDEX_DROP", DC_TAG_INDEX_DROP},
};

/* Add an object to the module, and give it back. -1 if it is NULL, with the exception there is. */
static int add(PyObject *module, const char *name, PyObject *object)
{
    int result = object != NULL ? PyModule_AddObjectRef(module, name, object) : -1;

    Py_XDECREF(object);
    return result;
}

/* (name, statement) of each object of a directory, in the order of their creation. */
static PyObject *make_schema(void)
{
    PyObject *schema = PyTuple_New(DC_SCHEMA_COUNT);

    for (int i = 0; i < DC_SCHEMA_COUNT && schema != NULL; i++) {
        PyObject *object = Py_BuildValue("ss", dc_schema[i].name, dc_schema[i].create);

        if (object == NULL) {
            Py_CLEAR(schema);
        } else {
            PyTuple_SET_ITEM(schema, i, object);
        }
    }
    return schema;
}

/* (index, statement that makes it, `get`, `cull`) by policy. */
static PyObject *make_policies(void)
{
    PyObject *policies = PyDict_New();

    for (int i = 0; i < DC_POLICY_COUNT && policies != NULL; i++) {
        const dc_policy_sql *policy = &dc_policies[i];
        PyObject *object =
            Py_BuildValue("zzzz", policy->index, policy->create_index, policy->get, policy->cull);

        if (object == NULL || PyDict_SetItemString(policies, policy->name, object) < 0) {
            Py_CLEAR(policies);
        }
        Py_XDECREF(object);
    }
    return policies;
}

int exports_add(PyObject *module)
{
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (add(module, numbers[i].name, PyLong_FromLongLong(numbers[i].value)) < 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (PyModule_AddStringConstant(module, texts[i].name, texts[i].value) < 0) {
            return -1;
        }
    }
    return add(module, "SCHEMA", make_schema()) < 0 || add(module, "POLICIES", make_policies()) < 0
               ? -1
               : 0;
}
