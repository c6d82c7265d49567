/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The status in one line. It says what is wrong first, and claims nothing that is not known. */

#include "http/status.h"

#include "apr_strings.h"

/* The servers are looked after every MEMSESS_SAMPLE_EVERY, if no server keeps that waiting. */
#define UNSEEN apr_time_from_sec(60)

int memsess_status_down(const memsess_status_t *status)
{
    int i, down = 0;

    for (i = 0; i < status->servers->nelts; i++) {
        down += APR_ARRAY_IDX(status->servers, i, memsess_shown_t).figures.down;
    }
    return down;
}

static void say(apr_array_header_t *wrongs, const char *wrong)
{
    APR_ARRAY_PUSH(wrongs, const char *) = wrong;
}

/* The fewest and the most copies that a virtual host wants. */
static void copies_of(const memsess_status_t *status, unsigned *least, unsigned *most)
{
    int i;

    *least = *most = APR_ARRAY_IDX(status->hosts, 0, memsess_host_t).copies;
    for (i = 1; i < status->hosts->nelts; i++) {
        unsigned copies = APR_ARRAY_IDX(status->hosts, i, memsess_host_t).copies;

        *least = copies < *least ? copies : *least;
        *most = copies > *most ? copies : *most;
    }
}

/* Which servers are down, and what that means. */
static const char *down_text(const memsess_status_t *status, int down, apr_pool_t *p)
{
    int i, n = 0, all = status->servers->nelts;
    const char *names = "";
    unsigned least, most;

    for (i = 0; i < all; i++) {
        const memsess_shown_t *shown = &APR_ARRAY_IDX(status->servers, i, memsess_shown_t);

        if (shown->figures.down) {
            names = apr_psprintf(p, "%s%s %s for %s", names, n++ ? "," : ":", shown->server->name,
                                 memsess_status_duration(status->now - shown->figures.since, p));
        }
    }
    copies_of(status, &least, &most);
    return apr_psprintf(p, "%d of %d server%s down%s; %s", down, all,
                        all == 1 ? " is" : down == 1 ? "s is" : "s are", names,
                        down == all ? "no session is available"
                        : (unsigned)down >= least ? "sessions that have no copy elsewhere are not "
                                                    "available"
                        : "sessions are served from their other copies");
}

/* How much a counter rose within the last minute. */
static apr_uint64_t lately(const memsess_status_t *status, memsess_counter_t counter)
{
    return status->before.at ? memsess_history_rise(&status->before, &status->at, counter) : 0;
}

static void say_lately(apr_array_header_t *wrongs, const memsess_status_t *status,
                       memsess_counter_t counter, const char *one, const char *many, apr_pool_t *p)
{
    apr_uint64_t n = lately(status, counter);

    if (n) {
        say(wrongs, apr_psprintf(p, "%s %s within the last minute", memsess_status_number(n, p),
                                 n == 1 ? one : many));
    }
}

static int has(const memsess_status_t *status, memsess_warning_t warning)
{
    int i = 0;

    while (i < status->warnings->nelts
           && APR_ARRAY_IDX(status->warnings, i, memsess_advice_t).warning != warning) {
        i++;
    }
    return i < status->warnings->nelts;
}

/* What keeps users from their sessions, or is about to; the worst comes first. */
static apr_array_header_t *wrongs_of(const memsess_status_t *status, apr_pool_t *p)
{
    apr_array_header_t *wrongs = apr_array_make(p, 4, sizeof(const char *));
    apr_time_t seen = memsess_history_last(memsess_count_history());

    say_lately(wrongs, status, MEMSESS_N_UNAVAILABLE, "request had no answer from the store",
               "requests had no answer from the store", p);
    if (has(status, MEMSESS_WARN_EVICTIONS) || has(status, MEMSESS_WARN_REFUSALS)) {
        say(wrongs, "sessions are lost (see below)");
    }
    if (has(status, MEMSESS_WARN_POOL)) {
        say(wrongs, "another member has a different pool (see below)");
    }
    say_lately(wrongs, status, MEMSESS_N_UNDER_REPLICATED,
               "write reached fewer servers than it should",
               "writes reached fewer servers than they should", p);
    say_lately(wrongs, status, MEMSESS_N_LOCK_TIMEOUTS, "request waited in vain for a lock",
               "requests waited in vain for a lock", p);
    if (status->at.at - seen > UNSEEN && status->now - status->since > UNSEEN) {
        say(wrongs, apr_psprintf(p, "the servers were last checked %s ago, so this may be out of "
                                 "date (see the error log)",
                                 memsess_status_duration(status->at.at - seen, p)));
    }
    return wrongs;
}

