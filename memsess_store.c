/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "memsess_store.h"

#include <string.h>

#include "apr_encode.h"
#include "apr_hash.h"
#include "apr_strings.h"
#include "memsess_record.h"
#include "memsess_ring.h"

/* memcached takes an expiry above this many seconds for a date. */
#define RELATIVE_MAX (60 * 60 * 24 * 30)

/* A key in memcached: the digest in base64url, and the tag of the server it is for. */
#define KEY_TEXT_LEN (43 + MEMSESS_TAG_LEN)

struct memsess_store_t {
    memsess_store_conf_t conf;
    unsigned n;
    memsess_node_t *nodes;
    memsess_server_t **servers;
};

/* What one server said of a key. */
typedef struct copy_t {
    unsigned at; /* in the store */
    enum { COPY_UNASKED, COPY_SILENT, COPY_NONE, COPY_HELD } state;
    memsess_session_t *session;
} copy_t;

/* The reading of one key: its servers in order, and what they said. */
typedef struct reading_t {
    memsess_store_t *store;
    const memsess_key_t *key;
    apr_pool_t *p;
    copy_t *copies;
    unsigned n;
    const copy_t *newest;
    memsess_placement_t placement; /* of the newest */
} reading_t;

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
    store->n = (unsigned)conf->members->nelts;
    store->nodes = apr_pcalloc(p, sizeof(*store->nodes) * store->n);
    store->servers = apr_pcalloc(p, sizeof(*store->servers) * store->n);
    for (i = 0; i < store->n && rv == APR_SUCCESS; i++) {
        const memsess_member_t *member = &APR_ARRAY_IDX(conf->members, i, memsess_member_t);

        rv = memsess_node_init(&store->nodes[i], member->server.name, member->weight);
        if (rv == APR_SUCCESS) {
            rv = server_of(&store->servers[i], &member->server, pool, servers, p);
        }
    }
    *result = store;
    return rv;
}

static const char *key_text(const memsess_store_t *store, const memsess_key_t *key, unsigned at,
                            apr_pool_t *p)
{
    char *text = apr_palloc(p, KEY_TEXT_LEN + 1);

    apr_encode_base64_binary(text, key->digest, sizeof(key->digest), APR_ENCODE_BASE64URL, NULL);
    memcpy(text + KEY_TEXT_LEN - MEMSESS_TAG_LEN, store->nodes[at].tag, MEMSESS_TAG_LEN + 1);
    return text;
}

/* For logs: enough of the digest to find one session's lines, and no way back to its id. */
static const char *key_log(const memsess_key_t *key, apr_pool_t *p)
{
    char *text = apr_palloc(p, 13);

    apr_encode_base64_binary(text, key->digest, 9, APR_ENCODE_BASE64URL, NULL);
    return text;
}

/* -- Reading ---------------------------------------------------------------------------------- */

static void take_answer(reading_t *reading, copy_t *copy, const memsess_get_t *get)
{
    memsess_placement_t placement;
    const char *trouble;

    if (get->rv != APR_SUCCESS) {
        copy->state = get->rv == MEMSESS_ABSENT ? COPY_NONE : COPY_SILENT;
        return;
    }
    switch (memsess_record_decode(get->data, get->len, reading->key, &copy->session, &placement,
                                  reading->p)) {
    case MEMSESS_RECORD_OK:
        copy->state = COPY_HELD;
        if (!reading->newest || copy->session->revision > reading->newest->session->revision) {
            reading->newest = copy;
            reading->placement = placement;
        }
        return;
    case MEMSESS_RECORD_NEWER:
        copy->state = COPY_SILENT;
        trouble = "of a later version of mod_memsess, left alone";
        break;
    case MEMSESS_RECORD_FOREIGN:
        copy->state = COPY_SILENT;
        trouble = "of another session, not used";
        break;
    default:
        copy->state = COPY_NONE;
        trouble = "damaged, counted as missing";
    }
    memsess_log(MEMSESS_LOG_ERR, 0, "server %s: the record of session %s is %s",
                memsess_server_conf(get->server)->name, key_log(reading->key, reading->p),
                trouble);
}

