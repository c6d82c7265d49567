/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* What is sealed opens unchanged, or not at all. */

#include "unit.h"

#include <dlfcn.h>
#include <openssl/evp.h>

#include "base/error.h"
#include "session/seal.h"

#define ID "AAAAAAAAAAAAAAAAAAAAAAAA"

static memsess_key_t key;
static memsess_secrets_t *secrets;

/* Whether libcrypto fails. */
static int is_failing;

int EVP_CipherUpdate(EVP_CIPHER_CTX *context, unsigned char *out, int *out_len,
                     const unsigned char *in, int in_len)
{
    static int (*real)(EVP_CIPHER_CTX *, unsigned char *, int *, const unsigned char *, int);

    if (!real) {
        *(void **)&real = dlsym(RTLD_NEXT, "EVP_CipherUpdate");
    }
    return !is_failing && real(context, out, out_len, in, in_len);
}

/* The secret number n. */
static memsess_secrets_t *one_secret(int n, const char *ns)
{
    memsess_secrets_t *made = memsess_secrets_make(unit_pool);

    unit_secret_add(made, 'a' + n, ns);
    return made;
}

static int setup(void **state)
{
    int rv = unit_setup(state);

    secrets = one_secret(0, "shop");
    return rv || memsess_key_make(&key, "shop", ID) != APR_SUCCESS;
}

#define SEAL_TEST(test) cmocka_unit_test_setup_teardown(test, setup, unit_teardown)

static const char plain[] = "card=1234&who=anna, and some more that takes another block of AES";

static char *seal(const char *data, apr_size_t data_len, apr_size_t *len)
{
    char *sealed;

    assert_int_equal(memsess_seal(secrets, &key, "record", (char *)data, data_len, &sealed, len,
                                  unit_pool), APR_SUCCESS);
    assert_int_equal(*len, data_len + MEMSESS_SEAL_OVERHEAD);
    return sealed;
}

static memsess_seal_status_t unseal_with(const memsess_secrets_t *with, const memsess_key_t *of,
                                         const char *what, const char *data, apr_size_t len)
{
    memsess_seal_status_t status;
    apr_size_t opened_len;
    char *opened;
    int aged;

    status = memsess_unseal(with, of, what, unit_guard_copy(data, len), len, &opened,
                            &opened_len, &aged, unit_pool);
    if (status == MEMSESS_SEAL_OK) {
        assert_int_equal(opened_len, sizeof(plain));
        assert_memory_equal(opened, plain, sizeof(plain));
    }
    return status;
}

static memsess_seal_status_t unseal(const char *data, apr_size_t len)
{
    return unseal_with(secrets, &key, "record", data, len);
}

static void test_back_again(void **state)
{
    static const apr_size_t lengths[] = {0, 1, 15, 16, 17, 1000, 4096, 100000};
    unsigned i, j;

    (void)state;
    for (i = 0; i < COUNT(lengths); i++) {
        char *data = apr_palloc(unit_pool, lengths[i] + 1), *sealed, *opened;
        apr_size_t len, opened_len;
        int aged = 1;

        for (j = 0; j < lengths[i]; j++) {
            data[j] = (char)unit_below(256);
        }
        sealed = seal(data, lengths[i], &len);
        assert_int_equal(memsess_unseal(secrets, &key, "record",
                                        unit_guard_copy(sealed, len), len, &opened,
                                        &opened_len, &aged, unit_pool), MEMSESS_SEAL_OK);
        assert_int_equal(opened_len, lengths[i]);
        assert_memory_equal(opened, data, opened_len);
        assert_int_equal(opened[opened_len], '\0');
        assert_false(aged);
    }
}

static int holds(const char *data, apr_size_t len, const void *part, apr_size_t part_len)
{
    return memmem(data, len, part, part_len) != NULL;
}

/* The sealed bytes show neither the content nor the id nor the secret, and never repeat. */
static void test_nothing_shows(void **state)
{
    apr_size_t len, other_len;
    char *sealed = seal(plain, sizeof(plain), &len);
    char *other = seal(plain, sizeof(plain), &other_len);
    unsigned i;

    (void)state;
    for (i = 0; i + 5 < sizeof(plain); i++) {
        assert_false(holds(sealed, len, plain + i, 5));
    }
    assert_false(holds(sealed, len, ID, 6));
    assert_false(holds(sealed, len, key.material, 6));
    assert_false(holds(sealed, len, secrets->secret[0].seal, 6));
    assert_false(holds(sealed, len, secrets->secret[0].cookie, 6));
    assert_memory_not_equal(sealed + 24, other + 24, 12);
    assert_memory_not_equal(sealed + 36, other + 36, sizeof(plain));
}

