/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "conf/server.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/un.h>

#include "apr_lib.h"
#include "apr_strings.h"
#include "store/ring.h"

#define DEFAULT_PORT 11211
#define NAME_MAX_LEN 128

static const char *parse_option(memsess_member_t *member, const char *option, apr_pool_t *p)
{
    if (!strncasecmp(option, "weight=", 7)) {
        char *end;
        apr_int64_t weight = apr_strtoi64(option + 7, &end, 10);

        if (!apr_isdigit(option[7]) || *end || weight < 1 || weight > MEMSESS_WEIGHT_MAX) {
            return apr_psprintf(p, "weight= must be a number from 1 to %d", MEMSESS_WEIGHT_MAX);
        }
        if (member->weight) {
            return "weight= is given twice";
        }
        member->weight = (unsigned)weight;
        return NULL;
    }
    if (!strncasecmp(option, "name=", 5)) {
        const char *c;

        for (c = option + 5; apr_isalnum(*c) || (*c && strchr("._:/[]-", *c)); c++) {
        }
        if (*c || !option[5] || strlen(option + 5) > NAME_MAX_LEN) {
            return "name= must be 1 to 128 of [A-Za-z0-9._:/[]-]";
        }
        if (member->server.name) {
            return "name= is given twice";
        }
        member->server.name = option + 5;
        return NULL;
    }
    return "what follows the address must be ?weight=N, ?name=NAME or both, joined by '&'";
}

static const char *parse_port(memsess_server_conf_t *server, const char *text)
{
    char *end;
    apr_int64_t port = apr_strtoi64(text, &end, 10);

    if (!apr_isdigit(*text) || *end || port < 1 || port > 65535) {
        return "the port must be a number from 1 to 65535";
    }
    server->port = (apr_port_t)port;
    return NULL;
}

static const char *parse_v6(memsess_server_conf_t *server, const char *address, apr_pool_t *p)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr v6;
    const char *close = strchr(address, ']');

    if (!close || inet_pton(AF_INET6, apr_pstrmemdup(p, address + 1,
                                                     (apr_size_t)(close - address - 1)), &v6) != 1
        || (close[1] && close[1] != ':')) {
        return "must be an IPv6 address in brackets and an optional port: [::1]:11211";
    }
    server->host = apr_pstrdup(p, inet_ntop(AF_INET6, &v6, text, sizeof(text)));
    return close[1] ? parse_port(server, close + 2) : NULL;
}

static const char *parse_host(memsess_server_conf_t *server, const char *address, apr_pool_t *p)
{
    const char *colon = strchr(address, ':');
    char *host = apr_pstrmemdup(p, address, colon ? (apr_size_t)(colon - address)
                                                  : strlen(address));
    struct in_addr v4;
    char *c;

    if (colon && strchr(colon + 1, ':')) {
        return "an IPv6 address must be in brackets: [::1]:11211";
    }
    for (c = host; apr_isalnum(*c) || (*c && strchr("._-", *c)); c++) {
        *c = (char)apr_tolower(*c);
    }
    if (*c || !*host || *host == '-' || *host == '.' || strlen(host) > 253 || strstr(host, "..")) {
        return "must be a host name or an address, with an optional port: host:11211";
    }
    /* A word of digits and dots alone is meant as an address. */
    if (!host[strspn(host, "0123456789.")] && inet_pton(AF_INET, host, &v4) != 1) {
        return "is not an IPv4 address";
    }
    server->host = host;
    return colon ? parse_port(server, colon + 1) : NULL;
}

static const char *parse_address(memsess_server_conf_t *server, const char *address,
                                 apr_pool_t *p)
{
    if (!strncasecmp(address, "unix:", 5)) {
        if (address[5] != '/' || strlen(address + 5) >= sizeof(((struct sockaddr_un *)0)->sun_path)
            || !strcmp(address + 5, "/") || address[6] == '/' || memsess_has_control(address)) {
            return "must be unix: and the absolute path of a socket, at most 107 characters, none "
                   "of them a control character";
        }
        server->path = address + 5;
        return NULL;
    }
    server->port = DEFAULT_PORT;
    return *address == '[' ? parse_v6(server, address, p) : parse_host(server, address, p);
}

