/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Servers: read and written, one or several at once, by each kind of address. */

#include "unit_calls.h"

#include <dlfcn.h>

/* -- Reading and writing ----------------------------------------------------------------------- */

static void test_get_and_set(void **state)
{
    unit_memcached_t *m;
    memsess_server_t *server = one_server(&m);

    (void)state;
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    assert_int_equal(set(server, "key", "value"), APR_SUCCESS);
    assert_holds(server, "key", "value");
    assert_int_equal(set(server, "key", "another value"), APR_SUCCESS);
    assert_holds(server, "key", "another value");
    assert_int_equal(get_rv(server, "other"), MEMSESS_ABSENT);
    assert_false(memsess_server_is_down(server));
    assert_int_equal(memsess_server_conf(server)->port, m->port);
    assert_int_equal(unit_logged("\n"), 0);
    /* All of this took one connection; the test itself has two. */
    assert_in_range(unit_memcached_stat(m, "total_connections"), 1, 5);
}

static apr_status_t add(memsess_server_t *server, const char *name, const char *value)
{
    return memsess_server_add(server, name, apr_pstrdup(unit_pool, value), strlen(value), 100);
}

static void test_add_and_delete(void **state)
{
    unit_memcached_t *m;
    memsess_server_t *server = one_server(&m);

    (void)state;
    assert_int_equal(memsess_server_delete(server, "key"), MEMSESS_ABSENT);
    assert_int_equal(add(server, "key", "one"), APR_SUCCESS);
    assert_int_equal(add(server, "key", "two"), MEMSESS_EXISTS);
    assert_holds(server, "key", "one");
    assert_int_equal(memsess_server_delete(server, "key"), APR_SUCCESS);
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    assert_int_equal(memsess_server_delete(server, "key"), MEMSESS_ABSENT);
    assert_int_equal(add(server, "key", "three"), APR_SUCCESS);
    assert_holds(server, "key", "three");

    /* The same works after a restart. */
    unit_memcached_kill(m);
    unit_memcached_start(m);
    assert_int_equal(add(server, "key", "four"), APR_SUCCESS);
    unit_memcached_kill(m);
    unit_memcached_start(m);
    assert_int_equal(memsess_server_delete(server, "key"), MEMSESS_ABSENT);
    assert_int_equal(unit_logged("\n"), 0);

    unit_memcached_kill(m);
    assert_true(is_error(add(server, "key", "five")));
    assert_int_equal(memsess_server_delete(server, "key"), MEMSESS_DOWN);
    assert_int_equal(add(server, "key", "six"), MEMSESS_DOWN);
}

static apr_status_t replace(memsess_server_t *server, const char *name, apr_size_t len)
{
    memsess_put_t put;

    memset(&put, 0, sizeof(put));
    put.server = server;
    put.key = name;
    put.data = apr_pcalloc(unit_pool, len + 1);
    put.len = len;
    put.ttl = 100;
    put.how = MEMSESS_PUT_REPLACE;
    memset(put.data, 'r', len);
    memsess_pool_mput(&put, 1);
    return put.rv;
}

/* If the server refuses the new value, the old one stays. */
static void test_replace(void **state)
{
    unit_memcached_t *m;
    memsess_server_t *server = one_server(&m);

    (void)state;
    assert_int_equal(replace(server, "key", 1), APR_SUCCESS);
    assert_holds(server, "key", "r");
    assert_int_equal(replace(server, "key", 3), APR_SUCCESS);
    assert_holds(server, "key", "rrr");
    assert_int_equal(replace(server, "key", 2000000), MEMSESS_TOO_LARGE);
    assert_holds(server, "key", "rrr");
}

