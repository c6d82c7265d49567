/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "memsess_req.h"

#include <string.h>

#include "apr_atomic.h"
#include "apr_strings.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "memsess_epoch.h"
#include "memsess_record.h"

extern module AP_MODULE_DECLARE_DATA memsess_module;
APLOG_USE_MODULE(memsess);

const char *const memsess_state_names[] = {"none",    "active",  "unknown",
                                           "expired", "invalid", "unavailable"};

static memsess_top_t *top_make(request_rec *r)
{
    memsess_top_t *top = apr_pcalloc(r->pool, sizeof(*top));

    top->r = r;
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

/* One step of a request, for LogLevel memsess:trace1; the rest is not evaluated below that. */
#define TRACE(r, ...) ap_log_rerror(APLOG_MARK, APLOG_TRACE1, 0, r, "MemSess: " __VA_ARGS__)

static const char *const cookie_names[] = {"none", "invalid", "valid"};
static const char *const found_names[] = {"found", "missing", "ended", "unavailable"};

int memsess_req_enabled(const request_rec *r)
{
    return memsess_dir_conf(r)->enabled && r->proxyreq != PROXYREQ_PROXY;
}

/* As it is now: other modules may change headers later. */
static void see_client(memsess_req_t *req, const request_rec *r)
{
    const char *agent = apr_table_get(r->headers_in, "User-Agent");

    req->client[MEMSESS_BIND_UA] = agent ? agent : "";
    req->client[MEMSESS_BIND_IP] = r->useragent_ip ? r->useragent_ip : "";
}

/* The session of that cookie, where its keys are in that namespace. */
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
        req->cookie = memsess_cookie_find(apr_table_get(r->headers_in, "Cookie"), name,
                                          memsess_srv_conf(top->server)->secrets, &req->sent);
        see_client(req, top->r);
        TRACE(top->r, "cookie %s: %s", name, cookie_names[req->cookie]);
    }
    req->conf = conf;
    return req;
}

memsess_req_t *memsess_req(request_rec *r)
{
    memsess_top_t *top = memsess_own(r, 1)->top;
    const memsess_dir_conf_t *conf = memsess_dir_conf(r);

    /* A subrequest's merged section goes away with it. */
    if (r->main) {
        conf = apr_pmemdup(top->p, conf, sizeof(*conf));
    }
    return find_or_make(r, conf, memsess_srv_conf(top->server)->ns);
}

