/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "wire/resolve.h"

#include <string.h>

#include "apr_atomic.h"
#include "apr_strings.h"
#include "apr_tables.h"
#include "base/advice.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/name.h"
#include "base/thread.h"

/* A new address is followed within a minute: names are looked up twice in that time. */
static apr_interval_time_t again_after = apr_time_from_sec(30);

struct memsess_host_t {
    memsess_resolver_t *resolver;
    const char *name;
    int is_numeric;
    int is_due;
    memsess_name_t found;        /* rv is of the last look-up, the rest of the last good one */
    volatile apr_uint32_t moved; /* how often the addresses changed */
};

struct memsess_resolver_t {
    apr_pool_t *p;
    apr_array_header_t *hosts; /* of memsess_host_t * */
    pthread_t thread;          /* it may outlive the resolver's owner, and then frees all this */
    memsess_duty_t duty;
    int is_started;
    pthread_mutex_t lock;      /* guards what follows, and all hosts */
    pthread_cond_t asked, answered;
    int stopping, looking_up, is_left; /* is_left: the look-up frees all this */
};

apr_status_t memsess_resolver_create(memsess_resolver_t **result)
{
    memsess_resolver_t *resolver;
    apr_pool_t *p;
    apr_status_t rv = apr_pool_create_unmanaged_ex(&p, NULL, NULL);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    resolver = apr_pcalloc(p, sizeof(*resolver));
    resolver->p = p;
    resolver->hosts = apr_array_make(p, 4, sizeof(memsess_host_t *));
    pthread_mutex_init(&resolver->lock, NULL);
    memsess_cond_init(&resolver->asked);
    memsess_cond_init(&resolver->answered);
    resolver->duty.what = "looks up the names of servers";
    resolver->duty.without = "servers that have a host name are not found";
    *result = resolver;
    return APR_SUCCESS;
}

/* Servers of one name share its look-ups. */
static memsess_host_t *known_host(const memsess_resolver_t *resolver, const char *name)
{
    int i;

    for (i = 0; i < resolver->hosts->nelts; i++) {
        memsess_host_t *host = APR_ARRAY_IDX(resolver->hosts, i, memsess_host_t *);

        if (!strcmp(host->name, name)) {
            return host;
        }
    }
    return NULL;
}

apr_status_t memsess_resolver_add(memsess_host_t **result, memsess_resolver_t *resolver,
                                  const char *name)
{
    memsess_host_t *host = *result = known_host(resolver, name);

    if (host) {
        return APR_SUCCESS;
    }
    host = *result = apr_pcalloc(resolver->p, sizeof(*host));
    host->resolver = resolver;
    host->name = apr_pstrdup(resolver->p, name);
    if (memsess_name_is_numeric(name)) {
        host->is_numeric = 1;
        host->found.n = 1;
        apr_cpystrn(host->found.address[0], name, sizeof(host->found.address[0]));
    }
    else {
        host->is_due = 1;
        host->found.rv = APR_INCOMPLETE;
        APR_ARRAY_PUSH(resolver->hosts, memsess_host_t *) = host;
    }
    return APR_SUCCESS;
}

void memsess_resolver_every(apr_interval_time_t interval)
{
    again_after = interval;
}

static void warn(const memsess_host_t *host, const memsess_name_t *found)
{
    const char *trouble;
    apr_pool_t *p;

    if (!found->n && host->found.n) {
        return; /* the earlier addresses still serve */
    }
    if (apr_pool_create_unmanaged_ex(&p, NULL, NULL) != APR_SUCCESS) {
        return;
    }
    trouble = memsess_name_trouble(found, host->name, p);
    if (trouble && memsess_warn(MEMSESS_WARN_NAME, trouble)) {
        memsess_log(MEMSESS_LOG_WARNING, 0, "%s", trouble);
    }
    apr_pool_destroy(p);
}

/* Looks up one name; to be called under the lock, which is not held during the look-up. */
static void look_up(memsess_resolver_t *resolver, memsess_host_t *host)
{
    memsess_name_t found;

    host->is_due = 0;
    resolver->looking_up = 1;
    pthread_mutex_unlock(&resolver->lock);
    memsess_name_look(&found, host->name);
    pthread_mutex_lock(&resolver->lock);
    resolver->looking_up = 0;
    if (!resolver->stopping) { /* else the log may be closed already */
        warn(host, &found);
    }
    if (found.n) {
        if (host->found.n && memcmp(host->found.address, found.address, sizeof(found.address))) {
            apr_atomic_inc32(&host->moved);
        }
        host->found = found;
    }
    host->found.rv = found.rv; /* the earlier addresses stay: they are better than none */
    pthread_cond_broadcast(&resolver->answered);
}