static void test_values_that_look_like_the_protocol(void **state)
{
    static const struct {
        const char *data;
        apr_size_t len;
    } values[] = {
        {"", 0}, {"\r\n", 2}, {"END\r\n", 5}, {"\r\nEND\r\n", 7}, {"a\r\nEND\r\nb", 9},
        {"VALUE key 0 3\r\nabc\r\nEND\r\n", 25}, {"\0", 1}, {"a\0b\0", 4}, {"\xff\xfe\x80", 3},
        {"quit\r\n", 6}, {"\n\n\n", 3}, {" ", 1},
    };
    unit_memcached_t *m;
    memsess_server_t *server = one_server(&m);
    unsigned i, j;

    (void)state;
    for (i = 0; i < COUNT(values); i++) {
        char *copy = apr_pmemdup(unit_pool, values[i].data, values[i].len + 1);

        assert_int_equal(memsess_server_set(server, apr_psprintf(unit_pool, "key%u", i), copy,
                                            values[i].len, 0), APR_SUCCESS);
    }
    for (j = 0; j < 2; j++) {
        for (i = 0; i < COUNT(values); i++) {
            apr_size_t len;
            char *data;

            assert_int_equal(get(server, apr_psprintf(unit_pool, "key%u", i), &data, &len),
                             APR_SUCCESS);
            assert_int_equal(len, values[i].len);
            assert_memory_equal(data, values[i].data, len);
            assert_int_equal(data[len], '\0');
            assert_int_equal(get_rv(server, "none"), MEMSESS_ABSENT);
        }
    }
}

static void test_values_of_many_sizes(void **state)
{
    enum { LARGE = 1000000 };
    unit_memcached_t *m;
    memsess_server_t *server = one_server(&m);
    char *value = apr_palloc(unit_pool, LARGE);
    apr_size_t size;
    unsigned i;

    (void)state;
    for (i = 0; i < LARGE; i++) {
        value[i] = (char)unit_below(256);
    }
    for (size = 1; size <= LARGE; size = size < LARGE && size * 3 > LARGE ? LARGE : size * 3) {
        apr_size_t len;
        char *data;

        assert_int_equal(memsess_server_set(server, "key", value, size, 0), APR_SUCCESS);
        assert_int_equal(get(server, "key", &data, &len), APR_SUCCESS);
        assert_int_equal(len, size);
        assert_memory_equal(data, value, size);
    }
}

static void test_expiry_is_passed_on(void **state)
{
    unit_memcached_t *m;
    memsess_server_t *server = one_server(&m);
    char value[] = "value";
    const char *answer;
    int left;

    (void)state;
    assert_int_equal(memsess_server_set(server, "key", value, 5, 1000), APR_SUCCESS);
    answer = unit_ask(m, "mg key t\r\nmn\r\n", 14, "MN", NULL);
    assert_non_null(answer);
    assert_memory_equal(answer, "HD t", 4);
    left = atoi(answer + 4);
    assert_in_range(left, 950, 1000);
    assert_int_equal(memsess_server_set(server, "key", value, 5, 0), APR_SUCCESS);
    answer = unit_ask(m, "mg key t\r\nmn\r\n", 14, "MN", NULL);
    assert_non_null(answer);
    assert_memory_equal(answer, "HD t-1\r\n", 8);
}

/* The server is well; only this value is refused. */
static void test_a_value_that_is_too_large_is_refused(void **state)
{
    enum { LARGE = 3000000 };
    unit_memcached_t *m;
    memsess_server_t *server = one_server(&m);
    char *value = apr_palloc(unit_pool, LARGE);
    int i;

    (void)state;
    memset(value, 'x', LARGE);
    for (i = 0; i < 3; i++) {
        assert_int_equal(memsess_server_set(server, "large", value, LARGE, 0), MEMSESS_TOO_LARGE);
        assert_false(memsess_server_is_down(server));
        assert_int_equal(get_rv(server, "large"), MEMSESS_ABSENT);
        assert_int_equal(set(server, "key", "value"), APR_SUCCESS);
        assert_holds(server, "key", "value");
    }
    assert_int_equal(unit_logged("is down"), 0);
    assert_int_equal(unit_logged("refuses sessions: the record is too large for this server (raise its -I)"), 1);
}

/* The limit is -I, 1 MB here, for an item's head, its key and its value. The length from which on
 * values are refused depends on whether memcached is a program of 32 or of 64 bits. */
