/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Servers and connections, against real memcacheds and against one with faults. */

#include "unit_servers.h"

#include <dlfcn.h>
#include <netdb.h>

#include "apr_atomic.h"

#include "base/clock.h"
#include "base/name.h"
#include "wire/resolve.h"
#include "wire/servers.h"
#include "wire/turn.h"

#define TIMEOUT apr_time_from_msec(300)
#define RETRY apr_time_from_msec(100)

/* A call that waits for a server must take about TIMEOUT; for connecting and answering, twice
 * that. The rest is room for a busy machine. */
#define AT_LEAST (TIMEOUT * 8 / 10)
#define AT_MOST (2 * TIMEOUT + apr_time_from_sec(3))

static memsess_pool_t *the_pool;
static volatile int no_threads; /* can be had */
static int listened;

static int setup(void **state)
{
    the_pool = NULL;
    no_threads = 0;
    return unit_setup(state);
}

static int teardown(void **state)
{
    if (the_pool) {
        memsess_pool_destroy(the_pool);
    }
    unit_servers_stop();
    return unit_teardown(state);
}

#define POOL_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static void open_pool(void)
{
    assert_int_equal(memsess_pool_create(&the_pool), APR_SUCCESS);
}

static void start_pool(void)
{
    assert_int_equal(memsess_pool_start(the_pool), APR_SUCCESS);
}

static void close_pool(void)
{
    memsess_pool_destroy(the_pool);
    the_pool = NULL;
}

static memsess_server_conf_t server_conf(const char *host, int port)
{
    memsess_server_conf_t conf;

    memset(&conf, 0, sizeof(conf));
    conf.name = apr_psprintf(unit_pool, "%s:%d", host, port);
    conf.host = host;
    conf.port = (apr_port_t)port;
    conf.timeout = TIMEOUT;
    conf.retry = RETRY;
    conf.max_conns = 4;
    conf.idle = apr_time_from_sec(60);
    return conf;
}

static memsess_server_t *add_conf(const memsess_server_conf_t *conf)
{
    memsess_server_t *server;

    assert_int_equal(memsess_pool_add(&server, the_pool, conf), APR_SUCCESS);
    return server;
}

static memsess_server_t *add_port(int port)
{
    memsess_server_conf_t conf = server_conf("127.0.0.1", port);

    return add_conf(&conf);
}

/* A pool of one memcached, with its prober. */
static memsess_server_t *one_server(unit_memcached_t **m)
{
    memsess_server_t *server;

    *m = unit_memcached();
    open_pool();
    server = add_port((*m)->port);
    start_pool();
    return server;
}

static apr_status_t get(memsess_server_t *server, const char *key, char **data, apr_size_t *len)
{
    *data = NULL;
    *len = 0;
    return memsess_server_get(server, key, data, len, unit_pool);
}

static apr_status_t get_rv(memsess_server_t *server, const char *key)
{
    apr_size_t len;
    char *data;

    return get(server, key, &data, &len);
}

static apr_status_t set(memsess_server_t *server, const char *key, const char *value)
{
    return memsess_server_set(server, key, apr_pstrdup(unit_pool, value), strlen(value), 0);
}

static void assert_holds(memsess_server_t *server, const char *key, const char *value)
{
    apr_size_t len;
    char *data;

    assert_int_equal(get(server, key, &data, &len), APR_SUCCESS);
    assert_int_equal(len, strlen(value));
    assert_string_equal(data, value);
}

/* An answer that is neither a value nor a certain absence. */
static int is_error(apr_status_t rv)
{
    return rv != APR_SUCCESS && rv != MEMSESS_ABSENT && rv != MEMSESS_EXISTS;
}

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
    /* All on one connection. Those of the test itself are two. */
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

    /* After a restart, too. */
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

/* What is there stays if the server will not have the new value. */
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

/* The server is well; it is the value that it will not have. */
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
    assert_int_equal(unit_logged("refuses sessions: too large for this server (its -I)"), 1);
}

/* Of -I, 1 MB here: an item's head, its key and its value. */
static void test_what_is_too_large_is_told_to_the_byte(void **state)
{
    enum { MOST = 1 << 20 };
    unit_memcached_t *m;
    memsess_server_t *server = one_server(&m);
    char *value = apr_palloc(unit_pool, MOST);
    apr_size_t len;

    (void)state;
    memset(value, 'x', MOST);
    for (len = MOST - 66; len < MOST - 54; len++) {
        assert_int_equal(memsess_server_set(server, "key", value, len, 0),
                         len + 3 + 59 <= MOST ? APR_SUCCESS : MEMSESS_TOO_LARGE);
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
    assert_int_equal(unit_logged("refuses sessions: out of memory"), 1);
}

/* What a proxy passes on says nothing of why. */
static void test_a_refusal_without_a_reason(void **state)
{
    unit_answers_t proxy = {"END\r\n", "SERVER_ERROR out of memory storing object\r\n",
                            "VERSION 1\r\n", 0, 0, 0};
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
    static const char *const more[] = {"-m", "8192", NULL};
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
    assert_true(f.says[MEMSESS_SAYS_LIMIT] == APR_INT64_C(8192) << 20);
    assert_int_equal(f.says[MEMSESS_SAYS_ITEMS], 1);
    assert_int_equal(f.says[MEMSESS_SAYS_MEMORY], unit_memcached_stat(m, "bytes"));
    assert_int_equal(f.says[MEMSESS_SAYS_EVICTIONS], 0);
    assert_in_range(f.says[MEMSESS_SAYS_UPTIME], 0, 60);
    clock = memsess_count_server_clock(memsess_server_conf(server)->count);
    assert_in_range(clock, unit_memcached_stat(m, "time") - 3, unit_memcached_stat(m, "time") + 1);
    assert_int_equal(f.all.n, 1); /* that was no operation */
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
    unit_answers_t proxy = {"END\r\n", "STORED\r\n", "VERSION 1\r\n", 0, 0, 0};
    int port = unit_faulty_start(&proxy);
    memsess_server_t *server;
    unsigned i, k;

    (void)state;
    open_pool();
    server = add_port(port);
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

/* Stands before libc's, for libapr too. */
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
    /* The name may have an IPv6 address too, where nobody listens. */
    assert_int_equal(set(server, "key", "value"), APR_SUCCESS);
    assert_holds(server, "key", "value");
    unit_memcached_kill(m);
    assert_true(is_error(get_rv(server, "key")));
    assert_true(memsess_server_is_down(server));
    unit_memcached_start(m);
    unit_await(!memsess_server_is_down(server));
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
}

/* A name that is refused without asking anybody, so that the test depends on no name server. */
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
    /* The failure has the name looked up once more; a pool that is closed meanwhile leaves its
     * memory to that. */
    apr_sleep(100000);
}

/* -- A name server that does not answer -------------------------------------------------------- */

#define HANGING "hanging.invalid"

static volatile apr_uint32_t hanging, hung;

/* A name that leads to what the test says: numeric addresses, parted by spaces. */
#define MOVING "moving.invalid"

static const char *volatile moving = "";

