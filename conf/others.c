/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "conf/others.h"

#include <string.h>

#include "apr_strings.h"
#include "http_core.h"
#include "memsess_conf.h"

/* Parses it into the words that mod_authz_core sees. */
int memsess_is_negated(const ap_directive_t *d, apr_pool_t *p)
{
    const char *args = d->args;

    if (!strcasecmp(ap_getword_conf(p, &args), "not")) {
        return 1;
    }
    while ((d = d->parent)) {
        if (!strcasecmp(d->directive, "<RequireNone")
            || !strcasecmp(d->directive, "<RequireNotAll")) {
            return 1;
        }
    }
    return 0;
}

static int is_within(const ap_directive_t *d, const char *section)
{
    while ((d = d->parent)) {
        if (!strncasecmp(d->directive, section, strlen(section))) {
            return 1;
        }
    }
    return 0;
}

/* What a Require asks for. */
typedef struct asked_t {
    const char *provider, *args;
} asked_t;

/* An <AuthzProviderAlias> of that name replaces the words of the Require. httpd refuses an alias
 * within a section, so the walk is short, also for a Require in an .htaccess. */
static void look_behind_alias(asked_t *asked, apr_pool_t *p)
{
    const ap_directive_t *d;

    for (d = ap_conftree; d; d = d->next) {
        const char *args = d->args, *provider;

        if (strcasecmp(d->directive, "<AuthzProviderAlias")) {
            continue;
        }
        args = apr_pstrmemdup(p, args, strcspn(args, ">"));
        provider = ap_getword_conf(p, &args);
        if (!strcmp(ap_getword_conf(p, &args), asked->provider)) {
            *asked = (asked_t){.provider = provider, .args = ap_getword_conf(p, &args)};
            return;
        }
    }
}

static asked_t what_is_asked(const char *args, apr_pool_t *p)
{
    asked_t asked;

    asked.provider = ap_getword_conf(p, &args);
    if (!strcasecmp(asked.provider, "not")) {
        asked.provider = ap_getword_conf(p, &args);
    }
    asked.args = args;
    look_behind_alias(&asked, p);
    return asked;
}

static int is_among(const char *name, const char *const *names, unsigned n)
{
    while (n && strcmp(names[n - 1], name)) {
        n--;
    }
    return n > 0;
}

#define IS_AMONG(name, names) is_among(name, names, sizeof(names) / sizeof(*(names)))

/* Whether it may let in everybody, since it asks neither who nor where a client is. An
 * expression may ask for that, but we cannot see whether it does. */
static int may_be_anybody(asked_t asked, apr_pool_t *p)
{
    static const char *const names[] = {"env", "expr", "method", "ssl"};

    return strcmp(asked.provider, "all") ? IS_AMONG(asked.provider, names)
                                         : strcasecmp(ap_getword_conf(p, &asked.args), "denied");
}

/* A Require for some methods does not guard the others, and one that keeps some clients out lets
 * in all others. Beside a Require that lets in everybody the others keep nobody out, unless all
 * must hold. */
static void see_guard(memsess_dir_conf_t *conf, const ap_directive_t *d, asked_t asked,
                      apr_pool_t *p)
{
    if (memsess_is_negated(d, p)) {
        return;
    }
    if (may_be_anybody(asked, p)) {
        conf->is_open |= !d->parent || strcasecmp(d->parent->directive, "<RequireAll");
    }
    else {
        conf->is_guarded |= !is_within(d, "<Limit");
    }
}

/* Whether a provider gives every user the same answer. */
static int needs_no_user(const char *provider)
{
    static const char *const names[] = {"all", "env", "expr", "forward-dns", "host", "ip", "local",
                                        "memsess", "memsess-login-age", "method"};

    return IS_AMONG(provider, names);
}

const char *memsess_see_require(cmd_parms *cmd, void *dir_conf, const char *args)
{
    memsess_dir_conf_t *conf = dir_conf;
    asked_t asked = what_is_asked(args, cmd->temp_pool);

    conf->requires_set = 1;
    see_guard(conf, cmd->directive, asked, cmd->temp_pool);
    /* Without mod_authz_core everybody would be let in. */
    if (!ap_find_linked_module("mod_authz_core.c")) {
        return "Require needs mod_authz_core: load it";
    }
    if (!strcmp(asked.provider, "memsess") || !strcmp(asked.provider, "memsess-login-age")) {
        conf->requires |= MEMSESS_REQUIRES_SESSION;
    }
    if (!needs_no_user(asked.provider) && memsess_is_negated(cmd->directive, cmd->temp_pool)) {
        conf->requires |= MEMSESS_REQUIRES_NOT_USER;
    }
    return NULL;
}

const char *memsess_see_merging(cmd_parms *cmd, void *dir_conf, const char *how)
{
    (void)cmd;
    ((memsess_dir_conf_t *)dir_conf)->merges_or = !strcasecmp(how, "or");
    return NULL;
}

const char *memsess_see_handler(cmd_parms *cmd, void *dir_conf, const char *name)
{
    memsess_dir_conf_t *conf = dir_conf;

    conf->handler_set = 1;
    conf->is_admin = !strcasecmp(name, MEMSESS_ADMIN_HANDLER);
    return conf->is_admin && ap_check_cmd_context(cmd, NOT_IN_HTACCESS)
               ? "SetHandler " MEMSESS_ADMIN_HANDLER " is for the server's configuration, not for "
                 ".htaccess"
               : NULL;
}
