/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/watch.h
 * @brief What an operator should hear of: repairs and refusals, and members whose pool or clock is
 *        not like this one's. All of it is done in the prober's thread.
 */
#ifndef MEMSESS_WATCH_H
#define MEMSESS_WATCH_H

#include "store/copies.h"

typedef struct memsess_watch_t memsess_watch_t;

/**
 * Has the prober of a pool watch; to be called before memsess_pool_start.
 * @param member the lasting name of this member: printable, without spaces
 */
memsess_watch_t *memsess_watch_create(memsess_pool_t *pool, const char *member, apr_pool_t *p);

/** Has a store's pool compared with those of other members in the same namespace. */
apr_status_t memsess_watch_add(memsess_watch_t *watch, const memsess_store_t *store,
                               const char *ns);

#endif
