/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "memsess_store.h"

#include "apr_hash.h"
#include "apr_strings.h"
#include "base/clock.h"
#include "store/again.h"
#include "store/commit.h"
#include "store/read.h"
#include "store/write.h"

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

apr_interval_time_t memsess_store_written_ago(const memsess_store_t *store,
                                              const memsess_session_t *session)
{
    return memsess_written_ago(store, session);
}

/* Clocks that differ by no more than this agree: what a member takes for a server's clock may be
 * off. */
#define ALIKE (2 * MEMSESS_AGE_ERROR)

/* Takes the middle one of the servers' clocks, since one of them may be wrong, too. */
apr_interval_time_t memsess_store_ahead(const memsess_store_t *store)
{
    apr_int64_t wall = apr_time_sec(memsess_clock_wall()), ahead[MEMSESS_REACH_MAX], middle;
    unsigned n = 0, i, k;

    for (i = 0; i < store->n && n < MEMSESS_REACH_MAX; i++) {
        apr_int64_t clock = memsess_server_clock(store->servers[i]);

        if (clock) {
            for (k = n++; k > 0 && ahead[k - 1] > clock - wall; k--) {
                ahead[k] = ahead[k - 1];
            }
            ahead[k] = clock - wall;
        }
    }
    middle = n ? ahead[(n - 1) / 2] : 0;
    return middle > ALIKE || middle < -ALIKE ? apr_time_from_sec(middle) : 0;
}

void memsess_store_read(memsess_store_t *store, memsess_reading_t *reading, apr_pool_t *p)
{
    memsess_read_all(store, &reading, 1, p);
}

void memsess_store_read_all(memsess_store_t *store, memsess_reading_t *const *readings, unsigned n,
                            apr_pool_t *p)
{
    memsess_read_all(store, readings, n, p);
}

void memsess_store_repair(memsess_store_t *store, memsess_reading_t *reading, apr_pool_t *p)
{
    memsess_placement_t where = {.n = 0};

    memsess_commit_again(store, reading, &where, p);
    memsess_read_again(store, &reading->key, &where);
}

apr_status_t memsess_store_blank(memsess_reading_t *reading, memsess_store_t *store, apr_pool_t *p)
{
    return memsess_blank(reading, store, p);
}

apr_status_t memsess_store_write(memsess_store_t *store, const memsess_key_t *key,
                                 memsess_session_t *session, apr_pool_t *p)
{
    apr_status_t rv = memsess_write(store, key, session, p);

    if (rv == APR_SUCCESS) {
        memsess_read_again(store, key, &session->placement);
    }
    return rv;
}

void memsess_store_unwrite(memsess_store_t *store, const memsess_key_t *key,
                           const memsess_session_t *session, apr_pool_t *p)
{
    memsess_unwrite(store, key, session, p);
}

memsess_session_t *memsess_tombstone(const memsess_session_t *session, apr_pool_t *p)
{
    memsess_session_t *tombstone = apr_pmemdup(p, session, sizeof(*session));

    tombstone->ended = 1;
    tombstone->attrs = apr_array_make(p, 1, sizeof(memsess_attr_t));
    return tombstone;
}

apr_status_t memsess_store_commit(memsess_store_t *store, const memsess_reading_t *upon,
                                  apr_interval_time_t wait, memsess_next_t *make, void *baton,
                                  apr_pool_t *p)
{
    memsess_placement_t where = {.n = 0};
    apr_status_t rv = memsess_commit(store, upon, wait, make, baton, &where, p);

    memsess_read_again(store, &upon->key, &where);
    return rv;
}