static const char *joined(const apr_array_header_t *wrongs, apr_pool_t *p)
{
    const char *text = "";
    int i;

    for (i = 0; i < wrongs->nelts; i++) {
        text = apr_pstrcat(p, text, i ? "; " : "", APR_ARRAY_IDX(wrongs, i, const char *), NULL);
    }
    return text;
}

/* How long ago a server came back, as far as this member counts; 0: it was never away. If a server
 * was only restarted, its own uptime tells. */
static apr_interval_time_t back_for(const memsess_status_t *status, const memsess_shown_t *shown)
{
    apr_interval_time_t counting = status->now - status->since;
    apr_interval_time_t up = status->now - shown->figures.since;
    apr_int64_t runs = shown->figures.says[MEMSESS_SAYS_UPTIME];

    if (runs >= 0 && apr_time_from_sec(runs) < up) {
        up = apr_time_from_sec(runs);
    }
    return up + apr_time_from_sec(5) < counting ? up + 1 : 0;
}

/* A copy that a server lacks is written when its session is used; until then the session has one
 * copy fewer. NULL: no server has come back so lately that such sessions could still be alive. */
static const char *lacking_text(const memsess_status_t *status, apr_pool_t *p)
{
    apr_interval_time_t idle = 0, latest = 0;
    const char *name = NULL;
    int i;

    for (i = 0; i < status->hosts->nelts; i++) {
        const memsess_host_t *host = &APR_ARRAY_IDX(status->hosts, i, memsess_host_t);

        idle = host->idle > idle ? host->idle : idle;
    }
    for (i = 0; i < status->servers->nelts; i++) {
        const memsess_shown_t *shown = &APR_ARRAY_IDX(status->servers, i, memsess_shown_t);
        apr_interval_time_t back = back_for(status, shown);

        if (back && back < idle && (!latest || back < latest)) {
            latest = back;
            name = shown->server->name;
        }
    }
    return name ? apr_psprintf(p, ", but one fewer if they were not used since %s came back %s ago",
                               name, memsess_status_duration(latest, p)) : NULL;
}

static const char *copies_text(const memsess_status_t *status, const char *lacking, apr_pool_t *p)
{
    unsigned least, most;

    copies_of(status, &least, &most);
    if (most == 1) {
        return "; sessions have one copy";
    }
    return apr_pstrcat(p, "; sessions have ", least == most ? "" : apr_psprintf(p, "%u to ", least),
                       apr_psprintf(p, "%u copies", most), lacking, NULL);
}

/* What is known to be well, and how far. */
static const char *well_text(const memsess_status_t *status, const char *lacking, apr_pool_t *p)
{
    const char *alive = status->alive.sessions < 0 ? "" : apr_psprintf(
        p, "; about %s session%s",
        memsess_status_number((apr_uint64_t)status->alive.sessions, p),
        status->alive.sessions == 1 ? "" : "s");
    int n = status->warnings->nelts;

    return apr_pstrcat(p, copies_text(status, lacking, p), alive,
                       !n ? "" : n == 1 ? "; there is a warning"
                                        : apr_psprintf(p, "; there are %d warnings", n), NULL);
}

memsess_verdict_t memsess_status_verdict(const memsess_status_t *status, apr_pool_t *p)
{
    int down = memsess_status_down(status), all = status->servers->nelts;
    const apr_array_header_t *wrongs = wrongs_of(status, p);
    const char *up = all == 1 ? "The server is up" : apr_psprintf(p, "All %d servers are up", all);
    const char *lacking = lacking_text(status, p);
    memsess_verdict_t verdict = {.is_bad = down || wrongs->nelts,
                                 .is_warned = lacking || status->warnings->nelts};

    if (down) {
        verdict.text = apr_pstrcat(p, down_text(status, down, p), wrongs->nelts ? "; " : "",
                                   joined(wrongs, p), ".", NULL);
    }
    else if (wrongs->nelts) {
        verdict.text = apr_pstrcat(p, up, ", but ", joined(wrongs, p), ".", NULL);
    }
    else {
        verdict.text = apr_pstrcat(p, up, well_text(status, lacking, p), ".", NULL);
    }
    return verdict;
}
