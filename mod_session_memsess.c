/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Keeps mod_session's sessions in the pool of mod_memsess, by the functions of mod_memsess.h alone.
 * They are a kind of their own, so no MemSess-* header, variable or cookie ever shows one. Each has
 * one attribute: the entries, as mod_session and its encoders (mod_session_crypto) encode them.
 */

#include <string.h>

#include "httpd.h"
#include "apr_strings.h"
#include "http_config.h"
#include "http_log.h"
#include "http_request.h"
#include "mod_memsess.h"
#include "mod_session.h"

/* mod_session's hooks are no optional functions. They are weak here, so that this module can be
 * loaded without mod_session, and can say what is missing. */
#pragma weak ap_hook_session_load
#pragma weak ap_hook_session_save
#pragma weak ap_run_session_decode

extern module AP_MODULE_DECLARE_DATA session_memsess_module;
APLOG_USE_MODULE(session_memsess);

#define LABEL "mod_session"
#define DATA "data"
#define EXPIRY "expiry" /* mod_session's own entry */

#define FUNCTIONS(F)                                                                               \
    F(state) F(get) F(expiry) F(set) F(renew) F(destroy) F(expire) F(explain) F(deny) F(kind_make) \
    F(kind_hide) F(open_kind)
#define DECLARE(name) static APR_OPTIONAL_FN_TYPE(memsess_##name) *store_##name;
FUNCTIONS(DECLARE)

static APR_OPTIONAL_FN_TYPE(ap_session_load) *load_session;

typedef struct dir_conf_t {
    const memsess_kind_t *kind; /* NULL: not ours */
} dir_conf_t;

/* One of mod_session's sessions in one client request. */
typedef struct entry_t {
    struct entry_t *next;
    const memsess_kind_t *kind; /* the kind that opened it first */
    memsess_t *session;         /* NULL: it could not be opened */
    session_rec *z;             /* the same one for all callers */
    const char *user;           /* the user when the request came */
    int found;                  /* there is a stored session */
    int undecodable;            /* but it could not be decoded */
    int denied;                 /* the store cannot tell, and MemSessOnError is deny */
} entry_t;

static const memsess_kind_t *kind_of(const request_rec *r)
{
    const dir_conf_t *conf = ap_get_module_config(r->per_dir_config, &session_memsess_module);

    return conf->kind;
}

/* -- The sessions of a request ----------------------------------------------------------------- */

/* Subrequests and internal redirects share the session of the client's request. */
static request_rec *client_request(request_rec *r)
{
    while (r->main || r->prev) {
        r = r->main ? r->main : r->prev;
    }
    return r;
}

static entry_t *find_entry(request_rec *r, const memsess_kind_t *kind, const memsess_t *session)
{
    entry_t *entry = ap_get_module_config(client_request(r)->request_config,
                                          &session_memsess_module);

    while (entry && (session ? entry->session != session : entry->kind != kind)) {
        entry = entry->next;
    }
    return entry;
}

static entry_t *add_entry(request_rec *r, const memsess_kind_t *kind, memsess_t *session)
{
    request_rec *client = client_request(r);
    entry_t *entry = apr_pcalloc(client->pool, sizeof(*entry));

    entry->next = ap_get_module_config(client->request_config, &session_memsess_module);
    entry->kind = kind;
    entry->session = session;
    entry->z = apr_pcalloc(client->pool, sizeof(*entry->z));
    entry->z->pool = client->pool;
    entry->z->entries = apr_table_make(client->pool, 10);
    ap_set_module_config(client->request_config, &session_memsess_module, entry);
    return entry;
}

/* -- Loading ----------------------------------------------------------------------------------- */

static int append_user(void *users, const char *key, const char *value)
{
    static const char suffix[] = "-" MOD_SESSION_USER;
    apr_size_t len = strlen(key);

    if (!strcmp(key, MOD_SESSION_USER)
        || (len >= sizeof(suffix) && !strcmp(key + len + 1 - sizeof(suffix), suffix))) {
        APR_ARRAY_PUSH((apr_array_header_t *)users, const char *) = key;
        APR_ARRAY_PUSH((apr_array_header_t *)users, const char *) = value;
    }
    return 1;
}

/* The user, from the entries that mod_session documents and mod_auth_form writes. */
static const char *user_of(const session_rec *z)
{
    apr_array_header_t *users = apr_array_make(z->pool, 2, sizeof(const char *));

    apr_table_do(append_user, users, z->entries, NULL);
    return apr_array_pstrcat(z->pool, users, '\n');
}

/* The session is decoded here and not by mod_session: at each call, that would make an empty
 * session of one that cannot be decoded, and so would lose what is set in it. */
