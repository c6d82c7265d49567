/*
 * The handlers that bench/run compares. All of them send the same short
 * answer, so that what differs is the store and nothing else:
 *
 *   bare-none     no store at all
 *   bare-get      one apr_memcache_getp of a fixed key
 *   bare-getset   the same, and one apr_memcache_set of what was read
 *   bare-getaddset
 *                 the same, and one apr_memcache_add of another key between
 *                 the two: as many round trips as an exact commit takes
 *   bare-get-2    one apr_memcache_multgetp of two keys, on two servers
 *   memsess-read  looks at the session that mod_memsess exposes, here or in
 *                 the server that proxies to this one
 *   memsess-write the same, and changes one attribute
 *   memsess-write-told
 *                 the same, and says of which session the answer is
 *   memsess-renew, memsess-destroy
 *                 give the session a new id, or end it
 *   memsess-show  the session's state and data as text, for checks
 *   session-read, session-write, session-show
 *                 the same with httpd's own mod_session
 *   bench-mark    nothing; a place for a profiler to begin at
 *
 * The first five are the yardstick: a plain, sound use of apr_memcache that
 * does no more than it must. A handler that did not get what it came for
 * answers 500, so that a run which measures failures cannot pass unnoticed.
 */
#include "httpd.h"
#include "ap_mpm.h"
#include "apr_atomic.h"
#include "apr_memcache.h"
#include "apr_strings.h"
#include "http_config.h"
#include "http_log.h"
#include "http_protocol.h"

#define KEY "bench"
#define LIFETIME 3600
#define CLAIM_LIFETIME 8
#define IDLE_TTL (60 * APR_USEC_PER_SEC)

module AP_MODULE_DECLARE_DATA bare_module;

typedef struct {
    const char *name;
    int (*answer)(request_rec *r);
} bare_handler_t;

#define SERVERS 2

static struct {
    const char *host;
    apr_port_t port;
} servers[SERVERS];
static unsigned servers_n;
static apr_memcache_t *store; /* the first server alone */
static apr_memcache_t *both;  /* key 0 on the first, key 1 on the second */
static volatile apr_uint32_t writes;

static int say(request_rec *r, const char *text)
{
    ap_set_content_type(r, "text/plain");
    ap_rputs(text, r);
    return OK;
}

static int answer_none(request_rec *r)
{
    return say(r, "Hello, world.\n");
}

static apr_status_t fetch(request_rec *r, char **value, apr_size_t *length)
{
    apr_status_t rv = APR_EINIT;

    if (store) {
        rv = apr_memcache_getp(store, r->pool, KEY, value, length, NULL);
    }
    if (rv != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, r, "cannot get " KEY);
    }
    return rv;
}

static int answer_get(request_rec *r)
{
    char *value;
    apr_size_t length;

    if (fetch(r, &value, &length) != APR_SUCCESS) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return answer_none(r);
}

