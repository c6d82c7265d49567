/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file memsess_expose.h
 * @brief The session to environment and request headers; what clients send in our name, and the
 *        cookie, out of what handlers see; and caches told.
 */
#ifndef MEMSESS_EXPOSE_H
#define MEMSESS_EXPOSE_H

#include "memsess_req.h"

/** Whether a header's name is in our reserved prefix, '-' or any other mark behind "MemSess". */
int memsess_reserved_name(const char *name);

/** Sets a header, or unsets it where @a value is NULL. */
void memsess_set_or_unset(apr_table_t *headers, const char *name, const char *value);

/** Removes all reserved names from a table. */
void memsess_drop_reserved(apr_table_t *headers, apr_pool_t *p);

/** Takes what a client made up out of a request that has just been read. */
void memsess_clean_request(request_rec *r);

/** Sets, changes or takes back the variables of this request; OK, or 503 where MemSessOnError
 * denies. @a final: the section is known for good. */
int memsess_expose_env(request_rec *r, int final);

/** Before any handler: the cookie out of the request, our headers into it. */
void memsess_expose_headers(request_rec *r);

/** Has caches keep the answer only where it does not depend on a session. */
void memsess_mind_caches(request_rec *r, const memsess_top_t *top);

#endif
