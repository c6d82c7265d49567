/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/kept.h
 * @brief Keeps secrets of one configuration for the next one in the same process.
 *
 * A restart loads the module again: nothing static outlives it, and neither may a pointer to one of
 * its functions. The secrets lie in the parent process's memory, and are zeroed when they are no
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

/** What the configuration before had under that name; NULL: nothing, or nothing of that length.
 * @param len 0: any length; a NUL follows the bytes */
const void *memsess_kept_find(const memsess_kept_t *kept, const char *name, apr_size_t len);

/** Keeps a copy for the next configuration; the first one under a name counts. */
void memsess_kept_put(memsess_kept_t *kept, const char *name, const void *bytes, apr_size_t len);

/** From now on the secrets that were put are found, and those before are gone. */
void memsess_kept_turn(memsess_kept_t *kept);

#endif
