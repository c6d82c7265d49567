/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/writeback.h
 * @brief Response headers to changes: gathered wherever handlers left them, obeyed once, and
 *        never sent.
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
 * What has to happen before the first byte of the response: gathers, commits, tells caches.
 * @return OK, or the status that the response must become
 */
int memsess_respond(request_rec *r);

/**
 * The same where the answer goes past the output filters, and with them past httpd's own handling of
 * headers. Its MemSess-* headers are not obeyed.
 * @param head of the answer; receives it with what is to be said to the client: the cookie, or another
 *        answer altogether
 * @return OK, or the status of that other answer
 */
int memsess_respond_past(request_rec *r, const char **head);

/** At the end of a request: what modules have changed after all, and nobody has stored, is told. */
void memsess_tell_overlooked(request_rec *r);

/** What is in r->headers_out is of an interim response: takes reserved headers out. */
void memsess_drop_interim(request_rec *r);

/** The lines of a head that goes past httpd's own handling of headers, but those with reserved names:
 * they are logged. */
const char *memsess_clean_interim(request_rec *r, const char *text);

#endif
