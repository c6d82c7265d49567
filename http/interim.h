/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/interim.h
 * @brief Answers that bypass the output filters of a request: interim ones (103 Early Hints, for
 *        example), tunnels, and the answers of nph- programs.
 */
#ifndef MEMSESS_INTERIM_H
#define MEMSESS_INTERIM_H

#include "httpd.h"

/** To be called before requests are served. */
void memsess_interim_register(void);

/**
 * Watches the heads that go to this request's client from now on, up to the head of its answer:
 * removes whatever is in our name, and commits the session when the answer's head leaves.
 */
void memsess_interim_watch(request_rec *r);

/** Stops watching: what follows goes through the output filters. */
void memsess_interim_unwatch(conn_rec *c);

#endif
