/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Doing several things at once: a thing that hangs does not hold up the others. */

#include "unit_servers.h"

#include "base/clock.h"
#include "base/crew.h"

static memsess_crew_t *crew;
static volatile int released, done;

static int setup(void **state)
{
    released = done = 0;
    assert_int_equal(memsess_crew_create(&crew), APR_SUCCESS);
    return unit_setup(state);
}

static int teardown(void **state)
{
    __atomic_store_n(&released, 1, __ATOMIC_SEQ_CST);
    memsess_crew_destroy(crew);
    return unit_teardown(state);
}

typedef void deed_t(void);

static void work(void *deed)
{
    (*(deed_t **)deed)();
}

static void hang(void)
{
    while (!__atomic_load_n(&released, __ATOMIC_SEQ_CST)) {
        apr_sleep(1000);
    }
}

static void count(void)
{
    __atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
}

static void do_two(deed_t *first, deed_t *second)
{
    void *items[] = {&first, &second};

    memsess_crew_do(crew, work, items, 2, 0);
}

static void hang_twice(void)
{
    do_two(hang, hang);
}

static void *call_twice(void *unused)
{
    (void)unused;
    do_two(hang_twice, count);
    return NULL;
}

/* The second call comes while the helper that the first call woke is not yet awake: it must not
 * count on that helper, or what does not hang would wait for what does. */
static void test_a_helper_is_called_once(void **state)
{
    pthread_t thread;
    int i;

    (void)state;
    for (i = 0; i < 200; i++) {
        /* There is one helper, and it is idle. */
        memsess_crew_destroy(crew);
        assert_int_equal(memsess_crew_create(&crew), APR_SUCCESS);
        released = done = 0;
        do_two(count, count);
        unit_await(__atomic_load_n(&done, __ATOMIC_SEQ_CST) == 2);
        apr_sleep(200);
        assert_int_equal(pthread_create(&thread, NULL, call_twice, NULL), 0);
        unit_await(__atomic_load_n(&done, __ATOMIC_SEQ_CST) == 3);
        __atomic_store_n(&released, 1, __ATOMIC_SEQ_CST);
        pthread_join(thread, NULL);
    }
}

/* -- Quick items ------------------------------------------------------------------------------- */

static void do_two_quick(deed_t *first, deed_t *second)
{
    void *items[] = {&first, &second};

    memsess_crew_do(crew, work, items, 2, 1);
}

static void *call_quick(void *unused)
{
    (void)unused;
    do_two_quick(hang, count);
    return NULL;
}

#define CALLERS 3

/* Each time that a quick item hangs, a helper does the one behind it, whether a guard is there or has
 * to be called, and although as many helpers hang. */
static void test_what_hangs_holds_up_no_quick_item(void **state)
{
    pthread_t threads[CALLERS];
    int i, k;

    (void)state;
    for (i = 0; i < 60; i++) {
        released = done = 0;
        if (i % 2) {
            do_two_quick(count, count);
        }
        done = 0;
        for (k = 0; k < CALLERS; k++) {
            assert_int_equal(pthread_create(&threads[k], NULL, call_quick, NULL), 0);
            if (i % 3) {
                apr_sleep(300 * i); /* up to 18 ms: a guard is there, goes, or has gone */
            }
        }
        unit_await(__atomic_load_n(&done, __ATOMIC_SEQ_CST) == CALLERS);
        __atomic_store_n(&released, 1, __ATOMIC_SEQ_CST);
        for (k = 0; k < CALLERS; k++) {
            pthread_join(threads[k], NULL);
        }
    }
}

static void wait_for_other(void)
{
    unit_await(__atomic_load_n(&done, __ATOMIC_SEQ_CST) == 1);
}

/* Helpers do not touch what the caller may be about to do: it has at least one tick, 2 ms, for it. */
static void test_the_caller_has_time_for_quick_items(void **state)
{
    apr_time_t begun, took;
    int i;

    (void)state;
    for (i = 0; i < 50; i++) {
        done = 0;
        begun = memsess_clock_steady();
        do_two_quick(wait_for_other, count);
        took = memsess_clock_steady() - begun;
        assert_true(took > 1500);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_helper_is_called_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_hangs_holds_up_no_quick_item, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_caller_has_time_for_quick_items, setup, teardown),
    };

    unit_begin();
    return cmocka_run_group_tests_name("crew", tests, NULL, NULL);
}
