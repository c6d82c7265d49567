/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The status for people: one HTML page without script, images or anything else from elsewhere. */

#include "http/status.h"

#include <string.h>

#include "apr_encode.h"
#include "apr_general.h"
#include "apr_strings.h"
#include "base/roster.h"
#include "base/version.h"
#include "http/chart.h"
#include "http_protocol.h"
#include "memsess_conf.h"

#define REFRESH 5 /* seconds */

static const char style[] =
    ":root{--back:#f6f7f9;--card:#fff;--text:#1b1f24;--soft:#57606a;--line:#d4d9df;--good:#1a7f37;"
    "--bad:#cf222e;--load:#9bbfe8;--slow:#b35900}"
    "@media(prefers-color-scheme:dark){:root{--back:#14181d;--card:#1d232a;--text:#e6e9ec;"
    "--soft:#a3adb8;--line:#39424c;--good:#4ac26b;--bad:#ff7b72;--load:#3d6694;--slow:#f0a04b}}"
    "*{box-sizing:border-box}"
    "body{margin:0 auto;max-width:76rem;padding:1rem;background:var(--back);color:var(--text);"
    "font:1rem/1.45 system-ui,sans-serif;overflow-wrap:anywhere}"
    "h1{font-size:1.35rem;margin:0}h2{font-size:1.1rem;margin:0}h3{font-size:1rem;margin:0 0 .3rem}"
    "p{margin:.3rem 0}.soft{color:var(--soft);font-size:.875rem}"
    ".verdict{font-size:1.15rem;font-weight:600}.good{color:var(--good)}.bad{color:var(--bad)}"
    ".cards{display:grid;gap:.75rem;margin:1rem 0;align-items:start;"
    "grid-template-columns:repeat(auto-fill,minmax(min(100%,22rem),1fr))}"
    ".columns{columns:22rem;column-gap:.75rem}.columns>*{break-inside:avoid;margin:0 0 .75rem}"
    ".cards>*,.columns>*{background:var(--card);border:1px solid var(--line);border-radius:.4rem;"
    "padding:.75rem;border-top:.25rem solid var(--line);min-width:0}"
    ".cards>.is-up{border-top-color:var(--good)}"
    ".cards>.is-down{border-color:var(--bad);border-top-color:var(--bad)}"
    "ul{margin:.5rem 0;padding:.6rem .75rem .6rem 2rem;background:var(--card);"
    "border:1px solid var(--slow);border-radius:.4rem}li::first-letter{text-transform:uppercase}"
    "svg{display:block;width:100%;height:4.5rem;margin:.5rem 0 .2rem;"
    "border-bottom:1px solid var(--line)}"
    ".load{fill:var(--load)}.errors{fill:var(--bad)}"
    ".slow{fill:none;stroke:var(--slow);stroke-width:1.5;vector-effect:non-scaling-stroke}"
    ".spark{width:4.5rem;height:1.2rem;margin:.2rem 0 0 auto;border:0}"
    ".spark path{fill:none;stroke:var(--soft);stroke-width:1.5;"
    "vector-effect:non-scaling-stroke}.spark-bad path{stroke:var(--bad)}"
    ".warned{color:var(--slow)}"
    ".conf{font:.8rem/1.5 ui-monospace,monospace;margin:.5rem 0 0}.conf b{font-weight:700}"
    ".key{font-weight:700}.key-load{color:var(--load)}.key-slow{color:var(--slow)}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;vertical-align:top;padding:.15rem 0;font-weight:400}th{width:100%}"
    "td{text-align:right;padding-left:.75rem;white-space:nowrap;font-variant-numeric:tabular-nums}"
    "tr+tr>*{border-top:1px solid var(--line)}";

/* -- Words ------------------------------------------------------------------------------------ */

/* A moment in UTC, without the day if it is today. */
static const char *moment(apr_time_t t, apr_time_t now, apr_pool_t *p)
{
    const char *text = memsess_status_time(t, p), *today = memsess_status_time(now, p);

    return strncmp(text, today, 10) ? apr_psprintf(p, "%.10s %.5s", text, text + 11)
                                    : apr_psprintf(p, "%.8s", text + 11);
}

