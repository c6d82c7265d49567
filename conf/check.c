/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "conf/private.h"

#include <stdlib.h>
#include <string.h>

#include "apr_strings.h"
#include "base/advice.h"
#include "base/name.h"
#include "conf/server.h"
#include "http_core.h"
#include "http_log.h"
#include "mod_ssl.h"

APLOG_USE_MODULE(memsess);

static int copies_ok(server_rec *s, apr_pool_t *ptemp)
{
    const memsess_srv_conf_t *conf = memsess_srv_conf(s);

    if (!conf->copies_set || conf->copies <= conf->members->nelts) {
        return 1;
    }
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, s,
                 "MemSessRedundancy %d: the pool of %s has only %d server%s: name more in "
                 "MemSessServers, or ask for fewer copies", conf->copies,
                 memsess_conf_name_of(s, ptemp), conf->members->nelts,
                 conf->members->nelts == 1 ? "" : "s");
    return 0;
}

static int timeouts_ok(const memsess_timeouts_t *seen, apr_pool_t *ptemp)
{
    const memsess_dir_conf_t *conf = memsess_dir_conf_merge(
        ptemp, memsess_host_conf(seen->server), seen->dir_conf);

    if (!conf->absolute || conf->idle <= conf->absolute) {
        return 1;
    }
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, seen->server,
                 "%s %s (line %d of %s): the idle timeout, %" APR_INT64_T_FMT " s, is above the "
                 "absolute one, %" APR_INT64_T_FMT " s: lower MemSessIdleTimeout or raise "
                 "MemSessAbsoluteTimeout", seen->directive->directive, seen->directive->args,
                 seen->directive->line_num, seen->directive->filename, apr_time_sec(conf->idle),
                 apr_time_sec(conf->absolute));
    return 0;
}

static int seal_ok(server_rec *s, apr_pool_t *ptemp)
{
    const memsess_srv_conf_t *conf = memsess_srv_conf(s);

    if (conf->sources || !conf->seal_set || !conf->seal) {
        return 1;
    }
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, s, "MemSessSeal On: %s has no secret to "
                 "seal with: name one in MemSessSecret", memsess_conf_name_of(s, ptemp));
    return 0;
}

/* Without mod_ssl no session would ever be bound. */
static int tls_ok(server_rec *main_server)
{
    const ap_directive_t *seen = memsess_seen.tls;

    if (!seen || APR_RETRIEVE_OPTIONAL_FN(ssl_var_lookup)) {
        return 1;
    }
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, main_server, "%s %s (line %d of %s): "
                 "without mod_ssl no client shows a certificate here: load it (a2enmod ssl), or "
                 "leave tls out", seen->directive, seen->args, seen->line_num, seen->filename);
    return 0;
}

/* A copy of our own is safe because of the revision in the cookie, if the client cannot make
 * that up. */
static int cache_ok(server_rec *main_server)
{
    const memsess_srv_conf_t *conf = memsess_srv_conf(main_server);
    server_rec *s;

    for (s = main_server; s; s = s->next) {
        if (!conf->cache_size || memsess_srv_conf(s)->sources) {
            return 1;
        }
    }
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, main_server, "MemSessLocalCache %"
                 APR_INT64_T_FMT ": it needs signed cookies: add MemSessSecret", conf->cache_size);
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What tells a pool from all others here: the names and addresses of its servers, and whether
 * records that are not sealed are believed. */
static const char *pool_text(const memsess_srv_conf_t *conf, apr_pool_t *p)
{
    apr_array_header_t *texts = apr_array_make(p, 4, sizeof(const char *));
    int i;

    for (i = 0; i < conf->members->nelts; i++) {
        const memsess_member_t *member = &APR_ARRAY_IDX(conf->members, i, memsess_member_t);

        APR_ARRAY_PUSH(texts, const char *) =
            apr_psprintf(p, "%s %s %u", member->server.name,
                         memsess_member_address(&member->server, p), member->weight);
    }
    qsort(texts->elts, (size_t)texts->nelts, sizeof(const char *), by_text);
    return apr_pstrcat(p, conf->seal ? "sealed\n" : "", apr_array_pstrcat(p, texts, '\n'), NULL);
}

