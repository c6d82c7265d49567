/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/write.h"

#include <string.h>

#include "apr_strings.h"
#include "base/clock.h"
#include "base/log.h"
#include "session/record.h"
#include "session/seal.h"

/* memcached takes an expiry above this many seconds for a date. */
#define RELATIVE_MAX (60 * 60 * 24 * 30)

#if MEMSESS_COPIES_MAX > MEMSESS_PUTS_MAX
#error "all copies of a record are written at once"
#endif

static apr_uint32_t ttl_of(const memsess_session_t *session)
{
    apr_interval_time_t ttl = session->idle + MEMSESS_GRACE;
    apr_time_t end;

    if (apr_time_sec(ttl) < RELATIVE_MAX) {
        return (apr_uint32_t)apr_time_sec(ttl);
    }
    /* Beyond the dates that memcached can count, it keeps the record for ever; the record holds its
     * own end. */
    end = apr_time_sec(memsess_clock_wall()) + apr_time_sec(ttl);
    return end < APR_INT32_MAX ? (apr_uint32_t)end : 0;
}

static void place(const memsess_store_t *store, const memsess_copy_t *copy,
                  memsess_placement_t *placement)
{
    memcpy(placement->tag[placement->n], store->nodes[copy->at].tag, MEMSESS_TAG_LEN);
    placement->clock[placement->n++] =
        (apr_uint32_t)memsess_server_clock(store->servers[copy->at]);
}

/* Chooses the servers that are to get a copy now: the first in order that are not known to be down.
 * If there was a revision before, only claimed servers are chosen. */
static unsigned choose(const memsess_copies_t *of, const memsess_reading_t *before,
                       memsess_copy_t **chosen, memsess_placement_t *placement)
{
    const memsess_store_t *store = of->store;
    int staying, outdated = before && before->facts.outdated;
    unsigned i;

    placement->n = 0;
    for (staying = 1; staying >= 0; staying--) {
        for (i = 0; i < of->n && placement->n < store->conf.copies; i++) {
            memsess_copy_t *copy = &of->copy[i];

            if (memsess_is_up(store, copy) && copy->state != COPY_REFUSED
                && (!before || copy->claimed)
                && memsess_stays(store, before ? before->session : NULL, outdated, copy)
                       == staying) {
                chosen[placement->n] = copy;
                place(store, copy, placement);
            }
        }
    }
    return placement->n;
}

static apr_status_t encode(const memsess_copies_t *of, memsess_session_t *session, char **data,
                           apr_size_t *len, apr_pool_t *p)
{
    apr_status_t rv;

    session->written = memsess_clock_wall();
    rv = memsess_record_encode(session, of->key, of->store->conf.compress, data, len, p);
    return rv == APR_SUCCESS
               ? memsess_seal(of->store->conf.secrets, of->key, MEMSESS_RECORD, *data, *len, data,
                              len, p)
               : rv;
}

static void count_put(memsess_sent_t *sent, const memsess_put_t *put, memsess_copy_t *copy)
{
    if (put->rv == APR_SUCCESS) {
        sent->stored++;
        return;
    }
    sent->rv = put->rv;
    if (put->rv == MEMSESS_UNSENT) {
        sent->unsent++;
    }
    else if (memsess_is_refused(put->rv)) {
        sent->refused++;
        copy->state = COPY_REFUSED;
    }
    else {
        sent->failed++;
        sent->down |= memsess_server_is_down(put->server);
    }
}

/* A server that is too slow to be sent a copy, while others take theirs, is tried once more. Then it
 * counts as one that refuses, so that the others make up for it. */
static void leave_out_late(const memsess_put_t *puts, memsess_copy_t *const *chosen, unsigned n)
{
    unsigned i;

    for (i = 0; i < n; i++) {
        if (puts[i].rv == MEMSESS_UNSENT && chosen[i]->was_late++) {
            chosen[i]->state = COPY_REFUSED;
        }
    }
}

static const char *put_words(apr_status_t rv)
{
    if (memsess_is_refused(rv)) {
        return "refused";
    }
    return rv == APR_SUCCESS ? "stored" : rv == MEMSESS_UNSENT ? "not sent in time" : "failed";
}

