/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/commit.h
 * @brief Exact commits: docs/protocol.md has the protocol.
 */
#ifndef MEMSESS_COMMIT_H
#define MEMSESS_COMMIT_H

#include "store/private.h"

/**
 * As memsess_store_commit.
 * @param where receives the placement of what was written last, if anything was
 */
apr_status_t memsess_commit(memsess_store_t *store, const memsess_reading_t *upon,
                            apr_interval_time_t wait, memsess_next_t *make, void *baton,
                            memsess_placement_t *where, apr_pool_t *p);

/** As memsess_store_repair. */
void memsess_commit_again(memsess_store_t *store, memsess_reading_t *reading,
                          memsess_placement_t *where, apr_pool_t *p);

#endif
