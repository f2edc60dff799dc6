/* windows_api.h: the interface of Windows, without the parts that define names of ours.
 *
 * winuser.h makes DC_TEXT a macro, with the value 8; a comparison with our DC_TEXT after it would compile
 * and be wrong. So windows.h is included here only.
 */
#ifndef DC_BASE_WINDOWS_API_H
#define DC_BASE_WINDOWS_API_H

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOGDI
#define NOGDI
#endif
#ifndef NOUSER
#define NOUSER
#endif
#include <windows.h>

#ifdef DC_TEXT
#error "windows.h has been included elsewhere, and has defined DC_TEXT"
#endif

#endif
