/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/epoch.h"

#include <string.h>

#include "apr_encode.h"
#include "apr_strings.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "store/mark.h"

unsigned memsess_users(const memsess_secrets_t *secrets)
{
    return secrets ? secrets->n : 1;
}

apr_status_t memsess_user_make(char digest[MEMSESS_USER_LEN + 1], const memsess_user_t *user,
                               unsigned which)
{
    const char *const strings[] = {"memsess-user", user->ns, user->name};
    unsigned char made[MEMSESS_SHA512_BYTES], mac[MEMSESS_MAC_BYTES];
    apr_status_t rv = memsess_sha512(strings, 3, made);

    if (rv == APR_SUCCESS && user->secrets) {
        rv = memsess_hmac(user->secrets->secret[which].user, MEMSESS_SUBKEY_BYTES, made,
                          sizeof(made), mac);
        memcpy(made, mac, sizeof(mac));
    }
    return rv == APR_SUCCESS ? apr_encode_base64_binary(digest, made, MEMSESS_USER_BYTES,
                                                        APR_ENCODE_BASE64URL, NULL) : rv;
}

int memsess_user_which(const char *digest, const memsess_user_t *user)
{
    char made[MEMSESS_USER_LEN + 1];
    unsigned i;

    for (i = 0; i < memsess_users(user->secrets); i++) {
        if (memsess_user_make(made, user, i) == APR_SUCCESS && !strcmp(digest, made)) {
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

apr_status_t memsess_user_key(memsess_key_t *key, const memsess_user_t *user, unsigned which)
{
    char digest[MEMSESS_USER_LEN + 1];
    apr_status_t rv = memsess_user_make(digest, user, which);

    return rv == APR_SUCCESS ? memsess_epoch_key(key, user->ns, digest) : rv;
}

/* -- Which sessions go on -------------------------------------------------------------------- */

/* The attribute that says which session is spared: its public id, and the epoch that it had. */
#define SPARED ".spared"

/* Takes all sessions but that one out of the list, and spares that one. */
static void spare(memsess_session_t *record, const memsess_session_t *session, apr_pool_t *p)
{
    const memsess_attr_t *own = memsess_session_find(record, session->public_id);
    apr_array_header_t *attrs = apr_array_make(p, 2, sizeof(memsess_attr_t));
    memsess_attr_t *spared = apr_array_push(attrs);

    spared->name = SPARED;
    spared->value = apr_pstrcat(p, session->public_id,
                                apr_pencode_base64_binary(p, session->login.epoch,
                                                          MEMSESS_EPOCH_BYTES, APR_ENCODE_BASE64URL,
                                                          NULL), NULL);
    spared->len = strlen(spared->value);
    if (own) {
        APR_ARRAY_PUSH(attrs, memsess_attr_t) = *own;
    }
    /* A public id may begin with '-', which comes before the dot. */
    memsess_entries_sort(attrs);
    record->attrs = attrs;
}

/* Whether a session has an earlier epoch, but was spared when the epoch changed. */
static int is_spared(const memsess_session_t *record, const memsess_session_t *session)
{
    const memsess_attr_t *spared = memsess_session_find(record, SPARED);
    unsigned char epoch[MEMSESS_EPOCH_BYTES];

    return spared && spared->len == MEMSESS_PUBLIC_ID_LEN + MEMSESS_EPOCH_BYTES / 3 * 4
           && !strncmp(spared->value, session->public_id, MEMSESS_PUBLIC_ID_LEN)
           && apr_decode_base64_binary(epoch, spared->value + MEMSESS_PUBLIC_ID_LEN,
                                       MEMSESS_EPOCH_BYTES / 3 * 4, APR_ENCODE_BASE64URL, NULL)
                  == APR_SUCCESS
           && !memcmp(epoch, session->login.epoch, MEMSESS_EPOCH_BYTES);
}

static int is_of_epoch(const memsess_session_t *record, const memsess_session_t *session)
{
    return !memcmp(record->login.epoch, session->login.epoch, MEMSESS_EPOCH_BYTES)
           || is_spared(record, session);
}

static int is_off_list(const memsess_session_t *record, const memsess_session_t *session)
{
    return session->login.listed && !memsess_session_find(record, session->public_id);
}

static int is_live(const memsess_session_t *record, const memsess_session_t *session)
{
    return !is_off_list(record, session) && is_of_epoch(record, session);
}

memsess_found_t memsess_epoch_judge(const memsess_session_t *session,
                                    const memsess_reading_t *epoch)
{
    if (epoch->found == MEMSESS_UNAVAILABLE || epoch->found == MEMSESS_UNSEEN) {
        return epoch->found;
    }
    return epoch->found == MEMSESS_FOUND && is_live(epoch->session, session) ? MEMSESS_FOUND
                                                                             : MEMSESS_ENDED;
}

const char *memsess_epoch_why(const memsess_session_t *session, const memsess_reading_t *epoch)
{
    if (epoch->found != MEMSESS_FOUND) {
        return "ended: no server has its user's record any more, which was evicted, or lost with "
               "its servers";
    }
    return is_of_epoch(epoch->session, session)
               ? "ended on its own: by MemSess-Destroy: id=, by an administrator, or because its "
                 "user had more sessions than MemSessUserSessions allows"
               : "ended with all sessions of its user, or with all but one (MemSess-Destroy: "
                 "others)";
}

/* -- The record ------------------------------------------------------------------------------ */

/* What is to become of a user's record. */
typedef struct next_epoch_t {
    enum { KEEP, END_ALL, END_OTHERS, END_ONE, LEAVE } what;
    memsess_store_t *store;
    const memsess_key_t *key;         /* the record's */
    memsess_login_t login;            /* the record's, as it will be or as it was found */
    const memsess_entry_t *entry;     /* for KEEP: of the session that begins or is re-dated */
    apr_interval_time_t ahead;        /* what memsess_store_ahead says */
    unsigned most;                    /* entries in the list; 0: one is dated, but none is added */
    const memsess_session_t *session; /* for END_OTHERS */
    const char *public_id;            /* for END_ONE and LEAVE */
} next_epoch_t;

/* In the list, use is dated by a time on which all members agree: if it were dated by their own
 * clocks, and these were apart, the wrong session would end. */
static memsess_entry_t as_listed(const memsess_entry_t *entry, apr_interval_time_t ahead)
{
    memsess_entry_t listed = *entry;

    listed.used += ahead;
    return listed;
}

apr_array_header_t *memsess_epoch_list(const memsess_store_t *store,
                                       const memsess_session_t *record, apr_pool_t *p)
{
    apr_interval_time_t ahead = memsess_store_ahead(store);
    apr_array_header_t *list = memsess_entries_list(record, memsess_clock_wall() + ahead, p);
    int i;

    for (i = 0; i < list->nelts; i++) {
        APR_ARRAY_IDX(list, i, memsess_entry_t).used -= ahead;
    }
    return list;
}

static const char *end_of_one(const char *public_id, apr_pool_t *p)
{
    return apr_pstrcat(p, MEMSESS_MARK_END "-", public_id, NULL);
}

const char *memsess_epoch_mark(const memsess_session_t *session, const memsess_reading_t *epoch,
                               apr_pool_t *p)
{
    return epoch->found == MEMSESS_FOUND && is_of_epoch(epoch->session, session)
               ? end_of_one(session->public_id, p) : MEMSESS_MARK_END;
}

/* Marks the sessions that are no longer listed as ended just now: their own records do not tell. */
static void mark_ended(const next_epoch_t *want, const memsess_session_t *newest,
                       const memsess_session_t *next, apr_pool_t *p)
{
    const apr_array_header_t *listed = memsess_entries_list(newest, next->used + want->ahead, p);
    int i;

    for (i = 0; i < listed->nelts; i++) {
        const char *public_id = APR_ARRAY_IDX(listed, i, memsess_entry_t).public_id;

        if (!memsess_session_find(next, public_id)) {
            memsess_mark_put(want->store, want->key, end_of_one(public_id, p),
                             MEMSESS_MARK_END_TTL, p);
        }
    }
}

static void keep(const next_epoch_t *want, memsess_session_t *record, apr_pool_t *p)
{
    memsess_entry_t entry = as_listed(want->entry, want->ahead);

    if (want->most || memsess_session_find(record, entry.public_id)) {
        memsess_entries_enter(record, &entry, want->most, record->used + want->ahead, p);
    }
    /* The record lives twice as long as the session, so that it need not be re-dated as often. */
    if (record->idle < 2 * entry.idle) {
        record->idle = 2 * entry.idle;
    }
}

static apr_status_t next_revision(void *baton, const memsess_session_t *newest,
                                  memsess_session_t **next, apr_pool_t *p)
{
    next_epoch_t *want = baton;
    memsess_session_t *record = apr_pmemdup(p, newest, sizeof(*newest));
    apr_status_t rv = APR_SUCCESS;

    /* The record that has no user is the blank one. */
    if ((want->what == KEEP || want->what == END_ONE || want->what == LEAVE)
        && newest->login.user[0]) {
        want->login = newest->login;
    }
    record->used = memsess_clock_wall();
    switch (want->what) {
    case KEEP:
        keep(want, record, p);
        if (want->most) {
            mark_ended(want, newest, record, p);
        }
        break;
    case END_ALL:
        record->attrs = apr_array_make(p, 1, sizeof(memsess_attr_t));
        break;
    case END_OTHERS:
        rv = is_live(record, want->session) ? APR_SUCCESS : MEMSESS_GONE;
        spare(record, want->session, p);
        break;
    case END_ONE:
    case LEAVE:
        rv = memsess_entries_drop(record, want->public_id, p) ? APR_SUCCESS : MEMSESS_ABSENT;
        if (want->what == END_ONE) {
            mark_ended(want, newest, record, p);
        }
        break;
    }
    record->login = want->login;
    *next = record;
    return rv;
}

static apr_status_t write_next(memsess_store_t *store, memsess_reading_t *epoch,
                               next_epoch_t *want, apr_interval_time_t wait, apr_pool_t *p)
{
    apr_status_t rv;

    /* Any name that is not empty will do: the key says whose record it is. */
    memcpy(want->login.user, "AAAAAAAAAAAAAAAA", MEMSESS_USER_LEN + 1);
    want->ahead = memsess_store_ahead(store);
    want->store = store;
    want->key = &epoch->key;
    rv = memsess_store_commit(store, epoch, wait, next_revision, want, p);
    epoch->facts.lacks = rv == APR_SUCCESS ? 0 : epoch->facts.lacks;
    return rv;
}

static apr_status_t write_first(memsess_store_t *store, memsess_reading_t *epoch,
                                next_epoch_t *want, apr_interval_time_t wait, apr_pool_t *p)
{
    apr_status_t rv = memsess_store_blank(epoch, store, p);

    return rv == APR_SUCCESS ? write_next(store, epoch, want, wait, p) : rv;
}

apr_status_t memsess_epoch_keep(memsess_store_t *store, memsess_reading_t *epoch,
                                const memsess_entry_t *entry, apr_pool_t *p)
{
    next_epoch_t want = {.what = KEEP, .entry = entry};
    memsess_entry_t listed = as_listed(entry, memsess_store_ahead(store));
    apr_interval_time_t age = memsess_store_written_ago(store, epoch->session);

    /* Servers drop the record by their own clocks. If they do not tell their time, a date in the
     * future comes from a member whose clock is ahead, and does not tell the record's age. */
    if (age < 0) {
        age = memsess_clock_wall() - epoch->session->used;
    }
    /* A record that an older secret sealed is sealed again with the first one, as sessions are.
     * Half the session's time is to spare, for a store that does not answer meanwhile. */
    return !epoch->facts.aged && epoch->session->idle - age >= entry->idle + entry->idle / 2
                   && -age < entry->idle / 2 && memsess_entries_dated(epoch->session, &listed)
               ? APR_SUCCESS
               : write_next(store, epoch, &want, 0, p);
}

/* Writes the revision that follows the one that was read, or the first one. */
static apr_status_t change_read(memsess_store_t *store, memsess_reading_t *epoch,
                                next_epoch_t *want, apr_interval_time_t wait, apr_pool_t *p)
{
    switch (epoch->found) {
    case MEMSESS_UNAVAILABLE:
        return MEMSESS_DOWN;
    case MEMSESS_FOUND:
        return write_next(store, epoch, want, wait, p);
    case MEMSESS_UNSEEN:
        /* Nobody can tell what it holds, but all sessions can be ended, and one can begin. */
        return want->what == KEEP || want->what == END_ALL
                   ? write_first(store, epoch, want, wait, p) : MEMSESS_DOWN;
    default:
        /* Without a record, no session is left that could go on. */
        return want->what == KEEP ? write_first(store, epoch, want, wait, p)
               : want->what == END_ALL ? APR_SUCCESS
               : want->what == END_OTHERS ? MEMSESS_GONE : MEMSESS_ABSENT;
    }
}

static apr_status_t change(memsess_store_t *store, memsess_reading_t *epoch, next_epoch_t *want,
                           apr_interval_time_t wait, apr_pool_t *p)
{
    apr_status_t rv = memsess_random(want->login.epoch, MEMSESS_EPOCH_BYTES);

    memsess_store_read(store, epoch, p);
    if (rv == APR_SUCCESS) {
        rv = change_read(store, epoch, want, wait, p);
    }
    /* This does nothing if the record was written. */
    memsess_store_repair(store, epoch, p);
    return rv;
}

apr_status_t memsess_epoch_enter(memsess_login_t *login, memsess_store_t *store,
                                 const memsess_key_t *key, const memsess_entry_t *entry,
                                 unsigned most, apr_interval_time_t wait, apr_pool_t *p)
{
    memsess_reading_t epoch = {.key = *key};
    next_epoch_t want = {.what = KEEP, .entry = entry, .most = most};
    apr_status_t rv = memsess_random(want.login.epoch, MEMSESS_EPOCH_BYTES);

    memsess_store_read(store, &epoch, p);
    if (epoch.found == MEMSESS_FOUND && !most) {
        want.login = epoch.session->login;
        rv = memsess_epoch_keep(store, &epoch, entry, p);
        /* If another writer re-dates the record, all is well; but a log-in does not do without that. */
        rv = rv == MEMSESS_BUSY ? APR_SUCCESS
             : rv == MEMSESS_UNSENT ? change_read(store, &epoch, &want, wait, p) : rv;
    }
    else if (rv == APR_SUCCESS) {
        rv = change_read(store, &epoch, &want, wait, p);
    }
    memsess_store_repair(store, &epoch, p);
    memcpy(login->epoch, want.login.epoch, MEMSESS_EPOCH_BYTES);
    login->listed = most != 0;
    return rv;
}

apr_status_t memsess_epoch_end_all(memsess_store_t *store, const memsess_key_t *key,
                                   apr_interval_time_t wait, apr_pool_t *p)
{
    memsess_reading_t epoch = {.key = *key};
    next_epoch_t want = {.what = END_ALL};

    return change(store, &epoch, &want, wait, p);
}

apr_status_t memsess_epoch_end_secret(memsess_store_t *store, const memsess_user_t *user,
                                      unsigned which, apr_interval_time_t wait, apr_pool_t *p)
{
    memsess_key_t key;
    apr_status_t rv = memsess_user_key(&key, user, which);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    memsess_mark_put(store, &key, MEMSESS_MARK_END, MEMSESS_MARK_END_TTL, p);
    return memsess_epoch_end_all(store, &key, wait, p);
}

apr_status_t memsess_epoch_end_user(memsess_store_t *store, const memsess_user_t *user,
                                    apr_interval_time_t wait, apr_pool_t *p)
{
    unsigned n = memsess_users(user->secrets), i;
    apr_status_t rv = APR_SUCCESS;

    for (i = 0; rv == APR_SUCCESS && i < (n > 1 ? 2 * n : 1); i++) {
        rv = memsess_epoch_end_secret(store, user, i % n, wait, p);
    }
    return rv;
}

apr_status_t memsess_epoch_end_others(memsess_login_t *login, memsess_store_t *store,
                                      const memsess_key_t *key, const memsess_session_t *session,
                                      apr_interval_time_t wait, apr_pool_t *p)
{
    memsess_reading_t epoch = {.key = *key};
    next_epoch_t want = {.what = END_OTHERS, .session = session};
    apr_status_t rv;

    memsess_mark_put(store, key, MEMSESS_MARK_END, MEMSESS_MARK_END_TTL, p);
    rv = change(store, &epoch, &want, wait, p);
    memcpy(login->epoch, want.login.epoch, MEMSESS_EPOCH_BYTES);
    return rv;
}

/* Drops one entry of the list, under the secret where it is found. */
static apr_status_t drop_one(memsess_store_t *store, const memsess_user_t *user,
                             const next_epoch_t *want, apr_interval_time_t wait, apr_pool_t *p)
{
    apr_status_t rv = MEMSESS_ABSENT;
    unsigned i;

    for (i = 0; rv == MEMSESS_ABSENT && i < memsess_users(user->secrets); i++) {
        memsess_reading_t epoch = {.found = MEMSESS_MISSING};
        next_epoch_t once = *want;

        rv = memsess_user_key(&epoch.key, user, i);
        if (rv == APR_SUCCESS) {
            rv = change(store, &epoch, &once, wait, p);
        }
    }
    return rv;
}

apr_status_t memsess_epoch_end_one(memsess_store_t *store, const memsess_user_t *user,
                                   const char *public_id, apr_interval_time_t wait, apr_pool_t *p)
{
    const next_epoch_t want = {.what = END_ONE, .public_id = public_id};

    return drop_one(store, user, &want, wait, p);
}

apr_status_t memsess_epoch_leave(memsess_store_t *store, const memsess_user_t *user,
                                 const char *public_id, apr_interval_time_t wait, apr_pool_t *p)
{
    const next_epoch_t want = {.what = LEAVE, .public_id = public_id};

    return drop_one(store, user, &want, wait, p);
}
