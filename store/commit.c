/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/commit.h"

#include <string.h>

#include "apr_strings.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/claim.h"
#include "store/read.h"
#include "store/write.h"

/* Exact commits without a compare-and-swap: docs/protocol.md has the protocol, and what it rests on. */

/* The wait of a commit that repairs: it gives way to any other writer. */
#define REPAIRING (-1)

typedef struct commit_t {
    memsess_claim_t claim;
    memsess_reading_t newest;         /* the reading that is built upon */
    apr_interval_time_t wait;         /* for other writers; 0 or REPAIRING: not at all */
    const memsess_session_t *found;   /* the session as it was read at first */
    unsigned lacked;                  /* missing copies of found that this commit writes */
    const memsess_session_t *ours;    /* our revision that not all of its servers have; or NULL */
    apr_time_t begun;                 /* when the first revision that was sent was claimed */
    const memsess_session_t *partial; /* newest, as first seen on only some of its servers */
    apr_time_t partial_since;
    memsess_next_t *make;
    void *baton;
    memsess_placement_t *where; /* where the last revision was written to */
    apr_pool_t *p;
} commit_t;

/* Only some servers have the revision: the same content is to be written once more. */
#define AGAIN APR_CHILD_NOTDONE

/* Claims what would be written next on a server, so that its copy can be deleted. A server that takes
 * no claim may have no copy (MEMSESS_ABSENT); else this is claimed where the record lies now, as any
 * other writer has to. */
static apr_status_t claim_stray(const commit_t *c, memsess_claim_t *claim, memsess_copy_t *copy,
                                const memsess_session_t *now)
{
    apr_status_t rv = copy->claimed ? memsess_claim_on(claim, copy, claim->what, c->p)
                                    : MEMSESS_REFUSED;
    unsigned i = 0;
    int state;

    if (!memsess_is_refused(rv)) {
        return rv;
    }
    state = memsess_state_at(&claim->of, copy, c->p);
    if (state != COPY_HELD && state != COPY_DAMAGED) {
        return state == COPY_NONE ? MEMSESS_ABSENT : MEMSESS_DOWN;
    }
    while (!memsess_is_placed(claim->of.store, &now->placement, claim->of.copy[i].at)) {
        i++;
    }
    return memsess_claim_on(claim, &claim->of.copy[i], claim->what, c->p);
}

static int is_left_out(const memsess_copy_t *copy)
{
    return copy->state == COPY_REFUSED;
}

/* Returns whether the copy is gone. */
static int drop_stray(const commit_t *c, memsess_claim_t *claim, memsess_copy_t *copy,
                      const memsess_session_t *now)
{
    apr_status_t rv = MEMSESS_UNSENT;

    if ((copy->claimed || is_left_out(copy))
        && memsess_clock_steady() - claim->begun < MEMSESS_CLAIM_SAFE) {
        rv = claim_stray(c, claim, copy, now);
    }
    if (rv == APR_SUCCESS) {
        rv = memsess_server_delete(claim->of.store->servers[copy->at],
                                   memsess_key_text(&claim->of, copy->at, "", "", c->p));
    }
    return rv == APR_SUCCESS || rv == MEMSESS_ABSENT;
}

/* How soon after the first claim of a commit the old copy of a server that is left out has to be gone.
 * A writer that read that copy before may begin to claim MEMSESS_CLAIM_SAFE later, and still finds
 * that claim. */
#define IN_TIME (2 * MEMSESS_CLAIM_SAFE)

/*
 * Deletes strays: once a home is back, the copy of its stand-in would only grow old. Another member
 * may be writing to the stand-in, so deleting there takes a claim of the revision that would be
 * written. This happens within MEMSESS_CLAIM_SAFE, so no other claim of it can have expired yet.
 * Returns 0 if a server that was left out, since it refuses or is late, may have kept its old copy: it
 * was not away, so that copy would be believed if the others went.
 */
static int drop_strays(const commit_t *c, const memsess_session_t *before,
                       const memsess_session_t *now)
{
    memsess_store_t *store = c->claim.of.store;
    memsess_claim_t claim = c->claim;
    unsigned i;
    int are_gone = 1;

    claim.what = NULL;
    claim.n = 0;
    for (i = 0; i < c->claim.of.n; i++) {
        memsess_copy_t *copy = &c->claim.of.copy[i];
        int may_have_one = is_left_out(copy) || memsess_is_placed(store, &before->placement, copy->at);

        if (!may_have_one || memsess_is_placed(store, &now->placement, copy->at)) {
            continue;
        }
        if (!claim.what) {
            memsess_claim_hold(&claim, c->p);
            claim.what = memsess_revision_text(now->revision + 1, c->p);
        }
        if ((!drop_stray(c, &claim, copy, now) || memsess_clock_steady() - c->begun > IN_TIME)
            && is_left_out(copy) && memsess_is_up(store, copy)) {
            are_gone = 0;
        }
    }
    memsess_claim_drop(&claim, c->p);
    return are_gone;
}

