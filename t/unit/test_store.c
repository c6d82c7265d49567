/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Copies of sessions on real memcacheds: how many there are, which one wins, and what happens
 * while servers are away and when they return, with their old memory or with none.
 *
 * A server is spoken of by its place in the order of the key under test: with two copies, those
 * at 0 and 1 are its homes, those from 2 on stand in.
 */

#include "unit_servers.h"
#include "unit_store.h"

#include "apr_atomic.h"
#include "apr_encode.h"
#include "base/clock.h"
#include "base/count.h"
#include "session/record.h"
#include "session/seal.h"
#include "store/epoch.h"
#include "store/mark.h"
#include "store/ring.h"

#define TIMEOUT apr_time_from_msec(400)

/* What compressed records may unpack to. */
#define UNPACK 4000000

static apr_interval_time_t timeout = TIMEOUT;
static unit_memcached_t *servers[UNIT_MEMCACHEDS];
static memsess_node_t nodes[UNIT_MEMCACHEDS];
static unsigned servers_n;
static memsess_pool_t *the_pool;
static apr_hash_t *handles;
static memsess_store_t *store;
static memsess_store_conf_t store_conf;
static memsess_key_t key;
static unsigned order[UNIT_MEMCACHEDS];

static apr_interval_time_t passed;

/* Lets time pass, so that who began to write before has sent all. */
static void pass_time(void)
{
    passed += apr_time_from_sec(5);
    memsess_clock_shift(passed, passed);
}

