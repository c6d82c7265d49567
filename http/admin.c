/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/admin.h"

#include <string.h>

#include "apr_lib.h"
#include "apr_strings.h"
#include "base/clock.h"
#include "conf/others.h"
#include "conf/server.h"
#include "http/json.h"
#include "http/repair.h"
#include "http/request.h"
#include "http/status.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "http_request.h"
#include "memsess_conf.h"
#include "store/epoch.h"
#include "store/look.h"
#include "store/resync.h"
#include "util_script.h"

APLOG_USE_MODULE(memsess);

#define HANDLER MEMSESS_ADMIN_HANDLER

/* Limits, in bytes: of a form, and of one of its fields. */
#define FORM_MAX 8192

/* The fields that a request may have. */
enum { USER, ID, COOKIE, RESYNC, FIELDS };
#define FORM "the form must have just one of user=NAME, user=NAME&id=PUBLIC_ID, cookie=VALUE and " \
             "resync=RECORDS, and each field once"
static const char *const field_names[FIELDS] = {"user", "id", "cookie", "resync"};

/* -- The guards ------------------------------------------------------------------------------- */

/* Why requests are refused here; NULL: they are not. */
static const char *unguarded(request_rec *r)
{
    const memsess_dir_conf_t *conf = memsess_dir_conf(r);

    if (!conf->is_admin) {
        return "only SetHandler in the server's configuration can set this handler, and none does "
               "so here";
    }
    if (ap_satisfies(r) == SATISFY_ANY) {
        return "with Satisfy Any its Require keeps nobody out: write Satisfy All";
    }
    return conf->is_guarded && !conf->is_open
               ? NULL : "no Require guards it: say in its section who may end sessions, for "
                        "example by Require ip or Require user. Require env, expr, method and ssl "
                        "are not enough: they may let anybody in";
}

/* -- Answers ---------------------------------------------------------------------------------- */

/* Answers with an error. */
static int refuse(request_rec *r, int status, const char *why)
{
    r->status = status;
    ap_rprintf(r, "{\"error\": %s}\n", memsess_json_string(why, r->pool));
    return OK;
}

static int unavailable(request_rec *r, const char *why)
{
    apr_table_setn(r->err_headers_out, "Retry-After", "5");
    return refuse(r, HTTP_SERVICE_UNAVAILABLE, why);
}

/* -- Ending ----------------------------------------------------------------------------------- */

static const memsess_srv_conf_t *conf_of(const request_rec *r)
{
    return memsess_srv_conf(r->server);
}

static memsess_user_t user_of(const request_rec *r, const char *name)
{
    return (memsess_user_t){.secrets = conf_of(r)->secrets, .ns = conf_of(r)->ns, .name = name};
}

/* Ends all sessions of a user, or only the one with this id. */
static int end(request_rec *r, const char *name, const char *id)
{
    const memsess_srv_conf_t *conf = conf_of(r);
    const memsess_user_t user = user_of(r, name);
    apr_interval_time_t wait = memsess_dir_conf(r)->lock_wait;
    char words[MEMSESS_WORDS_LEN];
    apr_status_t rv = id ? memsess_epoch_end_one(conf->store, &user, id, wait, r->pool)
                         : memsess_epoch_end_user(conf->store, &user, wait, r->pool);

    if (rv == MEMSESS_ABSENT) {
        return refuse(r, HTTP_NOT_FOUND, "this user has no such session in the list of "
                                         "MemSessUserSessions");
    }
    if (rv != APR_SUCCESS) {
        return unavailable(r, memsess_error_words(rv, conf->timeout, words));
    }
    ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, r, "MemSess: " HANDLER ": %s of %s was ended at the "
                  "request of %s", id ? ap_escape_logitem(r->pool, id) : "every session",
                  ap_escape_logitem(r->pool, name),
                  r->user ? ap_escape_logitem(r->pool, r->user) : r->useragent_ip);
    ap_rprintf(r, "{\"user\": %s, \"ended\": %s}\n", memsess_json_string(name, r->pool),
               memsess_json_string(id ? id : "all", r->pool));
    return OK;
}

/* -- Why -------------------------------------------------------------------------------------- */

/* Microseconds as seconds; null for an unknown time. */
static const char *seconds(apr_time_t t, apr_pool_t *p)
{
    return t ? apr_psprintf(p, "%" APR_TIME_T_FMT, apr_time_sec(t)) : "null";
}

