/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* What a member counted lately, and which members it saw: both outlive a configuration. */

#include "unit.h"

#include "base/clock.h"
#include "base/history.h"
#include "base/roster.h"

#define SECOND APR_USEC_PER_SEC
#define MINUTE (60 * SECOND)

static memsess_history_t history;

/* Adds a moment every 5 s, with this many sessions loaded since the one before. */
static void pass(apr_time_t *now, apr_interval_time_t span, unsigned loaded)
{
    static memsess_moment_t moment;
    apr_time_t end = *now + span;

    for (; *now < end; *now += MEMSESS_SAMPLE_EVERY) {
        moment.at = *now + MEMSESS_SAMPLE_EVERY;
        moment.value[MEMSESS_N_LOADED] += loaded;
        moment.value[MEMSESS_H_ALIVE] = loaded + 1;
        memsess_history_note(&history, &moment);
    }
}

static void test_the_rate_is_of_the_last_minute(void **state)
{
    memsess_moment_t from, to = {.at = 0};
    apr_time_t now = 1000 * SECOND;

    (void)state;
    memset(&history, 0, sizeof(history));
    assert_false(memsess_history_minute(&history, now, &from));
    assert_true(memsess_history_last(&history) == 0);
    pass(&now, 10 * MINUTE, 500);
    pass(&now, MINUTE, 10);
    assert_true(memsess_history_last(&history) == now);
    assert_true(memsess_history_minute(&history, now, &from));
    assert_true(from.at == now - MINUTE);
    to.at = now;
    to.value[MEMSESS_N_LOADED] = from.value[MEMSESS_N_LOADED] + 120;
    assert_int_equal(memsess_history_rise(&from, &to, MEMSESS_N_LOADED), 120);
    assert_true(memsess_history_rate(&from, &to, MEMSESS_N_LOADED) == 2.0);
    /* A figure that falls, as the operations do when a server leaves, did not rise. */
    to.value[MEMSESS_N_LOADED] = 0;
    assert_int_equal(memsess_history_rise(&from, &to, MEMSESS_N_LOADED), 0);
    /* If no samples were taken for long, nothing is known about the last minute. */
    assert_false(memsess_history_minute(&history, now + 2 * MINUTE, &from));
}

static void test_an_hour_is_remembered(void **state)
{
    memsess_moment_t hour[MEMSESS_MINUTES];
    apr_time_t now = 5000 * SECOND;
    unsigned i, n;

    (void)state;
    memset(&history, 0, sizeof(history));
    assert_int_equal(memsess_history_hour(&history, now, hour), 0);
    pass(&now, 3 * MINUTE, 7);
    n = memsess_history_hour(&history, now, hour);
    assert_in_range(n, 3, 4);
    pass(&now, 200 * MINUTE, 3);
    n = memsess_history_hour(&history, now, hour);
    assert_in_range(n, MEMSESS_MINUTES - 1, MEMSESS_MINUTES);
    for (i = 1; i < n; i++) {
        assert_true(hour[i].at - hour[i - 1].at == MINUTE);
        assert_int_equal(memsess_history_rise(&hour[i - 1], &hour[i], MEMSESS_N_LOADED), 12 * 3);
        assert_int_equal(hour[i].value[MEMSESS_H_ALIVE], 4);
    }
    assert_in_range(now - hour[n - 1].at, 0, MINUTE);
    /* Moments that are older than an hour are not shown. */
    assert_int_equal(memsess_history_hour(&history, now + 30 * MINUTE, hour), n - 30);
    assert_int_equal(memsess_history_hour(&history, now + 90 * MINUTE, hour), 0);
}

