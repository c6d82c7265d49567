/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Sessions to bytes and back, and bytes that are no session. */

#include "unit.h"

#include <zlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "apr_encode.h"
#include "session/record.h"

/* The parts of the layout that never change; otherwise every version would have to know the
 * others. */
enum {
    AT_VERSION = 3,
    AT_FLAGS = 4,
    AT_PLACEMENT = 5,
    AT_KEY = 8,
    AT_REVISION = 24
};

enum { COMPRESSED = 2, VERSION = 2 };

/* The length of a server's tag and its clock. */
enum { PLACE_LEN = MEMSESS_TAG_LEN + 4 };

/* The limit for unpacking, in tests that are about something else. */
#define UNPACK APR_UINT32_MAX

/* The fixed part ends with the payload's length, the number of attributes and the hash, and is as
 * long as the record of an empty session. */
static apr_size_t header, at_size, at_count, at_hash;

static memsess_key_t the_key(void)
{
    memsess_key_t key;

    assert_int_equal(memsess_key_make(&key, "shop", "AAAAAAAAAAAAAAAAAAAAAAAA"), APR_SUCCESS);
    return key;
}

static memsess_session_t *new_session(void)
{
    memsess_session_t *session;

    assert_int_equal(memsess_session_make(&session, apr_time_from_sec(1700000000) + 123456,
                                          unit_pool), APR_SUCCESS);
    session->revision = APR_UINT64_C(0x0102030405060708);
    session->used = session->created + apr_time_from_sec(77);
    session->idle = apr_time_from_sec(1800);
    session->written = session->used + 4711;
    session->renewed = session->created + 4712;
    return session;
}

/* Adds an attribute; names must come in order. */
static void add(memsess_session_t *session, const char *name, const char *value, apr_size_t len)
{
    memsess_attr_t *attr = apr_array_push(session->attrs);

    attr->name = apr_pstrdup(unit_pool, name);
    attr->value = apr_pstrmemdup(unit_pool, value, len);
    attr->len = len;
}

static memsess_session_t *small_session(void)
{
    memsess_session_t *session = new_session();

    add(session, "cart", "a;b\r\nc", 6);
    add(session, "lang", "", 0);
    add(session, "user", "Z\xc3\xbc\xff\x01", 5);
    return session;
}

static char *encode(const memsess_session_t *session, const memsess_key_t *key,
                    apr_size_t compress, apr_size_t *len)
{
    char *data = NULL;

    assert_int_equal(memsess_record_encode(session, key, compress, &data, len, unit_pool),
                     APR_SUCCESS);
    assert_non_null(data);
    return data;
}

static void assert_same(const memsess_session_t *a, const memsess_session_t *b)
{
    int i;

    assert_string_equal(a->public_id, b->public_id);
    assert_true(a->revision == b->revision);
    assert_true(a->created == b->created);
    assert_true(a->used == b->used);
    assert_true(a->idle == b->idle);
    assert_int_equal(a->fixed, b->fixed);
    assert_int_equal(a->lasts, b->lasts);
    assert_memory_equal(&a->login, &b->login, sizeof(a->login));
    assert_memory_equal(&a->binding, &b->binding, sizeof(a->binding));
    assert_int_equal(a->ended, b->ended);
    assert_true(a->written == b->written);
    assert_true(a->renewed == b->renewed);
    assert_int_equal(a->moved, b->moved);
    assert_int_equal(a->tells, b->tells);
    if (a->tells) {
        assert_memory_equal(a->moved_to, b->moved_to, sizeof(a->moved_to));
    }
    assert_int_equal(a->unused, b->unused);
    assert_int_equal(a->placement.n, b->placement.n);
    assert_memory_equal(a->placement.tag, b->placement.tag, a->placement.n * MEMSESS_TAG_LEN);
    assert_memory_equal(a->placement.clock, b->placement.clock, a->placement.n * 4);
    assert_int_equal(a->attrs->nelts, b->attrs->nelts);
    for (i = 0; i < a->attrs->nelts; i++) {
        const memsess_attr_t *x = &APR_ARRAY_IDX(a->attrs, i, memsess_attr_t);
        const memsess_attr_t *y = &APR_ARRAY_IDX(b->attrs, i, memsess_attr_t);

        assert_string_equal(x->name, y->name);
        assert_int_equal(x->len, y->len);
        assert_memory_equal(x->value, y->value, x->len + 1);
    }
}

