/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* What was asked of a server: how long it took, whether it failed, and so whether it is up. */

#include "base/count_private.h"

#include <string.h>

#include "apr_strings.h"
#include "base/log.h"

/* After a look at the figures, the reader counts as still looking for this long. */
#define WATCHED apr_time_from_sec(30)

/* -- Counting --------------------------------------------------------------------------------- */

static void note_error(memsess_server_count_t *count, apr_status_t rv, apr_uint64_t now)
{
    apr_atomic_set64(&count->error, (apr_uint64_t)rv);
    apr_atomic_set64(&count->error_at, now);
}

/* An answer that takes longer is slow, and so is a server after so many of them in a row. */
#define SLOW apr_time_from_msec(50)
#define SLOW_ANSWERS 5

int memsess_count_is_slow(memsess_server_count_t *count)
{
    return apr_atomic_read64(&count->slow) >= SLOW_ANSWERS;
}

static int note_slowness(memsess_server_count_t *count, apr_interval_time_t took)
{
    if (took <= SLOW) {
        if (apr_atomic_read64(&count->slow)) {
            apr_atomic_set64(&count->slow, 0);
        }
        return 0;
    }
    apr_atomic_inc64(&count->slow);
    return memsess_count_is_slow(count)
           && memsess_due(&count->slow_logged_at, memsess_clock_steady(), MEMSESS_WARN_EVERY);
}

const char *memsess_count_slow_words(const char *name, char *words)
{
    apr_snprintf(words, MEMSESS_WARNING_LEN,
                 "server %s is slow: its last answers took over %d ms each; writes wait for it, and "
                 "reads too, where no other server can take its place", name,
                 (int)apr_time_as_msec(SLOW));
    return words;
}

/* Times of fastest answers have this many parts of a microsecond, so that they can grow slowly. */
#define PARTS 256

/* The fastest answer tells the way to a server, whatever the load. Some seven hundred slower ones in a
 * row double it, so that a way which has become longer shows. */
int memsess_count_way(memsess_server_count_t *count, apr_interval_time_t took)
{
    memsess_figure_t *fastest = &count->stripe[memsess_count_stripe()].fastest;
    apr_uint64_t before = apr_atomic_read64(fastest), after = before + before / 1024 + 1;
    apr_uint64_t now = took > 0 ? (apr_uint64_t)took * PARTS : 1;

    apr_atomic_set64(fastest, before && after < now ? after : now);
    return note_slowness(count, took);
}

/* A server that answers within this many microseconds has answered before another thread wakes, and
 * before several connections are watched. */
#define NEAR 100

static int is_near(apr_uint64_t fastest)
{
    return fastest <= NEAR * PARTS;
}

int memsess_count_is_near(memsess_server_count_t *count)
{
    return is_near(apr_atomic_read64(&count->stripe[memsess_count_stripe()].fastest));
}

void memsess_count_operation(memsess_server_count_t *count, apr_interval_time_t took,
                             memsess_outcome_t outcome, apr_status_t rv)
{
    unsigned mine = memsess_count_stripe();

    took = took < 0 ? 0 : took;
    apr_atomic_inc64(&count->stripe[mine].bucket[memsess_bucket_of(took)]);
    apr_atomic_add64(&count->stripe[mine].total, (apr_uint64_t)took);
    if (outcome != MEMSESS_ANSWERED) {
        apr_atomic_inc64(&count->stripe[mine].errors);
        note_error(count, rv, (apr_uint64_t)memsess_clock_steady());
    }
    if (outcome == MEMSESS_TIMED_OUT) {
        apr_atomic_inc64(&count->stripe[mine].timeouts);
    }
}

int memsess_count_down(memsess_server_count_t *count, apr_status_t why)
{
    apr_uint64_t now = (apr_uint64_t)memsess_clock_steady();

    note_error(count, why, now);
    apr_atomic_set64(&count->failed_at, now);
    if (apr_atomic_cas32(&count->down, 1, 0)) {
        return 0;
    }
    apr_atomic_set64(&count->since, now);
    apr_atomic_set64(&count->says_at, 0);
    return 1;
}

int memsess_count_up(memsess_server_count_t *count, apr_time_t begun)
{
    if (!apr_atomic_read32(&count->down)
        || begun <= (apr_time_t)apr_atomic_read64(&count->failed_at)
        || !apr_atomic_cas32(&count->down, 0, 1)) {
        return 0;
    }
    apr_atomic_set64(&count->since, (apr_uint64_t)memsess_clock_steady());
    return 1;
}

