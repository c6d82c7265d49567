/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Connections: shared by threads, few, taken in turn, at a server's limit, and never leaked. */

#include "unit_calls.h"

#include "apr_atomic.h"
#include "wire/turn.h"

/* -- Threads ----------------------------------------------------------------------------------- */

typedef struct worker_t {
    pthread_t thread;
    memsess_server_t *servers[2];
    int number, rounds;
    volatile int *unsteady;               /* the first server may fail now */
    int done, errors, wrong;              /* wrong: another worker's data, or a loss */
} worker_t;

/* Keeps writing and reading its own keys. It does not use cmocka, which belongs to the main
 * thread. */
static void *worker_main(void *data)
{
    worker_t *w = data;
    apr_pool_t *p;
    int i, s;

    apr_pool_create(&p, NULL);
    for (i = 0; i < w->rounds; i++) {
        memsess_get_t gets[2];
        char *value;

        apr_pool_clear(p);
        memset(gets, 0, sizeof(gets));
        value = apr_psprintf(p, "value of %d in round %d %0*d", w->number, i, i % 500, 0);
        for (s = 0; s < 2; s++) {
            apr_status_t rv;

            gets[s].server = w->servers[s];
            gets[s].key = apr_psprintf(p, "key-%d-%03d-%d", w->number, i % 100, s);
            rv = memsess_server_set(gets[s].server, gets[s].key, value, strlen(value), 0);
            if (rv != APR_SUCCESS) {
                w->errors++;
                w->wrong += s == 1 || !*w->unsteady;
            }
            else {
                rv = memsess_server_get(gets[s].server, gets[s].key, &gets[s].data, &gets[s].len,
                                        p);
                if (rv == APR_SUCCESS) {
                    w->wrong += gets[s].len != strlen(value) || strcmp(gets[s].data, value);
                }
                else {
                    w->errors++;
                    w->wrong += s == 1 || !*w->unsteady;
                }
            }
        }
        memsess_pool_mget(gets, 2, p);
        for (s = 0; s < 2; s++) {
            if (gets[s].rv == APR_SUCCESS) {
                const char *mine = apr_psprintf(p, "value of %d in round ", w->number);

                w->wrong += strncmp(gets[s].data, mine, strlen(mine)) != 0;
                w->wrong += s == 1 && strcmp(gets[s].data, value) != 0;
            }
            else {
                w->errors++;
                w->wrong += s == 1 || !*w->unsteady;
            }
        }
    }
    apr_pool_destroy(p);
    return NULL;
}

static void start_workers(worker_t *workers, int n, memsess_server_t *a, memsess_server_t *b,
                          int rounds, volatile int *unsteady)
{
    int i;

    for (i = 0; i < n; i++) {
        memset(&workers[i], 0, sizeof(workers[i]));
        workers[i].servers[0] = a;
        workers[i].servers[1] = b;
        workers[i].number = i;
        workers[i].rounds = rounds;
        workers[i].unsteady = unsteady;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]), 0);
    }
}

/* Waits for all workers before it judges any. */
static int join_workers(worker_t *workers, int n)
{
    int i, wrong = 0, errors = 0;

    for (i = 0; i < n; i++) {
        pthread_join(workers[i].thread, NULL);
        wrong += workers[i].wrong;
        errors += workers[i].errors;
    }
    if (wrong) {
        print_error("%s", unit_log_text);
    }
    assert_int_equal(wrong, 0);
    return errors;
}

