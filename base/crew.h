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

/** Without a thread yet: they are started when they are needed, and kept. */
apr_status_t memsess_crew_create(memsess_crew_t **crew);

/**
 * Calls @a work for each of @a n items, and returns when all are done. What no helper has begun
 * by the time that the caller could begin it, the caller does: nobody waits for a busy helper.
 */
void memsess_crew_do(memsess_crew_t *crew, memsess_work_t *work, void *const *items, unsigned n);

/** When nobody uses it any more. */
void memsess_crew_destroy(memsess_crew_t *crew);

#endif
