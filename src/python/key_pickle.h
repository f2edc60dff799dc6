/* key_pickle.h: the byte work behind pickled keys.
 *
 * A key that SQLite cannot hold natively is stored as pickletools.optimize(pickle.dumps(key)), and
 * those bytes decide whether two keys are equal. They must therefore be the original's, byte for
 * byte; what Python spends on making them (tens of microseconds) is what this module saves, for
 * protocols 4 and 5. Older ones are chosen only by who asks for them, and cost what they did.
 */
#ifndef DC_PYTHON_KEY_PICKLE_H
#define DC_PYTHON_KEY_PICKLE_H

#include <Python.h>

/* The same for a simple key, without the pickler.
 *
 * Returns a strong reference to a bytes object equal to pickletools.optimize(pickle.dumps(object,
 * protocol)), or NULL without an exception: then dump and optimize the key. It is there for
 * protocols 4 and 5 and for tuples, nested or not, of str, bytes, int, float, bool and None, unless
 * it is long or contains an object twice (key_pickle.c says what else is declined). No Python code
 * runs. */
PyObject *key_pickle_dumps(PyObject *object, int protocol);

/* What pickletools.optimize(pickled) returns, byte for byte.
 *
 * `pickled` is a bytes object that a pickler has made. Returns a strong reference or NULL with an
 * exception set. What the C code does not follow (other protocols, long keys, what is no pickle) is
 * handed to `optimize_fallback` (pickletools.optimize; borrowed), whose result or exception is then
 * the caller's. No Python code runs otherwise. */
PyObject *key_pickle_optimize(PyObject *pickled, PyObject *optimize_fallback);

/* Whether both do for some samples what `dumps` and `optimize`, of pickle and pickletools, do: 1, 0, or
 * -1 with an exception. The bytes are CPython's business, and may change with its next version; keys that
 * are pickled otherwise would not be found. `protocol` is 4 or 5. */
int key_pickle_check(PyObject *dumps, PyObject *optimize, int protocol);

#endif
