/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/outcome.h"

#include <string.h>

#include "apr_strings.h"
#include "base/clock.h"
#include "http/renew.h"
#include "http/repair.h"
#include "http_log.h"
#include "http_protocol.h"
#include "session/record.h"

APLOG_USE_MODULE(memsess);

/* Updates the local cache for this member's next request of the session. */
static void cache_commit(const memsess_commit_t *c, apr_status_t rv)
{
    memsess_cache_t *cache = memsess_commit_cache(c);

    if (cache && (rv != APR_SUCCESS || c->id[0] || !c->kept)) {
        memsess_cache_drop(cache, &c->req->key);
    }
    if (cache && rv == APR_SUCCESS && c->kept) {
        memsess_cache_put(cache, c->id[0] ? &c->key : &c->req->key, c->kept, c->now, c->r->pool);
    }
}

/* The session as it is now. */
static const memsess_session_t *session_now(const memsess_commit_t *c)
{
    return c->kept ? c->kept : c->req->session;
}

static void send_cookie(memsess_commit_t *c, const char *id)
{
    int https = !strcmp(ap_http_scheme(c->r), "https");
    memsess_cookie_value_t value = {.revision = c->req->sent.revision};
    const memsess_session_t *now = c->kept ? c->kept : c->req->id_is_old ? c->req->session : NULL;
    memsess_cookie_t conf = *c->conf->cookie;
    const char *cookie;

    if (now) {
        value.revision = memsess_commit_cache(c) ? now->revision : 0;
    }
    if (id) {
        apr_cpystrn(value.id, id, sizeof(value.id));
        apr_cpystrn(value.user, session_now(c)->login.user, sizeof(value.user));
        conf.max_age = session_now(c)->lasts ? session_now(c)->idle : conf.max_age;
    }
    cookie = memsess_cookie_format(&conf, id ? &value : NULL,
                                   memsess_srv_conf(c->top->server)->secrets, https, c->r->pool);
    if (!cookie) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, c->r, "MemSess: the cookie cannot be signed: "
                      "cryptography failed (libcrypto)");
        return;
    }
    MEMSESS_TRACE(c->r, "cookie %s: %s", c->conf->cookie->name, id ? "set" : "cleared");
    apr_table_addn(c->r->err_headers_out, "Set-Cookie", cookie);
    c->top->cookie_set = 1;
}

/* Whether the client may not know the id yet, an older secret signed the cookie, or the cookie
 * hints at a user other than the session's. */
static int is_cookie_aged(const memsess_commit_t *c)
{
    return c->req->id_is_old || c->req->sent.aged
           || strcmp(c->req->sent.user, session_now(c)->login.user);
}

/* Whether the cookie tells the browser for how long to keep it, or has done so until now. */
static int has_age(const memsess_commit_t *c)
{
    return c->conf->cookie->max_age || c->req->session->lasts || session_now(c)->lasts;
}

/* Sends the cookie with the new id, or once more with the same id if anything else in it may have
 * changed. This comes after the write, since a client that gets an error keeps its old cookie. */
static void keep_cookie(memsess_commit_t *c)
{
    if (c->id[0]) {
        send_cookie(c, c->id);
    }
    else if (has_age(c) || memsess_commit_cache(c) || is_cookie_aged(c)) {
        send_cookie(c, c->req->id);
    }
}

/* The session that the changes make of the old one; NULL: there is to be none, or c->error says why
 * there cannot be one. */
static memsess_session_t *build(memsess_commit_t *c, const memsess_session_t *old)
{
    memsess_session_t *session = NULL, *fresh;
    apr_size_t size;

    if (!old || c->changes->destroy) {
        if (!memsess_changes_begin_session(c->changes)) {
            return NULL;
        }
        if (memsess_session_make(&fresh, c->now, c->r->pool) != APR_SUCCESS) {
            c->error = "the system gives no random numbers for a new session";
            return NULL;
        }
        old = fresh;
    }
    c->error = memsess_changes_apply(c->changes, old, &session, c->r->pool);
    size = c->error ? 0 : memsess_record_size(session);
    if (size > (apr_size_t)c->conf->max_size) {
        c->error = apr_psprintf(c->r->pool, "the session would take %" APR_SIZE_T_FMT " bytes, but "
                                "MemSessMaxSize allows %" APR_INT64_T_FMT, size,
                                c->conf->max_size);
    }
    return session;
}

