/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The cookie: found, removed, set, cleared and configured; ids and storage keys. */

#include "unit.h"

#include <ctype.h>

#include "session/cookie.h"

#define ID "AAAAAAAAAAAAAAAAAAAAAAAA"
#define ID2 "bbbbbbbbbbbb-bbbbbbbbbb_"

/* -- Finding ----------------------------------------------------------------------------------- */

/* Finds the first cookie; test_find_several looks at the others. */
static memsess_cookie_found_t find_first(const char *header, const char *name,
                                         const memsess_secrets_t *secrets,
                                         memsess_cookie_value_t *value)
{
    memsess_cookie_value_t values[MEMSESS_COOKIES_MAX];
    unsigned n = 99;
    memsess_cookie_found_t found = memsess_cookie_find(header, name, secrets, values, &n);

    assert_int_equal(found == MEMSESS_COOKIE_OK, n > 0);
    assert_true(n <= MEMSESS_COOKIES_MAX);
    if (n) {
        *value = values[0];
    }
    return found;
}

static void assert_found(const char *header, const char *name, const char *expected)
{
    memsess_cookie_value_t value;
    memsess_cookie_found_t found;

    memset(&value, 'x', sizeof(value));
    found = find_first(unit_guard_string(header), name, NULL, &value);
    if (found != MEMSESS_COOKIE_OK) {
        print_error("header: %s\n", header);
    }
    assert_int_equal(found, MEMSESS_COOKIE_OK);
    assert_string_equal(value.id, expected);
    assert_true(value.revision == 0 && value.aged == 0);
}

static void assert_not_found(const char *header, const char *name,
                             memsess_cookie_found_t expected)
{
    memsess_cookie_value_t value, untouched;
    memsess_cookie_found_t found;

    memset(&value, 'x', sizeof(value));
    memset(&untouched, 'x', sizeof(untouched));
    found = find_first(header ? unit_guard_string(header) : NULL, name, NULL, &value);
    if (found != expected) {
        print_error("header: %s\n", header);
    }
    assert_int_equal(found, expected);
    assert_memory_equal(&value, &untouched, sizeof(value));
}

static void test_find_one(void **state)
{
    static const char *const headers[] = {
        "memsess=" ID,
        "memsess=" ID ";",
        ";memsess=" ID,
        "  memsess=" ID "  ",
        "\tmemsess\t=\t" ID "\t",
        "memsess = " ID " ; a=b",
        "a=b; memsess=" ID,
        "a=b;memsess=" ID ";c=d",
        "a=b; memsess=" ID "; memsess=" ID2,
        "a; b; memsess=" ID,
        "=; =x; memsess=" ID,
        ";;;,,,; ; memsess=" ID,
        "a=b,c=d; memsess=" ID "; e=f,g",
        "a=\"b\"; memsess=" ID,
        "$Version=1; memsess=" ID "; $Path=/",
    };
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(headers); i++) {
        assert_found(headers[i], "memsess", ID);
    }
    assert_found("memsess=" ID2, "memsess", ID2);
    assert_found("__Host-s=" ID, "__Host-s", ID);
}

static void test_find_none(void **state)
{
    static const char *const headers[] = {
        "", " ", ";", ",", "=", ";;;", "a", "a=b", "a=b; c=d", "memsess", "memsess;",
        "memsess; =" ID, "a=memsess",         "a=b memsess=" ID, "=memsess=" ID, "\"memsess\"=" ID, "a=b, memsess=" ID,
        "lang=en,memsess=" ID, ",memsess=" ID, "a,memsess=" ID, "a=b, memsess=" ID "; c=d",
    };
    unsigned i;

    (void)state;
    assert_not_found(NULL, "memsess", MEMSESS_COOKIE_NONE);
    for (i = 0; i < COUNT(headers); i++) {
        assert_not_found(headers[i], "memsess", MEMSESS_COOKIE_NONE);
    }
}

static void test_find_names_that_are_like_ours(void **state)
{
    static const char *const names[] = {
        "xmemsess", "memsessx", "memses", "emsess", "m", "Memsess", "MEMSESS", "memsesS",
        "mem sess", "memsess.", "-memsess", "memsess[]", "memsess%20", "mem%73ess", "m%65msess",
    };
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(names); i++) {
        const char *other = apr_pstrcat(unit_pool, names[i], "=" ID2, NULL);

        assert_not_found(other, "memsess", MEMSESS_COOKIE_NONE);
        assert_found(apr_pstrcat(unit_pool, other, "; memsess=" ID, NULL), "memsess", ID);
        assert_found(apr_pstrcat(unit_pool, "memsess=" ID "; ", other, NULL), "memsess", ID);
    }
}

static void test_find_malformed(void **state)
{
    static const char *const headers[] = {
        "memsess=",
        "memsess= ",
        "memsess==",
        "memsess=;",
        "memsess=x",
        "memsess==" ID,
        "memsess=" ID "A",
        "memsess=A" ID,
        "memsess=AAAAAAAAAAAAAAAAAAAAAAA",
        "memsess=AAAAAAAAAAAAAAAAAAAAAAA=",
        "memsess=AAAAAAAAAAAAAAAAAAAAAAA+",
        "memsess=AAAAAAAAAAAAAAAAAAAAAAA/",
        "memsess=AAAAAAAAAAAA AAAAAAAAAAA",
        "memsess=AAAAAAAAAAAA\xc3\xa4" "AAAAAAAAAA",
        "memsess=AAAAAAAAAAAA\x01" "AAAAAAAAAAA",
        "memsess=AAAAAAAAAAAA\x7f" "AAAAAAAAAAA",
        "memsess=AAAAAAAAAAAA%41AAAAAAAAA",
        "memsess=\"" ID "\"",
        "memsess='" ID "'",
        "memsess=" ID "\x0b" "A",
        "memsess=" ID " A",
        "memsess=" ID ", c=d",
        "memsess=" ID ",memsess=" ID2,
        "memsess=a; memsess=b; memsess=c",
        "a=b; memsess=; c=d",
    };
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(headers); i++) {
        assert_not_found(headers[i], "memsess", MEMSESS_COOKIE_INVALID);
    }
}

