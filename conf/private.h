/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file conf/private.h
 * @brief Shared by memsess_conf.c (each directive) and the files that check all of them.
 */
#ifndef MEMSESS_CONF_PRIVATE_H
#define MEMSESS_CONF_PRIVATE_H

#include "apr_strings.h"
#include "memsess_conf.h"

/** A time-out that was set in a section, which may inherit the other one. */
typedef struct memsess_timeouts_t {
    server_rec *server;
    void *dir_conf;
    const ap_directive_t *directive;
} memsess_timeouts_t;

/** A source of secrets that failed. */
typedef struct memsess_failed_t {
    server_rec *server;    /**< a host that it is for */
    const char *directive, *source;
    const char *text;      /**< why, and what happens without it */
} memsess_failed_t;

/** A session cookie, and the section or module that uses it. */
typedef struct memsess_named_t {
    server_rec *server;
    const char *name;               /**< the cookie's; NULL: says MemSess On */
    const memsess_dir_conf_t *conf; /**< of the section; NULL: a module's */
} memsess_named_t;

/** Facts about directives in any section, for the checks after all have been read. */
typedef struct memsess_seen_t {
    apr_array_header_t *timeouts; /**< of memsess_timeouts_t */
    int sessions;                 /**< MemSess is On somewhere, or another module has sessions here */
    apr_int64_t largest;          /**< MemSessMaxSize, the default at least */
    const ap_directive_t *tls;    /**< a MemSessBind tls, or NULL */
    apr_array_header_t *failed;   /**< of memsess_failed_t */
    apr_array_header_t *cookies;  /**< of memsess_named_t */
    apr_array_header_t *users;    /**< the attributes that say who the user is, of const char * */
} memsess_seen_t;

extern memsess_seen_t memsess_seen;

/** The words of directives that take one of some, or any; each stands for its index, of the latter
 * the first for none and the others for bits. */
extern const char *const memsess_flag_words[2];
extern const char *const memsess_lock_words[3];
extern const char *const memsess_on_error_words[2];
extern const char *const memsess_expose_words[4];
extern const char *const memsess_bind_words[4];

/** Adds a name to a list, once. */
void memsess_conf_add_name(apr_array_header_t *names, const char *name);

/** The name of a host, for messages. */
static inline const char *memsess_conf_name_of(server_rec *s, apr_pool_t *p)
{
    return s->is_virtual ? apr_psprintf(p, "virtual host %s:%d (%s, line %u)",
                                        s->server_hostname ? s->server_hostname : "?", s->port,
                                        s->defn_name, s->defn_line_number)
                         : "the server";
}

/**
 * Reads the secrets and passwords of all hosts; failures are in memsess_seen.failed.
 * @return 0: refused, and logged
 */
int memsess_conf_read_secrets(server_rec *main_server, apr_pool_t *pconf, apr_pool_t *ptemp);

/** How much of a source may be shown: not the arguments of a program, since what it is told may be
 * a secret itself. Only the log has them. */
apr_size_t memsess_conf_source_len(const char *source);

/** The words of the status for a source that failed. */
const char *memsess_conf_failed_text(const memsess_failed_t *failed, apr_pool_t *p);

/** Logs which hosts share pool and secret without naming a namespace. */
void memsess_conf_warn_of_shared(server_rec *main_server, apr_pool_t *ptemp);

/** Logs where mod_proxy_wstunnel leads to back ends that believe our request headers. */
void memsess_conf_warn_of_tunnels(server_rec *main_server, apr_pool_t *ptemp);

#endif