const char *memsess_member_address(const memsess_server_conf_t *server, apr_pool_t *p)
{
    return server->path ? apr_pstrcat(p, "unix:", server->path, NULL)
                        : apr_psprintf(p, strchr(server->host, ':') ? "[%s]:%d" : "%s:%d",
                                       server->host, server->port);
}

/* The same server in our spelling, if it is spelled as in php.ini (tcp://host:port?weight=N&...,
 * unix:///path:0, host:port:weight) or joined to the next one by a comma; else NULL. */
static const char *as_spelled_here(const char *word, apr_pool_t *p)
{
    static const char tcp[] = "tcp://", unix_path[] = "unix://";
    const char *weight = strstr(word, "weight=");
    char *address = apr_pstrmemdup(p, word, strcspn(word, "?")), *colon;

    if (strchr(word, ',')) {
        return "the servers' addresses with spaces between them";
    }
    if (!strncasecmp(address, unix_path, sizeof(unix_path) - 1)) {
        address += sizeof(unix_path) - 1;
        return apr_pstrcat(p, "unix:", apr_pstrmemdup(p, address, strcspn(address, ":")), NULL);
    }
    address += strncasecmp(address, tcp, sizeof(tcp) - 1) ? 0 : sizeof(tcp) - 1;
    weight = weight ? apr_pstrmemdup(p, weight + 7, strspn(weight + 7, "0123456789")) : NULL;
    colon = strchr(address, ':');
    if (colon && (colon = strchr(colon + 1, ':')) && !strchr(address, '[')
        && apr_isdigit(colon[1]) && !colon[1 + strspn(colon + 1, "0123456789")]) {
        *colon = '\0';
        weight = colon + 1;
    }
    return strchr(address, ':') == strrchr(address, ':')
               && strlen(address) < strcspn(word, "?")
               ? apr_pstrcat(p, address, weight ? "?weight=" : NULL, weight, NULL) : NULL;
}

static const char *parse_word(memsess_member_t *member, const char *word, apr_pool_t *p)
{
    char *address = apr_pstrdup(p, word);
    char *options = strchr(address, '?');
    const char *error;

    memset(member, 0, sizeof(*member));
    if (options) {
        *options++ = '\0';
    }
    error = parse_address(&member->server, address, p);
    while (!error && options) {
        char *next = strchr(options, '&');

        if (next) {
            *next++ = '\0';
        }
        error = parse_option(member, options, p);
        options = next;
    }
    return error;
}

const char *memsess_member_parse(memsess_member_t *member, const char *word, apr_pool_t *p)
{
    const char *error = parse_word(member, word, p), *meant;

    if (error) {
        meant = as_spelled_here(word, p);
        return meant ? apr_pstrcat(p, "is the spelling of other software; write ", meant, NULL)
                     : error;
    }
    if (!member->weight) {
        member->weight = 1;
    }
    if (!member->server.name) {
        member->server.name = memsess_member_address(&member->server, p);
    }
    return NULL;
}

/* One spelling for each host, as far as that can be told without a resolver; len receives how
 * much of the name counts. */
static const char *plain_host(const char *host, apr_size_t *len)
{
    static const char mapped[] = "::ffff:";

    if (!strncmp(host, mapped, sizeof(mapped) - 1) && strchr(host, '.')) {
        host += sizeof(mapped) - 1;
    }
    *len = strlen(host);
    *len -= host[*len - 1] == '.';
    /* Of as many characters. */
    if (*len == 9 && !strncmp(host, "localhost", 9)) {
        return "127.0.0.1";
    }
    return host;
}

static int same_host(const char *a, const char *b)
{
    apr_size_t a_len, b_len;

    a = plain_host(a, &a_len);
    b = plain_host(b, &b_len);
    return a_len == b_len && !strncmp(a, b, a_len);
}

static int same_address(const memsess_server_conf_t *a, const memsess_server_conf_t *b)
{
    if (a->path || b->path) {
        return a->path && b->path && !strcmp(a->path, b->path);
    }
    return a->port == b->port && same_host(a->host, b->host);
}

int memsess_member_same(const memsess_member_t *a, const memsess_member_t *b)
{
    return !strcmp(a->server.name, b->server.name) || same_address(&a->server, &b->server);
}
