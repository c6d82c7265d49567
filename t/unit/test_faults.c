/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* A server with faults: a broken answer counts as none, and costs no more than the time-out. */

#include "unit_calls.h"

static const char *const broken_answers[] = {
    "", "\r\n", "\n", "ERROR\r\n", "SERVER_ERROR out of memory\r\n", "CLIENT_ERROR no\r\n",
    "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "STORED\r\n", "EN", "END", "END\n",
    "VALUE", "VALUE\r\n", "VALUE %k\r\n", "VALUE %k 0\r\n", "VALUE %k 0 \r\n", "VALUE %k 0 x\r\n",
    "VALUE %k 0 -1\r\n", "VALUE %k 0 -1\r\n\r\nEND\r\n", "VALUE %k 0 5\r\n", "VALUE %k 0 5\r\nhel",
    "VALUE %k 0 5\r\nhello", "VALUE %k 0 5\r\nhello\r\n", "VALUE %k 0 5\r\nhello\r\nEN",
    "VALUE %k 0 5\r\nhello\r\nVALUE", "VALUE %k 0 3\r\nhello\r\nEND\r\n",
    "VALUE %k 0 4294967295\r\nhello\r\nEND\r\n", "VALUE %k 0 4294967296\r\nhello\r\nEND\r\n",
    "VALUE %k 0 99999999999999999999\r\nhello\r\nEND\r\n",
    "VALUE %k 0 18446744073709551615\r\nhello\r\nEND\r\n",
    "VALUE %k 0 18446744073709551614\r\nhello\r\nEND\r\n", "VALUE %k 0 5\nhello\r\nEND\r\n",
    " VALUE %k 0 5\r\nhello\r\nEND\r\n", "\xff\xfe\x80\x01\r\n", "value %k 0 5\r\nhello\r\nEND\r\n",
};

/* None of these counts as an answer, and an error is never taken for a miss. */
static void broken_answers_to_get(int closing)
{
    unit_answers_t well = {.get = "VALUE %k 0 2\r\nok\r\nEND\r\n",
                           .set = "STORED\r\n",
                           .version = "VERSION 1\r\n"};
    int port = unit_faulty_start(&well);
    memsess_server_conf_t conf = server_conf("127.0.0.1", port);
    memsess_server_t *server;
    unsigned i;

    conf.timeout = PATIENCE;
    conf.retry = apr_time_from_msec(10);
    open_pool();
    server = add_conf(&conf);
    start_pool();
    for (i = 0; i < COUNT(broken_answers); i++) {
        unit_answers_t broken = well;
        apr_time_t start;
        apr_status_t rv;

        assert_holds(server, "key", "ok"); /* this makes a connection */
        broken.get = broken_answers[i];
        broken.close = closing;
        unit_faulty_answers(&broken);
        unit_faulty_passes(0, closing ? 0 : (int)apr_time_sec(PATIENCE));
        start = unit_machines_now();
        rv = get_rv(server, "key");
        if (!is_error(rv)) {
            print_error("answer %u is taken for one: %s\n", i, broken.get);
        }
        assert_true(is_error(rv));
        assert_true(unit_machines_now() - start < PATIENCE / 2);
        unit_faulty_passes(0, 0);
        unit_faulty_answers(&well);
        unit_await(!memsess_server_is_down(server));
        assert_holds(server, "key", "ok");
    }
}

static void test_broken_answers_then_silence(void **state)
{
    (void)state;
    broken_answers_to_get(0);
}

static void test_broken_answers_then_the_end(void **state)
{
    (void)state;
    broken_answers_to_get(1);
}

