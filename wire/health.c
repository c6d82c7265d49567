/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* What is known of a server: whether it is up, whether it refuses records, what it tells of itself,
 * and since when it is there. */

#include "wire/private.h"

#include <string.h>

#include "apr_atomic.h"
#include "apr_strings.h"
#include "base/advice.h"
#include "base/clock.h"
#include "base/log.h"

/* A server at its limit is up, and serves the connections that it has accepted. */
void memsess_server_warn_of_limit(const memsess_server_t *server)
{
    char text[MEMSESS_WARNING_LEN];

    apr_snprintf(text, sizeof(text), "server %s accepts no more connections: requests wait for "
                 "those that their child process has, and a child process without any cannot use "
                 "the server: raise memcached's -c, or lower MemSessConnections (here %d)",
                 server->conf.name, server->conf.max_conns);
    if (memsess_warn(MEMSESS_WARN_CONNECTIONS, text)) {
        memsess_log(MEMSESS_LOG_WARNING, 0, "%s", text);
    }
}

/* Every child finds this out on its own; the first one logs it. */
void memsess_server_found_down(memsess_server_t *server, apr_status_t rv)
{
    char words[MEMSESS_WORDS_LEN];

    if (rv == MEMSESS_TOO_MANY) {
        memsess_server_warn_of_limit(server);
    }
    else if (memsess_count_down(server->conf.count, rv)) {
        memsess_log(MEMSESS_LOG_ERR, 0, "server %s is down: %s; trying it again every %"
                    APR_TIME_T_FMT " ms", server->conf.name,
                    memsess_error_words(rv, server->conf.timeout, words),
                    apr_time_as_msec(server->conf.retry));
    }
}

/* The child that found it down may be gone, so nobody else may say that what the server has is old. */
int memsess_server_found_up(memsess_server_t *server, apr_time_t begun)
{
    int is_news = memsess_count_up(server->conf.count, begun);

    if (is_news) {
        memsess_count_server_back(server->conf.count);
        memsess_log(MEMSESS_LOG_NOTICE, 0, "server %s is back", server->conf.name);
    }
    return is_news;
}

int memsess_server_is_slow(const memsess_server_t *server)
{
    return memsess_count_is_slow(server->conf.count);
}

void memsess_server_took(memsess_server_t *server, apr_interval_time_t took)
{
    char words[MEMSESS_WARNING_LEN];

    if (memsess_count_way(server->conf.count, took)) {
        memsess_log(MEMSESS_LOG_WARNING, 0, "%s", memsess_count_slow_words(server->conf.name, words));
    }
}

void memsess_server_distrust(memsess_server_t *server)
{
    apr_atomic_inc32(&server->epoch);
    memsess_turns_close(&server->turns);
}

void memsess_server_failed(memsess_server_t *server, apr_status_t rv)
{
    memsess_server_found_down(server, rv);
    memsess_server_distrust(server);
    if (apr_atomic_cas32(&server->down, 1, 0) == 0) {
        if (server->link.host) {
            memsess_host_again(server->link.host);
        }
        memsess_keeper_wake(&server->pool->prober);
    }
    memsess_turns_dismiss(&server->turns);
}

int memsess_server_is_down(memsess_server_t *server)
{
    memsess_start_lacking(server->pool); /* every request that needs a server asks this first */
    return apr_atomic_read32(&server->down) != 0;
}

/* For this time, a server that has refused a record is believed to refuse any that is as long. The
 * slack is there since a record is some bytes longer the more servers have it. */
#define REFUSED_FOR apr_time_from_sec(60)
#define REFUSED_SLACK 256

int memsess_server_refuses(const memsess_server_t *server, apr_size_t len)
{
    return server->refused_since
           && memsess_clock_steady() - (apr_time_t)server->refused_since < REFUSED_FOR
           && len + REFUSED_SLACK >= server->refused_len;
}

