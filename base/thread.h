/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/thread.h
 * @brief Threads beside httpd's own, and how they wait.
 */
#ifndef MEMSESS_THREAD_H
#define MEMSESS_THREAD_H

#include <pthread.h>
#include <time.h>

#include "apr_time.h"

/** What threads are started for; and since when none could be had. */
typedef struct memsess_duty_t {
    const char *what;    /**< as in "the thread that WHAT" */
    apr_time_t again_at; /**< when to try again; 0: none was missed */
} memsess_duty_t;

/**
 * Starts a thread that takes no signal: httpd's handlers would end the child from within it. One
 * that cannot be had is logged, and tried again a second later at the earliest: whoever needs it
 * calls this whenever that is.
 * @param duty under the caller's lock
 */
apr_status_t memsess_thread_start(pthread_t *thread, memsess_duty_t *duty, void *(*run)(void *),
                                  void *data);

/** A condition to wait for by the monotonic clock. APR's waits by the wall clock: where that is set
 * back meanwhile, it waits for so much longer. */
static inline void memsess_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

/** Waits for so long at most, or shorter for no reason: whoever calls looks at the clock. */
static inline void memsess_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock,
                                     apr_interval_time_t most)
{
    struct timespec until;
    apr_time_t end;

    clock_gettime(CLOCK_MONOTONIC, &until);
    end = apr_time_make(until.tv_sec, until.tv_nsec / 1000) + most;
    until.tv_sec = (time_t)apr_time_sec(end);
    until.tv_nsec = (long)apr_time_usec(end) * 1000;
    pthread_cond_timedwait(cond, lock, &until);
}

#endif