typedef int getaddrinfo_t(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* In the order given, as name servers give them. */
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

/* Every look-up of this process comes by here. */
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

/* Neither the start, nor who asks the others, nor the end of a child process waits for it. */
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
        assert_true(memsess_server_is_down(lost)); /* it costs the first one its time-out */
    }
    assert_false(memsess_server_is_down(server));
    assert_true(apr_time_now() - start < AT_MOST);
    close_pool();
    assert_true(apr_time_now() - start < 2 * AT_MOST);
    apr_atomic_set32(&hanging, 0);
    apr_sleep(100000); /* the look-up frees what it was left */
}

/* -- Names with several addresses, and with others than before --------------------------------- */

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

/* As a start and configtest do: bounded, whatever the name server does. */
static void test_names_that_are_looked_up_within_a_time(void **state)
{
    const char *const names[] = {"no..host", HANGING, "localhost"};
    memsess_name_t found[COUNT(names)];
    apr_time_t start = apr_time_now();

    (void)state;
    apr_atomic_set32(&hanging, 1);
    memsess_names_look(found, names, COUNT(names), apr_time_from_msec(500));
    apr_atomic_set32(&hanging, 0);
    assert_true(apr_time_now() - start < apr_time_from_sec(10));
    assert_int_not_equal(found[0].rv, APR_SUCCESS);
    assert_int_not_equal(found[0].rv, APR_INCOMPLETE);
    assert_int_equal(found[1].rv, APR_INCOMPLETE);
    assert_int_equal(found[2].rv, APR_SUCCESS);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nothing is left running */
}

/* The server of before still answers: the new one is used all the same, soon, and no request
 * fails. */
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
    unit_await(!memsess_server_was_there(server, 1, 1)); /* what is there may be old */
    assert_int_equal(unit_logged("leads to another address"), 2);
    assert_int_equal(unit_logged("is down"), 0);
    /* What cannot be looked up any more stays as it was. */
    moving = "";
    apr_sleep(100000);
    assert_holds(server, "key", "there");
    memsess_resolver_every(apr_time_from_sec(30));
}

/* -- Health ------------------------------------------------------------------------------------ */

/* A restart costs no operation: connections that it closed are replaced, not believed. */
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
    memset(gets, 0, sizeof(gets));
    open_pool();
    gets[0].server = add_port(a->port);
    gets[0].key = "key-a";
    gets[1].server = add_port(b->port);
    gets[1].key = "key-b";
    start_pool();
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

static void assert_immediately_down(memsess_server_t *server)
{
    apr_time_t start = apr_time_now();
    int i;

    for (i = 0; i < 100; i++) {
        assert_int_equal(get_rv(server, "key"), MEMSESS_DOWN);
        assert_int_equal(set(server, "key", "lost"), MEMSESS_DOWN);
    }
    assert_true(apr_time_now() - start < TIMEOUT);
}

static void frozen_server(int used_before)
{
    unit_memcached_t *m;
    memsess_server_t *server = one_server(&m);
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
        assert_in_range(took, AT_LEAST, AT_MOST);
        assert_true(memsess_server_is_down(server));
        assert_immediately_down(server);
        assert_int_equal(unit_logged("is down"), i + 1);
        assert_true(memsess_server_is_down(server));

        unit_memcached_thaw(m);
        unit_await(!memsess_server_is_down(server));
        assert_int_equal(unit_logged("is back"), i + 1);
        /* Answers to what was asked in vain belong to nobody now. */
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

/* By the server's own clock, which is not that of anybody who can set it. */
static void test_when_a_server_came_back(void **state)
{
    unit_memcached_t *m;
    memsess_server_t *server = one_server(&m);
    apr_int64_t seconds;
    apr_time_t now;

    (void)state;
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    assert_true(memsess_server_clock(server) == 0);
    assert_int_equal(memsess_server_tell(server), APR_SUCCESS);
    seconds = unit_memcached_stat(m, "time") - 1;
    assert_in_range(memsess_server_clock(server), seconds, seconds + 2);
    memsess_clock_shift(-apr_time_from_sec(7200), apr_time_from_sec(100));
    assert_in_range(memsess_server_clock(server), seconds + 100, seconds + 102);
    memsess_clock_shift(0, 0);
    /* That nobody noticed. */
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
    /* A writer whose clock is ahead may have written before all the same. */
    assert_false(memsess_server_was_there(server, seconds - 1, now + apr_time_from_sec(20)));
}

/* Like a proxy: then our clock decides. */
static void test_a_server_came_back_that_does_not_tell_its_time(void **state)
{
    unit_answers_t garbage = {"?\r\n", NULL, "?\r\n", 0, 0, 0};
    unit_answers_t proxy = {"END\r\n", NULL, "VERSION 1\r\n", 0, 0, 0};
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

/* Set back or ahead while a server is away: seen to be back in a moment, by all who look. */
static void test_the_clock_is_set_while_a_server_is_down(void **state)
{
    static const int minutes[] = {-10, 0, 10};
    unit_memcached_t *m;
    memsess_server_t *server = one_server(&m);
    apr_time_t set_at;
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT(minutes); i++) {
        unit_memcached_kill(m);
        unit_await(is_error(get_rv(server, "key")));
        apr_sleep(RETRY / 2);
        unit_set_wall(apr_time_from_sec(60 * minutes[i]));
        unit_memcached_start(m);
        set_at = memsess_clock_steady();
        unit_await(!memsess_server_is_down(server));
        assert_true(memsess_clock_steady() - set_at < RETRY + apr_time_from_sec(3));
        assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    }
}

/* Sets the clock while the test waits for an answer. */
static void *set_clock_soon(void *minutes)
{
    apr_sleep(TIMEOUT / 3);
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

/* Set back, no answer is waited for longer; set ahead, none is given up. */
static void test_the_clock_is_set_while_a_server_answers(void **state)
{
    static const int back = -10, ahead[] = {10, 20};
    unit_answers_t drips = {"END\r\n", NULL, "VERSION 1\r\n", 0, 150, 0};
    memsess_server_conf_t conf = server_conf("127.0.0.1", unit_faulty_start(&drips));
    unit_memcached_t *m = unit_memcached();
    memsess_server_t *hasty, *patient, *well;
    apr_time_t start;
    unsigned i;

    (void)state;
    open_pool();
    hasty = add_conf(&conf);
    conf.timeout = 10 * TIMEOUT; /* answers take 750 ms */
    patient = add_conf(&conf);
    well = add_port(m->port);
    start_pool();
    assert_int_equal(get_rv(well, "key"), MEMSESS_ABSENT); /* so there is something to watch */
    start = memsess_clock_steady();
    assert_true(is_error(get_while_set(hasty, &back)));
    assert_in_range(memsess_clock_steady() - start, AT_LEAST, AT_MOST);
    for (i = 0; i < COUNT(ahead); i++) {
        assert_int_equal(get_while_set(patient, &ahead[i]), MEMSESS_ABSENT);
    }
}

/* Nor is a name. */
static void test_the_clock_is_set_while_a_name_is_looked_up(void **state)
{
    static const int minutes = -10;
    memsess_server_conf_t conf = server_conf(HANGING, 11211);
    memsess_server_t *server;
    apr_time_t start;

    (void)state;
    apr_atomic_set32(&hanging, 1);
    open_pool();
    server = add_conf(&conf);
    start_pool();
    start = memsess_clock_steady();
    assert_true(is_error(get_while_set(server, &minutes)));
    assert_in_range(memsess_clock_steady() - start, AT_LEAST, AT_MOST);
    close_pool();
    apr_atomic_set32(&hanging, 0);
    apr_sleep(100000);
}

/* What members are compared by, where each server takes its time-out. */
static int take_long(void *left, int sampled)
{
    (void)sampled;
    apr_sleep(TIMEOUT);
    return apr_atomic_dec32(left) != 0;
}

/* Servers are looked after in between. */
static void test_what_the_prober_calls_keeps_no_server_away(void **state)
{
    unit_memcached_t *m = unit_memcached();
    volatile apr_uint32_t left = 100;
    memsess_server_t *server;
    apr_time_t start;

    (void)state;
    open_pool();
    server = add_port(m->port);
    memsess_pool_call(the_pool, take_long, (void *)&left);
    start_pool();
    unit_memcached_kill(m);
    assert_true(is_error(get_rv(server, "key")));
    unit_memcached_start(m);
    start = memsess_clock_steady();
    unit_await(!memsess_server_is_down(server));
    assert_true(memsess_clock_steady() - start < 10 * TIMEOUT);
    assert_true(apr_atomic_read32(&left) > 50);
    close_pool();
}

/* -- A system that gives no threads ------------------------------------------------------------- */

/* Every thread of this process is asked for here. */
int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attr,
                   void *(*run)(void *), void *restrict data)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return no_threads ? EAGAIN : real(thread, attr, run, data);
}