static void test_what_is_too_large_is_told_to_the_byte(void **state)
{
    enum { MOST = 1 << 20, FIRST = MOST - 66, LAST = MOST - 40 };
    unit_memcached_t *m;
    memsess_server_t *server = one_server(&m);
    char *value = apr_palloc(unit_pool, MOST);
    apr_size_t len = FIRST;

    (void)state;
    memset(value, 'x', MOST);
    while (len < LAST && memsess_server_set(server, "key", value, len, 0) == APR_SUCCESS) {
        len++;
    }
    assert_in_range(len, FIRST + 1, LAST - 1);
    for (; len <= LAST; len++) {
        assert_int_equal(memsess_server_set(server, "key", value, len, 0), MEMSESS_TOO_LARGE);
    }
}

static void test_a_server_out_of_memory_refuses(void **state)
{
    static const char *const more[] = {"-M", "-m", "2", NULL};
    unit_memcached_t *m = unit_memcached_with(more);
    apr_status_t rv = APR_SUCCESS;
    memsess_server_t *server;
    char value[10000];
    int i;

    (void)state;
    open_pool();
    server = add_port(m->port);
    start_pool();
    memset(value, 'x', sizeof(value));
    for (i = 0; i < 1000 && rv == APR_SUCCESS; i++) {
        rv = memsess_server_set(server, apr_psprintf(unit_pool, "key%d", i), value, sizeof(value),
                                0);
    }
    assert_int_equal(rv, MEMSESS_FULL);
    assert_int_equal(memsess_server_add(server, "added", value, sizeof(value), 0), MEMSESS_FULL);
    assert_false(memsess_server_is_down(server));
    assert_int_equal(get_rv(server, "key0"), APR_SUCCESS);
    assert_int_equal(unit_logged("refuses sessions: it is out of memory"), 1);
}

/* A proxy passes the refusal on without its reason. */
static void test_a_refusal_without_a_reason(void **state)
{
    unit_answers_t proxy = {.get = "END\r\n",
                            .set = "SERVER_ERROR out of memory storing object\r\n",
                            .version = "VERSION 1\r\n"};
    memsess_server_t *server;

    (void)state;
    open_pool();
    server = add_port(unit_faulty_start(&proxy));
    start_pool();
    assert_int_equal(set(server, "key", "value"), MEMSESS_REFUSED);
    assert_false(memsess_server_is_down(server));
    assert_int_equal(unit_logged("refuses sessions: the server refused to store it"), 1);
}

/* -- What a server says of itself -------------------------------------------------------------- */

static memsess_server_figures_t figures_of(memsess_server_t *server)
{
    memsess_server_figures_t figures;

    memsess_count_read_server(memsess_server_conf(server)->count, &figures);
    return figures;
}

static void test_what_a_server_tells(void **state)
{
    /* More bytes than 32 bits can count, if memcached can have as many. */
    const apr_int64_t megabytes = sizeof(void *) > 4 ? 8192 : 2048;
    const char *const more[] = {"-m", apr_psprintf(unit_pool, "%d", (int)megabytes), NULL};
    unit_memcached_t *m = unit_memcached_with(more);
    memsess_server_figures_t f;
    memsess_server_t *server;
    apr_int64_t clock;
    unsigned i;

    (void)state;
    open_pool();
    server = add_port(m->port);
    start_pool();
    for (f = figures_of(server), i = 0; i < MEMSESS_SAYS_N; i++) {
        assert_int_equal(f.says[i], -1);
    }
    assert_int_equal(memsess_count_server_clock(memsess_server_conf(server)->count), 0);
    assert_int_equal(set(server, "key", "value"), APR_SUCCESS);
    assert_int_equal(memsess_server_tell(server), APR_SUCCESS);
    f = figures_of(server);
    assert_true(f.says[MEMSESS_SAYS_LIMIT] == megabytes << 20);
    assert_int_equal(f.says[MEMSESS_SAYS_ITEMS], 1);
    assert_int_equal(f.says[MEMSESS_SAYS_MEMORY], unit_memcached_stat(m, "bytes"));
    assert_int_equal(f.says[MEMSESS_SAYS_EVICTIONS], 0);
    assert_in_range(f.says[MEMSESS_SAYS_UPTIME], 0, 60);
    clock = memsess_count_server_clock(memsess_server_conf(server)->count);
    assert_in_range(clock, unit_memcached_stat(m, "time") - 3, unit_memcached_stat(m, "time") + 1);
    assert_int_equal(f.all.n, 1); /* asking for these was no operation */
    unit_memcached_kill(m);
    assert_true(is_error(get_rv(server, "key")));
    for (f = figures_of(server), i = 0; i < MEMSESS_SAYS_N; i++) {
        assert_int_equal(f.says[i], -1);
    }
}

