/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file memsess_conf_private.h
 * @brief What memsess_conf.c (each directive) and memsess_conf_whole.c (all of them) share.
 */
#ifndef MEMSESS_CONF_PRIVATE_H
#define MEMSESS_CONF_PRIVATE_H

#include "memsess_conf.h"

/** A time-out that was set, in a section that may inherit the other one. */
typedef struct memsess_timeouts_t {
    server_rec *server;
    void *dir_conf;
    const ap_directive_t *directive;
} memsess_timeouts_t;

/** What was seen of directives in any section, for when all have been read. */
typedef struct memsess_seen_t {
    apr_array_header_t *timeouts; /**< of memsess_timeouts_t */
    int sessions;                 /**< MemSess is On somewhere */
    apr_int64_t largest;          /**< MemSessMaxSize, the default at least */
    const ap_directive_t *tls;    /**< a MemSessBind tls, or NULL */
} memsess_seen_t;

extern memsess_seen_t memsess_seen;

#endif
