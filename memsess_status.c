/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "memsess_status.h"

#include <string.h>

#include "apr_lib.h"
#include "apr_strings.h"
#include "http_core.h"
#include "http_protocol.h"

#define HANDLER "memsess-status"

const memsess_counter_name_t memsess_counter_names[MEMSESS_N] = {
#define COUNTER_NAME(name, group, figure, meaning) {#group, #figure, meaning},
    MEMSESS_COUNTERS(COUNTER_NAME)
#undef COUNTER_NAME
};

/* -- Figures ---------------------------------------------------------------------------------- */

/* What nobody named is shown if it is used, or if there is nothing else. */
static void take_servers(memsess_status_t *status, int implied, apr_pool_t *p)
{
    const apr_array_header_t *listed = memsess_count_listed();
    int i;

    for (i = 0; i < listed->nelts; i++) {
        const memsess_counted_t *server = &APR_ARRAY_IDX(listed, i, memsess_counted_t);
        memsess_server_figures_t *figures = apr_palloc(p, sizeof(*figures));

        memsess_count_read_server(server->count, figures);
        if (!server->implied || implied || figures->all.n) {
            memsess_shown_t *shown = apr_array_push(status->servers);

            shown->server = server;
            shown->figures = *figures;
        }
    }
}

static memsess_status_t *take_figures(apr_pool_t *p)
{
    memsess_status_t *status = apr_pcalloc(p, sizeof(*status));

    status->now = apr_time_now();
    status->since = memsess_count_since();
    status->servers = apr_array_make(p, 4, sizeof(memsess_shown_t));
    memsess_count_read(status->figure);
    take_servers(status, 0, p);
    if (!status->servers->nelts) {
        take_servers(status, 1, p);
    }
    return status;
}

apr_interval_time_t memsess_status_latency(const memsess_server_figures_t *figures, double share)
{
    return memsess_percentile(figures->recent.n ? &figures->recent : &figures->all, share);
}

const char *memsess_status_error(const memsess_server_figures_t *figures, apr_pool_t *p)
{
    char text[120];

    return apr_pstrdup(p, apr_strerror(figures->last_error, text, sizeof(text)));
}

const char *memsess_status_time(apr_time_t t, apr_pool_t *p)
{
    apr_time_exp_t at;

    apr_time_exp_gmt(&at, t);
    return apr_psprintf(p, "%d-%02d-%02dT%02d:%02d:%02dZ", at.tm_year + 1900, at.tm_mon + 1,
                        at.tm_mday, at.tm_hour, at.tm_min, at.tm_sec);
}

/* -- JSON ------------------------------------------------------------------------------------- */

static const char *json_string(const char *text, apr_pool_t *p)
{
    char *quoted = apr_palloc(p, 6 * strlen(text) + 3), *to = quoted;
    const unsigned char *c;

    *to++ = '"';
    for (c = (const unsigned char *)text; *c; c++) {
        if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\') {
            to += apr_snprintf(to, 7, "\\u%04x", *c);
        }
        else {
            *to++ = (char)*c;
        }
    }
    *to++ = '"';
    *to = '\0';
    return quoted;
}

static void json_server(request_rec *r, const memsess_shown_t *shown)
{
    const memsess_server_figures_t *f = &shown->figures;

    ap_rprintf(r, "{\"name\": %s, \"address\": %s, \"state\": \"%s\", \"since\": \"%s\", "
               "\"weight\": %u, \"operations\": %" APR_UINT64_T_FMT ", \"errors\": %"
               APR_UINT64_T_FMT ", \"timeouts\": %" APR_UINT64_T_FMT ", \"latency_us\": {\"p50\": %"
               APR_INT64_T_FMT ", \"p99\": %" APR_INT64_T_FMT "}, \"last_error\": ",
               json_string(shown->server->name, r->pool),
               json_string(shown->server->address, r->pool), f->down ? "down" : "up",
               memsess_status_time(f->since, r->pool), shown->server->weight, f->all.n, f->errors,
               f->timeouts, memsess_status_latency(f, 0.5), memsess_status_latency(f, 0.99));
    if (f->last_error_at) {
        ap_rprintf(r, "{\"at\": \"%s\", \"text\": %s}}",
                   memsess_status_time(f->last_error_at, r->pool),
                   json_string(memsess_status_error(f, r->pool), r->pool));
    }
    else {
        ap_rputs("null}", r);
    }
}

static void json_counters(request_rec *r, const memsess_status_t *status)
{
    const char *group = "";
    int i;

    for (i = 0; i < MEMSESS_N; i++) {
        const memsess_counter_name_t *name = &memsess_counter_names[i];

        if (strcmp(name->group, group)) {
            ap_rprintf(r, "%s,\n \"%s\": {", i ? "}" : "", name->group);
        }
        else {
            ap_rputs(", ", r);
        }
        ap_rprintf(r, "\"%s\": %" APR_UINT64_T_FMT, name->figure, status->figure[i]);
        group = name->group;
    }
    ap_rputs("}", r);
}

static void send_json(request_rec *r, const memsess_status_t *status)
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
    json_counters(r, status);
    ap_rputs("}\n", r);
}

/* -- Requests --------------------------------------------------------------------------------- */

typedef struct format_t {
    const char *name;
    void (*send)(request_rec *r, const memsess_status_t *status);
} format_t;

static const format_t formats[] = {{"json", send_json}};

#define FORMATS (sizeof(formats) / sizeof(formats[0]))

/* The value of the last format= in the query, or "html". */
static const char *format_asked(request_rec *r)
{
    const char *asked = formats[0].name;
    char *state, *item;

    for (item = apr_strtok(apr_pstrdup(r->pool, r->args ? r->args : ""), "&", &state); item;
         item = apr_strtok(NULL, "&", &state)) {
        if (!strncmp(item, "format=", 7)) {
            asked = item + 7;
        }
    }
    return asked;
}

static int unknown_format(request_rec *r, const char *asked)
{
    unsigned i;

    r->status = HTTP_BAD_REQUEST;
    ap_set_content_type(r, "text/plain; charset=us-ascii");
    ap_rprintf(r, "unknown format %s: use", json_string(asked, r->pool));
    for (i = 0; i < FORMATS; i++) {
        ap_rprintf(r, "%s format=%s", i ? i + 1 < FORMATS ? "," : " or" : "", formats[i].name);
    }
    ap_rputs("\n", r);
    return OK;
}

int memsess_status_handler(request_rec *r)
{
    const char *asked;
    unsigned i;

    if (!r->handler || strcmp(r->handler, HANDLER)) {
        return DECLINED;
    }
    r->allowed |= AP_METHOD_BIT << M_GET;
    if (r->method_number != M_GET) {
        return HTTP_METHOD_NOT_ALLOWED;
    }
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    asked = format_asked(r);
    for (i = 0; i < FORMATS; i++) {
        if (!strcmp(formats[i].name, asked)) {
            memsess_count_watched();
            formats[i].send(r, take_figures(r->pool));
            return OK;
        }
    }
    return unknown_format(r, asked);
}

int memsess_status_is_here(request_rec *r)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);
    const char *error, *handler = core->handler;

    if (core->expr_handler) {
        handler = ap_expr_str_exec(r, core->expr_handler, &error);
    }
    return handler && !strcasecmp(handler, HANDLER);
}
