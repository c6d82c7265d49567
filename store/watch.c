/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/watch.h"

#include <stdlib.h>
#include <string.h>

#include "apr_encode.h"
#include "apr_strings.h"
#include "base/advice.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/roster.h"
#include "base/version.h"
#include "session/seal.h"
#include "store/private.h"
#include "store/ring.h"

/*
 * Each member leaves an item on every server, at a key that depends on the namespace alone:
 *
 *   1 MEMBER AHEAD POOL... SIGN...
 *
 * its name, by how many seconds its clock is ahead of the server's own ("-" where the server does
 * not tell), and a fingerprint of each of its pools in this namespace. Offsets are compared, not
 * times, so it does not matter how long an item has been there. The signs are the member's own, and
 * those of other members that it found there: so all members know of each other, though there is
 * only one item:
 *
 *   :m:MEMBER:VERSION:WHEN:AHEAD:POOL.POOL
 *
 * WHEN is the server's own time at which that member left its sign. (Version 0.1 takes a sign for
 * the fingerprint of a pool. It is like none, since no fingerprint has a colon.) If two members
 * write at the same time, one of them keeps its sign of a minute ago there. Items are sealed
 * if records are: then an item that no member has left is not read, and none of its words gets into
 * a log.
 */
#define ITEM_TTL 300
#define ITEM "members"
#define ITEM_MAX 4000
#define SIGNS_MAX 30

/* What a sign says of a member's pool and clock is believed for this long, in seconds. */
#define SIGN_FRESH 90

typedef struct watched_t {
    const memsess_store_t *store;
    const char *ns;
    const char *pool; /* the fingerprint */
} watched_t;

/* Where an item lies. */
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
    int left;                   /* how many places the comparison under way has yet to visit */
};

/* -- Events ----------------------------------------------------------------------------------- */

