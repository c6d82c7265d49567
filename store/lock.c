/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "memsess_store.h"

#include <string.h>

#include "base/clock.h"
#include "base/count.h"
#include "base/thread.h"
#include "store/claim.h"

/*
 * The lock of a session is a claim that is renewed for as long as its holder lives. In each process
 * the requests that wait for it stand in line. The first of them asks memcached, soon at first and
 * then less and less often, and at once when a request of this process frees the lock; the others
 * ask nobody. So what waiting costs the servers does not grow with the number of requests that
 * wait. Processes and members meet only in memcached: the first one that asks when the lock is free
 * gets it.
 */
#define PAUSE_MIN apr_time_from_msec(2)
#define PAUSE_MAX apr_time_from_msec(50)

/* -- The line ---------------------------------------------------------------------------------- */

/* A request that waits, on the stack of its own thread. */
typedef struct waiter_t {
    struct waiter_t *next;
    const memsess_key_t *key;
    pthread_cond_t changed;
    int is_called; /* the lock was freed */
} waiter_t;

static int is_for(const waiter_t *waiter, const memsess_key_t *key)
{
    return !memcmp(waiter->key->digest, key->digest, sizeof(key->digest));
}

/* To be called under line_lock, like every function below that does not take it. */
static waiter_t *first_for(const memsess_store_t *store, const memsess_key_t *key)
{
    waiter_t *waiter = store->line;

    while (waiter && !is_for(waiter, key)) {
        waiter = waiter->next;
    }
    return waiter;
}

static int is_line(memsess_store_t *store, const memsess_key_t *key)
{
    int is;

    pthread_mutex_lock(&store->line_lock);
    is = first_for(store, key) != NULL;
    pthread_mutex_unlock(&store->line_lock);
    return is;
}

/* Puts a request at the end of the line; returns whether there was room. */
static int line_join(memsess_store_t *store, waiter_t *waiter, const memsess_key_t *key)
{
    waiter_t **at;
    unsigned n = 0;

    memset(waiter, 0, sizeof(*waiter));
    waiter->key = key;
    memsess_cond_init(&waiter->changed);
    pthread_mutex_lock(&store->line_lock);
    for (at = &store->line; *at; at = &(*at)->next) {
        n += (unsigned)is_for(*at, key);
    }
    if (n < MEMSESS_WAITING_MAX) {
        *at = waiter;
    }
    pthread_mutex_unlock(&store->line_lock);
    return n < MEMSESS_WAITING_MAX;
}

static void wake_first(memsess_store_t *store, const memsess_key_t *key, int is_free)
{
    waiter_t *waiter = first_for(store, key);

    if (waiter) {
        waiter->is_called |= is_free;
        pthread_cond_signal(&waiter->changed);
    }
}

static void line_leave(memsess_store_t *store, waiter_t *waiter)
{
    waiter_t **at = &store->line;

    pthread_mutex_lock(&store->line_lock);
    while (*at != waiter) {
        at = &(*at)->next;
    }
    *at = waiter->next;
    wake_first(store, waiter->key, 0);
    pthread_mutex_unlock(&store->line_lock);
    pthread_cond_destroy(&waiter->changed);
}

/* Waits until it is this request's turn to ask memcached: it is the first in line, and was called
 * or has been the first for as long as @a pause. Returns whether its turn came by @a give_up. */
static int line_wait(memsess_store_t *store, waiter_t *waiter, apr_interval_time_t pause,
                     apr_time_t give_up)
{
    apr_time_t now, until = give_up;
    int is_first = 0;

    pthread_mutex_lock(&store->line_lock);
    while ((now = memsess_clock_steady()) < until && !(is_first && waiter->is_called)) {
        if (!is_first && first_for(store, waiter->key) == waiter) {
            is_first = 1;
            until = now + pause < give_up ? now + pause : give_up;
            continue;
        }
        memsess_cond_wait(&waiter->changed, &store->line_lock, until - now);
    }
    waiter->is_called = 0;
    pthread_mutex_unlock(&store->line_lock);
    return is_first;
}

/* -- The lock ---------------------------------------------------------------------------------- */

struct memsess_lock_t {
    apr_pool_t *p;
    struct holding_t *held; /* NULL: it is free */
};

/* A lock that is held, in memory of its own: it may be held for longer than the request lasts,
 * until a renewal that is under way is over. */
typedef struct holding_t {
    memsess_store_t *store;
    memsess_claim_t *claim;
    memsess_lease_t lease;
    memsess_key_t key;
    apr_pool_t *p;
} holding_t;