/* Binds a session to the client, as far as the section wants that and the session is not bound
 * yet. */
static apr_status_t bind_client(const memsess_commit_t *c, memsess_session_t *session)
{
    unsigned missing = (unsigned)c->conf->bind & ~session->binding.to;
    apr_status_t rv = APR_SUCCESS;
    memsess_bind_t to;

    for (to = 0; to < MEMSESS_BINDS && rv == APR_SUCCESS; to++) {
        if (missing & 1U << to) {
            rv = memsess_bind(session, to, memsess_req_client(c->req, to));
        }
    }
    return rv;
}

static apr_status_t bind_session(memsess_commit_t *c, memsess_session_t *session)
{
    apr_status_t rv = bind_client(c, session);

    return rv == APR_SUCCESS ? memsess_commit_bind_user(c, session) : rv;
}

/* How many ids are drawn, as long as all servers of each are down. */
#define DRAWS_MAX 32

/* Writes a session under an id that nobody knows yet; if the commit tries again, under the same
 * id. */
static apr_status_t write_fresh(memsess_commit_t *c, memsess_session_t *session)
{
    apr_status_t rv = APR_SUCCESS;
    unsigned draws;

    memsess_commit_redate(c, session);
    session->renewed = c->now;
    for (draws = 0; draws < DRAWS_MAX; draws++) {
        if (!c->id[0] && (rv = memsess_id_make(c->id)) == APR_SUCCESS) {
            rv = memsess_key_make(&c->key, c->req->ns, c->id);
        }
        if (rv == APR_SUCCESS) {
            rv = memsess_store_write(c->store, &c->key, session, c->r->pool);
        }
        /* A member that only now finds a server down has to draw again, too, but waits for only one
         * such server. */
        if (rv == APR_SUCCESS || memsess_is_refused(rv) || (rv != MEMSESS_DOWN && draws)) {
            break;
        }
        c->id[0] = '\0';
    }
    return rv;
}

/* Removes what was written under a fresh id. */
static void unwrite_fresh(memsess_commit_t *c)
{
    if (c->id[0]) {
        memsess_store_unwrite(c->store, &c->key, c->kept, c->r->pool);
        c->id[0] = '\0';
    }
}

/* Whether MemSessRenew wants another id; it does not before the client has come with this
 * one. */
static int renewal_due(const memsess_commit_t *c, const memsess_session_t *session)
{
    return c->conf->renew && !c->req->id_is_old && c->now - session->renewed >= c->conf->renew;
}

/* Whether the changes log in a user whom the session did not have. A log-out is no log-in: the id
 * gives access to less than before. */
static int logs_in(const memsess_commit_t *c, const memsess_session_t *old,
                   const memsess_session_t *session)
{
    const char *user = session ? memsess_session_user(session, c->conf->user_attr) : NULL;
    const char *before = user && old ? memsess_session_user(old, c->conf->user_attr) : NULL;

    return user && !(before && !strcmp(user, before));
}

/* With MemSessLock none, changes apply to the session as it was read; but increments are always
 * exact. */
static int last_wins(const memsess_commit_t *c)
{
    return c->conf->lock == MEMSESS_LOCK_NONE && c->changes
           && !memsess_changes_has_incr(c->changes);
}

/* Sets the marks that other requests must see before the next revision exists. They are set right
 * before it, since they expire soon. */
