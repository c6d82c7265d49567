/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/writeback.h"

#include <string.h>

#include "apr_strings.h"
#include "http/caches.h"
#include "http/expose.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "http_request.h"

APLOG_USE_MODULE(memsess);

/* A write-back header of a response. */
typedef struct ask_t {
    memsess_verb_t verb;
    const char *value;
    request_rec *r;
    memsess_req_t *req; /* the session of the section that made the response */
} ask_t;

static int may_write(const request_rec *r)
{
    return memsess_req_enabled(r) && memsess_dir_conf(r)->writeback;
}

static void log_dropped(request_rec *r, const char *name, const char *why)
{
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, "MemSess: dropped the response header %s: %s",
                  ap_escape_logitem(r->pool, name), why);
}

/* Takes our headers out of a response, each after @a see has seen it. */
static void take_out(request_rec *r, apr_table_t *headers,
                     void (*see)(request_rec *r, const apr_table_entry_t *header))
{
    const apr_array_header_t *all = apr_table_elts(headers);
    int i, any = 0;

    for (i = 0; i < all->nelts; i++) {
        const apr_table_entry_t *header = &APR_ARRAY_IDX(all, i, apr_table_entry_t);

        if (memsess_reserved_name(header->key)) {
            see(r, header);
            any = 1;
        }
    }
    if (any) {
        memsess_drop_reserved(headers, r->pool);
    }
}

static void gather_one(request_rec *r, const apr_table_entry_t *header)
{
    memsess_top_t *top = memsess_own(r, 1)->top;
    memsess_verb_t verb = memsess_header_find(header->key);
    const char *why = NULL;

    if (verb == MEMSESS_HEADERS_N) {
        why = "there is no such header";
    }
    else if (!may_write(r)) {
        why = "MemSessWriteback is Off here";
    }
    else if (r->main) {
        why = "a subrequest cannot change the session";
    }
    else if (top->responded) {
        why = "the response has begun";
    }
    if (why) {
        log_dropped(r, header->key, why);
        return;
    }
    if (!top->asked) {
        top->asked = apr_array_make(top->p, 4, sizeof(ask_t));
    }
    APR_ARRAY_PUSH(top->asked, ask_t) =
        (ask_t){.verb = verb, .value = apr_pstrdup(top->p, header->val ? header->val : ""),
                .r = r, .req = memsess_req(r)};
}

void memsess_gather(request_rec *r)
{
    take_out(r, r->headers_out, gather_one);
    take_out(r, r->err_headers_out, gather_one);
}

/* Whether the handler was told that the session is not the client's own, and a certificate that
 * another section asked for showed later that it is; or whether that is still to be seen. */
static int knows_nothing(const ask_t *ask)
{
    const memsess_dir_conf_t *conf = memsess_dir_conf(ask->r);
    const memsess_own_t *own = memsess_own(ask->r, 1);
    memsess_state_t state;

    if (!own->top->early && own->told != MEMSESS_STATE_INVALID) {
        return 0;
    }
    state = memsess_req_state(ask->req, conf, own->top);
    return memsess_req_is_early(ask->req, conf, state)
           || (own->told == MEMSESS_STATE_INVALID && state == MEMSESS_STATE_ACTIVE);
}

/* Whether a response of this section may do that; if it may not, that is logged. */
static int may(const ask_t *ask, memsess_verb_t verb)
{
    if (memsess_conf_verbs(memsess_dir_conf(ask->r)) & 1U << verb) {
        return 1;
    }
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, ask->r, "MemSess: %s: left alone, since "
                  "MemSessWritebackVerbs does not allow %s here",
                  memsess_header_names[ask->verb], memsess_verb_names[verb]);
    return 0;
}

/* Other users' sessions need the verb admin, all else needs destroy. */
static const char *obey_destroy(const ask_t *ask, memsess_changes_t *changes, apr_pool_t *p)
{
    memsess_changes_t said, allowed;
    const char *error;

    memsess_changes_init(&said, p);
    memsess_changes_init(&allowed, p);
    error = memsess_changes_take(&said, MEMSESS_DESTROY, ask->value, p);
    if (error) {
        return may(ask, MEMSESS_DESTROY) ? error : NULL;
    }
    if (said.end_users->nelts && may(ask, MEMSESS_ADMIN)) {
        allowed.end_users = said.end_users;
    }
    if ((said.destroy || said.destroy_others || said.end_ids->nelts)
        && may(ask, MEMSESS_DESTROY)) {
        said.end_users = allowed.end_users;
        allowed = said;
    }
    memsess_changes_join(changes, &allowed);
    return NULL;
}

