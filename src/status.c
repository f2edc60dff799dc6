/* status.c: filling the error record that status.h describes. */
#include "status.h"

#include <stdarg.h>
#include <stdio.h>

void dc_error_clear(dc_error *error)
{
    error->sqlite_code = 0;
    error->system_errno = 0;
    error->message[0] = '\0';
}

dc_status dc_error_set(dc_error *error, dc_status status, const char *format, ...)
{
    va_list arguments;

    dc_error_clear(error);
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return status;
}

dc_status dc_error_system(dc_error *error, int system_errno, const char *path)
{
    dc_error_set(error, DC_SYSTEM, "%s", path);
    error->system_errno = system_errno;
    return DC_SYSTEM;
}
