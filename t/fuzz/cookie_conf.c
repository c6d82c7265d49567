/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The words of MemSessCookie, separated by NULs. Accepted words make a Set-Cookie header that says
 * just that. */

#include "fuzz.h"
#include "session/cookie.h"

#define WORDS_MAX 16

/* Takes one attribute from the front of the line. */
static int takes(const char **line, const char *attribute)
{
    size_t len = strlen(attribute);

    if (strncmp(*line, "; ", 2) || strncmp(*line + 2, attribute, len)
        || ((*line)[2 + len] && (*line)[2 + len] != ';')) {
        return 0;
    }
    *line += 2 + len;
    return 1;
}

static int takes_value(const char **line, const char *attribute, const char *value)
{
    return !strpbrk(value, ";,") && takes(line, apr_pstrcat(fuzz_pool, attribute, value, NULL));
}

static void check_line(const memsess_cookie_t *cookie, const memsess_cookie_value_t *value,
                       const memsess_secrets_t *secrets, int https)
{
    const char *line = memsess_cookie_format(cookie, value, secrets, https, fuzz_pool);
    const char *rest = line, *id = value ? value->id : NULL;
    memsess_cookie_value_t all[MEMSESS_COOKIES_MAX], *found = all;
    unsigned n;
    int secure = cookie->secure == MEMSESS_SECURE_AUTO ? https
                                                       : cookie->secure == MEMSESS_SECURE_ON;

    HOLDS(!fuzz_has_control(line));
    HOLDS(!strncmp(rest, cookie->name, strlen(cookie->name)));
    rest += strlen(cookie->name);
    HOLDS(*rest++ == '=' && !strncmp(rest, id ? id : ";", id ? strlen(id) : 1));
    rest += strcspn(rest, ";");
    HOLDS(takes_value(&rest, "Path=", cookie->path));
    HOLDS(!cookie->domain || takes_value(&rest, "Domain=", cookie->domain));
    if (!id) {
        HOLDS(takes(&rest, "Max-Age=0") && takes(&rest, "Expires=Thu, 01 Jan 1970 00:00:00 GMT"));
    }
    else if (cookie->max_age) {
        HOLDS(takes(&rest, apr_psprintf(fuzz_pool, "Max-Age=%" APR_TIME_T_FMT,
                                        apr_time_sec(cookie->max_age))));
    }
    HOLDS(!secure || takes(&rest, "Secure"));
    HOLDS(!cookie->http_only || takes(&rest, "HttpOnly"));
    HOLDS(takes_value(&rest, "SameSite=", cookie->same_site));
    HOLDS(!cookie->partitioned || takes(&rest, "Partitioned"));
    HOLDS(!*rest);
    /* The cookie that the client sends back has the value that was set. */
    line = apr_pstrmemdup(fuzz_pool, line, strcspn(line, ";"));
    HOLDS(memsess_cookie_find(line, cookie->name, secrets, all, &n)
          == (id ? MEMSESS_COOKIE_OK : MEMSESS_COOKIE_INVALID));
    HOLDS(!id || (!strcmp(found->id, id) && !found->aged
                  && found->revision == (secrets ? value->revision : 0)));
}

static int browsers_keep(const memsess_cookie_t *c)
{
    int secure = c->secure == MEMSESS_SECURE_ON;

    return (secure || (strcmp(c->same_site, "None") && !c->partitioned
                       && strncasecmp(c->name, "__Secure-", 9)
                       && strncasecmp(c->name, "__Http-", 7)))
           && (c->http_only || (strncasecmp(c->name, "__Http-", 7)
                                && strncasecmp(c->name, "__Host-Http-", 12)))
           && (strncasecmp(c->name, "__Host-", 7)
               || (secure && !strcmp(c->path, "/") && !c->domain));
}

void fuzz(const unsigned char *data, size_t len)
{
    static const memsess_cookie_value_t value = {"0123456789-abcdef_ABCDEF", "", 7, 0};
    char *words[WORDS_MAX];
    size_t at = 0;
    int n = 0;
    memsess_cookie_t cookie;
    const char *error;

    while (n < WORDS_MAX && at < len) {
        words[n] = fuzz_string(data + at, len - at);
        at += strlen(words[n++]) + 1;
    }
    error = memsess_cookie_parse(&cookie, n, words, fuzz_pool);
    if (error) {
        HOLDS(*error);
        return;
    }
    HOLDS(browsers_keep(&cookie));
    check_line(&cookie, &value, NULL, 0);
    check_line(&cookie, &value, fuzz_secrets, 1);
    check_line(&cookie, NULL, fuzz_secrets, 1);
}
