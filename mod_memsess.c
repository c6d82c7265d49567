/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Hooks the module into httpd, and does nothing else. */

#include <dlfcn.h>
#include <string.h>

#include "httpd.h"
#include "ap_mpm.h"
#include "apr_atomic.h"
#include "apr_lib.h"
#include "apr_strings.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "http_main.h"
#include "http_protocol.h"
#include "http_request.h"
#include "mod_status.h"
#include "util_filter.h"

#include "base/clock.h"
#include "base/log.h"
#include "http/admin.h"
#include "http/api.h"
#include "http/auth.h"
#include "http/caches.h"
#include "http/expose.h"
#include "http/interim.h"
#include "http/repair.h"
#include "http/request.h"
#include "http/status.h"
#include "http/writeback.h"
#include "memsess_conf.h"
#include "store/ring.h"
#include "store/watch.h"

APLOG_USE_MODULE(memsess);

#define OUT_FILTER "MEMSESS_OUT"
#define LAST_FILTER "MEMSESS_LAST"
#define IN_FILTER "MEMSESS_IN"

static ap_filter_rec_t *out_filter_handle, *last_filter_handle, *in_filter_handle;

/* -- Configuration and life -------------------------------------------------------------------- */

static void log_sink(memsess_log_level_t level, apr_status_t rv, const char *message)
{
    ap_log_error(APLOG_MARK, (int)level, rv, ap_server_conf, "MemSess: %s", message);
}

static int pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)plog;
    (void)ptemp;
    memsess_log_sink = log_sink;
    memsess_conf_start(pconf);
    return OK;
}

/* mod_authnz_fcgi asks a back end before any handler is chosen. */
static int has_authnz_fcgi;

/* By which mod_cache stores answers; NULL: it is not loaded. */
static ap_filter_rec_t *keeping_filter;

static int check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    (void)plog;
    has_authnz_fcgi = ap_find_linked_module("mod_authnz_fcgi.c") != NULL;
    keeping_filter = ap_get_output_filter_handle("CACHE_SAVE");
    return memsess_conf_check(s, pconf, ptemp) && memsess_auth_conf_check(s, ptemp)
               ? OK : HTTP_INTERNAL_SERVER_ERROR;
}

/* apachectl -t never calls this hook. */
static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    apr_status_t rv;

    (void)plog;
    if (!memsess_conf_settle(s, ptemp)) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    rv = memsess_conf_cache(s, pconf);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s, "MemSessLocalCache: the system does not give "
                     "that much shared memory: name a smaller size, or raise the system's limit");
    }
    return rv == APR_SUCCESS && memsess_conf_count(s, pconf) ? OK : HTTP_INTERNAL_SERVER_ERROR;
}

/* The name stays the same after a restart, and differs from that of each other httpd on this
 * machine. */
static const char *member_name(server_rec *main_server, apr_pool_t *p)
{
    char host[APRMAXHOSTLEN + 1] = "member", *c;
    memsess_node_t node;

    apr_gethostname(host, sizeof(host), p);
    for (c = host; *c; c++) {
        *c = apr_isalnum(*c) || *c == '.' ? *c : '-';
    }
    if (memsess_node_init(&node, apr_psprintf(p, "%s %d", ap_server_root, main_server->port), 1)
        != APR_SUCCESS) {
        return host[0] ? apr_pstrdup(p, host) : "member";
    }
    return apr_pstrcat(p, host, ":", node.tag, NULL);
}

/* How many digests each thread remembers; a sealed session needs three. */
#define DIGESTS 64

/* The state of a child process; a child has its own, since no connection and no thread survives a
 * fork. */
static struct {
    memsess_pool_t *pool; /* NULL: it could not be made yet */
    apr_pool_t *p;        /* of the stores */
    int threads;          /* how many httpd has */
    volatile apr_uint32_t is_made;  /* or is being made */
    volatile apr_uint64_t tried_at;
    unsigned failed;      /* how often that failed */
} child;

