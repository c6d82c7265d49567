/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "conf/private.h"

#include <string.h>

#include "apr_lib.h"
#include "http_core.h"
#include "http_log.h"

APLOG_USE_MODULE(memsess);

/* What a part of the configuration says about sessions. */
typedef struct says_t {
    int on;      /* there are sessions */
    int headers; /* and back ends see them */
} says_t;

/* A directive that makes a tunnel, and where it stands. */
typedef struct tunnel_t {
    const ap_directive_t *directive;
    const ap_directive_t *host; /* its virtual host, or NULL */
    const char *path;           /* path of the requests that it takes; NULL: that cannot be told */
} tunnel_t;

static const char *first_word(const ap_directive_t *d, apr_pool_t *p)
{
    const char *args = d->args;
    char *word = ap_getword_conf(p, &args);
    apr_size_t len = strlen(word);

    /* The argument of a section may end with its bracket. */
    if (*d->directive == '<' && len && word[len - 1] == '>') {
        word[len - 1] = '\0';
    }
    return word;
}

/* Whether it leads to mod_proxy_wstunnel. */
static int is_tunnel(const ap_directive_t *d)
{
    static const char *const names[] = {"ProxyPass", "ProxyPassMatch", "BalancerMember",
                                        "RewriteRule", "SetHandler"};
    static const char *const schemes[] = {"ws://", "wss://"};
    const char *at;
    unsigned i, j;

    for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
        for (j = 0; !strcasecmp(d->directive, names[i]) && j < 2; j++) {
            at = ap_strcasestr(d->args, schemes[j]);
            if (at && (at == d->args || !apr_isalnum(at[-1]))) {
                return 1;
            }
        }
    }
    return 0;
}

static void place_of(tunnel_t *tunnel, const ap_directive_t *d, apr_pool_t *p)
{
    const ap_directive_t *parent;

    *tunnel = (tunnel_t){.directive = d};
    if (!strcasecmp(d->directive, "ProxyPass")) {
        tunnel->path = first_word(d, p);
    }
    for (parent = d->parent; parent; parent = parent->parent) {
        if (!strcasecmp(parent->directive, "<VirtualHost")) {
            tunnel->host = parent;
        }
        else if (!strcasecmp(parent->directive, "<Location")) {
            tunnel->path = first_word(parent, p);
        }
    }
    if (tunnel->path && *tunnel->path != '/') {
        tunnel->path = NULL;
    }
}

/* Applies the directives from that one on. */
static says_t hear(says_t says, const ap_directive_t *d, apr_pool_t *p)
{
    for (; d; d = d->next) {
        if (!strcasecmp(d->directive, "MemSess")) {
            says.on = !strcasecmp(first_word(d, p), "on");
        }
        else if (!strcasecmp(d->directive, "MemSessExpose")) {
            says.headers = ap_strcasestr(d->args, "headers") != NULL;
        }
    }
    return says;
}

/* Applies the sections from that one on, if they take the tunnel's requests. A section that may
 * take some of them counts only if it exposes sessions. */
static says_t hear_sections(says_t says, const ap_directive_t *d, const tunnel_t *tunnel,
                            apr_pool_t *p)
{
    for (; d; d = d->next) {
        const char *path = strcasecmp(d->directive, "<Location") ? NULL : first_word(d, p);
        says_t there;

        if (*d->directive != '<' || !strcasecmp(d->directive, "<VirtualHost")) {
            continue;
        }
        there = hear(says, d->first_child, p);
        if (path && *path == '/' && tunnel->path) {
            if (!strncmp(tunnel->path, path, strlen(path))) {
                says = there;
            }
            else if (strncmp(path, tunnel->path, strlen(tunnel->path))) {
                continue;
            }
        }
        if (there.on && there.headers) {
            says = there;
        }
    }
    return says;
}

static int exposes_headers(const tunnel_t *tunnel, apr_pool_t *p)
{
    const ap_directive_t *in_host = tunnel->host ? tunnel->host->first_child : NULL;
    says_t says = {0};

    says = hear(says, ap_conftree, p);
    says = hear(says, in_host, p);
    says = hear_sections(says, ap_conftree, tunnel, p);
    says = hear_sections(says, in_host, tunnel, p);
    return says.on && says.headers;
}

static void look_for_tunnels(server_rec *main_server, const ap_directive_t *d, apr_pool_t *p)
{
    tunnel_t tunnel;

    for (; d; d = d->next) {
        if (is_tunnel(d)) {
            place_of(&tunnel, d, p);
            if (exposes_headers(&tunnel, p)) {
                ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_WARNING, 0, main_server,
                             "MemSess: %s (line %d of %s): ws:// under MemSessExpose headers: if "
                             "the back end answers anything but 101, the client goes on talking to "
                             "it past httpd, and can forge MemSess-Data: write http:// (or "
                             "https://) and upgrade=websocket instead",
                             d->directive, d->line_num, d->filename);
            }
        }
        look_for_tunnels(main_server, d->first_child, p);
    }
}

void memsess_conf_warn_of_tunnels(server_rec *main_server, apr_pool_t *ptemp)
{
    look_for_tunnels(main_server, ap_conftree, ptemp);
}
