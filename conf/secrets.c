/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Reads secrets and passwords from the sources that the configuration names, and decides what
 * happens if one fails. At a start a failure is refused. An httpd that is restarted goes on with
 * what it had: with what the source gave before or, if that is nothing, with the secrets of that
 * host. */

#include "conf/private.h"

#include <string.h>

#include "apr_hash.h"
#include "apr_strings.h"
#include "base/clock.h"
#include "base/kept.h"
#include "http_core.h"
#include "http_log.h"

APLOG_USE_MODULE(memsess);

/* How long a program may take to print a secret; and how long any other, once one took that
 * long: new connections wait for all of them. */
#define EXEC_WAIT apr_time_from_sec(10)
#define EXEC_WAIT_AFTER apr_time_from_sec(1)

#define AUTH_LINE "must hold one line user:password, without spaces"

typedef struct reading_t {
    apr_hash_t *sources; /* of source_t, by name: each is read once, however many hosts share it */
    apr_interval_time_t wait;
    memsess_kept_t *kept;
    apr_pool_t *pconf, *ptemp;
} reading_t;

typedef struct source_t {
    memsess_raw_secret_t raw;
    const char *error;
} source_t;

/* Where the secret of a source came from. */
typedef enum { NOWHERE, FROM_BEFORE, FROM_SOURCE } origin_t;

/* httpd reads its configuration twice: the first reading is a trial, the second one counts. */
static int is_restart(void)
{
    return ap_state_query(AP_SQ_CONFIG_GEN) > 1;
}

/* -- What is kept, by name --------------------------------------------------------------------- */

static const char *name_of_source(const char *ns, const char *source, apr_pool_t *p)
{
    return apr_pstrcat(p, "secret\n", ns, "\n", source, NULL);
}

/* After a restart, a host is known by its name, its addresses and its namespace. */
static const char *name_of_host(server_rec *s, const char *kind, apr_pool_t *p)
{
    const char *name = apr_psprintf(p, "host %s\n%s\n%s:%d", kind, memsess_srv_conf(s)->ns,
                                    s->is_virtual && s->server_hostname ? s->server_hostname : "",
                                    s->is_virtual ? s->port : 0);
    const server_addr_rec *addr;

    for (addr = s->is_virtual ? s->addrs : NULL; addr; addr = addr->next) {
        name = apr_psprintf(p, "%s %s:%d", name, addr->virthost ? addr->virthost : "",
                            addr->host_port);
    }
    return name;
}

static const void *from_before(const reading_t *reading, const char *name, apr_size_t len)
{
    return is_restart() ? memsess_kept_find(reading->kept, name, len) : NULL;
}

/* -- What failed ------------------------------------------------------------------------------- */

/* Logs it once for all hosts that share the source and go on in the same way. */
static void note_failed(reading_t *reading, server_rec *s, const char *directive,
                        const char *source, const char *why, const char *instead)
{
    apr_array_header_t *all = memsess_seen.failed;
    const char *text = apr_pstrcat(reading->pconf, why, "; ", instead, NULL);
    memsess_failed_t *failed;
    int i;

    for (i = 0; i < all->nelts; i++) {
        failed = &APR_ARRAY_IDX(all, i, memsess_failed_t);
        if (!strcmp(failed->source, source) && !strcmp(failed->text, text)) {
            return;
        }
    }
    failed = apr_array_push(all);
    failed->server = s;
    failed->directive = directive;
    failed->source = source;
    failed->text = text;
}

static void log_failed(int level)
{
    int i;

    for (i = 0; i < memsess_seen.failed->nelts; i++) {
        const memsess_failed_t *failed = &APR_ARRAY_IDX(memsess_seen.failed, i, memsess_failed_t);

        ap_log_error(APLOG_MARK, level, 0, failed->server, "%s %s: %s", failed->directive,
                     failed->source, failed->text);
    }
}

apr_size_t memsess_conf_source_len(const char *source)
{
    return strncasecmp(source, "exec:", 5) ? strlen(source) : strcspn(source, " \t");
}

const char *memsess_conf_failed_text(const memsess_failed_t *failed, apr_pool_t *p)
{
    return apr_psprintf(p, "%s %.*s: %s", failed->directive,
                        (int)memsess_conf_source_len(failed->source), failed->source, failed->text);
}