static int setup(void **state)
{
    the_pool = NULL;
    passed = 0;
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

#define STORE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

static memsess_member_t make_member(unsigned i)
{
    memsess_member_t member;

    memset(&member, 0, sizeof(member));
    member.server.name = nodes[i].name;
    member.server.host = "127.0.0.1";
    member.server.port = (apr_port_t)servers[i]->port;
    member.server.timeout = timeout;
    member.server.retry = apr_time_from_msec(30);
    member.server.max_conns = 4;
    member.server.idle = apr_time_from_sec(60);
    member.weight = 1;
    return member;
}

static void order_key(void)
{
    assert_int_equal(memsess_ring_order(nodes, servers_n, &key, order, servers_n), servers_n);
}

static void next_key(void)
{
    unit_random_key(&key);
    order_key();
}

static void learn_clocks(void)
{
    apr_hash_index_t *i;
    void *server;

    for (i = apr_hash_first(unit_pool, handles); i; i = apr_hash_next(i)) {
        apr_hash_this(i, NULL, NULL, &server);
        assert_int_equal(memsess_server_tell(server), APR_SUCCESS);
    }
}

/* Starts memcacheds and a store over them. */
static void open_store(unsigned n, unsigned copies, int failover)
{
    apr_array_header_t *members = apr_array_make(unit_pool, (int)n, sizeof(memsess_member_t));
    unsigned i;

    servers_n = n;
    for (i = 0; i < n; i++) {
        servers[i] = unit_memcached();
        assert_int_equal(memsess_node_init(&nodes[i], apr_psprintf(unit_pool, "cache%u", i), 1),
                         APR_SUCCESS);
        APR_ARRAY_PUSH(members, memsess_member_t) = make_member(i);
    }
    store_conf.members = members;
    store_conf.copies = copies;
    store_conf.failover = failover;
    store_conf.compress = 2048;
    store_conf.unpack = UNPACK;
    handles = apr_hash_make(unit_pool);
    assert_int_equal(memsess_pool_create(&the_pool), APR_SUCCESS);
    assert_int_equal(memsess_store_create(&store, &store_conf, the_pool, handles, unit_pool),
                     APR_SUCCESS);
    assert_int_equal(memsess_pool_start(the_pool), APR_SUCCESS);
    learn_clocks();
    next_key();
}

/* Another process, which knows of no server's clock yet. */
static void reopen_store(void)
{
    memsess_pool_destroy(the_pool);
    handles = apr_hash_make(unit_pool);
    assert_int_equal(memsess_pool_create(&the_pool), APR_SUCCESS);
    assert_int_equal(memsess_store_create(&store, &store_conf, the_pool, handles, unit_pool),
                     APR_SUCCESS);
    assert_int_equal(memsess_pool_start(the_pool), APR_SUCCESS);
}

/* -- Servers by their place -------------------------------------------------------------------- */

static unit_memcached_t *at(unsigned place)
{
    assert_true(place < servers_n);
    return servers[order[place]];
}

static memsess_server_t *handle(unsigned place)
{
    apr_hash_index_t *i;

    for (i = apr_hash_first(unit_pool, handles); i; i = apr_hash_next(i)) {
        memsess_server_t *server = apr_hash_this_val(i);

        if (memsess_server_conf(server)->port == at(place)->port) {
            return server;
        }
    }
    fail();
    return NULL;
}

/* Has the pool see that a server is away, or that it is back. */
static void know_down(unsigned place)
{
    apr_size_t len;
    char *data;

    while (!memsess_server_is_down(handle(place))) {
        memsess_server_get(handle(place), "key", &data, &len, unit_pool);
    }
}

static void know_up(unsigned place)
{
    unit_await(!memsess_server_is_down(handle(place)));
    pass_time();
}

/* Away with its memory, as behind a broken network; and back with it. */
static void freeze(unsigned place)
{
    unit_memcached_freeze(at(place));
    know_down(place);
}

static void thaw(unsigned place)
{
    unit_memcached_thaw(at(place));
    know_up(place);
}

/* Away for good; and back with nothing. */
static void crash(unsigned place)
{
    unit_memcached_kill(at(place));
    know_down(place);
}

static void restart(unsigned place)
{
    unit_memcached_start(at(place));
    know_up(place);
}

/* -- What lies where --------------------------------------------------------------------------- */

/* The key of the copy for a place; 43 characters of digest and the server's tag. */
static const char *copy_key(unsigned place)
{
    char text[100];

    apr_encode_base64_binary(text, key.digest, sizeof(key.digest), APR_ENCODE_BASE64URL, NULL);
    assert_int_equal(strlen(text), 43);
    return apr_pstrcat(unit_pool, text, nodes[order[place]].tag, NULL);
}

/* The record at a place, or its tombstone. */
static char *copy_raw(unsigned place, apr_size_t *len)
{
    char *record = unit_memcached_get(at(place), copy_key(place), len);

    return record ? record : unit_memcached_get(at(place), copy_key(place), len);
}

static void put_raw(unsigned place, const char *data, apr_size_t len)
{
    unit_memcached_set(at(place), copy_key(place), data, len);
}

/* The revision of the copy at a place; 0: none, or damaged. */
static apr_uint64_t revision_at(unsigned place)
{
    memsess_session_t *session;
    apr_size_t len;
    char *data = copy_raw(place, &len);

    return data && memsess_record_decode(data, len, &key, UNPACK, &session, unit_pool)
                       == MEMSESS_RECORD_OK ? session->revision : 0;
}

/* The revisions at all places as text, "-" for none: "3 3 - -". Servers that are away are "x". */
static const char *revisions(void)
{
    const char *text = "";
    unsigned place;

    for (place = 0; place < servers_n; place++) {
        apr_uint64_t revision = 0;
        int away = !at(place)->pid || memsess_server_is_down(handle(place));

        if (!away) {
            revision = revision_at(place);
        }
        text = apr_pstrcat(unit_pool, text, place ? " " : "",
                           away ? "x" : revision ? apr_psprintf(unit_pool, "%d", (int)revision)
                                                 : "-", NULL);
    }
    return text;
}

#define assert_revisions(expected) assert_string_equal(revisions(), expected)

/* -- Sessions ---------------------------------------------------------------------------------- */

static memsess_session_t *new_session(void)
{
    memsess_session_t *session;

    assert_int_equal(memsess_session_make(&session, memsess_clock_wall(), unit_pool), APR_SUCCESS);
    session->idle = apr_time_from_sec(1800);
    return session;
}

/* With one attribute, "value". */
static void set_value(memsess_session_t *session, const char *value)
{
    memsess_attr_t *attr;

    session->attrs = apr_array_make(unit_pool, 1, sizeof(memsess_attr_t));
    attr = apr_array_push(session->attrs);
    attr->name = "value";
    attr->value = apr_pstrdup(unit_pool, value);
    attr->len = strlen(value);
}

static void write_value(memsess_session_t *session, const char *value)
{
    apr_uint64_t before = session->revision;

    set_value(session, value);
    assert_int_equal(memsess_store_write(store, &key, session, unit_pool), APR_SUCCESS);
    assert_true(session->revision == before + 1);
}

/* A new session, at revision 1. */
static memsess_session_t *written(const char *value)
{
    memsess_session_t *session = new_session();

    write_value(session, value);
    return session;
}

static void assert_finds(const char *value)
{
    memsess_session_t *session = NULL;

    assert_int_equal(unit_read(store, &key, &session, unit_pool), MEMSESS_FOUND);
    assert_int_equal(session->attrs->nelts, 1);
    assert_string_equal(APR_ARRAY_IDX(session->attrs, 0, memsess_attr_t).value, value);
}

static void assert_finds_not(memsess_found_t expected)
{
    memsess_session_t *session = NULL;

    assert_int_equal(unit_read(store, &key, &session, unit_pool), expected);
}

/* Reads until copies are repaired: those of a revision that is just being written are left alone
 * for a moment. */
static int repaired(const char *expected)
{
    memsess_session_t *session;

    unit_read(store, &key, &session, unit_pool);
    return strcmp(revisions(), expected) == 0;
}

#define await_repaired(expected)                                                                   \
    do {                                                                                           \
        pass_time();                                                                               \
        unit_await(repaired(expected));                                                            \
    } while (0)

/* Reads until there are that many copies, all alike, on the homes and nowhere else. */
static int settled(unsigned copies)
{
    memsess_session_t *session;
    apr_uint64_t revision;
    unsigned place;

    unit_read(store, &key, &session, unit_pool);
    revision = revision_at(0);
    for (place = 1; revision && place < servers_n; place++) {
        if (revision_at(place) != (place < copies ? revision : 0)) {
            return 0;
        }
    }
    return revision != 0;
}

#define await_settled(copies)                                                                      \
    do {                                                                                           \
        pass_time();                                                                               \
        unit_await(settled(copies));                                                               \
    } while (0)

/* -- Commits ----------------------------------------------------------------------------------- */

/* What a commit is to do, and what it was given. */
typedef struct edit_t {
    const char *append; /* to the value; NULL: a tombstone */
    apr_status_t rv;    /* what to answer instead */
    int calls;
    apr_uint64_t given; /* the revision */
    const char *moved_to; /* what the tombstone says: that byte again and again; or NULL */
} edit_t;

static apr_status_t make_next(void *baton, const memsess_session_t *newest,
                              memsess_session_t **next, apr_pool_t *p)
{
    edit_t *edit = baton;
    memsess_session_t *session = apr_pmemdup(p, newest, sizeof(*newest));

    edit->calls++;
    edit->given = newest->revision;
    if (edit->append) {
        set_value(session, apr_pstrcat(p, APR_ARRAY_IDX(newest->attrs, 0, memsess_attr_t).value,
                                       edit->append, NULL));
    }
    else {
        session = memsess_tombstone(newest, p);
        session->moved = session->tells = edit->moved_to != NULL;
        memset(session->moved_to, edit->moved_to ? *edit->moved_to : 0, sizeof(session->moved_to));
    }
    *next = session;
    return edit->rv;
}

static apr_status_t commit_at(const memsess_session_t *session, apr_time_t read_at,
                              apr_interval_time_t wait, edit_t *edit)
{
    return unit_commit(store, &key, session, read_at, wait, make_next, edit, unit_pool);
}

static apr_status_t commit(const memsess_session_t *session, const char *append)
{
    edit_t edit = {append, APR_SUCCESS, 0, 0, NULL};

    return commit_at(session, memsess_clock_steady(), 0, &edit);
}

static apr_status_t end(const memsess_session_t *session)
{
    return commit(session, NULL);
}

static memsess_session_t *read_session(void)
{
    memsess_session_t *session = NULL;

    assert_int_equal(unit_read(store, &key, &session, unit_pool), MEMSESS_FOUND);
    return session;
}

/* A session at rest. */
static memsess_session_t *begun(const char *value)
{
    written(value);
    return read_session();
}

/* -- All is well ------------------------------------------------------------------------------- */

static void test_round_trip(void **state)
{
    memsess_session_t *session, *back;

    (void)state;
    open_store(3, 2, 1);
    assert_finds_not(MEMSESS_MISSING);
    session = written("one");
    assert_int_equal(unit_read(store, &key, &back, unit_pool), MEMSESS_FOUND);
    assert_string_equal(back->public_id, session->public_id);
    assert_true(back->revision == 1 && back->created == session->created);
    assert_true(back->used == session->used && back->idle == session->idle && !back->ended);
    assert_string_equal(memsess_session_find(back, "value")->value, "one");
    write_value(back, "two");
    assert_true(back->revision == 2);
    assert_finds("two");
    assert_revisions("2 2 -");
}

/* A redundancy of N keeps N copies, each on another server, no more and no less. */
static void exactly(unsigned n, unsigned copies)
{
    enum { SESSIONS = 40 };
    long items = 0;
    unsigned i, place;

    open_store(n, copies, 1);
    for (i = 0; i < SESSIONS; i++) {
        memsess_session_t *session = new_session();

        next_key();
        write_value(session, "one");
        write_value(session, "two");
        for (place = 0; place < n; place++) {
            assert_int_equal(revision_at(place), place < copies ? 2 : 0);
        }
        assert_finds("two");
    }
    for (i = 0; i < n; i++) {
        long here = unit_memcached_stat(servers[i], "curr_items");

        assert_true(here > 0);
        items += here;
    }
    assert_int_equal(items, SESSIONS * copies);
}

static void test_exactly_1_copy(void **state)
{
    (void)state;
    exactly(3, 1);
}

static void test_exactly_2_copies(void **state)
{
    (void)state;
    exactly(4, 2);
}

static void test_exactly_3_copies(void **state)
{
    (void)state;
    exactly(3, 3);
}

static void test_reading_writes_nothing(void **state)
{
    long before = 0, after = 0;
    unsigned i;

    (void)state;
    open_store(3, 2, 1);
    written("value");
    for (i = 0; i < servers_n; i++) {
        before += unit_memcached_stat(servers[i], "cmd_set");
    }
    for (i = 0; i < 20; i++) {
        assert_finds("value");
    }
    for (i = 0; i < servers_n; i++) {
        after += unit_memcached_stat(servers[i], "cmd_set");
    }
    assert_int_equal(before, 2);
    assert_int_equal(after, 2);
}

/* A member that lists the same servers in another order finds the same sessions. */
static void test_another_member(void **state)
{
    apr_array_header_t *members = apr_array_make(unit_pool, 4, sizeof(memsess_member_t));
    memsess_store_conf_t conf;
    memsess_store_t *other;
    memsess_session_t *session;
    unsigned i;

    (void)state;
    open_store(4, 2, 1);
    for (i = 4; i > 0; i--) {
        APR_ARRAY_PUSH(members, memsess_member_t) = make_member(i - 1);
    }
    conf = store_conf;
    conf.members = members;
    assert_int_equal(memsess_store_create(&other, &conf, the_pool, handles, unit_pool),
                     APR_SUCCESS);
    /* It is the same servers, so the connections are shared. */
    assert_int_equal(apr_hash_count(handles), 4);
    for (i = 0; i < 20; i++) {
        next_key();
        written("mine");
        assert_int_equal(unit_read(other, &key, &session, unit_pool), MEMSESS_FOUND);
        set_value(session, "yours");
        assert_int_equal(memsess_store_write(other, &key, session, unit_pool), APR_SUCCESS);
        assert_finds("yours");
        assert_revisions("2 2 - -");
    }
}

static int seconds_left(unsigned place)
{
    apr_size_t len;
    const char *kept = unit_memcached_get(at(place), copy_key(place), &len)
                           ? copy_key(place) : copy_key(place);
    const char *command = apr_pstrcat(unit_pool, "mg ", kept, " t\r\nmn\r\n", NULL);
    const char *answer = unit_ask(at(place), command, strlen(command), "MN", NULL);

    assert_non_null(answer);
    assert_memory_equal(answer, "HD t", 4);
    return atoi(answer + 4);
}

/* Kept a while longer than the idle time-out; that of over 30 days is no date in 1970. */
static void test_expiry_in_memcached(void **state)
{
    static const int idle[] = {1, 1800, 86400, 29 * 86400, 30 * 86400 - 121, 30 * 86400 - 120,
                               30 * 86400, 31 * 86400, 400 * 86400};
    int grace = (int)apr_time_sec(MEMSESS_GRACE);
    unsigned i;

    (void)state;
    open_store(2, 2, 1);
    for (i = 0; i < COUNT(idle); i++) {
        memsess_session_t *session = new_session();

        next_key();
        session->idle = apr_time_from_sec(idle[i]);
        write_value(session, "value");
        assert_in_range(seconds_left(0), idle[i] + grace - 60, idle[i] + grace + 2);
        assert_in_range(seconds_left(1), idle[i] + grace - 60, idle[i] + grace + 2);
        assert_finds("value");
    }
    /* Beyond what memcached can count: for ever, the record knows its end. */
    next_key();
    written("value");
    {
        memsess_session_t *session = new_session();

        session->idle = apr_time_from_sec(3600) * 24 * 36500;
        write_value(session, "value");
        assert_int_equal(seconds_left(0), -1);
        assert_finds("value");
    }
}

/* -- Copies that differ ------------------------------------------------------------------------ */

static void test_highest_revision_wins(void **state)
{
    memsess_session_t *session;
    char *old[2];
    apr_size_t len[2];
    unsigned place;

    (void)state;
    open_store(3, 2, 1);
    session = written("old");
    for (place = 0; place < 2; place++) {
        old[place] = copy_raw(place, &len[place]);
    }
    write_value(session, "middle");
    write_value(session, "new");
    for (place = 0; place < 2; place++) {
        put_raw(place, old[place], len[place]);
        assert_finds("new");
        await_repaired(place ? "5 5 -" : "4 4 -");
        assert_finds("new");
    }
}

static void test_missing_copies_are_repaired(void **state)
{
    static const char *const expected[2][3] = {{"2 2 - -", "3 3 - -"},
                                               {"2 2 2 -", "3 3 3 -", "4 4 4 -"}};
    unsigned copies, place;

    (void)state;
    for (copies = 2; copies <= 3; copies++) {
        open_store(4, copies, 1);
        written("value");
        for (place = 0; place < copies; place++) {
            unit_memcached_delete(at(place), copy_key(place));
            assert_finds("value");
            await_repaired(expected[copies - 2][place]);
            assert_finds("value");
        }
        assert_in_range(seconds_left(0), 1800, 1800 + 122);
        memsess_pool_destroy(the_pool);
        the_pool = NULL;
        unit_servers_stop();
    }
}

static void test_damaged_copies_are_repaired(void **state)
{
    static const char *const garbage[] = {"", "MSS", "MSS\1", "garbage", "a:1:{s:1:\"b\";i:1;}"};
    char *good, *bad;
    apr_size_t len;
    unsigned place, i;

    (void)state;
    open_store(3, 2, 1);
    written("value");
    for (place = 0; place < 2; place++) {
        good = copy_raw(place, &len);
        for (i = 0; i < COUNT(garbage); i++) {
            put_raw(place, garbage[i], strlen(garbage[i]));
            assert_finds("value");
        }
        put_raw(place, good, len - 1);
        assert_finds("value");
        bad = apr_pmemdup(unit_pool, good, len);
        bad[len - 3] ^= 1;
        put_raw(place, bad, len);
        assert_finds("value");
        await_settled(2);
    }
    assert_true(unit_logged("damaged") >= 2 * ((int)COUNT(garbage) + 2));

    /* Where all are damaged there is no session, and that is certain. */
    put_raw(0, "garbage", 7);
    put_raw(1, "garbage", 7);
    assert_finds_not(MEMSESS_MISSING);
    written("anew");
    assert_finds("anew");
}

/* Whoever can write to a server shall not fill the log. */
static void test_complaints_are_few(void **state)
{
    apr_time_t begun = apr_time_now();
    int i, seconds;

    (void)state;
    open_store(1, 1, 1);
    put_raw(0, "garbage", 7);
    for (i = 0; i < 500; i++) {
        assert_finds_not(MEMSESS_MISSING);
    }
    seconds = (int)apr_time_sec(apr_time_now() - begun) + 2;
    assert_true(unit_logged("damaged") >= 1);
    assert_true(unit_logged("damaged") <= 20 * seconds);
}

/* With secrets all that lies in memcached is sealed, and nothing else is believed. */
static void test_sealed(void **state)
{
    memsess_secrets_t *secrets = memsess_secrets_make(unit_pool), *other;
    memsess_raw_secret_t raw;
    memsess_session_t *found;
    apr_size_t len, plain_len;
    char *data, *plain;

    (void)state;
    memset(raw.bytes, 's', 32);
    raw.len = 32;
    assert_int_equal(memsess_secrets_add(secrets, &raw, ""), APR_SUCCESS);
    open_store(2, 2, 1);
    written("unsealed");
    plain = copy_raw(0, &plain_len);
    store_conf.secrets = secrets;
    assert_int_equal(memsess_store_create(&store, &store_conf, the_pool, handles, unit_pool),
                     APR_SUCCESS);
    assert_finds_not(MEMSESS_MISSING);
    assert_true(unit_logged("not sealed") > 0);

    written("value");
    data = copy_raw(0, &len);
    assert_null(memmem(data, len, "value", 5));
    assert_memory_equal(data, "MSE", 3);
    assert_finds("value");
    put_raw(0, plain, plain_len);
    assert_finds("value");
    data[len / 2] ^= 1;
    put_raw(0, data, len);
    put_raw(1, data, len);
    assert_finds_not(MEMSESS_MISSING);
    assert_true(unit_logged("altered") > 0);

    /* Of an older secret: found, and told. */
    written("aged");
    other = memsess_secrets_make(unit_pool);
    memset(raw.bytes, 't', 32);
    assert_int_equal(memsess_secrets_add(other, &raw, ""), APR_SUCCESS);
    memset(raw.bytes, 's', 32);
    assert_int_equal(memsess_secrets_add(other, &raw, ""), APR_SUCCESS);
    store_conf.secrets = other;
    assert_int_equal(memsess_store_create(&store, &store_conf, the_pool, handles, unit_pool),
                     APR_SUCCESS);
    assert_int_equal(unit_read(store, &key, &found, unit_pool), MEMSESS_FOUND);
    assert_true(unit_facts(&key, found).aged);
    write_value(found, "moved");
    assert_int_equal(unit_read(store, &key, &found, unit_pool), MEMSESS_FOUND);
    assert_false(unit_facts(&key, found).aged);
    store_conf.secrets = NULL;
}

/* -- Marks -------------------------------------------------------------------------------------- */

static int is_marked(const char *what)
{
    return memsess_mark_is_there(store, &key, what, unit_pool);
}

static const char *mark_key(unsigned place)
{
    return apr_pstrcat(unit_pool, copy_key(place), ".mark-first", NULL);
}

/* As many copies as of a record, gone by itself. */
static void test_a_mark(void **state)
{
    apr_size_t len;

    (void)state;
    open_store(4, 2, 1);
    assert_false(is_marked("first"));
    memsess_mark_put(store, &key, "first", 2, unit_pool);
    assert_true(is_marked("first"));
    assert_false(is_marked("end"));
    assert_non_null(unit_memcached_get(at(0), mark_key(0), &len));
    assert_non_null(unit_memcached_get(at(1), mark_key(1), &len));
    assert_null(unit_memcached_get(at(2), mark_key(2), &len));
    next_key();
    assert_false(is_marked("first"));
    memsess_mark_put(store, &key, "first", 1, unit_pool);
    unit_await(!is_marked("first"));
}

static void test_a_mark_while_servers_are_away(void **state)
{
    unsigned place;

    (void)state;
    open_store(3, 2, 1);
    memsess_mark_put(store, &key, "first", 60, unit_pool);
    unit_memcached_kill(at(0));
    assert_true(is_marked("first"));
    /* Put where the next record would lie, and found by who does not know yet that one is back. */
    know_down(0);
    next_key();
    memsess_mark_put(store, &key, "first", 60, unit_pool);
    assert_true(is_marked("first"));
    /* Nobody can tell: it may well be there. */
    for (place = 0; place < 3; place++) {
        unit_memcached_kill(at(place));
    }
    next_key();
    assert_true(is_marked("end"));
}

/* With secrets only one of us can have put it there. */
static void test_a_mark_that_was_planted(void **state)
{
    memsess_secrets_t *secrets = memsess_secrets_make(unit_pool);
    memsess_raw_secret_t raw;
    apr_size_t len = 0;
    char *data;

    (void)state;
    memset(raw.bytes, 's', 32);
    raw.len = 32;
    assert_int_equal(memsess_secrets_add(secrets, &raw, ""), APR_SUCCESS);
    store_conf.secrets = secrets;
    open_store(2, 1, 1);
    unit_memcached_set(at(0), mark_key(0), "1", 1);
    assert_false(is_marked("first"));
    assert_int_equal(unit_logged("not sealed"), 1);
    memsess_mark_put(store, &key, "first", 60, unit_pool);
    assert_true(is_marked("first"));
    data = unit_memcached_get(at(0), mark_key(0), &len);
    next_key();
    unit_memcached_set(at(0), mark_key(0), data, len);
    assert_false(is_marked("first"));
    store_conf.secrets = NULL;
}

/* ----------------------------------------------------------------------------------------------- */

static const char later[] = "MSS\3 who knows what";

static void put_later(unsigned place)
{
    put_raw(place, later, sizeof(later) - 1);
}

static void assert_is_later(unsigned place)
{
    apr_size_t len;
    const char *data = copy_raw(place, &len);

    assert_non_null(data);
    assert_string_equal(data, later);
}

/* What a later version wrote is neither used nor overwritten, nor is it a miss, whatever copies of
 * ours there are beside it and whichever server is away. */
static void test_records_of_a_later_version(void **state)
{
    memsess_session_t *session;
    unsigned place, away;

    (void)state;
    open_store(3, 2, 1);
    for (place = 0; place < 3; place++) {
        next_key();
        written("value");
        put_later(place);
        assert_int_equal(unit_read(store, &key, &session, unit_pool),
                         place < 2 ? MEMSESS_UNAVAILABLE : MEMSESS_FOUND);
        for (away = 0; away < 3; away++) {
            if (away != place) {
                freeze(away);
                assert_finds_not(MEMSESS_UNAVAILABLE);
                thaw(away);
                assert_is_later(place);
            }
        }
    }
    assert_true(unit_logged("later version") >= 6);
    assert_true(unit_logged("until this member is updated") >= 6);
}

/* Nor where it lay unseen when the session was read: on a server that was away then, or on one that
 * only now stands in. */
static void test_records_of_a_later_version_unseen(void **state)
{
    memsess_session_t *session;

    (void)state;
    open_store(3, 2, 1);
    written("value");
    put_later(0);
    freeze(0);
    session = read_session();
    thaw(0);
    assert_int_equal(commit(session, "+"), MEMSESS_DOWN);
    assert_is_later(0);

    next_key();
    written("value");
    session = read_session();
    put_later(2);
    freeze(0);
    assert_int_equal(commit(session, "+"), MEMSESS_DOWN);
    thaw(0);
    assert_is_later(2);
}

/* It came while a commit was looking away: the reading that comes before the write sees it. */
static void test_records_of_a_later_version_meanwhile(void **state)
{
    edit_t edit = {"+", APR_SUCCESS, 0, 0, NULL};
    memsess_session_t *session;

    (void)state;
    open_store(3, 2, 1);
    written("value");
    session = read_session();
    put_later(1);
    assert_int_equal(commit_at(session, memsess_clock_steady() - apr_time_from_sec(3), 0, &edit),
                     MEMSESS_DOWN);
    assert_int_equal(edit.calls, 0);
    assert_is_later(1);
}

/* A server that answers with another session's record must not hand that session out. */
static void test_records_of_another_session(void **state)
{
    memsess_key_t mine, other;
    char *data;
    apr_size_t len;

    (void)state;
    open_store(3, 2, 1);
    written("other");
    data = copy_raw(0, &len);
    other = key;
    next_key();
    mine = key;
    written("mine");
    put_raw(0, data, len);
    assert_finds("mine");
    put_raw(1, data, len);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    assert_true(unit_logged("another") >= 2);
    key = other;
    order_key();
    assert_finds("other");
    key = mine;
}

/* -- Ending ------------------------------------------------------------------------------------ */

static void end_for_good(void)
{
    edit_t edit = {"more", APR_SUCCESS, 0, 0, NULL};
    memsess_session_t *session;
    apr_size_t len, len_now, left_len;
    char *old, *left;

    open_store(3, 2, 1);
    session = begun("value");
    old = copy_raw(0, &len);
    assert_int_equal(end(session), APR_SUCCESS);
    assert_int_equal(session->ended, 0);
    assert_finds_not(MEMSESS_ENDED);
    assert_string_equal(revisions(), "2 2 -");
    assert_in_range(seconds_left(0), 1800, 1800 + 122);
    /* It holds nothing of what the session held. */
    left = copy_raw(0, &left_len);
    assert_non_null(left);
    assert_null(memmem(left, left_len, "value", 5));

    /* A copy from before does not bring it back, nor does a lost tombstone. */
    put_raw(0, old, len);
    assert_finds_not(MEMSESS_ENDED);
    await_settled(2);
    assert_non_null(unit_memcached_get(at(0), copy_key(0), &len_now));
    put_raw(1, old, len);
    unit_memcached_delete(at(1), copy_key(1));
    assert_finds_not(MEMSESS_ENDED);
    await_settled(2);
    unit_memcached_delete(at(1), copy_key(1));
    assert_finds_not(MEMSESS_ENDED);
    await_settled(2);
    assert_finds_not(MEMSESS_ENDED);

    /* Nor does a request that has seen it alive. */
    assert_int_equal(commit_at(session, memsess_clock_steady(), apr_time_from_sec(5), &edit),
                     MEMSESS_GONE);
    assert_int_equal(edit.calls, 0);
    assert_finds_not(MEMSESS_ENDED);
}

static void test_end(void **state)
{
    (void)state;
    end_for_good();
}

/* Under another id now: those who have the old one are told where. */
static void test_end_that_says_where_it_went(void **state)
{
    edit_t edit = {NULL, APR_SUCCESS, 0, 0, NULL};
    unsigned char moved_to[MEMSESS_SEALED_ID_BYTES];
    memsess_session_t *found = NULL;

    (void)state;
    open_store(3, 2, 1);
    written("value");
    memset(moved_to, 'm', sizeof(moved_to));
    edit.moved_to = "m";
    assert_int_equal(commit_at(read_session(), memsess_clock_steady(), 0, &edit), APR_SUCCESS);
    assert_int_equal(unit_read(store, &key, &found, unit_pool), MEMSESS_ENDED);
    assert_true(found->moved && found->tells);
    assert_memory_equal(found->moved_to, moved_to, sizeof(moved_to));
    assert_int_equal(found->attrs->nelts, 0);
    unit_memcached_delete(at(0), copy_key(0));
    await_settled(2);
    assert_int_equal(unit_read(store, &key, &found, unit_pool), MEMSESS_ENDED);
    assert_memory_equal(found->moved_to, moved_to, sizeof(moved_to));
}

/* Logged out while one home is away: its return brings nothing back. */
static void test_end_while_a_home_is_away(void **state)
{
    memsess_session_t *session;
    unsigned place;

    (void)state;
    open_store(4, 2, 1);
    for (place = 0; place < 2; place++) {
        next_key();
        session = written("value");
        freeze(place);
        assert_int_equal(end(session), APR_SUCCESS);
        assert_finds_not(MEMSESS_ENDED);
        thaw(place);
        assert_finds_not(MEMSESS_ENDED);
        await_repaired("3 3 - -");
        assert_finds_not(MEMSESS_ENDED);
    }
}

/* -- Servers that are away --------------------------------------------------------------------- */

static void test_a_home_crashes(void **state)
{
    memsess_session_t *session;
    unsigned place;

    (void)state;
    open_store(4, 2, 1);
    for (place = 0; place < 2; place++) {
        next_key();
        session = written("one");
        unit_memcached_kill(at(place)); /* which the pool does not know yet */
        assert_finds("one");
        write_value(session, "two");
        assert_finds("two");
        /* There are two copies again. */
        assert_revisions(place ? "2 x 2 -" : "x 2 2 -");
        write_value(session, "three");
        assert_revisions(place ? "3 x 3 -" : "x 3 3 -");

        restart(place);
        assert_finds("three");
        /* Exactly two: what stood in goes. */
        await_repaired("4 4 - -");
        write_value(read_session(), "four");
        assert_revisions("5 5 - -");
        assert_finds("four");
    }
}

/* The write itself finds out, and there are N copies after it. */
static void test_a_home_crashes_before_a_write(void **state)
{
    memsess_session_t *session;
    unsigned place;

    (void)state;
    open_store(4, 2, 1);
    for (place = 0; place < 2; place++) {
        next_key();
        session = written("one");
        unit_memcached_kill(at(place));
        write_value(session, "two");
        assert_revisions(place ? "2 x 2 -" : "x 2 2 -");
        assert_finds("two");
        restart(place);
        assert_finds("two");
    }
}

static void test_a_home_freezes_before_a_write(void **state)
{
    memsess_session_t *session;
    apr_time_t start;

    (void)state;
    open_store(4, 2, 1);
    session = written("one");
    unit_memcached_freeze(at(0));
    start = apr_time_now();
    write_value(session, "two");
    assert_true(apr_time_now() - start < 2 * TIMEOUT + apr_time_from_sec(3));
    assert_revisions("x 2 2 -");
    assert_finds("two");
    /* What it was sent in vain it reads now, so that its copy may be the newest one or not. */
    thaw(0);
    assert_finds("two");
    /* It was away, so the session is written once more; what stood in is named by one of the two
     * records of revision 2, and cleared away if that is the one that was seen. */
    unit_await(repaired("3 3 2 -") || settled(2));
    assert_finds("two");
}

static void test_old_memory_never_wins(void **state)
{
    memsess_session_t *session;
    unsigned place;

    (void)state;
    open_store(4, 2, 1);
    for (place = 0; place < 2; place++) {
        next_key();
        session = written("old");
        freeze(place);
        write_value(session, "new");
        thaw(place);
        assert_finds("new");
        await_repaired("3 3 - -");
        assert_finds("new");
    }
}

/* All that have the old one were away at once, and what stood in has the new one. */
static void test_old_memory_of_all_homes_never_wins(void **state)
{
    unsigned copies, place;

    (void)state;
    for (copies = 1; copies <= 2; copies++) {
        memsess_session_t *session;

        open_store(5, copies, 1);
        session = written("old");
        for (place = 0; place < copies; place++) {
            freeze(place);
        }
        write_value(session, "new");
        for (place = 0; place < copies; place++) {
            thaw(place);
        }
        assert_finds("new");
        await_settled(copies);
        assert_finds("new");
        memsess_pool_destroy(the_pool);
        the_pool = NULL;
        unit_servers_stop();
    }
}

/* Whoever may know better is away: then old memory is no answer. */
static void test_old_memory_is_not_trusted(void **state)
{
    memsess_session_t *session;

    (void)state;
    open_store(4, 2, 1);
    session = written("old");
    freeze(0);
    write_value(session, "new");
    freeze(1);
    freeze(2);
    thaw(0);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    thaw(1);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    thaw(2);
    assert_finds("new");
    await_repaired("3 3 - -");
}

/* Every write is on a server that its predecessor names, so the newest is found by the names. */
static void test_chain_of_placements(void **state)
{
    memsess_session_t *session;

    (void)state;
    open_store(6, 2, 1);
    session = written("one");
    freeze(0);
    write_value(session, "two");
    freeze(1);
    write_value(session, "three");
    freeze(2);
    write_value(session, "four");
    assert_revisions("x x x 4 4 -");
    assert_finds("four");
    thaw(0);
    thaw(1);
    thaw(2);
    assert_revisions("1 2 3 4 4 -");
    assert_finds("four");
    await_repaired("5 5 3 - - -");
    write_value(read_session(), "five");
    assert_finds("five");
    assert_revisions("6 6 3 - - -");
}

static void test_chain_of_placements_to_a_tombstone(void **state)
{
    memsess_session_t *session;

    (void)state;
    open_store(5, 2, 1);
    session = written("one");
    freeze(0);
    write_value(session, "two");
    freeze(1);
    assert_int_equal(end(read_session()), APR_SUCCESS);
    thaw(0);
    thaw(1);
    assert_finds_not(MEMSESS_ENDED);
    await_settled(2);
    assert_finds_not(MEMSESS_ENDED);
}

static void test_born_while_a_home_is_away(void **state)
{
    unsigned copies;

    (void)state;
    for (copies = 1; copies <= 2; copies++) {
        open_store(4, copies, 1);
        crash(0);
        written("value");
        assert_revisions(copies == 1 ? "x 1 - -" : "x 1 1 -");
        assert_finds("value");
        restart(0);
        assert_finds("value");
        /* The only one stays where it lies. */
        await_repaired(copies == 1 ? "- 1 - -" : "2 2 - -");
        assert_finds("value");
        memsess_pool_destroy(the_pool);
        the_pool = NULL;
        unit_servers_stop();
    }
}

static void test_born_while_all_homes_are_away(void **state)
{
    (void)state;
    open_store(4, 2, 1);
    crash(0);
    crash(1);
    written("one");
    assert_revisions("x x 1 1");
    assert_finds("one");
    restart(0);
    assert_finds("one");
    await_repaired("2 x 2 -");
    restart(1);
    assert_finds("one");
    await_repaired("3 3 - -");
    assert_finds("one");
}

/* -- An error is never taken for a miss -------------------------------------------------------- */

static void test_missing_or_unavailable(void **state)
{
    unsigned place;

    (void)state;
    open_store(4, 2, 1);
    assert_finds_not(MEMSESS_MISSING);
    for (place = 0; place < 4; place++) {
        unit_memcached_kill(at(place)); /* which the pool does not know yet */
        assert_finds_not(MEMSESS_UNSEEN); /* a stand-in may have it, too */
        assert_finds_not(MEMSESS_UNSEEN);
        unit_memcached_start(at(place));
        know_up(place);
        assert_finds_not(MEMSESS_MISSING);
    }
    crash(0);
    crash(1);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    restart(0);
    assert_finds_not(MEMSESS_UNSEEN);
    restart(1);
    assert_finds_not(MEMSESS_MISSING);
}

/* With one copy: where its home has none it is not there for now, but nobody knows for certain. */
static void test_one_copy_that_is_not_there(void **state)
{
    (void)state;
    open_store(3, 1, 1);
    assert_finds_not(MEMSESS_MISSING);
    crash(2);
    assert_finds_not(MEMSESS_UNSEEN);
    crash(0);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    restart(2);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    restart(0);
    assert_finds_not(MEMSESS_MISSING);
}

/* Both homes are there, and have none; as many as it has copies are silent. */
static void test_the_stand_ins_are_silent(void **state)
{
    (void)state;
    open_store(4, 2, 1);
    crash(0);
    crash(1);
    written("a");
    restart(0);
    restart(1);
    freeze(2);
    freeze(3);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    thaw(2);
    thaw(3);
    assert_finds("a");
}

/* As many silent servers as there are copies may have it all, one fewer may not. */
static void test_how_many_are_silent(void **state)
{
    unsigned copies, n, away;

    (void)state;
    for (n = 1; n <= 4; n++) {
        for (copies = 1; copies <= 3 && copies <= n; copies++) {
            open_store(n, copies, 1);
            for (away = 1; away <= n; away++) {
                crash(away - 1);
                assert_finds_not(away < copies ? MEMSESS_UNSEEN : MEMSESS_UNAVAILABLE);
            }
            memsess_pool_destroy(the_pool);
            the_pool = NULL;
            unit_servers_stop();
        }
    }
}

/* The only copy that is left is on a server that is away: the session is not there for now, and
 * nothing that is done meanwhile ends it. */
static void test_the_only_copy_is_away(void **state)
{
    edit_t edit = {"b", APR_SUCCESS, 0, 0, NULL};
    memsess_session_t *session;

    (void)state;
    open_store(4, 2, 1);
    session = begun("a");
    unit_memcached_delete(at(1), copy_key(1));
    freeze(0);
    assert_finds_not(MEMSESS_UNSEEN);
    assert_int_equal(commit_at(session, 0, apr_time_from_msec(300), &edit), MEMSESS_DOWN);
    thaw(0);
    assert_finds("a");
    await_settled(2);
    assert_finds("a");
}

static void test_a_frozen_home_costs_one_timeout(void **state)
{
    apr_time_t start;

    (void)state;
    open_store(3, 2, 1);
    assert_finds_not(MEMSESS_MISSING);
    unit_memcached_freeze(at(1));
    start = apr_time_now();
    assert_finds_not(MEMSESS_UNSEEN);
    assert_true(apr_time_now() - start < 2 * TIMEOUT + apr_time_from_sec(3));
    start = apr_time_now();
    assert_finds_not(MEMSESS_UNSEEN);
    assert_true(apr_time_now() - start < TIMEOUT);
    thaw(1);
    assert_finds_not(MEMSESS_MISSING);
}

static void test_all_servers_away(void **state)
{
    memsess_session_t *session;
    unsigned place;

    (void)state;
    open_store(3, 2, 1);
    session = written("one");
    for (place = 0; place < 3; place++) {
        unit_memcached_kill(at(place));
    }
    set_value(session, "two");
    assert_finds_not(MEMSESS_UNAVAILABLE);
    assert_int_not_equal(memsess_store_write(store, &key, session, unit_pool), APR_SUCCESS);
    assert_int_not_equal(commit(session, "two"), APR_SUCCESS);
    assert_int_not_equal(end(session), APR_SUCCESS);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    for (place = 0; place < 3; place++) {
        restart(place);
    }
    assert_finds_not(MEMSESS_MISSING);
    write_value(session, "three");
    assert_finds("three");
}

static void test_all_servers_restarted(void **state)
{
    unsigned place;

    (void)state;
    open_store(3, 2, 1);
    written("value");
    for (place = 0; place < 3; place++) {
        unit_memcached_kill(at(place));
        unit_memcached_start(at(place));
    }
    /* Nobody knew of it, nobody loses an operation by it, and the loss is certain. */
    assert_finds_not(MEMSESS_MISSING);
    written("anew");
    assert_finds("anew");
    assert_revisions("1 1 -");
    assert_int_equal(unit_logged("is down"), 0);
}

/* -- Failover off ------------------------------------------------------------------------------ */

static void test_without_failover(void **state)
{
    memsess_session_t *session;

    (void)state;
    open_store(4, 2, 0);
    session = written("one");
    unit_memcached_kill(at(0));
    assert_finds("one");
    write_value(session, "two");
    assert_revisions("x 2 - -");
    assert_finds("two");
    crash(1);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    assert_int_not_equal(memsess_store_write(store, &key, session, unit_pool), APR_SUCCESS);
    assert_revisions("x x - -");
    restart(0);
    assert_finds_not(MEMSESS_UNSEEN);
    restart(1);
    assert_finds_not(MEMSESS_MISSING);
}

static void test_without_failover_old_memory_never_wins(void **state)
{
    memsess_session_t *session;

    (void)state;
    open_store(3, 2, 0);
    session = written("old");
    freeze(0);
    write_value(session, "new");
    freeze(1);
    thaw(0);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    thaw(1);
    assert_finds("new");
    await_repaired("3 3 -");
}

static void test_a_pool_of_one(void **state)
{
    memsess_session_t *session;

    (void)state;
    open_store(1, 1, 1);
    session = written("value");
    assert_finds("value");
    freeze(0);
    assert_finds_not(MEMSESS_UNAVAILABLE);
    thaw(0);
    assert_finds("value");
    unit_memcached_kill(at(0));
    assert_finds_not(MEMSESS_UNAVAILABLE);
    assert_int_not_equal(memsess_store_write(store, &key, session, unit_pool), APR_SUCCESS);
    restart(0);
    assert_finds_not(MEMSESS_MISSING);
    write_value(session, "value");
    assert_finds("value");
}

/* -- Size -------------------------------------------------------------------------------------- */

/* MemSessMaxSize's default must fit memcached's, incompressible too. */
static void test_the_largest_session(void **state)
{
    enum { LARGE = 1000000 };
    memsess_session_t *session;
    char *value = apr_palloc(unit_pool, LARGE);
    apr_size_t len, i;

    (void)state;
    open_store(2, 2, 1);
    for (i = 0; i < LARGE; i++) {
        value[i] = (char)(1 + unit_below(255));
    }
    value[LARGE - 12] = '\0'; /* what is left is the name and 7 bytes */
    session = written(value);
    assert_int_equal(memsess_record_size(session), LARGE);
    assert_finds(value);
    assert_revisions("1 1");

    /* Compressed, it is small in memcached. */
    memset(value, 'x', LARGE - 12);
    write_value(session, value);
    assert_non_null(copy_raw(0, &len));
    assert_true(len < LARGE / 10);
    assert_finds(value);
}

/* MemSessMaxSize was lowered since it was written, say: it is not lost, and nothing is written over
 * it. */
static void test_a_session_larger_than_may_be_unpacked(void **state)
{
    memsess_store_t *usual, *lowered;
    char value[6000];

    (void)state;
    open_store(2, 2, 1);
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    written(value);
    usual = store;
    store_conf.unpack = 5000;
    assert_int_equal(memsess_store_create(&lowered, &store_conf, the_pool, handles, unit_pool),
                     APR_SUCCESS);
    store = lowered;
    assert_finds_not(MEMSESS_UNAVAILABLE);
    assert_true(unit_logged("raise MemSessMaxSize"));
    store = usual;
    assert_finds(value);
    assert_revisions("1 1");
}

static void test_a_session_that_no_server_takes(void **state)
{
    enum { LARGE = 3000000 };
    memsess_session_t *session;
    char *value = apr_palloc(unit_pool, LARGE);
    apr_size_t i;

    (void)state;
    open_store(2, 2, 1);
    for (i = 0; i < LARGE - 1; i++) {
        value[i] = (char)(1 + unit_below(255));
    }
    value[LARGE - 1] = '\0';
    session = new_session();
    set_value(session, value);
    assert_int_equal(memsess_store_write(store, &key, session, unit_pool), MEMSESS_TOO_LARGE);
    assert_int_equal(unit_logged("is down"), 0);
    assert_finds_not(MEMSESS_MISSING);
    write_value(session, "small");
    assert_finds("small");
}

/* -- Commits, one after the other -------------------------------------------------------------- */

static void test_commit(void **state)
{
    memsess_session_t *session;
    edit_t edit = {"b", APR_SUCCESS, 0, 0, NULL};

    (void)state;
    open_store(3, 2, 1);
    session = written("a");
    assert_int_equal(commit_at(session, memsess_clock_steady(), 0, &edit), APR_SUCCESS);
    assert_int_equal(edit.calls, 1);
    assert_int_equal(edit.given, 1);
    assert_int_equal(session->revision, 1);
    assert_finds("ab");
    assert_revisions("2 2 -");
    assert_int_equal(commit(read_session(), "c"), APR_SUCCESS);
    assert_finds("abc");
    assert_revisions("3 3 -");
}

/* Somebody else was faster: the change is made upon what they wrote. */
static void test_commit_on_an_old_revision(void **state)
{
    memsess_session_t *session;
    edit_t edit = {"d", APR_SUCCESS, 0, 0, NULL};

    (void)state;
    open_store(3, 2, 1);
    written("a");
    session = read_session();
    assert_int_equal(commit(session, "b"), APR_SUCCESS);
    /* The claim of their revision is still there. */
    edit.append = "c";
    assert_int_equal(commit_at(session, memsess_clock_steady(), apr_time_from_sec(5), &edit),
                     APR_SUCCESS);
    assert_int_equal(edit.given, 2);
    assert_finds("abc");
    /* It may be gone where the reading is old; then it is not believed. */
    edit.append = "d";
    assert_int_equal(commit_at(session, memsess_clock_steady() - apr_time_from_sec(60),
                               apr_time_from_sec(5), &edit), APR_SUCCESS);
    assert_int_equal(edit.given, 3);
    assert_finds("abcd");
    assert_revisions("4 4 -");
}

/* The claims of a revision, as somebody else would have set them. */
static const char *claim_key(unsigned place, int revision)
{
    return apr_psprintf(unit_pool, "%s.%d", copy_key(place), revision);
}

static void test_commit_while_somebody_else_is_writing(void **state)
{
    memsess_session_t *session;
    edit_t edit = {"b", APR_SUCCESS, 0, 0, NULL};
    unsigned place;

    (void)state;
    open_store(3, 2, 1);
    written("a");
    session = read_session();
    for (place = 0; place < 2; place++) {
        apr_time_t start = apr_time_now();

        /* Either home is enough to meet at. */
        unit_memcached_set(at(place), claim_key(place, 2 + (int)place), "0123456789abcdef", 16);
        session = read_session();
        edit.calls = 0;
        assert_int_equal(commit_at(session, memsess_clock_steady(), 0, &edit), MEMSESS_BUSY);
        assert_int_equal(commit_at(session, memsess_clock_steady(), apr_time_from_msec(100), &edit),
                         MEMSESS_BUSY);
        assert_true(apr_time_now() - start < apr_time_from_sec(3));
        assert_int_equal(edit.calls, 0);
        assert_finds(place ? "ab" : "a");
        /* No claim of ours is left behind. */
        unit_memcached_delete(at(place), claim_key(place, 2 + (int)place));
        assert_int_equal(commit_at(session, memsess_clock_steady(), 0, &edit), APR_SUCCESS);
        assert_finds(place ? "abb" : "ab");
    }
}

static void test_commit_that_is_called_off(void **state)
{
    memsess_session_t *session;
    edit_t edit = {"b", APR_EINVAL, 0, 0, NULL};

    (void)state;
    open_store(3, 2, 1);
    written("a");
    session = read_session();
    assert_int_equal(commit_at(session, memsess_clock_steady(), apr_time_from_sec(5), &edit), APR_EINVAL);
    assert_int_equal(edit.calls, 1);
    assert_finds("a");
    assert_revisions("1 1 -");
    /* Nobody has to wait for it. */
    assert_int_equal(commit(session, "c"), APR_SUCCESS);
    assert_finds("ac");
}

/* A session that no server takes leaves the stored one intact. */
static void test_commit_that_is_refused(void **state)
{
    enum { LARGE = 3000000 };
    char *value = apr_palloc(unit_pool, LARGE);
    apr_size_t i;

    (void)state;
    open_store(3, 2, 1);
    written("a");
    for (i = 0; i < LARGE - 1; i++) {
        value[i] = (char)(1 + unit_below(255));
    }
    value[LARGE - 1] = '\0';
    assert_int_equal(commit(read_session(), value), MEMSESS_TOO_LARGE);
    /* Not for a moment was it away: it was never replaced. */
    assert_revisions("1 1 -");
    assert_finds("a");
    assert_int_equal(unit_logged("is down"), 0);
    assert_int_equal(commit(read_session(), "b"), APR_SUCCESS);
    assert_finds("ab");
}

/* A record as another writer would have stored it; the revision and its age in seconds. */
static void put_record(const memsess_session_t *before, unsigned place, const char *value,
                       unsigned revision, int age, int mark)
{
    memsess_session_t *session = apr_pmemdup(unit_pool, before, sizeof(*before));
    apr_size_t len;
    char *data;
    unsigned i;

    set_value(session, value);
    session->revision = revision;
    session->mark = (apr_uint16_t)mark;
    session->written = memsess_clock_wall() - apr_time_from_sec(age);
    for (i = 0; i < session->placement.n; i++) {
        session->placement.clock[i] = (apr_uint32_t)(memsess_server_clock(handle(place)) - age);
    }
    assert_int_equal(memsess_record_encode(session, &key, 0, &data, &len, unit_pool),
                     APR_SUCCESS);
    put_raw(place, data, len);
}

static int is_read_at_once(unsigned place)
{
    long asked = unit_memcached_stat(at(place), "cmd_get");

    assert_finds("here");
    return unit_memcached_stat(at(place), "cmd_get") == asked + 1;
}

/* While there are fewer servers than copies, a reading is one round trip all the same. */
static void test_reading_beside_a_server_that_is_away(void **state)
{
    (void)state;
    open_store(3, 3, 1);
    written("here");
    crash(0);
    unit_await(is_read_at_once(1));
    restart(0);
}

static void *reader_main(void *session)
{
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    unit_read(store, &key, session, p);
    return NULL;
}

/* A reader had the old memory of a home, and is waiting for the other one, which hangs, while a
 * writer renews the first and deletes what stood in for it. He is not shown what was before. */
static void test_a_copy_is_deleted_beside_a_reader(void **state)
{
    memsess_session_t *before, stood_in, *found = NULL;
    pthread_t reader;
    long asked;

    (void)state;
    open_store(3, 2, 1);
    write_value(before = new_session(), "old");
    stood_in = *before;
    memcpy(stood_in.placement.tag[1], nodes[order[2]].tag, MEMSESS_TAG_LEN);
    put_record(&stood_in, 0, "new", 2, 6, 0);
    put_record(&stood_in, 2, "new", 2, 6, 0);
    asked = unit_memcached_stat(at(1), "cmd_get");
    unit_memcached_freeze(at(0));
    assert_int_equal(pthread_create(&reader, NULL, reader_main, &found), 0);
    unit_await(unit_memcached_stat(at(1), "cmd_get") > asked);
    put_record(before, 1, "newest", 3, 0, 0);
    unit_memcached_delete(at(2), copy_key(2));
    pthread_join(reader, NULL);
    assert_non_null(found);
    assert_string_not_equal(memsess_session_find(found, "value")->value, "old");
    unit_memcached_thaw(at(0));
}

/* Two writers of one revision, which there are only where claims were lost. A server that both have
 * written to has the later one. */
static void test_two_records_of_one_revision(void **state)
{
    memsess_session_t *before, there, living;
    unsigned place;

    (void)state;
    open_store(4, 2, 1);
    for (place = 0; place < 2; place++) {
        next_key();
        write_value(before = new_session(), "a");
        there = living = *before;
        memcpy(living.placement.tag[0], nodes[order[1 - place]].tag, MEMSESS_TAG_LEN);
        memcpy(living.placement.tag[1], nodes[order[2]].tag, MEMSESS_TAG_LEN);
        put_record(&there, place, "dead", 2, 6, 9);
        put_record(&living, 1 - place, "living", 2, 600, 1);
        put_record(&living, 2, "living", 2, 600, 1);
        assert_finds("living");
        assert_true(unit_logged("one of two with the same revision") > 0);
        await_settled(2);
        assert_finds("living");
    }
    /* Where no server tells, all members choose alike. */
    for (place = 0; place < 2; place++) {
        next_key();
        write_value(before = new_session(), "a");
        put_record(before, place, "nine", 2, 6, 9);
        put_record(before, 1 - place, "one", 2, 1, 1);
        assert_finds("nine");
        await_settled(2);
        assert_finds("nine");
    }
}

/* What only some of its servers have may still be on its way to the others: who builds upon it
 * claims it there too. */
static void test_commit_upon_what_is_under_way(void **state)
{
    static const char token[] = "ABCDefgh01234567"; /* its mark: 0x0011 */
    memsess_session_t *before, *session;

    (void)state;
    open_store(3, 2, 1);
    write_value(before = new_session(), "a");
    put_record(before, 0, "b", 2, 0, 0x0011);
    unit_memcached_set(at(1), claim_key(1, 2), token, 16);
    assert_int_equal(commit(read_session(), "c"), MEMSESS_BUSY);
    assert_revisions("2 1 -");
    /* Its writer has sent all by now, or was somebody else's. */
    put_record(before, 0, "b", 2, 5, 0x1234);
    assert_int_equal(unit_read(store, &key, &session, unit_pool), MEMSESS_FOUND);
    assert_int_equal(commit(session, "c"), MEMSESS_BUSY);
    put_record(before, 0, "b", 2, 5, 0x0011);
    assert_int_equal(unit_read(store, &key, &session, unit_pool), MEMSESS_FOUND);
    assert_int_equal(commit(session, "c"), APR_SUCCESS);
    assert_finds("bc");
}

/* Whoever repairs does not go by the writer's wall clock either, which may be anything. */
static void test_repair_upon_what_is_under_way(void **state)
{
    static const char token[] = "ABCDefgh01234567"; /* its mark: 0x0011 */
    memsess_session_t *before;
    int hours;

    (void)state;
    open_store(3, 2, 1);
    for (hours = -1; hours <= 1; hours++) {
        next_key();
        write_value(before = new_session(), "a");
        put_record(before, 0, "b", 2, 0, 0x0011);
        unit_memcached_set(at(1), claim_key(1, 2), token, 16);
        memsess_clock_shift(passed + apr_time_from_sec(3600 * hours), passed);
        assert_finds("b");
        assert_revisions("2 1 -");
    }
    /* By the servers' own clocks the writer is done. */
    pass_time();
    assert_finds("b");
    assert_revisions("3 3 -");
}

/* A late writer does not bring back what nobody has any more. */
static void test_commit_upon_what_is_gone(void **state)
{
    edit_t edit = {"b", APR_SUCCESS, 0, 0, NULL};
    memsess_session_t *session;

    (void)state;
    open_store(3, 2, 1);
    written("a");
    session = read_session();
    unit_memcached_delete(at(0), copy_key(0));
    unit_memcached_delete(at(1), copy_key(1));
    assert_int_equal(commit_at(session, memsess_clock_steady() - apr_time_from_sec(60),
                               apr_time_from_sec(5), &edit), MEMSESS_GONE);
    assert_int_equal(edit.calls, 0);
    assert_revisions("- - -");
}

/* Servers that fail in mid-write: the same again where one has it, an error where none has. */
static apr_status_t make_next_and_kill(void *baton, const memsess_session_t *newest,
                                       memsess_session_t **next, apr_pool_t *p)
{
    edit_t edit = {"b", APR_SUCCESS, 0, 0, NULL};
    unsigned *kills = baton;

    if (*kills & 1) {
        unit_memcached_kill(at(0));
    }
    if (*kills & 2) {
        unit_memcached_kill(at(1));
    }
    return make_next(&edit, newest, next, p);
}

static void test_commit_while_servers_fail(void **state)
{
    unsigned kills;

    (void)state;
    open_store(3, 2, 1);
    for (kills = 1; kills <= 3; kills++) {
        memsess_session_t *session;
        apr_status_t rv;

        next_key();
        written("a");
        session = read_session();
        rv = unit_commit(store, &key, session, memsess_clock_steady(), apr_time_from_sec(5),
                         make_next_and_kill, &kills, unit_pool);
        assert_int_equal(rv, kills == 3 ? MEMSESS_UNSURE : APR_SUCCESS);
        know_down(kills == 2);
        if (kills < 3) {
            /* A revision of its own, where it is whole. */
            assert_revisions(kills == 1 ? "x 3 3" : "3 x 3");
            assert_finds("ab");
        }
        else {
            know_down(0);
            know_down(1);
        }
        for (unsigned place = 0; place < 2; place++) {
            if (!at(place)->pid) {
                restart(place);
            }
        }
    }
}

static void test_commit_while_a_home_is_away(void **state)
{
    unsigned place;

    (void)state;
    open_store(4, 2, 1);
    for (place = 0; place < 2; place++) {
        next_key();
        written("a");
        unit_memcached_kill(at(place)); /* which the pool does not know yet */
        assert_int_equal(commit(read_session(), "b"), APR_SUCCESS);
        assert_finds("ab");
        assert_true(revision_at(2) >= 2 && revision_at(2) == revision_at(1 - place));
        assert_int_equal(commit(read_session(), "c"), APR_SUCCESS);
        restart(place);
        assert_int_equal(commit(read_session(), "d"), APR_SUCCESS);
        assert_finds("abcd");
        await_settled(2);
        assert_finds("abcd");
    }
}

/* Members whose clocks are an hour apart, in turn, while one server after the other is away: no
 * change is lost, nothing old is taken for new, and nothing is written without need. */
static void test_clocks_apart(void **state)
{
    static const int hours[] = {0, 1, -1};
    char expected[64] = "";
    unsigned i, place;

    (void)state;
    open_store(3, 2, 1);
    written("");
    for (i = 0; i < 30; i++) {
        edit_t edit = {"x", APR_SUCCESS, 0, 0, NULL};

        memsess_clock_shift(passed + apr_time_from_sec(3600 * hours[i % COUNT(hours)]), passed);
        place = i / 5 % 3;
        if (i % 5 == 1) {
            freeze(place);
        }
        assert_int_equal(commit_at(read_session(), memsess_clock_steady(), apr_time_from_sec(20),
                                   &edit), APR_SUCCESS);
        strcat(expected, "x");
        assert_finds(expected);
        if (i % 5 == 3) {
            thaw(place);
            assert_finds(expected);
        }
    }
    await_settled(2);
    for (i = 0; i < COUNT(hours); i++) {
        apr_uint64_t revision = revision_at(0);

        memsess_clock_shift(passed + apr_time_from_sec(3600 * hours[i]), passed);
        assert_finds(expected);
        assert_true(revision_at(0) == revision);
    }
}

/* How old a record is its servers tell, whatever members' clocks say. */
static void test_how_long_ago_it_was_written(void **state)
{
    static const int hours[] = {0, 1, -1};
    memsess_session_t *session;
    unsigned i;

    (void)state;
    open_store(3, 2, 1);
    session = begun("a");
    for (i = 0; i < COUNT(hours); i++) {
        memsess_clock_shift(passed + apr_time_from_sec(3600 * hours[i]), passed);
        assert_in_range(memsess_store_written_ago(store, session), apr_time_from_sec(passed ? 3 : 0),
                        passed + apr_time_from_sec(3));
        pass_time();
    }
    reopen_store();
    assert_true(memsess_store_written_ago(store, session) < 0);
}

/* What a member whose clock differs writes right after a server's return is believed some seconds
 * later, though nobody has used it since, and the other server goes. */
static void test_written_right_after_a_return(void **state)
{
    int hours;

    (void)state;
    open_store(2, 2, 1);
    for (hours = -1; hours <= 1; hours += 2) {
        apr_uint64_t revision;

        next_key();
        written("a");
        freeze(1);
        unit_memcached_thaw(at(1));
        unit_await(!memsess_server_is_down(handle(1)));
        memsess_clock_shift(passed + apr_time_from_sec(3600 * hours), passed);
        assert_int_equal(commit(read_session(), "b"), APR_SUCCESS);
        revision = revision_at(1);
        memsess_clock_shift(passed, passed);
        pass_time();
        unit_await(revision_at(1) > revision && revision_at(0) == revision_at(1));
        freeze(0);
        assert_finds("ab");
        thaw(0);
    }
}

/* -- Epochs of users ---------------------------------------------------------------------------- */

typedef struct epoch_bytes_t {
    unsigned char bytes[MEMSESS_EPOCH_BYTES];
} epoch_bytes_t;

static epoch_bytes_t get_epoch(void)
{
    memsess_entry_t entry = {"AAAAAAAAAAAAAAAA", 0, 0, apr_time_from_sec(1800), ""};
    memsess_login_t login;
    epoch_bytes_t epoch;

    assert_int_equal(memsess_epoch_enter(&login, store, &key, &entry, 0, apr_time_from_sec(5),
                                         unit_pool), APR_SUCCESS);
    memcpy(epoch.bytes, login.epoch, sizeof(epoch.bytes));
    return epoch;
}

#define assert_epoch(expected)                                                                     \
    do {                                                                                           \
        epoch_bytes_t epoch_now = get_epoch();                                                     \
        assert_memory_equal(epoch_now.bytes, (expected).bytes, MEMSESS_EPOCH_BYTES);               \
    } while (0)

static const char *first_key(unsigned place)
{
    return apr_pstrcat(unit_pool, copy_key(place), ".first", NULL);
}

/* A user who logs in for the first time while a server is away has an epoch all the same. */
static void test_first_epoch_while_a_server_is_away(void **state)
{
    unsigned n, place;

    (void)state;
    for (n = 2; n <= 4; n++) {
        open_store(n, 2, 1);
        for (place = 0; place < n; place++) {
            epoch_bytes_t epoch;

            next_key();
            freeze(place);
            epoch = get_epoch();
            assert_epoch(epoch);
            thaw(place);
            assert_epoch(epoch);
        }
        memsess_pool_destroy(the_pool);
        the_pool = NULL;
        unit_servers_stop();
    }
}

/* The only copy that is left is on a server that is away: what is made meanwhile wins over it, however
 * often that was written, and whatever members' clocks say. */
static void test_an_epoch_that_is_made_anew_wins(void **state)
{
    epoch_bytes_t old, made;
    unsigned i, change;

    (void)state;
    open_store(3, 2, 1);
    for (change = 0; change < 2; change++) {
        next_key();
        get_epoch();
        for (i = 0; i < 20; i++) {
            assert_int_equal(memsess_epoch_end_all(store, &key, apr_time_from_sec(5), unit_pool),
                             APR_SUCCESS);
        }
        old = get_epoch();
        unit_memcached_delete(at(1), copy_key(1));
        freeze(0);
        pass_time();
        memsess_clock_shift(passed - apr_time_from_sec(3600), passed);
        if (change) {
            assert_int_equal(memsess_epoch_end_all(store, &key, apr_time_from_sec(5), unit_pool),
                             APR_SUCCESS);
        }
        made = get_epoch();
        assert_memory_not_equal(made.bytes, old.bytes, MEMSESS_EPOCH_BYTES);
        thaw(0);
        assert_epoch(made);
        await_settled(2);
        assert_epoch(made);
    }
}

/* Right after a start, when no server has told its time yet. */
static void test_an_epoch_that_is_made_anew_right_after_a_start(void **state)
{
    epoch_bytes_t old, made;

    (void)state;
    open_store(3, 2, 1);
    old = get_epoch();
    unit_memcached_delete(at(1), copy_key(1));
    reopen_store();
    freeze(0);
    pass_time();
    memsess_clock_shift(passed - apr_time_from_sec(3600), passed);
    made = get_epoch();
    assert_memory_not_equal(made.bytes, old.bytes, MEMSESS_EPOCH_BYTES);
    thaw(0);
    assert_epoch(made);
}

/* Members whose clocks are an hour apart log a user in, in turn: the epoch is not written each time. */
static void test_an_epoch_is_kept_by_members_apart(void **state)
{
    static const int hours[] = {0, 1, -1, 0, 1};
    apr_uint64_t revision = 0;
    unsigned i;

    (void)state;
    open_store(2, 2, 1);
    for (i = 0; i < COUNT(hours); i++) {
        memsess_clock_shift(passed + apr_time_from_sec(3600 * hours[i]), passed);
        get_epoch();
        revision = i ? revision : revision_at(0);
        assert_true(revision_at(0) == revision);
    }
    /* But before servers drop it. */
    passed += apr_time_from_sec(1000);
    memsess_clock_shift(passed - apr_time_from_sec(3600), passed);
    get_epoch();
    assert_true(revision_at(0) == revision + 1);
}

/* A server that stands in may have it alone, and be silent: who ends all sessions makes an epoch that
 * wins over that one. */
static void test_an_epoch_changes_that_may_be_elsewhere(void **state)
{
    epoch_bytes_t old, now;
    apr_size_t len;
    char *data;
    unsigned place;

    (void)state;
    open_store(3, 2, 1);
    old = get_epoch();
    data = copy_raw(0, &len);
    put_raw(2, data, len);
    for (place = 0; place < 2; place++) {
        unit_memcached_delete(at(place), copy_key(place));
    }
    freeze(2);
    assert_int_equal(memsess_epoch_end_all(store, &key, apr_time_from_sec(5), unit_pool),
                     APR_SUCCESS);
    thaw(2);
    now = get_epoch();
    assert_memory_not_equal(now.bytes, old.bytes, MEMSESS_EPOCH_BYTES);
}

/* Who builds upon what a server has none of meets who sees none at all, there; and gives the claim
 * back, so that the next one does not wait for it. */
static void test_an_epoch_that_others_may_not_see(void **state)
{
    (void)state;
    open_store(2, 2, 1);
    get_epoch();
    unit_memcached_delete(at(1), copy_key(1));
    unit_memcached_set(at(1), first_key(1), "0123456789abcdef", 16);
    pass_time();
    assert_int_equal(memsess_epoch_end_all(store, &key, apr_time_from_msec(50), unit_pool),
                     MEMSESS_BUSY);
    assert_true(revision_at(0) > 0 && revision_at(1) == 0);
    unit_memcached_delete(at(1), first_key(1));
    assert_int_equal(memsess_epoch_end_all(store, &key, apr_time_from_msec(50), unit_pool),
                     APR_SUCCESS);
    assert_true(revision_at(0) > 0 && revision_at(1) == revision_at(0));
    unit_memcached_delete(at(1), copy_key(1));
    pass_time();
    assert_int_equal(memsess_epoch_end_all(store, &key, apr_time_from_msec(50), unit_pool),
                     APR_SUCCESS);
    assert_true(revision_at(0) > 0 && revision_at(1) == revision_at(0));
}

/* A session's log-in, by a user of whom so many may be listed. */
static void enter_list(const char *public_id, int used_ago, int idle, unsigned most)
{
    apr_time_t used = memsess_clock_wall() - apr_time_from_sec(used_ago);
    char label[MEMSESS_LABEL_MAX + 11];
    memsess_entry_t entry = {public_id, used, used, apr_time_from_sec(idle), label};
    memsess_login_t login = {"", {0}, 0, 0};

    memset(label, 'l', sizeof(label) - 1);
    label[sizeof(label) - 1] = '\0';
    assert_int_equal(memsess_epoch_enter(&login, store, &key, &entry, most, apr_time_from_sec(5),
                                         unit_pool), APR_SUCCESS);
    assert_true(login.listed);
}

static const memsess_session_t *user_record(void)
{
    memsess_reading_t epoch = {.key = key};

    memsess_store_read(store, &epoch, unit_pool);
    assert_int_equal(epoch.found, MEMSESS_FOUND);
    return epoch.session;
}

/* Of a full list the one goes that was unused for longest; but one that is over goes before one that is
 * to last for longer, though that was used less lately. */
static void test_who_leaves_a_full_list(void **state)
{
    const memsess_session_t *record;

    (void)state;
    open_store(2, 2, 1);
    enter_list("lasting_________", 3000, 100000, 3);
    enter_list("over____________", 1500, 1000, 3);
    enter_list("new_____________", 0, 1000, 3);
    enter_list("-newer__________", 0, 1000, 3);
    record = user_record();
    assert_int_equal(record->attrs->nelts, 3);
    assert_null(memsess_session_find(record, "over____________"));
    assert_non_null(memsess_session_find(record, "lasting_________"));
    enter_list("newest__________", 0, 1000, 3);
    record = user_record();
    assert_int_equal(record->attrs->nelts, 3);
    assert_null(memsess_session_find(record, "lasting_________"));
    assert_non_null(memsess_session_find(record, "-newer__________"));
}

/* Members' clocks are apart: the list tells all the same which session was unused for longest, and none
 * is taken for over by another member's clock. */
static void test_a_list_of_members_apart(void **state)
{
    static const int hours[] = {1, -1};
    unsigned i;

    (void)state;
    open_store(2, 2, 1);
    for (i = 0; i < COUNT(hours); i++) {
        apr_interval_time_t apart = apr_time_from_sec(3600 * hours[i]);
        const memsess_session_t *record;
        const memsess_entry_t *entry;
        apr_array_header_t *list;

        next_key();
        memsess_clock_shift(passed + apart, passed);
        enter_list("apart-unused____", 600, 1000, 3);
        enter_list("apart-used______", 0, 1000, 3);
        memsess_clock_shift(passed, passed);
        enter_list("in-step-unused__", 700, 1000, 3);
        memsess_clock_shift(passed + apart, passed);
        enter_list("apart-new_______", 0, 1000, 3);
        assert_null(memsess_session_find(user_record(), "in-step-unused__"));
        memsess_clock_shift(passed, passed);
        enter_list("in-step-new_____", 0, 1000, 3);
        record = user_record();
        assert_null(memsess_session_find(record, "apart-unused____"));
        assert_non_null(memsess_session_find(record, "apart-used______"));
        /* Each member shows it in its own time. */
        memsess_clock_shift(passed + apart, passed);
        list = memsess_epoch_list(store, record, unit_pool);
        assert_int_equal(list->nelts, 3);
        entry = &APR_ARRAY_IDX(list, 0, memsess_entry_t);
        assert_in_range(memsess_clock_wall() - entry->used + apr_time_from_sec(5), 0,
                        apr_time_from_sec(10));
    }
}

/* A hundred with the longest labels there can be. */
static void test_a_full_list_is_small(void **state)
{
    const memsess_session_t *record;
    unsigned i;

    (void)state;
    open_store(2, 2, 1);
    for (i = 0; i < 110; i++) {
        enter_list(apr_psprintf(unit_pool, "%016u", i), 0, 1000, 100);
    }
    record = user_record();
    assert_int_equal(record->attrs->nelts, 100);
    assert_true(memsess_record_size(record) < 16384);
}

/* A writer that is to make the first record, slow or not, does not build upon one that it finds
 * by then under that claim: whoever builds upon it has the claim of a revision. */
static void test_the_first_record_is_not_built_upon(void **state)
{
    edit_t edit = {"c", APR_SUCCESS, 0, 0, NULL};
    memsess_reading_t blank;
    memsess_session_t *found;
    apr_time_t read_at;
    int seconds;

    (void)state;
    open_store(3, 2, 1);
    for (seconds = 0; seconds <= 60; seconds += 60) {
        next_key();
        blank.key = key;
        assert_int_equal(memsess_store_blank(&blank, store, unit_pool), APR_SUCCESS);
        read_at = memsess_clock_steady() - apr_time_from_sec(seconds);
        found = written("a");
        assert_int_equal(commit(found, "b"), APR_SUCCESS);
        unit_memcached_set(at(1), claim_key(1, 3), "0123456789abcdef", 16);
        edit.calls = 0;
        assert_int_equal(commit_at(blank.session, read_at, 0, &edit), MEMSESS_BUSY);
        assert_int_equal(edit.calls, 0);
        unit_memcached_delete(at(1), claim_key(1, 3));
        assert_int_equal(commit_at(blank.session, read_at, apr_time_from_sec(5), &edit), APR_SUCCESS);
        assert_finds("abc");
    }
}

/* -- Locks ------------------------------------------------------------------------------------ */

/* Right before it is written: there it is again. */
static void test_commit_where_copies_are_lost(void **state)
{
    memsess_session_t *session;
    unsigned lost;

    (void)state;
    open_store(3, 2, 1);
    for (lost = 1; lost < 4; lost++) {
        edit_t edit = {"b", APR_SUCCESS, 0, 0, NULL};
        unsigned place;

        next_key();
        session = begun("a");
        for (place = 0; place < 2; place++) {
            if (lost & 1U << place) {
                unit_memcached_delete(at(place), copy_key(place));
            }
        }
        assert_int_equal(commit_at(session, memsess_clock_steady(), apr_time_from_sec(5), &edit),
                         APR_SUCCESS);
        assert_finds("ab");
        await_settled(2);
    }
}

/* A lock that was freed can be had soon; where it was just being renewed, not at once. */
#define SOON apr_time_from_sec(3)

static void test_lock(void **state)
{
    memsess_lock_t *mine, *yours = NULL;
    memsess_session_t *session;
    apr_time_t start;

    (void)state;
    open_store(3, 2, 1);
    written("a");
    session = read_session();
    assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool), APR_SUCCESS);
    assert_int_equal(memsess_lock_take(&yours, store, &key, session, 0, unit_pool), MEMSESS_BUSY);
    start = apr_time_now();
    assert_int_equal(memsess_lock_take(&yours, store, &key, session, apr_time_from_msec(200),
                                       unit_pool), MEMSESS_BUSY);
    assert_in_range(apr_time_now() - start, apr_time_from_msec(150), apr_time_from_sec(3));
    /* It does not keep its holder from committing. */
    assert_int_equal(commit(session, "b"), APR_SUCCESS);
    session = read_session();
    memsess_lock_free(mine);
    assert_int_equal(memsess_lock_take(&yours, store, &key, session, SOON, unit_pool), APR_SUCCESS);
    /* What was freed is not freed again from under somebody else. */
    memsess_lock_free(mine);
    assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool), MEMSESS_BUSY);
    memsess_lock_free(yours);
    assert_finds("ab");
    assert_revisions("2 2 -");
}

