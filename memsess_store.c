/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/private.h"

#include "apr_hash.h"
#include "apr_strings.h"

static apr_status_t server_of(memsess_server_t **server, const memsess_server_conf_t *conf,
                              memsess_pool_t *pool, apr_hash_t *servers, apr_pool_t *p)
{
    const char *id = apr_psprintf(p, "%s %s:%d %s %s %" APR_INT64_T_FMT " %" APR_INT64_T_FMT
                                  " %d %" APR_INT64_T_FMT, conf->name,
                                  conf->host ? conf->host : "", conf->port,
                                  conf->path ? conf->path : "", conf->auth ? conf->auth : "",
                                  conf->timeout, conf->retry, conf->max_conns, conf->idle);
    apr_status_t rv = APR_SUCCESS;

    *server = apr_hash_get(servers, id, APR_HASH_KEY_STRING);
    if (!*server) {
        rv = memsess_pool_add(server, pool, conf);
        apr_hash_set(servers, id, APR_HASH_KEY_STRING, *server);
    }
    return rv;
}

apr_status_t memsess_store_create(memsess_store_t **result, const memsess_store_conf_t *conf,
                                  memsess_pool_t *pool, apr_hash_t *servers, apr_pool_t *p)
{
    memsess_store_t *store = apr_pcalloc(p, sizeof(*store));
    apr_status_t rv = APR_SUCCESS;
    unsigned i;

    store->conf = *conf;
    pthread_mutex_init(&store->line_lock, NULL);
    store->n = (unsigned)conf->members->nelts;
    store->nodes = apr_pcalloc(p, sizeof(*store->nodes) * store->n);
    store->servers = apr_pcalloc(p, sizeof(memsess_server_t *) * store->n);
    for (i = 0; i < store->n && rv == APR_SUCCESS; i++) {
        const memsess_member_t *member = &APR_ARRAY_IDX(conf->members, i, memsess_member_t);

        if (member->server.timeout > store->timeout) {
            store->timeout = member->server.timeout;
        }
        rv = memsess_node_init(&store->nodes[i], member->server.name, member->weight);
        if (rv == APR_SUCCESS) {
            rv = server_of(&store->servers[i], &member->server, pool, servers, p);
        }
    }
    *result = store;
    return rv;
}

static apr_status_t same_again(void *baton, const memsess_session_t *newest,
                               memsess_session_t **next, apr_pool_t *p)
{
    *next = *(memsess_session_t **)baton = apr_pmemdup(p, newest, sizeof(*newest));
    return APR_SUCCESS;
}

/* What is lacking somewhere is written once more, as a revision of its own: so a repair can undo no
 * commit. Left to whoever is writing, if somebody is. */
void memsess_store_repair(memsess_store_t *store, memsess_reading_t *reading, apr_pool_t *p)
{
    memsess_session_t *again;

    if (reading->facts.lacks
        && memsess_store_commit(store, reading, MEMSESS_REPAIRING, same_again, &again, p)
               == APR_SUCCESS) {
        reading->session = again;
        reading->facts = (memsess_facts_t){.answered = reading->facts.answered};
    }
}
