/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file memsess_conf.h
 * @brief The directives: one table of settings, from which structures, defaults, merging and
 *        commands are made. Nothing changes them once httpd serves, and nothing here connects.
 */
#ifndef MEMSESS_CONF_H
#define MEMSESS_CONF_H

#include "httpd.h"
#include "base/secret.h"
#include "http_config.h"
#include "memsess_store.h"
#include "session/cache.h"
#include "session/cookie.h"

#define MEMSESS_EXPOSE_ENV 1
#define MEMSESS_EXPOSE_HEADERS 2
#define MEMSESS_EXPOSE_USER_SESSIONS 4

typedef enum { MEMSESS_LOCK_NONE, MEMSESS_LOCK_COMMIT, MEMSESS_LOCK_REQUEST } memsess_lock_mode_t;
typedef enum { MEMSESS_DENY, MEMSESS_ANONYMOUS } memsess_on_error_t;

#define MEMSESS_MAX_SIZE 1000000
#define MEMSESS_MS apr_time_from_msec(1)
#define MEMSESS_TIME_MAX (apr_time_from_sec(3600) * 24 * 36500)

/*
 * S(type, field, default, arguments, directive, kind, least, most)
 *
 * What httpd -L says of a directive is made from docs/directives.md: conf/help.h.
 * A kind is parsed by set_KIND in memsess_conf.c, and shown by show_KIND in conf/show.c. WORD in the
 * place of arguments: the second word of the directive before it, which says the default where it is
 * left out. Of one virtual host or the whole server:
 */
#define MEMSESS_SRV_SETTINGS(S)                                                                    \
    S(const apr_array_header_t *, members, NULL, ITERATE, MemSessServers, servers, 0, 0)           \
    S(int, copies, 2, TAKE1, MemSessRedundancy, int, 1, 16)                                        \
    S(int, failover, 1, TAKE1, MemSessFailover, flag, 0, 1)                                        \
    S(apr_interval_time_t, timeout, 250 * MEMSESS_MS, TAKE1, MemSessTimeout, time, MEMSESS_MS,     \
      apr_time_from_sec(3600))                                                                     \
    S(apr_interval_time_t, retry, 2000 * MEMSESS_MS, TAKE1, MemSessRetry, time, 10 * MEMSESS_MS,   \
      apr_time_from_sec(3600))                                                                     \
    S(int, max_conns, 0, TAKE12, MemSessConnections, connections, 1, 100000)                       \
    S(apr_interval_time_t, conn_idle, apr_time_from_sec(60), WORD, MemSessConnections idle=, time, \
      MEMSESS_MS, MEMSESS_TIME_MAX)                                                                \
    S(const char *, auth, NULL, TAKE1, MemSessServerAuth, auth, 0, 0)                              \
    S(const char *, ns, "", TAKE1, MemSessNamespace, namespace, 0, 0)                              \
    S(const apr_array_header_t *, sources, NULL, ITERATE, MemSessSecret, secret, 0, 0)             \
    S(int, user_sessions, 0, TAKE1, MemSessUserSessions, user_sessions, 1, 100)                    \
    S(int, seal, 1, TAKE1, MemSessSeal, flag, 0, 1)                                                \
    S(apr_int64_t, compress, 2048, TAKE1, MemSessCompress, compress, 1, 1000000000)                \
    S(apr_int64_t, cache_size, 0, TAKE12, MemSessLocalCache, local_cache, MEMSESS_CACHE_MIN,       \
      APR_INT64_C(1) << 40)                                                                        \
    S(apr_interval_time_t, cache_max_age, apr_time_from_sec(1), WORD, MemSessLocalCache max-age=,  \
      time, MEMSESS_MS, apr_time_from_sec(3600))

/* And of any section of the server's configuration: */
#define MEMSESS_DIR_SETTINGS(S)                                                                    \
    S(int, enabled, 0, TAKE1, MemSess, flag, 0, 1)                                                 \
    S(const memsess_cookie_t *, cookie, &memsess_cookie_default, TAKE_ARGV, MemSessCookie, cookie, \
      0, 0)                                                                                        \
    S(int, cookie_forward, 0, TAKE1, MemSessCookieForward, flag, 0, 1)                             \
    S(apr_interval_time_t, idle, apr_time_from_sec(30 * 60), TAKE1, MemSessIdleTimeout, time,      \
      apr_time_from_sec(1), MEMSESS_TIME_MAX)                                                      \
    S(apr_interval_time_t, absolute, apr_time_from_sec(24 * 3600), TAKE1, MemSessAbsoluteTimeout,  \
      time, 0, MEMSESS_TIME_MAX)                                                                   \
    S(apr_interval_time_t, refresh, 0, TAKE1, MemSessRefresh, time, 0, MEMSESS_TIME_MAX)           \
    S(apr_interval_time_t, renew, 0, TAKE1, MemSessRenew, time, 0, MEMSESS_TIME_MAX)               \
    S(int, expose, MEMSESS_EXPOSE_ENV, ITERATE, MemSessExpose, expose, 0, 0)                       \
    S(const apr_array_header_t *, expose_keys, NULL, ITERATE, MemSessExposeKeys, keys, 0, 0)       \
    S(int, writeback, 0, TAKE1, MemSessWriteback, flag, 0, 1)                                      \
    S(const apr_array_header_t *, writeback_keys, NULL, ITERATE, MemSessWritebackKeys, keys, 0, 0) \
    S(int, writeback_verbs, 0, ITERATE, MemSessWritebackVerbs, verbs, 0, 0)                        \
    S(int, lock, MEMSESS_LOCK_COMMIT, TAKE1, MemSessLock, lock, 0, 0)                              \
    S(apr_interval_time_t, lock_wait, apr_time_from_sec(10), TAKE1, MemSessLockWait, time, 0,      \
      apr_time_from_sec(3600))                                                                     \
    S(int, on_error, MEMSESS_DENY, TAKE1, MemSessOnError, on_error, 0, 0)                          \
    S(apr_int64_t, max_size, MEMSESS_MAX_SIZE, TAKE1, MemSessMaxSize, size, 1, 1000000000)         \
    S(int, bind, 0, ITERATE, MemSessBind, bind, 0, 0)                                              \
    S(const char *, user_attr, "user", TAKE1, MemSessUserAttr, attr_name, 0, 0)                    \
    S(const char *, login_url, NULL, TAKE1, MemSessLoginURL, login_url, 0, 0)