/* Reads again. A record that is older than the one at hand is not taken: the one at hand was on other
 * servers. */
static apr_status_t look_again(commit_t *c)
{
    memsess_session_t *newest = c->newest.session;
    memsess_reading_t now = {.key = c->newest.key};

    memsess_read(c->claim.of.store, &now, c->p);
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
        /* Our own revision has been sent to all servers that were to have it. */
        now.facts.partial &= !c->ours;
        c->newest = now;
    }
    c->newest.read_at = now.read_at;
    /* Another writer may have built upon our revision, or not: nobody can tell. */
    return c->ours && !memsess_is_same(c->newest.session, c->ours) ? MEMSESS_UNSURE : APR_SUCCESS;
}

static int is_done(const memsess_session_t *next, const memsess_sent_t *sent)
{
    return sent->stored && sent->stored == next->placement.n;
}

/* Copies that another member has written meanwhile do not count: they are just on their way. */
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
        int are_gone = drop_strays(c, c->newest.session, next);

        if (sent->stored == c->claim.of.store->conf.copies) {
            count_repaired(c);
            return APR_SUCCESS;
        }
        memsess_count(MEMSESS_N_UNDER_REPLICATED);
        return are_gone ? APR_SUCCESS : MEMSESS_UNSURE;
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
    memsess_claim_drop(&c->claim, c->p);
    return sent->unsent ? MEMSESS_UNSENT : sent->rv;
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
        c->begun = c->claim.begun;
        c->lacked = memsess_is_same(c->newest.session, c->found) ? c->newest.facts.lacks : 0;
        rv = c->make(c->baton, c->newest.session, &next, c->p);
    }
    if (rv != APR_SUCCESS) {
        memsess_claim_drop(&c->claim, c->p);
        return rv;
    }
    next->revision = c->newest.session->revision + 1;
    next->writer = c->claim.writer;
    memsess_write_copies(&sent, &c->claim.of, next, &c->newest,
                         c->claim.begun + MEMSESS_CLAIM_SAFE, c->p);
    if (sent.stored) {
        *c->where = next->placement;
    }
    return outcome(c, next, &sent);
}

/* Whether a claimed server has a record of a later version that was not seen, since the server did
 * not answer when the session was read. */
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

        if (copy->claimed && !seen && memsess_state_at(&c->claim.of, copy, c->p) == COPY_LATER) {
            return 1;
        }
    }
    return 0;
}

/* Whether a server's own clock says that the session was written to it longer than @a age ago. */
static int is_as_old(const commit_t *c, const memsess_session_t *session, apr_interval_time_t age)
{
    const memsess_store_t *store = c->claim.of.store;
    unsigned i;

    for (i = 0; i < c->claim.of.n; i++) {
        unsigned at = c->claim.of.copy[i].at;
        apr_int64_t then = memsess_written_at(store, &session->placement, at);

        if (then && memsess_server_clock(store->servers[at]) - then
                        > MEMSESS_AGE_ERROR + apr_time_sec(age)) {
            return 1;
        }
    }
    return 0;
}

/* Whether a server's own clock says that the writer's wall clock does not agree with ours. */
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
 * Has a record that is on only some of its servers claimed, too: its writer may still have to send
 * copies. It has sent all of them MEMSESS_ALL_SENT after it began to send, and has all answers a
 * time-out later. It began before the record was seen here, and a server's own clock says when; the
 * writer's clock may be wrong. To repair at once, the writer's clock is good enough if it agrees
 * with ours. At worst, since servers' clocks count whole seconds, the writer then sends a copy over the
 * repair's, and the repair's copy is missing there until the session is read.
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
                       || (c->wait == REPAIRING && !is_apart(c, before)
                           && memsess_clock_wall() - before->written > under_way);
}

/* Whether what was read under the claims needs more claims, or others, before it can be built upon.
 * A writer that claimed the first record does not build upon a record that it finds under that
 * claim. */
static int is_unclaimed(const commit_t *c, const memsess_session_t *before)
{
    const memsess_session_t *now = c->newest.session;

    return memsess_is_newer(now, before) || (c->newest.facts.partial && !c->claim.before)
           || (c->newest.facts.bare && !c->claim.is_bare)
           || (memsess_is_blank(before) && !memsess_is_blank(now));
}

/* Whether the first record is claimed. A writer gives this claim back as soon as it has written,
 * and we may have read before that: so the session is read again under the claim. */
static int is_first(const commit_t *c, const memsess_session_t *before)
{
    return c->claim.is_bare || memsess_is_blank(before);
}

