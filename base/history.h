/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/history.h
 * @brief What a member counted lately: its last minute, for rates, and its last hour.
 *
 * Both are rings of moments in memory that all children share, which is all zero at first. One
 * thread of all children writes at a time; whoever reads meanwhile may miss the moment that is
 * being written. All times are the steady clock's.
 */
#ifndef MEMSESS_HISTORY_H
#define MEMSESS_HISTORY_H

#include "base/count.h"

/** What is remembered of a moment, beside the counters. */
enum {
    MEMSESS_H_OPERATIONS = MEMSESS_N, /**< of all servers, as counters */
    MEMSESS_H_ERRORS,
    MEMSESS_H_UP, /**< servers */
    MEMSESS_H_DOWN,
    MEMSESS_H_ALIVE, /**< one more than there were sessions, as estimated; 0: not known */
    MEMSESS_H_N
};

/** All figures at one moment. */
struct memsess_moment_t {
    apr_time_t at;
    apr_uint64_t value[MEMSESS_H_N];
};

/** A minute of moments, MEMSESS_SAMPLE_EVERY apart, and one to spare; and an hour of minutes. */
#define MEMSESS_MOMENTS 14
#define MEMSESS_MINUTES 61

typedef struct memsess_ring_t {
    volatile apr_uint64_t next, slot[MEMSESS_MINUTES][1 + MEMSESS_H_N];
} memsess_ring_t;

struct memsess_history_t {
    memsess_ring_t moments, minutes;
};

/** Remembers a moment; now and then it is the end of a minute, too. */
void memsess_history_note(memsess_history_t *history, const memsess_moment_t *moment);

/** When the last moment was remembered; 0: never. */
apr_time_t memsess_history_last(const memsess_history_t *history);

/** The first moment of the minute before @a now; returns whether there is one. */
int memsess_history_minute(const memsess_history_t *history, apr_time_t now,
                           memsess_moment_t *moment);

/** The ends of minutes of the hour before @a now, the oldest first; returns how many. */
unsigned memsess_history_hour(const memsess_history_t *history, apr_time_t now,
                              memsess_moment_t moments[MEMSESS_MINUTES]);

/** How far a figure went up from one moment to a later one; 0 where it fell, as the operations do
 * when a server leaves the configuration. */
apr_uint64_t memsess_history_rise(const memsess_moment_t *from, const memsess_moment_t *to,
                                  unsigned figure);

/** The same per second. */
double memsess_history_rate(const memsess_moment_t *from, const memsess_moment_t *to,
                            unsigned figure);

#endif
