/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Counters: across threads, processes and configurations; latencies; and when a server is down. */

#include "unit.h"

#include <sys/wait.h>

#include "base/advice.h"
#include "base/clock.h"
#include "base/count.h"
#include "base/error.h"
#include "base/log.h"

#define THREADS 8
#define TIMES 20000

/* Does what httpd's parent does each time that it reads its configuration. */
static void configure(apr_pool_t *process, const char *const *names,
                      memsess_server_count_t **counts)
{
    int i;

    assert_int_equal(memsess_count_begin(process, unit_pool), APR_SUCCESS);
    for (i = 0; names[i]; i++) {
        memsess_counted_t server = {.name = names[i], .address = names[i], .weight = 1,
                                    .copies = 1};

        assert_int_equal(memsess_count_list(&server, &counts[i]), APR_SUCCESS);
    }
}

static apr_uint64_t figure(memsess_counter_t counter)
{
    apr_uint64_t figures[MEMSESS_N];

    memsess_count_read(figures);
    return figures[counter];
}

static memsess_server_figures_t *figures_of(const memsess_server_count_t *count)
{
    memsess_server_figures_t *figures = apr_palloc(unit_pool, sizeof(*figures));

    memsess_count_read_server(count, figures);
    return figures;
}

static void test_every_latency_is_in_its_bucket(void **state)
{
    apr_interval_time_t t;
    unsigned bucket;

    (void)state;
    for (t = 0; t < 300000000; t += 1 + t / 50) {
        bucket = memsess_bucket_of(t);
        assert_in_range(bucket, 0, MEMSESS_BUCKETS - 1);
        assert_true(bucket == 0 || t >= memsess_bucket_end(bucket - 1));
        assert_true(t < memsess_bucket_end(bucket) || bucket == MEMSESS_BUCKETS - 1);
    }
    for (bucket = 0; bucket + 1 < MEMSESS_BUCKETS; bucket++) {
        assert_int_equal(memsess_bucket_of(memsess_bucket_end(bucket)), bucket + 1);
        assert_int_equal(memsess_bucket_of(memsess_bucket_end(bucket) - 1), bucket);
    }
}

static void test_percentiles_are_near_the_truth(void **state)
{
    memsess_histogram_t histogram;
    int i;

    (void)state;
    memset(&histogram, 0, sizeof(histogram));
    assert_int_equal(memsess_percentile(&histogram, 0.99), 0);
    for (i = 1; i <= 10000; i++) {
        histogram.bucket[memsess_bucket_of(i)]++;
        histogram.n++;
    }
    assert_in_range(memsess_percentile(&histogram, 0.5), 4500, 5500);
    assert_in_range(memsess_percentile(&histogram, 0.99), 9000, 10300);
    assert_in_range(memsess_percentile(&histogram, 0.01), 85, 115);
    /* One slow operation in 101 must show in the p99. */
    memset(&histogram, 0, sizeof(histogram));
    histogram.bucket[memsess_bucket_of(50)] = 98;
    histogram.bucket[memsess_bucket_of(250000)] = 2;
    histogram.n = 100;
    assert_in_range(memsess_percentile(&histogram, 0.5), 40, 60);
    assert_in_range(memsess_percentile(&histogram, 0.99), 200000, 300000);
}

static void *count_many(void *count)
{
    int i;

    for (i = 0; i < TIMES; i++) {
        memsess_count(MEMSESS_N_LOADED);
        memsess_count_add(MEMSESS_N_REPAIRED, 2);
        memsess_count_operation(count, 100, i % 10 ? MEMSESS_ANSWERED : MEMSESS_TIMED_OUT,
                                APR_TIMEUP);
    }
    return NULL;
}

