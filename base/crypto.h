/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/crypto.h
 * @brief All calls of libcrypto. Algorithms are looked up once in a process, contexts are made once
 *        for each thread: a request pays for the work alone.
 */
#ifndef MEMSESS_CRYPTO_H
#define MEMSESS_CRYPTO_H

#include "apr_errno.h"
#include "apr_pools.h"

#define MEMSESS_SHA256_BYTES 32
#define MEMSESS_SHA512_BYTES 64
#define MEMSESS_MAC_BYTES 32
/** The length of keys that memsess_subkey makes, and that it and memsess_gcm_* take. */
#define MEMSESS_SUBKEY_BYTES 32
#define MEMSESS_NONCE_BYTES 12
#define MEMSESS_TAG_BYTES 16

/** To be called once in a process, before its threads. Functions "at any time" do not need it. */
apr_status_t memsess_crypto_init(apr_pool_t *p);

/**
 * From now on @a digests results of memsess_sha512, memsess_hmac and memsess_subkey are remembered,
 * for all threads, until the process ends. After memsess_crypto_init.
 */
apr_status_t memsess_crypto_remember(unsigned digests);

/** At any time; not for every request. */
apr_status_t memsess_sha256(const void *data, apr_size_t len,
                            unsigned char digest[MEMSESS_SHA256_BYTES]);

/** Of several strings, with the NUL of each but the last: "a" and "bc" are not "ab" and "c". */
apr_status_t memsess_sha512(const char *const strings[], unsigned n,
                            unsigned char digest[MEMSESS_SHA512_BYTES]);

/** HMAC-SHA256. */
apr_status_t memsess_hmac(const unsigned char *key, apr_size_t key_len, const void *data,
                          apr_size_t len, unsigned char mac[MEMSESS_MAC_BYTES]);

/** HKDF-SHA256 (RFC 5869), extract and expand. At any time; not for every request. */
apr_status_t memsess_hkdf(const void *secret, apr_size_t secret_len, const void *salt,
                          apr_size_t salt_len, const void *info, apr_size_t info_len,
                          unsigned char *out, apr_size_t out_len);

/** The expanding half of HKDF-SHA256, for one block. */
apr_status_t memsess_subkey(const unsigned char key[MEMSESS_SUBKEY_BYTES],
                            const unsigned char info[MEMSESS_SUBKEY_BYTES],
                            unsigned char subkey[MEMSESS_SUBKEY_BYTES]);

/** AES-256-GCM; @a out has room for @a len bytes. */
apr_status_t memsess_gcm_seal(const unsigned char key[MEMSESS_SUBKEY_BYTES],
                              const unsigned char nonce[MEMSESS_NONCE_BYTES], const void *aad,
                              apr_size_t aad_len, const void *data, apr_size_t len,
                              unsigned char *out, unsigned char tag[MEMSESS_TAG_BYTES]);

/** The way back. Unless all is as it was sealed, it is APR_EMISMATCH, and @a out is cleared;
 * MEMSESS_CRYPTO if that cannot be told. */
apr_status_t memsess_gcm_open(const unsigned char key[MEMSESS_SUBKEY_BYTES],
                              const unsigned char nonce[MEMSESS_NONCE_BYTES], const void *aad,
                              apr_size_t aad_len, const void *data, apr_size_t len,
                              const unsigned char tag[MEMSESS_TAG_BYTES], unsigned char *out);

/** Random bytes, fit for keys. At any time. */
apr_status_t memsess_random(unsigned char *out, apr_size_t len);

/** Random bytes that need not stay secret: nonces, tokens. Each thread has some ready. */
apr_status_t memsess_nonce(unsigned char nonce[MEMSESS_NONCE_BYTES]);

/** Whether they are equal, in a time that does not depend on the bytes. At any time. */
int memsess_equal(const void *a, const void *b, apr_size_t len);

/** Clears the memory. At any time. */
void memsess_cleanse(void *data, apr_size_t len);

#endif
