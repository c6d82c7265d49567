/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A pool of servers, in the one way that all tests of the wire and of the store start it. It ends
 * with the test, and so do its servers.
 */
#ifndef UNIT_WIRE_H
#define UNIT_WIRE_H

#include "unit_servers.h"

#include "wire/servers.h"

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

static inline memsess_server_conf_t unit_server_conf(const char *name, const char *host, int port)
{
    return (memsess_server_conf_t){.name = name, .host = host, .port = (apr_port_t)port,
                                   .timeout = apr_time_from_msec(300),
                                   .retry = apr_time_from_msec(100), .max_conns = 4,
                                   .idle = apr_time_from_sec(60)};
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
