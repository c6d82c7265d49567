/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "base/crypto.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <string.h>

#include "apr_thread_proc.h"
#include "base/error.h"
#include "base/memo.h"

/* A call of the random generator costs much the same for few bytes and for many. */
#define NONCES_AT_ONCE 64

/* What a thread keeps. It is made in the process that uses it, since a copy would repeat nonces.
 * Keys are not compared in constant time: no client can choose one. */
typedef struct contexts_t {
    EVP_MD_CTX *digest;
    EVP_MAC_CTX *mac;
    EVP_CIPHER_CTX *gcm;
    unsigned char gcm_key[MEMSESS_SUBKEY_BYTES];
    int has_gcm_key;
    struct {
        unsigned char bytes[NONCES_AT_ONCE * MEMSESS_NONCE_BYTES];
        unsigned left;
    } nonces;
} contexts_t;

/* These live until the process ends. */
static EVP_MD *sha512;
static EVP_MAC *hmac;
static EVP_CIPHER *aes_gcm;
static apr_threadkey_t *contexts_key;
static memsess_memo_t *memo; /* NULL: nothing is remembered */

static void contexts_free(void *data)
{
    contexts_t *contexts = data;

    EVP_MD_CTX_free(contexts->digest);
    EVP_MAC_CTX_free(contexts->mac);
    EVP_CIPHER_CTX_free(contexts->gcm);
    OPENSSL_clear_free(contexts, sizeof(*contexts));
}

static contexts_t *contexts_make(void)
{
    char sha256[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256, 0),
        OSSL_PARAM_construct_end()};
    contexts_t *contexts = OPENSSL_zalloc(sizeof(*contexts));

    if (!contexts) {
        return NULL;
    }
    contexts->digest = EVP_MD_CTX_new();
    contexts->mac = EVP_MAC_CTX_new(hmac);
    contexts->gcm = EVP_CIPHER_CTX_new();
    if (!contexts->digest || !contexts->mac || !EVP_MAC_CTX_set_params(contexts->mac, params)
        || !contexts->gcm || !EVP_CipherInit_ex2(contexts->gcm, aes_gcm, NULL, NULL, 1, NULL)) {
        contexts_free(contexts);
        contexts = NULL;
    }
    return contexts;
}

/* This thread's; NULL: there is no memory. */
static contexts_t *contexts_get(void)
{
    void *contexts = NULL;

    if (apr_threadkey_private_get(&contexts, contexts_key) == APR_SUCCESS && !contexts) {
        contexts = contexts_make();
        apr_threadkey_private_set(contexts, contexts_key);
    }
    return contexts;
}

apr_status_t memsess_sha256(const void *data, apr_size_t len,
                            unsigned char digest[MEMSESS_SHA256_BYTES])
{
    return EVP_Digest(data, len, digest, NULL, EVP_sha256(), NULL) ? APR_SUCCESS : MEMSESS_CRYPTO;
}

/* -- What is remembered -------------------------------------------------------------------------
 *
 * A text of the memo says what is digested, and under which key.
 */
enum { TEXT_SHA512 = 1, TEXT_HMAC };

typedef struct text_t {
    unsigned char data[MEMSESS_MEMO_TEXT];
    apr_size_t len; /* 0: not to be remembered, or too long for it */
} text_t;

static void text_begin(text_t *text, unsigned char what, int is_wanted)
{
    text->data[0] = what;
    text->len = memo && is_wanted ? 1 : 0;
}

static void text_add(text_t *text, const void *data, apr_size_t len)
{
    if (!text->len || len > sizeof(text->data) - text->len) {
        text->len = 0;
        return;
    }
    memcpy(text->data + text->len, data, len);
    text->len += len;
}

static int recall(const text_t *text, unsigned char *digest, apr_size_t len)
{
    return text->len && memsess_memo_get(memo, text->data, text->len, digest, len);
}

static void remember(const text_t *text, const unsigned char *digest, apr_size_t len)
{
    if (text->len) {
        memsess_memo_put(memo, text->data, text->len, digest, len);
    }
}

