/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Commits: exact, one after the other, while servers fail, and while other writes are under way. */

#include "unit_copies.h"

#include "store/claim.h"

/* -- One after the other ----------------------------------------------------------------------- */

static void test_commit(void **state)
{
    memsess_session_t *session;
    edit_t edit = {.append = "b"};

    (void)state;
    open_store(3, 2, 1);
    session = written("a");
    assert_int_equal(commit_at(session, memsess_clock_steady(), 0, &edit), APR_SUCCESS);
    assert_int_equal(edit.calls, 1);
    assert_int_equal(edit.given, 1);
    assert_int_equal(session->revision, 1);
    assert_finds("ab");
    assert_revisions("2 2 -");
    assert_int_equal(commit(read_session(), "c"), APR_SUCCESS);
    assert_finds("abc");
    assert_revisions("3 3 -");
}

/* Another writer was faster: the change is made upon that writer's revision. */
static void test_commit_on_an_old_revision(void **state)
{
    memsess_session_t *session;
    edit_t edit = {.append = "d"};

    (void)state;
    open_store(3, 2, 1);
    written("a");
    session = read_session();
    assert_int_equal(commit(session, "b"), APR_SUCCESS);
    /* The claim of that revision is still there. */
    edit.append = "c";
    assert_int_equal(commit_at(session, memsess_clock_steady(), apr_time_from_sec(5), &edit),
                     APR_SUCCESS);
    assert_int_equal(edit.given, 2);
    assert_finds("abc");
    /* If the reading is old, the claim may be gone; then the reading is not believed. */
    edit.append = "d";
    assert_int_equal(commit_at(session, memsess_clock_steady() - apr_time_from_sec(60),
                               apr_time_from_sec(5), &edit), APR_SUCCESS);
    assert_int_equal(edit.given, 3);
    assert_finds("abcd");
    assert_revisions("4 4 -");
}

/* Notes how long a commit's claims can still live while it is at work. */
static apr_status_t see_claims(void *baton, const memsess_session_t *newest,
                               memsess_session_t **next, apr_pool_t *p)
{
    (void)newest;
    (void)next;
    (void)p;
    *(int *)baton = seconds_left(0, ".2");
    return APR_EGENERAL;
}

/* A claim lives longer than three spans, one after the other: the age that a reading may have, the
 * delay that an add may have, and the time that the last copy may take, which MemSessTimeout
 * allows. One second more is memcached's. */
static void test_a_claim_outlives_the_slowest_commit(void **state)
{
    static const int seconds[] = {1, 4, 10};
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(seconds); i++) {
        int left = 0;

        timeout = apr_time_from_sec(seconds[i]);
        open_store(2, 2, 1);
        timeout = TIMEOUT;
        /* Fewer are left if the machine was slow: then this is tried again. */
        unit_await((next_key(), unit_commit(store, &key, begun("a"), memsess_clock_steady(), 0,
                                            see_claims, &left, unit_pool) != APR_EGENERAL)
                   || left >= 3 * 2 + seconds[i] + 1);
        assert_in_range(left, 3 * 2 + seconds[i] + 1, 3 * 2 + seconds[i] + 2);
        close_pool();
        unit_servers_stop();
    }
}

static void test_commit_while_somebody_else_is_writing(void **state)
{
    memsess_session_t *session;
    edit_t edit = {.append = "b"};
    unsigned place;

    (void)state;
    open_store(3, 2, 1);
    written("a");
    session = read_session();
    for (place = 0; place < 2; place++) {
        apr_time_t start = apr_time_now();

        /* Two writers meet even if they share only one of the homes. */
        unit_memcached_set(at(place), claim_key(place, 2 + (int)place), "0123456789abcdef", 16);
        session = read_session();
        edit.calls = 0;
        assert_int_equal(commit_at(session, memsess_clock_steady(), 0, &edit), MEMSESS_BUSY);
        assert_int_equal(commit_at(session, memsess_clock_steady(), apr_time_from_msec(100), &edit),
                         MEMSESS_BUSY);
        assert_true(apr_time_now() - start < PATIENCE / 2);
        assert_int_equal(edit.calls, 0);
        assert_finds(place ? "ab" : "a");
        /* The commit that failed has left no claim behind. */
        unit_memcached_delete(at(place), claim_key(place, 2 + (int)place));
        assert_int_equal(commit_at(session, memsess_clock_steady(), 0, &edit), APR_SUCCESS);
        assert_finds(place ? "abb" : "ab");
    }
}

static void test_commit_that_is_called_off(void **state)
{
    memsess_session_t *session;
    edit_t edit = {.append = "b", .rv = APR_EINVAL};

    (void)state;
    open_store(3, 2, 1);
    written("a");
    session = read_session();
    assert_int_equal(commit_at(session, memsess_clock_steady(), apr_time_from_sec(5), &edit), APR_EINVAL);
    assert_int_equal(edit.calls, 1);
    assert_finds("a");
    assert_revisions("1 1 -");
    /* The next writer does not have to wait for the claim. */
    assert_int_equal(commit(session, "c"), APR_SUCCESS);
    assert_finds("ac");
}

