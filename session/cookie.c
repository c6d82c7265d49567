/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "session/cookie.h"

#include <string.h>

#include "apr_encode.h"
#include "apr_lib.h"
#include "apr_strings.h"

const memsess_cookie_t memsess_cookie_default = {
    "memsess", "/", NULL, "Lax", MEMSESS_SECURE_AUTO, 1, 0, 0};

/* One cookie of a Cookie header. */
typedef struct piece_t {
    const char *start; /* where the piece begins, spaces included */
    const char *next;  /* behind its separator */
    const char *value;
    apr_size_t value_len;
    int ours;
} piece_t;

/* ';' alone separates cookies, as for browsers: a comma is part of a value, and an attacker who can
 * choose words within another cookie's value must not make one of our cookies of them. If a client
 * sends two Cookie headers, which it may not, httpd joins them by a comma, and the words behind the
 * comma are no cookie. */
static int next_piece(const char **at, const char *name, piece_t *piece)
{
    const char *end, *equals;
    apr_size_t len;

    piece->start = *at;
    if (!**at) {
        return 0;
    }
    end = *at + strcspn(*at, ";");
    piece->next = *at = *end ? end + 1 : end;

    len = (apr_size_t)(end - piece->start);
    equals = memchr(piece->start, '=', len);
    piece->ours = 0;
    if (equals) {
        const char *first = piece->start, *last = equals;

        while (first < last && apr_isspace(*first)) {
            first++;
        }
        while (last > first && apr_isspace(last[-1])) {
            last--;
        }
        piece->ours = (apr_size_t)(last - first) == strlen(name)
                      && memcmp(first, name, strlen(name)) == 0;
        piece->value = equals + 1;
        while (piece->value < end && apr_isspace(*piece->value)) {
            piece->value++;
        }
        while (end > piece->value && apr_isspace(end[-1])) {
            end--;
        }
        piece->value_len = (apr_size_t)(end - piece->value);
    }
    return 1;
}

/* -- The value --------------------------------------------------------------------------------- */

/* Base64url of as much of the MAC as leaves no padding bits: so each MAC has one spelling. */
#define MAC_USED 18
#define MAC_LEN 24
#define REVISION_DIGITS 20
#define VALUE_MAX (MEMSESS_ID_LEN + 1 + MEMSESS_USER_LEN + 1 + REVISION_DIGITS + 1 + MAC_LEN)
#define NAME_MAX_LEN 128

/* Signs the text before the MAC: "ID" or "ID.REVISION". The key belongs to the namespace. */
static apr_status_t sign(const memsess_secret_t *secret, const char *name, const char *text,
                         apr_size_t len, char mac[MAC_LEN + 1])
{
    unsigned char bytes[MEMSESS_MAC_BYTES];
    char message[NAME_MAX_LEN + 1 + VALUE_MAX];
    apr_size_t name_len = strlen(name);
    apr_status_t rv;

    if (name_len > NAME_MAX_LEN) {
        return APR_EINVAL;
    }
    memcpy(message, name, name_len);
    message[name_len] = '=';
    memcpy(message + name_len + 1, text, len);
    rv = memsess_hmac(secret->cookie, sizeof(secret->cookie), message, name_len + 1 + len, bytes);
    return rv == APR_SUCCESS ? apr_encode_base64_binary(mac, bytes, MAC_USED,
                                                        APR_ENCODE_BASE64URL, NULL) : rv;
}

/* 1 to 2^64 - 1, in its only decimal spelling. */
static int parse_revision(const char *text, apr_size_t len, apr_uint64_t *revision)
{
    apr_uint64_t n = 0;
    apr_size_t i;

    if (len < 1 || len > REVISION_DIGITS || *text == '0') {
        return 0;
    }
    for (i = 0; i < len; i++) {
        unsigned digit = (unsigned char)text[i] - '0';

        if (digit > 9 || n > (APR_UINT64_MAX - digit) / 10) {
            return 0;
        }
        n = n * 10 + digit;
    }
    *revision = n;
    return 1;
}

/* Parses the beginning of a value; returns its bytes, or 0. Neither id nor user has padding
 * bits. */
