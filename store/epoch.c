/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "store/epoch.h"

#include <stdlib.h>
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

/* -- The list -------------------------------------------------------------------------------- */

/* The attribute that says which session is spared: its public id, and the epoch that it had. */
#define SPARED ".spared"

/* An entry: three numbers of 32 bits, and the label. */
#define DATES 12
#define DATES_LEN 16

static void put32(unsigned char *at, apr_int64_t n)
{
    n = n < 0 ? 0 : n > APR_UINT32_MAX ? APR_UINT32_MAX : n;
    at[0] = (unsigned char)(n >> 24);
    at[1] = (unsigned char)(n >> 16);
    at[2] = (unsigned char)(n >> 8);
    at[3] = (unsigned char)n;
}

static apr_time_t get_seconds(const unsigned char *at)
{
    return apr_time_from_sec((apr_time_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3]);
}

/* So much of a label as is kept, without half a character of UTF-8 at its end. */
static apr_size_t label_len(const char *label)
{
    apr_size_t len = strlen(label);

    if (len > MEMSESS_LABEL_MAX) {
        for (len = MEMSESS_LABEL_MAX; len && ((unsigned char)label[len] & 0xc0) == 0x80; len--) {
        }
    }
    return len;
}

static void entry_put(memsess_attr_t *attr, const memsess_entry_t *entry, apr_pool_t *p)
{
    unsigned char dates[DATES];
    apr_size_t len = label_len(entry->label);
    char *value = apr_palloc(p, DATES_LEN + len + 1);

    put32(dates, apr_time_sec(entry->created));
    put32(dates + 4, apr_time_sec(entry->used));
    put32(dates + 8, apr_time_sec(entry->idle));
    apr_encode_base64_binary(value, dates, DATES, APR_ENCODE_BASE64URL, NULL);
    memcpy(value + DATES_LEN, entry->label, len);
    value[DATES_LEN + len] = '\0';
    attr->name = entry->public_id;
    attr->value = value;
    attr->len = DATES_LEN + len;
}

/* Whether an attribute is an entry, and which. */
static int entry_get(const memsess_attr_t *attr, memsess_entry_t *entry)
{
    unsigned char dates[DATES];

    if (*attr->name == '.' || attr->len < DATES_LEN || !memsess_base64url_ok(attr->value, DATES_LEN)
        || apr_decode_base64_binary(dates, attr->value, DATES_LEN, APR_ENCODE_BASE64URL, NULL)
               != APR_SUCCESS) {
        return 0;
    }
    entry->public_id = attr->name;
    entry->created = get_seconds(dates);
    entry->used = get_seconds(dates + 4);
    entry->idle = get_seconds(dates + 8);
    entry->label = attr->value + DATES_LEN;
    return 1;
}

static int by_use(const void *a, const void *b)
{
    const memsess_entry_t *one = a, *other = b;

    return one->used != other->used ? (one->used < other->used ? 1 : -1)
                                    : strcmp(one->public_id, other->public_id);
}

apr_array_header_t *memsess_epoch_list(const memsess_session_t *record, apr_time_t now,
                                       apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 4, sizeof(memsess_entry_t));
    memsess_entry_t entry;
    int i;

    for (i = 0; i < record->attrs->nelts; i++) {
        if (entry_get(&APR_ARRAY_IDX(record->attrs, i, memsess_attr_t), &entry)
            && entry.used + entry.idle > now) {
            APR_ARRAY_PUSH(list, memsess_entry_t) = entry;
        }
    }
    qsort(list->elts, (apr_size_t)list->nelts, sizeof(memsess_entry_t), by_use);
    return list;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const memsess_attr_t *)a)->name, ((const memsess_attr_t *)b)->name);
}

/* Whether the first is the one to go: those that are over before those that are not, then the one that
 * was unused for longer. Dates lag by what entry_refresh says, a tenth of the idle time-out at most. */
static int goes_before(const memsess_entry_t *one, const memsess_entry_t *other, apr_time_t now)
{
    int over = one->used + one->idle + one->idle / 10 < now;
    int other_over = other->used + other->idle + other->idle / 10 < now;

    return over != other_over ? over : one->used < other->used;
}