static void test_threads(void **state)
{
    enum { THREADS = 4 };
    unit_memcached_t *a = unit_memcached(), *b = unit_memcached();
    memsess_server_conf_t conf;
    memsess_server_t *servers[2];
    worker_t workers[THREADS];
    volatile int unsteady = 0;
    long before = unit_memcached_stat(a, "total_connections");

    (void)state;
    open_pool();
    conf = server_conf("127.0.0.1", a->port);
    conf.timeout = PATIENCE;
    conf.max_conns = 2;
    servers[0] = add_conf(&conf);
    conf.port = (apr_port_t)b->port;
    servers[1] = add_conf(&conf);
    start_pool();
    start_workers(workers, THREADS, servers[0], servers[1], 400, &unsteady);
    assert_int_equal(join_workers(workers, THREADS), 0);
    /* Four threads shared two connections; a few more are the test's own. */
    assert_true(unit_memcached_stat(a, "total_connections") < before + 2 + 6);
    assert_int_equal(unit_logged("is down"), 0);
}

static void test_threads_while_a_server_restarts(void **state)
{
    enum { THREADS = 3 };
    unit_memcached_t *a = unit_memcached(), *b = unit_memcached();
    memsess_server_conf_t conf;
    memsess_server_t *servers[2];
    worker_t workers[THREADS];
    volatile int unsteady = 1;
    int i;

    (void)state;
    open_pool();
    conf = server_conf("127.0.0.1", a->port);
    conf.timeout = PATIENCE;
    conf.retry = apr_time_from_msec(10);
    servers[0] = add_conf(&conf);
    conf.port = (apr_port_t)b->port;
    servers[1] = add_conf(&conf);
    start_pool();
    start_workers(workers, THREADS, servers[0], servers[1], 800, &unsteady);
    for (i = 0; i < 4; i++) {
        apr_sleep(20000);
        unit_memcached_kill(a);
        apr_sleep(10000);
        unit_memcached_start(a);
    }
    join_workers(workers, THREADS);
    unit_await(!memsess_server_is_down(servers[0]));
    assert_int_equal(set(servers[0], "key", "value"), APR_SUCCESS);
    assert_holds(servers[0], "key", "value");
}

/* More threads than there are connections ask two servers together, in either order: a thread that
 * holds a connection to one of them does not wait for the other. */
static void test_reading_several_with_few_connections(void **state)
{
    enum { THREADS = 16 };
    unit_memcached_t *a = unit_memcached(), *b = unit_memcached();
    memsess_server_conf_t conf;
    memsess_server_t *servers[2];
    worker_t workers[THREADS];
    volatile int unsteady = 0;
    int n;

    (void)state;
    for (n = 1; n <= 4; n *= 2) {
        open_pool();
        conf = server_conf("127.0.0.1", a->port);
        conf.timeout = PATIENCE; /* too short if the threads waited for each other */
        conf.max_conns = n;
        servers[0] = add_conf(&conf);
        conf.port = (apr_port_t)b->port;
        servers[1] = add_conf(&conf);
        start_pool();
        start_workers(workers, THREADS / 2, servers[0], servers[1], 100, &unsteady);
        start_workers(workers + THREADS / 2, THREADS / 2, servers[1], servers[0], 100, &unsteady);
        assert_int_equal(join_workers(workers, THREADS), 0);
        assert_int_equal(unit_logged("is down"), 0);
        close_pool();
    }
}

/* -- In turn ----------------------------------------------------------------------------------- */

typedef struct waiter_t {
    pthread_t thread;
    memsess_server_t *server;
    apr_status_t rv;
    apr_interval_time_t took;
} waiter_t;

static void *waiter_main(void *data)
{
    waiter_t *w = data;
    apr_time_t start = apr_time_now();
    apr_pool_t *p;
    apr_size_t len;
    char *value;

    apr_pool_create(&p, NULL);
    w->rv = memsess_server_get(w->server, "key", &value, &len, p);
    w->took = apr_time_now() - start;
    apr_pool_destroy(p);
    return NULL;
}

/* A thread that finds all connections in use waits no longer than for an answer: not for the time-outs
 * of all who are before it. */
