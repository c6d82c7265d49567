/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* A server that is up, but too slow to be sent what a commit has for it: it keeps its old copy. No
 * reading may believe that copy once a newer one was acknowledged, even if the other servers go. */

#include "unit_copies.h"

/* Each server has one connection. Who holds it has all others wait. */
static void open_store_of_one_connection(unsigned n)
{
    max_conns = 1;
    open_store(n, 2, 1);
    max_conns = 4;
}

static int somebody_waits(unsigned place)
{
    memsess_turns_t *turns = &handle(place)->turns;
    int waits;

    pthread_mutex_lock(&turns->lock);
    waits = turns->first != NULL;
    pthread_mutex_unlock(&turns->lock);
    return waits;
}

/* -- A claim that cannot be sent --------------------------------------------------------------- */

/* Sends away whoever waits for the server's connection, as if all turns had taken too long, and then
 * gives the connection back. */
typedef struct holder_t {
    unsigned place;
    memsess_conn_t *c;
    pthread_t thread;
} holder_t;

static void *holder_main(void *data)
{
    const holder_t *holder = data;

    unit_await(somebody_waits(holder->place));
    memsess_turns_dismiss(&handle(holder->place)->turns);
    memsess_turn_give(&handle(holder->place)->turns, holder->c);
    return NULL;
}

static void hold(holder_t *holder, unsigned place)
{
    holder->place = place;
    assert_int_equal(memsess_turn_take(&holder->c, &handle(place)->turns, 0), APR_SUCCESS);
    assert_int_equal(pthread_create(&holder->thread, NULL, holder_main, holder), 0);
}

/* The commit does not do without a server that is up: it tries again, or is not made. */
static void test_a_claim_that_cannot_be_sent(void **state)
{
    edit_t edit = {.append = "b"};
    holder_t holder;
    unsigned place;

    (void)state;
    open_store_of_one_connection(2);
    for (place = 0; place < 2; place++) {
        memsess_session_t *session;

        next_key();
        session = begun("a");
        hold(&holder, place);
        assert_int_equal(commit_at(session, memsess_clock_steady(), 0, &edit), MEMSESS_UNSENT);
        pthread_join(holder.thread, NULL);
        assert_revisions("1 1");
        hold(&holder, place);
        assert_int_equal(commit_at(session, memsess_clock_steady(), PATIENCE, &edit), APR_SUCCESS);
        pthread_join(holder.thread, NULL);
        assert_revisions("2 2");
        assert_finds("ab");
    }
}

/* -- A copy that cannot be sent ---------------------------------------------------------------- */

/* Longer than a copy may take until it is sent. */
#define LATE apr_time_from_msec(150)

/* Has the second home be late from the moment on in which a commit is about to write: while one
 * thread has the connection, the other one is the next. */
typedef struct slowing_t {
    edit_t edit;
    memsess_server_t *server;
    volatile int stop;
    pthread_t threads[2];
} slowing_t;

static void *slowing_main(void *data)
{
    slowing_t *slowing = data;
    memsess_conn_t *c;

    while (!slowing->stop) {
        if (memsess_turn_take(&c, &slowing->server->turns, PATIENCE) == APR_SUCCESS) {
            apr_sleep(LATE);
            memsess_turn_give(&slowing->server->turns, c);
        }
    }
    return NULL;
}

static apr_status_t make_next_and_slow(void *baton, const memsess_session_t *newest,
                                       memsess_session_t **next, apr_pool_t *p)
{
    slowing_t *slowing = baton;
    unsigned i;

    for (i = 0; i < COUNT(slowing->threads); i++) {
        assert_int_equal(pthread_create(&slowing->threads[i], NULL, slowing_main, slowing), 0);
    }
    unit_await(somebody_waits(1));
    return make_next(&slowing->edit, newest, next, p);
}

static apr_status_t commit_while_late(void)
{
    slowing_t slowing = {.edit = {.append = "b"}, .server = handle(1)};
    memsess_session_t *session = begun("a");
    apr_status_t rv = unit_commit(store, &key, session, memsess_clock_steady(), 0,
                                  make_next_and_slow, &slowing, unit_pool);
    unsigned i;

    slowing.stop = 1;
    for (i = 0; i < COUNT(slowing.threads); i++) {
        pthread_join(slowing.threads[i], NULL);
    }
    assert_int_equal(slowing.edit.calls, 1);
    assert_false(memsess_server_is_down(handle(1)));
    return rv;
}

/* The claim by which the old copy would be deleted is another writer's, so the copy stays. */
static void keep_old_copy(void)
{
    unit_memcached_set(at(1), claim_key(1, 5), "0123456789abcdef", 16);
}

static void test_a_late_server_loses_its_old_copy(void **state)
{
    (void)state;
    open_store_of_one_connection(2);
    assert_int_equal(commit_while_late(), APR_SUCCESS);
    assert_revisions("4 -");
    crash(0);
    assert_finds_not(MEMSESS_UNSEEN);
}

/* With one copy of the new revision, and an old one that would be believed, nothing is acknowledged;
 * and nothing is lost. */
static void test_a_late_server_keeps_its_old_copy(void **state)
{
    (void)state;
    open_store_of_one_connection(2);
    keep_old_copy();
    assert_int_equal(commit_while_late(), MEMSESS_UNSURE);
    assert_revisions("4 1");
    assert_finds("ab");
    unit_memcached_delete(at(1), claim_key(1, 5));
    assert_int_equal(commit(read_session(), "c"), APR_SUCCESS);
    assert_finds("abc");
    assert_int_equal(revision_at(0), revision_at(1));
}

/* A third server makes up for it: whichever server goes then, the new copy is found. */
static void test_a_late_server_is_made_up_for(void **state)
{
    unsigned place;

    (void)state;
    for (place = 0; place < 3; place++) {
        open_store_of_one_connection(3);
        keep_old_copy();
        assert_int_equal(commit_while_late(), APR_SUCCESS);
        assert_revisions("4 1 4");
        crash(place);
        assert_finds("ab");
        close_pool();
        unit_servers_stop();
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORE_TEST(test_a_claim_that_cannot_be_sent),
        STORE_TEST(test_a_late_server_loses_its_old_copy),
        STORE_TEST(test_a_late_server_keeps_its_old_copy),
        STORE_TEST(test_a_late_server_is_made_up_for),
    };

    unit_begin();
    return cmocka_run_group_tests_name("late", tests, NULL, NULL);
}
