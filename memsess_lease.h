/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file memsess_lease.h
 * @brief What is held for as long as its holder lives: a thread renews it every now and then.
 */
#ifndef MEMSESS_LEASE_H
#define MEMSESS_LEASE_H

#include "apr_errno.h"

typedef struct memsess_leases_t memsess_leases_t;

/** One of them; it lives with its holder. */
typedef struct memsess_lease_t {
    void (*renew)(void *baton);
    void *baton;
    struct memsess_lease_t *next;
    int is_held;
} memsess_lease_t;

/** Without a thread yet: it is started for the first lease. */
apr_status_t memsess_leases_create(memsess_leases_t **leases);

/** From now on it is renewed every MEMSESS_LEASE_EVERY seconds, one lease after the other. */
void memsess_lease_begin(memsess_leases_t *leases, memsess_lease_t *lease, void (*renew)(void *),
                         void *baton);

#define MEMSESS_LEASE_EVERY 2

/** It is not renewed any more; a renewal that is under way is waited for. May be called again. */
void memsess_lease_end(memsess_leases_t *leases, memsess_lease_t *lease);

/** When nobody holds one any more. */
void memsess_leases_destroy(memsess_leases_t *leases);

#endif
