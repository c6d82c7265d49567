/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Virtual hosts, as the status shows them: their pools, and the configuration in force. */

#include "http/status.h"

#include <string.h>

#include "apr_strings.h"
#include "http_core.h"
#include "memsess_conf.h"

static int is_same(const apr_array_header_t *a, const apr_array_header_t *b)
{
    int i = 0;

    while (i < a->nelts && i < b->nelts) {
        const memsess_setting_t *x = &APR_ARRAY_IDX(a, i, memsess_setting_t);
        const memsess_setting_t *y = &APR_ARRAY_IDX(b, i, memsess_setting_t);

        if (x->directive != y->directive || strcmp(x->value, y->value)) {
            return 0;
        }
        i++;
    }
    return a->nelts == b->nelts;
}

/* Adds the sections that have some setting of ours, without those of the main server, which all
 * hosts inherit. */
static void add_sections(apr_array_header_t *sections, const apr_array_header_t *all,
                         const apr_array_header_t *inherited, apr_pool_t *p)
{
    int i;

    for (i = inherited ? inherited->nelts : 0; all && i < all->nelts; i++) {
        ap_conf_vector_t *conf = APR_ARRAY_IDX(all, i, ap_conf_vector_t *);
        const core_dir_config *core = ap_get_core_module_config(conf);
        const memsess_dir_conf_t *ours = ap_get_module_config(conf, &memsess_module);
        apr_array_header_t *settings = ours ? memsess_conf_show_dir(ours, p) : NULL;

        if (settings && settings->nelts) {
            APR_ARRAY_PUSH(sections, memsess_section_t) = (memsess_section_t){
                core->r ? apr_pstrcat(p, "~ ", core->d, NULL) : core->d, settings};
        }
    }
}

static apr_array_header_t *sections_of(server_rec *s, server_rec *main_server, apr_pool_t *p)
{
    const core_server_config *core = ap_get_core_module_config(s->module_config);
    const core_server_config *first = ap_get_core_module_config(main_server->module_config);
    apr_array_header_t *sections = apr_array_make(p, 2, sizeof(memsess_section_t));

    add_sections(sections, core->sec_dir, s == main_server ? NULL : first->sec_dir, p);
    add_sections(sections, core->sec_url, s == main_server ? NULL : first->sec_url, p);
    return sections;
}

static apr_array_header_t *names_of(const memsess_srv_conf_t *conf, apr_pool_t *p)
{
    apr_array_header_t *names = apr_array_make(p, conf->members->nelts, sizeof(const char *));
    int i;

    for (i = 0; i < conf->members->nelts; i++) {
        APR_ARRAY_PUSH(names, const char *) =
            APR_ARRAY_IDX(conf->members, i, memsess_member_t).server.name;
    }
    return names;
}

static void fill(memsess_host_t *host, server_rec *s, server_rec *main_server, apr_pool_t *p)
{
    const memsess_srv_conf_t *conf = memsess_srv_conf(s);
    const memsess_dir_conf_t *dir = memsess_host_conf(s);

    host->name = s != main_server && s->server_hostname ? s->server_hostname : "";
    host->port = s->addrs && s != main_server ? s->addrs->host_port : s->port;
    host->servers = names_of(conf, p);
    host->ns = conf->ns;
    host->copies = memsess_conf_copies(conf);
    host->idle = dir->idle;
    host->is_signed = conf->sources != NULL;
    host->is_sealed = conf->sources && conf->seal;
    host->settings = memsess_conf_show_srv(conf, p);
    apr_array_cat(host->settings, memsess_conf_show_dir(dir, p));
    host->sections = sections_of(s, main_server, p);
}

/* httpd lists the last host first; this restores the order of the configuration. The main server
 * stays first. */
static void turn_round(apr_array_header_t *hosts)
{
    memsess_host_t *host = (memsess_host_t *)hosts->elts;
    int i = 1, k = hosts->nelts - 1;

    for (; i < k; i++, k--) {
        memsess_host_t other = host[i];

        host[i] = host[k];
        host[k] = other;
    }
}

apr_array_header_t *memsess_status_hosts(server_rec *main_server, apr_pool_t *p)
{
    apr_array_header_t *hosts = apr_array_make(p, 4, sizeof(memsess_host_t));
    server_rec *s;

    for (s = main_server; s; s = s->next) {
        memsess_host_t *host = apr_array_push(hosts);

        fill(host, s, main_server, p);
        host->is_like_first = s != main_server && !host->sections->nelts
                              && is_same(host->settings,
                                         APR_ARRAY_IDX(hosts, 0, memsess_host_t).settings);
    }
    turn_round(hosts);
    return hosts;
}
