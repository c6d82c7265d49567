/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file wire/servers.h
 * @brief Servers, connections, deadlines and health; the only user of apr_memcache.
 *
 * There is one pool per child process. No call waits for a server longer than that server's
 * time-out for connecting and once more for the answer, and no lock is held while waiting. If all
 * connections that a server may have are in use, calls wait for their turn, in order and for a
 * bounded time, and hold no other connection meanwhile. A server that failed is "down": calls to
 * it, even those that wait, fail at once until the prober, one thread of the pool, has seen it
 * answer. A second thread watches all deadlines, a third renews leases, and several write copies
 * side by side.
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
    memsess_server_count_t *count; /**< where its figures are kept; NULL: privately */
} memsess_server_conf_t;

typedef struct memsess_pool_t memsess_pool_t;
typedef struct memsess_server_t memsess_server_t;

/*
 * What the calls below return beside APR_SUCCESS, see base/error.h: MEMSESS_ABSENT and
 * MEMSESS_EXISTS; the codes of memsess_is_refused; MEMSESS_FOREIGN, if the server answered for
 * another key twice, with that answer as data; MEMSESS_DOWN, if the server is known to be down and
 * was not asked; MEMSESS_UNSENT. Any other code: the server could not be reached, or did not answer
 * properly in time.
 */

/** Makes an empty pool, for this process alone: a child that it forks later cannot use it. */
apr_status_t memsess_pool_create(memsess_pool_t **pool);

/** Adds a server, before memsess_pool_start. Nothing is connected yet. */
apr_status_t memsess_pool_add(memsess_server_t **server, memsess_pool_t *pool,
                              const memsess_server_conf_t *conf);

/**
 * Has the prober call @a call now and then; to be called before memsess_pool_start. No server is
 * probed while @a call runs.
 * @param call is told whether it is the one call of all children that is due every
 *             MEMSESS_SAMPLE_EVERY. It returns whether it has more to do: it is then called again
 *             once the servers were looked after
 */
void memsess_pool_call(memsess_pool_t *pool, int (*call)(void *baton, int sampled), void *baton);

/** Has a server tell its figures and its clock, on a connection of its own; a proxy may not tell
 * them. */
apr_status_t memsess_server_tell(memsess_server_t *server);

/**
 * Starts the threads that look after the servers. If the system gives no thread, that is logged,
 * and the thread is started later, when a server is needed; until then the pool does without, as
 * the log says.
 */
apr_status_t memsess_pool_start(memsess_pool_t *pool);

/** Leaves everything as it is, for the end of the process: locks are not given back, but expire.
 * For a signal handler, which may have interrupted a thread that holds a mutex. */
void memsess_pool_abandon(memsess_pool_t *pool);

/** Stops all threads, waits for them (a probe at most) and frees everything. */
void memsess_pool_destroy(memsess_pool_t *pool);

int memsess_server_is_down(memsess_server_t *server);

/** Whether the last answers of a server that is up all took so long that another one is better asked. */
int memsess_server_is_slow(const memsess_server_t *server);

/** Whether a server refused a record of about that length, or a smaller one, less than a minute ago. */
int memsess_server_refuses(const memsess_server_t *server, apr_size_t len);

/** What the server's own clock says now, in seconds, give or take one; 0: it has not told yet. */
apr_int64_t memsess_server_clock(const memsess_server_t *server);

/** How far apart, in seconds, two members may be in what they take for a server's clock at one
 * moment: each may be off by one. Of two such times that differ by more, the later one is later. */
#define MEMSESS_CLOCK_ERROR 2

/**
 * Whether a server has been there, as far as this child knows, ever since something was written to
 * it: it would then know of all that was written later.
 * @param clock what the server's own clock said then; this decides, unless it is a matter of
 *        seconds
 * @param wall what the writer's wall clock said then; within those seconds this decides, if that
 *        clock agrees with ours, and else the server was not there
 */
int memsess_server_was_there(const memsess_server_t *server, apr_int64_t clock, apr_time_t wall);

/** Whether a writer's wall clock agrees with ours, as far as seconds tell: it said @a wall when the
 * server's own clock said @a clock. */
int memsess_server_sees_alike(const memsess_server_t *server, apr_int64_t clock, apr_time_t wall);

/** Whether a server is back for so short a time that memsess_server_was_there may not be able to
 * tell later that what is written now was written after its return. */
int memsess_server_is_just_back(const memsess_server_t *server);

/** Whether a server still has all that it was sent within the last @a since. Asks it whether it has
 * run for longer than that, and has never thrown anything out. */
int memsess_server_kept(memsess_server_t *server, apr_interval_time_t since);

/** The leases that this process holds on servers, of all stores together. */
memsess_leases_t *memsess_server_leases(memsess_server_t *server);

const memsess_server_conf_t *memsess_server_conf(const memsess_server_t *server);

/**
 * Reads a key.
 * @param data receives a NUL-terminated copy from @a p
 * @return APR_SUCCESS, MEMSESS_ABSENT, or that the server could not answer
 */
apr_status_t memsess_server_get(memsess_server_t *server, const char *key, char **data,
                                apr_size_t *len, apr_pool_t *p);

/** Whether a value can belong to the key that was asked for. */
typedef int memsess_check_t(const void *baton, const char *data, apr_size_t len);

/** One key of memsess_pool_mget: its server, and the answer. */
typedef struct memsess_get_t {
    memsess_server_t *server;
    const char *key;
    memsess_check_t *check; /**< a connection whose answer fails it is dropped; or NULL */
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
    MEMSESS_PUT_ADD,    /**< unless the key is there, which is MEMSESS_EXISTS */
    MEMSESS_PUT_REPLACE /**< as set, but what is there stays if the server refuses this */
} memsess_how_t;

/** One key of memsess_pool_mput: its server, and the answer. */
typedef struct memsess_put_t {
    memsess_server_t *server;
    const char *key;
    char *data;
    apr_size_t len;
    apr_uint32_t ttl;
    memsess_how_t how;
    int once;             /**< never sent twice: if a connection breaks, that is an error */
    apr_time_t not_after; /**< from this time of the monotonic clock on it is not sent, but is
                               MEMSESS_UNSENT; 0: no limit */
    apr_status_t rv;      /**< as memsess_server_set returns it, or one of the codes above */
} memsess_put_t;

/** At most this many keys are stored by one call. */
#define MEMSESS_PUTS_MAX 16

/** Stores several keys at the same time, each on another server of one pool; or in turn, as long as
 * that takes a few milliseconds and all servers are near. */
void memsess_pool_mput(memsess_put_t *puts, unsigned n);

/**
 * Stores a key unless it is there, which is MEMSESS_EXISTS. If the connection broke in between, the
 * key that is there may be our own.
 */
apr_status_t memsess_server_add(memsess_server_t *server, const char *key, char *data,
                                apr_size_t len, apr_uint32_t ttl);

/** Removes a key; MEMSESS_ABSENT: there was none. */
apr_status_t memsess_server_delete(memsess_server_t *server, const char *key);

#endif