static void test_every_truncation(void **state)
{
    apr_size_t len, cut;
    char *sealed = seal(plain, sizeof(plain), &len);

    (void)state;
    for (cut = 0; cut < len; cut++) {
        assert_int_not_equal(unseal(sealed, cut), MEMSESS_SEAL_OK);
    }
    assert_int_equal(unseal(sealed, len), MEMSESS_SEAL_OK);
    assert_int_equal(unseal(apr_pstrcat(unit_pool, "", NULL), 0), MEMSESS_SEAL_NONE);
}

static void test_every_flipped_bit(void **state)
{
    apr_size_t len, at;
    char *sealed = seal(plain, sizeof(plain), &len);
    int bit;

    (void)state;
    for (at = 0; at < len; at++) {
        for (bit = 1; bit < 256; bit <<= 1) {
            sealed[at] ^= (char)bit;
            assert_int_not_equal(unseal(sealed, len), MEMSESS_SEAL_OK);
            sealed[at] ^= (char)bit;
        }
    }
    assert_int_equal(unseal(sealed, len), MEMSESS_SEAL_OK);
}

static void test_extended(void **state)
{
    apr_size_t len;
    char *sealed = seal(plain, sizeof(plain), &len);
    char *longer = apr_pcalloc(unit_pool, 3 * len);
    apr_size_t more;

    (void)state;
    memcpy(longer, sealed, len);
    for (more = 1; more < 40; more++) {
        assert_int_equal(unseal(longer, len + more), MEMSESS_SEAL_BROKEN);
    }
    memcpy(longer + len, sealed, len);
    assert_int_equal(unseal(longer, 2 * len), MEMSESS_SEAL_BROKEN);
}

static void test_of_another_key(void **state)
{
    static const struct {
        const char *ns, *id;
    } others[] = {{"shop", "AAAAAAAAAAAAAAAAAAAAAAAB"}, {"", ID}, {"shops", ID}};
    apr_size_t len;
    char *sealed = seal(plain, sizeof(plain), &len);
    memsess_key_t other;
    unsigned i;

    (void)state;
    assert_true(memsess_seal_is_of(sealed, len, &key));
    for (i = 0; i < COUNT(others); i++) {
        assert_int_equal(memsess_key_make(&other, others[i].ns, others[i].id), APR_SUCCESS);
        assert_int_equal(unseal_with(secrets, &other, "record", sealed, len),
                         MEMSESS_SEAL_FOREIGN);
        assert_false(memsess_seal_is_of(sealed, len, &other));
    }
    /* Writing another key's name onto a record does not make it that key's record. */
    memcpy(sealed + 8, other.digest, 16);
    assert_true(memsess_seal_is_of(sealed, len, &other));
    assert_int_equal(unseal_with(secrets, &other, "record", sealed, len), MEMSESS_SEAL_BROKEN);
    /* Each half of the key counts, with all its bytes. */
    sealed = seal(plain, sizeof(plain), &len);
    for (i = 0; i < MEMSESS_KEY_BYTES; i++) {
        other = key;
        other.material[i] ^= 1;
        assert_int_equal(unseal_with(secrets, &other, "record", sealed, len), MEMSESS_SEAL_BROKEN);
        other = key;
        other.digest[i] ^= 1;
        assert_int_not_equal(unseal_with(secrets, &other, "record", sealed, len), MEMSESS_SEAL_OK);
    }
}

static void test_of_another_kind(void **state)
{
    static const char *const kinds[] = {"", "recor", "record ", "lock", "1", "records"};
    apr_size_t len;
    char *sealed = seal(plain, sizeof(plain), &len);
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(kinds); i++) {
        assert_int_equal(unseal_with(secrets, &key, kinds[i], sealed, len), MEMSESS_SEAL_BROKEN);
    }
}

