/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* What the tests of the wire ask of servers, and how long it may take. */
#ifndef UNIT_CALLS_H
#define UNIT_CALLS_H

#include "unit_wire.h"

#include "base/clock.h"

/* The values that unit_server_conf sets. */
#define TIMEOUT apr_time_from_msec(300)
#define RETRY apr_time_from_msec(100)

/* A call that waits for a server must take about TIMEOUT, or twice that if it has to connect first.
 * The rest is room for a busy machine. */
#define AT_LEAST (TIMEOUT * 8 / 10)
#define AT_MOST (2 * TIMEOUT + apr_time_from_sec(3))

static inline memsess_server_conf_t server_conf(const char *host, int port)
{
    return unit_server_conf(apr_psprintf(unit_pool, "%s:%d", host, port), host, port);
}

static inline memsess_server_t *add_conf(const memsess_server_conf_t *conf)
{
    memsess_server_t *server;

    assert_int_equal(memsess_pool_add(&server, the_pool, conf), APR_SUCCESS);
    return server;
}

static inline memsess_server_t *add_port(int port)
{
    memsess_server_conf_t conf = server_conf("127.0.0.1", port);

    return add_conf(&conf);
}

/* A pool of one memcached, with its prober. */
static inline memsess_server_t *one_server(unit_memcached_t **m)
{
    memsess_server_t *server;

    *m = unit_memcached();
    open_pool();
    server = add_port((*m)->port);
    start_pool();
    return server;
}

/** A pool of two servers, and a key to ask each for. */
static inline void open_two(memsess_get_t gets[2], const unit_memcached_t *a,
                            const unit_memcached_t *b)
{
    memset(gets, 0, 2 * sizeof(*gets));
    open_pool();
    gets[0].server = add_port(a->port);
    gets[0].key = "key-a";
    gets[1].server = add_port(b->port);
    gets[1].key = "key-b";
    start_pool();
}

static inline apr_status_t get(memsess_server_t *server, const char *key, char **data,
                               apr_size_t *len)
{
    *data = NULL;
    *len = 0;
    return memsess_server_get(server, key, data, len, unit_pool);
}

static inline apr_status_t get_rv(memsess_server_t *server, const char *key)
{
    apr_size_t len;
    char *data;

    return get(server, key, &data, &len);
}

static inline apr_status_t set(memsess_server_t *server, const char *key, const char *value)
{
    return memsess_server_set(server, key, apr_pstrdup(unit_pool, value), strlen(value), 0);
}

static inline void assert_holds(memsess_server_t *server, const char *key, const char *value)
{
    apr_size_t len;
    char *data;

    assert_int_equal(get(server, key, &data, &len), APR_SUCCESS);
    assert_int_equal(len, strlen(value));
    assert_string_equal(data, value);
}

/* An answer that is neither a value nor a certain absence. */
static inline int is_error(apr_status_t rv)
{
    return rv != APR_SUCCESS && rv != MEMSESS_ABSENT && rv != MEMSESS_EXISTS;
}

static inline void assert_immediately_down(memsess_server_t *server)
{
    apr_time_t start = apr_time_now();
    int i;

    for (i = 0; i < 100; i++) {
        assert_int_equal(get_rv(server, "key"), MEMSESS_DOWN);
        assert_int_equal(set(server, "key", "lost"), MEMSESS_DOWN);
    }
    assert_true(apr_time_now() - start < TIMEOUT);
}

#endif
