/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/look.h
 * @brief What each server has under one key, for an operator who asks why somebody was logged out.
 */
#ifndef MEMSESS_LOOK_H
#define MEMSESS_LOOK_H

#include "store/copies.h"

/** What one server answered. */
typedef struct memsess_look_t {
    const char *server;
    const char *state;                /**< silent, none, unreadable, later, active or ended */
    const memsess_session_t *session; /**< for active and ended */
    int is_home;                      /**< one of the first servers in the key's order */
} memsess_look_t;

/**
 * Asks all servers of a key, and changes nothing. A server that is down is listed, too, as silent.
 * @return an array of memsess_look_t, in the key's own order
 */
apr_array_header_t *memsess_look(memsess_store_t *store, const memsess_key_t *key, apr_pool_t *p);

/** The one record that counts among those that were found; NULL: there is none. */
const memsess_session_t *memsess_look_newest(const apr_array_header_t *looks);

#endif
