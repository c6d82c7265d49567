/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Members whose clocks differ: nothing old is taken for new, and nothing is written needlessly. */

#include "unit_copies.h"

/* Members whose clocks are an hour apart take turns, while one server after the other is away: no
 * change is lost, nothing old is taken for new, and nothing is written needlessly. */
static void test_clocks_apart(void **state)
{
    static const int hours[] = {0, 1, -1};
    char expected[64] = "";
    unsigned i, place;

    (void)state;
    open_store(3, 2, 1);
    written("");
    for (i = 0; i < 30; i++) {
        edit_t edit = {.append = "x"};

        unit_set_wall(apr_time_from_sec(3600 * hours[i % COUNT(hours)]));
        place = i / 5 % 3;
        if (i % 5 == 1) {
            freeze(place);
        }
        assert_int_equal(commit_at(read_session(), memsess_clock_steady(), apr_time_from_sec(20),
                                   &edit), APR_SUCCESS);
        strcat(expected, "x");
        assert_finds(expected);
        if (i % 5 == 3) {
            thaw(place);
            assert_finds(expected);
        }
    }
    await_settled(2);
    for (i = 0; i < COUNT(hours); i++) {
        apr_uint64_t revision = revision_at(0);

        unit_set_wall(apr_time_from_sec(3600 * hours[i]));
        assert_finds(expected);
        assert_true(revision_at(0) == revision);
    }
}

/* Its servers tell how old a record is, whatever members' clocks say. */
static void test_how_long_ago_it_was_written(void **state)
{
    static const int hours[] = {0, 1, -1};
    apr_interval_time_t passed = 0;
    memsess_session_t *session;
    unsigned i;

    (void)state;
    open_store(3, 2, 1);
    session = begun("a");
    for (i = 0; i < COUNT(hours); i++) {
        unit_set_wall(apr_time_from_sec(3600 * hours[i]));
        assert_in_range(memsess_store_written_ago(store, session), passed * 9 / 10,
                        passed + apr_time_from_sec(20));
        unit_let_pass(apr_time_from_sec(100));
        passed += apr_time_from_sec(100);
    }
    reopen_store();
    assert_true(memsess_store_written_ago(store, session) < 0);
}

/* A member whose clock differs writes a session right after a server's return. Some seconds later
 * the record is believed, even if nobody has used it since, and the other server leaves. */
static void test_written_right_after_a_return(void **state)
{
    int hours;

    (void)state;
    open_store(2, 2, 1);
    for (hours = -1; hours <= 1; hours += 2) {
        apr_uint64_t revision;

        next_key();
        written("a");
        freeze(1);
        unit_memcached_thaw(at(1));
        unit_await(!memsess_server_is_down(handle(1)));
        unit_set_wall(apr_time_from_sec(3600 * hours));
        assert_int_equal(commit(read_session(), "b"), APR_SUCCESS);
        revision = revision_at(1);
        unit_set_wall(0);
        pass_time();
        unit_await(revision_at(1) > revision && revision_at(0) == revision_at(1));
        freeze(0);
        assert_finds("ab");
        thaw(0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORE_TEST(test_clocks_apart),
        STORE_TEST(test_how_long_ago_it_was_written),
        STORE_TEST(test_written_right_after_a_return),
    };

    unit_begin();
    return cmocka_run_group_tests_name("clocks apart", tests, NULL, NULL);
}