static const char *escaped(const char *text, apr_pool_t *p)
{
    return ap_escape_html2(p, text, 1);
}

/* -- Servers ---------------------------------------------------------------------------------- */

/* How long an error is news. */
#define NEWS apr_time_from_sec(300)

static void send_row(request_rec *r, const char *name, const char *value, int bad)
{
    ap_rprintf(r, "<tr><th scope=\"row\">%s</th><td%s>%s</td></tr>\n", name,
               bad ? " class=\"bad\"" : "", value);
}

static const char *bytes(apr_int64_t n, apr_pool_t *p)
{
    char text[5];

    return n < 0 ? "?" : apr_pstrdup(p, apr_strfsize(n, text));
}

/* A part of a whole in percent; the whole may be 0. */
static const char *percent(apr_int64_t part, apr_int64_t whole, apr_pool_t *p)
{
    return whole > 0 ? apr_psprintf(p, "%.*f %%", part * 1000 < whole * 999 && part ? 1 : 0,
                                    100.0 * (double)part / (double)whole) : "?";
}

/* What a server says about itself, as far as it does. */
static void send_says(request_rec *r, const memsess_shown_t *shown)
{
    const apr_int64_t *says = shown->figures.says;
    apr_int64_t memory = says[MEMSESS_SAYS_MEMORY], limit = says[MEMSESS_SAYS_LIMIT];
    apr_int64_t hits = says[MEMSESS_SAYS_HITS], misses = says[MEMSESS_SAYS_MISSES];
    apr_pool_t *p = r->pool;

    if (memory >= 0) {
        send_row(r, "memory", apr_psprintf(p, "%s of %s", bytes(memory, p), bytes(limit, p)), 0);
        send_row(r, "memory in use", percent(memory, limit, p), 0);
    }
    if (says[MEMSESS_SAYS_ITEMS] >= 0) {
        send_row(r, "items", memsess_status_number((apr_uint64_t)says[MEMSESS_SAYS_ITEMS], p), 0);
    }
    if (says[MEMSESS_SAYS_EVICTIONS] >= 0) {
        send_row(r, "evictions",
                 memsess_status_number((apr_uint64_t)says[MEMSESS_SAYS_EVICTIONS], p),
                 memsess_count_evicting(shown->server->count, "", p) != NULL);
    }
    if (hits >= 0 && misses >= 0 && hits + misses > 0) {
        send_row(r, "reads that found something", percent(hits, hits + misses, p), 0);
    }
    if (says[MEMSESS_SAYS_UPTIME] >= 0) {
        send_row(r, "running for",
                 memsess_status_duration(apr_time_from_sec(says[MEMSESS_SAYS_UPTIME]), p), 0);
    }
}

static void send_server_table(request_rec *r, const memsess_shown_t *shown, apr_time_t now)
{
    const memsess_server_figures_t *f = &shown->figures;
    int is_news = f->down || (f->last_error_at && now - f->last_error_at < NEWS);
    apr_pool_t *p = r->pool;

    ap_rputs("<table>\n", r);
    send_row(r, "latency, p50", memsess_status_took(memsess_status_latency(f, 0.5), p), 0);
    send_row(r, "latency, p99", memsess_status_took(memsess_status_latency(f, 0.99), p), 0);
    send_row(r, "copies are asked for", memsess_status_asked(f), 0);
    send_row(r, "operations", memsess_status_number(f->all.n, p), 0);
    send_row(r, "errors", memsess_status_number(f->errors, p), f->errors && is_news);
    send_row(r, "of these, time-outs", memsess_status_number(f->timeouts, p),
             f->timeouts && is_news);
    send_row(r, "weight", memsess_status_number(shown->server->weight, p), 0);
    send_says(r, shown);
    ap_rputs("</table>\n", r);
}

