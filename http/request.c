/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/request_private.h"

#include <string.h>

#include "apr_strings.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/renew.h"
#include "http/repair.h"
#include "http_log.h"
#include "mod_ssl.h"
#include "store/epoch.h"

APLOG_USE_MODULE(memsess);

const char *const memsess_state_names[] = {"none",    "active",  "unknown",
                                           "expired", "invalid", "unavailable"};

static const char *const cookie_names[] = {"none", "invalid", "valid"};
static const char *const found_names[] = {"found", "missing", "unseen", "ended", "unavailable"};

int memsess_req_is_late(const request_rec *r)
{
    const memsess_own_t *own;

    if (!r->main) {
        return 0;
    }
    while (r->main) {
        r = r->main;
    }
    own = ap_get_module_config(r->request_config, &memsess_module);
    return own && own->top->responded && !own->top->minded;
}

int memsess_req_enabled(const request_rec *r)
{
    return memsess_dir_conf(r)->enabled && r->proxyreq != PROXYREQ_PROXY && !memsess_req_is_late(r);
}

/* The certificate that the client has shown so far: mod_ssl may ask for one once it knows the
 * section. NULL: none. */
static const char *certificate(const request_rec *r)
{
    APR_OPTIONAL_FN_TYPE(ssl_var_lookup) *lookup = APR_RETRIEVE_OPTIONAL_FN(ssl_var_lookup);
    const char *pem = lookup ? lookup(r->pool, r->server, r->connection, NULL, "SSL_CLIENT_CERT")
                             : NULL;

    return pem && *pem ? pem : NULL;
}

const char *memsess_req_client(const memsess_req_t *req, memsess_bind_t to)
{
    return to == MEMSESS_BIND_TLS ? certificate(req->top->r) : req->client[to];
}

/* Notes the client's properties as they are now: other modules may change headers later. */
static void see_client(memsess_req_t *req, const request_rec *r)
{
    const char *agent = apr_table_get(r->headers_in, "User-Agent");

    req->client[MEMSESS_BIND_UA] = agent ? agent : "";
    req->client[MEMSESS_BIND_IP] = r->useragent_ip ? r->useragent_ip : "";
}

const char *memsess_req_cookies(request_rec *r)
{
    const memsess_own_t *own = memsess_own(r, 0);

    return own && own->top->cookie_sent ? own->top->cookie_sent
                                        : apr_table_get(r->headers_in, "Cookie");
}

/* Finds the cookies with the name of the session's cookie. */
static void see_cookies(memsess_req_t *req, request_rec *r)
{
    memsess_cookie_value_t sent[MEMSESS_COOKIES_MAX];
    memsess_top_t *top = req->top;

    req->cookie = memsess_cookie_find(memsess_req_cookies(r), req->conf->cookie->name,
                                      memsess_srv_conf(top->server)->secrets, sent, &req->n_sent);
    if (req->n_sent) {
        req->all_sent = apr_pmemdup(top->p, sent, sizeof(*sent) * req->n_sent);
        req->sent = sent[0];
    }
    MEMSESS_TRACE(top->r, "cookie %s: %s", req->conf->cookie->name, cookie_names[req->cookie]);
}

/* The session of that cookie, with its keys in that namespace. */
static memsess_req_t *find_or_make(request_rec *r, const memsess_dir_conf_t *conf, const char *ns)
{
    memsess_top_t *top = memsess_own(r, 1)->top;
    const char *name = conf->cookie->name;
    memsess_req_t *req;

    for (req = top->sessions; req; req = req->next) {
        if (!strcmp(req->conf->cookie->name, name) && !strcmp(req->ns, ns)) {
            break;
        }
    }
    if (!req) {
        req = apr_pcalloc(top->p, sizeof(*req));
        req->next = top->sessions;
        top->sessions = req;
        req->top = top;
        req->ns = ns;
        req->conf = conf;
        req->why = MEMSESS_DOWN;
        see_cookies(req, r);
        if (memsess_srv_conf(top->server)->binds) {
            see_client(req, top->r);
        }
    }
    req->conf = conf;
    return req;
}

memsess_req_t *memsess_req(request_rec *r)
{
    memsess_top_t *top = memsess_own(r, 1)->top;
    const memsess_dir_conf_t *conf = memsess_dir_conf(r);

    /* A subrequest's merged section is freed with the subrequest. */
    if (r->main) {
        conf = apr_pmemdup(top->p, conf, sizeof(*conf));
    }
    return find_or_make(r, conf, memsess_srv_conf(top->server)->ns);
}

