/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * How many sessions session/cache.c holds: entries MEGABYTES BYTES...
 *
 * For each size of a session's attributes, a cache of so many megabytes gets sessions until it has
 * long been full. Printed are the bytes that each takes of the ring, how many are found, and the
 * memory of the cache for each of these. For small sessions that is more: the index has a slot for
 * every 512 bytes, and if four sessions share a bucket, a fifth one has no place.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apr_general.h"
#include "apr_strings.h"
#include "session/cache.h"
#include "session/record.h"

#define ATTRIBUTES 10
#define ROUNDS 3 /* how often the memory is filled */

static memsess_session_t *session_of(apr_size_t bytes, apr_pool_t *p)
{
    memsess_session_t *session;
    int i;

    if (memsess_session_make(&session, apr_time_now(), p) != APR_SUCCESS) {
        exit(1);
    }
    session->revision = 1;
    for (i = 0; i < ATTRIBUTES; i++) {
        memsess_attr_t attr = {.name = apr_psprintf(p, "a%d", i), .len = bytes / ATTRIBUTES - 2};
        char *value = apr_pcalloc(p, attr.len + 1);

        memset(value, 'x', attr.len);
        attr.value = value;
        APR_ARRAY_PUSH(session->attrs, memsess_attr_t) = attr;
    }
    return session;
}

static void key_of(memsess_key_t *key, unsigned n, apr_pool_t *p)
{
    if (memsess_key_make(key, "", apr_psprintf(p, "session-%u", n)) != APR_SUCCESS) {
        exit(1);
    }
}

static void fill(apr_size_t memory, apr_size_t bytes, apr_pool_t *parent)
{
    unsigned n, count = (unsigned)(ROUNDS * memory / bytes), found = 0;
    memsess_session_t *session = session_of(bytes, parent), *got;
    memsess_cache_t *cache;
    memsess_key_t key;
    apr_size_t len;
    apr_time_t read_at;
    apr_pool_t *p;
    char *record;

    apr_pool_create(&p, parent);
    if (memsess_cache_create(&cache, memory, apr_time_from_sec(3600), parent) != APR_SUCCESS) {
        exit(1);
    }
    for (n = 0; n < count; n++) {
        key_of(&key, n, p);
        memsess_cache_put(cache, &key, session, apr_time_now(), p);
        apr_pool_clear(p);
    }
    for (n = 0; n < count; n++) {
        key_of(&key, n, p);
        found += (unsigned)memsess_cache_get(cache, &key, 1, &got, &read_at, p);
        apr_pool_clear(p);
    }
    key_of(&key, 0, p);
    memsess_record_encode(session, &key, 0, &record, &len, p);
    printf("%9lu %9lu %9u %9.0f\n", (unsigned long)bytes, (unsigned long)len, found,
           (double)memory / found);
    fflush(stdout);
}

int main(int argc, const char *const *argv)
{
    apr_pool_t *p, *each;
    int i;

    apr_app_initialize(&argc, &argv, NULL);
    apr_pool_create(&p, NULL);
    if (argc < 3 || memsess_core_init(p) != APR_SUCCESS) {
        return 1;
    }
    printf("%9s %9s %9s %9s\n", "session", "record", "found", "memory");
    for (i = 2; i < argc; i++) {
        apr_pool_create(&each, p);
        fill((apr_size_t)atol(argv[1]) * 1024 * 1024, (apr_size_t)atol(argv[i]), each);
        apr_pool_destroy(each);
    }
    apr_terminate();
    return 0;
}
