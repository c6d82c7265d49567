/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "base/count.h"

#include <string.h>

#include "apr_atomic.h"
#include "apr_shm.h"
#include "apr_strings.h"
#include "base/clock.h"
#include "base/history.h"
#include "base/log.h"
#include "base/roster.h"
#include "base/version.h"

#define STRIPES 16
#define LINE_BYTES 64 /* a line of a processor's cache */
#define LINE __attribute__((aligned(LINE_BYTES)))

#define ADDRESS_MAX 280

/* After a look at the figures, the reader counts as still looking for this long. */
#define WATCHED apr_time_from_sec(30)

/* Members compare themselves this often, first when httpd has been running for a while, and log
 * what is wrong this often. */
#define COMPARE_AFTER apr_time_from_sec(15)
#define COMPARE_EVERY apr_time_from_sec(60)
#define WARN_EVERY apr_time_from_sec(600)

/* Servers are asked this often for their own figures, and there is a warning for this long after a
 * server last evicted, or refused, something. */
#define SAYS_EVERY apr_time_from_sec(10)
#define EVICTS_FOR apr_time_from_sec(3600)
#define REFUSES_FOR apr_time_from_sec(600)

typedef volatile apr_uint64_t figure_t;

/* All times are of the steady clock. */

/* The counters that all children share. */
typedef struct shared_t {
    apr_time_t began;
    volatile apr_uint32_t threads; /* that have counted so far */
    figure_t sampled_at, watched_at, compared_at;
    figure_t told[MEMSESS_N], told_at[MEMSESS_N];
    struct {
        figure_t at, logged_at;
        char text[MEMSESS_WARNING_LEN];
    } warning[MEMSESS_WARNINGS];
    memsess_history_t history;
    memsess_roster_t roster;
    struct {
        LINE figure_t figure[MEMSESS_N];
    } stripe[STRIPES];
} shared_t;

/* An interval between two samples. */
typedef struct interval_t {
    apr_time_t at;
    apr_interval_time_t span;
    apr_uint64_t errors;
    apr_uint32_t bucket[MEMSESS_BUCKETS];
} interval_t;

struct memsess_server_count_t {
    char address[ADDRESS_MAX]; /* "" for a private one */
    volatile apr_uint32_t down;
    figure_t since, failed_at, checked_at, error, error_at;
    figure_t ahead; /* ahead of this machine's monotonic clock, in seconds; 0: not known */
    figure_t behind_since; /* when it told an earlier time than was expected; 0: it did not */
    figure_t set_back;     /* how often such an earlier time was believed */
    figure_t back_at;      /* what its own clock said when it answered again; 0: it does not tell */
    figure_t back_steady;  /* this machine's monotonic clock then; 0: it was not away */
    figure_t started, known_at; /* when it was started, as it says; when it first said so */
    figure_t refusal, refused_at, refusal_logged_at;
    figure_t slow, slow_logged_at; /* how many answers in a row were slow */
    figure_t says[MEMSESS_SAYS_N]; /* one more than the server says; 0: it does not say */
    figure_t says_at;
    struct {
        figure_t seen, seen_at; /* one more than there were, and when, by the wall clock; or 0 */
        figure_t base, from;    /* what there were, and until when, before it began */
        figure_t last_at, logged_at;
    } evictions;
    /* Written by the process that takes the samples. */
    LINE unsigned next;
    apr_time_t sampled_at;
    apr_uint64_t sampled_errors, sampled[MEMSESS_BUCKETS];
    interval_t interval[MEMSESS_SAMPLES];
    struct {
        LINE figure_t errors;
        figure_t timeouts, total, bucket[MEMSESS_BUCKETS];
        figure_t fastest; /* recent answer, as memsess_count_way has it; 0: none yet */
    } stripe[STRIPES];
};

/* The memory of one server's count, known to the parent process. */
typedef struct segment_t {
    memsess_server_count_t *count;
    unsigned used; /* the last configuration that named it */
} segment_t;

/* The parent process keeps this from one configuration to the next. */
typedef struct registry_t {
    apr_pool_t *p;
    shared_t *shared;
    apr_array_header_t *segments; /* of segment_t */
    unsigned configuration;
} registry_t;

