/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The status for people: one HTML page without script, images or anything else from elsewhere. */

#include "http/status.h"

#include <string.h>

#include "apr_encode.h"
#include "apr_general.h"
#include "apr_strings.h"
#include "base/version.h"
#include "http_protocol.h"

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
    ".key{font-weight:700}.key-load{color:var(--load)}.key-slow{color:var(--slow)}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;vertical-align:top;padding:.15rem 0;font-weight:400}th{width:100%}"
    "td{text-align:right;padding-left:.75rem;white-space:nowrap;font-variant-numeric:tabular-nums}"
    "tr+tr>*{border-top:1px solid var(--line)}";

/* -- Words ------------------------------------------------------------------------------------ */

/* 1234567 as 1,234,567. */
static const char *number(apr_uint64_t n, apr_pool_t *p)
{
    return n < 1000 ? apr_psprintf(p, "%" APR_UINT64_T_FMT, n)
                    : apr_psprintf(p, "%s,%03u", number(n / 1000, p), (unsigned)(n % 1000));
}

static const char *duration(apr_interval_time_t t, apr_pool_t *p)
{
    apr_int64_t s = t > 0 ? apr_time_sec(t) : 0;

    if (s < 120) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT " s", s);
    }
    if (s < 2 * 3600) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT " min", s / 60);
    }
    return s < 48 * 3600 ? apr_psprintf(p, "%" APR_INT64_T_FMT " h", s / 3600)
                         : apr_psprintf(p, "%" APR_INT64_T_FMT " days", s / 86400);
}

static const char *latency(apr_interval_time_t t, apr_pool_t *p)
{
    if (t < 1000) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT " \xC2\xB5s", t);
    }
    return t < 1000000 ? apr_psprintf(p, t < 10000 ? "%.1f ms" : "%.0f ms", (double)t / 1000)
                       : apr_psprintf(p, "%.1f s", (double)t / 1000000);
}

/* In UTC; without the day where that is today's. */
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

/* -- Charts ----------------------------------------------------------------------------------- */

#define WIDTH 600.0
#define HEIGHT 60.0

/* What the highest bar and the highest point of a chart stand for. */
typedef struct scale_t {
    double rate;
    apr_interval_time_t p99;
} scale_t;

static double rate_of(apr_uint64_t n, const memsess_sample_t *sample)
{
    return sample->span > 0 ? (double)n * 1e6 / (double)sample->span : 0;
}

static scale_t scale_of(const memsess_server_figures_t *f)
{
    scale_t scale = {0, 0};
    unsigned i;

    for (i = 0; i < f->samples; i++) {
        double rate = rate_of(f->sample[i].operations, &f->sample[i]);

        scale.rate = rate > scale.rate ? rate : scale.rate;
        scale.p99 = f->sample[i].p99 > scale.p99 ? f->sample[i].p99 : scale.p99;
    }
    return scale;
}

static double place(apr_time_t at, apr_time_t now)
{
    double span = (double)(MEMSESS_SAMPLES * MEMSESS_SAMPLE_EVERY);

    return WIDTH - WIDTH * (double)(now - at) / span;
}

static void send_bars(request_rec *r, const memsess_server_figures_t *f, const scale_t *scale,
                      apr_time_t now)
{
    unsigned i;

    for (i = 0; i < f->samples && scale->rate > 0; i++) {
        const memsess_sample_t *sample = &f->sample[i];
        double end = place(sample->at, now), begin = place(sample->at - sample->span, now);
        double all = HEIGHT * rate_of(sample->operations, sample) / scale->rate;
        double bad = HEIGHT * rate_of(sample->errors, sample) / scale->rate;

        if (sample->operations) {
            ap_rprintf(r, "<rect class=\"load\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                       "height=\"%.1f\"/>", begin, HEIGHT - all, end - begin - 1, all);
        }
        if (sample->errors) {
            ap_rprintf(r, "<rect class=\"errors\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                       "height=\"%.1f\"/>", begin, HEIGHT - bad, end - begin - 1, bad);
        }
    }
}

