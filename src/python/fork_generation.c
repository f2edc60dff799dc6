/* fork_generation.c: see fork_generation.h. */
#include "python/fork_generation.h"

unsigned long fork_generation_number;
