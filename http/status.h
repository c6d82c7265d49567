/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/status.h
 * @brief The status of this member: SetHandler memsess-status, and a part of mod_status's page.
 */
#ifndef MEMSESS_STATUS_H
#define MEMSESS_STATUS_H

#include "httpd.h"
#include "base/advice.h"
#include "base/count.h"
#include "base/history.h"

/** One server, and its figures. */
typedef struct memsess_shown_t {
    const memsess_counted_t *server;
    memsess_server_figures_t figures;
} memsess_shown_t;

/** What is set in one section of a virtual host. */
typedef struct memsess_section_t {
    const char *name;             /**< /path, or a pattern */
    apr_array_header_t *settings; /**< of memsess_setting_t */
} memsess_section_t;

/** One virtual host, or the server itself. */
typedef struct memsess_host_t {
    const char *name;             /**< its ServerName, "" for the server itself */
    unsigned port;
    apr_array_header_t *servers;  /**< names, of const char * */
    const char *ns;
    unsigned copies;
    apr_interval_time_t idle;     /**< MemSessIdleTimeout outside of sections */
    int is_signed, is_sealed;     /**< whether its cookies are; whether its records are */
    int is_like_first;            /**< it has no setting that the server itself has not */
    apr_array_header_t *settings; /**< of memsess_setting_t: what is set here or inherited */
    apr_array_header_t *sections; /**< of memsess_section_t: its own */
} memsess_host_t;

/** The status in one line. */
typedef struct memsess_verdict_t {
    int is_bad;     /**< sessions are lost or not served, or are about to be */
    int is_warned;  /**< is_bad is 0, but there are warnings */
    const char *text;
} memsess_verdict_t;

/** All that is shown, taken at one moment. */
typedef struct memsess_status_t {
    apr_time_t now, since;
    memsess_moment_t at;          /**< all figures */
    memsess_moment_t before;      /**< a minute before, or when counting began; at 0: unknown */
    memsess_moment_t *minutes;    /**< of the last hour, the oldest first */
    unsigned n_minutes;
    memsess_alive_t alive;
    apr_array_header_t *warnings; /**< of memsess_advice_t */
    apr_array_header_t *servers;  /**< of memsess_shown_t */
    apr_array_header_t *hosts;    /**< of memsess_host_t, the server itself first */
    apr_array_header_t *members;  /**< of memsess_fellow_t, see base/roster.h */
    memsess_verdict_t verdict;
} memsess_status_t;

/** The latency to show: of the last minutes, or of all time if nobody used the server in them. */
apr_interval_time_t memsess_status_latency(const memsess_server_figures_t *figures, double share);

/** How most threads ask the server for copies. */
const char *memsess_status_asked(const memsess_server_figures_t *figures);

/** The words for a server's last error. */
const char *memsess_status_error(const memsess_shown_t *shown, apr_pool_t *p);

/** A time in UTC, in the form of ISO 8601. */
const char *memsess_status_time(apr_time_t t, apr_pool_t *p);

/** A duration, for people. */
const char *memsess_status_duration(apr_interval_time_t t, apr_pool_t *p);

/** A latency, for people. */
const char *memsess_status_took(apr_interval_time_t t, apr_pool_t *p);

/** 1234567 as 1,234,567. */
const char *memsess_status_number(apr_uint64_t n, apr_pool_t *p);

/** All virtual hosts, of memsess_host_t. */
apr_array_header_t *memsess_status_hosts(server_rec *main_server, apr_pool_t *p);

/** The verdict on everything else: faults come first. */
memsess_verdict_t memsess_status_verdict(const memsess_status_t *status, apr_pool_t *p);

/** How many servers are down. */
int memsess_status_down(const memsess_status_t *status);

/* -- Its forms --------------------------------------------------------------------------------- */

/** The page for people. */
void memsess_page_send(request_rec *r, const memsess_status_t *status);

/** JSON. */
void memsess_status_json(request_rec *r, const memsess_status_t *status);

/** Prometheus's text format. */
void memsess_status_prometheus(request_rec *r, const memsess_status_t *status);

/* -- Hooks ------------------------------------------------------------------------------------- */

/** Lists the counters where mod_status shows what modules have to say. */
int memsess_status_hook(request_rec *r, int flags);

/** Whether this section's handler is ours, so that its requests have no session. */
int memsess_status_is_here(request_rec *r);

/** The handler. */
int memsess_status_handler(request_rec *r);

#endif