/* Puts a lock there as one of us seals it, that lasts until some seconds from now by the server's own
 * clock, and stays. */
static void put_lock(const memsess_secrets_t *secrets, unsigned place, int seconds)
{
    char *plain = apr_psprintf(unit_pool, "0123456789abcdef1 %" APR_INT64_T_FMT,
                               memsess_server_clock(handle(place)) + seconds);
    apr_size_t len;
    char *data;

    assert_int_equal(memsess_seal(secrets, &key, "claim lock", plain, strlen(plain), &data, &len,
                                  unit_pool), APR_SUCCESS);
    unit_memcached_set(at(place), apr_pstrcat(unit_pool, copy_key(place), ".lock", NULL), data,
                       len);
}

/* What was put in the place of a lock holds nobody up: what none of us has sealed, and an old one
 * that somebody has put there again. */
static void test_lock_that_was_planted(void **state)
{
    memsess_secrets_t *secrets = memsess_secrets_make(unit_pool);
    memsess_raw_secret_t raw;
    memsess_session_t *session;
    memsess_lock_t *mine;

    (void)state;
    memset(raw.bytes, 's', 32);
    raw.len = 32;
    assert_int_equal(memsess_secrets_add(secrets, &raw, ""), APR_SUCCESS);
    store_conf.secrets = secrets;
    open_store(1, 1, 1);
    store_conf.secrets = NULL;
    assert_int_equal(memsess_server_tell(handle(0)), APR_SUCCESS);
    written("a");
    session = read_session();
    put_lock(secrets, 0, 5);
    assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool), MEMSESS_BUSY);
    put_lock(secrets, 0, -5); /* members' ideas of that clock may differ */
    assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool), MEMSESS_BUSY);
    assert_int_equal(unit_logged("taken away"), 0);
    put_lock(secrets, 0, -30);
    assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool), APR_SUCCESS);
    assert_int_equal(unit_logged("taken away"), 1);
    memsess_lock_free(mine);
    unit_memcached_set(at(0), apr_pstrcat(unit_pool, copy_key(0), ".lock", NULL), "planted words",
                       13);
    assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool), APR_SUCCESS);
    assert_int_equal(unit_logged("taken away"), 2);
    assert_int_equal(unit_logged("planted words"), 0);
    memsess_lock_free(mine);
}

