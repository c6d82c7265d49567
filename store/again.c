/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/again.h"

#include <stdlib.h>

#include "store/commit.h"
#include "store/later.h"
#include "store/read.h"

/*
 * Servers tell their time in whole seconds, and members differ by some seconds in what they take
 * for a server's clock. So if a record is written right after a server's return, nobody can tell
 * later that it was not written before the server went; and if the other servers that have it go,
 * this one is not believed. The writer therefore reads the record again when those seconds are
 * over, and a copy that cannot be believed is repaired, as after any reading.
 */

typedef struct again_t {
    memsess_lease_t lease;
    memsess_store_t *store;
    memsess_key_t key;
    memsess_placement_t placement;
} again_t;

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

static void again_look(void *baton)
{
    again_t *again = baton;
    memsess_reading_t reading = {.key = again->key};
    apr_pool_t *p;

    if (is_any_just_back(again->store, &again->placement)
        || apr_pool_create_unmanaged_ex(&p, NULL, NULL) != APR_SUCCESS) {
        return;
    }
    memsess_read(again->store, &reading, p);
    memsess_commit_again(again->store, &reading, &again->placement, p);
    apr_pool_destroy(p);
    if (!is_any_just_back(again->store, &again->placement)) {
        memsess_later_done(again->store, &again->lease);
    }
}

static void again_end(void *baton)
{
    again_t *again = baton;

    memsess_later_over(again->store);
    free(again);
}

void memsess_read_again(memsess_store_t *store, const memsess_key_t *key,
                        const memsess_placement_t *placement)
{
    again_t *again;

    if (!is_any_just_back(store, placement) || !(again = calloc(1, sizeof(*again)))) {
        return;
    }
    again->store = store;
    again->key = *key;
    again->placement = *placement;
    if (!memsess_later_begin(store, &again->lease, again_look, again_end, again)) {
        free(again);
    }
}