/* Servers are used, lost and found without any; and each thread is there once it can be had. */
static void test_threads_that_cannot_be_had(void **state)
{
    unit_memcached_t *m = unit_memcached();
    memsess_server_conf_t conf = server_conf(HANGING, 11211);
    memsess_server_t *server, *named;
    int i;

    (void)state;
    apr_atomic_set32(&hanging, 0);
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
    assert_int_equal(unit_logged("no thread that tries servers again"), 1);
    assert_int_equal(unit_logged("no thread that looks up the names"), 1);
    no_threads = 0;
    memsess_clock_shift(0, apr_time_from_sec(2)); /* they are not tried all the time */
    unit_await(get_rv(server, "key") == MEMSESS_ABSENT);
    assert_int_equal(unit_logged("has its thread that tries servers again"), 1);
    assert_int_equal(unit_logged("has its thread that looks up the names"), 1);
    unit_memcached_kill(m);
    assert_true(is_error(get_rv(server, "key")));
    unit_memcached_start(m);
    apr_sleep(2 * RETRY);
    unit_await(!memsess_server_is_down(server));
}

/* Requests do not try a server that is down, and the prober does so once in a while. */
static void test_one_prober(void **state)
{
    unit_answers_t mute = {NULL, NULL, NULL, 0, 0, 0}, well = {"END\r\n", NULL, "VERSION 1\r\n",
                                                              0, 0, 0};
    int port = unit_faulty_start(&mute), first, tried;
    memsess_server_conf_t conf = server_conf("127.0.0.1", port);
    memsess_server_t *server;
    apr_time_t start;

    (void)state;
    conf.timeout = apr_time_from_msec(50);
    conf.retry = apr_time_from_msec(200);
    open_pool();
    server = add_conf(&conf);
    start_pool();
    assert_true(is_error(get_rv(server, "key")));
    first = unit_faulty_accepted();
    start = apr_time_now();
    while (apr_time_now() - start < apr_time_from_sec(1)) {
        assert_int_equal(get_rv(server, "key"), MEMSESS_DOWN);
        apr_pool_clear(unit_pool);
        apr_sleep(500);
    }
    tried = unit_faulty_accepted() - first;
    /* One in 200 ms and what it waits itself: 4 or 5. */
    assert_in_range(tried, 1, 6);
    assert_int_equal(unit_logged("is down"), 1);
    unit_faulty_answers(&well);
    unit_await(!memsess_server_is_down(server));
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
}

/* A server that takes connections and answers probes, but nothing else, is found out each time. */
static void test_a_server_that_only_answers_probes(void **state)
{
    unit_answers_t mute = {NULL, NULL, "VERSION 1\r\n", 0, 0, 0};
    memsess_server_t *server;
    int i;

    (void)state;
    open_pool();
    server = add_port(unit_faulty_start(&mute));
    start_pool();
    for (i = 0; i < 2; i++) {
        apr_time_t start = apr_time_now();

        assert_true(is_error(get_rv(server, "key")));
        assert_in_range(apr_time_now() - start, AT_LEAST, AT_MOST);
        unit_await(!memsess_server_is_down(server));
    }
}

