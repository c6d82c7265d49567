/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/outcome.h"

/* For logs. */
const char *memsess_commit_words(const memsess_commit_t *c, apr_status_t rv)
{
    return memsess_error_words(rv, memsess_srv_conf(c->top->server)->timeout,
                               apr_palloc(c->r->pool, MEMSESS_WORDS_LEN));
}

memsess_cache_t *memsess_commit_cache(const memsess_commit_t *c)
{
    return memsess_srv_conf(c->top->server)->cache;
}

/* How long the session lives by the end that MemSess-Expire gives it; 0: the changes give it
 * none. */
apr_interval_time_t memsess_commit_own_time(const memsess_commit_t *c)
{
    if (!c->changes || c->changes->ends <= c->now) {
        return c->changes ? c->changes->lasts : 0;
    }
    return c->changes->ends - c->now;
}

void memsess_commit_redate(const memsess_commit_t *c, memsess_session_t *session)
{
    if (c->changes && c->changes->expire) {
        session->fixed = c->changes->ends != 0;
        session->lasts = c->changes->lasts != 0;
        session->idle = memsess_commit_own_time(c);
        session->used = c->now;
    }
    if (session->fixed) {
        return;
    }
    session->used = c->now;
    if (!session->lasts && session->idle < c->conf->idle) {
        session->idle = c->conf->idle;
    }
}