/* What holds for every decoded session, wherever its bytes came from. */
static void assert_sound(const memsess_session_t *session)
{
    const char *previous = "";
    int i;

    assert_int_equal(strlen(session->public_id), MEMSESS_PUBLIC_ID_LEN);
    assert_true(session->placement.n <= MEMSESS_COPIES_MAX);
    for (i = 0; i < session->attrs->nelts; i++) {
        const memsess_attr_t *attr = &APR_ARRAY_IDX(session->attrs, i, memsess_attr_t);

        assert_true(memsess_attr_name_ok(attr->name, strlen(attr->name)));
        assert_true(strcmp(previous, attr->name) < 0);
        assert_int_equal(strlen(attr->value), attr->len);
        previous = attr->name;
    }
}

static memsess_record_status_t decode(const char *data, apr_size_t len,
                                      const memsess_key_t *key, memsess_session_t **session)
{
    return memsess_record_decode(unit_guard_copy(data, len), len, 0, key, UNPACK, session,
                                 unit_pool);
}

static void round_trip(const memsess_session_t *session, apr_size_t compress, int compressed)
{
    memsess_key_t key = the_key();
    memsess_session_t *back = NULL;
    apr_size_t len;
    char *data = encode(session, &key, compress, &len);

    assert_int_equal((data[AT_FLAGS] & COMPRESSED) != 0, compressed);
    assert_int_equal(decode(data, len, &key, &back), MEMSESS_RECORD_OK);
    assert_same(session, back);
    assert_sound(back);
}

static void test_empty_session(void **state)
{
    (void)state;
    round_trip(new_session(), 0, 0);
    round_trip(new_session(), 1, 0);
}

static void test_small_session(void **state)
{
    memsess_session_t *session = small_session();

    (void)state;
    round_trip(session, 0, 0);
    assert_int_equal(memsess_record_size(session), 3 * 7 + 4 + 6 + 4 + 0 + 4 + 5);
    assert_int_equal(memsess_record_size(new_session()), 0);
}

static void test_numbers_at_their_limits(void **state)
{
    memsess_session_t *session = small_session();

    (void)state;
    session->revision = APR_UINT64_MAX;
    session->created = APR_INT64_MAX;
    session->used = APR_INT64_MIN;
    session->idle = session->written = APR_INT64_MAX;
    session->renewed = APR_INT64_MIN + 1;
    round_trip(session, 0, 0);
    session->revision = 0;
    session->created = session->used = session->idle = 0;
    session->written = session->renewed = 0;
    round_trip(session, 0, 0);
}

static void test_end_of_its_own(void **state)
{
    memsess_session_t *session = small_session();

    (void)state;
    session->fixed = 1;
    round_trip(session, 0, 0);
    session->fixed = 0;
    session->lasts = 1;
    round_trip(session, 0, 0);
}

/* All combinations of the parts that may stand before the payload. */
static void test_binding(void **state)
{
    unsigned i;

    (void)state;
    for (i = 0; i < 16; i++) {
        memsess_session_t *session = small_session();

        if (i & 1) {
            assert_int_equal(memsess_bind(session, MEMSESS_BIND_UA, "agent"), APR_SUCCESS);
        }
        if (i & 2) {
            assert_int_equal(memsess_bind(session, MEMSESS_BIND_IP, "::1"), APR_SUCCESS);
        }
        if (i & 8) {
            assert_int_equal(memsess_bind(session, MEMSESS_BIND_TLS, "pem"), APR_SUCCESS);
        }
        if (i & 4) {
            strcpy(session->login.user, "0123456789abcdef");
            memset(session->login.epoch, 7, sizeof(session->login.epoch));
        }
        session->placement.n = i % 3;
        memcpy(session->placement.tag, "abcdefghABCDEFGH", 16);
        round_trip(session, 0, 0);
    }
}

static void test_whom_a_binding_fits(void **state)
{
    memsess_session_t *session = small_session(), *other = new_session();

    (void)state;
    assert_true(memsess_bind_fits(session, MEMSESS_BIND_UA, "agent"));
    assert_int_equal(memsess_bind(session, MEMSESS_BIND_UA, "agent"), APR_SUCCESS);
    assert_true(memsess_bind_fits(session, MEMSESS_BIND_UA, "agent"));
    assert_false(memsess_bind_fits(session, MEMSESS_BIND_UA, "agent2"));
    assert_false(memsess_bind_fits(session, MEMSESS_BIND_UA, ""));
    assert_true(memsess_bind_fits(session, MEMSESS_BIND_IP, "::1"));
    assert_int_equal(memsess_bind(session, MEMSESS_BIND_IP, "agent"), APR_SUCCESS);
    assert_memory_not_equal(session->binding.digest[0], session->binding.digest[1], 16);
    assert_int_equal(memsess_bind(session, MEMSESS_BIND_TLS, NULL), APR_SUCCESS);
    assert_true(memsess_bind_fits(session, MEMSESS_BIND_TLS, NULL));
    assert_true(memsess_bind_fits(session, MEMSESS_BIND_TLS, "pem"));
    assert_int_equal(memsess_bind(session, MEMSESS_BIND_TLS, "pem"), APR_SUCCESS);
    assert_false(memsess_bind_fits(session, MEMSESS_BIND_TLS, NULL));
    assert_false(memsess_bind_fits(session, MEMSESS_BIND_TLS, "pem2"));
    assert_true(memsess_bind_fits(session, MEMSESS_BIND_TLS, "pem"));
    other->public_id[0] = session->public_id[0] == 'A' ? 'B' : 'A';
    assert_int_equal(memsess_bind(other, MEMSESS_BIND_UA, "agent"), APR_SUCCESS);
    assert_memory_not_equal(session->binding.digest[0], other->binding.digest[0], 16);
}

