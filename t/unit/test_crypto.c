/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* libcrypto as we call it, compared with published answers. */

#include "unit.h"

#include "base/crypto.h"

typedef struct bytes_t {
    unsigned char data[256];
    apr_size_t len;
} bytes_t;

static bytes_t hex(const char *text)
{
    bytes_t bytes;
    unsigned byte;

    memset(&bytes, 0, sizeof(bytes));
    for (; *text; text += 2) {
        assert_int_equal(sscanf(text, "%2x", &byte), 1);
        bytes.data[bytes.len++] = (unsigned char)byte;
    }
    return bytes;
}

static bytes_t repeat(unsigned char byte, apr_size_t len)
{
    bytes_t bytes;

    memset(bytes.data, byte, sizeof(bytes.data));
    bytes.len = len;
    return bytes;
}

/* The bytes first, first + 1, and so on. */
static bytes_t series(unsigned char first, apr_size_t len)
{
    bytes_t bytes;

    for (bytes.len = 0; bytes.len < len; bytes.len++) {
        bytes.data[bytes.len] = (unsigned char)(first + bytes.len);
    }
    return bytes;
}

static bytes_t text_bytes(const char *text)
{
    bytes_t bytes;

    bytes.len = strlen(text);
    memcpy(bytes.data, text, bytes.len);
    return bytes;
}

static void assert_hex(const unsigned char *data, const char *expected)
{
    bytes_t bytes = hex(expected);

    assert_memory_equal(data, bytes.data, bytes.len);
}

