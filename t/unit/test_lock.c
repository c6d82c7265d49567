/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The lock of a session, and the requests that wait for it. */

#include "unit_copies.h"

#include "apr_atomic.h"
#include "base/count.h"
#include "session/seal.h"

static void test_lock(void **state)
{
    memsess_lock_t *mine, *yours = NULL;
    memsess_session_t *session;
    apr_time_t start;

    (void)state;
    open_store(3, 2, 1);
    written("a");
    session = read_session();
    assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool), APR_SUCCESS);
    assert_int_equal(memsess_lock_take(&yours, store, &key, session, 0, unit_pool), MEMSESS_BUSY);
    start = apr_time_now();
    assert_int_equal(memsess_lock_take(&yours, store, &key, session, apr_time_from_msec(200),
                                       unit_pool), MEMSESS_BUSY);
    assert_in_range(apr_time_now() - start, apr_time_from_msec(150), PATIENCE / 2);
    /* The lock does not keep its holder from committing. */
    assert_int_equal(commit(session, "b"), APR_SUCCESS);
    session = read_session();
    memsess_lock_free(mine);
    assert_int_equal(memsess_lock_take(&yours, store, &key, session, SOON, unit_pool), APR_SUCCESS);
    /* Freeing a lock twice does not take it from the next holder. */
    memsess_lock_free(mine);
    assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool), MEMSESS_BUSY);
    memsess_lock_free(yours);
    assert_finds("ab");
    assert_revisions("2 2 -");
}

/* Puts a lock there, sealed as members do, which lasts until some seconds from now by the server's
 * own clock; the item itself stays. */
static void put_lock(const memsess_secrets_t *secrets, unsigned place, int seconds)
{
    char *plain = apr_psprintf(unit_pool, "0123456789abcdef1 %" APR_INT64_T_FMT,
                               memsess_server_clock(handle(place)) + seconds);
    apr_size_t len;
    char *data;

    assert_int_equal(memsess_seal(secrets, &key, "claim lock", plain, strlen(plain), &data, &len,
                                  unit_pool), APR_SUCCESS);
    unit_memcached_set(at(place), apr_pstrcat(unit_pool, copy_key(place), ".lock", NULL), data,
                       len);
}

/* An item that was put in the place of a lock holds nobody up: neither one that no member has
 * sealed, nor an old lock that somebody has put back. */
static void test_lock_that_was_planted(void **state)
{
    memsess_secrets_t *secrets = memsess_secrets_make(unit_pool);
    memsess_session_t *session;
    memsess_lock_t *mine;

    (void)state;
    unit_secret_add(secrets, 's', "");
    store_conf.secrets = secrets;
    open_store(1, 1, 1);
    store_conf.secrets = NULL;
    assert_int_equal(memsess_server_tell(handle(0)), APR_SUCCESS);
    written("a");
    session = read_session();
    put_lock(secrets, 0, 5);
    assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool), MEMSESS_BUSY);
    put_lock(secrets, 0, -5); /* members' estimates of that clock may differ */
    assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool), MEMSESS_BUSY);
    assert_int_equal(unit_logged("it is removed"), 0);
    put_lock(secrets, 0, -30);
    assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool), APR_SUCCESS);
    assert_int_equal(unit_logged("it is removed"), 1);
    memsess_lock_free(mine);
    unit_memcached_set(at(0), apr_pstrcat(unit_pool, copy_key(0), ".lock", NULL), "planted words",
                       13);
    assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool), APR_SUCCESS);
    assert_int_equal(unit_logged("it is removed"), 2);
    assert_int_equal(unit_logged("planted words"), 0);
    memsess_lock_free(mine);
}

/* Freeing a lock does not wait for its renewal, which waits for a server that hangs; the lock is
 * free once that server has answered. */
static void test_lock_is_freed_while_it_is_renewed(void **state)
{
    memsess_lock_t *mine, *yours = NULL;
    memsess_session_t *session;
    apr_time_t start;
    long asked;

    (void)state;
    timeout = apr_time_from_sec(5);
    open_store(3, 2, 1);
    timeout = TIMEOUT;
    written("a");
    session = read_session();
    assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool), APR_SUCCESS);
    asked = unit_memcached_stat(at(0), "cmd_get");
    unit_memcached_freeze(at(1));
    unit_await(unit_memcached_stat(at(0), "cmd_get") > asked);
    apr_sleep(apr_time_from_msec(100)); /* it asks the other server next */
    start = apr_time_now();
    memsess_lock_free(mine);
    assert_true(apr_time_now() - start < apr_time_from_sec(2));
    unit_memcached_thaw(at(1));
    start = apr_time_now();
    assert_int_equal(memsess_lock_take(&yours, store, &key, session, apr_time_from_sec(20),
                                       unit_pool), APR_SUCCESS);
    assert_true(apr_time_now() - start < apr_time_from_sec(MEMSESS_LOCK_TTL - 4));
    memsess_lock_free(yours);
}

