/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/outcome.h"

#include <string.h>

#include "apr_strings.h"
#include "http/repair.h"
#include "http_log.h"
#include "store/epoch.h"

APLOG_USE_MODULE(memsess);

static const memsess_secrets_t *secrets_of(const memsess_commit_t *c)
{
    return memsess_srv_conf(c->top->server)->secrets;
}

static unsigned most_listed(const memsess_commit_t *c)
{
    return (unsigned)memsess_srv_conf(c->top->server)->user_sessions;
}

/* The user's name by this section's attribute; NULL: nobody is logged in, or by another
 * attribute. */
static const char *user_name(const memsess_commit_t *c)
{
    return memsess_session_user(c->req->session, c->conf->user_attr);
}

static memsess_user_t user_of(const memsess_commit_t *c, const char *name)
{
    return (memsess_user_t){.secrets = secrets_of(c), .ns = c->req->ns, .name = name};
}

static int which_secret(const memsess_commit_t *c, const char *digest, const char *name)
{
    const memsess_user_t user = user_of(c, name);

    return memsess_user_which(digest, &user);
}

/* The name that the session is logged in by, whichever section's attribute has it. */
static const char *login_name(const memsess_commit_t *c)
{
    const apr_array_header_t *attrs = memsess_srv_conf(c->top->server)->users;
    int i;

    for (i = 0; i < attrs->nelts; i++) {
        const char *name = memsess_session_user(c->req->session,
                                                APR_ARRAY_IDX(attrs, i, const char *));

        if (name && which_secret(c, c->req->session->login.user, name) >= 0) {
            return name;
        }
    }
    return NULL;
}

int memsess_commit_is_user_aged(const memsess_commit_t *c)
{
    const char *user = c->req->session->login.user, *name;

    if (!*user || memsess_users(secrets_of(c)) < 2) {
        return 0;
    }
    name = login_name(c);
    return name && which_secret(c, user, name) > 0;
}

/* -- Logging in ------------------------------------------------------------------------------- */

/* The list's entry for a session that is dated now. */
static memsess_entry_t entry_of(const memsess_commit_t *c, const memsess_session_t *session,
                                apr_interval_time_t idle)
{
    const memsess_attr_t *label = memsess_session_find(session, "label");
    const char *agent = apr_table_get(c->top->r->headers_in, "User-Agent");

    return (memsess_entry_t){.public_id = session->public_id, .created = session->created,
                             .used = c->now, .idle = idle,
                             .label = label ? label->value : agent ? agent : ""};
}

/* Logs in under the user's present epoch, which is asked for once. */
static apr_status_t log_in(memsess_commit_t *c, memsess_login_t *login,
                           const memsess_entry_t *entry, const char *name, apr_interval_time_t wait)
{
    const memsess_user_t user = user_of(c, name);
    char digest[MEMSESS_USER_LEN + 1];
    memsess_key_t key;
    apr_status_t rv = memsess_user_make(digest, &user, 0);

    if (rv != APR_SUCCESS
        || (!strcmp(digest, login->user) && !strcmp(entry->public_id, c->entered))) {
        return rv;
    }
    rv = memsess_epoch_key(&key, c->req->ns, digest);
    if (rv == APR_SUCCESS) {
        rv = memsess_epoch_enter(login, c->store, &key, entry, most_listed(c), wait, c->r->pool);
    }
    if (rv == APR_SUCCESS) {
        memcpy(login->user, digest, sizeof(digest));
        apr_cpystrn(c->entered, entry->public_id, sizeof(c->entered));
    }
    return rv;
}

/* The same user stays in the epoch of the log-in, or in the epoch that replaced it. */
static void keep_login(const memsess_commit_t *c, memsess_session_t *session)
{
    const memsess_login_t *as_read = &c->req->session->login;

    if (c->moved.user[0] && !strcmp(session->login.user, as_read->user)
        && !memcmp(session->login.epoch, as_read->epoch, MEMSESS_EPOCH_BYTES)) {
        session->login = c->moved;
    }
}

