/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/mark.h"

#include "apr_strings.h"
#include "session/seal.h"
#include "store/private.h"

/* A mark is put on the first servers in order that are up. Twice as many are asked for it, since
 * other members may have seen other servers up. */
#define ASKED_MAX (2 * MEMSESS_COPIES_MAX)

static unsigned first_up(const memsess_copies_t *of, unsigned most, unsigned at[ASKED_MAX])
{
    unsigned i, m = 0;

    for (i = 0; i < of->n && m < most; i++) {
        if (!memsess_server_is_down(of->store->servers[of->copy[i].at])) {
            at[m++] = of->copy[i].at;
        }
    }
    return m;
}

static const char *mark_text(const memsess_copies_t *of, unsigned at, const char *what,
                             apr_pool_t *p)
{
    /* No claim has such a name. */
    return memsess_key_text(of, at, ".mark-", what, p);
}

static const char *mark_kind(const char *what, apr_pool_t *p)
{
    return apr_pstrcat(p, "mark ", what, NULL);
}

void memsess_mark_put(memsess_store_t *store, const memsess_key_t *key, const char *what,
                      apr_uint32_t seconds, apr_pool_t *p)
{
    char one[] = "1", *data;
    unsigned at[ASKED_MAX], i, n;
    memsess_copies_t of;
    memsess_put_t *puts;
    apr_size_t len;

    memsess_order(&of, store, key, p);
    n = first_up(&of, store->conf.copies, at);
    puts = apr_pcalloc(p, sizeof(*puts) * (n + 1));
    if (memsess_seal(store->conf.secrets, key, mark_kind(what, p), one, 1, &data, &len, p)
        != APR_SUCCESS) {
        return;
    }
    for (i = 0; i < n; i++) {
        puts[i].server = store->servers[at[i]];
        puts[i].key = mark_text(&of, at[i], what, p);
        puts[i].ttl = seconds;
        puts[i].how = MEMSESS_PUT_SET;
        puts[i].data = data;
        puts[i].len = len;
    }
    memsess_pool_mput(puts, n);
}

/* What a server says: that a member's mark is there, that there is none, or nothing. */
typedef enum { MARK_THERE, MARK_NONE, MARK_UNTOLD } told_t;

static told_t told_of(const memsess_copies_t *of, const char *what, const memsess_get_t *get,
                      apr_pool_t *p)
{
    memsess_seal_status_t sealed;
    apr_size_t len;
    char *data;
    int aged;

    if (get->rv != APR_SUCCESS) {
        return get->rv == MEMSESS_ABSENT ? MARK_NONE : MARK_UNTOLD;
    }
    sealed = memsess_unseal(of->store->conf.secrets, of->key, mark_kind(what, p), get->data,
                            get->len, &data, &len, &aged, p);
    if (sealed != MEMSESS_SEAL_OK) {
        memsess_complain(of, get->server, mark_kind(what, p),
                         apr_pstrcat(p, memsess_seal_words(sealed), ": not used", NULL), p);
    }
    return sealed == MEMSESS_SEAL_OK       ? MARK_THERE
           : sealed == MEMSESS_SEAL_FAILED ? MARK_UNTOLD
                                           : MARK_NONE;
}

int memsess_mark_is_there(memsess_store_t *store, const memsess_key_t *key, const char *what,
                          apr_pool_t *p)
{
    unsigned at[ASKED_MAX], i, n;
    int told[3] = {0, 0, 0};
    memsess_copies_t of;
    memsess_get_t *gets;

    memsess_order(&of, store, key, p);
    n = first_up(&of, 2 * store->conf.copies, at);
    gets = apr_pcalloc(p, sizeof(*gets) * (n + 1));
    for (i = 0; i < n; i++) {
        gets[i].server = store->servers[at[i]];
        gets[i].key = mark_text(&of, at[i], what, p);
    }
    memsess_pool_mget(gets, (int)n, p);
    for (i = 0; i < n; i++) {
        told[told_of(&of, what, &gets[i], p)]++;
    }
    return told[MARK_THERE] || !told[MARK_NONE];
}
