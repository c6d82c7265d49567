/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* What a configuration leaves for the next one. The source is compiled in, so that its memory can
 * be seen. */

#include "unit.h"

#include "../../base/kept.c"

static memsess_kept_t *kept;

static int setup(void **state)
{
    int rv = unit_setup(state);

    kept = memsess_kept(unit_pool);
    return rv;
}

static void put(const char *name, const char *text)
{
    memsess_kept_put(kept, name, text, strlen(text));
}

static void assert_kept(const char *name, const char *text)
{
    const char *found = memsess_kept_find(kept, name, 0);

    assert_non_null(found);
    assert_string_equal(found, text);
}

static void test_the_next_one_finds_it(void **state)
{
    (void)state;
    put("a", "of the first");
    put("b", "of the first");
    assert_null(memsess_kept_find(kept, "a", 0));
    memsess_kept_turn(kept);
    assert_kept("a", "of the first");
    put("a", "of the second");
    assert_kept("a", "of the first");
    memsess_kept_turn(kept);
    assert_kept("a", "of the second");
    /* An entry that nobody kept again is gone. */
    assert_null(memsess_kept_find(kept, "b", 0));
    memsess_kept_turn(kept);
    assert_null(memsess_kept_find(kept, "a", 0));
    memsess_kept_turn(kept);
}

static void test_the_first_of_a_name_counts(void **state)
{
    (void)state;
    put("a", "one");
    put("a", "two");
    memsess_kept_turn(kept);
    assert_kept("a", "one");
}

static void test_only_of_that_length(void **state)
{
    (void)state;
    put("a", "12345678");
    memsess_kept_turn(kept);
    assert_non_null(memsess_kept_find(kept, "a", 8));
    assert_null(memsess_kept_find(kept, "a", 7));
    assert_null(memsess_kept_find(kept, "a", 9));
}

/* A module that is loaded again has nothing but the process's pool. */
static void test_it_is_of_the_process(void **state)
{
    apr_pool_t *other;

    (void)state;
    put("a", "text");
    memsess_kept_turn(kept);
    assert_ptr_equal(memsess_kept(unit_pool), kept);
    apr_pool_create(&other, NULL);
    assert_null(memsess_kept_find(memsess_kept(other), "a", 0));
    apr_pool_destroy(other);
}

static char seen[8];

static apr_status_t look(void *bytes)
{
    memcpy(seen, bytes, sizeof(seen));
    return APR_SUCCESS;
}

/* The bytes are zeroed before their memory is freed. */
static void test_what_is_replaced_is_zeroed(void **state)
{
    static const char zero[sizeof(seen)];

    (void)state;
    put("a", "TheSecret");
    memsess_kept_turn(kept);
    apr_pool_cleanup_register(kept->before.p, memsess_kept_find(kept, "a", 0), look,
                              apr_pool_cleanup_null);
    memset(seen, 1, sizeof(seen));
    memsess_kept_turn(kept);
    assert_memory_equal(seen, zero, sizeof(zero));
}

#define KEPT_TEST(test) cmocka_unit_test_setup_teardown(test, setup, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        KEPT_TEST(test_the_next_one_finds_it),
        KEPT_TEST(test_the_first_of_a_name_counts),
        KEPT_TEST(test_only_of_that_length),
        KEPT_TEST(test_it_is_of_the_process),
        KEPT_TEST(test_what_is_replaced_is_zeroed),
    };

    unit_begin();
    return cmocka_run_group_tests_name("kept", tests, NULL, NULL);
}
