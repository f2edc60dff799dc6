/* selfcheck.c: see selfcheck.h. */
#include "base/selfcheck.h"

_Atomic(const char *) dc_selfcheck_failures[DC_MECHANISM_COUNT];
atomic_int dc_selfcheck_count;

void dc_selfcheck_fail(dc_mechanism mechanism, const char *reason)
{
    const char *none = NULL;

    if (atomic_compare_exchange_strong(&dc_selfcheck_failures[mechanism], &none, reason)) {
        atomic_fetch_add(&dc_selfcheck_count, 1);
    }
}