static void test_of_another_secret_or_namespace(void **state)
{
    apr_size_t len;
    char *sealed = seal(plain, sizeof(plain), &len);
    memsess_secrets_t *liar = one_secret(1, "shop");

    (void)state;
    assert_int_equal(unseal_with(one_secret(1, "shop"), &key, "record", sealed, len),
                     MEMSESS_SEAL_UNKNOWN);
    assert_int_equal(unseal_with(one_secret(0, "shops"), &key, "record", sealed, len),
                     MEMSESS_SEAL_UNKNOWN);
    /* The id of a secret alone does not make it the right secret. */
    memcpy(liar->secret[0].id, secrets->secret[0].id, MEMSESS_SECRET_ID_BYTES);
    assert_int_equal(unseal_with(liar, &key, "record", sealed, len), MEMSESS_SEAL_BROKEN);
    /* Two secrets with the same id are told apart by trying both. */
    unit_secret_add(liar, 'a', "shop");
    assert_int_equal(unseal_with(liar, &key, "record", sealed, len), MEMSESS_SEAL_OK);
}

static void test_older_secrets_are_accepted(void **state)
{
    memsess_secrets_t *rotated = one_secret(1, "shop");
    apr_size_t len, opened_len;
    char *sealed = seal(plain, sizeof(plain), &len), *opened;
    int aged = 0;

    (void)state;
    unit_secret_add(rotated, 'a', "shop");
    assert_int_equal(memsess_unseal(rotated, &key, "record", sealed, len, &opened, &opened_len,
                                    &aged, unit_pool), MEMSESS_SEAL_OK);
    assert_true(aged);
    secrets = rotated;
    sealed = seal(plain, sizeof(plain), &len);
    assert_int_equal(memsess_unseal(rotated, &key, "record", sealed, len, &opened, &opened_len,
                                    &aged, unit_pool), MEMSESS_SEAL_OK);
    assert_false(aged);
    assert_int_equal(unseal_with(one_secret(1, "shop"), &key, "record", sealed, len),
                     MEMSESS_SEAL_OK);
    assert_int_equal(unseal_with(one_secret(0, "shop"), &key, "record", sealed, len),
                     MEMSESS_SEAL_UNKNOWN);
}

static void test_without_secrets_nothing_is_sealed(void **state)
{
    char data[] = "data", *sealed, *opened;
    apr_size_t len;
    int aged = 1;

    (void)state;
    assert_int_equal(memsess_seal(NULL, &key, "record", data, 4, &sealed, &len, unit_pool),
                     APR_SUCCESS);
    assert_ptr_equal(sealed, data);
    assert_int_equal(len, 4);
    assert_int_equal(memsess_unseal(NULL, &key, "record", data, 4, &opened, &len, &aged, unit_pool),
                     MEMSESS_SEAL_OK);
    assert_ptr_equal(opened, data);
    assert_false(aged);
    /* If records are sealed, one that is not is refused. */
    assert_int_equal(unseal(plain, sizeof(plain)), MEMSESS_SEAL_NONE);
    assert_true(memsess_seal_is_of(plain, sizeof(plain), &key));
}

static void test_random_bytes(void **state)
{
    char data[300];
    unsigned i, j;

    (void)state;
    for (i = 0; i < 20000; i++) {
        unsigned len = unit_below(sizeof(data));

        for (j = 0; j < len; j++) {
            data[j] = (char)unit_below(256);
        }
        if (i % 2 && len > 24) {
            memcpy(data, "MSE\1", 4);
            memcpy(data + 4, secrets->secret[0].id, 4);
            memcpy(data + 8, key.digest, 16);
        }
        assert_int_not_equal(unseal(data, len), MEMSESS_SEAL_OK);
        if (i % 1000 == 0) {
            apr_pool_clear(unit_pool);
            secrets = one_secret(0, "shop");
        }
    }
}