static void test_closing_a_pool_does_not_wait(void **state)
{
    unit_memcached_t *m;
    memsess_server_t *server = one_server(&m);
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

    /* One without the key, one that is frozen and one that is gone. */
    unit_memcached_delete(m[1], "key1");
    unit_memcached_freeze(m[2]);
    unit_memcached_kill(m[3]);
    for (round = 0; round < 2; round++) {
        start = apr_time_now();
        memsess_pool_mget(gets, N, unit_pool);
        if (round == 0) {
            assert_in_range(apr_time_now() - start, AT_LEAST, AT_MOST);
            assert_true(is_error(gets[2].rv) && is_error(gets[3].rv));
        }
        else {
            assert_true(apr_time_now() - start < TIMEOUT);
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

static void test_mget_of_large_and_odd_values(void **state)
{
    enum { LARGE = 900000 };
    unit_memcached_t *a = unit_memcached(), *b = unit_memcached();
    char *value = apr_palloc(unit_pool, LARGE);
    memsess_get_t gets[2];
    unsigned i;

    (void)state;
    memset(gets, 0, sizeof(gets));
    open_pool();
    gets[0].server = add_port(a->port);
    gets[0].key = "key-a";
    gets[1].server = add_port(b->port);
    gets[1].key = "key-b";
    start_pool();
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

/* A value that cannot be of the key is no answer: the next one on that connection would be no
 * better. */
static void test_mget_checks_answers(void **state)
{
    unit_memcached_t *a = unit_memcached(), *b = unit_memcached();
    memsess_get_t gets[2];
    int n;

    (void)state;
    memset(gets, 0, sizeof(gets));
    open_pool();
    gets[0].server = add_port(a->port);
    gets[1].server = add_port(b->port);
    gets[0].key = "key-a";
    gets[1].key = "key-b";
    gets[0].check = gets[1].check = is_mine;
    gets[0].baton = gets[1].baton = "mine";
    start_pool();
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

/* -- A server with faults ---------------------------------------------------------------------- */

static const char *const broken_answers[] = {
    "", "\r\n", "\n", "ERROR\r\n", "SERVER_ERROR out of memory\r\n", "CLIENT_ERROR no\r\n",
    "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "STORED\r\n", "EN", "END", "END\n",
    "VALUE", "VALUE\r\n", "VALUE %k\r\n", "VALUE %k 0\r\n", "VALUE %k 0 \r\n", "VALUE %k 0 x\r\n",
    "VALUE %k 0 -1\r\n", "VALUE %k 0 -1\r\n\r\nEND\r\n", "VALUE %k 0 5\r\n", "VALUE %k 0 5\r\nhel",
    "VALUE %k 0 5\r\nhello", "VALUE %k 0 5\r\nhello\r\n", "VALUE %k 0 5\r\nhello\r\nEN",
    "VALUE %k 0 5\r\nhello\r\nVALUE", "VALUE %k 0 3\r\nhello\r\nEND\r\n",
    "VALUE %k 0 4294967295\r\nhello\r\nEND\r\n", "VALUE %k 0 4294967296\r\nhello\r\nEND\r\n",
    "VALUE %k 0 99999999999999999999\r\nhello\r\nEND\r\n",
    "VALUE %k 0 18446744073709551615\r\nhello\r\nEND\r\n",
    "VALUE %k 0 18446744073709551614\r\nhello\r\nEND\r\n", "VALUE %k 0 5\nhello\r\nEND\r\n",
    " VALUE %k 0 5\r\nhello\r\nEND\r\n", "\xff\xfe\x80\x01\r\n", "value %k 0 5\r\nhello\r\nEND\r\n",
};

/* None of these is an answer, and an error is never taken for a miss. */
static void broken_answers_to_get(int closing)
{
    unit_answers_t well = {"VALUE %k 0 2\r\nok\r\nEND\r\n", "STORED\r\n", "VERSION 1\r\n", 0, 0, 0};
    int port = unit_faulty_start(&well);
    memsess_server_conf_t conf = server_conf("127.0.0.1", port);
    memsess_server_t *server;
    unsigned i;

    conf.timeout = apr_time_from_msec(closing ? 2000 : 40);
    conf.retry = apr_time_from_msec(10);
    open_pool();
    server = add_conf(&conf);
    start_pool();
    for (i = 0; i < COUNT(broken_answers); i++) {
        unit_answers_t broken = well;
        apr_time_t start;
        apr_status_t rv;

        assert_holds(server, "key", "ok"); /* so that there is a connection */
        broken.get = broken_answers[i];
        broken.close = closing;
        unit_faulty_answers(&broken);
        start = apr_time_now();
        rv = get_rv(server, "key");
        if (!is_error(rv)) {
            print_error("answer %u is taken for one: %s\n", i, broken.get);
        }
        assert_true(is_error(rv));
        assert_true(apr_time_now() - start < AT_MOST);
        unit_faulty_answers(&well);
        unit_await(!memsess_server_is_down(server));
        assert_holds(server, "key", "ok");
    }
}

static void test_broken_answers_then_silence(void **state)
{
    (void)state;
    broken_answers_to_get(0);
}

static void test_broken_answers_then_the_end(void **state)
{
    (void)state;
    broken_answers_to_get(1);
}

static void test_broken_answers_to_set(void **state)
{
    static const char *const answers[] = {
        "", "\r\n", "ERROR\r\n", "SERVER_ERROR out of memory storing object\r\n",
        "CLIENT_ERROR bad data chunk\r\n", "STORE", "STORED", "STORED\n", "END\r\n", "\xff\r\n",
        "HTTP/1.1 400 Bad Request\r\n",
    };
    unit_answers_t well = {"END\r\n", "STORED\r\n", "VERSION 1\r\n", 0, 0, 0};
    int port = unit_faulty_start(&well), closing;
    memsess_server_conf_t conf = server_conf("127.0.0.1", port);
    memsess_server_t *server;
    unsigned i;

    (void)state;
    conf.timeout = apr_time_from_msec(150);
    conf.retry = apr_time_from_msec(10);
    open_pool();
    server = add_conf(&conf);
    start_pool();
    for (i = 0; i < COUNT(answers); i++) {
        for (closing = 0; closing < 2; closing++) {
            unit_answers_t broken = well;

            assert_int_equal(set(server, "key", "value"), APR_SUCCESS);
            broken.set = answers[i];
            broken.close = closing;
            unit_faulty_answers(&broken);
            if (!is_error(set(server, "key", "value"))) {
                print_error("answer %u is taken for one: %s\n", i, answers[i]);
                fail();
            }
            unit_faulty_answers(&well);
            unit_await(!memsess_server_is_down(server));
        }
    }
}

/* A server that is broken does not take the answer of another one with it. */
static void test_broken_answers_to_mget(void **state)
{
    unit_answers_t well = {"VALUE %k 0 2\r\nok\r\nEND\r\n", "STORED\r\n", "VERSION 1\r\n", 0, 0, 0};
    int port = unit_faulty_start(&well);
    memsess_server_conf_t conf = server_conf("127.0.0.1", port);
    unit_memcached_t *m = unit_memcached();
    memsess_get_t gets[2];
    unsigned i;

    (void)state;
    memset(gets, 0, sizeof(gets));
    conf.timeout = apr_time_from_msec(150);
    conf.retry = apr_time_from_msec(10);
    open_pool();
    gets[0].server = add_conf(&conf);
    gets[0].key = "key-faulty";
    gets[1].server = add_port(m->port);
    gets[1].key = "key-well";
    start_pool();
    unit_memcached_set(m, "key-well", "well", 4);
    for (i = 0; i < 2 * COUNT(broken_answers); i++) {
        unit_answers_t broken = well;

        memsess_pool_mget(gets, 2, unit_pool);
        assert_int_equal(gets[0].rv, APR_SUCCESS);
        assert_string_equal(gets[0].data, "ok");
        broken.get = broken_answers[i / 2];
        broken.close = i % 2;
        unit_faulty_answers(&broken);
        memsess_pool_mget(gets, 2, unit_pool);
        assert_int_equal(gets[1].rv, APR_SUCCESS);
        assert_string_equal(gets[1].data, "well");
        if (gets[0].rv == APR_SUCCESS) {
            /* A value is used where only what follows it is broken: a record tells for itself
             * whether it is whole. */
            assert_non_null(strstr(broken.get, "\r\nhello\r\n"));
            assert_memory_equal(gets[0].data, "hello", gets[0].len);
            assert_in_range(gets[0].len, 3, 5);
        }
        else if (!is_error(gets[0].rv)) {
            print_error("answer %u is taken for one: %s\n", i / 2, broken.get);
            fail();
        }
        unit_faulty_answers(&well);
        unit_await(!memsess_server_is_down(gets[0].server));
        assert_holds(gets[0].server, "key-faulty", "ok");
    }
}

static void test_server_that_closes_at_once(void **state)
{
    unit_answers_t closes = {NULL, NULL, NULL, 0, 0, 1};
    memsess_server_t *server;
    apr_time_t start = apr_time_now();

    (void)state;
    open_pool();
    server = add_port(unit_faulty_start(&closes));
    start_pool();
    assert_true(is_error(get_rv(server, "key")));
    assert_true(is_error(set(server, "key", "value")));
    assert_true(apr_time_now() - start < AT_MOST);
}

/* What does not answer as a memcached does is down, and the log says so: not every request pays. */
static void test_broken_answers_are_failures(void **state)
{
    static const char *const answers[] = {"", "ERROR\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"};
    unit_answers_t well = {"END\r\n", "STORED\r\n", "VERSION 1\r\n", 0, 0, 0};
    int port = unit_faulty_start(&well);
    unsigned i, what;

    (void)state;
    for (i = 0; i < COUNT(answers); i++) {
        for (what = 0; what < 4; what++) {
            unit_answers_t broken = {answers[i], answers[i], answers[i], 1, 0, 0};
            memsess_server_conf_t conf = server_conf("127.0.0.1", port);
            memsess_server_t *server;

            unit_log_clear();
            conf.retry = apr_time_from_sec(60);
            open_pool();
            server = add_conf(&conf);
            start_pool();
            unit_faulty_answers(&well);
            assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
            unit_faulty_answers(&broken);
            assert_true(is_error(what == 0   ? get_rv(server, "key")
                                 : what == 1 ? set(server, "key", "value")
                                 : what == 2 ? add(server, "key", "value")
                                             : memsess_server_delete(server, "key")));
            assert_true(memsess_server_is_down(server));
            assert_int_equal(unit_logged("is down"), 1);
            assert_int_equal(unit_logged(i ? "it answered with an error, or is no memcached"
                                           : "no answer within 300 ms (MemSessTimeout)"), 1);
            close_pool();
        }
    }
}

/* The kernel's time-outs are for each wait; that of an answer as a whole holds all the same. */
static void test_server_that_drips(void **state)
{
    unit_answers_t drips = {"VALUE %k 0 5\r\nhello\r\nEND\r\n", "STORED\r\n", "VERSION 1\r\n",
                            0, 150, 0};
    unit_memcached_t *m = unit_memcached();
    memsess_get_t gets[2];
    apr_time_t start;
    int i;

    (void)state;
    memset(gets, 0, sizeof(gets));
    open_pool();
    gets[0].server = add_port(unit_faulty_start(&drips));
    gets[0].key = "key-drips";
    gets[1].server = add_port(m->port);
    gets[1].key = "key-well";
    start_pool();
    unit_memcached_set(m, "key-well", "well", 4);
    for (i = 0; i < 2; i++) {
        start = apr_time_now();
        if (i == 0) {
            assert_true(is_error(get_rv(gets[0].server, "key-drips")));
        }
        else {
            memsess_pool_mget(gets, 2, unit_pool);
            assert_int_equal(gets[1].rv, APR_SUCCESS);
            assert_string_equal(gets[1].data, "well");
            assert_true(is_error(gets[0].rv));
        }
        assert_in_range(apr_time_now() - start, AT_LEAST, AT_MOST);
        assert_true(memsess_server_is_down(gets[0].server));
        drips.trickle = 0;
        unit_faulty_answers(&drips);
        unit_await(!memsess_server_is_down(gets[0].server));
        assert_holds(gets[0].server, "key-drips", "hello");
        drips.trickle = 150;
        unit_faulty_answers(&drips);
    }
}

/* Nor does a server that drips when it is probed keep the prober from the others. */
static void test_server_that_drips_when_probed(void **state)
{
    unit_answers_t drips = {NULL, NULL, NULL, 0, 60, 1};
    memsess_server_t *dripping, *other;
    unit_memcached_t *m = unit_memcached();
    char version[1000];
    apr_time_t start;
    int i;

    (void)state;
    memset(version, 'x', sizeof(version) - 1);
    version[sizeof(version) - 1] = '\0';
    drips.version = version;
    open_pool();
    dripping = add_port(unit_faulty_start(&drips));
    other = add_port(m->port);
    start_pool();
    assert_true(is_error(get_rv(dripping, "key")));
    drips.refuse = 0;
    unit_faulty_answers(&drips);
    unit_await(unit_faulty_asked() > 0);
    for (i = 0; i < 2; i++) {
        unit_memcached_kill(m);
        assert_true(is_error(get_rv(other, "key")));
        unit_memcached_start(m);
        start = apr_time_now();
        unit_await(!memsess_server_is_down(other));
        assert_true(apr_time_now() - start < apr_time_from_sec(6));
    }
    assert_true(memsess_server_is_down(dripping));
}

/* What a server had not got when its connection was given up does not reach it afterwards. */
static void test_what_timed_out_is_not_delivered_late(void **state)
{
    enum { LARGE = 900000 };
    char *value = apr_palloc(unit_pool, LARGE);
    memsess_server_t *server;
    unit_memcached_t *m;

    (void)state;
    memset(value, 'x', LARGE);
    server = one_server(&m);
    assert_int_equal(set(server, "key", "old"), APR_SUCCESS);
    unit_memcached_freeze(m);
    assert_true(is_error(memsess_server_set(server, "key", value, LARGE, 0)));
    unit_memcached_thaw(m);
    unit_await(!memsess_server_is_down(server));
    apr_sleep(300000); /* what should not come cannot be awaited */
    assert_holds(server, "key", "old");
}

typedef struct asker_t {
    pthread_t thread;
    memsess_get_t gets[2];
} asker_t;

static void *asker_main(void *data)
{
    asker_t *a = data;
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    memsess_pool_mget(a->gets, 2, p);
    apr_pool_destroy(p);
    return NULL;
}

/* A connection that apr_memcache closed may be another's descriptor by the time that it is due. */
static void test_only_its_own_descriptors_are_shut(void **state)
{
    enum { PAIRS = 6 };
    unit_answers_t answers = {"VALUE %k 0 5\r\nhello\r\nEND\r\n", "STORED\r\n",
                              "VERSION 1\r\n", 0, 0, 0};
    unit_memcached_t *m = unit_memcached();
    int strangers[PAIRS][2], i;
    asker_t asker;
    char c;

    (void)state;
    memset(&asker, 0, sizeof(asker));
    open_pool();
    asker.gets[0].server = add_port(unit_faulty_start(&answers));
    asker.gets[0].key = "key-drips";
    asker.gets[1].server = add_port(m->port);
    asker.gets[1].key = "key-gone";
    start_pool();
    memsess_pool_mget(asker.gets, 2, unit_pool);
    unit_memcached_kill(m);
    answers.trickle = 30;
    unit_faulty_answers(&answers);
    assert_int_equal(pthread_create(&asker.thread, NULL, asker_main, &asker), 0);
    apr_sleep(150000);
    for (i = 0; i < PAIRS; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, strangers[i]), 0);
    }
    pthread_join(asker.thread, NULL);
    apr_sleep(TIMEOUT);
    for (i = 0; i < 2 * PAIRS; i++) {
        int fd = strangers[i / 2][i % 2];

        assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), -1);
        assert_int_equal(errno, EAGAIN);
    }
    for (i = 0; i < 2 * PAIRS; i++) {
        close(strangers[i / 2][i % 2]);
    }
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

/* -- Connections ------------------------------------------------------------------------------- */

typedef struct worker_t {
    pthread_t thread;
    memsess_server_t *servers[2];
    int number, rounds;
    volatile int *unsteady;               /* the first server may fail now */
    int done, errors, wrong;              /* wrong: somebody else's data, or a loss */
} worker_t;

/* Keeps writing and reading its own keys. No cmocka here: it belongs to the main thread. */
static void *worker_main(void *data)
{
    worker_t *w = data;
    apr_pool_t *p;
    int i, s;

    apr_pool_create(&p, NULL);
    for (i = 0; i < w->rounds; i++) {
        memsess_get_t gets[2];
        char *value;

        apr_pool_clear(p);
        memset(gets, 0, sizeof(gets));
        value = apr_psprintf(p, "value of %d in round %d %0*d", w->number, i, i % 500, 0);
        for (s = 0; s < 2; s++) {
            apr_status_t rv;

            gets[s].server = w->servers[s];
            gets[s].key = apr_psprintf(p, "key-%d-%03d-%d", w->number, i % 100, s);
            rv = memsess_server_set(gets[s].server, gets[s].key, value, strlen(value), 0);
            if (rv != APR_SUCCESS) {
                w->errors++;
                w->wrong += s == 1 || !*w->unsteady;
            }
            else {
                rv = memsess_server_get(gets[s].server, gets[s].key, &gets[s].data, &gets[s].len,
                                        p);
                if (rv == APR_SUCCESS) {
                    w->wrong += gets[s].len != strlen(value) || strcmp(gets[s].data, value);
                }
                else {
                    w->errors++;
                    w->wrong += s == 1 || !*w->unsteady;
                }
            }
        }
        memsess_pool_mget(gets, 2, p);
        for (s = 0; s < 2; s++) {
            if (gets[s].rv == APR_SUCCESS) {
                const char *mine = apr_psprintf(p, "value of %d in round ", w->number);

                w->wrong += strncmp(gets[s].data, mine, strlen(mine)) != 0;
                w->wrong += s == 1 && strcmp(gets[s].data, value) != 0;
            }
            else {
                w->errors++;
                w->wrong += s == 1 || !*w->unsteady;
            }
        }
    }
    apr_pool_destroy(p);
    return NULL;
}

static void start_workers(worker_t *workers, int n, memsess_server_t *a, memsess_server_t *b,
                          int rounds, volatile int *unsteady)
{
    int i;

    for (i = 0; i < n; i++) {
        memset(&workers[i], 0, sizeof(workers[i]));
        workers[i].servers[0] = a;
        workers[i].servers[1] = b;
        workers[i].number = i;
        workers[i].rounds = rounds;
        workers[i].unsteady = unsteady;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]), 0);
    }
}

