/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* What becomes of sessions when servers leave, for good or with their memory, and when they
 * return. */

#include "unit_copies.h"

/* -- For good ---------------------------------------------------------------------------------- */

static void test_a_home_crashes(void **state)
{
    memsess_session_t *session;
    unsigned place;

    (void)state;
    open_store(4, 2, 1);
    for (place = 0; place < 2; place++) {
        next_key();
        session = written("one");
        unit_memcached_kill(at(place)); /* which the pool does not know yet */
        assert_finds("one");
        write_value(session, "two");
        assert_finds("two");
        /* There are two copies again. */
        assert_revisions(place ? "2 x 2 -" : "x 2 2 -");
        write_value(session, "three");
        assert_revisions(place ? "3 x 3 -" : "x 3 3 -");

        restart(place);
        assert_finds("three");
        /* There are exactly two copies: the one that stood in is deleted. */
        await_repaired("4 4 - -");
        write_value(read_session(), "four");
        assert_revisions("5 5 - -");
        assert_finds("four");
    }
}

/* The write itself finds that the server is down; N copies exist after it. */
static void test_a_home_crashes_before_a_write(void **state)
{
    memsess_session_t *session;
    unsigned place;

    (void)state;
    open_store(4, 2, 1);
    for (place = 0; place < 2; place++) {
        next_key();
        session = written("one");
        unit_memcached_kill(at(place));
        write_value(session, "two");
        assert_revisions(place ? "2 x 2 -" : "x 2 2 -");
        assert_finds("two");
        restart(place);
        assert_finds("two");
    }
}

static void test_born_while_a_home_is_away(void **state)
{
    unsigned copies;

    (void)state;
    for (copies = 1; copies <= 2; copies++) {
        open_store(4, copies, 1);
        crash(0);
        written("value");
        assert_revisions(copies == 1 ? "x 1 - -" : "x 1 1 -");
        assert_finds("value");
        restart(0);
        assert_finds("value");
        /* A single copy stays where it lies. */
        await_repaired(copies == 1 ? "- 1 - -" : "2 2 - -");
        assert_finds("value");
        close_pool();
        unit_servers_stop();
    }
}

static void test_born_while_all_homes_are_away(void **state)
{
    (void)state;
    open_store(4, 2, 1);
    crash(0);
    crash(1);
    written("one");
    assert_revisions("x x 1 1");
    assert_finds("one");
    restart(0);
    assert_finds("one");
    await_repaired("2 x 2 -");
    restart(1);
    assert_finds("one");
    await_repaired("3 3 - -");
    assert_finds("one");
}

static void test_all_servers_away(void **state)
{
    memsess_session_t *session;
    unsigned place;

    (void)state;
    open_store(3, 2, 1);
    session = written("one");
    for (place = 0; place < 3; place++) {
        unit_memcached_kill(at(place));
    }
    set_value(session, "two");
    assert_finds_not(MEMSESS_UNAVAILABLE);
    assert_int_not_equal(memsess_store_write(store, &key, session, unit_pool), APR_SUCCESS);
    assert_int_not_equal(commit(session, "two"), APR_SUCCESS);
    assert_int_not_equal(end(session), APR_SUCCESS);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    for (place = 0; place < 3; place++) {
        restart(place);
    }
    assert_finds_not(MEMSESS_MISSING);
    write_value(session, "three");
    assert_finds("three");
}

static void test_all_servers_restarted(void **state)
{
    unsigned place;

    (void)state;
    open_store(3, 2, 1);
    written("value");
    for (place = 0; place < 3; place++) {
        unit_memcached_kill(at(place));
        unit_memcached_start(at(place));
    }
    /* Nobody noticed the restarts: no operation fails, and the session is certainly lost. */
    assert_finds_not(MEMSESS_MISSING);
    written("again");
    assert_finds("again");
    assert_revisions("1 1 -");
    assert_int_equal(unit_logged("is down"), 0);
}

/* -- An error is never taken for a miss -------------------------------------------------------- */

static void test_missing_or_unavailable(void **state)
{
    unsigned place;

    (void)state;
    open_store(4, 2, 1);
    assert_finds_not(MEMSESS_MISSING);
    for (place = 0; place < 4; place++) {
        unit_memcached_kill(at(place)); /* which the pool does not know yet */
        assert_finds_not(MEMSESS_UNSEEN); /* a stand-in may have it, too */
        assert_finds_not(MEMSESS_UNSEEN);
        unit_memcached_start(at(place));
        know_up(place);
        assert_finds_not(MEMSESS_MISSING);
    }
    crash(0);
    crash(1);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    restart(0);
    assert_finds_not(MEMSESS_UNSEEN);
    restart(1);
    assert_finds_not(MEMSESS_MISSING);
}

/* With one copy: if its home has none, the session is not there for now, but that is not
 * certain. */
static void test_one_copy_that_is_not_there(void **state)
{
    (void)state;
    open_store(3, 1, 1);
    assert_finds_not(MEMSESS_MISSING);
    crash(2);
    assert_finds_not(MEMSESS_UNSEEN);
    crash(0);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    restart(2);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    restart(0);
    assert_finds_not(MEMSESS_MISSING);
}

/* As many silent servers as there are copies may have them all; one fewer may not. */
static void test_how_many_are_silent(void **state)
{
    unsigned copies, n, away;

    (void)state;
    for (n = 1; n <= 4; n++) {
        for (copies = 1; copies <= 3 && copies <= n; copies++) {
            open_store(n, copies, 1);
            for (away = 1; away <= n; away++) {
                crash(away - 1);
                assert_finds_not(away < copies ? MEMSESS_UNSEEN : MEMSESS_UNAVAILABLE);
            }
            close_pool();
            unit_servers_stop();
        }
    }
}

static int is_read_at_once(unsigned place)
{
    long asked = unit_memcached_stat(at(place), "cmd_get");

    assert_finds("here");
    return unit_memcached_stat(at(place), "cmd_get") == asked + 1;
}

/* Even with fewer servers than copies, a reading takes one round trip. */
static void test_reading_beside_a_server_that_is_away(void **state)
{
    (void)state;
    open_store(3, 3, 1);
    written("here");
    crash(0);
    unit_await(is_read_at_once(1));
    restart(0);
}

/* -- Failover off ------------------------------------------------------------------------------ */

static void test_without_failover(void **state)
{
    memsess_session_t *session;

    (void)state;
    open_store(4, 2, 0);
    session = written("one");
    unit_memcached_kill(at(0));
    assert_finds("one");
    write_value(session, "two");
    assert_revisions("x 2 - -");
    assert_finds("two");
    crash(1);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    assert_int_not_equal(memsess_store_write(store, &key, session, unit_pool), APR_SUCCESS);
    assert_revisions("x x - -");
    restart(0);
    assert_finds_not(MEMSESS_UNSEEN);
    restart(1);
    assert_finds_not(MEMSESS_MISSING);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORE_TEST(test_a_home_crashes),
        STORE_TEST(test_a_home_crashes_before_a_write),
        STORE_TEST(test_born_while_a_home_is_away),
        STORE_TEST(test_born_while_all_homes_are_away),
        STORE_TEST(test_missing_or_unavailable),
        STORE_TEST(test_how_many_are_silent),
        STORE_TEST(test_one_copy_that_is_not_there),
        STORE_TEST(test_all_servers_away),
        STORE_TEST(test_all_servers_restarted),
        STORE_TEST(test_without_failover),
        STORE_TEST(test_reading_beside_a_server_that_is_away),
    };

    unit_begin();
    return cmocka_run_group_tests_name("away", tests, NULL, NULL);
}
