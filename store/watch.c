/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/watch.h"

#include <stdlib.h>
#include <string.h>

#include "apr_encode.h"
#include "apr_strings.h"
#include "base/clock.h"
#include "base/log.h"
#include "session/seal.h"
#include "store/private.h"
#include "store/ring.h"

/*
 * Each member leaves an item on every server, at a key that depends on the namespace alone:
 *
 *   1 MEMBER AHEAD POOL...
 *
 * its name, by how many seconds its clock is ahead of the server's own ("-" where the server does
 * not tell), and a fingerprint of each of its pools in this namespace. Before it does so it reads
 * what another member left. Offsets are compared, not times, so it does not matter how long an item
 * has been there. Where records are sealed, so are items: what nobody of us has left is not read, and
 * none of its words comes into a log.
 */
#define ITEM_TTL 300
#define ITEM "members"
#define NAME_MAX_LEN 80

/* Servers tell their time in whole seconds. */
#define APART 3

typedef struct watched_t {
    const memsess_store_t *store;
    const char *ns;
    const char *pool; /* the fingerprint */
} watched_t;

/* An item. */
typedef struct place_t {
    memsess_server_t *server;
    const char *ns;
    const memsess_secrets_t *secrets;
} place_t;

struct memsess_watch_t {
    apr_pool_t *p;
    const char *member;
    apr_array_header_t *stores; /* of watched_t */
    apr_array_header_t *places; /* of place_t */
    int left;                   /* of the places, in the comparison that is under way */
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
        {MEMSESS_N_REJECTED, MEMSESS_LOG_NOTICE, "cookies refused: malformed or forged (without "
                                                 "MemSessSecret also those of sessions that are "
                                                 "gone)"},
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

/* -- Servers ---------------------------------------------------------------------------------- */

/* Has servers tell of themselves. Where one of them takes its time-out, the others come when this is
 * called again. */
static void hear(const memsess_watch_t *watch)
{
    apr_time_t begun = memsess_clock_steady();
    int i;
    unsigned k;

    for (i = 0; i < watch->stores->nelts; i++) {
        const memsess_store_t *store = APR_ARRAY_IDX(watch->stores, i, watched_t).store;

        for (k = 0; k < store->n; k++) {
            const memsess_server_conf_t *conf = memsess_server_conf(store->servers[k]);

            if (memsess_clock_steady() - begun >= conf->timeout) {
                return;
            }
            if (!memsess_server_is_down(store->servers[k])
                && memsess_count_says_due(conf->count)) {
                memsess_server_tell(store->servers[k]);
            }
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

static const char *item_text(const memsess_key_t *key, apr_pool_t *p)
{
    char *text = apr_pcalloc(p, sizeof(key->digest) * 2);

    apr_encode_base64_binary(text, key->digest, sizeof(key->digest), APR_ENCODE_BASE64URL, NULL);
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
    if (!member || !their_ahead || !strcmp(member, watch->member)
        || strlen(member) > NAME_MAX_LEN) {
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

/* What is there was left by a member with another secret, or by nobody of us. */
static void complain(const place_t *place, memsess_seal_status_t sealed)
{
    static volatile apr_uint64_t told_at;

    if (memsess_due(&told_at, memsess_clock_steady(), apr_time_from_sec(ITEM_TTL))) {
        memsess_log(MEMSESS_LOG_WARNING, 0, "server %s: what members of this namespace leave there "
                    "for each other is %s: not used; MemSessSecret and MemSessSeal must be alike on "
                    "all members", memsess_server_conf(place->server)->name,
                    memsess_seal_words(sealed));
    }
}

/* Reads what another member has left; "" where that is nothing. */
static apr_status_t take_item(const place_t *place, const memsess_key_t *key, char **item,
                              apr_pool_t *p)
{
    memsess_seal_status_t sealed;
    apr_size_t len;
    char *data;
    int aged;
    apr_status_t rv = memsess_server_get(place->server, item_text(key, p), &data, &len, p);

    *item = apr_pstrdup(p, "");
    if (rv != APR_SUCCESS) {
        return rv == MEMSESS_ABSENT ? APR_SUCCESS : rv;
    }
    sealed = memsess_unseal(place->secrets, key, ITEM, data, len, &data, &len, &aged, p);
    if (sealed != MEMSESS_SEAL_OK) {
        complain(place, sealed);
    }
    else if (is_item(data, len)) {
        *item = data;
    }
    return APR_SUCCESS;
}

static void leave_item(const place_t *place, const memsess_key_t *key, char *item, apr_pool_t *p)
{
    apr_size_t len;
    char *data;

    if (memsess_seal(place->secrets, key, ITEM, item, strlen(item), &data, &len, p)
        == APR_SUCCESS) {
        memsess_server_set(place->server, item_text(key, p), data, len, ITEM_TTL);
    }
}

static void exchange(const memsess_watch_t *watch, const place_t *place, apr_pool_t *p)
{
    const char *pools = pools_in(watch, place->ns, p), *ahead = "-";
    const memsess_server_conf_t *conf = memsess_server_conf(place->server);
    apr_int64_t seconds = memsess_count_server_clock(conf->count);
    memsess_key_t key;
    char *item;

    if (memsess_server_is_down(place->server)
        || memsess_key_make(&key, place->ns, ITEM) != APR_SUCCESS) {
        return;
    }
    if (seconds) {
        ahead = apr_psprintf(p, "%" APR_INT64_T_FMT, apr_time_sec(memsess_clock_wall()) - seconds);
    }
    if (take_item(place, &key, &item, p) == APR_SUCCESS) {
        if (*item) {
            compare(watch, place->server, item, ahead, pools, p);
        }
        item = apr_psprintf(p, "1 %s %s%s", watch->member, ahead, pools);
        leave_item(place, &key, item, p);
    }
}

static void compare_next(memsess_watch_t *watch)
{
    apr_pool_t *p;

    if (apr_pool_create_unmanaged_ex(&p, NULL, NULL) == APR_SUCCESS) {
        exchange(watch, &APR_ARRAY_IDX(watch->places, --watch->left, place_t), p);
        apr_pool_destroy(p);
    }
}

/* -- Life ------------------------------------------------------------------------------------- */

/* One place at a time: servers that do not answer each take a time-out, and meanwhile nobody looks
 * whether one that was down is back. */
static int watch_now(void *baton, int sampled)
{
    memsess_watch_t *watch = baton;
    apr_time_t now = memsess_clock_steady();

    if (sampled) {
        tell(now);
        hear(watch);
        watch->left = memsess_count_compare_due(now) ? watch->places->nelts : watch->left;
    }
    if (watch->left) {
        compare_next(watch);
    }
    return watch->left;
}

memsess_watch_t *memsess_watch_create(memsess_pool_t *pool, const char *member, apr_pool_t *p)
{
    memsess_watch_t *watch = apr_pcalloc(p, sizeof(*watch));

    watch->p = p;
    watch->member = member;
    watch->stores = apr_array_make(p, 4, sizeof(watched_t));
    watch->places = apr_array_make(p, 4, sizeof(place_t));
    memsess_pool_call(pool, watch_now, watch);
    return watch;
}

static int has_same(const place_t *place, const memsess_secrets_t *secrets)
{
    return !place->secrets == !secrets
           && (!secrets || !memcmp(place->secrets->secret[0].id, secrets->secret[0].id,
                                   MEMSESS_SECRET_ID_BYTES));
}

/* Once, however many stores share it. */
static void add_place(memsess_watch_t *watch, memsess_server_t *server, const char *ns,
                      const memsess_secrets_t *secrets)
{
    place_t *place;
    int i;

    for (i = 0; i < watch->places->nelts; i++) {
        place = &APR_ARRAY_IDX(watch->places, i, place_t);
        if (place->server == server && !strcmp(place->ns, ns) && has_same(place, secrets)) {
            return;
        }
    }
    place = apr_array_push(watch->places);
    place->server = server;
    place->ns = ns;
    place->secrets = secrets;
}

apr_status_t memsess_watch_add(memsess_watch_t *watch, const memsess_store_t *store,
                               const char *ns)
{
    watched_t watched = {store, ns, NULL};
    apr_status_t rv = fingerprint(&watched.pool, store, watch->p);
    unsigned i;

    if (rv == APR_SUCCESS) {
        APR_ARRAY_PUSH(watch->stores, watched_t) = watched;
        for (i = 0; i < store->n; i++) {
            add_place(watch, store->servers[i], ns, store->conf.secrets);
        }
    }
    return rv;
}
