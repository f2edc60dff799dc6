/* status.h: what an engine function returns, and where the details of a failure travel.
 *
 * Every engine function that can fail returns a dc_status and describes the failure in a dc_error
 * that the caller passes in (or that its dc_db carries). The engine never prints, never sets errno
 * for its caller, and never raises: the binding turns status and error into an exception, in one
 * place (convert.c).
 */
#ifndef DC_BASE_STATUS_H
#define DC_BASE_STATUS_H

typedef enum dc_status {
    DC_OK = 0,
    DC_NOT_FOUND, /* no such row or no such file: an answer rather than a failure */
    DC_BUSY,      /* another connection holds the lock: the only status worth a retry */
    DC_CORRUPT,   /* a value file whose size is not the one its row records */
    DC_NO_MEMORY, /* an allocation of ours failed */
    DC_SYSTEM,    /* a system call failed: error.system_errno and error.message tell */
    DC_SQLITE,    /* SQLite failed: error.sqlite_code and error.message tell */
    DC_TYPE,      /* the stored value has not the type that the operation needs */
    DC_OVERFLOW,  /* the result of an increment leaves the signed 64-bit range */
    DC_CALLBACK   /* a callback of the caller's failed, and knows why itself */
} dc_status;

#define DC_MESSAGE_SIZE 512

typedef struct dc_error {
    int sqlite_code;               /* extended result code, or 0 */
    int system_errno;              /* errno, or 0 */
    char message[DC_MESSAGE_SIZE]; /* English; for DC_SYSTEM the path that failed; NUL-terminated */
} dc_error;

/* Empty the error. */
void dc_error_clear(dc_error *error);

/* Fill the error and return `status`, so that a function can `return dc_error_set(...)`.
 * The format is printf's; a message that does not fit is cut, at the end of a UTF-8 character. */
dc_status dc_error_set(dc_error *error, dc_status status, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* Record a failed system call on `path` and return DC_SYSTEM. */
dc_status dc_error_system(dc_error *error, int system_errno, const char *path);

#endif
