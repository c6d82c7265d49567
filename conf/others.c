/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "conf/others.h"

#include <string.h>

#include "http_core.h"
#include "memsess_conf.h"

/* By the words that mod_authz_core takes it apart by. */
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

/* A Require of some methods guards none of the others, and one that keeps out a few lets in all others.
 * Beside one that lets in everybody the others keep nobody out, unless all are asked for. */
static void see_guard(memsess_dir_conf_t *conf, const ap_directive_t *d, const char *provider,
                      const char *args, apr_pool_t *p)
{
    if (strcasecmp(provider, "all") || strcasecmp(ap_getword_conf(p, &args), "granted")) {
        conf->is_guarded |= !is_within(d, "<Limit") && !memsess_is_negated(d, p);
    }
    else {
        conf->is_open |= !d->parent || strcasecmp(d->parent->directive, "<RequireAll");
    }
}

/* Whether a provider answers the same whoever the user is. */
static int needs_no_user(const char *provider)
{
    static const char *const names[] = {"all", "env", "expr", "forward-dns", "host", "ip", "local",
                                        "memsess", "memsess-login-age", "method"};
    unsigned i;

    for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (!strcmp(provider, names[i])) {
            return 1;
        }
    }
    return 0;
}

const char *memsess_see_require(cmd_parms *cmd, void *dir_conf, const char *args)
{
    memsess_dir_conf_t *conf = dir_conf;
    const char *provider = ap_getword_conf(cmd->temp_pool, &args);

    conf->requires_set = 1;
    see_guard(conf, cmd->directive, provider, args, cmd->temp_pool);
    /* We alone would let everybody in. */
    if (!ap_find_linked_module("mod_authz_core.c")) {
        return "Require needs mod_authz_core: load it";
    }
    if (!strcasecmp(provider, "not")) {
        provider = ap_getword_conf(cmd->temp_pool, &args);
    }
    if (!strcmp(provider, "memsess") || !strcmp(provider, "memsess-login-age")) {
        conf->requires |= MEMSESS_REQUIRES_SESSION;
    }
    if (!needs_no_user(provider) && memsess_is_negated(cmd->directive, cmd->temp_pool)) {
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
