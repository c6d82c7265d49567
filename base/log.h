/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file log.h
 * @brief Where messages go; and a limit for things that are said or done only now and then.
 */
#ifndef MEMSESS_LOG_H
#define MEMSESS_LOG_H

#include "apr_errno.h"
#include "apr_time.h"

/* Levels have the numbers of syslog and httpd, so that no table is needed between them. */
typedef enum {
    MEMSESS_LOG_ERR = 3,
    MEMSESS_LOG_WARNING = 4,
    MEMSESS_LOG_NOTICE = 5,
    MEMSESS_LOG_INFO = 6,
    MEMSESS_LOG_DEBUG = 7,
    MEMSESS_LOG_TRACE = 8
} memsess_log_level_t;

/** The module sets this once; unset, messages are dropped. It never gets an id or a value. */
extern void (*memsess_log_sink)(memsess_log_level_t level, apr_status_t rv, const char *message);

/** Logs at most 512 bytes. @a rv is 0 where no error belongs to the message. */
void memsess_log(memsess_log_level_t level, apr_status_t rv, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/** Whether a thing that is done no more often than @a every is due. One of all callers that share
 * @a last, which is 0 at first, gets true. @a now: of the steady clock. */
int memsess_due(volatile apr_uint64_t *last, apr_time_t now, apr_interval_time_t every);

/** Whether requests are traced; the module sets this before httpd serves. */
extern int memsess_tracing;

/** One step of a request. While tracing is off it costs nothing: its text is not even made. */
#define memsess_trace(...)                                                                         \
    do {                                                                                           \
        if (memsess_tracing) {                                                                     \
            memsess_log(MEMSESS_LOG_TRACE, 0, __VA_ARGS__);                                        \
        }                                                                                          \
    } while (0)

#endif
