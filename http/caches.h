/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/caches.h
 * @brief What caches are told of an answer that depends on a session.
 */
#ifndef MEMSESS_CACHES_H
#define MEMSESS_CACHES_H

#include "http/request.h"

/**
 * Sets the headers that are about to leave so that caches keep the answer only if it does not
 * depend on a session. May be called again, if another answer takes its place.
 */
void memsess_mind_caches(request_rec *r);

/** Keeps mod_cache from storing a part of an answer on its own where there are sessions. */
void memsess_mind_part(request_rec *r);

/**
 * The same as memsess_mind_caches, for a head that bypasses httpd's own handling of headers.
 * @return the lines to add to the head
 */
const char *memsess_mind_head(const memsess_top_t *top, const char *head);

#endif
