/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Marks: facts that are remembered for some seconds, by memcached's clock. */

#include "unit_copies.h"

#include "session/seal.h"
#include "store/mark.h"

static int is_marked(const char *what)
{
    return memsess_mark_is_there(store, &key, what, unit_pool);
}

static const char *mark_key(unsigned place)
{
    return apr_pstrcat(unit_pool, copy_key(place), ".mark-first", NULL);
}

/* A mark has as many copies as a record, and expires. */
static void test_a_mark(void **state)
{
    apr_size_t len;

    (void)state;
    open_store(4, 2, 1);
    assert_false(is_marked("first"));
    memsess_mark_put(store, &key, "first", 2, unit_pool);
    assert_true(is_marked("first"));
    assert_false(is_marked("end"));
    assert_non_null(unit_memcached_get(at(0), mark_key(0), &len));
    assert_non_null(unit_memcached_get(at(1), mark_key(1), &len));
    assert_null(unit_memcached_get(at(2), mark_key(2), &len));
    next_key();
    assert_false(is_marked("first"));
    memsess_mark_put(store, &key, "first", 1, unit_pool);
    unit_let_pass(apr_time_from_sec(2));
    assert_false(is_marked("first"));
}

static void test_a_mark_while_servers_are_away(void **state)
{
    unsigned place;

    (void)state;
    open_store(3, 2, 1);
    memsess_mark_put(store, &key, "first", 60, unit_pool);
    unit_memcached_kill(at(0));
    assert_true(is_marked("first"));
    /* A mark lies where the next record would lie; a member that does not know yet that a server is
     * back finds it, too. */
    know_down(0);
    next_key();
    memsess_mark_put(store, &key, "first", 60, unit_pool);
    assert_true(is_marked("first"));
    /* Nobody can tell, so the mark counts as being there. */
    for (place = 0; place < 3; place++) {
        unit_memcached_kill(at(place));
    }
    next_key();
    assert_true(is_marked("end"));
}

/* With secrets, only a member can have put it there. */
static void test_a_mark_that_was_planted(void **state)
{
    memsess_secrets_t *secrets = memsess_secrets_make(unit_pool);
    apr_size_t len = 0;
    char *data;

    (void)state;
    unit_secret_add(secrets, 's', "");
    store_conf.secrets = secrets;
    open_store(2, 1, 1);
    unit_memcached_set(at(0), mark_key(0), "1", 1);
    assert_false(is_marked("first"));
    assert_int_equal(unit_logged("not sealed"), 1);
    memsess_mark_put(store, &key, "first", 60, unit_pool);
    assert_true(is_marked("first"));
    data = unit_memcached_get(at(0), mark_key(0), &len);
    next_key();
    unit_memcached_set(at(0), mark_key(0), data, len);
    assert_false(is_marked("first"));
    store_conf.secrets = NULL;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        STORE_TEST(test_a_mark),
        STORE_TEST(test_a_mark_while_servers_are_away),
        STORE_TEST(test_a_mark_that_was_planted),
    };

    unit_begin();
    return cmocka_run_group_tests_name("mark", tests, NULL, NULL);
}