/* Who frees a lock does not wait for a renewal of it that waits for a server which hangs; the lock
 * is free once that one has answered. */
static void test_lock_is_freed_while_it_is_renewed(void **state)
{
    memsess_lock_t *mine, *yours = NULL;
    memsess_session_t *session;
    apr_time_t start;
    long asked;

    (void)state;
    timeout = apr_time_from_sec(5);
    open_store(3, 2, 1);
    timeout = TIMEOUT;
    written("a");
    session = read_session();
    assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool), APR_SUCCESS);
    asked = unit_memcached_stat(at(0), "cmd_get");
    unit_memcached_freeze(at(1));
    unit_await(unit_memcached_stat(at(0), "cmd_get") > asked);
    apr_sleep(apr_time_from_msec(100)); /* it asks the other one next */
    start = apr_time_now();
    memsess_lock_free(mine);
    assert_true(apr_time_now() - start < apr_time_from_sec(2));
    unit_memcached_thaw(at(1));
    start = apr_time_now();
    assert_int_equal(memsess_lock_take(&yours, store, &key, session, apr_time_from_sec(20),
                                       unit_pool), APR_SUCCESS);
    assert_true(apr_time_now() - start < apr_time_from_sec(MEMSESS_LOCK_TTL - 4));
    memsess_lock_free(yours);
}