static void test_broken_answers_to_set(void **state)
{
    static const char *const answers[] = {
        "", "\r\n", "ERROR\r\n", "SERVER_ERROR out of memory storing object\r\n",
        "CLIENT_ERROR bad data chunk\r\n", "STORE", "STORED", "STORED\n", "END\r\n", "\xff\r\n",
        "HTTP/1.1 400 Bad Request\r\n",
    };
    unit_answers_t well = {.get = "END\r\n", .set = "STORED\r\n", .version = "VERSION 1\r\n"};
    int port = unit_faulty_start(&well), closing;
    memsess_server_conf_t conf = server_conf("127.0.0.1", port);
    memsess_server_t *server;
    unsigned i;

    (void)state;
    conf.timeout = PATIENCE;
    conf.retry = apr_time_from_msec(10);
    open_pool();
    server = add_conf(&conf);
    start_pool();
    for (i = 0; i < COUNT(answers); i++) {
        for (closing = 0; closing < 2; closing++) {
            unit_answers_t broken = well;

            assert_int_equal(set(server, "key", "value"), APR_SUCCESS);
            broken.set = answers[i];
            broken.close = closing;
            unit_faulty_answers(&broken);
            unit_faulty_passes(0, closing ? 0 : (int)apr_time_sec(PATIENCE));
            if (!is_error(set(server, "key", "value"))) {
                print_error("answer %u is taken for one: %s\n", i, answers[i]);
                fail();
            }
            unit_faulty_passes(0, 0);
            unit_faulty_answers(&well);
            unit_await(!memsess_server_is_down(server));
        }
    }
}

/* A broken answer of one server does not spoil another server's. */
static void test_broken_answers_to_mget(void **state)
{
    unit_answers_t well = {.get = "VALUE %k 0 2\r\nok\r\nEND\r\n",
                           .set = "STORED\r\n",
                           .version = "VERSION 1\r\n"};
    int port = unit_faulty_start(&well);
    memsess_server_conf_t conf = server_conf("127.0.0.1", port);
    unit_memcached_t *m = unit_memcached();
    memsess_get_t gets[2];
    unsigned i;

    (void)state;
    memset(gets, 0, sizeof(gets));
    conf.timeout = PATIENCE;
    conf.retry = apr_time_from_msec(10);
    open_pool();
    gets[0].server = add_conf(&conf);
    gets[0].key = "key-faulty";
    conf = server_conf("127.0.0.1", m->port);
    conf.timeout = 100 * PATIENCE; /* time passes while it is asked */
    gets[1].server = add_conf(&conf);
    gets[1].key = "key-well";
    start_pool();
    unit_memcached_set(m, "key-well", "well", 4);
    for (i = 0; i < 2 * COUNT(broken_answers); i++) {
        unit_answers_t broken = well;

        memsess_pool_mget(gets, 2, unit_pool);
        assert_int_equal(gets[0].rv, APR_SUCCESS);
        assert_string_equal(gets[0].data, "ok");
        broken.get = broken_answers[i / 2];
        broken.close = i % 2;
        unit_faulty_answers(&broken);
        unit_faulty_passes(0, broken.close ? 0 : (int)apr_time_sec(PATIENCE));
        memsess_pool_mget(gets, 2, unit_pool);
        unit_faulty_passes(0, 0);
        assert_int_equal(gets[1].rv, APR_SUCCESS);
        assert_string_equal(gets[1].data, "well");
        if (gets[0].rv == APR_SUCCESS) {
            /* A value may be used if only what follows it is broken: the record itself shows
             * whether it is whole. */
            assert_non_null(strstr(broken.get, "\r\nhello\r\n"));
            assert_memory_equal(gets[0].data, "hello", gets[0].len);
            assert_in_range(gets[0].len, 3, 5);
        }
        else if (!is_error(gets[0].rv)) {
            print_error("answer %u is taken for one: %s\n", i / 2, broken.get);
            fail();
        }
        unit_faulty_answers(&well);
        unit_await(!memsess_server_is_down(gets[0].server));
        assert_holds(gets[0].server, "key-faulty", "ok");
    }
}

static void test_server_that_closes_at_once(void **state)
{
    unit_answers_t closes = {.refuse = 1};
    memsess_server_t *server;
    apr_time_t start = apr_time_now();

    (void)state;
    open_pool();
    server = add_port(unit_faulty_start(&closes));
    start_pool();
    assert_true(is_error(get_rv(server, "key")));
    assert_true(is_error(set(server, "key", "value")));
    assert_true(apr_time_now() - start < AT_MOST);
}

