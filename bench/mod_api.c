/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Handlers that use mod_memsess through its C API, and answer as those of mod_bare.c do:
 *
 *   api-read   reads one attribute
 *   api-write  the same, and changes another one
 */
#include "httpd.h"
#include "apr_atomic.h"
#include "apr_strings.h"
#include "http_config.h"
#include "http_protocol.h"
#include "mod_memsess.h"

#define FUNCTIONS(F) F(open) F(get) F(set)
#define DECLARE(name) static APR_OPTIONAL_FN_TYPE(memsess_##name) *session_##name;
#define FIND(name) session_##name = APR_RETRIEVE_OPTIONAL_FN(memsess_##name);

FUNCTIONS(DECLARE)

static void find_functions(void)
{
    FUNCTIONS(FIND)
}

static int has_session(request_rec *r, memsess_t **session)
{
    const char *value;
    apr_size_t length;

    return session_open && session_open(r, session) == MEMSESS_RC_OK
           && session_get(*session, "cart", &value, &length) == MEMSESS_RC_OK && length;
}

static int change(request_rec *r, memsess_t *session)
{
    static volatile apr_uint32_t writes;
    const char *n = apr_psprintf(r->pool, "api-%u", apr_atomic_inc32(&writes) + 1);

    return session_set(session, "n", n, strlen(n)) == MEMSESS_RC_OK;
}

static int api_answer(request_rec *r)
{
    memsess_t *session;
    int writes;

    if (!r->handler || strncmp(r->handler, "api-", 4)) {
        return DECLINED;
    }
    writes = !strcmp(r->handler, "api-write");
    if (!has_session(r, &session) || (writes && !change(r, session))) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    ap_set_content_type(r, "text/plain");
    ap_rputs("Hello, world.\n", r);
    return OK;
}

static void api_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_optional_fn_retrieve(find_functions, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(api_answer, NULL, NULL, APR_HOOK_MIDDLE);
}

module AP_MODULE_DECLARE_DATA bench_api_module = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, api_hooks, AP_MODULE_FLAG_NONE};
