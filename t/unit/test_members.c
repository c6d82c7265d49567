/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Members side by side, a thread each: no update is lost, and no data is mixed up. */

#include "unit_copies.h"

/* -- Commits ----------------------------------------------------------------------------------- */

typedef struct counter_t {
    pthread_t thread;
    memsess_store_t *store;
    int rounds, done, failed, made;
} counter_t;

static apr_status_t make_incremented(void *baton, const memsess_session_t *newest,
                                     memsess_session_t **next, apr_pool_t *p)
{
    memsess_session_t *session = apr_pmemdup(p, newest, sizeof(*newest));
    memsess_attr_t *attr;

    ((counter_t *)baton)->made++;
    session->attrs = apr_array_make(p, 1, sizeof(memsess_attr_t));
    attr = apr_array_push(session->attrs);
    attr->name = "value";
    attr->value = apr_itoa(p, atoi(APR_ARRAY_IDX(newest->attrs, 0, memsess_attr_t).value) + 1);
    attr->len = strlen(attr->value);
    *next = session;
    return APR_SUCCESS;
}

static void *counter_main(void *data)
{
    counter_t *c = data;
    apr_pool_t *p;
    int i;

    apr_pool_create(&p, NULL);
    for (i = 0; i < c->rounds; i++) {
        memsess_session_t *session;
        apr_time_t read_at = memsess_clock_steady();

        apr_pool_clear(p);
        if (unit_read(c->store, &key, &session, p) == MEMSESS_FOUND
            && unit_commit(c->store, &key, session, read_at, apr_time_from_sec(20),
                           make_incremented, c, p) == APR_SUCCESS) {
            c->done++;
        }
        else {
            c->failed++;
        }
    }
    apr_pool_destroy(p);
    return NULL;
}

/* Members that count side by side lose no update, each with a store and connections of its own. */
static void count_side_by_side(int rounds, int crashing)
{
    enum { MEMBERS = 4 };
    memsess_pool_t *pools[MEMBERS];
    counter_t counters[MEMBERS];
    int i, done = 0, failed = 0, value;

    open_store(4, 2, 1);
    written("0");
    for (i = 0; i < MEMBERS; i++) {
        memset(&counters[i], 0, sizeof(counters[i]));
        counters[i].rounds = rounds;
        counters[i].store = unit_store_start(&pools[i], &store_conf, apr_hash_make(unit_pool));
        assert_int_equal(pthread_create(&counters[i].thread, NULL, counter_main, &counters[i]), 0);
    }
    if (crashing) {
        apr_sleep(30000);
        unit_memcached_kill(at(0));
    }
    for (i = 0; i < MEMBERS; i++) {
        pthread_join(counters[i].thread, NULL);
        memsess_pool_destroy(pools[i]);
        done += counters[i].done;
        failed += counters[i].failed;
    }
    value = atoi(memsess_session_find(read_session(), "value")->value);
    if (!crashing) {
        assert_int_equal(failed, 0);
    }
    /* Commits that failed may have stored their first copy. */
    assert_in_range(value, done, done + failed);
    assert_true(done > 0);
}

static void test_commits_side_by_side_are_exact(void **state)
{
    (void)state;
    count_side_by_side(60, 0);
    assert_revisions("241 241 - -");
}

static void test_commits_are_exact_while_a_home_crashes(void **state)
{
    (void)state;
    count_side_by_side(60, 1);
}

/* -- Writes ------------------------------------------------------------------------------------ */

typedef struct member_t {
    pthread_t thread;
    memsess_key_t keys[3];
    int number, wrong, unavailable;
} member_t;

/* Reads and writes sessions that others write, too: the last writer wins, and no data is mixed
 * up. */
static void *member_main(void *data)
{
    member_t *m = data;
    apr_pool_t *p;
    int i;

    apr_pool_create(&p, NULL);
    for (i = 0; i < 300; i++) {
        const memsess_key_t *k = &m->keys[i % 3];
        memsess_session_t *session;
        memsess_attr_t *attr;

        apr_pool_clear(p);
        switch (unit_read(store, k, &session, p)) {
        case MEMSESS_FOUND:
            attr = (memsess_attr_t *)session->attrs->elts;
            m->wrong += session->attrs->nelts != 1 || attr->len < 8
                        || strncmp(attr->value, apr_psprintf(p, "key %d by ", i % 3), 9) != 0;
            break;
        case MEMSESS_MISSING:
            m->wrong += memsess_session_make(&session, apr_time_now(), p) != APR_SUCCESS;
            session->idle = apr_time_from_sec(1800);
            break;
        case MEMSESS_UNSEEN:
        case MEMSESS_UNAVAILABLE:
            m->unavailable++;
            continue;
        default:
            m->wrong++;
            continue;
        }
        session->attrs = apr_array_make(p, 1, sizeof(memsess_attr_t));
        attr = apr_array_push(session->attrs);
        attr->name = "value";
        attr->value = apr_psprintf(p, "key %d by %d %0*d", i % 3, m->number, i * 20, i);
        attr->len = strlen(attr->value);
        m->wrong += memsess_store_write(store, k, session, p) != APR_SUCCESS;
    }
    apr_pool_destroy(p);
    return NULL;
}

static void run_members(int crashing)
{
    enum { MEMBERS = 3 };
    memsess_key_t keys[3];
    member_t members[MEMBERS];
    int i, wrong = 0, unavailable = 0;

    for (i = 0; i < 3; i++) {
        unit_random_key(&keys[i]);
    }
    for (i = 0; i < MEMBERS; i++) {
        memset(&members[i], 0, sizeof(members[i]));
        memcpy(members[i].keys, keys, sizeof(keys));
        members[i].number = i;
        assert_int_equal(pthread_create(&members[i].thread, NULL, member_main, &members[i]), 0);
    }
    for (i = 0; crashing && i < 3; i++) {
        apr_sleep(20000);
        unit_memcached_kill(servers[i]);
        apr_sleep(20000);
        unit_memcached_start(servers[i]);
    }
    for (i = 0; i < MEMBERS; i++) {
        pthread_join(members[i].thread, NULL);
        wrong += members[i].wrong;
        unavailable += members[i].unavailable;
    }
    assert_int_equal(wrong, 0);
    assert_true(crashing || !unavailable);
    for (i = 0; i < (int)servers_n; i++) {
        order_key();
        know_up((unsigned)i);
    }
    for (i = 0; i < 3; i++) {
        memsess_session_t *session;
        memsess_found_t found = unit_read(store, &keys[i], &session, unit_pool);

        /* A session is lost if all servers that had it crashed one after the other. */
        assert_true(found == MEMSESS_FOUND || (crashing && found == MEMSESS_MISSING));
    }
}

static void test_members_side_by_side(void **state)
{
    (void)state;
    open_store(3, 2, 1);
    run_members(0);
    assert_int_equal(unit_logged("damaged"), 0);
}

static void test_members_while_servers_crash(void **state)
{
    (void)state;
    open_store(4, 2, 1);
    run_members(1);
    assert_int_equal(unit_logged("damaged"), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORE_TEST(test_commits_side_by_side_are_exact),
        STORE_TEST(test_commits_are_exact_while_a_home_crashes),
        STORE_TEST(test_members_side_by_side),
        STORE_TEST(test_members_while_servers_crash),
    };

    unit_begin();
    return cmocka_run_group_tests_name("members", tests, NULL, NULL);
}