static apr_size_t parse_names(const char *text, apr_size_t len, memsess_cookie_value_t *names)
{
    if (len < MEMSESS_ID_LEN || !memsess_id_ok(text, MEMSESS_ID_LEN)) {
        return 0;
    }
    memcpy(names->id, text, MEMSESS_ID_LEN);
    names->id[MEMSESS_ID_LEN] = '\0';
    names->user[0] = '\0';
    if (len == MEMSESS_ID_LEN || text[MEMSESS_ID_LEN] != '~') {
        return MEMSESS_ID_LEN;
    }
    text += MEMSESS_ID_LEN + 1;
    len -= MEMSESS_ID_LEN + 1;
    if (len < MEMSESS_USER_LEN || !memsess_base64url_ok(text, MEMSESS_USER_LEN)) {
        return 0;
    }
    memcpy(names->user, text, MEMSESS_USER_LEN);
    names->user[MEMSESS_USER_LEN] = '\0';
    return MEMSESS_ID_LEN + 1 + MEMSESS_USER_LEN;
}

static int verify(const char *text, apr_size_t len, const char *name,
                  const memsess_secrets_t *secrets, memsess_cookie_value_t *value)
{
    memsess_cookie_value_t parsed = {.revision = 0};
    apr_size_t signed_len = len - MAC_LEN - 1, names_len;
    char mac[MAC_LEN + 1];
    unsigned i;

    if (len < MEMSESS_ID_LEN + 1 + MAC_LEN || len > VALUE_MAX || text[signed_len] != '.'
        || !(names_len = parse_names(text, signed_len, &parsed))) {
        return 0;
    }
    if (signed_len != names_len
        && (text[names_len] != '.'
            || !parse_revision(text + names_len + 1, signed_len - names_len - 1,
                               &parsed.revision))) {
        return 0;
    }
    for (i = 0; i < secrets->n; i++) {
        if (sign(&secrets->secret[i], name, text, signed_len, mac) == APR_SUCCESS
            && memsess_equal(mac, text + signed_len + 1, MAC_LEN)) {
            *value = parsed;
            value->aged = i > 0;
            return 1;
        }
    }
    return 0;
}

static int parse_value(const char *text, apr_size_t len, const char *name,
                       const memsess_secrets_t *secrets, memsess_cookie_value_t *value)
{
    memsess_cookie_value_t parsed = {.revision = 0};

    if (secrets) {
        return verify(text, len, name, secrets, value);
    }
    if (!len || parse_names(text, len, &parsed) != len) {
        return 0;
    }
    *value = parsed;
    return 1;
}

static const char *format_value(const memsess_cookie_value_t *value, const char *name,
                                const memsess_secrets_t *secrets, apr_pool_t *p)
{
    const char *text = apr_pstrcat(p, value->id, value->user[0] ? "~" : "", value->user, NULL);
    char mac[MAC_LEN + 1];

    if (!secrets) {
        return text;
    }
    if (value->revision) {
        text = apr_psprintf(p, "%s.%" APR_UINT64_T_FMT, text, value->revision);
    }
    return sign(&secrets->secret[0], name, text, strlen(text), mac) == APR_SUCCESS
               ? apr_pstrcat(p, text, ".", mac, NULL) : NULL;
}

static int is_among(const memsess_cookie_value_t *values, unsigned n, const char *id)
{
    while (n && strcmp(values[n - 1].id, id)) {
        n--;
    }
    return n > 0;
}

memsess_cookie_found_t memsess_cookie_find(const char *header, const char *name,
                                           const memsess_secrets_t *secrets,
                                           memsess_cookie_value_t *values, unsigned *n)
{
    int any = 0;
    piece_t piece;

    *n = 0;
    while (header && *n < MEMSESS_COOKIES_MAX && next_piece(&header, name, &piece)) {
        any |= piece.ours;
        if (piece.ours
            && parse_value(piece.value, piece.value_len, name, secrets, &values[*n])) {
            *n += !is_among(values, *n, values[*n].id);
        }
    }
    return *n ? MEMSESS_COOKIE_OK : any ? MEMSESS_COOKIE_INVALID : MEMSESS_COOKIE_NONE;
}

/* -- The header -------------------------------------------------------------------------------- */

