/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/count_private.h
 * @brief What base/count.c and the files beside it share: how the figures lie in memory.
 */
#ifndef MEMSESS_COUNT_PRIVATE_H
#define MEMSESS_COUNT_PRIVATE_H

#include "apr_atomic.h"
#include "base/advice.h"
#include "base/clock.h"
#include "base/count.h"
#include "base/history.h"
#include "base/roster.h"

#define MEMSESS_STRIPES 16
#define MEMSESS_LINE_BYTES 64 /* a line of a processor's cache */
#define MEMSESS_LINE __attribute__((aligned(MEMSESS_LINE_BYTES)))

#define MEMSESS_ADDRESS_MAX 280

/** Members compare themselves this often, and what goes on being wrong is logged this often. */
#define MEMSESS_COMPARE_EVERY apr_time_from_sec(60)
#define MEMSESS_WARN_EVERY apr_time_from_sec(600)

typedef volatile apr_uint64_t memsess_figure_t;

/* All times are of the steady clock. */

/** What all children share, beside the servers' figures. */
typedef struct memsess_shared_t {
    apr_time_t began;
    volatile apr_uint32_t threads; /* that have counted so far */
    memsess_figure_t sampled_at, watched_at, compared_at;
    memsess_figure_t told[MEMSESS_N], told_at[MEMSESS_N];
    struct {
        memsess_figure_t at, logged_at;
        char text[MEMSESS_WARNING_LEN];
    } warning[MEMSESS_WARNINGS];
    memsess_history_t history;
    memsess_roster_t roster;
    struct {
        MEMSESS_LINE memsess_figure_t figure[MEMSESS_N];
    } stripe[MEMSESS_STRIPES];
} memsess_shared_t;

/** An interval between two samples. */
typedef struct memsess_interval_t {
    apr_time_t at;
    apr_interval_time_t span;
    apr_uint64_t errors;
    apr_uint32_t bucket[MEMSESS_BUCKETS];
} memsess_interval_t;

struct memsess_server_count_t {
    char address[MEMSESS_ADDRESS_MAX]; /* "" for a private one */
    volatile apr_uint32_t down;
    memsess_figure_t since, failed_at, checked_at, error, error_at;
    /* Its clock; 0: not known, or never. */
    memsess_figure_t ahead;        /* of this machine's monotonic clock, in seconds */
    memsess_figure_t behind_since; /* when it told an earlier time than was expected */
    memsess_figure_t set_back;     /* how often such an earlier time was believed */
    memsess_figure_t back_at;      /* what its own clock said when it answered again */
    memsess_figure_t back_steady;  /* this machine's monotonic clock then */
    memsess_figure_t started, known_at; /* when it was started, as it says; when it first said so */

    memsess_figure_t refusal, refused_at, refusal_logged_at;
    memsess_figure_t slow, slow_logged_at; /* how many answers in a row were slow */
    memsess_figure_t says[MEMSESS_SAYS_N]; /* one more than the server says; 0: it does not say */
    memsess_figure_t says_at;
    struct {
        memsess_figure_t seen;          /* one more than there were; 0: it did not tell yet */
        memsess_figure_t seen_at;       /* when, by the wall clock */
        memsess_figure_t base, from;    /* what there were, and until when, before it began */
        memsess_figure_t last_at, logged_at;
    } evictions;
    /* Written by the process that takes the samples. */
    MEMSESS_LINE unsigned next;
    apr_time_t sampled_at;
    apr_uint64_t sampled_errors, sampled[MEMSESS_BUCKETS];
    memsess_interval_t interval[MEMSESS_SAMPLES];
    struct {
        MEMSESS_LINE memsess_figure_t errors;
        memsess_figure_t timeouts, total, bucket[MEMSESS_BUCKETS];
        memsess_figure_t fastest; /* recent answer, as memsess_count_way has it; 0: none yet */
    } stripe[MEMSESS_STRIPES];
};

/** One memory for all children; before memsess_count_begin was called, of this process alone. */
extern memsess_shared_t *memsess_shared;

/** The stripe of this thread: the same for the thread's life. */
unsigned memsess_count_stripe(void);

/** The latencies, errors and time-outs of a server, since counting began. */
void memsess_count_totals(const memsess_server_count_t *count, memsess_server_figures_t *totals);

/** Takes a sample of one server. */
void memsess_count_sample_server(memsess_server_count_t *count, apr_time_t now);

/** Whether a moment is less than @a span ago; not if it is 0. */
static inline int memsess_was_within(const memsess_figure_t *at, apr_interval_time_t span)
{
    apr_uint64_t then = apr_atomic_read64((memsess_figure_t *)at);

    return then && memsess_clock_steady() - (apr_time_t)then < span;
}

#endif
