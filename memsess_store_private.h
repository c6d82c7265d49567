/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file memsess_store_private.h
 * @brief What memsess_store.c (copies) and memsess_commit.c (claims) share.
 */
#ifndef MEMSESS_STORE_PRIVATE_H
#define MEMSESS_STORE_PRIVATE_H

#include "memsess_ring.h"
#include "memsess_store.h"

struct memsess_store_t {
    memsess_store_conf_t conf;
    unsigned n;
    memsess_node_t *nodes;
    memsess_server_t **servers;
    volatile apr_uint32_t complained_at, complaints; /* in that second, of records */
};

/* What one server said of a key. */
typedef struct memsess_copy_t {
    unsigned at; /* in the store */
    enum { COPY_UNASKED, COPY_SILENT, COPY_NONE, COPY_DAMAGED, COPY_HELD } state;
    memsess_session_t *session;
} memsess_copy_t;

/** The servers of a key in its own order, as many as are ever looked at. */
void memsess_order(const memsess_store_t *store, const memsess_key_t *key, memsess_copy_t **copies,
                   unsigned *n, apr_pool_t *p);

/** The key in memcached of the copy on that server. */
const char *memsess_key_text(const memsess_store_t *store, const memsess_key_t *key, unsigned at,
                             apr_pool_t *p);

/** Whether that server is one of a placement. */
int memsess_is_placed(const memsess_store_t *store, const memsess_placement_t *placement,
                      unsigned at);

/**
 * The newest copy, without repairing any.
 * @param lacking receives how many of those that should have it answered that they do not
 */
memsess_found_t memsess_find(memsess_store_t *store, const memsess_key_t *key,
                             memsess_session_t **session, unsigned *lacking, apr_pool_t *p);

/**
 * memsess_store_write, sending no copy at @a not_after or later (0: whenever).
 * @return MEMSESS_BUSY where it was too late for all
 */
apr_status_t memsess_write_before(memsess_store_t *store, const memsess_key_t *key,
                                  memsess_session_t *session, apr_time_t not_after, apr_pool_t *p);

#endif