const char *memsess_cookie_strip(const char *header, const char *name, apr_pool_t *p)
{
    const char *at = header;
    char *kept, *to;
    int found = 0;
    piece_t piece;

    if (!header || !strstr(header, name)) {
        return header;
    }
    to = kept = apr_palloc(p, strlen(header) + 1);
    while (next_piece(&at, name, &piece)) {
        if (piece.ours) {
            found = 1;
        }
        else {
            memcpy(to, piece.start, (apr_size_t)(piece.next - piece.start));
            to += piece.next - piece.start;
        }
    }
    if (!found) {
        return header;
    }
    /* The cookies before or after ours must not leave a separator or a space at the ends. */
    while (to > kept && (apr_isspace(to[-1]) || to[-1] == ';')) {
        to--;
    }
    *to = '\0';
    while (apr_isspace(*kept)) {
        kept++;
    }
    return *kept ? kept : NULL;
}

const char *memsess_cookie_format(const memsess_cookie_t *cookie,
                                  const memsess_cookie_value_t *value,
                                  const memsess_secrets_t *secrets, int https, apr_pool_t *p)
{
    const char *text = value ? format_value(value, cookie->name, secrets, p) : "";
    int secure = cookie->secure == MEMSESS_SECURE_ON
                 || (cookie->secure == MEMSESS_SECURE_AUTO && https);
    const char *age = "";

    if (!text) {
        return NULL;
    }
    if (!value) {
        age = "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    }
    else if (cookie->max_age) {
        age = apr_psprintf(p, "; Max-Age=%" APR_TIME_T_FMT, apr_time_sec(cookie->max_age));
    }
    return apr_pstrcat(p, cookie->name, "=", text, "; Path=", cookie->path,
                       cookie->domain ? "; Domain=" : "", cookie->domain ? cookie->domain : "",
                       age, secure ? "; Secure" : "", cookie->http_only ? "; HttpOnly" : "",
                       "; SameSite=", cookie->same_site,
                       cookie->partitioned ? "; Partitioned" : "", NULL);
}

/* -- Configuration ----------------------------------------------------------------------------- */

static int token_ok(const char *s)
{
    for (; *s; s++) {
        if (!apr_isgraph(*s) || strchr("()<>@,;:\\\"/[]?={}", *s)) {
            return 0;
        }
    }
    return 1;
}

static int attr_value_ok(const char *s, const char *extra)
{
    for (; *s; s++) {
        if (!apr_isalnum(*s) && !strchr(extra, *s)) {
            return 0;
        }
    }
    return 1;
}

static const char *on_off(const char *word, const char *value, int *flag, apr_pool_t *p)
{
    if (strcasecmp(value, "on") && strcasecmp(value, "off")) {
        return apr_psprintf(p, "%s must be on or off", word);
    }
    *flag = !strcasecmp(value, "on");
    return NULL;
}

static const char *parse_secure(memsess_cookie_t *cookie, const char *word, const char *value,
                                apr_pool_t *p)
{
    int on = 0;
    const char *error;

    if (!strcasecmp(value, "auto")) {
        cookie->secure = MEMSESS_SECURE_AUTO;
        return NULL;
    }
    error = on_off(word, value, &on, p);
    cookie->secure = on ? MEMSESS_SECURE_ON : MEMSESS_SECURE_OFF;
    return error ? apr_psprintf(p, "%s must be auto, on or off", word) : NULL;
}

static const char *parse_max_age(memsess_cookie_t *cookie, const char *word, const char *value,
                                 apr_pool_t *p)
{
    char *end;
    apr_int64_t seconds = apr_strtoi64(value, &end, 10);

    if (!apr_isdigit(*value) || *end || seconds < 1 || seconds > APR_INT32_MAX) {
        return apr_psprintf(p, "%s must be a number of seconds above 0", word);
    }
    cookie->max_age = apr_time_from_sec(seconds);
    return NULL;
}

static const char *parse_same_site(memsess_cookie_t *cookie, const char *word, const char *value,
                                   apr_pool_t *p)
{
    static const char *const known[] = {"Lax", "Strict", "None"};
    int i;

    for (i = 0; i < 3; i++) {
        if (!strcasecmp(value, known[i])) {
            cookie->same_site = known[i];
            return NULL;
        }
    }
    return apr_psprintf(p, "%s must be SameSite=Lax, Strict or None", word);
}

static const char *parse_word(memsess_cookie_t *cookie, const char *word, apr_pool_t *p)
{
    const char *value = strchr(word, '=');
    apr_size_t len = value ? (apr_size_t)(value++ - word) : strlen(word);

#define IS(name) (len == sizeof(name) - 1 && !strncasecmp(word, name, len))
    if (IS("Partitioned") && !value) {
        cookie->partitioned = 1;
    }
    else if (IS("HttpOnly") && !value) {
        cookie->http_only = 1;
    }
    else if (!value || !*value) {
        return apr_psprintf(p, "%s is not one of Path= Domain= SameSite= Secure= HttpOnly= "
                               "Partitioned Max-Age=, each with a value except Partitioned", word);
    }
    else if (IS("Path")) {
        if (*value != '/' || strpbrk(value, ";,") || !attr_value_ok(value, "/._~!$&'()*+=:@%-")) {
            return apr_psprintf(p, "%s must begin with a slash and contain no ';', space or "
                                   "control character", word);
        }
        cookie->path = value;
    }
    else if (IS("Domain")) {
        if (!attr_value_ok(value, ".-") || !strpbrk(value, "abcdefghijklmnopqrstuvwxyz"
                                                          "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")) {
            return apr_psprintf(p, "%s must be a domain name", word);
        }
        cookie->domain = value;
    }
    else if (IS("SameSite")) {
        return parse_same_site(cookie, word, value, p);
    }
    else if (IS("Secure")) {
        return parse_secure(cookie, word, value, p);
    }
    else if (IS("HttpOnly")) {
        return on_off(word, value, &cookie->http_only, p);
    }
    else if (IS("Partitioned")) {
        return on_off(word, value, &cookie->partitioned, p);
    }
    else if (IS("Max-Age")) {
        return parse_max_age(cookie, word, value, p);
    }
    else {
        return apr_psprintf(p, "%s is not one of Path= Domain= SameSite= Secure= HttpOnly= "
                               "Partitioned Max-Age=", word);
    }
#undef IS
    return NULL;
}

/* What browsers require of a cookie whose name begins like this, in any case of its letters. */
static const struct {
    const char *prefix;
    int host, http;
    const char *needs;
} prefixes[] = {
    {"__Host-Http-", 1, 1, "Secure=on, HttpOnly=on and Path=/ and no Domain="},
    {"__Host-", 1, 0, "Secure=on and Path=/ and no Domain="},
    {"__Http-", 0, 1, "Secure=on and HttpOnly=on"},
    {"__Secure-", 0, 0, "Secure=on"},
};

/* Browsers drop a cookie that breaks one of these, silently. */
static const char *browsers_drop(const memsess_cookie_t *c, apr_pool_t *p)
{
    int secure = c->secure == MEMSESS_SECURE_ON;
    unsigned i;

    for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        if (!strncasecmp(c->name, prefixes[i].prefix, strlen(prefixes[i].prefix))
            && (!secure || (prefixes[i].http && !c->http_only)
                || (prefixes[i].host && (strcmp(c->path, "/") != 0 || c->domain)))) {
            return apr_psprintf(p, "browsers drop %s unless it has %s", c->name,
                                prefixes[i].needs);
        }
    }
    if (!strcmp(c->same_site, "None") && !secure) {
        return "browsers drop a cookie with SameSite=None unless it has Secure=on";
    }
    if (c->partitioned && !secure) {
        return "browsers drop a cookie with Partitioned unless it has Secure=on";
    }
    return NULL;
}

const char *memsess_cookie_parse(memsess_cookie_t *cookie, int argc, char *const argv[],
                                 apr_pool_t *p)
{
    int i;

    *cookie = memsess_cookie_default;
    if (argc < 1 || !*argv[0] || strlen(argv[0]) > NAME_MAX_LEN || !token_ok(argv[0])) {
        return apr_psprintf(p, "the cookie's name '%s' must be 1 to 128 letters, digits and "
                               "!#$%%&'*+-.^_`|~", argc < 1 ? "" : argv[0]);
    }
    cookie->name = argv[0];
    for (i = 1; i < argc; i++) {
        const char *error = parse_word(cookie, argv[i], p);

        if (error) {
            return error;
        }
    }
    return browsers_drop(cookie, p);
}
