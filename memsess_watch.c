/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "memsess_watch.h"

#include <stdlib.h>
#include <string.h>

#include "apr_encode.h"
#include "apr_strings.h"
#include "memsess_ring.h"
#include "memsess_store_private.h"

/*
 * Each member leaves an item on every server, at a key that depends on the namespace alone:
 *
 *   1 MEMBER AHEAD POOL...
 *
 * its name, by how many seconds its clock is ahead of the server's own ("-" where the server does
 * not tell), and a fingerprint of each of its pools in this namespace. Before it does so it reads
 * what another member left. Offsets are compared, not times, so it does not matter how long an item
 * has been there.
 */
#define ITEM_TTL 300

/* Servers tell their time in whole seconds. */
#define APART 3

typedef struct watched_t {
    const memsess_store_t *store;
    const char *ns;
    const char *pool; /* the fingerprint */
} watched_t;

struct memsess_watch_t {
    apr_pool_t *p;
    const char *member;
    apr_array_header_t *stores; /* of watched_t */
};

/* -- Events ----------------------------------------------------------------------------------- */

static void tell(apr_time_t now)
{
    static const struct {
        memsess_counter_t counter;
        memsess_log_level_t level;
        const char *what;
    } events[] = {
        {MEMSESS_N_REPAIRED, MEMSESS_LOG_NOTICE, "copies were missing or old: repaired"},
        {MEMSESS_N_REJECTED, MEMSESS_LOG_NOTICE, "cookies refused: malformed, forged, or of no "
                                                 "session"},
        {MEMSESS_N_UNAVAILABLE, MEMSESS_LOG_WARNING, "requests had no answer from the store"},
        {MEMSESS_N_UNDER_REPLICATED, MEMSESS_LOG_WARNING, "writes reached fewer servers than "
                                                          "MemSessRedundancy says"},
    };
    unsigned i;

    for (i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        apr_uint64_t n = memsess_count_news(events[i].counter, now);

        if (n) {
            memsess_log(events[i].level, 0, "%" APR_UINT64_T_FMT " %s", n, events[i].what);
        }
    }
}

/* -- Members ---------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Of names and weights, in whatever order. */
static apr_status_t fingerprint(const char **print, const memsess_store_t *store, apr_pool_t *p)
{
    apr_array_header_t *texts = apr_array_make(p, (int)store->n, sizeof(const char *));
    memsess_node_t node;
    apr_status_t rv;
    unsigned i;

    for (i = 0; i < store->n; i++) {
        APR_ARRAY_PUSH(texts, const char *) = apr_psprintf(p, "%s %u", store->nodes[i].name,
                                                           store->nodes[i].weight);
    }
    qsort(texts->elts, store->n, sizeof(const char *), by_text);
    rv = memsess_node_init(&node, apr_array_pstrcat(p, texts, '\n'), 1);
    *print = apr_pstrdup(p, node.tag);
    return rv;
}

static const char *item_key(const char *ns, apr_pool_t *p)
{
    memsess_key_t key;
    char *text = apr_pcalloc(p, sizeof(key.digest) * 2);

    if (memsess_key_make(&key, ns, "members") != APR_SUCCESS) {
        return NULL;
    }
    apr_encode_base64_binary(text, key.digest, sizeof(key.digest), APR_ENCODE_BASE64URL, NULL);
    return text;
}

/* The fingerprints of all our pools in a namespace. */
static const char *pools_in(const memsess_watch_t *watch, const char *ns, apr_pool_t *p)
{
    const char *pools = "";
    int i;

    for (i = 0; i < watch->stores->nelts; i++) {
        const watched_t *watched = &APR_ARRAY_IDX(watch->stores, i, watched_t);

        if (!strcmp(watched->ns, ns) && !strstr(pools, watched->pool)) {
            pools = apr_pstrcat(p, pools, " ", watched->pool, NULL);
        }
    }
    return pools;
}

