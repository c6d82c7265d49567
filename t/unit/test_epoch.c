/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The record of a user: epochs, and the list of sessions. */

#include "unit_copies.h"

#include "store/epoch.h"

/* -- Epochs ------------------------------------------------------------------------------------ */

typedef struct epoch_bytes_t {
    unsigned char bytes[MEMSESS_EPOCH_BYTES];
} epoch_bytes_t;

static epoch_bytes_t get_epoch(void)
{
    memsess_entry_t entry = {.public_id = "AAAAAAAAAAAAAAAA",
                             .idle = apr_time_from_sec(1800),
                             .label = ""};
    memsess_login_t login;
    epoch_bytes_t epoch;

    assert_int_equal(memsess_epoch_enter(&login, store, &key, &entry, 0, apr_time_from_sec(5),
                                         unit_pool), APR_SUCCESS);
    memcpy(epoch.bytes, login.epoch, sizeof(epoch.bytes));
    return epoch;
}

#define assert_epoch(expected)                                                                     \
    do {                                                                                           \
        epoch_bytes_t epoch_now = get_epoch();                                                     \
        assert_memory_equal(epoch_now.bytes, (expected).bytes, MEMSESS_EPOCH_BYTES);               \
    } while (0)

static const char *first_key(unsigned place)
{
    return apr_pstrcat(unit_pool, copy_key(place), ".first", NULL);
}

/* A user who first logs in while a server is away still gets an epoch. */
static void test_first_epoch_while_a_server_is_away(void **state)
{
    unsigned n, place;

    (void)state;
    for (n = 2; n <= 4; n++) {
        open_store(n, 2, 1);
        for (place = 0; place < n; place++) {
            epoch_bytes_t epoch;

            next_key();
            freeze(place);
            epoch = get_epoch();
            assert_epoch(epoch);
            thaw(place);
            assert_epoch(epoch);
        }
        close_pool();
        unit_servers_stop();
    }
}

/* The only copy that is left is on a server that is away. An epoch that is made meanwhile wins over
 * it, however often the old one was written, and whatever members' clocks say. */
static void test_an_epoch_that_is_made_again_wins(void **state)
{
    epoch_bytes_t old, made;
    unsigned i, change;

    (void)state;
    open_store(3, 2, 1);
    for (change = 0; change < 2; change++) {
        next_key();
        get_epoch();
        for (i = 0; i < 20; i++) {
            assert_int_equal(memsess_epoch_end_all(store, &key, apr_time_from_sec(5), unit_pool),
                             APR_SUCCESS);
        }
        old = get_epoch();
        unit_memcached_delete(at(1), copy_key(1));
        freeze(0);
        pass_time();
        unit_set_wall(-apr_time_from_sec(3600));
        if (change) {
            assert_int_equal(memsess_epoch_end_all(store, &key, apr_time_from_sec(5), unit_pool),
                             APR_SUCCESS);
        }
        made = get_epoch();
        assert_memory_not_equal(made.bytes, old.bytes, MEMSESS_EPOCH_BYTES);
        thaw(0);
        assert_epoch(made);
        await_settled(2);
        assert_epoch(made);
    }
}

/* The same, right after a start, when no server has told its time yet. */
static void test_an_epoch_that_is_made_again_right_after_a_start(void **state)
{
    epoch_bytes_t old, made;

    (void)state;
    open_store(3, 2, 1);
    old = get_epoch();
    unit_memcached_delete(at(1), copy_key(1));
    reopen_store();
    freeze(0);
    pass_time();
    unit_set_wall(-apr_time_from_sec(3600));
    made = get_epoch();
    assert_memory_not_equal(made.bytes, old.bytes, MEMSESS_EPOCH_BYTES);
    thaw(0);
    assert_epoch(made);
}

/* Members whose clocks are an hour apart log a user in by turns: the epoch is not written each
 * time. */
