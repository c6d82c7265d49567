/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/later.h"

#include "apr_atomic.h"

/* At most this many things wait for each store of a process. Beyond that, records are repaired when
 * they are used, and claims expire. */
#define WAITING_MAX 1000

int memsess_later_begin(memsess_store_t *store, memsess_lease_t *lease, void (*look)(void *),
                        void (*end)(void *), void *baton)
{
    if (apr_atomic_inc32(&store->later) >= WAITING_MAX) {
        apr_atomic_dec32(&store->later);
        return 0;
    }
    memsess_lease_begin(memsess_server_leases(store->servers[0]), lease, look, end, baton);
    return 1;
}

void memsess_later_done(memsess_store_t *store, memsess_lease_t *lease)
{
    memsess_lease_end(memsess_server_leases(store->servers[0]), lease);
}

void memsess_later_over(memsess_store_t *store)
{
    apr_atomic_dec32(&store->later);
}