static void send_look(request_rec *r, const memsess_look_t *look)
{
    const memsess_session_t *session = look->session;

    ap_rprintf(r, "{\"server\": %s, \"home\": %s, \"state\": \"%s\"",
               memsess_json_string(look->server, r->pool), look->is_home ? "true" : "false",
               look->state);
    if (session) {
        ap_rprintf(r, ", \"id\": \"%s\", \"revision\": %" APR_UINT64_T_FMT ", \"created\": %s, "
                   "\"used\": %s, \"written\": %s, \"copies\": %u", session->public_id,
                   session->revision, seconds(session->created, r->pool),
                   seconds(session->used, r->pool), seconds(session->written, r->pool),
                   session->placement.n);
    }
    ap_rputs("}", r);
}

static int count_silent(const apr_array_header_t *looks)
{
    int i, n = 0;

    for (i = 0; i < looks->nelts; i++) {
        n += !strcmp(APR_ARRAY_IDX(looks, i, memsess_look_t).state, "silent");
    }
    return n;
}

/* Judges a session that nobody has ended. Sections differ in their time-outs, and the request names
 * no section, so this one's decide. */
static const char *judge_section(request_rec *r, const memsess_session_t *session, apr_time_t now)
{
    const memsess_dir_conf_t *conf = memsess_dir_conf(r);
    int is_free = session->fixed || session->lasts; /* MemSess-Expire overrides the time-outs */
    const char *used = memsess_status_time(session->used, r->pool);

    if (!is_free && conf->absolute && session->created + conf->absolute < now) {
        return apr_psprintf(r->pool, "expired: it began at %s, longer ago than "
                            "MemSessAbsoluteTimeout allows here",
                            memsess_status_time(session->created, r->pool));
    }
    if (!is_free && session->used + conf->idle < now) {
        return apr_psprintf(r->pool, "unused since %s, for %" APR_TIME_T_FMT " s: expired in "
                            "sections whose MemSessIdleTimeout is shorter, as in this one, and "
                            "active in others",
                            used, apr_time_sec(now - session->used));
    }
    return apr_psprintf(r->pool, "active: last used at %s", used);
}

/* Says whether a session is over: by its own time, or because its user's sessions were ended. */
static const char *judge_live(request_rec *r, const memsess_session_t *session)
{
    apr_time_t now = memsess_clock_wall();
    memsess_reading_t epoch = {.found = MEMSESS_UNAVAILABLE};

    if (session->used + session->idle < now) {
        return apr_psprintf(r->pool, "expired: unused since %s, for longer than %" APR_TIME_T_FMT
                            " s", memsess_status_time(session->used, r->pool),
                            apr_time_sec(session->idle));
    }
    if (session->login.user[0]
        && memsess_epoch_key(&epoch.key, conf_of(r)->ns, session->login.user) == APR_SUCCESS) {
        memsess_store_read(conf_of(r)->store, &epoch, r->pool);
        memsess_repair_see(memsess_own(r, 1)->top, &epoch);
        switch (memsess_epoch_judge(session, &epoch)) {
        case MEMSESS_ENDED:
            return memsess_epoch_why(session, &epoch);
        case MEMSESS_FOUND:
            break;
        default:
            return "not known: the servers that have its user's record are silent";
        }
    }
    return judge_section(r, session, now);
}

/* What all copies together mean, in one line. */
static const char *judge(request_rec *r, const apr_array_header_t *looks)
{
    const memsess_session_t *newest = memsess_look_newest(looks);
    int silent = count_silent(looks);

    if (newest && !newest->ended) {
        return judge_live(r, newest);
    }
    if (newest) {
        return apr_psprintf(r->pool, newest->moved ? "renewed at %s: the session goes on under "
                                                     "another id" : "ended by log-out at %s",
                            memsess_status_time(newest->written, r->pool));
    }
    if (silent) {
        return apr_psprintf(r->pool, "not found on any server that answered, but %d of %d are "
                            "silent", silent, looks->nelts);
    }
    return "not found on any server: it has expired, was evicted or never existed";
}

/* What is wrong with a cookie's value; NULL: nothing. */
static const char *misread(request_rec *r, const char *name, const char *value,
                           memsess_cookie_value_t *sent)
{
    const memsess_secrets_t *secrets = conf_of(r)->secrets;
    memsess_cookie_value_t all[MEMSESS_COOKIES_MAX];
    const char *header = apr_pstrcat(r->pool, name, "=", value, NULL);
    unsigned n;

    if (memsess_cookie_find(header, name, secrets, all, &n) == MEMSESS_COOKIE_OK) {
        *sent = all[0];
        return NULL;
    }
    if (strlen(value) < MEMSESS_ID_LEN || !memsess_id_ok(value, MEMSESS_ID_LEN)) {
        return "malformed: this is not a session cookie of mod_memsess";
    }
    return secrets && strchr(value, '.')
               ? "signed with another secret, for another cookie name or namespace, or altered"
               : secrets ? "not signed, although MemSessSecret is set here"
                         : "signed, although MemSessSecret is not set here";
}

