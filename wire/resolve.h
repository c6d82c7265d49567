/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file wire/resolve.h
 * @brief Host names to addresses, off the request path: a look-up may take as long as it likes,
 *        and holds up only its own thread.
 */
#ifndef MEMSESS_RESOLVE_H
#define MEMSESS_RESOLVE_H

#include "apr_network_io.h"
#include "apr_time.h"

typedef struct memsess_resolver_t memsess_resolver_t;
typedef struct memsess_host_t memsess_host_t;

apr_status_t memsess_resolver_create(memsess_resolver_t **resolver);

/** Adds a name or a numeric address, before memsess_resolver_start. */
apr_status_t memsess_resolver_add(memsess_host_t **host, memsess_resolver_t *resolver,
                                  const char *name);

/** Starts a thread that looks up names, now and twice a minute; none is needed if all are numeric.
 * If this fails, it is to be called again, by one thread at a time. */
apr_status_t memsess_resolver_start(memsess_resolver_t *resolver);

/** Frees everything, or leaves it to a look-up that is still under way. */
void memsess_resolver_destroy(memsess_resolver_t *resolver);

/**
 * The addresses of a host, as far as they are known.
 * @param wait how long to wait for the first look-up, if that is still under way
 * @param addresses receives a list from @a p
 * @return APR_SUCCESS, APR_TIMEUP, or why the last look-up found nothing
 */
apr_status_t memsess_host_addresses(apr_sockaddr_t **addresses, memsess_host_t *host,
                                    apr_port_t port, apr_interval_time_t wait, apr_pool_t *p);

/** Grows whenever the name leads to another address than before. */
apr_uint32_t memsess_host_moved(memsess_host_t *host);

/** For tests: how often names are looked up in resolvers that are started from now on. */
void memsess_resolver_every(apr_interval_time_t interval);

/** Has the name looked up again soon, since its addresses do not answer. */
void memsess_host_again(memsess_host_t *host);

#endif
