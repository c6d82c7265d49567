/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the unit tests share: cmocka, an APR pool that lives for one test, random numbers that are
 * the same in every run, memory that ends at a page which cannot be read, and the log.
 */
#ifndef UNIT_H
#define UNIT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
/* Since cmocka 2.0 assert_in_range is deprecated; cmocka 1.1 has nothing in its place. */
#define CMOCKA_DISABLE_DEPRECATION_WARNINGS
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "apr_general.h"
#include "apr_pools.h"
#include "apr_strings.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "session/session.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The pool of the current test, made before it and destroyed after it. */
static apr_pool_t *unit_pool;

/* -- Numbers: xorshift64*, with the same seed for every test ----------------------------------- */

static apr_uint64_t unit_seed;

static inline apr_uint64_t unit_random(void)
{
    unit_seed ^= unit_seed >> 12;
    unit_seed ^= unit_seed << 25;
    unit_seed ^= unit_seed >> 27;
    return unit_seed * APR_UINT64_C(2685821657736338717);
}

/* A number from 0 to n - 1. */
static inline unsigned unit_below(unsigned n)
{
    return (unsigned)((unit_random() >> 33) % n);
}

static inline void unit_random_key(memsess_key_t *key)
{
    unsigned i;

    for (i = 0; i < sizeof(key->digest); i++) {
        key->digest[i] = (unsigned char)unit_below(256);
        key->material[i] = (unsigned char)unit_below(256);
    }
}

/* -- The clocks, as this process and memcacheds read them from the system ---------------------- */

#include "../preload/clock.c"

static int unit_clock_fd;
static volatile int64_t *unit_passed, unit_ahead;

static inline void unit_clocks_open(void)
{
    void *memory;

    unit_clock_fd = memfd_create("clock", MFD_CLOEXEC);
    assert_true(unit_clock_fd > 0 && ftruncate(unit_clock_fd, sizeof(*unit_passed)) == 0);
    memory = mmap(NULL, sizeof(*unit_passed), PROT_READ | PROT_WRITE, MAP_SHARED, unit_clock_fd, 0);
    assert_true(memory != MAP_FAILED);
    clock_passed = unit_passed = memory;
    clock_ahead = &unit_ahead;
}

/* Sets the wall clock ahead of the right time by this much, until the end of the test. */
static inline void unit_set_wall(apr_interval_time_t by)
{
    unit_ahead = by;
}

/* Moves both clocks on by this much, for code that reads them, waits for a condition or polls. */
static inline void unit_clocks_pass(apr_interval_time_t by)
{
    *unit_passed += by;
}

/* The real monotonic time, which no test sets. */
static inline apr_time_t unit_machines_now(void)
{
    struct timespec now;

    machines_clock(CLOCK_MONOTONIC, &now);
    return apr_time_make(now.tv_sec, now.tv_nsec / 1000);
}

/* -- Memory: reading one byte past the end is a crash ------------------------------------------ */

#define UNIT_GUARDED (1 << 22)

/* A copy that ends where a forbidden page begins; it is valid until the next copy. */
static inline char *unit_guard_copy(const char *data, size_t len)
{
    static char *end;
    char *copy;

    if (!end) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        char *map = mmap(NULL, UNIT_GUARDED + page, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        assert_true(map != MAP_FAILED);
        end = map + UNIT_GUARDED;
        assert_int_equal(mprotect(end, page, PROT_NONE), 0);
    }
    assert_true(len <= UNIT_GUARDED);
    copy = end - len;
    if (len) {
        memcpy(copy, data, len);
    }
    return copy;
}

static inline char *unit_guard_string(const char *text)
{
    return unit_guard_copy(text, strlen(text) + 1);
}

/* -- Secrets ----------------------------------------------------------------------------------- */

/* Adds a secret of 32 such bytes. */
static inline void unit_secret_add(memsess_secrets_t *secrets, int byte, const char *ns)
{
    memsess_raw_secret_t raw = {.len = 32};

    memset(raw.bytes, byte, raw.len);
    assert_int_equal(memsess_secrets_add(secrets, &raw, ns), APR_SUCCESS);
}

/* -- The log: all messages since the test began, one a line ------------------------------------ */

static pthread_mutex_t unit_log_lock = PTHREAD_MUTEX_INITIALIZER;
static char unit_log_text[65536];

static inline void unit_log_sink(memsess_log_level_t level, apr_status_t rv, const char *message)
{
    size_t len;

    (void)rv;
    pthread_mutex_lock(&unit_log_lock);
    len = strlen(unit_log_text);
    snprintf(unit_log_text + len, sizeof(unit_log_text) - len, "%d %s\n", (int)level, message);
    pthread_mutex_unlock(&unit_log_lock);
}

/* How many messages contain this text. */
static inline int unit_logged(const char *text)
{
    const char *at;
    int n = 0;

    pthread_mutex_lock(&unit_log_lock);
    for (at = strstr(unit_log_text, text); at; at = strstr(at + 1, text)) {
        n++;
    }
    pthread_mutex_unlock(&unit_log_lock);
    return n;
}

static inline void unit_log_clear(void)
{
    pthread_mutex_lock(&unit_log_lock);
    unit_log_text[0] = '\0';
    pthread_mutex_unlock(&unit_log_lock);
}

/* -- Starting ---------------------------------------------------------------------------------- */

static inline int unit_setup(void **state)
{
    (void)state;
    unit_seed = APR_UINT64_C(0x9e3779b97f4a7c15);
    unit_log_clear();
    unit_set_wall(0);
    return apr_pool_create(&unit_pool, NULL) == APR_SUCCESS ? 0 : -1;
}

static inline int unit_teardown(void **state)
{
    (void)state;
    apr_pool_destroy(unit_pool);
    return 0;
}

/* A test with unit_setup before it and unit_teardown after it. */
#define UNIT_TEST(test) cmocka_unit_test_setup_teardown(test, unit_setup, unit_teardown)

static inline void unit_begin(void)
{
    apr_pool_t *process;

    unit_clocks_open();
    apr_initialize();
    atexit(apr_terminate);
    /* httpd ignores this signal, too: writing to a closed connection is then only an error. */
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    memsess_log_sink = unit_log_sink;
    apr_pool_create(&process, NULL);
    if (memsess_core_init(process) != APR_SUCCESS) {
        fail_msg("memsess_core_init");
    }
}

#endif
