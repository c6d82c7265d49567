/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Servers that are away, hang and come back; names that do not resolve, or change their address; a
 * system that gives no threads. */

#include "unit_calls.h"

#include <dlfcn.h>
#include <netdb.h>

#include "apr_atomic.h"
#include "base/name.h"
#include "wire/resolve.h"

/* -- A name server that does not answer -------------------------------------------------------- */

#define HANGING "hanging.invalid"

static volatile apr_uint32_t hanging, hung;

/* A name that leads to the addresses that a test sets, separated by spaces. */
#define MOVING "moving.invalid"

static const char *volatile moving = "";

typedef int getaddrinfo_t(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* They come in the order given, as name servers give them. */
static int moving_addresses(getaddrinfo_t *real, const char *service, const struct addrinfo *hints,
                            struct addrinfo **result)
{
    struct addrinfo **at = result, numeric = *hints;
    char list[200], *word, *state;
    int rv = EAI_NONAME;

    numeric.ai_flags = AI_NUMERICHOST;
    apr_cpystrn(list, moving, sizeof(list));
    for (word = strtok_r(list, " ", &state); word; word = strtok_r(NULL, " ", &state)) {
        if ((rv = real(word, service, &numeric, at)) != 0) {
            return rv;
        }
        at = &(*at)->ai_next;
    }
    return rv;
}

/* All look-ups of this process come through here. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    getaddrinfo_t *real;

    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (name && !strcmp(name, HANGING)) {
        apr_atomic_inc32(&hung);
        while (apr_atomic_read32(&hanging)) {
            apr_sleep(10000);
        }
        return EAI_AGAIN;
    }
    return name && !strcmp(name, MOVING) ? moving_addresses(real, service, hints, result)
                                         : real(name, service, hints, result);
}

/* A look-up that hangs holds up neither the start, nor requests to other servers, nor the end of
 * the child process. */
static void test_host_name_whose_look_up_hangs(void **state)
{
    unit_memcached_t *m = unit_memcached();
    memsess_server_conf_t conf = server_conf(HANGING, 11211);
    memsess_server_t *lost, *server;
    apr_time_t start = apr_time_now();
    int i;

    (void)state;
    apr_atomic_set32(&hanging, 1);
    apr_atomic_set32(&hung, 0);
    conf.timeout = HASTE;
    open_pool();
    lost = add_conf(&conf);
    server = add_port(m->port);
    start_pool();
    unit_await(apr_atomic_read32(&hung));
    for (i = 0; i < 50; i++) {
        memsess_get_t gets[2] = {{lost, "key", NULL, NULL, APR_SUCCESS, NULL, 0},
                                 {server, "key", NULL, NULL, APR_SUCCESS, NULL, 0}};

        assert_int_equal(set(server, "key", "value"), APR_SUCCESS);
        memsess_pool_mget(gets, 2, unit_pool);
        assert_true(is_error(gets[0].rv));
        assert_int_equal(gets[1].rv, APR_SUCCESS);
        assert_true(memsess_server_is_down(lost)); /* the first request waits for the time-out */
    }
    assert_false(memsess_server_is_down(server));
    assert_true(apr_time_now() - start < AT_MOST);
    start = apr_time_now();
    close_pool();
    assert_true(apr_time_now() - start < AT_MOST);
    apr_atomic_set32(&hanging, 0);
    apr_sleep(100000); /* the look-up frees the memory that was left to it */
}

/* -- Names with several addresses, and with new ones ------------------------------------------- */

static void test_names_choose_alike(void **state)
{
    static const struct {
        const char *addresses, *first, *second;
        int is_several;
    } cases[] = {
        {"10.0.0.2 10.0.0.10 9.255.0.1", "9.255.0.1", NULL, 1},
        {"9.255.0.1 10.0.0.10 10.0.0.2", "9.255.0.1", NULL, 1},
        {"10.0.0.10 10.0.0.2", "10.0.0.2", NULL, 1},
        {"1.0.0.9 1.0.0.8 1.0.0.7 1.0.0.6 1.0.0.5 1.0.0.4 1.0.0.3 1.0.0.2 1.0.0.1", "1.0.0.1", NULL, 1},
        {"fd00::2 fd00::1", "fd00::1", NULL, 1},
        {"fd00::1 fd00::2", "fd00::1", NULL, 1},
        {"fd00::1 10.0.0.1", "10.0.0.1", "fd00::1", 0},
        {"10.0.0.1 fd00::1", "10.0.0.1", "fd00::1", 0},
        {"10.0.0.1", "10.0.0.1", NULL, 0},
        {"10.0.0.1 10.0.0.1", "10.0.0.1", NULL, 0},
    };
    memsess_name_t found;
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(cases); i++) {
        const char *trouble;

        moving = cases[i].addresses;
        memsess_name_look(&found, MOVING);
        assert_int_equal(found.rv, APR_SUCCESS);
        assert_int_equal(found.n, cases[i].second ? 2 : 1);
        assert_string_equal(found.address[0], cases[i].first);
        if (cases[i].second) {
            assert_string_equal(found.address[1], cases[i].second);
        }
        trouble = memsess_name_trouble(&found, MOVING, unit_pool);
        assert_int_equal(trouble != NULL, cases[i].is_several);
        assert_true(!trouble || strstr(trouble, cases[i].first));
    }
    moving = "";
    memsess_name_look(&found, MOVING);
    assert_int_not_equal(found.rv, APR_SUCCESS);
    assert_non_null(strstr(memsess_name_trouble(&found, MOVING, unit_pool), "does not resolve"));
}

