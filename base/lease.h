/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/lease.h
 * @brief What is held for as long as its holder lives: a thread renews it every now and then.
 */
#ifndef MEMSESS_LEASE_H
#define MEMSESS_LEASE_H

#include "apr_errno.h"
#include "base/crew.h"

typedef struct memsess_leases_t memsess_leases_t;

/** One of them; it lives until @a end is called. */
typedef struct memsess_lease_t {
    void (*renew)(void *baton);
    void (*end)(void *baton);
    void *baton;
    struct memsess_lease_t *next;
    unsigned round; /* in which it was renewed last */
    int is_renewed; /* just now */
    int is_over;
} memsess_lease_t;

/** Without a thread yet: it is started for the first lease. */
apr_status_t memsess_leases_create(memsess_leases_t **leases, memsess_crew_t *crew);

/** From now on it is renewed every MEMSESS_LEASE_EVERY seconds, beside others. */
void memsess_lease_begin(memsess_leases_t *leases, memsess_lease_t *lease, void (*renew)(void *),
                         void (*end)(void *), void *baton);

#define MEMSESS_LEASE_EVERY 2

/** It is not renewed any more, and ended: at once, or where a renewal is under way, by that one's
 * thread afterwards. To be called once. */
void memsess_lease_end(memsess_leases_t *leases, memsess_lease_t *lease);

/** Starts the thread if it is needed and could not be had when it was; to be called now and then. */
void memsess_leases_look(memsess_leases_t *leases);

/** From now on memsess_lease_end does nothing: what was held ends by itself, when it is not renewed.
 * To be called from within a signal handler too. */
void memsess_leases_abandon(memsess_leases_t *leases);

/** When nobody holds one any more. */
void memsess_leases_destroy(memsess_leases_t *leases);

#endif
