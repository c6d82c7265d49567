/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "memsess_lease.h"

#include "apr_thread_cond.h"
#include "apr_time.h"
#include "memsess_thread.h"

struct memsess_leases_t {
    apr_pool_t *p;
    apr_thread_t *thread;
    apr_thread_mutex_t *lock;   /* guards all that follows, and all leases */
    apr_thread_cond_t *changed; /* the first lease is there, or the end */
    apr_thread_cond_t *renewed;
    memsess_lease_t *held;
    memsess_lease_t *current;   /* being renewed; it is not taken off the list meanwhile */
    int stopping;
};

apr_status_t memsess_leases_create(memsess_leases_t **result)
{
    memsess_leases_t *leases;
    apr_pool_t *p;
    apr_status_t rv = apr_pool_create_unmanaged_ex(&p, NULL, NULL);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    leases = apr_pcalloc(p, sizeof(*leases));
    leases->p = p;
    if ((rv = apr_thread_mutex_create(&leases->lock, APR_THREAD_MUTEX_DEFAULT, p)) == APR_SUCCESS
        && (rv = apr_thread_cond_create(&leases->changed, p)) == APR_SUCCESS) {
        rv = apr_thread_cond_create(&leases->renewed, p);
    }
    *result = leases;
    return rv;
}

/* Under the lock, which is not held while one is renewed. */
static void renew_all(memsess_leases_t *leases)
{
    for (leases->current = leases->held; leases->current && !leases->stopping;
         leases->current = leases->current->next) {
        apr_thread_mutex_unlock(leases->lock);
        leases->current->renew(leases->current->baton);
        apr_thread_mutex_lock(leases->lock);
        apr_thread_cond_broadcast(leases->renewed);
    }
    leases->current = NULL;
}

static void *APR_THREAD_FUNC leases_main(apr_thread_t *thread, void *data)
{
    memsess_leases_t *leases = data;
    apr_time_t due;

    (void)thread;
    apr_thread_mutex_lock(leases->lock);
    while (!leases->stopping) {
        if (!leases->held) {
            apr_thread_cond_wait(leases->changed, leases->lock);
        }
        due = apr_time_now() + apr_time_from_sec(MEMSESS_LEASE_EVERY);
        while (!leases->stopping && apr_time_now() < due) {
            apr_thread_cond_timedwait(leases->changed, leases->lock, due - apr_time_now());
        }
        renew_all(leases);
    }
    apr_thread_mutex_unlock(leases->lock);
    return NULL;
}

void memsess_lease_begin(memsess_leases_t *leases, memsess_lease_t *lease, void (*renew)(void *),
                         void *baton)
{
    lease->renew = renew;
    lease->baton = baton;
    apr_thread_mutex_lock(leases->lock);
    /* A thread that cannot be had is done without: the lease then ends by itself. */
    if (!leases->thread
        && memsess_thread_create(&leases->thread, leases_main, leases, leases->p) != APR_SUCCESS) {
        leases->thread = NULL;
    }
    if (!leases->held) {
        apr_thread_cond_signal(leases->changed);
    }
    lease->next = leases->held;
    leases->held = lease;
    lease->is_held = 1;
    apr_thread_mutex_unlock(leases->lock);
}

void memsess_lease_end(memsess_leases_t *leases, memsess_lease_t *lease)
{
    memsess_lease_t **at = &leases->held;

    if (!lease->is_held) {
        return;
    }
    apr_thread_mutex_lock(leases->lock);
    while (leases->current == lease) {
        apr_thread_cond_wait(leases->renewed, leases->lock);
    }
    while (*at != lease) {
        at = &(*at)->next;
    }
    *at = lease->next;
    lease->is_held = 0;
    apr_thread_mutex_unlock(leases->lock);
}

void memsess_leases_destroy(memsess_leases_t *leases)
{
    apr_status_t rv;

    apr_thread_mutex_lock(leases->lock);
    leases->stopping = 1;
    apr_thread_cond_signal(leases->changed);
    apr_thread_mutex_unlock(leases->lock);
    if (leases->thread) {
        apr_thread_join(&rv, leases->thread);
    }
    apr_pool_destroy(leases->p);
}
