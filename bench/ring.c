/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Placement by memsess_ring.c, simulated: ring KEYS SERVERS...
 *
 * For each number of servers, over as many keys as were asked for (fewer where
 * they would take too long): the emptiest and the fullest server's share of the
 * first copies, and of both copies, as a multiple of the mean; how many keys have
 * another first server when one joins or leaves, as a multiple of the least
 * possible, and how many of those moved between servers that stayed; nanoseconds for one look-up.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apr_general.h"
#include "apr_strings.h"
#include "memsess_ring.h"

#define SCORES_MAX 1e8 /* keys times servers */

/* Any bytes that are well spread do for a digest. */
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

static void simulate(unsigned n, long keys, apr_pool_t *p)
{
    memsess_node_t *nodes = apr_pcalloc(p, sizeof(*nodes) * (n + 1));
    long *first = apr_pcalloc(p, sizeof(long) * n), *both = apr_pcalloc(p, sizeof(long) * n);
    long k, moved = 0, astray = 0;
    double least, most, least_both, most_both;
    clock_t begun, took;
    unsigned i;

    for (i = 0; i <= n; i++) {
        memsess_node_init(&nodes[i], apr_psprintf(p, "10.0.%u.%u:11211", i / 250, i % 250 + 1), 1);
    }
    keys = (double)keys * n > SCORES_MAX ? (long)(SCORES_MAX / n) : keys;
    begun = clock();
    for (k = 0; k < keys; k++) {
        unsigned order[2] = {0, 0};
        memsess_key_t key;

        make_key(&key, (apr_uint64_t)k);
        memsess_ring_order(nodes, n, &key, order, 2);
        first[order[0]]++;
        both[order[0]]++;
        both[order[1]]++;
    }
    took = clock() - begun;
    /* One joins; read the other way round, it leaves. */
    for (k = 0; k < keys; k++) {
        unsigned before, after;
        memsess_key_t key;

        make_key(&key, (apr_uint64_t)k);
        memsess_ring_order(nodes, n, &key, &before, 1);
        memsess_ring_order(nodes, n + 1, &key, &after, 1);
        moved += before != after;
        astray += before != after && after != n;
    }
    spread(first, n, (double)keys / n, &least, &most);
    spread(both, n, 2.0 * (double)keys / n, &least_both, &most_both);
    printf("%8u %9ld %8.3f %8.3f %8.3f %8.3f %9.3f %7ld %9.0f\n", n, keys, least, most,
           least_both, most_both, (double)moved / ((double)keys / (n + 1)), astray,
           1e9 * (double)took / CLOCKS_PER_SEC / (double)keys);
    fflush(stdout);
}

int main(int argc, const char *const *argv)
{
    apr_pool_t *p;
    int i;

    apr_app_initialize(&argc, &argv, NULL);
    apr_pool_create(&p, NULL);
    printf("%8s %9s %17s %17s %9s %7s %9s\n", "servers", "keys", "first copies", "both copies",
           "moved /", "astray", "ns for");
    printf("%8s %9s %8s %8s %8s %8s %9s %7s %9s\n", "", "", "least", "most", "least", "most",
           "least", "", "a look-up");
    for (i = 2; i < argc; i++) {
        simulate((unsigned)atoi(argv[i]), atol(argv[1]), p);
    }
    apr_terminate();
    return 0;
}