/* A server that hung carries out what it was asked when it goes on: a lock or a claim whose writer
 * has given up by then is soon dropped. */
static void test_claims_that_come_late(void **state)
{
    memsess_lock_t *mine, *yours = NULL;
    memsess_session_t *session;
    edit_t edit = {.append = "b", .rv = APR_EINVAL};
    unsigned place;

    (void)state;
    timeout = HASTE;
    open_store(3, 2, 1);
    timeout = TIMEOUT;
    for (place = 0; place < 2; place++) {
        next_key();
        session = begun("a");
        unit_memcached_freeze(at(place));
        assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool),
                         APR_SUCCESS);
        memsess_lock_free(mine);
        unit_memcached_thaw(at(place));
        unit_await(!memsess_server_is_down(handle(place)));
        assert_int_equal(memsess_lock_take(&yours, store, &key, session, SOON + SOON, unit_pool),
                         APR_SUCCESS);
        memsess_lock_free(yours);

        edit.rv = APR_EINVAL;
        unit_memcached_freeze(at(place));
        assert_int_equal(commit_at(session, memsess_clock_steady(), 0, &edit), APR_EINVAL);
        unit_memcached_thaw(at(place));
        unit_await(!memsess_server_is_down(handle(place)));
        edit.rv = APR_SUCCESS;
        assert_int_equal(commit_at(read_session(), memsess_clock_steady(), SOON + SOON, &edit),
                         APR_SUCCESS);
    }
}

static void test_lock_while_a_home_is_away(void **state)
{
    memsess_lock_t *mine, *yours = NULL;
    memsess_session_t *session;
    unsigned place;

    (void)state;
    open_store(4, 2, 1);
    for (place = 0; place < 2; place++) {
        next_key();
        written("a");
        session = read_session();
        assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool),
                         APR_SUCCESS);
        crash(place);
        assert_int_equal(memsess_lock_take(&yours, store, &key, session, 0, unit_pool),
                         MEMSESS_BUSY);
        memsess_lock_free(mine);
        assert_int_equal(memsess_lock_take(&yours, store, &key, session, SOON, unit_pool),
                         APR_SUCCESS);
        unit_memcached_start(at(place));
        unit_await(!memsess_server_is_down(handle(place))); /* in less time than a lock lasts */
        assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool),
                         MEMSESS_BUSY);
        memsess_lock_free(yours);
        assert_int_equal(memsess_lock_take(&mine, store, &key, session, SOON, unit_pool),
                         APR_SUCCESS);
        memsess_lock_free(mine);
    }
    for (place = 0; place < 4; place++) {
        crash(place);
    }
    assert_int_not_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool),
                         APR_SUCCESS);
}

/* -- In turn ----------------------------------------------------------------------------------- */

typedef struct waiter_t {
    pthread_t thread;
    memsess_store_t *store;
    memsess_session_t *session;
    apr_interval_time_t wait;
    int number;
    apr_status_t rv;
} waiter_t;

static int served[8];
static volatile apr_uint32_t served_n;

static void *waiter_main(void *data)
{
    waiter_t *w = data;
    memsess_lock_t *lock;
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    w->rv = memsess_lock_take(&lock, w->store, &key, w->session, w->wait, p);
    if (w->rv == APR_SUCCESS) {
        served[apr_atomic_inc32(&served_n)] = w->number;
        apr_sleep(10000);
        memsess_lock_free(lock);
    }
    apr_pool_destroy(p);
    return NULL;
}

static apr_uint64_t counted_waits(void)
{
    apr_uint64_t figures[MEMSESS_N];

    memsess_count_read(figures);
    return figures[MEMSESS_N_LOCK_WAITS];
}

/* This many requests wait in a store while the lock is held; they come one after the other. */
static void waiters_come(waiter_t *waiters, int n, memsess_store_t *theirs,
                         apr_interval_time_t wait)
{
    int i;

    for (i = 0; i < n; i++) {
        apr_uint64_t before = counted_waits();

        waiters[i].store = theirs;
        waiters[i].session = read_session();
        waiters[i].wait = wait;
        waiters[i].number = i;
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, waiter_main, &waiters[i]), 0);
        unit_await(counted_waits() > before);
    }
}