#define NO_START "httpd does not start with this; a running httpd keeps what it has"

/* -- MemSessSecret ----------------------------------------------------------------------------- */

static source_t *read_source(reading_t *reading, const char *name)
{
    source_t *source = apr_hash_get(reading->sources, name, APR_HASH_KEY_STRING);
    apr_time_t begun = memsess_clock_steady();

    if (!source) {
        source = memsess_secret_memory(sizeof(*source), reading->ptemp);
        apr_hash_set(reading->sources, name, APR_HASH_KEY_STRING, source);
        source->error = memsess_secret_read(name, reading->wait, &source->raw, reading->ptemp);
        if (memsess_clock_steady() - begun >= reading->wait) {
            reading->wait = EXEC_WAIT_AFTER;
        }
    }
    return source;
}

static origin_t add_secret(reading_t *reading, memsess_secrets_t *secrets, const char *name,
                           const char *ns)
{
    const char *kept = name_of_source(ns, name, reading->ptemp);
    source_t *source = read_source(reading, name);
    const memsess_secret_t *before;
    origin_t origin = FROM_SOURCE;

    if (!source->error && memsess_secrets_add(secrets, &source->raw, ns) != APR_SUCCESS) {
        source->error = "libcrypto cannot derive keys from it";
    }
    if (source->error) {
        before = from_before(reading, kept, sizeof(*before));
        if (!before) {
            return NOWHERE;
        }
        secrets->secret[secrets->n++] = *before;
        origin = FROM_BEFORE;
    }
    memsess_kept_put(reading->kept, kept, &secrets->secret[secrets->n - 1],
                     sizeof(memsess_secret_t));
    return origin;
}

static const char *instead_of(server_rec *s, origin_t origin, int has_before, apr_pool_t *p)
{
    const char *host = memsess_conf_name_of(s, p);

    if (!is_restart()) {
        return NO_START;
    }
    if (origin == FROM_BEFORE) {
        return "the secret that it gave before stays in use";
    }
    if (has_before) {
        return apr_pstrcat(p, host, " goes on with the secrets that it had", NULL);
    }
    return apr_pstrcat(p, host, memsess_srv_conf(s)->secrets->n
                                    ? " goes on with its other secrets"
                                    : " has no secret, so its sessions are unavailable", NULL);
}

static void read_secrets(reading_t *reading, server_rec *s)
{
    memsess_srv_conf_t *conf = memsess_srv_conf(s);
    const char *host = name_of_host(s, "secrets", reading->ptemp);
    const memsess_secrets_t *before = from_before(reading, host, sizeof(*before));
    memsess_secrets_t *secrets = memsess_secrets_make(reading->pconf);
    origin_t origin[MEMSESS_SECRETS_MAX];
    int i, all = 1;

    conf->secrets = secrets;
    for (i = 0; i < conf->sources->nelts; i++) {
        origin[i] = add_secret(reading, secrets, APR_ARRAY_IDX(conf->sources, i, const char *),
                               conf->ns);
        all &= origin[i] != NOWHERE;
    }
    if (!all && before) {
        *secrets = *before;
    }
    for (i = 0; i < conf->sources->nelts; i++) {
        const char *name = APR_ARRAY_IDX(conf->sources, i, const char *);

        if (origin[i] != FROM_SOURCE) {
            note_failed(reading, s, "MemSessSecret", name, read_source(reading, name)->error,
                        instead_of(s, origin[i], before != NULL, reading->ptemp));
        }
    }
    if (secrets->n) {
        memsess_kept_put(reading->kept, host, secrets, sizeof(*secrets));
    }
}

static void tell_rotation(server_rec *s, const memsess_kept_t *kept, apr_pool_t *ptemp)
{
    static const char *const words[] = {NULL, "the one before is still accepted",
                                        "the one before is no longer accepted, so the sessions "
                                        "that it signed have ended"};
    const memsess_secrets_t *now = memsess_srv_conf(s)->secrets;
    const memsess_secrets_t *before = memsess_kept_find(kept, name_of_host(s, "secrets", ptemp),
                                                        sizeof(*before));
    const char *what = before && now->n ? words[memsess_secrets_compare(before, now)] : NULL;

    if (what) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "MemSess: secret rotated: %s now signs with "
                     "another one; %s", memsess_conf_name_of(s, ptemp), what);
    }
}

