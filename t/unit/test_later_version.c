/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Records of a later version of the module: they are not used, not overwritten, and not a miss. */

#include "unit_copies.h"

static const char later[] = "MSS\3 who knows what";

static void put_later(unsigned place)
{
    put_raw(place, later, sizeof(later) - 1);
}

static void assert_is_later(unsigned place)
{
    apr_size_t len;
    const char *data = copy_raw(place, &len);

    assert_non_null(data);
    assert_string_equal(data, later);
}

/* A later version's record is neither used nor overwritten, nor is it a miss, whatever copies of
 * this version are beside it, and whichever server is away. */
static void test_records_of_a_later_version(void **state)
{
    memsess_session_t *session;
    unsigned place, away;

    (void)state;
    open_store(3, 2, 1);
    for (place = 0; place < 3; place++) {
        next_key();
        written("value");
        put_later(place);
        assert_int_equal(unit_read(store, &key, &session, unit_pool),
                         place < 2 ? MEMSESS_UNAVAILABLE : MEMSESS_FOUND);
        for (away = 0; away < 3; away++) {
            if (away != place) {
                freeze(away);
                assert_finds_not(MEMSESS_UNAVAILABLE);
                thaw(away);
                assert_is_later(place);
            }
        }
    }
    assert_true(unit_logged("later version") >= 6);
    assert_true(unit_logged("until this member is updated") >= 6);
}

/* The same holds if it was not seen when the session was read: it was on a server that was away, or
 * on one that only now stands in. */
static void test_records_of_a_later_version_unseen(void **state)
{
    memsess_session_t *session;

    (void)state;
    open_store(3, 2, 1);
    written("value");
    put_later(0);
    freeze(0);
    session = read_session();
    thaw(0);
    assert_int_equal(commit(session, "+"), MEMSESS_DOWN);
    assert_is_later(0);

    next_key();
    written("value");
    session = read_session();
    put_later(2);
    freeze(0);
    assert_int_equal(commit(session, "+"), MEMSESS_DOWN);
    thaw(0);
    assert_is_later(2);
}

/* The record came after a commit's reading: the reading right before the write sees it. */
static void test_records_of_a_later_version_meanwhile(void **state)
{
    edit_t edit = {.append = "+"};
    memsess_session_t *session;

    (void)state;
    open_store(3, 2, 1);
    written("value");
    session = read_session();
    put_later(1);
    assert_int_equal(commit_at(session, memsess_clock_steady() - apr_time_from_sec(3), 0, &edit),
                     MEMSESS_DOWN);
    assert_int_equal(edit.calls, 0);
    assert_is_later(1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORE_TEST(test_records_of_a_later_version),
        STORE_TEST(test_records_of_a_later_version_unseen),
        STORE_TEST(test_records_of_a_later_version_meanwhile),
    };

    unit_begin();
    return cmocka_run_group_tests_name("later version", tests, NULL, NULL);
}