/* What a server that hangs was asked for it does when it goes on: a lock or a claim of who has given up
 * by then is dropped there soon. */
static void test_claims_that_come_late(void **state)
{
    memsess_lock_t *mine, *yours = NULL;
    memsess_session_t *session;
    edit_t edit = {"b", APR_EINVAL, 0, 0, NULL};
    unsigned place;

    (void)state;
    open_store(3, 2, 1);
    for (place = 0; place < 2; place++) {
        next_key();
        session = begun("a");
        unit_memcached_freeze(at(place));
        assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool),
                         APR_SUCCESS);
        memsess_lock_free(mine);
        unit_memcached_thaw(at(place));
        unit_await(!memsess_server_is_down(handle(place)));
        assert_int_equal(memsess_lock_take(&yours, store, &key, session, SOON + SOON, unit_pool),
                         APR_SUCCESS);
        memsess_lock_free(yours);

        edit.rv = APR_EINVAL;
        unit_memcached_freeze(at(place));
        assert_int_equal(commit_at(session, memsess_clock_steady(), 0, &edit), APR_EINVAL);
        unit_memcached_thaw(at(place));
        unit_await(!memsess_server_is_down(handle(place)));
        edit.rv = APR_SUCCESS;
        assert_int_equal(commit_at(read_session(), memsess_clock_steady(), SOON + SOON, &edit),
                         APR_SUCCESS);
    }
}

