/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Looks after the servers: tries those that are down, asks those that are up, and ends what takes
 * too long. */

#include "wire/private.h"

#include <stdlib.h>

#include "apr_atomic.h"
#include "base/clock.h"

/* Asks as any use of the server would: one that hangs is down after this, so the request does not
 * wait for it twice. */
static apr_status_t try_version(memsess_server_t *server)
{
    return memsess_server_is_down(server) ? MEMSESS_DOWN : memsess_server_version(server);
}

apr_status_t memsess_server_tell(memsess_server_t *server)
{
    memsess_told_t told = {.seconds = 0};
    apr_status_t rv = try_version(server);

    if (memsess_in_step(rv)) {
        rv = memsess_ask_stats(server, &told);
    }
    if (rv == APR_SUCCESS && told.seconds > 0) {
        memsess_count_server_told(server->conf.count, told.seconds, memsess_clock_steady());
    }
    return rv;
}

/* Another server may answer under the same address. If a machine was put back to an earlier state,
 * its clock is behind; and a clock that was set back proves nothing. */
int memsess_server_kept(memsess_server_t *server, apr_interval_time_t since)
{
    const memsess_server_count_t *count = server->conf.count;
    apr_status_t rv = try_version(server);
    memsess_told_t told;

    /* MEMSESS_UNSENT: all connections are in use, so the server is there. */
    return (memsess_in_step(rv) || rv == MEMSESS_UNSENT)
           && memsess_ask_stats(server, &told) == APR_SUCCESS
           && memsess_count_server_known(count, memsess_clock_steady()) > since
           && !told.says[MEMSESS_SAYS_EVICTIONS] && told.seconds > 0
           && told.seconds + MEMSESS_CLOCK_ERROR >= memsess_server_clock(server)
           && !memsess_count_server_set_back(count);
}

/* Opens a further connection and keeps it for requests: a server at its limit may have no other for
 * us. */
static apr_status_t open_another(memsess_server_t *server)
{
    memsess_conn_t *c = memsess_conn_make();
    apr_status_t rv = c ? memsess_conn_connect(c, server) : APR_ENOMEM;

    if (rv == APR_SUCCESS) {
        memsess_conn_rest(c);
        memsess_turns_add(&server->turns, c);
    }
    else {
        free(c);
    }
    return rv;
}

/* Right after it stood still, memcached tells the time of before, so the later one counts: what it
 * tells, or what was to be expected. */
static void learn_clock(memsess_server_t *server)
{
    memsess_told_t told;

    if (memsess_ask_stats(server, &told) == APR_SUCCESS
        && told.seconds > memsess_server_clock(server)) {
        memsess_count_server_told(server->conf.count, told.seconds, memsess_clock_steady());
    }
}

/* Before anybody uses a server again, what it has from before is known to be old. */
static void probe(memsess_server_t *server)
{
    apr_time_t begun = memsess_clock_steady();
    apr_status_t rv;

    memsess_server_distrust(server);
    rv = open_another(server);
    if (rv == APR_SUCCESS) {
        learn_clock(server);
        if (!memsess_server_found_up(server, begun)) {
            /* Another child found that before, and this one wrote nothing there until now. */
            memsess_count_server_back(server->conf.count);
        }
        apr_atomic_set32(&server->down, 0);
    }
    else {
        memsess_server_found_down(server, rv);
        if (server->link.host) {
            memsess_host_again(server->link.host);
        }
    }
}

/* Tries whether a server that is up accepts a further connection. */
static void probe_limit(memsess_server_t *server)
{
    apr_status_t rv;

    memsess_turns_attempt(&server->turns);
    rv = open_another(server);
    if (rv == MEMSESS_TOO_MANY || memsess_timed_out(rv)) {
        memsess_server_warn_of_limit(server);
    }
}

/* Tries a server that is up, as far as this child knows. */
static void check(memsess_server_t *server)
{
    apr_time_t begun = memsess_clock_steady();

    if (memsess_server_version(server) == APR_SUCCESS) {
        memsess_server_found_up(server, begun);
        memsess_server_took(server, memsess_clock_steady() - begun);
    }
}

/* Probes a server if that is due; returns for how long there is nothing to do. */
static apr_interval_time_t probe_one(memsess_server_t *server)
{
    apr_time_t now = memsess_clock_steady();

    if (!memsess_server_is_down(server)) {
        if (memsess_count_check_due(server->conf.count, server->conf.retry)) {
            check(server);
        }
        if (apr_atomic_xchg32(&server->moved, 0)) {
            memsess_count_server_moved(server->conf.count);
            memsess_server_tell(server);
            memsess_count_server_back(server->conf.count);
        }
        memsess_turns_tidy(&server->turns);
    }
    if (!memsess_server_is_down(server) && !memsess_turns_are_scarce(&server->turns)) {
        server->next_probe = 0;
        return MEMSESS_SAMPLE_EVERY;
    }
    if (server->next_probe && server->next_probe <= now) {
        (memsess_server_is_down(server) ? probe : probe_limit)(server);
    }
    if (server->next_probe <= now) {
        server->next_probe = memsess_clock_steady() + server->conf.retry;
    }
    return server->next_probe - memsess_clock_steady();
}

apr_interval_time_t memsess_pool_probe(memsess_pool_t *pool)
{
    apr_interval_time_t rest = MEMSESS_SAMPLE_EVERY;
    int i, sampled = memsess_count_sample(memsess_clock_steady());

    memsess_start_lacking(pool);
    memsess_leases_look(pool->leases);
    if (pool->call && pool->call(pool->call_baton, sampled)) {
        rest = 0;
    }
    for (i = 0; i < pool->servers->nelts; i++) {
        apr_interval_time_t left = probe_one(APR_ARRAY_IDX(pool->servers, i, memsess_server_t *));

        rest = left < rest ? left : rest;
    }
    return rest > 1000 ? rest : 1000;
}

apr_interval_time_t memsess_pool_watch(memsess_pool_t *pool)
{
    apr_interval_time_t rest = apr_time_from_sec(10);
    int i;

    for (i = 0; i < pool->servers->nelts; i++) {
        memsess_server_t *server = APR_ARRAY_IDX(pool->servers, i, memsess_server_t *);

        if (memsess_link_shut_overdue(&server->link) && server->conf.timeout < rest) {
            rest = server->conf.timeout;
        }
    }
    return rest;
}
