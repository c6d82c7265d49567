/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* What is renewed while it is held: all of it in time, and nobody waits for a renewal. */

#include "unit_servers.h"

#include "base/lease.h"

#define LEASES 48

/* A renewal takes as long as a slow server would. */
#define SLOW apr_time_from_msec(300)

typedef struct held_t {
    memsess_lease_t lease;
    apr_interval_time_t takes; /* a renewal */
    volatile int begun, renewed, ended;
} held_t;

static memsess_crew_t *crew;
static memsess_leases_t *leases;
static held_t held[LEASES];

static int setup(void **state)
{
    memset(held, 0, sizeof(held));
    assert_int_equal(memsess_crew_create(&crew), APR_SUCCESS);
    assert_int_equal(memsess_leases_create(&leases, crew), APR_SUCCESS);
    return unit_setup(state);
}

static int teardown(void **state)
{
    memsess_leases_destroy(leases);
    memsess_crew_destroy(crew);
    return unit_teardown(state);
}

static void renew(void *baton)
{
    held_t *one = baton;

    __atomic_add_fetch(&one->begun, 1, __ATOMIC_SEQ_CST);
    assert_int_equal(one->ended, 0);
    apr_sleep(one->takes);
    __atomic_add_fetch(&one->renewed, 1, __ATOMIC_SEQ_CST);
}

static void end(void *baton)
{
    __atomic_add_fetch(&((held_t *)baton)->ended, 1, __ATOMIC_SEQ_CST);
}

static void begin(unsigned i, apr_interval_time_t takes)
{
    held[i].takes = takes;
    memsess_lease_begin(leases, &held[i].lease, renew, end, &held[i]);
}

static int all_renewed(int times)
{
    unsigned i;

    for (i = 0; i < LEASES; i++) {
        if (__atomic_load_n(&held[i].renewed, __ATOMIC_SEQ_CST) < times) {
            return 0;
        }
    }
    return 1;
}

/* One after the other these would take 14 seconds, and locks would run out. */
static void test_many_are_renewed_side_by_side(void **state)
{
    apr_time_t begun = apr_time_now();
    unsigned i;

    (void)state;
    for (i = 0; i < LEASES; i++) {
        begin(i, SLOW);
    }
    unit_await(all_renewed(1));
    assert_true(apr_time_now() - begun < apr_time_from_sec(MEMSESS_LEASE_EVERY + 6));
    unit_await(all_renewed(2));
    for (i = 0; i < LEASES; i++) {
        memsess_lease_end(leases, &held[i].lease);
    }
    for (i = 0; i < LEASES; i++) {
        unit_await(held[i].ended == 1);
    }
}

/* Whoever ends one does not wait; that is left to the renewal, and nothing is renewed after. */
static void test_one_is_ended_while_it_is_renewed(void **state)
{
    apr_time_t now;

    (void)state;
    begin(0, apr_time_from_sec(4));
    unit_await(held[0].begun == 1);
    now = apr_time_now();
    memsess_lease_end(leases, &held[0].lease);
    assert_true(apr_time_now() - now < apr_time_from_sec(2));
    assert_int_equal(held[0].ended, 0);
    /* Another one goes on meanwhile. */
    begin(1, 0);
    memsess_lease_end(leases, &held[1].lease);
    assert_int_equal(held[1].ended, 1);
    unit_await(held[0].ended == 1);
    assert_int_equal(held[0].renewed, 1);
    begin(2, 0);
    unit_await(held[2].renewed == 2);
    memsess_lease_end(leases, &held[2].lease);
    assert_int_equal(held[0].begun, 1);
    assert_int_equal(held[0].ended, 1);
    assert_int_equal(held[1].begun, 0);
}

/* Renewals go on at their pace, so a lock is neither lost nor its server pestered. */
static void test_renewed_though_the_clock_is_set(void **state)
{
    static const int minutes[] = {-10, 10};
    unsigned i;

    (void)state;
    begin(0, 0);
    unit_await(held[0].renewed == 1);
    for (i = 0; i < COUNT(minutes); i++) {
        int before = held[0].renewed;
        apr_time_t set_at = memsess_clock_steady();

        unit_set_wall(apr_time_from_sec(60 * minutes[i]));
        unit_await(held[0].renewed == before + 2);
        assert_in_range(memsess_clock_steady() - set_at, apr_time_from_sec(MEMSESS_LEASE_EVERY),
                        apr_time_from_sec(MEMSESS_LEASE_EVERY + 6));
    }
    memsess_lease_end(leases, &held[0].lease);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_many_are_renewed_side_by_side, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_is_ended_while_it_is_renewed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_renewed_though_the_clock_is_set, setup, teardown),
    };

    unit_begin();
    return cmocka_run_group_tests_name("lease", tests, NULL, NULL);
}