/* Waits for all of them before it judges any. */
static int join_workers(worker_t *workers, int n)
{
    int i, wrong = 0, errors = 0;

    for (i = 0; i < n; i++) {
        pthread_join(workers[i].thread, NULL);
        wrong += workers[i].wrong;
        errors += workers[i].errors;
    }
    assert_int_equal(wrong, 0);
    return errors;
}

static void test_threads(void **state)
{
    enum { THREADS = 4 };
    unit_memcached_t *a = unit_memcached(), *b = unit_memcached();
    memsess_server_conf_t conf;
    memsess_server_t *servers[2];
    worker_t workers[THREADS];
    volatile int unsteady = 0;

    (void)state;
    open_pool();
    conf = server_conf("127.0.0.1", a->port);
    conf.timeout = apr_time_from_sec(10);
    conf.max_conns = 2;
    servers[0] = add_conf(&conf);
    conf.port = (apr_port_t)b->port;
    servers[1] = add_conf(&conf);
    start_pool();
    start_workers(workers, THREADS, servers[0], servers[1], 400, &unsteady);
    assert_int_equal(join_workers(workers, THREADS), 0);
    /* Four threads shared two connections; a few are those of the test itself. */
    assert_true(unit_memcached_stat(a, "total_connections") < 2 + 6);
    assert_int_equal(unit_logged("is down"), 0);
}

