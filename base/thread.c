/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "base/thread.h"

#include <signal.h>

#include "base/clock.h"
#include "base/log.h"

#define AGAIN apr_time_from_sec(1)

apr_status_t memsess_thread_start(pthread_t *thread, memsess_duty_t *duty, void *(*run)(void *),
                                  void *data)
{
    apr_time_t now = memsess_clock_steady();
    sigset_t all, before;
    apr_status_t rv;

    if (now < duty->again_at) {
        return APR_EAGAIN;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rv = pthread_create(thread, NULL, run, data);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rv != APR_SUCCESS && !duty->again_at) {
        memsess_log(MEMSESS_LOG_ERR, rv, "the system gives this child process no thread that %s; "
                    "until it does, %s: raise the limit (ulimit -u, TasksMax) or lower "
                    "MaxRequestWorkers", duty->what, duty->without);
    }
    if (rv == APR_SUCCESS && duty->again_at) {
        memsess_log(MEMSESS_LOG_NOTICE, 0, "this child process now has its thread that %s",
                    duty->what);
    }
    duty->again_at = rv == APR_SUCCESS ? 0 : now + AGAIN;
    return rv;
}
