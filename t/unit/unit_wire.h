/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A pool of servers, in the one way that all tests of the wire and of the store start it. It ends
 * with the test, and so do its servers.
 */
#ifndef UNIT_WIRE_H
#define UNIT_WIRE_H

#include "unit_servers.h"

#include "wire/private.h"

#include "apr_atomic.h"

static memsess_pool_t *the_pool;

static inline memsess_pool_t *unit_pool_open(void)
{
    memsess_pool_t *pool;

    assert_int_equal(memsess_pool_create(&pool), APR_SUCCESS);
    return pool;
}

static inline void unit_pool_start(memsess_pool_t *pool)
{
    assert_int_equal(memsess_pool_start(pool), APR_SUCCESS);
}

static inline void open_pool(void)
{
    the_pool = unit_pool_open();
}

static inline void start_pool(void)
{
    unit_pool_start(the_pool);
}

static inline void close_pool(void)
{
    if (the_pool) {
        memsess_pool_destroy(the_pool);
        the_pool = NULL;
    }
}

/* A server that is well has as long to answer as a test waits for anything: the machine may be slow.
 * Where a server hangs, the test sets a shorter time. */
static inline memsess_server_conf_t unit_server_conf(const char *name, const char *host, int port)
{
    return (memsess_server_conf_t){.name = name, .host = host, .port = (apr_port_t)port,
                                   .timeout = PATIENCE,
                                   .retry = apr_time_from_msec(100), .max_conns = 4,
                                   .idle = apr_time_from_sec(60)};
}

/* -- Time that passes -------------------------------------------------------------------------- */

static inline int unit_server_rests(memsess_server_t *server)
{
    memsess_conn_t *c;
    int rests = 1;

    apr_thread_mutex_lock(server->link.watch);
    for (c = server->link.connected; c; c = c->next) {
        rests &= apr_atomic_read64(&c->due) == 0;
    }
    apr_thread_mutex_unlock(server->link.watch);
    return rests;
}

/* Whether nobody in the pool waits for an answer. */
static inline int unit_pool_rests(void)
{
    int i, rests = 1;

    for (i = 0; the_pool && i < the_pool->servers->nelts; i++) {
        rests &= unit_server_rests(APR_ARRAY_IDX(the_pool->servers, i, memsess_server_t *));
    }
    return rests;
}

/* Lets time pass, and waits until all memcacheds that run have seen it: they look at the clock when
 * a client connects. A server that is just being asked, as the prober does now and then, would be
 * taken for one that hangs. */
static inline void unit_let_pass(apr_interval_time_t by)
{
    long before[UNIT_MEMCACHEDS];
    int i;

    for (i = 0; i < unit_memcacheds_n; i++) {
        const unit_memcached_t *m = &unit_memcacheds[i];

        before[i] = m->pid && !m->frozen && !m->auth ? unit_memcached_stat(m, "time") : 0;
    }
    unit_await(unit_pool_rests());
    unit_clocks_pass(by);
    for (i = 0; i < unit_memcacheds_n; i++) {
        unit_await(!before[i] || unit_memcached_stat(&unit_memcacheds[i], "time")
                                     >= before[i] + apr_time_sec(by));
    }
}

/* -- Around each test -------------------------------------------------------------------------- */

static inline int unit_wire_setup(void **state)
{
    the_pool = NULL;
    return unit_setup(state);
}

static inline int unit_wire_teardown(void **state)
{
    close_pool();
    unit_servers_stop();
    return unit_teardown(state);
}

#define WIRE_TEST(test)                                                                            \
    cmocka_unit_test_setup_teardown(test, unit_wire_setup, unit_wire_teardown)

#endif
