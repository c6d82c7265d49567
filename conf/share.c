/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Finds virtual hosts that share their users although no namespace says so. */

#include "conf/private.h"

#include <string.h>

#include "apr_fnmatch.h"
#include "apr_strings.h"
#include "conf/server.h"
#include "http_core.h"
#include "http_log.h"

APLOG_USE_MODULE(memsess);

#define HOSTS_SHOWN 3

/* Hosts that share their sessions; of several hosts of one site, the first alone. */
typedef struct sharing_t {
    server_rec *host[HOSTS_SHOWN];
    int n; /* of all sites */
} sharing_t;

static int is_name_of(const server_rec *s, const char *name)
{
    int i, is = s->server_hostname && !strcasecmp(s->server_hostname, name);

    for (i = 0; s->names && i < s->names->nelts && !is; i++) {
        is = !strcasecmp(APR_ARRAY_IDX(s->names, i, const char *), name);
    }
    for (i = 0; s->wild_names && i < s->wild_names->nelts && !is; i++) {
        is = apr_fnmatch(APR_ARRAY_IDX(s->wild_names, i, const char *), name, APR_FNM_CASE_BLIND)
             == APR_SUCCESS;
    }
    return is;
}

static int has_name_of(const server_rec *a, const server_rec *b)
{
    int i, has = b->server_hostname && is_name_of(a, b->server_hostname);

    for (i = 0; b->names && i < b->names->nelts && !has; i++) {
        has = is_name_of(a, APR_ARRAY_IDX(b->names, i, const char *));
    }
    return has;
}

/* Such as the same name on another port, or a part of the site. */
static int is_same_site(const server_rec *a, const server_rec *b)
{
    return has_name_of(a, b) || has_name_of(b, a);
}

static int is_same_pool(const apr_array_header_t *a, const apr_array_header_t *b)
{
    int i, k, same = a->nelts == b->nelts;

    for (i = 0; a != b && i < a->nelts && same; i++) {
        for (k = 0; k < b->nelts && !memsess_member_same(&APR_ARRAY_IDX(a, i, memsess_member_t),
                                                         &APR_ARRAY_IDX(b, k, memsess_member_t));
             k++) {
        }
        same = k < b->nelts;
    }
    return same;
}

static int has_common_secret(const memsess_secrets_t *a, const memsess_secrets_t *b)
{
    unsigned i, k;

    for (i = 0; a && b && i < a->n; i++) {
        for (k = 0; k < b->n; k++) {
            if (!memcmp(a->secret[i].id, b->secret[k].id, MEMSESS_SECRET_ID_BYTES)) {
                return 1;
            }
        }
    }
    return !a && !b;
}

/* An administrator who names a namespace, even the same one for several hosts, means it. */
static int may_share(server_rec *s)
{
    const memsess_dir_conf_t *dir = memsess_host_conf(s);
    const memsess_srv_conf_t *conf = memsess_srv_conf(s);

    return s->is_virtual && !conf->ns_set && (conf->in_section || (dir && dir->enabled));
}

static sharing_t *sharing_of(server_rec *s, apr_array_header_t *all)
{
    const memsess_srv_conf_t *conf = memsess_srv_conf(s);
    sharing_t *sharing;
    int i;

    for (i = 0; i < all->nelts; i++) {
        const memsess_srv_conf_t *first;

        sharing = &APR_ARRAY_IDX(all, i, sharing_t);
        first = memsess_srv_conf(sharing->host[0]);
        if (is_same_pool(first->members, conf->members)
            && has_common_secret(first->secrets, conf->secrets)) {
            return sharing;
        }
    }
    sharing = apr_array_push(all);
    sharing->n = 0;
    return sharing;
}

static void add_host(sharing_t *sharing, server_rec *s)
{
    int i;

    for (i = 0; i < sharing->n && i < HOSTS_SHOWN; i++) {
        if (is_same_site(sharing->host[i], s)) {
            return;
        }
    }
    if (i < HOSTS_SHOWN) {
        sharing->host[i] = s;
    }
    sharing->n++;
}

void memsess_conf_warn_of_shared(server_rec *main_server, apr_pool_t *ptemp)
{
    apr_array_header_t *all = apr_array_make(ptemp, 4, sizeof(sharing_t));
    server_rec *s;
    int i, k;

    for (s = main_server; s; s = s->next) {
        if (may_share(s)) {
            add_host(sharing_of(s, all), s);
        }
    }
    for (i = 0; i < all->nelts; i++) {
        const sharing_t *sharing = &APR_ARRAY_IDX(all, i, sharing_t);
        const char *names = sharing->host[0]->server_hostname;

        for (k = 1; k < sharing->n && k < HOSTS_SHOWN; k++) {
            names = apr_pstrcat(ptemp, names, k + 1 < sharing->n ? ", " : " and ",
                                sharing->host[k]->server_hostname, NULL);
        }
        if (sharing->n > 1) {
            ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_WARNING, 0, sharing->host[0],
                         "MemSess: the virtual hosts %s%s share their sessions and users, so a "
                         "user who logs in as admin on one of them is admin on all: give each a "
                         "MemSessNamespace of its own or, if they are to share, name one for all "
                         "of them", names, sharing->n > HOSTS_SHOWN ? " and others" : "");
        }
    }
}
