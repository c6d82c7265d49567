/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Copies of sessions on real memcacheds, for the tests of the store: the servers, what lies where,
 * and what a test does to them.
 *
 * A server is named by its place in the order of the key under test: with two copies, the servers
 * at 0 and 1 are the homes, and those from 2 on stand in.
 */
#ifndef UNIT_COPIES_H
#define UNIT_COPIES_H

#include "unit_store.h"

#include "apr_encode.h"
#include "base/clock.h"
#include "session/record.h"
#include "store/ring.h"

/* Long, since the machine may be slow. */
#define TIMEOUT apr_time_from_sec(4)

/* The time-out of servers that hang in a test until it is over. */
#define HASTE apr_time_from_sec(1)

/* The limit for unpacking compressed records. */
#define UNPACK 4000000

static apr_interval_time_t timeout = TIMEOUT;
static int max_conns = 4;
static unit_memcached_t *servers[UNIT_MEMCACHEDS];
static memsess_node_t nodes[UNIT_MEMCACHEDS];
static unsigned servers_n;
static apr_hash_t *handles;
static memsess_store_t *store;
static memsess_store_conf_t store_conf;
static memsess_key_t key;
static unsigned order[UNIT_MEMCACHEDS];

/* Lets time pass, so that writers that began before have sent everything, and have all answers. */
static inline void pass_time(void)
{
    unit_let_pass(TIMEOUT + apr_time_from_sec(5));
}

#define STORE_TEST(test) WIRE_TEST(test)

static inline memsess_member_t make_member(unsigned i)
{
    memsess_member_t member = {
        .server = unit_server_conf(nodes[i].name, "127.0.0.1", servers[i]->port), .weight = 1};

    member.server.timeout = timeout;
    member.server.max_conns = max_conns;
    member.server.retry = apr_time_from_msec(30);
    return member;
}

static inline void order_key(void)
{
    assert_int_equal(memsess_ring_order(nodes, servers_n, &key, order, servers_n), servers_n);
}

static inline void next_key(void)
{
    unit_random_key(&key);
    order_key();
}

static inline void learn_clocks(void)
{
    apr_hash_index_t *i;
    void *server;

    for (i = apr_hash_first(unit_pool, handles); i; i = apr_hash_next(i)) {
        apr_hash_this(i, NULL, NULL, &server);
        assert_int_equal(memsess_server_tell(server), APR_SUCCESS);
    }
}

/* Starts memcacheds and a store over them. */
static inline void open_store(unsigned n, unsigned copies, int failover)
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
    store = unit_store_start(&the_pool, &store_conf, handles);
    learn_clocks();
    next_key();
}

/* Acts as another process, which knows no server's clock yet. */
static inline void reopen_store(void)
{
    close_pool();
    handles = apr_hash_make(unit_pool);
    store = unit_store_start(&the_pool, &store_conf, handles);
}

/* -- Servers by their place -------------------------------------------------------------------- */

static inline unit_memcached_t *at(unsigned place)
{
    assert_true(place < servers_n);
    return servers[order[place]];
}

static inline memsess_server_t *handle(unsigned place)
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

/* Makes the pool notice that a server is away, or that it is back. One that hangs is not waited for:
 * the pool is told what its time-out would tell. */
static inline void know_down(unsigned place)
{
    apr_size_t len;
    char *data;

    if (at(place)->frozen) {
        memsess_server_failed(handle(place), APR_TIMEUP);
    }
    while (!memsess_server_is_down(handle(place))) {
        memsess_server_get(handle(place), "key", &data, &len, unit_pool);
    }
}

static inline void know_up(unsigned place)
{
    unit_await(!memsess_server_is_down(handle(place)));
    pass_time();
}

/* Takes a server away with its memory, as a broken network does; and brings it back. */
static inline void freeze(unsigned place)
{
    unit_memcached_freeze(at(place));
    know_down(place);
}

static inline void thaw(unsigned place)
{
    unit_memcached_thaw(at(place));
    know_up(place);
}

/* Takes a server away for good; and brings it back empty. */
static inline void crash(unsigned place)
{
    unit_memcached_kill(at(place));
    know_down(place);
}

static inline void restart(unsigned place)
{
    unit_memcached_start(at(place));
    know_up(place);
}

/* -- What lies where --------------------------------------------------------------------------- */

/* The key of the copy for a place; 43 characters of digest and the server's tag. */
static inline const char *copy_key(unsigned place)
{
    char text[100];

    apr_encode_base64_binary(text, key.digest, sizeof(key.digest), APR_ENCODE_BASE64URL, NULL);
    assert_int_equal(strlen(text), 43);
    return apr_pstrcat(unit_pool, text, nodes[order[place]].tag, NULL);
}

/* The record at a place, or its tombstone. */
static inline char *copy_raw(unsigned place, apr_size_t *len)
{
    char *record = unit_memcached_get(at(place), copy_key(place), len);

    return record ? record : unit_memcached_get(at(place), copy_key(place), len);
}

static inline void put_raw(unsigned place, const char *data, apr_size_t len)
{
    unit_memcached_set(at(place), copy_key(place), data, len);
}

/* The revision of the copy at a place; 0: none, or damaged. */
static inline apr_uint64_t revision_at(unsigned place)
{
    memsess_session_t *session;
    apr_size_t len;
    char *data = copy_raw(place, &len);

    return data && memsess_record_decode(data, len, 0, &key, UNPACK, &session, unit_pool)
                       == MEMSESS_RECORD_OK ? session->revision : 0;
}

