/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "memsess_store.h"

#include <string.h>

#include "apr_encode.h"
#include "apr_general.h"
#include "apr_hash.h"
#include "apr_strings.h"
#include "memsess_record.h"
#include "memsess_ring.h"

/*
 * Exact commits without a compare-and-swap
 * ----------------------------------------
 * A writer of revision n+1 first adds a claim of that revision, with a token of its own, on every
 * server that holds the session or is to hold it; memcached's add is atomic, so of two writers
 * that share one such server only one goes on. The other reads again until it sees n+1, puts its
 * changes upon that, and claims n+2. Nobody removes the claim of a revision that was written: it
 * goes by itself.
 *
 * A claim lives CLAIM_TTL seconds. A writer sends no copy later than CLAIM_SAFE after it began to
 * claim, and does not believe a reading that was older than CLAIM_SAFE when it began: so whoever
 * wrote n+1 after that reading began to claim it at most CLAIM_SAFE before, and its claim is still
 * there. This rests on
 *  - CLAIM_TTL, less the second that memcached's clock may be short, being above 2 * CLAIM_SAFE;
 *  - no writer being stopped for longer than what is left between its look at the clock and the
 *    send that follows it;
 *  - any two members that see the session sharing at least one of its servers: with two copies
 *    they may disagree on one server being down, with one copy they may not;
 *  - that server keeping the claim for its few seconds (no restart, no eviction).
 * Where one of these fails, an update may be lost; never is a session mixed or made up.
 *
 * Who dies between claim and write holds others up for CLAIM_TTL at most.
 */
#define CLAIM_TTL 6
#define CLAIM_SAFE apr_time_from_sec(2)
#define TOKEN_LEN 16

/* A revision this young may just be on its way to its other servers. */
#define UNDER_WAY apr_time_from_msec(200)

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
    enum { COPY_UNASKED, COPY_SILENT, COPY_NONE, COPY_DAMAGED, COPY_HELD } state;
    memsess_session_t *session;
} copy_t;

