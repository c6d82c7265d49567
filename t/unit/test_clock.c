/* Licensed under the Apache License, Version 2.0; see LICENSE. */

#include "base/clock.h"
#include "unit.h"

static void test_each_is_shifted_alone(void **state)
{
    apr_time_t wall = memsess_clock_wall(), steady = memsess_clock_steady();

    (void)state;
    memsess_clock_shift(-apr_time_from_sec(600), apr_time_from_sec(60));
    assert_true(memsess_clock_wall() < wall - apr_time_from_sec(500));
    assert_true(memsess_clock_steady() >= steady + apr_time_from_sec(60));
    memsess_clock_shift(0, 0);
    assert_true(memsess_clock_wall() >= wall);
    assert_true(memsess_clock_steady() >= steady);
}

static void test_the_steady_one_never_says_never(void **state)
{
    (void)state;
    assert_true(memsess_clock_steady() > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(test_each_is_shifted_alone),
        UNIT_TEST(test_the_steady_one_never_says_never),
    };

    unit_begin();
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
