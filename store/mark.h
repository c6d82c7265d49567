/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/mark.h
 * @brief What is to be remembered of a session for some seconds, beside its record.
 *
 * A mark goes by itself, by memcached's clock: members share that, while their own clocks may be
 * hours apart. It is written once and never repaired, so a server that goes takes its marks along:
 * nothing may rest on a mark but how soon something is over.
 */
#ifndef MEMSESS_MARK_H
#define MEMSESS_MARK_H

#include "store/copies.h"

/** Of what was ended just now, and for how many seconds what comes with its id counts as late. */
#define MEMSESS_MARK_END "end"
#define MEMSESS_MARK_END_TTL 30

/**
 * Puts a mark there for so many seconds, as many copies as a record has; as far as servers answer.
 * @param what names it: at most 24 of base64url's alphabet
 */
void memsess_mark_put(memsess_store_t *store, const memsess_key_t *key, const char *what,
                      apr_uint32_t seconds, apr_pool_t *p);

/** Whether it is there; also where no server can tell. */
int memsess_mark_is_there(memsess_store_t *store, const memsess_key_t *key, const char *what,
                          apr_pool_t *p);

#endif
