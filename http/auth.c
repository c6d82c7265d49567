/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/auth.h"

#include <string.h>

#include "ap_expr.h"
#include "apr_strings.h"
#include "conf/login.h"
#include "conf/others.h"
#include "http/request.h"
#include "http_core.h"
#include "http_log.h"
#include "http_request.h"
#include "util_cfgtree.h"

APLOG_USE_MODULE(memsess);

#define AUTH_TYPE "MemSess"

static int is_ours(request_rec *r)
{
    const char *type = ap_auth_type(r);

    return type && !strcasecmp(type, AUTH_TYPE);
}

/* -- The user --------------------------------------------------------------------------------- */

int memsess_auth_find_user(request_rec *r)
{
    const char *user;
    memsess_req_t *req;
    memsess_state_t state;

    if (!is_ours(r) || !memsess_req_enabled(r)) {
        return DECLINED;
    }
    req = memsess_req(r);
    state = memsess_req_depend(req, r);
    r->user = NULL;
    if (state == MEMSESS_STATE_ACTIVE
        && (user = memsess_session_user(req->session, memsess_dir_conf(r)->user_attr))) {
        r->user = apr_pstrdup(r->pool, user);
        r->ap_auth_type = (char *)AUTH_TYPE;
    }
    return memsess_req_refuse(r, state) == OK ? DECLINED : HTTP_SERVICE_UNAVAILABLE;
}

const char *memsess_auth_told(const request_rec *r)
{
    return r->user && r->ap_auth_type && !strcmp(r->ap_auth_type, AUTH_TYPE) ? r->user : NULL;
}

void memsess_auth_again(request_rec *r)
{
    if (memsess_auth_told(r)) {
        r->user = NULL;
        r->ap_auth_type = NULL;
    }
    memsess_auth_find_user(r);
}

/* Otherwise httpd would pass that user on as REDIRECT_REMOTE_USER. */
void memsess_auth_part(request_rec *r)
{
    request_rec *from;

    for (from = r->user ? NULL : r->prev; from; from = from->prev) {
        if (memsess_auth_told(from)) {
            from->user = NULL;
        }
    }
}

/* The request that the client sent, before any internal redirect or look-up. */
static const request_rec *asked_for(const request_rec *r)
{
    while (r->prev || r->main) {
        r = r->prev ? r->prev : r->main;
    }
    return r;
}

/* Whether this request decides the answer: it is the client's own, or a front controller's look-up
 * in place of a file that does not exist. What a page includes or a directory lists is part of an
 * answer that is already open. */
static int answers_for(const request_rec *r)
{
    return !r->main || r->main->finfo.filetype == APR_NOFILE;
}

/* If a front controller answers for the page, the section of that program decides. */
static void say_that_login_is_closed(const request_rec *r, const request_rec *asked)
{
    const char *page = ap_escape_logitem(r->pool, asked->uri);

    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  "MemSess: %s is the page of MemSessLoginURL, but needs a log-in itself: let "
                  "everybody in there, by Require all granted%s",
                  page,
                  asked == r ? ""
                             : apr_psprintf(r->pool,
                                            "; %s answers for it, so write there: Require expr "
                                            "\"%%{THE_REQUEST} =~ m#^(GET|POST) %s[? ]#\"",
                                            ap_escape_logitem(r->pool, r->uri), page));
}

/* Whether to redirect. A look-up for another answer, a subrequest and an error document must
 * not. */
static int can_redirect(const request_rec *r, const char *url)
{
    const request_rec *asked = asked_for(r);

    if (!url || r->status != HTTP_OK) {
        return 0;
    }
    if (!strcmp(memsess_login_path(url, r->pool), asked->uri) && answers_for(r)) {
        say_that_login_is_closed(r, asked);
        return 0;
    }
    return !r->main && asked->method_number == M_GET
           && memsess_accepts_html(apr_table_get(r->headers_in, "Accept"), r->pool);
}

static int ask_to_log_in(request_rec *r)
{
    const char *url = memsess_dir_conf(r)->login_url, *realm = ap_auth_name(r);

    apr_table_setn(r->err_headers_out, "Cache-Control", "no-store");
    if (url) {
        apr_table_mergen(r->err_headers_out, "Vary", "Accept");
    }
    if (can_redirect(r, url)) {
        apr_table_setn(r->headers_out, "Location",
                       memsess_login_url(url, asked_for(r)->unparsed_uri, r->pool));
        return HTTP_MOVED_TEMPORARILY;
    }
    /* 401 must name a scheme. Browsers do not know this one, so they ask for no password. */
    apr_table_setn(r->err_headers_out, "WWW-Authenticate",
                   realm ? apr_pstrcat(r->pool, AUTH_TYPE " realm=\"", realm, "\"", NULL)
                         : AUTH_TYPE);
    return HTTP_UNAUTHORIZED;
}

