/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/advice.h
 * @brief What operators are told: what is wrong without being an error.
 */
#ifndef MEMSESS_ADVICE_H
#define MEMSESS_ADVICE_H

#include "apr_pools.h"
#include "apr_tables.h"

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

/** Begins an empty list; the parent process calls it each time it reads the configuration. */
void memsess_advice_begin(apr_pool_t *pconf);

/** The status shows it for as long as it is found again; returns whether to log it, too. */
int memsess_warn(memsess_warning_t warning, const char *text);

/** The status shows it for as long as this configuration lasts; for the parent process. */
void memsess_advise(memsess_warning_t warning, const char *text);

/** The advice to show now, of memsess_advice_t. */
apr_array_header_t *memsess_warnings(apr_pool_t *p);

#endif