static void test_tombstone(void **state)
{
    memsess_session_t *session = new_session();

    (void)state;
    session->ended = 1;
    round_trip(session, 0, 0);
}

/* The tombstone tells where the session went, and holds nothing else. */
static void test_tombstone_of_what_moved(void **state)
{
    memsess_session_t *session = new_session();

    (void)state;
    session->ended = session->moved = session->tells = 1;
    memset(session->moved_to, 'm', sizeof(session->moved_to));
    round_trip(session, 0, 0);
    round_trip(session, 1, 1);
    /* The tombstone does not tell, either way. */
    session->tells = 0;
    round_trip(session, 0, 0);
}

static void test_unused(void **state)
{
    memsess_session_t *session = small_session();
    unsigned n;

    (void)state;
    session->unused = 1;
    for (n = 0; n <= MEMSESS_COPIES_MAX; n++) {
        session->placement.n = n;
        round_trip(session, 0, 0);
    }
}

static void test_values_of_any_byte_but_nul(void **state)
{
    memsess_session_t *session = new_session();
    char all[255];
    int i;

    (void)state;
    for (i = 0; i < 255; i++) {
        all[i] = (char)(i + 1);
    }
    add(session, "all", all, sizeof(all));
    for (i = 1; i < 256; i++) {
        add(session, apr_psprintf(unit_pool, "b%03d", i), all + i - 1, 1);
    }
    round_trip(session, 0, 0);
    round_trip(session, 100, 1);
}

static void test_names_of_every_length(void **state)
{
    memsess_session_t *session = new_session();
    char name[MEMSESS_ATTR_NAME_MAX + 1];
    int i;

    (void)state;
    for (i = 1; i <= MEMSESS_ATTR_NAME_MAX; i++) {
        memset(name, 'n', (size_t)i);
        name[i] = '\0';
        add(session, name, name, (apr_size_t)i);
    }
    round_trip(session, 0, 0);
    round_trip(session, 1, 1);
}

static void test_many_attributes(void **state)
{
    memsess_session_t *session = new_session();
    int i;

    (void)state;
    for (i = 0; i < 10000; i++) {
        char *value = apr_psprintf(unit_pool, "%d", i * i);

        add(session, apr_psprintf(unit_pool, "n%05d", i), value, strlen(value));
    }
    round_trip(session, 0, 0);
    round_trip(session, 2048, 1);
}

static void test_large_value(void **state)
{
    enum { LARGE = 3000000 };
    memsess_session_t *session = new_session();
    char *value = apr_palloc(unit_pool, LARGE);

    (void)state;
    memset(value, 'x', LARGE);
    add(session, "large", value, LARGE);
    round_trip(session, 0, 0);
    round_trip(session, 2048, 1);
}

/* Data that does not shrink is stored uncompressed. */
static void test_incompressible_value(void **state)
{
    enum { LARGE = 50000 };
    memsess_session_t *session = new_session();
    char *value = apr_palloc(unit_pool, LARGE);
    int i;

    (void)state;
    for (i = 0; i < LARGE; i++) {
        value[i] = (char)(1 + unit_below(255));
    }
    add(session, "noise", value, LARGE);
    round_trip(session, 2048, 0);
}

static void test_compression_threshold(void **state)
{
    memsess_session_t *session = new_session();
    char zeros[200];
    apr_size_t size;

    (void)state;
    memset(zeros, '0', sizeof(zeros));
    add(session, "zeros", zeros, sizeof(zeros));
    size = memsess_record_size(session);
    round_trip(session, size, 0);
    round_trip(session, size - 1, 1);
}

