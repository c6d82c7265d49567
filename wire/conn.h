/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file wire/conn.h
 * @brief One connection to a memcached: made, bounded and ended. For this room alone.
 */
#ifndef MEMSESS_CONN_H
#define MEMSESS_CONN_H

#include "apr_file_io.h"
#include "apr_memcache.h"
#include "apr_thread_mutex.h"
#include "wire/resolve.h"
#include "wire/servers.h"

/**
 * A connection is an apr_memcache client of its own with one server and one socket, so that
 * connecting and waiting happen under no lock that another thread needs. It has its own memory,
 * too. Without a client (mc is NULL) it is not connected. At first fd is -1, and all else is 0.
 */
typedef struct memsess_conn_t {
    apr_pool_t *p;
    apr_memcache_t *mc;
    apr_memcache_server_t *ms;
    struct apr_memcache_conn_t *handle; /**< the connection, until apr_memcache takes it */
    apr_uint32_t epoch;        /**< the server's, when it was connected */
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
 * Connects within the time-out, and begins a use. The connection is open once the server has said
 * something on it: a server at its limit of connections may accept more, and say nothing.
 * @return MEMSESS_TOO_MANY if the server says that it is at its limit
 */
apr_status_t memsess_conn_open(memsess_conn_t *c, memsess_link_t *link);

/** Disconnects, if it is connected. */
void memsess_conn_close(memsess_conn_t *c, memsess_link_t *link);

/** Begins a use now, which has to be over when the time-out is. Disconnects a connection that was idle
 * for a while if the server has closed it, or has said something that nobody asked for. */
void memsess_conn_use(memsess_conn_t *c, memsess_link_t *link, apr_time_t now);

/** Whether a connection is open, and the server has said nothing beyond what it was asked for. */
int memsess_conn_is_open(const memsess_conn_t *c);

/**
 * Sends a command on a connection that is in step. This is done without apr_memcache, which does
 * not pass on what a server says in an error, and has only 32 bits for figures of its memory.
 * @param command with its line end
 * @param answer receives a line, or all of a list, with the line ends
 */
apr_status_t memsess_conn_ask(memsess_conn_t *c, const char *command, const char **answer);

/** Ends the use. */
void memsess_conn_rest(memsess_conn_t *c);

/** Whether the use of a connection takes too long. */
int memsess_conn_is_overdue(memsess_conn_t *c);

/** Shuts down connections that are in use for too long; returns whether any is open, and so has to
 * be watched. */
int memsess_link_shut_overdue(memsess_link_t *link);

#endif
