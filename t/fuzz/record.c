/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* A record as a memcached may hold it. The first byte says whether key and hash are corrected,
 * since no mutation would get past them otherwise. A record that is believed is a sound session,
 * and encodes to an equal one. */

#include "fuzz.h"
#include "session/record.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* The same values as in session/record.c. */
#define KEY_AT 8
#define HASH_AT 92
#define HEADER 96

/* The limit for unpacking a compressed record. */
#define UNPACK 65536

static void put_right(unsigned char *record, size_t len, const memsess_key_t *key)
{
    XXH64_hash_t hash;
    int i;

    if (len >= HEADER) {
        memcpy(record, "MSS\2", 4);
        memcpy(record + KEY_AT, key->digest, 16);
        hash = XXH3_64bits(record, HASH_AT) ^ XXH3_64bits(record + HEADER, len - HEADER);
        for (i = 0; i < 4; i++) {
            record[HASH_AT + i] = (unsigned char)(hash >> (24 - 8 * i));
        }
    }
}

static int are_equal(const memsess_session_t *a, const memsess_session_t *b)
{
    int i;

    if (strcmp(a->public_id, b->public_id) || a->revision != b->revision
        || a->created != b->created || a->used != b->used || a->written != b->written
        || a->renewed != b->renewed || a->idle != b->idle || a->ended != b->ended
        || a->moved != b->moved || a->tells != b->tells || a->unused != b->unused
        || a->placement.n != b->placement.n
        || memcmp(a->placement.tag, b->placement.tag, MEMSESS_TAG_LEN * (size_t)a->placement.n)
        || memcmp(a->placement.clock, b->placement.clock, 4 * (size_t)a->placement.n)
        || a->attrs->nelts != b->attrs->nelts
        || memcmp(&a->binding, &b->binding, sizeof(a->binding))
        || (a->tells && memcmp(a->moved_to, b->moved_to, sizeof(a->moved_to)))) {
        return 0;
    }
    for (i = 0; i < a->attrs->nelts; i++) {
        const memsess_attr_t *x = &APR_ARRAY_IDX(a->attrs, i, memsess_attr_t);
        const memsess_attr_t *y = &APR_ARRAY_IDX(b->attrs, i, memsess_attr_t);

        if (strcmp(x->name, y->name) || x->len != y->len || memcmp(x->value, y->value, x->len)) {
            return 0;
        }
    }
    return 1;
}

static void check_again(const memsess_session_t *session, const memsess_key_t *key,
                        size_t compress)
{
    memsess_key_t other = *key;
    memsess_session_t *again;
    apr_size_t len;
    char *data;

    HOLDS(memsess_record_encode(session, key, compress, &data, &len, fuzz_pool) == APR_SUCCESS);
    HOLDS(memsess_record_is_of(data, len, key));
    HOLDS(memsess_record_decode(data, len, 0, key, UNPACK, &again, fuzz_pool) == MEMSESS_RECORD_OK);
    HOLDS(are_equal(session, again));
    other.digest[0] ^= 1;
    HOLDS(memsess_record_decode(data, len, 0, &other, UNPACK, &again, fuzz_pool)
          == MEMSESS_RECORD_FOREIGN);
}

void fuzz(const unsigned char *data, size_t len)
{
    memsess_key_t key;
    memsess_session_t *session;
    unsigned char *record;

    if (!len) {
        return;
    }
    memset(key.digest, 'k', sizeof(key.digest));
    record = apr_pmemdup(fuzz_pool, data + 1, len - 1);
    if (data[0] & 1) {
        put_right(record, len - 1, &key);
    }
    memsess_record_is_of((char *)record, len - 1, &key);
    if (memsess_record_decode((char *)record, len - 1, 0, &key, UNPACK, &session, fuzz_pool)
        == MEMSESS_RECORD_OK) {
        HOLDS(fuzz_is_sane(session) && memsess_record_size(session) <= UNPACK);
        check_again(session, &key, 0);
        check_again(session, &key, 16);
    }
}