static void test_placement(void **state)
{
    memsess_key_t key = the_key();
    memsess_session_t *session = small_session(), *back;
    unsigned n, i;

    (void)state;
    for (n = 0; n <= MEMSESS_COPIES_MAX; n++) {
        apr_size_t len, plain;
        char *data;

        session->placement.n = 0;
        encode(session, &key, 0, &plain);
        session->placement.n = n;
        for (i = 0; i < n; i++) {
            memcpy(session->placement.tag[i], apr_psprintf(unit_pool, "tag_%04u", i),
                   MEMSESS_TAG_LEN);
            session->placement.clock[i] = 0xfffffff0U + i;
        }
        data = encode(session, &key, 0, &len);
        assert_int_equal(len, plain + n * PLACE_LEN);
        assert_int_equal(decode(data, len, &key, &back), MEMSESS_RECORD_OK);
        assert_same(session, back);
    }
}

/* -- Bytes that are no session ----------------------------------------------------------------- */

enum { SAMPLES = 5, MOVED_SAMPLE = 4 };

typedef struct sample_t {
    const char *name;
    char *data;
    apr_size_t len;
} sample_t;

static int setup(void **state)
{
    memsess_key_t key;

    if (unit_setup(state)) {
        return -1;
    }
    key = the_key();
    encode(new_session(), &key, 0, &header);
    at_hash = header - 4;
    at_count = header - 8;
    at_size = header - 12;
    return 0;
}

#define RECORD_TEST(test) cmocka_unit_test_setup_teardown(test, setup, unit_teardown)

/* A plain record, a compressed one, a bound tombstone, an empty one and one that moved. */
static void make_samples(sample_t samples[SAMPLES], const memsess_key_t *key)
{
    memsess_session_t *session = small_session();
    char zeros[300];

    memset(zeros, '0', sizeof(zeros));
    session->placement.n = 2;
    memcpy(session->placement.tag, "abcdefghABCDEFGH", 16);
    samples[0].data = encode(session, key, 0, &samples[0].len);
    add(session, "zeros", zeros, sizeof(zeros));
    samples[1].data = encode(session, key, 1, &samples[1].len);
    assert_true(samples[1].data[AT_FLAGS] & COMPRESSED);
    session = new_session();
    session->ended = 1;
    assert_int_equal(memsess_bind(session, MEMSESS_BIND_UA, "agent"), APR_SUCCESS);
    assert_int_equal(memsess_bind(session, MEMSESS_BIND_IP, "::1"), APR_SUCCESS);
    session->placement.n = 1;
    memcpy(session->placement.tag, "12345678", 8);
    samples[2].data = encode(session, key, 0, &samples[2].len);
    samples[3].data = encode(new_session(), key, 0, &samples[3].len);
    session->moved = session->tells = 1;
    memset(session->moved_to, 'm', sizeof(session->moved_to));
    samples[MOVED_SAMPLE].data = encode(session, key, 0, &samples[MOVED_SAMPLE].len);
}

static void fix_hash(char *data, apr_size_t len)
{
    XXH64_hash_t hash = XXH3_64bits(data, at_hash)
                        ^ XXH3_64bits(data + at_hash + 4, len - at_hash - 4);
    int i;

    for (i = 0; i < 4; i++) {
        data[at_hash + i] = (char)(hash >> (24 - 8 * i));
    }
}

static void put32(char *at, apr_uint32_t n)
{
    int i;

    for (i = 0; i < 4; i++) {
        at[i] = (char)(n >> (24 - 8 * i));
    }
}

static void test_every_truncation_is_damaged(void **state)
{
    memsess_key_t key = the_key();
    memsess_session_t *session;
    sample_t samples[SAMPLES];
    unsigned i;

    (void)state;
    make_samples(samples, &key);
    for (i = 0; i < COUNT(samples); i++) {
        apr_size_t len;

        for (len = 0; len < samples[i].len; len++) {
            assert_int_equal(decode(samples[i].data, len, &key, &session),
                             MEMSESS_RECORD_DAMAGED);
        }
        assert_int_equal(decode(samples[i].data, len, &key, &session),
                         MEMSESS_RECORD_OK);
    }
}

/* The hash is right, as a faulty writer's would be. */
static void test_every_truncation_with_its_hash_is_damaged(void **state)
{
    memsess_key_t key = the_key();
    memsess_session_t *session;
    sample_t samples[SAMPLES];
    unsigned i;

    (void)state;
    make_samples(samples, &key);
    for (i = 0; i < COUNT(samples); i++) {
        apr_size_t len;

        for (len = header; len < samples[i].len; len++) {
            char *data = apr_pmemdup(unit_pool, samples[i].data, len);

            fix_hash(data, len);
            assert_int_equal(decode(data, len, &key, &session),
                             MEMSESS_RECORD_DAMAGED);
        }
    }
}