static shared_t process_only;
static shared_t *shared = &process_only;
static registry_t *registry;
static apr_array_header_t *listed; /* of memsess_counted_t */
static apr_array_header_t *advice; /* of memsess_advice_t */

/* -- Names ------------------------------------------------------------------------------------ */

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

const char *const memsess_warning_kinds[MEMSESS_WARNINGS] = {
#define WARNING_KIND(name, kind) [MEMSESS_WARN_##name] = #kind,
    MEMSESS_WARNS(WARNING_KIND)
#undef WARNING_KIND
};

int memsess_counter_begins_group(int counter)
{
    return !counter || strcmp(memsess_counter_names[counter].group,
                              memsess_counter_names[counter - 1].group);
}

/* -- Shared memory ---------------------------------------------------------------------------- */

/* All zero, and on a cache line of its own, which neither APR's pools nor its shared memory ensure.
 * The memory ends with the process, not with its last child: no other process can attach to it. */
static void *aligned(void *memory, apr_size_t size)
{
    apr_uintptr_t at = (apr_uintptr_t)memory;

    return memset((char *)memory + (APR_ALIGN(at, LINE_BYTES) - at), 0, size);
}

static apr_status_t make_shared(void **memory, apr_size_t size, apr_pool_t *p)
{
    apr_shm_t *shm;
    apr_status_t rv = apr_shm_create(&shm, size + LINE_BYTES, NULL, p);

    if (rv == APR_SUCCESS) {
        *memory = aligned(apr_shm_baseaddr_get(shm), size);
    }
    return rv;
}

apr_status_t memsess_count_begin(apr_pool_t *process, apr_pool_t *pconf)
{
    /* Another version of the module, loaded by a graceful restart, lays its memory out in its
     * own way. */
    const char *key = apr_psprintf(pconf, "memsess_count " MEMSESS_VERSION " %" APR_SIZE_T_FMT
                                   " %" APR_SIZE_T_FMT, sizeof(shared_t),
                                   sizeof(memsess_server_count_t));
    void *found = NULL;
    apr_status_t rv = apr_pool_userdata_get(&found, key, process);

    registry = found;
    if (rv == APR_SUCCESS && !registry) {
        registry = apr_pcalloc(process, sizeof(*registry));
        registry->p = process;
        registry->segments = apr_array_make(process, 8, sizeof(segment_t));
        rv = make_shared((void **)&registry->shared, sizeof(shared_t), process);
        if (rv == APR_SUCCESS) {
            registry->shared->began = memsess_clock_steady();
            rv = apr_pool_userdata_set(registry, apr_pstrdup(process, key), NULL, process);
        }
    }
    if (rv == APR_SUCCESS) {
        shared = registry->shared;
        registry->configuration++;
        listed = apr_array_make(pconf, 8, sizeof(memsess_counted_t));
        advice = apr_array_make(pconf, 4, sizeof(memsess_advice_t));
    }
    return rv;
}

/* The segment of the address; or one that no server needs; or a new one. */
static apr_status_t segment_for(segment_t **segment, const char *address)
{
    segment_t *idle = NULL;
    apr_status_t rv = APR_SUCCESS;
    int i;

    for (i = 0; i < registry->segments->nelts; i++) {
        *segment = &APR_ARRAY_IDX(registry->segments, i, segment_t);
        if (!strcmp((*segment)->count->address, address)) {
            return APR_SUCCESS;
        }
        /* Children of the configuration before may still use it. */
        if ((*segment)->used + 1 < registry->configuration) {
            idle = *segment;
        }
    }
    *segment = idle;
    if (!idle) {
        void *memory = NULL;

        rv = make_shared(&memory, sizeof(memsess_server_count_t), registry->p);
        if (rv != APR_SUCCESS) {
            return rv;
        }
        *segment = apr_array_push(registry->segments);
        (*segment)->count = memory;
    }
    memset((*segment)->count, 0, sizeof(memsess_server_count_t));
    apr_cpystrn((*segment)->count->address, address, ADDRESS_MAX);
    (*segment)->count->since = (apr_uint64_t)memsess_clock_steady();
    return rv;
}

