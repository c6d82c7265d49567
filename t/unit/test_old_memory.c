/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Servers that were away return with their old memory: it never wins, and it is no answer if
 * another server may know better. */

#include "unit_copies.h"

static void test_a_home_freezes_before_a_write(void **state)
{
    memsess_session_t *session;
    apr_time_t start;

    (void)state;
    open_store(4, 2, 1);
    session = written("one");
    unit_memcached_freeze(at(0));
    start = apr_time_now();
    write_value(session, "two");
    assert_true(apr_time_now() - start < PATIENCE / 2);
    assert_revisions("x 2 2 -");
    assert_finds("two");
    /* The server now reads what it was sent in vain, so that its copy may or may not be the
     * newest. */
    thaw(0);
    assert_finds("two");
    /* It was away, so the session is written once more. One of the two records of revision 2 names
     * the stand-in, which is cleared if that record is the one that was seen. */
    unit_await(repaired("3 3 2 -") || settled(2));
    assert_finds("two");
}

/* A log-out while one home is away: its return brings nothing back. */
static void test_end_while_a_home_is_away(void **state)
{
    memsess_session_t *session;
    unsigned place;

    (void)state;
    open_store(4, 2, 1);
    for (place = 0; place < 2; place++) {
        next_key();
        session = written("value");
        freeze(place);
        assert_int_equal(end(session), APR_SUCCESS);
        assert_finds_not(MEMSESS_ENDED);
        thaw(place);
        assert_finds_not(MEMSESS_ENDED);
        await_repaired("3 3 - -");
        assert_finds_not(MEMSESS_ENDED);
    }
}

static void test_old_memory_never_wins(void **state)
{
    memsess_session_t *session;
    unsigned place;

    (void)state;
    open_store(4, 2, 1);
    for (place = 0; place < 2; place++) {
        next_key();
        session = written("old");
        freeze(place);
        write_value(session, "new");
        thaw(place);
        assert_finds("new");
        await_repaired("3 3 - -");
        assert_finds("new");
    }
}

/* All servers with the old record were away together, and the stand-ins have the new one. */
static void test_old_memory_of_all_homes_never_wins(void **state)
{
    unsigned copies, place;

    (void)state;
    for (copies = 1; copies <= 2; copies++) {
        memsess_session_t *session;

        open_store(5, copies, 1);
        session = written("old");
        for (place = 0; place < copies; place++) {
            freeze(place);
        }
        write_value(session, "new");
        for (place = 0; place < copies; place++) {
            thaw(place);
        }
        assert_finds("new");
        await_settled(copies);
        assert_finds("new");
        close_pool();
        unit_servers_stop();
    }
}

/* The servers that may know better are away: then old memory is no answer. */
static void test_old_memory_is_not_trusted(void **state)
{
    memsess_session_t *session;

    (void)state;
    open_store(4, 2, 1);
    session = written("old");
    freeze(0);
    write_value(session, "new");
    freeze(1);
    freeze(2);
    thaw(0);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    thaw(1);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    thaw(2);
    assert_finds("new");
    await_repaired("3 3 - -");
}

/* Every write reaches a server that the record before it names, so the newest one is found by the
 * names. */
static void test_chain_of_placements(void **state)
{
    memsess_session_t *session;

    (void)state;
    open_store(6, 2, 1);
    session = written("one");
    freeze(0);
    write_value(session, "two");
    freeze(1);
    write_value(session, "three");
    freeze(2);
    write_value(session, "four");
    assert_revisions("x x x 4 4 -");
    assert_finds("four");
    thaw(0);
    thaw(1);
    thaw(2);
    assert_revisions("1 2 3 4 4 -");
    assert_finds("four");
    await_repaired("5 5 3 - - -");
    write_value(read_session(), "five");
    assert_finds("five");
    assert_revisions("6 6 3 - - -");
}

static void test_chain_of_placements_to_a_tombstone(void **state)
{
    memsess_session_t *session;

    (void)state;
    open_store(5, 2, 1);
    session = written("one");
    freeze(0);
    write_value(session, "two");
    freeze(1);
    assert_int_equal(end(read_session()), APR_SUCCESS);
    thaw(0);
    thaw(1);
    assert_finds_not(MEMSESS_ENDED);
    await_settled(2);
    assert_finds_not(MEMSESS_ENDED);
}

