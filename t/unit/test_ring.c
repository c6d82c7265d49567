/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Placement: each key's own order of servers. */

#include "unit.h"

#include <math.h>

#include "store/ring.h"

#define NODES_MAX 100

static const char *node_name(unsigned i)
{
    return apr_psprintf(unit_pool, "10.0.%u.%u:11211", i / 10, i % 10);
}

/* Servers first to first + n - 1 of an endless list, all of the same weight. */
static memsess_node_t *make_nodes(unsigned first, unsigned n, unsigned weight)
{
    memsess_node_t *nodes = apr_pcalloc(unit_pool, sizeof(*nodes) * n);
    unsigned i;

    for (i = 0; i < n; i++) {
        assert_int_equal(memsess_node_init(&nodes[i], node_name(first + i), weight), APR_SUCCESS);
    }
    return nodes;
}

static void shuffle(memsess_node_t *nodes, unsigned n)
{
    while (n > 1) {
        unsigned other = unit_below(n--);
        memsess_node_t node = nodes[n];

        nodes[n] = nodes[other];
        nodes[other] = node;
    }
}

static const char *home(const memsess_node_t *nodes, unsigned n, const memsess_key_t *key)
{
    unsigned at;

    assert_int_equal(memsess_ring_order(nodes, n, key, &at, 1), 1);
    assert_true(at < n);
    return nodes[at].name;
}

static void test_node_derives_from_name(void **state)
{
    memsess_node_t a, again, heavier, b;

    (void)state;
    memset(&a, 0x55, sizeof(a));
    memset(&again, 0xaa, sizeof(again));
    assert_int_equal(memsess_node_init(&a, "cache1", 3), APR_SUCCESS);
    assert_int_equal(memsess_node_init(&again, apr_pstrdup(unit_pool, "cache1"), 3), APR_SUCCESS);
    assert_int_equal(memsess_node_init(&heavier, "cache1", 7), APR_SUCCESS);
    assert_int_equal(memsess_node_init(&b, "cache2", 3), APR_SUCCESS);

    assert_string_equal(a.name, "cache1");
    assert_int_equal(a.weight, 3);
    assert_int_equal(strlen(a.tag), MEMSESS_TAG_LEN);
    assert_int_equal(strspn(a.tag, "ABCDEFGHIJKLMNOPQRSTUVWXYZ" "abcdefghijklmnopqrstuvwxyz"
                                   "0123456789-_"), MEMSESS_TAG_LEN);
    assert_string_equal(a.tag, again.tag);
    assert_memory_equal(a.seed, again.seed, sizeof(a.seed));
    assert_string_equal(a.tag, heavier.tag);
    assert_memory_equal(a.seed, heavier.seed, sizeof(a.seed));
    assert_string_not_equal(a.tag, b.tag);
    assert_memory_not_equal(a.seed, b.seed, sizeof(a.seed));
}

static void test_tags_of_a_large_pool_differ(void **state)
{
    memsess_node_t *nodes = make_nodes(0, NODES_MAX, 1);
    unsigned i, j;

    (void)state;
    for (i = 0; i < NODES_MAX; i++) {
        for (j = 0; j < i; j++) {
            assert_string_not_equal(nodes[i].tag, nodes[j].tag);
            assert_memory_not_equal(nodes[i].seed, nodes[j].seed, sizeof(nodes[i].seed));
        }
    }
}

/* Members of different releases share a pool, so placements must never change. */
static void test_placement_is_the_same_for_ever(void **state)
{
    static const char *const expected[] = {"cache3 cache1 cache2", "cache2 cache3 cache1",
                                           "cache2 cache1 cache3", "cache3 cache2 cache1",
                                           "cache3 cache1 cache2", "cache2 cache3 cache1"};
    memsess_node_t nodes[3];
    memsess_key_t key;
    unsigned i, order[3];

    (void)state;
    memsess_node_init(&nodes[0], "cache1", 1);
    memsess_node_init(&nodes[1], "cache2", 2);
    memsess_node_init(&nodes[2], "cache3", 3);
    for (i = 0; i < COUNT(expected); i++) {
        memset(key.digest, (int)i, sizeof(key.digest));
        assert_int_equal(memsess_ring_order(nodes, 3, &key, order, 3), 3);
        assert_string_equal(apr_pstrcat(unit_pool, nodes[order[0]].name, " ",
                                        nodes[order[1]].name, " ", nodes[order[2]].name, NULL),
                            expected[i]);
    }
}

static void test_order_does_not_depend_on_listing(void **state)
{
    enum { N = 12 };
    memsess_node_t *nodes = make_nodes(0, N, 1), *other = make_nodes(0, N, 1);
    unsigned i, j, order[N], other_order[N];
    memsess_key_t key;

    (void)state;
    for (i = 0; i < N; i++) {
        nodes[i].weight = other[i].weight = 1 + i % 4;
    }
    for (i = 0; i < 500; i++) {
        unit_random_key(&key);
        shuffle(other, N);
        assert_int_equal(memsess_ring_order(nodes, N, &key, order, N), N);
        assert_int_equal(memsess_ring_order(other, N, &key, other_order, N), N);
        for (j = 0; j < N; j++) {
            assert_string_equal(nodes[order[j]].name, other[other_order[j]].name);
        }
    }
}