apr_status_t memsess_count_list(const memsess_counted_t *server, memsess_server_count_t **count)
{
    memsess_counted_t *entry;
    segment_t *segment;
    apr_status_t rv;
    int i;

    for (i = 0; i < listed->nelts; i++) {
        entry = &APR_ARRAY_IDX(listed, i, memsess_counted_t);
        if (!strcmp(entry->address, server->address)) {
            entry->implied &= server->implied;
            entry->timeout = entry->timeout == server->timeout ? server->timeout : 0;
            entry->copies = entry->copies < server->copies ? entry->copies : server->copies;
            *count = entry->count;
            return APR_SUCCESS;
        }
    }
    rv = segment_for(&segment, server->address);
    if (rv == APR_SUCCESS) {
        segment->used = registry->configuration;
        entry = apr_array_push(listed);
        *entry = *server;
        entry->count = *count = segment->count;
    }
    return rv;
}

const apr_array_header_t *memsess_count_listed(void)
{
    return listed;
}

memsess_server_count_t *memsess_count_private(apr_pool_t *p)
{
    return aligned(apr_palloc(p, sizeof(memsess_server_count_t) + LINE_BYTES),
                   sizeof(memsess_server_count_t));
}

/* -- Counting --------------------------------------------------------------------------------- */

/* The same for a thread's life. */
static unsigned stripe(void)
{
    static __thread unsigned mine;

    if (!mine) {
        mine = 1 + apr_atomic_inc32(&shared->threads) % STRIPES;
    }
    return mine - 1;
}

void memsess_count_add(memsess_counter_t counter, unsigned n)
{
    apr_atomic_add64(&shared->stripe[stripe()].figure[counter], n);
}

static void note_error(memsess_server_count_t *count, apr_status_t rv, apr_uint64_t now)
{
    apr_atomic_set64(&count->error, (apr_uint64_t)rv);
    apr_atomic_set64(&count->error_at, now);
}

/* Times of fastest answers have this many parts of a microsecond, so that they can grow slowly. */
#define PARTS 256

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
           && memsess_due(&count->slow_logged_at, memsess_clock_steady(), WARN_EVERY);
}

const char *memsess_count_slow_words(const char *name, char *words)
{
    apr_snprintf(words, MEMSESS_WARNING_LEN,
                 "server %s is slow: its last answers took over %d ms each; writes wait for it, and "
                 "reads too, where no other server can take its place", name,
                 (int)apr_time_as_msec(SLOW));
    return words;
}

/* The fastest answer tells the way to a server, whatever the load. Some fifty slow answers in a row
 * double it, so that a way which has become longer shows. */
int memsess_count_way(memsess_server_count_t *count, apr_interval_time_t took)
{
    figure_t *fastest = &count->stripe[stripe()].fastest;
    apr_uint64_t before = apr_atomic_read64(fastest), after = before + before / 64 + 1;
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
    return is_near(apr_atomic_read64(&count->stripe[stripe()].fastest));
}

void memsess_count_operation(memsess_server_count_t *count, apr_interval_time_t took,
                             memsess_outcome_t outcome, apr_status_t rv)
{
    unsigned mine = stripe();

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
    apr_time_t watched_at = (apr_time_t)apr_atomic_read64(&shared->watched_at);

    return (apr_atomic_read32(&count->down) ? now - failed_at >= 2 * every
            : memsess_count_is_slow(count)
                  || (watched_at && now - watched_at < WATCHED))
           && memsess_due(&count->checked_at, now, every);
}

void memsess_count_watched(void)
{
    apr_atomic_set64(&shared->watched_at, (apr_uint64_t)memsess_clock_steady());
}

/* -- What a server says of itself --------------------------------------------------------------- */

const memsess_says_name_t memsess_says_names[MEMSESS_SAYS_N] = {
#define SAYS_NAME(NAME, STAT, JSON, PROMETHEUS, TYPE, MEANING)                                     \
    [MEMSESS_SAYS_##NAME] = {.stat = #STAT,                                                        \
                             .json = #JSON,                                                        \
                             .prometheus = "memsess_server_" #PROMETHEUS,                          \
                             .type = #TYPE,                                                        \
                             .meaning = (MEANING)},
    MEMSESS_SAYS(SAYS_NAME)
#undef SAYS_NAME
};

int memsess_count_says_due(memsess_server_count_t *count)
{
    return memsess_due(&count->says_at, memsess_clock_steady(), SAYS_EVERY);
}

