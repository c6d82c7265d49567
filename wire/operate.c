/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The use of one connection to one server: what is asked on it, and what an answer tells. */

#include "wire/private.h"

#include <string.h>

#include "apr_atomic.h"
#include "base/clock.h"
#include "base/log.h"

/* A refusal is an answer, too, but it comes in many shapes, so the connection is not kept after
 * it. */
int memsess_in_step(apr_status_t rv)
{
    return rv == APR_SUCCESS || rv == MEMSESS_ABSENT || rv == MEMSESS_EXISTS
           || rv == MEMSESS_UNSENT;
}

/* A blocking read ends with the kernel's own code for a time-out, so there are two codes. */
int memsess_timed_out(apr_status_t rv)
{
    return APR_STATUS_IS_EAGAIN(rv) || APR_STATUS_IS_TIMEUP(rv);
}

/* If all connections are in use, a request waits for its turn as long as this many others before it
 * may take, each the whole of MemSessTimeout. If one takes longer, the server is found down, which
 * ends the waiting, too. So the limit is only reached with more threads than this to a connection,
 * and a server that is always slow. */
#define TURNS 20

#define REPLACE_PAUSE 2000 /* in microseconds */

/* Connects in place of a connection that was closed at @a lost_at; 0: there is none. A server at its
 * limit notices a moment later that it was closed. */
static apr_status_t conn_connect(memsess_conn_t *c, memsess_server_t *server, apr_time_t lost_at)
{
    apr_status_t rv = memsess_conn_connect(c, server);

    while (rv == MEMSESS_TOO_MANY && lost_at
           && memsess_clock_steady() - lost_at < server->conf.timeout) {
        apr_sleep(REPLACE_PAUSE);
        rv = memsess_conn_connect(c, server);
    }
    return rv;
}

/* Opens the connection. If that fails, it is given back: either there are others, and this returns
 * 0, or the server is down. */
static int conn_open(memsess_use_t *use, apr_status_t *rv)
{
    memsess_server_t *server = use->server;

    *rv = conn_connect(use->c, server, memsess_turn_replaces(&server->turns));
    use->is_new = 1;
    if (*rv == APR_SUCCESS) {
        memsess_turn_opened(&server->turns);
    }
    else if (memsess_turn_refused(&server->turns, use->c)) {
        if (*rv == MEMSESS_TOO_MANY) {
            memsess_server_warn_of_limit(server);
        }
        memsess_keeper_wake(&server->pool->prober);
        use->c = NULL;
        return 0;
    }
    else {
        memsess_server_failed(server, *rv);
        memsess_turn_give(&server->turns, use->c);
        use->c = NULL;
    }
    return 1;
}

/* Makes sure that the connection is open: the server may have closed it since its last use. */
static int conn_ready(memsess_use_t *use, apr_status_t *rv)
{
    use->is_new = 0;
    use->begun = memsess_clock_steady();
    do {
        memsess_conn_use(use->c, &use->server->link, use->begun);
    } while (!use->c->mc && memsess_turn_exchange(&use->c, &use->server->turns));
    return use->c->mc || conn_open(use, rv);
}

/* Follows a name that leads elsewhere now: connections to its old address are closed as they are
 * given back. */
static void follow_name(memsess_server_t *server)
{
    apr_uint32_t names = apr_atomic_read32(&server->names), now;

    if (server->link.host && (now = memsess_host_moved(server->link.host)) != names
        && apr_atomic_cas32(&server->names, now, names) == names) {
        memsess_log(MEMSESS_LOG_NOTICE, 0, "server %s: its name now resolves to another address",
                    server->conf.name);
        memsess_server_distrust(server);
        /* The new server may have been used, and left, before. The prober asks for its clock. */
        memsess_count_server_back(server->conf.count);
        apr_atomic_set32(&server->moved, 1);
        memsess_keeper_wake(&server->pool->prober);
    }
}

apr_status_t memsess_use_take(memsess_use_t *use, memsess_server_t *server, int wait)
{
    apr_status_t rv;

    use->server = server;
    follow_name(server);
    do {
        use->begun = 0;
        rv = memsess_turn_take(&use->c, &server->turns, wait ? TURNS * server->conf.timeout : 0);
    } while (rv == APR_SUCCESS && !conn_ready(use, &rv));
    return rv;
}

void memsess_conn_give(memsess_conn_t *c, memsess_server_t *server, apr_status_t rv)
{
    memsess_conn_rest(c);
    if (!memsess_in_step(rv) || c->epoch != apr_atomic_read32(&server->epoch)) {
        memsess_conn_close(c, &server->link);
    }
    memsess_turn_give(&server->turns, c);
}

typedef apr_status_t operation_t(memsess_conn_t *c, void *args);