static void tell(apr_time_t now)
{
    static const struct {
        memsess_counter_t counter;
        memsess_log_level_t level;
        const char *what;
    } events[] = {
        {MEMSESS_N_REPAIRED, MEMSESS_LOG_NOTICE, "copies were missing or old, and were repaired"},
        {MEMSESS_N_REJECTED, MEMSESS_LOG_NOTICE, "cookies were refused, since they were malformed "
                                                 "or forged (without MemSessSecret also those of "
                                                 "sessions that are gone)"},
        {MEMSESS_N_UNAVAILABLE, MEMSESS_LOG_WARNING, "requests had no answer from the store"},
        {MEMSESS_N_UNDER_REPLICATED, MEMSESS_LOG_WARNING, "writes reached fewer servers than "
                                                          "MemSessRedundancy asks for"},
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

/* Has servers tell of themselves. If one of them takes its whole time-out, the others are asked
 * when this is called again. */
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

/* The fingerprint of a pool: of its names and weights, whatever their order. */
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

/* The fingerprints of all pools of this member in a namespace, joined by dots, which no fingerprint
 * has. */
static const char *pools_in(const memsess_watch_t *watch, const char *ns, apr_pool_t *p)
{
    const char *pools = "";
    int i;

    for (i = 0; i < watch->stores->nelts; i++) {
        const watched_t *watched = &APR_ARRAY_IDX(watch->stores, i, watched_t);

        if (!strcmp(watched->ns, ns) && !strstr(pools, watched->pool)) {
            pools = apr_pstrcat(p, pools, *pools ? "." : "", watched->pool, NULL);
        }
    }
    return pools;
}

/* Whether this has the form of an item; if so, its words are shown in logs. */
static int is_item(const char *data, apr_size_t len)
{
    return len > 2 && len < ITEM_MAX && !memcmp(data, "1 ", 2) && strlen(data) == len
           && strspn(data, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.: ")
                  == len;
}

static void warn(memsess_warning_t warning, const char *text)
{
    if (memsess_warn(warning, text)) {
        memsess_log(MEMSESS_LOG_WARNING, 0, "%s", text);
    }
}

/* What an item tells of one member. */
typedef struct sign_t {
    const char *member, *version;
    const char *ahead;
    const char *pools; /* their fingerprints, joined by a dot */
    apr_int64_t when;  /* by the server's clock; 0: not known */
} sign_t;

/* Whether two members have a pool in common. */
static int is_shared(const char *ours, const char *theirs, apr_pool_t *p)
{
    char *state, *pool = apr_strtok(apr_pstrdup(p, theirs), ". ", &state);

    while (pool && !strstr(ours, pool)) {
        pool = apr_strtok(NULL, ". ", &state);
    }
    return pool != NULL;
}

/* Notes a member that was seen at a server, and compares what it says with what we say there. */
static void compare(memsess_server_t *server, const sign_t *theirs, const sign_t *ours,
                    apr_pool_t *p)
{
    const char *name = memsess_server_conf(server)->name, *apart;
    apr_int64_t age = theirs->when && ours->when > theirs->when ? ours->when - theirs->when : 0;
    memsess_fellow_t fellow = {
        .name = theirs->member, .version = theirs->version,
        .seen_at = memsess_clock_steady() - apr_time_from_sec(age),
        .is_self = theirs == ours, .differs = !is_shared(ours->pools, theirs->pools, p),
        .knows_ahead = strcmp(ours->ahead, "-") && strcmp(theirs->ahead, "-")};

    if (fellow.knows_ahead) {
        fellow.ahead = apr_atoi64(theirs->ahead) - apr_atoi64(ours->ahead);
    }
    memsess_roster_note(memsess_count_roster(), &fellow);
    if (age > SIGN_FRESH) {
        return;
    }
    apart = memsess_fellow_apart(&fellow, p);
    if (fellow.differs) {
        warn(MEMSESS_WARN_POOL,
             apr_psprintf(p, "member %s has a different pool from this one, as server %s shows: "
                          "names and weights in MemSessServers must be the same on all members, or "
                          "sessions are not found", theirs->member, name));
    }
    if (apart) {
        warn(MEMSESS_WARN_CLOCK,
             apr_psprintf(p, "the clock of member %s is %s of this one's: sessions end too early or "
                          "too late; set both by NTP", theirs->member, apart));
    }
}

static int is_name_ok(const char *name)
{
    return *name && strlen(name) <= MEMSESS_MEMBER_LEN;
}

/* The next field of a sign, up to a colon; NULL: there is none. */
static char *field(char **at)
{
    char *begin = *at, *colon = begin ? strchr(begin, ':') : NULL;

    if (colon) {
        *colon = '\0';
    }
    *at = colon ? colon + 1 : NULL;
    return begin;
}

/* Parses a word; returns whether it is a sign. The member's name takes two fields. */
static int parse_sign(sign_t *sign, const char *word, apr_pool_t *p)
{
    char *at = apr_pstrdup(p, word + 3), *host, *tag, *version, *when, *ahead, *pools;

    if (strncmp(word, ":m:", 3)) {
        return 0;
    }
    host = field(&at);
    tag = field(&at);
    version = field(&at);
    when = field(&at);
    ahead = field(&at);
    pools = field(&at);
    if (!pools || at || strlen(version) > MEMSESS_MEMBER_VERSION_LEN) {
        return 0;
    }
    *sign = (sign_t){.member = apr_pstrcat(p, host, ":", tag, NULL),
                     .version = version,
                     .ahead = ahead,
                     .pools = pools,
                     .when = apr_atoi64(when)};
    return is_name_ok(sign->member) && sign->when > 0;
}

static const char *sign_text(const sign_t *sign, apr_pool_t *p)
{
    return apr_psprintf(p, " :m:%s:%s:%" APR_INT64_T_FMT ":%s:%s", sign->member, sign->version,
                        sign->when, sign->ahead, sign->pools);
}

/* Whether a sign is recent, by the server's clock, if that is known; one from the future is not. */
static int is_recent(const sign_t *sign, const sign_t *ours)
{
    apr_int64_t age = ours->when - sign->when;

    return ours->when && age <= ITEM_TTL && age >= -MEMSESS_APART;
}

/* Reads what members left at a server, compares it with our own, and returns the signs of others that
 * are to stay there. */
static const char *read_signs(memsess_server_t *server, char *item, const sign_t *ours,
                              apr_pool_t *p)
{
    char *state, *word;
    const char *keep = "";
    sign_t last = {.member = "", .version = "", .ahead = "-", .pools = ""}, sign;
    int n = 0, is_told = 0;

    word = apr_strtok(item, " ", &state);
    last.member = word && (word = apr_strtok(NULL, " ", &state)) ? word : "";
    last.ahead = word && (word = apr_strtok(NULL, " ", &state)) ? word : "-";
    while (word && (word = apr_strtok(NULL, " ", &state))) {
        if (*word != ':') {
            last.pools = apr_pstrcat(p, last.pools, ".", word, NULL);
        }
        else if (parse_sign(&sign, word, p) && is_recent(&sign, ours)
                 && strcmp(sign.member, ours->member) && n++ < SIGNS_MAX) {
            keep = apr_pstrcat(p, keep, sign_text(&sign, p), NULL);
            compare(server, &sign, ours, p);
            is_told |= !strcmp(sign.member, last.member);
        }
    }
    /* Version 0.1 leaves no signs. */
    if (!is_told && is_name_ok(last.member) && strcmp(last.member, ours->member)) {
        compare(server, &last, ours, p);
    }
    return keep;
}

/* The item was left by a member with another secret, or by somebody who is no member. */
static void complain(const place_t *place, memsess_seal_status_t sealed)
{
    static volatile apr_uint64_t told_at;

    if (memsess_due(&told_at, memsess_clock_steady(), apr_time_from_sec(ITEM_TTL))) {
        memsess_log(MEMSESS_LOG_WARNING, 0, "server %s: the item by which members of this "
                    "namespace see each other is %s, so it is not used: MemSessSecret and "
                    "MemSessSeal must be the same on all members",
                    memsess_server_conf(place->server)->name, memsess_seal_words(sealed));
    }
}

/* Reads the item that members have left; "": there is none. */
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

/* The sign that this member leaves at a server. */
static sign_t own_sign(const memsess_watch_t *watch, const place_t *place, apr_pool_t *p)
{
    apr_int64_t when = memsess_count_server_clock(memsess_server_conf(place->server)->count);
    apr_int64_t ahead = apr_time_sec(memsess_clock_wall()) - when;

    return (sign_t){.member = watch->member,
                    .version = MEMSESS_VERSION,
                    .ahead = when ? apr_psprintf(p, "%" APR_INT64_T_FMT, ahead) : "-",
                    .pools = pools_in(watch, place->ns, p),
                    .when = when};
}

static void exchange(const memsess_watch_t *watch, const place_t *place, apr_pool_t *p)
{
    sign_t ours = own_sign(watch, place, p);
    const char *others;
    memsess_key_t key;
    char *item, *pools;

    if (memsess_server_is_down(place->server)
        || memsess_key_make(&key, place->ns, ITEM) != APR_SUCCESS
        || take_item(place, &key, &item, p) != APR_SUCCESS) {
        return;
    }
    others = read_signs(place->server, item, &ours, p);
    compare(place->server, &ours, &ours, p);
    pools = apr_pstrdup(p, ours.pools);
    for (item = pools; (item = strchr(item, '.'));) {
        *item = ' ';
    }
    item = apr_psprintf(p, "1 %s %s %s%s%s", ours.member, ours.ahead, pools,
                        ours.when && strchr(ours.member, ':') ? sign_text(&ours, p) : "", others);
    leave_item(place, &key, item, p);
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

/* One place at a time: each server that does not answer takes a time-out, and meanwhile no server
 * is probed. */
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

/* Adds a place once, however many stores share it. */
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
    watched_t watched = {.store = store, .ns = ns};
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