static void test_exactly_as_many_distinct_servers_as_wanted(void **state)
{
    memsess_node_t *nodes = make_nodes(0, NODES_MAX, 1);
    unsigned n, want, i, j;
    memsess_key_t key;

    (void)state;
    for (n = 1; n <= NODES_MAX; n++) {
        unit_random_key(&key);
        for (want = 0; want <= n + 2; want += want < 20 ? 1 : 9) {
            unsigned order[NODES_MAX + 12], found;

            for (i = 0; i < COUNT(order); i++) {
                order[i] = 4711;
            }
            found = memsess_ring_order(nodes, n, &key, order, want);
            assert_int_equal(found, want < n ? want : n);
            for (i = 0; i < found; i++) {
                assert_true(order[i] < n);
                for (j = 0; j < i; j++) {
                    assert_int_not_equal(order[i], order[j]);
                }
            }
            for (; i < COUNT(order); i++) {
                assert_int_equal(order[i], 4711);
            }
        }
    }
}

static void test_nothing_of_nothing(void **state)
{
    unsigned order[2] = {4711, 4711};
    memsess_key_t key;

    (void)state;
    unit_random_key(&key);
    assert_int_equal(memsess_ring_order(NULL, 0, &key, order, 2), 0);
    assert_int_equal(order[0], 4711);
}

static void test_every_prefix_of_an_order_is_stable(void **state)
{
    enum { N = 30 };
    memsess_node_t *nodes = make_nodes(0, N, 1);
    unsigned round, want, i, whole[N], part[N];
    memsess_key_t key;

    (void)state;
    for (round = 0; round < 200; round++) {
        unit_random_key(&key);
        assert_int_equal(memsess_ring_order(nodes, N, &key, whole, N), N);
        for (want = 1; want < N; want++) {
            assert_int_equal(memsess_ring_order(nodes, N, &key, part, want), want);
            for (i = 0; i < want; i++) {
                assert_int_equal(part[i], whole[i]);
            }
        }
    }
}

/* When a server leaves, those behind it move up, and nothing else changes. */
static void test_stand_ins_are_the_next_in_order(void **state)
{
    enum { N = 9 };
    memsess_node_t *nodes = make_nodes(0, N, 1);
    unsigned round, gone, i, j, whole[N], rest[N];
    memsess_key_t key;

    (void)state;
    for (round = 0; round < 200; round++) {
        unit_random_key(&key);
        memsess_ring_order(nodes, N, &key, whole, N);
        for (gone = 0; gone < N; gone++) {
            memsess_node_t left[N];

            for (i = j = 0; i < N; i++) {
                if (i != gone) {
                    left[j++] = nodes[i];
                }
            }
            assert_int_equal(memsess_ring_order(left, N - 1, &key, rest, N), N - 1);
            for (i = j = 0; i < N; i++) {
                if (whole[i] != gone) {
                    assert_string_equal(left[rest[j++]].name, nodes[whole[i]].name);
                }
            }
        }
    }
}

static void test_removing_and_adding_move_only_what_they_must(void **state)
{
    enum { N = 10, KEYS = 20000 };
    memsess_node_t *more = make_nodes(0, N + 1, 1); /* the last one is added or removed */
    const char *last = more[N].name;
    unsigned i, moved = 0;
    memsess_key_t key;

    (void)state;
    for (i = 0; i < KEYS; i++) {
        const char *without, *with;

        unit_random_key(&key);
        without = home(more, N, &key);
        with = home(more, N + 1, &key);
        if (with == last) {
            moved++;
        }
        else {
            assert_string_equal(with, without);
        }
    }
    /* A share of 1 in 11 would be 1818 keys. */
    assert_in_range(moved, 1500, 2150);
}

static void test_raising_a_weight_moves_keys_only_to_that_server(void **state)
{
    enum { N = 5, KEYS = 20000 };
    memsess_node_t *before = make_nodes(0, N, 2), *after = make_nodes(0, N, 2);
    unsigned i, moved = 0;
    memsess_key_t key;

    (void)state;
    after[3].weight = 4;
    for (i = 0; i < KEYS; i++) {
        const char *was, *is;

        unit_random_key(&key);
        was = home(before, N, &key);
        is = home(after, N, &key);
        if (strcmp(was, is) != 0) {
            assert_string_equal(is, after[3].name);
            moved++;
        }
    }
    /* From a share of 1 in 5 to 2 in 6 would be 2667 keys. */
    assert_in_range(moved, 2300, 3050);
}