static void decode(entry_t *entry, const char *data, request_rec *r)
{
    session_rec *z = entry->z;

    z->encoded = data;
    if (ap_run_session_decode(r, z) != OK) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "MemSess: a stored session of mod_session "
                      "cannot be decoded, and counts as empty: is SessionCryptoPassphrase the one "
                      "that it was encrypted with?");
        apr_table_clear(z->entries);
        entry->undecodable = 1;
    }
    z->encoded = NULL;
}

static void load_entry(entry_t *entry, request_rec *r)
{
    memsess_state_t state = store_state(entry->session);
    const char *data;

    if (state == MEMSESS_STATE_UNAVAILABLE) {
        entry->denied = store_deny(entry->session, r) != OK;
    }
    entry->found = state == MEMSESS_STATE_ACTIVE;
    if (store_get(entry->session, DATA, &data, NULL) == MEMSESS_RC_OK) {
        decode(entry, apr_pstrdup(entry->z->pool, data), r);
    }
    /* The store's expiry counts, not the encoded one, since the store's can be extended alone. */
    store_expiry(entry->session, &entry->z->expiry);
    entry->user = user_of(entry->z);
}

static entry_t *open_entry(request_rec *r, const memsess_kind_t *kind)
{
    memsess_t *session;
    memsess_rc_t rc = store_open_kind(r, kind, &session);
    entry_t *entry = find_entry(r, kind, session);

    if (!entry) {
        entry = add_entry(r, kind, session);
        if (session) {
            load_entry(entry, r);
        }
        else {
            ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "MemSess: no session of mod_session here: "
                          "%s", rc == MEMSESS_RC_OFF ? "a forward proxy has none"
                          : "MemSessCookie has the name that SessionMemSessCookie gives: each "
                            "needs one of its own");
        }
    }
    return entry;
}

/* Returns OK and the entry of this section; DECLINED if it has none of ours; or why the entry
 * cannot be loaded: mod_session logs APR's words for that, beside our message. */
static apr_status_t usable_entry(request_rec *r, entry_t **entry)
{
    const memsess_kind_t *kind = kind_of(r);

    if (!kind) {
        return DECLINED;
    }
    *entry = open_entry(r, kind);
    if (!(*entry)->session) {
        return APR_EINVAL;
    }
    return (*entry)->denied ? APR_EAGAIN : OK;
}

static apr_status_t session_load(request_rec *r, session_rec **z)
{
    entry_t *entry;
    apr_status_t rv = usable_entry(r, &entry);

    if (rv != OK) {
        return rv;
    }
    /* A request that came in time keeps its session; mod_session would end it in the middle of the
     * request, and then lose what is set. */
    if (entry->z->expiry && entry->z->expiry < apr_time_now()) {
        entry->z->expiry = 0;
    }
    *z = entry->z;
    return OK;
}

/* -- Saving ------------------------------------------------------------------------------------ */

static int is_data(void *found, const char *key, const char *value)
{
    (void)value;
    *(int *)found |= strcmp(key, EXPIRY) != 0;
    return !*(int *)found;
}

static int has_data(const session_rec *z)
{
    int found = 0;

    apr_table_do(is_data, &found, z->entries, NULL);
    return found && z->encoded && *z->encoded;
}

static memsess_rc_t save_data(entry_t *entry, const session_rec *z)
{
    memsess_rc_t rc = MEMSESS_RC_OK;

    /* A session that we cannot read may belong to another user: it ends, and a new one begins. */
    if (entry->undecodable) {
        rc = store_destroy(entry->session);
    }
    if (rc == MEMSESS_RC_OK) {
        rc = store_set(entry->session, DATA, z->encoded, strlen(z->encoded));
    }
    /* An attacker who knows the id of a guest must not know that of the user who logs in. This
     * holds for a new session, too: it is a log-in, even if the id that came was renewed meanwhile.
     * */
    if (rc == MEMSESS_RC_OK && strcmp(user_of(z), entry->user)) {
        rc = store_renew(entry->session);
    }
    return rc == MEMSESS_RC_OK ? store_expire(entry->session, z->expiry) : rc;
}

static memsess_rc_t save_entry(entry_t *entry, const session_rec *z)
{
    if (has_data(z)) {
        /* Only the expiry has moved: changes of other requests stay. */
        if (!z->dirty && entry->found && !entry->undecodable) {
            return store_expire(entry->session, z->expiry);
        }
        return save_data(entry, z);
    }
    return z->dirty && entry->found ? store_destroy(entry->session) : MEMSESS_RC_OK;
}

static apr_status_t session_save(request_rec *r, session_rec *z)
{
    memsess_rc_t rc;
    entry_t *entry;
    apr_status_t rv = usable_entry(r, &entry);

    if (rv != OK) {
        return rv;
    }
    rc = save_entry(entry, z);
    z->encoded = NULL;
    if (rc != MEMSESS_RC_OK) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "MemSess: a session of mod_session is not "
                      "saved, and stays as it was: %s", store_explain(rc));
        return rc == MEMSESS_RC_UNAVAILABLE ? APR_EAGAIN : APR_EINVAL;
    }
    return OK;
}