/* Asks the servers of these copies, all at once. */
static void ask(reading_t *reading, copy_t *const *wanted, unsigned n)
{
    memsess_get_t *gets = apr_pcalloc(reading->p, sizeof(*gets) * n);
    unsigned i;

    for (i = 0; i < n; i++) {
        gets[i].server = reading->store->servers[wanted[i]->at];
        gets[i].key = key_text(reading->store, reading->key, wanted[i]->at, reading->p);
    }
    memsess_pool_mget(gets, (int)n, reading->p);
    for (i = 0; i < n; i++) {
        take_answer(reading, wanted[i], &gets[i]);
    }
}

/* Asks the next servers in order that are not known to be down, as many as there are copies.
 * Returns how many that were. */
static unsigned ask_next(reading_t *reading, unsigned *from)
{
    const memsess_store_conf_t *conf = &reading->store->conf;
    copy_t *wanted[MEMSESS_COPIES_MAX];
    unsigned n = 0;

    while (*from < reading->n && n < conf->copies) {
        copy_t *copy = &reading->copies[(*from)++];

        if (copy->state != COPY_UNASKED) {
            continue;
        }
        if (memsess_server_is_down(reading->store->servers[copy->at])) {
            copy->state = COPY_SILENT;
            continue;
        }
        wanted[n++] = copy;
    }
    if (n) {
        ask(reading, wanted, n);
    }
    return n;
}

/*
 * The newest record names the servers that it was written to. If one of them is not among those
 * asked, it stood in for a home that was away, and may have a newer record yet, which may name
 * others again: every write was on a server that its predecessor names.
 */
static void ask_placement(reading_t *reading)
{
    copy_t *wanted[MEMSESS_COPIES_MAX];
    unsigned i, j, n;

    do {
        n = 0;
        for (i = 0; reading->newest && i < reading->placement.n; i++) {
            for (j = 0; j < reading->n; j++) {
                copy_t *copy = &reading->copies[j];

                if (copy->state == COPY_UNASKED && n < MEMSESS_COPIES_MAX
                    && !memcmp(reading->store->nodes[copy->at].tag, reading->placement.tag[i],
                               MEMSESS_TAG_LEN)) {
                    wanted[n++] = copy;
                }
            }
        }
        if (n) {
            ask(reading, wanted, n);
        }
    } while (n);
}

static apr_uint32_t ttl_of(const memsess_session_t *session)
{
    apr_interval_time_t ttl = session->idle + MEMSESS_GRACE;
    apr_time_t end;

    if (apr_time_sec(ttl) < RELATIVE_MAX) {
        return (apr_uint32_t)apr_time_sec(ttl);
    }
    /* Beyond what memcached can count it keeps the record for ever; the record knows its end. */
    end = apr_time_sec(apr_time_now()) + apr_time_sec(ttl);
    return end < APR_INT32_MAX ? (apr_uint32_t)end : 0;
}

static apr_status_t put(memsess_store_t *store, const memsess_key_t *key, unsigned at, char *data,
                        apr_size_t len, const memsess_session_t *session, apr_pool_t *p)
{
    return memsess_server_set(store->servers[at], key_text(store, key, at, p), data, len,
                              ttl_of(session));
}

/* Gives the homes that answered what the newest copy says, where they have it not. */
static void repair(const reading_t *reading)
{
    char *data = NULL;
    apr_size_t len;
    unsigned i;

    for (i = 0; i < reading->n && i < reading->store->conf.copies; i++) {
        const copy_t *copy = &reading->copies[i];

        if (copy->state != COPY_NONE
            && !(copy->state == COPY_HELD
                 && copy->session->revision < reading->newest->session->revision)) {
            continue;
        }
        if (!data
            && memsess_record_encode(reading->newest->session, reading->key, &reading->placement,
                                     reading->store->conf.compress, &data, &len, reading->p)) {
            return;
        }
        if (put(reading->store, reading->key, copy->at, data, len, reading->newest->session,
                reading->p) == APR_SUCCESS) {
            memsess_log(MEMSESS_LOG_DEBUG, 0, "server %s: repaired its copy of session %s",
                        memsess_server_conf(reading->store->servers[copy->at])->name,
                        key_log(reading->key, reading->p));
        }
    }
}

/* How many servers of a key's order are ever looked at: its homes and as many stand-ins, and with
 * them those that stand in while all of these are down. */
static unsigned reach(const memsess_store_t *store)
{
    unsigned want = store->conf.failover ? 4 * store->conf.copies + 4 : store->conf.copies;

    return want < store->n ? want : store->n;
}