memsess_req_t *memsess_req_labelled(request_rec *r, const memsess_dir_conf_t *conf,
                                    const char *label)
{
    memsess_top_t *top = memsess_own(r, 1)->top;
    /* A namespace that is configured has no control characters. */
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

/* How long requests that were sent with the id before still find the session (MemSessRenew). */
#define OLD_ID_LIVES apr_time_from_sec(10)

/* So many times is a session looked for that went on under another id in that time. */
#define MOVES_MAX 16

/* -- Reading ---------------------------------------------------------------------------------- */

/* Keeps what the pool said for requests to come: those whose cookies name this revision. */
static void cache_answer(const memsess_req_t *req, memsess_cache_t *cache, apr_pool_t *p)
{
    if (req->found == MEMSESS_FOUND && req->session->revision == req->sent.revision) {
        memsess_cache_put(cache, &req->key, req->session, req->read_at, p);
    }
    else if (req->found == MEMSESS_MISSING || req->found == MEMSESS_ENDED) {
        memsess_cache_drop(cache, &req->key);
    }
}

/* By the user that the cookie hints at, both are read in one round trip. */
static void read_with_epoch(memsess_req_t *req, memsess_store_t *store, apr_pool_t *p)
{
    memsess_wish_t wish = {req->key, 0, MEMSESS_UNAVAILABLE, NULL};

    memsess_store_read_both(store, &wish, &req->epoch, p);
    req->found = wish.found;
    req->session = wish.session;
}

/* Whether all sessions of the user were ended. What counts is the user that the session has. */
static void judge_login(memsess_req_t *req, memsess_store_t *store, apr_pool_t *p)
{
    const char *user = req->session->login.user;

    if (strcmp(user, req->sent.user)) {
        if (memsess_epoch_key(&req->epoch.key, req->ns, user) != APR_SUCCESS) {
            req->found = MEMSESS_UNAVAILABLE;
            return;
        }
        memsess_epoch_read(store, &req->epoch, p);
    }
    req->found = memsess_epoch_judge(req->session, &req->epoch);
}

/* From the pool, where the newest is. */
static void read_pool(memsess_req_t *req, memsess_top_t *top)
{
    const memsess_srv_conf_t *conf = memsess_srv_conf(top->server);
    const char *user = req->sent.user;
    int moves;

    req->is_cached = 0;
    req->read_at = apr_time_now();
    if (*user && memsess_epoch_key(&req->epoch.key, req->ns, user) == APR_SUCCESS) {
        read_with_epoch(req, conf->store, top->p);
    }
    else {
        req->found = memsess_store_read(conf->store, &req->key, &req->session, top->p);
    }
    /* Renewed while this request was under way: it goes on with the session where that is now. */
    for (moves = 0; req->found == MEMSESS_ENDED && req->session->moved && moves < MOVES_MAX
                    && req->read_at - req->session->written < OLD_ID_LIVES; moves++) {
        if (conf->cache) {
            memsess_cache_drop(conf->cache, &req->key);
        }
        req->key = req->session->moved_to;
        req->found = memsess_store_read(conf->store, &req->key, &req->session, top->p);
        req->id_is_old = 1;
    }
    if (req->found == MEMSESS_FOUND && req->session->login.user[0]) {
        judge_login(req, conf->store, top->p);
    }
    TRACE(top->r, "session %s: %s in the pool, revision %" APR_UINT64_T_FMT,
          memsess_key_log(&req->key, top->p), found_names[req->found],
          req->session ? req->session->revision : 0);
    if (conf->cache && !req->id_is_old) {
        cache_answer(req, conf->cache, top->p);
    }
}

static void read_once(memsess_req_t *req, memsess_top_t *top)
{
    const memsess_srv_conf_t *conf = memsess_srv_conf(top->server);

    req->was_read = 1;
    req->asked_at = apr_time_now();
    req->found = MEMSESS_UNAVAILABLE;
    if (!conf->store || memsess_key_make(&req->key, req->ns, req->sent.id) != APR_SUCCESS) {
        return;
    }
    req->is_cached = conf->cache && req->sent.revision
                     && memsess_cache_get(conf->cache, &req->key, req->sent.revision,
                                          &req->session, &req->read_at, top->p);
    if (conf->cache) {
        memsess_count(req->is_cached ? MEMSESS_N_CACHE_HITS : MEMSESS_N_CACHE_MISSES);
    }
    if (req->is_cached) {
        req->found = MEMSESS_FOUND;
        TRACE(top->r, "session %s: in the local cache, revision %" APR_UINT64_T_FMT,
              memsess_key_log(&req->key, top->p), req->session->revision);
    }
    else {
        read_pool(req, top);
    }
}

/* One request of a session at a time. What was read before the lock may be old by now; and where
 * the session goes on under another id, those who come with that have another lock. */
static void lock_session(memsess_req_t *req, const memsess_dir_conf_t *conf, memsess_top_t *top)
{
    memsess_store_t *store = memsess_srv_conf(top->server)->store;
    apr_time_t give_up = apr_time_now() + conf->lock_wait;
    memsess_key_t locked;
    apr_status_t rv;

    for (;;) {
        locked = req->key;
        rv = memsess_lock_take(&req->lock, store, &locked, req->session, give_up - apr_time_now(),
                               top->p);
        if (rv != APR_SUCCESS) {
            break;
        }
        read_pool(req, top);
        if (req->found != MEMSESS_FOUND
            || !memcmp(locked.digest, req->key.digest, sizeof(locked.digest))) {
            return;
        }
        memsess_lock_free(req->lock);
    }
    ap_log_error(APLOG_MARK, APLOG_ERR, rv, top->server, "MemSess: no lock: %s",
                 rv == MEMSESS_BUSY ? "another request held the session for longer than "
                                      "MemSessLockWait" : "the store is unavailable");
    req->found = MEMSESS_UNAVAILABLE;
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
    if (session->fixed) {
        return now - session->used >= session->idle;
    }
    return now - session->used > conf->idle
           || (conf->absolute && now - session->created > conf->absolute);
}

static int is_bound_to_client(const memsess_req_t *req, const memsess_dir_conf_t *conf)
{
    memsess_bind_t to;

    for (to = 0; to < MEMSESS_BINDS; to++) {
        if ((conf->bind & 1 << to) && !memsess_bind_fits(req->session, to, req->client[to])) {
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

static memsess_state_t judge(memsess_req_t *req, const memsess_dir_conf_t *conf,
                             memsess_top_t *top)
{
    if (req->cookie != MEMSESS_COOKIE_OK) {
        return req->cookie == MEMSESS_COOKIE_NONE ? MEMSESS_STATE_NONE : MEMSESS_STATE_INVALID;
    }
    if (!req->was_read) {
        read_once(req, top);
    }
    /* Whoever re-dated it may not have been on this member. */
    if (req->is_cached && is_over(req->session, conf, req->asked_at)) {
        read_pool(req, top);
    }
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

/* At most one line a second. */
static void log_stranger(request_rec *r)
{
    static volatile apr_uint32_t said_at;
    apr_uint32_t now = (apr_uint32_t)apr_time_sec(apr_time_now());

    if (apr_atomic_xchg32(&said_at, now) != now) {
        ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, r, "MemSess: a session was not shown to a "
                      "client other than its own (MemSessBind)");
    }
}

/* Once for each request. */
static void count_state(memsess_state_t state)
{
    switch (state) {
    case MEMSESS_STATE_ACTIVE:
        memsess_count(MEMSESS_N_LOADED);
        break;
    case MEMSESS_STATE_UNKNOWN:
        memsess_count(MEMSESS_N_MISSED);
        memsess_count(MEMSESS_N_REJECTED);
        break;
    case MEMSESS_STATE_EXPIRED:
        memsess_count(MEMSESS_N_EXPIRED);
        break;
    case MEMSESS_STATE_INVALID:
        memsess_count(MEMSESS_N_REJECTED);
        break;
    case MEMSESS_STATE_UNAVAILABLE:
        memsess_count(MEMSESS_N_UNAVAILABLE);
        break;
    default:
        break;
    }
}

memsess_state_t memsess_req_state(memsess_req_t *req, const memsess_dir_conf_t *conf,
                                  memsess_top_t *top)
{
    memsess_state_t state = judge(req, conf, top);

    if (!req->counted) {
        req->counted = 1;
        count_state(state);
        if (state == MEMSESS_STATE_INVALID && req->cookie == MEMSESS_COOKIE_OK) {
            log_stranger(top->r);
        }
        TRACE(top->r, "the state is %s", memsess_state_names[state]);
    }
    return state;
}

memsess_state_t memsess_req_depend(memsess_req_t *req, request_rec *r)
{
    memsess_top_t *top = memsess_own(r, 1)->top;
    memsess_state_t state = memsess_req_state(req, memsess_dir_conf(r), top);

    top->exposed = 1;
    top->exposed_active |= state == MEMSESS_STATE_ACTIVE;
    return state;
}

int memsess_req_refuse(request_rec *r, memsess_state_t state)
{
    /* Not again for the error document of that denial. */
    if (state != MEMSESS_STATE_UNAVAILABLE || memsess_dir_conf(r)->on_error != MEMSESS_DENY
        || ap_is_HTTP_ERROR(r->status)) {
        return OK;
    }
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "MemSess: denied, since the store is unavailable "
                  "(MemSessOnError deny)");
    return memsess_req_deny(r);
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
    const memsess_changes_t *changes; /* NULL: re-date only */
    request_rec *r;
    memsess_top_t *top;
    memsess_store_t *store;
    apr_time_t now;
    char id[MEMSESS_ID_LEN + 1]; /* a fresh one, where the session gets one */
    memsess_key_t key;           /* of that */
    const memsess_session_t *kept; /* the session as it goes on, under whichever id; or NULL */
    const char *error;           /* why the changes cannot be made */
    int merged;                  /* upon somebody else's */
    memsess_login_t login;       /* of the user who logs in, once it is known */
} commit_t;

static memsess_cache_t *cache_of(const commit_t *c)
{
    return memsess_srv_conf(c->top->server)->cache;
}

/* What this member's next request of the session is to see. */
static void cache_commit(const commit_t *c, apr_status_t rv)
{
    memsess_cache_t *cache = cache_of(c);

    if (cache && (rv != APR_SUCCESS || c->id[0] || !c->kept)) {
        memsess_cache_drop(cache, &c->req->key);
    }
    if (cache && rv == APR_SUCCESS && c->kept) {
        memsess_cache_put(cache, c->id[0] ? &c->key : &c->req->key, c->kept, c->now, c->r->pool);
    }
}

/* Whose the session is by now. */
static const char *user_now(const commit_t *c)
{
    return c->kept ? c->kept->login.user : c->req->session->login.user;
}

static void send_cookie(commit_t *c, const char *id)
{
    int https = !strcmp(ap_http_scheme(c->r), "https");
    memsess_cookie_value_t value = {"", "", c->req->sent.revision, 0};
    const char *cookie;

    if (c->kept) {
        value.revision = cache_of(c) ? c->kept->revision : 0;
    }
    if (id) {
        apr_cpystrn(value.id, id, sizeof(value.id));
        apr_cpystrn(value.user, user_now(c), sizeof(value.user));
    }
    cookie = memsess_cookie_format(c->conf->cookie, id ? &value : NULL,
                                   memsess_srv_conf(c->top->server)->secrets, https, c->r->pool);
    if (!cookie) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, c->r, "MemSess: the cookie cannot be signed");
        return;
    }
    TRACE(c->r, "cookie %s: %s", c->conf->cookie->name, id ? "set" : "cleared");
    apr_table_addn(c->r->err_headers_out, "Set-Cookie", cookie);
    c->top->cookie_set = 1;
}

static void mark_used(const commit_t *c, memsess_session_t *session)
{
    if (c->changes && c->changes->expire) {
        session->fixed = c->changes->ends != 0;
        session->idle = session->fixed && c->changes->ends > c->now ? c->changes->ends - c->now : 0;
        session->used = c->now;
    }
    if (session->fixed) {
        return;
    }
    session->used = c->now;
    if (session->idle < c->conf->idle) {
        session->idle = c->conf->idle;
    }
}

/* Where an older secret signed the cookie, or it hints at another user than the session has. */
static int is_cookie_aged(const commit_t *c)
{
    return (c->req->sent.aged || strcmp(c->req->sent.user, user_now(c))) && !c->req->id_is_old;
}

/* After a write, since whoever gets an error keeps the cookie that he had: the new id, or the same
 * once more where the cookie has an age of its own. */
static void keep_cookie(commit_t *c)
{
    if (c->id[0]) {
        send_cookie(c, c->id);
    }
    else if (((c->conf->cookie->max_age || cache_of(c)) && !c->req->id_is_old)
             || is_cookie_aged(c)) {
        send_cookie(c, c->req->sent.id);
    }
}

/* The session as the changes make it of the old one, or NULL where there is to be none. */
static memsess_session_t *build(commit_t *c, const memsess_session_t *old)
{
    memsess_session_t *session = NULL, *fresh;
    apr_size_t size;

    if (!old || c->changes->destroy) {
        if (!memsess_changes_begin_session(c->changes)) {
            return NULL;
        }
        if (memsess_session_make(&fresh, c->now, c->r->pool) != APR_SUCCESS) {
            c->error = "no random numbers can be had for a new session";
            return NULL;
        }
        old = fresh;
    }
    c->error = memsess_changes_apply(c->changes, old, &session, c->r->pool);
    size = c->error ? 0 : memsess_record_size(session);
    if (size > (apr_size_t)c->conf->max_size) {
        c->error = apr_psprintf(c->r->pool, "the session would take %" APR_SIZE_T_FMT " bytes, "
                                "MemSessMaxSize allows %" APR_INT64_T_FMT, size,
                                c->conf->max_size);
    }
    return session;
}

/* Binds a session to the user who logs in by it, or to nobody any more. */
static apr_status_t bind_login(commit_t *c, memsess_session_t *session)
{
    const char *attr = c->conf->user_attr;
    char user[MEMSESS_USER_LEN + 1];
    memsess_key_t key;
    const char *name;
    apr_status_t rv;

    if (session->login.user[0] && !(c->changes && memsess_changes_touch(c->changes, attr))) {
        return APR_SUCCESS;
    }
    name = memsess_session_user(session, attr);
    if (!name) {
        session->login.user[0] = '\0';
        return APR_SUCCESS;
    }
    rv = memsess_user_make(user, c->req->ns, name);
    /* The same again stays in its epoch: all sessions may have been ended since it was read. */
    if (rv != APR_SUCCESS || !strcmp(user, session->login.user)) {
        return rv;
    }
    if (strcmp(user, c->login.user)) {
        rv = memsess_epoch_key(&key, c->req->ns, user);
        if (rv == APR_SUCCESS) {
            mark_used(c, session);
            rv = memsess_epoch_get(c->login.epoch, c->store, &key, session->idle,
                                   c->conf->lock_wait, c->r->pool);
        }
        if (rv != APR_SUCCESS) {
            return rv;
        }
        memcpy(c->login.user, user, sizeof(user));
    }
    session->login = c->login;
    return APR_SUCCESS;
}

/* Binds a session to the client as far as the section says and it is not bound yet. */
static apr_status_t bind_client(const commit_t *c, memsess_session_t *session)
{
    unsigned missing = (unsigned)c->conf->bind & ~session->binding.to;
    apr_status_t rv = APR_SUCCESS;
    memsess_bind_t to;

    for (to = 0; to < MEMSESS_BINDS && rv == APR_SUCCESS; to++) {
        if (missing & 1U << to) {
            rv = memsess_bind(session, to, c->req->client[to]);
        }
    }
    return rv;
}

static apr_status_t bind_session(commit_t *c, memsess_session_t *session)
{
    apr_status_t rv = bind_client(c, session);

    return rv == APR_SUCCESS ? bind_login(c, session) : rv;
}

/* Writes a session under an id that nobody knows yet. */
static apr_status_t write_fresh(commit_t *c, memsess_session_t *session)
{
    apr_status_t rv;

    mark_used(c, session);
    session->renewed = c->now;
    if ((rv = memsess_id_make(c->id)) == APR_SUCCESS
        && (rv = memsess_key_make(&c->key, c->req->ns, c->id)) == APR_SUCCESS) {
        rv = memsess_store_write(c->store, &c->key, session, c->r->pool);
    }
    return rv;
}

/* Whether MemSessRenew wants another id by now. Not twice: who came with the old one has no way to
 * tell the client which one is newer. */
static int renewal_due(const commit_t *c, const memsess_session_t *session)
{
    return c->conf->renew && !c->req->id_is_old && c->now - session->renewed >= c->conf->renew;
}

/* What the newest revision of the session becomes: the changed session, or a tombstone, with the
 * changed session under a fresh id already written. */
static apr_status_t next_revision(void *baton, const memsess_session_t *newest,
                                  memsess_session_t **next, apr_pool_t *p)
{
    commit_t *c = baton;
    int ends = c->changes && (c->changes->destroy || c->changes->renew);
    int moves = !ends && renewal_due(c, newest);
    /* With MemSessLock none the last writer wins: it changes what it has read. */
    memsess_session_t *session =
        !c->changes ? apr_pmemdup(p, newest, sizeof(*newest))
                    : build(c, c->conf->lock == MEMSESS_LOCK_NONE ? c->req->session : newest);
    apr_status_t rv = APR_SUCCESS;

    c->merged = newest->revision > c->req->session->revision;
    c->id[0] = '\0';
    if (c->error) {
        return APR_EINVAL;
    }
    if (session && (rv = bind_session(c, session)) != APR_SUCCESS) {
        return rv;
    }
    c->kept = session;
    if (!ends && !moves) {
        mark_used(c, session);
        *next = session;
        return APR_SUCCESS;
    }
    if (session) {
        rv = write_fresh(c, session);
    }
    *next = memsess_tombstone(newest, moves ? &c->key : NULL, p);
    return rv;
}

/* Before a session is written: its user's epoch is to outlive it. Where the cache had the session,
 * nobody has looked yet whether the user was logged out everywhere: MEMSESS_GONE. */
static apr_status_t keep_epoch(const commit_t *c)
{
    const memsess_session_t *session = c->req->session;
    apr_interval_time_t idle = session->idle > c->conf->idle ? session->idle : c->conf->idle;
    memsess_wish_t *epoch = &c->req->epoch;
    apr_status_t rv;

    if (!session->login.user[0] || (c->changes && c->changes->destroy)) {
        return APR_SUCCESS;
    }
    if (c->req->is_cached) {
        rv = memsess_epoch_key(&epoch->key, c->req->ns, session->login.user);
        if (rv != APR_SUCCESS) {
            return rv;
        }
        memsess_epoch_read(c->store, epoch, c->r->pool);
        if (memsess_epoch_judge(session, epoch) != MEMSESS_FOUND) {
            memsess_cache_drop(cache_of(c), &c->req->key);
            return epoch->found == MEMSESS_UNAVAILABLE ? MEMSESS_DOWN : MEMSESS_GONE;
        }
    }
    rv = memsess_epoch_keep(c->store, epoch, idle, c->r->pool);
    if (rv != APR_SUCCESS && rv != MEMSESS_BUSY) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, rv, c->r, "MemSess: a user's epoch could not be "
                      "re-dated");
    }
    return APR_SUCCESS;
}

