/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/status.h"

#include <string.h>

#include "apr_lib.h"
#include "apr_strings.h"
#include "base/clock.h"
#include "base/version.h"
#include "http/json.h"
#include "http_core.h"
#include "http_protocol.h"
#include "http_request.h"
#include "mod_status.h"

#define HANDLER "memsess-status"

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

    status->now = memsess_clock_wall();
    status->since = memsess_count_since();
    status->servers = apr_array_make(p, 4, sizeof(memsess_shown_t));
    status->warnings = memsess_count_warnings(p);
    memsess_count_read(status->figure);
    take_servers(status, 0, p);
    if (!status->servers->nelts) {
        take_servers(status, 1, p);
    }
    return status;
}

/* -- JSON ------------------------------------------------------------------------------------- */

/* What a server says of itself. */
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
               APR_INT64_T_FMT ", \"p99\": %" APR_INT64_T_FMT "}, ",
               memsess_json_string(shown->server->name, r->pool),
               memsess_json_string(shown->server->address, r->pool), f->down ? "down" : "up",
               memsess_status_time(f->since, r->pool), shown->server->weight, f->all.n, f->errors,
               f->timeouts, memsess_status_latency(f, 0.5), memsess_status_latency(f, 0.99));
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

static void json_counters(request_rec *r, const memsess_status_t *status)
{
    int i;

    for (i = 0; i < MEMSESS_N; i++) {
        const memsess_counter_name_t *name = &memsess_counter_names[i];

        if (memsess_counter_begins_group(i)) {
            ap_rprintf(r, "%s,\n \"%s\": {", i ? "}" : "", name->group);
        }
        else {
            ap_rputs(", ", r);
        }
        ap_rprintf(r, "\"%s\": %" APR_UINT64_T_FMT, name->figure, status->figure[i]);
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
    ap_rputs(",\n \"warnings\": [", r);
    for (i = 0; i < status->warnings->nelts; i++) {
        ap_rprintf(r, "%s%s", i ? ", " : "",
                   memsess_json_string(APR_ARRAY_IDX(status->warnings, i, memsess_advice_t).text,
                                       r->pool));
    }
    ap_rputs("]}\n", r);
}

/* -- Prometheus's text format ----------------------------------------------------------------- */

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
        {"memsess_server_since_timestamp_seconds", "gauge", "When that began"},
        {"memsess_server_weight", "gauge", "Its share of the sessions"},
        {"memsess_server_operations_total", "counter", "What the server was asked"},
        {"memsess_server_errors_total", "counter", "Operations that failed or were refused"},
        {"memsess_server_timeouts_total", "counter", "Of these, because MemSessTimeout was over"},
    };
    int i;

    family(r, families[which][0], families[which][1], families[which][2]);
    for (i = 0; i < status->servers->nelts; i++) {
        const memsess_shown_t *shown = &APR_ARRAY_IDX(status->servers, i, memsess_shown_t);

        ap_rprintf(r, "%s{%s} %" APR_UINT64_T_FMT "\n", families[which][0],
                   labels(shown->server, r->pool), server_figure(shown, which));
    }
}

/* What servers say of themselves; no sample of one that does not. */
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

/* One for each kind, so that what is not there is seen to be so. */
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

static void send_prometheus(request_rec *r, const memsess_status_t *status)
{
    int i;

    ap_set_content_type(r, "text/plain; version=0.0.4; charset=utf-8");
    family(r, "memsess_info", "gauge", "Always 1; the label has the module's version");
    ap_rputs("memsess_info{version=\"" MEMSESS_VERSION "\"} 1\n", r);
    family(r, "memsess_uptime_seconds", "gauge", "For how long it has been counting");
    ap_rprintf(r, "memsess_uptime_seconds %" APR_INT64_T_FMT "\n",
               apr_time_sec(status->now - status->since));
    send_warnings(r, status);
    for (i = 0; i < MEMSESS_N; i++) {
        const memsess_counter_name_t *counter = &memsess_counter_names[i];
        const char *name = apr_pstrcat(r->pool, "memsess_", counter->group, "_", counter->figure,
                                       "_total", NULL);

        family(r, name, "counter", counter->meaning);
        ap_rprintf(r, "%s %" APR_UINT64_T_FMT "\n", name, status->figure[i]);
    }
    for (i = SERVER_UP; i <= SERVER_TIMEOUTS; i++) {
        send_server_family(r, status, i);
    }
    for (i = 0; i < MEMSESS_SAYS_N; i++) {
        send_says_family(r, status, i);
    }
    family(r, "memsess_server_latency_seconds", "histogram", "How long operations took");
    for (i = 0; i < status->servers->nelts; i++) {
        send_histogram(r, &APR_ARRAY_IDX(status->servers, i, memsess_shown_t));
    }
}

/* -- mod_status ------------------------------------------------------------------------------- */

/* One word, as in MemSessLocksTimeouts. */
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
    int i, down = 0;

    for (i = 0; i < status->servers->nelts; i++) {
        down += APR_ARRAY_IDX(status->servers, i, memsess_shown_t).figures.down;
    }
    ap_rprintf(r, "MemSessServersUp: %d\nMemSessServersDown: %d\n", status->servers->nelts - down,
               down);
    for (i = 0; i < MEMSESS_N; i++) {
        ap_rprintf(r, "MemSess%s: %" APR_UINT64_T_FMT "\n",
                   short_name(&memsess_counter_names[i], r->pool), status->figure[i]);
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
                       memsess_counter_names[i].figure, status->figure[i]);
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

/* The first is the default. */
static const format_t formats[] = {
    {"html", memsess_page_send}, {"json", send_json}, {"prometheus", send_prometheus},
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
