/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file conf/login.h
 * @brief Where a client is sent to log in, and the address to come back to.
 */
#ifndef MEMSESS_LOGIN_H
#define MEMSESS_LOGIN_H

#include "session/session.h"

/** Checks a URL for MemSessLoginURL: NULL, or what is wrong and how to fix it. */
const char *memsess_login_check(const char *url);

/**
 * The login URL for one request.
 * @param url one that memsess_login_check accepted
 * @param asked the request's target, as the client sent it
 * @return @a url, where every %s became the target's path and query, escaped: a path on this site
 *         that begins with a single slash, however often it is decoded
 */
const char *memsess_login_url(const char *url, const char *asked, apr_pool_t *p);

/** The path of a login URL, decoded, to compare it with the path of a request. */
const char *memsess_login_path(const char *url, apr_pool_t *p);

/**
 * Whether an Accept header names HTML: text/html, or text/ and an asterisk. A request that accepts
 * anything is no navigation: it comes from fetch(), an image or a command line tool.
 */
int memsess_accepts_html(const char *accept, apr_pool_t *p);

#endif