/* Returns what the operation returned; but if the watcher ended it, that was a time-out. */
static apr_status_t operate(memsess_conn_t *c, operation_t *operation, void *args)
{
    apr_status_t rv = operation(c, args);

    return !memsess_in_step(rv) && memsess_conn_is_overdue(c) ? APR_TIMEUP : rv;
}

/* How an operation is run. */
#define STORES 1  /* the server can refuse it */
#define ONCE 2    /* it is not repeated, whatever happens */
#define AT_ONCE 4 /* it is not run if all connections are in use */

/* apr_memcache has one error for a refusal, for nonsense and for the end of the connection. */
#define UNCLEAR APR_EGENERAL

/* About how many bytes an item takes beside its key and its value. */
#define ITEM_HEAD 59

/* memcached refuses an item that is larger than its limit, or that it finds no room for. A proxy
 * does not tell the limit. */
static apr_status_t refusal(memsess_conn_t *c, const memsess_put_t *put)
{
    const char *settings;
    apr_int64_t most = memsess_conn_ask(c, "stats settings\r\n", &settings) == APR_SUCCESS
                           ? memsess_stat_of(settings, "item_size_max") : -1;

    if (most < 0) {
        return MEMSESS_REFUSED;
    }
    return (apr_int64_t)(put->len + strlen(put->key) + ITEM_HEAD) > most ? MEMSESS_TOO_LARGE
                                                                         : MEMSESS_FULL;
}

/* Why an answer was unclear. It was a refusal only if the operation stores, the connection stayed
 * open, and the server still answers on a new one. */
static apr_status_t reason(memsess_conn_t *c, memsess_server_t *server,
                           const memsess_put_t *refused)
{
    int was_open = memsess_conn_is_open(c);
    apr_status_t rv;

    memsess_conn_close(c, &server->link);
    rv = conn_connect(c, server, memsess_clock_steady());
    if (rv != APR_SUCCESS) {
        return rv;
    }
    return refused ? refusal(c, refused) : was_open ? MEMSESS_NONSENSE : MEMSESS_CLOSED;
}

apr_interval_time_t memsess_server_count_operation(memsess_server_t *server, apr_time_t begun,
                                                   apr_status_t rv)
{
    apr_interval_time_t took = memsess_clock_steady() - begun;

    memsess_count_operation(server->conf.count, took,
                            memsess_in_step(rv) ? MEMSESS_ANSWERED
                            : memsess_timed_out(rv) ? MEMSESS_TIMED_OUT : MEMSESS_FAILED,
                            rv);
    if (memsess_in_step(rv)) {
        memsess_server_found_up(server, begun);
    }
    return took;
}

void memsess_use_count(const memsess_use_t *use, apr_status_t rv)
{
    apr_interval_time_t took;

    if (use->begun && rv != MEMSESS_UNSENT) {
        took = memsess_server_count_operation(use->server, use->begun, rv);
        if (memsess_in_step(rv)) {
            memsess_server_took(use->server, took);
        }
    }
}

/* Runs an operation once more, on another connection than the one that broke. */
static apr_status_t operate_again(memsess_use_t *use, operation_t *operation, void *args)
{
    apr_status_t rv;

    memsess_conn_close(use->c, &use->server->link);
    memsess_turn_lost(&use->server->turns);
    if (!conn_open(use, &rv)) {
        rv = memsess_use_take(use, use->server, 1);
    }
    return rv == APR_SUCCESS ? operate(use->c, operation, args) : rv;
}

static int was_refused(const memsess_use_t *use, apr_status_t rv, int how)
{
    return rv == UNCLEAR && (how & STORES) && memsess_conn_is_open(use->c);
}

/*
 * Runs an operation on a connection. If it fails on one that was used before, the server may have
 * restarted meanwhile: the operation is then repeated once, on a new connection, unless it must not
 * be. It is not repeated after a time-out, and a server that fails on a new connection is down.
 */
static apr_status_t run_one(memsess_use_t *use, memsess_server_t *server, operation_t *operation,
                            void *args, int how)
{
    int refused, blamed = 1;
    apr_status_t rv = memsess_use_take(use, server, !(how & AT_ONCE));

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = operate(use->c, operation, args);
    refused = was_refused(use, rv, how);
    if (!use->is_new && !refused && !memsess_in_step(rv) && !memsess_timed_out(rv)) {
        memsess_server_distrust(server);
        blamed = !(how & ONCE);
        rv = blamed ? operate_again(use, operation, args) : MEMSESS_CLOSED;
        if (!use->c) {
            return rv;
        }
        refused = was_refused(use, rv, how);
    }
    if (rv == UNCLEAR) {
        rv = reason(use->c, server, refused ? args : NULL);
    }
    if (memsess_is_refused(rv) && (how & STORES)) {
        memsess_server_found_refusing(server, rv, ((const memsess_put_t *)args)->len);
    }
    else if (blamed && !memsess_in_step(rv) && rv != MEMSESS_FOREIGN) {
        memsess_server_failed(server, rv);
    }
    memsess_conn_give(use->c, server, rv);
    return rv;
}