/* Both homes are there, and have no copy; as many servers as it has copies are silent. */
static void test_the_stand_ins_are_silent(void **state)
{
    (void)state;
    open_store(4, 2, 1);
    crash(0);
    crash(1);
    written("a");
    restart(0);
    restart(1);
    freeze(2);
    freeze(3);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    thaw(2);
    thaw(3);
    assert_finds("a");
}

/* The only copy that is left is on a server that is away: the session is not there for now, and
 * nothing that is done meanwhile ends it. */
static void test_the_only_copy_is_away(void **state)
{
    edit_t edit = {.append = "b"};
    memsess_session_t *session;

    (void)state;
    open_store(4, 2, 1);
    session = begun("a");
    unit_memcached_delete(at(1), copy_key(1));
    freeze(0);
    assert_finds_not(MEMSESS_UNSEEN);
    assert_int_equal(commit_at(session, 0, apr_time_from_msec(300), &edit), MEMSESS_DOWN);
    thaw(0);
    assert_finds("a");
    await_settled(2);
    assert_finds("a");
}

static void test_a_frozen_home_costs_one_timeout(void **state)
{
    apr_time_t start;
    unsigned i;

    (void)state;
    open_store(3, 2, 1);
    assert_finds_not(MEMSESS_MISSING);
    unit_memcached_freeze(at(1));
    start = apr_time_now();
    assert_finds_not(MEMSESS_UNSEEN);
    assert_true(apr_time_now() - start < PATIENCE / 2);
    /* If each reading took a time-out, these would take longer. */
    start = apr_time_now();
    for (i = 0; i < 30; i++) {
        assert_finds_not(MEMSESS_UNSEEN);
    }
    assert_true(apr_time_now() - start < 20 * HASTE);
    thaw(1);
    assert_finds_not(MEMSESS_MISSING);
}

/* Brings the server back with its memory, without letting time pass. */
static void thaw_at_once(unsigned place)
{
    unit_memcached_thaw(at(place));
    unit_await(!memsess_server_is_down(handle(place)));
}

static void blink(unsigned place)
{
    freeze(place);
    thaw_at_once(place);
}

/* A home was away for a moment, nobody has used the session since, and now the other home leaves.
 * The servers that would have stood in, if they have kept their memory, vouch that nobody wrote it
 * meanwhile. */
static void test_old_memory_that_others_vouch_for(void **state)
{
    unsigned i;

    (void)state;
    open_store(3, 2, 1);
    /* The servers are known for longer than any session is old. */
    for (i = 0; i < 3; i++) {
        unit_await(memsess_server_kept(handle(i), apr_time_from_sec(MEMSESS_AGE_ERROR + 2)));
    }
    begun("a");
    blink(0);
    freeze(1);
    assert_finds("a");
    assert_int_equal(commit(read_session(), "b"), APR_SUCCESS);
    thaw_at_once(1);
    assert_finds("ab");
    /* What was written meanwhile is seen on the stand-in. */
    blink(0);
    next_key();
    begun("c");
    freeze(0);
    assert_int_equal(commit(read_session(), "d"), APR_SUCCESS);
    thaw_at_once(0);
    freeze(1);
    assert_finds("cd");
    thaw_at_once(1);
    /* If the stand-in may have lost it, the session is unavailable. */
    next_key();
    begun("e");
    blink(0);
    unit_memcached_kill(at(2));
    unit_memcached_start(at(2));
    freeze(1);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    unit_memcached_thaw(at(1));
}

/* In a pool of two, no server is left that could vouch. */
static void test_old_memory_that_nobody_vouches_for(void **state)
{
    (void)state;
    open_store(2, 2, 1);
    unit_await(memsess_server_kept(handle(0), apr_time_from_sec(MEMSESS_AGE_ERROR + 2)));
    begun("a");
    blink(0);
    freeze(1);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    unit_memcached_thaw(at(1));
}

static void test_without_failover_old_memory_never_wins(void **state)
{
    memsess_session_t *session;

    (void)state;
    open_store(3, 2, 0);
    session = written("old");
    freeze(0);
    write_value(session, "new");
    freeze(1);
    thaw(0);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    thaw(1);
    assert_finds("new");
    await_repaired("3 3 -");
}

