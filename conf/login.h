/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file conf/login.h
 * @brief Where a client is sent to log in, and what it is told to come back to.
 */
#ifndef MEMSESS_LOGIN_H
#define MEMSESS_LOGIN_H

#include "session/session.h"

/** Whether @a url will do for MemSessLoginURL: NULL, or what is wrong and how to mend it. */
const char *memsess_login_check(const char *url);

/**
 * The login URL for one request.
 * @param url one that memsess_login_check found good
 * @param asked the request's target, as the client sent it
 * @return @a url, where every %s became the target's path and query, escaped: a path on this site
 *         that begins with a single slash, whoever decodes it and how often
 */
const char *memsess_login_url(const char *url, const char *asked, apr_pool_t *p);

/** The path of a login URL, decoded, to be compared with that of a request. */
const char *memsess_login_path(const char *url, apr_pool_t *p);

/**
 * Whether an Accept header names HTML: text/html or text/ and an asterisk. What accepts anything is
 * no navigation: fetch(), images and command line tools.
 */
int memsess_accepts_html(const char *accept, apr_pool_t *p);

#endif