/* As a start and configtest do it: the time is limited, whatever the name server does. */
static void test_names_that_are_looked_up_within_a_time(void **state)
{
    const char *const names[] = {"no..host", HANGING, "localhost"};
    memsess_name_t found[COUNT(names)];
    apr_time_t start = apr_time_now();

    (void)state;
    apr_atomic_set32(&hanging, 1);
    memsess_names_look(found, names, COUNT(names), apr_time_from_sec(2));
    apr_atomic_set32(&hanging, 0);
    assert_true(apr_time_now() - start < PATIENCE);
    assert_int_not_equal(found[0].rv, APR_SUCCESS);
    assert_int_not_equal(found[0].rv, APR_INCOMPLETE);
    assert_int_equal(found[1].rv, APR_INCOMPLETE);
    assert_int_equal(found[2].rv, APR_SUCCESS);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no process is left running */
}

/* Even if the old server still answers, the new one is soon used instead, and no request fails. */
static void test_a_name_that_moves_is_followed(void **state)
{
    unit_memcached_t *m = unit_memcached(), *elsewhere = unit_memcached_new(AF_INET6, NULL, NULL);
    memsess_server_conf_t conf = server_conf(MOVING, m->port);
    memsess_server_t *server, *other;
    memsess_get_t gets[2];
    apr_status_t rv;

    (void)state;
    unit_memcached_kill(elsewhere);
    elsewhere->port = m->port;
    unit_memcached_start(elsewhere);
    moving = "127.0.0.1";
    memsess_resolver_every(apr_time_from_msec(20));
    open_pool();
    server = add_conf(&conf);
    conf.name = "other";
    other = add_conf(&conf);
    start_pool();
    memset(gets, 0, sizeof(gets));
    gets[0].server = server;
    gets[1].server = other;
    gets[0].key = gets[1].key = "key";
    unit_memcached_set(m, "key", "here", 4);
    unit_memcached_set(elsewhere, "key", "there", 5);
    assert_holds(server, "key", "here");
    assert_holds(other, "key", "here");
    moving = "::1";
    unit_await((rv = get_rv(server, "key")) != APR_SUCCESS
               || (memsess_pool_mget(gets, 2, unit_pool), gets[0].rv || gets[1].rv)
               || (gets[0].len == 5 && gets[1].len == 5));
    assert_int_equal(rv, APR_SUCCESS);
    assert_int_equal(gets[0].rv, APR_SUCCESS);
    assert_int_equal(gets[1].rv, APR_SUCCESS);
    assert_holds(server, "key", "there");
    unit_await(!memsess_server_was_there(server, 1, 1)); /* the new server's data may be old */
    assert_int_equal(unit_logged("now resolves to another address"), 2);
    assert_int_equal(unit_logged("is down"), 0);
    /* A name that can no longer be looked up keeps its address. */
    moving = "";
    apr_sleep(100000);
    assert_holds(server, "key", "there");
    memsess_resolver_every(apr_time_from_sec(30));
}

/* -- Health ------------------------------------------------------------------------------------ */

/* A restart costs no operation: connections that it closed are replaced, and not taken for a
 * failure. */