/* A line through the p99 of all samples that have one, broken where some have none. */
static void send_line(request_rec *r, const memsess_server_figures_t *f, const scale_t *scale,
                      apr_time_t now)
{
    int drawing = 0;
    unsigned i;

    if (!scale->p99) {
        return;
    }
    ap_rputs("<path class=\"slow\" d=\"", r);
    for (i = 0; i < f->samples; i++) {
        const memsess_sample_t *sample = &f->sample[i];
        double y = HEIGHT - (HEIGHT - 2) * (double)sample->p99 / (double)scale->p99;

        if (sample->operations) {
            ap_rprintf(r, "%c%.1f %.1fH%.1f", drawing ? 'L' : 'M',
                       place(sample->at - sample->span, now), y, place(sample->at, now) - 1);
        }
        drawing = sample->operations != 0;
    }
    ap_rputs("\"/>", r);
}

static void send_chart(request_rec *r, const memsess_server_figures_t *f, apr_time_t now)
{
    scale_t scale = scale_of(f);
    const char *text = apr_psprintf(r->pool, "at most %.*f/s", scale.rate < 10 ? 1 : 0,
                                    scale.rate);
    const char *p99 = latency(scale.p99, r->pool);

    ap_rprintf(r, "<svg viewBox=\"0 0 %.0f %.0f\" preserveAspectRatio=\"none\" role=\"img\" "
               "aria-label=\"The last five minutes: load %s, p99 at most %s\">", WIDTH, HEIGHT,
               text, p99);
    send_bars(r, f, &scale, now);
    send_line(r, f, &scale, now);
    ap_rprintf(r, "</svg><p class=\"soft\">5 min: <span class=\"key key-load\">\xE2\x96\xAE</span> "
               "load, %s; <span class=\"key key-slow\">\xE2\x80\x94</span> p99, at most %s</p>\n",
               text, p99);
}

/* -- Servers ---------------------------------------------------------------------------------- */

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

/* What it says of itself, as far as it does. */
static void send_says(request_rec *r, const memsess_shown_t *shown)
{
    const apr_int64_t *says = shown->figures.says;
    apr_pool_t *p = r->pool;

    if (says[MEMSESS_SAYS_MEMORY] >= 0) {
        send_row(r, "memory", apr_psprintf(p, "%s of %s", bytes(says[MEMSESS_SAYS_MEMORY], p),
                                           bytes(says[MEMSESS_SAYS_LIMIT], p)), 0);
    }
    if (says[MEMSESS_SAYS_ITEMS] >= 0) {
        send_row(r, "items", number((apr_uint64_t)says[MEMSESS_SAYS_ITEMS], p), 0);
    }
    if (says[MEMSESS_SAYS_EVICTIONS] >= 0) {
        send_row(r, "evictions", number((apr_uint64_t)says[MEMSESS_SAYS_EVICTIONS], p),
                 memsess_count_evicting(shown->server->count, "", p) != NULL);
    }
    if (says[MEMSESS_SAYS_UPTIME] >= 0) {
        send_row(r, "running for", duration(apr_time_from_sec(says[MEMSESS_SAYS_UPTIME]), p), 0);
    }
}

