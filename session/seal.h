/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file session/seal.h
 * @brief What lies in memcached, encrypted and authenticated: AES-256-GCM, under a key of its own
 *        for every session, bound to the storage key and to what kind of item it is.
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
    MEMSESS_SEAL_FAILED   /**< there is no telling: MEMSESS_CRYPTO */
} memsess_seal_status_t;

/**
 * Seals with the first of the secrets.
 * @param secrets NULL: nothing is sealed, and @a data itself comes back
 * @param what kind of item of that key it is, "record" for instance: at most 32 bytes
 */
apr_status_t memsess_seal(const memsess_secrets_t *secrets, const memsess_key_t *key,
                          const char *what, char *data, apr_size_t len, char **sealed,
                          apr_size_t *sealed_len, apr_pool_t *p);

/**
 * Opens what memsess_seal made of the same key and kind, with any of the secrets.
 * @param secrets NULL: @a data itself comes back
 * @param aged receives whether it was not the first
 */
memsess_seal_status_t memsess_unseal(const memsess_secrets_t *secrets, const memsess_key_t *key,
                                     const char *what, char *data, apr_size_t len, char **opened,
                                     apr_size_t *opened_len, int *aged, apr_pool_t *p);

/** Whether bytes can be something sealed for that key: they are, or nothing sealed at all. To be
 * believed of an honest server's mistakes, not of an attacker. */
int memsess_seal_is_of(const char *data, apr_size_t len, const memsess_key_t *key);

/**
 * Seals an id so that only who knows the id of @a key can open it: for whoever comes with an id
 * that was renewed. Who reads memcached alone learns nothing, be there secrets or not.
 */
apr_status_t memsess_seal_id(const memsess_key_t *key, const char *id,
                             unsigned char sealed[MEMSESS_SEALED_ID_BYTES]);

/** Opens it: APR_EMISMATCH unless it is as memsess_seal_id made it for that key. */
apr_status_t memsess_unseal_id(const memsess_key_t *key,
                               const unsigned char sealed[MEMSESS_SEALED_ID_BYTES],
                               char id[MEMSESS_ID_LEN + 1]);

/** For logs: what a status says of the item. */
const char *memsess_seal_words(memsess_seal_status_t status);

#endif
