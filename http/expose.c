/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "http/expose.h"

#include <string.h>

#include "apr_hash.h"
#include "apr_lib.h"
#include "apr_strings.h"
#include "http/auth.h"
#include "http/json.h"
#include "http/status.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "store/epoch.h"

APLOG_USE_MODULE(memsess);

#define PREFIX "memsess"
#define PREFIX_LEN (sizeof(PREFIX) - 1)
#define ENV_PREFIX "MEMSESS_"

/* The longest string that Linux takes into a program's environment. */
#define ENV_STRING_MAX (128 * 1024 - 1)

/* The longest part when the data is split: mod_proxy_fcgi leaves longer variables out. */
#define PART_MAX 16000

/* mod_proxy_fcgi leaves out a variable that does not fit its records, name and lengths included. */
#define FASTCGI_PAIR_MAX (16 * 1024 - 5)

/* -- What clients send ------------------------------------------------------------------------ */

int memsess_reserved_name(const char *name)
{
    return (*name | 0x20) == PREFIX[0] && !strncasecmp(name, PREFIX, PREFIX_LEN)
           && name[PREFIX_LEN] && !apr_isalnum(name[PREFIX_LEN]);
}

/* This takes one pass: apr_table_unset for each name would take time that grows with the square of
 * their number, and a session may have tens of thousands of attributes. */
void memsess_drop_entries(apr_table_t *table, memsess_drop_fn *drop, apr_pool_t *p)
{
    const apr_array_header_t *all = apr_table_elts(table);
    const apr_table_entry_t *entries = (const apr_table_entry_t *)all->elts;
    int i;

    for (i = 0; i < all->nelts && !drop(entries[i].key, entries[i].val); i++) {
    }
    if (i == all->nelts) {
        return;
    }
    all = apr_array_copy(p, all);
    apr_table_clear(table);
    for (i = 0; i < all->nelts; i++) {
        const apr_table_entry_t *entry = &APR_ARRAY_IDX(all, i, apr_table_entry_t);

        if (!drop(entry->key, entry->val)) {
            apr_table_addn(table, entry->key, entry->val);
        }
    }
}

static int is_reserved(const char *name, const char *value)
{
    (void)value;
    return memsess_reserved_name(name);
}

void memsess_drop_reserved(apr_table_t *headers, apr_pool_t *p)
{
    memsess_drop_entries(headers, is_reserved, p);
}

void memsess_set_or_unset(apr_table_t *headers, const char *name, const char *value)
{
    if (value) {
        apr_table_setn(headers, name, value);
    }
    else {
        apr_table_unset(headers, name);
    }
}

/* The names in a Connection header, without ours. They are separated as a proxy separates them, so
 * by spaces and semicolons, too. */
static const char *filter_connection(const char *connection, apr_pool_t *p)
{
    apr_array_header_t *kept = apr_array_make(p, 4, sizeof(const char *));

    while (*connection) {
        const char *name;

        connection += strspn(connection, ",;");
        name = ap_get_token(p, &connection, 0);
        if (*name && !memsess_reserved_name(name)) {
            APR_ARRAY_PUSH(kept, const char *) = name;
        }
    }
    return kept->nelts ? apr_array_pstrcat(p, kept, ',') : NULL;
}

void memsess_clean_request(request_rec *r)
{
    const char *connection = apr_table_get(r->headers_in, "Connection");
    const char *admin = apr_table_get(r->headers_in, "MemSess-Admin");

    /* A client may send this one reserved header; see http/admin.c. */
    if (admin && !strcmp(admin, "1")) {
        memsess_own(r, 1)->top->is_admin = 1;
    }
    memsess_drop_reserved(r->headers_in, r->pool);
    if (r->trailers_in) {
        memsess_drop_reserved(r->trailers_in, r->pool);
    }
    /* A proxy removes the headers that Connection names; a client must not have ours removed. */
    if (connection && ap_strcasestr(connection, PREFIX)) {
        memsess_set_or_unset(r->headers_in, "Connection", filter_connection(connection, r->pool));
    }
}