/* What is claimed twice, for two copies that are to be deleted, is given back once: another writer may
 * have claimed it since. */
static void test_a_claim_is_given_back_once(void **state)
{
    memsess_session_t *session;
    memsess_claim_t *claim;

    (void)state;
    open_store(1, 1, 1);
    session = written("a");
    claim = memsess_claim_make(store, &key, memsess_revision_text(2, unit_pool), 10, unit_pool);
    assert_int_equal(memsess_claim_take(claim, session, unit_pool), APR_SUCCESS);
    assert_int_equal(memsess_claim_on(claim, claim->of.copy, claim->what, unit_pool), APR_SUCCESS);
    memsess_claim_drop(claim, unit_pool);
    assert_int_equal(unit_memcached_stat(at(0), "delete_hits"), 1);
    assert_int_equal(unit_memcached_stat(at(0), "delete_misses"), 0);
}

/* A session that no server takes leaves the stored one intact. */
static void test_commit_that_is_refused(void **state)
{
    enum { LARGE = 1200000 };
    edit_t edit = {.append = NULL};
    char *value = apr_palloc(unit_pool, LARGE);
    apr_size_t i;

    (void)state;
    timeout = PATIENCE; /* a busy machine takes long for this much data */
    open_store(3, 2, 1);
    timeout = TIMEOUT;
    written("a");
    for (i = 0; i < LARGE - 1; i++) {
        value[i] = (char)(1 + unit_below(255));
    }
    value[LARGE - 1] = '\0';
    edit.append = value;
    assert_int_equal(commit_at(read_session(), memsess_clock_steady(), PATIENCE, &edit),
                     MEMSESS_TOO_LARGE);
    /* The record was never away, not even for a moment: it was never replaced. */
    assert_revisions("1 1 -");
    assert_finds("a");
    assert_int_equal(unit_logged("is down"), 0);
    assert_int_equal(commit(read_session(), "b"), APR_SUCCESS);
    assert_finds("ab");
}

/* -- Commits upon writes that are under way, or lost ------------------------------------------- */

/* A record that only some of its servers have may still be on its way to the others: a commit upon
 * it must have the claim there, too. */
static void test_commit_upon_what_is_under_way(void **state)
{
    static const char token[] = "ABCDefgh01234567"; /* the writer's number: 0x0011 */
    memsess_session_t *before, *session;

    (void)state;
    open_store(3, 2, 1);
    write_value(before = new_session(), "a");
    put_record(before, 0, "b", 2, 0, 0x0011);
    unit_memcached_set(at(1), claim_key(1, 2), token, 16);
    assert_int_equal(commit(read_session(), "c"), MEMSESS_BUSY);
    assert_revisions("2 1 -");
    /* The numbers differ, so the claim is another writer's. Then they are equal: the record's own
     * writer must have sent all. */
    put_record(before, 0, "b", 2, 5, 0x1234);
    assert_int_equal(unit_read(store, &key, &session, unit_pool), MEMSESS_FOUND);
    assert_int_equal(commit(session, "c"), MEMSESS_BUSY);
    put_record(before, 0, "b", 2, 5, 0x0011);
    assert_int_equal(unit_read(store, &key, &session, unit_pool), MEMSESS_FOUND);
    assert_int_equal(commit(session, "c"), APR_SUCCESS);
    assert_finds("bc");
}

/* A repair does not rely on the writer's wall clock, either, which may show anything. */
static void test_repair_upon_what_is_under_way(void **state)
{
    static const char token[] = "ABCDefgh01234567"; /* the writer's number: 0x0011 */
    memsess_session_t *before;
    int hours;

    (void)state;
    open_store(3, 2, 1);
    for (hours = -1; hours <= 1; hours++) {
        next_key();
        write_value(before = new_session(), "a");
        put_record(before, 0, "b", 2, 0, 0x0011);
        unit_memcached_set(at(1), claim_key(1, 2), token, 16);
        unit_set_wall(apr_time_from_sec(3600 * hours));
        assert_finds("b");
        assert_revisions("2 1 -");
    }
    /* By the servers' own clocks, the writer must be done. */
    pass_time();
    assert_finds("b");
    assert_revisions("3 3 -");
}

/* A late writer does not bring back a session that no server has any more. */
static void test_commit_upon_what_is_gone(void **state)
{
    edit_t edit = {.append = "b"};
    memsess_session_t *session;

    (void)state;
    open_store(3, 2, 1);
    written("a");
    session = read_session();
    unit_memcached_delete(at(0), copy_key(0));
    unit_memcached_delete(at(1), copy_key(1));
    assert_int_equal(commit_at(session, memsess_clock_steady() - apr_time_from_sec(60),
                               apr_time_from_sec(5), &edit), MEMSESS_GONE);
    assert_int_equal(edit.calls, 0);
    assert_revisions("- - -");
}

/* Servers fail in mid-write: if one has the session, it is written again; if none has it, that is
 * an error. */
