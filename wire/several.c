/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* Several keys, asked for or stored in turn or all at once. */

#include "wire/private.h"

#include <string.h>

#include "base/clock.h"

/* -- In turn, or all at once ------------------------------------------------------------------ */

/* Only what is asked in turn tells how near a server is, so each thread does it at least so often. */
#define TRY_IN_TURN 256

static int are_tried_in_turn(void)
{
    static __thread unsigned n;

    return n++ % TRY_IN_TURN == 0;
}

static int is_near(const memsess_server_t *server)
{
    return memsess_count_is_near(server->conf.count);
}

/* Near servers are asked in turn for this long, in microseconds. Then one of them turned out to be slow
 * or to hang, and those that are left are asked at once. */
#define IN_TURN_FOR 5000

static int may_go_on(apr_time_t begun)
{
    return memsess_clock_steady() - begun < IN_TURN_FOR;
}

static int are_near(const memsess_put_t *puts, unsigned n)
{
    int near = 1;
    unsigned i;

    for (i = 0; i < n; i++) {
        near &= is_near(puts[i].server);
    }
    return near;
}

/* Near servers are sent their items one after the other, on this thread; returns how many were. What
 * must be sent soon is not sent behind what may hang. */
static unsigned put_in_turn(memsess_put_t *puts, unsigned n)
{
    apr_time_t begun = memsess_clock_steady();
    unsigned i = 0;

    while (i < n && !puts[i].not_after && (!i || may_go_on(begun))) {
        memsess_put_one(&puts[i++]);
    }
    return i;
}

void memsess_pool_mput(memsess_put_t *puts, unsigned n)
{
    void *items[MEMSESS_PUTS_MAX];
    int near = are_near(puts, n);
    unsigned i, done = near ? put_in_turn(puts, n) : 0;

    for (i = done; i < n; i++) {
        items[i - done] = &puts[i];
    }
    if (n > done) {
        memsess_crew_do(puts->server->pool->crew, memsess_put_one, items, n - done, near && !done);
    }
}

/* -- Several keys at once --------------------------------------------------------------------- */

typedef enum { NOT_YET, ASKED, NOT_ASKED } state_t;

typedef struct batch_t {
    memsess_get_t *gets;
    memsess_conn_t **conns; /* on which each key is being asked for, or NULL */
    state_t *states;
    int n;
} batch_t;

/* apr_memcache asks for a hash of the key and then for the hash's server: our hash is the key's
 * index. */
static apr_uint32_t batch_hash(void *baton, const char *data, const apr_size_t len)
{
    const batch_t *batch = baton;
    int i;

    for (i = 0; i < batch->n; i++) {
        if (batch->conns[i] && strlen(batch->gets[i].key) == len
            && memcmp(batch->gets[i].key, data, len) == 0) {
            break;
        }
    }
    return (apr_uint32_t)i;
}

static apr_memcache_server_t *batch_server(void *baton, apr_memcache_t *mc,
                                           const apr_uint32_t hash)
{
    const batch_t *batch = baton;

    (void)mc;
    return batch->conns[hash]->ms;
}

/* The first key that is on the same server as this one, and so on the same connection: maybe
 * itself. */
static int shares_with(const memsess_get_t *gets, int i)
{
    int j;

    for (j = 0; j < i && gets[j].server != gets[i].server; j++) {
    }
    return j;
}

/* Gives each connection back once, with the worst result of its keys. */
static void give_connected(const batch_t *batch)
{
    int i, j;

    for (i = 0; i < batch->n; i++) {
        apr_status_t rv = batch->gets[i].rv;

        if (!batch->conns[i] || shares_with(batch->gets, i) != i) {
            continue;
        }
        for (j = i + 1; j < batch->n; j++) {
            if (batch->conns[j] == batch->conns[i] && memsess_in_step(rv)) {
                rv = batch->gets[j].rv;
            }
        }
        memsess_conn_give(batch->conns[i], batch->gets[i].server, rv);
    }
}

/* Asks all servers that have an open connection, and waits for all of them; apr_memcache gives up
 * those that take over 50 ms. */
static void ask_connected(batch_t *batch, apr_pool_t *p)
{
    apr_time_t begun = memsess_clock_steady();
    apr_hash_t *values = NULL;
    apr_memcache_t mc;
    apr_pool_t *temp;
    int i;

    memset(&mc, 0, sizeof(mc));
    mc.hash_func = batch_hash;
    mc.server_func = batch_server;
    mc.hash_baton = mc.server_baton = batch;
    for (i = 0; i < batch->n; i++) {
        if (batch->conns[i]) {
            apr_memcache_add_multget_key(p, batch->gets[i].key, &values);
        }
    }
    if (!values) {
        return;
    }
    apr_pool_create(&temp, p);
    apr_memcache_multgetp(&mc, temp, p, values);
    apr_pool_destroy(temp);
    for (i = 0; i < batch->n; i++) {
        memsess_get_t *get = &batch->gets[i];

        if (batch->conns[i]) {
            apr_memcache_value_t *value = apr_hash_get(values, get->key, APR_HASH_KEY_STRING);

            get->data = value->data;
            get->len = value->len;
            get->rv = memsess_check_answer(get, value->status);
            batch->states[i] = ASKED;
            if (memsess_in_step(get->rv)) {
                memsess_server_count_operation(get->server, begun, get->rv);
            }
        }
    }
    give_connected(batch);
    memset(batch->conns, 0, sizeof(*batch->conns) * (apr_size_t)batch->n);
}

