/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The counters, and all figures together: now, in the last minute and in the last hour. */

#include "base/count_private.h"

#include <string.h>

#include "base/log.h"

/* Members compare themselves first when httpd has been running for a while. */
#define COMPARE_AFTER apr_time_from_sec(15)

const memsess_counter_name_t memsess_counter_names[MEMSESS_N] = {
#define COUNTER_NAME(NAME, GROUP, TITLE, FIGURE, IS_BAD, MEANING)                                  \
    [MEMSESS_N_##NAME] = {.group = #GROUP,                                                         \
                          .title = (TITLE),                                                        \
                          .figure = #FIGURE,                                                       \
                          .meaning = (MEANING),                                                    \
                          .is_bad = (IS_BAD)},
    MEMSESS_COUNTERS(COUNTER_NAME)
#undef COUNTER_NAME
};

int memsess_counter_begins_group(int counter)
{
    return !counter || strcmp(memsess_counter_names[counter].group,
                              memsess_counter_names[counter - 1].group);
}

void memsess_count_add(memsess_counter_t counter, unsigned n)
{
    apr_atomic_add64(&memsess_shared->stripe[memsess_count_stripe()].figure[counter], n);
}

static apr_uint64_t figure_of(memsess_counter_t counter)
{
    apr_uint64_t sum = 0;
    unsigned i;

    for (i = 0; i < MEMSESS_STRIPES; i++) {
        sum += apr_atomic_read64(&memsess_shared->stripe[i].figure[counter]);
    }
    return sum;
}

void memsess_count_read(apr_uint64_t figures[MEMSESS_N])
{
    unsigned k;

    for (k = 0; k < MEMSESS_N; k++) {
        figures[k] = figure_of((memsess_counter_t)k);
    }
}

apr_time_t memsess_count_since(void)
{
    return memsess_clock_shown(memsess_shared->began);
}

apr_uint64_t memsess_count_news(memsess_counter_t counter, apr_time_t now)
{
    apr_uint64_t told = apr_atomic_read64(&memsess_shared->told[counter]);
    apr_uint64_t figure = figure_of(counter);

    if (figure == told
        || !memsess_due(&memsess_shared->told_at[counter], now, apr_time_from_sec(60))) {
        return 0;
    }
    apr_atomic_set64(&memsess_shared->told[counter], figure);
    return figure - told;
}

int memsess_count_compare_due(apr_time_t now)
{
    return now - memsess_shared->began >= COMPARE_AFTER
           && memsess_due(&memsess_shared->compared_at, now, MEMSESS_COMPARE_EVERY);
}

/* -- The whole, now and lately ----------------------------------------------------------------- */

/* What nobody named, and nobody used, is no server of ours. */
static int is_ours(const memsess_counted_t *server)
{
    memsess_server_figures_t totals = {.all.n = 1};

    if (server->implied) {
        memsess_count_totals(server->count, &totals);
    }
    return totals.all.n != 0;
}

memsess_alive_t memsess_count_alive(void)
{
    memsess_alive_t alive = {.sessions = -1};
    const memsess_counted_t *server;
    double sessions = 0;
    int i;

    for (i = 0; (server = memsess_count_listed(i)); i++) {
        apr_int64_t items = server->count->down
                                ? -1 : (apr_int64_t)server->count->says[MEMSESS_SAYS_ITEMS] - 1;

        if (items >= 0) {
            alive.servers++;
            alive.items += items;
            sessions += (double)items / (server->copies ? server->copies : 1);
        }
        else {
            alive.silent += (unsigned)is_ours(server);
        }
    }
    alive.sessions = alive.servers ? (apr_int64_t)(sessions + 0.5) : -1;
    return alive;
}

void memsess_count_now(memsess_moment_t *moment)
{
    const memsess_counted_t *server;
    memsess_server_figures_t totals;
    int i;

    memset(moment, 0, sizeof(*moment));
    moment->at = memsess_clock_steady();
    memsess_count_read(moment->value);
    for (i = 0; (server = memsess_count_listed(i)); i++) {
        memsess_count_totals(server->count, &totals);
        moment->value[MEMSESS_H_OPERATIONS] += totals.all.n;
        moment->value[MEMSESS_H_ERRORS] += totals.errors;
        if (is_ours(server)) {
            moment->value[server->count->down ? MEMSESS_H_DOWN : MEMSESS_H_UP]++;
        }
    }
    moment->value[MEMSESS_H_ALIVE] = (apr_uint64_t)(memsess_count_alive().sessions + 1);
}

int memsess_count_minute(const memsess_moment_t *now, memsess_moment_t *moment)
{
    if (now->at - memsess_shared->began < apr_time_from_sec(60)) {
        memset(moment, 0, sizeof(*moment));
        moment->at = memsess_shared->began;
        return 1;
    }
    return memsess_history_minute(&memsess_shared->history, now->at, moment);
}

const memsess_history_t *memsess_count_history(void)
{
    return &memsess_shared->history;
}

memsess_roster_t *memsess_count_roster(void)
{
    return &memsess_shared->roster;
}

int memsess_count_sample(apr_time_t now)
{
    const memsess_counted_t *server;
    memsess_moment_t moment;
    int i;

    if (!memsess_due(&memsess_shared->sampled_at, now, MEMSESS_SAMPLE_EVERY)) {
        return 0;
    }
    for (i = 0; (server = memsess_count_listed(i)); i++) {
        memsess_count_sample_server(server->count, now);
    }
    memsess_count_now(&moment);
    moment.at = now;
    memsess_history_note(&memsess_shared->history, &moment);
    return 1;
}
