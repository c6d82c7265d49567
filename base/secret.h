/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/secret.h
 * @brief Where secrets come from, and the keys that are derived from them. Nothing here is ever
 *        logged.
 */
#ifndef MEMSESS_SECRET_H
#define MEMSESS_SECRET_H

#include "apr_pools.h"
#include "apr_time.h"
#include "base/crypto.h"

/** The least and the most bytes of a secret, without the newlines at its end. */
#define MEMSESS_SECRET_LEAST 32
#define MEMSESS_SECRET_MOST 4096
/** How many secrets may be accepted at the same time. */
#define MEMSESS_SECRETS_MAX 8
#define MEMSESS_SECRET_ID_BYTES 4

/** A secret as its source gives it. */
typedef struct memsess_raw_secret_t {
    unsigned char bytes[MEMSESS_SECRET_MOST + 2]; /* one more than allowed, and a CR or NL */
    apr_size_t len;
} memsess_raw_secret_t;

/** The keys made of one secret for one namespace. */
typedef struct memsess_secret_t {
    unsigned char cookie[MEMSESS_SUBKEY_BYTES]; /**< signs cookies */
    unsigned char seal[MEMSESS_SUBKEY_BYTES];   /**< makes the keys of records */
    unsigned char user[MEMSESS_SUBKEY_BYTES];   /**< makes digests that stand for a user's name */
    unsigned char id[MEMSESS_SECRET_ID_BYTES];  /**< tells secrets apart, reveals nothing of them */
} memsess_secret_t;

/** The first signs and seals, all are accepted. */
typedef struct memsess_secrets_t {
    unsigned n;
    memsess_secret_t secret[MEMSESS_SECRETS_MAX];
} memsess_secrets_t;

/** What is wrong with the form of "file:/path" or "exec:/path [argument...]"; NULL: nothing. */
const char *memsess_secret_syntax(const char *source);

/**
 * Reads a file of secrets, a regular one that not everybody may read or write.
 * @param fix what to do if there is no such file
 * @return NULL, or what is wrong and how to fix it, in words from @a p
 */
const char *memsess_secret_file(const char *path, const char *fix, void *bytes, apr_size_t size,
                                apr_size_t *len, apr_pool_t *p);

/**
 * Reads a source. A program that has not ended after @a wait is killed, with what it started.
 * @return NULL, or what is wrong and how to fix it, in words from @a p
 */
const char *memsess_secret_read(const char *source, apr_interval_time_t wait,
                                memsess_raw_secret_t *raw, apr_pool_t *p);

/** Memory for something secret, all zero at first, that is wiped when @a p is cleared. */
void *memsess_secret_memory(apr_size_t len, apr_pool_t *p);

/** An empty set, in such memory. */
memsess_secrets_t *memsess_secrets_make(apr_pool_t *p);

/** Adds a secret, for that namespace. */
apr_status_t memsess_secrets_add(memsess_secrets_t *secrets, const memsess_raw_secret_t *raw,
                                 const char *ns);

/** What became of the first secret, which signs. */
typedef enum {
    MEMSESS_SECRET_SAME,
    MEMSESS_SECRET_ROTATED, /**< another one is the first; the one before is still accepted */
    MEMSESS_SECRET_REPLACED /**< another one is the first; the one before is not accepted */
} memsess_rotation_t;

/** Compares two sets for one namespace, each with one secret at least. */
memsess_rotation_t memsess_secrets_compare(const memsess_secrets_t *before,
                                           const memsess_secrets_t *now);

#endif
