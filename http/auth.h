/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/auth.h
 * @brief AuthType MemSess: the session says who the user is. Require memsess: and what else is so.
 */
#ifndef MEMSESS_AUTH_H
#define MEMSESS_AUTH_H

#include "httpd.h"
#include "http_config.h"
#include "mod_auth.h"

/**
 * Before any authorization: tells who is logged in, so that somebody who is, but may not come here,
 * is forbidden instead of asked to log in again; and REMOTE_USER is there where nobody requires it.
 */
int memsess_auth_find_user(request_rec *r);

/** Who the user is, where we have said so; else NULL. */
const char *memsess_auth_told(const request_rec *r);

/** Says it again, for the section that the request has now. */
void memsess_auth_again(request_rec *r);

/** Before a handler: has no variable tell a user whom the section that the request came from has
 * told, and this one has not. */
void memsess_auth_part(request_rec *r);

/** For a request that needs a user: OK, or to the login page, 401 or 503. */
int memsess_auth_check_user(request_rec *r);

/**
 * Asked before httpd's own authorization, without and with a user: an outage denies what might be
 * denied if the session could be read, whoever negates what. 503 then.
 */
int memsess_auth_userless(request_rec *r);
int memsess_auth_user(request_rec *r);

/** Require memsess NAME VALUE... */
extern const authz_provider memsess_auth_provider;

/** Require memsess-login-age T */
extern const authz_provider memsess_auth_age_provider;

/** Logs where AuthType MemSess or Require memsess certainly finds no session; 0 then. */
int memsess_auth_conf_check(server_rec *main_server, apr_pool_t *ptemp);

#endif
