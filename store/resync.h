/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file store/resync.h
 * @brief Writes missing copies of records that nobody uses, after a server was replaced.
 *
 * Nobody has the ids of idle sessions, and without its id a sealed record cannot be opened. So a
 * record is copied as it is. docs/operations.md says why that is safe.
 */
#ifndef MEMSESS_RESYNC_H
#define MEMSESS_RESYNC_H

#include "store/copies.h"

/** The first part of a record's key in memcached, the same on all servers. */
#define MEMSESS_DIGEST_LEN 43

/** What became of one record. */
typedef enum {
    MEMSESS_RESYNC_WHOLE,   /**< every home has it */
    MEMSESS_RESYNC_COPIED,  /**< every home has it now */
    MEMSESS_RESYNC_GONE,    /**< no server has it any more */
    MEMSESS_RESYNC_DIFFERS, /**< copies differ, so it was left alone: its next use repairs it */
    MEMSESS_RESYNC_UNSURE,  /**< a server was silent or refused it: it may not be whole */
    MEMSESS_RESYNC_N
} memsess_resync_t;

/** Whether a store can be resynced: with one copy of each session there is nothing to copy. */
int memsess_resync_can(const memsess_store_t *store);

/**
 * Copies a record, as it is, to those of its homes that have none.
 * @param digest MEMSESS_DIGEST_LEN characters of base64url
 * @param ttl seconds for which the record still lives
 */
memsess_resync_t memsess_resync(memsess_store_t *store, const char *digest, apr_uint32_t ttl,
                                apr_pool_t *p);

#endif
