/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* A server that is up, but slow, is passed over by readings that others can answer for it. */

#include "unit_copies.h"

static void answer_late(memsess_server_t *server)
{
    unsigned i;

    for (i = 0; i < 5; i++) {
        memsess_server_took(server, apr_time_from_msec(100));
    }
}

#define AN_HOUR apr_time_from_sec(3600)

/* Has a server seem slow. The prober would find out that it is not; but it asks no sooner than in an
 * hour, or just asks now. */
static void make_slow(unsigned place)
{
    memsess_server_t *server = handle(place);
    int is_first = server->conf.retry != AN_HOUR;

    server->conf.retry = AN_HOUR;
    answer_late(server);
    if (is_first && !memsess_count_check_due(server->conf.count, AN_HOUR)) {
        unit_await(!memsess_server_is_slow(server));
        answer_late(server);
    }
    assert_true(memsess_server_is_slow(server));
}

static void make_quick(unsigned place)
{
    memsess_server_took(handle(place), apr_time_from_msec(1));
    assert_false(memsess_server_is_slow(handle(place)));
}

static memsess_reading_t reading_of(const char *value)
{
    memsess_reading_t reading = {.key = key};

    memsess_store_read(store, &reading, unit_pool);
    assert_int_equal(reading.found, MEMSESS_FOUND);
    assert_string_equal(APR_ARRAY_IDX(reading.session->attrs, 0, memsess_attr_t).value, value);
    return reading;
}

static long gets_of(unsigned place)
{
    return unit_memcached_stat(at(place), "cmd_get");
}

static int is_passed_over(unsigned place, const char *value)
{
    long before = gets_of(place);
    int passed_over = reading_of(value).facts.passed_over;

    assert_int_equal(gets_of(place) == before, passed_over);
    return passed_over;
}

static void test_a_slow_home(void **state)
{
    unsigned copies, place;

    (void)state;
    for (copies = 2; copies < 4; copies++) {
        open_store(copies + 1, copies, 1);
        written("a");
        for (place = 0; place < copies; place++) {
            assert_false(is_passed_over(place, "a"));
            make_slow(place);
            assert_true(is_passed_over(place, "a"));
            make_quick(place);
        }
        make_slow(copies);
        assert_false(is_passed_over(0, "a"));
        close_pool();
        unit_servers_stop();
    }
}

/* Nobody can answer for it: there is no further server, one copy has no other home, another one is
 * slow, too, or away. */
static void test_that_has_to_be_asked(void **state)
{
    memsess_session_t *session;

    (void)state;
    open_store(2, 2, 1);
    written("a");
    make_slow(0);
    assert_false(is_passed_over(0, "a"));
    close_pool();
    unit_servers_stop();

    open_store(3, 1, 1);
    session = written("a");
    put_record(session, 0, "abc", 3, 0, 0);
    put_record(session, 1, "ab", 2, 0, 0);
    make_slow(0);
    assert_false(is_passed_over(0, "abc"));
    close_pool();
    unit_servers_stop();

    open_store(5, 3, 1);
    written("a");
    make_slow(0);
    make_slow(1);
    assert_false(is_passed_over(0, "a"));
    close_pool();
    unit_servers_stop();

    open_store(3, 2, 1);
    written("a");
    crash(1);
    make_slow(0);
    assert_false(is_passed_over(0, "a"));
}

/* It is not passed over either if the others do not have the session, or an older one than the
 * client has seen, or its tombstone. */
static void test_that_alone_knows(void **state)
{
    memsess_reading_t reading;
    memsess_session_t *session;

    (void)state;
    open_store(3, 2, 1);
    written("a");
    unit_memcached_delete(at(0), copy_key(0));
    make_slow(1);
    assert_false(is_passed_over(1, "a"));

    next_key();
    session = written("a");
    put_record(session, 1, "ab", 7, 0, 0);
    make_slow(1);
    reading = (memsess_reading_t){.key = key, .least = 7};
    memsess_store_read(store, &reading, unit_pool);
    assert_true(reading.session->revision == 7);

    next_key();
    assert_int_equal(end(begun("a")), APR_SUCCESS);
    make_slow(0);
    reading = (memsess_reading_t){.key = key};
    memsess_store_read(store, &reading, unit_pool);
    assert_int_equal(reading.found, MEMSESS_ENDED);
}