static void test_find_takes_the_first_well_formed(void **state)
{
    (void)state;
    assert_found("memsess=" ID "; memsess=" ID2, "memsess", ID);
    assert_found("memsess=" ID2 "; memsess=" ID, "memsess", ID2);
    assert_found("memsess=bad; memsess=" ID2 "; memsess=" ID, "memsess", ID2);
    assert_found("memsess=; memsess=\"" ID "\"; memsess=" ID2, "memsess", ID2);
    assert_found("lang=en,memsess=" ID2 "; memsess=" ID, "memsess", ID);
}

static void test_find_several(void **state)
{
    memsess_cookie_value_t values[MEMSESS_COOKIES_MAX];
    char header[400] = "";
    unsigned n, i;

    (void)state;
    assert_int_equal(memsess_cookie_find("memsess=" ID "; memsess=bad; memsess=" ID2 "; memsess=" ID,
                                         "memsess", NULL, values, &n), MEMSESS_COOKIE_OK);
    assert_int_equal(n, 2);
    assert_string_equal(values[0].id, ID);
    assert_string_equal(values[1].id, ID2);
    for (i = 0; i < 6; i++) {
        strcat(header, "memsess=AAAAAAAAAAAAAAAAAAAAAAA0; ");
        header[strlen(header) - 3] = (char)('0' + i);
    }
    assert_int_equal(memsess_cookie_find(header, "memsess", NULL, values, &n), MEMSESS_COOKIE_OK);
    assert_int_equal(n, MEMSESS_COOKIES_MAX);
    for (i = 0; i < n; i++) {
        assert_int_equal(values[i].id[MEMSESS_ID_LEN - 1], '0' + i);
    }
}

static void test_find_every_byte_in_an_id(void **state)
{
    int c;

    (void)state;
    for (c = 1; c < 256; c++) {
        char header[] = "memsess=AAAAAAAAAAAAxAAAAAAAAAAA";

        header[20] = (char)c;
        if (isalnum(c) || c == '-' || c == '_') {
            assert_found(header, "memsess", header + 8);
        }
        else {
            assert_not_found(header, "memsess", MEMSESS_COOKIE_INVALID);
        }
    }
}

static void test_find_in_64_kilobytes(void **state)
{
    enum { LARGE = 65536 };
    static const char *const fill[] = {"a", ";", ",", "=", " ", "a=b; ", "memsess=;", "\"",
                                       "memsess=" ID "A; ", "\xff", "\x01\t=;,"};
    char *header = apr_palloc(unit_pool, LARGE + 100);
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(fill); i++) {
        size_t len = strlen(fill[i]), at;
        memsess_cookie_value_t value;

        for (at = 0; at + len <= LARGE; at += len) {
            memcpy(header + at, fill[i], len);
        }
        header[at] = '\0';
        assert_int_not_equal(find_first(unit_guard_string(header), "memsess", NULL,
                                        &value),
                             MEMSESS_COOKIE_OK);
        strcpy(header + at, ";memsess=" ID);
        assert_found(header, "memsess", ID);
    }
}

static void test_find_in_random_bytes(void **state)
{
    static const char alphabet[] = "memsess=;, \t\"AAAA\x80\xff\r\n\\$%";
    memsess_cookie_value_t value;
    char header[400];
    unsigned i, j;

    (void)state;
    for (i = 0; i < 50000; i++) {
        unsigned len = unit_below(sizeof(header) - 1);
        const char *stripped;

        for (j = 0; j < len; j++) {
            header[j] = i % 2 ? alphabet[unit_below(sizeof(alphabet) - 1)]
                              : (char)(1 + unit_below(255));
        }
        if (len > 20 && i % 3) {
            memcpy(header + unit_below(len - 8), "memsess=", 8);
        }
        header[len] = '\0';
        if (find_first(unit_guard_string(header), "memsess", NULL, &value)
            == MEMSESS_COOKIE_OK) {
            assert_true(memsess_id_ok(value.id, strlen(value.id)));
        }
        if (i % 1000 == 0) {
            apr_pool_clear(unit_pool);
        }
        stripped = memsess_cookie_strip(unit_guard_string(header), "memsess", unit_pool);
        assert_int_equal(find_first(stripped, "memsess", NULL, &value), MEMSESS_COOKIE_NONE);
    }
}

/* -- Signing ----------------------------------------------------------------------------------- */

/* Adds the secret number n of a namespace; the one that was added first signs. */
static memsess_secrets_t *one_secret(int n, const char *ns)
{
    memsess_secrets_t *secrets = memsess_secrets_make(unit_pool);

    unit_secret_add(secrets, 'a' + n, ns);
    return secrets;
}

/* The cookie as the browser sends it back: "memsess=VALUE". */
static char *signed_cookie(const char *id, apr_uint64_t revision, const memsess_secrets_t *secrets)
{
    memsess_cookie_value_t value = {.revision = revision};
    const char *header;

    apr_cpystrn(value.id, id, sizeof(value.id));
    header = memsess_cookie_format(&memsess_cookie_default, &value, secrets, 0, unit_pool);
    assert_non_null(header);
    return apr_pstrmemdup(unit_pool, header, strcspn(header, ";"));
}

static memsess_cookie_found_t find_signed(const char *header, const memsess_secrets_t *secrets,
                                          memsess_cookie_value_t *value)
{
    return find_first(unit_guard_string(header), "memsess", secrets, value);
}

static void assert_forged(const char *header, const memsess_secrets_t *secrets)
{
    memsess_cookie_value_t value, untouched;

    memset(&value, 'x', sizeof(value));
    memset(&untouched, 'x', sizeof(untouched));
    if (find_signed(header, secrets, &value) != MEMSESS_COOKIE_INVALID) {
        print_error("header: %s\n", header);
        fail();
    }
    assert_memory_equal(&value, &untouched, sizeof(value));
}

