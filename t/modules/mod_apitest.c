/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Calls the functions of mod_memsess.h as the query says, one command in each line, and prints what
 * they return. Arguments are percent-encoded.
 */
#include "httpd.h"
#include "apr_lib.h"
#include "apr_strings.h"
#include "http_config.h"
#include "http_protocol.h"
#include "http_request.h"
#include "mod_memsess.h"

#define FUNCTIONS(F)                                                                               \
    F(api_version) F(explain) F(open) F(deny) F(state) F(id) F(get) F(list) F(expiry) F(set)       \
    F(unset) F(incr) F(renew) F(destroy) F(destroy_all) F(destroy_others) F(expire) F(say)         \
    F(kind_make) F(open_kind)

#define DECLARE(name) static APR_OPTIONAL_FN_TYPE(memsess_##name) *fn_##name;
FUNCTIONS(DECLARE)

static void find_functions(void)
{
#define RETRIEVE(name) fn_##name = APR_RETRIEVE_OPTIONAL_FN(memsess_##name);
    FUNCTIONS(RETRIEVE)
}

/* What a command works on. */
typedef struct run_t {
    request_rec *r;
    memsess_t *session;
    const char *said; /* sent at the end, since the first byte that is sent commits */
    char *word[4];
} run_t;

static void say(run_t *run, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(run_t *run, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    run->said = apr_pstrcat(run->r->pool, run->said, apr_pvsprintf(run->r->pool, fmt, args), NULL);
    va_end(args);
}

static const char *escaped(const run_t *run, const char *value, apr_size_t len)
{
    char *to = apr_palloc(run->r->pool, 3 * len + 1), *start = to;
    apr_size_t i;

    for (i = 0; i < len; i++) {
        to += apr_snprintf(to, 4, apr_isalnum(value[i]) ? "%c" : "%%%02X", (unsigned char)value[i]);
    }
    *to = '\0';
    return start;
}

static int print_attr(void *baton, const char *name, const char *value, apr_size_t len)
{
    run_t *run = baton;

    say(run, "  %s=%s\n", name, escaped(run, value, len));
    /* Changing the session here does not disturb the listing. */
    if (!strcmp(name, "volatile")) {
        fn_unset(run->session, name);
    }
    return !strcmp(name, "last");
}

static void answer(run_t *run, memsess_rc_t rc, const char *what)
{
    say(run, "%s: %d%s%s\n", run->word[0], (int)rc, what ? " " : "", what ? what : "");
}

static void run_set(run_t *run)
{
    char *value = apr_pstrdup(run->r->pool, run->word[2] ? run->word[2] : "");
    apr_size_t len = strlen(value);

    if (!strcmp(value, "nul")) {
        value[1] = '\0';
    }
    if (!strncmp(value, "bytes", 5)) {
        len = (apr_size_t)apr_atoi64(value + 5);
        value = memset(apr_palloc(run->r->pool, len), 'x', len);
    }
    answer(run, fn_set(run->session, run->word[1], value, len), NULL);
    /* The module must have copied the value. */
    memset(value, '!', len);
}

static void run_get(run_t *run)
{
    const char *value = "unset";
    apr_size_t len = 77;
    memsess_rc_t rc = fn_get(run->session, run->word[1], &value, &len);

    answer(run, rc, value ? apr_psprintf(run->r->pool, "%d %s", (int)len,
                                         escaped(run, value, len)) : "null");
}

static void run_incr(run_t *run)
{
    apr_int64_t now = 0;
    memsess_rc_t rc = fn_incr(run->session, run->word[1], apr_atoi64(run->word[2]), &now);

    answer(run, rc, apr_psprintf(run->r->pool, "%" APR_INT64_T_FMT, now));
}

static void run_request(run_t *run)
{
    request_rec *r = run->r;
    request_rec *sub = ap_sub_req_lookup_uri(run->word[1], r, r->output_filters);

    ap_run_sub_req(sub);
    ap_destroy_sub_req(sub);
}

static void run_kind(run_t *run)
{
    char *argv[] = {run->word[2]};
    memsess_kind_t *kind;
    const char *error = fn_kind_make(&kind, run->word[1], 1, argv, run->r->pool);

    if (error) {
        say(run, "kind: %s\n", error);
        return;
    }
    memset(run->word[2], '!', strlen(run->word[2]));
    answer(run, fn_open_kind(run->r, kind, &run->session), NULL);
}

static void run_say(run_t *run)
{
    const char *error = "unset";
    memsess_rc_t rc = fn_say(run->session, run->word[1], run->word[2] ? run->word[2] : "", &error);

    answer(run, rc, error);
}

static void run_simple(run_t *run, const char *command)
{
    const char *id = NULL;
    apr_time_t when = 0;
    memsess_rc_t rc;

    if (!strcmp(command, "version")) {
        say(run, "version: %d\n", fn_api_version());
    }
    else if (!strcmp(command, "explain")) {
        say(run, "explain: %s\n", fn_explain((memsess_rc_t)atoi(run->word[1])));
    }
    else if (!strcmp(command, "state")) {
        say(run, "state: %d\n", (int)fn_state(run->session));
    }
    else if (!strcmp(command, "id")) {
        rc = fn_id(run->session, &id);
        answer(run, rc, id ? id : "null");
    }
    else if (!strcmp(command, "list")) {
        answer(run, fn_list(run->session, print_attr, run), NULL);
    }
    else if (!strcmp(command, "unset")) {
        answer(run, fn_unset(run->session, run->word[1]), NULL);
    }
    else if (!strcmp(command, "renew")) {
        answer(run, fn_renew(run->session), NULL);
    }
    else if (!strcmp(command, "destroy")) {
        answer(run, fn_destroy(run->session), NULL);
    }
    else if (!strcmp(command, "others")) {
        answer(run, fn_destroy_others(run->session), NULL);
    }
    else if (!strcmp(command, "everywhere")) {
        answer(run, fn_destroy_all(run->session), NULL);
    }
    else if (!strcmp(command, "expire")) {
        when = run->word[1][0] == '0' ? 0 : apr_time_now() + 1000 * apr_atoi64(run->word[1]);
        answer(run, fn_expire(run->session, when), NULL);
    }
    else if (!strcmp(command, "expiry")) {
        rc = fn_expiry(run->session, &when);
        answer(run, rc, when ? apr_psprintf(run->r->pool, "%d", (int)apr_time_as_msec(
                                                when - apr_time_now())) : "never");
    }
    else if (!strcmp(command, "flush")) {
        ap_rputs(run->said, run->r);
        run->said = "";
        ap_rflush(run->r);
    }
    else if (!strcmp(command, "header")) {
        apr_table_add(run->r->headers_out, run->word[1], run->word[2]);
    }
}

/* Returns OK, or the status to answer with. */
static int run_command(run_t *run)
{
    const char *command = run->word[0];

    if (!strcmp(command, "set")) {
        run_set(run);
    }
    else if (!strcmp(command, "get")) {
        run_get(run);
    }
    else if (!strcmp(command, "say")) {
        run_say(run);
    }
    else if (!strcmp(command, "incr")) {
        run_incr(run);
    }
    else if (!strcmp(command, "sub")) {
        run_request(run);
    }
    else if (!strcmp(command, "redirect")) {
        ap_internal_redirect(run->word[1], run->r);
        return DONE;
    }
    else if (!strcmp(command, "kind")) {
        run_kind(run);
    }
    else if (!strcmp(command, "deny")) {
        return fn_deny(run->session, run->r);
    }
    else if (!strcmp(command, "status")) {
        return atoi(run->word[1]);
    }
    else {
        run_simple(run, command);
    }
    return OK;
}

static int handler(request_rec *r)
{
    run_t run = {.r = r, .said = "", .word = {"open"}};
    char *line, *lines, *state;
    int status = OK;

    if (!r->handler || strcmp(r->handler, "apitest")) {
        return DECLINED;
    }
    if (!r->content_type) {
        ap_set_content_type(r, "text/plain");
    }
    if (!fn_open) {
        ap_rputs("no mod_memsess\n", r);
        return OK;
    }
    answer(&run, fn_open(r, &run.session), NULL);
    lines = apr_pstrdup(r->pool, r->args ? r->args : "");
    for (line = apr_strtok(lines, "&", &state); line && status == OK;
         line = apr_strtok(NULL, "&", &state)) {
        char *words;
        int i;

        memset(run.word, 0, sizeof(run.word));
        for (i = 0; i < 3; i++) {
            run.word[i] = apr_strtok(i ? NULL : line, "+", &words);
            if (run.word[i]) {
                ap_unescape_url(run.word[i]);
            }
        }
        status = run_command(&run);
    }
    if (status == OK) {
        ap_rputs(run.said, r);
    }
    return status == DONE ? OK : status;
}

/* Runs before any kind of handler: X-Incr names an attribute to count up. */
static int fixups(request_rec *r)
{
    const char *name = r->main || r->prev ? NULL : apr_table_get(r->headers_in, "X-Incr");
    memsess_t *session;

    if (name && fn_open && fn_open(r, &session) == MEMSESS_RC_OK) {
        fn_incr(session, name, 1, NULL);
    }
    return DECLINED;
}

/* Runs after the response. */
static int log_transaction(request_rec *r)
{
    memsess_t *session;
    const char *value;

    int asked = apr_table_get(r->headers_in, "X-Late")
                || (r->handler && !strcmp(r->handler, "apitest") && r->args
                    && strstr(r->args, "log"));

    if (asked && fn_open && fn_open(r, &session) == MEMSESS_RC_OK) {
        apr_table_setn(r->notes, "late",
                       fn_get(session, "late", &value, NULL) == MEMSESS_RC_OK ? value : "-");
        apr_table_setn(r->notes, "late-set",
                       fn_set(session, "x", "y", 1) == MEMSESS_RC_TOO_LATE ? "late" : "taken");
    }
    return OK;
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_optional_fn_retrieve(find_functions, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_fixups(fixups, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_log_transaction(log_transaction, NULL, NULL, APR_HOOK_REALLY_FIRST);
}

module AP_MODULE_DECLARE_DATA apitest_module = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks, AP_MODULE_FLAG_NONE};
