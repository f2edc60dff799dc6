/* fork_generation.h: how many forks lie between this process and the one that imported the module first.
 *
 * What has another generation than the process was inherited. The number changes only in a forked child, before
 * anything else runs there and while it has one thread, so no lock guards it.
 */
#ifndef DC_PYTHON_FORK_GENERATION_H
#define DC_PYTHON_FORK_GENERATION_H

extern unsigned long fork_generation_number; /* written by fork_gate.c alone */

static inline unsigned long fork_generation(void)
{
    return fork_generation_number;
}

#endif