static void test_lock_while_a_home_is_away(void **state)
{
    memsess_lock_t *mine, *yours = NULL;
    memsess_session_t *session;
    unsigned place;

    (void)state;
    open_store(4, 2, 1);
    for (place = 0; place < 2; place++) {
        next_key();
        written("a");
        session = read_session();
        assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool),
                         APR_SUCCESS);
        crash(place);
        assert_int_equal(memsess_lock_take(&yours, store, &key, session, 0, unit_pool),
                         MEMSESS_BUSY);
        memsess_lock_free(mine);
        assert_int_equal(memsess_lock_take(&yours, store, &key, session, SOON, unit_pool),
                         APR_SUCCESS);
        restart(place);
        assert_int_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool),
                         MEMSESS_BUSY);
        memsess_lock_free(yours);
        assert_int_equal(memsess_lock_take(&mine, store, &key, session, SOON, unit_pool),
                         APR_SUCCESS);
        memsess_lock_free(mine);
    }
    for (place = 0; place < 4; place++) {
        crash(place);
    }
    assert_int_not_equal(memsess_lock_take(&mine, store, &key, session, 0, unit_pool),
                         APR_SUCCESS);
}

typedef struct waiter_t {
    pthread_t thread;
    memsess_store_t *store;
    memsess_session_t *session;
    apr_interval_time_t wait;
    int number;
    apr_status_t rv;
} waiter_t;

