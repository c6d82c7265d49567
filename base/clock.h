/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/clock.h
 * @brief The two clocks: one for what is stored, one for how long something has lasted here.
 */
#ifndef MEMSESS_CLOCK_H
#define MEMSESS_CLOCK_H

#include "apr_time.h"

/**
 * The wall clock, in microseconds since 1970: for what is stored and compared across members
 * (birth, use, end). It can be set, also back, and members' clocks differ.
 */
apr_time_t memsess_clock_wall(void);

/**
 * The monotonic clock, in microseconds since some moment before this process began; never 0. For
 * time-outs, health, leases, rate limits and ages: nobody can set it, and all processes of this
 * machine share it (CLOCK_MONOTONIC). It means nothing on another machine.
 */
apr_time_t memsess_clock_steady(void);

/** A moment of the monotonic clock as the wall clock would have shown it, had it been set as it is
 * now; 0: never. */
static inline apr_time_t memsess_clock_shown(apr_time_t at)
{
    return at ? memsess_clock_wall() - (memsess_clock_steady() - at) : 0;
}

#endif
