/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Placement by store/ring.c, simulated: ring KEYS SERVERS...
 *
 * For each number of servers it prints the share of the emptiest and of the fullest server, of the
 * first copies and of both copies, as a multiple of the mean; how many keys have another first server
 * when one joins or leaves, as a multiple of the least possible; and the nanoseconds of one look-up.
 * For some keys (all, if there are few servers) it makes both orders, with and without that server,
 * and prints for how many the rest of the order changed. It uses a thread for each processor.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "apr_general.h"
#include "apr_strings.h"
#include "apr_thread_proc.h"
#include "store/ring.h"

#define SCORES_MAX 3e7 /* keys times servers, of those whose orders are compared */
#define THREADS_MAX 64

/* A part of the keys: all of the same remainder. The last node is the one that joins. */
typedef struct {
    const memsess_node_t *nodes;
    unsigned n; /* without the last */
    long keys, remainder, step;
    long compared; /* of these keys, from the first on */
    long *first, *both, moved, astray;
} part_t;

/* Any bytes that are well spread will do as a digest. */
static void make_key(memsess_key_t *key, apr_uint64_t number)
{
    size_t i;

    for (i = 0; i < sizeof(key->digest); i += 8) {
        apr_uint64_t z = number * 4 + i / 8;

        z = (z + 1) * 0x9e3779b97f4a7c15ULL;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        z ^= z >> 31;
        memcpy(key->digest + i, &z, 8);
    }
}

static void spread(const long *count, unsigned n, double mean, double *least, double *most)
{
    unsigned i;

    *least = *most = (double)count[0];
    for (i = 1; i < n; i++) {
        *least = (double)count[i] < *least ? (double)count[i] : *least;
        *most = (double)count[i] > *most ? (double)count[i] : *most;
    }
    *least /= mean;
    *most /= mean;
}

static int is_astray(const part_t *part, const memsess_key_t *key, const unsigned *rest)
{
    unsigned order[2] = {0, 0};

    memsess_ring_order(part->nodes, part->n, key, order, 2);
    return order[0] != rest[0] || order[1] != rest[1];
}

static void *APR_THREAD_FUNC count(apr_thread_t *thread, void *baton)
{
    part_t *part = baton;
    long k;

    (void)thread;
    for (k = part->remainder; k < part->keys; k += part->step) {
        unsigned order[3] = {0, 0, 0}, rest[2], i, found = 0;
        memsess_key_t key;

        make_key(&key, (apr_uint64_t)k);
        memsess_ring_order(part->nodes, part->n + 1, &key, order, 3);
        for (i = 0; i < 3 && found < 2; i++) {
            if (order[i] != part->n) {
                rest[found++] = order[i];
            }
        }
        part->moved += order[0] == part->n;
        part->first[rest[0]]++;
        part->both[rest[0]]++;
        part->both[rest[1]]++;
        part->astray += k < part->compared && is_astray(part, &key, rest);
    }
    return NULL;
}

static void add(part_t *sum, const part_t *part)
{
    unsigned i;

    for (i = 0; i < sum->n; i++) {
        sum->first[i] += part->first[i];
        sum->both[i] += part->both[i];
    }
    sum->moved += part->moved;
    sum->astray += part->astray;
}

static double look_up_ns(const part_t *part)
{
    long k, count = part->compared / 10 + 1;
    clock_t begun = clock();

    for (k = 0; k < count; k++) {
        unsigned order[2];
        memsess_key_t key;

        make_key(&key, (apr_uint64_t)k);
        memsess_ring_order(part->nodes, part->n, &key, order, 2);
    }
    return 1e9 * (double)(clock() - begun) / CLOCKS_PER_SEC / (double)count;
}

static void report(const part_t *sum)
{
    double mean = (double)sum->keys / sum->n, least, most, least_both, most_both;

    spread(sum->first, sum->n, mean, &least, &most);
    spread(sum->both, sum->n, 2 * mean, &least_both, &most_both);
    printf("%8u %9ld %8.3f %8.3f %8.3f %8.3f %9.3f %7ld %9ld %9.0f\n", sum->n, sum->keys, least,
           most, least_both, most_both, (double)sum->moved / ((double)sum->keys / (sum->n + 1)),
           sum->astray, sum->compared, look_up_ns(sum));
    fflush(stdout);
}

static void simulate(unsigned n, long keys, apr_pool_t *p)
{
    long threads = sysconf(_SC_NPROCESSORS_ONLN), t;
    memsess_node_t *nodes = apr_pcalloc(p, sizeof(*nodes) * (n + 1));
    part_t parts[THREADS_MAX];
    apr_thread_t *thread[THREADS_MAX];
    apr_status_t rv;
    unsigned i;

    threads = threads < 1 ? 1 : threads > THREADS_MAX ? THREADS_MAX : threads;
    for (i = 0; i <= n; i++) {
        memsess_node_init(&nodes[i], apr_psprintf(p, "10.0.%u.%u:11211", i / 250, i % 250 + 1), 1);
    }
    for (t = 0; t < threads; t++) {
        part_t part = {nodes, n, keys, t, threads, keys, NULL, NULL, 0, 0};

        part.compared = (double)keys * n > SCORES_MAX ? (long)(SCORES_MAX / n) : keys;
        part.first = apr_pcalloc(p, sizeof(long) * n);
        part.both = apr_pcalloc(p, sizeof(long) * n);
        parts[t] = part;
        if (apr_thread_create(&thread[t], NULL, count, &parts[t], p) != APR_SUCCESS) {
            exit(1);
        }
    }
    for (t = 0; t < threads; t++) {
        apr_thread_join(&rv, thread[t]);
        if (t) {
            add(&parts[0], &parts[t]);
        }
    }
    report(&parts[0]);
}

int main(int argc, const char *const *argv)
{
    apr_pool_t *p;
    int i;

    apr_app_initialize(&argc, &argv, NULL);
    apr_pool_create(&p, NULL);
    printf("%8s %9s %17s %17s %9s %17s %9s\n", "servers", "keys", "first copies", "both copies",
           "moved /", "changed besides", "ns for");
    printf("%8s %9s %8s %8s %8s %8s %9s %7s %9s %9s\n", "", "", "least", "most", "least", "most",
           "least", "", "of", "a look-up");
    for (i = 2; i < argc; i++) {
        simulate((unsigned)atoi(argv[i]), atol(argv[1]), p);
    }
    apr_terminate();
    return 0;
}