int memsess_req_is_of(const memsess_req_t *req, const request_rec *r)
{
    return memsess_req_enabled(r) && !strcmp(req->ns, memsess_srv_conf(req->top->server)->ns)
           && !strcmp(req->conf->cookie->name, memsess_dir_conf(r)->cookie->name);
}

memsess_req_t *memsess_req_labelled(request_rec *r, const memsess_dir_conf_t *conf,
                                    const char *label)
{
    memsess_top_t *top = memsess_own(r, 1)->top;
    /* A configured namespace has no control characters, so it never equals this one. */
    const char *ns = apr_pstrcat(top->p, memsess_srv_conf(top->server)->ns, "\n", label, NULL);
    const char *name = conf->cookie->name;
    const memsess_req_t *req;

    for (req = top->sessions; req; req = req->next) {
        if (!strcmp(req->conf->cookie->name, name) && strcmp(req->ns, ns)) {
            return NULL;
        }
    }
    return memsess_req_enabled(r) && !strcmp(memsess_dir_conf(r)->cookie->name, name)
               ? NULL : find_or_make(r, conf, ns);
}

/* -- Reading ---------------------------------------------------------------------------------- */

/* Keeps the pool's answer for later requests: those whose cookies name this revision. */
static void cache_answer(const memsess_req_t *req, memsess_cache_t *cache, apr_pool_t *p)
{
    if (req->found == MEMSESS_FOUND && req->session->revision == req->sent.revision) {
        memsess_cache_put(cache, &req->key, req->session, req->read_at, p);
    }
    else if (req->found == MEMSESS_MISSING || req->found == MEMSESS_ENDED) {
        memsess_cache_drop(cache, &req->key);
    }
}

/* The newest revision that the session is known to have had, by its cookie or this member's own
 * copy; 0: none. */
static apr_uint64_t revision_known(const memsess_req_t *req, const memsess_key_t *key, unsigned at)
{
    memsess_cache_t *cache = memsess_srv_conf(req->top->server)->cache;
    apr_uint64_t said = req->all_sent[at].revision;
    apr_uint64_t had = cache ? memsess_cache_known(cache, key) : 0;

    return said > had ? said : had;
}

/* Reads in one round trip: the session, the epoch of the user that the cookie hints at, and the
 * sessions of the other cookies, as long as any of them may count. */
static void read_at_once(memsess_req_t *req, memsess_store_t *store, apr_pool_t *p)
{
    memsess_reading_t alone = {.key = req->key};
    memsess_reading_t *own = req->ahead ? &req->ahead[req->at] : &alone;
    memsess_reading_t *readings[MEMSESS_COOKIES_MAX + 1];
    const char *user = req->all_sent[req->at].user;
    unsigned n = 0, i;

    if (!own->read_at) {
        do {
            readings[n] = &own[n];
            /* If the id is not the cookie's, its revision may differ, too. */
            own[n].least = req->id_is_old ? 0 : revision_known(req, &own[n].key, req->at + n);
            n++;
        } while (req->ahead && req->at + n < req->n_sent);
        if (*user && memsess_epoch_key(&req->epoch.key, req->ns, user) == APR_SUCCESS) {
            readings[n++] = &req->epoch;
            req->epoch_of = user;
        }
        memsess_store_read_all(store, readings, n, p);
        for (i = 0; i < n; i++) {
            memsess_repair_see(req->top, readings[i]);
        }
    }
    memsess_req_take(req, own);
}

/* Reads the epoch of the session's user, who may be another one than the cookie hints at. */
static void read_epoch(memsess_req_t *req, memsess_store_t *store, apr_pool_t *p)
{
    const char *user = req->session->login.user;

    if (!req->epoch_of || strcmp(user, req->epoch_of)) {
        req->epoch.found = MEMSESS_UNAVAILABLE;
        if (memsess_epoch_key(&req->epoch.key, req->ns, user) == APR_SUCCESS) {
            memsess_store_read(store, &req->epoch, p);
            memsess_repair_see(req->top, &req->epoch);
            req->epoch_of = user;
        }
    }
}

apr_time_t memsess_req_login_age(const memsess_req_t *req)
{
    apr_time_t age = memsess_clock_wall() - req->session->login.at;

    return age < 0 ? 0 : apr_time_sec(age);
}

const memsess_session_t *memsess_req_user_record(memsess_req_t *req)
{
    const memsess_srv_conf_t *conf = memsess_srv_conf(req->top->server);

    if (!conf->user_sessions || !req->session->login.user[0]) {
        return NULL;
    }
    /* The local cache has no users' records, so this asks the pool. */
    read_epoch(req, conf->store, req->top->p);
    return req->epoch.found == MEMSESS_FOUND ? req->epoch.session : NULL;
}