static apr_status_t make_stores_over(memsess_pool_t *pool, apr_array_header_t *stores,
                                     server_rec *main_server, apr_pool_t *p)
{
    memsess_watch_t *watch = memsess_watch_create(pool, member_name(main_server, p), p);
    apr_hash_t *servers = apr_hash_make(p);
    apr_status_t rv = APR_SUCCESS;
    server_rec *s;

    for (s = main_server; s && rv == APR_SUCCESS; s = s->next) {
        const memsess_srv_conf_t *conf = memsess_srv_conf(s);
        memsess_store_t **store = apr_array_push(stores);
        memsess_store_conf_t store_conf;

        *store = NULL;
        if (conf->secrets && !conf->secrets->n) {
            continue;
        }
        memsess_conf_store(conf, child.threads, &store_conf, p);
        rv = memsess_store_create(store, &store_conf, pool, servers, p);
        /* A server that no directive names may not be a memcached at all. */
        if (rv == APR_SUCCESS && conf->members_set) {
            rv = memsess_watch_add(watch, *store, conf->ns);
        }
    }
    return rv;
}

/* Makes the stores of all hosts, or none. */
static apr_status_t make_stores(server_rec *main_server)
{
    memsess_pool_t *pool = NULL;
    apr_array_header_t *stores;
    apr_pool_t *p;
    server_rec *s;
    int i = 0;
    apr_status_t rv = apr_pool_create_unmanaged_ex(&p, NULL, NULL);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    stores = apr_array_make(p, 4, sizeof(memsess_store_t *));
    if ((rv = memsess_pool_create(&pool)) != APR_SUCCESS
        || (rv = make_stores_over(pool, stores, main_server, p)) != APR_SUCCESS) {
        if (pool) {
            memsess_pool_destroy(pool);
        }
        apr_pool_destroy(p);
        return rv;
    }
    memsess_pool_start(pool);
    for (s = main_server; s; s = s->next) {
        __atomic_store_n(&memsess_srv_conf(s)->store, APR_ARRAY_IDX(stores, i++, memsess_store_t *),
                         __ATOMIC_RELEASE);
    }
    child.p = p;
    child.pool = pool;
    return rv;
}

/* Makes the stores when the child begins; if that fails, requests try again, at most once a
 * second. */
static void have_stores(server_rec *main_server)
{
    apr_status_t rv;

    if (apr_atomic_read32(&child.is_made)
        || !memsess_due(&child.tried_at, memsess_clock_steady(), apr_time_from_sec(1))
        || apr_atomic_cas32(&child.is_made, 1, 0)) {
        return;
    }
    rv = make_stores(main_server);
    if (rv != APR_SUCCESS) {
        apr_atomic_set32(&child.is_made, 0);
        if (!child.failed++) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, rv, main_server, "MemSess: this child process has "
                         "no store, so every session is unavailable to it; it will try again");
        }
    }
    else if (child.failed) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, main_server, "MemSess: this child process now "
                     "has its store");
    }
}

static apr_status_t child_cleanup(void *unused)
{
    (void)unused;
    if (child.pool) {
        memsess_pool_destroy(child.pool);
        apr_pool_destroy(child.p);
        child.pool = NULL;
    }
    return APR_SUCCESS;
}

/* A prefork child ends from within a signal handler (just_die, which destroys pchild and so the
 * request's pool). The interrupted code may hold any mutex, and waiting for a thread could last for
 * ever. So nothing is done then, and this runs before the request's own clean-ups. The process ends
 * with its threads and connections, and its locks are free 10 s later. */
static apr_status_t child_abandon(void *unused)
{
    (void)unused;
    if (child.pool) {
        memsess_pool_abandon(child.pool);
    }
    return APR_SUCCESS;
}

/* Threads that nobody waits for (those of a prefork child, or a look-up that hangs) may still run
 * our code when httpd unloads this module at exit(), so it stays loaded. Only children do this, so
 * a restart can still load another version. */
static void stay_loaded(void)
{
    Dl_info ours;

    if (!dladdr(&child, &ours) || !dlopen(ours.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE)) {
        memsess_log(MEMSESS_LOG_DEBUG, 0, "this module may be unloaded while its threads run");
    }
}

static void child_init(apr_pool_t *pchild, server_rec *main_server)
{
    apr_status_t rv;
    int is_threaded = 0;

    ap_mpm_query(AP_MPMQ_MAX_THREADS, &child.threads);
    child.threads = child.threads < 1 ? 1 : child.threads;
    ap_mpm_query(AP_MPMQ_IS_THREADED, &is_threaded);
    memsess_tracing = APLOG_IS_LEVEL(main_server, APLOG_TRACE1);
    stay_loaded();
    rv = memsess_core_init(pchild);
    if (rv != APR_SUCCESS) {
        apr_atomic_set32(&child.is_made, 1);
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, main_server, "MemSess: libcrypto does not give "
                     "this child process SHA-512, HMAC or AES-256-GCM: every session is unavailable "
                     "to it");
        return;
    }
    memsess_crypto_remember((unsigned)child.threads * DIGESTS); /* else all is slower */
    have_stores(main_server);
    if (is_threaded != AP_MPMQ_NOT_SUPPORTED) {
        apr_pool_cleanup_register(pchild, NULL, child_cleanup, apr_pool_cleanup_null);
    }
    else {
        apr_pool_pre_cleanup_register(pchild, NULL, child_abandon);
    }
}

