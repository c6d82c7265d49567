/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The status as JSON. Existing names keep their meaning and their place. */

#include "http/status.h"

#include "apr_strings.h"
#include "base/clock.h"
#include "base/roster.h"
#include "base/version.h"
#include "http/json.h"
#include "http_protocol.h"
#include "memsess_conf.h"

/* What a server says about itself. */
static void json_says(request_rec *r, const memsess_server_figures_t *f)
{
    unsigned i;

    for (i = 0; i < MEMSESS_SAYS_N; i++) {
        ap_rprintf(r, "\"%s\": %s, ", memsess_says_names[i].json,
                   f->says[i] < 0 ? "null" : apr_psprintf(r->pool, "%" APR_INT64_T_FMT,
                                                          f->says[i]));
    }
}

static void json_server(request_rec *r, const memsess_shown_t *shown)
{
    const memsess_server_figures_t *f = &shown->figures;

    ap_rprintf(r, "{\"name\": %s, \"address\": %s, \"state\": \"%s\", \"since\": \"%s\", "
               "\"weight\": %u, \"operations\": %" APR_UINT64_T_FMT ", \"errors\": %"
               APR_UINT64_T_FMT ", \"timeouts\": %" APR_UINT64_T_FMT ", \"latency_us\": {\"p50\": %"
               APR_INT64_T_FMT ", \"p99\": %" APR_INT64_T_FMT "}, \"asked\": \"%s\", ",
               memsess_json_string(shown->server->name, r->pool),
               memsess_json_string(shown->server->address, r->pool), f->down ? "down" : "up",
               memsess_status_time(f->since, r->pool), shown->server->weight, f->all.n, f->errors,
               f->timeouts, memsess_status_latency(f, 0.5), memsess_status_latency(f, 0.99),
               memsess_status_asked(f));
    json_says(r, f);
    ap_rputs("\"last_error\": ", r);
    if (f->last_error_at) {
        ap_rprintf(r, "{\"at\": \"%s\", \"text\": %s}}",
                   memsess_status_time(f->last_error_at, r->pool),
                   memsess_json_string(memsess_status_error(shown, r->pool), r->pool));
    }
    else {
        ap_rputs("null}", r);
    }
}

/* One figure as JSON has it. */
typedef const char *figure_fn(const memsess_status_t *status, unsigned figure, apr_pool_t *p);

/* All counters by their groups, each in the form that told gives it. */
static void json_groups(request_rec *r, const memsess_status_t *status, figure_fn *told,
                        const char *before)
{
    unsigned i;

    for (i = 0; i < MEMSESS_N; i++) {
        const memsess_counter_name_t *name = &memsess_counter_names[i];

        if (memsess_counter_begins_group((int)i)) {
            ap_rprintf(r, "%s%s\"%s\": {", i ? "}" : "", i ? ",\n " : before, name->group);
        }
        else {
            ap_rputs(", ", r);
        }
        ap_rprintf(r, "\"%s\": %s", name->figure, told(status, i, r->pool));
    }
    ap_rputs("}", r);
}

static const char *total(const memsess_status_t *status, unsigned figure, apr_pool_t *p)
{
    return apr_psprintf(p, "%" APR_UINT64_T_FMT, status->at.value[figure]);
}

static const char *rate(const memsess_status_t *status, unsigned figure, apr_pool_t *p)
{
    return !status->before.at ? "null"
           : apr_psprintf(p, "%.3f", memsess_history_rate(&status->before, &status->at, figure));
}

/* What a figure was in one minute, the one that ends there. */
typedef const char *minute_fn(const memsess_moment_t *end, unsigned figure, apr_pool_t *p);

/* How much it rose. */
static const char *risen(const memsess_moment_t *end, unsigned figure, apr_pool_t *p)
{
    return apr_psprintf(p, "%" APR_UINT64_T_FMT, memsess_history_rise(end - 1, end, figure));
}

static const char *level(const memsess_moment_t *end, unsigned figure, apr_pool_t *p)
{
    return apr_psprintf(p, "%" APR_UINT64_T_FMT, end->value[figure]);
}