apr_status_t memsess_commit_bind_user(memsess_commit_t *c, memsess_session_t *session)
{
    const char *attr = c->conf->user_attr, *name;
    int says = c->changes && memsess_changes_touch(c->changes, attr);
    memsess_entry_t entry;
    apr_status_t rv;

    if (session->login.user[0] && !says) {
        keep_login(c, session);
        return APR_SUCCESS;
    }
    name = memsess_session_user(session, attr);
    if (!name) {
        memset(&session->login, 0, sizeof(session->login));
        return APR_SUCCESS;
    }
    /* A log-in of the same user stays in its epoch: all sessions may have been ended since it was
     * read. */
    if (session->login.user[0] && which_secret(c, session->login.user, name) >= 0) {
        keep_login(c, session);
        session->login.at = c->now;
        return APR_SUCCESS;
    }
    memsess_commit_redate(c, session);
    entry = entry_of(c, session, session->idle);
    rv = log_in(c, &c->login, &entry, name, c->conf->lock_wait);
    if (rv == APR_SUCCESS) {
        session->login = c->login;
        session->login.at = c->now;
    }
    return rv;
}

/* -- Staying ---------------------------------------------------------------------------------- */

/* How long the epoch of the session's user has to live. */
static apr_interval_time_t epoch_idle(const memsess_commit_t *c)
{
    apr_interval_time_t idle = c->req->session->idle > c->conf->idle ? c->req->session->idle
                                                                     : c->conf->idle;
    apr_interval_time_t own = memsess_commit_own_time(c);

    return own > idle ? own : idle;
}

/* Checks again whether the session's user was logged out everywhere: MEMSESS_GONE. */
static apr_status_t judge_epoch(const memsess_commit_t *c)
{
    memsess_reading_t *epoch = &c->req->epoch;
    apr_status_t rv = memsess_epoch_key(&epoch->key, c->req->ns, c->req->session->login.user);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    memsess_store_read(c->store, epoch, c->r->pool);
    memsess_repair_see(c->top, epoch);
    if (memsess_epoch_judge(c->req->session, epoch) == MEMSESS_FOUND) {
        return APR_SUCCESS;
    }
    if (memsess_commit_cache(c)) {
        memsess_cache_drop(memsess_commit_cache(c), &c->req->key);
    }
    return epoch->found == MEMSESS_UNAVAILABLE || epoch->found == MEMSESS_UNSEEN ? MEMSESS_DOWN
                                                                                 : MEMSESS_GONE;
}

/* Whether the session began before lists were kept. */
static int is_unlisted(const memsess_commit_t *c)
{
    return most_listed(c) && !c->req->session->login.listed && login_name(c);
}

/*
 * A session that came from the cache has not had its epoch checked yet.
 *
 * A login that an older secret made moves to the first secret: once the older one is removed,
 * nobody could find the session by its user's name. The new epoch is read first, and then the old
 * one is judged again: see memsess_epoch_end_user.
 */
apr_status_t memsess_commit_keep_user(memsess_commit_t *c, apr_interval_time_t wait)
{
    const memsess_session_t *session = c->req->session;
    apr_status_t rv = APR_SUCCESS;
    memsess_entry_t entry;
    int moves = 0;

    if (!session->login.user[0] || (c->changes && c->changes->destroy)) {
        return APR_SUCCESS;
    }
    entry = entry_of(c, session, epoch_idle(c));
    if (!c->changes || !c->changes->destroy_others) {
        c->moved.user[0] = '\0';
        moves = (memsess_commit_is_user_aged(c) || is_unlisted(c))
                && log_in(c, &c->moved, &entry, login_name(c), wait) == APR_SUCCESS;
        c->moved.at = session->login.at;
    }
    if ((moves || c->req->is_cached) && (rv = judge_epoch(c)) != APR_SUCCESS) {
        return rv;
    }
    rv = memsess_epoch_keep(c->store, &c->req->epoch, &entry, c->r->pool);
    memsess_repair_see(c->top, &c->req->epoch);
    if (rv != APR_SUCCESS && rv != MEMSESS_BUSY) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, c->r, "MemSess: the record of a user could not "
                      "be re-dated: %s", memsess_commit_words(c, rv));
    }
    return APR_SUCCESS;
}