/* -- Requests ---------------------------------------------------------------------------------- */

/* A subrequest has a copy of the environment and headers of its parent. */
static int create_request(request_rec *r)
{
    if (r->main) {
        memsess_expose_begin(r);
    }
    return OK;
}

/* This hook also runs for an internal redirect, before httpd forgets the headers of the request
 * before. */
static int post_read_request(request_rec *r)
{
    have_stores(ap_server_conf);
    memsess_clean_request(r);
    if (r->prev) {
        memsess_gather(r->prev);
        memsess_expose_begin(r);
    }
    return DECLINED;
}

/* This is early, so that <If> and mod_rewrite in server context know the variables. It uses the
 * settings of <Location>. */
static int translate_name(request_rec *r)
{
    if (!r->main && memsess_srv_conf(r->server)->binds) {
        memsess_own(r, 1)->top->early = 1;
    }
    memsess_expose_env(r, 0);
    /* httpd's own answer to TRACE echoes all headers. */
    if (r->method_number == M_TRACE) {
        memsess_take_cookies(r);
    }
    return DECLINED;
}

static int post_perdir_config(request_rec *r)
{
    const memsess_own_t *own = memsess_own(r, 0);

    if (memsess_req_is_late(r) && memsess_dir_conf(r)->enabled) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, "MemSess: no session is shown to %s, since "
                      "the answer that it is part of began without one, and caches may keep it: "
                      "write MemSess On for that answer, too", ap_escape_logitem(r->pool, r->uri));
    }
    /* In this case httpd skips the access hooks, so mod_ssl asks for no certificate any more. */
    if (own && r->prev && r->prev->per_dir_config == r->per_dir_config) {
        own->top->early = 0;
    }
    return memsess_expose_env(r, 1);
}

static int before_auth(request_rec *r)
{
    if (has_authnz_fcgi) {
        memsess_take_cookies(r);
    }
    return DECLINED;
}

/* httpd may have put another request in this one's place, with another section. */
static int see_section(request_rec *r)
{
    if (!memsess_expose_again(r)) {
        return DECLINED;
    }
    memsess_auth_again(r);
    return memsess_expose_env(r, 1) == OK ? DECLINED : HTTP_SERVICE_UNAVAILABLE;
}

static int fixups(request_rec *r)
{
    if (has_authnz_fcgi) {
        memsess_give_cookies(r);
    }
    return see_section(r);
}

/* This runs after mod_ssl, which asks only now for a certificate that a section wants. */
static int check_access(request_rec *r)
{
    const memsess_own_t *own = memsess_own(r, 0);
    int status = OK;

    if (!r->main && own && own->top->early) {
        own->top->early = 0;
        status = memsess_expose_env(r, 1);
    }
    return status == OK ? memsess_auth_find_user(r) : status;
}

static int is_chunked(const request_rec *r)
{
    return apr_table_get(r->headers_in, "Transfer-Encoding")
           || (r->proto_num >= HTTP_VERSION(2, 0) && !apr_table_get(r->headers_in,
                                                                    "Content-Length"));
}

/* mod_cgi decides by the same rule. */
static int is_nph(const request_rec *r)
{
    return r->filename && !strncmp(apr_filepath_name_get(r->filename), "nph-", 4);
}

/* This runs before httpd's own handler for upgrades, which switches to another protocol, and takes
 * the request there as the client sent it. */
static int before_upgrade(request_rec *r)
{
    if (!r->main && apr_table_get(r->headers_in, "Upgrade")) {
        memsess_interim_watch(r);
    }
    return DECLINED;
}

