/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "memsess_conf.h"

#include <stddef.h>
#include <string.h>

#include "apr_lib.h"
#include "apr_strings.h"
#include "http_core.h"
#include "http_log.h"
#include "memsess_change.h"
#include "memsess_login.h"
#include "memsess_member.h"

extern module AP_MODULE_DECLARE_DATA memsess_module;
APLOG_USE_MODULE(memsess);

#define NAMESPACE_MAX 128

/* Where a directive puts its value. */
typedef struct slot_t {
    int in_server;
    apr_size_t value, set;
    apr_int64_t least, most;
} slot_t;

#define SRV_SLOT(type, field, value, args, name, setter, least, most, help)                        \
    static const slot_t slot_##field = {1, offsetof(memsess_srv_conf_t, field),                    \
                                        offsetof(memsess_srv_conf_t, field##_set), least, most};
#define DIR_SLOT(type, field, value, args, name, setter, least, most, help)                        \
    static const slot_t slot_##field = {0, offsetof(memsess_dir_conf_t, field),                    \
                                        offsetof(memsess_dir_conf_t, field##_set), least, most};
MEMSESS_SRV_SETTINGS(SRV_SLOT)
MEMSESS_DIR_SETTINGS(DIR_SLOT)

/* Time-outs are set in sections that inherit the other one, so they are compared at the end. */
typedef struct timeouts_t {
    server_rec *server;
    void *dir_conf;
    const ap_directive_t *directive;
} timeouts_t;

static apr_array_header_t *timeouts_seen;

/* Whether MemSess is On anywhere. */
static int sessions_wanted;

/* The largest MemSessMaxSize of any section, the default at least. */
static apr_int64_t largest;

/* -- Structures ------------------------------------------------------------------------------- */

#define DEFAULT(type, field, value, args, name, setter, least, most, help) conf->field = value;
#define MERGE(type, field, value, args, name, setter, least, most, help)                           \
    conf->field = add->field##_set ? add->field : base->field;                                     \
    conf->field##_set = add->field##_set || base->field##_set;

static apr_array_header_t *default_members(apr_pool_t *p)
{
    apr_array_header_t *members = apr_array_make(p, 1, sizeof(memsess_member_t));

    memsess_member_parse(apr_array_push(members), "127.0.0.1:11211", p);
    return members;
}

void *memsess_srv_conf_create(apr_pool_t *p, server_rec *s)
{
    memsess_srv_conf_t *conf = apr_pcalloc(p, sizeof(*conf));

    (void)s;
    MEMSESS_SRV_SETTINGS(DEFAULT)
    conf->members = default_members(p);
    conf->conn_idle = apr_time_from_sec(60);
    return conf;
}

void *memsess_srv_conf_merge(apr_pool_t *p, void *base_v, void *add_v)
{
    const memsess_srv_conf_t *base = base_v, *add = add_v;
    memsess_srv_conf_t *conf = apr_pcalloc(p, sizeof(*conf));

    MEMSESS_SRV_SETTINGS(MERGE)
    conf->conn_idle = add->max_conns_set ? add->conn_idle : base->conn_idle;
    conf->binds = base->binds || add->binds;
    return conf;
}

void *memsess_dir_conf_create(apr_pool_t *p, char *dir)
{
    memsess_dir_conf_t *conf = apr_pcalloc(p, sizeof(*conf));

    (void)dir;
    MEMSESS_DIR_SETTINGS(DEFAULT)
    return conf;
}

void *memsess_dir_conf_merge(apr_pool_t *p, void *base_v, void *add_v)
{
    const memsess_dir_conf_t *base = base_v, *add = add_v;
    memsess_dir_conf_t *conf = apr_pcalloc(p, sizeof(*conf));

    MEMSESS_DIR_SETTINGS(MERGE)
    return conf;
}

memsess_srv_conf_t *memsess_srv_conf(server_rec *s)
{
    return ap_get_module_config(s->module_config, &memsess_module);
}

const memsess_dir_conf_t *memsess_dir_conf(const request_rec *r)
{
    return ap_get_module_config(r->per_dir_config, &memsess_module);
}

apr_interval_time_t memsess_conf_refresh(const memsess_dir_conf_t *conf)
{
    apr_interval_time_t refresh = conf->refresh;

    if (!conf->refresh_set) {
        refresh = conf->idle / 10 < apr_time_from_sec(60) ? conf->idle / 10
                                                          : apr_time_from_sec(60);
    }
    return refresh < conf->idle / 2 ? refresh : conf->idle / 2;
}

/* -- Setters ---------------------------------------------------------------------------------- */

/* The error that a directive answers: its name, the value, and what is wrong or to be done. */
static const char *refuse(cmd_parms *cmd, const char *arg, const char *why)
{
    return apr_pstrcat(cmd->pool, cmd->cmd->name, " ", arg, ": ", why, NULL);
}

/* The place of the value, marked as set; was_set tells whether this section set it before. */
static void *place(cmd_parms *cmd, void *dir_conf, int *was_set)
{
    const slot_t *slot = cmd->info;
    char *conf = slot->in_server ? (char *)memsess_srv_conf(cmd->server) : dir_conf;
    unsigned char *set = (unsigned char *)conf + slot->set;

    if (was_set) {
        *was_set = *set;
    }
    *set = 1;
    return conf + slot->value;
}

/* One of some words, by its index; -1 for none of them. */
static int word_index(const char *arg, const char *const words[], int n)
{
    int i;

    for (i = 0; i < n; i++) {
        if (!strcasecmp(arg, words[i])) {
            return i;
        }
    }
    return -1;
}

/* Sets the index of the word among those that a directive takes. */
static const char *set_word(cmd_parms *cmd, void *dir_conf, const char *arg,
                            const char *const words[], int n, const char *why)
{
    int i = word_index(arg, words, n);

    if (i < 0) {
        return refuse(cmd, arg, why);
    }
    *(int *)place(cmd, dir_conf, NULL) = i;
    return NULL;
}

static const char *set_flag(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    static const char *const words[] = {"off", "on"};

    sessions_wanted |= cmd->info == &slot_enabled && !strcasecmp(arg, "on");
    return set_word(cmd, dir_conf, arg, words, 2, "must be On or Off");
}

static const char *set_lock(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    static const char *const words[] = {"none", "commit", "request"};

    return set_word(cmd, dir_conf, arg, words, 3, "must be none, commit or request");
}

static const char *set_on_error(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    static const char *const words[] = {"deny", "anonymous"};

    return set_word(cmd, dir_conf, arg, words, 2, "must be deny or anonymous");
}

static const char *parse_number(cmd_parms *cmd, const char *arg, apr_int64_t *n)
{
    const slot_t *slot = cmd->info;
    char *end;

    *n = apr_strtoi64(arg, &end, 10);
    if (!apr_isdigit(*arg) || *end || *n < slot->least || *n > slot->most) {
        return refuse(cmd, arg, apr_psprintf(cmd->pool, "must be a number from %" APR_INT64_T_FMT
                                             " to %" APR_INT64_T_FMT, slot->least, slot->most));
    }
    return NULL;
}

static const char *set_number(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    apr_int64_t n;
    const char *error = parse_number(cmd, arg, &n);

    if (!error) {
        *(apr_int64_t *)place(cmd, dir_conf, NULL) = n;
    }
    if (!error && cmd->info == &slot_max_size && n > largest) {
        largest = n;
    }
    return error;
}

static const char *set_int(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    apr_int64_t n;
    const char *error = parse_number(cmd, arg, &n);

    if (!error) {
        *(int *)place(cmd, dir_conf, NULL) = (int)n;
    }
    return error;
}

static const char *set_compress(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    if (!strcasecmp(arg, "off")) {
        *(apr_int64_t *)place(cmd, dir_conf, NULL) = 0;
        return NULL;
    }
    return set_number(cmd, dir_conf, arg) ? refuse(cmd, arg, "must be a number of bytes above 0, "
                                                             "or Off")
                                          : NULL;
}

/* httpd's parser of times takes any word that begins with a unit, so units are checked here. */
static int parse_time(const char *arg, apr_interval_time_t *t)
{
    const char *unit = arg + strspn(arg, "0123456789");
    static const char *const units[] = {"", "ms", "s", "min", "h"};

    return unit != arg && word_index(unit, units, 5) >= 0
           && ap_timeout_parameter_parse(arg, t, "s") == APR_SUCCESS;
}

static const char *set_time(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    const slot_t *slot = cmd->info;
    apr_interval_time_t t;

    if (!parse_time(arg, &t)) {
        return refuse(cmd, arg, "must be a time: a number and ms, s, min or h");
    }
    if (t < slot->least || t > slot->most) {
        return refuse(cmd, arg, apr_psprintf(cmd->pool, "must be from %" APR_INT64_T_FMT " ms to %"
                                             APR_INT64_T_FMT " s", apr_time_as_msec(slot->least),
                                             apr_time_sec(slot->most)));
    }
    *(apr_interval_time_t *)place(cmd, dir_conf, NULL) = t;
    if (slot == &slot_idle || slot == &slot_absolute) {
        timeouts_t *seen = apr_array_push(timeouts_seen);

        seen->server = cmd->server;
        seen->dir_conf = dir_conf;
        seen->directive = cmd->directive;
    }
    return NULL;
}

/* Gathers words, each a bit by its index; the first of them is for none, and stands alone. */
static const char *set_bits(cmd_parms *cmd, void *dir_conf, const char *arg,
                            const char *const words[], int n, const char *why)
{
    int i = word_index(arg, words, n), was_set;
    int *bits;

    if (i < 0) {
        return refuse(cmd, arg, why);
    }
    bits = place(cmd, dir_conf, &was_set);
    if (was_set && (i == 0 || *bits == 0)) {
        return refuse(cmd, arg, apr_psprintf(cmd->pool, "%s does not go with other words",
                                             words[0]));
    }
    *bits = (was_set ? *bits : 0) | (i ? 1 << (i - 1) : 0);
    return NULL;
}

static const char *set_expose(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    static const char *const words[] = {"none", "env", "headers"};

    return set_bits(cmd, dir_conf, arg, words, 3, "must be any of env and headers, or none");
}

static const char *set_bind(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    static const char *const words[] = {"off", "ua", "ip"};

    memsess_srv_conf(cmd->server)->binds |= strcasecmp(arg, words[0]) != 0;
    return set_bits(cmd, dir_conf, arg, words, 3, "must be any of ua and ip, or off");
}

static const char *set_keys(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    apr_size_t len = strlen(arg);
    apr_array_header_t **keys;
    int was_set;

    if (strcmp(arg, "*") != 0
        && !memsess_attr_name_ok(arg, len && arg[len - 1] == '*' ? len - 1 : len)) {
        return refuse(cmd, arg, "must be an attribute's name, 1 to 64 of [A-Za-z0-9_.-], with an "
                                "optional * at its end");
    }
    keys = place(cmd, dir_conf, &was_set);
    if (!was_set) {
        *keys = apr_array_make(cmd->pool, 4, sizeof(const char *));
    }
    APR_ARRAY_PUSH(*keys, const char *) = arg;
    return NULL;
}

static const char *set_attr_name(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    if (!memsess_attr_name_ok(arg, strlen(arg))) {
        return refuse(cmd, arg, "must be an attribute's name, 1 to 64 of [A-Za-z0-9_.-]");
    }
    *(const char **)place(cmd, dir_conf, NULL) = arg;
    return NULL;
}

static const char *set_login_url(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    const char *url = strcasecmp(arg, "none") ? arg : NULL;
    const char *error = url ? memsess_login_check(url) : NULL;

    *(const char **)place(cmd, dir_conf, NULL) = url;
    return error ? refuse(cmd, arg, error) : NULL;
}

static const char *set_namespace(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    if (memsess_has_control(arg) || strlen(arg) > NAMESPACE_MAX) {
        return refuse(cmd, arg, "must be at most 128 characters, none of them a control character");
    }
    *(const char **)place(cmd, dir_conf, NULL) = arg;
    return NULL;
}

static const char *set_cookie(cmd_parms *cmd, void *dir_conf, int argc, char *const argv[])
{
    memsess_cookie_t *cookie = apr_palloc(cmd->pool, sizeof(*cookie));
    const char *error = memsess_cookie_parse(cookie, argc, argv, cmd->pool);

    *(const memsess_cookie_t **)place(cmd, dir_conf, NULL) = cookie;
    return error ? refuse(cmd, cmd->directive->args, error) : NULL;
}

static const char *set_secret(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    const char *error = memsess_secret_syntax(arg);
    apr_array_header_t **sources;
    int was_set, i;

    if (error) {
        return refuse(cmd, arg, error);
    }
    sources = place(cmd, dir_conf, &was_set);
    if (!was_set) {
        *sources = apr_array_make(cmd->pool, 2, sizeof(const char *));
    }
    for (i = 0; i < (*sources)->nelts; i++) {
        if (!strcmp(APR_ARRAY_IDX(*sources, i, const char *), arg)) {
            return refuse(cmd, arg, "is named twice: leave one out");
        }
    }
    if (i == MEMSESS_SECRETS_MAX) {
        return refuse(cmd, arg, "is one too many: 8 secrets are accepted at most");
    }
    APR_ARRAY_PUSH(*sources, const char *) = arg;
    return NULL;
}

static const char *set_connections(cmd_parms *cmd, void *dir_conf, const char *max,
                                   const char *idle)
{
    memsess_srv_conf_t *conf = memsess_srv_conf(cmd->server);
    const char *error = set_int(cmd, dir_conf, max);

    conf->conn_idle = apr_time_from_sec(60);
    if (!error && idle
        && (strncasecmp(idle, "idle=", 5) || !parse_time(idle + 5, &conf->conn_idle)
            || conf->conn_idle < MEMSESS_MS)) {
        return refuse(cmd, idle, "must be idle= and a time: a number and ms, s, min or h");
    }
    return error;
}

/* A number of bytes, or of K, M or G of them; 0 where it is none. */
static apr_int64_t parse_size(const char *arg)
{
    static const char units[] = "kmg";
    char *end;
    apr_int64_t n = apr_strtoi64(arg, &end, 10);
    const char *unit = *end ? strchr(units, apr_tolower(*end)) : NULL;
    int shift;

    if (!apr_isdigit(*arg) || (*end && (!unit || end[1]))) {
        return 0;
    }
    for (shift = unit ? 10 * (int)(unit - units + 1) : 0; shift; shift -= 10) {
        n = n > APR_INT64_MAX / 1024 ? 0 : n * 1024;
    }
    return n;
}

static const char *set_local_cache(cmd_parms *cmd, void *dir_conf, const char *size,
                                   const char *max_age)
{
    memsess_srv_conf_t *conf = memsess_srv_conf(cmd->server);
    const slot_t *slot = cmd->info;
    apr_int64_t n = strcasecmp(size, "off") ? parse_size(size) : 0;

    if (cmd->server->is_virtual) {
        return refuse(cmd, size, "is one for the whole server: put it outside of <VirtualHost>");
    }
    if (strcasecmp(size, "off") && (n < slot->least || n > slot->most)) {
        return refuse(cmd, size, "must be a number of bytes, from 64K on (K, M and G may follow), "
                                 "or Off");
    }
    *(apr_int64_t *)place(cmd, dir_conf, NULL) = n;
    conf->cache_max_age = apr_time_from_sec(1);
    if (max_age && (strncasecmp(max_age, "max-age=", 8)
                    || !parse_time(max_age + 8, &conf->cache_max_age)
                    || conf->cache_max_age < MEMSESS_MS
                    || conf->cache_max_age > apr_time_from_sec(3600))) {
        return refuse(cmd, max_age, "must be max-age= and a time from 1ms to 1h: a number and ms, "
                                    "s, min or h");
    }
    return NULL;
}

#define AUTH_LINE "must hold one line user:password, without spaces"

static const char *set_auth(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    const char *path = ap_server_root_relative(cmd->temp_pool, arg);
    const char *error;
    char line[512], *colon;
    apr_size_t len = 0;

    if (!path) {
        return refuse(cmd, arg, "is no path");
    }
    error = memsess_secret_file(path, "it " AUTH_LINE, line, sizeof(line) - 1, &len,
                                cmd->temp_pool);
    if (error) {
        return refuse(cmd, arg, error);
    }
    line[len] = '\0';
    line[strcspn(line, "\r\n")] = '\0';
    colon = strchr(line, ':');
    if (!colon || colon == line || !colon[1] || strpbrk(line, " \t")) {
        return refuse(cmd, arg, AUTH_LINE);
    }
    *colon = ' ';
    *(const char **)place(cmd, dir_conf, NULL) = apr_pstrdup(cmd->pool, line);
    return NULL;
}

static const char *set_servers(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    memsess_member_t member;
    const char *error = memsess_member_parse(&member, arg, cmd->pool);
    apr_array_header_t **members;
    int was_set, i;

    if (error) {
        return refuse(cmd, arg, error);
    }
    members = place(cmd, dir_conf, &was_set);
    if (!was_set) {
        *members = apr_array_make(cmd->pool, 4, sizeof(memsess_member_t));
    }
    for (i = 0; i < (*members)->nelts; i++) {
        const memsess_member_t *other = &APR_ARRAY_IDX(*members, i, memsess_member_t);

        if (memsess_member_same(other, &member)) {
            return refuse(cmd, arg, apr_psprintf(cmd->pool, "this server is named twice, as %s "
                                                 "already: leave one out",
                                                 other->server.name));
        }
    }
    APR_ARRAY_PUSH(*members, memsess_member_t) = member;
    return NULL;
}

/* -- The commands ----------------------------------------------------------------------------- */

#define SRV_COMMAND(type, field, value, args, name, setter, least, most, help)                     \
    AP_INIT_##args(name, setter, (void *)&slot_##field, RSRC_CONF, help),
#define DIR_COMMAND(type, field, value, args, name, setter, least, most, help)                     \
    AP_INIT_##args(name, setter, (void *)&slot_##field, RSRC_CONF | ACCESS_CONF, help),

const command_rec memsess_commands[] = {
    MEMSESS_SRV_SETTINGS(SRV_COMMAND)
    MEMSESS_DIR_SETTINGS(DIR_COMMAND)
    {NULL, {NULL}, NULL, 0, NO_ARGS, NULL}
};

/* -- The whole -------------------------------------------------------------------------------- */

void memsess_conf_start(apr_pool_t *pconf)
{
    timeouts_seen = apr_array_make(pconf, 8, sizeof(timeouts_t));
    sessions_wanted = 0;
    largest = MEMSESS_MAX_SIZE;
}

/* For messages. */
static const char *name_of(server_rec *s, apr_pool_t *p)
{
    return s->is_virtual ? apr_psprintf(p, "virtual host %s:%d (%s, line %u)",
                                        s->server_hostname ? s->server_hostname : "?", s->port,
                                        s->defn_name, s->defn_line_number)
                         : "the server";
}

static int copies_ok(server_rec *s, apr_pool_t *ptemp)
{
    const memsess_srv_conf_t *conf = memsess_srv_conf(s);

    if (!conf->copies_set || conf->copies <= conf->members->nelts) {
        return 1;
    }
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, s,
                 "MemSessRedundancy %d: the pool of %s has only %d server%s: name more in "
                 "MemSessServers, or ask for fewer copies", conf->copies,
                 name_of(s, ptemp), conf->members->nelts,
                 conf->members->nelts == 1 ? "" : "s");
    return 0;
}

static int timeouts_ok(const timeouts_t *seen, apr_pool_t *ptemp)
{
    void *base = ap_get_module_config(seen->server->lookup_defaults, &memsess_module);
    const memsess_dir_conf_t *conf = memsess_dir_conf_merge(ptemp, base, seen->dir_conf);

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

/* How long a program may take to print a secret. */
#define EXEC_WAIT apr_time_from_sec(10)

/* What came of reading a source: once, whoever shares it. */
typedef struct source_t {
    memsess_raw_secret_t raw;
    const char *error;
} source_t;

static apr_status_t cleanse_source(void *source)
{
    memsess_cleanse(source, sizeof(source_t));
    return APR_SUCCESS;
}

static const source_t *read_source(const char *name, server_rec *s, apr_hash_t *sources,
                                   apr_pool_t *ptemp)
{
    source_t *source = apr_hash_get(sources, name, APR_HASH_KEY_STRING);

    if (!source) {
        source = apr_pcalloc(ptemp, sizeof(*source));
        apr_pool_cleanup_register(ptemp, source, cleanse_source, apr_pool_cleanup_null);
        apr_hash_set(sources, name, APR_HASH_KEY_STRING, source);
        source->error = ap_state_query(AP_SQ_RUN_MODE) == AP_SQ_RM_NORMAL
                            ? memsess_secret_read(name, EXEC_WAIT, &source->raw, ptemp)
                            : memsess_secret_look(name, ptemp);
        if (source->error) {
            ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, s, "MemSessSecret %s: %s", name,
                         source->error);
        }
    }
    return source;
}

/* Where the configuration is only tested, nothing is run and no key is made; where it is dumped,
 * nothing is read. */
static int secrets_ok(server_rec *s, apr_hash_t *sources, apr_pool_t *pconf, apr_pool_t *ptemp)
{
    memsess_srv_conf_t *conf = memsess_srv_conf(s);
    int mode = ap_state_query(AP_SQ_RUN_MODE), i, ok = 1;
    memsess_secrets_t *secrets;

    if (!conf->sources) {
        ok = !conf->seal_set || !conf->seal;
        if (!ok) {
            ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, s, "MemSessSeal On: %s has no "
                         "secret to seal with: name one in MemSessSecret", name_of(s, ptemp));
        }
        return ok;
    }
    if (mode == AP_SQ_RM_CONFIG_DUMP) {
        return 1;
    }
    conf->secrets = secrets = memsess_secrets_make(pconf);
    for (i = 0; i < conf->sources->nelts; i++) {
        const source_t *source = read_source(APR_ARRAY_IDX(conf->sources, i, const char *), s,
                                             sources, ptemp);

        ok &= !source->error && (mode != AP_SQ_RM_NORMAL
                                 || memsess_secrets_add(secrets, &source->raw, conf->ns)
                                        == APR_SUCCESS);
    }
    return ok;
}

