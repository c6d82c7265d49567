/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Copies of sessions on real memcacheds: how many exist, which one wins, what is sealed, how large
 * they may be, and that sessions that ended stay ended. */

#include "unit_copies.h"

#include "session/seal.h"

/* -- All is well ------------------------------------------------------------------------------- */

static void test_round_trip(void **state)
{
    memsess_session_t *session, *back;

    (void)state;
    open_store(3, 2, 1);
    assert_finds_not(MEMSESS_MISSING);
    session = written("one");
    assert_int_equal(unit_read(store, &key, &back, unit_pool), MEMSESS_FOUND);
    assert_string_equal(back->public_id, session->public_id);
    assert_true(back->revision == 1 && back->created == session->created);
    assert_true(back->used == session->used && back->idle == session->idle && !back->ended);
    assert_string_equal(memsess_session_find(back, "value")->value, "one");
    write_value(back, "two");
    assert_true(back->revision == 2);
    assert_finds("two");
    assert_revisions("2 2 -");
}

/* A redundancy of N keeps N copies, each on another server, no more and no less. */
static void exactly(unsigned n, unsigned copies)
{
    enum { SESSIONS = 40 };
    long items = 0;
    unsigned i, place;

    open_store(n, copies, 1);
    for (i = 0; i < SESSIONS; i++) {
        memsess_session_t *session = new_session();

        next_key();
        write_value(session, "one");
        write_value(session, "two");
        for (place = 0; place < n; place++) {
            assert_int_equal(revision_at(place), place < copies ? 2 : 0);
        }
        assert_finds("two");
    }
    for (i = 0; i < n; i++) {
        long here = unit_memcached_stat(servers[i], "curr_items");

        assert_true(here > 0);
        items += here;
    }
    assert_int_equal(items, SESSIONS * copies);
}

static void test_exactly_1_copy(void **state)
{
    (void)state;
    exactly(3, 1);
}

static void test_exactly_2_copies(void **state)
{
    (void)state;
    exactly(4, 2);
}

static void test_exactly_3_copies(void **state)
{
    (void)state;
    exactly(3, 3);
}

static void test_reading_writes_nothing(void **state)
{
    long before = 0, after = 0;
    unsigned i;

    (void)state;
    open_store(3, 2, 1);
    written("value");
    for (i = 0; i < servers_n; i++) {
        before += unit_memcached_stat(servers[i], "cmd_set");
    }
    for (i = 0; i < 20; i++) {
        assert_finds("value");
    }
    for (i = 0; i < servers_n; i++) {
        after += unit_memcached_stat(servers[i], "cmd_set");
    }
    assert_int_equal(before, 2);
    assert_int_equal(after, 2);
}

/* A member that lists the same servers in another order finds the same sessions. */
static void test_another_member(void **state)
{
    apr_array_header_t *members = apr_array_make(unit_pool, 4, sizeof(memsess_member_t));
    memsess_store_conf_t conf;
    memsess_store_t *other;
    memsess_session_t *session;
    unsigned i;

    (void)state;
    open_store(4, 2, 1);
    for (i = 4; i > 0; i--) {
        APR_ARRAY_PUSH(members, memsess_member_t) = make_member(i - 1);
    }
    conf = store_conf;
    conf.members = members;
    other = same_servers(&conf);
    /* The servers are the same, so their connections are shared. */
    assert_int_equal(apr_hash_count(handles), 4);
    for (i = 0; i < 20; i++) {
        next_key();
        written("mine");
        assert_int_equal(unit_read(other, &key, &session, unit_pool), MEMSESS_FOUND);
        set_value(session, "yours");
        assert_int_equal(memsess_store_write(other, &key, session, unit_pool), APR_SUCCESS);
        assert_finds("yours");
        assert_revisions("2 2 - -");
    }
}

/* memcached keeps records a while longer than the idle time-out; one above 30 days is not taken for
 * a date in 1970. */
