/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/claim.h"

#include <string.h>

#include "apr_encode.h"
#include "apr_strings.h"
#include "base/clock.h"
#include "session/seal.h"
#include "store/later.h"

const char memsess_claim_first[] = "first";

/* How often, and for how long, a writer that has the claim on the first server waits for one that
 * has claims on others. */
#define WAITS_FOR_OTHER 3
#define WAIT_MIN 500
#define WAIT_MAX apr_time_from_msec(10)

/* A claim counts as over this many seconds after its time: members may differ in what they take for
 * a server's clock. */
#define OVER_FOR_GOOD 10

apr_uint32_t memsess_claim_ttl(const memsess_store_t *store)
{
    return (apr_uint32_t)apr_time_sec(3 * MEMSESS_CLAIM_SAFE + store->timeout) + 2;
}

/* apr_off_t_toa puts revisions and times into text, so it has to take all of them. */
typedef char memsess_off_t_is_large[sizeof(apr_off_t) >= sizeof(apr_time_t) ? 1 : -1];

const char *memsess_revision_text(apr_uint64_t revision, apr_pool_t *p)
{
    return apr_off_t_toa(p, (apr_off_t)revision);
}

static const char *claim_text(const memsess_claim_t *claim, unsigned at, const char *what,
                              apr_pool_t *p)
{
    return memsess_key_text(&claim->of, at, ".", what, p);
}

/* The number of the writer whose token begins with these bytes. */
static apr_uint16_t number_of(const unsigned char *bytes)
{
    return (apr_uint16_t)(bytes[0] << 8 | bytes[1] | 1); /* 0: none */
}

static apr_uint16_t writer_of(const char *token)
{
    unsigned char bytes[3] = {0, 0, 0};

    apr_decode_base64_binary(bytes, token, 4, APR_ENCODE_BASE64URL, NULL);
    return number_of(bytes);
}

/* Whether a claim that is there already belongs to the revision's own writer, which has sent all
 * copies. */
static int is_settled(const memsess_claim_t *claim, const char *what, const char *holder)
{
    return what != claim->what && what != memsess_claim_first && claim->is_sent
           && writer_of(holder) == claim->before->writer;
}

static const char *claim_kind(const char *what, apr_pool_t *p)
{
    return apr_pstrcat(p, "claim ", what, NULL);
}

/* What lies in memcached: the token; when the claim began, so that a claim has another value each
 * time that it is renewed; and until when it lives, by the server's own clock, or 0 if that is not
 * known. It is sealed if records are. */
static apr_status_t claim_value(const memsess_claim_t *claim, unsigned at, const char *what,
                                char **value, apr_size_t *len, apr_pool_t *p)
{
    const memsess_secrets_t *secrets = claim->of.store->conf.secrets;
    apr_int64_t clock = memsess_server_clock(claim->of.store->servers[at]);
    char *plain = apr_pstrcat(p, claim->token, apr_off_t_toa(p, claim->begun), " ",
                              apr_off_t_toa(p, clock ? clock + claim->ttl : 0), NULL);

    return memsess_seal(secrets, claim->of.key, secrets ? claim_kind(what, p) : "", plain,
                        strlen(plain), value, len, p);
}

/* Whether the time of a claim is over; @a value is what was sealed. */
static int is_over(const memsess_server_t *server, const char *value)
{
    const char *until = strchr(value + MEMSESS_CLAIM_TOKEN_LEN, ' ');
    apr_int64_t last = until ? apr_atoi64(until + 1) : 0;

    return last > 0 && memsess_server_clock(server) - last > OVER_FOR_GOOD;
}

/*
 * The token of the claim's holder; NULL: it cannot be told. Nobody removes a claim that belongs to
 * another writer and may be living.
 * @param is_void receives whether nobody can hold it: no member made it, or its time is over
 */
