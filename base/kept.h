/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/kept.h
 * @brief Secrets of the configuration before, for the one that follows it in the same process.
 *
 * A restart loads the module anew: nothing static outlives it, and neither may a pointer to one of
 * its functions. What is kept lies in the parent process's memory, and is zeroed when it is no
 * longer kept.
 */
#ifndef MEMSESS_KEPT_H
#define MEMSESS_KEPT_H

#include "apr_pools.h"

typedef struct memsess_kept_t memsess_kept_t;

/**
 * Those of this process; nothing at first.
 * @param process a pool that lives as long as the process
 */
memsess_kept_t *memsess_kept(apr_pool_t *process);

/** What the configuration before had under that name; NULL: nothing, or not of that length.
 * @param len 0: of any; the bytes are followed by a NUL */
const void *memsess_kept_find(const memsess_kept_t *kept, const char *name, apr_size_t len);

/** Keeps a copy for the next configuration; what came first under a name counts. */
void memsess_kept_put(memsess_kept_t *kept, const char *name, const void *bytes, apr_size_t len);

/** From now on, what was put is found; what was found before is gone. */
void memsess_kept_turn(memsess_kept_t *kept);

#endif
