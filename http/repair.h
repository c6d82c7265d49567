/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file http/repair.h
 * @brief What a request found lacking of copies, and when it is written once more.
 *
 * Reading only reads. A commit of the same record writes all of its copies, and so repairs it. What no
 * commit has written by then is repaired when the client has its answer, or the head of one that goes
 * on: nobody waits for it.
 */
#ifndef MEMSESS_REPAIR_H
#define MEMSESS_REPAIR_H

#include "http/request.h"
#include "util_filter.h"

/** What a reading of a key told of its copies; the last one counts. */
void memsess_repair_see(memsess_top_t *top, const memsess_reading_t *reading);

/** The record of that key was written. */
void memsess_repair_done(memsess_top_t *top, const memsess_key_t *key);

/** Passes a part of the answer on, and repairs after the last one; in between where an answer has
 * taken long by then. */
apr_status_t memsess_repair_behind(ap_filter_t *f, apr_bucket_brigade *bb);

/** The same where the head of an answer of @a r goes past its filters; of what follows it nobody here
 * hears. */
apr_status_t memsess_repair_behind_head(request_rec *r, ap_filter_t *f, apr_bucket_brigade *bb);

#endif