static void test_every_addition_is_damaged(void **state)
{
    memsess_key_t key = the_key();
    memsess_session_t *session;
    sample_t samples[SAMPLES];
    unsigned i, more;

    (void)state;
    make_samples(samples, &key);
    for (i = 0; i < COUNT(samples); i++) {
        for (more = 1; more < 20; more++) {
            char *data = apr_pcalloc(unit_pool, samples[i].len + more);

            memcpy(data, samples[i].data, samples[i].len);
            assert_int_equal(decode(data, samples[i].len + more, &key, &session),
                             MEMSESS_RECORD_DAMAGED);
            if (!(data[AT_FLAGS] & COMPRESSED)) {
                fix_hash(data, samples[i].len + more);
                assert_int_equal(decode(data, samples[i].len + more, &key, &session),
                                 MEMSESS_RECORD_DAMAGED);
            }
        }
    }
}

static void test_every_changed_byte_is_seen(void **state)
{
    memsess_key_t key = the_key();
    memsess_session_t *session;
    sample_t samples[SAMPLES];
    unsigned i, flip;

    (void)state;
    make_samples(samples, &key);
    for (i = 0; i < COUNT(samples); i++) {
        apr_size_t at, len = samples[i].len;

        for (at = 0; at < len; at++) {
            char *data = unit_guard_copy(samples[i].data, len);
            char was = data[at];

            for (flip = 1; flip < 256; flip++) {
                memsess_record_status_t found;

                data[at] = (char)(was ^ (char)flip);
                session = NULL;
                found = memsess_record_decode(data, len, 0, &key, UNPACK, &session, unit_pool);
                assert_int_equal(found, at == AT_VERSION && (unsigned char)data[at] > VERSION
                                            ? MEMSESS_RECORD_NEWER : MEMSESS_RECORD_DAMAGED);
                assert_null(session);
            }
        }
    }
}

/* A hash is no signature: with a right hash any bytes may come, and must be sound or be refused. */
static void test_every_changed_byte_with_its_hash_is_sound_or_refused(void **state)
{
    memsess_key_t key = the_key();
    memsess_session_t *session;
    sample_t samples[SAMPLES];
    unsigned i, flip;

    (void)state;
    make_samples(samples, &key);
    for (i = 0; i < COUNT(samples); i++) {
        apr_size_t at, len = samples[i].len;

        for (at = 0; at < len; at++) {
            apr_pool_clear(unit_pool);
            make_samples(samples, &key);
            for (flip = 1; flip < 256; flip++) {
                char *data = unit_guard_copy(samples[i].data, len);

                data[at] = (char)(data[at] ^ (char)flip);
                fix_hash(data, len);
                switch (memsess_record_decode(data, len, 0, &key, UNPACK, &session, unit_pool)) {
                case MEMSESS_RECORD_OK:
                    assert_sound(session);
                    break;
                case MEMSESS_RECORD_FOREIGN:
                    assert_true(at >= AT_KEY && at < AT_REVISION);
                    break;
                case MEMSESS_RECORD_NEWER:
                    assert_int_equal(at, AT_VERSION);
                    break;
                default:
                    break;
                }
            }
        }
    }
}

static void test_random_bytes_are_damaged(void **state)
{
    memsess_key_t key = the_key();
    memsess_session_t *session;
    char data[600];
    unsigned i, j;

    (void)state;
    for (i = 0; i < 20000; i++) {
        unsigned len = unit_below(sizeof(data));

        for (j = 0; j < len; j++) {
            data[j] = (char)unit_below(256);
        }
        if (i % 2 && len >= 4) {
            memcpy(data, "MSS\2", 4); /* half of them start with a valid head */
        }
        assert_int_equal(decode(data, len, &key, &session), MEMSESS_RECORD_DAMAGED);
    }
}

/* Random changes of a good record, with a right hash. */
static void test_random_payloads_are_sound_or_refused(void **state)
{
    memsess_key_t key = the_key();
    memsess_session_t *session;
    sample_t samples[SAMPLES];
    unsigned i, n;

    (void)state;
    for (i = 0; i < 40000; i++) {
        const sample_t *sample = &samples[i % COUNT(samples)];
        char *data;

        if (i % 1000 == 0) {
            apr_pool_clear(unit_pool);
            make_samples(samples, &key);
        }
        data = unit_guard_copy(sample->data, sample->len);
        for (n = 1 + unit_below(6); n > 0; n--) {
            unsigned at = AT_REVISION + unit_below((unsigned)sample->len - AT_REVISION);

            data[at] = (char)(unit_below(2) ? unit_below(256) : unit_below(9));
        }
        /* Lengths beyond the end are tested below; here they would hide everything else. */
        memcpy(data + at_size, sample->data + at_size, 4);
        fix_hash(data, sample->len);
        if (memsess_record_decode(data, sample->len, 0, &key, UNPACK, &session, unit_pool)
            == MEMSESS_RECORD_OK) {
            assert_sound(session);
        }
    }
}