static void tell_others(const memsess_commit_t *c, const memsess_session_t *newest, apr_pool_t *p)
{
    if (newest->unused && !c->req->id_is_old) {
        memsess_renew_mark_first(c->store, &c->req->key, p);
    }
    if (c->changes && c->changes->destroy) {
        memsess_renew_mark_end(c->store, &c->req->key, p);
    }
}

/* Makes the session's next revision: the changed session, or a tombstone, once the changed session
 * is written under a fresh id. */
static apr_status_t next_revision(void *baton, const memsess_session_t *newest,
                                  memsess_session_t **next, apr_pool_t *p)
{
    memsess_commit_t *c = baton;
    int unused = newest->unused && c->req->id_is_old, ends, moves;
    memsess_session_t *session = !c->changes ? apr_pmemdup(p, newest, sizeof(*newest))
                                             : build(c, last_wins(c) ? c->req->session : newest);
    apr_status_t rv = APR_SUCCESS;

    c->merged = !last_wins(c) && newest->revision > c->req->session->revision;
    if (c->error) {
        return APR_EINVAL;
    }
    if (session && (rv = bind_session(c, session)) != APR_SUCCESS) {
        return rv;
    }
    c->kept = session;
    tell_others(c, newest, p);
    ends = c->changes && (c->changes->destroy || c->changes->renew || logs_in(c, newest, session));
    moves = !ends && renewal_due(c, newest);
    if (session && !ends && !moves) {
        memsess_commit_redate(c, session);
        session->unused = unused;
        *next = session;
        return APR_SUCCESS;
    }
    if (session) {
        session->unused = moves;
        rv = write_fresh(c, session);
    }
    if (rv == APR_SUCCESS && c->changes && c->changes->destroy) {
        *next = memsess_tombstone(newest, p);
    }
    else if (rv == APR_SUCCESS) {
        rv = memsess_renew_tombstone(next, newest, &c->req->key, moves ? c->id : NULL, p);
    }
    if (rv == APR_SUCCESS) {
        (*next)->unused = unused;
    }
    return rv;
}

static apr_status_t change_session(memsess_commit_t *c, apr_interval_time_t wait)
{
    apr_status_t rv = memsess_commit_keep_user(c, wait);
    memsess_reading_t upon;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    /* The last writer wins over the session that it read, but that must not be a cached copy. */
    if (last_wins(c) && c->req->is_cached) {
        memsess_req_read_pool(c->req, c->top);
        if (c->req->found != MEMSESS_FOUND) {
            return c->req->found == MEMSESS_UNAVAILABLE ? MEMSESS_DOWN : MEMSESS_GONE;
        }
    }
    upon = memsess_req_reading(c->req);
    rv = memsess_store_commit(c->store, &upon, wait, next_revision, c, c->r->pool);
    if (rv == APR_SUCCESS) {
        memsess_repair_done(c->top, &upon.key);
    }
    else if (rv != MEMSESS_UNSURE) {
        unwrite_fresh(c);
    }
    return rv;
}

static apr_status_t begin_session(memsess_commit_t *c)
{
    memsess_session_t *session = build(c, NULL);
    apr_status_t rv;

    if (c->error) {
        return APR_EINVAL;
    }
    /* A late log-in (one that was clicked twice) begins a session; no other late change may do so,
     * since its session would take the log-in's place. */
    if (c->late && c->changes->list->nelts
        && !(session && (c->changes->renew || logs_in(c, NULL, session)))) {
        return MEMSESS_GONE;
    }
    if (!session) {
        return APR_SUCCESS;
    }
    c->kept = session;
    rv = bind_session(c, session);
    return rv == APR_SUCCESS ? write_fresh(c, session) : rv;
}