/* -- MemSessServerAuth ------------------------------------------------------------------------- */

static const char *copy_password(const char *password, apr_pool_t *p)
{
    apr_size_t size = strlen(password) + 1;

    return memcpy(memsess_secret_memory(size, p), password, size);
}

/* As memcached wants it: a space between user and password. */
static const char *read_password_file(const char *path, const char **password, apr_pool_t *pconf,
                                      apr_pool_t *ptemp)
{
    char line[512], *colon;
    apr_size_t len = 0;
    const char *error = memsess_secret_file(path, "it " AUTH_LINE, line, sizeof(line) - 1, &len,
                                            ptemp);

    if (!error) {
        line[len] = '\0';
        line[strcspn(line, "\r\n")] = '\0';
        colon = strchr(line, ':');
        if (!colon || colon == line || !colon[1] || strpbrk(line, " \t")) {
            error = AUTH_LINE;
        }
        else {
            *colon = ' ';
            *password = copy_password(line, pconf);
        }
    }
    memsess_cleanse(line, sizeof(line));
    return error;
}

static void read_password(reading_t *reading, server_rec *s)
{
    memsess_srv_conf_t *conf = memsess_srv_conf(s);
    const char *kept = apr_pstrcat(reading->ptemp, "auth\n", conf->auth, NULL);
    const char *host = name_of_host(s, "auth", reading->ptemp), *before = NULL;
    const char *error = read_password_file(conf->auth, &conf->password, reading->pconf,
                                           reading->ptemp);

    if (error) {
        before = from_before(reading, kept, 0);
        before = before ? before : from_before(reading, host, 0);
        conf->password = before ? copy_password(before, reading->pconf) : NULL;
        note_failed(reading, s, "MemSessServerAuth", conf->auth, error, !is_restart() ? NO_START
                    : before ? "the user and password that it had stay in use"
                             : "servers are asked without user and password");
    }
    if (conf->password) {
        memsess_kept_put(reading->kept, kept, conf->password, strlen(conf->password));
        memsess_kept_put(reading->kept, host, conf->password, strlen(conf->password));
    }
}

/* -- Both -------------------------------------------------------------------------------------- */

/* A host without a directive of ours has the configuration of the main server. */
static int is_servers_own(const memsess_srv_conf_t *conf, server_rec *s, server_rec *main_server)
{
    return s == main_server || conf != memsess_srv_conf(main_server);
}

int memsess_conf_read_secrets(server_rec *main_server, apr_pool_t *pconf, apr_pool_t *ptemp)
{
    int mode = ap_state_query(AP_SQ_RUN_MODE);
    reading_t reading = {.sources = apr_hash_make(ptemp),
                         .wait = EXEC_WAIT,
                         .kept = memsess_kept(main_server->process->pool),
                         .pconf = pconf,
                         .ptemp = ptemp};
    server_rec *s;

    /* A user who only looks at the configuration need not be able to read secrets. */
    for (s = mode == AP_SQ_RM_CONFIG_DUMP ? NULL : main_server; s; s = s->next) {
        const memsess_srv_conf_t *conf = memsess_srv_conf(s);

        if (is_servers_own(conf, s, main_server) && conf->sources) {
            read_secrets(&reading, s);
        }
        if (is_servers_own(conf, s, main_server) && conf->auth) {
            read_password(&reading, s);
        }
    }
    if (!memsess_seen.failed->nelts || is_restart()) {
        return 1;
    }
    log_failed(APLOG_STARTUP | APLOG_ERR);
    /* httpd -k graceful gets as far as here, too. */
    return mode == AP_SQ_RM_NORMAL
           && ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG;
}

int memsess_conf_settle(server_rec *main_server, apr_pool_t *ptemp)
{
    memsess_kept_t *kept = memsess_kept(main_server->process->pool);
    const memsess_srv_conf_t *first = memsess_srv_conf(main_server);
    server_rec *s;

    log_failed(APLOG_ERR);
    if (memsess_seen.failed->nelts && !is_restart()) {
        return 0;
    }
    for (s = main_server; s; s = s->next) {
        const memsess_srv_conf_t *conf = memsess_srv_conf(s);

        if (conf->secrets && (s == main_server || conf->sources != first->sources)) {
            tell_rotation(s, kept, ptemp);
        }
    }
    memsess_kept_turn(kept);
    return 1;
}