static void test_expiry_in_memcached(void **state)
{
    static const int idle[] = {1, 1800, 86400, 29 * 86400, 30 * 86400 - 121, 30 * 86400 - 120,
                               30 * 86400, 31 * 86400, 400 * 86400};
    int grace = (int)apr_time_sec(MEMSESS_GRACE);
    unsigned i;

    (void)state;
    open_store(2, 2, 1);
    for (i = 0; i < COUNT(idle); i++) {
        memsess_session_t *session = new_session();

        next_key();
        session->idle = apr_time_from_sec(idle[i]);
        write_value(session, "value");
        assert_in_range(seconds_left(0, ""), idle[i] + grace - 60, idle[i] + grace + 2);
        assert_in_range(seconds_left(1, ""), idle[i] + grace - 60, idle[i] + grace + 2);
        assert_finds("value");
    }
    /* For a time beyond what memcached can count, it keeps the record for ever; the record knows
     * its end. */
    next_key();
    written("value");
    {
        memsess_session_t *session = new_session();

        session->idle = apr_time_from_sec(3600) * 24 * 36500;
        write_value(session, "value");
        assert_int_equal(seconds_left(0, ""), -1);
        assert_finds("value");
    }
}

/* -- Copies that differ ------------------------------------------------------------------------ */

static void test_highest_revision_wins(void **state)
{
    memsess_session_t *session;
    char *old[2];
    apr_size_t len[2];
    unsigned place;

    (void)state;
    open_store(3, 2, 1);
    session = written("old");
    for (place = 0; place < 2; place++) {
        old[place] = copy_raw(place, &len[place]);
    }
    write_value(session, "middle");
    write_value(session, "new");
    for (place = 0; place < 2; place++) {
        put_raw(place, old[place], len[place]);
        assert_finds("new");
        await_repaired(place ? "5 5 -" : "4 4 -");
        assert_finds("new");
    }
}

static void test_missing_copies_are_repaired(void **state)
{
    static const char *const expected[2][3] = {{"2 2 - -", "3 3 - -"},
                                               {"2 2 2 -", "3 3 3 -", "4 4 4 -"}};
    unsigned copies, place;

    (void)state;
    for (copies = 2; copies <= 3; copies++) {
        open_store(4, copies, 1);
        written("value");
        for (place = 0; place < copies; place++) {
            unit_memcached_delete(at(place), copy_key(place));
            assert_finds("value");
            await_repaired(expected[copies - 2][place]);
            assert_finds("value");
        }
        assert_in_range(seconds_left(0, ""), 1800, 1800 + 122);
        close_pool();
        unit_servers_stop();
    }
}

static apr_uint64_t figure(memsess_counter_t counter)
{
    apr_uint64_t figures[MEMSESS_N];

    memsess_count_read(figures);
    return figures[counter];
}

static void test_reading_leaves_repairs_to_others(void **state)
{
    memsess_reading_t reading, *readings[] = {&reading};
    unsigned all;

    (void)state;
    open_store(3, 2, 1);
    written("value");
    unit_memcached_delete(at(1), copy_key(1));
    pass_time();
    for (all = 0; all < 2; all++) {
        reading = (memsess_reading_t){.key = key};
        if (all) {
            memsess_store_read_all(store, readings, 1, unit_pool);
        }
        else {
            memsess_store_read(store, &reading, unit_pool);
        }
        assert_int_equal(reading.found, MEMSESS_FOUND);
        assert_int_equal(reading.facts.lacks, 1);
        assert_revisions("1 - -");
    }
    memsess_store_repair(store, &reading, unit_pool);
    assert_int_equal(reading.facts.lacks, 0);
    assert_int_equal(reading.session->revision, 2);
    assert_revisions("2 2 -");
    memsess_store_repair(store, &reading, unit_pool);
    assert_revisions("2 2 -");
}

static void test_a_change_repairs_what_it_is_made_upon(void **state)
{
    edit_t edit = {.append = "+"};
    memsess_reading_t reading;
    apr_uint64_t repaired_before;
    unsigned place;

    (void)state;
    open_store(3, 2, 1);
    written("v");
    repaired_before = figure(MEMSESS_N_REPAIRED);
    for (place = 0; place < 2; place++) {
        unit_memcached_delete(at(place), copy_key(place));
        pass_time();
        reading = (memsess_reading_t){.key = key};
        memsess_store_read(store, &reading, unit_pool);
        assert_int_equal(reading.facts.lacks, 1);
        assert_int_equal(memsess_store_commit(store, &reading, 0, make_next, &edit, unit_pool),
                         APR_SUCCESS);
        assert_revisions(place ? "3 3 -" : "2 2 -");
        assert_int_equal(figure(MEMSESS_N_REPAIRED) - repaired_before, place + 1);
    }
    assert_finds("v++");
}