void memsess_write_copies(memsess_sent_t *sent, const memsess_copies_t *of,
                          memsess_session_t *session, const memsess_reading_t *before,
                          apr_time_t not_after, apr_pool_t *p)
{
    const memsess_store_t *store = of->store;
    memsess_copy_t *chosen[MEMSESS_COPIES_MAX];
    memsess_put_t puts[MEMSESS_COPIES_MAX];
    apr_time_t soon;
    apr_size_t len;
    unsigned i;
    char *data;

    memset(sent, 0, sizeof(*sent));
    if (!choose(of, before, chosen, &session->placement)) {
        sent->rv = MEMSESS_DOWN;
        return;
    }
    sent->rv = encode(of, session, &data, &len, p);
    if (sent->rv != APR_SUCCESS) {
        return;
    }
    soon = memsess_clock_steady() + MEMSESS_ALL_SENT;
    for (i = 0; i < session->placement.n; i++) {
        memsess_put_t *put = &puts[i];

        memset(put, 0, sizeof(*put));
        put->server = store->servers[chosen[i]->at];
        put->key = memsess_key_text(of, chosen[i]->at, "", "", p);
        put->ttl = ttl_of(session);
        put->once = before != NULL;
        put->how = before && memsess_is_placed(store, &before->session->placement, chosen[i]->at)
                       ? MEMSESS_PUT_REPLACE
                       : MEMSESS_PUT_SET;
        put->data = data;
        put->len = len;
        put->not_after = !before ? 0 : not_after < soon ? not_after : soon;
    }
    memsess_pool_mput(puts, session->placement.n);
    for (i = 0; i < session->placement.n; i++) {
        count_put(sent, &puts[i], chosen[i]);
        memsess_trace("record %s: server %s was sent revision %" APR_UINT64_T_FMT ": %s",
                      memsess_key_log(of->key, p), memsess_server_conf(puts[i].server)->name,
                      session->revision, put_words(puts[i].rv));
    }
    if (sent->stored) {
        leave_out_late(puts, chosen, session->placement.n);
    }
}

/* Nobody else knows of the session yet, so it can be sent again each time that a server fails. */
apr_status_t memsess_write(memsess_store_t *store, const memsess_key_t *key,
                           memsess_session_t *session, apr_pool_t *p)
{
    memsess_copies_t of;
    memsess_sent_t sent;
    unsigned tries = 0;

    session->revision++;
    session->writer = 0;
    memsess_order(&of, store, key, p);
    do {
        memsess_write_copies(&sent, &of, session, NULL, 0, p);
    } while (sent.down && ++tries < of.n);
    if (sent.stored && sent.stored < store->conf.copies) {
        memsess_count(MEMSESS_N_UNDER_REPLICATED);
    }
    return sent.stored ? APR_SUCCESS : sent.rv;
}

void memsess_unwrite(memsess_store_t *store, const memsess_key_t *key,
                     const memsess_session_t *session, apr_pool_t *p)
{
    memsess_copies_t of;
    unsigned i;

    memsess_order(&of, store, key, p);
    for (i = 0; i < of.n; i++) {
        unsigned at = of.copy[i].at;

        if (memsess_is_placed(store, &session->placement, at)) {
            memsess_server_delete(store->servers[at], memsess_key_text(&of, at, "", "", p));
        }
    }
}

/* The latest time that any server's own clock says, even if the server is away. */
static apr_int64_t latest_clock(const memsess_store_t *store)
{
    apr_int64_t latest = 0;
    unsigned i;

    for (i = 0; i < store->n; i++) {
        apr_int64_t now = memsess_server_clock(store->servers[i]);

        latest = now > latest ? now : latest;
    }
    return latest;
}

/* A revision above any that the key can have had. It goes by the servers' own clocks, since
 * members' clocks may differ. Right after a start no server has told its time yet, so they are
 * asked. Behind proxies that do not tell it, there is only our own clock. There is room for a
 * million commits a second. */
static apr_uint64_t winning_revision(const memsess_store_t *store)
{
    apr_int64_t latest = latest_clock(store);
    unsigned i;

    for (i = 0; i < store->n && !latest; i++) {
        memsess_server_tell(store->servers[i]);
        latest = latest_clock(store);
    }
    return (apr_uint64_t)(latest ? latest : apr_time_sec(memsess_clock_wall())) << 20;
}

apr_status_t memsess_blank(memsess_reading_t *reading, memsess_store_t *store, apr_pool_t *p)
{
    apr_status_t rv = memsess_session_make(&reading->session, memsess_clock_wall(), p);
    memsess_copy_t *chosen[MEMSESS_COPIES_MAX];
    memsess_copies_t of;

    reading->facts = (memsess_facts_t){0};
    if (rv == APR_SUCCESS) {
        memsess_order(&of, store, &reading->key, p);
        choose(&of, NULL, chosen, &reading->session->placement);
        reading->session->revision = winning_revision(store);
    }
    return rv;
}
