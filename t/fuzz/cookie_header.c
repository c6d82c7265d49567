/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* A Cookie header; the first byte chooses the name of our cookie, and whether cookies are
 * signed. */

#include "fuzz.h"
#include "session/cookie.h"

static const char *const names[] = {"memsess", "SID", "__Host-id", "a", "!#$%&'*+-.^_`|~"};

/* The next piece between separators, without the spaces around it; empty pieces are skipped. */
static int next_piece(const char **at, const char **piece, size_t *len)
{
    for (; **at; *at += strspn(*at, ";")) {
        const char *end;

        *piece = *at;
        *at += strcspn(*at, ";");
        for (end = *at; end > *piece && apr_isspace(end[-1]); end--) {
        }
        for (; *piece < end && apr_isspace(**piece); (*piece)++) {
        }
        *len = (size_t)(end - *piece);
        if (*len) {
            *at += strspn(*at, ";");
            return 1;
        }
    }
    return 0;
}

/* name, spaces, equals sign */
static int is_ours(const char *piece, size_t len, const char *name)
{
    size_t at = strlen(name);

    if (len <= at || strncmp(piece, name, at)) {
        return 0;
    }
    for (; at < len && apr_isspace(piece[at]); at++) {
    }
    return at < len && piece[at] == '=';
}

static int count_ours(const char *header, const char *name)
{
    const char *piece;
    size_t len;
    int n = 0;

    while (header && next_piece(&header, &piece, &len)) {
        n += is_ours(piece, len, name);
    }
    return n;
}

/* Whether all other cookies are still there, in order. */
static int same_others(const char *before, const char *after, const char *name)
{
    const char *a, *b;
    size_t a_len, b_len;

    while (next_piece(&before, &a, &a_len)) {
        if (!is_ours(a, a_len, name)
            && (!after || !next_piece(&after, &b, &b_len) || a_len != b_len
                || memcmp(a, b, a_len))) {
            return 0;
        }
    }
    return !after || !next_piece(&after, &b, &b_len);
}

void fuzz(const unsigned char *data, size_t len)
{
    const char *name = names[len ? data[0] % 8 % (sizeof(names) / sizeof(*names)) : 0];
    const memsess_secrets_t *secrets = len && data[0] & 8 ? fuzz_secrets : NULL;
    const char *header = len ? fuzz_string(data + 1, len - 1) : "";
    const char *stripped = memsess_cookie_strip(header, name, fuzz_pool);
    memsess_cookie_value_t values[MEMSESS_COOKIES_MAX];
    unsigned n, i;
    memsess_cookie_found_t found = memsess_cookie_find(header, name, secrets, values, &n);
    int ours = count_ours(header, name);

    HOLDS((found == MEMSESS_COOKIE_NONE) == (ours == 0));
    HOLDS((stripped == header) == (ours == 0));
    HOLDS((found == MEMSESS_COOKIE_OK) == (n > 0) && n <= MEMSESS_COOKIES_MAX
          && n <= (unsigned)ours);
    for (i = 0; i < n; i++) {
        HOLDS(memsess_id_ok(values[i].id, strlen(values[i].id)) && strstr(header, values[i].id));
        HOLDS(!i || strcmp(values[i].id, values[i - 1].id));
    }
    HOLDS(memsess_cookie_find(stripped, name, secrets, values, &n) == MEMSESS_COOKIE_NONE);
    HOLDS(same_others(header, stripped, name));
    if (stripped != header) {
        HOLDS(!stripped || (*stripped && strlen(stripped) < strlen(header)));
        HOLDS(count_ours(stripped, name) == 0);
        HOLDS(!stripped || memsess_cookie_strip(stripped, name, fuzz_pool) == stripped);
    }
}
