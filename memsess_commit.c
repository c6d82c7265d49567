/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "memsess_store_private.h"

#include <string.h>

#include "apr_encode.h"
#include "apr_general.h"
#include "apr_strings.h"

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
 *  - CLAIM_TTL, less the second that memcached's clock may be short, being above 3 * CLAIM_SAFE and
 *    MemSessTimeout: a reading CLAIM_SAFE old, an add as late after it, and the other's last send;
 *  - no writer being stopped for longer than what is left between its look at the clock and the
 *    send that follows it;
 *  - any two members that see the session sharing at least one of its servers: with two copies
 *    they may disagree on one server being down, with one copy they may not;
 *  - that server keeping the claim for its few seconds (no restart, no eviction);
 *  - for what a server may have missed while it was away, the members' clocks agreeing to well
 *    under a second.
 * Where one of these fails, an update may be lost; never is a session mixed or made up.
 *
 * Not closed yet, each found by t/model, which has the mend: a revision that is sent a second time
 * after a partial failure; building on a revision that only some servers have; a commit that ran
 * out of time after its first copy and still counts; two records of one revision; and strays that
 * are deleted under no claim of the next writer. Each takes a failure in mid-commit and a second
 * writer at that moment.
 *
 * Who dies between claim and write holds others up for CLAIM_TTL at most.
 */
#define CLAIM_TTL 8
#define CLAIM_SAFE apr_time_from_sec(2)
#define TOKEN_LEN 16

/* A claim, and the servers that it is held on. */
typedef struct claim_t {
    memsess_store_t *store;
    const memsess_key_t *key;
    const char *what;  /* is claimed: a revision, or the lock */
    apr_uint32_t ttl;  /* in seconds */
    apr_time_t begun;
    char token[TOKEN_LEN + 1];
    unsigned held[2 * MEMSESS_COPIES_MAX];
    unsigned n;
} claim_t;

static const char *claim_text(const claim_t *claim, unsigned at, apr_pool_t *p)
{
    return apr_pstrcat(p, memsess_key_text(claim->store, claim->key, at, p), ".", claim->what,
                       NULL);
}

/* Where a connection breaks, an add may have been done before it was repeated: then the claim that
 * is there already is our own. */
static apr_status_t claim_on(claim_t *claim, unsigned at, apr_pool_t *p)
{
    memsess_server_t *server = claim->store->servers[at];
    const char *text = claim_text(claim, at, p);
    apr_status_t rv = memsess_server_add(server, text, claim->token, TOKEN_LEN, claim->ttl);
    apr_size_t len;
    char *holder;

    if (rv == MEMSESS_EXISTS
        && memsess_server_get(server, text, &holder, &len, p) == APR_SUCCESS
        && len == TOKEN_LEN && !memcmp(holder, claim->token, len)) {
        rv = APR_SUCCESS;
    }
    return rv;
}

/* What is about to go by itself is left to do so: it may be somebody else's by then. */
static void claim_drop(claim_t *claim, apr_pool_t *p)
{
    if (apr_time_now() - claim->begun >= apr_time_from_sec(claim->ttl - 2)) {
        claim->n = 0;
    }
    while (claim->n) {
        unsigned at = claim->held[--claim->n];

        memsess_server_delete(claim->store->servers[at], claim_text(claim, at, p));
    }
}

