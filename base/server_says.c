/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* What a server says of itself: its own figures, whether it is full, and its clock. */

#include "base/count_private.h"

#include "apr_strings.h"
#include "base/log.h"

/* Servers are asked this often for their own figures, and there is a warning for this long after a
 * server last evicted something. */
#define SAYS_EVERY apr_time_from_sec(10)
#define EVICTS_FOR apr_time_from_sec(3600)

const memsess_says_name_t memsess_says_names[MEMSESS_SAYS_N] = {
#define SAYS_NAME(NAME, STAT, JSON, PROMETHEUS, TYPE, MEANING)                                     \
    [MEMSESS_SAYS_##NAME] = {.stat = #STAT,                                                        \
                             .json = #JSON,                                                        \
                             .prometheus = "memsess_server_" #PROMETHEUS,                          \
                             .type = #TYPE,                                                        \
                             .meaning = (MEANING)},
    MEMSESS_SAYS(SAYS_NAME)
#undef SAYS_NAME
};

int memsess_count_says_due(memsess_server_count_t *count)
{
    return memsess_due(&count->says_at, memsess_clock_steady(), SAYS_EVERY);
}

/* Whether a count has grown. That of a server that was started again begins at 0. */
static int see_evictions(memsess_server_count_t *count, apr_uint64_t n)
{
    apr_uint64_t seen = apr_atomic_read64(&count->evictions.seen);
    apr_uint64_t before = !seen ? n : n < seen - 1 ? 0 : seen - 1;

    if (n > before) {
        if (!memsess_was_within(&count->evictions.last_at, EVICTS_FOR)
            || apr_atomic_read64(&count->evictions.base) > before) {
            apr_atomic_set64(&count->evictions.base, before);
            apr_atomic_set64(&count->evictions.from, apr_atomic_read64(&count->evictions.seen_at));
        }
        apr_atomic_set64(&count->evictions.last_at, (apr_uint64_t)memsess_clock_steady());
    }
    apr_atomic_set64(&count->evictions.seen, n + 1);
    apr_atomic_set64(&count->evictions.seen_at, (apr_uint64_t)memsess_clock_wall());
    return n > before;
}

int memsess_count_says(memsess_server_count_t *count, const apr_int64_t says[MEMSESS_SAYS_N])
{
    apr_int64_t evictions = says[MEMSESS_SAYS_EVICTIONS];
    unsigned i;

    for (i = 0; i < MEMSESS_SAYS_N; i++) {
        apr_atomic_set64(&count->says[i], (apr_uint64_t)(says[i] + 1));
    }
    return evictions >= 0 && see_evictions(count, (apr_uint64_t)evictions)
           && memsess_due(&count->evictions.logged_at, memsess_clock_steady(), MEMSESS_WARN_EVERY);
}

const char *memsess_count_evicting(const memsess_server_count_t *count, const char *name,
                                   apr_pool_t *p)
{
    char from[APR_RFC822_DATE_LEN];

    if (!memsess_was_within(&count->evictions.last_at, EVICTS_FOR)) {
        return NULL;
    }
    apr_rfc822_date(from, (apr_time_t)count->evictions.from);
    return apr_psprintf(p, "server %s is full: it has evicted %" APR_UINT64_T_FMT " items since "
                        "%s, so sessions have ended before their time: give it more memory (its "
                        "-m), or add servers to MemSessServers", name,
                        count->evictions.seen - 1 - count->evictions.base, from);
}

int memsess_count_refusing(memsess_server_count_t *count, apr_status_t why)
{
    apr_uint64_t now = (apr_uint64_t)memsess_clock_steady();
    apr_uint64_t before = apr_atomic_read64(&count->refusal);

    apr_atomic_set64(&count->refusal, (apr_uint64_t)why);
    apr_atomic_set64(&count->refused_at, now);
    if (before != (apr_uint64_t)why) {
        apr_atomic_set64(&count->refusal_logged_at, 0);
    }
    return memsess_due(&count->refusal_logged_at, (apr_time_t)now, MEMSESS_WARN_EVERY);
}

/* -- Its clock -------------------------------------------------------------------------------- */

/* A memcached that stood still tells its old time for a second afterwards. So a time that is
 * earlier than expected is believed only if the server still tells it after that second. */
#define STANDS_STILL apr_time_from_sec(2)

static int is_doubted(memsess_server_count_t *count, apr_int64_t ahead, apr_time_t steady)
{
    apr_int64_t before = (apr_int64_t)count->ahead;
    apr_uint64_t since = apr_atomic_read64(&count->behind_since);

    if (!before || ahead >= before - 1) {
        return 0;
    }
    if (!since) {
        apr_atomic_set64(&count->behind_since, (apr_uint64_t)steady);
    }
    return !since || steady - (apr_time_t)since < STANDS_STILL;
}

void memsess_count_server_told(memsess_server_count_t *count, apr_int64_t seconds,
                               apr_time_t steady)
{
    apr_int64_t ahead = seconds - apr_time_sec(steady);

    if (!is_doubted(count, ahead, steady)) {
        if (apr_atomic_read64(&count->behind_since)
            && ahead < (apr_int64_t)count->ahead - 1) {
            apr_atomic_inc64(&count->set_back);
        }
        apr_atomic_set64(&count->behind_since, 0);
        apr_atomic_set64(&count->ahead, (apr_uint64_t)ahead);
    }
}

void memsess_count_server_started(memsess_server_count_t *count, apr_int64_t started,
                                  apr_time_t steady)
{
    if (!count->known_at || (apr_int64_t)count->started != started) {
        apr_atomic_set64(&count->known_at, (apr_uint64_t)steady);
        apr_atomic_set64(&count->started, (apr_uint64_t)started);
    }
}

apr_interval_time_t memsess_count_server_known(const memsess_server_count_t *count,
                                               apr_time_t steady)
{
    return count->known_at ? steady - (apr_time_t)count->known_at : 0;
}

int memsess_count_server_set_back(const memsess_server_count_t *count)
{
    return count->set_back != 0;
}

void memsess_count_server_moved(memsess_server_count_t *count)
{
    apr_atomic_set64(&count->ahead, 0);
}

apr_int64_t memsess_count_server_clock(const memsess_server_count_t *count)
{
    apr_int64_t ahead = (apr_int64_t)count->ahead;

    return ahead ? apr_time_sec(memsess_clock_steady()) + ahead : 0;
}

void memsess_count_server_back(memsess_server_count_t *count)
{
    apr_atomic_set64(&count->back_at, (apr_uint64_t)memsess_count_server_clock(count));
    apr_atomic_set64(&count->back_steady, (apr_uint64_t)memsess_clock_steady());
}

apr_time_t memsess_count_server_back_at(const memsess_server_count_t *count, apr_int64_t *clock)
{
    *clock = (apr_int64_t)count->back_at;
    return (apr_time_t)count->back_steady;
}
