/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/lease.h
 * @brief Things that are held for as long as their holder lives: a thread renews them.
 */
#ifndef MEMSESS_LEASE_H
#define MEMSESS_LEASE_H

#include "apr_errno.h"
#include "base/crew.h"

typedef struct memsess_leases_t memsess_leases_t;

/** A lease; it lives until @a end is called. */
typedef struct memsess_lease_t {
    void (*renew)(void *baton);
    void (*end)(void *baton);
    void *baton;
    struct memsess_lease_t *next;
    unsigned round; /* in which it was renewed last */
    int is_renewed; /* at this moment */
    int is_over;
} memsess_lease_t;

/** It has no thread yet: the thread is started for the first lease. */
apr_status_t memsess_leases_create(memsess_leases_t **leases, memsess_crew_t *crew);

/** From now on the lease is renewed every MEMSESS_LEASE_EVERY seconds, beside others. */
void memsess_lease_begin(memsess_leases_t *leases, memsess_lease_t *lease, void (*renew)(void *),
                         void (*end)(void *), void *baton);

#define MEMSESS_LEASE_EVERY 2

/** The lease is no longer renewed, and ends: at once or, while a renewal is under way, by that
 * renewal's thread afterwards. To be called once. */
void memsess_lease_end(memsess_leases_t *leases, memsess_lease_t *lease);

/** Starts the thread if it is needed and the system gave none before; to be called now and then. */
void memsess_leases_look(memsess_leases_t *leases);

/** From now on memsess_lease_end does nothing: leases expire, since they are no longer renewed.
 * It may be called from within a signal handler. */
void memsess_leases_abandon(memsess_leases_t *leases);

/** To be called when nobody holds a lease any more. */
void memsess_leases_destroy(memsess_leases_t *leases);

#endif
