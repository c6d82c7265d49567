/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "memsess_req.h"

#include <string.h>

#include "apr_strings.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "memsess_record.h"

extern module AP_MODULE_DECLARE_DATA memsess_module;
APLOG_USE_MODULE(memsess);

const char *const memsess_state_names[] = {"none",    "active",  "unknown",
                                           "expired", "invalid", "unavailable"};

static memsess_top_t *top_make(request_rec *r)
{
    memsess_top_t *top = apr_pcalloc(r->pool, sizeof(*top));

    top->p = r->pool;
    top->server = r->server;
    return top;
}

memsess_own_t *memsess_own(request_rec *r, int make)
{
    memsess_own_t *own = ap_get_module_config(r->request_config, &memsess_module);
    request_rec *parent = r->main ? r->main : r->prev;

    if (!own) {
        memsess_own_t *parents = parent ? memsess_own(parent, make) : NULL;

        if (parents || make) {
            own = apr_pcalloc(r->pool, sizeof(*own));
            own->top = parents ? parents->top : top_make(r);
            ap_set_module_config(r->request_config, &memsess_module, own);
        }
    }
    return own;
}

memsess_req_t *memsess_req(request_rec *r)
{
    memsess_top_t *top = memsess_own(r, 1)->top;
    const memsess_dir_conf_t *conf = memsess_dir_conf(r);
    const char *name = conf->cookie->name;
    memsess_req_t *req;

    for (req = top->sessions; req; req = req->next) {
        if (!strcmp(req->conf->cookie->name, name)) {
            break;
        }
    }
    if (!req) {
        req = apr_pcalloc(top->p, sizeof(*req));
        req->next = top->sessions;
        top->sessions = req;
        req->cookie = memsess_cookie_find(apr_table_get(r->headers_in, "Cookie"), name, req->id);
    }
    /* A subrequest's merged section goes away with it. */
    req->conf = r->main ? apr_pmemdup(top->p, conf, sizeof(*conf)) : conf;
    return req;
}

/* -- Reading ---------------------------------------------------------------------------------- */

static void read_once(memsess_req_t *req, memsess_top_t *top)
{
    const memsess_srv_conf_t *conf = memsess_srv_conf(top->server);

    req->was_read = 1;
    req->found = MEMSESS_UNAVAILABLE;
    if (conf->store && memsess_key_make(&req->key, conf->ns, req->id) == APR_SUCCESS) {
        req->found = memsess_store_read(conf->store, &req->key, &req->session, top->p);
    }
}

static int is_over(const memsess_session_t *session, const memsess_dir_conf_t *conf,
                   apr_time_t now)
{
    return now - session->used > conf->idle
           || (conf->absolute && now - session->created > conf->absolute);
}

memsess_state_t memsess_req_state(memsess_req_t *req, const memsess_dir_conf_t *conf,
                                  memsess_top_t *top)
{
    if (req->cookie != MEMSESS_COOKIE_OK) {
        return req->cookie == MEMSESS_COOKIE_NONE ? MEMSESS_STATE_NONE : MEMSESS_STATE_INVALID;
    }
    if (!req->was_read) {
        read_once(req, top);
    }
    switch (req->found) {
    case MEMSESS_FOUND:
        return is_over(req->session, conf, apr_time_now()) ? MEMSESS_STATE_EXPIRED
                                                           : MEMSESS_STATE_ACTIVE;
    case MEMSESS_UNAVAILABLE:
        return MEMSESS_STATE_UNAVAILABLE;
    default:
        return MEMSESS_STATE_UNKNOWN;
    }
}

int memsess_req_deny(request_rec *r)
{
    apr_interval_time_t retry = memsess_srv_conf(r->server)->retry;

    apr_table_setn(r->err_headers_out, "Retry-After",
                   apr_psprintf(r->pool, "%" APR_TIME_T_FMT,
                                apr_time_sec(retry + APR_USEC_PER_SEC - 1)));
    return HTTP_SERVICE_UNAVAILABLE;
}

/* -- Committing ------------------------------------------------------------------------------- */

/* What a commit works with. */
typedef struct commit_t {
    memsess_req_t *req;
    const memsess_dir_conf_t *conf;
    const memsess_changes_t *changes;
    request_rec *r;
    memsess_top_t *top;
    memsess_store_t *store;
    const char *ns;
    apr_time_t now;
} commit_t;

static void send_cookie(commit_t *c, const char *id)
{
    int https = !strcmp(ap_http_scheme(c->r), "https");

    apr_table_addn(c->r->err_headers_out, "Set-Cookie",
                   memsess_cookie_format(c->conf->cookie, id, https, c->r->pool));
    c->top->cookie_set = 1;
}

/* The store failed: the answer is 503, or goes on without the change. */
static int store_failed(commit_t *c, apr_status_t rv, const char *what)
{
    if (rv == MEMSESS_REFUSED) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, c->r, "MemSess: the servers refused to store the "
                      "session (too large for them, or they are full): %s", what);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, c->r, "MemSess: the store is unavailable: %s", what);
    return c->conf->on_error == MEMSESS_DENY ? memsess_req_deny(c->r) : OK;
}

