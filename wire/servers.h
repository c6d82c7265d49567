/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file wire/servers.h
 * @brief Servers, connections, deadlines and health; the only user of apr_memcache.
 *
 * One pool per child process. No call waits for a server longer than that server's time-out for
 * connecting plus once for the answer, and no lock is held while waiting. Where all connections that
 * a server may have are in use, calls wait for their turn, in order and bounded, and hold no other
 * connection meanwhile. A server that failed is "down": calls to it fail at once, those that wait
 * too, until the prober, one thread of the pool, has seen it answer.
 * Another thread watches all deadlines, another renews leases, and several write copies side by
 * side.
 */
#ifndef MEMSESS_POOL_H
#define MEMSESS_POOL_H

#include <errno.h>

#include "apr_errno.h"
#include "apr_network_io.h"
#include "apr_pools.h"
#include "apr_time.h"
#include "base/count.h"
#include "base/error.h"
#include "base/lease.h"

/** How a server is reached. */
typedef struct memsess_server_conf_t {
    const char *name; /**< for logs */
    const char *host; /**< host name or numeric address; NULL for a unix socket */
    apr_port_t port;
    const char *path; /**< of a unix socket, else NULL */
    const char *auth; /**< "user password" for memcached -Y, or NULL */
    apr_interval_time_t timeout;
    apr_interval_time_t retry; /**< between two probes of a server that is down */
    int max_conns;
    apr_interval_time_t idle; /**< an idle connection is closed after this */
    memsess_server_count_t *count; /**< where it is counted; NULL: privately */
} memsess_server_conf_t;

typedef struct memsess_pool_t memsess_pool_t;
typedef struct memsess_server_t memsess_server_t;

/*
 * What the calls below return beside APR_SUCCESS, see base/error.h: MEMSESS_ABSENT and _EXISTS;
 * what memsess_is_refused is about; MEMSESS_FOREIGN, where the server answered for another key,
 * twice: as data; MEMSESS_DOWN, where it is known to be down and was not asked; MEMSESS_UNSENT.
 * Anything else: the server could not be reached or did not answer properly in time.
 */

/** An empty pool. To be called in the process that uses it: a fork does not take it along. */
apr_status_t memsess_pool_create(memsess_pool_t **pool);

/** Adds a server, before memsess_pool_start. Nothing is connected yet. */
apr_status_t memsess_pool_add(memsess_server_t **server, memsess_pool_t *pool,
                              const memsess_server_conf_t *conf);

/**
 * Has the prober call this now and then, before memsess_pool_start. For as long as it lasts no
 * server is probed.
 * @param call is told whether it is the one call of all children that is due every
 *             MEMSESS_SAMPLE_EVERY, and returns whether it has more to do: it is then called again
 *             once servers were looked after
 */
void memsess_pool_call(memsess_pool_t *pool, int (*call)(void *baton, int sampled), void *baton);

/** Has a server tell of itself what is counted of it, on a connection of its own; a proxy may not.
 */
apr_status_t memsess_server_tell(memsess_server_t *server);

/**
 * Starts the threads that look after the servers. One that cannot be had is logged, and started
 * later, when a server is needed: the pool works without it, as the log says.
 */
apr_status_t memsess_pool_start(memsess_pool_t *pool);

/** Leaves everything as it is, for the end of the process: locks are not given back, but end by
 * themselves. For a signal handler, which may have interrupted whoever holds any mutex. */
void memsess_pool_abandon(memsess_pool_t *pool);

/** Stops all threads, waits for them (a probe at most) and frees everything. */
void memsess_pool_destroy(memsess_pool_t *pool);

int memsess_server_is_down(memsess_server_t *server);

/** Whether it refused a record of about that length, or a smaller one, less than a minute ago. */
int memsess_server_refuses(const memsess_server_t *server, apr_size_t len);

/** What the server's own clock says now, in seconds, to a second; 0: it has not told yet. */
apr_int64_t memsess_server_clock(const memsess_server_t *server);

