/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* What the tests of the wire ask of servers, and how long it may take. */
#ifndef UNIT_CALLS_H
#define UNIT_CALLS_H

#include "unit_wire.h"

#include "base/clock.h"

/* The value that unit_server_conf sets. */
#define RETRY apr_time_from_msec(100)

/* The time-out of a server that hangs for a while in a test, and is well before or afterwards; and
 * that of one which never has to answer in time. */
#define TIMEOUT apr_time_from_sec(1)
#define HASTE apr_time_from_msec(300)

/* A call that waits for a server that hangs takes about its time-out, or twice that if it has to
 * connect first. The rest is room for a busy machine; without a time-out, the call would not end. */
#define AT_LEAST(timeout) ((timeout) * 8 / 10)
#define AT_MOST (PATIENCE / 2)

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

/* A pool of one memcached, with its prober; this one is for a test that has the server hang. */
static inline memsess_server_t *one_that_hangs(unit_memcached_t **m, apr_interval_time_t timeout)
{
    memsess_server_conf_t conf;
    memsess_server_t *server;

    *m = unit_memcached();
    conf = server_conf("127.0.0.1", (*m)->port);
    conf.timeout = timeout;
    open_pool();
    server = add_conf(&conf);
    start_pool();
    return server;
}

static inline memsess_server_t *one_server(unit_memcached_t **m)
{
    return one_that_hangs(m, PATIENCE);
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

/* If each of these calls waited for the server, all of them would take a minute. */
static inline void assert_immediately_down(memsess_server_t *server)
{
    apr_time_t start = apr_time_now();
    int i;

    for (i = 0; i < 100; i++) {
        assert_int_equal(get_rv(server, "key"), MEMSESS_DOWN);
        assert_int_equal(set(server, "key", "lost"), MEMSESS_DOWN);
    }
    assert_true(apr_time_now() - start < PATIENCE);
}

#endif