static void test_waiting_for_a_connection_is_bounded(void **state)
{
    enum { THREADS = 30 };
    unit_memcached_t *m = unit_memcached();
    memsess_server_conf_t conf = server_conf("127.0.0.1", m->port);
    memsess_server_t *server;
    waiter_t waiters[THREADS];
    int i;

    (void)state;
    conf.max_conns = 1;
    conf.timeout = TIMEOUT;
    open_pool();
    server = add_conf(&conf);
    start_pool();
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    unit_memcached_freeze(m);
    for (i = 0; i < THREADS; i++) {
        waiters[i].server = server;
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, waiter_main, &waiters[i]), 0);
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(waiters[i].thread, NULL);
    }
    for (i = 0; i < THREADS; i++) {
        assert_true(is_error(waiters[i].rv));
        assert_true(waiters[i].took < AT_MOST);
    }
    unit_memcached_thaw(m);
    unit_await(!memsess_server_is_down(server));
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
}

/* A request whose connection failed looks for another one. If it could open one when the server is
 * already known to be away, that would cost a second time-out. */
static void test_nothing_is_opened_to_a_server_that_is_down(void **state)
{
    memsess_server_conf_t conf = server_conf("127.0.0.1", 1);
    memsess_link_t link = {.conf = &conf};
    volatile apr_uint32_t down = 0;
    memsess_turns_t turns = {.n = 0};
    memsess_conn_t *c;

    (void)state;
    memsess_turns_init(&turns, &link, &down);
    assert_int_equal(memsess_turn_take(&c, &turns, 0), APR_SUCCESS);
    memsess_turn_give(&turns, c);
    down = 1;
    assert_int_equal(memsess_turn_take(&c, &turns, PATIENCE), MEMSESS_DOWN);
    assert_null(c);
}

typedef struct flips_t {
    volatile apr_uint32_t down, stop;
} flips_t;

static void *flip_main(void *data)
{
    flips_t *flips = data;

    while (!flips->stop) {
        flips->down = !flips->down;
    }
    return NULL;
}

/* A server comes back while a request looks for a connection: the request does not wait if a
 * connection is idle. */
static void test_nobody_waits_beside_a_connection_that_rests(void **state)
{
    memsess_server_conf_t conf = server_conf("127.0.0.1", 1);
    memsess_link_t link = {.conf = &conf};
    flips_t flips = {0};
    memsess_turns_t turns = {.n = 0};
    memsess_conn_t *c;
    pthread_t thread;
    int i, given = 0;

    (void)state;
    conf.idle = PATIENCE;
    memsess_turns_init(&turns, &link, &flips.down);
    assert_int_equal(memsess_turn_take(&c, &turns, 0), APR_SUCCESS);
    c->mc = (apr_memcache_t *)&conf; /* as if it were open */
    c->rested = memsess_clock_steady();
    memsess_turn_give(&turns, c);
    assert_int_equal(pthread_create(&thread, NULL, flip_main, &flips), 0);
    for (i = 0; i < 1000000; i++) {
        apr_status_t rv = memsess_turn_take(&c, &turns, PATIENCE);

        assert_int_not_equal(rv, MEMSESS_UNSENT);
        if (rv == APR_SUCCESS) {
            memsess_turn_give(&turns, c);
            given++;
        }
    }
    flips.stop = 1;
    pthread_join(thread, NULL);
    assert_true(given > 0);
    flips.down = 0;
    assert_int_equal(memsess_turn_take(&c, &turns, 0), APR_SUCCESS);
    free(c);
}

/* A server that is slow, but answers in time, serves all who wait, even if all answers together
 * take longer than its time-out. */
