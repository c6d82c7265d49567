/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Threads that look after all servers. While the system gives no prober, requests do its work. */

#include "wire/private.h"

#include "apr_atomic.h"
#include "apr_thread_proc.h"
#include "base/clock.h"
#include "base/log.h"

void memsess_keeper_wake(const memsess_keeper_t *keeper)
{
    apr_file_putc('!', keeper->wake_out);
}

static void *keeper_main(void *data)
{
    memsess_keeper_t *keeper = data;
    char c;

    while (!apr_atomic_read32(&keeper->stopping)) {
        apr_file_pipe_timeout_set(keeper->wake_in, keeper->look(keeper->pool));
        apr_file_getc(&c, keeper->wake_in);
    }
    return NULL;
}

apr_status_t memsess_keeper_init(memsess_keeper_t *keeper, memsess_pool_t *pool,
                                 apr_interval_time_t (*look)(memsess_pool_t *pool))
{
    apr_status_t rv = apr_file_pipe_create_ex(&keeper->wake_in, &keeper->wake_out,
                                              APR_FULL_NONBLOCK, pool->p);

    keeper->pool = pool;
    keeper->look = look;
    if (rv == APR_SUCCESS) {
        apr_file_inherit_unset(keeper->wake_in);
        apr_file_inherit_unset(keeper->wake_out);
    }
    return rv;
}

static apr_status_t keeper_start(memsess_keeper_t *keeper)
{
    apr_status_t rv = APR_SUCCESS;

    if (!keeper->is_started) {
        rv = memsess_thread_start(&keeper->thread, &keeper->duty, keeper_main, keeper);
        keeper->is_started = rv == APR_SUCCESS;
    }
    return rv;
}

/* Each thread is tried, whatever becomes of the others. */
static apr_status_t start_all(memsess_pool_t *pool)
{
    const apr_status_t rvs[] = {memsess_resolver_start(pool->resolver),
                                keeper_start(&pool->watcher), keeper_start(&pool->prober)};

    return rvs[0] != APR_SUCCESS ? rvs[0] : rvs[1] != APR_SUCCESS ? rvs[1] : rvs[2];
}

/* While there is no prober, requests look after the servers, at most this often. */
#define PROBE_BY_HAND apr_time_from_msec(50)

/* A request that needs a server while a thread is lacking tries to start the thread, and does the
 * prober's work meanwhile. One request at a time does so, and the others do not wait for it. */
apr_status_t memsess_start_lacking(memsess_pool_t *pool)
{
    apr_status_t rv = APR_SUCCESS;

    if (apr_atomic_read32(&pool->lacking) && pthread_mutex_trylock(&pool->start) == 0) {
        rv = start_all(pool);
        apr_atomic_set32(&pool->lacking, rv != APR_SUCCESS);
        if (!pool->prober.is_started
            && memsess_due(&pool->probed_at, memsess_clock_steady(), PROBE_BY_HAND)) {
            pool->prober.look(pool);
        }
        pthread_mutex_unlock(&pool->start);
    }
    return rv;
}

void memsess_keeper_stop(memsess_keeper_t *keeper)
{
    apr_atomic_set32(&keeper->stopping, 1);
    memsess_keeper_wake(keeper);
    if (keeper->is_started) {
        pthread_join(keeper->thread, NULL);
    }
}
