/* status.c: filling the error record that status.h describes. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void dc_error_clear(dc_error *error)
{
    error->sqlite_code = 0;
    error->system_errno = 0;
    error->message[0] = '\0';
}

/* Bytes of the UTF-8 character that this byte begins; 1 for what begins none. */
static size_t character_size(unsigned char first)
{
    return first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
}

/* Drop the character at the end of a message that has been cut, if it is not whole. */
static void end_at_character(char *message)
{
    size_t size = strlen(message);
    size_t begin = size;

    while (begin > 0 && ((unsigned char)message[begin - 1] & 0xC0) == 0x80) {
        begin--;
    }
    if (begin > 0 && begin - 1 + character_size((unsigned char)message[begin - 1]) > size) {
        message[begin - 1] = '\0';
    }
}

dc_status dc_error_set(dc_error *error, dc_status status, const char *format, ...)
{
    va_list arguments;
    int size;

    dc_error_clear(error);
    va_start(arguments, format);
    size = vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    if (size >= (int)sizeof error->message) {
        end_at_character(error->message);
    }
    return status;
}

dc_status dc_error_system(dc_error *error, int system_errno, const char *path)
{
    dc_error_set(error, DC_SYSTEM, "%s", path);
    error->system_errno = system_errno;
    return DC_SYSTEM;
}