static void test_waiting_for_a_connection_is_no_time_out(void **state)
{
    enum { THREADS = 10 };
    unit_answers_t slow = {.get = "VALUE %k 0 20\r\n01234567890123456789\r\nEND\r\n",
                           .set = "STORED\r\n",
                           .version = "VERSION 1\r\n"};
    memsess_server_conf_t conf = server_conf("127.0.0.1", unit_faulty_start(&slow));
    memsess_server_t *server;
    waiter_t waiters[THREADS];
    apr_time_t start = apr_time_now();
    int i;

    (void)state;
    unit_faulty_passes(10, 0);
    conf.timeout = apr_time_from_sec(30);
    conf.max_conns = 1;
    open_pool();
    server = add_conf(&conf);
    start_pool();
    for (i = 0; i < THREADS; i++) {
        waiters[i].server = server;
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, waiter_main, &waiters[i]), 0);
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(waiters[i].thread, NULL);
    }
    for (i = 0; i < THREADS; i++) {
        assert_int_equal(waiters[i].rv, APR_SUCCESS);
    }
    assert_true(apr_time_now() - start > 2 * conf.timeout);
    assert_false(memsess_server_is_down(server));
    assert_int_equal(unit_faulty_accepted(), 1);
}

/* -- A server at its limit of connections ------------------------------------------------------ */

/* Connects until memcached accepts no more. */
static int take_all(const unit_memcached_t *m, int *taken, int most)
{
    int n, got = 1;

    for (n = 0; n < most && got; n++) {
        char answer[100];

        taken[n] = unit_connect(m);
        assert_true(taken[n] >= 0);
        assert_int_equal(send(taken[n], "version\r\n", 9, MSG_NOSIGNAL), 9);
        got = recv(taken[n], answer, sizeof(answer), 0) > 7 && !memcmp(answer, "VERSION", 7);
    }
    assert_false(got);
    return n;
}

static void leave_all(const int *taken, int n)
{
    while (n) {
        close(taken[--n]);
    }
}

static unit_memcached_t *limited_memcached(void)
{
    unit_memcached_t *m = unit_memcached();

    unit_memcached_kill(m);
    m->limit = "30"; /* descriptors: enough for ten connections or more */
    unit_memcached_start(m);
    return m;
}

/* Existing connections go on serving all threads, and the server is not down. */
static void test_a_full_server_serves_those_it_has_accepted(void **state)
{
    enum { THREADS = 16 };
    unit_memcached_t *m = limited_memcached(), *other = unit_memcached();
    memsess_server_conf_t conf = server_conf("127.0.0.1", m->port);
    memsess_server_t *server, *beside;
    worker_t workers[THREADS];
    volatile int unsteady = 0;
    int taken[40], n;

    (void)state;
    conf.timeout = PATIENCE;
    conf.max_conns = 6;
    conf.idle = apr_time_from_msec(10); /* the last connection is kept nevertheless */
    open_pool();
    server = add_conf(&conf);
    conf.port = (apr_port_t)other->port;
    beside = add_conf(&conf);
    start_pool();
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    n = take_all(m, taken, COUNT(taken));
    start_workers(workers, THREADS, server, beside, 50, &unsteady);
    assert_int_equal(join_workers(workers, THREADS), 0);
    unit_await(unit_logged("accepts no more connections"));
    apr_sleep(100000);
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    assert_false(memsess_server_is_down(server));
    leave_all(taken, n);
    /* Then the pool opens more connections again. */
    unit_await((start_workers(workers, THREADS, server, beside, 20, &unsteady),
                join_workers(workers, THREADS), unit_memcached_stat(m, "curr_connections") > 4));
    assert_int_equal(unit_logged("is down"), 0);
    assert_int_equal(unit_logged("accepts no more connections"), 1);
}

static void *thaw_soon(void *m)
{
    apr_sleep(80000); /* apr_memcache gives up what takes over 50 ms */
    unit_memcached_thaw(m);
    return NULL;
}

/* A server whose answer takes long: it is frozen until a while after it was asked. */
typedef struct late_t {
    unit_memcached_t *m;
    memsess_server_t *server;
} late_t;

static void *thaw_late(void *data)
{
    const late_t *late = data;

    unit_await(!unit_server_rests(late->server));
    apr_sleep(200000);
    unit_memcached_thaw(late->m);
    return NULL;
}