static void test_damaged_copies_are_repaired(void **state)
{
    static const char *const garbage[] = {"", "MSS", "MSS\1", "garbage", "a:1:{s:1:\"b\";i:1;}"};
    char *good, *bad;
    apr_size_t len;
    unsigned place, i;

    (void)state;
    open_store(3, 2, 1);
    written("value");
    for (place = 0; place < 2; place++) {
        good = copy_raw(place, &len);
        for (i = 0; i < COUNT(garbage); i++) {
            put_raw(place, garbage[i], strlen(garbage[i]));
            assert_finds("value");
        }
        put_raw(place, good, len - 1);
        assert_finds("value");
        bad = apr_pmemdup(unit_pool, good, len);
        bad[len - 3] ^= 1;
        put_raw(place, bad, len);
        assert_finds("value");
        await_settled(2);
    }
    assert_true(unit_logged("damaged") >= 2 * ((int)COUNT(garbage) + 2));

    /* If all copies are damaged there is no session, and that is certain. */
    put_raw(0, "garbage", 7);
    put_raw(1, "garbage", 7);
    assert_finds_not(MEMSESS_MISSING);
    written("again");
    assert_finds("again");
}

/* A client that can write to a server must not fill the log. */
static void test_complaints_are_few(void **state)
{
    apr_time_t begun = apr_time_now();
    int i, seconds;

    (void)state;
    open_store(1, 1, 1);
    put_raw(0, "garbage", 7);
    for (i = 0; i < 500; i++) {
        assert_finds_not(MEMSESS_MISSING);
    }
    seconds = (int)apr_time_sec(apr_time_now() - begun) + 2;
    assert_true(unit_logged("damaged") >= 1);
    assert_true(unit_logged("damaged") <= 20 * seconds);
}

/* With secrets, everything in memcached is sealed, and nothing else is believed. */
static void test_sealed(void **state)
{
    memsess_secrets_t *secrets = memsess_secrets_make(unit_pool), *other;
    memsess_session_t *found;
    apr_size_t len, plain_len;
    char *data, *plain;

    (void)state;
    unit_secret_add(secrets, 's', "");
    open_store(2, 2, 1);
    written("unsealed");
    plain = copy_raw(0, &plain_len);
    store_conf.secrets = secrets;
    store = same_servers(&store_conf);
    assert_finds_not(MEMSESS_MISSING);
    assert_true(unit_logged("not sealed") > 0);

    written("value");
    data = copy_raw(0, &len);
    assert_null(memmem(data, len, "value", 5));
    assert_memory_equal(data, "MSE", 3);
    assert_finds("value");
    put_raw(0, plain, plain_len);
    assert_finds("value");
    data[len / 2] ^= 1;
    put_raw(0, data, len);
    put_raw(1, data, len);
    assert_finds_not(MEMSESS_MISSING);
    assert_true(unit_logged("altered") > 0);

    /* A record of an older secret is found, and reported as aged. */
    written("aged");
    other = memsess_secrets_make(unit_pool);
    unit_secret_add(other, 't', "");
    unit_secret_add(other, 's', "");
    store_conf.secrets = other;
    store = same_servers(&store_conf);
    assert_int_equal(unit_read(store, &key, &found, unit_pool), MEMSESS_FOUND);
    assert_true(unit_facts(&key, found).aged);
    write_value(found, "moved");
    assert_int_equal(unit_read(store, &key, &found, unit_pool), MEMSESS_FOUND);
    assert_false(unit_facts(&key, found).aged);
    store_conf.secrets = NULL;
}

/* A server that answers with another session's record must not hand that session out. */
static void test_records_of_another_session(void **state)
{
    memsess_key_t mine, other;
    char *data;
    apr_size_t len;

    (void)state;
    open_store(3, 2, 1);
    written("other");
    data = copy_raw(0, &len);
    other = key;
    next_key();
    mine = key;
    written("mine");
    put_raw(0, data, len);
    assert_finds("mine");
    put_raw(1, data, len);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    assert_true(unit_logged("another") >= 2);
    key = other;
    order_key();
    assert_finds("other");
    key = mine;
}

/* Two writers can make the same revision only if claims were lost. A server that both have written
 * to has the later record. */