static void test_a_server_that_does_not_tell(void **state)
{
    static const char *const answers[] = {"VERSION 1\r\n", "ERROR\r\n", "", "END\r\n",
                                          "STAT pid 1\r\nSTAT evictions_x 5\r\nEND\r\n"};
    unit_answers_t proxy = {.get = "END\r\n", .set = "STORED\r\n", .version = "VERSION 1\r\n"};
    memsess_server_conf_t conf = server_conf("127.0.0.1", unit_faulty_start(&proxy));
    memsess_server_t *server;
    unsigned i, k;

    (void)state;
    conf.timeout = TIMEOUT;
    open_pool();
    server = add_conf(&conf);
    start_pool();
    for (i = 0; i < COUNT(answers); i++) {
        unit_faulty_tells(answers[i]);
        memsess_server_tell(server);
        for (k = 0; k < MEMSESS_SAYS_N; k++) {
            assert_int_equal(figures_of(server).says[k], -1);
        }
        assert_int_equal(memsess_count_server_clock(memsess_server_conf(server)->count), 0);
        assert_false(memsess_server_is_down(server));
    }
}

/* -- Addresses --------------------------------------------------------------------------------- */

static void test_ipv6(void **state)
{
    unit_memcached_t *m = unit_memcached_new(AF_INET6, NULL, NULL);
    memsess_server_conf_t conf = server_conf("::1", m->port);
    memsess_server_t *server;

    (void)state;
    open_pool();
    server = add_conf(&conf);
    start_pool();
    assert_int_equal(set(server, "key", "value"), APR_SUCCESS);
    assert_holds(server, "key", "value");
    unit_memcached_kill(m);
    unit_memcached_start(m);
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
}

static int listened;

/* This takes the place of libc's listen, for libapr, too. */
int listen(int fd, int backlog)
{
    int (*real)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "listen");

    listened++;
    return real(fd, backlog);
}

/* A policy may allow no listener (SELinux), and a host may have no 127.0.0.1. */
static void test_connecting_needs_no_listener(void **state)
{
    unit_memcached_t *m = unit_memcached();
    memsess_server_t *server;

    (void)state;
    open_pool();
    server = add_port(m->port);
    start_pool();
    listened = 0;
    assert_int_equal(set(server, "key", "value"), APR_SUCCESS);
    assert_holds(server, "key", "value");
    unit_memcached_kill(m);
    unit_memcached_start(m);
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    assert_int_equal(listened, 0);
}

static void test_unix_socket(void **state)
{
    const char *path = apr_pstrcat(unit_pool, unit_dir_open(), "/socket", NULL);
    unit_memcached_t *m = unit_memcached_new(AF_UNIX, path, NULL);
    memsess_server_conf_t conf = server_conf("", 0);
    memsess_server_t *server;

    (void)state;
    conf.host = NULL;
    conf.path = path;
    open_pool();
    server = add_conf(&conf);
    start_pool();
    assert_int_equal(set(server, "key", "value"), APR_SUCCESS);
    assert_holds(server, "key", "value");

    unit_memcached_kill(m);
    unit_memcached_start(m);
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);

    unit_memcached_kill(m);
    unlink(path);
    assert_true(is_error(get_rv(server, "key")));
    assert_true(memsess_server_is_down(server));
    unit_memcached_start(m);
    unit_await(!memsess_server_is_down(server));
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
}

static void test_host_name(void **state)
{
    unit_memcached_t *m = unit_memcached();
    memsess_server_conf_t conf = server_conf("localhost", m->port);
    memsess_server_t *server;

    (void)state;
    open_pool();
    server = add_conf(&conf);
    start_pool();
    /* The name may have an IPv6 address, too, at which nothing listens. */
    assert_int_equal(set(server, "key", "value"), APR_SUCCESS);
    assert_holds(server, "key", "value");
    unit_memcached_kill(m);
    assert_true(is_error(get_rv(server, "key")));
    assert_true(memsess_server_is_down(server));
    unit_memcached_start(m);
    unit_await(!memsess_server_is_down(server));
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
}