static void order(const memsess_store_t *store, const memsess_key_t *key, copy_t **copies,
                  unsigned *n, apr_pool_t *p)
{
    unsigned want = reach(store), i;
    unsigned *at = apr_palloc(p, sizeof(*at) * want);

    *n = memsess_ring_order(store->nodes, store->n, key, at, want);
    *copies = apr_pcalloc(p, sizeof(**copies) * *n);
    for (i = 0; i < *n; i++) {
        (*copies)[i].at = at[i];
    }
}

memsess_found_t memsess_store_read(memsess_store_t *store, const memsess_key_t *key,
                                   memsess_session_t **session, apr_pool_t *p)
{
    reading_t reading = {store, key, p, NULL, 0, NULL, {0, {""}}};
    unsigned i, from = 0;

    order(store, key, &reading.copies, &reading.n, p);
    /* Homes first. A session that began while a home was away lies on those that stood in. */
    ask_next(&reading, &from);
    if (!reading.newest) {
        ask_next(&reading, &from);
    }
    ask_placement(&reading);
    if (reading.newest) {
        repair(&reading);
        *session = reading.newest->session;
        return reading.newest->session->ended ? MEMSESS_ENDED : MEMSESS_FOUND;
    }
    for (i = 0; i < reading.n && i < store->conf.copies; i++) {
        if (reading.copies[i].state != COPY_NONE) {
            return MEMSESS_UNAVAILABLE;
        }
    }
    return MEMSESS_MISSING;
}

/* -- Writing ---------------------------------------------------------------------------------- */

/* The servers that are to get a copy now: the first in order that are not known to be down. */
static unsigned choose(const memsess_store_t *store, const copy_t *copies, unsigned n,
                       unsigned *chosen, memsess_placement_t *placement)
{
    unsigned i;

    placement->n = 0;
    for (i = 0; i < n && placement->n < store->conf.copies; i++) {
        if (!memsess_server_is_down(store->servers[copies[i].at])) {
            chosen[placement->n] = copies[i].at;
            memcpy(placement->tag[placement->n++], store->nodes[copies[i].at].tag,
                   MEMSESS_TAG_LEN);
        }
    }
    return placement->n;
}

/* One attempt: returns how many copies are stored; failed tells whether a server turned out to be
 * down, so that others must be chosen and named in the record. */
static unsigned write_copies(memsess_store_t *store, const memsess_key_t *key,
                             const memsess_session_t *session, const copy_t *copies, unsigned n,
                             int *failed, apr_status_t *rv, apr_pool_t *p)
{
    memsess_placement_t placement;
    unsigned chosen[MEMSESS_COPIES_MAX];
    unsigned i, stored = 0;
    apr_size_t len;
    char *data;

    *failed = 0;
    *rv = MEMSESS_DOWN;
    if (choose(store, copies, n, chosen, &placement)) {
        *rv = memsess_record_encode(session, key, &placement, store->conf.compress, &data, &len,
                                    p);
        if (*rv != APR_SUCCESS) {
            return 0;
        }
    }
    for (i = 0; i < placement.n; i++) {
        apr_status_t put_rv = put(store, key, chosen[i], data, len, session, p);

        if (put_rv == APR_SUCCESS) {
            stored++;
        }
        else {
            *rv = put_rv;
            *failed |= put_rv != MEMSESS_REFUSED;
        }
    }
    return stored;
}

apr_status_t memsess_store_write(memsess_store_t *store, const memsess_key_t *key,
                                 memsess_session_t *session, apr_pool_t *p)
{
    unsigned n, stored, tries = 0;
    apr_status_t rv;
    copy_t *copies;
    int failed;

    session->revision++;
    order(store, key, &copies, &n, p);
    do {
        stored = write_copies(store, key, session, copies, n, &failed, &rv, p);
    } while (failed && ++tries < n);
    return stored ? APR_SUCCESS : rv;
}

apr_status_t memsess_store_end(memsess_store_t *store, const memsess_key_t *key,
                               const memsess_session_t *session, apr_pool_t *p)
{
    memsess_session_t tombstone = *session;

    tombstone.ended = 1;
    tombstone.attrs = apr_array_make(p, 1, sizeof(memsess_attr_t));
    return memsess_store_write(store, key, &tombstone, p);
}