static void test_restart_costs_no_operation(void **state)
{
    unit_memcached_t *m;
    memsess_server_t *server = one_server(&m);
    int i;

    (void)state;
    for (i = 0; i < 4; i++) {
        assert_int_equal(set(server, "key", "value"), APR_SUCCESS);
        unit_memcached_kill(m);
        unit_memcached_start(m);
        if (i % 2) {
            assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
        }
        assert_int_equal(set(server, "key", "value"), APR_SUCCESS);
        assert_holds(server, "key", "value");
        assert_false(memsess_server_is_down(server));
    }
    assert_int_equal(unit_logged("is down"), 0);
}

static void test_restart_costs_no_mget(void **state)
{
    unit_memcached_t *a = unit_memcached(), *b = unit_memcached();
    memsess_get_t gets[2];
    int i;

    (void)state;
    open_two(gets, a, b);
    for (i = 0; i < 4; i++) {
        assert_int_equal(set(gets[0].server, "key-a", "a"), APR_SUCCESS);
        assert_int_equal(set(gets[1].server, "key-b", "b"), APR_SUCCESS);
        unit_memcached_kill(a);
        unit_memcached_start(a);
        memsess_pool_mget(gets, 2, unit_pool);
        assert_int_equal(gets[0].rv, MEMSESS_ABSENT);
        assert_int_equal(gets[1].rv, APR_SUCCESS);
        assert_string_equal(gets[1].data, "b");
    }
    assert_int_equal(unit_logged("is down"), 0);
}

static void frozen_server(int used_before)
{
    unit_memcached_t *m;
    memsess_server_t *server = one_that_hangs(&m, TIMEOUT);
    apr_time_t start, took;
    int i;

    for (i = 0; i < 2; i++) {
        if (used_before || i) {
            assert_int_equal(set(server, "key", "value"), APR_SUCCESS);
        }
        else {
            unit_memcached_set(m, "key", "value", 5);
        }
        unit_memcached_freeze(m);
        start = apr_time_now();
        assert_true(is_error(i ? set(server, "key", "other") : get_rv(server, "key")));
        took = apr_time_now() - start;
        assert_in_range(took, AT_LEAST(TIMEOUT), AT_MOST);
        assert_true(memsess_server_is_down(server));
        assert_immediately_down(server);
        assert_int_equal(unit_logged("is down"), i + 1);
        assert_true(memsess_server_is_down(server));

        unit_memcached_thaw(m);
        unit_await(!memsess_server_is_down(server));
        assert_int_equal(unit_logged("is back"), i + 1);
        /* Late answers to requests that timed out reach nobody. */
        assert_int_equal(get_rv(server, "none"), MEMSESS_ABSENT);
        if (i == 0) {
            assert_holds(server, "key", "value");
        }
    }
}

static void test_frozen_server_with_a_connection(void **state)
{
    (void)state;
    frozen_server(1);
}

static void test_frozen_server_without_a_connection(void **state)
{
    (void)state;
    frozen_server(0);
}

static void test_killed_server(void **state)
{
    unit_memcached_t *m;
    memsess_server_t *server = one_server(&m);
    int i;

    (void)state;
    for (i = 0; i < 3; i++) {
        apr_time_t start;

        assert_int_equal(set(server, "key", "value"), APR_SUCCESS);
        unit_memcached_kill(m);
        start = apr_time_now();
        assert_true(is_error(get_rv(server, "key")));
        assert_true(apr_time_now() - start < AT_MOST);
        assert_true(memsess_server_is_down(server));
        assert_immediately_down(server);
        assert_int_equal(unit_logged("is down"), i + 1);
        unit_memcached_start(m);
        unit_await(!memsess_server_is_down(server));
        assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    }
}

/* Time is told by the server's own clock, which does not depend on anybody setting the wall
 * clock. */