/* Forged cookies do not count, however many come first. */
static void test_find_several_signed(void **state)
{
    const memsess_secrets_t *secrets = one_secret(0, "shop"), *other = one_secret(1, "shop");
    memsess_cookie_value_t values[MEMSESS_COOKIES_MAX];
    const char *header = "";
    unsigned n, i;

    (void)state;
    for (i = 0; i < 6; i++) {
        header = apr_pstrcat(unit_pool, header, signed_cookie(ID, i + 1, other), "; ", NULL);
    }
    header = apr_pstrcat(unit_pool, header, signed_cookie(ID2, 0, secrets), "; ",
                         signed_cookie(ID, 0, secrets), NULL);
    assert_int_equal(memsess_cookie_find(unit_guard_string(header), "memsess", secrets,
                                         values, &n), MEMSESS_COOKIE_OK);
    assert_int_equal(n, 2);
    assert_string_equal(values[0].id, ID2);
    assert_string_equal(values[1].id, ID);
}

static void test_the_hint_at_the_user(void **state)
{
    static const char *const bad[] = {ID "~", ID "~u", ID "~UUUUUUUUUUUUUUUUU",
                                      ID "~UUUUUUUUUUUUUUU=", ID "~UUUUUUUUUUUUUUU.",
                                      "~UUUUUUUUUUUUUUUU", ID "~~UUUUUUUUUUUUUUU",
                                      ID "-UUUUUUUUUUUUUUUU"};
    const memsess_secrets_t *secrets = one_secret(0, "shop");
    memsess_cookie_value_t value = {.id = ID, .user = "0123456789_-AbCd", .revision = 7};
    memsess_cookie_value_t found;
    const char *header;
    unsigned i;

    (void)state;
    assert_int_equal(find_signed("memsess=" ID "~0123456789_-AbCd", NULL, &found),
                     MEMSESS_COOKIE_OK);
    assert_string_equal(found.id, ID);
    assert_string_equal(found.user, "0123456789_-AbCd");
    for (i = 0; i < COUNT(bad); i++) {
        assert_forged(apr_pstrcat(unit_pool, "memsess=", bad[i], NULL), NULL);
    }
    header = memsess_cookie_format(&memsess_cookie_default, &value, secrets, 0, unit_pool);
    header = apr_pstrmemdup(unit_pool, header, strcspn(header, ";"));
    assert_int_equal(find_signed(header, secrets, &found), MEMSESS_COOKIE_OK);
    assert_string_equal(found.id, ID);
    assert_string_equal(found.user, "0123456789_-AbCd");
    assert_true(found.revision == 7);
    *(char *)strchr(header, '~') = '.';
    assert_forged(header, secrets);
}

#define REVISIONS                                                                                  \
    {                                                                                              \
        0, 1, 9, 10, 4711, APR_UINT64_C(18446744073709551615)                                      \
    }

static void test_signed_and_found(void **state)
{
    static const apr_uint64_t revisions[] = REVISIONS;
    const memsess_secrets_t *secrets = one_secret(0, "shop");
    memsess_cookie_value_t value;
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(revisions); i++) {
        char *cookie = signed_cookie(ID2, revisions[i], secrets);

        assert_int_equal(find_signed(cookie, secrets, &value), MEMSESS_COOKIE_OK);
        assert_string_equal(value.id, ID2);
        assert_true(value.revision == revisions[i]);
        assert_false(value.aged);
    }
    /* ID.MAC, with at least 128 bits of MAC. */
    assert_int_equal(strlen(signed_cookie(ID, 0, secrets)), 8 + MEMSESS_ID_LEN + 1 + 24);
    assert_non_null(strstr(signed_cookie(ID, 4711, secrets), "=" ID ".4711."));
    /* It is always the same, so that members agree. */
    assert_string_equal(signed_cookie(ID, 7, secrets), signed_cookie(ID, 7, one_secret(0, "shop")));
}

/* Changing any byte of a cookie makes it invalid. */
static void test_every_changed_byte_is_a_forgery(void **state)
{
    static const apr_uint64_t revisions[] = REVISIONS;
    const memsess_secrets_t *secrets = one_secret(0, "");
    unsigned i, at;
    int c;

    (void)state;
    for (i = 0; i < COUNT(revisions); i++) {
        char *cookie = signed_cookie(ID2, revisions[i], secrets);

        for (at = 8; cookie[at]; at++) {
            char byte = cookie[at];

            for (c = 1; c < 256; c++) {
                /* These bytes would split the cookie, or end it. */
                if ((char)c != byte && !strchr(";, \t\n\v\f\r", c)) {
                    cookie[at] = (char)c;
                    assert_forged(cookie, secrets);
                }
            }
            cookie[at] = byte;
        }
    }
}

static void test_truncated_or_extended(void **state)
{
    static const apr_uint64_t revisions[] = REVISIONS;
    static const char *const more[] = {"A", ".", "=", ".A", "==", "%00", ".1", "AAAAAAAA"};
    const memsess_secrets_t *secrets = one_secret(0, "");
    unsigned i, j;

    (void)state;
    for (i = 0; i < COUNT(revisions); i++) {
        char *cookie = signed_cookie(ID2, revisions[i], secrets);
        size_t len;

        for (j = 0; j < COUNT(more); j++) {
            assert_forged(apr_pstrcat(unit_pool, cookie, more[j], NULL), secrets);
        }
        for (len = 8; len < strlen(cookie); len++) {
            assert_forged(apr_pstrmemdup(unit_pool, cookie, len), secrets);
        }
    }
}