static const char *claim_holder(const memsess_claim_t *claim, memsess_server_t *server,
                                const char *text, const char *what, int *is_void, apr_pool_t *p)
{
    memsess_seal_status_t sealed;
    apr_size_t len;
    char *value;
    int aged;

    *is_void = 0;
    if (memsess_server_get(server, text, &value, &len, p) != APR_SUCCESS) {
        return NULL;
    }
    sealed = memsess_unseal(claim->of.store->conf.secrets, claim->of.key, claim_kind(what, p),
                            value, len, &value, &len, &aged, p);
    if (sealed != MEMSESS_SEAL_OK) {
        *is_void = sealed != MEMSESS_SEAL_FAILED;
        return NULL;
    }
    if (len < MEMSESS_CLAIM_TOKEN_LEN) {
        return NULL;
    }
    *is_void = is_over(server, value);
    return apr_pstrmemdup(p, value, len);
}

static apr_status_t claim_prepare(memsess_put_t *put, const memsess_claim_t *claim,
                                  const memsess_copy_t *copy, const char *what, apr_pool_t *p)
{
    memset(put, 0, sizeof(*put));
    put->server = claim->of.store->servers[copy->at];
    put->key = claim_text(claim, copy->at, what, p);
    put->ttl = claim->ttl;
    put->how = MEMSESS_PUT_ADD;
    return claim_value(claim, copy->at, what, &put->data, &put->len, p);
}

/* Claims in place of an item that is no claim, or that is over. */
static apr_status_t claim_instead(const memsess_claim_t *claim, const memsess_put_t *put,
                                  const char *what, apr_pool_t *p)
{
    memsess_put_t again = *put;

    memsess_complain(&claim->of, put->server, claim_kind(what, p),
                     "not a member's, or has expired: it is removed", p);
    memsess_server_delete(put->server, put->key);
    memsess_pool_mput(&again, 1);
    return again.rv;
}

/* Whether a claim is there, or may come to be there: a server that hangs may still carry out the
 * add when it runs again, and the claim's life begins then. */
static int may_be_done(apr_status_t rv)
{
    return rv != MEMSESS_EXISTS && rv != MEMSESS_DOWN && rv != MEMSESS_UNSENT
           && !memsess_is_refused(rv);
}

/* Whether this is held already: given back twice, the second time might take another writer's. */
static int is_held(const memsess_claim_t *claim, const memsess_copy_t *copy, const char *what)
{
    unsigned i = 0;

    while (i < claim->n && (claim->held[i].copy != copy || claim->held[i].what != what)) {
        i++;
    }
    return i < claim->n;
}

/* What the answer to a claim says. If a connection broke, the add may have been done before it was
 * repeated: then the claim that is there already is our own. */
static apr_status_t claim_answer(memsess_claim_t *claim, memsess_copy_t *copy, const char *what,
                                 const memsess_put_t *put, apr_pool_t *p)
{
    apr_status_t rv = put->rv;
    const char *holder;
    int is_void;

    if (rv == MEMSESS_EXISTS) {
        holder = claim_holder(claim, put->server, put->key, what, &is_void, p);
        if (is_void) {
            rv = claim_instead(claim, put, what, p);
            holder = NULL;
        }
        if (holder && is_settled(claim, what, holder)) {
            return APR_SUCCESS;
        }
        if (holder && !memcmp(holder, claim->token, MEMSESS_CLAIM_TOKEN_LEN)) {
            rv = APR_SUCCESS;
        }
    }
    if (may_be_done(rv) && !is_held(claim, copy, what)) {
        claim->held[claim->n].copy = copy;
        claim->held[claim->n++].what = what;
    }
    return rv;
}

apr_status_t memsess_claim_on(memsess_claim_t *claim, memsess_copy_t *copy, const char *what,
                              apr_pool_t *p)
{
    memsess_put_t put;
    apr_status_t rv = claim_prepare(&put, claim, copy, what, p);

    if (rv == APR_SUCCESS) {
        memsess_pool_mput(&put, 1);
        rv = claim_answer(claim, copy, what, &put, p);
    }
    return rv;
}

/* Claims on several servers at once. If two writers meet, each may have some of the claims: the one
 * that has the first server in order waits a moment for the other one, which gives its own back. */
