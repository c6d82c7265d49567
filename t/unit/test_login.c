/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The way to the login page and back, and which requests are sent there. */

#include "unit.h"

#include "apr_escape.h"
#include "conf/login.h"

static void good_urls(void **state)
{
    static const char *const good[] = {"/", "/login", "/login?back=%s", "/a/%7Eb?x=%s&y=1#z",
                                       "/app/#/login?%s"};
    static const char *const bad[] = {"", "login", "//evil", "/\\evil", "http://evil/login",
                                      "?back=%s", "/login?a=%", "/login?a=%d", "/login?a=%4",
                                      "/lo gin", "/login\n", "/login?x=\"", "/\xc3\xa4", "/a\\b"};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_null(memsess_login_check(good[i]));
    }
    for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_non_null(memsess_login_check(bad[i]));
    }
}

static void assert_back(const char *asked, const char *back)
{
    const char *url = memsess_login_url("/login?back=%s", asked, unit_pool);

    assert_memory_equal(url, "/login?back=", 12);
    assert_null(strpbrk(url + 12, "/?&#\\\r\n \t"));
    assert_string_equal(apr_punescape_url(unit_pool, url + 12, NULL, NULL, 0), back);
}

static void return_addresses(void **state)
{
    char *query = memset(apr_pcalloc(unit_pool, 6000), 'q', 5000);
    char *path = memset(apr_pcalloc(unit_pool, 6000), 'p', 5000);

    (void)state;
    assert_back("/", "/");
    assert_back("/a/b?c=d&e=%20f", "/a/b?c=d&e=%20f");
    assert_back("//evil.example/", "/evil.example/");
    assert_back("/\\evil", "/evil");
    assert_back("/%2fevil", "/evil");
    assert_back("/%5C%2F%5cevil", "/evil");
    assert_back("/%09/evil", "/evil");
    assert_back("/%00/evil", "/evil");
    assert_back("/%252fevil", "/");
    assert_back("/%25%32fevil", "/");
    assert_back("/%25252525255cevil", "/");
    assert_back("/%2525/a", "/%2525/a");
    assert_back("http://evil.example/a?b", "/a?b");
    assert_back("http://evil.example", "/");
    assert_back("http://evil.example?b", "/?b");
    assert_back("http://evil.example//other", "/other");
    assert_back("evil.example/a", "/evil.example/a");
    assert_back("/a?next=http://elsewhere/", "/a?next=http://elsewhere/");
    assert_back("/a\r\nSet-Cookie: x=y", "/a");
    assert_back("/a%0d%0aSet-Cookie:x", "/a%0d%0aSet-Cookie:x");
    assert_back(apr_pstrcat(unit_pool, "/a?", query, NULL), "/a");
    assert_back(apr_pstrcat(unit_pool, "/", path, NULL), "/");
    assert_string_equal(memsess_login_url("/login", "/a", unit_pool), "/login");
    assert_string_equal(memsess_login_url("/l?a=%s&b=%s", "/%s", unit_pool),
                        "/l?a=%2f%25s&b=%2f%25s");
    assert_string_equal(memsess_login_path("/log%69n?back=%s", unit_pool), "/login");
}

static void who_accepts_html(void **state)
{
    static const char *const yes[] = {
        "text/html", "TEXT/HTML", "text/html;q=0.1", "a/b, text/html ;level=1;q=0.9", "text/*",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"};
    static const char *const no[] = {
        "", "*/*", "application/json", "text/plain, */*", "text/html;q=0", "text/html; q=0.000",
        "text/html;q=0, text/*", "text/*;q=0", "text/htmlx", "x;y=text/html", ",;,;"};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(yes) / sizeof(*yes); i++) {
        assert_true(memsess_accepts_html(yes[i], unit_pool));
    }
    for (i = 0; i < sizeof(no) / sizeof(*no); i++) {
        assert_false(memsess_accepts_html(no[i], unit_pool));
    }
    assert_false(memsess_accepts_html(NULL, unit_pool));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(good_urls, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(return_addresses, unit_setup, unit_teardown),
        cmocka_unit_test_setup_teardown(who_accepts_html, unit_setup, unit_teardown),
    };

    unit_begin();
    return cmocka_run_group_tests_name("login", tests, NULL, NULL);
}