/* -- Ending ----------------------------------------------------------------------------------- */

static apr_status_t end_user(const memsess_commit_t *c, const char *name)
{
    const memsess_user_t user = user_of(c, name);

    return memsess_epoch_end_user(c->store, &user, c->conf->lock_wait, c->r->pool);
}

/* Ends all sessions of the user but this one. Those under other secrets all end, since this one is
 * not among them. If this section's attribute names another user than the log-in's, they cannot be
 * found. */
static apr_status_t end_all_but_own(memsess_commit_t *c)
{
    const memsess_session_t *session = c->req->session;
    const char *name = user_name(c);
    const memsess_user_t user = user_of(c, name);
    memsess_key_t key;
    apr_status_t rv = memsess_epoch_key(&key, c->req->ns, session->login.user);
    int i, own = name ? which_secret(c, session->login.user, name) : -1;

    if (rv == APR_SUCCESS) {
        c->moved = session->login;
        rv = memsess_epoch_end_others(&c->moved, c->store, &key, session, c->conf->lock_wait,
                                      c->r->pool);
    }
    for (i = 0; own >= 0 && rv == APR_SUCCESS && i < (int)memsess_users(secrets_of(c)); i++) {
        rv = i == own ? APR_SUCCESS
                      : memsess_epoch_end_secret(c->store, &user, (unsigned)i, c->conf->lock_wait,
                                                 c->r->pool);
    }
    return rv;
}

/* Ends one session of the user's list, under whichever secret it is listed. */
static apr_status_t end_one(const memsess_commit_t *c, const char *public_id)
{
    const memsess_user_t user = user_of(c, user_name(c));
    apr_status_t rv = user.name ? memsess_epoch_end_one(c->store, &user, public_id,
                                                        c->conf->lock_wait, c->r->pool)
                                : MEMSESS_ABSENT;

    if (rv != MEMSESS_ABSENT) {
        return rv;
    }
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, c->r, "MemSess: MemSess-Destroy: id=%s: this "
                  "session's user has no such session in the list of MemSessUserSessions",
                  ap_escape_logitem(c->r->pool, public_id));
    return APR_SUCCESS;
}

apr_status_t memsess_commit_end_others(memsess_commit_t *c, int is_active)
{
    const memsess_changes_t *changes = c->changes;
    apr_status_t rv = APR_SUCCESS;
    int i;

    for (i = 0; i < changes->end_users->nelts && rv == APR_SUCCESS; i++) {
        rv = end_user(c, APR_ARRAY_IDX(changes->end_users, i, const char *));
    }
    if (!is_active || rv != APR_SUCCESS) {
        return rv;
    }
    if (changes->destroy_all && user_name(c)) {
        return end_user(c, user_name(c));
    }
    if (changes->destroy_others && c->req->session->login.user[0]) {
        rv = end_all_but_own(c);
    }
    for (i = 0; i < changes->end_ids->nelts && rv == APR_SUCCESS; i++) {
        rv = end_one(c, APR_ARRAY_IDX(changes->end_ids, i, const char *));
    }
    return rv;
}

/* The longest wait for leaving a list. If that fails, the entry expires when it was unused for long
 * enough. */
#define LEAVE_WAIT apr_time_from_sec(1)

void memsess_commit_leave(const memsess_commit_t *c)
{
    const memsess_session_t *was = c->req->session;
    const memsess_user_t user = user_of(c, was->login.listed ? login_name(c) : NULL);

    if (user.name && !c->changes->destroy_all
        && !(c->kept && !strcmp(c->kept->public_id, was->public_id)
             && !strcmp(c->kept->login.user, was->login.user))) {
        memsess_epoch_leave(c->store, &user, was->public_id, LEAVE_WAIT, c->r->pool);
    }
}
