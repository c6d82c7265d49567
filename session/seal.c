/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "session/seal.h"

#include <string.h>

#include "base/error.h"

/*
 *   0  "MSE" and the version
 *   4  which secret, 4 bytes
 *   8  first half of the storage key
 *  24  nonce, random
 *  36  the sealed bytes
 *  ..  tag, 16 bytes
 *
 * The bytes before the sealed ones, the whole storage key and the kind of item are authenticated
 * with them. A seal of another version counts as none: nothing vouches for that number, so it must
 * not be believed. So before a version that seals in another way, there has to be one that only
 * opens such seals.
 *
 * Each session has a key of its own, so a nonce need not be unique beyond one session.
 */
#define VERSION 1
#define SECRET_AT 4
#define KEY_AT 8
#define KEY_HALF 16
#define NONCE_AT 24
#define HEADER 36
#define WHAT_MAX 32
#define AAD_MAX (HEADER + MEMSESS_KEY_BYTES + WHAT_MAX)

static const char magic[] = {'M', 'S', 'E', VERSION};

/* The additional data that are authenticated. */
static apr_size_t put_aad(const void *header, const memsess_key_t *key, const char *what,
                          unsigned char aad[AAD_MAX])
{
    apr_size_t len = strlen(what);

    memcpy(aad, header, HEADER);
    memcpy(aad + HEADER, key->digest, MEMSESS_KEY_BYTES);
    memcpy(aad + HEADER + MEMSESS_KEY_BYTES, what, len < WHAT_MAX ? len : WHAT_MAX);
    return HEADER + MEMSESS_KEY_BYTES + (len < WHAT_MAX ? len : WHAT_MAX);
}

apr_status_t memsess_seal(const memsess_secrets_t *secrets, const memsess_key_t *key,
                          const char *what, char *data, apr_size_t len, char **sealed,
                          apr_size_t *sealed_len, apr_pool_t *p)
{
    unsigned char aad[AAD_MAX], subkey[MEMSESS_SUBKEY_BYTES], *out;
    apr_status_t rv;

    if (!secrets) {
        *sealed = data;
        *sealed_len = len;
        return APR_SUCCESS;
    }
    out = apr_palloc(p, len + MEMSESS_SEAL_OVERHEAD);
    memcpy(out, magic, sizeof(magic));
    memcpy(out + SECRET_AT, secrets->secret[0].id, MEMSESS_SECRET_ID_BYTES);
    memcpy(out + KEY_AT, key->digest, KEY_HALF);
    rv = memsess_nonce(out + NONCE_AT);
    if (rv == APR_SUCCESS) {
        rv = memsess_subkey(secrets->secret[0].seal, key->material, subkey);
    }
    if (rv == APR_SUCCESS) {
        rv = memsess_gcm_seal(subkey, out + NONCE_AT, aad, put_aad(out, key, what, aad), data, len,
                              out + HEADER, out + HEADER + len);
    }
    memsess_cleanse(subkey, sizeof(subkey));
    *sealed = (char *)out;
    *sealed_len = len + MEMSESS_SEAL_OVERHEAD;
    return rv;
}

/* -- An id under another one ------------------------------------------------------------------- */

typedef char memsess_sealed_id_fits[MEMSESS_SEALED_ID_BYTES == MEMSESS_NONCE_BYTES + MEMSESS_ID_LEN
                                                                   + MEMSESS_TAG_BYTES ? 1 : -1];

/* The key is made of the old id alone, so that it works with and without secrets. */
static apr_status_t key_of_next(const memsess_key_t *key,
                                unsigned char subkey[MEMSESS_SUBKEY_BYTES])
{
    static const unsigned char info[MEMSESS_SUBKEY_BYTES + 1] = "memsess: the id that follows it.";

    return memsess_subkey(key->material, info, subkey);
}

apr_status_t memsess_seal_id(const memsess_key_t *key, const char *id,
                             unsigned char sealed[MEMSESS_SEALED_ID_BYTES])
{
    unsigned char subkey[MEMSESS_SUBKEY_BYTES], *text = sealed + MEMSESS_NONCE_BYTES;
    apr_status_t rv = key_of_next(key, subkey);

    if (rv == APR_SUCCESS && (rv = memsess_nonce(sealed)) == APR_SUCCESS) {
        rv = memsess_gcm_seal(subkey, sealed, key->digest, sizeof(key->digest), id, MEMSESS_ID_LEN,
                              text, text + MEMSESS_ID_LEN);
    }
    memsess_cleanse(subkey, sizeof(subkey));
    return rv;
}

