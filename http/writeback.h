/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/writeback.h
 * @brief Turns response headers into changes: they are gathered wherever handlers left them, obeyed
 *        once, and never sent.
 */
#ifndef MEMSESS_WRITEBACK_H
#define MEMSESS_WRITEBACK_H

#include "http/request.h"

/**
 * Takes all reserved headers out of this request's response, and keeps those that its section
 * obeys. To be called whenever httpd is about to forget or to send them.
 */
void memsess_gather(request_rec *r);

/**
 * Does what must happen before the first byte of the response: gathers, commits, tells caches.
 * @return OK, or the status that the response must become
 */
int memsess_respond(request_rec *r);

/**
 * The same as memsess_respond, for an answer that bypasses the output filters, and so httpd's own
 * handling of headers. Its MemSess-* headers are not obeyed.
 * @param head of the answer; receives the head with all that the client must be told: the cookie,
 *        or another answer altogether
 * @return OK, or the status of that other answer
 */
int memsess_respond_past(request_rec *r, const char **head);

/** At the end of a request: logs changes of modules that were never stored. */
void memsess_tell_overlooked(request_rec *r);

/** r->headers_out has the headers of an interim response: removes the reserved ones. */
void memsess_drop_interim(request_rec *r);

/** The lines of a head that bypasses httpd's own handling of headers, without those that have
 * reserved names, which are logged. */
const char *memsess_clean_interim(request_rec *r, const char *text);

#endif
