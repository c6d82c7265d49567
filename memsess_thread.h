/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file memsess_thread.h
 * @brief A thread beside httpd's own.
 */
#ifndef MEMSESS_THREAD_H
#define MEMSESS_THREAD_H

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "apr_thread_proc.h"
#include "apr_time.h"

/** Has threads that are started take no signal: httpd's handlers would end the child from within
 * them. */
static inline void memsess_signals_hold(sigset_t *before)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
}

static inline apr_status_t memsess_thread_create(apr_thread_t **thread, apr_thread_start_t run,
                                                 void *data, apr_pool_t *p)
{
    sigset_t before;
    apr_status_t rv;

    memsess_signals_hold(&before);
    rv = apr_thread_create(thread, NULL, run, data, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rv;
}

/** A thread that needs no pool, and so may be the last one to go. */
static inline apr_status_t memsess_thread_create_lone(pthread_t *thread, void *(*run)(void *),
                                                      void *data)
{
    sigset_t before;
    int rv;

    memsess_signals_hold(&before);
    rv = pthread_create(thread, NULL, run, data);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rv;
}

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
