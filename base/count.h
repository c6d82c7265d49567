/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/count.h
 * @brief Counters in memory that all children share, and that outlives graceful restarts.
 *
 * Counting takes no lock: every figure is a sum over stripes, and threads are spread over these.
 * Until memsess_count_begin was called, everything is counted in this process alone. What is passed
 * in is of the steady clock; what is read is of the wall clock, as that is set by then.
 */
#ifndef MEMSESS_COUNT_H
#define MEMSESS_COUNT_H

#include "apr_pools.h"
#include "apr_tables.h"
#include "apr_time.h"
#include "base/error.h"

/*
 * C(name, group, title, figure, meaning)
 *
 * A counter is its row here, and nothing else: the page, JSON (GROUP.FIGURE), Prometheus
 * (memsess_GROUP_FIGURE_total) and mod_status have it from there. Those of one group stand together,
 * under one title.
 */
#define MEMSESS_COUNTERS(C)                                                                        \
    C(CREATED, sessions, "Sessions", created,                                                      \
      "Sessions begun")                                                                            \
    C(LOADED, sessions, "Sessions", loaded,                                                        \
      "Requests that found their session")                                                         \
    C(MISSED, sessions, "Sessions", missed,                                                        \
      "Requests whose session certainly is not there")                                             \
    C(COMMITTED, sessions, "Sessions", committed,                                                  \
      "Responses whose changes are in the store")                                                  \
    C(MERGED, sessions, "Sessions", merged,                                                        \
      "Of these, upon the changes of another request")                                             \
    C(DESTROYED, sessions, "Sessions", destroyed,                                                  \
      "Sessions ended by a response")                                                              \
    C(EXPIRED, sessions, "Sessions", expired,                                                      \
      "Requests whose session was over by its time-outs")                                          \
    C(REJECTED, sessions, "Sessions", rejected,                                                    \
      "Cookies malformed or forged")                                                               \
    C(UNAVAILABLE, sessions, "Sessions", unavailable,                                              \
      "Requests that the store could not answer")                                                  \
    C(REPAIRED, copies, "Copies", repaired,                                                        \
      "Copies that were missing or old and were written again")                                    \
    C(UNDER_REPLICATED, copies, "Copies", under_replicated,                                        \
      "Writes that reached fewer servers than wanted")                                             \
    C(LOCK_WAITS, locks, "Locks", waits,                                                           \
      "Requests that waited for another one of the same session")                                  \
    C(LOCK_TIMEOUTS, locks, "Locks", timeouts,                                                     \
      "Requests that waited for longer than MemSessLockWait")                                      \
    C(CACHE_HITS, local_cache, "Local cache", hits,                                                \
      "Sessions served from this member's own copy")                                               \
    C(CACHE_MISSES, local_cache, "Local cache", misses,                                            \
      "Sessions that had to be asked for")

typedef enum {
#define MEMSESS_COUNTER(name, group, title, figure, meaning) MEMSESS_N_##name,
    MEMSESS_COUNTERS(MEMSESS_COUNTER)
#undef MEMSESS_COUNTER
    MEMSESS_N
} memsess_counter_t;

/** A counter's row. */
typedef struct memsess_counter_name_t {
    const char *group, *title, *figure, *meaning;
} memsess_counter_name_t;

extern const memsess_counter_name_t memsess_counter_names[MEMSESS_N];

/** Whether a counter is the first of its group. */
int memsess_counter_begins_group(int counter);

/** What is counted of one server. */
typedef struct memsess_server_count_t memsess_server_count_t;

/** One server of the present configuration. */
typedef struct memsess_counted_t {
    const char *name, *address;
    unsigned weight;
    int implied; /**< by the default of MemSessServers alone */
    apr_interval_time_t timeout; /**< MemSessTimeout; 0: virtual hosts have several */
    memsess_server_count_t *count;
} memsess_counted_t;

/**
 * Finds or makes the shared memory, and begins empty lists of servers and advice; for the parent
 * process, each time it reads the configuration.
 * @param process a pool that lives as long as the process
 * @param pconf one that lives as long as the configuration
 */
apr_status_t memsess_count_begin(apr_pool_t *process, apr_pool_t *pconf);

/**
 * Lists a server, unless one of that address is listed already. It goes on with the figures that
 * it had in earlier configurations; those of servers that two configurations did not name may be
 * forgotten.
 */
