/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The target of a request that needs a log-in, and an Accept header after a NUL. The way back is a
 * path on this site, however often it is decoded. */

#include "conf/login.h"
#include "fuzz.h"

/* Decodes as leniently as possible: what is no escape stays. */
static int decode(char *s)
{
    char *to = s;
    int any = 0;

    for (; *s; s++) {
        if (*s == '%' && apr_isxdigit(s[1]) && apr_isxdigit(s[2])) {
            char hex[3] = {s[1], s[2], '\0'};

            *to++ = (char)apr_strtoi64(hex, NULL, 16);
            s += 2;
            any = 1;
        }
        else {
            *to++ = *s;
        }
    }
    *to = '\0';
    return any;
}

/* Browsers drop tabs and line ends, and take a backslash for a slash. */
static int is_on_this_site(const char *path)
{
    return path[0] == '/' && !strchr("/\\\t\r\n ", path[1] ? path[1] : 'x');
}

void fuzz(const unsigned char *data, size_t len)
{
    const char *asked = fuzz_string(data, len);
    size_t asked_len = strlen(asked);
    const char *url = memsess_login_url("/login?back=%s&again=%s", asked, fuzz_pool);
    const char *and = strchr(url, '&');
    char *back;

    HOLDS(!memsess_login_check(url) && !strncmp(url, "/login?back=", 12) && and);
    HOLDS(!strncmp(and, "&again=", 7) && !strchr(and + 1, '&'));
    back = apr_pstrmemdup(fuzz_pool, url + 12, (apr_size_t)(and - url - 12));
    HOLDS(!strcmp(back, and + 7));
    while (decode(back)) {
        HOLDS(is_on_this_site(back));
    }
    if (!memsess_login_check(asked)) {
        url = memsess_login_url(asked, "/x", fuzz_pool);
        HOLDS(is_on_this_site(url) && !fuzz_has_control(url)
              && memsess_login_path(asked, fuzz_pool));
    }
    if (asked_len < len) {
        memsess_accepts_html(fuzz_string(data + asked_len + 1, len - asked_len - 1), fuzz_pool);
    }
}