static void test_threads_while_a_server_restarts(void **state)
{
    enum { THREADS = 3 };
    unit_memcached_t *a = unit_memcached(), *b = unit_memcached();
    memsess_server_conf_t conf;
    memsess_server_t *servers[2];
    worker_t workers[THREADS];
    volatile int unsteady = 1;
    int i;

    (void)state;
    open_pool();
    conf = server_conf("127.0.0.1", a->port);
    conf.timeout = apr_time_from_sec(10);
    conf.retry = apr_time_from_msec(10);
    servers[0] = add_conf(&conf);
    conf.port = (apr_port_t)b->port;
    servers[1] = add_conf(&conf);
    start_pool();
    start_workers(workers, THREADS, servers[0], servers[1], 800, &unsteady);
    for (i = 0; i < 4; i++) {
        apr_sleep(20000);
        unit_memcached_kill(a);
        apr_sleep(10000);
        unit_memcached_start(a);
    }
    join_workers(workers, THREADS);
    unit_await(!memsess_server_is_down(servers[0]));
    assert_int_equal(set(servers[0], "key", "value"), APR_SUCCESS);
    assert_holds(servers[0], "key", "value");
}

typedef struct waiter_t {
    pthread_t thread;
    memsess_server_t *server;
    apr_status_t rv;
    apr_interval_time_t took;
} waiter_t;

static void *waiter_main(void *data)
{
    waiter_t *w = data;
    apr_time_t start = apr_time_now();
    apr_pool_t *p;
    apr_size_t len;
    char *value;

    apr_pool_create(&p, NULL);
    w->rv = memsess_server_get(w->server, "key", &value, &len, p);
    w->took = apr_time_now() - start;
    apr_pool_destroy(p);
    return NULL;
}

/* Whoever finds all connections in use waits no longer than for an answer. */
static void test_waiting_for_a_connection_is_bounded(void **state)
{
    enum { THREADS = 5 };
    unit_memcached_t *m = unit_memcached();
    memsess_server_conf_t conf = server_conf("127.0.0.1", m->port);
    memsess_server_t *server;
    waiter_t waiters[THREADS];
    int i;

    (void)state;
    conf.max_conns = 1;
    open_pool();
    server = add_conf(&conf);
    start_pool();
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    unit_memcached_freeze(m);
    for (i = 0; i < THREADS; i++) {
        waiters[i].server = server;
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, waiter_main, &waiters[i]), 0);
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(waiters[i].thread, NULL);
    }
    for (i = 0; i < THREADS; i++) {
        assert_true(is_error(waiters[i].rv));
        assert_true(waiters[i].took < AT_MOST);
    }
    unit_memcached_thaw(m);
    unit_await(!memsess_server_is_down(server));
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
}

/* A request whose connection failed looks for another one: that it finds one to open, once the
 * server is known to be away, would cost it a second time-out. */
