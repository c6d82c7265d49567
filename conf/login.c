/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "conf/login.h"

#include <string.h>

#include "apr_escape.h"
#include "apr_lib.h"
#include "apr_strings.h"

/* The longest escaped address to come back to: the whole Location must pass through proxies, which
 * take 8 kB a line. */
#define BACK_MAX 4096

/* An address that can be decoded more often than this is an attack. */
#define DECODINGS_MAX 16

/* One character, escaped or not; returns how many characters it is written with. */
static apr_size_t next_char(const char *s, unsigned char *c)
{
    if (s[0] == '%' && apr_isxdigit(s[1]) && apr_isxdigit(s[2])) {
        char hex[3] = {s[1], s[2], '\0'};

        *c = (unsigned char)apr_strtoi64(hex, NULL, 16);
        return 3;
    }
    *c = (unsigned char)*s;
    return 1;
}

const char *memsess_login_check(const char *url)
{
    if (url[0] != '/' || url[1] == '/' || url[1] == '\\') {
        return "must be a path on this site that begins with a single slash, like /login?back=%s, "
               "or none";
    }
    for (; *url; url++) {
        if (!apr_isgraph(*url) || (unsigned char)*url > 126 || strchr("\"<>\\", *url)) {
            return "has a character that is not allowed in a URL: write it as % and two hex digits";
        }
        if (*url == '%' && url[1] != 's' && !(apr_isxdigit(url[1]) && apr_isxdigit(url[2]))) {
            return "has a % that is followed neither by s (the address to come back to) nor by two "
                   "hex digits";
        }
    }
    return NULL;
}

/* Whether browsers would take the text after the first slash for a host: another slash or backslash
 * makes it one, also after characters that browsers leave out. */
static int is_host_sign(unsigned char c)
{
    return c == '/' || c == '\\' || c <= ' ' || c == 0x7f;
}

static const char *skip_host_signs(const char *s)
{
    unsigned char c;
    apr_size_t len;

    for (; *s; s += len) {
        len = next_char(s, &c);
        if (!is_host_sign(c)) {
            break;
        }
    }
    return s;
}

/* Whether that holds, too, if the path behind the first slash is decoded once more, and again. */
static int stays_here(const char *path, apr_pool_t *p)
{
    char *plain = apr_pstrdup(p, path);
    unsigned char c;
    int i;

    for (i = 0; i < DECODINGS_MAX; i++) {
        const char *from = plain;
        char *to = plain;

        if (skip_host_signs(plain) != plain) {
            return 0;
        }
        while (*from) {
            from += next_char(from, &c);
            *to++ = (char)c;
        }
        if (to == from) {
            return 1;
        }
        *to = '\0';
    }
    return 0;
}

static const char *return_address(const char *asked, apr_pool_t *p)
{
    const char *host = *asked == '/' ? NULL : strstr(asked, "://");
    const char *path = host ? host + 3 + strcspn(host + 3, "/?") : asked;
    apr_size_t len;
    char *back;

    path = *path == '?' ? path : skip_host_signs(path);
    path = stays_here(path, p) ? path : "";
    for (len = 0; path[len] && !apr_iscntrl(path[len]); len++) {
    }
    back = apr_pstrcat(p, "/", apr_pstrmemdup(p, path, len), NULL);
    if (strlen(apr_pescape_urlencoded(p, back)) > BACK_MAX) {
        back[strcspn(back, "?")] = '\0';
    }
    return strlen(apr_pescape_urlencoded(p, back)) > BACK_MAX ? "/" : back;
}

const char *memsess_login_url(const char *url, const char *asked, apr_pool_t *p)
{
    const char *mark = strstr(url, "%s"), *back;

    if (!mark) {
        return url;
    }
    back = apr_pescape_urlencoded(p, return_address(asked, p));
    for (; mark; mark = strstr(url, "%s")) {
        /* The text that replaces the mark has no other mark in it: its percent signs precede
         * digits. */
        url = apr_pstrcat(p, apr_pstrmemdup(p, url, (apr_size_t)(mark - url)), back, mark + 2,
                          NULL);
    }
    return url;
}

const char *memsess_login_path(const char *url, apr_pool_t *p)
{
    const char *path = apr_pstrmemdup(p, url, strcspn(url, "?#"));
    const char *plain = apr_punescape_url(p, path, NULL, NULL, 0);

    return plain ? plain : path;
}

/* Whether one of a media range's parameters says that the client does not want it (q=0). */
static int is_unwanted(char **params)
{
    char *param;

    while ((param = apr_strtok(NULL, "; \t", params))) {
        if (!strncasecmp(param, "q=", 2)) {
            return !strpbrk(param, "123456789");
        }
    }
    return 0;
}

int memsess_accepts_html(const char *accept, apr_pool_t *p)
{
    char *items, *item, *params, *type;
    int html = -1, any_text = -1;

    if (!accept) {
        return 0;
    }
    for (item = apr_strtok(apr_pstrdup(p, accept), ",", &items); item;
         item = apr_strtok(NULL, ",", &items)) {
        type = apr_strtok(item, "; \t", &params);
        if (type && !strcasecmp(type, "text/html")) {
            html = html == 1 || !is_unwanted(&params);
        }
        else if (type && !strcasecmp(type, "text/*")) {
            any_text = any_text == 1 || !is_unwanted(&params);
        }
    }
    return html >= 0 ? html : any_text == 1;
}