static void test_unsigned_or_signed_for_something_else(void **state)
{
    const memsess_secrets_t *secrets = one_secret(0, "shop");
    char *cookie = signed_cookie(ID, 5, secrets);
    const char *mac = strrchr(cookie, '.');
    memsess_cookie_value_t value = {.id = ID};
    memsess_cookie_t other = memsess_cookie_default;
    char *text;

    (void)state;
    assert_forged("memsess=" ID, secrets);
    assert_forged(signed_cookie(ID, 0, one_secret(1, "shop")), secrets);
    assert_forged(signed_cookie(ID, 0, one_secret(0, "")), secrets);
    assert_forged(signed_cookie(ID, 0, one_secret(0, "shops")), secrets);
    /* The MAC of this id with another revision, with none, and of another id with this revision. */
    assert_forged(apr_pstrcat(unit_pool, "memsess=" ID ".6", mac, NULL), secrets);
    assert_forged(apr_pstrcat(unit_pool, "memsess=" ID, mac, NULL), secrets);
    assert_forged(apr_pstrcat(unit_pool, "memsess=" ID2 ".5", mac, NULL), secrets);
    assert_forged(apr_pstrcat(unit_pool, "memsess=" ID ".05", mac, NULL), secrets);
    assert_forged(apr_pstrcat(unit_pool, "memsess=" ID ".", mac, NULL), secrets);
    assert_forged(apr_pstrcat(unit_pool, "memsess=" ID ".18446744073709551621", mac, NULL),
                  secrets);
    /* The MAC of a cookie with another name. */
    other.name = "other";
    text = apr_pstrdup(unit_pool, memsess_cookie_format(&other, &value, secrets, 0, unit_pool));
    text[strcspn(text, ";")] = '\0';
    assert_forged(apr_pstrcat(unit_pool, "memsess", text + 5, NULL), secrets);
    /* Without a secret, a signed cookie is no id. */
    assert_not_found(signed_cookie(ID, 0, secrets), "memsess", MEMSESS_COOKIE_INVALID);
}

static void test_the_first_that_verifies_wins(void **state)
{
    const memsess_secrets_t *secrets = one_secret(0, ""), *others = one_secret(1, "");
    const char *header = apr_pstrcat(unit_pool, "memsess=" ID "; ", signed_cookie(ID, 0, others),
                                     "; ", signed_cookie(ID2, 3, secrets), "; ",
                                     signed_cookie(ID, 0, secrets), NULL);
    memsess_cookie_value_t value;

    (void)state;
    assert_int_equal(find_signed(header, secrets, &value), MEMSESS_COOKIE_OK);
    assert_string_equal(value.id, ID2);
    assert_true(value.revision == 3);
}

static void test_older_secrets_are_accepted(void **state)
{
    memsess_secrets_t *new_first = one_secret(1, "");
    memsess_cookie_value_t value;

    (void)state;
    unit_secret_add(new_first, 'a', "");
    assert_int_equal(find_signed(signed_cookie(ID, 0, one_secret(0, "")), new_first, &value),
                     MEMSESS_COOKIE_OK);
    assert_string_equal(value.id, ID);
    assert_true(value.aged);
    assert_int_equal(find_signed(signed_cookie(ID, 9, one_secret(1, "")), new_first, &value),
                     MEMSESS_COOKIE_OK);
    assert_false(value.aged);
    /* The first secret signs. */
    assert_string_equal(signed_cookie(ID, 0, new_first), signed_cookie(ID, 0, one_secret(1, "")));
    assert_forged(signed_cookie(ID, 0, one_secret(2, "")), new_first);
}

/* -- Taking out -------------------------------------------------------------------------------- */

static void assert_stripped(const char *header, const char *expected)
{
    const char *left = memsess_cookie_strip(unit_guard_string(header), "memsess",
                                            unit_pool);

    if (!expected) {
        assert_null(left);
    }
    else {
        assert_non_null(left);
        assert_string_equal(left, expected);
    }
}

static void test_strip_leaves_the_others(void **state)
{
    static const struct {
        const char *header, *expected;
    } cases[] = {
        {"memsess=" ID "; a=b", "a=b"},
        {"a=b; memsess=" ID, "a=b"},
        {"a=b; memsess=" ID "; c=d", "a=b; c=d"},
        {"a=b;memsess=" ID ";c=d", "a=b;c=d"},
        {"a=b;  memsess=" ID " ;  c=d", "a=b;  c=d"},
        {"a=b; memsess=bad; c=d; memsess=" ID "; e=f", "a=b; c=d; e=f"},
        {"a=\"x y\"; memsess=" ID "; c={\"k\":1}", "a=\"x y\"; c={\"k\":1}"},
        {"memsess=" ID ", a=b; c=d", "c=d"},
        {"a=b=c==; memsess=" ID, "a=b=c=="},
        {"a=b, c=d; memsess=" ID "; e=f,g", "a=b, c=d; e=f,g"},
        {"lang=en,memsess=" ID "; memsess=" ID2, "lang=en,memsess=" ID},
        {"memsess; memsess=" ID, "memsess"},
        {"a=\xff\x80\x01; memsess=" ID "; b=%41+", "a=\xff\x80\x01; b=%41+"},
        {"xmemsess=1; memsess=" ID "; memsessx=2; Memsess=3", "xmemsess=1; memsessx=2; Memsess=3"},
        {"memsess = x; a=b", "a=b"},
        {"a=b; memsess=", "a=b"},
        {"$Version=1; memsess=" ID, "$Version=1"},
    };
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(cases); i++) {
        assert_stripped(cases[i].header, cases[i].expected);
    }
}

static void test_strip_everything(void **state)
{
    (void)state;
    assert_stripped("memsess=" ID, NULL);
    assert_stripped("memsess=", NULL);
    assert_stripped(" memsess=" ID " ", NULL);
    assert_stripped("memsess=" ID ";", NULL);
    assert_stripped("memsess=" ID "; memsess=" ID2, NULL);
    assert_stripped("memsess=" ID "; memsess=" ID2 " ; ", NULL);
    assert_stripped("memsess=" ID ", memsess=" ID2 " ; ", NULL);
}

/* A header without our cookies is returned itself, unchanged. */
static void test_strip_nothing(void **state)
{
    static const char *const headers[] = {
        "", " ", "a=b", "a=b;", " a=b ; ; ,", "memsess", "xmemsess=1; ", "a=memsess ;", "a=b, memsess=x",
        ("memsessx=" ID ","), ("MEMSESS=" ID),
    };
    unsigned i;

    (void)state;
    assert_null(memsess_cookie_strip(NULL, "memsess", unit_pool));
    for (i = 0; i < COUNT(headers); i++) {
        const char *header = unit_guard_string(headers[i]);

        assert_ptr_equal(memsess_cookie_strip(header, "memsess", unit_pool), header);
        assert_string_equal(header, headers[i]);
    }
}

