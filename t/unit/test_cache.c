/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* This member's own copies of sessions. */

#include "unit.h"

#include <sys/wait.h>
#include <unistd.h>

#include "apr_thread_proc.h"
#include "session/cache.h"

#define LONG_TIME apr_time_from_sec(3600)

static memsess_cache_t *new_cache(apr_size_t size, apr_interval_time_t max_age)
{
    memsess_cache_t *cache;

    assert_int_equal(memsess_cache_create(&cache, size, max_age, unit_pool), APR_SUCCESS);
    return cache;
}

static memsess_key_t key_of(unsigned n)
{
    memsess_key_t key;

    assert_int_equal(memsess_key_make(&key, "", apr_psprintf(unit_pool, "session-%u", n)),
                     APR_SUCCESS);
    return key;
}

/* A session whose one attribute tells which session and revision it is, repeated up to that
 * length. */
static memsess_session_t *session_of(unsigned n, apr_uint64_t revision, apr_size_t len,
                                     apr_pool_t *p)
{
    memsess_session_t *session;
    memsess_attr_t attr = {.name = "data", .len = len};
    char *value = apr_palloc(p, len + 1);
    apr_size_t i;

    for (i = 0; i < len; i++) {
        value[i] = (char)('A' + (n * 7 + revision) % 26);
    }
    value[len] = '\0';
    attr.value = value;
    assert_int_equal(memsess_session_make(&session, apr_time_now(), p), APR_SUCCESS);
    session->revision = revision;
    APR_ARRAY_PUSH(session->attrs, memsess_attr_t) = attr;
    return session;
}

static void put(memsess_cache_t *cache, unsigned n, apr_uint64_t revision, apr_size_t len)
{
    memsess_key_t key = key_of(n);

    memsess_cache_put(cache, &key, session_of(n, revision, len, unit_pool), apr_time_now(),
                      unit_pool);
}

/* Whether the session is found; if it is, it must be the right one, and whole. */
static int has(memsess_cache_t *cache, unsigned n, apr_uint64_t revision)
{
    memsess_key_t key = key_of(n);
    memsess_session_t *session;
    apr_time_t read_at;
    const memsess_attr_t *attr;
    apr_size_t i;

    if (!memsess_cache_get(cache, &key, revision, &session, &read_at, unit_pool)) {
        return 0;
    }
    assert_int_equal(session->revision, revision);
    attr = memsess_session_find(session, "data");
    assert_non_null(attr);
    for (i = 0; i < attr->len; i++) {
        assert_int_equal(attr->value[i], 'A' + (n * 7 + revision) % 26);
    }
    return 1;
}

static void test_only_the_revision_that_is_wanted(void **state)
{
    memsess_cache_t *cache = new_cache(MEMSESS_CACHE_MIN, LONG_TIME);

    (void)state;
    assert_false(has(cache, 1, 1));
    put(cache, 1, 5, 100);
    assert_true(has(cache, 1, 5));
    assert_false(has(cache, 1, 4));
    assert_false(has(cache, 1, 6));
    assert_false(has(cache, 2, 5));
    put(cache, 1, 6, 100);
    assert_true(has(cache, 1, 6));
    assert_false(has(cache, 1, 5));
}

static void test_read_at_comes_back(void **state)
{
    memsess_cache_t *cache = new_cache(MEMSESS_CACHE_MIN, LONG_TIME);
    apr_time_t then = apr_time_now() - apr_time_from_sec(60), read_at;
    memsess_session_t *session;
    memsess_key_t key = key_of(1);

    (void)state;
    memsess_cache_put(cache, &key, session_of(1, 3, 10, unit_pool), then, unit_pool);
    assert_true(memsess_cache_get(cache, &key, 3, &session, &read_at, unit_pool));
    assert_int_equal(read_at, then);
}

/* The age of a copy does not depend on the wall clock. */
static void test_too_old(void **state)
{
    static const int set[] = {0, -600, 600};
    memsess_cache_t *cache = new_cache(MEMSESS_CACHE_MIN, apr_time_from_sec(60));
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(set); i++) {
        unit_set_wall(0);
        put(cache, 1, i, 10);
        unit_set_wall(apr_time_from_sec(set[i]));
        assert_true(has(cache, 1, i));
        unit_clocks_pass(apr_time_from_sec(50));
        assert_true(has(cache, 1, i));
        unit_clocks_pass(apr_time_from_sec(11));
        assert_false(has(cache, 1, i));
    }
}

static void test_parts(void **state)
{
    memsess_cache_t *whole = new_cache(MEMSESS_CACHE_MIN, LONG_TIME);
    memsess_cache_t *one = memsess_cache_part(whole, "a 1", unit_pool);
    memsess_cache_t *same = memsess_cache_part(whole, "a 1", unit_pool);
    memsess_cache_t *other = memsess_cache_part(whole, "b 1", unit_pool);
    memsess_key_t key = key_of(1);

    (void)state;
    put(one, 1, 1, 100);
    assert_true(has(one, 1, 1));
    assert_true(has(same, 1, 1));
    assert_false(has(other, 1, 1));
    assert_false(has(whole, 1, 1));
    put(other, 1, 1, 100);
    memsess_cache_drop(same, &key);
    assert_false(has(one, 1, 1));
    assert_true(has(other, 1, 1));
}

static void test_dropped(void **state)
{
    memsess_cache_t *cache = new_cache(MEMSESS_CACHE_MIN, LONG_TIME);
    memsess_key_t key = key_of(1);

    (void)state;
    memsess_cache_drop(cache, &key);
    put(cache, 1, 1, 100);
    put(cache, 2, 1, 100);
    memsess_cache_drop(cache, &key);
    assert_false(has(cache, 1, 1));
    assert_true(has(cache, 2, 1));
    put(cache, 1, 2, 100);
    assert_true(has(cache, 1, 2));
}

