/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "base/history.h"

#include "apr_atomic.h"

#define MINUTE apr_time_from_sec(60)

/* A moment may come a little later than it is due. */
#define LATE (MEMSESS_SAMPLE_EVERY / 2)

/* The time is written last, so that no reader takes half a moment for a whole one. */
static void push(memsess_ring_t *ring, unsigned size, const memsess_moment_t *moment)
{
    volatile apr_uint64_t *slot = ring->slot[ring->next % size];
    unsigned i;

    apr_atomic_set64(&slot[0], 0);
    for (i = 0; i < MEMSESS_H_N; i++) {
        apr_atomic_set64(&slot[1 + i], moment->value[i]);
    }
    apr_atomic_set64(&slot[0], (apr_uint64_t)moment->at);
    apr_atomic_inc64(&ring->next);
}

/* The i-th of the ring, the oldest first; whether it is there, and later than that. */
static int take(const memsess_ring_t *ring, unsigned size, unsigned i, apr_time_t after,
                memsess_moment_t *moment)
{
    volatile apr_uint64_t *next = (volatile apr_uint64_t *)&ring->next, *slot;
    unsigned k;

    slot = (volatile apr_uint64_t *)ring->slot[(apr_atomic_read64(next) + i) % size];
    moment->at = (apr_time_t)apr_atomic_read64(&slot[0]);
    for (k = 0; k < MEMSESS_H_N; k++) {
        moment->value[k] = apr_atomic_read64(&slot[1 + k]);
    }
    return moment->at && moment->at > after
           && moment->at == (apr_time_t)apr_atomic_read64(&slot[0]);
}

void memsess_history_note(memsess_history_t *history, const memsess_moment_t *moment)
{
    memsess_moment_t last;

    push(&history->moments, MEMSESS_MOMENTS, moment);
    if (!take(&history->minutes, MEMSESS_MINUTES, MEMSESS_MINUTES - 1, 0, &last)
        || moment->at - last.at >= MINUTE - LATE) {
        push(&history->minutes, MEMSESS_MINUTES, moment);
    }
}

apr_time_t memsess_history_last(const memsess_history_t *history)
{
    memsess_moment_t last;

    return take(&history->moments, MEMSESS_MOMENTS, MEMSESS_MOMENTS - 1, 0, &last) ? last.at : 0;
}

int memsess_history_minute(const memsess_history_t *history, apr_time_t now,
                           memsess_moment_t *moment)
{
    unsigned i;

    for (i = 0; i < MEMSESS_MOMENTS; i++) {
        if (take(&history->moments, MEMSESS_MOMENTS, i, now - MINUTE - LATE, moment)) {
            return 1;
        }
    }
    return 0;
}

unsigned memsess_history_hour(const memsess_history_t *history, apr_time_t now,
                              memsess_moment_t moments[MEMSESS_MINUTES])
{
    unsigned i, n = 0;

    for (i = 0; i < MEMSESS_MINUTES; i++) {
        n += (unsigned)take(&history->minutes, MEMSESS_MINUTES, i,
                            now - MEMSESS_MINUTES * MINUTE, &moments[n]);
    }
    return n;
}

apr_uint64_t memsess_history_rise(const memsess_moment_t *from, const memsess_moment_t *to,
                                  unsigned figure)
{
    return to->value[figure] > from->value[figure] ? to->value[figure] - from->value[figure] : 0;
}

double memsess_history_rate(const memsess_moment_t *from, const memsess_moment_t *to,
                            unsigned figure)
{
    return to->at > from->at ? (double)memsess_history_rise(from, to, figure) * 1e6
                               / (double)(to->at - from->at) : 0;
}
