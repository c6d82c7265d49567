/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/write.h
 * @brief The copies of one revision: sent to all of its servers.
 */
#ifndef MEMSESS_WRITE_H
#define MEMSESS_WRITE_H

#include "store/private.h"

/** The copies of a revision are all sent within this time, or not at all. */
#define MEMSESS_ALL_SENT apr_time_from_msec(100)

/* What became of the copies of one write. */
typedef struct memsess_sent_t {
    unsigned stored;
    unsigned refused; /* certainly not stored; what was there is as it was */
    unsigned unsent;  /* it was too late to send them */
    unsigned failed;  /* they may have been stored or not */
    int down;         /* whether a server that failed is down now: another one would be chosen */
    apr_status_t rv;  /* why one of them is not stored */
} memsess_sent_t;

/**
 * Writes a revision, all copies at the same time, to the first servers in order that are not down.
 * Under a claim, each copy is sent at most once, and only to a claimed server. No copy is sent at
 * @a not_after (by the monotonic clock) or later, nor MEMSESS_ALL_SENT after this call began to
 * send. The copy of a server that refuses, or is too slow twice while others take theirs, becomes
 * COPY_REFUSED, and the server is not chosen again.
 * @param before the reading that it follows under a claim; NULL: nobody knows of the session yet
 */
void memsess_write_copies(memsess_sent_t *sent, const memsess_copies_t *of,
                          memsess_session_t *session, const memsess_reading_t *before,
                          apr_time_t not_after, apr_pool_t *p);

/** As memsess_store_write. */
apr_status_t memsess_write(memsess_store_t *store, const memsess_key_t *key,
                           memsess_session_t *session, apr_pool_t *p);

/** As memsess_store_unwrite. */
void memsess_unwrite(memsess_store_t *store, const memsess_key_t *key,
                     const memsess_session_t *session, apr_pool_t *p);

/** As memsess_store_blank. */
apr_status_t memsess_blank(memsess_reading_t *reading, memsess_store_t *store, apr_pool_t *p);

#endif