static int served[8];
static volatile apr_uint32_t served_n;

static void *waiter_main(void *data)
{
    waiter_t *w = data;
    memsess_lock_t *lock;
    apr_pool_t *p;

    apr_pool_create(&p, NULL);
    w->rv = memsess_lock_take(&lock, w->store, &key, w->session, w->wait, p);
    if (w->rv == APR_SUCCESS) {
        served[apr_atomic_inc32(&served_n)] = w->number;
        apr_sleep(10000);
        memsess_lock_free(lock);
    }
    apr_pool_destroy(p);
    return NULL;
}

static apr_uint64_t counted_waits(void)
{
    apr_uint64_t figures[MEMSESS_N];

    memsess_count_read(figures);
    return figures[MEMSESS_N_LOCK_WAITS];
}

/* So many wait in a store while somebody holds the lock; they come one after the other. */
static void waiters_come(waiter_t *waiters, int n, memsess_store_t *theirs,
                         apr_interval_time_t wait)
{
    int i;

    for (i = 0; i < n; i++) {
        apr_uint64_t before = counted_waits();

        waiters[i].store = theirs;
        waiters[i].session = read_session();
        waiters[i].wait = wait;
        waiters[i].number = i;
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, waiter_main, &waiters[i]), 0);
        unit_await(counted_waits() > before);
    }
}

static void waiters_end(waiter_t *waiters, int n, apr_status_t expected)
{
    int i;

    for (i = 0; i < n; i++) {
        pthread_join(waiters[i].thread, NULL);
        assert_int_equal(waiters[i].rv, expected);
    }
}

/* In one process first come, first served; who came when it was free does not push in; and where
 * enough wait, the next is turned away at once. */
static void test_lock_is_taken_in_turn(void **state)
{
    enum { WAITERS = MEMSESS_WAITING_MAX };
    waiter_t waiters[WAITERS];
    memsess_lock_t *mine, *more;
    apr_time_t began;
    int i;

    (void)state;
    open_store(3, 2, 1);
    written("a");
    served_n = 0;
    assert_int_equal(memsess_lock_take(&mine, store, &key, read_session(), 0, unit_pool),
                     APR_SUCCESS);
    waiters_come(waiters, WAITERS, store, apr_time_from_sec(20));
    began = apr_time_now();
    assert_int_equal(memsess_lock_take(&more, store, &key, waiters[0].session,
                                       apr_time_from_sec(20), unit_pool), MEMSESS_CROWDED);
    assert_true(apr_time_now() - began < apr_time_from_sec(2));
    memsess_lock_free(mine);
    waiters_end(waiters, WAITERS, APR_SUCCESS);
    assert_int_equal(served_n, WAITERS);
    for (i = 0; i < WAITERS; i++) {
        assert_int_equal(served[i], i);
    }
    assert_int_equal(memsess_lock_take(&mine, store, &key, waiters[0].session, SOON, unit_pool),
                     APR_SUCCESS);
    memsess_lock_free(mine);
}

/* Another process gets its turn too; and one that gives up leaves the line to those behind. */
static void test_lock_is_shared_by_processes(void **state)
{
    waiter_t here[2], there[2];
    memsess_store_t *other;
    memsess_pool_t *other_pool;
    memsess_lock_t *mine;

    (void)state;
    open_store(3, 2, 1);
    written("a");
    assert_int_equal(memsess_pool_create(&other_pool), APR_SUCCESS);
    assert_int_equal(memsess_store_create(&other, &store_conf, other_pool, apr_hash_make(unit_pool),
                                          unit_pool), APR_SUCCESS);
    assert_int_equal(memsess_pool_start(other_pool), APR_SUCCESS);
    served_n = 0;
    assert_int_equal(memsess_lock_take(&mine, store, &key, read_session(), 0, unit_pool),
                     APR_SUCCESS);
    waiters_come(&here[0], 1, store, apr_time_from_msec(100));
    waiters_come(&here[1], 1, store, apr_time_from_sec(20));
    waiters_come(there, 2, other, apr_time_from_sec(20));
    waiters_end(&here[0], 1, MEMSESS_BUSY);
    memsess_lock_free(mine);
    waiters_end(&here[1], 1, APR_SUCCESS);
    waiters_end(there, 2, APR_SUCCESS);
    memsess_pool_destroy(other_pool);
}

static long commands_so_far(void)
{
    long n = 0;
    unsigned i;

    for (i = 0; i < servers_n; i++) {
        n += unit_memcached_stat(servers[i], "cmd_get") + unit_memcached_stat(servers[i], "cmd_set");
    }
    return n;
}

