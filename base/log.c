/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "base/log.h"

#include <stdarg.h>

#include "apr_atomic.h"
#include "apr_strings.h"

void (*memsess_log_sink)(memsess_log_level_t, apr_status_t, const char *);

int memsess_tracing;

void memsess_log(memsess_log_level_t level, apr_status_t rv, const char *fmt, ...)
{
    char message[512];
    va_list args;

    if (memsess_log_sink) {
        va_start(args, fmt);
        apr_vsnprintf(message, sizeof(message), fmt, args);
        va_end(args);
        memsess_log_sink(level, rv, message);
    }
}

int memsess_due(volatile apr_uint64_t *last, apr_time_t now, apr_interval_time_t every)
{
    apr_uint64_t was = apr_atomic_read64(last);

    /* The clock of a machine that was just switched on shows little more than 0. */
    return (!was || now - (apr_time_t)was >= every)
           && apr_atomic_cas64(last, (apr_uint64_t)now, was) == was;
}
