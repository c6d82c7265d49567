/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "memsess_resolve.h"

#include <arpa/inet.h>
#include <string.h>

#include "apr_strings.h"
#include "apr_tables.h"
#include "memsess_clock.h"
#include "memsess_thread.h"

#define ADDRESSES_MAX 8
#define AGAIN apr_time_from_sec(60)

struct memsess_host_t {
    memsess_resolver_t *resolver;
    const char *name;
    int is_numeric;
    int is_due;
    apr_status_t rv; /* of the last look-up; APR_INCOMPLETE: there was none yet */
    unsigned n;
    char address[ADDRESSES_MAX][INET6_ADDRSTRLEN];
};

struct memsess_resolver_t {
    apr_pool_t *p;
    apr_array_header_t *hosts; /* of memsess_host_t * */
    pthread_t thread;          /* which may outlive the resolver's owner, and then frees it */
    memsess_duty_t duty;
    int is_started;
    pthread_mutex_t lock;      /* guards what follows, and all hosts */
    pthread_cond_t asked, answered;
    int stopping, looking_up, is_left; /* is_left: to the look-up, which frees it */
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
    resolver->duty.what = "looks up the names of servers, so that none of them is found";
    *result = resolver;
    return APR_SUCCESS;
}

apr_status_t memsess_resolver_add(memsess_host_t **result, memsess_resolver_t *resolver,
                                  const char *name)
{
    memsess_host_t *host = apr_pcalloc(resolver->p, sizeof(*host));
    unsigned char binary[sizeof(struct in6_addr)];

    host->resolver = resolver;
    host->name = apr_pstrdup(resolver->p, name);
    if (inet_pton(AF_INET, name, binary) == 1 || inet_pton(AF_INET6, name, binary) == 1) {
        host->is_numeric = 1;
        host->n = 1;
        apr_cpystrn(host->address[0], name, sizeof(host->address[0]));
    }
    else {
        host->is_due = 1;
        host->rv = APR_INCOMPLETE;
        APR_ARRAY_PUSH(resolver->hosts, memsess_host_t *) = host;
    }
    *result = host;
    return APR_SUCCESS;
}

/* Looks one name up; under the lock, which is not held meanwhile. */
static void look_up(memsess_resolver_t *resolver, memsess_host_t *host)
{
    char found[ADDRESSES_MAX][INET6_ADDRSTRLEN];
    apr_sockaddr_t *sa = NULL;
    unsigned n = 0;
    apr_status_t rv;
    apr_pool_t *p;

    host->is_due = 0;
    resolver->looking_up = 1;
    pthread_mutex_unlock(&resolver->lock);
    rv = apr_pool_create_unmanaged_ex(&p, NULL, NULL);
    if (rv == APR_SUCCESS) {
        rv = apr_sockaddr_info_get(&sa, host->name, APR_UNSPEC, 0, 0, p);
        for (; rv == APR_SUCCESS && sa && n < ADDRESSES_MAX; sa = sa->next) {
            n += apr_sockaddr_ip_getbuf(found[n], sizeof(found[n]), sa) == APR_SUCCESS;
        }
        apr_pool_destroy(p);
    }
    pthread_mutex_lock(&resolver->lock);
    resolver->looking_up = 0;
    host->rv = rv;
    if (n) { /* addresses that were good are better than none */
        memcpy(host->address, found, sizeof(found));
        host->n = n;
    }
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
    apr_time_t again = memsess_clock_steady() + AGAIN;
    memsess_host_t *due;
    int i, is_left;

    pthread_mutex_lock(&resolver->lock);
    while (!resolver->stopping) {
        /* Looked for after each look-up: who asked meanwhile woke nobody. */
        if ((due = next_due(resolver)) != NULL) {
            look_up(resolver, due);
        }
        else if (memsess_clock_steady() < again) {
            memsess_cond_wait(&resolver->asked, &resolver->lock, again - memsess_clock_steady());
        }
        else {
            again = memsess_clock_steady() + AGAIN;
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
        pthread_detach(resolver->thread); /* nothing ends a look-up */
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
    char known[ADDRESSES_MAX][INET6_ADDRSTRLEN];
    apr_time_t end = host->is_numeric ? 0 : memsess_clock_steady() + wait;
    apr_status_t rv;
    unsigned n, i;

    pthread_mutex_lock(&resolver->lock);
    while (host->rv == APR_INCOMPLETE && memsess_clock_steady() < end) {
        memsess_cond_wait(&resolver->answered, &resolver->lock, end - memsess_clock_steady());
    }
    n = host->n;
    memcpy(known, host->address, sizeof(known));
    rv = host->rv == APR_INCOMPLETE ? APR_TIMEUP : n ? APR_SUCCESS : host->rv;
    pthread_mutex_unlock(&resolver->lock);

    *addresses = NULL;
    for (i = 0; i < n; i++) {
        rv = apr_sockaddr_info_get(addresses, known[i], APR_UNSPEC, port, 0, p);
        if (rv != APR_SUCCESS) {
            break;
        }
        addresses = &(*addresses)->next;
    }
    return rv;
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
