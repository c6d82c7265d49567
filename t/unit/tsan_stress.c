/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Many threads use one pool, as in a child of httpd, while a server dies and comes back: sessions
 * are read, committed and ended, counters are read, and copies go through the local cache. This
 * file asserts little; the thread sanitizer, which it is built with, asserts the rest.
 */

#include "unit_store.h"

#include "apr_atomic.h"
#include "base/clock.h"
#include "base/count.h"
#include "session/cache.h"

#define THREADS 12
#define SESSIONS 6
#define SECONDS 8

static memsess_store_t *store;
static memsess_cache_t *cache;
static memsess_key_t keys[SESSIONS];
static volatile apr_uint32_t over, found, wrong;

static apr_status_t next_value(void *baton, const memsess_session_t *newest,
                               memsess_session_t **next, apr_pool_t *p)
{
    memsess_attr_t *attr;

    *next = apr_pmemdup(p, newest, sizeof(*newest));
    (*next)->attrs = apr_array_make(p, 1, sizeof(memsess_attr_t));
    attr = apr_array_push((*next)->attrs);
    attr->name = "of";
    attr->value = apr_psprintf(p, "session %d", *(int *)baton);
    attr->len = strlen(attr->value);
    return APR_SUCCESS;
}

static void use(int at, apr_pool_t *p)
{
    apr_time_t read_at = memsess_clock_steady();
    memsess_session_t *session;
    memsess_lock_t *lock;

    switch (unit_read(store, &keys[at], &session, p)) {
    case MEMSESS_FOUND:
        apr_atomic_inc32(&found);
        apr_atomic_add32(&wrong, session->attrs->nelts != 1
                                     || strcmp(memsess_session_find(session, "of")->value,
                                               apr_psprintf(p, "session %d", at)) != 0);
        memsess_cache_put(cache, &keys[at], session, read_at, p);
        if (memsess_lock_take(&lock, store, &keys[at], session, 0, p) == APR_SUCCESS) {
            memsess_lock_free(lock);
        }
        unit_commit(store, &keys[at], session, read_at, apr_time_from_msec(20), next_value, &at, p);
        memsess_cache_get(cache, &keys[at], session->revision, &session, &read_at, p);
        break;
    case MEMSESS_MISSING:
        if (memsess_session_make(&session, apr_time_now(), p) == APR_SUCCESS) {
            session->idle = apr_time_from_sec(60);
            next_value(&at, session, &session, p);
            memsess_store_write(store, &keys[at], session, p);
        }
        break;
    default:
        memsess_cache_drop(cache, &keys[at]);
    }
}

static void *user_main(void *data)
{
    apr_uint64_t figures[MEMSESS_N];
    apr_pool_t *p;
    int i;

    apr_pool_create(&p, NULL);
    for (i = *(int *)data; !apr_atomic_read32(&over); i++) {
        apr_pool_clear(p);
        use(i % SESSIONS, p);
        memsess_count(MEMSESS_N_LOADED);
        memsess_count_sample(memsess_clock_steady());
        memsess_count_read(figures);
    }
    apr_pool_destroy(p);
    return NULL;
}

static void open_store(unit_memcached_t **servers, unsigned n)
{
    apr_array_header_t *members = apr_array_make(unit_pool, (int)n, sizeof(memsess_member_t));
    const memsess_store_conf_t conf = {.members = members, .copies = 2, .failover = 1,
                                       .compress = 2048, .unpack = 4000000};
    unsigned i;

    for (i = 0; i < n; i++) {
        memsess_member_t *member = apr_array_push(members);

        servers[i] = unit_memcached();
        member->weight = 1;
        member->server = unit_server_conf(apr_psprintf(unit_pool, "cache%u", i), "127.0.0.1",
                                          servers[i]->port);
        member->server.timeout = apr_time_from_sec(1);
        member->server.retry = apr_time_from_msec(50);
        member->server.max_conns = THREADS;
    }
    store = unit_store_start(&the_pool, &conf, apr_hash_make(unit_pool));
}

static void test_many_threads(void **state)
{
    unit_memcached_t *servers[3];
    pthread_t threads[THREADS];
    int numbers[THREADS], i;

    (void)state;
    open_store(servers, 3);
    assert_int_equal(memsess_cache_create(&cache, MEMSESS_CACHE_MIN, apr_time_from_sec(1),
                                          unit_pool), APR_SUCCESS);
    for (i = 0; i < SESSIONS; i++) {
        unit_random_key(&keys[i]);
    }
    for (i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, user_main, &numbers[i]), 0);
    }
    for (i = 0; i < SECONDS; i++) {
        apr_sleep(apr_time_from_sec(1));
        if (i % 3 == 1) {
            unit_memcached_kill(servers[i % 2]);
        }
        if (i % 3 == 2) {
            unit_memcached_start(servers[(i - 1) % 2]);
        }
    }
    apr_atomic_set32(&over, 1);
    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    close_pool();
    assert_int_equal(wrong, 0);
    assert_true(found > SESSIONS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(test_many_threads),
    };

    unit_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