static void test_weights_give_shares(void **state)
{
    static const unsigned weights[] = {1, 1, 2, 5, 10, 81};
    enum { N = 6, KEYS = 100000 };
    memsess_node_t *nodes = make_nodes(0, N, 1);
    unsigned i, sum = 0, count[N] = {0};
    memsess_key_t key;

    (void)state;
    for (i = 0; i < N; i++) {
        nodes[i].weight = weights[i];
        sum += weights[i];
    }
    for (i = 0; i < KEYS; i++) {
        unsigned at;

        unit_random_key(&key);
        memsess_ring_order(nodes, N, &key, &at, 1);
        count[at]++;
    }
    for (i = 0; i < N; i++) {
        double share = (double)weights[i] / sum;
        double expected = KEYS * share, deviation = sqrt(KEYS * share * (1 - share));

        assert_true(fabs(count[i] - expected) < 6 * deviation);
    }
}

static void test_equal_weights_share_alike_at_every_place(void **state)
{
    enum { N = 7, KEYS = 70000, PLACES = 3 };
    memsess_node_t *nodes = make_nodes(0, N, MEMSESS_WEIGHT_MAX);
    unsigned i, j, count[PLACES][N] = {{0}};
    memsess_key_t key;

    (void)state;
    for (i = 0; i < KEYS; i++) {
        unsigned order[PLACES];

        unit_random_key(&key);
        memsess_ring_order(nodes, N, &key, order, PLACES);
        for (j = 0; j < PLACES; j++) {
            count[j][order[j]]++;
        }
    }
    for (j = 0; j < PLACES; j++) {
        for (i = 0; i < N; i++) {
            assert_in_range(count[j][i], 9400, 10600);
        }
    }
}

/* The load of a server that is lost is spread over the others, and not heaped on one of them. */
static void test_stand_ins_are_spread(void **state)
{
    enum { N = 6, KEYS = 60000 };
    memsess_node_t *nodes = make_nodes(0, N, 1);
    unsigned i, count[N] = {0};
    memsess_key_t key;

    (void)state;
    for (i = 0; i < KEYS; i++) {
        unsigned order[2];

        unit_random_key(&key);
        memsess_ring_order(nodes, N, &key, order, 2);
        if (order[0] == 0) {
            count[order[1]]++;
        }
    }
    assert_int_equal(count[0], 0);
    for (i = 1; i < N; i++) {
        assert_in_range(count[i], 1700, 2300);
    }
}

/* Distinct names never have equal scores, so the nodes are given the same seed. */
static void test_names_break_ties(void **state)
{
    enum { N = 8 };
    memsess_node_t *nodes = make_nodes(0, N, 1);
    unsigned round, i, want, order[N];
    memsess_key_t key;

    (void)state;
    for (i = 1; i < N; i++) {
        memcpy(nodes[i].seed, nodes[0].seed, sizeof(nodes[i].seed));
    }
    for (round = 0; round < 100; round++) {
        shuffle(nodes, N);
        unit_random_key(&key);
        want = 1 + round % N;
        assert_int_equal(memsess_ring_order(nodes, N, &key, order, want), want);
        for (i = 0; i < want; i++) {
            assert_string_equal(nodes[order[i]].name, node_name(i));
        }
    }
}

static void test_keys_alone_decide(void **state)
{
    enum { N = 4 };
    memsess_node_t *nodes = make_nodes(0, N, 1);
    unsigned i, changed = 0, before[N], after[N];
    memsess_key_t key;

    (void)state;
    for (i = 0; i < 256; i++) {
        unit_random_key(&key);
        memsess_ring_order(nodes, N, &key, before, N);
        memsess_ring_order(nodes, N, &key, after, N);
        assert_memory_equal(before, after, sizeof(before));
        key.digest[i % sizeof(key.digest)] ^= (unsigned char)(1u << i % 8);
        memsess_ring_order(nodes, N, &key, after, N);
        changed += memcmp(before, after, sizeof(before)) != 0;
    }
    /* Every bit of a key counts: 23 in 24 orders should differ. */
    assert_in_range(changed, 220, 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(test_node_derives_from_name),
        UNIT_TEST(test_tags_of_a_large_pool_differ),
        UNIT_TEST(test_placement_is_the_same_for_ever),
        UNIT_TEST(test_order_does_not_depend_on_listing),
        UNIT_TEST(test_exactly_as_many_distinct_servers_as_wanted),
        UNIT_TEST(test_nothing_of_nothing),
        UNIT_TEST(test_every_prefix_of_an_order_is_stable),
        UNIT_TEST(test_stand_ins_are_the_next_in_order),
        UNIT_TEST(test_removing_and_adding_move_only_what_they_must),
        UNIT_TEST(test_raising_a_weight_moves_keys_only_to_that_server),
        UNIT_TEST(test_weights_give_shares),
        UNIT_TEST(test_equal_weights_share_alike_at_every_place),
        UNIT_TEST(test_stand_ins_are_spread),
        UNIT_TEST(test_names_break_ties),
        UNIT_TEST(test_keys_alone_decide),
    };

    unit_begin();
    return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