static apr_status_t change_session(commit_t *c, apr_interval_time_t wait)
{
    apr_status_t rv = keep_epoch(c);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    /* The last writer wins over what he has seen, but that is not to be a copy of our own. */
    if (c->conf->lock == MEMSESS_LOCK_NONE && c->req->is_cached) {
        read_pool(c->req, c->top);
        if (c->req->found != MEMSESS_FOUND) {
            return c->req->found == MEMSESS_UNAVAILABLE ? MEMSESS_DOWN : MEMSESS_GONE;
        }
    }
    return memsess_store_commit(c->store, &c->req->key, c->req->session, c->req->read_at, wait,
                                next_revision, c, c->r->pool);
}

static apr_status_t begin_session(commit_t *c)
{
    memsess_session_t *session = build(c, NULL);
    apr_status_t rv;

    if (c->error) {
        return APR_EINVAL;
    }
    if (!session) {
        return APR_SUCCESS;
    }
    c->kept = session;
    rv = bind_session(c, session);
    return rv == APR_SUCCESS ? write_fresh(c, session) : rv;
}

/* Ends all sessions of the user, by the name that this one has. */
static apr_status_t end_all(const commit_t *c)
{
    const char *name = memsess_session_user(c->req->session, c->conf->user_attr);
    char user[MEMSESS_USER_LEN + 1];
    memsess_key_t key;
    apr_status_t rv = APR_SUCCESS;

    if (name && (rv = memsess_user_make(user, c->req->ns, name)) == APR_SUCCESS
        && (rv = memsess_epoch_key(&key, c->req->ns, user)) == APR_SUCCESS) {
        rv = memsess_epoch_change(c->store, &key, c->conf->lock_wait, c->r->pool);
    }
    return rv;
}