static const char *obey(const ask_t *ask, memsess_changes_t *changes, apr_pool_t *p)
{
    const apr_array_header_t *refused;
    memsess_changes_t said;
    const char *error;

    if (knows_nothing(ask)) {
        log_dropped(ask->r, memsess_header_names[ask->verb],
                    "the session was shown as invalid there");
        return NULL;
    }
    if (ask->verb == MEMSESS_DESTROY) {
        return obey_destroy(ask, changes, p);
    }
    if (!may(ask, ask->verb)) {
        return NULL;
    }
    memsess_changes_init(&said, p);
    error = memsess_changes_take(&said, ask->verb, ask->value, p);
    refused = memsess_changes_limit(&said, memsess_dir_conf(ask->r)->writeback_keys, p);
    if (refused->nelts) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, ask->r, "MemSess: %s: left alone, since "
                      "MemSessWritebackKeys does not allow it: %s",
                      memsess_header_names[ask->verb], apr_array_pstrcat(p, refused, ' '));
    }
    memsess_changes_join(changes, &said);
    return error;
}

/* All that was asked for one session, in the order of its effect. */
static int changes_of(request_rec *r, const apr_array_header_t *asked, memsess_req_t *req)
{
    memsess_verb_t verb;
    int i;

    memsess_changes_init(&req->said, req->top->p);
    for (verb = 0; verb < MEMSESS_HEADERS_N; verb++) {
        for (i = 0; i < asked->nelts; i++) {
            const ask_t *ask = &APR_ARRAY_IDX(asked, i, ask_t);
            const char *error = ask->verb == verb && ask->req == req
                                    ? obey(ask, &req->said, r->pool) : NULL;

            if (error) {
                ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, ask->r, "MemSess: the response header %s "
                              "is malformed, so the session stays as it was: %s",
                              memsess_header_names[verb], error);
                return HTTP_INTERNAL_SERVER_ERROR;
            }
        }
    }
    return OK;
}

/* The session is committed by the section that wrote into it last, or else by the one that
 * answers. */
static void choose_section(memsess_req_t *req, const apr_array_header_t *asked, request_rec *r)
{
    int i = asked ? asked->nelts - 1 : -1;

    while (i >= 0 && APR_ARRAY_IDX(asked, i, ask_t).req != req) {
        i--;
    }
    r = i >= 0 ? APR_ARRAY_IDX(asked, i, ask_t).r : r;
    if (memsess_req_is_of(req, r)) {
        req->conf = memsess_dir_conf(r);
    }
}

static int commit_one(memsess_req_t *req, const memsess_top_t *top, request_rec *r)
{
    const memsess_changes_t *all = req->said.list ? &req->said : NULL;

    if (req->pending.list) {
        if (all) {
            memsess_changes_join(&req->pending, all);
        }
        all = &req->pending;
    }
    choose_section(req, top->asked, r);
    return memsess_req_commit(req, all, r);
}

/* If a header is malformed for one session, no other session is changed, either. */
static int commit_all(request_rec *r, memsess_top_t *top)
{
    memsess_req_t *req;
    int status = OK;

    for (req = top->asked ? top->sessions : NULL; req && status == OK; req = req->next) {
        status = changes_of(r, top->asked, req);
    }
    for (req = top->sessions; req && status == OK; req = req->next) {
        status = commit_one(req, top, r);
    }
    return status;
}

int memsess_respond(request_rec *r)
{
    memsess_own_t *own;
    int status = OK;

    memsess_gather(r);
    if (r->main) {
        return OK;
    }
    /* Whatever is asked for from now on is too late; this is noted wherever there are sessions. */
    own = memsess_own(r, memsess_srv_conf(r->server)->cookies->nelts);
    if (own && !own->top->responded) {
        status = commit_all(r, own->top);
        own->top->responded = 1;
        memsess_req_unlock(own->top);
    }
    /* Caches are also told of an answer that takes the place of the committed one. */
    if (status == OK) {
        memsess_mind_caches(r);
    }
    return status;
}

