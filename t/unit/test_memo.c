/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Digests that are remembered: the right one is found, or none. */

#include "unit.h"

#include "base/memo.h"

static memsess_memo_t *memo_of(unsigned slots)
{
    memsess_memo_t *memo = memsess_memo_create(slots, unit_random());

    assert_non_null(memo);
    return memo;
}

/* Stands for a digest: it tells which text it belongs to. */
static void digest_of(const char *text, unsigned char digest[MEMSESS_MEMO_DIGEST])
{
    memset(digest, 0, MEMSESS_MEMO_DIGEST);
    apr_cpystrn((char *)digest, text, MEMSESS_MEMO_DIGEST);
}

static void put(memsess_memo_t *memo, const char *text)
{
    unsigned char digest[MEMSESS_MEMO_DIGEST];

    digest_of(text, digest);
    memsess_memo_put(memo, text, strlen(text), digest, sizeof(digest));
}

/* Whether the digest is there; -1: another text's is. */
static int get(memsess_memo_t *memo, const char *text)
{
    unsigned char digest[MEMSESS_MEMO_DIGEST], expected[MEMSESS_MEMO_DIGEST];

    digest_of(text, expected);
    if (!memsess_memo_get(memo, text, strlen(text), digest, sizeof(digest))) {
        return 0;
    }
    return memcmp(digest, expected, sizeof(digest)) ? -1 : 1;
}

static void test_what_was_put_is_there(void **state)
{
    memsess_memo_t *memo = memo_of(1024);
    unsigned char some[8];

    (void)state;
    assert_int_equal(get(memo, "a"), 0);
    put(memo, "a");
    assert_int_equal(get(memo, "a"), 1);
    assert_int_equal(get(memo, "b"), 0);
    assert_int_equal(get(memo, "aa"), 0);
    assert_true(memsess_memo_get(memo, "a", 1, some, 1));
    assert_int_equal(some[0], 'a');
    free(memo);
}

static void test_the_last_one_stays(void **state)
{
    memsess_memo_t *memo = memo_of(1);

    (void)state;
    put(memo, "a");
    put(memo, "b");
    assert_int_equal(get(memo, "a"), 0);
    assert_int_equal(get(memo, "b"), 1);
    free(memo);
}

/* If there are more texts than slots, each one has its own digest or none. */
static void test_many(void **state)
{
    memsess_memo_t *memo = memo_of(64);
    int i, there = 0;

    (void)state;
    for (i = 0; i < 1000; i++) {
        put(memo, apr_itoa(unit_pool, i));
    }
    for (i = 0; i < 1000; i++) {
        int is_there = get(memo, apr_itoa(unit_pool, i));

        assert_int_not_equal(is_there, -1);
        there += is_there;
    }
    assert_true(there > 32 && there <= 64);
    free(memo);
}

static void test_lengths(void **state)
{
    memsess_memo_t *memo = memo_of(8);
    char text[MEMSESS_MEMO_TEXT + 2];

    (void)state;
    memset(text, 'x', sizeof(text));
    text[MEMSESS_MEMO_TEXT] = '\0';
    put(memo, text);
    assert_int_equal(get(memo, text), 1);
    text[MEMSESS_MEMO_TEXT] = 'x';
    text[MEMSESS_MEMO_TEXT + 1] = '\0';
    put(memo, text);
    assert_int_equal(get(memo, text), 0);
    put(memo, "");
    assert_int_equal(get(memo, ""), 0);
    free(memo);
}

/* All threads use the same two slots, so that they meet. */
typedef struct user_t {
    memsess_memo_t *memo;
    int first, wrong;
} user_t;

static void *use(void *data)
{
    user_t *user = data;
    int i;

    for (i = 0; i < 100000; i++) {
        char text[16];
        int is_there;

        apr_snprintf(text, sizeof(text), "%d", (user->first + i) % 8);
        is_there = get(user->memo, text);
        user->wrong += is_there < 0;
        put(user->memo, text);
    }
    return NULL;
}

static void test_threads(void **state)
{
    memsess_memo_t *memo = memo_of(2);
    pthread_t threads[4];
    user_t users[4];
    int i;

    (void)state;
    for (i = 0; i < 4; i++) {
        users[i] = (user_t){.memo = memo, .first = i};
        assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
    }
    for (i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(users[i].wrong, 0);
    }
    /* No thread has left a slot in use. */
    put(memo, "a");
    assert_int_equal(get(memo, "a"), 1);
    free(memo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(test_what_was_put_is_there),
        UNIT_TEST(test_the_last_one_stays),
        UNIT_TEST(test_many),
        UNIT_TEST(test_lengths),
        UNIT_TEST(test_threads),
    };

    unit_begin();
    return cmocka_run_group_tests_name("memo", tests, NULL, NULL);
}
