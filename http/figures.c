/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/status.h"

#include "apr_strings.h"
#include "base/error.h"

apr_interval_time_t memsess_status_latency(const memsess_server_figures_t *figures, double share)
{
    return memsess_percentile(figures->recent.n ? &figures->recent : &figures->all, share);
}

const char *memsess_status_asked(const memsess_server_figures_t *figures)
{
    return figures->near >= figures->far ? "in turn" : "at once";
}

const char *memsess_status_error(const memsess_shown_t *shown, apr_pool_t *p)
{
    return memsess_error_words(shown->figures.last_error, shown->server->timeout,
                               apr_palloc(p, MEMSESS_WORDS_LEN));
}

const char *memsess_status_time(apr_time_t t, apr_pool_t *p)
{
    apr_time_exp_t at;

    apr_time_exp_gmt(&at, t);
    return apr_psprintf(p, "%d-%02d-%02dT%02d:%02d:%02dZ", at.tm_year + 1900, at.tm_mon + 1,
                        at.tm_mday, at.tm_hour, at.tm_min, at.tm_sec);
}

const char *memsess_status_number(apr_uint64_t n, apr_pool_t *p)
{
    return n < 1000 ? apr_psprintf(p, "%" APR_UINT64_T_FMT, n)
                    : apr_psprintf(p, "%s,%03u", memsess_status_number(n / 1000, p),
                                   (unsigned)(n % 1000));
}

const char *memsess_status_duration(apr_interval_time_t t, apr_pool_t *p)
{
    apr_int64_t s = t > 0 ? apr_time_sec(t) : 0;

    if (s < 120) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT " s", s);
    }
    if (s < 2 * 3600) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT " min", s / 60);
    }
    return s < 48 * 3600 ? apr_psprintf(p, "%" APR_INT64_T_FMT " h", s / 3600)
                         : apr_psprintf(p, "%" APR_INT64_T_FMT " days", s / 86400);
}

const char *memsess_status_took(apr_interval_time_t t, apr_pool_t *p)
{
    if (t < 1000) {
        return apr_psprintf(p, "%" APR_INT64_T_FMT " \xC2\xB5s", t);
    }
    return t < 1000000 ? apr_psprintf(p, t < 10000 ? "%.1f ms" : "%.0f ms", (double)t / 1000)
                       : apr_psprintf(p, "%.1f s", (double)t / 1000000);
}
