/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/count.h
 * @brief Counters in memory that all children share, and that outlives graceful restarts.
 *
 * Counting takes no lock: every figure is a sum over stripes, and threads are spread over these.
 * Until memsess_count_begin was called, everything is counted in this process alone. Times that are
 * passed in are of the steady clock; times that are read are of the wall clock, as it is set then.
 */
#ifndef MEMSESS_COUNT_H
#define MEMSESS_COUNT_H

#include "apr_pools.h"
#include "apr_tables.h"
#include "apr_time.h"
#include "base/error.h"

/*
 * C(name, group, title, figure, is_bad, meaning)
 *
 * A counter is its row here, and nothing else: the page, JSON (GROUP.FIGURE), Prometheus
 * (memsess_GROUP_FIGURE_total) and mod_status take it from the row, and so do rates and the history
 * of an hour. Counters of one group stand together, under one title. A bad one is red where it rises.
 */
#define MEMSESS_COUNTERS(C)                                                                        \
    C(CREATED, sessions, "Sessions", created, 0,                                                   \
      "Sessions begun")                                                                            \
    C(LOADED, sessions, "Sessions", loaded, 0,                                                     \
      "Requests that found their session")                                                         \
    C(MISSED, sessions, "Sessions", missed, 0,                                                     \
      "Requests whose session was not found")                                                      \
    C(COMMITTED, sessions, "Sessions", committed, 0,                                               \
      "Responses whose changes are in the store")                                                  \
    C(MERGED, sessions, "Sessions", merged, 0,                                                     \
      "Responses whose changes were merged with those of another request")                         \
    C(DESTROYED, sessions, "Sessions", destroyed, 0,                                               \
      "Sessions ended by a response")                                                              \
    C(EXPIRED, sessions, "Sessions", expired, 0,                                                   \
      "Requests whose session had expired")                                                        \
    C(REJECTED, sessions, "Sessions", rejected, 0,                                                 \
      "Cookies that were malformed or forged")                                                     \
    C(UNAVAILABLE, sessions, "Sessions", unavailable, 1,                                           \
      "Requests that the store could not answer")                                                  \
    C(REPAIRED, copies, "Copies", repaired, 0,                                                     \
      "Copies that were missing or old and were written again")                                    \
    C(UNDER_REPLICATED, copies, "Copies", under_replicated, 1,                                     \
      "Writes that reached fewer servers than they should")                                        \
    C(LOCK_WAITS, locks, "Locks", waits, 0,                                                        \
      "Requests that waited for another one of the same session")                                  \
    C(LOCK_TIMEOUTS, locks, "Locks", timeouts, 1,                                                  \
      "Requests that waited for longer than MemSessLockWait")                                      \
    C(CACHE_HITS, local_cache, "Local cache", hits, 0,                                             \
      "Sessions served from this member's own copy")                                               \
    C(CACHE_MISSES, local_cache, "Local cache", misses, 0,                                         \
      "Sessions that had to be read from the servers")

typedef enum {
#define MEMSESS_COUNTER(name, group, title, figure, is_bad, meaning) MEMSESS_N_##name,
    MEMSESS_COUNTERS(MEMSESS_COUNTER)
#undef MEMSESS_COUNTER
    MEMSESS_N
} memsess_counter_t;

/** A counter's row. */
typedef struct memsess_counter_name_t {
    const char *group, *title, *figure, *meaning;
    int is_bad;
} memsess_counter_name_t;

extern const memsess_counter_name_t memsess_counter_names[MEMSESS_N];

/** Whether a counter is the first of its group. */
int memsess_counter_begins_group(int counter);

/** The counters of one server. */
typedef struct memsess_server_count_t memsess_server_count_t;

/** One server of the present configuration. */
typedef struct memsess_counted_t {
    const char *name, *address;
    unsigned weight;
    int implied; /**< by the default of MemSessServers alone */
    apr_interval_time_t timeout; /**< MemSessTimeout; 0: virtual hosts have several */
    unsigned copies; /**< of a session; the fewest, where virtual hosts have several */
    memsess_server_count_t *count;
} memsess_counted_t;

/**
 * Finds or makes the shared memory, and begins empty lists of servers and advice. The parent
 * process calls it each time it reads the configuration.
 * @param process a pool that lives as long as the process
 * @param pconf one that lives as long as the configuration
 */
apr_status_t memsess_count_begin(apr_pool_t *process, apr_pool_t *pconf);

