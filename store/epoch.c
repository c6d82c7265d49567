/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/epoch.h"

#include <string.h>

#include "apr_encode.h"
#include "apr_strings.h"
#include "base/clock.h"
#include "base/crypto.h"

unsigned memsess_users(const memsess_secrets_t *secrets)
{
    return secrets ? secrets->n : 1;
}

apr_status_t memsess_user_make(char user[MEMSESS_USER_LEN + 1], const memsess_secrets_t *secrets,
                               unsigned which, const char *ns, const char *name)
{
    const char *const strings[] = {"memsess-user", ns, name};
    unsigned char digest[MEMSESS_SHA512_BYTES], mac[MEMSESS_MAC_BYTES];
    apr_status_t rv = memsess_sha512(strings, 3, digest);

    if (rv == APR_SUCCESS && secrets) {
        rv = memsess_hmac(secrets->secret[which].user, MEMSESS_SUBKEY_BYTES, digest,
                          sizeof(digest), mac);
        memcpy(digest, mac, sizeof(mac));
    }
    return rv == APR_SUCCESS ? apr_encode_base64_binary(user, digest, MEMSESS_USER_BYTES,
                                                        APR_ENCODE_BASE64URL, NULL) : rv;
}

int memsess_user_which(const char *user, const memsess_secrets_t *secrets, const char *ns,
                       const char *name)
{
    char made[MEMSESS_USER_LEN + 1];
    unsigned i;

    for (i = 0; i < memsess_users(secrets); i++) {
        if (memsess_user_make(made, secrets, i, ns, name) == APR_SUCCESS && !strcmp(user, made)) {
            return (int)i;
        }
    }
    return -1;
}

apr_status_t memsess_epoch_key(memsess_key_t *key, const char *ns, const char *user)
{
    char name[sizeof("epoch.") + MEMSESS_USER_LEN];

    memcpy(name, "epoch.", sizeof("epoch."));
    memcpy(name + sizeof("epoch.") - 1, user, MEMSESS_USER_LEN + 1);
    return memsess_key_make(key, ns, name);
}

memsess_found_t memsess_epoch_judge(const memsess_session_t *session, const memsess_wish_t *epoch)
{
    if (epoch->found == MEMSESS_UNAVAILABLE || epoch->found == MEMSESS_UNSEEN) {
        return epoch->found;
    }
    return epoch->found == MEMSESS_FOUND
                   && !memcmp(epoch->session->login.epoch, session->login.epoch,
                              MEMSESS_EPOCH_BYTES) ? MEMSESS_FOUND : MEMSESS_ENDED;
}

/* What is to become of an epoch's record. */
typedef struct next_epoch_t {
    memsess_login_t login; /* as it will be, or as it was found */
    apr_interval_time_t idle;
    int change;            /* whatever it is; else only made where there is none */
} next_epoch_t;

static apr_status_t next_revision(void *baton, const memsess_session_t *newest,
                                  memsess_session_t **next, apr_pool_t *p)
{
    next_epoch_t *want = baton;
    memsess_session_t *record = apr_pmemdup(p, newest, sizeof(*newest));

    /* A record of no user is the blank one. */
    if (!want->change && newest->login.user[0]) {
        want->login = newest->login;
    }
    record->login = want->login;
    record->used = memsess_clock_wall();
    /* Twice as long as the session, so that it need not be re-dated as often. */
    if (record->idle < 2 * want->idle) {
        record->idle = 2 * want->idle;
    }
    *next = record;
    return APR_SUCCESS;
}

static apr_status_t write_next(memsess_store_t *store, const memsess_wish_t *epoch,
                               next_epoch_t *want, apr_interval_time_t wait, apr_pool_t *p)
{
    /* Any name that is not empty will do: the key says whose it is. */
    memcpy(want->login.user, "AAAAAAAAAAAAAAAA", MEMSESS_USER_LEN + 1);
    return memsess_store_commit(store, &epoch->key, epoch->session, epoch->read_at, wait,
                                next_revision, want, p);
}

static apr_status_t write_first(memsess_store_t *store, memsess_wish_t *epoch,
                                next_epoch_t *want, apr_interval_time_t wait, apr_pool_t *p)
{
    apr_status_t rv = memsess_store_blank(&epoch->session, store, &epoch->key, p);

    return rv == APR_SUCCESS ? write_next(store, epoch, want, wait, p) : rv;
}

void memsess_epoch_read(memsess_store_t *store, memsess_wish_t *epoch, apr_pool_t *p)
{
    memsess_session_t *session = NULL;

    epoch->read_at = memsess_clock_steady();
    epoch->found = memsess_store_read(store, &epoch->key, &session, p);
    epoch->session = session;
}

apr_status_t memsess_epoch_keep(memsess_store_t *store, const memsess_wish_t *epoch,
                                apr_interval_time_t idle, apr_pool_t *p)
{
    next_epoch_t want = {{"", {0}}, idle, 0};
    apr_interval_time_t age = memsess_clock_wall() - epoch->session->used;
    apr_interval_time_t left = epoch->session->idle - age;

    /* What an older secret sealed moves to the first one with the sessions. Half the session's time to spare, for a store that does not answer meanwhile. A member whose
     * clock is ahead may have written it: what lies in the future says nothing of how old it is. */
    if (!epoch->session->aged && left >= idle + idle / 2 && -age < idle / 2) {
        return APR_SUCCESS;
    }
    return write_next(store, epoch, &want, 0, p);
}

apr_status_t memsess_epoch_get(unsigned char bytes[MEMSESS_EPOCH_BYTES], memsess_store_t *store,
                               const memsess_key_t *key, apr_interval_time_t idle,
                               apr_interval_time_t wait, apr_pool_t *p)
{
    memsess_wish_t epoch = {*key, 0, MEMSESS_MISSING, NULL, 0};
    next_epoch_t want = {{"", {0}}, idle, 0};
    apr_status_t rv = memsess_random(want.login.epoch, MEMSESS_EPOCH_BYTES);

    memsess_epoch_read(store, &epoch, p);
    if (epoch.found == MEMSESS_UNAVAILABLE) {
        return MEMSESS_DOWN;
    }
    if (epoch.found == MEMSESS_FOUND) {
        memcpy(bytes, epoch.session->login.epoch, MEMSESS_EPOCH_BYTES);
        rv = memsess_epoch_keep(store, &epoch, idle, p);
        return rv == MEMSESS_BUSY ? APR_SUCCESS : rv;
    }
    if (rv == APR_SUCCESS) {
        rv = write_first(store, &epoch, &want, wait, p);
    }
    memcpy(bytes, want.login.epoch, MEMSESS_EPOCH_BYTES);
    return rv;
}

apr_status_t memsess_epoch_change(memsess_store_t *store, const memsess_key_t *key,
                                  apr_interval_time_t wait, apr_pool_t *p)
{
    memsess_wish_t epoch = {*key, 0, MEMSESS_MISSING, NULL, 0};
    next_epoch_t want = {{"", {0}}, 0, 1};
    apr_status_t rv = memsess_random(want.login.epoch, MEMSESS_EPOCH_BYTES);

    memsess_epoch_read(store, &epoch, p);
    if (epoch.found == MEMSESS_UNAVAILABLE) {
        return MEMSESS_DOWN;
    }
    if (rv != APR_SUCCESS || epoch.found == MEMSESS_MISSING) {
        return rv; /* where there is none, no session is left that could go on */
    }
    return epoch.found == MEMSESS_FOUND ? write_next(store, &epoch, &want, wait, p)
                                        : write_first(store, &epoch, &want, wait, p);
}