/**
 * Whether it has been there, as far as this child knows, ever since something was written to it: it
 * would know of what was written later.
 * @param clock what its own clock said then; that tells, but for seconds
 * @param wall what the writer's wall clock said: that decides between these, where it goes like ours;
 *        else it was not there
 */
int memsess_server_was_there(const memsess_server_t *server, apr_int64_t clock, apr_time_t wall);

/** Whether the wall clock of whoever wrote at @a clock of the server's own goes like ours, as far as
 * seconds tell. */
int memsess_server_sees_alike(const memsess_server_t *server, apr_int64_t clock, apr_time_t wall);

/** Whether it was found back so lately that of what is written now nobody may be able to tell later,
 * by memsess_server_was_there, that it was written after that. */
int memsess_server_is_just_back(const memsess_server_t *server);

/** Whether it has all that it was sent in this time until now: asks it whether it is still the one that it
 * was before that, and never had to throw anything out. */
int memsess_server_kept(memsess_server_t *server, apr_interval_time_t since);

/** What this process holds on servers, all stores together. */
memsess_leases_t *memsess_server_leases(memsess_server_t *server);

const memsess_server_conf_t *memsess_server_conf(const memsess_server_t *server);

/**
 * Reads a key.
 * @param data receives a NUL-terminated copy from @a p
 * @return APR_SUCCESS, MEMSESS_ABSENT, or that the server could not answer
 */
apr_status_t memsess_server_get(memsess_server_t *server, const char *key, char **data,
                                apr_size_t *len, apr_pool_t *p);

/** Whether a value can be of the key that was asked for. */
typedef int memsess_check_t(const void *baton, const char *data, apr_size_t len);

/** One key of memsess_pool_mget: its server, and the answer. */
typedef struct memsess_get_t {
    memsess_server_t *server;
    const char *key;
    memsess_check_t *check; /**< a connection that answers otherwise is dropped; or NULL */
    const void *baton;      /**< of check */
    apr_status_t rv;
    char *data;
    apr_size_t len;
} memsess_get_t;

/** Reads several keys, from one server or several, all in one round trip. */
void memsess_pool_mget(memsess_get_t *gets, int n, apr_pool_t *p);

/** Stores a key for @a ttl seconds (over 30 days: see memcached's protocol.txt). */
apr_status_t memsess_server_set(memsess_server_t *server, const char *key, char *data,
                                apr_size_t len, apr_uint32_t ttl);

/** How a key is stored. */
typedef enum {
    MEMSESS_PUT_SET,
    MEMSESS_PUT_ADD,    /**< unless it is there, which is MEMSESS_EXISTS */
    MEMSESS_PUT_REPLACE /**< as set, but what is there stays if this is refused */
} memsess_how_t;

/** One key of memsess_pool_mput: its server, and the answer. */
typedef struct memsess_put_t {
    memsess_server_t *server;
    const char *key;
    char *data;
    apr_size_t len;
    apr_uint32_t ttl;
    memsess_how_t how;
    int once;             /**< never sent twice: where a connection breaks, that is an error */
    apr_time_t not_after; /**< not sent then or later, by the monotonic clock, but MEMSESS_UNSENT;
                               0: whenever */
    apr_status_t rv;      /**< as of memsess_server_set, or one of those above */
} memsess_put_t;

/** So many at once. */
#define MEMSESS_PUTS_MAX 16

/** Stores several keys, each on another server and of one pool, at the same time. */
void memsess_pool_mput(memsess_put_t *puts, unsigned n);

/**
 * Stores a key unless it is there: MEMSESS_EXISTS. Where the connection broke in between, that may
 * be our own.
 */
apr_status_t memsess_server_add(memsess_server_t *server, const char *key, char *data,
                                apr_size_t len, apr_uint32_t ttl);

/** Removes a key; MEMSESS_ABSENT where there was none. */
apr_status_t memsess_server_delete(memsess_server_t *server, const char *key);

#endif