static void ask_late(late_t *late, memsess_get_t *gets, int n)
{
    pthread_t thread;
    int i;

    unit_memcached_freeze(late->m);
    assert_int_equal(pthread_create(&thread, NULL, thaw_late, late), 0);
    memsess_pool_mget(gets, n, unit_pool);
    pthread_join(thread, NULL);
    for (i = 0; i < n; i++) {
        assert_int_equal(gets[i].rv, MEMSESS_ABSENT);
    }
}

/* apr_memcache drops the connection of a server that it asked together with others and that took
 * over 50 ms. A server that is known to be slow keeps its connections. */
static void test_a_slow_server_keeps_its_connections(void **state)
{
    enum { ROUNDS = 6 };
    unit_memcached_t *m = unit_memcached(), *other = unit_memcached();
    memsess_server_conf_t conf = server_conf("127.0.0.1", m->port);
    memsess_get_t gets[] = {{.key = "a"}, {.key = "b"}, {.key = "c"}};
    late_t late = {.m = m};
    long before;
    int i;

    (void)state;
    conf.timeout = PATIENCE;
    conf.retry = apr_time_from_sec(3600); /* the prober would find that it is not always slow */
    open_pool();
    gets[0].server = gets[1].server = late.server = add_conf(&conf);
    conf.port = (apr_port_t)other->port;
    gets[2].server = add_conf(&conf);
    start_pool();
    assert_int_equal(get_rv(late.server, "a"), MEMSESS_ABSENT);
    for (i = 0; i < ROUNDS; i++) {
        ask_late(&late, gets + 1, 2);
    }
    assert_true(memsess_server_is_slow(late.server));
    before = unit_memcached_stat(m, "total_connections");
    for (i = 0; i < ROUNDS; i++) {
        ask_late(&late, gets, COUNT(gets));
    }
    /* The one that asks for the figure is new; maybe also one for the second key. */
    assert_in_range(unit_memcached_stat(m, "total_connections") - before, 1, 2);
}

/* A connection that took too long is closed. A full server may still count it when it is asked for
 * another one. */
static void test_a_full_server_has_room_for_a_connection_in_place_of_another(void **state)
{
    unit_memcached_t *m = limited_memcached(), *other = unit_memcached();
    memsess_server_conf_t conf = server_conf("127.0.0.1", m->port);
    memsess_get_t gets[2];
    int taken[40], n, i;

    (void)state;
    conf.timeout = PATIENCE;
    open_pool();
    memset(gets, 0, sizeof(gets));
    gets[0].server = add_conf(&conf);
    gets[0].key = gets[1].key = "key";
    conf.port = (apr_port_t)other->port;
    gets[1].server = add_conf(&conf);
    start_pool();
    assert_int_equal(get_rv(gets[0].server, "key"), MEMSESS_ABSENT);
    n = take_all(m, taken, COUNT(taken));
    for (i = 0; i < 40; i++) {
        pthread_t thread;

        unit_memcached_freeze(m);
        assert_int_equal(pthread_create(&thread, NULL, thaw_soon, m), 0);
        memsess_pool_mget(gets, 2, unit_pool);
        pthread_join(thread, NULL);
        assert_int_equal(gets[0].rv, MEMSESS_ABSENT);
        assert_int_equal(gets[1].rv, MEMSESS_ABSENT);
    }
    leave_all(taken, n);
}

/* A server that still counts a connection that was closed. */
typedef struct counting_t {
    unit_answers_t full, free;
    pthread_t thread;
    volatile int is_over;
    int answers;
} counting_t;

/* The server refuses three connections before it notices that its only one was closed. */
static void *notice_late(void *data)
{
    counting_t *c = data;
    int before = unit_faulty_accepted();

    while (!c->is_over && unit_faulty_accepted() < before + 3) {
        apr_sleep(1000);
    }
    unit_faulty_answers(&c->free);
    return NULL;
}

