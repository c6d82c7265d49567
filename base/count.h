/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/count.h
 * @brief Counters in memory that all children share, and that outlives graceful restarts; those of
 *        servers are in base/server_count.h.
 *
 * Counting takes no lock: every figure is a sum over stripes, and threads are spread over these.
 * Until memsess_count_begin was called, everything is counted in this process alone. Times that are
 * passed in are of the steady clock; times that are read are of the wall clock, as it is set then.
 */
#ifndef MEMSESS_COUNT_H
#define MEMSESS_COUNT_H

#include "base/server_count.h"

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
 * Finds or makes the shared memory, and begins an empty list of servers. The parent process calls it
 * each time it reads the configuration.
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

/** The servers listed: the i-th of them, or NULL. */
const memsess_counted_t *memsess_count_listed(int i);

/* -- Counting --------------------------------------------------------------------------------- */

void memsess_count_add(memsess_counter_t counter, unsigned n);

#define memsess_count(counter) memsess_count_add(counter, 1)

/* -- Reading ---------------------------------------------------------------------------------- */

void memsess_count_read(apr_uint64_t figures[MEMSESS_N]);

/** When counting began. */
apr_time_t memsess_count_since(void);

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

/** By how much a counter grew since the last call; 0 within a minute of that call. */
apr_uint64_t memsess_count_news(memsess_counter_t counter, apr_time_t now);

/** Whether members are to compare themselves with others now: some time after httpd was started,
 * and then once a minute. */
int memsess_count_compare_due(apr_time_t now);

/** Takes the samples that are due, in one of all children; returns whether in this one. */
int memsess_count_sample(apr_time_t now);

#endif