/* Whether a moment is less than @a span ago; not if it is 0. */
static int was_within(const figure_t *at, apr_interval_time_t span)
{
    apr_uint64_t then = apr_atomic_read64((figure_t *)at);

    return then && memsess_clock_steady() - (apr_time_t)then < span;
}

/* Whether a count has grown. That of a server that was started again begins at 0. */
static int see_evictions(memsess_server_count_t *count, apr_uint64_t n)
{
    apr_uint64_t seen = apr_atomic_read64(&count->evictions.seen);
    apr_uint64_t before = !seen ? n : n < seen - 1 ? 0 : seen - 1;

    if (n > before) {
        if (!was_within(&count->evictions.last_at, EVICTS_FOR)
            || apr_atomic_read64(&count->evictions.base) > before) {
            apr_atomic_set64(&count->evictions.base, before);
            apr_atomic_set64(&count->evictions.from, apr_atomic_read64(&count->evictions.seen_at));
        }
        apr_atomic_set64(&count->evictions.last_at, (apr_uint64_t)memsess_clock_steady());
    }
    apr_atomic_set64(&count->evictions.seen, n + 1);
    apr_atomic_set64(&count->evictions.seen_at, (apr_uint64_t)memsess_clock_wall());
    return n > before;
}

int memsess_count_says(memsess_server_count_t *count, const apr_int64_t says[MEMSESS_SAYS_N])
{
    apr_int64_t evictions = says[MEMSESS_SAYS_EVICTIONS];
    unsigned i;

    for (i = 0; i < MEMSESS_SAYS_N; i++) {
        apr_atomic_set64(&count->says[i], (apr_uint64_t)(says[i] + 1));
    }
    return evictions >= 0 && see_evictions(count, (apr_uint64_t)evictions)
           && memsess_due(&count->evictions.logged_at, memsess_clock_steady(), WARN_EVERY);
}

const char *memsess_count_evicting(const memsess_server_count_t *count, const char *name,
                                   apr_pool_t *p)
{
    char from[APR_RFC822_DATE_LEN];

    if (!was_within(&count->evictions.last_at, EVICTS_FOR)) {
        return NULL;
    }
    apr_rfc822_date(from, (apr_time_t)count->evictions.from);
    return apr_psprintf(p, "server %s is full: it has evicted %" APR_UINT64_T_FMT " items since "
                        "%s, so sessions have ended before their time: give it more memory (its "
                        "-m), or add servers to MemSessServers", name,
                        count->evictions.seen - 1 - count->evictions.base, from);
}

int memsess_count_refusing(memsess_server_count_t *count, apr_status_t why)
{
    apr_uint64_t now = (apr_uint64_t)memsess_clock_steady();
    apr_uint64_t before = apr_atomic_read64(&count->refusal);

    apr_atomic_set64(&count->refusal, (apr_uint64_t)why);
    apr_atomic_set64(&count->refused_at, now);
    if (before != (apr_uint64_t)why) {
        apr_atomic_set64(&count->refusal_logged_at, 0);
    }
    return memsess_due(&count->refusal_logged_at, (apr_time_t)now, WARN_EVERY);
}

/* A memcached that stood still tells its old time for a second afterwards. So a time that is
 * earlier than expected is believed only if the server still tells it after that second. */
#define STANDS_STILL apr_time_from_sec(2)

static int is_doubted(memsess_server_count_t *count, apr_int64_t ahead, apr_time_t steady)
{
    apr_int64_t before = (apr_int64_t)count->ahead;
    apr_uint64_t since = apr_atomic_read64(&count->behind_since);

    if (!before || ahead >= before - 1) {
        return 0;
    }
    if (!since) {
        apr_atomic_set64(&count->behind_since, (apr_uint64_t)steady);
    }
    return !since || steady - (apr_time_t)since < STANDS_STILL;
}

void memsess_count_server_told(memsess_server_count_t *count, apr_int64_t seconds,
                               apr_time_t steady)
{
    apr_int64_t ahead = seconds - apr_time_sec(steady);

    if (!is_doubted(count, ahead, steady)) {
        if (apr_atomic_read64(&count->behind_since)
            && ahead < (apr_int64_t)count->ahead - 1) {
            apr_atomic_inc64(&count->set_back);
        }
        apr_atomic_set64(&count->behind_since, 0);
        apr_atomic_set64(&count->ahead, (apr_uint64_t)ahead);
    }
}