/**
 * Lists a server, unless one of that address is listed already. The server keeps the figures of
 * earlier configurations. Figures of a server that two configurations in a row did not name may be
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

/** The server, asked alone, took this long to answer. What is asked of several at once tells nothing of
 * the way to each. Returns whether to log that the server is slow. */
int memsess_count_way(memsess_server_count_t *count, apr_interval_time_t took);

/** Whether the server answers faster than another thread wakes, as this thread has seen it lately; or
 * this thread has not asked it alone yet. */
int memsess_count_is_near(memsess_server_count_t *count);

/** Whether the last answers of a server that is up were all slow. */
int memsess_count_is_slow(memsess_server_count_t *count);

/** The words for that, in the MEMSESS_WARNING_LEN bytes of @a words. */
const char *memsess_count_slow_words(const char *name, char *words);

/** An operation ended after the time @a took; a time-out is a failure, too. @a rv: why it failed. */
void memsess_count_operation(memsess_server_count_t *count, apr_interval_time_t took,
                             memsess_outcome_t outcome, apr_status_t rv);

/*
 * Children may see a server differently, and the latest view counts: the server is down from the
 * moment when one child could not use it until one has an answer to a later question.
 */

/** It cannot be used; returns whether that is news. */
int memsess_count_down(memsess_server_count_t *count, apr_status_t why);

/** It answers, and refuses to store a record; returns whether to log that. */
int memsess_count_refusing(memsess_server_count_t *count, apr_status_t why);

/** It answered a question of @a begun; returns whether that is news. */
int memsess_count_up(memsess_server_count_t *count, apr_time_t begun);

/**
 * Whether a child that has not heard of it should ask it now, because the children that found it
 * down have ended, because an operator looks at the figures, or because it is slow. All children
 * together ask it no more often than @a every.
 */
int memsess_count_check_due(memsess_server_count_t *count, apr_interval_time_t every);

/** An operator looks at the figures: for a while they should be right though no request has a
 * session. */
void memsess_count_watched(void);

/* -- What a server says of itself --------------------------------------------------------------- */

/* S(name, stat, json, prometheus, type, meaning): memcached's name of it, and ours */
#define MEMSESS_SAYS(S)                                                                            \
    S(MEMORY, bytes, memory_bytes, memory_bytes, gauge, "Memory that the server's items take")     \
    S(LIMIT, limit_maxbytes, memory_limit_bytes, memory_limit_bytes, gauge,                        \
      "Memory that the server's items may take (its -m)")                                          \
    S(ITEMS, curr_items, items, items, gauge, "Items that the server has")                         \
    S(HITS, get_hits, get_hits, get_hits_total, counter, "Reads that found something")             \
    S(MISSES, get_misses, get_misses, get_misses_total, counter, "Reads that found nothing")       \
    S(EVICTIONS, evictions, evictions, evictions_total, counter,                                   \
      "Items that the server threw out before their time, since its memory was full")              \
    S(UPTIME, uptime, uptime_s, uptime_seconds, gauge, "How long the server has been running")

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

/** Whether to ask it for these figures now: one of all children does, every 10 s. */
int memsess_count_says_due(memsess_server_count_t *count);

/** Its figures, -1 for those that it does not tell; returns whether to log that it evicts. */
int memsess_count_says(memsess_server_count_t *count, const apr_int64_t says[MEMSESS_SAYS_N]);

/** A text for logs and the status, if it has evicted something within the last hour; or NULL. */
const char *memsess_count_evicting(const memsess_server_count_t *count, const char *name,
                                   apr_pool_t *p);

/** Notes what a server's own clock said, in seconds, at @a steady of this machine's monotonic
 * clock. A time that is earlier than expected counts once the server has told it for two seconds.
 * */
void memsess_count_server_told(memsess_server_count_t *count, apr_int64_t seconds,
                               apr_time_t steady);

/** Notes when a server says that it was started, by its own clock: if that changes, it is another
 * server, or one that has lost its memory. */
void memsess_count_server_started(memsess_server_count_t *count, apr_int64_t started,
                                  apr_time_t steady);

/** For how long it has been the same server, as far as this member knows. */
apr_interval_time_t memsess_count_server_known(const memsess_server_count_t *count,
                                               apr_time_t steady);

/** Whether an earlier time of its clock was ever believed. */
int memsess_count_server_set_back(const memsess_server_count_t *count);

/** Another server has taken its place: nothing is known of the new one's clock. */
void memsess_count_server_moved(memsess_server_count_t *count);

