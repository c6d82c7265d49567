/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/status.h
 * @brief What is counted, as pages: SetHandler memsess-status, and a part of mod_status's.
 */
#ifndef MEMSESS_STATUS_H
#define MEMSESS_STATUS_H

#include "httpd.h"
#include "base/count.h"

/** One server, and its figures. */
typedef struct memsess_shown_t {
    const memsess_counted_t *server;
    memsess_server_figures_t figures;
} memsess_shown_t;

/** Everything at one moment. */
typedef struct memsess_status_t {
    apr_time_t now, since;
    apr_uint64_t figure[MEMSESS_N];
    apr_array_header_t *warnings; /**< of memsess_advice_t */
    apr_array_header_t *servers;  /**< of memsess_shown_t */
} memsess_status_t;

/** The latency to show: of the last minutes, or of all where nobody used the server in them. */
apr_interval_time_t memsess_status_latency(const memsess_server_figures_t *figures, double share);

/** Text of why a server failed last. */
const char *memsess_status_error(const memsess_shown_t *shown, apr_pool_t *p);

/** In UTC, as ISO 8601 has it. */
const char *memsess_status_time(apr_time_t t, apr_pool_t *p);

/** Sends it as the page for people. */
void memsess_page_send(request_rec *r, const memsess_status_t *status);

/** Lists the counters where mod_status shows what modules have to say. */
int memsess_status_hook(request_rec *r, int flags);

/** Whether this section's handler is ours, so that its requests have no session. */
int memsess_status_is_here(request_rec *r);

/** The handler. */
int memsess_status_handler(request_rec *r);

#endif
