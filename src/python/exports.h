/* exports.h: what the Python modules import from the native one, rather than say it again.
 */
#ifndef DC_PYTHON_EXPORTS_H
#define DC_PYTHON_EXPORTS_H

#include "python/compat.h" /* first: it includes Python.h */

/* Add the constants, the schema and the policies to the module. 0, or -1 with an exception. */
int exports_add(PyObject *module);

#endif