apr_status_t memsess_crypto_remember(unsigned digests)
{
    apr_uint64_t seed;
    apr_status_t rv = memsess_random((unsigned char *)&seed, sizeof(seed));

    if (rv == APR_SUCCESS && !memo) {
        memo = memsess_memo_create(digests, seed);
        rv = memo ? APR_SUCCESS : APR_ENOMEM;
    }
    return rv;
}

/* -- Digests ----------------------------------------------------------------------------------- */

apr_status_t memsess_sha512(const char *const strings[], unsigned n,
                            unsigned char digest[MEMSESS_SHA512_BYTES])
{
    contexts_t *c;
    text_t text;
    unsigned i;
    int ok;

    text_begin(&text, TEXT_SHA512, 1);
    for (i = 0; i < n; i++) {
        text_add(&text, strings[i], strlen(strings[i]) + (i + 1 < n));
    }
    if (recall(&text, digest, MEMSESS_SHA512_BYTES)) {
        return APR_SUCCESS;
    }
    c = contexts_get();
    ok = c && EVP_DigestInit_ex2(c->digest, sha512, NULL);
    for (i = 0; ok && i < n; i++) {
        ok = EVP_DigestUpdate(c->digest, strings[i], strlen(strings[i]) + (i + 1 < n));
    }
    if (!ok || !EVP_DigestFinal_ex(c->digest, digest, NULL)) {
        return MEMSESS_CRYPTO;
    }
    remember(&text, digest, MEMSESS_SHA512_BYTES);
    return APR_SUCCESS;
}

apr_status_t memsess_hmac(const unsigned char *key, apr_size_t key_len, const void *data,
                          apr_size_t len, unsigned char mac[MEMSESS_MAC_BYTES])
{
    const contexts_t *c;
    size_t mac_len;
    text_t text;

    text_begin(&text, TEXT_HMAC, key_len == MEMSESS_SUBKEY_BYTES);
    text_add(&text, key, key_len);
    text_add(&text, data, len);
    if (recall(&text, mac, MEMSESS_MAC_BYTES)) {
        return APR_SUCCESS;
    }
    c = contexts_get();
    if (!c || !EVP_MAC_init(c->mac, key, key_len, NULL) || !EVP_MAC_update(c->mac, data, len)
        || !EVP_MAC_final(c->mac, mac, &mac_len, MEMSESS_MAC_BYTES)) {
        return MEMSESS_CRYPTO;
    }
    remember(&text, mac, MEMSESS_MAC_BYTES);
    return APR_SUCCESS;
}

apr_status_t memsess_crypto_init(apr_pool_t *p)
{
    apr_status_t rv = apr_threadkey_private_create(&contexts_key, contexts_free, p);

    sha512 = EVP_MD_fetch(NULL, "SHA512", NULL);
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    aes_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    return rv == APR_SUCCESS && !(sha512 && hmac && aes_gcm) ? MEMSESS_CRYPTO : rv;
}

apr_status_t memsess_hkdf(const void *secret, apr_size_t secret_len, const void *salt,
                          apr_size_t salt_len, const void *info, apr_size_t info_len,
                          unsigned char *out, apr_size_t out_len)
{
    char sha256[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, sha256, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)secret, secret_len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt, salt_len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)info, info_len),
        OSSL_PARAM_construct_end()};
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    int ok = context && EVP_KDF_derive(context, out, out_len, params) > 0;

    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return ok ? APR_SUCCESS : MEMSESS_CRYPTO;
}

apr_status_t memsess_subkey(const unsigned char key[MEMSESS_SUBKEY_BYTES],
                            const unsigned char info[MEMSESS_SUBKEY_BYTES],
                            unsigned char subkey[MEMSESS_SUBKEY_BYTES])
{
    unsigned char block[MEMSESS_SUBKEY_BYTES + 1];

    memcpy(block, info, MEMSESS_SUBKEY_BYTES);
    block[MEMSESS_SUBKEY_BYTES] = 1;
    return memsess_hmac(key, MEMSESS_SUBKEY_BYTES, block, sizeof(block), subkey);
}