/* A writer that lost sight of one home has written to the other one, which is slow, and to the
 * stand-in. */
static void test_written_past_the_quick_home(void **state)
{
    unsigned place;

    (void)state;
    open_store(3, 2, 1);
    begun("a");
    handle(0)->conf.retry = AN_HOUR;
    memsess_server_failed(handle(0), APR_TIMEUP);
    assert_int_equal(commit(read_session(), "b"), APR_SUCCESS);
    for (place = 0; place < 2; place++) {
        reopen_store(); /* as a member that has always seen all servers */
        assert_int_equal(revision_at(0), 1);
        make_slow(place);
        assert_true(is_passed_over(place, "ab"));
    }
}

static void *read_main(void *value)
{
    assert_false(is_passed_over(1, value));
    return NULL;
}

/* A stand-in gives a newer revision up to the quick home, which has answered already. */
static void test_given_up_meanwhile(void **state)
{
    memsess_session_t *session;
    pthread_t reader;
    long before;

    (void)state;
    open_store(3, 2, 1);
    session = written("a");
    make_slow(1);
    unit_memcached_freeze(at(2));
    before = gets_of(0);
    assert_int_equal(pthread_create(&reader, NULL, read_main, "abc"), 0);
    unit_await(gets_of(0) > before);
    put_record(session, 0, "abc", 3, 0, 0);
    put_record(session, 1, "abc", 3, 0, 0);
    unit_memcached_thaw(at(2));
    pthread_join(reader, NULL);
}

/* A commit, other than a reading, asks all servers. */
static void test_a_commit_asks_it(void **state)
{
    memsess_reading_t reading;
    edit_t edit = {.append = "c"};
    memsess_session_t *session;

    (void)state;
    open_store(3, 2, 1);
    session = written("a");
    put_record(session, 1, "ab", 2, 60, 0);
    make_slow(1);
    reading = reading_of("a");
    assert_true(reading.facts.passed_over);
    memsess_store_repair(store, &reading, unit_pool);
    assert_revisions("1 2 -");
    assert_int_equal(memsess_store_commit(store, &reading, PATIENCE, make_next, &edit, unit_pool), APR_SUCCESS);
    assert_int_equal(edit.given, 2);
    assert_finds("abc");
    assert_int_equal(revision_at(0), revision_at(1));
}

/* Nor is a commit that waits for nobody dropped because the slow server has none. */
static void test_a_commit_repairs_it(void **state)
{
    memsess_reading_t reading;
    edit_t edit = {.append = "b"};

    (void)state;
    open_store(3, 2, 1);
    begun("a");
    unit_memcached_delete(at(1), copy_key(1));
    make_slow(1);
    reading = reading_of("a");
    assert_int_equal(memsess_store_commit(store, &reading, 0, make_next, &edit, unit_pool),
                     APR_SUCCESS);
    assert_revisions("2 2 -");
}

/* While a server is slow, the prober asks it now and then. */
static void test_until_it_is_quick(void **state)
{
    (void)state;
    open_store(3, 2, 1);
    answer_late(handle(0));
    memsess_keeper_wake(&the_pool->prober);
    unit_await(!memsess_server_is_slow(handle(0)));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORE_TEST(test_a_slow_home),
        STORE_TEST(test_that_has_to_be_asked),
        STORE_TEST(test_that_alone_knows),
        STORE_TEST(test_written_past_the_quick_home),
        STORE_TEST(test_given_up_meanwhile),
        STORE_TEST(test_a_commit_asks_it),
        STORE_TEST(test_a_commit_repairs_it),
        STORE_TEST(test_until_it_is_quick),
    };

    unit_begin();
    return cmocka_run_group_tests_name("slow", tests, NULL, NULL);
}