static void test_an_epoch_is_kept_by_members_apart(void **state)
{
    static const int hours[] = {0, 1, -1, 0, 1};
    apr_uint64_t revision = 0;
    unsigned i;

    (void)state;
    open_store(2, 2, 1);
    for (i = 0; i < COUNT(hours); i++) {
        unit_set_wall(apr_time_from_sec(3600 * hours[i]));
        get_epoch();
        revision = i ? revision : revision_at(0);
        assert_true(revision_at(0) == revision);
    }
    /* It is written again before servers drop it. */
    unit_let_pass(apr_time_from_sec(1000));
    unit_set_wall(-apr_time_from_sec(3600));
    get_epoch();
    assert_true(revision_at(0) == revision + 1);
}

/* The only copy may be on a stand-in that is silent: ending all sessions makes an epoch that wins
 * over that copy. */
static void test_an_epoch_changes_that_may_be_elsewhere(void **state)
{
    epoch_bytes_t old, now;
    apr_size_t len = 0;
    char *data;
    unsigned place;

    (void)state;
    open_store(3, 2, 1);
    old = get_epoch();
    data = copy_raw(0, &len);
    put_raw(2, data, len);
    for (place = 0; place < 2; place++) {
        unit_memcached_delete(at(place), copy_key(place));
    }
    freeze(2);
    assert_int_equal(memsess_epoch_end_all(store, &key, apr_time_from_sec(5), unit_pool),
                     APR_SUCCESS);
    thaw(2);
    now = get_epoch();
    assert_memory_not_equal(now.bytes, old.bytes, MEMSESS_EPOCH_BYTES);
}

/* A writer that builds upon an epoch which one server lacks meets, on that server, a writer that
 * sees none at all; and it gives its claim back, so that the next one does not wait. */
static void test_an_epoch_that_others_may_not_see(void **state)
{
    (void)state;
    open_store(2, 2, 1);
    get_epoch();
    unit_memcached_delete(at(1), copy_key(1));
    unit_memcached_set(at(1), first_key(1), "0123456789abcdef", 16);
    pass_time();
    assert_int_equal(memsess_epoch_end_all(store, &key, apr_time_from_msec(50), unit_pool),
                     MEMSESS_BUSY);
    assert_true(revision_at(0) > 0 && revision_at(1) == 0);
    unit_memcached_delete(at(1), first_key(1));
    assert_int_equal(memsess_epoch_end_all(store, &key, apr_time_from_msec(50), unit_pool),
                     APR_SUCCESS);
    assert_true(revision_at(0) > 0 && revision_at(1) == revision_at(0));
    unit_memcached_delete(at(1), copy_key(1));
    pass_time();
    assert_int_equal(memsess_epoch_end_all(store, &key, apr_time_from_msec(50), unit_pool),
                     APR_SUCCESS);
    assert_true(revision_at(0) > 0 && revision_at(1) == revision_at(0));
}

/* -- The list ---------------------------------------------------------------------------------- */

/* Logs a session in, of a user for whom at most this many are listed. */
static void enter_list(const char *public_id, int used_ago, int idle, unsigned most)
{
    apr_time_t used = memsess_clock_wall() - apr_time_from_sec(used_ago);
    char label[MEMSESS_LABEL_MAX + 11];
    memsess_entry_t entry = {.public_id = public_id, .created = used, .used = used,
                             .idle = apr_time_from_sec(idle), .label = label};
    memsess_login_t login = {.at = 0};

    memset(label, 'l', sizeof(label) - 1);
    label[sizeof(label) - 1] = '\0';
    assert_int_equal(memsess_epoch_enter(&login, store, &key, &entry, most, apr_time_from_sec(5),
                                         unit_pool), APR_SUCCESS);
    assert_true(login.listed);
}

static const memsess_session_t *user_record(void)
{
    memsess_reading_t epoch = {.key = key};

    memsess_store_read(store, &epoch, unit_pool);
    assert_int_equal(epoch.found, MEMSESS_FOUND);
    return epoch.session;
}

