/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/private.h"

#include <string.h>

#include "apr_encode.h"
#include "apr_strings.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "session/seal.h"

/*
 * Exact commits without a compare-and-swap: docs/protocol.md has the protocol, and what it rests on.
 *
 * Of times: a claim lives as long as claim_ttl says. That, less the second that memcached's clock may be
 * short, is above 3 * CLAIM_SAFE and MemSessTimeout: a reading CLAIM_SAFE old, an add as late after it,
 * and the other's last send.
 */
#define CLAIM_SAFE apr_time_from_sec(2)

/* Whoever makes the first record of a key has no revision to follow: this is claimed instead. */
static const char FIRST[] = "first";

/* How often and how long who has the first claim waits for another who has some of the others. */
#define WAITS_FOR_OTHER 3
#define WAIT_MIN 500
#define WAIT_MAX apr_time_from_msec(10)
#define TOKEN_LEN (MEMSESS_NONCE_BYTES / 3 * 4)

/* A claim is over for good so many seconds after its time. Members may differ in what they take for
 * a server's clock. */
#define OVER_FOR_GOOD 10

/* See above; in seconds, one of which memcached's clock may be short. */
static apr_uint32_t claim_ttl(const memsess_store_t *store)
{
    return (apr_uint32_t)apr_time_sec(3 * CLAIM_SAFE + store->timeout) + 2;
}

/* A claim of up to three things: a revision, or the lock; the revision before; and the first record. */
typedef struct claim_t {
    memsess_copies_t of;
    const char *what;
    const memsess_session_t *before; /* is claimed too, where it is not on all of its servers */
    int is_bare;                     /* FIRST is claimed too: others may see no record at all */
    int is_sent;                     /* its own writer must have sent all of that one by now */
    apr_uint32_t ttl;                /* in seconds */
    apr_time_t begun;                /* by the monotonic clock */
    char token[TOKEN_LEN + 1];
    apr_uint16_t mark;               /* of this token, in the record */
    struct {
        memsess_copy_t *copy;
        const char *what;
    } held[3 * MEMSESS_REACH_MAX];
    unsigned n;
} claim_t;

/* Revisions and times are put into text by apr_off_t_toa, so it has to take all of them. */
typedef char memsess_off_t_is_large[sizeof(apr_off_t) >= sizeof(apr_time_t) ? 1 : -1];

static const char *revision_text(apr_uint64_t revision, apr_pool_t *p)
{
    return apr_off_t_toa(p, (apr_off_t)revision);
}

static const char *claim_text(const claim_t *claim, unsigned at, const char *what, apr_pool_t *p)
{
    return apr_pstrcat(p, memsess_key_text(&claim->of, at, p), ".", what, NULL);
}

static apr_uint16_t mark_of(const char *token)
{
    unsigned char bytes[3] = {0, 0, 0};

    apr_decode_base64_binary(bytes, token, 4, APR_ENCODE_BASE64URL, NULL);
    return (apr_uint16_t)(bytes[0] << 8 | bytes[1] | 1); /* 0 is none */
}

/* Whether a claim that is there already is that of the revision's own writer, who is done. */
static int is_settled(const claim_t *claim, const char *what, const char *holder)
{
    return what != claim->what && what != FIRST && claim->is_sent
           && mark_of(holder) == claim->before->mark;
}

static const char *claim_kind(const char *what, apr_pool_t *p)
{
    return apr_pstrcat(p, "claim ", what, NULL);
}

/* What lies in memcached: the token; when it was put there, so that one that is kept up differs each
 * time; and how long it lasts, by the server's own clock, 0 where nobody knows that. Sealed where
 * records are. */
static apr_status_t claim_value(const claim_t *claim, unsigned at, const char *what, char **value,
                                apr_size_t *len, apr_pool_t *p)
{
    apr_int64_t clock = memsess_server_clock(claim->of.store->servers[at]);
    char *plain = apr_pstrcat(p, claim->token, apr_off_t_toa(p, claim->begun), " ",
                              apr_off_t_toa(p, clock ? clock + claim->ttl : 0), NULL);

    return memsess_seal(claim->of.store->conf.secrets, claim->of.key, claim_kind(what, p), plain,
                        strlen(plain), value, len, p);
}