static void test_when_a_server_came_back(void **state)
{
    unit_memcached_t *m;
    memsess_server_t *server = one_that_hangs(&m, TIMEOUT);
    apr_int64_t seconds;
    apr_time_t now;

    (void)state;
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    assert_true(memsess_server_clock(server) == 0);
    assert_int_equal(memsess_server_tell(server), APR_SUCCESS);
    seconds = unit_memcached_stat(m, "time") - 1;
    assert_in_range(memsess_server_clock(server), seconds, seconds + 20);
    unit_let_pass(apr_time_from_sec(100));
    unit_set_wall(-apr_time_from_sec(7200));
    assert_in_range(memsess_server_clock(server), seconds + 100, seconds + 120);
    unit_set_wall(0);
    seconds += 100;
    /* Nobody notices this restart. */
    unit_memcached_kill(m);
    unit_memcached_start(m);
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    assert_true(memsess_server_was_there(server, 1, 1));
    unit_memcached_freeze(m);
    assert_true(is_error(get_rv(server, "key")));
    unit_memcached_thaw(m);
    unit_await(!memsess_server_is_down(server));
    now = apr_time_now();
    assert_false(memsess_server_was_there(server, 0, now));
    assert_false(memsess_server_was_there(server, seconds - 5, now + apr_time_from_sec(3600)));
    assert_true(memsess_server_was_there(server, seconds + 60, now - apr_time_from_sec(3600)));
    seconds = memsess_server_clock(server);
    assert_true(memsess_server_was_there(server, seconds, now));
    assert_false(memsess_server_was_there(server, seconds, now - apr_time_from_sec(20)));
    /* A writer whose clock is ahead may still have written before. */
    assert_false(memsess_server_was_there(server, seconds - 1, now + apr_time_from_sec(20)));
}

/* This server is like a proxy: then our clock decides. */
static void test_a_server_came_back_that_does_not_tell_its_time(void **state)
{
    unit_answers_t garbage = {.get = "?\r\n", .version = "?\r\n"};
    unit_answers_t proxy = {.get = "END\r\n", .version = "VERSION 1\r\n"};
    int port = unit_faulty_start(&proxy);
    apr_time_t before = apr_time_now();
    memsess_server_t *server;

    (void)state;
    open_pool();
    server = add_port(port);
    start_pool();
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    assert_true(memsess_server_was_there(server, 0, before));
    unit_faulty_answers(&garbage);
    unit_await(is_error(get_rv(server, "key")));
    unit_faulty_answers(&proxy);
    unit_await(!memsess_server_is_down(server));
    assert_false(memsess_server_was_there(server, 0, before));
    assert_true(memsess_server_was_there(server, 0, apr_time_now()));
}

/* Requests do not try a server that is down; the prober does so once in a while. Each try lasts at least
 * as long as the pause between two. */
static void test_one_prober(void **state)
{
    unit_answers_t mute = {.get = NULL}, well = {.get = "END\r\n", .version = "VERSION 1\r\n"};
    int port = unit_faulty_start(&mute), first, tried, asked = 0;
    memsess_server_conf_t conf = server_conf("127.0.0.1", port);
    memsess_server_t *server;
    apr_time_t start;

    (void)state;
    conf.timeout = TIMEOUT;
    conf.retry = apr_time_from_msec(200);
    open_pool();
    server = add_conf(&conf);
    start_pool();
    assert_true(is_error(get_rv(server, "key")));
    first = unit_faulty_accepted();
    start = apr_time_now();
    unit_await(get_rv(server, "key") != MEMSESS_DOWN
               || (asked++, unit_faulty_accepted() >= first + 2));
    tried = unit_faulty_accepted() - first;
    assert_in_range(tried, 2, 2 + (apr_time_now() - start) / conf.retry);
    assert_true(asked > tried);
    assert_int_equal(unit_logged("is down"), 1);
    unit_faulty_answers(&well);
    unit_await(!memsess_server_is_down(server));
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
}

/* A server that takes connections and answers probes, but nothing else, is found down each time. */
static void test_a_server_that_only_answers_probes(void **state)
{
    unit_answers_t mute = {.version = "VERSION 1\r\n"};
    memsess_server_conf_t conf;
    memsess_server_t *server;
    int i;

    (void)state;
    conf = server_conf("127.0.0.1", unit_faulty_start(&mute));
    conf.timeout = HASTE;
    open_pool();
    server = add_conf(&conf);
    start_pool();
    for (i = 0; i < 2; i++) {
        apr_time_t start = apr_time_now();

        assert_true(is_error(get_rv(server, "key")));
        assert_in_range(apr_time_now() - start, AT_LEAST(HASTE), AT_MOST);
        unit_await(!memsess_server_is_down(server));
    }
}

static void test_closing_a_pool_does_not_wait(void **state)
{
    unit_memcached_t *m;
    memsess_server_t *server = one_that_hangs(&m, HASTE);
    apr_time_t start;

    (void)state;
    unit_memcached_freeze(m);
    assert_true(is_error(get_rv(server, "key")));
    start = apr_time_now();
    close_pool();
    assert_true(apr_time_now() - start < AT_MOST);
}