void memsess_count_server_started(memsess_server_count_t *count, apr_int64_t started,
                                  apr_time_t steady)
{
    if (!count->known_at || (apr_int64_t)count->started != started) {
        apr_atomic_set64(&count->known_at, (apr_uint64_t)steady);
        apr_atomic_set64(&count->started, (apr_uint64_t)started);
    }
}

apr_interval_time_t memsess_count_server_known(const memsess_server_count_t *count,
                                               apr_time_t steady)
{
    return count->known_at ? steady - (apr_time_t)count->known_at : 0;
}

int memsess_count_server_set_back(const memsess_server_count_t *count)
{
    return count->set_back != 0;
}

void memsess_count_server_moved(memsess_server_count_t *count)
{
    apr_atomic_set64(&count->ahead, 0);
}

apr_int64_t memsess_count_server_clock(const memsess_server_count_t *count)
{
    apr_int64_t ahead = (apr_int64_t)count->ahead;

    return ahead ? apr_time_sec(memsess_clock_steady()) + ahead : 0;
}

void memsess_count_server_back(memsess_server_count_t *count)
{
    apr_atomic_set64(&count->back_at, (apr_uint64_t)memsess_count_server_clock(count));
    apr_atomic_set64(&count->back_steady, (apr_uint64_t)memsess_clock_steady());
}

apr_time_t memsess_count_server_back_at(const memsess_server_count_t *count, apr_int64_t *clock)
{
    *clock = (apr_int64_t)count->back_at;
    return (apr_time_t)count->back_steady;
}

/* -- Latencies -------------------------------------------------------------------------------- */

unsigned memsess_bucket_of(apr_interval_time_t took)
{
    apr_uint64_t t = (apr_uint64_t)took;
    unsigned octave, bucket;

    if (t < 4) {
        return (unsigned)t;
    }
    octave = 63 - (unsigned)__builtin_clzll(t);
    bucket = 4 * (octave - 1) + (unsigned)(t >> (octave - 2) & 3);
    return bucket < MEMSESS_BUCKETS ? bucket : MEMSESS_BUCKETS - 1;
}

apr_interval_time_t memsess_bucket_end(unsigned bucket)
{
    bucket++;
    return bucket < 4 ? bucket : (apr_interval_time_t)(4 + bucket % 4) << (bucket / 4 - 1);
}

apr_interval_time_t memsess_percentile(const memsess_histogram_t *histogram, double share)
{
    double rank = share * (double)histogram->n, below = 0;
    unsigned i;

    for (i = 0; i < MEMSESS_BUCKETS && histogram->n; i++) {
        double in = (double)histogram->bucket[i];

        if (in > 0 && below + in >= rank) {
            double begin = i ? (double)memsess_bucket_end(i - 1) : 0;
            double end = (double)memsess_bucket_end(i);

            return (apr_interval_time_t)(begin + (end - begin) * (rank - below) / in + 0.5);
        }
        below += in;
    }
    return 0;
}

/* -- Reading ---------------------------------------------------------------------------------- */