static void test_two_records_of_one_revision(void **state)
{
    memsess_session_t *before, there, living;
    unsigned place;

    (void)state;
    open_store(4, 2, 1);
    for (place = 0; place < 2; place++) {
        next_key();
        write_value(before = new_session(), "a");
        there = living = *before;
        memcpy(living.placement.tag[0], nodes[order[1 - place]].tag, MEMSESS_TAG_LEN);
        memcpy(living.placement.tag[1], nodes[order[2]].tag, MEMSESS_TAG_LEN);
        put_record(&there, place, "dead", 2, 6, 9);
        put_record(&living, 1 - place, "living", 2, 600, 1);
        put_record(&living, 2, "living", 2, 600, 1);
        assert_finds("living");
        assert_true(unit_logged("one of two with the same revision") > 0);
        await_settled(2);
        assert_finds("living");
    }
    /* If no server tells, all members choose the same record. */
    for (place = 0; place < 2; place++) {
        next_key();
        write_value(before = new_session(), "a");
        put_record(before, place, "nine", 2, 6, 9);
        put_record(before, 1 - place, "one", 2, 1, 1);
        assert_finds("nine");
        await_settled(2);
        assert_finds("nine");
    }
}

static void *reader_main(void *session)
{
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    unit_read(store, &key, session, p);
    return NULL;
}

/* A reader has read the old memory of one home and waits for the other one, which hangs. Meanwhile
 * a writer renews the first and deletes the stand-in's copy. The reader must not be shown the old
 * session. */
static void test_a_copy_is_deleted_beside_a_reader(void **state)
{
    memsess_session_t *before, stood_in, *found = NULL;
    pthread_t reader;
    long asked;

    (void)state;
    timeout = HASTE;
    open_store(3, 2, 1);
    timeout = TIMEOUT;
    write_value(before = new_session(), "old");
    stood_in = *before;
    memcpy(stood_in.placement.tag[1], nodes[order[2]].tag, MEMSESS_TAG_LEN);
    put_record(&stood_in, 0, "new", 2, 6, 0);
    put_record(&stood_in, 2, "new", 2, 6, 0);
    asked = unit_memcached_stat(at(1), "cmd_get");
    unit_memcached_freeze(at(0));
    assert_int_equal(pthread_create(&reader, NULL, reader_main, &found), 0);
    unit_await(unit_memcached_stat(at(1), "cmd_get") > asked);
    put_record(before, 1, "newest", 3, 0, 0);
    unit_memcached_delete(at(2), copy_key(2));
    pthread_join(reader, NULL);
    assert_non_null(found);
    assert_string_not_equal(memsess_session_find(found, "value")->value, "old");
    unit_memcached_thaw(at(0));
}

/* -- Ending ------------------------------------------------------------------------------------ */

static void end_for_good(void)
{
    edit_t edit = {.append = "more"};
    memsess_session_t *session;
    apr_size_t len, len_now, left_len;
    apr_time_t read_at;
    char *old, *left;

    open_store(3, 2, 1);
    read_at = memsess_clock_steady();
    session = begun("value");
    old = copy_raw(0, &len);
    assert_int_equal(end(session), APR_SUCCESS);
    assert_int_equal(session->ended, 0);
    assert_finds_not(MEMSESS_ENDED);
    assert_string_equal(revisions(), "2 2 -");
    assert_in_range(seconds_left(0, ""), 1800, 1800 + 122);
    /* The tombstone holds nothing of the session's content. */
    left = copy_raw(0, &left_len);
    assert_non_null(left);
    assert_null(memmem(left, left_len, "value", 5));

    /* Neither an old copy nor a lost tombstone brings the session back. */
    put_raw(0, old, len);
    assert_finds_not(MEMSESS_ENDED);
    await_settled(2);
    assert_non_null(unit_memcached_get(at(0), copy_key(0), &len_now));
    put_raw(1, old, len);
    unit_memcached_delete(at(1), copy_key(1));
    assert_finds_not(MEMSESS_ENDED);
    await_settled(2);
    unit_memcached_delete(at(1), copy_key(1));
    assert_finds_not(MEMSESS_ENDED);
    await_settled(2);
    assert_finds_not(MEMSESS_ENDED);

    /* A request that has seen the session alive does not bring it back, either. */
    assert_int_equal(commit_at(session, read_at, apr_time_from_sec(5), &edit), MEMSESS_GONE);
    assert_int_equal(edit.calls, 0);
    assert_finds_not(MEMSESS_ENDED);
}

static void test_end(void **state)
{
    (void)state;
    end_for_good();
}