static void test_a_pool_that_was_never_started_or_used(void **state)
{
    (void)state;
    open_pool();
    close_pool();
    open_pool();
    add_port(unit_free_port(AF_INET));
    close_pool();
    open_pool();
    start_pool();
    close_pool();
}

/* The comparison of members, when each server takes its whole time-out. */
static int take_long(void *left, int sampled)
{
    (void)sampled;
    apr_sleep(HASTE);
    return apr_atomic_dec32(left) != 0;
}

/* The prober looks after servers between the steps of such a comparison. */
static void test_what_the_prober_calls_keeps_no_server_away(void **state)
{
    unit_memcached_t *m = unit_memcached();
    volatile apr_uint32_t left = 100;
    memsess_server_t *server;

    (void)state;
    open_pool();
    server = add_port(m->port);
    memsess_pool_call(the_pool, take_long, (void *)&left);
    start_pool();
    unit_memcached_kill(m);
    assert_true(is_error(get_rv(server, "key")));
    unit_memcached_start(m);
    unit_await(!memsess_server_is_down(server));
    assert_true(apr_atomic_read32(&left) > 50);
    close_pool();
}

/* A thread that asks the server for its figures, and then uses it, waits only once. */
static void test_a_server_that_hangs_when_it_is_to_tell(void **state)
{
    unit_memcached_t *m;
    memsess_server_t *server = one_that_hangs(&m, HASTE);

    (void)state;
    unit_memcached_freeze(m);
    assert_true(is_error(memsess_server_tell(server)));
    assert_immediately_down(server);
}

/* -- The wall clock is set --------------------------------------------------------------------- */

/* The clock is set back or ahead while a server is away: every thread sees it when it is back,
 * long before the clock shows the former time again. */
static void test_the_clock_is_set_while_a_server_is_down(void **state)
{
    static const int minutes[] = {-10, 0, 10};
    unit_memcached_t *m;
    memsess_server_t *server = one_server(&m);
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(minutes); i++) {
        unit_memcached_kill(m);
        unit_await(is_error(get_rv(server, "key")));
        apr_sleep(RETRY / 2);
        unit_set_wall(apr_time_from_sec(60 * minutes[i]));
        unit_memcached_start(m);
        unit_await(!memsess_server_is_down(server));
        assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    }
}

/* Sets the clock while the test waits for an answer. */
static void *set_clock_soon(void *minutes)
{
    apr_sleep(HASTE / 3);
    unit_set_wall(apr_time_from_sec(60 * *(const int *)minutes));
    return NULL;
}

static apr_status_t get_while_set(memsess_server_t *server, const int *minutes)
{
    pthread_t thread;
    apr_status_t rv;

    assert_int_equal(pthread_create(&thread, NULL, set_clock_soon, (void *)minutes), 0);
    rv = get_rv(server, "key");
    pthread_join(thread, NULL);
    return rv;
}

/* If the clock is set back, no answer is waited for longer; if it is set ahead, none is given
 * up. */
static void test_the_clock_is_set_while_a_server_answers(void **state)
{
    static const int back = -10, ahead[] = {10, 20};
    unit_answers_t drips = {.get = "END\r\n", .version = "VERSION 1\r\n", .trickle = 150};
    memsess_server_conf_t conf = server_conf("127.0.0.1", unit_faulty_start(&drips));
    unit_memcached_t *m = unit_memcached();
    memsess_server_t *hasty, *patient, *well;
    apr_time_t start;
    unsigned i;

    (void)state;
    conf.timeout = HASTE;
    open_pool();
    hasty = add_conf(&conf);
    conf.timeout = PATIENCE; /* answers take 750 ms */
    patient = add_conf(&conf);
    well = add_port(m->port);
    start_pool();
    assert_int_equal(get_rv(well, "key"), MEMSESS_ABSENT); /* so that there is something to watch */
    start = memsess_clock_steady();
    assert_true(is_error(get_while_set(hasty, &back)));
    assert_in_range(memsess_clock_steady() - start, AT_LEAST(HASTE), AT_MOST);
    for (i = 0; i < COUNT(ahead); i++) {
        assert_int_equal(get_while_set(patient, &ahead[i]), MEMSESS_ABSENT);
    }
}