/* Runs an operation, and counts it. */
static apr_status_t run(memsess_server_t *server, operation_t *operation, void *args, int how)
{
    apr_status_t rv = MEMSESS_DOWN;
    memsess_use_t use;

    if (!memsess_server_is_down(server)) {
        rv = run_one(&use, server, operation, args, how);
        memsess_use_count(&use, rv);
    }
    return rv;
}

static apr_status_t version_operation(memsess_conn_t *c, void *args)
{
    apr_status_t rv;
    apr_pool_t *p;
    char *version;

    (void)args;
    apr_pool_create(&p, c->p);
    rv = apr_memcache_version(c->ms, p, &version);
    apr_pool_destroy(p);
    return rv;
}

/* If all connections are in use, their uses will tell how the server is. */
apr_status_t memsess_server_version(memsess_server_t *server)
{
    memsess_use_t use;

    return run_one(&use, server, version_operation, NULL, AT_ONCE);
}

typedef struct get_args_t {
    memsess_get_t *get;
    apr_pool_t *p;
} get_args_t;

/* apr_memcache does not look at the key of an answer. */
apr_status_t memsess_check_answer(const memsess_get_t *get, apr_status_t rv)
{
    if (rv == APR_SUCCESS && get->check && !get->check(get->baton, get->data, get->len)) {
        memsess_log(MEMSESS_LOG_ERR, 0, "server %s answered for another key: the connection is "
                    "closed", get->server->conf.name);
        rv = MEMSESS_FOREIGN;
    }
    return rv;
}

static apr_status_t get_operation(memsess_conn_t *c, void *args)
{
    memsess_get_t *get = ((get_args_t *)args)->get;

    return memsess_check_answer(get, apr_memcache_getp(c->mc, ((get_args_t *)args)->p, get->key,
                                               &get->data, &get->len, NULL));
}

void memsess_get_alone(memsess_get_t *get, apr_pool_t *p)
{
    get_args_t args = {.get = get, .p = p};

    get->rv = run(get->server, get_operation, &args, 0);
}

apr_status_t memsess_server_get(memsess_server_t *server, const char *key, char **data,
                                apr_size_t *len, apr_pool_t *p)
{
    memsess_get_t get = {.server = server, .key = key};

    memsess_get_alone(&get, p);
    *data = get.data;
    *len = get.len;
    return get.rv;
}

/* When memcached refuses a set, it removes the item that it has; when it refuses a replace, the
 * item stays. */
static apr_status_t store(memsess_conn_t *c, const memsess_put_t *put)
{
    apr_status_t rv;

    switch (put->how) {
    case MEMSESS_PUT_ADD:
        return apr_memcache_add(c->mc, put->key, put->data, put->len, put->ttl, 0);
    case MEMSESS_PUT_REPLACE:
        /* apr_memcache has one code for "not stored", whatever the command was. */
        rv = apr_memcache_replace(c->mc, put->key, put->data, put->len, put->ttl, 0);
        if (rv != MEMSESS_EXISTS) {
            return rv;
        }
        break;
    default:
        break;
    }
    return apr_memcache_set(c->mc, put->key, put->data, put->len, put->ttl, 0);
}

static apr_status_t put_operation(memsess_conn_t *c, void *args)
{
    const memsess_put_t *put = args;

    return put->not_after && memsess_clock_steady() >= put->not_after ? MEMSESS_UNSENT : store(c, put);
}

void memsess_put_one(void *item)
{
    memsess_put_t *put = item;

    put->rv = run(put->server, put_operation, put, STORES | (put->once ? ONCE : 0));
}

static apr_status_t put_now(memsess_put_t put)
{
    memsess_put_one(&put);
    return put.rv;
}

apr_status_t memsess_server_set(memsess_server_t *server, const char *key, char *data,
                                apr_size_t len, apr_uint32_t ttl)
{
    return put_now((memsess_put_t){.server = server, .key = key, .data = data, .len = len,
                                   .ttl = ttl, .how = MEMSESS_PUT_SET});
}

apr_status_t memsess_server_add(memsess_server_t *server, const char *key, char *data,
                                apr_size_t len, apr_uint32_t ttl)
{
    return put_now((memsess_put_t){.server = server, .key = key, .data = data, .len = len,
                                   .ttl = ttl, .how = MEMSESS_PUT_ADD});
}

static apr_status_t delete_operation(memsess_conn_t *c, void *args)
{
    return apr_memcache_delete(c->mc, args, 0);
}

apr_status_t memsess_server_delete(memsess_server_t *server, const char *key)
{
    return run(server, delete_operation, (void *)key, 0);
}