/* This runs after mod_cache's own handler, which must look the request up as the client sent it. */
static int before_handler(request_rec *r)
{
    int status = see_section(r);

    if (status != DECLINED) {
        return status;
    }
    memsess_auth_part(r);
    memsess_expose_headers(r);
    memsess_mind_part(r);
    if (!r->main && is_chunked(r)) {
        ap_add_input_filter_handle(in_filter_handle, NULL, r, r->connection);
    }
    if (!r->main && (r->proxyreq == PROXYREQ_REVERSE || is_nph(r))) {
        memsess_interim_watch(r);
    }
    return DECLINED;
}

/* Trailers come with the end of the body, and MergeTrailers makes headers of them. */
static apr_status_t in_filter(ap_filter_t *f, apr_bucket_brigade *bb, ap_input_mode_t mode,
                              apr_read_type_e block, apr_off_t bytes)
{
    apr_status_t rv = ap_get_brigade(f->next, bb, mode, block, bytes);
    request_rec *r = f->r;

    if (rv == APR_SUCCESS && !APR_BRIGADE_EMPTY(bb) && APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb))) {
        memsess_clean_request(r);
        memsess_expose_headers(r);
        ap_remove_input_filter(f);
    }
    return rv;
}

/* -- Responses --------------------------------------------------------------------------------- */

/* The state of an output filter: its context points to one of these. */
static const char committed[] = "committed", dead[] = "dead", told[] = "told";

static int is_to_be_kept(const ap_filter_t *f)
{
    while (f && f->frec != keeping_filter) {
        f = f->next;
    }
    return f != NULL;
}

/* mod_cache stores the request headers that Vary names. They must be the client's, since it will
 * look for those. No filter behind it may see them: the last filter takes them out. */
static apr_status_t pass_with_cookie(ap_filter_t *f, apr_bucket_brigade *bb)
{
    const memsess_own_t *own = memsess_own(f->r, 0);
    const char *sent = own && is_to_be_kept(f) ? own->top->cookie_sent : NULL;
    const char *stripped = apr_table_get(f->r->headers_in, "Cookie");
    apr_status_t rv;

    if (!sent) {
        return ap_pass_brigade(f->next, bb);
    }
    apr_table_setn(f->r->headers_in, "Cookie", sent);
    rv = ap_pass_brigade(f->next, bb);
    memsess_set_or_unset(f->r->headers_in, "Cookie", stripped);
    return rv;
}

static apr_status_t respond(ap_filter_t *f, apr_bucket_brigade *bb)
{
    request_rec *r = f->r;
    int status = memsess_respond(r);

    if (status == OK) {
        return APR_SUCCESS;
    }
    apr_brigade_cleanup(bb);
    f->ctx = (void *)dead;
    ap_die(status, r);
    /* The handler does not know of the error, and may pass more on, which is dropped. */
    ap_add_output_filter_handle(out_filter_handle, (void *)dead, r, f->c);
    return AP_FILTER_ERROR;
}

/* A browser keeps the cookie that comes last: a cookie that waited for the rest of a slow answer
 * would replace a newer one. */
static void send_cookie_at_once(request_rec *r, apr_bucket_brigade *bb)
{
    const memsess_own_t *own = memsess_own(r, 0);

    if (!r->main && own && own->top->cookie_set
        && (APR_BRIGADE_EMPTY(bb) || !APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb)))) {
        APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(r->connection->bucket_alloc));
    }
}

static apr_status_t out_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    request_rec *r = f->r;
    int is_first = !f->ctx;

    if (f->ctx == dead) {
        apr_brigade_cleanup(bb);
        return AP_FILTER_ERROR;
    }
    if (is_first) {
        f->ctx = (void *)committed;
        if (!r->main) {
            memsess_interim_unwatch(r->connection);
        }
        if (respond(f, bb) != APR_SUCCESS) {
            return AP_FILTER_ERROR;
        }
        /* With nothing between the two, the last filter would find the answer as it is now. */
        if (f->next && f->next->frec == last_filter_handle && f->next->r == r && !f->next->ctx) {
            f->next->ctx = (void *)told;
        }
        send_cookie_at_once(r, bb);
    }
    if (!APR_BRIGADE_EMPTY(bb) && APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb)) && r->trailers_out) {
        memsess_drop_reserved(r->trailers_out, r->pool);
    }
    return is_first ? pass_with_cookie(f, bb) : ap_pass_brigade(f->next, bb);
}

/* A response from mod_cache's store bypasses the filters before it, ours among them. The request
 * may have come through a section that has a session. */