int memsess_count_check_due(memsess_server_count_t *count, apr_interval_time_t every)
{
    apr_time_t now = memsess_clock_steady();
    apr_time_t failed_at = (apr_time_t)apr_atomic_read64(&count->failed_at);
    apr_time_t watched_at = (apr_time_t)apr_atomic_read64(&memsess_shared->watched_at);

    return (apr_atomic_read32(&count->down) ? now - failed_at >= 2 * every
            : memsess_count_is_slow(count)
                  || (watched_at && now - watched_at < WATCHED))
           && memsess_due(&count->checked_at, now, every);
}

void memsess_count_watched(void)
{
    apr_atomic_set64(&memsess_shared->watched_at, (apr_uint64_t)memsess_clock_steady());
}

/* -- Reading ---------------------------------------------------------------------------------- */

void memsess_count_totals(const memsess_server_count_t *count, memsess_server_figures_t *totals)
{
    unsigned i, k;

    memset(totals, 0, sizeof(*totals));
    for (i = 0; i < MEMSESS_STRIPES; i++) {
        totals->errors += count->stripe[i].errors;
        totals->timeouts += count->stripe[i].timeouts;
        totals->total += count->stripe[i].total;
        totals->near += count->stripe[i].fastest && is_near(count->stripe[i].fastest);
        totals->far += !is_near(count->stripe[i].fastest);
        for (k = 0; k < MEMSESS_BUCKETS; k++) {
            totals->all.bucket[k] += count->stripe[i].bucket[k];
        }
    }
    for (k = 0; k < MEMSESS_BUCKETS; k++) {
        totals->all.n += totals->all.bucket[k];
    }
}

/* Events since the last sample are recent, too. */
static void read_latest(const memsess_server_count_t *count, memsess_server_figures_t *figures)
{
    unsigned k;

    for (k = 0; k < MEMSESS_BUCKETS; k++) {
        /* Another process may just take a sample. */
        if (figures->all.bucket[k] > count->sampled[k]) {
            figures->recent.bucket[k] = figures->all.bucket[k] - count->sampled[k];
            figures->recent.n += figures->recent.bucket[k];
        }
    }
}

static void read_interval(const memsess_interval_t *interval, memsess_server_figures_t *figures)
{
    memsess_sample_t *sample = &figures->sample[figures->samples++];
    memsess_histogram_t histogram;
    unsigned k;

    for (histogram.n = 0, k = 0; k < MEMSESS_BUCKETS; k++) {
        histogram.n += histogram.bucket[k] = interval->bucket[k];
        figures->recent.bucket[k] += interval->bucket[k];
    }
    figures->recent.n += histogram.n;
    sample->at = memsess_clock_shown(interval->at);
    sample->span = interval->span;
    sample->operations = histogram.n;
    sample->errors = interval->errors;
    sample->p99 = memsess_percentile(&histogram, 0.99);
}

void memsess_count_read_server(const memsess_server_count_t *count,
                               memsess_server_figures_t *figures)
{
    apr_time_t oldest = memsess_clock_steady() - (MEMSESS_SAMPLES + 1) * MEMSESS_SAMPLE_EVERY;
    unsigned i;

    memsess_count_totals(count, figures);
    figures->down = count->down != 0;
    figures->since = memsess_clock_shown((apr_time_t)count->since);
    figures->last_error = (apr_status_t)count->error;
    figures->last_error_at = memsess_clock_shown((apr_time_t)count->error_at);
    for (i = 0; i < MEMSESS_SAYS_N; i++) {
        figures->says[i] = figures->down ? -1 : (apr_int64_t)count->says[i] - 1;
    }
    read_latest(count, figures);
    for (i = 0; i < MEMSESS_SAMPLES; i++) {
        const memsess_interval_t *interval = &count->interval[(count->next + i) % MEMSESS_SAMPLES];

        if (interval->at && interval->at > oldest) {
            read_interval(interval, figures);
        }
    }
}

void memsess_count_sample_server(memsess_server_count_t *count, apr_time_t now)
{
    memsess_interval_t *interval = &count->interval[count->next];
    memsess_server_figures_t figures;
    unsigned k;

    memsess_count_totals(count, &figures);
    for (k = 0; k < MEMSESS_BUCKETS; k++) {
        interval->bucket[k] = (apr_uint32_t)(figures.all.bucket[k] - count->sampled[k]);
        count->sampled[k] = figures.all.bucket[k];
    }
    interval->errors = figures.errors - count->sampled_errors;
    count->sampled_errors = figures.errors;
    interval->span = count->sampled_at ? now - count->sampled_at : MEMSESS_SAMPLE_EVERY;
    interval->at = count->sampled_at = now;
    count->next = (count->next + 1) % MEMSESS_SAMPLES;
}
