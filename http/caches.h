/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/caches.h
 * @brief What caches are told of an answer that depends on a session.
 */
#ifndef MEMSESS_CACHES_H
#define MEMSESS_CACHES_H

#include "http/request.h"

/**
 * Has caches keep the answer only where it does not depend on a session, by the headers that are about
 * to leave. May be called again, of what becomes the answer in their place.
 */
void memsess_mind_caches(request_rec *r);

/** Has mod_cache keep no part of an answer by itself where there are sessions. */
void memsess_mind_part(request_rec *r);

/**
 * The same, for a head that goes past httpd's own handling of headers.
 * @return the lines that are to be added to it
 */
const char *memsess_mind_head(const memsess_top_t *top, const char *head);

#endif
