/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/name.h
 * @brief Host names to the addresses that all members choose, and what may be wrong with a name.
 */
#ifndef MEMSESS_NAME_H
#define MEMSESS_NAME_H

#include <netinet/in.h>

#include "apr_errno.h"
#include "apr_pools.h"
#include "apr_time.h"

/** What a name leads to. */
typedef struct memsess_name_t {
    apr_status_t rv; /**< why it leads nowhere; APR_INCOMPLETE: not known yet */
    unsigned n;
    int is_several;  /**< it has more addresses than these: it stands for several servers */
    char address[2][INET6_ADDRSTRLEN]; /**< the lowest of each family, IPv4 first */
} memsess_name_t;

int memsess_name_is_numeric(const char *name);

/** Looks a name up, for as long as that takes. The answer depends on the set of its addresses
 * alone, not on their order, so all members choose the same. */
void memsess_name_look(memsess_name_t *found, const char *name);

/** The same for several names side by side, each in a process of its own, since nothing else ends a
 * look-up. After @a wait, a name that is not known yet is APR_INCOMPLETE. */
void memsess_names_look(memsess_name_t *found, const char *const *names, unsigned n,
                        apr_interval_time_t wait);

/** What an operator should know of the name, or NULL. */
const char *memsess_name_trouble(const memsess_name_t *found, const char *name, apr_pool_t *p);

#endif
