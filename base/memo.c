/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "base/memo.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "apr_atomic.h"

/* A thread that finds a slot in use does without it: that is faster than waiting. */
typedef struct slot_t {
    volatile apr_uint32_t in_use;
    apr_uint32_t len; /* of the text; 0: the slot is empty */
    apr_uint64_t hash;
    unsigned char text[MEMSESS_MEMO_TEXT], digest[MEMSESS_MEMO_DIGEST];
} slot_t;

struct memsess_memo_t {
    apr_uint64_t seed;
    unsigned n;
    slot_t slots[];
};

memsess_memo_t *memsess_memo_create(unsigned slots, apr_uint64_t seed)
{
    memsess_memo_t *memo = calloc(1, sizeof(*memo) + slots * sizeof(memo->slots[0]));

    if (memo) {
        memo->n = slots;
        memo->seed = seed;
    }
    return memo;
}

/* The slot of a text, for this thread alone; NULL: it is in use. */
static slot_t *slot_take(memsess_memo_t *memo, const void *text, apr_size_t len,
                         apr_uint64_t *hash)
{
    slot_t *slot;

    if (!len || len > sizeof(slot->text)) {
        return NULL;
    }
    *hash = XXH3_64bits_withSeed(text, len, memo->seed);
    slot = &memo->slots[*hash % memo->n];
    return apr_atomic_cas32(&slot->in_use, 1, 0) == 0 ? slot : NULL;
}

static void slot_give(slot_t *slot)
{
    apr_atomic_xchg32(&slot->in_use, 0);
}

int memsess_memo_get(memsess_memo_t *memo, const void *text, apr_size_t len,
                     unsigned char *digest, apr_size_t digest_len)
{
    apr_uint64_t hash;
    slot_t *slot = slot_take(memo, text, len, &hash);
    int is_there = 0;

    if (slot) {
        is_there = slot->hash == hash && slot->len == len && !memcmp(slot->text, text, len);
        if (is_there) {
            memcpy(digest, slot->digest, digest_len);
        }
        slot_give(slot);
    }
    return is_there;
}

void memsess_memo_put(memsess_memo_t *memo, const void *text, apr_size_t len,
                      const unsigned char *digest, apr_size_t digest_len)
{
    apr_uint64_t hash;
    slot_t *slot = slot_take(memo, text, len, &hash);

    if (slot) {
        slot->hash = hash;
        slot->len = (apr_uint32_t)len;
        memcpy(slot->text, text, len);
        memcpy(slot->digest, digest, digest_len);
        slot_give(slot);
    }
}