/* -- The session's data ----------------------------------------------------------------------- */

/* The encoded form of a byte if that is one byte, else 0. httpd and APR have encoders, too, but
 * encoding byte by byte took a third of a request's time. */
static const char form_byte[256] = {
    [' '] = '+', ['*'] = '*', ['-'] = '-', ['.'] = '.', ['_'] = '_',
    ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5', ['6'] = '6',
    ['7'] = '7', ['8'] = '8', ['9'] = '9', ['A'] = 'A', ['B'] = 'B', ['C'] = 'C', ['D'] = 'D',
    ['E'] = 'E', ['F'] = 'F', ['G'] = 'G', ['H'] = 'H', ['I'] = 'I', ['J'] = 'J', ['K'] = 'K',
    ['L'] = 'L', ['M'] = 'M', ['N'] = 'N', ['O'] = 'O', ['P'] = 'P', ['Q'] = 'Q', ['R'] = 'R',
    ['S'] = 'S', ['T'] = 'T', ['U'] = 'U', ['V'] = 'V', ['W'] = 'W', ['X'] = 'X', ['Y'] = 'Y',
    ['Z'] = 'Z', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd', ['e'] = 'e', ['f'] = 'f',
    ['g'] = 'g', ['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k', ['l'] = 'l', ['m'] = 'm',
    ['n'] = 'n', ['o'] = 'o', ['p'] = 'p', ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't',
    ['u'] = 'u', ['v'] = 'v', ['w'] = 'w', ['x'] = 'x', ['y'] = 'y', ['z'] = 'z',
};

typedef unsigned char bytes_t __attribute__((vector_size(16)));

static inline int are_all(bytes_t set)
{
    apr_uint64_t half[2];

    memcpy(half, &set, sizeof(half));
    return (half[0] & half[1]) == APR_UINT64_MAX;
}

/* Encodes sixteen bytes, if each of them stays one byte. Letters and spaces are tried first, since
 * most blocks have nothing else. */
static inline int form_block(char *to, const char *value)
{
    bytes_t c, space, kept;

    memcpy(&c, value, sizeof(c));
    space = (bytes_t)(c == ' ');
    kept = (bytes_t)((c | 0x20) - 'a' < 26) | space;
    if (!are_all(kept)) {
        kept |= (bytes_t)(c - '0' < 10) | (bytes_t)(c == '*') | (bytes_t)(c - '-' < 2)
                | (bytes_t)(c == '_');
        if (!are_all(kept)) {
            return 0;
        }
    }
    c += space & ('+' - ' ');
    memcpy(to, &c, sizeof(c));
    return 1;
}

/* Encodes as much as goes sixteen bytes at a time, which is most of most values. The last block may
 * overlap the one before. */
static apr_size_t form_bytes(char *to, const char *value, apr_size_t len)
{
    apr_size_t done, last = len - sizeof(bytes_t);

    if (len < sizeof(bytes_t)) {
        return 0;
    }
    for (done = 0; done <= last; done += sizeof(bytes_t)) {
        if (!form_block(to + done, value + done)) {
            return done;
        }
    }
    return done == len || form_block(to + last, value + last) ? len : done;
}

/* Appends a value in form encoding; returns the end, and sets control if a control character was
 * met. */
static char *form_append(char *to, const memsess_attr_t *attr, int *control)
{
    static const char hex[] = "0123456789ABCDEF";
    const unsigned char *c = (const unsigned char *)attr->value, *end = c + attr->len;

    while (c < end) {
        apr_size_t done = form_bytes(to, (const char *)c, (apr_size_t)(end - c));
        const unsigned char *stop;

        c += done;
        to += done;
        stop = end - c > (int)sizeof(bytes_t) ? c + sizeof(bytes_t) : end;
        for (; c < stop; c++) {
            if ((*to = form_byte[*c])) {
                to++;
                continue;
            }
            *control |= apr_iscntrl(*c);
            *to++ = '%';
            *to++ = hex[*c >> 4];
            *to++ = hex[*c & 15];
        }
    }
    return to;
}

/* The variable of one attribute. */
typedef struct variable_t {
    const char *name, *value;
    int is_odd; /* its name differs from the attribute's, or the attribute's has capitals */
} variable_t;

#define ATTR_PREFIX ENV_PREFIX "ATTR_"

/* Adds one to variables, which has room for it, with its name at that place; returns the place
 * behind the name. */
static char *add_variable(apr_array_header_t *variables, const memsess_attr_t *attr,
                          apr_size_t name_len, char *name)
{
    char *c = name + sizeof(ATTR_PREFIX) - 1;
    int is_odd = 0;

    memcpy(name, ATTR_PREFIX, sizeof(ATTR_PREFIX) - 1);
    memcpy(c, attr->name, name_len + 1);
    for (; *c; c++) {
        is_odd |= *c == '.' || *c == '-' || (*c >= 'A' && *c <= 'Z');
        if (*c == '.' || *c == '-') {
            *c = '_';
        }
    }
    APR_ARRAY_IDX(variables, variables->nelts++, variable_t) =
        (variable_t){.name = name, .value = attr->value, .is_odd = is_odd};
    return c + 1;
}

/* How often each name occurs, ignoring case as a table does. */
static apr_hash_t *count_names(const apr_array_header_t *variables, apr_pool_t *p)
{
    apr_hash_t *counts = apr_hash_make(p);
    int i;

    for (i = 0; i < variables->nelts; i++) {
        char *alike = apr_pstrdup(p, APR_ARRAY_IDX(variables, i, variable_t).name);
        int *count;

        ap_str_tolower(alike);
        count = apr_hash_get(counts, alike, APR_HASH_KEY_STRING);
        if (!count) {
            count = apr_pcalloc(p, sizeof(*count));
            apr_hash_set(counts, alike, APR_HASH_KEY_STRING, count);
        }
        ++*count;
    }
    return counts;
}

/* If several attributes would have the same variable, none of them is set: a writer who may write
 * one attribute must not hide another. */
static void set_attr_variables(apr_table_t *env, const apr_array_header_t *variables, apr_pool_t *p)
{
    apr_hash_t *counts = NULL;
    int i;

    for (i = 0; i < variables->nelts && !counts; i++) {
        if (APR_ARRAY_IDX(variables, i, variable_t).is_odd) {
            counts = count_names(variables, p);
        }
    }
    for (i = 0; i < variables->nelts; i++) {
        const variable_t *variable = &APR_ARRAY_IDX(variables, i, variable_t);
        char *alike = counts ? apr_pstrdup(p, variable->name) : NULL;

        if (alike) {
            ap_str_tolower(alike);
        }
        if (!alike || *(int *)apr_hash_get(counts, alike, APR_HASH_KEY_STRING) == 1) {
            apr_table_addn(env, variable->name, variable->value);
        }
    }
}

/* All exposed attributes in form encoding, in name order. Attributes that can be variables of their
 * own are added to variables, which has room for all, unless it is NULL. */
static const char *form_data(const memsess_session_t *session, const apr_array_header_t *keys,
                             apr_array_header_t *variables, apr_size_t *len, apr_pool_t *p)
{
    const memsess_attr_t *first = (const memsess_attr_t *)session->attrs->elts;
    const memsess_attr_t *end = first + session->attrs->nelts, *attr;
    char small[4096], *large = NULL, *data, *to, *names = NULL;
    apr_size_t size = 1, names_size = 0;

    for (attr = first; attr < end; attr++) {
        apr_size_t name_len = strlen(attr->name);

        size += name_len + 3 * attr->len + 2;
        names_size += sizeof(ATTR_PREFIX) + name_len;
    }
    if (variables) {
        names = apr_palloc(p, names_size);
    }
    /* The worst case is mostly three times too large, so small data is encoded on the stack
     * first. */
    if (size > sizeof(small)) {
        large = apr_palloc(p, size);
    }
    to = data = large ? large : small;
    for (attr = first; attr < end; attr++) {
        apr_size_t name_len = strlen(attr->name);
        int control = 0;

        if (!memsess_keys_match(keys, attr->name)) {
            continue;
        }
        if (to > data) {
            *to++ = '&';
        }
        memcpy(to, attr->name, name_len);
        to += name_len;
        *to++ = '=';
        to = form_append(to, attr, &control);
        if (variables && !control) {
            names = add_variable(variables, attr, name_len, names);
        }
    }
    *to = '\0';
    *len = (apr_size_t)(to - data);
    return large ? large : apr_pmemdup(p, small, *len + 1);
}

static int is_variable(const char *name, const char *value)
{
    (void)value;
    return !strncmp(name, ENV_PREFIX, sizeof(ENV_PREFIX) - 1);
}

static void drop_variables(request_rec *r)
{
    memsess_drop_entries(r->subprocess_env, is_variable, r->pool);
}

static void set_parts(apr_table_t *env, const char *data, apr_size_t len, apr_pool_t *p)
{
    apr_size_t n, parts = (len + PART_MAX - 1) / PART_MAX;

    apr_table_addn(env, ENV_PREFIX "DATA_PARTS", apr_psprintf(p, "%" APR_SIZE_T_FMT, parts));
    for (n = 0; n < parts; n++) {
        apr_table_addn(env, apr_psprintf(p, ENV_PREFIX "DATA_%" APR_SIZE_T_FMT, n + 1),
                       apr_pstrndup(p, data + n * PART_MAX, PART_MAX));
    }
}

/* The list of the user's sessions as JSON; NULL: there is none. */
static const char *user_sessions(request_rec *r, memsess_req_t *req)
{
    const memsess_session_t *record = memsess_req_user_record(req);
    const memsess_store_t *store = memsess_srv_conf(req->top->server)->store;

    return record ? memsess_json_sessions(memsess_epoch_list(store, record, r->pool),
                                          req->session->public_id, r->pool) : NULL;
}

static void set_variables(request_rec *r, memsess_req_t *req, memsess_state_t state,
                          const memsess_dir_conf_t *conf)
{
    apr_array_header_t *variables;
    apr_table_t *env = r->subprocess_env;
    const char *data;
    apr_size_t len;

    /* From here on the table has none of our variables, so they are added without a look for older
     * ones. */
    drop_variables(r);
    apr_table_addn(env, ENV_PREFIX "STATE", memsess_state_names[state]);
    if (state != MEMSESS_STATE_ACTIVE) {
        return;
    }
    apr_table_addn(env, ENV_PREFIX "ID", req->session->public_id);
    if (req->session->login.user[0] && req->session->login.at) {
        apr_table_addn(env, ENV_PREFIX "LOGIN_AGE",
                       apr_psprintf(r->pool, "%" APR_TIME_T_FMT, memsess_req_login_age(req)));
    }
    if (conf->expose & MEMSESS_EXPOSE_USER_SESSIONS) {
        const char *sessions = user_sessions(r, req);

        if (sessions) {
            apr_table_addn(env, ENV_PREFIX "USER_SESSIONS", sessions);
        }
    }
    variables = apr_array_make(r->pool, req->session->attrs->nelts, sizeof(variable_t));
    data = form_data(req->session, conf->expose_keys, variables, &len, r->pool);
    /* A look for this one would go past all that come before it. */
    apr_table_addn(env, ENV_PREFIX "DATA", data);
    set_attr_variables(env, variables, r->pool);
    if (len > PART_MAX) {
        set_parts(env, data, len, r->pool);
    }
    memsess_own(r, 1)->is_long = len > ENV_STRING_MAX - sizeof(ENV_PREFIX "DATA");
}

/* The status needs no session, even if AuthType MemSess protects it. */
static int shows_sessions(request_rec *r)
{
    return memsess_req_enabled(r) && !memsess_status_is_here(r);
}

static int exposes(request_rec *r)
{
    int what = shows_sessions(r) ? memsess_dir_conf(r)->expose : 0;

    return what == MEMSESS_EXPOSE_USER_SESSIONS ? what | MEMSESS_EXPOSE_ENV : what;
}

static void hide(request_rec *r, memsess_own_t *own)
{
    if (own->shown_by) {
        drop_variables(r);
        own->shown_by = NULL;
    }
}

int memsess_expose_env(request_rec *r, int final)
{
    const memsess_dir_conf_t *conf = memsess_dir_conf(r);
    int what = exposes(r), in_env = what & MEMSESS_EXPOSE_ENV;
    memsess_own_t *own = memsess_own(r, what);
    memsess_state_t state;
    memsess_req_t *req;
    int early;

    if (own && final) {
        own->settled = conf;
    }
    if (!what || !own) { /* own is there if anything is shown */
        if (own) {
            hide(r, own);
        }
        return OK;
    }
    req = memsess_req(r);
    /* A variable may decide the answer at once, by mod_rewrite for example. */
    state = final || in_env ? memsess_req_depend(req, r) : memsess_req_state(req, conf, own->top);
    early = memsess_req_is_early(req, conf, state);
    if (!in_env || early || own->shown != req || own->shown_state != state
        || (own->shown_by && (own->shown_by->expose_keys != conf->expose_keys
                              || own->shown_by->expose != conf->expose))) {
        hide(r, own);
    }
    if (in_env && !own->shown_by && !early) {
        set_variables(r, req, state, conf);
        own->shown_by = conf;
        own->shown = req;
        own->shown_state = state;
    }
    own->told = state;
    return final ? memsess_req_refuse(r, state) : OK;
}

int memsess_expose_again(request_rec *r)
{
    const memsess_own_t *own = memsess_own(r, 0);

    if (!own || own->settled == memsess_dir_conf(r)) {
        return 0;
    }
    drop_variables(r);
    memsess_own(r, 1)->shown_by = NULL;
    return 1;
}

/* -- From one section to another --------------------------------------------------------------- */

/* The name without the prefixes that httpd adds for a request that goes on. */
static const char *behind_redirects(const char *name)
{
    static const char redirect[] = "REDIRECT_";

    while (!strncmp(name, redirect, sizeof(redirect) - 1)) {
        name += sizeof(redirect) - 1;
    }
    return name;
}

/* Whether a variable tells something about a session: it is ours, or httpd made it of our headers
 * or of the cookie, for CGI. */
static int is_of_session(const char *name, const char *value)
{
    name = behind_redirects(name);
    return is_variable(name, value) || !strcmp(name, "HTTP_COOKIE")
           || (!strncmp(name, "HTTP_", 5) && is_variable(name + 5, value));
}

static int is_of_user(const char *name, const char *value)
{
    (void)value;
    name = behind_redirects(name);
    return !strcmp(name, "REMOTE_USER") || !strcmp(name, "AUTH_TYPE");
}

void memsess_expose_begin(request_rec *r)
{
    const memsess_own_t *own = memsess_own(r, 0);

    if (own || memsess_srv_conf(r->server)->cookies->nelts) {
        memsess_drop_entries(r->subprocess_env, is_of_session, r->pool);
    }
    if (memsess_auth_told(r->prev ? r->prev : r->main)) {
        memsess_drop_entries(r->subprocess_env, is_of_user, r->pool);
    }
    if (own) {
        memsess_clean_request(r);
        memsess_give_cookies(r);
    }
}

/* Whether both requests are shown the same. */
static int see_alike(request_rec *a, request_rec *b)
{
    const memsess_dir_conf_t *one = memsess_dir_conf(a), *other = memsess_dir_conf(b);
    const memsess_own_t *own = memsess_own(a, 0), *others = memsess_own(b, 0);
    const char *user = memsess_auth_told(a), *others_user = memsess_auth_told(b);

    return exposes(a) == exposes(b) && one->cookie_forward == other->cookie_forward
           && !strcmp(user ? user : "", others_user ? others_user : "")
           && (!exposes(a) || (own && others && own->shown == others->shown
                               && own->shown_state == others->shown_state
                               && one->expose_keys == other->expose_keys));
}

/* mod_include gives an included page the environment of the page that includes it. */
static void part_environments(request_rec *r)
{
    module *include = ap_find_linked_module("mod_include.c");

    if (include && ap_get_module_config(r->request_config, include) && !see_alike(r, r->main)) {
        ap_set_module_config(r->request_config, include, NULL);
    }
}

/* -- What handlers see ------------------------------------------------------------------------ */

const char *memsess_strip_cookies(request_rec *r, const char *cookies)
{
    const apr_array_header_t *names = memsess_srv_conf(r->server)->cookies;
    const memsess_own_t *own = memsess_own(r, 0);
    const memsess_req_t *req;
    int i;

    for (i = 0; i < names->nelts; i++) {
        cookies = memsess_cookie_strip(cookies, APR_ARRAY_IDX(names, i, const char *), r->pool);
    }
    for (req = own ? own->top->sessions : NULL; req; req = req->next) {
        cookies = memsess_cookie_strip(cookies, req->conf->cookie->name, r->pool);
    }
    return cookies;
}

void memsess_take_cookies(request_rec *r)
{
    const char *before = apr_table_get(r->headers_in, "Cookie"), *after;
    memsess_top_t *top;

    if (!before || r->proxyreq == PROXYREQ_PROXY
        || (memsess_dir_conf(r)->cookie_forward && r->method_number != M_TRACE)) {
        return;
    }
    after = memsess_strip_cookies(r, before);
    if (after == before) {
        return;
    }
    top = memsess_own(r, 1)->top;
    if (!top->cookie_sent) {
        top->cookie_sent = apr_pstrdup(top->p, before);
    }
    top->cookie_left = after ? apr_pstrdup(top->p, after) : NULL;
    memsess_set_or_unset(r->headers_in, "Cookie", top->cookie_left);
    /* A module that came earlier may have made this variable; httpd makes it again. */
    apr_table_unset(r->subprocess_env, "HTTP_COOKIE");
}

void memsess_give_cookies(request_rec *r)
{
    const memsess_own_t *own = memsess_own(r, 0);
    const char *now = apr_table_get(r->headers_in, "Cookie");
    const memsess_top_t *top = own ? own->top : NULL;

    if (top && top->cookie_sent
        && (now && top->cookie_left ? !strcmp(now, top->cookie_left) : now == top->cookie_left)) {
        apr_table_setn(r->headers_in, "Cookie", top->cookie_sent);
    }
}

static int is_too_long(const char *name, const char *value)
{
    return strlen(name) + 1 + strlen(value) > ENV_STRING_MAX;
}

static int is_too_long_of_ours(const char *name, const char *value)
{
    return is_variable(name, value) && is_too_long(name, value);
}

static int is_cgi(const request_rec *r)
{
    return r->handler && (!strcmp(r->handler, "cgi-script")
                          || !strcmp(r->handler, "application/x-httpd-cgi"));
}

static int is_fastcgi(const request_rec *r)
{
    static const char scheme[] = "proxy:fcgi:";

    return (r->handler && !strncmp(r->handler, scheme, sizeof(scheme) - 1))
           || (r->filename && !strncmp(r->filename, scheme, sizeof(scheme) - 1));
}

static int is_too_long_for_fastcgi(const char *name, const char *value)
{
    return strlen(name) + strlen(value) > FASTCGI_PAIR_MAX;
}

static int is_too_long_for_fastcgi_of_ours(const char *name, const char *value)
{
    return is_variable(name, value) && is_too_long_for_fastcgi(name, value);
}

/* An application that reads only this variable would take the session for an empty one. */
static void warn_of_fastcgi(request_rec *r, const char *id, const char *name, const char *data)
{
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, "MemSess: session %s: %s is left out, since its "
                  "%" APR_SIZE_T_FMT " bytes are more than FastCGI takes in one variable: read "
                  "MEMSESS_DATA_1 and so on, as many as MEMSESS_DATA_PARTS says (MemSessExpose "
                  "env), or expose less with MemSessExposeKeys", id, name, strlen(data));
}

