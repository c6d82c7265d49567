/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Leases are renewed while they are held: all of them in time, and nobody waits for a renewal. */

#include "unit_servers.h"

#include "base/lease.h"
#include "memsess_store.h"

#define LEASES 48

typedef struct held_t {
    memsess_lease_t lease;
    volatile int *goes_on; /* a renewal waits for this; NULL: it does not wait */
    volatile int begun, renewed, ended;
} held_t;

static memsess_crew_t *crew;
static memsess_leases_t *leases;
static held_t held[LEASES];
static volatile int goes_on;

static int setup(void **state)
{
    memset(held, 0, sizeof(held));
    goes_on = 0;
    assert_int_equal(memsess_crew_create(&crew), APR_SUCCESS);
    assert_int_equal(memsess_leases_create(&leases, crew), APR_SUCCESS);
    return unit_setup(state);
}

static int teardown(void **state)
{
    goes_on = 1;
    memsess_leases_destroy(leases);
    memsess_crew_destroy(crew);
    return unit_teardown(state);
}

static void renew(void *baton)
{
    held_t *one = baton;

    __atomic_add_fetch(&one->begun, 1, __ATOMIC_SEQ_CST);
    assert_int_equal(one->ended, 0);
    while (one->goes_on && !__atomic_load_n(one->goes_on, __ATOMIC_SEQ_CST)) {
        apr_sleep(1000);
    }
    __atomic_add_fetch(&one->renewed, 1, __ATOMIC_SEQ_CST);
}

static void end(void *baton)
{
    __atomic_add_fetch(&((held_t *)baton)->ended, 1, __ATOMIC_SEQ_CST);
}

static void begin(unsigned i, volatile int *until)
{
    held[i].goes_on = until;
    memsess_lease_begin(leases, &held[i].lease, renew, end, &held[i]);
}

static int begun_or_renewed(int times, int begun)
{
    int i, n = 0;

    for (i = 0; i < LEASES; i++) {
        n += __atomic_load_n(begun ? &held[i].begun : &held[i].renewed, __ATOMIC_SEQ_CST) >= times;
    }
    return n;
}

/* Lets time pass until the next renewal: the thread may or may not have looked at the clock
 * already. */
static void pass_until(volatile int *renewed, int times)
{
    unit_await((unit_clocks_pass(*renewed < times ? apr_time_from_msec(100) : 0), *renewed >= times));
}

/* A renewal takes as long as with a slow server: one after the other, they would take so long that
 * locks expire. */
static void test_many_are_renewed_side_by_side(void **state)
{
    unsigned i;

    (void)state;
    for (i = 0; i < LEASES; i++) {
        begin(i, &goes_on);
    }
    pass_until(&held[LEASES - 1].begun, 1);
    unit_await(begun_or_renewed(1, 1) >= 16);
    assert_int_equal(begun_or_renewed(1, 0), 0);
    goes_on = 1;
    unit_await(begun_or_renewed(1, 0) == LEASES);
    pass_until(&held[0].renewed, 2);
    unit_await(begun_or_renewed(2, 0) == LEASES);
    for (i = 0; i < LEASES; i++) {
        memsess_lease_end(leases, &held[i].lease);
    }
    for (i = 0; i < LEASES; i++) {
        unit_await(held[i].ended == 1);
    }
}

/* A thread that ends a lease does not wait: the renewal ends it, and nothing is renewed
 * afterwards. */
static void test_one_is_ended_while_it_is_renewed(void **state)
{
    (void)state;
    begin(0, &goes_on);
    pass_until(&held[0].begun, 1);
    memsess_lease_end(leases, &held[0].lease);
    assert_int_equal(held[0].ended, 0);
    /* Another lease goes on meanwhile. */
    begin(1, NULL);
    memsess_lease_end(leases, &held[1].lease);
    assert_int_equal(held[1].ended, 1);
    goes_on = 1;
    unit_await(held[0].ended == 1);
    assert_int_equal(held[0].renewed, 1);
    begin(2, NULL);
    pass_until(&held[2].renewed, 2);
    memsess_lease_end(leases, &held[2].lease);
    assert_int_equal(held[0].begun, 1);
    assert_int_equal(held[0].ended, 1);
    assert_int_equal(held[1].begun, 0);
}

/* Renewals keep their pace, so no lock is lost, and its server is not asked too often. */
static void test_renewed_though_the_clock_is_set(void **state)
{
    static const int minutes[] = {-10, 10};
    apr_time_t last;
    unsigned i;

    (void)state;
    begin(0, NULL);
    pass_until(&held[0].renewed, 1);
    for (i = 0; i < COUNT(minutes); i++) {
        int before = held[0].renewed;

        last = memsess_clock_steady();
        unit_set_wall(apr_time_from_sec(60 * minutes[i]));
        pass_until(&held[0].renewed, before + 1);
        pass_until(&held[0].renewed, before + 2);
        assert_in_range(memsess_clock_steady() - last, apr_time_from_sec(MEMSESS_LEASE_EVERY),
                        apr_time_from_sec(MEMSESS_LOCK_TTL));
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