/* The changes could not be made: the answer is an error, or goes on without them. */
static int failed(const commit_t *c, apr_status_t rv)
{
    const char *why = "the store is unavailable";

    if (c->error) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, c->r, "MemSess: the response's changes are "
                      "refused, the session stays as it was: %s", c->error);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (rv == MEMSESS_REFUSED) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, c->r, "MemSess: changes are lost: the servers "
                      "refused to store the session, too large for them, or they are full");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (rv == MEMSESS_GONE) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, c->r, "MemSess: changes are dropped, since "
                      "the session was ended or renewed by another request meanwhile, or is lost");
        return OK;
    }
    if (rv == MEMSESS_BUSY) {
        why = "others changed the session for longer than MemSessLockWait";
    }
    else if (rv == MEMSESS_UNSURE) {
        why = "servers failed while they were written, which may have been done or not";
    }
    if (rv != MEMSESS_BUSY
        && (!c->req->was_read || c->req->found != MEMSESS_UNAVAILABLE)) {
        memsess_count(MEMSESS_N_UNAVAILABLE);
    }
    ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, c->r, "MemSess: changes are lost: %s", why);
    /* Whoever asks that all sessions end is not told that they did. */
    return c->conf->on_error == MEMSESS_DENY || c->changes->destroy_all ? memsess_req_deny(c->r)
                                                                        : OK;
}