/* -- When the store cannot tell ---------------------------------------------------------------- */

/* This runs before mod_auth_form, which takes a session that cannot be loaded for an absent one,
 * and asks for another log-in. */
static int post_perdir_config(request_rec *r)
{
    const memsess_kind_t *kind = kind_of(r);
    session_rec *z;
    entry_t *entry;

    if (!kind || ap_is_HTTP_ERROR(r->status) || load_session(r, &z) == APR_SUCCESS) {
        return DECLINED;
    }
    entry = open_entry(r, kind);
    return entry->denied ? store_deny(entry->session, r) : DECLINED;
}

/* -- Configuration ----------------------------------------------------------------------------- */

static void *create_dir_conf(apr_pool_t *p, char *dir)
{
    (void)dir;
    return apr_pcalloc(p, sizeof(dir_conf_t));
}

static void *merge_dir_conf(apr_pool_t *p, void *base, void *add)
{
    (void)p;
    return ((dir_conf_t *)add)->kind ? add : base;
}

static const char *set_cookie(cmd_parms *cmd, void *dir_conf, int argc, char *const argv[])
{
    memsess_kind_t *kind = NULL;
    const char *error = store_kind_make(&kind, LABEL, argc, argv, cmd->pool);

    ((dir_conf_t *)dir_conf)->kind = kind;
    if (!error) {
        store_kind_hide(kind, cmd->server);
    }
    return error ? apr_pstrcat(cmd->pool, cmd->cmd->name, " ", cmd->directive->args, ": ", error,
                               NULL)
                 : NULL;
}

static const command_rec commands[] = {
    AP_INIT_TAKE_ARGV("SessionMemSessCookie", set_cookie, NULL, RSRC_CONF | ACCESS_CONF,
                      "the name of the cookie of mod_session's sessions in mod_memsess' pool, then "
                      "any of Path= Domain= SameSite= Secure= HttpOnly= Partitioned Max-Age="),
    {NULL, {NULL}, NULL, 0, NO_ARGS, NULL}
};

/* -- Loading the module ------------------------------------------------------------------------ */

/* Modules that were loaded before this one; pre_config checks them, since it can return errors. */
static int session_was_loaded, memsess_was_loaded;

static int check_loaded(const char *name, int before, int now)
{
    if (!before) {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, 0, NULL, "mod_session_memsess needs "
                     "mod_%s, which is %s: write LoadModule %s_module modules/mod_%s.so above "
                     "LoadModule session_memsess_module (on Debian: a2enmod %s session_memsess)",
                     name, now ? "loaded after it" : "not loaded", name, name, name);
    }
    return before;
}

static int pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    APR_OPTIONAL_FN_TYPE(memsess_api_version) *version =
        APR_RETRIEVE_OPTIONAL_FN(memsess_api_version);

    (void)pconf;
    (void)plog;
    (void)ptemp;
    load_session = APR_RETRIEVE_OPTIONAL_FN(ap_session_load);
    if (!check_loaded("session", session_was_loaded, load_session != NULL)
        || !check_loaded("memsess", memsess_was_loaded, version != NULL)) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (version() < MEMSESS_API_VERSION || version() / 1000 != MEMSESS_API_MAJOR) {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, 0, NULL, "mod_session_memsess needs "
                     "mod_memsess with version %d.%d of its API, not %d.%d: install the same "
                     "version of both", MEMSESS_API_MAJOR, MEMSESS_API_MINOR, version() / 1000,
                     version() % 1000);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
#define RETRIEVE(name) store_##name = APR_RETRIEVE_OPTIONAL_FN(memsess_##name);
    FUNCTIONS(RETRIEVE)
    return OK;
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    session_was_loaded = ap_hook_session_load != NULL;
    memsess_was_loaded = APR_RETRIEVE_OPTIONAL_FN(memsess_api_version) != NULL;
    ap_hook_pre_config(pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_perdir_config(post_perdir_config, NULL, NULL, APR_HOOK_MIDDLE);
    if (session_was_loaded) {
        ap_hook_session_load(session_load, NULL, NULL, APR_HOOK_MIDDLE);
        ap_hook_session_save(session_save, NULL, NULL, APR_HOOK_MIDDLE);
    }
}

module AP_MODULE_DECLARE_DATA session_memsess_module = {
    STANDARD20_MODULE_STUFF,
    create_dir_conf,
    merge_dir_conf,
    NULL,
    NULL,
    commands,
    register_hooks
#if defined(AP_MODULE_FLAG_NONE)
    , AP_MODULE_FLAG_NONE
#endif
};
