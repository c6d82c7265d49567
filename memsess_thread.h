/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file memsess_thread.h
 * @brief A thread beside httpd's own.
 */
#ifndef MEMSESS_THREAD_H
#define MEMSESS_THREAD_H

#include <pthread.h>
#include <signal.h>

#include "apr_thread_proc.h"

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

#endif