static void test_strip_does_not_change_its_input(void **state)
{
    static const char text[] = "a=b; memsess=" ID "; c=d";
    const char *header = unit_guard_string(text);

    (void)state;
    assert_ptr_not_equal(memsess_cookie_strip(header, "memsess", unit_pool), header);
    assert_string_equal(header, text);
}

static void test_strip_64_kilobytes(void **state)
{
    apr_array_header_t *pieces = apr_array_make(unit_pool, 8192, sizeof(char *));
    apr_array_header_t *left = apr_array_make(unit_pool, 8192, sizeof(char *));
    const char *header, *expected;
    int i;

    (void)state;
    for (i = 0; i < 3000; i++) {
        const char *piece = apr_psprintf(unit_pool, i % 3 ? "c%d=%d" : "memsess=%d%d", i, i * 7);

        APR_ARRAY_PUSH(pieces, const char *) = piece;
        if (i % 3) {
            APR_ARRAY_PUSH(left, const char *) = piece;
        }
    }
    header = apr_array_pstrcat(unit_pool, pieces, ';');
    expected = apr_array_pstrcat(unit_pool, left, ';');
    assert_stripped(header, expected);
}

/* -- Setting ----------------------------------------------------------------------------------- */

static const char *format(const memsess_cookie_t *cookie, const char *id, int https)
{
    memsess_cookie_value_t value = {.revision = 0};

    if (id) {
        apr_cpystrn(value.id, id, sizeof(value.id));
    }
    return memsess_cookie_format(cookie, id ? &value : NULL, NULL, https, unit_pool);
}

static void test_format_default(void **state)
{
    (void)state;
    assert_string_equal(format(&memsess_cookie_default, ID, 0),
                        "memsess=" ID "; Path=/; HttpOnly; SameSite=Lax");
    assert_string_equal(format(&memsess_cookie_default, ID, 1),
                        "memsess=" ID "; Path=/; Secure; HttpOnly; SameSite=Lax");
}

static void test_format_clear(void **state)
{
    memsess_cookie_t cookie = memsess_cookie_default;

    (void)state;
    assert_string_equal(format(&cookie, NULL, 0),
                        "memsess=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; "
                        "HttpOnly; SameSite=Lax");
    /* A browser drops only the cookie of the same name, path, domain and partition. */
    cookie.name = "__Secure-s";
    cookie.path = "/shop";
    cookie.domain = "example.com";
    cookie.secure = MEMSESS_SECURE_ON;
    cookie.partitioned = 1;
    cookie.max_age = apr_time_from_sec(5);
    assert_string_equal(format(&cookie, NULL, 0),
                        "__Secure-s=; Path=/shop; Domain=example.com; Max-Age=0; "
                        "Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; HttpOnly; SameSite=Lax; "
                        "Partitioned");
}

static void test_format_all_attributes(void **state)
{
    memsess_cookie_t cookie = {.name = "s",
                               .path = "/a",
                               .domain = "x.example",
                               .same_site = "None",
                               .secure = MEMSESS_SECURE_ON,
                               .http_only = 1,
                               .partitioned = 1,
                               .max_age = apr_time_from_sec(86400)};

    (void)state;
    assert_string_equal(format(&cookie, ID2, 0),
                        "s=" ID2 "; Path=/a; Domain=x.example; Max-Age=86400; Secure; HttpOnly; "
                        "SameSite=None; Partitioned");
    cookie.http_only = 0;
    cookie.partitioned = 0;
    cookie.max_age = 0;
    cookie.domain = NULL;
    cookie.same_site = "Strict";
    assert_string_equal(format(&cookie, ID2, 0),
                        "s=" ID2 "; Path=/a; Secure; SameSite=Strict");
}

static void test_format_secure(void **state)
{
    memsess_cookie_t cookie = memsess_cookie_default;
    int https;

    (void)state;
    for (https = 0; https < 2; https++) {
        cookie.secure = MEMSESS_SECURE_AUTO;
        assert_int_equal(strstr(format(&cookie, ID, https), "; Secure")
                         != NULL, https);
        assert_int_equal(strstr(format(&cookie, NULL, https),
                                "; Secure") != NULL, https);
        cookie.secure = MEMSESS_SECURE_ON;
        assert_non_null(strstr(format(&cookie, ID, https), "; Secure"));
        cookie.secure = MEMSESS_SECURE_OFF;
        assert_null(strstr(format(&cookie, ID, https), "Secure"));
    }
}

/* -- Configuring ------------------------------------------------------------------------------- */

/* Parses words that are separated by single spaces. */
static const char *parse(memsess_cookie_t *cookie, const char *line)
{
    char *argv[8], *rest = apr_pstrdup(unit_pool, line), *last;
    int argc = 0;

    while ((argv[argc] = apr_strtok(rest, " ", &last)) != NULL) {
        rest = NULL;
        argc++;
    }
    return memsess_cookie_parse(cookie, argc, argv, unit_pool);
}

static void test_parse_defaults(void **state)
{
    memsess_cookie_t cookie;

    (void)state;
    memset(&cookie, 0xff, sizeof(cookie));
    assert_null(parse(&cookie, "sid"));
    assert_string_equal(cookie.name, "sid");
    assert_string_equal(cookie.path, "/");
    assert_null(cookie.domain);
    assert_string_equal(cookie.same_site, "Lax");
    assert_int_equal(cookie.secure, MEMSESS_SECURE_AUTO);
    assert_int_equal(cookie.http_only, 1);
    assert_int_equal(cookie.partitioned, 0);
    assert_true(cookie.max_age == 0);

    assert_string_equal(memsess_cookie_default.name, "memsess");
    assert_string_equal(format(&cookie, ID, 0),
                        "sid=" ID "; Path=/; HttpOnly; SameSite=Lax");
}