/* Takes out the entry that is to go, but not the first one. */
static void list_shorten(apr_array_header_t *attrs, apr_time_t now)
{
    memsess_entry_t entry, oldest = {NULL, 0, APR_INT64_MAX / 2, 0, NULL};
    int i, at = 0;

    for (i = 1; i < attrs->nelts; i++) {
        if (entry_get(&APR_ARRAY_IDX(attrs, i, memsess_attr_t), &entry)
            && goes_before(&entry, &oldest, now)) {
            oldest = entry;
            at = i;
        }
    }
    APR_ARRAY_IDX(attrs, at, memsess_attr_t) =
        APR_ARRAY_IDX(attrs, attrs->nelts - 1, memsess_attr_t);
    attrs->nelts--;
}

/* The list with this entry in it, and without those that are over for sure. Where they are more than
 * may be, one goes, but not this one. */
static void list_enter(memsess_session_t *record, const memsess_entry_t *entry, unsigned most,
                       apr_time_t now, apr_pool_t *p)
{
    apr_array_header_t *attrs = apr_array_make(p, record->attrs->nelts + 1, sizeof(memsess_attr_t));
    memsess_entry_t other;
    unsigned n = 1;
    int i;

    entry_put(apr_array_push(attrs), entry, p);
    for (i = 0; i < record->attrs->nelts; i++) {
        const memsess_attr_t *attr = &APR_ARRAY_IDX(record->attrs, i, memsess_attr_t);

        if (!strcmp(attr->name, entry->public_id)) {
            continue;
        }
        if (entry_get(attr, &other)) {
            if (other.used + 2 * other.idle < now) {
                continue;
            }
            n++;
        }
        APR_ARRAY_PUSH(attrs, memsess_attr_t) = *attr;
    }
    for (; most && n > most; n--) {
        list_shorten(attrs, now);
    }
    qsort(attrs->elts, (apr_size_t)attrs->nelts, sizeof(memsess_attr_t), by_name);
    record->attrs = attrs;
}

/* The record without that attribute; whether it was there. */
static int list_drop(memsess_session_t *record, const char *name, apr_pool_t *p)
{
    apr_array_header_t *attrs = apr_array_make(p, record->attrs->nelts, sizeof(memsess_attr_t));
    int i;

    for (i = 0; i < record->attrs->nelts; i++) {
        const memsess_attr_t *attr = &APR_ARRAY_IDX(record->attrs, i, memsess_attr_t);

        if (strcmp(attr->name, name)) {
            APR_ARRAY_PUSH(attrs, memsess_attr_t) = *attr;
        }
    }
    if (attrs->nelts == record->attrs->nelts) {
        return 0;
    }
    record->attrs = attrs;
    return 1;
}

/* The list of that session alone, which is spared. */
static void list_spare(memsess_session_t *record, const memsess_session_t *session, apr_pool_t *p)
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
    /* A public id may begin with '-', which comes first. */
    qsort(attrs->elts, (apr_size_t)attrs->nelts, sizeof(memsess_attr_t), by_name);
    record->attrs = attrs;
}

/* Whether a session has an epoch of before, but was spared when that changed. */
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

static int is_live(const memsess_session_t *record, const memsess_session_t *session)
{
    if (session->login.listed && !memsess_session_find(record, session->public_id)) {
        return 0;
    }
    return !memcmp(record->login.epoch, session->login.epoch, MEMSESS_EPOCH_BYTES)
           || is_spared(record, session);
}

memsess_found_t memsess_epoch_judge(const memsess_session_t *session, const memsess_wish_t *epoch)
{
    if (epoch->found == MEMSESS_UNAVAILABLE || epoch->found == MEMSESS_UNSEEN) {
        return epoch->found;
    }
    return epoch->found == MEMSESS_FOUND && is_live(epoch->session, session) ? MEMSESS_FOUND
                                                                             : MEMSESS_ENDED;
}

/* -- The record ------------------------------------------------------------------------------ */

/* What is to become of a user's record. */
typedef struct next_epoch_t {
    enum { KEEP, END_ALL, END_OTHERS, END_ONE } what;
    memsess_login_t login;            /* as it will be, or as it was found */
    const memsess_entry_t *entry;     /* for KEEP: of a session that begins or is re-dated */
    unsigned most;                    /* in the list; 0: the entry is listed only where it was */
    int enters;                       /* the session begins */
    const memsess_session_t *session; /* for END_OTHERS */
    const char *public_id;            /* for END_ONE */
} next_epoch_t;