/* -- Past the output filters ------------------------------------------------------------------- */

static int is_switch(const char *head)
{
    return !strncmp(head, "HTTP/1.1 101", 12);
}

/* Whether httpd itself goes on with HTTP/2: there it runs this very request once more, with all
 * hooks, and modules that have made changes can make them then. */
static int is_run_again(const request_rec *r, const char *head)
{
    return r->proxyreq == PROXYREQ_NONE && is_switch(head) && ap_strcasestr(head, "\nUpgrade: h2c");
}

/* The headers that were added after the first n. */
static const char *added_lines(const request_rec *r, int n)
{
    const apr_array_header_t *all = apr_table_elts(r->err_headers_out);
    const char *lines = "";

    for (; n < all->nelts; n++) {
        const apr_table_entry_t *header = &APR_ARRAY_IDX(all, n, apr_table_entry_t);

        lines = apr_pstrcat(r->pool, lines, header->key, ": ", header->val, CRLF, NULL);
    }
    return lines;
}

int memsess_respond_past(request_rec *r, const char **head)
{
    memsess_own_t *own = memsess_own(r, 0);
    int n = apr_table_elts(r->err_headers_out)->nelts, status;
    const char *lines, *end = strchr(*head, '\n');

    if (!own || own->top->responded) {
        return OK;
    }
    if (is_run_again(r, *head)) {
        own->top->responded = 1;
        memsess_req_unlock(own->top);
        return OK;
    }
    status = memsess_respond(r);
    lines = added_lines(r, n);
    if (status != OK) {
        *head = apr_pstrcat(r->pool, AP_SERVER_PROTOCOL " ", ap_get_status_line(status), CRLF, lines,
                            "Content-Length: 0" CRLF "Connection: close" CRLF CRLF, NULL);
    }
    else if (end && !strncmp(*head, "HTTP/1.", 7)) {
        lines = apr_pstrcat(r->pool, lines, is_switch(*head) ? "" : memsess_mind_head(own->top, *head),
                            NULL);
        *head = apr_pstrcat(r->pool, apr_pstrmemdup(r->pool, *head, (apr_size_t)(end + 1 - *head)),
                            lines, end + 1, NULL);
    }
    else if (*lines) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, "MemSess: the cookie cannot be sent: the "
                      "answer does not begin with HTTP headers");
    }
    return status;
}

void memsess_tell_overlooked(request_rec *r)
{
    const memsess_own_t *own = memsess_own(r, 0);
    const memsess_req_t *req;

    for (req = own && !own->top->responded ? own->top->sessions : NULL; req; req = req->next) {
        if (req->pending.list && memsess_changes_any(&req->pending)) {
            ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "MemSess: a module's changes are lost: the "
                          "request had no answer, or one that bypassed httpd's output filters");
        }
    }
}

static void log_interim(request_rec *r, const char *name)
{
    log_dropped(r, name, "it is part of an interim response, or of one that a tunnel or a nph- "
                "program made");
}

static void log_interim_header(request_rec *r, const apr_table_entry_t *header)
{
    log_interim(r, header->key);
}

void memsess_drop_interim(request_rec *r)
{
    take_out(r, r->headers_out, log_interim_header);
}

const char *memsess_clean_interim(request_rec *r, const char *text)
{
    char *clean = apr_palloc(r->pool, strlen(text) + 1), *to = clean;
    int drop = 0;

    while (*text) {
        apr_size_t len = strcspn(text, "\n");

        len += text[len] == '\n';
        /* A line that begins with a blank continues the line before it. */
        if (*text != ' ' && *text != '\t' && (drop = memsess_reserved_name(text))) {
            log_interim(r, apr_pstrmemdup(r->pool, text, strcspn(text, ": \t\r\n")));
        }
        if (!drop) {
            memcpy(to, text, len);
            to += len;
        }
        text += len;
    }
    *to = '\0';
    return clean;
}
