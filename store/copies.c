/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/private.h"

#include <string.h>

#include "apr_atomic.h"
#include "apr_encode.h"
#include "base/clock.h"
#include "base/log.h"

/* A key in memcached: the digest in base64url, and the tag of the server it is for. */
#define KEY_TEXT_LEN (MEMSESS_DIGEST_TEXT + MEMSESS_TAG_LEN)

const char *memsess_key_text(const memsess_copies_t *of, unsigned at, const char *kind,
                             const char *what, apr_pool_t *p)
{
    apr_size_t kind_len = strlen(kind), what_len = strlen(what);
    char *text = apr_palloc(p, KEY_TEXT_LEN + kind_len + what_len + 1), *end = text + KEY_TEXT_LEN;

    memcpy(text, of->text, MEMSESS_DIGEST_TEXT);
    memcpy(text + MEMSESS_DIGEST_TEXT, of->store->nodes[at].tag, MEMSESS_TAG_LEN);
    memcpy(end, kind, kind_len);
    memcpy(end + kind_len, what, what_len + 1);
    return text;
}

/* The place of a server in a placement; placement->n: it is not there. */
static unsigned place_in(const memsess_placement_t *placement, const memsess_store_t *store,
                         unsigned at)
{
    unsigned i = 0;

    while (i < placement->n && memcmp(placement->tag[i], store->nodes[at].tag, MEMSESS_TAG_LEN)) {
        i++;
    }
    return i;
}

int memsess_is_placed(const memsess_store_t *store, const memsess_placement_t *placement,
                     unsigned at)
{
    return place_in(placement, store, at) < placement->n;
}

apr_int64_t memsess_written_at(const memsess_store_t *store, const memsess_placement_t *placement,
                               unsigned at)
{
    unsigned i = place_in(placement, store, at);

    return i < placement->n ? placement->clock[i] : 0;
}

apr_interval_time_t memsess_written_ago(const memsess_store_t *store,
                                        const memsess_session_t *session)
{
    apr_int64_t longest = -1;
    unsigned i;

    for (i = 0; i < store->n; i++) {
        apr_int64_t then = memsess_written_at(store, &session->placement, i);
        apr_int64_t now = memsess_server_clock(store->servers[i]);

        if (then && now && now - then > longest) {
            longest = now - then;
        }
    }
    return longest < 0 ? -1 : apr_time_from_sec(longest);
}

/* A record that was written beside a tombstone must not undo the end of the session. */
int memsess_is_newer(const memsess_session_t *a, const memsess_session_t *b)
{
    return !a->ended != !b->ended ? a->ended : a->revision > b->revision;
}

int memsess_is_same(const memsess_session_t *a, const memsess_session_t *b)
{
    return a == b || (a->revision == b->revision && !a->ended == !b->ended && a->writer == b->writer
                      && a->written == b->written);
}

int memsess_is_blank(const memsess_session_t *session)
{
    return !session->written;
}

/* Limits the lines a second: an attacker who can write to a server could otherwise fill the disk. */
#define COMPLAINTS 20

void memsess_complain(const memsess_copies_t *of, const memsess_server_t *server, const char *item,
                      const char *trouble, apr_pool_t *p)
{
    memsess_store_t *store = of->store;

    if (memsess_due(&store->complained_at, memsess_clock_steady(), apr_time_from_sec(1))) {
        apr_atomic_set32(&store->complaints, 0);
    }
    if (apr_atomic_inc32(&store->complaints) < COMPLAINTS) {
        memsess_log(MEMSESS_LOG_ERR, 0, "server %s: the %s of session %s is %s",
                    memsess_server_conf(server)->name, item, memsess_key_log(of->key, p), trouble);
    }
}

/* How many servers of a key's order are ever looked at: its homes, as many stand-ins, and the
 * servers that stand in while all of these are down. */
static unsigned reach(const memsess_store_t *store)
{
    unsigned want = store->conf.failover ? 4 * store->conf.copies + 4 : store->conf.copies;

    want = want < MEMSESS_REACH_MAX ? want : MEMSESS_REACH_MAX;
    return want < store->n ? want : store->n;
}

void memsess_order(memsess_copies_t *of, memsess_store_t *store, const memsess_key_t *key,
                   apr_pool_t *p)
{
    unsigned want = reach(store), i;
    unsigned *at = apr_palloc(p, sizeof(*at) * want);

    of->store = store;
    of->key = key;
    apr_encode_base64_binary(of->text, key->digest, sizeof(key->digest), APR_ENCODE_BASE64URL, NULL);
    of->n = memsess_ring_order(store->nodes, store->n, key, at, want);
    of->copy = apr_pcalloc(p, sizeof(*of->copy) * of->n);
    for (i = 0; i < of->n; i++) {
        of->copy[i].at = at[i];
    }
}

int memsess_has_bit(apr_uint64_t those, unsigned i)
{
    return (int)(those >> i & 1);
}

int memsess_is_up(const memsess_store_t *store, const memsess_copy_t *copy)
{
    return !memsess_server_is_down(store->servers[copy->at]);
}

/* A session of which there is one copy stays where it lies for as long as that server is up, since
 * members with an older list of servers look for it nowhere else. But it moves if a server that
 * comes earlier in its order has an older record: a reader would find that one first. */
int memsess_stays(const memsess_store_t *store, const memsess_session_t *before, int outdated,
                  const memsess_copy_t *copy)
{
    return store->conf.copies == 1 && before && !outdated
           && memsess_is_placed(store, &before->placement, copy->at);
}
