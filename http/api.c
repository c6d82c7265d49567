/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/api.h"

#include <string.h>

#include "apr_strings.h"
#include "http/request.h"
#include "session/record.h"

#define LABEL_MAX 32

struct memsess_kind_t {
    const char *label;
    memsess_cookie_t cookie;
};

static int memsess_api_version(void)
{
    return MEMSESS_API_VERSION;
}

static const char *memsess_explain(memsess_rc_t rc)
{
    static const char *const words[] = {
        [MEMSESS_RC_OK] = "success",
        [MEMSESS_RC_ABSENT] = "there is no such attribute, or no session",
        [MEMSESS_RC_UNAVAILABLE] = "the store is unavailable, or MemSessLockWait is over",
        [MEMSESS_RC_OFF] = "MemSess is Off here",
        [MEMSESS_RC_TOO_LATE] = "the response has begun",
        [MEMSESS_RC_BAD_NAME] = "not an attribute name: use 1 to 64 of [A-Za-z0-9_.-]",
        [MEMSESS_RC_BAD_VALUE] = "the value has a NUL",
        [MEMSESS_RC_TOO_LARGE] = "the session would be larger than MemSessMaxSize allows",
        [MEMSESS_RC_NOT_INTEGER] = "not a 64-bit integer",
        [MEMSESS_RC_OVERFLOW] = "the sum does not fit in 64 bits",
        [MEMSESS_RC_CONFLICT] = "another kind of sessions has a cookie of that name here",
        [MEMSESS_RC_MALFORMED] = "no such header, or no value for it"};

    return rc < sizeof(words) / sizeof(*words) ? words[rc] : "an unknown code";
}

/* -- Opening ---------------------------------------------------------------------------------- */

static memsess_rc_t memsess_open(request_rec *r, memsess_t **session)
{
    *session = memsess_req_enabled(r) ? memsess_req(r) : NULL;
    return *session ? MEMSESS_RC_OK : MEMSESS_RC_OFF;
}

static const char *memsess_kind_make(memsess_kind_t **kind, const char *label, int argc,
                                     char *const argv[], apr_pool_t *p)
{
    char **words = apr_palloc(p, sizeof(*words) * (apr_size_t)(argc + 1));
    int i;

    if (strlen(label) > LABEL_MAX || !memsess_attr_name_ok(label, strlen(label))) {
        return apr_psprintf(p, "the label must be 1 to %d of [A-Za-z0-9_.-]", LABEL_MAX);
    }
    for (i = 0; i < argc; i++) {
        words[i] = apr_pstrdup(p, argv[i]);
    }
    *kind = apr_palloc(p, sizeof(**kind));
    (*kind)->label = apr_pstrdup(p, label);
    return memsess_cookie_parse(&(*kind)->cookie, argc, words, p);
}

static void memsess_kind_hide(const memsess_kind_t *kind, server_rec *s)
{
    memsess_conf_add_cookie(s, kind->cookie.name);
}

static memsess_rc_t memsess_open_kind(request_rec *r, const memsess_kind_t *kind,
                                      memsess_t **session)
{
    memsess_dir_conf_t *conf;

    *session = NULL;
    if (r->proxyreq == PROXYREQ_PROXY) {
        return MEMSESS_RC_OFF;
    }
    conf = apr_pmemdup(memsess_own(r, 1)->top->p, memsess_dir_conf(r), sizeof(*conf));
    conf->cookie = &kind->cookie;
    *session = memsess_req_labelled(r, conf, kind->label);
    return *session ? MEMSESS_RC_OK : MEMSESS_RC_CONFLICT;
}

static int memsess_deny(memsess_t *s, request_rec *r)
{
    return s->conf->on_error == MEMSESS_DENY ? memsess_req_deny(r) : OK;
}

/* -- Reading ---------------------------------------------------------------------------------- */

static memsess_state_t memsess_state(memsess_t *s)
{
    memsess_state_t state = memsess_req_state(s, s->conf, s->top);

    memsess_top_depend(s, state);
    return state;
}