/* This uses the counters themselves, in the memory that a graceful restart keeps. */
static void test_history_outlives_a_configuration(void **state)
{
    memsess_moment_t now, from;
    memsess_counted_t server = {.name = "a", .address = "a:1", .weight = 1, .copies = 2};
    memsess_server_count_t *count;
    apr_int64_t says[MEMSESS_SAYS_N];
    unsigned i;

    (void)state;
    for (i = 0; i < MEMSESS_SAYS_N; i++) {
        says[i] = i == MEMSESS_SAYS_ITEMS ? 7 : -1;
    }
    assert_int_equal(memsess_count_begin(unit_pool, unit_pool), APR_SUCCESS);
    assert_int_equal(memsess_count_list(&server, &count), APR_SUCCESS);
    assert_true(memsess_count_alive().sessions == -1);
    assert_int_equal(memsess_count_alive().silent, 1);
    memsess_count_says(count, says);
    assert_true(memsess_count_alive().sessions == 4);
    memsess_count_add(MEMSESS_N_LOADED, 30);
    memsess_count_operation(count, 10, MEMSESS_FAILED, APR_EGENERAL);
    /* Within the first minute, rates go back to when counting began. */
    memsess_count_now(&now);
    assert_true(memsess_count_minute(&now, &from));
    assert_int_equal(memsess_history_rise(&from, &now, MEMSESS_N_LOADED), 30);
    assert_int_equal(memsess_history_rise(&from, &now, MEMSESS_H_ERRORS), 1);
    assert_int_equal(now.value[MEMSESS_H_UP], 1);
    for (i = 0; i < 30; i++) {
        unit_clocks_pass(MEMSESS_SAMPLE_EVERY);
        assert_true(memsess_count_sample(memsess_clock_steady()));
    }
    assert_int_equal(memsess_count_begin(unit_pool, unit_pool), APR_SUCCESS);
    assert_int_equal(memsess_count_list(&server, &count), APR_SUCCESS);
    memsess_count_add(MEMSESS_N_LOADED, 5);
    memsess_count_down(count, APR_TIMEUP);
    memsess_count_now(&now);
    assert_true(memsess_count_minute(&now, &from));
    assert_int_equal(memsess_history_rise(&from, &now, MEMSESS_N_LOADED), 5);
    assert_int_equal(from.value[MEMSESS_H_UP], 1);
    assert_int_equal(now.value[MEMSESS_H_DOWN], 1);
    assert_true(from.value[MEMSESS_H_ALIVE] == 5);
    assert_true(now.value[MEMSESS_H_ALIVE] == 0);
}

/* -- Members ------------------------------------------------------------------------------------ */

static const memsess_fellow_t *fellow(const memsess_roster_t *roster, apr_time_t now, int i)
{
    const apr_array_header_t *all = memsess_roster_read(roster, now, unit_pool);

    return i < all->nelts ? &APR_ARRAY_IDX(all, i, memsess_fellow_t) : NULL;
}

static void note(memsess_roster_t *roster, const char *name, apr_time_t at, int differs)
{
    memsess_fellow_t said = {.name = name, .version = "1.2.3", .seen_at = at, .differs = differs,
                             .knows_ahead = differs, .ahead = 0};

    memsess_roster_note(roster, &said);
}

static void test_members_are_shown_while_they_are_seen(void **state)
{
    memsess_roster_t *roster = apr_pcalloc(unit_pool, sizeof(*roster));
    memsess_fellow_t self = {.name = "z:self", .version = "", .seen_at = 100 * SECOND, .is_self = 1};
    apr_time_t now = 100 * SECOND;

    (void)state;
    assert_null(fellow(roster, now, 0));
    note(roster, "b:1", now, 0);
    note(roster, "a:1", now - 30 * SECOND, 1);
    memsess_roster_note(roster, &self);
    assert_string_equal(fellow(roster, now, 0)->name, "z:self");
    assert_string_equal(fellow(roster, now, 1)->name, "a:1");
    assert_string_equal(fellow(roster, now, 1)->version, "1.2.3");
    assert_true(fellow(roster, now, 1)->differs && fellow(roster, now, 1)->knows_ahead);
    assert_false(fellow(roster, now, 2)->differs || fellow(roster, now, 2)->knows_ahead);
    assert_null(fellow(roster, now, 3));
    /* An older sign of a member does not change what a newer one said. */
    note(roster, "b:1", now - 10 * SECOND, 1);
    assert_false(fellow(roster, now, 2)->differs);
    note(roster, "a:1", now, 0);
    assert_true(fellow(roster, now, 1)->differs); /* found at another server, not long ago */
    assert_false(fellow(roster, now + 5 * MINUTE, 1)->differs);
    assert_null(fellow(roster, now + 11 * MINUTE, 0));
}

static void test_of_many_members_the_last_are_shown(void **state)
{
    memsess_roster_t *roster = apr_pcalloc(unit_pool, sizeof(*roster));
    char name[MEMSESS_MEMBER_LEN + 20];
    apr_time_t now = 0;
    int i;

    (void)state;
    for (i = 0; i < 2 * MEMSESS_ROSTER; i++) {
        snprintf(name, sizeof(name), "%03d", i);
        note(roster, name, now += SECOND, 0);
    }
    assert_int_equal(memsess_roster_read(roster, now, unit_pool)->nelts, MEMSESS_ROSTER);
    assert_string_equal(fellow(roster, now, 0)->name, "032");
    assert_string_equal(fellow(roster, now, MEMSESS_ROSTER - 1)->name, "063");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(test_the_rate_is_of_the_last_minute),
        UNIT_TEST(test_an_hour_is_remembered),
        UNIT_TEST(test_history_outlives_a_configuration),
        UNIT_TEST(test_members_are_shown_while_they_are_seen),
        UNIT_TEST(test_of_many_members_the_last_are_shown),
    };

    unit_begin();
    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
