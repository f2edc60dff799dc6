/* dlfcn.h: libraries, for check.h and database.h on Windows. */
#ifndef DC_WINDOWS_DLFCN_H
#define DC_WINDOWS_DLFCN_H

#include "base/windows_api.h"

#include <stdio.h>

/* What the tests look for everywhere is there. */
#define RTLD_DEFAULT ((void *)GetModuleHandleA("sqlite3.dll"))

enum { RTLD_NOW, RTLD_GLOBAL };

static inline void *dlopen(const char *name, int flags)
{
    (void)flags;
    return (void *)LoadLibraryA(name);
}

static inline void *dlsym(void *library, const char *name)
{
    return (void *)(size_t)GetProcAddress((HMODULE)library, name);
}

static inline const char *dlerror(void)
{
    static char text[32];

    snprintf(text, sizeof text, "error %lu", GetLastError());
    return text;
}

#endif
