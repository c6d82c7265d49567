/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/ring.h
 * @brief Placement: a storage key to its own order of servers, by weighted rendezvous hashing.
 *
 * Every key has its own order of all servers: the first ones are its homes, the next stand in. The
 * order depends only on the set of names and weights, not on how a member lists them. When a server
 * leaves, only the keys that lay on it move. Pure functions, no state.
 */
#ifndef MEMSESS_RING_H
#define MEMSESS_RING_H

#include "session/session.h"

#define MEMSESS_WEIGHT_MAX 1000

/** At most this many servers of an order can be asked for. */
#define MEMSESS_ORDER_MAX 128

typedef struct memsess_node_t {
    const char *name;
    unsigned weight;               /**< 1 to MEMSESS_WEIGHT_MAX; its share of the keys */
    unsigned char seed[16];        /**< derived from the name, see memsess_node_init */
    char tag[MEMSESS_TAG_LEN + 1]; /**< short hash of the name; ends the keys of its copies */
} memsess_node_t;

/** Derives what placement needs from name and weight. */
apr_status_t memsess_node_init(memsess_node_t *node, const char *name, unsigned weight);

/**
 * The first @a want servers of a key's own order, best first.
 * @param order receives indexes into @a nodes
 * @return how many were stored: the smallest of @a want, @a n and MEMSESS_ORDER_MAX
 */
unsigned memsess_ring_order(const memsess_node_t *nodes, unsigned n, const memsess_key_t *key,
                            unsigned *order, unsigned want);

#endif