static void count_changes(const commit_t *c, int had_session)
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

static void trace_commit(const commit_t *c, apr_status_t rv)
{
    const memsess_key_t *old = &c->req->key;

    TRACE(c->r, "session %s: %s%s, as session %s, revision %" APR_UINT64_T_FMT,
          c->req->was_read ? memsess_key_log(old, c->r->pool) : "(new)",
          rv != APR_SUCCESS ? "not committed" : c->kept ? "committed" : "ended",
          c->merged ? ", merged" : "",
          c->kept ? memsess_key_log(c->id[0] ? &c->key : old, c->r->pool) : "(none)",
          c->kept ? c->kept->revision : 0);
}

static int carry_out(commit_t *c, memsess_state_t state)
{
    int had_session = state == MEMSESS_STATE_ACTIVE;
    apr_status_t rv = had_session && c->changes->destroy_all ? end_all(c) : APR_SUCCESS;

    if (rv == APR_SUCCESS) {
        rv = had_session ? change_session(c, c->conf->lock_wait) : begin_session(c);
    }

    /* Renewed meanwhile: the changes are for the session, wherever it is. */
    if (rv == MEMSESS_GONE) {
        read_pool(c->req, c->top);
        if (c->req->found == MEMSESS_FOUND) {
            rv = change_session(c, c->conf->lock_wait);
        }
    }
    cache_commit(c, rv);
    trace_commit(c, rv);
    if (rv != APR_SUCCESS) {
        return failed(c, rv);
    }
    count_changes(c, had_session);
    if (had_session && !c->changes->destroy) {
        keep_cookie(c);
    }
    else if (c->id[0] || c->req->cookie != MEMSESS_COOKIE_NONE) {
        send_cookie(c, c->id[0] ? c->id : NULL);
    }
    return OK;
}

