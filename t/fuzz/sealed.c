/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Bytes that a memcached holds in place of a sealed item: the first byte says what is done with the
 * rest. Only what was sealed, for this key and kind, can ever be opened. */

#include "fuzz.h"
#include "session/seal.h"

static memsess_seal_status_t open_it(const memsess_secrets_t *secrets, const memsess_key_t *key,
                                     const char *what, const char *data, size_t len, char **opened,
                                     apr_size_t *opened_len)
{
    int aged = 0;

    return memsess_unseal(secrets, key, what, apr_pmemdup(fuzz_pool, data, len), len, opened,
                          opened_len, &aged, fuzz_pool);
}

static void check_round(const char *data, size_t len, const memsess_key_t *key)
{
    memsess_key_t other = *key;
    apr_size_t sealed_len, opened_len;
    char *sealed, *opened;

    HOLDS(memsess_seal(fuzz_secrets, key, "record", apr_pmemdup(fuzz_pool, data, len), len, &sealed,
                       &sealed_len, fuzz_pool) == APR_SUCCESS);
    HOLDS(sealed_len == len + MEMSESS_SEAL_OVERHEAD && memsess_seal_is_of(sealed, sealed_len, key));
    HOLDS(open_it(fuzz_secrets, key, "record", sealed, sealed_len, &opened, &opened_len)
          == MEMSESS_SEAL_OK);
    HOLDS(opened_len == len && !memcmp(opened, data, len));
    other.digest[31] ^= 1;
    HOLDS(open_it(fuzz_secrets, &other, "record", sealed, sealed_len, &opened, &opened_len)
          != MEMSESS_SEAL_OK);
    HOLDS(open_it(fuzz_secrets, key, "claim", sealed, sealed_len, &opened, &opened_len)
          != MEMSESS_SEAL_OK);
    HOLDS(open_it(fuzz_other_secrets, key, "record", sealed, sealed_len, &opened, &opened_len)
          != MEMSESS_SEAL_OK);
}

/* The item of a fixed text, with these bytes written over it from some place on, or cut there. */
static void check_altered(const unsigned char *data, size_t len, const memsess_key_t *key)
{
    char text[] = "a record, forty-eight bytes long, no one's at all", *sealed, *opened;
    apr_size_t sealed_len, opened_len;
    size_t at, i;
    int same = 1;

    if (len < 2) {
        return;
    }
    HOLDS(memsess_seal(fuzz_secrets, key, "record", text, sizeof(text), &sealed, &sealed_len,
                       fuzz_pool) == APR_SUCCESS);
    at = data[1] % sealed_len;
    if (len == 2) {
        same = 0;
        sealed_len = at;
    }
    for (i = 2; i < len && at < sealed_len; i++, at++) {
        same &= !data[i];
        sealed[at] ^= (char)data[i];
    }
    HOLDS((open_it(fuzz_secrets, key, "record", sealed, sealed_len, &opened, &opened_len)
           == MEMSESS_SEAL_OK) == same);
}

void fuzz(const unsigned char *data, size_t len)
{
    memsess_key_t key;
    apr_size_t opened_len;
    char *opened;

    if (!len) {
        return;
    }
    memset(key.digest, 'k', sizeof(key.digest));
    switch (data[0] % 3) {
    case 0:
        check_round((const char *)data + 1, len - 1, &key);
        break;
    case 1:
        check_altered(data, len, &key);
        break;
    default:
        memsess_seal_is_of((const char *)data + 1, len - 1, &key);
        HOLDS(open_it(fuzz_secrets, &key, "record", (const char *)data + 1, len - 1, &opened,
                      &opened_len) != MEMSESS_SEAL_OK);
    }
}