static void test_nothing_is_opened_to_a_server_that_is_down(void **state)
{
    memsess_server_conf_t conf = server_conf("127.0.0.1", 1);
    memsess_link_t link = {.conf = &conf};
    volatile apr_uint32_t down = 0;
    memsess_turns_t turns = {.n = 0};
    memsess_conn_t *c;

    (void)state;
    memsess_turns_init(&turns, &link, &down);
    assert_int_equal(memsess_turn_take(&c, &turns, 0), APR_SUCCESS);
    memsess_turn_give(&turns, c);
    down = 1;
    assert_int_equal(memsess_turn_take(&c, &turns, TIMEOUT), MEMSESS_DOWN);
    assert_null(c);
}

/* Whoever asks it to tell of itself, and goes on to use it, waits once. */
static void test_a_server_that_hangs_when_it_is_to_tell(void **state)
{
    unit_memcached_t *m;
    memsess_server_t *server = one_server(&m);

    (void)state;
    unit_memcached_freeze(m);
    assert_true(is_error(memsess_server_tell(server)));
    assert_immediately_down(server);
}

/* A server that is slow, but answers in time, serves all who wait for it, though all of them together
 * take longer than its time-out. */
static void test_waiting_for_a_connection_is_no_time_out(void **state)
{
    enum { THREADS = 10 };
    unit_answers_t slow = {"VALUE %k 0 20\r\n01234567890123456789\r\nEND\r\n", "STORED\r\n",
                           "VERSION 1\r\n", 0, 2, 0};
    memsess_server_conf_t conf = server_conf("127.0.0.1", unit_faulty_start(&slow));
    memsess_server_t *server;
    waiter_t waiters[THREADS];
    apr_time_t start = apr_time_now();
    int i;

    (void)state;
    conf.max_conns = 1;
    open_pool();
    server = add_conf(&conf);
    start_pool();
    for (i = 0; i < THREADS; i++) {
        waiters[i].server = server;
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, waiter_main, &waiters[i]), 0);
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(waiters[i].thread, NULL);
    }
    for (i = 0; i < THREADS; i++) {
        assert_int_equal(waiters[i].rv, APR_SUCCESS);
    }
    assert_true(apr_time_now() - start > 2 * TIMEOUT);
    assert_false(memsess_server_is_down(server));
    assert_int_equal(unit_faulty_accepted(), 1);
}

/* Two servers that are asked together, in either order, by more threads than they have connections:
 * who has one of the one waits for none of the other. */
static void test_reading_several_with_few_connections(void **state)
{
    enum { THREADS = 16 };
    unit_memcached_t *a = unit_memcached(), *b = unit_memcached();
    memsess_server_conf_t conf;
    memsess_server_t *servers[2];
    worker_t workers[THREADS];
    volatile int unsteady = 0;
    int n;

    (void)state;
    for (n = 1; n <= 4; n *= 2) {
        apr_time_t start = apr_time_now();

        open_pool();
        conf = server_conf("127.0.0.1", a->port);
        conf.max_conns = n;
        servers[0] = add_conf(&conf);
        conf.port = (apr_port_t)b->port;
        servers[1] = add_conf(&conf);
        start_pool();
        start_workers(workers, THREADS / 2, servers[0], servers[1], 100, &unsteady);
        start_workers(workers + THREADS / 2, THREADS / 2, servers[1], servers[0], 100, &unsteady);
        assert_int_equal(join_workers(workers, THREADS), 0);
        assert_int_equal(unit_logged("is down"), 0);
        assert_true(apr_time_now() - start < apr_time_from_sec(10));
        close_pool();
    }
}

/* -- A server at its limit of connections ------------------------------------------------------ */

/* Connections that memcached has accepted, all that it had left. */
static int take_all(const unit_memcached_t *m, int *taken, int most)
{
    int n, got = 1;

    for (n = 0; n < most && got; n++) {
        char answer[100];

        taken[n] = unit_connect(m);
        assert_true(taken[n] >= 0);
        assert_int_equal(send(taken[n], "version\r\n", 9, MSG_NOSIGNAL), 9);
        got = recv(taken[n], answer, sizeof(answer), 0) > 7 && !memcmp(answer, "VERSION", 7);
    }
    assert_false(got);
    return n;
}

static void leave_all(const int *taken, int n)
{
    while (n) {
        close(taken[--n]);
    }
}

static unit_memcached_t *limited_memcached(void)
{
    unit_memcached_t *m = unit_memcached();

    unit_memcached_kill(m);
    m->limit = "30"; /* descriptors: ten connections or more */
    unit_memcached_start(m);
    return m;
}

/* Connections that there are go on serving, for all, and the server is not down. */
static void test_a_full_server_serves_those_it_has_accepted(void **state)
{
    enum { THREADS = 16 };
    unit_memcached_t *m = limited_memcached(), *other = unit_memcached();
    memsess_server_conf_t conf = server_conf("127.0.0.1", m->port);
    memsess_server_t *server, *beside;
    worker_t workers[THREADS];
    volatile int unsteady = 0;
    int taken[40], n;

    (void)state;
    conf.max_conns = 6;
    conf.idle = apr_time_from_msec(10); /* the last one is kept all the same */
    open_pool();
    server = add_conf(&conf);
    beside = add_port(other->port);
    start_pool();
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    n = take_all(m, taken, COUNT(taken));
    start_workers(workers, THREADS, server, beside, 50, &unsteady);
    assert_int_equal(join_workers(workers, THREADS), 0);
    unit_await(unit_logged("accepts no more connections"));
    apr_sleep(100000);
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    assert_false(memsess_server_is_down(server));
    leave_all(taken, n);
    /* Then it has more of them again. */
    unit_await((start_workers(workers, THREADS, server, beside, 20, &unsteady),
                join_workers(workers, THREADS), unit_memcached_stat(m, "curr_connections") > 4));
    assert_int_equal(unit_logged("is down"), 0);
    assert_int_equal(unit_logged("accepts no more connections"), 1);
}

/* Who has none is told so, and gets one as soon as there is one; it is kept. */
static void test_a_full_server_and_no_connection(void **state)
{
    unit_memcached_t *m = limited_memcached();
    memsess_server_conf_t conf = server_conf("127.0.0.1", m->port);
    memsess_server_t *server;
    int taken[40], n = take_all(m, taken, COUNT(taken));

    (void)state;
    conf.max_conns = 4;
    open_pool();
    server = add_conf(&conf);
    start_pool();
    assert_int_equal(get_rv(server, "key"), MEMSESS_TOO_MANY);
    assert_int_equal(get_rv(server, "key"), MEMSESS_DOWN);
    assert_int_equal(unit_logged("is down"), 0);
    leave_all(taken, n);
    unit_await(!memsess_server_is_down(server));
    n = take_all(m, taken, COUNT(taken));
    assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
    assert_int_equal(set(server, "key", "value"), APR_SUCCESS);
    leave_all(taken, n);
}