/* Vectors of FIPS 180-4. */
static void test_digests(void **state)
{
    static const char *const whole[] = {"abc"}, *const parts[] = {"a", "bc"};
    static const char *const others[] = {"ab", "c"};
    unsigned char digest[MEMSESS_SHA512_BYTES], other[MEMSESS_SHA512_BYTES];
    int i;

    (void)state;
    assert_int_equal(memsess_sha512(parts, 2, digest), APR_SUCCESS);
    assert_int_equal(memsess_sha512(others, 2, other), APR_SUCCESS);
    assert_memory_not_equal(digest, other, sizeof(digest));
    for (i = 0; i < 3; i++) {
        assert_int_equal(memsess_sha512(whole, 1, digest), APR_SUCCESS);
        assert_hex(digest, "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                           "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
        assert_int_equal(memsess_sha256("abc", 3, digest), APR_SUCCESS);
        assert_hex(digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}

/* Vectors of RFC 4231, without the truncated one. */
static void test_hmac(void **state)
{
    const struct {
        bytes_t key, data;
        const char *mac;
    } cases[] = {
        {repeat(0x0b, 20), text_bytes("Hi There"),
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {text_bytes("Jefe"), text_bytes("what do ya want for nothing?"),
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {repeat(0xaa, 20), repeat(0xdd, 50),
         "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
        {series(0x01, 25), repeat(0xcd, 50),
         "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
        {repeat(0xaa, 131), text_bytes("Test Using Larger Than Block-Size Key - Hash Key First"),
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {repeat(0xaa, 131),
         text_bytes("This is a test using a larger than block-size key and a larger than "
                    "block-size data. The key needs to be hashed before being used by the HMAC "
                    "algorithm."),
         "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
    };
    unsigned char mac[MEMSESS_MAC_BYTES];
    unsigned i;

    (void)state;
    for (i = 0; i < 2 * COUNT(cases); i++) {
        const bytes_t *key = &cases[i % COUNT(cases)].key, *data = &cases[i % COUNT(cases)].data;

        assert_int_equal(memsess_hmac(key->data, key->len, data->data, data->len, mac),
                         APR_SUCCESS);
        assert_hex(mac, cases[i % COUNT(cases)].mac);
    }
}

/* Vectors of RFC 5869, appendix A, with SHA-256. */
static void test_hkdf(void **state)
{
    const struct {
        bytes_t secret, salt, info;
        apr_size_t len;
        const char *out;
    } cases[] = {
        {repeat(0x0b, 22), series(0x00, 13), series(0xf0, 10), 42,
         "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
        {series(0x00, 80), series(0x60, 80), series(0xb0, 80), 82,
         "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c6"
         "5e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
        {repeat(0x0b, 22), repeat(0, 0), repeat(0, 0), 42,
         "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
    };
    unsigned char out[82];
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(cases); i++) {
        assert_int_equal(memsess_hkdf(cases[i].secret.data, cases[i].secret.len,
                                      cases[i].salt.data, cases[i].salt.len, cases[i].info.data,
                                      cases[i].info.len, out, cases[i].len), APR_SUCCESS);
        assert_hex(out, cases[i].out);
    }
}

/* memsess_subkey does what HKDF does after its first half, which is an HMAC of the secret by the
 * salt. */
static void test_subkeys_are_the_second_half_of_hkdf(void **state)
{
    unsigned char key[MEMSESS_MAC_BYTES], subkey[MEMSESS_SUBKEY_BYTES], expected[32];
    bytes_t secret = repeat(0x0b, 22), salt[2] = {series(0x00, 13), series(0x20, 13)};
    unsigned i;

    (void)state;
    for (i = 0; i < 64; i++) {
        /* Each key comes twice in a row, so that a remembered one is used, with another key or
         * info. */
        bytes_t info = series((unsigned char)(i / 4), 32), *s = &salt[i / 2 % 2];

        memsess_hmac(s->data, s->len, secret.data, secret.len, key);
        memsess_hkdf(secret.data, secret.len, s->data, s->len, info.data, info.len, expected, 32);
        assert_int_equal(memsess_subkey(key, info.data, subkey), APR_SUCCESS);
        assert_memory_equal(subkey, expected, sizeof(subkey));
    }
}

#define GCM_KEY "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
#define GCM_PLAIN "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"               \
                  "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
#define GCM_SEALED "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"              \
                   "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"

/* Vectors of McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, test cases 13 to
 * 16. */
static void test_gcm(void **state)
{
    const struct {
        const char *key, *nonce, *aad, *data, *sealed, *tag;
    } cases[] = {
        {"0000000000000000000000000000000000000000000000000000000000000000",
         "000000000000000000000000", "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
        {"0000000000000000000000000000000000000000000000000000000000000000",
         "000000000000000000000000", "", "00000000000000000000000000000000",
         "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"},
        {GCM_KEY, "cafebabefacedbaddecaf888", "", GCM_PLAIN "1aafd255", GCM_SEALED "898015ad",
         "b094dac5d93471bdec1a502270e3cc6c"},
        {GCM_KEY, "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
         GCM_PLAIN, GCM_SEALED, "76fc6ece0f4e1768cddf8853bb2d551b"},
    };
    unsigned i, at;

    (void)state;
    for (i = 0; i < COUNT(cases); i++) {
        bytes_t key = hex(cases[i].key), nonce = hex(cases[i].nonce), aad = hex(cases[i].aad);
        bytes_t data = hex(cases[i].data), sealed = hex(cases[i].sealed), zero = repeat(0, 64);
        unsigned char out[64], tag[MEMSESS_TAG_BYTES];

        assert_int_equal(memsess_gcm_seal(key.data, nonce.data, aad.data, aad.len, data.data,
                                          data.len, out, tag), APR_SUCCESS);
        assert_memory_equal(out, sealed.data, sealed.len);
        assert_hex(tag, cases[i].tag);
        assert_int_equal(memsess_gcm_open(key.data, nonce.data, aad.data, aad.len, sealed.data,
                                          sealed.len, tag, out), APR_SUCCESS);
        assert_memory_equal(out, data.data, data.len);
        for (at = 0; at < sizeof(tag); at++) {
            tag[at] ^= 0x10;
            assert_int_equal(memsess_gcm_open(key.data, nonce.data, aad.data, aad.len,
                                              sealed.data, sealed.len, tag, out), APR_EMISMATCH);
            assert_memory_equal(out, zero.data, data.len);
            tag[at] ^= 0x10;
        }
        key.data[31] ^= 1;
        assert_int_equal(memsess_gcm_open(key.data, nonce.data, aad.data, aad.len, sealed.data,
                                          sealed.len, tag, out), APR_EMISMATCH);
    }
}

static void test_random_bytes_differ(void **state)
{
    unsigned char a[32], b[32];

    (void)state;
    assert_int_equal(memsess_random(a, sizeof(a)), APR_SUCCESS);
    assert_int_equal(memsess_random(b, sizeof(b)), APR_SUCCESS);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_true(memsess_equal(a, a, sizeof(a)));
    assert_false(memsess_equal(a, b, sizeof(a)));
    memsess_cleanse(a, sizeof(a));
    assert_memory_equal(a, repeat(0, 32).data, sizeof(a));
}

/* As many nonces as a thread makes at once, and some more. */
static void test_nonces_differ(void **state)
{
    unsigned char nonces[200][MEMSESS_NONCE_BYTES];
    unsigned i, j;

    (void)state;
    for (i = 0; i < 200; i++) {
        assert_int_equal(memsess_nonce(nonces[i]), APR_SUCCESS);
        for (j = 0; j < i; j++) {
            assert_memory_not_equal(nonces[i], nonces[j], sizeof(nonces[i]));
        }
    }
}

/* What a context keeps of one message must not affect the next one: keys take turns, twice. */
static void test_keys_in_turn(void **state)
{
    unsigned char sealed[16], tag[16], again[16], again_tag[16], out[16], mac[32], again_mac[32];
    bytes_t keys[2] = {series(1, 32), series(5, 32)}, nonce = series(7, 12), data = series(9, 16);
    static const unsigned char order[] = {0, 0, 1, 0, 1, 1};
    unsigned i;

    (void)state;
    memsess_hmac(keys[0].data, 32, data.data, 16, mac);
    memsess_gcm_seal(keys[0].data, nonce.data, "", 0, data.data, 16, sealed, tag);
    for (i = 0; i < sizeof(order); i++) {
        const unsigned char *key = keys[order[i]].data;
        int first = order[i] == 0;

        assert_int_equal(memsess_hmac(key, 32, data.data, 16, again_mac), APR_SUCCESS);
        assert_int_equal(!memcmp(mac, again_mac, 32), first);
        assert_int_equal(memsess_gcm_open(key, nonce.data, "", 0, sealed, 16, tag, out),
                         first ? APR_SUCCESS : APR_EMISMATCH);
        assert_int_equal(memsess_gcm_seal(key, nonce.data, "", 0, data.data, 16, again,
                                          again_tag), APR_SUCCESS);
        assert_int_equal(!memcmp(tag, again_tag, 16), first);
    }
}

/* Each thread has contexts of its own, which end with it. */
static void *use(void *failed)
{
    bytes_t key = series(1, 32), nonce = series(7, 12);
    unsigned char sealed[100], tag[16], opened[100], info[32] = {0};
    unsigned i;

    for (i = 0; i < 2000; i++) {
        info[i % 32]++;
        if (memsess_subkey(key.data, info, key.data) != APR_SUCCESS
            || memsess_gcm_seal(key.data, nonce.data, info, 32, info, i % 32, sealed, tag)
            || memsess_gcm_open(key.data, nonce.data, info, 32, sealed, i % 32, tag, opened)
            || memcmp(opened, info, i % 32)) {
            *(int *)failed = 1;
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[8];
    int failed[8] = {0}, i;

    (void)state;
    for (i = 0; i < 8; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, use, &failed[i]), 0);
    }
    for (i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        assert_false(failed[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(test_digests),
        UNIT_TEST(test_hmac),
        UNIT_TEST(test_hkdf),
        UNIT_TEST(test_subkeys_are_the_second_half_of_hkdf),
        UNIT_TEST(test_gcm),
        UNIT_TEST(test_random_bytes_differ),
        UNIT_TEST(test_nonces_differ),
        UNIT_TEST(test_keys_in_turn),
        UNIT_TEST(test_threads),
    };

    int failed;

    unit_begin();
    failed = cmocka_run_group_tests_name("crypto", tests, NULL, NULL);
    /* The answers must be the same when digests are remembered, even in too few slots. */
    return failed + (memsess_crypto_remember(4) != APR_SUCCESS)
           + cmocka_run_group_tests_name("crypto, remembered", tests, NULL, NULL);
}
