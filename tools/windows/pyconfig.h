/* pyconfig.h: what the headers of Python have to be told of 64-bit Windows, in the place of the file that its
 * installer brings. Only for tools/cross.py, which compiles, and links nothing. */
#ifndef Py_CONFIG_H
#define Py_CONFIG_H

#include <stddef.h>

#define MS_WINDOWS
#define MS_WIN32
#define MS_WIN64
#define NT_THREADS

#define Py_ENABLE_SHARED  1
#define HAVE_DECLSPEC_DLL 1
#define HAVE_WCHAR_H      1

#define SIZEOF_VOID_P    8
#define SIZEOF_SIZE_T    8
#define SIZEOF_LONG_LONG 8
#define SIZEOF_TIME_T    8
#define SIZEOF_LONG      4
#define SIZEOF_INT       4
#define SIZEOF_SHORT     2
#define SIZEOF_WCHAR_T   2
#define ALIGNOF_SIZE_T   8

typedef ptrdiff_t Py_ssize_t;
#define HAVE_PY_SSIZE_T 1
#define PY_SSIZE_T_MAX  9223372036854775807LL

#endif
