/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "base/count_private.h"

#include "apr_strings.h"
#include "base/error.h"
#include "base/log.h"

/* There is a warning for this long after a server last refused something. */
#define REFUSES_FOR apr_time_from_sec(600)

static apr_array_header_t *advice; /* of memsess_advice_t */

const char *const memsess_warning_kinds[MEMSESS_WARNINGS] = {
#define WARNING_KIND(name, kind) [MEMSESS_WARN_##name] = #kind,
    MEMSESS_WARNS(WARNING_KIND)
#undef WARNING_KIND
};

void memsess_advice_begin(apr_pool_t *pconf)
{
    advice = apr_array_make(pconf, 4, sizeof(memsess_advice_t));
}

int memsess_warn(memsess_warning_t warning, const char *text)
{
    apr_time_t now = memsess_clock_steady();

    apr_cpystrn(memsess_shared->warning[warning].text, text, MEMSESS_WARNING_LEN);
    apr_atomic_set64(&memsess_shared->warning[warning].at, (apr_uint64_t)now);
    return memsess_due(&memsess_shared->warning[warning].logged_at, now, MEMSESS_WARN_EVERY);
}

static void warn_of(apr_array_header_t *warnings, memsess_warning_t warning, const char *text)
{
    memsess_advice_t *found = apr_array_push(warnings);

    found->warning = warning;
    found->text = text;
}

void memsess_advise(memsess_warning_t warning, const char *text)
{
    warn_of(advice, warning, text);
}

/* These are of servers that are up, and yet lose sessions, or time. */
static void warn_of_server(apr_array_header_t *warnings, const memsess_counted_t *server,
                           apr_pool_t *p)
{
    const char *evicting = memsess_count_evicting(server->count, server->name, p);
    char words[MEMSESS_WORDS_LEN];

    if (evicting) {
        warn_of(warnings, MEMSESS_WARN_EVICTIONS, evicting);
    }
    if (memsess_count_is_slow(server->count)) {
        warn_of(warnings, MEMSESS_WARN_SLOW,
                memsess_count_slow_words(server->name, apr_palloc(p, MEMSESS_WARNING_LEN)));
    }
    if (memsess_was_within(&server->count->refused_at, REFUSES_FOR)) {
        warn_of(warnings, MEMSESS_WARN_REFUSALS,
                apr_psprintf(p, "server %s refuses sessions: %s", server->name,
                             memsess_error_words((apr_status_t)server->count->refusal, 0, words)));
    }
}

apr_array_header_t *memsess_warnings(apr_pool_t *p)
{
    apr_array_header_t *warnings = advice ? apr_array_copy(p, advice)
                                          : apr_array_make(p, 4, sizeof(memsess_advice_t));
    const memsess_counted_t *server;
    int i;

    for (i = 0; i < MEMSESS_WARNINGS; i++) {
        apr_uint64_t at = apr_atomic_read64(&memsess_shared->warning[i].at);

        if (at && (apr_uint64_t)memsess_clock_steady() - at < 3 * MEMSESS_COMPARE_EVERY) {
            /* The text may just be replaced: at worst one page shows nonsense. */
            warn_of(warnings, (memsess_warning_t)i,
                    apr_pstrndup(p, memsess_shared->warning[i].text, MEMSESS_WARNING_LEN - 1));
        }
    }
    for (i = 0; (server = memsess_count_listed(i)); i++) {
        warn_of_server(warnings, server, p);
    }
    return warnings;
}