/* The session with the pending changes; NULL: there is none, and rc says why. */
static const memsess_session_t *look(memsess_t *s, memsess_rc_t *rc)
{
    memsess_state_t state = memsess_state(s);
    const memsess_session_t *session = s->view;

    if (!session && state == MEMSESS_STATE_ACTIVE && !s->pending.destroy) {
        session = s->session;
    }
    *rc = state == MEMSESS_STATE_UNAVAILABLE ? MEMSESS_RC_UNAVAILABLE
          : session                          ? MEMSESS_RC_OK
                                             : MEMSESS_RC_ABSENT;
    return *rc == MEMSESS_RC_OK ? session : NULL;
}

static memsess_rc_t memsess_id(memsess_t *s, const char **id)
{
    memsess_rc_t rc;
    const memsess_session_t *session = look(s, &rc);

    *id = session && *session->public_id ? session->public_id : NULL;
    return session && !*id ? MEMSESS_RC_ABSENT : rc;
}

static memsess_rc_t memsess_get(memsess_t *s, const char *name, const char **value,
                                apr_size_t *len)
{
    memsess_rc_t rc;
    const memsess_session_t *session = look(s, &rc);
    const memsess_attr_t *attr = session ? memsess_session_find(session, name) : NULL;

    *value = attr ? attr->value : NULL;
    if (len) {
        *len = attr ? attr->len : 0;
    }
    return session && !attr ? MEMSESS_RC_ABSENT : rc;
}

static memsess_rc_t memsess_list(memsess_t *s, memsess_each_t *each, void *baton)
{
    memsess_rc_t rc;
    const memsess_session_t *session = look(s, &rc);
    const apr_array_header_t *attrs;
    int i;

    if (session) {
        attrs = apr_array_copy(s->top->p, session->attrs);
        for (i = 0; i < attrs->nelts; i++) {
            const memsess_attr_t *attr = &APR_ARRAY_IDX(attrs, i, memsess_attr_t);

            if (each(baton, attr->name, attr->value, attr->len)) {
                break;
            }
        }
    }
    return rc;
}

static memsess_rc_t memsess_expiry(memsess_t *s, apr_time_t *when)
{
    memsess_rc_t rc;
    const memsess_session_t *session = look(s, &rc);

    *when = session && session->fixed ? session->used + session->idle : 0;
    if (session && s->pending.expire) {
        *when = s->pending.ends;
    }
    return rc;
}

/* -- Changing --------------------------------------------------------------------------------- */

/* Makes the session ready for changes; the result says whether it can be changed. */
static memsess_rc_t begin_change(memsess_t *s)
{
    if (s->top->responded) {
        return MEMSESS_RC_TOO_LATE;
    }
    if (memsess_req_state(s, s->conf, s->top) == MEMSESS_STATE_UNAVAILABLE) {
        return MEMSESS_RC_UNAVAILABLE;
    }
    if (!s->pending.list) {
        memsess_changes_init(&s->pending, s->top->p);
    }
    return MEMSESS_RC_OK;
}

/* The view that changes are made in: the session as it was found, or an empty one that begins. */
static memsess_session_t *make_view(memsess_t *s)
{
    memsess_rc_t rc;
    const memsess_session_t *found = look(s, &rc);

    if (!s->view) {
        s->view = found ? apr_pmemdup(s->top->p, found, sizeof(*found))
                        : apr_pcalloc(s->top->p, sizeof(*s->view));
        s->view->attrs = found ? apr_array_copy(s->top->p, found->attrs)
                               : apr_array_make(s->top->p, 8, sizeof(memsess_attr_t));
    }
    return s->view;
}

/* Makes a change in the view; a session that gets too large keeps its old value. */
static memsess_rc_t change_view(const memsess_t *s, memsess_session_t *view,
                                const memsess_change_t *wanted)
{
    const memsess_attr_t *old = memsess_session_find(view, wanted->name);
    memsess_change_t undo = {.op = old ? MEMSESS_SET : MEMSESS_UNSET,
                             .name = wanted->name,
                             .value = old ? old->value : NULL,
                             .len = old ? old->len : 0};
    apr_int64_t n;

    if (wanted->op == MEMSESS_INCR && old && !memsess_integer_parse(old->value, &n)) {
        return MEMSESS_RC_NOT_INTEGER;
    }
    if (memsess_change_apply(wanted, view->attrs, s->top->p)) {
        return MEMSESS_RC_OVERFLOW;
    }
    if (memsess_record_size(view) > (apr_size_t)s->conf->max_size) {
        memsess_change_apply(&undo, view->attrs, s->top->p);
        return MEMSESS_RC_TOO_LARGE;
    }
    return MEMSESS_RC_OK;
}

