/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/expose.h
 * @brief The session to environment and request headers; what clients send in our name, and the
 *        cookie, out of what handlers see.
 */
#ifndef MEMSESS_EXPOSE_H
#define MEMSESS_EXPOSE_H

#include "http/request.h"

/** Whether a header's name is in our reserved prefix, '-' or any other mark behind "MemSess". */
int memsess_reserved_name(const char *name);

/** Sets a header, or unsets it where @a value is NULL. */
void memsess_set_or_unset(apr_table_t *headers, const char *name, const char *value);

typedef int memsess_drop_fn(const char *name, const char *value);

/** Removes from a table what @a drop says. */
void memsess_drop_entries(apr_table_t *table, memsess_drop_fn *drop, apr_pool_t *p);

/** Removes all reserved names from a table. */
void memsess_drop_reserved(apr_table_t *headers, apr_pool_t *p);

/** Takes what a client made up out of a request that has just been read. */
void memsess_clean_request(request_rec *r);

/**
 * What a request that goes on from another one (a redirect, or a subrequest) begins with: nothing of
 * what that one's section shows, and the cookies as the client sent them.
 */
void memsess_expose_begin(request_rec *r);

/** Sets, changes or takes back the variables of this request; OK, or 503 where MemSessOnError
 * denies. @a final: the section is known for good. */
int memsess_expose_env(request_rec *r, int final);

/**
 * Whether the request has got another section since that was known for good (DirectoryIndex,
 * MultiViews and the like make it another one in its place). Its variables are taken back then, and
 * memsess_expose_env is to be called again.
 */
int memsess_expose_again(request_rec *r);

/** Before any handler: the session cookies out of the request, our headers into it. */
void memsess_expose_headers(request_rec *r);

/** A Cookie header without those of any section of this host, nor those that modules have used; as it
 * is where there are none, NULL where nothing is left. */
const char *memsess_strip_cookies(request_rec *r, const char *cookies);

/** Takes all session cookies of this host out of a request, unless MemSessCookieForward is On. */
void memsess_take_cookies(request_rec *r);

/** Puts back what memsess_take_cookies has taken. */
void memsess_give_cookies(request_rec *r);

#endif
