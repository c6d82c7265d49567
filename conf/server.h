/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file conf/server.h
 * @brief One server of a pool, as MemSessServers names it.
 */
#ifndef MEMSESS_MEMBER_H
#define MEMSESS_MEMBER_H

#include "memsess_store.h"

/**
 * From "host[:port]", "[v6][:port]" or "unix:/path", and "?weight=N&name=NAME", each optional.
 * @return NULL, or what is wrong and how to fix it
 */
const char *memsess_member_parse(memsess_member_t *member, const char *word, apr_pool_t *p);

/** Its address, in one spelling. */
const char *memsess_member_address(const memsess_server_conf_t *server, apr_pool_t *p);

/** Whether a pool cannot have both, since they have the same name or the same address. */
int memsess_member_same(const memsess_member_t *a, const memsess_member_t *b);

#endif