/* Configurations, and the Set-Cookie headers that they make for http. */
static void test_parse_accepts(void **state)
{
    static const struct {
        const char *line, *header;
    } cases[] = {
        {"s Path=/shop", "s=x; Path=/shop; HttpOnly; SameSite=Lax"},
        {"s path=/a/b.c~d-e_f%20g:h@i", "s=x; Path=/a/b.c~d-e_f%20g:h@i; HttpOnly; SameSite=Lax"},
        {"s Domain=example.com", "s=x; Path=/; Domain=example.com; HttpOnly; SameSite=Lax"},
        {"s DOMAIN=.Example.com", "s=x; Path=/; Domain=.Example.com; HttpOnly; SameSite=Lax"},
        {"s SameSite=strict", "s=x; Path=/; HttpOnly; SameSite=Strict"},
        {"s SameSite=LAX", "s=x; Path=/; HttpOnly; SameSite=Lax"},
        {"s samesite=none secure=on", "s=x; Path=/; Secure; HttpOnly; SameSite=None"},
        {"s Secure=on", "s=x; Path=/; Secure; HttpOnly; SameSite=Lax"},
        {"s Secure=OFF", "s=x; Path=/; HttpOnly; SameSite=Lax"},
        {"s Secure=auto", "s=x; Path=/; HttpOnly; SameSite=Lax"},
        {"s HttpOnly=off", "s=x; Path=/; SameSite=Lax"},
        {"s HttpOnly=On", "s=x; Path=/; HttpOnly; SameSite=Lax"},
        {"s HttpOnly", "s=x; Path=/; HttpOnly; SameSite=Lax"},
        {"s HttpOnly=off HttpOnly", "s=x; Path=/; HttpOnly; SameSite=Lax"},
        {"s Partitioned Secure=on", "s=x; Path=/; Secure; HttpOnly; SameSite=Lax; Partitioned"},
        {"s Partitioned=on Secure=on", "s=x; Path=/; Secure; HttpOnly; SameSite=Lax; Partitioned"},
        {"s Partitioned=off", "s=x; Path=/; HttpOnly; SameSite=Lax"},
        {"s Max-Age=3600", "s=x; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax"},
        {"s max-age=2147483647", "s=x; Path=/; Max-Age=2147483647; HttpOnly; SameSite=Lax"},
        {"__Host-s Secure=on", "__Host-s=x; Path=/; Secure; HttpOnly; SameSite=Lax"},
        {"__Host-s Path=/ Secure=on", "__Host-s=x; Path=/; Secure; HttpOnly; SameSite=Lax"},
        {"__Secure-s Path=/a Domain=a.example Secure=on",
         "__Secure-s=x; Path=/a; Domain=a.example; Secure; HttpOnly; SameSite=Lax"},
        {"__Http-s Path=/a Domain=a.example Secure=on",
         "__Http-s=x; Path=/a; Domain=a.example; Secure; HttpOnly; SameSite=Lax"},
        {"__Host-Http-s Secure=on", "__Host-Http-s=x; Path=/; Secure; HttpOnly; SameSite=Lax"},
        {"__Host-s HttpOnly=off Secure=on", "__Host-s=x; Path=/; Secure; SameSite=Lax"},
        {"!#$%&*+-.^_`|~09azAZ", "!#$%&*+-.^_`|~09azAZ=x; Path=/; HttpOnly; SameSite=Lax"},
    };
    memsess_cookie_t cookie;
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(cases); i++) {
        const char *error = parse(&cookie, cases[i].line);

        if (error) {
            print_error("%s: %s\n", cases[i].line, error);
        }
        assert_null(error);
        assert_string_equal(format(&cookie, "x", 0), cases[i].header);
    }
}

/* Everything that is refused, and a word of the message that explains it. */
static void test_parse_refuses(void **state)
{
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"a=b", "a=b"},
        {"a;b", "a;b"},
        {"a,b", "a,b"},
        {"a/b", "a/b"},
        {"a:b", "a:b"},
        {"a@b", "a@b"},
        {"a(b", "a(b"},
        {"a[b]", "a[b]"},
        {"a{b}", "a{b}"},
        {"a?b", "a?b"},
        {"a<b", "a<b"},
        {"a>b", "a>b"},
        {"caf\xc3\xa9", "name"},
        {"s Path=shop", "Path=shop"},
        {"s Path=", "Path="},
        {"s Path", "Path"},
        {"s Path=/a;b", "Path=/a;b"},
        {"s Path=/a,b", "Path=/a,b"},
        {"s Path=/caf\xc3\xa9", "Path=/caf"},
        {"s Path=/a<b>", "Path=/a<b>"},
        {"s Domain=", "Domain="},
        {"s Domain=a_b.example", "Domain=a_b.example"},
        {"s Domain=a;b", "Domain=a;b"},
        {"s Domain=http://example.com", "Domain=http://example.com"},
        {"s Domain=example.com:80", "Domain=example.com:80"},
        {"s Domain=.", "Domain=."},
        {"s SameSite=", "SameSite="},
        {"s SameSite", "SameSite"},
        {"s SameSite=Loose", "Lax, Strict or None"},
        {"s SameSite=Lax;", "SameSite=Lax;"},
        {"s Secure=", "Secure="},
        {"s Secure=yes", "auto, on or off"},
        {"s Secure=1", "Secure=1"},
        {"s HttpOnly=", "HttpOnly="},
        {"s HttpOnly=yes", "on or off"},
        {"s Partitioned=yes Secure=on", "on or off"},
        {"s Partitioned= Secure=on", "Partitioned="},
        {"s Max-Age=", "Max-Age="},
        {"s Max-Age=0", "Max-Age=0"},
        {"s Max-Age=-1", "Max-Age=-1"},
        {"s Max-Age=+1", "Max-Age=+1"},
        {"s Max-Age=1h", "Max-Age=1h"},
        {"s Max-Age=1.5", "Max-Age=1.5"},
        {"s Max-Age=2147483648", "Max-Age=2147483648"},
        {"s Max-Age=99999999999999999999", "Max-Age=99999999999999999999"},
        {"s Expires=0", "Expires=0"},
        {"s Priority=High", "Priority=High"},
        {"s Pat=/", "Pat=/"},
        {"s Pathx=/", "Pathx=/"},
        {"s =/", "=/"},
        {"s =", "="},
        {"s /", "/"},
        {"s Path=/ nonsense", "nonsense"},
        {"__Host-s", "Secure=on"},
        {"__Host-s Secure=auto", "Secure=on"},
        {"__Host-s Secure=off", "Secure=on"},
        {"__Host-s Secure=on Path=/a", "Path=/"},
        {"__Host-s Secure=on Domain=example.com", "Domain="},
        {"__HOST-s Secure=on Path=/a", "__HOST-s"},
        {"__Http-s", "Secure=on and HttpOnly=on"},
        {"__Http-s Secure=auto", "Secure=on"},
        {"__HTTP-s Secure=on HttpOnly=off", "HttpOnly=on"},
        {"__Host-Http-s", "Secure=on, HttpOnly=on and Path=/"},
        {"__Host-Http-s Secure=on HttpOnly=off", "HttpOnly=on"},
        {"__host-http-s Secure=on Path=/a", "Path=/"},
        {"__Host-Http-s Secure=on Domain=example.com", "Domain="},
        {"__Secure-s", "Secure=on"},
        {"__Secure-s Secure=auto", "Secure=on"},
        {"__secure-s Secure=off", "__secure-s"},
        {"s SameSite=None", "Secure=on"},
        {"s SameSite=None Secure=auto", "Secure=on"},
        {"s SameSite=none Secure=off", "Secure=on"},
        {"s Partitioned", "Secure=on"},
        {"s Partitioned Secure=auto", "Secure=on"},
        {"s Partitioned=on Secure=off", "Secure=on"},
    };
    memsess_cookie_t cookie;
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(cases); i++) {
        const char *error = parse(&cookie, cases[i].line);

        if (!error || !strstr(error, cases[i].message)) {
            print_error("%s: %s\n", cases[i].line, error ? error : "not refused");
        }
        assert_non_null(error);
        assert_non_null(strstr(error, cases[i].message));
    }
}