static void waiters_end(waiter_t *waiters, int n, apr_status_t expected)
{
    int i;

    for (i = 0; i < n; i++) {
        pthread_join(waiters[i].thread, NULL);
        assert_int_equal(waiters[i].rv, expected);
    }
}

/* Within one process, the first to come is served first; a request that comes when the lock is free
 * does not overtake the others; and if enough wait, the next one is turned away at once. */
static void test_lock_is_taken_in_turn(void **state)
{
    enum { WAITERS = MEMSESS_WAITING_MAX };
    waiter_t waiters[WAITERS];
    memsess_lock_t *mine, *more;
    apr_time_t began;
    int i;

    (void)state;
    open_store(3, 2, 1);
    written("a");
    served_n = 0;
    assert_int_equal(memsess_lock_take(&mine, store, &key, read_session(), 0, unit_pool),
                     APR_SUCCESS);
    waiters_come(waiters, WAITERS, store, apr_time_from_sec(20));
    began = apr_time_now();
    assert_int_equal(memsess_lock_take(&more, store, &key, waiters[0].session,
                                       apr_time_from_sec(20), unit_pool), MEMSESS_CROWDED);
    assert_true(apr_time_now() - began < apr_time_from_sec(10));
    memsess_lock_free(mine);
    waiters_end(waiters, WAITERS, APR_SUCCESS);
    assert_int_equal(served_n, WAITERS);
    for (i = 0; i < WAITERS; i++) {
        assert_int_equal(served[i], i);
    }
    assert_int_equal(memsess_lock_take(&mine, store, &key, waiters[0].session, SOON, unit_pool),
                     APR_SUCCESS);
    memsess_lock_free(mine);
}

/* Another process gets its turn, too; and a request that gives up leaves its place to those behind
 * it. */
static void test_lock_is_shared_by_processes(void **state)
{
    waiter_t here[2], there[2];
    memsess_store_t *other;
    memsess_pool_t *other_pool;
    memsess_lock_t *mine;

    (void)state;
    open_store(3, 2, 1);
    written("a");
    other = unit_store_start(&other_pool, &store_conf, apr_hash_make(unit_pool));
    served_n = 0;
    assert_int_equal(memsess_lock_take(&mine, store, &key, read_session(), 0, unit_pool),
                     APR_SUCCESS);
    waiters_come(&here[0], 1, store, apr_time_from_msec(100));
    waiters_come(&here[1], 1, store, apr_time_from_sec(20));
    waiters_come(there, 2, other, apr_time_from_sec(20));
    waiters_end(&here[0], 1, MEMSESS_BUSY);
    memsess_lock_free(mine);
    waiters_end(&here[1], 1, APR_SUCCESS);
    waiters_end(there, 2, APR_SUCCESS);
    memsess_pool_destroy(other_pool);
}

static long commands_so_far(void)
{
    long n = 0;
    unsigned i;

    for (i = 0; i < servers_n; i++) {
        n += unit_memcached_stat(servers[i], "cmd_get") + unit_memcached_stat(servers[i], "cmd_set");
    }
    return n;
}

/* The load of waiting on the servers does not grow with the number of waiters, nor much with
 * time. */
static void test_waiting_for_a_lock_asks_little(void **state)
{
    enum { WAITERS = MEMSESS_WAITING_MAX };
    waiter_t waiters[WAITERS];
    memsess_lock_t *mine;
    long asked;

    (void)state;
    open_store(3, 2, 1);
    written("a");
    assert_int_equal(memsess_lock_take(&mine, store, &key, read_session(), 0, unit_pool),
                     APR_SUCCESS);
    waiters_come(waiters, WAITERS, store, apr_time_from_sec(2));
    asked = commands_so_far();
    waiters_end(waiters, WAITERS, MEMSESS_BUSY);
    asked = commands_so_far() - asked;
    assert_in_range(asked, 5, 400);
    memsess_lock_free(mine);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORE_TEST(test_lock),
        STORE_TEST(test_lock_that_was_planted),
        STORE_TEST(test_lock_is_taken_in_turn),
        STORE_TEST(test_lock_is_shared_by_processes),
        STORE_TEST(test_waiting_for_a_lock_asks_little),
        STORE_TEST(test_lock_is_freed_while_it_is_renewed),
        STORE_TEST(test_claims_that_come_late),
        STORE_TEST(test_lock_while_a_home_is_away),
    };

    unit_begin();
    return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