/* This name is refused without asking anybody, so the test depends on no name server. */
static void test_host_name_that_does_not_exist(void **state)
{
    memsess_server_conf_t conf = server_conf("no..host", 11211);
    memsess_server_t *server;
    apr_time_t start = apr_time_now();

    (void)state;
    conf.retry = apr_time_from_sec(60);
    open_pool();
    server = add_conf(&conf);
    start_pool();
    assert_true(is_error(get_rv(server, "key")));
    assert_true(memsess_server_is_down(server));
    assert_int_equal(get_rv(server, "key"), MEMSESS_DOWN);
    assert_true(apr_time_now() - start < AT_MOST);
    /* After the failure the name is looked up once more; a pool that is closed meanwhile leaves its
     * memory to that look-up. */
    apr_sleep(100000);
}

/* -- Several keys ------------------------------------------------------------------------------ */

static void test_mget(void **state)
{
    enum { N = 6 };
    unit_memcached_t *m[N];
    memsess_get_t gets[N];
    memsess_server_conf_t conf;
    apr_time_t start;
    int i, round;

    (void)state;
    memset(gets, 0, sizeof(gets));
    open_pool();
    unit_dir_open();
    for (i = 0; i < N; i++) {
        const char *path = i == 5 ? apr_pstrcat(unit_pool, unit_dir, "/socket", NULL) : NULL;

        m[i] = unit_memcached_new(i == 4 ? AF_INET6 : path ? AF_UNIX : AF_INET, path, NULL);
        conf = server_conf(i == 4 ? "::1" : "127.0.0.1", m[i]->port);
        conf.host = path ? NULL : conf.host;
        conf.path = path;
        conf.timeout = i == 2 ? TIMEOUT : conf.timeout;
        gets[i].server = add_conf(&conf);
        gets[i].key = apr_psprintf(unit_pool, "key%d", i);
        unit_memcached_set(m[i], gets[i].key, apr_psprintf(unit_pool, "value%d", i), 6);
    }
    start_pool();
    for (round = 0; round < 3; round++) {
        memsess_pool_mget(gets, N, unit_pool);
        for (i = 0; i < N; i++) {
            assert_int_equal(gets[i].rv, APR_SUCCESS);
            assert_int_equal(gets[i].len, 6);
            assert_string_equal(gets[i].data, apr_psprintf(unit_pool, "value%d", i));
        }
    }

    /* One server without the key, one that is frozen, and one that is gone. */
    unit_memcached_delete(m[1], "key1");
    unit_memcached_freeze(m[2]);
    unit_memcached_kill(m[3]);
    for (round = 0; round < 2; round++) {
        start = apr_time_now();
        memsess_pool_mget(gets, N, unit_pool);
        if (round == 0) {
            assert_in_range(apr_time_now() - start, AT_LEAST(TIMEOUT), AT_MOST);
            assert_true(is_error(gets[2].rv) && is_error(gets[3].rv));
        }
        else {
            assert_int_equal(gets[2].rv, MEMSESS_DOWN);
            assert_int_equal(gets[3].rv, MEMSESS_DOWN);
        }
        assert_true(memsess_server_is_down(gets[2].server));
        assert_true(memsess_server_is_down(gets[3].server));
        assert_int_equal(gets[1].rv, MEMSESS_ABSENT);
        for (i = 0; i < N; i += i == 0 ? 4 : 1) {
            assert_int_equal(gets[i].rv, APR_SUCCESS);
            assert_string_equal(gets[i].data, apr_psprintf(unit_pool, "value%d", i));
            assert_false(memsess_server_is_down(gets[i].server));
        }
    }

    unit_memcached_thaw(m[2]);
    unit_memcached_start(m[3]);
    unit_await(!memsess_server_is_down(gets[2].server)
               && !memsess_server_is_down(gets[3].server));
    memsess_pool_mget(gets, N, unit_pool);
    assert_int_equal(gets[1].rv, MEMSESS_ABSENT);
    assert_int_equal(gets[2].rv, APR_SUCCESS);
    assert_string_equal(gets[2].data, "value2");
    assert_int_equal(gets[3].rv, MEMSESS_ABSENT);
}