static memsess_host_t *next_due(const memsess_resolver_t *resolver)
{
    int i;

    for (i = 0; i < resolver->hosts->nelts; i++) {
        memsess_host_t *host = APR_ARRAY_IDX(resolver->hosts, i, memsess_host_t *);

        if (host->is_due) {
            return host;
        }
    }
    return NULL;
}

static void *resolver_main(void *data)
{
    memsess_resolver_t *resolver = data;
    apr_time_t again = memsess_clock_steady() + again_after;
    memsess_host_t *due;
    int i, is_left;

    pthread_mutex_lock(&resolver->lock);
    while (!resolver->stopping) {
        /* After each look-up, due names are looked for: a thread that asked meanwhile woke nobody. */
        if ((due = next_due(resolver)) != NULL) {
            look_up(resolver, due);
        }
        else if (memsess_clock_steady() < again) {
            memsess_cond_wait(&resolver->asked, &resolver->lock, again - memsess_clock_steady());
        }
        else {
            again = memsess_clock_steady() + again_after;
            for (i = 0; i < resolver->hosts->nelts; i++) {
                APR_ARRAY_IDX(resolver->hosts, i, memsess_host_t *)->is_due = 1;
            }
        }
    }
    is_left = resolver->is_left;
    pthread_mutex_unlock(&resolver->lock);
    if (is_left) {
        apr_pool_destroy(resolver->p);
    }
    return NULL;
}

apr_status_t memsess_resolver_start(memsess_resolver_t *resolver)
{
    apr_status_t rv = APR_SUCCESS;

    if (resolver->hosts->nelts && !resolver->is_started) {
        rv = memsess_thread_start(&resolver->thread, &resolver->duty, resolver_main, resolver);
        resolver->is_started = rv == APR_SUCCESS;
    }
    return rv;
}

void memsess_resolver_destroy(memsess_resolver_t *resolver)
{
    int is_left;

    pthread_mutex_lock(&resolver->lock);
    resolver->stopping = 1;
    is_left = resolver->is_left = resolver->looking_up;
    if (is_left) {
        pthread_detach(resolver->thread); /* nothing can end a look-up early */
    }
    pthread_cond_signal(&resolver->asked);
    pthread_mutex_unlock(&resolver->lock);
    if (!is_left) {
        if (resolver->is_started) {
            pthread_join(resolver->thread, NULL);
        }
        apr_pool_destroy(resolver->p);
    }
}

apr_status_t memsess_host_addresses(apr_sockaddr_t **addresses, memsess_host_t *host,
                                    apr_port_t port, apr_interval_time_t wait, apr_pool_t *p)
{
    memsess_resolver_t *resolver = host->resolver;
    memsess_name_t known;
    apr_time_t end = host->is_numeric ? 0 : memsess_clock_steady() + wait;
    apr_status_t rv;
    unsigned i;

    pthread_mutex_lock(&resolver->lock);
    while (host->found.rv == APR_INCOMPLETE && memsess_clock_steady() < end) {
        memsess_cond_wait(&resolver->answered, &resolver->lock, end - memsess_clock_steady());
    }
    known = host->found;
    pthread_mutex_unlock(&resolver->lock);

    rv = known.rv == APR_INCOMPLETE ? APR_TIMEUP : known.n ? APR_SUCCESS : known.rv;
    *addresses = NULL;
    for (i = 0; i < known.n; i++) {
        rv = apr_sockaddr_info_get(addresses, known.address[i], APR_UNSPEC, port, 0, p);
        if (rv != APR_SUCCESS) {
            break;
        }
        addresses = &(*addresses)->next;
    }
    return rv;
}

apr_uint32_t memsess_host_moved(memsess_host_t *host)
{
    return apr_atomic_read32(&host->moved);
}

void memsess_host_again(memsess_host_t *host)
{
    if (!host->is_numeric) {
        pthread_mutex_lock(&host->resolver->lock);
        host->is_due = 1;
        pthread_cond_signal(&host->resolver->asked);
        pthread_mutex_unlock(&host->resolver->lock);
    }
}
