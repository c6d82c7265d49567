/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "base/lease.h"

#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/thread.h"

/* How many leases are renewed side by side, since a server may be slow with each. */
#define SIDE_BY_SIDE 16

struct memsess_leases_t {
    apr_pool_t *p;
    memsess_crew_t *crew;
    pthread_t thread;
    pthread_mutex_t lock;   /* guards the members below, and all leases */
    pthread_cond_t changed; /* the first lease is there, or the end */
    memsess_duty_t duty;
    memsess_lease_t *held;
    unsigned n, round;
    int has_thread, stopping;
    volatile sig_atomic_t abandoned;
};

apr_status_t memsess_leases_create(memsess_leases_t **result, memsess_crew_t *crew)
{
    memsess_leases_t *leases;
    apr_pool_t *p;
    apr_status_t rv = apr_pool_create_unmanaged_ex(&p, NULL, NULL);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    leases = apr_pcalloc(p, sizeof(*leases));
    leases->p = p;
    leases->crew = crew;
    pthread_mutex_init(&leases->lock, NULL);
    memsess_cond_init(&leases->changed);
    leases->duty.what = "keeps locks alive";
    leases->duty.without = "locks that are held for longer than 10 s are lost";
    *result = leases;
    return APR_SUCCESS;
}

/* A lease that was not renewed in this round; under the lock. */
static memsess_lease_t *next_due(const memsess_leases_t *leases)
{
    memsess_lease_t *lease = leases->stopping ? NULL : leases->held;

    while (lease && lease->round == leases->round) {
        lease = lease->next;
    }
    return lease;
}

/* Renews leases that are due, beside other threads that do so. */
static void renew_some(void *data)
{
    memsess_leases_t *leases = data;
    memsess_lease_t *lease;

    pthread_mutex_lock(&leases->lock);
    while ((lease = next_due(leases))) {
        lease->round = leases->round;
        lease->is_renewed = 1;
        pthread_mutex_unlock(&leases->lock);
        lease->renew(lease->baton);
        pthread_mutex_lock(&leases->lock);
        lease->is_renewed = 0;
        if (lease->is_over) {
            pthread_mutex_unlock(&leases->lock);
            lease->end(lease->baton);
            pthread_mutex_lock(&leases->lock);
        }
    }
    pthread_mutex_unlock(&leases->lock);
}

/* Under the lock, which is released meanwhile. */
static void renew_all(memsess_leases_t *leases)
{
    unsigned n = leases->n < SIDE_BY_SIDE ? leases->n : SIDE_BY_SIDE, i;
    void *items[SIDE_BY_SIDE];

    for (i = 0; i < n; i++) {
        items[i] = leases;
    }
    leases->round++;
    pthread_mutex_unlock(&leases->lock);
    memsess_crew_do(leases->crew, renew_some, items, n, 0);
    pthread_mutex_lock(&leases->lock);
}

static void *leases_main(void *data)
{
    memsess_leases_t *leases = data;
    apr_time_t due;

    pthread_mutex_lock(&leases->lock);
    while (!leases->stopping) {
        if (!leases->held) {
            pthread_cond_wait(&leases->changed, &leases->lock);
        }
        due = memsess_clock_steady() + apr_time_from_sec(MEMSESS_LEASE_EVERY);
        while (!leases->stopping && memsess_clock_steady() < due) {
            memsess_cond_wait(&leases->changed, &leases->lock, due - memsess_clock_steady());
        }
        renew_all(leases);
    }
    pthread_mutex_unlock(&leases->lock);
    return NULL;
}

/* Under the lock. */
static void have_thread(memsess_leases_t *leases)
{
    if (leases->held && !leases->has_thread) {
        leases->has_thread = memsess_thread_start(&leases->thread, &leases->duty, leases_main,
                                                  leases) == APR_SUCCESS;
    }
}

void memsess_leases_look(memsess_leases_t *leases)
{
    pthread_mutex_lock(&leases->lock);
    have_thread(leases);
    pthread_mutex_unlock(&leases->lock);
}

void memsess_lease_begin(memsess_leases_t *leases, memsess_lease_t *lease, void (*renew)(void *),
                         void (*end)(void *), void *baton)
{
    memset(lease, 0, sizeof(*lease));
    lease->renew = renew;
    lease->end = end;
    lease->baton = baton;
    pthread_mutex_lock(&leases->lock);
    if (!leases->held) {
        pthread_cond_signal(&leases->changed);
    }
    lease->round = leases->round;
    lease->next = leases->held;
    leases->held = lease;
    leases->n++;
    have_thread(leases);
    pthread_mutex_unlock(&leases->lock);
}

void memsess_lease_end(memsess_leases_t *leases, memsess_lease_t *lease)
{
    memsess_lease_t **at = &leases->held;
    int is_renewed;

    if (leases->abandoned) {
        return;
    }
    pthread_mutex_lock(&leases->lock);
    while (*at != lease) {
        at = &(*at)->next;
    }
    *at = lease->next;
    leases->n--;
    lease->is_over = 1;
    is_renewed = lease->is_renewed;
    pthread_mutex_unlock(&leases->lock);
    if (!is_renewed) {
        lease->end(lease->baton);
    }
}

void memsess_leases_abandon(memsess_leases_t *leases)
{
    leases->abandoned = 1;
}

void memsess_leases_destroy(memsess_leases_t *leases)
{
    memsess_lease_t *lease;

    pthread_mutex_lock(&leases->lock);
    leases->stopping = 1;
    pthread_cond_signal(&leases->changed);
    pthread_mutex_unlock(&leases->lock);
    if (leases->has_thread) {
        pthread_join(leases->thread, NULL);
    }
    while ((lease = leases->held)) {
        leases->held = lease->next;
        lease->end(lease->baton);
    }
    pthread_cond_destroy(&leases->changed);
    pthread_mutex_destroy(&leases->lock);
    apr_pool_destroy(leases->p);
}