/* A session that was only read is re-dated now and then, and moves to a new secret; whoever is
 * writing it does that too. */
static void redate(commit_t *c)
{
    const memsess_session_t *session = c->req->session;
    int fresh = session->fixed || (c->now - session->used < memsess_conf_refresh(c->conf)
                                   && session->idle >= c->conf->idle);
    apr_status_t rv;

    if (fresh && !session->aged && !renewal_due(c, session)) {
        if (is_cookie_aged(c)) {
            send_cookie(c, c->req->sent.id);
        }
        return;
    }
    rv = change_session(c, 0);
    cache_commit(c, rv);
    trace_commit(c, rv);
    if (rv == APR_SUCCESS) {
        keep_cookie(c);
    }
    else if (rv != MEMSESS_BUSY && rv != MEMSESS_GONE) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, rv, c->r, "MemSess: a session could not be "
                      "re-dated");
    }
}

int memsess_req_commit(memsess_req_t *req, const memsess_changes_t *changes, request_rec *r)
{
    memsess_top_t *top = memsess_own(r, 1)->top;
    const memsess_srv_conf_t *srv = memsess_srv_conf(top->server);
    commit_t c = {req, req->conf, NULL, r, top, srv->store, apr_time_now(), "", {{0}, {0}}, NULL,
                  NULL, 0, {"", {0}}};
    memsess_state_t state;

    if (changes && memsess_changes_any(changes)) {
        c.changes = changes;
    }
    else if (!req->was_read && req->cookie != MEMSESS_COOKIE_INVALID) {
        return OK;
    }
    state = memsess_req_state(req, req->conf, top);
    if (c.changes) {
        return srv->store && state != MEMSESS_STATE_UNAVAILABLE ? carry_out(&c, state)
                                                                : failed(&c, MEMSESS_DOWN);
    }
    switch (state) {
    case MEMSESS_STATE_ACTIVE:
        redate(&c);
        break;
    case MEMSESS_STATE_UNKNOWN:
    case MEMSESS_STATE_EXPIRED:
        send_cookie(&c, NULL);
        break;
    case MEMSESS_STATE_INVALID:
        /* Its own client may have been away from its address for a while. */
        if (req->cookie != MEMSESS_COOKIE_OK) {
            send_cookie(&c, NULL);
        }
        break;
    default:
        break;
    }
    return OK;
}