static int why(request_rec *r, const char *cookie)
{
    const char *equals = strchr(cookie, '='), *wrong;
    const char *name = equals ? apr_pstrmemdup(r->pool, cookie, (apr_size_t)(equals - cookie))
                              : memsess_dir_conf(r)->cookie->name;
    memsess_cookie_value_t sent;
    apr_array_header_t *looks;
    memsess_key_t key;
    int i;

    wrong = misread(r, name, equals ? equals + 1 : cookie, &sent);
    if (wrong) {
        ap_rprintf(r, "{\"summary\": %s, \"handle\": null, \"servers\": []}\n",
                   memsess_json_string(wrong, r->pool));
        return OK;
    }
    if (memsess_key_make(&key, conf_of(r)->ns, sent.id) != APR_SUCCESS) {
        return unavailable(r, "libcrypto failed");
    }
    looks = memsess_look(conf_of(r)->store, &key, r->pool);
    ap_rprintf(r, "{\"summary\": %s, \"handle\": \"%s\", \"servers\": [",
               memsess_json_string(judge(r, looks), r->pool), memsess_key_log(&key, r->pool));
    for (i = 0; i < looks->nelts; i++) {
        ap_rputs(i ? ",\n " : "\n ", r);
        send_look(r, &APR_ARRAY_IDX(looks, i, memsess_look_t));
    }
    ap_rputs("]}\n", r);
    return OK;
}

/* -- Resync ----------------------------------------------------------------------------------- */

/* Parses "DIGEST.SECONDS": the key of a record, and how long it has to live; 0: it is malformed. */
static int parse_record(const char *word, apr_uint32_t *ttl)
{
    const char *dot = strchr(word, '.'), *end;

    if (!dot || dot - word != MEMSESS_DIGEST_LEN || strlen(dot) < 2 || strlen(dot) > 10) {
        return 0;
    }
    for (end = dot + 1; apr_isdigit(*end); end++) {
    }
    *ttl = (apr_uint32_t)apr_atoi64(dot + 1);
    return !*end && *ttl > 0;
}

/* Makes these records whole, and answers how many of them ended in which state. */
static int resync(request_rec *r, const char *records)
{
    static const char *const names[MEMSESS_RESYNC_N] = {
        [MEMSESS_RESYNC_WHOLE] = "whole", [MEMSESS_RESYNC_COPIED] = "copied",
        [MEMSESS_RESYNC_GONE] = "gone", [MEMSESS_RESYNC_DIFFERS] = "differs",
        [MEMSESS_RESYNC_UNSURE] = "unsure"};
    unsigned n[MEMSESS_RESYNC_N] = {0}, i;
    char *last, *word = apr_strtok(apr_pstrdup(r->pool, records), ",", &last);
    apr_pool_t *p;
    apr_uint32_t ttl;

    if (!memsess_resync_can(conf_of(r)->store)) {
        return refuse(r, HTTP_BAD_REQUEST, "MemSessRedundancy gives each session one copy here, so "
                                           "there is nothing to copy");
    }
    apr_pool_create(&p, r->pool);
    for (; word; word = apr_strtok(NULL, ",", &last)) {
        if (!parse_record(word, &ttl)) {
            return refuse(r, HTTP_BAD_REQUEST, "resync= must be a list of DIGEST.SECONDS, "
                          "separated by commas");
        }
        n[memsess_resync(conf_of(r)->store, word, ttl, p)]++;
        apr_pool_clear(p);
    }
    for (i = 0; i < MEMSESS_RESYNC_N; i++) {
        ap_rprintf(r, "%s\"%s\": %u", i ? ", " : "{", names[i], n[i]);
    }
    ap_rputs("}\n", r);
    return OK;
}

/* Lists the servers of this virtual host's pool. */
static int list_servers(request_rec *r)
{
    const apr_array_header_t *members = conf_of(r)->members;
    int i;

    ap_rputs("{\"servers\": [", r);
    for (i = 0; i < members->nelts; i++) {
        const memsess_server_conf_t *server = &APR_ARRAY_IDX(members, i, memsess_member_t).server;

        ap_rprintf(r, "%s{\"name\": %s, \"address\": %s}", i ? ", " : "",
                   memsess_json_string(server->name, r->pool),
                   memsess_json_string(memsess_member_address(server, r->pool), r->pool));
    }
    ap_rputs("]}\n", r);
    return OK;
}

/* -- The list --------------------------------------------------------------------------------- */

/* Joins two JSON arrays. */
static const char *join_lists(const char *a, const char *b, apr_pool_t *p)
{
    return !strcmp(a, "[]") ? b : !strcmp(b, "[]") ? a
           : apr_pstrcat(p, apr_pstrmemdup(p, a, strlen(a) - 1), ", ", b + 1, NULL);
}