int memsess_auth_check_user(request_rec *r)
{
    const memsess_own_t *own = memsess_own(r, 0);

    if (own && own->stale && (is_ours(r) || !ap_auth_type(r))) {
        return ask_to_log_in(r);
    }
    if (!is_ours(r)) {
        /* Without an AuthType, nobody else says that Require memsess could not be decided. */
        return own && own->undecided && !ap_auth_type(r) ? memsess_req_deny(r) : DECLINED;
    }
    if (!memsess_req_enabled(r)) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "MemSess: AuthType MemSess cannot know the user "
                      "here: %s", r->proxyreq == PROXYREQ_PROXY
                                ? "requests to a forward proxy have no session"
                                : "MemSess is Off");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (r->user) {
        return OK;
    }
    /* A user who may be logged in is not asked to log in again, even with MemSessOnError
     * anonymous. */
    return memsess_req_depend(memsess_req(r), r) == MEMSESS_STATE_UNAVAILABLE ? memsess_req_deny(r)
                                                                              : ask_to_log_in(r);
}

/* -- Require memsess -------------------------------------------------------------------------- */

typedef struct requirement_t {
    const char *name;
    apr_array_header_t *values; /* of const ap_expr_info_t * */
    int is_plain;               /* it is never negated, so a denial grants nothing */
} requirement_t;

static const char *parse_requirement(cmd_parms *cmd, const char *line, const void **parsed)
{
    requirement_t *requirement = apr_pcalloc(cmd->pool, sizeof(*requirement));
    const char *error = NULL, *word = "";

    requirement->name = ap_getword_conf(cmd->pool, &line);
    requirement->values = apr_array_make(cmd->pool, 2, sizeof(const ap_expr_info_t *));
    /* A Require in an <AuthzProviderAlias> may be negated where the alias is used. */
    requirement->is_plain = !strcasecmp(cmd->directive->directive, "Require")
                            && !memsess_is_negated(cmd->directive, cmd->temp_pool);
    *parsed = requirement;
    if (!memsess_attr_name_ok(requirement->name, strlen(requirement->name))) {
        return apr_psprintf(cmd->pool, "Require memsess: '%s' must be an attribute's name, 1 to 64 "
                            "of [A-Za-z0-9_.-]", requirement->name);
    }
    /* Words are parsed one by one, so that the result of an expression is one value, spaces
     * included. */
    while (!error && *line) {
        word = ap_getword_conf(cmd->pool, &line);
        if (!*word) {
            return "Require memsess: an empty value never lets anybody in: leave it out";
        }
        APR_ARRAY_PUSH(requirement->values, const ap_expr_info_t *) =
            ap_expr_parse_cmd(cmd, word, AP_EXPR_FLAG_STRING_RESULT, &error, NULL);
    }
    if (error) {
        return apr_psprintf(cmd->pool, "Require memsess: %s: %s", word, error);
    }
    return requirement->values->nelts ? NULL : "Require memsess needs an attribute's name and the "
                                               "values to let in";
}

static int has_value(request_rec *r, const requirement_t *requirement, const char *value)
{
    int i;

    for (i = 0; i < requirement->values->nelts; i++) {
        const char *error = NULL;
        const char *wanted = ap_expr_str_exec(
            r, APR_ARRAY_IDX(requirement->values, i, const ap_expr_info_t *), &error);

        if (error) {
            ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "MemSess: Require memsess %s: %s",
                          requirement->name, error);
        }
        else if (*wanted && !strcmp(wanted, value)) {
            return 1;
        }
    }
    return 0;
}

/* The store could not answer. A negated denial would deny nothing, so a general error ends the
 * authorization. */
static authz_status undecided(request_rec *r, const requirement_t *requirement)
{
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "MemSess: Require memsess %s: denied: %s",
                  requirement->name, memsess_req_why(memsess_req(r)));
    memsess_own(r, 1)->undecided = 1;
    return requirement->is_plain ? AUTHZ_DENIED : AUTHZ_GENERAL_ERROR;
}

static authz_status check_requirement(request_rec *r, const char *line, const void *parsed)
{
    const requirement_t *requirement = parsed;
    const memsess_attr_t *attr = NULL;
    memsess_req_t *req;
    memsess_state_t state;

    (void)line;
    if (memsess_req_enabled(r)) {
        req = memsess_req(r);
        state = memsess_req_depend(req, r);
        if (state == MEMSESS_STATE_UNAVAILABLE) {
            return undecided(r, requirement);
        }
        if (state == MEMSESS_STATE_ACTIVE) {
            attr = memsess_session_find(req->session, requirement->name);
        }
    }
    if (attr && has_value(r, requirement, attr->value)) {
        return AUTHZ_GRANTED;
    }
    /* A client that has not logged in yet may have the attribute after the log-in. */
    return is_ours(r) && !r->user ? AUTHZ_DENIED_NO_USER : AUTHZ_DENIED;
}

const authz_provider memsess_auth_provider = {
    .check_authorization = check_requirement,
    .parse_require_line = parse_requirement};

/* -- Require memsess-login-age ---------------------------------------------------------------- */