apr_status_t memsess_count_list(const memsess_counted_t *server, memsess_server_count_t **count);

/** The servers listed, of memsess_counted_t. */
const apr_array_header_t *memsess_count_listed(void);

/** For a server that is not listed: its own, private count. */
memsess_server_count_t *memsess_count_private(apr_pool_t *p);

/* -- Counting --------------------------------------------------------------------------------- */

void memsess_count_add(memsess_counter_t counter, unsigned n);

#define memsess_count(counter) memsess_count_add(counter, 1)

typedef enum { MEMSESS_ANSWERED, MEMSESS_FAILED, MEMSESS_TIMED_OUT } memsess_outcome_t;

/** An operation is over that took so long; a time-out is a failure too. @a rv: why it failed. */
void memsess_count_operation(memsess_server_count_t *count, apr_interval_time_t took,
                             memsess_outcome_t outcome, apr_status_t rv);

/*
 * What children see of a server may differ, and what the latest of them saw counts: it is down
 * from when one could not use it until one has an answer to what it asked after that.
 */

/** It cannot be used; returns whether that is news. */
int memsess_count_down(memsess_server_count_t *count, apr_status_t why);

/** It answers, and refuses what is to be stored; returns whether to log that. */
int memsess_count_refusing(memsess_server_count_t *count, apr_status_t why);

/** It answered what was asked at @a begun; returns whether that is news. */
int memsess_count_up(memsess_server_count_t *count, apr_time_t begun);

/**
 * Whether a child that has not heard of it should ask it now, no more often than @a every in all
 * children: where those that found it down are gone, or somebody looks at the figures.
 */
int memsess_count_check_due(memsess_server_count_t *count, apr_interval_time_t every);

/** Somebody looks at the figures: for a while they should be true where nobody has a session. */
void memsess_count_watched(void);

/* -- What a server says of itself --------------------------------------------------------------- */

/* S(name, stat, json, prometheus, type, meaning): memcached's name of it, and ours */
#define MEMSESS_SAYS(S)                                                                            \
    S(MEMORY, bytes, memory_bytes, memory_bytes, gauge, "What its items take")                     \
    S(LIMIT, limit_maxbytes, memory_limit_bytes, memory_limit_bytes, gauge,                        \
      "What they may take (its -m)")                                                               \
    S(ITEMS, curr_items, items, items, gauge, "Items that it has")                                 \
    S(EVICTIONS, evictions, evictions, evictions_total, counter,                                   \
      "Items that it threw out before their time, for want of memory")                             \
    S(UPTIME, uptime, uptime_s, uptime_seconds, gauge, "For how long it has been running")

typedef enum {
#define MEMSESS_SAY(name, stat, json, prometheus, type, meaning) MEMSESS_SAYS_##name,
    MEMSESS_SAYS(MEMSESS_SAY)
#undef MEMSESS_SAY
    MEMSESS_SAYS_N
} memsess_says_t;

typedef struct memsess_says_name_t {
    const char *stat, *json, *prometheus, *type, *meaning;
} memsess_says_name_t;

extern const memsess_says_name_t memsess_says_names[MEMSESS_SAYS_N];

/** Whether it is to be asked for that now: every 10 s, by one of all children. */
int memsess_count_says_due(memsess_server_count_t *count);

/** What it says, -1 for what it does not tell; returns whether to log that it evicts. */
int memsess_count_says(memsess_server_count_t *count, const apr_int64_t says[MEMSESS_SAYS_N]);

/** For logs and the status, where it has evicted something within the last hour; or NULL. */
const char *memsess_count_evicting(const memsess_server_count_t *count, const char *name,
                                   apr_pool_t *p);

/** Notes what a server's own clock said, in seconds, at @a steady of this machine's monotonic one. An
 * earlier time than was to be expected counts once it was told for two seconds. */
void memsess_count_server_told(memsess_server_count_t *count, apr_int64_t seconds,
                               apr_time_t steady);

/** Notes when a server says that it was started, by its own clock: another one is another server, or one
 * that has lost its memory. */
void memsess_count_server_started(memsess_server_count_t *count, apr_int64_t started,
                                  apr_time_t steady);

/** How long it has been the same one, as far as anybody here knows. */
apr_interval_time_t memsess_count_server_known(const memsess_server_count_t *count,
                                               apr_time_t steady);

/** Whether an earlier time ever counted so. */
int memsess_count_server_set_back(const memsess_server_count_t *count);

