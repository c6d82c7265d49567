/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file memsess_cookie.h
 * @brief The session cookie: found, taken out, set and cleared.
 */
#ifndef MEMSESS_COOKIE_H
#define MEMSESS_COOKIE_H

#include "memsess_core.h"

typedef enum { MEMSESS_SECURE_AUTO, MEMSESS_SECURE_ON, MEMSESS_SECURE_OFF } memsess_secure_t;

/** What MemSessCookie says. */
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
 * @return NULL, or what is wrong and how to mend it, browsers' own rules included
 */
const char *memsess_cookie_parse(memsess_cookie_t *cookie, int argc, char *const argv[],
                                 apr_pool_t *p);

/** What a Cookie header holds under a name. */
typedef enum {
    MEMSESS_COOKIE_NONE,
    MEMSESS_COOKIE_INVALID, /**< only values that are no session id */
    MEMSESS_COOKIE_OK
} memsess_cookie_found_t;

/** The first well-formed id among the cookies of that name. */
memsess_cookie_found_t memsess_cookie_find(const char *header, const char *name,
                                           char id[MEMSESS_ID_LEN + 1]);

/** The header without any cookie of that name; NULL where nothing is left, @a header where
 * nothing was found. */
const char *memsess_cookie_strip(const char *header, const char *name, apr_pool_t *p);

/**
 * The value of a Set-Cookie header.
 * @param id NULL clears the cookie
 * @param https whether the request came by https, for Secure=auto
 */
const char *memsess_cookie_format(const memsess_cookie_t *cookie, const char *id, int https,
                                  apr_pool_t *p);

#endif