static void drop_too_long_for_fastcgi(request_rec *r)
{
    const char *id = apr_table_get(r->subprocess_env, ENV_PREFIX "ID");
    const char *data = apr_table_get(r->subprocess_env, ENV_PREFIX "DATA");

    if (id && data && is_too_long_for_fastcgi(ENV_PREFIX "DATA", data)) {
        warn_of_fastcgi(r, id, ENV_PREFIX "DATA", data);
    }
    data = apr_table_get(r->subprocess_env, ENV_PREFIX "USER_SESSIONS");
    if (id && data && is_too_long_for_fastcgi(ENV_PREFIX "USER_SESSIONS", data)) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r, "MemSess: session %s: MEMSESS_USER_SESSIONS is "
                      "left out, since its %" APR_SIZE_T_FMT " bytes are more than FastCGI takes in one "
                      "variable: keep a shorter list (MemSessUserSessions)", id, strlen(data));
    }
    memsess_drop_entries(r->subprocess_env, is_too_long_for_fastcgi_of_ours, r->pool);
}

static void set_headers(request_rec *r, memsess_top_t *top)
{
    const memsess_dir_conf_t *conf = memsess_dir_conf(r);
    memsess_req_t *req = memsess_req(r);
    memsess_state_t state = memsess_req_state(req, conf, top);
    apr_size_t len;
    const char *data;

    memsess_own(r, 1)->told = state;
    top->headers_set = 1;
    apr_table_setn(r->headers_in, "MemSess-State", memsess_state_names[state]);
    if (state == MEMSESS_STATE_ACTIVE) {
        apr_table_setn(r->headers_in, "MemSess-Id", req->session->public_id);
        memsess_set_or_unset(r->headers_in, "MemSess-User-Sessions",
                             conf->expose & MEMSESS_EXPOSE_USER_SESSIONS ? user_sessions(r, req)
                                                                         : NULL);
        data = form_data(req->session, conf->expose_keys, NULL, &len, r->pool);
        if (is_fastcgi(r) && is_too_long_for_fastcgi("HTTP_MEMSESS_DATA", data)) {
            if (!memsess_own(r, 1)->shown_by) {
                warn_of_fastcgi(r, req->session->public_id, "MemSess-Data", data);
            }
        }
        else if (!is_cgi(r) || !is_too_long("HTTP_MEMSESS_DATA", data)) {
            apr_table_setn(r->headers_in, "MemSess-Data", data);
        }
    }
}

/* With such a variable, Linux would not run the program at all. */
static void drop_too_long(request_rec *r)
{
    memsess_drop_entries(r->subprocess_env, is_too_long_of_ours, r->pool);
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "MemSess: MEMSESS_DATA is left out, since it is "
                  "too long for a variable of a CGI program: read MEMSESS_DATA_1 and so on, or "
                  "expose less with MemSessExposeKeys");
}

void memsess_expose_headers(request_rec *r)
{
    int what = exposes(r);
    memsess_own_t *own = memsess_own(r, what);

    if (own && own->top->headers_set) {
        memsess_drop_reserved(r->headers_in, r->pool);
    }
    /* A server sends all that a TRACE request has back to the client. */
    if (own && (what & MEMSESS_EXPOSE_HEADERS) && r->method_number != M_TRACE) {
        set_headers(r, own->top);
    }
    if (own && own->is_long && own->shown_by && is_cgi(r)) {
        drop_too_long(r);
    }
    if (own && own->shown_by && is_fastcgi(r)) {
        drop_too_long_for_fastcgi(r);
    }
    if (r->main && !r->prev) {
        part_environments(r);
    }
    memsess_take_cookies(r);
}