static void test_parse_refuses_odd_names(void **state)
{
    char name[130], *argv[1] = {name};
    memsess_cookie_t cookie;
    int c;

    (void)state;
    assert_non_null(memsess_cookie_parse(&cookie, 0, argv, unit_pool));
    name[0] = '\0';
    assert_non_null(memsess_cookie_parse(&cookie, 1, argv, unit_pool));
    memset(name, 'n', sizeof(name));
    name[128] = '\0';
    assert_null(memsess_cookie_parse(&cookie, 1, argv, unit_pool));
    name[128] = 'n';
    name[129] = '\0';
    assert_non_null(memsess_cookie_parse(&cookie, 1, argv, unit_pool));
    for (c = 1; c < 256; c++) {
        name[0] = (char)c;
        name[1] = '\0';
        /* The name is a token of HTTP. */
        assert_int_equal(memsess_cookie_parse(&cookie, 1, argv, unit_pool) == NULL,
                         c < 128 && (isalnum(c) || strchr("!#$%&'*+-.^_`|~", c)));
    }
}

/* No value may add an attribute or a header to the response. */
static void test_parse_refuses_control_characters(void **state)
{
    static const char *const words[] = {"Path=/x", "Domain=x", "SameSite=Lax", "Secure=on",
                                        "Max-Age=1", "HttpOnly=on", "Partitioned=off"};
    memsess_cookie_t cookie;
    unsigned i;
    int c;

    (void)state;
    for (i = 0; i < COUNT(words); i++) {
        for (c = 1; c < 256; c++) {
            char *argv[2] = {apr_pstrdup(unit_pool, "s"),
                             apr_psprintf(unit_pool, "%s%c%s", words[i], c, "y")};

            if (c <= ' ' || c == ';' || c == ',' || c >= 127) {
                assert_non_null(memsess_cookie_parse(&cookie, 2, argv, unit_pool));
            }
        }
    }
}

/* -- Ids and keys ------------------------------------------------------------------------------ */

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void test_ids_are_well_formed_and_unique(void **state)
{
    enum { IDS = 20000 };
    char (*ids)[MEMSESS_ID_LEN + 1] = malloc(IDS * sizeof(*ids));
    unsigned seen[256] = {0}, i, j, letters = 0;

    (void)state;
    assert_non_null(ids);
    for (i = 0; i < IDS; i++) {
        memset(ids[i], '!', sizeof(ids[i]));
        assert_int_equal(memsess_id_make(ids[i]), APR_SUCCESS);
        assert_int_equal(ids[i][MEMSESS_ID_LEN], '\0');
        assert_true(memsess_id_ok(ids[i], strlen(ids[i])));
        for (j = 0; j < MEMSESS_ID_LEN; j++) {
            seen[(unsigned char)ids[i][j]]++;
        }
    }
    qsort(ids, IDS, sizeof(*ids), by_text);
    for (i = 1; i < IDS; i++) {
        assert_string_not_equal(ids[i - 1], ids[i]);
    }
    /* Each of 64 letters is expected 7500 times; this is 11 standard deviations. */
    for (i = 0; i < 256; i++) {
        if (seen[i]) {
            letters++;
            assert_in_range(seen[i], 6550, 8450);
        }
    }
    assert_int_equal(letters, 64);
    free(ids);
}

static void test_id_ok(void **state)
{
    (void)state;
    assert_true(memsess_id_ok(ID, 24));
    assert_true(memsess_id_ok("abcXYZ0189-_abcXYZ0189-_", 24));
    assert_false(memsess_id_ok(ID, 23));
    assert_false(memsess_id_ok(ID "A", 25));
    assert_false(memsess_id_ok("", 0));
    assert_false(memsess_id_ok("AAAAAAAAAAAAAAAAAAAAAAA\0", 24));
    assert_false(memsess_id_ok("AAAAAAAAAAAAAAAAAAAAAAA+", 24));
    assert_false(memsess_id_ok("AAAAAAAAAAAAAAAAAAAAAAA=", 24));
    /* The length counts, not the bytes that follow. */
    assert_true(memsess_id_ok(unit_guard_copy(ID, 24), 24));
}