/* Whether an item is one of these; its words are then shown in logs. */
static int is_item(const char *data, apr_size_t len)
{
    return len > 2 && len < 1000 && !memcmp(data, "1 ", 2) && strlen(data) == len
           && strspn(data, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.: ")
                  == len;
}

static void warn(memsess_warning_t warning, const char *text)
{
    if (memsess_count_warn(warning, text)) {
        memsess_log(MEMSESS_LOG_WARNING, 0, "%s", text);
    }
}

/* What another member left at a server, compared with what we are about to leave there. */
static void compare(const memsess_watch_t *watch, memsess_server_t *server, char *theirs,
                    const char *ahead, const char *pools, apr_pool_t *p)
{
    const char *name = memsess_server_conf(server)->name;
    char *state, *word, *member, *their_ahead;
    int shared = 0;

    apr_strtok(theirs, " ", &state);
    member = apr_strtok(NULL, " ", &state);
    their_ahead = apr_strtok(NULL, " ", &state);
    if (!member || !their_ahead || !strcmp(member, watch->member)) {
        return;
    }
    while ((word = apr_strtok(NULL, " ", &state))) {
        shared |= strstr(pools, word) != NULL;
    }
    if (!shared) {
        warn(MEMSESS_WARN_POOL,
             apr_psprintf(p, "member %s has another pool than this one, seen at server %s: names "
                          "and weights in MemSessServers must be alike on all members, or sessions "
                          "are not found", member, name));
    }
    if (strcmp(ahead, "-") && strcmp(their_ahead, "-")) {
        apr_int64_t apart = apr_atoi64(their_ahead) - apr_atoi64(ahead);

        if (apart > APART || apart < -APART) {
            warn(MEMSESS_WARN_CLOCK,
                 apr_psprintf(p, "the clock of member %s is %" APR_INT64_T_FMT " s %s of this "
                              "one's: sessions end too early or too late; set both by NTP", member,
                              apart < 0 ? -apart : apart, apart < 0 ? "behind" : "ahead"));
        }
    }
}

static void exchange(const memsess_watch_t *watch, const watched_t *watched,
                     memsess_server_t *server, apr_pool_t *p)
{
    const char *key = item_key(watched->ns, p), *pools = pools_in(watch, watched->ns, p);
    const char *ahead = "-";
    apr_int64_t seconds;
    apr_size_t len;
    char *data;
    apr_status_t rv;

    if (!key || memsess_server_is_down(server)) {
        return;
    }
    if (memsess_server_time(server, &seconds) == APR_SUCCESS && seconds > 0) {
        ahead = apr_psprintf(p, "%" APR_INT64_T_FMT, apr_time_sec(apr_time_now()) - seconds);
    }
    rv = memsess_server_get(server, key, &data, &len, p);
    if (rv == APR_SUCCESS && is_item(data, len)) {
        compare(watch, server, data, ahead, pools, p);
    }
    if (rv == APR_SUCCESS || rv == MEMSESS_ABSENT) {
        data = apr_psprintf(p, "1 %s %s%s", watch->member, ahead, pools);
        memsess_server_set(server, key, data, strlen(data), ITEM_TTL);
    }
}

void memsess_watch_compare(memsess_watch_t *watch)
{
    apr_hash_t *done;
    apr_pool_t *p;
    int i;
    unsigned k;

    if (apr_pool_create_unmanaged_ex(&p, NULL, NULL) != APR_SUCCESS) {
        return;
    }
    done = apr_hash_make(p);
    for (i = 0; i < watch->stores->nelts; i++) {
        const watched_t *watched = &APR_ARRAY_IDX(watch->stores, i, watched_t);

        for (k = 0; k < watched->store->n; k++) {
            memsess_server_t *server = watched->store->servers[k];
            const char *once = apr_psprintf(p, "%pp %s", (void *)server, watched->ns);

            if (!apr_hash_get(done, once, APR_HASH_KEY_STRING)) {
                apr_hash_set(done, once, APR_HASH_KEY_STRING, once);
                exchange(watch, watched, server, p);
            }
        }
    }
    apr_pool_destroy(p);
}

/* -- Life ------------------------------------------------------------------------------------- */

static void watch_now(void *baton, apr_time_t now)
{
    tell(now);
    if (memsess_count_compare_due(now)) {
        memsess_watch_compare(baton);
    }
}

memsess_watch_t *memsess_watch_create(memsess_pool_t *pool, const char *member, apr_pool_t *p)
{
    memsess_watch_t *watch = apr_pcalloc(p, sizeof(*watch));

    watch->p = p;
    watch->member = member;
    watch->stores = apr_array_make(p, 4, sizeof(watched_t));
    memsess_pool_call(pool, watch_now, watch);
    return watch;
}

apr_status_t memsess_watch_add(memsess_watch_t *watch, const memsess_store_t *store,
                               const char *ns)
{
    watched_t watched = {store, ns, NULL};
    apr_status_t rv = fingerprint(&watched.pool, store, watch->p);

    if (rv == APR_SUCCESS) {
        APR_ARRAY_PUSH(watch->stores, watched_t) = watched;
    }
    return rv;
}