static void test_later_versions_are_newer(void **state)
{
    memsess_key_t key = the_key(), other;
    memsess_session_t *session;
    apr_size_t len, cut;
    int version;
    char *data = encode(small_session(), &key, 0, &len);

    (void)state;
    unit_random_key(&other);
    for (version = VERSION + 1; version < 256; version++) {
        data[AT_VERSION] = (char)version;
        /* Nothing is known about what follows the version, not even its length. */
        for (cut = 4; cut <= len; cut += 19) {
            assert_int_equal(decode(data, cut, &key, &session),
                             MEMSESS_RECORD_NEWER);
            assert_int_equal(decode(data, cut, &other, &session),
                             MEMSESS_RECORD_NEWER);
        }
    }
    for (version = 0; version < VERSION; version++) {
        data[AT_VERSION] = (char)version;
        fix_hash(data, len);
        assert_int_equal(decode(data, len, &key, &session), MEMSESS_RECORD_DAMAGED);
    }
}

static void test_record_of_another_session_is_foreign(void **state)
{
    memsess_key_t key = the_key(), other = key;
    memsess_session_t *session = NULL;
    sample_t samples[SAMPLES];
    unsigned i;

    (void)state;
    other.digest[0] ^= 1;
    make_samples(samples, &other);
    for (i = 0; i < COUNT(samples); i++) {
        assert_int_equal(decode(samples[i].data, samples[i].len, &key, &session),
                         MEMSESS_RECORD_FOREIGN);
        assert_null(session);
    }
}

/* -- Lies with a right hash -------------------------------------------------------------------- */

/* The address space in use, in bytes. */
static apr_size_t address_space(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    return pages * (apr_size_t)sysconf(_SC_PAGESIZE);
}

static void test_a_huge_claimed_length_is_not_allocated(void **state)
{
    static const apr_uint32_t claims[] = {0x10000000, 0x7fffffff, 0x80000000, 0xffffffff};
    memsess_key_t key = the_key();
    memsess_session_t *session;
    apr_size_t before = address_space();
    unsigned i, j;

    (void)state;
    for (i = 0; i < COUNT(claims); i++) {
        sample_t samples[SAMPLES];

        make_samples(samples, &key);
        for (j = 0; j < COUNT(samples); j++) {

            put32(samples[j].data + at_size, claims[i]);
            fix_hash(samples[j].data, samples[j].len);
            assert_int_equal(decode(samples[j].data, samples[j].len, &key, &session),
                             MEMSESS_RECORD_DAMAGED);
            put32(samples[j].data + at_count, claims[i]);
            fix_hash(samples[j].data, samples[j].len);
            assert_int_equal(decode(samples[j].data, samples[j].len, &key, &session),
                             MEMSESS_RECORD_DAMAGED);
        }
    }
    assert_true(address_space() < before + 0x8000000);
}

/* Encodes a session that compresses well. */
static char *packable(apr_size_t size, apr_size_t compress, const memsess_key_t *key,
                      apr_size_t *len)
{
    memsess_session_t *session = new_session();
    char *value = apr_palloc(unit_pool, size);

    memset(value, 'x', size);
    add(session, "value", value, size - 12); /* the name and 7 bytes make up the rest of size */
    assert_int_equal(memsess_record_size(session), size);
    return encode(session, key, compress, len);
}

static void test_no_more_is_unpacked_than_may_be(void **state)
{
    enum { SIZE = 5000 };
    memsess_key_t key = the_key();
    memsess_session_t *session = NULL;
    apr_size_t len;
    char *data = packable(SIZE, 100, &key, &len);

    (void)state;
    assert_true(len < SIZE / 10);
    assert_int_equal(memsess_record_decode(data, len, 0, &key, SIZE - 1, &session, unit_pool),
                     MEMSESS_RECORD_LARGE);
    assert_null(session);
    assert_int_equal(memsess_record_claims(data), SIZE);
    assert_int_equal(memsess_record_decode(data, len, 0, &key, SIZE, &session, unit_pool),
                     MEMSESS_RECORD_OK);
    assert_int_equal(memsess_session_find(session, "value")->len, SIZE - 12);

    /* A record that is not compressed needs no limit: it is in memory already. */
    data = packable(SIZE, 0, &key, &len);
    assert_int_equal(memsess_record_decode(data, len, 0, &key, 0, &session, unit_pool),
                     MEMSESS_RECORD_OK);
}

