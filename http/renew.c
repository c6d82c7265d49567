/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/renew.h"

#include <string.h>

#include "http/repair.h"
#include "http/request_private.h"
#include "session/seal.h"
#include "store/epoch.h"
#include "store/mark.h"

/* How long an id goes on leading to the next one after a client came with the next one: 10 s at
 * least, and memcached counts whole seconds. */
#define FIRST "first"
#define OLD_ID_LIVES 11

/* How many ids in a row are followed to find a session. */
#define MOVES_MAX 16

apr_status_t memsess_renew_tombstone(memsess_session_t **tombstone,
                                     const memsess_session_t *newest, const memsess_key_t *key,
                                     const char *next, apr_pool_t *p)
{
    memsess_session_t *made = *tombstone = memsess_tombstone(newest, p);

    made->moved = 1;
    made->tells = next != NULL;
    return next ? memsess_seal_id(key, next, made->moved_to) : APR_SUCCESS;
}

/* Whether the old id is dead: the session that was found has been used under its new id, and the
 * mark of its first use has expired. */
static int is_dead(const memsess_req_t *req, memsess_store_t *store, apr_pool_t *p)
{
    return (req->found == MEMSESS_FOUND || req->found == MEMSESS_ENDED) && !req->session->unused
           && !memsess_mark_is_there(store, &req->key, FIRST, p);
}

void memsess_renew_follow(memsess_req_t *req, memsess_store_t *store, int comes, apr_pool_t *p)
{
    const memsess_reading_t old = memsess_req_reading(req);
    memsess_reading_t next = {.read_at = 0};
    char id[MEMSESS_ID_LEN + 1];
    apr_status_t rv;
    int moves;

    for (moves = 0; req->found == MEMSESS_ENDED && req->session->tells && moves < MOVES_MAX;
         moves++) {
        rv = memsess_unseal_id(&req->key, req->session->moved_to, id);
        if (rv == APR_EMISMATCH) {
            return; /* somebody has altered the id, so it leads nowhere */
        }
        if (rv != APR_SUCCESS || memsess_key_make(&req->key, req->ns, id) != APR_SUCCESS) {
            req->found = MEMSESS_UNAVAILABLE;
            req->why = MEMSESS_CRYPTO;
            return;
        }
        next.key = req->key;
        memsess_store_read(store, &next, p);
        memsess_repair_see(req->top, &next);
        memsess_req_take(req, &next);
        /* Only the first id can be dead: the others are younger. */
        if (!moves && comes && is_dead(req, store, p)) {
            req->key = old.key;
            memsess_req_take(req, &old);
            return;
        }
        memcpy(req->id, id, sizeof(id));
        req->id_is_old = 1;
    }
}

int memsess_renew_is_first(const memsess_req_t *req)
{
    return req->session->unused && !req->id_is_old;
}

void memsess_renew_mark_first(memsess_store_t *store, const memsess_key_t *key, apr_pool_t *p)
{
    memsess_mark_put(store, key, FIRST, OLD_ID_LIVES, p);
}

void memsess_renew_mark_end(memsess_store_t *store, const memsess_key_t *key, apr_pool_t *p)
{
    memsess_mark_put(store, key, MEMSESS_MARK_END, MEMSESS_MARK_END_TTL, p);
}

void memsess_renew_see_over(const memsess_req_t *req, memsess_over_t *over)
{
    over->moved = req->session->moved;
    over->key = req->key;
    over->mark = MEMSESS_MARK_END;
    /* There is no tombstone: the user's record says that the session is over. */
    if (!req->session->ended) {
        over->key = req->epoch.key;
        over->mark = memsess_epoch_mark(req->session, &req->epoch, req->top->p);
    }
}

static int is_late(const memsess_over_t *over, memsess_store_t *store, apr_pool_t *p)
{
    return over->moved || memsess_mark_is_there(store, &over->key, over->mark, p);
}

int memsess_renew_is_late(const memsess_req_t *req, memsess_store_t *store, apr_pool_t *p)
{
    const memsess_over_t *over;
    memsess_over_t own;

    if (req->found == MEMSESS_ENDED) {
        memsess_renew_see_over(req, &own);
        if (is_late(&own, store, p)) {
            return 1;
        }
    }
    for (over = req->over; over && !is_late(over, store, p); over = over->next) {
    }
    return over != NULL;
}
