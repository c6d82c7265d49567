/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* A signed cookie value: eight bytes of a revision, then changes of three bytes each: what to do,
 * where, and with which byte. Any change of a value makes it invalid. */

#include "fuzz.h"
#include "session/cookie.h"

static const memsess_cookie_t cookie = {.name = "memsess", .path = "/", .same_site = "Lax"};

/* The cookie as a client sends it back. */
static char *sent_back(const memsess_cookie_value_t *value, const memsess_secrets_t *secrets)
{
    const char *line = memsess_cookie_format(&cookie, value, secrets, 0, fuzz_pool);

    HOLDS(line);
    return apr_pstrmemdup(fuzz_pool, line, strcspn(line, ";"));
}

static int accepts(const memsess_secrets_t *secrets, const char *name, const char *header,
                   memsess_cookie_value_t *value)
{
    memsess_cookie_value_t values[MEMSESS_COOKIES_MAX];
    unsigned n;

    if (memsess_cookie_find(header, name, secrets, values, &n) != MEMSESS_COOKIE_OK) {
        return 0;
    }
    *value = values[0];
    return 1;
}

/* One change of the text behind the equals sign; the text never gets longer. */
static void change(char *text, const unsigned char *how)
{
    size_t len = strlen(text), at = len ? how[1] % len : 0;

    if (!len) {
        return;
    }
    switch (how[0] % 4) {
    case 0:
        text[at] ^= (char)how[2];
        break;
    case 1:
        memmove(text + at, text + at + 1, len - at);
        break;
    case 2:
        memmove(text + at + 1, text + at, len - at - 1);
        text[at] = (char)how[2];
        break;
    default:
        text[at] = text[how[2] % len];
    }
}

static int is_same(const memsess_cookie_value_t *a, const memsess_cookie_value_t *b)
{
    return !strcmp(a->id, b->id) && !strcmp(a->user, b->user) && a->revision == b->revision;
}

void fuzz(const unsigned char *data, size_t len)
{
    memsess_cookie_value_t value = {.id = "0123456789-abcdef_ABCDEF"}, found;
    memsess_secrets_t old = {0};
    char *header, *changed;

    if (len < sizeof(value.revision)) {
        return;
    }
    memcpy(&value.revision, data, sizeof(value.revision));
    if (value.revision & 1) {
        memcpy(value.user, "0123456789_-AbCd", sizeof(value.user));
    }
    data += sizeof(value.revision);
    len -= sizeof(value.revision);
    header = sent_back(&value, fuzz_secrets);
    HOLDS(accepts(fuzz_secrets, "memsess", header, &found) && is_same(&value, &found));
    HOLDS(!found.aged);
    HOLDS(!accepts(fuzz_other_secrets, "memsess", header, &found));
    HOLDS(!accepts(NULL, "memsess", header, &found));
    /* A cookie that the older secret signed is valid; one under another name is not. */
    old.n = 1;
    old.secret[0] = fuzz_secrets->secret[1];
    changed = sent_back(&value, &old);
    HOLDS(accepts(fuzz_secrets, "memsess", changed, &found) && is_same(&value, &found));
    HOLDS(found.aged);
    changed = apr_pstrcat(fuzz_pool, "other=", header + sizeof("memsess=") - 1, NULL);
    HOLDS(!accepts(fuzz_secrets, "other", changed, &found));

    changed = apr_pstrdup(fuzz_pool, header);
    for (; len >= 3; data += 3, len -= 3) {
        change(changed + sizeof("memsess=") - 1, data);
    }
    /* Only spaces around the value, and a separator behind it, change nothing. */
    if (accepts(fuzz_secrets, "memsess", changed, &found)) {
        HOLDS(is_same(&value, &found) && strstr(changed, header + sizeof("memsess=") - 1));
    }
}