static void test_mget_of_one_and_of_none(void **state)
{
    unit_memcached_t *m;
    memsess_server_t *server = one_server(&m);
    memsess_get_t get_one;

    (void)state;
    memset(&get_one, 0, sizeof(get_one));
    get_one.server = server;
    get_one.key = "key";
    memsess_pool_mget(&get_one, 0, unit_pool);
    memsess_pool_mget(&get_one, 1, unit_pool);
    assert_int_equal(get_one.rv, MEMSESS_ABSENT);
    unit_memcached_set(m, "key", "value", 5);
    memsess_pool_mget(&get_one, 1, unit_pool);
    assert_int_equal(get_one.rv, APR_SUCCESS);
    assert_string_equal(get_one.data, "value");
}

static void test_mget_of_keys_that_begin_alike(void **state)
{
    unit_memcached_t *a = unit_memcached(), *b = unit_memcached();
    memsess_get_t gets[2];

    (void)state;
    memset(gets, 0, sizeof(gets));
    open_pool();
    gets[0].server = add_port(a->port);
    gets[0].key = "key2";
    gets[1].server = add_port(b->port);
    gets[1].key = "key";
    start_pool();
    unit_memcached_set(a, "key2", "a", 1);
    unit_memcached_set(b, "key", "b", 1);
    memsess_pool_mget(gets, 2, unit_pool);
    assert_int_equal(gets[0].rv, APR_SUCCESS);
    assert_int_equal(gets[1].rv, APR_SUCCESS);
    assert_string_equal(gets[0].data, "a");
    assert_string_equal(gets[1].data, "b");
}

static void test_mget_of_large_and_odd_values(void **state)
{
    enum { LARGE = 900000 };
    unit_memcached_t *a = unit_memcached(), *b = unit_memcached();
    char *value = apr_palloc(unit_pool, LARGE);
    memsess_get_t gets[2];
    unsigned i;

    (void)state;
    open_two(gets, a, b);
    for (i = 0; i < LARGE; i++) {
        value[i] = "\r\nEND VALUE\0"[unit_below(12)];
    }
    unit_memcached_set(a, "key-a", value, LARGE);
    unit_memcached_set(b, "key-b", "\r\nEND\r\n", 7);
    for (i = 0; i < 3; i++) {
        memsess_pool_mget(gets, 2, unit_pool);
        assert_int_equal(gets[0].rv, APR_SUCCESS);
        assert_int_equal(gets[0].len, LARGE);
        assert_memory_equal(gets[0].data, value, LARGE);
        assert_int_equal(gets[1].rv, APR_SUCCESS);
        assert_int_equal(gets[1].len, 7);
        assert_memory_equal(gets[1].data, "\r\nEND\r\n", 8);
        assert_int_equal(get_rv(gets[0].server, "none"), MEMSESS_ABSENT);
        assert_int_equal(get_rv(gets[1].server, "none"), MEMSESS_ABSENT);
    }
}

static int is_mine(const void *baton, const char *data, apr_size_t len)
{
    return len >= strlen(baton) && !memcmp(data, baton, strlen(baton));
}

/* A value that cannot belong to the key is no answer: the next one on that connection would be no
 * better. */
static void test_mget_checks_answers(void **state)
{
    unit_memcached_t *a = unit_memcached(), *b = unit_memcached();
    memsess_get_t gets[2];
    int n;

    (void)state;
    open_two(gets, a, b);
    gets[0].check = gets[1].check = is_mine;
    gets[0].baton = gets[1].baton = "mine";
    unit_memcached_set(a, "key-a", "mine", 4);
    unit_memcached_set(b, "key-b", "yours", 5);
    for (n = 2; n >= 1; n--) {
        memsess_pool_mget(gets, n, unit_pool);
        assert_int_equal(gets[0].rv, APR_SUCCESS);
        assert_string_equal(gets[0].data, "mine");
        assert_true(is_error(gets[1].rv));
    }
    assert_true(is_error(gets[1].rv));
    unit_memcached_set(b, "key-b", "mine, too", 9);
    unit_await(!memsess_server_is_down(gets[1].server));
    memsess_pool_mget(gets, 2, unit_pool);
    assert_int_equal(gets[1].rv, APR_SUCCESS);
}

