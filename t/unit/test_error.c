/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The words for errors, as operators read them. */

#include "unit.h"

#include <netdb.h>

#include "base/error.h"

#define T apr_time_from_msec(250)

static const char *words(apr_status_t rv, apr_interval_time_t timeout)
{
    return memsess_error_words(rv, timeout, apr_palloc(unit_pool, MEMSESS_WORDS_LEN));
}

/* No code is one of APR's, either. */
static void test_each_code_has_words_of_its_own(void **state)
{
    apr_status_t a, b;

    (void)state;
    for (a = MEMSESS_ERRORS_BEGIN + 1; a < MEMSESS_ERRORS_END; a++) {
        assert_in_range(strlen(words(a, 0)), 10, MEMSESS_WORDS_LEN - 1);
        assert_null(strstr(words(a, 0), "specific information"));
        for (b = MEMSESS_ERRORS_BEGIN + 1; b < a; b++) {
            assert_string_not_equal(words(a, 0), words(b, 0));
        }
        assert_false(APR_STATUS_IS_TIMEUP(a) || APR_STATUS_IS_EAGAIN(a)
                     || APR_STATUS_IS_ECONNREFUSED(a) || a == APR_EGENERAL || a == MEMSESS_ABSENT
                     || a == MEMSESS_EXISTS);
    }
    assert_true(MEMSESS_ERRORS_BEGIN >= APR_OS_START_USERERR);
    assert_true(MEMSESS_ERRORS_END < APR_OS_START_CANONERR);
}

static void test_words_that_operators_know(void **state)
{
    const struct {
        apr_status_t rv;
        const char *words;
    } cases[] = {
        {APR_TIMEUP, "no answer within 250 ms (MemSessTimeout)"},
        {EAGAIN, "no answer within 250 ms (MemSessTimeout)"},
        {MEMSESS_TOO_LARGE, "the record is too large for this server (raise its -I)"},
        {MEMSESS_FULL, "it is out of memory (raise its -m; with -M it evicts nothing)"},
        {MEMSESS_AUTH_WANTED, "it asks for a user and password (set MemSessServerAuth)"},
        {MEMSESS_AUTH_REFUSED, "it refuses the user and password of MemSessServerAuth"},
        {ECONNREFUSED, "connection refused: nothing listens there"},
        {ENETUNREACH, "network unreachable"},
        {EHOSTUNREACH, "host unreachable"},
        {ECONNRESET, "the server closed the connection"},
        {ECONNABORTED, "the server closed the connection"},
        {EPIPE, "the server closed the connection"},
        {APR_EOF, "the server closed the connection"},
        {MEMSESS_CLOSED, "the server closed the connection"},
        {ENOENT, "there is no such unix socket"},
        {-EAI_NONAME + APR_OS_START_EAIERR,
         apr_pstrcat(unit_pool, "the name does not resolve: ", gai_strerror(EAI_NONAME), NULL)},
        {EIO, strerror(EIO)},
    };
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(cases); i++) {
        assert_string_equal(words(cases[i].rv, T), cases[i].words);
    }
    assert_string_equal(words(APR_TIMEUP, 0), "no answer in time (MemSessTimeout)");
}

static void test_what_is_refused(void **state)
{
    apr_status_t rv;

    (void)state;
    for (rv = MEMSESS_ERRORS_BEGIN; rv < MEMSESS_ERRORS_END; rv++) {
        assert_int_equal(memsess_is_refused(rv), rv == MEMSESS_REFUSED || rv == MEMSESS_TOO_LARGE
                                                     || rv == MEMSESS_FULL);
    }
    assert_false(memsess_is_refused(APR_SUCCESS));
    assert_false(memsess_is_refused(APR_EGENERAL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(test_each_code_has_words_of_its_own),
        UNIT_TEST(test_words_that_operators_know),
        UNIT_TEST(test_what_is_refused),
    };

    unit_begin();
    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}
