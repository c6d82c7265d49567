/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/later.h
 * @brief Work that a store is to do some seconds later, if the process lives until then.
 */
#ifndef MEMSESS_LATER_H
#define MEMSESS_LATER_H

#include "store/private.h"

/**
 * Has @a look called every MEMSESS_LEASE_EVERY seconds until that calls memsess_later_done. Then,
 * or when the process ends, @a end is called, which has to call memsess_later_over.
 * @return whether there was room
 */
int memsess_later_begin(memsess_store_t *store, memsess_lease_t *lease, void (*look)(void *),
                        void (*end)(void *), void *baton);
void memsess_later_done(memsess_store_t *store, memsess_lease_t *lease);
void memsess_later_over(memsess_store_t *store);

#endif