/* Reads the session from the pool; comes: the request has just come, and is not under way. */
static void read_pool(memsess_req_t *req, memsess_top_t *top, int comes)
{
    const memsess_srv_conf_t *conf = memsess_srv_conf(top->server);

    req->is_cached = 0;
    req->read_at = memsess_clock_steady();
    read_at_once(req, conf->store, top->p);
    if (req->found == MEMSESS_ENDED && conf->cache) {
        memsess_cache_drop(conf->cache, &req->key);
    }
    memsess_renew_follow(req, conf->store, comes, top->p);
    if (req->found == MEMSESS_FOUND && req->session->login.user[0]) {
        read_epoch(req, conf->store, top->p);
        req->found = memsess_epoch_judge(req->session, &req->epoch);
    }
    MEMSESS_TRACE(top->r, "session %s: %s in the pool, revision %" APR_UINT64_T_FMT,
                  memsess_key_log(&req->key, top->p), found_names[req->found],
                  req->session ? req->session->revision : 0);
    if (conf->cache && !req->id_is_old) {
        cache_answer(req, conf->cache, top->p);
    }
}

void memsess_req_read_pool(memsess_req_t *req, memsess_top_t *top)
{
    read_pool(req, top, 0);
}

/* Reads the session that one of the cookies leads to. */
static void read_sent(memsess_req_t *req, unsigned at, memsess_top_t *top)
{
    const memsess_srv_conf_t *conf = memsess_srv_conf(top->server);

    req->at = at;
    req->sent = req->all_sent[at];
    req->session = NULL;
    req->id_is_old = 0;
    req->found = MEMSESS_UNAVAILABLE;
    if (!conf->store || memsess_key_make(&req->key, req->ns, req->sent.id) != APR_SUCCESS) {
        return;
    }
    memcpy(req->id, req->sent.id, sizeof(req->id));
    req->is_cached = conf->cache && req->sent.revision
                     && memsess_cache_get(conf->cache, &req->key, req->sent.revision,
                                          &req->session, &req->read_at, top->p)
                     && req->session;
    if (conf->cache) {
        memsess_count(req->is_cached ? MEMSESS_N_CACHE_HITS : MEMSESS_N_CACHE_MISSES);
    }
    if (req->is_cached) {
        req->found = MEMSESS_FOUND;
        req->facts = (memsess_facts_t){0};
        MEMSESS_TRACE(top->r, "session %s: in the local cache, revision %" APR_UINT64_T_FMT,
                      memsess_key_log(&req->key, top->p), req->session->revision);
    }
    else {
        read_pool(req, top, 1);
    }
}

/* A client that is turned away at once can come again at once, so not each time is logged. */
static void log_no_lock(const memsess_req_t *req)
{
    static volatile apr_uint64_t logged_at;

    if (req->why != MEMSESS_CROWDED
        || memsess_due(&logged_at, memsess_clock_steady(), apr_time_from_sec(1))) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, req->top->server, "MemSess: no lock: %s",
                     memsess_req_why(req));
    }
}

/* Lets one request of a session run at a time. What was read before the lock may be old then; and
 * if the session goes on under another id, requests with that id take another lock. */
static void lock_session(memsess_req_t *req, const memsess_dir_conf_t *conf, memsess_top_t *top)
{
    memsess_store_t *store = memsess_srv_conf(top->server)->store;
    apr_time_t give_up = memsess_clock_steady() + conf->lock_wait;
    memsess_key_t locked;
    apr_status_t rv;

    for (;;) {
        locked = req->key;
        rv = memsess_lock_take(&req->lock, store, &locked, req->session,
                               give_up - memsess_clock_steady(), top->p);
        if (rv != APR_SUCCESS) {
            break;
        }
        memsess_req_read_pool(req, top);
        if (req->found != MEMSESS_FOUND
            || !memcmp(locked.digest, req->key.digest, sizeof(locked.digest))) {
            return;
        }
        memsess_lock_free(req->lock);
    }
    req->found = MEMSESS_UNAVAILABLE;
    req->why = rv;
    log_no_lock(req);
}

void memsess_req_unlock(memsess_top_t *top)
{
    memsess_req_t *req;

    for (req = top->sessions; req; req = req->next) {
        if (req->lock) {
            memsess_lock_free(req->lock);
        }
    }
}

static int is_over(const memsess_session_t *session, const memsess_dir_conf_t *conf,
                   apr_time_t now)
{
    if (session->fixed || session->lasts) {
        return now - session->used >= session->idle;
    }
    return now - session->used > conf->idle
           || (conf->absolute && now - session->created > conf->absolute);
}

