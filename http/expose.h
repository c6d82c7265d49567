/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/expose.h
 * @brief Puts the session into environment and request headers; takes the cookie, and whatever
 *        clients send in our name, out of what handlers see.
 */
#ifndef MEMSESS_EXPOSE_H
#define MEMSESS_EXPOSE_H

#include "http/request.h"

/** Whether a header's name is reserved: it begins with "MemSess" and '-', or any other mark. */
int memsess_reserved_name(const char *name);

/** Sets a header; @a value NULL: unsets it. */
void memsess_set_or_unset(apr_table_t *headers, const char *name, const char *value);

typedef int memsess_drop_fn(const char *name, const char *value);

/** Removes the entries that @a drop chooses from a table. */
void memsess_drop_entries(apr_table_t *table, memsess_drop_fn *drop, apr_pool_t *p);

/** Removes all reserved names from a table. */
void memsess_drop_reserved(apr_table_t *headers, apr_pool_t *p);

/** Removes whatever a client sent in our name from a request that has just been read. */
void memsess_clean_request(request_rec *r);

/**
 * Prepares a request that goes on from another one (a redirect, or a subrequest): it has nothing
 * that the other one's section shows, and it has the cookies as the client sent them.
 */
void memsess_expose_begin(request_rec *r);

/** Sets, changes or removes the variables of this request; returns OK, or 503 if MemSessOnError
 * denies. @a final: the section is known for good. */
int memsess_expose_env(request_rec *r, int final);

/**
 * Whether the request's section changed after it was known for good (DirectoryIndex, MultiViews and
 * the like replace the request). If so, its variables are removed, and memsess_expose_env is to be
 * called again.
 */
int memsess_expose_again(request_rec *r);

/** Before any handler: takes the session cookies out of the request, and puts our headers into
 * it. */
void memsess_expose_headers(request_rec *r);

/** A Cookie header without the cookies of this host's sections and those that modules have used; @a
 * cookies itself if there are none of these, NULL if nothing is left. */
const char *memsess_strip_cookies(request_rec *r, const char *cookies);

/** Takes all session cookies of this host out of a request, unless MemSessCookieForward is On. */
void memsess_take_cookies(request_rec *r);

/** Puts back what memsess_take_cookies has taken. */
void memsess_give_cookies(request_rec *r);

#endif
