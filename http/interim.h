/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/interim.h
 * @brief Answers that go past the output filters of a request: interim ones (103 Early Hints, say),
 *        and whole ones, tunnels and nph- programs.
 */
#ifndef MEMSESS_INTERIM_H
#define MEMSESS_INTERIM_H

#include "httpd.h"

/** Before requests are served. */
void memsess_interim_register(void);

/**
 * From now on the heads that go to this request's client are looked at, up to that of its answer:
 * what is in our name is taken out of them, and the answer's is where the session is committed.
 */
void memsess_interim_watch(request_rec *r);

/** What follows goes through the output filters. */
void memsess_interim_unwatch(conn_rec *c);

#endif