/* -- Authentication ---------------------------------------------------------------------------- */

static void test_authentication(void **state)
{
    const char *file;
    unit_memcached_t *m;
    memsess_server_conf_t conf;
    memsess_server_t *right;
    int i;

    (void)state;
    unit_dir_open();
    file = unit_dir_write("auth", "web:sesame\n");
    m = unit_memcached_new(AF_INET, NULL, file);
    conf = server_conf("127.0.0.1", m->port);
    conf.auth = "web sesame";
    open_pool();
    right = add_conf(&conf);
    start_pool();
    for (i = 0; i < 3; i++) {
        assert_int_equal(get_rv(right, "key"), MEMSESS_ABSENT);
        assert_int_equal(set(right, "key", "value"), APR_SUCCESS);
        assert_holds(right, "key", "value");
        assert_int_equal(get_rv(right, "auth"), MEMSESS_ABSENT);
        unit_memcached_kill(m);
        if (i == 1) {
            assert_true(is_error(get_rv(right, "key")));
            assert_true(memsess_server_is_down(right));
        }
        unit_memcached_start(m);
        unit_await(!memsess_server_is_down(right));
    }
}

/* A client that does not know the password can read and write nothing, and gets that error, not
 * "absent". */
static void test_authentication_that_fails(void **state)
{
    static const char *const secrets[] = {NULL, "web wrong", "wrong sesame", "web", "x y"};
    const char *file;
    unit_memcached_t *m;
    unsigned i;

    (void)state;
    unit_dir_open();
    file = unit_dir_write("auth", "web:sesame\n");
    m = unit_memcached_new(AF_INET, NULL, file);
    for (i = 0; i < COUNT(secrets); i++) {
        memsess_server_conf_t conf = server_conf("127.0.0.1", m->port);
        memsess_server_t *server;

        conf.auth = secrets[i];
        open_pool();
        server = add_conf(&conf);
        start_pool();
        assert_true(is_error(i % 2 ? set(server, "key", "value") : get_rv(server, "key")));
        assert_true(memsess_server_is_down(server));
        assert_int_equal(unit_logged("is down"), (int)i + 1);
        assert_int_equal(unit_logged("it asks for a user and password (set MemSessServerAuth)"), 1);
        assert_int_equal(unit_logged("it refuses the user and password of MemSessServerAuth"),
                         (int)i);
        assert_true(is_error(set(server, "key", "value")));
        assert_true(is_error(get_rv(server, "key")));
        close_pool();
        assert_int_equal(unit_logged("wrong"), 0);
        assert_int_equal(unit_logged("sesame"), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_TEST(test_get_and_set),
        WIRE_TEST(test_add_and_delete),
        WIRE_TEST(test_replace),
        WIRE_TEST(test_values_that_look_like_the_protocol),
        WIRE_TEST(test_values_of_many_sizes),
        WIRE_TEST(test_expiry_is_passed_on),
        WIRE_TEST(test_a_value_that_is_too_large_is_refused),
        WIRE_TEST(test_what_is_too_large_is_told_to_the_byte),
        WIRE_TEST(test_a_server_out_of_memory_refuses),
        WIRE_TEST(test_a_refusal_without_a_reason),
        WIRE_TEST(test_what_a_server_tells),
        WIRE_TEST(test_a_server_that_does_not_tell),
        WIRE_TEST(test_ipv6),
        WIRE_TEST(test_connecting_needs_no_listener),
        WIRE_TEST(test_unix_socket),
        WIRE_TEST(test_host_name),
        WIRE_TEST(test_host_name_that_does_not_exist),
        WIRE_TEST(test_mget),
        WIRE_TEST(test_mget_of_one_and_of_none),
        WIRE_TEST(test_mget_checks_answers),
        WIRE_TEST(test_mget_of_large_and_odd_values),
        WIRE_TEST(test_mget_of_keys_that_begin_alike),
        WIRE_TEST(test_authentication),
        WIRE_TEST(test_authentication_that_fails),
    };

    unit_begin();
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
