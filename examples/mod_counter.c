/*
 * Counts the pages that a visitor has seen, and remembers who has logged in.
 *
 *     apxs -c -i mod_counter.c
 *
 *     LoadModule counter_module modules/mod_counter.so
 *     <Location "/counter">
 *         MemSess    On
 *         SetHandler counter
 *     </Location>
 *     <Location "/counter/login">
 *         AuthType     Basic
 *         AuthName     "Counter"
 *         AuthUserFile "conf/users"
 *         Require      valid-user
 *     </Location>
 *
 * /counter/login puts the user whom httpd has authenticated, by any AuthType, into the session; all
 * other pages know the user from the session. /counter/logout ends it.
 */
#include "httpd.h"
#include "http_config.h"
#include "http_protocol.h"
#include "mod_memsess.h"

#define FUNCTIONS(F) F(open) F(deny) F(get) F(set) F(incr) F(renew) F(destroy)
#define DECLARE(name) static APR_OPTIONAL_FN_TYPE(memsess_##name) *session_##name;
#define FIND(name) session_##name = APR_RETRIEVE_OPTIONAL_FN(memsess_##name);

FUNCTIONS(DECLARE)

static void find_functions(void)
{
    FUNCTIONS(FIND)
}

static int counter(request_rec *r)
{
    const char *user;
    apr_int64_t pages = 0;
    memsess_t *session;
    memsess_rc_t rc;

    if (!r->handler || strcmp(r->handler, "counter")) {
        return DECLINED;
    }
    if (!session_open || session_open(r, &session) != MEMSESS_RC_OK) {
        return HTTP_NOT_FOUND; /* no mod_memsess, or MemSess is Off here */
    }
    if (!strcmp(r->uri, "/counter/logout")) {
        rc = session_destroy(session);
    }
    else if (!strcmp(r->uri, "/counter/login") && r->user) {
        rc = session_set(session, "user", r->user, strlen(r->user));
        if (rc == MEMSESS_RC_OK) {
            rc = session_renew(session); /* at every change of privilege */
        }
    }
    else {
        rc = session_incr(session, "pages", 1, &pages);
    }
    if (rc == MEMSESS_RC_UNAVAILABLE) {
        int status = session_deny(session, r);

        if (status != OK) {
            return status;
        }
    }
    rc = session_get(session, "user", &user, NULL);
    ap_set_content_type(r, "text/plain");
    ap_rprintf(r, "page %" APR_INT64_T_FMT " of %s\n", pages,
               rc == MEMSESS_RC_OK ? user : "a guest");
    return OK;
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_optional_fn_retrieve(find_functions, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(counter, NULL, NULL, APR_HOOK_MIDDLE);
}

module AP_MODULE_DECLARE_DATA counter_module = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks, AP_MODULE_FLAG_NONE};