/* The changes could not be made: returns the error's status, or OK to answer without them. */
static int failed(const memsess_commit_t *c, apr_status_t rv)
{
    const char *why = memsess_commit_words(c, rv);

    if (c->error) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, c->r, "MemSess: the response's changes are "
                      "refused, and the session stays as it was: %s", c->error);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (rv == MEMSESS_GONE) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, c->r, "MemSess: changes are dropped: %s", why);
        return OK;
    }
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, c->r, "MemSess: changes are lost: %s", why);
    if (memsess_is_refused(rv) || rv == MEMSESS_CRYPTO) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (rv != MEMSESS_BUSY
        && (!c->req->was_read || c->req->found != MEMSESS_UNAVAILABLE)) {
        memsess_count(MEMSESS_N_UNAVAILABLE);
    }
    /* A client that asked to end sessions must not believe that they ended. */
    return c->conf->on_error == MEMSESS_DENY || memsess_changes_end_others(c->changes)
               ? memsess_req_deny(c->r) : OK;
}

static void count_changes(const memsess_commit_t *c, int had_session)
{
    int ends = had_session && c->changes->destroy;
    int begins = c->id[0] && (ends || !had_session);

    if (ends) {
        memsess_count(MEMSESS_N_DESTROYED);
    }
    if (begins) {
        memsess_count(MEMSESS_N_CREATED);
    }
    if (begins || (had_session && !ends)) {
        memsess_count(MEMSESS_N_COMMITTED);
        if (c->merged) {
            memsess_count(MEMSESS_N_MERGED);
        }
    }
}

static void trace_commit(const memsess_commit_t *c, apr_status_t rv)
{
    const memsess_key_t *old = &c->req->key;

    MEMSESS_TRACE(c->r, "session %s: %s%s, as session %s, revision %" APR_UINT64_T_FMT,
                  c->req->was_read ? memsess_key_log(old, c->r->pool) : "(new)",
                  rv != APR_SUCCESS ? "not committed" : c->kept ? "committed" : "ended",
                  c->merged ? ", merged" : "",
                  c->kept ? memsess_key_log(c->id[0] ? &c->key : old, c->r->pool) : "(none)",
                  c->kept ? c->kept->revision : 0);
}

/* The session was renewed meanwhile: then the changes apply to it, wherever it is. Or the session
 * is over: then the changes can at most begin another one. */
static apr_status_t change_elsewhere(memsess_commit_t *c)
{
    apr_status_t rv;

    memsess_req_read_pool(c->req, c->top);
    if (c->req->found == MEMSESS_FOUND) {
        return change_session(c, c->conf->lock_wait);
    }
    if (c->req->found == MEMSESS_UNAVAILABLE) {
        return MEMSESS_DOWN;
    }
    c->late = 1;
    c->kept = NULL;
    rv = begin_session(c);
    return rv == APR_SUCCESS && !c->id[0] ? MEMSESS_GONE : rv;
}

static int carry_out(memsess_commit_t *c, memsess_state_t state)
{
    int is_active = state == MEMSESS_STATE_ACTIVE;
    /* A session that has expired by this section's time-outs may be live in another one: a log-out
     * ends it. */
    int had_session = is_active || (state == MEMSESS_STATE_EXPIRED && c->changes->destroy);
    apr_status_t rv = memsess_commit_end_others(c, is_active);

    if (rv == APR_SUCCESS && had_session) {
        rv = change_session(c, c->conf->lock_wait);
        if (rv == MEMSESS_GONE) {
            rv = change_elsewhere(c);
            had_session = !c->late;
        }
    }
    else if (rv == APR_SUCCESS) {
        c->late = memsess_renew_is_late(c->req, c->store, c->r->pool);
        rv = begin_session(c);
    }
    cache_commit(c, rv);
    trace_commit(c, rv);
    if (rv != APR_SUCCESS) {
        return failed(c, rv);
    }
    count_changes(c, had_session);
    if (had_session) {
        memsess_commit_leave(c);
    }
    if (had_session && !c->changes->destroy) {
        keep_cookie(c);
    }
    else if (c->id[0] || had_session) {
        send_cookie(c, c->id[0] ? c->id : NULL);
    }
    return OK;
}

