/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/server_count.h
 * @brief The counters of one server: what was asked of it, whether it is up, and what it says of
 *        itself.
 *
 * They lie in memory that all children share, and that outlives graceful restarts. Times that are
 * passed in are of the steady clock; times in figures are of the wall clock, as it is set then.
 */
#ifndef MEMSESS_SERVER_COUNT_H
#define MEMSESS_SERVER_COUNT_H

#include "apr_errno.h"
#include "apr_pools.h"
#include "base/latency.h"

/** The counters of one server. */
typedef struct memsess_server_count_t memsess_server_count_t;

/** For a server that is not listed: its own, private count. */
memsess_server_count_t *memsess_count_private(apr_pool_t *p);

/* -- What was asked of it: base/server_count.c ------------------------------------------------ */

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

/* -- What it says of itself: base/server_says.c ---------------------------------------------- */

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

/* -- Its figures ------------------------------------------------------------------------------ */

/** Samples are taken this often, and cover MEMSESS_SAMPLES times this time. */
#define MEMSESS_SAMPLE_EVERY apr_time_from_sec(5)
#define MEMSESS_SAMPLES 60

typedef struct memsess_sample_t {
    apr_time_t at;
    apr_interval_time_t span;
    apr_uint64_t operations, errors;
    apr_interval_time_t p99;
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

void memsess_count_read_server(const memsess_server_count_t *count,
                               memsess_server_figures_t *figures);

#endif