/* What waiting costs the servers does not grow with those who wait, nor much with time. */
static void test_waiting_for_a_lock_asks_little(void **state)
{
    enum { WAITERS = MEMSESS_WAITING_MAX };
    waiter_t waiters[WAITERS];
    memsess_lock_t *mine;
    long asked;

    (void)state;
    open_store(3, 2, 1);
    written("a");
    assert_int_equal(memsess_lock_take(&mine, store, &key, read_session(), 0, unit_pool),
                     APR_SUCCESS);
    waiters_come(waiters, WAITERS, store, apr_time_from_sec(2));
    asked = commands_so_far();
    waiters_end(waiters, WAITERS, MEMSESS_BUSY);
    asked = commands_so_far() - asked;
    assert_in_range(asked, 20, 400);
    memsess_lock_free(mine);
}

/* -- Threads, one a member --------------------------------------------------------------------- */

typedef struct counter_t {
    pthread_t thread;
    memsess_store_t *store;
    int rounds, done, failed, made;
} counter_t;

static apr_status_t make_incremented(void *baton, const memsess_session_t *newest,
                                     memsess_session_t **next, apr_pool_t *p)
{
    memsess_session_t *session = apr_pmemdup(p, newest, sizeof(*newest));
    memsess_attr_t *attr;

    ((counter_t *)baton)->made++;
    session->attrs = apr_array_make(p, 1, sizeof(memsess_attr_t));
    attr = apr_array_push(session->attrs);
    attr->name = "value";
    attr->value = apr_itoa(p, atoi(APR_ARRAY_IDX(newest->attrs, 0, memsess_attr_t).value) + 1);
    attr->len = strlen(attr->value);
    *next = session;
    return APR_SUCCESS;
}

static void *counter_main(void *data)
{
    counter_t *c = data;
    apr_pool_t *p;
    int i;

    apr_pool_create(&p, NULL);
    for (i = 0; i < c->rounds; i++) {
        memsess_session_t *session;
        apr_time_t read_at = memsess_clock_steady();

        apr_pool_clear(p);
        if (unit_read(c->store, &key, &session, p) == MEMSESS_FOUND
            && unit_commit(c->store, &key, session, read_at, apr_time_from_sec(20),
                           make_incremented, c, p) == APR_SUCCESS) {
            c->done++;
        }
        else {
            c->failed++;
        }
    }
    apr_pool_destroy(p);
    return NULL;
}

/* Members that count side by side lose no update, each with a store and connections of its own. */
static void count_side_by_side(int rounds, int crashing)
{
    enum { MEMBERS = 4 };
    memsess_pool_t *pools[MEMBERS];
    counter_t counters[MEMBERS];
    int i, done = 0, failed = 0, value;

    open_store(4, 2, 1);
    written("0");
    for (i = 0; i < MEMBERS; i++) {
        memset(&counters[i], 0, sizeof(counters[i]));
        counters[i].rounds = rounds;
        assert_int_equal(memsess_pool_create(&pools[i]), APR_SUCCESS);
        assert_int_equal(memsess_store_create(&counters[i].store, &store_conf, pools[i],
                                              apr_hash_make(unit_pool), unit_pool), APR_SUCCESS);
        assert_int_equal(memsess_pool_start(pools[i]), APR_SUCCESS);
        assert_int_equal(pthread_create(&counters[i].thread, NULL, counter_main, &counters[i]), 0);
    }
    if (crashing) {
        apr_sleep(30000);
        unit_memcached_kill(at(0));
    }
    for (i = 0; i < MEMBERS; i++) {
        pthread_join(counters[i].thread, NULL);
        memsess_pool_destroy(pools[i]);
        done += counters[i].done;
        failed += counters[i].failed;
    }
    value = atoi(memsess_session_find(read_session(), "value")->value);
    if (!crashing) {
        assert_int_equal(failed, 0);
    }
    /* Of what failed, the first copy may have been stored. */
    assert_in_range(value, done, done + failed);
    assert_true(done > 0);
}

static void test_commits_side_by_side_are_exact(void **state)
{
    (void)state;
    count_side_by_side(60, 0);
    assert_revisions("241 241 - -");
}

static void test_commits_are_exact_while_a_home_crashes(void **state)
{
    (void)state;
    count_side_by_side(60, 1);
}

typedef struct member_t {
    pthread_t thread;
    memsess_key_t keys[3];
    int number, wrong, unavailable;
} member_t;

/* Reads and writes sessions that others write too: the last writer wins, nobody's data mix. */
static void *member_main(void *data)
{
    member_t *m = data;
    apr_pool_t *p;
    int i;

    apr_pool_create(&p, NULL);
    for (i = 0; i < 300; i++) {
        const memsess_key_t *k = &m->keys[i % 3];
        memsess_session_t *session;
        memsess_attr_t *attr;

        apr_pool_clear(p);
        switch (unit_read(store, k, &session, p)) {
        case MEMSESS_FOUND:
            attr = (memsess_attr_t *)session->attrs->elts;
            m->wrong += session->attrs->nelts != 1 || attr->len < 8
                        || strncmp(attr->value, apr_psprintf(p, "key %d by ", i % 3), 9) != 0;
            break;
        case MEMSESS_MISSING:
            m->wrong += memsess_session_make(&session, apr_time_now(), p) != APR_SUCCESS;
            session->idle = apr_time_from_sec(1800);
            break;
        case MEMSESS_UNSEEN:
        case MEMSESS_UNAVAILABLE:
            m->unavailable++;
            continue;
        default:
            m->wrong++;
            continue;
        }
        session->attrs = apr_array_make(p, 1, sizeof(memsess_attr_t));
        attr = apr_array_push(session->attrs);
        attr->name = "value";
        attr->value = apr_psprintf(p, "key %d by %d %0*d", i % 3, m->number, i * 20, i);
        attr->len = strlen(attr->value);
        m->wrong += memsess_store_write(store, k, session, p) != APR_SUCCESS;
    }
    apr_pool_destroy(p);
    return NULL;
}

static void run_members(int crashing)
{
    enum { MEMBERS = 3 };
    memsess_key_t keys[3];
    member_t members[MEMBERS];
    int i, wrong = 0, unavailable = 0;

    for (i = 0; i < 3; i++) {
        unit_random_key(&keys[i]);
    }
    for (i = 0; i < MEMBERS; i++) {
        memset(&members[i], 0, sizeof(members[i]));
        memcpy(members[i].keys, keys, sizeof(keys));
        members[i].number = i;
        assert_int_equal(pthread_create(&members[i].thread, NULL, member_main, &members[i]), 0);
    }
    for (i = 0; crashing && i < 3; i++) {
        apr_sleep(20000);
        unit_memcached_kill(servers[i]);
        apr_sleep(20000);
        unit_memcached_start(servers[i]);
    }
    for (i = 0; i < MEMBERS; i++) {
        pthread_join(members[i].thread, NULL);
        wrong += members[i].wrong;
        unavailable += members[i].unavailable;
    }
    assert_int_equal(wrong, 0);
    assert_true(crashing || !unavailable);
    for (i = 0; i < (int)servers_n; i++) {
        order_key();
        know_up((unsigned)i);
    }
    for (i = 0; i < 3; i++) {
        memsess_session_t *session;
        memsess_found_t found = unit_read(store, &keys[i], &session, unit_pool);

        /* A session is lost where all that had it crashed one after the other. */
        assert_true(found == MEMSESS_FOUND || (crashing && found == MEMSESS_MISSING));
    }
}

static void test_members_side_by_side(void **state)
{
    (void)state;
    open_store(3, 2, 1);
    run_members(0);
    assert_int_equal(unit_logged("damaged"), 0);
}

static void test_members_while_servers_crash(void **state)
{
    (void)state;
    open_store(4, 2, 1);
    run_members(1);
    assert_int_equal(unit_logged("damaged"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_round_trip),
        STORE_TEST(test_exactly_1_copy),
        STORE_TEST(test_exactly_2_copies),
        STORE_TEST(test_exactly_3_copies),
        STORE_TEST(test_reading_writes_nothing),
        STORE_TEST(test_another_member),
        STORE_TEST(test_expiry_in_memcached),
        STORE_TEST(test_highest_revision_wins),
        STORE_TEST(test_missing_copies_are_repaired),
        STORE_TEST(test_damaged_copies_are_repaired),
        STORE_TEST(test_complaints_are_few),
        STORE_TEST(test_sealed),
        STORE_TEST(test_a_mark),
        STORE_TEST(test_a_mark_while_servers_are_away),
        STORE_TEST(test_a_mark_that_was_planted),
        STORE_TEST(test_records_of_a_later_version),
        STORE_TEST(test_records_of_a_later_version_unseen),
        STORE_TEST(test_records_of_a_later_version_meanwhile),
        STORE_TEST(test_records_of_another_session),
        STORE_TEST(test_end),
        STORE_TEST(test_end_that_says_where_it_went),
        STORE_TEST(test_end_while_a_home_is_away),
        STORE_TEST(test_a_home_crashes),
        STORE_TEST(test_a_home_crashes_before_a_write),
        STORE_TEST(test_a_home_freezes_before_a_write),
        STORE_TEST(test_old_memory_never_wins),
        STORE_TEST(test_old_memory_of_all_homes_never_wins),
        STORE_TEST(test_old_memory_is_not_trusted),
        STORE_TEST(test_chain_of_placements),
        STORE_TEST(test_chain_of_placements_to_a_tombstone),
        STORE_TEST(test_born_while_a_home_is_away),
        STORE_TEST(test_born_while_all_homes_are_away),
        STORE_TEST(test_missing_or_unavailable),
        STORE_TEST(test_how_many_are_silent),
        STORE_TEST(test_one_copy_that_is_not_there),
        STORE_TEST(test_the_stand_ins_are_silent),
        STORE_TEST(test_the_only_copy_is_away),
        STORE_TEST(test_a_frozen_home_costs_one_timeout),
        STORE_TEST(test_all_servers_away),
        STORE_TEST(test_all_servers_restarted),
        STORE_TEST(test_without_failover),
        STORE_TEST(test_without_failover_old_memory_never_wins),
        STORE_TEST(test_a_pool_of_one),
        STORE_TEST(test_the_largest_session),
        STORE_TEST(test_a_session_larger_than_may_be_unpacked),
        STORE_TEST(test_a_session_that_no_server_takes),
        STORE_TEST(test_commit),
        STORE_TEST(test_commit_on_an_old_revision),
        STORE_TEST(test_commit_while_somebody_else_is_writing),
        STORE_TEST(test_commit_that_is_called_off),
        STORE_TEST(test_commit_that_is_refused),
        STORE_TEST(test_commit_while_a_home_is_away),
        STORE_TEST(test_two_records_of_one_revision),
        STORE_TEST(test_reading_beside_a_server_that_is_away),
        STORE_TEST(test_a_copy_is_deleted_beside_a_reader),
        STORE_TEST(test_commit_upon_what_is_under_way),
        STORE_TEST(test_repair_upon_what_is_under_way),
        STORE_TEST(test_commit_upon_what_is_gone),
        STORE_TEST(test_commit_while_servers_fail),
        STORE_TEST(test_commit_where_copies_are_lost),
        STORE_TEST(test_clocks_apart),
        STORE_TEST(test_how_long_ago_it_was_written),
        STORE_TEST(test_an_epoch_is_kept_by_members_apart),
        STORE_TEST(test_written_right_after_a_return),
        STORE_TEST(test_first_epoch_while_a_server_is_away),
        STORE_TEST(test_an_epoch_that_is_made_anew_wins),
        STORE_TEST(test_an_epoch_that_is_made_anew_right_after_a_start),
        STORE_TEST(test_an_epoch_changes_that_may_be_elsewhere),
        STORE_TEST(test_an_epoch_that_others_may_not_see),
        STORE_TEST(test_who_leaves_a_full_list),
        STORE_TEST(test_a_list_of_members_apart),
        STORE_TEST(test_a_full_list_is_small),
        STORE_TEST(test_the_first_record_is_not_built_upon),
        STORE_TEST(test_lock),
        STORE_TEST(test_lock_that_was_planted),
        STORE_TEST(test_lock_is_taken_in_turn),
        STORE_TEST(test_lock_is_shared_by_processes),
        STORE_TEST(test_waiting_for_a_lock_asks_little),
        STORE_TEST(test_lock_is_freed_while_it_is_renewed),
        STORE_TEST(test_claims_that_come_late),
        STORE_TEST(test_lock_while_a_home_is_away),
        STORE_TEST(test_commits_side_by_side_are_exact),
        STORE_TEST(test_commits_are_exact_while_a_home_crashes),
        STORE_TEST(test_members_side_by_side),
        STORE_TEST(test_members_while_servers_crash),
    };

    unit_begin();
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