static void test_unused_connections_are_not_used_again(void **state)
{
    unit_memcached_t *m = unit_memcached();
    memsess_server_conf_t conf = server_conf("127.0.0.1", m->port);
    memsess_server_t *server;
    long before;
    int i;

    (void)state;
    conf.idle = apr_time_from_msec(20);
    open_pool();
    server = add_conf(&conf);
    start_pool();
    before = unit_memcached_stat(m, "total_connections");
    for (i = 0; i < 3; i++) {
        assert_int_equal(get_rv(server, "key"), MEMSESS_ABSENT);
        apr_sleep(60000);
    }
    assert_true(unit_memcached_stat(m, "total_connections") >= before + 3 + 1);
    assert_int_equal(unit_logged("is down"), 0);
}

static void test_no_descriptor_leaks(void **state)
{
    unit_answers_t broken = {"ERROR\r\n", "ERROR\r\n", "VERSION 1\r\n", 0, 0, 0};
    int before = unit_descriptors(), during, i;
    unit_memcached_t *m = unit_memcached();
    memsess_server_t *server, *faulty, *nobody;
    memsess_get_t gets[3];
    memsess_server_conf_t conf;

    (void)state;
    memset(gets, 0, sizeof(gets));
    open_pool();
    server = add_port(m->port);
    conf = server_conf("127.0.0.1", unit_faulty_start(&broken));
    faulty = add_conf(&conf);
    conf = server_conf("127.0.0.1", unit_free_port(AF_INET));
    conf.retry = apr_time_from_msec(10);
    nobody = add_conf(&conf);
    start_pool();
    gets[0].server = server;
    gets[1].server = faulty;
    gets[2].server = nobody;
    gets[0].key = "key-0";
    gets[1].key = "key-1";
    gets[2].key = "key-2";

    assert_int_equal(set(server, "key-0", "value"), APR_SUCCESS);
    during = unit_descriptors();
    for (i = 0; i < 1000; i++) {
        apr_pool_t *p;

        apr_pool_create(&p, unit_pool);
        assert_holds(server, "key-0", "value");
        if (i % 10 == 0) {
            assert_true(is_error(get_rv(faulty, "key")));
            assert_true(is_error(set(faulty, "key", "value")));
            assert_true(is_error(get_rv(nobody, "key")));
            memsess_pool_mget(gets, 3, p);
            assert_int_equal(gets[0].rv, APR_SUCCESS);
            assert_true(is_error(gets[1].rv));
            assert_true(is_error(gets[2].rv));
        }
        if (i % 250 == 0) {
            unit_memcached_freeze(m);
            assert_true(is_error(get_rv(server, "key-0")));
            unit_memcached_thaw(m);
            unit_await(!memsess_server_is_down(server));
        }
        apr_pool_destroy(p);
    }
    unit_faulty_stop();
    /* A connection or two more or less, the prober's own at work among them; not hundreds. */
    assert_true(unit_descriptors() <= during + 4);
    close_pool();
    unit_servers_stop();
    assert_int_equal(unit_descriptors(), before);
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

/* Who does not know the password reads and writes nothing, and is told so, not "absent". */
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
        assert_int_equal(unit_logged("it wants a user and password (MemSessServerAuth)"), 1);
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
        POOL_TEST(test_get_and_set),
        POOL_TEST(test_add_and_delete),
        POOL_TEST(test_replace),
        POOL_TEST(test_values_that_look_like_the_protocol),
        POOL_TEST(test_values_of_many_sizes),
        POOL_TEST(test_expiry_is_passed_on),
        POOL_TEST(test_a_value_that_is_too_large_is_refused),
        POOL_TEST(test_what_is_too_large_is_told_to_the_byte),
        POOL_TEST(test_a_server_out_of_memory_refuses),
        POOL_TEST(test_a_refusal_without_a_reason),
        POOL_TEST(test_what_a_server_tells),
        POOL_TEST(test_a_server_that_does_not_tell),
        POOL_TEST(test_ipv6),
        POOL_TEST(test_connecting_needs_no_listener),
        POOL_TEST(test_unix_socket),
        POOL_TEST(test_host_name),
        POOL_TEST(test_host_name_that_does_not_exist),
        POOL_TEST(test_host_name_whose_look_up_hangs),
        POOL_TEST(test_names_choose_alike),
        POOL_TEST(test_names_that_are_looked_up_within_a_time),
        POOL_TEST(test_a_name_that_moves_is_followed),
        POOL_TEST(test_restart_costs_no_operation),
        POOL_TEST(test_restart_costs_no_mget),
        POOL_TEST(test_frozen_server_with_a_connection),
        POOL_TEST(test_frozen_server_without_a_connection),
        POOL_TEST(test_killed_server),
        POOL_TEST(test_when_a_server_came_back),
        POOL_TEST(test_a_server_came_back_that_does_not_tell_its_time),
        POOL_TEST(test_the_clock_is_set_while_a_server_is_down),
        POOL_TEST(test_the_clock_is_set_while_a_server_answers),
        POOL_TEST(test_the_clock_is_set_while_a_name_is_looked_up),
        POOL_TEST(test_what_the_prober_calls_keeps_no_server_away),
        POOL_TEST(test_threads_that_cannot_be_had),
        POOL_TEST(test_one_prober),
        POOL_TEST(test_a_server_that_only_answers_probes),
        POOL_TEST(test_closing_a_pool_does_not_wait),
        POOL_TEST(test_a_pool_that_was_never_started_or_used),
        POOL_TEST(test_mget),
        POOL_TEST(test_mget_of_one_and_of_none),
        POOL_TEST(test_mget_checks_answers),
        POOL_TEST(test_mget_of_large_and_odd_values),
        POOL_TEST(test_broken_answers_then_silence),
        POOL_TEST(test_broken_answers_then_the_end),
        POOL_TEST(test_broken_answers_to_set),
        POOL_TEST(test_broken_answers_to_mget),
        POOL_TEST(test_server_that_closes_at_once),
        POOL_TEST(test_broken_answers_are_failures),
        POOL_TEST(test_server_that_drips),
        POOL_TEST(test_server_that_drips_when_probed),
        POOL_TEST(test_what_timed_out_is_not_delivered_late),
        POOL_TEST(test_only_its_own_descriptors_are_shut),
        POOL_TEST(test_mget_of_keys_that_begin_alike),
        POOL_TEST(test_threads),
        POOL_TEST(test_threads_while_a_server_restarts),
        POOL_TEST(test_waiting_for_a_connection_is_bounded),
        POOL_TEST(test_nothing_is_opened_to_a_server_that_is_down),
        POOL_TEST(test_a_server_that_hangs_when_it_is_to_tell),
        POOL_TEST(test_waiting_for_a_connection_is_no_time_out),
        POOL_TEST(test_reading_several_with_few_connections),
        POOL_TEST(test_a_full_server_serves_those_it_has_accepted),
        POOL_TEST(test_a_full_server_and_no_connection),
        POOL_TEST(test_unused_connections_are_not_used_again),
        POOL_TEST(test_no_descriptor_leaks),
        POOL_TEST(test_authentication),
        POOL_TEST(test_authentication_that_fails),
    };

    unit_begin();
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
