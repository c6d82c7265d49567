/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/look.h"

#include "store/read.h"

static const char *state_of(const memsess_copy_t *copy)
{
    switch (copy->state) {
    case COPY_HELD:
        return copy->session->ended ? "ended" : "active";
    case COPY_NONE:
        return "none";
    case COPY_DAMAGED:
        return "unreadable";
    case COPY_LATER:
        return "later";
    default:
        return "silent";
    }
}

apr_array_header_t *memsess_look(memsess_store_t *store, const memsess_key_t *key, apr_pool_t *p)
{
    apr_array_header_t *looks = apr_array_make(p, 4, sizeof(memsess_look_t));
    memsess_copies_t of;
    unsigned i;

    memsess_order(&of, store, key, p);
    memsess_ask_all(&of, p);
    for (i = 0; i < of.n; i++) {
        const memsess_copy_t *copy = &of.copy[i];

        APR_ARRAY_PUSH(looks, memsess_look_t) = (memsess_look_t){
            .server = memsess_server_conf(store->servers[copy->at])->name,
            .state = state_of(copy),
            .session = copy->state == COPY_HELD ? copy->session : NULL,
            .is_home = i < store->conf.copies,
        };
    }
    return looks;
}

const memsess_session_t *memsess_look_newest(const apr_array_header_t *looks)
{
    const memsess_session_t *newest = NULL;
    int i;

    for (i = 0; i < looks->nelts; i++) {
        const memsess_session_t *session = APR_ARRAY_IDX(looks, i, memsess_look_t).session;

        if (session && (!newest || memsess_is_newer(session, newest))) {
            newest = session;
        }
    }
    return newest;
}