apr_status_t memsess_conf_cache(server_rec *main_server, apr_pool_t *pconf)
{
    const memsess_srv_conf_t *conf = memsess_srv_conf(main_server);
    memsess_cache_t *cache;
    apr_status_t rv = APR_SUCCESS;
    server_rec *s;

    if (conf->cache_size) {
        rv = memsess_cache_create(&cache, (apr_size_t)conf->cache_size, conf->cache_max_age, pconf);
    }
    for (s = main_server; s && conf->cache_size && rv == APR_SUCCESS; s = s->next) {
        memsess_srv_conf_t *own = memsess_srv_conf(s);

        own->cache = own->secrets && own->secrets->n
                         ? memsess_cache_part(cache, pool_text(own, pconf), pconf) : NULL;
    }
    return rv;
}

/* httpd reads its configuration twice when it starts: warnings about settings that are allowed, but
 * hardly meant, come at the second reading, or by apachectl -t. */
static int is_first_reading(void)
{
    return ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG
           && ap_state_query(AP_SQ_RUN_MODE) != AP_SQ_RM_CONFIG_TEST;
}

typedef void say_fn(server_rec *s, memsess_warning_t warning, const char *text);

static void say_in_log(server_rec *s, memsess_warning_t warning, const char *text)
{
    (void)warning;
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_WARNING, 0, s, "MemSess: %s", text);
}

static void say_in_status(server_rec *s, memsess_warning_t warning, const char *text)
{
    (void)s;
    memsess_advise(warning, text);
}

static void warn(server_rec *main_server, say_fn *say, apr_pool_t *p)
{
    int is_signed = 0;
    server_rec *s;

    for (s = main_server; s; s = s->next) {
        const memsess_srv_conf_t *first = memsess_srv_conf(main_server);
        const memsess_srv_conf_t *conf = memsess_srv_conf(s);

        is_signed |= conf->secrets != NULL;
        if (conf->copies_set && conf->copies == 1 && conf->members->nelts > 1
            && (s == main_server || first->copies != 1 || first->members != conf->members)) {
            say(s, MEMSESS_WARN_REDUNDANCY,
                apr_psprintf(p, "MemSessRedundancy 1: each session of %s is on only one of its %d "
                             "servers, and is lost with that server: ask for 2 copies",
                             memsess_conf_name_of(s, p), conf->members->nelts));
        }
    }
    if (!is_signed && memsess_seen.sessions) {
        say(main_server, MEMSESS_WARN_SECRET,
            "there is no MemSessSecret: cookies are not signed, and anybody who can read memcached "
            "can read the sessions: name the same secret on all members");
    }
}

/* How long a start waits for name servers, for all names together. */
#define NAMES_WAIT apr_time_from_sec(3)

/* This is no error, since a name server may come up later than httpd. (Children show it in the
 * status for as long as it holds.) */
static void warn_of_names(server_rec *main_server, apr_pool_t *ptemp)
{
    apr_array_header_t *names = apr_array_make(ptemp, 8, sizeof(const char *));
    memsess_name_t *found;
    server_rec *s;
    int i;

    for (s = main_server; s; s = s->next) {
        const memsess_srv_conf_t *conf = memsess_srv_conf(s);

        for (i = 0; i < conf->members->nelts; i++) {
            const char *host = APR_ARRAY_IDX(conf->members, i, memsess_member_t).server.host;

            if (host && !memsess_name_is_numeric(host)) {
                memsess_conf_add_name(names, host);
            }
        }
    }
    found = apr_palloc(ptemp, sizeof(*found) * (apr_size_t)names->nelts);
    memsess_names_look(found, (const char *const *)names->elts, (unsigned)names->nelts, NAMES_WAIT);
    for (i = 0; i < names->nelts; i++) {
        const char *trouble = memsess_name_trouble(&found[i], APR_ARRAY_IDX(names, i, const char *),
                                                   ptemp);

        if (trouble) {
            say_in_log(main_server, MEMSESS_WARN_NAME, trouble);
        }
    }
}

/* The session cookies of a host: those that it or the main server names in any section, and the
 * host's own one if sessions are On in a section that names none. */
static const apr_array_header_t *cookies_of(server_rec *s, server_rec *main_server, apr_pool_t *pconf)
{
    apr_array_header_t *names = apr_array_make(pconf, 2, sizeof(const char *));
    const memsess_named_t *first = (const memsess_named_t *)memsess_seen.cookies->elts, *named;
    const memsess_named_t *end = first + memsess_seen.cookies->nelts;
    int is_on = 0;

    for (named = first; named < end; named++) {
        if (!named->name && named->conf->enabled
            && (named->server == s || named->server == main_server)) {
            is_on = 1;
            if (!named->conf->cookie_set) {
                memsess_conf_add_name(names, memsess_host_conf(s)->cookie->name);
            }
        }
    }
    for (named = first; named < end; named++) {
        if (named->name && (is_on || !named->conf)
            && (named->server == s || named->server == main_server)) {
            memsess_conf_add_name(names, named->name);
        }
    }
    return names;
}