/* Claims something of a session wherever that lies and wherever its next revision is to lie. */
static apr_status_t claim_take(claim_t *claim, const memsess_session_t *newest,
                               const memsess_copy_t *copies, unsigned n, apr_pool_t *p)
{
    const memsess_store_t *store = claim->store;
    unsigned char random[TOKEN_LEN / 4 * 3];
    apr_status_t rv = apr_generate_random_bytes(random, sizeof(random));
    apr_status_t worst = MEMSESS_DOWN;
    unsigned i, targets = 0, shared = 0;

    apr_encode_base64_binary(claim->token, random, sizeof(random), APR_ENCODE_BASE64URL, NULL);
    claim->begun = apr_time_now();
    claim->n = 0;
    for (i = 0; i < n && rv == APR_SUCCESS; i++) {
        unsigned at = copies[i].at;

        if (memsess_server_is_down(store->servers[at])
            || (targets >= store->conf.copies
                && !memsess_is_placed(store, &newest->placement, at))) {
            continue;
        }
        rv = claim_on(claim, at, p);
        if (rv == APR_SUCCESS) {
            claim->held[claim->n++] = at;
            targets++;
            shared |= (unsigned)memsess_is_placed(store, &newest->placement, at);
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
    /* Others claim where the session lies: who sees none of these servers cannot meet them. */
    if (claim->n && !shared) {
        claim_drop(claim, p);
        return MEMSESS_DOWN;
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

        if (memsess_is_placed(store, &before->placement, at)
            && !memsess_is_placed(store, &now->placement, at)) {
            memsess_server_delete(store->servers[at], memsess_key_text(store, claim->key, at, p));
        }
    }
}

/* memcached removes the item that it has when it refuses what was to replace it. */
static void put_back(memsess_store_t *store, const memsess_key_t *key,
                     const memsess_session_t *session, apr_pool_t *p)
{
    memsess_session_t *again = apr_pmemdup(p, session, sizeof(*session));

    memsess_write_before(store, key, again, 0, p);
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
    rv = memsess_write_before(claim->store, claim->key, next, claim->begun + CLAIM_SAFE, p);
    if (rv == APR_SUCCESS) {
        drop_strays(claim, newest, next, p);
    }
    else if (rv == MEMSESS_REFUSED) {
        put_back(claim->store, claim->key, newest, p);
    }
    return rv;
}

/* The newest revision, if there is a newer one than the one at hand. */
static apr_status_t look_again(memsess_store_t *store, const memsess_key_t *key,
                               const memsess_session_t **newest, apr_time_t *read_at,
                               apr_pool_t *p)
{
    memsess_session_t *session;
    apr_time_t now = apr_time_now();
    unsigned lacking;

    switch (memsess_find(store, key, &session, &lacking, p)) {
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

/* Whoever has to wait is counted once, and once more when it was in vain. */
static void count_wait(unsigned tries)
{
    if (!tries) {
        memsess_count(MEMSESS_N_LOCK_WAITS);
    }
}

static apr_status_t count_timeout(apr_status_t rv, apr_interval_time_t wait)
{
    if (rv == MEMSESS_BUSY && wait) {
        memsess_count(MEMSESS_N_LOCK_TIMEOUTS);
    }
    return rv;
}

apr_status_t memsess_store_commit(memsess_store_t *store, const memsess_key_t *key,
                                  const memsess_session_t *newest, apr_time_t read_at,
                                  apr_interval_time_t wait, memsess_next_t *make, void *baton,
                                  apr_pool_t *p)
{
    apr_time_t give_up = apr_time_now() + wait;
    claim_t claim = {store, key, NULL, CLAIM_TTL, 0, "", {0}, 0};
    unsigned n, tries;
    memsess_copy_t *copies;
    apr_status_t rv;

    memsess_order(store, key, &copies, &n, p);
    for (tries = 0;; tries++) {
        const memsess_session_t *seen = newest;

        claim.what = apr_psprintf(p, "%" APR_UINT64_T_FMT, newest->revision + 1);
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
            return count_timeout(rv, wait);
        }
        count_wait(tries);
        if (newest == seen) {
            pause_before_try(&claim, tries);
            rv = look_again(store, key, &newest, &read_at, p);
            if (rv != APR_SUCCESS) {
                return rv;
            }
        }
    }
}

/* -- Locking ---------------------------------------------------------------------------------- */

struct memsess_lock_t {
    claim_t claim;
    memsess_key_t key;
    apr_pool_t *p;
};

apr_status_t memsess_lock_take(memsess_lock_t **result, memsess_store_t *store,
                               const memsess_key_t *key, const memsess_session_t *session,
                               apr_interval_time_t wait, apr_pool_t *p)
{
    memsess_lock_t *lock = apr_pcalloc(p, sizeof(*lock));
    apr_time_t give_up = apr_time_now() + wait;
    memsess_copy_t *copies;
    unsigned n, tries;
    apr_status_t rv;

    lock->p = p;
    lock->key = *key;
    lock->claim.store = store;
    lock->claim.key = &lock->key;
    lock->claim.what = "lock";
    lock->claim.ttl = MEMSESS_LOCK_TTL;
    memsess_order(store, key, &copies, &n, p);
    for (tries = 0;; tries++) {
        rv = claim_take(&lock->claim, session, copies, n, p);
        if (rv != MEMSESS_BUSY || apr_time_now() >= give_up) {
            break;
        }
        count_wait(tries);
        pause_before_try(&lock->claim, tries);
    }
    *result = lock;
    return count_timeout(rv, wait);
}

void memsess_lock_free(memsess_lock_t *lock)
{
    claim_drop(&lock->claim, lock->p);
}
