/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/status.h"

#include <string.h>

#include "apr_lib.h"
#include "apr_strings.h"
#include "base/clock.h"
#include "base/roster.h"
#include "http/json.h"
#include "http_core.h"
#include "http_main.h"
#include "http_protocol.h"
#include "http_request.h"
#include "mod_status.h"

#define HANDLER "memsess-status"

/* -- Figures ---------------------------------------------------------------------------------- */

/* A server that no directive names is shown if it is used, or if implied is set. */
static void take_servers(memsess_status_t *status, int implied, apr_pool_t *p)
{
    const memsess_counted_t *server;
    int i;

    for (i = 0; (server = memsess_count_listed(i)); i++) {
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

    status->now = memsess_clock_wall();
    status->since = memsess_count_since();
    memsess_count_now(&status->at);
    if (!memsess_count_minute(&status->at, &status->before)) {
        status->before.at = 0;
    }
    status->minutes = apr_palloc(p, MEMSESS_MINUTES * sizeof(*status->minutes));
    status->n_minutes = memsess_history_hour(memsess_count_history(), status->at.at,
                                             status->minutes);
    status->alive = memsess_count_alive();
    status->servers = apr_array_make(p, 4, sizeof(memsess_shown_t));
    status->warnings = memsess_warnings(p);
    status->hosts = memsess_status_hosts(ap_server_conf, p);
    status->members = memsess_roster_read(memsess_count_roster(), status->at.at, p);
    take_servers(status, 0, p);
    if (!status->servers->nelts) {
        take_servers(status, 1, p);
    }
    status->verdict = memsess_status_verdict(status, p);
    return status;
}

/* -- mod_status ------------------------------------------------------------------------------- */

/* A counter's name as one word, as in MemSessLocksTimeouts. */
static const char *short_name(const memsess_counter_name_t *name, apr_pool_t *p)
{
    char *word = apr_pstrcat(p, "_", strcmp(name->group, "sessions") ? name->group : "", "_",
                             name->figure, NULL), *from = word, *to = word;

    for (; *from; from++) {
        if (*from != '_') {
            *to++ = (char)(from[-1] == '_' ? apr_toupper(*from) : *from);
        }
    }
    *to = '\0';
    return word;
}

static void hook_short(request_rec *r, const memsess_status_t *status)
{
    int i, down = memsess_status_down(status);

    ap_rprintf(r, "MemSessServersUp: %d\nMemSessServersDown: %d\n", status->servers->nelts - down,
               down);
    for (i = 0; i < MEMSESS_N; i++) {
        ap_rprintf(r, "MemSess%s: %" APR_UINT64_T_FMT "\n",
                   short_name(&memsess_counter_names[i], r->pool), status->at.value[i]);
    }
}

static const char *hook_says(const memsess_server_figures_t *f, apr_pool_t *p)
{
    const apr_int64_t *says = f->says;

    return says[MEMSESS_SAYS_LIMIT] < 0 || says[MEMSESS_SAYS_EVICTIONS] < 0 ? ""
           : apr_psprintf(p, ", %" APR_INT64_T_FMT " of %" APR_INT64_T_FMT " bytes, %"
                          APR_INT64_T_FMT " evictions", says[MEMSESS_SAYS_MEMORY],
                          says[MEMSESS_SAYS_LIMIT], says[MEMSESS_SAYS_EVICTIONS]);
}

static void hook_html(request_rec *r, const memsess_status_t *status)
{
    int i;

    ap_rputs("<hr />\n<h2>mod_memsess</h2>\n<dl>\n", r);
    for (i = 0; i < status->servers->nelts; i++) {
        const memsess_shown_t *shown = &APR_ARRAY_IDX(status->servers, i, memsess_shown_t);
        const memsess_server_figures_t *f = &shown->figures;

        ap_rprintf(r, "<dt>Server %s is %s since %s: %" APR_UINT64_T_FMT " operations, %"
                   APR_UINT64_T_FMT " errors, p50 %" APR_INT64_T_FMT " us, p99 %" APR_INT64_T_FMT
                   " us%s</dt>\n", ap_escape_html(r->pool, shown->server->name),
                   f->down ? "<b>down</b>" : "up", memsess_status_time(f->since, r->pool),
                   f->all.n, f->errors, memsess_status_latency(f, 0.5),
                   memsess_status_latency(f, 0.99), hook_says(f, r->pool));
    }
    ap_rputs("<dt>Sessions:", r);
    for (i = 0; i < MEMSESS_N; i++) {
        if (!strcmp(memsess_counter_names[i].group, "sessions")) {
            ap_rprintf(r, "%s %s %" APR_UINT64_T_FMT, i ? "," : "",
                       memsess_counter_names[i].figure, status->at.value[i]);
        }
    }
    ap_rputs("</dt>\n</dl>\n", r);
}

int memsess_status_hook(request_rec *r, int flags)
{
    const memsess_status_t *status = take_figures(r->pool);

    if (flags & AP_STATUS_SHORT) {
        hook_short(r, status);
    }
    else {
        hook_html(r, status);
    }
    return OK;
}

/* -- Requests --------------------------------------------------------------------------------- */

typedef struct format_t {
    const char *name;
    void (*send)(request_rec *r, const memsess_status_t *status);
} format_t;

/* The first format is the default. */
static const format_t formats[] = {
    {"html", memsess_page_send},
    {"json", memsess_status_json},
    {"prometheus", memsess_status_prometheus},
};

#define FORMATS (sizeof(formats) / sizeof(formats[0]))

/* The value of the last format= in the query. */
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
    ap_rprintf(r, "unknown format %s: use", memsess_json_string(asked, r->pool));
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
    ap_allow_standard_methods(r, REPLACE_ALLOW, M_GET, -1);
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