/* Lists the sessions that were logged in under each of the secrets, one secret after the other. */
static int list(request_rec *r, const char *name)
{
    const memsess_srv_conf_t *conf = conf_of(r);
    const char *sessions = conf->user_sessions ? "[]" : "null";
    const memsess_user_t user = user_of(r, name);
    unsigned i;

    for (i = 0; conf->user_sessions && i < memsess_users(conf->secrets); i++) {
        memsess_reading_t epoch = {.found = MEMSESS_UNAVAILABLE};

        if (memsess_user_key(&epoch.key, &user, i) == APR_SUCCESS) {
            memsess_store_read(conf->store, &epoch, r->pool);
            memsess_repair_see(memsess_own(r, 1)->top, &epoch);
        }
        if (epoch.found == MEMSESS_UNAVAILABLE || epoch.found == MEMSESS_UNSEEN) {
            return unavailable(r, "the servers that have the user's list are silent");
        }
        if (epoch.found == MEMSESS_FOUND) {
            apr_array_header_t *list = memsess_epoch_list(conf->store, epoch.session, r->pool);

            sessions = join_lists(sessions, memsess_json_sessions(list, NULL, r->pool), r->pool);
        }
    }
    ap_rprintf(r, "{\"user\": %s, \"sessions\": %s}\n", memsess_json_string(name, r->pool), sessions);
    return OK;
}

/* -- The handler ------------------------------------------------------------------------------ */

static int get(request_rec *r)
{
    const char *user;
    apr_table_t *args;

    ap_args_to_table(r, &args);
    user = apr_table_get(args, field_names[USER]);
    if (!conf_of(r)->store) {
        return unavailable(r, "this child process has no store: see the error log");
    }
    if (apr_table_get(args, "servers")) {
        return list_servers(r);
    }
    if (!user || !*user) {
        return refuse(r, HTTP_BAD_REQUEST, "say whose sessions to list: ?user=NAME");
    }
    return list(r, user);
}

/* A field's bytes as a string; NULL: there is a NUL in them. */
static const char *field_text(const ap_form_pair_t *pair, apr_pool_t *p)
{
    char *text;
    apr_size_t len;

    return apr_brigade_pflatten(pair->value, &text, &len, p) == APR_SUCCESS
                   && !memchr(text, '\0', len) ? apr_pstrmemdup(p, text, len) : NULL;
}

/* Reads the form's fields; returns NULL, or why the form is refused. */
static const char *read_form(request_rec *r, const char *fields[FIELDS], int *status)
{
    apr_array_header_t *pairs = NULL;
    const ap_form_pair_t *pair;
    int i;

    *status = ap_parse_form_data(r, NULL, &pairs, -1, FORM_MAX);
    if (*status != OK) {
        return "the request must have a form as its body, of at most 8 kB";
    }
    *status = HTTP_BAD_REQUEST;
    while (pairs && (pair = apr_array_pop(pairs))) {
        for (i = 0; i < FIELDS && strcmp(pair->name, field_names[i]); i++) {
        }
        if (i == FIELDS || fields[i] || !(fields[i] = field_text(pair, r->pool))) {
            return FORM;
        }
    }
    if (!!fields[USER] + !!fields[COOKIE] + !!fields[RESYNC] != 1
        || (fields[USER] ? !*fields[USER] : fields[ID] != NULL)) {
        return FORM;
    }
    return NULL;
}

static int post(request_rec *r)
{
    const char *fields[FIELDS] = {NULL}, *wrong;
    int status;

    if (!memsess_own(r, 1)->top->is_admin) {
        return refuse(r, HTTP_BAD_REQUEST, "a POST needs the header MemSess-Admin: 1, which no "
                                           "other site's page can send");
    }
    wrong = read_form(r, fields, &status);
    if (wrong) {
        return refuse(r, status, wrong);
    }
    if (!conf_of(r)->store) {
        return unavailable(r, "this child process has no store: see the error log");
    }
    if (fields[COOKIE]) {
        return why(r, fields[COOKIE]);
    }
    if (fields[RESYNC]) {
        return resync(r, fields[RESYNC]);
    }
    return end(r, fields[USER], fields[ID]);
}

int memsess_admin_handler(request_rec *r)
{
    const char *wrong;

    if (!r->handler || strcmp(r->handler, HANDLER)) {
        return DECLINED;
    }
    wrong = unguarded(r);
    if (wrong) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "MemSess: " HANDLER " is forbidden here: %s",
                      wrong);
        return HTTP_FORBIDDEN;
    }
    ap_allow_standard_methods(r, REPLACE_ALLOW, M_GET, M_POST, -1);
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    ap_set_content_type(r, "application/json");
    if (r->method_number == M_GET) {
        return get(r);
    }
    return r->method_number == M_POST ? post(r) : HTTP_METHOD_NOT_ALLOWED;
}