static void test_the_oldest_go_first(void **state)
{
    memsess_cache_t *cache = new_cache(MEMSESS_CACHE_MIN, LONG_TIME);
    unsigned n, kept = 0;

    (void)state;
    for (n = 0; n < 2000; n++) {
        put(cache, n, 1, 500);
    }
    assert_true(has(cache, 1999, 1));
    assert_false(has(cache, 0, 1));
    for (n = 0; n < 2000; n++) {
        kept += (unsigned)has(cache, n, 1);
    }
    /* 64 kB hold about 85 sessions, less those whose bucket was full. */
    assert_in_range(kept, 40, 128);
}

static void test_one_session_over_and_over(void **state)
{
    memsess_cache_t *cache = new_cache(MEMSESS_CACHE_MIN, LONG_TIME);
    apr_uint64_t revision;

    (void)state;
    for (revision = 1; revision < 3000; revision++) {
        put(cache, 1, revision, (apr_size_t)(revision % 1000));
        assert_true(has(cache, 1, revision));
    }
}

static void test_too_large(void **state)
{
    memsess_cache_t *cache = new_cache(MEMSESS_CACHE_MIN, LONG_TIME);

    (void)state;
    put(cache, 1, 1, 100);
    put(cache, 2, 1, MEMSESS_CACHE_MIN / 8);
    put(cache, 3, 1, 2 * MEMSESS_CACHE_MIN);
    assert_false(has(cache, 2, 1));
    assert_false(has(cache, 3, 1));
    assert_true(has(cache, 1, 1));
}

static void test_too_small(void **state)
{
    memsess_cache_t *cache;

    (void)state;
    assert_int_equal(memsess_cache_create(&cache, MEMSESS_CACHE_MIN - 1, 1, unit_pool),
                     APR_EINVAL);
}

static void test_child_processes_share_it(void **state)
{
    memsess_cache_t *cache = new_cache(MEMSESS_CACHE_MIN, LONG_TIME);
    int status;
    pid_t child;

    (void)state;
    put(cache, 1, 1, 100);
    child = fork();
    assert_true(child >= 0);
    if (!child) {
        if (!has(cache, 1, 1)) {
            _exit(1);
        }
        put(cache, 2, 9, 100);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(has(cache, 2, 9));
}

/* Threads write and read the same few sessions, in a ring that goes round all the time: what is
 * found is always whole, and belongs to the session that was asked for. */
#define THREADS 4
#define ROUNDS 20000
#define SHARED_SESSIONS 8

typedef struct worker_t {
    memsess_cache_t *cache;
    const memsess_key_t *keys;
    unsigned seed, found;
    int broken;
} worker_t;

static int is_whole(const memsess_session_t *session, unsigned n, apr_uint64_t revision)
{
    const memsess_attr_t *attr = memsess_session_find(session, "data");
    apr_size_t i;

    for (i = 0; attr && i < attr->len; i++) {
        if (attr->value[i] != (char)('A' + (n * 7 + revision) % 26)) {
            return 0;
        }
    }
    return attr && session->revision == revision;
}

static void *APR_THREAD_FUNC work(apr_thread_t *thread, void *data)
{
    worker_t *w = data;
    apr_time_t read_at;
    memsess_session_t *session;
    apr_pool_t *p;
    unsigned i;

    (void)thread;
    apr_pool_create(&p, NULL);
    for (i = 0; i < ROUNDS; i++) {
        unsigned draw = w->seed = w->seed * 1103515245 + 12345;
        unsigned n = (draw >> 16) % SHARED_SESSIONS;
        apr_uint64_t revision = 1 + (draw >> 20) % 4;

        if ((draw >> 24) % 2) {
            memsess_cache_put(w->cache, &w->keys[n], session_of(n, revision, (draw >> 8) % 3000, p),
                              apr_time_now(), p);
        }
        else if (memsess_cache_get(w->cache, &w->keys[n], revision, &session, &read_at, p)) {
            w->found++;
            w->broken |= !is_whole(session, n, revision);
        }
        apr_pool_clear(p);
    }
    apr_pool_destroy(p);
    return NULL;
}

static void test_threads(void **state)
{
    memsess_cache_t *cache = new_cache(MEMSESS_CACHE_MIN, LONG_TIME);
    memsess_key_t keys[SHARED_SESSIONS];
    apr_thread_t *threads[THREADS];
    worker_t workers[THREADS];
    apr_status_t rv;
    unsigned i;

    (void)state;
    for (i = 0; i < SHARED_SESSIONS; i++) {
        keys[i] = key_of(i);
    }
    for (i = 0; i < THREADS; i++) {
        workers[i] = (worker_t){.cache = cache, .keys = keys, .seed = i + 1};
        assert_int_equal(apr_thread_create(&threads[i], NULL, work, &workers[i], unit_pool),
                         APR_SUCCESS);
    }
    for (i = 0; i < THREADS; i++) {
        apr_thread_join(&rv, threads[i]);
        assert_false(workers[i].broken);
        assert_true(workers[i].found > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(test_only_the_revision_that_is_wanted),
        UNIT_TEST(test_read_at_comes_back),
        UNIT_TEST(test_too_old),
        UNIT_TEST(test_parts),
        UNIT_TEST(test_dropped),
        UNIT_TEST(test_the_oldest_go_first),
        UNIT_TEST(test_one_session_over_and_over),
        UNIT_TEST(test_too_large),
        UNIT_TEST(test_too_small),
        UNIT_TEST(test_child_processes_share_it),
        UNIT_TEST(test_threads),
    };

    unit_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