static const char *parse_age(cmd_parms *cmd, const char *line, const void **parsed)
{
    apr_interval_time_t *most = apr_palloc(cmd->pool, sizeof(*most));
    const char *word = ap_getword_conf(cmd->pool, &line);

    *parsed = most;
    if (*line || !memsess_conf_time(word, most)) {
        return apr_psprintf(cmd->pool, "Require memsess-login-age %s: must be one time: a number and "
                            "ms, s, min or h", word);
    }
    return NULL;
}

/* A user who logged in longer ago may be let in after another log-in: see
 * memsess_auth_check_user. */
static authz_status check_age(request_rec *r, const char *line, const void *parsed)
{
    const apr_interval_time_t *most = parsed;
    memsess_req_t *req;
    memsess_state_t state;

    (void)line;
    if (!memsess_req_enabled(r)) {
        return AUTHZ_DENIED;
    }
    req = memsess_req(r);
    state = memsess_req_depend(req, r);
    if (state == MEMSESS_STATE_UNAVAILABLE) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "MemSess: Require memsess-login-age: denied: %s",
                      memsess_req_why(req));
        memsess_own(r, 1)->undecided = 1;
        return AUTHZ_GENERAL_ERROR;
    }
    if (state == MEMSESS_STATE_ACTIVE && req->session->login.user[0]
        && apr_time_from_sec(memsess_req_login_age(req)) <= *most) {
        return AUTHZ_GRANTED;
    }
    memsess_own(r, 1)->stale = 1;
    return AUTHZ_DENIED_NO_USER;
}

const authz_provider memsess_auth_age_provider = {
    .check_authorization = check_age,
    .parse_require_line = parse_age};

/* -- While the store is away ------------------------------------------------------------------- */

/* Asks all other modules first, since some of their answers do not count without the session. */
static int ask_others(request_rec *r, int (*ask)(request_rec *r))
{
    int requires = memsess_dir_conf(r)->requires, status;
    memsess_own_t *own;

    if (!memsess_req_enabled(r) || !(is_ours(r) || requires & MEMSESS_REQUIRES_SESSION)) {
        return DECLINED;
    }
    own = memsess_own(r, 1);
    if (own->asking || memsess_req_depend(memsess_req(r), r) != MEMSESS_STATE_UNAVAILABLE) {
        return DECLINED;
    }
    own->asking = 1;
    status = ask(r);
    own->asking = 0;
    if (status == OK && is_ours(r) && requires & MEMSESS_REQUIRES_NOT_USER) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "MemSess: denied, since some users are not let "
                      "in here, and it is not known who this one is: %s",
                      memsess_req_why(memsess_req(r)));
        return memsess_req_deny(r);
    }
    return ap_is_HTTP_ERROR(status) && own->undecided ? memsess_req_deny(r) : status;
}

int memsess_auth_userless(request_rec *r)
{
    return ask_others(r, ap_run_access_checker_ex);
}

int memsess_auth_user(request_rec *r)
{
    return ask_others(r, ap_run_auth_checker);
}

/* -- The configuration ------------------------------------------------------------------------ */

/* What the survey of the whole configuration looks for. */
typedef struct survey_t {
    const ap_directive_t *needs; /* the first directive that needs a session */
    int is_on;                   /* some section has sessions */
    int ok;
    server_rec *server;
    apr_pool_t *p;
} survey_t;

static int says(const ap_directive_t *d, const char *name, const char *word, apr_pool_t *p)
{
    const char *args = d->args;

    return !strcasecmp(d->directive, name) && args && !strcasecmp(ap_getword_conf(p, &args), word);
}

static int is_off_beside(const ap_directive_t *d, apr_pool_t *p)
{
    int is_off = 0;

    for (d = d->parent ? d->parent->first_child : ap_conftree; d; d = d->next) {
        if (!strcasecmp(d->directive, "MemSess")) {
            is_off = says(d, "MemSess", "off", p);
        }
    }
    return is_off;
}

static void complain(survey_t *survey, const ap_directive_t *d, const char *where)
{
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, survey->server,
                 "%s %s (line %d of %s): MemSess is Off %s, so nobody would ever be let in: write "
                 "MemSess On", d->directive, d->args, d->line_num, d->filename, where);
    survey->ok = 0;
}

static void look_at(survey_t *survey, const ap_directive_t *d)
{
    for (; d; d = d->next) {
        int authenticates = says(d, "AuthType", AUTH_TYPE, survey->p);

        survey->is_on |= says(d, "MemSess", "on", survey->p);
        if (!survey->needs && (authenticates || says(d, "Require", "memsess", survey->p))) {
            survey->needs = d;
        }
        if (authenticates && is_off_beside(d, survey->p)) {
            complain(survey, d, "in the same section");
        }
        look_at(survey, d->first_child);
    }
}

int memsess_auth_conf_check(server_rec *main_server, apr_pool_t *ptemp)
{
    survey_t survey = {.ok = 1, .server = main_server, .p = ptemp};

    look_at(&survey, ap_conftree);
    if (survey.ok && survey.needs && !survey.is_on) {
        complain(&survey, survey.needs, "everywhere");
    }
    return survey.ok;
}