static int is_bound_to_client(const memsess_req_t *req, const memsess_dir_conf_t *conf)
{
    unsigned bound = (unsigned)conf->bind & req->session->binding.to;
    memsess_bind_t to;

    for (to = 0; to < MEMSESS_BINDS; to++) {
        if ((bound & 1U << to)
            && !memsess_bind_fits(req->session, to, memsess_req_client(req, to))) {
            return 0;
        }
    }
    return 1;
}

static memsess_state_t judge_found(const memsess_req_t *req, const memsess_dir_conf_t *conf)
{
    if (!is_bound_to_client(req, conf)) {
        return MEMSESS_STATE_INVALID;
    }
    return is_over(req->session, conf, req->asked_at) ? MEMSESS_STATE_EXPIRED
                                                      : MEMSESS_STATE_ACTIVE;
}

/* A cached copy may look expired because another member has re-dated the session. */
static void renew_cached(memsess_req_t *req, const memsess_dir_conf_t *conf, memsess_top_t *top)
{
    if (req->is_cached && req->session && is_over(req->session, conf, req->asked_at)) {
        memsess_req_read_pool(req, top);
    }
}

/* Whether the cookie at hand counts: it leads to a live session, or nobody can tell. In the second
 * case it may be the right one, so the cookies behind it do not count. */
static int is_chosen(memsess_req_t *req, const memsess_dir_conf_t *conf, memsess_top_t *top)
{
    renew_cached(req, conf, top);
    return req->found == MEMSESS_UNAVAILABLE
           || (req->found == MEMSESS_FOUND && judge_found(req, conf) == MEMSESS_STATE_ACTIVE);
}

static memsess_over_t *add_over(const memsess_req_t *req, memsess_over_t *next)
{
    memsess_over_t *over = apr_pcalloc(req->top->p, sizeof(*over));

    memsess_renew_see_over(req, over);
    over->next = next;
    return over;
}

/* Chooses the first of several cookies that leads to a live session, or else the first. */
static void choose_sent(memsess_req_t *req, const memsess_dir_conf_t *conf, memsess_top_t *top)
{
    memsess_over_t *over = NULL;
    unsigned i;

    req->ahead = apr_pcalloc(top->p, sizeof(*req->ahead) * req->n_sent);
    for (i = 0; i < req->n_sent; i++) {
        if (memsess_key_make(&req->ahead[i].key, req->ns, req->all_sent[i].id) != APR_SUCCESS) {
            return;
        }
    }
    for (i = 0; i < req->n_sent; i++) {
        read_sent(req, i, top);
        if (is_chosen(req, conf, top)) {
            break;
        }
        if (req->found == MEMSESS_ENDED) {
            over = add_over(req, over);
        }
    }
    if (i == req->n_sent) {
        read_sent(req, 0, top);
        req->over = over;
    }
    req->ahead = NULL;
    MEMSESS_TRACE(top->r, "of %u cookies, number %u is used", req->n_sent, req->at + 1);
}

static void read_once(memsess_req_t *req, const memsess_dir_conf_t *conf, memsess_top_t *top)
{
    req->was_read = 1;
    req->asked_at = memsess_clock_wall();
    req->found = MEMSESS_UNAVAILABLE;
    if (req->n_sent > 1) {
        choose_sent(req, conf, top);
    }
    else {
        read_sent(req, 0, top);
    }
}

static memsess_state_t judge(memsess_req_t *req, const memsess_dir_conf_t *conf,
                             memsess_top_t *top)
{
    /* If the configured secret is missing, nobody can tell whether the cookie is valid. */
    if (req->cookie == MEMSESS_COOKIE_INVALID && !memsess_srv_conf(top->server)->store) {
        return MEMSESS_STATE_UNAVAILABLE;
    }
    if (req->cookie != MEMSESS_COOKIE_OK) {
        return req->cookie == MEMSESS_COOKIE_NONE ? MEMSESS_STATE_NONE : MEMSESS_STATE_INVALID;
    }
    if (!req->was_read) {
        read_once(req, conf, top);
    }
    renew_cached(req, conf, top);
    if (conf->lock == MEMSESS_LOCK_REQUEST && req->found == MEMSESS_FOUND && !req->lock
        && !top->responded && is_bound_to_client(req, conf)) {
        lock_session(req, conf, top);
    }
    switch (req->found) {
    case MEMSESS_FOUND:
        return judge_found(req, conf);
    case MEMSESS_UNAVAILABLE:
        return MEMSESS_STATE_UNAVAILABLE;
    default:
        return MEMSESS_STATE_UNKNOWN;
    }
}