/* Remembers a change for the commit, too. One that cannot be made begins no session. */
static memsess_rc_t change(memsess_t *s, const memsess_change_t *wanted)
{
    memsess_session_t *before = s->view;
    memsess_rc_t rc = change_view(s, make_view(s), wanted);

    if (rc == MEMSESS_RC_OK) {
        APR_ARRAY_PUSH(s->pending.list, memsess_change_t) = *wanted;
    }
    else {
        s->view = before;
    }
    return rc;
}

static memsess_rc_t memsess_set(memsess_t *s, const char *name, const char *value,
                                apr_size_t len)
{
    memsess_change_t set = {.op = MEMSESS_SET, .len = len};
    memsess_rc_t rc;

    if (!memsess_attr_name_ok(name, strlen(name))) {
        return MEMSESS_RC_BAD_NAME;
    }
    if (len > (apr_size_t)s->conf->max_size) {
        return MEMSESS_RC_TOO_LARGE;
    }
    if (memchr(value, '\0', len)) {
        return MEMSESS_RC_BAD_VALUE;
    }
    rc = begin_change(s);
    if (rc == MEMSESS_RC_OK) {
        set.name = apr_pstrdup(s->top->p, name);
        set.value = apr_pstrmemdup(s->top->p, value, len);
        rc = change(s, &set);
    }
    return rc;
}

static memsess_rc_t memsess_unset(memsess_t *s, const char *name)
{
    memsess_change_t unset = {.op = MEMSESS_UNSET};
    const memsess_session_t *session;
    memsess_rc_t rc = begin_change(s);

    if (rc == MEMSESS_RC_OK) {
        session = look(s, &rc);
        if (!session || !memsess_session_find(session, name)) {
            return MEMSESS_RC_ABSENT;
        }
        unset.name = apr_pstrdup(s->top->p, name);
        rc = change(s, &unset);
    }
    return rc;
}

static memsess_rc_t memsess_incr(memsess_t *s, const char *name, apr_int64_t by,
                                 apr_int64_t *now)
{
    memsess_change_t incr = {.op = MEMSESS_INCR, .by = by};
    memsess_rc_t rc;

    if (!memsess_attr_name_ok(name, strlen(name))) {
        return MEMSESS_RC_BAD_NAME;
    }
    rc = begin_change(s);
    if (rc == MEMSESS_RC_OK) {
        incr.name = apr_pstrdup(s->top->p, name);
        rc = change(s, &incr);
    }
    if (rc == MEMSESS_RC_OK && now) {
        memsess_integer_parse(memsess_session_find(s->view, name)->value, now);
    }
    return rc;
}

/* Makes all changes of a list, or none. */
static memsess_rc_t change_all(memsess_t *s, const apr_array_header_t *list)
{
    memsess_session_t *before = s->view;
    apr_array_header_t *attrs = before ? apr_array_copy(s->top->p, before->attrs) : NULL;
    int i, n = s->pending.list->nelts;
    memsess_rc_t rc = MEMSESS_RC_OK;

    for (i = 0; i < list->nelts && rc == MEMSESS_RC_OK; i++) {
        rc = change(s, &APR_ARRAY_IDX(list, i, memsess_change_t));
    }
    if (rc != MEMSESS_RC_OK) {
        s->view = before;
        if (before) {
            before->attrs = attrs;
        }
        s->pending.list->nelts = n;
    }
    return rc;
}

/* Whether these changes make sense here. All but those that begin a session need one, or one that
 * begins; a change of other users' sessions does not. */