/* The first answer is for another key. */
static int is_foreign_once(const void *baton, const char *data, apr_size_t len)
{
    counting_t *c = *(counting_t *const *)baton;

    (void)data;
    (void)len;
    if (!c->answers++) {
        unit_faulty_answers(&c->full);
        pthread_create(&c->thread, NULL, notice_late, c);
        return 0;
    }
    return 1;
}

/* After another key's answer the only connection is closed, and the question is asked on another one. */
static void test_a_full_server_that_answers_for_another_key(void **state)
{
    counting_t counting = {.free = {.get = "VALUE %k 0 5\r\nvalue\r\nEND\r\n",
                                    .set = "STORED\r\n",
                                    .version = "VERSION 1\r\n"},
                           .full = {.version = "ERROR Too many open connections\r\n"}};
    counting_t *baton = &counting;
    memsess_server_conf_t conf = server_conf("127.0.0.1", unit_faulty_start(&counting.free));
    memsess_get_t get = {.key = "key", .check = is_foreign_once, .baton = &baton};

    (void)state;
    conf.timeout = PATIENCE;
    open_pool();
    get.server = add_conf(&conf);
    start_pool();
    assert_int_equal(set(get.server, "key", "value"), APR_SUCCESS);
    memsess_pool_mget(&get, 1, unit_pool);
    counting.is_over = 1;
    pthread_join(counting.thread, NULL);
    assert_int_equal(counting.answers, 2);
    assert_int_equal(get.rv, APR_SUCCESS);
    assert_false(memsess_server_is_down(get.server));
}

/* After a refusal the only connection is closed, and another one tells whether the server is well. */
static void test_a_full_server_that_refuses_a_record(void **state)
{
    enum { LARGE = 1100000 };
    unit_memcached_t *m = limited_memcached();
    memsess_server_conf_t conf = server_conf("127.0.0.1", m->port);
    char *large = apr_pcalloc(unit_pool, LARGE);
    memsess_server_t *server;
    int taken[40], n, i;

    (void)state;
    conf.timeout = PATIENCE;
    open_pool();
    server = add_conf(&conf);
    start_pool();
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    n = take_all(m, taken, COUNT(taken));
    for (i = 0; i < 40; i++) {
        assert_int_equal(memsess_server_set(server, "key", large, LARGE, 60), MEMSESS_TOO_LARGE);
        assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    }
    assert_false(memsess_server_is_down(server));
    leave_all(taken, n);
}

/* A pool without a connection gets an error, and a connection as soon as one is free, which it
 * keeps. */
static void test_a_full_server_and_no_connection(void **state)
{
    unit_memcached_t *m = limited_memcached();
    memsess_server_conf_t conf = server_conf("127.0.0.1", m->port);
    memsess_server_t *server;
    int taken[40], n = take_all(m, taken, COUNT(taken));

    (void)state;
    conf.max_conns = 4;
    open_pool();
    server = add_conf(&conf);
    start_pool();
    assert_int_equal(get_rv(server, "key"), MEMSESS_TOO_MANY);
    assert_int_equal(get_rv(server, "key"), MEMSESS_DOWN);
    assert_int_equal(unit_logged("is down"), 0);
    leave_all(taken, n);
    unit_await(!memsess_server_is_down(server));
    n = take_all(m, taken, COUNT(taken));
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    assert_int_equal(set(server, "key", "value"), APR_SUCCESS);
    leave_all(taken, n);
}

/* -- Idle connections -------------------------------------------------------------------------- */

static void test_unused_connections_are_not_used_again(void **state)
{
    unit_memcached_t *m = unit_memcached();
    memsess_server_conf_t conf = server_conf("127.0.0.1", m->port);
    memsess_server_t *server;
    long before;
    int i;

    (void)state;
    conf.idle = apr_time_from_msec(20);
    open_pool();
    server = add_conf(&conf);
    start_pool();
    before = unit_memcached_stat(m, "total_connections");
    for (i = 0; i < 3; i++) {
        assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
        apr_sleep(60000);
    }
    assert_true(unit_memcached_stat(m, "total_connections") >= before + 3 + 1);
    assert_int_equal(unit_logged("is down"), 0);
}

