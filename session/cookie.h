/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file session/cookie.h
 * @brief The session cookie: found and verified, taken out, signed and set, cleared.
 */
#ifndef MEMSESS_COOKIE_H
#define MEMSESS_COOKIE_H

#include "base/secret.h"
#include "session/session.h"

typedef enum { MEMSESS_SECURE_AUTO, MEMSESS_SECURE_ON, MEMSESS_SECURE_OFF } memsess_secure_t;

/** The words of MemSessCookie. */
typedef struct memsess_cookie_t {
    const char *name;
    const char *path;
    const char *domain;    /**< NULL: the host that set it */
    const char *same_site; /**< Lax, Strict or None */
    memsess_secure_t secure;
    int http_only;
    int partitioned;
    apr_interval_time_t max_age; /**< 0: until the browser is closed */
} memsess_cookie_t;

extern const memsess_cookie_t memsess_cookie_default;

/**
 * Parses the words of MemSessCookie over the defaults.
 * @return NULL, or what is wrong and how to fix it, browsers' own rules included
 */
const char *memsess_cookie_parse(memsess_cookie_t *cookie, int argc, char *const argv[],
                                 apr_pool_t *p);

/** What a Cookie header has under a name. */
typedef enum {
    MEMSESS_COOKIE_NONE,
    MEMSESS_COOKIE_INVALID, /**< only values that are no session id, or that we did not sign */
    MEMSESS_COOKIE_OK
} memsess_cookie_found_t;

/**
 * The value of a session cookie: ID, or ID~USER if a user is logged in; with secrets, .MAC or
 * .REVISION.MAC follows. The MAC is over namespace, cookie name and the text before it.
 */
typedef struct memsess_cookie_value_t {
    char id[MEMSESS_ID_LEN + 1];
    char user[MEMSESS_USER_LEN + 1]; /**< of memsess_login_t; a hint that must not be believed */
    apr_uint64_t revision; /**< the last one that the client has seen; 0: the cookie carries none */
    int aged;              /**< an older secret signed it: the cookie is to be set again */
} memsess_cookie_value_t;

/** How many cookies of one name are looked up: a browser sends several if they were set for several
 * paths or domains, and the first need not be the right one. */
#define MEMSESS_COOKIES_MAX 4

/**
 * The cookies of that name, in their order, that are well-formed and, with secrets, signed by one
 * of them.
 * @param secrets NULL: cookies are not signed
 * @param values receives MEMSESS_COOKIES_MAX at most, with ids all different
 * @param n receives how many; 0 unless MEMSESS_COOKIE_OK is returned
 */
memsess_cookie_found_t memsess_cookie_find(const char *header, const char *name,
                                           const memsess_secrets_t *secrets,
                                           memsess_cookie_value_t *values, unsigned *n);

/** The header without any cookie of that name; NULL if nothing is left, @a header if none was
 * found. */
const char *memsess_cookie_strip(const char *header, const char *name, apr_pool_t *p);

/**
 * The value of a Set-Cookie header; NULL if it cannot be signed.
 * @param value NULL clears the cookie
 * @param secrets the first one signs; NULL: the cookie is not signed, and carries no revision
 * @param https whether the request came by https, for Secure=auto
 */
const char *memsess_cookie_format(const memsess_cookie_t *cookie,
                                  const memsess_cookie_value_t *value,
                                  const memsess_secrets_t *secrets, int https, apr_pool_t *p);

#endif
