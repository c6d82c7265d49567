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

/** What threads are started for, and whether the system gave none. */
typedef struct memsess_duty_t {
    const char *what;    /**< as in "the thread that WHAT" */
    const char *without; /**< what happens without that thread: a sentence */
    apr_time_t again_at; /**< when to try again; 0: no thread was refused */
} memsess_duty_t;

/**
 * Starts a thread that takes no signal: httpd's handlers would end the child from within it. If the
 * system gives no thread, that is logged, and tried again a second later at the earliest: the
 * caller calls this whenever it needs the thread.
 * @param duty under the caller's lock
 */
apr_status_t memsess_thread_start(pthread_t *thread, memsess_duty_t *duty, void *(*run)(void *),
                                  void *data);

/** A condition that waits by the monotonic clock. APR's waits by the wall clock: if that is set
 * back meanwhile, it waits longer by as much. */
static inline void memsess_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

/** Waits no longer than @a most, and perhaps shorter for no reason: the caller looks at the clock. */
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