static int answer_get_2(request_rec *r)
{
    static const char *const keys[SERVERS] = {KEY "0", KEY "1"};
    apr_hash_t *values = NULL;
    apr_pool_t *temp;
    unsigned i;

    for (i = 0; i < SERVERS; i++) {
        apr_memcache_add_multget_key(r->pool, keys[i], &values);
    }
    apr_pool_create(&temp, r->pool);
    if (both) {
        apr_memcache_multgetp(both, temp, r->pool, values);
    }
    apr_pool_destroy(temp);
    for (i = 0; i < SERVERS; i++) {
        const apr_memcache_value_t *value = apr_hash_get(values, keys[i], APR_HASH_KEY_STRING);

        if (!both || value->status != APR_SUCCESS) {
            ap_log_rerror(APLOG_MARK, APLOG_ERR, value->status, r, "cannot get %s", keys[i]);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return answer_none(r);
}

/* Writes what was read; before that, if it claims, it adds a new key. */
static int put_back(request_rec *r, int claims)
{
    char *value, *claim;
    apr_size_t length;
    apr_status_t rv = fetch(r, &value, &length);

    if (rv != APR_SUCCESS) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (claims) {
        claim = apr_psprintf(r->pool, KEY ".%u", apr_atomic_inc32(&writes));
        rv = apr_memcache_add(store, claim, claim, strlen(claim), CLAIM_LIFETIME, 0);
    }
    if (rv == APR_SUCCESS) {
        rv = apr_memcache_set(store, KEY, value, length, LIFETIME, 0);
    }
    if (rv != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, r, "cannot write " KEY);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return answer_none(r);
}

static int answer_getset(request_rec *r)
{
    return put_back(r, 0);
}

static int answer_getaddset(request_rec *r)
{
    return put_back(r, 1);
}

static const char *exposed(request_rec *r, const char *variable, const char *header)
{
    const char *value = apr_table_get(r->subprocess_env, variable);

    return value ? value : apr_table_get(r->headers_in, header);
}

/* X-Session tells a client which session a new cookie is of. */
static void tell_session(request_rec *r, const char *data)
{
    const char *seen = data ? ap_strstr_c(data, "seen=") : NULL;

    if (seen) {
        apr_table_setn(r->headers_out, "X-Session", apr_pstrndup(r->pool, seen + 5, 4));
    }
}

static int has_session(request_rec *r)
{
    const char *data = exposed(r, "MEMSESS_DATA", "MemSess-Data");

    return data && *data;
}

static int answer_read(request_rec *r)
{
    return has_session(r) ? answer_none(r) : HTTP_INTERNAL_SERVER_ERROR;
}

/* With a query string it sets those attributes: so sessions are made. */
static int answer_write(request_rec *r)
{
    const char *changes = r->args;

    if (!changes) {
        if (!has_session(r)) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        changes = apr_psprintf(r->pool, "n=%u", apr_atomic_inc32(&writes) + 1);
    }
    apr_table_setn(r->headers_out, "MemSess-Set", changes);
    return answer_none(r);
}

/* With the local cache the cookie changes with every write. */
static int answer_write_told(request_rec *r)
{
    tell_session(r, exposed(r, "MEMSESS_DATA", "MemSess-Data"));
    return answer_write(r);
}

static int answer_renew(request_rec *r)
{
    apr_table_setn(r->headers_out, "MemSess-Renew", "1");
    return answer_read(r);
}

static int answer_destroy(request_rec *r)
{
    apr_table_setn(r->headers_out, "MemSess-Destroy", "1");
    return answer_read(r);
}

static int answer_show(request_rec *r)
{
    const char *state = exposed(r, "MEMSESS_STATE", "MemSess-State");
    const char *data = exposed(r, "MEMSESS_DATA", "MemSess-Data");

    return say(r, apr_pstrcat(r->pool, state ? state : "absent", "\n",
                              data ? data : "", "\n", NULL));
}

/* The session as mod_session exposes it, without the expiry, which comes first. */
static const char *session_data(request_rec *r)
{
    const char *data = apr_table_get(r->subprocess_env, "HTTP_SESSION");
    const char *first;

    if (data && !strncmp(data, "expiry=", 7)) {
        first = ap_strchr_c(data, '&');
        data = first ? first + 1 : NULL;
    }
    return data && *data ? data : NULL;
}

static int answer_session_read(request_rec *r)
{
    return session_data(r) ? answer_none(r) : HTTP_INTERNAL_SERVER_ERROR;
}

/*
 * mod_session takes the whole session from a header, so the attribute that
 * changes comes first. Its cookie changes with every write.
 */
static int answer_session_write(request_rec *r)
{
    const char *data = r->args ? r->args : session_data(r);

    if (!data) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (!r->args) {
        if (!strncmp(data, "n=", 2)) {
            data = ap_strchr_c(data, '&');
            data = data ? data + 1 : "";
        }
        data = apr_psprintf(r->pool, "n=%u&%s", apr_atomic_inc32(&writes) + 1, data);
    }
    tell_session(r, data);
    apr_table_setn(r->headers_out, "X-Replace-Session", data);
    return answer_none(r);
}

static int answer_session_show(request_rec *r)
{
    const char *data = session_data(r);

    return say(r, apr_pstrcat(r->pool, data ? "active" : "none", "\n",
                              data ? data : "", "\n", NULL));
}

/* Never inlined: callgrind is told to begin here, by this name. */
static __attribute__((noinline)) int bench_mark(request_rec *r)
{
    return answer_none(r);
}

static const bare_handler_t handlers[] = {
    {"bare-none", answer_none},      {"bare-get", answer_get},
    {"bare-getset", answer_getset},  {"bare-getaddset", answer_getaddset},
    {"bare-get-2", answer_get_2},    {"memsess-read", answer_read},
    {"memsess-write", answer_write}, {"memsess-show", answer_show},
    {"memsess-write-told", answer_write_told},
    {"memsess-renew", answer_renew}, {"memsess-destroy", answer_destroy},
    {"session-read", answer_session_read},
    {"session-write", answer_session_write},
    {"session-show", answer_session_show},
    {"bench-mark", bench_mark},
};

static int bare_answer(request_rec *r)
{
    size_t i;

    for (i = 0; r->handler && i < sizeof(handlers) / sizeof(*handlers); i++) {
        if (strcmp(r->handler, handlers[i].name) == 0) {
            return handlers[i].answer(r);
        }
    }
    return DECLINED;
}

static apr_uint32_t hash_of_last(void *baton, const char *key, const apr_size_t len)
{
    (void)baton;
    return (apr_uint32_t)(key[len - 1] - '0');
}

static apr_memcache_server_t *server_of(void *baton, apr_memcache_t *mc, const apr_uint32_t hash)
{
    (void)baton;
    return mc->live_servers[hash];
}

/* As mod_socache_memcache does it, with a connection for every thread, so
 * that no request ever waits for one and none is closed under load. */
static apr_memcache_t *store_of(unsigned n, apr_pool_t *p, server_rec *s)
{
    apr_memcache_server_t *server;
    apr_memcache_t *result;
    apr_status_t rv;
    unsigned i;
    int threads = 1;

    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    if (threads < 1) {
        threads = 1;
    }
    rv = apr_memcache_create(p, (apr_uint16_t)n, 0, &result);
    for (i = 0; i < n && rv == APR_SUCCESS; i++) {
        rv = apr_memcache_server_create(p, servers[i].host, servers[i].port, 0,
                                        (apr_uint32_t)threads, (apr_uint32_t)threads, IDLE_TTL,
                                        &server);
        if (rv == APR_SUCCESS) {
            rv = apr_memcache_add_server(result, server);
        }
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s, "cannot use the memcacheds of BareServer");
        return NULL;
    }
    return result;
}

static void bare_child_init(apr_pool_t *p, server_rec *s)
{
    store = servers_n ? store_of(1, p, s) : NULL;
    both = servers_n == SERVERS ? store_of(SERVERS, p, s) : NULL;
    if (both) {
        both->hash_func = hash_of_last;
        both->server_func = server_of;
    }
}

static const char *set_server(cmd_parms *cmd, void *unused, const char *arg)
{
    char *host, *scope;
    apr_port_t port;
    apr_status_t rv = apr_parse_addr_port(&host, &scope, &port, arg, cmd->pool);

    (void)unused;
    if (rv != APR_SUCCESS || !host || !port || servers_n == SERVERS) {
        return apr_pstrcat(cmd->pool, "BareServer: one or two HOST:PORT are needed, not ", arg,
                           NULL);
    }
    servers[servers_n].host = host;
    servers[servers_n++].port = port;
    return NULL;
}

/* The configuration is read twice. */
static int bare_pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)pconf;
    (void)plog;
    (void)ptemp;
    servers_n = 0;
    return OK;
}

static const command_rec bare_commands[] = {
    AP_INIT_ITERATE("BareServer", set_server, NULL, RSRC_CONF,
                    "HOST:PORT of the memcacheds of the bare-get handlers"),
    {0},
};

static void bare_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_pre_config(bare_pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(bare_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(bare_answer, NULL, NULL, APR_HOOK_MIDDLE);
}

module AP_MODULE_DECLARE_DATA bare_module = {
    STANDARD20_MODULE_STUFF,
    NULL,
    NULL,
    NULL,
    NULL,
    bare_commands,
    bare_hooks,
    AP_MODULE_FLAG_NONE,
};
