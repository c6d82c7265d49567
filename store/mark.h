/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/mark.h
 * @brief Facts about a session that are remembered for some seconds, beside its record.
 *
 * A mark expires by memcached's clock: members share that, while their own clocks may be hours
 * apart. It is written once and never repaired, so it is lost with its servers: only how soon
 * something is over may depend on a mark.
 */
#ifndef MEMSESS_MARK_H
#define MEMSESS_MARK_H

#include "store/copies.h"

/** The mark of a session that was ended just now. For this many seconds, a request with its id
 * counts as late. */
#define MEMSESS_MARK_END "end"
#define MEMSESS_MARK_END_TTL 30

/**
 * Puts a mark there for some seconds, in as many copies as a record has, as far as servers answer.
 * @param what names the mark: at most 24 characters of base64url's alphabet
 */
void memsess_mark_put(memsess_store_t *store, const memsess_key_t *key, const char *what,
                      apr_uint32_t seconds, apr_pool_t *p);

/** Whether the mark is there; true, too, if no server can tell. */
int memsess_mark_is_there(memsess_store_t *store, const memsess_key_t *key, const char *what,
                          apr_pool_t *p);

#endif