/* The session is under another id now: requests with the old id are told which. */
static void test_end_that_says_where_it_went(void **state)
{
    edit_t edit = {.append = NULL};
    unsigned char moved_to[MEMSESS_SEALED_ID_BYTES];
    memsess_session_t *found = NULL;

    (void)state;
    open_store(3, 2, 1);
    written("value");
    memset(moved_to, 'm', sizeof(moved_to));
    edit.moved_to = "m";
    assert_int_equal(commit_at(read_session(), memsess_clock_steady(), 0, &edit), APR_SUCCESS);
    assert_int_equal(unit_read(store, &key, &found, unit_pool), MEMSESS_ENDED);
    assert_true(found->moved && found->tells);
    assert_memory_equal(found->moved_to, moved_to, sizeof(moved_to));
    assert_int_equal(found->attrs->nelts, 0);
    unit_memcached_delete(at(0), copy_key(0));
    await_settled(2);
    assert_int_equal(unit_read(store, &key, &found, unit_pool), MEMSESS_ENDED);
    assert_memory_equal(found->moved_to, moved_to, sizeof(moved_to));
}

/* -- Size -------------------------------------------------------------------------------------- */

/* The default of MemSessMaxSize must fit memcached's limit, even if the data is incompressible. */
static void test_the_largest_session(void **state)
{
    enum { LARGE = 1000000 };
    memsess_session_t *session;
    char *value = apr_palloc(unit_pool, LARGE);
    apr_size_t len, i;

    (void)state;
    timeout = PATIENCE; /* a busy machine takes long for this much data */
    open_store(2, 2, 1);
    timeout = TIMEOUT;
    for (i = 0; i < LARGE; i++) {
        value[i] = (char)(1 + unit_below(255));
    }
    value[LARGE - 12] = '\0'; /* the name and 7 bytes make up the rest */
    session = written(value);
    assert_int_equal(memsess_record_size(session), LARGE);
    assert_finds(value);
    assert_revisions("1 1");

    /* A compressed record is small in memcached. */
    memset(value, 'x', LARGE - 12);
    write_value(session, value);
    assert_non_null(copy_raw(0, &len));
    assert_true(len < LARGE / 10);
    assert_finds(value);
}

/* For example, MemSessMaxSize was lowered after the session was written: it is neither lost nor
 * overwritten. */
static void test_a_session_larger_than_may_be_unpacked(void **state)
{
    memsess_store_t *usual, *lowered;
    char value[6000];

    (void)state;
    open_store(2, 2, 1);
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    written(value);
    usual = store;
    store_conf.unpack = 5000;
    lowered = same_servers(&store_conf);
    store = lowered;
    assert_finds_not(MEMSESS_UNAVAILABLE);
    assert_true(unit_logged("raise MemSessMaxSize"));
    store = usual;
    assert_finds(value);
    assert_revisions("1 1");
}

static void test_a_session_that_no_server_takes(void **state)
{
    enum { LARGE = 1200000 };
    memsess_session_t *session;
    char *value = apr_palloc(unit_pool, LARGE);
    apr_size_t i;

    (void)state;
    timeout = PATIENCE; /* a busy machine takes long for this much data */
    open_store(2, 2, 1);
    timeout = TIMEOUT;
    for (i = 0; i < LARGE - 1; i++) {
        value[i] = (char)(1 + unit_below(255));
    }
    value[LARGE - 1] = '\0';
    session = new_session();
    set_value(session, value);
    assert_int_equal(memsess_store_write(store, &key, session, unit_pool), MEMSESS_TOO_LARGE);
    assert_int_equal(unit_logged("is down"), 0);
    assert_finds_not(MEMSESS_MISSING);
    write_value(session, "small");
    assert_finds("small");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORE_TEST(test_round_trip),
        STORE_TEST(test_exactly_1_copy),
        STORE_TEST(test_exactly_2_copies),
        STORE_TEST(test_exactly_3_copies),
        STORE_TEST(test_reading_writes_nothing),
        STORE_TEST(test_another_member),
        STORE_TEST(test_expiry_in_memcached),
        STORE_TEST(test_highest_revision_wins),
        STORE_TEST(test_missing_copies_are_repaired),
        STORE_TEST(test_reading_leaves_repairs_to_others),
        STORE_TEST(test_a_change_repairs_what_it_is_made_upon),
        STORE_TEST(test_damaged_copies_are_repaired),
        STORE_TEST(test_complaints_are_few),
        STORE_TEST(test_sealed),
        STORE_TEST(test_records_of_another_session),
        STORE_TEST(test_end),
        STORE_TEST(test_end_that_says_where_it_went),
        STORE_TEST(test_the_largest_session),
        STORE_TEST(test_a_session_larger_than_may_be_unpacked),
        STORE_TEST(test_a_session_that_no_server_takes),
        STORE_TEST(test_two_records_of_one_revision),
        STORE_TEST(test_a_copy_is_deleted_beside_a_reader),
    };

    unit_begin();
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