static apr_status_t add(memsess_server_t *server, const char *name, const char *value)
{
    return memsess_server_add(server, name, apr_pstrdup(unit_pool, value), strlen(value), 100);
}

/* A server that does not answer like a memcached is down, and the log says so: not every request
 * pays. */
static void test_broken_answers_are_failures(void **state)
{
    static const char *const answers[] = {"", "ERROR\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"};
    unit_answers_t well = {.get = "END\r\n", .set = "STORED\r\n", .version = "VERSION 1\r\n"};
    int port = unit_faulty_start(&well);
    unsigned i, what;

    (void)state;
    for (i = 0; i < COUNT(answers); i++) {
        for (what = 0; what < 4; what++) {
            unit_answers_t broken = {.get = answers[i],
                                     .set = answers[i],
                                     .version = answers[i],
                                     .close = 1};
            memsess_server_conf_t conf = server_conf("127.0.0.1", port);
            memsess_server_t *server;

            unit_log_clear();
            conf.timeout = TIMEOUT;
            conf.retry = apr_time_from_sec(60);
            open_pool();
            server = add_conf(&conf);
            start_pool();
            unit_faulty_answers(&well);
            assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
            unit_faulty_answers(&broken);
            assert_true(is_error(what == 0   ? get_rv(server, "key")
                                 : what == 1 ? set(server, "key", "value")
                                 : what == 2 ? add(server, "key", "value")
                                             : memsess_server_delete(server, "key")));
            assert_true(memsess_server_is_down(server));
            assert_int_equal(unit_logged("is down"), 1);
            assert_int_equal(unit_logged(i ? "it answered with an error, or is not a memcached"
                                           : "no answer within 1000 ms (MemSessTimeout)"), 1);
            close_pool();
        }
    }
}

/* The kernel's time-outs hold for each wait; the time-out of a whole answer holds as well. */
static void test_server_that_drips(void **state)
{
    unit_answers_t drips = {.get = "VALUE %k 0 5\r\nhello\r\nEND\r\n",
                            .set = "STORED\r\n",
                            .version = "VERSION 1\r\n",
                            .trickle = 150};
    memsess_server_conf_t conf = server_conf("127.0.0.1", unit_faulty_start(&drips));
    unit_memcached_t *m = unit_memcached();
    memsess_get_t gets[2];
    apr_time_t start;
    int i;

    (void)state;
    memset(gets, 0, sizeof(gets));
    conf.timeout = TIMEOUT; /* the greeting alone takes longer */
    open_pool();
    gets[0].server = add_conf(&conf);
    gets[0].key = "key-drips";
    gets[1].server = add_port(m->port);
    gets[1].key = "key-well";
    start_pool();
    unit_memcached_set(m, "key-well", "well", 4);
    for (i = 0; i < 2; i++) {
        start = apr_time_now();
        if (i == 0) {
            assert_true(is_error(get_rv(gets[0].server, "key-drips")));
        }
        else {
            memsess_pool_mget(gets, 2, unit_pool);
            assert_int_equal(gets[1].rv, APR_SUCCESS);
            assert_string_equal(gets[1].data, "well");
            assert_true(is_error(gets[0].rv));
        }
        assert_in_range(apr_time_now() - start, AT_LEAST(TIMEOUT), AT_MOST);
        assert_true(memsess_server_is_down(gets[0].server));
        drips.trickle = 0;
        unit_faulty_answers(&drips);
        unit_await(!memsess_server_is_down(gets[0].server));
        assert_holds(gets[0].server, "key-drips", "hello");
        drips.trickle = 150;
        unit_faulty_answers(&drips);
    }
}

/* A server that drips when it is probed does not keep the prober from the others, either: its whole
 * answer would take a minute. */