/* To be finished; NULL if something failed. */
static EVP_CIPHER_CTX *gcm_run(int seals, const unsigned char *key, const unsigned char *nonce,
                               const void *aad, apr_size_t aad_len, const void *data,
                               apr_size_t len, unsigned char *out)
{
    contexts_t *c = contexts_get();
    int n;

    if (!c || aad_len > INT_MAX || len > INT_MAX) {
        return NULL;
    }
    if (c->has_gcm_key && !memcmp(c->gcm_key, key, sizeof(c->gcm_key))) {
        key = NULL; /* a request opens and seals with one key */
    }
    else {
        memcpy(c->gcm_key, key, sizeof(c->gcm_key));
    }
    c->has_gcm_key = EVP_CipherInit_ex2(c->gcm, NULL, key, nonce, seals, NULL);
    return c->has_gcm_key && EVP_CipherUpdate(c->gcm, NULL, &n, aad, (int)aad_len)
                   && EVP_CipherUpdate(c->gcm, out, &n, data, (int)len) ? c->gcm : NULL;
}

apr_status_t memsess_gcm_seal(const unsigned char key[MEMSESS_SUBKEY_BYTES],
                              const unsigned char nonce[MEMSESS_NONCE_BYTES], const void *aad,
                              apr_size_t aad_len, const void *data, apr_size_t len,
                              unsigned char *out, unsigned char tag[MEMSESS_TAG_BYTES])
{
    EVP_CIPHER_CTX *gcm = gcm_run(1, key, nonce, aad, aad_len, data, len, out);
    int n;

    return gcm && EVP_CipherFinal_ex(gcm, out + len, &n)
                   && EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_GET_TAG, MEMSESS_TAG_BYTES, tag) > 0
               ? APR_SUCCESS : MEMSESS_CRYPTO;
}

apr_status_t memsess_gcm_open(const unsigned char key[MEMSESS_SUBKEY_BYTES],
                              const unsigned char nonce[MEMSESS_NONCE_BYTES], const void *aad,
                              apr_size_t aad_len, const void *data, apr_size_t len,
                              const unsigned char tag[MEMSESS_TAG_BYTES], unsigned char *out)
{
    EVP_CIPHER_CTX *gcm = gcm_run(0, key, nonce, aad, aad_len, data, len, out);
    int n;

    if (!gcm) {
        return MEMSESS_CRYPTO;
    }
    if (EVP_CIPHER_CTX_ctrl(gcm, EVP_CTRL_AEAD_SET_TAG, MEMSESS_TAG_BYTES, (void *)tag) > 0
        && EVP_CipherFinal_ex(gcm, out + len, &n) > 0) {
        return APR_SUCCESS;
    }
    memsess_cleanse(out, len);
    return APR_EMISMATCH;
}

apr_status_t memsess_random(unsigned char *out, apr_size_t len)
{
    return len <= INT_MAX && RAND_bytes(out, (int)len) == 1 ? APR_SUCCESS : MEMSESS_CRYPTO;
}

apr_status_t memsess_nonce(unsigned char nonce[MEMSESS_NONCE_BYTES])
{
    contexts_t *c = contexts_get();

    if (!c) {
        return APR_ENOMEM;
    }
    if (!c->nonces.left) {
        apr_status_t rv = memsess_random(c->nonces.bytes, sizeof(c->nonces.bytes));

        if (rv != APR_SUCCESS) {
            return rv;
        }
        c->nonces.left = NONCES_AT_ONCE;
    }
    memcpy(nonce, c->nonces.bytes + --c->nonces.left * MEMSESS_NONCE_BYTES, MEMSESS_NONCE_BYTES);
    return APR_SUCCESS;
}

int memsess_equal(const void *a, const void *b, apr_size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

void memsess_cleanse(void *data, apr_size_t len)
{
    OPENSSL_cleanse(data, len);
}