static apr_status_t keep(next_epoch_t *want, memsess_session_t *record, apr_pool_t *p)
{
    const memsess_entry_t *entry = want->entry;
    int listed = memsess_session_find(record, entry->public_id) != NULL;

    if (want->enters ? want->most != 0 : listed) {
        list_enter(record, entry, want->most, record->used, p);
    }
    /* Twice as long as the session, so that it need not be re-dated as often. */
    if (record->idle < 2 * entry->idle) {
        record->idle = 2 * entry->idle;
    }
    return APR_SUCCESS;
}

static apr_status_t next_revision(void *baton, const memsess_session_t *newest,
                                  memsess_session_t **next, apr_pool_t *p)
{
    next_epoch_t *want = baton;
    memsess_session_t *record = apr_pmemdup(p, newest, sizeof(*newest));
    apr_status_t rv = APR_SUCCESS;

    /* A record of no user is the blank one. */
    if ((want->what == KEEP || want->what == END_ONE) && newest->login.user[0]) {
        want->login = newest->login;
    }
    record->used = memsess_clock_wall();
    switch (want->what) {
    case KEEP:
        rv = keep(want, record, p);
        break;
    case END_ALL:
        record->attrs = apr_array_make(p, 1, sizeof(memsess_attr_t));
        break;
    case END_OTHERS:
        rv = is_live(record, want->session) ? APR_SUCCESS : MEMSESS_GONE;
        list_spare(record, want->session, p);
        break;
    case END_ONE:
        rv = *want->public_id != '.' && list_drop(record, want->public_id, p) ? APR_SUCCESS
                                                                              : MEMSESS_ABSENT;
        break;
    }
    record->login = want->login;
    *next = record;
    return rv;
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

/* How old the date of an entry gets before it is dated again. */
static apr_interval_time_t entry_refresh(const memsess_entry_t *entry)
{
    apr_interval_time_t tenth = entry->idle / 10;

    return tenth < apr_time_from_sec(60) ? tenth : apr_time_from_sec(60);
}

static int is_entry_dated(const memsess_session_t *record, const memsess_entry_t *entry)
{
    const memsess_attr_t *attr = memsess_session_find(record, entry->public_id);
    memsess_entry_t listed;
    apr_interval_time_t age;

    if (!attr || !entry_get(attr, &listed)) {
        return 1;
    }
    age = entry->used - listed.used;
    return listed.idle >= entry->idle - apr_time_from_sec(1) && age < entry_refresh(entry)
           && -age < entry->idle / 2;
}

apr_status_t memsess_epoch_keep(memsess_store_t *store, const memsess_wish_t *epoch,
                                const memsess_entry_t *entry, apr_pool_t *p)
{
    next_epoch_t want = {.what = KEEP, .entry = entry};
    apr_interval_time_t age = memsess_store_written_ago(store, epoch->session);

    /* Servers drop it by their own clocks. Where they do not tell, what lies in the future was written
     * by a member whose clock is ahead, and says nothing of how old it is. */
    if (age < 0) {
        age = memsess_clock_wall() - epoch->session->used;
    }
    /* What an older secret sealed moves to the first one with the sessions. Half the session's time
     * to spare, for a store that does not answer meanwhile. */
    return !epoch->session->aged
                   && epoch->session->idle - age >= entry->idle + entry->idle / 2
                   && -age < entry->idle / 2 && is_entry_dated(epoch->session, entry)
               ? APR_SUCCESS : write_next(store, epoch, &want, 0, p);
}

/* Reads the record, and makes the next one of it, or the first. */
static apr_status_t change(memsess_store_t *store, memsess_wish_t *epoch, next_epoch_t *want,
                           apr_interval_time_t wait, apr_pool_t *p)
{
    apr_status_t rv = memsess_random(want->login.epoch, MEMSESS_EPOCH_BYTES);

    if (!epoch->read_at) {
        memsess_epoch_read(store, epoch, p);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    switch (epoch->found) {
    case MEMSESS_UNAVAILABLE:
        return MEMSESS_DOWN;
    case MEMSESS_FOUND:
        return write_next(store, epoch, want, wait, p);
    case MEMSESS_UNSEEN:
        /* Nobody can tell what is in it, but all sessions can be ended, and one can begin. */
        return want->what == KEEP || want->what == END_ALL
                   ? write_first(store, epoch, want, wait, p) : MEMSESS_DOWN;
    default:
        /* Where there is none, no session is left that could go on. */
        return want->what == KEEP ? write_first(store, epoch, want, wait, p)
               : want->what == END_ALL ? APR_SUCCESS
               : want->what == END_ONE ? MEMSESS_ABSENT : MEMSESS_GONE;
    }
}

apr_status_t memsess_epoch_enter(memsess_login_t *login, memsess_store_t *store,
                                 const memsess_key_t *key, const memsess_entry_t *entry,
                                 unsigned most, apr_interval_time_t wait, apr_pool_t *p)
{
    memsess_wish_t epoch = {.key = *key};
    next_epoch_t want = {.what = KEEP, .entry = entry, .most = most, .enters = 1};
    apr_status_t rv;

    memsess_epoch_read(store, &epoch, p);
    if (epoch.found == MEMSESS_FOUND && !most) {
        want.login = epoch.session->login;
        rv = memsess_epoch_keep(store, &epoch, entry, p);
        rv = rv == MEMSESS_BUSY ? APR_SUCCESS : rv;
    }
    else {
        rv = change(store, &epoch, &want, wait, p);
    }
    memcpy(login->epoch, want.login.epoch, MEMSESS_EPOCH_BYTES);
    login->listed = most != 0;
    return rv;
}

/* The user's record as one of the secrets names it. */
static apr_status_t user_key(memsess_key_t *key, const memsess_secrets_t *secrets, unsigned which,
                             const char *ns, const char *name)
{
    char user[MEMSESS_USER_LEN + 1];
    apr_status_t rv = memsess_user_make(user, secrets, which, ns, name);

    return rv == APR_SUCCESS ? memsess_epoch_key(key, ns, user) : rv;
}

apr_status_t memsess_epoch_end_all(memsess_store_t *store, const memsess_key_t *key,
                                   apr_interval_time_t wait, apr_pool_t *p)
{
    memsess_wish_t epoch = {.key = *key};
    next_epoch_t want = {.what = END_ALL};

    return change(store, &epoch, &want, wait, p);
}

apr_status_t memsess_epoch_end_secret(memsess_store_t *store, const memsess_secrets_t *secrets,
                                      unsigned which, const char *ns, const char *name,
                                      apr_interval_time_t wait, apr_pool_t *p)
{
    memsess_key_t key;
    apr_status_t rv = user_key(&key, secrets, which, ns, name);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    memsess_mark_put(store, &key, MEMSESS_MARK_END, MEMSESS_MARK_END_TTL, p);
    return memsess_epoch_end_all(store, &key, wait, p);
}

apr_status_t memsess_epoch_end_user(memsess_store_t *store, const memsess_secrets_t *secrets,
                                    const char *ns, const char *name, apr_interval_time_t wait,
                                    apr_pool_t *p)
{
    unsigned n = memsess_users(secrets), i;
    apr_status_t rv = APR_SUCCESS;

    for (i = 0; rv == APR_SUCCESS && i < (n > 1 ? 2 * n : 1); i++) {
        rv = memsess_epoch_end_secret(store, secrets, i % n, ns, name, wait, p);
    }
    return rv;
}

apr_status_t memsess_epoch_end_others(memsess_login_t *login, memsess_store_t *store,
                                      const memsess_key_t *key, const memsess_session_t *session,
                                      apr_interval_time_t wait, apr_pool_t *p)
{
    memsess_wish_t epoch = {.key = *key};
    next_epoch_t want = {.what = END_OTHERS, .session = session};
    apr_status_t rv = change(store, &epoch, &want, wait, p);

    memcpy(login->epoch, want.login.epoch, MEMSESS_EPOCH_BYTES);
    return rv;
}

apr_status_t memsess_epoch_end_one(memsess_store_t *store, const memsess_secrets_t *secrets,
                                   const char *ns, const char *name, const char *public_id,
                                   apr_interval_time_t wait, apr_pool_t *p)
{
    apr_status_t rv = MEMSESS_ABSENT;
    unsigned i;

    for (i = 0; rv == MEMSESS_ABSENT && i < memsess_users(secrets); i++) {
        memsess_wish_t epoch = {.found = MEMSESS_MISSING};
        next_epoch_t want = {.what = END_ONE, .public_id = public_id};

        rv = user_key(&epoch.key, secrets, i, ns, name);
        if (rv == APR_SUCCESS) {
            rv = change(store, &epoch, &want, wait, p);
        }
    }
    return rv;
}