static void test_server_that_drips_when_probed(void **state)
{
    unit_answers_t drips = {.trickle = 60, .refuse = 1};
    memsess_server_t *dripping, *other;
    memsess_server_conf_t conf = server_conf("127.0.0.1", unit_faulty_start(&drips));
    unit_memcached_t *m = unit_memcached();
    char version[1000];
    int i;

    (void)state;
    memset(version, 'x', sizeof(version) - 1);
    version[sizeof(version) - 1] = '\0';
    drips.version = version;
    conf.timeout = HASTE;
    open_pool();
    dripping = add_conf(&conf);
    other = add_port(m->port);
    start_pool();
    assert_true(is_error(get_rv(dripping, "key")));
    drips.refuse = 0;
    unit_faulty_answers(&drips);
    unit_await(unit_faulty_asked() > 0);
    for (i = 0; i < 2; i++) {
        unit_memcached_kill(m);
        assert_true(is_error(get_rv(other, "key")));
        unit_memcached_start(m);
        unit_await(!memsess_server_is_down(other));
    }
    assert_true(memsess_server_is_down(dripping));
}

/* Data that a server had not received when its connection was given up is not delivered later. */
static void test_what_timed_out_is_not_delivered_late(void **state)
{
    enum { LARGE = 900000 };
    char *value = apr_palloc(unit_pool, LARGE);
    memsess_server_t *server;
    unit_memcached_t *m;

    (void)state;
    memset(value, 'x', LARGE);
    server = one_that_hangs(&m, TIMEOUT);
    assert_int_equal(set(server, "key", "old"), APR_SUCCESS);
    unit_memcached_freeze(m);
    assert_true(is_error(memsess_server_set(server, "key", value, LARGE, 0)));
    unit_memcached_thaw(m);
    unit_await(!memsess_server_is_down(server));
    apr_sleep(300000); /* an event that must not happen cannot be awaited */
    assert_holds(server, "key", "old");
}

typedef struct asker_t {
    pthread_t thread;
    memsess_get_t gets[2];
} asker_t;

static void *asker_main(void *data)
{
    asker_t *a = data;
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    memsess_pool_mget(a->gets, 2, p);
    apr_pool_destroy(p);
    return NULL;
}

/* When a connection is due to be shut, apr_memcache may have closed it, and its descriptor may be
 * another one's. */
static void test_only_its_own_descriptors_are_shut(void **state)
{
    enum { PAIRS = 6 };
    unit_answers_t answers = {.get = "VALUE %k 0 5\r\nhello\r\nEND\r\n",
                              .set = "STORED\r\n",
                              .version = "VERSION 1\r\n"};
    memsess_server_conf_t conf = server_conf("127.0.0.1", unit_faulty_start(&answers));
    unit_memcached_t *m = unit_memcached();
    int strangers[PAIRS][2], i;
    asker_t asker;
    char c;

    (void)state;
    memset(&asker, 0, sizeof(asker));
    conf.timeout = HASTE;
    open_pool();
    asker.gets[0].server = add_conf(&conf);
    asker.gets[0].key = "key-drips";
    asker.gets[1].server = add_port(m->port);
    asker.gets[1].key = "key-gone";
    start_pool();
    memsess_pool_mget(asker.gets, 2, unit_pool);
    unit_memcached_kill(m);
    answers.trickle = 30;
    unit_faulty_answers(&answers);
    assert_int_equal(pthread_create(&asker.thread, NULL, asker_main, &asker), 0);
    apr_sleep(150000);
    for (i = 0; i < PAIRS; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, strangers[i]), 0);
    }
    pthread_join(asker.thread, NULL);
    apr_sleep(HASTE);
    for (i = 0; i < 2 * PAIRS; i++) {
        int fd = strangers[i / 2][i % 2];

        assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
        assert_int_equal(errno, EAGAIN);
    }
    for (i = 0; i < 2 * PAIRS; i++) {
        close(strangers[i / 2][i % 2]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(test_broken_answers_then_silence),
        WIRE_TEST(test_broken_answers_then_the_end),
        WIRE_TEST(test_broken_answers_to_set),
        WIRE_TEST(test_broken_answers_to_mget),
        WIRE_TEST(test_server_that_closes_at_once),
        WIRE_TEST(test_broken_answers_are_failures),
        WIRE_TEST(test_server_that_drips),
        WIRE_TEST(test_server_that_drips_when_probed),
        WIRE_TEST(test_what_timed_out_is_not_delivered_late),
        WIRE_TEST(test_only_its_own_descriptors_are_shut),
    };

    unit_begin();
    return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