static apr_status_t last_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    if (!f->ctx || f->ctx == told) {
        int is_told = f->ctx == told;

        f->ctx = (void *)committed;
        if (!is_told && respond(f, bb) != APR_SUCCESS) {
            return AP_FILTER_ERROR;
        }
        memsess_take_cookies(f->r);
    }
    return memsess_repair_behind(f, bb);
}

static void insert_filter(request_rec *r)
{
    ap_add_output_filter_handle(out_filter_handle, NULL, r, r->connection);
    if (!r->main) {
        ap_add_output_filter_handle(last_filter_handle, NULL, r, r->connection);
    }
}

/* httpd forgets most headers when it turns a response into an error. */
static void insert_error_filter(request_rec *r)
{
    memsess_gather(r);
    insert_filter(r);
}

/* For access logs, as %{memsess-handle}n: the name of the cookie's session in the error log, in
 * traces and for memsessctl, whether the session exists or not. */
static void note_handle(request_rec *r)
{
    const memsess_own_t *own = memsess_own(r, 0);
    const memsess_req_t *req = own ? own->top->sessions : NULL;

    while (r->next) {
        r = r->next;
    }
    if (req && req->was_read) {
        apr_table_setn(r->notes, "memsess-handle", memsess_key_log(&req->key, r->pool));
    }
}

static int log_transaction(request_rec *r)
{
    note_handle(r);
    memsess_tell_overlooked(r);
    return DECLINED;
}

static void register_hooks(apr_pool_t *p)
{
    static const char *const after_ssl[] = {"mod_ssl.c", NULL};
    static const char *const core[] = {"core.c", NULL};
    static const char *const after_cache[] = {"mod_cache.c", "core.c", NULL};

    memsess_api_register();
    ap_hook_pre_config(pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_create_request(create_request, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_post_read_request(post_read_request, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_translate_name(translate_name, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_post_perdir_config(post_perdir_config, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_check_access(before_auth, NULL, NULL, APR_HOOK_REALLY_FIRST, AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_check_access(check_access, after_ssl, NULL, APR_HOOK_FIRST, AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_check_access_ex(memsess_auth_userless, NULL, NULL, APR_HOOK_REALLY_FIRST,
                            AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_check_authz(memsess_auth_user, NULL, NULL, APR_HOOK_REALLY_FIRST,
                        AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_check_authn(memsess_auth_check_user, NULL, NULL, APR_HOOK_MIDDLE,
                        AP_AUTH_INTERNAL_PER_CONF);
    ap_register_auth_provider(p, AUTHZ_PROVIDER_GROUP, "memsess", AUTHZ_PROVIDER_VERSION,
                              &memsess_auth_provider, AP_AUTH_INTERNAL_PER_CONF);
    ap_register_auth_provider(p, AUTHZ_PROVIDER_GROUP, "memsess-login-age", AUTHZ_PROVIDER_VERSION,
                              &memsess_auth_age_provider, AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_fixups(fixups, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(before_upgrade, NULL, core, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(before_handler, after_cache, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(memsess_status_handler, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(memsess_admin_handler, NULL, NULL, APR_HOOK_MIDDLE);
    APR_OPTIONAL_HOOK(ap, status_hook, memsess_status_hook, NULL, NULL, APR_HOOK_MIDDLE);
    /* Our filter comes last, so after mod_headers, and before mod_cache stores anything. */
    ap_hook_insert_filter(insert_filter, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_insert_error_filter(insert_error_filter, NULL, NULL, APR_HOOK_REALLY_LAST);
    out_filter_handle = ap_register_output_filter(OUT_FILTER, out_filter, NULL,
                                                  AP_FTYPE_CONTENT_SET);
    last_filter_handle = ap_register_output_filter(LAST_FILTER, last_filter, NULL,
                                                   AP_FTYPE_CONTENT_SET + 2);
    in_filter_handle = ap_register_input_filter(IN_FILTER, in_filter, NULL, AP_FTYPE_CONTENT_SET);
    memsess_interim_register();
    ap_hook_log_transaction(log_transaction, NULL, NULL, APR_HOOK_FIRST);
}

module AP_MODULE_DECLARE_DATA memsess_module = {
    STANDARD20_MODULE_STUFF,
    memsess_dir_conf_create,
    memsess_dir_conf_merge,
    memsess_srv_conf_create,
    memsess_srv_conf_merge,
    memsess_commands,
    register_hooks
#if defined(AP_MODULE_FLAG_NONE)
    , AP_MODULE_FLAG_NONE
#endif
};