/* Whether the session was re-dated less than refresh ago. If our clock is ahead of that of the
 * member which re-dated it, the servers' clocks tell, unless the session would end soon. If they
 * cannot tell, or not precisely enough for so short a time, the session is re-dated once too often.
 * That is harmless: it is dropped if another request is writing the session, and a server that does
 * not answer fails no request for it. */
static int is_redated(const memsess_commit_t *c, apr_interval_time_t refresh)
{
    const memsess_session_t *session = c->req->session;
    apr_interval_time_t age = c->now - session->used, unused = session->written - session->used;
    apr_interval_time_t ago;

    if (age < refresh || age + refresh >= session->idle) {
        return age < refresh;
    }
    ago = memsess_store_written_ago(c->store, session);
    return ago >= 0 && ago + apr_time_from_sec(MEMSESS_AGE_ERROR)
                               + (unused < 0 ? -unused : unused) < refresh;
}

/* Whether a session that was only read must be written nevertheless. */
static int is_redating_due(const memsess_commit_t *c)
{
    const memsess_session_t *session = c->req->session;
    apr_interval_time_t age = c->now - session->used;
    apr_interval_time_t refresh = session->lasts ? memsess_refresh(session->idle)
                                                 : memsess_conf_refresh(c->conf);
    /* A date in the future comes from a member whose clock is ahead: it does not tell how old it
     * is. */
    int fresh = session->fixed || (is_redated(c, refresh) && -age < refresh
                                   && (session->lasts || session->idle >= c->conf->idle));

    return !fresh || c->req->facts.aged || memsess_commit_is_user_aged(c) || renewal_due(c, session)
           || memsess_renew_is_first(c->req);
}

/* Re-dates a session that was only read, if that is due, and moves it to a new secret. If another
 * request is writing the session, that one does both. */
static void redate(memsess_commit_t *c)
{
    apr_status_t rv = APR_SUCCESS;
    int due;

    /* The cookie must have the id that the session has now, or this answer would undo a newer
     * one. */
    if (c->req->id_is_old) {
        memsess_req_read_pool(c->req, c->top);
        if (c->req->found != MEMSESS_FOUND) {
            return;
        }
    }
    due = is_redating_due(c);
    if (due) {
        rv = change_session(c, 0);
        cache_commit(c, rv);
        trace_commit(c, rv);
        if (rv != APR_SUCCESS && rv != MEMSESS_BUSY && rv != MEMSESS_GONE) {
            ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, c->r, "MemSess: a session could not be "
                          "re-dated: %s", memsess_commit_words(c, rv));
        }
    }
    if (rv == APR_SUCCESS && due) {
        keep_cookie(c);
        return;
    }
    c->kept = NULL;
    /* Another request may just have renewed the session. */
    if ((rv == MEMSESS_BUSY || rv == MEMSESS_GONE) && renewal_due(c, c->req->session)) {
        memsess_req_read_pool(c->req, c->top);
    }
    if (c->req->found == MEMSESS_FOUND && is_cookie_aged(c)) {
        send_cookie(c, c->req->id);
    }
}

int memsess_req_commit(memsess_req_t *req, const memsess_changes_t *changes, request_rec *r)
{
    memsess_top_t *top = memsess_own(r, 1)->top;
    const memsess_srv_conf_t *srv = memsess_srv_conf(top->server);
    memsess_commit_t c = {.req = req, .conf = req->conf, .r = r, .top = top, .store = srv->store,
                          .now = memsess_clock_wall()};
    memsess_state_t state;

    if (changes && memsess_changes_any(changes)) {
        c.changes = changes;
    }
    else if (!req->was_read) {
        return OK;
    }
    state = memsess_req_state(req, req->conf, top);
    if (c.changes) {
        return srv->store && state != MEMSESS_STATE_UNAVAILABLE ? carry_out(&c, state)
                                                                : failed(&c, req->why);
    }
    if (state == MEMSESS_STATE_ACTIVE) {
        redate(&c);
    }
    return OK;
}
