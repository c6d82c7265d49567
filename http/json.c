/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/json.h"

#include <string.h>

#include "apr_strings.h"
#include "store/entries.h"

/* The character at a place, and its length in bytes; U+FFFD for a byte that is not UTF-8. */
static apr_uint32_t character(const unsigned char *at, unsigned *len)
{
    static const apr_uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    apr_uint32_t c;
    unsigned i;

    *len = *at < 0x80 ? 1 : *at < 0xc2 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : *at < 0xf5 ? 4 : 0;
    c = *len == 1 ? *at : *at & (0x7fU >> *len);
    for (i = 1; i < *len && (at[i] & 0xc0) == 0x80; i++) {
        c = c << 6 | (at[i] & 0x3f);
    }
    if (!*len || i < *len || c < least[*len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
        *len = 1;
        return 0xfffd;
    }
    return c;
}

const char *memsess_json_string(const char *text, apr_pool_t *p)
{
    char *quoted = apr_palloc(p, 6 * strlen(text) + 3), *to = quoted;
    const unsigned char *at;
    apr_uint32_t c;
    unsigned len;

    *to++ = '"';
    for (at = (const unsigned char *)text; *at; at += len) {
        c = character(at, &len);
        if (c >= ' ' && c <= '~' && c != '"' && c != '\\') {
            *to++ = (char)c;
            continue;
        }
        if (c > 0xffff) {
            to += apr_snprintf(to, 7, "\\u%04x", 0xd800 + ((c - 0x10000) >> 10));
            c = 0xdc00 + ((c - 0x10000) & 0x3ff);
        }
        to += apr_snprintf(to, 7, "\\u%04x", c);
    }
    *to++ = '"';
    *to = '\0';
    return quoted;
}

const char *memsess_json_sessions(const apr_array_header_t *list, const char *current,
                                  apr_pool_t *p)
{
    apr_array_header_t *parts = apr_array_make(p, list->nelts + 1, sizeof(const char *));
    int i;

    for (i = 0; i < list->nelts; i++) {
        const memsess_entry_t *entry = &APR_ARRAY_IDX(list, i, memsess_entry_t);

        APR_ARRAY_PUSH(parts, const char *) = apr_psprintf(
            p, "%s{\"id\": \"%s\", \"created\": %" APR_TIME_T_FMT ", \"used\": %" APR_TIME_T_FMT
            ", \"label\": %s%s}", i ? ", " : "", entry->public_id, apr_time_sec(entry->created),
            apr_time_sec(entry->used), memsess_json_string(entry->label, p),
            !current ? "" : !strcmp(current, entry->public_id) ? ", \"current\": true"
                                                               : ", \"current\": false");
    }
    return apr_pstrcat(p, "[", apr_array_pstrcat(p, parts, 0), "]", NULL);
}