/** What that clock says now, to a second, however this machine's clock was set; 0: not known. */
apr_int64_t memsess_count_server_clock(const memsess_server_count_t *count);

/** The server answers again: what it has from before may be old, and all child processes know it. */
void memsess_count_server_back(memsess_server_count_t *count);

/** When that was last, by the monotonic clock, and by the server's own (0: not known); 0: never. */
apr_time_t memsess_count_server_back_at(const memsess_server_count_t *count, apr_int64_t *clock);

/* -- Reading ---------------------------------------------------------------------------------- */

/** Buckets of latencies: four for each doubling, up to 2^27 microseconds. */
#define MEMSESS_BUCKETS 104

/** Samples are taken this often, and cover MEMSESS_SAMPLES times this time. */
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
    apr_int64_t says[MEMSESS_SAYS_N]; /**< its own figures; -1: it does not tell */
    memsess_histogram_t all;      /**< all.n: operations */
    apr_uint64_t total;           /**< of all latencies, in microseconds */
    memsess_histogram_t recent;   /**< of the time that samples cover */
    unsigned near, far; /**< how many threads, about, find the server near; and not near */
    unsigned samples;
    memsess_sample_t sample[MEMSESS_SAMPLES]; /**< oldest first */
} memsess_server_figures_t;

void memsess_count_read(apr_uint64_t figures[MEMSESS_N]);
void memsess_count_read_server(const memsess_server_count_t *count,
                               memsess_server_figures_t *figures);

/** When counting began. */
apr_time_t memsess_count_since(void);

/** A moment of the steady clock as the wall clock would have shown it, had it been set as it is now;
 * 0: never. */
apr_time_t memsess_count_shown(apr_time_t at);

/** How many sessions there are, as well as that can be known: what servers say that they have,
 * divided by copies. */
typedef struct memsess_alive_t {
    apr_int64_t sessions;     /**< -1: no server tells */
    apr_int64_t items;        /**< of the servers that tell */
    unsigned servers, silent; /**< how many tell, and how many are down or do not */
} memsess_alive_t;

memsess_alive_t memsess_count_alive(void);

typedef struct memsess_moment_t memsess_moment_t;   /* base/history.h */
typedef struct memsess_history_t memsess_history_t;

/** All figures as they are now. */
void memsess_count_now(memsess_moment_t *moment);

/** The first moment of the last minute, or when counting began; 0: what there is, is older. */
int memsess_count_minute(const memsess_moment_t *now, memsess_moment_t *moment);

/** What is remembered of the last hour. */
const memsess_history_t *memsess_count_history(void);

/** The members that were seen; see base/roster.h. */
struct memsess_roster_t *memsess_count_roster(void);

/** The bucket of a latency; and the first latency, in microseconds, above a bucket. */
unsigned memsess_bucket_of(apr_interval_time_t took);
apr_interval_time_t memsess_bucket_end(unsigned bucket);

/** The latency that this share of all (0.99, say) do not exceed; 0 if there are none. */
apr_interval_time_t memsess_percentile(const memsess_histogram_t *histogram, double share);

/* W(name, kind): things that are wrong without being errors: facts that one member found out about
 * another, and a configuration that is hardly meant. */
#define MEMSESS_WARNS(W)                                                                           \
    W(POOL, pool)                                                                                  \
    W(CLOCK, clock)                                                                                \
    W(SECRET, secret)                                                                              \
    W(REDUNDANCY, redundancy)                                                                      \
    W(EVICTIONS, evictions)                                                                        \
    W(REFUSALS, refusals)                                                                          \
    W(CONNECTIONS, connections)                                                                    \
    W(SLOW, slow)                                                                                  \
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

/** The status shows it for as long as it is found again; returns whether to log it, too. */
int memsess_count_warn(memsess_warning_t warning, const char *text);

/** The status shows it for as long as this configuration lasts; for the parent process. */
void memsess_count_advise(memsess_warning_t warning, const char *text);

/** The advice to show now, of memsess_advice_t. */
apr_array_header_t *memsess_count_warnings(apr_pool_t *p);

/** By how much a counter grew since the last call; 0 within a minute of that call. */
apr_uint64_t memsess_count_news(memsess_counter_t counter, apr_time_t now);

/** Whether members are to compare themselves with others now: some time after httpd was started,
 * and then once a minute. */
int memsess_count_compare_due(apr_time_t now);

/** Takes the samples that are due, in one of all children; returns whether in this one. */
int memsess_count_sample(apr_time_t now);

#endif
