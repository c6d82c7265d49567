/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file wire/private.h
 * @brief What the files that make up wire/servers.h share, in their order: none calls one that
 *        comes later. wire/several.c and wire/servers.c come last.
 */
#ifndef MEMSESS_WIRE_PRIVATE_H
#define MEMSESS_WIRE_PRIVATE_H

#include <pthread.h>

#include "base/crew.h"
#include "base/thread.h"
#include "wire/conn.h"
#include "wire/resolve.h"
#include "wire/servers.h"
#include "wire/turn.h"

struct memsess_server_t {
    apr_pool_t *p;
    memsess_server_conf_t conf;
    memsess_pool_t *pool;
    memsess_link_t link;
    memsess_turns_t turns;
    volatile apr_uint32_t names; /* what memsess_host_moved said last */
    volatile apr_uint32_t moved; /* the name leads elsewhere since the prober looked last */
    volatile apr_uint32_t down;
    volatile apr_uint32_t epoch; /* grows when connections made before are not to be trusted */
    volatile apr_uint64_t refused_since; /* by our monotonic clock */
    volatile apr_uint32_t refused_len;   /* the smallest record that it has refused since then */
    apr_time_t next_probe;       /* only the prober uses it */
};

/* A thread that looks after all servers, now and then and when it is woken. */
typedef struct memsess_keeper_t {
    memsess_pool_t *pool;
    apr_interval_time_t (*look)(memsess_pool_t *pool); /* returns how long it may rest */
    memsess_duty_t duty;
    pthread_t thread;
    int is_started;
    volatile apr_uint32_t stopping;
    apr_file_t *wake_in, *wake_out;
} memsess_keeper_t;

struct memsess_pool_t {
    apr_pool_t *p;
    apr_array_header_t *servers; /* of memsess_server_t * */
    memsess_resolver_t *resolver;
    memsess_crew_t *crew;
    memsess_leases_t *leases;
    memsess_keeper_t prober;  /* tries servers that are down */
    memsess_keeper_t watcher; /* watches deadlines, those of probes, too */
    pthread_mutex_t start;         /* held while threads are started */
    volatile apr_uint32_t lacking; /* whether a thread has yet to be started */
    volatile apr_uint64_t probed_at;
    int (*call)(void *baton, int sampled);
    void *call_baton;
};

/* -- Keepers: wire/keeper.c ------------------------------------------------------------------- */

/** Prepares a keeper, whose thread is started later. */
apr_status_t memsess_keeper_init(memsess_keeper_t *keeper, memsess_pool_t *pool,
                                 apr_interval_time_t (*look)(memsess_pool_t *pool));

/** Has the keeper look at once. */
void memsess_keeper_wake(const memsess_keeper_t *keeper);

/** Ends its thread, if there is one, and waits for that. */
void memsess_keeper_stop(memsess_keeper_t *keeper);

/** Starts the threads that are lacking, or does the prober's work while there is no prober. */
apr_status_t memsess_start_lacking(memsess_pool_t *pool);

/* -- What is known of a server: wire/health.c ------------------------------------------------- */

/** Tells operators that a server accepts no more connections. */
void memsess_server_warn_of_limit(const memsess_server_t *server);

/** Counts and logs that a server does not answer, for the reason @a rv. */
void memsess_server_found_down(memsess_server_t *server, apr_status_t rv);

/** Counts that a server has answered what it was asked at @a begun. If it was down until then, for any
 * child, that is logged, what it has from before is known to be old, and 1 is returned. */
int memsess_server_found_up(memsess_server_t *server, apr_time_t begun);

/** Notes how long a server took to answer when it was asked alone. */
void memsess_server_took(memsess_server_t *server, apr_interval_time_t took);

/** Notes that a server has refused a record of that length, for the reason @a rv. */
void memsess_server_found_refusing(memsess_server_t *server, apr_status_t rv, apr_size_t len);

/** Has no connection that was made before used again. */
void memsess_server_distrust(memsess_server_t *server);

/** Takes a server for down until the prober has seen it answer. */
void memsess_server_failed(memsess_server_t *server, apr_status_t rv);

/** Connects; the connection belongs to the present epoch. */
apr_status_t memsess_conn_connect(memsess_conn_t *c, memsess_server_t *server);

/** A figure out of a server's stats; -1: it is not there. */
apr_int64_t memsess_stat_of(const char *stats, const char *name);

/** What a server tells of itself, and its own clock; -1 for what it does not tell. */
typedef struct memsess_told_t {
    apr_int64_t says[MEMSESS_SAYS_N], seconds;
} memsess_told_t;

/** Has a server tell that, on a connection of its own. */
apr_status_t memsess_ask_stats(memsess_server_t *server, memsess_told_t *told);

/* -- One server: wire/operate.c --------------------------------------------------------------- */

/** Whether the server gave a whole answer, or was not asked, so that the connection is in step with
 * it. */
int memsess_in_step(apr_status_t rv);

/** Whether that result is a time-out. */
int memsess_timed_out(apr_status_t rv);

/** The use of a connection. */
typedef struct memsess_use_t {
    memsess_server_t *server;
    memsess_conn_t *c;
    int is_new;       /**< it was opened for this */
    apr_time_t begun; /**< 0: the server was not asked anything */
} memsess_use_t;

/** Takes an open connection, once it is our turn; if @a wait is 0, at once or not at all. */
apr_status_t memsess_use_take(memsess_use_t *use, memsess_server_t *server, int wait);

/** Gives a connection back; it is closed if it is not to be used again after @a rv. */
void memsess_conn_give(memsess_conn_t *c, memsess_server_t *server, apr_status_t rv);

/** Counts a use, unless nothing was asked at all. */
void memsess_use_count(const memsess_use_t *use, apr_status_t rv);

/** Counts what was asked of a server at @a begun; returns how long that took. */
apr_interval_time_t memsess_server_count_operation(memsess_server_t *server, apr_time_t begun,
                                                   apr_status_t rv);

/** Asks a server for its version, even one that is down, but does not wait for a connection. */
apr_status_t memsess_server_version(memsess_server_t *server);

/** The result of an answer, of which apr_memcache says @a rv: MEMSESS_FOREIGN if it is not for that
 * key. */
apr_status_t memsess_check_answer(const memsess_get_t *get, apr_status_t rv);

/** Reads one key. */
void memsess_get_alone(memsess_get_t *get, apr_pool_t *p);

/** Stores one key; @a item is a memsess_put_t, since memsess_crew_do calls this. */
void memsess_put_one(void *item);

/* -- Looking after servers: wire/probe.c ------------------------------------------------------ */

/** Looks after all servers; returns for how long there is nothing to do. */
apr_interval_time_t memsess_pool_probe(memsess_pool_t *pool);

/** Ends what takes too long; returns for how long nothing can become due. */
apr_interval_time_t memsess_pool_watch(memsess_pool_t *pool);

#endif
