/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/private.h"

#include <stdlib.h>

#include "apr_atomic.h"

/*
 * Clocks of servers tell seconds, and members are some seconds apart in what they take for them. So of
 * what is written right after a server's return nobody can tell later that it was not written before
 * it went, and where the others that have it go, that server is not believed. Whoever has written it
 * reads it once more when that time is over: what cannot be believed is repaired, as ever.
 */

/* So many wait at most, for each store of a process. Other records are repaired when they are used, and
 * other claims go by themselves. */
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

typedef struct later_t {
    memsess_lease_t lease;
    memsess_store_t *store;
    memsess_key_t key;
    memsess_placement_t placement;
} later_t;

static int is_any_just_back(const memsess_store_t *store, const memsess_placement_t *placement)
{
    unsigned i;

    for (i = 0; i < store->n; i++) {
        if (memsess_is_placed(store, placement, i)
            && memsess_server_is_just_back(store->servers[i])) {
            return 1;
        }
    }
    return 0;
}

static void later_look(void *baton)
{
    later_t *later = baton;
    memsess_reading_t reading = {.key = later->key};
    apr_pool_t *p;

    if (!is_any_just_back(later->store, &later->placement)
        && apr_pool_create_unmanaged_ex(&p, NULL, NULL) == APR_SUCCESS) {
        memsess_store_read(later->store, &reading, p);
        memsess_store_repair(later->store, &reading, p);
        apr_pool_destroy(p);
        memsess_later_done(later->store, &later->lease);
    }
}

static void later_end(void *baton)
{
    later_t *later = baton;

    memsess_later_over(later->store);
    free(later);
}

void memsess_read_later(memsess_store_t *store, const memsess_key_t *key,
                        const memsess_placement_t *placement)
{
    later_t *later;

    if (!is_any_just_back(store, placement) || !(later = calloc(1, sizeof(*later)))) {
        return;
    }
    later->store = store;
    later->key = *key;
    later->placement = *placement;
    if (!memsess_later_begin(store, &later->lease, later_look, later_end, later)) {
        free(later);
    }
}
