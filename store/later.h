/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/later.h
 * @brief What a store is to do some seconds later, as long as the process lives.
 */
#ifndef MEMSESS_LATER_H
#define MEMSESS_LATER_H

#include "store/private.h"

/** Has @a look called every MEMSESS_LEASE_EVERY seconds until it calls memsess_later_done; then, or when
 * the process ends, @a end, which calls memsess_later_over. @return whether there was room */
int memsess_later_begin(memsess_store_t *store, memsess_lease_t *lease, void (*look)(void *),
                        void (*end)(void *), void *baton);
void memsess_later_done(memsess_store_t *store, memsess_lease_t *lease);
void memsess_later_over(memsess_store_t *store);

#endif