static void send_server(request_rec *r, const memsess_shown_t *shown, apr_time_t now)
{
    const memsess_server_figures_t *f = &shown->figures;
    const char *state = f->down ? "down" : "up";
    apr_pool_t *p = r->pool;

    ap_rprintf(r, "<article class=\"is-%s\"><h2>%s <span class=\"%s\">%s</span></h2>\n"
               "<p class=\"soft\">%s for %s, since %s", state, escaped(shown->server->name, p),
               f->down ? "bad" : "good", state, state, memsess_status_duration(now - f->since, p),
               moment(f->since, now, p));
    if (strcmp(shown->server->name, shown->server->address)) {
        ap_rprintf(r, "; at %s", escaped(shown->server->address, p));
    }
    ap_rputs("</p>\n", r);
    memsess_chart_send(r, f, now);
    send_server_table(r, shown, now);
    if (f->last_error_at) {
        ap_rprintf(r, "<p class=\"soft\">Last error %s ago: %s</p>\n",
                   memsess_status_duration(now - f->last_error_at, p),
                   escaped(memsess_status_error(shown, p), p));
    }
    ap_rputs("</article>\n", r);
}

/* -- Counters, rates and the last hour ---------------------------------------------------------- */

/* A figure's name in words: under_replicated is under-replicated. */
static const char *figure_words(const char *figure, apr_pool_t *p)
{
    char *words = apr_pstrdup(p, figure), *c;

    for (c = words; (c = strchr(c, '_'));) {
        *c = '-';
    }
    return words;
}

static void send_name(request_rec *r, const char *name, const char *meaning)
{
    ap_rprintf(r, "<tr><th scope=\"row\">%s<br><span class=\"soft\">%s</span></th><td>", name,
               meaning);
}

/* A figure's last hour, how often it happens each second, and its total. */
static void send_figure(request_rec *r, const memsess_status_t *status, unsigned figure,
                        const char *name, const char *meaning, int is_bad)
{
    double rate = status->before.at
                      ? memsess_history_rate(&status->before, &status->at, figure) : 0;
    int is_red = is_bad && rate > 0;

    send_name(r, name, meaning);
    memsess_chart_spark(r, status, figure, name, is_bad);
    ap_rprintf(r, "<span class=\"%s\">%s</span></td><td%s>%s</td></tr>\n", is_red ? "bad" : "soft",
               !status->before.at ? "?"
               : apr_psprintf(r->pool, "%.*f/s", rate > 0 && rate < 10 ? rate < 0.1 ? 2 : 1 : 0,
                              rate),
               is_red ? " class=\"bad\"" : "",
               memsess_status_number(status->at.value[figure], r->pool));
}

/* What the estimate is based on, and so what it cannot know. */
static void send_basis(request_rec *r, const memsess_alive_t *alive)
{
    ap_rprintf(r, "<p class=\"soft\">Sessions alive is an estimate: the items of %u server%s, %s, "
               "divided by the number of copies. Claims of the last seconds, lists of users, ended "
               "sessions that a server still has, and everything else that is there count, too.",
               alive->servers,
               alive->servers == 1 ? "" : "s",
               memsess_status_number((apr_uint64_t)alive->items, r->pool));
    if (alive->silent) {
        ap_rprintf(r, " <span class=\"bad\">%u server%s not say.</span>", alive->silent,
                   alive->silent == 1 ? " does" : "s do");
    }
    ap_rputs("</p>\n", r);
}

static void send_alive(request_rec *r, const memsess_status_t *status)
{
    const memsess_alive_t *alive = &status->alive;

    send_name(r, "sessions alive", "Estimated from what the servers report");
    memsess_chart_spark(r, status, MEMSESS_H_ALIVE, "sessions alive", 0);
    ap_rprintf(r, "</td><td>%s</td></tr>\n", alive->sessions < 0 ? "?" : apr_pstrcat(
                   r->pool, "about ",
                   memsess_status_number((apr_uint64_t)alive->sessions, r->pool), NULL));
}

static void send_now(request_rec *r, const memsess_status_t *status)
{
    const memsess_moment_t *at = &status->at, *before = &status->before;
    apr_uint64_t hits = memsess_history_rise(before, at, MEMSESS_N_CACHE_HITS);
    apr_uint64_t all = hits + memsess_history_rise(before, at, MEMSESS_N_CACHE_MISSES);

    ap_rputs("<section><h3>Now, and the last hour</h3><table>\n", r);
    send_alive(r, status);
    send_figure(r, status, MEMSESS_H_OPERATIONS, "operations", "Operations that servers were asked "
                "for", 0);
    send_figure(r, status, MEMSESS_H_ERRORS, "errors", "Of these, refused or failed", 1);
    if (before->at && all) {
        send_row(r, "local cache, hits within the last minute",
                 percent((apr_int64_t)hits, (apr_int64_t)all, r->pool), 0);
    }
    ap_rputs("</table>\n", r);
    send_basis(r, &status->alive);
    ap_rputs("</section>\n", r);
}