#define MEMSESS_FIELD(type, field, value, args, name, kind, least, most)                           \
    type field;                                                                                    \
    unsigned char field##_set;

typedef struct memsess_srv_conf_t {
    MEMSESS_SRV_SETTINGS(MEMSESS_FIELD)
    const memsess_secrets_t *secrets; /**< read from the sources; NULL: there are none; empty: none
                                           could be read, and there is no store then */
    const char *password;             /**< "user password", read from auth; NULL: none is known */
    const apr_array_header_t *cookies; /**< the names of all session cookies of this host, those of
                                           modules included; set after the check */
    const apr_array_header_t *users; /**< the attributes that hold the user in any section */
    int binds;                        /**< some section binds sessions to their clients */
    int in_section;                   /**< MemSess is On in some section, not here as such */
    memsess_cache_t *cache;            /**< the whole server's one; NULL: not here */
    memsess_store_t *store;        /**< made in each child before it serves; NULL: it failed */
} memsess_srv_conf_t;

typedef struct memsess_dir_conf_t {
    MEMSESS_DIR_SETTINGS(MEMSESS_FIELD)
    int requires; /**< what Require directives ask of the session, see below */
    int requires_set, is_guarded; /**< some Require is here; and not just "all granted" */
    int is_open, merges_or; /**< "all granted" alone lets clients in; AuthMerging Or is here */
    int handler_set, is_admin;    /**< SetHandler is here, and names memsess-admin */
} memsess_dir_conf_t;

/** Some look at the session; and some let in all users but certain ones. */
#define MEMSESS_REQUIRES_SESSION 1
#define MEMSESS_REQUIRES_NOT_USER 2

#undef MEMSESS_FIELD

extern const command_rec memsess_commands[];

void *memsess_srv_conf_create(apr_pool_t *p, server_rec *s);
void *memsess_srv_conf_merge(apr_pool_t *p, void *base, void *add);
void *memsess_dir_conf_create(apr_pool_t *p, char *dir);
void *memsess_dir_conf_merge(apr_pool_t *p, void *base, void *add);

extern module AP_MODULE_DECLARE_DATA memsess_module;

memsess_srv_conf_t *memsess_srv_conf(server_rec *s);
const memsess_dir_conf_t *memsess_dir_conf(const request_rec *r);

/** A host's settings where no section says otherwise. */
memsess_dir_conf_t *memsess_host_conf(const server_rec *s);

/** One directive's value, in words that the directive would take. */
typedef struct memsess_setting_t {
    const char *directive, *value;
} memsess_setting_t;

/** What is set in a server's configuration, or in a section's, of memsess_setting_t, in the order of
 * the table. Of a secret, where it comes from; nothing that is one. */
apr_array_header_t *memsess_conf_show_srv(const memsess_srv_conf_t *conf, apr_pool_t *p);
apr_array_header_t *memsess_conf_show_dir(const memsess_dir_conf_t *conf, apr_pool_t *p);

/** A time as directives have it; whether it is one. */
int memsess_conf_time(const char *arg, apr_interval_time_t *t);

/** How old the date of a session may get, if the session is over when it was unused for @a idle. */
apr_interval_time_t memsess_refresh(apr_interval_time_t idle);

/** The same by the settings of a section; never so old that it would end a session in use. */
apr_interval_time_t memsess_conf_refresh(const memsess_dir_conf_t *conf);

/** What responses may do in a section: a bit for each memsess_verb_t. */
unsigned memsess_conf_verbs(const memsess_dir_conf_t *conf);

/** Forgets the facts of an earlier reading of the configuration. */
void memsess_conf_start(apr_pool_t *pconf);

/** To be called when all directives have been read: checks them as a whole, reads the secrets,
 * and logs what is wrong. memsess_conf_settle says whether httpd has to end since a source of
 * secrets failed. */
int memsess_conf_check(server_rec *main_server, apr_pool_t *pconf, apr_pool_t *ptemp);

/**
 * To be called once there are logs: says which sources of secrets failed, and where a restart has
 * brought another secret to sign with; keeps the secrets for the next restart. 0: httpd has to end,
 * since this is a start and there are no secrets from before.
 */
int memsess_conf_settle(server_rec *main_server, apr_pool_t *ptemp);

/** Adds a cookie to those of a host's sessions; to be called while directives are read. */
void memsess_conf_add_cookie(server_rec *s, const char *name);

/** Lists the servers of all pools for the counters; logs why that fails. */
int memsess_conf_count(server_rec *main_server, apr_pool_t *pconf);

/** Makes the local cache, if one is configured, for the hosts that have secrets. */
apr_status_t memsess_conf_cache(server_rec *main_server, apr_pool_t *pconf);

/** How many copies of a session there are: no more than servers. */
unsigned memsess_conf_copies(const memsess_srv_conf_t *conf);

/** What the store of this server needs, from a whole configuration. */
void memsess_conf_store(const memsess_srv_conf_t *conf, int threads, memsess_store_conf_t *store,
                        apr_pool_t *p);

#endif
