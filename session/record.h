/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file session/record.h
 * @brief A session to bytes and back: versioned, length-checked, and bound to its key.
 */
#ifndef MEMSESS_RECORD_H
#define MEMSESS_RECORD_H

#include "session/session.h"

typedef enum {
    MEMSESS_RECORD_OK,
    MEMSESS_RECORD_DAMAGED, /**< truncated, altered, or no record at all */
    MEMSESS_RECORD_FOREIGN, /**< intact, but of another session: the server mixed up keys */
    MEMSESS_RECORD_NEWER,   /**< a later version of this module wrote it: it is left alone */
    MEMSESS_RECORD_LARGE    /**< more than may be unpacked: it is left alone */
} memsess_record_status_t;

/**
 * Encodes a session.
 * @param compress payloads above this many bytes are compressed; 0: none
 */
apr_status_t memsess_record_encode(const memsess_session_t *session, const memsess_key_t *key,
                                   apr_size_t compress, char **data, apr_size_t *len,
                                   apr_pool_t *p);

/**
 * Decodes a record; names and values point into @a data, which must live as long as @a session.
 * @param is_whole a seal has vouched for every byte, so that the hash need not
 * @param most bytes that a compressed record may have unpacked: deflate can make a thousand times
 *        as many of a few
 */
memsess_record_status_t memsess_record_decode(const char *data, apr_size_t len, int is_whole,
                                              const memsess_key_t *key, apr_size_t most,
                                              memsess_session_t **session, apr_pool_t *p);

/** The bytes that a record, of MEMSESS_RECORD_LARGE for instance, takes unpacked. */
apr_size_t memsess_record_claims(const char *data);

/** Whether bytes are the record of that key, or no record at all. */
int memsess_record_is_of(const char *data, apr_size_t len, const memsess_key_t *key);

/** The bytes of a session's attributes in a record, which MemSessMaxSize limits. */
apr_size_t memsess_record_size(const memsess_session_t *session);

#endif
