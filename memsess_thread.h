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

/** Starts a thread that takes no signal: httpd's handlers would end the child from within it. */
static inline apr_status_t memsess_thread_create(apr_thread_t **thread, apr_thread_start_t run,
                                                 void *data, apr_pool_t *p)
{
    sigset_t all, before;
    apr_status_t rv;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rv = apr_thread_create(thread, NULL, run, data, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rv;
}

#endif