static memsess_rc_t is_for_session(memsess_t *s, const memsess_changes_t *said)
{
    memsess_rc_t rc = MEMSESS_RC_OK;

    if (!memsess_changes_begin_session(said) && !said->end_users->nelts) {
        look(s, &rc);
    }
    /* A session that has expired by this section's time-outs may be live in another section. */
    return rc == MEMSESS_RC_ABSENT && said->destroy && memsess_state(s) == MEMSESS_STATE_EXPIRED
               ? MEMSESS_RC_OK : rc;
}

static memsess_rc_t take(memsess_t *s, memsess_changes_t *said)
{
    memsess_rc_t rc = begin_change(s);

    if (rc == MEMSESS_RC_OK) {
        rc = is_for_session(s, said);
    }
    if (rc == MEMSESS_RC_OK && said->list->nelts) {
        rc = change_all(s, said->list);
        said->list->nelts = 0;
    }
    if (rc == MEMSESS_RC_OK) {
        memsess_changes_join(&s->pending, said);
        s->view = said->destroy ? NULL : s->view;
    }
    return rc;
}

static memsess_rc_t memsess_say(memsess_t *s, const char *header, const char *value,
                                const char **error)
{
    memsess_verb_t verb = memsess_header_find(header);
    memsess_changes_t said;
    const char *why = "there is no such header";

    memsess_changes_init(&said, s->top->p);
    if (verb != MEMSESS_HEADERS_N) {
        why = memsess_changes_take(&said, verb, value, s->top->p);
    }
    if (error) {
        *error = why;
    }
    return why ? MEMSESS_RC_MALFORMED : take(s, &said);
}

static memsess_rc_t memsess_renew(memsess_t *s)
{
    return memsess_say(s, "MemSess-Renew", "1", NULL);
}

static memsess_rc_t memsess_destroy(memsess_t *s)
{
    return memsess_say(s, "MemSess-Destroy", "1", NULL);
}

static memsess_rc_t memsess_destroy_all(memsess_t *s)
{
    return memsess_say(s, "MemSess-Destroy", "all", NULL);
}

static memsess_rc_t memsess_destroy_others(memsess_t *s)
{
    return memsess_say(s, "MemSess-Destroy", "others", NULL);
}

/* At a time, where the header has seconds without use. */
static memsess_rc_t memsess_expire(memsess_t *s, apr_time_t when)
{
    memsess_changes_t said;

    memsess_changes_init(&said, s->top->p);
    said.expire = 1;
    said.ends = when;
    return take(s, &said);
}

/* -- Registration ------------------------------------------------------------------------------ */

void memsess_api_register(void)
{
    APR_REGISTER_OPTIONAL_FN(memsess_api_version);
    APR_REGISTER_OPTIONAL_FN(memsess_explain);
    APR_REGISTER_OPTIONAL_FN(memsess_open);
    APR_REGISTER_OPTIONAL_FN(memsess_deny);
    APR_REGISTER_OPTIONAL_FN(memsess_state);
    APR_REGISTER_OPTIONAL_FN(memsess_id);
    APR_REGISTER_OPTIONAL_FN(memsess_get);
    APR_REGISTER_OPTIONAL_FN(memsess_list);
    APR_REGISTER_OPTIONAL_FN(memsess_expiry);
    APR_REGISTER_OPTIONAL_FN(memsess_say);
    APR_REGISTER_OPTIONAL_FN(memsess_set);
    APR_REGISTER_OPTIONAL_FN(memsess_unset);
    APR_REGISTER_OPTIONAL_FN(memsess_incr);
    APR_REGISTER_OPTIONAL_FN(memsess_renew);
    APR_REGISTER_OPTIONAL_FN(memsess_destroy);
    APR_REGISTER_OPTIONAL_FN(memsess_destroy_all);
    APR_REGISTER_OPTIONAL_FN(memsess_destroy_others);
    APR_REGISTER_OPTIONAL_FN(memsess_expire);
    APR_REGISTER_OPTIONAL_FN(memsess_kind_make);
    APR_REGISTER_OPTIONAL_FN(memsess_kind_hide);
    APR_REGISTER_OPTIONAL_FN(memsess_open_kind);
}
