/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "wire/private.h"

#include "apr_atomic.h"

apr_status_t memsess_pool_create(memsess_pool_t **result)
{
    memsess_pool_t *pool;
    apr_pool_t *p;
    apr_status_t rv = apr_pool_create_unmanaged_ex(&p, NULL, NULL);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    pool = apr_pcalloc(p, sizeof(*pool));
    pool->p = p;
    pool->servers = apr_array_make(p, 8, sizeof(memsess_server_t *));
    pthread_mutex_init(&pool->start, NULL);
    /* Pipes come first: the system may have none left. */
    if ((rv = memsess_keeper_init(&pool->prober, pool, memsess_pool_probe)) != APR_SUCCESS
        || (rv = memsess_keeper_init(&pool->watcher, pool, memsess_pool_watch)) != APR_SUCCESS) {
        apr_pool_destroy(p);
    }
    else if ((rv = memsess_resolver_create(&pool->resolver)) == APR_SUCCESS
             && (rv = memsess_crew_create(&pool->crew)) == APR_SUCCESS
             && (rv = memsess_leases_create(&pool->leases, pool->crew)) == APR_SUCCESS) {
        pool->prober.duty.what = "tries servers that are down";
        pool->prober.duty.without = "requests try them, and wait for the outcome";
        pool->watcher.duty.what = "cuts off answers that arrive too slowly";
        pool->watcher.duty.without = "requests wait for such answers";
        *result = pool;
    }
    return rv;
}

apr_status_t memsess_pool_add(memsess_server_t **result, memsess_pool_t *pool,
                              const memsess_server_conf_t *conf)
{
    memsess_server_t *server;
    apr_pool_t *p;
    apr_status_t rv = apr_pool_create_unmanaged_ex(&p, NULL, NULL);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    server = apr_pcalloc(p, sizeof(*server));
    server->p = p;
    server->conf = *conf;
    if (!conf->count) {
        server->conf.count = memsess_count_private(p);
    }
    server->pool = pool;
    rv = memsess_link_init(&server->link, &server->conf, pool->resolver,
                           pool->watcher.wake_out, p);
    if (rv == APR_SUCCESS) {
        memsess_turns_init(&server->turns, &server->link, &server->down);
        APR_ARRAY_PUSH(pool->servers, memsess_server_t *) = server;
        *result = server;
    }
    return rv;
}

void memsess_pool_call(memsess_pool_t *pool, int (*call)(void *baton, int sampled), void *baton)
{
    pool->call = call;
    pool->call_baton = baton;
}

apr_status_t memsess_pool_start(memsess_pool_t *pool)
{
    apr_atomic_set32(&pool->lacking, 1);
    return memsess_start_lacking(pool);
}

/* This process may have written records without a server that is down, and will not see its return:
 * from now on other processes know that its copies may be old. A signal handler may do this. */
static void tell_of_servers_down(const memsess_pool_t *pool)
{
    int i;

    for (i = 0; i < pool->servers->nelts; i++) {
        memsess_server_t *server = APR_ARRAY_IDX(pool->servers, i, memsess_server_t *);

        if (apr_atomic_read32(&server->down)) {
            memsess_count_server_back(server->conf.count);
        }
    }
}

void memsess_pool_abandon(memsess_pool_t *pool)
{
    tell_of_servers_down(pool);
    memsess_leases_abandon(pool->leases);
}

void memsess_pool_destroy(memsess_pool_t *pool)
{
    int i;

    memsess_keeper_stop(&pool->prober);
    memsess_leases_destroy(pool->leases);
    memsess_keeper_stop(&pool->watcher);
    memsess_crew_destroy(pool->crew);
    tell_of_servers_down(pool);
    for (i = 0; i < pool->servers->nelts; i++) {
        memsess_server_t *server = APR_ARRAY_IDX(pool->servers, i, memsess_server_t *);

        memsess_turns_close(&server->turns);
        apr_pool_destroy(server->p);
    }
    memsess_resolver_destroy(pool->resolver);
    pthread_mutex_destroy(&pool->start);
    apr_pool_destroy(pool->p);
}

memsess_leases_t *memsess_server_leases(memsess_server_t *server)
{
    return server->pool->leases;
}

const memsess_server_conf_t *memsess_server_conf(const memsess_server_t *server)
{
    return &server->conf;
}