/* It is remembered one higher, since 0 means there that it is unknown. */
static const char *estimate(const memsess_moment_t *end, unsigned figure, apr_pool_t *p)
{
    return !end->value[figure] ? "null"
           : apr_psprintf(p, "%" APR_UINT64_T_FMT, end->value[figure] - 1);
}

static const char *minutes(const memsess_status_t *status, unsigned figure, minute_fn *told,
                           apr_pool_t *p)
{
    apr_array_header_t *texts = apr_array_make(p, MEMSESS_MINUTES, sizeof(const char *));
    unsigned i;

    for (i = 1; i < status->n_minutes; i++) {
        APR_ARRAY_PUSH(texts, const char *) = told(&status->minutes[i], figure, p);
    }
    return apr_pstrcat(p, "[", apr_array_pstrcat(p, texts, ','), "]", NULL);
}

static const char *rises(const memsess_status_t *status, unsigned figure, apr_pool_t *p)
{
    return minutes(status, figure, risen, p);
}

static void json_rates(request_rec *r, const memsess_status_t *status)
{
    const memsess_moment_t *from = &status->before;

    ap_rprintf(r, ",\n \"rates\": {\"seconds\": %.3f, \"operations\": %s, \"errors\": %s,\n ",
               from->at ? (double)(status->at.at - from->at) / 1e6 : 0.0,
               rate(status, MEMSESS_H_OPERATIONS, r->pool), rate(status, MEMSESS_H_ERRORS, r->pool));
    json_groups(r, status, rate, "");
    ap_rputs("}", r);
}

static void json_history(request_rec *r, const memsess_status_t *status)
{
    apr_pool_t *p = r->pool;
    unsigned i;

    ap_rputs(",\n \"history\": {\"at\": [", r);
    for (i = 1; i < status->n_minutes; i++) {
        ap_rprintf(r, "%s\"%s\"", i > 1 ? "," : "",
                   memsess_status_time(memsess_clock_shown(status->minutes[i].at), p));
    }
    ap_rputs("],\n \"seconds\": [", r);
    for (i = 1; i < status->n_minutes; i++) {
        ap_rprintf(r, "%s%.1f", i > 1 ? "," : "",
                   (double)(status->minutes[i].at - status->minutes[i - 1].at) / 1e6);
    }
    ap_rprintf(r, "],\n \"alive_estimate\": %s,\n \"servers_up\": %s,\n \"servers_down\": %s,\n "
               "\"operations\": %s,\n \"errors\": %s,\n ",
               minutes(status, MEMSESS_H_ALIVE, estimate, p),
               minutes(status, MEMSESS_H_UP, level, p), minutes(status, MEMSESS_H_DOWN, level, p),
               rises(status, MEMSESS_H_OPERATIONS, p), rises(status, MEMSESS_H_ERRORS, p));
    json_groups(r, status, rises, "");
    ap_rputs("}", r);
}

static void json_verdict(request_rec *r, const memsess_verdict_t *verdict)
{
    ap_rprintf(r, ",\n \"verdict\": {\"is\": \"%s\", \"text\": %s}",
               verdict->is_bad ? "bad" : verdict->is_warned ? "warned" : "good",
               memsess_json_string(verdict->text, r->pool));
}

static void json_alive(request_rec *r, const memsess_status_t *status)
{
    const memsess_alive_t *alive = &status->alive;

    ap_rprintf(r, ",\n \"alive_estimate\": {\"sessions\": %s, \"items\": %" APR_INT64_T_FMT
               ", \"servers\": %u, \"silent_servers\": %u}",
               alive->sessions < 0 ? "null" : apr_psprintf(r->pool, "%" APR_INT64_T_FMT,
                                                           alive->sessions),
               alive->items, alive->servers, alive->silent);
}

static void json_settings(request_rec *r, const apr_array_header_t *settings)
{
    int i;

    ap_rputs("{", r);
    for (i = 0; i < settings->nelts; i++) {
        const memsess_setting_t *setting = &APR_ARRAY_IDX(settings, i, memsess_setting_t);

        ap_rprintf(r, "%s\"%s\": %s", i ? ", " : "", setting->directive,
                   memsess_json_string(setting->value, r->pool));
    }
    ap_rputs("}", r);
}