static void test_no_descriptor_leaks(void **state)
{
    unit_answers_t broken = {.get = "ERROR\r\n", .set = "ERROR\r\n", .version = "VERSION 1\r\n"};
    int before = unit_descriptors(), during, i;
    unit_memcached_t *m = unit_memcached();
    memsess_server_t *server, *faulty, *nobody;
    memsess_get_t gets[3];
    memsess_server_conf_t conf;

    (void)state;
    memset(gets, 0, sizeof(gets));
    open_pool();
    conf = server_conf("127.0.0.1", m->port);
    conf.timeout = TIMEOUT;
    server = add_conf(&conf);
    conf = server_conf("127.0.0.1", unit_faulty_start(&broken));
    faulty = add_conf(&conf);
    conf = server_conf("127.0.0.1", unit_free_port(AF_INET));
    conf.retry = apr_time_from_msec(10);
    nobody = add_conf(&conf);
    start_pool();
    gets[0].server = server;
    gets[1].server = faulty;
    gets[2].server = nobody;
    gets[0].key = "key-0";
    gets[1].key = "key-1";
    gets[2].key = "key-2";

    assert_int_equal(set(server, "key-0", "value"), APR_SUCCESS);
    during = unit_descriptors();
    for (i = 0; i < 1000; i++) {
        apr_pool_t *p;

        apr_pool_create(&p, unit_pool);
        assert_holds(server, "key-0", "value");
        if (i % 10 == 0) {
            assert_true(is_error(get_rv(faulty, "key")));
            assert_true(is_error(set(faulty, "key", "value")));
            assert_true(is_error(get_rv(nobody, "key")));
            memsess_pool_mget(gets, 3, p);
            assert_int_equal(gets[0].rv, APR_SUCCESS);
            assert_true(is_error(gets[1].rv));
            assert_true(is_error(gets[2].rv));
        }
        if (i % 250 == 0) {
            unit_memcached_freeze(m);
            assert_true(is_error(get_rv(server, "key-0")));
            unit_memcached_thaw(m);
            unit_await(!memsess_server_is_down(server));
        }
        apr_pool_destroy(p);
    }
    unit_faulty_stop();
    /* The number may differ by one or two, the prober's connections included, but not by
     * hundreds. */
    assert_true(unit_descriptors() <= during + 4);
    close_pool();
    unit_servers_stop();
    assert_int_equal(unit_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(test_threads),
        WIRE_TEST(test_threads_while_a_server_restarts),
        WIRE_TEST(test_waiting_for_a_connection_is_bounded),
        WIRE_TEST(test_nothing_is_opened_to_a_server_that_is_down),
        WIRE_TEST(test_nobody_waits_beside_a_connection_that_rests),
        WIRE_TEST(test_waiting_for_a_connection_is_no_time_out),
        WIRE_TEST(test_reading_several_with_few_connections),
        WIRE_TEST(test_a_full_server_serves_those_it_has_accepted),
        WIRE_TEST(test_a_slow_server_keeps_its_connections),
        WIRE_TEST(test_a_full_server_has_room_for_a_connection_in_place_of_another),
        WIRE_TEST(test_a_full_server_that_answers_for_another_key),
        WIRE_TEST(test_a_full_server_that_refuses_a_record),
        WIRE_TEST(test_a_full_server_and_no_connection),
        WIRE_TEST(test_unused_connections_are_not_used_again),
        WIRE_TEST(test_no_descriptor_leaks),
    };

    unit_begin();
    return cmocka_run_group_tests_name("connections", tests, NULL, NULL);
}