/* Claims the next revision and writes it. If memsess_claim_may_come, the next try builds upon
 * c->newest. */
static apr_status_t try_commit(commit_t *c)
{
    const memsess_session_t *before = c->newest.session;
    apr_status_t rv;

    c->claim.what = memsess_is_blank(before) ? memsess_claim_first
                                             : memsess_revision_text(before->revision + 1, c->p);
    c->claim.is_bare = c->newest.facts.bare;
    claim_partial(c);
    rv = memsess_claim_take(&c->claim, before, c->p);
    memsess_trace("record %s: the claim of revision %s is %s",
                  memsess_key_log(c->claim.of.key, c->p), c->claim.what,
                  rv == APR_SUCCESS    ? "ours"
                  : rv == MEMSESS_BUSY ? "another's"
                                       : "not available");
    if (rv == APR_SUCCESS
        && (is_first(c, before) || c->claim.begun - c->newest.read_at > MEMSESS_CLAIM_SAFE)) {
        rv = look_again(c);
        if (rv == APR_SUCCESS && is_unclaimed(c, before)) {
            rv = MEMSESS_BUSY;
        }
    }
    if (rv == APR_SUCCESS && is_later_unseen(c)) {
        rv = MEMSESS_DOWN;
    }
    if (rv != APR_SUCCESS) {
        memsess_claim_drop(&c->claim, c->p);
        return rv;
    }
    rv = write_claimed(c);
    if (is_first(c, before) && (rv == APR_SUCCESS || rv == AGAIN)) {
        memsess_claim_drop_some(&c->claim, memsess_claim_first, c->p);
    }
    return rv;
}

/* Each pause is longer than the last, up to 32 ms, and never quite as long as another writer's. */
static void pause_before_try(const memsess_claim_t *claim, unsigned tries)
{
    unsigned most = 1000U << (tries < 5 ? tries : 5);

    apr_sleep(most / 2 + (unsigned char)claim->token[0] * most / 512);
}

/* A commit that has to wait is counted once, and once more if it waited in vain. */
static void count_wait(unsigned waits)
{
    if (!waits) {
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

/* Each server may fail once, and on a slow machine each may be late once before one is late twice,
 * and left out. */
static apr_status_t commit(commit_t *c)
{
    apr_time_t give_up = memsess_clock_steady() + c->wait;
    unsigned tries, again = 0, waits = 0;
    apr_status_t rv;

    for (tries = 0;; tries++) {
        rv = try_commit(c);
        if (rv == AGAIN && ++again <= 2 * c->claim.of.n) {
            continue;
        }
        if (!memsess_claim_may_come(rv) || memsess_clock_steady() >= give_up) {
            break;
        }
        if (rv == MEMSESS_BUSY) {
            count_wait(waits++);
        }
        pause_before_try(&c->claim, tries);
        rv = look_again(c);
        if (rv != APR_SUCCESS) {
            break;
        }
    }
    return count_timeout(c->ours && rv != APR_SUCCESS && rv != MEMSESS_GONE ? MEMSESS_UNSURE : rv,
                         c->wait);
}

apr_status_t memsess_commit(memsess_store_t *store, const memsess_reading_t *upon,
                            apr_interval_time_t wait, memsess_next_t *make, void *baton,
                            memsess_placement_t *where, apr_pool_t *p)
{
    apr_status_t rv = APR_SUCCESS;
    commit_t c;

    memset(&c, 0, sizeof(c));
    c.claim.ttl = memsess_claim_ttl(store);
    c.newest = *upon;
    c.found = upon->session;
    c.wait = wait;
    c.make = make;
    c.baton = baton;
    c.where = where;
    c.p = p;
    memsess_order(&c.claim.of, store, &upon->key, p);
    memsess_claim_hold(&c.claim, p);
    if (upon->facts.passed_over) {
        rv = look_again(&c);
    }
    return rv == APR_SUCCESS ? commit(&c) : rv;
}

static apr_status_t same_again(void *baton, const memsess_session_t *newest,
                               memsess_session_t **next, apr_pool_t *p)
{
    *next = *(memsess_session_t **)baton = apr_pmemdup(p, newest, sizeof(*newest));
    return APR_SUCCESS;
}

/* The repair is a revision of its own, with the same content, so it can undo no commit. */
void memsess_commit_again(memsess_store_t *store, memsess_reading_t *reading,
                          memsess_placement_t *where, apr_pool_t *p)
{
    memsess_session_t *again;

    if (reading->facts.lacks
        && memsess_commit(store, reading, REPAIRING, same_again, &again, where, p) == APR_SUCCESS) {
        reading->session = again;
        reading->facts = (memsess_facts_t){.answered = reading->facts.answered};
    }
}
