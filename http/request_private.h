/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/request_private.h
 * @brief What http/request.c (reading) and http/outcome.c (committing) share.
 */
#ifndef MEMSESS_REQ_PRIVATE_H
#define MEMSESS_REQ_PRIVATE_H

#include "http/request.h"

/** One step of a request, for LogLevel memsess:trace1; below that level, the arguments are not
 * evaluated. */
#define MEMSESS_TRACE(r, ...)                                                                      \
    ap_log_rerror(APLOG_MARK, APLOG_TRACE1, 0, r, "MemSess: " __VA_ARGS__)

/** What a session can be bound to: this property of its client; NULL: the client has none. */
const char *memsess_req_client(const memsess_req_t *req, memsess_bind_t to);

/** Reads the newest revision from the pool, whatever was read before. */
void memsess_req_read_pool(memsess_req_t *req, memsess_top_t *top);

/** The reading of the session's key. */
memsess_reading_t memsess_req_reading(const memsess_req_t *req);

/** Takes a reading of the session's key. */
void memsess_req_take(memsess_req_t *req, const memsess_reading_t *reading);

#endif
