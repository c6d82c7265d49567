/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The status in Prometheus's text format. */

#include "http/status.h"

#include <string.h>

#include "apr_strings.h"
#include "base/roster.h"
#include "base/version.h"
#include "http_protocol.h"

static void family(request_rec *r, const char *name, const char *type, const char *help)
{
    ap_rprintf(r, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static const char *label(const char *text, apr_pool_t *p)
{
    char *quoted = apr_palloc(p, 2 * strlen(text) + 1), *to = quoted;

    for (; *text; text++) {
        if (*text == '\\' || *text == '"' || *text == '\n') {
            *to++ = '\\';
        }
        *to++ = (char)(*text == '\n' ? 'n' : *text);
    }
    *to = '\0';
    return quoted;
}

static const char *labels(const memsess_counted_t *server, apr_pool_t *p)
{
    return apr_psprintf(p, "server=\"%s\",address=\"%s\"", label(server->name, p),
                        label(server->address, p));
}

enum { SERVER_UP, SERVER_SINCE, SERVER_WEIGHT, SERVER_OPERATIONS, SERVER_ERRORS, SERVER_TIMEOUTS };

static apr_uint64_t server_figure(const memsess_shown_t *shown, int which)
{
    const memsess_server_figures_t *f = &shown->figures;
    const apr_uint64_t figures[] = {!f->down, (apr_uint64_t)apr_time_sec(f->since),
                                    shown->server->weight, f->all.n, f->errors, f->timeouts};

    return figures[which];
}

static void send_server_family(request_rec *r, const memsess_status_t *status, int which)
{
    static const char *const families[][3] = {
        {"memsess_server_up", "gauge", "1: the server is up; 0: it is down"},
        {"memsess_server_since_timestamp_seconds", "gauge", "Since when the server has been up or "
                                                            "down"},
        {"memsess_server_weight", "gauge", "The server's weight: its share of the sessions"},
        {"memsess_server_operations_total", "counter", "Operations that the server was asked for"},
        {"memsess_server_errors_total", "counter", "Operations that failed or were refused"},
        {"memsess_server_timeouts_total", "counter", "Operations that failed because "
                                                     "MemSessTimeout was over"},
    };
    int i;

    family(r, families[which][0], families[which][1], families[which][2]);
    for (i = 0; i < status->servers->nelts; i++) {
        const memsess_shown_t *shown = &APR_ARRAY_IDX(status->servers, i, memsess_shown_t);

        ap_rprintf(r, "%s{%s} %" APR_UINT64_T_FMT "\n", families[which][0],
                   labels(shown->server, r->pool), server_figure(shown, which));
    }
}

/* What servers say about themselves; a server that does not say it has no sample. */
static void send_says_family(request_rec *r, const memsess_status_t *status, int which)
{
    const memsess_says_name_t *name = &memsess_says_names[which];
    int i;

    family(r, name->prometheus, name->type, name->meaning);
    for (i = 0; i < status->servers->nelts; i++) {
        const memsess_shown_t *shown = &APR_ARRAY_IDX(status->servers, i, memsess_shown_t);

        if (shown->figures.says[which] >= 0) {
            ap_rprintf(r, "%s{%s} %" APR_INT64_T_FMT "\n", name->prometheus,
                       labels(shown->server, r->pool), shown->figures.says[which]);
        }
    }
}

/* A bucket for each doubling, from 16 microseconds to 4 seconds. */
static void send_histogram(request_rec *r, const memsess_shown_t *shown)
{
    const memsess_server_figures_t *f = &shown->figures;
    const char *who = labels(shown->server, r->pool);
    apr_uint64_t sum = 0;
    unsigned i;

    for (i = 0; i < MEMSESS_BUCKETS; i++) {
        apr_interval_time_t end = memsess_bucket_end(i);

        sum += f->all.bucket[i];
        if (i % 4 == 3 && end >= 16 && end <= 1 << 22) {
            ap_rprintf(r, "memsess_server_latency_seconds_bucket{%s,le=\"%.6f\"} %"
                       APR_UINT64_T_FMT "\n", who, (double)end / 1e6, sum);
        }
    }
    ap_rprintf(r, "memsess_server_latency_seconds_bucket{%s,le=\"+Inf\"} %" APR_UINT64_T_FMT "\n"
               "memsess_server_latency_seconds_sum{%s} %.6f\n"
               "memsess_server_latency_seconds_count{%s} %" APR_UINT64_T_FMT "\n", who, f->all.n,
               who, (double)f->total / 1e6, who, f->all.n);
}

/* Each kind of warning has a sample, so that its absence is visible, too. */
static void send_warnings(request_rec *r, const memsess_status_t *status)
{
    int there[MEMSESS_WARNINGS] = {0}, i;

    for (i = 0; i < status->warnings->nelts; i++) {
        there[APR_ARRAY_IDX(status->warnings, i, memsess_advice_t).warning] = 1;
    }
    family(r, "memsess_warning", "gauge", "1: there is a warning of this kind; 0: there is none");
    for (i = 0; i < MEMSESS_WARNINGS; i++) {
        ap_rprintf(r, "memsess_warning{kind=\"%s\"} %d\n", memsess_warning_kinds[i], there[i]);
    }
}

static void send_alive(request_rec *r, const memsess_status_t *status)
{
    if (status->alive.sessions >= 0) {
        family(r, "memsess_sessions_alive_estimate", "gauge",
               "About how many sessions there are: the items that servers report, divided by the "
               "number of copies");
        ap_rprintf(r, "memsess_sessions_alive_estimate %" APR_INT64_T_FMT "\n",
                   status->alive.sessions);
    }
}

/* The members that were seen lately, this one included. */
static void send_members(request_rec *r, const memsess_status_t *status)
{
    int i;

    if (status->members->nelts) {
        family(r, "memsess_member_seen_seconds", "gauge",
               "How long ago a member left its last sign on a server");
    }
    for (i = 0; i < status->members->nelts; i++) {
        const memsess_fellow_t *fellow = &APR_ARRAY_IDX(status->members, i, memsess_fellow_t);

        ap_rprintf(r, "memsess_member_seen_seconds{member=\"%s\",version=\"%s\"} %"
                   APR_INT64_T_FMT "\n", label(fellow->name, r->pool),
                   label(fellow->version, r->pool), apr_time_sec(status->at.at - fellow->seen_at));
    }
}

void memsess_status_prometheus(request_rec *r, const memsess_status_t *status)
{
    int i;

    ap_set_content_type(r, "text/plain; version=0.0.4; charset=utf-8");
    family(r, "memsess_info", "gauge", "Always 1; the label has the module's version");
    ap_rputs("memsess_info{version=\"" MEMSESS_VERSION "\"} 1\n", r);
    family(r, "memsess_uptime_seconds", "gauge", "How long the counters have been running");
    ap_rprintf(r, "memsess_uptime_seconds %" APR_INT64_T_FMT "\n",
               apr_time_sec(status->now - status->since));
    family(r, "memsess_ok", "gauge", "1: nothing is known to keep users from their sessions; 0: "
           "something does, see the status page");
    ap_rprintf(r, "memsess_ok %d\n", !status->verdict.is_bad);
    send_warnings(r, status);
    send_alive(r, status);
    send_members(r, status);
    for (i = 0; i < MEMSESS_N; i++) {
        const memsess_counter_name_t *counter = &memsess_counter_names[i];
        const char *name = apr_pstrcat(r->pool, "memsess_", counter->group, "_", counter->figure,
                                       "_total", NULL);

        family(r, name, "counter", counter->meaning);
        ap_rprintf(r, "%s %" APR_UINT64_T_FMT "\n", name, status->at.value[i]);
    }
    for (i = SERVER_UP; i <= SERVER_TIMEOUTS; i++) {
        send_server_family(r, status, i);
    }
    for (i = 0; i < MEMSESS_SAYS_N; i++) {
        send_says_family(r, status, i);
    }
    family(r, "memsess_server_latency_seconds", "histogram", "How long the server took to answer");
    for (i = 0; i < status->servers->nelts; i++) {
        send_histogram(r, &APR_ARRAY_IDX(status->servers, i, memsess_shown_t));
    }
}
