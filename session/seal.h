/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file session/seal.h
 * @brief Encrypts and authenticates the items in memcached: AES-256-GCM, under a key of its own for
 *        every session, bound to the storage key and to the kind of item.
 */
#ifndef MEMSESS_SEAL_H
#define MEMSESS_SEAL_H

#include "base/secret.h"
#include "session/session.h"

/** Bytes that sealing adds. */
#define MEMSESS_SEAL_OVERHEAD 52

typedef enum {
    MEMSESS_SEAL_OK,
    MEMSESS_SEAL_NONE,    /**< it is not sealed */
    MEMSESS_SEAL_FOREIGN, /**< it is of another storage key */
    MEMSESS_SEAL_UNKNOWN, /**< none of our secrets sealed it */
    MEMSESS_SEAL_BROKEN,  /**< altered, or of another kind of item */
    MEMSESS_SEAL_FAILED   /**< it cannot be told: MEMSESS_CRYPTO */
} memsess_seal_status_t;

/**
 * Seals with the first secret.
 * @param secrets NULL: nothing is sealed, and @a data itself comes back
 * @param what the kind of item under that key, "record" for instance: at most 32 bytes
 */
apr_status_t memsess_seal(const memsess_secrets_t *secrets, const memsess_key_t *key,
                          const char *what, char *data, apr_size_t len, char **sealed,
                          apr_size_t *sealed_len, apr_pool_t *p);

/**
 * Opens what memsess_seal made for the same key and kind, with any of the secrets.
 * @param secrets NULL: @a data itself comes back
 * @param aged receives whether it was another secret than the first
 */
memsess_seal_status_t memsess_unseal(const memsess_secrets_t *secrets, const memsess_key_t *key,
                                     const char *what, char *data, apr_size_t len, char **opened,
                                     apr_size_t *opened_len, int *aged, apr_pool_t *p);

/** Whether bytes are sealed for that key, or not sealed at all. This tells the mistakes of an
 * honest server, not those of an attacker. */
int memsess_seal_is_of(const char *data, apr_size_t len, const memsess_key_t *key);

/**
 * Seals an id so that only a client that knows the id of @a key can open it: for a client that
 * comes with an id that was renewed. An attacker who only reads memcached learns nothing, with or
 * without secrets.
 */
apr_status_t memsess_seal_id(const memsess_key_t *key, const char *id,
                             unsigned char sealed[MEMSESS_SEALED_ID_BYTES]);

/** Opens it: APR_EMISMATCH unless it is as memsess_seal_id made it for that key. */
apr_status_t memsess_unseal_id(const memsess_key_t *key,
                               const unsigned char sealed[MEMSESS_SEALED_ID_BYTES],
                               char id[MEMSESS_ID_LEN + 1]);

/** For logs: what a status means. */
const char *memsess_seal_words(memsess_seal_status_t status);

#endif