/* Whether what was opened is a claim whose time is over. */
static int is_over(const memsess_server_t *server, const char *value)
{
    const char *until = strchr(value + TOKEN_LEN, ' ');
    apr_int64_t last = until ? apr_atoi64(until + 1) : 0;

    return last > 0 && memsess_server_clock(server) - last > OVER_FOR_GOOD;
}

/*
 * The token of whoever holds the claim, or NULL where there is no telling. Nobody takes a claim away
 * that belongs to another and may be living.
 * @param is_void receives whether it is none that anybody can hold: not made by one of us, or over
 */
static const char *claim_holder(const claim_t *claim, memsess_server_t *server, const char *text,
                                const char *what, int *is_void, apr_pool_t *p)
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
    if (len < TOKEN_LEN) {
        return NULL;
    }
    *is_void = is_over(server, value);
    return apr_pstrmemdup(p, value, len);
}

static apr_status_t claim_prepare(memsess_put_t *put, const claim_t *claim,
                                  const memsess_copy_t *copy, const char *what, apr_pool_t *p)
{
    memset(put, 0, sizeof(*put));
    put->server = claim->of.store->servers[copy->at];
    put->key = claim_text(claim, copy->at, what, p);
    put->ttl = claim->ttl;
    put->how = MEMSESS_PUT_ADD;
    return claim_value(claim, copy->at, what, &put->data, &put->len, p);
}

/* In the place of what is no claim. */
static apr_status_t claim_instead(const claim_t *claim, const memsess_put_t *put, const char *what,
                                  apr_pool_t *p)
{
    memsess_put_t again = *put;

    memsess_complain(&claim->of, put->server, claim_kind(what, p),
                     "not one of ours, or over: taken away", p);
    memsess_server_delete(put->server, put->key);
    memsess_pool_mput(&again, 1);
    return again.rv;
}

/* Whether a claim is there, or will be: a server that hangs carries out what it was sent once it goes on,
 * and counts its life from then. */
static int may_be_done(apr_status_t rv)
{
    return rv != MEMSESS_EXISTS && rv != MEMSESS_DOWN && rv != MEMSESS_UNSENT
           && !memsess_is_refused(rv);
}

/* What the answer to a claim says. Where a connection breaks, an add may have been done before it
 * was repeated: then the claim that is there already is our own. */
static apr_status_t claim_answer(claim_t *claim, memsess_copy_t *copy, const char *what,
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
        if (holder && !memcmp(holder, claim->token, TOKEN_LEN)) {
            rv = APR_SUCCESS;
        }
    }
    if (may_be_done(rv)) {
        claim->held[claim->n].copy = copy;
        claim->held[claim->n++].what = what;
    }
    return rv;
}

static apr_status_t claim_on(claim_t *claim, memsess_copy_t *copy, const char *what, apr_pool_t *p)
{
    memsess_put_t put;
    apr_status_t rv = claim_prepare(&put, claim, copy, what, p);

    if (rv == APR_SUCCESS) {
        memsess_pool_mput(&put, 1);
        rv = claim_answer(claim, copy, what, &put, p);
    }
    return rv;
}

/* On several servers at once. Of two who meet, each may have some: who has the first in order waits
 * a moment for the other, which gives its own back. */
static apr_status_t claim_on_all(claim_t *claim, memsess_copy_t *const *copies, unsigned n,
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
            answers[i] = claim_on(claim, copies[i], what, p);
        }
    }
    return APR_SUCCESS;
}

/* Once more, where servers were away: they may have been restarted meanwhile, and have another's. */
static void claim_drop_rest(claim_t *claim, apr_pool_t *p)
{
    unsigned i;
    int is_void;

    for (i = claim->n; i-- > 0;) {
        unsigned at = claim->held[i].copy->at;
        memsess_server_t *server = claim->of.store->servers[at];
        const char *text = claim_text(claim, at, claim->held[i].what, p);
        const char *holder = claim_holder(claim, server, text, claim->held[i].what,
                                          &is_void, p);

        if (holder && !memcmp(holder, claim->token, TOKEN_LEN)) {
            memsess_server_delete(server, text);
        }
        else if (!memsess_server_is_down(server)) {
            claim->held[i] = claim->held[--claim->n];
        }
    }
}

