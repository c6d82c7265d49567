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
        memsess_log(MEMSESS_LOG_ERR, rv, "this child process has no thread that %s: the system "
                    "gives it none; raise its limit (ulimit -u, TasksMax) or lower "
                    "MaxRequestWorkers; trying again", duty->what);
    }
    if (rv == APR_SUCCESS && duty->again_at) {
        memsess_log(MEMSESS_LOG_NOTICE, 0, "this child process has its thread that %s by now",
                    duty->what);
    }
    duty->again_at = rv == APR_SUCCESS ? 0 : now + AGAIN;
    return rv;
}