/* The reading of one key: its servers in order, and what they said. */
typedef struct reading_t {
    memsess_store_t *store;
    const memsess_key_t *key;
    apr_pool_t *p;
    copy_t *copies;
    unsigned n;
    memsess_session_t *newest;
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
    const char *trouble;

    if (get->rv != APR_SUCCESS) {
        copy->state = get->rv == MEMSESS_ABSENT ? COPY_NONE : COPY_SILENT;
        return;
    }
    switch (memsess_record_decode(get->data, get->len, reading->key, &copy->session,
                                  reading->p)) {
    case MEMSESS_RECORD_OK:
        copy->state = COPY_HELD;
        if (!reading->newest || copy->session->revision > reading->newest->revision) {
            reading->newest = copy->session;
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
        copy->state = COPY_DAMAGED;
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
        for (i = 0; reading->newest && i < reading->newest->placement.n; i++) {
            for (j = 0; j < reading->n; j++) {
                copy_t *copy = &reading->copies[j];

                if (copy->state == COPY_UNASKED && n < MEMSESS_COPIES_MAX
                    && !memcmp(reading->store->nodes[copy->at].tag,
                               reading->newest->placement.tag[i], MEMSESS_TAG_LEN)) {
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
                             memsess_session_t *session, const copy_t *copies, unsigned n,
                             apr_time_t not_after, int *failed, apr_status_t *rv, apr_pool_t *p)
{
    unsigned chosen[MEMSESS_COPIES_MAX];
    unsigned i, stored = 0;
    apr_size_t len;
    char *data;

    *failed = 0;
    *rv = MEMSESS_DOWN;
    if (choose(store, copies, n, chosen, &session->placement)) {
        *rv = memsess_record_encode(session, key, store->conf.compress, &data, &len, p);
        if (*rv != APR_SUCCESS) {
            return 0;
        }
    }
    for (i = 0; i < session->placement.n; i++) {
        apr_status_t put_rv = MEMSESS_BUSY;

        if (!not_after || apr_time_now() < not_after) {
            put_rv = memsess_server_set(store->servers[chosen[i]], key_text(store, key, chosen[i], p),
                                        data, len, ttl_of(session));
            *failed |= put_rv != APR_SUCCESS && put_rv != MEMSESS_REFUSED;
        }
        if (put_rv == APR_SUCCESS) {
            stored++;
        }
        else {
            *rv = put_rv;
        }
    }
    return stored;
}

static apr_status_t write_before(memsess_store_t *store, const memsess_key_t *key,
                                 memsess_session_t *session, apr_time_t not_after, apr_pool_t *p)
{
    unsigned n, stored, tries = 0;
    apr_status_t rv;
    copy_t *copies;
    int failed;

    session->revision++;
    session->written = apr_time_now();
    order(store, key, &copies, &n, p);
    do {
        stored = write_copies(store, key, session, copies, n, not_after, &failed, &rv, p);
    } while (failed && ++tries < n);
    return stored ? APR_SUCCESS : rv;
}

apr_status_t memsess_store_write(memsess_store_t *store, const memsess_key_t *key,
                                 memsess_session_t *session, apr_pool_t *p)
{
    return write_before(store, key, session, 0, p);
}

/* memcached removes the item that it has when it refuses what was to replace it. */
static void put_back(memsess_store_t *store, const memsess_key_t *key,
                     const memsess_session_t *session, apr_pool_t *p)
{
    memsess_session_t *again = apr_pmemdup(p, session, sizeof(*session));

    write_before(store, key, again, 0, p);
}

memsess_session_t *memsess_tombstone(const memsess_session_t *session,
                                     const memsess_key_t *moved_to, apr_pool_t *p)
{
    memsess_session_t *tombstone = apr_pmemdup(p, session, sizeof(*session));

    tombstone->ended = 1;
    tombstone->attrs = apr_array_make(p, 1, sizeof(memsess_attr_t));
    if (moved_to) {
        tombstone->moved = 1;
        tombstone->moved_to = *moved_to;
    }
    return tombstone;
}

/* -- Committing ------------------------------------------------------------------------------- */

/* A claim, and the servers that it is held on. */
typedef struct claim_t {
    memsess_store_t *store;
    const memsess_key_t *key;
    apr_uint64_t revision;
    apr_time_t begun;
    char token[TOKEN_LEN + 1];
    unsigned held[2 * MEMSESS_COPIES_MAX];
    unsigned n;
} claim_t;

static const char *claim_text(const claim_t *claim, unsigned at, apr_pool_t *p)
{
    return apr_psprintf(p, "%s.%" APR_UINT64_T_FMT, key_text(claim->store, claim->key, at, p),
                        claim->revision);
}

static int is_placed(const memsess_store_t *store, const memsess_placement_t *placement,
                     unsigned at)
{
    unsigned i;

    for (i = 0; i < placement->n; i++) {
        if (!memcmp(placement->tag[i], store->nodes[at].tag, MEMSESS_TAG_LEN)) {
            return 1;
        }
    }
    return 0;
}

/* Where a connection breaks, an add may have been done before it was repeated: then the claim that
 * is there already is our own. */
static apr_status_t claim_on(claim_t *claim, unsigned at, apr_pool_t *p)
{
    memsess_server_t *server = claim->store->servers[at];
    const char *text = claim_text(claim, at, p);
    apr_status_t rv = memsess_server_add(server, text, claim->token, TOKEN_LEN, CLAIM_TTL);
    apr_size_t len;
    char *holder;

    if (rv == MEMSESS_EXISTS
        && memsess_server_get(server, text, &holder, &len, p) == APR_SUCCESS
        && len == TOKEN_LEN && !memcmp(holder, claim->token, len)) {
        rv = APR_SUCCESS;
    }
    return rv;
}

static void claim_drop(claim_t *claim, apr_pool_t *p)
{
    while (claim->n) {
        unsigned at = claim->held[--claim->n];

        memsess_server_delete(claim->store->servers[at], claim_text(claim, at, p));
    }
}

/* Claims the revision after @a newest wherever that lies and wherever the next is to lie. */
static apr_status_t claim_take(claim_t *claim, const memsess_session_t *newest,
                               const copy_t *copies, unsigned n, apr_pool_t *p)
{
    const memsess_store_t *store = claim->store;
    unsigned char random[TOKEN_LEN / 4 * 3];
    apr_status_t rv = apr_generate_random_bytes(random, sizeof(random));
    apr_status_t worst = MEMSESS_DOWN;
    unsigned i, targets = 0;

    apr_encode_base64_binary(claim->token, random, sizeof(random), APR_ENCODE_BASE64URL, NULL);
    claim->revision = newest->revision + 1;
    claim->begun = apr_time_now();
    claim->n = 0;
    for (i = 0; i < n && rv == APR_SUCCESS; i++) {
        unsigned at = copies[i].at;

        if (memsess_server_is_down(store->servers[at])
            || (targets >= store->conf.copies && !is_placed(store, &newest->placement, at))) {
            continue;
        }
        rv = claim_on(claim, at, p);
        if (rv == APR_SUCCESS) {
            claim->held[claim->n++] = at;
            targets++;
        }
        else if (rv == MEMSESS_EXISTS) {
            claim_drop(claim, p);
            return MEMSESS_BUSY;
        }
        else {
            worst = rv;
            rv = APR_SUCCESS; /* it is down now, or full: the next one stands in */
        }
    }
    return claim->n ? APR_SUCCESS : rv == APR_SUCCESS ? worst : rv;
}

/* Copies that stood in for a server that is back: they would only grow old. */
static void drop_strays(const claim_t *claim, const memsess_session_t *before,
                        const memsess_session_t *now, apr_pool_t *p)
{
    memsess_store_t *store = claim->store;
    unsigned i;

    for (i = 0; i < claim->n; i++) {
        unsigned at = claim->held[i];

        if (is_placed(store, &before->placement, at) && !is_placed(store, &now->placement, at)) {
            memsess_server_delete(store->servers[at], key_text(store, claim->key, at, p));
        }
    }
}

/* Writes what make says, under the claim; MEMSESS_BUSY where that took too long. */
static apr_status_t write_claimed(claim_t *claim, const memsess_session_t *newest,
                                  memsess_next_t *make, void *baton, apr_pool_t *p)
{
    memsess_session_t *next;
    apr_status_t rv = make(baton, newest, &next, p);

    if (rv != APR_SUCCESS) {
        claim_drop(claim, p);
        return rv;
    }
    next->revision = newest->revision;
    rv = write_before(claim->store, claim->key, next, claim->begun + CLAIM_SAFE, p);
    if (rv == APR_SUCCESS) {
        drop_strays(claim, newest, next, p);
    }
    else if (rv == MEMSESS_REFUSED) {
        put_back(claim->store, claim->key, newest, p);
    }
    return rv;
}

static memsess_found_t find(memsess_store_t *store, const memsess_key_t *key, int repairs,
                            memsess_session_t **session, apr_pool_t *p);

/* The newest revision, if there is a newer one than the one at hand. */
static apr_status_t look_again(memsess_store_t *store, const memsess_key_t *key,
                               const memsess_session_t **newest, apr_time_t *read_at,
                               apr_pool_t *p)
{
    memsess_session_t *session;
    apr_time_t now = apr_time_now();

    switch (find(store, key, 0, &session, p)) {
    case MEMSESS_FOUND:
        if (session->revision > (*newest)->revision) {
            *newest = session;
        }
        break;
    case MEMSESS_MISSING: /* evicted since: what is at hand is the last copy */
        break;
    case MEMSESS_ENDED:
        return MEMSESS_GONE;
    default:
        return MEMSESS_DOWN;
    }
    *read_at = now;
    return APR_SUCCESS;
}

/* Longer each time, up to 32 ms, and never quite as long as somebody else's. */
static void pause_before_try(const claim_t *claim, unsigned tries)
{
    unsigned most = 1000U << (tries < 5 ? tries : 5);

    apr_sleep(most / 2 + (unsigned char)claim->token[0] * most / 512);
}

apr_status_t memsess_store_commit(memsess_store_t *store, const memsess_key_t *key,
                                  const memsess_session_t *newest, apr_time_t read_at,
                                  apr_interval_time_t wait, memsess_next_t *make, void *baton,
                                  apr_pool_t *p)
{
    apr_time_t give_up = apr_time_now() + wait;
    claim_t claim = {store, key, 0, 0, "", {0}, 0};
    unsigned n, tries;
    copy_t *copies;
    apr_status_t rv;

    order(store, key, &copies, &n, p);
    for (tries = 0;; tries++) {
        const memsess_session_t *seen = newest;

        rv = claim_take(&claim, newest, copies, n, p);
        if (rv == APR_SUCCESS && claim.begun - read_at > CLAIM_SAFE) {
            rv = look_again(store, key, &newest, &read_at, p);
            if (rv != APR_SUCCESS || newest != seen) {
                claim_drop(&claim, p);
                rv = rv == APR_SUCCESS ? MEMSESS_BUSY : rv;
            }
        }
        if (rv == APR_SUCCESS) {
            rv = write_claimed(&claim, newest, make, baton, p);
        }
        if (rv != MEMSESS_BUSY || apr_time_now() >= give_up) {
            return rv;
        }
        if (newest == seen) {
            pause_before_try(&claim, tries);
            rv = look_again(store, key, &newest, &read_at, p);
            if (rv != APR_SUCCESS) {
                return rv;
            }
        }
    }
}

/* -- Reading and repairing --------------------------------------------------------------------- */

static apr_status_t same_again(void *baton, const memsess_session_t *newest,
                               memsess_session_t **next, apr_pool_t *p)
{
    *next = *(memsess_session_t **)baton = apr_pmemdup(p, newest, sizeof(*newest));
    return APR_SUCCESS;
}

/* Where a home that answered lacks what the newest copy says, that is written once more, as a
 * revision of its own: so a repair can undo no commit. Left to whoever is writing, if somebody is. */
static void repair(reading_t *reading, apr_time_t read_at)
{
    memsess_session_t *again;
    unsigned i, lacking = 0;

    if (read_at - reading->newest->written < UNDER_WAY) {
        return;
    }
    for (i = 0; i < reading->n && i < reading->store->conf.copies; i++) {
        const copy_t *copy = &reading->copies[i];

        lacking += copy->state == COPY_NONE || copy->state == COPY_DAMAGED
                   || (copy->state == COPY_HELD
                       && copy->session->revision < reading->newest->revision);
    }
    if (lacking
        && memsess_store_commit(reading->store, reading->key, reading->newest, read_at, 0,
                                same_again, &again, reading->p) == APR_SUCCESS) {
        reading->newest = again;
        memsess_log(MEMSESS_LOG_INFO, 0, "repaired %u of the copies of session %s", lacking,
                    key_log(reading->key, reading->p));
    }
}

/*
 * Whether what was found can be the newest there is. A server that was away since the record was
 * written may have missed others; it is believed if nobody who may know better is silent.
 */
static int is_trusted(const reading_t *reading)
{
    const memsess_session_t *newest = reading->newest;
    int silent = 0;
    unsigned i;

    for (i = 0; i < reading->n; i++) {
        const copy_t *copy = &reading->copies[i];

        if (copy->state == COPY_HELD && copy->session->revision == newest->revision
            && memsess_server_back_at(reading->store->servers[copy->at]) <= newest->written) {
            return 1;
        }
        silent |= copy->state == COPY_SILENT
                  && is_placed(reading->store, &newest->placement, copy->at);
    }
    return !silent;
}

/* Whether every home answered that it has nothing. */
static int is_missing(const reading_t *reading)
{
    unsigned i;

    for (i = 0; i < reading->n && i < reading->store->conf.copies; i++) {
        if (reading->copies[i].state != COPY_NONE && reading->copies[i].state != COPY_DAMAGED) {
            return 0;
        }
    }
    return 1;
}

static memsess_found_t find(memsess_store_t *store, const memsess_key_t *key, int repairs,
                            memsess_session_t **session, apr_pool_t *p)
{
    reading_t reading = {store, key, p, NULL, 0, NULL};
    apr_time_t read_at = apr_time_now();
    unsigned from = 0;

    order(store, key, &reading.copies, &reading.n, p);
    /* Homes first. A session that began while a home was away lies on those that stood in. */
    ask_next(&reading, &from);
    if (!reading.newest) {
        ask_next(&reading, &from);
    }
    if (!reading.newest) {
        return is_missing(&reading) ? MEMSESS_MISSING : MEMSESS_UNAVAILABLE;
    }
    ask_placement(&reading);
    if (!is_trusted(&reading)) {
        return MEMSESS_UNAVAILABLE;
    }
    if (repairs) {
        repair(&reading, read_at);
    }
    *session = reading.newest;
    return reading.newest->ended ? MEMSESS_ENDED : MEMSESS_FOUND;
}

memsess_found_t memsess_store_read(memsess_store_t *store, const memsess_key_t *key,
                                   memsess_session_t **session, apr_pool_t *p)
{
    return find(store, key, 1, session, p);
}
