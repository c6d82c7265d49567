/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/crew.h
 * @brief Several things at once: the caller does one, helping threads the others.
 */
#ifndef MEMSESS_CREW_H
#define MEMSESS_CREW_H

#include "apr_errno.h"

typedef struct memsess_crew_t memsess_crew_t;
typedef void memsess_work_t(void *item);

/** It has no thread yet: threads are started when they are needed, and kept. */
apr_status_t memsess_crew_create(memsess_crew_t **crew);

/**
 * Calls @a work for each of @a n items, and returns when all are done. If no helper has begun an
 * item by the time when the caller could, the caller does it: no caller waits for a busy helper.
 * @param are_quick each item takes less time, as a rule, than to wake a helper: the caller does them
 *        in turn, and helpers come only if that has taken some milliseconds
 */
void memsess_crew_do(memsess_crew_t *crew, memsess_work_t *work, void *const *items, unsigned n,
                     int are_quick);

/** To be called when nothing uses it any more. */
void memsess_crew_destroy(memsess_crew_t *crew);

#endif