/* The same holds for looking up a name. */
static void test_the_clock_is_set_while_a_name_is_looked_up(void **state)
{
    static const int minutes = -10;
    memsess_server_conf_t conf = server_conf(HANGING, 11211);
    memsess_server_t *server;
    apr_time_t start;

    (void)state;
    apr_atomic_set32(&hanging, 1);
    conf.timeout = HASTE;
    open_pool();
    server = add_conf(&conf);
    start_pool();
    start = memsess_clock_steady();
    assert_true(is_error(get_while_set(server, &minutes)));
    assert_in_range(memsess_clock_steady() - start, AT_LEAST(HASTE), AT_MOST);
    close_pool();
    apr_atomic_set32(&hanging, 0);
    apr_sleep(100000);
}

/* -- A system that gives no threads ------------------------------------------------------------ */

static volatile int no_threads; /* the system gives no thread */

/* This process asks for every thread here. */
int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attr,
                   void *(*run)(void *), void *restrict data)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return no_threads ? EAGAIN : real(thread, attr, run, data);
}

/* Without threads, servers are still used, lost and found; each thread starts once it can be
 * had. */
static void test_threads_that_the_system_refuses(void **state)
{
    unit_memcached_t *m = unit_memcached();
    memsess_server_conf_t conf = server_conf(HANGING, 11211);
    memsess_server_t *server, *named;
    int i;

    (void)state;
    apr_atomic_set32(&hanging, 0);
    conf.timeout = HASTE; /* nobody looks its name up */
    no_threads = 1;
    open_pool();
    server = add_port(m->port);
    named = add_conf(&conf);
    assert_int_equal(memsess_pool_start(the_pool), EAGAIN);
    for (i = 0; i < 2; i++) {
        assert_int_equal(set(server, "key", "value"), APR_SUCCESS);
        assert_holds(server, "key", "value");
        unit_memcached_kill(m);
        assert_true(is_error(get_rv(server, "key")));
        assert_int_equal(get_rv(server, "key"), MEMSESS_DOWN);
        unit_memcached_start(m);
        unit_await(get_rv(server, "key") == MEMSESS_ABSENT);
    }
    assert_true(is_error(get_rv(named, "key")));
    assert_int_equal(unit_logged("no thread that tries servers that are down"), 1);
    assert_int_equal(unit_logged("no thread that looks up the names"), 1);
    no_threads = 0;
    unit_clocks_pass(apr_time_from_sec(2)); /* threads are not tried all the time */
    unit_await(get_rv(server, "key") == MEMSESS_ABSENT);
    assert_int_equal(unit_logged("now has its thread that tries servers"), 1);
    assert_int_equal(unit_logged("has its thread that looks up the names"), 1);
    unit_memcached_kill(m);
    assert_true(is_error(get_rv(server, "key")));
    unit_memcached_start(m);
    apr_sleep(2 * RETRY);
    unit_await(!memsess_server_is_down(server));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(test_host_name_whose_look_up_hangs),
        WIRE_TEST(test_names_choose_alike),
        WIRE_TEST(test_names_that_are_looked_up_within_a_time),
        WIRE_TEST(test_a_name_that_moves_is_followed),
        WIRE_TEST(test_restart_costs_no_operation),
        WIRE_TEST(test_restart_costs_no_mget),
        WIRE_TEST(test_frozen_server_with_a_connection),
        WIRE_TEST(test_frozen_server_without_a_connection),
        WIRE_TEST(test_killed_server),
        WIRE_TEST(test_when_a_server_came_back),
        WIRE_TEST(test_a_server_came_back_that_does_not_tell_its_time),
        WIRE_TEST(test_the_clock_is_set_while_a_server_is_down),
        WIRE_TEST(test_the_clock_is_set_while_a_server_answers),
        WIRE_TEST(test_the_clock_is_set_while_a_name_is_looked_up),
        WIRE_TEST(test_what_the_prober_calls_keeps_no_server_away),
        WIRE_TEST(test_threads_that_the_system_refuses),
        WIRE_TEST(test_one_prober),
        WIRE_TEST(test_a_server_that_only_answers_probes),
        WIRE_TEST(test_closing_a_pool_does_not_wait),
        WIRE_TEST(test_a_pool_that_was_never_started_or_used),
        WIRE_TEST(test_a_server_that_hangs_when_it_is_to_tell),
    };

    unit_begin();
    return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
