/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "conf/private.h"

#include <stddef.h>
#include <string.h>

#include "apr_lib.h"
#include "apr_strings.h"
#include "conf/help.h"
#include "conf/login.h"
#include "conf/others.h"
#include "conf/server.h"
#include "http_core.h"
#include "session/change.h"

#define NAMESPACE_MAX 128

/* Where a directive puts its value. */
typedef struct slot_t {
    int in_server;
    apr_size_t value, set;
    apr_int64_t least, most;
    const char *name;
} slot_t;

#define SLOT(conf_t, in_server, field, name, least, most)                                          \
    static const slot_t slot_##field = {in_server, offsetof(conf_t, field),                        \
                                        offsetof(conf_t, field##_set), least, most, name};
#define SRV_SLOT(type, field, value, args, name, kind, least, most)                                \
    SLOT(memsess_srv_conf_t, 1, field, #name, least, most)
#define DIR_SLOT(type, field, value, args, name, kind, least, most)                                \
    SLOT(memsess_dir_conf_t, 0, field, #name, least, most)
MEMSESS_SRV_SETTINGS(SRV_SLOT)
MEMSESS_DIR_SETTINGS(DIR_SLOT)

/* The defaults of second words. */
#define DEFAULT_WORD(type, field, value) static const type default_##field = value;
#define DEFAULT_TAKE1(type, field, value)
#define DEFAULT_TAKE12(type, field, value)
#define DEFAULT_ITERATE(type, field, value)
#define SECOND(type, field, value, args, name, kind, least, most)                                  \
    DEFAULT_##args(type, field, value)
MEMSESS_SRV_SETTINGS(SECOND)

memsess_seen_t memsess_seen;

const char *const memsess_flag_words[] = {"Off", "On"};
const char *const memsess_lock_words[] = {"none", "commit", "request"};
const char *const memsess_on_error_words[] = {"deny", "anonymous"};
const char *const memsess_expose_words[] = {"none", "env", "headers", "user-sessions"};
const char *const memsess_bind_words[] = {"off", "ua", "ip", "tls"};

void memsess_conf_start(apr_pool_t *pconf)
{
    memsess_seen.timeouts = apr_array_make(pconf, 8, sizeof(memsess_timeouts_t));
    memsess_seen.sessions = 0;
    memsess_seen.largest = MEMSESS_MAX_SIZE;
    memsess_seen.tls = NULL;
    memsess_seen.failed = apr_array_make(pconf, 2, sizeof(memsess_failed_t));
    memsess_seen.cookies = apr_array_make(pconf, 4, sizeof(memsess_named_t));
    memsess_seen.users = apr_array_make(pconf, 2, sizeof(const char *));
}

/* -- Structures ------------------------------------------------------------------------------- */

#define DEFAULT(type, field, value, args, name, kind, least, most) conf->field = value;
#define MERGE(type, field, value, args, name, kind, least, most)                                   \
    if (add->field##_set) {                                                                        \
        conf->field = add->field;                                                                  \
        conf->field##_set = 1;                                                                     \
    }

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
    return conf;
}

void *memsess_srv_conf_merge(apr_pool_t *p, void *base_v, void *add_v)
{
    const memsess_srv_conf_t *base = base_v, *add = add_v;
    memsess_srv_conf_t *conf = apr_pmemdup(p, base, sizeof(*conf));

    MEMSESS_SRV_SETTINGS(MERGE)
    conf->binds = base->binds || add->binds;
    conf->in_section = base->in_section || add->in_section;
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
    memsess_dir_conf_t *conf = apr_pmemdup(p, base, sizeof(*conf));

    MEMSESS_DIR_SETTINGS(MERGE)
    conf->requires = base->requires | add->requires;
    conf->requires_set = base->requires_set || add->requires_set;
    conf->is_guarded = (add->requires_set ? add : base)->is_guarded;
    conf->is_open = add->is_open || ((add->merges_or || !add->requires_set) && base->is_open);
    conf->merges_or = 0;
    conf->handler_set = base->handler_set || add->handler_set;
    conf->is_admin = (add->handler_set ? add : base)->is_admin;
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

memsess_dir_conf_t *memsess_host_conf(const server_rec *s)
{
    return ap_get_module_config(s->lookup_defaults, &memsess_module);
}

apr_interval_time_t memsess_refresh(apr_interval_time_t idle)
{
    return idle / 10 < apr_time_from_sec(60) ? idle / 10 : apr_time_from_sec(60);
}

apr_interval_time_t memsess_conf_refresh(const memsess_dir_conf_t *conf)
{
    apr_interval_time_t refresh = conf->refresh_set ? conf->refresh : memsess_refresh(conf->idle);

    return refresh < conf->idle / 2 ? refresh : conf->idle / 2;
}

unsigned memsess_conf_verbs(const memsess_dir_conf_t *conf)
{
    if (conf->writeback_verbs_set) {
        return (unsigned)conf->writeback_verbs;
    }
    /* Only "*" matches no name at all. */
    return memsess_keys_match(conf->writeback_keys, "")
               ? ~(1U << MEMSESS_ADMIN)
               : 1U << MEMSESS_SET | 1U << MEMSESS_UNSET | 1U << MEMSESS_INCR;
}

/* -- Setters ---------------------------------------------------------------------------------- */

/* The error of a directive: its name, the value, and what is wrong or what to do. */
static const char *refuse(cmd_parms *cmd, const char *arg, const char *why)
{
    return apr_pstrcat(cmd->pool, cmd->cmd->name, " ", arg, ": ", why, NULL);
}

/* The place of a value, marked as set; was_set tells whether this section set it before. */
static void *place_of(const slot_t *slot, cmd_parms *cmd, void *dir_conf, int *was_set)
{
    char *conf = slot->in_server ? (char *)memsess_srv_conf(cmd->server) : dir_conf;
    unsigned char *set = (unsigned char *)conf + slot->set;

    if (was_set) {
        *was_set = *set;
    }
    *set = 1;
    return conf + slot->value;
}

/* That of the directive. */
static void *place(cmd_parms *cmd, void *dir_conf, int *was_set)
{
    return place_of(cmd->info, cmd, dir_conf, was_set);
}

/* The index of a word among some; -1: it is none of them. */
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

/* The array that a directive fills word by word, for elements of this size. */
static apr_array_header_t *list_at(cmd_parms *cmd, void *dir_conf, int size)
{
    int was_set;
    apr_array_header_t **list = place(cmd, dir_conf, &was_set);

    if (!was_set) {
        *list = apr_array_make(cmd->pool, 4, size);
    }
    return *list;
}

/* Sets the index of the word among the words of a directive. */
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
    if (cmd->info == &slot_enabled && !strcasecmp(arg, "on")) {
        memsess_seen.sessions = 1;
        APR_ARRAY_PUSH(memsess_seen.cookies, memsess_named_t) =
            (memsess_named_t){.server = cmd->server, .conf = dir_conf};
        memsess_srv_conf(cmd->server)->in_section |=
            dir_conf != memsess_host_conf(cmd->server);
    }
    return set_word(cmd, dir_conf, arg, memsess_flag_words, 2, "must be On or Off");
}

static const char *set_lock(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    return set_word(cmd, dir_conf, arg, memsess_lock_words, 3, "must be none, commit or request");
}

static const char *set_on_error(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    return set_word(cmd, dir_conf, arg, memsess_on_error_words, 2, "must be deny or anonymous");
}

/* A number of bytes, or of K, M or G of them; 0: it is no such number. */
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

static const char *set_size(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    const slot_t *slot = cmd->info;
    apr_int64_t n = parse_size(arg);

    if (n < slot->least || n > slot->most) {
        return refuse(cmd, arg, apr_psprintf(cmd->pool, "must be a number of bytes from %"
                                             APR_INT64_T_FMT " to %" APR_INT64_T_FMT
                                             " (K, M and G may follow)", slot->least, slot->most));
    }
    *(apr_int64_t *)place(cmd, dir_conf, NULL) = n;
    if (slot == &slot_max_size && n > memsess_seen.largest) {
        memsess_seen.largest = n;
    }
    return NULL;
}

static const char *set_int(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    const slot_t *slot = cmd->info;
    char *end;
    apr_int64_t n = apr_strtoi64(arg, &end, 10);

    if (!apr_isdigit(*arg) || *end || n < slot->least || n > slot->most) {
        return refuse(cmd, arg, apr_psprintf(cmd->pool, "must be a number from %" APR_INT64_T_FMT
                                             " to %" APR_INT64_T_FMT, slot->least, slot->most));
    }
    *(int *)place(cmd, dir_conf, NULL) = (int)n;
    return NULL;
}

static const char *set_user_sessions(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    if (!strcasecmp(arg, "off")) {
        *(int *)place(cmd, dir_conf, NULL) = 0;
        return NULL;
    }
    return set_int(cmd, dir_conf, arg)
               ? refuse(cmd, arg, "must be a number from 1 to 100, or Off") : NULL;
}

static const char *set_compress(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    if (!strcasecmp(arg, "off")) {
        *(apr_int64_t *)place(cmd, dir_conf, NULL) = 0;
        return NULL;
    }
    return set_size(cmd, dir_conf, arg)
               ? refuse(cmd, arg, "must be a number of bytes above 0 (K, M and G may follow), or Off")
               : NULL;
}

/* httpd's parser of times takes any word that begins with a unit, so units are checked here. */
int memsess_conf_time(const char *arg, apr_interval_time_t *t)
{
    const char *unit = arg + strspn(arg, "0123456789");
    static const char *const units[] = {"", "ms", "s", "min", "h"};

    return unit != arg && word_index(unit, units, 5) >= 0
           && ap_timeout_parameter_parse(arg, t, "s") == APR_SUCCESS;
}

/* What a time must be, with the right spelling for one that other software takes. */
static const char *spelled_time(const char *arg, apr_pool_t *p)
{
    static const struct {
        const char *theirs, *ours;
        int times;
    } units[] = {{"m", "min", 1}, {"d", "h", 24}, {"w", "h", 168}, {"sec", "s", 1}};
    const char *unit = arg + strspn(arg, "0123456789");
    static const char rule[] = "a number and ms, s, min or h";
    unsigned i;

    for (i = 0; i < sizeof(units) / sizeof(*units); i++) {
        if (unit != arg && unit - arg < 9 && !strcasecmp(unit, units[i].theirs)) {
            return apr_psprintf(p, "%s (%" APR_INT64_T_FMT "%s, if you mean that)", rule,
                                apr_atoi64(arg) * units[i].times, units[i].ours);
        }
    }
    return rule;
}

static const char *set_time(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    const slot_t *slot = cmd->info;
    apr_interval_time_t t;

    if (!memsess_conf_time(arg, &t)) {
        return refuse(cmd, arg, apr_pstrcat(cmd->pool, "must be a time: ",
                                            spelled_time(arg, cmd->pool), NULL));
    }
    if (t < slot->least || t > slot->most) {
        return refuse(cmd, arg, apr_psprintf(cmd->pool, "must be from %" APR_INT64_T_FMT " ms to %"
                                             APR_INT64_T_FMT " s", apr_time_as_msec(slot->least),
                                             apr_time_sec(slot->most)));
    }
    *(apr_interval_time_t *)place(cmd, dir_conf, NULL) = t;
    if (slot == &slot_idle || slot == &slot_absolute) {
        memsess_timeouts_t *seen = apr_array_push(memsess_seen.timeouts);

        seen->server = cmd->server;
        seen->dir_conf = dir_conf;
        seen->directive = cmd->directive;
    }
    return NULL;
}

/* Collects words, each a bit by its index; the first word is for none, and stands alone. */
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
        return refuse(cmd, arg, apr_psprintf(cmd->pool, "%s cannot be combined with other words",
                                             words[0]));
    }
    *bits = (was_set ? *bits : 0) | (i ? 1 << (i - 1) : 0);
    return NULL;
}