/* Takes an open connection to one of several servers; NULL: rv tells why there is none. */
static memsess_conn_t *take_connected(memsess_server_t *server, int wait, apr_status_t *rv)
{
    memsess_use_t use = {.c = NULL};

    *rv = MEMSESS_DOWN;
    if (!memsess_server_is_down(server)) {
        *rv = memsess_use_take(&use, server, wait);
        if (*rv != APR_SUCCESS) {
            memsess_use_count(&use, *rv);
        }
    }
    return use.c;
}

/* Takes connections to the servers that are not asked yet, as far as there are any; returns how
 * many. If @a wait is set, it waits for the first one, but for none while it has one: others may
 * wait for that. */
static int take_some(batch_t *batch, int wait)
{
    int i, had = 0;

    for (i = 0; i < batch->n; i++) {
        memsess_get_t *get = &batch->gets[i];
        int other = shares_with(batch->gets, i), waits = wait && !had;

        if (batch->states[i] != NOT_YET) {
            continue;
        }
        if (other < i) {
            batch->conns[i] = batch->conns[other];
            batch->states[i] = batch->states[other];
            get->rv = batch->gets[other].rv;
            continue;
        }
        batch->conns[i] = take_connected(get->server, waits, &get->rv);
        had += batch->conns[i] != NULL;
        if (!batch->conns[i] && (waits || get->rv != MEMSESS_UNSENT)) {
            batch->states[i] = NOT_ASKED;
        }
    }
    return had;
}

static int are_left(const batch_t *batch)
{
    int i, left = 0;

    for (i = 0; i < batch->n; i++) {
        left += batch->states[i] == NOT_YET;
    }
    return left;
}

static void get_at_once(memsess_get_t *gets, int n, apr_pool_t *p)
{
    batch_t batch = {.gets = gets,
                     .conns = apr_pcalloc(p, sizeof(memsess_conn_t *) * (apr_size_t)n),
                     .states = apr_pcalloc(p, sizeof(state_t) * (apr_size_t)n),
                     .n = n};
    int i;

    while (are_left(&batch)) {
        if (take_some(&batch, 0) || take_some(&batch, 1)) {
            ask_connected(&batch, p);
        }
    }
    /* A server that was too slow, or had closed its connection, is asked once more alone, by the
     * rules for one server. */
    for (i = 0; i < n; i++) {
        if (batch.states[i] == ASKED && !memsess_in_step(gets[i].rv)) {
            memsess_get_alone(&gets[i], p);
        }
    }
}

/* As put_in_turn. Several keys of one server are asked for at once, in one round trip. */
static int get_in_turn(memsess_get_t *gets, int n, apr_pool_t *p)
{
    apr_time_t begun = memsess_clock_steady();
    int i, are_tried = are_tried_in_turn(), are_near = 1;

    for (i = 0; i < n && are_near; i++) {
        are_near = shares_with(gets, i) == i && (are_tried || is_near(gets[i].server));
    }
    for (i = 0; i < n && are_near && (!i || may_go_on(begun)); i++) {
        memsess_get_alone(&gets[i], p);
    }
    return i;
}

/* A key that is asked for on a thread of its own, and so from a pool that no other thread uses. */
typedef struct lone_t {
    memsess_get_t *get;
    apr_pool_t *p;
} lone_t;

static void get_lone(void *item)
{
    lone_t *lone = item;

    memsess_get_alone(lone->get, lone->p);
}

static apr_pool_t *pool_for_thread(apr_pool_t *parent)
{
    apr_allocator_t *allocator;
    apr_pool_t *p = NULL;

    if (apr_allocator_create(&allocator) == APR_SUCCESS) {
        if (apr_pool_create_ex(&p, parent, NULL, allocator) == APR_SUCCESS) {
            apr_allocator_owner_set(allocator, p);
        }
        else {
            apr_allocator_destroy(allocator);
        }
    }
    return p;
}

static int are_slow(const memsess_get_t *gets, int n)
{
    int i, slow = 0;

    for (i = 0; i < n; i++) {
        slow |= memsess_server_is_slow(gets[i].server) && !memsess_server_is_down(gets[i].server);
    }
    return slow;
}

/* If a server is slow, apr_memcache would drop its connection after 50 ms, and the key would be asked
 * for once more, on a new one. So each key has a thread here. Returns 0 if there is no memory for it. */
static int get_side_by_side(memsess_get_t *gets, int n, apr_pool_t *p)
{
    lone_t *lones = apr_palloc(p, sizeof(*lones) * (apr_size_t)n);
    void **items = apr_palloc(p, sizeof(*items) * (apr_size_t)n);
    int i;

    for (i = 0; i < n; i++) {
        lones[i] = (lone_t){.get = &gets[i], .p = pool_for_thread(p)};
        if (!lones[i].p) {
            return 0;
        }
        items[i] = &lones[i];
    }
    memsess_crew_do(gets->server->pool->crew, get_lone, items, (unsigned)n, 0);
    return 1;
}

void memsess_pool_mget(memsess_get_t *gets, int n, apr_pool_t *p)
{
    int asked = n > 1 ? get_in_turn(gets, n, p) : 0;

    if (n - asked == 1) {
        memsess_get_alone(&gets[asked], p);
    }
    else if (asked < n && !(are_slow(gets + asked, n - asked)
                            && get_side_by_side(gets + asked, n - asked, p))) {
        get_at_once(gets + asked, n - asked, p);
    }
}
