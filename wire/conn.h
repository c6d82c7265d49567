/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file wire/conn.h
 * @brief One connection to a memcached: made, bounded and ended. For wire/servers.c alone.
 */
#ifndef MEMSESS_CONN_H
#define MEMSESS_CONN_H

#include "apr_file_io.h"
#include "apr_memcache.h"
#include "apr_thread_mutex.h"
#include "wire/resolve.h"
#include "wire/servers.h"

/**
 * An apr_memcache client of its own with one server and one socket, so that connecting and waiting
 * happen under no lock that another thread needs. Its memory is its own too. Without a client (mc
 * is NULL) it is not connected; to begin with, all is 0 but fd, -1.
 */
typedef struct memsess_conn_t {
    apr_pool_t *p;
    apr_memcache_t *mc;
    apr_memcache_server_t *ms;
    struct apr_memcache_conn_t *handle; /**< what apr_memcache has not taken yet */
    apr_uint32_t epoch;        /**< for the pool */
    int fd;                    /**< of the socket that apr_memcache uses */
    volatile apr_uint64_t due; /**< when its use has to be over; 0: it is idle */
    apr_time_t rested;         /**< when its last use ended */
    struct memsess_conn_t *next, *previous;
    struct memsess_conn_t *below; /**< for wire/turn.c */
} memsess_conn_t;

/** What the connections to one server share. */
typedef struct memsess_link_t {
    const memsess_server_conf_t *conf;
    memsess_host_t *host;      /**< NULL for a unix socket */
    apr_file_t *wake;          /**< gets a byte when the first connection is made */
    apr_thread_mutex_t *watch; /**< guards connected */
    memsess_conn_t *connected; /**< all that have a socket */
} memsess_link_t;

apr_status_t memsess_link_init(memsess_link_t *link, const memsess_server_conf_t *conf,
                               memsess_resolver_t *resolver, apr_file_t *wake, apr_pool_t *p);

/**
 * Connects within the time-out, and begins a use. It is open once the server has said something on
 * it: one at its limit of connections accepts them and does not.
 * @return MEMSESS_TOO_MANY where the server says that it is
 */
apr_status_t memsess_conn_open(memsess_conn_t *c, memsess_link_t *link);

/** Disconnects, if it is connected. */
void memsess_conn_close(memsess_conn_t *c, memsess_link_t *link);

/** Begins a use, which has to be over when the time-out is. Disconnects what was left alone for a
 * while if the server closed it meanwhile, or said something that nobody asked for. */
void memsess_conn_use(memsess_conn_t *c, memsess_link_t *link);

/** Whether the server has neither closed it nor said more than it was asked for. */
int memsess_conn_is_open(const memsess_conn_t *c);

/**
 * Says something on a connection that is in step, beside apr_memcache, which keeps to itself what
 * the server says where that is an error, and has 32 bits for what it tells of its memory.
 * @param command with its line end
 * @param answer receives it, with the line ends: a line, or all of a list
 */
apr_status_t memsess_conn_ask(memsess_conn_t *c, const char *command, const char **answer);

/** Ends it. */
void memsess_conn_rest(memsess_conn_t *c);

/** Whether its use took too long. */
int memsess_conn_is_overdue(memsess_conn_t *c);

/** Shuts down what is in use for too long; returns whether anything is connected at all. */
int memsess_link_shut_overdue(memsess_link_t *link);

#endif