/** Another server has its place: nothing is known of that one's clock. */
void memsess_count_server_moved(memsess_server_count_t *count);

/** What that clock says now, to a second, whatever was done to this machine's; 0: not known. */
apr_int64_t memsess_count_server_clock(const memsess_server_count_t *count);

/* -- Reading ---------------------------------------------------------------------------------- */

/** Buckets of latencies: four for each doubling, up to 2^27 microseconds. */
#define MEMSESS_BUCKETS 104

/** Samples are taken this often, and cover MEMSESS_SAMPLES times that. */
#define MEMSESS_SAMPLE_EVERY apr_time_from_sec(5)
#define MEMSESS_SAMPLES 60

/** How often something happened, by how long it took. */
typedef struct memsess_histogram_t {
    apr_uint64_t n, bucket[MEMSESS_BUCKETS];
} memsess_histogram_t;

typedef struct memsess_sample_t {
    apr_time_t at;
    apr_interval_time_t span;
    apr_uint64_t operations, errors;
    apr_interval_time_t p50, p99;
} memsess_sample_t;

/** The figures of one server. */
typedef struct memsess_server_figures_t {
    int down;
    apr_time_t since;             /**< when that began */
    apr_uint64_t errors, timeouts;
    apr_status_t last_error;
    apr_time_t last_error_at;     /**< 0: never */
    apr_int64_t says[MEMSESS_SAYS_N]; /**< of itself; -1: it does not tell */
    memsess_histogram_t all;      /**< all.n: operations */
    apr_uint64_t total;           /**< of all latencies, in microseconds */
    memsess_histogram_t recent;   /**< of the time that samples cover */
    unsigned samples;
    memsess_sample_t sample[MEMSESS_SAMPLES]; /**< oldest first */
} memsess_server_figures_t;

void memsess_count_read(apr_uint64_t figures[MEMSESS_N]);
void memsess_count_read_server(const memsess_server_count_t *count,
                               memsess_server_figures_t *figures);

/** When counting began. */
apr_time_t memsess_count_since(void);

/** Which bucket a latency is in; and the first latency, in microseconds, above that bucket. */
unsigned memsess_bucket_of(apr_interval_time_t took);
apr_interval_time_t memsess_bucket_end(unsigned bucket);

/** The latency that this share of all (0.99, say) do not exceed; 0 where there are none. */
apr_interval_time_t memsess_percentile(const memsess_histogram_t *histogram, double share);

/* W(name, kind): what is wrong, and yet no error: what one member found out about another, and what
 * is hardly meant in the configuration. */
#define MEMSESS_WARNS(W)                                                                           \
    W(POOL, pool)                                                                                  \
    W(CLOCK, clock)                                                                                \
    W(SECRET, secret)                                                                              \
    W(REDUNDANCY, redundancy)                                                                      \
    W(EVICTIONS, evictions)                                                                        \
    W(REFUSALS, refusals)                                                                          \
    W(CONNECTIONS, connections)                                                                    \
    W(NAME, name)

typedef enum {
#define MEMSESS_WARN(name, kind) MEMSESS_WARN_##name,
    MEMSESS_WARNS(MEMSESS_WARN)
#undef MEMSESS_WARN
    MEMSESS_WARNINGS
} memsess_warning_t;

extern const char *const memsess_warning_kinds[MEMSESS_WARNINGS];

typedef struct memsess_advice_t {
    memsess_warning_t warning;
    const char *text;
} memsess_advice_t;

#define MEMSESS_WARNING_LEN 256

/** Has the status show it for as long as it is found again; returns whether to log it too. */
int memsess_count_warn(memsess_warning_t warning, const char *text);

/** Has the status show it for as long as this configuration lasts; for the parent process. */
void memsess_count_advise(memsess_warning_t warning, const char *text);

/** What there is to show now, of memsess_advice_t. */
apr_array_header_t *memsess_count_warnings(apr_pool_t *p);

/** How far a counter went up since this was asked last; 0 within a minute of that. */
apr_uint64_t memsess_count_news(memsess_counter_t counter, apr_time_t now);

/** Whether members are to compare themselves with others now: some time after httpd was started,
 * and then once a minute. */
int memsess_count_compare_due(apr_time_t now);

/** Takes the samples that are due, in one of all children; returns whether in this one. */
int memsess_count_sample(apr_time_t now);

#endif