int memsess_conf_check(server_rec *main_server, apr_pool_t *pconf, apr_pool_t *ptemp)
{
    server_rec *s;
    int i, ok = cache_ok(main_server);

    for (s = main_server; s; s = s->next) {
        ok &= copies_ok(s, ptemp);
        ok &= seal_ok(s, ptemp);
        memsess_srv_conf(s)->cookies = cookies_of(s, main_server, pconf);
        memsess_conf_add_name(memsess_seen.users, memsess_host_conf(s)->user_attr);
        memsess_srv_conf(s)->users = memsess_seen.users;
    }
    for (i = 0; i < memsess_seen.timeouts->nelts; i++) {
        ok &= timeouts_ok(&APR_ARRAY_IDX(memsess_seen.timeouts, i, memsess_timeouts_t), ptemp);
    }
    ok &= tls_ok(main_server);
    ok &= memsess_conf_read_secrets(main_server, pconf, ptemp);
    if (ok && !is_first_reading()) {
        warn(main_server, say_in_log, ptemp);
        memsess_conf_warn_of_shared(main_server, ptemp);
        memsess_conf_warn_of_tunnels(main_server, ptemp);
        warn_of_names(main_server, ptemp);
    }
    return ok;
}

unsigned memsess_conf_copies(const memsess_srv_conf_t *conf)
{
    int servers = conf->members->nelts;

    return (unsigned)(conf->copies < servers ? conf->copies : servers);
}

static apr_status_t count_members(const memsess_srv_conf_t *conf, apr_pool_t *pconf)
{
    apr_status_t rv = APR_SUCCESS;
    int i;

    for (i = 0; i < conf->members->nelts && rv == APR_SUCCESS; i++) {
        memsess_member_t *member = &APR_ARRAY_IDX(conf->members, i, memsess_member_t);
        memsess_counted_t counted = {
            .name = member->server.name,
            .address = memsess_member_address(&member->server, pconf),
            .weight = member->weight,
            .implied = !conf->members_set,
            .timeout = conf->timeout,
            .copies = memsess_conf_copies(conf)};

        rv = memsess_count_list(&counted, &member->server.count);
    }
    return rv;
}

static void advise_failed(apr_pool_t *pconf)
{
    int i;

    for (i = 0; i < memsess_seen.failed->nelts; i++) {
        memsess_advise(MEMSESS_WARN_SECRET, memsess_conf_failed_text(
            &APR_ARRAY_IDX(memsess_seen.failed, i, memsess_failed_t), pconf));
    }
}

int memsess_conf_count(server_rec *main_server, apr_pool_t *pconf)
{
    apr_status_t rv = memsess_count_begin(main_server->process->pool, pconf);
    server_rec *s;

    memsess_advice_begin(pconf);
    for (s = main_server; s && rv == APR_SUCCESS; s = s->next) {
        rv = count_members(memsess_srv_conf(s), pconf);
    }
    if (rv == APR_SUCCESS) {
        warn(main_server, say_in_status, pconf);
        advise_failed(pconf);
    }
    else {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, rv, main_server, "MemSess: no shared "
                     "memory for the counters of memsess-status: allow httpd more memory (ulimit "
                     "-v, or the container's limit)");
    }
    return rv == APR_SUCCESS;
}

void memsess_conf_store(const memsess_srv_conf_t *conf, int threads, memsess_store_conf_t *store,
                        apr_pool_t *p)
{
    apr_array_header_t *members = apr_array_copy(p, conf->members);
    int i;

    for (i = 0; i < members->nelts; i++) {
        memsess_server_conf_t *server = &APR_ARRAY_IDX(members, i, memsess_member_t).server;

        server->auth = conf->password;
        server->timeout = conf->timeout;
        server->retry = conf->retry;
        server->max_conns = conf->max_conns_set ? conf->max_conns : threads;
        server->idle = conf->conn_idle;
    }
    store->members = members;
    store->copies = memsess_conf_copies(conf);
    store->failover = conf->failover;
    store->unpack = MEMSESS_UNPACK_TIMES * (apr_size_t)memsess_seen.largest;
    store->secrets = conf->seal ? conf->secrets : NULL;
    /* The length of a compressed record tells of its content, and sealing does not hide the
     * length. */
    store->compress = conf->compress_set || !store->secrets ? (apr_size_t)conf->compress : 0;
}