/* A failure of libcrypto is neither a server's refusal nor a sign of an altered record. */
static void test_libcrypto_fails(void **state)
{
    char *data = (char *)plain, *sealed;
    apr_size_t len;

    (void)state;
    assert_int_equal(memsess_seal(secrets, &key, "record", data, sizeof(plain), &sealed, &len,
                                  unit_pool), APR_SUCCESS);
    is_failing = 1;
    assert_int_equal(unseal(sealed, len), MEMSESS_SEAL_FAILED);
    assert_int_equal(memsess_seal(secrets, &key, "record", data, sizeof(plain), &sealed, &len,
                                  unit_pool), MEMSESS_CRYPTO);
    is_failing = 0;
    assert_false(memsess_is_refused(MEMSESS_CRYPTO));
    assert_non_null(strstr(memsess_seal_words(MEMSESS_SEAL_FAILED), "libcrypto"));
    assert_int_equal(memsess_seal(secrets, &key, "record", data, sizeof(plain), &sealed, &len,
                                  unit_pool), APR_SUCCESS);
    assert_int_equal(unseal(sealed, len), MEMSESS_SEAL_OK);
    /* Altered bytes are not taken for a failure of libcrypto. */
    assert_int_equal(unseal(sealed, MEMSESS_SEAL_OVERHEAD), MEMSESS_SEAL_BROKEN);
    sealed[len - 1] ^= 1;
    assert_int_equal(unseal(sealed, len), MEMSESS_SEAL_BROKEN);
}

/* -- An id under another one ------------------------------------------------------------------- */

#define NEXT "BBBBBBBBBBBBBBBBBBBBBBBB"

static void test_the_id_that_follows(void **state)
{
    unsigned char sealed[MEMSESS_SEALED_ID_BYTES], again[MEMSESS_SEALED_ID_BYTES];
    char id[MEMSESS_ID_LEN + 1];
    memsess_key_t other;
    unsigned i;

    (void)state;
    assert_int_equal(memsess_seal_id(&key, NEXT, sealed), APR_SUCCESS);
    assert_int_equal(memsess_unseal_id(&key, sealed, id), APR_SUCCESS);
    assert_string_equal(id, NEXT);
    assert_null(memmem(sealed, sizeof(sealed), "BBB", 3));
    assert_int_equal(memsess_seal_id(&key, NEXT, again), APR_SUCCESS);
    assert_memory_not_equal(sealed, again, sizeof(sealed));

    /* The digest alone is public; the sealing key comes from the other half. */
    other = key;
    memset(other.material, 0, sizeof(other.material));
    assert_int_equal(memsess_unseal_id(&other, sealed, id), APR_EMISMATCH);
    other = key;
    other.digest[0] ^= 1;
    assert_int_equal(memsess_unseal_id(&other, sealed, id), APR_EMISMATCH);
    assert_int_equal(memsess_key_make(&other, "other", ID), APR_SUCCESS);
    assert_int_equal(memsess_unseal_id(&other, sealed, id), APR_EMISMATCH);

    for (i = 0; i < 8 * sizeof(sealed); i++) {
        memcpy(again, sealed, sizeof(sealed));
        again[i / 8] ^= (unsigned char)(1 << i % 8);
        assert_int_equal(memsess_unseal_id(&key, again, id), APR_EMISMATCH);
    }
    /* A failure of libcrypto says nothing about the bytes. */
    is_failing = 1;
    assert_int_equal(memsess_unseal_id(&key, sealed, id), MEMSESS_CRYPTO);
    assert_int_equal(memsess_seal_id(&key, NEXT, again), MEMSESS_CRYPTO);
    is_failing = 0;
    /* Opened bytes that are no id are not believed, either. */
    assert_int_equal(memsess_seal_id(&key, "BBBBBBBBBBBB BBBBBBBBBBB", sealed), APR_SUCCESS);
    assert_int_equal(memsess_unseal_id(&key, sealed, id), APR_EMISMATCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SEAL_TEST(test_back_again),
        SEAL_TEST(test_libcrypto_fails),
        SEAL_TEST(test_nothing_shows),
        SEAL_TEST(test_every_truncation),
        SEAL_TEST(test_every_flipped_bit),
        SEAL_TEST(test_extended),
        SEAL_TEST(test_of_another_key),
        SEAL_TEST(test_of_another_kind),
        SEAL_TEST(test_of_another_secret_or_namespace),
        SEAL_TEST(test_older_secrets_are_accepted),
        SEAL_TEST(test_without_secrets_nothing_is_sealed),
        SEAL_TEST(test_random_bytes),
        SEAL_TEST(test_the_id_that_follows),
    };

    unit_begin();
    return cmocka_run_group_tests_name("seal", tests, NULL, NULL);
}