/* The revision in the cookie is what makes an own copy safe, if the client did not make it up. */
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
        memsess_srv_conf(s)->cache = memsess_srv_conf(s)->secrets ? cache : NULL;
    }
    return rv;
}

/* httpd reads its configuration twice when it starts: what is allowed, but hardly meant, is said
 * the second time, or by apachectl -t. */
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
    memsess_count_advise(warning, text);
}

static void warn(server_rec *main_server, say_fn *say, apr_pool_t *p)
{
    int is_signed = 0;
    server_rec *s;

    for (s = main_server; s; s = s->next) {
        const memsess_srv_conf_t *conf = memsess_srv_conf(s), *first = memsess_srv_conf(main_server);

        is_signed |= conf->secrets != NULL;
        if (conf->copies_set && conf->copies == 1 && conf->members->nelts > 1
            && (s == main_server || first->copies != 1 || first->members != conf->members)) {
            say(s, MEMSESS_WARN_REDUNDANCY,
                apr_psprintf(p, "MemSessRedundancy 1: each session of %s is on one of its %d "
                             "servers alone, and lost with it: ask for 2 copies", name_of(s, p),
                             conf->members->nelts));
        }
    }
    if (!is_signed && sessions_wanted) {
        say(main_server, MEMSESS_WARN_SECRET,
            "there is no MemSessSecret: cookies are not signed, and whoever can read memcached "
            "reads the sessions: name the same secret on all members");
    }
}