static const char *set_expose(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    return set_bits(cmd, dir_conf, arg, memsess_expose_words, 4,
                    "must be any of env, headers and user-sessions, or none");
}

static const char *set_bind(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    if (!strcasecmp(arg, memsess_bind_words[1 + MEMSESS_BIND_TLS])) {
        memsess_seen.tls = cmd->directive;
    }
    memsess_srv_conf(cmd->server)->binds |= strcasecmp(arg, memsess_bind_words[0]) != 0;
    return set_bits(cmd, dir_conf, arg, memsess_bind_words, 4,
                    "must be any of ua, ip and tls, or off");
}

static const char *set_keys(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    apr_size_t len = strlen(arg);

    if (strcmp(arg, "*") != 0
        && !memsess_attr_name_ok(arg, len && arg[len - 1] == '*' ? len - 1 : len)) {
        return refuse(cmd, arg, "must be an attribute's name, 1 to 64 of [A-Za-z0-9_.-], with an "
                                "optional * at its end");
    }
    APR_ARRAY_PUSH(list_at(cmd, dir_conf, sizeof(arg)), const char *) = arg;
    return NULL;
}

static const char *set_verbs(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    int i = word_index(arg, memsess_verb_names, MEMSESS_VERBS), was_set;
    int *verbs;

    if (i < 0) {
        return refuse(cmd, arg, "must be any of set, unset, incr, renew, destroy, expire and admin");
    }
    verbs = place(cmd, dir_conf, &was_set);
    *verbs = (was_set ? *verbs : 0) | 1 << i;
    return NULL;
}

