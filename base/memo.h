/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/memo.h
 * @brief Digests that were made lately, by their input: a client asks several times in a row, on
 *        several connections. Threads share the memory, and none waits for another.
 */
#ifndef MEMSESS_MEMO_H
#define MEMSESS_MEMO_H

#include "apr.h"

/** The longest digest, and the longest text whose digest is remembered, in bytes. */
#define MEMSESS_MEMO_DIGEST 64
#define MEMSESS_MEMO_TEXT 108

typedef struct memsess_memo_t memsess_memo_t;

/**
 * Makes room for the digests of @a slots texts, about 200 bytes for each; free() ends it.
 * @param seed random, so that nobody outside can tell which texts push each other out
 * @return NULL where there is no memory
 */
memsess_memo_t *memsess_memo_create(unsigned slots, apr_uint64_t seed);

/** Whether the digest of this text is remembered; if so, its first @a digest_len bytes. */
int memsess_memo_get(memsess_memo_t *memo, const void *text, apr_size_t len,
                     unsigned char *digest, apr_size_t digest_len);

/** Remembers it in place of another one; does nothing if the text is too long or the slot is in
 * use. */
void memsess_memo_put(memsess_memo_t *memo, const void *text, apr_size_t len,
                      const unsigned char *digest, apr_size_t digest_len);

#endif