/* A claim that is to be dropped where servers are away, in memory of its own. */
typedef struct dropping_t {
    claim_t claim;
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

static void claim_drop_later(const claim_t *claim)
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
    for (i = 0; i < claim->n; i++) {
        dropping->claim.held[i].copy = apr_pmemdup(p, claim->held[i].copy, sizeof(memsess_copy_t));
        dropping->claim.held[i].what = apr_pstrdup(p, claim->held[i].what);
    }
    if (!memsess_later_begin(claim->of.store, &dropping->lease, dropping_look, dropping_end,
                             dropping)) {
        apr_pool_destroy(p);
    }
}

/* What is about to go by itself is left to do so: it may be somebody else's by then. For who hangs, time
 * stands still. */
static int is_to_be_dropped(const claim_t *claim, unsigned i)
{
    return memsess_clock_steady() - claim->begun < apr_time_from_sec(claim->ttl - 2)
           || memsess_server_is_down(claim->of.store->servers[claim->held[i].copy->at]);
}

/* Those of one thing, or NULL: all. */
static void claim_drop_some(claim_t *claim, const char *what, apr_pool_t *p)
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

/* What could not be dropped, since a server is away, is dropped when that is back. */
static void claim_drop(claim_t *claim, apr_pool_t *p)
{
    claim_drop_some(claim, NULL, p);
    if (claim->n) {
        claim_drop_later(claim);
        claim->n = 0;
    }
}

static apr_status_t claim_begin(claim_t *claim)
{
    unsigned char random[MEMSESS_NONCE_BYTES];
    apr_status_t rv = memsess_nonce(random);

    apr_encode_base64_binary(claim->token, random, sizeof(random), APR_ENCODE_BASE64URL, NULL);
    claim->mark = mark_of(claim->token);
    claim->begun = memsess_clock_steady();
    claim->n = 0;
    return rv;
}

/* Those to claim next: wherever the session lies and wherever its next revision is to lie, as far
 * as they are up and were not tried yet. */
