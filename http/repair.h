/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/repair.h
 * @brief Copies that a request found lacking, and when they are written again.
 *
 * Reading only reads. A commit of the same record writes all of its copies, and so repairs it. A
 * record that no commit has written by then is repaired when the client has its answer, or the head
 * of a long one: nobody waits for a repair.
 */
#ifndef MEMSESS_REPAIR_H
#define MEMSESS_REPAIR_H

#include "http/request.h"
#include "util_filter.h"

/** Notes what a reading of a key told about its copies; the last reading counts. */
void memsess_repair_see(memsess_top_t *top, const memsess_reading_t *reading);

/** Notes that the record of that key was written. */
void memsess_repair_done(memsess_top_t *top, const memsess_key_t *key);

/** Passes a part of the answer on, and repairs after the last part, or earlier if the answer takes
 * long. */
apr_status_t memsess_repair_behind(ap_filter_t *f, apr_bucket_brigade *bb);

/** The same as memsess_repair_behind, for an answer of @a r whose head bypasses its filters: what
 * follows the head is not seen here. */
apr_status_t memsess_repair_behind_head(request_rec *r, ap_filter_t *f, apr_bucket_brigade *bb);

#endif