static apr_status_t make_next_and_kill(void *baton, const memsess_session_t *newest,
                                       memsess_session_t **next, apr_pool_t *p)
{
    edit_t edit = {.append = "b"};
    unsigned *kills = baton;

    if (*kills & 1) {
        unit_memcached_kill(at(0));
    }
    if (*kills & 2) {
        unit_memcached_kill(at(1));
    }
    return make_next(&edit, newest, next, p);
}

static void test_commit_while_servers_fail(void **state)
{
    unsigned kills;

    (void)state;
    open_store(3, 2, 1);
    for (kills = 1; kills <= 3; kills++) {
        memsess_session_t *session;
        apr_status_t rv;

        next_key();
        written("a");
        session = read_session();
        rv = unit_commit(store, &key, session, memsess_clock_steady(), apr_time_from_sec(5),
                         make_next_and_kill, &kills, unit_pool);
        assert_int_equal(rv, kills == 3 ? MEMSESS_UNSURE : APR_SUCCESS);
        know_down(kills == 2);
        if (kills < 3) {
            /* The session has a new revision, which is whole. */
            assert_revisions(kills == 1 ? "x 3 3" : "3 x 3");
            assert_finds("ab");
        }
        else {
            know_down(0);
            know_down(1);
        }
        for (unsigned place = 0; place < 2; place++) {
            if (!at(place)->pid) {
                restart(place);
            }
        }
    }
}

/* Copies are lost right before the write, which brings all of them back. */
static void test_commit_where_copies_are_lost(void **state)
{
    memsess_session_t *session;
    unsigned lost;

    (void)state;
    open_store(3, 2, 1);
    for (lost = 1; lost < 4; lost++) {
        edit_t edit = {.append = "b"};
        unsigned place;

        next_key();
        session = begun("a");
        for (place = 0; place < 2; place++) {
            if (lost & 1U << place) {
                unit_memcached_delete(at(place), copy_key(place));
            }
        }
        assert_int_equal(commit_at(session, memsess_clock_steady(), apr_time_from_sec(5), &edit),
                         APR_SUCCESS);
        assert_finds("ab");
        await_settled(2);
    }
}

static void test_commit_while_a_home_is_away(void **state)
{
    unsigned place;

    (void)state;
    open_store(4, 2, 1);
    for (place = 0; place < 2; place++) {
        next_key();
        written("a");
        unit_memcached_kill(at(place)); /* which the pool does not know yet */
        assert_int_equal(commit(read_session(), "b"), APR_SUCCESS);
        assert_finds("ab");
        assert_true(revision_at(2) >= 2 && revision_at(2) == revision_at(1 - place));
        assert_int_equal(commit(read_session(), "c"), APR_SUCCESS);
        restart(place);
        assert_int_equal(commit(read_session(), "d"), APR_SUCCESS);
        assert_finds("abcd");
        await_settled(2);
        assert_finds("abcd");
    }
}

/* A writer that makes the first record, however slowly, does not build upon a record that exists by
 * then: that takes the claim of a revision. */
static void test_the_first_record_is_not_built_upon(void **state)
{
    edit_t edit = {.append = "c"};
    memsess_reading_t blank;
    memsess_session_t *found;
    apr_time_t read_at;
    int seconds;

    (void)state;
    open_store(3, 2, 1);
    for (seconds = 0; seconds <= 60; seconds += 60) {
        next_key();
        blank.key = key;
        assert_int_equal(memsess_store_blank(&blank, store, unit_pool), APR_SUCCESS);
        read_at = memsess_clock_steady() - apr_time_from_sec(seconds);
        found = written("a");
        assert_int_equal(commit(found, "b"), APR_SUCCESS);
        unit_memcached_set(at(1), claim_key(1, 3), "0123456789abcdef", 16);
        edit.calls = 0;
        assert_int_equal(commit_at(blank.session, read_at, 0, &edit), MEMSESS_BUSY);
        assert_int_equal(edit.calls, 0);
        unit_memcached_delete(at(1), claim_key(1, 3));
        assert_int_equal(commit_at(blank.session, read_at, apr_time_from_sec(5), &edit), APR_SUCCESS);
        assert_finds("abc");
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORE_TEST(test_commit),
        STORE_TEST(test_commit_on_an_old_revision),
        STORE_TEST(test_a_claim_outlives_the_slowest_commit),
        STORE_TEST(test_commit_while_somebody_else_is_writing),
        STORE_TEST(test_commit_that_is_called_off),
        STORE_TEST(test_a_claim_is_given_back_once),
        STORE_TEST(test_commit_that_is_refused),
        STORE_TEST(test_commit_while_a_home_is_away),
        STORE_TEST(test_commit_upon_what_is_under_way),
        STORE_TEST(test_repair_upon_what_is_under_way),
        STORE_TEST(test_commit_upon_what_is_gone),
        STORE_TEST(test_commit_while_servers_fail),
        STORE_TEST(test_commit_where_copies_are_lost),
        STORE_TEST(test_the_first_record_is_not_built_upon),
    };

    unit_begin();
    return cmocka_run_group_tests_name("commit", tests, NULL, NULL);
}