static unsigned claim_wanted(const claim_t *claim, const memsess_session_t *newest,
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

/* Claims on these what is to be claimed; MEMSESS_BUSY where somebody else has done so. What fails
 * is down now, or full: others stand in. */
static apr_status_t claim_these(claim_t *claim, memsess_copy_t **wanted, unsigned n,
                                apr_status_t *worst, apr_pool_t *p)
{
    const char *const whats[] = {
        claim->is_bare ? FIRST : NULL,
        claim->before ? revision_text(claim->before->revision, p) : NULL,
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
            else if (answers[i] == MEMSESS_EXISTS) {
                rv = MEMSESS_BUSY;
            }
            else {
                *worst = answers[i];
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

/* Claims something of a session. */
static apr_status_t claim_take(claim_t *claim, const memsess_session_t *newest, apr_pool_t *p)
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
    /* Others claim where the session lies: who sees none of these servers cannot meet them. */
    for (i = 0; i < n; i++) {
        shared |=
            (unsigned)(copies[i].claimed
                       && memsess_is_placed(claim->of.store, &newest->placement, copies[i].at));
    }
    if (rv != APR_SUCCESS || !shared) {
        claim_drop(claim, p);
        return rv != APR_SUCCESS ? rv : worst;
    }
    return APR_SUCCESS;
}

/* -- Committing -------------------------------------------------------------------------------- */

typedef struct commit_t {
    claim_t claim;
    memsess_reading_t newest;         /* what is built upon */
    apr_interval_time_t wait;         /* for others; 0 or MEMSESS_REPAIRING: they come first */
    const memsess_session_t *found;   /* as it was read at first */
    unsigned lacked;                  /* copies of that, of those that this commit writes */
    const memsess_session_t *ours;    /* written, but not to all of its servers; or NULL */
    const memsess_session_t *partial; /* newest as it was first seen on some of its servers only */
    apr_time_t partial_since;
    memsess_next_t *make;
    void *baton;
    apr_pool_t *p;
} commit_t;

/* Written to some of its servers: the same is to be written once more. */
#define AGAIN APR_CHILD_NOTDONE

/*
 * Copies that stood in for a server that is back would only grow old. To delete one while somebody
 * may be writing to its server takes a claim of what would be written, while whoever had that one
 * before cannot have lost it yet.
 */
static void drop_strays(const commit_t *c, const memsess_session_t *before,
                        const memsess_session_t *now)
{
    memsess_store_t *store = c->claim.of.store;
    claim_t claim = c->claim;
    unsigned i;

    claim.n = 0;
    claim.what = revision_text(now->revision + 1, c->p);
    for (i = 0; i < c->claim.of.n; i++) {
        memsess_copy_t *copy = &c->claim.of.copy[i];

        if (copy->claimed && memsess_clock_steady() - claim.begun < CLAIM_SAFE
            && memsess_is_placed(store, &before->placement, copy->at)
            && !memsess_is_placed(store, &now->placement, copy->at)
            && claim_on(&claim, copy, claim.what, c->p) == APR_SUCCESS) {
            memsess_server_delete(store->servers[copy->at],
                                  memsess_key_text(&claim.of, copy->at, c->p));
        }
    }
    claim_drop(&claim, c->p);
}

/* Reads again. What is older than what is at hand is not taken: that was on other servers. */
static apr_status_t look_again(commit_t *c)
{
    memsess_session_t *newest = c->newest.session;
    memsess_reading_t now = {.key = c->newest.key};

    memsess_store_read(c->claim.of.store, &now, c->p);
    switch (now.found) {
    case MEMSESS_ENDED:
        if (memsess_is_newer(now.session, newest)) {
            return MEMSESS_GONE;
        }
        break;
    case MEMSESS_FOUND:
        break;
    case MEMSESS_MISSING: /* ended, and its tombstones are gone; or lost: it is not brought back */
    case MEMSESS_UNSEEN:
        if (!memsess_is_blank(newest)) {
            return c->ours                        ? MEMSESS_UNSURE
                   : now.found == MEMSESS_MISSING ? MEMSESS_GONE
                                                  : MEMSESS_DOWN;
        }
        c->newest.read_at = now.read_at;
        return APR_SUCCESS;
    default:
        return MEMSESS_DOWN;
    }
    if (memsess_is_blank(newest) || !memsess_is_newer(newest, now.session)) {
        /* What is ours has been sent to all that were to have it. */
        now.facts.partial &= !c->ours;
        c->newest = now;
    }
    c->newest.read_at = now.read_at;
    /* Ours may have been built upon, or not: there is no telling. */
    return c->ours && !memsess_is_same(c->newest.session, c->ours) ? MEMSESS_UNSURE : APR_SUCCESS;
}

static int is_done(const memsess_session_t *next, const memsess_sent_t *sent)
{
    return sent->stored && sent->stored == next->placement.n;
}

/* What another has written meanwhile is on its way to where it is not yet. */
static void count_repaired(const commit_t *c)
{
    if (c->lacked) {
        memsess_count_add(MEMSESS_N_REPAIRED, c->lacked);
        memsess_log(MEMSESS_LOG_DEBUG, 0, "repaired %u of the copies of session %s", c->lacked,
                    memsess_key_log(c->claim.of.key, c->p));
    }
}

/* What became of the next revision, by what became of its copies. */
static apr_status_t outcome(commit_t *c, memsess_session_t *next, const memsess_sent_t *sent)
{
    if (is_done(next, sent)) {
        if (sent->stored < c->claim.of.store->conf.copies) {
            memsess_count(MEMSESS_N_UNDER_REPLICATED);
        }
        count_repaired(c);
        drop_strays(c, c->newest.session, next);
        return APR_SUCCESS;
    }
    if (sent->stored) {
        c->ours = c->newest.session = next;
        c->newest.facts = (memsess_facts_t){.answered = c->newest.facts.answered};
        c->newest.read_at = c->claim.begun;
        return AGAIN;
    }
    if (sent->failed) {
        return MEMSESS_UNSURE; /* the claims stay: a copy may still be on its way */
    }
    claim_drop(&c->claim, c->p);
    return sent->unsent ? MEMSESS_BUSY : sent->rv;
}

static apr_status_t write_claimed(commit_t *c)
{
    memsess_session_t *next;
    memsess_sent_t sent;
    apr_status_t rv = APR_SUCCESS;

    if (c->ours) {
        next = apr_pmemdup(c->p, c->newest.session, sizeof(*next));
    }
    else {
        c->lacked = memsess_is_same(c->newest.session, c->found) ? c->newest.facts.lacks : 0;
        rv = c->make(c->baton, c->newest.session, &next, c->p);
    }
    if (rv != APR_SUCCESS) {
        claim_drop(&c->claim, c->p);
        return rv;
    }
    next->revision = c->newest.session->revision + 1;
    next->mark = c->claim.mark;
    memsess_write_copies(&sent, &c->claim.of, next, &c->newest, c->claim.begun + CLAIM_SAFE, c->p);
    return outcome(c, next, &sent);
}

/* Whether a later version's record lies on a claimed server, unseen, since that did not answer when
 * the session was read. */
static int is_later_unseen(const commit_t *c)
{
    const memsess_reading_t *newest = &c->newest;
    unsigned i;

    for (i = 0; i < c->claim.of.n; i++) {
        const memsess_copy_t *copy = &c->claim.of.copy[i];
        int seen =
            newest->facts.answered
                ? memsess_has_bit(newest->facts.answered, i)
                : memsess_is_placed(c->claim.of.store, &newest->session->placement, copy->at);

        if (copy->claimed && !seen && memsess_is_later_at(&c->claim.of, copy, c->p)) {
            return 1;
        }
    }
    return 0;
}

/* Whether a server's own clock says that what was written to it is as old as that. */
static int is_as_old(const commit_t *c, const memsess_session_t *session, apr_interval_time_t age)
{
    const memsess_store_t *store = c->claim.of.store;
    unsigned i;

    for (i = 0; i < c->claim.of.n; i++) {
        unsigned at = c->claim.of.copy[i].at;
        apr_int64_t then = memsess_written_at(store, &session->placement, at);

        if (then && memsess_server_clock(store->servers[at]) - then
                        > MEMSESS_CLOCK_ERROR + apr_time_sec(age)) {
            return 1;
        }
    }
    return 0;
}

/* Whether a server's own clock says that the wall clock of who wrote it does not go like ours. */
static int is_apart(const commit_t *c, const memsess_session_t *session)
{
    const memsess_store_t *store = c->claim.of.store;
    unsigned i;

    for (i = 0; i < c->claim.of.n; i++) {
        unsigned at = c->claim.of.copy[i].at;
        apr_int64_t then = memsess_written_at(store, &session->placement, at);

        if (then && memsess_server_clock(store->servers[at])
            && !memsess_server_sees_alike(store->servers[at], then, session->written)) {
            return 1;
        }
    }
    return 0;
}

/*
 * What is on some of its servers only may have a writer that has yet to send the others: it is done
 * MEMSESS_ALL_SENT after it began to send, and with all answers a time-out after that. It began
 * before it was seen here, and when a server's own clock says: clocks of members may differ. To repair
 * at once, the writer's clock is good enough where it goes like ours: at worst, within the seconds that
 * servers' clocks count, it sends a copy over that of the repair, which is then missing until the
 * session is read.
 */
static void claim_partial(commit_t *c)
{
    const memsess_session_t *before = c->newest.session;
    apr_interval_time_t under_way = 2 * MEMSESS_ALL_SENT + c->claim.of.store->timeout;
    apr_time_t now = memsess_clock_steady();

    c->claim.before = c->newest.facts.partial ? before : NULL;
    if (!c->claim.before) {
        return;
    }
    if (!c->partial || !memsess_is_same(c->partial, before)) {
        c->partial = before;
        c->partial_since = now;
    }
    c->claim.is_sent = now - c->partial_since > under_way || is_as_old(c, before, under_way)
                       || (c->wait == MEMSESS_REPAIRING && !is_apart(c, before)
                           && memsess_clock_wall() - before->written > under_way);
}

/* Whether what was read under the claims is not what was claimed: more of it, or something else, is
 * to be claimed first. Nobody builds under FIRST upon what is found there by then. */
static int is_unclaimed(const commit_t *c, const memsess_session_t *before)
{
    const memsess_session_t *now = c->newest.session;

    return memsess_is_newer(now, before) || (c->newest.facts.partial && !c->claim.before)
           || (c->newest.facts.bare && !c->claim.is_bare)
           || (memsess_is_blank(before) && !memsess_is_blank(now));
}

/* Whether FIRST was claimed. It is given back at once by who has it, who may have written what was not
 * seen here: so it is read again under it. */
static int is_first(const commit_t *c, const memsess_session_t *before)
{
    return c->claim.is_bare || memsess_is_blank(before);
}

/* Claims the next revision and writes it; MEMSESS_BUSY, and newest, are where to go on from. */
static apr_status_t try_commit(commit_t *c)
{
    const memsess_session_t *before = c->newest.session;
    apr_status_t rv;

    c->claim.what = memsess_is_blank(before) ? FIRST : revision_text(before->revision + 1, c->p);
    c->claim.is_bare = c->newest.facts.bare;
    claim_partial(c);
    rv = claim_take(&c->claim, before, c->p);
    memsess_trace("record %s: the claim of revision %s is %s",
                  memsess_key_log(c->claim.of.key, c->p), c->claim.what,
                  rv == APR_SUCCESS    ? "ours"
                  : rv == MEMSESS_BUSY ? "another's"
                                       : "not to be had");
    if (rv == APR_SUCCESS
        && (is_first(c, before) || c->claim.begun - c->newest.read_at > CLAIM_SAFE)) {
        rv = look_again(c);
        if (rv == APR_SUCCESS && is_unclaimed(c, before)) {
            rv = MEMSESS_BUSY;
        }
    }
    if (rv == APR_SUCCESS && is_later_unseen(c)) {
        rv = MEMSESS_DOWN;
    }
    if (rv != APR_SUCCESS) {
        claim_drop(&c->claim, c->p);
        return rv;
    }
    rv = write_claimed(c);
    if (is_first(c, before) && (rv == APR_SUCCESS || rv == AGAIN)) {
        claim_drop_some(&c->claim, FIRST, c->p);
    }
    return rv;
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
    if (rv == MEMSESS_BUSY && wait > 0) {
        memsess_count(MEMSESS_N_LOCK_TIMEOUTS);
    }
    return rv;
}

static apr_status_t commit(commit_t *c)
{
    apr_time_t give_up = memsess_clock_steady() + c->wait;
    unsigned tries, again = 0;
    apr_status_t rv;

    for (tries = 0;; tries++) {
        rv = try_commit(c);
        if (rv == AGAIN && ++again <= c->claim.of.n) {
            continue;
        }
        if (rv != MEMSESS_BUSY || memsess_clock_steady() >= give_up) {
            break;
        }
        count_wait(tries);
        pause_before_try(&c->claim, tries);
        rv = look_again(c);
        if (rv != APR_SUCCESS) {
            break;
        }
    }
    return count_timeout(c->ours && rv != APR_SUCCESS && rv != MEMSESS_GONE ? MEMSESS_UNSURE : rv,
                         c->wait);
}

apr_status_t memsess_store_commit(memsess_store_t *store, const memsess_reading_t *upon,
                                  apr_interval_time_t wait, memsess_next_t *make, void *baton,
                                  apr_pool_t *p)
{
    commit_t c;

    memset(&c, 0, sizeof(c));
    c.claim.ttl = claim_ttl(store);
    c.newest = *upon;
    c.found = upon->session;
    c.wait = wait;
    c.make = make;
    c.baton = baton;
    c.p = p;
    memsess_order(&c.claim.of, store, &upon->key, p);
    return commit(&c);
}

/* -- Claims that are kept up ------------------------------------------------------------------- */

struct memsess_claim_t {
    claim_t claim;
    memsess_key_t key;
};

memsess_claim_t *memsess_claim_make(memsess_store_t *store, const memsess_key_t *key,
                                    const char *what, apr_uint32_t ttl, apr_pool_t *p)
{
    memsess_claim_t *kept = apr_pcalloc(p, sizeof(*kept));

    kept->key = *key;
    kept->claim.what = what;
    kept->claim.ttl = ttl;
    memsess_order(&kept->claim.of, store, &kept->key, p);
    return kept;
}

apr_status_t memsess_claim_take(memsess_claim_t *kept, const memsess_session_t *session,
                                apr_pool_t *p)
{
    return claim_take(&kept->claim, session, p);
}

/* Ours is put there again; where there is none, the server was restarted, or we were stopped. */
static apr_status_t renew_on(const claim_t *claim, unsigned at, apr_pool_t *p)
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
    return memcmp(holder, claim->token, TOKEN_LEN)
               ? MEMSESS_BUSY : memsess_server_set(server, text, value, len, claim->ttl);
}

void memsess_claim_renew(memsess_claim_t *kept, apr_pool_t *p)
{
    claim_t *claim = &kept->claim;
    apr_time_t before = claim->begun;
    int renewed = 0;
    unsigned i;

    claim->begun = memsess_clock_steady();
    for (i = 0; i < claim->n; i++) {
        renewed |= renew_on(claim, claim->held[i].copy->at, p) == APR_SUCCESS;
    }
    claim->begun = renewed ? claim->begun : before;
}

void memsess_claim_drop(memsess_claim_t *kept, apr_pool_t *p)
{
    claim_drop(&kept->claim, p);
}