/* From a full list, the session that was unused for longest leaves; but an expired one leaves
 * before one with a longer time-out, even if it was used more recently. */
static void test_who_leaves_a_full_list(void **state)
{
    const memsess_session_t *record;

    (void)state;
    open_store(2, 2, 1);
    enter_list("lasting_________", 3000, 100000, 3);
    enter_list("over____________", 1500, 1000, 3);
    enter_list("new_____________", 0, 1000, 3);
    enter_list("-newer__________", 0, 1000, 3);
    record = user_record();
    assert_int_equal(record->attrs->nelts, 3);
    assert_null(memsess_session_find(record, "over____________"));
    assert_non_null(memsess_session_find(record, "lasting_________"));
    enter_list("newest__________", 0, 1000, 3);
    record = user_record();
    assert_int_equal(record->attrs->nelts, 3);
    assert_null(memsess_session_find(record, "lasting_________"));
    assert_non_null(memsess_session_find(record, "-newer__________"));
}

/* Members' clocks differ: the list still tells which session was unused for longest, and another
 * member's clock makes none expire. */
static void test_a_list_of_members_apart(void **state)
{
    static const int hours[] = {1, -1};
    unsigned i;

    (void)state;
    open_store(2, 2, 1);
    for (i = 0; i < COUNT(hours); i++) {
        apr_interval_time_t apart = apr_time_from_sec(3600 * hours[i]);
        const memsess_session_t *record;
        const memsess_entry_t *entry;
        apr_array_header_t *list;

        next_key();
        unit_set_wall(apart);
        enter_list("apart-unused____", 600, 1000, 3);
        enter_list("apart-used______", 0, 1000, 3);
        unit_set_wall(0);
        enter_list("in-step-unused__", 700, 1000, 3);
        unit_set_wall(apart);
        enter_list("apart-new_______", 0, 1000, 3);
        assert_null(memsess_session_find(user_record(), "in-step-unused__"));
        unit_set_wall(0);
        enter_list("in-step-new_____", 0, 1000, 3);
        record = user_record();
        assert_null(memsess_session_find(record, "apart-unused____"));
        assert_non_null(memsess_session_find(record, "apart-used______"));
        /* Each member shows the times by its own clock. */
        unit_set_wall(apart);
        list = memsess_epoch_list(store, record, unit_pool);
        assert_int_equal(list->nelts, 3);
        entry = &APR_ARRAY_IDX(list, 0, memsess_entry_t);
        assert_in_range(memsess_clock_wall() - entry->used + apr_time_from_sec(5), 0,
                        apr_time_from_sec(10));
    }
}

/* The list has a hundred sessions with the longest labels. */
static void test_a_full_list_is_small(void **state)
{
    const memsess_session_t *record;
    unsigned i;

    (void)state;
    open_store(2, 2, 1);
    for (i = 0; i < 110; i++) {
        enter_list(apr_psprintf(unit_pool, "%016u", i), 0, 1000, 100);
    }
    record = user_record();
    assert_int_equal(record->attrs->nelts, 100);
    assert_true(memsess_record_size(record) < 16384);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORE_TEST(test_an_epoch_is_kept_by_members_apart),
        STORE_TEST(test_first_epoch_while_a_server_is_away),
        STORE_TEST(test_an_epoch_that_is_made_again_wins),
        STORE_TEST(test_an_epoch_that_is_made_again_right_after_a_start),
        STORE_TEST(test_an_epoch_changes_that_may_be_elsewhere),
        STORE_TEST(test_an_epoch_that_others_may_not_see),
        STORE_TEST(test_who_leaves_a_full_list),
        STORE_TEST(test_a_list_of_members_apart),
        STORE_TEST(test_a_full_list_is_small),
    };

    unit_begin();
    return cmocka_run_group_tests_name("epoch", tests, NULL, NULL);
}