int memsess_conf_check(server_rec *main_server, apr_pool_t *pconf, apr_pool_t *ptemp)
{
    apr_hash_t *sources = apr_hash_make(ptemp);
    server_rec *s;
    int i, ok = cache_ok(main_server);

    for (s = main_server; s; s = s->next) {
        ok &= copies_ok(s, ptemp);
        ok &= secrets_ok(s, sources, pconf, ptemp);
    }
    for (i = 0; i < timeouts_seen->nelts; i++) {
        ok &= timeouts_ok(&APR_ARRAY_IDX(timeouts_seen, i, timeouts_t), ptemp);
    }
    if (ok && !is_first_reading()) {
        warn(main_server, say_in_log, ptemp);
    }
    return ok;
}

static apr_status_t count_members(const memsess_srv_conf_t *conf, apr_pool_t *pconf)
{
    apr_status_t rv = APR_SUCCESS;
    int i;

    for (i = 0; i < conf->members->nelts && rv == APR_SUCCESS; i++) {
        memsess_member_t *member = &APR_ARRAY_IDX(conf->members, i, memsess_member_t);
        memsess_counted_t counted = {member->server.name,
                                     memsess_member_address(&member->server, pconf),
                                     member->weight, !conf->members_set, NULL};

        rv = memsess_count_list(&counted, &member->server.count);
    }
    return rv;
}

int memsess_conf_count(server_rec *main_server, apr_pool_t *pconf)
{
    apr_status_t rv = memsess_count_begin(main_server->process->pool, pconf);
    server_rec *s;

    for (s = main_server; s && rv == APR_SUCCESS; s = s->next) {
        rv = count_members(memsess_srv_conf(s), pconf);
    }
    if (rv == APR_SUCCESS) {
        warn(main_server, say_in_status, pconf);
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

        server->auth = conf->auth;
        server->timeout = conf->timeout;
        server->retry = conf->retry;
        server->max_conns = conf->max_conns_set ? conf->max_conns : threads;
        server->idle = conf->conn_idle;
    }
    store->members = members;
    store->copies = (unsigned)(conf->copies < members->nelts ? conf->copies : members->nelts);
    store->failover = conf->failover;
    store->compress = (apr_size_t)conf->compress;
    store->unpack = MEMSESS_UNPACK_TIMES * (apr_size_t)largest;
    store->secrets = conf->seal ? conf->secrets : NULL;
}