/* Sessions can be lost by this, although the server is up. */
void memsess_server_found_refusing(memsess_server_t *server, apr_status_t rv, apr_size_t len)
{
    apr_time_t now = memsess_clock_steady();
    char words[MEMSESS_WORDS_LEN];

    /* The refusal of a larger record does not prolong the time in which a smaller one is not tried. */
    if (!server->refused_since || now - (apr_time_t)server->refused_since >= REFUSED_FOR
        || len < server->refused_len) {
        apr_atomic_set32(&server->refused_len, (apr_uint32_t)len);
        apr_atomic_set64(&server->refused_since, (apr_uint64_t)now);
    }
    if (memsess_count_refusing(server->conf.count, rv)) {
        memsess_log(MEMSESS_LOG_WARNING, 0, "server %s refuses sessions: %s", server->conf.name,
                    memsess_error_words(rv, 0, words));
    }
}

apr_status_t memsess_conn_connect(memsess_conn_t *c, memsess_server_t *server)
{
    c->epoch = apr_atomic_read32(&server->epoch);
    return memsess_conn_open(c, &server->link);
}

apr_int64_t memsess_stat_of(const char *stats, const char *name)
{
    const char *line = stats;
    apr_size_t len = strlen(name);

    while ((line = strstr(line, "STAT ")) != NULL) {
        line += sizeof("STAT ") - 1;
        if (!strncmp(line, name, len) && line[len] == ' ') {
            return apr_atoi64(line + len);
        }
    }
    return -1;
}

apr_status_t memsess_ask_stats(memsess_server_t *server, memsess_told_t *told)
{
    memsess_conn_t c = {.fd = -1};
    memsess_server_count_t *count = server->conf.count;
    const char *stats = "";
    apr_status_t rv = memsess_conn_connect(&c, server);
    unsigned i;

    if (rv == APR_SUCCESS) {
        rv = memsess_conn_ask(&c, "stats\r\n", &stats);
    }
    for (i = 0; i < MEMSESS_SAYS_N; i++) {
        told->says[i] = rv == APR_SUCCESS ? memsess_stat_of(stats, memsess_says_names[i].stat) : -1;
    }
    told->seconds = rv == APR_SUCCESS ? memsess_stat_of(stats, "time") : -1;
    if (told->seconds > 0) {
        memsess_count_server_started(count, told->seconds - told->says[MEMSESS_SAYS_UPTIME],
                                     memsess_clock_steady());
    }
    if (memsess_count_says(count, told->says)) {
        memsess_log(MEMSESS_LOG_WARNING, 0, "%s",
                    memsess_count_evicting(count, server->conf.name, c.p));
    }
    memsess_conn_close(&c, &server->link);
    return rv;
}

apr_int64_t memsess_server_clock(const memsess_server_t *server)
{
    return memsess_count_server_clock(server->conf.count);
}

int memsess_server_sees_alike(const memsess_server_t *server, apr_int64_t clock, apr_time_t wall)
{
    apr_int64_t ahead = (apr_time_sec(wall) - clock)
                        - (apr_time_sec(memsess_clock_wall()) - memsess_server_clock(server));

    return ahead <= MEMSESS_CLOCK_ERROR && ahead >= -MEMSESS_CLOCK_ERROR;
}

int memsess_server_was_there(const memsess_server_t *server, apr_int64_t clock, apr_time_t wall)
{
    apr_int64_t back_at;
    apr_time_t back_steady = memsess_count_server_back_at(server->conf.count, &back_at);
    /* This goes by our wall clock as it is now, which may have been set. */
    apr_interval_time_t ago = memsess_clock_wall() - wall;

    if (!back_steady) {
        return 1;
    }
    /* The server's own clock counts, unless it is not told, or was set back meanwhile. */
    if (back_at && memsess_server_clock(server) + MEMSESS_CLOCK_ERROR >= back_at) {
        if (clock > back_at + MEMSESS_CLOCK_ERROR || clock < back_at - MEMSESS_CLOCK_ERROR) {
            return clock > back_at;
        }
        if (!memsess_server_sees_alike(server, clock, wall)) {
            return 0;
        }
    }
    return ago < memsess_clock_steady() - back_steady;
}

/* Other members may see the server back a retry later. */
int memsess_server_is_just_back(const memsess_server_t *server)
{
    apr_int64_t clock;
    apr_time_t back = memsess_count_server_back_at(server->conf.count, &clock);

    return back && memsess_clock_steady() - back
                       < apr_time_from_sec(2 * MEMSESS_CLOCK_ERROR) + server->conf.retry;
}