/* A few kilobytes that would unpack to a hundred megabytes: a valid session except for its size. */
static void test_a_bomb_is_not_unpacked(void **state)
{
    enum { SIZE = 100000000 };
    memsess_key_t key = the_key();
    memsess_session_t *session;
    apr_size_t len, before;
    char *data = packable(SIZE, 100, &key, &len);

    (void)state;
    before = address_space();
    assert_true(len < SIZE / 200);
    assert_int_equal(memsess_record_decode(data, len, 0, &key, SIZE / 25, &session, unit_pool),
                     MEMSESS_RECORD_LARGE);
    assert_true(address_space() < before + SIZE / 25);
}

static void test_a_wrong_length_or_count_is_damaged(void **state)
{
    memsess_key_t key = the_key();
    memsess_session_t *session;
    sample_t samples[SAMPLES];
    unsigned i;
    int by;

    (void)state;
    make_samples(samples, &key);
    for (i = 0; i < COUNT(samples); i++) {
        apr_size_t at;

        for (at = at_size; at <= at_count; at += 4) {
            for (by = -3; by <= 1000; by++) {
                char *data = apr_pmemdup(unit_pool, samples[i].data, samples[i].len);
                unsigned is = (unsigned char)data[at + 2] * 256u + (unsigned char)data[at + 3];

                /* In the sample that moved, the number of attributes means nothing. */
                if (by != 0 && !(at == at_count && i == MOVED_SAMPLE)) {
                    put32(data + at, is + (unsigned)by);
                    fix_hash(data, samples[i].len);
                    assert_int_equal(decode(data, samples[i].len, &key, &session),
                                     MEMSESS_RECORD_DAMAGED);
                }
            }
        }
    }
}

static void test_too_many_placements_are_damaged(void **state)
{
    memsess_key_t key = the_key();
    memsess_session_t *session;
    char data[1024 + 255 * PLACE_LEN] = "MSS\2";
    unsigned n;

    (void)state;
    memcpy(data + AT_KEY, key.digest, 16);
    for (n = 0; n < 256; n++) {
        apr_size_t len = header + n * PLACE_LEN;

        data[AT_PLACEMENT] = (char)n;
        fix_hash(data, len);
        assert_int_equal(decode(data, len, &key, &session),
                         n <= MEMSESS_COPIES_MAX ? MEMSESS_RECORD_OK : MEMSESS_RECORD_DAMAGED);
    }
}

/* A record with hand-made attributes; texts and lengths are written as given. */
typedef struct raw_attr_t {
    const char *name;
    apr_size_t name_len;
    const char *value;
    apr_size_t value_len;
    char after_name, after_value;
} raw_attr_t;

#define RAW(name, value) {name, sizeof(name) - 1, value, sizeof(value) - 1, 0, 0}

static memsess_record_status_t decode_raw(const raw_attr_t *attrs, unsigned n, int compress)
{
    memsess_key_t key = the_key();
    memsess_session_t *session;
    char data[4096] = "MSS\2", *at = data + header;
    apr_size_t size, len;
    memsess_record_status_t status;
    unsigned i;

    memcpy(data + AT_KEY, key.digest, 16);
    for (i = 0; i < n; i++) {
        *at++ = (char)attrs[i].name_len;
        memcpy(at, attrs[i].name, attrs[i].name_len);
        at += attrs[i].name_len;
        *at++ = attrs[i].after_name;
        put32(at, (apr_uint32_t)attrs[i].value_len);
        at += 4;
        memcpy(at, attrs[i].value, attrs[i].value_len);
        at += attrs[i].value_len;
        *at++ = attrs[i].after_value;
    }
    size = len = (apr_size_t)(at - data) - header;
    put32(data + at_size, (apr_uint32_t)size);
    put32(data + at_count, n);
    if (compress) {
        char packed[4096];
        uLongf packed_len = sizeof(packed);

        assert_int_equal(compress2((Bytef *)packed, &packed_len, (Bytef *)data + header, size, 9),
                         Z_OK);
        memcpy(data + header, packed, packed_len);
        len = packed_len;
        data[AT_FLAGS] = COMPRESSED;
    }
    fix_hash(data, header + len);
    status = decode(data, header + len, &key, &session);
    if (status == MEMSESS_RECORD_OK) {
        assert_sound(session);
    }
    return status;
}

