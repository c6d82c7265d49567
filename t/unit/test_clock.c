/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "base/clock.h"
#include "unit.h"

/* The unit tests set the clocks that the system shows. */
static void test_the_wall_clock_is_set_alone(void **state)
{
    apr_time_t wall = memsess_clock_wall(), steady = memsess_clock_steady();

    (void)state;
    unit_set_wall(-apr_time_from_sec(600));
    assert_in_range(memsess_clock_wall(), wall - apr_time_from_sec(600), wall - apr_time_from_sec(500));
    assert_in_range(memsess_clock_steady(), steady, steady + apr_time_from_sec(100));
    unit_set_wall(0);
    assert_in_range(memsess_clock_wall(), wall, wall + apr_time_from_sec(100));
}

static void test_time_passes_for_both(void **state)
{
    apr_time_t wall = memsess_clock_wall(), steady = memsess_clock_steady();

    (void)state;
    unit_clocks_pass(apr_time_from_sec(600));
    assert_in_range(memsess_clock_wall() - wall, apr_time_from_sec(600), apr_time_from_sec(700));
    assert_in_range(memsess_clock_steady() - steady, apr_time_from_sec(600), apr_time_from_sec(700));
}

static void test_the_steady_one_never_says_never(void **state)
{
    (void)state;
    assert_true(memsess_clock_steady() > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(test_the_wall_clock_is_set_alone),
        UNIT_TEST(test_time_passes_for_both),
        UNIT_TEST(test_the_steady_one_never_says_never),
    };

    unit_begin();
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