static void send_counters(request_rec *r, const memsess_status_t *status)
{
    unsigned i;

    for (i = 0; i < MEMSESS_N; i++) {
        const memsess_counter_name_t *name = &memsess_counter_names[i];

        if (memsess_counter_begins_group((int)i)) {
            ap_rprintf(r, "%s<section><h3>%s</h3><table>\n", i ? "</table></section>\n" : "",
                       name->title);
        }
        send_figure(r, status, i, figure_words(name->figure, r->pool), name->meaning, name->is_bad);
    }
    ap_rputs("</table></section>\n", r);
}

/* -- Members ----------------------------------------------------------------------------------- */

static void send_member(request_rec *r, const memsess_status_t *status,
                        const memsess_fellow_t *fellow)
{
    apr_pool_t *p = r->pool;
    const char *version = *fellow->version ? escaped(fellow->version, p) : "not told";
    const char *apart = memsess_fellow_apart(fellow, p);

    ap_rprintf(r, "<tr><th scope=\"row\">%s<br><span class=\"soft\">version %s</span>",
               escaped(fellow->name, p), version);
    if (fellow->differs) {
        ap_rputs("<br><span class=\"bad\">it has a different pool</span>", r);
    }
    if (apart) {
        ap_rprintf(r, "<br><span class=\"bad\">its clock is %s</span>", apart);
    }
    ap_rprintf(r, "</th><td>%s</td></tr>\n", fellow->is_self ? "this one" : apr_pstrcat(
                   p, memsess_status_duration(status->at.at - fellow->seen_at, p), " ago", NULL));
}

static void send_members(request_rec *r, const memsess_status_t *status)
{
    int i;

    ap_rputs("<section><h3>Members seen</h3>\n<p class=\"soft\">Each leaves a sign on the servers "
             "of MemSessServers once a minute, for the first time some 15 s after its start.</p>"
             "<table>\n", r);
    for (i = 0; i < status->members->nelts; i++) {
        send_member(r, status, &APR_ARRAY_IDX(status->members, i, memsess_fellow_t));
    }
    ap_rputs("</table></section>\n", r);
}

/* -- The configuration in force ----------------------------------------------------------------- */

static const char *host_name(const memsess_host_t *host, apr_pool_t *p)
{
    return !*host->name ? "The server itself"
           : apr_psprintf(p, host->port ? "%s:%u" : "%s", escaped(host->name, p), host->port);
}

static void send_settings(request_rec *r, const char *title, const apr_array_header_t *settings)
{
    int i;

    if (!settings->nelts) {
        return;
    }
    ap_rprintf(r, "<p class=\"conf\"><b>%s</b>", title);
    for (i = 0; i < settings->nelts; i++) {
        const memsess_setting_t *setting = &APR_ARRAY_IDX(settings, i, memsess_setting_t);
        apr_size_t len = strlen(setting->directive);

        ap_rprintf(r, "<br>%s%s%s", setting->directive,
                   setting->directive[len - 1] == '=' ? "" : " ", escaped(setting->value, r->pool));
    }
    ap_rputs("</p>\n", r);
}

static void send_host(request_rec *r, const memsess_host_t *host)
{
    apr_pool_t *p = r->pool;
    int i;

    ap_rprintf(r, "<section><h3>%s</h3>\n<p class=\"soft\">On %s</p><table>\n", host_name(host, p),
               escaped(apr_array_pstrcat(p, host->servers, ' '), p));
    send_row(r, "copies of each session", memsess_status_number(host->copies, p), 0);
    send_row(r, "namespace", *host->ns ? escaped(host->ns, p) : "none", 0);
    send_row(r, "cookies", host->is_signed ? "signed" : "not signed", 0);
    send_row(r, "records", host->is_sealed ? "sealed" : "not sealed", 0);
    ap_rputs("</table>\n", r);
    send_settings(r, "For the whole host", host->settings);
    for (i = 0; i < host->sections->nelts; i++) {
        const memsess_section_t *section = &APR_ARRAY_IDX(host->sections, i, memsess_section_t);

        send_settings(r, apr_pstrcat(p, "In ", escaped(section->name, p), NULL), section->settings);
    }
    ap_rputs("</section>\n", r);
}

