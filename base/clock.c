/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "base/clock.h"

#include <time.h>

apr_time_t memsess_clock_wall(void)
{
    return apr_time_now();
}

apr_time_t memsess_clock_steady(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return apr_time_make(now.tv_sec, now.tv_nsec / 1000) + 1;
}