void memsess_conf_add_name(apr_array_header_t *names, const char *name)
{
    int i;

    for (i = 0; i < names->nelts && strcmp(APR_ARRAY_IDX(names, i, const char *), name); i++) {
    }
    if (i == names->nelts) {
        APR_ARRAY_PUSH(names, const char *) = name;
    }
}

static const char *set_attr_name(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    if (!memsess_attr_name_ok(arg, strlen(arg))) {
        return refuse(cmd, arg, "must be an attribute's name, 1 to 64 of [A-Za-z0-9_.-]");
    }
    *(const char **)place(cmd, dir_conf, NULL) = arg;
    memsess_conf_add_name(memsess_seen.users, arg);
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

void memsess_conf_add_cookie(server_rec *s, const char *name)
{
    memsess_seen.sessions = 1;
    APR_ARRAY_PUSH(memsess_seen.cookies, memsess_named_t) =
        (memsess_named_t){.server = s, .name = name};
}

static const char *set_cookie(cmd_parms *cmd, void *dir_conf, int argc, char *const argv[])
{
    memsess_cookie_t *cookie = apr_palloc(cmd->pool, sizeof(*cookie));
    const char *error = memsess_cookie_parse(cookie, argc, argv, cmd->pool);

    *(const memsess_cookie_t **)place(cmd, dir_conf, NULL) = cookie;
    APR_ARRAY_PUSH(memsess_seen.cookies, memsess_named_t) =
        (memsess_named_t){.server = cmd->server, .name = cookie->name, .conf = dir_conf};
    return error ? refuse(cmd, cmd->directive->args, error) : NULL;
}

static const char *set_secret(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    const char *error = memsess_secret_syntax(arg);
    apr_array_header_t *sources;
    int i;

    if (error) {
        return refuse(cmd, arg, error);
    }
    sources = list_at(cmd, dir_conf, sizeof(arg));
    for (i = 0; i < sources->nelts; i++) {
        if (!strcmp(APR_ARRAY_IDX(sources, i, const char *), arg)) {
            return refuse(cmd, arg, "is named twice: leave one out");
        }
    }
    if (i == MEMSESS_SECRETS_MAX) {
        return refuse(cmd, arg, "is one secret too many: name 8 at most");
    }
    APR_ARRAY_PUSH(sources, const char *) = arg;
    return NULL;
}

/* The second word of a directive, a setting of its own: the end of its name, and a time. Where it is
 * left out, that says the default. */
static const char *set_second(cmd_parms *cmd, const slot_t *slot, const char *arg,
                              apr_interval_time_t value)
{
    const char *word = strchr(slot->name, ' ') + 1;
    apr_size_t len = strlen(word);

    if (arg && (strncasecmp(arg, word, len) || !memsess_conf_time(arg + len, &value)
                || value < slot->least || value > slot->most)) {
        return refuse(cmd, arg, apr_psprintf(cmd->pool, "must be %s and a time from %"
                                             APR_INT64_T_FMT " ms to %" APR_INT64_T_FMT " s: %s",
                                             word, apr_time_as_msec(slot->least),
                                             apr_time_sec(slot->most),
                                             spelled_time(arg + strcspn(arg, "0123456789"),
                                                          cmd->pool)));
    }
    *(apr_interval_time_t *)place_of(slot, cmd, NULL, NULL) = value;
    return NULL;
}

static const char *set_connections(cmd_parms *cmd, void *dir_conf, const char *max,
                                   const char *idle)
{
    const char *error = set_int(cmd, dir_conf, max);

    return error ? error : set_second(cmd, &slot_conn_idle, idle, default_conn_idle);
}

static const char *set_local_cache(cmd_parms *cmd, void *dir_conf, const char *size,
                                   const char *max_age)
{
    const slot_t *slot = cmd->info;
    apr_int64_t n = strcasecmp(size, "off") ? parse_size(size) : 0;

    if (cmd->server->is_virtual) {
        return refuse(cmd, size, "applies to the whole server: put it outside <VirtualHost>");
    }
    if (strcasecmp(size, "off") && (n < slot->least || n > slot->most)) {
        return refuse(cmd, size, "must be a number of bytes, at least 64K (K, M and G may follow), "
                                 "or Off");
    }
    *(apr_int64_t *)place(cmd, dir_conf, NULL) = n;
    return set_second(cmd, &slot_cache_max_age, max_age, default_cache_max_age);
}

static const char *set_auth(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    const char *path = ap_server_root_relative(cmd->pool, arg);

    *(const char **)place(cmd, dir_conf, NULL) = path;
    return path ? NULL : refuse(cmd, arg, "is not a path");
}

static const char *set_servers(cmd_parms *cmd, void *dir_conf, const char *arg)
{
    memsess_member_t member;
    const char *error = memsess_member_parse(&member, arg, cmd->pool);
    apr_array_header_t *members;
    int i;

    if (error) {
        return refuse(cmd, arg, error);
    }
    members = list_at(cmd, dir_conf, sizeof(member));
    for (i = 0; i < members->nelts; i++) {
        const memsess_member_t *other = &APR_ARRAY_IDX(members, i, memsess_member_t);

        if (memsess_member_same(other, &member)) {
            return refuse(cmd, arg, apr_psprintf(cmd->pool, "this server is named twice, first as "
                                                 "%s: leave one out",
                                                 other->server.name));
        }
    }
    APR_ARRAY_PUSH(members, memsess_member_t) = member;
    return NULL;
}

/* -- The commands ----------------------------------------------------------------------------- */

#define COMMAND_TAKE1(...) AP_INIT_TAKE1(__VA_ARGS__),
#define COMMAND_TAKE12(...) AP_INIT_TAKE12(__VA_ARGS__),
#define COMMAND_TAKE_ARGV(...) AP_INIT_TAKE_ARGV(__VA_ARGS__),
#define COMMAND_ITERATE(...) AP_INIT_ITERATE(__VA_ARGS__),
#define COMMAND_WORD(...) /* of another command */
#define SRV_COMMAND(type, field, value, args, name, kind, least, most)                             \
    COMMAND_##args(#name, set_##kind, (void *)&slot_##field, RSRC_CONF, MEMSESS_HELP_##name)
#define DIR_COMMAND(type, field, value, args, name, kind, least, most)                             \
    COMMAND_##args(#name, set_##kind, (void *)&slot_##field, RSRC_CONF | ACCESS_CONF,              \
                   MEMSESS_HELP_##name)

const command_rec memsess_commands[] = {
    MEMSESS_SRV_SETTINGS(SRV_COMMAND)
    MEMSESS_DIR_SETTINGS(DIR_COMMAND)
    /* httpd calls every module that knows a directive: mod_authz_core obeys it, we only look at
     * it. */
    AP_INIT_RAW_ARGS("Require", memsess_see_require, NULL, OR_AUTHCFG,
                     "specifies authorization directives which one must pass (or not) for a "
                     "request to succeed"),
    AP_INIT_TAKE1("AuthMerging", memsess_see_merging, NULL, OR_AUTHCFG,
                  "a directive of mod_authz_core; memsess-admin looks at it, too"),
    AP_INIT_TAKE1("SetHandler", memsess_see_handler, NULL, OR_FILEINFO,
                  "a handler name that overrides any other configured handler"),
    {NULL, {NULL}, NULL, 0, NO_ARGS, NULL}
};
