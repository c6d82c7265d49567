/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file base/memo.h
 * @brief Digests that were made lately, by what they are of: a client asks several times in a row,
 *        on whatever connections. Threads share it, and none waits for another.
 */
#ifndef MEMSESS_MEMO_H
#define MEMSESS_MEMO_H

#include "apr.h"

/** The longest digest, in bytes, and the longest text that one is remembered of. */
#define MEMSESS_MEMO_DIGEST 64
#define MEMSESS_MEMO_TEXT 108

typedef struct memsess_memo_t memsess_memo_t;

/**
 * For so many digests, of about 200 bytes each; free() ends it.
 * @param seed random, so that nobody outside can tell which texts push each other out
 * @return NULL where there is no memory
 */
memsess_memo_t *memsess_memo_create(unsigned slots, apr_uint64_t seed);

/** Whether the digest of this text is there; if so, its first @a digest_len bytes. */
int memsess_memo_get(memsess_memo_t *memo, const void *text, apr_size_t len,
                     unsigned char *digest, apr_size_t digest_len);

/** Remembers it, in the place of another one; a text too long, or a slot in use, is passed over. */
void memsess_memo_put(memsess_memo_t *memo, const void *text, apr_size_t len,
                      const unsigned char *digest, apr_size_t digest_len);

#endif