static void send_server(request_rec *r, const memsess_shown_t *shown, apr_time_t now)
{
    const memsess_server_figures_t *f = &shown->figures;
    const char *state = f->down ? "down" : "up";
    apr_pool_t *p = r->pool;

    ap_rprintf(r, "<article class=\"is-%s\"><h2>%s <span class=\"%s\">%s</span></h2>\n"
               "<p class=\"soft\">%s for %s, since %s", state, escaped(shown->server->name, p),
               f->down ? "bad" : "good", state, state, duration(now - f->since, p),
               moment(f->since, now, p));
    if (strcmp(shown->server->name, shown->server->address)) {
        ap_rprintf(r, "; at %s", escaped(shown->server->address, p));
    }
    ap_rputs("</p>\n", r);
    send_chart(r, f, now);
    ap_rputs("<table>\n", r);
    send_row(r, "latency, p50", latency(memsess_status_latency(f, 0.5), p), 0);
    send_row(r, "latency, p99", latency(memsess_status_latency(f, 0.99), p), 0);
    send_row(r, "operations", number(f->all.n, p), 0);
    send_row(r, "errors", number(f->errors, p), f->errors != 0);
    send_row(r, "of these, time-outs", number(f->timeouts, p), f->timeouts != 0);
    send_row(r, "weight", number(shown->server->weight, p), 0);
    send_says(r, shown);
    ap_rputs("</table>\n", r);
    if (f->last_error_at) {
        ap_rprintf(r, "<p class=\"soft\">Last error %s ago: %s</p>\n",
                   duration(now - f->last_error_at, p), escaped(memsess_status_error(shown, p), p));
    }
    ap_rputs("</article>\n", r);
}

/* Servers that are up, and full. */
static int is_losing(const memsess_status_t *status)
{
    int i, is = 0;

    for (i = 0; i < status->warnings->nelts; i++) {
        memsess_warning_t warning = APR_ARRAY_IDX(status->warnings, i, memsess_advice_t).warning;

        is |= warning == MEMSESS_WARN_EVICTIONS || warning == MEMSESS_WARN_REFUSALS;
    }
    return is;
}

static void send_verdict(request_rec *r, const memsess_status_t *status)
{
    const char *down = "", *but = is_losing(status) ? ", but sessions are lost" : "";
    int i, n = 0, all = status->servers->nelts;

    for (i = 0; i < all; i++) {
        const memsess_shown_t *shown = &APR_ARRAY_IDX(status->servers, i, memsess_shown_t);

        if (shown->figures.down) {
            down = apr_psprintf(r->pool, "%s%s %s for %s", down, n++ ? "," : ":",
                                escaped(shown->server->name, r->pool),
                                duration(status->now - shown->figures.since, r->pool));
        }
    }
    if (!n) {
        ap_rprintf(r, "<p class=\"verdict %s\">%s up%s.</p>\n", *but ? "bad" : "good",
                   all == 1 ? "The server is"
                            : apr_psprintf(r->pool, "All %d servers are", all), but);
        return;
    }
    ap_rprintf(r, "<p class=\"verdict bad\">%d of %d server%s down%s.</p>\n", n, all,
               all == 1 ? " is" : n == 1 ? "s is" : "s are", down);
}

/* -- Everything else -------------------------------------------------------------------------- */

/* As a figure's name reads: under_replicated is under-replicated. */
static const char *figure_words(const char *figure, apr_pool_t *p)
{
    char *words = apr_pstrdup(p, figure), *c;

    for (c = words; (c = strchr(c, '_'));) {
        *c = '-';
    }
    return words;
}

static void send_counters(request_rec *r, const memsess_status_t *status)
{
    int i;

    for (i = 0; i < MEMSESS_N; i++) {
        const memsess_counter_name_t *name = &memsess_counter_names[i];
        const char *words = apr_pstrcat(r->pool, figure_words(name->figure, r->pool),
                                        "<br><span class=\"soft\">", name->meaning, "</span>", NULL);

        if (memsess_counter_begins_group(i)) {
            ap_rprintf(r, "%s<section><h3>%s</h3><table>\n", i ? "</table></section>\n" : "",
                       name->title);
        }
        send_row(r, words, number(status->figure[i], r->pool), 0);
    }
    ap_rputs("</table></section>\n", r);
}

/* The page's own style, and nothing else; sent beside whatever policy the site has. */
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
    send_verdict(r, status);
    ap_rprintf(r, "<p class=\"soft\">At %.8s UTC; refreshes every %d s. Counting for %s, all child "
               "processes together. Version " MEMSESS_VERSION ".</p>\n",
               memsess_status_time(status->now, r->pool) + 11, REFRESH,
               duration(status->now - status->since, r->pool));
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
    send_counters(r, status);
    ap_rputs("</div></body></html>\n", r);
}
