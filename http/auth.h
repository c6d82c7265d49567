/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/auth.h
 * @brief AuthType MemSess: the session says who the user is. Require memsess: it says who is let
 *        in.
 */
#ifndef MEMSESS_AUTH_H
#define MEMSESS_AUTH_H

#include "httpd.h"
#include "http_config.h"
#include "mod_auth.h"

/**
 * To be called before any authorization: finds the user. So a user who is logged in, but not let in
 * here, is forbidden instead of asked to log in again; and REMOTE_USER is set even if no Require
 * needs it.
 */
int memsess_auth_find_user(request_rec *r);

/** The user, if this module has told who it is; else NULL. */
const char *memsess_auth_told(const request_rec *r);

/** Finds the user again, for the section that the request has now. */
void memsess_auth_again(request_rec *r);

/** Before a handler: if the section that the request came from told a user, and this one does not,
 * no variable tells that user. */
void memsess_auth_part(request_rec *r);

/** For a request that needs a user: returns OK, a redirect to the login page, 401 or 503. */
int memsess_auth_check_user(request_rec *r);

/**
 * To be called before httpd's own authorization, without and with a user: if the session cannot be
 * read, and it might deny the request, the answer is 503, even if a requirement is negated.
 */
int memsess_auth_userless(request_rec *r);
int memsess_auth_user(request_rec *r);

/** Require memsess NAME VALUE... */
extern const authz_provider memsess_auth_provider;

/** Require memsess-login-age T */
extern const authz_provider memsess_auth_age_provider;

/** Logs where AuthType MemSess or Require memsess can never find a session, and returns 0 then. */
int memsess_auth_conf_check(server_rec *main_server, apr_pool_t *ptemp);

#endif