apr_status_t memsess_unseal_id(const memsess_key_t *key,
                               const unsigned char sealed[MEMSESS_SEALED_ID_BYTES],
                               char id[MEMSESS_ID_LEN + 1])
{
    unsigned char subkey[MEMSESS_SUBKEY_BYTES];
    const unsigned char *text = sealed + MEMSESS_NONCE_BYTES;
    apr_status_t rv = key_of_next(key, subkey);

    if (rv == APR_SUCCESS) {
        rv = memsess_gcm_open(subkey, sealed, key->digest, sizeof(key->digest), text,
                              MEMSESS_ID_LEN, text + MEMSESS_ID_LEN, (unsigned char *)id);
    }
    memsess_cleanse(subkey, sizeof(subkey));
    id[MEMSESS_ID_LEN] = '\0';
    return rv == APR_SUCCESS && !memsess_id_ok(id, MEMSESS_ID_LEN) ? APR_EMISMATCH : rv;
}

/* -- Opening ----------------------------------------------------------------------------------- */

static int is_sealed(const char *data, apr_size_t len)
{
    return len >= MEMSESS_SEAL_OVERHEAD && memcmp(data, magic, sizeof(magic)) == 0;
}

memsess_seal_status_t memsess_unseal(const memsess_secrets_t *secrets, const memsess_key_t *key,
                                     const char *what, char *data, apr_size_t len, char **opened,
                                     apr_size_t *opened_len, int *aged, apr_pool_t *p)
{
    memsess_seal_status_t status = MEMSESS_SEAL_UNKNOWN;
    const unsigned char *in = (const unsigned char *)data;
    unsigned char aad[AAD_MAX], subkey[MEMSESS_SUBKEY_BYTES], *out;
    apr_size_t out_len = len - MEMSESS_SEAL_OVERHEAD, aad_len;
    apr_status_t rv;
    unsigned i;

    *aged = 0;
    if (!secrets) {
        *opened = data;
        *opened_len = len;
        return MEMSESS_SEAL_OK;
    }
    if (!is_sealed(data, len)) {
        return MEMSESS_SEAL_NONE;
    }
    if (memcmp(in + KEY_AT, key->digest, KEY_HALF) != 0) {
        return MEMSESS_SEAL_FOREIGN;
    }
    out = apr_palloc(p, out_len + 1);
    aad_len = put_aad(in, key, what, aad);
    for (i = 0; i < secrets->n && status != MEMSESS_SEAL_OK; i++) {
        const memsess_secret_t *secret = &secrets->secret[i];

        if (memcmp(in + SECRET_AT, secret->id, MEMSESS_SECRET_ID_BYTES) != 0) {
            continue;
        }
        rv = memsess_subkey(secret->seal, key->material, subkey);
        if (rv == APR_SUCCESS) {
            rv = memsess_gcm_open(subkey, in + NONCE_AT, aad, aad_len, in + HEADER, out_len,
                                  in + HEADER + out_len, out);
        }
        status = rv == APR_SUCCESS      ? MEMSESS_SEAL_OK
                 : rv == MEMSESS_CRYPTO ? MEMSESS_SEAL_FAILED : MEMSESS_SEAL_BROKEN;
        *aged = i > 0;
    }
    memsess_cleanse(subkey, sizeof(subkey));
    out[out_len] = '\0';
    *opened = (char *)out;
    *opened_len = out_len;
    return status;
}

int memsess_seal_is_of(const char *data, apr_size_t len, const memsess_key_t *key)
{
    return !is_sealed(data, len) || memcmp(data + KEY_AT, key->digest, KEY_HALF) == 0;
}

const char *memsess_seal_words(memsess_seal_status_t status)
{
    switch (status) {
    case MEMSESS_SEAL_OK:
        return "sealed by us";
    case MEMSESS_SEAL_NONE:
        return "not sealed, or not by mod_memsess";
    case MEMSESS_SEAL_FOREIGN:
        return "another session's";
    case MEMSESS_SEAL_UNKNOWN:
        return "sealed with a secret that MemSessSecret does not name";
    case MEMSESS_SEAL_FAILED:
        return "unreadable: cryptography failed (libcrypto)";
    default:
        return "altered since it was sealed";
    }
}