static apr_uint64_t figure_of(memsess_counter_t counter)
{
    apr_uint64_t sum = 0;
    unsigned i;

    for (i = 0; i < STRIPES; i++) {
        sum += apr_atomic_read64(&shared->stripe[i].figure[counter]);
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

static void read_totals(const memsess_server_count_t *count, memsess_server_figures_t *figures)
{
    unsigned i, k;

    memset(figures, 0, sizeof(*figures));
    for (i = 0; i < STRIPES; i++) {
        figures->errors += count->stripe[i].errors;
        figures->timeouts += count->stripe[i].timeouts;
        figures->total += count->stripe[i].total;
        figures->near += count->stripe[i].fastest && is_near(count->stripe[i].fastest);
        figures->far += !is_near(count->stripe[i].fastest);
        for (k = 0; k < MEMSESS_BUCKETS; k++) {
            figures->all.bucket[k] += count->stripe[i].bucket[k];
        }
    }
    for (k = 0; k < MEMSESS_BUCKETS; k++) {
        figures->all.n += figures->all.bucket[k];
    }
}

apr_time_t memsess_count_shown(apr_time_t at)
{
    return at ? memsess_clock_wall() - (memsess_clock_steady() - at) : 0;
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

static void read_interval(const interval_t *interval, memsess_server_figures_t *figures)
{
    memsess_sample_t *sample = &figures->sample[figures->samples++];
    memsess_histogram_t histogram;
    unsigned k;

    for (histogram.n = 0, k = 0; k < MEMSESS_BUCKETS; k++) {
        histogram.n += histogram.bucket[k] = interval->bucket[k];
        figures->recent.bucket[k] += interval->bucket[k];
    }
    figures->recent.n += histogram.n;
    sample->at = memsess_count_shown(interval->at);
    sample->span = interval->span;
    sample->operations = histogram.n;
    sample->errors = interval->errors;
    sample->p50 = memsess_percentile(&histogram, 0.5);
    sample->p99 = memsess_percentile(&histogram, 0.99);
}

void memsess_count_read_server(const memsess_server_count_t *count,
                               memsess_server_figures_t *figures)
{
    apr_time_t oldest = memsess_clock_steady() - (MEMSESS_SAMPLES + 1) * MEMSESS_SAMPLE_EVERY;
    unsigned i;

    read_totals(count, figures);
    figures->down = count->down != 0;
    figures->since = memsess_count_shown((apr_time_t)count->since);
    figures->last_error = (apr_status_t)count->error;
    figures->last_error_at = memsess_count_shown((apr_time_t)count->error_at);
    for (i = 0; i < MEMSESS_SAYS_N; i++) {
        figures->says[i] = figures->down ? -1 : (apr_int64_t)count->says[i] - 1;
    }
    read_latest(count, figures);
    for (i = 0; i < MEMSESS_SAMPLES; i++) {
        const interval_t *interval = &count->interval[(count->next + i) % MEMSESS_SAMPLES];

        if (interval->at && interval->at > oldest) {
            read_interval(interval, figures);
        }
    }
}

apr_time_t memsess_count_since(void)
{
    return memsess_count_shown(shared->began);
}

/* -- The whole, now and lately ----------------------------------------------------------------- */

static apr_uint64_t operations_of(const memsess_server_count_t *count, apr_uint64_t *errors)
{
    memsess_server_figures_t figures;

    read_totals(count, &figures);
    *errors += figures.errors;
    return figures.all.n;
}

/* What nobody named, and nobody used, is no server of ours. */
static int is_ours(const memsess_counted_t *server)
{
    apr_uint64_t errors = 0;

    return !server->implied || operations_of(server->count, &errors);
}

memsess_alive_t memsess_count_alive(void)
{
    memsess_alive_t alive = {.sessions = -1};
    double sessions = 0;
    int i;

    for (i = 0; listed && i < listed->nelts; i++) {
        const memsess_counted_t *server = &APR_ARRAY_IDX(listed, i, memsess_counted_t);
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
    int i;

    memset(moment, 0, sizeof(*moment));
    moment->at = memsess_clock_steady();
    memsess_count_read(moment->value);
    for (i = 0; listed && i < listed->nelts; i++) {
        const memsess_counted_t *server = &APR_ARRAY_IDX(listed, i, memsess_counted_t);

        moment->value[MEMSESS_H_OPERATIONS] += operations_of(server->count,
                                                             &moment->value[MEMSESS_H_ERRORS]);
        if (is_ours(server)) {
            moment->value[server->count->down ? MEMSESS_H_DOWN : MEMSESS_H_UP]++;
        }
    }
    moment->value[MEMSESS_H_ALIVE] = (apr_uint64_t)(memsess_count_alive().sessions + 1);
}

int memsess_count_minute(const memsess_moment_t *now, memsess_moment_t *moment)
{
    if (now->at - shared->began < apr_time_from_sec(60)) {
        memset(moment, 0, sizeof(*moment));
        moment->at = shared->began;
        return 1;
    }
    return memsess_history_minute(&shared->history, now->at, moment);
}

const memsess_history_t *memsess_count_history(void)
{
    return &shared->history;
}

memsess_roster_t *memsess_count_roster(void)
{
    return &shared->roster;
}

/* -- What operators are told ------------------------------------------------------------------- */

/* These are found again at each comparison, and logged now and then. */
int memsess_count_warn(memsess_warning_t warning, const char *text)
{
    apr_time_t now = memsess_clock_steady();

    apr_cpystrn(shared->warning[warning].text, text, MEMSESS_WARNING_LEN);
    apr_atomic_set64(&shared->warning[warning].at, (apr_uint64_t)now);
    return memsess_due(&shared->warning[warning].logged_at, now, WARN_EVERY);
}

void memsess_count_advise(memsess_warning_t warning, const char *text)
{
    memsess_advice_t *advised = apr_array_push(advice);

    advised->warning = warning;
    advised->text = text;
}

static void warn_of(apr_array_header_t *warnings, memsess_warning_t warning, const char *text)
{
    memsess_advice_t *found = apr_array_push(warnings);

    found->warning = warning;
    found->text = text;
}

/* These are of servers that are up, and yet lose sessions, or time. */
static void warn_of_server(apr_array_header_t *warnings, const memsess_counted_t *server,
                           apr_pool_t *p)
{
    const char *evicting = memsess_count_evicting(server->count, server->name, p);
    char words[MEMSESS_WORDS_LEN];

    if (evicting) {
        warn_of(warnings, MEMSESS_WARN_EVICTIONS, evicting);
    }
    if (memsess_count_is_slow(server->count)) {
        warn_of(warnings, MEMSESS_WARN_SLOW,
                memsess_count_slow_words(server->name, apr_palloc(p, MEMSESS_WARNING_LEN)));
    }
    if (was_within(&server->count->refused_at, REFUSES_FOR)) {
        warn_of(warnings, MEMSESS_WARN_REFUSALS,
                apr_psprintf(p, "server %s refuses sessions: %s", server->name,
                             memsess_error_words((apr_status_t)server->count->refusal, 0, words)));
    }
}

apr_array_header_t *memsess_count_warnings(apr_pool_t *p)
{
    apr_array_header_t *warnings = advice ? apr_array_copy(p, advice)
                                          : apr_array_make(p, 4, sizeof(memsess_advice_t));
    int i;

    for (i = 0; i < MEMSESS_WARNINGS; i++) {
        apr_uint64_t at = apr_atomic_read64(&shared->warning[i].at);

        if (at && (apr_uint64_t)memsess_clock_steady() - at < 3 * COMPARE_EVERY) {
            /* The text may just be replaced: at worst one page shows nonsense. */
            warn_of(warnings, (memsess_warning_t)i,
                    apr_pstrndup(p, shared->warning[i].text, MEMSESS_WARNING_LEN - 1));
        }
    }
    for (i = 0; listed && i < listed->nelts; i++) {
        warn_of_server(warnings, &APR_ARRAY_IDX(listed, i, memsess_counted_t), p);
    }
    return warnings;
}

apr_uint64_t memsess_count_news(memsess_counter_t counter, apr_time_t now)
{
    apr_uint64_t told = apr_atomic_read64(&shared->told[counter]), figure = figure_of(counter);

    if (figure == told || !memsess_due(&shared->told_at[counter], now, apr_time_from_sec(60))) {
        return 0;
    }
    apr_atomic_set64(&shared->told[counter], figure);
    return figure - told;
}

int memsess_count_compare_due(apr_time_t now)
{
    return now - shared->began >= COMPARE_AFTER
           && memsess_due(&shared->compared_at, now, COMPARE_EVERY);
}

/* -- Samples ---------------------------------------------------------------------------------- */

static void sample_server(memsess_server_count_t *count, apr_time_t now)
{
    interval_t *interval = &count->interval[count->next];
    memsess_server_figures_t figures;
    unsigned k;

    read_totals(count, &figures);
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

int memsess_count_sample(apr_time_t now)
{
    memsess_moment_t moment;
    int i;

    if (!memsess_due(&shared->sampled_at, now, MEMSESS_SAMPLE_EVERY)) {
        return 0;
    }
    for (i = 0; listed && i < listed->nelts; i++) {
        sample_server(APR_ARRAY_IDX(listed, i, memsess_counted_t).count, now);
    }
    memsess_count_now(&moment);
    moment.at = now;
    memsess_history_note(&shared->history, &moment);
    return 1;
}