/* Marks the session as used now, and writes it. */
static apr_status_t write_session(commit_t *c, const memsess_key_t *key,
                                  memsess_session_t *session)
{
    session->used = c->now;
    if (session->idle < c->conf->idle) {
        session->idle = c->conf->idle;
    }
    return memsess_store_write(c->store, key, session, c->r->pool);
}

/* Writes under the id that the client has. A cookie with an age of its own is renewed too. */
static apr_status_t write_known(commit_t *c, memsess_session_t *session)
{
    apr_status_t rv = write_session(c, &c->req->key, session);

    if (rv == APR_SUCCESS && c->conf->cookie->max_age) {
        send_cookie(c, c->req->id);
    }
    return rv;
}

/* Writes under a fresh id. */
static apr_status_t write_fresh(commit_t *c, memsess_session_t *session,
                                char id[MEMSESS_ID_LEN + 1])
{
    memsess_key_t key;
    apr_status_t rv;

    if ((rv = memsess_id_make(id)) == APR_SUCCESS
        && (rv = memsess_key_make(&key, c->ns, id)) == APR_SUCCESS) {
        rv = write_session(c, &key, session);
    }
    return rv;
}

/* The session as it is to be, or NULL where there is to be none; an error changes nothing. */
static const char *build(commit_t *c, const memsess_session_t *old, memsess_session_t **session)
{
    memsess_session_t *base = NULL;
    const char *error;
    apr_size_t size;

    *session = NULL;
    if (old && !c->changes->destroy) {
        base = (memsess_session_t *)old;
    }
    else if (!memsess_changes_begin_session(c->changes)) {
        return NULL;
    }
    else if (memsess_session_make(&base, c->now, c->r->pool) != APR_SUCCESS) {
        return "no random numbers can be had for a new session";
    }
    error = memsess_changes_apply(c->changes, base, session, c->r->pool);
    size = error ? 0 : memsess_record_size(*session);
    if (size > (apr_size_t)c->conf->max_size) {
        return apr_psprintf(c->r->pool, "the session would take %" APR_SIZE_T_FMT " bytes, "
                            "MemSessMaxSize allows %" APR_INT64_T_FMT, size, c->conf->max_size);
    }
    return error;
}

static int carry_out(commit_t *c, memsess_state_t state)
{
    memsess_session_t *old = state == MEMSESS_STATE_ACTIVE ? c->req->session : NULL;
    memsess_session_t *session;
    const char *error = build(c, old, &session);
    char id[MEMSESS_ID_LEN + 1];
    apr_status_t rv = APR_SUCCESS;
    int keeps_id = old && session && !c->changes->destroy && !c->changes->renew;

    if (error) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, c->r, "MemSess: the response's changes are "
                      "refused, the session stays as it was: %s", error);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (keeps_id) {
        rv = write_known(c, session);
        return rv == APR_SUCCESS ? OK : store_failed(c, rv, "changes are lost");
    }
    if (session) {
        rv = write_fresh(c, session, id);
        if (rv != APR_SUCCESS) {
            return store_failed(c, rv, "a session could not be begun");
        }
    }
    if (old) {
        rv = memsess_store_end(c->store, &c->req->key, old, c->r->pool);
        if (rv != APR_SUCCESS) {
            return store_failed(c, rv, "a session could not be ended");
        }
    }
    /* Only now: whoever gets an error keeps the cookie that he had. */
    if (session || c->req->cookie != MEMSESS_COOKIE_NONE) {
        send_cookie(c, session ? id : NULL);
    }
    return OK;
}

/* A session that was only read is re-dated, now and then. */
static void redate(commit_t *c)
{
    memsess_session_t *session = c->req->session;
    apr_status_t rv;

    if (c->now - session->used < memsess_conf_refresh(c->conf)
        && session->idle >= c->conf->idle) {
        return;
    }
    rv = write_known(c, session);
    if (rv != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, rv, c->r, "MemSess: a session could not be "
                      "re-dated");
    }
}

int memsess_req_commit(memsess_req_t *req, const memsess_changes_t *changes, request_rec *r)
{
    memsess_top_t *top = memsess_own(r, 1)->top;
    const memsess_srv_conf_t *srv = memsess_srv_conf(top->server);
    commit_t c = {req, req->conf, changes, r, top, srv->store, srv->ns, apr_time_now()};
    int writes = changes && memsess_changes_any(changes);
    memsess_state_t state;

    if (!writes && !req->was_read && req->cookie != MEMSESS_COOKIE_INVALID) {
        return OK;
    }
    state = memsess_req_state(req, req->conf, top);
    if (writes && (!srv->store || state == MEMSESS_STATE_UNAVAILABLE)) {
        return store_failed(&c, MEMSESS_DOWN, "changes are lost");
    }
    if (writes) {
        return carry_out(&c, state);
    }
    switch (state) {
    case MEMSESS_STATE_ACTIVE:
        redate(&c);
        break;
    case MEMSESS_STATE_UNKNOWN:
    case MEMSESS_STATE_EXPIRED:
    case MEMSESS_STATE_INVALID:
        send_cookie(&c, NULL);
        break;
    default:
        break;
    }
    return OK;
}