/* Hosts with the same settings as the server itself are only named. */
static void send_hosts(request_rec *r, const memsess_status_t *status)
{
    const char *alike = "";
    int i;

    for (i = 0; i < status->hosts->nelts; i++) {
        const memsess_host_t *host = &APR_ARRAY_IDX(status->hosts, i, memsess_host_t);

        if (host->is_like_first) {
            alike = apr_pstrcat(r->pool, alike, *alike ? ", " : "", host_name(host, r->pool), NULL);
        }
        else {
            send_host(r, host);
        }
    }
    if (*alike) {
        ap_rprintf(r, "<section><h3>Same as the server itself</h3>\n<p>%s</p></section>\n", alike);
    }
}

/* -- The page ----------------------------------------------------------------------------------- */

/* Allows the page's own style, and nothing else. It is sent beside any policy that the site has. */
static const char *send_policy(request_rec *r)
{
    unsigned char random[18];
    char *nonce = apr_palloc(r->pool, 25);

    if (apr_generate_random_bytes(random, sizeof(random)) != APR_SUCCESS) {
        return "";
    }
    apr_encode_base64_binary(nonce, random, sizeof(random), APR_ENCODE_NONE, NULL);
    apr_table_addn(r->headers_out, "Content-Security-Policy",
                   apr_psprintf(r->pool, "default-src 'none'; style-src 'nonce-%s'; base-uri "
                                "'none'; form-action 'none'; frame-ancestors 'self'", nonce));
    return nonce;
}

void memsess_page_send(request_rec *r, const memsess_status_t *status)
{
    const char *nonce = send_policy(r);
    char host[APRMAXHOSTLEN + 1] = "this member";
    int i;

    apr_gethostname(host, sizeof(host), r->pool);
    ap_set_content_type(r, "text/html; charset=utf-8");
    ap_rprintf(r, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
               "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
               "<meta name=\"color-scheme\" content=\"light dark\">"
               "<meta http-equiv=\"refresh\" content=\"%d\"><title>mod_memsess on %s</title>\n"
               "<style nonce=\"%s\">%s</style></head>\n<body><h1>mod_memsess on %s</h1>\n",
               REFRESH, escaped(host, r->pool), nonce, style, escaped(host, r->pool));
    ap_rprintf(r, "<p class=\"verdict %s\">%s</p>\n",
               status->verdict.is_bad ? "bad" : status->verdict.is_warned ? "warned" : "good",
               escaped(status->verdict.text, r->pool));
    ap_rprintf(r, "<p class=\"soft\">At %.8s UTC; refreshes every %d s. Counting for %s, all child "
               "processes together. Version " MEMSESS_VERSION ".</p>\n",
               memsess_status_time(status->now, r->pool) + 11, REFRESH,
               memsess_status_duration(status->now - status->since, r->pool));
    for (i = 0; i < status->warnings->nelts; i++) {
        ap_rprintf(r, "%s<li>%s</li>\n%s", i ? "" : "<ul>",
                   escaped(APR_ARRAY_IDX(status->warnings, i, memsess_advice_t).text, r->pool),
                   i + 1 < status->warnings->nelts ? "" : "</ul>\n");
    }
    ap_rputs("<div class=\"cards\">\n", r);
    for (i = 0; i < status->servers->nelts; i++) {
        send_server(r, &APR_ARRAY_IDX(status->servers, i, memsess_shown_t), status->now);
    }
    ap_rputs("</div>\n<div class=\"columns\">\n", r);
    send_now(r, status);
    send_counters(r, status);
    send_members(r, status);
    ap_rputs("</div>\n<h2>The configuration in force</h2>\n<p class=\"soft\">What is set or "
             "inherited; everything else has its default.</p>\n<div class=\"columns\">\n", r);
    send_hosts(r, status);
    ap_rputs("</div></body></html>\n", r);
}