static void json_host(request_rec *r, const memsess_host_t *host)
{
    int i;

    ap_rprintf(r, "{\"name\": %s, \"port\": %u, \"namespace\": %s, \"copies\": %u, "
               "\"signed\": %s, \"sealed\": %s, \"servers\": [",
               *host->name ? memsess_json_string(host->name, r->pool) : "null", host->port,
               memsess_json_string(host->ns, r->pool), host->copies,
               host->is_signed ? "true" : "false", host->is_sealed ? "true" : "false");
    for (i = 0; i < host->servers->nelts; i++) {
        ap_rprintf(r, "%s%s", i ? ", " : "",
                   memsess_json_string(APR_ARRAY_IDX(host->servers, i, const char *), r->pool));
    }
    ap_rputs("],\n  \"settings\": ", r);
    json_settings(r, host->settings);
    ap_rputs(",\n  \"sections\": [", r);
    for (i = 0; i < host->sections->nelts; i++) {
        const memsess_section_t *section = &APR_ARRAY_IDX(host->sections, i, memsess_section_t);

        ap_rprintf(r, "%s{\"section\": %s, \"settings\": ", i ? ", " : "",
                   memsess_json_string(section->name, r->pool));
        json_settings(r, section->settings);
        ap_rputs("}", r);
    }
    ap_rputs("]}", r);
}

static void json_hosts(request_rec *r, const memsess_status_t *status)
{
    int i;

    ap_rputs(",\n \"hosts\": [", r);
    for (i = 0; i < status->hosts->nelts; i++) {
        ap_rputs(i ? ",\n  " : "", r);
        json_host(r, &APR_ARRAY_IDX(status->hosts, i, memsess_host_t));
    }
    ap_rputs("]", r);
}

static void json_members(request_rec *r, const memsess_status_t *status)
{
    apr_pool_t *p = r->pool;
    int i;

    ap_rputs(",\n \"members\": [", r);
    for (i = 0; i < status->members->nelts; i++) {
        const memsess_fellow_t *fellow = &APR_ARRAY_IDX(status->members, i, memsess_fellow_t);

        ap_rprintf(r, "%s{\"name\": %s, \"version\": %s, \"is_this\": %s, \"seen_s_ago\": %"
                   APR_INT64_T_FMT ", \"clock_ahead_s\": %s, \"same_pool\": %s}",
                   i ? ",\n  " : "", memsess_json_string(fellow->name, p),
                   *fellow->version ? memsess_json_string(fellow->version, p) : "null",
                   fellow->is_self ? "true" : "false",
                   apr_time_sec(status->at.at - fellow->seen_at),
                   fellow->knows_ahead ? apr_psprintf(p, "%" APR_INT64_T_FMT, fellow->ahead)
                                       : "null",
                   fellow->differs ? "false" : "true");
    }
    ap_rputs("]", r);
}

static void json_warnings(request_rec *r, const memsess_status_t *status)
{
    int i;

    ap_rputs(",\n \"warnings\": [", r);
    for (i = 0; i < status->warnings->nelts; i++) {
        ap_rprintf(r, "%s%s", i ? ", " : "",
                   memsess_json_string(APR_ARRAY_IDX(status->warnings, i, memsess_advice_t).text,
                                       r->pool));
    }
    ap_rputs("]", r);
}

void memsess_status_json(request_rec *r, const memsess_status_t *status)
{
    int i;

    ap_set_content_type(r, "application/json");
    ap_rprintf(r, "{\"module\": \"mod_memsess\", \"version\": \"" MEMSESS_VERSION "\", "
               "\"uptime_s\": %" APR_INT64_T_FMT ",\n \"servers\": [",
               apr_time_sec(status->now - status->since));
    for (i = 0; i < status->servers->nelts; i++) {
        ap_rputs(i ? ",\n             " : "", r);
        json_server(r, &APR_ARRAY_IDX(status->servers, i, memsess_shown_t));
    }
    ap_rputs("]", r);
    json_groups(r, status, total, ",\n ");
    json_verdict(r, &status->verdict);
    json_alive(r, status);
    json_rates(r, status);
    json_history(r, status);
    json_members(r, status);
    json_hosts(r, status);
    json_warnings(r, status);
    ap_rputs("}\n", r);
}