static void test_a_pool_of_one(void **state)
{
    memsess_session_t *session;

    (void)state;
    open_store(1, 1, 1);
    session = written("value");
    assert_finds("value");
    freeze(0);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    thaw(0);
    assert_finds("value");
    unit_memcached_kill(at(0));
    assert_finds_not(MEMSESS_UNAVAILABLE);
    assert_int_not_equal(memsess_store_write(store, &key, session, unit_pool), APR_SUCCESS);
    restart(0);
    assert_finds_not(MEMSESS_MISSING);
    write_value(session, "value");
    assert_finds("value");
}

/* -- What another process noticed --------------------------------------------------------------- */

/* One of two processes of an httpd, over the same servers. */
typedef struct process_t {
    memsess_pool_t *pool;
    apr_hash_t *handles;
    memsess_store_t *store;
} process_t;

static process_t this_process(void)
{
    return (process_t){.pool = the_pool, .handles = handles, .store = store};
}

static void go_on_as(const process_t *process)
{
    the_pool = process->pool;
    handles = process->handles;
    store = process->store;
}

/* Goes on as another process. */
static void reopen_store_beside(void)
{
    the_pool = NULL;
    reopen_store();
}

static memsess_session_t *written_by(const process_t *process, const char *value)
{
    process_t before = this_process();
    memsess_session_t *session;

    go_on_as(process);
    session = written(value);
    go_on_as(&before);
    return session;
}

/* Processes know of a server what is counted of it, and none tries it on its own account. */
static void open_store_of_processes(unsigned n)
{
    unsigned i;

    open_store(n, n, 1);
    for (i = 0; i < n; i++) {
        memsess_member_t *member = &APR_ARRAY_IDX(store_conf.members, i, memsess_member_t);

        member->server.count = memsess_count_private(unit_pool);
        member->server.retry = apr_time_from_sec(3600);
    }
    reopen_store();
    learn_clocks();
}

/* A process that wrote without a server has not seen it back yet, or will never say so. Another one,
 * which asked the server nothing meanwhile, does not believe the old copy. */
static void test_old_memory_that_another_process_knows_of(void **state)
{
    process_t idle, other;
    memsess_session_t *session;

    (void)state;
    open_store_of_processes(2);
    session = written("old");
    idle = this_process();
    reopen_store_beside();
    other = this_process();
    freeze(0);
    write_value(session, "new");
    assert_revisions("x 2");
    go_on_as(&idle);
    unit_memcached_thaw(at(0));
    crash(1);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    close_pool();
    go_on_as(&other);
}

/* The server is down for one process alone, which ends before it has seen it back. */
static void test_old_memory_that_a_process_knew_of_which_ended(void **state)
{
    process_t idle;
    memsess_session_t *session;

    (void)state;
    open_store_of_processes(2);
    idle = this_process();
    reopen_store_beside();
    memsess_server_failed(handle(0), MEMSESS_TOO_MANY);
    session = written_by(&idle, "old");
    assert_revisions("x 1");
    write_value(session, "new");
    assert_revisions("x 2");
    close_pool();
    go_on_as(&idle);
    assert_revisions("1 2");
    crash(1);
    assert_finds_not(MEMSESS_UNAVAILABLE);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORE_TEST(test_end_while_a_home_is_away),
        STORE_TEST(test_a_home_freezes_before_a_write),
        STORE_TEST(test_old_memory_never_wins),
        STORE_TEST(test_old_memory_of_all_homes_never_wins),
        STORE_TEST(test_old_memory_is_not_trusted),
        STORE_TEST(test_old_memory_that_others_vouch_for),
        STORE_TEST(test_old_memory_that_nobody_vouches_for),
        STORE_TEST(test_chain_of_placements),
        STORE_TEST(test_chain_of_placements_to_a_tombstone),
        STORE_TEST(test_the_stand_ins_are_silent),
        STORE_TEST(test_the_only_copy_is_away),
        STORE_TEST(test_a_frozen_home_costs_one_timeout),
        STORE_TEST(test_without_failover_old_memory_never_wins),
        STORE_TEST(test_a_pool_of_one),
        STORE_TEST(test_old_memory_that_another_process_knows_of),
        STORE_TEST(test_old_memory_that_a_process_knew_of_which_ended),
    };

    unit_begin();
    timeout = HASTE;
    return cmocka_run_group_tests_name("old memory", tests, NULL, NULL);
}