static apr_status_t claim_on_all(memsess_claim_t *claim, memsess_copy_t *const *copies, unsigned n,
                                 const char *what, apr_status_t *answers, apr_pool_t *p)
{
    memsess_put_t puts[MEMSESS_COPIES_MAX];
    apr_interval_time_t took = memsess_clock_steady();
    apr_status_t rv = APR_SUCCESS;
    unsigned i, tries;

    for (i = 0; i < n && rv == APR_SUCCESS; i++) {
        rv = claim_prepare(&puts[i], claim, copies[i], what, p);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    memsess_pool_mput(puts, n);
    took = memsess_clock_steady() - took;
    for (i = 0; i < n; i++) {
        answers[i] = claim_answer(claim, copies[i], what, &puts[i], p);
        for (tries = 0; i && answers[i] == MEMSESS_EXISTS && answers[0] == APR_SUCCESS
                        && tries < WAITS_FOR_OTHER; tries++) {
            apr_sleep((took < WAIT_MAX ? took : WAIT_MAX) + WAIT_MIN);
            answers[i] = memsess_claim_on(claim, copies[i], what, p);
        }
    }
    return APR_SUCCESS;
}

/* Drops the claims on servers that were away. Each one is looked at first: its server may have been
 * restarted, and have another writer's claim since. */
static void claim_drop_rest(memsess_claim_t *claim, apr_pool_t *p)
{
    unsigned i;
    int is_void;

    for (i = claim->n; i-- > 0;) {
        unsigned at = claim->held[i].copy->at;
        memsess_server_t *server = claim->of.store->servers[at];
        const char *text = claim_text(claim, at, claim->held[i].what, p);
        const char *holder = claim_holder(claim, server, text, claim->held[i].what,
                                          &is_void, p);

        if (holder && !memcmp(holder, claim->token, MEMSESS_CLAIM_TOKEN_LEN)) {
            memsess_server_delete(server, text);
        }
        else if (!memsess_server_is_down(server)) {
            claim->held[i] = claim->held[--claim->n];
        }
    }
}

/* A claim that is still to be dropped on servers that are away, in memory of its own. */
typedef struct dropping_t {
    memsess_claim_t claim;
    memsess_key_t key;
    memsess_lease_t lease;
    apr_pool_t *p;
} dropping_t;

static void dropping_look(void *baton)
{
    dropping_t *dropping = baton;
    apr_pool_t *p;

    if (apr_pool_create_unmanaged_ex(&p, NULL, NULL) == APR_SUCCESS) {
        claim_drop_rest(&dropping->claim, p);
        apr_pool_destroy(p);
    }
    if (!dropping->claim.n) {
        memsess_later_done(dropping->claim.of.store, &dropping->lease);
    }
}

static void dropping_end(void *baton)
{
    memsess_later_over(((dropping_t *)baton)->claim.of.store);
    apr_pool_destroy(((dropping_t *)baton)->p);
}

static void claim_drop_later(const memsess_claim_t *claim)
{
    dropping_t *dropping;
    apr_pool_t *p;
    unsigned i;

    if (apr_pool_create_unmanaged_ex(&p, NULL, NULL) != APR_SUCCESS) {
        return;
    }
    dropping = apr_pcalloc(p, sizeof(*dropping));
    dropping->p = p;
    dropping->claim = *claim;
    dropping->key = *claim->of.key;
    dropping->claim.of.key = &dropping->key;
    dropping->claim.of.copy = NULL;
    dropping->claim.held = apr_pmemdup(p, claim->held, sizeof(*claim->held) * claim->n);
    for (i = 0; i < claim->n; i++) {
        dropping->claim.held[i].copy = apr_pmemdup(p, claim->held[i].copy, sizeof(memsess_copy_t));
        dropping->claim.held[i].what = apr_pstrdup(p, claim->held[i].what);
    }
    if (!memsess_later_begin(claim->of.store, &dropping->lease, dropping_look, dropping_end,
                             dropping)) {
        apr_pool_destroy(p);
    }
}

/* A claim that is about to expire is left alone: another writer may have claimed by the time the
 * delete arrives. But on a server that hangs time stands still, so that claim has to be dropped. */
static int is_to_be_dropped(const memsess_claim_t *claim, unsigned i)
{
    return memsess_clock_steady() - claim->begun < apr_time_from_sec(claim->ttl - 2)
           || memsess_server_is_down(claim->of.store->servers[claim->held[i].copy->at]);
}

void memsess_claim_drop_some(memsess_claim_t *claim, const char *what, apr_pool_t *p)
{
    unsigned i;

    for (i = claim->n; i-- > 0;) {
        unsigned at = claim->held[i].copy->at;
        apr_status_t rv = APR_SUCCESS;

        if (what && claim->held[i].what != what) {
            continue;
        }
        if (is_to_be_dropped(claim, i)) {
            rv = memsess_server_delete(claim->of.store->servers[at],
                                       claim_text(claim, at, claim->held[i].what, p));
        }
        if (rv == APR_SUCCESS || rv == MEMSESS_ABSENT) {
            claim->held[i] = claim->held[--claim->n];
        }
    }
}

void memsess_claim_drop(memsess_claim_t *claim, apr_pool_t *p)
{
    memsess_claim_drop_some(claim, NULL, p);
    if (claim->n) {
        claim_drop_later(claim);
        claim->n = 0;
    }
}

void memsess_claim_hold(memsess_claim_t *claim, apr_pool_t *p)
{
    claim->held = apr_palloc(p, 3 * sizeof(*claim->held) * claim->of.n);
    claim->n = 0;
}

int memsess_claim_may_come(apr_status_t rv)
{
    return rv == MEMSESS_BUSY || rv == MEMSESS_UNSENT;
}

static apr_status_t claim_begin(memsess_claim_t *claim)
{
    unsigned char random[MEMSESS_NONCE_BYTES];
    apr_status_t rv = memsess_nonce(random);

    apr_encode_base64_binary(claim->token, random, sizeof(random), APR_ENCODE_BASE64URL, NULL);
    claim->writer = number_of(random);
    claim->begun = memsess_clock_steady();
    claim->n = 0;
    return rv;
}

/* Finds the servers to claim next: those where the session lies or its next revision is to lie, as
 * far as they are up and were not tried yet. */
static unsigned claim_wanted(const memsess_claim_t *claim, const memsess_session_t *newest,
                             memsess_copy_t **wanted)
{
    const memsess_store_t *store = claim->of.store;
    unsigned i, targets = 0, m = 0;

    for (i = 0; i < claim->of.n && m < MEMSESS_COPIES_MAX; i++) {
        memsess_copy_t *copy = &claim->of.copy[i];
        int is_wanted = !copy->tried && !memsess_server_is_down(store->servers[copy->at])
                        && (memsess_is_placed(store, &newest->placement, copy->at)
                            || (targets < store->conf.copies && copy->state != COPY_REFUSED));

        if (is_wanted) {
            wanted[m++] = copy;
        }
        targets += (is_wanted || copy->claimed) && copy->state != COPY_REFUSED;
    }
    return m;
}

/* Claims all that is to be claimed on these servers; MEMSESS_BUSY if another writer has. A server
 * that fails is down now, or full, so the next round claims one that stands in. One that is up, but
 * could not be asked in time (MEMSESS_UNSENT), is not done without: it would keep its old copy, which
 * readers believe. */
static apr_status_t claim_these(memsess_claim_t *claim, memsess_copy_t **wanted, unsigned n,
                                apr_status_t *worst, apr_pool_t *p)
{
    const char *const whats[] = {
        claim->is_bare ? memsess_claim_first : NULL,
        claim->before ? memsess_revision_text(claim->before->revision, p) : NULL,
        claim->what};
    apr_status_t answers[MEMSESS_COPIES_MAX], rv;
    unsigned i, k, m;

    for (k = 0; k < 3; k++) {
        if (!whats[k]) {
            continue;
        }
        rv = claim_on_all(claim, wanted, n, whats[k], answers, p);
        for (i = m = 0; i < n && rv == APR_SUCCESS; i++) {
            wanted[i]->tried = 1;
            if (answers[i] == APR_SUCCESS) {
                wanted[m++] = wanted[i];
            }
            else if (answers[i] == MEMSESS_EXISTS || answers[i] == MEMSESS_UNSENT) {
                rv = answers[i] == MEMSESS_EXISTS ? MEMSESS_BUSY : MEMSESS_UNSENT;
            }
            else {
                *worst = answers[i];
                if (memsess_is_refused(answers[i])) {
                    wanted[i]->state = COPY_REFUSED;
                }
            }
        }
        if (rv != APR_SUCCESS) {
            return rv;
        }
        n = m;
    }
    for (i = 0; i < n; i++) {
        wanted[i]->claimed = 1;
    }
    return APR_SUCCESS;
}

apr_status_t memsess_claim_take(memsess_claim_t *claim, const memsess_session_t *newest, apr_pool_t *p)
{
    apr_status_t rv = claim_begin(claim), worst = MEMSESS_DOWN;
    memsess_copy_t *wanted[MEMSESS_COPIES_MAX], *copies = claim->of.copy;
    unsigned i, m, n = claim->of.n, shared = 0;

    for (i = 0; i < n; i++) {
        copies[i].claimed = copies[i].tried = 0;
    }
    while (rv == APR_SUCCESS && (m = claim_wanted(claim, newest, wanted))) {
        rv = claim_these(claim, wanted, m, &worst, p);
    }
    /* Others claim where the session lies: a writer that sees none of these servers cannot meet
     * them. */
    for (i = 0; i < n; i++) {
        shared |=
            (unsigned)(copies[i].claimed
                       && memsess_is_placed(claim->of.store, &newest->placement, copies[i].at));
    }
    if (rv != APR_SUCCESS || !shared) {
        memsess_claim_drop(claim, p);
        return rv != APR_SUCCESS ? rv : worst;
    }
    return APR_SUCCESS;
}

/* -- Renewal ---------------------------------------------------------------------------------- */

memsess_claim_t *memsess_claim_make(memsess_store_t *store, const memsess_key_t *key,
                                    const char *what, apr_uint32_t ttl, apr_pool_t *p)
{
    memsess_claim_t *claim = apr_pcalloc(p, sizeof(*claim));

    claim->what = what;
    claim->ttl = ttl;
    memsess_order(&claim->of, store, apr_pmemdup(p, key, sizeof(*key)), p);
    memsess_claim_hold(claim, p);
    return claim;
}

/* Puts our claim there once more. If there is none, the server was restarted, or this process was
 * stopped. */
static apr_status_t renew_on(const memsess_claim_t *claim, unsigned at, apr_pool_t *p)
{
    memsess_server_t *server = claim->of.store->servers[at];
    const char *text = claim_text(claim, at, claim->what, p), *holder;
    apr_size_t len;
    char *value;
    int is_void;
    apr_status_t rv = claim_value(claim, at, claim->what, &value, &len, p);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    holder = claim_holder(claim, server, text, claim->what, &is_void, p);
    if (!holder) {
        return memsess_server_add(server, text, value, len, claim->ttl);
    }
    return memcmp(holder, claim->token, MEMSESS_CLAIM_TOKEN_LEN)
               ? MEMSESS_BUSY : memsess_server_set(server, text, value, len, claim->ttl);
}

void memsess_claim_renew(memsess_claim_t *claim, apr_pool_t *p)
{
    apr_time_t before = claim->begun;
    int renewed = 0;
    unsigned i;

    claim->begun = memsess_clock_steady();
    for (i = 0; i < claim->n; i++) {
        renewed |= renew_on(claim, claim->held[i].copy->at, p) == APR_SUCCESS;
    }
    claim->begun = renewed ? claim->begun : before;
}