static void holding_renew(void *baton)
{
    apr_pool_t *p;

    if (apr_pool_create_unmanaged_ex(&p, NULL, NULL) == APR_SUCCESS) {
        memsess_claim_renew(((holding_t *)baton)->claim, p);
        apr_pool_destroy(p);
    }
}

static memsess_leases_t *leases_of(const holding_t *held)
{
    return memsess_server_leases(held->store->servers[0]);
}

static void holding_end(void *baton)
{
    holding_t *held = baton;

    memsess_claim_drop(held->claim, held->p);
    pthread_mutex_lock(&held->store->line_lock);
    wake_first(held->store, &held->key, 1);
    pthread_mutex_unlock(&held->store->line_lock);
    apr_pool_destroy(held->p);
}

static apr_status_t holding_make(holding_t **result, memsess_store_t *store,
                                 const memsess_key_t *key)
{
    holding_t *held;
    apr_pool_t *p;
    apr_status_t rv = apr_pool_create_unmanaged_ex(&p, NULL, NULL);

    if (rv == APR_SUCCESS) {
        *result = held = apr_pcalloc(p, sizeof(*held));
        held->store = store;
        held->p = p;
        held->key = *key;
        held->claim = memsess_claim_make(store, key, "lock", MEMSESS_LOCK_TTL, p);
    }
    return rv;
}

static apr_status_t wait_and_take(holding_t *held, const memsess_session_t *session,
                                  apr_time_t give_up, apr_pool_t *p)
{
    apr_interval_time_t pause = PAUSE_MIN;
    apr_status_t rv = MEMSESS_BUSY;
    waiter_t waiter;
    apr_pool_t *temp;

    if (!line_join(held->store, &waiter, &held->key)) {
        pthread_cond_destroy(&waiter.changed);
        return MEMSESS_CROWDED;
    }
    memsess_count(MEMSESS_N_LOCK_WAITS);
    apr_pool_create(&temp, p);
    while (memsess_claim_may_come(rv) && line_wait(held->store, &waiter, pause, give_up)) {
        rv = memsess_claim_take(held->claim, session, temp);
        pause = 2 * pause < PAUSE_MAX ? 2 * pause : PAUSE_MAX;
        apr_pool_clear(temp);
        if (memsess_clock_steady() >= give_up) {
            break;
        }
    }
    apr_pool_destroy(temp);
    line_leave(held->store, &waiter);
    return rv;
}

/* A request that finds a line does not push in. */
static apr_status_t holding_take(holding_t *held, const memsess_session_t *session,
                                 apr_interval_time_t wait, apr_pool_t *p)
{
    apr_time_t give_up = memsess_clock_steady() + wait;
    apr_status_t rv = is_line(held->store, &held->key)
                          ? MEMSESS_BUSY : memsess_claim_take(held->claim, session, p);

    if (memsess_claim_may_come(rv) && wait > 0) {
        rv = wait_and_take(held, session, give_up, p);
        if (rv == MEMSESS_BUSY || rv == MEMSESS_CROWDED) {
            memsess_count(MEMSESS_N_LOCK_TIMEOUTS);
        }
    }
    return rv;
}

static apr_status_t lock_cleanup(void *lock)
{
    memsess_lock_free(lock);
    return APR_SUCCESS;
}

apr_status_t memsess_lock_take(memsess_lock_t **result, memsess_store_t *store,
                               const memsess_key_t *key, const memsess_session_t *session,
                               apr_interval_time_t wait, apr_pool_t *p)
{
    memsess_lock_t *lock = *result = apr_pcalloc(p, sizeof(*lock));
    holding_t *held;
    apr_status_t rv = holding_make(&held, store, key);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = holding_take(held, session, wait, p);
    if (rv == APR_SUCCESS) {
        lock->p = p;
        lock->held = held;
        memsess_lease_begin(leases_of(held), &held->lease, holding_renew, holding_end, held);
        apr_pool_cleanup_register(p, lock, lock_cleanup, apr_pool_cleanup_null);
    }
    else {
        apr_pool_destroy(held->p);
    }
    return rv;
}

void memsess_lock_free(memsess_lock_t *lock)
{
    holding_t *held = lock->held;

    if (held) {
        lock->held = NULL;
        apr_pool_cleanup_kill(lock->p, lock, lock_cleanup);
        memsess_lease_end(leases_of(held), &held->lease);
    }
}