static void log_stranger(request_rec *r)
{
    static volatile apr_uint64_t logged_at;

    if (memsess_due(&logged_at, memsess_clock_steady(), apr_time_from_sec(1))) {
        ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, r, "MemSess: a session was not shown to a "
                      "client other than its own (MemSessBind)");
    }
}

/* Counts the state, once for each request. Without a secret, the cookie of a session that is gone
 * looks like one that a client made up, so it counts as both. */
static void count_state(const memsess_req_t *req, memsess_state_t state)
{
    switch (state) {
    case MEMSESS_STATE_ACTIVE:
        memsess_count(MEMSESS_N_LOADED);
        break;
    case MEMSESS_STATE_UNKNOWN:
        memsess_count(MEMSESS_N_MISSED);
        if (!memsess_srv_conf(req->top->server)->secrets) {
            memsess_count(MEMSESS_N_REJECTED);
        }
        break;
    case MEMSESS_STATE_EXPIRED:
        memsess_count(MEMSESS_N_EXPIRED);
        break;
    case MEMSESS_STATE_INVALID:
        memsess_count(MEMSESS_N_REJECTED);
        break;
    case MEMSESS_STATE_UNAVAILABLE:
        /* A request that waited in vain is counted among the locks. */
        if (req->why != MEMSESS_BUSY && req->why != MEMSESS_CROWDED) {
            memsess_count(MEMSESS_N_UNAVAILABLE);
        }
        break;
    default:
        break;
    }
}

int memsess_req_is_early(const memsess_req_t *req, const memsess_dir_conf_t *conf,
                         memsess_state_t state)
{
    return req->top->early && state == MEMSESS_STATE_INVALID && req->cookie == MEMSESS_COOKIE_OK
           && conf->bind & 1 << MEMSESS_BIND_TLS;
}

memsess_state_t memsess_req_state(memsess_req_t *req, const memsess_dir_conf_t *conf,
                                  memsess_top_t *top)
{
    memsess_state_t state = judge(req, conf, top);

    if (!req->counted && !memsess_req_is_early(req, conf, state)) {
        req->counted = 1;
        count_state(req, state);
        if (state == MEMSESS_STATE_INVALID && req->cookie == MEMSESS_COOKIE_OK) {
            log_stranger(top->r);
        }
        MEMSESS_TRACE(top->r, "the state is %s", memsess_state_names[state]);
    }
    return state;
}

/* Whether the same cookie may get another answer: its session is live; or servers come back, its
 * own client sends it, or a section with longer time-outs has used it. A cookie that is certainly
 * of no use stays so. */
static int may_change(const memsess_req_t *req, memsess_state_t state)
{
    switch (state) {
    case MEMSESS_STATE_NONE:
        return 0;
    case MEMSESS_STATE_INVALID:
        return req->cookie == MEMSESS_COOKIE_OK;
    case MEMSESS_STATE_UNKNOWN:
        return req->found == MEMSESS_UNSEEN;
    default:
        return 1;
    }
}

void memsess_top_depend(const memsess_req_t *req, memsess_state_t state)
{
    req->top->exposed = 1;
    req->top->exposed_own |= may_change(req, state);
}

memsess_state_t memsess_req_depend(memsess_req_t *req, request_rec *r)
{
    memsess_top_t *top = memsess_own(r, 1)->top;
    memsess_state_t state = memsess_req_state(req, memsess_dir_conf(r), top);

    memsess_top_depend(req, state);
    return state;
}

int memsess_req_refuse(request_rec *r, memsess_state_t state)
{
    /* The error document of a denial is not denied itself. */
    if (state != MEMSESS_STATE_UNAVAILABLE || memsess_dir_conf(r)->on_error != MEMSESS_DENY
        || ap_is_HTTP_ERROR(r->status)) {
        return OK;
    }
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "MemSess: denied (MemSessOnError deny): %s",
                  memsess_req_why(memsess_req(r)));
    return memsess_req_deny(r);
}

const char *memsess_req_why(const memsess_req_t *req)
{
    char *buf = apr_palloc(req->top->p, MEMSESS_WORDS_LEN);

    return memsess_error_words(req->why, memsess_srv_conf(req->top->server)->timeout, buf);
}

int memsess_req_deny(request_rec *r)
{
    apr_interval_time_t retry = memsess_srv_conf(r->server)->retry;

    apr_table_setn(r->err_headers_out, "Retry-After",
                   apr_psprintf(r->pool, "%" APR_TIME_T_FMT,
                                apr_time_sec(retry + APR_USEC_PER_SEC - 1)));
    return HTTP_SERVICE_UNAVAILABLE;
}
