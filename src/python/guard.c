/* guard.c: see guard.h. */
#include "python/guard.h"

DC_THREAD_LOCAL int guard_depth;
