/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "base/error.h"

#include "apr_strings.h"

static const char *const words[] = {
#define ERROR_WORDS(name, text) [MEMSESS_##name - MEMSESS_ERRORS_BEGIN] = (text),
    MEMSESS_ERRORS(ERROR_WORDS)
#undef ERROR_WORDS
};

/* Words that say more than APR's; NULL: there are none. */
static const char *words_for_apr(apr_status_t rv)
{
    if (rv == MEMSESS_ABSENT) {
        return "it is not there";
    }
    if (rv == MEMSESS_EXISTS) {
        return "it is there already";
    }
    if (APR_STATUS_IS_ECONNREFUSED(rv)) {
        return "connection refused: nothing listens there";
    }
    if (APR_STATUS_IS_ENETUNREACH(rv)) {
        return "network unreachable";
    }
    if (APR_STATUS_IS_EHOSTUNREACH(rv)) {
        return "host unreachable";
    }
    if (APR_STATUS_IS_ECONNRESET(rv) || APR_STATUS_IS_ECONNABORTED(rv) || APR_STATUS_IS_EPIPE(rv)
        || APR_STATUS_IS_EOF(rv)) {
        return words[MEMSESS_CLOSED - MEMSESS_ERRORS_BEGIN];
    }
    if (APR_STATUS_IS_ENOENT(rv)) {
        return "there is no such unix socket";
    }
    if (APR_STATUS_IS_EACCES(rv)) {
        return "httpd's user may not connect to it";
    }
    return rv == APR_EMFILE ? "httpd has too many open files (ulimit -n)" : NULL;
}

/* A time-out has two names, since a blocking read meets the kernel's. */
static const char *words_for_timeout(apr_interval_time_t timeout, char buf[MEMSESS_WORDS_LEN])
{
    if (timeout <= 0) {
        return "no answer in time (MemSessTimeout)";
    }
    apr_snprintf(buf, MEMSESS_WORDS_LEN, "no answer within %" APR_TIME_T_FMT " ms (MemSessTimeout)",
                 apr_time_as_msec(timeout));
    return buf;
}

const char *memsess_error_words(apr_status_t rv, apr_interval_time_t timeout,
                                char buf[MEMSESS_WORDS_LEN])
{
    const char *text;

    if (rv > MEMSESS_ERRORS_BEGIN && rv < MEMSESS_ERRORS_END) {
        return words[rv - MEMSESS_ERRORS_BEGIN];
    }
    if (APR_STATUS_IS_EAGAIN(rv) || APR_STATUS_IS_TIMEUP(rv)) {
        return words_for_timeout(timeout, buf);
    }
    text = words_for_apr(rv);
    if (!text) {
        char own[MEMSESS_WORDS_LEN];

        apr_strerror(rv, own, sizeof(own));
        apr_snprintf(buf, MEMSESS_WORDS_LEN, "%s%s",
                     rv >= APR_OS_START_EAIERR && rv < APR_OS_START_SYSERR
                         ? "the name does not resolve: " : "", own);
    }
    return text ? text : buf;
}

int memsess_is_refused(apr_status_t rv)
{
    return rv == MEMSESS_REFUSED || rv == MEMSESS_TOO_LARGE || rv == MEMSESS_FULL;
}