/* The revisions at all places as text, "-" for none: "3 3 - -". Servers that are away are "x". */
static inline const char *revisions(void)
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

static inline memsess_session_t *new_session(void)
{
    memsess_session_t *session;

    assert_int_equal(memsess_session_make(&session, memsess_clock_wall(), unit_pool), APR_SUCCESS);
    session->idle = apr_time_from_sec(1800);
    return session;
}

/* Makes "value" the only attribute. */
static inline void set_value(memsess_session_t *session, const char *value)
{
    memsess_attr_t *attr;

    session->attrs = apr_array_make(unit_pool, 1, sizeof(memsess_attr_t));
    attr = apr_array_push(session->attrs);
    attr->name = "value";
    attr->value = apr_pstrdup(unit_pool, value);
    attr->len = strlen(value);
}

static inline void write_value(memsess_session_t *session, const char *value)
{
    apr_uint64_t before = session->revision;

    set_value(session, value);
    assert_int_equal(memsess_store_write(store, &key, session, unit_pool), APR_SUCCESS);
    assert_true(session->revision == before + 1);
}

/* A new session, at revision 1. */
static inline memsess_session_t *written(const char *value)
{
    memsess_session_t *session = new_session();

    write_value(session, value);
    return session;
}

static inline void assert_finds(const char *value)
{
    memsess_session_t *session = NULL;

    assert_int_equal(unit_read(store, &key, &session, unit_pool), MEMSESS_FOUND);
    assert_int_equal(session->attrs->nelts, 1);
    assert_string_equal(APR_ARRAY_IDX(session->attrs, 0, memsess_attr_t).value, value);
}

static inline void assert_finds_not(memsess_found_t expected)
{
    memsess_session_t *session = NULL;

    assert_int_equal(unit_read(store, &key, &session, unit_pool), expected);
}

/* Reads until copies are repaired. Those of a revision that is just being written are left alone
 * for a moment. */
static inline int repaired(const char *expected)
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

/* Reads until there are that many copies, all equal, on the homes and nowhere else. */
static inline int settled(unsigned copies)
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

/* What a commit has to do, and what it was given. */
typedef struct edit_t {
    const char *append; /* appended to the value; NULL: makes a tombstone */
    apr_status_t rv;    /* the error to return instead */
    int calls;
    apr_uint64_t given; /* the revision that it was given */
    const char *moved_to; /* the tombstone's target, this byte repeated; or NULL */
} edit_t;

static inline apr_status_t make_next(void *baton, const memsess_session_t *newest,
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

static inline apr_status_t commit_at(const memsess_session_t *session, apr_time_t read_at,
                              apr_interval_time_t wait, edit_t *edit)
{
    return unit_commit(store, &key, session, read_at, wait, make_next, edit, unit_pool);
}

static inline apr_status_t commit(const memsess_session_t *session, const char *append)
{
    edit_t edit = {.append = append};

    return commit_at(session, memsess_clock_steady(), 0, &edit);
}

static inline apr_status_t end(const memsess_session_t *session)
{
    return commit(session, NULL);
}

static inline memsess_session_t *read_session(void)
{
    memsess_session_t *session = NULL;

    assert_int_equal(unit_read(store, &key, &session, unit_pool), MEMSESS_FOUND);
    return session;
}

/* A new session that was read, so no write is under way. */
static inline memsess_session_t *begun(const char *value)
{
    written(value);
    return read_session();
}

/* The lifetime of the record at a place, or of the item whose key has this suffix. */
static inline int seconds_left(unsigned place, const char *beside)
{
    const char *command = apr_pstrcat(unit_pool, "mg ", copy_key(place), beside, " t\r\nmn\r\n", NULL);
    const char *answer = unit_ask(at(place), command, strlen(command), "MN", NULL);

    assert_non_null(answer);
    assert_memory_equal(answer, "HD t", 4);
    return atoi(answer + 4);
}

/* The key of a revision's claim, so that a test can set it as another writer would. */
static inline const char *claim_key(unsigned place, int revision)
{
    return apr_psprintf(unit_pool, "%s.%d", copy_key(place), revision);
}

/* Puts a record as another writer would have stored it, with this revision, age in seconds and
 * number of its writer. */
static inline void put_record(const memsess_session_t *before, unsigned place, const char *value,
                       unsigned revision, int age, int writer)
{
    memsess_session_t *session = apr_pmemdup(unit_pool, before, sizeof(*before));
    apr_size_t len;
    char *data;
    unsigned i;

    set_value(session, value);
    session->revision = revision;
    session->writer = (apr_uint16_t)writer;
    session->written = memsess_clock_wall() - apr_time_from_sec(age);
    for (i = 0; i < session->placement.n; i++) {
        session->placement.clock[i] = (apr_uint32_t)(memsess_server_clock(handle(place)) - age);
    }
    assert_int_equal(memsess_record_encode(session, &key, 0, &data, &len, unit_pool),
                     APR_SUCCESS);
    put_raw(place, data, len);
}

/* How soon a lock that was freed can be had; not at once if it was just being renewed. */
#define SOON apr_time_from_sec(4)

/* Another store over the same servers and connections. */
static inline memsess_store_t *same_servers(const memsess_store_conf_t *conf)
{
    memsess_store_t *other;

    assert_int_equal(memsess_store_create(&other, conf, the_pool, handles, unit_pool), APR_SUCCESS);
    return other;
}

#endif