static void test_keys_of_namespaces_never_meet(void **state)
{
    static const struct {
        const char *ns, *id;
    } pairs[] = {
        {"", "abc"}, {"a", "bc"}, {"ab", "c"}, {"abc", ""}, {"", ID}, {"a", ID}, {"A", ID},
        {"a ", ID}, {" a", ID}, {"memsess", ID}, {"b", ID}, {"b", ID2}, {"", ID2},
        {"a", "a" ID}, {"aa", ID},
    };
    memsess_key_t keys[COUNT(pairs)], again;
    unsigned i, j;

    (void)state;
    for (i = 0; i < COUNT(pairs); i++) {
        assert_int_equal(memsess_key_make(&keys[i], pairs[i].ns, pairs[i].id), APR_SUCCESS);
        assert_int_equal(memsess_key_make(&again, apr_pstrdup(unit_pool, pairs[i].ns),
                                          apr_pstrdup(unit_pool, pairs[i].id)), APR_SUCCESS);
        assert_memory_equal(&keys[i], &again, sizeof(again));
        for (j = 0; j < i; j++) {
            assert_memory_not_equal(&keys[i], &keys[j], sizeof(keys[i]));
        }
    }
}

/* The whole namespace and the whole id count, even if the namespace is as long as allowed. */
static void test_keys_of_long_namespaces_differ(void **state)
{
    char ns[129], id[] = ID;
    memsess_key_t key, other;
    unsigned i;

    (void)state;
    memset(ns, 'n', 128);
    ns[128] = '\0';
    assert_int_equal(memsess_key_make(&key, ns, id), APR_SUCCESS);
    for (i = 0; i < MEMSESS_ID_LEN; i++) {
        id[i] = 'B';
        assert_int_equal(memsess_key_make(&other, ns, id), APR_SUCCESS);
        assert_memory_not_equal(&key, &other, sizeof(key));
        id[i] = 'A';
    }
    ns[127] = 'm';
    assert_int_equal(memsess_key_make(&other, ns, id), APR_SUCCESS);
    assert_memory_not_equal(&key, &other, sizeof(key));
}

static void test_sessions_are_born_clean(void **state)
{
    memsess_session_t *a, *b;

    (void)state;
    assert_int_equal(memsess_session_make(&a, 4711, unit_pool), APR_SUCCESS);
    assert_int_equal(memsess_session_make(&b, 4711, unit_pool), APR_SUCCESS);
    assert_int_equal(strlen(a->public_id), MEMSESS_PUBLIC_ID_LEN);
    assert_string_not_equal(a->public_id, b->public_id);
    assert_true(a->created == 4711 && a->used == 4711);
    assert_true(a->revision == 0 && !a->ended && a->idle == 0);
    assert_int_equal(a->attrs->nelts, 0);
    assert_null(memsess_session_find(a, "user"));
}

static void test_attribute_names(void **state)
{
    char name[MEMSESS_ATTR_NAME_MAX + 2];
    int c;

    (void)state;
    for (c = 0; c < 256; c++) {
        name[0] = (char)c;
        assert_int_equal(memsess_attr_name_ok(name, 1),
                         c < 128 && (isalnum(c) || (c && strchr("_.-", c))));
    }
    memset(name, 'n', sizeof(name));
    assert_false(memsess_attr_name_ok(name, 0));
    assert_true(memsess_attr_name_ok(name, MEMSESS_ATTR_NAME_MAX));
    assert_false(memsess_attr_name_ok(name, MEMSESS_ATTR_NAME_MAX + 1));
    assert_false(memsess_attr_name_ok("a\0b", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(test_find_one),
        UNIT_TEST(test_find_none),
        UNIT_TEST(test_find_names_that_are_like_ours),
        UNIT_TEST(test_find_malformed),
        UNIT_TEST(test_find_takes_the_first_well_formed),
        UNIT_TEST(test_find_several),
        UNIT_TEST(test_find_several_signed),
        UNIT_TEST(test_find_every_byte_in_an_id),
        UNIT_TEST(test_find_in_64_kilobytes),
        UNIT_TEST(test_find_in_random_bytes),
        UNIT_TEST(test_the_hint_at_the_user),
        UNIT_TEST(test_signed_and_found),
        UNIT_TEST(test_every_changed_byte_is_a_forgery),
        UNIT_TEST(test_truncated_or_extended),
        UNIT_TEST(test_unsigned_or_signed_for_something_else),
        UNIT_TEST(test_the_first_that_verifies_wins),
        UNIT_TEST(test_older_secrets_are_accepted),
        UNIT_TEST(test_strip_leaves_the_others),
        UNIT_TEST(test_strip_everything),
        UNIT_TEST(test_strip_nothing),
        UNIT_TEST(test_strip_does_not_change_its_input),
        UNIT_TEST(test_strip_64_kilobytes),
        UNIT_TEST(test_format_default),
        UNIT_TEST(test_format_clear),
        UNIT_TEST(test_format_all_attributes),
        UNIT_TEST(test_format_secure),
        UNIT_TEST(test_parse_defaults),
        UNIT_TEST(test_parse_accepts),
        UNIT_TEST(test_parse_refuses),
        UNIT_TEST(test_parse_refuses_odd_names),
        UNIT_TEST(test_parse_refuses_control_characters),
        UNIT_TEST(test_ids_are_well_formed_and_unique),
        UNIT_TEST(test_id_ok),
        UNIT_TEST(test_keys_of_namespaces_never_meet),
        UNIT_TEST(test_keys_of_long_namespaces_differ),
        UNIT_TEST(test_sessions_are_born_clean),
        UNIT_TEST(test_attribute_names),
    };

    unit_begin();
    return cmocka_run_group_tests_name("cookie", tests, NULL, NULL);
}