static void test_crafted_payloads(void **state)
{
    static const raw_attr_t good[] = {RAW("a", "1"), RAW("b", "2")};
    static const raw_attr_t by_bytes[] = {RAW("B", "1"), RAW("a", "2"), RAW("aa", "3")};
    static const raw_attr_t unsorted[] = {RAW("b", "1"), RAW("a", "2")};
    static const raw_attr_t twice[] = {RAW("a", "1"), RAW("a", "2")};
    static const raw_attr_t apart[] = {RAW("a", "1"), RAW("b", "2"), RAW("a", "3")};
    static const raw_attr_t no_name[] = {RAW("", "1")};
    static const raw_attr_t bad_name[] = {RAW("a b", "1")};
    static const raw_attr_t nul_name[] = {RAW("a\0b", "1")};
    static const raw_attr_t long_name[] = {
        RAW("nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn", "1")};
    static const raw_attr_t nul_value[] = {RAW("a", "1\0" "2")};
    static const raw_attr_t open_name[] = {{"a", 1, "1", 1, 'x', 0}};
    static const raw_attr_t open_value[] = {{"a", 1, "1", 1, 0, 'x'}};
    int compress;

    (void)state;
    for (compress = 0; compress < 2; compress++) {
        assert_int_equal(decode_raw(good, 2, compress), MEMSESS_RECORD_OK);
        assert_int_equal(decode_raw(good, 0, compress), MEMSESS_RECORD_OK);
        assert_int_equal(decode_raw(by_bytes, 3, compress), MEMSESS_RECORD_OK);
        assert_int_equal(decode_raw(unsorted, 2, compress), MEMSESS_RECORD_DAMAGED);
        assert_int_equal(decode_raw(twice, 2, compress), MEMSESS_RECORD_DAMAGED);
        assert_int_equal(decode_raw(apart, 3, compress), MEMSESS_RECORD_DAMAGED);
        assert_int_equal(decode_raw(no_name, 1, compress), MEMSESS_RECORD_DAMAGED);
        assert_int_equal(decode_raw(bad_name, 1, compress), MEMSESS_RECORD_DAMAGED);
        assert_int_equal(decode_raw(nul_name, 1, compress), MEMSESS_RECORD_DAMAGED);
        assert_int_equal(decode_raw(long_name, 1, compress), MEMSESS_RECORD_DAMAGED);
        assert_int_equal(decode_raw(nul_value, 1, compress), MEMSESS_RECORD_DAMAGED);
        assert_int_equal(decode_raw(open_name, 1, compress), MEMSESS_RECORD_DAMAGED);
        assert_int_equal(decode_raw(open_value, 1, compress), MEMSESS_RECORD_DAMAGED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RECORD_TEST(test_empty_session),
        RECORD_TEST(test_small_session),
        RECORD_TEST(test_numbers_at_their_limits),
        RECORD_TEST(test_tombstone),
        RECORD_TEST(test_end_of_its_own),
        RECORD_TEST(test_binding),
        RECORD_TEST(test_whom_a_binding_fits),
        RECORD_TEST(test_tombstone_of_what_moved),
        RECORD_TEST(test_unused),
        RECORD_TEST(test_values_of_any_byte_but_nul),
        RECORD_TEST(test_names_of_every_length),
        RECORD_TEST(test_many_attributes),
        RECORD_TEST(test_large_value),
        RECORD_TEST(test_incompressible_value),
        RECORD_TEST(test_compression_threshold),
        RECORD_TEST(test_placement),
        RECORD_TEST(test_every_truncation_is_damaged),
        RECORD_TEST(test_every_truncation_with_its_hash_is_damaged),
        RECORD_TEST(test_every_addition_is_damaged),
        RECORD_TEST(test_every_changed_byte_is_seen),
        RECORD_TEST(test_every_changed_byte_with_its_hash_is_sound_or_refused),
        RECORD_TEST(test_random_bytes_are_damaged),
        RECORD_TEST(test_random_payloads_are_sound_or_refused),
        RECORD_TEST(test_later_versions_are_newer),
        RECORD_TEST(test_record_of_another_session_is_foreign),
        RECORD_TEST(test_a_huge_claimed_length_is_not_allocated),
        RECORD_TEST(test_no_more_is_unpacked_than_may_be),
        RECORD_TEST(test_a_bomb_is_not_unpacked),
        RECORD_TEST(test_a_wrong_length_or_count_is_damaged),
        RECORD_TEST(test_too_many_placements_are_damaged),
        RECORD_TEST(test_crafted_payloads),
    };

    unit_begin();
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