/* Threads of this process and of a child count at the same time. */
static void test_nothing_is_lost(void **state)
{
    static const char *const names[] = {"a:1", NULL};
    memsess_server_count_t *count;
    pthread_t thread[THREADS];
    memsess_server_figures_t *f;
    int i, status;
    pid_t child;

    (void)state;
    configure(unit_pool, names, &count);
    child = fork();
    assert_true(child >= 0);
    for (i = 0; i < THREADS; i++) {
        pthread_create(&thread[i], NULL, count_many, count);
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
    }
    if (!child) {
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(figure(MEMSESS_N_LOADED), 2 * THREADS * TIMES);
    assert_int_equal(figure(MEMSESS_N_REPAIRED), 4 * THREADS * TIMES);
    assert_int_equal(figure(MEMSESS_N_CREATED), 0);
    f = figures_of(count);
    assert_int_equal(f->all.n, 2 * THREADS * TIMES);
    assert_int_equal(f->total, 2 * THREADS * TIMES * 100);
    assert_int_equal(f->errors, 2 * THREADS * TIMES / 10);
    assert_int_equal(f->timeouts, 2 * THREADS * TIMES / 10);
    assert_int_equal(f->recent.n, f->all.n);
}

static void test_counts_outlive_a_configuration(void **state)
{
    static const char *const both[] = {"a:1", "b:1", NULL};
    static const char *const other[] = {"c:1", "b:1", NULL};
    memsess_server_count_t *count[2], *again[2];
    int i;

    (void)state;
    configure(unit_pool, both, count);
    memsess_count(MEMSESS_N_CREATED);
    memsess_count_operation(count[0], 10, MEMSESS_ANSWERED, APR_SUCCESS);
    memsess_count_operation(count[1], 10, MEMSESS_FAILED, APR_EGENERAL);
    configure(unit_pool, other, again);
    assert_int_equal(figure(MEMSESS_N_CREATED), 1);
    assert_ptr_equal(again[1], count[1]);
    assert_int_equal(figures_of(again[1])->errors, 1);
    assert_int_equal(figures_of(again[0])->all.n, 0);
    /* A server that soon comes back into the configuration keeps its figures; one that is gone for
     * longer makes room. */
    configure(unit_pool, both, again);
    assert_ptr_equal(again[0], count[0]);
    assert_int_equal(figures_of(again[0])->all.n, 1);
    for (i = 0; i < 3; i++) {
        configure(unit_pool, both + 1, again);
    }
    configure(unit_pool, other, again);
    assert_non_null(memsess_count_listed(1));
    assert_null(memsess_count_listed(2));
    assert_int_equal(figures_of(again[0])->all.n, 0);
    assert_int_equal(figures_of(again[1])->all.n, 1);
}

static void test_a_server_is_listed_once(void **state)
{
    memsess_counted_t server = {.name = "first", .address = "a:1", .weight = 3, .implied = 1,
                                .timeout = 5, .copies = 2};
    memsess_counted_t second = {.name = "second", .address = "a:1", .weight = 1, .timeout = 5,
                                .copies = 1};
    memsess_server_count_t *count, *same;
    const memsess_counted_t *listed;

    (void)state;
    assert_int_equal(memsess_count_begin(unit_pool, unit_pool), APR_SUCCESS);
    assert_int_equal(memsess_count_list(&server, &count), APR_SUCCESS);
    assert_int_equal(memsess_count_list(&second, &same), APR_SUCCESS);
    assert_ptr_equal(count, same);
    listed = memsess_count_listed(0);
    assert_null(memsess_count_listed(1));
    assert_string_equal(listed->name, "first");
    assert_int_equal(listed->weight, 3);
    assert_false(listed->implied);
    assert_int_equal(listed->copies, 1);
    assert_int_equal(listed->timeout, 5);
    /* It can no longer be told which of the two time-outs was over. */
    second.timeout = 6;
    assert_int_equal(memsess_count_list(&second, &same), APR_SUCCESS);
    assert_int_equal(listed->timeout, 0);
}

static void test_the_latest_says_whether_it_is_down(void **state)
{
    memsess_server_count_t *count = memsess_count_private(unit_pool);
    apr_time_t before = memsess_clock_wall(), asked = memsess_clock_steady();
    memsess_server_figures_t *f;

    (void)state;
    assert_false(figures_of(count)->down);
    apr_sleep(2000);
    assert_true(memsess_count_down(count, APR_TIMEUP));
    assert_false(memsess_count_down(count, APR_ECONNREFUSED));
    f = figures_of(count);
    assert_true(f->down);
    assert_true(f->since > before && f->last_error_at >= f->since);
    assert_int_equal(f->last_error, APR_ECONNREFUSED);
    /* An answer to a question from before the failure does not prove that the server is up. */
    assert_false(memsess_count_up(count, asked));
    assert_true(figures_of(count)->down);
    apr_sleep(2000);
    assert_true(memsess_count_up(count, memsess_clock_steady()));
    assert_false(memsess_count_up(count, memsess_clock_steady()));
    assert_false(figures_of(count)->down);
    assert_true(figures_of(count)->since > f->since);
}

static void test_nobody_forgets_a_server_that_is_down(void **state)
{
    static const char *const names[] = {"a:1", NULL};
    memsess_server_count_t *count;

    (void)state;
    configure(unit_pool, names, &count);
    assert_false(memsess_count_check_due(count, 1000));
    memsess_count_down(count, APR_TIMEUP);
    assert_false(memsess_count_check_due(count, apr_time_from_sec(10)));
    apr_sleep(20000);
    assert_true(memsess_count_check_due(count, 5000));
    assert_false(memsess_count_check_due(count, 5000));
    /* A server that somebody has just looked at is not due, either. */
    apr_sleep(6000);
    memsess_count_up(count, memsess_clock_steady());
    assert_false(memsess_count_check_due(count, 5000));
    memsess_count_watched();
    assert_true(memsess_count_check_due(count, 5000));
}

/* -- What servers say of themselves ------------------------------------------------------------ */

static int says(memsess_server_count_t *count, apr_int64_t evictions)
{
    apr_int64_t figures[MEMSESS_SAYS_N] = {-1, -1, -1, -1, -1};

    figures[MEMSESS_SAYS_EVICTIONS] = evictions;
    return memsess_count_says(count, figures);
}

static const char *evicting(const memsess_server_count_t *count)
{
    const char *text = memsess_count_evicting(count, "a:1", unit_pool);

    return text ? text : "none";
}

static void later(apr_interval_time_t by)
{
    unit_clocks_pass(by);
}

static int warned(memsess_warning_t warning, const char *text)
{
    const apr_array_header_t *warnings = memsess_warnings(unit_pool);
    int i, n = 0;

    for (i = 0; i < warnings->nelts; i++) {
        const memsess_advice_t *advice = &APR_ARRAY_IDX(warnings, i, memsess_advice_t);

        n += advice->warning == warning && strstr(advice->text, text) != NULL;
    }
    return n;
}

static void test_a_server_that_evicts(void **state)
{
    static const char *const names[] = {"a:1", "b:1", NULL};
    memsess_server_count_t *count[2];
    char since[APR_RFC822_DATE_LEN];

    (void)state;
    configure(unit_pool, names, count);
    /* What it had evicted before the first look may be long ago. */
    assert_false(says(count[0], 1000));
    assert_string_equal(evicting(count[0]), "none");
    apr_rfc822_date(since, memsess_clock_wall());
    later(apr_time_from_sec(10));
    assert_true(says(count[0], 1375));
    assert_non_null(strstr(evicting(count[0]), "server a:1 is full: it has evicted 375 items since "));
    later(apr_time_from_sec(10));
    assert_false(says(count[0], 1380)); /* it was just logged */
    assert_non_null(strstr(evicting(count[0]), " 380 items since "));
    assert_non_null(strstr(evicting(count[0]), apr_pstrndup(unit_pool, since, 22)));
    assert_int_equal(warned(MEMSESS_WARN_EVICTIONS, "server a:1 is full"), 1);
    assert_int_equal(warned(MEMSESS_WARN_EVICTIONS, ""), 1);
    later(apr_time_from_sec(700));
    assert_true(says(count[0], 1381));
    /* After a restart the server counts from 0 again. */
    later(apr_time_from_sec(10));
    says(count[0], 2);
    assert_non_null(strstr(evicting(count[0]), " 2 items since "));
    /* The warning stays for an hour after the last eviction. */
    later(apr_time_from_sec(3590));
    assert_false(says(count[0], 2));
    assert_string_not_equal(evicting(count[0]), "none");
    later(apr_time_from_sec(20));
    assert_string_equal(evicting(count[0]), "none");
    assert_int_equal(warned(MEMSESS_WARN_EVICTIONS, ""), 0);
    assert_true(says(count[0], 7));
    assert_non_null(strstr(evicting(count[0]), " 5 items since "));
    /* This server does not tell. */
    assert_false(says(count[1], -1));
    assert_string_equal(evicting(count[1]), "none");
}

static void test_what_a_server_says(void **state)
{
    memsess_server_count_t *count = memsess_count_private(unit_pool);
    apr_int64_t figures[MEMSESS_SAYS_N] = {0, APR_INT64_C(1) << 40, -1, 4, 5};
    unsigned i;

    (void)state;
    for (i = 0; i < MEMSESS_SAYS_N; i++) {
        assert_int_equal(figures_of(count)->says[i], -1);
    }
    memsess_count_says(count, figures);
    assert_memory_equal(figures_of(count)->says, figures, sizeof(figures));
    assert_true(memsess_count_says_due(count));
    assert_false(memsess_count_says_due(count));
    /* While a server is down its figures are unknown; it is asked again soon after. */
    memsess_count_down(count, APR_TIMEUP);
    assert_int_equal(figures_of(count)->says[MEMSESS_SAYS_LIMIT], -1);
    assert_true(memsess_count_says_due(count));
    later(apr_time_from_sec(10));
    assert_true(memsess_count_says_due(count));
}

static void test_a_server_that_refuses(void **state)
{
    static const char *const names[] = {"a:1", NULL};
    memsess_server_count_t *count;

    (void)state;
    configure(unit_pool, names, &count);
    assert_int_equal(warned(MEMSESS_WARN_REFUSALS, ""), 0);
    assert_true(memsess_count_refusing(count, MEMSESS_FULL));
    assert_false(memsess_count_refusing(count, MEMSESS_FULL));
    assert_int_equal(warned(MEMSESS_WARN_REFUSALS, "server a:1 refuses sessions: it is out of memory"), 1);
    assert_true(memsess_count_refusing(count, MEMSESS_TOO_LARGE));
    assert_int_equal(warned(MEMSESS_WARN_REFUSALS, "server a:1 refuses sessions: the record is too large"), 1);
    later(apr_time_from_sec(601));
    assert_int_equal(warned(MEMSESS_WARN_REFUSALS, ""), 0);
    assert_true(memsess_count_refusing(count, MEMSESS_TOO_LARGE));
}

static void test_samples(void **state)
{
    static const char *const names[] = {"a:1", NULL};
    memsess_server_count_t *count;
    memsess_server_figures_t *f;
    apr_time_t now;
    int i, k;

    (void)state;
    unit_clocks_pass(apr_time_from_sec(86400)); /* this machine may just have been booted */
    now = memsess_clock_steady() - MEMSESS_SAMPLES * MEMSESS_SAMPLE_EVERY;
    configure(unit_pool, names, &count);
    assert_true(memsess_count_sample(now));
    assert_false(memsess_count_sample(now + MEMSESS_SAMPLE_EVERY - 1));
    /* There are more samples than there is room for: older ones are dropped. */
    for (i = 1; i <= MEMSESS_SAMPLES + 5; i++) {
        for (k = 0; k < i; k++) {
            memsess_count_operation(count, 1000, MEMSESS_ANSWERED, APR_SUCCESS);
        }
        assert_true(memsess_count_sample(now + i * MEMSESS_SAMPLE_EVERY));
    }
    f = figures_of(count);
    assert_int_equal(f->samples, MEMSESS_SAMPLES);
    assert_int_equal(f->sample[0].operations, 6);
    assert_int_equal(f->sample[MEMSESS_SAMPLES - 1].operations, MEMSESS_SAMPLES + 5);
    assert_int_equal(f->sample[MEMSESS_SAMPLES - 1].span, MEMSESS_SAMPLE_EVERY);
    assert_in_range(f->sample[7].p99, 900, 1200);
    assert_int_equal(f->recent.n, f->all.n - 1 - 2 - 3 - 4 - 5);
    assert_in_range(f->sample[MEMSESS_SAMPLES - 1].at,
                    memsess_clock_wall() + 5 * MEMSESS_SAMPLE_EVERY - apr_time_from_sec(5),
                    memsess_clock_wall() + 5 * MEMSESS_SAMPLE_EVERY);
}

/* A thread that read the clock before another thread, but asks after it, comes too late. */
static void test_now_and_then(void **state)
{
    volatile apr_uint64_t last = 0;
    apr_time_t now = 500; /* of a machine that has just been booted */

    (void)state;
    assert_true(memsess_due(&last, now, 1000));
    assert_false(memsess_due(&last, now, 1000));
    assert_false(memsess_due(&last, now - 1, 1000));
    assert_false(memsess_due(&last, now + 999, 1000));
    assert_true(memsess_due(&last, now + 1000, 1000));
    assert_false(memsess_due(&last, now, 1000));
}

/* The wall clock has no influence on what is told now and then, nor on how long a state has
 * lasted. */
static void test_the_wall_clock_decides_nothing(void **state)
{
    static const int hours[] = {0, -1, 1, 0};
    static const char *const names[] = {"a:1", NULL};
    memsess_server_count_t *count;
    apr_interval_time_t later = 0;
    unsigned i;

    (void)state;
    configure(unit_pool, names, &count);
    assert_true(memsess_warn(MEMSESS_WARN_POOL, "other"));
    memsess_count_down(count, APR_TIMEUP);
    for (i = 1; i < COUNT(hours); i++) {
        unit_set_wall(apr_time_from_sec(3600 * hours[i]));
        memsess_count(MEMSESS_N_REPAIRED);
        assert_int_equal(memsess_warnings(unit_pool)->nelts, 1);
        assert_false(memsess_warn(MEMSESS_WARN_POOL, "other"));
        assert_in_range(memsess_clock_wall() - figures_of(count)->since, later,
                        later + apr_time_from_sec(5));
        later += apr_time_from_sec(601);
        unit_clocks_pass(apr_time_from_sec(601));
        assert_int_equal(memsess_warnings(unit_pool)->nelts, 0);
        assert_true(memsess_warn(MEMSESS_WARN_POOL, "other"));
        assert_int_equal(memsess_count_news(MEMSESS_N_REPAIRED, memsess_clock_steady()), 1);
        memsess_count(MEMSESS_N_REPAIRED);
        assert_int_equal(memsess_count_news(MEMSESS_N_REPAIRED, memsess_clock_steady()), 0);
        later += apr_time_from_sec(61);
        unit_clocks_pass(apr_time_from_sec(61));
        assert_int_equal(memsess_count_news(MEMSESS_N_REPAIRED, memsess_clock_steady()), 1);
    }
}

/* A server that stood still first tells the time from before; a server whose clock was set back
 * goes on telling the earlier time. */
static void test_the_clock_of_a_server_that_stood_still(void **state)
{
    memsess_server_count_t *count = memsess_count_private(unit_pool);
    apr_time_t now = memsess_clock_steady();
    apr_interval_time_t second = apr_time_from_sec(1);

    (void)state;
    memsess_count_server_told(count, 1000, now);
    memsess_count_server_told(count, 999, now); /* as clocks that count whole seconds do */
    assert_in_range(memsess_count_server_clock(count), 999, 1001);
    memsess_count_server_told(count, 1001, now);
    memsess_count_server_told(count, 990, now); /* by two members, at the same time */
    memsess_count_server_told(count, 990, now);
    assert_in_range(memsess_count_server_clock(count), 1001, 1003);
    memsess_count_server_told(count, 1011, now + 10 * second);
    assert_in_range(memsess_count_server_clock(count), 1001, 1003);
    memsess_count_server_told(count, 910, now + 20 * second);
    assert_in_range(memsess_count_server_clock(count), 1001, 1003);
    assert_false(memsess_count_server_set_back(count));
    memsess_count_server_told(count, 920, now + 30 * second);
    assert_in_range(memsess_count_server_clock(count), 890, 892);
    assert_true(memsess_count_server_set_back(count));
    memsess_count_server_told(count, 5000, now);
    assert_in_range(memsess_count_server_clock(count), 5000, 5002);
    memsess_count_server_moved(count);
    assert_true(memsess_count_server_clock(count) == 0);
    memsess_count_server_told(count, 7, now);
    assert_in_range(memsess_count_server_clock(count), 7, 9);
}

/* A server that was restarted, or another one at the same address, is known since then at most. */
static void test_for_how_long_a_server_is_known(void **state)
{
    memsess_server_count_t *count = memsess_count_private(unit_pool);
    apr_time_t now = memsess_clock_steady();

    (void)state;
    assert_int_equal(memsess_count_server_known(count, now), 0);
    memsess_count_server_started(count, 1000, now);
    memsess_count_server_started(count, 1000, now + 5);
    assert_int_equal(memsess_count_server_known(count, now + 7), 7);
    memsess_count_server_started(count, 900, now + 8);
    assert_int_equal(memsess_count_server_known(count, now + 10), 2);
}

/* -- Near and far ------------------------------------------------------------------------------ */

static int is_near_after(memsess_server_count_t *count, apr_interval_time_t took, unsigned answers)
{
    while (answers--) {
        memsess_count_way(count, took);
    }
    return memsess_count_is_near(count);
}

/* The way to a server shows in its fastest answers, whatever the load; and a way that has become longer
 * shows after a while. */
static void test_a_server_is_near_while_some_answers_are_fast(void **state)
{
    static const struct {
        apr_interval_time_t took;
        unsigned answers;
        int is_near;
    } rows[] = {{0, 0, 1}, /* it has not been asked yet */
                {2000, 1, 0}, {50, 1, 1}, {2000, 300, 1}, {2000, 1000, 0}, {0, 1, 1}, {2000, 5000, 0}};
    memsess_server_count_t *count = memsess_count_private(unit_pool);
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(is_near_after(count, rows[i].took, rows[i].answers), rows[i].is_near);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(test_every_latency_is_in_its_bucket),
        UNIT_TEST(test_a_server_is_near_while_some_answers_are_fast),
        UNIT_TEST(test_percentiles_are_near_the_truth),
        UNIT_TEST(test_nothing_is_lost),
        UNIT_TEST(test_counts_outlive_a_configuration),
        UNIT_TEST(test_a_server_is_listed_once),
        UNIT_TEST(test_the_latest_says_whether_it_is_down),
        UNIT_TEST(test_nobody_forgets_a_server_that_is_down),
        UNIT_TEST(test_a_server_that_evicts),
        UNIT_TEST(test_what_a_server_says),
        UNIT_TEST(test_a_server_that_refuses),
        UNIT_TEST(test_samples),
        UNIT_TEST(test_now_and_then),
        UNIT_TEST(test_the_wall_clock_decides_nothing),
        UNIT_TEST(test_the_clock_of_a_server_that_stood_still),
        UNIT_TEST(test_for_how_long_a_server_is_known),
    };

    unit_begin();
    return cmocka_run_group_tests_name("count", tests, NULL, NULL);
}
